/* Loop programs as LLVM IR that needs no IR passes: variables become phis here, loops are
 * rotated, vectors are explicit, and each dim and operand is loaded once at entry. */
#include "backends/cpu/writer.h"

#include <string.h>

typedef struct Block {
  const DhcLpInst *open; /* TASKS, FOR or IF */
  LLVMBasicBlockRef before, body, els, exit;
  LLVMValueRef hi, index; /* loops */
  int rounds;             /* loops: 1, 2: at least so many; 0: any number */
  int n_vars;
  int *vars;             /* numbers of the variables set inside and declared outside */
  LLVMValueRef *entry;   /* their values before */
  LLVMValueRef *then_value;
  LLVMBasicBlockRef then_end;
  LLVMValueRef *phi; /* loops */
} Block;

typedef struct Writer {
  DhcCpuW *w;
  const DhcLp *p;
  LLVMValueRef fn;
  LLVMValueRef task0, task1, scratch;
  LLVMValueRef *operand, *dim;
  LLVMValueRef *value; /* by statement */
  LLVMValueRef *var;   /* current value by variable */
  int *match;          /* opener -> its END or ELSE; ELSE -> END */
  LLVMBasicBlockRef entry;
  DHC_VEC(Block *) open;
} Writer;

/* ---- types and small helpers -------------------------------------------------------- */

static LLVMTypeRef int_type(DhcCpuW *w, int bits) {
  return LLVMIntTypeInContext(w->cx, (unsigned)bits);
}

LLVMTypeRef dhc_cpu_vector(LLVMTypeRef elem, int lanes) {
  return lanes == 1 ? elem : LLVMVectorType(elem, (unsigned)lanes);
}

static LLVMTypeRef elem_type(DhcCpuW *w, dhc_dtype t) {
  switch (t) {
  case DHC_F64: return LLVMDoubleTypeInContext(w->cx);
  case DHC_F32:
  case DHC_BF16: return LLVMFloatTypeInContext(w->cx);
  case DHC_BOOL: return int_type(w, 1);
  default: return int_type(w, 8 * dhc_dtype_bytes(t));
  }
}

/* bool is a byte and bf16 an i16 in memory */
static LLVMTypeRef memory_type(DhcCpuW *w, dhc_dtype t) {
  if (t == DHC_BOOL || t == DHC_BF16) return int_type(w, 8 * dhc_dtype_bytes(t));
  return elem_type(w, t);
}

LLVMTypeRef dhc_cpu_type(DhcCpuW *w, DhcLpType t) {
  if (t.ptr) return LLVMPointerTypeInContext(w->cx, 0);
  return dhc_cpu_vector(elem_type(w, t.dtype), t.lanes);
}

static int lanes_of(LLVMTypeRef t) {
  return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? (int)LLVMGetVectorSize(t) : 1;
}
static LLVMTypeRef scalar_of(LLVMTypeRef t) {
  return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMGetElementType(t) : t;
}

static LLVMValueRef fill_lanes(LLVMTypeRef t, LLVMValueRef scalar) {
  LLVMValueRef lane[64];
  int n = lanes_of(t);
  if (n == 1) return scalar;
  for (int l = 0; l < n; l++) lane[l] = scalar;
  return LLVMConstVector(lane, (unsigned)n);
}
LLVMValueRef dhc_cpu_float(LLVMTypeRef t, double v) {
  return fill_lanes(t, LLVMConstReal(scalar_of(t), v));
}
LLVMValueRef dhc_cpu_int(LLVMTypeRef t, int64_t v) {
  return fill_lanes(t, LLVMConstInt(scalar_of(t), (unsigned long long)v, true));
}

LLVMValueRef dhc_cpu_intrinsic(DhcCpuW *w, const char *name, LLVMTypeRef *types, int n_types,
                               LLVMValueRef *args, int n_args) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  if (!id) DHC_BUG("no intrinsic %s", name);
  LLVMValueRef f = LLVMGetIntrinsicDeclaration(w->module, id, types, (size_t)n_types);
  LLVMTypeRef t = LLVMIntrinsicGetType(w->cx, id, types, (size_t)n_types);
  return LLVMBuildCall2(w->b, t, f, args, (unsigned)n_args, "");
}

