/* sin and cos of f32 vectors, computed in f64 so that one rounding to f32 is left, for every
 * argument: no table, no branch, no fused multiply-add, so the bits need no FMA units.
 *
 * Range reduction (after Payne and Hanek, "Radian reduction for trigonometric functions", ACM
 * SIGNUM Newsletter 18, 1983): x * 2/pi modulo 4. 2/pi is cut into pieces of 29 bits, whose
 * products with the 24 bits of x are f64; pieces that only make multiples of 4 are left out,
 * which depends on x's magnitude: four cases. */
#include "backends/cpu/cpu_internal.h"

#define CPU_EW(id) \
  LLVMValueRef cpu_ew_##id(DhcCpuW *w, const LLVMValueRef *a, dhc_dtype t, int lanes)

typedef LLVMValueRef V;

static V k(V like, double c) { return dhc_cpu_float(LLVMTypeOf(like), c); }
static V add(DhcCpuW *w, V x, V y) { return LLVMBuildFAdd(w->b, x, y, ""); }
static V sub(DhcCpuW *w, V x, V y) { return LLVMBuildFSub(w->b, x, y, ""); }
static V mul(DhcCpuW *w, V x, V y) { return LLVMBuildFMul(w->b, x, y, ""); }
static V pick(DhcCpuW *w, V c, V x, V y) { return LLVMBuildSelect(w->b, c, x, y, ""); }
static V nearest(DhcCpuW *w, V x) { return dhc_cpu_round(w, x, DHC_F64); }

/* sum of c[i] x^(n-1-i) */
static V poly(DhcCpuW *w, V x, const double *c, int n) {
  V r = k(x, c[0]);
  for (int i = 1; i < n; i++) r = add(w, mul(w, r, x), k(x, c[i]));
  return r;
}

/* x modulo 4, exactly, as *whole plus what is returned, at most 1/2 */
static V quarter_turns(DhcCpuW *w, V x, V *whole) {
  x = sub(w, x, mul(w, nearest(w, mul(w, x, k(x, 0.25))), k(x, 4)));
  *whole = nearest(w, x);
  return sub(w, x, *whole);
}

/* x = (*n + f) pi/2 modulo 2 pi; returns f pi/2 as f64. *n: i64, the two low bits count.
 * Not finite: NaN. */
static V reduce(DhcCpuW *w, V x, LLVMTypeRef f64, LLVMTypeRef i64, V *n) {
  /* bits 29 i + 1 … 29 i + 29, the next 29 and the next 53 of 2/pi, for i = 0 … 3 */
  static const double part[4][3] = {{0x1.45f306dp-1, 0x1.9391054p-30, 0x1.4fe13abe8fa9ap-59},
                                    {0x1.9391054p-1, 0x1.4fe13abp-30, 0x1.d1f534ddc0db6p-59},
                                    {0x1.4fe13abp-1, 0x1.d1f534dp-30, 0x1.b81b6c52b3279p-59},
                                    {0x1.d1f534dp-1, 0x1.b81b6c5p-30, 0x1.5993c439041fep-61}};
  LLVMTypeRef t = LLVMTypeOf(x);
  V magnitude = dhc_cpu_intrinsic(w, "llvm.fabs", &t, 1, &x, 1), wide = LLVMBuildFPExt(w->b, x, f64, "");
  V c[3], scale = k(wide, 1);
  for (int p = 0; p < 3; p++) c[p] = k(wide, part[0][p]);
  for (int i = 1; i < 4; i++) {
    /* x's last place is at least 2^(29 i + 2) */
    static const double from[4] = {0, 0x1p54, 0x1p83, 0x1p112}, by[4] = {1, 0x1p-29, 0x1p-58, 0x1p-87};
    V big = LLVMBuildFCmp(w->b, LLVMRealOGE, magnitude, k(x, from[i]), "");
    for (int p = 0; p < 3; p++) c[p] = pick(w, big, k(wide, part[i][p]), c[p]);
    scale = pick(w, big, k(wide, by[i]), scale);
  }
  wide = mul(w, wide, scale);
  V n0, n1, f0 = quarter_turns(w, mul(w, wide, c[0]), &n0), f1 = quarter_turns(w, mul(w, wide, c[1]), &n1);
  /* f0 + f1 with what their sum loses (Knuth) */
  V s = add(w, f0, f1), d = sub(w, s, f0), lost = add(w, sub(w, f0, sub(w, s, d)), sub(w, f1, d));
  V n2 = nearest(w, s), f = add(w, sub(w, s, n2), add(w, lost, mul(w, wide, c[2])));
  V turns = add(w, add(w, add(w, n0, n1), n2), k(wide, 0x1.8p52)); /* its low bits hold the sum */
  *n = LLVMBuildBitCast(w->b, turns, i64, "");
  return mul(w, f, k(wide, 1.57079632679489662));
}

/* sin(x + quarter * pi/2), |error| < 1e-10 of the result before it is rounded */
static V sine(DhcCpuW *w, V x, int quarter, int lanes) {
  static const double s[] = {-1.0 / 39916800, 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6};
  static const double c[] = {1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24, -0.5};
  LLVMTypeRef f64 = dhc_cpu_vector(LLVMDoubleTypeInContext(w->cx), lanes);
  LLVMTypeRef i64 = dhc_cpu_vector(LLVMInt64TypeInContext(w->cx), lanes);
  V n, r = reduce(w, x, f64, i64, &n), z = mul(w, r, r);
  n = LLVMBuildAdd(w->b, n, dhc_cpu_int(i64, quarter), "");
  V sin_r = add(w, r, mul(w, mul(w, r, z), poly(w, z, s, 5)));
  V cos_r = add(w, k(r, 1), mul(w, z, poly(w, z, c, 6)));
  V one = dhc_cpu_int(i64, 1), odd = LLVMBuildICmp(w->b, LLVMIntEQ, LLVMBuildAnd(w->b, n, one, ""), one, "");
  V y = LLVMBuildBitCast(w->b, pick(w, odd, cos_r, sin_r), i64, "");
  V sign = LLVMBuildShl(w->b, LLVMBuildLShr(w->b, n, one, ""), dhc_cpu_int(i64, 63), "");
  y = LLVMBuildBitCast(w->b, LLVMBuildXor(w->b, y, sign, ""), f64, "");
  return LLVMBuildFPTrunc(w->b, y, LLVMTypeOf(x), "");
}

CPU_EW(SIN) {
  if (t != DHC_F32) return dhc_cpu_refuse(w, "sin is compiled for f32 only; use --backend interp for f64");
  V x = a[0], zero = LLVMBuildFCmp(w->b, LLVMRealOEQ, x, k(x, 0), "");
  return pick(w, zero, x, sine(w, x, 0, lanes)); /* -0 stays */
}

CPU_EW(COS) {
  if (t != DHC_F32) return dhc_cpu_refuse(w, "cos is compiled for f32 only; use --backend interp for f64");
  return sine(w, a[0], 1, lanes);
}
