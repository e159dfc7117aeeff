/* Entries of an object as functions of the LLVM module that holds their kernels. */
#include "backends/object/llvm.h"

#include <string.h>

typedef LLVMValueRef V;

typedef struct Out {
  DhcCpuW *w;
  const DhcObject *o;
  DhcArena *arena;
  LLVMTypeRef i8, i32, i64, ptr, none;
  V blob; /* embedded constants, or NULL */
  V launch, fill;
  V *function; /* kernels */
} Out;

/* One function of an entry while it is written. */
typedef struct Fn {
  Out *out;
  const DhcObjEntry *e;
  V fn;
  V *x; /* by expression */
  V *symbol;
  bool checks; /* what may leave its range is watched: */
  V bad;       /* i1: something has; NULL: nothing may */
  /* of the entry proper */
  V weights, state, *param, work, shared, scratch, per_worker, exec;
  V ptrs, dims; /* operands and sizes of the next call */
  V index[DHC_MAX_LOOP_DEPTH];
} Fn;

static V number(Out *o, int64_t v) { return LLVMConstInt(o->i64, (unsigned long long)v, true); }

static void attribute(Out *o, V fn, const char *name) {
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(o->w->cx, kind, 0));
}

static V function(Out *o, const char *name, LLVMTypeRef type, bool exported) {
  V fn = LLVMAddFunction(o->w->module, name, type);
  attribute(o, fn, "nounwind");
  if (!exported) LLVMSetLinkage(fn, LLVMInternalLinkage);
  LLVMPositionBuilderAtEnd(o->w->b, LLVMAppendBasicBlockInContext(o->w->cx, fn, "entry"));
  return fn;
}

static LLVMBasicBlockRef block(Out *o, V fn, const char *name) { return LLVMAppendBasicBlockInContext(o->w->cx, fn, name); }

static V gep(Out *o, V base, V bytes) {
  return LLVMBuildGEP2(o->w->b, o->i8, base, &bytes, 1, "");
}

static V element(Out *o, LLVMTypeRef type, V base, int i) {
  V at = number(o, i);
  return LLVMBuildGEP2(o->w->b, type, base, &at, 1, "");
}

/* Text in read-only memory. */
static V text(Out *o, const char *name, const char *s) {
  V init = LLVMConstStringInContext2(o->w->cx, s, strlen(s), false);
  V g = LLVMAddGlobal(o->w->module, LLVMTypeOf(init), name);
  LLVMSetInitializer(g, init);
  LLVMSetGlobalConstant(g, true);
  LLVMSetLinkage(g, LLVMPrivateLinkage);
  LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
  return g;
}

/* If `refused`, returns `status`. */
static void return_if(Out *o, V fn, V refused, V status) {
  LLVMBasicBlockRef stop = block(o, fn, "refused"), on = block(o, fn, "");
  LLVMBuildCondBr(o->w->b, refused, stop, on);
  LLVMPositionBuilderAtEnd(o->w->b, stop);
  LLVMBuildRet(o->w->b, status);
  LLVMPositionBuilderAtEnd(o->w->b, on);
}

/* ---- expressions ------------------------------------------------------------------------------- */

static void mark_bad(Fn *f, V bad) {
  f->bad = f->bad ? LLVMBuildOr(f->out->w->b, f->bad, bad, "") : bad;
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
    V wrong = LLVMBuildICmp(m, LLVMIntSLT, b, number(o, 1), "");
    mark_bad(f, wrong);
    b = LLVMBuildSelect(m, wrong, number(o, 1), b, "");
  }
  if (x->a->lo >= 0 && up && x->a->hi < INT64_MAX - (x->b->hi < 0 ? 0 : x->b->hi) && !x->checked)
    return LLVMBuildUDiv(m, LLVMBuildAdd(m, a, LLVMBuildSub(m, b, number(o, 1), ""), ""), b, "");
  if (x->a->lo >= 0 && !up) return LLVMBuildUDiv(m, a, b, "");
  V q = LLVMBuildSDiv(m, a, b, ""), rest = LLVMBuildSub(m, a, LLVMBuildMul(m, q, b, ""), "");
  V off = LLVMBuildICmp(m, up ? LLVMIntSGT : LLVMIntSLT, rest, number(o, 0), "");
  V one = LLVMBuildZExt(m, off, o->i64, "");
  return up ? LLVMBuildAdd(m, q, one, "") : LLVMBuildSub(m, q, one, "");
}

static V extreme(Fn *f, LLVMIntPredicate p, V a, V b) {
  LLVMBuilderRef m = f->out->w->b;
  return LLVMBuildSelect(m, LLVMBuildICmp(m, p, a, b, ""), a, b, "");
}

static V nonzero(Fn *f, V x) { return LLVMBuildICmp(f->out->w->b, LLVMIntNE, x, number(f->out, 0), ""); }

