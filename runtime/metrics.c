#include "runtime/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/io.h"
#include "runtime/number.h"
#include "runtime/tensor.h"

enum { MAX_COLUMNS = 4096, MAX_NAME = 256 };

/* A line that grows; `full`: memory ran out, the line is not whole. */
typedef struct Line {
  char *text;
  size_t n, room;
  bool full;
} Line;

struct DhcMetrics {
  int csv_fd, jsonl_fd; /* -1: not written */
  char *csv_path, *jsonl_path;
  int32_t n_columns, n_lists;
  char **columns;
  Line line; /* the one being written, kept for its memory */
};

static void add(Line *line, const char *text) {
  size_t n = strlen(text);
  if (n >= line->room - line->n) {
    size_t room = 2 * line->room + n + 256;
    char *more = realloc(line->text, room);
    if (more == NULL) {
      line->full = true;
      return;
    }
    line->text = more;
    line->room = room;
  }
  memcpy(line->text + line->n, text, n + 1);
  line->n += n;
}

/* Nine digits bring every f32 back. */
static void add_number(Line *line, double v, const char *not_finite) {
  char text[DHC_NUMBER_CHARS];
  dhc_number_text(v, 9, 9, text);
  add(line, isfinite(v) ? text : not_finite);
}

static dhc_status write_line(int fd, const char *path, const Line *line) {
  if (line->full) {
    return dhc_status_memory((long long)line->room, path);
  }
  for (size_t at = 0; at < line->n;) {
    ssize_t n = write(fd, line->text + at, line->n - at);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return dhc_status_errno(n < 0 ? errno : EIO, "%s", path);
    }
    at += (size_t)n;
  }
  return dhc_status_ok();
}

static void csv_header(const DhcMetrics *m, Line *line) {
  line->n = 0;
  line->full = false;
  for (int32_t i = 0; i < m->n_columns; i++) {
    add(line, i > 0 ? "," : "");
    add(line, m->columns[i]);
  }
  add(line, "\n");
}

static dhc_status open_one(const char *path, bool append, char **path_copy, int *fd) {
  *path_copy = strdup(path);
  if (*path_copy == NULL) {
    return dhc_status_memory((long long)strlen(path), "a path");
  }
  /* O_NONBLOCK: a pipe of that name must not be waited for. */
  int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  struct stat st;
  do {
    *fd = open(path, flags | (append ? 0 : O_TRUNC), 0666);
  } while (*fd < 0 && errno == EINTR);
  *fd = dhc_fd_above_standard(*fd);
  if (*fd < 0 || fstat(*fd, &st) != 0) {
    return dhc_status_errno(errno, "%s", path);
  }
  return S_ISREG(st.st_mode)
             ? dhc_status_ok()
             : dhc_status_make(DHC_E_ENVIRONMENT, "%s: exists and is no regular file", path);
}

/* Writes the header into an empty file, checks it in any other. */
static dhc_status begin_csv(DhcMetrics *m) {
  csv_header(m, &m->line);
  if (m->line.full) {
    return dhc_status_memory((long long)m->line.room, m->csv_path);
  }
  if (lseek(m->csv_fd, 0, SEEK_END) == 0) {
    return write_line(m->csv_fd, m->csv_path, &m->line);
  }
  DhcMapping map;
  DHC_TRY(dhc_map_open(m->csv_path, &map));
  bool same = map.n_bytes >= m->line.n && memcmp(map.bytes, m->line.text, m->line.n) == 0;
  bool cut = map.n_bytes < m->line.n && memcmp(map.bytes, m->line.text, map.n_bytes) == 0;
  dhc_map_close(&map);
  if (cut) { /* the header of a run that was killed at once */
    if (ftruncate(m->csv_fd, 0) != 0) {
      return dhc_status_errno(errno, "%s", m->csv_path);
    }
    return write_line(m->csv_fd, m->csv_path, &m->line);
  }
  return same ? dhc_status_ok()
              : dhc_status_file(m->csv_path, "has other columns, cannot go on with it");
}

