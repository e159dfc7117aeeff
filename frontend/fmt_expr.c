#include "frontend/fmt_internal.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

/* Binding strength; an operand weaker than its place asks for is put in brackets. */
enum { P_ANY, P_COND, P_OR, P_AND, P_NOT, P_COMPARE, P_ADD, P_MUL, P_SIGN, P_POWER, P_POSTFIX };

static int binary_strength(DhcAstBinary op) {
  switch (op) {
    case DHC_BI_ADD:
    case DHC_BI_SUB: return P_ADD;
    case DHC_BI_MUL:
    case DHC_BI_DIV:
    case DHC_BI_FLOORDIV:
    case DHC_BI_MOD:
    case DHC_BI_MATMUL: return P_MUL;
    case DHC_BI_POW: return P_POWER;
    case DHC_BI_AND: return P_AND;
    case DHC_BI_OR: return P_OR;
    default: return P_COMPARE;
  }
}

static int strength(const DhcAstExpr *e) {
  switch (e->kind) {
    case DHC_EX_COND: return P_COND;
    case DHC_EX_BINARY: return binary_strength(e->u.binary.op);
    case DHC_EX_UNARY: return e->u.unary.op == DHC_UN_NOT ? P_NOT : P_SIGN;
    default: return P_POSTFIX;
  }
}

/* ---- Words ---------------------------------------------------------------------- */

void dhc_fmt_string(DhcFmt *f, const char *s) {
  dhc_text_puts(&f->out, "\"");
  for (; *s; s++) {
    switch (*s) {
      case '\n': dhc_text_puts(&f->out, "\\n"); break;
      case '\t': dhc_text_puts(&f->out, "\\t"); break;
      case '"': dhc_text_puts(&f->out, "\\\""); break;
      case '\\': dhc_text_puts(&f->out, "\\\\"); break;
      default: dhc_text_printf(&f->out, "%c", *s);
    }
  }
  dhc_text_puts(&f->out, "\"");
}

/* Shortest digits that read back as the same number, with a '.' or an exponent. */
static void put_float(DhcFmt *f, double v) {
  char buf[40];
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0), old = uselocale(c);
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(buf, sizeof buf, "%.*g", digits, v);
    if (strtod(buf, NULL) == v) break;
  }
  uselocale(old);
  freelocale(c);
  dhc_text_puts(&f->out, buf);
  if (!strpbrk(buf, ".e")) dhc_text_puts(&f->out, ".0");
}

/* A number as it was written, where the source is at hand. */
static bool put_as_written(DhcFmt *f, const DhcAstExpr *e) {
  if (!f->source || e->parenthesised) return false;
  size_t n = e->span.end - e->span.begin;
  dhc_text_puts(&f->out, dhc_arena_strndup(f->arena, f->source + e->span.begin, n));
  return true;
}

bool dhc_fmt_is_plain_name(const char *s) {
  static const char *const keywords[] = {
      "import", "layer", "model", "fn",     "preset", "variants", "recipe", "const",   "param",
      "as",     "for",   "in",    "if",     "else",   "return",   "yield",  "tap",     "require",
      "unit",   "scan",  "and",   "or",     "not",    "true",     "false",  "self",    "checkpoint",
      "elif",   "True",  "False"};
  if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || *s == '_')) return false;
  for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
    if (strcmp(s, keywords[i]) == 0) return false;
  for (; *s; s++)
    if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
          *s == '_'))
      return false;
  return true;
}

static void put_pairs(DhcFmt *f, const DhcAstPairs *pairs) {
  for (int i = 0; i < pairs->n; i++) {
    if (i) dhc_text_puts(&f->out, ", ");
    if (dhc_fmt_is_plain_name(pairs->at[i].name.text))
      dhc_text_puts(&f->out, pairs->at[i].name.text);
    else
      dhc_fmt_string(f, pairs->at[i].name.text);
    dhc_text_puts(&f->out, " = ");
    dhc_fmt_expr(f, pairs->at[i].value);
  }
}

/* ---- Operands and postfixes --------------------------------------------------------- */

static void put_at(DhcFmt *f, const DhcAstExpr *e, int least) {
  bool brackets = strength(e) < least;
  if (brackets) dhc_text_puts(&f->out, "(");
  dhc_fmt_expr(f, e);
  if (brackets) dhc_text_puts(&f->out, ")");
}

static void put_args(DhcFmt *f, const DhcAstArgs *args) {
  dhc_text_puts(&f->out, "(");
  for (int i = 0; i < args->n; i++) {
    if (i) dhc_text_puts(&f->out, ", ");
    if (args->at[i].name.text) dhc_text_printf(&f->out, "%s = ", args->at[i].name.text);
    dhc_fmt_expr(f, args->at[i].value);
  }
  dhc_text_puts(&f->out, ")");
}

