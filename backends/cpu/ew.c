/* The CPU column of the elementwise ops: one function an op, a table from ir/ops.def (an
 * op without its function does not link), and casts. Maths functions are in math.c. */
#include "backends/cpu/cpu_internal.h"

LLVMValueRef dhc_cpu_refuse(DhcCpuW *w, const char *why) {
  if (!w->refused) w->refused = why;
  return NULL;
}

static const DhcCpuEw table[DHC_N_OPS] = {
#define EW(id, ...) [DHC_OP_##id] = cpu_ew_##id,
#include "ir/ops.def"
};

LLVMValueRef dhc_cpu_ew(DhcCpuW *w, DhcOp op, const LLVMValueRef *a, dhc_dtype t, int lanes) {
  for (int k = 0; k < dhc_op_info(op)->n_args; k++)
    if (!a[k]) return NULL; /* an operand was refused */
  return table[op](w, a, t, lanes);
}

#define CPU_EW(id) \
  LLVMValueRef cpu_ew_##id(DhcCpuW *w, const LLVMValueRef *a, dhc_dtype t, int lanes)
#define UNUSED (void)w, (void)t, (void)lanes, (void)a
#define CPU_EW_IS(id, value) \
  CPU_EW(id) {               \
    UNUSED;                  \
    return value;            \
  }

static bool is_float(dhc_dtype t) { return dhc_dtype_is_float(t); }
static bool is_signed(dhc_dtype t) {
  return t == DHC_I64 || t == DHC_I32 || t == DHC_I16 || t == DHC_I8;
}

static LLVMValueRef unary(DhcCpuW *w, const char *intrinsic, LLVMValueRef x) {
  LLVMTypeRef t = LLVMTypeOf(x);
  return dhc_cpu_intrinsic(w, intrinsic, &t, 1, &x, 1);
}
static LLVMValueRef select_value(DhcCpuW *w, LLVMValueRef c, LLVMValueRef x, LLVMValueRef y) {
  return LLVMBuildSelect(w->b, c, x, y, "");
}
static LLVMValueRef is_nan(DhcCpuW *w, LLVMValueRef x) {
  return LLVMBuildFCmp(w->b, LLVMRealUNO, x, x, "");
}

/* ---- arithmetic ------------------------------------------------------------------- */

CPU_EW_IS(NEG, is_float(t) ? LLVMBuildFNeg(w->b, a[0], "") : LLVMBuildNeg(w->b, a[0], ""))

CPU_EW(ABS) {
  UNUSED;
  if (is_float(t)) return unary(w, "llvm.fabs", a[0]);
  if (!is_signed(t)) return a[0];
  LLVMValueRef neg = LLVMBuildICmp(w->b, LLVMIntSLT, a[0], LLVMConstNull(LLVMTypeOf(a[0])), "");
  return select_value(w, neg, LLVMBuildNeg(w->b, a[0], ""), a[0]);
}

/* NaN stays NaN, zero gives +0 */
CPU_EW(SIGN) {
  UNUSED;
  LLVMTypeRef ty = LLVMTypeOf(a[0]);
  LLVMValueRef zero = LLVMConstNull(ty);
  if (is_float(t)) {
    LLVMValueRef one = dhc_cpu_float(ty, 1), minus = dhc_cpu_float(ty, -1);
    LLVMValueRef r = select_value(w, LLVMBuildFCmp(w->b, LLVMRealOLT, a[0], zero, ""), minus, zero);
    r = select_value(w, LLVMBuildFCmp(w->b, LLVMRealOGT, a[0], zero, ""), one, r);
    return select_value(w, is_nan(w, a[0]), a[0], r);
  }
  LLVMValueRef r = zero;
  if (is_signed(t))
    r = select_value(w, LLVMBuildICmp(w->b, LLVMIntSLT, a[0], zero, ""), dhc_cpu_int(ty, -1), zero);
  LLVMIntPredicate above = is_signed(t) ? LLVMIntSGT : LLVMIntUGT;
  return select_value(w, LLVMBuildICmp(w->b, above, a[0], zero, ""), dhc_cpu_int(ty, 1), r);
}