LLVMValueRef dhc_cpu_splat(DhcCpuW *w, LLVMValueRef x, int lanes) {
  LLVMTypeRef t = dhc_cpu_vector(LLVMTypeOf(x), lanes);
  if (lanes == 1) return x;
  if (LLVMIsConstant(x)) return fill_lanes(t, x);
  LLVMTypeRef i32 = int_type(w, 32);
  LLVMValueRef one = LLVMBuildInsertElement(w->b, LLVMGetPoison(t), x, LLVMConstInt(i32, 0, false), "");
  return LLVMBuildShuffleVector(w->b, one, LLVMGetPoison(t),
                                LLVMConstNull(dhc_cpu_vector(i32, lanes)), "");
}

/* ---- memory --------------------------------------------------------------------------- */

/* element address; index may be a vector of indices */
static LLVMValueRef address(Writer *x, const DhcLpInst *n) {
  DhcCpuW *w = x->w;
  dhc_dtype t = n->a[0]->type.dtype;
  return LLVMBuildGEP2(w->b, memory_type(w, t), x->value[n->a[0]->id], &x->value[n->a[1]->id], 1, "");
}

/* register form of what lies in memory as dtype t */
static LLVMValueRef widen(DhcCpuW *w, LLVMValueRef v, dhc_dtype t, int lanes) {
  if (t == DHC_BF16) return dhc_cpu_from_bf16(w, v, lanes);
  if (t == DHC_BOOL)
    return LLVMBuildICmp(w->b, LLVMIntNE, v, LLVMConstNull(LLVMTypeOf(v)), "");
  return v;
}
static LLVMValueRef narrow(DhcCpuW *w, LLVMValueRef v, dhc_dtype t, int lanes) {
  if (t == DHC_BF16) return dhc_cpu_to_bf16(w, v, lanes);
  if (t == DHC_BOOL)
    return LLVMBuildZExt(w->b, v, dhc_cpu_vector(memory_type(w, t), lanes), "");
  return v;
}

static LLVMValueRef align_const(DhcCpuW *w, int align) {
  return LLVMConstInt(int_type(w, 32), (unsigned long long)align, false);
}
static LLVMValueRef mask_of(Writer *x, DhcLv m, int lanes) {
  return m ? x->value[m->id] : dhc_cpu_int(dhc_cpu_vector(int_type(x->w, 1), lanes), -1);
}

static LLVMValueRef write_load(Writer *x, const DhcLpInst *n) {
  DhcCpuW *w = x->w;
  dhc_dtype t = n->a[0]->type.dtype;
  LLVMTypeRef mem = dhc_cpu_vector(memory_type(w, t), n->type.lanes);
  LLVMValueRef at = address(x, n), v;
  if (n->kind == DHC_LP_GATHER || n->a[2]) {
    LLVMValueRef args[] = {at, align_const(w, n->align), mask_of(x, n->a[2], n->type.lanes),
                           LLVMConstNull(mem)};
    LLVMTypeRef types[] = {mem, LLVMTypeOf(at)};
    v = dhc_cpu_intrinsic(w, n->kind == DHC_LP_GATHER ? "llvm.masked.gather" : "llvm.masked.load",
                          types, 2, args, 4);
  } else {
    v = LLVMBuildLoad2(w->b, mem, at, "");
    LLVMSetAlignment(v, (unsigned)n->align);
  }
  return widen(w, v, t, n->type.lanes);
}

static void write_store(Writer *x, const DhcLpInst *n) {
  DhcCpuW *w = x->w;
  dhc_dtype t = n->a[0]->type.dtype;
  int lanes = n->a[2]->type.lanes;
  LLVMValueRef at = address(x, n), v = narrow(w, x->value[n->a[2]->id], t, lanes);
  if (n->kind == DHC_LP_SCATTER || n->a[3]) {
    LLVMValueRef args[] = {v, at, align_const(w, n->align), mask_of(x, n->a[3], lanes)};
    LLVMTypeRef types[] = {LLVMTypeOf(v), LLVMTypeOf(at)};
    dhc_cpu_intrinsic(w, n->kind == DHC_LP_SCATTER ? "llvm.masked.scatter" : "llvm.masked.store",
                      types, 2, args, 4);
  } else {
    LLVMSetAlignment(LLVMBuildStore(w->b, v, at), (unsigned)n->align);
  }
}

