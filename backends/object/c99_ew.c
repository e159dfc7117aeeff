/* The C99 column of the elementwise ops, and the functions that generated C calls. Forms are as in backends/cuda/ew.c,
 * whose maths functions these are; $t is the suffix of a dtype, for C has no overloading. An op of ir/ops.def
 * without a row here does not compile. */
#include "backends/cuda/maths.h"
#include "backends/object/c99.h"

#define ONLY_F32 "#" /* before a form: f32 only */

#define C99_NEG "-$0@sub_$t(0, $0)"
#define C99_ABS "abs_$t($0)"
#define C99_SIGN "sign_$t($0)"
#define C99_EXP ONLY_F32 "exp_f32($0)"
#define C99_EXPM1 ONLY_F32 "expm1_f32($0)"
#define C99_LOG ONLY_F32 "log_f32($0)"
#define C99_LOG1P ONLY_F32 "log1p_f32($0)"
#define C99_TANH ONLY_F32 "tanh_f32($0)"
#define C99_SIGMOID ONLY_F32 "sigmoid_f32($0)"
#define C99_SOFTPLUS ONLY_F32 "softplus_f32($0)"
#define C99_ERF ONLY_F32 "erf_f32($0)"
#define C99_SQRT ONLY_F32 "root_f32($0)"
#define C99_RSQRT ONLY_F32 "1.0f / root_f32($0)"
#define C99_SIN ONLY_F32 "sin_f32($0)"
#define C99_COS ONLY_F32 "cos_f32($0)"
#define C99_ASINH ONLY_F32 "asinh_f32($0)"
#define C99_FLOOR "floor_$t($0)@$0"
#define C99_ROUND "round_$t($0)@$0"
#define C99_IS_FINITE "finite_$t($0)"
#define C99_NOT "not_$t($0)"
#define C99_STOP_GRADIENT "$0"
#define C99_ADD "$0 + $1@add_$t($0, $1)"
#define C99_SUB "$0 - $1@sub_$t($0, $1)"
#define C99_MUL "$0 * $1@mul_$t($0, $1)"
#define C99_DIV "$0 / $1"
#define C99_POW ONLY_F32 "pow_f32($0, $1)"
#define C99_MAX "max_$t($0, $1)"
#define C99_MIN "min_$t($0, $1)"
#define C99_FLOORDIV "floor_div_$t($0, $1)"
#define C99_REM "floor_rem_$t($0, $1)"
#define C99_AND "and_$t($0, $1)"
#define C99_OR "or_$t($0, $1)"
#define C99_XOR "xor_$t($0, $1)"
#define C99_SHL "shift_left_$t($0, $1)"
#define C99_SHR "shift_right_$t($0, $1)"
#define C99_EQ "$0 == $1"
#define C99_NE "$0 != $1"
#define C99_LT "$0 < $1"
#define C99_LE "$0 <= $1"
#define C99_GT "$0 > $1"
#define C99_GE "$0 >= $1"
#define C99_FMA "fma_$t($0, $1, $2)"
#define C99_SELECT "$0 ? $1 : $2"

static const char *const form[DHC_N_OPS] = {
#define EW(id, ...) [DHC_OP_##id] = C99_##id,
#include "ir/ops.def"
};

typedef struct Type {
  const char *name, *suffix, *memory;
} Type;
static const Type types[DHC_N_DTYPES] = {
    [DHC_F64] = {"double", "f64", "m_f64"},    [DHC_F32] = {"float", "f32", "m_f32"},     [DHC_BF16] = {"float", "f32", "m_u16"},
    [DHC_I64] = {"int64_t", "i64", "m_i64"},   [DHC_I32] = {"int32_t", "i32", "m_i32"},   [DHC_I16] = {"int16_t", "i16", "m_i16"},
    [DHC_I8] = {"int8_t", "i8", "m_i8"},       [DHC_U32] = {"uint32_t", "u32", "m_u32"},  [DHC_U16] = {"uint16_t", "u16", "m_u16"},
    [DHC_U8] = {"uint8_t", "u8", "m_u8"},      [DHC_BOOL] = {"bool", "bool", "m_u8"}};

const char *dhc_c99_type(dhc_dtype t) { return types[t].name; }
const char *dhc_c99_memory_type(dhc_dtype t) { return types[t].memory; }

