/* The words for what the grammar refused: what may stand here, after what, what was
 * found, and a hint for the slips that people bring from other languages. */
#include "frontend/build.h"

static bool may(const DhcSyntaxError *e, int kind) { return e->may[kind - DHC_TOKEN_FIRST]; }

static bool is_comparison(int kind) { return kind >= T_LT && kind <= T_NE; }

/* Tokens that may follow any complete expression and so say nothing about this place. */
static bool continues_expression(int kind) {
  switch (kind) {
    case T_PLUS:
    case T_MINUS:
    case T_STAR:
    case T_SLASH:
    case T_FLOORDIV:
    case T_PERCENT:
    case T_AT:
    case T_CARET:
    case T_AND:
    case T_OR:
    case T_IF:
    case T_LPAREN:
    case T_LBRACKET:
    case T_DOT: return true;
    default: return is_comparison(kind);
  }
}

/* Tokens that start any expression, and the keywords that are names elsewhere. */
static bool starts_expression(int kind) {
  switch (kind) {
    case T_NAME:
    case T_INT:
    case T_FLOAT:
    case T_STRING:
    case T_TRUE:
    case T_FALSE:
    case T_SELF:
    case T_UNIT:
    case T_SCAN:
    case T_CHECKPOINT:
    case T_NOT:
    case T_PLUS:
    case T_MINUS:
    case T_LPAREN:
    case T_LBRACKET:
    case T_LBRACE: return true;
    default: return false;
  }
}

static bool is_soft_keyword(int kind) {
  return (kind >= T_BUFFER && kind <= T_METRIC) || (kind >= T_NO_DECAY && kind <= T_REVERSE);
}

static void add_choice(DhcText *t, const char *what, int *n, int left) {
  if (*n > 0) dhc_text_puts(t, left ? ", " : " or ");
  dhc_text_puts(t, what);
  ++*n;
}

/* "a statement", "',' or ')'" ... */
static void describe_expected(const DhcSyntaxError *e, DhcText *t) {
  if (may(e, T_LAYER) && may(e, T_MODEL)) {
    dhc_text_puts(t, "a declaration (import, const, layer, model, fn, preset, variants or recipe)");
    return;
  }
  if (may(e, T_PARAM)) {
    dhc_text_puts(t, "a member (param, buffer, table, state, const, NAME = LAYER(...), an entry ...)");
    return;
  }
  if (may(e, T_RETURN)) {
    dhc_text_puts(t, "a statement");
    return;
  }
  const char *choice[DHC_N_TOKENS + 4];
  int n = 0;
  bool after = may(e, T_PLUS) && may(e, T_CARET);
  bool start = may(e, T_INT) && may(e, T_LPAREN) && !after;
  bool type = may(e, T_LAYER) && may(e, T_LBRACKET);
  if (start) choice[n++] = "an expression";
  if (type) choice[n++] = "a type";
  if (after && may(e, T_COMMA)) choice[n++] = e->name[T_COMMA - DHC_TOKEN_FIRST];
  if (!start && !type && !after && may(e, T_NAME)) choice[n++] = "a name";
  for (int kind = DHC_TOKEN_FIRST; kind < DHC_TOKEN_LAST; kind++) {
    if (!may(e, kind) || kind == T_NAME || kind == T_NEWLINE) continue;
    if (is_soft_keyword(kind) && may(e, T_NAME)) continue;
    if (after && (continues_expression(kind) || (kind == T_ASSIGN && may(e, T_RPAREN)))) continue;
    if (start && starts_expression(kind)) continue;
    if (after && kind == T_COMMA) continue;
    if (type && (kind == T_LAYER || kind == T_LBRACKET)) continue;
    choice[n++] = e->name[kind - DHC_TOKEN_FIRST];
  }
  bool line = may(e, T_NEWLINE);
  if (line && after) n = 0; /* a statement may also go on in many ways */
  if (line || (e->may_end && n == 0)) choice[n++] = "the end of the line";
  if (n == 0) choice[n++] = "an operator";
  if (n > 6) n = 6;
  int written = 0;
  for (int i = 0; i < n; i++) add_choice(t, choice[i], &written, n - 1 - i);
}

static void describe_found(const DhcParser *ps, const DhcSyntaxError *e, DhcText *t) {
  int n = (int)(e->at.end - e->at.begin);
  const char *text = ps->tokens->text + e->at.begin;
  switch (e->found) {
    case 0: dhc_text_puts(t, "the end of the file"); break;
    case T_NEWLINE: dhc_text_puts(t, "the end of the line"); break;
    case T_STRING: dhc_text_puts(t, "a string"); break;
    default:
      if (n > 40)
        dhc_text_printf(t, "'%.40s...'", text);
      else
        dhc_text_printf(t, "'%.*s'", n, text);
  }
}

static bool text_is(const DhcParser *ps, const DhcToken *t, const char *word) {
  size_t n = t->end - t->begin;
  return strlen(word) == n && memcmp(ps->tokens->text + t->begin, word, n) == 0;
}

