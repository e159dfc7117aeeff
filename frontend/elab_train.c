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

/* ---- optimisers ------------------------------------------------------------------------------------ */

void dhc_train_set_arg(DhcArena *arena, DhcRecipeArgs *args, const char *name, double value) {
  for (int i = 0; i < args->n; i++)
    if (!strcmp(args->at[i].name, name)) {
      args->at[i].value = value;
      return;
    }
  const DhcRecipeArg a = {.name = name, .value = value};
  DHC_PUSH(arena, args, a);
}

static bool number_of(DhcCx *cx, const DhcAstExpr *e, const char *what, double *out) {
  const DhcVal v = dhc_eval(cx, e);
  const DhcFx *fx = dhc_val_fx(cx, &v);
  if (!fx) return dhc_want_double(cx, &v, e->span, what, out);
  *out = fx->value;
  if (!isnan(*out)) return true;
  dhc_err(cx, "E0304", e->span, "%s cannot be %g", what, *out);
  return false;
}

/* Whether a number is given for it: not for what every step brings, weights, gradients, states, the rate and the step's number. */
static bool is_given(const DhcAstParam *p) {
  const DhcAstExpr *shape = p->type.kind == DHC_TY_TENSOR ? p->type.shape : NULL;
  return !(shape && shape->u.list.n) && strcmp(p->name.text, DHC_OPTIMIZER_LR) && strcmp(p->name.text, DHC_OPTIMIZER_STEP);
}

static bool unknown_arg(DhcCx *cx, const DhcAstArg *a, const char *optimizer, const char *const *names, int n) {
  const char *name = a->name.text;
  DhcDiag *d = dhc_err(cx, "E0306", a->span, name ? "%s has no argument '%s'" : "%s takes its arguments by name", optimizer, name ? name : "");
  const char *close = name ? dhc_suggest(name, names, n) : NULL;
  if (name && !strcmp(name, DHC_OPTIMIZER_LR)) dhc_err_hint(cx, d, "the rate is the recipe's: lr(step, steps) = 1e-3; lr of a group, beside its optimizer, is times that");
  else if (close) dhc_err_hint(cx, d, "did you mean '%s'?", close);
  return false;
}

static bool optimizer_arg(DhcCx *cx, const DhcAstArg *a, const DhcAstParams *p, DhcOptimizer *o) {
  DHC_VEC(const char *) names = {0};
  const char *name = a->name.text;
  bool known = false;
  double v;
  for (int i = 0; i < p->n; i++) {
    if (!is_given(&p->at[i])) continue;
    DHC_PUSH(dhc_cx_arena(cx), &names, p->at[i].name.text);
    known = known || (name && !strcmp(p->at[i].name.text, name));
  }
  if (!known) return unknown_arg(cx, a, o->name, names.at, names.n);
  if (!number_of(cx, a->value, dhc_arena_printf(dhc_cx_arena(cx), "argument '%s' of %s", name, o->name), &v)) return false;
  dhc_train_set_arg(dhc_cx_arena(cx), &o->args, name, v);
  return true;
}

bool dhc_train_optimizer(DhcCx *cx, const char *name, const DhcAstArgs *args, DhcSpan at, DhcOptimizer *out) {
  const DhcAstModule *in = NULL;
  const DhcAstDecl *d = dhc_find_decl(cx->e, cx->file, name, DHC_DECL_BIT(DHC_DE_FN), &in);
  *out = (DhcOptimizer){.name = name};
  if (!d) {
    dhc_report_unknown(cx, "optimizer", name, at);
    return false;
  }
  const DhcAstParams *p = &d->u.fn.sig.inputs;
  bool ok = true;
  double v;
  for (int i = 0; i < p->n; i++) {
    if (!p->at[i].default_value) continue;
    if (number_of(cx, p->at[i].default_value, p->at[i].name.text, &v)) dhc_train_set_arg(dhc_cx_arena(cx), &out->args, p->at[i].name.text, v);
    else ok = false;
  }
  for (int i = 0; args && i < args->n; i++) ok = optimizer_arg(cx, &args->at[i], p, out) && ok;
  return ok;
}

