/* What an entry says about sizes before it runs. */
#include "backends/object/llvm_internal.h"

/* internal i32 check(sizes): 0, or the number of a message from 1. */
V obj_write_check(Out *o, const DhcObjEntry *e, LLVMTypeRef *type) {
  LLVMBuilderRef m = o->w->b;
  LLVMTypeRef args[64];
  int n = obj_free_symbols(e);
  for (int i = 0; i < n; i++) args[i] = o->i64;
  *type = LLVMFunctionType(o->i32, args, (unsigned)n, false);
  V fn = obj_function(o, dhc_arena_printf(o->arena, "%s_check", e->c_name), *type, false);
  Fn f = obj_begin(o, e, fn, 0);
  f.checks = true;
  for (int i = 0; i < e->n_symbols; i++) {
    if (e->bound[i]) continue;
    V below = LLVMBuildSub(m, f.symbol[i], obj_number(o, 1), "");
    V out = LLVMBuildICmp(m, LLVMIntUGE, below, obj_number(o, DHC_OBJ_MAX_DIM), "");
    obj_return_if(o, fn, out, LLVMConstInt(o->i32, (unsigned)i + 2, false));
  }
  for (int i = 0; i < e->x.n; i++)
    if (obj_watched(o, e->x.at[i])) obj_value(&f, e->x.at[i]);
  if (f.bad) obj_return_if(o, fn, f.bad, LLVMConstInt(o->i32, 1, false));
  for (int i = 0; i < e->guards.n; i++) {
    V holds = obj_nonzero(&f, obj_value(&f, e->guards.at[i].cond));
    obj_return_if(o, fn, LLVMBuildNot(m, holds, ""), LLVMConstInt(o->i32, (unsigned)(2 + e->n_symbols + i), false));
  }
  LLVMBuildRet(m, LLVMConstInt(o->i32, 0, false));
  return fn;
}

V obj_call_check(Out *o, const DhcObjEntry *e, V check, LLVMTypeRef type, V *symbol) {
  V args[64];
  int n = 0;
  for (int i = 0; i < e->n_symbols; i++)
    if (!e->bound[i]) args[n++] = symbol[i];
  return LLVMBuildCall2(o->w->b, type, check, args, (unsigned)n, "");
}

static void write_why(Out *o, const DhcObjEntry *e, V check, LLVMTypeRef type) {
  LLVMBuilderRef m = o->w->b;
  LLVMTypeRef args[64];
  int n = obj_free_symbols(e), k = 0;
  for (int i = 0; i < n; i++) args[i] = o->i64;
  V fn = obj_function(o, dhc_arena_printf(o->arena, "%s_why", e->c_name), LLVMFunctionType(o->ptr, args, (unsigned)n, false), !o->o->levels);
  Fn f = obj_begin(o, e, fn, 0);
  V got = obj_call_check(o, e, check, type, f.symbol), says = LLVMConstNull(o->ptr);
  const char **message = DHC_NEW_N(o->arena, const char *, 1 + e->n_symbols + e->guards.n);
  message[k++] = "at these sizes a number of bytes does not fit in 63 bits";
  for (int i = 0; i < e->n_symbols; i++)
    message[k++] = dhc_arena_printf(o->arena, "'%s' must be from 1 to %d", e->image->plan.symbols[i], DHC_OBJ_MAX_DIM);
  for (int i = 0; i < e->guards.n; i++) message[k++] = e->guards.at[i].message;
  for (int i = 0; i < k; i++) {
    if (i >= 1 && i <= e->n_symbols && e->bound[i - 1]) continue;
    V is = LLVMBuildICmp(m, LLVMIntEQ, got, LLVMConstInt(o->i32, (unsigned)i + 1, false), "");
    says = LLVMBuildSelect(m, is, obj_bytes(o, "why", message[i], strlen(message[i]) + 1, 1), says, "");
  }
  LLVMBuildRet(m, says);
}

/* work + shared + workers * scratch */
V obj_workspace(Fn *f, V workers) {
  Out *o = f->out;
  V scratch = LLVMBuildMul(o->w->b, obj_value(f, f->e->scratch_bytes), workers, "");
  V fixed = LLVMBuildAdd(o->w->b, obj_value(f, f->e->work_bytes), obj_value(f, f->e->shared_bytes), "");
  return LLVMBuildAdd(o->w->b, fixed, scratch, "");
}

static void write_workspace_bytes(Out *o, const DhcObjEntry *e, V check, LLVMTypeRef type) {
  LLVMBuilderRef m = o->w->b;
  LLVMTypeRef args[64];
  int n = obj_free_symbols(e);
  for (int i = 0; i < n; i++) args[i] = o->i64;
  args[n] = o->i32;
  V fn = obj_function(o, dhc_arena_printf(o->arena, "%s_workspace_bytes", e->c_name),
                  LLVMFunctionType(o->i64, args, (unsigned)n + 1, false), !o->o->levels);
  Fn f = obj_begin(o, e, fn, 0);
  V workers = LLVMGetParam(fn, (unsigned)n), zero = LLVMConstInt(o->i32, 0, false);
  V got = obj_call_check(o, e, check, type, f.symbol);
  obj_return_if(o, fn, LLVMBuildICmp(m, LLVMIntNE, got, zero, ""), obj_number(o, -1));
  V one = LLVMConstInt(o->i32, 1, false);
  workers = LLVMBuildSelect(m, LLVMBuildICmp(m, LLVMIntSLT, workers, one, ""), one, workers, "");
  LLVMBuildRet(m, obj_workspace(&f, LLVMBuildZExt(m, workers, o->i64, "")));
}

static void write_state_bytes(Out *o, const DhcObjEntry *e, V check, LLVMTypeRef type) {
  LLVMBuilderRef m = o->w->b;
  LLVMTypeRef args[64];
  int n = obj_free_symbols(e);
  for (int i = 0; i < n; i++) args[i] = o->i64;
  V fn = obj_function(o, dhc_arena_printf(o->arena, "%s_state_bytes", e->c_name), LLVMFunctionType(o->i64, args, (unsigned)n, false), !o->o->levels);
  Fn f = obj_begin(o, e, fn, 0);
  V got = obj_call_check(o, e, check, type, f.symbol);
  obj_return_if(o, fn, LLVMBuildICmp(m, LLVMIntNE, got, LLVMConstInt(o->i32, 0, false), ""), obj_number(o, -1));
  LLVMBuildRet(m, obj_value(&f, e->state_bytes));
}

void obj_write_sizes(Out *o, const DhcObjEntry *e, V check, LLVMTypeRef type) {
  write_why(o, e, check, type);
  write_workspace_bytes(o, e, check, type);
  if (e->state_bytes) write_state_bytes(o, e, check, type);
}
