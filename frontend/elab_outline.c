/* What becomes a function of its own: units, checkpoint and scan bodies, elements of
 * indexed submodules, composites. */
#include "frontend/elab_internal.h"

/* ---- does a body mark its own units? ---------------------------------------------------- */

static bool stmts_have_unit(const DhcAstStmts *body, int depth);

static bool expr_has_unit(const DhcAstExpr *e, int depth) {
  for (; e; e = e->u.binary.lhs) { /* the left spine of operators in a loop */
    if (depth > 1000) return false;
    if (e->kind != DHC_EX_BINARY) break;
    if (expr_has_unit(e->u.binary.rhs, depth + 1)) return true;
  }
  if (!e) return false;
  switch (e->kind) {
    case DHC_EX_UNIT: return true;
    case DHC_EX_CHECKPOINT: return stmts_have_unit(&e->u.checkpoint, depth + 1);
    case DHC_EX_SCAN: return stmts_have_unit(&e->u.scan.body, depth + 1);
    case DHC_EX_CALL:
      for (int i = 0; i < e->u.call.args.n; i++)
        if (expr_has_unit(e->u.call.args.at[i].value, depth + 1)) return true;
      return false;
    case DHC_EX_LIST:
      for (int i = 0; i < e->u.list.n; i++)
        if (expr_has_unit(e->u.list.at[i], depth + 1)) return true;
      return false;
    case DHC_EX_UNARY: return expr_has_unit(e->u.unary.operand, depth + 1);
    case DHC_EX_COND:
      return expr_has_unit(e->u.cond.then_, depth + 1) || expr_has_unit(e->u.cond.else_, depth + 1);
    case DHC_EX_INDEX: return expr_has_unit(e->u.index.object, depth + 1);
    case DHC_EX_MEMBER: return expr_has_unit(e->u.member.object, depth + 1);
    default: return false;
  }
}

static bool stmts_have_unit(const DhcAstStmts *body, int depth) {
  for (int i = 0; i < body->n; i++) {
    const DhcAstStmt *s = body->at[i];
    bool has = false;
    switch (s->kind) {
      case DHC_ST_ASSIGN:
        for (int k = 0; k < s->u.assign.values.n; k++)
          has = has || expr_has_unit(s->u.assign.values.at[k], depth);
        break;
      case DHC_ST_RETURN:
      case DHC_ST_YIELD:
        for (int k = 0; k < s->u.values.n; k++) has = has || expr_has_unit(s->u.values.at[k], depth);
        break;
      case DHC_ST_TAP: has = expr_has_unit(s->u.tap.value, depth); break;
      case DHC_ST_STORE: has = expr_has_unit(s->u.store.value, depth); break;
      case DHC_ST_IF:
        has = stmts_have_unit(&s->u.if_.then_, depth + 1) || stmts_have_unit(&s->u.if_.else_, depth + 1);
        break;
      case DHC_ST_FOR: has = stmts_have_unit(&s->u.for_.body, depth + 1); break;
      case DHC_ST_REQUIRE: break;
    }
    if (has) return true;
  }
  return false;
}

bool dhc_body_has_unit(const DhcAstStmts *body) {
  return stmts_have_unit(body, 0);
}

/* ---- symbols of a function's own ------------------------------------------------------------ */

static const DhcDim *own_symbol(DhcCx *cx, DhcFn *fn, const char *name, const DhcDim *bound) {
  if (dhc_dim_is_const(bound, NULL)) return bound;
  for (bool taken = true; taken;) {
    taken = false;
    for (int i = 0; i < fn->symbols.n; i++) taken = taken || fn->symbols.at[i] == name;
    if (taken) name = dhc_intern(cx->e->strings, dhc_arena_printf(dhc_cx_arena(cx), "%s_", name));
  }
  DHC_PUSH(dhc_cx_arena(cx), &fn->symbols, name);
  DHC_PUSH(dhc_cx_arena(cx), &fn->bound, bound);
  return dhc_dim_symbol(dhc_cx_dims(cx), name);
}

/* ---- blocks --------------------------------------------------------------------------------- */

static DhcCx block_frame(DhcCx *cx, DhcScope *scope, DhcFn *fn, const char *block) {
  DhcCx inner = *cx;
  scope->parent = cx->scope;
  inner.scope = scope;
  inner.fn = fn;
  inner.block = block;
  inner.done = inner.has_result = false;
  return inner;
}

