/* Writes the kernel of a group: from each stored member down through members, lazy values
 * and views to loads, with indices carried along. Where a view needs an axis cut in two,
 * the axis is split and writing starts over. */
#include <string.h>

#include "passes/fuse/fuse_internal.h"

static DhcDims *dims(const FuKernel *k) {
  return k->fu->m->dims;
}

static FuIndexCx index_cx(const FuKernel *k) {
  FuIndexCx cx = {.dims = dims(k), .facts = &k->fu->f->facts, .axis = k->axis, .n_axes = k->n_axes};
  cx.miss.axis = -1;
  return cx;
}

/* ---- axes ------------------------------------------------------------------------ */

/* Domain axis a of the group as kernel axes; one of extent 1 is always 0. */
FuForm dhc_fu_axis_form(const FuKernel *k, int a) {
  FuForm f = dhc_dim_is(k->g->axis[a].extent, 1) ? dhc_fu_const(dims(k), NULL) : dhc_fu_axis(dims(k), a);
  for (int s = 0; s < k->n_splits; s++) {
    FuForm outer = dhc_fu_axis(dims(k), k->split[s].axis), inner = dhc_fu_axis(dims(k), k->g->n_axes + s);
    outer = dhc_fu_scale(dims(k), &outer, k->split[s].inner);
    outer = dhc_fu_add(dims(k), &outer, &inner);
    f = dhc_fu_subst(dims(k), &f, k->split[s].axis, &outer);
  }
  return f;
}

uint32_t dhc_fu_axis_bits(const FuKernel *k, int a) {
  FuForm f = dhc_fu_axis_form(k, a);
  uint32_t m = 0;
  for (int i = 0; i < f.n; i++) m |= 1u << f.axis[i];
  return m;
}

/* A member's index after splits. */
void dhc_fu_split_index(const FuKernel *k, const FuIx *ix, int rank, FuIx *out) {
  for (int d = 0; d < rank; d++) {
    out[d] = ix[d];
    FuForm f = dhc_fu_const(dims(k), ix[d].f.c);
    for (int i = 0; i < ix[d].f.n; i++) {
      FuForm part = dhc_fu_axis_form(k, ix[d].f.axis[i]);
      part = dhc_fu_scale(dims(k), &part, ix[d].f.coef[i]);
      f = dhc_fu_add(dims(k), &f, &part);
    }
    out[d].f = f;
  }
}

static void start(FuKernel *k, Fu *fu, FuGroup *g) {
  k->fu = fu;
  k->g = g;
  k->kind = g->kind;
  memcpy(k->axis, g->axis, sizeof k->axis);
  k->n_axes = g->n_axes;
  for (int a = 0; a < k->n_axes; a++) {
    k->key[a] = (int64_t)g->axis[a].place * (1 << 20);
    k->gap[a] = 1 << 20;
    k->axis_gone[a] = false;
  }
  for (int s = 0; s < k->n_splits; s++) {
    int a = k->split[s].axis, b = k->n_axes++;
    k->axis[b] = k->axis[a];
    k->axis[b].extent = k->split[s].inner;
    k->axis[a].extent = dhc_dim_divide(dims(k), k->axis[a].extent, k->split[s].inner);
    k->gap[a] /= 2;
    k->gap[b] = k->gap[a];
    k->key[b] = k->key[a] + k->gap[a];
    k->axis_gone[b] = false;
  }
  k->n_nodes = k->n_operands = k->n_args = k->n_attrs = k->n_open = 0;
  k->memo.n = k->views.n = 0;
  k->failed = k->full = k->lossy = false;
  k->force = NULL;
  k->miss.axis = -1;
}

/* ---- small nodes ------------------------------------------------------------------ */

int dhc_fu_ew2(FuKernel *k, DhcOp op, dhc_dtype t, int x, int y) {
  int a[2] = {x, y};
  return dhc_fu_node(k, DHC_SN_EW, op, t, a, 2);
}

int dhc_fu_select_node(FuKernel *k, dhc_dtype t, int c, int x, int y) {
  int a[3] = {c, x, y};
  return dhc_fu_node(k, DHC_SN_EW, DHC_OP_SELECT, t, a, 3);
}