static V build(Fn *f, const DhcObjX *x) {
  Out *o = f->out;
  LLVMBuilderRef m = o->w->b;
  V a = x->a ? f->x[x->a->id] : NULL, b = x->b ? f->x[x->b->id] : NULL;
  bool checked = x->checked && f->checks;
  switch (x->op) {
  case DHC_DIM_CONST: return number(o, x->value);
  case DHC_DIM_SYM: return f->symbol[x->value];
  case DHC_DIM_ADD: return checked ? overflowing(f, "llvm.sadd.with.overflow", a, b) : LLVMBuildNSWAdd(m, a, b, "");
  case DHC_DIM_SUB: return checked ? overflowing(f, "llvm.ssub.with.overflow", a, b) : LLVMBuildNSWSub(m, a, b, "");
  case DHC_DIM_MUL: return checked ? overflowing(f, "llvm.smul.with.overflow", a, b) : LLVMBuildNSWMul(m, a, b, "");
  case DHC_DIM_MIN: return extreme(f, LLVMIntSLT, a, b);
  case DHC_DIM_MAX: return extreme(f, LLVMIntSGT, a, b);
  case DHC_DIM_LE: return LLVMBuildZExt(m, LLVMBuildICmp(m, LLVMIntSLE, a, b, ""), o->i64, "");
  case DHC_DIM_AND: return LLVMBuildZExt(m, LLVMBuildAnd(m, nonzero(f, a), nonzero(f, b), ""), o->i64, "");
  case DHC_OBJ_SELECT: return LLVMBuildSelect(m, nonzero(f, f->x[x->c->id]), a, b, "");
  default: return divided(f, x, a, b);
  }
}

/* Of the entry proper: sizes have been looked at, nothing leaves its range. */
static V value(Fn *f, const DhcObjX *x) {
  if (f->x[x->id]) return f->x[x->id];
  if (x->a) value(f, x->a);
  if (x->b) value(f, x->b);
  if (x->c) value(f, x->c);
  return f->x[x->id] = build(f, x);
}

static int free_symbols(const DhcObjEntry *e) {
  int n = 0;
  for (int i = 0; i < e->n_symbols; i++) n += !e->bound[i];
  return n;
}

/* Symbols are parameters of the function from number `first` on. */
static Fn begin(Out *o, const DhcObjEntry *e, V fn, int first) {
  Fn f = {.out = o, .e = e, .fn = fn};
  f.x = DHC_NEW_N(o->arena, V, e->x.n + 1);
  f.symbol = DHC_NEW_N(o->arena, V, e->n_symbols + 1);
  for (int i = 0; i < e->n_symbols; i++)
    if (!e->bound[i]) f.symbol[i] = LLVMGetParam(fn, (unsigned)first++);
  return f;
}

/* ---- sizes: check, why, workspace_bytes ---------------------------------------------------------- */

/* internal i32 check(sizes): 0, or the number of a message from 1. */
static V write_check(Out *o, const DhcObjEntry *e, LLVMTypeRef *type) {
  LLVMBuilderRef m = o->w->b;
  LLVMTypeRef args[64];
  int n = free_symbols(e);
  for (int i = 0; i < n; i++) args[i] = o->i64;
  *type = LLVMFunctionType(o->i32, args, (unsigned)n, false);
  V fn = function(o, dhc_arena_printf(o->arena, "%s_check", e->c_name), *type, false);
  Fn f = begin(o, e, fn, 0);
  f.checks = true;
  for (int i = 0; i < e->n_symbols; i++) {
    if (e->bound[i]) continue;
    V below = LLVMBuildSub(m, f.symbol[i], number(o, 1), "");
    V out = LLVMBuildICmp(m, LLVMIntUGE, below, number(o, DHC_OBJ_MAX_DIM), "");
    return_if(o, fn, out, LLVMConstInt(o->i32, (unsigned)i + 2, false));
  }
  for (int i = 0; i < e->x.n; i++)
    if (e->x.at[i]->checked) value(&f, e->x.at[i]);
  if (f.bad) return_if(o, fn, f.bad, LLVMConstInt(o->i32, 1, false));
  for (int i = 0; i < e->guards.n; i++) {
    V holds = nonzero(&f, value(&f, e->guards.at[i].cond));
    return_if(o, fn, LLVMBuildNot(m, holds, ""), LLVMConstInt(o->i32, (unsigned)(2 + e->n_symbols + i), false));
  }
  LLVMBuildRet(m, LLVMConstInt(o->i32, 0, false));
  return fn;
}

static V call_check(Out *o, const DhcObjEntry *e, V check, LLVMTypeRef type, V *symbol) {
  V args[64];
  int n = 0;
  for (int i = 0; i < e->n_symbols; i++)
    if (!e->bound[i]) args[n++] = symbol[i];
  return LLVMBuildCall2(o->w->b, type, check, args, (unsigned)n, "");
}

