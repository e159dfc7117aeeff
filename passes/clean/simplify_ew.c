/* Rules on elementwise ops. */
#include <math.h>

#include "passes/clean/simplify_internal.h"

#define RULE(name) static bool name(DhcSimplify *s, DhcNode *n, DhcValue **out)

static bool is_float(const DhcValue *v) {
  return dhc_dtype_is_float(v->type.dtype);
}

static bool becomes(DhcValue **out, DhcValue *v) {
  out[0] = v;
  return v != NULL;
}

static DhcValue *un(DhcSimplify *s, DhcOp op, DhcValue *x) {
  return dhc_b_unary(&s->b, op, x);
}

static DhcValue *bin(DhcSimplify *s, DhcOp op, DhcValue *x, DhcValue *y) {
  return dhc_b_binary(&s->b, op, x, y);
}

RULE(neg_neg) {
  (void)s;
  return dhc_simplify_from(n->args[0], DHC_OP_NEG) && becomes(out, n->args[0]->def->args[0]);
}

RULE(abs_sign) {
  DhcNode *d = n->args[0]->def;
  if (d->op == DHC_OP_ABS && is_float(n->args[0])) return becomes(out, n->args[0]);
  return d->op == DHC_OP_NEG && is_float(n->args[0]) &&
         becomes(out, un(s, DHC_OP_ABS, d->args[0]));
}

RULE(not_not) {
  (void)s;
  return dhc_simplify_from(n->args[0], DHC_OP_NOT) && becomes(out, n->args[0]->def->args[0]);
}

RULE(add_zero) {
  (void)s;
  for (int i = 0; i < 2; i++)
    if (dhc_simplify_is(n->args[i], is_float(n->args[i]) ? -0.0 : 0))
      return becomes(out, n->args[1 - i]);
  return false;
}

RULE(add_neg) {
  for (int i = 1; i >= 0; i--)
    if (dhc_simplify_from(n->args[i], DHC_OP_NEG))
      return becomes(out, bin(s, DHC_OP_SUB, n->args[1 - i], n->args[i]->def->args[0]));
  return false;
}

RULE(sub_zero) {
  (void)s;
  return dhc_simplify_is(n->args[1], 0) && becomes(out, n->args[0]);
}

RULE(sub_neg) {
  return dhc_simplify_from(n->args[1], DHC_OP_NEG) &&
         becomes(out, bin(s, DHC_OP_ADD, n->args[0], n->args[1]->def->args[0]));
}

RULE(mul_one) {
  (void)s;
  for (int i = 0; i < 2; i++)
    if (dhc_simplify_is(n->args[i], 1)) return becomes(out, n->args[1 - i]);
  return false;
}

RULE(mul_minus_one) {
  for (int i = 0; i < 2; i++)
    if (dhc_simplify_is(n->args[i], -1)) return becomes(out, un(s, DHC_OP_NEG, n->args[1 - i]));
  return false;
}

RULE(mul_zero_int) {
  (void)s;
  for (int i = 0; i < 2; i++)
    if (!is_float(n->args[i]) && dhc_simplify_is(n->args[i], 0)) return becomes(out, n->args[i]);
  return false;
}

RULE(div_one) {
  (void)s;
  return dhc_simplify_is(n->args[1], 1) && becomes(out, n->args[0]);
}

RULE(div_power_of_two) {
  DhcScalar c;
  int e;
  if (!dhc_simplify_const(n->args[1], &c) || !isfinite(c.f) || c.f == 0) return false;
  if (fabs(frexp(c.f, &e)) != 0.5 || e > 100 || e < -100) return false;
  return becomes(out, bin(s, DHC_OP_MUL, n->args[0],
                          dhc_b_fill(&s->b, &n->args[1]->type, 1 / c.f)));
}

RULE(minmax_same) {
  (void)s;
  return n->args[0] == n->args[1] && becomes(out, n->args[0]);
}

/* and(x, x), or(x, x); and with all ones or zero, or with zero */
RULE(bits_trivial) {
  (void)s;
  if (n->args[0] == n->args[1]) return becomes(out, n->args[0]);
  double ones = n->args[0]->type.dtype == DHC_BOOL ? 1 : -1;
  double keeps = n->op == DHC_OP_AND ? ones : 0, takes = n->op == DHC_OP_AND ? 0 : ones;
  for (int i = 0; i < 2; i++) {
    if (dhc_simplify_is(n->args[i], keeps)) return becomes(out, n->args[1 - i]);
    if (dhc_simplify_is(n->args[i], takes)) return becomes(out, n->args[i]);
  }
  return false;
}

/* An integer equals itself; a float may be NaN. */
RULE(compare_same) {
  if (n->args[0] != n->args[1] || is_float(n->args[0])) return false;
  bool holds = n->op == DHC_OP_EQ || n->op == DHC_OP_LE || n->op == DHC_OP_GE;
  return becomes(out, dhc_b_fill(&s->b, &n->results[0]->type, holds));
}

