/* Gradients of an entry: the joint function of autodiff, kept whole. The fuser sees forward
 * and backward side by side, so nothing is cut and nothing named as saved. */
#include "passes/grad/ad_internal.h"

static bool listed(const char *const *names, int n, const char *name) {
  for (int i = 0; name && i < n; i++)
    if (strcmp(names[i], name) == 0) return true;
  return false;
}

static int find_result(const DhcFunc *f, const char *name) {
  if (!name) return f->results.n ? 0 : -1;
  for (int i = 0; i < f->results.n; i++)
    if (f->result_names.at[i] && strcmp(f->result_names.at[i], name) == 0) return i;
  return -1;
}

/* Which results are differentiated; false after a diagnostic. */
static bool choose_targets(DhcPassCtx *px, const DhcFunc *f, const DhcGradRequest *rq,
                           bool *target) {
  if (!rq->cotangents) {
    int r = find_result(f, rq->of);
    if (r < 0) {
      dhc_diag(px->diags, DHC_ERROR, "E0711", f->span, "'%s' has no result '%s' to differentiate",
               f->name, rq->of ? rq->of : "");
      return false;
    }
    const DhcType *t = &f->results.at[r]->type;
    if (t->rank || !dhc_dtype_is_float(t->dtype)) {
      DhcText text = {.arena = px->module->arena};
      dhc_type_print(t, &text);
      dhc_diag(px->diags, DHC_ERROR, "E0712", f->span,
               "result '%s' of '%s' must be a float scalar to be differentiated, it is %s",
               f->result_names.at[r] ? f->result_names.at[r] : "", f->name, dhc_text_str(&text));
      return false;
    }
    return target[r] = true;
  }
  for (int i = 0; i < f->results.n; i++)
    target[i] = dhc_ad_is_float(f->results.at[i]) &&
                (!rq->n_results || listed(rq->results, rq->n_results, f->result_names.at[i]));
  return true;
}

static bool seed(DhcAd *ad, const bool *target, DhcValue *const *cot) {
  for (int i = 0; i < ad->src->results.n; i++) {
    if (!target[i]) continue;
    DhcValue *g = ad->cotangent_inputs ? cot[i] : dhc_b_fill(&ad->b, &ad->src->results.at[i]->type, 1);
    if (!dhc_ad_seed(ad, i, g)) return false;
  }
  return true;
}

/* "grad.<name>", with one more "grad." for every result that has the name already. */
static const char *gradient_name(const DhcAd *ad, const char *name) {
  const char *r = dhc_arena_printf(ad->arena, DHC_PREFIX_GRADIENT "%s", name ? name : "");
  while (find_result(ad->f, r) >= 0) r = dhc_arena_printf(ad->arena, DHC_PREFIX_GRADIENT "%s", r);
  return r;
}

/* gradient[i], of parameter i, of those that are wanted now. */
static bool take_gradients(DhcAd *ad, DhcValue **gradient) {
  const DhcFunc *s = ad->src;
  ad->b.span = s->span;
  ad->b.origin = NULL;
  for (int i = 0; i < s->params.n; i++) {
    if (!ad->wanted[i]) continue;
    DhcValue *p = ad->map[s->params.at[i]->id];
    if (!(gradient[i] = ad->cot[p->id] ? ad->cot[p->id] : dhc_ad_zeros(ad, p))) return false;
  }
  return true;
}

/* A way back from each result that some parameter's gradient is of. */
static bool reverse_each(DhcAd *ad, const DhcGradRequest *rq, DhcValue **gradient) {
  const DhcFunc *s = ad->src;
  bool *all = ad->wanted, *target = DHC_NEW_N(ad->arena, bool, s->results.n + 1), ok = true;
  ad->wanted = DHC_NEW_N(ad->arena, bool, s->params.n + 1);
  for (int r = 0; ok && r < s->results.n; r++) {
    bool any = false;
    for (int i = 0; i < s->params.n; i++) any = (ad->wanted[i] = all[i] && rq->result_of[i] == r) || any;
    if (!any) continue;
    target[r] = true;
    dhc_ad_back_again(ad, target);
    ok = seed(ad, target, ad->cot_param) && dhc_ad_reverse(ad) && take_gradients(ad, gradient);
    target[r] = false;
  }
  return ok;
}

DhcFunc *dhc_grad_entry(DhcPassCtx *px, DhcFunc *entry, const DhcGradRequest *rq) {
  DhcArena *a = px->module->arena;
  DhcAd ad = {.px = px, .m = px->module, .src = entry};
  bool *target = DHC_NEW_N(a, bool, entry->results.n + 1);
  DhcValue **gradient = DHC_NEW_N(a, DhcValue *, entry->params.n + 1);
  if (!choose_targets(px, entry, rq, target)) return NULL;
  ad.wanted = DHC_NEW_N(a, bool, entry->params.n + 1);
  for (int i = 0; i < entry->params.n; i++) {
    const DhcParamInfo *info = &entry->param_info.at[i];
    bool asked = (rq->roles >> info->role & 1u) || listed(rq->wrt, rq->n_wrt, info->name);
    ad.wanted[i] = asked && dhc_ad_is_float(entry->params.at[i]);
    if (rq->result_of && ad.wanted[i]) target[rq->result_of[i]] = true;
  }
  ad.cotangent_inputs = rq->cotangents || rq->weighed;
  if (!dhc_ad_forward(&ad, rq->name, DHC_FUNC_ENTRY, target)) return NULL;
  const bool ok = rq->result_of ? reverse_each(&ad, rq, gradient)
                                : seed(&ad, target, ad.cot_param) && dhc_ad_reverse(&ad) && take_gradients(&ad, gradient);
  if (!ok) return NULL;
  for (int i = 0; i < entry->results.n; i++)
    dhc_func_result(ad.f, ad.map[entry->results.at[i]->id], entry->result_names.at[i]);
  for (int i = 0; i < entry->params.n; i++)
    if (gradient[i]) dhc_func_result(ad.f, gradient[i], gradient_name(&ad, entry->param_info.at[i].name));
  dhc_edit_move_last(px->module, ad.f);
  return ad.f;
}

/* requires: UNFUSED. establishes: -. breaks: -. */
bool dhc_pass_grad(DhcModule *m, DhcPassCtx *px) {
  int n = m->funcs.n;
  for (int i = 0; i < n; i++) {
    DhcFunc *f = m->funcs.at[i];
    if (f->kind != DHC_FUNC_ENTRY || !f->results.n) continue;
    const DhcType *t = &f->results.at[0]->type;
    if (t->rank || !dhc_dtype_is_float(t->dtype)) continue;
    DhcGradRequest rq = {.name = dhc_arena_printf(m->arena, "%s.grad", f->name),
                         .roles = 1u << DHC_ROLE_WEIGHT | 1u << DHC_ROLE_PLAIN};
    dhc_pass_count_change(px);
    if (!dhc_grad_entry(px, f, &rq)) return false;
  }
  return true;
}

DhcFunc *dhc_grad_unit(DhcModule *m, DhcFunc *f, const char *const *wrt, int n) {
  DhcArena scratch;
  DhcPassCtx px;
  dhc_arena_init(&scratch);
  dhc_pass_ctx_init(&px, m, &scratch);
  const DhcGradRequest rq = {.name = dhc_arena_printf(m->arena, "%s.by", f->name), .wrt = wrt, .n_wrt = n};
  DhcFunc *g = dhc_grad_entry(&px, f, &rq);
  dhc_arena_fini(&scratch);
  if (!g) return NULL;
  g->kind = DHC_FUNC_UNIT;
  return g;
}
