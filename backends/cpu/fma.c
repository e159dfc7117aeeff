/* x*y + z rounded once, also where the target has no such instruction: then from additions
 * and multiplications, lane by lane, with the bits that the instruction gives.
 *
 * Both forms round to odd on the way: a sum that is not exact gets an odd last bit, so that it
 * is never mistaken for a tie or for a value of the narrower format, and rounding it once more
 * rounds the exact sum (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums",
 * IEEE Transactions on Computers 57, 2008). */
#include "backends/cpu/cpu_internal.h"

typedef LLVMValueRef V;

static V k(V like, double c) { return dhc_cpu_float(LLVMTypeOf(like), c); }
static V add(DhcCpuW *w, V x, V y) { return LLVMBuildFAdd(w->b, x, y, ""); }
static V sub(DhcCpuW *w, V x, V y) { return LLVMBuildFSub(w->b, x, y, ""); }
static V mul(DhcCpuW *w, V x, V y) { return LLVMBuildFMul(w->b, x, y, ""); }
static V pick(DhcCpuW *w, V c, V x, V y) { return LLVMBuildSelect(w->b, c, x, y, ""); }
static V less(DhcCpuW *w, V x, V y) { return LLVMBuildFCmp(w->b, LLVMRealOLT, x, y, ""); }
static V either(DhcCpuW *w, V x, V y) { return LLVMBuildOr(w->b, x, y, ""); }
static V absolute(DhcCpuW *w, V x) {
  LLVMTypeRef t = LLVMTypeOf(x);
  return dhc_cpu_intrinsic(w, "llvm.fabs", &t, 1, &x, 1);
}
static V copysign_(DhcCpuW *w, V magnitude, V sign) {
  LLVMTypeRef t = LLVMTypeOf(magnitude);
  V args[] = {magnitude, sign};
  return dhc_cpu_intrinsic(w, "llvm.copysign", &t, 1, args, 2);
}

static int lanes_of(V x) {
  LLVMTypeRef t = LLVMTypeOf(x);
  return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? (int)LLVMGetVectorSize(t) : 1;
}
static LLVMTypeRef i64_like(DhcCpuW *w, V x) { return dhc_cpu_vector(LLVMInt64TypeInContext(w->cx), lanes_of(x)); }
static V bits_of(DhcCpuW *w, V x) { return LLVMBuildBitCast(w->b, x, i64_like(w, x), ""); }
static V float_of(DhcCpuW *w, V bits, V like) { return LLVMBuildBitCast(w->b, bits, LLVMTypeOf(like), ""); }

/* x + y = *sum + *error exactly, in any order of magnitudes, barring overflow (Knuth) */
static void two_sum(DhcCpuW *w, V x, V y, V *sum, V *error) {
  V s = add(w, x, y), part = sub(w, s, x);
  *error = add(w, sub(w, x, sub(w, s, part)), sub(w, y, part));
  *sum = s;
}

/* x + y of f64 rounded to odd: what was cut off toward zero, or the last bit set. NaN and
 * infinities, whose error is NaN, stay. */
static V sum_to_odd(DhcCpuW *w, V x, V y) {
  V sum, error;
  two_sum(w, x, y, &sum, &error);
  V bits = bits_of(w, sum);
  LLVMTypeRef t = LLVMTypeOf(bits);
  V away = LLVMBuildLShr(w->b, LLVMBuildXor(w->b, bits, bits_of(w, error), ""), dhc_cpu_int(t, 63), "");
  V odd = LLVMBuildOr(w->b, LLVMBuildSub(w->b, bits, away, ""), dhc_cpu_int(t, 1), "");
  V inexact = LLVMBuildFCmp(w->b, LLVMRealONE, error, k(error, 0), "");
  return float_of(w, pick(w, inexact, odd, bits), sum);
}

