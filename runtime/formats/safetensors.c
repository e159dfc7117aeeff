#include "runtime/formats/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/formats/recognise.h"
#include "runtime/formats/safetensors_internal.h"
#include "runtime/sha256.h"

/* Every dtype of the format (version 0.8.0). Those with a dtype of -1 have nothing that corresponds:
 * complex numbers, and 6-bit floats, whose order in a byte nobody has fixed. */
static const struct {
  const char *text;
  int32_t dtype;
  int32_t bits;
} dtype_texts[] = {{"F64", DHC_F64, 64}, {"F32", DHC_F32, 32}, {"BF16", DHC_BF16, 16},
                   {"I64", DHC_I64, 64}, {"I32", DHC_I32, 32}, {"I16", DHC_I16, 16},
                   {"I8", DHC_I8, 8},    {"U32", DHC_U32, 32}, {"U16", DHC_U16, 16},
                   {"U8", DHC_U8, 8},    {"BOOL", DHC_BOOL, 8}, {"F16", DHC_FILE_F16, 16},
                   {"U64", DHC_FILE_U64, 64},
                   {"F8_E5M2", DHC_FILE_F8_E5M2, 8}, {"F8_E4M3", DHC_FILE_F8_E4M3, 8},
                   {"F8_E5M2FNUZ", DHC_FILE_F8_E5M2FNUZ, 8}, {"F8_E4M3FNUZ", DHC_FILE_F8_E4M3FNUZ, 8},
                   {"F8_E8M0", DHC_FILE_F8_E8M0, 8}, {"F4", DHC_FILE_F4, 4},
                   {"F6_E2M3", -1, 6}, {"F6_E3M2", -1, 6}, {"C64", -1, 64}};

/* ---- validation ------------------------------------------------------------- */

static dhc_status check_dtype(const DhcSafetensors *s, StTensor *t) {
  for (size_t i = 0; i < sizeof dtype_texts / sizeof dtype_texts[0]; i++) {
    if (strcmp(t->dtype_text, dtype_texts[i].text) == 0) {
      t->view.dtype = dtype_texts[i].dtype;
      t->bits = dtype_texts[i].bits;
      t->opaque = t->view.dtype < 0;
      return dhc_status_ok();
    }
  }
  return dhc_status_file(s->path, "tensor '%s': unknown dtype \"%s\"", t->view.name,
                         t->dtype_text);
}

/* Bytes of the tensor in the file; false if they do not fit in 63 bits or its last is not full. */
static bool file_bytes(const StTensor *t, int64_t *bytes) {
  int64_t size;
  if (!t->shape_fits || !dhc_size_mul(t->n_elements, t->bits, &size) || size % 8 != 0) {
    return false;
  }
  *bytes = size / 8;
  return true;
}

static dhc_status check_tensor(const DhcSafetensors *s, StTensor *t, uint64_t data_bytes) {
  const char *name = t->view.name;
  char shape[160];
  DHC_TRY(check_dtype(s, t));
  if (t->shape_fits && t->bits < 8 && t->n_elements * t->bits % 8 != 0) {
    return dhc_status_file(s->path, "tensor '%s': its %s do not fill whole bytes", name, t->dtype_text);
  }
  if (!file_bytes(t, &t->view.bytes)) {
    return dhc_status_file(s->path, "tensor '%s': shape is too large", name);
  }
  if (t->n_dims > DHC_TENSOR_MAX_RANK || !dhc_size_tensor(t->view.dtype, t->view.rank, t->view.shape, NULL, NULL)) {
    t->view.dtype = -1;
    t->view.rank = 0;
    memset(t->view.shape, 0, sizeof t->view.shape);
  }
  if (t->begin > t->end) {
    return dhc_status_file(s->path, "tensor '%s': its range [%llu,%llu] ends before it begins",
                           name, (unsigned long long)t->begin, (unsigned long long)t->end);
  }
  if (t->end - t->begin != (uint64_t)t->view.bytes) {
    dhc_tensor_shape_text(t->view.rank, t->view.shape, shape, sizeof shape);
    return dhc_status_file(s->path, "tensor '%s': %s %s needs %lld bytes, its range has %llu", name,
                           t->dtype_text, shape, (long long)t->view.bytes,
                           (unsigned long long)(t->end - t->begin));
  }
  if (t->end > data_bytes) {
    return dhc_status_file(s->path, "tensor '%s' ends at byte %llu, the data has only %llu", name,
                           (unsigned long long)t->end, (unsigned long long)data_bytes);
  }
  t->view.data = s->bytes + 8 + s->header_bytes + t->begin;
  return dhc_status_ok();
}

