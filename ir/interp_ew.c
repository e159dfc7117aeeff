/* Elementwise meaning, straight from the expressions of ops.def; cast. */
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

/* ---- many at once ------------------------------------------------------------------ */

#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_WIDE 1
#else
#define HAS_WIDE 0
#endif

#define Y_arith yf
#define Y_float yf
#define Y_select yf
#define Y_integer yi
#define Y_compare yi
#define Y_test yi

/* One loop a row of the table. An operand that an op does not have is one that it has: not looked at. */
static inline __attribute__((always_inline)) void float_rows(DhcOp op, dhc_dtype operand, const double *va, const double *vb, const double *vc,
                                                             const int64_t *vx, int64_t n, double *restrict yf, int64_t *restrict yi) {
  switch (op) {
#define EW(id, name, n_args, types, f_expr, i_expr, flops)       \
  case DHC_OP_##id:                                              \
    for (int64_t e = 0; e < n; e++) {                            \
      const double a = va[e], b = vb[e], c = vc[e];              \
      const int64_t x = vx ? vx[e] : 0;                          \
      DhcScalar r = {0};                                         \
      (void)x, (void)a, (void)b, (void)c;                        \
      F_##types(f_expr);                                         \
      Y_##types[e] = r.R_##types;                                \
    }                                                            \
    break;
#define R_arith f
#define R_float f
#define R_select f
#define R_integer i
#define R_compare i
#define R_test i
#include "ir/ops.def"
    default: undefined(op, operand);
  }
}

static void float_rows_plain(DhcOp op, dhc_dtype operand, const double *a, const double *b, const double *c, const int64_t *x, int64_t n,
                             double *yf, int64_t *yi) {
  float_rows(op, operand, a, b, c, x, n, yf, yi);
}

#if HAS_WIDE
static bool has_wide(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
}

/* The same operations in the same order, more lanes at a time: the same bits. */
__attribute__((target("avx512f,avx512dq"))) static void float_rows_wide(DhcOp op, dhc_dtype operand, const double *a, const double *b,
                                                                        const double *c, const int64_t *x, int64_t n, double *yf, int64_t *yi) {
  float_rows(op, operand, a, b, c, x, n, yf, yi);
}
#endif

void dhc_eval_ew_many(DhcOp op, dhc_dtype operand, const DhcLane *x, int64_t n, DhcLaneOut y) {
  int n_args = dhc_op_info(op)->n_args;
  if (dhc_dtype_is_float(operand)) {
    const double *last = x[n_args - 1].f;
    const double *a = x[0].f ? x[0].f : last, *b = n_args > 1 ? x[1].f : last, *c = n_args > 2 ? x[2].f : last;
#if HAS_WIDE
    if (has_wide()) {
      float_rows_wide(op, operand, a, b, c, x[0].i, n, y.f, y.i);
      return;
    }
#endif
    float_rows_plain(op, operand, a, b, c, x[0].i, n, y.f, y.i);
    return;
  }
  for (int64_t e = 0; e < n; e++) {
    DhcScalar s[3];
    for (int k = 0; k < n_args; k++) s[k].i = x[k].i[e];
    y.i[e] = dhc_eval_ew(op, operand, s).i;
  }
}

static inline __attribute__((always_inline)) void to_float(const int64_t *restrict x, int64_t n, double *restrict y) {
  for (int64_t e = 0; e < n; e++) y[e] = (double)x[e];
}

static void to_float_plain(const int64_t *x, int64_t n, double *y) {
  to_float(x, n, y);
}

#if HAS_WIDE
__attribute__((target("avx512f,avx512dq"))) static void to_float_wide(const int64_t *x, int64_t n, double *y) {
  to_float(x, n, y);
}
#endif

void dhc_eval_cast_many(dhc_dtype from, dhc_dtype to, DhcLane x, int64_t n, DhcLaneOut y) {
#if HAS_WIDE
  if (x.i && y.f && has_wide()) {
    to_float_wide(x.i, n, y.f);
    return;
  }
#endif
  if (x.i && y.f) {
    to_float_plain(x.i, n, y.f);
    return;
  }
  for (int64_t e = 0; e < n; e++) {
    DhcScalar v;
    if (x.f)
      v.f = x.f[e];
    else
      v.i = x.i[e];
    v = dhc_eval_cast(from, to, v);
    if (y.f)
      y.f[e] = v.f;
    else
      y.i[e] = v.i;
  }
}

bool dhc_interp_ew(DhcInterp *in, const DhcNode *n) {
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  const DhcArray *x[3];
  for (int k = 0; k < n->n_args; k++) {
    x[k] = dhc_in_arg(in, n, k);
    dhc_in_proved(n, x[k]->n == y->n);
  }
  DhcLane lane[3];
  for (int k = 0; k < n->n_args; k++) lane[k] = (DhcLane){x[k]->f, x[k]->i};
  dhc_eval_ew_many(n->op, x[n->n_args - 1]->dtype, lane, y->n, (DhcLaneOut){y->f, y->i});
  return true;
}

bool dhc_interp_cast(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  dhc_eval_cast_many(x->dtype, y->dtype, (DhcLane){x->f, x->i}, y->n, (DhcLaneOut){y->f, y->i});
  return true;
}
