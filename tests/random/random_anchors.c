/* Step templates of the random graph generator: everything that folds or carries. */
#include <math.h>

#include "tests/random/random_steps.h"

static RandomValue fold(RandomGen *r, DhcOp op, RandomValue x, const int64_t *axes, int n, bool keep) {
  double m = 1;
  for (int k = 0; k < n && op == DHC_OP_REDUCE_SUM; k++) m *= (double)x.dim[axes[k]];
  return random_value(r, dhc_b_reduce(&r->b, op, x.v, axes, n, keep), fmin(x.lo * m, x.lo), fmax(x.hi * m, x.hi));
}

bool random_reduce(RandomGen *r, RandomValue x, RandomValue *out) {
  static const DhcOp ops[] = {DHC_OP_REDUCE_SUM, DHC_OP_REDUCE_MAX, DHC_OP_REDUCE_MIN};
  int64_t axes[DHC_MAX_RANK];
  int n = 0;
  for (int d = 0; d < x.v->type.rank; d++)
    if (random_chance(r, 50)) axes[n++] = d;
  if (n == 0) return false;
  *out = fold(r, ops[random_below(r, r->o->smooth ? 1 : 3)], x, axes, n, random_chance(r, 40));
  return true;
}

bool random_softmax(RandomGen *r, RandomValue x, RandomValue *out) {
  int64_t axis = x.v->type.rank - 1;
  if (axis < 0) return false;
  RandomValue m = fold(r, DHC_OP_REDUCE_MAX, x, &axis, 1, true);
  RandomValue e = random_un(r, DHC_OP_EXP, random_bin(r, DHC_OP_SUB, x, m), 0, 1);
  RandomValue s = fold(r, DHC_OP_REDUCE_SUM, e, &axis, 1, true);
  s.lo = 1; /* the largest term is exp(0) */
  *out = random_bin(r, DHC_OP_DIV, e, s);
  out->lo = 0;
  out->hi = 1;
  return true;
}

/* x * rsqrt(mean(x^2) + 1/8) * w */
bool random_norm(RandomGen *r, RandomValue x, RandomValue *out) {
  int64_t axis = x.v->type.rank - 1;
  if (axis < 0) return false;
  DhcType t = {.dtype = DHC_F32, .rank = 1, .dim = {x.v->type.dim[axis]}};
  RandomValue w = random_input(r, &t, &x.dim[axis], 0.5, 1.5);
  DhcValue *n = dhc_b_cast(&r->b, dhc_b_dim(&r->b, x.v->type.dim[axis]), DHC_F32);
  RandomValue sum = fold(r, DHC_OP_REDUCE_SUM, random_bin(r, DHC_OP_MUL, x, x), &axis, 1, true);
  RandomValue count = random_value(r, n, (double)x.dim[axis], (double)x.dim[axis]);
  RandomValue mean = random_bin(r, DHC_OP_DIV, sum, count);
  RandomValue eighth = random_value(r, dhc_b_scalar(&r->b, DHC_F32, 0.125), 0.125, 0.125);
  RandomValue scale = random_un(r, DHC_OP_RSQRT, random_bin(r, DHC_OP_ADD, mean, eighth), 0, 3);
  *out = random_bin(r, DHC_OP_MUL, random_bin(r, DHC_OP_MUL, x, scale), w);
  /* |x| / sqrt(mean x^2) is at most sqrt(n) */
  double m = 1.5 * sqrt((double)x.dim[axis]) + 1;
  out->lo = -m;
  out->hi = m;
  return true;
}