const char *dhc_c99_ew(DhcText *to, DhcOp op, const char *const *a, dhc_dtype t, bool index) {
  const char *f = form[op];
  if (*f == '#') {
    if (t != DHC_F32 && t != DHC_BF16) return "maths functions are compiled for f32 only; use --backend interp for f64";
    f++;
  }
  const char *end = strchr(f, '@');
  if (end && !dhc_dtype_is_float(t) && !index) f = end + 1, end = NULL;
  for (; *f && f != end; f++) {
    if (*f == '$' && f[1] == 't') dhc_text_puts(to, types[t].suffix), f++;
    else if (*f == '$') dhc_text_puts(to, a[*++f - '0']);
    else dhc_text_printf(to, "%c", *f);
  }
  return NULL;
}

void dhc_c99_cast(DhcText *to, const char *x, dhc_dtype from, dhc_dtype want) {
  const Type *t = &types[want];
  if (want == DHC_BOOL) dhc_text_printf(to, "%s != 0", x);
  else if (want == DHC_BF16 && from != DHC_BF16) dhc_text_printf(to, "f32_of_bf16(bf16_of((float)%s))", x);
  else if (dhc_dtype_is_float(from) && !dhc_dtype_is_float(want)) dhc_text_printf(to, "%s_of_f64((double)%s)", t->suffix, x);
  else dhc_text_printf(to, "(%s)%s", t->name, x);
}

/* ---- what kernels call ----------------------------------------------------------------------------- */

static const char types_text[] =
    "#if defined __FAST_MATH__\n"
    "#error \"floating point is defined here: no -ffast-math, and -ffp-contract=off\"\n"
    "#endif\n"
    "#if defined __FLT_EVAL_METHOD__ && __FLT_EVAL_METHOD__ != 0\n"
    "#error \"float and double have to be computed as they are\"\n"
    "#endif\n"
    "/* Memory is seen as several types in turn. */\n"
    "#if defined __GNUC__\n"
    "#define MEMORY __attribute__((__may_alias__, __unused__))\n"
    "#define SHARED static __attribute__((__unused__)) inline\n"
    "#else\n"
    "#define MEMORY\n"
    "#define SHARED static inline\n"
    "#endif\n"
    "typedef uint64_t u64;\ntypedef uint32_t u32;\ntypedef int64_t i64;\ntypedef uint16_t bf16;\n"
    "typedef double MEMORY m_f64;\ntypedef float MEMORY m_f32;\ntypedef int64_t MEMORY m_i64;\ntypedef int32_t MEMORY m_i32;\n"
    "typedef int16_t MEMORY m_i16;\ntypedef int8_t MEMORY m_i8;\ntypedef uint32_t MEMORY m_u32;\ntypedef uint16_t MEMORY m_u16;\n"
    "typedef uint8_t MEMORY m_u8;\n\n"
    "void *memcpy(void *restrict to, const void *restrict from, size_t n);\n"
    "void *memset(void *to, int v, size_t n);\n\n";

