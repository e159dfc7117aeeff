/* Calls: arguments, what a callee's name means, methods of submodules, functions. */
#include "frontend/elab_internal.h"

/* ---- arguments ------------------------------------------------------------------------ */

static const DhcAstParam *param_for(const DhcAstParams *params, const DhcAstArg *a, int index) {
  if (!params) return NULL;
  if (!a->name.text) return index < params->n ? &params->at[index] : NULL;
  for (int i = 0; i < params->n; i++)
    if (params->at[i].name.text == a->name.text) return &params->at[i];
  return NULL;
}

static bool is_known(DhcCx *cx, const char *name) {
  return dhc_scope_get(cx->scope, name) ||
         (cx->self && (dhc_inst_hyper(cx->self, name) || dhc_inst_member(cx->self, name)));
}

DhcArg *dhc_eval_args(DhcCx *cx, const DhcAstArgs *args, const DhcAstParams *params, bool *ok) {
  DhcArg *out = DHC_NEW_N(dhc_cx_arena(cx), DhcArg, args->n + 1);
  *ok = !args->n || !params || dhc_limit_steps(cx, args->n * dhc_limit_walk(params->n), args->at[0].value->span);
  for (int i = 0; i < args->n; i++) {
    const DhcAstArg *a = &args->at[i];
    const DhcAstParam *p = param_for(params, a, i);
    out[i].name = a->name.text;
    out[i].span = a->value->span;
    bool is_value = false;
    if (p && p->type.kind == DHC_TY_ENUM && a->value->kind == DHC_EX_NAME)
      for (int k = 0; k < p->type.values.n; k++)
        if (p->type.values.at[k].text == a->value->u.name) {
          out[i].value = dhc_v_string(cx, a->value->u.name, (int)strlen(a->value->u.name));
          is_value = true;
        }
    if (!is_value && p && p->type.kind == DHC_TY_ENUM && a->value->kind == DHC_EX_NAME &&
        !is_known(cx, a->value->u.name)) {
      out[i].value =
          dhc_v_string(cx, a->value->u.name, (int)strlen(a->value->u.name)); /* refused with a hint later */
      is_value = true;
    }
    if (!is_value) out[i].value = dhc_eval(cx, a->value);
    if (out[i].value.kind == DHC_V_ERROR) *ok = false;
  }
  return out;
}

static void unknown_argument(DhcCx *cx, const DhcAstParams *params, const char *what, const DhcArg *a) {
  DHC_VEC(const char *) names = {0};
  for (int i = 0; i < params->n; i++) DHC_PUSH(dhc_cx_arena(cx), &names, params->at[i].name.text);
  DhcDiag *d = dhc_err(cx, "E0306", a->span, "%s has no argument '%s'", what, a->name);
  const char *close = dhc_argument_here(a->name, names.at, names.n);
  if (close) dhc_err_hint(cx, d, "did you mean '%s'?", close);
}

bool dhc_match_inputs(DhcCx *cx, const DhcAstSignature *sig, const DhcAstModule *file, const DhcArg *args,
                      int n_args, DhcSpan at, const char *what, DhcVal *inputs) {
  const DhcAstParams *params = &sig->inputs;
  bool ok = true;
  bool *given = DHC_NEW_N(dhc_cx_arena(cx), bool, params->n + 1);
  for (int i = 0; i < n_args; i++) {
    int k = -1;
    if (!args[i].name) {
      k = i;
      if (k >= params->n) {
        DhcDiag *d = dhc_err(cx, "E0306", args[i].span, "%s takes %d argument%s, got %d", what, params->n,
                             params->n == 1 ? "" : "s", n_args);
        dhc_err_note(cx, d, sig->span, "declared here");
        return false;
      }
    } else {
      for (int j = 0; j < params->n; j++)
        if (!strcmp(params->at[j].name.text, args[i].name)) k = j;
      if (k < 0) {
        unknown_argument(cx, params, what, &args[i]);
        ok = false;
        continue;
      }
    }
    if (given[k]) {
      dhc_err(cx, "E0306", args[i].span, "%s: '%s' is given twice", what, params->at[k].name.text);
      ok = false;
    }
    given[k] = true;
    inputs[k] = args[i].value;
    if (inputs[k].absent && params->at[k].default_value && params->at[k].type.kind == DHC_TY_TENSOR)
      inputs[k] = (DhcVal){.kind = DHC_V_VOID, .absent = true}; /* left out there, left out here */
  }
  DhcScope scope = {0};
  DhcCx inner = *cx;
  inner.scope = &scope;
  inner.file = file;
  for (int k = 0; k < params->n; k++) {
    if (given[k]) {
      dhc_scope_set(&inner, params->at[k].name.text, inputs[k]);
      continue;
    }
    if (!params->at[k].default_value) {
      DhcDiag *d = dhc_err(cx, "E0306", at, "%s: argument '%s' is missing", what, params->at[k].name.text);
      dhc_err_note(cx, d, params->at[k].span, "declared here");
      ok = false;
      continue;
    }
    if (params->at[k].type.kind == DHC_TY_TENSOR) { /* its shape is known when the others are bound */
      inputs[k] = (DhcVal){.kind = DHC_V_VOID, .absent = true};
      continue;
    }
    inputs[k] = dhc_eval(&inner, params->at[k].default_value);
    inputs[k].absent = true;
    dhc_scope_set(&inner, params->at[k].name.text, inputs[k]);
    if (inputs[k].kind == DHC_V_ERROR) ok = false;
  }
  return ok;
}