/* x [.., k] with a new w [k, n] or [n, k], or a value of x's own type over the first axis. */
bool random_dot(RandomGen *r, RandomValue x, RandomValue *out) {
  const DhcType *t = &x.v->type;
  if (t->rank == 0) return false;
  x = random_tame(r, x, 8);
  int64_t last = t->rank - 1, k = x.dim[last], n = 1 + random_below(r, 17);
  double bound = 16 * (double)k;
  if (t->rank == 3 && random_chance(r, 40)) { /* scores: batch, rows of x against rows of y */
    RandomValue y = random_tame(r, random_other(r, &x), 8);
    int64_t first = 0;
    if (x.dim[0] * x.dim[1] * x.dim[1] > r->max_elements) return false;
    *out = random_value(r, dhc_b_dot(&r->b, x.v, y.v, &first, &first, 1, &last, &last, 1), -64 * (double)k,
                        64 * (double)k);
    return true;
  }
  if (random_elements(&x) / k * n > r->max_elements) return false;
  bool turned = random_chance(r, 50);
  DhcType w = {.dtype = DHC_F32, .rank = 2, .dim = {t->dim[last], random_const(r, n)}};
  int64_t dim[2] = {k, n}, contract = turned;
  if (turned) {
    w.dim[1] = w.dim[0];
    w.dim[0] = random_const(r, n);
    dim[0] = n;
    dim[1] = k;
  }
  RandomValue y = random_input(r, &w, dim, -1, 1);
  *out = random_value(r, dhc_b_dot(&r->b, x.v, y.v, NULL, NULL, 0, &last, &contract, 1), -bound, bound);
  return true;
}

/* Values of rank 3 or 4 as [N, C, *S]; padding keeps every extent. */
bool random_conv(RandomGen *r, RandomValue x, RandomValue *out) {
  const DhcType *t = &x.v->type;
  int n_s = t->rank - 2;
  if (n_s < 1 || n_s > 2 || !random_is_const(&x, 1)) return false;
  x = random_tame(r, x, 8);
  int64_t c = x.dim[1], groups = random_chance(r, 30) ? c : 1, o = groups * (1 + random_below(r, 4));
  int64_t ones[2] = {1, 1}, low[2], high[2], dil[2], dim[4] = {o, c / groups};
  DhcType w = {.dtype = DHC_F32, .rank = t->rank, .dim = {random_const(r, o), random_const(r, c / groups)}};
  int64_t taps = c / groups;
  for (int s = 0; s < n_s; s++) {
    int64_t k = 1 + random_below(r, 3);
    dil[s] = 1 + random_below(r, 2);
    int64_t both = dil[s] * (k - 1);
    low[s] = random_chance(r, 30) ? both : both / 2; /* causal or centred */
    high[s] = both - low[s];
    dim[2 + s] = k;
    w.dim[2 + s] = random_const(r, k);
    taps *= k;
  }
  if (random_elements(&x) / c * o > r->max_elements) return false;
  DhcValue *v[] = {x.v, random_input(r, &w, dim, -1, 1).v};
  DhcModule *m = r->g->m;
  DhcAttr attrs[5] = {dhc_attr_ints(m, ones, n_s), dhc_attr_ints(m, low, n_s), dhc_attr_ints(m, high, n_s),
                      dhc_attr_ints(m, dil, n_s), dhc_attr_int(groups)};
  double bound = 8 * (double)taps;
  *out = random_value(r, dhc_build1(&r->b, DHC_OP_CONV, v, 2, attrs, 5), -bound, bound);
  return true;
}

bool random_window(RandomGen *r, RandomValue x, RandomValue *out) {
  int rank = x.v->type.rank, n = 0;
  int64_t window[2], stride[2];
  if (r->o->smooth) return false;
  while (n < 2 && n < rank && random_is_const(&x, rank - 1 - n) && x.dim[rank - 1 - n] >= 2) n++;
  if (n == 0) return false;
  for (int s = 0; s < n; s++) {
    window[s] = 2;
    stride[s] = 1 + random_below(r, 2);
  }
  DhcAttr attrs[2] = {dhc_attr_ints(r->g->m, window, n), dhc_attr_ints(r->g->m, stride, n)};
  *out = random_value(r, dhc_build1(&r->b, DHC_OP_WINDOW_MAX, &x.v, 1, attrs, 2), x.lo, x.hi);
  return true;
}

