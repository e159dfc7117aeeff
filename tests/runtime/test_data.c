/* npy files, data sets, shuffling and batches; damaged files never crash. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "support.h"

/* The message after "FOLDER/", so that it can be compared. */
static const char *after(const char *folder, const dhc_status *s) {
  size_t n = strlen(folder);
  assert_memory_equal(s->message, folder, n);
  return s->message + n + 1;
}
#define FAILS_IN(folder, expr, message)                       \
  do {                                                        \
    dhc_status failed_ = (expr);                              \
    assert_int_equal(failed_.code, DHC_E_INPUT);              \
    assert_string_equal(after(folder, &failed_), message);    \
  } while (0)

/* ---- npy ----------------------------------------------------------------------- */

static void npy_round_trip(void **state) {
  (void)state;
  char folder[256], path[512];
  support_folder(folder);
  support_join(path, folder, "a.npy");
  unsigned char raw[64];
  for (int i = 0; i < 64; i++) {
    raw[i] = (unsigned char)(i & 1);
  }
  for (int32_t dtype = 0; dtype < DHC_N_DTYPES; dtype++) {
    for (int32_t rank = 0; rank <= 3; rank++) {
      DhcTensorView v = {.dtype = dtype, .rank = rank, .shape = {2, 1, 3}, .data = raw};
      for (int i = rank; i < 3; i++) {
        v.shape[i] = 0;
      }
      assert_true(dhc_size_tensor(dtype, rank, v.shape, NULL, &v.bytes));
      assert_ok(dhc_npy_write(path, &v));
      DhcNpy npy;
      assert_ok(dhc_npy_open(path, &npy));
      assert_int_equal(npy.view.rank, rank);
      assert_memory_equal(npy.view.shape, v.shape, sizeof v.shape);
      assert_int_equal((uintptr_t)npy.view.data % 64, 0);
      if (dtype == DHC_BF16) {
        assert_int_equal(npy.view.dtype, DHC_F32);
      } else {
        assert_int_equal(npy.view.dtype, dtype);
        assert_int_equal(npy.view.bytes, v.bytes);
        assert_memory_equal(npy.view.data, raw, (size_t)v.bytes);
      }
      dhc_npy_close(&npy);
    }
  }
  support_drop(folder);
}

/* One .npy image of a header text and data bytes; version 2 has a 4-byte length. */
static dhc_status npy_text(int version, const char *header, size_t n_data, DhcTensorView *v) {
  DhcNpy npy;
  uint8_t bytes[600] = "\x93NUMPY";
  size_t n = strlen(header), prefix = version == 1 ? 10 : 12;
  bytes[6] = (uint8_t)version;
  bytes[8] = (uint8_t)n;
  memcpy(bytes + prefix, header, n);
  uint8_t *copy = malloc(prefix + n + n_data);
  memcpy(copy, bytes, prefix + n + n_data);
  dhc_status s = dhc_npy_parse("a.npy", copy, prefix + n + n_data, &npy);
  if (s.code == DHC_OK) {
    *v = npy.view;
  }
  free(copy);
  return s;
}