static const char floats_text[] =
    "typedef union bits32 { float f; u32 u; } bits32;\n"
    "typedef union bits64 { double f; u64 u; } bits64;\n"
    "SHARED float f32_of_bits(u32 b) { bits32 x; x.u = b; return x.f; }\n"
    "SHARED u32 bits_of_f32(float x) { bits32 y; y.f = x; return y.u; }\n"
    "SHARED double f64_of_bits(u64 b) { bits64 x; x.u = b; return x.f; }\n"
    "SHARED u64 bits_of_f64(double x) { bits64 y; y.f = x; return y.u; }\n"
    "SHARED bf16 bf16_of(float x) {\n"
    "  u32 u = bits_of_f32(x), r = x != x ? u | 0x400000u : u + ((u >> 16 & 1u) + 0x7fffu);\n"
    "  return (bf16)(r >> 16);\n"
    "}\n"
    "SHARED float f32_of_bf16(bf16 b) { return f32_of_bits((u32)b << 16); }\n"
    "SHARED float abs_f32(float x) { return f32_of_bits(bits_of_f32(x) & 0x7fffffffu); }\n"
    "SHARED double abs_f64(double x) { return f64_of_bits(bits_of_f64(x) & 0x7fffffffffffffffu); }\n"
    "SHARED float sign_like_f32(float x, float s) { return f32_of_bits((bits_of_f32(x) & 0x7fffffffu) | (bits_of_f32(s) & 0x80000000u)); }\n"
    "SHARED double sign_like_f64(double x, double s) {\n"
    "  return f64_of_bits((bits_of_f64(x) & 0x7fffffffffffffffu) | (bits_of_f64(s) & 0x8000000000000000u));\n"
    "}\n"
    "SHARED float sign_f32(float x) { return x != x ? x : x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f; }\n"
    "SHARED double sign_f64(double x) { return x != x ? x : x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0; }\n"
    "/* NaN if either is; at a tie the second */\n"
    "SHARED float max_f32(float x, float y) { return x != x ? x : x > y ? x : y; }\n"
    "SHARED float min_f32(float x, float y) { return x != x ? x : x < y ? x : y; }\n"
    "SHARED double max_f64(double x, double y) { return x != x ? x : x > y ? x : y; }\n"
    "SHARED double min_f64(double x, double y) { return x != x ? x : x < y ? x : y; }\n"
    "SHARED bool finite_f32(float x) { return abs_f32(x) < f32_of_bits(0x7f800000u); }\n"
    "SHARED bool finite_f64(double x) { return abs_f64(x) < f64_of_bits(0x7ff0000000000000u); }\n"
    "/* to the nearest integer, halves to even: by adding what has no fraction */\n"
    "SHARED float round_f32(float x) {\n"
    "  float a = abs_f32(x), r = a + 8388608.0f;\n"
    "  return a < 8388608.0f ? sign_like_f32(r - 8388608.0f, x) : x;\n"
    "}\n"
    "SHARED double round_f64(double x) {\n"
    "  double a = abs_f64(x), r = a + 4503599627370496.0;\n"
    "  return a < 4503599627370496.0 ? sign_like_f64(r - 4503599627370496.0, x) : x;\n"
    "}\n"
    "SHARED float floor_f32(float x) { float r = round_f32(x); return r > x ? r - 1.0f : r; }\n"
    "SHARED double floor_f64(double x) { double r = round_f64(x); return r > x ? r - 1.0 : r; }\n\n";

