/* Rules on views and data movement. They move the same bits along a shorter way, so every
 * one is exact; conditions on extents are decided by the facts of the function, and what is
 * undecided stays as it is. */
#include "passes/clean/simplify_internal.h"

#define RULE(name) static bool name(DhcSimplify *s, DhcNode *n, DhcValue **out)

static bool becomes(DhcValue **out, DhcValue *v) {
  out[0] = v;
  return v != NULL;
}

static bool same_type(const DhcNode *n) {
  return dhc_type_equal(&n->args[0]->type, &n->results[0]->type);
}

/* A fill of the result's type with the operand's value: for ops that only move elements. */
RULE(moved_fill) {
  DhcNode *d = n->args[0]->def;
  return d->op == DHC_OP_FILL &&
         becomes(out, dhc_b_fill(&s->b, &n->results[0]->type, dhc_attr(d, "value")->f));
}

/* ---- reshape, transpose, broadcast, reverse ------------------------------------------- */

RULE(view_same) {
  (void)s;
  return same_type(n) && becomes(out, n->args[0]);
}

RULE(reshape_reshape) {
  DhcNode *d = n->args[0]->def;
  const DhcType *t = &n->results[0]->type;
  return d->op == DHC_OP_RESHAPE && becomes(out, dhc_b_reshape(&s->b, d->args[0], t->dim, t->rank));
}

RULE(transpose_identity) {
  (void)s;
  const DhcAttr *perm = dhc_attr(n, "perm");
  for (int i = 0; i < perm->ints.n; i++)
    if (perm->ints.at[i] != i) return false;
  return becomes(out, n->args[0]);
}

/* Only axes of a known 1 change places. */
RULE(transpose_ones) {
  const DhcAttr *perm = dhc_attr(n, "perm");
  const DhcType *x = &n->args[0]->type, *t = &n->results[0]->type;
  int64_t last = -1;
  for (int i = 0; i < perm->ints.n; i++) {
    if (dhc_dim_is(x->dim[perm->ints.at[i]], 1)) continue;
    if (perm->ints.at[i] < last) return false;
    last = perm->ints.at[i];
  }
  return becomes(out, dhc_b_reshape(&s->b, n->args[0], t->dim, t->rank));
}

RULE(transpose_transpose) {
  DhcNode *d = n->args[0]->def;
  if (d->op != DHC_OP_TRANSPOSE) return false;
  const DhcAttr *outer = dhc_attr(n, "perm"), *inner = dhc_attr(d, "perm");
  int64_t perm[DHC_MAX_RANK];
  for (int i = 0; i < outer->ints.n; i++) perm[i] = inner->ints.at[outer->ints.at[i]];
  return becomes(out, dhc_b_transpose(&s->b, d->args[0], perm));
}

/* Per range (a^T d)^T = d^T a: the same products, added in the same order. */
RULE(transpose_ragged_dw) {
  DhcNode *d = n->args[0]->def;
  const DhcAttr *perm = dhc_attr(n, "perm");
  if (d->op != DHC_OP_RAGGED_DOT_DW || perm->ints.at[0] != 0 || perm->ints.at[1] != 2) return false;
  DhcValue *args[] = {d->args[1], d->args[0], d->args[2]};
  return becomes(out, dhc_build1(&s->b, DHC_OP_RAGGED_DOT_DW, args, 3, NULL, 0));
}

RULE(broadcast_broadcast) {
  DhcNode *d = n->args[0]->def;
  const DhcType *t = &n->results[0]->type;
  return d->op == DHC_OP_BROADCAST &&
         becomes(out, dhc_b_broadcast(&s->b, d->args[0], t->dim, t->rank));
}

/* broadcast(reshape(x)) where the reshape only put ones in front. */
RULE(broadcast_lead) {
  DhcNode *d = n->args[0]->def;
  if (d->op != DHC_OP_RESHAPE) return false;
  const DhcType *x = &d->args[0]->type, *r = &n->args[0]->type, *t = &n->results[0]->type;
  int lead = r->rank - x->rank;
  if (lead <= 0) return false;
  for (int i = 0; i < r->rank; i++)
    if (i < lead ? !dhc_dim_is(r->dim[i], 1) : r->dim[i] != x->dim[i - lead]) return false;
  return becomes(out, dhc_b_broadcast(&s->b, d->args[0], t->dim, t->rank));
}

RULE(reverse_reverse) {
  (void)s;
  DhcNode *d = n->args[0]->def;
  if (d->op != DHC_OP_REVERSE) return false;
  unsigned a = 0, b = 0;
  const DhcAttr *x = dhc_attr(n, "axes"), *y = dhc_attr(d, "axes");
  for (int i = 0; i < x->ints.n; i++) a |= 1u << x->ints.at[i];
  for (int i = 0; i < y->ints.n; i++) b |= 1u << y->ints.at[i];
  return a == b && becomes(out, d->args[0]);
}