/* ---- types of declared tensors ------------------------------------------------------------ */

bool dhc_eval_type(DhcCx *cx, const DhcAstType *t, DhcType *out, const char *what) {
  memset(out, 0, sizeof *out);
  out->dtype = DHC_F32;
  if (t->kind != DHC_TY_TENSOR || !t->shape) return false;
  if (t->has_dtype && !dhc_dtype_parse(t->dtype.text, &out->dtype)) {
    if (strcmp(t->dtype.text, "any")) DHC_BUG("element type '%s' passed the parser", t->dtype.text);
    return false;
  }
  DhcVal list = dhc_eval(cx, t->shape);
  if (list.kind != DHC_V_LIST) return false;
  if (list.list.n > DHC_MAX_RANK) {
    dhc_err(cx, "E0308", t->span, "%s has %d dims, at most %d are possible", what, list.list.n, DHC_MAX_RANK);
    return false;
  }
  out->rank = list.list.n;
  bool same = list.list.n == t->shape->u.list.n; /* no runs: spans belong to dims */
  for (int i = 0; i < list.list.n; i++) {
    DhcSpan at = same ? t->shape->u.list.at[i]->span : t->span;
    if (!dhc_want_dim(cx, &list.list.at[i], at,
                      dhc_arena_printf(dhc_cx_arena(cx), "%s: dimension %d", what, i), &out->dim[i]))
      return false;
    int64_t v;
    if (dhc_dim_is_const(out->dim[i], &v) && v < 1) {
      dhc_err(cx, "E0314", at, "%s: dimension %d must be at least 1, got %lld", what, i, (long long)v);
      return false;
    }
  }
  return true;
}

DhcVal dhc_absent_input(DhcCx *cx, const DhcAstParam *p) {
  DhcType t;
  const char *what = dhc_arena_printf(dhc_cx_arena(cx), "input '%s'", p->name.text);
  if (!dhc_eval_type(cx, &p->type, &t, what)) return dhc_v_error();
  DhcValue *x = dhc_default_tensor(cx, p->default_value, &t, what, p->span);
  DhcVal v = dhc_v_tensor(x);
  v.absent = v.local = true;
  v.name = p->name.text;
  v.def = p->span;
  return v;
}

static bool is_binder(const DhcAstSignature *sig, const char *name, bool run) {
  for (int i = 0; i < sig->binders.n; i++)
    if (sig->binders.at[i].name.text == name && sig->binders.at[i].is_run == run) return true;
  return false;
}

static bool bound_here(DhcCx *cx, const char *name) {
  for (int i = 0; i < cx->scope->vars.n; i++)
    if (cx->scope->vars.at[i].name == name) return true;
  return false;
}

typedef struct Unify {
  const DhcAstSignature *sig;
  const DhcAstParam *p;
  const DhcVal *v;
  DhcSpan call;
  const char *what;
} Unify;

static DhcDiag *shape_mismatch(DhcCx *cx, const Unify *u, const char *why) {
  const char *o = dhc_say_origin(cx, u->v);
  DhcDiag *d = dhc_err(cx, "E0308", u->call, "%s: input '%s' is %s%s%s%s: %s", u->what, u->p->name.text,
                       dhc_say_type(cx, &u->v->t->type), *o ? " (" : "", o, *o ? ")" : "", why);
  dhc_note_operand(cx, d, u->v);
  dhc_err_note(cx, d, u->p->span, "declared here");
  return d;
}

