/* The builder of loop programs: types its operands, folds integer constants. */
#include "backends/loop/loop.h"
#include "ir/interp.h"

DhcLp *dhc_lp_new(DhcArena *arena, int n_ptrs, int n_dims) {
  DhcLp *b = DHC_NEW(arena, DhcLp);
  b->arena = arena;
  b->n_ptrs = n_ptrs;
  b->n_dims = n_dims;
  return b;
}

void dhc_lp_refuse(DhcLp *b, const char *fmt, ...) {
  if (b->refused) return;
  va_list ap;
  va_start(ap, fmt);
  b->refused = dhc_arena_vprintf(b->arena, fmt, ap);
  va_end(ap);
}

static DhcLpType type_of(dhc_dtype t, int lanes) {
  return (DhcLpType){t == DHC_BF16 ? DHC_F32 : t, lanes, false};
}

static DhcLpInst *emit(DhcLp *b, DhcLpKind kind, DhcLpType type) {
  DhcLpInst *n = DHC_NEW(b->arena, DhcLpInst);
  n->kind = kind;
  n->type = type;
  n->id = b->code.n;
  DHC_PUSH(b->arena, &b->code, n);
  return n;
}

static DhcLpInst *of_one(DhcLp *b, DhcLpKind kind, DhcLpType type, DhcLv x) {
  DhcLpInst *n = emit(b, kind, type);
  n->a[0] = x;
  return n;
}

static bool is_i64(DhcLv x) {
  return x->type.dtype == DHC_I64 && x->type.lanes == 1 && !x->type.ptr;
}
static void need_index(DhcLv x, const char *what) {
  if (!is_i64(x)) DHC_BUG("%s: index %%%d is no i64 scalar", what, x->id);
}
static void need_ptr(DhcLv p, const char *what) {
  if (!p->type.ptr) DHC_BUG("%s: %%%d is no pointer", what, p->id);
}
static void need_mask(DhcLv m, int lanes, const char *what) {
  if (m && (m->type.dtype != DHC_BOOL || m->type.lanes != lanes || lanes == 1))
    DHC_BUG("%s: mask %%%d does not fit %d lanes", what, m->id, lanes);
}

/* ---- leaves ---------------------------------------------------------------------- */

DhcLv dhc_lp_int(DhcLp *b, dhc_dtype t, int64_t v) {
  if (dhc_dtype_is_float(t)) DHC_BUG("dhc_lp_int of a float dtype");
  DhcLpInst *n = emit(b, DHC_LP_CONST, type_of(t, 1));
  n->i = v;
  return n;
}
DhcLv dhc_lp_i64(DhcLp *b, int64_t v) { return dhc_lp_int(b, DHC_I64, v); }

DhcLv dhc_lp_float(DhcLp *b, dhc_dtype t, double v) {
  if (!dhc_dtype_is_float(t)) DHC_BUG("dhc_lp_float of %s", dhc_dtype_name(t));
  DhcLpInst *n = emit(b, DHC_LP_CONST, type_of(t, 1));
  n->f = v;
  return n;
}

DhcLv dhc_lp_zero(DhcLp *b, dhc_dtype t, int lanes) {
  return emit(b, DHC_LP_CONST, type_of(t, lanes));
}

DhcLv dhc_lp_dim(DhcLp *b, int i) {
  if (i < 0 || i >= b->n_dims) DHC_BUG("dim %d of %d", i, b->n_dims);
  DhcLpInst *n = emit(b, DHC_LP_DIM, type_of(DHC_I64, 1));
  n->i = i;
  return n;
}

static DhcLpInst *emit_ptr(DhcLp *b, DhcLpKind kind, dhc_dtype t) {
  return emit(b, kind, (DhcLpType){t, 1, true});
}

