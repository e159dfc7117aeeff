/* Cuts a joint function into f.fwd and f.bwd.
 *
 * What bwd needs of the forward part is either saved or computed anew. Saved are results
 * of ops that cost a pass over memory or more arithmetic than a load (contractions,
 * convolutions, scans, windows, reductions, routing, scatters, calls); elementwise ops,
 * depthwise convolutions of few taps, views and creation are computed anew, from saved values
 * and inputs, unless they are results of the unit, which are in memory anyway. This is a rule,
 * not a search: what is kept never depends on sizes or on what stands around the unit. */
#include "passes/grad/ad_internal.h"

#include "passes/clean/depthwise.h"

typedef struct Split {
  DhcAd *ad;
  bool *need;         /* by value id of the joint function: bwd needs it */
  int *result;        /* by value id: 1 + its index among the results of fwd, 0 if none */
  DhcValue **map;     /* by value id: its copy in the function being built */
  DHC_VEC(DhcValue *) saved;
} Split;

/* A call of a composite without a kernel is its body. */
static bool costs(const DhcNode *n) {
  if (n->op == DHC_OP_CALL && dhc_is_plain_composite(dhc_attr(n, "callee")->func)) {
    for (const DhcNode *k = dhc_attr(n, "callee")->func->first; k; k = k->next)
      if (k->op != DHC_OP_PARAM && costs(k)) return true;
    return false;
  }
  switch (dhc_op_info(n->op)->cls) {
    case DHC_CLASS_REDUCE:
    case DHC_CLASS_CONTRACT:
    case DHC_CLASS_CONV:
    case DHC_CLASS_WINDOW:
    case DHC_CLASS_SCAN:
    case DHC_CLASS_ROUTE:
    case DHC_CLASS_CALL:
    case DHC_CLASS_EFFECT:
      return true;
    default:
      return n->op == DHC_OP_SCATTER_ADD || n->op == DHC_OP_PUT_ALONG;
  }
}

static bool is_forward(const Split *s, const DhcNode *n) {
  return n->id < s->ad->n_forward_nodes;
}

static bool needed(const Split *s, const DhcNode *n) {
  for (int i = 0; i < n->n_results; i++)
    if (s->need[n->results[i]->id]) return true;
  return false;
}

/* bwd takes n's results from fwd. */
static bool is_saved(const Split *s, const DhcNode *n) {
  if (!is_forward(s, n)) return false;
  if (dhc_op_info(n->op)->cls == DHC_CLASS_ELEMENTWISE) return s->result[n->results[0]->id] > 0;
  return costs(n) && !(n->op == DHC_OP_CONV && dhc_depthwise_few(n) && !s->result[n->results[0]->id]);
}

/* Marks what the cotangents need; stops at saved values and parameters. */
static void mark(Split *s, DhcValue *const *cots, int n_cots) {
  for (int i = 0; i < n_cots; i++) s->need[cots[i]->id] = true;
  for (const DhcNode *n = s->ad->f->last; n; n = n->prev) {
    if (n->op == DHC_OP_PARAM || !needed(s, n)) continue;
    if (is_saved(s, n)) continue;
    for (int i = 0; i < n->n_args; i++) s->need[n->args[i]->id] = true;
  }
  for (const DhcNode *n = s->ad->f->first; n; n = n->next) {
    if (n->op == DHC_OP_PARAM || !is_saved(s, n)) continue;
    for (int i = 0; i < n->n_results; i++)
      if (s->need[n->results[i]->id]) DHC_PUSH(s->ad->arena, &s->saved, n->results[i]);
  }
}

static bool copy_into(Split *s, DhcBuilder *b, const DhcNode *n) {
  DhcValue **args = DHC_NEW_N(s->ad->arena, DhcValue *, n->n_args + 1);
  for (int i = 0; i < n->n_args; i++) args[i] = s->map[n->args[i]->id];
  b->span = n->span;
  b->origin = n->origin;
  DhcNode *c = dhc_node_copy(b, n, args);
  if (!c) return false;
  for (int i = 0; i < n->n_results; i++) s->map[n->results[i]->id] = c->results[i];
  return true;
}

static DhcFunc *new_half(Split *s, const char *suffix) {
  const DhcFunc *f = s->ad->src;
  DhcFunc *h = dhc_func_new(s->ad->m, dhc_arena_printf(s->ad->arena, "%s.%s", f->name, suffix),
                            DHC_FUNC_UNIT, f->span);
  dhc_edit_copy_binders(h, f);
  s->map = DHC_NEW_N(s->ad->arena, DhcValue *, s->ad->f->next_value_id + 1);
  return h;
}

