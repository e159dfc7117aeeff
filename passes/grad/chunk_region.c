/* Which ops around a recurrence can be computed chunk by chunk. From its operands backwards,
 * elementwise ops and views belong to the region until a value is small beside the states
 * (dt, x, b of a selective scan); from its result forwards until a contraction over states
 * has made it small. Every op of the region treats each step by itself or is a recurrence
 * the same way, so a chunk of steps gives the same bits as all of them. */
#include "passes/grad/chunk.h"
#include "passes/clean/edit.h"

enum { MAX_DEPTH = 400 /* of the search: bounds recursion */ };

static void demand(DhcChunk *c, DhcValue *v, int axis);
static void follow(DhcChunk *c, DhcValue *v);

static int scan_axis(const DhcNode *n) {
  int axis = (int)dhc_attr(n, "axis")->i;
  return axis < 0 ? axis + n->results[0]->type.rank : axis;
}

/* Provably at most half as large as the states. */
static bool is_small(const DhcChunk *c, const DhcValue *v) {
  const DhcDim *n = dhc_dim_mulc(c->m->dims, dhc_type_elements(c->m->dims, &v->type), 2);
  return dhc_dim_le(c->m->dims, &c->f->facts, n, c->states) == DHC_TRUE;
}

/* The axis of `to` that is axis `axis` of `from`, of which it is a reshape; -1: none. */
static int reshaped_axis(DhcDims *cx, const DhcType *from, int axis, const DhcType *to) {
  const DhcDim *before = dhc_dim_product(cx, from->dim, axis);
  for (int i = 0; i < to->rank; i++)
    if (to->dim[i] == from->dim[axis] && dhc_dim_product(cx, to->dim, i) == before) return i;
  return -1;
}

static bool slices_whole(DhcChunk *c, const DhcNode *n, int axis) {
  return dhc_dim_is(dhc_attr(n, "start")->dims.at[axis], 0) && dhc_attr(n, "step")->ints.at[axis] == 1 &&
         dhc_attr(n, "size")->dims.at[axis] == c->length;
}

/* ---- backwards --------------------------------------------------------------------------- */

/* Demands what d needs for its result with the steps at `axis`. False: d cannot be cut. */
static bool through(DhcChunk *c, const DhcNode *d, int axis) {
  DhcValue *x = d->n_args ? d->args[0] : NULL;
  switch (d->op) {
    case DHC_OP_FILL: return true;
    case DHC_OP_IOTA: return dhc_attr(d, "axis")->i != axis;
    case DHC_OP_BROADCAST:
      axis -= d->results[0]->type.rank - x->type.rank;
      if (axis >= 0 && x->type.dim[axis] != c->length) axis = -1;
      demand(c, x, axis < 0 ? -1 : axis);
      return true;
    case DHC_OP_RESHAPE:
      axis = reshaped_axis(c->m->dims, &d->results[0]->type, axis, &x->type);
      if (axis >= 0) demand(c, x, axis);
      return axis >= 0;
    case DHC_OP_TRANSPOSE: demand(c, x, (int)dhc_attr(d, "perm")->ints.at[axis]); return true;
    case DHC_OP_SLICE:
      if (!slices_whole(c, d, axis)) return false;
      demand(c, x, axis);
      return true;
    case DHC_OP_REVERSE:
      if (dhc_edit_lists(dhc_attr(d, "axes"), axis)) return false;
      demand(c, x, axis);
      return true;
    default:
      if (dhc_op_info(d->op)->cls != DHC_CLASS_ELEMENTWISE) return false;
      for (int i = 0; i < d->n_args; i++) demand(c, d->args[i], axis);
      return true;
  }
}

static void add_scan(DhcChunk *c, DhcNode *n, int axis) {
  DhcValue *h = n->results[0];
  if (scan_axis(n) != axis || dhc_attr(n, "reverse")->b != c->reverse || h->type.dim[axis] != c->length) {
    c->ok = false;
    return;
  }
  c->at[h->id] = (DhcChunkValue){DHC_CHUNK_INSIDE, axis, false};
  DHC_PUSH(c->px->scratch, &c->scans, n);
  demand(c, n->args[0], axis);
  demand(c, n->args[1], axis);
  follow(c, h);
}