DhcLv dhc_lp_operand(DhcLp *b, int i, dhc_dtype t) {
  if (i < 0 || i >= b->n_ptrs) DHC_BUG("operand %d of %d", i, b->n_ptrs);
  DhcLpInst *n = emit_ptr(b, DHC_LP_OPERAND, t);
  n->i = i;
  return n;
}
DhcLv dhc_lp_scratch(DhcLp *b, dhc_dtype t, int64_t byte_offset) {
  DhcLpInst *n = emit_ptr(b, DHC_LP_SCRATCH, t);
  n->i = byte_offset;
  return n;
}
DhcLv dhc_lp_local(DhcLp *b, dhc_dtype t, int64_t count) {
  DhcLpInst *n = emit_ptr(b, DHC_LP_LOCAL, t);
  n->i = count;
  n->align = 64;
  return n;
}
void dhc_lp_share(DhcLp *b, dhc_dimprog bytes) {
  if (b->shared_bytes.n_code) DHC_BUG("shared memory asked for twice");
  b->shared_bytes = bytes;
}
DhcLv dhc_lp_shared(DhcLp *b, dhc_dtype t) {
  if (!b->shared_bytes.n_code) DHC_BUG("shared memory of unknown size");
  DhcLpInst *n = emit_ptr(b, DHC_LP_OPERAND, t);
  n->i = b->n_ptrs;
  return n;
}
DhcLv dhc_lp_limits(DhcLp *b) {
  DhcLpInst *n = emit_ptr(b, DHC_LP_OPERAND, DHC_I64);
  n->i = b->n_ptrs + 1;
  return n;
}
DhcLv dhc_lp_at(DhcLp *b, DhcLv p, DhcLv index) {
  need_ptr(p, "at");
  need_index(index, "at");
  int64_t c;
  if (dhc_lp_is_const(index, &c) && c == 0) return p;
  DhcLpInst *n = emit_ptr(b, DHC_LP_AT, p->type.dtype);
  n->a[0] = p;
  n->a[1] = index;
  return n;
}

/* ---- blocks -------------------------------------------------------------------------- */

void dhc_lp_block(DhcLp *b, int threads, int64_t bytes) {
  if (b->threads || b->n_tasks.n_code || threads < 32 || threads > 1024 || threads % 32) DHC_BUG("a block of %d threads", threads);
  b->threads = threads;
  b->block_bytes = bytes;
}
DhcLv dhc_lp_thread(DhcLp *b) { return emit(b, DHC_LP_THREAD, type_of(DHC_I64, 1)); }
DhcLv dhc_lp_block_memory(DhcLp *b, dhc_dtype t, int64_t byte_offset) {
  DhcLpInst *n = emit_ptr(b, DHC_LP_BLOCK, t);
  n->i = byte_offset;
  return n;
}
void dhc_lp_together(DhcLp *b, int blocks) { b->together = blocks; }
void dhc_lp_early(DhcLp *b, int operand) {
  if (operand < DHC_LP_OPERAND_BITS) b->early[operand / 32] |= 1u << operand % 32;
}
void dhc_lp_barrier(DhcLp *b) { emit(b, DHC_LP_BARRIER, type_of(DHC_BOOL, 1)); }
void dhc_lp_copy(DhcLp *b, DhcLv block, DhcLv at, DhcLv from, int n, DhcLv valid) {
  need_ptr(block, "copy");
  need_ptr(from, "copy");
  need_index(at, "copy");
  if (valid) need_index(valid, "copy");
  if ((n != 1 && n != 2 && n != 4) || dhc_dtype_bytes(from->type.dtype) != 4 || block->type.dtype != from->type.dtype)
    DHC_BUG("copy of %d from %%%d", n, from->id);
  DhcLpInst *r = emit(b, DHC_LP_COPY, type_of(DHC_BOOL, 1));
  r->a[0] = block;
  r->a[1] = at;
  r->a[2] = from;
  r->a[3] = valid;
  r->i = n;
}
void dhc_lp_commit(DhcLp *b) { emit(b, DHC_LP_COMMIT, type_of(DHC_BOOL, 1)); }
void dhc_lp_wait(DhcLp *b, int under_way) { emit(b, DHC_LP_WAIT, type_of(DHC_BOOL, 1))->i = under_way; }
DhcLv dhc_lp_aligned(DhcLp *b, DhcLv pointer, int bytes) {
  need_ptr(pointer, "aligned");
  DhcLpInst *n = of_one(b, DHC_LP_ALIGNED, type_of(DHC_BOOL, 1), pointer);
  n->i = bytes;
  return n;
}
DhcLv dhc_lp_tf32(DhcLp *b, DhcLv x) {
  if (x->type.dtype != DHC_F32 || x->type.ptr) DHC_BUG("tf32 of %%%d", x->id);
  return of_one(b, DHC_LP_TF32, x->type, x);
}
DhcLv dhc_lp_pair(DhcLp *b, DhcLv low, DhcLv high) {
  if (low->type.dtype != DHC_F32 || high->type.dtype != DHC_F32 || low->type.lanes != high->type.lanes || low->type.ptr || high->type.ptr)
    DHC_BUG("pair of %%%d and %%%d", low->id, high->id);
  DhcLpInst *n = of_one(b, DHC_LP_PAIR, type_of(DHC_U32, low->type.lanes), low);
  n->a[1] = high;
  return n;
}
DhcLv dhc_lp_mma(DhcLp *b, DhcLv x, DhcLv y, DhcLv sum) {
  bool f32 = x->type.dtype == DHC_F32 && y->type.dtype == DHC_F32, pairs = x->type.dtype == DHC_U32 && y->type.dtype == DHC_U32;
  if (x->type.lanes != 4 || y->type.lanes != 2 || sum->type.lanes != 4 || !(f32 || pairs)) DHC_BUG("mma of %%%d, %%%d, %%%d", x->id, y->id, sum->id);
  DhcLpInst *n = of_one(b, DHC_LP_MMA, sum->type, x);
  n->a[1] = y;
  n->a[2] = sum;
  return n;
}

