/* Derivatives of views and data movement. All are linear: the rule is the transpose. */
#include "passes/grad/ad_internal.h"

static const DhcDim *dim_const(DhcAd *ad, int64_t v) {
  return dhc_dim_const(ad->m->dims, v);
}

static DhcValue *build(DhcAd *ad, DhcOp op, DhcValue *const *args, int n_args,
                       const DhcAttr *attrs, int n_attrs) {
  for (int i = 0; i < n_args; i++)
    if (!args[i]) return NULL;
  return dhc_build1(&ad->b, op, args, n_args, attrs, n_attrs);
}

/* y = reshape(x): x̄ = reshape(ȳ) */
bool vjp_reshape(DhcAd *ad, DhcNode *n) {
  const DhcType *t = &n->args[0]->type;
  return dhc_ad_add(ad, n, 0, dhc_b_reshape(&ad->b, dhc_ad_cot(ad, n, 0), t->dim, t->rank));
}

/* y[i_perm] = x[i]: x̄ = transpose by the inverse permutation */
bool vjp_transpose(DhcAd *ad, DhcNode *n) {
  const DhcAttr *perm = dhc_attr(n, "perm");
  int64_t inverse[DHC_MAX_RANK] = {0};
  for (int i = 0; i < perm->ints.n; i++) inverse[perm->ints.at[i]] = i;
  return dhc_ad_add(ad, n, 0, dhc_b_transpose(&ad->b, dhc_ad_cot(ad, n, 0), inverse));
}

/* y = broadcast(x): x̄ = sum of ȳ over the axes that were stretched or put in front. This is
 * the one place where broadcasting is undone: all other ops have operands of one shape. */
bool vjp_broadcast(DhcAd *ad, DhcNode *n) {
  const DhcType *t = &n->args[0]->type, *y = &n->results[0]->type;
  int64_t axes[DHC_MAX_RANK];
  int k = 0, shift = y->rank - t->rank;
  for (int i = 0; i < y->rank; i++)
    if (i < shift || t->dim[i - shift] != y->dim[i]) axes[k++] = i;
  DhcValue *g = dhc_ad_cot(ad, n, 0);
  if (k) g = dhc_b_reduce(&ad->b, DHC_OP_REDUCE_SUM, g, axes, k, false);
  return g && dhc_ad_add(ad, n, 0, dhc_b_reshape(&ad->b, g, t->dim, t->rank));
}

/* y[i] = x[start + i step]: x̄ = ȳ with step - 1 zeros between, start in front, the rest behind */
bool vjp_slice(DhcAd *ad, DhcNode *n) {
  const DhcType *t = &n->args[0]->type;
  const DhcAttr *start = dhc_attr(n, "start"), *size = dhc_attr(n, "size");
  const DhcAttr *step = dhc_attr(n, "step");
  const DhcDim *high[DHC_MAX_RANK];
  DhcDims *cx = ad->m->dims;
  for (int i = 0; i < t->rank; i++) {
    const DhcDim *last = dhc_dim_mulc(cx, dhc_dim_addc(cx, size->dims.at[i], -1), step->ints.at[i]);
    const DhcDim *end = dhc_dim_addc(cx, dhc_dim_add(cx, start->dims.at[i], last), 1);
    high[i] = dhc_dim_sub(cx, t->dim[i], end);
  }
  DhcAttr attrs[3] = {*start, dhc_attr_dims(ad->m, high, t->rank), *step};
  DhcValue *g = dhc_ad_cot(ad, n, 0);
  return dhc_ad_add(ad, n, 0, build(ad, DHC_OP_PAD, &g, 1, attrs, 3));
}

/* y = reverse(x): x̄ = reverse(ȳ) */
bool vjp_reverse(DhcAd *ad, DhcNode *n) {
  DhcValue *g = dhc_ad_cot(ad, n, 0);
  return dhc_ad_add(ad, n, 0, build(ad, DHC_OP_REVERSE, &g, 1, dhc_attr(n, "axes"), 1));
}

/* y = pad(x): x̄ = the slice of ȳ where x lies */
bool vjp_pad(DhcAd *ad, DhcNode *n) {
  const DhcType *t = &n->args[0]->type;
  DhcAttr attrs[3] = {*dhc_attr(n, "low"), dhc_attr_dims(ad->m, t->dim, t->rank),
                      *dhc_attr(n, "step")};
  DhcValue *g = dhc_ad_cot(ad, n, 0);
  return dhc_ad_add(ad, n, 0, build(ad, DHC_OP_SLICE, &g, 1, attrs, 3));
}