static const char *saved_name(Split *s, int i) {
  return dhc_arena_printf(s->ad->arena, "saved.%d", i);
}

/* Forward nodes, then the saved values that are not results already behind the results. */
static DhcFunc *build_fwd(Split *s, DhcGradPair *pair) {
  const DhcFunc *f = s->ad->src, *j = s->ad->f;
  DhcFunc *h = new_half(s, "fwd");
  DhcBuilder b = {.f = h};
  for (int i = 0; i < f->params.n; i++) {
    DhcValue *p = j->params.at[i];
    s->map[p->id] = dhc_func_param(h, &p->type, f->param_info.at[i], p->def->span);
  }
  for (const DhcNode *n = j->first; n; n = n->next)
    if (n->op != DHC_OP_PARAM && is_forward(s, n) && !copy_into(s, &b, n)) return NULL;
  for (int i = 0; i < f->results.n; i++)
    dhc_func_result(h, s->map[s->ad->map[f->results.at[i]->id]->id], f->result_names.at[i]);
  int *saved = DHC_NEW_N(s->ad->arena, int, s->saved.n + 1);
  for (int i = 0; i < s->saved.n; i++) {
    int id = s->saved.at[i]->id;
    if (!s->result[id]) {
      dhc_ad_result(h, s->map[id], saved_name(s, i));
      s->result[id] = h->results.n;
    }
    saved[i] = s->result[id] - 1;
  }
  pair->saved = saved;
  return h;
}

static DhcFunc *build_bwd(Split *s, DhcGradPair *pair, DhcValue *const *cots, int n_cots,
                          DhcValue *const *cot_params, int n_cot_params) {
  const DhcFunc *f = s->ad->src, *j = s->ad->f;
  DhcFunc *h = new_half(s, "bwd");
  DhcBuilder b = {.f = h};
  int *input = DHC_NEW_N(s->ad->arena, int, f->params.n + 1);
  for (int i = 0; i < f->params.n; i++) {
    DhcValue *p = j->params.at[i];
    if (!s->need[p->id]) continue;
    input[pair->n_input++] = i;
    s->map[p->id] = dhc_func_param(h, &p->type, f->param_info.at[i], p->def->span);
  }
  pair->input = input;
  for (int i = 0; i < s->saved.n; i++) {
    DhcParamInfo info = {saved_name(s, i), DHC_ROLE_PLAIN, -1};
    DhcValue *v = s->saved.at[i];
    s->map[v->id] = dhc_func_param(h, &v->type, info, v->def->span);
  }
  for (int i = 0; i < n_cot_params; i++) {
    DhcValue *p = cot_params[i];
    const DhcParamInfo *info = &j->param_info.at[j->params.n - n_cot_params + i];
    s->map[p->id] = dhc_func_param(h, &p->type, *info, p->def->span);
  }
  for (const DhcNode *n = j->first; n; n = n->next) {
    if (n->op == DHC_OP_PARAM || !needed(s, n)) continue;
    if (is_saved(s, n)) continue;
    if (!copy_into(s, &b, n)) return NULL;
  }
  int k = 0;
  for (int i = 0; i < f->params.n; i++) {
    if (!s->ad->wanted[i]) continue;
    const char *name = f->param_info.at[i].name ? f->param_info.at[i].name : "";
    dhc_ad_result(h, s->map[cots[k++]->id], dhc_arena_printf(s->ad->arena, DHC_PREFIX_GRADIENT "%s", name));
  }
  if (k != n_cots) DHC_BUG("%s: %d cotangents for %d parameters", f->name, n_cots, k);
  return h;
}

DhcGradPair *dhc_ad_split(DhcAd *ad, DhcValue *const *cots, int n_cots,
                          DhcValue *const *cot_params, int n_cot_params) {
  Split s = {.ad = ad};
  s.need = DHC_NEW_N(ad->arena, bool, ad->f->next_value_id + 1);
  s.result = DHC_NEW_N(ad->arena, int, ad->f->next_value_id + 1);
  /* The last of equal results: of a scan's body that is a y, which is stacked, not a carry. */
  for (int i = 0; i < ad->src->results.n; i++)
    s.result[ad->map[ad->src->results.at[i]->id]->id] = i + 1;
  mark(&s, cots, n_cots);
  DhcGradPair *pair = DHC_NEW(ad->arena, DhcGradPair);
  pair->f = (DhcFunc *)ad->src;
  pair->n_saved = s.saved.n;
  pair->fwd = build_fwd(&s, pair);
  pair->bwd = pair->fwd ? build_bwd(&s, pair, cots, n_cots, cot_params, n_cot_params) : NULL;
  return pair->bwd ? pair : NULL;
}