/* Runs the block; its yielded values, as tensors of `fn`, in *out. -1 after an error. */
static int run_block(DhcCx *inner, const DhcAstStmts *body, DhcSpan at, bool must_yield, DhcVal **out) {
  int before = inner->e->diags->n_errors;
  dhc_run_body(inner, body);
  if (!inner->has_result && must_yield) {
    if (inner->e->diags->n_errors == before)
      dhc_err(inner, "E0318", at, "this %s yields nothing", inner->block);
    return -1;
  }
  if (!inner->has_result || inner->result.kind == DHC_V_VOID)
    return inner->e->diags->n_errors == before ? 0 : -1;
  DhcVal *r = &inner->result;
  int n = r->kind == DHC_V_TUPLE ? r->list.n : 1;
  *out = DHC_NEW_N(dhc_cx_arena(inner), DhcVal, n);
  for (int i = 0; i < n; i++) {
    (*out)[i] = r->kind == DHC_V_TUPLE ? r->list.at[i] : *r;
    DhcValue *t = dhc_as_tensor(inner, &(*out)[i], -1, at);
    if (!t) return -1;
    (*out)[i].kind = DHC_V_TENSOR;
    (*out)[i].t = t;
  }
  return n;
}

static DhcVal results_of(DhcCx *cx, DhcNode *call, int n) {
  if (!call) return dhc_v_error();
  DhcVal *v = DHC_NEW_N(dhc_cx_arena(cx), DhcVal, n + 1);
  for (int i = 0; i < n; i++) v[i] = dhc_v_tensor(call->results[i]);
  return n == 1 ? v[0] : dhc_v_list(cx, DHC_V_TUPLE, v, n);
}

/* ---- units polymorphic in the binders around them ---------------------------------------------- */

/* The frame's own scope, where its binders stand. */
static DhcScope *frame_scope(DhcCx *cx) {
  DhcScope *s = cx->scope;
  while (s->parent) s = s->parent;
  return s;
}

/* Symbols already? Then the unit shares them as they are. */
static bool binders_are_symbols(DhcCx *cx) {
  for (int i = 0; cx->sig && i < cx->sig->binders.n; i++) {
    const DhcVal *v = dhc_scope_get(frame_scope(cx), cx->sig->binders.at[i].name.text);
    if (v && v->kind == DHC_V_DIM && !dhc_dim_symbol_name(v->dim)) return false;
    for (int k = 0; v && v->kind == DHC_V_LIST && k < v->list.n; k++)
      if (v->list.at[k].kind == DHC_V_DIM && !dhc_dim_symbol_name(v->list.at[k].dim)) return false;
  }
  return true;
}

static DhcVal renamed_value(DhcCx *inner, DhcVal v) {
  if (v.kind == DHC_V_DIM) {
    DhcVal d = dhc_v_dim(dhc_fn_rename(inner->fn, v.dim));
    d.name = v.name;
    d.def = v.def;
    return d;
  }
  if (v.kind != DHC_V_LIST && v.kind != DHC_V_TUPLE) return v;
  DhcVal *at = DHC_NEW_N(dhc_cx_arena(inner), DhcVal, v.list.n + 1);
  for (int i = 0; i < v.list.n; i++) at[i] = renamed_value(inner, v.list.at[i]);
  v.list.at = at;
  return v;
}

/* Every visible name, with dims in fn's symbols: binders first, so that others can be
 * expressed by them. */
static void rename_scope(DhcCx *inner, DhcCx *cx) {
  for (int i = 0; cx->sig && i < cx->sig->binders.n; i++) {
    const char *name = cx->sig->binders.at[i].name.text;
    const DhcVal *v = dhc_scope_get(frame_scope(cx), name);
    if (v && v->kind == DHC_V_DIM) own_symbol(inner, inner->fn, name, v->dim);
    for (int k = 0; v && v->kind == DHC_V_LIST && k < v->list.n; k++)
      if (v->list.at[k].kind == DHC_V_DIM)
        own_symbol(inner, inner->fn,
                   dhc_intern(inner->e->strings, dhc_arena_printf(dhc_cx_arena(inner), "%s%d", name, k)),
                   v->list.at[k].dim);
  }
  DHC_VEC(DhcScope *) chain = {0};
  for (DhcScope *s = cx->scope; s; s = s->parent) DHC_PUSH(dhc_cx_arena(inner), &chain, s);
  for (int i = chain.n - 1; i >= 0; i--)
    for (int k = 0; k < chain.at[i]->vars.n; k++)
      dhc_scope_set(inner, chain.at[i]->vars.at[k].name, renamed_value(inner, chain.at[i]->vars.at[k].value));
}