static void npy_headers(void **state) {
  (void)state;
  DhcTensorView v;
  assert_ok(npy_text(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", 24, &v));
  assert_int_equal(v.shape[1], 3);
  assert_ok(npy_text(2, "{\"shape\":(5,),\"descr\":\"|u1\",\"fortran_order\":False}", 5, &v));
  assert_ok(npy_text(3, "{'descr':'<i8','fortran_order':False,'shape':()}", 8, &v));
  assert_int_equal(v.rank, 0);
#define BAD(header, n, message) \
  assert_fails(npy_text(1, header, n, &v), DHC_E_INPUT, "a.npy: error: " message)
  BAD("{'descr': '>c8', 'fortran_order': False, 'shape': (2,)}", 8, "type '>c8' is not supported");
  BAD("{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", 8, "type '|O' is not supported");
  BAD("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 9,
      "f32 [2] needs 8 bytes, the file has 9");
  BAD("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807,)}", 9,
      "shape is too large");
  BAD("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", 9,
      "shape is too large");
  BAD("{'descr': '<f4', 'shape': (2,)}", 8,
      "header byte 31: descr, fortran_order or shape is missing");
  BAD("{'descr': '<f4', 'descr': '<f4'}", 8, "header byte 24: key given twice");
  BAD("{'descr': [('a', '<f4')]}", 8, "header byte 10: elements are structures of several fields; save each field as a file of its own");
  BAD("{'descr': 4}", 8, "header byte 10: expected a quoted word");
  BAD("", 0, "header byte 0: expected '{'");
  BAD("{'a word that is long': 1}", 8, "header byte 17: unknown key or type");
  BAD("{'descr", 8, "header byte 7: a quote is never closed");
  BAD("{'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1)}", 8, "header byte 36: the shape has more than 8 dimensions");
  BAD("{'order': 'C'}", 8, "header byte 8: unknown key");
  BAD("{'fortran_order': 'no'}", 8, "header byte 18: expected True or False");
  BAD("{'shape': () 'descr'}", 8, "header byte 13: expected ',' or '}'");
  assert_fails(npy_text(4, "", 0, &v), DHC_E_INPUT,
               "a.npy: error: format version 4.0 is not supported");
}

/* The same array in every layout that NumPy writes comes to the same values, at once and row by row. */
static void npy_layouts(void **state) {
  (void)state;
  enum { A = 3, B = 2, C = 5, ALL = A * B * C };
  static const struct {
    const char *little, *big;
    int32_t dtype;
    int size;
  } types[] = {{"<f4", ">f4", DHC_F32, 4}, {"<f8", ">f8", DHC_F64, 8}, {"<i8", ">i8", DHC_I64, 8}, {"<i2", ">i2", DHC_I16, 2},
               {"<u4", ">u4", DHC_U32, 4}, {"|u1", "|u1", DHC_U8, 1}, {"|b1", "|b1", DHC_BOOL, 1}, {"<f2", ">f2", DHC_FILE_F16, 2}};
  char folder[256], path[512];
  support_folder(folder);
  support_join(path, folder, "a.npy");
  for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
    for (int layout = 0; layout < 4; layout++) {
      bool fortran = layout & 1, swapped = layout & 2 && types[t].size > 1;
      uint8_t want[ALL * 8], file[512] = "\x93NUMPY\x03\x00";
      int size = types[t].size;
      size_t n = 12 + (size_t)snprintf((char *)file + 12, 200, "{'descr': '%s', 'fortran_order': %s, 'shape': (%d, %d, %d), }\n",
                                       swapped ? types[t].big : types[t].little, fortran ? "True" : "False", A, B, C);
      file[8] = (uint8_t)(n - 12);
      for (int i = 0; i < ALL * size; i++) {
        want[i] = (uint8_t)(types[t].dtype == DHC_BOOL ? i % 3 == 0 : i * 41 + 7);
      }
      for (int k = 0; k < ALL; k++) {
        int a = k / (B * C), b = k / C % B, c = k % C, at = fortran ? a + A * (b + B * c) : k;
        for (int i = 0; i < size; i++) {
          file[n + (size_t)(at * size + i)] = want[k * size + (swapped ? size - 1 - i : i)];
        }
      }
      support_write(path, file, n + (size_t)(ALL * size));
      DhcNpy npy;
      assert_ok(dhc_npy_open(path, &npy));
      assert_int_equal(npy.view.dtype, types[t].dtype);
      assert_true(dhc_npy_plain(&npy));
      assert_memory_equal(npy.view.data, want, (size_t)(ALL * size));
      dhc_npy_close(&npy);
      assert_ok(dhc_npy_map(path, &npy));
      assert_true(dhc_npy_plain(&npy) == (!fortran && !swapped));
      for (int a = 0; a < A; a++) {
        uint8_t row[B * C * 8];
        dhc_npy_row(&npy, a, row);
        assert_memory_equal(row, want + a * B * C * size, (size_t)(B * C * size));
      }
      dhc_npy_close(&npy);
    }
  }
  support_drop(folder);
}

static int try_npy(void *ctx, const uint8_t *bytes, size_t n) {
  DhcNpy npy;
  (void)ctx;
  if (dhc_npy_parse("a", bytes, n, &npy).code != DHC_OK) {
    return 0;
  }
  const DhcTensorView v = npy.view;
  volatile double last = v.bytes > 0 ? dhc_tensor_get(&v, v.bytes / dhc_tensor_dtype_bytes(v.dtype) - 1) : 0;
  (void)last;
  return 1;
}

static void npy_damaged(void **state) {
  (void)state;
  char folder[256], path[512];
  support_folder(folder);
  float f[3] = {1, 2, 3};
  DhcTensorView v = {.dtype = DHC_F32, .rank = 1, .shape = {3}, .data = f, .bytes = 12};
  assert_ok(dhc_npy_write(support_join(path, folder, "a.npy"), &v));
  size_t n;
  uint8_t *bytes = support_read(path, &n);
  for (size_t k = 0; k < n; k++) {
    assert_int_equal(try_npy(NULL, bytes, k), 0);
  }
  assert_in_range(support_damage(bytes, n, try_npy, NULL), 12 * 12, 12 * 16 + 128);
  free(bytes);
  support_drop(folder);
}

/* ---- IDX ----------------------------------------------------------------------- */

enum { IMAGES = 6, SIDE = 2 };

static size_t idx_images(uint8_t *to) {
  memcpy(to, "\0\0\x08\x03\0\0\0\x06\0\0\0\x02\0\0\0\x02", 16);
  for (int i = 0; i < IMAGES * SIDE * SIDE; i++) {
    to[16 + i] = (uint8_t)i;
  }
  return 16 + IMAGES * SIDE * SIDE;
}

static size_t idx_labels(uint8_t *to) {
  memcpy(to, "\0\0\x08\x01\0\0\0\x06\x00\x01\x02\x03\x04\x02", 14);
  return 14;
}

static void write_gzip(const char *path, const void *bytes, size_t n) {
  gzFile f = gzopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(gzwrite(f, bytes, (unsigned)n), (int)n);
  assert_int_equal(gzclose(f), Z_OK);
}

static void check_idx(const char *spec, DhcSplit split, int64_t n_val, int64_t first, int64_t n) {
  DhcDataset *d;
  DhcDataOptions options = {.n_val = n_val};
  assert_ok(dhc_dataset_open(spec, split, &options, &d));
  const DhcField *image = dhc_dataset_field(d, "image"), *target = dhc_dataset_field(d, "target");
  assert_int_equal(d->n_examples, n);
  assert_int_equal(image->dtype, DHC_U8);
  assert_int_equal(image->rank, 3);
  assert_int_equal(image->shape[0], 1);
  assert_int_equal(image->shape[2], SIDE);
  assert_int_equal(target->dtype, DHC_I64);
  uint8_t *images = support_column(d, "image");
  int64_t *got = support_column(d, "target");
  for (int64_t i = 0; i < n; i++) {
    static const int64_t labels[IMAGES] = {0, 1, 2, 3, 4, 2};
    assert_int_equal(images[i * image->example_bytes + 3], (first + i) * 4 + 3);
    assert_int_equal(got[i], labels[first + i]);
  }
  free(images), free(got);
  dhc_dataset_free(d);
}

static void idx_files(void **state) {
  (void)state;
  char folder[256], images[512], labels[512], spec[300];
  uint8_t image_bytes[64], label_bytes[64];
  size_t n_images = idx_images(image_bytes), n_labels = idx_labels(label_bytes);
  DhcDataset *d;
  support_folder(folder);
  snprintf(spec, sizeof spec, "idx:%s", folder);
  support_join(images, folder, "train-images-idx3-ubyte");
  support_join(labels, folder, "train-labels-idx1-ubyte.gz");
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d),
           "train-images-idx3-ubyte: no such file or directory");
  support_write(images, image_bytes, n_images);
  write_gzip(labels, label_bytes, n_labels);
  check_idx(spec, DHC_SPLIT_TRAIN, 0, 0, 6);
  check_idx(spec, DHC_SPLIT_TRAIN, 2, 0, 4);
  check_idx(spec, DHC_SPLIT_VAL, 2, 4, 2);
  DhcDataOptions none = {0}, all = {.n_val = 6}, tight = {.max_bytes = 10};
  char text[700];
  snprintf(text, sizeof text, "%s has no validation files; say how many training examples to hold out", spec);
  assert_fails(dhc_dataset_open(spec, DHC_SPLIT_VAL, &none, &d), DHC_E_INPUT, text);
  snprintf(text, sizeof text, "%s: cannot hold out 6 of 6 examples", spec);
  assert_fails(dhc_dataset_open(spec, DHC_SPLIT_VAL, &all, &d), DHC_E_INPUT, text);
  dhc_status s = dhc_dataset_open(spec, DHC_SPLIT_TRAIN, &tight, &d);
  assert_non_null(strstr(s.message, "data needs 48 bytes, limit is 10 bytes (--max-memory)")); /* labels: pixels stay in the file */
  write_gzip(images, image_bytes, n_images);
  check_idx(spec, DHC_SPLIT_VAL, 2, 4, 2);
  s = dhc_dataset_open(spec, DHC_SPLIT_TRAIN, &tight, &d);
  assert_non_null(strstr(s.message, "data needs 24 bytes, limit is 10 bytes (--max-memory)"));
  support_write(images, image_bytes, n_images + 1);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d), "train-images-idx3-ubyte: error: has more bytes than its header promises");
  support_write(images, image_bytes, n_images);
  assert_int_equal(dhc_dataset_open(spec, DHC_SPLIT_TEST, NULL, &d).code, DHC_E_INPUT);
  assert_int_equal(dhc_dataset_open("nothing:x", DHC_SPLIT_TEST, NULL, &d).code, DHC_E_USAGE);

  label_bytes[7] = 5;
  write_gzip(labels, label_bytes, n_labels);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d),
           "train-labels-idx1-ubyte.gz: error: 5 labels for 6 images");
  label_bytes[7] = 6;
  write_gzip(labels, label_bytes, n_labels - 1);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d),
           "train-labels-idx1-ubyte.gz: error: header promises 6 bytes of labels, the data ends "
           "before");
  memcpy(image_bytes, "\0\0\x08\x03\xff\xff\xff\xff\0\0\0\x1c\0\0\0\x1c", 16);
  support_write(images, image_bytes, 16);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d),
           "train-images-idx3-ubyte: error: header promises 3.06 TiB of pixels, the file has 0 "
           "bytes");
  write_gzip(images, image_bytes, 16);
  s = dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d);
  assert_non_null(strstr(s.message, "promises 3.06 TiB of pixels, the file cannot hold more than"));
  image_bytes[2] = 0x0d;
  support_write(images, image_bytes, 16);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d),
           "train-images-idx3-ubyte: error: element type 0x0d is not supported (only 0x08, bytes)");
  support_drop(folder);
}

