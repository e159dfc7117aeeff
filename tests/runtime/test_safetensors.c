/* safetensors: what is written reads back; what is damaged is refused with its
 * own line; no damage crashes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

/* A file of a header text and so many data bytes 0, 1, 2, … */
static uint8_t *make(const char *header, size_t n_data, size_t *n) {
  size_t n_header = strlen(header);
  *n = 8 + n_header + n_data;
  uint8_t *bytes = calloc(1, *n);
  assert_non_null(bytes);
  for (int i = 0; i < 8; i++) {
    bytes[i] = (uint8_t)(n_header >> (8 * i));
  }
  memcpy(bytes + 8, header, n_header);
  for (size_t i = 0; i < n_data; i++) {
    bytes[8 + n_header + i] = (uint8_t)i;
  }
  return bytes;
}

static dhc_status parse(const char *header, size_t n_data) {
  size_t n;
  uint8_t *bytes = make(header, n_data, &n);
  DhcSafetensors *s = NULL;
  dhc_status status = dhc_safetensors_from_bytes("w.safetensors", bytes, n, &s);
  if (status.code == DHC_OK) {
    dhc_safetensors_close(s);
  } else {
    assert_null(s);
  }
  free(bytes);
  return status;
}

static void round_trip(void **state) {
  (void)state;
  char folder[256], path[512];
  support_folder(folder);
  support_join(path, folder, "w.safetensors");
  float w[6] = {1, 2, 3, 4, 5, 6};
  double d[1] = {0.5};
  uint8_t u[3] = {7, 8, 9};
  DhcTensorView views[4] = {
      {.name = "b.u", .dtype = DHC_U8, .rank = 1, .shape = {3}, .data = u, .bytes = 3},
      {.name = "layer \"0\"\\\t\xc3\xa9", .dtype = DHC_F32, .rank = 2, .shape = {2, 3}, .data = w,
       .bytes = 24},
      {.name = "scalar", .dtype = DHC_F64, .rank = 0, .data = d, .bytes = 8},
      {.name = "empty", .dtype = DHC_I16, .rank = 2, .shape = {0, 4}, .data = NULL, .bytes = 0}};
  DhcMetaPair meta[2] = {{"format", "pt"}, {"case", "line\nbreak"}};
  assert_ok(dhc_safetensors_write(path, views, 4, meta, 2));
  DhcSafetensors *s;
  assert_ok(dhc_safetensors_open(path, &s));
  assert_int_equal(dhc_safetensors_count(s), 4);
  assert_int_equal(dhc_safetensors_meta_count(s), 2);
  assert_string_equal(dhc_safetensors_meta(s, "case"), "line\nbreak");
  assert_null(dhc_safetensors_meta(s, "cas"));
  for (int i = 0; i < 4; i++) {
    const DhcTensorView *t = dhc_safetensors_find(s, views[i].name);
    assert_non_null(t);
    assert_int_equal(t->dtype, views[i].dtype);
    assert_int_equal(t->rank, views[i].rank);
    assert_int_equal(t->bytes, views[i].bytes);
    assert_memory_equal(t->shape, views[i].shape, sizeof t->shape);
    if (t->bytes > 0) {
      assert_memory_equal(t->data, views[i].data, (size_t)t->bytes);
    }
    int64_t align = dhc_tensor_dtype_bytes(t->dtype);
    assert_int_equal((int64_t)((uintptr_t)t->data % (uintptr_t)align), 0);
  }
  assert_string_equal(dhc_safetensors_at(s, 0)->name, "scalar"); /* widest first */
  assert_null(dhc_safetensors_find(s, "b"));
  const DhcTensorView *t;
  int64_t want[2] = {3, 2};
  dhc_status status = dhc_safetensors_need(s, "layer \"0\"\\\t\xc3\xa9", -1, 2, want, &t);
  assert_non_null(strstr(status.message, "is [2,3], the model needs [3,2]"));
  assert_int_equal(dhc_safetensors_need(s, "none", -1, 2, want, &t).code, DHC_E_INPUT);
  assert_ok(dhc_safetensors_need(s, "scalar", DHC_F64, 0, NULL, &t));
  dhc_safetensors_close(s);

  /* Equal contents in another order are an equal file. */
  size_t n1, n2;
  uint8_t *first = support_read(path, &n1);
  DhcTensorView swapped[4] = {views[3], views[2], views[1], views[0]};
  DhcMetaPair meta2[2] = {meta[1], meta[0]};
  assert_ok(dhc_safetensors_write(path, swapped, 4, meta2, 2));
  uint8_t *second = support_read(path, &n2);
  assert_int_equal(n1, n2);
  assert_memory_equal(first, second, n1);
  assert_int_equal((first[0] + 256 * first[1]) % 8, 0);
  free(first);
  free(second);

  DhcTensorView twice[2] = {views[0], views[0]};
  assert_int_equal(dhc_safetensors_write(path, twice, 2, NULL, 0).code, DHC_E_USAGE);
  views[0].bytes = 4;
  assert_int_equal(dhc_safetensors_write(path, views, 1, NULL, 0).code, DHC_E_USAGE);
  assert_ok(dhc_safetensors_write(path, NULL, 0, NULL, 0));
  assert_ok(dhc_safetensors_open(path, &s));
  assert_int_equal(dhc_safetensors_count(s), 0);
  dhc_safetensors_close(s);
  support_drop(folder);
}

