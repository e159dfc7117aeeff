/* Step templates of the random graph generator: elementwise, moves and reductions. */
#include <math.h>

#include "tests/random/random_steps.h"

/* ---- building with bounds -------------------------------------------------------- */

RandomValue random_un(RandomGen *r, DhcOp op, RandomValue x, double lo, double hi) {
  return random_value(r, dhc_b_unary(&r->b, op, x.v), lo, hi);
}

static double min4(double a, double b, double c, double d) { return fmin(fmin(a, b), fmin(c, d)); }
static double max4(double a, double b, double c, double d) { return fmax(fmax(a, b), fmax(c, d)); }

RandomValue random_bin(RandomGen *r, DhcOp op, RandomValue x, RandomValue y) {
  double lo, hi;
  switch (op) {
    case DHC_OP_ADD: lo = x.lo + y.lo, hi = x.hi + y.hi; break;
    case DHC_OP_SUB: lo = x.lo - y.hi, hi = x.hi - y.lo; break;
    case DHC_OP_MUL:
      lo = min4(x.lo * y.lo, x.lo * y.hi, x.hi * y.lo, x.hi * y.hi);
      hi = max4(x.lo * y.lo, x.lo * y.hi, x.hi * y.lo, x.hi * y.hi);
      break;
    case DHC_OP_DIV: /* y > 0 */
      lo = fmin(x.lo / y.lo, x.lo / y.hi);
      hi = fmax(x.hi / y.lo, x.hi / y.hi);
      break;
    case DHC_OP_MAX: lo = fmax(x.lo, y.lo), hi = fmax(x.hi, y.hi); break;
    case DHC_OP_MIN: lo = fmin(x.lo, y.lo), hi = fmin(x.hi, y.hi); break;
    default: DHC_BUG("no bounds for %s", dhc_op_info(op)->name);
  }
  return random_value(r, dhc_b_binary(&r->b, op, x.v, y.v), lo, hi);
}

RandomValue random_tame(RandomGen *r, RandomValue x, double limit) {
  if (x.lo >= -limit && x.hi <= limit) return x;
  return random_un(r, DHC_OP_TANH, x, -1, 1);
}

static RandomValue constant(RandomGen *r, double v) {
  return random_value(r, dhc_b_scalar(&r->b, DHC_F32, v), v, v);
}

RandomValue random_positive(RandomGen *r, RandomValue x, double at_least) {
  double hi = fmax(x.hi, 0) + 1;
  RandomValue s = random_un(r, DHC_OP_SOFTPLUS, x, 0, hi);
  return random_bin(r, DHC_OP_ADD, s, constant(r, at_least));
}

/* ---- elementwise ------------------------------------------------------------------- */

static bool step_unary(RandomGen *r, RandomValue x, RandomValue *out) {
  double m = fmax(fabs(x.lo), fabs(x.hi));
  switch (random_below(r, r->o->smooth ? 12 : 15)) {
    case 0: *out = random_un(r, DHC_OP_NEG, x, -x.hi, -x.lo); break;
    case 1: *out = random_un(r, DHC_OP_TANH, x, -1, 1); break;
    case 2: *out = random_un(r, DHC_OP_SIGMOID, x, 0, 1); break;
    case 3: *out = random_un(r, DHC_OP_EXP, random_tame(r, x, 4), 0, 55); break;
    case 4: *out = random_un(r, DHC_OP_SOFTPLUS, x, 0, fmax(x.hi, 0) + 1); break;
    case 5: *out = random_un(r, DHC_OP_ERF, x, -1, 1); break;
    case 6: *out = random_un(r, DHC_OP_LOG, random_positive(r, x, 0.25), -2, log(m + 2) + 1); break;
    case 7: *out = random_un(r, DHC_OP_SQRT, random_positive(r, x, 0.25), 0.4, sqrt(m + 2)); break;
    case 8: *out = random_un(r, DHC_OP_RSQRT, random_positive(r, x, 0.25), 0, 2); break;
    case 9: *out = random_un(r, DHC_OP_EXPM1, random_tame(r, x, 4), -1, 55); break;
    case 10: *out = random_un(r, DHC_OP_LOG1P, random_positive(r, x, 0), 0, log(m + 3) + 1); break;
    case 11: *out = random_bin(r, DHC_OP_MUL, x, x); break;
    case 12: *out = random_un(r, DHC_OP_ABS, x, 0, m); break;
    case 13: *out = random_un(r, DHC_OP_SIGN, x, -1, 1); break;
    default: *out = random_un(r, DHC_OP_FLOOR, x, floor(x.lo), x.hi); break;
  }
  return true;
}

