/* Statements of entries, functions and blocks. Compile-time `if` and `for` are run
 * here; assignments go to the innermost function or block scope. */
#include "frontend/elab_internal.h"

static void exec_assign(DhcCx *cx, const DhcAstStmt *s) {
  const DhcAstNames *to = &s->u.assign.targets;
  const DhcAstExprs *from = &s->u.assign.values;
  DhcVal *v = DHC_NEW_N(dhc_cx_arena(cx), DhcVal, to->n + from->n + 1);
  for (int i = 0; i < from->n; i++) v[i] = dhc_eval(cx, from->at[i]);
  if (from->n == 1 && to->n > 1) {
    DhcVal all = v[0];
    bool many = all.kind == DHC_V_TUPLE || all.kind == DHC_V_LIST;
    if (all.kind != DHC_V_ERROR && (!many || all.list.n != to->n))
      dhc_err(cx, "E0306", s->span, "%d names for %s", to->n,
              many ? dhc_arena_printf(dhc_cx_arena(cx), "%d values", all.list.n) : dhc_say_kind(cx, &all));
    bool fits = many && all.list.n == to->n;
    for (int i = 0; i < to->n; i++) v[i] = fits ? all.list.at[i] : dhc_v_error();
  } else if (to->n == 1 && v[0].kind == DHC_V_TUPLE) {
    DhcDiag *d = dhc_err(cx, "E0306", s->span, "1 name for %d values", v[0].list.n);
    dhc_err_hint(cx, d, "write %s, _ = … to drop the others", to->at[0].text);
    v[0] = dhc_v_error();
  } else if (v[0].kind == DHC_V_VOID) {
    dhc_err(cx, "E0306", from->at[0]->span, "this call returns nothing");
    v[0] = dhc_v_error();
  }
  for (int i = 0; i < to->n; i++) {
    v[i].name = to->at[i].text;
    v[i].def = to->at[i].span;
    const DhcVal *old = dhc_scope_get(cx->scope, to->at[i].text);
    v[i].local = old && old->local;
    v[i].absent = false;
    DhcMember *state = dhc_state_target(cx, to->at[i].text);
    if (state) dhc_state_write(cx, state, &v[i], to->at[i].span);
    dhc_scope_set(cx, to->at[i].text, v[i]);
    if (cx->e->config.assigned && v[i].kind == DHC_V_TENSOR) cx->e->config.assigned(cx->e->config.assigned_ctx, to->at[i].span, &v[i].t->type);
  }
}

static void exec_store(DhcCx *cx, const DhcAstStmt *s) {
  const char *name = s->u.store.target.text;
  DhcMember *m = cx->self ? dhc_inst_member(cx->self, name) : NULL;
  if (!m || (m->kind != DHC_M_STATE && m->kind != DHC_M_TENSOR)) {
    dhc_report_unknown(cx, "buffer", name, s->u.store.target.span);
    return;
  }
  DhcVal v = dhc_eval(cx, s->u.store.value);
  if (m->kind == DHC_M_STATE) {
    dhc_state_write(cx, m, &v, s->span);
    v.name = name;
    v.def = s->u.store.target.span;
    dhc_scope_set(cx, name, v);
    return;
  }
  if (m->tensor < 0) return;
  const DhcTensorDecl *d = &cx->m->module->tensors.at[m->tensor];
  if (d->role != DHC_ROLE_BUFFER) {
    DhcDiag *g = dhc_err(cx, "E0318", s->span, "'%s' is no buffer: only buffers are assigned with <-", name);
    dhc_err_note(cx, g, m->span, "declared here");
    return;
  }
  if (!cx->run->training) {
    DhcDiag *g = dhc_err(cx, "E0318", s->span, "buffer '%s' is assigned where 'training' is false", name);
    dhc_err_hint(cx, g, "put it under `if training { … }`");
    return;
  }
  DhcValue *t = dhc_as_tensor(cx, &v, (int)d->type.dtype, s->u.store.value->span);
  if (!t) return;
  bool fits = t->type.rank <= d->type.rank;
  for (int i = 1; fits && i <= t->type.rank; i++) {
    const DhcDim *x = t->type.dim[t->type.rank - i];
    fits = x == d->type.dim[d->type.rank - i] || dhc_dim_is(x, 1);
  }
  if (!fits) {
    DhcDiag *g = dhc_err(cx, "E0308", s->span, "buffer '%s' is %s, the new value is %s", name,
                         dhc_say_type(cx, &d->type), dhc_say_type(cx, &t->type));
    dhc_err_note(cx, g, m->span, "declared here");
    return;
  }
  t = dhc_b_broadcast(dhc_at(cx, s->span), t, d->type.dim, d->type.rank);
  if (!t) return;
  DhcStore store = {.tensor = m->tensor, .value = t, .span = s->span};
  for (int i = 0; i < cx->fn->stores.n; i++)
    if (cx->fn->stores.at[i].tensor == m->tensor) {
      cx->fn->stores.at[i] = store;
      return;
    }
  DHC_PUSH(dhc_cx_arena(cx), &cx->fn->stores, store);
}

