/* Diagnostics as text for people and as JSON for programs. */
#include "ir/diag.h"

enum { SHOWN_WIDTH = 120 }; /* of a source line; longer ones are cut around the caret */

typedef struct Paint {
  const char *bold, *error, *warning, *note, *caret, *off;
} Paint;

static Paint paint_of(bool color) {
  if (!color) return (Paint){"", "", "", "", "", ""};
  return (Paint){"\033[1m", "\033[1;31m", "\033[1;35m", "\033[1;36m", "\033[1;32m", "\033[0m"};
}

static const char *severity_name(DhcSeverity s) {
  return s == DHC_ERROR ? "error" : s == DHC_WARNING ? "warning" : "note";
}

static const char *severity_paint(const Paint *p, DhcSeverity s) {
  return s == DHC_ERROR ? p->error : s == DHC_WARNING ? p->warning : p->note;
}

/* Length of the well-formed UTF-8 sequence at s, 0 if there is none (a final 0 ends every text). */
static int utf8_length(const unsigned char *s) {
  int n = s[0] < 0x80 ? 1 : s[0] >= 0xC2 && s[0] < 0xE0 ? 2 : (s[0] & 0xF0) == 0xE0 ? 3
          : s[0] >= 0xF0 && s[0] < 0xF5 ? 4 : 0;
  for (int i = 1; i < n; i++)
    if ((s[i] & 0xC0) != 0x80) return 0;
  if (n == 3 && ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] >= 0xA0))) return 0;
  if (n == 4 && ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] >= 0x90))) return 0;
  return n;
}

static bool is_continuation(char c) { return ((unsigned char)c & 0xC0) == 0x80; }

/* One character of a source line, '?' for what is none or would move the caret: control characters
 * but tab, bytes that are no UTF-8. Returns the number of bytes. */
static size_t put_source_char(const char *at, size_t n, FILE *to) {
  const unsigned char *c = (const unsigned char *)at;
  int length = utf8_length(c);
  bool control = (c[0] < 0x20 && c[0] != '\t') || c[0] == 0x7f || (c[0] == 0xC2 && length == 2 && c[1] < 0xA0);
  if (length && (size_t)length <= n && !control) {
    fwrite(at, 1, (size_t)length, to);
    return (size_t)length;
  }
  fputc('?', to);
  return 1;
}

/* The line of `at`, then carets under the part of the span on that line. */
static void print_excerpt(const DhcSources *s, DhcSpan at, const Paint *p, FILE *to) {
  const DhcSource *src = dhc_sources_get(s, at.file);
  if (!src || at.begin > src->n_bytes) return;
  size_t begin = at.begin, end = at.begin;
  while (begin > 0 && src->text[begin - 1] != '\n') begin--;
  while (end < src->n_bytes && src->text[end] != '\n') end++;
  if (end > begin && src->text[end - 1] == '\r') end--;
  size_t from = begin, until = end, mark = at.end > at.begin ? at.end : at.begin + 1;
  if (at.begin - begin > SHOWN_WIDTH / 2) from = at.begin - SHOWN_WIDTH / 2;
  if (until - from > SHOWN_WIDTH && until > at.begin) until = from + SHOWN_WIDTH;
  for (int k = 0; k < 3 && from > begin && from < at.begin && is_continuation(src->text[from]); k++) from++;
  for (int k = 0; k < 3 && until < end && until > at.begin && is_continuation(src->text[until]); k++) until--;
  if (mark > until) mark = until > at.begin ? until : at.begin + 1;

  fputs("  ", to);
  if (from > begin) fputs("...", to);
  for (size_t i = from; i < until;) i += put_source_char(src->text + i, until - i, to);
  fputs(until < end ? "...\n  " : "\n  ", to);
  if (from > begin) fputs("   ", to);
  for (size_t i = from; i < at.begin && i < until; i++)
    if (!is_continuation(src->text[i])) fputc(src->text[i] == '\t' ? '\t' : ' ', to);
  fputs(p->caret, to);
  fputc('^', to);
  for (size_t i = at.begin + 1; i < mark; i++)
    if (!is_continuation(src->text[i])) fputc('~', to);
  fprintf(to, "%s\n", p->off);
}

