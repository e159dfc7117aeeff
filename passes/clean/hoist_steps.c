/* One step's value for all steps at once, as the STEPS column of the op table says: every op gets one more axis,
 * the steps. The bits are those of the loop, for no op here sums over that axis, and a dot or a reduction works
 * on each output by itself. */
#include "passes/clean/hoist_internal.h"

const DhcDim *dhc_hoist_dim(const DhcHoist *h, const DhcDim *d) {
  return dhc_dim_subst(h->m->dims, d, h->body->symbols.n, h->body->symbols.at, h->dims);
}

typedef DhcSteps (*Rule)(DhcHoist *h, const DhcNode *d);
static Rule rule_of(DhcOp op);

bool dhc_hoist_can(const DhcHoist *h, const DhcNode *n) {
  if (n->n_results != 1 || !rule_of(n->op) || n->results[0]->type.rank >= DHC_MAX_RANK)
    return false;
  for (int i = 0; i < n->n_args; i++)
    if (!h->can[n->args[i]->id]) return false;
  return true;
}

/* ---- attributes ------------------------------------------------------------------------ */

static DhcAttr outside(const DhcHoist *h, const DhcAttr *a) {
  if (a->kind == DHC_ATTR_DIM) return dhc_attr_dim(dhc_hoist_dim(h, a->dim));
  if (a->kind != DHC_ATTR_DIMS) return *a;
  const DhcDim **d = DHC_NEW_N(h->px->scratch, const DhcDim *, a->dims.n + 1);
  for (int i = 0; i < a->dims.n; i++) d[i] = dhc_hoist_dim(h, a->dims.at[i]);
  return dhc_attr_dims(h->m, d, a->dims.n);
}

/* Type of v outside, with the steps at `axis`. */
static DhcType stepped_type(const DhcHoist *h, const DhcValue *v, int axis) {
  DhcType t = {.dtype = v->type.dtype};
  for (int i = 0; i <= v->type.rank; i++) {
    if (i == axis) t.dim[t.rank++] = h->length;
    if (i < v->type.rank) t.dim[t.rank++] = dhc_hoist_dim(h, v->type.dim[i]);
  }
  return t;
}

/* Axes of one step as axes of all steps; returns their number. */
static int shift(const DhcAttr *axes, int at, int64_t *out) {
  for (int i = 0; i < axes->ints.n; i++)
    out[i] = axes->ints.at[i] + (at >= 0 && axes->ints.at[i] >= at);
  return axes->ints.n;
}

/* ---- moving the axis of steps ----------------------------------------------------------- */

static DhcValue *move_axis(DhcHoist *h, DhcValue *v, int from, int to) {
  if (!v || from == to) return v;
  int64_t perm[DHC_MAX_RANK];
  int k = 0, rank = v->type.rank;
  for (int i = 0; i < rank; i++) {
    if (k == to) perm[k++] = from;
    if (i != from) perm[k++] = i;
  }
  if (k == to) perm[k] = from;
  return dhc_b_transpose(&h->b, v, perm);
}

/* Operand of an elementwise op or concat with the steps at `axis`; one that is the same at
 * every step is stretched over them. */
static DhcValue *aligned(DhcHoist *h, DhcValue *inner, int axis) {
  DhcSteps s = dhc_hoist_steps(h, inner);
  if (!s.v || s.axis >= 0) return move_axis(h, s.v, s.axis, axis);
  DhcType t = stepped_type(h, inner, axis), one = t;
  one.dim[axis] = dhc_dim_const(h->m->dims, 1);
  DhcValue *v = dhc_b_reshape(&h->b, s.v, one.dim, one.rank);
  return v ? dhc_b_broadcast(&h->b, v, t.dim, t.rank) : NULL;
}

DhcValue *dhc_hoist_steps_at(DhcHoist *h, DhcValue *v, int axis) {
  DhcSteps s = dhc_hoist_steps(h, v);
  return s.axis < 0 ? aligned(h, v, axis) : move_axis(h, s.v, s.axis, axis);
}

/* ---- ops ------------------------------------------------------------------------------------ */

