#include "runtime/formats/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/formats/recognise.h"

static const struct {
  const char *descr;
  int32_t dtype;
} descrs[] = {{"<f8", DHC_F64}, {"<f4", DHC_F32}, {"<i8", DHC_I64}, {"<i4", DHC_I32},
              {"<i2", DHC_I16}, {"|i1", DHC_I8},  {"<u4", DHC_U32}, {"<u2", DHC_U16},
              {"|u1", DHC_U8},  {"|b1", DHC_BOOL}, {"<f2", DHC_FILE_F16}, {"<u8", DHC_FILE_U64}};

/* ---- the header: a Python dict of three known keys --------------------------- */

typedef struct Cursor {
  const char *path;
  const uint8_t *text;
  size_t n, at;
} Cursor;

static dhc_status wrong(const Cursor *c, const char *what) {
  return dhc_status_file(c->path, "header byte %zu: %s", c->at, what);
}

static void skip_space(Cursor *c) {
  while (c->at < c->n && (c->text[c->at] == ' ' || c->text[c->at] == '\n')) {
    c->at++;
  }
}

static bool take(Cursor *c, char what) {
  skip_space(c);
  if (c->at < c->n && c->text[c->at] == (uint8_t)what) {
    c->at++;
    return true;
  }
  return false;
}

static bool take_word(Cursor *c, const char *word) {
  size_t n = strlen(word);
  skip_space(c);
  if (c->n - c->at >= n && memcmp(c->text + c->at, word, n) == 0) {
    c->at += n;
    return true;
  }
  return false;
}

static dhc_status quoted(Cursor *c, char text[16]) {
  char quote = take(c, '\'') ? '\'' : take(c, '"') ? '"' : '\0';
  size_t n = 0;
  if (quote == '\0') {
    return wrong(c, "expected a quoted word");
  }
  while (c->at < c->n && c->text[c->at] != (uint8_t)quote) {
    if (n == 15) {
      return wrong(c, "unknown key or type");
    }
    text[n++] = (char)c->text[c->at++];
  }
  text[n] = '\0';
  return take(c, quote) ? dhc_status_ok() : wrong(c, "a quote is never closed");
}

static dhc_status parse_descr(Cursor *c, DhcNpy *npy) {
  char descr[16];
  if (take(c, '[')) {
    c->at--;
    return wrong(c, "elements are structures of several fields; save each field as a file of its own");
  }
  DHC_TRY(quoted(c, descr));
  npy->swapped = descr[0] == '>';
  descr[0] = npy->swapped ? '<' : descr[0];
  for (size_t i = 0; i < sizeof descrs / sizeof descrs[0]; i++) {
    if (strcmp(descr, descrs[i].descr) == 0) {
      npy->view.dtype = descrs[i].dtype;
      return dhc_status_ok();
    }
  }
  if (strstr(descr, "V") != NULL) {
    return dhc_status_file(c->path, "type '%s' is bytes without a meaning, as NumPy writes bfloat16 and 8-bit floats; save them as float32", descr);
  }
  descr[0] = npy->swapped ? '>' : descr[0];
  return dhc_status_file(c->path, "type '%s' is not supported", descr);
}

static dhc_status parse_shape(Cursor *c, DhcTensorView *v) {
  if (!take(c, '(')) {
    return wrong(c, "expected '('");
  }
  while (!take(c, ')')) {
    int64_t d = 0;
    size_t begin = c->at;
    while (c->at < c->n && c->text[c->at] >= '0' && c->text[c->at] <= '9') {
      if (!dhc_size_mul(d, 10, &d) || !dhc_size_add(d, c->text[c->at] - '0', &d)) {
        return dhc_status_file(c->path, "shape is too large");
      }
      c->at++;
    }
    if (c->at == begin) {
      return wrong(c, "expected a whole number");
    }
    if (v->rank == DHC_TENSOR_MAX_RANK) {
      return wrong(c, "the shape has more than 8 dimensions");
    }
    v->shape[v->rank++] = d;
    if (!take(c, ',') && !(c->at < c->n && c->text[c->at] == ')')) {
      return wrong(c, "expected ',' or ')'");
    }
  }
  return dhc_status_ok();
}

