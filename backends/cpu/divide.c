/* Division where the machine has no instruction for it, or none as wide as the type: LLVM would call a library. */
#include "backends/cpu/cpu_internal.h"

typedef LLVMValueRef V;

static V k(LLVMTypeRef t, uint64_t v) { return LLVMConstInt(t, v, false); }

/* x / y bit by bit, y > 0: the remainder takes a bit of x at a time, and y goes where it fits. */
static V bit_by_bit(DhcCpuW *w, LLVMTypeRef t, LLVMTypeRef *type) {
  unsigned bits = LLVMGetIntTypeWidth(t);
  LLVMTypeRef args[] = {t, t};
  char name[32];
  *type = LLVMFunctionType(t, args, 2, false);
  snprintf(name, sizeof name, "divide.u%u", bits);
  V fn = LLVMGetNamedFunction(w->module, name);
  if (fn) return fn;
  LLVMBuilderRef m = w->b;
  LLVMBasicBlockRef here = LLVMGetInsertBlock(m);
  fn = LLVMAddFunction(w->module, name, *type);
  LLVMSetLinkage(fn, LLVMInternalLinkage);
  unsigned kind = LLVMGetEnumAttributeKindForName("nounwind", 8);
  LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(w->cx, kind, 0));
  LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(w->cx, fn, ""), loop = LLVMAppendBasicBlockInContext(w->cx, fn, "");
  LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(w->cx, fn, "");
  V x0 = LLVMGetParam(fn, 0), y = LLVMGetParam(fn, 1), zero = k(t, 0), one = k(t, 1), n0 = k(t, bits);
  LLVMPositionBuilderAtEnd(m, entry);
  LLVMBuildBr(m, loop);
  LLVMPositionBuilderAtEnd(m, loop);
  V n = LLVMBuildPhi(m, t, ""), x = LLVMBuildPhi(m, t, ""), rest = LLVMBuildPhi(m, t, "");
  V top = LLVMBuildLShr(m, x, k(t, bits - 1), ""), carry = LLVMBuildLShr(m, rest, k(t, bits - 1), "");
  V more = LLVMBuildOr(m, LLVMBuildShl(m, rest, one, ""), top, "");
  V fits = LLVMBuildOr(m, LLVMBuildICmp(m, LLVMIntNE, carry, zero, ""), LLVMBuildICmp(m, LLVMIntUGE, more, y, ""), "");
  V rest1 = LLVMBuildSelect(m, fits, LLVMBuildSub(m, more, y, ""), more, "");
  V x1 = LLVMBuildOr(m, LLVMBuildShl(m, x, one, ""), LLVMBuildZExt(m, fits, t, ""), ""); /* quotient from below */
  V n1 = LLVMBuildSub(m, n, one, "");
  V start[] = {n0, x0, zero}, next[] = {n1, x1, rest1}, phi[] = {n, x, rest};
  for (int i = 0; i < 3; i++) {
    LLVMAddIncoming(phi[i], &start[i], &entry, 1);
    LLVMAddIncoming(phi[i], &next[i], &loop, 1);
  }
  LLVMBuildCondBr(m, LLVMBuildICmp(m, LLVMIntNE, n1, zero, ""), loop, done);
  LLVMPositionBuilderAtEnd(m, done);
  LLVMBuildRet(m, x1);
  LLVMPositionBuilderAtEnd(m, here);
  return fn;
}

/* The function for each lane. */
static V lane_by_lane(DhcCpuW *w, V x, V y) {
  LLVMTypeRef t = LLVMTypeOf(x), type, i32 = LLVMInt32TypeInContext(w->cx);
  bool vector = LLVMGetTypeKind(t) == LLVMVectorTypeKind;
  V fn = bit_by_bit(w, vector ? LLVMGetElementType(t) : t, &type), all = vector ? LLVMGetPoison(t) : NULL;
  for (unsigned l = 0; l < (vector ? LLVMGetVectorSize(t) : 1); l++) {
    V at = k(i32, l), args[] = {x, y};
    if (vector) args[0] = LLVMBuildExtractElement(w->b, x, at, ""), args[1] = LLVMBuildExtractElement(w->b, y, at, "");
    V q = LLVMBuildCall2(w->b, type, fn, args, 2, "");
    if (!vector) return q;
    all = LLVMBuildInsertElement(w->b, all, q, at, "");
  }
  return all;
}

static int lanes_of(V x) {
  LLVMTypeRef t = LLVMTypeOf(x);
  return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? (int)LLVMGetVectorSize(t) : 1;
}

V dhc_cpu_index_div(DhcCpuW *w, V x, V y) {
  if (w->target->bits == 64) return LLVMBuildUDiv(w->b, x, y, "");
  LLVMTypeRef wide = LLVMTypeOf(x), narrow = dhc_cpu_vector(LLVMInt32TypeInContext(w->cx), lanes_of(x));
  V a = LLVMBuildTrunc(w->b, x, narrow, ""), b = LLVMBuildTrunc(w->b, y, narrow, "");
  V q = w->target->divides || LLVMIsConstant(b) ? LLVMBuildUDiv(w->b, a, b, "") : lane_by_lane(w, a, b);
  return LLVMBuildZExt(w->b, q, wide, "");
}

V dhc_cpu_udiv(DhcCpuW *w, V x, V y) {
  LLVMTypeRef t = LLVMTypeOf(x);
  unsigned bits = LLVMGetIntTypeWidth(LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMGetElementType(t) : t);
  bool there = w->target->bits == 64 || (bits <= 32 && w->target->divides);
  if (there || bits < 32) return LLVMBuildUDiv(w->b, x, y, "");
  return lane_by_lane(w, x, y);
}

V dhc_cpu_sdiv(DhcCpuW *w, V x, V y) {
  LLVMTypeRef t = LLVMTypeOf(x);
  unsigned bits = LLVMGetIntTypeWidth(LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMGetElementType(t) : t);
  if (w->target->bits == 64 || (bits <= 32 && w->target->divides) || bits < 32) return LLVMBuildSDiv(w->b, x, y, "");
  V zero = LLVMConstNull(t);
  V below_x = LLVMBuildICmp(w->b, LLVMIntSLT, x, zero, ""), below_y = LLVMBuildICmp(w->b, LLVMIntSLT, y, zero, "");
  V a = LLVMBuildSelect(w->b, below_x, LLVMBuildNeg(w->b, x, ""), x, ""), b = LLVMBuildSelect(w->b, below_y, LLVMBuildNeg(w->b, y, ""), y, "");
  V q = lane_by_lane(w, a, b);
  return LLVMBuildSelect(w->b, LLVMBuildXor(w->b, below_x, below_y, ""), LLVMBuildNeg(w->b, q, ""), q, "");
}