/* The node as it is, on operands that are the same at every step. */
static DhcSteps constant(DhcHoist *h, const DhcNode *d) {
  DhcValue **args = DHC_NEW_N(h->px->scratch, DhcValue *, d->n_args + 1);
  DhcAttr attrs[DHC_MAX_ATTRS];
  for (int i = 0; i < d->n_args; i++)
    if (!(args[i] = dhc_hoist_steps(h, d->args[i]).v)) return (DhcSteps){NULL, -1};
  int n = dhc_op_info(d->op)->n_attrs;
  for (int i = 0; i < n; i++) attrs[i] = outside(h, &d->attrs[i]);
  return (DhcSteps){dhc_build1(&h->b, d->op, args, d->n_args, attrs, n), -1};
}

/* Where the steps are in the first operand that has them. */
static int first_axis(DhcHoist *h, const DhcNode *d) {
  for (int i = 0; i < d->n_args; i++)
    if (h->stepped[d->args[i]->id]) return dhc_hoist_steps(h, d->args[i]).axis;
  return -1;
}

/* Operands with the steps at *axis, where the first that has them has them; NULL after a diagnostic. */
static DhcValue **all_aligned(DhcHoist *h, const DhcNode *d, int *axis) {
  DhcValue **args = DHC_NEW_N(h->px->scratch, DhcValue *, d->n_args + 1);
  *axis = first_axis(h, d);
  for (int i = 0; i < d->n_args; i++)
    if (!(args[i] = aligned(h, d->args[i], *axis))) return NULL;
  return args;
}

#define RULE(name) static DhcSteps steps_##name(DhcHoist *h, const DhcNode *d)
static const DhcSteps none = {NULL, -1};

/* What has no operands is the same at every step. */
RULE(same) {
  return constant(h, d);
}

RULE(elementwise) {
  int axis;
  DhcValue **args = all_aligned(h, d, &axis);
  if (!args) return none;
  return (DhcSteps){dhc_build1(&h->b, d->op, args, d->n_args, d->attrs, dhc_op_info(d->op)->n_attrs), axis};
}

RULE(concat) {
  int axis, along = (int)dhc_attr(d, "axis")->i;
  DhcValue **args = all_aligned(h, d, &axis);
  if (!args) return none;
  return (DhcSteps){dhc_b_concat(&h->b, args, d->n_args, along + (along >= axis)), axis};
}

RULE(broadcast) {
  DhcSteps x = dhc_hoist_steps(h, d->args[0]);
  if (!x.v) return none;
  int axis = x.axis + d->results[0]->type.rank - d->args[0]->type.rank;
  DhcType t = stepped_type(h, d->results[0], axis);
  return (DhcSteps){dhc_b_broadcast(&h->b, x.v, t.dim, t.rank), axis};
}

RULE(slice) {
  DhcSteps x = dhc_hoist_steps(h, d->args[0]);
  const DhcAttr *start = dhc_attr(d, "start"), *size = dhc_attr(d, "size"), *step = dhc_attr(d, "step");
  const DhcDim *from[DHC_MAX_RANK], *len[DHC_MAX_RANK];
  int64_t by[DHC_MAX_RANK];
  int k = 0;
  if (!x.v) return none;
  for (int i = 0; i <= start->dims.n; i++) {
    if (i == x.axis) {
      from[k] = dhc_dim_const(h->m->dims, 0);
      len[k] = h->length;
      by[k++] = 1;
    }
    if (i == start->dims.n) break;
    from[k] = dhc_hoist_dim(h, start->dims.at[i]);
    len[k] = dhc_hoist_dim(h, size->dims.at[i]);
    by[k++] = step->ints.at[i];
  }
  DhcAttr attrs[3] = {dhc_attr_dims(h->m, from, k), dhc_attr_dims(h->m, len, k), dhc_attr_ints(h->m, by, k)};
  return (DhcSteps){dhc_build1(&h->b, DHC_OP_SLICE, &x.v, 1, attrs, 3), x.axis};
}

