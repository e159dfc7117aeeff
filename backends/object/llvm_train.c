/* What handles the state of a training step: how it begins, its tensors in and out. */
#include "backends/object/llvm_internal.h"

static V named(Out *o, const DhcObjTrain *t, DhcObjTraining which, LLVMTypeRef *args, unsigned n) {
  const char *name = dhc_arena_printf(o->arena, "%s%s", t->c_name, dhc_object_training_suffix[which]);
  V fn = obj_function(o, name, LLVMFunctionType(o->i32, args, n, false), true), state = LLVMGetParam(fn, 0);
  obj_return_if(o, fn, LLVMBuildIsNull(o->w->b, state, ""), obj_status(o, OBJECT_NULL));
  obj_return_if(o, fn, obj_misaligned(o, state), obj_status(o, OBJECT_ALIGN));
  return fn;
}

static void copy(Out *o, V to, V from, int64_t bytes) {
  if (bytes) LLVMBuildMemCpy(o->w->b, to, 8, from, 8, obj_number(o, bytes));
}

/* status reset(state): zeros, but for averages, which begin as the weights are. */
static V write_reset(Out *o, const DhcObjTrain *t) {
  V fn = named(o, t, DHC_OBJ_RESET, &o->ptr, 1), state = LLVMGetParam(fn, 0);
  if (t->buffers > t->moments)
    LLVMBuildMemSet(o->w->b, obj_gep(o, state, obj_number(o, t->moments)), LLVMConstInt(o->i8, 0, false), obj_number(o, t->buffers - t->moments), 64);
  for (int i = 0; i < t->layout->n_ranges; i++)
    if (t->layout->ranges[i].from_weights)
      copy(o, obj_gep(o, state, obj_number(o, t->moments + t->layout->ranges[i].at)), state, t->layout->bytes[DHC_SEGMENT_WEIGHTS]);
  LLVMBuildRet(o->w->b, obj_status(o, 0));
  return fn;
}

/* status init(state, bytes) */
static void write_init(Out *o, const DhcObjTrain *t, V reset) {
  LLVMTypeRef args[] = {o->ptr, o->i64};
  V fn = named(o, t, DHC_OBJ_INIT, args, 2), state = LLVMGetParam(fn, 0);
  V small = LLVMBuildICmp(o->w->b, LLVMIntSLT, LLVMGetParam(fn, 1), obj_number(o, t->bytes), "");
  obj_return_if(o, fn, small, obj_status(o, OBJECT_WORKSPACE));
  V first = obj_bytes(o, "first", t->first, (size_t)(t->moments + t->bytes - t->buffers), 64);
  copy(o, state, first, t->layout->bytes[DHC_SEGMENT_WEIGHTS]);
  copy(o, obj_gep(o, state, obj_number(o, t->buffers)), obj_gep(o, first, obj_number(o, t->moments)), t->layout->bytes[DHC_SEGMENT_BUFFERS]);
  LLVMBuildRet(o->w->b, LLVMBuildCall2(o->w->b, LLVMGlobalGetValueType(reset), reset, &state, 1, ""));
}

/* status set(state, tensor, data, bytes), and get. */
static void write_access(Out *o, const DhcObjTrain *t, DhcObjTraining which) {
  LLVMBuilderRef m = o->w->b;
  LLVMTypeRef args[] = {o->ptr, o->i32, o->ptr, o->i64};
  V fn = named(o, t, which, args, 4), state = LLVMGetParam(fn, 0), tensor = LLVMGetParam(fn, 1), data = LLVMGetParam(fn, 2);
  obj_return_if(o, fn, LLVMBuildIsNull(m, data, ""), obj_status(o, OBJECT_NULL));
  for (int i = 0; i < t->kept.n; i++) {
    const DhcObjKept *k = &t->kept.at[i];
    LLVMBasicBlockRef take = obj_block(o, fn, ""), next = obj_block(o, fn, "");
    LLVMBuildCondBr(m, LLVMBuildICmp(m, LLVMIntEQ, tensor, obj_status(o, (unsigned)i), ""), take, next);
    LLVMPositionBuilderAtEnd(m, take);
    V n = obj_number(o, k->n * dhc_dtype_bytes((dhc_dtype)k->dtype)), at = obj_gep(o, state, obj_number(o, k->at));
    obj_return_if(o, fn, LLVMBuildICmp(m, LLVMIntNE, LLVMGetParam(fn, 3), n, ""), obj_status(o, OBJECT_WEIGHTS));
    LLVMBuildMemCpy(m, which == DHC_OBJ_SET ? at : data, 1, which == DHC_OBJ_SET ? data : at, 1, n);
    LLVMBuildRet(m, obj_status(o, 0));
    LLVMPositionBuilderAtEnd(m, next);
  }
  LLVMBuildRet(m, obj_status(o, OBJECT_WEIGHTS));
}

void obj_write_training(Out *o, const DhcObjEntry *e) {
  write_init(o, e->train, write_reset(o, e->train));
  write_access(o, e->train, DHC_OBJ_SET);
  write_access(o, e->train, DHC_OBJ_GET);
}