/* ---- recurrences ------------------------------------------------------------------ */

/* A type like x's without one axis. */
static DhcType without(const RandomValue *x, int axis, int64_t *dim) {
  DhcType t = {.dtype = DHC_F32};
  for (int d = 0; d < x->v->type.rank; d++) {
    if (d == axis) continue;
    dim[t.rank] = x->dim[d];
    t.dim[t.rank++] = x->v->type.dim[d];
  }
  return t;
}

bool random_linear_scan(RandomGen *r, RandomValue x, RandomValue *out) {
  int64_t dim[DHC_MAX_RANK];
  if (x.v->type.rank == 0) return false;
  int axis = random_below(r, x.v->type.rank);
  RandomValue a = random_un(r, DHC_OP_SIGMOID, random_other(r, &x), 0, 1);
  DhcType t = without(&x, axis, dim);
  RandomValue h0 = random_input(r, &t, dim, -1, 1);
  DhcValue *v[] = {a.v, x.v, h0.v};
  DhcAttr attrs[3] = {dhc_attr_int(axis), dhc_attr_bool(random_chance(r, 30)), dhc_attr_bool(random_chance(r, 50))};
  double m = 1 + fmax(fabs(x.lo), fabs(x.hi)) * (double)x.dim[axis];
  *out = random_value(r, dhc_build1(&r->b, DHC_OP_LINEAR_SCAN, v, 3, attrs, 3), -m, m);
  return true;
}

static void bind_batch(RandomGen *r, DhcFunc *f) {
  if (r->batch) DHC_PUSH(r->g->arena, &f->symbols, dhc_intern(&r->g->strings, "B"));
}

static DhcValue *plain_param(RandomGen *r, DhcFunc *f, const DhcType *t) {
  DhcSpan none = {0};
  DhcParamInfo info = {.name = dhc_arena_printf(r->g->arena, "p%d", f->params.n), .role = DHC_ROLE_PLAIN, .decl = -1};
  return dhc_func_param(f, t, info, none);
}

/* h' = tanh(h * w + x), y = h' - x */
bool random_scan(RandomGen *r, RandomValue x, RandomValue *out) {
  int64_t dim[DHC_MAX_RANK];
  DhcSpan none = {0};
  if (x.v->type.rank == 0 || r->o->no_calls) return false;
  int axis = random_below(r, x.v->type.rank);
  DhcType t = without(&x, axis, dim);
  DhcFunc *f = dhc_func_new(r->g->m, "body", DHC_FUNC_BODY, none);
  bind_batch(r, f);
  DhcBuilder b = {.f = f};
  DhcValue *h = plain_param(r, f, &t), *xt = plain_param(r, f, &t), *w = plain_param(r, f, &t);
  DhcValue *sum = dhc_b_binary(&b, DHC_OP_ADD, dhc_b_binary(&b, DHC_OP_MUL, h, w), xt);
  DhcValue *next = dhc_b_unary(&b, DHC_OP_TANH, sum);
  dhc_func_result(f, next, "h");
  dhc_func_result(f, dhc_b_binary(&b, DHC_OP_SUB, next, xt), "y");
  RandomValue h0 = random_input(r, &t, dim, -1, 1), wv = random_input(r, &t, dim, -1, 1);
  DhcValue *v[] = {h0.v, x.v, wv.v};
  const DhcDim *batch = r->batch ? dhc_dim_symbol(r->g->m->dims, "B") : NULL;
  DhcAttr attrs[7] = {dhc_attr_func(f), dhc_attr_dims(r->g->m, &batch, r->batch ? 1 : 0),
                      dhc_attr_int(1), dhc_attr_int(1), dhc_attr_int(axis),
                      dhc_attr_dim(x.v->type.dim[axis]), dhc_attr_bool(random_chance(r, 30))};
  DhcNode *n = dhc_build(&r->b, DHC_OP_SCAN, v, 3, attrs, 7);
  random_put(r, random_value(r, n ? n->results[0] : NULL, -1, 1));
  *out = random_value(r, n ? n->results[1] : NULL, -1 - x.hi, 1 - x.lo);
  return true;
}

