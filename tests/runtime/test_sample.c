/* Drawing indices from logits. */
#include <math.h>

#include "support.h"

#include "runtime/sample.h"

enum { DRAWS = 40000 };

static void greedy_takes_the_first_largest(void **state) {
  (void)state;
  float x[5] = {1, 3, -2, 3, 0};
  int64_t order[5];
  for (uint64_t step = 0; step < 20; step++)
    assert_int_equal(dhc_sample(x, 5, &(DhcSampling){.seed = 7}, step, order), 1);
  assert_int_equal(dhc_sample(x, 5, &(DhcSampling){.temperature = 2, .top_k = 1}, 3, order), 1);
}

/* Frequencies against softmax(x / temperature) over the k largest. */
static void frequencies(double temperature, int64_t k) {
  float x[6] = {0.5f, 2, -1, 1.5f, 2, -INFINITY};
  int rank[6] = {3, 0, 4, 2, 1, 5};
  double p[6], sum = 0;
  for (int i = 0; i < 6; i++) sum += p[i] = k == 0 || rank[i] < k ? exp((double)x[i] / temperature) : 0;
  int64_t order[6];
  int count[6] = {0};
  for (uint64_t step = 0; step < DRAWS; step++) {
    int64_t i = dhc_sample(x, 6, &(DhcSampling){temperature, k, 5}, step, order);
    assert_in_range(i, 0, 5);
    count[i]++;
  }
  for (int i = 0; i < 6; i++) {
    double expected = (double)DRAWS * p[i] / sum, deviation = sqrt(expected * (1 - p[i] / sum));
    assert_true(fabs(count[i] - expected) <= 4.5 * deviation);
  }
}

static void draws_follow_the_softmax(void **state) {
  (void)state;
  frequencies(1, 0);
  frequencies(0.5, 0);
  frequencies(3, 2);
  frequencies(1, 4);
  frequencies(1, 100);
}

static void a_seed_and_a_step_fix_the_draw(void **state) {
  (void)state;
  float x[64];
  for (int i = 0; i < 64; i++) x[i] = (float)(i * 37 % 64) / 16;
  int64_t order[64];
  int moved = 0;
  for (uint64_t step = 0; step < 50; step++) {
    int64_t a = dhc_sample(x, 64, &(DhcSampling){1, 10, 1}, step, order);
    assert_int_equal(a, dhc_sample(x, 64, &(DhcSampling){1, 10, 1}, step, order));
    moved += a != dhc_sample(x, 64, &(DhcSampling){1, 10, 2}, step, order);
    assert_true(x[a] >= 54.0f / 16);
  }
  assert_true(moved > 10);
}

static void what_is_no_number_is_refused(void **state) {
  (void)state;
  int64_t order[2];
  float nan_[2] = {1, NAN}, inf[2] = {INFINITY, 0}, none[2] = {-INFINITY, -INFINITY};
  assert_int_equal(dhc_sample(nan_, 2, &(DhcSampling){0}, 0, order), -1);
  assert_int_equal(dhc_sample(inf, 2, &(DhcSampling){.temperature = 1}, 0, order), -1);
  assert_int_equal(dhc_sample(none, 2, &(DhcSampling){.temperature = 1}, 0, order), -1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(greedy_takes_the_first_largest),
      cmocka_unit_test(draws_follow_the_softmax),
      cmocka_unit_test(a_seed_and_a_step_fix_the_draw),
      cmocka_unit_test(what_is_no_number_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