void dhc_lp_group_mma(DhcLp *b, DhcLv sums, DhcLv x, DhcLv y, int columns) {
  if (columns < 8 || columns > 256 || columns % 8 || sums->kind != DHC_LP_LOCAL || sums->i < columns / 2 || b->threads % 128)
    DHC_BUG("a group's %d columns in %%%d", columns, sums->id);
  need_ptr(x, "group_mma");
  need_ptr(y, "group_mma");
  DhcLpInst *n = emit(b, DHC_LP_GROUP_MMA, type_of(DHC_BOOL, 1));
  n->a[0] = sums;
  n->a[1] = x;
  n->a[2] = y;
  n->i = columns;
}
void dhc_lp_group_fours(DhcLp *b, DhcLv sums, DhcLv x, DhcLv y, int columns, DhcLpFours f) {
  const int lie[5] = {f.ks, f.x_four, f.x_lines, f.y_four, f.y_lines};
  bool sixteens = f.ks > 0 && f.ks % 8 == 0;
  for (int i = 1; i < 5; i++) sixteens = sixteens && lie[i] >= 0 && lie[i] % 4 == 0 && lie[i] < 1 << 16;
  if (!sixteens) DHC_BUG("a group's lines of %d ks", f.ks);
  dhc_lp_group_mma(b, sums, x, y, columns);
  int *pick = DHC_NEW_N(b->arena, int, 5);
  memcpy(pick, lie, sizeof lie);
  b->code.at[b->code.n - 1]->pick = pick;
}
void dhc_lp_group_wait(DhcLp *b, int under_way) { emit(b, DHC_LP_GROUP_WAIT, type_of(DHC_BOOL, 1))->i = under_way; }

DhcLv dhc_lp_across(DhcLp *b, DhcLv x, int bits) {
  if (bits < 1 || bits > 31 || dhc_dtype_bytes(x->type.dtype) != 4 || x->type.ptr) DHC_BUG("across %d of %%%d", bits, x->id);
  DhcLpInst *n = of_one(b, DHC_LP_ACROSS, x->type, x);
  n->i = bits;
  return n;
}
DhcLv dhc_lp_exp2(DhcLp *b, DhcLv x) {
  if (x->type.dtype != DHC_F32 || x->type.ptr) DHC_BUG("exp2 of %%%d", x->id);
  return of_one(b, DHC_LP_EXP2, x->type, x);
}
DhcLv dhc_lp_fma_flush(DhcLp *b, DhcLv x, DhcLv y, DhcLv z) {
  int lanes = x->type.lanes;
  if (y->type.lanes > lanes) lanes = y->type.lanes;
  if (z->type.lanes > lanes) lanes = z->type.lanes;
  DhcLv a[3] = {dhc_lp_splat(b, x, lanes), dhc_lp_splat(b, y, lanes), dhc_lp_splat(b, z, lanes)};
  for (int k = 0; k < 3; k++)
    if (a[k]->type.dtype != DHC_F32 || a[k]->type.ptr) DHC_BUG("fma of %%%d", a[k]->id);
  DhcLpInst *n = emit(b, DHC_LP_FMA_FLUSH, a[0]->type);
  memcpy(n->a, a, sizeof a);
  return n;
}

DhcLv dhc_lp_iota(DhcLp *b, dhc_dtype t, int lanes) {
  return emit(b, DHC_LP_IOTA, type_of(t, lanes));
}

/* ---- elementwise ------------------------------------------------------------------ */

bool dhc_lp_is_const(DhcLv x, int64_t *v) {
  if (x->kind == DHC_LP_SPLAT) x = x->a[0];
  if (x->kind != DHC_LP_CONST || dhc_dtype_is_float(x->type.dtype)) return false;
  *v = x->i;
  return true;
}

/* Whether it gives truth of whatever its operands are. */
static bool is_compare(DhcOp op) {
  DhcEwTypes t = dhc_op_info(op)->types;
  return t == DHC_EW_compare || t == DHC_EW_test;
}

/* Arithmetic and comparisons of two whole numbers. */
static bool folds(DhcOp op) {
  const DhcOpInfo *info = dhc_op_info(op);
  return info->n_args == 2 && (info->types == DHC_EW_compare || info->types == DHC_EW_arith);
}

