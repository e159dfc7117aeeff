/* The CUDA column of the elementwise ops: how each is written, $0, $1, $2 being its operands. A float
 * form and, after "@", another for integers. An op of ir/ops.def
 * without a row here does not compile. */
#include "backends/cuda/cuda_internal.h"

#define ONLY_F32 "#" /* before a form: f32 only */

#define CUDA_NEG "-$0"
#define CUDA_ABS "absolute($0)"
#define CUDA_SIGN "sign_of($0)"
#define CUDA_EXP ONLY_F32 "exp_f32($0)"
#define CUDA_EXPM1 ONLY_F32 "expm1_f32($0)"
#define CUDA_LOG ONLY_F32 "log_f32($0)"
#define CUDA_LOG1P ONLY_F32 "log1p_f32($0)"
#define CUDA_TANH ONLY_F32 "tanh_f32($0)"
#define CUDA_SIGMOID ONLY_F32 "sigmoid_f32($0)"
#define CUDA_SOFTPLUS ONLY_F32 "softplus_f32($0)"
#define CUDA_ERF ONLY_F32 "erf_f32($0)"
#define CUDA_SQRT "root($0)"
#define CUDA_RSQRT "1 / root($0)"
#define CUDA_SIN ONLY_F32 "sin_f32($0)"
#define CUDA_COS ONLY_F32 "cos_f32($0)"
#define CUDA_ASINH ONLY_F32 "asinh_f32($0)"
#define CUDA_FLOOR "floor($0)"
#define CUDA_ROUND "rint($0)"
#define CUDA_IS_FINITE "is_finite($0)"
#define CUDA_NOT "complement($0)"
#define CUDA_STOP_GRADIENT "$0"
#define CUDA_ADD "$0 + $1"
#define CUDA_SUB "$0 - $1"
#define CUDA_MUL "$0 * $1"
#define CUDA_DIV "$0 / $1"
#define CUDA_POW ONLY_F32 "pow_f32($0, $1)"
#define CUDA_MAX "larger($0, $1)@$0 > $1 ? $0 : $1"
#define CUDA_MIN "smaller($0, $1)@$0 < $1 ? $0 : $1"
#define CUDA_FLOORDIV "floor_div($0, $1)"
#define CUDA_REM "floor_rem($0, $1)"
#define CUDA_AND "$0 & $1"
#define CUDA_OR "$0 | $1"
#define CUDA_XOR "$0 ^ $1"
#define CUDA_SHL "shift_left($0, $1)"
#define CUDA_SHR "shift_right($0, $1)"
#define CUDA_EQ "$0 == $1"
#define CUDA_NE "$0 != $1"
#define CUDA_LT "$0 < $1"
#define CUDA_LE "$0 <= $1"
#define CUDA_GT "$0 > $1"
#define CUDA_GE "$0 >= $1"
#define CUDA_FMA "fma($0, $1, $2)"
#define CUDA_SELECT "$0 ? $1 : $2"

static const char *const form[DHC_N_OPS] = {
#define EW(id, ...) [DHC_OP_##id] = CUDA_##id,
#include "ir/ops.def"
};

/* C types in registers and in memory. */
const char *dhc_cuda_type(dhc_dtype t) {
  static const char *const name[DHC_N_DTYPES] = {
      [DHC_F32] = "float", [DHC_F64] = "double", [DHC_BF16] = "float", [DHC_I64] = "i64", [DHC_I32] = "int",
      [DHC_I16] = "i16",   [DHC_I8] = "i8",      [DHC_U32] = "u32",    [DHC_U16] = "u16", [DHC_U8] = "u8",
      [DHC_BOOL] = "bool"};
  return name[t];
}
const char *dhc_cuda_memory_type(dhc_dtype t) { return t == DHC_BF16 ? "bf16" : dhc_cuda_type(t); }

static const char *wrapping(DhcOp op) {
  return op == DHC_OP_ADD ? "wrap_add($0, $1)" : op == DHC_OP_SUB ? "wrap_sub($0, $1)" : op == DHC_OP_MUL ? "wrap_mul($0, $1)" : NULL;
}

const char *dhc_cuda_ew(DhcText *to, DhcOp op, const char *const *a, dhc_dtype t, bool index) {
  const char *f = form[op];
  bool is_float = dhc_dtype_is_float(t), is_signed = t == DHC_I64 || t == DHC_I32 || t == DHC_I16 || t == DHC_I8;
  if (*f == '#') {
    if (t != DHC_F32 && t != DHC_BF16) return "maths functions are compiled for f32 only; use --backend interp for f64";
    f++;
  }
  const char *end = strchr(f, '@');
  /* integers wrap; indices never come near the edge, and plain C lets the compiler know it */
  if (is_signed && !index && wrapping(op)) f = wrapping(op), end = NULL;
  else if (end && !is_float) f = end + 1, end = NULL;
  for (; *f && f != end; f++) {
    if (*f == '$') dhc_text_puts(to, a[*++f - '0']);
    else dhc_text_printf(to, "%c", *f);
  }
  return NULL;
}

void dhc_cuda_cast(DhcText *to, const char *x, dhc_dtype from, dhc_dtype want) {
  if (want == DHC_BOOL) dhc_text_printf(to, "%s != 0", x);
  else if (want == DHC_BF16 && from != DHC_BF16) dhc_text_printf(to, "f32_of_bf16(bf16_of((float)%s))", x);
  else if (dhc_dtype_is_float(from) && !dhc_dtype_is_float(want)) dhc_text_printf(to, "int_of<%s>(%s)", dhc_cuda_type(want), x);
  else dhc_text_printf(to, "(%s)%s", dhc_cuda_type(want), x);
}