int dhc_safetensors_by_place(const void *a, const void *b) {
  const StTensor *x = a, *y = b;
  if (x->begin != y->begin) {
    return x->begin < y->begin ? -1 : 1;
  }
  if (x->end != y->end) {
    return x->end < y->end ? -1 : 1;
  }
  return x->order < y->order ? -1 : x->order > y->order;
}

static int compare_meta(const void *a, const void *b) {
  const StMeta *x = a, *y = b;
  int order = strcmp(x->key, y->key);
  return order != 0 ? order : (y->order > x->order) - (y->order < x->order);
}

static int compare_name(const void *a, const void *b, void *tensors) {
  const StTensor *t = tensors;
  return strcmp(t[*(const int32_t *)a].view.name, t[*(const int32_t *)b].view.name);
}

/* Sorted by place the ranges must follow one another from 0 to the end. */
static dhc_status check_tiling(const DhcSafetensors *s, uint64_t data_bytes) {
  uint64_t expected = 0;
  for (int32_t i = 0; i < s->n_tensors; i++) {
    const StTensor *t = &s->tensors[i];
    if (t->begin != expected) {
      return dhc_status_file(s->path, "tensor '%s' starts at byte %llu, expected %llu (%s)",
                             t->view.name, (unsigned long long)t->begin,
                             (unsigned long long)expected,
                             t->begin < expected ? "overlap" : "hole");
    }
    expected = t->end;
  }
  if (expected != data_bytes) {
    return dhc_status_file(s->path, "%llu bytes after the last tensor belong to no tensor",
                           (unsigned long long)(data_bytes - expected));
  }
  return dhc_status_ok();
}

static void sort_names(DhcSafetensors *s) {
  for (int32_t i = 0; i < s->n_tensors; i++) {
    s->by_name[i] = i;
  }
  if (s->n_tensors > 1) {
    qsort_r(s->by_name, (size_t)s->n_tensors, sizeof *s->by_name, compare_name, s->tensors);
  }
}

dhc_status dhc_safetensors_index_names(DhcSafetensors *s) {
  s->by_name = malloc(((size_t)s->n_tensors + 1) * sizeof *s->by_name);
  if (s->by_name == NULL) {
    return dhc_status_memory(s->n_tensors * (long long)sizeof *s->by_name, "an index of tensors");
  }
  sort_names(s);
  for (int32_t i = 1; i < s->n_tensors; i++) {
    if (compare_name(&s->by_name[i - 1], &s->by_name[i], s->tensors) == 0) {
      const StTensor *t = &s->tensors[s->by_name[i]], *before = &s->tensors[s->by_name[i - 1]];
      return t->path != before->path
                 ? dhc_status_file(s->path, "tensor '%s' is in %s and in %s", t->view.name, before->path, t->path)
                 : dhc_status_file(s->path, "tensor '%s' is listed twice", t->view.name);
    }
  }
  return dhc_status_ok();
}

static void sort_meta(DhcSafetensors *s) {
  if (s->n_meta > 1) {
    qsort(s->meta, (size_t)s->n_meta, sizeof *s->meta, compare_meta);
  }
  int32_t kept = 0; /* of equal keys the last one, which is sorted first */
  for (int32_t i = 0; i < s->n_meta; i++) {
    if (kept == 0 || strcmp(s->meta[kept - 1].key, s->meta[i].key) != 0) {
      s->meta[kept++] = s->meta[i];
    }
  }
  s->n_meta = kept;
}

/* Whether a header of this length begins as one does. */
static bool begins_as_header(const DhcSafetensors *s, uint64_t length) {
  size_t i = 8;
  while (i < s->n_bytes && (s->bytes[i] == ' ' || s->bytes[i] == '\t' || s->bytes[i] == '\n' || s->bytes[i] == '\r')) {
    i++;
  }
  return length <= DHC_SAFETENSORS_MAX_HEADER && i < s->n_bytes && s->bytes[i] == '{';
}