/* Position of shape element i in the tensor's dims; the run, if any, takes what is left. */
static bool bind_shape(DhcCx *cx, Unify *u, DhcVal *v, bool check) {
  u->v = v;
  const DhcAstExprs *list = &u->p->type.shape->u.list;
  const DhcType *t = &u->v->t->type;
  DhcArena *a = dhc_cx_arena(cx);
  int run = -1;
  for (int i = 0; i < list->n; i++)
    if (list->at[i]->kind == DHC_EX_RUN) run = i;
  int fixed = list->n - (run >= 0);
  if (run < 0 ? t->rank != fixed : t->rank < fixed) {
    if (!check)
      shape_mismatch(
          cx, u,
          dhc_arena_printf(a, "needs %s%d dim%s", run >= 0 ? "at least " : "", fixed, fixed == 1 ? "" : "s"));
    return false;
  }
  int n_run = t->rank - fixed;
  for (int i = 0, k = 0; i < list->n; i++) {
    const DhcAstExpr *x = list->at[i];
    if (x->kind == DHC_EX_RUN) {
      DhcVal dims[DHC_MAX_RANK];
      for (int j = 0; j < n_run; j++) dims[j] = dhc_v_dim(t->dim[k + j]);
      DhcVal list_v = dhc_v_list(cx, DHC_V_LIST, dims, n_run);
      if (!bound_here(cx, x->u.name) && is_binder(u->sig, x->u.name, true)) {
        dhc_scope_set(cx, x->u.name, list_v);
      } else if (check) {
        DhcVal *old = dhc_scope_get(cx->scope, x->u.name);
        if (old && !dhc_val_equal(cx, old, &list_v, u->call)) {
          shape_mismatch(cx, u,
                         dhc_arena_printf(a, "...%s is %s, got %s", x->u.name, dhc_say_val(cx, old),
                                          dhc_say_val(cx, &list_v)));
          return false;
        }
      }
      k += n_run;
      continue;
    }
    if (x->kind == DHC_EX_NAME && is_binder(u->sig, x->u.name, false) && !bound_here(cx, x->u.name)) {
      dhc_scope_set(cx, x->u.name, dhc_v_dim(t->dim[k]));
    } else if (check) {
      DhcVal want = dhc_eval(cx, x);
      const DhcDim *d;
      if (!dhc_want_dim(cx, &want, x->span, "a dim", &d)) return false;
      if (!dhc_same_dim(cx, d, t->dim[k])) {
        shape_mismatch(cx, u,
                       dhc_arena_printf(a, "dimension %d is %s, needs %s", k, dhc_say_dim(cx, t->dim[k]),
                                        dhc_say_dim(cx, d)));
        return false;
      }
      if (d != t->dim[k]) {
        v->t = dhc_b_slice(dhc_at(cx, u->call), v->t, k, dhc_dim_const(dhc_cx_dims(cx), 0), d);
        if (!v->t) return false;
        t = &v->t->type;
      }
    }
    k++;
  }
  return true;
}

/* The binder of u->sig in e that nothing has bound yet, if there is just one; *n counts where they stand. */
static void find_unbound(DhcCx *cx, const Unify *u, const DhcAstExpr *e, const char **name, int *n) {
  switch (e->kind) {
    case DHC_EX_NAME:
      if (!is_binder(u->sig, e->u.name, false) || bound_here(cx, e->u.name) || (*name && *name == e->u.name)) return;
      *name = e->u.name;
      ++*n;
      return;
    case DHC_EX_UNARY: find_unbound(cx, u, e->u.unary.operand, name, n); return;
    case DHC_EX_BINARY:
      find_unbound(cx, u, e->u.binary.lhs, name, n);
      find_unbound(cx, u, e->u.binary.rhs, name, n);
      return;
    default: return;
  }
}

/* Binds the one unknown N of a shape element a * N + b from the extent it meets, by exact division. 1: bound,
 * 0: nothing to bind here, -1: no such N. */
