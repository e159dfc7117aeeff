/* The constants of an object: embedded, or looked at and filled in where the caller passes them; and what it tests itself
 * with. */
#include "backends/object/llvm_internal.h"

static void embed(Out *o) {
  o->blob = obj_bytes(o, dhc_arena_printf(o->arena, "%s_weights", o->o->name), o->o->blob, (size_t)o->o->blob_bytes, 64);
  LLVMSetLinkage(o->blob, LLVMInternalLinkage);
}

static V named(Out *o, const char *end, LLVMTypeRef *args, unsigned n) {
  return obj_function(o, dhc_arena_printf(o->arena, "%s_weights_%s", o->o->name, end), LLVMFunctionType(o->i32, args, n, false), true);
}

/* NULL, not at a multiple of 64, or fewer bytes than there are. */
static void look_at(Out *o, V fn, V weights, V bytes) {
  LLVMBuilderRef m = o->w->b;
  obj_return_if(o, fn, LLVMBuildIsNull(m, weights, ""), obj_status(o, OBJECT_NULL));
  obj_return_if(o, fn, obj_misaligned(o, weights), obj_status(o, OBJECT_ALIGN));
  V small = LLVMBuildICmp(m, LLVMIntSLT, bytes, obj_number(o, o->o->blob_bytes), "");
  obj_return_if(o, fn, small, obj_status(o, OBJECT_WEIGHTS));
}

static V word(Out *o, V at, int i) { return LLVMBuildLoad2(o->w->b, o->i64, obj_element(o, o->i64, at, i), ""); }

/* status check(weights, bytes): all words of the header, and the sum, where there is one. */
static void write_check(Out *o) {
  LLVMBuilderRef m = o->w->b;
  LLVMTypeRef args[] = {o->ptr, o->i64};
  V fn = named(o, "check", args, 2), weights = LLVMGetParam(fn, 0);
  look_at(o, fn, weights, LLVMGetParam(fn, 1));
  for (int i = 0; i < 3; i++) {
    int64_t want = (int64_t)dhc_object_header_word(o->o, i);
    obj_return_if(o, fn, LLVMBuildICmp(m, LLVMIntNE, word(o, weights, i), obj_number(o, want), ""), obj_status(o, OBJECT_WEIGHTS));
  }
  V sum = word(o, weights, 3), from = obj_gep(o, weights, obj_number(o, DHC_OBJ_BLOB_HEADER));
  LLVMBasicBlockRef with = obj_block(o, fn, ""), good = obj_block(o, fn, ""), bad = obj_block(o, fn, "");
  LLVMBuildCondBr(m, LLVMBuildICmp(m, LLVMIntEQ, sum, obj_number(o, 0), ""), good, with);
  LLVMPositionBuilderAtEnd(m, with);
  ObjLoop l = obj_loop(o, fn, obj_number(o, (o->o->blob_bytes - DHC_OBJ_BLOB_HEADER) / 8), 1);
  V h = LLVMBuildPhi(m, o->i64, ""), begin = obj_number(o, (int64_t)DHC_OBJ_SUM_BEGIN);
  V x = LLVMBuildLoad2(m, o->i64, LLVMBuildGEP2(m, o->i64, from, &l.index, 1, ""), "");
  V next = LLVMBuildMul(m, LLVMBuildXor(m, h, x, ""), obj_number(o, DHC_OBJ_SUM_FACTOR), "");
  LLVMAddIncoming(h, &begin, &l.before, 1);
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(m);
  LLVMAddIncoming(h, &next, &latch, 1);
  obj_loop_end(o, &l);
  V got = LLVMBuildPhi(m, o->i64, "");
  LLVMAddIncoming(got, &begin, &l.before, 1);
  LLVMAddIncoming(got, &next, &latch, 1);
  LLVMBuildCondBr(m, LLVMBuildICmp(m, LLVMIntEQ, got, sum, ""), good, bad);
  LLVMPositionBuilderAtEnd(m, bad);
  LLVMBuildRet(m, obj_status(o, OBJECT_WEIGHTS));
  LLVMPositionBuilderAtEnd(m, good);
  LLVMBuildRet(m, obj_status(o, 0));
}