static dhc_status check_all(DhcSafetensors *s) {
  const char *other = NULL;
  uint64_t length = 0;
  for (int i = 7; i >= 0 && s->n_bytes >= 8; i--) {
    length = length << 8 | s->bytes[i];
  }
  if (s->n_bytes > 0 && !begins_as_header(s, length)) {
    other = dhc_recognise(s->bytes, s->n_bytes);
  }
  if (other != NULL) {
    return dhc_status_file(s->path, "is no .safetensors file but %s", other);
  }
  if (s->n_bytes < 8) {
    return dhc_status_file(s->path, "%zu bytes, too short for a header (needs 8)", s->n_bytes);
  }
  if (length > DHC_SAFETENSORS_MAX_HEADER) {
    return dhc_status_file(s->path, "header length %llu is over the limit %d",
                           (unsigned long long)length, DHC_SAFETENSORS_MAX_HEADER);
  }
  if (length > s->n_bytes - 8) {
    return dhc_status_file(s->path, "header of %llu bytes runs past the end of the file (%zu bytes)",
                           (unsigned long long)length, s->n_bytes);
  }
  s->header_bytes = (size_t)length;
  uint64_t data_bytes = s->n_bytes - 8 - s->header_bytes;
  DHC_TRY(dhc_safetensors_parse_header(s));
  DHC_TRY(dhc_safetensors_index_names(s));
  sort_meta(s);
  for (int32_t i = 0; i < s->n_tensors; i++) {
    s->tensors[i].path = s->path;
    DHC_TRY(check_tensor(s, &s->tensors[i], data_bytes));
  }
  if (s->n_tensors > 1) {
    qsort(s->tensors, (size_t)s->n_tensors, sizeof *s->tensors, dhc_safetensors_by_place);
  }
  DHC_TRY(check_tiling(s, data_bytes));
  sort_names(s);
  return dhc_status_ok();
}

/* ---- opening ------------------------------------------------------------------ */

dhc_status dhc_safetensors_from_bytes(const char *name, const void *bytes, size_t n_bytes,
                                      DhcSafetensors **out) {
  DhcSafetensors *s = calloc(1, sizeof *s);
  char *path = strdup(name);
  if (s == NULL || path == NULL) {
    free(s);
    free(path);
    return dhc_status_memory((long long)sizeof *s, "a file's index");
  }
  s->path = path;
  s->bytes = bytes;
  s->n_bytes = n_bytes;
  dhc_status status = check_all(s);
  if (status.code != DHC_OK) {
    dhc_safetensors_close(s);
    return status;
  }
  *out = s;
  return status;
}

dhc_status dhc_safetensors_keep(DhcMapping map, dhc_status made, DhcSafetensors **out) {
  if (made.code != DHC_OK) {
    dhc_map_close(&map);
  } else {
    (*out)->map = map;
  }
  return made;
}

dhc_status dhc_safetensors_open(const char *path, DhcSafetensors **out) {
  DhcMapping map;
  DHC_TRY(dhc_map_open(path, &map));
  return dhc_safetensors_keep(map, dhc_safetensors_from_bytes(path, map.bytes, map.n_bytes, out), out);
}

void dhc_safetensors_close(DhcSafetensors *s) {
  if (s == NULL) {
    return;
  }
  for (int32_t i = 0; i < s->n_shards; i++) {
    dhc_safetensors_close(s->shards[i]);
  }
  free(s->shards);
  dhc_map_close(&s->map);
  free(s->path);
  free(s->strings);
  free(s->tensors);
  free(s->by_name);
  free(s->meta);
  free(s);
}

/* ---- asking ------------------------------------------------------------------- */

const char *dhc_safetensors_path(const DhcSafetensors *s) {
  return s->path;
}

int32_t dhc_safetensors_count(const DhcSafetensors *s) {
  return s->n_tensors;
}

const DhcTensorView *dhc_safetensors_at(const DhcSafetensors *s, int32_t index) {
  return &s->tensors[index].view;
}

bool dhc_safetensors_needed(const DhcSafetensors *s, int32_t index) {
  return s->tensors[index].needed;
}