static DhcVal block_call(DhcCx *cx, const DhcAstExpr *e, const DhcAstStmts *body, const char *block,
                         const char *name, DhcFuncKind kind, DhcOp op, bool renamed) {
  dhc_at(cx, e->span);
  DhcFn *fn = dhc_fn_begin(cx, name, kind, cx->fn, renamed);
  DhcScope scope = {0};
  DhcCx inner = block_frame(cx, &scope, fn, block);
  if (renamed) {
    scope.parent = NULL;
    rename_scope(&inner, cx);
  }
  DhcVal *out = NULL;
  int n = run_block(&inner, body, e->span, true, &out);
  if (n < 0) return dhc_v_error();
  for (int i = 0; i < n; i++) dhc_func_result(fn->f, out[i].t, NULL);
  dhc_at(cx, e->span);
  return results_of(cx, dhc_fn_call(cx, fn, op, NULL, 0), n);
}

static DhcVal eval_block(DhcCx *cx, const DhcAstExpr *e, const DhcAstStmts *body, const char *block,
                         const char *name, DhcFuncKind kind, DhcOp op) {
  if (!cx->fn || cx->init_shape) {
    dhc_err(cx, "E0318", e->span, "a %s stands only in entries and functions", block);
    return dhc_v_error();
  }
  if (!binders_are_symbols(cx)) {
    /* In symbols of its own a unit is the same whatever surrounds it. Where the body needs
     * to know how dims outside hang together, that fails: then it shares the outer symbols. */
    DhcDiags *d = cx->e->diags;
    int n_all = d->all.n, n_errors = d->n_errors, n_warnings = d->n_warnings, n_sites = cx->run->site_count.n;
    bool refused = cx->run->refused;
    int n_called = cx->run->called.n;
    int *sites = dhc_arena_dup(dhc_cx_arena(cx), cx->run->site_count.at, sizeof *sites * (size_t)n_sites);
    DhcVal v = block_call(cx, e, body, block, name, kind, op, true);
    if (v.kind != DHC_V_ERROR) return v;
    d->all.n = n_all;
    d->n_errors = n_errors;
    d->n_warnings = n_warnings;
    cx->run->refused = refused;
    cx->run->site_count.n = cx->run->site_path.n = n_sites;
    cx->run->called.n = n_called;
    for (int i = 0; i < n_sites; i++) cx->run->site_count.at[i] = sites[i];
  }
  return block_call(cx, e, body, block, name, kind, op, false);
}

static const char *block_name(DhcCx *cx, const char *name) {
  const char *base = cx->owner ? cx->owner->decl->name.text : "main";
  return dhc_arena_printf(dhc_cx_arena(cx), "%s.%s", base, name);
}

DhcVal dhc_eval_unit(DhcCx *cx, const DhcAstExpr *e) {
  const char *name = block_name(cx, e->u.unit.name.text ? e->u.unit.name.text : "unit");
  return eval_block(cx, e, &e->u.unit.body, "unit", name, DHC_FUNC_UNIT, DHC_OP_CALL);
}

DhcVal dhc_eval_checkpoint(DhcCx *cx, const DhcAstExpr *e) {
  return eval_block(cx, e, &e->u.checkpoint, "checkpoint", block_name(cx, "checkpoint"), DHC_FUNC_BODY,
                    DHC_OP_CHECKPOINT);
}

/* ---- scan -------------------------------------------------------------------------------------- */

typedef struct Scan {
  const DhcAstExpr *e;
  DhcFn *fn;
  int n_carry, n_xs;
  DhcValue **args; /* carries, then xs, in the outer function */
  int64_t axis;
  const DhcDim *length;
} Scan;

