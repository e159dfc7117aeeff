/* Columns of numbers with a line of names above them, commas or tabs between (RFC 4180): each by its name, f32, all but the target together
 * as "x", and "target": labels where it holds whole numbers or text, else f32. A column called "text" is "tokens": its bytes, as many as
 * FILE@LENGTH says, zeros behind a shorter one; "length": how many they are. Every cell is looked at when the file is opened; rows are read
 * again when they are asked for. */
#include <math.h>
#include <pthread.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/data/data_csv.h"

enum { BY_NAME = 12, MAX_CLASS = 300, LOOK_STEP = 4096 }; /* columns that are fields by themselves: a loss takes few fields; bytes of a class's name */

typedef enum TargetKind { LABELS, NUMBERS, TEXTS } TargetKind;

/* What a data set reads from: rows of a file, in the order of the examples. */
typedef struct Table {
  Csv c;
  int64_t begin;  /* the row of the first example, of rows in order */
  int64_t *mixed; /* else: of each example */
  TargetKind kind;
  char *const *classes; /* the owner's */
  int64_t n_classes;
  int64_t length; /* tokens of an example */
  int32_t x, tokens, n_tokens, target; /* fields; -1: none */
  int32_t *field; /* of each column by its name; -1: none */
} Table;

static dhc_status no_memory(int64_t bytes) {
  return dhc_status_memory((long long)bytes, "a table");
}

static void table_free(void *table) {
  Table *t = table;
  csv_close(&t->c);
  free(t->mixed);
  free(t->field);
  free(t);
}

/* ---- classes ------------------------------------------------------------------------------ */

static int by_text(const void *a, const void *b) {
  return strcmp(a, b);
}

