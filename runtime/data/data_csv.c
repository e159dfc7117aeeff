/* Columns of numbers with a line of names above them, commas or tabs between (RFC 4180): each by its name, f32, all but the target together
 * as "x", and "target": labels where it holds whole numbers or text, else f32. A column called "text" is "tokens": its bytes, as many as
 * FILE@LENGTH says, zeros behind a shorter one; "length": how many they are. */
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/data/data_internal.h"

enum { MAX_COLUMNS = 4096, BY_NAME = 12 }; /* columns that are fields by themselves: a loss takes few fields */

typedef struct Csv {
  const char *path;
  char *text; /* the file, cut into cells where they stand */
  size_t n;
  char separator;
  locale_t plain; /* numbers have a point, whatever the user's locale */
  char **names;
  int columns, target, words; /* -1: none; words: the column "text" */
  char **cells;        /* of all rows, one after the other */
  int64_t *lines;      /* of each row */
  int64_t rows, room;
} Csv;

static void csv_free(Csv *c) {
  if (c->plain != (locale_t)0) {
    freelocale(c->plain);
  }
  free(c->text);
  free(c->names);
  free(c->cells);
  free(c->lines);
}

static dhc_status no_memory(int64_t bytes) {
  return dhc_status_memory((long long)bytes, "a table");
}

static dhc_status read_file(Csv *c, const char *path, int64_t max_bytes) {
  DhcSource s;
  DHC_TRY(dhc_source_open(&s, path));
  size_t room = (s.gzip ? 4 * s.map.n_bytes : s.map.n_bytes) + 64, got = 0;
  dhc_status st = dhc_status_ok();
  for (;;) {
    char *grown = realloc(c->text, room + 1);
    if (grown == NULL) {
      st = no_memory((int64_t)room);
      break;
    }
    c->text = grown;
    st = dhc_source_read(&s, (uint8_t *)c->text + c->n, room - c->n, &got);
    c->n += got;
    if (st.code == DHC_OK && max_bytes > 0 && (int64_t)c->n > max_bytes) {
      st = dhc_status_file(path, "is larger than the memory limit (--max-memory)");
    }
    if (st.code != DHC_OK || c->n < room) {
      break;
    }
    room *= 2;
  }
  dhc_source_close(&s);
  if (c->text != NULL) {
    c->text[c->n] = '\0';
  }
  return st;
}

/* ---- cells ------------------------------------------------------------------------------ */

static dhc_status at_line(const Csv *c, int64_t line, const char *what) {
  char place[600];
  snprintf(place, sizeof place, "%s:%lld", c->path, (long long)line);
  return dhc_status_file(place, "%s", what);
}

/* The cells of the next line that is not blank, at most MAX_COLUMNS of them, where they stand; *n 0: the end. */
static dhc_status next_row(Csv *c, size_t *at, int64_t *line, char **cell, int *n, int64_t *first) {
  char *t = c->text;
  *n = 0;
  while (*at < c->n && (t[*at] == '\n' || t[*at] == '\r')) {
    *line += t[(*at)++] == '\n';
  }
  *first = *line;
  if (*at >= c->n) {
    return dhc_status_ok();
  }
  for (;;) {
    if (*n == MAX_COLUMNS) {
      return at_line(c, *line, "has more than 4096 columns");
    }
    char *to = t + *at;
    bool quoted = *at < c->n && t[*at] == '"';
    cell[(*n)++] = to;
    if (quoted) {
      for ((*at)++; *at < c->n && (t[*at] != '"' || t[*at + 1] == '"'); (*at)++) {
        *at += t[*at] == '"';
        *line += t[*at] == '\n';
        *to++ = t[*at];
      }
      if (*at >= c->n) {
        return at_line(c, *first, "a quote is never closed");
      }
      (*at)++;
    } else {
      for (; *at < c->n && t[*at] != c->separator && t[*at] != '\n' && t[*at] != '\r'; (*at)++) {
        *to++ = t[*at];
      }
    }
    char end = *at < c->n ? t[*at] : '\n';
    *to = '\0';
    if (end != c->separator && end != '\n' && end != '\r') {
      return at_line(c, *line, "text behind a closed quote");
    }
    (*at)++;
    if (end != c->separator) {
      *line += end == '\n';
      return dhc_status_ok();
    }
  }
}