static void print_place(const DhcSources *s, DhcSpan at, const Paint *p, FILE *to) {
  const DhcSource *src = dhc_sources_get(s, at.file);
  if (!src) return;
  int line, column;
  dhc_span_locate(s, at, &line, &column);
  fprintf(to, "%s%s:%d:%d:%s ", p->bold, src->name, line, column, p->off);
}

void dhc_diags_print(const DhcDiags *d, FILE *to, bool color) {
  dhc_diags_print_from(d, 0, to, color);
}

void dhc_diags_print_from(const DhcDiags *d, int first, FILE *to, bool color) {
  Paint p = paint_of(color);
  int shown = 0;
  for (int i = 0; i < d->all.n; i++) {
    const DhcDiag *m = d->all.at[i];
    shown += m->severity == DHC_ERROR;
    if (i < first) continue;
    print_place(d->sources, m->at, &p, to);
    fprintf(to, "%s%s", severity_paint(&p, m->severity), severity_name(m->severity));
    if (m->code) fprintf(to, "[%s]", m->code);
    fprintf(to, ":%s %s%s%s\n", p.off, p.bold, m->text, p.off);
    print_excerpt(d->sources, m->at, &p, to);
    for (int k = 0; k < m->notes.n; k++) {
      print_place(d->sources, m->notes.at[k].at, &p, to);
      fprintf(to, "%snote:%s %s\n", p.note, p.off, m->notes.at[k].text);
      print_excerpt(d->sources, m->notes.at[k].at, &p, to);
    }
    if (m->hint) fprintf(to, "  %shint:%s %s\n", p.note, p.off, m->hint);
  }
  if (d->n_errors > shown && first < d->all.n) fprintf(to, "%d more errors not shown\n", d->n_errors - shown);
}

/* ---- JSON ------------------------------------------------------------------------ */

static void json_string(const char *text, FILE *to) {
  if (!text) {
    fputs("null", to);
    return;
  }
  fputc('"', to);
  for (const unsigned char *s = (const unsigned char *)text; *s;) {
    int n = utf8_length(s);
    if (n == 0) {
      fputs("\\ufffd", to);
      s++;
    } else if (n == 1 && (*s < 0x20 || *s == 0x7f)) {
      fprintf(to, "\\u%04x", (unsigned)*s++);
    } else if (*s == '"' || *s == '\\') {
      fprintf(to, "\\%c", *s++);
    } else {
      for (; n > 0; n--) fputc(*s++, to);
    }
  }
  fputc('"', to);
}

/* "file":…, "line":…, "column":…, "end_line":…, "end_column":… ; nulls if unknown */
static void json_place(const DhcSources *s, DhcSpan at, FILE *to) {
  const DhcSource *src = dhc_sources_get(s, at.file);
  fputs("\"file\": ", to);
  json_string(src ? src->name : NULL, to);
  if (!src) {
    fputs(", \"line\": null, \"column\": null, \"end_line\": null, \"end_column\": null", to);
    return;
  }
  int line, column, end_line, end_column;
  dhc_span_locate(s, at, &line, &column);
  dhc_span_locate(s, (DhcSpan){at.file, at.end, at.end}, &end_line, &end_column);
  fprintf(to, ", \"line\": %d, \"column\": %d, \"end_line\": %d, \"end_column\": %d", line, column,
          end_line, end_column);
}

void dhc_diags_print_json(const DhcDiags *d, FILE *to) {
  fputs("[", to);
  for (int i = 0; i < d->all.n; i++) {
    const DhcDiag *m = d->all.at[i];
    fprintf(to, "%s\n  {\"severity\": \"%s\", \"code\": ", i ? "," : "", severity_name(m->severity));
    json_string(m->code, to);
    fputs(", ", to);
    json_place(d->sources, m->at, to);
    fputs(", \"message\": ", to);
    json_string(m->text, to);
    fputs(", \"notes\": [", to);
    for (int k = 0; k < m->notes.n; k++) {
      fputs(k ? ", {" : "{", to);
      json_place(d->sources, m->notes.at[k].at, to);
      fputs(", \"message\": ", to);
      json_string(m->notes.at[k].text, to);
      fputs("}", to);
    }
    fputs("], \"hint\": ", to);
    json_string(m->hint, to);
    fputs("}", to);
  }
  fputs(d->all.n ? "\n]\n" : "]\n", to);
}