bool dhc_train_optimizer_call(DhcCx *cx, const DhcAstExpr *e, const char *what, DhcOptimizer *out) {
  *out = (DhcOptimizer){0};
  if (e->kind == DHC_EX_CALL && e->u.call.callee->kind == DHC_EX_NAME)
    return dhc_train_optimizer(cx, e->u.call.callee->u.name, &e->u.call.args, e->span, out);
  if (e->kind == DHC_EX_NAME) return dhc_train_optimizer(cx, e->u.name, NULL, e->span, out);
  dhc_err(cx, "E0303", e->span, "%s must be a call such as adamw(weight_decay = 0.05)", what);
  return false;
}

/* ---- groups ---------------------------------------------------------------------------------------- */

/* A setting of a group as it is written; `e` NULL: the map was not, and this is its value. */
typedef struct Setting {
  const char *key;
  DhcSpan at;
  const DhcAstExpr *e;
  DhcVal v;
} Setting;

typedef struct Group {
  DhcCx *cx;
  const char *pattern;
  DhcSpan at;
  DHC_VEC(Setting) settings;
  DhcOptimizer optimizer; /* name NULL: the recipe's */
  DhcGroup g;
  int64_t every, after; /* where g.every is not NULL */
  DhcText said;
} Group;

static bool is_key(const Setting *s, const char *key) { return !strcmp(s->key, key); }

static const char *group_scalar(Group *x, const char *name, double value) {
  DhcModel *m = x->cx->m;
  dhc_text_printf(&x->said, " %s=%.17g", name, value);
  return add_scalar(m, dhc_arena_printf(dhc_cx_arena(x->cx), "$%s.%d", name, m->module->groups.n + 1), value);
}

static void add_arg(Group *x, const char *param, double value) {
  const DhcGroupArg a = {.param = param, .scalar = group_scalar(x, param, value)};
  DHC_PUSH(x->cx->m->module->arena, &x->g.args, a);
}

/* What a group has beside the arguments of its optimiser. */
static const char *const own_keys[] = {"optimizer", "loss", "every", "after"};
enum { N_OWN = sizeof own_keys / sizeof *own_keys };

static bool is_own(const Setting *s) {
  for (int i = 0; i < N_OWN; i++)
    if (is_key(s, own_keys[i])) return true;
  return false;
}

/* An optimiser or a result under its key, or under one that is nearly it: these have no value. */
static bool is_named(const DhcAstPair *s) {
  const char *key = s->name.text, *close = dhc_suggest(key, own_keys, N_OWN);
  const bool name = s->value->kind == DHC_EX_NAME;
  return !strcmp(key, "optimizer") || (name && !strcmp(key, "loss")) || (close && (name || s->value->kind == DHC_EX_CALL) && strcmp(key, close));
}

static bool unknown_setting(Group *x, const char *optimizer, const DhcRecipeArgs *args, const Setting *s) {
  DHC_VEC(const char *) names = {0};
  DHC_PUSH(dhc_cx_arena(x->cx), &names, DHC_OPTIMIZER_LR);
  for (int i = 0; i < N_OWN; i++) DHC_PUSH(dhc_cx_arena(x->cx), &names, own_keys[i]);
  for (int i = 0; i < args->n; i++) DHC_PUSH(dhc_cx_arena(x->cx), &names, args->at[i].name);
  DhcDiag *d = dhc_err(x->cx, "E0306", s->at, "groups: %s has no argument '%s'", optimizer, s->key);
  const char *close = dhc_suggest(s->key, names.at, names.n);
  if (close) dhc_err_hint(x->cx, d, "did you mean '%s'?", close);
  return false;
}