static void write_why(Out *o, const DhcObjEntry *e, V check, LLVMTypeRef type) {
  LLVMBuilderRef m = o->w->b;
  LLVMTypeRef args[64];
  int n = free_symbols(e), k = 0;
  for (int i = 0; i < n; i++) args[i] = o->i64;
  V fn = function(o, dhc_arena_printf(o->arena, "%s_why", e->c_name), LLVMFunctionType(o->ptr, args, (unsigned)n, false), true);
  Fn f = begin(o, e, fn, 0);
  V got = call_check(o, e, check, type, f.symbol), says = LLVMConstNull(o->ptr);
  const char **message = DHC_NEW_N(o->arena, const char *, 1 + e->n_symbols + e->guards.n);
  message[k++] = "at these sizes a number of bytes does not fit in 63 bits";
  for (int i = 0; i < e->n_symbols; i++)
    message[k++] = dhc_arena_printf(o->arena, "'%s' must be from 1 to %d", e->image->plan.symbols[i], DHC_OBJ_MAX_DIM);
  for (int i = 0; i < e->guards.n; i++) message[k++] = e->guards.at[i].message;
  for (int i = 0; i < k; i++) {
    if (i >= 1 && i <= e->n_symbols && e->bound[i - 1]) continue;
    V is = LLVMBuildICmp(m, LLVMIntEQ, got, LLVMConstInt(o->i32, (unsigned)i + 1, false), "");
    says = LLVMBuildSelect(m, is, text(o, "why", message[i]), says, "");
  }
  LLVMBuildRet(m, says);
}

/* work + shared + workers * scratch */
static V workspace(Fn *f, V workers) {
  Out *o = f->out;
  V scratch = LLVMBuildMul(o->w->b, value(f, f->e->scratch_bytes), workers, "");
  V fixed = LLVMBuildAdd(o->w->b, value(f, f->e->work_bytes), value(f, f->e->shared_bytes), "");
  return LLVMBuildAdd(o->w->b, fixed, scratch, "");
}

static void write_workspace_bytes(Out *o, const DhcObjEntry *e, V check, LLVMTypeRef type) {
  LLVMBuilderRef m = o->w->b;
  LLVMTypeRef args[64];
  int n = free_symbols(e);
  for (int i = 0; i < n; i++) args[i] = o->i64;
  args[n] = o->i32;
  V fn = function(o, dhc_arena_printf(o->arena, "%s_workspace_bytes", e->c_name),
                  LLVMFunctionType(o->i64, args, (unsigned)n + 1, false), true);
  Fn f = begin(o, e, fn, 0);
  V workers = LLVMGetParam(fn, (unsigned)n), zero = LLVMConstInt(o->i32, 0, false);
  V got = call_check(o, e, check, type, f.symbol);
  return_if(o, fn, LLVMBuildICmp(m, LLVMIntNE, got, zero, ""), number(o, -1));
  V one = LLVMConstInt(o->i32, 1, false);
  workers = LLVMBuildSelect(m, LLVMBuildICmp(m, LLVMIntSLT, workers, one, ""), one, workers, "");
  LLVMBuildRet(m, workspace(&f, LLVMBuildZExt(m, workers, o->i64, "")));
}

static void write_state_bytes(Out *o, const DhcObjEntry *e, V check, LLVMTypeRef type) {
  LLVMBuilderRef m = o->w->b;
  LLVMTypeRef args[64];
  int n = free_symbols(e);
  for (int i = 0; i < n; i++) args[i] = o->i64;
  V fn = function(o, dhc_arena_printf(o->arena, "%s_state_bytes", e->c_name), LLVMFunctionType(o->i64, args, (unsigned)n, false), true);
  Fn f = begin(o, e, fn, 0);
  V got = call_check(o, e, check, type, f.symbol);
  return_if(o, fn, LLVMBuildICmp(m, LLVMIntNE, got, LLVMConstInt(o->i32, 0, false), ""), number(o, -1));
  LLVMBuildRet(m, value(&f, e->state_bytes));
}

/* ---- tasks ------------------------------------------------------------------------------------------ */

static LLVMTypeRef kernel_type(Out *o) {
  LLVMTypeRef args[] = {o->ptr, o->ptr, o->i64, o->i64, o->ptr};
  return LLVMFunctionType(o->none, args, 5, false);
}

static LLVMTypeRef exec_type(Out *o) {
  LLVMTypeRef of[] = {o->ptr, o->i32, o->ptr};
  return LLVMStructTypeInContext(o->w->cx, of, 3, false);
}

/* A call's tasks as parallel_for's argument: kernel, operands, sizes, first task, scratch, bytes of it a worker. */
enum { JOB_FN, JOB_PTRS, JOB_DIMS, JOB_FIRST, JOB_SCRATCH, JOB_EACH };
static LLVMTypeRef job_type(Out *o) {
  LLVMTypeRef of[] = {o->ptr, o->ptr, o->ptr, o->i64, o->ptr, o->i64};
  return LLVMStructTypeInContext(o->w->cx, of, 6, false);
}