static bool scan_inputs(DhcCx *cx, Scan *s) {
  const DhcAstPairs *carries = &s->e->u.scan.carries, *over = &s->e->u.scan.over;
  s->n_carry = carries->n;
  s->n_xs = over->n;
  s->args = DHC_NEW_N(dhc_cx_arena(cx), DhcValue *, s->n_carry + s->n_xs + 1);
  DhcVal axis = dhc_eval(cx, s->e->u.scan.axis);
  bool ok = dhc_want_int(cx, &axis, s->e->u.scan.axis->span, "the axis of a scan", &s->axis);
  for (int i = 0; i < s->n_carry; i++) {
    DhcVal v = dhc_eval(cx, carries->at[i].value);
    s->args[i] = dhc_as_tensor(cx, &v, v.kind == DHC_V_INT ? DHC_I64 : -1, carries->at[i].value->span);
    ok = ok && s->args[i];
  }
  for (int i = 0; i < s->n_xs; i++) {
    DhcVal v = dhc_eval(cx, over->at[i].value);
    DhcValue *x = s->args[s->n_carry + i] = dhc_as_tensor(cx, &v, -1, over->at[i].value->span);
    if (!x || !ok) {
      ok = false;
      continue;
    }
    if (i == 0 && s->axis < 0) s->axis += x->type.rank;
    if (s->axis < 0 || s->axis >= x->type.rank) {
      dhc_err(cx, "E0308", over->at[i].value->span, "scan: axis %lld is outside %s", (long long)s->axis,
              dhc_say_type(cx, &x->type));
      ok = false;
      continue;
    }
    const DhcDim *n = x->type.dim[s->axis];
    if (s->length && s->length != n) {
      dhc_err(cx, "E0308", over->at[i].value->span, "scan: lengths along axis %lld differ: %s and %s",
              (long long)s->axis, dhc_say_dim(cx, s->length), dhc_say_dim(cx, n));
      ok = false;
    }
    s->length = n;
  }
  return ok;
}

static void bind_scan_param(DhcCx *inner, Scan *s, const DhcAstPair *p, const DhcType *t) {
  DhcParamInfo info = {.name = p->name.text, .role = DHC_ROLE_PLAIN, .decl = -1};
  DhcVal v = dhc_v_tensor(dhc_func_param(s->fn->f, t, info, p->span));
  v.name = p->name.text;
  v.def = p->name.span;
  v.local = true;
  dhc_scope_set(inner, p->name.text, v);
}

/* The carry after the body must have the type it came in with. */
static bool scan_carry(DhcCx *inner, Scan *s, int i) {
  const DhcAstPair *p = &s->e->u.scan.carries.at[i];
  DhcVal *v = dhc_scope_get(inner->scope, p->name.text);
  const DhcType *want = &s->args[i]->type;
  DhcValue *t = dhc_as_tensor(inner, v, (int)want->dtype, p->span);
  if (!t) return false;
  if (t->type.rank < want->rank || dhc_val_is_number(v))
    t = dhc_b_broadcast(&inner->fn->b, t, want->dim, want->rank);
  if (!t) return false;
  if (!dhc_type_equal(&t->type, want)) {
    DhcDiag *d = dhc_err(inner, "E0308", v->def.file ? v->def : p->span,
                         "scan: '%s' starts as %s, the body makes it %s", p->name.text,
                         dhc_say_type(inner, want), dhc_say_type(inner, &t->type));
    dhc_err_note(inner, d, p->span, "started here");
    return false;
  }
  dhc_func_result(s->fn->f, t, p->name.text);
  return true;
}

/* A tap or buffer has one value a run, a scan one a step. */
static bool scan_keeps_to_itself(DhcCx *cx, const Scan *s) {
  for (int i = 0; i < s->fn->stores.n; i++) {
    const DhcStore *store = &s->fn->stores.at[i];
    DhcDiag *d = dhc_err(cx, "E0311", store->span, "buffer '%s' is assigned inside a scan: it has one value a run",
                         cx->m->module->tensors.at[store->tensor].path);
    dhc_err_note(cx, d, s->e->span, "the scan is here");
    dhc_err_hint(cx, d, "yield the value and assign what the scan gives");
  }
  for (int i = 0; i < s->fn->taps.n; i++) {
    const DhcTap *tap = &s->fn->taps.at[i];
    DhcDiag *d = dhc_err(cx, "E0311", tap->value->def->span, "tap '%s' inside a scan: it has one value a run", tap->path);
    dhc_err_note(cx, d, s->e->span, "the scan is here");
    dhc_err_hint(cx, d, "yield the value and tap what the scan gives, for example its mean");
  }
  return !(s->fn->taps.n || s->fn->stores.n);
}

/* 0, 1, … along the scan's axis, for what draws random numbers in its body. */
static DhcValue *scan_trips(DhcCx *cx, const Scan *s) {
  DhcModule *m = cx->m->module;
  const DhcDim *dim[DHC_MAX_RANK];
  for (int i = 0; i < s->axis; i++) dim[i] = dhc_dim_const(m->dims, 1);
  dim[s->axis] = s->length;
  DhcAttr attrs[3] = {dhc_attr_int(s->axis), dhc_attr_dtype(DHC_I64), dhc_attr_dims(m, dim, (int)s->axis + 1)};
  return dhc_build1(dhc_at(cx, s->e->span), DHC_OP_IOTA, NULL, 0, attrs, 3);
}