/* The rate, as a multiple of the recipe's, or another argument of the optimiser's. */
static bool bind_number(Group *x, const DhcRecipe *r, const Setting *s) {
  DhcOptimizer *o = &x->optimizer;
  const DhcRecipeArgs *args = o->name ? &o->args : &r->optimizer_args;
  const bool rate = is_key(s, DHC_OPTIMIZER_LR);
  const char *what = dhc_arena_printf(dhc_cx_arena(x->cx), "'%s' of a group", s->key);
  bool known = rate;
  double v = 0;
  for (int i = 0; i < args->n; i++) known = known || is_key(s, args->at[i].name);
  if (!known) return unknown_setting(x, o->name ? o->name : r->optimizer, args, s);
  const DhcFx *fx = dhc_val_fx(x->cx, &s->v);
  if (!fx) return dhc_want_double(x->cx, &s->v, s->at, what, &v);
  if (!isfinite(fx->value) || (rate && fx->value < 0)) {
    dhc_err(x->cx, "E0304", s->at, "%s cannot be %g", what, fx->value);
    return false;
  }
  if (o->name && !rate) dhc_train_set_arg(dhc_cx_arena(x->cx), &o->args, s->key, fx->value);
  else add_arg(x, s->key, fx->value);
  return true;
}

/* What an optimiser keeps of each weight: its states are among what it takes and what it gives. */
static const char *const *states_of(DhcCx *cx, const char *optimizer) {
  const DhcAstModule *in = NULL;
  const DhcAstDecl *d = dhc_find_decl(cx->e, cx->file, optimizer, DHC_DECL_BIT(DHC_DE_FN), &in);
  const DhcAstParams *p = &d->u.fn.sig.inputs, *out = &d->u.fn.sig.outputs;
  const char **names = DHC_NEW_N(dhc_cx_arena(cx), const char *, out->n + 1);
  int n = 0;
  for (int i = 0; i < out->n; i++)
    for (int k = 2; k < p->n; k++)
      if (out->at[i].name.text && p->at[k].name.text == out->at[i].name.text) names[n++] = out->at[i].name.text;
  return names;
}

/* An optimiser of its own first: it says what else there is to set. */
static bool bind_settings(Group *x, const DhcRecipe *r) {
  for (int i = 0; i < x->settings.n; i++) {
    const Setting *s = &x->settings.at[i];
    if (!is_key(s, "optimizer")) continue;
    if (!s->e) {
      dhc_err(x->cx, "E0303", s->at, "groups: an optimizer is written where the groups are");
      return false;
    }
    if (!dhc_train_optimizer_call(x->cx, s->e, "optimizer of a group", &x->optimizer)) return false;
    x->g.optimizer = x->optimizer.name;
    x->g.keeps = states_of(x->cx, x->optimizer.name);
    dhc_text_printf(&x->said, " optimizer=%s", x->optimizer.name);
  }
  for (int i = 0; i < x->settings.n; i++)
    if (!is_own(&x->settings.at[i]) && !bind_number(x, r, &x->settings.at[i])) return false;
  for (int i = 0; i < x->optimizer.args.n; i++) add_arg(x, x->optimizer.args.at[i].name, x->optimizer.args.at[i].value);
  return true;
}

