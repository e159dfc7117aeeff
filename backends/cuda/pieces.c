/* Functions that generated kernels call, as text: only those that a kernel needs are put before it.
 * A piece may use pieces above it. The maths functions are those of backends/cpu/math.c and pow.c,
 * operation by operation, so that both give the same bits; the order of fused and separate
 * operations in them matters as much as the constants. */
#include "backends/cuda/cuda_internal.h"
#include "backends/cuda/maths.h"

typedef struct Piece {
  const char *name; /* what a caller's text contains, followed by "(" or "<" */
  const char *text;
} Piece;

#define D "static __device__ __forceinline__ "

static const Piece pieces[] = {
    /* ---- bits ---- */
    {"f32_of_bits", D "float f32_of_bits(u32 b) { return __uint_as_float(b); }\n"},
    {"bits_of_f32", D "u32 bits_of_f32(float x) { return __float_as_uint(x); }\n"},
    {"bits_to",
     "template <class To, class From> " D "To bits_to(From x) {\n"
     "  To y;\n"
     "  memcpy(&y, &x, sizeof y);\n"
     "  return y;\n"
     "}\n"},
    {"bf16_of",
     D "bf16 bf16_of(float x) {\n"
       "  u32 u = __float_as_uint(x);\n"
       "  u32 r = x != x ? u | 0x400000u : u + ((u >> 16 & 1u) + 0x7fffu);\n"
       "  return (bf16)(r >> 16);\n"
       "}\n"},
    {"f32_of_bf16", D "float f32_of_bf16(bf16 b) { return __uint_as_float((u32)b << 16); }\n"},
    /* ---- arithmetic that C++ leaves open ---- */
    {"wrap_add", D "i64 wrap_add(i64 x, i64 y) { return (i64)((u64)x + (u64)y); }\n"},
    {"wrap_sub", D "i64 wrap_sub(i64 x, i64 y) { return (i64)((u64)x - (u64)y); }\n"},
    {"wrap_mul", D "i64 wrap_mul(i64 x, i64 y) { return (i64)((u64)x * (u64)y); }\n"},
    {"index_div",
     D "i64 index_div(i64 x, i64 y) { return (u64)(x | y) >> 32 ? (i64)((u64)x / (u64)y) : (i64)((u32)x / (u32)y); }\n"},
    {"index_rem",
     D "i64 index_rem(i64 x, i64 y) { return (u64)(x | y) >> 32 ? (i64)((u64)x % (u64)y) : (i64)((u32)x % (u32)y); }\n"},
    {"place_div", D "int place_div(int x, int y) { return (int)((u32)x / (u32)y); }\n"},
    {"place_rem", D "int place_rem(int x, int y) { return (int)((u32)x % (u32)y); }\n"},
    {"absolute",
     "template <class T> " D "T absolute(T x) { return x < 0 ? (T)(0 - (u64)x) : x; }\n" D
     "float absolute(float x) { return fabsf(x); }\n" D "double absolute(double x) { return fabs(x); }\n"},
    {"sign_of",
     "template <class T> " D "T sign_of(T x) { return x != x ? x : x > 0 ? (T)1 : x < 0 ? (T)-1 : (T)0; }\n"},
    /* NaN if either is; at a tie the second */
    {"larger", "template <class T> " D "T larger(T x, T y) { return x != x ? x : x > y ? x : y; }\n"},
    {"smaller", "template <class T> " D "T smaller(T x, T y) { return x != x ? x : x < y ? x : y; }\n"},
    {"is_finite",
     D "bool is_finite(float x) { return fabsf(x) < __uint_as_float(0x7f800000u); }\n" D
       "bool is_finite(double x) { return fabs(x) < (double)__uint_as_float(0x7f800000u); }\n"},
    {"complement",
     "template <class T> " D "T complement(T x) { return (T)~x; }\n" D "bool complement(bool x) { return !x; }\n"},
    {"shift_left",
     "template <class T, class U> " D "T shift_left(T x, U y0) {\n"
     "  const T y = (T)y0;\n"
     "  return (u64)(i64)y < 8 * sizeof(T) ? (T)((u64)x << (u64)(i64)y) : (T)0;\n"
     "}\n"},
    {"shift_right",
     "template <class T, class U> " D "T shift_right(T x, U y0) {\n"
     "  const T y = (T)y0;\n"
     "  bool in = (u64)(i64)y < 8 * sizeof(T);\n"
     "  return (T)-1 < (T)0 ? (T)(x >> (in ? y : (T)(8 * sizeof(T) - 1))) : in ? (T)(x >> y) : (T)0;\n"
     "}\n"},
    /* floor quotient and the remainder of the divisor's sign; by 0: 0 */
    {"floor_div",
     "template <class T, class U> " D "T floor_div(T x, U y0) {\n"
     "  const T y = (T)y0;\n"
     "  if (y == 0) return 0;\n"
     "  if ((T)-1 < (T)0 && y == (T)-1) return (T)(0 - (u64)x);\n"
     "  T q = (T)(x / y), r = (T)(x - q * y);\n"
     "  return r != 0 && (r < 0) != (y < 0) ? (T)(q - 1) : q;\n"
     "}\n"},
    {"floor_rem",
     "template <class T, class U> " D "T floor_rem(T x, U y0) {\n"
     "  const T y = (T)y0;\n"
     "  if (y == 0 || ((T)-1 < (T)0 && y == (T)-1)) return 0;\n"
     "  T r = (T)(x % y);\n"
     "  return r != 0 && (r < 0) != (y < 0) ? (T)(r + y) : r;\n"
     "}\n"},
    /* toward zero, saturating, NaN to 0 */
    {"int_of",
     "template <class To, class From> " D "To int_of(From x) {\n"
     "  const bool is_signed = (To)-1 < (To)0;\n"
     "  const int bits = 8 * sizeof(To);\n"
     "  const To top = is_signed ? (To)(((u64)1 << (bits - 1)) - 1) : (To)~(u64)0;\n"
     "  const To low = is_signed ? (To)((u64)1 << (bits - 1)) : (To)0;\n"
     "  const From edge = (From)((u64)1 << (bits - 1)) * (From)(is_signed ? 1 : 2);\n"
     "  return x != x ? (To)0 : x >= edge ? top : x <= (is_signed ? -edge : (From)0) ? low : (To)x;\n"
     "}\n"},
    /* ---- maths (backends/cpu/math.c) ---- */
    {"two_to", D "float two_to(int n) { return __uint_as_float((u32)(n + 127) << 23); } // -126 <= n <= 127\n"},
    {"by_ln2",
     "// x = n ln 2 + r, |r| <= ln 2 / 2\n" D "float by_ln2(float x, int *n) {\n"
     "  const float magic = 12582912.0f;\n"
     "  float t = fmaf(x, (float)1.44269504088896341, magic);\n"
     "  *n = (int)(__float_as_uint(t) - __float_as_uint(magic));\n"
     "  float nf = t - magic;\n"
     "  return fmaf(nf, (float)2.12194440054690583e-4, fmaf(nf, -0.693359375f, x));\n"
     "}\n"},
    {"expm1_poly",
     "// exp(r) - 1, |r| <= ln 2 / 2\n" D "float expm1_poly(float r) {\n"
     "  float p = 0x1.a12a42p-13f;\n"
     "  p = fmaf(p, r, 0x1.6d4920p-10f);\n"
     "  p = fmaf(p, r, 0x1.1110dfp-7f);\n"
     "  p = fmaf(p, r, 0x1.5554e5p-5f);\n"
     "  p = fmaf(p, r, 0x1.555556p-3f);\n"
     "  p = fmaf(p, r, 0.5f);\n"
     "  return fmaf(r * r, p, r);\n"
     "}\n"},
    {"exp_f32",
     D "float exp_f32(float x) {\n"
       "  x = x < -104.0f ? -104.0f : x;\n"
       "  x = 89.0f < x ? 89.0f : x;\n"
       "  int n;\n"
       "  float y = expm1_poly(by_ln2(x, &n)) + 1.0f;\n"
       "  int half = n >> 1;\n"
       "  return y * two_to(half) * two_to(n - half);\n"
       "}\n"},
    {"expm1_f32",
     D "float expm1_f32(float x0) {\n"
       "  float x = x0 < -20.0f ? -20.0f : x0;\n"
       "  x = 89.0f < x ? 89.0f : x;\n"
       "  int n;\n"
       "  float p = expm1_poly(by_ln2(x, &n)), s = two_to(n - 1);\n"
       "  float y = fmaf(s, p, s - 0.5f);\n"
       "  return fabsf(x0) < 0x1p-40f ? x0 : y + y;\n"
       "}\n"},
    {"log_normal",
     "// log of a normal positive x, whose exponent counts from `bias`\n" D "float log_normal(float x, float bias) {\n"
     "  int e = (int)(__float_as_uint(x) - 0x3f3504f3u) >> 23;\n"
     "  float f = __uint_as_float(__float_as_uint(x) - ((u32)e << 23)) - 1.0f, z = f * f, ef = (float)e + bias;\n"
     "  float p = -0x1.fc663ep-5f;\n"
     "  p = fmaf(p, f, 0x1.afa866p-4f);\n"
     "  p = fmaf(p, f, -0x1.b427a6p-4f);\n"
     "  p = fmaf(p, f, 0x1.c411c6p-4f);\n"
     "  p = fmaf(p, f, -0x1.fdf7d8p-4f);\n"
     "  p = fmaf(p, f, 0x1.2496b2p-3f);\n"
     "  p = fmaf(p, f, -0x1.555c68p-3f);\n"
     "  p = fmaf(p, f, 0x1.9999a6p-3f);\n"
     "  p = fmaf(p, f, -0x1.fffff2p-3f);\n"
     "  p = fmaf(p, f, 0x1.555556p-2f);\n"
     "  float y = p * f * z;\n"
     "  y = fmaf(ef, (float)-2.12194440054690583e-4, y);\n"
     "  y = fmaf(z, -0.5f, y);\n"
     "  return fmaf(ef, 0.693359375f, f + y);\n"
     "}\n"},
    {"log_f32",
     D "float log_f32(float x) {\n"
       "  const float inf = __uint_as_float(0x7f800000u);\n"
       "  bool tiny = x < 0x1p-126f;\n"
       "  float r = log_normal(tiny ? x * 8388608.0f : x, tiny ? -23.0f : 0.0f);\n"
       "  r = x == inf ? inf : r;\n"
       "  r = x == 0.0f ? -inf : r;\n"
       "  r = x < 0.0f ? __uint_as_float(0x7fc00000u) : r;\n"
       "  return x != x ? x : r;\n"
       "}\n"},
    {"log1p_f32",
     D "float log1p_f32(float x) {\n"
       "  const float inf = __uint_as_float(0x7f800000u);\n"
       "  float u = 1.0f + x;\n"
       "  float lost = 1.0f < fabsf(x) ? 1.0f - (u - x) : x - (u - 1.0f);\n"
       "  float r = log_normal(u, 0.0f) + lost / u;\n"
       "  r = u == 1.0f ? x : r;\n"
       "  r = x == inf ? inf : r;\n"
       "  r = u == 0.0f ? -inf : r;\n"
       "  r = u < 0.0f ? __uint_as_float(0x7fc00000u) : r;\n"
       "  return x != x ? x : r;\n"
       "}\n"},
    {"tanh_f32",
     D "float tanh_f32(float x) {\n"
       "  float e = expm1_f32(fabsf(x) * -2.0f);\n"
       "  return copysignf(e / (e + 2.0f), x);\n"
       "}\n"},
    {"sigmoid_f32",
     D "float sigmoid_f32(float x) {\n"
       "  float z = exp_f32(-fabsf(x));\n"
       "  return (x < 0.0f ? z : 1.0f) / (1.0f + z);\n"
       "}\n"},
    {"softplus_f32",
     D "float softplus_f32(float x) { return (0.0f < x ? x : 0.0f) + log1p_f32(exp_f32(-fabsf(x))); }\n"},
    {"erf_f32",
     D "float erf_f32(float x) {\n"
       "  float s = fabsf(x), z = x * x, c = 4.0f < s ? 4.0f : s;\n"
       "  float p = 0x1.5cd5d0p-14f;\n"
       "  p = fmaf(p, z, -0x1.aa44fcp-11f);\n"
       "  p = fmaf(p, z, 0x1.54c958p-8f);\n"
       "  p = fmaf(p, z, -0x1.b80eccp-6f);\n"
       "  p = fmaf(p, z, 0x1.ce2e0ep-4f);\n"
       "  p = fmaf(p, z, -0x1.812742p-2f);\n"
       "  p = fmaf(p, z, 0x1.06eba8p-3f);\n"
       "  float q = 0x1.14448cp-20f;\n"
       "  q = fmaf(q, c, -0x1.1de398p-15f);\n"
       "  q = fmaf(q, c, 0x1.044ce0p-11f);\n"
       "  q = fmaf(q, c, -0x1.196c7cp-8f);\n"
       "  q = fmaf(q, c, 0x1.9b8304p-6f);\n"
       "  q = fmaf(q, c, -0x1.b9a5d2p-4f);\n"
       "  q = fmaf(q, c, -0x1.44b21cp-1f);\n"
       "  q = fmaf(q, c, -0x1.20ff50p+0f);\n"
       "  float large = 1.0f - exp_f32(c * q);\n"
       "  return s < (float)0.92 ? fmaf(p, x, x) : copysignf(large, x);\n"
       "}\n"},
    {"root", D "float root(float x) { return __fsqrt_rn(x); }\n" D "double root(double x) { return __dsqrt_rn(x); }\n"},
    {"asinh_f32",
     D "float asinh_f32(float x) {\n"
       "  float s = fabsf(x), near = 4096.0f < s ? 4096.0f : s, z = near * near;\n"
       "  float small = log1p_f32(near + z / (1.0f + root(1.0f + z)));\n"
       "  float large = log_f32(s) + (float)0.693147180559945309;\n"
       "  return copysignf(4096.0f < s ? large : small, x);\n"
       "}\n"},
    {"quarter_turns",
     D "double quarter_turns(double x, double *whole) {\n"
       "  x = x - rint(x * 0.25) * 4.0;\n"
       "  *whole = rint(x);\n"
       "  return x - *whole;\n"
       "}\n"},
    {"sine_f64",
     "// sin(x + quarter * pi/2) (backends/cpu/trig.c)\n" D "float sine_f64(float x, int quarter) {\n"
     "  float ax = fabsf(x);\n"
     "  double c0 = 0x1.45f306dp-1, c1 = 0x1.9391054p-30, c2 = 0x1.4fe13abe8fa9ap-59, by = 1.0;\n"
     "  if (ax >= 0x1p54f) c0 = 0x1.9391054p-1, c1 = 0x1.4fe13abp-30, c2 = 0x1.d1f534ddc0db6p-59, by = 0x1p-29;\n"
     "  if (ax >= 0x1p83f) c0 = 0x1.4fe13abp-1, c1 = 0x1.d1f534dp-30, c2 = 0x1.b81b6c52b3279p-59, by = 0x1p-58;\n"
     "  if (ax >= 0x1p112f) c0 = 0x1.d1f534dp-1, c1 = 0x1.b81b6c5p-30, c2 = 0x1.5993c439041fep-61, by = 0x1p-87;\n"
     "  double wide = (double)x * by, n0, n1;\n"
     "  double f0 = quarter_turns(wide * c0, &n0), f1 = quarter_turns(wide * c1, &n1);\n"
     "  double s = f0 + f1, d = s - f0, lost = (f0 - (s - d)) + (f1 - d), n2 = rint(s);\n"
     "  double r = ((s - n2) + (lost + wide * c2)) * 1.57079632679489662, z = r * r;\n"
     "  i64 n = __double_as_longlong(n0 + n1 + n2 + 6755399441055744.0) + quarter;\n"
     "  double p = -1.0 / 39916800;\n"
     "  p = p * z + 1.0 / 362880;\n"
     "  p = p * z + -1.0 / 5040;\n"
     "  p = p * z + 1.0 / 120;\n"
     "  p = p * z + -1.0 / 6;\n"
     "  double q = 1.0 / 479001600;\n"
     "  q = q * z + -1.0 / 3628800;\n"
     "  q = q * z + 1.0 / 40320;\n"
     "  q = q * z + -1.0 / 720;\n"
     "  q = q * z + 1.0 / 24;\n"
     "  q = q * z + -0.5;\n"
     "  double y = n & 1 ? 1.0 + z * q : r + r * z * p;\n"
     "  return (float)__longlong_as_double(__double_as_longlong(y) ^ (i64)((u64)n >> 1 << 63));\n"
     "}\n"},
    {"sin_f32", D "float sin_f32(float x) { return x == 0.0f ? x : sine_f64(x, 0); }\n"},
    {"cos_f32", D "float cos_f32(float x) { return sine_f64(x, 1); }\n"},
    {"log_f64",
     D "double log_f64(double x) { // normal and positive\n"
       "  i64 bits = __double_as_longlong(x), e = (bits - 0x3fe6a09e667f3bcdll) >> 52;\n"
       "  double m = __longlong_as_double(bits - (e << 52)), magic = 6755399441055744.0;\n"
       "  double ef = __longlong_as_double(e + __double_as_longlong(magic)) - magic;\n"
       "  double s = (m - 1.0) / (m + 1.0), z = s * s, p = 2.0 / 19;\n"
       "  p = fma(p, z, 2.0 / 17);\n"
       "  p = fma(p, z, 2.0 / 15);\n"
       "  p = fma(p, z, 2.0 / 13);\n"
       "  p = fma(p, z, 2.0 / 11);\n"
       "  p = fma(p, z, 2.0 / 9);\n"
       "  p = fma(p, z, 2.0 / 7);\n"
       "  p = fma(p, z, 2.0 / 5);\n"
       "  p = fma(p, z, 2.0 / 3);\n"
       "  p = fma(p, z, 2.0);\n"
       "  return fma(ef, 0.693147180559945309, s * p);\n"
       "}\n"},
    {"exp_f64",
     D "double exp_f64(double x) { // for a result that becomes an f32\n"
       "  x = x < -110.0 ? -110.0 : x;\n"
       "  x = 95.0 < x ? 95.0 : x;\n"
       "  const double magic = 6755399441055744.0;\n"
       "  double t = fma(x, 1.44269504088896341, magic);\n"
       "  double r = fma(t - magic, -0.693147180559945309, x), p = 1.0 / 39916800;\n"
       "  p = fma(p, r, 1.0 / 3628800);\n"
       "  p = fma(p, r, 1.0 / 362880);\n"
       "  p = fma(p, r, 1.0 / 40320);\n"
       "  p = fma(p, r, 1.0 / 5040);\n"
       "  p = fma(p, r, 1.0 / 720);\n"
       "  p = fma(p, r, 1.0 / 120);\n"
       "  p = fma(p, r, 1.0 / 24);\n"
       "  p = fma(p, r, 1.0 / 6);\n"
       "  p = fma(p, r, 0.5);\n"
       "  p = fma(p, r, 1.0);\n"
       "  p = fma(p, r, 1.0);\n"
       "  return p * __longlong_as_double((i64)((u64)(__double_as_longlong(t) + 1023) << 52));\n"
       "}\n"},
    {"pow_f32",
     D "float pow_f32(float x, float y) {\n"
       "  const float inf = __uint_as_float(0x7f800000u);\n"
       "  float ax = fabsf(x);\n"
       "  double wide = (double)ax, l = log_f64(wide);\n"
       "  l = ax == 0.0f ? -(double)inf : l;\n"
       "  l = ax == inf ? (double)inf : l;\n"
       "  l = x != x ? wide : l;\n"
       "  float r = (float)exp_f64((double)y * l);\n"
       "  float half = y * 0.5f;\n"
       "  bool whole = rintf(y) == y, odd = whole && rintf(half) != half;\n"
       "  r = odd && copysignf(1.0f, x) < 0.0f ? -r : r;\n"
       "  r = x < 0.0f && -inf < x && !whole ? __uint_as_float(0x7fc00000u) : r;\n"
       "  bool to_inf = ax == 1.0f && fabsf(y) == inf;\n"
       "  return y == 0.0f || x == 1.0f || to_inf ? 1.0f : r;\n"
       "}\n"},
    /* ---- memory ---- */
    {"four", "template <class T> struct __align__(sizeof(T) < 4 ? 4 * sizeof(T) : 16) four { T at[4]; };\n"},
    /* in assembly: the compiler would make one load of four of both arms, whose addresses are the same, four of one */
    {"load_four",
     "template <class T> " D "four<T> load_four(const T *p) {\n"
     "  if ((u64)p & (alignof(four<T>) - 1)) return four<T>{p[0], p[1], p[2], p[3]};\n"
     "  u32 w[sizeof(four<T>) / 4];\n"
     "  u64 at = __cvta_generic_to_global(p);\n"
     "  if (sizeof w == 4) asm volatile(\"ld.global.u32 %0, [%1];\" : \"=r\"(w[0]) : \"l\"(at) : \"memory\");\n"
     "  else if (sizeof w == 8)\n"
     "    asm volatile(\"ld.global.v2.u32 {%0,%1}, [%2];\" : \"=r\"(w[0]), \"=r\"(w[sizeof w / 4 - 1]) : \"l\"(at) : \"memory\");\n"
     "  else\n"
     "    for (int i = 0; i < (int)sizeof w / 4; i += 4)\n"
     "      asm volatile(\"ld.global.v4.u32 {%0,%1,%2,%3}, [%4];\"\n"
     "                   : \"=r\"(w[i]), \"=r\"(w[i + 1]), \"=r\"(w[i + 2]), \"=r\"(w[i + 3])\n"
     "                   : \"l\"(at + 4 * i) : \"memory\");\n"
     "  four<T> x;\n"
     "  memcpy(&x, w, sizeof x);\n"
     "  return x;\n"
     "}\n"},
    {"store_four",
     "template <class T> " D "void store_four(T *p, four<T> x) {\n"
     "  if ((u64)p & (alignof(four<T>) - 1)) {\n"
     "    p[0] = x.at[0], p[1] = x.at[1], p[2] = x.at[2], p[3] = x.at[3];\n"
     "    return;\n"
     "  }\n"
     "  u32 w[sizeof(four<T>) / 4];\n"
     "  memcpy(w, &x, sizeof x);\n"
     "  u64 at = __cvta_generic_to_global(p);\n"
     "  if (sizeof w == 4) asm volatile(\"st.global.u32 [%1], %0;\" : : \"r\"(w[0]), \"l\"(at) : \"memory\");\n"
     "  else if (sizeof w == 8)\n"
     "    asm volatile(\"st.global.v2.u32 [%2], {%0,%1};\" : : \"r\"(w[0]), \"r\"(w[sizeof w / 4 - 1]), \"l\"(at) : \"memory\");\n"
     "  else\n"
     "    for (int i = 0; i < (int)sizeof w / 4; i += 4)\n"
     "      asm volatile(\"st.global.v4.u32 [%4], {%0,%1,%2,%3};\"\n"
     "                   : : \"r\"(w[i]), \"r\"(w[i + 1]), \"r\"(w[i + 2]), \"r\"(w[i + 3]), \"l\"(at + 4 * i) : \"memory\");\n"
     "}\n"},
    /* what nobody reads soon again goes first where a cache is full */
    {"load_once",
     D "f32x4 load_once(const f32x4 *p) {\n"
     "  f32x4 x;\n"
     "  asm volatile(\"ld.global.cs.v4.f32 {%0,%1,%2,%3}, [%4];\"\n"
     "               : \"=f\"(x.at[0]), \"=f\"(x.at[1]), \"=f\"(x.at[2]), \"=f\"(x.at[3]) : \"l\"(__cvta_generic_to_global(p)) : \"memory\");\n"
     "  return x;\n"
     "}\n"},
    {"store_once",
     D "void store_once(f32x4 *p, f32x4 x) {\n"
     "  asm volatile(\"st.global.cs.v4.f32 [%4], {%0,%1,%2,%3};\"\n"
     "               : : \"f\"(x.at[0]), \"f\"(x.at[1]), \"f\"(x.at[2]), \"f\"(x.at[3]), \"l\"(__cvta_generic_to_global(p)) : \"memory\");\n"
     "}\n"},
    /* ---- copies to block memory: the first `bytes` bytes, the rest zeros ---- */
    {"copy_async1",
     D "void copy_async1(void *to, const void *from, int bytes) {\n"
       "  asm volatile(\"cp.async.ca.shared.global [%0], [%1], 4, %2;\" :: \"r\"((u32)__cvta_generic_to_shared(to)), \"l\"(from), "
       "\"r\"(bytes));\n"
       "}\n"},
    {"copy_async2",
     D "void copy_async2(void *to, const void *from, int bytes) {\n"
       "  asm volatile(\"cp.async.ca.shared.global [%0], [%1], 8, %2;\" :: \"r\"((u32)__cvta_generic_to_shared(to)), \"l\"(from), "
       "\"r\"(bytes));\n"
       "}\n"},
    {"copy_async4",
     D "void copy_async4(void *to, const void *from, int bytes) {\n"
       "  asm volatile(\"cp.async.cg.shared.global [%0], [%1], 16, %2;\" :: \"r\"((u32)__cvta_generic_to_shared(to)), \"l\"(from), "
       "\"r\"(bytes));\n"
       "}\n"},
    /* ---- less than exact ---- */
    {"exp2_near",
     D "float exp2_near(float x) {\n"
     "  float y;\n"
     "  asm(\"ex2.approx.ftz.f32 %0, %1;\" : \"=f\"(y) : \"f\"(x));\n"
     "  return y;\n"
     "}\n"},
    {"fma_flush",
     D "float fma_flush(float x, float y, float z) {\n"
     "  float r;\n"
     "  asm(\"fma.rn.ftz.f32 %0, %1, %2, %3;\" : \"=f\"(r) : \"f\"(x), \"f\"(y), \"f\"(z));\n"
     "  return r;\n"
     "}\n"},
    /* ---- tensor cores ---- */
    {"tf32_of",
     "// matrix tiles cut off 13 bits: with this the nearest on average, and NaN stays NaN\n" D "float tf32_of(float x) { return x * "
     "__uint_as_float(0x3f800b50u); } // 1 + 2^-11.5\n"},
    {"bf16_pair",
     D "u32 bf16_pair(float low, float high) {\n"
       "  u32 r;\n"
       "  asm(\"cvt.rn.bf16x2.f32 %0, %1, %2;\" : \"=r\"(r) : \"f\"(high), \"f\"(low));\n"
       "  return r;\n"
       "}\n"},
    {"mma_bf16",
     "// d = a (16 x 16) * b (16 x 8) + d, a warp together\n" D
     "void mma_bf16(float *d, u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {\n"
     "  asm(\"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
     "{%0,%1,%2,%3};\"\n"
     "               : \"+f\"(d[0]), \"+f\"(d[1]), \"+f\"(d[2]), \"+f\"(d[3])\n"
     "               : \"r\"(a0), \"r\"(a1), \"r\"(a2), \"r\"(a3), \"r\"(b0), \"r\"(b1));\n"
     "}\n"},
    {"mma_tf32",
     "// d = a (16 x 8) * b (8 x 8) + d, a warp together\n" D
     "void mma_tf32(float *d, float a0, float a1, float a2, float a3, float b0, float b1) {\n"
     "  asm(\"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
     "{%0,%1,%2,%3};\"\n"
     "               : \"+f\"(d[0]), \"+f\"(d[1]), \"+f\"(d[2]), \"+f\"(d[3])\n"
     "               : \"r\"(__float_as_uint(a0)), \"r\"(__float_as_uint(a1)), \"r\"(__float_as_uint(a2)), "
     "\"r\"(__float_as_uint(a3)), \"r\"(__float_as_uint(b0)), \"r\"(__float_as_uint(b1)));\n"
     "}\n"},
};