static void exec_tap(DhcCx *cx, const DhcAstStmt *s) {
  DhcVal v = dhc_eval(cx, s->u.tap.value);
  DhcValue *t = dhc_as_tensor(cx, &v, -1, s->u.tap.value->span);
  if (!t) return;
  const char *base = cx->owner ? cx->owner->path : "";
  DhcTap tap = {
      .path = dhc_arena_printf(dhc_cx_arena(cx), "%s%s%s", base, *base ? "." : "", s->u.tap.name.text),
      .value = t};
  DHC_PUSH(dhc_cx_arena(cx), &cx->fn->taps, tap);
  v.name = s->u.tap.name.text;
  v.def = s->u.tap.name.span;
  dhc_scope_set(cx, s->u.tap.name.text, v);
}

/* A condition on values, in a streaming entry: known when it has run. */
static void require_value(DhcCx *cx, const DhcAstRequire *r, const DhcVal *v) {
  const char *base = cx->owner ? cx->owner->path : "";
  DhcTap tap = {.value = dhc_as_tensor(cx, v, DHC_BOOL, r->cond->span), .require = true};
  if (!tap.value) return;
  if (tap.value->type.rank) {
    dhc_err(cx, "E0308", r->cond->span, "what is required must be a bool[], got %s", dhc_say_type(cx, &tap.value->type));
    return;
  }
  tap.path = dhc_arena_printf(dhc_cx_arena(cx), DHC_PREFIX_REQUIRE "%s%s%s%s", dhc_require_message(cx, r),
                              *base ? " (" : "", base, *base ? ")" : "");
  DHC_PUSH(dhc_cx_arena(cx), &cx->fn->taps, tap);
}

const char *dhc_require_message(DhcCx *cx, const DhcAstRequire *r) {
  const char *text = r->message;
  if (r->text) {
    DhcVal v = dhc_eval(cx, r->text);
    if (!dhc_want_string(cx, &v, r->text->span, "the message of a requirement", &text)) text = NULL;
  }
  return text ? text : "this requirement does not hold";
}

static void exec_require(DhcCx *cx, const DhcAstRequire *r, DhcSpan at) {
  const char *said = r->text ? dhc_require_message(cx, r) : r->message;
  cx->in_require = true;
  cx->require = said;
  cx->require_at = at;
  DhcVal v = dhc_eval(cx, r->cond);
  cx->in_require = false;
  cx->require = NULL;
  bool yes;
  if (v.kind == DHC_V_TENSOR && cx->run->streaming) {
    require_value(cx, r, &v);
    return;
  }
  if (v.kind == DHC_V_ERROR || !dhc_want_bool(cx, &v, r->cond->span, "what is required", &yes) || yes) return;
  const DhcEntryRequest *q = cx->run ? cx->run->request : NULL;
  if (q && (q->may_lack || q->flip) && !cx->run->refused) {
    const DhcDiags *d = cx->e->diags;
    cx->run->refused = true;
    cx->run->n_all = d->all.n;
    cx->run->n_errors = d->n_errors;
    cx->run->n_warnings = d->n_warnings;
  }
  dhc_err(cx, "E0305", at, "%s", said ? said : "this requirement does not hold");
}

