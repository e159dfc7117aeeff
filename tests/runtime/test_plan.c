/* Dim programs, binding and running plans, with kernels in plain C. */
#include <stdlib.h>
#include <string.h>

#include "support.h"

#define CODE(...) \
  { (const int64_t[]){__VA_ARGS__}, (int32_t)(sizeof((const int64_t[]){__VA_ARGS__}) / 8) }
#define NUM(v) CODE(DHC_DIM_CONST, (v))
#define SYM(i) CODE(DHC_DIM_SYM, (i))
#define SYM_TIMES(i, v) CODE(DHC_DIM_SYM, (i), DHC_DIM_CONST, (v), DHC_DIM_MUL)
#define COUNT(a) ((int32_t)(sizeof(a) / sizeof(a)[0]))

static int64_t value(dhc_dimprog p) {
  const int64_t env[2] = {-7, 2};
  int64_t v = 12345;
  return dhc_dimprog_eval(p, env, 2, 99, &v) ? v : -1000;
}

static void dim_programs(void **state) {
  (void)state;
  enum { A = DHC_DIM_ADD, S = DHC_DIM_SUB, M = DHC_DIM_MUL, C = DHC_DIM_CONST, Y = DHC_DIM_SYM };
  assert_int_equal(value((dhc_dimprog){NULL, 0}), 99);
  assert_int_equal(value((dhc_dimprog)CODE(Y, 0, Y, 1, A)), -5);
  assert_int_equal(value((dhc_dimprog)CODE(Y, 0, Y, 1, S)), -9);
  assert_int_equal(value((dhc_dimprog)CODE(Y, 0, Y, 1, DHC_DIM_FLOORDIV)), -4);
  assert_int_equal(value((dhc_dimprog)CODE(Y, 0, Y, 1, DHC_DIM_CEILDIV)), -3);
  assert_int_equal(value((dhc_dimprog)CODE(C, 7, Y, 1, DHC_DIM_FLOORDIV)), 3);
  assert_int_equal(value((dhc_dimprog)CODE(C, 7, Y, 1, DHC_DIM_CEILDIV)), 4);
  assert_int_equal(value((dhc_dimprog)CODE(C, 7, Y, 1, DHC_DIM_MIN)), 2);
  assert_int_equal(value((dhc_dimprog)CODE(C, 7, Y, 1, DHC_DIM_MAX)), 7);
  assert_int_equal(value((dhc_dimprog)CODE(C, 2, Y, 1, DHC_DIM_LE)), 1);
  assert_int_equal(value((dhc_dimprog)CODE(C, 3, Y, 1, DHC_DIM_LE)), 0);
  assert_int_equal(value((dhc_dimprog)CODE(C, 3, C, 0, DHC_DIM_AND)), 0);
  /* Refused: overflow, division by zero, bad symbols, malformed code. */
  assert_int_equal(value((dhc_dimprog)CODE(C, INT64_MAX, Y, 1, A)), -1000);
  assert_int_equal(value((dhc_dimprog)CODE(C, INT64_MIN, Y, 1, S)), -1000);
  assert_int_equal(value((dhc_dimprog)CODE(C, INT64_MAX, Y, 1, M)), -1000);
  assert_int_equal(value((dhc_dimprog)CODE(C, 1, C, 0, DHC_DIM_FLOORDIV)), -1000);
  assert_int_equal(value((dhc_dimprog)CODE(C, INT64_MIN, C, -1, DHC_DIM_FLOORDIV)), -1000);
  assert_int_equal(value((dhc_dimprog)CODE(Y, 2)), -1000);
  assert_int_equal(value((dhc_dimprog)CODE(Y, -1)), -1000);
  assert_int_equal(value((dhc_dimprog)CODE(C)), -1000);
  assert_int_equal(value((dhc_dimprog)CODE(C, 1, A)), -1000);
  assert_int_equal(value((dhc_dimprog)CODE(C, 1, C, 1)), -1000);
  assert_int_equal(value((dhc_dimprog)CODE(C, 1, C, 1, 77)), -1000);
}

