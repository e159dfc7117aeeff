/* GGUF files (versions 2 and 3) as weights: a header of counts, keys with values and a row a tensor, then, aligned, the
 * data. Values but the alignment are passed over. Dimensions stand with the fastest first, so they are turned round; names
 * stand as they are. Types that are packed in blocks are known by their size, so that what lies beside them can be read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/formats/gguf.h"
#include "runtime/formats/safetensors_internal.h"

/* Bytes of the least row of a table: the length of its name, rank, type, place. */
enum { MIN_TENSOR = 8 + 4 + 4 + 8, MAX_NESTED = 8, USUAL_ALIGNMENT = 32 };

/* `elements` of a type take `bytes`. Source: the gguf package, 0.19. */
static const struct {
  uint32_t id;
  char text[12];
  int32_t dtype, elements, bytes;
} types[] = {
    {0, "F32", DHC_F32, 1, 4},   {1, "F16", DHC_FILE_F16, 1, 2}, {30, "BF16", DHC_BF16, 1, 2}, {28, "F64", DHC_F64, 1, 8},
    {24, "I8", DHC_I8, 1, 1},    {25, "I16", DHC_I16, 1, 2},     {26, "I32", DHC_I32, 1, 4},   {27, "I64", DHC_I64, 1, 8},
    {2, "Q4_0", -1, 32, 18},     {3, "Q4_1", -1, 32, 20},        {6, "Q5_0", -1, 32, 22},      {7, "Q5_1", -1, 32, 24},
    {8, "Q8_0", -1, 32, 34},     {9, "Q8_1", -1, 32, 40},        {10, "Q2_K", -1, 256, 84},    {11, "Q3_K", -1, 256, 110},
    {12, "Q4_K", -1, 256, 144},  {13, "Q5_K", -1, 256, 176},     {14, "Q6_K", -1, 256, 210},   {15, "Q8_K", -1, 256, 292},
    {16, "IQ2_XXS", -1, 256, 66}, {17, "IQ2_XS", -1, 256, 74},   {18, "IQ3_XXS", -1, 256, 98}, {19, "IQ1_S", -1, 256, 50},
    {20, "IQ4_NL", -1, 32, 18},  {21, "IQ3_S", -1, 256, 110},    {22, "IQ2_S", -1, 256, 82},   {23, "IQ4_XS", -1, 256, 136},
    {29, "IQ1_M", -1, 256, 56},  {34, "TQ1_0", -1, 256, 54},     {35, "TQ2_0", -1, 256, 66},   {39, "MXFP4", -1, 32, 17},
    {40, "NVFP4", -1, 64, 36},   {41, "Q1_0", -1, 128, 18},
};

/* Types of values. The bytes of those that have a fixed number; 0: a text or an array. */
enum { VALUE_U32 = 4, VALUE_TEXT = 8, VALUE_ARRAY = 9 };
static const uint8_t value_bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

typedef struct Reader {
  DhcSafetensors *s;
  size_t at;
  char *names; /* where the next one goes in s->strings */
  uint64_t alignment, n_keys, n_tensors;
} Reader;

static size_t left(const Reader *r) {
  return r->s->n_bytes - r->at;
}

static dhc_status too_short(const Reader *r) {
  return dhc_status_file(r->s->path, "its header runs past the end of the file (%zu bytes)", r->s->n_bytes);
}

/* A little-endian number of n bytes. */
static dhc_status number(Reader *r, size_t n, uint64_t *out) {
  if (left(r) < n) return too_short(r);
  *out = 0;
  for (size_t i = n; i-- > 0;) *out = *out << 8 | r->s->bytes[r->at + i];
  r->at += n;
  return dhc_status_ok();
}

/* A text as it stands in the file. */
static dhc_status text(Reader *r, const char **out, size_t *n) {
  uint64_t length = 0;
  DHC_TRY(number(r, 8, &length));
  if (length > left(r)) return too_short(r);
  *out = (const char *)r->s->bytes + r->at;
  *n = (size_t)length;
  r->at += *n;
  return dhc_status_ok();
}

/* ---- keys and values ---------------------------------------------------------------- */

static dhc_status skip_value(Reader *r, uint64_t type, int depth);

static dhc_status skip_array(Reader *r, int depth) {
  const size_t begin = r->at;
  uint64_t type = 0, n = 0;
  if (depth == MAX_NESTED) return dhc_status_file(r->s->path, "byte %zu: arrays nested deeper than %d", begin, MAX_NESTED);
  DHC_TRY(number(r, 4, &type));
  DHC_TRY(number(r, 8, &n));
  if (type < sizeof value_bytes && value_bytes[type]) {
    if (n > left(r) / value_bytes[type]) return too_short(r);
    r->at += (size_t)n * value_bytes[type];
    return dhc_status_ok();
  }
  for (uint64_t i = 0; i < n; i++) DHC_TRY(skip_value(r, type, depth + 1)); /* every one takes bytes, so it ends with them */
  return dhc_status_ok();
}