static V job_field(Out *o, V job, unsigned i, bool wide) {
  return LLVMBuildLoad2(o->w->b, wide ? o->i64 : o->ptr, LLVMBuildStructGEP2(o->w->b, job_type(o), job, i, ""), "");
}

/* void tasks(job, t0, t1, worker) */
static V write_tasks(Out *o) {
  LLVMBuilderRef m = o->w->b;
  LLVMTypeRef args[] = {o->ptr, o->i64, o->i64, o->i32};
  V fn = function(o, dhc_arena_printf(o->arena, "%s_tasks", o->o->name), LLVMFunctionType(o->none, args, 4, false), false);
  V job = LLVMGetParam(fn, 0), first = job_field(o, job, JOB_FIRST, true);
  V skip = LLVMBuildMul(m, LLVMBuildSExt(m, LLVMGetParam(fn, 3), o->i64, ""), job_field(o, job, JOB_EACH, true), "");
  V call[] = {job_field(o, job, JOB_PTRS, false), job_field(o, job, JOB_DIMS, false),
              LLVMBuildAdd(m, first, LLVMGetParam(fn, 1), ""), LLVMBuildAdd(m, first, LLVMGetParam(fn, 2), ""),
              gep(o, job_field(o, job, JOB_SCRATCH, false), skip)};
  LLVMBuildCall2(m, kernel_type(o), job_field(o, job, JOB_FN, false), call, 5, "");
  LLVMBuildRetVoid(m);
  return fn;
}

/* void launch(exec, kernel, operands, sizes, first, end, scratch, each): tasks [first, end) */
static LLVMTypeRef launch_type(Out *o) {
  LLVMTypeRef args[] = {o->ptr, o->ptr, o->ptr, o->ptr, o->i64, o->i64, o->ptr, o->i64};
  return LLVMFunctionType(o->none, args, 8, false);
}

static void write_launch(Out *o) {
  LLVMBuilderRef m = o->w->b;
  V tasks = write_tasks(o);
  V fn = o->launch = function(o, dhc_arena_printf(o->arena, "%s_launch", o->o->name), launch_type(o), false);
  V p[8];
  for (unsigned i = 0; i < 8; i++) p[i] = LLVMGetParam(fn, i);
  V n = LLVMBuildSub(m, p[5], p[4], ""), job = LLVMBuildAlloca(m, job_type(o), "");
  LLVMBasicBlockRef some = block(o, fn, ""), alone = block(o, fn, ""), many = block(o, fn, ""), done = block(o, fn, "");
  LLVMBuildCondBr(m, LLVMBuildICmp(m, LLVMIntSGT, n, number(o, 0), ""), some, done);
  LLVMPositionBuilderAtEnd(m, some);
  V serial = LLVMBuildOr(m, LLVMBuildIsNull(m, p[0], ""), LLVMBuildICmp(m, LLVMIntEQ, n, number(o, 1), ""), "");
  LLVMBuildCondBr(m, serial, alone, many);
  LLVMPositionBuilderAtEnd(m, alone);
  V call[] = {p[2], p[3], p[4], p[5], p[6]};
  LLVMBuildCall2(m, kernel_type(o), p[1], call, 5, "");
  LLVMBuildBr(m, done);
  LLVMPositionBuilderAtEnd(m, many);
  V field[] = {p[1], p[2], p[3], p[4], p[6], p[7]};
  for (unsigned i = 0; i < 6; i++) LLVMBuildStore(m, field[i], LLVMBuildStructGEP2(m, job_type(o), job, i, ""));
  LLVMTypeRef args[] = {o->ptr, o->i64, o->ptr, o->ptr};
  LLVMTypeRef type = LLVMFunctionType(o->none, args, 4, false);
  V ctx = LLVMBuildLoad2(m, o->ptr, LLVMBuildStructGEP2(m, exec_type(o), p[0], 0, ""), "");
  V all = LLVMBuildLoad2(m, o->ptr, LLVMBuildStructGEP2(m, exec_type(o), p[0], 2, ""), "");
  V with[] = {ctx, n, tasks, job};
  LLVMBuildCall2(m, type, all, with, 4, "");
  LLVMBuildBr(m, done);
  LLVMPositionBuilderAtEnd(m, done);
  LLVMBuildRetVoid(m);
}

enum { OBJECT_NULL = 1, OBJECT_ALIGN, OBJECT_DIMS, OBJECT_WORKSPACE, OBJECT_WEIGHTS, OBJECT_INDEX, OBJECT_REQUIRE }; /* header.c */

static V status(Out *o, unsigned code) { return LLVMConstInt(o->i32, code, false); }