static int solve_element(DhcCx *cx, Unify *u, const DhcAstExpr *x, int k) {
  const char *name = NULL;
  int n = 0;
  find_unbound(cx, u, x, &name, &n);
  if (n != 1) return 0;
  DhcDims *dims = dhc_cx_dims(cx);
  const char *unknown = dhc_intern(cx->e->strings, dhc_arena_printf(dhc_cx_arena(cx), "$%s", name));
  dhc_scope_set(cx, name, dhc_v_dim(dhc_dim_symbol(dims, unknown)));
  DhcVal v = dhc_eval(cx, x);
  const DhcDim *d, *have = u->v->t->type.dim[k], *zero = dhc_dim_const(dims, 0), *one = dhc_dim_const(dims, 1);
  if (!dhc_want_dim(cx, &v, x->span, "a dim", &d)) return -1;
  const DhcDim *b = dhc_dim_subst(dims, d, 1, &unknown, &zero), *a = dhc_dim_sub(dims, dhc_dim_subst(dims, d, 1, &unknown, &one), b);
  bool linear = d == dhc_dim_add(dims, dhc_dim_mul(dims, a, dhc_dim_symbol(dims, unknown)), b);
  const DhcDim *q = linear ? dhc_dim_divide(dims, dhc_dim_sub(dims, have, b), a) : NULL;
  int64_t c = 1;
  if (q && (!dhc_dim_is_const(q, &c) || c >= 1)) {
    dhc_scope_set(cx, name, dhc_v_dim(q));
    return 1;
  }
  const DhcDim *plain = dhc_dim_symbol(dims, name);
  shape_mismatch(cx, u, dhc_arena_printf(dhc_cx_arena(cx), "dimension %d is %s, and no whole %s of at least 1 makes %s that", k,
                                         dhc_say_dim(cx, have), name, dhc_say_dim(cx, dhc_dim_subst(dims, d, 1, &unknown, &plain))));
  return -1;
}

/* As long as another element binds a binder. False after an error. */
static bool solve_shapes(DhcCx *cx, Unify *u, DhcVal *v) {
  for (bool more = true; more;) {
    more = false;
    for (int i = 0; i < u->sig->inputs.n; i++) {
      u->p = &u->sig->inputs.at[i];
      if (u->p->type.kind != DHC_TY_TENSOR || v[i].kind == DHC_V_VOID) continue;
      u->v = &v[i];
      const DhcAstExprs *list = &u->p->type.shape->u.list;
      int rank = v[i].t->type.rank;
      for (int e = 0, k = 0; e < list->n; e++) {
        bool run = list->at[e]->kind == DHC_EX_RUN;
        int r = run ? 0 : solve_element(cx, u, list->at[e], k);
        if (r < 0) return false;
        more = more || r;
        k += run ? rank - (list->n - 1) : 1;
      }
    }
  }
  return true;
}

static bool bind_value(DhcCx *cx, const Unify *u, DhcVal v) {
  const DhcAstParam *p = u->p;
  const char *what = dhc_arena_printf(dhc_cx_arena(cx), "%s: argument '%s'", u->what, p->name.text);
  bool scalar = v.kind == DHC_V_TENSOR && p->type.kind == DHC_TY_FLOAT && v.t->type.rank == 0 &&
                dhc_dtype_is_float(v.t->type.dtype);
  if (!scalar && !dhc_coerce(cx, &p->type, p->range, what, &v, u->call)) return false;
  if (v.kind == DHC_V_TENSOR && cx->fn) v.t = dhc_fn_import(cx->fn, v.t);
  v.local = true;
  dhc_scope_set(cx, p->name.text, v);
  return true;
}

static bool bind_tensor(DhcCx *cx, Unify *u, DhcVal *v) {
  const DhcAstType *t = &u->p->type;
  int want = DHC_F32;
  dhc_dtype named;
  if (t->has_dtype) want = dhc_dtype_parse(t->dtype.text, &named) ? (int)named : -1;
  if (v->kind == DHC_V_TENSOR && want >= 0 && (int)v->t->type.dtype != want) {
    u->v = v;
    DhcDiag *d = shape_mismatch(
        cx, u, dhc_arena_printf(dhc_cx_arena(cx), "needs %s", dhc_dtype_name((dhc_dtype)want)));
    dhc_err_hint(cx, d, "nothing is converted silently; use %s",
                 want == DHC_F32 ? "float(x)" : "cast(x, dtype)");
    return false;
  }
  DhcValue *x = dhc_as_tensor(cx, v, want, u->call);
  if (!x) return false;
  v->kind = DHC_V_TENSOR;
  v->t = x;
  return true;
}