/* i64 scalar constants, by the interpreter's own evaluation, and neutral elements; NULL: nothing to fold. Addresses only ever
 * use in-range values, so wrapping here equals wrapping there. */
static DhcLv fold_index(DhcLp *b, DhcOp op, DhcLv x, DhcLv y) {
  int64_t p = 0, q = 0;
  bool cx = dhc_lp_is_const(x, &p), cy = dhc_lp_is_const(y, &q);
  if (cx && cy && folds(op)) {
    const DhcScalar v[] = {{.i = p}, {.i = q}};
    int64_t r = dhc_eval_ew(op, DHC_I64, v).i;
    return is_compare(op) ? dhc_lp_int(b, DHC_BOOL, r) : dhc_lp_i64(b, r);
  }
  if (cx && cy) return NULL;
  if (op == DHC_OP_ADD && cx && p == 0) return y;
  if ((op == DHC_OP_ADD || op == DHC_OP_SUB) && cy && q == 0) return x;
  if (op == DHC_OP_MUL && cx && p == 1) return y;
  if (op == DHC_OP_MUL && cy && q == 1) return x;
  if (op == DHC_OP_MUL && ((cx && p == 0) || (cy && q == 0))) return dhc_lp_i64(b, 0);
  return NULL;
}

/* and/or of masks with a known side */
static DhcLv fold_bool(DhcOp op, DhcLv x, DhcLv y) {
  int64_t p = 0, q = 0;
  bool cx = dhc_lp_is_const(x, &p), cy = dhc_lp_is_const(y, &q);
  if (op == DHC_OP_AND && cx) return (p & 1) ? y : x;
  if (op == DHC_OP_AND && cy) return (q & 1) ? x : y;
  if (op == DHC_OP_OR && cx) return (p & 1) ? x : y;
  if (op == DHC_OP_OR && cy) return (q & 1) ? y : x;
  return NULL;
}

DhcLv dhc_lp_ew(DhcLp *b, DhcOp op, const DhcLv *arg, int n) {
  const DhcOpInfo *info = dhc_op_info(op);
  if (info->cls != DHC_CLASS_ELEMENTWISE || info->n_args != n || op == DHC_OP_CAST)
    DHC_BUG("dhc_lp_ew: %s with %d operands", info->name, n);
  DhcLv a[4] = {0};
  int lanes = 1;
  for (int k = 0; k < n; k++)
    if (arg[k]->type.lanes > lanes) lanes = arg[k]->type.lanes;
  for (int k = 0; k < n; k++) {
    if (arg[k]->type.ptr) DHC_BUG("%s: operand %d is a pointer", info->name, k);
    a[k] = dhc_lp_splat(b, arg[k], lanes);
  }
  int first = op == DHC_OP_SELECT ? 1 : 0;
  if (first && a[0]->type.dtype != DHC_BOOL) DHC_BUG("select on %%%d, no bool", a[0]->id);
  for (int k = first + 1; k < n; k++)
    if (a[k]->type.dtype != a[first]->type.dtype)
      DHC_BUG("%s: operands %%%d %s and %%%d %s", info->name, a[first]->id,
              dhc_dtype_name(a[first]->type.dtype), a[k]->id, dhc_dtype_name(a[k]->type.dtype));
  if (n == 2 && is_i64(a[0])) {
    DhcLv f = fold_index(b, op, a[0], a[1]);
    if (f) return f;
  }
  if (n == 2 && a[0]->type.dtype == DHC_BOOL) {
    DhcLv f = fold_bool(op, a[0], a[1]);
    if (f) return f;
  }
  dhc_dtype t = is_compare(op) ? DHC_BOOL : a[first]->type.dtype;
  DhcLpInst *r = emit(b, DHC_LP_EW, type_of(t, lanes));
  r->op = op;
  memcpy(r->a, a, sizeof a);
  return r;
}

DhcLv dhc_lp_ew1(DhcLp *b, DhcOp op, DhcLv x) { return dhc_lp_ew(b, op, &x, 1); }
DhcLv dhc_lp_ew2(DhcLp *b, DhcOp op, DhcLv x, DhcLv y) {
  return dhc_lp_ew(b, op, (DhcLv[]){x, y}, 2);
}

DhcLv dhc_lp_cast(DhcLp *b, DhcLv x, dhc_dtype to) {
  if (x->type.dtype == to) return x;
  int64_t v;
  if (x->kind == DHC_LP_CONST && to == DHC_I64 && dhc_lp_is_const(x, &v)) return dhc_lp_i64(b, v);
  DhcLpInst *r = emit(b, DHC_LP_EW, type_of(to, x->type.lanes));
  r->op = DHC_OP_CAST;
  r->a[0] = x;
  r->i = to; /* BF16 differs from the type of the value */
  return r;
}