static DhcVal scan_build(DhcCx *cx, Scan *s, int n_ys) {
  DhcModule *m = cx->m->module;
  if (!scan_keeps_to_itself(cx, s)) return dhc_v_error();
  const DhcDim *const *dims = NULL;
  int n_dims = dhc_fn_close(cx, s->fn, &dims);
  DHC_VEC(DhcValue *) all = {0};
  for (int i = 0; i < s->n_carry + s->n_xs; i++) DHC_PUSH(m->arena, &all, s->args[i]);
  if (s->fn->trip) DHC_PUSH(m->arena, &all, scan_trips(cx, s));
  for (int i = 0; i < s->fn->captures.n; i++) DHC_PUSH(m->arena, &all, s->fn->captures.at[i].outer);
  DhcAttr attrs[7] = {dhc_attr_func(s->fn->f),
                      dhc_attr_dims(m, dims, n_dims),
                      dhc_attr_int(s->n_carry),
                      dhc_attr_int(s->n_xs + (s->fn->trip != NULL)),
                      dhc_attr_int(s->axis),
                      dhc_attr_dim(s->length),
                      dhc_attr_bool(s->e->u.scan.reverse)};
  return results_of(cx, dhc_build(dhc_at(cx, s->e->span), DHC_OP_SCAN, all.at, all.n, attrs, 7),
                    s->n_carry + n_ys);
}

DhcVal dhc_eval_scan(DhcCx *cx, const DhcAstExpr *e) {
  if (!cx->fn) {
    dhc_err(cx, "E0318", e->span, "a scan stands only in entries and functions");
    return dhc_v_error();
  }
  Scan s = {.e = e};
  if (!scan_inputs(cx, &s)) return dhc_v_error();
  dhc_at(cx, e->span);
  s.fn = dhc_fn_begin(cx, block_name(cx, "scan"), DHC_FUNC_BODY, cx->fn, false);
  s.fn->in_scan = true;
  s.fn->scan_inputs = s.n_carry + s.n_xs;
  s.fn->scan_axis = (int)s.axis;
  s.fn->scan_length = dhc_fn_rename(s.fn, s.length);
  DhcScope scope = {0};
  DhcCx inner = block_frame(cx, &scope, s.fn, "scan");
  for (int i = 0; i < s.n_carry; i++) bind_scan_param(&inner, &s, &e->u.scan.carries.at[i], &s.args[i]->type);
  for (int i = 0; i < s.n_xs; i++) {
    DhcType t = s.args[s.n_carry + i]->type;
    for (int k = (int)s.axis; k + 1 < t.rank; k++) t.dim[k] = t.dim[k + 1];
    t.rank--;
    bind_scan_param(&inner, &s, &e->u.scan.over.at[i], &t);
  }
  DhcVal *ys = NULL;
  int n = run_block(&inner, &e->u.scan.body, e->span, false, &ys);
  if (n < 0) return dhc_v_error();
  bool ok = true;
  for (int i = 0; i < s.n_carry; i++) ok = scan_carry(&inner, &s, i) && ok;
  if (!ok) return dhc_v_error();
  for (int i = 0; i < n; i++) {
    if (ys[i].t->type.rank >= (int)s.axis) continue;
    DhcDiag *d = dhc_err(cx, "E0308", e->span, "scan along %lld: yields %s, which has no place for an axis %lld", (long long)s.axis,
                         dhc_say_type(cx, &ys[i].t->type), (long long)s.axis);
    dhc_err_hint(cx, d, "steps are stacked along that axis: yield a value of at least %lld axes, or scan along 0", (long long)s.axis);
    return dhc_v_error();
  }
  for (int i = 0; i < n; i++) dhc_func_result(s.fn->f, ys[i].t, NULL);
  return scan_build(cx, &s, n);
}

/* ---- functions with symbols of their own ---------------------------------------------------------- */

typedef struct Outline {
  DhcFn *fn;
  const DhcAstSignature *sig;
  DHC_VEC(DhcValue *) args; /* in the outer function, one per parameter so far */
} Outline;