int dhc_fu_cast_node(FuKernel *k, dhc_dtype to, int x) {
  if (x < 0 || k->node[x].dtype == to) return x;
  return dhc_fu_node(k, DHC_SN_EW, DHC_OP_CAST, to, &x, 1);
}

int dhc_fu_i64(FuKernel *k, int64_t v) {
  return dhc_fu_const_node(k, DHC_I64, 0, v);
}

/* bool: index form lies in [0, extent) and is a multiple of div, quotient counted. */
static int in_bounds(FuKernel *k, const FuIx *ix) {
  int x = dhc_fu_lin_node(k, &ix->f), ok = dhc_fu_ew2(k, DHC_OP_GE, DHC_BOOL, x, dhc_fu_i64(k, 0));
  if (ix->div != 1) {
    int div = dhc_fu_i64(k, ix->div);
    int exact = dhc_fu_ew2(k, DHC_OP_EQ, DHC_BOOL, dhc_fu_ew2(k, DHC_OP_REM, DHC_I64, x, div), dhc_fu_i64(k, 0));
    ok = dhc_fu_ew2(k, DHC_OP_AND, DHC_BOOL, ok, exact);
    x = dhc_fu_ew2(k, DHC_OP_FLOORDIV, DHC_I64, x, div);
  }
  return dhc_fu_ew2(k, DHC_OP_AND, DHC_BOOL, ok, dhc_fu_ew2(k, DHC_OP_LT, DHC_BOOL, x, dhc_fu_arg_node(k, ix->extent)));
}

/* x under guards that were put on at `ix` dims with bit set in `dims_set`: zero outside. If
 * x is a load whose guards all arrived there, it is zero already. */
static int zero_outside(FuKernel *k, int node, const FuIx *ix, unsigned dims_set, bool exact) {
  if (exact || node < 0) return node;
  dhc_dtype t = k->node[node].dtype;
  int ok = -1;
  for (int d = 0; d < DHC_MAX_RANK; d++) {
    if (!(dims_set >> d & 1)) continue;
    int c = in_bounds(k, &ix[d]);
    ok = ok < 0 ? c : dhc_fu_ew2(k, DHC_OP_AND, DHC_BOOL, ok, c);
  }
  return ok < 0 ? node : dhc_fu_select_node(k, t, ok, node, dhc_fu_const_node(k, t, 0, 0));
}

/* Emits v under new guards. */
int dhc_fu_emit_guarded(FuKernel *k, DhcValue *v, const FuIx *ix, unsigned guards) {
  bool before = k->lossy;
  k->lossy = false;
  int n = dhc_fu_emit(k, v, ix);
  DhcValue *base = dhc_view_base(v);
  const FuValue *b = dhc_fu_of(k->fu, base);
  /* Another group's member may have been computed again here, where it is not stored. */
  bool load = b->where == FU_MEMORY || (b->where == FU_MEMBER && k->fu->groups.at[b->group] != k->g && b->stored);
  n = zero_outside(k, n, ix, guards, load && !k->lossy);
  k->lossy = before;
  return n;
}

/* ---- views -------------------------------------------------------------------------- */

int dhc_fu_emit_view(FuKernel *k, DhcValue *v, const FuIx *ix) {
  FuIx in[DHC_MAX_RANK];
  FuIndexCx cx = index_cx(k);
  DhcValue *x = v->def->args[0];
  DHC_PUSH(k->fu->scratch, &k->views, v);
  if (dhc_fu_through(&cx, v->def, ix, in)) {
    k->lossy = k->lossy || cx.lossy;
    return dhc_fu_emit(k, x, in);
  }
  const FuValue *b = dhc_fu_of(k->fu, x);
  bool in_memory = b->where == FU_MEMORY || (b->where == FU_MEMBER && k->fu->groups.at[b->group] != k->g);
  FuForm flat;
  if (v->def->op == DHC_OP_RESHAPE && in_memory && !b->swapped && dhc_fu_flat(dims(k), &v->type, ix, &flat)) {
    if (b->where == FU_MEMBER) dhc_fu_of(k->fu, x)->stored = true;
    return dhc_fu_load_flat(k, x, &flat);
  }
  bool own = cx.miss.axis < k->g->n_axes + k->n_splits; /* else a short fold's, which stays as it is */
  if (cx.miss.axis >= 0 && own && k->one_sum && k->axis[cx.miss.axis].role == DHC_AXIS_RED) return dhc_fu_fail(k, v);
  if (cx.miss.axis >= 0 && own && k->n_splits < 12 && k->axis[cx.miss.axis].role != DHC_AXIS_SEQ) {
    k->miss = cx.miss;
    return dhc_fu_fail(k, NULL);
  }
  return dhc_fu_fail(k, in_memory ? v : x);
}

