/* Every op case on the CPU backend: the case is fused, its kernels are compiled and run on
 * native element formats, everything between kernels is left to the interpreter; results
 * against the interpreter of the unfused case, within the case's bounds.
 *
 *   test_ops_cpu [features] [op]      e.g.  test_ops_cpu -avx512f conv
 */
#include <math.h>
#include <stdlib.h>

#include "passes/passes.h"
#include "tests/ops/check.h"
#include "tests/ops/cpu_runner.h"

typedef struct Cpu {
  Check check;
  CpuRunner on;
  int interpreted; /* cases of ops that no kernel runs (yet) */
} Cpu;

/* ---- one case ---------------------------------------------------------------------- */

static bool fuse(const DhcOpCase *c) {
  DhcArena scratch;
  dhc_arena_init(&scratch);
  DhcPassCtx px;
  dhc_pass_ctx_init(&px, c->m, &scratch);
  bool ok = dhc_passes_run(c->m, &px, "fusion");
  dhc_arena_fini(&scratch);
  return ok;
}

/* E0911: no kernel yet. */
static bool is_interpreted(const DhcOpCase *c) {
  return c->diags->all.n > 0 && strcmp(c->diags->all.at[0]->code, "E0911") == 0;
}

static void check_case(void *ctx, const DhcOpCase *c) {
  Cpu *cpu = ctx;
  Check *k = &cpu->check;
  DhcArray *want[DHC_MAX_RESULTS], *got[DHC_MAX_RESULTS], *bound[DHC_MAX_RESULTS];
  if (!c->node || !dhc_case_run(c, want)) return;
  /* f64 lives on the interpreter; i16 and u16 are inputs only */
  for (int p = 0; p < c->f->params.n; p++)
    if (c->f->params.at[p]->type.dtype == DHC_F64) return;
  for (int r = 0; r < c->f->results.n; r++)
    if (c->f->results.at[r]->type.dtype == DHC_F64) return;
  for (int r = 0; r < c->f->results.n; r++) bound[r] = dhc_case_bound(c, r, want[r]);
  bool fused = fuse(c);
  if (is_interpreted(c)) {
    cpu->interpreted++;
    return;
  }
  k->cases++;
  if (!fused) {
    check_fail(k, c, "fuse refused");
    return;
  }
  if (!dhc_interp_run_kernels(c->arena, c->diags, c->f, &cpu->on.runner, c->args, got, NULL)) {
    check_fail(k, c, "does not run: %s", cpu->on.why);
    return;
  }
  for (int r = 0; r < c->f->results.n; r++) {
    int64_t at = dhc_case_mismatch(want[r], got[r], bound[r]);
    if (at < 0) continue;
    if (want[r]->f)
      check_fail(k, c, "result %d [%lld]: want %.9g, got %.9g, bound %.3g", r, (long long)at, want[r]->f[at],
                 got[r]->f[at], bound[r]->f[at]);
    else
      check_fail(k, c, "result %d [%lld]: want %lld, got %lld", r, (long long)at, (long long)want[r]->i[at],
                 (long long)got[r]->i[at]);
  }
}

/* ---- its gradient ------------------------------------------------------------------- */

/* ||got - want|| / ||want||; want 0: ||got||. */
static double distance(const DhcArray *want, const DhcArray *got) {
  double d = 0, n = 0;
  for (int64_t e = 0; e < want->n; e++) {
    double w = want->f ? want->f[e] : (double)want->i[e], g = got->f ? got->f[e] : (double)got->i[e];
    d += (g - w) * (g - w);
    n += w * w;
  }
  return n > 0 ? sqrt(d / n) : sqrt(d);
}

