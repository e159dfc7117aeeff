/* Status values, checked sizes, element conversion, SHA-256, Philox, files. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/number.h"
#include "support.h"

static void status_wording(void **state) {
  (void)state;
  dhc_status s = dhc_status_errno(ENOSPC, "%s", "out/m.safetensors");
  assert_string_equal(s.message, "out/m.safetensors: no space left on device");
  assert_int_equal(s.code, DHC_E_ENVIRONMENT);
  s = dhc_status_file("w", "tensor '%s' is bad", "a\nb\x1b[2J");
  assert_string_equal(s.message, "w: error: tensor 'a?b?[2J' is bad");
  char longer[2000];
  memset(longer, 'x', sizeof longer - 1);
  longer[sizeof longer - 1] = '\0';
  s = dhc_status_file(longer, "%s", longer);
  assert_int_equal(strlen(s.message), sizeof s.message - 1);
}

static void sizes(void **state) {
  (void)state;
  int64_t n = -1, bytes = -1;
  int64_t shape[3] = {4194305, 4194305, 211106198978564};
  assert_false(dhc_size_tensor(DHC_F32, 3, shape, &n, &bytes));
  assert_int_equal(n, -1);
  int64_t hidden[3] = {0, INT64_MAX, 2};
  assert_false(dhc_size_tensor(DHC_U8, 3, hidden, &n, &bytes));
  int64_t empty[2] = {3, 0};
  assert_true(dhc_size_tensor(DHC_F64, 2, empty, &n, &bytes));
  assert_int_equal(n, 0);
  assert_int_equal(bytes, 0);
  assert_true(dhc_size_tensor(DHC_F64, 0, NULL, &n, &bytes));
  assert_int_equal(bytes, 8);
  int64_t negative[1] = {-1};
  assert_false(dhc_size_tensor(DHC_F64, 1, negative, &n, &bytes));
  int64_t edge[1] = {INT64_MAX / 8};
  assert_true(dhc_size_tensor(DHC_F64, 1, edge, &n, &bytes));
  edge[0]++;
  assert_false(dhc_size_tensor(DHC_F64, 1, edge, &n, &bytes));
  assert_false(dhc_size_add(INT64_MAX, 1, &n));
  assert_false(dhc_size_align64(INT64_MAX, &n));
  assert_true(dhc_size_align64(65, &n));
  assert_int_equal(n, 128);
}

static void conversions(void **state) {
  (void)state;
  float f[6] = {1.5f, -2.5f, 300.0f, NAN, -INFINITY, 1e20f};
  int8_t i8[6];
  int64_t i64[6];
  uint8_t b[6];
  dhc_tensor_convert(i8, DHC_I8, f, DHC_F32, 6);
  assert_int_equal(i8[0], 1);
  assert_int_equal(i8[1], -2);
  assert_int_equal(i8[2], 127);
  assert_int_equal(i8[3], 0);
  assert_int_equal(i8[4], -128);
  dhc_tensor_convert(i64, DHC_I64, f, DHC_F32, 6);
  assert_true(i64[5] == INT64_MAX);
  assert_true(i64[4] == INT64_MIN);
  dhc_tensor_convert(b, DHC_BOOL, f, DHC_F32, 6);
  assert_int_equal(b[0], 1);
  int64_t wide[3] = {-1, 70000, 5};
  uint16_t u16[3];
  dhc_tensor_convert(u16, DHC_U16, wide, DHC_I64, 3);
  assert_int_equal(u16[0], 0);
  assert_int_equal(u16[1], 65535);
  assert_int_equal(u16[2], 5);
  uint8_t pixels[3] = {0, 7, 255};
  float shown[3];
  double doubled[3];
  dhc_tensor_convert(shown, DHC_F32, pixels, DHC_U8, 3);
  dhc_tensor_convert(doubled, DHC_F64, shown, DHC_F32, 3);
  assert_true(doubled[0] == 0 && doubled[1] == 7 && doubled[2] == 255);
  doubled[0] = 1e300;
  doubled[1] = 0.1;
  dhc_tensor_convert(shown, DHC_F32, doubled, DHC_F64, 3);
  assert_true(isinf(shown[0]) && shown[1] == 0.1f);
  dhc_tensor_convert(i64, DHC_I64, pixels, DHC_U8, 3);
  assert_int_equal(i64[2], 255);
  int32_t negative[1] = {-5};
  dhc_tensor_convert(i64, DHC_I64, negative, DHC_I32, 1);
  assert_int_equal(i64[0], -5);
  uint16_t bf[6];
  float back[6];
  float round[3] = {1.00390625f, 1.01171875f, NAN}; /* ties: down to even, up to even */
  dhc_tensor_convert(bf, DHC_BF16, round, DHC_F32, 3);
  dhc_tensor_convert(back, DHC_F32, bf, DHC_BF16, 3);
  assert_true(back[0] == 1.0f);
  assert_true(back[1] == 1.015625f);
  assert_true(isnan(back[2]));
  DhcTensorView v = {.dtype = DHC_F32, .rank = 1, .shape = {6}, .data = f, .bytes = 24};
  assert_int_equal(dhc_tensor_first_nonfinite(&v), 3);
  v.bytes = 12;
  assert_int_equal(dhc_tensor_first_nonfinite(&v), -1);
  assert_true(dhc_tensor_get(&v, 1) == -2.5);
  assert_int_equal(dhc_tensor_dtype_parse("bf16"), DHC_BF16);
  assert_int_equal(dhc_tensor_dtype_parse("f16"), -1);
}