static dhc_status set_columns(DhcMetrics *m, const char *const *columns, int32_t n, int32_t n_lists) {
  if (n < 1 || n > MAX_COLUMNS) {
    return dhc_status_make(DHC_E_USAGE, "metrics: needs 1 to %d columns, got %d", MAX_COLUMNS,
                           (int)n);
  }
  m->columns = calloc((size_t)n, sizeof *m->columns);
  if (m->columns == NULL) {
    return dhc_status_memory((long long)n * (long long)sizeof *m->columns, "metrics");
  }
  m->n_columns = n;
  m->n_lists = n_lists;
  for (int32_t i = 0; i < n; i++) {
    size_t length = strlen(columns[i]);
    if (length == 0 || length >= MAX_NAME || strpbrk(columns[i], "\",\\\r\n\t") != NULL) {
      return dhc_status_make(DHC_E_USAGE, "metrics: column name '%s' is not allowed", columns[i]);
    }
    m->columns[i] = strdup(columns[i]);
    if (m->columns[i] == NULL) {
      return dhc_status_memory((long long)length, "metrics");
    }
  }
  return dhc_status_ok();
}

dhc_status dhc_metrics_open(const char *csv_path, const char *jsonl_path,
                            const char *const *columns, int32_t n_columns, int32_t n_lists,
                            bool append, DhcMetrics **out) {
  DhcMetrics *m = calloc(1, sizeof *m);
  if (m == NULL) {
    return dhc_status_memory((long long)sizeof *m, "metrics");
  }
  m->csv_fd = m->jsonl_fd = -1;
  dhc_status status = set_columns(m, columns, n_columns, n_lists);
  if (status.code == DHC_OK && csv_path != NULL) {
    status = open_one(csv_path, append, &m->csv_path, &m->csv_fd);
    if (status.code == DHC_OK) {
      status = begin_csv(m);
    }
  }
  if (status.code == DHC_OK && jsonl_path != NULL) {
    status = open_one(jsonl_path, append, &m->jsonl_path, &m->jsonl_fd);
  }
  if (status.code != DHC_OK) {
    dhc_metrics_close(m);
    return status;
  }
  *out = m;
  return status;
}

/* Column i of a row: a number or a list. */
static void add_field(const DhcMetrics *m, Line *line, int32_t i, const double *values,
                      const DhcMetricList *lists, bool json) {
  int32_t first = m->n_columns - m->n_lists;
  const char *not_finite = json ? "null" : "";
  if (i < first) {
    add_number(line, values[i], not_finite);
    return;
  }
  const DhcMetricList *list = &lists[i - first];
  add(line, json ? "[" : "");
  for (int64_t k = 0; k < list->n; k++) {
    add(line, k == 0 ? "" : json ? "," : " ");
    add_number(line, list->at[k], json ? "null" : "nan"); /* an empty word would be no word */
  }
  add(line, json ? "]" : "");
}

dhc_status dhc_metrics_row(DhcMetrics *m, const double *values, const DhcMetricList *lists) {
  Line *line = &m->line;
  if (m->csv_fd >= 0) {
    line->n = 0;
    line->full = false;
    for (int32_t i = 0; i < m->n_columns; i++) {
      add(line, i > 0 ? "," : "");
      add_field(m, line, i, values, lists, false);
    }
    add(line, "\n");
    DHC_TRY(write_line(m->csv_fd, m->csv_path, line));
  }
  if (m->jsonl_fd >= 0) {
    line->n = 0;
    line->full = false;
    for (int32_t i = 0; i < m->n_columns; i++) {
      add(line, i > 0 ? ",\"" : "{\"");
      add(line, m->columns[i]);
      add(line, "\":");
      add_field(m, line, i, values, lists, true);
    }
    add(line, "}\n");
    DHC_TRY(write_line(m->jsonl_fd, m->jsonl_path, line));
  }
  return dhc_status_ok();
}