DhcLv dhc_lp_bitcast(DhcLp *b, DhcLv x, dhc_dtype to) {
  if (x->type.dtype == to) return x;
  if (dhc_dtype_bytes(to) != dhc_dtype_bytes(x->type.dtype) || to == DHC_BOOL ||
      x->type.dtype == DHC_BOOL)
    DHC_BUG("bitcast %s to %s", dhc_dtype_name(x->type.dtype), dhc_dtype_name(to));
  DhcLpInst *r = emit(b, DHC_LP_BITCAST, type_of(to, x->type.lanes));
  r->a[0] = x;
  return r;
}

DhcLv dhc_lp_fma(DhcLp *b, DhcLv x, DhcLv y, DhcLv z) {
  return dhc_lp_ew(b, DHC_OP_FMA, (DhcLv[]){x, y, z}, 3);
}
DhcLv dhc_lp_select(DhcLp *b, DhcLv c, DhcLv x, DhcLv y) {
  int64_t v;
  if (x->type.lanes == 1 && y->type.lanes == 1 && dhc_lp_is_const(c, &v) && c->type.lanes == 1)
    return (v & 1) ? x : y;
  return dhc_lp_ew(b, DHC_OP_SELECT, (DhcLv[]){c, x, y}, 3);
}
#define BINARY(name, op) \
  DhcLv dhc_lp_##name(DhcLp *b, DhcLv x, DhcLv y) { return dhc_lp_ew2(b, DHC_OP_##op, x, y); }
BINARY(add, ADD)
BINARY(sub, SUB)
BINARY(mul, MUL)
BINARY(min, MIN)
BINARY(max, MAX)
BINARY(lt, LT)
BINARY(le, LE)
BINARY(ge, GE)
BINARY(eq, EQ)
BINARY(and, AND)
BINARY(or, OR)
#undef BINARY
DhcLv dhc_lp_addc(DhcLp *b, DhcLv x, int64_t c) { return dhc_lp_add(b, x, dhc_lp_i64(b, c)); }
DhcLv dhc_lp_mulc(DhcLp *b, DhcLv x, int64_t c) { return dhc_lp_mul(b, x, dhc_lp_i64(b, c)); }

static DhcLv division(DhcLp *b, DhcLpKind kind, DhcLv x, DhcLv y) {
  need_index(x, "division");
  need_index(y, "division");
  int64_t p, q;
  if (dhc_lp_is_const(y, &q) && q > 0) {
    if (dhc_lp_is_const(x, &p)) return dhc_lp_i64(b, kind == DHC_LP_UDIV ? p / q : p % q);
    if (q == 1) return kind == DHC_LP_UDIV ? x : dhc_lp_i64(b, 0);
  }
  DhcLpInst *r = emit(b, kind, type_of(DHC_I64, 1));
  r->a[0] = x;
  r->a[1] = y;
  return r;
}
DhcLv dhc_lp_udiv(DhcLp *b, DhcLv x, DhcLv y) { return division(b, DHC_LP_UDIV, x, y); }
DhcLv dhc_lp_urem(DhcLp *b, DhcLv x, DhcLv y) { return division(b, DHC_LP_UREM, x, y); }
DhcLv dhc_lp_ceildivc(DhcLp *b, DhcLv x, int64_t c) {
  return dhc_lp_udiv(b, dhc_lp_addc(b, x, c - 1), dhc_lp_i64(b, c));
}

/* ---- lanes -------------------------------------------------------------------------- */

DhcLv dhc_lp_splat(DhcLp *b, DhcLv x, int lanes) {
  if (x->type.lanes == lanes) return x;
  if (b->refused) return dhc_lp_zero(b, x->type.dtype, lanes); /* what has been refused need not fit any more */
  if (x->type.lanes != 1 || x->type.ptr)
    DHC_BUG("splat of %%%d: %d lanes to %d", x->id, x->type.lanes, lanes);
  DhcLpInst *r = emit(b, DHC_LP_SPLAT, type_of(x->type.dtype, lanes));
  r->a[0] = x;
  return r;
}

DhcLv dhc_lp_extract(DhcLp *b, DhcLv x, int lane) {
  if (x->type.lanes == 1) return x;
  if (lane < 0 || lane >= x->type.lanes) DHC_BUG("extract lane %d of %%%d", lane, x->id);
  DhcLpInst *r = emit(b, DHC_LP_EXTRACT, type_of(x->type.dtype, 1));
  r->a[0] = x;
  r->i = lane;
  return r;
}

