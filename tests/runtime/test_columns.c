/* Columns of CSV files as data, and the two labels of CIFAR-100. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "runtime/stop.h"
#include "support.h"

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

/* ---- text with labels ---------------------------------------------------------------------- */

static void words(void **state) {
  (void)state;
  char folder[256], path[512], spec[600];
  DhcDataset *d;
  support_folder(folder);
  support_join(path, folder, "w.csv");
  static const char rows[] = "text,target,stars\n\"good, really\",yes,5\n\xc3\xbc,no,1\n,no,2\n";
  support_write(path, rows, sizeof rows - 1);
  snprintf(spec, sizeof spec, "csv:%s@6", path);
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_TEST, NULL, &d));
  assert_true(d->n_examples == 3 && d->n_fields == 5 && d->n_classes == 2);
  const DhcField *f = dhc_dataset_field(d, "tokens");
  assert_true(f->dtype == DHC_U8 && f->rank == 1 && f->shape[0] == 6);
  char *tokens = support_column(d, "tokens");
  int64_t *length = support_column(d, "length"), *target = support_column(d, "target");
  float *stars = support_column(d, "stars");
  assert_memory_equal(tokens, "good, \xc3\xbc\0\0\0\0\0\0\0\0\0", 18); /* cut, filled, empty */
  assert_true(length[0] == 6 && length[1] == 2 && length[2] == 0 && target[0] == 1 && target[2] == 0 && stars[0] == 5);
  free(tokens), free(length), free(target), free(stars);
  dhc_dataset_free(d);
  snprintf(spec, sizeof spec, "csv:%s", path);
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_TEST, NULL, &d));
  assert_int_equal(dhc_dataset_field(d, "tokens")->shape[0], 256);
  dhc_dataset_free(d);
  support_write(path, "x,target\n1,2\n", 13);
  snprintf(spec, sizeof spec, "csv:%s@6", path);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TEST, NULL, &d), "w.csv: error: has no column 'text', of which @LENGTH says how many bytes an example has");
}

/* ---- columns ---------------------------------------------------------------------- */

