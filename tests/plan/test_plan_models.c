/* Shipped models as plans: forward, gradients and training step are interpreted as
 * elaborated, and run from the plan's memory. Equal bits; the training step updates its
 * segments in place; memory lies near its bound.
 *
 *   test_plan_models MODELS_FOLDER [-p MODEL ENTRY fwd|grad|train [key=value]…]   (-p: print the plan) */
#include <string.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/ops/op_cases.h"
#include "tests/plan/plan_exec.h"
#include "tests/plan/plan_models.h"

/* ---- running ------------------------------------------------------------------------- */

static int count(const DhcPlanned *p, dhc_item_kind kind) {
  int n = 0;
  for (int i = 0; i < p->plan.n_items; i++) n += p->plan.items[i].kind == (int)kind;
  return n;
}

static int compare(Made *x, const char *what, const int64_t *extents, DhcPlanned **planned) {
  int n = x->f->params.n, bad = 0;
  uint64_t state = 42;
  const DhcArray **args = DHC_NEW_N(&x->arena, const DhcArray *, n + 1);
  DhcArray *want[DHC_MAX_RESULTS], *got[DHC_MAX_RESULTS];
  DhcArray **want_up = DHC_NEW_N(&x->arena, DhcArray *, n + 1), **after = DHC_NEW_N(&x->arena, DhcArray *, n + 1);
  for (int i = 0; i < n; i++)
    if (!(args[i] = dhc_test_draw(x, i, &state, extents))) return 1;
  if (!dhc_interp_run(&x->arena, &x->diags, x->f, args, want, want_up)) return 1;
  DhcPlanned *p = *planned = dhc_test_plan(&x->f, DHC_PIPELINE_GRAPH, false);
  if (!p || !dhc_test_run_plan(p, x->f, args, &x->arena, got, after, stdout)) return 1;
  for (int r = 0; r < x->f->results.n; r++) {
    if (dhc_test_same(want[r], got[r])) continue;
    printf("%s: result %s differs\n", what, x->f->result_names.at[r]);
    bad++;
  }
  for (int i = 0; i < n; i++) {
    if (!after[i] ? !want_up[i] : dhc_test_same(want_up[i] ? want_up[i] : args[i], after[i])) continue;
    printf("%s: parameter %s differs\n", what, x->f->param_info.at[i].name);
    bad++;
  }
  return bad;
}

/* Work memory at usual sizes against the sum of what lives at once. */
static int check_memory(Made *x, const DhcPlanned *p, const char *what) {
  int64_t symbols[64];
  for (int i = 0; i < p->plan.n_symbols; i++) symbols[i] = 16;
  DhcBound *b;
  if (!dhc_test_bind(p, symbols, &x->arena, &b, stdout) || !dhc_test_apart(p, symbols, &x->arena, stdout)) return 1;
  int64_t live = dhc_plan_live_bytes(p, symbols), packed = dhc_bound_segment_bytes(b, DHC_SEGMENT_WORK);
  dhc_bound_free(b);
  for (uint64_t seed = 1; seed < 4; seed++) {
    uint64_t state = seed;
    for (int i = 0; i < p->plan.n_symbols; i++) symbols[i] = (int64_t)(dhc_case_bits(&state) % 60) + 4;
    if (!dhc_test_bind(p, symbols, &x->arena, &b, NULL)) continue; /* a guard */
    dhc_bound_free(b);
    if (!dhc_test_apart(p, symbols, &x->arena, stdout)) return 1;
  }
  printf("%s: %d calls, %d kernels, %d copies, %d fills, %d loops, work %lld, bound %lld\n", what, p->n_calls,
         p->plan.n_kernels, count(p, DHC_ITEM_COPY), count(p, DHC_ITEM_FILL), count(p, DHC_ITEM_LOOP),
         (long long)packed, (long long)live);
  if (packed <= live * 105 / 100 + 64 * p->plan.n_buffers) return 0;
  printf("%s: memory is more than 1.05 times the bound\n", what);
  return 1;
}

