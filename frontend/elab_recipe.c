/* Recipes: how a model is trained. The learning rate is an expression that the host
 * evaluates at every step, in doubles. */
#include <math.h>
#include <stddef.h>

#include "frontend/elab_internal.h"
#include "ir/interp.h"

/* lr(step, steps) = EXPR, with what its names mean. */
struct DhcLr {
  DhcModel *m;
  const DhcAstModule *file;
  const char *step, *steps; /* parameter names; steps may be NULL */
  const DhcAstExpr *value;
};

typedef enum Key {
  KEY_OPTIMIZER,
  KEY_LR,
  KEY_BATCH,
  KEY_ACCUMULATE,
  KEY_EPOCHS,
  KEY_STEPS,
  KEY_CLIP,
  KEY_EMA,
  KEY_LABEL_SMOOTHING,
  KEY_REPORT,
  KEY_GROUPS,
  N_KEYS
} Key;
static const char *const keys[N_KEYS] = {"optimizer", "lr",   "batch", "accumulate", "epochs",
                                         "steps",     "clip", "ema",   "label_smoothing", "report", "groups"};

static int key_of(const char *name) {
  for (int i = 0; i < N_KEYS; i++)
    if (!strcmp(keys[i], name)) return i;
  return -1;
}

/* Settings of rollouts, by where they lie in DhcRollout. */
static const struct RolloutKey {
  const char *name;
  size_t at;
  bool whole;
  double usual, low, high;
} rollout_keys[] = {
#define ROLLOUT(name, whole, usual, low, high, text) {#name, offsetof(DhcRollout, name), whole, usual, low, high},
#include "frontend/rollout.def"
#undef ROLLOUT
};
enum { N_ROLLOUT_KEYS = sizeof rollout_keys / sizeof rollout_keys[0] };

static const struct RolloutKey *rollout_key(const char *name) {
  for (int i = 0; i < N_ROLLOUT_KEYS; i++)
    if (!strcmp(rollout_keys[i].name, name)) return &rollout_keys[i];
  return NULL;
}

static double *rollout_value(DhcRollout *r, const struct RolloutKey *k) {
  return (double *)(void *)((char *)r + k->at);
}

/* "optimizer.weight_decay" names an argument of the optimiser, whichever that is; NULL: it is no such key. */
static const char *argument_of(const char *key) {
  size_t n = strlen(keys[KEY_OPTIMIZER]);
  return !strncmp(key, keys[KEY_OPTIMIZER], n) && key[n] == '.' && key[n + 1] ? key + n + 1 : NULL;
}

bool dhc_recipe_has_key(const char *key) {
  return key_of(key) >= 0 || rollout_key(key) || argument_of(key);
}

/* ---- the learning rate ---------------------------------------------------------------------- */

typedef struct LrEnv {
  const struct DhcLr *lr;
  const char *name[16];
  double value[16];
  int n, depth;
  const DhcAstExpr **wrong; /* the first part that means nothing here; NULL: it has been looked for */
} LrEnv;

static double lr_eval(LrEnv *env, const DhcAstExpr *e);

static double lr_wrong(LrEnv *env, const DhcAstExpr *e) {
  if (env->wrong && !*env->wrong) *env->wrong = e;
  return NAN;
}

static double lr_name(LrEnv *env, const DhcAstExpr *e) {
  const char *name = e->u.name;
  for (int i = env->n - 1; i >= 0; i--)
    if (!strcmp(env->name[i], name)) return env->value[i];
  const DhcModel *m = env->lr->m;
  DhcHyper *h = dhc_inst_hyper(m->root, name);
  if (h && h->value.kind == DHC_V_INT) return (double)h->value.i;
  if (h && h->value.kind == DHC_V_FLOAT) return h->value.fx->value;
  if (!strcmp(name, "batch")) return (double)m->recipe.batch;
  if (!strcmp(name, "epochs")) return (double)m->recipe.epochs;
  if (!strcmp(name, "pi")) return 3.14159265358979323846;
  const DhcAstDecl *d = dhc_find_decl(m->e, env->lr->file, name, DHC_DECL_BIT(DHC_DE_CONST), NULL);
  if (d && env->depth < 16) {
    env->depth++;
    double v = lr_eval(env, d->u.const_.value);
    env->depth--;
    return v;
  }
  return lr_wrong(env, e);
}

