/* Derivatives of elementwise ops. Above each rule: the formula; x̄ is the cotangent of x,
 * y the result. A rule that uses y needs the output, else the inputs. */
#include "passes/grad/ad_internal.h"

/* Shorthands of this file; operands always agree in type. Two operands that both build nodes
 * are built in statements of their own: C leaves the order of arguments to the compiler. */
static DhcValue *un(DhcAd *ad, DhcOp op, DhcValue *x) {
  return dhc_b_unary(&ad->b, op, x);
}
static DhcValue *bin(DhcAd *ad, DhcOp op, DhcValue *x, DhcValue *y) {
  return dhc_b_binary(&ad->b, op, x, y);
}
static DhcValue *mul(DhcAd *ad, DhcValue *x, DhcValue *y) {
  return bin(ad, DHC_OP_MUL, x, y);
}
static DhcValue *neg(DhcAd *ad, DhcValue *x) {
  return un(ad, DHC_OP_NEG, x);
}
/* Constant of x's type. */
static DhcValue *like(DhcAd *ad, const DhcValue *x, double c) {
  return dhc_b_fill(&ad->b, &x->type, c);
}
static DhcValue *one_minus(DhcAd *ad, DhcValue *x) {
  return bin(ad, DHC_OP_SUB, like(ad, x, 1), x);
}
static DhcValue *g_of(const DhcAd *ad, const DhcNode *n) {
  return dhc_ad_cot(ad, n, 0);
}

/* y = -x: x̄ = -ȳ */
bool vjp_neg(DhcAd *ad, DhcNode *n) {
  return dhc_ad_add(ad, n, 0, neg(ad, g_of(ad, n)));
}

/* y = |x|: x̄ = ȳ sign(x); 0 at x = 0. Needs x. */
bool vjp_abs(DhcAd *ad, DhcNode *n) {
  return dhc_ad_add(ad, n, 0, mul(ad, g_of(ad, n), un(ad, DHC_OP_SIGN, n->args[0])));
}

/* y = e^x: x̄ = ȳ y */
bool vjp_exp(DhcAd *ad, DhcNode *n) {
  return dhc_ad_add(ad, n, 0, mul(ad, g_of(ad, n), n->results[0]));
}

/* y = e^x - 1: x̄ = ȳ e^x. Not ȳ (y + 1), which is 0 where y rounds to -1. Needs x. */
bool vjp_expm1(DhcAd *ad, DhcNode *n) {
  return dhc_ad_add(ad, n, 0, mul(ad, g_of(ad, n), un(ad, DHC_OP_EXP, n->args[0])));
}

/* y = ln x: x̄ = ȳ / x */
bool vjp_log(DhcAd *ad, DhcNode *n) {
  return dhc_ad_add(ad, n, 0, bin(ad, DHC_OP_DIV, g_of(ad, n), n->args[0]));
}

/* y = ln(1 + x): x̄ = ȳ / (1 + x) */
bool vjp_log1p(DhcAd *ad, DhcNode *n) {
  DhcValue *d = bin(ad, DHC_OP_ADD, like(ad, n->args[0], 1), n->args[0]);
  return dhc_ad_add(ad, n, 0, bin(ad, DHC_OP_DIV, g_of(ad, n), d));
}

/* y = tanh x: x̄ = ȳ / cosh² x = ȳ 4 e / (1 + e)², e = e^(-2|x|). Needs x: 1 - y² has lost all
 * its digits where y rounds to 1, and an optimiser that divides by the gradient's size
 * makes full steps of such noise. */
bool vjp_tanh(DhcAd *ad, DhcNode *n) {
  DhcValue *x = n->args[0];
  DhcValue *size = un(ad, DHC_OP_ABS, x);
  DhcValue *e = un(ad, DHC_OP_EXP, mul(ad, like(ad, x, -2), size));
  DhcValue *d = bin(ad, DHC_OP_ADD, like(ad, x, 1), e);
  DhcValue *square = mul(ad, d, d);
  DhcValue *slope = bin(ad, DHC_OP_DIV, mul(ad, like(ad, x, 4), e), square);
  return dhc_ad_add(ad, n, 0, mul(ad, g_of(ad, n), slope));
}

/* y = 1 / (1 + e^-x): x̄ = ȳ y (1 - y) */
bool vjp_sigmoid(DhcAd *ad, DhcNode *n) {
  DhcValue *y = n->results[0];
  return dhc_ad_add(ad, n, 0, mul(ad, g_of(ad, n), mul(ad, y, one_minus(ad, y))));
}

/* y = ln(1 + e^x): x̄ = ȳ sigmoid(x) */
bool vjp_softplus(DhcAd *ad, DhcNode *n) {
  return dhc_ad_add(ad, n, 0, mul(ad, g_of(ad, n), un(ad, DHC_OP_SIGMOID, n->args[0])));
}

