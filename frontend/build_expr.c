#include "frontend/build.h"

#include <stdlib.h>

const char *dhc_ast_binary_text(DhcAstBinary op) {
  static const char *const text[] = {"+",  "-", "*",  "/", "//", "%",  "@",  "^",
                                     "<", "<=", ">", ">=", "==", "!=", "and", "or"};
  return text[op];
}

const char *dhc_ast_unary_text(DhcAstUnary op) {
  static const char *const text[] = {"-", "+", "not"};
  return text[op];
}

/* ---- Limits --------------------------------------------------------------- */

bool dhc_build_set_depth(DhcParser *ps, DhcSpan at, int below, uint16_t *depth) {
  *depth = (uint16_t)(below + 1);
  if (*depth <= DHC_AST_MAX_DEPTH) return true;
  at.end = at.begin;
  dhc_parser_too_deep(ps, at);
  return false;
}

static int max_int(int a, int b) { return a > b ? a : b; }

static int depth_of(const DhcAstExpr *e) { return e ? e->depth : 0; }

/* Adds the operators of `part` to those of `e`; over the limit the parse ends. */
static bool count_ops(DhcParser *ps, DhcAstExpr *e, const DhcAstExpr *part, int extra,
                      DhcSpan op_span) {
  int n = e->n_ops + (part ? part->n_ops : 0) + extra;
  if (n > DHC_AST_MAX_OPERATORS) {
    dhc_diag(ps->cfg->diags, DHC_ERROR, "E0113", op_span,
             "expression has more than %d operators", DHC_AST_MAX_OPERATORS);
    return false;
  }
  e->n_ops = (uint16_t)n;
  return true;
}

/* ---- Names that must differ ------------------------------------------------ */

typedef struct NameAt {
  const char *text;
  int index;
} NameAt;

static int by_text_then_index(const void *a, const void *b) {
  const NameAt *x = a, *y = b;
  int c = strcmp(x->text, y->text);
  return c ? c : (x->index > y->index) - (x->index < y->index);
}

void dhc_check_unique(DhcParser *ps, const DhcAstName *first, int n, size_t stride,
                      const char *what) {
  if (n < 2) return;
  NameAt *list = DHC_NEW_N(ps->cfg->arena, NameAt, n);
  int n_named = 0;
  for (int i = 0; i < n; i++) {
    const DhcAstName *name = (const void *)((const char *)first + stride * (size_t)i);
    if (name->text && strcmp(name->text, "_") != 0) list[n_named++] = (NameAt){name->text, i};
  }
  qsort(list, (size_t)n_named, sizeof *list, by_text_then_index);
  int second = -1, earlier = -1;
  for (int i = 1; i < n_named; i++)
    if (list[i].text == list[i - 1].text && (second < 0 || list[i].index < second)) {
      second = list[i].index;
      earlier = list[i - 1].index;
    }
  if (second < 0) return;
  const DhcAstName *again = (const void *)((const char *)first + stride * (size_t)second);
  const DhcAstName *before = (const void *)((const char *)first + stride * (size_t)earlier);
  DhcDiag *d = dhc_diag(ps->cfg->diags, DHC_ERROR, "E0205", again->span, "%s '%s' stands twice",
                        what, again->text);
  dhc_diag_note(ps->cfg->diags, d, before->span, "first here");
}

/* ---- Nodes ------------------------------------------------------------------ */

DhcAstExpr *dhc_build_expr(DhcParser *ps, DhcAstExprKind kind, DhcSpan at) {
  DhcAstExpr *e = DHC_NEW(ps->cfg->arena, DhcAstExpr);
  e->kind = kind;
  e->span = at;
  e->depth = 1;
  return e;
}

DhcAstExpr *dhc_build_parenthesised(DhcParser *ps, DhcSpan at, DhcAstExpr *e) {
  (void)ps;
  e->parenthesised = true;
  e->span = at;
  return e;
}

DhcAstExpr *dhc_build_unary(DhcParser *ps, DhcSpan at, DhcAstUnary op, DhcAstExpr *operand) {
  DhcAstExpr *e = dhc_build_expr(ps, DHC_EX_UNARY, at);
  e->u.unary.op = op;
  e->u.unary.operand = operand;
  if (!count_ops(ps, e, operand, 1, at)) return NULL;
  return dhc_build_set_depth(ps, at, operand->depth, &e->depth) ? e : NULL;
}