enum { N_PIECES = sizeof pieces / sizeof *pieces };

static bool calls(const char *text, const char *name) {
  size_t n = strlen(name);
  for (const char *at = strstr(text, name); at; at = strstr(at + 1, name)) {
    bool begins = at == text || !(at[-1] == '_' || (at[-1] >= 'a' && at[-1] <= 'z') || (at[-1] >= '0' && at[-1] <= '9'));
    if (begins && (at[n] == '(' || at[n] == '<')) return true;
  }
  return false;
}

static int find(const char *name) {
  int i = 0;
  while (strcmp(pieces[i].name, name)) i++;
  return i;
}

/* Of the pieces from `first` to before `end`, without `left_out`. */
static void put_needed(const char *body, DhcText *to, int first, int end, int left_out) {
  bool needed[N_PIECES];
  for (int i = end - 1; i >= first; i--) {
    needed[i] = calls(body, pieces[i].name);
    for (int k = i + 1; k < end; k++) needed[i] = needed[i] || (needed[k] && calls(pieces[k].text, pieces[i].name));
  }
  for (int i = first; i < end; i++)
    if (needed[i] && i != left_out) dhc_text_puts(to, pieces[i].text);
}

void dhc_cuda_pieces(const char *body, DhcText *to) { put_needed(body, to, 0, N_PIECES, -1); }

/* Every target has a root of its own. */
void dhc_cuda_maths(const char *body, DhcText *to) { put_needed(body, to, find("two_to"), find("four"), find("root")); }