static void columns(void **state) {
  (void)state;
  char folder[256], path[512], spec[600];
  DhcDataset *d;
  support_folder(folder);
  support_join(path, folder, "train.csv");
  snprintf(spec, sizeof spec, "csv:%s", path);
  static const char flowers[] = "\xef\xbb\xbfwidth,\"target\", height\r\n1,rose,2.5\r\n\r\n-3e2,\"a \"\"new\"\",\none\",4\n5,rose,6";
  support_write(path, flowers, sizeof flowers - 1);
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_TEST, NULL, &d)); /* a file is any split; this one in its order */
  assert_int_equal(d->n_examples, 3);
  assert_int_equal(d->n_fields, 4);
  assert_int_equal(d->n_classes, 2);
  assert_string_equal(d->classes[0], "a \"new\",\none");
  assert_string_equal(d->classes[1], "rose");
  float *x = support_column(d, "x"), *height = support_column(d, "height");
  int64_t *target = support_column(d, "target");
  assert_int_equal(dhc_dataset_field(d, "x")->shape[0], 2);
  assert_true(x[0] == 1 && x[1] == 2.5F && x[2] == -300 && x[5] == 6 && height[1] == 4);
  assert_true(target[0] == 1 && target[1] == 0 && target[2] == 1);
  free(x), free(height), free(target);
  dhc_dataset_free(d);
  /* a folder: classes are those of train, and validation examples come from all of it */
  snprintf(spec, sizeof spec, "csv:%s", folder);
  support_write(support_join(path, folder, "test.csv"), "height\twidth\ttarget\n1\t2\trose\n", 29);
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_TEST, NULL, &d));
  target = support_column(d, "target");
  assert_true(d->n_examples == 1 && target[0] == 1 && d->n_classes == 2);
  free(target);
  dhc_dataset_free(d);
  support_write(path, "target,width,height\ntulip,1,2\n", 30);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TEST, NULL, &d), "test.csv:2: error: 'tulip' is a class that the training examples lack");
  char many[2000] = "x,target\n";
  for (int i = 0; i < 60; i++) {
    snprintf(many + strlen(many), 40, "%d,%d\n", i, i / 30);
  }
  support_write(support_join(path, folder, "train.csv"), many, strlen(many));
  float *seen = calloc(60, sizeof *seen);
  for (int split = DHC_SPLIT_TRAIN; split <= DHC_SPLIT_VAL; split++) {
    assert_ok(dhc_dataset_open(spec, (DhcSplit)split, &(DhcDataOptions){.n_val = 20}, &d));
    assert_int_equal(d->n_examples, split == DHC_SPLIT_VAL ? 20 : 40);
    assert_int_equal(dhc_dataset_field(d, "x")->rank, 0); /* a column's own name */
    assert_int_equal(d->n_classes, 2);
    x = support_column(d, "x"), target = support_column(d, "target");
    int ones = 0;
    for (int i = 0; i < d->n_examples; i++) {
      seen[(int)x[i]]++;
      assert_int_equal(target[i], (int)x[i] / 30);
      ones += target[i] == 1;
    }
    assert_in_range(ones, 5, d->n_examples - 5);
    free(x), free(target);
    dhc_dataset_free(d);
  }
  for (int i = 0; i < 60; i++) {
    assert_true(seen[i] == 1);
  }
  free(seen);
  support_write(path, "a,target\n1,0.5\n2,3\n", 19);
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d));
  assert_int_equal(dhc_dataset_field(d, "target")->dtype, DHC_F32);
  dhc_dataset_free(d);
  static const char *const wrong[][2] = {
      {"", "train.csv: error: has no examples: a line of names and a line for each"},
      {"a,b\n", "train.csv: error: has no examples: a line of names and a line for each"},
      {"a,b\n1,2\n3\n", "train.csv:3: error: has 1 cells, the line of names 2"},
      {"a,b\n1,2\n3,red\n", "train.csv:3: error: column 'b' holds 'red', which is no number"},
      {"a,b\n1,2\n\n\n,3\n", "train.csv:5: error: column 'a' is empty"},
      {"a,a\n1,2\n", "train.csv:1: error: column 'a' is there twice"},
      {"a,b\n1,\"2\n", "train.csv:2: error: a quote is never closed"},
      {"a,b\n1,\"2\"3\n", "train.csv:2: error: text behind a closed quote"},
      {"target\n1\n", "train.csv: error: has no column beside 'target'"},
      {"x,a,b,c,d,e,f,g,h,i,j,k,l\n1,2,3,4,5,6,7,8,9,10,11,12,13\n",
       "train.csv: error: has a column 'x', which is also what all 13 together are called; rename it"}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    support_write(path, wrong[i][0], strlen(wrong[i][0]));
    FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d), wrong[i][1]);
  }
  char *wide = malloc(10000);
  memset(wide, ',', 10000);
  support_write(path, wide, 10000);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d), "train.csv:1: error: has more than 4096 columns");
  free(wide);
  char name[400] = "x,target\n1,";
  memset(name + 11, 'a', 300);
  support_write(path, name, strlen(name));
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d), "train.csv:2: error: a class in 'target' has a name of 299 bytes or more");
  support_drop(folder);
}