/* The product of two f32 is an f64, and 53 bits rounded to odd are enough for 24. */
static V fma32(DhcCpuW *w, V x, V y, V z) {
  LLVMTypeRef f64 = dhc_cpu_vector(LLVMDoubleTypeInContext(w->cx), lanes_of(x));
  V product = mul(w, LLVMBuildFPExt(w->b, x, f64, ""), LLVMBuildFPExt(w->b, y, f64, ""));
  V sum = sum_to_odd(w, product, LLVMBuildFPExt(w->b, z, f64, ""));
  return LLVMBuildFPTrunc(w->b, sum, LLVMTypeOf(x), "");
}

/* ---- integers of 64 bits ---------------------------------------------------------------- */

/* Both halves are exact in f64, and so is what their sum rounds to odd from. */
V dhc_cpu_wide_to_float(DhcCpuW *w, V x, LLVMTypeRef to) {
  int lanes = lanes_of(x);
  LLVMTypeRef f64 = dhc_cpu_vector(LLVMDoubleTypeInContext(w->cx), lanes), i32 = dhc_cpu_vector(LLVMInt32TypeInContext(w->cx), lanes);
  V high = LLVMBuildTrunc(w->b, LLVMBuildAShr(w->b, x, dhc_cpu_int(LLVMTypeOf(x), 32), ""), i32, "");
  V h = LLVMBuildSIToFP(w->b, high, f64, ""), low = LLVMBuildUIToFP(w->b, LLVMBuildTrunc(w->b, x, i32, ""), f64, "");
  h = mul(w, h, k(h, 0x1p32));
  bool narrow = to != f64;
  return narrow ? LLVMBuildFPTrunc(w->b, sum_to_odd(w, h, low), to, "") : add(w, h, low);
}

V dhc_cpu_float_to_wide(DhcCpuW *w, V x) {
  int lanes = lanes_of(x);
  LLVMTypeRef f64 = dhc_cpu_vector(LLVMDoubleTypeInContext(w->cx), lanes), i32 = dhc_cpu_vector(LLVMInt32TypeInContext(w->cx), lanes);
  LLVMTypeRef i64 = dhc_cpu_vector(LLVMInt64TypeInContext(w->cx), lanes);
  V d = LLVMTypeOf(x) == f64 ? x : LLVMBuildFPExt(w->b, x, f64, ""), size = absolute(w, d);
  LLVMTypeRef types[] = {i32, f64};
  V quotient = mul(w, size, k(d, 0x1p-32));
  V high = dhc_cpu_intrinsic(w, "llvm.fptoui.sat", types, 2, &quotient, 1);
  V rest = sub(w, size, mul(w, LLVMBuildUIToFP(w->b, high, f64, ""), k(d, 0x1p32)));
  V low = dhc_cpu_intrinsic(w, "llvm.fptoui.sat", types, 2, &rest, 1);
  V r = LLVMBuildShl(w->b, LLVMBuildZExt(w->b, high, i64, ""), dhc_cpu_int(i64, 32), "");
  r = LLVMBuildOr(w->b, r, LLVMBuildZExt(w->b, low, i64, ""), "");
  V below = less(w, d, k(d, 0)), large = LLVMBuildNot(w->b, less(w, size, k(d, 0x1p63)), "");
  r = pick(w, below, LLVMBuildNeg(w->b, r, ""), r);
  r = pick(w, large, pick(w, below, dhc_cpu_int(i64, INT64_MIN), dhc_cpu_int(i64, INT64_MAX)), r);
  return pick(w, LLVMBuildFCmp(w->b, LLVMRealUNO, d, d, ""), LLVMConstNull(i64), r);
}

/* ---- f64 ------------------------------------------------------------------------------- */

