/* Kernels launched over their tasks, statements, and entries as a whole. */
#include "backends/object/llvm_internal.h"

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
  V fn = obj_function(o, dhc_arena_printf(o->arena, "%s_tasks", o->o->name), LLVMFunctionType(o->none, args, 4, false), false);
  V job = LLVMGetParam(fn, 0), first = job_field(o, job, JOB_FIRST, true);
  V skip = LLVMBuildMul(m, LLVMBuildSExt(m, LLVMGetParam(fn, 3), o->i64, ""), job_field(o, job, JOB_EACH, true), "");
  V call[] = {job_field(o, job, JOB_PTRS, false), job_field(o, job, JOB_DIMS, false),
              LLVMBuildAdd(m, first, LLVMGetParam(fn, 1), ""), LLVMBuildAdd(m, first, LLVMGetParam(fn, 2), ""),
              obj_gep(o, job_field(o, job, JOB_SCRATCH, false), skip)};
  LLVMBuildCall2(m, kernel_type(o), job_field(o, job, JOB_FN, false), call, 5, "");
  LLVMBuildRetVoid(m);
  return fn;
}

/* void launch(exec, kernel, operands, sizes, first, end, scratch, each): tasks [first, end) */
static LLVMTypeRef launch_type(Out *o) {
  LLVMTypeRef args[] = {o->ptr, o->ptr, o->ptr, o->ptr, o->i64, o->i64, o->ptr, o->i64};
  return LLVMFunctionType(o->none, args, 8, false);
}

void obj_write_launch(Out *o) {
  LLVMBuilderRef m = o->w->b;
  V tasks = write_tasks(o);
  V fn = o->launch = obj_function(o, dhc_arena_printf(o->arena, "%s_launch", o->o->name), launch_type(o), false);
  V p[8];
  for (unsigned i = 0; i < 8; i++) p[i] = LLVMGetParam(fn, i);
  V n = LLVMBuildSub(m, p[5], p[4], ""), job = LLVMBuildAlloca(m, job_type(o), "");
  LLVMBasicBlockRef some = obj_block(o, fn, ""), alone = obj_block(o, fn, ""), many = obj_block(o, fn, ""), done = obj_block(o, fn, "");
  LLVMBuildCondBr(m, LLVMBuildICmp(m, LLVMIntSGT, n, obj_number(o, 0), ""), some, done);
  LLVMPositionBuilderAtEnd(m, some);
  V serial = LLVMBuildOr(m, LLVMBuildIsNull(m, p[0], ""), LLVMBuildICmp(m, LLVMIntEQ, n, obj_number(o, 1), ""), "");
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

/* ---- statements -------------------------------------------------------------------------------------------- */

static V address(Fn *f, const DhcObjRef *r, int depth) {
  Out *o = f->out;
  const V own[] = {[DHC_OBJ_WEIGHTS] = f->weights, [DHC_OBJ_STATE] = f->state, [DHC_OBJ_WORK] = f->work, [DHC_OBJ_SCALARS] = f->scalars};
  V base = r->base == DHC_OBJ_PARAM ? f->param[r->param] : own[r->base];
  V at = obj_value(f, r->at);
  for (int d = 0; d < depth; d++)
    if (r->step[d]) at = LLVMBuildAdd(o->w->b, at, LLVMBuildMul(o->w->b, obj_value(f, r->step[d]), f->index[d], ""), "");
  return LLVMIsConstant(at) && LLVMConstIntGetZExtValue(at) == 0 ? base : obj_gep(o, base, at);
}

static void write_launches(Fn *f, V kernel, V n, V first) {
  Out *o = f->out;
  V args[] = {f->exec, kernel, f->ptrs, f->dims, obj_number(o, 0), first ? first : n, f->scratch, f->per_worker};
  LLVMBuildCall2(o->w->b, launch_type(o), o->launch, args, 8, "");
  if (!first) return;
  args[4] = first;
  args[5] = n;
  LLVMBuildCall2(o->w->b, launch_type(o), o->launch, args, 8, "");
}

static void write_call(Fn *f, const DhcObjStmt *s, int depth) {
  Out *o = f->out;
  LLVMBuilderRef m = o->w->b;
  for (int i = 0; i < s->n_refs; i++) LLVMBuildStore(m, address(f, &s->refs[i], depth), obj_element(o, o->ptr, f->ptrs, i));
  LLVMBuildStore(m, f->shared, obj_element(o, o->ptr, f->ptrs, s->n_refs));
  for (int i = 0; i < s->n_dims; i++) LLVMBuildStore(m, obj_value(f, s->dims[i]), obj_element(o, o->i64, f->dims, i));
  /* the class that is taken, from the last one back; first tasks of one without phases: all of them */
  V kernel = NULL, n = NULL, first = NULL;
  bool phases = false;
  for (int c = 0; c < s->n_classes; c++) phases = phases || s->class[c].first_tasks;
  for (int c = s->n_classes - 1; c >= 0; c--) {
    const DhcObjClass *k = &s->class[c];
    V fn = o->function[k->function], all = obj_value(f, k->n_tasks), begin_with = k->first_tasks ? obj_value(f, k->first_tasks) : all;
    V take = k->guard && kernel ? obj_nonzero(f, obj_value(f, k->guard)) : NULL;
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

void obj_write_fill(Out *o) {
  LLVMBuilderRef m = o->w->b;
  V fn = o->fill = obj_function(o, dhc_arena_printf(o->arena, "%s_fill", o->o->name), fill_type(o), false);
  ObjLoop l = obj_loop(o, fn, LLVMGetParam(fn, 2), 4);
  LLVMSetAlignment(LLVMBuildStore(m, LLVMGetParam(fn, 1), obj_gep(o, LLVMGetParam(fn, 0), l.index)), 4);
  obj_loop_end(o, &l);
  LLVMBuildRetVoid(m);
}

static void write_move(Fn *f, const DhcObjStmt *s, int depth) {
  Out *o = f->out;
  V n = obj_value(f, s->bytes);
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
      obj_value(f, s[i].refs[r].at);
      for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++)
        if (s[i].refs[r].step[d]) obj_value(f, s[i].refs[r].step[d]);
    }
    for (int k = 0; k < s[i].n_dims; k++) obj_value(f, s[i].dims[k]);
    for (int c = 0; c < s[i].n_classes; c++) {
      const DhcObjClass *k = &s[i].class[c];
      const DhcObjX *all[] = {k->guard, k->n_tasks, k->first_tasks};
      for (int x = 0; x < 3; x++)
        if (all[x]) obj_value(f, all[x]);
    }
    if (s[i].bytes) obj_value(f, s[i].bytes);
    if (s[i].count) obj_value(f, s[i].count);
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
    V out = LLVMBuildICmp(m, LLVMIntUGE, x, obj_value(f, c->extent), "");
    if (c->exempt) out = LLVMBuildAnd(m, out, LLVMBuildICmp(m, LLVMIntNE, x, obj_number(o, c->exempted), ""), "");
    obj_return_if(o, f->fn, out, obj_status(o, OBJECT_INDEX));
    return;
  }
  ObjLoop l = obj_loop(o, f->fn, obj_value(f, c->count[d]), 1);
  check_from(f, c, d + 1, LLVMBuildAdd(m, at, LLVMBuildMul(m, obj_value(f, c->step[d]), l.index, ""), ""));
  obj_loop_end(o, &l);
}

