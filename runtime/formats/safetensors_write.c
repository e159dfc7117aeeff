#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/formats/safetensors.h"
#include "runtime/formats/safetensors_internal.h"
#include "runtime/sha256.h"

/* ---- a growing text ------------------------------------------------------------ */

typedef struct Text {
  char *at;
  size_t n, cap;
  bool failed; /* out of memory; further calls do nothing */
} Text;

static void put(Text *t, const char *bytes, size_t n) {
  if (!t->failed && t->cap - t->n < n) {
    size_t cap = (t->cap + n) * 2;
    char *p = realloc(t->at, cap);
    t->failed = p == NULL;
    if (p != NULL) {
      t->at = p;
      t->cap = cap;
    }
  }
  if (!t->failed) {
    memcpy(t->at + t->n, bytes, n);
    t->n += n;
  }
}

static void puts_text(Text *t, const char *s) {
  put(t, s, strlen(s));
}

static void put_number(Text *t, int64_t v) {
  char digits[24];
  snprintf(digits, sizeof digits, "%lld", (long long)v);
  puts_text(t, digits);
}

static void put_string(Text *t, const char *s) {
  put(t, "\"", 1);
  for (; *s != '\0'; s++) {
    char code[8];
    if (*s == '"' || *s == '\\') {
      code[0] = '\\';
      code[1] = *s;
      put(t, code, 2);
    } else if ((unsigned char)*s < 0x20) {
      snprintf(code, sizeof code, "\\u%04x", (unsigned)(unsigned char)*s);
      put(t, code, 6);
    } else {
      put(t, s, 1);
    }
  }
  put(t, "\"", 1);
}

/* ---- layout -------------------------------------------------------------------- */

static const char *dtype_text(int32_t dtype) {
  switch (dtype) {
  case DHC_F64: return "F64";
  case DHC_F32: return "F32";
  case DHC_BF16: return "BF16";
  case DHC_I64: return "I64";
  case DHC_I32: return "I32";
  case DHC_I16: return "I16";
  case DHC_I8: return "I8";
  case DHC_U32: return "U32";
  case DHC_U16: return "U16";
  case DHC_U8: return "U8";
  case DHC_BOOL: return "BOOL";
  default: return NULL;
  }
}

static int compare_tensors(const void *a, const void *b) {
  const DhcTensorView *x = *(const DhcTensorView *const *)a;
  const DhcTensorView *y = *(const DhcTensorView *const *)b;
  int32_t x_bytes = dhc_tensor_dtype_bytes(x->dtype), y_bytes = dhc_tensor_dtype_bytes(y->dtype);
  return x_bytes != y_bytes ? (x_bytes > y_bytes ? -1 : 1) : strcmp(x->name, y->name);
}

static int compare_names(const void *a, const void *b) {
  return strcmp((*(const DhcTensorView *const *)a)->name, (*(const DhcTensorView *const *)b)->name);
}

static int compare_pairs(const void *a, const void *b) {
  return strcmp(((const DhcMetaPair *)a)->key, ((const DhcMetaPair *)b)->key);
}

/* Sorts into file order and refuses what the reader would. */
static dhc_status arrange(const char *path, const DhcTensorView **order, int32_t n) {
  if (n > 0) {
    qsort(order, (size_t)n, sizeof *order, compare_names);
  }
  for (int32_t i = 0; i < n; i++) {
    const DhcTensorView *t = order[i];
    int64_t bytes;
    if ((i > 0 && strcmp(order[i - 1]->name, t->name) == 0) ||
        strcmp(t->name, "__metadata__") == 0) {
      return dhc_status_make(DHC_E_USAGE, "%s: tensor '%s' is given twice", path, t->name);
    }
    if (dtype_text(t->dtype) == NULL ||
        !dhc_size_tensor(t->dtype, t->rank, t->shape, NULL, &bytes) || bytes != t->bytes) {
      return dhc_status_make(DHC_E_USAGE, "%s: tensor '%s': bytes do not fit its shape", path,
                             t->name);
    }
  }
  if (n > 0) {
    qsort(order, (size_t)n, sizeof *order, compare_tensors);
  }
  return dhc_status_ok();
}

/* Metadata with the seal (64 zeros) at its sorted place. *seal_at: offset of the
 * seal's digits in the text. */
static void put_metadata(Text *t, const DhcMetaPair *pairs, int32_t n, const char *seal_key,
                         size_t *seal_at) {
  const char *separator = "";
  puts_text(t, "\"__metadata__\":{");
  for (int32_t i = 0; i < n; i++) {
    puts_text(t, separator);
    put_string(t, pairs[i].key);
    put(t, ":", 1);
    if (seal_key != NULL && strcmp(pairs[i].key, seal_key) == 0) {
      *seal_at = t->n + 1;
    }
    put_string(t, pairs[i].value);
    separator = ",";
  }
  put(t, "}", 1);
}

static void put_tensors(Text *t, const DhcTensorView *const *order, int32_t n, bool first) {
  int64_t at = 0;
  for (int32_t i = 0; i < n; i++) {
    const DhcTensorView *v = order[i];
    char shape[180];
    puts_text(t, first && i == 0 ? "" : ",");
    put_string(t, v->name);
    puts_text(t, ":{\"dtype\":\"");
    puts_text(t, dtype_text(v->dtype));
    puts_text(t, "\",\"shape\":");
    puts_text(t, dhc_tensor_shape_text(v->rank, v->shape, shape, sizeof shape));
    puts_text(t, ",\"data_offsets\":[");
    put_number(t, at);
    put(t, ",", 1);
    put_number(t, at + v->bytes);
    puts_text(t, "]}");
    at += v->bytes;
  }
}