/* ---- statements -------------------------------------------------------------------------------------------- */

static V address(Fn *f, const DhcObjRef *r, int depth) {
  Out *o = f->out;
  V base = r->base == DHC_OBJ_WEIGHTS ? f->weights : r->base == DHC_OBJ_STATE ? f->state : r->base == DHC_OBJ_WORK ? f->work : f->param[r->param];
  V at = value(f, r->at);
  for (int d = 0; d < depth; d++)
    if (r->step[d]) at = LLVMBuildAdd(o->w->b, at, LLVMBuildMul(o->w->b, value(f, r->step[d]), f->index[d], ""), "");
  return LLVMIsConstant(at) && LLVMConstIntGetZExtValue(at) == 0 ? base : gep(o, base, at);
}

static void write_launches(Fn *f, V kernel, V n, V first) {
  Out *o = f->out;
  V args[] = {f->exec, kernel, f->ptrs, f->dims, number(o, 0), first ? first : n, f->scratch, f->per_worker};
  LLVMBuildCall2(o->w->b, launch_type(o), o->launch, args, 8, "");
  if (!first) return;
  args[4] = first;
  args[5] = n;
  LLVMBuildCall2(o->w->b, launch_type(o), o->launch, args, 8, "");
}

static void write_call(Fn *f, const DhcObjStmt *s, int depth) {
  Out *o = f->out;
  LLVMBuilderRef m = o->w->b;
  for (int i = 0; i < s->n_refs; i++) LLVMBuildStore(m, address(f, &s->refs[i], depth), element(o, o->ptr, f->ptrs, i));
  LLVMBuildStore(m, f->shared, element(o, o->ptr, f->ptrs, s->n_refs));
  for (int i = 0; i < s->n_dims; i++) LLVMBuildStore(m, value(f, s->dims[i]), element(o, o->i64, f->dims, i));
  /* the class that is taken, from the last one back; first tasks of one without phases: all of them */
  V kernel = NULL, n = NULL, first = NULL;
  bool phases = false;
  for (int c = 0; c < s->n_classes; c++) phases = phases || s->class[c].first_tasks;
  for (int c = s->n_classes - 1; c >= 0; c--) {
    const DhcObjClass *k = &s->class[c];
    V fn = o->function[k->function], all = value(f, k->n_tasks), begin_with = k->first_tasks ? value(f, k->first_tasks) : all;
    V take = k->guard && kernel ? nonzero(f, value(f, k->guard)) : NULL;
    kernel = take ? LLVMBuildSelect(m, take, fn, kernel, "") : fn;
    n = take ? LLVMBuildSelect(m, take, all, n, "") : all;
    first = take ? LLVMBuildSelect(m, take, begin_with, first, "") : begin_with;
  }
  write_launches(f, kernel, n, phases ? first : NULL);
}

static bool is_bytes(uint32_t pattern) {
  return pattern == (pattern & 255) * 0x01010101u;
}

/* void fill(to, pattern, bytes): 4 at a time */
static LLVMTypeRef fill_type(Out *o) {
  LLVMTypeRef args[] = {o->ptr, o->i32, o->i64};
  return LLVMFunctionType(o->none, args, 3, false);
}

static void write_fill(Out *o) {
  LLVMBuilderRef m = o->w->b;
  V fn = o->fill = function(o, dhc_arena_printf(o->arena, "%s_fill", o->o->name), fill_type(o), false);
  LLVMBasicBlockRef entry = LLVMGetInsertBlock(m), loop = block(o, fn, ""), done = block(o, fn, "");
  V zero = number(o, 0), end = LLVMGetParam(fn, 2);
  LLVMBuildCondBr(m, LLVMBuildICmp(m, LLVMIntSGT, end, zero, ""), loop, done);
  LLVMPositionBuilderAtEnd(m, loop);
  V i = LLVMBuildPhi(m, o->i64, "");
  LLVMSetAlignment(LLVMBuildStore(m, LLVMGetParam(fn, 1), gep(o, LLVMGetParam(fn, 0), i)), 4);
  V next = LLVMBuildNSWAdd(m, i, number(o, 4), "");
  LLVMBuildCondBr(m, LLVMBuildICmp(m, LLVMIntSLT, next, end, ""), loop, done);
  LLVMAddIncoming(i, &zero, &entry, 1);
  LLVMAddIncoming(i, &next, &loop, 1);
  LLVMPositionBuilderAtEnd(m, done);
  LLVMBuildRetVoid(m);
}