static const DhcOp arithmetic[] = {DHC_OP_ADD, DHC_OP_MUL, DHC_OP_SUB, DHC_OP_DIV, DHC_OP_MAX, DHC_OP_MIN};

static RandomValue combine(RandomGen *r, RandomValue x, RandomValue y) {
  DhcOp op = arithmetic[random_below(r, r->o->smooth ? 4 : 6)];
  if (op == DHC_OP_DIV) y = random_positive(r, y, 0.5);
  return random_bin(r, op, x, y);
}

static bool step_binary(RandomGen *r, RandomValue x, RandomValue *out) {
  *out = combine(r, x, random_other(r, &x));
  return true;
}

/* A trailing part of x's shape, some extents 1, on either side. */
static bool step_broadcast_binary(RandomGen *r, RandomValue x, RandomValue *out) {
  DhcType t = {.dtype = DHC_F32};
  int64_t dim[DHC_MAX_RANK];
  int skip = random_below(r, x.v->type.rank + 1);
  for (int d = skip; d < x.v->type.rank; d++) {
    bool one = random_chance(r, 30);
    dim[t.rank] = one ? 1 : x.dim[d];
    t.dim[t.rank++] = one ? random_const(r, 1) : x.v->type.dim[d];
  }
  RandomValue y = random_input(r, &t, dim, -2, 2);
  *out = random_chance(r, 50) ? combine(r, x, y) : combine(r, y, x);
  return true;
}

static bool step_fma(RandomGen *r, RandomValue x, RandomValue *out) {
  RandomValue y = random_other(r, &x), z = random_other(r, &x);
  x = random_tame(r, x, 100);
  y = random_tame(r, y, 100);
  DhcValue *v[] = {x.v, y.v, z.v};
  *out = random_value(r, dhc_build1(&r->b, DHC_OP_FMA, v, 3, NULL, 0), z.lo - 1e4, z.hi + 1e4);
  return true;
}

static bool step_select(RandomGen *r, RandomValue x, RandomValue *out) {
  static const DhcOp compare[] = {DHC_OP_LT, DHC_OP_LE, DHC_OP_GT, DHC_OP_GE, DHC_OP_NE};
  if (r->o->smooth) return false;
  RandomValue y = random_other(r, &x), z = random_other(r, &x);
  DhcValue *c = dhc_b_binary(&r->b, compare[random_below(r, 5)], x.v, y.v);
  if (random_chance(r, 30)) c = dhc_b_unary(&r->b, DHC_OP_NOT, c);
  *out = random_value(r, dhc_b_select(&r->b, c, x.v, z.v), fmin(x.lo, z.lo), fmax(x.hi, z.hi));
  return true;
}

