#include "frontend/build.h"

const char *dhc_build_text(DhcParser *ps, const char *text) {
  return dhc_intern(ps->cfg->strings, text);
}

const char *dhc_build_joined(DhcParser *ps, const char *a, char between, const char *b) {
  return dhc_build_text(ps, dhc_arena_printf(ps->cfg->arena, "%s%c%s", a, between, b));
}

const char *dhc_build_decimal(DhcParser *ps, int64_t v) {
  return dhc_build_text(ps, dhc_arena_printf(ps->cfg->arena, "%lld", (long long)v));
}

static int max_int(int a, int b) { return a > b ? a : b; }

DhcAstStmt *dhc_build_stmt(DhcParser *ps, DhcAstStmtKind kind, DhcSpan at) {
  DhcAstStmt *s = DHC_NEW(ps->cfg->arena, DhcAstStmt);
  s->kind = kind;
  s->span = at;
  s->depth = 1;
  return s;
}

/* What a target that is not a name should have been. */
static const char *target_hint(const DhcAstExpr *e) {
  switch (e->kind) {
    case DHC_EX_MEMBER: return "members are declared in the layer; a buffer is assigned with '<-'";
    case DHC_EX_INDEX: return "tensors are values: build a new one (dynamic_update, concat, select)";
    case DHC_EX_BINARY: return e->u.binary.op == DHC_BI_LE ? "'<-' assigns a buffer" : NULL;
    default: return NULL;
  }
}

DhcAstStmt *dhc_build_assign(DhcParser *ps, DhcSpan at, DhcAstExprs *targets,
                             DhcAstExprs *values) {
  DhcDiags *diags = ps->cfg->diags;
  DhcAstStmt *s = dhc_build_stmt(ps, DHC_ST_ASSIGN, at);
  for (int i = 0; i < targets->n; i++) {
    const DhcAstExpr *e = targets->at[i];
    if (e->kind != DHC_EX_NAME || e->parenthesised) {
      DhcDiag *d = dhc_diag(diags, DHC_ERROR, "E0202", e->span, "only a name can be assigned");
      const char *hint = target_hint(e);
      if (hint) dhc_diag_hint(diags, d, "%s", hint);
      return NULL;
    }
    DHC_PUSH(ps->cfg->arena, &s->u.assign.targets, ((DhcAstName){e->u.name, e->span}));
  }
  if (values->n != 1 && values->n != targets->n) {
    DhcSpan where = dhc_span_join(values->at[0]->span, values->at[values->n - 1]->span);
    dhc_diag(diags, DHC_ERROR, "E0204", where, "%d values for %d name%s", values->n, targets->n,
             targets->n == 1 ? "" : "s");
  }
  dhc_check_unique(ps, s->u.assign.targets.at, targets->n, sizeof(DhcAstName), "target");
  s->u.assign.values = *values;
  return s;
}

DhcAstStmt *dhc_build_store(DhcParser *ps, DhcSpan at, DhcAstExpr *target, DhcAstExpr *value) {
  DhcAstStmt *s = dhc_build_stmt(ps, DHC_ST_STORE, at);
  s->u.store.value = value;
  if (target->kind == DHC_EX_NAME) {
    s->u.store.target = (DhcAstName){target->u.name, target->span};
  } else if (target->kind == DHC_EX_MEMBER && target->u.member.object->kind == DHC_EX_SELF) {
    s->u.store.target = target->u.member.name;
    s->u.store.is_self = true;
  } else {
    DhcDiag *d = dhc_diag(ps->cfg->diags, DHC_ERROR, "E0202", target->span,
                          "only a buffer or a state can stand left of '<-'");
    dhc_diag_hint(ps->cfg->diags, d, "if a comparison with a negative number was meant, write '< -'");
    return NULL;
  }
  return s;
}

static int depth_of_exprs(const DhcAstExprs *e) {
  int depth = 0;
  for (int i = 0; i < e->n; i++) depth = max_int(depth, e->at[i]->depth);
  return depth;
}

DhcAstRequire dhc_build_require(DhcAstExpr *cond, DhcAstExpr *message) {
  if (message->kind == DHC_EX_STRING) return (DhcAstRequire){cond, message->u.string.at, NULL, message->span};
  return (DhcAstRequire){cond, NULL, message, message->span};
}

/* Depth of a statement without blocks in it. */
static void set_simple_depth(DhcAstStmt *s) {
  int depth = 1;
  switch (s->kind) {
    case DHC_ST_ASSIGN: depth = depth_of_exprs(&s->u.assign.values); break;
    case DHC_ST_STORE: depth = s->u.store.value->depth; break;
    case DHC_ST_RETURN:
    case DHC_ST_YIELD: depth = depth_of_exprs(&s->u.values); break;
    case DHC_ST_TAP: depth = s->u.tap.value->depth; break;
    case DHC_ST_REQUIRE:
      depth = s->u.require.text ? max_int(s->u.require.cond->depth, s->u.require.text->depth) : s->u.require.cond->depth;
      break;
    case DHC_ST_IF:
    case DHC_ST_FOR: return;
  }
  s->depth = (uint16_t)max_int(depth, 1);
}

/* Blocks are finished when they close: only then are all their statements filled in. */
int dhc_build_depth(const DhcAstStmts *body) {
  int depth = 0;
  for (int i = 0; i < body->n; i++) {
    set_simple_depth(body->at[i]);
    depth = max_int(depth, body->at[i]->depth);
  }
  return depth;
}

DhcAstStmt *dhc_build_for(DhcParser *ps, DhcSpan at, DhcAstName var, DhcAstExpr *iter,
                          DhcAstStmts *body) {
  DhcAstStmt *s = dhc_build_stmt(ps, DHC_ST_FOR, at);
  s->u.for_.var = var;
  s->u.for_.iter = iter;
  s->u.for_.body = *body;
  int below = max_int(iter->depth, dhc_build_depth(body));
  return dhc_build_set_depth(ps, at, below, &s->depth) ? s : NULL;
}

DhcAstStmt *dhc_build_if(DhcParser *ps, DhcSpan at, DhcAstExpr *cond, DhcAstStmts *then_,
                         DhcSpan then_span, DhcAstStmts *else_, DhcAstStmt *else_if) {
  DhcAstStmt *s = dhc_build_stmt(ps, DHC_ST_IF, at);
  s->u.if_.cond = cond;
  s->u.if_.then_ = *then_;
  s->u.if_.then_span = then_span;
  s->u.if_.has_else = else_ || else_if;
  if (else_) s->u.if_.else_ = *else_;
  if (else_if) DHC_PUSH(ps->cfg->arena, &s->u.if_.else_, else_if);
  int below = max_int(cond->depth, max_int(dhc_build_depth(then_), dhc_build_depth(&s->u.if_.else_)));
  return dhc_build_set_depth(ps, at, below, &s->depth) ? s : NULL;
}

void dhc_check_no_effect(DhcParser *ps, DhcSpan at, const DhcAstExprs *e) {
  DhcDiags *diags = ps->cfg->diags;
  DhcDiag *d = dhc_diag(diags, DHC_ERROR, "E0203", at, "this value is not used");
  const DhcAstExpr *first = e->at[0];
  if (e->n == 1 && first->kind == DHC_EX_BINARY && first->u.binary.op == DHC_BI_EQ)
    dhc_diag_hint(diags, d, "'==' compares; '=' assigns");
  else
    dhc_diag_hint(diags, d, "give it a name (y = ...), or return it");
}