/* Binders of the callee, found in `outer` as outer dims, become symbols of fn. */
static void own_binders(DhcCx *inner, const DhcCx *outer, Outline *o) {
  for (int i = 0; i < o->sig->binders.n; i++) {
    const DhcAstBinder *b = &o->sig->binders.at[i];
    const DhcVal *v = dhc_scope_get(outer->scope, b->name.text);
    const DhcDim *d;
    if (!b->is_run) {
      if (dhc_want_dim(inner, v, b->name.span, "a binder", &d))
        dhc_scope_set(inner, b->name.text, dhc_v_dim(own_symbol(inner, o->fn, b->name.text, d)));
      continue;
    }
    DhcVal dims[DHC_MAX_RANK];
    for (int k = 0; k < v->list.n; k++) {
      const char *name =
          dhc_intern(inner->e->strings, dhc_arena_printf(dhc_cx_arena(inner), "%s%d", b->name.text, k));
      if (dhc_want_dim(inner, &v->list.at[k], b->name.span, "a binder", &d))
        dims[k] = dhc_v_dim(own_symbol(inner, o->fn, name, d));
    }
    dhc_scope_set(inner, b->name.text, dhc_v_list(inner, DHC_V_LIST, dims, v->list.n));
  }
}

static DhcVal new_param(DhcCx *inner, Outline *o, const DhcAstParam *p, const DhcType *t, DhcValue *outer) {
  DhcParamInfo info = {.name = p->name.text, .role = DHC_ROLE_PLAIN, .decl = -1};
  DhcVal v = dhc_v_tensor(dhc_func_param(o->fn->f, t, info, p->span));
  v.name = p->name.text;
  v.def = p->span;
  v.local = true;
  DHC_PUSH(dhc_cx_arena(inner), &o->args, outer);
  dhc_scope_set(inner, p->name.text, v);
  return v;
}

/* Inputs as parameters of fn; `scalars`: floats too, else they stay what they are. */
static bool own_inputs(DhcCx *inner, DhcCx *outer, Outline *o, bool scalars) {
  for (int i = 0; i < o->sig->inputs.n; i++) {
    const DhcAstParam *p = &o->sig->inputs.at[i];
    DhcVal v = *dhc_scope_get(outer->scope, p->name.text);
    if (v.absent && !scalars) { /* left out: a constant of the body, no parameter */
      v = dhc_absent_input(inner, p);
      if (v.kind == DHC_V_ERROR) return false;
      dhc_scope_set(inner, p->name.text, v);
    } else if (v.kind == DHC_V_FLOAT && scalars) {
      DhcType t = {.dtype = DHC_F32, .rank = 0};
      new_param(inner, o, p, &t, dhc_fn_fx(outer, v.fx));
    } else if (v.kind == DHC_V_TENSOR) {
      DhcType t = v.t->type;
      for (int k = 0; k < t.rank; k++) {
        int64_t c;
        const DhcDim *d = t.dim[k];
        bool bound = dhc_dim_is_const(d, &c);
        for (int s = 0; s < o->fn->bound.n && !bound; s++)
          if (o->fn->bound.at[s] == d) {
            t.dim[k] = dhc_dim_symbol(dhc_cx_dims(inner), o->fn->symbols.at[s]);
            bound = true;
          }
        if (!bound && p->type.kind != DHC_TY_TENSOR)
          t.dim[k] = own_symbol(inner, o->fn, dhc_intern(inner->e->strings, "n"), d);
      }
      DhcType declared = t;
      DhcAstType plain = p->type;
      if (plain.has_dtype && !strcmp(plain.dtype.text, "any")) plain.has_dtype = false;
      if (p->type.kind == DHC_TY_TENSOR) {
        if (!dhc_eval_type(inner, &plain, &declared, p->name.text)) return false;
        declared.dtype = t.dtype;
      }
      new_param(inner, o, p, &declared, v.t);
    } else if (v.kind == DHC_V_DIM) {
      dhc_scope_set(inner, p->name.text,
                    dhc_v_dim(own_symbol(inner, o->fn, dhc_intern(inner->e->strings, p->name.text), v.dim)));
    } else {
      dhc_scope_set(inner, p->name.text, v);
    }
  }
  return true;
}