DhcAstExpr *dhc_build_binary(DhcParser *ps, DhcSpan at, DhcAstBinary op, DhcSpan op_span,
                             DhcAstExpr *lhs, DhcAstExpr *rhs) {
  DhcAstExpr *e = dhc_build_expr(ps, DHC_EX_BINARY, at);
  e->u.binary.op = op;
  e->u.binary.lhs = lhs;
  e->u.binary.rhs = rhs;
  e->u.binary.op_span = op_span;
  if (!count_ops(ps, e, lhs, 0, op_span) || !count_ops(ps, e, rhs, 1, op_span)) return NULL;
  /* A chain that leans left costs no depth: only what hangs off it does. */
  bool chain = lhs->kind == DHC_EX_BINARY && !lhs->parenthesised;
  int below = max_int(chain ? lhs->depth - 1 : lhs->depth, rhs->depth);
  return dhc_build_set_depth(ps, at, below, &e->depth) ? e : NULL;
}

DhcAstExpr *dhc_build_cond(DhcParser *ps, DhcSpan at, DhcAstExpr *then_, DhcAstExpr *cond,
                           DhcAstExpr *else_) {
  DhcAstExpr *e = dhc_build_expr(ps, DHC_EX_COND, at);
  e->u.cond.then_ = then_;
  e->u.cond.cond = cond;
  e->u.cond.else_ = else_;
  if (!count_ops(ps, e, then_, 0, at) || !count_ops(ps, e, cond, 0, at) ||
      !count_ops(ps, e, else_, 1, at))
    return NULL;
  int below = max_int(then_->depth, max_int(cond->depth, else_->depth));
  return dhc_build_set_depth(ps, at, below, &e->depth) ? e : NULL;
}

static bool is_postfix(const DhcAstExpr *e) {
  return !e->parenthesised &&
         (e->kind == DHC_EX_CALL || e->kind == DHC_EX_INDEX || e->kind == DHC_EX_MEMBER);
}

/* Finishes a postfix node: object.name, object[...], object(...). `below` is the
 * depth of what stands in the brackets. */
static DhcAstExpr *finish_postfix(DhcParser *ps, DhcAstExpr *e, const DhcAstExpr *object,
                                  int below) {
  DhcSpan postfix = {e->span.file, object->span.end, e->span.end};
  if (!count_ops(ps, e, object, 1, postfix)) return NULL;
  below = max_int(below, is_postfix(object) ? object->depth - 1 : object->depth);
  return dhc_build_set_depth(ps, e->span, below, &e->depth) ? e : NULL;
}

/* Operators inside brackets belong to the expressions there, not to the outer one. */
DhcAstExpr *dhc_build_call(DhcParser *ps, DhcSpan at, DhcAstExpr *callee, DhcAstArgs *args) {
  DhcAstExpr *e = dhc_build_expr(ps, DHC_EX_CALL, at);
  e->u.call.callee = callee;
  e->u.call.args = *args;
  int below = 0;
  const DhcAstArg *named = NULL;
  for (int i = 0; i < args->n; i++) {
    const DhcAstArg *a = &args->at[i];
    below = max_int(below, a->value->depth);
    if (a->name.text) {
      if (!named) named = a;
    } else if (named) {
      DhcDiag *d = dhc_diag(ps->cfg->diags, DHC_ERROR, "E0206", a->span,
                            "positional argument after the named one '%s'", named->name.text);
      dhc_diag_hint(ps->cfg->diags, d, "put positional arguments first");
      break;
    }
  }
  dhc_check_unique(ps, args->n ? &args->at[0].name : NULL, args->n, sizeof *args->at, "argument");
  return finish_postfix(ps, e, callee, below);
}

DhcAstExpr *dhc_build_index(DhcParser *ps, DhcSpan at, DhcAstExpr *object,
                            DhcAstSubscripts *subs) {
  DhcAstExpr *e = dhc_build_expr(ps, DHC_EX_INDEX, at);
  e->u.index.object = object;
  e->u.index.subscripts = *subs;
  int below = 0, n_ellipsis = 0;
  for (int i = 0; i < subs->n; i++) {
    const DhcAstSubscript *s = &subs->at[i];
    below = max_int(below, max_int(depth_of(s->lo), max_int(depth_of(s->hi), depth_of(s->step))));
    if (s->kind == DHC_SUB_ELLIPSIS && ++n_ellipsis == 2)
      dhc_diag(ps->cfg->diags, DHC_ERROR, "E0211", s->span, "'...' may stand once in an index");
  }
  return finish_postfix(ps, e, object, below);
}