static dhc_status skip_value(Reader *r, uint64_t type, int depth) {
  const char *at;
  size_t n;
  if (type >= sizeof value_bytes) return dhc_status_file(r->s->path, "byte %zu: a value of unknown type %u", r->at, (unsigned)type);
  if (type == VALUE_TEXT) return text(r, &at, &n);
  if (type == VALUE_ARRAY) return skip_array(r, depth);
  if (left(r) < value_bytes[type]) return too_short(r);
  r->at += value_bytes[type];
  return dhc_status_ok();
}

static dhc_status read_keys(Reader *r) {
  static const char alignment[] = "general.alignment";
  for (uint64_t i = 0; i < r->n_keys; i++) {
    const char *key;
    size_t n;
    uint64_t type = 0;
    DHC_TRY(text(r, &key, &n));
    DHC_TRY(number(r, 4, &type));
    if (n != sizeof alignment - 1 || memcmp(key, alignment, n) != 0) {
      DHC_TRY(skip_value(r, type, 0));
      continue;
    }
    if (type == VALUE_U32) DHC_TRY(number(r, 4, &r->alignment));
    if (type != VALUE_U32 || !r->alignment || (r->alignment & (r->alignment - 1)))
      return dhc_status_file(r->s->path, "general.alignment must be a u32 that is a power of two");
  }
  return dhc_status_ok();
}

/* ---- tensors -------------------------------------------------------------------------- */

static dhc_status read_name(Reader *r, StTensor *t) {
  const size_t begin = r->at;
  const char *name;
  size_t n;
  DHC_TRY(text(r, &name, &n));
  for (size_t i = 0; i < n; i++)
    if ((uint8_t)name[i] < 0x20 || (uint8_t)name[i] >= 0x7f) return dhc_status_file(r->s->path, "byte %zu: a tensor's name is no printable ASCII", begin);
  t->view.name = r->names;
  memcpy(r->names, name, n);
  r->names[n] = '\0';
  r->names += n + 1;
  return dhc_status_ok();
}

static dhc_status read_shape(Reader *r, StTensor *t) {
  uint64_t rank = 0, dim = 0;
  DHC_TRY(number(r, 4, &rank));
  if (rank > DHC_TENSOR_MAX_RANK)
    return dhc_status_file(r->s->path, "tensor '%s' has %u dimensions, more than %d", t->view.name, (unsigned)rank, DHC_TENSOR_MAX_RANK);
  t->view.rank = t->n_dims = (int32_t)rank;
  t->n_elements = 1;
  t->shape_fits = true;
  for (int32_t d = t->n_dims; d-- > 0;) {
    DHC_TRY(number(r, 8, &dim));
    t->view.shape[d] = (int64_t)dim;
    t->shape_fits = t->shape_fits && dim <= INT64_MAX && dhc_size_mul(t->n_elements, (int64_t)dim, &t->n_elements);
  }
  return dhc_status_ok();
}

static dhc_status set_type(Reader *r, StTensor *t, uint64_t id) {
  const size_t n = sizeof types / sizeof types[0];
  size_t k = 0;
  while (k < n && types[k].id != id) k++;
  if (k == n) return dhc_status_file(r->s->path, "tensor '%s': unknown type %u", t->view.name, (unsigned)id);
  const int64_t fastest = t->n_dims ? t->view.shape[t->n_dims - 1] : 1;
  snprintf(t->dtype_text, sizeof t->dtype_text, "%s", types[k].text);
  t->view.dtype = types[k].dtype;
  t->opaque = t->view.dtype < 0;
  if (t->shape_fits && fastest % types[k].elements)
    return dhc_status_file(r->s->path, "tensor '%s': rows of %lld are no whole blocks of %d %s", t->view.name, (long long)fastest,
                           types[k].elements, types[k].text);
  if (!t->shape_fits || !dhc_size_mul(t->n_elements / types[k].elements, types[k].bytes, &t->view.bytes) ||
      (!t->opaque && !dhc_size_tensor(t->view.dtype, t->view.rank, t->view.shape, NULL, NULL)))
    return dhc_status_file(r->s->path, "tensor '%s': shape is too large", t->view.name);
  return dhc_status_ok();
}