/* Compiled f32 gradient against the interpreter's float64: at most 1e-4 relative. */
static void check_gradient(void *ctx, const DhcOpCase *c) {
  Cpu *cpu = ctx;
  Check *k = &cpu->check;
  uint64_t state = 9;
  if (!dhc_case_differentiable(c)) return;
  for (int p = 0; p < c->f->params.n; p++)
    if (c->f->params.at[p]->type.dtype == DHC_F64) return;
  DhcArena scratch;
  dhc_arena_init(&scratch);
  DhcPassCtx px;
  dhc_pass_ctx_init(&px, c->m, &scratch);
  DhcGradRequest rq = {.name = "gradient", .roles = 1u << DHC_ROLE_INPUT, .cotangents = true};
  DhcFunc *g = dhc_grad_entry(&px, c->f, &rq);
  DhcArray *y[DHC_MAX_RESULTS];
  DhcArray **want, **got;
  const DhcArray **args;
  if (!g || !dhc_case_run(c, y)) {
    check_fail(k, c, "no gradient");
    goto done;
  }
  args = DHC_NEW_N(c->arena, const DhcArray *, g->params.n + 1);
  want = DHC_NEW_N(c->arena, DhcArray *, g->results.n + 1);
  got = DHC_NEW_N(c->arena, DhcArray *, g->results.n + 1);
  for (int p = 0, r = 0; p < g->params.n; p++) {
    if (p < c->f->params.n) {
      args[p] = c->args[p];
      continue;
    }
    while (!y[r]->f) r++;
    DhcArray *cot = dhc_array_copy(c->arena, y[r++]);
    for (int64_t e = 0; e < cot->n; e++)
      cot->f[e] = dhc_case_representable(cot->dtype, dhc_case_uniform(&state, -1, 1));
    args[p] = cot;
  }
  if (!dhc_interp_run(c->arena, c->diags, g, args, want, NULL)) {
    check_fail(k, c, "the gradient does not run");
    goto done;
  }
  bool fused = dhc_passes_clean(c->m, &px) && dhc_passes_run(c->m, &px, "fusion");
  if (is_interpreted(c)) {
    cpu->interpreted++;
    goto done;
  }
  k->cases++;
  if (!fused || !dhc_interp_run_kernels(c->arena, c->diags, g, &cpu->on.runner, args, got, NULL)) {
    check_fail(k, c, "the fused gradient does not run: %s", cpu->on.why);
    goto done;
  }
  for (int r = 0; r < g->results.n; r++) {
    double d = distance(want[r], got[r]), tol = want[r]->dtype == DHC_BF16 ? 1e-2 : 1e-4;
    if (!(d <= tol)) check_fail(k, c, "gradient result %d (%s) is off by %.3g", r, g->result_names.at[r], d);
  }
done:
  dhc_arena_fini(&scratch);
}

static void check_op(Cpu *cpu, DhcOp op, const char *what, DhcCaseFn fn, const DhcCaseOptions *o) {
  int failed = cpu->check.failed, cases = cpu->check.cases;
  cpu->check.what = what;
  dhc_op_cases(op, o, fn, cpu);
  if (cpu->check.failed == failed) return;
  printf("  %s: %s: %d of %d failed\n", what, dhc_op_info(op)->name, cpu->check.failed - failed,
         cpu->check.cases - cases);
}

int main(int argc, char **argv) {
  static const DhcCaseOptions options = {.seed = 6, .float_dtype = DHC_F32};
  const char *features = argc > 1 && *argv[1] ? argv[1] : NULL;
  Cpu cpu = {0};
  if (!cpu_runner_open(&cpu.on, features)) return 1;
  for (int op = 0; op < DHC_N_OPS; op++) {
    if (argc > 2 && strcmp(argv[2], dhc_op_info((DhcOp)op)->name) != 0) continue;
    check_op(&cpu, (DhcOp)op, "cpu", check_case, &options);
    check_op(&cpu, (DhcOp)op, "cpu gradient", check_gradient, &options);
  }
  printf("cpu: %d cases, %d failed, %d more only interpreted; %d kernels compiled, %d reused\n", cpu.check.cases, cpu.check.failed,
         cpu.interpreted, cpu.on.stats.compiled, cpu.on.stats.reused_memory);
  cpu_runner_close(&cpu.on);
  return cpu.check.failed > 0;
}
