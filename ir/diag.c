/* Collecting diagnostics, and the arithmetic of spans. Printing is in diag_print.c. */
#include "ir/diag.h"

#include <stdlib.h>

uint32_t dhc_sources_add(DhcSources *s, const char *name, const char *path, const char *text,
                         size_t n_bytes) {
  DhcSource src = {.name = dhc_arena_strdup(s->arena, name),
                   .path = path ? dhc_arena_strdup(s->arena, path) : NULL,
                   .text = dhc_arena_strndup(s->arena, text, n_bytes),
                   .n_bytes = n_bytes};
  DHC_PUSH(s->arena, &s->files, src);
  return (uint32_t)s->files.n;
}

const DhcSource *dhc_sources_get(const DhcSources *s, uint32_t file) {
  if (!s || file == 0 || file > (uint32_t)s->files.n) return NULL;
  return &s->files.at[file - 1];
}

void dhc_span_locate(const DhcSources *s, DhcSpan at, int *line, int *column) {
  *line = *column = 1;
  const DhcSource *src = dhc_sources_get(s, at.file);
  if (!src) return;
  for (size_t i = 0; i < at.begin && i < src->n_bytes; i++) {
    ++*column;
    if (src->text[i] == '\n') {
      ++*line;
      *column = 1;
    }
  }
}

DhcSpan dhc_span_join(DhcSpan a, DhcSpan b) {
  if (a.file == 0) return b;
  if (b.file != a.file) return a;
  if (b.begin < a.begin) a.begin = b.begin;
  if (b.end > a.end) a.end = b.end;
  return a;
}

static bool same_place(const DhcDiag *d, const char *code, DhcSpan at) {
  bool same_code = d->code == code || (d->code && code && strcmp(d->code, code) == 0);
  return d->severity == DHC_ERROR && same_code && at.file && d->at.file == at.file &&
         d->at.begin == at.begin && d->at.end == at.end;
}

DhcDiag *dhc_diag(DhcDiags *d, DhcSeverity sev, const char *code, DhcSpan at, const char *fmt,
                  ...) {
  DhcDiag *m = DHC_NEW(d->arena, DhcDiag);
  m->severity = sev;
  m->code = code;
  m->at = at;
  va_list ap;
  va_start(ap, fmt);
  m->text = dhc_arena_vprintf(d->arena, fmt, ap);
  va_end(ap);
  if (sev == DHC_ERROR) {
    for (int i = d->since; i < d->all.n; i++)
      if (same_place(d->all.at[i], code, at)) return m;
    int max = d->max_errors ? d->max_errors : 20;
    if (++d->n_errors > max) return m;
  }
  if (sev == DHC_WARNING) d->n_warnings++;
  DHC_PUSH(d->arena, &d->all, m);
  return m;
}

void dhc_diag_note(DhcDiags *d, DhcDiag *to, DhcSpan at, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  DhcNoteText note = {at, dhc_arena_vprintf(d->arena, fmt, ap)};
  va_end(ap);
  DHC_PUSH(d->arena, &to->notes, note);
}

void dhc_diag_hint(DhcDiags *d, DhcDiag *to, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  to->hint = dhc_arena_vprintf(d->arena, fmt, ap);
  va_end(ap);
}

/* ---- suggestions ---------------------------------------------------------------- */

enum { LONGEST_WORD = 64 };

/* Edit distance with adjacent transpositions; at most LONGEST_WORD letters each. */
static int edit_distance(const char *a, int n, const char *b, int m) {
  int row[3][LONGEST_WORD + 1];
  for (int j = 0; j <= m; j++) row[0][j] = j;
  int *before = row[2], *last = row[0], *now = row[1];
  for (int i = 1; i <= n; i++) {
    now[0] = i;
    for (int j = 1; j <= m; j++) {
      int best = last[j - 1] + (a[i - 1] != b[j - 1]);
      if (last[j] + 1 < best) best = last[j] + 1;
      if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
        best = before[j - 2] + 1;
      now[j] = best;
    }
    int *spare = before;
    before = last, last = now, now = spare;
  }
  return last[m];
}

const char *dhc_suggest(const char *word, const char *const *names, int n) {
  size_t len = strlen(word);
  if (len > LONGEST_WORD) return NULL;
  int limit = (int)len / 3;
  if (limit == 0 && len > 1) limit = 1;
  const char *best = NULL;
  for (int i = 0; i < n; i++) {
    size_t other = strlen(names[i]);
    if (other > LONGEST_WORD) continue;
    int dist = edit_distance(word, (int)len, names[i], (int)other);
    if (dist <= limit && (!best || dist < limit)) {
      best = names[i];
      limit = dist; /* a later one must be strictly closer */
    } else if (dist == 0) {
      return names[i];
    }
  }
  return best;
}
