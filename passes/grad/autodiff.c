/* The reverse-mode driver. Which values matter is decided first, on the function as it
 * stands: active values depend on something we differentiate by, useful ones lead to
 * something we differentiate. Then the nodes are copied, then the rules run backwards over
 * the copies. Zeros are symbolic: a value nobody differentiated has no cotangent at all.
 *
 * Integers have no cotangents. To tell "zero by definition" (comparisons, floor) from "no
 * gradient here" (argmax) behind an integer, a cotangent that arrives at a cast from int
 * marks the integer as reached, and the mark walks on like a cotangent would. */
#include "passes/grad/ad_internal.h"

static DhcVjpRule *const vjp_table[DHC_N_OPS] = {
#define OP(id, ...) [DHC_OP_##id] =
#define VJP(rule) rule,
#include "ir/ops.def"
};

/* Zero by definition; the driver stops before calling it. */
bool vjp_zero(DhcAd *ad, DhcNode *n) {
  (void)ad, (void)n;
  return true;
}

/* No gradient; the driver reports it before calling it. */
bool vjp_none(DhcAd *ad, DhcNode *n) {
  (void)ad, (void)n;
  return false;
}

/* ---- what rules use -------------------------------------------------------- */

DhcValue *dhc_ad_cot(const DhcAd *ad, const DhcNode *n, int i) {
  return ad->cot[n->results[i]->id];
}

DhcValue *dhc_ad_zeros(DhcAd *ad, const DhcValue *v) {
  return dhc_b_fill(&ad->b, &v->type, 0);
}

bool dhc_ad_is_zeros(const DhcValue *v) {
  return v->def->op == DHC_OP_FILL && dhc_attr(v->def, "value")->f == 0;
}

bool dhc_ad_gives_none(const DhcGradPair *pair, int param) {
  int r = 0;
  for (int i = 0; i < param; i++) r += dhc_ad_is_float(pair->f->params.at[i]);
  return dhc_ad_is_float(pair->f->params.at[param]) && dhc_ad_is_zeros(pair->bwd->results.at[r]);
}

DhcValue *dhc_ad_cot_or_zeros(DhcAd *ad, const DhcNode *n, int i) {
  DhcValue *g = dhc_ad_cot(ad, n, i);
  return g ? g : dhc_ad_zeros(ad, n->results[i]);
}

bool dhc_ad_wants(const DhcAd *ad, const DhcNode *n, int i) {
  return dhc_ad_is_float(n->args[i]) && ad->carries[n->args[i]->id];
}

/* v is a pad of one axis, without gaps: that axis, else -1. */
static int padded_axis(const DhcValue *v) {
  const DhcNode *d = v->def;
  if (d->op != DHC_OP_PAD) return -1;
  int axis = -1;
  for (int i = 0; i < v->type.rank; i++) {
    if (dhc_attr(d, "step")->ints.at[i] != 1) return -1;
    if (v->type.dim[i] == d->args[0]->type.dim[i]) continue;
    if (axis >= 0) return -1;
    axis = i;
  }
  return axis;
}

/* The parts of a split come back as pads of neighbouring ranges: their sum is the pad of a
 * concat (of nothing, in the end), not a sum of tensors full of zeros. NULL if x and y are
 * no such pair, in this order. */
static DhcValue *join_pads(DhcAd *ad, const DhcValue *x, const DhcValue *y) {
  DhcDims *cx = ad->m->dims;
  int axis = padded_axis(x);
  if (axis < 0 || padded_axis(y) != axis) return NULL;
  const DhcAttr *low = dhc_attr(x->def, "low"), *high = dhc_attr(y->def, "high");
  const DhcDim *end = dhc_dim_add(cx, low->dims.at[axis], x->def->args[0]->type.dim[axis]);
  if (end != dhc_attr(y->def, "low")->dims.at[axis]) return NULL;
  DhcValue *parts[2] = {x->def->args[0], y->def->args[0]};
  DhcValue *whole = dhc_b_concat(&ad->b, parts, 2, axis);
  if (!whole || dhc_type_equal(&whole->type, &x->type)) return whole;
  DhcAttr attrs[3] = {*low, *high, *dhc_attr(x->def, "step")};
  return dhc_build1(&ad->b, DHC_OP_PAD, &whole, 1, attrs, 3);
}