static void write_prefetch(Writer *x, const DhcLpInst *n) {
  LLVMTypeRef i32 = int_type(x->w, 32);
  LLVMValueRef at = address(x, n);
  LLVMValueRef args[] = {at, LLVMConstInt(i32, 0, false), LLVMConstInt(i32, 3, false),
                         LLVMConstInt(i32, 1, false)};
  LLVMTypeRef types[] = {LLVMTypeOf(at)};
  dhc_cpu_intrinsic(x->w, "llvm.prefetch", types, 1, args, 4);
}

static LLVMValueRef write_local(Writer *x, const DhcLpInst *n) {
  DhcCpuW *w = x->w;
  LLVMBasicBlockRef here = LLVMGetInsertBlock(w->b);
  LLVMPositionBuilder(w->b, x->entry, LLVMGetFirstInstruction(x->entry));
  LLVMTypeRef t = LLVMArrayType2(memory_type(w, n->type.dtype), (uint64_t)n->i);
  LLVMValueRef v = LLVMBuildAlloca(w->b, t, "");
  LLVMSetAlignment(v, 64);
  LLVMPositionBuilderAtEnd(w->b, here);
  return v;
}

/* ---- lanes ------------------------------------------------------------------------------ */

static LLVMValueRef lane_number(DhcCpuW *w, int64_t i) {
  return LLVMConstInt(int_type(w, 32), (unsigned long long)i, false);
}

static LLVMValueRef shuffle(DhcCpuW *w, LLVMValueRef a, LLVMValueRef b, const int *pick, int n) {
  LLVMValueRef lane[64];
  LLVMTypeRef i32 = int_type(w, 32);
  for (int l = 0; l < n; l++)
    lane[l] = pick[l] < 0 ? LLVMGetPoison(i32) : LLVMConstInt(i32, (unsigned)pick[l], false);
  return LLVMBuildShuffleVector(w->b, a, b, LLVMConstVector(lane, (unsigned)n), "");
}

static LLVMValueRef write_fold(Writer *x, const DhcLpInst *n) {
  DhcCpuW *w = x->w;
  LLVMValueRef v = x->value[n->a[0]->id];
  int pick[64];
  for (int l = 0; l < 64; l++) pick[l] = l;
  for (int half = n->a[0]->type.lanes / 2; half >= 2; half /= 2) {
    LLVMValueRef poison = LLVMGetPoison(LLVMTypeOf(v));
    LLVMValueRef ab[2] = {shuffle(w, v, poison, pick, half), shuffle(w, v, poison, pick + half, half)};
    v = dhc_cpu_ew(w, n->op, ab, n->type.dtype, half);
  }
  LLVMValueRef ab[2] = {LLVMBuildExtractElement(w->b, v, lane_number(w, 0), ""),
                        LLVMBuildExtractElement(w->b, v, lane_number(w, 1), "")};
  return dhc_cpu_ew(w, n->op, ab, n->type.dtype, 1);
}

static LLVMValueRef write_iota(DhcCpuW *w, const DhcLpInst *n) {
  LLVMValueRef lane[64];
  LLVMTypeRef t = elem_type(w, n->type.dtype);
  for (int l = 0; l < n->type.lanes; l++) lane[l] = LLVMConstInt(t, (unsigned)l, false);
  return n->type.lanes == 1 ? lane[0] : LLVMConstVector(lane, (unsigned)n->type.lanes);
}

static LLVMValueRef write_const(DhcCpuW *w, const DhcLpInst *n) {
  LLVMTypeRef t = dhc_cpu_type(w, n->type);
  return dhc_dtype_is_float(n->type.dtype) ? dhc_cpu_float(t, n->f) : dhc_cpu_int(t, n->i);
}

static LLVMValueRef write_ew(Writer *x, const DhcLpInst *n) {
  DhcCpuW *w = x->w;
  LLVMValueRef a[4] = {0};
  for (int k = 0; k < 4; k++)
    if (n->a[k]) a[k] = x->value[n->a[k]->id];
  if (n->op == DHC_OP_CAST)
    return dhc_cpu_cast(w, a[0], n->a[0]->type.dtype, (dhc_dtype)n->i, n->type.lanes);
  dhc_dtype t = n->a[n->op == DHC_OP_SELECT ? 1 : 0]->type.dtype;
  return dhc_cpu_ew(w, n->op, a, t, n->type.lanes);
}

/* ---- variables and structure ---------------------------------------------------------- */