static dhc_status parse_dict(Cursor *c, DhcNpy *npy) {
  static const char *const keys[3] = {"descr", "fortran_order", "shape"};
  unsigned seen = 0;
  if (!take(c, '{')) {
    return wrong(c, "expected '{'");
  }
  while (!take(c, '}')) {
    char key[16];
    DHC_TRY(quoted(c, key));
    unsigned k = 0;
    while (k < 3 && strcmp(key, keys[k]) != 0) {
      k++;
    }
    if (k == 3 || (seen & 1u << k) != 0) {
      return wrong(c, k == 3 ? "unknown key" : "key given twice");
    }
    seen |= 1u << k;
    if (!take(c, ':')) {
      return wrong(c, "expected ':'");
    }
    if (k == 0) {
      DHC_TRY(parse_descr(c, npy));
    } else if (k == 2) {
      DHC_TRY(parse_shape(c, &npy->view));
    } else if (take_word(c, "True")) {
      npy->fortran = true;
    } else if (!take_word(c, "False")) {
      return wrong(c, "expected True or False");
    }
    if (!take(c, ',') && !(c->at < c->n && c->text[c->at] == '}')) {
      return wrong(c, "expected ',' or '}'");
    }
  }
  skip_space(c);
  if (c->at != c->n) {
    return wrong(c, "text after the header's end");
  }
  return seen == 7 ? dhc_status_ok() : wrong(c, "descr, fortran_order or shape is missing");
}

dhc_status dhc_npy_parse(const char *name, const void *bytes, size_t n_bytes, DhcNpy *out) {
  const uint8_t *p = bytes;
  const char *other = n_bytes < 6 || memcmp(p, "\x93NUMPY", 6) != 0 ? dhc_recognise(p, n_bytes) : NULL;
  if (other != NULL) {
    return dhc_status_file(name, "is no .npy file but %s", other);
  }
  if (n_bytes < 10 || memcmp(p, "\x93NUMPY", 6) != 0) {
    return dhc_status_file(name, "is no .npy file");
  }
  if (p[6] < 1 || p[6] > 3 || p[7] != 0) {
    return dhc_status_file(name, "format version %d.%d is not supported", p[6], p[7]);
  }
  size_t prefix = p[6] == 1 ? 10 : 12;
  uint64_t length = (uint64_t)p[8] | (uint64_t)p[9] << 8;
  if (n_bytes >= prefix && p[6] != 1) {
    length |= (uint64_t)p[10] << 16 | (uint64_t)p[11] << 24;
  }
  if (n_bytes < prefix || length > n_bytes - prefix) {
    return dhc_status_file(name, "header of %llu bytes runs past the end of the file (%zu bytes)",
                           (unsigned long long)length, n_bytes);
  }
  DhcNpy npy = {.fortran = false};
  DhcTensorView *v = &npy.view;
  Cursor c = {.path = name, .text = p + prefix, .n = (size_t)length};
  DHC_TRY(parse_dict(&c, &npy));
  if (!dhc_size_tensor(v->dtype, v->rank, v->shape, NULL, &v->bytes)) {
    return dhc_status_file(name, "shape is too large");
  }
  size_t n_data = n_bytes - prefix - (size_t)length;
  if ((uint64_t)v->bytes != n_data) {
    char shape[160];
    dhc_tensor_shape_text(v->rank, v->shape, shape, sizeof shape);
    return dhc_status_file(name, "%s %s needs %lld bytes, the file has %zu",
                           dhc_tensor_dtype_name(v->dtype), shape, (long long)v->bytes, n_data);
  }
  v->data = p + prefix + length;
  npy.fortran = npy.fortran && v->rank > 1;
  npy.swapped = npy.swapped && dhc_tensor_dtype_bytes(v->dtype) > 1;
  *out = npy;
  return dhc_status_ok();
}

dhc_status dhc_npy_map(const char *path, DhcNpy *out) {
  DhcMapping map = {.bytes = NULL, .n_bytes = 0};
  DHC_TRY(dhc_map_open(path, &map));
  dhc_status status = dhc_npy_parse(path, map.bytes, map.n_bytes, out);
  if (status.code != DHC_OK) {
    dhc_map_close(&map);
    return status;
  }
  out->map = map;
  return status;
}

bool dhc_npy_plain(const DhcNpy *npy) {
  return !npy->fortran && !npy->swapped;
}

static void swap_bytes(uint8_t *to, int64_t n, int32_t size) {
  for (int64_t i = 0; i < n; i++, to += size) {
    for (int32_t a = 0, b = size - 1; a < b; a++, b--) {
      uint8_t was = to[a];
      to[a] = to[b];
      to[b] = was;
    }
  }
}

/* Element (i, i1, i2, …) of a file in Fortran order is number i + n0 (i1 + n1 (i2 + …)). */
static void gather_row(const DhcTensorView *v, int64_t i, int64_t n, int32_t size, uint8_t *to) {
  int64_t at[DHC_TENSOR_MAX_RANK] = {i};
  for (int64_t k = 0; k < n; k++, to += size) {
    int64_t number = 0;
    for (int32_t d = v->rank - 1; d >= 0; d--) {
      number = number * v->shape[d] + at[d];
    }
    memcpy(to, (const uint8_t *)v->data + number * size, (size_t)size);
    for (int32_t d = v->rank - 1; d > 0 && ++at[d] == v->shape[d]; d--) {
      at[d] = 0;
    }
  }
}