RULE(select_const) {
  (void)s;
  DhcScalar c;
  return dhc_simplify_const(n->args[0], &c) && becomes(out, n->args[c.i ? 1 : 2]);
}

RULE(select_same) {
  (void)s;
  return n->args[1] == n->args[2] && becomes(out, n->args[1]);
}

RULE(select_not) {
  return dhc_simplify_from(n->args[0], DHC_OP_NOT) && n->args[0]->type.dtype == DHC_BOOL &&
         becomes(out, dhc_b_select(&s->b, n->args[0]->def->args[0], n->args[2], n->args[1]));
}

RULE(fma_one) {
  for (int i = 0; i < 2; i++)
    if (dhc_simplify_is(n->args[i], 1))
      return becomes(out, bin(s, DHC_OP_ADD, n->args[1 - i], n->args[2]));
  return dhc_simplify_is(n->args[2], -0.0) &&
         becomes(out, bin(s, DHC_OP_MUL, n->args[0], n->args[1]));
}

/* ---- casts ------------------------------------------------------------------------- */

RULE(cast_same) {
  (void)s;
  return n->args[0]->type.dtype == n->results[0]->type.dtype && becomes(out, n->args[0]);
}

/* Bits of magnitude an integer dtype can need; 53 and 24 are what floats hold. */
static int magnitude_bits(dhc_dtype t) {
  switch (t) {
    case DHC_BOOL: return 1;
    case DHC_I8: return 7;
    case DHC_U8: return 8;
    case DHC_I16: return 15;
    case DHC_U16: return 16;
    case DHC_I32: return 31;
    case DHC_U32: return 32;
    default: return 63;
  }
}

static bool is_unsigned(dhc_dtype t) {
  return t == DHC_U8 || t == DHC_U16 || t == DHC_U32 || t == DHC_BOOL;
}

/* Every value of `from` is a value of `to`. */
static bool widens(dhc_dtype from, dhc_dtype to) {
  if (from == to) return true;
  if (to == DHC_BOOL) return false;
  if (dhc_dtype_is_float(from))
    return dhc_dtype_is_float(to) && dhc_dtype_bytes(from) < dhc_dtype_bytes(to);
  if (dhc_dtype_is_float(to))
    return magnitude_bits(from) <= (to == DHC_F64 ? 53 : to == DHC_F32 ? 24 : 8);
  return magnitude_bits(from) <= magnitude_bits(to) && (is_unsigned(from) || !is_unsigned(to));
}

RULE(cast_cast) {
  DhcNode *d = n->args[0]->def;
  if (d->op != DHC_OP_CAST || !widens(d->args[0]->type.dtype, n->args[0]->type.dtype))
    return false;
  return becomes(out, dhc_b_cast(&s->b, d->args[0], n->results[0]->type.dtype));
}

/* ---- constants ------------------------------------------------------------------------ */

/* The sum of two floats is exact in double only if nothing was lost: a + b - a = b both
 * ways. A product of floats of 24 bits is always exact. */
static bool exact_in_double(const DhcNode *n, const DhcScalar *a, double r) {
  if (n->args[0]->type.dtype == DHC_F64) return true;
  if (n->op == DHC_OP_ADD) return !isfinite(r) || (r - a[0].f == a[1].f && r - a[1].f == a[0].f);
  if (n->op == DHC_OP_SUB) return !isfinite(r) || (r + a[1].f == a[0].f && a[0].f - r == a[1].f);
  return true;
}

RULE(fold) {
  DhcScalar a[3], r;
  dhc_dtype from = n->args[0]->type.dtype, to = n->results[0]->type.dtype;
  for (int i = 0; i < n->n_args; i++) {
    DhcValue *v = n->args[i];
    if (!dhc_simplify_const(v, &a[i])) return false;
    /* A constant that its dtype cannot hold is rounded by backends only. */
    if (dhc_dtype_is_float(from) && from != DHC_F64 && (double)(float)a[i].f != a[i].f &&
        !isnan(a[i].f))
      return false;
    if (from == DHC_BF16) return false;
  }
  r = n->op == DHC_OP_CAST ? dhc_eval_cast(from, to, a[0]) : dhc_eval_ew(n->op, from, a);
  if (dhc_dtype_is_float(from) && dhc_dtype_is_float(to) && !exact_in_double(n, a, r.f))
    return false;
  return becomes(out, dhc_simplify_fill(s, &n->results[0]->type, r));
}

/* i64 scalar that is a known dim. */
static const DhcDim *as_dim(DhcSimplify *s, const DhcValue *v) {
  DhcScalar c;
  if (v->def->op == DHC_OP_DIM) return dhc_attr(v->def, "dim")->dim;
  if (v->type.rank == 0 && v->type.dtype == DHC_I64 && dhc_simplify_const(v, &c))
    return dhc_dim_const(s->m->dims, c.i);
  return NULL;
}