/* In which steps: every so many, after the first so many. Steps are counted in f32. */
static bool bind_turns(Group *x) {
  static const char *const keys[] = {"every", "after"};
  int64_t v[2] = {1, 0};
  bool any = false;
  for (int i = 0; i < x->settings.n; i++) {
    const Setting *s = &x->settings.at[i];
    for (int k = 0; k < 2; k++) {
      if (!is_key(s, keys[k])) continue;
      const char *what = dhc_arena_printf(dhc_cx_arena(x->cx), "'%s' of a group", s->key);
      const int64_t least = 1 - k, most = 1 << 24;
      any = true;
      if (!dhc_want_int(x->cx, &s->v, s->at, what, &v[k])) return false;
      if (v[k] >= least && v[k] <= most) continue;
      DhcDiag *d = dhc_err(x->cx, "E0304", s->at, "%s must be in %lld..%lld, got %lld", what, (long long)least, (long long)most, (long long)v[k]);
      dhc_err_hint(x->cx, d, "every = 2 steps in every other step, after = 1 passes the first by; frozen(...) is for what never learns");
      return false;
    }
  }
  if (!any) return true;
  x->every = v[0];
  x->after = v[1];
  x->g.every = group_scalar(x, keys[0], (double)v[0]);
  x->g.after = group_scalar(x, keys[1], (double)v[1]);
  return true;
}

static const double *value_of(const DhcModule *m, const char *scalar) {
  int i = m->scalars.n - 1;
  while (strcmp(m->scalars.at[i].name, scalar)) i--;
  return &m->scalars.at[i].value;
}

static const char *say_group(Group *x, const DhcRecipe *r, int64_t n) {
  const DhcModule *m = x->cx->m->module;
  const DhcGroup *g = &x->g;
  const double *lr = NULL;
  DhcText t = {.arena = m->arena};
  int said = 0;
  dhc_text_printf(&t, "group %s: %lld parameters, %s", g->pattern, (long long)n, g->optimizer ? g->optimizer : r->optimizer);
  for (int i = 0; i < g->args.n; i++) {
    const double *v = value_of(m, g->args.at[i].scalar);
    if (!strcmp(g->args.at[i].param, DHC_OPTIMIZER_LR)) lr = v;
    else dhc_text_printf(&t, "%s%s = %.6g", said++ ? ", " : "(", g->args.at[i].param, *v);
  }
  if (said) dhc_text_puts(&t, ")");
  if (lr) dhc_text_printf(&t, ", %.6g times the rate", *lr);
  if (g->loss) dhc_text_printf(&t, ", by %s", g->loss);
  if (g->every && x->every == 1) dhc_text_puts(&t, ", every step");
  else if (g->every) dhc_text_printf(&t, ", every %lld steps", (long long)x->every);
  if (g->every && x->after) dhc_text_printf(&t, " after %lld", (long long)x->after);
  return dhc_text_str(&t);
}

/* Which result of the entry that is trained; that it is a float scalar is seen there. */
static bool bind_loss(Group *x, const Setting *s) {
  const DhcInst *root = x->cx->m->root;
  const char *name = s->e && s->e->kind == DHC_EX_NAME ? s->e->u.name : s->v.kind == DHC_V_STRING ? s->v.s.at : NULL;
  DHC_VEC(const char *) names = {0};
  if (!name) {
    DhcDiag *d = dhc_err(x->cx, "E0303", s->at, "loss of a group must be the name of a result");
    dhc_err_hint(x->cx, d, "loss(...) -> (loss: [], critic_loss: []), and \"critic.*\" = { loss = critic_loss }");
    return false;
  }
  x->g.loss = name;
  x->g.loss_at = s->at;
  dhc_text_printf(&x->said, " loss=%s", name);
  for (int i = 0; i < root->entries.n; i++) {
    const DhcAstParams *out = &root->entries.at[i]->u.entry.sig.outputs;
    for (int k = 0; k < out->n; k++) {
      if (!strcmp(out->at[k].name.text, name)) return true;
      DHC_PUSH(dhc_cx_arena(x->cx), &names, out->at[k].name.text);
    }
  }
  DhcDiag *d = dhc_err(x->cx, "E0301", s->at, "groups: no entry has a result '%s'", name);
  const char *close = dhc_suggest(name, names.at, names.n);
  if (close) dhc_err_hint(x->cx, d, "did you mean '%s'?", close);
  return false;
}