CPU_EW_IS(ADD, is_float(t) ? LLVMBuildFAdd(w->b, a[0], a[1], "") : LLVMBuildAdd(w->b, a[0], a[1], ""))
CPU_EW_IS(SUB, is_float(t) ? LLVMBuildFSub(w->b, a[0], a[1], "") : LLVMBuildSub(w->b, a[0], a[1], ""))
CPU_EW_IS(MUL, is_float(t) ? LLVMBuildFMul(w->b, a[0], a[1], "") : LLVMBuildMul(w->b, a[0], a[1], ""))
CPU_EW_IS(DIV, LLVMBuildFDiv(w->b, a[0], a[1], ""))

CPU_EW_IS(FMA, dhc_cpu_fma(w, a[0], a[1], a[2]))

/* x > y ? x : y is one instruction on x86 and gives NaN where y is; x's NaN is added. At
 * a tie the second operand is the result, as the derivative rule wants. */
static LLVMValueRef extreme(DhcCpuW *w, const LLVMValueRef *a, dhc_dtype t, LLVMRealPredicate f,
                            LLVMIntPredicate s, LLVMIntPredicate u) {
  if (!is_float(t))
    return select_value(w, LLVMBuildICmp(w->b, is_signed(t) ? s : u, a[0], a[1], ""), a[0], a[1]);
  LLVMValueRef r = select_value(w, LLVMBuildFCmp(w->b, f, a[0], a[1], ""), a[0], a[1]);
  return select_value(w, is_nan(w, a[0]), a[0], r);
}
CPU_EW_IS(MAX, extreme(w, a, t, LLVMRealOGT, LLVMIntSGT, LLVMIntUGT))
CPU_EW_IS(MIN, extreme(w, a, t, LLVMRealOLT, LLVMIntSLT, LLVMIntULT))

CPU_EW_IS(STOP_GRADIENT, a[0])

/* ---- rounding ----------------------------------------------------------------------- */

/* By the trick of adding 2^23 (2^52) where it is no instruction; exact, keeps the sign of
 * zero. */
LLVMValueRef dhc_cpu_round(DhcCpuW *w, LLVMValueRef x, dhc_dtype t) {
  if (w->target->has_round) return unary(w, "llvm.rint", x);
  LLVMTypeRef ty = LLVMTypeOf(x);
  LLVMValueRef big = dhc_cpu_float(ty, t == DHC_F64 ? 0x1p52 : 0x1p23);
  LLVMValueRef abs = unary(w, "llvm.fabs", x);
  LLVMValueRef r = LLVMBuildFSub(w->b, LLVMBuildFAdd(w->b, abs, big, ""), big, "");
  LLVMValueRef args[] = {r, x};
  r = dhc_cpu_intrinsic(w, "llvm.copysign", &ty, 1, args, 2);
  return select_value(w, LLVMBuildFCmp(w->b, LLVMRealOLT, abs, big, ""), r, x);
}
CPU_EW_IS(ROUND, dhc_cpu_round(w, a[0], t))
CPU_EW(FLOOR) {
  UNUSED;
  if (w->target->has_round) return unary(w, "llvm.floor", a[0]);
  LLVMValueRef r = dhc_cpu_round(w, a[0], t);
  LLVMValueRef less = LLVMBuildFSub(w->b, r, dhc_cpu_float(LLVMTypeOf(r), 1), "");
  return select_value(w, LLVMBuildFCmp(w->b, LLVMRealOGT, r, a[0], ""), less, r);
}

CPU_EW(IS_FINITE) {
  UNUSED;
  LLVMValueRef inf = dhc_cpu_float(LLVMTypeOf(a[0]), (double)__builtin_inff());
  return LLVMBuildFCmp(w->b, LLVMRealOLT, unary(w, "llvm.fabs", a[0]), inf, "");
}

/* ---- integers ------------------------------------------------------------------------ */

CPU_EW_IS(NOT, LLVMBuildNot(w->b, a[0], ""))
CPU_EW_IS(AND, LLVMBuildAnd(w->b, a[0], a[1], ""))
CPU_EW_IS(OR, LLVMBuildOr(w->b, a[0], a[1], ""))
CPU_EW_IS(XOR, LLVMBuildXor(w->b, a[0], a[1], ""))