/* (p, q) -> silu-like p * sigmoid(q) + q, of x's type; called once or twice. */
bool random_call(RandomGen *r, RandomValue x, RandomValue *out) {
  DhcSpan none = {0};
  if (r->o->no_calls) return false;
  DhcFunc *f = dhc_func_new(r->g->m, "unit", DHC_FUNC_UNIT, none);
  bind_batch(r, f);
  DhcBuilder b = {.f = f};
  DhcValue *p = plain_param(r, f, &x.v->type), *q = plain_param(r, f, &x.v->type);
  DhcValue *gated = dhc_b_binary(&b, DHC_OP_MUL, p, dhc_b_unary(&b, DHC_OP_SIGMOID, q));
  dhc_func_result(f, dhc_b_binary(&b, DHC_OP_ADD, gated, q), "y");
  const DhcDim *batch = r->batch ? dhc_dim_symbol(r->g->m->dims, "B") : NULL;
  DhcAttr attrs[2] = {dhc_attr_func(f), dhc_attr_dims(r->g->m, &batch, r->batch ? 1 : 0)};
  RandomValue y = x;
  int times = 1 + random_below(r, 2);
  for (int k = 0; k < times && y.v; k++) {
    RandomValue z = random_other(r, &x);
    DhcValue *v[] = {y.v, z.v};
    DhcNode *n = dhc_build(&r->b, random_chance(r, 20) ? DHC_OP_CHECKPOINT : DHC_OP_CALL, v, 2, attrs, 2);
    y = random_value(r, n ? n->results[0] : NULL, fmin(y.lo, 0) + z.lo, fmax(y.hi, 0) + z.hi);
  }
  *out = y;
  return true;
}

/* ---- routing ----------------------------------------------------------------------- */

bool random_top_k(RandomGen *r, RandomValue x, RandomValue *out) {
  int rank = x.v->type.rank;
  if (r->o->smooth || rank == 0 || !random_is_const(&x, rank - 1)) return false;
  DhcAttr k = dhc_attr_int(1 + random_below(r, (int)x.dim[rank - 1]));
  *out = random_value(r, dhc_build1(&r->b, DHC_OP_TOP_K, &x.v, 1, &k, 1), x.lo, x.hi);
  return true;
}

/* x at another value's best places, and sometimes back to x's shape. */
bool random_take(RandomGen *r, RandomValue x, RandomValue *out) {
  int rank = x.v->type.rank;
  if (r->o->smooth || rank == 0 || !random_is_const(&x, rank - 1)) return false;
  RandomValue s = random_other(r, &x);
  DhcAttr k = dhc_attr_int(1 + random_below(r, (int)x.dim[rank - 1]));
  DhcNode *n = dhc_build(&r->b, DHC_OP_TOP_K, &s.v, 1, &k, 1);
  if (!n) return true;
  DhcValue *v[] = {x.v, n->results[1]};
  DhcAttr attrs[2] = {dhc_attr_int(rank - 1), dhc_attr_dim(x.v->type.dim[rank - 1])};
  *out = random_value(r, dhc_build1(&r->b, DHC_OP_TAKE_ALONG, v, 2, attrs, 1), x.lo, x.hi);
  if (!out->v || random_chance(r, 50)) return true;
  DhcValue *u[] = {out->v, n->results[1]};
  *out = random_value(r, dhc_build1(&r->b, DHC_OP_PUT_ALONG, u, 2, attrs, 2), fmin(x.lo, 0), fmax(x.hi, 0));
  return true;
}
