/* HDF5 files as data; without the library, what is said of them. And of Parquet. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#ifdef DHC_TEST_HDF5
#include <hdf5.h>

enum { N = 40, SIDE = 3 };

static void put(hid_t where, const char *name, hid_t stored, hid_t given, int rank, const hsize_t *dims, const void *data, hsize_t chunk) {
  hid_t space = H5Screate_simple(rank, dims, NULL), how = H5Pcreate(H5P_DATASET_CREATE);
  if (chunk > 0) {
    hsize_t chunks[4] = {chunk};
    memcpy(chunks + 1, dims + 1, (size_t)(rank - 1) * sizeof *dims);
    assert_true(H5Pset_chunk(how, rank, chunks) >= 0 && H5Pset_deflate(how, 4) >= 0);
  }
  hid_t set = H5Dcreate2(where, name, stored, space, H5P_DEFAULT, how, H5P_DEFAULT);
  assert_true(set > 0 && H5Dwrite(set, given, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
  H5Dclose(set), H5Sclose(space), H5Pclose(how);
}

static void write_group(hid_t file, const char *name, int first, int n) {
  uint8_t image[N * SIDE * SIDE];
  int64_t target[N];
  double x[N];
  hsize_t dims[4] = {(hsize_t)n, 1, SIDE, SIDE};
  for (int i = 0; i < n; i++) {
    memset(image + i * SIDE * SIDE, first + i, SIDE * SIDE);
    target[i] = (first + i) % 7;
    x[i] = (first + i) * 0.5;
  }
  hid_t group = H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  put(group, "target", H5T_STD_I16BE, H5T_NATIVE_INT64, 1, dims, target, 0);
  put(group, "image", H5T_STD_U8LE, H5T_NATIVE_UINT8, 4, dims, image, 4);
  put(group, "x", H5T_IEEE_F32BE, H5T_NATIVE_DOUBLE, 1, dims, x, 0);
  put(group, "y", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 1, dims, x, 0);
  H5Gclose(H5Gcreate2(group, "inner", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)); /* no field */
  H5Gclose(group);
}

static void check(const char *spec, DhcSplit split, const DhcDataOptions *options, int first, int n) {
  DhcDataset *d;
  assert_ok(dhc_dataset_open(spec, split, options, &d));
  assert_true(d->n_examples == n && d->n_fields == 4 && d->n_classes == 7 && d->from_files);
  const DhcField *image = dhc_dataset_field(d, "image");
  assert_true(image->dtype == DHC_U8 && image->rank == 3 && image->shape[2] == SIDE && dhc_dataset_field(d, "target")->dtype == DHC_I32);
  for (int again = 0; again < 2; again++) {
    uint8_t *pixels = support_column(d, "image");
    int32_t *target = support_column(d, "target");
    float *x = support_column(d, "x");
    double *y = support_column(d, "y");
    for (int i = 0; i < n; i++) {
      assert_true(pixels[i * SIDE * SIDE + SIDE] == first + i && target[i] == (first + i) % 7 && x[i] == (float)(first + i) * 0.5F && y[i] == (double)x[i]);
    }
    free(pixels), free(target), free(x), free(y);
  }
  dhc_dataset_free(d);
}

#define FAILS(what)                                                                       \
  do {                                                                                    \
    snprintf(text, sizeof text, "%s: error: " what, path);                                \
    assert_fails(dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d), DHC_E_INPUT, text);   \
  } while (0)

static hid_t begin(const char *path) {
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  assert_true(file > 0);
  return file;
}

static void files(void **state) {
  (void)state;
  char folder[256], path[512], spec[600], text[700];
  DhcDataset *d;
  support_folder(folder);
  snprintf(spec, sizeof spec, "hdf5:%s", support_join(path, folder, "d.h5"));
  snprintf(text, sizeof text, "%s: no such file or directory", path);
  assert_fails(dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d), DHC_E_INPUT, text);
  support_write(path, "nothing", 7);
  FAILS("is no HDF5 file");
  hid_t file = begin(path);
  write_group(file, "train", 0, 30);
  H5Fclose(file);
  check(spec, DHC_SPLIT_TRAIN, NULL, 0, 30);
  check(spec, DHC_SPLIT_TRAIN, &(DhcDataOptions){.n_val = 10, .max_bytes = 500}, 0, 20); /* some are kept */
  check(spec, DHC_SPLIT_VAL, &(DhcDataOptions){.n_val = 10}, 20, 10);
  snprintf(text, sizeof text, "%s: error: has no test examples (a group /test)", path);
  assert_fails(dhc_dataset_open(spec, DHC_SPLIT_TEST, NULL, &d), DHC_E_INPUT, text);
  file = begin(path);
  write_group(file, "train", 0, 30), write_group(file, "val", 30, 7), write_group(file, "test", 3, 9);
  H5Fclose(file);
  check(spec, DHC_SPLIT_VAL, NULL, 30, 7);
  check(spec, DHC_SPLIT_TEST, NULL, 3, 9);
  support_drop(folder);
}