DhcLv dhc_lp_insert(DhcLp *b, DhcLv x, int lane, DhcLv scalar) {
  if (x->type.lanes == 1 || scalar->type.lanes != 1 || scalar->type.dtype != x->type.dtype ||
      lane < 0 || lane >= x->type.lanes)
    DHC_BUG("insert %%%d into lane %d of %%%d", scalar->id, lane, x->id);
  DhcLpInst *r = emit(b, DHC_LP_INSERT, x->type);
  r->a[0] = x;
  r->a[1] = scalar;
  r->i = lane;
  return r;
}

DhcLv dhc_lp_shuffle(DhcLp *b, DhcLv x, DhcLv y, const int *pick, int lanes) {
  if (x->type.lanes == 1 || x->type.lanes != y->type.lanes || x->type.dtype != y->type.dtype)
    DHC_BUG("shuffle of %%%d and %%%d", x->id, y->id);
  for (int l = 0; l < lanes; l++)
    if (pick[l] >= 2 * x->type.lanes) DHC_BUG("shuffle picks lane %d", pick[l]);
  DhcLpInst *r = emit(b, DHC_LP_SHUFFLE, type_of(x->type.dtype, lanes));
  r->a[0] = x;
  r->a[1] = y;
  r->pick = dhc_arena_dup(b->arena, pick, sizeof *pick * (size_t)lanes);
  return r;
}

DhcLv dhc_lp_fold(DhcLp *b, DhcOp op, DhcLv x) {
  if (op != DHC_OP_ADD && op != DHC_OP_MAX && op != DHC_OP_MIN && op != DHC_OP_AND &&
      op != DHC_OP_OR)
    DHC_BUG("fold by %s", dhc_op_info(op)->name);
  if (x->type.lanes == 1) return x;
  DhcLpInst *r = emit(b, DHC_LP_FOLD, type_of(x->type.dtype, 1));
  r->op = op;
  r->a[0] = x;
  return r;
}

/* One round: rows r and r + distance become the even and the odd halves of both, in units of
 * `unit` lanes within groups of `group` lanes (interleaved), or lane groups picked apart. */
static void transpose_pair(DhcLp *b, DhcLv *x, DhcLv *y, int n, const int *lo, const int *hi) {
  DhcLv u = *x, v = *y;
  *x = dhc_lp_shuffle(b, u, v, lo, n);
  *y = dhc_lp_shuffle(b, u, v, hi, n);
}

/* Interleaves units of 1, then 2 lanes within groups of four (vectors of 16 bytes), which
 * every machine has as single instructions; then whole groups, picked by parity. */
static void transpose_grouped(DhcLp *b, DhcLv *v, int n) {
  int lo[64], hi[64], groups = n / 4;
  for (int unit = 1; unit < 4; unit *= 2) {
    for (int l = 0; l < n; l++) {
      int in = l % 4, base = l - in, source = (in / unit) % 2 ? n : 0, at = in / (2 * unit) * unit + in % unit;
      lo[l] = source + base + at;
      hi[l] = source + base + at + 2;
    }
    for (int r = 0; r < n; r++)
      if (!(r & unit)) transpose_pair(b, &v[r], &v[r + unit], n, lo, hi);
  }
  /* v[4i + rev(j)] holds, in group g, column 4g + j of rows 4i..4i+3 (rev swaps 1 and 2) */
  for (int i = 0; i < n; i += 4) {
    DhcLv t = v[i + 1];
    v[i + 1] = v[i + 2];
    v[i + 2] = t;
  }
  for (int d = 1; d < groups; d *= 2) {
    for (int l = 0; l < n; l++) {
      int g = l / 4, half = g >= groups / 2 ? n : 0, from = g % (groups / 2) * 2;
      lo[l] = half + from * 4 + l % 4;
      hi[l] = half + from * 4 + 4 + l % 4;
    }
    for (int r = 0; r < n; r++)
      if (!(r / 4 & d)) transpose_pair(b, &v[r], &v[r + 4 * d], n, lo, hi);
  }
}

void dhc_lp_transpose(DhcLp *b, DhcLv *v, int n) {
  if (n < 2 || n > 64 || (n & (n - 1))) DHC_BUG("transpose of %d", n);
  if (n >= 4 && n <= 16) {
    transpose_grouped(b, v, n);
    return;
  }
  /* log2(n) rounds; each swaps bit d of the row number with bit d of the lane number */
  for (int d = 1; d < n; d *= 2)
    for (int r = 0; r < n; r++) {
      if (r & d) continue;
      int lo[64], hi[64];
      for (int l = 0; l < n; l++) {
        lo[l] = (l & d) ? n + (l ^ d) : l;
        hi[l] = (l & d) ? n + l : (l ^ d);
      }
      transpose_pair(b, &v[r], &v[r | d], n, lo, hi);
    }
}

