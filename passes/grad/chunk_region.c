/* Which ops around a recurrence can be computed chunk by chunk. From its operands backwards,
 * elementwise ops and views belong to the region until a value is small beside the states
 * (dt, x, b of a selective scan); from its result forwards until a contraction over states
 * has made it small. Every op of the region treats each step by itself or is a recurrence
 * the same way, so a chunk of steps gives the same bits as all of them. */
#include "passes/grad/chunk.h"
#include "passes/clean/edit.h"

enum { MAX_DEPTH = 400 /* of the search: bounds recursion */, FEW_DEEP = 4, CHEAP = 1 };

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

/* ---- backwards --------------------------------------------------------------------------- */

/* Where operand k of n has what is axis `axis` of its result; -1: it has none; -2: it cannot be said. */
static int operand_axis(DhcChunk *c, const DhcNode *n, int k, int axis) {
  DhcAxisMap map[DHC_MAX_RANK];
  bool mixed = false;
  if (!dhc_axes(c->m->dims, n, k, map)) return -2;
  for (int d = 0; d < n->args[k]->type.rank; d++) {
    if (map[d].result == axis) return dhc_axis_whole(n, k, d, &map[d]) ? d : -2;
    mixed |= map[d].result == DHC_AXIS_MIXED;
  }
  return mixed ? -2 : -1;
}

/* Demands what d needs for its result with the steps at `axis`. False: d cannot be cut. */
static bool through(DhcChunk *c, const DhcNode *d, int axis) {
  if (d->op == DHC_OP_FILL) return true;
  if (d->op == DHC_OP_IOTA) return dhc_attr(d, "axis")->i != axis;
  DhcOpClass cls = dhc_op_info(d->op)->cls;
  if (cls != DHC_CLASS_VIEW && cls != DHC_CLASS_ELEMENTWISE) return false;
  for (int i = 0; i < d->n_args; i++) {
    int at = operand_axis(c, d, i, axis);
    if (at == -2) return false;
    demand(c, d->args[i], at);
  }
  return true;
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

/* ---- what is small, too ---- */

static bool makes(const DhcNode *d) {
  DhcOpClass cls = dhc_op_info(d->op)->cls;
  if (cls == DHC_CLASS_ELEMENTWISE) return dhc_op_work(d->op) <= CHEAP;
  return d->op == DHC_OP_RESHAPE || d->op == DHC_OP_BROADCAST || d->op == DHC_OP_FILL;
}

/* Is v, small beside the states, soon computed from what the region has already? Values that it would have to bring along besides
 * are counted in *fresh. */
static bool follows(DhcChunk *c, DhcValue *v, int axis, int deep, int *fresh) {
  const DhcChunkValue *w = &c->at[v->id];
  if (w->place != DHC_CHUNK_OUTSIDE) return w->axis == axis && (w->place != DHC_CHUNK_INSIDE || is_small(c, v));
  if (axis < 0) return true; /* the same at every step */
  if (!makes(v->def) || deep == FEW_DEEP) return ++*fresh, true;
  for (int i = 0; i < v->def->n_args; i++) {
    int at = operand_axis(c, v->def, i, axis);
    if (at == -2) return deep > 0 ? ++*fresh, true : false;
    if (!follows(c, v->def->args[i], at, deep + 1, fresh)) return false;
  }
  return true;
}

/* A step's part of v is computed where it is used, if no more is brought along for it than v. */
static bool is_light(DhcChunk *c, DhcValue *v, int axis) {
  int fresh = 0;
  return c->joins && makes(v->def) && follows(c, v, axis, 0, &fresh) && fresh <= 1;
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
  } else if ((!small || v->def->op == DHC_OP_FILL || is_light(c, v, axis)) && through(c, v->def, axis)) {
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

/* Where n's result has the steps that its operand k has at `axis`; -1: n cannot be cut. The
 * other operands are demanded. */
static int result_axis(DhcChunk *c, DhcNode *n, int k, int axis) {
  DhcAxisMap map[DHC_MAX_RANK];
  if (!dhc_axes(c->m->dims, n, k, map) || !dhc_axis_whole(n, k, axis, &map[axis])) return -1;
  int to = map[axis].result;
  for (int i = 0; i < n->n_args; i++) {
    int at = i == k ? axis : operand_axis(c, n, i, to);
    if (at == -2) return -1;
    if (i != k) demand(c, n->args[i], at);
  }
  return to;
}

/* The one node that reads r, if all else that it reads is there already and cheap to have: then the region goes on through it. */
static bool goes_on(DhcChunk *c, DhcValue *r, int axis) {
  DhcNode *user = NULL;
  int place = 0, fresh = 0;
  if (!c->joins) return false;
  for (int i = 0; i < c->f->results.n; i++)
    if (c->f->results.at[i] == r) return false;
  for (DhcNode *n = r->def->next; n; n = n->next)
    for (int i = 0; i < n->n_args; i++) {
      if (n->args[i] != r) continue;
      if (user) return false;
      user = n;
      place = i;
    }
  DhcAxisMap map[DHC_MAX_RANK];
  if (!user || user->n_results != 1 || !makes(user) || !dhc_axes(c->m->dims, user, place, map)) return false;
  int to = map[axis].result;
  if (to < 0 || !dhc_axis_whole(user, place, axis, &map[axis]) || !is_small(c, user->results[0])) return false;
  for (int i = 0; i < user->n_args; i++) {
    int at = operand_axis(c, user, i, to);
    if (i != place && (at == -2 || !follows(c, user->args[i], at, 1, &fresh))) return false;
  }
  return !fresh;
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
    w->output = w->output && !goes_on(c, r, axis);
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