/* ---- moves --------------------------------------------------------------------------- */

int dhc_fu_emit_pad(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  const DhcAttr *low = dhc_attr(n, "low"), *high = dhc_attr(n, "high"), *step = dhc_attr(n, "step");
  FuIx in[DHC_MAX_RANK];
  unsigned guards = 0;
  for (int d = 0; d < v->type.rank; d++) {
    in[d] = ix[d];
    if (dhc_dim_is(low->dims.at[d], 0) && dhc_dim_is(high->dims.at[d], 0) && step->ints.at[d] == 1) continue;
    if ((ix[d].guarded && ix[d].div != 1) || (ix[d].f.node >= 0 && step->ints.at[d] != 1))
      return dhc_fu_fail(k, v);
    const DhcDim *minus = dhc_dim_mulc(dims(k), low->dims.at[d], -1);
    in[d] = (FuIx){.f = dhc_fu_addc(dims(k), &ix[d].f, minus), .guarded = true, .div = step->ints.at[d],
                   .extent = n->args[0]->type.dim[d]};
    guards |= 1u << d;
  }
  return dhc_fu_emit_guarded(k, n->args[0], in, guards);
}

/* i64 node min(max(start, 0), n - size). */
static int clamped(FuKernel *k, DhcValue *at, const DhcDim *n, const DhcDim *size) {
  int s = dhc_fu_cast_node(k, DHC_I64, dhc_fu_emit(k, at, NULL));
  s = dhc_fu_ew2(k, DHC_OP_MAX, DHC_I64, s, dhc_fu_i64(k, 0));
  return dhc_fu_ew2(k, DHC_OP_MIN, DHC_I64, s, dhc_fu_arg_node(k, dhc_dim_sub(dims(k), n, size)));
}

int dhc_fu_emit_dynamic_slice(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  int axis = (int)dhc_attr(n, "axis")->i;
  if (axis < 0) axis += v->type.rank;
  FuIx in[DHC_MAX_RANK];
  memcpy(in, ix, sizeof *in * (size_t)v->type.rank);
  if (ix[axis].f.node >= 0 || (ix[axis].guarded && ix[axis].div != 1)) return dhc_fu_fail(k, v);
  const DhcDim *extent = n->args[0]->type.dim[axis];
  in[axis].f.node = clamped(k, n->args[1], extent, dhc_attr(n, "size")->dim);
  if (ix[axis].guarded) {
    in[axis].extent = extent;
    k->lossy = true;
  }
  return k->failed ? -1 : dhc_fu_emit(k, n->args[0], in);
}

static FuIx node_index(FuKernel *k, int node, const DhcDim *extent) {
  FuIx ix = {.f = dhc_fu_const(dims(k), NULL), .guarded = true, .div = 1, .extent = extent};
  ix.f.node = node;
  return ix;
}

int dhc_fu_emit_gather(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  const DhcType *x = &n->args[0]->type;
  bool along = n->op == DHC_OP_TAKE_ALONG;
  int axis = (int)dhc_attr(n, "axis")->i, r = along ? 1 : n->args[1]->type.rank;
  if (axis < 0) axis += x->rank;
  int node = dhc_fu_cast_node(k, DHC_I64, dhc_fu_emit(k, n->args[1], along ? ix : ix + axis));
  if (k->failed) return -1;
  FuIx in[DHC_MAX_RANK];
  for (int d = 0; d < x->rank; d++) in[d] = d < axis ? ix[d] : ix[d + r - 1 < 0 ? 0 : d + r - 1];
  in[axis] = node_index(k, node, x->dim[axis]);
  return dhc_fu_emit_guarded(k, n->args[0], in, 1u << axis);
}