/* A function whose body is one return. */
static double lr_function(LrEnv *env, const DhcAstDecl *d, const DhcAstExpr *e) {
  const DhcAstArgs *args = &e->u.call.args;
  const DhcAstSignature *sig = &d->u.fn.sig;
  const DhcAstStmts *body = &d->u.fn.body;
  if (env->depth >= 16 || body->n != 1 || body->at[0]->kind != DHC_ST_RETURN ||
      body->at[0]->u.values.n != 1 || sig->inputs.n > 16)
    return lr_wrong(env, e);
  LrEnv inner = {.lr = env->lr, .depth = env->depth + 1, .wrong = env->wrong};
  for (int i = 0; i < sig->inputs.n; i++) {
    const DhcAstParam *p = &sig->inputs.at[i];
    const DhcAstExpr *value = p->default_value;
    for (int k = 0; k < args->n; k++)
      if (args->at[k].name.text ? args->at[k].name.text == p->name.text : k == i) value = args->at[k].value;
    double v = value ? lr_eval(env, value) : lr_wrong(env, e);
    inner.name[inner.n] = p->name.text;
    inner.value[inner.n++] = v;
  }
  return lr_eval(&inner, body->at[0]->u.values.at[0]);
}

static bool lr_takes(DhcOp op, int n) {
  const DhcOpInfo *info = dhc_op_info(op);
  return info->cls == DHC_CLASS_ELEMENTWISE && info->n_args == n && n <= 3 && info->types != DHC_EW_integer && info->types != DHC_EW_select;
}

/* As the interpreter evaluates an op that lr_takes in float64. */
static double lr_op(DhcOp op, int n, const double *v) {
  const DhcOpInfo *info = dhc_op_info(op);
  DhcScalar x[3] = {{0}};
  for (int i = 0; i < n; i++) x[i].f = v[i];
  const DhcScalar r = dhc_eval_ew(op, DHC_F64, x);
  return info->types == DHC_EW_compare || info->types == DHC_EW_test ? (double)r.i : r.f;
}

static double lr_call(LrEnv *env, const DhcAstExpr *e) {
  const DhcAstArgs *args = &e->u.call.args;
  if (e->u.call.callee->kind != DHC_EX_NAME) return lr_wrong(env, e);
  const char *f = e->u.call.callee->u.name;
  const DhcAstDecl *d = dhc_find_decl(env->lr->m->e, env->lr->file, f, DHC_DECL_BIT(DHC_DE_FN), NULL);
  if (d) return lr_function(env, d, e);
  double v[3] = {NAN, NAN, NAN};
  if (args->n < 1 || args->n > 3) return lr_wrong(env, e);
  for (int i = 0; i < args->n; i++) v[i] = lr_eval(env, args->at[i].value);
  if (!strcmp(f, "float") && args->n == 1) return v[0];
  DhcOp op;
  return dhc_op_parse(f, &op) && lr_takes(op, args->n) ? lr_op(op, args->n, v) : lr_wrong(env, e);
}

static double lr_binary(LrEnv *env, const DhcAstExpr *e) {
  static const struct {
    bool there;
    DhcOp op;
  } ops[] = {[DHC_BI_ADD] = {true, DHC_OP_ADD}, [DHC_BI_SUB] = {true, DHC_OP_SUB}, [DHC_BI_MUL] = {true, DHC_OP_MUL}, [DHC_BI_DIV] = {true, DHC_OP_DIV},
             [DHC_BI_POW] = {true, DHC_OP_POW}, [DHC_BI_LT] = {true, DHC_OP_LT},   [DHC_BI_LE] = {true, DHC_OP_LE},   [DHC_BI_GT] = {true, DHC_OP_GT},
             [DHC_BI_GE] = {true, DHC_OP_GE},   [DHC_BI_EQ] = {true, DHC_OP_EQ},   [DHC_BI_NE] = {true, DHC_OP_NE},   [DHC_BI_MATMUL] = {false, DHC_OP_DOT_GENERAL}};
  const double v[2] = {lr_eval(env, e->u.binary.lhs), lr_eval(env, e->u.binary.rhs)};
  const DhcAstBinary op = e->u.binary.op;
  if (op == DHC_BI_AND) return v[0] != 0 && v[1] != 0;
  if (op == DHC_BI_OR) return v[0] != 0 || v[1] != 0;
  if (op == DHC_BI_FLOORDIV || op == DHC_BI_MOD) { /* ops of whole numbers: of floats by their parts */
    const double ratio = lr_op(DHC_OP_DIV, 2, v), whole = lr_op(DHC_OP_FLOOR, 1, &ratio);
    return op == DHC_BI_MOD ? v[0] - v[1] * whole : whole;
  }
  return (size_t)op < sizeof ops / sizeof *ops && ops[op].there ? lr_op(ops[op].op, 2, v) : lr_wrong(env, e);
}

