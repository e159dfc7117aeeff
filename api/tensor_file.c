/* Tensors in files, for callers of dhc.h. */
#include <stdlib.h>

#include "api/api.h"

struct dhc_tensor_file {
  DhcSafetensors *st;
  DhcNpy npy;
  bool is_npy;
  dhc_tensor *t;
  int n;
  char stem[256];
  void *aligned; /* copies of tensors whose data is not aligned to its elements */
};

int64_t dhc_tensor_elements(const dhc_tensor *t) {
  int64_t n = -1;
  return t && dhc_size_tensor((int32_t)t->dtype, t->rank, t->dim, &n, NULL) ? n : -1;
}

int64_t dhc_tensor_bytes(const dhc_tensor *t) {
  int64_t bytes = -1;
  return t && dhc_size_tensor((int32_t)t->dtype, t->rank, t->dim, NULL, &bytes) ? bytes : -1;
}

const char *dhc_dtype_text(dhc_dtype t) {
  return dhc_tensor_dtype_name((int32_t)t);
}

static dhc_tensor from_view(const DhcTensorView *v) {
  dhc_tensor t = {.name = v->name, .dtype = (dhc_dtype)v->dtype, .rank = v->rank, .data = (void *)(uintptr_t)v->data};
  for (int i = 0; i < v->rank; i++) t.dim[i] = v->shape[i];
  return t;
}

static dhc_status open_npy(dhc_tensor_file *f, const char *path) {
  DHC_TRY(dhc_npy_open(path, &f->npy));
  f->is_npy = true;
  const char *base = strrchr(path, '/');
  snprintf(f->stem, sizeof f->stem, "%s", base ? base + 1 : path);
  char *dot = strrchr(f->stem, '.');
  if (dot) *dot = 0;
  f->t = calloc(1, sizeof *f->t);
  if (!f->t) return dhc_status_memory((long long)sizeof *f->t, path);
  f->t[0] = from_view(&f->npy.view);
  f->t[0].name = f->stem;
  f->n = 1;
  return dhc_status_ok();
}

static dhc_status align_tensors(dhc_tensor_file *f, const char *path) {
  size_t bytes = 0;
  for (int i = 0; i < f->n; i++)
    if ((uintptr_t)f->t[i].data % (uintptr_t)dhc_dtype_bytes(f->t[i].dtype)) bytes += ((size_t)dhc_tensor_bytes(&f->t[i]) + 63) / 64 * 64;
  if (!bytes) return dhc_status_ok();
  f->aligned = dhc_aligned_alloc((int64_t)bytes);
  if (!f->aligned) return dhc_status_memory((long long)bytes, path);
  char *at = f->aligned;
  for (int i = 0; i < f->n; i++) {
    if (!((uintptr_t)f->t[i].data % (uintptr_t)dhc_dtype_bytes(f->t[i].dtype))) continue;
    memcpy(at, f->t[i].data, (size_t)dhc_tensor_bytes(&f->t[i]));
    f->t[i].data = at;
    at += ((size_t)dhc_tensor_bytes(&f->t[i]) + 63) / 64 * 64;
  }
  return dhc_status_ok();
}

static dhc_status open_safetensors(dhc_tensor_file *f, const char *path) {
  DHC_TRY(dhc_safetensors_open(path, &f->st));
  f->n = dhc_safetensors_count(f->st);
  f->t = calloc((size_t)f->n + 1, sizeof *f->t);
  if (!f->t) return dhc_status_memory((long long)sizeof *f->t * f->n, path);
  for (int i = 0; i < f->n; i++) f->t[i] = from_view(dhc_safetensors_at(f->st, i));
  return align_tensors(f, path);
}

dhc_status dhc_tensor_file_open(const char *path, dhc_tensor_file **out) {
  NEED_OUT(out);
  NEED(path);
  dhc_tensor_file *f = calloc(1, sizeof *f);
  if (!f) return dhc_status_memory((long long)sizeof *f, path);
  size_t n = strlen(path);
  dhc_status st = n > 4 && !strcmp(path + n - 4, ".npy") ? open_npy(f, path) : open_safetensors(f, path);
  if (st.code != DHC_OK) {
    dhc_tensor_file_close(f);
    return st;
  }
  *out = f;
  return st;
}

void dhc_tensor_file_close(dhc_tensor_file *f) {
  if (!f) return;
  if (f->st) dhc_safetensors_close(f->st);
  if (f->is_npy) dhc_npy_close(&f->npy);
  dhc_aligned_free(f->aligned);
  free(f->t);
  free(f);
}

int dhc_tensor_file_count(const dhc_tensor_file *f) {
  return f ? f->n : 0;
}

const dhc_tensor *dhc_tensor_file_get(const dhc_tensor_file *f, int i) {
  return i < 0 || i >= dhc_tensor_file_count(f) ? NULL : &f->t[i];
}

dhc_status dhc_tensor_file_save(const char *path, const dhc_tensor *t, int n) {
  NEED(path);
  DHC_TRY(args_tensors(__func__, t, n));
  DhcTensorView *v = calloc((size_t)n + 1, sizeof *v);
  if (!v) return dhc_status_memory((long long)sizeof *v * n, path);
  for (int i = 0; i < n; i++) {
    v[i] = (DhcTensorView){.name = t[i].name, .dtype = (int32_t)t[i].dtype, .rank = t[i].rank, .data = t[i].data,
                           .bytes = dhc_tensor_bytes(&t[i])};
    for (int k = 0; k < t[i].rank; k++) v[i].shape[k] = t[i].dim[k];
  }
  dhc_status st = dhc_safetensors_write(path, v, n, NULL, 0);
  free(v);
  return st;
}
