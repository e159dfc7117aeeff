/* Elementwise meaning, straight from the expressions of ops.def; cast; Philox. */
#include <math.h>

#include "ir/interp_internal.h"

/* Wide enough that no expression of the table overflows on int64 operands. */
__extension__ typedef __int128 Wide;

static double dhc_ref_sigmoid(double a) {
  if (a >= 0) return 1 / (1 + exp(-a));
  double e = exp(a); /* no overflow on the way to 0 */
  return e / (1 + e);
}

/* log(1 + exp(a)) without overflow */
static double dhc_ref_softplus(double a) {
  return (a > 0 ? a : 0) + log1p(exp(-fabs(a)));
}

static double dhc_ref_max(double a, double b) {
  if (isnan(a) || isnan(b)) return NAN;
  return a > b ? a : b;
}

static double dhc_ref_min(double a, double b) {
  if (isnan(a) || isnan(b)) return NAN;
  return a < b ? a : b;
}

static Wide dhc_ref_floordiv(Wide x, Wide y) {
  if (y == 0) return 0;
  Wide q = x / y;
  return q * y != x && (x < 0) != (y < 0) ? q - 1 : q;
}

static Wide dhc_ref_floorrem(Wide x, Wide y) {
  return y == 0 ? 0 : x - dhc_ref_floordiv(x, y) * y;
}

/* Bits that leave a narrower width are cut off by the wrap that follows. */
static Wide dhc_ref_shl(Wide x, Wide y) {
  if (y < 0 || y > 63) return 0;
  return (Wide)(int64_t)((uint64_t)x << (unsigned)y);
}

static Wide dhc_ref_shr(Wide x, Wide y) {
  if (y < 0 || y > 63) return x < 0 ? -1 : 0;
  return x >> (unsigned)y;
}

int64_t dhc_eval_wrap(dhc_dtype t, int64_t v) {
  uint64_t u = (uint64_t)v;
  switch (t) {
    case DHC_I32: return (int32_t)(uint32_t)u;
    case DHC_I16: return (int16_t)(uint16_t)u;
    case DHC_I8: return (int8_t)(uint8_t)u;
    case DHC_U32: return (int64_t)(uint32_t)u;
    case DHC_U16: return (uint16_t)u;
    case DHC_U8: return (uint8_t)u;
    case DHC_BOOL: return (int64_t)(u & 1);
    default: return v;
  }
}

_Noreturn static void undefined(DhcOp op, dhc_dtype t) {
  DHC_BUG("op %s has no meaning on %s", dhc_op_info(op)->name, dhc_dtype_name(t));
}

/* Which member of the result an expression sets, by the `types` column. */
#define F_arith(e) r.f = (double)(e)
#define F_float(e) r.f = (double)(e)
#define F_select(e) r.f = (double)(e)
#define F_integer(e) r.i = (int64_t)(e)
#define F_compare(e) r.i = (int64_t)(e)
#define F_test(e) r.i = (int64_t)(e)
#define NO (undefined(op, operand), 0)

static DhcScalar eval_float(DhcOp op, dhc_dtype operand, const DhcScalar *args, int n) {
  DhcScalar r = {0};
  const double a = args[0].f, b = n > 1 ? args[1].f : 0, c = n > 2 ? args[2].f : 0;
  const int64_t x = args[0].i; /* select's condition */
  (void)x, (void)a, (void)b, (void)c;
  switch (op) {
#define EW(id, name, n_args, types, f_expr, i_expr, flops) \
  case DHC_OP_##id: F_##types(f_expr); break;
#include "ir/ops.def"
    default: undefined(op, operand);
  }
  return r;
}

