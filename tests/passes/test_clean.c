/* The clean-up changes no bit: every op case and its gradient, before and after. The one
 * documented exception is the sign of a zero, where a sum of one term is that term. */
#include <math.h>

#include "passes/passes.h"
#include "tests/ops/check.h"

static bool same(double a, double b) {
  if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
  return a == b;
}

/* First element that differs, or -1. */
static int64_t differs(const DhcArray *a, const DhcArray *b) {
  for (int64_t i = 0; i < a->n; i++)
    if (a->f ? !same(a->f[i], b->f[i]) : a->i[i] != b->i[i]) return i;
  return -1;
}

/* The case's operands, then ones for the cotangents. */
static const DhcArray **operands(const DhcOpCase *c, const DhcFunc *f, DhcArray *const *y) {
  const DhcArray **args = DHC_NEW_N(c->arena, const DhcArray *, f->params.n + 1);
  int k = 0;
  for (; k < c->f->params.n; k++) args[k] = c->args[k];
  for (int r = 0; k < f->params.n; r++) {
    if (!y[r]->f) continue;
    DhcArray *g = dhc_array_new(c->arena, y[r]->dtype, y[r]->rank, y[r]->dim);
    for (int64_t i = 0; i < g->n; i++) g->f[i] = 1 + (double)(i % 7) / 8;
    args[k++] = g;
  }
  return args;
}

static void check_case(void *ctx, const DhcOpCase *c) {
  Check *k = ctx;
  k->cases++;
  DhcArena scratch;
  dhc_arena_init(&scratch);
  DhcPassCtx px;
  dhc_pass_ctx_init(&px, c->m, &scratch);
  DhcArray *y[DHC_MAX_RESULTS];
  if (!dhc_case_run(c, y)) {
    check_fail(k, c, "does not run");
    dhc_arena_fini(&scratch);
    return;
  }
  DhcFunc *f = c->f;
  if (dhc_case_differentiable(c)) {
    DhcGradRequest rq = {.name = "gradient", .roles = 1u << DHC_ROLE_INPUT, .cotangents = true};
    f = dhc_grad_entry(&px, c->f, &rq);
  }
  DhcArray **before = DHC_NEW_N(c->arena, DhcArray *, f ? f->results.n + 1 : 1);
  DhcArray **after = DHC_NEW_N(c->arena, DhcArray *, f ? f->results.n + 1 : 1);
  const DhcArray **args = f ? operands(c, f, y) : NULL;
  if (!f || !dhc_interp_run(c->arena, c->diags, f, args, before, NULL))
    check_fail(k, c, "the gradient does not run");
  else if (!dhc_passes_clean(c->m, &px))
    check_fail(k, c, "the clean-up fails");
  else if (!dhc_interp_run(c->arena, c->diags, f, args, after, NULL))
    check_fail(k, c, "does not run after the clean-up");
  else
    for (int r = 0; r < f->results.n; r++) {
      int64_t at = differs(before[r], after[r]);
      if (at >= 0) check_fail(k, c, "result %d differs at %lld", r, (long long)at);
    }
  dhc_arena_fini(&scratch);
}

int main(void) {
  DhcCaseOptions options = {.seed = 5, .float_dtype = DHC_F64, .small = true};
  return check_all("clean-up", &options, check_case, false);
}
