/* Maths functions of f32 vectors, as straight-line IR: no calls, no tables, no branches.
 * Polynomials are Chebyshev fits (near minimax) of what each comment names, computed to 40
 * digits and rounded; errors are in cpu_internal.h. fma where the target has it.
 *
 * NaN goes through every path by arithmetic; selects therefore test ordered conditions
 * that a NaN fails, and no float is converted to an integer except through its bits. */
#include "backends/cpu/cpu_internal.h"

#define CPU_EW(id) \
  LLVMValueRef cpu_ew_##id(DhcCpuW *w, const LLVMValueRef *a, dhc_dtype t, int lanes)
#define UNUSED (void)w, (void)t, (void)lanes, (void)a

typedef LLVMValueRef V;

/* ---- notation ---------------------------------------------------------------------- */

static V k(V like, double c) { return dhc_cpu_float(LLVMTypeOf(like), c); }
static V add(DhcCpuW *w, V x, V y) { return LLVMBuildFAdd(w->b, x, y, ""); }
static V sub(DhcCpuW *w, V x, V y) { return LLVMBuildFSub(w->b, x, y, ""); }
static V mul(DhcCpuW *w, V x, V y) { return LLVMBuildFMul(w->b, x, y, ""); }
static V over(DhcCpuW *w, V x, V y) { return LLVMBuildFDiv(w->b, x, y, ""); }
static V fma_(DhcCpuW *w, V x, V y, V z) { return dhc_cpu_fma(w, x, y, z); }
static V neg(DhcCpuW *w, V x) { return LLVMBuildFNeg(w->b, x, ""); }
static V pick(DhcCpuW *w, V c, V x, V y) { return LLVMBuildSelect(w->b, c, x, y, ""); }
static V less(DhcCpuW *w, V x, V y) { return LLVMBuildFCmp(w->b, LLVMRealOLT, x, y, ""); }
static V equal(DhcCpuW *w, V x, V y) { return LLVMBuildFCmp(w->b, LLVMRealOEQ, x, y, ""); }
static V call1(DhcCpuW *w, const char *name, V x) {
  LLVMTypeRef t = LLVMTypeOf(x);
  return dhc_cpu_intrinsic(w, name, &t, 1, &x, 1);
}
static V absolute(DhcCpuW *w, V x) { return call1(w, "llvm.fabs", x); }
static V copysign_(DhcCpuW *w, V magnitude, V sign) {
  LLVMTypeRef t = LLVMTypeOf(magnitude);
  V args[] = {magnitude, sign};
  return dhc_cpu_intrinsic(w, "llvm.copysign", &t, 1, args, 2);
}
/* c[0] x^(n-1) + … + c[n-1] */
static V poly(DhcCpuW *w, V x, const double *c, int n) {
  V r = k(x, c[0]);
  for (int i = 1; i < n; i++) r = fma_(w, r, x, k(x, c[i]));
  return r;
}
#define POLY(w, x, c) poly((w), (x), (c), (int)(sizeof(c) / sizeof *(c)))

static LLVMTypeRef int_like(DhcCpuW *w, V x) {
  LLVMTypeRef t = LLVMTypeOf(x);
  LLVMTypeRef i32 = LLVMInt32TypeInContext(w->cx);
  return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMVectorType(i32, LLVMGetVectorSize(t)) : i32;
}
static V bits_of(DhcCpuW *w, V x) { return LLVMBuildBitCast(w->b, x, int_like(w, x), ""); }
static V float_of(DhcCpuW *w, V bits, V like) {
  return LLVMBuildBitCast(w->b, bits, LLVMTypeOf(like), "");
}
/* 2^n for -126 <= n <= 127 */
static V power_of_two(DhcCpuW *w, V n, V like) {
  LLVMTypeRef t = LLVMTypeOf(n);
  V biased = LLVMBuildAdd(w->b, n, dhc_cpu_int(t, 127), "");
  return float_of(w, LLVMBuildShl(w->b, biased, dhc_cpu_int(t, 23), ""), like);
}