/* y = concat(x...): each x̄ is its slice of ȳ */
bool vjp_concat(DhcAd *ad, DhcNode *n) {
  int axis = (int)dhc_attr(n, "axis")->i;
  const DhcDim *at = dim_const(ad, 0);
  for (int i = 0; i < n->n_args; i++) {
    const DhcDim *size = n->args[i]->type.dim[axis];
    if (dhc_ad_wants(ad, n, i) &&
        !dhc_ad_add(ad, n, i, dhc_b_slice(&ad->b, dhc_ad_cot(ad, n, 0), axis, at, size)))
      return false;
    at = dhc_dim_add(ad->m->dims, at, size);
  }
  return true;
}

/* y = x[start : start + size]: x̄ = zeros with ȳ written at start */
bool vjp_dynamic_slice(DhcAd *ad, DhcNode *n) {
  DhcValue *args[3] = {dhc_ad_zeros(ad, n->args[0]), dhc_ad_cot(ad, n, 0), n->args[1]};
  return dhc_ad_add(ad, n, 0, build(ad, DHC_OP_DYNAMIC_UPDATE, args, 3, dhc_attr(n, "axis"), 1));
}

/* y = x with u at start: x̄ = ȳ with zeros at start, ū = ȳ[start : start + size] */
bool vjp_dynamic_update(DhcAd *ad, DhcNode *n) {
  const DhcAttr *axis = dhc_attr(n, "axis");
  DhcValue *g = dhc_ad_cot(ad, n, 0);
  if (dhc_ad_wants(ad, n, 0)) {
    DhcValue *args[3] = {g, dhc_ad_zeros(ad, n->args[1]), n->args[2]};
    if (!dhc_ad_add(ad, n, 0, build(ad, DHC_OP_DYNAMIC_UPDATE, args, 3, axis, 1))) return false;
  }
  if (!dhc_ad_wants(ad, n, 1)) return true;
  DhcAttr attrs[2] = {*axis, dhc_attr_dim(n->args[1]->type.dim[axis->i])};
  DhcValue *args[2] = {g, n->args[2]};
  return dhc_ad_add(ad, n, 1, build(ad, DHC_OP_DYNAMIC_SLICE, args, 2, attrs, 2));
}

/* y = x[index]: x̄ = zeros with ȳ added at index */
bool vjp_gather(DhcAd *ad, DhcNode *n) {
  DhcValue *args[3] = {dhc_ad_zeros(ad, n->args[0]), n->args[1], dhc_ad_cot(ad, n, 0)};
  return dhc_ad_add(ad, n, 0, build(ad, DHC_OP_SCATTER_ADD, args, 3, dhc_attr(n, "axis"), 1));
}

/* y = x with u added at index: x̄ = ȳ, ū = ȳ[index] */
bool vjp_scatter_add(DhcAd *ad, DhcNode *n) {
  DhcValue *g = dhc_ad_cot(ad, n, 0);
  if (!dhc_ad_add(ad, n, 0, g)) return false;
  if (!dhc_ad_wants(ad, n, 2)) return true;
  DhcValue *args[2] = {g, n->args[1]};
  return dhc_ad_add(ad, n, 2, build(ad, DHC_OP_GATHER, args, 2, dhc_attr(n, "axis"), 1));
}

/* y[.., j, ..] = x[.., index[.., j, ..], ..]: x̄ = put_along(ȳ, index) */
bool vjp_take_along(DhcAd *ad, DhcNode *n) {
  const DhcAttr *axis = dhc_attr(n, "axis");
  DhcAttr attrs[2] = {*axis, dhc_attr_dim(n->args[0]->type.dim[axis->i])};
  DhcValue *args[2] = {dhc_ad_cot(ad, n, 0), n->args[1]};
  return dhc_ad_add(ad, n, 0, build(ad, DHC_OP_PUT_ALONG, args, 2, attrs, 2));
}

/* y = put_along(u, index): ū = take_along(ȳ, index) */
bool vjp_put_along(DhcAd *ad, DhcNode *n) {
  DhcValue *args[2] = {dhc_ad_cot(ad, n, 0), n->args[1]};
  return dhc_ad_add(ad, n, 0, build(ad, DHC_OP_TAKE_ALONG, args, 2, dhc_attr(n, "axis"), 1));
}