/* Cuts a file behind its first n_rows whole lines after `header` bytes; *n_kept: how many it had. */
static dhc_status keep_rows(int fd, const char *path, size_t header, int64_t n_rows, int64_t *n_kept) {
  DhcMapping map;
  DHC_TRY(dhc_map_open(path, &map));
  size_t at = header;
  *n_kept = 0;
  while (*n_kept < n_rows && at < map.n_bytes) {
    const uint8_t *end = memchr(map.bytes + at, '\n', map.n_bytes - at);
    if (end == NULL) {
      break;
    }
    at = (size_t)(end - map.bytes) + 1;
    ++*n_kept;
  }
  bool shorter = at < map.n_bytes;
  dhc_map_close(&map);
  if (shorter && ftruncate(fd, (off_t)at) != 0) {
    return dhc_status_errno(errno, "%s", path);
  }
  return dhc_status_ok();
}

dhc_status dhc_metrics_keep(DhcMetrics *m, int64_t n_rows, int64_t *n_kept) {
  int64_t n;
  *n_kept = n_rows;
  if (m->csv_fd >= 0) {
    csv_header(m, &m->line);
    if (m->line.full) {
      return dhc_status_memory((long long)m->line.room, m->csv_path);
    }
    DHC_TRY(keep_rows(m->csv_fd, m->csv_path, m->line.n, n_rows, &n));
    *n_kept = n < *n_kept ? n : *n_kept;
  }
  if (m->jsonl_fd >= 0) {
    DHC_TRY(keep_rows(m->jsonl_fd, m->jsonl_path, 0, n_rows, &n));
    *n_kept = n < *n_kept ? n : *n_kept;
  }
  return dhc_status_ok();
}

dhc_status dhc_metrics_last(const DhcMetrics *m, int32_t i, double *out) {
  DhcMapping map;
  *out = NAN;
  if (m->csv_fd < 0) {
    return dhc_status_ok();
  }
  DHC_TRY(dhc_map_open(m->csv_path, &map));
  size_t end = map.n_bytes;
  while (end > 0 && map.bytes[end - 1] == '\n') {
    end--;
  }
  size_t at = end;
  while (at > 0 && map.bytes[at - 1] != '\n') {
    at--;
  }
  if (at > 0) { /* else it is the header */
    char text[DHC_NUMBER_CHARS] = "", *stop;
    for (; i > 0 && at < end; at++) {
      i -= map.bytes[at] == ',';
    }
    for (size_t n = 0; at < end && map.bytes[at] != ',' && n + 1 < sizeof text; at++) {
      text[n++] = (char)map.bytes[at];
      text[n] = '\0';
    }
    double v = strtod(text, &stop);
    *out = stop > text && *stop == '\0' ? v : NAN;
  }
  dhc_map_close(&map);
  return dhc_status_ok();
}

dhc_status dhc_metrics_sync(DhcMetrics *m) {
  const int fd[] = {m->csv_fd, m->jsonl_fd};
  const char *const path[] = {m->csv_path, m->jsonl_path};
  for (int i = 0; i < 2; i++) {
    int r = 0;
    do {
      r = fd[i] >= 0 ? fsync(fd[i]) : 0;
    } while (r != 0 && errno == EINTR);
    if (r != 0 && errno != EINVAL && errno != ENOTSUP) {
      return dhc_status_errno(errno, "%s", path[i]);
    }
  }
  return dhc_status_ok();
}

void dhc_metrics_close(DhcMetrics *m) {
  if (m == NULL) {
    return;
  }
  if (m->csv_fd >= 0) {
    close(m->csv_fd);
  }
  if (m->jsonl_fd >= 0) {
    close(m->jsonl_fd);
  }
  for (int32_t i = 0; m->columns != NULL && i < m->n_columns; i++) {
    free(m->columns[i]);
  }
  free(m->columns);
  free(m->line.text);
  free(m->csv_path);
  free(m->jsonl_path);
  free(m);
}