/* Places where index > row are replaced, as a causal mask does. */
static bool step_mask(RandomGen *r, RandomValue x, RandomValue *out) {
  int rank = x.v->type.rank;
  if (rank < 2) return false;
  DhcAttr attrs[3] = {dhc_attr_int(rank - 2), dhc_attr_dtype(DHC_I32),
                      dhc_attr_dims(r->g->m, x.v->type.dim, rank)};
  DhcValue *row = dhc_build1(&r->b, DHC_OP_IOTA, NULL, 0, attrs, 3);
  attrs[0] = dhc_attr_int(rank - 1);
  DhcValue *col = dhc_build1(&r->b, DHC_OP_IOTA, NULL, 0, attrs, 3);
  DhcValue *c = dhc_b_binary(&r->b, DHC_OP_LE, col, row);
  RandomValue other = constant(r, -3);
  *out = random_value(r, dhc_b_select(&r->b, c, x.v, other.v), fmin(x.lo, -3), fmax(x.hi, -3));
  return true;
}

static bool step_dropout(RandomGen *r, RandomValue x, RandomValue *out) {
  DhcValue *key[3];
  for (int k = 0; k < 3; k++) key[k] = random_scalar_input(r, random_below(r, 100));
  DhcAttr shape = dhc_attr_dims(r->g->m, x.v->type.dim, x.v->type.rank);
  DhcValue *bits = dhc_build1(&r->b, DHC_OP_RANDOM_BITS, key, 3, &shape, 1);
  DhcValue *limit = dhc_b_scalar(&r->b, DHC_U32, 0x60000000);
  DhcValue *keep = dhc_b_binary(&r->b, DHC_OP_GE, bits, limit);
  RandomValue zero = constant(r, 0), scaled = random_bin(r, DHC_OP_MUL, x, constant(r, 1.6));
  *out = random_value(r, dhc_b_select(&r->b, keep, scaled.v, zero.v), fmin(scaled.lo, 0), fmax(scaled.hi, 0));
  return true;
}

/* ---- views and moves ------------------------------------------------------------------ */

static bool step_transpose(RandomGen *r, RandomValue x, RandomValue *out) {
  int rank = x.v->type.rank;
  int64_t perm[DHC_MAX_RANK];
  if (rank < 2) return false;
  for (int d = 0; d < rank; d++) perm[d] = d;
  for (int d = rank - 1; d > 0; d--) {
    int j = random_below(r, d + 1);
    int64_t keep = perm[d];
    perm[d] = perm[j];
    perm[j] = keep;
  }
  *out = random_value(r, dhc_b_transpose(&r->b, x.v, perm), x.lo, x.hi);
  return true;
}

/* Two neighbouring axes become one, or one constant axis becomes two. */
static bool step_reshape(RandomGen *r, RandomValue x, RandomValue *out) {
  const DhcType *t = &x.v->type;
  const DhcDim *dim[DHC_MAX_RANK];
  int rank = 0, at = t->rank > 0 ? random_below(r, t->rank) : 0;
  bool split = random_chance(r, 40);
  if (t->rank == 0) {
    dim[rank++] = random_const(r, 1);
  } else if (split) {
    int64_t by = x.dim[at] % 3 == 0 ? 3 : x.dim[at] % 2 == 0 ? 2 : 1;
    if (!random_is_const(&x, at) || t->rank >= 6) return false;
    for (int d = 0; d < t->rank; d++) {
      dim[rank++] = d == at ? random_const(r, x.dim[d] / by) : t->dim[d];
      if (d == at) dim[rank++] = random_const(r, by);
    }
  } else {
    if (at + 1 >= t->rank) return false;
    for (int d = 0; d < t->rank; d++) {
      if (d == at) {
        dim[rank++] = dhc_dim_mul(r->g->m->dims, t->dim[d], t->dim[d + 1]);
        d++;
      } else {
        dim[rank++] = t->dim[d];
      }
    }
  }
  *out = random_value(r, dhc_b_reshape(&r->b, x.v, dim, rank), x.lo, x.hi);
  return true;
}

