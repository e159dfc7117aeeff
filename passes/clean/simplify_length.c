/* Rules where an extent is known to be 1: reductions, recurrences of one step, depthwise
 * convolutions over one place. */
#include "passes/clean/depthwise.h"
#include "passes/clean/edit.h"
#include "passes/clean/simplify_internal.h"

#define RULE(name) static bool name(DhcSimplify *s, DhcNode *n, DhcValue **out)

static bool becomes(DhcValue **out, DhcValue *v) {
  out[0] = v;
  return v != NULL;
}

static bool reduces_ones(const DhcNode *n) {
  const DhcAttr *axes = dhc_attr(n, "axes");
  for (int i = 0; i < axes->ints.n; i++)
    if (!dhc_dim_is(n->args[0]->type.dim[axes->ints.at[i]], 1)) return false;
  return true;
}

RULE(reduce_ones) {
  const DhcType *t = &n->results[0]->type;
  return reduces_ones(n) && becomes(out, dhc_b_reshape(&s->b, n->args[0], t->dim, t->rank));
}

RULE(extreme_fill) {
  DhcNode *d = n->args[0]->def;
  return d->op == DHC_OP_FILL &&
         becomes(out, dhc_b_fill(&s->b, &n->results[0]->type, dhc_attr(d, "value")->f));
}

/* h = fma(a, h0, b), or b where a forgets, flushed if asked. */
RULE(linear_scan_one) {
  const DhcType *t = &n->results[0]->type;
  if (!dhc_dim_is(t->dim[dhc_attr(n, "axis")->i], 1)) return false;
  DhcValue *h0 = dhc_b_reshape(&s->b, n->args[2], t->dim, t->rank);
  if (!h0) return false;
  DhcValue *args[3] = {n->args[0], h0, n->args[1]};
  DhcValue *h = dhc_build1(&s->b, DHC_OP_FMA, args, 3, NULL, 0);
  if (dhc_attr(n, "forget")->b) {
    DhcValue *anew = dhc_b_binary(&s->b, DHC_OP_EQ, n->args[0], dhc_b_fill(&s->b, t, 0));
    h = dhc_b_select(&s->b, anew, n->args[1], h);
  }
  return becomes(out, dhc_attr(n, "flush")->b ? dhc_b_flush(&s->b, h) : h);
}

/* Operand k of a dot without contraction, laid out as the result: its batch axes, its free axes
 * and ones for the other's. */
static DhcValue *spread(DhcSimplify *s, const DhcNode *n, int k) {
  const DhcType *r = &n->results[0]->type;
  const DhcAttr *batch = dhc_attr(n, k ? "batch_b" : "batch_a");
  int64_t perm[DHC_MAX_RANK];
  const DhcDim *dim[DHC_MAX_RANK];
  int rank = n->args[k]->type.rank, n_batch = batch->ints.n, at = n_batch;
  bool used[DHC_MAX_RANK] = {false};
  for (int i = 0; i < n_batch; i++) used[perm[i] = batch->ints.at[i]] = true;
  for (int i = 0; i < rank; i++)
    if (!used[i]) perm[at++] = i;
  int skip = k ? r->rank - rank : 0; /* a's free axes come before b's */
  for (int i = 0; i < r->rank; i++) {
    bool own = i < n_batch || (i >= n_batch + skip && i < rank + skip);
    dim[i] = own ? r->dim[i] : dhc_dim_const(s->m->dims, 1);
  }
  DhcValue *v = dhc_b_transpose(&s->b, n->args[k], perm);
  if (v) v = dhc_b_reshape(&s->b, v, dim, r->rank);
  return v ? dhc_b_broadcast(&s->b, v, r->dim, r->rank) : NULL;
}

/* An outer product: one step of the chain, elementwise. */
RULE(dot_outer) {
  const DhcType *r = &n->results[0]->type;
  if (dhc_attr(n, "contract_a")->ints.n || (r->dtype != DHC_F32 && r->dtype != DHC_F64)) return false;
  DhcValue *args[3] = {spread(s, n, 0), spread(s, n, 1), dhc_b_fill(&s->b, r, 0)};
  return args[0] && args[1] && args[2] && becomes(out, dhc_build1(&s->b, DHC_OP_FMA, args, 3, NULL, 0));
}

/* From rest, h0 = 0, what a multiplies is nothing: h = b, flushed (unless -0 could tell). */
RULE(linear_scan_rest) {
  const DhcType *t = &n->results[0]->type;
  if (!dhc_dim_is(t->dim[dhc_attr(n, "axis")->i], 1) || !dhc_simplify_is(n->args[2], 0) || !dhc_attr(n, "flush")->b) return false;
  return becomes(out, dhc_b_flush(&s->b, n->args[1]));
}

/* Tap that the one place of the input meets in spatial dimension i, where input and output
 * have one place each; -1: none, or more is known of neither. */