/* status begin(weights, bytes): the header, and what no file holds. */
static void write_begin(Out *o) {
  LLVMTypeRef args[] = {o->ptr, o->i64};
  V fn = named(o, "begin", args, 2), weights = LLVMGetParam(fn, 0);
  look_at(o, fn, weights, LLVMGetParam(fn, 1));
  LLVMBuildMemCpy(o->w->b, weights, 8, obj_bytes(o, "header", o->o->fixed, DHC_OBJ_BLOB_HEADER, 8), 8, obj_number(o, DHC_OBJ_BLOB_HEADER));
  for (int i = 0; i < o->o->pieces.n; i++) {
    const DhcObjPiece *p = &o->o->pieces.at[i];
    if (!dhc_object_piece_is_fixed(o->o, p) || !p->bytes) continue;
    V from = obj_bytes(o, "fixed", o->o->fixed + p->at, (size_t)p->bytes, 8);
    LLVMBuildMemCpy(o->w->b, obj_gep(o, weights, obj_number(o, p->at)), 8, from, 8, obj_number(o, p->bytes));
  }
  LLVMBuildRet(o->w->b, obj_status(o, 0));
}

/* void pack(to, from, matrices, rows, cols, width, panels): dhc_panel_pack of all panels. */
static LLVMTypeRef pack_type(Out *o) {
  LLVMTypeRef args[] = {o->ptr, o->ptr, o->i64, o->i64, o->i64, o->i64, o->i64};
  return LLVMFunctionType(o->none, args, 7, false);
}

static V write_pack(Out *o) {
  LLVMBuilderRef m = o->w->b;
  V fn = obj_function(o, dhc_arena_printf(o->arena, "%s_pack", o->o->name), pack_type(o), false);
  V to = LLVMGetParam(fn, 0), from = LLVMGetParam(fn, 1), rows = LLVMGetParam(fn, 3), cols = LLVMGetParam(fn, 4), width = LLVMGetParam(fn, 5);
  V zero = LLVMConstInt(o->i32, 0, false), panels = LLVMGetParam(fn, 6);
  V area = LLVMBuildMul(m, rows, cols, ""), padded = LLVMBuildMul(m, LLVMBuildMul(m, panels, width, ""), cols, "");
  ObjLoop k = obj_loop(o, fn, LLVMGetParam(fn, 2), 1);
  ObjLoop p = obj_loop(o, fn, panels, 1);
  ObjLoop c = obj_loop(o, fn, cols, 1);
  ObjLoop i = obj_loop(o, fn, width, 1);
  V row = LLVMBuildAdd(m, LLVMBuildMul(m, p.index, width, ""), i.index, "");
  V there = LLVMBuildICmp(m, LLVMIntULT, row, rows, ""), safe = LLVMBuildSelect(m, there, row, obj_number(o, 0), "");
  V at = LLVMBuildAdd(m, LLVMBuildMul(m, safe, cols, ""), c.index, "");
  at = LLVMBuildAdd(m, at, LLVMBuildMul(m, k.index, area, ""), "");
  V x = LLVMBuildLoad2(m, o->i32, LLVMBuildGEP2(m, o->i32, from, &at, 1, ""), "");
  V put = LLVMBuildMul(m, LLVMBuildAdd(m, LLVMBuildMul(m, p.index, cols, ""), c.index, ""), width, "");
  put = LLVMBuildAdd(m, LLVMBuildAdd(m, put, i.index, ""), LLVMBuildMul(m, k.index, padded, ""), "");
  LLVMBuildStore(m, LLVMBuildSelect(m, there, x, zero, ""), LLVMBuildGEP2(m, o->i32, to, &put, 1, ""));
  obj_loop_end(o, &i);
  obj_loop_end(o, &c);
  obj_loop_end(o, &p);
  obj_loop_end(o, &k);
  LLVMBuildRetVoid(m);
  return fn;
}

