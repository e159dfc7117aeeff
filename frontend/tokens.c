#include "frontend/tokens.h"

#include "frontend/grammar.h"

/* While reading: the raw tokens with every newline, and the open brackets. */
typedef struct Reader {
  DhcParse *p;
  DhcTokens *out;
  DHC_VEC(DhcToken) raw;
  int open[DHC_AST_MAX_DEPTH]; /* raw indices, innermost last */
  int n_open;
  int n_operators[DHC_AST_MAX_DEPTH + 1]; /* since the last comma or newline, by n_open */
  int n_prefixes;                         /* signs and `not`s in a row */
} Reader;

static DhcSpan span_of(const Reader *r, uint32_t begin, uint32_t end) {
  return (DhcSpan){r->out->file, begin, end};
}

static int top_of(const Reader *r) { return r->n_open ? r->open[r->n_open - 1] : -1; }

static DhcToken *push(Reader *r, int kind, uint32_t begin, uint32_t end) {
  bool starts = r->raw.n == 0 || r->raw.at[r->raw.n - 1].kind == T_NEWLINE;
  DhcToken t = {.kind = (int16_t)kind,
                .starts_line = starts,
                .begin = begin,
                .end = end,
                .inside = top_of(r),
                .match = -1};
  DHC_PUSH(r->p->arena, &r->raw, t);
  return &r->raw.at[r->raw.n - 1];
}

bool dhc_token_is_operator(int kind) {
  return (kind >= T_PLUS && kind <= T_NE) || kind == T_AND || kind == T_OR;
}

bool dhc_token_starts_decl(int kind) {
  return kind == T_IMPORT || kind == T_LAYER || kind == T_MODEL || kind == T_FN ||
         kind == T_PRESET || kind == T_VARIANTS || kind == T_RECIPE;
}

/* ---- Brackets ------------------------------------------------------------------ */

static int closer_of(int opener) {
  return opener == T_LPAREN ? T_RPAREN : opener == T_LBRACKET ? T_RBRACKET : T_RBRACE;
}

static char bracket_char(const Reader *r, int index) {
  return r->out->text[r->raw.at[index].begin];
}

/* What follows the line of a bracket that is never closed does not belong to it. */
static void end_at_line(Reader *r, int open) {
  int m = open + 1;
  while (m < r->raw.n && !(r->raw.at[m].kind == T_NEWLINE && r->raw.at[m].inside == open)) m++;
  for (; m < r->raw.n; m++)
    if (r->raw.at[m].inside == open) r->raw.at[m].inside = r->raw.at[open].inside;
}

static bool on_one_line(const Reader *r, int open, int other) {
  const DhcToken *a = &r->raw.at[open], *b = &r->raw.at[other];
  return memchr(r->out->text + a->begin, '\n', b->begin - a->begin) == NULL;
}

/* Gives up the innermost brackets until `keep` are left. Reported are the innermost one
 * and every '(' or '[' of another line: the rest are likely to be a consequence. */
static void abandon(Reader *r, int keep, uint32_t where) {
  int reported = -1;
  while (r->n_open > keep) {
    int open = top_of(r);
    DhcToken *t = &r->raw.at[open];
    if (reported < 0 || (t->kind != T_LBRACE && !on_one_line(r, open, reported))) {
      dhc_diag(r->p->diags, DHC_ERROR, "E0110", span_of(r, t->begin, t->end),
               "'%c' opened here is never closed", bracket_char(r, open));
      reported = open;
    }
    if (t->kind == T_LBRACE) {
      push(r, T_RBRACE, where, where);
      r->raw.at[open].match = r->raw.n - 1;
    } else {
      t->broken = true;
      end_at_line(r, open);
    }
    r->n_open--;
  }
}

static bool open_bracket(Reader *r, int kind, uint32_t begin, uint32_t end) {
  if (r->n_open == DHC_AST_MAX_DEPTH) {
    dhc_diag(r->p->diags, DHC_ERROR, "E0112", span_of(r, begin, end),
             "nesting deeper than %d levels", DHC_AST_MAX_DEPTH);
    r->out->unusable = true;
    return false;
  }
  push(r, kind, begin, end);
  r->open[r->n_open++] = r->raw.n - 1;
  r->n_operators[r->n_open] = 0;
  return true;
}

