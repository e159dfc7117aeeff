#include "runtime/formats/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/formats/safetensors_internal.h"
#include "runtime/sha256.h"

static const struct {
  const char *text;
  int32_t dtype;
} dtype_texts[] = {{"F64", DHC_F64}, {"F32", DHC_F32}, {"BF16", DHC_BF16}, {"I64", DHC_I64},
                   {"I32", DHC_I32}, {"I16", DHC_I16}, {"I8", DHC_I8},     {"U32", DHC_U32},
                   {"U16", DHC_U16}, {"U8", DHC_U8},   {"BOOL", DHC_BOOL}};
/* In the format, but not among our dtypes. */
static const char *const foreign_texts[] = {"F16", "U64", "F8_E4M3", "F8_E5M2", "C64"};

/* ---- validation ------------------------------------------------------------- */

static dhc_status check_dtype(const DhcSafetensors *s, StTensor *t) {
  for (size_t i = 0; i < sizeof dtype_texts / sizeof dtype_texts[0]; i++) {
    if (strcmp(t->dtype_text, dtype_texts[i].text) == 0) {
      t->view.dtype = dtype_texts[i].dtype;
      return dhc_status_ok();
    }
  }
  for (size_t i = 0; i < sizeof foreign_texts / sizeof foreign_texts[0]; i++) {
    if (strcmp(t->dtype_text, foreign_texts[i]) == 0) {
      return dhc_status_file(s->path, "tensor '%s': dtype %s is not supported", t->view.name,
                             t->dtype_text);
    }
  }
  return dhc_status_file(s->path, "tensor '%s': unknown dtype \"%s\"", t->view.name,
                         t->dtype_text);
}

static dhc_status check_tensor(const DhcSafetensors *s, StTensor *t, uint64_t data_bytes) {
  const char *name = t->view.name;
  char shape[160];
  DHC_TRY(check_dtype(s, t));
  if (!t->shape_fits ||
      !dhc_size_tensor(t->view.dtype, t->view.rank, t->view.shape, NULL, &t->view.bytes)) {
    return dhc_status_file(s->path, "tensor '%s': shape is too large", name);
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

static int compare_place(const void *a, const void *b) {
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
  return strcmp(((const StMeta *)a)->key, ((const StMeta *)b)->key);
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

static dhc_status check_names(DhcSafetensors *s) {
  s->by_name = malloc(((size_t)s->n_tensors + 1) * sizeof *s->by_name);
  if (s->by_name == NULL) {
    return dhc_status_memory(s->n_tensors * (long long)sizeof *s->by_name, "an index of tensors");
  }
  for (int32_t i = 0; i < s->n_tensors; i++) {
    s->by_name[i] = i;
  }
  if (s->n_tensors > 1) {
    qsort_r(s->by_name, (size_t)s->n_tensors, sizeof *s->by_name, compare_name, s->tensors);
  }
  for (int32_t i = 1; i < s->n_tensors; i++) {
    if (compare_name(&s->by_name[i - 1], &s->by_name[i], s->tensors) == 0) {
      return dhc_status_file(s->path, "tensor '%s' is listed twice",
                             s->tensors[s->by_name[i]].view.name);
    }
  }
  if (s->n_meta > 1) {
    qsort(s->meta, (size_t)s->n_meta, sizeof *s->meta, compare_meta);
  }
  for (int32_t i = 1; i < s->n_meta; i++) {
    if (strcmp(s->meta[i - 1].key, s->meta[i].key) == 0) {
      return dhc_status_file(s->path, "metadata '%s' is listed twice", s->meta[i].key);
    }
  }
  return dhc_status_ok();
}

static dhc_status check_all(DhcSafetensors *s) {
  if (s->n_bytes < 8) {
    return dhc_status_file(s->path, "%zu bytes, too short for a header (needs 8)", s->n_bytes);
  }
  uint64_t length = 0;
  for (int i = 7; i >= 0; i--) {
    length = length << 8 | s->bytes[i];
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
  DHC_TRY(check_names(s));
  for (int32_t i = 0; i < s->n_tensors; i++) {
    DHC_TRY(check_tensor(s, &s->tensors[i], data_bytes));
  }
  if (s->n_tensors > 1) {
    qsort(s->tensors, (size_t)s->n_tensors, sizeof *s->tensors, compare_place);
  }
  DHC_TRY(check_tiling(s, data_bytes));
  for (int32_t i = 0; i < s->n_tensors; i++) {
    s->by_name[i] = i;
  }
  if (s->n_tensors > 1) {
    qsort_r(s->by_name, (size_t)s->n_tensors, sizeof *s->by_name, compare_name, s->tensors);
  }
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

dhc_status dhc_safetensors_open(const char *path, DhcSafetensors **out) {
  DhcMapping map;
  DHC_TRY(dhc_map_open(path, &map));
  dhc_status status = dhc_safetensors_from_bytes(path, map.bytes, map.n_bytes, out);
  if (status.code != DHC_OK) {
    dhc_map_close(&map);
    return status;
  }
  (*out)->map = map;
  return status;
}

void dhc_safetensors_close(DhcSafetensors *s) {
  if (s == NULL) {
    return;
  }
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

dhc_status dhc_safetensors_need(const DhcSafetensors *s, const char *name, int32_t dtype,
                                int32_t rank, const int64_t *shape, const DhcTensorView **out) {
  const DhcTensorView *t = dhc_safetensors_find(s, name);
  if (t == NULL) {
    return dhc_status_file(s->path, "tensor '%s' is missing", name);
  }
  bool same = t->rank == rank;
  for (int32_t i = 0; same && i < rank; i++) {
    same = t->shape[i] == shape[i];
  }
  if (!same) {
    char has[160], needs[160];
    dhc_tensor_shape_text(t->rank, t->shape, has, sizeof has);
    dhc_tensor_shape_text(rank, shape, needs, sizeof needs);
    return dhc_status_file(s->path, "tensor '%s' is %s, the model needs %s", name, has, needs);
  }
  if (dtype >= 0 && t->dtype != dtype) {
    return dhc_status_file(s->path, "tensor '%s' is %s, the model needs %s", name,
                           dhc_tensor_dtype_name(t->dtype), dhc_tensor_dtype_name(dtype));
  }
  *out = t;
  return dhc_status_ok();
}

int32_t dhc_safetensors_meta_count(const DhcSafetensors *s) {
  return s->n_meta;
}

static const StMeta *find_meta(const DhcSafetensors *s, const char *key) {
  StMeta wanted = {.key = key};
  return s->n_meta == 0
             ? NULL
             : bsearch(&wanted, s->meta, (size_t)s->n_meta, sizeof *s->meta, compare_meta);
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