typedef struct OneFile {
  const char *path, *spec;
} OneFile;

static int try_dataset(void *ctx, const uint8_t *bytes, size_t n) {
  const OneFile *one = ctx;
  DhcDataset *d;
  support_write(one->path, bytes, n);
  if (dhc_dataset_open(one->spec, DHC_SPLIT_TRAIN, NULL, &d).code != DHC_OK) {
    return 0;
  }
  for (int32_t f = 0; f < d->n_fields; f++) { /* every byte can be read */
    uint8_t *all = support_column(d, d->fields[f].name);
    volatile unsigned sum = 0;
    for (int64_t i = 0; i < d->n_examples * d->fields[f].example_bytes; i++) {
      sum += all[i];
    }
    free(all);
  }
  dhc_dataset_free(d);
  return 1;
}

static void idx_damaged(void **state) {
  (void)state;
  char folder[256], images[512], labels[512], spec[300];
  uint8_t bytes[64];
  support_folder(folder);
  snprintf(spec, sizeof spec, "mnist:%s", folder);
  OneFile one = {.path = support_join(images, folder, "train-images-idx3-ubyte"), .spec = spec};
  support_join(labels, folder, "train-labels-idx1-ubyte");
  support_write(labels, bytes, idx_labels(bytes));
  size_t n = idx_images(bytes);
  /* Only pixels may change. */
  long n_accepted = support_damage(bytes, n, try_dataset, &one);
  assert_in_range(n_accepted, 24 * 14, 24 * 16);
  /* The same inside gzip: its checksum refuses everything but header trivia. */
  char packed[512];
  write_gzip(support_join(packed, folder, "packed"), bytes, n);
  size_t n_packed;
  uint8_t *gz = support_read(packed, &n_packed);
  assert_in_range(support_damage(gz, n_packed, try_dataset, &one), 0, 16 * 10);
  free(gz);
  support_drop(folder);
}