/* Coordinates of a tap number inside a window, row-major. */
static void tap_nodes(FuKernel *k, int tap, const DhcAttr *window, int *out) {
  for (int s = window->ints.n - 1; s >= 0; s--) {
    int w = dhc_fu_i64(k, window->ints.at[s]);
    out[s] = s == 0 ? tap : dhc_fu_ew2(k, DHC_OP_REM, DHC_I64, tap, w);
    if (s > 0) tap = dhc_fu_ew2(k, DHC_OP_FLOORDIV, DHC_I64, tap, w);
  }
}

int dhc_fu_emit_window_gather(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  const DhcAttr *window = dhc_attr(n, "window"), *stride = dhc_attr(n, "stride");
  int tap = dhc_fu_cast_node(k, DHC_I64, dhc_fu_emit(k, n->args[1], ix)), at[DHC_MAX_RANK];
  if (k->failed) return -1;
  tap_nodes(k, tap, window, at);
  FuIx in[DHC_MAX_RANK];
  unsigned guards = 0;
  int lead = v->type.rank - window->ints.n;
  for (int d = 0; d < v->type.rank; d++) {
    in[d] = ix[d];
    if (d < lead) continue;
    if (ix[d].guarded || ix[d].f.node >= 0) return dhc_fu_fail(k, v);
    in[d].f = dhc_fu_scale(dims(k), &ix[d].f, dhc_dim_const(dims(k), stride->ints.at[d - lead]));
    in[d].f.node = at[d - lead];
    in[d].guarded = true;
    in[d].extent = n->args[0]->type.dim[d];
    guards |= 1u << d;
  }
  return k->failed ? -1 : dhc_fu_emit_guarded(k, n->args[0], in, guards);
}

/* ---- creation -------------------------------------------------------------------------- */

int dhc_fu_emit_iota(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  int axis = (int)dhc_attr(n, "axis")->i;
  if (axis < 0) axis += v->type.rank;
  if (ix[axis].guarded && ix[axis].div != 1) return dhc_fu_fail(k, v);
  return dhc_fu_cast_node(k, v->type.dtype, dhc_fu_lin_node(k, &ix[axis].f));
}

int dhc_fu_emit_random(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  FuIx plain[DHC_MAX_RANK];
  FuForm flat;
  for (int d = 0; d < v->type.rank; d++) {
    if (ix[d].guarded && ix[d].div != 1) return dhc_fu_fail(k, v);
    plain[d] = dhc_fu_plain(ix[d].f);
  }
  if (!dhc_fu_flat(dims(k), &v->type, plain, &flat)) return dhc_fu_fail(k, v);
  int a[4];
  for (int i = 0; i < 3; i++) { /* a known site is an argument: layers share the kernel */
    const DhcNode *c = dhc_view_base(n->args[i])->def;
    if (c->op == DHC_OP_FILL) a[i] = dhc_fu_arg_node(k, dhc_dim_const(dims(k), dhc_dtype_from_double(DHC_I64, dhc_attr(c, "value")->f)));
    else a[i] = dhc_fu_emit(k, n->args[i], NULL);
  }
  a[3] = dhc_fu_lin_node(k, &flat);
  if (n->n_args > 3) {
    int sum[2] = {a[3], dhc_fu_emit(k, n->args[3], NULL)};
    a[3] = k->failed ? -1 : dhc_fu_node(k, DHC_SN_EW, DHC_OP_ADD, DHC_I64, sum, 2);
  }
  return k->failed ? -1 : dhc_fu_node(k, DHC_SN_RANDOM, (DhcOp)0, DHC_U32, a, 4);
}

/* ---- values ---------------------------------------------------------------------------------- */

int dhc_fu_emit_elementwise(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  if (n->op == DHC_OP_STOP_GRADIENT) return dhc_fu_emit(k, n->args[0], ix);
  int a[3];
  for (int i = 0; i < n->n_args; i++) a[i] = dhc_fu_emit(k, n->args[i], ix);
  if (k->failed) return -1;
  if (n->op == DHC_OP_CAST) return dhc_fu_cast_node(k, v->type.dtype, a[0]);
  return dhc_fu_node(k, DHC_SN_EW, n->op, v->type.dtype, a, n->n_args);
}

