/* Walking the cases of an op; the columns tests read; comparing results. */
#include "tests/ops/op_cases.h"

#include <float.h>
#include <math.h>

#include "tests/ops/op_gen.h"

/* ---- columns ------------------------------------------------------------------- */

DhcCaseDomain dhc_case_domain(DhcOp op) {
  DhcCaseDomain d = {0};
  int row = -1;
#define OP(id, ...) row = DHC_OP_##id;
#define DOMAIN(...)                                           \
  if (row == (int)op) {                                       \
    const double v[] = {__VA_ARGS__};                         \
    d.given = true;                                           \
    d.lo = v[0];                                              \
    d.hi = v[1];                                              \
    for (size_t k = 2; k < sizeof v / sizeof *v && k < 6; k++) \
      d.kink[d.n_kinks++] = v[k];                             \
  }
#include "ir/ops.def"
  return d;
}

const char *dhc_case_vjp(DhcOp op) {
  int row = -1;
#define OP(id, ...) row = DHC_OP_##id;
#define VJP(rule) \
  if (row == (int)op) return #rule;
#include "ir/ops.def"
  return row < 0 ? "" : "vjp_none";
}

const char *case_types(DhcOp op) {
  switch (op) {
#define EW(id, name, n_args, types, ...) \
  case DHC_OP_##id: return #types;
#include "ir/ops.def"
    default: return NULL;
  }
}

bool dhc_case_differentiable(const DhcOpCase *c) {
  const char *rule = dhc_case_vjp(c->op);
  if (!c->node || !c->smooth || c->special) return false;
  if (strcmp(rule, "vjp_none") == 0 || strcmp(rule, "vjp_zero") == 0) return false;
  bool in = false, out = false;
  for (int p = 0; p < c->f->params.n; p++)
    in = in || dhc_dtype_is_float(c->f->params.at[p]->type.dtype);
  for (int r = 0; r < c->f->results.n; r++)
    out = out || dhc_dtype_is_float(c->f->results.at[r]->type.dtype);
  return in && out;
}

/* ---- walking --------------------------------------------------------------------- */

static void make(Gen *g) {
  cases_elementwise(g);
  cases_create(g);
  cases_view(g);
  cases_move(g);
  cases_reduce(g);
  cases_contract(g);
  cases_conv(g);
  cases_window(g);
  cases_scan(g);
  cases_route(g);
  cases_call(g);
  cases_update(g);
}

static Gen generator(DhcOp op, const DhcCaseOptions *o, DhcCaseFn fn, void *ctx, bool wrong) {
  Gen g = {.op = op, .o = *o, .flt = o->float_dtype, .fn = fn, .ctx = ctx, .wrong = wrong};
  g.state = o->seed + 1000003u * (uint64_t)op;
  return g;
}

int dhc_op_cases(DhcOp op, const DhcCaseOptions *o, DhcCaseFn fn, void *ctx) {
  Gen g = generator(op, o, fn, ctx, false);
  make(&g);
  return g.n_cases;
}

int dhc_op_wrong_cases(DhcOp op, const DhcCaseOptions *o, DhcCaseFn fn, void *ctx) {
  Gen g = generator(op, o, fn, ctx, true);
  wrong_elementwise(&g);
  wrong_structured(&g);
  return g.n_cases;
}

/* ---- comparing ----------------------------------------------------------------------- */

bool dhc_case_run(const DhcOpCase *c, DhcArray **results) {
  return dhc_interp_run(c->arena, c->diags, c->f, c->args, results, NULL);
}

/* Unit roundoff of a stored float. */
static double roundoff(dhc_dtype t) {
  return t == DHC_F64 ? 0x1p-53 : t == DHC_F32 ? 0x1p-24 : 0x1p-9;
}

static double ulp(dhc_dtype t, double v) {
  int digits = t == DHC_F64 ? 53 : t == DHC_F32 ? 24 : 8, e_min = t == DHC_F64 ? -1021 : -125, e;
  if (!isfinite(v)) return 0;
  frexp(v, &e);
  return ldexp(1, (v == 0 || e < e_min ? e_min : e) - digits);
}

DhcArray *dhc_case_bound(const DhcOpCase *c, int r, const DhcArray *want) {
  DhcArray *b = dhc_array_new(c->arena, DHC_F64, want->rank, want->dim);
  if (!want->f || c->error == DHC_CASE_EXACT) return b;
  if (c->error == DHC_CASE_ULPS) {
    for (int64_t e = 0; e < b->n; e++) b->f[e] = 4 * ulp(want->dtype, want->f[e]);
    return b;
  }
  if (c->error == DHC_CASE_CHAIN) {
    double unit = 8 * (double)c->terms * roundoff(want->dtype);
    for (int64_t e = 0; e < b->n; e++) b->f[e] = unit * (1 + fabs(want->f[e]));
    return b;
  }
  /* sum |a b|: the same op on absolute values */
  const DhcArray **args = DHC_NEW_N(c->arena, const DhcArray *, c->f->params.n + 1);
  DhcArray **results = DHC_NEW_N(c->arena, DhcArray *, c->f->results.n + 1);
  for (int p = 0; p < c->f->params.n; p++) {
    DhcArray *a = dhc_array_copy(c->arena, c->args[p]);
    for (int64_t e = 0; a->f && e < a->n; e++) a->f[e] = fabs(a->f[e]);
    args[p] = a;
  }
  if (!dhc_interp_run(c->arena, c->diags, c->f, args, results, NULL)) return b;
  double factor = 8 * sqrt((double)c->terms) * roundoff(want->dtype);
  for (int64_t e = 0; e < b->n; e++) b->f[e] = factor * results[r]->f[e];
  return b;
}

int64_t dhc_case_mismatch(const DhcArray *want, const DhcArray *got, const DhcArray *bound) {
  if (want->n != got->n || want->dtype != got->dtype) return 0;
  for (int64_t e = 0; e < want->n; e++) {
    if (want->i) {
      if (want->i[e] != got->i[e]) return e;
      continue;
    }
    double w = want->f[e], v = got->f[e];
    if (isnan(w) ? isnan(v) : w == v) continue;
    /* an f32 backend overflows where double does not */
    if (isinf(v) && fabs(w) > FLT_MAX && want->dtype != DHC_F64 && (v > 0) == (w > 0)) continue;
    if (!(fabs(w - v) <= bound->f[e])) return e;
  }
  return -1;
}