/* y = erf x: x̄ = ȳ 2/√π e^(-x²) */
bool vjp_erf(DhcAd *ad, DhcNode *n) {
  DhcValue *x = n->args[0];
  DhcValue *e = un(ad, DHC_OP_EXP, neg(ad, mul(ad, x, x)));
  return dhc_ad_add(ad, n, 0, mul(ad, g_of(ad, n), mul(ad, like(ad, x, 1.1283791670955126), e)));
}

/* y = √x: x̄ = ȳ / (2 y) */
bool vjp_sqrt(DhcAd *ad, DhcNode *n) {
  DhcValue *y = n->results[0];
  return dhc_ad_add(ad, n, 0, bin(ad, DHC_OP_DIV, g_of(ad, n), bin(ad, DHC_OP_ADD, y, y)));
}

/* y = x^(-1/2): x̄ = -ȳ/2 y³ */
bool vjp_rsqrt(DhcAd *ad, DhcNode *n) {
  DhcValue *y = n->results[0];
  DhcValue *cube = mul(ad, y, mul(ad, y, y));
  DhcValue *d = mul(ad, like(ad, y, -0.5), cube);
  return dhc_ad_add(ad, n, 0, mul(ad, g_of(ad, n), d));
}

/* y = sin x: x̄ = ȳ cos x */
bool vjp_sin(DhcAd *ad, DhcNode *n) {
  return dhc_ad_add(ad, n, 0, mul(ad, g_of(ad, n), un(ad, DHC_OP_COS, n->args[0])));
}

/* y = cos x: x̄ = -ȳ sin x */
bool vjp_cos(DhcAd *ad, DhcNode *n) {
  return dhc_ad_add(ad, n, 0, neg(ad, mul(ad, g_of(ad, n), un(ad, DHC_OP_SIN, n->args[0]))));
}

/* y = arsinh x: x̄ = ȳ / sqrt(1 + x²), as ȳ / (m sqrt(1 + (n / m)²)) with m the larger and n the smaller
 * of |x| and 1, so that no x is too large to square. Selected, not max and min: at |x| = 1 both
 * branches have the same derivative, a tie of max and min would have none. */
bool vjp_asinh(DhcAd *ad, DhcNode *n) {
  DhcValue *size = un(ad, DHC_OP_ABS, n->args[0]), *one = like(ad, size, 1);
  DhcValue *below = bin(ad, DHC_OP_LT, size, one);
  DhcValue *larger = dhc_b_select(&ad->b, below, one, size);
  DhcValue *smaller = dhc_b_select(&ad->b, below, size, one);
  DhcValue *ratio = bin(ad, DHC_OP_DIV, smaller, larger);
  DhcValue *root = un(ad, DHC_OP_SQRT, bin(ad, DHC_OP_ADD, one, mul(ad, ratio, ratio)));
  return dhc_ad_add(ad, n, 0, bin(ad, DHC_OP_DIV, g_of(ad, n), mul(ad, larger, root)));
}

/* y = a + b: ā = b̄ = ȳ */
bool vjp_add(DhcAd *ad, DhcNode *n) {
  return dhc_ad_add(ad, n, 0, g_of(ad, n)) && dhc_ad_add(ad, n, 1, g_of(ad, n));
}

/* y = a - b: ā = ȳ, b̄ = -ȳ */
bool vjp_sub(DhcAd *ad, DhcNode *n) {
  if (!dhc_ad_add(ad, n, 0, g_of(ad, n))) return false;
  return !dhc_ad_wants(ad, n, 1) || dhc_ad_add(ad, n, 1, neg(ad, g_of(ad, n)));
}

/* y = a b: ā = ȳ b, b̄ = ȳ a. Each needs the other operand. */
bool vjp_mul(DhcAd *ad, DhcNode *n) {
  for (int i = 0; i < 2; i++)
    if (dhc_ad_wants(ad, n, i) && !dhc_ad_add(ad, n, i, mul(ad, g_of(ad, n), n->args[1 - i])))
      return false;
  return true;
}

/* y = a / b: ā = ȳ / b, b̄ = -(ȳ / b) y */
bool vjp_div(DhcAd *ad, DhcNode *n) {
  DhcValue *da = bin(ad, DHC_OP_DIV, g_of(ad, n), n->args[1]);
  if (!dhc_ad_add(ad, n, 0, da)) return false;
  return !dhc_ad_wants(ad, n, 1) || dhc_ad_add(ad, n, 1, neg(ad, mul(ad, da, n->results[0])));
}

/* y = a^b: ā = ȳ b a^(b-1), 0 where b = 0; b̄ = ȳ y ln a, 0 where a <= 0: selected, as the rest
 * of the product need not be finite there. ln of what is at least safe, for this rule's derivative. */
