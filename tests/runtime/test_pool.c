/* The thread pool: coverage, nesting, several callers, shutdown. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

typedef struct Work {
  const dhc_exec *exec;
  atomic_int *touched; /* per task */
  int64_t n;
  int depth;
  atomic_int bad_worker;
  int own[64]; /* per worker, not atomic: two threads as one worker would race */
} Work;

static void visit(void *arg, int64_t t0, int64_t t1, int worker) {
  Work *w = arg;
  if (worker < 0 || worker >= w->exec->workers) {
    atomic_fetch_add(&w->bad_worker, 1);
    return;
  }
  for (int64_t t = t0; t < t1; t++) {
    w->own[worker]++;
    atomic_fetch_add(&w->touched[t], 1);
  }
}

static void check_once(const dhc_exec *exec, int64_t n) {
  Work w = {.exec = exec, .n = n};
  w.touched = calloc((size_t)n + 1, sizeof *w.touched);
  exec->parallel_for(exec->ctx, n, visit, &w);
  int64_t sum = 0;
  for (int i = 0; i < 64; i++) {
    sum += w.own[i];
  }
  assert_int_equal(sum, n);
  for (int64_t t = 0; t < n; t++) {
    assert_int_equal(atomic_load(&w.touched[t]), 1);
  }
  assert_int_equal(atomic_load(&w.bad_worker), 0);
  free(w.touched);
}

static void covers(void **state) {
  (void)state;
  for (int threads = 1; threads <= 8; threads++) {
    DhcPool *pool;
    assert_ok(dhc_pool_new(threads, &pool));
    assert_int_equal(dhc_pool_exec(pool)->workers, threads);
    static const int64_t sizes[] = {0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 1000, 10001};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
      check_once(dhc_pool_exec(pool), sizes[i]);
    }
    dhc_pool_free(pool);
  }
}

static void many_regions(void **state) {
  (void)state;
  const char *asked = getenv("DHC_TEST_REGIONS"); /* scripts/soak tsan */
  int n = asked ? atoi(asked) / 8 : 250;
  for (int threads = 1; threads <= 8; threads++) {
    DhcPool *pool;
    assert_ok(dhc_pool_new(threads, &pool));
    for (int i = 0; i < n; i++) {
      check_once(dhc_pool_exec(pool), 1 + i % 13);
    }
    dhc_pool_free(pool);
  }
}

static void nest(void *arg, int64_t t0, int64_t t1, int worker) {
  Work *w = arg;
  (void)worker;
  for (int64_t t = t0; t < t1; t++) {
    w->exec->parallel_for(w->exec->ctx, w->n, visit, w);
  }
}

static void nested(void **state) {
  (void)state;
  DhcPool *pool;
  assert_ok(dhc_pool_new(4, &pool));
  Work w = {.exec = dhc_pool_exec(pool), .n = 50};
  w.touched = calloc(50, sizeof *w.touched);
  w.exec->parallel_for(w.exec->ctx, 40, nest, &w);
  for (int i = 0; i < 50; i++) {
    assert_int_equal(atomic_load(&w.touched[i]), 40);
  }
  assert_int_equal(atomic_load(&w.bad_worker), 0);
  free(w.touched);
  dhc_pool_free(pool);
}

static void *outsider(void *arg) {
  for (int i = 0; i < 200; i++) {
    check_once(arg, 17);
  }
  return NULL;
}

static void several_callers(void **state) {
  (void)state;
  DhcPool *pool;
  assert_ok(dhc_pool_new(3, &pool));
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, outsider,
                                    (void *)(uintptr_t)dhc_pool_exec(pool)), 0);
  }
  for (int i = 0; i < 3; i++) {
    pthread_join(threads[i], NULL);
  }
  dhc_pool_free(pool);
}

static void limits(void **state) {
  (void)state;
  DhcPool *pool;
  assert_fails(dhc_pool_new(-1, &pool), DHC_E_USAGE, "threads: needs 1 to 1024, got -1");
  assert_fails(dhc_pool_new(1025, &pool), DHC_E_USAGE, "threads: needs 1 to 1024, got 1025");
  assert_ok(dhc_pool_new(0, &pool));
  assert_int_equal(dhc_pool_threads(pool), dhc_pool_cpus());
  dhc_pool_free(pool);
  dhc_pool_free(NULL);
  for (int i = 0; i < 50; i++) { /* ends before its threads have begun */
    assert_ok(dhc_pool_new(8, &pool));
    dhc_pool_free(pool);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(covers),          cmocka_unit_test(many_regions),
      cmocka_unit_test(nested),          cmocka_unit_test(several_callers),
      cmocka_unit_test(limits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