int dhc_fu_emit_fill(FuKernel *k, DhcValue *v, const FuIx *ix) {
  (void)ix;
  double f = dhc_attr(v->def, "value")->f;
  return dhc_fu_const_node(k, v->type.dtype, f, dhc_dtype_is_float(v->type.dtype) ? 0 : dhc_dtype_from_double(v->type.dtype, f));
}

int dhc_fu_emit_dim(FuKernel *k, DhcValue *v, const FuIx *ix) {
  (void)ix;
  return dhc_fu_arg_node(k, dhc_attr(v->def, "dim")->dim);
}

int dhc_fu_emit_nothing(FuKernel *k, DhcValue *v, const FuIx *ix) {
  (void)k, (void)ix;
  DHC_BUG("fuse: op %s inside a kernel", dhc_op_info(v->def->op)->name);
}

static int emit_op(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const FuOp *op = dhc_fu_op(v->def->op);
  return (op->emit ? op->emit : dhc_fu_emit_nothing)(k, v, ix);
}

static int find_memo(const FuKernel *k, const DhcValue *v, const FuIx *ix) {
  for (int i = 0; i < k->memo.n; i++) {
    const FuMemo *m = &k->memo.at[i];
    if (m->v == v && dhc_fu_ix_equal(m->ix, ix, v->type.rank)) return m->node;
  }
  return -1;
}

static int emit_once(FuKernel *k, DhcValue *v, const FuIx *ix) {
  int node = find_memo(k, v, ix);
  if (node >= 0) return node;
  bool before = k->lossy;
  k->lossy = false;
  node = emit_op(k, v, ix);
  if (node < 0 && !k->full && !k->force && k->miss.axis < 0 && dhc_op_info(v->def->op)->cls != DHC_CLASS_ELEMENTWISE)
    k->force = v; /* its operands cannot be reached from here, but can from its own axes */
  bool lossy = k->lossy;
  k->lossy = before || lossy;
  if (node < 0) return -1;
  if (lossy) return node; /* the flag would be missed the second time */
  FuMemo m = {v, dhc_arena_dup(k->fu->scratch, ix, sizeof *ix * (size_t)(v->type.rank ? v->type.rank : 1)), node};
  DHC_PUSH(k->fu->scratch, &k->memo, m);
  return node;
}

/* Another kernel's member that costs less to compute again, from what is in memory
 * anyway, than to store and load. */
static bool cheap_again(const Fu *fu, DhcValue *v, int *work, int *loads) {
  v = dhc_view_base(v);
  const FuValue *x = dhc_fu_of(fu, v);
  if (x->where == FU_MEMORY || (x->where == FU_MEMBER && x->stored)) return ++*loads <= 2;
  const DhcNode *n = v->def;
  if (!dhc_op_info(n->op)->again) return false;
  if (n->n_args && (x->forced || ++*work > 3)) return false;
  for (int i = 0; i < n->n_args; i++)
    if (!cheap_again(fu, n->args[i], work, loads)) return false;
  return true;
}

int dhc_fu_emit(FuKernel *k, DhcValue *v, const FuIx *ix) {
  if (k->failed) return -1;
  FuIx none[DHC_MAX_RANK + 1];
  if (!ix) ix = none;
  FuValue *x = dhc_fu_of(k->fu, v);
  switch (x->where) {
    case FU_VIEW: return dhc_fu_emit_view(k, v, ix);
    case FU_MEMORY: return dhc_fu_load_node(k, v, ix);
    case FU_LAZY: return emit_once(k, v, ix);
    case FU_MEMBER: break;
  }
  if (k->fu->groups.at[x->group] != k->g) {
    int work = 0, loads = 0;
    if (!x->stored && cheap_again(k->fu, v, &work, &loads)) return emit_once(k, v, ix);
    x->stored = true;
    return dhc_fu_load_node(k, v, ix);
  }
  FuIx own[DHC_MAX_RANK + 1];
  dhc_fu_split_index(k, x->ix, v->type.rank, own);
  if (!dhc_fu_ix_equal(own, ix, v->type.rank)) return dhc_fu_fail(k, v);
  return emit_once(k, v, own);
}

