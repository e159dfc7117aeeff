/* The AXES column of the op table: where each operand axis of a node lies in its result. */
#include "ir/ir_internal.h"
#include "ir/ops_rules.h"

static DhcAxisMap same_as(DhcDims *cx, int result) {
  return (DhcAxisMap){result, dhc_dim_const(cx, 0), 1};
}

static bool lists(const DhcAttr *axes, int axis) {
  for (int i = 0; i < axes->ints.n; i++)
    if (axes->ints.at[i] == axis) return true;
  return false;
}

static int rank_of(const DhcNode *n, int k) {
  return n->args[k]->type.rank;
}

/* All operands have the result's axes. */
bool dhc_axes_same(DhcDims *cx, const DhcNode *n, int k, DhcAxisMap *map) {
  for (int d = 0; d < rank_of(n, k); d++) map[d] = same_as(cx, d);
  return true;
}

/* Axes that go over whole; the others are split or joined. */
bool dhc_axes_reshape(DhcDims *cx, const DhcNode *n, int k, DhcAxisMap *map) {
  const DhcType *from = &n->args[k]->type, *to = &n->results[0]->type;
  for (int d = 0; d < from->rank; d++) {
    const DhcDim *before = dhc_dim_product(cx, from->dim, d);
    map[d] = same_as(cx, DHC_AXIS_MIXED);
    for (int i = to->rank; i-- > 0;)
      if (to->dim[i] == from->dim[d] && dhc_dim_product(cx, to->dim, i) == before) map[d].result = i;
  }
  return true;
}

bool dhc_axes_transpose(DhcDims *cx, const DhcNode *n, int k, DhcAxisMap *map) {
  const DhcAttr *perm = dhc_attr(n, "perm");
  for (int i = 0; i < rank_of(n, k); i++) map[perm->ints.at[i]] = same_as(cx, i);
  return true;
}

bool dhc_axes_broadcast(DhcDims *cx, const DhcNode *n, int k, DhcAxisMap *map) {
  const DhcType *from = &n->args[k]->type, *to = &n->results[0]->type;
  int lead = to->rank - from->rank;
  for (int d = 0; d < from->rank; d++) map[d] = same_as(cx, from->dim[d] == to->dim[lead + d] ? lead + d : DHC_AXIS_NONE);
  return true;
}

bool dhc_axes_slice(DhcDims *cx, const DhcNode *n, int k, DhcAxisMap *map) {
  (void)cx;
  const DhcAttr *start = dhc_attr(n, "start"), *step = dhc_attr(n, "step");
  for (int d = 0; d < rank_of(n, k); d++) map[d] = (DhcAxisMap){d, start->dims.at[d], step->ints.at[d]};
  return true;
}

bool dhc_axes_reverse(DhcDims *cx, const DhcNode *n, int k, DhcAxisMap *map) {
  const DhcAttr *axes = dhc_attr(n, "axes");
  for (int d = 0; d < rank_of(n, k); d++)
    map[d] = lists(axes, d) ? (DhcAxisMap){d, dhc_dim_addc(cx, n->args[k]->type.dim[d], -1), -1} : same_as(cx, d);
  return true;
}

bool dhc_axes_reduce(DhcDims *cx, const DhcNode *n, int k, DhcAxisMap *map) {
  const DhcAttr *axes = dhc_attr(n, "axes");
  bool keep = dhc_attr(n, "keep")->b;
  for (int d = 0, to = 0; d < rank_of(n, k); d++) {
    bool folded = lists(axes, d);
    map[d] = same_as(cx, folded ? DHC_AXIS_FOLDED : to);
    to += keep || !folded;
  }
  return true;
}

/* Result: batch axes, free axes of the first operand, free axes of the second. */
bool dhc_axes_dot_general(DhcDims *cx, const DhcNode *n, int k, DhcAxisMap *map) {
  const DhcAttr *batch = dhc_attr(n, k ? "batch_b" : "batch_a"), *sum = dhc_attr(n, k ? "contract_b" : "contract_a");
  int to = k ? rank_of(n, 0) - dhc_attr(n, "contract_a")->ints.n : batch->ints.n;
  for (int d = 0; d < rank_of(n, k); d++) {
    bool batched = lists(batch, d), folded = lists(sum, d);
    map[d] = same_as(cx, folded ? DHC_AXIS_FOLDED : to);
    to += !batched && !folded;
  }
  for (int i = 0; i < batch->ints.n; i++) map[batch->ints.at[i]].result = i;
  return true;
}

bool dhc_axes(DhcDims *cx, const DhcNode *n, int k, DhcAxisMap *map) {
  const DhcOpInfo *info = dhc_op_info(n->op);
  return info->axes && info->axes(cx, n, k, map);
}

bool dhc_axis_whole(const DhcNode *n, int k, int d, const DhcAxisMap *m) {
  return m->result >= 0 && m->step == 1 && dhc_dim_is(m->start, 0) && n->args[k]->type.dim[d] == n->results[0]->type.dim[m->result];
}