static void put_subscripts(DhcFmt *f, const DhcAstSubscripts *subs) {
  dhc_text_puts(&f->out, "[");
  for (int i = 0; i < subs->n; i++) {
    const DhcAstSubscript *s = &subs->at[i];
    if (i) dhc_text_puts(&f->out, ", ");
    if (s->kind == DHC_SUB_ELLIPSIS) dhc_text_puts(&f->out, "...");
    if (s->lo) dhc_fmt_expr(f, s->lo);
    if (s->kind == DHC_SUB_SLICE) dhc_text_puts(&f->out, ":");
    if (s->hi) dhc_fmt_expr(f, s->hi);
    if (s->step) {
      dhc_text_puts(&f->out, ":");
      dhc_fmt_expr(f, s->step);
    }
  }
  dhc_text_puts(&f->out, "]");
}

static void put_binary_tail(DhcFmt *f, const DhcAstExpr *e) {
  DhcAstBinary op = e->u.binary.op;
  const DhcAstExpr *rhs = e->u.binary.rhs;
  int s = binary_strength(op);
  dhc_text_printf(&f->out, " %s ", dhc_ast_binary_text(op));
  bool sign_in_power = op == DHC_BI_POW && rhs->kind == DHC_EX_UNARY && strength(rhs) == P_SIGN;
  put_at(f, rhs, sign_in_power ? P_SIGN : op == DHC_BI_POW ? s : s + 1);
}

/* The operand on the left, if it is printed without brackets: the spine of a chain. */
static const DhcAstExpr *left_of(const DhcAstExpr *e) {
  switch (e->kind) {
    case DHC_EX_BINARY: {
      int s = binary_strength(e->u.binary.op);
      bool strict = s == P_POWER || s == P_COMPARE;
      return strength(e->u.binary.lhs) >= (strict ? s + 1 : s) ? e->u.binary.lhs : NULL;
    }
    case DHC_EX_CALL:
      return strength(e->u.call.callee) == P_POSTFIX ? e->u.call.callee : NULL;
    case DHC_EX_INDEX:
      return strength(e->u.index.object) == P_POSTFIX ? e->u.index.object : NULL;
    case DHC_EX_MEMBER:
      return strength(e->u.member.object) == P_POSTFIX ? e->u.member.object : NULL;
    default: return NULL;
  }
}

static void put_bracketed(DhcFmt *f, const DhcAstExpr *e) {
  dhc_text_puts(&f->out, "(");
  dhc_fmt_expr(f, e);
  dhc_text_puts(&f->out, ")");
}

/* What follows the left operand of e. */
static void put_tail(DhcFmt *f, const DhcAstExpr *e) {
  switch (e->kind) {
    case DHC_EX_BINARY: put_binary_tail(f, e); break;
    case DHC_EX_CALL: put_args(f, &e->u.call.args); break;
    case DHC_EX_INDEX: put_subscripts(f, &e->u.index.subscripts); break;
    default: dhc_text_printf(&f->out, ".%s", e->u.member.name.text); break;
  }
}

static const DhcAstExpr *any_left_of(const DhcAstExpr *e) {
  switch (e->kind) {
    case DHC_EX_BINARY: return e->u.binary.lhs;
    case DHC_EX_CALL: return e->u.call.callee;
    case DHC_EX_INDEX: return e->u.index.object;
    case DHC_EX_MEMBER: return e->u.member.object;
    default: return NULL;
  }
}

/* ---- Expressions ---------------------------------------------------------------------- */

static void put_list(DhcFmt *f, const DhcAstExprs *list) {
  dhc_text_puts(&f->out, "[");
  dhc_fmt_exprs(f, list);
  dhc_text_puts(&f->out, "]");
}

static void put_scan(DhcFmt *f, const DhcAstExpr *e) {
  dhc_text_puts(&f->out, "scan (");
  put_pairs(f, &e->u.scan.carries);
  dhc_text_puts(&f->out, ") over (");
  put_pairs(f, &e->u.scan.over);
  dhc_text_puts(&f->out, ") along ");
  dhc_fmt_expr(f, e->u.scan.axis);
  if (e->u.scan.reverse) dhc_text_puts(&f->out, " reverse");
  dhc_text_puts(&f->out, " ");
  dhc_fmt_block(f, &e->u.scan.body, e->span.end, false);
}

static void put_unary(DhcFmt *f, const DhcAstExpr *e) {
  bool is_not = e->u.unary.op == DHC_UN_NOT;
  dhc_text_printf(&f->out, is_not ? "%s " : "%s", dhc_ast_unary_text(e->u.unary.op));
  put_at(f, e->u.unary.operand, is_not ? P_NOT : P_SIGN);
}

