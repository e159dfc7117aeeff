/* Entries of an object as functions of the LLVM module that holds their kernels: what all parts use, and
 * expressions. */
#include "backends/object/llvm_internal.h"

V obj_number(Out *o, int64_t v) { return LLVMConstInt(o->i64, (unsigned long long)v, true); }

V obj_status(Out *o, unsigned code) { return LLVMConstInt(o->i32, code, false); }

static void attribute(Out *o, V fn, const char *name) {
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(o->w->cx, kind, 0));
}

V obj_function(Out *o, const char *name, LLVMTypeRef type, bool exported) {
  V fn = LLVMAddFunction(o->w->module, name, type);
  attribute(o, fn, "nounwind");
  if (!exported) LLVMSetLinkage(fn, LLVMInternalLinkage);
  LLVMPositionBuilderAtEnd(o->w->b, LLVMAppendBasicBlockInContext(o->w->cx, fn, "entry"));
  return fn;
}

LLVMBasicBlockRef obj_block(Out *o, V fn, const char *name) { return LLVMAppendBasicBlockInContext(o->w->cx, fn, name); }

V obj_gep(Out *o, V base, V bytes) {
  return LLVMBuildGEP2(o->w->b, o->i8, base, &bytes, 1, "");
}

V obj_element(Out *o, LLVMTypeRef type, V base, int i) {
  V at = obj_number(o, i);
  return LLVMBuildGEP2(o->w->b, type, base, &at, 1, "");
}

V obj_bytes(Out *o, const char *name, const void *bytes, size_t n, unsigned align) {
  V init = LLVMConstStringInContext2(o->w->cx, bytes, n, true);
  V g = LLVMAddGlobal(o->w->module, LLVMTypeOf(init), name);
  LLVMSetInitializer(g, init);
  LLVMSetGlobalConstant(g, true);
  LLVMSetLinkage(g, LLVMPrivateLinkage);
  LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
  LLVMSetAlignment(g, align);
  return g;
}

/* If `refused`, returns `status`. */
void obj_return_if(Out *o, V fn, V refused, V status) {
  LLVMBasicBlockRef stop = obj_block(o, fn, "refused"), on = obj_block(o, fn, "");
  LLVMBuildCondBr(o->w->b, refused, stop, on);
  LLVMPositionBuilderAtEnd(o->w->b, stop);
  LLVMBuildRet(o->w->b, status);
  LLVMPositionBuilderAtEnd(o->w->b, on);
}

V obj_misaligned(Out *o, V p) {
  V bits = LLVMBuildAnd(o->w->b, LLVMBuildPtrToInt(o->w->b, p, o->i64, ""), obj_number(o, 63), "");
  return LLVMBuildICmp(o->w->b, LLVMIntNE, bits, obj_number(o, 0), "");
}

ObjLoop obj_loop(Out *o, V fn, V end, int64_t step) {
  LLVMBuilderRef m = o->w->b;
  ObjLoop l = {.fn = fn, .end = end, .step = obj_number(o, step), .before = LLVMGetInsertBlock(m)};
  l.body = obj_block(o, fn, "loop");
  l.done = obj_block(o, fn, "done");
  V zero = obj_number(o, 0);
  LLVMBuildCondBr(m, LLVMBuildICmp(m, LLVMIntSGT, end, zero, ""), l.body, l.done);
  LLVMPositionBuilderAtEnd(m, l.body);
  l.index = LLVMBuildPhi(m, o->i64, "");
  LLVMAddIncoming(l.index, &zero, &l.before, 1);
  return l;
}

void obj_loop_end(Out *o, ObjLoop *l) {
  LLVMBuilderRef m = o->w->b;
  V next = LLVMBuildNSWAdd(m, l->index, l->step, "");
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(m);
  LLVMBuildCondBr(m, LLVMBuildICmp(m, LLVMIntSLT, next, l->end, ""), l->body, l->done);
  LLVMAddIncoming(l->index, &next, &latch, 1);
  LLVMPositionBuilderAtEnd(m, l->done);
}

/* ---- expressions ------------------------------------------------------------------------------- */

static void mark_bad(Fn *f, V bad) {
  f->bad = f->bad ? LLVMBuildOr(f->out->w->b, f->bad, bad, "") : bad;
}

static bool narrow(const Out *o) { return o->w->target->bits == 32; }

/* Where addresses have 32 bits every value has to fit: those of two that do cannot leave 64. */
static bool fits_narrow(const DhcObjX *x) { return x->lo >= INT32_MIN && x->hi <= INT32_MAX; }

