/* What training does with parts of a model: submodules that stay as they are or follow others, groups of parameters with
 * settings of their own. */
#include <math.h>

#include "frontend/elab_builtin.h"

/* A scalar of training's own, which a program may change. */
static const char *add_scalar(DhcModel *m, const char *name, double value) {
  DhcScalarDecl s = {.name = dhc_intern(m->e->strings, name), .value = value};
  DHC_PUSH(m->module->arena, &m->module->scalars, s);
  return s.name;
}

/* ---- frozen, average -------------------------------------------------------------------------- */

/* frozen(layer): its parameters get no gradient; of anything else: what was read for it in this expression (dhc_fn_tensor). */
DhcVal dhc_bi_frozen(DhcCx *cx, DhcBuiltinCall *c) {
  DhcVal v = c->arg[0];
  if (v.kind != DHC_V_LAYER) return v;
  DhcClosure *layer = dhc_closure_with(dhc_cx_arena(cx), v.layer, NULL, 0);
  layer->frozen = true;
  return (DhcVal){.kind = DHC_V_LAYER, .layer = layer};
}

/* average(submodule, decay): another of its make, whose parameters begin as its own and follow them step by step. */
DhcVal dhc_bi_average(DhcCx *cx, DhcBuiltinCall *c) {
  DhcFx *decay = dhc_val_fx(cx, &c->arg[1]);
  double v;
  if (c->arg[0].kind == DHC_V_ERROR) return c->arg[0];
  if (c->arg[0].kind != DHC_V_INST || cx->fn) {
    DhcDiag *d = dhc_err(cx, "E0303", c->span[0], "average takes a submodule declared above, got %s", dhc_say_kind(cx, &c->arg[0]));
    dhc_err_hint(cx, d, "target = average(online, decay = 0.995)");
    return dhc_v_error();
  }
  if (!decay) {
    dhc_want_double(cx, &c->arg[1], c->span[1], dhc_bi_what(cx, c, 1), &v);
    return dhc_v_error();
  }
  if (!(decay->value >= 0 && decay->value <= 1)) {
    dhc_err(cx, "E0304", c->span[1], "decay of average must be in 0..1, got %g", decay->value);
    return dhc_v_error();
  }
  const DhcInst *of = c->arg[0].inst;
  DhcClosure *layer = DHC_NEW(dhc_cx_arena(cx), DhcClosure);
  *layer = (DhcClosure){.decl = of->decl, .file = of->file, .frozen = true, .average = of};
  for (int i = 0; i < of->hypers.n; i++) {
    DhcGiven g = {.name = of->hypers.at[i].name, .value = of->hypers.at[i].value, .span = c->span[0]};
    DHC_PUSH(dhc_cx_arena(cx), &layer->args, g);
  }
  layer->decay = add_scalar(cx->m, dhc_arena_printf(dhc_cx_arena(cx), "$average.%d", cx->m->module->scalars.n), decay->value);
  return (DhcVal){.kind = DHC_V_LAYER, .layer = layer};
}

void dhc_train_tensor(DhcCx *cx, DhcTensorDecl *d) {
  const DhcInst *at = cx->self;
  d->frozen = at->frozen;
  while (at && !at->average) at = at->parent;
  if (!at) return;
  const char *rest = d->path + strlen(at->path), *of = at->average->path;
  d->average = 1 + dhc_module_tensor(cx->m->module, *of ? dhc_arena_printf(dhc_cx_arena(cx), "%s%s", of, rest) : rest + 1);
  d->decay = at->decay;
}

void dhc_train_begin_averages(DhcModel *m) {
  for (int i = 0; i < m->module->tensors.n; i++) {
    DhcTensorDecl *t = &m->module->tensors.at[i];
    if (t->average) t->init = m->module->tensors.at[t->average - 1].init;
  }
}

/* ---- groups ---------------------------------------------------------------------------------------- */

/* One setting of a group: the rate, as a multiple of the recipe's, or another argument of the optimiser's. */
static bool bind_setting(DhcCx *cx, const DhcRecipe *r, const DhcValPair *p, int number, DhcSpan at, DhcGroup *g) {
  DhcFx *fx = dhc_val_fx(cx, p->value);
  DHC_VEC(const char *) names = {0};
  bool known = !strcmp(p->key, "lr");
  double v;
  DHC_PUSH(dhc_cx_arena(cx), &names, "lr");
  for (int i = 0; i < r->optimizer_args.n; i++) {
    known = known || !strcmp(p->key, r->optimizer_args.at[i].name);
    DHC_PUSH(dhc_cx_arena(cx), &names, r->optimizer_args.at[i].name);
  }
  if (!known) {
    DhcDiag *d = dhc_err(cx, "E0306", at, "groups: %s has no argument '%s'", r->optimizer, p->key);
    const char *close = dhc_suggest(p->key, names.at, names.n);
    if (close) dhc_err_hint(cx, d, "did you mean '%s'?", close);
    return false;
  }
  if (!fx) return dhc_want_double(cx, p->value, at, dhc_arena_printf(dhc_cx_arena(cx), "'%s' of a group", p->key), &v);
  if (!isfinite(fx->value) || (!strcmp(p->key, "lr") && fx->value < 0)) {
    dhc_err(cx, "E0304", at, "'%s' of a group cannot be %g", p->key, fx->value);
    return false;
  }
  DhcGroupArg a = {.param = p->key, .scalar = add_scalar(cx->m, dhc_arena_printf(dhc_cx_arena(cx), "$%s.%d", p->key, number), fx->value)};
  DHC_PUSH(cx->m->module->arena, &g->args, a);
  return true;
}

bool dhc_train_groups(DhcCx *cx, DhcRecipe *r, const DhcAstExpr *e) {
  DhcVal v = dhc_eval(cx, e);
  DhcText all = {.arena = dhc_cx_arena(cx)};
  if (v.kind == DHC_V_ERROR) return false;
  bool map = v.kind == DHC_V_MAP;
  for (int i = 0; map && i < v.map.n; i++) map = v.map.at[i].value->kind == DHC_V_MAP;
  if (!map) {
    DhcDiag *d = dhc_err(cx, "E0303", e->span, "groups must be a map of patterns to settings");
    dhc_err_hint(cx, d, "groups = { \"encoder.*\" = { lr = 0.1, weight_decay = 0.0 } }");
    return false;
  }
  DhcModule *m = cx->m->module;
  for (int i = 0; i < v.map.n; i++) {
    const char *pattern = v.map.at[i].key;
    const DhcVal *settings = v.map.at[i].value;
    DhcGroup g = {.pattern = pattern};
    int n = 0;
    dhc_text_printf(&all, "%s%s {", i ? " " : "", pattern);
    for (int k = 0; k < settings->map.n; k++) {
      if (!bind_setting(cx, r, &settings->map.at[k], m->groups.n + 1, e->span, &g)) return false;
      dhc_text_printf(&all, " %s=%.17g", settings->map.at[k].key, m->scalars.at[m->scalars.n - 1].value);
    }
    dhc_text_puts(&all, " }");
    DHC_PUSH(m->arena, &m->groups, g);
    for (int t = 0; t < m->tensors.n; t++) {
      DhcTensorDecl *d = &m->tensors.at[t];
      if (d->role != DHC_ROLE_WEIGHT || !dhc_tap_matches(pattern, d->path)) continue;
      if (!d->group) d->group = m->groups.n;
      n++;
    }
    if (n) continue;
    dhc_err(cx, "E0301", e->span, "groups: no parameter has a path like '%s'", pattern);
    return false;
  }
  r->groups = dhc_text_str(&all);
  return true;
}