/* A hint from the word that starts the line. */
static const char *foreign_word(const DhcParser *ps, int index) {
  static const char *const words[][2] = {
      {"def", "functions are declared with 'fn', entries of a layer by their name alone"},
      {"func", "functions are declared with 'fn'"},
      {"function", "functions are declared with 'fn'"},
      {"class", "write layer NAME(hyperparameters) { ... } or model NAME(...) { ... }"},
      {"module", "write layer NAME(hyperparameters) { ... }"},
      {"while", "loops are 'for i in a..b { ... }', unrolled, and 'scan' over an axis"},
      {"let", "a value gets its name by NAME = ..., without a keyword"},
      {"var", "a value gets its name by NAME = ..., without a keyword"},
      {"from", "write import \"file.dhc\" or import std/nn"},
      {"include", "write import \"file.dhc\" or import std/nn"},
      {"lambda", "there are no anonymous functions"},
      {"try", "there are no exceptions"},
  };
  while (index > 0 && !ps->tokens->t.at[index].starts_line &&
         ps->tokens->t.at[index - 1].kind != T_LBRACE)
    index--;
  const DhcToken *t = &ps->tokens->t.at[index];
  if (t->kind != T_NAME) return NULL;
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (text_is(ps, t, words[i][0])) return words[i][1];
  return NULL;
}

static bool is_hard_keyword(int kind) {
  return kind >= T_IMPORT && kind <= T_SELF && !is_soft_keyword(kind);
}

static const char *hint_for(const DhcParser *ps, const DhcSyntaxError *e, int index) {
  const DhcToken *t = ps->tokens->t.at;
  int before = index > 0 ? t[index - 1].kind : 0;
  int after = e->found ? t[index + 1].kind : 0;
  bool after_expr = may(e, T_PLUS) && may(e, T_CARET);
  const char *word = foreign_word(ps, index);
  if (word) return word;
  if (e->found == T_DOT && may(e, T_INT)) return "write 0.5, not .5";
  if (before == T_DOT && index > 1 && t[index - 2].kind == T_INT) return "write 1.0, not 1.";
  if (is_comparison(e->found) && !may(e, e->found) && may(e, T_AND))
    return "comparisons do not chain: write a < b and b < c";
  if (e->found == T_ASSIGN && after_expr) return "'==' compares; '=' gives a name to a value";
  if (e->found == T_COLON && may(e, T_LBRACE)) return "a block stands in { }";
  if (e->found == T_NEWLINE && may(e, T_LBRACE) && after == T_LBRACE)
    return "the '{' stands on the same line";
  if (e->found == T_NEWLINE && may(e, T_INT))
    return "an expression goes on in the next line only inside brackets";
  if (before == T_ARROW) return "outputs are named: -> (y: [B, d])";
  if (may(e, T_NAME) && !after_expr && is_hard_keyword(e->found))
    return "this word is a keyword; choose another name";
  if (e->found == T_STORE) return "'<-' assigns a buffer; a comparison with a negative number is '< -'";
  if (e->found == T_FOR && after_expr) return "a list is not made by 'for': for i in 0..n { NAME[i] = ... }";
  if (e->found == T_COMMA && after_expr && !may(e, T_COMMA) && may(e, T_RPAREN)) return "a list is written [a, b]";
  if (e->found == T_DOTDOT) return "ranges stand after 'in' only";
  return NULL;
}

/* True where the reader of tokens has already said what is wrong. */
static bool already_reported(const DhcParser *ps, const DhcSyntaxError *e, int index) {
  const DhcToken *t = ps->tokens->t.at;
  if (e->found && e->at.begin == e->at.end) return true; /* a '}' that was put in */
  int inside = index > 0 ? t[index - 1].inside : -1;
  if (index > 0 && t[index - 1].broken) return true;
  for (; inside >= 0; inside = t[inside].inside)
    if (t[inside].broken) return true;
  return false;
}

void dhc_syntax_report(DhcParser *ps, DhcSyntaxError *e) {
  DhcDiags *diags = ps->cfg->diags;
  const DhcToken *t = ps->tokens->t.at;
  int index = ps->current;
  if (already_reported(ps, e, index)) return;
  if (index > 0 && e->found == T_RBRACE && t[index].starts_line && t[index - 1].kind != T_LBRACE) {
    /* The newline before it is not in the array, but is where the eye looks. */
    e->found = T_NEWLINE;
    e->at.begin = t[index - 1].end;
    e->at.end = e->at.begin + 1;
  }
  DhcText text = {.arena = ps->cfg->arena};
  dhc_text_puts(&text, "expected ");
  describe_expected(e, &text);
  if (index > 0) {
    const DhcToken *before = &ps->tokens->t.at[index - 1];
    int n = (int)(before->end - before->begin);
    if (before->kind != T_NEWLINE && n > 0 && n <= 40)
      dhc_text_printf(&text, " after '%.*s'", n, ps->tokens->text + before->begin);
  }
  dhc_text_puts(&text, ", found ");
  describe_found(ps, e, &text);
  DhcDiag *d = dhc_diag(diags, DHC_ERROR, "E0201", e->at, "%s", dhc_text_str(&text));
  const char *hint = hint_for(ps, e, index);
  if (hint) dhc_diag_hint(diags, d, "%s", hint);
}