/* All patterns that would have fitted parameters, or submodules with all they have. */
static const char *close_pattern(Group *x) {
  const DhcModule *m = x->cx->m->module;
  DHC_VEC(const char *) names = {0};
  for (int t = 0; t < m->tensors.n; t++) {
    const char *path = m->tensors.at[t].path;
    if (m->tensors.at[t].role != DHC_ROLE_WEIGHT) continue;
    DHC_PUSH(dhc_cx_arena(x->cx), &names, path);
    for (const char *dot = strchr(path, '.'); dot; dot = strchr(dot + 1, '.'))
      DHC_PUSH(dhc_cx_arena(x->cx), &names, dhc_arena_printf(dhc_cx_arena(x->cx), "%.*s.*", (int)(dot - path), path));
  }
  for (int i = 0; i < names.n; i++) /* a submodule's name alone */
    if (!strcmp(dhc_arena_printf(dhc_cx_arena(x->cx), "%s.*", x->pattern), names.at[i])) return names.at[i];
  return dhc_suggest(x->pattern, names.at, names.n);
}

/* `all` have such a path, all in groups before. */
static bool no_parameters(Group *x, int all) {
  if (all) {
    DhcDiag *d = dhc_err(x->cx, "E0301", x->at, "groups: all parameters like '%s' are in groups before it", x->pattern);
    dhc_err_hint(x->cx, d, "the first pattern that fits counts: write the narrower one first");
    return false;
  }
  DhcDiag *d = dhc_err(x->cx, "E0301", x->at, "groups: no parameter has a path like '%s'", x->pattern);
  const char *close = close_pattern(x);
  if (close) dhc_err_hint(x->cx, d, "did you mean '%s'?", close);
  return false;
}

static bool bind_group(Group *x, const DhcRecipe *r) {
  DhcModule *m = x->cx->m->module;
  int64_t size = 0;
  int n = 0, all = 0;
  x->g.pattern = x->pattern;
  dhc_text_printf(&x->said, "%s {", x->pattern);
  for (int i = 0; i < x->settings.n; i++)
    if (is_key(&x->settings.at[i], "loss") && !bind_loss(x, &x->settings.at[i])) return false;
  if (!bind_settings(x, r) || !bind_turns(x)) return false;
  dhc_text_puts(&x->said, " }");
  DHC_PUSH(m->arena, &m->groups, x->g);
  for (int t = 0; t < m->tensors.n; t++) {
    DhcTensorDecl *d = &m->tensors.at[t];
    if (d->role != DHC_ROLE_WEIGHT || !dhc_tap_matches(x->pattern, d->path)) continue;
    all++;
    if (d->group) continue;
    size += dhc_decl_elements(m, d);
    d->group = m->groups.n;
    n++;
  }
  m->groups.at[m->groups.n - 1].said = say_group(x, r, size);
  return n || no_parameters(x, all);
}

static void add_setting(Group *x, const char *key, DhcSpan at, const DhcAstExpr *e, DhcVal v) {
  const Setting s = {.key = key, .at = at, .e = e, .v = v};
  DHC_PUSH(dhc_cx_arena(x->cx), &x->settings, s);
}

/* As written: optimisers and results have no value. */
static bool read_written(Group *x, const DhcAstPair *p) {
  x->pattern = p->name.text;
  x->at = p->span;
  for (int i = 0; i < p->value->u.map.n; i++) {
    const DhcAstPair *s = &p->value->u.map.at[i];
    DhcVal v = {.kind = DHC_V_VOID};
    if (!is_named(s)) v = dhc_eval(x->cx, s->value);
    if (v.kind == DHC_V_ERROR) return false;
    add_setting(x, s->name.text, s->span, s->value, v);
  }
  return true;
}

static void read_value(Group *x, const DhcValPair *p, DhcSpan at) {
  x->pattern = p->key;
  x->at = at;
  for (int i = 0; i < p->value->map.n; i++) add_setting(x, p->value->map.at[i].key, at, NULL, *p->value->map.at[i].value);
}