/* dst[i] = src[i] + 1 over dim[0] floats, 16 a task; scratch must be private. */
enum { PER_TASK = 16 };
static void add_one(void *const *ptr, const intptr_t *dim, intptr_t t0, intptr_t t1,
                    void *scratch) {
  const float *src = ptr[0];
  float *dst = ptr[1];
  float *own = scratch;
  for (intptr_t t = t0; t < t1; t++) {
    for (intptr_t i = t * PER_TASK; i < (t + 1) * PER_TASK && i < dim[0]; i++) {
      own[i % PER_TASK] = src[i] + 1.0f;
      dst[i] = own[i % PER_TASK];
    }
  }
}

static void add_hundred(void *const *ptr, const intptr_t *dim, intptr_t t0, intptr_t t1,
                        void *scratch) {
  (void)scratch;
  for (intptr_t i = t0; i < t1 && i < dim[0]; i++) {
    ((float *)ptr[1])[i] = ((const float *)ptr[0])[i] + 100.0f;
  }
}

static const dhc_kernel adder = {
    .name = "adder",
    .n_ptrs = 2,
    .n_dims = 1,
    .n_classes = 2,
    .classes = (const dhc_kernel_class[]){
                {.guard = CODE(DHC_DIM_SYM, 0, DHC_DIM_CONST, 3, DHC_DIM_LE),
                 .n_tasks = SYM(0),
                 .fn = add_hundred},
                {.n_tasks = CODE(DHC_DIM_SYM, 0, DHC_DIM_CONST, PER_TASK, DHC_DIM_CEILDIV),
                 .scratch_bytes = NUM(PER_TASK * 4),
                 .fn = add_one}}};

/* Three phases: sums of PER_TASK elements to the shared memory, then y[i] = all of them added, then twice that, by one task. */
static void add_sums(void *const *ptr, const intptr_t *dim, intptr_t t0, intptr_t t1, void *scratch) {
  (void)scratch;
  intptr_t n = dim[0], first = (n + PER_TASK - 1) / PER_TASK;
  double *sums = ptr[2];
  for (intptr_t t = t0; t < t1; t++) {
    double sum = 0;
    for (intptr_t i = t * PER_TASK; t < first && i < (t + 1) * PER_TASK && i < n; i++) {
      sum += (double)((const float *)ptr[0])[i];
    }
    if (t < first) {
      sums[t] = sum;
      continue;
    }
    if (t == first + n) {
      for (intptr_t k = 0; k < n; k++) {
        ((float *)ptr[1])[k] *= 2;
      }
      continue;
    }
    for (intptr_t k = 0; k < first; k++) {
      sum += sums[k];
    }
    ((float *)ptr[1])[t - first] = (float)sum;
  }
}

#define N_SUMS DHC_DIM_SYM, 0, DHC_DIM_CONST, PER_TASK, DHC_DIM_CEILDIV
static const dhc_kernel summer = {
    .name = "summer",
    .n_ptrs = 2,
    .n_dims = 1,
    .n_classes = 1,
    .classes = (const dhc_kernel_class[]){
                {.n_tasks = CODE(N_SUMS, DHC_DIM_SYM, 0, DHC_DIM_ADD, DHC_DIM_CONST, 1, DHC_DIM_ADD),
                 .first_tasks = CODE(N_SUMS),
                 .later_tasks = {CODE(N_SUMS, DHC_DIM_SYM, 0, DHC_DIM_ADD)},
                 .scratch_bytes = NUM(8),
                 .shared_bytes = CODE(N_SUMS, DHC_DIM_CONST, 8, DHC_DIM_MUL),
                 .fn = add_sums}}};

/* in [N], a and b [N] in WORK (b above a), c shares a's memory at N*4 (beyond
 * it), grid [4, 3] in STATE, counter [1]. */