static void exec_for(DhcCx *cx, const DhcAstStmt *s) {
  DhcVal over = dhc_eval(cx, s->u.for_.iter);
  if (over.kind == DHC_V_TABLE) {
    const DhcMember *m = over.table.member;
    for (int i = 0; i < m->table.n && !cx->done && dhc_limit_steps(cx, 1, s->span); i++) {
      if (!m->table.at[i].inst) continue;
      dhc_scope_set(cx, s->u.for_.var.text, (DhcVal){.kind = DHC_V_INST, .inst = m->table.at[i].inst});
      dhc_run_body(cx, &s->u.for_.body);
    }
    return;
  }
  if (over.kind != DHC_V_LIST && over.kind != DHC_V_TUPLE) {
    if (over.kind == DHC_V_ERROR) return;
    DhcDiag *d = dhc_err(cx, "E0303", s->u.for_.iter->span, "a loop runs over a range or a list, got %s",
                         dhc_say_kind(cx, &over));
    if (over.kind == DHC_V_TENSOR)
      dhc_err_hint(cx, d, "scan (…) over (x = xs) along axis { … } runs along a tensor's axis");
    return;
  }
  for (int i = 0; i < over.list.n && !cx->done && dhc_limit_steps(cx, 1, s->span); i++) {
    int before = cx->e->diags->n_errors;
    dhc_scope_set(cx, s->u.for_.var.text, over.list.at[i]);
    dhc_run_body(cx, &s->u.for_.body);
    if (cx->e->diags->n_errors > before) return; /* the other iterations would say it again */
  }
}

static void finish(DhcCx *cx, const DhcAstExprs *values) {
  DhcVal *v = DHC_NEW_N(dhc_cx_arena(cx), DhcVal, values->n + 1);
  for (int i = 0; i < values->n; i++) v[i] = dhc_eval(cx, values->at[i]);
  cx->result = values->n == 0   ? (DhcVal){.kind = DHC_V_VOID}
               : values->n == 1 ? v[0]
                                : dhc_v_list(cx, DHC_V_TUPLE, v, values->n);
  cx->has_result = cx->done = true;
}

static void exec_one(DhcCx *cx, const DhcAstStmt *s) {
  bool yes;
  switch (s->kind) {
    case DHC_ST_ASSIGN: exec_assign(cx, s); break;
    case DHC_ST_STORE: exec_store(cx, s); break;
    case DHC_ST_RETURN:
      if (cx->block) {
        dhc_err(cx, "E0318", s->span, "a %s ends with yield, not return", cx->block);
        cx->done = true;
        break;
      }
      finish(cx, &s->u.values);
      break;
    case DHC_ST_YIELD:
      if (!cx->block) {
        dhc_err(cx, "E0318", s->span, "yield stands only in unit, scan and checkpoint blocks");
        cx->done = true;
        break;
      }
      finish(cx, &s->u.values);
      break;
    case DHC_ST_TAP: exec_tap(cx, s); break;
    case DHC_ST_REQUIRE: exec_require(cx, &s->u.require, s->span); break;
    case DHC_ST_IF:
      if (dhc_eval_cond(cx, s->u.if_.cond, &yes)) dhc_run_body(cx, yes ? &s->u.if_.then_ : &s->u.if_.else_);
      break;
    case DHC_ST_FOR: exec_for(cx, s); break;
  }
}

void dhc_run_body(DhcCx *cx, const DhcAstStmts *body) {
  for (int i = 0; i < body->n && !cx->done && !cx->e->stopped; i++) exec_one(cx, body->at[i]);
}