static dhc_status take_names(Csv *c, char **cell, int n) {
  c->names = malloc((size_t)n * sizeof *c->names);
  if (c->names == NULL) {
    return no_memory(n);
  }
  memcpy(c->names, cell, (size_t)n * sizeof *c->names);
  c->columns = n;
  for (int i = 0; i < n; i++) {
    char *name = c->names[i] + strspn(c->names[i], " "), text[300];
    name[strcspn(name, " ")] = '\0';
    c->names[i] = name;
    c->target = strcmp(name, "target") == 0 ? i : c->target;
    c->words = strcmp(name, "text") == 0 ? i : c->words;
    for (int k = 0; k < i; k++) {
      if (strcmp(name, c->names[k]) == 0) {
        snprintf(text, sizeof text, "column '%.200s' is there twice", name);
        return at_line(c, 1, text);
      }
    }
  }
  return dhc_status_ok();
}

static dhc_status add_row(Csv *c, char **cell, int n, int64_t line) {
  if (n != c->columns) {
    char text[80];
    snprintf(text, sizeof text, "has %d cells, the line of names %d", n, c->columns);
    return at_line(c, line, text);
  }
  if (c->rows == c->room) {
    int64_t room = c->room > 0 ? 2 * c->room : 256;
    char **cells = realloc(c->cells, (size_t)(room * n) * sizeof *cells);
    c->cells = cells != NULL ? cells : c->cells;
    int64_t *lines = cells != NULL ? realloc(c->lines, (size_t)room * sizeof *lines) : NULL;
    if (lines == NULL) {
      return no_memory(room * n);
    }
    c->lines = lines;
    c->room = room;
  }
  memcpy(c->cells + c->rows * n, cell, (size_t)n * sizeof *cell);
  c->lines[c->rows++] = line;
  return dhc_status_ok();
}