/* The first example, in a thread of its own: whether the library says there what is wrong. */
static void *read_apart(void *d) {
  uint8_t row[512];
  void *to[1] = {row};
  H5E_auto2_t says = NULL;
  void *data;
  dhc_status st = dhc_dataset_read(d, 0, to);
  return st.code == DHC_E_INPUT && H5Eget_auto2(H5E_DEFAULT, &says, &data) >= 0 && says == NULL ? d : NULL;
}

static void refused(void **state) {
  (void)state;
  char folder[256], path[512], spec[600], text[700];
  DhcDataset *d;
  double x[6] = {0};
  hsize_t dims[4] = {6};
  support_folder(folder);
  snprintf(spec, sizeof spec, "hdf5:%s", support_join(path, folder, "d.h5"));
  H5Fclose(begin(path));
  FAILS("has no data sets: /train/NAME, or /NAME");
  hid_t file = begin(path);
  char many[300];
  memset(many, 'n', sizeof many);
  many[sizeof many - 1] = '\0';
  put(file, many, H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 1, dims, x, 0);
  H5Fclose(file);
  FAILS("a name in it has 256 bytes or more");
  file = begin(path);
  put(file, "a", H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 1, dims, x, 0);
  dims[0] = 5;
  put(file, "b", H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 1, dims, x, 0);
  H5Fclose(file);
  FAILS("'b' has 5 examples, 'a' has 6");
  file = begin(path);
  put(file, "a", H5T_STD_U64LE, H5T_NATIVE_DOUBLE, 1, dims, x, 0);
  H5Fclose(file);
  FAILS("'a' is no array of numbers whose first dimension counts examples (floats, whole numbers up to int64)");
  file = begin(path);
  put(file, "train", H5T_STD_U8LE, H5T_NATIVE_DOUBLE, 1, dims, x, 0);
  H5Fclose(file);
  FAILS("'train' is no group");
  file = begin(path);
  for (int i = 0; i < 65; i++) {
    snprintf(text, sizeof text, "x%02d", i);
    put(file, text, H5T_STD_U8LE, H5T_NATIVE_DOUBLE, 1, dims, x, 0);
  }
  H5Fclose(file);
  FAILS("has more than 64 data sets");
  /* what a file's header promises and its data do not hold */
  uint8_t image[6 * 512];
  for (size_t i = 0; i < sizeof image; i++) {
    image[i] = (uint8_t)(i * 2654435761u >> 13);
  }
  dims[0] = 6, dims[1] = 512;
  file = begin(path);
  put(file, "a", H5T_STD_U8LE, H5T_NATIVE_UINT8, 2, dims, image, 1);
  H5Fclose(file);
  size_t n;
  uint8_t *bytes = support_read(path, &n);
  memset(bytes + n / 2, 0xff, n / 2);
  support_write(path, bytes, n);
  free(bytes);
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d));
  uint8_t row[512];
  void *to[1] = {row};
  dhc_status st = dhc_status_ok();
  for (int i = 0; i < 6 && st.code == DHC_OK; i++) {
    st = dhc_dataset_read(d, i, to);
  }
  snprintf(text, sizeof text, "%s: error: example 0 of 'a' cannot be read", path);
  assert_fails(st, DHC_E_INPUT, text);
  pthread_t thread;
  void *quiet = NULL;
  assert_true(pthread_create(&thread, NULL, read_apart, d) == 0 && pthread_join(thread, &quiet) == 0 && quiet == d);
  dhc_dataset_free(d);
  support_drop(folder);
}
#elif defined DHC_TEST_MISSING
static void files(void **state) {
  (void)state;
  char folder[256], path[512], spec[600], text[700];
  DhcDataset *d;
  support_folder(folder);
  snprintf(spec, sizeof spec, "hdf5:%s", support_join(path, folder, "d.h5"));
  support_write(path, "x", 1);
  snprintf(text, sizeof text, "%s: needs the library libhdf5_of_nobody.so.1, which cannot be opened", spec);
  assert_fails(dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d), DHC_E_ENVIRONMENT, text);
  support_drop(folder);
}
#else
static void files(void **state) {
  (void)state;
  DhcDataset *d;
  assert_fails(dhc_dataset_open("hdf5:x.h5", DHC_SPLIT_TRAIN, NULL, &d), DHC_E_ENVIRONMENT,
               "hdf5:x.h5: this dhcc was built without HDF5 (libhdf5-dev); npy:DIR takes the same arrays");
}
#endif

#ifndef DHC_TEST_HDF5
static void refused(void **state) {
  (void)state;
  DhcDataset *d;
  assert_fails(dhc_dataset_open("csv:a/x.parquet", DHC_SPLIT_TRAIN, NULL, &d), DHC_E_USAGE,
               "data 'csv:a/x.parquet': Parquet is not read; as a table: python3 -c \"import pandas; "
               "pandas.read_parquet('a/x.parquet').to_csv('table.csv', index=False)\"");
  assert_fails(dhc_dataset_open("/", DHC_SPLIT_TRAIN, NULL, &d), DHC_E_USAGE,
               "data '/': a source is named before its path (did you mean images:/?)");
  assert_fails(dhc_dataset_open("a/b.h5", DHC_SPLIT_TRAIN, NULL, &d), DHC_E_USAGE,
               "data 'a/b.h5': a source is named before its path (did you mean hdf5:a/b.h5?)");
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(files), cmocka_unit_test(refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