static V only_f32(DhcCpuW *w, dhc_dtype t) {
  return t == DHC_F32 ? NULL
                      : dhc_cpu_refuse(w, "maths functions are compiled for f32 only; "
                                          "use --backend interp for f64");
}
#define F32_ONLY(w, t)                                     \
  do {                                                     \
    if ((t) != DHC_F32) return only_f32((w), (t));         \
  } while (0)

/* ---- exp -------------------------------------------------------------------------- */

/* x = n ln 2 + r with |r| <= ln 2 / 2: n by adding 1.5 * 2^23, whose low bits then hold it;
 * ln 2 = 0x1.63p-1 - 2.12…e-4, so that n times the first part is exact */
static V reduce_to(DhcCpuW *w, V x, V *t, V *nf) {
  V magic = k(x, 0x1.8p23);
  *t = fma_(w, x, k(x, 1.44269504088896341), magic);
  *nf = sub(w, *t, magic);
  V r = fma_(w, *nf, k(x, -0.693359375), x);
  return fma_(w, *nf, k(x, 2.12194440054690583e-4), r);
}
static V whole_of(DhcCpuW *w, V t) { return LLVMBuildSub(w->b, bits_of(w, t), bits_of(w, k(t, 0x1.8p23)), ""); }
static V reduce_by_ln2(DhcCpuW *w, V x, V *n) {
  V t, nf, r = reduce_to(w, x, &t, &nf);
  *n = whole_of(w, t);
  return r;
}

/* exp(r) - 1 = r + r^2 P(r), |r| <= ln 2 / 2 */
static V expm1_poly(DhcCpuW *w, V r) {
  static const double c[] = {0x1.a12a42p-13, 0x1.6d4920p-10, 0x1.1110dfp-7,
                             0x1.5554e5p-5,  0x1.555556p-3,  0x1.0p-1};
  return fma_(w, mul(w, r, r), POLY(w, r, c), r);
}

/* y 2^n by the one instruction that does it */
static V scaled(DhcCpuW *w, V y, V n) {
  LLVMTypeRef i16 = LLVMInt16TypeInContext(w->cx), i32 = LLVMInt32TypeInContext(w->cx);
  V args[] = {y, n, y, LLVMConstAllOnes(i16), LLVMConstInt(i32, 4, false)}; /* rounded as all else */
  return dhc_cpu_intrinsic(w, "llvm.x86.avx512.mask.scalef.ps.512", NULL, 0, args, 5);
}

/* exp x where that is normal: one factor 2^n, nothing to clamp */
static V exp_normal(DhcCpuW *w, V x) {
  V n, r = reduce_by_ln2(w, x, &n);
  return mul(w, add(w, expm1_poly(w, r), k(x, 1)), power_of_two(w, n, x));
}

static V exp_(DhcCpuW *w, V x) {
  x = pick(w, less(w, x, k(x, -104)), k(x, -104), x);
  x = pick(w, less(w, k(x, 89), x), k(x, 89), x);
  V t, nf, r = reduce_to(w, x, &t, &nf);
  V y = add(w, expm1_poly(w, r), k(x, 1));
  if (w->target->has_scale && LLVMGetTypeKind(LLVMTypeOf(x)) == LLVMVectorTypeKind && LLVMGetVectorSize(LLVMTypeOf(x)) == 16) return scaled(w, y, nf);
  V n = whole_of(w, t);
  /* two factors: 2^n itself is neither normal at -149 nor finite at 128 */
  V half = LLVMBuildAShr(w->b, n, dhc_cpu_int(LLVMTypeOf(n), 1), "");
  V rest = LLVMBuildSub(w->b, n, half, "");
  return mul(w, mul(w, y, power_of_two(w, half, x)), power_of_two(w, rest, x));
}
CPU_EW(EXP) {
  UNUSED;
  F32_ONLY(w, t);
  return exp_(w, a[0]);
}

/* 2^n (exp(r) - 1) + (2^n - 1), at half scale so that 2^128 does not appear; x itself where
 * it is so small that halving could round */
