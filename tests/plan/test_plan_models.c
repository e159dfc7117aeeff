/* Shipped models as plans: forward, gradients and training step are interpreted as
 * elaborated, and run from the plan's memory. Equal bits; the training step updates its
 * arenas in place; memory lies near its bound.
 *
 *   test_plan_models MODELS_FOLDER [-p MODEL ENTRY fwd|grad|train [key=value]…]   (-p: print the plan) */
#include <stdio.h>
#include <stdlib.h>

#include "frontend/elab.h"
#include "passes/passes.h"
#include "tests/ops/op_cases.h"
#include "tests/plan/plan_exec.h"

typedef struct Made {
  DhcArena arena;
  DhcStrings strings;
  DhcSources sources;
  DhcDiags diags;
  DhcModule *m;
  DhcFunc *f;
} Made;

static bool passes(Made *x, const char *list) {
  DhcArena scratch;
  DhcPassCtx px;
  const char *name = x->f->name;
  dhc_arena_init(&scratch);
  dhc_pass_ctx_init(&px, x->m, &scratch);
  bool ok = list ? dhc_passes_run(x->m, &px, list) : dhc_passes_clean(x->m, &px);
  dhc_arena_fini(&scratch);
  x->f = dhc_module_func(x->m, name);
  return ok && x->f;
}

static bool derive(Made *x, DhcFunc *optimizer, const char *mode) {
  DhcArena scratch;
  DhcPassCtx px;
  dhc_arena_init(&scratch);
  dhc_pass_ctx_init(&px, x->m, &scratch);
  bool ok = dhc_passes_clean(x->m, &px);
  if (ok && strcmp(mode, "grad") == 0) {
    DhcGradRequest rq = {.name = "grad", .roles = 1u << DHC_ROLE_PARAM | 1u << DHC_ROLE_INPUT};
    ok = (x->f = dhc_grad_entry(&px, x->f, &rq)) != NULL;
  }
  if (ok && strcmp(mode, "train") == 0) {
    DhcTrainRequest rq = {.optimizer = optimizer, .ema = true};
    DhcTrainStep step;
    ok = dhc_train_step(&px, x->f, &rq, &step);
    x->f = ok ? step.entry : NULL;
  }
  if (ok) x->m = dhc_module_extract(x->m, &x->f, 1, &x->f);
  dhc_arena_fini(&scratch);
  return ok && passes(x, NULL);
}

static bool make(Made *x, const char *root, const char *model, const char *entry, const char *mode,
                 const DhcSetting *sets, int n_sets) {
  memset(x, 0, sizeof *x);
  dhc_arena_init(&x->arena);
  x->strings.arena = x->sources.arena = x->diags.arena = &x->arena;
  x->diags.sources = &x->sources;
  DhcElabConfig config = {.shipped_roots = &root, .n_shipped_roots = 1};
  DhcElab *e = dhc_elab_open(&x->arena, &x->strings, &x->diags, &config, model);
  DhcModelRequest rq = {.sets = sets, .n_sets = n_sets};
  DhcModel *m = e ? dhc_elab_model(e, &rq) : NULL;
  bool train = strcmp(mode, "train") == 0;
  DhcEntryRequest er = {.name = entry, .training = train};
  DhcFunc *root_f[2] = {m ? dhc_model_entry(m, &er) : NULL}, *copy[2] = {NULL, NULL};
  if (!root_f[0]) return false;
  if (train && !(root_f[1] = dhc_model_function(m, "adamw"))) return false;
  x->m = dhc_module_extract(dhc_model_module(m), root_f, train ? 2 : 1, copy);
  x->f = copy[0];
  return x->f && derive(x, copy[1], mode);
}

/* ---- running ------------------------------------------------------------------------- */

static DhcArray *draw(Made *x, int i, uint64_t *state, const int64_t *extents) {
  const DhcType *t = &x->f->params.at[i]->type;
  const DhcParamInfo *info = &x->f->param_info.at[i];
  int64_t dim[DHC_MAX_RANK];
  for (int d = 0; d < t->rank; d++)
    if (!dhc_dim_eval(t->dim[d], x->f->symbols.n, x->f->symbols.at, extents, &dim[d])) return NULL;
  DhcArray *a = dhc_array_new(&x->arena, t->dtype, t->rank, dim);
  for (int64_t e = 0; e < a->n; e++) {
    if (a->f)
      a->f[e] = info->role == DHC_ROLE_SCALAR ? 0.25 : dhc_case_uniform(state, -0.5, 0.5);
    else
      a->i[e] = t->rank ? (int64_t)(dhc_case_bits(state) % 10) : 3;
    if (a->f && info->role == DHC_ROLE_ARENA && strncmp(info->name, "$v", 2) == 0) a->f[e] += 1;
  }
  return a;
}

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
    if (!(args[i] = draw(x, i, &state, extents))) return 1;
  if (!dhc_interp_run(&x->arena, &x->diags, x->f, args, want, want_up) || !passes(x, "fuse")) return 1;
  DhcPlanned *p = *planned = dhc_plan_build(x->m, x->f, NULL, &x->arena);
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
  int64_t live = dhc_plan_live_bytes(p, symbols), packed = dhc_bound_arena_bytes(b, DHC_ARENA_WORK);
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
  int bad = !make(&x, root, model, entry, mode, sets, n_sets) || compare(&x, what, extents, &p) || check_memory(&x, p, what);
  for (int i = 0; !bad && i < p->plan.n_items; i++) {
    const dhc_item *it = &p->plan.items[i];
    if (it->kind != DHC_ITEM_COPY || p->plan.buffers[it->refs[1].buffer].arena == DHC_ARENA_WORK) continue;
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
  bool ok = make(&x, argv[1], argv[3], argv[4], argv[5], sets, n) && passes(&x, "fuse");
  DhcPlanned *p = ok ? dhc_plan_build(x.m, x.f, NULL, &x.arena) : NULL;
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
    int64_t live = dhc_plan_live_bytes(p, usual[k]), packed = dhc_bound_arena_bytes(b, DHC_ARENA_WORK);
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