RULE(reverse_ones) {
  (void)s;
  const DhcAttr *x = dhc_attr(n, "axes");
  for (int i = 0; i < x->ints.n; i++)
    if (!dhc_dim_is(n->args[0]->type.dim[x->ints.at[i]], 1)) return false;
  return becomes(out, n->args[0]);
}

/* ---- slice, concat, pad ------------------------------------------------------------------ */

RULE(slice_whole) {
  (void)s;
  const DhcAttr *start = dhc_attr(n, "start"), *step = dhc_attr(n, "step");
  if (!same_type(n)) return false;
  for (int i = 0; i < start->dims.n; i++)
    if (!dhc_dim_is(start->dims.at[i], 0) || step->ints.at[i] != 1) return false;
  return becomes(out, n->args[0]);
}

static DhcValue *build_slice(DhcSimplify *s, DhcValue *x, const DhcDim *const *start,
                             const DhcAttr *size, const int64_t *step) {
  DhcAttr attrs[3] = {dhc_attr_dims(s->m, start, x->type.rank), *size,
                      dhc_attr_ints(s->m, step, x->type.rank)};
  return dhc_build1(&s->b, DHC_OP_SLICE, &x, 1, attrs, 3);
}

RULE(slice_slice) {
  DhcNode *d = n->args[0]->def;
  if (d->op != DHC_OP_SLICE) return false;
  const DhcAttr *s2 = dhc_attr(n, "start"), *s1 = dhc_attr(d, "start");
  const DhcAttr *p2 = dhc_attr(n, "step"), *p1 = dhc_attr(d, "step");
  const DhcDim *start[DHC_MAX_RANK];
  int64_t step[DHC_MAX_RANK];
  for (int i = 0; i < s2->dims.n; i++) {
    const DhcDim *in = dhc_dim_mulc(s->m->dims, s2->dims.at[i], p1->ints.at[i]);
    start[i] = dhc_dim_add(s->m->dims, s1->dims.at[i], in);
    if (__builtin_mul_overflow(p1->ints.at[i], p2->ints.at[i], &step[i])) return false;
  }
  return becomes(out, build_slice(s, d->args[0], start, dhc_attr(n, "size"), step));
}

static bool at_most(DhcSimplify *s, const DhcDim *a, const DhcDim *b) {
  return dhc_dim_le(s->m->dims, s->facts, a, b) == DHC_TRUE;
}

/* First element past the slice, on axis i. */
static const DhcDim *slice_end(DhcSimplify *s, const DhcNode *n, int i) {
  DhcDims *cx = s->m->dims;
  const DhcDim *more = dhc_dim_addc(cx, dhc_attr(n, "size")->dims.at[i], -1);
  more = dhc_dim_mulc(cx, more, dhc_attr(n, "step")->ints.at[i]);
  return dhc_dim_addc(cx, dhc_dim_add(cx, dhc_attr(n, "start")->dims.at[i], more), 1);
}

/* The slice lies within one operand of the concat. */
RULE(slice_concat) {
  DhcNode *d = n->args[0]->def;
  if (d->op != DHC_OP_CONCAT) return false;
  DhcDims *cx = s->m->dims;
  int axis = (int)dhc_attr(d, "axis")->i;
  const DhcAttr *start = dhc_attr(n, "start");
  const DhcDim *at = dhc_dim_const(cx, 0), *from = start->dims.at[axis];
  const DhcDim *end = slice_end(s, n, axis);
  for (int k = 0; k < d->n_args; k++) {
    const DhcDim *next = dhc_dim_add(cx, at, d->args[k]->type.dim[axis]);
    if (at_most(s, at, from) && at_most(s, end, next)) {
      const DhcDim *moved[DHC_MAX_RANK];
      for (int i = 0; i < start->dims.n; i++) moved[i] = start->dims.at[i];
      moved[axis] = dhc_dim_sub(cx, from, at);
      return becomes(out, build_slice(s, d->args[k], moved, dhc_attr(n, "size"),
                                      dhc_attr(n, "step")->ints.at));
    }
    at = next;
  }
  return false;
}