static void close_bracket(Reader *r, int kind, uint32_t begin, uint32_t end) {
  int k = r->n_open; /* opener that this one closes: open[k - 1] */
  while (k > 0 && closer_of(r->raw.at[r->open[k - 1]].kind) != kind) {
    /* A ')' does not reach out of a block; a '}' does end a forgotten '('. */
    if (r->raw.at[r->open[k - 1]].kind == T_LBRACE) k = 1;
    k--;
  }
  if (k == 0) {
    int top = top_of(r);
    DhcDiag *d = dhc_diag(r->p->diags, DHC_ERROR, "E0111", span_of(r, begin, end),
                          "'%c' closes nothing", r->out->text[begin]);
    if (top < 0 || r->raw.at[top].kind == T_LBRACE) return;
    dhc_diag_note(r->p->diags, d, span_of(r, r->raw.at[top].begin, r->raw.at[top].end),
                  "the innermost open bracket is this '%c'", bracket_char(r, top));
    kind = closer_of(r->raw.at[top].kind);
    k = r->n_open;
  }
  abandon(r, k, begin);
  push(r, kind, begin, end);
  r->raw.at[top_of(r)].match = r->raw.n - 1;
  r->n_open--;
}

/* ---- Slips ------------------------------------------------------------------------ */

static void slip(Reader *r, uint32_t begin, uint32_t end, const char *hint) {
  DhcDiag *d = dhc_diag(r->p->diags, DHC_ERROR, "E0109", span_of(r, begin, end),
                        "'%.*s' is not part of the language", (int)(end - begin),
                        r->out->text + begin);
  dhc_diag_hint(r->p->diags, d, "%s", hint);
}

static void bad_char(Reader *r, uint32_t begin, uint32_t end) {
  const unsigned char *s = (const unsigned char *)r->out->text + begin;
  if (*s >= 0x80) {
    uint32_t n = *s >= 0xF0 ? 4 : *s >= 0xE0 ? 3 : 2;
    dhc_diag(r->p->diags, DHC_ERROR, "E0108", span_of(r, begin, begin + n),
             "character '%.*s' may stand only in strings and comments", (int)n,
             r->out->text + begin);
  } else if (*s < 0x20 || *s == 0x7F) {
    dhc_diag(r->p->diags, DHC_ERROR, "E0108", span_of(r, begin, end),
             "unexpected control character 0x%02x", *s);
  } else {
    DhcDiag *d = dhc_diag(r->p->diags, DHC_ERROR, "E0108", span_of(r, begin, end),
                          "unexpected character '%c'", *s);
    const char *hint = *s == '&'   ? "write 'and'"
                       : *s == '|' ? "write 'or'"
                       : *s == '?' ? "a choice is written a if cond else b"
                       : *s == '$' ? "names are letters, digits and '_'"
                                   : NULL;
    if (hint) dhc_diag_hint(r->p->diags, d, "%s", hint);
  }
}

/* Reports a T_BAD_* token and puts what was meant in its place. False: stop reading. */
static bool mend(Reader *r, int kind, uint32_t begin, uint32_t end) {
  DhcDiags *diags = r->p->diags;
  switch (kind) {
    case T_BAD_COMMENT:
      dhc_diag(diags, DHC_ERROR, "E0102", span_of(r, begin, end),
               "comment opened here is never closed");
      return false;
    case T_BAD_ELIF:
      slip(r, begin, end, "write 'else if'");
      push(r, T_ELSE, begin, end);
      push(r, T_IF, begin, end);
      return true;
    case T_BAD_TRUE:
    case T_BAD_FALSE:
      slip(r, begin, end, kind == T_BAD_TRUE ? "write 'true'" : "write 'false'");
      push(r, kind == T_BAD_TRUE ? T_TRUE : T_FALSE, begin, end);
      return true;
    case T_BAD_NUMBER: {
      DhcDiag *d = dhc_diag(diags, DHC_ERROR, "E0107", span_of(r, begin, end),
                            "malformed number '%.*s'", (int)(end - begin), r->out->text + begin);
      dhc_diag_hint(diags, d, "numbers are decimal: 12, 1_000, 0.5, 1e-3");
      push(r, T_BAD_NUMBER, begin, end);
      return true;
    }
    case T_BAD_STRING:
      dhc_diag(diags, DHC_ERROR, "E0103", span_of(r, begin, end),
               "string opened here is not closed on this line");
      push(r, T_STRING, begin, end);
      return true;
    case T_BAD_QUOTE:
      dhc_diag_hint(diags,
                    dhc_diag(diags, DHC_ERROR, "E0109", span_of(r, begin, end),
                             "single quotes are not part of the language"),
                    "strings stand in double quotes");
      push(r, T_STRING, begin, end);
      return true;
    case T_BAD_AND: slip(r, begin, end, "write 'and'"); push(r, T_AND, begin, end); return true;
    case T_BAD_OR: slip(r, begin, end, "write 'or'"); push(r, T_OR, begin, end); return true;
    case T_BAD_NOT: slip(r, begin, end, "write 'not'"); push(r, T_NOT, begin, end); return true;
    case T_BAD_POW: slip(r, begin, end, "power is '^'"); push(r, T_CARET, begin, end); return true;
    case T_BAD_SEMICOLON:
      slip(r, begin, end, "a statement ends with its line");
      if (top_of(r) < 0 || r->raw.at[top_of(r)].kind == T_LBRACE) push(r, T_NEWLINE, begin, end);
      return true;
    case T_BAD_WALRUS: slip(r, begin, end, "write '='"); push(r, T_ASSIGN, begin, end); return true;
    case T_BAD_UPDATE:
      slip(r, begin, end, "write it out: x = x + y");
      push(r, T_ASSIGN, begin, end);
      return true;
    default: bad_char(r, begin, end); return true;
  }
}

