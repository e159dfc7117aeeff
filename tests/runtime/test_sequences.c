/* Sequence tasks and files of tokens: what is asked is what the tokens say, in every example; splits and seeds
 * differ, equal specs are equal; what does not fit is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

static int32_t *column(const DhcDataset *d, const char *name, int64_t length) {
  const DhcField *f = dhc_dataset_field(d, name);
  assert_non_null(f);
  assert_int_equal(f->dtype, DHC_I32);
  assert_int_equal(f->rank, 1);
  assert_int_equal(f->shape[0], length);
  return support_column(d, name);
}

/* What the text of data_synth.c says is asked at place i, or -100; computed from the tokens alone. */
typedef int (*Answer)(const int32_t *t, int n, int vocab, int i);

static int answer_mqar(const int32_t *t, int n, int vocab, int i) {
  int pairs = 0;
  (void)n;
  while (t[2 * pairs] > 0 && t[2 * pairs] < vocab / 2 && t[2 * pairs + 1] >= vocab / 2) pairs++;
  for (int k = 0; k < pairs && i >= 2 * pairs; k++)
    if (t[i] == t[2 * k]) return t[2 * k + 1];
  return -100;
}

/* Items in front of the mark, asked for behind it. */
static int answer_items(const int32_t *t, int n, int vocab, int i) {
  int mark = 0, items = 0;
  while (t[mark] != vocab - 1) mark++;
  for (int k = 0; k < mark; k++) items += t[k] != 0;
  assert_int_equal(n - 1 - mark, items);
  if (i <= mark) return -100;
  assert_int_equal(t[i], 0);
  for (int k = 0, nth = 0; k < mark; k++)
    if (t[k] != 0 && nth++ == i - mark - 1) return t[k];
  return -1;
}

static int answer_induction(const int32_t *t, int n, int vocab, int i) {
  int at = 0;
  while (t[at] != vocab - 1) at++;
  assert_true(at < n - 2 && t[n - 1] == vocab - 1);
  return i == n - 1 ? t[at + 1] : -100;
}

static int answer_adding(const int32_t *t, int n, int vocab, int i) {
  int sum = 0, marked = 0;
  (void)vocab;
  for (int k = 0; k < n - 1; k++) {
    assert_in_range(t[k], 1, 20);
    if (t[k] > 10) {
      sum += t[k] - 11;
      marked++;
    }
  }
  assert_int_equal(marked, 2);
  assert_int_equal(t[n - 1], 21);
  return i == n - 1 ? sum : -100;
}

static DhcDataset *opened(const char *spec, DhcSplit split) {
  DhcDataset *d;
  assert_ok(dhc_dataset_open(spec, split, NULL, &d));
  return d;
}

static void what_is_asked(void **state) {
  (void)state;
  static const struct {
    const char *spec;
    Answer answer;
    int length, vocab, asked;
  } rows[] = {{"synth:mqar:length=40,pairs=7,n=300,n_test=50,vocab=32", answer_mqar, 40, 32, 7},
              {"synth:mqar:length=24,pairs=8,n=300,n_test=50", answer_mqar, 24, 64, 8},
              {"synth:copy:length=21,n=300,n_test=50", answer_items, 21, 64, 10},
              {"synth:copy:length=22,n=300,n_test=50", answer_items, 22, 64, 10},
              {"synth:selective_copy:length=30,items=9,n=300,n_test=50", answer_items, 30, 64, 9},
              {"synth:induction:length=12,n=300,n_test=50", answer_induction, 12, 64, 1},
              {"synth:adding:length=9,n=300,n_test=50", answer_adding, 9, 64, 1}};
  for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
    for (int split = DHC_SPLIT_TRAIN; split <= DHC_SPLIT_TEST; split++) {
      DhcDataset *d = opened(rows[r].spec, (DhcSplit)split);
      int n = rows[r].length;
      assert_int_equal(d->n_examples, split == DHC_SPLIT_TRAIN ? 300 : 50);
      int32_t *all_tokens = column(d, "tokens", n), *all_targets = column(d, "target", n);
      const int32_t *tokens = all_tokens, *target = all_targets;
      for (int64_t e = 0; e < d->n_examples; e++, tokens += n, target += n) {
        int asked = 0;
        for (int i = 0; i < n; i++) {
          assert_in_range(tokens[i], 0, rows[r].vocab - 1);
          assert_int_equal(target[i], rows[r].answer(tokens, n, rows[r].vocab, i));
          asked += target[i] != -100;
        }
        assert_int_equal(asked, rows[r].asked);
      }
      free(all_tokens);
      free(all_targets);
      dhc_dataset_free(d);
    }
}