/* ---- stores ------------------------------------------------------------------------------------ */

/* Index into v's place in the concat it is a piece of. */
static bool piece_index(FuKernel *k, DhcValue *v, const DhcNode *concat, int piece, const FuIx *ix, FuIx *out) {
  DhcValue *chain[32], *w = concat->args[piece];
  int n = 0;
  for (; w != v && n < 32; w = w->def->args[0]) chain[n++] = w;
  FuIx at[DHC_MAX_RANK];
  memcpy(out, ix, sizeof *ix * (size_t)v->type.rank);
  while (n-- > 0) {
    FuIndexCx cx = index_cx(k);
    memcpy(at, out, sizeof at);
    if (!dhc_fu_back(&cx, chain[n]->def, at, out)) {
      k->miss = cx.miss;
      return false;
    }
  }
  int axis = (int)dhc_attr(concat, "axis")->i;
  if (axis < 0) axis += concat->results[0]->type.rank;
  const DhcDim *from = dhc_dim_const(dims(k), 0);
  for (int i = 0; i < piece; i++) from = dhc_dim_add(dims(k), from, concat->args[i]->type.dim[axis]);
  out[axis].f = dhc_fu_addc(dims(k), &out[axis].f, from);
  return true;
}

static void store(FuKernel *k, DhcValue *v, int node, const FuIx *ix) {
  const FuValue *x = dhc_fu_of(k->fu, v);
  if (!x->piece_of) {
    if (!dhc_fu_store(k, v, &v->type, ix, node)) dhc_fu_fail(k, NULL);
    return;
  }
  FuIx at[DHC_MAX_RANK];
  if (!piece_index(k, v, x->piece_of, x->piece, ix, at) ||
      !dhc_fu_store(k, v, &x->piece_of->results[0]->type, at, node))
    dhc_fu_fail(k, v);
}

/* Update, scatters: what goes where is the anchor's own business. */
static bool write_into(FuKernel *k) {
  const DhcNode *n = k->g->anchor;
  if (!n || (n->op != DHC_OP_DYNAMIC_UPDATE && n->op != DHC_OP_SCATTER_ADD && n->op != DHC_OP_PUT_ALONG)) return false;
  DhcValue *out = n->results[0];
  FuIx ix[DHC_MAX_RANK], to[DHC_MAX_RANK];
  dhc_fu_split_index(k, k->g->full, k->g->rank, ix);
  int axis = (int)dhc_attr(n, "axis")->i;
  if (axis < 0) axis += out->type.rank;
  const DhcDim *extent = out->type.dim[axis];
  int value;
  if (n->op == DHC_OP_DYNAMIC_UPDATE) {
    value = dhc_fu_emit(k, n->args[1], ix);
    memcpy(to, ix, sizeof to);
    to[axis].f.node = clamped(k, n->args[2], extent, n->args[1]->type.dim[axis]);
  } else {
    bool add = n->op == DHC_OP_SCATTER_ADD;
    int r = add ? n->args[1]->type.rank : 1;
    value = dhc_fu_emit(k, add ? n->args[2] : n->args[0], ix);
    int node = dhc_fu_cast_node(k, DHC_I64, dhc_fu_emit(k, n->args[1], add ? ix + axis : ix));
    for (int d = 0; d < out->type.rank; d++) to[d] = ix[d < axis || d + r - 1 < 0 ? d : d + r - 1];
    to[axis] = node_index(k, node, extent);
  }
  if (!k->failed && !dhc_fu_store(k, out, &out->type, to, value)) dhc_fu_fail(k, NULL);
  return true;
}

static void write_copies(FuKernel *k) {
  FuIx ix[DHC_MAX_RANK], at[DHC_MAX_RANK];
  dhc_fu_split_index(k, k->g->full, k->g->rank, ix);
  for (int c = 0; c < k->g->copies.n && !k->failed; c++) {
    const DhcNode *to = k->g->copies.at[c].concat;
    DhcValue *v = to->args[k->g->copies.at[c].piece], *whole = to->results[0];
    int node = dhc_fu_emit(k, v, ix);
    if (k->failed) return;
    if (!piece_index(k, v, to, k->g->copies.at[c].piece, ix, at) || !dhc_fu_store(k, whole, &whole->type, at, node))
      dhc_fu_fail(k, NULL);
  }
}