/* ---- Reading ------------------------------------------------------------------------ */

static bool within_prefix_limit(Reader *r, int kind, uint32_t begin, uint32_t end) {
  bool prefix = kind == T_NOT || kind == T_MINUS || kind == T_PLUS;
  r->n_prefixes = prefix ? r->n_prefixes + 1 : 0;
  if (r->n_prefixes < DHC_AST_MAX_DEPTH) return true;
  dhc_diag(r->p->diags, DHC_ERROR, "E0112", span_of(r, begin, end),
           "nesting deeper than %d levels", DHC_AST_MAX_DEPTH);
  r->out->unusable = true;
  return false;
}

/* Counts the operators that stand side by side, so that an endless expression is
 * refused before it takes memory; the constructors count those in brackets too. */
static bool within_operator_limit(Reader *r, int kind, uint32_t begin, uint32_t end) {
  int *n = &r->n_operators[r->n_open];
  if (kind == T_NEWLINE || kind == T_COMMA || kind == T_ASSIGN) *n = 0;
  if (!dhc_token_is_operator(kind) || ++*n <= DHC_AST_MAX_OPERATORS) return true;
  dhc_diag(r->p->diags, DHC_ERROR, "E0113", span_of(r, begin, end),
           "expression has more than %d operators", DHC_AST_MAX_OPERATORS);
  r->out->unusable = true;
  return false;
}

/* A declaration's first word is followed by a name or a string, a member's by something else. */
static bool heads_decl(const Reader *r, uint32_t end) {
  const char *s = r->out->text + end;
  while (*s == ' ' || *s == '\t') s++;
  return *s != '=' && *s != '[' && *s != '.' && *s != '(';
}

static bool read_token(Reader *r, int kind, uint32_t begin, uint32_t end) {
  switch (kind) {
    case T_COMMENT:
    case T_BLOCK_COMMENT:
      DHC_PUSH(r->p->arena, &r->out->comments, span_of(r, begin, end));
      return true;
    case T_LPAREN:
    case T_LBRACKET:
    case T_LBRACE: return open_bracket(r, kind, begin, end);
    case T_RPAREN:
    case T_RBRACKET:
    case T_RBRACE: close_bracket(r, kind, begin, end); return true;
    default: break;
  }
  if (kind >= T_BAD_COMMENT) return mend(r, kind, begin, end);
  if (dhc_token_starts_decl(kind) && (begin == 0 || r->out->text[begin - 1] == '\n') && heads_decl(r, end))
    abandon(r, 0, begin);
  push(r, kind, begin, end);
  return within_operator_limit(r, kind, begin, end) && within_prefix_limit(r, kind, begin, end);
}

/* A newline counts if it stands in a block or at the top, ends something, and what
 * follows does not continue it. */
static bool keeps_newline(const DhcTokens *out, const int32_t *place, const DhcToken *t) {
  if (t->inside >= 0 && out->t.at[place[t->inside]].kind != T_LBRACE) return false;
  if (out->t.n == 0) return false;
  int before = out->t.at[out->t.n - 1].kind;
  return before != T_NEWLINE && before != T_LBRACE && before != T_COMMA;
}

