/* Shipped models through fusion: forward, gradients and training step are interpreted
 * before and after, results and updated parameters must have equal bits; widths, batch and
 * image size must not change a spec.
 *
 *   test_fuse_models MODELS_FOLDER [-p MODEL ENTRY fwd|grad|train [key=value]…]   (-p: print fused) */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ir/spec.h"
#include "tests/plan/plan_models.h"

static bool same(const DhcArray *a, const DhcArray *b) {
  if (!a || !b) return a == b;
  if (a->n != b->n) return false;
  for (int64_t i = 0; i < a->n; i++)
    if (a->f ? !(a->f[i] == b->f[i] || (a->f[i] != a->f[i] && b->f[i] != b->f[i])) : a->i[i] != b->i[i]) return false;
  return true;
}

static int compare(Made *x, const char *what, const int64_t *extents, bool again, bool derives) {
  int n = x->f->params.n, bad = 0;
  uint64_t state = 42;
  const DhcArray **args = DHC_NEW_N(&x->arena, const DhcArray *, n);
  DhcArray **want = DHC_NEW_N(&x->arena, DhcArray *, x->f->results.n), **got = DHC_NEW_N(&x->arena, DhcArray *, x->f->results.n);
  DhcArray **want_up = DHC_NEW_N(&x->arena, DhcArray *, n), **got_up = DHC_NEW_N(&x->arena, DhcArray *, n);
  for (int i = 0; i < n; i++)
    if (!(args[i] = dhc_test_draw(x, i, &state, extents))) return 1;
  if (!dhc_interp_run(&x->arena, &x->diags, x->f, args, want, want_up)) return 1;
  if (!(again ? dhc_test_passes_again(x, "fusion", derives) : dhc_test_passes(x, "fusion"))) return 1;
  if (!dhc_interp_run(&x->arena, &x->diags, x->f, args, got, got_up)) return 1;
  for (int r = 0; r < x->f->results.n; r++) {
    if (same(want[r], got[r])) continue;
    printf("%s: result %s differs\n", what, x->f->result_names.at[r]);
    bad++;
  }
  for (int i = 0; i < n; i++) {
    if (same(want_up[i], got_up[i])) continue;
    printf("%s: updated %s differs\n", what, x->f->param_info.at[i].name);
    bad++;
  }
  return bad;
}

static int count_kernels(const Made *x) {
  int n = 0;
  for (int i = 0; i < x->m->funcs.n; i++)
    for (const DhcNode *d = x->m->funcs.at[i]->first; d; d = d->next) n += d->op == DHC_OP_KERNEL;
  return n;
}

/* kernels: as many there are if they are not -1, as for a target that computes anew. */
static int check_again(const char *root, const char *model, const char *entry, const char *mode, const DhcSetting *sets,
                       int n_sets, const int64_t *extents, int kernels) {
  Made x;
  char what[128];
  snprintf(what, sizeof what, "%s %s %s", model, entry, mode);
  int bad = !dhc_test_model(&x, root, model, entry, mode, sets, n_sets) || compare(&x, what, extents, kernels >= 0, strcmp(mode, "fwd") != 0);
  if (x.diags.all.n) dhc_diags_print(&x.diags, stdout, false);
  if (!bad && kernels >= 0 && count_kernels(&x) != kernels) bad = printf("%s: %d kernels, not %d\n", what, count_kernels(&x), kernels);
  printf("%s: %s, %d kernels, %d specs\n", what, bad ? "FAILED" : "equal", bad ? 0 : count_kernels(&x), bad ? 0 : x.m->specs.n);
  dhc_arena_fini(&x.arena);
  return bad != 0;
}

static int check(const char *root, const char *model, const char *entry, const char *mode, const DhcSetting *sets,
                 int n_sets, const int64_t *extents) {
  return check_again(root, model, entry, mode, sets, n_sets, extents, -1);
}

/* ---- width-free specs --------------------------------------------------------------- */