/* status set(weights, tensor, data, bytes) */
static void write_set(Out *o) {
  LLVMBuilderRef m = o->w->b;
  V pack = write_pack(o);
  LLVMTypeRef args[] = {o->ptr, o->i32, o->ptr, o->i64};
  V fn = named(o, "set", args, 4), weights = LLVMGetParam(fn, 0), data = LLVMGetParam(fn, 2);
  look_at(o, fn, weights, obj_number(o, o->o->blob_bytes));
  obj_return_if(o, fn, LLVMBuildIsNull(m, data, ""), obj_status(o, OBJECT_NULL));
  for (int t = 0; t < o->o->n_tensors; t++) {
    int slot = o->o->tensor[t];
    LLVMBasicBlockRef take = obj_block(o, fn, ""), next = obj_block(o, fn, "");
    LLVMBuildCondBr(m, LLVMBuildICmp(m, LLVMIntEQ, LLVMGetParam(fn, 1), LLVMConstInt(o->i32, (unsigned)t, false), ""), take, next);
    LLVMPositionBuilderAtEnd(m, take);
    V n = obj_number(o, dhc_object_tensor_bytes(o->o, t));
    obj_return_if(o, fn, LLVMBuildICmp(m, LLVMIntNE, LLVMGetParam(fn, 3), n, ""), obj_status(o, OBJECT_WEIGHTS));
    for (int i = 0; i < o->o->pieces.n; i++) {
      const DhcObjPiece *p = &o->o->pieces.at[i];
      if (p->kind == DHC_OBJ_SCALAR || p->slot != slot) continue;
      V to = obj_gep(o, weights, obj_number(o, p->at));
      V with[] = {to, data, obj_number(o, p->matrices), obj_number(o, p->rows), obj_number(o, p->cols), obj_number(o, p->width),
                  obj_number(o, p->width ? (p->rows + p->width - 1) / p->width : 0)};
      if (p->kind == DHC_OBJ_PANEL) LLVMBuildCall2(m, pack_type(o), pack, with, 7, "");
      else LLVMBuildMemCpy(m, to, 64, data, 1, n);
    }
    LLVMBuildRet(m, obj_status(o, 0));
    LLVMPositionBuilderAtEnd(m, next);
  }
  LLVMBuildRet(m, obj_status(o, OBJECT_WEIGHTS));
}

void obj_write_weights(Out *o) {
  if (o->o->blob) {
    embed(o);
  } else if (o->o->blob_bytes) {
    write_check(o);
    if (dhc_object_sets_weights(o->o)) {
      write_begin(o);
      write_set(o);
    }
  }
}

/* ---- pages ------------------------------------------------------------------------------------------- */

enum { PAGE = 4096 /* or larger ones */ };

static V touch(Out *o, V at) {
  V x = LLVMBuildLoad2(o->w->b, o->i8, at, "");
  LLVMSetVolatile(x, true);
  return x;
}

/* The first byte of every page, counted from `at`, and the last of all. */
static void touch_all(Out *o, V fn, V at, V bytes, bool write) {
  LLVMBuilderRef m = o->w->b;
  ObjLoop l = obj_loop(o, fn, bytes, PAGE);
  V end = LLVMBuildSub(m, bytes, obj_number(o, 1), "");
  V places[] = {obj_gep(o, at, l.index), obj_gep(o, at, end)};
  for (int i = 0; i < 2; i++) {
    V x = touch(o, places[i]);
    if (write) LLVMSetVolatile(LLVMBuildStore(m, x, places[i]), true);
  }
  obj_loop_end(o, &l);
}

/* void prefault(weights, weights_bytes, memory, memory_bytes) */
void obj_write_prefault(Out *o) {
  LLVMTypeRef args[] = {o->ptr, o->i64, o->ptr, o->i64};
  V fn = obj_function(o, dhc_arena_printf(o->arena, "%s_prefault", o->o->name), LLVMFunctionType(o->none, args, 4, false), true);
  if (o->blob) touch_all(o, fn, o->blob, obj_number(o, o->o->blob_bytes), false);
  touch_all(o, fn, LLVMGetParam(fn, 0), LLVMGetParam(fn, 1), false);
  touch_all(o, fn, LLVMGetParam(fn, 2), LLVMGetParam(fn, 3), true);
  LLVMBuildRetVoid(o->w->b);
}

/* ---- selftest ------------------------------------------------------------------------------------- */

/* i32 differs(a, b, bytes): whether any byte does. */
static LLVMTypeRef differs_type(Out *o) {
  LLVMTypeRef args[] = {o->ptr, o->ptr, o->i64};
  return LLVMFunctionType(o->i32, args, 3, false);
}