/* Every code of the floats that only files have, widened to f32: hashes (FNV-1a, NaN as 0x7fc00000) of
 * what NumPy 2 (F16) and ml_dtypes (the others) make of them. */
static void file_floats(void **state) {
  (void)state;
  static const struct {
    int32_t dtype;
    uint64_t hash;
  } rows[] = {{DHC_FILE_F16, 0x1f87f165810ea7c5},        {DHC_FILE_F8_E5M2, 0x6c1e56b6fb09c905},
              {DHC_FILE_F8_E4M3, 0xdad1d9c50f749ca5},    {DHC_FILE_F8_E5M2FNUZ, 0x94ae6fc493d49818},
              {DHC_FILE_F8_E4M3FNUZ, 0xf51851cb11c63018}, {DHC_FILE_F8_E8M0, 0x6d2c8b41c3f0e5a5}};
  static uint16_t wide[65536];
  static uint8_t narrow[256];
  static float out[65536];
  for (int i = 0; i < 65536; i++) {
    wide[i] = (uint16_t)i;
    narrow[i % 256] = (uint8_t)(i % 256);
  }
  for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
    int bits = dhc_tensor_dtype_bits(rows[r].dtype), n = 1 << bits;
    uint64_t hash = 0xcbf29ce484222325u;
    dhc_tensor_convert(out, DHC_F32, bits == 16 ? (const void *)wide : narrow, rows[r].dtype, n);
    for (int i = 0; i < n; i++) {
      uint32_t code;
      memcpy(&code, &out[i], sizeof code);
      code = isnan(out[i]) ? 0x7fc00000u : code;
      for (int k = 0; k < 4; k++) {
        hash = (hash ^ (code >> (8 * k) & 255u)) * 0x100000001b3u;
      }
    }
    assert_true(hash == rows[r].hash);
  }
  static const float f4[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
  static const uint8_t packed[8] = {0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe}; /* the low half first */
  dhc_tensor_convert(out, DHC_F32, packed, DHC_FILE_F4, 16);
  assert_memory_equal(out, f4, sizeof f4);
  DhcTensorView v = {.dtype = DHC_FILE_F4, .rank = 1, .shape = {16}, .data = packed, .bytes = 8};
  assert_true(dhc_tensor_get(&v, 7) == 6.0);
  assert_int_equal(dhc_tensor_first_nonfinite(&v), -1);
  static const uint8_t infinite[4] = {0, 0x3c, 0, 0x7c};
  v = (DhcTensorView){.dtype = DHC_FILE_F16, .rank = 1, .shape = {2}, .data = infinite, .bytes = 4};
  assert_int_equal(dhc_tensor_first_nonfinite(&v), 1);
  int64_t odd[1] = {3}, n, bytes;
  assert_false(dhc_size_tensor(DHC_FILE_F4, 1, odd, &n, &bytes));
  uint64_t u[2] = {UINT64_MAX, 5};
  int64_t signed_[2];
  double d[2];
  dhc_tensor_convert(signed_, DHC_I64, u, DHC_FILE_U64, 2);
  dhc_tensor_convert(d, DHC_F64, u, DHC_FILE_U64, 2);
  assert_true(signed_[0] == INT64_MAX && signed_[1] == 5);
  assert_true(d[0] == 0x1p64 && d[1] == 5);
}