/* Runs the body, checks outputs, adds results. Number of results or -1. */
static int own_body(DhcCx *inner, Outline *o, const DhcAstStmts *body) {
  int before = inner->e->diags->n_errors;
  dhc_run_body(inner, body);
  if (inner->e->diags->n_errors > before) return -1;
  DhcVal r = inner->has_result ? inner->result : (DhcVal){.kind = DHC_V_VOID};
  DhcSpan at = body->n ? body->at[body->n - 1]->span : o->sig->span;
  r = dhc_check_outputs(inner, o->sig, r, at);
  if (r.kind == DHC_V_ERROR) return -1;
  int n = r.kind == DHC_V_VOID ? 0 : r.kind == DHC_V_TUPLE ? r.list.n : 1;
  for (int i = 0; i < n; i++) {
    DhcVal v = r.kind == DHC_V_TUPLE ? r.list.at[i] : r;
    DhcValue *t = dhc_as_tensor(inner, &v, -1, at);
    if (!t) return -1;
    dhc_func_result(o->fn->f, t, i < o->sig->outputs.n ? o->sig->outputs.at[i].name.text : NULL);
  }
  return n;
}

DhcVal dhc_outline_method(DhcCx *cx, DhcInst *inst, int call, const DhcAstItem *entry, const DhcVal *inputs,
                          DhcSpan at) {
  const DhcAstSignature *sig = &entry->u.entry.sig;
  DhcArena *a = dhc_cx_arena(cx);
  DhcScope outer_scope = {0}, scope = {0};
  const DhcFrame frame = {dhc_arena_printf(a, "%s.%s", inst->decl->name.text, sig->name.text), at, cx->frame, false};
  DhcCx outer = {.e = cx->e,
                 .m = cx->m,
                 .self = inst,
                 .call = call,
                 .owner = inst,
                 .file = inst->file,
                 .scope = &outer_scope,
                 .fn = cx->fn,
                 .run = cx->run,
                 DHC_CALLED(cx, &frame),
                 .sig = sig};
  bool forward = !strcmp(sig->name.text, "forward");
  const char *name =
      dhc_arena_printf(a, "%s%s%s", inst->decl->name.text, forward ? "" : ".", forward ? "" : sig->name.text);
  dhc_at(cx, at);
  if (!dhc_bind_inputs(&outer, sig, inputs, at, frame.what)) return dhc_v_error();
  Outline o = {.sig = sig};
  DhcCx inner = outer;
  inner.scope = &scope;
  inner.fn = o.fn = dhc_fn_begin(&outer, name, DHC_FUNC_UNIT, cx->fn, true);
  own_binders(&inner, &outer, &o);
  if (!own_inputs(&inner, &outer, &o, false)) return dhc_v_error();
  int n = own_body(&inner, &o, &entry->u.entry.body);
  if (n < 0) return dhc_v_error();
  dhc_at(cx, at);
  return results_of(cx, dhc_fn_call(cx, o.fn, DHC_OP_CALL, o.args.at, o.args.n), n);
}

/* ---- composites ------------------------------------------------------------------------------------ */

static bool type_matches(DhcCx *cx, const DhcAstSignature *sig, int n, DhcSpan at) {
  if (sig->inputs.n == n) return true;
  DhcDiag *d = dhc_err(cx, "E0306", at, "vjp %s takes %d inputs, its function needs %d", sig->name.text,
                       sig->inputs.n, n);
  dhc_err_hint(cx, d,
               "all inputs, all results, a cotangent of every float result; it returns a cotangent of every "
               "float input");
  return false;
}

/* The derivative as a function of the same symbols: every parameter, every result and the
 * cotangent of every float result of f, in order. */