static double lr_eval(LrEnv *env, const DhcAstExpr *e) {
  if (env->depth > 64 || e->n_ops > 1000) return lr_wrong(env, e);
  switch (e->kind) {
    case DHC_EX_INT: return (double)e->u.int_value;
    case DHC_EX_FLOAT: return e->u.float_value;
    case DHC_EX_BOOL: return e->u.bool_value;
    case DHC_EX_NAME: return lr_name(env, e);
    case DHC_EX_UNARY: {
      double v = lr_eval(env, e->u.unary.operand);
      return e->u.unary.op == DHC_UN_NEG ? -v : e->u.unary.op == DHC_UN_NOT ? v == 0 : v;
    }
    case DHC_EX_BINARY: return lr_binary(env, e);
    case DHC_EX_COND: {
      const bool holds = lr_eval(env, e->u.cond.cond) != 0;
      if (env->wrong) (void)lr_eval(env, holds ? e->u.cond.else_ : e->u.cond.then_); /* what may be wrong with it, too */
      return lr_eval(env, holds ? e->u.cond.then_ : e->u.cond.else_);
    }
    case DHC_EX_CALL: return lr_call(env, e);
    default: return lr_wrong(env, e);
  }
}

DhcSpan dhc_recipe_lr_span(const DhcRecipe *recipe) {
  return recipe->lr ? recipe->lr->value->span : (DhcSpan){0};
}

static double lr_at(const DhcRecipe *r, int64_t step, int64_t steps, const DhcAstExpr **wrong) {
  LrEnv env = {.lr = r->lr, .wrong = wrong};
  env.name[env.n] = r->lr->step;
  env.value[env.n++] = (double)step;
  if (r->lr->steps) {
    env.name[env.n] = r->lr->steps;
    env.value[env.n++] = (double)steps;
  }
  return lr_eval(&env, r->lr->value);
}

double dhc_recipe_lr(const DhcRecipe *r, int64_t step, int64_t steps) {
  return r->lr ? lr_at(r, step, steps, NULL) : r->lr_constant;
}

/* ---- binding ----------------------------------------------------------------------------------- */

typedef struct Binder {
  DhcModel *m;
  DhcCx *cx;
  DhcRecipe *r;
  const DhcAstExpr *groups; /* bound last, when the optimiser is known */
  bool ok;
} Binder;

static void add_source(Binder *b, const char *key, const char *text) {
  const DhcRecipeSource s = {dhc_intern(b->m->e->strings, key), text};
  DHC_PUSH(b->m->e->arena, &b->r->sources, s);
}

static const char *said_in_recipe(Binder *b, const DhcAstSetting *s) {
  const char *beside = dhc_comment_beside(b->m->e, s->span);
  return dhc_arena_printf(b->m->e->arena, "recipe %s%s%s", b->r->name, *beside ? ": " : "", beside);
}

static void bind_int(Binder *b, const DhcAstExpr *e, const char *what, int64_t min, int64_t *out) {
  DhcVal v = dhc_eval(b->cx, e);
  if (!dhc_want_int(b->cx, &v, e->span, what, out)) {
    b->ok = false;
  } else if (*out < min || *out > 1048576 * 1024LL) {
    dhc_err(b->cx, "E0304", e->span, "%s must be at least %lld, got %lld", what, (long long)min,
            (long long)*out);
    b->ok = false;
  }
}

static void bind_float(Binder *b, const DhcAstExpr *e, const char *what, double lo, double hi, double *out) {
  DhcVal v = dhc_eval(b->cx, e);
  DhcFx *fx = dhc_val_fx(b->cx, &v);
  if (!fx) {
    dhc_want_double(b->cx, &v, e->span, what, out);
    b->ok = false;
    return;
  }
  *out = fx->value;
  if (*out >= lo && *out <= hi) return;
  dhc_err(b->cx, "E0304", e->span, "%s must be in %g..%g, got %s", what, lo, hi, dhc_say_val(b->cx, &v));
  b->ok = false;
}

/* Of the recipe itself. */
static void bind_optimizer(Binder *b, bool ok, const DhcOptimizer *o) {
  b->ok = b->ok && ok;
  if (!o->name) return;
  b->r->optimizer = o->name;
  b->r->optimizer_args = o->args;
}