static DhcValue *sum_of(DhcAd *ad, DhcValue *x, DhcValue *y) {
  DhcValue *joined = join_pads(ad, x, y);
  if (!joined) joined = join_pads(ad, y, x);
  return joined ? joined : dhc_b_binary(&ad->b, DHC_OP_ADD, x, y);
}

bool dhc_ad_add(DhcAd *ad, const DhcNode *n, int i, DhcValue *cot) {
  if (!cot) return false;
  if (!dhc_ad_wants(ad, n, i)) return true;
  DhcValue *to = n->args[i];
  if (!dhc_type_equal(&to->type, &cot->type))
    DHC_BUG("%s: cotangent of operand %d has another type", dhc_op_info(n->op)->name, i);
  DhcValue **sum = &ad->cot[to->id];
  *sum = *sum ? sum_of(ad, *sum, cot) : cot;
  return *sum != NULL;
}

/* ---- activity ---------------------------------------------------------------- */

static bool stops(const DhcNode *n) {
  return vjp_table[n->op] == vjp_zero;
}

static void find_active(DhcAd *ad) {
  const DhcFunc *f = ad->src;
  for (int i = 0; i < f->params.n; i++)
    if (ad->wanted[i]) ad->active[f->params.at[i]->id] = true;
  for (const DhcNode *n = f->first; n; n = n->next) {
    bool any = false;
    for (int i = 0; i < n->n_args; i++) any |= ad->active[n->args[i]->id];
    if (!any || stops(n)) continue;
    for (int i = 0; i < n->n_results; i++) ad->active[n->results[i]->id] = true;
  }
}

static void find_useful(DhcAd *ad, const bool *target) {
  const DhcFunc *f = ad->src;
  for (int i = 0; i < f->results.n; i++)
    if (target[i]) ad->useful[f->results.at[i]->id] = true;
  for (const DhcNode *n = f->last; n; n = n->prev) {
    bool any = false;
    for (int i = 0; i < n->n_results; i++) any |= ad->useful[n->results[i]->id];
    if (!any || stops(n)) continue;
    for (int i = 0; i < n->n_args; i++) ad->useful[n->args[i]->id] = true;
  }
}

static void find_carries(DhcAd *ad) {
  for (int i = 0; i < ad->src->next_value_id; i++)
    if (ad->map[i]) ad->carries[ad->map[i]->id] = ad->active[i] && ad->useful[i];
}

/* ---- forward copy -------------------------------------------------------------- */

DhcAttr dhc_ad_own_dims(DhcModule *m, const DhcFunc *f) {
  const DhcDim **d = DHC_NEW_N(m->arena, const DhcDim *, f->symbols.n + 1);
  for (int i = 0; i < f->symbols.n; i++) d[i] = dhc_dim_symbol(m->dims, f->symbols.at[i]);
  return dhc_attr_dims(m, d, f->symbols.n);
}

static bool has_result(const DhcFunc *f, const char *name) {
  for (int i = 0; i < f->results.n; i++)
    if (f->result_names.at[i] && strcmp(f->result_names.at[i], name) == 0) return true;
  return false;
}

void dhc_ad_result(DhcFunc *f, DhcValue *v, const char *name) {
  const char *free_name = name;
  for (int k = 2; has_result(f, free_name); k++)
    free_name = dhc_arena_printf(f->module->arena, "%s.%d", name, k);
  dhc_func_result(f, v, free_name);
}

static DhcNode *copy_node(DhcAd *ad, const DhcNode *n) {
  DhcValue **args = DHC_NEW_N(ad->arena, DhcValue *, n->n_args + 1);
  bool in = false, out = false;
  for (int i = 0; i < n->n_args; i++) {
    args[i] = ad->map[n->args[i]->id];
    in |= ad->active[n->args[i]->id];
  }
  for (int i = 0; i < n->n_results; i++) out |= ad->useful[n->results[i]->id];
  ad->b.span = n->span;
  ad->b.origin = n->origin;
  if (in && out && n->op == DHC_OP_CALL) return dhc_ad_forward_call(ad, n, args);
  if (in && out && n->op == DHC_OP_SCAN) return dhc_ad_forward_scan(ad, n, args);
  return dhc_node_copy(&ad->b, n, args);
}