void dhc_npy_row(const DhcNpy *npy, int64_t i, void *to) {
  const DhcTensorView *v = &npy->view;
  int32_t size = dhc_tensor_dtype_bytes(v->dtype);
  int64_t rows = v->rank > 0 ? v->shape[0] : 1, row = rows > 0 ? v->bytes / rows : 0;
  if (npy->fortran) {
    gather_row(v, i, row / size, size, to);
  } else if (row > 0) {
    memcpy(to, (const uint8_t *)v->data + i * row, (size_t)row);
  }
  if (npy->swapped) {
    swap_bytes(to, row / size, size);
  }
}

dhc_status dhc_npy_open(const char *path, DhcNpy *out) {
  DhcNpy npy;
  DHC_TRY(dhc_npy_map(path, &npy));
  if (!dhc_npy_plain(&npy)) {
    DhcTensorView *v = &npy.view;
    int64_t rows = v->rank > 0 ? v->shape[0] : 1;
    npy.own = malloc((size_t)v->bytes + 1);
    if (npy.own == NULL) {
      dhc_status status = dhc_status_memory((long long)v->bytes, path);
      dhc_npy_close(&npy);
      return status;
    }
    for (int64_t i = 0; i < rows && v->bytes > 0; i++) {
      dhc_npy_row(&npy, i, (uint8_t *)npy.own + i * (v->bytes / rows));
    }
    v->data = npy.own;
    npy.fortran = npy.swapped = false;
  }
  *out = npy;
  return dhc_status_ok();
}

void dhc_npy_close(DhcNpy *npy) {
  dhc_map_close(&npy->map);
  free(npy->own);
  npy->own = NULL;
  npy->view.data = NULL;
}

/* ---- writing ------------------------------------------------------------------- */

/* "(2, 3)", "(5,)", "()" */
static void shape_tuple(const DhcTensorView *t, char *text, size_t n_text) {
  size_t at = (size_t)snprintf(text, n_text, "(");
  for (int32_t i = 0; i < t->rank; i++) {
    const char *after = i + 1 < t->rank ? ", " : t->rank == 1 ? "," : "";
    at += (size_t)snprintf(text + at, n_text - at, "%lld%s", (long long)t->shape[i], after);
  }
  snprintf(text + at, n_text - at, ")");
}

dhc_status dhc_npy_write(const char *path, const DhcTensorView *t) {
  int64_t n = 0, bytes = 0;
  if (!dhc_size_tensor(t->dtype, t->rank, t->shape, &n, &bytes) || bytes != t->bytes) {
    return dhc_status_make(DHC_E_USAGE, "%s: bytes do not fit the shape", path);
  }
  const void *data = t->data;
  void *widened = NULL;
  int32_t dtype = t->dtype;
  if (dtype == DHC_BF16) {
    dtype = DHC_F32;
    bytes *= 2; /* fits: n * 2 did, and a buffer of that size exists */
    widened = malloc((size_t)bytes + 1);
    if (widened == NULL) {
      return dhc_status_memory(bytes, "a copy in f32");
    }
    dhc_tensor_convert(widened, DHC_F32, t->data, DHC_BF16, n);
    data = widened;
  }
  const char *descr = "";
  for (size_t i = 0; i < sizeof descrs / sizeof descrs[0]; i++) {
    descr = descrs[i].dtype == dtype ? descrs[i].descr : descr;
  }
  char shape[220], header[512];
  shape_tuple(t, shape, sizeof shape);
  memcpy(header, "\x93NUMPY\x01\x00\x00\x00", 10);
  size_t at = 10 + (size_t)snprintf(header + 10, sizeof header - 10,
                                    "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr,
                                    shape);
  size_t total = (at + 1 + 63) / 64 * 64; /* data begins at a multiple of 64 */
  memset(header + at, ' ', total - at);
  header[total - 1] = '\n';
  header[8] = (char)(uint8_t)((total - 10) & 255);
  header[9] = (char)(uint8_t)((total - 10) >> 8);
  DhcFileWriter w;
  dhc_status status = dhc_file_begin(path, &w);
  if (status.code == DHC_OK) {
    status = dhc_file_write(&w, header, total);
    if (status.code == DHC_OK) {
      status = dhc_file_write(&w, data, (size_t)bytes);
    }
    if (status.code == DHC_OK) {
      status = dhc_file_commit(&w);
    } else {
      dhc_file_abort(&w);
    }
  }
  free(widened);
  return status;
}