/* ---- CIFAR-10 ------------------------------------------------------------------- */

static void cifar10_files(void **state) {
  (void)state;
  char folder[256], path[512], spec[600], name[32];
  uint8_t *record = calloc(2, 3073);
  DhcDataset *d;
  support_folder(folder);
  for (int i = 1; i <= 5; i++) {
    snprintf(name, sizeof name, "data_batch_%d.bin", i);
    record[0] = (uint8_t)i;
    record[1] = (uint8_t)(10 * i);
    record[3073] = (uint8_t)(i + 1);
    support_write(support_join(path, folder, name), record, 2 * 3073);
  }
  snprintf(spec, sizeof spec, "cifar10:%s", folder);
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d));
  assert_int_equal(d->n_examples, 10);
  assert_int_equal(d->n_classes, 10);
  uint8_t *images = support_column(d, "image");
  assert_int_equal(images[8 * 3072], 50);
  free(images);
  dhc_dataset_free(d);
  DhcDataOptions options = {.n_val = 3};
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_VAL, &options, &d));
  assert_int_equal(d->n_examples, 3);
  int64_t *labels = support_column(d, "target");
  assert_int_equal(labels[0], 5); /* example 7: second of file 4 */
  free(labels);
  dhc_dataset_free(d);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TEST, NULL, &d),
           "test_batch.bin: no such file or directory");
  support_join(path, folder, "data_batch_1.bin");
  record[3073] = 255;
  support_write(path, record, 2 * 3073);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d),
           "data_batch_1.bin: error: record 1: label 255 is outside 0..9");
  support_write(path, record, 2 * 3073 - 1);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d),
           "data_batch_1.bin: error: size 6145 is not a multiple of 3073");
  support_write(path, record, 0);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d),
           "data_batch_1.bin: error: is empty");
  record[3073] = 1;
  OneFile one = {.path = path, .spec = spec};
  long n_accepted = 0;
  for (size_t k = 0; k < 2 * 3073; k++) n_accepted += try_dataset(&one, record, k);
  assert_int_equal(n_accepted, 1); /* of all lengths one is whole records */
  for (int v = 0; v < 256; v++) {
    record[0] = (uint8_t)v;
    assert_int_equal(try_dataset(&one, record, 2 * 3073), v < 10);
  }
  record[0] = 1;
  support_write(path, record, 3073);
  snprintf(spec, sizeof spec, "cifar10:%s", path);
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_TEST, NULL, &d));
  assert_int_equal(d->n_examples, 1);
  dhc_dataset_free(d);
  free(record);
  support_drop(folder);
}