static bool is_written(const DhcAstExpr *e) {
  for (int i = 0; e->kind == DHC_EX_MAP && i < e->u.map.n; i++)
    if (e->u.map.at[i].value->kind != DHC_EX_MAP) return false;
  return e->kind == DHC_EX_MAP;
}

/* A setting where settings are to be: no call gives a map. */
static const DhcAstExpr *call_in(const DhcAstExpr *e) {
  for (int i = 0; e->kind == DHC_EX_MAP && i < e->u.map.n; i++)
    if (e->u.map.at[i].value->kind == DHC_EX_CALL) return e->u.map.at[i].value;
  return NULL;
}

static bool no_map(DhcCx *cx, const DhcAstExpr *e) {
  DhcDiag *d = dhc_err(cx, "E0303", e->span, "groups must be a map of patterns to settings");
  dhc_err_hint(cx, d, "groups = { \"encoder.*\" = { lr = 0.1, weight_decay = 0.0 } }");
  return false;
}

typedef DHC_VEC(const char *) Names;

/* A bit for each name, the first the highest. */
static uint32_t mask_of(DhcCx *cx, Names *all, const char *const *keeps) {
  uint32_t mask = 0;
  for (; *keeps; keeps++) {
    int i = 0;
    while (i < all->n && strcmp(all->at[i], *keeps)) i++;
    if (i == all->n) DHC_PUSH(dhc_cx_arena(cx), all, *keeps);
    if (i < 32) mask |= UINT32_C(1) << (31 - i);
  }
  return mask;
}

/* Weights of which more is kept lie before the others. */
static void place_weights(DhcCx *cx, const DhcRecipe *r) {
  DhcModule *m = cx->m->module;
  Names names = {0};
  uint32_t *mask = DHC_NEW_N(dhc_cx_arena(cx), uint32_t, m->groups.n + 1);
  bool any = false;
  mask[0] = mask_of(cx, &names, states_of(cx, r->optimizer));
  for (int i = 0; i < m->groups.n; i++) {
    any = any || m->groups.at[i].keeps;
    mask[1 + i] = m->groups.at[i].keeps ? mask_of(cx, &names, m->groups.at[i].keeps) : mask[0];
  }
  for (int t = 0; any && t < m->tensors.n; t++) {
    DhcTensorDecl *d = &m->tensors.at[t];
    for (int i = 0; i <= m->groups.n; i++) {
      bool said = mask[i] <= mask[d->group];
      for (int k = 0; k < i; k++) said = said || mask[k] == mask[i];
      d->place += !said;
    }
    if (d->place >= m->n_places) m->n_places = d->place + 1;
  }
}

bool dhc_train_groups(DhcCx *cx, DhcRecipe *r, const DhcAstExpr *e) {
  const bool written = is_written(e);
  DhcVal v = {.kind = DHC_V_MAP};
  DhcText all = {.arena = dhc_cx_arena(cx)};
  if (call_in(e)) return no_map(cx, call_in(e));
  if (!written) v = dhc_eval(cx, e);
  if (v.kind == DHC_V_ERROR) return false;
  if (v.kind != DHC_V_MAP) return no_map(cx, e);
  for (int i = 0; i < (written ? e->u.map.n : v.map.n); i++) {
    Group x = {.cx = cx, .said = {.arena = dhc_cx_arena(cx)}};
    if (!written && v.map.at[i].value->kind != DHC_V_MAP) return no_map(cx, e);
    if (written && !read_written(&x, &e->u.map.at[i])) return false;
    if (!written) read_value(&x, &v.map.at[i], e->span);
    if (!bind_group(&x, r)) return false;
    dhc_text_printf(&all, "%s%s", i ? " " : "", dhc_text_str(&x.said));
  }
  r->groups = dhc_text_str(&all);
  place_weights(cx, r);
  return true;
}