/* Everything but chains. */
static void put_plain(DhcFmt *f, const DhcAstExpr *e) {
  switch (e->kind) {
    case DHC_EX_INT:
      if (!put_as_written(f, e)) dhc_text_printf(&f->out, "%lld", (long long)e->u.int_value);
      break;
    case DHC_EX_FLOAT:
      if (!put_as_written(f, e)) put_float(f, e->u.float_value);
      break;
    case DHC_EX_BOOL: dhc_text_puts(&f->out, e->u.bool_value ? "true" : "false"); break;
    case DHC_EX_STRING: dhc_fmt_string(f, e->u.string.at); break;
    case DHC_EX_NAME: dhc_text_puts(&f->out, e->u.name); break;
    case DHC_EX_SELF: dhc_text_puts(&f->out, "self"); break;
    case DHC_EX_RUN: dhc_text_printf(&f->out, "...%s", e->u.name); break;
    case DHC_EX_LIST: put_list(f, &e->u.list); break;
    case DHC_EX_UNARY: put_unary(f, e); break;
    case DHC_EX_MAP:
      dhc_text_puts(&f->out, e->u.map.n ? "{ " : "{");
      put_pairs(f, &e->u.map);
      dhc_text_puts(&f->out, e->u.map.n ? " }" : "}");
      break;
    case DHC_EX_COND:
      put_at(f, e->u.cond.then_, P_OR);
      dhc_text_puts(&f->out, " if ");
      put_at(f, e->u.cond.cond, P_OR);
      dhc_text_puts(&f->out, " else ");
      put_at(f, e->u.cond.else_, P_COND);
      break;
    case DHC_EX_RANGE:
      dhc_fmt_expr(f, e->u.range.lo);
      dhc_text_puts(&f->out, "..");
      if (e->u.range.hi) dhc_fmt_expr(f, e->u.range.hi);
      break;
    case DHC_EX_UNIT:
      dhc_text_puts(&f->out, "unit ");
      if (e->u.unit.name.text) dhc_text_printf(&f->out, "%s ", e->u.unit.name.text);
      dhc_fmt_block(f, &e->u.unit.body, e->span.end, true);
      break;
    case DHC_EX_CHECKPOINT:
      dhc_text_puts(&f->out, "checkpoint ");
      dhc_fmt_block(f, &e->u.checkpoint, e->span.end, true);
      break;
    case DHC_EX_SCAN: put_scan(f, e); break;
    default: dhc_text_puts(&f->out, "<error>"); break;
  }
}

void dhc_fmt_expr(DhcFmt *f, const DhcAstExpr *e) {
  if (!any_left_of(e)) {
    put_plain(f, e);
    return;
  }
  /* Chains lean up to 10,000 nodes to the left: down in a loop, then back up. */
  DHC_VEC(const DhcAstExpr *) spine = {0};
  const DhcAstExpr *base = e;
  for (; base; base = left_of(base)) {
    if (!any_left_of(base)) break;
    DHC_PUSH(f->arena, &spine, base);
  }
  if (base)
    put_plain(f, base);
  else
    put_bracketed(f, any_left_of(spine.at[spine.n - 1]));
  for (int i = spine.n - 1; i >= 0; i--) put_tail(f, spine.at[i]);
}

void dhc_fmt_exprs(DhcFmt *f, const DhcAstExprs *list) {
  for (int i = 0; i < list->n; i++) {
    if (i) dhc_text_puts(&f->out, ", ");
    dhc_fmt_expr(f, list->at[i]);
  }
}

void dhc_fmt_type(DhcFmt *f, const DhcAstType *t) {
  static const char *const names[] = {"",     "int",   "float", "bool", "string",
                                      "enum", "layer", "list",  "map"};
  switch (t->kind) {
    case DHC_TY_TENSOR:
      if (t->has_dtype) dhc_text_puts(&f->out, t->dtype.text);
      put_list(f, &t->shape->u.list);
      break;
    case DHC_TY_ERROR: dhc_text_puts(&f->out, "<error>"); break;
    case DHC_TY_ENUM:
      dhc_text_puts(&f->out, "enum(");
      for (int i = 0; i < t->values.n; i++)
        dhc_text_printf(&f->out, i ? ", %s" : "%s", t->values.at[i].text);
      dhc_text_puts(&f->out, ")");
      break;
    default: dhc_text_puts(&f->out, names[t->kind]); break;
  }
}

static DhcFmt alone(DhcArena *arena) {
  return (DhcFmt){.out = {.arena = arena}, .arena = arena};
}

const char *dhc_ast_expr_text(DhcArena *arena, const DhcAstExpr *e) {
  DhcFmt f = alone(arena);
  dhc_fmt_expr(&f, e);
  return dhc_text_str(&f.out);
}