/* What a header has at least: its texts. */
static bool texts_fit(const DhcTensorView *const *order, int32_t n_tensors, const DhcMetaPair *meta, int32_t n_meta) {
  size_t n = 0;
  for (int32_t i = 0; i < n_meta; i++) {
    n += strlen(meta[i].key) + strlen(meta[i].value);
  }
  for (int32_t i = 0; i < n_tensors; i++) {
    n += strlen(order[i]->name);
  }
  return n <= DHC_SAFETENSORS_MAX_HEADER;
}

/* Header length, header, spaces up to a multiple of 8. */
static bool make_header(Text *t, const DhcTensorView *const *order, int32_t n_tensors,
                        const DhcMetaPair *meta, int32_t n_meta, const char *seal_key,
                        size_t *seal_at) {
  if (!texts_fit(order, n_tensors, meta, n_meta)) {
    return false; /* before memory is taken for them */
  }
  put(t, "\0\0\0\0\0\0\0\0{", 9);
  if (n_meta > 0) {
    put_metadata(t, meta, n_meta, seal_key, seal_at);
  }
  put_tensors(t, order, n_tensors, n_meta == 0);
  put(t, "}", 1);
  while (!t->failed && t->n % 8 != 0) {
    put(t, " ", 1);
  }
  if (t->failed || t->n - 8 > DHC_SAFETENSORS_MAX_HEADER) {
    return false;
  }
  uint64_t length = t->n - 8;
  for (int i = 0; i < 8; i++) {
    t->at[i] = (char)(uint8_t)(length >> (8 * i));
  }
  return true;
}

static dhc_status write_file(const char *path, const Text *header,
                             const DhcTensorView *const *order, int32_t n_tensors, bool sealed,
                             size_t seal_at) {
  DhcFileWriter w;
  DHC_TRY(dhc_file_begin(path, &w));
  dhc_status status = dhc_file_write(&w, header->at, header->n);
  DhcSha256 h;
  dhc_sha256_init(&h);
  dhc_sha256_update(&h, header->at, header->n);
  for (int32_t i = 0; i < n_tensors && status.code == DHC_OK; i++) {
    if (order[i]->bytes > 0) {
      status = dhc_file_write(&w, order[i]->data, (size_t)order[i]->bytes);
      if (sealed) {
        dhc_sha256_update(&h, order[i]->data, (size_t)order[i]->bytes);
      }
    }
  }
  if (status.code == DHC_OK && sealed) {
    uint8_t digest[32];
    char hex[65];
    dhc_sha256_final(&h, digest);
    dhc_sha256_hex(digest, hex);
    status = dhc_file_patch(&w, (int64_t)seal_at, hex, 64);
  }
  if (status.code != DHC_OK) {
    dhc_file_abort(&w);
    return status;
  }
  return dhc_file_commit(&w);
}

dhc_status dhc_safetensors_write_sealed(const char *path, const DhcTensorView *tensors,
                                        int32_t n_tensors, const DhcMetaPair *meta, int32_t n_meta,
                                        const char *seal_key) {
  static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
  const DhcTensorView **order = malloc(((size_t)n_tensors + 1) * sizeof *order);
  DhcMetaPair *pairs = malloc(((size_t)n_meta + 1) * sizeof *pairs);
  Text header = {0};
  size_t seal_at = 0;
  dhc_status status = dhc_status_ok();
  if (order == NULL || pairs == NULL) {
    status = dhc_status_memory(n_tensors * (long long)sizeof *order, "a header");
  } else {
    for (int32_t i = 0; i < n_tensors; i++) {
      order[i] = &tensors[i];
    }
    for (int32_t i = 0; i < n_meta; i++) {
      pairs[i] = meta[i];
    }
    if (seal_key != NULL) {
      pairs[n_meta++] = (DhcMetaPair){.key = seal_key, .value = zeros};
    }
    if (n_meta > 0) {
      qsort(pairs, (size_t)n_meta, sizeof *pairs, compare_pairs);
    }
    status = arrange(path, order, n_tensors);
  }
  for (int32_t i = 1; i < n_meta && status.code == DHC_OK; i++) {
    if (strcmp(pairs[i - 1].key, pairs[i].key) == 0) {
      status = dhc_status_make(DHC_E_USAGE, "%s: metadata '%s' is given twice", path, pairs[i].key);
    }
  }
  if (status.code == DHC_OK &&
      !make_header(&header, order, n_tensors, pairs, n_meta, seal_key, &seal_at)) {
    status = header.failed ? dhc_status_memory((long long)header.n, "a header")
                           : dhc_status_make(DHC_E_USAGE, "%s: header is over the limit", path);
  }
  if (status.code == DHC_OK) {
    status = write_file(path, &header, order, n_tensors, seal_key != NULL, seal_at);
  }
  free(header.at);
  free(order);
  free(pairs);
  return status;
}

dhc_status dhc_safetensors_write(const char *path, const DhcTensorView *tensors, int32_t n_tensors,
                                 const DhcMetaPair *meta, int32_t n_meta) {
  return dhc_safetensors_write_sealed(path, tensors, n_tensors, meta, n_meta, NULL);
}