static void write_index_checks(Fn *f) {
  for (int i = 0; i < f->e->index_checks.n; i++) {
    const DhcObjIndexCheck *c = &f->e->index_checks.at[i];
    obj_value(f, c->extent); /* before any loop */
    for (int d = 0; d < c->rank; d++) {
      obj_value(f, c->step[d]);
      obj_value(f, c->count[d]);
    }
    check_from(f, c, 0, obj_value(f, c->at));
  }
}

static void write_required(Fn *f) {
  Out *o = f->out;
  LLVMBuilderRef m = o->w->b;
  for (int i = 0; i < f->e->required.n; i++) {
    V x = LLVMBuildLoad2(m, o->i8, address(f, &f->e->required.at[i], 0), "");
    obj_return_if(o, f->fn, LLVMBuildIsNull(m, x, ""), obj_status(o, OBJECT_REQUIRE));
  }
}

/* ---- loops ------------------------------------------------------------------------------------------------- */

static void write_range(Fn *f, int first, int end, int depth);

static void write_loop(Fn *f, const DhcObjStmt *s, int at, int depth) {
  ObjLoop l = obj_loop(f->out, f->fn, obj_value(f, s->count), 1);
  f->index[depth] = l.index;
  write_range(f, at + 1, at + 1 + s->n_body, depth + 1);
  obj_loop_end(f->out, &l);
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

/* What a caller may get wrong, in the order in which statuses are numbered, but sizes before their use. */
static void write_checks(Fn *f, V check, LLVMTypeRef check_type, V bytes) {
  Out *o = f->out;
  LLVMBuilderRef m = o->w->b;
  V never = LLVMConstInt(LLVMInt1TypeInContext(o->w->cx), 0, false);
  bool works = !dhc_object_needs_no_workspace(f->e);
  V is_null = works ? LLVMBuildIsNull(m, f->work, "") : never, off = works ? obj_misaligned(o, f->work) : never;
  for (int i = 0; i < f->e->n_params; i++) is_null = LLVMBuildOr(m, is_null, LLVMBuildIsNull(m, f->param[i], ""), "");
  if (f->state) {
    is_null = LLVMBuildOr(m, is_null, LLVMBuildIsNull(m, f->state, ""), "");
    off = LLVMBuildOr(m, off, obj_misaligned(o, f->state), "");
  }
  if (f->scalars) is_null = LLVMBuildOr(m, is_null, LLVMBuildIsNull(m, f->scalars, ""), "");
  if (f->weights && !o->blob) {
    is_null = LLVMBuildOr(m, is_null, LLVMBuildIsNull(m, f->weights, ""), "");
    off = LLVMBuildOr(m, off, obj_misaligned(o, f->weights), "");
  }
  obj_return_if(o, f->fn, is_null, obj_status(o, OBJECT_NULL));
  obj_return_if(o, f->fn, off, obj_status(o, OBJECT_ALIGN));
  if (f->weights && !o->blob) {
    V id = LLVMBuildLoad2(m, o->i64, obj_element(o, o->i64, f->weights, 1), "");
    obj_return_if(o, f->fn, LLVMBuildICmp(m, LLVMIntNE, id, obj_number(o, (int64_t)o->o->blob_id), ""), obj_status(o, OBJECT_WEIGHTS));
  }
  V got = obj_call_check(o, f->e, check, check_type, f->symbol);
  obj_return_if(o, f->fn, LLVMBuildICmp(m, LLVMIntNE, got, obj_status(o, 0), ""), obj_status(o, OBJECT_DIMS));
  LLVMBasicBlockRef none = LLVMGetInsertBlock(m), with = obj_block(o, f->fn, ""), on = obj_block(o, f->fn, "");
  LLVMBuildCondBr(m, LLVMBuildIsNull(m, f->exec, ""), on, with);
  LLVMPositionBuilderAtEnd(m, with);
  V runs = LLVMBuildLoad2(m, o->ptr, LLVMBuildStructGEP2(m, exec_type(o), f->exec, 2, ""), "");
  obj_return_if(o, f->fn, LLVMBuildIsNull(m, runs, ""), obj_status(o, OBJECT_NULL));
  with = LLVMGetInsertBlock(m);
  V count = LLVMBuildLoad2(m, o->i32, LLVMBuildStructGEP2(m, exec_type(o), f->exec, 1, ""), "");
  LLVMBuildBr(m, on);
  LLVMPositionBuilderAtEnd(m, on);
  V workers = LLVMBuildPhi(m, o->i32, ""), one = LLVMConstInt(o->i32, 1, false);
  LLVMAddIncoming(workers, &one, &none, 1);
  LLVMAddIncoming(workers, &count, &with, 1);
  V need = obj_workspace(f, LLVMBuildSExt(m, workers, o->i64, ""));
  obj_return_if(o, f->fn, LLVMBuildICmp(m, LLVMIntSLT, bytes, need, ""), obj_status(o, OBJECT_WORKSPACE));
}

void obj_write_entry(Out *o, const DhcObjEntry *e, V check, LLVMTypeRef check_type) {
  LLVMBuilderRef m = o->w->b;
  bool passes_weights = e->reads_weights && !o->blob;
  int n = passes_weights + (e->state_bytes != NULL) + e->n_params + (e->train != NULL), first = n, k = 0;
  LLVMTypeRef *types = DHC_NEW_N(o->arena, LLVMTypeRef, n + e->n_symbols + 4);
  for (int i = 0; i < n; i++) types[i] = o->ptr;
  for (int i = obj_free_symbols(e); i > 0; i--) types[n++] = o->i64;
  types[n++] = o->ptr;
  types[n++] = o->i64;
  types[n++] = o->ptr;
  V fn = obj_function(o, e->c_name, LLVMFunctionType(o->i32, types, (unsigned)n, false), !o->o->levels);
  Fn f = obj_begin(o, e, fn, first);
  f.weights = passes_weights ? LLVMGetParam(fn, (unsigned)k++) : o->blob;
  f.state = e->state_bytes ? LLVMGetParam(fn, (unsigned)k++) : NULL;
  f.param = DHC_NEW_N(o->arena, V, e->n_params + 1);
  for (int i = 0; i < e->n_params; i++) f.param[i] = LLVMGetParam(fn, (unsigned)k++);
  f.scalars = e->train ? LLVMGetParam(fn, (unsigned)k++) : NULL;
  f.work = LLVMGetParam(fn, (unsigned)n - 3);
  f.exec = LLVMGetParam(fn, (unsigned)n - 1);
  f.ptrs = LLVMBuildArrayAlloca(m, o->ptr, obj_number(o, e->most_refs + 1), "");
  f.dims = LLVMBuildArrayAlloca(m, o->i64, obj_number(o, e->most_dims + 1), "");
  write_checks(&f, check, check_type, LLVMGetParam(fn, (unsigned)n - 2));
  write_index_checks(&f);
  f.shared = obj_gep(o, f.work, obj_value(&f, e->work_bytes));
  f.per_worker = obj_value(&f, e->scratch_bytes);
  f.scratch = obj_gep(o, f.shared, obj_value(&f, e->shared_bytes));
  write_range(&f, 0, e->stmts.n, 0);
  write_required(&f);
  LLVMBuildRet(m, obj_status(o, 0));
}

