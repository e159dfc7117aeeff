/* The token array of one file: scanned in one go, with brackets matched, newlines
 * that do not end a statement removed, and slips (&&, elif, 'text') reported and
 * mended, so that the grammar sees a balanced stream. Lives in the session arena. */
#ifndef DHC_FRONTEND_TOKENS_H
#define DHC_FRONTEND_TOKENS_H

#include "frontend/parse.h"

typedef struct DhcToken {
  int16_t kind;        /* enum of grammar.h; T_YYEOF ends the array */
  bool broken;         /* an opening bracket that was reported as never closed */
  bool starts_line;    /* first token of its line */
  uint32_t begin, end; /* bytes; equal for tokens put in */
  int32_t inside;      /* innermost open bracket here, -1: none; a bracket is not inside itself */
  int32_t match;       /* of an opening bracket: its partner, -1: none */
} DhcToken;

/* After this many errors a file is not looked at any further. */
#define DHC_MAX_SYNTAX_ERRORS 100

typedef struct DhcTokens {
  uint32_t file;
  const char *text;
  DHC_VEC(DhcToken) t;
  DHC_VEC(DhcSpan) comments;
  int errors_before; /* in the diagnostics when this file was begun */
  bool unusable;     /* a limit was met and reported: not to be parsed */
} DhcTokens;

void dhc_tokens_read(DhcParse *p, uint32_t file, DhcTokens *out);
/* True for the words that start a declaration of a file. */
bool dhc_token_starts_decl(int kind);
/* True for binary operators and signs. */
bool dhc_token_is_operator(int kind);

/* What the scanner shares with its caller. */
typedef struct DhcScan {
  DhcArena *arena;
  uint32_t begin, end; /* of the last token */
} DhcScan;
void *dhc_scan_open(DhcScan *scan, char *text, size_t n_bytes); /* text[n], text[n + 1] are NUL */
int dhc_scan_token(void *scanner);

#endif