/* backends/cpu/fma.c in C; a root by its bits. */
static const char fused_text[] =
    "#if defined __FP_FAST_FMAF && defined __FP_FAST_FMA\n"
    "#define fma_f32 __builtin_fmaf\n"
    "#define fma_f64 __builtin_fma\n"
    "#else\n"
    "/* x + y rounded to odd */\n"
    "SHARED double sum_to_odd(double x, double y) {\n"
    "  double s = x + y, part = s - x, error = (x - (s - part)) + (y - part);\n"
    "  u64 b = bits_of_f64(s);\n"
    "  if (error < 0 || error > 0) b = (b - ((b ^ bits_of_f64(error)) >> 63)) | 1u;\n"
    "  return f64_of_bits(b);\n"
    "}\n"
    "SHARED float fma_f32(float x, float y, float z) { return (float)sum_to_odd((double)x * (double)y, (double)z); }\n"
    "SHARED double power_of_two_f64(i64 n) { return f64_of_bits((u64)(n + 1023) << 52); }\n"
    "SHARED double fraction_f64(double x, i64 *e) {\n"
    "  bool tiny = abs_f64(x) < 0x1p-1022;\n"
    "  u64 b = bits_of_f64(tiny ? x * 0x1p54 : x);\n"
    "  *e = (i64)(b >> 52 & 0x7ffu) - (tiny ? 1023 + 54 : 1023);\n"
    "  return f64_of_bits((b & 0x800fffffffffffffu) | 0x3ff0000000000000u);\n"
    "}\n"
    "SHARED double fma_f64(double x, double y, double z) {\n"
    "  double inf = f64_of_bits(0x7ff0000000000000u);\n"
    "  bool finite = abs_f64(x) < inf && abs_f64(y) < inf;\n"
    "  i64 ex, ey, ez;\n"
    "  if (finite && !(abs_f64(z) < inf)) return z;\n"
    "  if (!finite || x == 0 || y == 0) return x * y + z;\n"
    "  double fx = fraction_f64(x, &ex), fy = fraction_f64(y, &ey), fz = fraction_f64(z, &ez);\n"
    "  i64 e = ex + ey, d = ez - e, near = d < -120 ? -120 : d > 120 ? 120 : d;\n"
    "  if (d > 120 && z != 0) e = ez - 120;\n"
    "  e = e < -1200 ? -1200 : e;\n"
    "  double sz = z == 0 ? 0.0 : fz * power_of_two_f64(near);\n"
    "  double c = fx * 134217729.0, xh = c - (c - fx), xl = fx - xh;\n"
    "  c = fy * 134217729.0;\n"
    "  double yh = c - (c - fy), yl = fy - yh, u = fx * fy;\n"
    "  double ul = (((xh * yh - u) + xh * yl) + xl * yh) + xl * yl;\n"
    "  double t = sz + ul, part = t - sz, tl = (sz - (t - part)) + (ul - part);\n"
    "  double v = u + t;\n"
    "  part = v - u;\n"
    "  double vl = (u - (v - part)) + (t - part), rest = sum_to_odd(tl, vl), about = v + rest;\n"
    "  i64 low_e = -1022 - e < -200 ? -200 : -1022 - e;\n"
    "  double least = power_of_two_f64(low_e), grid = abs_f64(about) < least ? sign_like_f64(least, about) : 0.0;\n"
    "  double g = grid + v;\n"
    "  part = g - grid;\n"
    "  double low = (grid - (g - part)) + (v - part);\n"
    "  double r = (g + sum_to_odd(low, rest)) - grid;\n"
    "  i64 half = e >> 1, other = e - half > 1023 ? 1023 : e - half;\n"
    "  return sign_like_f64(abs_f64(r) * power_of_two_f64(half) * power_of_two_f64(other), about);\n"
    "}\n"
    "#endif\n"
    "/* the nearest float to the root, which is never a tie */\n"
    "SHARED float root_f32(float x) {\n"
    "  u32 b = bits_of_f32(x);\n"
    "  int e = (int)(b >> 23), k;\n"
    "  if (x == 0 || x != x || b == 0x7f800000u) return x;\n"
    "  if (x < 0) return f32_of_bits(0x7fc00000u);\n"
    "  u64 m = b & 0x7fffffu, r = 0, bit;\n"
    "  if (e) m |= 0x800000u;\n"
    "  else for (e = 1; m < 0x800000u; e--) m <<= 1;\n"
    "  e -= 150 + 1; /* x = 2 m 2^e */\n"
    "  m <<= 1;\n"
    "  if (e & 1) m <<= 1, e--;\n"
    "  m <<= 24;\n"
    "  for (k = 25, bit = (u64)1 << 25; k >= 0; k--, bit >>= 1)\n"
    "    if ((r | bit) * (r | bit) <= m) r |= bit;\n"
    "  r = (r + 1) >> 1;\n"
    "  return (float)r * f32_of_bits((u32)(e / 2 - 11 + 127) << 23);\n"
    "}\n\n";

