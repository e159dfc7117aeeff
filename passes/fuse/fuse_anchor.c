/* Anchors inside a kernel: folds, contractions, convolutions, windows, recurrences. Each
 * turns the index of its result and the group's reduced axes into indices of its operands. */
#include <string.h>

#include "passes/fuse/fuse_internal.h"

static DhcDims *dims(const FuKernel *k) {
  return k->fu->m->dims;
}

int dhc_fu_emit_fold(FuKernel *k, DhcOp op, dhc_dtype t, int x, int y, uint32_t axes) {
  int a[2] = {x, y}, n = y >= 0 ? 2 : 1;
  if (x < 0 || k->failed) return -1;
  if (axes) return dhc_fu_fold_node(k, op, t, a, n, axes);
  /* everything folded has extent 1 */
  if (op == DHC_OP_ARGMAX) return dhc_fu_const_node(k, t, 0, 0);
  if (op == DHC_OP_DOT_GENERAL) {
    int f[3] = {x, y, dhc_fu_const_node(k, t, 0, 0)};
    return dhc_fu_node(k, DHC_SN_EW, DHC_OP_FMA, t, f, 3);
  }
  if (op == DHC_OP_REDUCE_SUM || op == DHC_OP_ADD) /* sums start from +0 */
    return dhc_fu_ew2(k, DHC_OP_ADD, t, dhc_fu_const_node(k, t, 0, 0), x);
  return x;
}

int dhc_fu_emit_reduce(FuKernel *k, DhcValue *v, const FuIx *ix) {
  FuGroup *g = k->g;
  FuIx in[DHC_MAX_RANK];
  if (k->fu->norm_of[v->def->id]) return dhc_fu_emit_norm(k, v, ix);
  if (dhc_fu_of(k->fu, v)->inner) return dhc_fu_emit_short(k, v, ix);
  dhc_fu_split_index(k, g->full, g->rank, in);
  uint32_t axes = 0;
  for (int d = 0; d < g->rank; d++)
    if (g->reduced >> d & 1) axes |= dhc_fu_axis_bits(k, d);
  return dhc_fu_emit_fold(k, v->def->op, v->type.dtype, dhc_fu_emit(k, v->def->args[0], in), -1, axes);
}

/* Axes of contraction number i of the group. */
static FuForm red_form(const FuKernel *k, int i) {
  return dhc_fu_axis_form(k, k->g->red0 + i);
}

static uint32_t red_bits(const FuKernel *k, int from, int to) {
  uint32_t m = 0;
  for (int i = from; i < to; i++) m |= dhc_fu_axis_bits(k, k->g->red0 + i);
  return m;
}

static bool contains(const DhcAttr *list, int d, int *at) {
  for (int i = 0; i < list->ints.n; i++)
    if (list->ints.at[i] == d) {
      *at = i;
      return true;
    }
  return false;
}

int dhc_fu_emit_dot(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  if (dhc_fu_of(k->fu, v)->inner) return dhc_fu_emit_short(k, v, ix);
  bool chain = k->g->kind == DHC_KIND_CHAIN;
  const DhcAttr *batch[2] = {dhc_attr(n, "batch_a"), dhc_attr(n, "batch_b")};
  const DhcAttr *contract[2] = {dhc_attr(n, "contract_a"), dhc_attr(n, "contract_b")};
  int node[2], out = batch[0]->ints.n, at;
  for (int s = 0; s < 2; s++) {
    FuIx in[DHC_MAX_RANK];
    for (int d = 0; d < n->args[s]->type.rank; d++) {
      if (contains(batch[s], d, &at)) in[d] = ix[at];
      else if (contains(contract[s], d, &at)) in[d] = dhc_fu_plain(chain ? dhc_fu_chain_axis(k, n, at) : red_form(k, at));
      else in[d] = ix[out++];
    }
    k->one_sum = k->g->kind == DHC_KIND_DOT && !k->fu->px->repeats; /* else a tile's operands are gathered */
    node[s] = dhc_fu_emit(k, n->args[s], in);
    k->one_sum = false;
  }
  uint32_t axes = chain ? dhc_fu_chain_bits(k, n) : red_bits(k, 0, contract[0]->ints.n);
  return dhc_fu_emit_fold(k, DHC_OP_DOT_GENERAL, v->type.dtype, node[0], node[1], axes);
}