/* 2^n, -1022 <= n <= 1023 */
static V power_of_two(DhcCpuW *w, V n, V like) {
  LLVMTypeRef t = LLVMTypeOf(n);
  V biased = LLVMBuildAdd(w->b, n, dhc_cpu_int(t, 1023), "");
  return float_of(w, LLVMBuildShl(w->b, biased, dhc_cpu_int(t, 52), ""), like);
}
static V at_least(DhcCpuW *w, V n, int64_t least) {
  V c = dhc_cpu_int(LLVMTypeOf(n), least);
  return pick(w, LLVMBuildICmp(w->b, LLVMIntSLT, n, c, ""), c, n);
}
static V at_most(DhcCpuW *w, V n, int64_t most) {
  V c = dhc_cpu_int(LLVMTypeOf(n), most);
  return pick(w, LLVMBuildICmp(w->b, LLVMIntSGT, n, c, ""), c, n);
}

/* x = result * 2^*exponent, 1 <= |result| < 2, for finite x other than 0 */
static V fraction(DhcCpuW *w, V x, V *exponent) {
  V tiny = less(w, absolute(w, x), k(x, 0x1p-1022));
  V bits = bits_of(w, pick(w, tiny, mul(w, x, k(x, 0x1p54)), x));
  LLVMTypeRef t = LLVMTypeOf(bits);
  V e = LLVMBuildAnd(w->b, LLVMBuildLShr(w->b, bits, dhc_cpu_int(t, 52), ""), dhc_cpu_int(t, 0x7ff), "");
  *exponent = LLVMBuildSub(w->b, e, pick(w, tiny, dhc_cpu_int(t, 1023 + 54), dhc_cpu_int(t, 1023)), "");
  V kept = LLVMBuildAnd(w->b, bits, dhc_cpu_int(t, (int64_t)0x800fffffffffffff), "");
  return float_of(w, LLVMBuildOr(w->b, kept, dhc_cpu_int(t, 0x3ff0000000000000), ""), x);
}

/* x*y = *product + *error exactly (Veltkamp, Dekker); 1 <= |x|, |y| < 2 */
static void two_product(DhcCpuW *w, V x, V y, V *product, V *error) {
  V half[2][2], of[] = {x, y};
  for (int i = 0; i < 2; i++) {
    V c = mul(w, of[i], k(x, 0x1p27 + 1));
    half[i][0] = sub(w, c, sub(w, c, of[i]));
    half[i][1] = sub(w, of[i], half[i][0]);
  }
  V p = mul(w, x, y);
  V e = sub(w, mul(w, half[0][0], half[1][0]), p);
  e = add(w, add(w, e, mul(w, half[0][0], half[1][1])), mul(w, half[0][1], half[1][0]));
  *error = add(w, e, mul(w, half[0][1], half[1][1]));
  *product = p;
}

enum { FAR = 120 }; /* exponents between two terms from which on the smaller is but its sign */

/* Operands as fractions with the exponents aside, the product's as the common one, so that
 * nothing on the way overflows or underflows; then one rounding, at the last place of a
 * denormal if the result is one, and the exponent put back, which is exact or overflows. */
