/* What the writer (writer.c), the elementwise column (ew.c) and the maths functions
 * (math.c) share. */
#ifndef DHC_BACKENDS_CPU_CPU_INTERNAL_H
#define DHC_BACKENDS_CPU_CPU_INTERNAL_H

#include <llvm-c/Core.h>

#include "backends/cpu/cpu.h"

/* Emission of one kernel. */
typedef struct DhcCpuW {
  LLVMContextRef cx;
  LLVMModuleRef module;
  LLVMBuilderRef b;
  const DhcCpuTarget *target;
  const char *refused; /* an op without a CPU form, or NULL */
} DhcCpuW;

/* Register type of a dtype and lanes: bool is i1, pointers are opaque. */
LLVMTypeRef dhc_cpu_type(DhcCpuW *w, DhcLpType t);
LLVMTypeRef dhc_cpu_vector(LLVMTypeRef elem, int lanes);
/* Calls llvm.<name>, overloaded on types[0..n_types). */
LLVMValueRef dhc_cpu_intrinsic(DhcCpuW *w, const char *name, LLVMTypeRef *types, int n_types,
                               LLVMValueRef *args, int n_args);
/* Constant in every lane of a float or integer type. */
LLVMValueRef dhc_cpu_float(LLVMTypeRef t, double v);
LLVMValueRef dhc_cpu_int(LLVMTypeRef t, int64_t v);
LLVMValueRef dhc_cpu_splat(DhcCpuW *w, LLVMValueRef scalar, int lanes);

/* ---- one function per elementwise op: ir/ops.def makes the table ------------------ */

/* a[]: operands, all of dtype `t` but a select's condition; result as ops.def says.
 * NULL: no CPU form (w->refused is set). */
typedef LLVMValueRef (*DhcCpuEw)(DhcCpuW *w, const LLVMValueRef *a, dhc_dtype t, int lanes);
#define EW(id, ...) \
  LLVMValueRef cpu_ew_##id(DhcCpuW *w, const LLVMValueRef *a, dhc_dtype t, int lanes);
#include "ir/ops.def"
LLVMValueRef dhc_cpu_ew(DhcCpuW *w, DhcOp op, const LLVMValueRef *a, dhc_dtype t, int lanes);
/* Any dtype to any dtype, as ops.def defines; to BF16: f32 rounded to bf16. */
LLVMValueRef dhc_cpu_cast(DhcCpuW *w, LLVMValueRef x, dhc_dtype from, dhc_dtype to, int lanes);
/* bf16 bits (i16) of an f32, round to nearest even, and back. */
LLVMValueRef dhc_cpu_to_bf16(DhcCpuW *w, LLVMValueRef x, int lanes);
LLVMValueRef dhc_cpu_from_bf16(DhcCpuW *w, LLVMValueRef bits, int lanes);

/* fma.c: i64 to f32 or f64, rounded once, and f32 or f64 to i64, ends and 0 where it does not fit; where LLVM would
 * call a library. */
LLVMValueRef dhc_cpu_wide_to_float(DhcCpuW *w, LLVMValueRef x, LLVMTypeRef to);
LLVMValueRef dhc_cpu_float_to_wide(DhcCpuW *w, LLVMValueRef x);
/* fma.c: x*y + z rounded once, on every target. */
LLVMValueRef dhc_cpu_fma(DhcCpuW *w, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z);
/* divide.c: sizes and places, x >= 0 and y > 0; any unsigned and signed integers, y != 0, as C divides them. */
LLVMValueRef dhc_cpu_index_div(DhcCpuW *w, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef dhc_cpu_udiv(DhcCpuW *w, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef dhc_cpu_sdiv(DhcCpuW *w, LLVMValueRef x, LLVMValueRef y);
/* Nearest integer, halves to even. */
LLVMValueRef dhc_cpu_round(DhcCpuW *w, LLVMValueRef x, dhc_dtype t);
LLVMValueRef dhc_cpu_refuse(DhcCpuW *w, const char *why);

#endif