bool dhc_bind_inputs(DhcCx *cx, const DhcAstSignature *sig, const DhcVal *given, DhcSpan call,
                     const char *what) {
  int n = sig->inputs.n;
  bool ok = true;
  DhcVal *v = DHC_NEW_N(dhc_cx_arena(cx), DhcVal, n + 1);
  Unify u = {.sig = sig, .call = call, .what = what};
  for (int i = 0; i < n; i++) {
    v[i] = given[i];
    u.p = &sig->inputs.at[i];
    if (v[i].kind == DHC_V_ERROR) return false;
    if (v[i].kind == DHC_V_VOID && v[i].absent) continue;
    if (u.p->type.kind == DHC_TY_TENSOR)
      ok = bind_tensor(cx, &u, &v[i]) && ok;
    else
      ok = bind_value(cx, &u, v[i]) && ok;
  }
  for (int pass = 0; pass < 2 && ok; pass++) { /* lone binders first, what hangs on them, then all other dims */
    if (pass == 1 && !solve_shapes(cx, &u, v)) return false;
    for (int i = 0; i < n; i++) {
      u.p = &sig->inputs.at[i];
      if (u.p->type.kind != DHC_TY_TENSOR || v[i].kind == DHC_V_VOID) continue;
      ok = bind_shape(cx, &u, &v[i], pass == 1) && ok;
    }
  }
  if (!ok) return false;
  for (int i = 0; i < sig->binders.n; i++)
    if (!bound_here(cx, sig->binders.at[i].name.text)) {
      dhc_err(cx, "E0309", sig->binders.at[i].name.span,
              "%s: '%s' stands in no input's shape that would bind it", what,
              sig->binders.at[i].name.text);
      return false;
    }
  for (int i = 0; i < n; i++) {
    const DhcAstParam *p = &sig->inputs.at[i];
    if (p->type.kind != DHC_TY_TENSOR) continue;
    if (v[i].kind == DHC_V_VOID) {
      v[i] = dhc_absent_input(cx, p);
      if (v[i].kind == DHC_V_ERROR) return false;
    }
    v[i].name = p->name.text;
    v[i].def = p->span;
    v[i].local = true;
    dhc_scope_set(cx, p->name.text, v[i]);
  }
  return true;
}

/* ---- results ---------------------------------------------------------------------------------- */

static bool check_output(DhcCx *cx, const DhcAstParam *p, DhcVal *v, DhcSpan at) {
  if (p->type.kind != DHC_TY_TENSOR) return v->kind != DHC_V_ERROR;
  DhcType want;
  const char *what = dhc_arena_printf(dhc_cx_arena(cx), "output '%s'", p->name.text);
  bool any = p->type.has_dtype && !strcmp(p->type.dtype.text, "any");
  DhcAstType plain = p->type;
  if (any) plain.has_dtype = false;
  if (!dhc_eval_type(cx, &plain, &want, what)) return false;
  DhcValue *t = dhc_as_tensor(cx, v, v->kind == DHC_V_TENSOR || any ? -1 : (int)want.dtype, at);
  if (!t) return false;
  v->kind = DHC_V_TENSOR;
  v->t = t;
  bool same = t->type.rank == want.rank && (any || t->type.dtype == want.dtype);
  for (int i = 0; same && i < want.rank; i++) same = dhc_same_dim(cx, t->type.dim[i], want.dim[i]);
  if (same) {
    dhc_at(cx, at);
    v->t = dhc_align(cx, t, want.dim, want.rank);
    return v->t != NULL;
  }
  DhcDiag *d = dhc_err(cx, "E0308", at, "output '%s' is declared %s, got %s", p->name.text,
                       dhc_say_type(cx, &want), dhc_say_type(cx, &t->type));
  dhc_err_note(cx, d, p->span, "declared here");
  dhc_note_operand(cx, d, v);
  return false;
}

