/* Derivatives of reductions and of the choices made by comparing (top_k, windows). */
#include "passes/grad/ad_internal.h"

/* r, a reduction of x over n's axes, stretched back to x's shape. */
static DhcValue *stretch(DhcAd *ad, const DhcNode *n, DhcValue *r) {
  const DhcType *t = &n->args[0]->type;
  const DhcAttr *axes = dhc_attr(n, "axes");
  const DhcDim *kept[DHC_MAX_RANK];
  for (int i = 0; i < t->rank; i++) kept[i] = t->dim[i];
  for (int i = 0; i < axes->ints.n; i++)
    kept[axes->ints.at[i]] = dhc_dim_const(ad->m->dims, 1);
  if (r) r = dhc_b_reshape(&ad->b, r, kept, t->rank);
  return r ? dhc_b_broadcast(&ad->b, r, t->dim, t->rank) : NULL;
}

/* y = sum of x over axes: x̄ = ȳ at every summand */
bool vjp_reduce_sum(DhcAd *ad, DhcNode *n) {
  return dhc_ad_add(ad, n, 0, stretch(ad, n, dhc_ad_cot(ad, n, 0)));
}

/* y = max or min of x over axes: ȳ is shared equally among the k elements equal to y:
 * x̄ = (x = y) ? ȳ / k : 0. Needs x and y. Where y is NaN, x̄ = 0. */
bool vjp_reduce_extreme(DhcAd *ad, DhcNode *n) {
  DhcValue *x = n->args[0], *y = n->results[0], *zero = dhc_ad_zeros(ad, x);
  DhcValue *hit = dhc_b_binary(&ad->b, DHC_OP_EQ, x, stretch(ad, n, y));
  DhcValue *one = dhc_b_fill(&ad->b, &x->type, 1);
  const DhcAttr *axes = dhc_attr(n, "axes");
  DhcValue *count = dhc_b_select(&ad->b, hit, one, zero);
  if (!count) return false;
  count = dhc_b_reduce(&ad->b, DHC_OP_REDUCE_SUM, count, axes->ints.at, axes->ints.n,
                       dhc_attr(n, "keep")->b);
  DhcValue *share = dhc_b_binary(&ad->b, DHC_OP_DIV, dhc_ad_cot(ad, n, 0), count);
  return dhc_ad_add(ad, n, 0, dhc_b_select(&ad->b, hit, stretch(ad, n, share), zero));
}

/* (v, i) = top_k(x): x̄ = v̄ put back at i along the last axis; i is a choice without gradient */
bool vjp_top_k(DhcAd *ad, DhcNode *n) {
  DhcValue *g = dhc_ad_cot(ad, n, 0);
  if (!g) return true;
  const DhcType *t = &n->args[0]->type;
  DhcAttr attrs[2] = {dhc_attr_int(t->rank - 1), dhc_attr_dim(t->dim[t->rank - 1])};
  DhcValue *args[2] = {g, n->results[1]};
  return dhc_ad_add(ad, n, 0, dhc_build1(&ad->b, DHC_OP_PUT_ALONG, args, 2, attrs, 2));
}

/* The window's cotangent g, from the shape of the index back to that of `like`. */
static DhcValue *scatter(DhcAd *ad, const DhcNode *n, DhcValue *g, DhcValue *index,
                         const DhcType *like) {
  const DhcAttr *window = dhc_attr(n, "window");
  int k = window->ints.n;
  DhcAttr attrs[3] = {*window, *dhc_attr(n, "stride"),
                      dhc_attr_dims(ad->m, like->dim + like->rank - k, k)};
  DhcValue *args[2] = {g, index};
  return dhc_build1(&ad->b, DHC_OP_WINDOW_SCATTER, args, 2, attrs, 3);
}

/* (y, i) = window_max(x): x̄ = window_scatter(ȳ, i): the first maximum of a window gets all */
bool vjp_window_max(DhcAd *ad, DhcNode *n) {
  DhcValue *g = dhc_ad_cot(ad, n, 0);
  if (!g) return true;
  return dhc_ad_add(ad, n, 0, scatter(ad, n, g, n->results[1], &n->args[0]->type));
}

/* y = window_gather(x, i): x̄ = window_scatter(ȳ, i) */
bool vjp_window_gather(DhcAd *ad, DhcNode *n) {
  DhcValue *g = dhc_ad_cot(ad, n, 0);
  return dhc_ad_add(ad, n, 0, scatter(ad, n, g, n->args[1], &n->args[0]->type));
}

/* x = window_scatter(d, i): d̄ = window_gather(x̄, i) */
bool vjp_window_scatter(DhcAd *ad, DhcNode *n) {
  DhcAttr attrs[2] = {*dhc_attr(n, "window"), *dhc_attr(n, "stride")};
  DhcValue *args[2] = {dhc_ad_cot(ad, n, 0), n->args[1]};
  return dhc_ad_add(ad, n, 0, dhc_build1(&ad->b, DHC_OP_WINDOW_GATHER, args, 2, attrs, 2));
}