static int width_free(const char *root, const char *model, const char *entry, const char *mode, const char *key) {
  static const char *const widths[] = {"16", "24", "64"};
  Made x[3];
  int bad = 0;
  for (int w = 0; w < 3; w++) {
    DhcSetting set[2] = {{key, widths[w]}, {"in_features", "32"}};
    int n_sets = strcmp(key, "out_features") == 0 ? 2 : 1;
    if (!dhc_test_model(&x[w], root, model, entry, mode, set, n_sets) || !dhc_test_passes(&x[w], "fusion")) {
      dhc_diags_print(&x[w].diags, stdout, false);
      return 1;
    }
  }
  for (int w = 1; w < 3; w++)
    for (int s = 0; s < x[w].m->specs.n; s++) {
      bool found = false;
      for (int t = 0; t < x[0].m->specs.n; t++) found = found || dhc_spec_equal(x[w].m->specs.at[s], x[0].m->specs.at[t]);
      if (found) continue;
      DhcText text = {.arena = &x[w].arena};
      dhc_spec_print(x[w].m->specs.at[s], &text);
      printf("%s %s %s=%s has a kernel that 16 has not:\n%s", model, mode, key, widths[w], dhc_text_str(&text));
      bad = 1;
    }
  for (int w = 0; w < 3; w++) dhc_arena_fini(&x[w].arena);
  return bad;
}

static int print_fused(int argc, char **argv) {
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
  DhcText text = {.arena = &x.arena};
  if (ok) dhc_func_print(x.f, &text);
  ok = ok && dhc_test_passes(&x, "lower,ready,fuse");
  dhc_diags_print(&x.diags, stderr, false);
  if (!ok) return 1;
  dhc_text_puts(&text, "\n---- fused ----\n");
  dhc_module_print(x.m, &text);
  fputs(dhc_text_str(&text), stdout);
  dhc_arena_fini(&x.arena);
  return 0;
}

/* ---- recurrences -------------------------------------------------------------------- */

static int near(const char *what, const Made *x, DhcArray *const *want, DhcArray *const *got) {
  int bad = 0;
  for (int r = 0; r < x->f->results.n; r++)
    for (int64_t i = 0; want[r]->f && i < want[r]->n; i++) {
      if (fabs(want[r]->f[i] - got[r]->f[i]) <= 1e-12 * (1 + fabs(want[r]->f[i]))) continue;
      printf("%s: result %s, element %lld: want %.17g, got %.17g\n", what, x->f->result_names.at[r], (long long)i, want[r]->f[i], got[r]->f[i]);
      bad++;
      break;
    }
  return bad;
}

/* Gradients by chunks of steps, by calls whose derivative is one kernel, and by that kernel: nearly equal; `kernels` of
 * that kind there are. */
static int back(const char *root, const char *model, const DhcSetting *sets, int n_sets, const int64_t *extents, int kernels) {
  Made x[2];
  int bad = 0;
  DhcArray **out[3];
  for (int k = 0; k < 2 && !bad; k++) {
    uint64_t state = 42;
    bad = !dhc_test_model(&x[k], root, model, "forward", k ? "back" : "grad", sets, n_sets);
    int n = bad ? 0 : x[k].f->params.n;
    const DhcArray **args = DHC_NEW_N(&x[k].arena, const DhcArray *, n + 1);
    DhcArray **up = DHC_NEW_N(&x[k].arena, DhcArray *, n + 1);
    for (int i = 0; i < n && !bad; i++) bad = !(args[i] = dhc_test_draw(&x[k], i, &state, extents));
    for (int fused = 0; fused <= k && !bad; fused++) {
      out[k + fused] = DHC_NEW_N(&x[k].arena, DhcArray *, x[k].f->results.n + 1);
      bad = (fused && !dhc_test_passes(&x[k], "fusion")) || !dhc_interp_run(&x[k].arena, &x[k].diags, x[k].f, args, out[k + fused], up);
    }
    if (x[k].diags.all.n) dhc_diags_print(&x[k].diags, stdout, false);
  }
  if (bad) return bad;
  int n = 0;
  for (int s = 0; s < x[1].m->specs.n; s++) n += x[1].m->specs.at[s]->kind == DHC_KIND_SCAN_BACK;
  if (n != kernels) printf("%s: %d kernels of derivatives of recurrences, not %d\n", model, n, kernels), bad++;
  bad += near(model, &x[1], out[0], out[1]) + near(model, &x[1], out[0], out[2]);
  printf("%s: %s by chunks and in one kernel\n", model, bad ? "FAILED" : "equal");
  for (int k = 0; k < 2; k++) dhc_arena_fini(&x[k].arena);
  return bad;
}