static DhcFunc *composite_vjp(DhcCx *cx, const DhcAstDecl *fn, const DhcAstModule *file, DhcFunc *f,
                              const DhcVal *fixed) {
  const DhcAstModule *in = NULL;
  const DhcAstDecl *d = dhc_find_decl(cx->e, file, fn->u.fn.vjp.text, DHC_DECL_BIT(DHC_DE_FN), &in);
  if (!d) {
    dhc_report_unknown(cx, "function", fn->u.fn.vjp.text, fn->u.fn.vjp.span);
    return NULL;
  }
  for (const DhcFrame *q = cx->frame; q; q = q->outer)
    if (!q->made && q->what == d->name.text) {
      DhcDiag *g = dhc_err(cx, "E0315", fn->u.fn.vjp.span, "'%s' calls '%s', whose derivative it is", d->name.text, fn->name.text);
      dhc_err_hint(cx, g, "put what both compute into a function without vjp");
      return NULL;
    }
  const DhcAstSignature *sig = &d->u.fn.sig;
  const DhcFrame frame = {d->name.text, fn->u.fn.vjp.span, cx->frame, false};
  DhcCx inner = *cx;
  DhcScope scope = {0};
  inner.frame = &frame;
  inner.scope = &scope;
  inner.self = NULL;
  inner.file = in;
  inner.sig = sig;
  inner.done = inner.has_result = false;
  inner.block = NULL;
  inner.fn = dhc_fn_begin(cx, d->name.text, d->u.fn.kernel ? DHC_FUNC_COMPOSITE : DHC_FUNC_UNIT, NULL, true);
  DhcFunc *v = inner.fn->f;
  v->kernel = d->u.fn.kernel;
  for (int i = 0; i < f->symbols.n; i++) {
    DHC_PUSH(v->module->arena, &v->symbols, f->symbols.at[i]);
    DHC_PUSH(v->module->arena, &inner.fn->symbols, f->symbols.at[i]);
    DHC_PUSH(v->module->arena, &inner.fn->bound, dhc_dim_symbol(dhc_cx_dims(cx), f->symbols.at[i]));
  }
  v->facts = f->facts;
  v->fact_messages = f->fact_messages;
  DHC_VEC(DhcVal) args = {0};
  DhcArena *a = dhc_cx_arena(cx);
  DhcParamInfo info = {.role = DHC_ROLE_PLAIN, .decl = -1};
  int k = 0;
  for (int i = 0; i < fn->u.fn.sig.inputs.n; i++) {
    DhcVal p = fixed[i];
    if (fixed[i].kind == DHC_V_TENSOR || fixed[i].kind == DHC_V_FLOAT)
      p = dhc_v_tensor(dhc_func_param(v, &f->params.at[k++]->type, info, d->span));
    DHC_PUSH(a, &args, p);
  }
  for (int i = 0; i < f->results.n; i++)
    DHC_PUSH(a, &args, dhc_v_tensor(dhc_func_param(v, &f->results.at[i]->type, info, d->span)));
  for (int i = 0; i < f->results.n; i++)
    if (dhc_dtype_is_float(f->results.at[i]->type.dtype))
      DHC_PUSH(a, &args, dhc_v_tensor(dhc_func_param(v, &f->results.at[i]->type, info, d->span)));
  Outline o = {.fn = inner.fn, .sig = sig};
  if (!type_matches(cx, sig, args.n, fn->u.fn.vjp.span) ||
      !dhc_bind_inputs(&inner, sig, args.at, d->span, d->name.text) ||
      own_body(&inner, &o, &d->u.fn.body) < 0)
    return NULL;
  return v;
}

DhcVal dhc_outline_composite(DhcCx *cx, const DhcAstDecl *decl, const DhcAstModule *file,
                             const DhcVal *inputs, DhcSpan at) {
  const DhcAstSignature *sig = &decl->u.fn.sig;
  DhcScope outer_scope = {0}, scope = {0};
  const DhcFrame frame = {decl->name.text, at, cx->frame, false};
  DhcCx outer = {.e = cx->e,
                 .m = cx->m,
                 .owner = cx->owner,
                 .file = file,
                 .scope = &outer_scope,
                 .fn = cx->fn,
                 .run = cx->run,
                 DHC_CALLED(cx, &frame),
                 .sig = sig};
  dhc_at(cx, at);
  if (!dhc_bind_inputs(&outer, sig, inputs, at, decl->name.text)) return dhc_v_error();
  Outline o = {.sig = sig};
  DhcCx inner = outer;
  inner.scope = &scope;
  inner.fn = o.fn = dhc_fn_begin(&outer, decl->name.text, DHC_FUNC_COMPOSITE, cx->fn, true);
  o.fn->f->kernel = decl->u.fn.kernel;
  own_binders(&inner, &outer, &o);
  if (!own_inputs(&inner, &outer, &o, true)) return dhc_v_error();
  int n = own_body(&inner, &o, &decl->u.fn.body);
  if (n < 0) return dhc_v_error();
  dhc_at(cx, at);
  DhcNode *call = dhc_fn_call(cx, o.fn, DHC_OP_CALL, o.args.at, o.args.n);
  if (call && decl->u.fn.vjp.text) {
    DhcVal *fixed = DHC_NEW_N(dhc_cx_arena(cx), DhcVal, sig->inputs.n + 1);
    for (int i = 0; i < sig->inputs.n; i++)
      fixed[i] = *dhc_scope_get(&outer_scope, sig->inputs.at[i].name.text);
    o.fn->f->vjp = composite_vjp(cx, decl, file, o.fn->f, fixed);
    if (!o.fn->f->vjp) return dhc_v_error();
  }
  return results_of(cx, call, n);
}