static void add_var(Writer *x, Block *k, int v) {
  for (int i = 0; i < k->n_vars; i++)
    if (k->vars[i] == v) return;
  k->vars[k->n_vars++] = v;
  (void)x;
}

/* Variables set in statements (from, to) and declared before `from`. */
static void collect_vars(Writer *x, Block *k, int from, int to) {
  DhcArena *arena = x->p->arena;
  k->vars = DHC_NEW_N(arena, int, x->p->vars.n + 1);
  for (int i = from + 1; i < to; i++) {
    const DhcLpInst *n = x->p->code.at[i];
    if (n->kind == DHC_LP_SET && x->p->vars.at[n->i]->id < from) add_var(x, k, (int)n->i);
  }
  k->entry = DHC_NEW_N(arena, LLVMValueRef, k->n_vars + 1);
  k->then_value = DHC_NEW_N(arena, LLVMValueRef, k->n_vars + 1);
  k->phi = DHC_NEW_N(arena, LLVMValueRef, k->n_vars + 1);
  for (int i = 0; i < k->n_vars; i++) k->entry[i] = x->var[k->vars[i]];
}

static Block *open_block(Writer *x, const DhcLpInst *n, int end) {
  Block *k = DHC_NEW(x->p->arena, Block);
  k->open = n;
  k->before = LLVMGetInsertBlock(x->w->b);
  collect_vars(x, k, n->id, end);
  DHC_PUSH(x->p->arena, &x->open, k);
  return k;
}

static LLVMBasicBlockRef new_block(Writer *x, const char *name) {
  return LLVMAppendBasicBlockInContext(x->w->cx, x->fn, name);
}

/* Rounds of a loop that runs at least once, for all that is known: 1, or more; else 0. */
static int rounds(const DhcLpInst *n) {
  int64_t lo, hi;
  if (n->kind == DHC_LP_TASKS || !dhc_lp_is_const(n->a[0], &lo) || !dhc_lp_is_const(n->a[1], &hi) || lo >= hi) return 0;
  return hi - lo <= n->i ? 1 : 2;
}

/* before: lo < hi ? body : exit;  body … next < hi ? body : exit. What is not asked for is left out. */
static void write_for(Writer *x, const DhcLpInst *n) {
  LLVMBuilderRef b = x->w->b;
  Block *k = open_block(x, n, x->match[n->id]);
  bool tasks = n->kind == DHC_LP_TASKS;
  LLVMValueRef lo = tasks ? x->task0 : x->value[n->a[0]->id];
  k->hi = tasks ? x->task1 : x->value[n->a[1]->id];
  k->rounds = rounds(n);
  if (k->rounds == 1) {
    x->value[n->id] = lo;
    return;
  }
  k->body = new_block(x, tasks ? "task" : "loop");
  k->exit = new_block(x, "done");
  if (k->rounds) LLVMBuildBr(b, k->body);
  else LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, lo, k->hi, ""), k->body, k->exit);
  LLVMPositionBuilderAtEnd(b, k->body);
  k->index = LLVMBuildPhi(b, int_type(x->w, 64), "");
  LLVMAddIncoming(k->index, &lo, &k->before, 1);
  x->value[n->id] = k->index;
  for (int i = 0; i < k->n_vars; i++) {
    k->phi[i] = LLVMBuildPhi(b, LLVMTypeOf(k->entry[i]), "");
    LLVMAddIncoming(k->phi[i], &k->entry[i], &k->before, 1);
    x->var[k->vars[i]] = k->phi[i];
  }
}

static void end_for(Writer *x, Block *k) {
  LLVMBuilderRef b = x->w->b;
  if (k->rounds == 1) return;
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(b);
  int64_t step = k->open->kind == DHC_LP_TASKS ? 1 : k->open->i;
  LLVMValueRef next = LLVMBuildNSWAdd(b, k->index, dhc_cpu_int(int_type(x->w, 64), step), "");
  LLVMAddIncoming(k->index, &next, &latch, 1);
  LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, next, k->hi, ""), k->body, k->exit);
  LLVMPositionBuilderAtEnd(b, k->exit);
  for (int i = 0; i < k->n_vars; i++) {
    LLVMValueRef last = x->var[k->vars[i]];
    LLVMAddIncoming(k->phi[i], &last, &latch, 1);
    if (k->rounds) continue;
    LLVMValueRef out = LLVMBuildPhi(b, LLVMTypeOf(last), "");
    LLVMAddIncoming(out, &k->entry[i], &k->before, 1);
    LLVMAddIncoming(out, &last, &latch, 1);
    x->var[k->vars[i]] = out;
  }
}