DhcVal dhc_check_outputs(DhcCx *cx, const DhcAstSignature *sig, DhcVal r, DhcSpan at) {
  int n = sig->outputs.n;
  if (r.kind == DHC_V_ERROR) return r;
  int got = r.kind == DHC_V_VOID ? 0 : r.kind == DHC_V_TUPLE ? r.list.n : 1;
  if (n == 0) return r;
  if (got != n) {
    DhcDiag *d =
        dhc_err(cx, "E0306", at, "%s declares %d output%s, %s", sig->name.text, n, n == 1 ? "" : "s",
                got ? dhc_arena_printf(dhc_cx_arena(cx), "but returns %d", got) : "but nothing is returned");
    dhc_err_note(cx, d, sig->span, "declared here");
    return dhc_v_error();
  }
  DhcVal *v = DHC_NEW_N(dhc_cx_arena(cx), DhcVal, n);
  bool ok = true;
  for (int i = 0; i < n; i++) {
    v[i] = got == 1 && r.kind != DHC_V_TUPLE ? r : r.list.at[i];
    if (v[i].kind == DHC_V_ERROR)
      ok = false;
    else
      ok = check_output(cx, &sig->outputs.at[i], &v[i], at) && ok;
  }
  if (!ok) return dhc_v_error();
  return n == 1 ? v[0] : dhc_v_list(cx, DHC_V_TUPLE, v, n);
}

/* Where the body ends, for messages about its result. */
static DhcSpan result_span(const DhcAstStmts *body, DhcSpan or_else) {
  return body->n ? body->at[body->n - 1]->span : or_else;
}

static bool too_deep(DhcCx *cx, DhcSpan at, const char *what) {
  if (cx->e->stopped) return true;
  if (cx->depth < DHC_LIMIT_CALLS) return false;
  DhcDiag *d = dhc_limit_stop(cx, "E0315", at, "calls nested deeper than %d levels at %s", DHC_LIMIT_CALLS, what);
  dhc_err_hint(cx, d, "functions and entries may not call themselves");
  return true;
}

/* Errors of an inlined body get a note about the call they came from. */
static void note_call(DhcCx *cx, int before, DhcSpan at, const char *what) {
  DhcDiags *d = cx->e->diags;
  if (cx->e->stopped) return; /* the message has the whole chain */
  for (int i = before; i < d->all.n; i++)
    if (d->all.at[i]->severity == DHC_ERROR && d->all.at[i]->notes.n < 6 &&
        (d->all.at[i]->at.file != at.file || d->all.at[i]->at.begin < at.begin ||
         d->all.at[i]->at.end > at.end))
      dhc_diag_note(d, d->all.at[i], at, "in this call of %s", what);
}

/* Which call of inst this is: entries of a layer that call each other are in one. */
static int number_of_call(DhcCx *cx, const DhcInst *inst) {
  int n = 0;
  if (inst == cx->self || !cx->run) return cx->call;
  for (int i = 0; i < cx->run->called.n; i++) n += cx->run->called.at[i] == inst;
  DHC_PUSH(dhc_cx_arena(cx), &cx->run->called, inst);
  return n;
}

DhcVal dhc_call_method(DhcCx *cx, DhcInst *inst, const DhcAstItem *entry, const DhcArg *args, int n_args,
                       DhcSpan at) {
  const DhcAstSignature *sig = &entry->u.entry.sig;
  const char *what = dhc_arena_printf(dhc_cx_arena(cx), "%s.%s", inst->decl->name.text, sig->name.text);
  if (too_deep(cx, at, what)) return dhc_v_error();
  if (!cx->fn || cx->init_shape) {
    dhc_err(cx, "E0307", at, "%s runs in entries, not at compile time", what);
    return dhc_v_error();
  }
  DhcVal *inputs = DHC_NEW_N(dhc_cx_arena(cx), DhcVal, sig->inputs.n + 1);
  if (!dhc_match_inputs(cx, sig, inst->file, args, n_args, at, what, inputs)) return dhc_v_error();
  int before = cx->e->diags->all.n, call = number_of_call(cx, inst);
  DhcVal r;
  if (inst->is_element && inst != cx->self && !dhc_body_has_unit(&entry->u.entry.body)) {
    r = dhc_outline_method(cx, inst, call, entry, inputs, at);
  } else {
    DhcScope scope = {0};
    const DhcFrame frame = {what, at, cx->frame, false};
    DhcCx inner = {.e = cx->e,
                   .m = cx->m,
                   .self = inst,
                   .call = call,
                   .owner = inst,
                   .file = inst->file,
                   .scope = &scope,
                   .fn = cx->fn,
                   .run = cx->run,
                   DHC_CALLED(cx, &frame),
                   .sig = sig};
    r = dhc_v_error();
    if (dhc_bind_inputs(&inner, sig, inputs, at, what)) {
      dhc_run_body(&inner, &entry->u.entry.body);
      r = inner.has_result ? inner.result : (DhcVal){.kind = DHC_V_VOID};
      int now = cx->e->diags->all.n;
      if (!inner.has_result && now > before) r = dhc_v_error();
      r = dhc_check_outputs(&inner, sig, r, result_span(&entry->u.entry.body, sig->span));
    }
  }
  note_call(cx, before, at, what);
  return r;
}