static void write_move(Fn *f, const DhcObjStmt *s, int depth) {
  Out *o = f->out;
  V n = value(f, s->bytes);
  if (dhc_obj_is(s->bytes, 0)) return;
  if (s->kind == DHC_ITEM_COPY) {
    LLVMBuildMemCpy(o->w->b, address(f, &s->refs[1], depth), 1, address(f, &s->refs[0], depth), 1, n);
  } else if (is_bytes(s->pattern)) {
    LLVMBuildMemSet(o->w->b, address(f, &s->refs[0], depth), LLVMConstInt(o->i8, s->pattern & 255, false), n, 1);
  } else {
    V args[] = {address(f, &s->refs[0], depth), LLVMConstInt(o->i32, s->pattern, false), n};
    LLVMBuildCall2(o->w->b, fill_type(o), o->fill, args, 3, "");
  }
}

/* Everything the statement and, of a loop, its body need that no loop changes, before it. */
static void prepare(Fn *f, const DhcObjStmt *s, int n) {
  for (int i = 0; i < n; i++) {
    for (int r = 0; r < s[i].n_refs; r++) {
      value(f, s[i].refs[r].at);
      for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++)
        if (s[i].refs[r].step[d]) value(f, s[i].refs[r].step[d]);
    }
    for (int k = 0; k < s[i].n_dims; k++) value(f, s[i].dims[k]);
    for (int c = 0; c < s[i].n_classes; c++) {
      const DhcObjClass *k = &s[i].class[c];
      const DhcObjX *all[] = {k->guard, k->n_tasks, k->first_tasks};
      for (int x = 0; x < 3; x++)
        if (all[x]) value(f, all[x]);
    }
    if (s[i].bytes) value(f, s[i].bytes);
    if (s[i].count) value(f, s[i].count);
  }
}

/* ---- values ------------------------------------------------------------------------------------------------ */

static LLVMTypeRef int_of(Out *o, int32_t dtype) { return LLVMIntTypeInContext(o->w->cx, 8 * (unsigned)dhc_dtype_bytes((dhc_dtype)dtype)); }

static bool is_signed(int32_t t) { return t == DHC_I64 || t == DHC_I32 || t == DHC_I16 || t == DHC_I8; }

/* Index i of a loop over the counts from d on; the element's place adds up. */
static void check_from(Fn *f, const DhcObjIndexCheck *c, int d, V at) {
  Out *o = f->out;
  LLVMBuilderRef m = o->w->b;
  int32_t dtype = f->e->param[c->param].tensor->dtype;
  if (d == c->rank) {
    LLVMTypeRef t = int_of(o, dtype);
    V x = LLVMBuildLoad2(m, t, LLVMBuildGEP2(m, t, f->param[c->param], &at, 1, ""), "");
    x = is_signed(dtype) ? LLVMBuildSExt(m, x, o->i64, "") : LLVMBuildZExt(m, x, o->i64, "");
    V out = LLVMBuildICmp(m, LLVMIntUGE, x, value(f, c->extent), "");
    if (c->exempt) out = LLVMBuildAnd(m, out, LLVMBuildICmp(m, LLVMIntNE, x, number(o, c->exempted), ""), "");
    return_if(o, f->fn, out, status(o, OBJECT_INDEX));
    return;
  }
  LLVMBasicBlockRef before = LLVMGetInsertBlock(m), body = block(o, f->fn, "check"), done = block(o, f->fn, "done");
  V zero = number(o, 0), count = value(f, c->count[d]);
  LLVMBuildCondBr(m, LLVMBuildICmp(m, LLVMIntSGT, count, zero, ""), body, done);
  LLVMPositionBuilderAtEnd(m, body);
  V i = LLVMBuildPhi(m, o->i64, "");
  check_from(f, c, d + 1, LLVMBuildAdd(m, at, LLVMBuildMul(m, value(f, c->step[d]), i, ""), ""));
  V next = LLVMBuildNSWAdd(m, i, number(o, 1), "");
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(m);
  LLVMBuildCondBr(m, LLVMBuildICmp(m, LLVMIntSLT, next, count, ""), body, done);
  LLVMAddIncoming(i, &zero, &before, 1);
  LLVMAddIncoming(i, &next, &latch, 1);
  LLVMPositionBuilderAtEnd(m, done);
}

static void write_index_checks(Fn *f) {
  for (int i = 0; i < f->e->index_checks.n; i++) {
    const DhcObjIndexCheck *c = &f->e->index_checks.at[i];
    value(f, c->extent); /* before any loop */
    for (int d = 0; d < c->rank; d++) {
      value(f, c->step[d]);
      value(f, c->count[d]);
    }
    check_from(f, c, 0, value(f, c->at));
  }
}

static void write_required(Fn *f) {
  Out *o = f->out;
  LLVMBuilderRef m = o->w->b;
  for (int i = 0; i < f->e->required.n; i++) {
    V x = LLVMBuildLoad2(m, o->i8, address(f, &f->e->required.at[i], 0), "");
    return_if(o, f->fn, LLVMBuildIsNull(m, x, ""), status(o, OBJECT_REQUIRE));
  }
}

/* ---- loops ------------------------------------------------------------------------------------------------- */

