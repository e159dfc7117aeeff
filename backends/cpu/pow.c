/* pow of f32 vectors, computed in f64: log |x| to 1e-15 times y, then exp to 1e-12, so that
 * one rounding to f32 is left. Special cases as in C. */
#include "backends/cpu/cpu_internal.h"

typedef LLVMValueRef V;

static V k(V like, double c) { return dhc_cpu_float(LLVMTypeOf(like), c); }
static V pick(DhcCpuW *w, V c, V x, V y) { return LLVMBuildSelect(w->b, c, x, y, ""); }
static V both(DhcCpuW *w, V x, V y) { return LLVMBuildAnd(w->b, x, y, ""); }
static V less(DhcCpuW *w, V x, V y) { return LLVMBuildFCmp(w->b, LLVMRealOLT, x, y, ""); }
static V equal(DhcCpuW *w, V x, V y) { return LLVMBuildFCmp(w->b, LLVMRealOEQ, x, y, ""); }
static V mul(DhcCpuW *w, V x, V y) { return LLVMBuildFMul(w->b, x, y, ""); }
static V sub(DhcCpuW *w, V x, V y) { return LLVMBuildFSub(w->b, x, y, ""); }
static V absolute(DhcCpuW *w, V x) {
  LLVMTypeRef t = LLVMTypeOf(x);
  return dhc_cpu_intrinsic(w, "llvm.fabs", &t, 1, &x, 1);
}
/* sum of c[i] x^(n-1-i) */
static V poly(DhcCpuW *w, V x, const double *c, int n) {
  V r = k(x, c[0]);
  for (int i = 1; i < n; i++) r = dhc_cpu_fma(w, r, x, k(x, c[i]));
  return r;
}

#define MAGIC 0x1.8p52 /* its low bits hold a small integer that is added to it */

/* x = m 2^e, sqrt(1/2) <= m < sqrt 2; log m = 2 atanh(s), s = (m - 1) / (m + 1). For normal
 * positive f64, which every positive finite f32 is. */
static V log64(DhcCpuW *w, V x, LLVMTypeRef i64) {
  static const double c[] = {2.0 / 19, 2.0 / 17, 2.0 / 15, 2.0 / 13, 2.0 / 11,
                             2.0 / 9,  2.0 / 7,  2.0 / 5,  2.0 / 3,  2.0};
  LLVMTypeRef t = LLVMTypeOf(x);
  V bits = LLVMBuildBitCast(w->b, x, i64, "");
  V from_root = LLVMBuildSub(w->b, bits, dhc_cpu_int(i64, 0x3fe6a09e667f3bcd), "");
  V e = LLVMBuildAShr(w->b, from_root, dhc_cpu_int(i64, 52), "");
  V m = LLVMBuildSub(w->b, bits, LLVMBuildShl(w->b, e, dhc_cpu_int(i64, 52), ""), "");
  m = LLVMBuildBitCast(w->b, m, t, "");
  V magic = LLVMBuildBitCast(w->b, k(x, MAGIC), i64, "");
  V ef = sub(w, LLVMBuildBitCast(w->b, LLVMBuildAdd(w->b, e, magic, ""), t, ""), k(x, MAGIC));
  V s = LLVMBuildFDiv(w->b, sub(w, m, k(x, 1)), LLVMBuildFAdd(w->b, m, k(x, 1), ""), "");
  V log_m = mul(w, s, poly(w, mul(w, s, s), c, 10));
  return dhc_cpu_fma(w, ef, k(x, 0.693147180559945309), log_m);
}

/* exp for a result that becomes an f32: beyond [-110, 95] that is 0 or infinite anyway */
static V exp64(DhcCpuW *w, V x, LLVMTypeRef i64) {
  static const double c[] = {1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                             1.0 / 5040,     1.0 / 720,     1.0 / 120,    1.0 / 24,
                             1.0 / 6,        0.5,           1,            1};
  LLVMTypeRef t = LLVMTypeOf(x);
  x = pick(w, less(w, x, k(x, -110)), k(x, -110), x);
  x = pick(w, less(w, k(x, 95), x), k(x, 95), x);
  V shifted = dhc_cpu_fma(w, x, k(x, 1.44269504088896341), k(x, MAGIC));
  V n = LLVMBuildBitCast(w->b, shifted, i64, "");
  V r = dhc_cpu_fma(w, sub(w, shifted, k(x, MAGIC)), k(x, -0.693147180559945309), x);
  V scale = LLVMBuildShl(w->b, LLVMBuildAdd(w->b, n, dhc_cpu_int(i64, 1023), ""),
                         dhc_cpu_int(i64, 52), ""); /* what magic adds above is shifted out */
  return mul(w, poly(w, r, c, 12), LLVMBuildBitCast(w->b, scale, t, ""));
}

LLVMValueRef cpu_ew_POW(DhcCpuW *w, const LLVMValueRef *a, dhc_dtype t, int lanes) {
  if (t != DHC_F32) return dhc_cpu_refuse(w, "pow is compiled for f32 only; use --backend interp for f64");
  V x = a[0], y = a[1], one = k(x, 1), zero = k(x, 0), inf = k(x, (double)__builtin_inff());
  LLVMTypeRef f64 = dhc_cpu_vector(LLVMDoubleTypeInContext(w->cx), lanes);
  LLVMTypeRef i64 = dhc_cpu_vector(LLVMInt64TypeInContext(w->cx), lanes);
  V ax = absolute(w, x), wide = LLVMBuildFPExt(w->b, ax, f64, "");
  V l = log64(w, wide, i64);
  l = pick(w, equal(w, ax, zero), k(wide, -(double)__builtin_inff()), l);
  l = pick(w, equal(w, ax, inf), k(wide, (double)__builtin_inff()), l);
  l = pick(w, LLVMBuildFCmp(w->b, LLVMRealUNO, x, x, ""), wide, l);
  V r = exp64(w, mul(w, LLVMBuildFPExt(w->b, y, f64, ""), l), i64);
  r = LLVMBuildFPTrunc(w->b, r, LLVMTypeOf(x), "");

  V whole = equal(w, dhc_cpu_round(w, y, t), y), half = mul(w, y, k(x, 0.5));
  V odd = both(w, whole, LLVMBuildFCmp(w->b, LLVMRealUNE, dhc_cpu_round(w, half, t), half, ""));
  /* the sign bit, so that -0 counts */
  LLVMTypeRef pair = LLVMTypeOf(x);
  V args[] = {one, x};
  V negative = less(w, dhc_cpu_intrinsic(w, "llvm.copysign", &pair, 1, args, 2), zero);
  r = pick(w, both(w, odd, negative), LLVMBuildFNeg(w->b, r, ""), r);
  V nan = k(x, (double)__builtin_nanf(""));
  V in_range = both(w, less(w, x, zero), less(w, k(x, -(double)__builtin_inff()), x));
  r = pick(w, both(w, in_range, LLVMBuildNot(w->b, whole, "")), nan, r);
  V to_inf = both(w, equal(w, ax, one), equal(w, absolute(w, y), inf));
  V is_one = LLVMBuildOr(w->b, equal(w, y, zero), equal(w, x, one), "");
  return pick(w, LLVMBuildOr(w->b, is_one, to_inf, ""), one, r);
}