/* ---- npy folders and batches ------------------------------------------------------ */

static void make_npy_set(const char *folder, int64_t n) {
  char train[512], path[512];
  assert_ok(dhc_file_make_folder(support_join(train, folder, "train")));
  float *x = malloc((size_t)n * 8);
  int32_t *y = malloc((size_t)n * 4);
  for (int64_t i = 0; i < n; i++) {
    x[2 * i] = (float)i;
    x[2 * i + 1] = (float)-i;
    y[i] = (int32_t)(i % 3);
  }
  DhcTensorView xv = {.dtype = DHC_F32, .rank = 2, .shape = {n, 2}, .data = x, .bytes = 8 * n};
  DhcTensorView yv = {.dtype = DHC_I32, .rank = 1, .shape = {n}, .data = y, .bytes = 4 * n};
  assert_ok(dhc_npy_write(support_join(path, train, "x.npy"), &xv));
  assert_ok(dhc_npy_write(support_join(path, train, "target.npy"), &yv));
  free(x);
  free(y);
}

static int64_t next_of(DhcBatcher *b, void *const *dst) {
  int64_t n, at = dhc_batcher_position(b).next;
  assert_ok(dhc_batcher_peek(b, dst, &n));
  assert_int_equal(dhc_batcher_position(b).next, at);
  dhc_batcher_skip(b, n);
  return n;
}