static void write_range(Fn *f, int first, int end, int depth);

static void write_loop(Fn *f, const DhcObjStmt *s, int at, int depth) {
  Out *o = f->out;
  LLVMBuilderRef m = o->w->b;
  LLVMBasicBlockRef before = LLVMGetInsertBlock(m), body = block(o, f->fn, "loop"), done = block(o, f->fn, "done");
  V zero = number(o, 0), count = value(f, s->count);
  LLVMBuildCondBr(m, LLVMBuildICmp(m, LLVMIntSGT, count, zero, ""), body, done);
  LLVMPositionBuilderAtEnd(m, body);
  V i = f->index[depth] = LLVMBuildPhi(m, o->i64, "");
  write_range(f, at + 1, at + 1 + s->n_body, depth + 1);
  V next = LLVMBuildNSWAdd(m, i, number(o, 1), "");
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(m);
  LLVMBuildCondBr(m, LLVMBuildICmp(m, LLVMIntSLT, next, count, ""), body, done);
  LLVMAddIncoming(i, &zero, &before, 1);
  LLVMAddIncoming(i, &next, &latch, 1);
  LLVMPositionBuilderAtEnd(m, done);
}

static void write_range(Fn *f, int first, int end, int depth) {
  for (int i = first; i < end; i++) {
    const DhcObjStmt *s = &f->e->stmts.at[i];
    int body = s->kind == DHC_ITEM_LOOP ? s->n_body : 0;
    if (depth == 0) prepare(f, s, 1 + body);
    if (s->kind == DHC_ITEM_LOOP) write_loop(f, s, i, depth);
    else if (s->kind == DHC_ITEM_CALL) write_call(f, s, depth);
    else write_move(f, s, depth);
    i += body;
  }
}

/* ---- entries --------------------------------------------------------------------------------------------------- */

static V misaligned(Out *o, V p) {
  V bits = LLVMBuildAnd(o->w->b, LLVMBuildPtrToInt(o->w->b, p, o->i64, ""), number(o, 63), "");
  return LLVMBuildICmp(o->w->b, LLVMIntNE, bits, number(o, 0), "");
}

/* What a caller may get wrong, in the order in which statuses are numbered, but sizes before their use. */
static void write_checks(Fn *f, V check, LLVMTypeRef check_type, V bytes) {
  Out *o = f->out;
  LLVMBuilderRef m = o->w->b;
  V never = LLVMConstInt(LLVMInt1TypeInContext(o->w->cx), 0, false);
  bool works = !dhc_object_needs_no_workspace(f->e);
  V is_null = works ? LLVMBuildIsNull(m, f->work, "") : never, off = works ? misaligned(o, f->work) : never;
  for (int i = 0; i < f->e->n_params; i++) is_null = LLVMBuildOr(m, is_null, LLVMBuildIsNull(m, f->param[i], ""), "");
  if (f->state) {
    is_null = LLVMBuildOr(m, is_null, LLVMBuildIsNull(m, f->state, ""), "");
    off = LLVMBuildOr(m, off, misaligned(o, f->state), "");
  }
  if (f->weights && !o->blob) {
    is_null = LLVMBuildOr(m, is_null, LLVMBuildIsNull(m, f->weights, ""), "");
    off = LLVMBuildOr(m, off, misaligned(o, f->weights), "");
  }
  return_if(o, f->fn, is_null, status(o, OBJECT_NULL));
  return_if(o, f->fn, off, status(o, OBJECT_ALIGN));
  if (f->weights && !o->blob) {
    V id = LLVMBuildLoad2(m, o->i64, element(o, o->i64, f->weights, 1), "");
    return_if(o, f->fn, LLVMBuildICmp(m, LLVMIntNE, id, number(o, (int64_t)o->o->blob_id), ""), status(o, OBJECT_WEIGHTS));
  }
  V got = call_check(o, f->e, check, check_type, f->symbol);
  return_if(o, f->fn, LLVMBuildICmp(m, LLVMIntNE, got, status(o, 0), ""), status(o, OBJECT_DIMS));
  LLVMBasicBlockRef none = LLVMGetInsertBlock(m), with = block(o, f->fn, ""), on = block(o, f->fn, "");
  LLVMBuildCondBr(m, LLVMBuildIsNull(m, f->exec, ""), on, with);
  LLVMPositionBuilderAtEnd(m, with);
  V count = LLVMBuildLoad2(m, o->i32, LLVMBuildStructGEP2(m, exec_type(o), f->exec, 1, ""), "");
  LLVMBuildBr(m, on);
  LLVMPositionBuilderAtEnd(m, on);
  V workers = LLVMBuildPhi(m, o->i32, ""), one = LLVMConstInt(o->i32, 1, false);
  LLVMAddIncoming(workers, &one, &none, 1);
  LLVMAddIncoming(workers, &count, &with, 1);
  V need = workspace(f, LLVMBuildSExt(m, workers, o->i64, ""));
  return_if(o, f->fn, LLVMBuildICmp(m, LLVMIntSLT, bytes, need, ""), status(o, OBJECT_WORKSPACE));
}