/* The region wants v with its steps at `axis` (-1: it has none). */
static void demand(DhcChunk *c, DhcValue *v, int axis) {
  DhcChunkValue *w = &c->at[v->id];
  if (!c->ok) return;
  if (w->place != DHC_CHUNK_OUTSIDE) {
    c->ok = w->axis == axis;
    return;
  }
  if (c->depth >= MAX_DEPTH) {
    c->ok = false;
    return;
  }
  c->depth++;
  w->axis = axis;
  bool small = is_small(c, v);
  if (axis < 0) {
    w->place = DHC_CHUNK_CONST;
    DHC_PUSH(c->px->scratch, &c->consts, v);
  } else if (!small && v->def->op == DHC_OP_LINEAR_SCAN) {
    add_scan(c, v->def, axis);
  } else if ((!small || v->def->op == DHC_OP_FILL) && through(c, v->def, axis)) {
    w->place = DHC_CHUNK_INSIDE;
  } else {
    w->place = DHC_CHUNK_LEAF;
    DHC_PUSH(c->px->scratch, &c->leaves, v);
    c->ok = c->ok && small && v->type.rank < DHC_MAX_RANK;
  }
  c->depth--;
}

/* ---- forwards ------------------------------------------------------------------------------ */

static bool is_last(DhcChunk *c, const DhcNode *n, const DhcValue *v, int axis) {
  DhcDims *cx = c->m->dims;
  const DhcAttr *start = dhc_attr(n, "start"), *size = dhc_attr(n, "size");
  if (v->def->op != DHC_OP_LINEAR_SCAN) return false;
  for (int i = 0; i < v->type.rank; i++) {
    const DhcDim *at = dhc_dim_const(cx, 0), *len = i == axis ? dhc_dim_const(cx, 1) : v->type.dim[i];
    if (i == axis && !c->reverse) at = dhc_dim_addc(cx, c->length, -1);
    if (start->dims.at[i] != at || size->dims.at[i] != len || dhc_attr(n, "step")->ints.at[i] != 1) return false;
  }
  return true;
}

/* Where the result of a dot has the steps that its operand k has at `axis`; -1: nowhere. The
 * other operand has them at *other, or is a constant (-1). */
static int dot_axis(const DhcNode *n, int k, int axis, int *other) {
  const DhcAttr *batch[2] = {dhc_attr(n, "batch_a"), dhc_attr(n, "batch_b")};
  const DhcAttr *sum[2] = {dhc_attr(n, "contract_a"), dhc_attr(n, "contract_b")};
  *other = -1;
  for (int i = 0; i < batch[k]->ints.n; i++)
    if (batch[k]->ints.at[i] == axis) {
      *other = (int)batch[1 - k]->ints.at[i];
      return i;
    }
  if (dhc_edit_lists(sum[k], axis)) return -1;
  int at = batch[k]->ints.n;
  if (k == 1) at = n->args[0]->type.rank - sum[0]->ints.n;
  for (int i = 0; i < axis; i++) at += !dhc_edit_lists(batch[k], i) && !dhc_edit_lists(sum[k], i);
  return at;
}

static int reduced_axis(const DhcNode *n, int axis) {
  const DhcAttr *axes = dhc_attr(n, "axes");
  if (dhc_edit_lists(axes, axis)) return -1;
  int at = axis;
  for (int i = 0; i < axes->ints.n && !dhc_attr(n, "keep")->b; i++) at -= axes->ints.at[i] < axis;
  return at;
}

/* Where n's result has the steps that its operand k has at `axis`; -1: n cannot be cut. The
 * other operands are demanded. */
static int result_axis(DhcChunk *c, DhcNode *n, int k, int axis) {
  const DhcType *r = &n->results[0]->type, *x = &n->args[k]->type;
  int other = -1;
  switch (n->op) {
    case DHC_OP_REDUCE_SUM:
    case DHC_OP_REDUCE_MAX:
    case DHC_OP_REDUCE_MIN: return reduced_axis(n, axis);
    case DHC_OP_DOT_GENERAL:
      axis = dot_axis(n, k, axis, &other);
      if (axis >= 0) demand(c, n->args[1 - k], other);
      return axis;
    case DHC_OP_BROADCAST: return axis + r->rank - x->rank;
    case DHC_OP_RESHAPE: return reshaped_axis(c->m->dims, x, axis, r);
    case DHC_OP_TRANSPOSE:
      for (int i = 0; i < r->rank; i++)
        if (dhc_attr(n, "perm")->ints.at[i] == axis) return i;
      return -1;
    case DHC_OP_SLICE: return slices_whole(c, n, axis) ? axis : -1;
    case DHC_OP_REVERSE: return dhc_edit_lists(dhc_attr(n, "axes"), axis) ? -1 : axis;
    default:
      if (dhc_op_info(n->op)->cls != DHC_CLASS_ELEMENTWISE) return -1;
      for (int i = 0; i < n->n_args; i++) demand(c, n->args[i], axis);
      return axis;
  }
}