/* The slice touches nothing that the pad added. */
RULE(slice_pad) {
  DhcNode *d = n->args[0]->def;
  if (d->op != DHC_OP_PAD) return false;
  DhcDims *cx = s->m->dims;
  const DhcType *x = &d->args[0]->type;
  const DhcAttr *low = dhc_attr(d, "low"), *gap = dhc_attr(d, "step");
  const DhcAttr *start = dhc_attr(n, "start"), *step = dhc_attr(n, "step");
  const DhcDim *moved[DHC_MAX_RANK];
  int64_t by[DHC_MAX_RANK];
  for (int i = 0; i < x->rank; i++) {
    const DhcDim *end = dhc_dim_sub(cx, slice_end(s, n, i), low->dims.at[i]);
    moved[i] = dhc_dim_sub(cx, start->dims.at[i], low->dims.at[i]);
    by[i] = step->ints.at[i];
    if (gap->ints.at[i] != 1) { /* zeros between: only the exact inverse */
      if (!dhc_dim_is(moved[i], 0) || by[i] != gap->ints.at[i]) return false;
      if (dhc_attr(n, "size")->dims.at[i] != x->dim[i]) return false;
      by[i] = 1;
    } else if (!at_most(s, dhc_dim_const(cx, 0), moved[i]) || !at_most(s, end, x->dim[i])) {
      return false;
    }
  }
  return becomes(out, build_slice(s, d->args[0], moved, dhc_attr(n, "size"), by));
}

RULE(concat_one) {
  (void)s;
  return n->n_args == 1 && becomes(out, n->args[0]);
}

RULE(concat_fills) {
  DhcScalar first, other;
  if (!dhc_simplify_const(n->args[0], &first)) return false;
  for (int k = 1; k < n->n_args; k++)
    if (!dhc_simplify_const(n->args[k], &other) || memcmp(&first, &other, sizeof first) != 0)
      return false;
  return becomes(out, dhc_b_fill(&s->b, &n->results[0]->type,
                                 dhc_attr(n->args[0]->def, "value")->f));
}

/* Unit-step slice of `of` that continues at `at` on `axis` and is whole elsewhere. */
static bool continues(const DhcValue *v, const DhcValue *of, int axis, const DhcDim *at) {
  const DhcNode *d = v->def;
  if (d->op != DHC_OP_SLICE || d->args[0] != of) return false;
  const DhcAttr *start = dhc_attr(d, "start"), *step = dhc_attr(d, "step");
  for (int i = 0; i < start->dims.n; i++) {
    if (step->ints.at[i] != 1) return false;
    if (i == axis ? start->dims.at[i] != at
                  : !dhc_dim_is(start->dims.at[i], 0) || v->type.dim[i] != of->type.dim[i])
      return false;
  }
  return true;
}

/* Neighbouring slices of one value, in order, are one slice. */
RULE(concat_slices) {
  DhcNode *d = n->args[0]->def;
  if (d->op != DHC_OP_SLICE || n->n_args < 2) return false;
  int axis = (int)dhc_attr(n, "axis")->i;
  const DhcDim *begin = dhc_attr(d, "start")->dims.at[axis], *at = begin;
  for (int k = 0; k < n->n_args; k++) {
    if (!continues(n->args[k], d->args[0], axis, at)) return false;
    at = dhc_dim_add(s->m->dims, at, n->args[k]->type.dim[axis]);
  }
  return becomes(out, dhc_b_slice(&s->b, d->args[0], axis, begin,
                                  dhc_dim_sub(s->m->dims, at, begin)));
}

RULE(concat_concat) {
  DhcNode *d = NULL;
  int at = 0;
  for (; at < n->n_args; at++) {
    d = n->args[at]->def;
    if (d->op == DHC_OP_CONCAT && dhc_attr(d, "axis")->i == dhc_attr(n, "axis")->i) break;
  }
  if (at == n->n_args) return false;
  DhcValue **args = DHC_NEW_N(s->px->scratch, DhcValue *, n->n_args + d->n_args);
  int k = 0;
  for (int i = 0; i < at; i++) args[k++] = n->args[i];
  for (int i = 0; i < d->n_args; i++) args[k++] = d->args[i];
  for (int i = at + 1; i < n->n_args; i++) args[k++] = n->args[i];
  return becomes(out, dhc_b_concat(&s->b, args, k, (int)dhc_attr(n, "axis")->i));
}

RULE(pad_none) {
  (void)s;
  const DhcAttr *low = dhc_attr(n, "low"), *high = dhc_attr(n, "high");
  for (int i = 0; i < low->dims.n; i++)
    if (!dhc_dim_is(low->dims.at[i], 0) || !dhc_dim_is(high->dims.at[i], 0)) return false;
  return same_type(n) && becomes(out, n->args[0]);
}