static V expm1_(DhcCpuW *w, V x0) {
  V x = pick(w, less(w, x0, k(x0, -20)), k(x0, -20), x0);
  x = pick(w, less(w, k(x, 89), x), k(x, 89), x);
  V n, r = reduce_by_ln2(w, x, &n);
  V p = expm1_poly(w, r);
  V s = power_of_two(w, LLVMBuildSub(w->b, n, dhc_cpu_int(LLVMTypeOf(n), 1), ""), x);
  V y = fma_(w, s, p, sub(w, s, k(x, 0.5)));
  y = add(w, y, y);
  return pick(w, less(w, absolute(w, x0), k(x0, 0x1p-40)), x0, y);
}
CPU_EW(EXPM1) {
  UNUSED;
  F32_ONLY(w, t);
  return expm1_(w, a[0]);
}

/* ---- log -------------------------------------------------------------------------- */

/* x = m 2^e, sqrt(1/2) <= m < sqrt 2; log m = f - f^2/2 + f^3 P(f), f = m - 1. For normal
 * positive x; the caller sees to the rest. */
static V log_normal(DhcCpuW *w, V x, V exponent_bias) {
  static const double c[] = {-0x1.fc663ep-5, 0x1.afa866p-4,  -0x1.b427a6p-4, 0x1.c411c6p-4,
                             -0x1.fdf7d8p-4, 0x1.2496b2p-3,  -0x1.555c68p-3, 0x1.9999a6p-3,
                             -0x1.fffff2p-3, 0x1.555556p-2};
  V bits = bits_of(w, x);
  LLVMTypeRef it = LLVMTypeOf(bits);
  /* exponent counted so that m starts at sqrt(1/2) */
  V from_root = LLVMBuildSub(w->b, bits, dhc_cpu_int(it, 0x3f3504f3), "");
  V e = LLVMBuildAShr(w->b, from_root, dhc_cpu_int(it, 23), "");
  V m = float_of(w, LLVMBuildSub(w->b, bits, LLVMBuildShl(w->b, e, dhc_cpu_int(it, 23), ""), ""), x);
  V ef = add(w, LLVMBuildSIToFP(w->b, e, LLVMTypeOf(x), ""), exponent_bias);
  V f = sub(w, m, k(x, 1)), z = mul(w, f, f);
  V y = mul(w, mul(w, POLY(w, f, c), f), z);
  y = fma_(w, ef, k(x, -2.12194440054690583e-4), y);
  y = fma_(w, z, k(x, -0.5), y);
  return fma_(w, ef, k(x, 0.693359375), add(w, f, y));
}

static V log_(DhcCpuW *w, V x) {
  V tiny = less(w, x, k(x, 0x1p-126)), inf = k(x, (double)__builtin_inff());
  V scaled = pick(w, tiny, mul(w, x, k(x, 0x1p23)), x);
  V r = log_normal(w, scaled, pick(w, tiny, k(x, -23), k(x, 0)));
  r = pick(w, equal(w, x, inf), inf, r);
  r = pick(w, equal(w, x, k(x, 0)), neg(w, inf), r);
  r = pick(w, less(w, x, k(x, 0)), k(x, (double)__builtin_nanf("")), r);
  return pick(w, LLVMBuildFCmp(w->b, LLVMRealUNO, x, x, ""), x, r);
}
CPU_EW(LOG) {
  UNUSED;
  F32_ONLY(w, t);
  return log_(w, a[0]);
}

/* log u + (what rounding u = 1 + x lost) / u */
static V log1p_(DhcCpuW *w, V x) {
  V one = k(x, 1), zero = k(x, 0), inf = k(x, (double)__builtin_inff());
  V u = add(w, one, x);
  V big = less(w, one, absolute(w, x)); /* which of the two to subtract first is exact */
  V lost = pick(w, big, sub(w, one, sub(w, u, x)), sub(w, x, sub(w, u, one)));
  V r = add(w, log_normal(w, u, zero), over(w, lost, u));
  r = pick(w, equal(w, u, one), x, r);
  r = pick(w, equal(w, x, inf), inf, r);
  r = pick(w, equal(w, u, zero), neg(w, inf), r);
  r = pick(w, less(w, u, zero), k(x, (double)__builtin_nanf("")), r);
  return pick(w, LLVMBuildFCmp(w->b, LLVMRealUNO, x, x, ""), x, r);
}
CPU_EW(LOG1P) {
  UNUSED;
  F32_ONLY(w, t);
  return log1p_(w, a[0]);
}