bool obj_watched(const Out *o, const DhcObjX *x) { return x->checked || (narrow(o) && !fits_narrow(x)); }

static V watched_narrow(Fn *f, V x) {
  Out *o = f->out;
  V up = LLVMBuildAdd(o->w->b, x, obj_number(o, INT64_C(1) << 31), "");
  mark_bad(f, LLVMBuildICmp(o->w->b, LLVMIntUGE, up, obj_number(o, INT64_C(1) << 32), ""));
  return x;
}

static V overflowing(Fn *f, const char *name, V a, V b) {
  Out *o = f->out;
  V args[] = {a, b};
  V pair = dhc_cpu_intrinsic(o->w, name, &o->i64, 1, args, 2);
  mark_bad(f, LLVMBuildExtractValue(o->w->b, pair, 1, ""));
  return LLVMBuildExtractValue(o->w->b, pair, 0, "");
}

/* Floor or ceiling. A divisor that may be 0 is 1 instead where it is, and the sizes are refused. */
static V divided(Fn *f, const DhcObjX *x, V a, V b) {
  Out *o = f->out;
  LLVMBuilderRef m = o->w->b;
  bool up = x->op == DHC_DIM_CEILDIV;
  if (x->checked && f->checks) {
    V wrong = LLVMBuildICmp(m, LLVMIntSLT, b, obj_number(o, 1), "");
    mark_bad(f, wrong);
    b = LLVMBuildSelect(m, wrong, obj_number(o, 1), b, "");
  }
  if (narrow(o)) { /* of absolute values, b > 0 */
    V zero = obj_number(o, 0), below = LLVMBuildICmp(m, LLVMIntSLT, a, zero, "");
    V n = LLVMBuildSelect(m, below, LLVMBuildNeg(m, a, ""), a, ""), q = dhc_cpu_index_div(o->w, n, b);
    V some = LLVMBuildZExt(m, LLVMBuildICmp(m, LLVMIntNE, n, LLVMBuildMul(m, q, b, ""), ""), o->i64, "");
    V away = LLVMBuildAdd(m, q, some, "");
    return LLVMBuildSelect(m, below, LLVMBuildNeg(m, up ? q : away, ""), up ? away : q, "");
  }
  if (x->a->lo >= 0 && up && x->a->hi < INT64_MAX - (x->b->hi < 0 ? 0 : x->b->hi) && !x->checked)
    return LLVMBuildUDiv(m, LLVMBuildAdd(m, a, LLVMBuildSub(m, b, obj_number(o, 1), ""), ""), b, "");
  if (x->a->lo >= 0 && !up) return LLVMBuildUDiv(m, a, b, "");
  V q = LLVMBuildSDiv(m, a, b, ""), rest = LLVMBuildSub(m, a, LLVMBuildMul(m, q, b, ""), "");
  V off = LLVMBuildICmp(m, up ? LLVMIntSGT : LLVMIntSLT, rest, obj_number(o, 0), "");
  V one = LLVMBuildZExt(m, off, o->i64, "");
  return up ? LLVMBuildAdd(m, q, one, "") : LLVMBuildSub(m, q, one, "");
}

static V extreme(Fn *f, LLVMIntPredicate p, V a, V b) {
  LLVMBuilderRef m = f->out->w->b;
  return LLVMBuildSelect(m, LLVMBuildICmp(m, p, a, b, ""), a, b, "");
}

V obj_nonzero(Fn *f, V x) { return LLVMBuildICmp(f->out->w->b, LLVMIntNE, x, obj_number(f->out, 0), ""); }

static V build_wide(Fn *f, const DhcObjX *x) {
  Out *o = f->out;
  LLVMBuilderRef m = o->w->b;
  V a = x->a ? f->x[x->a->id] : NULL, b = x->b ? f->x[x->b->id] : NULL;
  bool checked = x->checked && f->checks && !narrow(o);
  switch (x->op) {
  case DHC_DIM_CONST: return obj_number(o, x->value);
  case DHC_DIM_SYM: return f->symbol[x->value];
  case DHC_DIM_ADD: return checked ? overflowing(f, "llvm.sadd.with.overflow", a, b) : LLVMBuildNSWAdd(m, a, b, "");
  case DHC_DIM_SUB: return checked ? overflowing(f, "llvm.ssub.with.overflow", a, b) : LLVMBuildNSWSub(m, a, b, "");
  case DHC_DIM_MUL: return checked ? overflowing(f, "llvm.smul.with.overflow", a, b) : LLVMBuildNSWMul(m, a, b, "");
  case DHC_DIM_MIN: return extreme(f, LLVMIntSLT, a, b);
  case DHC_DIM_MAX: return extreme(f, LLVMIntSGT, a, b);
  case DHC_DIM_LE: return LLVMBuildZExt(m, LLVMBuildICmp(m, LLVMIntSLE, a, b, ""), o->i64, "");
  case DHC_DIM_AND: return LLVMBuildZExt(m, LLVMBuildAnd(m, obj_nonzero(f, a), obj_nonzero(f, b), ""), o->i64, "");
  case DHC_OBJ_SELECT: return LLVMBuildSelect(m, obj_nonzero(f, f->x[x->c->id]), a, b, "");
  default: return divided(f, x, a, b);
  }
}