static bool step_broadcast(RandomGen *r, RandomValue x, RandomValue *out) {
  const DhcType *t = &x.v->type;
  const DhcDim *dim[DHC_MAX_RANK];
  int extra = 2 + random_below(r, 3);
  if (t->rank >= 5 || random_elements(&x) * extra * 4 > r->max_elements) return false;
  dim[0] = random_const(r, extra);
  int grown = 0;
  for (int d = 0; d < t->rank; d++) {
    bool grow = dhc_dim_is(t->dim[d], 1) && grown++ == 0;
    dim[d + 1] = grow ? random_const(r, 4) : t->dim[d];
  }
  *out = random_value(r, dhc_b_broadcast(&r->b, x.v, dim, t->rank + 1), x.lo, x.hi);
  return true;
}

/* An axis whose extent is a constant above 1, or -1. */
static int const_axis(RandomGen *r, const RandomValue *x) {
  int rank = x->v->type.rank, from = rank > 0 ? random_below(r, rank) : 0;
  for (int k = 0; k < rank; k++) {
    int d = (from + k) % rank;
    if (random_is_const(x, d) && x->dim[d] > 1) return d;
  }
  return -1;
}

static bool step_slice(RandomGen *r, RandomValue x, RandomValue *out) {
  int axis = const_axis(r, &x);
  if (axis < 0) return false;
  int64_t n = x.dim[axis], start = random_below(r, (int)n), step[DHC_MAX_RANK];
  int64_t by = 1 + random_below(r, 3), size = 1 + random_below(r, (int)((n - 1 - start) / by + 1));
  const DhcDim *from[DHC_MAX_RANK], *count[DHC_MAX_RANK];
  for (int d = 0; d < x.v->type.rank; d++) {
    from[d] = random_const(r, d == axis ? start : 0);
    count[d] = d == axis ? random_const(r, size) : x.v->type.dim[d];
    step[d] = d == axis ? by : 1;
  }
  int rank = x.v->type.rank;
  DhcAttr attrs[3] = {dhc_attr_dims(r->g->m, from, rank), dhc_attr_dims(r->g->m, count, rank),
                      dhc_attr_ints(r->g->m, step, rank)};
  *out = random_value(r, dhc_build1(&r->b, DHC_OP_SLICE, &x.v, 1, attrs, 3), x.lo, x.hi);
  return true;
}

static bool step_reverse(RandomGen *r, RandomValue x, RandomValue *out) {
  if (x.v->type.rank == 0) return false;
  int64_t axis = random_below(r, x.v->type.rank);
  DhcAttr a = dhc_attr_ints(r->g->m, &axis, 1);
  *out = random_value(r, dhc_build1(&r->b, DHC_OP_REVERSE, &x.v, 1, &a, 1), x.lo, x.hi);
  return true;
}

static bool step_pad(RandomGen *r, RandomValue x, RandomValue *out) {
  int rank = x.v->type.rank;
  const DhcDim *low[DHC_MAX_RANK], *high[DHC_MAX_RANK];
  int64_t step[DHC_MAX_RANK];
  if (rank == 0 || random_elements(&x) * 16 > r->max_elements) return false;
  int axis = random_below(r, rank);
  for (int d = 0; d < rank; d++) {
    low[d] = random_const(r, d == axis ? random_below(r, 3) : 0);
    high[d] = random_const(r, d == axis ? random_below(r, 3) : 0);
    step[d] = d == axis && random_is_const(&x, d) ? 1 + random_below(r, 2) : 1;
  }
  DhcAttr attrs[3] = {dhc_attr_dims(r->g->m, low, rank), dhc_attr_dims(r->g->m, high, rank),
                      dhc_attr_ints(r->g->m, step, rank)};
  *out = random_value(r, dhc_build1(&r->b, DHC_OP_PAD, &x.v, 1, attrs, 3), fmin(x.lo, 0), fmax(x.hi, 0));
  return true;
}