DhcLv dhc_lp_tail(DhcLp *b, DhcLv i, DhcLv hi, int lanes) {
  /* i32 lanes: the distance is capped first, so it cannot wrap */
  DhcLv left = dhc_lp_min(b, dhc_lp_sub(b, hi, i), dhc_lp_i64(b, lanes));
  left = dhc_lp_cast(b, left, DHC_I32);
  return dhc_lp_lt(b, dhc_lp_iota(b, DHC_I32, lanes), left);
}

/* ---- memory -------------------------------------------------------------------------- */

static DhcLpInst *emit_load(DhcLp *b, DhcLpKind kind, DhcLv p, DhcLv index, int lanes, DhcLv mask) {
  need_ptr(p, "load");
  need_mask(mask, lanes, "load");
  int64_t all;
  if (mask && dhc_lp_is_const(mask, &all) && (all & 1)) mask = NULL;
  DhcLpInst *r = emit(b, kind, type_of(p->type.dtype, lanes));
  r->a[0] = p;
  r->a[1] = index;
  r->a[2] = mask;
  r->align = dhc_dtype_bytes(p->type.dtype);
  return r;
}

DhcLv dhc_lp_load(DhcLp *b, DhcLv p, DhcLv index, int lanes, int align) {
  need_index(index, "load");
  DhcLpInst *r = emit_load(b, DHC_LP_LOAD, p, index, lanes, NULL);
  if (align) r->align = align;
  return r;
}
DhcLv dhc_lp_mload(DhcLp *b, DhcLv p, DhcLv index, int lanes, DhcLv mask) {
  need_index(index, "load");
  return emit_load(b, DHC_LP_LOAD, p, index, lanes, mask);
}
DhcLv dhc_lp_gather(DhcLp *b, DhcLv p, DhcLv indices, DhcLv mask) {
  if (indices->type.dtype != DHC_I64 || indices->type.lanes == 1)
    DHC_BUG("gather: %%%d is no i64 vector", indices->id);
  return emit_load(b, DHC_LP_GATHER, p, indices, indices->type.lanes, mask);
}

static DhcLpInst *emit_store(DhcLp *b, DhcLpKind kind, DhcLv p, DhcLv index, DhcLv v, DhcLv mask) {
  need_ptr(p, "store");
  dhc_dtype want = p->type.dtype == DHC_BF16 ? DHC_F32 : p->type.dtype;
  if (v->type.ptr || v->type.dtype != want)
    DHC_BUG("store of %%%d %s to %s", v->id, dhc_dtype_name(v->type.dtype), dhc_dtype_name(want));
  need_mask(mask, v->type.lanes, "store");
  int64_t all;
  if (mask && dhc_lp_is_const(mask, &all) && (all & 1)) mask = NULL;
  DhcLpInst *r = emit(b, kind, v->type);
  r->a[0] = p;
  r->a[1] = index;
  r->a[2] = v;
  r->a[3] = mask;
  r->align = dhc_dtype_bytes(p->type.dtype);
  return r;
}

void dhc_lp_store(DhcLp *b, DhcLv p, DhcLv index, DhcLv v, int align) {
  need_index(index, "store");
  DhcLpInst *r = emit_store(b, DHC_LP_STORE, p, index, v, NULL);
  if (align) r->align = align;
}
void dhc_lp_once(DhcLp *b) {
  DhcLpInst *n = b->code.at[b->code.n - 1];
  if (n->kind != DHC_LP_LOAD && n->kind != DHC_LP_STORE) DHC_BUG("%%%d is no access", n->id);
  n->once = true;
}
void dhc_lp_mstore(DhcLp *b, DhcLv p, DhcLv index, DhcLv v, DhcLv mask) {
  need_index(index, "store");
  emit_store(b, DHC_LP_STORE, p, index, v, mask);
}
void dhc_lp_scatter(DhcLp *b, DhcLv p, DhcLv indices, DhcLv v, DhcLv mask) {
  if (indices->type.dtype != DHC_I64 || indices->type.lanes != v->type.lanes || v->type.lanes == 1)
    DHC_BUG("scatter: %%%d does not index %%%d", indices->id, v->id);
  emit_store(b, DHC_LP_SCATTER, p, indices, v, mask);
}
void dhc_lp_add_to(DhcLp *b, DhcLv p, DhcLv index, DhcLv v) {
  need_index(index, "add_to");
  dhc_dtype t = v->type.dtype;
  if (v->type.lanes != 1 || (t != DHC_I32 && t != DHC_U32 && t != DHC_I64)) DHC_BUG("add_to: %%%d is no integer", v->id);
  emit_store(b, DHC_LP_ADD_TO, p, index, v, NULL);
}
void dhc_lp_prefetch(DhcLp *b, DhcLv p, DhcLv index) {
  need_ptr(p, "prefetch");
  need_index(index, "prefetch");
  DhcLpInst *r = emit(b, DHC_LP_PREFETCH, p->type);
  r->a[0] = p;
  r->a[1] = index;
}

