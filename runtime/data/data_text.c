/* A text as a data set for next-token prediction: its bytes, cut into windows side by side. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/data_internal.h"

enum { DEFAULT_LENGTH = 256, MAX_LENGTH = 1 << 20, BYTE_VALUES = 256 };

char *dhc_data_split_length(const char *path, int64_t usual, int64_t *length, bool *given) {
  const char *at = strrchr(path, '@');
  size_t digits = at != NULL ? strspn(at + 1, "0123456789") : 0;
  *length = usual;
  *given = digits > 0 && at[1 + digits] == '\0';
  if (!*given) {
    return strdup(path);
  }
  *length = digits <= 9 ? strtoll(at + 1, NULL, 10) : INT64_MAX;
  return strndup(path, (size_t)(at - path));
}

/* The whole file, inflated. *bytes is the caller's, also after an error. */
static dhc_status read_all(const char *path, int64_t max_bytes, uint8_t **bytes, size_t *n) {
  DhcSource s;
  DHC_TRY(dhc_source_open(&s, path));
  size_t room = s.gzip ? 4 * s.map.n_bytes + 64 : s.map.n_bytes + 1, got = 0;
  dhc_status status = dhc_status_ok();
  *n = 0;
  for (;;) {
    uint8_t *grown = realloc(*bytes, room);
    if (grown == NULL) {
      status = dhc_status_memory((long long)room, path);
      break;
    }
    *bytes = grown;
    status = dhc_source_read(&s, *bytes + *n, room - *n, &got);
    *n += got;
    if (status.code != DHC_OK || *n < room) {
      break;
    }
    if (max_bytes > 0 && (int64_t)*n > max_bytes) {
      status = dhc_status_file(path, "inflates to more than the memory limit (--max-memory)");
      break;
    }
    room *= 2;
  }
  dhc_source_close(&s);
  return status;
}

static void widen(int64_t *to, const uint8_t *from, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    to[i] = from[i];
  }
}

/* Windows [range.begin, range.end) of the text become the examples. */
static dhc_status cut(DhcDataOwner *o, const char *spec, const DhcDataOptions *options,
                      const uint8_t *text, int64_t length, DataRange range) {
  void *tokens = NULL, *target = NULL;
  int64_t n = range.end - range.begin, bytes = length * (int64_t)sizeof(int64_t);
  dhc_status status = dhc_data_block(spec, options, n, bytes, &tokens);
  if (status.code == DHC_OK) {
    status = dhc_data_block(spec, options, n, bytes, &target);
  }
  if (status.code != DHC_OK) {
    free(tokens);
    return status;
  }
  widen(tokens, text + range.begin * length, n * length);
  widen(target, text + range.begin * length + 1, n * length);
  dhc_data_add(o, "target", DHC_I64, 1, &length, target);
  dhc_data_add(o, "tokens", DHC_I64, 1, &length, tokens);
  o->n_examples = n;
  o->n_classes = BYTE_VALUES;
  return status;
}

dhc_status dhc_data_open_text(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split,
                              const DhcDataOptions *options) {
  int64_t length;
  bool given;
  char *file = dhc_data_split_length(path, DEFAULT_LENGTH, &length, &given);
  uint8_t *text = NULL;
  size_t n = 0;
  DataRange range = {0, 0};
  if (file == NULL) {
    return dhc_status_memory(64, "a path");
  }
  dhc_status status =
      length >= 1 && length <= MAX_LENGTH
          ? read_all(file, options->max_bytes, &text, &n)
          : dhc_status_make(DHC_E_USAGE, "data '%s': the length of a window must be 1 to %d", spec, MAX_LENGTH);
  if (status.code == DHC_OK && (int64_t)n <= length) {
    status = n == 0 ? dhc_status_file(file, "is empty")
                    : dhc_status_file(file, "%zu bytes are too few for a window of %lld and the byte after it",
                                      n, (long long)length);
  }
  if (status.code == DHC_OK) {
    status = dhc_data_range(spec, split, false, options->n_val, ((int64_t)n - 1) / length, &range);
  }
  if (status.code == DHC_OK) {
    status = cut(o, spec, options, text, length, range);
  }
  free(text);
  free(file);
  return status;
}