/* For each integer type T, its unsigned kind U, its width: wrap-around, floor division, shifts, from floats. */
static const char integers_text[] =
    "#define INTEGER(t, T, U, BITS, SIGNED) \\\n"
    "  SHARED T add_##t(T x, T y) { return (T)((U)x + (U)y); } \\\n"
    "  SHARED T sub_##t(T x, T y) { return (T)((U)x - (U)y); } \\\n"
    "  SHARED T mul_##t(T x, T y) { return (T)((u64)x * (u64)y); } \\\n"
    "  SHARED T abs_##t(T x) { return x > 0 ? x : (T)(0 - (U)x); } \\\n"
    "  SHARED T sign_##t(T x) { return (T)((x > 0) - (SIGNED && x != 0 && !(x > 0))); } \\\n"
    "  SHARED T max_##t(T x, T y) { return x > y ? x : y; } \\\n"
    "  SHARED T min_##t(T x, T y) { return x < y ? x : y; } \\\n"
    "  SHARED T not_##t(T x) { return (T)~x; } \\\n"
    "  SHARED T and_##t(T x, T y) { return (T)(x & y); } \\\n"
    "  SHARED T or_##t(T x, T y) { return (T)(x | y); } \\\n"
    "  SHARED T xor_##t(T x, T y) { return (T)(x ^ y); } \\\n"
    "  SHARED T shift_left_##t(T x, T y) { return (U)y < BITS ? (T)((u64)x << y) : (T)0; } \\\n"
    "  SHARED T shift_right_##t(T x, T y) { \\\n"
    "    bool in = (U)y < BITS; \\\n"
    "    return SIGNED ? (T)(x >> (in ? y : (T)(BITS - 1))) : in ? (T)(x >> y) : (T)0; \\\n"
    "  } \\\n"
    "  SHARED T floor_div_##t(T x, T y) { \\\n"
    "    T q, r; \\\n"
    "    if (y == 0) return 0; \\\n"
    "    if (SIGNED && y == (T)-1) return (T)(0 - (U)x); \\\n"
    "    q = (T)(x / y); \\\n"
    "    r = (T)(x % y); \\\n"
    "    return SIGNED && r != 0 && ((r > 0) != (y > 0)) ? (T)(q - 1) : q; \\\n"
    "  } \\\n"
    "  SHARED T floor_rem_##t(T x, T y) { \\\n"
    "    T r; \\\n"
    "    if (y == 0 || (SIGNED && y == (T)-1)) return 0; \\\n"
    "    r = (T)(x % y); \\\n"
    "    return SIGNED && r != 0 && ((r > 0) != (y > 0)) ? (T)(r + y) : r; \\\n"
    "  } \\\n"
    "  SHARED T t##_of_f64(double x) { /* toward zero, ends where it does not fit, NaN to 0 */ \\\n"
    "    const double edge = (double)((u64)1 << (BITS - 1)) * (SIGNED ? 1.0 : 2.0); \\\n"
    "    const T top = SIGNED ? (T)(((u64)1 << (BITS - 1)) - 1) : (T)~(u64)0; \\\n"
    "    const T low = SIGNED ? (T)((u64)1 << (BITS - 1)) : (T)0; \\\n"
    "    return x != x ? (T)0 : x >= edge ? top : x <= (SIGNED ? -edge : 0.0) ? low : (T)x; \\\n"
    "  }\n"
    "INTEGER(i64, int64_t, uint64_t, 64, 1)\nINTEGER(i32, int32_t, uint32_t, 32, 1)\nINTEGER(i16, int16_t, uint16_t, 16, 1)\n"
    "INTEGER(i8, int8_t, uint8_t, 8, 1)\nINTEGER(u32, uint32_t, uint32_t, 32, 0)\nINTEGER(u16, uint16_t, uint16_t, 16, 0)\n"
    "INTEGER(u8, uint8_t, uint8_t, 8, 0)\n"
    "SHARED bool max_bool(bool x, bool y) { return x || y; }\n"
    "SHARED bool min_bool(bool x, bool y) { return x && y; }\n"
    "SHARED bool not_bool(bool x) { return !x; }\n"
    "SHARED bool and_bool(bool x, bool y) { return x && y; }\n"
    "SHARED bool or_bool(bool x, bool y) { return x || y; }\n"
    "SHARED bool xor_bool(bool x, bool y) { return x != y; }\n\n";

/* CUDA's words for what has another name here. */
static const char *const words[][2] = {{"static __device__ __forceinline__ ", "SHARED "},
                                       {"__uint_as_float(", "f32_of_bits("},
                                       {"__float_as_uint(", "bits_of_f32("},
                                       {"__longlong_as_double(", "f64_of_bits((u64)"},
                                       {"__double_as_longlong(", "(i64)bits_of_f64("},
                                       {"fmaf(", "fma_f32("},
                                       {"fma(", "fma_f64("},
                                       {"fabsf(", "abs_f32("},
                                       {"copysignf(", "sign_like_f32("},
                                       {"rintf(", "round_f32("},
                                       {"rint(", "round_f64("},
                                       {"root(", "root_f32("}};

static bool is_word(char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

static void in_c(const char *text, DhcText *to) {
  for (const char *at = text; *at;) {
    size_t k = 0, n = sizeof words / sizeof *words;
    bool begins = at == text || !is_word(at[-1]);
    while (k < n && (!begins || strncmp(at, words[k][0], strlen(words[k][0])))) k++;
    if (k < n) dhc_text_puts(to, words[k][1]), at += strlen(words[k][0]);
    else dhc_text_printf(to, "%c", *at++);
  }
}

void dhc_c99_prelude(const char *body, DhcText *to) {
  dhc_text_puts(to, types_text);
  dhc_text_puts(to, floats_text);
  dhc_text_puts(to, fused_text);
  dhc_text_puts(to, integers_text);
  DhcText maths = {.arena = to->arena};
  dhc_cuda_maths(body, &maths);
  in_c(dhc_text_str(&maths), to);
}
