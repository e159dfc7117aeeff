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

dhc_status dhc_data_cut(DhcDataOwner *o, const char *spec, const DhcDataOptions *options, const DataWindows *w, DataRange range) {
  int64_t size = dhc_tensor_dtype_bytes(w->dtype), bytes = w->length * dhc_tensor_dtype_bytes(w->as), n = range.end - range.begin;
  void *tokens = NULL, *target = NULL;
  dhc_status status = dhc_data_block(spec, options, n, bytes, &tokens);
  if (status.code == DHC_OK) {
    status = dhc_data_block(spec, options, n, bytes, &target);
  }
  if (status.code != DHC_OK) {
    free(tokens);
    return status;
  }
  for (int64_t i = 0; i < n; i++) {
    const uint8_t *row = (const uint8_t *)w->data + (range.begin + i) * w->step * size;
    dhc_tensor_convert((uint8_t *)tokens + i * bytes, w->as, row, w->dtype, w->length);
    dhc_tensor_convert((uint8_t *)target + i * bytes, w->as, row + size, w->dtype, w->length);
  }
  dhc_data_add(o, "target", w->as, 1, &w->length, target);
  dhc_data_add(o, "tokens", w->as, 1, &w->length, tokens);
  o->n_examples = n;
  return status;
}