/* A shift by a negative or too large amount gives 0, to the right of a negative value -1. */
static LLVMValueRef shift(DhcCpuW *w, const LLVMValueRef *a, dhc_dtype t, bool left) {
  LLVMTypeRef ty = LLVMTypeOf(a[0]);
  int bits = 8 * dhc_dtype_bytes(t);
  LLVMValueRef top = dhc_cpu_int(ty, bits - 1), zero = LLVMConstNull(ty);
  LLVMValueRef in = LLVMBuildICmp(w->b, LLVMIntULE, a[1], top, "");
  if (!left && is_signed(t))
    return LLVMBuildAShr(w->b, a[0], select_value(w, in, a[1], top), "");
  LLVMValueRef by = select_value(w, in, a[1], zero);
  LLVMValueRef r = left ? LLVMBuildShl(w->b, a[0], by, "") : LLVMBuildLShr(w->b, a[0], by, "");
  return select_value(w, in, r, zero);
}
CPU_EW_IS(SHL, shift(w, a, t, true))
CPU_EW_IS(SHR, shift(w, a, t, false))

/* Floor quotient and the remainder that has the divisor's sign; by 0: 0 and 0. -1 is made
 * a negation, because MIN / -1 traps. */
static void floor_division(DhcCpuW *w, const LLVMValueRef *a, dhc_dtype t, LLVMValueRef *quotient,
                           LLVMValueRef *rest) {
  LLVMTypeRef ty = LLVMTypeOf(a[0]);
  LLVMValueRef zero = LLVMConstNull(ty), one = dhc_cpu_int(ty, 1);
  LLVMValueRef by0 = LLVMBuildICmp(w->b, LLVMIntEQ, a[1], zero, "");
  LLVMValueRef q, r;
  if (!is_signed(t)) {
    LLVMValueRef y = select_value(w, by0, one, a[1]);
    q = dhc_cpu_udiv(w, a[0], y);
    r = LLVMBuildSub(w->b, a[0], LLVMBuildMul(w->b, q, y, ""), "");
  } else {
    LLVMValueRef minus = LLVMBuildICmp(w->b, LLVMIntEQ, a[1], dhc_cpu_int(ty, -1), "");
    LLVMValueRef y = select_value(w, LLVMBuildOr(w->b, by0, minus, ""), one, a[1]);
    q = dhc_cpu_sdiv(w, a[0], y);
    r = LLVMBuildSub(w->b, a[0], LLVMBuildMul(w->b, q, y, ""), "");
    LLVMValueRef differ = LLVMBuildICmp(w->b, LLVMIntSLT, LLVMBuildXor(w->b, r, y, ""), zero, "");
    LLVMValueRef some = LLVMBuildICmp(w->b, LLVMIntNE, r, zero, "");
    LLVMValueRef fix = LLVMBuildAnd(w->b, differ, some, "");
    q = select_value(w, fix, LLVMBuildSub(w->b, q, one, ""), q);
    r = select_value(w, fix, LLVMBuildAdd(w->b, r, y, ""), r);
    q = select_value(w, minus, LLVMBuildNeg(w->b, a[0], ""), q);
  }
  *quotient = select_value(w, by0, zero, q);
  *rest = select_value(w, by0, zero, r);
}
CPU_EW(FLOORDIV) {
  UNUSED;
  LLVMValueRef q, r;
  floor_division(w, a, t, &q, &r);
  return q;
}
CPU_EW(REM) {
  UNUSED;
  LLVMValueRef q, r;
  floor_division(w, a, t, &q, &r);
  return r;
}

/* ---- compare, select ------------------------------------------------------------------- */

static LLVMValueRef compare(DhcCpuW *w, const LLVMValueRef *a, dhc_dtype t, LLVMRealPredicate f,
                            LLVMIntPredicate s, LLVMIntPredicate u) {
  if (is_float(t)) return LLVMBuildFCmp(w->b, f, a[0], a[1], "");
  return LLVMBuildICmp(w->b, is_signed(t) ? s : u, a[0], a[1], "");
}
CPU_EW_IS(EQ, compare(w, a, t, LLVMRealOEQ, LLVMIntEQ, LLVMIntEQ))
CPU_EW_IS(NE, compare(w, a, t, LLVMRealUNE, LLVMIntNE, LLVMIntNE))
CPU_EW_IS(LT, compare(w, a, t, LLVMRealOLT, LLVMIntSLT, LLVMIntULT))
CPU_EW_IS(LE, compare(w, a, t, LLVMRealOLE, LLVMIntSLE, LLVMIntULE))
CPU_EW_IS(GT, compare(w, a, t, LLVMRealOGT, LLVMIntSGT, LLVMIntUGT))
CPU_EW_IS(GE, compare(w, a, t, LLVMRealOGE, LLVMIntSGE, LLVMIntUGE))
CPU_EW_IS(SELECT, select_value(w, a[0], a[1], a[2]))