RULE(dim_arith) {
  DhcDims *cx = s->m->dims;
  if (!dhc_simplify_from(n->args[0], DHC_OP_DIM) && !dhc_simplify_from(n->args[1], DHC_OP_DIM))
    return false;
  const DhcDim *a = as_dim(s, n->args[0]), *b = as_dim(s, n->args[1]), *r = NULL;
  int64_t k;
  if (!a || !b) return false;
  if (n->op == DHC_OP_ADD) r = dhc_dim_add(cx, a, b);
  if (n->op == DHC_OP_SUB) r = dhc_dim_sub(cx, a, b);
  if (n->op == DHC_OP_MUL) r = dhc_dim_mul(cx, a, b);
  if (n->op == DHC_OP_FLOORDIV && dhc_dim_is_const(b, &k) && k >= 1)
    r = dhc_dim_floordiv(cx, a, k);
  if (dhc_dims_overflowed(cx) || !r) return false;
  return becomes(out, dhc_b_dim(&s->b, r));
}

/* Other known sizes stay: as arguments of kernels they let models of other widths share them. */
RULE(dim_const) {
  if (!dhc_dim_is(dhc_attr(n, "dim")->dim, 1)) return false;
  return becomes(out, dhc_simplify_fill(s, &n->results[0]->type, (DhcScalar){.i = 1}));
}

const DhcRule dhc_rules_ew[] = {
    {"neg_neg", DHC_OP_NEG, neg_neg, "flips the sign bit twice; integers wrap twice"},
    {"abs_sign", DHC_OP_ABS, abs_sign, "only the sign bit is concerned"},
    {"not_not", DHC_OP_NOT, not_not, "bits"},
    {"add_zero", DHC_OP_ADD, add_zero, "only -0 is neutral: x + 0 turns -0 into +0"},
    {"add_neg", DHC_OP_ADD, add_neg, "a + -b is the definition of a - b"},
    {"sub_zero", DHC_OP_SUB, sub_zero, "only +0 is neutral: -0 - -0 is +0"},
    {"sub_neg", DHC_OP_SUB, sub_neg, "a - -b is the definition of a + b"},
    {"mul_one", DHC_OP_MUL, mul_one, "exact for every x"},
    {"mul_minus_one", DHC_OP_MUL, mul_minus_one, "exact for every x"},
    {"mul_zero_int", DHC_OP_MUL, mul_zero_int, "integers only: 0 * NaN is NaN"},
    {"div_one", DHC_OP_DIV, div_one, "exact for every x"},
    {"div_power_of_two", DHC_OP_DIV, div_power_of_two,
     "1/c is exact, so both are the same real number rounded once"},
    {"minmax_same", DHC_OP_MAX, minmax_same, "NaN stays NaN"},
    {"minmax_same", DHC_OP_MIN, minmax_same, "NaN stays NaN"},
    {"bits_trivial", DHC_OP_AND, bits_trivial, "bits"},
    {"bits_trivial", DHC_OP_OR, bits_trivial, "bits"},
    {"compare_same", DHC_OP_EQ, compare_same, "integers only: NaN differs from itself"},
    {"compare_same", DHC_OP_NE, compare_same, "integers only"},
    {"compare_same", DHC_OP_LT, compare_same, "integers only"},
    {"compare_same", DHC_OP_LE, compare_same, "integers only"},
    {"compare_same", DHC_OP_GT, compare_same, "integers only"},
    {"compare_same", DHC_OP_GE, compare_same, "integers only"},
    {"select_const", DHC_OP_SELECT, select_const, "picks an operand"},
    {"select_same", DHC_OP_SELECT, select_same, "picks an operand"},
    {"select_not", DHC_OP_SELECT, select_not, "picks an operand"},
    {"fma_one", DHC_OP_FMA, fma_one, "the product (or the sum with -0) is exact: one rounding left"},
    {"cast_same", DHC_OP_CAST, cast_same, "no conversion"},
    {"cast_cast", DHC_OP_CAST, cast_cast, "the inner cast loses nothing"},
    {"dim_arith", DHC_OP_ADD, dim_arith, "integers, no overflow"},
    {"dim_arith", DHC_OP_SUB, dim_arith, "integers, no overflow"},
    {"dim_arith", DHC_OP_MUL, dim_arith, "integers, no overflow"},
    {"dim_arith", DHC_OP_FLOORDIV, dim_arith, "integers; both floor"},
    {"dim_const", DHC_OP_DIM, dim_const, "a length of 1 is a constant"},
    {"fold", DHC_RULE_EXACT, fold, "operands and result are exact in the dtype"},
};
const int dhc_n_rules_ew = (int)(sizeof dhc_rules_ew / sizeof *dhc_rules_ew);
