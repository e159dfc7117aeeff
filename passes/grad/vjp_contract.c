/* Derivatives of contractions. They are bilinear: each operand's cotangent is a contraction
 * of the result's with the other operand. */
#include "passes/grad/ad_internal.h"

/* Axes of one operand of a dot by use; free ones ascending, as in the result. */
typedef struct Side {
  DhcValue *v;
  int n_batch, n_contract, n_free;
  int64_t batch[DHC_MAX_RANK], contract[DHC_MAX_RANK], free[DHC_MAX_RANK];
  int64_t free_at; /* where its free axes begin in the result */
} Side;

static void side_init(Side *s, DhcValue *v, const DhcAttr *batch, const DhcAttr *contract) {
  bool used[DHC_MAX_RANK] = {false};
  s->v = v;
  s->n_batch = batch->ints.n;
  s->n_contract = contract->ints.n;
  s->n_free = 0;
  for (int i = 0; i < s->n_batch; i++) used[s->batch[i] = batch->ints.at[i]] = true;
  for (int i = 0; i < s->n_contract; i++) used[s->contract[i] = contract->ints.at[i]] = true;
  for (int i = 0; i < v->type.rank; i++)
    if (!used[i]) s->free[s->n_free++] = i;
}

/* Which axis of x's layout comes at each place when the dot of g and y (or y and g) is
 * done: batch axes, then either x's free axes and y's contracted ones seen through x, or
 * the other way round. */
static bool layout(const Side *x, const Side *y, bool g_first, int64_t *at) {
  int k = 0;
  /* y's free axes after the new contraction are its old contracted ones, ascending. */
  int64_t from_y[DHC_MAX_RANK];
  int n = 0;
  for (int axis = 0; axis < y->v->type.rank; axis++)
    for (int i = 0; i < y->n_contract; i++)
      if (y->contract[i] == axis) from_y[n++] = x->contract[i];
  for (int i = 0; i < x->n_batch; i++) at[k++] = x->batch[i];
  for (int i = 0; g_first && i < x->n_free; i++) at[k++] = x->free[i];
  for (int i = 0; i < n; i++) at[k++] = from_y[i];
  for (int i = 0; !g_first && i < x->n_free; i++) at[k++] = x->free[i];
  for (int i = 0; i < k; i++)
    if (at[i] != i) return false;
  return true;
}

/* x̄ of z = dot(.., x, .., y, ..): contract z̄ with y over y's free axes. The operand order
 * that needs no transpose is taken; if neither does, g first. */
static DhcValue *dot_cotangent(DhcAd *ad, const Side *x, const Side *y, DhcValue *g) {
  int64_t at[DHC_MAX_RANK], g_batch[DHC_MAX_RANK], g_contract[DHC_MAX_RANK];
  for (int i = 0; i < x->n_batch; i++) g_batch[i] = i;
  for (int i = 0; i < y->n_free; i++) g_contract[i] = y->free_at + i;
  bool g_first = layout(x, y, true, at) || !layout(x, y, false, at);
  bool same = layout(x, y, g_first, at);
  DhcValue *d = g_first ? dhc_b_dot(&ad->b, g, y->v, g_batch, y->batch, x->n_batch, g_contract,
                                    y->free, y->n_free)
                        : dhc_b_dot(&ad->b, y->v, g, y->batch, g_batch, x->n_batch, y->free,
                                    g_contract, y->n_free);
  if (!d || same) return d;
  int64_t perm[DHC_MAX_RANK] = {0};
  for (int i = 0; i < x->v->type.rank; i++) perm[at[i]] = i;
  return dhc_b_transpose(&ad->b, d, perm);
}

/* z = dot_general(a, b): ā = z̄ · b over b's free axes, b̄ = a · z̄ over a's */
bool vjp_dot_general(DhcAd *ad, DhcNode *n) {
  Side a, b;
  side_init(&a, n->args[0], dhc_attr(n, "batch_a"), dhc_attr(n, "contract_a"));
  side_init(&b, n->args[1], dhc_attr(n, "batch_b"), dhc_attr(n, "contract_b"));
  a.free_at = a.n_batch;
  b.free_at = a.n_batch + a.n_free;
  DhcValue *g = dhc_ad_cot(ad, n, 0);
  if (dhc_ad_wants(ad, n, 0) && !dhc_ad_add(ad, n, 0, dot_cotangent(ad, &a, &b, g)))
    return false;
  return !dhc_ad_wants(ad, n, 1) || dhc_ad_add(ad, n, 1, dot_cotangent(ad, &b, &a, g));
}

static DhcValue *build3(DhcAd *ad, DhcOp op, DhcValue *x, DhcValue *y, DhcValue *z) {
  DhcValue *args[3] = {x, y, z};
  return x && y && z ? dhc_build1(&ad->b, op, args, 3, NULL, 0) : NULL;
}

/* w [E, K, N] -> [E, N, K] */
static DhcValue *swap_last(DhcAd *ad, DhcValue *w) {
  static const int64_t perm[3] = {0, 2, 1};
  return dhc_b_transpose(&ad->b, w, perm);
}

/* y = ragged_dot(a, w, o): ā = ragged_dot(ȳ, wᵀ, o), w̄ = ragged_dot_dw(a, ȳ, o) */
bool vjp_ragged_dot(DhcAd *ad, DhcNode *n) {
  DhcValue *g = dhc_ad_cot(ad, n, 0), *o = n->args[2];
  if (dhc_ad_wants(ad, n, 0) &&
      !dhc_ad_add(ad, n, 0,
                  build3(ad, DHC_OP_RAGGED_DOT, g, swap_last(ad, n->args[1]), o)))
    return false;
  return !dhc_ad_wants(ad, n, 1) ||
         dhc_ad_add(ad, n, 1, build3(ad, DHC_OP_RAGGED_DOT_DW, n->args[0], g, o));
}

/* w = ragged_dot_dw(a, d, o): ā = ragged_dot(d, w̄ᵀ, o), d̄ = ragged_dot(a, w̄, o) */
bool vjp_ragged_dot_dw(DhcAd *ad, DhcNode *n) {
  DhcValue *g = dhc_ad_cot(ad, n, 0), *o = n->args[2];
  if (dhc_ad_wants(ad, n, 0) &&
      !dhc_ad_add(ad, n, 0,
                  build3(ad, DHC_OP_RAGGED_DOT, n->args[1], swap_last(ad, g), o)))
    return false;
  return !dhc_ad_wants(ad, n, 1) ||
         dhc_ad_add(ad, n, 1, build3(ad, DHC_OP_RAGGED_DOT, n->args[0], g, o));
}