/* ---- casts -------------------------------------------------------------------------------- */

static LLVMTypeRef bits_type(DhcCpuW *w, int bits, int lanes) {
  return dhc_cpu_vector(LLVMIntTypeInContext(w->cx, (unsigned)bits), lanes);
}

LLVMValueRef dhc_cpu_to_bf16(DhcCpuW *w, LLVMValueRef x, int lanes) {
  LLVMTypeRef i32 = bits_type(w, 32, lanes);
  LLVMValueRef u = LLVMBuildBitCast(w->b, x, i32, ""), sixteen = dhc_cpu_int(i32, 16);
  LLVMValueRef odd = LLVMBuildAnd(w->b, LLVMBuildLShr(w->b, u, sixteen, ""), dhc_cpu_int(i32, 1), "");
  LLVMValueRef r = LLVMBuildAdd(w->b, u, LLVMBuildAdd(w->b, odd, dhc_cpu_int(i32, 0x7fff), ""), "");
  r = select_value(w, is_nan(w, x), LLVMBuildOr(w->b, u, dhc_cpu_int(i32, 0x400000), ""), r);
  return LLVMBuildTrunc(w->b, LLVMBuildLShr(w->b, r, sixteen, ""), bits_type(w, 16, lanes), "");
}
LLVMValueRef dhc_cpu_from_bf16(DhcCpuW *w, LLVMValueRef bits, int lanes) {
  LLVMTypeRef i32 = bits_type(w, 32, lanes);
  LLVMValueRef u = LLVMBuildShl(w->b, LLVMBuildZExt(w->b, bits, i32, ""), dhc_cpu_int(i32, 16), "");
  return LLVMBuildBitCast(w->b, u, dhc_cpu_vector(LLVMFloatTypeInContext(w->cx), lanes), "");
}

static LLVMValueRef float_to_int(DhcCpuW *w, LLVMValueRef x, dhc_dtype to, int lanes) {
  if (w->target->bits == 32 && dhc_dtype_bytes(to) == 8) return dhc_cpu_float_to_wide(w, x);
  LLVMTypeRef types[] = {bits_type(w, 8 * dhc_dtype_bytes(to), lanes), LLVMTypeOf(x)};
  return dhc_cpu_intrinsic(w, is_signed(to) ? "llvm.fptosi.sat" : "llvm.fptoui.sat", types, 2, &x, 1);
}

LLVMValueRef dhc_cpu_cast(DhcCpuW *w, LLVMValueRef x, dhc_dtype from, dhc_dtype to, int lanes) {
  if (!x) return NULL;
  LLVMTypeRef zero_type = LLVMTypeOf(x);
  LLVMTypeRef ty = dhc_cpu_type(w, (DhcLpType){to, lanes, false});
  if (to == DHC_BOOL) {
    LLVMValueRef zero = LLVMConstNull(zero_type);
    return is_float(from) ? LLVMBuildFCmp(w->b, LLVMRealUNE, x, zero, "")
                          : LLVMBuildICmp(w->b, LLVMIntNE, x, zero, "");
  }
  if (is_float(to)) {
    if (!is_float(from) && w->target->bits == 32 && dhc_dtype_bytes(from) == 8)
      x = dhc_cpu_wide_to_float(w, x, ty);
    else if (!is_float(from))
      x = is_signed(from) ? LLVMBuildSIToFP(w->b, x, ty, "") : LLVMBuildUIToFP(w->b, x, ty, "");
    else if (from == DHC_F64 && to != DHC_F64) x = LLVMBuildFPTrunc(w->b, x, ty, "");
    else if (to == DHC_F64 && from != DHC_F64) x = LLVMBuildFPExt(w->b, x, ty, "");
    return to == DHC_BF16 ? dhc_cpu_from_bf16(w, dhc_cpu_to_bf16(w, x, lanes), lanes) : x;
  }
  if (is_float(from)) return float_to_int(w, x, to, lanes);
  int have = from == DHC_BOOL ? 1 : 8 * dhc_dtype_bytes(from), want = 8 * dhc_dtype_bytes(to);
  if (want < have) return LLVMBuildTrunc(w->b, x, ty, "");
  if (want == have) return x;
  return is_signed(from) ? LLVMBuildSExt(w->b, x, ty, "") : LLVMBuildZExt(w->b, x, ty, "");
}