/* One argument, over what the recipe says. */
static void bind_argument(Binder *b, const char *name, const DhcAstExpr *e) {
  double v = 0;
  DHC_VEC(const char *) names = {0};
  bool known = false;
  for (int i = 0; i < b->r->optimizer_args.n; i++) {
    DHC_PUSH(b->m->e->arena, &names, b->r->optimizer_args.at[i].name);
    known = known || !strcmp(b->r->optimizer_args.at[i].name, name);
  }
  if (!known) {
    DhcDiag *g = dhc_err(b->cx, "E0306", e->span, "%s has no argument '%s'", b->r->optimizer, name);
    const char *close = dhc_suggest(name, names.at, names.n);
    if (close) dhc_err_hint(b->cx, g, "did you mean '%s'?", close);
    b->ok = false;
    return;
  }
  bind_float(b, e, dhc_arena_printf(b->m->e->arena, "argument '%s' of %s", name, b->r->optimizer), -INFINITY, INFINITY, &v);
  dhc_train_set_arg(b->m->e->arena, &b->r->optimizer_args, dhc_intern(b->m->e->strings, name), v);
  add_source(b, name, "--set");
}

static void bind_lr(Binder *b, const DhcAstNames *params, const DhcAstExpr *value) {
  struct DhcLr *lr = DHC_NEW(b->m->e->arena, struct DhcLr);
  lr->m = b->m;
  lr->file = b->cx->file;
  lr->step = params && params->n > 0 ? params->at[0].text : "step";
  lr->steps = params ? (params->n > 1 ? params->at[1].text : NULL) : "steps";
  lr->value = value;
  b->r->lr = lr;
}

/* One pattern, or a list of them. */
static void bind_report(Binder *b, const DhcAstExpr *e) {
  DhcVal v = dhc_eval(b->cx, e);
  int n = v.kind == DHC_V_LIST ? v.list.n : 1;
  const char **at = DHC_NEW_N(b->m->e->arena, const char *, n + 1);
  for (int i = 0; i < n; i++)
    if (!dhc_want_string(b->cx, v.kind == DHC_V_LIST ? &v.list.at[i] : &v, e->span, "report", &at[i])) b->ok = false;
  b->r->report = b->ok && n ? at : NULL;
}

static void bind_rollout(Binder *b, const struct RolloutKey *k, const DhcAstExpr *e) {
  double v = k->usual;
  bind_float(b, e, k->name, k->low, k->high, &v);
  if (k->whole && v != floor(v)) {
    dhc_err(b->cx, "E0304", e->span, "%s must be a whole number, got %g", k->name, v);
    b->ok = false;
  }
  *rollout_value(&b->r->rollout, k) = v;
}

static void bind_key(Binder *b, const char *key, const DhcAstNames *params, const DhcAstExpr *e, const char *source) {
  DhcOptimizer o = {0};
  if (key_of(key) == KEY_GROUPS && dhc_inst_hyper(b->m->root, key)) return; /* the model's own, of channels */
  add_source(b, key, source);
  switch (key_of(key)) {
    case KEY_OPTIMIZER: bind_optimizer(b, dhc_train_optimizer_call(b->cx, e, key, &o), &o); break;
    case KEY_LR: bind_lr(b, params, e); break;
    case KEY_BATCH: bind_int(b, e, "batch", 1, &b->r->batch); break;
    case KEY_ACCUMULATE: bind_int(b, e, "accumulate", 1, &b->r->accumulate); break;
    case KEY_EPOCHS: bind_int(b, e, "epochs", 1, &b->r->epochs); break;
    case KEY_STEPS: bind_int(b, e, "steps", 0, &b->r->steps); break;
    case KEY_CLIP: bind_float(b, e, "clip", 0, 1e30, &b->r->clip); break;
    case KEY_EMA: bind_float(b, e, "ema", 0, 1, &b->r->ema); break;
    case KEY_LABEL_SMOOTHING: bind_float(b, e, "label_smoothing", 0, 1, &b->r->label_smoothing); break;
    case KEY_REPORT: bind_report(b, e); break;
    case KEY_GROUPS: b->groups = e; break;
    default:
      if (rollout_key(key)) bind_rollout(b, rollout_key(key), e);
      break;
  }
}

static DhcDiag *say_wrong(Binder *b, const DhcAstExpr *e) {
  const DhcAstExpr *of = e->kind == DHC_EX_CALL ? e->u.call.callee : e;
  if (of->kind != DHC_EX_NAME) return dhc_err(b->cx, "E0304", e->span, "this has no meaning in a learning rate");
  return dhc_err(b->cx, "E0304", e->span, "'%s' has no meaning in a learning rate%s", of->u.name, e == of ? "" : ", called like this");
}