DhcVal dhc_call_fn(DhcCx *cx, const DhcAstDecl *fn, const DhcAstModule *file, const DhcArg *args, int n_args,
                   DhcSpan at) {
  const DhcAstSignature *sig = &fn->u.fn.sig;
  const char *what = fn->name.text;
  if (too_deep(cx, at, what)) return dhc_v_error();
  DhcVal *inputs = DHC_NEW_N(dhc_cx_arena(cx), DhcVal, sig->inputs.n + 1);
  if (!dhc_match_inputs(cx, sig, file, args, n_args, at, what, inputs)) return dhc_v_error();
  int before = cx->e->diags->all.n;
  DhcVal r;
  if ((fn->u.fn.kernel || fn->u.fn.vjp.text) && cx->fn) {
    r = dhc_outline_composite(cx, fn, file, inputs, at);
  } else {
    DhcScope scope = {0};
    const DhcFrame frame = {what, at, cx->frame, false};
    DhcCx inner = {.e = cx->e,
                   .m = cx->m,
                   .owner = cx->owner,
                   .file = file,
                   .scope = &scope,
                   .fn = cx->fn,
                   .run = cx->run,
                   DHC_CALLED(cx, &frame),
                   .sig = sig};
    r = dhc_v_error();
    if (dhc_bind_inputs(&inner, sig, inputs, at, what)) {
      dhc_run_body(&inner, &fn->u.fn.body);
      r = inner.has_result ? inner.result : (DhcVal){.kind = DHC_V_VOID};
      if (!inner.has_result && cx->e->diags->all.n > before) r = dhc_v_error();
      r = dhc_check_outputs(&inner, sig, r, result_span(&fn->u.fn.body, sig->span));
    }
  }
  note_call(cx, before, at, what);
  r.name = NULL;
  return r;
}

/* ---- what a callee is ----------------------------------------------------------------------------- */

static DhcVal apply_layer(DhcCx *cx, const DhcClosure *c, const DhcAstArgs *args) {
  bool ok;
  DhcArg *a = dhc_eval_args(cx, args, &c->decl->u.layer.params, &ok);
  if (!ok) return dhc_v_error();
  DhcGiven *more = DHC_NEW_N(dhc_cx_arena(cx), DhcGiven, args->n + 1);
  for (int i = 0; i < args->n; i++)
    more[i] = (DhcGiven){.name = a[i].name, .value = a[i].value, .span = a[i].span};
  return (DhcVal){.kind = DHC_V_LAYER, .layer = dhc_closure_with(dhc_cx_arena(cx), c, more, args->n)};
}

/* As functions do among names, an entry that is called comes before a hyperparameter of its name: `ppo.act(obs)`. */
static DhcVal entry_called(DhcCx *cx, DhcVal callee, const DhcAstExpr *of) {
  bool callable = callee.kind == DHC_V_ERROR || callee.kind == DHC_V_LAYER || callee.kind == DHC_V_INST || callee.kind == DHC_V_METHOD;
  if (callable || of->kind != DHC_EX_MEMBER || of->u.member.object->kind == DHC_EX_SELF) return callee;
  DhcVal object = dhc_eval(cx, of->u.member.object);
  const DhcAstItem *entry = object.kind == DHC_V_INST ? dhc_inst_entry(object.inst, of->u.member.name.text) : NULL;
  if (!entry) return callee;
  return (DhcVal){.kind = DHC_V_METHOD, .method = {.inst = object.inst, .entry = entry}};
}

