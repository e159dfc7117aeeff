/* Functions of an object with several variants that take one: by its name its number, by its number its entries; of several
 * levels of a machine: which the CPU has, entries by a level and by what the CPU has. */
#include "backends/object/llvm_internal.h"

/* i32 variant(name) */
static void write_variant(Out *o) {
  LLVMBuilderRef m = o->w->b;
  V fn = obj_function(o, dhc_arena_printf(o->arena, "%s_variant", o->o->name), LLVMFunctionType(o->i32, &o->ptr, 1, false), true);
  for (int v = 0; v < o->o->n_variants; v++) {
    const char *name = o->o->variant[v].name;
    LLVMBasicBlockRef other = obj_block(o, fn, "");
    for (int i = 0; i <= (int)strlen(name); i++) {
      LLVMBasicBlockRef on = obj_block(o, fn, "");
      V c = LLVMBuildLoad2(m, o->i8, obj_element(o, o->i8, LLVMGetParam(fn, 0), i), "");
      V same = LLVMBuildICmp(m, LLVMIntEQ, c, LLVMConstInt(o->i8, (unsigned char)name[i], false), "");
      LLVMBuildCondBr(m, same, on, other);
      LLVMPositionBuilderAtEnd(m, on);
    }
    LLVMBuildRet(m, obj_status(o, (unsigned)v));
    LLVMPositionBuilderAtEnd(m, other);
  }
  LLVMBuildRet(m, LLVMConstInt(o->i32, (unsigned long long)-1, true));
}

static LLVMTypeRef type_of(const Out *o, DhcObjArgKind kind) {
  return kind == DHC_OBJ_ARG_VARIANT || kind == DHC_OBJ_ARG_WORKERS ? o->i32 : kind == DHC_OBJ_ARG_SIZE || kind == DHC_OBJ_ARG_BYTES ? o->i64 : o->ptr;
}

static unsigned position(const DhcObjArgs *in, const DhcObjArg *a) {
  unsigned i = 0;
  while (in->all.at[i].kind != a->kind || in->all.at[i].i != a->i) i++;
  return i;
}

static V result_of_none(Out *o, DhcObjCall call) {
  static const char variant[] = "there is no such variant", level[] = "there is no such level, or the CPU has none of the object's";
  if (call == DHC_OBJ_RUN) return obj_status(o, OBJECT_VARIANT);
  return call == DHC_OBJ_WHY ? o->o->levels ? obj_bytes(o, "why", level, sizeof level, 1) : obj_bytes(o, "why", variant, sizeof variant, 1) : obj_number(o, -1);
}

static void write_call(Out *o, const DhcObjChoice *c, DhcObjCall call) {
  LLVMBuilderRef m = o->w->b;
  DhcObjArgs own = dhc_object_call_args(o->o, c, call, DHC_OBJ_BY_NUMBER, o->arena);
  LLVMTypeRef *types = DHC_NEW_N(o->arena, LLVMTypeRef, own.all.n);
  for (int i = 0; i < own.all.n; i++) types[i] = type_of(o, own.all.at[i].kind);
  LLVMTypeRef result = call == DHC_OBJ_RUN ? o->i32 : call == DHC_OBJ_WHY ? o->ptr : o->i64;
  V fn = obj_function(o, dhc_object_call_name(o->o, c, call, DHC_OBJ_BY_NUMBER, o->arena), LLVMFunctionType(result, types, (unsigned)own.all.n, false), true);
  for (int v = 0; v < o->o->n_variants; v++) {
    const DhcObjEntry *e = o->o->entry[c->entry[v]];
    DhcObjArgs args = dhc_object_call_args(o->o, c, call, v, o->arena);
    V *with = DHC_NEW_N(o->arena, V, args.all.n + 1), got = obj_number(o, 0);
    LLVMBasicBlockRef take = obj_block(o, fn, ""), next = obj_block(o, fn, "");
    LLVMBuildCondBr(m, LLVMBuildICmp(m, LLVMIntEQ, LLVMGetParam(fn, 0), obj_status(o, (unsigned)v), ""), take, next);
    LLVMPositionBuilderAtEnd(m, take);
    for (int i = 0; i < args.all.n; i++) with[i] = LLVMGetParam(fn, position(&own, &args.all.at[i]));
    if (call != DHC_OBJ_STATE_BYTES || e->state_bytes) {
      V of = LLVMGetNamedFunction(o->w->module, dhc_arena_printf(o->arena, "%s%s", e->c_name, dhc_object_call_suffix[call]));
      got = LLVMBuildCall2(m, LLVMGlobalGetValueType(of), of, with, (unsigned)args.all.n, "");
    }
    LLVMBuildRet(m, got);
    LLVMPositionBuilderAtEnd(m, next);
  }
  LLVMBuildRet(m, result_of_none(o, call));
}