static int emit_last(FuKernel *k, DhcValue *states) {
  FuIx ix[DHC_MAX_RANK + 1];
  dhc_fu_split_index(k, dhc_fu_of(k->fu, states)->ix, states->type.rank, ix);
  return emit_once(k, states, ix);
}

static void write_all(FuKernel *k) {
  if (k->g->copies.n) {
    write_copies(k);
    return;
  }
  if (write_into(k)) return;
  if (k->g->copy_view) {
    FuIx ix[DHC_MAX_RANK];
    dhc_fu_split_index(k, k->g->full, k->g->rank, ix);
    int node = dhc_fu_emit_view(k, k->g->copy_view, ix);
    if (!k->failed && !dhc_fu_store(k, k->g->copy_view, &k->g->copy_view->type, ix, node)) dhc_fu_fail(k, NULL);
    return;
  }
  for (int i = 0; i < k->g->members.n && !k->failed; i++) {
    DhcValue *v = k->g->members.at[i];
    FuValue *x = dhc_fu_of(k->fu, v);
    if (!x->stored) continue;
    FuIx ix[DHC_MAX_RANK + 1];
    dhc_fu_split_index(k, x->ix, v->type.rank, ix);
    /* of a recurrence only the last state is a view */
    bool last = dhc_fu_is_view(v->def) && k->g->kind == DHC_KIND_SCAN && v->def->args[0] == k->g->anchor->results[0];
    int node = last ? emit_last(k, v->def->args[0]) : emit_once(k, v, ix);
    if (!k->failed) store(k, v, node, ix);
  }
}

/* Without a fold there is nothing to reduce, contract or carry; a map with short ones folds rows. */
static DhcKind kind_of(const FuKernel *k) {
  if (k->kind == DHC_KIND_SCATTER) return k->kind;
  for (int n = 0; n < k->n_nodes; n++)
    if (k->node[n].kind == DHC_SN_FOLD || k->node[n].kind == DHC_SN_SCAN) return k->kind == DHC_KIND_MAP ? DHC_KIND_ROW : k->kind;
  return DHC_KIND_MAP;
}

static bool may_force(const FuKernel *k, const DhcValue *v) {
  return !dhc_fu_of(k->fu, v)->forced && dhc_op_info(v->def->op)->cls != DHC_CLASS_CREATE;
}

/* Too large: of what was computed, a value in the middle goes to memory; where a single
 * op is too much, its operands' views do. */
static DhcValue *choose_force(const FuKernel *k) {
  int n = k->memo.n;
  for (int i = 0; i < n && n > 2; i++) {
    DhcValue *v = k->memo.at[(n / 2 + i) % n].v;
    if (may_force(k, v)) return v;
  }
  for (int i = 0; i < k->views.n; i++)
    if (may_force(k, k->views.at[i]) && dhc_fu_of(k->fu, k->views.at[i])->where == FU_VIEW) return k->views.at[i];
  for (int i = 0; i < n; i++)
    if (may_force(k, k->memo.at[i].v)) return k->memo.at[i].v;
  return NULL;
}

bool dhc_fu_write(Fu *fu, FuGroup *g, FuSpec *out, DhcValue **force) {
  if (!fu->room->kernel) fu->room->kernel = DHC_NEW(fu->scratch, FuKernel);
  FuKernel *k = fu->room->kernel;
  k->n_splits = 0;
  memset(k->attr, 0, sizeof k->attr);
  for (;;) {
    start(k, fu, g);
    write_all(k);
    if (!k->failed) {
      k->kind = kind_of(k);
      if (dhc_fu_finish(k, out)) return true;
      *force = choose_force(k);
      return false;
    }
    if (k->force || k->miss.axis < 0 || k->n_splits == 12 || k->n_axes == FU_MAX_AXES) break;
    k->split[k->n_splits].axis = k->miss.axis;
    k->split[k->n_splits++].inner = k->miss.inner;
  }
  *force = k->force ? k->force : choose_force(k);
  return false;
}
