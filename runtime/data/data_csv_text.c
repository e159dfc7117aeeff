#include <stdio.h>
#include <string.h>

#include "runtime/data/data_csv.h"

enum { LOOK_STEP = 65536 }; /* rows between looks whether to stop */

static dhc_status no_memory(int64_t bytes) {
  return dhc_status_memory((long long)bytes, "a table");
}

dhc_status csv_error(const Csv *c, size_t at, const char *what) {
  char place[600];
  long long line = 1;
  for (const char *p = c->text; (p = memchr(p, '\n', at - (size_t)(p - c->text))) != NULL; p++) {
    line++;
  }
  snprintf(place, sizeof place, "%s:%lld", c->path, line);
  return dhc_status_file(place, "%s", what);
}

/* ---- cells ------------------------------------------------------------------------------ */

const char *csv_cell(const Csv *c, size_t *at, CsvCell *out) {
  const char *t = c->text;
  size_t i = *at, begin = i;
  out->quoted = i < c->n && t[i] == '"';
  if (out->quoted) {
    for (i = ++begin; i < c->n && (t[i] != '"' || (i + 1 < c->n && t[i + 1] == '"')); i++) {
      i += t[i] == '"';
    }
    if (i >= c->n) {
      return "a quote is never closed"; /* begun at *at */
    }
  } else {
    while (i < c->n && t[i] != c->separator && t[i] != '\n' && t[i] != '\r') {
      i++;
    }
  }
  out->text = t + begin;
  out->n = i - begin;
  i += out->quoted;
  if (i < c->n && t[i] != c->separator && t[i] != '\n' && t[i] != '\r') {
    *at = i;
    return "text behind a closed quote";
  }
  out->last = i >= c->n || t[i] != c->separator;
  *at = i < c->n ? i + 1 : i;
  return NULL;
}

size_t csv_text(const CsvCell *cell, char *to, size_t room) {
  size_t n = 0;
  for (size_t i = 0; i < cell->n && n + 1 < room; i++) {
    i += cell->quoted && cell->text[i] == '"';
    to[n++] = cell->text[i];
  }
  to[n] = '\0';
  return n;
}

/* `text` holds a copy of the cell; *begin: behind the blanks before it. */
static bool number(const Csv *c, const CsvCell *cell, char text[256], const char **begin, float *out) {
  char *end = NULL;
  csv_text(cell, text, 256);
  *begin = text + strspn(text, " ");
  size_t n = strcspn(*begin, " ");
  *out = strtof_l(*begin, &end, c->plain);
  return n > 0 && end == *begin + n && cell->n < 256;
}

bool csv_number(const Csv *c, const CsvCell *cell, float *out) {
  char text[256];
  const char *begin;
  return number(c, cell, text, &begin, out);
}

dhc_status csv_no_number(const Csv *c, size_t row, int column, const CsvCell *cell) {
  char text[256], what[600];
  const char *begin;
  float none;
  number(c, cell, text, &begin, &none);
  snprintf(what, sizeof what, *begin == '\0' ? "column '%.100s' is empty%.0s" : "column '%.100s' holds '%.200s', which is no number", c->names[column],
           begin);
  return csv_error(c, row, what);
}

/* ---- names and rows ------------------------------------------------------------------------ */

/* Goes past lines with nothing in them; false at the end. */
static bool next_row(const Csv *c, size_t *at) {
  while (*at < c->n && (c->text[*at] == '\n' || c->text[*at] == '\r')) {
    (*at)++;
  }
  return *at < c->n;
}

static dhc_status take_name(Csv *c, const CsvCell *cell) {
  char *name = malloc(cell->n + 1);
  if (name == NULL) {
    return no_memory((int64_t)cell->n);
  }
  csv_text(cell, name, cell->n + 1);
  memmove(name, name + strspn(name, " "), strlen(name + strspn(name, " ")) + 1);
  name[strcspn(name, " ")] = '\0';
  int i = c->columns++;
  c->names[i] = name;
  c->target = strcmp(name, "target") == 0 ? i : c->target;
  c->words = strcmp(name, "text") == 0 ? i : c->words;
  return dhc_status_ok();
}

static dhc_status check_names(const Csv *c, size_t row) {
  for (int i = 1; i < c->columns; i++) {
    for (int k = 0; k < i; k++) {
      if (strcmp(c->names[i], c->names[k]) == 0) {
        char text[300];
        snprintf(text, sizeof text, "column '%.200s' is there twice", c->names[i]);
        return csv_error(c, row, text);
      }
    }
  }
  return dhc_status_ok();
}

static dhc_status take_names(Csv *c, size_t *at) {
  size_t row = *at;
  c->names = calloc(CSV_MAX_COLUMNS, sizeof *c->names);
  if (c->names == NULL) {
    return no_memory(CSV_MAX_COLUMNS);
  }
  for (CsvCell cell = {.last = false}; !cell.last;) {
    if (c->columns == CSV_MAX_COLUMNS) {
      return csv_error(c, *at, "has more than 4096 columns");
    }
    const char *wrong = csv_cell(c, at, &cell);
    if (wrong != NULL) {
      return csv_error(c, *at, wrong);
    }
    DHC_TRY(take_name(c, &cell));
  }
  return check_names(c, row);
}