static int check(const char *root, const char *model, const char *entry, const char *mode, const DhcSetting *sets,
                 int n_sets, const int64_t *extents) {
  Made x;
  char what[128];
  snprintf(what, sizeof what, "%s %s %s", model, entry, mode);
  DhcPlanned *p = NULL;
  int bad = !dhc_test_model(&x, root, model, entry, mode, sets, n_sets) || compare(&x, what, extents, &p) || check_memory(&x, p, what);
  for (int i = 0; !bad && i < p->plan.n_items; i++) {
    const dhc_item *it = &p->plan.items[i];
    if (it->kind != DHC_ITEM_COPY || p->plan.buffers[it->refs[1].buffer].segment == DHC_SEGMENT_WORK) continue;
    const char *name = p->names[it->refs[1].buffer];
    if (name && !strcmp(name, "$begun")) continue; /* one number an expert, read in between */
    printf("%s: item %d copies into what outlives the run\n", what, i);
    bad = 1;
  }
  if (x.diags.all.n) dhc_diags_print(&x.diags, stdout, false);
  if (bad) printf("%s: FAILED\n", what);
  dhc_arena_fini(&x.arena);
  return bad != 0;
}

static int print_plan(int argc, char **argv) {
  Made x;
  DhcSetting sets[16];
  int n = 0;
  for (int i = 6; i < argc && n < 16; i++) {
    char *eq = strchr(argv[i], '=');
    if (!eq) continue;
    *eq = 0;
    sets[n++] = (DhcSetting){argv[i], eq + 1};
  }
  bool ok = dhc_test_model(&x, argv[1], argv[3], argv[4], argv[5], sets, n);
  DhcPlanned *p = ok ? dhc_test_plan(&x.f, DHC_PIPELINE_GRAPH, false) : NULL;
  dhc_diags_print(&x.diags, stderr, false);
  if (!p) return 1;
  DhcText text = {.arena = &x.arena};
  dhc_plan_print(p, &text);
  fputs(dhc_text_str(&text), stdout);
  check_memory(&x, p, "plan");
  static const int64_t usual[][3] = {{128, 32, 32}, {1, 32, 32}, {64, 28, 28}, {16, 224, 224}, {256, 8, 8}};
  for (int k = 0; k < 5; k++) {
    DhcBound *b;
    if (p->plan.n_symbols > 3 || !dhc_test_bind(p, usual[k], &x.arena, &b, stdout)) continue;
    int64_t live = dhc_plan_live_bytes(p, usual[k]), packed = dhc_bound_segment_bytes(b, DHC_SEGMENT_WORK);
    printf("at %lld, %lld, %lld: work %lld, bound %lld, ratio %.4f\n", (long long)usual[k][0], (long long)usual[k][1],
           (long long)usual[k][2], (long long)packed, (long long)live, (double)packed / (double)(live ? live : 1));
    dhc_bound_free(b);
  }
  dhc_arena_fini(&x.arena);
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 5 && strcmp(argv[2], "-p") == 0) return print_plan(argc, argv);
  if (argc < 2) return 2;
  static const DhcSetting small[] = {{"hidden_dim", "2"}, {"state_dim", "3"}};
  static const DhcSetting grid[] = {{"hidden_dim", "2"}, {"state_dim", "3"}, {"tokens", "grid"}};
  static const int64_t image[] = {3, 8, 9}, line[] = {3, 5, 4};
  static const DhcSetting jamba[] = {{"hidden_dim", "2"}, {"num_layers", "2"}, {"num_heads", "2"}, {"num_experts", "3"},
                                     {"d_state", "3"},    {"mamba_ratio", "1"}, {"tokens", "grid"}, {"num_experts_per_token", "2"}};
  static const char *const modes[] = {"fwd", "grad", "train"};
  int bad = 0;
  for (int k = 0; k < 3; k++) {
    const char *entry = k ? "loss" : "forward";
    bad += check(argv[1], "dhc_ssm", entry, modes[k], small, 2, image);
    bad += check(argv[1], "dhc_ssm", entry, modes[k], grid, 3, image);
    bad += check(argv[1], "mlp", entry, modes[k], NULL, 0, line);
    bad += check(argv[1], "lstm", entry, modes[k], NULL, 0, line);
    bad += check(argv[1], "dhc_jamba", entry, modes[k], jamba, 8, image);
  }
  return bad > 0;
}