/* a where row lies in the range that `offsets` gives to number e, else 0. */
static int in_range(FuKernel *k, int a, DhcValue *offsets, const FuForm *e, const FuForm *row) {
  FuIx lo = dhc_fu_plain(*e), hi = dhc_fu_plain(dhc_fu_addc(dims(k), e, dhc_dim_const(dims(k), 1)));
  int at = dhc_fu_lin_node(k, row);
  int from = dhc_fu_cast_node(k, DHC_I64, dhc_fu_emit(k, offsets, &lo));
  int to = dhc_fu_cast_node(k, DHC_I64, dhc_fu_emit(k, offsets, &hi));
  if (a < 0 || k->failed) return -1;
  int inside = dhc_fu_ew2(k, DHC_OP_AND, DHC_BOOL, dhc_fu_ew2(k, DHC_OP_LE, DHC_BOOL, from, at),
                          dhc_fu_ew2(k, DHC_OP_LT, DHC_BOOL, at, to));
  dhc_dtype t = k->node[a].dtype;
  return dhc_fu_select_node(k, t, inside, a, dhc_fu_const_node(k, t, 0, 0));
}

/* y[t, j] = sum over ranges e and over c of (t in range e ? a[t, c] : 0) * w[e, c, j];
 * dw[e, c, j] = sum over rows t of (t in range e ? a[t, c] : 0) * d[t, j]. Templates skip
 * what is zero. */
int dhc_fu_emit_ragged(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  bool dw = n->op == DHC_OP_RAGGED_DOT_DW;
  FuForm e = dw ? ix[0].f : red_form(k, 0), c = dw ? ix[1].f : red_form(k, 1), row = dw ? red_form(k, 0) : ix[0].f;
  FuIx at_a[] = {dhc_fu_plain(row), dhc_fu_plain(c)};
  FuIx at_w[] = {dhc_fu_plain(dw ? row : e), dw ? ix[2] : dhc_fu_plain(c), ix[1]};
  int a = in_range(k, dhc_fu_emit(k, n->args[0], at_a), n->args[2], &e, &row);
  int w = dhc_fu_emit(k, n->args[1], at_w);
  return dhc_fu_emit_fold(k, DHC_OP_DOT_GENERAL, v->type.dtype, a, w, red_bits(k, 0, k->g->n_red));
}

/* Spatial index into x for output place p and tap t, stride * p + dil * t - pad; or back into y for
 * input place p, (p + pad - dil * t) / stride where that is exact. */
static FuIx conv_index(FuKernel *k, const DhcNode *n, int s, const FuForm *p, const FuForm *t, const DhcDim *extent,
                       bool back) {
  int64_t stride = dhc_attr(n, "stride")->ints.at[s], dil = dhc_attr(n, "dilation")->ints.at[s];
  int64_t pad = dhc_attr(n, "pad_low")->ints.at[s], sign = back ? -1 : 1;
  FuForm a = back ? *p : dhc_fu_scale(dims(k), p, dhc_dim_const(dims(k), stride));
  FuForm b = dhc_fu_scale(dims(k), t, dhc_dim_const(dims(k), sign * dil));
  FuIx ix = {.f = dhc_fu_add(dims(k), &a, &b), .guarded = true, .div = back ? stride : 1, .extent = extent};
  ix.f = dhc_fu_addc(dims(k), &ix.f, dhc_dim_const(dims(k), -sign * pad));
  return ix;
}

/* A channel index is per * group + within; these take it apart again. Domain axis 1 counts
 * groups, then `within` axes follow (fuse_group.c: conv_axes). */
static FuForm group_form(const FuKernel *k, int64_t groups) {
  return groups == 1 ? dhc_fu_const(dims(k), NULL) : dhc_fu_axis_form(k, 1);
}

static FuForm channel(const FuKernel *k, int64_t groups, const DhcDim *per, const FuForm *within) {
  FuForm g = group_form(k, groups);
  g = dhc_fu_scale(dims(k), &g, per);
  return dhc_fu_add(dims(k), &g, within);
}

/* Operand of a convolution: a load that its guards reach, or it goes to memory first. */
static int emit_padded(FuKernel *k, DhcValue *v, const FuIx *ix) {
  bool before = k->lossy;
  k->lossy = false;
  int n = dhc_fu_emit(k, v, ix);
  if (k->lossy) return dhc_fu_fail(k, v);
  k->lossy = before;
  return n;
}

/* The contraction of a convolution or of one of its gradients: indices of its two operands. */
static int emit_conv_dot(FuKernel *k, DhcValue *v, const FuIx *padded, const FuIx *other) {
  int a = emit_padded(k, v->def->args[0], padded), b = dhc_fu_emit(k, v->def->args[1], other);
  return dhc_fu_emit_fold(k, DHC_OP_DOT_GENERAL, v->type.dtype, a, b, red_bits(k, 0, v->type.rank - 1));
}