static int backs(const char *root) {
  static const DhcSetting mamba[] = {{"d_model", "6"}, {"d_state", "8"}};
  static const int64_t extents[] = {2, 37};
  static const struct {
    const char *layer;
    int kernels;
  } own[] = {{"Selective", 1}, {"Backward", 0}, {"GLA", 0}, {"S4D", 0}, {"Fading", 0}}; /* division, contractions, too few states */
  int bad = back(root, "layers/mamba:Mamba", mamba, 2, extents, 1);
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
    char model[512];
    snprintf(model, sizeof model, "%s/../tests/recurrences/recurrences.dhc:%s", root, own[i].layer);
    bad += back(root, model, NULL, 0, extents, own[i].kernels);
  }
  return bad;
}

int main(int argc, char **argv) {
  if (argc > 5 && strcmp(argv[2], "-p") == 0) return print_fused(argc, argv);
  if (argc < 2) return 2;
  static const DhcSetting small[] = {{"hidden_dim", "2"}, {"state_dim", "3"}};
  static const DhcSetting grid[] = {{"hidden_dim", "2"}, {"state_dim", "3"}, {"tokens", "grid"}};
  static const int64_t image[] = {3, 8, 9}, line[] = {3, 5, 4};
  int bad = 0;
  static const char *const modes[] = {"fwd", "grad", "train"};
  bad += check(argv[1], "dhc_ssm", "augment", "fwd", small, 2, image);
  bad += check(argv[1], "dhc_ssm", "classify", "fwd", small, 2, image);
  bad += check(argv[1], "dhc_ssm", "normalize", "fwd", small, 2, image);
  bad += check(argv[1], "dhc_ssm", "accuracy", "fwd", small, 2, image);
  for (int k = 0; k < 3; k++) {
    const char *entry = k ? "loss" : "forward";
    bad += check(argv[1], "dhc_ssm", entry, modes[k], small, 2, image);
    bad += check(argv[1], "dhc_ssm", entry, modes[k], grid, 3, image);
    bad += check(argv[1], "mlp", entry, modes[k], NULL, 0, line);
    bad += check(argv[1], "lstm", entry, modes[k], NULL, 0, line);
    bad += width_free(argv[1], "dhc_ssm", entry, modes[k], "hidden_dim");
  }
  bad += width_free(argv[1], "layers/norm:RMSNorm", "forward", "grad", "d");
  bad += width_free(argv[1], "layers/norm:LayerNorm", "forward", "grad", "d");
  bad += width_free(argv[1], "layers/ffn:SwiGLU", "forward", "grad", "d_model");
  bad += width_free(argv[1], "layers/linear:Linear", "forward", "grad", "out_features");
  bad += backs(argv[1]);
  static const DhcSetting stack[] = {{"hidden_dim", "2"}, {"num_layers", "2"}, {"mamba_ratio", "1"}, {"num_heads", "2"}, {"num_experts", "3"}, {"tokens", "grid"}};
  bad += check_again(argv[1], "dhc_jamba", "forward", "fwd", stack, 5, image, 37);
  bad += check_again(argv[1], "dhc_jamba", "forward", "fwd", stack, 6, image, 52);
  /* what goes into the next contraction's gradient is stored by the contraction that loads the same halves */
  static const DhcSetting gated[] = {{"hidden_dim", "2"}, {"num_layers", "1"}, {"mamba_ratio", "0"}, {"num_heads", "2"}, {"moe_frequency", "0"}};
  bad += check_again(argv[1], "dhc_jamba", "loss", "grad", gated, 5, image, 65);
  return bad > 0;
}