static void try_lr(Binder *b) {
  const int64_t at[3] = {0, 499, 999};
  for (int i = 0; i < 3 && b->r->lr; i++) {
    const DhcAstExpr *wrong = NULL;
    double v = lr_at(b->r, at[i], 1000, &wrong);
    if (!wrong && isfinite(v) && v >= 0) continue;
    DhcDiag *d = wrong ? say_wrong(b, wrong)
                       : dhc_err(b->cx, "E0304", b->r->lr->value->span, "the learning rate of step %lld of 1000 is %g", (long long)at[i], v);
    dhc_err_hint(b->cx, d, "it may use %s, %s, numbers, hyperparameters, functions of numbers such as min, cos and exp, and if-else",
                 b->r->lr->step, b->r->lr->steps ? b->r->lr->steps : "constants");
    b->ok = false;
    return;
  }
}

/* The value of a --set as an expression; NULL after diagnostics. */
static const DhcAstExpr *set_value(DhcElab *e, const DhcModelRequest *q, int i) {
  int before = e->diags->n_errors;
  const char *name = dhc_setting_source(e->arena, q, i);
  const DhcAstExpr *x = dhc_parse_expr(&e->parse, name, q->sets[i].value, strlen(q->sets[i].value));
  return e->diags->n_errors > before ? NULL : x;
}

bool dhc_recipe_bind(DhcModel *m, const DhcModelRequest *q) {
  DhcElab *e = m->e;
  DhcScope scope = {0};
  DhcCx cx = {.e = e, .m = m, .self = m->root, .owner = m->root, .file = m->root->file, .scope = &scope};
  Binder b = {.m = m, .cx = &cx, .r = &m->recipe, .ok = true};
  DhcRecipe *r = &m->recipe;
  *r = (DhcRecipe){.name = "default", .batch = 64, .accumulate = 1, .epochs = 10, .clip = 1.0, .lr_constant = 1e-3};
  for (int i = 0; i < N_ROLLOUT_KEYS; i++) *rollout_value(&r->rollout, &rollout_keys[i]) = rollout_keys[i].usual;
  const DhcAstDecl *d = m->recipe_decl;
  DhcOptimizer usual = {0};
  bool has_optimizer = false;
  if (d) {
    r->name = d->name.text;
    r->span = d->span;
    for (int i = 0; i < d->u.settings.settings.n; i++) {
      const DhcAstSetting *s = &d->u.settings.settings.at[i];
      has_optimizer = has_optimizer || !strcmp(s->key.text, "optimizer");
      if (s->has_params && strcmp(s->key.text, "lr")) {
        dhc_err(&cx, "E0306", s->key.span, "'%s' takes no parameters; only lr(step, steps) does",
                s->key.text);
        b.ok = false;
        continue;
      }
      bind_key(&b, s->key.text, s->has_params ? &s->params : NULL, s->value, said_in_recipe(&b, s));
    }
  }
  for (int i = 0; i < q->n_sets; i++) {
    if (key_of(q->sets[i].key) < 0 && !rollout_key(q->sets[i].key)) continue;
    const DhcAstExpr *x = set_value(e, q, i);
    if (!x) return false;
    has_optimizer = has_optimizer || !strcmp(q->sets[i].key, "optimizer");
    r->report_asked = r->report_asked || key_of(q->sets[i].key) == KEY_REPORT;
    bind_key(&b, q->sets[i].key, NULL, x, "--set");
  }
  if (!has_optimizer && dhc_find_decl(e, cx.file, "adam", DHC_DECL_BIT(DHC_DE_FN), NULL))
    bind_optimizer(&b, dhc_train_optimizer(&cx, "adam", NULL, r->span, &usual), &usual);
  if (!r->optimizer) r->optimizer = "adam";
  for (int i = 0; i < q->n_sets; i++) {
    const char *name = argument_of(q->sets[i].key);
    const DhcAstExpr *x = name ? set_value(e, q, i) : NULL;
    if (name && !x) return false;
    if (x) bind_argument(&b, name, x);
  }
  DhcHyper *h = dhc_inst_hyper(m->root, "label_smoothing");
  if (h && h->value.kind == DHC_V_FLOAT) r->label_smoothing = h->value.fx->value;
  if (b.ok && b.groups) b.ok = dhc_train_groups(&cx, r, b.groups);
  if (b.ok) try_lr(&b);
  return b.ok;
}

const char *dhc_recipe_source(const DhcRecipe *r, const char *key) {
  for (int i = r->sources.n - 1; i >= 0; i--)
    if (!strcmp(r->sources.at[i].key, key)) return r->sources.at[i].text;
  return NULL;
}

const DhcRecipe *dhc_model_recipe(const DhcModel *m) {
  return &m->recipe;
}
