/* Derivatives of convolutions. conv, conv_dx and conv_dw are the three partial maps of one
 * trilinear form <conv(x, w), d> = <x, conv_dx(d, w)> = <w, conv_dw(x, d)>, so the
 * derivative of each with respect to an operand is the one that lacks that operand. */
#include "passes/grad/ad_internal.h"

/* stride, pads, dilation and groups, common to the three. */
enum { N_COMMON = 5 };
static void common(const DhcNode *n, DhcAttr *attrs) {
  for (int i = 0; i < N_COMMON; i++) attrs[i] = n->attrs[i];
}

static DhcValue *conv(DhcAd *ad, const DhcNode *n, DhcValue *x, DhcValue *w) {
  DhcValue *args[2] = {x, w};
  return dhc_build1(&ad->b, DHC_OP_CONV, args, 2, n->attrs, N_COMMON);
}

/* x's shape gives the spatial extents. */
static DhcValue *conv_dx(DhcAd *ad, const DhcNode *n, DhcValue *d, DhcValue *w,
                         const DhcType *x) {
  DhcAttr attrs[N_COMMON + 1];
  common(n, attrs);
  attrs[N_COMMON] = dhc_attr_dims(ad->m, x->dim + 2, x->rank - 2);
  DhcValue *args[2] = {d, w};
  return dhc_build1(&ad->b, DHC_OP_CONV_DX, args, 2, attrs, N_COMMON + 1);
}

/* w's shape gives the kernel extents. */
static DhcValue *conv_dw(DhcAd *ad, const DhcNode *n, DhcValue *x, DhcValue *d,
                         const DhcType *w) {
  DhcAttr attrs[N_COMMON + 1];
  common(n, attrs);
  attrs[N_COMMON] = dhc_attr_dims(ad->m, w->dim + 2, w->rank - 2);
  DhcValue *args[2] = {x, d};
  return dhc_build1(&ad->b, DHC_OP_CONV_DW, args, 2, attrs, N_COMMON + 1);
}

/* y = conv(x, w): x̄ = conv_dx(ȳ, w), w̄ = conv_dw(x, ȳ) */
bool vjp_conv(DhcAd *ad, DhcNode *n) {
  DhcValue *x = n->args[0], *w = n->args[1], *g = dhc_ad_cot(ad, n, 0);
  if (dhc_ad_wants(ad, n, 0) && !dhc_ad_add(ad, n, 0, conv_dx(ad, n, g, w, &x->type)))
    return false;
  return !dhc_ad_wants(ad, n, 1) || dhc_ad_add(ad, n, 1, conv_dw(ad, n, x, g, &w->type));
}

/* x = conv_dx(d, w): d̄ = conv(x̄, w), w̄ = conv_dw(x̄, d) */
bool vjp_conv_dx(DhcAd *ad, DhcNode *n) {
  DhcValue *d = n->args[0], *w = n->args[1], *g = dhc_ad_cot(ad, n, 0);
  if (dhc_ad_wants(ad, n, 0) && !dhc_ad_add(ad, n, 0, conv(ad, n, g, w))) return false;
  return !dhc_ad_wants(ad, n, 1) || dhc_ad_add(ad, n, 1, conv_dw(ad, n, g, d, &w->type));
}

/* w = conv_dw(x, d): x̄ = conv_dx(d, w̄), d̄ = conv(x, w̄) */
bool vjp_conv_dw(DhcAd *ad, DhcNode *n) {
  DhcValue *x = n->args[0], *d = n->args[1], *g = dhc_ad_cot(ad, n, 0);
  if (dhc_ad_wants(ad, n, 0) && !dhc_ad_add(ad, n, 0, conv_dx(ad, n, d, g, &x->type)))
    return false;
  return !dhc_ad_wants(ad, n, 1) || dhc_ad_add(ad, n, 1, conv(ad, n, x, g));
}
