/* Pictures read ahead: the same batches for any number of threads and any memory, from any position; and errors that are
 * always the same one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "runtime/data/data.h"
#include "tests/runtime/support.h"

enum { SIDE = 15, PIXELS = SIDE * SIDE, N = 50, BATCH = 8, BATCHES = 15 };

static size_t chunk(uint8_t *to, const char *kind, const uint8_t *data, uint32_t n) {
  const uint8_t length[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
  memcpy(to, length, 4);
  memcpy(to + 4, kind, 4);
  if (n > 0) memcpy(to + 8, data, n);
  uint32_t crc = (uint32_t)crc32(0, to + 4, n + 4);
  const uint8_t sum[4] = {(uint8_t)(crc >> 24), (uint8_t)(crc >> 16), (uint8_t)(crc >> 8), (uint8_t)crc};
  memcpy(to + 8 + n, sum, 4);
  return n + 12;
}

/* A gray PNG whose pixels are first, first + 1, …; cut: without its last bytes. */
static void write_png(const char *path, int first, bool cut) {
  static const uint8_t head[13] = {0, 0, 0, SIDE, 0, 0, 0, SIDE, 8};
  uint8_t rows[SIDE * (SIDE + 1)], packed[400], file[600] = {0x89, 'P', 'N', 'G', 13, 10, 26, 10};
  uLongf n_packed = sizeof packed;
  for (int y = 0; y < SIDE; y++) {
    rows[y * (SIDE + 1)] = 0;
    for (int x = 0; x < SIDE; x++) rows[y * (SIDE + 1) + 1 + x] = (uint8_t)(first + y * SIDE + x);
  }
  assert_int_equal(compress(packed, &n_packed, rows, sizeof rows), Z_OK);
  size_t n = 8;
  n += chunk(file + n, "IHDR", head, sizeof head);
  n += chunk(file + n, "IDAT", packed, (uint32_t)n_packed);
  n += chunk(file + n, "IEND", NULL, 0);
  support_write(path, file, cut ? n - 24 : n);
}

/* Pictures 0..N-1, three of four of class a, whose first pixel says which they are. */
static void make(const char *folder) {
  char path[512], name[32];
  for (int c = 0; c < 2; c++) assert_int_equal(mkdir(support_join(path, folder, c ? "b" : "a"), 0777), 0);
  for (int i = 0; i < N; i++) {
    snprintf(name, sizeof name, "%c/%02d.png", i % 4 ? 'a' : 'b', i);
    write_png(support_join(path, folder, name), i, false);
  }
}

static DhcDataset *opened(const char *folder, int64_t max_bytes) {
  char spec[300];
  DhcDataset *d;
  snprintf(spec, sizeof spec, "images:%s", folder);
  assert_ok(dhc_dataset_open(spec, DHC_SPLIT_TRAIN, &(DhcDataOptions){.max_bytes = max_bytes}, &d));
  assert_int_equal(d->n_examples, N);
  assert_true(d->from_files);
  assert_null(dhc_dataset_field(d, "image")->data);
  return d;
}

typedef struct Seen {
  int64_t n[BATCHES];
  uint8_t image[BATCHES][BATCH * PIXELS];
  int64_t target[BATCHES][BATCH];
} Seen;

static void take(DhcBatcher *b, Seen *s, int k) {
  memset(s->image[k], 0, sizeof s->image[k]);
  void *dst[2] = {s->image[k], s->target[k]};
  assert_ok(dhc_batcher_next(b, dst, &s->n[k]));
  for (int64_t i = 0; i < s->n[k]; i++) {
    int which = s->image[k][i * PIXELS];
    assert_int_equal(s->target[k][i], which % 4 ? 0 : 1);
    assert_int_equal(s->image[k][i * PIXELS + PIXELS - 1], (which + PIXELS - 1) % 256);
  }
}

/* Two epochs, and a batch of the third. */
static void run(const DhcDataset *d, int workers, Seen *s) {
  DhcBatcher *b;
  assert_ok(dhc_batcher_new(d, &(DhcBatchOptions){.batch = BATCH, .shuffle = true, .seed = 5, .workers = workers}, &b));
  memset(s, 0, sizeof *s);
  for (int k = 0; k < BATCHES; k++) take(b, s, k);
  assert_int_equal(s->n[7], 0);
  assert_int_equal(dhc_batcher_position(b).epoch, 1);
  dhc_batcher_free(b);
}