/* ---- hyperbolic and their kin -------------------------------------------------------- */

/* t = expm1(-2|x|): tanh |x| = -t / (t + 2) */
CPU_EW(TANH) {
  UNUSED;
  F32_ONLY(w, t);
  V x = a[0], e = expm1_(w, mul(w, absolute(w, x), k(x, -2)));
  return copysign_(w, over(w, e, add(w, e, k(x, 2))), x);
}

/* z = exp(-|x|): 1 / (1 + z) or z / (1 + z) */
CPU_EW(SIGMOID) {
  UNUSED;
  F32_ONLY(w, t);
  V x = a[0], one = k(x, 1), z = exp_(w, neg(w, absolute(w, x)));
  return over(w, pick(w, less(w, x, k(x, 0)), z, one), add(w, one, z));
}

/* max(x, 0) + log1p(exp(-|x|)) */
CPU_EW(SOFTPLUS) {
  UNUSED;
  F32_ONLY(w, t);
  V x = a[0], zero = k(x, 0);
  V above = pick(w, less(w, zero, x), x, zero);
  return add(w, above, log1p_(w, exp_(w, neg(w, absolute(w, x)))));
}

/* |x| < 0.92: x + x P(x^2), P of erf(t)/t - 1; above: 1 - exp(t Q(t)), Q of log(erfc t)/t,
 * t <= 4, where the result is 1 already */
CPU_EW(ERF) {
  UNUSED;
  F32_ONLY(w, t);
  static const double near[] = {0x1.5cd5d0p-14,  -0x1.aa44fcp-11, 0x1.54c958p-8, -0x1.b80eccp-6,
                                0x1.ce2e0ep-4, -0x1.812742p-2, 0x1.06eba8p-3};
  static const double far[] = {0x1.14448cp-20, -0x1.1de398p-15, 0x1.044ce0p-11, -0x1.196c7cp-8,
                               0x1.9b8304p-6,  -0x1.b9a5d2p-4,  -0x1.44b21cp-1, -0x1.20ff50p+0};
  V x = a[0], s = absolute(w, x);
  V small = fma_(w, POLY(w, mul(w, x, x), near), x, x);
  V c = pick(w, less(w, k(x, 4), s), k(x, 4), s);
  V large = sub(w, k(x, 1), exp_normal(w, mul(w, c, POLY(w, c, far)))); /* from exp -17 */
  return pick(w, less(w, s, k(x, 0.92)), small, copysign_(w, large, x));
}

/* s = |x|: log1p(s + s^2 / (1 + sqrt(1 + s^2))); from 2^12 on log s + log 2, where 1 / (4 s^2) is lost */
CPU_EW(ASINH) {
  UNUSED;
  F32_ONLY(w, t);
  V x = a[0], s = absolute(w, x), one = k(x, 1), far = k(x, 0x1p12);
  V near = pick(w, less(w, far, s), far, s), z = mul(w, near, near);
  V root = call1(w, "llvm.sqrt", add(w, one, z));
  V small = log1p_(w, add(w, near, over(w, z, add(w, one, root))));
  V large = add(w, log_(w, s), k(x, 0.693147180559945309));
  return copysign_(w, pick(w, less(w, far, s), large, small), x);
}

CPU_EW(SQRT) {
  UNUSED;
  return call1(w, "llvm.sqrt", a[0]);
}
CPU_EW(RSQRT) {
  UNUSED;
  return over(w, k(a[0], 1), call1(w, "llvm.sqrt", a[0]));
}