static void batches(void **state) {
  (void)state;
  char folder[256], spec[300], path[512];
  support_folder(folder);
  snprintf(spec, sizeof spec, "npy:%s", folder);
  make_npy_set(folder, 10);
  DhcDataset *d;
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d));
  assert_int_equal(d->n_fields, 2);
  assert_string_equal(d->fields[1].name, "x");
  assert_int_equal(d->n_classes, 3);
  DhcBatcher *b, *again;
  DhcBatchOptions options = {.batch = 4, .shuffle = true, .seed = 7};
  assert_ok(dhc_batcher_new(d, &options, &b));
  assert_int_equal(dhc_batcher_count(b), 3);
  float x[8];
  void *dst[2] = {NULL, x};
  int64_t order[3][10];
  for (int epoch = 0; epoch < 3; epoch++) {
    int seen[10] = {0};
    static const int64_t sizes[4] = {4, 4, 2, 0};
    for (int k = 0, at = 0; k < 4; k++) {
      int64_t n = next_of(b, dst);
      assert_int_equal(n, sizes[k]);
      for (int64_t i = 0; i < n; i++) {
        int64_t index = dhc_batcher_indices(b)[i];
        order[epoch][at++] = index;
        assert_true(x[2 * i] == (float)index && x[2 * i + 1] == (float)-index);
        seen[index]++;
      }
    }
    for (int i = 0; i < 10; i++) {
      assert_int_equal(seen[i], 1);
    }
  }
  assert_memory_not_equal(order[0], order[1], sizeof order[0]);
  /* Going on from a saved position gives the same examples. */
  assert_ok(dhc_batcher_new(d, &options, &again));
  assert_ok(dhc_batcher_seek(again, (DhcDataPosition){.seed = 7, .epoch = 1, .next = 4}));
  assert_int_equal(next_of(again, dst), 4);
  assert_memory_equal(dhc_batcher_indices(again), &order[1][4], 4 * sizeof(int64_t));
  assert_int_equal(dhc_batcher_position(again).next, 8);
  assert_fails(dhc_batcher_seek(again, (DhcDataPosition){.next = 11}), DHC_E_INPUT, "data position (epoch 0, example 11) does not fit 10 examples");
  DhcBatcher *none;
  assert_fails(dhc_batcher_new(d, &(DhcBatchOptions){.batch = 0}, &none), DHC_E_USAGE, "batch: needs at least 1, got 0");
  assert_fails(dhc_batcher_new(d, &(DhcBatchOptions){.batch = 11, .drop_last = true}, &none), DHC_E_INPUT,
               "batches of 11 from 10 examples: none is full");
  dhc_batcher_free(again);
  dhc_batcher_free(b);
  options.drop_last = true;
  options.shuffle = false;
  assert_ok(dhc_batcher_new(d, &options, &b));
  assert_int_equal(dhc_batcher_count(b), 2);
  assert_int_equal(next_of(b, dst), 4);
  assert_true(x[6] == 3.0f);
  assert_int_equal(next_of(b, dst), 4);
  assert_int_equal(next_of(b, dst), 0);
  assert_int_equal(dhc_batcher_position(b).epoch, 1);
  dhc_batcher_free(b);
  options.batch = 11;
  assert_int_equal(dhc_batcher_new(d, &options, &b).code, DHC_E_INPUT);
  options.batch = 0;
  assert_int_equal(dhc_batcher_new(d, &options, &b).code, DHC_E_USAGE);
  dhc_dataset_free(d);

  /* a field in another order and type is the same field */
  uint8_t half[512] = "\x93NUMPY\x01\x00";
  size_t n_half = 10 + (size_t)snprintf((char *)half + 10, 200, "{'descr': '>f2', 'fortran_order': True, 'shape': (10, 2), }\n");
  half[8] = (uint8_t)(n_half - 10);
  for (int i = 0; i < 20; i++) { /* bits of f16: 0, 1, 2, 3, …, then negative */
    static const uint8_t high[10] = {0, 0x3c, 0x40, 0x42, 0x44, 0x45, 0x46, 0x47, 0x48, 0x48}, low[10] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80};
    half[n_half++] = high[i % 10] | (i >= 10 ? 0x80 : 0);
    half[n_half++] = low[i % 10];
  }
  support_write(support_join(path, folder, "train/y.npy"), half, n_half);
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_TRAIN, &(DhcDataOptions){.n_val = 3}, &d));
  assert_int_equal(dhc_dataset_field(d, "y")->dtype, DHC_F32);
  float *xs = support_column(d, "x"), *ys = support_column(d, "y");
  for (int i = 0; i < 14; i++) {
    assert_true(xs[i] == ys[i]);
  }
  free(xs);
  free(ys);
  dhc_dataset_free(d);
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_VAL, &(DhcDataOptions){.n_val = 3}, &d));
  xs = support_column(d, "x"), ys = support_column(d, "y");
  assert_true(xs[0] == 7 && ys[0] == 7 && ys[5] == -9);
  free(xs);
  free(ys);
  dhc_dataset_free(d);
  assert_int_equal(remove(path), 0);

  memcpy(half + 10 + sizeof "{'descr': '" - 1, "<u8", 3);
  support_write(support_join(path, folder, "train/y.npy"), half, n_half + 120);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d), "train/y.npy: error: type u64 is not supported in data sets; save int64");
  assert_int_equal(remove(path), 0);

  DhcTensorView odd = {.dtype = DHC_U8, .rank = 1, .shape = {9}, .data = "123456789", .bytes = 9};
  assert_ok(dhc_npy_write(support_join(path, folder, "train/z.npy"), &odd));
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d),
           "train/z.npy: error: 9 examples, 'target' has 10");
  assert_int_equal(dhc_dataset_open(spec, DHC_SPLIT_TEST, NULL, &d).code, DHC_E_INPUT);
  support_drop(folder);
}