#define ENTRY(name, dtype, shape, offsets) \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define REFUSED(header, n_data, message) \
  assert_fails(parse(header, n_data), DHC_E_INPUT, "w.safetensors: error: " message)

static void bad_inputs(void **state) {
  (void)state;
  DhcSafetensors *s;
  uint8_t raw[1032] = {0};
  assert_fails(dhc_safetensors_from_bytes("w.safetensors", raw, 7, &s), DHC_E_INPUT,
               "w.safetensors: error: 7 bytes, too short for a header (needs 8)");
  raw[1] = 0x10;
  assert_fails(dhc_safetensors_from_bytes("w.safetensors", raw, 1032, &s), DHC_E_INPUT,
               "w.safetensors: error: header of 4096 bytes runs past the end of the file (1032 "
               "bytes)");
  memset(raw, 0xff, 8);
  assert_fails(dhc_safetensors_from_bytes("w.safetensors", raw, 1032, &s), DHC_E_INPUT,
               "w.safetensors: error: header length 18446744073709551615 is over the limit "
               "100000000");
  REFUSED("{" ENTRY("a", "F32", "[4]", "[0,16]") "," ENTRY("b", "F32", "[4]", "[8,24]") "}", 24,
          "tensor 'b' starts at byte 8, expected 16 (overlap)");
  REFUSED("{" ENTRY("a", "F32", "[4]", "[0,16]") "," ENTRY("b", "F32", "[4]", "[24,40]") "}", 40,
          "tensor 'b' starts at byte 24, expected 16 (hole)");
  REFUSED("{" ENTRY("a", "F32", "[4]", "[0,16]") "}", 528,
          "512 bytes after the last tensor belong to no tensor");
  REFUSED("{" ENTRY("w", "F32", "[1]", "[0,4]") "," ENTRY("w", "F32", "[1]", "[4,8]") "}", 8,
          "tensor 'w' is listed twice");
  REFUSED("{" ENTRY("w", "F32", "[1]", "[0,4]") "," ENTRY("\\u0077", "F32", "[1]", "[4,8]") "}", 8,
          "tensor 'w' is listed twice");
  REFUSED("{" ENTRY("w", "F32", "[2,2]", "[0,4]") "}", 4,
          "tensor 'w': F32 [2,2] needs 16 bytes, its range has 4");
  REFUSED("{" ENTRY("w", "F31", "[1]", "[0,4]") "}", 4, "tensor 'w': unknown dtype \"F31\"");
  REFUSED("{" ENTRY("w", "F16", "[2]", "[0,4]") "}", 4, "tensor 'w': dtype F16 is not supported");
  REFUSED("{" ENTRY("w", "U8", "[2,18446744073709551614]", "[0,4]") "}", 4,
          "tensor 'w': shape is too large");
  REFUSED("{" ENTRY("w", "U8", "[0,99999999999999999999999]", "[0,0]") "}", 0,
          "tensor 'w': shape is too large");
  REFUSED("{" ENTRY("w", "U8", "[4]", "[4,0]") "}", 4,
          "tensor 'w': its range [4,0] ends before it begins");
  REFUSED("{" ENTRY("w", "U8", "[8]", "[0,8]") "}", 4,
          "tensor 'w' ends at byte 8, the data has only 4");
  REFUSED("{\"w\":[[[[[[[[[[[[", 0, "header byte 12: JSON nested deeper than 8 levels");
  REFUSED("{\"__metadata__\":{\"a\":1}}", 0, "header byte 21: metadata values must be strings");
  REFUSED("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "metadata 'a' is listed twice");
  REFUSED("", 0, "header byte 0: expected '{'");
  REFUSED("{} x", 0, "header byte 3: text after the header's end");
  REFUSED("{\"w\":{\"dtype\":\"U8\",\"shape\":[]}}", 0,
          "header byte 29: tensor lacks dtype, shape or data_offsets");
  REFUSED("{\"w\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", 0, "header byte 19: key given twice");
  REFUSED("{" ENTRY("w", "U8", "[1.0]", "[0,1]") "}", 1, "header byte 28: expected a whole number");
  REFUSED("{" ENTRY("w", "U8", "[-1]", "[0,1]") "}", 1, "header byte 28: expected a whole number");
  REFUSED("{" ENTRY("w", "U8", "[01]", "[0,1]") "}", 1, "header byte 28: expected a whole number");
  REFUSED("{" ENTRY("w", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1,
          "header byte 44: a shape has more than 8 dimensions");
  REFUSED("{\"a\\u0000b\":", 0, "header byte 3: bad escape in a string");
  REFUSED("{\"\\ud800\":", 0, "header byte 2: bad escape in a string");
  REFUSED("{\"a\xff\":", 0, "header byte 3: invalid byte in a string");
  REFUSED("{\"a\nb\":", 0, "header byte 3: invalid byte in a string");
  REFUSED("{\"abc", 0, "header byte 1: string is never closed");
}

static void accepted(void **state) {
  (void)state;
  assert_ok(parse("{}", 0));
  assert_ok(parse(" \n{ }  ", 0));
  assert_ok(parse("{" ENTRY("e", "F32", "[0]", "[0,0]") "," ENTRY("w", "U8", "[2]", "[0,2]") ","
                      ENTRY("f", "F32", "[0]", "[2,2]") "}", 2));
  /* Offsets need not follow the header's order. */
  assert_ok(parse("{" ENTRY("b", "U8", "[2]", "[2,4]") "," ENTRY("a", "U8", "[2]", "[0,2]") "}", 4));
  assert_ok(parse("{\"__metadata__\":{\"k\":\"\\ud83d\\ude00\\/\"}}", 0));
}

/* A header of 100,000 brackets, and long and deep nonsense. */
static void hostile_sizes(void **state) {
  (void)state;
  size_t n = 100000;
  char *text = malloc(n + 1);
  memset(text, '[', n);
  text[n] = '\0';
  REFUSED(text, 0, "header byte 8: JSON nested deeper than 8 levels");
  memset(text, '"', n);
  assert_int_equal(parse(text, 0).code, DHC_E_INPUT);
  memset(text, '\\', n);
  assert_int_equal(parse(text, 0).code, DHC_E_INPUT);
  free(text);
}

static int try_open(void *ctx, const uint8_t *bytes, size_t n) {
  DhcSafetensors *s;
  (void)ctx;
  if (dhc_safetensors_from_bytes("w", bytes, n, &s).code != DHC_OK) {
    return 0;
  }
  double sum = 0;
  for (int32_t i = 0; i < dhc_safetensors_count(s); i++) {
    const DhcTensorView *t = dhc_safetensors_at(s, i);
    int64_t elements = t->bytes / dhc_tensor_dtype_bytes(t->dtype);
    for (int64_t k = 0; k < elements; k++) {
      sum += dhc_tensor_get(t, k);
    }
  }
  dhc_safetensors_close(s);
  return 1 + (sum > 0 ? 1 : 0);
}

static void damaged(void **state) {
  (void)state;
  size_t n;
  uint8_t *bytes = make("{\"__metadata__\":{\"k\":\"v\"}," ENTRY("a", "F32", "[2,2]", "[0,16]") ","
                            ENTRY("b", "I64", "[1]", "[16,24]") "}", 24, &n);
  /* Bytes of names, metadata and data may change freely; nothing may crash. */
  long n_accepted = support_damage(bytes, n, try_open, NULL);
  assert_in_range(n_accepted, 24, 4 * (24 + 40));
  assert_int_equal(try_open(NULL, bytes, n) > 0, 1);
  for (size_t k = 0; k < n; k++) {
    assert_int_equal(try_open(NULL, bytes, k), 0);
  }
  free(bytes);
}

static void sealed(void **state) {
  (void)state;
  char folder[256], path[512];
  support_folder(folder);
  support_join(path, folder, "c.safetensors");
  float w[2] = {1, 2};
  DhcTensorView view = {.name = "w", .dtype = DHC_F32, .rank = 1, .shape = {2}, .data = w, .bytes = 8};
  DhcMetaPair meta[1] = {{"z", "1"}};
  assert_ok(dhc_safetensors_write_sealed(path, &view, 1, meta, 1, "seal"));
  size_t n;
  uint8_t *bytes = support_read(path, &n);
  for (size_t i = 0; i <= n; i++) { /* every single changed byte is caught */
    DhcSafetensors *s;
    uint8_t saved = i < n ? bytes[i] : 0;
    if (i < n) {
      bytes[i] ^= 1;
    }
    if (dhc_safetensors_from_bytes("c", bytes, n, &s).code == DHC_OK) {
      assert_int_equal(dhc_safetensors_check_seal(s, "seal").code, i < n ? DHC_E_INPUT : DHC_OK);
      assert_int_equal(dhc_safetensors_check_seal(s, "none").code, DHC_E_INPUT);
      dhc_safetensors_close(s);
    } else {
      assert_true(i < n);
    }
    if (i < n) {
      bytes[i] = saved;
    }
  }
  free(bytes);
  support_drop(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(round_trip),    cmocka_unit_test(bad_inputs), cmocka_unit_test(accepted),
      cmocka_unit_test(hostile_sizes), cmocka_unit_test(damaged),    cmocka_unit_test(sealed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