static int by_pointed(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The cell of a column in a row that csv_open has gone through; an empty one where the file has changed since. */
static CsvCell cell_of(const Csv *c, size_t row, int column) {
  CsvCell cell = {.text = ""};
  for (int i = 0; i <= column && csv_cell(c, &row, &cell) == NULL; i++) {
  }
  return cell;
}

static dhc_status add_class(const Csv *c, size_t row, void **tree, int64_t *n, const CsvCell *cell) {
  char *text = malloc(MAX_CLASS);
  if (text == NULL || csv_text(cell, text, MAX_CLASS) == MAX_CLASS - 1) {
    free(text);
    return text == NULL ? no_memory(MAX_CLASS) : csv_error(c, row, "a class in 'target' has a name of 299 bytes or more");
  }
  if (tsearch(text, tree, by_text) == NULL) {
    free(text);
    return no_memory(MAX_CLASS);
  }
  ++*n;
  return dhc_status_ok();
}

/* The different texts of a file's target, in order, into the owner's classes. */
static dhc_status find_classes(DhcDataOwner *o, const Csv *c) {
  void *tree = NULL;
  int64_t n = 0;
  dhc_status st = dhc_status_ok();
  for (size_t row = csv_row(c, 0); row < c->n && st.code == DHC_OK; row = csv_row_behind(c, row)) {
    CsvCell cell = cell_of(c, row, c->target);
    char text[MAX_CLASS];
    csv_text(&cell, text, MAX_CLASS);
    if (tfind(text, &tree, by_text) == NULL) {
      st = add_class(c, row, &tree, &n, &cell);
    }
  }
  char **classes = calloc((size_t)n + 1, sizeof *classes);
  for (int64_t i = 0; tree != NULL; i++) {
    char *text = *(char **)tree;
    tdelete(text, &tree, by_text);
    if (classes != NULL) {
      classes[i] = text;
    } else {
      free(text);
    }
  }
  if (classes == NULL) {
    return no_memory(n);
  }
  qsort(classes, (size_t)n, sizeof *classes, by_pointed);
  o->classes = classes;
  o->n_classes = n;
  return st;
}

static dhc_status unknown_class(const Table *t, size_t row, const char *text) {
  char what[400];
  snprintf(what, sizeof what, "'%.200s' is a class that the training examples lack", text);
  return csv_error(&t->c, row, what);
}

/* ---- reading ------------------------------------------------------------------------------ */

static dhc_status read_class(const Table *t, size_t row, const CsvCell *cell, void *to) {
  char text[MAX_CLASS];
  const char *key = text;
  csv_text(cell, text, MAX_CLASS);
  char *const *found = bsearch(&key, t->classes, (size_t)t->n_classes, sizeof *t->classes, by_pointed);
  int64_t label = found - t->classes;
  if (found != NULL && to != NULL) {
    memcpy(to, &label, sizeof label);
  }
  return found != NULL ? dhc_status_ok() : unknown_class(t, row, text);
}

static void put_target(const Table *t, float v, void *to) {
  int64_t label = (int64_t)v;
  if (to != NULL && t->kind == NUMBERS) {
    memcpy(to, &v, sizeof v);
  } else if (to != NULL) {
    memcpy(to, &label, sizeof label);
  }
}

static void read_words(const Table *t, const CsvCell *cell, uint8_t *tokens, void *length) {
  int64_t n = 0;
  for (size_t i = 0; i < cell->n && n < t->length; i++, n++) {
    i += cell->quoted && cell->text[i] == '"';
    if (tokens != NULL) {
      tokens[n] = (uint8_t)cell->text[i];
    }
  }
  if (tokens != NULL) {
    memset(tokens + n, 0, (size_t)(t->length - n));
  }
  if (length != NULL) {
    memcpy(length, &n, sizeof n);
  }
}

static void *place(void *const *to, int32_t field) {
  return to != NULL && field >= 0 ? to[field] : NULL;
}

/* The row's cells into to[field]; to NULL: a look whether they can be read. */
static dhc_status read_row(const Table *t, size_t row, void *const *to) {
  size_t at = row;
  float *x = place(to, t->x);
  for (int k = 0, n = 0; k < t->c.columns; k++) {
    CsvCell cell;
    float v = 0;
    const char *wrong = csv_cell(&t->c, &at, &cell);
    if (wrong != NULL) {
      return csv_error(&t->c, at, wrong);
    }
    if (k == t->c.words) {
      read_words(t, &cell, place(to, t->tokens), place(to, t->n_tokens));
    } else if (k == t->c.target && t->kind == TEXTS) {
      DHC_TRY(read_class(t, row, &cell, place(to, t->target)));
    } else if (!csv_number(&t->c, &cell, &v)) {
      return csv_no_number(&t->c, row, k, &cell);
    } else if (k == t->c.target) {
      put_target(t, v, place(to, t->target));
    } else {
      float *column = place(to, t->field[k]);
      if (x != NULL) {
        x[n] = v;
      }
      if (column != NULL) {
        *column = v;
      }
      n++;
    }
  }
  return dhc_status_ok();
}

static dhc_status read_one(const void *table, int64_t i, void *const *to) {
  const Table *t = table;
  return read_row(t, csv_row(&t->c, t->mixed != NULL ? t->mixed[i] : t->begin + i), to);
}

/* ---- a look at all cells, by several threads ------------------------------------------------- */

typedef struct Look {
  const Table *t;
  dhc_status (*at)(const Table *t, size_t row, int64_t *found);
  pthread_mutex_t lock;
  int64_t enough, found; /* the largest that `at` gave, or any that is enough */
  int64_t bad;   /* the first row that cannot be read; all: none */
  dhc_status st;
} Look;

static void look_at_some(void *arg, int64_t begin, int64_t end, int worker) {
  Look *look = arg;
  int64_t found = 0, bad = end;
  dhc_status st = dhc_status_ok();
  (void)worker;
  size_t row = csv_row(&look->t->c, begin);
  for (int64_t i = begin; i < end && st.code == DHC_OK && found < look->enough; i++) {
    st = i % LOOK_STEP == 0 ? dhc_data_stopped() : st;
    st = st.code == DHC_OK ? look->at(look->t, row, &found) : st;
    bad = st.code == DHC_OK ? end : i;
    row = csv_row_behind(&look->t->c, row);
  }
  pthread_mutex_lock(&look->lock);
  look->found = found > look->found ? found : look->found;
  if (st.code != DHC_OK && bad < look->bad) {
    look->bad = bad;
    look->st = st;
  }
  pthread_mutex_unlock(&look->lock);
}

static dhc_status look_at_all(Look *look, const dhc_exec *exec) {
  look->bad = look->t->c.rows;
  look->st = dhc_status_ok();
  pthread_mutex_init(&look->lock, NULL);
  if (exec != NULL) {
    exec->parallel_for(exec->ctx, look->t->c.rows, look_at_some, look);
  } else {
    look_at_some(look, 0, look->t->c.rows, 0);
  }
  pthread_mutex_destroy(&look->lock);
  return look->st;
}

/* The kind of a target, the largest of all rows'. */
static dhc_status kind_at(const Table *t, size_t row, int64_t *found) {
  float v;
  CsvCell cell = cell_of(&t->c, row, t->c.target);
  int64_t kind = !csv_number(&t->c, &cell, &v) ? TEXTS : v >= 0 && v < 1e6F && v == floorf(v) ? LABELS : NUMBERS;
  *found = kind > *found ? kind : *found;
  return dhc_status_ok();
}

/* Whether a row can be read; one more than the largest label. */
static dhc_status row_at(const Table *t, size_t row, int64_t *found) {
  void *to[DATA_MAX_FIELDS] = {NULL};
  int64_t label = 0;
  bool labels = t->target >= 0 && t->kind == LABELS;
  if (labels) {
    to[t->target] = &label;
  }
  DHC_TRY(read_row(t, row, to));
  *found = labels && label >= *found ? label + 1 : *found;
  return dhc_status_ok();
}

/* ---- fields ------------------------------------------------------------------------------ */

static int32_t field_called(const DhcDataOwner *o, const char *name) {
  for (int32_t i = 0; i < o->n_fields; i++) {
    if (strcmp(o->fields[i].name, name) == 0) {
      return i;
    }
  }
  return -1;
}

/* All numbers together, and where they are few each column by itself. */
static dhc_status add_numbers(DhcDataOwner *o, const Csv *c) {
  int64_t width = c->columns - (c->target >= 0) - (c->words >= 0);
  bool has_x = false, by_name = width <= BY_NAME;
  for (int k = 0; k < c->columns; k++) {
    has_x = has_x || strcmp(c->names[k], "x") == 0;
  }
  if (width == 0) {
    return c->words >= 0 ? dhc_status_ok() : dhc_status_file(c->path, "has no column beside 'target'");
  }
  if (has_x && width > BY_NAME) {
    return dhc_status_file(c->path, "has a column 'x', which is also what all %lld together are called; rename it", (long long)width);
  }
  if (!has_x) {
    dhc_data_add_read(o, "x", DHC_F32, 1, &width);
  }
  for (int k = 0; k < c->columns && by_name; k++) {
    if (k != c->target && k != c->words) {
      char *name = strdup(c->names[k]);
      o->names[o->n_fields] = name;
      if (name == NULL) {
        return no_memory(64);
      }
      dhc_data_add_read(o, name, DHC_F32, 0, NULL);
    }
  }
  return dhc_status_ok();
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const DhcField *)a)->name, ((const DhcField *)b)->name);
}