DhcAstExpr *dhc_build_member(DhcParser *ps, DhcSpan at, DhcAstExpr *object, DhcAstName name) {
  DhcAstExpr *e = dhc_build_expr(ps, DHC_EX_MEMBER, at);
  e->u.member.object = object;
  e->u.member.name = name;
  return finish_postfix(ps, e, object, 0);
}

DhcAstExpr *dhc_build_list(DhcParser *ps, DhcSpan at, DhcAstExprs *elements) {
  DhcAstExpr *e = dhc_build_expr(ps, DHC_EX_LIST, at);
  e->u.list = *elements;
  int below = 0;
  for (int i = 0; i < elements->n; i++) below = max_int(below, elements->at[i]->depth);
  return dhc_build_set_depth(ps, at, below, &e->depth) ? e : NULL;
}

static int depth_of_pairs(const DhcAstPairs *pairs) {
  int depth = 0;
  for (int i = 0; i < pairs->n; i++) depth = max_int(depth, pairs->at[i].value->depth);
  return depth;
}

static void check_pairs(DhcParser *ps, const DhcAstPairs *pairs, const char *what) {
  dhc_check_unique(ps, pairs->n ? &pairs->at[0].name : NULL, pairs->n, sizeof *pairs->at, what);
}

DhcAstExpr *dhc_build_map(DhcParser *ps, DhcSpan at, DhcAstPairs *pairs) {
  DhcAstExpr *e = dhc_build_expr(ps, DHC_EX_MAP, at);
  e->u.map = *pairs;
  check_pairs(ps, pairs, "key");
  return dhc_build_set_depth(ps, at, depth_of_pairs(pairs), &e->depth) ? e : NULL;
}

DhcAstExpr *dhc_build_range(DhcParser *ps, DhcSpan at, DhcAstExpr *lo, DhcAstExpr *hi) {
  DhcAstExpr *e = dhc_build_expr(ps, DHC_EX_RANGE, at);
  e->u.range.lo = lo;
  e->u.range.hi = hi;
  return dhc_build_set_depth(ps, at, max_int(lo->depth, depth_of(hi)), &e->depth) ? e : NULL;
}

DhcAstExpr *dhc_build_unit(DhcParser *ps, DhcSpan at, DhcAstName name, DhcAstStmts *body) {
  DhcAstExpr *e = dhc_build_expr(ps, DHC_EX_UNIT, at);
  e->u.unit.name = name;
  e->u.unit.body = *body;
  return dhc_build_set_depth(ps, at, dhc_build_depth(body), &e->depth) ? e : NULL;
}

DhcAstExpr *dhc_build_checkpoint(DhcParser *ps, DhcSpan at, DhcAstStmts *body) {
  DhcAstExpr *e = dhc_build_expr(ps, DHC_EX_CHECKPOINT, at);
  e->u.checkpoint = *body;
  return dhc_build_set_depth(ps, at, dhc_build_depth(body), &e->depth) ? e : NULL;
}

DhcAstExpr *dhc_build_scan(DhcParser *ps, DhcSpan at, DhcAstPairs *carries, DhcAstPairs *over,
                           DhcAstExpr *axis, bool reverse, DhcAstStmts *body) {
  DhcAstExpr *e = dhc_build_expr(ps, DHC_EX_SCAN, at);
  e->u.scan.carries = *carries;
  e->u.scan.over = *over;
  e->u.scan.axis = axis;
  e->u.scan.reverse = reverse;
  e->u.scan.body = *body;
  check_pairs(ps, carries, "carry");
  check_pairs(ps, over, "slice");
  int below = max_int(max_int(depth_of_pairs(carries), depth_of_pairs(over)),
                      max_int(axis->depth, dhc_build_depth(body)));
  return dhc_build_set_depth(ps, at, below, &e->depth) ? e : NULL;
}

DhcAstSubscript *dhc_build_subscript(DhcParser *ps, DhcSpan at, DhcAstSubscriptKind kind,
                                     DhcAstExpr *lo, DhcAstExpr *hi, DhcAstExpr *step) {
  DhcAstSubscript *s = DHC_NEW(ps->cfg->arena, DhcAstSubscript);
  *s = (DhcAstSubscript){kind, lo, hi, step, at};
  return s;
}

DhcAstPair *dhc_build_pair(DhcParser *ps, DhcSpan at, DhcAstName name, DhcAstExpr *value) {
  DhcAstPair *p = DHC_NEW(ps->cfg->arena, DhcAstPair);
  *p = (DhcAstPair){name, value, at};
  return p;
}
