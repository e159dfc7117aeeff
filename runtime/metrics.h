/* Rows of named numbers and lists of numbers as CSV and as JSON lines, flushed row by
 * row so that a killed run loses none. */
#ifndef DHC_RUNTIME_METRICS_H
#define DHC_RUNTIME_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/status.h"

typedef struct DhcMetrics DhcMetrics;
/* columns name the numbers of every row; the last n_lists of them are lists. csv_path and jsonl_path may be NULL.
 * append: go on with files that are there (a CSV must have the same header). */
dhc_status dhc_metrics_open(const char *csv_path, const char *jsonl_path,
                            const char *const *columns, int32_t n_columns, int32_t n_lists, bool append,
                            DhcMetrics **out) DHC_MUST_USE;
/* For a run that goes on from a checkpoint: removes what comes after the first n_rows rows,
 * also a line that a killed run left unfinished. *n_kept: rows that are there, of the file that
 * has fewer. */
dhc_status dhc_metrics_keep(DhcMetrics *m, int64_t n_rows, int64_t *n_kept) DHC_MUST_USE;
/* The number in column i of the CSV's last row; NaN where there is none. */
dhc_status dhc_metrics_last(const DhcMetrics *m, int32_t i, double *out) DHC_MUST_USE;
/* What has been written is on the disk. */
dhc_status dhc_metrics_sync(DhcMetrics *m) DHC_MUST_USE;
typedef struct DhcMetricList {
  const double *at;
  int64_t n;
} DhcMetricList;
/* One row, in the order of columns: n_columns - n_lists values, then the lists (NULL if
 * there are none). A list is one CSV field, its numbers parted by spaces, and an array in
 * JSON. A NaN is an empty field in CSV and null in
 * JSON; an infinity likewise. Numbers are written with the "C" locale's point,
 * integers below 2^53 without one. */
dhc_status dhc_metrics_row(DhcMetrics *m, const double *values, const DhcMetricList *lists) DHC_MUST_USE;
void dhc_metrics_close(DhcMetrics *m);

#endif