static bool equal(const char *a, DhcSplit split_a, const char *b, DhcSplit split_b) {
  DhcDataset *x = opened(a, split_a), *y = opened(b, split_b);
  size_t bytes = (size_t)(x->n_examples * x->fields[1].example_bytes);
  bool same = x->n_examples == y->n_examples && !memcmp(x->fields[1].data, y->fields[1].data, bytes);
  dhc_dataset_free(x);
  dhc_dataset_free(y);
  return same;
}

static void what_a_seed_makes(void **state) {
  (void)state;
  const char *a = "synth:mqar:n=40,n_test=40", *b = "synth:mqar:seed=1,n=40,n_test=40";
  assert_true(equal(a, DHC_SPLIT_TRAIN, "synth:mqar:n_test=40,n=40,seed=0", DHC_SPLIT_TRAIN));
  assert_false(equal(a, DHC_SPLIT_TRAIN, b, DHC_SPLIT_TRAIN));
  assert_false(equal(a, DHC_SPLIT_TRAIN, a, DHC_SPLIT_VAL));
  assert_false(equal(a, DHC_SPLIT_VAL, a, DHC_SPLIT_TEST));
  /* pinned: a study's data are the same in later versions and on every machine */
  DhcDataset *d = opened("synth:induction:length=8,n=1,n_test=1", DHC_SPLIT_TRAIN);
  static const int32_t want[8] = {42, 38, 63, 28, 8, 39, 36, 63};
  int32_t *tokens = column(d, "tokens", 8);
  assert_memory_equal(tokens, want, sizeof want);
  free(tokens);
  dhc_dataset_free(d);
}

static void other_names(void **state) {
  (void)state;
  DhcDataset *plain = opened("synth:copy:length=16,n=5", DHC_SPLIT_TRAIN), *d = opened("input_ids=tokens,labels=target,synth:copy:length=16,n=5", DHC_SPLIT_TRAIN);
  assert_true(dhc_data_may_have_val("a=b,npy:x") && dhc_dataset_field(d, "tokens") == NULL && dhc_dataset_field(d, "target") == NULL);
  assert_memory_equal(dhc_dataset_field(d, "input_ids")->data, dhc_dataset_field(plain, "tokens")->data, 5 * 16 * 4);
  assert_memory_equal(dhc_dataset_field(d, "labels")->data, dhc_dataset_field(plain, "target")->data, 5 * 16 * 4);
  dhc_dataset_free(d);
  const char *swaps[] = {"target=tokens,synth:copy:length=16,n=5", "target=tokens,tokens=target,synth:copy:length=16,n=5"};
  for (int i = 0; i < 2; i++) { /* the two change places, said of one or of both */
    d = opened(swaps[i], DHC_SPLIT_TRAIN);
    assert_memory_equal(dhc_dataset_field(d, "target")->data, dhc_dataset_field(plain, "tokens")->data, 5 * 16 * 4);
    assert_memory_equal(dhc_dataset_field(d, "tokens")->data, dhc_dataset_field(plain, "target")->data, 5 * 16 * 4);
    dhc_dataset_free(d);
  }
  dhc_dataset_free(plain);
  assert_fails(dhc_dataset_open("x=tokns,synth:copy", DHC_SPLIT_TRAIN, NULL, &d), DHC_E_USAGE, "data 'x=tokns,synth:copy': has no field 'tokns'");
  assert_fails(dhc_dataset_open("x=tokens,x=target,synth:copy", DHC_SPLIT_TRAIN, NULL, &d), DHC_E_USAGE, "data 'x=target,synth:copy': two fields are to be called 'x'");
  assert_fails(dhc_dataset_open("x=tokens,y=tokens,synth:copy", DHC_SPLIT_TRAIN, NULL, &d), DHC_E_USAGE, "data 'y=tokens,synth:copy': field 'tokens' gets two names");
}

