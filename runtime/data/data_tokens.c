/* Files of tokens for next-token prediction: .npy of whole numbers, or the bare u16 that tokenisers write. One long
 * row is cut into windows side by side, as a text is; the rows of a matrix are examples by themselves. */
#include <stdlib.h>
#include <string.h>

#include "runtime/data/data_internal.h"

static dhc_status whole_numbers(const char *path, int32_t dtype) {
  bool fits = dtype < DHC_N_DTYPES && !dhc_tensor_dtype_is_float(dtype) && dtype != DHC_BOOL;
  return fits ? dhc_status_ok() : dhc_status_file(path, "holds %s; tokens are i8, u8, i16, u16, i32, u32 or i64", dhc_tensor_dtype_name(dtype));
}

static dhc_status rows_of(const char *path, const DhcTensorView *v, int64_t length, bool given, DataWindows *r) {
  *r = (DataWindows){.data = v->data, .dtype = v->dtype, .as = v->dtype, .length = length, .step = length};
  DHC_TRY(whole_numbers(path, v->dtype));
  if (v->rank == 2) {
    if (given) {
      return dhc_status_file(path, "is a matrix, whose rows are the examples: no @LENGTH");
    }
    r->n = v->shape[0];
    r->step = v->shape[1];
    r->length = r->step - 1;
    return r->length >= 1 && r->length <= DATA_MAX_WINDOW ? dhc_status_ok()
                                                     : dhc_status_file(path, "rows of %lld tokens: needs 2 to %d", (long long)r->step, DATA_MAX_WINDOW + 1);
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

/* A file is npy where it says so; else u16, little endian. */
static dhc_status read_file(DhcDataOwner *o, const char *file, DhcTensorView *v) {
  DhcMapping *map = &o->maps[0].map;
  DHC_TRY(dhc_map_open(file, map));
  if (map->n_bytes >= 6 && memcmp(map->bytes, "\x93NUMPY", 6) == 0) {
    dhc_map_close(map);
    DHC_TRY(dhc_npy_open(file, &o->maps[0]));
    *v = o->maps[0].view;
    o->text_bytes = o->maps[0].own != NULL ? v->bytes : 0;
    return dhc_status_ok();
  }
  if (map->n_bytes == 0 || map->n_bytes % 2 != 0) {
    return map->n_bytes == 0 ? dhc_status_file(file, "is empty") : dhc_status_file(file, "%zu bytes are no .npy and no u16 tokens", map->n_bytes);
  }
  *v = (DhcTensorView){.dtype = DHC_U16, .rank = 1, .shape = {(int64_t)(map->n_bytes / 2)}, .bytes = (int64_t)map->n_bytes, .data = map->bytes};
  return dhc_status_ok();
}

dhc_status dhc_data_open_tokens(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split, const DhcDataOptions *options) {
  DataWindowSpec window;
  DhcTensorView v = {0};
  DataWindows rows;
  DataRange range;
  dhc_status status = dhc_data_window(spec, path, &window);
  if (status.code == DHC_OK) {
    status = read_file(o, window.file, &v);
  }
  if (status.code == DHC_OK) {
    status = rows_of(window.file, &v, window.length, window.given, &rows);
  }
  if (status.code == DHC_OK) {
    status = dhc_data_range(spec, split, false, options->n_val, rows.n, &range);
  }
  if (status.code == DHC_OK) {
    status = dhc_data_cut(o, &rows, range);
  }
  free(window.file);
  return status;
}
