/* A text as a data set for next-token prediction: its bytes, cut into windows side by side. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/data_internal.h"

enum { BYTE_VALUES = 256 };

/* The whole file, inflated. *bytes is the caller's, also after an error. */
static dhc_status inflate_all(DhcSource *s, const char *path, int64_t max_bytes, uint8_t **bytes, size_t *n) {
  size_t room = 4 * s->map.n_bytes + 64, got = 0;
  dhc_status status = dhc_status_ok();
  *n = 0;
  for (;;) {
    uint8_t *grown = realloc(*bytes, room);
    if (grown == NULL) {
      status = dhc_status_memory((long long)room, path);
      break;
    }
    *bytes = grown;
    status = dhc_source_read(s, *bytes + *n, room - *n, &got);
    *n += got;
    if (status.code == DHC_OK && max_bytes > 0 && (int64_t)*n > max_bytes) {
      status = dhc_status_file(path, "inflates to more than the memory limit (--max-memory)");
    }
    if (status.code != DHC_OK || *n < room) {
      break;
    }
    room *= 2;
  }
  return status;
}

/* The file as it is, mapped, or what it inflates to, in memory. */
static dhc_status open_file(DhcDataOwner *o, const char *path, int64_t max_bytes, const uint8_t **text, size_t *n) {
  DhcSource s;
  DHC_TRY(dhc_source_open(&s, path));
  if (!s.gzip) {
    o->maps[0].map = s.map;
    *text = s.map.bytes;
    *n = s.map.n_bytes;
    return dhc_status_ok();
  }
  uint8_t *bytes = NULL;
  dhc_status status = inflate_all(&s, path, max_bytes, &bytes, n);
  dhc_source_close(&s);
  o->text = bytes;
  o->text_bytes = (int64_t)*n;
  *text = bytes;
  return status;
}

dhc_status dhc_data_open_text(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split,
                              const DhcDataOptions *options) {
  DataWindowSpec window;
  const uint8_t *text = NULL;
  size_t n = 0;
  DataRange range = {0, 0};
  dhc_status status = dhc_data_window(spec, path, &window);
  if (status.code == DHC_OK) {
    status = open_file(o, window.file, options->max_bytes, &text, &n);
  }
  if (status.code == DHC_OK && (int64_t)n <= window.length) {
    status = n == 0 ? dhc_status_file(window.file, "is empty")
                    : dhc_status_file(window.file, "%zu bytes are too few for a window of %lld and the byte after it",
                                      n, (long long)window.length);
  }
  const DataWindows w = {.data = text, .dtype = DHC_U8, .as = DHC_I64, .length = window.length, .step = window.length,
                         .n = status.code == DHC_OK ? ((int64_t)n - 1) / window.length : 0};
  if (status.code == DHC_OK) {
    status = dhc_data_range(spec, split, false, options->n_val, w.n, &range);
  }
  if (status.code == DHC_OK) {
    status = dhc_data_cut(o, &w, range);
    o->n_classes = BYTE_VALUES;
  }
  free(window.file);
  return status;
}