static void write_body(Out *o, const DhcObjEntry *e, V check, LLVMTypeRef check_type) {
  LLVMBuilderRef m = o->w->b;
  bool passes_weights = e->reads_weights && !o->blob;
  int n = passes_weights + (e->state_bytes != NULL) + e->n_params, first = n, k = 0;
  LLVMTypeRef *types = DHC_NEW_N(o->arena, LLVMTypeRef, n + e->n_symbols + 4);
  for (int i = 0; i < n; i++) types[i] = o->ptr;
  for (int i = free_symbols(e); i > 0; i--) types[n++] = o->i64;
  types[n++] = o->ptr;
  types[n++] = o->i64;
  types[n++] = o->ptr;
  V fn = function(o, e->c_name, LLVMFunctionType(o->i32, types, (unsigned)n, false), true);
  Fn f = begin(o, e, fn, first);
  f.weights = passes_weights ? LLVMGetParam(fn, (unsigned)k++) : o->blob;
  f.state = e->state_bytes ? LLVMGetParam(fn, (unsigned)k++) : NULL;
  f.param = DHC_NEW_N(o->arena, V, e->n_params + 1);
  for (int i = 0; i < e->n_params; i++) f.param[i] = LLVMGetParam(fn, (unsigned)k++);
  f.work = LLVMGetParam(fn, (unsigned)n - 3);
  f.exec = LLVMGetParam(fn, (unsigned)n - 1);
  f.ptrs = LLVMBuildArrayAlloca(m, o->ptr, number(o, e->most_refs + 1), "");
  f.dims = LLVMBuildArrayAlloca(m, o->i64, number(o, e->most_dims + 1), "");
  write_checks(&f, check, check_type, LLVMGetParam(fn, (unsigned)n - 2));
  write_index_checks(&f);
  f.shared = gep(o, f.work, value(&f, e->work_bytes));
  f.per_worker = value(&f, e->scratch_bytes);
  f.scratch = gep(o, f.shared, value(&f, e->shared_bytes));
  write_range(&f, 0, e->stmts.n, 0);
  write_required(&f);
  LLVMBuildRet(m, status(o, 0));
}

static void write_describe(Out *o) {
  V fn = function(o, dhc_arena_printf(o->arena, "%s_describe", o->o->name), LLVMFunctionType(o->ptr, NULL, 0, false), true);
  (void)fn;
  LLVMBuildRet(o->w->b, text(o, "describe", o->o->describe));
}

static void write_blob(Out *o) {
  if (!o->o->blob) return;
  V init = LLVMConstStringInContext2(o->w->cx, (const char *)o->o->blob, (size_t)o->o->blob_bytes, true);
  o->blob = LLVMAddGlobal(o->w->module, LLVMTypeOf(init), dhc_arena_printf(o->arena, "%s_weights", o->o->name));
  LLVMSetInitializer(o->blob, init);
  LLVMSetGlobalConstant(o->blob, true);
  LLVMSetLinkage(o->blob, LLVMInternalLinkage);
  LLVMSetAlignment(o->blob, 64);
}

void dhc_object_write_llvm(DhcCpuW *w, void *object) {
  const DhcObjLlvm *in = object;
  const DhcObject *obj = in->object;
  Out o = {.w = w, .o = obj, .arena = in->arena};
  o.i8 = LLVMInt8TypeInContext(w->cx);
  o.i32 = LLVMInt32TypeInContext(w->cx);
  o.i64 = LLVMInt64TypeInContext(w->cx);
  o.ptr = LLVMPointerTypeInContext(w->cx, 0);
  o.none = LLVMVoidTypeInContext(w->cx);
  write_blob(&o);
  o.function = DHC_NEW_N(o.arena, V, obj->functions.n + 1);
  for (int i = 0; i < obj->functions.n && !w->refused; i++) {
    const DhcObjFunction *k = &obj->functions.at[i];
    dhc_cpu_write(w, k->program, k->name);
    o.function[i] = LLVMGetNamedFunction(w->module, k->name);
    LLVMSetLinkage(o.function[i], LLVMInternalLinkage);
  }
  if (w->refused) return;
  write_launch(&o);
  write_fill(&o);
  write_describe(&o);
  for (int i = 0; i < obj->n_entries; i++) {
    LLVMTypeRef type;
    V check = write_check(&o, obj->entry[i], &type);
    write_why(&o, obj->entry[i], check, type);
    write_workspace_bytes(&o, obj->entry[i], check, type);
    if (obj->entry[i]->state_bytes) write_state_bytes(&o, obj->entry[i], check, type);
    write_body(&o, obj->entry[i], check, type);
  }
}