/* The order is part of what resuming relies on: it may never change. */
static void shuffle_is_fixed(void **state) {
  (void)state;
  int64_t order[8], other[8];
  dhc_data_permute(1, 0, 8, order);
  static const int64_t expected[8] = {1, 3, 7, 0, 5, 6, 4, 2};
  assert_memory_equal(order, expected, sizeof order);
  dhc_data_permute(1, 1, 8, other);
  assert_memory_not_equal(order, other, sizeof order);
}

/* ---- text -------------------------------------------------------------------------- */

static void check_text(const char *spec, int64_t n_val, DhcSplit split, const char *text, int64_t first,
                       int64_t n, int64_t length) {
  DhcDataset *d;
  DhcDataOptions options = {.n_val = n_val};
  assert_ok(dhc_dataset_open(spec, split, &options, &d));
  assert_int_equal(d->n_examples, n);
  assert_int_equal(d->n_classes, 256);
  static const char *const names[2] = {"target", "tokens"};
  for (int f = 0; f < 2; f++) {
    const DhcField *field = dhc_dataset_field(d, names[f]);
    assert_non_null(field);
    assert_int_equal(field->dtype, DHC_I64);
    assert_int_equal(field->rank, 1);
    assert_int_equal(field->shape[0], length);
    int64_t *v = support_column(d, names[f]);
    for (int64_t i = 0; i < n * length; i++) {
      assert_int_equal(v[i], (unsigned char)text[first * length + i + (f == 0)]);
    }
    free(v);
  }
  dhc_dataset_free(d);
}