static DhcVal apply(DhcCx *cx, DhcVal callee, const DhcAstExpr *e) {
  bool ok;
  callee = entry_called(cx, callee, e->u.call.callee);
  DhcInst *inst = NULL;
  const DhcAstItem *entry = NULL;
  switch (callee.kind) {
    case DHC_V_ERROR: return callee;
    case DHC_V_LAYER: return apply_layer(cx, callee.layer, &e->u.call.args);
    case DHC_V_INST:
      inst = callee.inst;
      entry = dhc_inst_entry(inst, "forward");
      if (!entry) {
        DhcDiag *d = dhc_err(cx, "E0301", e->span, "%s has no entry 'forward'", inst->decl->name.text);
        dhc_err_note(cx, d, inst->decl->name.span, "declared here");
        return dhc_v_error();
      }
      break;
    case DHC_V_METHOD:
      inst = callee.method.inst;
      entry = callee.method.entry;
      break;
    default:
      dhc_err(cx, "E0303", e->span, "%s cannot be called", dhc_say_kind(cx, &callee));
      return dhc_v_error();
  }
  DhcArg *args = dhc_eval_args(cx, &e->u.call.args, &entry->u.entry.sig.inputs, &ok);
  if (!ok) return dhc_v_error();
  return dhc_call_method(cx, inst, entry, args, e->u.call.args.n, e->span);
}

/* Inside an initialiser, a function of `shape` gets the declared shape. */
static DhcArg *with_shape(DhcCx *cx, const DhcAstDecl *fn, DhcArg *args, int *n) {
  const DhcAstParams *p = &fn->u.fn.sig.inputs;
  if (!cx->init_shape || !p->n || strcmp(p->at[0].name.text, "shape")) return args;
  if (*n && !args[0].name && args[0].value.kind == DHC_V_LIST) return args;
  for (int i = 0; i < *n; i++)
    if (args[i].name && !strcmp(args[i].name, "shape")) return args;
  DhcArg *all = DHC_NEW_N(dhc_cx_arena(cx), DhcArg, *n + 1);
  all[0].value = *cx->init_shape;
  memcpy(all + 1, args, sizeof *args * (size_t)*n);
  ++*n;
  return all;
}

static DhcVal call_named(DhcCx *cx, const DhcAstExpr *e, const char *name) {
  const DhcAstExpr *callee = e->u.call.callee;
  bool running = cx->fn && !cx->init_shape, ok;
  DhcVal *local = dhc_scope_get(cx->scope, name);
  if (local && (local->kind == DHC_V_INST || local->kind == DHC_V_METHOD || local->kind == DHC_V_LAYER))
    return apply(cx, *local, e);
  if (cx->self && running) {
    DhcMember *m = dhc_inst_member(cx->self, name);
    if (m && m->kind == DHC_M_SUB) return apply(cx, dhc_member_value(cx, cx->self, m, callee->span), e);
    const DhcAstItem *entry = dhc_inst_entry(cx->self, name);
    DhcVal v = {.kind = DHC_V_METHOD};
    v.method.inst = cx->self;
    v.method.entry = entry;
    if (entry) return apply(cx, v, e);
  }
  DhcHyper *h = cx->self ? dhc_inst_hyper(cx->self, name) : NULL;
  if (h && h->value.kind == DHC_V_LAYER) return apply(cx, h->value, e);
  const DhcAstModule *in = NULL;
  const DhcAstDecl *d = dhc_find_decl(cx->e, cx->file, name, DHC_DECL_BIT(DHC_DE_FN), &in);
  int n = e->u.call.args.n;
  if (d) {
    DhcArg *args = dhc_eval_args(cx, &e->u.call.args, &d->u.fn.sig.inputs, &ok);
    if (ok) args = with_shape(cx, d, args, &n);
    return ok ? dhc_call_fn(cx, d, in, args, n, e->span) : dhc_v_error();
  }
  d = dhc_find_decl(cx->e, cx->file, name, DHC_DECL_BIT(DHC_DE_LAYER) | DHC_DECL_BIT(DHC_DE_MODEL), &in);
  if (d) {
    DhcClosure c = {.decl = d, .file = in};
    return apply_layer(cx, &c, &e->u.call.args);
  }
  DhcVal out;
  const bool frozen = cx->frozen;
  cx->frozen = frozen || !strcmp(name, "frozen");
  DhcArg *args = dhc_eval_args(cx, &e->u.call.args, NULL, &ok);
  cx->frozen = frozen;
  if (dhc_call_builtin(cx, name, ok ? args : NULL, n, e->span, &out)) return ok ? out : dhc_v_error();
  dhc_report_unknown(cx, "function or submodule", name, callee->span);
  return dhc_v_error();
}

DhcVal dhc_eval_call(DhcCx *cx, const DhcAstExpr *e) {
  const DhcAstExpr *callee = e->u.call.callee;
  if (callee->kind == DHC_EX_NAME) return call_named(cx, e, callee->u.name);
  return apply(cx, dhc_eval(cx, callee), e);
}
