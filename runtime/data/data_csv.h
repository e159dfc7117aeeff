/* CSV files as they lie: cells of a text that is not changed, whatever its size. */
#ifndef DHC_RUNTIME_DATA_CSV_H
#define DHC_RUNTIME_DATA_CSV_H

#include <locale.h>
#include <stdlib.h>

#include "runtime/data/data_internal.h"

enum { CSV_MAX_COLUMNS = 4096, CSV_STEP = 4 };

typedef struct Csv {
  char *path;
  DhcMapping map;
  char *inflated;   /* of a gzip file, which is not read from the middle */
  const char *text; /* map's or inflated */
  size_t n;
  char separator;
  locale_t plain; /* numbers have a point, whatever the user's locale */
  char **names;
  int columns, target, words; /* target, words: -1: none; words: the column "text" */
  size_t *row; /* where every CSV_STEP-th begins */
  int64_t rows, room;
} Csv;

/* Between quotes, if there are some; each quote in it is doubled. */
typedef struct CsvCell {
  const char *text;
  size_t n;
  bool quoted;
  bool last; /* of its row */
} CsvCell;

/* Names and where the rows are, each of which has a cell for each name. The index counts against options->max_bytes. */
dhc_status csv_open(Csv *c, const char *path, const DhcDataOptions *options) DHC_MUST_USE;
void csv_close(Csv *c);
/* Where a row begins, or where another one ends. */
size_t csv_row(const Csv *c, int64_t row);
size_t csv_row_behind(const Csv *c, size_t row);
/* The cell at *at, which moves on to the next, or to the next row behind a row's last. NULL, or what is wrong at *at. (A dhc_status is
 * large: cells are many.) */
const char *csv_cell(const Csv *c, size_t *at, CsvCell *out) DHC_MUST_USE;
/* An error in the line of a place in the text. */
dhc_status csv_error(const Csv *c, size_t at, const char *what);
bool csv_number(const Csv *c, const CsvCell *cell, float *out) DHC_MUST_USE;
/* What is wrong with a column's cell that is none; `row` is where it begins. */
dhc_status csv_no_number(const Csv *c, size_t row, int column, const CsvCell *cell) DHC_MUST_USE;
/* The text of a cell, as much of it as fits, with a zero behind it; returns how long it is without. */
size_t csv_text(const CsvCell *cell, char *to, size_t room);

#endif