static void write_if(Writer *x, const DhcLpInst *n) {
  int end = x->match[n->id];
  if (x->p->code.at[end]->kind == DHC_LP_ELSE) end = x->match[end];
  Block *k = open_block(x, n, end);
  k->body = new_block(x, "then");
  k->els = new_block(x, "else");
  LLVMBuildCondBr(x->w->b, x->value[n->a[0]->id], k->body, k->els);
  LLVMPositionBuilderAtEnd(x->w->b, k->body);
}

static void write_else(Writer *x) {
  Block *k = x->open.at[x->open.n - 1];
  k->then_end = LLVMGetInsertBlock(x->w->b);
  for (int i = 0; i < k->n_vars; i++) {
    k->then_value[i] = x->var[k->vars[i]];
    x->var[k->vars[i]] = k->entry[i];
  }
  LLVMPositionBuilderAtEnd(x->w->b, k->els);
}

static void end_if(Writer *x, Block *k) {
  LLVMBuilderRef b = x->w->b;
  if (!k->then_end) write_else(x);
  LLVMBasicBlockRef other = LLVMGetInsertBlock(b), join = new_block(x, "join");
  LLVMBuildBr(b, join);
  LLVMPositionBuilderAtEnd(b, k->then_end);
  LLVMBuildBr(b, join);
  LLVMPositionBuilderAtEnd(b, join);
  for (int i = 0; i < k->n_vars; i++) {
    LLVMValueRef last = x->var[k->vars[i]];
    LLVMValueRef out = LLVMBuildPhi(b, LLVMTypeOf(last), "");
    LLVMAddIncoming(out, &k->then_value[i], &k->then_end, 1);
    LLVMAddIncoming(out, &last, &other, 1);
    x->var[k->vars[i]] = out;
  }
}

static void write_end(Writer *x) {
  Block *k = x->open.at[x->open.n - 1];
  if (k->open->kind == DHC_LP_IF) end_if(x, k);
  else end_for(x, k);
  x->open.n--;
}

/* ---- statements ----------------------------------------------------------------------- */

static LLVMValueRef write_value(Writer *x, const DhcLpInst *n) {
  DhcCpuW *w = x->w;
  LLVMValueRef a0 = n->a[0] ? x->value[n->a[0]->id] : NULL;
  LLVMValueRef a1 = n->a[1] ? x->value[n->a[1]->id] : NULL;
  switch (n->kind) {
  case DHC_LP_CONST: return write_const(w, n);
  case DHC_LP_DIM: return x->dim[n->i];
  case DHC_LP_OPERAND: return x->operand[n->i];
  case DHC_LP_SCRATCH: {
    LLVMValueRef at = dhc_cpu_int(int_type(w, 64), n->i);
    return LLVMBuildGEP2(w->b, int_type(w, 8), x->scratch, &at, 1, "");
  }
  case DHC_LP_LOCAL: return write_local(x, n);
  case DHC_LP_AT: return address(x, n);
  case DHC_LP_EW: return write_ew(x, n);
  case DHC_LP_UDIV: return dhc_cpu_index_div(w, a0, a1);
  case DHC_LP_UREM:
    if (w->target->bits == 64) return LLVMBuildURem(w->b, a0, a1, "");
    return LLVMBuildSub(w->b, a0, LLVMBuildMul(w->b, dhc_cpu_index_div(w, a0, a1), a1, ""), "");
  case DHC_LP_BITCAST: return LLVMBuildBitCast(w->b, a0, dhc_cpu_type(w, n->type), "");
  case DHC_LP_SPLAT: return dhc_cpu_splat(w, a0, n->type.lanes);
  case DHC_LP_IOTA: return write_iota(w, n);
  case DHC_LP_EXTRACT: return LLVMBuildExtractElement(w->b, a0, lane_number(w, n->i), "");
  case DHC_LP_INSERT: return LLVMBuildInsertElement(w->b, a0, a1, lane_number(w, n->i), "");
  case DHC_LP_SHUFFLE: return shuffle(w, a0, a1, n->pick, n->type.lanes);
  case DHC_LP_FOLD: return write_fold(x, n);
  case DHC_LP_LOAD:
  case DHC_LP_GATHER: return write_load(x, n);
  case DHC_LP_GET: return x->var[n->i];
  default: DHC_BUG("statement kind %d has no value", n->kind);
  }
}