static V write_differs(Out *o) {
  LLVMBuilderRef m = o->w->b;
  V fn = obj_function(o, dhc_arena_printf(o->arena, "%s_differs", o->o->name), differs_type(o), false);
  ObjLoop l = obj_loop(o, fn, LLVMGetParam(fn, 2), 1);
  V x = LLVMBuildLoad2(m, o->i8, obj_gep(o, LLVMGetParam(fn, 0), l.index), "");
  V y = LLVMBuildLoad2(m, o->i8, obj_gep(o, LLVMGetParam(fn, 1), l.index), "");
  obj_return_if(o, fn, LLVMBuildICmp(m, LLVMIntNE, x, y, ""), LLVMConstInt(o->i32, 1, false));
  obj_loop_end(o, &l);
  LLVMBuildRet(m, LLVMConstInt(o->i32, 0, false));
  return fn;
}

static void write_test(Out *o, const DhcObjTest *t, V fn, V weights, V work, V differs) {
  LLVMBuilderRef m = o->w->b;
  const DhcObjEntry *e = o->o->entry[t->entry];
  V entry = LLVMGetNamedFunction(o->w->module, dhc_object_test_function(o->o, t)), *args = DHC_NEW_N(o->arena, V, e->n_params + 8);
  V *want = DHC_NEW_N(o->arena, V, e->n_params + 1), *got = DHC_NEW_N(o->arena, V, e->n_params + 1);
  int64_t work_bytes = dhc_object_tested_workspace(o->o, t), at = work_bytes;
  int n = 0;
  if (e->reads_weights && weights) args[n++] = weights;
  for (int k = 0; k < e->n_params; k++) {
    want[k] = obj_bytes(o, "test", t->data[k], (size_t)t->bytes[k], 64);
    got[k] = e->param[k].out ? obj_gep(o, work, obj_number(o, at)) : want[k];
    if (e->param[k].out) at += (t->bytes[k] + 63) / 64 * 64;
    args[n++] = got[k];
  }
  args[n++] = work;
  args[n++] = obj_number(o, work_bytes);
  args[n++] = LLVMConstNull(o->ptr);
  V status = LLVMBuildCall2(m, LLVMGlobalGetValueType(entry), entry, args, (unsigned)n, "");
  obj_return_if(o, fn, LLVMBuildICmp(m, LLVMIntNE, status, obj_status(o, 0), ""), status);
  for (int k = 0; k < e->n_params; k++) {
    if (!e->param[k].out) continue;
    V with[] = {got[k], want[k], obj_number(o, t->bytes[k])};
    V other = LLVMBuildCall2(m, differs_type(o), differs, with, 3, "");
    obj_return_if(o, fn, LLVMBuildICmp(m, LLVMIntNE, other, obj_status(o, 0), ""), obj_status(o, OBJECT_SELFTEST));
  }
}

void obj_write_selftest(Out *o) {
  LLVMBuilderRef m = o->w->b;
  LLVMTypeRef args[] = {o->ptr, o->ptr, o->i64};
  V differs = write_differs(o);
  bool passed = false;
  for (int i = 0; i < o->o->tests.n; i++) passed = passed || (o->o->entry[o->o->tests.at[i].entry]->reads_weights && !o->blob);
  LLVMTypeRef type = LLVMFunctionType(o->i32, passed ? args : args + 1, passed ? 3 : 2, false);
  V fn = obj_function(o, dhc_arena_printf(o->arena, "%s_selftest", o->o->name), type, true);
  V work = LLVMGetParam(fn, passed), bytes = LLVMGetParam(fn, 1u + passed);
  obj_return_if(o, fn, LLVMBuildIsNull(m, work, ""), obj_status(o, OBJECT_NULL));
  obj_return_if(o, fn, obj_misaligned(o, work), obj_status(o, OBJECT_ALIGN));
  V small = LLVMBuildICmp(m, LLVMIntSLT, bytes, obj_number(o, dhc_object_selftest_bytes(o->o)), "");
  obj_return_if(o, fn, small, obj_status(o, OBJECT_WORKSPACE));
  for (int i = 0; i < o->o->tests.n; i++) write_test(o, &o->o->tests.at[i], fn, passed ? LLVMGetParam(fn, 0) : NULL, work, differs);
  LLVMBuildRet(m, obj_status(o, 0));
}