/* Node n reads the states v: it belongs to the region, too. */
static void follow_use(DhcChunk *c, DhcNode *n, DhcValue *v) {
  int axis = c->at[v->id].axis, k = 0;
  DhcValue *r = n->n_results == 1 ? n->results[0] : NULL;
  if (!r || c->depth >= MAX_DEPTH) {
    c->ok = false;
    return;
  }
  DhcChunkValue *w = &c->at[r->id];
  if (w->place == DHC_CHUNK_INSIDE) return;
  if (n->op == DHC_OP_SLICE && is_last(c, n, v, axis)) {
    DHC_PUSH(c->px->scratch, &c->lasts, n);
    return;
  }
  c->depth++;
  while (n->args[k] != v) k++;
  if (n->op == DHC_OP_LINEAR_SCAN) {
    c->ok = c->ok && n->args[2] != v;
    if (c->ok) add_scan(c, n, axis);
  } else if (w->place == DHC_CHUNK_OUTSIDE && (axis = result_axis(c, n, k, axis)) >= 0) {
    *w = (DhcChunkValue){DHC_CHUNK_INSIDE, axis, is_small(c, r)};
    int last = v->type.rank - 1;
    if (n->op == DHC_OP_REDUCE_SUM) c->folds_last |= dhc_edit_lists(dhc_attr(n, "axes"), last);
    if (n->op == DHC_OP_DOT_GENERAL) c->folds_last |= dhc_edit_lists(dhc_attr(n, k ? "contract_b" : "contract_a"), last);
    if (w->output) DHC_PUSH(c->px->scratch, &c->outputs, r);
    else follow(c, r);
    c->ok = c->ok && r->type.rank < DHC_MAX_RANK;
  } else {
    c->ok = false;
  }
  c->depth--;
}

static void follow(DhcChunk *c, DhcValue *v) {
  for (int i = 0; i < c->f->results.n; i++)
    if (c->f->results.at[i] == v) c->ok = false;
  for (DhcNode *n = v->def->next; c->ok && n; n = n->next)
    for (int i = 0; i < n->n_args; i++)
      if (n->args[i] == v) {
        follow_use(c, n, v);
        break;
      }
}

/* ---- the whole --------------------------------------------------------------------------------- */

/* Values that wait for the region's recurrences, by value id. */
static bool *waiting(const DhcChunk *c) {
  bool *waits = DHC_NEW_N(c->px->scratch, bool, c->f->next_value_id + 1);
  for (int i = 0; i < c->scans.n; i++) waits[c->scans.at[i]->results[0]->id] = true;
  for (const DhcNode *n = c->f->first; n; n = n->next) {
    bool any = false;
    for (int i = 0; i < n->n_args; i++) any |= waits[n->args[i]->id];
    for (int i = 0; any && i < n->n_results; i++) waits[n->results[i]->id] = true;
  }
  return waits;
}

/* What comes in from outside must not wait for the region. */
static bool comes_before(const DhcChunk *c, const bool *waits) {
  for (int i = 0; i < c->leaves.n; i++)
    if (waits[c->leaves.at[i]->id]) return false;
  for (int i = 0; i < c->consts.n; i++)
    if (waits[c->consts.at[i]->id]) return false;
  for (int i = 0; i < c->scans.n; i++)
    if (waits[c->scans.at[i]->args[2]->id]) return false;
  return true;
}

/* States, and what is as large, must not be wanted outside. */
static bool is_closed(const DhcChunk *c, const bool *waits) {
  bool *kept = DHC_NEW_N(c->px->scratch, bool, c->f->next_value_id + 1);
  for (int v = 0; v < c->f->next_value_id; v++)
    kept[v] = waits[v] && c->at[v].place == DHC_CHUNK_INSIDE && !c->at[v].output;
  for (int i = 0; i < c->f->results.n; i++)
    if (kept[c->f->results.at[i]->id]) return false;
  for (const DhcNode *n = c->f->first; n; n = n->next) {
    bool any = false, last = false;
    for (int i = 0; i < n->n_args; i++) any |= kept[n->args[i]->id];
    for (int i = 0; any && i < c->lasts.n; i++) last |= c->lasts.at[i] == n;
    if (any && !last && c->at[n->results[0]->id].place != DHC_CHUNK_INSIDE) return false;
  }
  return true;
}

bool dhc_chunk_region(DhcChunk *c, DhcNode *n) {
  int axis = scan_axis(n);
  const DhcType *t = &n->results[0]->type;
  c->length = t->dim[axis];
  c->states = dhc_type_elements(c->m->dims, t);
  c->reverse = dhc_attr(n, "reverse")->b;
  c->ok = t->rank < DHC_MAX_RANK;
  c->n_values = c->f->next_value_id;
  c->at = DHC_NEW_N(c->px->scratch, DhcChunkValue, c->n_values + 1);
  add_scan(c, n, axis);
  if (!c->ok || !(c->outputs.n + c->lasts.n)) return false;
  const bool *waits = waiting(c);
  return comes_before(c, waits) && is_closed(c, waits);
}