bool dhc_ad_forward(DhcAd *ad, const char *name, DhcFuncKind kind, const bool *target) {
  const DhcFunc *s = ad->src;
  DhcArena *a = ad->arena = ad->m->arena;
  ad->active = DHC_NEW_N(a, bool, s->next_value_id + 1);
  ad->useful = DHC_NEW_N(a, bool, s->next_value_id + 1);
  ad->map = DHC_NEW_N(a, DhcValue *, s->next_value_id + 1);
  ad->copy = DHC_NEW_N(a, DhcNode *, s->next_node_id + 1);
  find_active(ad);
  find_useful(ad, target);
  ad->f = dhc_func_new(ad->m, name, kind, s->span);
  ad->b = (DhcBuilder){.f = ad->f};
  dhc_edit_copy_binders(ad->f, s);
  for (int i = 0; i < s->params.n; i++) {
    const DhcValue *p = s->params.at[i];
    ad->map[p->id] = dhc_func_param(ad->f, &p->type, s->param_info.at[i], p->def->span);
  }
  ad->cot_param = DHC_NEW_N(a, DhcValue *, s->results.n + 1);
  for (int i = 0; ad->cotangent_inputs && i < s->results.n; i++) {
    if (!target[i]) continue;
    const char *of = s->result_names.at[i] ? s->result_names.at[i] : "";
    DhcRole role = kind == DHC_FUNC_ENTRY ? DHC_ROLE_INPUT : DHC_ROLE_PLAIN;
    DhcParamInfo info = {dhc_arena_printf(a, DHC_PREFIX_COTANGENT "%s", of), role, -1};
    ad->cot_param[i] = dhc_func_param(ad->f, &s->results.at[i]->type, info, s->span);
  }
  /* aux is indexed by node id; forward nodes plus parameters and later cotangent inputs. */
  int max_nodes = s->next_node_id + 2 * (s->params.n + s->results.n) + 8;
  ad->aux = DHC_NEW_N(a, void *, max_nodes);
  for (const DhcNode *n = s->first; n; n = n->next) {
    if (n->op == DHC_OP_PARAM) continue;
    DhcNode *c = copy_node(ad, n);
    if (!c) return false;
    ad->copy[n->id] = c;
    for (int i = 0; i < n->n_results; i++) ad->map[n->results[i]->id] = c->results[i];
  }
  if (ad->f->next_node_id > max_nodes) DHC_BUG("%s: more forward nodes than expected", name);
  ad->n_forward = ad->f->next_value_id;
  ad->n_forward_nodes = ad->f->next_node_id;
  ad->cot = DHC_NEW_N(a, DhcValue *, ad->n_forward + 1);
  ad->carries = DHC_NEW_N(a, bool, ad->n_forward + 1);
  ad->reached = DHC_NEW_N(a, bool, ad->n_forward + 1);
  find_carries(ad);
  return true;
}

void dhc_ad_back_again(DhcAd *ad, const bool *target) {
  const size_t n = (size_t)ad->src->next_value_id, forward = (size_t)ad->n_forward;
  memset(ad->active, 0, n * sizeof *ad->active);
  memset(ad->useful, 0, n * sizeof *ad->useful);
  memset(ad->cot, 0, forward * sizeof *ad->cot);
  memset(ad->reached, 0, forward * sizeof *ad->reached);
  find_active(ad);
  find_useful(ad, target);
  find_carries(ad);
}

/* ---- backward -------------------------------------------------------------------- */

bool dhc_ad_seed(DhcAd *ad, int r, DhcValue *cot) {
  DhcValue *to = ad->map[ad->src->results.at[r]->id];
  if (!cot) return false;
  DhcValue **sum = &ad->cot[to->id];
  *sum = *sum ? sum_of(ad, *sum, cot) : cot;
  return *sum != NULL;
}

/* Name of the first trained parameter, or else operand, among those we differentiate by,
 * that n depends on. */
static const char *parameter_behind(const DhcAd *ad, const DhcNode *n) {
  const DhcFunc *f = ad->src;
  bool *behind = DHC_NEW_N(ad->arena, bool, f->next_value_id + 1);
  for (int i = 0; i < n->n_args; i++) behind[n->args[i]->id] = true;
  for (const DhcNode *k = n->prev; k; k = k->prev) {
    bool any = false;
    for (int i = 0; i < k->n_results; i++) any |= behind[k->results[i]->id];
    if (!any || stops(k)) continue;
    for (int i = 0; i < k->n_args; i++) behind[k->args[i]->id] = true;
  }
  const char *name = NULL;
  for (int i = 0; i < f->params.n; i++) {
    if (!ad->wanted[i] || !behind[f->params.at[i]->id] || !f->param_info.at[i].name) continue;
    if (!name) name = f->param_info.at[i].name;
    if (f->param_info.at[i].role == DHC_ROLE_WEIGHT) return f->param_info.at[i].name;
  }
  return name ? name : "?";
}

