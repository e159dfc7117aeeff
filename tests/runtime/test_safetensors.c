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
  char refusal[700];
  snprintf(refusal, sizeof refusal, "%s: tensor '%s' is given twice", path, views[0].name);
  assert_fails(dhc_safetensors_write(path, twice, 2, NULL, 0), DHC_E_USAGE, refusal);
  views[0].bytes = 4;
  snprintf(refusal, sizeof refusal, "%s: tensor '%s': bytes do not fit its shape", path, views[0].name);
  assert_fails(dhc_safetensors_write(path, views, 1, NULL, 0), DHC_E_USAGE, refusal);
  DhcMetaPair same[2] = {{.key = "run", .value = "1"}, {.key = "run", .value = "2"}};
  snprintf(refusal, sizeof refusal, "%s: metadata 'run' is given twice", path);
  assert_fails(dhc_safetensors_write(path, NULL, 0, same, 2), DHC_E_USAGE, refusal);
  assert_ok(dhc_safetensors_write(path, NULL, 0, NULL, 0));
  assert_ok(dhc_safetensors_open(path, &s));
  assert_int_equal(dhc_safetensors_count(s), 0);
  dhc_safetensors_close(s);
  support_drop(folder);
}

#define ENTRY(name, dtype, shape, offsets) \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
/* A tensor of one byte with a field that the format does not know. */
#define FIELD(value) "{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":" value "}}"
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
  REFUSED("{" ENTRY("w", "f32", "[1]", "[0,4]") "}", 4, "tensor 'w': unknown dtype \"f32\"");
  REFUSED("{" ENTRY("w", "F4", "[3]", "[0,2]") "}", 2, "tensor 'w': its F4 do not fill whole bytes");
  REFUSED("{" ENTRY("w", "F6_E2M3", "[3]", "[0,2]") "}", 2, "tensor 'w': its F6_E2M3 do not fill whole bytes");
  REFUSED("{" ENTRY("w", "U8", "[2,18446744073709551614]", "[0,4]") "}", 4,
          "tensor 'w': shape is too large");
  REFUSED("{" ENTRY("w", "U8", "[0,99999999999999999999999]", "[0,0]") "}", 0,
          "tensor 'w': shape is too large");
  REFUSED("{" ENTRY("w", "U8", "[4]", "[4,0]") "}", 4,
          "tensor 'w': its range [4,0] ends before it begins");
  REFUSED("{" ENTRY("w", "U8", "[8]", "[0,8]") "}", 4,
          "tensor 'w' ends at byte 8, the data has only 4");
  REFUSED("{" ENTRY("w", "U8", "[4]", "[0,99999999999999999999]") "}", 4, "header byte 46: data offset out of range");
  REFUSED("{\"w\":{\"dtype\":{\"U8\":1},\"shape\":[],\"data_offsets\":[0,1]}}", 1, "header byte 20: expected null");
  REFUSED("{\"__metadata__\":{\"a\":1}}", 0, "header byte 21: metadata values must be strings");
  REFUSED("{\"__metadata__\":[]}", 0, "header byte 16: expected '{'");
  REFUSED("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "header byte 19: key given twice");
  REFUSED("", 0, "header byte 0: expected '{'");
  REFUSED("{} x", 0, "header byte 3: text after the header's end");
  REFUSED("{\"w\":{\"dtype\":\"U8\",\"shape\":[]}}", 0,
          "header byte 29: tensor lacks dtype, shape or data_offsets");
  REFUSED("{\"w\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", 0, "header byte 19: key given twice");
  REFUSED("{" ENTRY("w", "U8", "[1.0]", "[0,1]") "}", 1, "header byte 28: expected a whole number");
  REFUSED("{" ENTRY("w", "U8", "[-1]", "[0,1]") "}", 1, "header byte 28: expected a whole number");
  REFUSED("{" ENTRY("w", "U8", "[01]", "[0,1]") "}", 1, "header byte 28: expected a whole number");
  REFUSED("{" ENTRY("w", "U8", "[-0]", "[0,0]") "}", 0, "header byte 28: expected a whole number");
  REFUSED("{" ENTRY("w", "U8", "null", "[0,0]") "}", 0, "header byte 27: expected '['");
  REFUSED("{" ENTRY("w", "U8", "[1]", "[0,1,2]") "}", 1, "header byte 50: expected ']'");
  REFUSED("{" ENTRY("w", "U8", "[4294967296,4294967296,0]", "[0,0]") "}", 0, "tensor 'w': shape is too large");
  REFUSED("{" ENTRY("w", "U8", "[2]", "[0,2]") "," ENTRY("e", "U8", "[0]", "[1,1]") "}", 2,
          "tensor 'e' starts at byte 1, expected 2 (overlap)");
  REFUSED("{\"w\":\"x\"}", 0, "header byte 5: expected '{'");
  REFUSED("{\"w\":{}}", 0, "header byte 6: expected '\"'");
  REFUSED("{" ENTRY("w", "U8", "[1]", "[0,1]") ",}", 1, "header byte 53: expected '\"'");
  REFUSED(FIELD("{\"a\":01}"), 1, "header byte 62: expected ','");
  REFUSED(FIELD("[1,]"), 1, "header byte 59: expected a value");
  REFUSED(FIELD("{\"a\" 1}"), 1, "header byte 61: expected ':'");
  REFUSED(FIELD("tru"), 1, "header byte 56: expected a value");
  REFUSED(FIELD("\"\\q\""), 1, "header byte 57: bad escape in a string");
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
  /* The rest is what the safetensors package, version 0.8.0, was seen to take. */
  assert_ok(parse("{" ENTRY("w", "U8", "[1]", "[0,1]") "}\t\n\r ", 1));
  assert_ok(parse("{\"__metadata__\":null," ENTRY("w", "U8", "[1]", "[0,1]") "}", 1));
  assert_ok(parse("{\"w\":[\"U8\",[1],[0,1]]}", 1));
  assert_ok(parse("{\"w\":{\"dtype\":{\"U8\":null},\"shape\":[1],\"data_offsets\":[0,1]}}", 1));
  assert_ok(parse("{\"w\":{\"\\u0064type\":\"\\u00558\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1));
  assert_ok(parse("{" ENTRY("", "U8", "[1]", "[0,1]") "," ENTRY("a\\u0000b", "U8", "[1]", "[1,2]") "," ENTRY(
                      "\x7f", "U8", "[1]", "[2,3]") "}", 3));
  assert_ok(parse("{" ENTRY("w", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1));
  assert_ok(parse("{" ENTRY("w", "U8", "[0,18446744073709551615]", "[0,0]") "}", 0));
  assert_ok(parse("{" ENTRY("w", "U8", "[0,4294967296,4294967296]", "[0,0]") "}", 0));
  assert_ok(parse("{" ENTRY("w", "F64", "[2305843009213693952,0]", "[0,0]") "}", 0));
  static const char *const fields[] = {FIELD("[1,{\"y\":null}]"), FIELD("{}"), FIELD("[[],{\"a\":[]},-0.5e-3]"), FIELD("\"\\n\""),
                                       FIELD("true,\"y\":false"), FIELD("1,\"x\":2"), FIELD("{\"a\":{\"b\":1},\"c\":0}")};
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
    assert_ok(parse(fields[i], 1));
  }
}

/* Nesting up to 127 levels, the header's own included, as the package has it. */
static void nesting(void **state) {
  (void)state;
  for (int depth = 100; depth <= 130; depth++) {
    char text[512], deep[300] = "";
    memset(deep, '[', (size_t)depth);
    memset(deep + depth, ']', (size_t)depth);
    snprintf(text, sizeof text, FIELD("%s"), deep);
    dhc_status status = parse(text, 1);
    assert_int_equal(status.code, depth + 2 <= 127 ? DHC_OK : DHC_E_INPUT);
    assert_true(depth + 2 <= 127 || strstr(status.message, "JSON nested deeper than 127 levels") != NULL);
  }
}

/* Of equal keys of the metadata the last counts. */
static void repeated_metadata(void **state) {
  (void)state;
  size_t n;
  uint8_t *bytes = make("{\"__metadata__\":{\"b\":\"0\",\"a\":\"1\",\"a\":\"2\",\"a\":\"3\"}}", 0, &n);
  DhcSafetensors *s;
  assert_ok(dhc_safetensors_from_bytes("w", bytes, n, &s));
  assert_int_equal(dhc_safetensors_meta_count(s), 2);
  assert_string_equal(dhc_safetensors_meta(s, "a"), "3");
  assert_string_equal(dhc_safetensors_meta(s, "b"), "0");
  dhc_safetensors_close(s);
  free(bytes);
}

/* Every dtype of the format is read past; those that nothing can hold are refused when asked for. */
static void every_dtype(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int bits;
    const char *refused;
  } rows[] = {{"BOOL", 8, NULL}, {"F4", 4, NULL}, {"F6_E2M3", 6, "dtype F6_E2M3 is not supported"},
              {"F6_E3M2", 6, "dtype F6_E3M2 is not supported"}, {"U8", 8, NULL}, {"I8", 8, NULL}, {"F8_E5M2", 8, NULL},
              {"F8_E4M3", 8, NULL}, {"F8_E8M0", 8, NULL}, {"F8_E4M3FNUZ", 8, NULL}, {"F8_E5M2FNUZ", 8, NULL},
              {"I16", 16, NULL}, {"U16", 16, NULL}, {"F16", 16, NULL}, {"BF16", 16, NULL}, {"I32", 32, NULL},
              {"U32", 32, NULL}, {"F32", 32, NULL}, {"C64", 64, "dtype C64 is not supported"}, {"F64", 64, NULL},
              {"I64", 64, NULL}, {"U64", 64, NULL}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char text[200];
    int bytes = 8 * rows[i].bits / 8;
    size_t n;
    DhcSafetensors *s;
    const DhcTensorView *t;
    int64_t shape[2] = {2, 4};
    snprintf(text, sizeof text, "{\"w\":{\"dtype\":\"%s\",\"shape\":[2,4],\"data_offsets\":[0,%d]}}", rows[i].text, bytes);
    uint8_t *file = make(text, (size_t)bytes, &n);
    assert_ok(dhc_safetensors_from_bytes("w.safetensors", file, n, &s));
    assert_int_equal(dhc_safetensors_at(s, 0)->bytes, bytes);
    dhc_status status = dhc_safetensors_need(s, "w", -1, 2, shape, &t);
    if (rows[i].refused != NULL) {
      assert_int_equal(status.code, DHC_E_INPUT);
      assert_non_null(strstr(status.message, rows[i].refused));
      assert_int_equal(dhc_safetensors_at(s, 0)->dtype, -1);
    } else {
      double v[8];
      assert_ok(status);
      dhc_tensor_convert(v, DHC_F64, t->data, t->dtype, 8);
      for (int k = 0; k < 8; k++) {
        double same = dhc_tensor_get(t, k);
        assert_memory_equal(&v[k], &same, sizeof same);
      }
    }
    dhc_safetensors_close(s);
    free(file);
  }
}

/* What is no safetensors file is called by its name. */
static void recognised(void **state) {
  (void)state;
  static const struct {
    const char *bytes;
    size_t n;
    const char *says;
  } rows[] = {
#define FILE_OF(bytes, says) {bytes, sizeof bytes - 1, says}
      FILE_OF("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 8\n", "a git-lfs pointer"),
      FILE_OF("PK\3\4\24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\14\0\0\0m/data.pkl....", "a PyTorch checkpoint (zip); save"),
      FILE_OF("PK\3\4\24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\5\0\0\0x.npy....", "a NumPy .npz archive"),
      FILE_OF("PK\3\4\24\0\0\0\0\0\0\0\0\0\0\0\0\0", "a zip archive"),
      FILE_OF("\x80\2\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.", "a Python pickle"),
      FILE_OF("\x80\4\x95\x10\0\0\0\0\0\0\0}\x94.", "a Python pickle"),
      FILE_OF("\x1f\x8b\10\0\0\0\0\0\0\3\1\0\0\0", "gzip data; unpack it first"),
      FILE_OF("\x28\xb5\x2f\xfd\4\0\1\0\0\0\0", "zstd data"),
      FILE_OF("\x89HDF\r\n\x1a\n\0\0\0\0", "an HDF5 file"),
      FILE_OF("GGUF\3\0\0\0\1\0\0\0\0\0\0\0", "a GGUF file"),
      FILE_OF("\x93NUMPY\1\0v\0{'descr'", "a NumPy .npy file"),
      FILE_OF("\n <!DOCTYPE HTML><html>", "an HTML page"),
      FILE_OF("<html><head>", "an HTML page"),
      FILE_OF("{\"metadata\":{},\"weight_map\":{}}", "the index of a checkpoint in several files"),
      FILE_OF("{\"architectures\":[]}", "JSON text"),
      FILE_OF("404: Not Found", "a text file"),
#undef FILE_OF
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    DhcSafetensors *s = NULL;
    char want[128];
    snprintf(want, sizeof want, "w: error: is no .safetensors file but %s", rows[i].says);
    dhc_status status = dhc_safetensors_from_bytes("w", rows[i].bytes, rows[i].n, &s);
    assert_int_equal(status.code, DHC_E_INPUT);
    assert_int_equal(strncmp(status.message, want, strlen(want)), 0);
  }
  /* A header length that reads like the beginning of a pickle. */
  size_t n;
  char text[640 + 1];
  memset(text, ' ', sizeof text);
  memcpy(text, "{}", 2);
  text[640] = '\0';
  uint8_t *bytes = make(text, 0, &n);
  DhcSafetensors *s;
  assert_ok(dhc_safetensors_from_bytes("w", bytes, n, &s));
  dhc_safetensors_close(s);
  free(bytes);
}

/* A header of 100,000 brackets, and long and deep nonsense. */
static void hostile_sizes(void **state) {
  (void)state;
  size_t n = 100000;
  char *text = malloc(n + 1);
  memset(text, '[', n);
  text[n] = '\0';
  REFUSED(text, 0, "header byte 127: JSON nested deeper than 127 levels");
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
    int64_t elements = t->dtype < 0 ? 0 : t->bytes * 8 / dhc_tensor_dtype_bits(t->dtype);
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
  assert_in_range(n_accepted, 24 * 12, 16 * (24 + 40));
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
      cmocka_unit_test(nesting),       cmocka_unit_test(repeated_metadata), cmocka_unit_test(every_dtype),
      cmocka_unit_test(recognised),
      cmocka_unit_test(hostile_sizes), cmocka_unit_test(damaged),    cmocka_unit_test(sealed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
