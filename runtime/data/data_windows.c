/* Windows of tokens as examples for next-token prediction: what texts and files of tokens have in common. */
#include <stdlib.h>
#include <string.h>

#include "runtime/data/data_internal.h"

enum { USUAL_LENGTH = 256 };

dhc_status dhc_data_window(const char *spec, const char *path, DataWindowSpec *out) {
  const char *at = strrchr(path, '@');
  size_t digits = at != NULL ? strspn(at + 1, "0123456789") : 0;
  bool given = digits > 0 && at[1 + digits] == '\0';
  *out = (DataWindowSpec){.length = USUAL_LENGTH, .given = given};
  if (given) {
    out->length = digits <= 9 ? strtoll(at + 1, NULL, 10) : INT64_MAX;
  }
  if (out->length < 1 || out->length > DATA_MAX_WINDOW) {
    return dhc_status_make(DHC_E_USAGE, "data '%s': the length of a window must be 1 to %d", spec, DATA_MAX_WINDOW);
  }
  out->file = given ? strndup(path, (size_t)(at - path)) : strdup(path);
  return out->file != NULL ? dhc_status_ok() : dhc_status_memory(64, "a path");
}

static dhc_status read_window(const void *windows, int64_t i, void *const *to) {
  const DataWindows *w = windows;
  int64_t size = dhc_tensor_dtype_bytes(w->dtype);
  const uint8_t *row = (const uint8_t *)w->data + i * w->step * size;
  if (to[0] != NULL) {
    dhc_tensor_convert(to[0], w->as, row + size, w->dtype, w->length);
  }
  if (to[1] != NULL) {
    dhc_tensor_convert(to[1], w->as, row, w->dtype, w->length);
  }
  return dhc_status_ok();
}

dhc_status dhc_data_cut(DhcDataOwner *o, const DataWindows *w, DataRange range) {
  DataWindows *kept = malloc(sizeof *kept);
  if (kept == NULL) {
    return dhc_status_memory((long long)sizeof *kept, "windows");
  }
  *kept = *w;
  kept->data = (const uint8_t *)w->data + range.begin * w->step * dhc_tensor_dtype_bytes(w->dtype);
  o->reader = (DataReader){.ctx = kept, .read = read_window, .close = free};
  dhc_data_add_read(o, "target", w->as, 1, &w->length);
  dhc_data_add_read(o, "tokens", w->as, 1, &w->length);
  o->n_examples = range.end - range.begin;
  return dhc_status_ok();
}