static V fma64(DhcCpuW *w, V x, V y, V z) {
  V ex, ey, ez, u, u_low, t, t_low, v, v_low;
  V zero = k(x, 0), inf = k(x, (double)__builtin_inf());
  V fx = fraction(w, x, &ex), fy = fraction(w, y, &ey), fz = fraction(w, z, &ez);
  V e = LLVMBuildAdd(w->b, ex, ey, "");
  V no_z = LLVMBuildFCmp(w->b, LLVMRealOEQ, z, zero, "");
  V d = LLVMBuildSub(w->b, ez, e, ""), near = at_most(w, at_least(w, d, -FAR), FAR);
  V above = LLVMBuildICmp(w->b, LLVMIntSGT, d, dhc_cpu_int(LLVMTypeOf(d), FAR), "");
  above = LLVMBuildAnd(w->b, above, LLVMBuildNot(w->b, no_z, ""), "");
  e = pick(w, above, LLVMBuildSub(w->b, ez, dhc_cpu_int(LLVMTypeOf(d), FAR), ""), e);
  e = at_least(w, e, -1200); /* below, all is less than half of the least denormal anyway */
  V scaled_z = pick(w, no_z, zero, mul(w, fz, power_of_two(w, near, x)));

  two_product(w, fx, fy, &u, &u_low);
  two_sum(w, scaled_z, u_low, &t, &t_low);
  two_sum(w, u, t, &v, &v_low);
  V rest = sum_to_odd(w, t_low, v_low);

  /* a number whose last place is that of a denormal result, of the result's sign, or 0 */
  LLVMTypeRef it = LLVMTypeOf(e);
  V about = add(w, v, rest);
  V least = power_of_two(w, at_least(w, LLVMBuildSub(w->b, dhc_cpu_int(it, -1022), e, ""), -200), x);
  V grid = pick(w, less(w, absolute(w, about), least), copysign_(w, least, about), zero), low;
  two_sum(w, grid, v, &v, &low);
  V r = sub(w, add(w, v, sum_to_odd(w, low, rest)), grid);

  V half = LLVMBuildAShr(w->b, e, dhc_cpu_int(it, 1), "");
  V other = at_most(w, LLVMBuildSub(w->b, e, half, ""), 1023);
  r = copysign_(w, mul(w, mul(w, absolute(w, r), power_of_two(w, half, x)), power_of_two(w, other, x)),
                about);
  /* an operand that is not finite, or a product of 0, adds without rounding */
  V zero_product = either(w, LLVMBuildFCmp(w->b, LLVMRealOEQ, x, zero, ""), LLVMBuildFCmp(w->b, LLVMRealOEQ, y, zero, ""));
  V finite = LLVMBuildAnd(w->b, less(w, absolute(w, x), inf), less(w, absolute(w, y), inf), "");
  r = pick(w, either(w, zero_product, LLVMBuildNot(w->b, finite, "")), add(w, mul(w, x, y), z), r);
  V plain_z = LLVMBuildAnd(w->b, finite, LLVMBuildNot(w->b, less(w, absolute(w, z), inf), ""), "");
  return pick(w, plain_z, z, r); /* the product may overflow, but is finite */
}

/* Long, so a function of the module, one for each number of lanes. */
static V call_fma64(DhcCpuW *w, V x, V y, V z) {
  LLVMTypeRef t = LLVMTypeOf(x), of[] = {t, t, t}, type = LLVMFunctionType(t, of, 3, false);
  char name[32];
  snprintf(name, sizeof name, "fma.f64x%d", lanes_of(x));
  V fn = LLVMGetNamedFunction(w->module, name), args[] = {x, y, z};
  if (!fn) {
    LLVMBasicBlockRef here = LLVMGetInsertBlock(w->b);
    fn = LLVMAddFunction(w->module, name, type);
    LLVMSetLinkage(fn, LLVMInternalLinkage);
    unsigned kind = LLVMGetEnumAttributeKindForName("nounwind", 8);
    LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(w->cx, kind, 0));
    LLVMPositionBuilderAtEnd(w->b, LLVMAppendBasicBlockInContext(w->cx, fn, "entry"));
    LLVMBuildRet(w->b, fma64(w, LLVMGetParam(fn, 0), LLVMGetParam(fn, 1), LLVMGetParam(fn, 2)));
    LLVMPositionBuilderAtEnd(w->b, here);
  }
  return LLVMBuildCall2(w->b, type, fn, args, 3, "");
}

V dhc_cpu_fma(DhcCpuW *w, V x, V y, V z) {
  LLVMTypeRef t = LLVMTypeOf(x), elem = LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMGetElementType(t) : t;
  V args[] = {x, y, z};
  if (w->target->facts.has_fma) return dhc_cpu_intrinsic(w, "llvm.fma", &t, 1, args, 3);
  return LLVMGetTypeKind(elem) == LLVMDoubleTypeKind ? call_fma64(w, x, y, z) : fma32(w, x, y, z);
}