/* ---- levels ------------------------------------------------------------------------------------------------ */

typedef struct CpuId {
  V a, b, c, d;
} CpuId;

static CpuId cpuid(Out *o, uint32_t leaf) {
  static const char text[] = "cpuid", where[] = "={ax},={bx},={cx},={dx},{ax},{cx},~{dirflag},~{fpsr},~{flags}";
  LLVMBuilderRef m = o->w->b;
  LLVMTypeRef in[] = {o->i32, o->i32}, out[] = {o->i32, o->i32, o->i32, o->i32};
  LLVMTypeRef type = LLVMFunctionType(LLVMStructTypeInContext(o->w->cx, out, 4, false), in, 2, false);
  V code = LLVMGetInlineAsm(type, text, sizeof text - 1, where, sizeof where - 1, true, false, LLVMInlineAsmDialectATT, false);
  V args[] = {LLVMConstInt(o->i32, leaf, false), LLVMConstInt(o->i32, 0, false)}, r = LLVMBuildCall2(m, type, code, args, 2, "");
  return (CpuId){LLVMBuildExtractValue(m, r, 0, ""), LLVMBuildExtractValue(m, r, 1, ""), LLVMBuildExtractValue(m, r, 2, ""), LLVMBuildExtractValue(m, r, 3, "")};
}

/* Which registers the system keeps (the low half of XCR0). */
static V xgetbv(Out *o) {
  static const char text[] = "xgetbv", where[] = "={ax},={dx},{cx},~{dirflag},~{fpsr},~{flags}";
  LLVMTypeRef out[] = {o->i32, o->i32};
  LLVMTypeRef type = LLVMFunctionType(LLVMStructTypeInContext(o->w->cx, out, 2, false), &o->i32, 1, false);
  V code = LLVMGetInlineAsm(type, text, sizeof text - 1, where, sizeof where - 1, true, false, LLVMInlineAsmDialectATT, false);
  V zero = LLVMConstInt(o->i32, 0, false);
  return LLVMBuildExtractValue(o->w->b, LLVMBuildCall2(o->w->b, type, code, &zero, 1, ""), 0, "");
}

static V has_all(Out *o, V word, uint32_t bits) {
  V want = LLVMConstInt(o->i32, bits, false);
  return LLVMBuildICmp(o->w->b, LLVMIntEQ, LLVMBuildAnd(o->w->b, word, want, ""), want, "");
}

#define BIT(n) (UINT32_C(1) << (n))
/* What the levels of x86-64's psABI are made of, by the words that cpuid gives; xcr0: registers that the system has to keep. */
typedef struct Level {
  uint32_t leaf1_c, ext1_c, leaf7_b, xcr0;
} Level;
static const Level level_bits[] = {
    /* SSE3, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT; LAHF */
    {BIT(0) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(23), BIT(0), 0, 0},
    /* FMA, MOVBE, OSXSAVE, AVX, F16C; LZCNT; BMI1, AVX2, BMI2; XMM and YMM */
    {BIT(12) | BIT(22) | BIT(27) | BIT(28) | BIT(29), BIT(5), BIT(3) | BIT(5) | BIT(8), BIT(1) | BIT(2)},
    /* AVX512F, DQ, CD, BW, VL; opmask and both parts of ZMM */
    {0, 0, BIT(16) | BIT(17) | BIT(28) | BIT(30) | BIT(31), BIT(5) | BIT(6) | BIT(7)},
};