static int64_t only_tap(const DhcNode *n, int i) {
  int64_t low = dhc_attr(n, "pad_low")->ints.at[i], step = dhc_attr(n, "dilation")->ints.at[i], taps;
  if (!dhc_dim_is(n->args[0]->type.dim[2 + i], 1) || !dhc_dim_is(n->results[0]->type.dim[2 + i], 1)) return -1;
  if (!dhc_dim_is_const(n->args[1]->type.dim[2 + i], &taps) || low % step || low / step >= taps) return -1;
  return low / step;
}

/* Each channel by itself over one place: y = fma(x, w[tap], 0), the only step of the chain
 * that counts. */
RULE(conv_one) {
  const DhcType *t = &n->results[0]->type;
  int64_t tap[DHC_MAX_RANK];
  if (!dhc_depthwise_is(n)) return false;
  for (int i = 0; i < t->rank - 2; i++)
    if ((tap[i] = only_tap(n, i)) < 0) return false;
  return becomes(out, dhc_depthwise_step(&s->b, n, tap, n->args[0], dhc_b_fill(&s->b, t, 0)));
}

/* One step: the body in place of the loop. A chunk of a recurrence stays as it is: its kernels are those of the other chunks. */
RULE(scan_one) {
  DhcFunc *body = dhc_attr(n, "body")->func;
  if (!dhc_dim_is(dhc_attr(n, "length")->dim, 1) || dhc_edit_has_steps(body)) return false;
  int n_carry = (int)dhc_attr(n, "n_carry")->i, n_xs = (int)dhc_attr(n, "n_xs")->i;
  DhcValue **args = DHC_NEW_N(s->px->scratch, DhcValue *, n->n_args + 1);
  for (int i = 0; i < n->n_args; i++) args[i] = n->args[i];
  /* The body's own types speak of its symbols, so x's shape comes from the operand. */
  int axis = (int)dhc_attr(n, "axis")->i;
  for (int i = n_carry; i < n_carry + n_xs; i++) {
    const DhcType *x = &n->args[i]->type;
    const DhcDim *dim[DHC_MAX_RANK];
    int k = 0;
    for (int j = 0; j < x->rank; j++)
      if (j != axis) dim[k++] = x->dim[j];
    args[i] = dhc_b_reshape(&s->b, n->args[i], dim, k);
    if (!args[i]) return false;
  }
  DhcAttr attrs[2] = {dhc_attr_func(body), *dhc_attr(n, "dims")};
  DhcNode *call = dhc_build(&s->b, DHC_OP_CALL, args, n->n_args, attrs, 2);
  if (!call) return false;
  for (int i = 0; i < n->n_results; i++) {
    const DhcType *t = &n->results[i]->type;
    /* A reshape even to the same shape: a node that outlives the call. */
    DhcAttr shape = dhc_attr_dims(s->m, t->dim, t->rank);
    out[i] = dhc_build1(&s->b, DHC_OP_RESHAPE, &call->results[i], 1, &shape, 1);
    if (!out[i]) return false;
  }
  dhc_inline_call(call);
  return true;
}

static const char one_term[] =
    "the sum of one term is the term; differs from 0 + -0 in the sign of zero";

static const char at_rest[] =
    "one step from 0: a * 0 adds nothing, and the flush makes -0 +0; differs from NaN where a is infinite or NaN";
static const char in_padding[] =
    "the other taps meet zeros; differs from NaN where one of them is infinite or NaN, and from +0 in the sign of "
    "a product that underflows";

const DhcRule dhc_rules_length[] = {
    {"reduce_ones", DHC_OP_REDUCE_SUM, reduce_ones, one_term},
    {"reduce_ones", DHC_OP_REDUCE_MAX, reduce_ones, "the extreme of one element"},
    {"reduce_ones", DHC_OP_REDUCE_MIN, reduce_ones, "the extreme of one element"},
    {"extreme_fill", DHC_OP_REDUCE_MAX, extreme_fill, "all elements are equal"},
    {"extreme_fill", DHC_OP_REDUCE_MIN, extreme_fill, "all elements are equal"},
    {"dot_outer", DHC_OP_DOT_GENERAL, dot_outer, "fma(a, b, +0), as the chain begins"},
    {"linear_scan_rest", DHC_OP_LINEAR_SCAN, linear_scan_rest, at_rest},
    {"linear_scan_one", DHC_OP_LINEAR_SCAN, linear_scan_one, "one step by definition: fma, flush if asked"},
    {"conv_one", DHC_OP_CONV, conv_one, in_padding},
    {"scan_one", DHC_OP_SCAN, scan_one, "one step by definition: the body"},
};
const int dhc_n_rules_length = (int)(sizeof dhc_rules_length / sizeof *dhc_rules_length);
