/* bench_loading SPEC [batch=64] [workers=2] [epochs=2] [keep=bytes]: examples a second that the data's batches come at, each epoch, when
 * nothing else is done with them. keep: memory for what is read (1: none; all). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/data/data.h"
#include "runtime/pool.h"

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void need(dhc_status st) {
  if (st.code != DHC_OK) {
    fprintf(stderr, "bench_loading: %s\n", st.message);
    exit(1);
  }
}

static long long option(int argc, char **argv, const char *name, long long usual) {
  for (int i = 2; i < argc; i++)
    if (!strncmp(argv[i], name, strlen(name)) && argv[i][strlen(name)] == '=') return atoll(argv[i] + strlen(name) + 1);
  return usual;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: bench_loading SPEC [batch=64] [workers=2] [epochs=2] [keep=bytes]\n");
    return 2;
  }
  int64_t batch = option(argc, argv, "batch", 64), keep = option(argc, argv, "keep", 0);
  int workers = (int)option(argc, argv, "workers", 2), epochs = (int)option(argc, argv, "epochs", 2);
  DhcPool *pool;
  DhcDataset *d;
  DhcBatcher *b;
  double began = now();
  need(dhc_pool_new(workers > 0 ? workers : 1, &pool));
  need(dhc_dataset_open(argv[1], DHC_SPLIT_TRAIN, &(DhcDataOptions){.max_bytes = keep * 2, .exec = dhc_pool_exec(pool)}, &d));
  need(dhc_batcher_new(d, &(DhcBatchOptions){.batch = batch, .shuffle = true, .workers = workers}, &b));
  void **dst = calloc((size_t)d->n_fields + 1, sizeof *dst);
  for (int f = 0; dst && f < d->n_fields; f++) dst[f] = malloc((size_t)(batch * d->fields[f].example_bytes) + 1);
  printf("%lld examples, opened in %.2f s\n", (long long)d->n_examples, now() - began);
  for (int epoch = 0; dst && epoch < epochs; epoch++) {
    int64_t n = 1, all = 0;
    for (began = now(); n; all += n) need(dhc_batcher_next(b, dst, &n));
    printf("epoch %d: %.0f examples/s\n", epoch + 1, (double)all / (now() - began));
  }
  for (int f = 0; dst && f < d->n_fields; f++) free(dst[f]);
  free(dst);
  dhc_batcher_free(b);
  dhc_dataset_free(d);
  dhc_pool_free(pool);
  return 0;
}