static const char *const symbol_names[] = {"N"};
static const int32_t below_b[] = {1}, below_y[] = {0};
static const dhc_buffer buffers[] = {
    {.segment = DHC_SEGMENT_IO, .alias = -1, .bytes = SYM_TIMES(0, 4)},
    {.segment = DHC_SEGMENT_WORK, .alias = -1, .bytes = SYM_TIMES(0, 4)},
    {.segment = DHC_SEGMENT_WORK, .alias = -1, .bytes = SYM_TIMES(0, 4),
     .below = below_b, .n_below = 1},
    {.segment = DHC_SEGMENT_WORK, .alias = 1, .at = NUM(4), .bytes = NUM(4)},
    {.segment = DHC_SEGMENT_BUFFERS, .alias = -1, .bytes = NUM(48)},
    {.segment = DHC_SEGMENT_IO, .alias = -1, .bytes = SYM_TIMES(0, 4),
     .below = below_y, .n_below = 1},
};
static const dhc_ref x_to_a[] = {{.buffer = 0}, {.buffer = 1}};
static const dhc_ref a_to_b[] = {{.buffer = 1}, {.buffer = 2}};
static const dhc_ref b_to_y[] = {{.buffer = 2}, {.buffer = 5}};
static const dhc_ref grid_fill[] = {
    {.buffer = 4, .step = {NUM(12), NUM(4)}}}; /* grid[i][j] in a 4 by 3 nest */
static const dhc_ref grid_move[] = {{.buffer = 4}, {.buffer = 4, .offset = NUM(16), .step = {NUM(16)}}};
static const dhc_dimprog n_dim[] = {SYM(0)};
static const dhc_item items[] = {
    {.kind = DHC_ITEM_CALL, .kernel = 0, .n_refs = 2, .refs = x_to_a, .n_dims = 1, .dims = n_dim},
    {.kind = DHC_ITEM_CALL, .kernel = 0, .n_refs = 2, .refs = a_to_b, .n_dims = 1, .dims = n_dim},
    {.kind = DHC_ITEM_COPY, .n_refs = 2, .refs = b_to_y, .bytes = SYM_TIMES(0, 4)},
    {.kind = DHC_ITEM_LOOP, .count = NUM(4), .n_body = 2},
    {.kind = DHC_ITEM_LOOP, .count = NUM(3), .n_body = 1},
    {.kind = DHC_ITEM_FILL, .n_refs = 1, .refs = grid_fill, .bytes = NUM(4), .pattern = 0x3f800000},
    {.kind = DHC_ITEM_LOOP, .count = NUM(2), .n_body = 1},
    {.kind = DHC_ITEM_COPY, .n_refs = 2, .refs = grid_move, .bytes = NUM(16)},
};
static const dhc_guard guards[] = {
    {.cond = CODE(DHC_DIM_SYM, 0, DHC_DIM_CONST, 100000000, DHC_DIM_LE),
     .message = "m.dhc:3:1: error: N must be at most 100000000"}};
static const dhc_plan plan = {.name = "test", .n_symbols = 1, .n_buffers = COUNT(buffers),
                              .n_items = COUNT(items), .n_guards = 1, .n_kernels = 1,
                              .symbols = symbol_names, .buffers = buffers, .items = items,
                              .guards = guards};
static const dhc_kernel *const kernels[] = {&adder};

static void count_items(void *ctx, int32_t item, int64_t begin, int64_t end) {
  int *counts = ctx;
  assert_true(begin <= end);
  counts[item]++;
}

