/* Rules where an extent is known to be 1: reductions and recurrences of one step. */
#include "passes/simplify_internal.h"

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

/* Magnitudes below 2^-100 become zero, as where a state is stored; NaN stays. */
static DhcValue *flush(DhcSimplify *s, DhcValue *h) {
  if (!h || !dhc_dtype_is_float(h->type.dtype)) return h;
  DhcValue *size = dhc_b_unary(&s->b, DHC_OP_ABS, h); /* before the limit, whatever the compiler */
  DhcValue *tiny = dhc_b_binary(&s->b, DHC_OP_LT, size, dhc_b_fill(&s->b, &h->type, 0x1p-100));
  return dhc_b_select(&s->b, tiny, dhc_b_fill(&s->b, &h->type, 0), h);
}

/* h = fma(a, h0, b), flushed. */
RULE(linear_scan_one) {
  const DhcType *t = &n->results[0]->type;
  if (!dhc_dim_is(t->dim[dhc_attr(n, "axis")->i], 1)) return false;
  DhcValue *h0 = dhc_b_reshape(&s->b, n->args[2], t->dim, t->rank);
  if (!h0) return false;
  DhcValue *args[3] = {n->args[0], h0, n->args[1]};
  return becomes(out, flush(s, dhc_build1(&s->b, DHC_OP_FMA, args, 3, NULL, 0)));
}

/* One step: the body in place of the loop, carries flushed. */
RULE(scan_one) {
  if (!dhc_dim_is(dhc_attr(n, "length")->dim, 1)) return false;
  DhcFunc *body = dhc_attr(n, "body")->func;
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
    DhcValue *v = i < n_carry ? flush(s, call->results[i]) : call->results[i];
    /* A reshape even to the same shape: a node that outlives the call. */
    out[i] = dhc_b_reshape(&s->b, v, t->dim, t->rank);
    if (!out[i]) return false;
  }
  dhc_inline_call(call);
  return true;
}

static const char one_term[] =
    "the sum of one term is the term; differs from 0 + -0 in the sign of zero";

const DhcRule dhc_rules_length[] = {
    {"reduce_ones", DHC_OP_REDUCE_SUM, reduce_ones, one_term},
    {"reduce_ones", DHC_OP_REDUCE_MAX, reduce_ones, "the extreme of one element"},
    {"reduce_ones", DHC_OP_REDUCE_MIN, reduce_ones, "the extreme of one element"},
    {"extreme_fill", DHC_OP_REDUCE_MAX, extreme_fill, "all elements are equal"},
    {"extreme_fill", DHC_OP_REDUCE_MIN, extreme_fill, "all elements are equal"},
    {"linear_scan_one", DHC_OP_LINEAR_SCAN, linear_scan_one, "one step by definition: fma, flush"},
    {"scan_one", DHC_OP_SCAN, scan_one, "one step by definition: body, flush"},
};
const int dhc_n_rules_length = (int)(sizeof dhc_rules_length / sizeof *dhc_rules_length);