/* Indices [n, channel, *spatial] into x or dy, [o, c, *k] into w. */
int dhc_fu_emit_conv(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  int64_t groups = dhc_attr(n, "groups")->i;
  int n_s = v->type.rank - 2;
  FuIx x[DHC_MAX_RANK], w[DHC_MAX_RANK];
  FuForm c = red_form(k, 0);
  x[0] = ix[0];
  x[1] = dhc_fu_plain(channel(k, groups, n->args[1]->type.dim[1], &c));
  w[0] = ix[1];
  w[1] = dhc_fu_plain(c);
  for (int s = 0; s < n_s; s++) {
    FuForm t = red_form(k, 1 + s);
    x[2 + s] = conv_index(k, n, s, &ix[2 + s].f, &t, n->args[0]->type.dim[2 + s], false);
    w[2 + s] = dhc_fu_plain(t);
  }
  return emit_conv_dot(k, v, x, w);
}

int dhc_fu_emit_conv_dx(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  int64_t groups = dhc_attr(n, "groups")->i;
  int n_s = v->type.rank - 2;
  const DhcType *wt = &n->args[1]->type;
  int64_t o_all = 0;
  const DhcDim *per_o = dhc_dim_is_const(wt->dim[0], &o_all) ? dhc_dim_const(dims(k), o_all / groups) : wt->dim[0];
  FuIx dy[DHC_MAX_RANK], w[DHC_MAX_RANK];
  FuForm o = red_form(k, 0), g = group_form(k, groups);
  dy[0] = ix[0];
  dy[1] = dhc_fu_plain(channel(k, groups, per_o, &o));
  w[0] = dy[1];
  /* channel within its group: ix[1] minus per * group */
  FuForm lead = dhc_fu_scale(dims(k), &g, dhc_dim_mulc(dims(k), wt->dim[1], -1));
  w[1] = dhc_fu_plain(dhc_fu_add(dims(k), &ix[1].f, &lead));
  for (int s = 0; s < n_s; s++) {
    FuForm t = red_form(k, 1 + s);
    dy[2 + s] = conv_index(k, n, s, &ix[2 + s].f, &t, n->args[0]->type.dim[2 + s], true);
    w[2 + s] = dhc_fu_plain(t);
  }
  return emit_conv_dot(k, v, dy, w);
}

int dhc_fu_emit_conv_dw(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  int64_t groups = dhc_attr(n, "groups")->i;
  int n_s = v->type.rank - 2;
  FuIx x[DHC_MAX_RANK], dy[DHC_MAX_RANK];
  FuForm g = dhc_fu_axis_form(k, 0), c = ix[1].f;
  FuForm batch = red_form(k, 0);
  if (groups == 1) g = dhc_fu_const(dims(k), NULL);
  g = dhc_fu_scale(dims(k), &g, v->type.dim[1]);
  x[0] = dhc_fu_plain(batch);
  x[1] = dhc_fu_plain(dhc_fu_add(dims(k), &g, &c));
  dy[0] = x[0];
  dy[1] = ix[0];
  for (int s = 0; s < n_s; s++) {
    FuForm p = red_form(k, 1 + s);
    x[2 + s] = conv_index(k, n, s, &p, &ix[2 + s].f, n->args[0]->type.dim[2 + s], false);
    dy[2 + s] = dhc_fu_plain(p);
  }
  return emit_conv_dot(k, v, x, dy);
}

/* First of the group's window axes: after a convolution's contraction axes. */
static int window0(const FuGroup *g, int n_w) {
  return g->n_red - n_w;
}

int dhc_fu_emit_window_max(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  const DhcAttr *window = dhc_attr(n, "window"), *stride = dhc_attr(n, "stride");
  int n_w = window->ints.n, lead = v->type.rank - n_w, w0 = window0(k->g, n_w);
  FuIx in[DHC_MAX_RANK];
  for (int d = 0; d < v->type.rank; d++) {
    in[d] = ix[d];
    if (d < lead) continue;
    FuForm w = red_form(k, w0 + d - lead);
    FuForm p = dhc_fu_scale(dims(k), &ix[d].f, dhc_dim_const(dims(k), stride->ints.at[d - lead]));
    in[d] = dhc_fu_plain(dhc_fu_add(dims(k), &p, &w));
  }
  DhcOp op = v->index == 0 ? DHC_OP_REDUCE_MAX : DHC_OP_ARGMAX;
  return dhc_fu_emit_fold(k, op, v->type.dtype, dhc_fu_emit(k, n->args[0], in), -1, red_bits(k, w0, w0 + n_w));
}

/* Windows that do not overlap: each place of a window gets dy or 0. Else: an ordered sum
 * over the windows that reach a place; window axis u counts taps backwards, so that the
 * sum runs over windows in their order. */
