/* Functions of an object with several variants that take one: by its name its number, by its number its entries. */
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
  static const char why[] = "there is no such variant";
  if (call == DHC_OBJ_RUN) return obj_status(o, OBJECT_VARIANT);
  return call == DHC_OBJ_WHY ? obj_bytes(o, "why", why, sizeof why, 1) : obj_number(o, -1);
}

static void write_call(Out *o, const DhcObjChoice *c, DhcObjCall call) {
  LLVMBuilderRef m = o->w->b;
  DhcObjArgs own = dhc_object_call_args(o->o, c, call, -1, o->arena);
  LLVMTypeRef *types = DHC_NEW_N(o->arena, LLVMTypeRef, own.all.n);
  for (int i = 0; i < own.all.n; i++) types[i] = type_of(o, own.all.at[i].kind);
  LLVMTypeRef result = call == DHC_OBJ_RUN ? o->i32 : call == DHC_OBJ_WHY ? o->ptr : o->i64;
  V fn = obj_function(o, dhc_arena_printf(o->arena, "%s%s", c->c_name, dhc_object_call_suffix[call]),
                      LLVMFunctionType(result, types, (unsigned)own.all.n, false), true);
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

void obj_write_variants(Out *o) {
  write_variant(o);
  for (int i = 0; i < o->o->choices.n; i++)
    for (int k = 0; k < DHC_OBJ_N_CALLS; k++)
      if (dhc_object_has_call(&o->o->choices.at[i], (DhcObjCall)k)) write_call(o, &o->o->choices.at[i], (DhcObjCall)k);
}