RULE(pad_pad) {
  DhcNode *d = n->args[0]->def;
  if (d->op != DHC_OP_PAD) return false;
  const DhcDim *low[DHC_MAX_RANK], *high[DHC_MAX_RANK];
  const DhcAttr *step = dhc_attr(n, "step"), *inner = dhc_attr(d, "step");
  for (int i = 0; i < step->ints.n; i++) {
    if (step->ints.at[i] != 1) return false;
    low[i] = dhc_dim_add(s->m->dims, dhc_attr(n, "low")->dims.at[i],
                         dhc_attr(d, "low")->dims.at[i]);
    high[i] = dhc_dim_add(s->m->dims, dhc_attr(n, "high")->dims.at[i],
                          dhc_attr(d, "high")->dims.at[i]);
  }
  DhcAttr attrs[3] = {dhc_attr_dims(s->m, low, step->ints.n),
                      dhc_attr_dims(s->m, high, step->ints.n), *inner};
  return becomes(out, dhc_build1(&s->b, DHC_OP_PAD, d->args, 1, attrs, 3));
}

RULE(pad_zeros) {
  return dhc_simplify_is(n->args[0], 0) &&
         becomes(out, dhc_b_fill(&s->b, &n->results[0]->type, 0));
}

/* Start is a constant known to lie inside, so that nothing is clamped. */
RULE(dynamic_slice_const) {
  DhcScalar c;
  const DhcDim *start, *size = dhc_attr(n, "size")->dim;
  int axis = (int)dhc_attr(n, "axis")->i;
  if (dhc_simplify_from(n->args[1], DHC_OP_DIM))
    start = dhc_attr(n->args[1]->def, "dim")->dim;
  else if (dhc_simplify_const(n->args[1], &c))
    start = dhc_dim_const(s->m->dims, c.i);
  else
    return false;
  const DhcDim *end = dhc_dim_add(s->m->dims, start, size);
  if (!at_most(s, dhc_dim_const(s->m->dims, 0), start) ||
      !at_most(s, end, n->args[0]->type.dim[axis]))
    return false;
  return becomes(out, dhc_b_slice(&s->b, n->args[0], axis, start, size));
}

#define MOVES(op) {"moved_fill", DHC_OP_##op, moved_fill, "all elements are equal"}

const DhcRule dhc_rules_shape[] = {
    MOVES(RESHAPE), MOVES(TRANSPOSE), MOVES(BROADCAST), MOVES(SLICE), MOVES(REVERSE),
    MOVES(DYNAMIC_SLICE),
    {"view_same", DHC_OP_RESHAPE, view_same, "same shape"},
    {"view_same", DHC_OP_BROADCAST, view_same, "same shape"},
    {"reshape_reshape", DHC_OP_RESHAPE, reshape_reshape, "row-major order is kept by both"},
    {"transpose_identity", DHC_OP_TRANSPOSE, transpose_identity, "same order of axes"},
    {"transpose_ones", DHC_OP_TRANSPOSE, transpose_ones, "axes of a known 1 hold no order"},
    {"transpose_transpose", DHC_OP_TRANSPOSE, transpose_transpose, "permutations compose"},
    {"transpose_ragged_dw", DHC_OP_TRANSPOSE, transpose_ragged_dw, "swaps the two outer axes of each range's product"},
    {"broadcast_broadcast", DHC_OP_BROADCAST, broadcast_broadcast, "both stretch from the right"},
    {"broadcast_lead", DHC_OP_BROADCAST, broadcast_lead, "broadcast adds the ones itself"},
    {"reverse_ones", DHC_OP_REVERSE, reverse_ones, "one element has no order"},
    {"reverse_reverse", DHC_OP_REVERSE, reverse_reverse, "same axes twice"},
    {"slice_whole", DHC_OP_SLICE, slice_whole, "starts at 0, step 1, same shape"},
    {"slice_slice", DHC_OP_SLICE, slice_slice, "starts and steps compose"},
    {"slice_concat", DHC_OP_SLICE, slice_concat, "known to lie within one operand"},
    {"slice_pad", DHC_OP_SLICE, slice_pad, "known to lie within what was padded"},
    {"concat_one", DHC_OP_CONCAT, concat_one, "one operand"},
    {"concat_fills", DHC_OP_CONCAT, concat_fills, "all elements are equal"},
    {"concat_slices", DHC_OP_CONCAT, concat_slices, "neighbours of one value, in order"},
    {"concat_concat", DHC_OP_CONCAT, concat_concat, "same axis"},
    {"pad_none", DHC_OP_PAD, pad_none, "nothing added"},
    {"pad_pad", DHC_OP_PAD, pad_pad, "the outer has step 1"},
    {"pad_zeros", DHC_OP_PAD, pad_zeros, "+0 around +0"},
    {"dynamic_slice_const", DHC_OP_DYNAMIC_SLICE, dynamic_slice_const, "start is known inside"},
};
const int dhc_n_rules_shape = (int)(sizeof dhc_rules_shape / sizeof *dhc_rules_shape);