static void run_at(int64_t n, DhcPool *pool) {
  DhcBound *b;
  assert_ok(dhc_plan_bind(&plan, kernels, &n, dhc_pool_threads(pool), &b));
  int64_t row = (n * 4 + 63) / 64 * 64;
  assert_int_equal(dhc_bound_segment_bytes(b, DHC_SEGMENT_IO), 2 * row);
  assert_int_equal(dhc_bound_segment_bytes(b, DHC_SEGMENT_WORK), 2 * row);
  assert_int_equal(dhc_bound_segment_bytes(b, DHC_SEGMENT_BUFFERS), 64);
  assert_int_equal(dhc_bound_segment_bytes(b, DHC_SEGMENT_MOMENTS), 0);
  assert_int_equal(dhc_bound_buffer_offset(b, 3), 4);
  assert_int_equal(dhc_bound_item_class(b, 0), 1);
  assert_int_equal(dhc_bound_item_tasks(b, 0), (n + PER_TASK - 1) / PER_TASK);
  assert_int_equal(dhc_bound_item_runs(b, 5), 12);
  assert_int_equal(dhc_bound_scratch_bytes(b), 64 * dhc_pool_threads(pool));
  DhcDevice *d;
  assert_ok(dhc_host_device_open("test", dhc_pool_exec(pool), NULL, &d));
  DhcDevicePtr base[DHC_N_SEGMENTS], scratch;
  for (int a = 0; a < DHC_N_SEGMENTS; a++) {
    assert_ok(d->ops->alloc(d, dhc_bound_segment_bytes(b, a), &base[a]));
  }
  assert_ok(d->ops->alloc(d, dhc_bound_scratch_bytes(b), &scratch));
  float *x = d->ops->view(d, base[DHC_SEGMENT_IO], n * 4), *grid = d->ops->view(d, base[DHC_SEGMENT_BUFFERS], 64);
  const float *y = d->ops->view(d, base[DHC_SEGMENT_IO] + (uint64_t)dhc_bound_buffer_offset(b, 5), n * 4);
  for (int64_t i = 0; i < n; i++) {
    x[i] = (float)(i % 1000);
  }
  int counts[COUNT(items)] = {0};
  DhcItemHook hook = {.ctx = counts, .item = count_items};
  assert_ok(dhc_bound_run(b, d, base, scratch, &hook));
  for (int64_t i = 0; i < n; i++) {
    assert_true(y[i] == (float)(i % 1000) + 2.0f);
  }
  for (int i = 0; i < 12; i++) {
    assert_true(grid[i] == 1.0f);
  }
  assert_int_equal(counts[5], 12);
  assert_int_equal(counts[7], 2);
  assert_int_equal(counts[3], 0);
  for (int a = 0; a < DHC_N_SEGMENTS; a++) {
    d->ops->free(d, base[a]);
  }
  d->ops->free(d, scratch);
  dhc_device_close(d);
  dhc_bound_free(b);
}

static void bind_and_run(void **state) {
  (void)state;
  for (int threads = 1; threads <= 4; threads++) {
    DhcPool *pool;
    assert_ok(dhc_pool_new(threads, &pool));
    run_at(4, pool);
    run_at(17, pool);
    run_at(100003, pool); /* copies in several tasks */
    dhc_pool_free(pool);
  }
}

static void phases(void **state) {
  (void)state;
  static const dhc_ref x_to_y[] = {{.buffer = 0}, {.buffer = 5}};
  static const dhc_item sum_items[] = {
      {.kind = DHC_ITEM_CALL, .kernel = 0, .n_refs = 2, .refs = x_to_y, .n_dims = 1, .dims = n_dim}};
  const dhc_kernel *const sums[] = {&summer};
  dhc_plan p = plan;
  p.items = sum_items;
  p.n_items = 1;
  for (int threads = 1; threads <= 8; threads++) {
    DhcPool *pool;
    DhcBound *b;
    int64_t n = 3001, n_sums = (n + PER_TASK - 1) / PER_TASK;
    assert_ok(dhc_pool_new(threads, &pool));
    assert_ok(dhc_plan_bind(&p, sums, &n, threads, &b));
    assert_int_equal(dhc_bound_item_tasks(b, 0), n_sums + n + 1);
    assert_int_equal(dhc_bound_scratch_bytes(b), 64 * threads + (n_sums * 8 + 63) / 64 * 64);
    DhcDevice *d;
    DhcDevicePtr base[DHC_N_SEGMENTS] = {0};
    assert_ok(dhc_host_device_open("test", threads > 1 ? dhc_pool_exec(pool) : NULL, NULL, &d));
    void *scratch = dhc_aligned_alloc(dhc_bound_scratch_bytes(b));
    float *x = dhc_aligned_alloc(dhc_bound_segment_bytes(b, DHC_SEGMENT_IO));
    base[DHC_SEGMENT_IO] = (DhcDevicePtr)(uintptr_t)x;
    const float *y = (const float *)(void *)((char *)x + dhc_bound_buffer_offset(b, 5));
    for (int64_t i = 0; i < n; i++) {
      x[i] = (float)(i % 10);
    }
    for (int round = 0; round < 20; round++) {
      memset((char *)x + dhc_bound_buffer_offset(b, 5), 0, (size_t)n * 4);
      memset(scratch, 0xff, (size_t)dhc_bound_scratch_bytes(b));
      assert_ok(dhc_bound_run(b, d, base, (DhcDevicePtr)(uintptr_t)scratch, NULL));
      for (int64_t i = 0; i < n; i++) {
        assert_true(y[i] == 27000.0f);
      }
    }
    dhc_aligned_free(x);
    dhc_aligned_free(scratch);
    dhc_device_close(d);
    dhc_bound_free(b);
    dhc_pool_free(pool);
  }
}