static void write_statement(Writer *x, const DhcLpInst *n) {
  switch (n->kind) {
  case DHC_LP_STORE:
  case DHC_LP_SCATTER: write_store(x, n); break;
  case DHC_LP_PREFETCH: write_prefetch(x, n); break;
  case DHC_LP_VAR:
  case DHC_LP_SET: x->var[n->i] = x->value[n->a[0]->id]; break;
  case DHC_LP_TASKS:
  case DHC_LP_FOR: write_for(x, n); break;
  case DHC_LP_IF: write_if(x, n); break;
  case DHC_LP_ELSE: write_else(x); break;
  case DHC_LP_END: write_end(x); break;
  default: x->value[n->id] = write_value(x, n);
  }
}

/* ---- functions ------------------------------------------------------------------------ */

static void add_attribute(DhcCpuW *w, LLVMValueRef f, unsigned at, const char *name) {
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddAttributeAtIndex(f, at, LLVMCreateEnumAttribute(w->cx, kind, 0));
}

static LLVMValueRef load_at(DhcCpuW *w, LLVMTypeRef t, LLVMValueRef base, int i) {
  LLVMValueRef at = dhc_cpu_int(int_type(w, 64), i);
  return LLVMBuildLoad2(w->b, t, LLVMBuildGEP2(w->b, t, base, &at, 1, ""), "");
}

static void write_body(Writer *x, const char *name) {
  DhcCpuW *w = x->w;
  const DhcLp *p = x->p;
  int n_ptrs = p->checked ? p->n_ptrs + 2 : p->n_ptrs + (p->shared_bytes.n_code > 0);
  LLVMTypeRef ptr = LLVMPointerTypeInContext(w->cx, 0), i64 = int_type(w, 64);
  LLVMTypeRef outer_args[] = {ptr, ptr, i64, i64, ptr};
  LLVMTypeRef outer_type = LLVMFunctionType(LLVMVoidTypeInContext(w->cx), outer_args, 5, false);
  LLVMValueRef outer = LLVMAddFunction(w->module, name, outer_type);
  add_attribute(w, outer, (unsigned)LLVMAttributeFunctionIndex, "nounwind");
  x->entry = LLVMAppendBasicBlockInContext(w->cx, outer, "entry");
  LLVMPositionBuilderAtEnd(w->b, x->entry);
  x->fn = outer;
  x->task0 = LLVMGetParam(outer, 2);
  x->task1 = LLVMGetParam(outer, 3);
  x->scratch = LLVMGetParam(outer, 4);
  for (int i = 0; i < n_ptrs; i++) x->operand[i] = load_at(w, ptr, LLVMGetParam(outer, 0), i);
  for (int i = 0; i < p->n_dims; i++) x->dim[i] = load_at(w, i64, LLVMGetParam(outer, 1), i);
}

void dhc_cpu_write(DhcCpuW *w, const DhcLp *p, const char *name) {
  Writer x = {.w = w, .p = p};
  x.operand = DHC_NEW_N(p->arena, LLVMValueRef, p->n_ptrs + 2);
  x.dim = DHC_NEW_N(p->arena, LLVMValueRef, p->n_dims + 1);
  x.value = DHC_NEW_N(p->arena, LLVMValueRef, p->code.n + 1);
  x.var = DHC_NEW_N(p->arena, LLVMValueRef, p->vars.n + 1);
  x.match = DHC_NEW_N(p->arena, int, p->code.n + 1);
  DHC_VEC(int) open = {0};
  for (int i = 0; i < p->code.n; i++) {
    DhcLpKind k = p->code.at[i]->kind;
    if (k == DHC_LP_END || k == DHC_LP_ELSE) x.match[open.at[--open.n]] = i;
    if (k == DHC_LP_TASKS || k == DHC_LP_FOR || k == DHC_LP_IF || k == DHC_LP_ELSE)
      DHC_PUSH(p->arena, &open, i);
  }
  write_body(&x, name);
  for (int i = 0; i < p->code.n && !w->refused; i++) write_statement(&x, p->code.at[i]);
  if (!w->refused) LLVMBuildRetVoid(w->b);
}