static Wide eval_int(DhcOp op, dhc_dtype operand, const DhcScalar *args, int n) {
  Wide r = 0;
  const Wide x = args[0].i, y = n > 1 ? args[1].i : 0, z = n > 2 ? args[2].i : 0;
  (void)x, (void)y, (void)z;
  switch (op) {
#define EW(id, name, n_args, types, f_expr, i_expr, flops) \
  case DHC_OP_##id: r = (Wide)(i_expr); break;
#include "ir/ops.def"
    default: undefined(op, operand);
  }
  return r;
}

DhcScalar dhc_eval_ew(DhcOp op, dhc_dtype operand, const DhcScalar *args) {
  int n = dhc_op_info(op)->n_args;
  if (n < 1 || n > 3) undefined(op, operand);
  if (dhc_dtype_is_float(operand)) return eval_float(op, operand, args, n);
  /* comparisons give 0 or 1, which no wrap changes */
  return (DhcScalar){.i = dhc_eval_wrap(operand, (int64_t)eval_int(op, operand, args, n))};
}

bool dhc_eval_int(DhcOp op, const DhcScalar *args, int64_t *out) {
  Wide r = eval_int(op, DHC_I64, args, dhc_op_info(op)->n_args);
  *out = (int64_t)r;
  return *out == r;
}

DhcScalar dhc_eval_cast(dhc_dtype from, dhc_dtype to, DhcScalar v) {
  DhcScalar r;
  if (dhc_dtype_is_float(from)) {
    if (dhc_dtype_is_float(to))
      r.f = v.f;
    else
      r.i = to == DHC_BOOL ? v.f != 0 : dhc_dtype_from_double(to, v.f);
  } else {
    if (dhc_dtype_is_float(to))
      r.f = (double)v.i;
    else
      r.i = to == DHC_BOOL ? v.i != 0 : dhc_eval_wrap(to, v.i);
  }
  return r;
}

static DhcScalar scalar_at(const DhcArray *a, int64_t k) {
  DhcScalar s;
  if (a->f)
    s.f = a->f[k];
  else
    s.i = a->i[k];
  return s;
}

static void scalar_put(DhcArray *a, int64_t k, DhcScalar s) {
  if (a->f)
    a->f[k] = s.f;
  else
    a->i[k] = s.i;
}

bool dhc_interp_ew(DhcInterp *in, const DhcNode *n) {
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  const DhcArray *x[3];
  for (int k = 0; k < n->n_args; k++) {
    x[k] = dhc_in_arg(in, n, k);
    if (x[k]->n != y->n)
      return dhc_interp_error(in, n, "%s: operand %d has %lld elements, the result has %lld",
                              dhc_op_info(n->op)->name, k, (long long)x[k]->n, (long long)y->n);
  }
  dhc_dtype operand = x[n->n_args - 1]->dtype;
  for (int64_t e = 0; e < y->n; e++) {
    DhcScalar s[3];
    for (int k = 0; k < n->n_args; k++) s[k] = scalar_at(x[k], e);
    scalar_put(y, e, dhc_eval_ew(n->op, operand, s));
  }
  return true;
}

bool dhc_interp_cast(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  for (int64_t e = 0; e < y->n; e++)
    scalar_put(y, e, dhc_eval_cast(x->dtype, y->dtype, scalar_at(x, e)));
  return true;
}

/* Philox4x32-10 (Salmon et al., SC 2011): ten rounds of two 32x32->64 multiplications. */
uint32_t dhc_eval_random(int64_t seed, int64_t site, int64_t step, int64_t flat) {
  uint32_t k0 = (uint32_t)(uint64_t)seed, k1 = (uint32_t)(uint64_t)site;
  uint32_t c[4] = {(uint32_t)(uint64_t)flat, (uint32_t)((uint64_t)flat >> 32),
                   (uint32_t)(uint64_t)step, (uint32_t)((uint64_t)step >> 32)};
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ c[1] ^ k0, (uint32_t)p1,
                        (uint32_t)(p0 >> 32) ^ c[3] ^ k1, (uint32_t)p0};
    memcpy(c, next, sizeof c);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c[0];
}