static void size_classes(void **state) {
  (void)state;
  DhcBound *b;
  int64_t n = 2; /* the guard reads 2 <= 3 */
  assert_ok(dhc_plan_bind(&plan, kernels, &n, 1, &b));
  assert_int_equal(dhc_bound_item_class(b, 0), 0);
  assert_int_equal(dhc_bound_item_tasks(b, 0), 2);
  assert_int_equal(dhc_bound_item_dims(b, 0)[0], 2);
  assert_int_equal(dhc_bound_scratch_bytes(b), 0);
  dhc_bound_free(b);
}

static void refusals(void **state) {
  (void)state;
  DhcBound *b;
  int64_t n = 100000001;
  assert_fails(dhc_plan_bind(&plan, kernels, &n, 1, &b), DHC_E_INPUT,
               "m.dhc:3:1: error: N must be at most 100000000");
  n = 0;
  assert_fails(dhc_plan_bind(&plan, kernels, &n, 1, &b), DHC_E_INPUT,
               "'N' must be at least 1, got 0");
  n = INT64_MAX / 2;
  dhc_plan unguarded = plan;
  unguarded.n_guards = 0;
  assert_fails(dhc_plan_bind(&unguarded, kernels, &n, 1, &b), DHC_E_INPUT,
               "plan 'test': size of buffer 0 does not fit in 63 bits");
  n = 8;
  assert_fails(dhc_plan_bind(&plan, kernels, &n, 0, &b), DHC_E_USAGE,
               "workers: needs at least 1, got 0");

  /* Malformed plans: each a small change to a good one. */
  const dhc_dimprog three = NUM(3);
  const struct {
    int item;
    dhc_item with;
    const char *message;
  } cases[] = {
      {0, {.kind = 9}, "plan 'test': item 0: unknown kind"},
      {0, {.kind = DHC_ITEM_CALL, .kernel = 1}, "plan 'test': item 0: no such kernel"},
      {0, {.kind = DHC_ITEM_CALL, .n_refs = 1, .refs = x_to_a},
       "plan 'test': item 0: operands or dims do not match the kernel"},
      {0, {.kind = DHC_ITEM_CALL, .n_refs = -1}, "plan 'test': item 0: too many operands"},
      {2, {.kind = DHC_ITEM_COPY, .n_refs = 2, .refs = b_to_y, .bytes = NUM(36)},
       "plan 'test': item 2: an operand lies outside its buffer"},
      {2, {.kind = DHC_ITEM_COPY, .n_refs = 1, .refs = b_to_y},
       "plan 'test': item 2: wrong operands of a copy or fill"},
      {2, {.kind = DHC_ITEM_RANKS, .n_refs = 1, .refs = b_to_y}, "plan 'test': item 2: wrong operands of what ranks do together"},
      {2, {.kind = DHC_ITEM_RANKS, .n_refs = 2, .refs = b_to_y, .bytes = NUM(16), .pattern = DHC_RANKS_SPREAD, .n_dims = 1, .dims = &three},
       "plan 'test': item 2: its parts are another whole"},
      {2, {.kind = DHC_ITEM_RANKS, .n_refs = 2, .refs = b_to_y, .bytes = NUM(8), .pattern = DHC_RANKS_SPREAD, .n_dims = 1, .dims = &three},
       "plan 'test': item 2: its parts are another whole"},
      {3, {.kind = DHC_ITEM_LOOP, .count = NUM(4), .n_body = 5},
       "plan 'test': item 3: loop body runs past its end"},
      {4, {.kind = DHC_ITEM_LOOP, .count = NUM(3), .n_body = 2},
       "plan 'test': item 4: loop body runs past its end"},
      {4, {.kind = DHC_ITEM_LOOP, .count = NUM(5), .n_body = 1},
       "plan 'test': item 5: an operand lies outside its buffer"},
      {5, {.kind = DHC_ITEM_FILL, .n_refs = 1, .refs = grid_fill, .bytes = NUM(3)},
       "plan 'test': item 5: wrong operands of a copy or fill"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    dhc_item changed[COUNT(items)];
    memcpy(changed, items, sizeof items);
    changed[cases[i].item] = cases[i].with;
    dhc_plan bad = plan;
    bad.items = changed;
    assert_fails(dhc_plan_bind(&bad, kernels, &n, 1, &b), DHC_E_USAGE, cases[i].message);
  }
  dhc_item idle[COUNT(items)]; /* what no trip meets may lie anywhere */
  memcpy(idle, items, sizeof items);
  idle[4] = (dhc_item){.kind = DHC_ITEM_LOOP, .count = NUM(0), .n_body = 1};
  idle[5].bytes = (dhc_dimprog)NUM(4000);
  dhc_plan never = plan;
  never.items = idle;
  assert_ok(dhc_plan_bind(&never, kernels, &n, 1, &b));
  dhc_bound_free(b);
  idle[4].count = (dhc_dimprog)NUM(1);
  assert_fails(dhc_plan_bind(&never, kernels, &n, 1, &b), DHC_E_USAGE, "plan 'test': item 5: an operand lies outside its buffer");
  static const int64_t twice[] = {DHC_DIM_CONST, 2};
  dhc_item deep[DHC_MAX_LOOP_DEPTH + 1];
  for (int i = 0; i <= DHC_MAX_LOOP_DEPTH; i++) {
    deep[i] = (dhc_item){.kind = DHC_ITEM_LOOP, .count = {twice, 2}, .n_body = DHC_MAX_LOOP_DEPTH - i};
  }
  dhc_plan nested = plan;
  nested.items = deep;
  nested.n_items = DHC_MAX_LOOP_DEPTH + 1;
  assert_fails(dhc_plan_bind(&nested, kernels, &n, 1, &b), DHC_E_USAGE, "plan 'test': item 4: loops nested too deeply");
  dhc_kernel unfit = adder;
  unfit.n_classes = 1; /* of few elements only */
  const dhc_kernel *const small[] = {&unfit};
  assert_fails(dhc_plan_bind(&plan, small, &n, 1, &b), DHC_E_USAGE, "plan 'test': item 0: no size class of its kernel fits");
  dhc_kernel unlinked = adder;
  dhc_kernel_class none[] = {adder.classes[0], adder.classes[1]};
  none[1].fn = NULL;
  unlinked.classes = none;
  const dhc_kernel *const one[] = {&unlinked};
  assert_fails(dhc_plan_bind(&plan, one, &n, 1, &b), DHC_E_USAGE,
               "plan 'test': item 0: its kernel is not linked");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(dim_programs),
      cmocka_unit_test(bind_and_run),
      cmocka_unit_test(phases),
      cmocka_unit_test(size_classes),
      cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