const DhcTensorView *dhc_safetensors_find(const DhcSafetensors *s, const char *name) {
  int32_t low = 0, high = s->n_tensors;
  while (low < high) {
    int32_t middle = low + (high - low) / 2;
    const DhcTensorView *t = &s->tensors[s->by_name[middle]].view;
    int order = strcmp(name, t->name);
    if (order == 0) {
      return t;
    }
    if (order < 0) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return NULL;
}

/* The views that are handed out are the first members of what s knows about them. */
static StTensor *tensor_of(const DhcSafetensors *s, const DhcTensorView *view) {
  return &s->tensors[(const StTensor *)view - s->tensors];
}

dhc_status dhc_safetensors_readable(const DhcSafetensors *s, const DhcTensorView *view) {
  const StTensor *t = tensor_of(s, view);
  if (t->n_dims > DHC_TENSOR_MAX_RANK) {
    return dhc_status_file(t->path, "tensor '%s' has %d dimensions, more than %d", view->name, t->n_dims,
                           DHC_TENSOR_MAX_RANK);
  }
  if (t->opaque) {
    return dhc_status_file(t->path, "tensor '%s': dtype %s is not supported", view->name, t->dtype_text);
  }
  if (view->dtype < 0) { /* no element, and dimensions beyond 63 bits */
    return dhc_status_file(t->path, "tensor '%s': shape is too large", view->name);
  }
  return dhc_status_ok();
}

/* Whether `inner` is `outer` without a prefix that ends at a point. */
static bool is_tail(const char *outer, const char *inner) {
  const size_t n = strlen(outer), m = strlen(inner);
  return n > m && outer[n - m - 1] == '.' && !strcmp(outer + n - m, inner);
}

/* That it is missing; where the file has it with one more prefix or one less, so. */
static dhc_status missing(const DhcSafetensors *s, const char *name) {
  for (int32_t i = 0; i < dhc_safetensors_count(s); i++) {
    const char *has = dhc_safetensors_at(s, i)->name;
    if (is_tail(has, name) || is_tail(name, has))
      return dhc_status_file(s->path, "tensor '%s' is missing; it has '%s': `as` tells where a submodule lies in files", name, has);
  }
  return dhc_status_file(s->path, "tensor '%s' is missing", name);
}

dhc_status dhc_safetensors_need(const DhcSafetensors *s, const char *name, int32_t dtype,
                                int32_t rank, const int64_t *shape, const DhcTensorView **out) {
  const DhcTensorView *view = dhc_safetensors_find(s, name);
  if (view == NULL) return missing(s, name);
  DHC_TRY(dhc_safetensors_readable(s, view));
  StTensor *t = tensor_of(s, view);
  bool same = view->rank == rank;
  for (int32_t i = 0; same && i < rank; i++) {
    same = view->shape[i] == shape[i];
  }
  if (!same) {
    char has[160], needs[160];
    dhc_tensor_shape_text(view->rank, view->shape, has, sizeof has);
    dhc_tensor_shape_text(rank, shape, needs, sizeof needs);
    return dhc_status_file(t->path, "tensor '%s' is %s, the model needs %s", name, has, needs);
  }
  if (dtype >= 0 && view->dtype != dtype) {
    return dhc_status_file(t->path, "tensor '%s' is %s, the model needs %s", name,
                           dhc_tensor_dtype_name(view->dtype), dhc_tensor_dtype_name(dtype));
  }
  t->needed = true;
  *out = view;
  return dhc_status_ok();
}

int32_t dhc_safetensors_meta_count(const DhcSafetensors *s) {
  return s->n_meta;
}

static int compare_key(const void *key, const void *meta) {
  return strcmp(key, ((const StMeta *)meta)->key);
}

static const StMeta *find_meta(const DhcSafetensors *s, const char *key) {
  return s->n_meta == 0 ? NULL : bsearch(key, s->meta, (size_t)s->n_meta, sizeof *s->meta, compare_key);
}

const char *dhc_safetensors_meta(const DhcSafetensors *s, const char *key) {
  const StMeta *m = find_meta(s, key);
  return m != NULL ? m->value : NULL;
}

dhc_status dhc_safetensors_check_seal(const DhcSafetensors *s, const char *seal_key) {
  const StMeta *m = find_meta(s, seal_key);
  if (m == NULL || m->value_raw_bytes != 64 || !dhc_sha256_is_hex(m->value)) {
    return dhc_status_file(s->path, "has no checksum (metadata '%s')", seal_key);
  }
  char zeros[64], hex[65];
  uint8_t digest[32];
  DhcSha256 h;
  size_t at = 8 + m->value_at;
  memset(zeros, '0', sizeof zeros);
  dhc_sha256_init(&h);
  dhc_sha256_update(&h, s->bytes, at);
  dhc_sha256_update(&h, zeros, sizeof zeros);
  dhc_sha256_update(&h, s->bytes + at + 64, s->n_bytes - at - 64);
  dhc_sha256_final(&h, digest);
  dhc_sha256_hex(digest, hex);
  if (strcmp(hex, m->value) != 0) {
    return dhc_status_file(s->path, "is damaged: its checksum does not fit its contents");
  }
  return dhc_status_ok();
}