static bool step_concat(RandomGen *r, RandomValue x, RandomValue *out) {
  if (x.v->type.rank == 0 || random_elements(&x) * 3 > r->max_elements) return false;
  RandomValue y = random_other(r, &x);
  DhcValue *v[] = {x.v, y.v, x.v};
  int n = random_chance(r, 30) ? 3 : 2, axis = random_below(r, x.v->type.rank);
  *out = random_value(r, dhc_b_concat(&r->b, v, n, axis), fmin(x.lo, y.lo), fmax(x.hi, y.hi));
  return true;
}

static bool step_gather(RandomGen *r, RandomValue x, RandomValue *out) {
  int axis = const_axis(r, &x);
  if (axis < 0 || random_elements(&x) * 8 > r->max_elements) return false;
  int64_t many = 1 + random_below(r, 7);
  DhcValue *v[] = {x.v, random_index_input(r, many, x.dim[axis])};
  DhcAttr a = dhc_attr_int(axis);
  RandomValue y = random_value(r, dhc_build1(&r->b, DHC_OP_GATHER, v, 2, &a, 1), x.lo, x.hi);
  if (random_chance(r, 50)) {
    DhcValue *u[] = {x.v, v[1], y.v};
    double m = (double)many + 1;
    y = random_value(r, dhc_build1(&r->b, DHC_OP_SCATTER_ADD, u, 3, &a, 1), fmin(x.lo, 0) * m, fmax(x.hi, 0) * m);
  }
  *out = y;
  return true;
}

static bool step_dynamic_slice(RandomGen *r, RandomValue x, RandomValue *out) {
  int axis = const_axis(r, &x);
  if (axis < 0) return false;
  DhcValue *v[] = {x.v, random_scalar_input(r, random_below(r, 4))};
  DhcAttr attrs[2] = {dhc_attr_int(axis), dhc_attr_dim(random_const(r, x.dim[axis] - 1))};
  RandomValue y = random_value(r, dhc_build1(&r->b, DHC_OP_DYNAMIC_SLICE, v, 2, attrs, 2), x.lo, x.hi);
  if (random_chance(r, 50)) {
    DhcValue *u[] = {x.v, random_un(r, DHC_OP_NEG, y, -x.hi, -x.lo).v, v[1]};
    double m = fmax(fabs(x.lo), fabs(x.hi));
    y = random_value(r, dhc_build1(&r->b, DHC_OP_DYNAMIC_UPDATE, u, 3, attrs, 1), -m, m);
  }
  *out = y;
  return true;
}

/* ---- choosing ---------------------------------------------------------------------------- */

typedef struct Template {
  bool (*make)(RandomGen *r, RandomValue x, RandomValue *out);
  int weight;
} Template;

static const Template templates[] = {
    {step_unary, 14},    {step_binary, 12},    {step_broadcast_binary, 8}, {step_fma, 2},
    {step_select, 4},    {step_mask, 2},       {step_dropout, 2},          {step_transpose, 5},
    {step_reshape, 5},   {step_broadcast, 4},  {step_slice, 4},            {step_reverse, 2},
    {step_pad, 3},       {step_concat, 4},     {step_gather, 3},           {step_dynamic_slice, 2},
    {random_reduce, 8},  {random_softmax, 4},  {random_norm, 3},           {random_dot, 9},
    {random_conv, 5},    {random_window, 4},   {random_linear_scan, 4},    {random_scan, 3},
    {random_call, 4},    {random_top_k, 2},    {random_take, 2}};
enum { N_TEMPLATES = sizeof templates / sizeof *templates };

bool random_step(RandomGen *r, RandomValue x) {
  int total = 0, at = 0;
  for (int k = 0; k < N_TEMPLATES; k++) total += templates[k].weight;
  int drawn = random_below(r, total);
  while (drawn >= templates[at].weight) drawn -= templates[at++].weight;
  for (int k = 0; k < N_TEMPLATES; k++) {
    RandomValue out = {0};
    if (!templates[(at + k) % N_TEMPLATES].make(r, x, &out)) continue;
    if (!out.v) return false;
    random_put(r, random_tame(r, out, 1000));
    return true;
  }
  return false;
}