static dhc_status add_fields(DhcDataOwner *o, Table *t) {
  const Csv *c = &t->c;
  if (c->words >= 0) {
    dhc_data_add_read(o, "tokens", DHC_U8, 1, &t->length);
    dhc_data_add_read(o, "length", DHC_I64, 0, NULL);
  }
  DHC_TRY(add_numbers(o, c));
  if (c->target >= 0) {
    dhc_data_add_read(o, "target", t->kind == NUMBERS ? DHC_F32 : DHC_I64, 0, NULL);
  }
  /* names go with their places in the owner, which freeing does not look at */
  qsort(o->fields, (size_t)o->n_fields, sizeof *o->fields, by_name);
  t->field = malloc((size_t)c->columns * sizeof *t->field);
  if (t->field == NULL) {
    return no_memory(c->columns);
  }
  for (int k = 0; k < c->columns; k++) {
    t->field[k] = field_called(o, c->names[k]);
  }
  int32_t x = field_called(o, "x");
  t->x = x >= 0 && o->fields[x].rank == 1 ? x : -1;
  t->tokens = c->words >= 0 ? field_called(o, "tokens") : -1;
  t->n_tokens = c->words >= 0 ? field_called(o, "length") : -1;
  t->target = c->target >= 0 ? field_called(o, "target") : -1;
  return dhc_status_ok();
}