/* ---- variables ------------------------------------------------------------------------ */

DhcLpVar dhc_lp_var(DhcLp *b, DhcLv init) {
  DhcLpInst *r = emit(b, DHC_LP_VAR, init->type);
  r->a[0] = init;
  r->i = b->vars.n;
  DHC_PUSH(b->arena, &b->vars, r);
  return (DhcLpVar){(int)r->i};
}

static const DhcLpInst *declaration(const DhcLp *b, DhcLpVar v) {
  if (v.number < 0 || v.number >= b->vars.n) DHC_BUG("variable %d was never declared", v.number);
  return b->vars.at[v.number];
}

DhcLv dhc_lp_get(DhcLp *b, DhcLpVar v) {
  DhcLpInst *r = emit(b, DHC_LP_GET, declaration(b, v)->type);
  r->i = v.number;
  return r;
}
void dhc_lp_set(DhcLp *b, DhcLpVar v, DhcLv x) {
  const DhcLpInst *d = declaration(b, v);
  if (d->type.dtype != x->type.dtype || d->type.lanes != x->type.lanes || d->type.ptr != x->type.ptr)
    DHC_BUG("variable %d set to %%%d of another type", v.number, x->id);
  DhcLpInst *r = emit(b, DHC_LP_SET, x->type);
  r->a[0] = x;
  r->i = v.number;
}

/* ---- structure ------------------------------------------------------------------------ */

DhcLv dhc_lp_tasks(DhcLp *b, dhc_dimprog n_tasks) {
  if (b->open.n || b->n_tasks.n_code) DHC_BUG("tasks not once at top level");
  b->n_tasks = n_tasks;
  DhcLpInst *r = emit(b, DHC_LP_TASKS, type_of(DHC_I64, 1));
  DHC_PUSH(b->arena, &b->open, r->id);
  return r;
}

DhcLv dhc_lp_phases(DhcLp *b, dhc_dimprog first, dhc_dimprog second) {
  return dhc_lp_many_phases(b, (const dhc_dimprog[]){first, second}, 2, NULL);
}

DhcLv dhc_lp_many_phases(DhcLp *b, const dhc_dimprog *count, int n, dhc_dimprog *end) {
  if (n < 1 || n > DHC_MAX_PHASES) DHC_BUG("%d phases", n);
  dhc_dimprog sum = count[0];
  for (int i = 0; i < n; i++) {
    if (i > 0) sum = dhc_prog_op(b->arena, DHC_DIM_ADD, sum, count[i]);
    if (end) end[i] = sum;
    if (i == 0 && n > 1) b->first_tasks = sum;
    else if (i < n - 1) b->later_tasks[i - 1] = sum;
  }
  return dhc_lp_tasks(b, sum);
}

DhcLv dhc_lp_for(DhcLp *b, DhcLv lo, DhcLv hi, int64_t step) {
  need_index(lo, "for");
  need_index(hi, "for");
  if (step < 1) DHC_BUG("for with step %lld", (long long)step);
  DhcLpInst *r = emit(b, DHC_LP_FOR, type_of(DHC_I64, 1));
  r->a[0] = lo;
  r->a[1] = hi;
  r->i = step;
  DHC_PUSH(b->arena, &b->open, r->id);
  return r;
}

DhcLv dhc_lp_for_rounds(DhcLp *b, DhcLv lo, DhcLv hi, int64_t step, int rounds) {
  DhcLv r = dhc_lp_for(b, lo, hi, step);
  b->code.at[r->id]->rounds = rounds;
  return r;
}

void dhc_lp_if(DhcLp *b, DhcLv cond) {
  if (cond->type.dtype != DHC_BOOL || cond->type.lanes != 1) DHC_BUG("if on %%%d", cond->id);
  DhcLpInst *r = emit(b, DHC_LP_IF, cond->type);
  r->a[0] = cond;
  DHC_PUSH(b->arena, &b->open, r->id);
}

void dhc_lp_else(DhcLp *b) {
  if (!b->open.n || b->code.at[b->open.at[b->open.n - 1]]->kind != DHC_LP_IF)
    DHC_BUG("else without if");
  b->open.at[b->open.n - 1] = emit(b, DHC_LP_ELSE, type_of(DHC_BOOL, 1))->id;
}

void dhc_lp_end(DhcLp *b) {
  if (!b->open.n) DHC_BUG("end without a block");
  DhcLpInst *r = emit(b, DHC_LP_END, type_of(DHC_BOOL, 1));
  r->i = b->open.at[--b->open.n];
}
