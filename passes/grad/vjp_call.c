/* Derivatives of calls. call @f becomes call @f.fwd, whose saved values feed call @f.bwd; a
 * composite with a `vjp` stays a call of itself and its derivative is a call of that, or, where
 * that has no kernel, its body. */
#include "passes/grad/ad_internal.h"

static DhcNode *build_call(DhcAd *ad, DhcFunc *callee, const DhcAttr *dims,
                           DhcValue *const *args, int n_args) {
  for (int i = 0; i < n_args; i++)
    if (!args[i]) return NULL;
  DhcAttr attrs[2] = {dhc_attr_func(callee), *dims};
  return dhc_build(&ad->b, DHC_OP_CALL, args, n_args, attrs, 2);
}

/* Adds the results of a call of `by` to the cotangents of n's operands: one for each float
 * parameter of f, in order. Zeros that `by` always gives stay symbolic. */
static bool add_results(DhcAd *ad, const DhcNode *n, const DhcFunc *f, const DhcFunc *by, DhcValue *const *back) {
  int k = 0;
  for (int i = 0; i < f->params.n; i++) {
    if (!dhc_ad_is_float(f->params.at[i])) continue;
    bool none = dhc_ad_is_zeros(by->results.at[k]);
    if (!none && !dhc_ad_add(ad, n, i, back[k])) return false;
    k++;
  }
  return true;
}

/* Cotangents of f's float results, zeros where there are none; returns the new count. */
static int push_cotangents(DhcAd *ad, const DhcNode *n, const DhcFunc *f, DhcValue **args,
                           int n_args) {
  for (int i = 0; i < f->results.n; i++)
    if (dhc_ad_is_float(f->results.at[i])) args[n_args++] = dhc_ad_cot_or_zeros(ad, n, i);
  return n_args;
}

DhcNode *dhc_ad_forward_call(DhcAd *ad, const DhcNode *n, DhcValue *const *args) {
  DhcFunc *f = dhc_attr(n, "callee")->func;
  if (f->vjp) return dhc_node_copy(&ad->b, n, args);
  const DhcGradPair *pair = dhc_autodiff(ad->px, f);
  if (!pair) return NULL;
  DhcNode *c = build_call(ad, pair->fwd, dhc_attr(n, "dims"), args, n->n_args);
  if (c) ad->aux[c->id] = (void *)pair;
  return c;
}

/* s = f.fwd(p): p̄ += f.bwd(p[input], s[saved], r̄) */
static bool call_pair(DhcAd *ad, DhcNode *n, const DhcGradPair *pair, const DhcNode *fwd) {
  const DhcFunc *f = pair->f;
  DhcValue **args = DHC_NEW_N(ad->arena, DhcValue *,
                              pair->n_input + pair->n_saved + f->results.n + 1);
  int k = 0;
  for (int i = 0; i < pair->n_input; i++) args[k++] = n->args[pair->input[i]];
  for (int i = 0; i < pair->n_saved; i++) args[k++] = fwd->results[pair->saved[i]];
  k = push_cotangents(ad, n, f, args, k);
  DhcNode *back = build_call(ad, pair->bwd, dhc_attr(n, "dims"), args, k);
  return back && add_results(ad, n, f, pair->bwd, back->results);
}

bool vjp_call(DhcAd *ad, DhcNode *n) {
  const DhcGradPair *pair = ad->aux[n->id];
  if (pair) return call_pair(ad, n, pair, n);
  /* f.vjp(p, r, r̄) */
  const DhcFunc *f = dhc_attr(n, "callee")->func;
  DhcValue **args = DHC_NEW_N(ad->arena, DhcValue *, n->n_args + 2 * n->n_results + 1);
  int k = 0;
  for (int i = 0; i < n->n_args; i++) args[k++] = n->args[i];
  for (int i = 0; i < n->n_results; i++) args[k++] = n->results[i];
  k = push_cotangents(ad, n, f, args, k);
  DhcNode *back = build_call(ad, f->vjp, dhc_attr(n, "dims"), args, k);
  if (!back || f->vjp->kernel) return back && add_results(ad, n, f, f->vjp, back->results);
  /* No kernel of its own: as its body it needs only what it reads, and joins what follows. */
  DhcValue **now = DHC_NEW_N(ad->arena, DhcValue *, back->n_results + 1);
  dhc_inline_call_to(back, now);
  return add_results(ad, n, f, f->vjp, now);
}

/* r = checkpoint f(p): p̄ as of a call, but f.fwd runs again, in the backward part, so that
 * nothing of f but its operands lives until then. */
bool vjp_checkpoint(DhcAd *ad, DhcNode *n) {
  const DhcGradPair *pair = dhc_autodiff(ad->px, dhc_attr(n, "callee")->func);
  if (!pair) return false;
  DhcNode *again = build_call(ad, pair->fwd, dhc_attr(n, "dims"), n->args, n->n_args);
  return again && call_pair(ad, n, pair, again);
}