bool vjp_pow(DhcAd *ad, DhcNode *n) {
  DhcValue *a = n->args[0], *b = n->args[1], *g = g_of(ad, n), *zero = like(ad, a, 0);
  if (dhc_ad_wants(ad, n, 0)) {
    DhcValue *lower = bin(ad, DHC_OP_POW, a, bin(ad, DHC_OP_SUB, b, like(ad, b, 1)));
    DhcValue *flat = bin(ad, DHC_OP_EQ, b, like(ad, b, 0));
    DhcValue *d = mul(ad, g, mul(ad, b, lower));
    if (!dhc_ad_add(ad, n, 0, dhc_b_select(&ad->b, flat, zero, d))) return false;
  }
  if (!dhc_ad_wants(ad, n, 1)) return true;
  DhcValue *inside = bin(ad, DHC_OP_GT, a, like(ad, a, 0));
  DhcValue *safe = dhc_b_select(&ad->b, inside, a, like(ad, a, 1));
  DhcValue *d = mul(ad, g, mul(ad, n->results[0], un(ad, DHC_OP_LOG, safe)));
  return dhc_ad_add(ad, n, 1, dhc_b_select(&ad->b, inside, d, zero));
}

/* y = max(a, c) with a constant c, and all of ȳ comes back from a window_max over y as
 * window_scatter(d, i): the mask y > c may be applied to d instead, where it is m > c with m
 * the window's maximum. So y itself is not needed. NULL if ȳ is not of that form. */
static DhcValue *masked_window(DhcAd *ad, const DhcNode *n, DhcOp ahead, DhcValue *g) {
  DhcNode *s = g->def;
  if (s->op != DHC_OP_WINDOW_SCATTER || s->args[1]->def->op != DHC_OP_WINDOW_MAX) return NULL;
  const DhcNode *w = s->args[1]->def;
  if (w->args[0] != n->results[0] || s->args[1] != w->results[1]) return NULL;
  DhcValue *m = w->results[0];
  DhcValue *c = like(ad, m, dhc_attr(n->args[1]->def, "value")->f);
  DhcValue *zero = like(ad, m, 0);
  DhcValue *d = dhc_b_select(&ad->b, bin(ad, ahead, m, c), s->args[0], zero);
  DhcValue *args[2] = {d, s->args[1]};
  return d ? dhc_build1(&ad->b, DHC_OP_WINDOW_SCATTER, args, 2, s->attrs, 3) : NULL;
}

/* y = max(a, b), min(a, b): the operand that is strictly ahead gets ȳ; at a tie (or a NaN)
 * the second does, so max(x, 0) has derivative 0 at 0. Against a constant, y > c says the
 * same as a > c and is more likely to be at hand. */
static bool extreme(DhcAd *ad, DhcNode *n, DhcOp ahead) {
  DhcValue *g = g_of(ad, n), *zero = like(ad, g, 0);
  bool bounded = n->args[1]->def->op == DHC_OP_FILL;
  if (bounded && dhc_ad_wants(ad, n, 0)) {
    DhcValue *masked = masked_window(ad, n, ahead, g);
    if (masked) return dhc_ad_add(ad, n, 0, masked);
  }
  DhcValue *first = bin(ad, ahead, bounded ? n->results[0] : n->args[0], n->args[1]);
  if (dhc_ad_wants(ad, n, 0) && !dhc_ad_add(ad, n, 0, dhc_b_select(&ad->b, first, g, zero)))
    return false;
  return !dhc_ad_wants(ad, n, 1) ||
         dhc_ad_add(ad, n, 1, dhc_b_select(&ad->b, first, zero, g));
}
bool vjp_max(DhcAd *ad, DhcNode *n) {
  return extreme(ad, n, DHC_OP_GT);
}
bool vjp_min(DhcAd *ad, DhcNode *n) {
  return extreme(ad, n, DHC_OP_LT);
}

/* y = a b + c: ā = ȳ b, b̄ = ȳ a, c̄ = ȳ */
bool vjp_fma(DhcAd *ad, DhcNode *n) {
  return vjp_mul(ad, n) && dhc_ad_add(ad, n, 2, g_of(ad, n));
}

/* y = c ? a : b: ā = c ? ȳ : 0, b̄ = c ? 0 : ȳ */
bool vjp_select(DhcAd *ad, DhcNode *n) {
  DhcValue *g = g_of(ad, n), *zero = like(ad, g, 0), *c = n->args[0];
  if (dhc_ad_wants(ad, n, 1) && !dhc_ad_add(ad, n, 1, dhc_b_select(&ad->b, c, g, zero)))
    return false;
  return !dhc_ad_wants(ad, n, 2) || dhc_ad_add(ad, n, 2, dhc_b_select(&ad->b, c, zero, g));
}

/* y = cast(x): x̄ = cast(ȳ) between floats. An integer has no cotangent; it is marked, so
 * that an op without gradient behind it is reported. */
bool vjp_cast(DhcAd *ad, DhcNode *n) {
  DhcValue *x = n->args[0];
  if (!dhc_ad_is_float(x)) {
    ad->reached[x->id] = true;
    return true;
  }
  return dhc_ad_add(ad, n, 0, dhc_b_cast(&ad->b, g_of(ad, n), x->type.dtype));
}
