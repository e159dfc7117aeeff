/* Tensors in files, for callers of dhc.h. */
#include <math.h>
#include <stdlib.h>

#include "api/api.h"

struct dhc_tensor_file {
  DhcSafetensors *st;
  DhcNpy npy;
  bool is_npy;
  dhc_tensor *t;
  int n;
  char stem[256];
  void *aligned; /* copies, one after the other (copy_tensors) */
};

static bool has_dtype(const dhc_tensor *t) {
  return t && (unsigned)t->dtype < DHC_N_DTYPES;
}

int64_t dhc_tensor_elements(const dhc_tensor *t) {
  int64_t n = -1;
  return has_dtype(t) && dhc_size_tensor((int32_t)t->dtype, t->rank, t->dim, &n, NULL) ? n : -1;
}

int64_t dhc_tensor_bytes(const dhc_tensor *t) {
  int64_t bytes = -1;
  return has_dtype(t) && dhc_size_tensor((int32_t)t->dtype, t->rank, t->dim, NULL, &bytes) ? bytes : -1;
}

double dhc_tensor_value(const dhc_tensor *t, int64_t i) {
  if (i < 0 || i >= dhc_tensor_elements(t) || !t->data) return NAN;
  return dhc_tensor_get(&(DhcTensorView){.dtype = (int32_t)t->dtype, .data = t->data}, i);
}

const char *dhc_dtype_text(dhc_dtype t) {
  return dhc_dtype_name(t);
}

/* What a tensor of a file is handed out as. */
static dhc_dtype public_dtype(int32_t t) {
  if (t < 0) return DHC_N_DTYPES;
  if (t < DHC_N_DTYPES) return (dhc_dtype)t;
  return dhc_tensor_dtype_is_float(t) ? DHC_F32 : DHC_I64;
}

static dhc_tensor from_view(const DhcTensorView *v) {
  dhc_tensor t = {.name = v->name, .dtype = public_dtype(v->dtype), .rank = v->rank, .data = (void *)(uintptr_t)v->data};
  if (v->dtype < 0) t.data = NULL;
  for (int i = 0; i < v->rank; i++) t.dim[i] = v->shape[i];
  return t;
}

static bool must_copy(const DhcTensorView *v, const dhc_tensor *t) {
  if (!dhc_dtype_bytes(t->dtype)) return false;
  return v->dtype != (int32_t)t->dtype || (uintptr_t)v->data % (uintptr_t)dhc_dtype_bytes(t->dtype);
}

/* Copies of tensors that are not aligned to their elements or are of types that only files have. */
static dhc_status copy_tensors(dhc_tensor_file *f, const DhcTensorView *const *from, const char *path) {
  int64_t bytes = 0, rounded;
  for (int i = 0; i < f->n; i++) {
    if (!must_copy(from[i], &f->t[i])) continue;
    if (!dhc_size_align64(dhc_tensor_bytes(&f->t[i]), &rounded) || !dhc_size_add(bytes, rounded, &bytes))
      return dhc_status_file(path, "tensor '%s': shape is too large", f->t[i].name);
  }
  if (!bytes) return dhc_status_ok();
  f->aligned = dhc_aligned_alloc(bytes);
  if (!f->aligned) return dhc_status_memory((long long)bytes, path);
  char *at = f->aligned;
  for (int i = 0; i < f->n; i++) {
    if (!must_copy(from[i], &f->t[i])) continue;
    dhc_tensor_convert(at, (int32_t)f->t[i].dtype, from[i]->data, from[i]->dtype, dhc_tensor_elements(&f->t[i]));
    f->t[i].data = at;
    at += (dhc_tensor_bytes(&f->t[i]) + 63) / 64 * 64;
  }
  return dhc_status_ok();
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
  const DhcTensorView *from = &f->npy.view;
  return copy_tensors(f, &from, path);
}

static dhc_status open_safetensors(dhc_tensor_file *f, const char *path) {
  DHC_TRY(dhc_safetensors_open(path, &f->st));
  f->n = dhc_safetensors_count(f->st);
  f->t = calloc((size_t)f->n + 1, sizeof *f->t);
  if (!f->t) return dhc_status_memory((long long)sizeof *f->t * f->n, path);
  const DhcTensorView **from = calloc((size_t)f->n + 1, sizeof *from);
  if (!from) return dhc_status_memory((long long)sizeof *from * f->n, path);
  for (int i = 0; i < f->n; i++) {
    from[i] = dhc_safetensors_at(f->st, i);
    f->t[i] = from_view(from[i]);
  }
  dhc_status st = copy_tensors(f, from, path);
  free(from);
  return st;
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
  size_t length = strlen(path);
  bool npy = length > 4 && !strcmp(path + length - 4, ".npy");
  dhc_status st = !npy     ? dhc_safetensors_write(path, v, n, NULL, 0)
                  : n == 1 ? dhc_npy_write(path, v)
                           : dhc_status_make(DHC_E_USAGE, "%s: a .npy file holds one tensor, not %d; .safetensors holds all", path, n);
  free(v);
  return st;
}