static void same_batches(void **state) {
  (void)state;
  static Seen want, got;
  /* half of it for what is kept: everything is, 25 pictures, 3, none */
  static const int64_t memory[] = {0, 50 * (PIXELS + 1), 6 * (PIXELS + 1), 8 * N}, kept[] = {N, 25, 3, 0};
  char folder[256];
  support_folder(folder);
  make(folder);
  DhcDataset *all = opened(folder, 0);
  assert_int_equal(all->bytes, N * (8 + PIXELS + 1));
  run(all, 0, &want);
  DhcSha256 h;
  uint8_t digest[32], other[32];
  dhc_sha256_init(&h);
  assert_ok(dhc_dataset_digest(all, 9 * PIXELS, NULL, &h));
  dhc_sha256_final(&h, digest);
  for (size_t m = 0; m < sizeof memory / sizeof *memory; m++) {
    for (int workers = 0; workers < 4; workers++) {
      DhcDataset *d = m == 0 ? all : opened(folder, memory[m]);
      assert_int_equal(d->bytes, 8 * N + kept[m] * (PIXELS + 1));
      run(d, workers, &got);
      assert_memory_equal(&want, &got, sizeof want);
      run(d, workers, &got); /* what was kept is what was read */
      assert_memory_equal(&want, &got, sizeof want);
      dhc_sha256_init(&h);
      assert_ok(dhc_dataset_digest(d, 9 * PIXELS, NULL, &h));
      dhc_sha256_final(&h, other);
      assert_memory_equal(digest, other, sizeof digest);
      if (d != all) dhc_dataset_free(d);
    }
  }
  /* to an epoch's end, back and elsewhere */
  for (int workers = 0; workers < 3; workers++) {
    DhcBatcher *b;
    assert_ok(dhc_batcher_new(all, &(DhcBatchOptions){.batch = BATCH, .shuffle = true, .seed = 5, .workers = workers}, &b));
    take(b, &got, 0);
    dhc_batcher_end_epoch(b);
    take(b, &got, 8);
    assert_memory_equal(want.image[8], got.image[8], sizeof want.image[8]);
    DhcDataPosition at = dhc_batcher_position(b);
    take(b, &got, 9);
    assert_ok(dhc_batcher_seek(b, at));
    take(b, &got, 9);
    assert_memory_equal(want.image[9], got.image[9], sizeof want.image[9]);
    assert_ok(dhc_batcher_seek(b, (DhcDataPosition){.seed = 5, .next = 3 * BATCH}));
    take(b, &got, 3);
    assert_memory_equal(want.image[3], got.image[3], sizeof want.image[3]);
    dhc_batcher_free(b);
  }
  dhc_dataset_free(all);
  support_drop(folder);
}

/* Two pictures of one batch are broken: the first of the batch is named, and the batches before it are as they would be. */
static void broken(void **state) {
  (void)state;
  char folder[256], path[512], first[512] = "";
  support_folder(folder);
  make(folder);
  DhcDataset *d = opened(folder, 0);
  static Seen whole;
  run(d, 0, &whole);
  dhc_dataset_free(d);
  for (int i = BATCH - 1; i >= 0; i -= 3) { /* of the third batch */
    int which = whole.image[2][i * PIXELS];
    char name[32];
    snprintf(name, sizeof name, "%c/%02d.png", which % 4 ? 'a' : 'b', which);
    write_png(support_join(path, folder, name), which, true);
    snprintf(first, sizeof first, "%.300s/%s: error: is no whole PNG: ends too early", folder, name);
  }
  for (int workers = 0; workers < 4; workers++) {
    d = opened(folder, 8 * N);
    DhcBatcher *b;
    static Seen got;
    assert_ok(dhc_batcher_new(d, &(DhcBatchOptions){.batch = BATCH, .shuffle = true, .seed = 5, .workers = workers}, &b));
    take(b, &got, 0);
    take(b, &got, 1);
    assert_memory_equal(whole.image[1], got.image[1], sizeof got.image[1]);
    for (int again = 0; again < 2; again++) {
      int64_t n;
      void *dst[2] = {got.image[2], got.target[2]};
      assert_fails(dhc_batcher_next(b, dst, &n), DHC_E_INPUT, first);
      assert_int_equal(dhc_batcher_position(b).next, 2 * BATCH);
    }
    dhc_batcher_end_epoch(b);
    dhc_batcher_free(b);
    DhcSha256 h;
    dhc_sha256_init(&h);
    dhc_status st = dhc_dataset_digest(d, 1 << 20, NULL, &h);
    assert_non_null(strstr(st.message, "is no whole PNG: ends too early"));
    dhc_dataset_free(d);
  }
  support_drop(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(same_batches), cmocka_unit_test(broken)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
