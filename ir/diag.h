/* Source files, spans and diagnostics. A span is a byte range of one source;
 * lines and columns are computed only when something is printed. Errors of the
 * user's making are collected here, several a run; whoever started the work asks
 * afterwards. The environment's errors are DhcStatus (dhc/status.h), and a bug of
 * ours is DHC_BUG, which prints and aborts. */
#ifndef DHC_IR_DIAG_H
#define DHC_IR_DIAG_H

#include <stdio.h>

#include "ir/arena.h"
#include "ir/bug.h"

typedef struct DhcSpan {
  uint32_t file;       /* 1-based index into DhcSources; 0: no place known */
  uint32_t begin, end; /* byte offsets, end exclusive */
} DhcSpan;

typedef struct DhcSource {
  const char *name; /* as shown in messages */
  const char *path; /* canonical, for import identity */
  const char *text; /* NUL-terminated copy */
  size_t n_bytes;
} DhcSource;

typedef struct DhcSources {
  DhcArena *arena;
  DHC_VEC(DhcSource) files;
} DhcSources;
uint32_t dhc_sources_add(DhcSources *s, const char *name, const char *path, const char *text,
                         size_t n_bytes);
const DhcSource *dhc_sources_get(const DhcSources *s, uint32_t file);
/* 1-based; columns count bytes. */
void dhc_span_locate(const DhcSources *s, DhcSpan at, int *line, int *column);
/* Smallest span that covers both; either may be unknown. */
DhcSpan dhc_span_join(DhcSpan a, DhcSpan b);

typedef enum DhcSeverity { DHC_NOTE, DHC_WARNING, DHC_ERROR } DhcSeverity;

typedef struct DhcNoteText {
  DhcSpan at; /* may be unknown */
  const char *text;
} DhcNoteText;

typedef struct DhcDiag {
  DhcSeverity severity;
  const char *code; /* stable, e.g. "E0201"; `dhcc explain CODE` knows it */
  DhcSpan at;
  const char *text;
  const char *hint; /* "did you mean 'hidden'?", or NULL */
  DHC_VEC(DhcNoteText) notes;
} DhcDiag;

typedef struct DhcDiags {
  DhcArena *arena;
  DhcSources *sources;
  DHC_VEC(DhcDiag *) all;
  int n_errors, n_warnings;
  int max_errors; /* further ones are counted, not kept; 0 = 20 */
  int since;      /* messages before that number are of something else, where the same file may have been read, too */
} DhcDiags;

/* Adds one message; the result takes notes and a hint, and is never NULL. A second
 * error at the same span with the same code is dropped (kept out of `all`), `since` some message. */
DhcDiag *dhc_diag(DhcDiags *d, DhcSeverity sev, const char *code, DhcSpan at, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void dhc_diag_note(DhcDiags *d, DhcDiag *to, DhcSpan at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void dhc_diag_hint(DhcDiags *d, DhcDiag *to, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* file:line:col: error[E0201]: text, the line, a caret under the span, notes, hint. */
void dhc_diags_print(const DhcDiags *d, FILE *to, bool color);
/* The same without those before number `first`. */
void dhc_diags_print_from(const DhcDiags *d, int first, FILE *to, bool color);
/* [{"severity","code","file","line","column","end_line","end_column","message","notes","hint"}] */
void dhc_diags_print_json(const DhcDiags *d, FILE *to);

/* Closest of `names` to `word` by edit distance (transpositions count one), or NULL
 * if none is within a third of its length. */
const char *dhc_suggest(const char *word, const char *const *names, int n);

#endif