/* As short as brings the value back, and always with a point. */
static void whole_numbers(void **state) {
  (void)state;
  static const double whole[] = {0, 5, 9007199254740992.0}, none[] = {-1, 0.5, 9007199254740994.0, 1e300, -1e300, (double)INFINITY, (double)NAN};
  for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) assert_true(dhc_number_whole(whole[i]) == (int64_t)whole[i]);
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) assert_true(dhc_number_whole(none[i]) == -1);
}

static void number_texts(void **state) {
  (void)state;
  static const struct {
    double v;
    int least, most;
    const char *text;
  } rows[] = {{0, 9, 17, "0"}, {-3, 9, 17, "-3"}, {0.1, 9, 17, "0.1"}, {1.0 / 3, 9, 17, "0.3333333333333333"},
              {0.1 + 0.2, 9, 17, "0.30000000000000004"}, {1.0 / 3, 9, 9, "0.333333333"}, {1e15, 9, 17, "1000000000000000"},
              {1e300, 9, 17, "1e+300"}, {9007199254740993.0, 9, 17, "9007199254740992"}, {INFINITY, 9, 17, "inf"},
              {-INFINITY, 9, 17, "-inf"}, {NAN, 9, 17, "nan"}, {5e-324, 9, 17, "4.94065646e-324"}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char text[DHC_NUMBER_CHARS];
    dhc_number_text(rows[i].v, rows[i].least, rows[i].most, text);
    assert_string_equal(text, rows[i].text);
  }
}

static void sha256_vectors(void **state) {
  (void)state;
  char hex[65];
  uint8_t digest[32];
  dhc_sha256_bytes("", 0, digest);
  dhc_sha256_hex(digest, hex);
  assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  dhc_sha256_bytes("abc", 3, digest);
  dhc_sha256_hex(digest, hex);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  DhcSha256 h;
  dhc_sha256_init(&h);
  for (int i = 0; i < 1000; i++) { /* a million 'a' in pieces that straddle blocks */
    char piece[1000];
    memset(piece, 'a', sizeof piece);
    dhc_sha256_update(&h, piece, sizeof piece);
  }
  dhc_sha256_final(&h, digest);
  dhc_sha256_hex(digest, hex);
  assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  uint8_t bytes[300], plain[32];
  for (size_t i = 0; i < sizeof bytes; i++) {
    bytes[i] = (uint8_t)(i * 7 + 1);
  }
  for (size_t n = 0; n <= sizeof bytes; n++) {
    dhc_sha256_bytes(bytes, n, digest);
    dhc_sha256_portable(bytes, n, plain);
    assert_memory_equal(digest, plain, sizeof digest);
  }
  assert_true(dhc_sha256_is_hex(hex));
  hex[3] = 'G';
  assert_false(dhc_sha256_is_hex(hex));
  assert_false(dhc_sha256_is_hex("abc"));
}