/* A file is read where it lies, in any memory that has room for where its rows begin. */
static void larger_than_memory(void **state) {
  (void)state;
  enum { ROWS = 300 };
  char folder[256], path[512], spec[600], text[ROWS * 40] = "y,target\n";
  DhcDataset *d;
  support_folder(folder);
  snprintf(spec, sizeof spec, "csv:%s", support_join(path, folder, "m.csv"));
  for (int i = 0; i < ROWS; i++) {
    snprintf(text + strlen(text), 40, "%d,%s\n", i, i % 3 == 1 ? "odd \"one\"" : "\"some, \"\"more\"\"\"");
  }
  for (int64_t bytes = 0; bytes < 6000; bytes += 5000) {
    support_write(path, text, strlen(text));
    assert_ok(dhc_dataset_open(spec, DHC_SPLIT_TRAIN, &(DhcDataOptions){.max_bytes = bytes, .n_val = 1}, &d));
    assert_true(d->n_classes == 2 && d->bytes <= (bytes > 0 ? bytes : 20000));
    for (int again = 0; again < 2; again++) {
      float *y = support_column(d, "y");
      int64_t *target = support_column(d, "target");
      for (int i = 0; i < ROWS - 1; i++) {
        assert_true(target[i] == ((int)y[i] % 3 != 1));
      }
      free(y), free(target);
    }
    dhc_dataset_free(d);
  }
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, &(DhcDataOptions){.max_bytes = 500}, &d),
           "m.csv: error: has more lines than the memory limit (--max-memory) has room for");
  gzFile f = gzopen(path, "wb");
  assert_int_equal(gzwrite(f, text, (unsigned)strlen(text)), (int)strlen(text));
  assert_int_equal(gzclose(f), Z_OK);
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_TRAIN, &(DhcDataOptions){.max_bytes = 9000}, &d));
  dhc_dataset_free(d);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, &(DhcDataOptions){.max_bytes = 3000}, &d),
           "m.csv: error: is larger than the memory limit (--max-memory); unpacked it is read where it lies");
  support_drop(folder);
}

/* A signal ends the looking through. */
static void stopped(void **state) {
  (void)state;
  char folder[256], path[512], spec[600];
  DhcDataset *d;
  support_folder(folder);
  snprintf(spec, sizeof spec, "csv:%s", support_join(path, folder, "m.csv"));
  support_write(path, "y,target\n1,2\n", 13);
  dhc_stop_install();
  raise(SIGINT);
  assert_fails(dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d), DHC_E_INTERRUPTED, "stopped while looking through the data");
  dhc_stop_uninstall();
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d));
  dhc_dataset_free(d);
  support_drop(folder);
}

static void cifar100_files(void **state) {
  (void)state;
  enum { RECORD = 3074 };
  static uint8_t file[6 * RECORD];
  char folder[256], path[512], spec[600];
  DhcDataset *d;
  support_folder(folder);
  for (int i = 0; i < 6; i++) {
    file[i * RECORD] = (uint8_t)(i + 3), file[i * RECORD + 1] = (uint8_t)(90 + i), file[i * RECORD + 2] = (uint8_t)(50 + i);
  }
  support_write(support_join(path, folder, "train.bin"), file, sizeof file);
  support_write(support_join(path, folder, "test.bin"), file, RECORD);
  snprintf(spec, sizeof spec, "cifar100:%s", folder);
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_VAL, &(DhcDataOptions){.n_val = 2}, &d));
  int64_t *fine = support_column(d, "target"), *coarse = support_column(d, "coarse");
  uint8_t *image = support_column(d, "image");
  assert_true(d->n_examples == 2 && d->n_classes == 100);
  assert_true(fine[0] == 94 && fine[1] == 95 && coarse[0] == 7 && image[3072] == 55);
  free(fine), free(coarse), free(image);
  dhc_dataset_free(d);
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_TEST, NULL, &d));
  assert_int_equal(d->n_examples, 1);
  dhc_dataset_free(d);
  file[RECORD] = 20;
  support_write(support_join(path, folder, "train.bin"), file, sizeof file);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d), "train.bin: error: record 1: labels 20 and 91 are outside 0..19 and 0..99");
  support_write(path, file, 100);
  FAILS_IN(folder, dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d), "train.bin: error: size 100 is not a multiple of 3074");
  support_drop(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(words), cmocka_unit_test(columns), cmocka_unit_test(larger_than_memory), cmocka_unit_test(stopped), cmocka_unit_test(cifar100_files)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