static dhc_status keep_row(Csv *c, size_t row, int64_t max_bytes) {
  if (c->rows / CSV_STEP == c->room) {
    int64_t room = c->room > 0 ? 2 * c->room : 8;
    if (max_bytes > 0 && room > max_bytes / (int64_t)sizeof *c->row) {
      return dhc_status_file(c->path, "has more lines than the memory limit (--max-memory) has room for");
    }
    size_t *rows = realloc(c->row, (size_t)room * sizeof *rows);
    if (rows == NULL) {
      return no_memory(room * (int64_t)sizeof *rows);
    }
    c->row = rows;
    c->room = room;
  }
  c->row[c->rows / CSV_STEP] = row;
  return dhc_status_ok();
}

static dhc_status take_rows(Csv *c, size_t at, int64_t max_bytes) {
  while (next_row(c, &at)) {
    size_t row = at;
    int cells = 0;
    if (c->rows % LOOK_STEP == 0) {
      DHC_TRY(dhc_data_stopped());
    }
    for (CsvCell cell = {.last = false}; !cell.last; cells++) {
      const char *wrong = csv_cell(c, &at, &cell);
      if (wrong != NULL) {
        return csv_error(c, at, wrong);
      }
    }
    if (cells != c->columns) {
      char text[80];
      snprintf(text, sizeof text, "has %d cells, the line of names %d", cells, c->columns);
      return csv_error(c, row, text);
    }
    if (c->rows % CSV_STEP == 0) {
      DHC_TRY(keep_row(c, row, max_bytes));
    }
    c->rows++;
  }
  return dhc_status_ok();
}

size_t csv_row_behind(const Csv *c, size_t row) {
  const char *begin = c->text + row, *end = memchr(begin, '\n', c->n - row);
  size_t n = end != NULL ? (size_t)(end - begin) : 0;
  if (end != NULL && memchr(begin, '"', n) == NULL && (n == 0 || memchr(begin, '\r', n - 1) == NULL)) {
    row += n + 1; /* most rows: nothing in them hides their end */
    return next_row(c, &row) ? row : c->n;
  }
  for (CsvCell cell = {.last = false}; !cell.last;) {
    if (csv_cell(c, &row, &cell) != NULL) { /* the file was another one when it was opened */
      return c->n;
    }
  }
  return next_row(c, &row) ? row : c->n;
}

size_t csv_row(const Csv *c, int64_t row) {
  size_t at = c->row[row / CSV_STEP];
  for (int64_t i = row % CSV_STEP; i > 0; i--) {
    at = csv_row_behind(c, at);
  }
  return at;
}

/* ---- opening ----------------------------------------------------------------------------- */

static dhc_status inflate_all(Csv *c, DhcSource *s, int64_t max_bytes) {
  size_t room = 4 * s->map.n_bytes + 64, got = 0;
  for (;;) {
    char *grown = realloc(c->inflated, room);
    if (grown == NULL) {
      return no_memory((int64_t)room);
    }
    c->inflated = grown;
    DHC_TRY(dhc_source_read(s, (uint8_t *)c->inflated + c->n, room - c->n, &got));
    c->n += got;
    if (max_bytes > 0 && (int64_t)c->n > max_bytes) {
      return dhc_status_file(c->path, "is larger than the memory limit (--max-memory); unpacked it is read where it lies");
    }
    if (c->n < room) {
      return dhc_status_ok();
    }
    room *= 2;
  }
}

static dhc_status open_text(Csv *c, int64_t max_bytes) {
  DhcSource s;
  DHC_TRY(dhc_source_open(&s, c->path));
  dhc_status st = dhc_status_ok();
  if (s.gzip) {
    st = inflate_all(c, &s, max_bytes);
    c->text = c->inflated;
  } else {
    c->map = s.map;
    s.map = (DhcMapping){NULL, 0};
    c->text = c->map.bytes != NULL ? (const char *)c->map.bytes : "";
    c->n = c->map.n_bytes;
  }
  dhc_source_close(&s);
  return st;
}

dhc_status csv_open(Csv *c, const char *path, const DhcDataOptions *options) {
  *c = (Csv){.path = strdup(path), .plain = newlocale(LC_ALL_MASK, "C", (locale_t)0), .target = -1, .words = -1};
  if (c->path == NULL || c->plain == (locale_t)0) {
    return no_memory(64);
  }
  DHC_TRY(open_text(c, options->max_bytes));
  size_t at = c->n >= 3 && memcmp(c->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* a byte order mark */
  const char *end = memchr(c->text + at, '\n', c->n - at);
  size_t names = end != NULL ? (size_t)(end - c->text) - at : c->n - at;
  c->separator = memchr(c->text + at, '\t', names) != NULL ? '\t' : ',';
  if (next_row(c, &at)) {
    DHC_TRY(take_names(c, &at));
    DHC_TRY(take_rows(c, at, options->max_bytes));
  }
  return c->rows > 0 ? dhc_status_ok() : dhc_status_file(c->path, "has no examples: a line of names and a line for each");
}

void csv_close(Csv *c) {
  if (c->plain != (locale_t)0) {
    freelocale(c->plain);
  }
  for (int i = 0; i < c->columns; i++) {
    free(c->names[i]);
  }
  free(c->names);
  free(c->inflated);
  dhc_map_close(&c->map);
  free(c->row);
  free(c->path);
  *c = (Csv){.columns = 0};
}