/* An integer value that a cotangent reached hands the mark to its integer operands. */
static void pass_mark(DhcAd *ad, const DhcNode *n) {
  for (int i = 0; i < n->n_args; i++)
    if (!dhc_ad_is_float(n->args[i])) ad->reached[n->args[i]->id] = true;
}

static bool reverse_node(DhcAd *ad, const DhcNode *s) {
  DhcNode *n = ad->copy[s->id];
  bool in = false, cot = false, mark = false;
  for (int i = 0; i < s->n_args; i++) in |= ad->active[s->args[i]->id];
  for (int i = 0; i < s->n_results; i++) {
    cot |= ad->cot[n->results[i]->id] != NULL;
    mark |= ad->reached[n->results[i]->id];
  }
  if (!in || stops(n) || !(cot || mark)) return true;
  if (vjp_table[n->op] == vjp_none) {
    dhc_diag(ad->px->diags, DHC_ERROR, "E0710", n->span,
             "'%s' has no gradient but lies between parameter '%s' and the loss",
             dhc_op_info(n->op)->name, parameter_behind(ad, s));
    return false;
  }
  ad->b.span = n->span;
  ad->b.origin = n->origin;
  if (!cot) {
    pass_mark(ad, n);
    return true;
  }
  return vjp_table[n->op](ad, n);
}

bool dhc_ad_reverse(DhcAd *ad) {
  bool ok = true;
  for (const DhcNode *n = ad->src->last; n; n = n->prev)
    if (n->op != DHC_OP_PARAM) ok &= reverse_node(ad, n);
  return ok;
}

/* ---- units ------------------------------------------------------------------------- */

static const DhcGradPair *find_pair(const DhcPassCtx *px, const DhcFunc *f) {
  for (int i = 0; i < px->pairs.n; i++)
    if (px->pairs.at[i]->f == f) return px->pairs.at[i];
  return NULL;
}

/* Joint function of a unit: all float parameters, all float results. */
static DhcGradPair *make_pair(DhcPassCtx *px, DhcFunc *f) {
  DhcArena *a = px->module->arena;
  DhcAd ad = {.px = px, .m = px->module, .src = f, .cotangent_inputs = true};
  bool *target = DHC_NEW_N(a, bool, f->results.n + 1);
  ad.wanted = DHC_NEW_N(a, bool, f->params.n + 1);
  for (int i = 0; i < f->params.n; i++) ad.wanted[i] = dhc_ad_is_float(f->params.at[i]);
  for (int i = 0; i < f->results.n; i++) target[i] = dhc_ad_is_float(f->results.at[i]);
  if (!dhc_ad_forward(&ad, dhc_arena_printf(a, "%s.joint", f->name), DHC_FUNC_UNIT, target))
    return NULL;
  DhcValue **in = DHC_NEW_N(a, DhcValue *, f->results.n + 1);
  DhcValue **out = DHC_NEW_N(a, DhcValue *, f->params.n + 1);
  int n_in = 0, n_out = 0;
  bool ok = true;
  for (int i = 0; i < f->results.n; i++) {
    if (!target[i]) continue;
    in[n_in] = ad.cot_param[i];
    ok = ok && dhc_ad_seed(&ad, i, in[n_in++]);
  }
  ok = ok && dhc_ad_reverse(&ad);
  ad.b.span = f->span;
  ad.b.origin = NULL;
  for (int i = 0; ok && i < f->params.n; i++) {
    if (!ad.wanted[i]) continue;
    DhcValue *p = ad.map[f->params.at[i]->id];
    out[n_out] = ad.cot[p->id] ? ad.cot[p->id] : dhc_ad_zeros(&ad, p);
    ok = out[n_out++] != NULL;
  }
  DhcGradPair *pair = ok ? dhc_ad_split(&ad, out, n_out, in, n_in) : NULL;
  dhc_edit_drop(px->module, ad.f);
  return pair;
}

const DhcGradPair *dhc_autodiff(DhcPassCtx *px, DhcFunc *f) {
  const DhcGradPair *known = find_pair(px, f);
  if (known) return known;
  DhcGradPair *pair = make_pair(px, f);
  if (pair) DHC_PUSH(px->module->arena, &px->pairs, pair);
  return pair;
}