int dhc_fu_emit_window_scatter(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  const DhcAttr *window = dhc_attr(n, "window"), *stride = dhc_attr(n, "stride");
  int n_w = window->ints.n, lead = v->type.rank - n_w;
  bool apart = k->g->axis[k->g->red0].role == DHC_AXIS_PAR;
  FuIx in[DHC_MAX_RANK];
  unsigned guards = 0;
  int tap = -1;
  for (int d = 0; d < v->type.rank; d++) {
    in[d] = ix[d];
    if (d < lead) continue;
    int64_t size = window->ints.at[d - lead];
    FuForm u = red_form(k, d - lead);
    if (apart) {
      in[d] = dhc_fu_plain(dhc_fu_axis_form(k, d));
    } else {
      FuForm w = dhc_fu_scale(dims(k), &u, dhc_dim_const(dims(k), -1));
      w = dhc_fu_addc(dims(k), &w, dhc_dim_const(dims(k), size - 1));
      FuForm minus = dhc_fu_scale(dims(k), &w, dhc_dim_const(dims(k), -1));
      in[d] = (FuIx){.f = dhc_fu_add(dims(k), &ix[d].f, &minus), .guarded = true,
                     .div = stride->ints.at[d - lead], .extent = n->args[0]->type.dim[d]};
      guards |= 1u << d;
    }
    int at = dhc_fu_lin_node(k, &u);
    if (!apart) at = dhc_fu_ew2(k, DHC_OP_SUB, DHC_I64, dhc_fu_i64(k, size - 1), at);
    tap = tap < 0 ? at : dhc_fu_ew2(k, DHC_OP_ADD, DHC_I64, dhc_fu_ew2(k, DHC_OP_MUL, DHC_I64, tap, dhc_fu_i64(k, size)), at);
  }
  int dy = dhc_fu_emit_guarded(k, n->args[0], in, guards), index = dhc_fu_cast_node(k, DHC_I64, dhc_fu_emit(k, n->args[1], in));
  if (k->failed) return -1;
  dhc_dtype t = v->type.dtype;
  int hit = dhc_fu_ew2(k, DHC_OP_EQ, DHC_BOOL, index, tap);
  int x = dhc_fu_select_node(k, t, hit, dy, dhc_fu_const_node(k, t, 0, 0));
  return apart ? x : dhc_fu_emit_fold(k, DHC_OP_ADD, t, x, -1, red_bits(k, 0, n_w));
}

int dhc_fu_emit_scan(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  int axis = (int)dhc_attr(n, "axis")->i;
  if (axis < 0) axis += v->type.rank;
  FuIx h0[DHC_MAX_RANK];
  for (int d = 0; d + 1 < v->type.rank; d++) h0[d] = ix[d < axis ? d : d + 1];
  int a[3] = {dhc_fu_emit(k, n->args[0], ix), dhc_fu_emit(k, n->args[1], ix), dhc_fu_emit(k, n->args[2], h0)};
  if (k->failed) return -1;
  dhc_dtype t = v->type.dtype;
  bool flush = dhc_attr(n, "flush")->b, forget = dhc_attr(n, "forget")->b;
  if (dhc_dim_is(v->type.dim[axis], 1)) { /* one step */
    int f[3] = {a[0], a[2], a[1]}, h = dhc_fu_node(k, DHC_SN_EW, DHC_OP_FMA, t, f, 3);
    if (forget) {
      int anew = dhc_fu_ew2(k, DHC_OP_EQ, DHC_BOOL, a[0], dhc_fu_const_node(k, t, 0, 0));
      h = dhc_fu_select_node(k, t, anew, a[1], h);
    }
    if (!flush) return h;
    int size = dhc_fu_node(k, DHC_SN_EW, DHC_OP_ABS, t, &h, 1);
    int small = dhc_fu_ew2(k, DHC_OP_LT, DHC_BOOL, size, dhc_fu_const_node(k, t, dhc_dtype_least_normal(t), 0));
    return dhc_fu_select_node(k, t, small, dhc_fu_const_node(k, t, 0, 0), h);
  }
  k->attr[0] = dhc_attr(n, "reverse")->b;
  k->n_attrs = 1;
  return dhc_fu_scan_node(k, v->type.dtype, a, (flush ? DHC_SCAN_FLUSH : 0) | (forget ? DHC_SCAN_FORGET : 0));
}

bool dhc_fu_is_turned(const Fu *fu, const FuGroup *g, const DhcValue *v, const FuIx *ix) {
  if (fu->px->repeats || !g->anchor || g->anchor->op != DHC_OP_DOT_GENERAL || v->type.rank < 3) return false;
  int batch = dhc_attr(g->anchor, "batch_a")->ints.n, rows = g->anchor->args[0]->type.rank - batch - dhc_attr(g->anchor, "contract_a")->ints.n;
  const FuForm *last = &ix[v->type.rank - 1].f;
  return rows > 1 && last->n == 1 && last->axis[0] > batch && last->axis[0] < batch + rows;
}