static void what_is_refused(void **state) {
  (void)state;
  static const char *const rows[][2] = {
      {"synth:", "data 'synth:': no task '' (mqar, copy, selective_copy, induction, adding)"},
      {"synth:mqra", "data 'synth:mqra': no task 'mqra' (mqar, copy, selective_copy, induction, adding)"},
      {"synth:copy:len=3", "data 'synth:copy:len=3': copy has no setting 'len' (length, vocab, n, n_test, seed)"},
      {"synth:copy:length=3", "data 'synth:copy:length=3': length needs a number from 4 to 1048576"},
      {"synth:copy:length", "data 'synth:copy:length': length needs a number from 4 to 1048576"},
      {"synth:copy:length=8,length=16", "data 'synth:copy:length=8,length=16': length is given twice"},
      {"synth:mqar:items=3", "data 'synth:mqar:items=3': mqar has no setting 'items' (length, vocab, pairs, n, n_test, seed)"},
      {"synth:selective_copy:pairs=3",
       "data 'synth:selective_copy:pairs=3': selective_copy has no setting 'pairs' (length, vocab, items, n, n_test, seed)"},
      {"synth:induction:n=3,pairs=3", "data 'synth:induction:n=3,pairs=3': induction has no setting 'pairs' (length, vocab, n, n_test, seed)"},
      {"synth:adding:vocab=32", "data 'synth:adding:vocab=32': adding has no setting 'vocab' (length, n, n_test, seed)"},
      {"tokens:", "data 'tokens:': needs a path behind the colon"},
      {"scifar:", "data 'scifar:': needs a path behind the colon"},
      {"synth:copy:vocab=64,", "data 'synth:copy:vocab=64,': copy has no setting '' (length, vocab, n, n_test, seed)"},
      {"synth:mqar:length=20", "data 'synth:mqar:length=20': 8 pairs need a length of 24 and a vocab of 18 at least"},
      {"synth:selective_copy:length=32", "data 'synth:selective_copy:length=32': 16 items need a length of 33 at least"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    DhcDataset *d;
    assert_fails(dhc_dataset_open(rows[i][0], DHC_SPLIT_TRAIN, NULL, &d), DHC_E_USAGE, rows[i][1]);
  }
  DhcDataset *d;
  DhcDataOptions tight = {.max_bytes = 1000};
  assert_fails(dhc_dataset_open("synth:copy:length=64,n=100", DHC_SPLIT_TRAIN, &tight, &d), DHC_E_INPUT,
               "synth:copy:length=64,n=100: data needs 25.0 KiB, limit is 1000 bytes (--max-memory)");
}

/* ---- tokens:FILE ------------------------------------------------------------------------------------- */

static void token_files(void **state) {
  (void)state;
  char folder[256], path[512], spec[600];
  uint16_t raw[23];
  DhcDataset *d;
  support_folder(folder);
  for (int i = 0; i < 23; i++) raw[i] = (uint16_t)(i * i + 60000);
  support_join(path, folder, "a.bin");
  support_write(path, raw, sizeof raw);
  snprintf(spec, sizeof spec, "tokens:%s@4", path);
  d = opened(spec, DHC_SPLIT_TRAIN);
  assert_int_equal(d->n_examples, 5);
  const DhcField *tokens = dhc_dataset_field(d, "tokens"), *target = dhc_dataset_field(d, "target");
  assert_int_equal(tokens->dtype, DHC_U16);
  assert_int_equal(target->dtype, DHC_U16);
  uint16_t *a = support_column(d, "tokens"), *b = support_column(d, "target");
  assert_memory_equal(a, raw, 40);
  assert_memory_equal(b, raw + 1, 40);
  free(a);
  free(b);
  dhc_dataset_free(d);
  int32_t matrix[3][5];
  for (int i = 0; i < 15; i++) matrix[i / 5][i % 5] = 7 * i;
  support_join(path, folder, "m.npy");
  DhcTensorView v = {.dtype = DHC_I32, .rank = 2, .shape = {3, 5}, .data = matrix, .bytes = sizeof matrix};
  assert_ok(dhc_npy_write(path, &v));
  snprintf(spec, sizeof spec, "tokens:%s", path);
  d = opened(spec, DHC_SPLIT_TEST);
  assert_int_equal(d->n_examples, 3);
  int32_t *t = column(d, "tokens", 4), *u = column(d, "target", 4);
  for (int r = 0; r < 3; r++) {
    assert_memory_equal(t + 4 * r, matrix[r], 16);
    assert_memory_equal(u + 4 * r, matrix[r] + 1, 16);
  }
  free(t);
  free(u);
  dhc_dataset_free(d);
  static const struct {
    const char *name, *end;
    int32_t dtype, rank;
    int64_t shape[3];
    const char *says;
  } rows[] = {{"f.npy", "", DHC_F32, 1, {15}, "f.npy: error: holds f32; tokens are i8, u8, i16, u16, i32, u32 or i64"},
              {"r.npy", "", DHC_I32, 3, {3, 5, 1}, "r.npy: error: has 3 dimensions, tokens have 1, or 2 for examples by row"},
              {"s.npy", "@15", DHC_I32, 1, {15}, "s.npy: error: 15 tokens are too few for a window of 15 and the token after it"},
              {"g.npy", "@3", DHC_I32, 2, {3, 5}, "g.npy: error: is a matrix, whose rows are the examples: no @LENGTH"},
              {"one.npy", "", DHC_I32, 2, {15, 1}, "one.npy: error: rows of 1 tokens: needs 2 to 1048577"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    v = (DhcTensorView){.dtype = rows[i].dtype, .rank = rows[i].rank, .data = matrix, .bytes = 60};
    memcpy(v.shape, rows[i].shape, sizeof rows[i].shape);
    support_join(path, folder, rows[i].name);
    assert_ok(dhc_npy_write(path, &v));
    snprintf(spec, sizeof spec, "tokens:%s%s", path, rows[i].end);
    dhc_status st = dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d);
    assert_int_equal(st.code, DHC_E_INPUT);
    assert_string_equal(st.message + strlen(folder) + 1, rows[i].says);
  }
  support_join(path, folder, "odd.bin");
  support_write(path, raw, 3);
  snprintf(spec, sizeof spec, "tokens:%s", path);
  assert_int_equal(dhc_dataset_open(spec, DHC_SPLIT_TRAIN, NULL, &d).code, DHC_E_INPUT);
  support_drop(folder);
}

/* ---- scifar:DIR ----------------------------------------------------------------------------------------- */

static void images_as_sequences(void **state) {
  (void)state;
  char folder[256], path[512], spec[600];
  enum { RECORD = 3073 };
  static uint8_t file[2 * RECORD];
  support_folder(folder);
  for (int i = 0; i < 2 * RECORD; i++) file[i] = (uint8_t)(i * 7);
  file[0] = 9, file[RECORD] = 4;
  support_join(path, folder, "two.bin");
  support_write(path, file, sizeof file);
  snprintf(spec, sizeof spec, "scifar:%s", path);
  DhcDataset *d = opened(spec, DHC_SPLIT_TEST);
  assert_int_equal(d->n_examples, 2);
  const DhcField *tokens = dhc_dataset_field(d, "tokens"), *target = dhc_dataset_field(d, "target");
  assert_int_equal(tokens->dtype, DHC_U8);
  assert_int_equal(target->dtype, DHC_I8);
  uint8_t *token = support_column(d, "tokens");
  int8_t *asked = support_column(d, "target");
  for (int e = 0; e < 2; e++)
    for (int i = 0; i < 1024; i++) {
      const uint8_t *r = file + e * RECORD + 1 + i;
      double gray = 0.299 * r[0] + 0.587 * r[1024] + 0.114 * r[2048];
      double error = gray - token[e * 1024 + i];
      assert_true(error >= -0.501 && error <= 0.501);
      assert_int_equal(asked[e * 1024 + i], i < 1023 ? -100 : e ? 4 : 9);
    }
  free(token), free(asked);
  dhc_dataset_free(d);
  support_drop(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_asked), cmocka_unit_test(what_a_seed_makes), cmocka_unit_test(what_is_refused), cmocka_unit_test(other_names),
                                     cmocka_unit_test(token_files), cmocka_unit_test(images_as_sequences)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