static dhc_status parse(Csv *c) {
  char **cell = malloc(MAX_COLUMNS * sizeof *cell);
  size_t at = c->n >= 3 && memcmp(c->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* a byte order mark */
  int64_t line = 1, first = 1;
  int n = 0;
  dhc_status st = cell != NULL ? dhc_status_ok() : no_memory(MAX_COLUMNS);
  size_t names = strcspn(c->text + at, "\n");
  c->separator = memchr(c->text + at, '\t', names) != NULL ? '\t' : ',';
  c->target = c->words = -1;
  for (bool head = true; st.code == DHC_OK; head = false) {
    st = next_row(c, &at, &line, cell, &n, &first);
    if (st.code != DHC_OK || n == 0) {
      break;
    }
    st = head ? take_names(c, cell, n) : add_row(c, cell, n, first);
  }
  free(cell);
  if (st.code == DHC_OK && c->rows == 0) {
    st = dhc_status_file(c->path, "has no examples: a line of names and a line for each");
  }
  return st;
}

/* ---- values ------------------------------------------------------------------------------ */

static const char *cell_at(const Csv *c, int64_t row, int column) {
  return c->cells[row * c->columns + column];
}

static dhc_status number_at(const Csv *c, int64_t row, int column, float *out) {
  const char *text = cell_at(c, row, column);
  char *end = NULL, what[400];
  text += strspn(text, " ");
  size_t n = strcspn(text, " ");
  *out = strtof_l(text, &end, c->plain);
  if (n > 0 && end == text + n) {
    return dhc_status_ok();
  }
  snprintf(what, sizeof what, n == 0 ? "column '%.100s' is empty%.0s" : "column '%.100s' holds '%.200s', which is no number", c->names[column], text);
  return at_line(c, c->lines[row], what);
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

typedef enum TargetKind { LABELS, NUMBERS, TEXTS } TargetKind;

static TargetKind kind_of_target(const Csv *c) {
  TargetKind kind = LABELS;
  for (int64_t i = 0; i < c->rows; i++) {
    float v;
    if (number_at(c, i, c->target, &v).code != DHC_OK) {
      return TEXTS;
    }
    kind = v >= 0 && v < 1e6F && v == floorf(v) ? kind : NUMBERS;
  }
  return kind;
}

/* The different texts of a table's target, in order, into the owner's classes. */
static dhc_status find_classes(DhcDataOwner *o, const Csv *c) {
  char **all = malloc((size_t)c->rows * sizeof *all);
  if (all == NULL) {
    return no_memory(c->rows);
  }
  for (int64_t i = 0; i < c->rows; i++) {
    all[i] = c->cells[i * c->columns + c->target];
  }
  qsort(all, (size_t)c->rows, sizeof *all, by_text);
  int64_t n = 0;
  for (int64_t i = 0; i < c->rows; i++) {
    if (n == 0 || strcmp(all[n - 1], all[i]) != 0) {
      all[n++] = all[i];
    }
  }
  o->classes = calloc((size_t)n, sizeof *o->classes);
  bool ok = o->classes != NULL;
  o->n_classes = ok ? n : 0;
  for (int64_t i = 0; ok && i < n; i++) {
    ok = (o->classes[i] = strdup(all[i])) != NULL;
  }
  free(all);
  return ok ? dhc_status_ok() : no_memory(n);
}

static dhc_status class_at(const DhcDataOwner *o, const Csv *c, int64_t row, int64_t *out) {
  const char *text = cell_at(c, row, c->target);
  char **found = bsearch(&text, o->classes, (size_t)o->n_classes, sizeof *o->classes, by_text);
  if (found == NULL) {
    char what[300];
    snprintf(what, sizeof what, "'%.200s' is a class that the training examples lack", text);
    return at_line(c, c->lines[row], what);
  }
  *out = found - o->classes;
  return dhc_status_ok();
}

/* ---- fields ------------------------------------------------------------------------------ */

typedef struct Take {
  DhcDataOwner *o;
  const Csv *c;
  const char *spec;
  const DhcDataOptions *options;
  const int64_t *order; /* rows of the examples */
  int64_t length;       /* tokens of an example */
} Take;

static dhc_status add_target(const Take *t, TargetKind kind) {
  void *block = NULL;
  DHC_TRY(dhc_data_block(t->spec, t->options, t->o->n_examples, kind == NUMBERS ? 4 : 8, &block));
  dhc_data_add(t->o, "target", kind == NUMBERS ? DHC_F32 : DHC_I64, 0, NULL, block);
  for (int64_t i = 0; i < t->o->n_examples; i++) {
    float v = 0;
    if (kind == TEXTS) {
      DHC_TRY(class_at(t->o, t->c, t->order[i], (int64_t *)block + i));
      continue;
    }
    DHC_TRY(number_at(t->c, t->order[i], t->c->target, &v));
    if (kind == NUMBERS) {
      ((float *)block)[i] = v;
    } else {
      ((int64_t *)block)[i] = (int64_t)v;
      t->o->n_classes = (int64_t)v >= t->o->n_classes ? (int64_t)v + 1 : t->o->n_classes;
    }
  }
  return dhc_status_ok();
}

/* Bytes of the column "text". */
static dhc_status add_words(const Take *t) {
  void *tokens = NULL, *length = NULL;
  DHC_TRY(dhc_data_block(t->spec, t->options, t->o->n_examples, t->length, &tokens));
  dhc_data_add(t->o, "tokens", DHC_U8, 1, &t->length, tokens);
  DHC_TRY(dhc_data_block(t->spec, t->options, t->o->n_examples, 8, &length));
  dhc_data_add(t->o, "length", DHC_I64, 0, NULL, length);
  for (int64_t i = 0; i < t->o->n_examples; i++) {
    const char *text = cell_at(t->c, t->order[i], t->c->words);
    int64_t n = (int64_t)strnlen(text, (size_t)t->length);
    uint8_t *row = (uint8_t *)tokens + i * t->length;
    memcpy(row, text, (size_t)n);
    memset(row + n, 0, (size_t)(t->length - n));
    ((int64_t *)length)[i] = n;
  }
  return dhc_status_ok();
}

/* All numbers together, and where they are few each column by itself. */
static dhc_status add_numbers(const Take *t) {
  const Csv *c = t->c;
  int64_t width = c->columns - (c->target >= 0) - (c->words >= 0);
  void *all = NULL;
  bool has_x = false, by_name = width <= BY_NAME;
  for (int k = 0; k < c->columns; k++) {
    has_x = has_x || strcmp(c->names[k], "x") == 0;
  }
  if (width == 0 && c->words >= 0) {
    return dhc_status_ok();
  }
  if (width == 0) {
    return dhc_status_file(c->path, "has no column beside 'target'");
  }
  DHC_TRY(dhc_data_block(t->spec, t->options, t->o->n_examples, 4 * width, &all));
  if (!has_x) {
    dhc_data_add(t->o, "x", DHC_F32, 1, &width, all);
  } else {
    t->o->text = all; /* freed with the rest */
    t->o->text_bytes = 4 * width * t->o->n_examples;
    by_name = true;
  }
  if (has_x && width > BY_NAME) {
    return dhc_status_file(c->path, "has a column 'x', which is also what all %lld together are called; rename it", (long long)width);
  }
  for (int k = 0, at = 0; k < c->columns; k++) {
    void *column = NULL;
    if (k == c->target || k == c->words) {
      continue;
    }
    if (by_name) {
      DHC_TRY(dhc_data_block(t->spec, t->options, t->o->n_examples, 4, &column));
      char *name = strdup(c->names[k]);
      t->o->names[t->o->n_fields] = name;
      dhc_data_add(t->o, name != NULL ? name : "", DHC_F32, 0, NULL, column);
      if (name == NULL) {
        return no_memory(64);
      }
    }
    for (int64_t i = 0; i < t->o->n_examples; i++) {
      float v = 0;
      DHC_TRY(number_at(c, t->order[i], k, &v));
      ((float *)all)[i * width + at] = v;
      if (column != NULL) {
        ((float *)column)[i] = v;
      }
    }
    at++;
  }
  return dhc_status_ok();
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const DhcField *)a)->name, ((const DhcField *)b)->name);
}

