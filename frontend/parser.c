#include "frontend/build.h"
#include "frontend/literal.h"

/* ---- Handing over tokens ------------------------------------------------------- */

static DhcSpan span_of(const DhcParser *ps, const DhcToken *t) {
  return (DhcSpan){ps->tokens->file, t->begin, t->end};
}

static int integer(DhcParser *ps, DhcSpan at, const char *text, size_t n, DHC_YYSTYPE *value) {
  if (!dhc_literal_int(text, n, &value->i)) {
    dhc_diag(ps->cfg->diags, DHC_ERROR, "E0105", at, "integer out of range (max %lld)",
             (long long)INT64_MAX);
    value->i = 1;
  }
  return T_INT;
}

static int number(DhcParser *ps, DhcSpan at, const char *text, size_t n, DHC_YYSTYPE *value) {
  if (!dhc_literal_float(ps->cfg->arena, text, n, &value->f)) {
    dhc_diag(ps->cfg->diags, DHC_ERROR, "E0106", at,
             "number out of range (from 4.94e-324 to 1.797e308)");
    value->f = 1;
  }
  return T_FLOAT;
}

static int string(DhcParser *ps, DhcSpan at, const char *text, size_t n, DHC_YYSTYPE *value) {
  DhcArena *arena = ps->cfg->arena;
  bool closed = n >= 2 && text[n - 1] == text[0];
  size_t length = 0, bad = 0;
  char *s = dhc_literal_string(arena, text + 1, n - (closed ? 2 : 1), &length, &bad);
  if (!s) {
    uint32_t where = at.begin + 1 + (uint32_t)bad;
    DhcDiag *d = dhc_diag(ps->cfg->diags, DHC_ERROR, "E0104",
                          (DhcSpan){at.file, where, where + 2}, "unknown escape in a string");
    dhc_diag_hint(ps->cfg->diags, d, "\\n, \\t, \\\" and \\\\ are known");
    s = dhc_arena_strdup(arena, "?");
    length = 1;
  }
  value->string = DHC_NEW(arena, DhcParserString);
  value->string->at = dhc_intern_n(ps->cfg->strings, s, length);
  value->string->n = (int)length;
  return T_STRING;
}

int dhc_yylex(DHC_YYSTYPE *value, DhcSpan *at, DhcParser *ps) {
  const DhcTokens *list = ps->tokens;
  if (ps->start_kind) {
    int start = ps->start_kind;
    ps->start_kind = 0;
    *at = (DhcSpan){list->file, 0, 0};
    return start;
  }
  const DhcToken *t = &list->t.at[ps->next];
  ps->current = ps->next;
  if (t->kind != T_YYEOF) ps->next++;
  *at = span_of(ps, t);
  const char *text = list->text + t->begin;
  size_t n = t->end - t->begin;
  switch (t->kind) {
    case T_INT: return integer(ps, *at, text, n, value);
    case T_FLOAT: return number(ps, *at, text, n, value);
    case T_BAD_NUMBER: value->i = 1; return T_INT;
    case T_STRING: return string(ps, *at, text, n, value);
    case T_NAME:
    case T_BUFFER:
    case T_TABLE:
    case T_STATE:
    case T_INIT:
    case T_METRIC:
    case T_NO_DECAY:
    case T_KERNEL:
    case T_VJP:
    case T_OVER:
    case T_ALONG:
    case T_REVERSE: value->text = dhc_intern_n(ps->cfg->strings, text, n); break;
    default: break;
  }
  return t->kind;
}

/* ---- Recovery --------------------------------------------------------------------- */

int dhc_parser_token_at(const DhcParser *ps, uint32_t begin) {
  int lo = 0, hi = ps->tokens->t.n - 1;
  while (lo < hi) {
    int mid = lo + (hi - lo) / 2;
    if (ps->tokens->t.at[mid].begin < begin)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

/* Continues at `index`; a second recovery at one place would not get further. */
static bool continue_at(DhcParser *ps, int index) {
  int n_errors = ps->cfg->diags->n_errors - ps->tokens->errors_before;
  if (index <= ps->last_recovery || n_errors > DHC_MAX_SYNTAX_ERRORS) return false;
  ps->last_recovery = index;
  ps->next = index;
  return true;
}

bool dhc_parser_line_end(DhcParser *ps, DhcSpan broken) {
  const DhcTokens *list = ps->tokens;
  int block = list->t.at[dhc_parser_token_at(ps, broken.begin)].inside;
  int end = block >= 0 ? list->t.at[block].match : -1;
  int i = ps->current;
  for (; list->t.at[i].kind != T_YYEOF && i != end; i++) {
    const DhcToken *t = &list->t.at[i];
    if (t->kind != T_NEWLINE || t->inside != block) continue;
    if (t[1].kind != T_LBRACE || t[1].match < 0) break;
    i = t[1].match; /* a block whose '{' went to the next line belongs to what is broken */
  }
  return continue_at(ps, i);
}

bool dhc_parser_next_decl(DhcParser *ps, DhcSpan broken) {
  (void)broken;
  const DhcTokens *list = ps->tokens;
  int i = ps->current;
  if (i <= ps->last_recovery) i = ps->last_recovery + 1;
  while (list->t.at[i].kind != T_YYEOF) {
    const DhcToken *t = &list->t.at[i];
    if (t->inside < 0 && t->starts_line && dhc_token_starts_decl(t->kind)) break;
    i++;
  }
  return continue_at(ps, i);
}

void dhc_parser_too_deep(DhcParser *ps, DhcSpan at) {
  dhc_diag(ps->cfg->diags, DHC_ERROR, "E0112", at, "nesting deeper than %d levels",
           DHC_AST_MAX_DEPTH);
}

/* ---- Results ------------------------------------------------------------------------ */

void dhc_parser_add_decl(DhcParser *ps, DhcAstDecl *d) {
  if (d) DHC_PUSH(ps->cfg->arena, &ps->module->decls, d);
}

void dhc_parser_add_import(DhcParser *ps, const char *path, bool is_shipped, DhcSpan at) {
  DhcAstImport import = {path, is_shipped, at, -1};
  DHC_PUSH(ps->cfg->arena, &ps->module->imports, import);
}