static void text_files(void **state) {
  (void)state;
  char folder[256], path[512], spec[600];
  static const char text[] = "na\xc3\xafve: to be, or not to be";
  DhcDataset *d;
  support_folder(folder);
  support_join(path, folder, "a@b.txt");
  snprintf(spec, sizeof spec, "text:%s@4", path);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d), "a@b.txt: no such file or directory");
  support_write(path, text, 25);
  check_text(spec, 0, DHC_SPLIT_TRAIN, text, 0, 6, 4);
  check_text(spec, 2, DHC_SPLIT_TRAIN, text, 0, 4, 4);
  check_text(spec, 2, DHC_SPLIT_VAL, text, 4, 2, 4);
  check_text(spec, 0, DHC_SPLIT_TEST, text, 0, 6, 4);
  support_write(path, text, 24); /* the last byte is only a target: one window fewer */
  check_text(spec, 0, DHC_SPLIT_TRAIN, text, 0, 5, 4);
  write_gzip(path, text, 25);
  check_text(spec, 0, DHC_SPLIT_TRAIN, text, 0, 6, 4);
  DhcDataOptions tight = {.max_bytes = 24};
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, &tight, &d), "a@b.txt: error: inflates to more than the memory limit (--max-memory)");
  support_write(path, text, 4);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d),
           "a@b.txt: error: 4 bytes are too few for a window of 4 and the byte after it");
  snprintf(spec, sizeof spec, "text:%s", path); /* "@b.txt" is no length: part of the name */
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d),
           "a@b.txt: error: 4 bytes are too few for a window of 256 and the byte after it");
  support_write(path, text, 0);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d), "a@b.txt: error: is empty");
  static const char *const lengths[3] = {"0", "1048577", "99999999999999999999"};
  for (int i = 0; i < 3; i++) {
    snprintf(spec, sizeof spec, "text:%s@%s", path, lengths[i]);
    char want[800];
    snprintf(want, sizeof want, "data '%s': the length of a window must be 1 to 1048576", spec);
    assert_fails(dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d), DHC_E_USAGE, want);
  }
  support_drop(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(npy_round_trip), cmocka_unit_test(npy_headers),
      cmocka_unit_test(npy_layouts), cmocka_unit_test(npy_damaged),    cmocka_unit_test(idx_files),
      cmocka_unit_test(idx_damaged),    cmocka_unit_test(cifar10_files),
      cmocka_unit_test(text_files),
      cmocka_unit_test(batches),        cmocka_unit_test(shuffle_is_fixed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