static dhc_status take(Take *t, const Csv *train, DhcSplit split, bool own_val) {
  DataRange range = {0, 0};
  bool mixed = split != DHC_SPLIT_TEST && !(split == DHC_SPLIT_VAL && own_val);
  DHC_TRY(dhc_data_range(t->spec, split, own_val, t->options->n_val, t->c->rows, &range));
  t->o->n_examples = range.end - range.begin;
  int64_t *order = malloc((size_t)t->c->rows * sizeof *order);
  if (order == NULL) {
    return no_memory(t->c->rows);
  }
  for (int64_t i = 0; i < t->c->rows; i++) {
    order[i] = i;
  }
  if (mixed) {
    dhc_data_permute(0, 0, t->c->rows, order);
  }
  t->order = order + range.begin;
  dhc_status st = t->c->words >= 0 ? add_words(t) : dhc_status_ok();
  st = st.code == DHC_OK ? add_numbers(t) : st;
  if (st.code == DHC_OK && t->c->target >= 0) {
    TargetKind kind = train->target >= 0 ? kind_of_target(train) : LABELS;
    st = kind == TEXTS ? find_classes(t->o, train) : dhc_status_ok();
    st = st.code == DHC_OK ? add_target(t, kind) : st;
  }
  free(order);
  /* blocks go with the fields' places, which freeing does not look at */
  qsort(t->o->fields, (size_t)t->o->n_fields, sizeof *t->o->fields, by_name);
  return st;
}

static dhc_status open_table(Csv *c, const char *path, const DhcDataOptions *options) {
  c->path = path;
  c->plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  if (c->plain == (locale_t)0) {
    return no_memory(64);
  }
  DHC_TRY(read_file(c, path, options->max_bytes));
  return parse(c);
}

static bool is_there(const char *path) {
  struct stat st;
  return stat(path, &st) == 0;
}

dhc_status dhc_data_open_csv(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split, const DhcDataOptions *options) {
  struct stat s;
  DataWindowSpec window;
  dhc_status st = dhc_data_window(spec, path, &window);
  if (st.code != DHC_OK) {
    return st;
  }
  path = window.file;
  bool folder = stat(path, &s) == 0 && S_ISDIR(s.st_mode);
  size_t room = strlen(path) + 16;
  char *file = malloc(room), *first = malloc(room);
  Csv c = {.target = -1, .words = -1}, train = {.target = -1, .words = -1};
  st = file != NULL && first != NULL ? dhc_status_ok() : no_memory((int64_t)room);
  bool own_val = false, apart = false;
  if (st.code == DHC_OK) {
    snprintf(first, room, folder ? "%s/train.csv" : "%s", path);
    snprintf(file, room, folder ? "%s/val.csv" : "%s", path);
    own_val = folder && is_there(file);
    apart = folder && (split == DHC_SPLIT_TEST || (split == DHC_SPLIT_VAL && own_val));
    if (apart) {
      snprintf(file, room, "%s/%s.csv", path, dhc_split_name(split));
      st = open_table(&c, file, options);
    }
  }
  if (st.code == DHC_OK) {
    st = open_table(&train, first, options);
  }
  if (st.code == DHC_OK) {
    Take t = {.o = o, .c = apart ? &c : &train, .spec = spec, .options = options, .length = window.length};
    if (window.given && t.c->words < 0) {
      st = dhc_status_file(t.c->path, "has no column 'text', of which @LENGTH says how many bytes an example has");
    }
    st = st.code != DHC_OK ? st : take(&t, &train, split, own_val);
  }
  csv_free(&c);
  csv_free(&train);
  free(file);
  free(first);
  free(window.file);
  return st;
}