/* Keeps, in place, what the grammar should see, with indices changed to the new places.
 * A partner or enclosing bracket is never dropped, and brackets open before i. */
static void filter(Reader *r, DhcTokens *out) {
  int32_t *place = DHC_NEW_N(r->p->arena, int32_t, r->raw.n + 1);
  out->t.at = r->raw.at;
  for (int i = 0; i < r->raw.n; i++) {
    const DhcToken t = r->raw.at[i];
    place[i] = -1;
    if (t.kind == T_NEWLINE && !keeps_newline(out, place, &t)) continue;
    bool after_newline = out->t.n > 0 && out->t.at[out->t.n - 1].kind == T_NEWLINE;
    bool joins = t.kind == T_RBRACE || t.kind == T_ARROW || t.kind == T_YYEOF ||
                 (t.kind == T_ELSE && out->t.n > 1 && out->t.at[out->t.n - 2].kind == T_RBRACE);
    if (after_newline && joins) out->t.n--;
    place[i] = out->t.n;
    out->t.at[out->t.n++] = t;
  }
  for (int i = 0; i < out->t.n; i++) {
    DhcToken *t = &out->t.at[i];
    if (t->inside >= 0) t->inside = place[t->inside];
    if (t->match >= 0) t->match = place[t->match];
  }
}

/* ---- Keywords that are names ----------------------------------------------------------- */

static bool is_role(int kind) {
  return kind == T_PARAM || kind == T_BUFFER || kind == T_TABLE || kind == T_STATE || kind == T_CONST;
}

/* Behind any subscripts that follow token i: "[0][1]". */
static int after_indices(const DhcTokens *l, int i) {
  for (i++; l->t.at[i].kind == T_LBRACKET && l->t.at[i].match > i; i = l->t.at[i].match + 1) continue;
  return i;
}

/* Libraries call parts of their networks `model`, `layer` or `self`, and files of weights hold these names. A
 * keyword is a name behind a point; where a member is declared (WORD = …, WORD[0] = …, param WORD: …, init WORD.…);
 * and, if it only ever starts a declaration of a file, wherever something else stands. */
static bool is_name(const DhcTokens *l, int i) {
  const DhcToken *t = &l->t.at[i];
  int before = i > 0 ? l->t.at[i - 1].kind : T_NEWLINE, next = l->t.at[i + 1].kind;
  if (t->kind < T_IMPORT || t->kind > T_SELF || t->inside < 0) return false;
  if (before == T_DOT) return true;
  if (dhc_token_starts_decl(t->kind)) return t->kind != T_LAYER || before != T_COLON;
  if (before == T_INIT && i > 1 && next == T_DOT) return true;
  if (is_role(before) && next == T_COLON) return true;
  bool starts = before == T_NEWLINE || before == T_LBRACE || before == T_RBRACE;
  return starts && l->t.at[after_indices(l, i)].kind == T_ASSIGN;
}

static void name_keywords(DhcTokens *l) {
  for (int i = 0; i + 1 < l->t.n; i++)
    if (is_name(l, i)) l->t.at[i].kind = T_NAME;
}

void dhc_tokens_read(DhcParse *p, uint32_t file, DhcTokens *out) {
  const DhcSource *source = dhc_sources_get(p->diags->sources, file);
  *out = (DhcTokens){
      .file = file, .text = source->text, .errors_before = p->diags->n_errors};
  Reader r = {.p = p, .out = out};
  uint32_t skip = source->n_bytes >= 3 && memcmp(source->text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
  size_t n = source->n_bytes - skip;
  char *copy = dhc_arena_alloc(p->arena, n + 2); /* the scanner writes into it */
  memcpy(copy, source->text + skip, n);
  DhcScan scan = {.arena = p->arena, .begin = skip, .end = skip};
  void *scanner = dhc_scan_open(&scan, copy, n);
  for (;;) {
    int kind = dhc_scan_token(scanner);
    if (kind == 0 || !read_token(&r, kind, scan.begin, scan.end)) break;
    if (p->diags->n_errors - out->errors_before > DHC_MAX_SYNTAX_ERRORS) out->unusable = true;
    if (out->unusable) break;
  }
  uint32_t end = (uint32_t)source->n_bytes;
  if (!out->unusable) abandon(&r, 0, end);
  push(&r, T_YYEOF, end, end);
  filter(&r, out);
  if (!out->unusable) name_keywords(out);
}