/* Room for the names, up to the first row that is damaged: data behind the rows are not counted, of which there may be far more than memory. */
static size_t name_bytes(Reader r) {
  size_t bytes = 1, n;
  const char *name;
  uint64_t rank = 0;
  for (uint64_t i = 0; i < r.n_tensors && text(&r, &name, &n).code == DHC_OK; i++) {
    bytes += n + 1;
    if (number(&r, 4, &rank).code != DHC_OK || rank > DHC_TENSOR_MAX_RANK || left(&r) < 8 * rank + 4 + 8) break;
    r.at += 8 * (size_t)rank + 4 + 8;
  }
  return bytes;
}

static dhc_status read_tensors(Reader *r) {
  DhcSafetensors *s = r->s;
  if (r->n_tensors > left(r) / MIN_TENSOR || r->n_tensors >= INT32_MAX) return too_short(r);
  s->tensors = calloc((size_t)r->n_tensors + 1, sizeof *s->tensors);
  s->strings = malloc(name_bytes(*r));
  if (!s->tensors || !s->strings) return dhc_status_memory((long long)r->n_tensors * (long long)sizeof *s->tensors, "a table of tensors");
  r->names = s->strings;
  for (; (uint64_t)s->n_tensors < r->n_tensors; s->n_tensors++) {
    StTensor *t = &s->tensors[s->n_tensors];
    uint64_t id = 0;
    t->path = s->path;
    t->order = s->n_tensors;
    DHC_TRY(read_name(r, t));
    DHC_TRY(read_shape(r, t));
    DHC_TRY(number(r, 4, &id));
    DHC_TRY(set_type(r, t, id));
    DHC_TRY(number(r, 8, &t->begin));
  }
  return dhc_status_ok();
}

/* Where each one lies. */
static dhc_status place(Reader *r) {
  DhcSafetensors *s = r->s;
  const uint64_t begin = r->at + (r->alignment - r->at % r->alignment) % r->alignment, data = begin < s->n_bytes ? s->n_bytes - begin : 0;
  s->header_bytes = (size_t)(begin < s->n_bytes ? begin : s->n_bytes);
  for (int32_t i = 0; i < s->n_tensors; i++) {
    StTensor *t = &s->tensors[i];
    if (t->begin % r->alignment)
      return dhc_status_file(s->path, "tensor '%s' starts at byte %llu, no multiple of %llu", t->view.name, (unsigned long long)t->begin,
                             (unsigned long long)r->alignment);
    if (t->begin > data || (uint64_t)t->view.bytes > data - t->begin)
      return dhc_status_file(s->path, "tensor '%s': %lld bytes from byte %llu on, the data has only %llu", t->view.name, (long long)t->view.bytes,
                             (unsigned long long)t->begin, (unsigned long long)data);
    t->end = t->begin + (uint64_t)t->view.bytes;
    t->view.data = s->bytes + s->header_bytes + t->begin;
  }
  return dhc_status_ok();
}

static dhc_status sort(DhcSafetensors *s) {
  if (s->n_tensors > 1) qsort(s->tensors, (size_t)s->n_tensors, sizeof *s->tensors, dhc_safetensors_by_place);
  for (int32_t i = 1; i < s->n_tensors; i++)
    if (s->tensors[i].begin < s->tensors[i - 1].end)
      return dhc_status_file(s->path, "tensors '%s' and '%s' overlap", s->tensors[i - 1].view.name, s->tensors[i].view.name);
  return dhc_safetensors_index_names(s);
}

static dhc_status read_all(Reader *r) {
  uint64_t version = 0;
  r->at = 4;
  DHC_TRY(number(r, 4, &version));
  if (version && !(version & 0xffff)) return dhc_status_file(r->s->path, "a big-endian GGUF file; little-endian ones are read");
  if (version != 2 && version != 3) return dhc_status_file(r->s->path, "GGUF version %u; 2 and 3 are read", (unsigned)version);
  DHC_TRY(number(r, 8, &r->n_tensors));
  DHC_TRY(number(r, 8, &r->n_keys));
  DHC_TRY(read_keys(r));
  DHC_TRY(read_tensors(r));
  DHC_TRY(place(r));
  return sort(r->s);
}

/* ---- opening -------------------------------------------------------------------------- */

bool dhc_gguf_begins(const void *bytes, size_t n_bytes) {
  return n_bytes >= 4 && memcmp(bytes, "GGUF", 4) == 0;
}

dhc_status dhc_gguf_from_bytes(const char *name, const void *bytes, size_t n_bytes, DhcSafetensors **out) {
  DhcSafetensors *s = calloc(1, sizeof *s);
  if (!s || !(s->path = strdup(name))) {
    free(s);
    return dhc_status_memory((long long)sizeof *s, "a file's index");
  }
  s->bytes = bytes;
  s->n_bytes = n_bytes;
  Reader r = {.s = s, .alignment = USUAL_ALIGNMENT};
  dhc_status st = read_all(&r);
  if (st.code == DHC_OK) *out = s;
  else dhc_safetensors_close(s);
  return st;
}