static V build(Fn *f, const DhcObjX *x) {
  V v = build_wide(f, x);
  return f->checks && narrow(f->out) && !fits_narrow(x) ? watched_narrow(f, v) : v;
}

/* Of the entry proper: sizes have been looked at, nothing leaves its range. */
V obj_value(Fn *f, const DhcObjX *x) {
  if (f->x[x->id]) return f->x[x->id];
  if (x->a) obj_value(f, x->a);
  if (x->b) obj_value(f, x->b);
  if (x->c) obj_value(f, x->c);
  return f->x[x->id] = build(f, x);
}

int obj_free_symbols(const DhcObjEntry *e) {
  int n = 0;
  for (int i = 0; i < e->n_symbols; i++) n += !e->bound[i];
  return n;
}

Fn obj_begin(Out *o, const DhcObjEntry *e, V fn, int first) {
  Fn f = {.out = o, .e = e, .fn = fn};
  f.x = DHC_NEW_N(o->arena, V, e->x.n + 1);
  f.symbol = DHC_NEW_N(o->arena, V, e->n_symbols + 1);
  for (int i = 0; i < e->n_symbols; i++)
    if (!e->bound[i]) f.symbol[i] = LLVMGetParam(fn, (unsigned)first++);
  return f;
}

/* ---- the whole ---------------------------------------------------------------------------------- */

static void write_describe(Out *o) {
  V fn = obj_function(o, dhc_arena_printf(o->arena, "%s_describe", o->o->name), LLVMFunctionType(o->ptr, NULL, 0, false), true);
  (void)fn;
  LLVMBuildRet(o->w->b, obj_bytes(o, "describe", o->o->describe, strlen(o->o->describe) + 1, 1));
}

void dhc_object_write_llvm(DhcCpuW *w, void *object) {
  const DhcObjLlvm *in = object;
  const DhcObject *obj = in->object;
  Out o = {.w = w, .o = obj, .arena = in->arena};
  const DhcCpuTarget *own = w->target;
  o.i8 = LLVMInt8TypeInContext(w->cx);
  o.i32 = LLVMInt32TypeInContext(w->cx);
  o.i64 = LLVMInt64TypeInContext(w->cx);
  o.ptr = LLVMPointerTypeInContext(w->cx, 0);
  o.none = LLVMVoidTypeInContext(w->cx);
  obj_write_weights(&o);
  obj_write_prefault(&o);
  o.function = DHC_NEW_N(o.arena, V, obj->functions.n + 1);
  for (int i = 0; i < obj->functions.n && !w->refused; i++) {
    const DhcObjFunction *k = &obj->functions.at[i];
    if (obj->levels) w->target = &in->level[k->level];
    dhc_cpu_write(w, k->program, k->name);
    o.function[i] = LLVMGetNamedFunction(w->module, k->name);
    if (k->level) LLVMAddTargetDependentFunctionAttr(o.function[i], "target-cpu", w->target->cpu);
    LLVMSetLinkage(o.function[i], LLVMInternalLinkage);
  }
  w->target = own;
  if (w->refused) return;
  obj_write_launch(&o);
  obj_write_fill(&o);
  write_describe(&o);
  for (int i = 0; i < obj->n_entries; i++) {
    LLVMTypeRef type;
    V check = obj_write_check(&o, obj->entry[i], &type);
    obj_write_sizes(&o, obj->entry[i], check, type);
    obj_write_entry(&o, obj->entry[i], check, type);
    if (dhc_object_handles_state(obj, obj->entry[i])) obj_write_training(&o, obj->entry[i]);
  }
  if (obj->n_variants) obj_write_variants(&o);
  if (obj->tests.n) obj_write_selftest(&o);
  if (obj->drive) obj_write_drive(&o);
}