/* Known answers published with the Random123 library. */
static void philox_vectors(void **state) {
  (void)state;
  static const uint32_t rows[3][10] = {
      {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
      {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
      {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
       0x94fdcceb, 0x5001e420, 0x24126ea1}};
  for (int r = 0; r < 3; r++) {
    uint32_t out[4];
    dhc_rng_philox(&rows[r][4], &rows[r][0], out);
    for (int i = 0; i < 4; i++) {
      assert_int_equal(out[i], rows[r][6 + i]);
    }
  }
  assert_int_equal(dhc_rng_bits(0xa4093822, 0x299f31d0, 0x85a308d3243f6a88u, 0x0370734413198a2eu),
                   0xd16cfe09);
  int counts[7] = {0};
  for (uint64_t i = 0; i < 7000; i++) {
    counts[dhc_rng_below(1, 2, i, 3, 7)]++;
  }
  for (int i = 0; i < 7; i++) {
    assert_in_range(counts[i], 850, 1150);
  }
}

static void files(void **state) {
  (void)state;
  char folder[256], path[512], temp[512];
  support_folder(folder);
  support_join(path, folder, "a.bin");
  assert_ok(dhc_file_replace(path, "old", 3));
  DhcFileWriter w;
  assert_ok(dhc_file_begin(path, &w));
  assert_ok(dhc_file_write(&w, "new one", 7));
  assert_ok(dhc_file_patch(&w, 0, "NEW", 3));
  /* A live writer's temporary is kept, the old file still whole. */
  assert_int_equal(dhc_file_sweep(folder), 0);
  DhcMapping map;
  assert_ok(dhc_map_open(path, &map));
  assert_int_equal(map.n_bytes, 3);
  dhc_map_close(&map);
  assert_ok(dhc_file_commit(&w));
  assert_ok(dhc_map_open(path, &map));
  assert_int_equal(map.n_bytes, 7);
  assert_memory_equal(map.bytes, "NEW one", 7);
  dhc_map_close(&map);
  /* What a killed writer leaves is swept. */
  support_write(support_join(temp, folder, ".a.bin.dhc-tmp-1-0"), "x", 1);
  assert_int_equal(dhc_file_sweep(folder), 1);
  assert_int_equal(access(temp, F_OK), -1);

  dhc_status s = dhc_map_open(support_join(path, folder, "none"), &map);
  assert_int_equal(s.code, DHC_E_INPUT);
  assert_non_null(strstr(s.message, "/none: no such file or directory"));
  assert_int_equal(mkfifo(support_join(path, folder, "fifo"), 0600), 0);
  assert_int_equal(dhc_map_open(path, &map).code, DHC_E_INPUT); /* and does not hang */
  assert_int_equal(dhc_map_open(folder, &map).code, DHC_E_INPUT);
  assert_int_equal(dhc_file_begin(path, &w).code, DHC_E_ENVIRONMENT);
  assert_int_equal(dhc_file_begin(support_join(path, folder, "no/such"), &w).code,
                   DHC_E_ENVIRONMENT);
  assert_ok(dhc_file_make_folder(support_join(path, folder, "p/q/r")));
  assert_ok(dhc_file_make_folder(path));
  assert_ok(dhc_file_replace(support_join(path, folder, "p/q/r/f"), "", 0));
  assert_int_equal(dhc_file_make_folder(path).code, DHC_E_ENVIRONMENT);
  support_drop(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(status_wording), cmocka_unit_test(sizes),
      cmocka_unit_test(conversions),    cmocka_unit_test(sha256_vectors),
      cmocka_unit_test(file_floats),
      cmocka_unit_test(number_texts),
      cmocka_unit_test(whole_numbers),
      cmocka_unit_test(philox_vectors), cmocka_unit_test(files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
