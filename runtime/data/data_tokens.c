/* Files of tokens for next-token prediction: .npy of whole numbers, or the bare u16 that tokenisers write. One long
 * row is cut into windows side by side, as a text is; the rows of a matrix are examples by themselves. */
#include <stdlib.h>
#include <string.h>

#include "runtime/data/data_internal.h"

enum { DEFAULT_LENGTH = 256, MAX_LENGTH = 1 << 20 };

/* Windows of `length` tokens and the one behind, `step` apart. */
typedef struct Rows {
  const uint8_t *data;
  int32_t dtype;
  int64_t n, length, step;
} Rows;

static dhc_status whole_numbers(const char *path, int32_t dtype) {
  bool fits = dtype < DHC_N_DTYPES && !dhc_tensor_dtype_is_float(dtype) && dtype != DHC_BOOL;
  return fits ? dhc_status_ok() : dhc_status_file(path, "holds %s; tokens are i8, u8, i16, u16, i32, u32 or i64", dhc_tensor_dtype_name(dtype));
}

static dhc_status rows_of(const char *path, const DhcTensorView *v, int64_t length, bool given, Rows *r) {
  *r = (Rows){.data = v->data, .dtype = v->dtype, .length = length, .step = length};
  DHC_TRY(whole_numbers(path, v->dtype));
  if (v->rank == 2) {
    if (given) {
      return dhc_status_file(path, "is a matrix, whose rows are the examples: no @LENGTH");
    }
    r->n = v->shape[0];
    r->step = v->shape[1];
    r->length = r->step - 1;
    return r->length >= 1 && r->length <= MAX_LENGTH ? dhc_status_ok()
                                                     : dhc_status_file(path, "rows of %lld tokens: needs 2 to %d", (long long)r->step, MAX_LENGTH + 1);
  }
  if (v->rank != 1) {
    return dhc_status_file(path, "has %d dimensions, tokens have 1, or 2 for examples by row", (int)v->rank);
  }
  if (v->shape[0] <= length) {
    return dhc_status_file(path, "%lld tokens are too few for a window of %lld and the token after it", (long long)v->shape[0], (long long)length);
  }
  r->n = (v->shape[0] - 1) / length;
  return dhc_status_ok();
}

static dhc_status cut(DhcDataOwner *o, const char *spec, const DhcDataOptions *options, const Rows *r, DataRange range) {
  int64_t size = dhc_tensor_dtype_bytes(r->dtype), bytes = r->length * size, n = range.end - range.begin;
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
    const uint8_t *row = r->data + (range.begin + i) * r->step * size;
    memcpy((uint8_t *)tokens + i * bytes, row, (size_t)bytes);
    memcpy((uint8_t *)target + i * bytes, row + size, (size_t)bytes);
  }
  dhc_data_add(o, "target", r->dtype, 1, &r->length, target);
  dhc_data_add(o, "tokens", r->dtype, 1, &r->length, tokens);
  o->n_examples = n;
  return status;
}

/* A file is npy where it says so; else u16, little endian. */
static dhc_status read_file(DhcDataOwner *o, const char *file, DhcTensorView *v) {
  DhcMapping *map = &o->maps[0].map;
  DHC_TRY(dhc_map_open(file, map));
  if (map->n_bytes >= 6 && memcmp(map->bytes, "\x93NUMPY", 6) == 0) {
    dhc_map_close(map);
    DHC_TRY(dhc_npy_open(file, &o->maps[0]));
    *v = o->maps[0].view;
    return dhc_status_ok();
  }
  if (map->n_bytes == 0 || map->n_bytes % 2 != 0) {
    return map->n_bytes == 0 ? dhc_status_file(file, "is empty") : dhc_status_file(file, "%zu bytes are no .npy and no u16 tokens", map->n_bytes);
  }
  *v = (DhcTensorView){.dtype = DHC_U16, .rank = 1, .shape = {(int64_t)(map->n_bytes / 2)}, .bytes = (int64_t)map->n_bytes, .data = map->bytes};
  return dhc_status_ok();
}

dhc_status dhc_data_open_tokens(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split, const DhcDataOptions *options) {
  int64_t length;
  bool given;
  char *file = dhc_data_split_length(path, DEFAULT_LENGTH, &length, &given);
  DhcTensorView v = {0};
  Rows rows;
  DataRange range;
  if (file == NULL) {
    return dhc_status_memory(64, "a path");
  }
  dhc_status status = length >= 1 && length <= MAX_LENGTH
                          ? read_file(o, file, &v)
                          : dhc_status_make(DHC_E_USAGE, "data '%s': the length of a window must be 1 to %d", spec, MAX_LENGTH);
  if (status.code == DHC_OK) {
    status = rows_of(file, &v, length, given, &rows);
  }
  if (status.code == DHC_OK) {
    status = dhc_data_range(spec, split, false, options->n_val, rows.n, &range);
  }
  if (status.code == DHC_OK) {
    status = cut(o, spec, options, &rows, range);
  }
  free(file);
  return status;
}