/* The value of `of` where it may be asked for, else 0. */
static V if_may(Out *o, V fn, V may, V (*of)(Out *o)) {
  LLVMBuilderRef m = o->w->b;
  LLVMBasicBlockRef none = LLVMGetInsertBlock(m), ask = obj_block(o, fn, ""), on = obj_block(o, fn, "");
  LLVMBuildCondBr(m, may, ask, on);
  LLVMPositionBuilderAtEnd(m, ask);
  V got = of(o), zero = LLVMConstInt(o->i32, 0, false);
  LLVMBuildBr(m, on);
  LLVMPositionBuilderAtEnd(m, on);
  V x = LLVMBuildPhi(m, o->i32, "");
  LLVMAddIncoming(x, &zero, &none, 1);
  LLVMAddIncoming(x, &got, &ask, 1);
  return x;
}

static V leaf7(Out *o) { return cpuid(o, 7).b; }

/* i32 level(): the last of the object's levels that the CPU and the system have; -1: not even the first. */
static V write_level(Out *o) {
  LLVMBuilderRef m = o->w->b;
  V fn = obj_function(o, dhc_arena_printf(o->arena, "%s_level", o->o->name), LLVMFunctionType(o->i32, NULL, 0, false), true);
  V last = cpuid(o, 0).a, one = cpuid(o, 1).c, ext = cpuid(o, UINT32_C(0x80000001)).c; /* which every 64-bit CPU has */
  V seven = if_may(o, fn, LLVMBuildICmp(m, LLVMIntUGE, last, LLVMConstInt(o->i32, 7, false), ""), leaf7);
  V kept = if_may(o, fn, has_all(o, one, BIT(27)), xgetbv);
  V all = LLVMConstInt(LLVMInt1TypeInContext(o->w->cx), 1, false), level = LLVMConstInt(o->i32, (unsigned long long)-1, true);
  for (int v = 0; v < o->o->n_variants; v++) {
    const Level *l = &level_bits[v];
    V has = LLVMBuildAnd(m, LLVMBuildAnd(m, has_all(o, one, l->leaf1_c), has_all(o, ext, l->ext1_c), ""),
                         LLVMBuildAnd(m, has_all(o, seven, l->leaf7_b), has_all(o, kept, l->xcr0), ""), "");
    all = LLVMBuildAnd(m, all, has, "");
    level = LLVMBuildSelect(m, all, LLVMConstInt(o->i32, (unsigned)v, false), level, "");
  }
  LLVMBuildRet(m, level);
  return fn;
}

/* The function that takes a level, with the best. */
static void write_best(Out *o, const DhcObjChoice *c, DhcObjCall call, V level) {
  LLVMBuilderRef m = o->w->b;
  V of = LLVMGetNamedFunction(o->w->module, dhc_object_call_name(o->o, c, call, DHC_OBJ_BY_NUMBER, o->arena));
  LLVMTypeRef type = LLVMGlobalGetValueType(of);
  unsigned n = LLVMCountParamTypes(type);
  LLVMTypeRef *types = DHC_NEW_N(o->arena, LLVMTypeRef, n + 1);
  V *args = DHC_NEW_N(o->arena, V, n + 1);
  LLVMGetParamTypes(type, types);
  V fn = obj_function(o, dhc_object_call_name(o->o, c, call, DHC_OBJ_BY_CPU, o->arena),
                      LLVMFunctionType(LLVMGetReturnType(type), types + 1, n - 1, false), true);
  args[0] = LLVMBuildCall2(m, LLVMGlobalGetValueType(level), level, NULL, 0, "");
  for (unsigned i = 1; i < n; i++) args[i] = LLVMGetParam(fn, i - 1);
  LLVMBuildRet(m, LLVMBuildCall2(m, type, of, args, n, ""));
}

void obj_write_variants(Out *o) {
  V level = o->o->levels ? write_level(o) : NULL;
  if (!level) write_variant(o);
  for (int i = 0; i < o->o->choices.n; i++)
    for (int k = 0; k < DHC_OBJ_N_CALLS; k++) {
      const DhcObjChoice *c = &o->o->choices.at[i];
      if (!dhc_object_has_call(c, (DhcObjCall)k)) continue;
      write_call(o, c, (DhcObjCall)k);
      if (level) write_best(o, c, (DhcObjCall)k, level);
    }
}