/* The operand with the steps in front: the rest is as it was. */
static DhcValue *in_front(DhcHoist *h, const DhcNode *d) {
  DhcSteps x = dhc_hoist_steps(h, d->args[0]);
  return move_axis(h, x.v, x.axis, 0);
}

RULE(reshape) {
  DhcValue *v = in_front(h, d);
  DhcType t = stepped_type(h, d->results[0], 0);
  return (DhcSteps){v ? dhc_b_reshape(&h->b, v, t.dim, t.rank) : NULL, 0};
}

RULE(transpose) {
  DhcValue *v = in_front(h, d);
  int64_t perm[DHC_MAX_RANK] = {0};
  shift(dhc_attr(d, "perm"), 0, perm + 1);
  return (DhcSteps){v ? dhc_b_transpose(&h->b, v, perm) : NULL, 0};
}

RULE(reduce) {
  DhcSteps x = dhc_hoist_steps(h, d->args[0]);
  if (!x.v) return x;
  int64_t axes[DHC_MAX_RANK];
  bool keep = dhc_attr(d, "keep")->b;
  int n = shift(dhc_attr(d, "axes"), x.axis, axes), at = x.axis;
  for (int i = 0; !keep && i < n; i++) at -= axes[i] < x.axis;
  return (DhcSteps){dhc_b_reduce(&h->b, d->op, x.v, axes, n, keep), at};
}

/* The steps are a free axis of the one operand that has them, or a batch axis of both. */
RULE(dot) {
  DhcSteps a = dhc_hoist_steps(h, d->args[0]), b = dhc_hoist_steps(h, d->args[1]);
  if (!a.v || !b.v) return (DhcSteps){NULL, -1};
  int64_t ba[DHC_MAX_RANK], bb[DHC_MAX_RANK], ca[DHC_MAX_RANK], cb[DHC_MAX_RANK];
  int both = a.axis >= 0 && b.axis >= 0, at = 0;
  if (both) {
    ba[0] = a.axis;
    bb[0] = b.axis;
  }
  int n_batch = both + shift(dhc_attr(d, "batch_a"), a.axis, ba + both);
  shift(dhc_attr(d, "batch_b"), b.axis, bb + both);
  int n = shift(dhc_attr(d, "contract_a"), a.axis, ca);
  shift(dhc_attr(d, "contract_b"), b.axis, cb);
  if (!both) {
    /* batch axes, free axes of a, free axes of b: count those in front of the steps */
    const DhcSteps *s = a.axis >= 0 ? &a : &b;
    const int64_t *batch = s == &a ? ba : bb, *contract = s == &a ? ca : cb;
    at = n_batch + (s == &b ? a.v->type.rank - n_batch - n : 0) + s->axis;
    for (int i = 0; i < n_batch; i++) at -= batch[i] < s->axis;
    for (int i = 0; i < n; i++) at -= contract[i] < s->axis;
  }
  return (DhcSteps){dhc_b_dot(&h->b, a.v, b.v, ba, bb, n_batch, ca, cb, n), at};
}

static Rule rule_of(DhcOp op) {
  static const struct {
    DhcOp op;
    Rule rule;
  } table[DHC_N_OPS + 1] = {
#define STEPS(name) .rule = steps_##name,
#include "ir/ops_column.h"
  };
  return table[op].rule;
}

static DhcSteps build(DhcHoist *h, DhcValue *v) {
  const DhcNode *d = v->def;
  if (d->op == DHC_OP_PARAM) {
    int i = 0;
    while (h->body->params.at[i] != v) i++;
    bool x = i >= h->n_carry && i < h->n_carry + h->n_xs;
    return (DhcSteps){h->n->args[i], x ? h->axis : -1};
  }
  h->b.span = d->span;
  h->b.origin = d->origin;
  if (!h->stepped[v->id]) return constant(h, d);
  return rule_of(d->op)(h, d);
}

DhcSteps dhc_hoist_steps(DhcHoist *h, DhcValue *v) {
  if (!h->done[v->id].v) h->done[v->id] = build(h, v);
  return h->done[v->id];
}