/* Which rows the examples are. */
static dhc_status choose(DhcDataOwner *o, const char *spec, Table *t, DataRange range, bool mixed, const DhcDataOptions *options) {
  void *order = NULL;
  o->n_examples = range.end - range.begin;
  t->begin = range.begin;
  o->text_bytes = t->c.room * (int64_t)sizeof *t->c.row + (t->c.inflated != NULL ? (int64_t)t->c.n : 0);
  if (!mixed) {
    return dhc_status_ok();
  }
  DHC_TRY(dhc_data_block(spec, options, t->c.rows, (int64_t)sizeof *t->mixed, &order));
  t->mixed = order;
  dhc_data_permute(0, 0, t->c.rows, t->mixed);
  size_t bytes = (size_t)o->n_examples * sizeof *t->mixed;
  memmove(t->mixed, t->mixed + range.begin, bytes);
  order = realloc(t->mixed, bytes);
  t->mixed = order != NULL ? order : t->mixed;
  o->text_bytes += (int64_t)bytes;
  return dhc_status_ok();
}

/* What the training file says about targets. */
static dhc_status learn_target(DhcDataOwner *o, Table *t, const Table *train, const dhc_exec *exec) {
  if (t->c.target >= 0 && train->c.target >= 0) {
    Look look = {.t = train, .at = kind_at, .enough = TEXTS};
    DHC_TRY(look_at_all(&look, exec));
    t->kind = (TargetKind)look.found;
  }
  if (t->kind == TEXTS) {
    DHC_TRY(find_classes(o, &train->c));
    t->classes = o->classes;
    t->n_classes = o->n_classes;
  }
  return dhc_status_ok();
}

static dhc_status take(DhcDataOwner *o, const char *spec, Table *t, const Table *train, DhcSplit split, bool own_val, const DhcDataOptions *options) {
  DataRange range = {0, 0};
  DHC_TRY(dhc_data_range(spec, split, own_val, options->n_val, t->c.rows, &range));
  DHC_TRY(learn_target(o, t, train, options->exec));
  DHC_TRY(add_fields(o, t));
  Look look = {.t = t, .at = row_at, .enough = INT64_MAX};
  DHC_TRY(look_at_all(&look, options->exec));
  o->n_classes = t->kind == LABELS ? look.found : o->n_classes;
  return choose(o, spec, t, range, split != DHC_SPLIT_TEST && !(split == DHC_SPLIT_VAL && own_val), options);
}

static bool is_there(const char *path) {
  struct stat st;
  return stat(path, &st) == 0;
}

static dhc_status open_tables(DhcDataOwner *o, const char *spec, const DataWindowSpec *window, Table *t, Table *train, DhcSplit split,
                              const DhcDataOptions *options) {
  struct stat s;
  bool folder = stat(window->file, &s) == 0 && S_ISDIR(s.st_mode);
  size_t room = strlen(window->file) + 16;
  char *path = malloc(room);
  if (path == NULL) {
    return no_memory((int64_t)room);
  }
  snprintf(path, room, "%s/val.csv", window->file);
  bool own_val = folder && is_there(path), apart = folder && (split == DHC_SPLIT_TEST || (split == DHC_SPLIT_VAL && own_val));
  dhc_status st = dhc_status_ok();
  if (apart) {
    snprintf(path, room, "%s/%s.csv", window->file, dhc_split_name(split));
    st = csv_open(&t->c, path, options);
  }
  if (st.code == DHC_OK) {
    snprintf(path, room, folder ? "%s/train.csv" : "%s", window->file);
    st = csv_open(apart ? &train->c : &t->c, path, options);
  }
  free(path);
  DHC_TRY(st);
  t->length = window->length;
  if (window->given && t->c.words < 0) {
    return dhc_status_file(t->c.path, "has no column 'text', of which @LENGTH says how many bytes an example has");
  }
  return take(o, spec, t, apart ? train : t, split, own_val, options);
}

dhc_status dhc_data_open_csv(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split, const DhcDataOptions *options) {
  DataWindowSpec window;
  Table *t = calloc(1, sizeof *t), *train = calloc(1, sizeof *train);
  dhc_status st = dhc_data_window(spec, path, &window);
  if (st.code == DHC_OK) {
    st = t != NULL && train != NULL ? open_tables(o, spec, &window, t, train, split, options) : no_memory((int64_t)sizeof *t);
    free(window.file);
  }
  if (train != NULL) {
    table_free(train);
  }
  if (st.code == DHC_OK) {
    o->reader = (DataReader){.ctx = t, .read = read_one, .close = table_free, .dear = true};
  } else if (t != NULL) {
    table_free(t);
  }
  return st;
}
