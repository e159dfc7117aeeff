/* Blocks of threads: where they may meet, and what the interpreter finds. */
#include "backends/cpu/cpu.h"
#include "backends/loop/interp.h"
#include "passes/plan/schedule.h"
#include "runtime/plan.h"
#include "tests/backends/spec_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

/* out[i] = in[i] turned round within 64, through block memory; `guarded`: the barrier under a condition that
 * some threads do not meet; `late`: one barrier too few. */
static DhcLp *reverse(DhcArena *a, bool guarded, bool late) {
  DhcLp *b = dhc_lp_new(a, 2, 1);
  dhc_lp_block(b, 64, 256);
  DhcLv in = dhc_lp_operand(b, 0, DHC_F32), out = dhc_lp_operand(b, 1, DHC_F32);
  DhcLv task = dhc_lp_tasks(b, dhc_prog_const(a, 2));
  DhcLv t = dhc_lp_thread(b), mem = dhc_lp_block_memory(b, DHC_F32, 0);
  DhcLv at = dhc_lp_add(b, dhc_lp_mulc(b, task, 64), t);
  dhc_lp_store(b, mem, t, dhc_lp_load(b, in, at, 1, 0), 0);
  if (guarded) dhc_lp_if(b, dhc_lp_lt(b, t, dhc_lp_i64(b, 32)));
  if (!late) dhc_lp_barrier(b);
  if (guarded) dhc_lp_end(b);
  dhc_lp_store(b, out, at, dhc_lp_load(b, mem, dhc_lp_sub(b, dhc_lp_i64(b, 63), t), 1, 0), 0);
  dhc_lp_end(b);
  return b;
}

static bool run(DhcLp *p, DhcArena *a, DhcLpOrder order, int n, float *out, const char **why) {
  float in[128];
  for (int i = 0; i < 128; i++) in[i] = (float)i;
  DhcLpMemory m[2] = {{in, in, in + n}, {out, out, out + 128}};
  return dhc_lp_interp(p, m, (int64_t[]){0}, 0, 2, order, a, why);
}

static void threads_meet(void **st) {
  (void)st;
  DhcArena a;
  dhc_arena_init(&a);
  const char *why = NULL;
  float out[128];
  DhcLp *good = reverse(&a, false, false);
  assert_true(dhc_lp_verify(good, &a, &why));
  assert_true(dhc_lp_legal(good, DHC_TARGET_GPU, &a, &why));
  assert_false(dhc_lp_legal(good, DHC_TARGET_CPU, &a, &why));
  for (int o = 0; o < DHC_LP_N_ORDERS; o++) {
    assert_true(run(good, &a, (DhcLpOrder)o, 128, out, &why));
    for (int i = 0; i < 128; i++) assert_true(out[i] == (float)(i / 64 * 64 + 63 - i % 64));
  }
  assert_false(run(good, &a, DHC_LP_RISING, 100, out, &why));
  assert_non_null(strstr(why, "lies outside"));
  DhcLp *guarded = reverse(&a, true, false);
  assert_false(dhc_lp_verify(guarded, &a, &why));
  assert_non_null(strstr(why, "threads meet"));
  assert_false(run(guarded, &a, DHC_LP_RISING, 128, out, &why));
  assert_non_null(strstr(why, "wait at different places"));
  /* without a barrier some thread reads what was never stored: NaN */
  DhcLp *late = reverse(&a, false, true);
  assert_true(run(late, &a, DHC_LP_RISING, 128, out, &why));
  bool nan = false;
  for (int i = 0; i < 128; i++) nan = nan || isnan(out[i]);
  assert_true(nan);
  dhc_arena_fini(&a);
}

/* A value loaded from block memory, and a variable set under such a condition, differ from thread to thread. */
static void uniform_is_followed(void **st) {
  (void)st;
  DhcArena a;
  dhc_arena_init(&a);
  for (int kind = 0; kind < 3; kind++) {
    const char *why = NULL;
    DhcLp *b = dhc_lp_new(&a, 1, 1);
    dhc_lp_block(b, 32, 256);
    DhcLv n = dhc_lp_dim(b, 0);
    dhc_lp_tasks(b, dhc_prog_const(&a, 1));
    DhcLpVar v = dhc_lp_var(b, n);
    if (kind == 1) dhc_lp_set(b, v, dhc_lp_load(b, dhc_lp_block_memory(b, DHC_I64, 0), dhc_lp_i64(b, 0), 1, 0));
    DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_get(b, v), 1);
    dhc_lp_barrier(b);
    if (kind == 2) dhc_lp_set(b, v, dhc_lp_add(b, i, dhc_lp_thread(b)));
    dhc_lp_if(b, dhc_lp_lt(b, dhc_lp_get(b, v), n));
    dhc_lp_barrier(b);
    dhc_lp_end(b);
    dhc_lp_end(b);
    dhc_lp_end(b);
    assert_int_equal(dhc_lp_verify(b, &a, &why), kind == 0);
  }
  dhc_arena_fini(&a);
}

/* out[i] = 2 * in[i ^ 1] of 60 elements, the others 0, in two groups of copies; `early`: the second is not waited for,
 * or, `apart`, no barrier stands before what other threads copied. */
static DhcLp *copied(DhcArena *a, bool early, bool apart) {
  DhcLp *b = dhc_lp_new(a, 2, 1);
  dhc_lp_block(b, 32, 512);
  DhcLv in = dhc_lp_operand(b, 0, DHC_F32), out = dhc_lp_operand(b, 1, DHC_F32);
  dhc_lp_tasks(b, dhc_prog_const(a, 1));
  DhcLv t = dhc_lp_thread(b), mem = dhc_lp_block_memory(b, DHC_F32, 0), n = dhc_lp_i64(b, 60), zero = dhc_lp_i64(b, 0);
  for (int g = 0; g < 2; g++) {
    DhcLv at = dhc_lp_addc(b, dhc_lp_mulc(b, t, 2), 64 * g), left = dhc_lp_sub(b, n, at);
    dhc_lp_copy(b, mem, at, dhc_lp_at(b, in, at), 2, dhc_lp_min(b, dhc_lp_max(b, left, zero), dhc_lp_i64(b, 2)));
    dhc_lp_commit(b);
  }
  dhc_lp_wait(b, early ? 1 : 0);
  if (!apart) dhc_lp_barrier(b);
  DhcLv i = dhc_lp_for(b, zero, dhc_lp_i64(b, 4), 1), at = dhc_lp_add(b, dhc_lp_mulc(b, i, 32), t);
  DhcLv x = dhc_lp_load(b, mem, dhc_lp_ew2(b, DHC_OP_XOR, at, dhc_lp_i64(b, 1)), 1, 0);
  dhc_lp_store(b, out, at, dhc_lp_add(b, x, x), 0);
  dhc_lp_end(b);
  dhc_lp_end(b);
  return b;
}

static void copies_arrive(void **st) {
  (void)st;
  DhcArena a;
  dhc_arena_init(&a);
  for (int kind = 0; kind < 3; kind++) {
    const char *why = NULL;
    _Alignas(16) float in[60];
    float out[128];
    int wrong = 0;
    DhcLp *p = copied(&a, kind == 1, kind == 2);
    assert_true(dhc_lp_verify(p, &a, &why));
    assert_false(dhc_lp_legal(p, DHC_TARGET_CPU, &a, &why));
    for (int i = 0; i < 60; i++) in[i] = (float)(i + 1);
    DhcLpMemory m[2] = {{in, in, in + 60}, {out, out, out + 128}};
    for (int order = 0; order < DHC_LP_N_ORDERS; order++) {
      assert_true(dhc_lp_interp(p, m, (int64_t[]){0}, 0, 1, (DhcLpOrder)order, &a, &why));
      for (int i = 0; i < 128; i++) wrong += !(out[i] == ((i ^ 1) < 60 ? (float)(2 * ((i ^ 1) + 1)) : 0));
    }
    assert_int_equal(wrong > 0, kind > 0);
    /* not aligned to two elements */
    m[0].at = in + 1;
    assert_false(dhc_lp_interp(p, m, (int64_t[]){0}, 0, 1, DHC_LP_RISING, &a, &why));
    assert_non_null(strstr(why, "aligned"));
  }
  dhc_arena_fini(&a);
}

/* y[i] = x[i + off], i < 40, by one of several ways to reach memory: a vector, a masked one, a gather, a pointer in a
 * variable. */
static DhcLp *reads_at(DhcArena *a, int way, int off, bool store) {
  DhcLp *b = dhc_lp_new(a, 2, 0);
  DhcLv x = dhc_lp_operand(b, 0, DHC_F32), y = dhc_lp_operand(b, 1, DHC_F32), zero = dhc_lp_i64(b, 0);
  dhc_lp_tasks(b, dhc_prog_const(a, 1));
  DhcLpVar from = dhc_lp_var(b, x);
  if (way == 3) dhc_lp_set(b, from, dhc_lp_at(b, x, dhc_lp_i64(b, store ? 0 : off)));
  DhcLv n = dhc_lp_i64(b, 40), i = dhc_lp_for(b, zero, n, way == 1 || way == 2 ? 16 : 8), v;
  int lanes = way == 1 || way == 2 ? 16 : 8;
  DhcLv mask = dhc_lp_tail(b, i, n, lanes), at = store ? i : dhc_lp_addc(b, i, off), to = store ? dhc_lp_addc(b, i, off) : i;
  if (way == 3) v = dhc_lp_load(b, dhc_lp_get(b, from), i, lanes, 0);
  else if (way == 2) v = dhc_lp_gather(b, x, dhc_lp_add(b, dhc_lp_iota(b, DHC_I64, lanes), at), mask);
  else if (way == 1) v = dhc_lp_mload(b, x, at, lanes, mask);
  else v = dhc_lp_load(b, x, at, lanes, 0);
  if (lanes == 16) dhc_lp_mstore(b, y, to, v, mask);
  else dhc_lp_store(b, y, to, v, 0);
  dhc_lp_end(b);
  dhc_lp_end(b);
  return b;
}

/* One element too far, or before the first: never done, always reported. */
static void accesses_are_checked(void **st) {
  (void)st;
  DhcArena a;
  dhc_arena_init(&a);
  DhcCpuTarget target;
  DhcCpuGen *g = NULL;
  DhcCpuJit *j = NULL;
  assert_int_equal(dhc_cpu_target(&a, NULL, NULL, &target).code, 0);
  assert_int_equal(dhc_cpu_gen_open(&target, &g).code, 0);
  assert_int_equal(dhc_cpu_jit_open(&j).code, 0);
  for (int k = 0; k < 24; k++) {
    int way = k % 4, off = k / 4 % 3 - 1, store = k / 12;
    const DhcLp *p = dhc_lp_checked(reads_at(&a, way, off, store), &a);
    const char *name = dhc_arena_printf(&a, "k%d", k);
    DhcCpuBytes object;
    dhc_kernel_fn fn;
    assert_int_equal(dhc_cpu_gen_run(g, &p, &name, 1, DHC_CPU_OBJECT, &object).code, 0);
    assert_int_equal(dhc_cpu_jit_add(j, object.bytes, object.n_bytes, &name, 1, &fn).code, 0);
    free(object.bytes);
    float x[60], y[60];
    for (int i = 0; i < 60; i++) x[i] = (float)i, y[i] = -1;
    int64_t limits[10] = {0, 160, 0, 160}; /* x, y, shared, scratch; the report */
    void *ptr[4] = {x + 10, y + 10, NULL, limits};
    fn(ptr, NULL, 0, 1, NULL);
    assert_int_equal(limits[8], off ? 1 + store : 0);
    if (off) assert_int_equal(limits[9] < 0, off < 0);
    for (int i = 0; i < 60; i++)
      if (i < 10 || i >= 50) assert_true(y[i] == -1);
    for (int i = 10; i < 50 && !off; i++) assert_true(y[i] == (float)i);
  }
  dhc_cpu_jit_close(j);
  dhc_cpu_gen_close(g);
  dhc_arena_fini(&a);
}

/* One matrix tile of a warp: every element of x is in[0] but for the first k of a row, which is in[1]; of y in[2]; the sum
 * begins with in[3]. out: the sum at (0, 0), as bits. */
static DhcLp *one_tile(DhcArena *a, bool pairs) {
  DhcLp *b = dhc_lp_new(a, 2, 0);
  dhc_lp_block(b, 32, 128);
  DhcLv in = dhc_lp_operand(b, 0, DHC_F32), out = dhc_lp_operand(b, 1, DHC_F32);
  dhc_lp_tasks(b, dhc_prog_const(a, 1));
  DhcLv t = dhc_lp_thread(b), v[4], first = dhc_lp_eq(b, dhc_lp_and(b, t, dhc_lp_i64(b, 3)), dhc_lp_i64(b, 0));
  for (int i = 0; i < 4; i++) v[i] = dhc_lp_load(b, in, dhc_lp_i64(b, i), 1, 0);
  DhcLv most = v[0], head = dhc_lp_select(b, first, v[1], v[0]), right = v[2];
  if (pairs) head = dhc_lp_pair(b, head, most), most = dhc_lp_pair(b, most, most), right = dhc_lp_pair(b, right, right);
  DhcLv x = dhc_lp_zero(b, most->type.dtype, 4), y = dhc_lp_zero(b, most->type.dtype, 2), sum = dhc_lp_splat(b, v[3], 4);
  for (int i = 0; i < 4; i++) x = dhc_lp_insert(b, x, i, i < 2 ? head : most);
  for (int i = 0; i < 2; i++) y = dhc_lp_insert(b, y, i, right);
  DhcLv r = dhc_lp_extract(b, dhc_lp_mma(b, x, y, sum), 0);
  dhc_lp_if(b, dhc_lp_eq(b, t, dhc_lp_i64(b, 0)));
  dhc_lp_store(b, out, dhc_lp_i64(b, 0), r, 0);
  dhc_lp_end(b);
  dhc_lp_end(b);
  return b;
}

/* out[row * 8 + col] of 64 x 8: the sum over 32 ks of (row + k % 4) * (col + 1), of lines in block memory. wrong: 0 nothing; 1 sums are
 * read before they are there; 2 a line is overwritten while it is multiplied; 3 half of the threads multiply; 4 lines begin at
 * no multiple of 1,024 bytes. */
static DhcLp *by_a_group(DhcArena *a, int wrong) {
  DhcLp *b = dhc_lp_new(a, 1, 0);
  dhc_lp_block(b, 128, (64 + 8) * 128 + 1024);
  DhcLv out = dhc_lp_operand(b, 0, DHC_F32), zero = dhc_lp_i64(b, 0);
  dhc_lp_tasks(b, dhc_prog_const(a, 1));
  DhcLv t = dhc_lp_thread(b), mem = dhc_lp_block_memory(b, DHC_F32, 0), sums = dhc_lp_local(b, DHC_F32, 4);
  DhcLv thirty_two = dhc_lp_i64(b, 32), four = dhc_lp_i64(b, 4), e = dhc_lp_for(b, t, dhc_lp_i64(b, 72 * 32), 128);
  DhcLv line = dhc_lp_udiv(b, e, thirty_two), k = dhc_lp_urem(b, e, thirty_two);
  DhcLv at = dhc_lp_ew2(b, DHC_OP_XOR, dhc_lp_udiv(b, k, four), dhc_lp_and(b, line, dhc_lp_i64(b, 7)));
  at = dhc_lp_add(b, dhc_lp_mulc(b, line, 32), dhc_lp_add(b, dhc_lp_mulc(b, at, 4), dhc_lp_urem(b, k, four)));
  DhcLv own = dhc_lp_add(b, line, dhc_lp_urem(b, k, four)), right = dhc_lp_lt(b, dhc_lp_i64(b, 63), line);
  DhcLv x = dhc_lp_select(b, right, dhc_lp_addc(b, line, -63), own);
  dhc_lp_store(b, mem, at, dhc_lp_cast(b, x, DHC_F32), 0);
  dhc_lp_end(b);
  for (int i = 0; i < 4; i++) dhc_lp_store(b, sums, dhc_lp_i64(b, i), dhc_lp_float(b, DHC_F32, 0), 0);
  dhc_lp_barrier(b);
  if (wrong == 3) dhc_lp_if(b, dhc_lp_lt(b, t, dhc_lp_i64(b, 64)));
  DhcLv xs = wrong == 4 ? dhc_lp_at(b, mem, dhc_lp_i64(b, 4)) : mem;
  dhc_lp_group_mma(b, sums, xs, dhc_lp_at(b, mem, dhc_lp_i64(b, 64 * 32)), 8);
  if (wrong == 3) dhc_lp_end(b);
  if (wrong == 2) dhc_lp_store(b, mem, t, dhc_lp_float(b, DHC_F32, 1), 0);
  dhc_lp_group_wait(b, wrong == 1);
  DhcLv lane = dhc_lp_urem(b, t, thirty_two), row = dhc_lp_mulc(b, dhc_lp_udiv(b, t, thirty_two), 16);
  row = dhc_lp_add(b, row, dhc_lp_udiv(b, lane, four));
  for (int i = 0; i < 4; i++) {
    DhcLv to = dhc_lp_addc(b, dhc_lp_mulc(b, dhc_lp_addc(b, row, i / 2 * 8), 8), i % 2);
    to = dhc_lp_add(b, to, dhc_lp_mulc(b, dhc_lp_urem(b, lane, four), 2));
    dhc_lp_store(b, out, to, dhc_lp_load(b, sums, dhc_lp_addc(b, zero, i), 1, 0), 0);
  }
  dhc_lp_end(b);
  return b;
}

/* Products of a group are under way until they are waited for; all of its threads meet at them. */
static void groups_multiply(void **st) {
  (void)st;
  DhcArena a;
  dhc_arena_init(&a);
  for (int wrong = 0; wrong < 5; wrong++) {
    const char *why = NULL;
    DhcLp *p = by_a_group(&a, wrong);
    int off = 0;
    if (dhc_lp_verify(p, &a, &why) != (wrong != 3)) fail_msg("%d: %s", wrong, why ? why : "verified");
    if (wrong == 3) {
      assert_non_null(strstr(why, "threads meet"));
      continue;
    }
    assert_false(dhc_lp_legal(p, DHC_TARGET_CPU, &a, &why));
    for (int order = 0; order < DHC_LP_N_ORDERS; order++) {
      float out[512];
      for (int i = 0; i < 512; i++) out[i] = NAN;
      DhcLpMemory m = {out, out, out + 512};
      bool done = dhc_lp_interp(p, &m, NULL, 0, 1, (DhcLpOrder)order, &a, &why);
      assert_int_equal(done, wrong != 4);
      if (!done) assert_non_null(strstr(why, "not aligned"));
      for (int i = 0; i < 512 && done; i++) off += !(out[i] == (float)(32 * (i / 8) + 48) * (float)(i % 8 + 1));
    }
    assert_int_equal(off > 0, wrong == 1 || wrong == 2);
  }
  dhc_arena_fini(&a);
}

/* What matrix instructions make of their operands and sums, as measured. */
static void tiles_round(void **st) {
  static const struct {
    bool pairs;
    float in[4], out;
  } row[] = {
      {false, {0x1.002p0f, 0x1.002p0f, 1, 0}, 8},                       /* ten bits of mantissa, the rest is cut */
      {false, {0x1.003p0f, -0x1.ffffp0f, 1, 0}, 7 - 0x1.ffcp0f},        /* toward zero */
      {true, {0x1.01p0f, 0x1.01p0f, 1, 0}, 16},                         /* seven bits, ties to even */
      {true, {0x1.03p0f, 0x1.03p0f, 1, 0}, 16 * 0x1.04p0f},
      {false, {0x1p-26f, 0x1p-26f, 1, 1}, 1},                           /* terms below 2^-25 of the largest */
      {true, {0x1p-26f, 0x1p-26f, 1, 1}, 1},
      {false, {0x1p-25f, 0x1p-25f, 1, 1}, 1 + 0x1p-22f},                /* those at it all count */
      {true, {0x1p-25f, 0x1p-25f, 1, 1}, 1 + 0x1p-21f},
      {true, {0, 0x1p-25f, 1, -1}, -1 + 0x1p-24f},                      /* the sum is cut, toward zero */
      {true, {0, -0x1p-25f, 1, -1}, -1},
      {true, {0x1p100f, 0x1p100f, 0x1p100f, 0}, INFINITY},
      {false, {0x1p-70f, 0x1p-70f, 0x1p-70f, 0}, 0x1p-137f},            /* denormals count */
  };
  (void)st;
  DhcArena a;
  dhc_arena_init(&a);
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    const char *why = NULL;
    float in[4], out = NAN;
    memcpy(in, row[i].in, sizeof in);
    DhcLp *p = one_tile(&a, row[i].pairs);
    assert_true(dhc_lp_verify(p, &a, &why));
    DhcLpMemory m[2] = {{in, in, in + 4}, {&out, &out, &out + 1}};
    assert_true(dhc_lp_interp(p, m, NULL, 0, 1, DHC_LP_RISING, &a, &why));
    if (!(out == row[i].out)) fail_msg("row %zu: %a, not %a", i, (double)out, (double)row[i].out);
  }
  dhc_arena_fini(&a);
}

/* A place that is said to fit 32 bits, and a variable that begins so and then is what memory holds. */
static void narrow_places(void **st) {
  (void)st;
  DhcArena a;
  dhc_arena_init(&a);
  DhcLp *b = dhc_lp_new(&a, 1, 2);
  dhc_lp_block(b, 32, 0);
  DhcLv p = dhc_lp_operand(b, 0, DHC_I64), seed = dhc_lp_dim(b, 1), task = dhc_lp_tasks(b, dhc_prog_const(&a, 2));
  DhcLv far = dhc_lp_mul(b, dhc_lp_addc(b, task, 1), dhc_lp_dim(b, 0)), mixed = dhc_lp_add(b, seed, task);
  DhcLpVar x = dhc_lp_var(b, dhc_lp_i64(b, 0)), y = dhc_lp_var(b, dhc_lp_i64(b, 0));
  dhc_lp_set(b, x, dhc_lp_load(b, p, dhc_lp_i64(b, 0), 1, 0));
  dhc_lp_set(b, y, far);
  DhcLv got_x = dhc_lp_get(b, x), got_y = dhc_lp_get(b, y);
  dhc_lp_store(b, p, dhc_lp_i64(b, 0), dhc_lp_add(b, dhc_lp_add(b, got_x, got_y), mixed), 0);
  dhc_lp_end(b);
  b->narrow_dims = 1;
  const bool *narrow = dhc_lp_narrow(b, &a);
  assert_true(narrow[task->id] && narrow[far->id] && narrow[got_y->id]);
  assert_false(narrow[got_x->id] || narrow[seed->id] || narrow[mixed->id]);
  int64_t memory[1] = {0};
  DhcLpMemory m = {memory, memory, memory + 1};
  const char *why = NULL;
  assert_true(dhc_lp_interp(b, &m, (int64_t[]){1 << 30, (int64_t)1 << 40}, 0, 1, DHC_LP_RISING, &a, &why));
  assert_false(dhc_lp_interp(b, &m, (int64_t[]){1 << 30, 0}, 0, 2, DHC_LP_RISING, &a, &why));
  assert_non_null(strstr(why, "fit 32 bits"));
  dhc_arena_fini(&a);
}

/* Which class of a copy of n elements, `apart` elements from one to the next, a GPU takes; the last is for what is far. */
static int class_of(const DhcSchedule *k, int n_classes, int64_t n, int64_t apart) {
  int64_t holds = 0;
  for (int i = 0; i < n_classes - 1; i++)
    if (dhc_dimprog_eval(k[i].guard, (int64_t[]){n, apart}, 2, 1, &holds) && holds) return i;
  return n_classes - 1;
}

static void far_places_have_a_class(void **st) {
  (void)st;
  DhcArena a;
  dhc_arena_init(&a);
  DhcSources sources = {.arena = &a};
  DhcDiags diags = {.arena = &a, .sources = &sources};
  const char *text = "spec map args 0 { axis par in f32 row [s(a0)] %0 = load 0 : f32 out f32 row [1(a0)] = %0 }";
  uint32_t end, file = dhc_sources_add(&sources, "t", "t", text, strlen(text));
  const DhcSpec *s = dhc_spec_parse(&a, &diags, file, 0, &end);
  DhcSchedule k[DHC_MAX_CLASSES];
  int n = dhc_schedule_choose(s, &(DhcTargetFacts){.kind = DHC_TARGET_GPU, .vector_bytes = 64, .task_elements = 1}, &a, k);
  assert_true(n > 1 && k[n - 1].wide && !k[n - 1].guard.n_code);
  for (int i = 0; i < n - 1; i++) assert_true(!k[i].wide && k[i].guard.n_code);
  assert_true(class_of(k, n, 1000, 1) < n - 1 && class_of(k, n, 1 << 28, 1) < n - 1);
  assert_int_equal(class_of(k, n, (int64_t)1 << 31, 1), n - 1);
  assert_int_equal(class_of(k, n, 1000, (int64_t)1 << 24), n - 1);
  assert_int_equal(class_of(k, n, 1000, -((int64_t)1 << 24)), n - 1);
  dhc_arena_fini(&a);
}

/* Places that windows of 3 x 3 are folded from lie in the shared memory, nine for a result. */
static void tiles_are_near(void **st) {
  (void)st;
  DhcArena a;
  dhc_arena_init(&a);
  DhcSources sources = {.arena = &a};
  DhcDiags diags = {.arena = &a, .sources = &sources};
  const char *text = "spec winograd args 0 { axis par axis par axis par axis par axis red 3 axis red 3 axis red axis red 3 axis red 3"
                     " in f32 row [s(a0), s(a6), s(3*a2 + a4 + a7)?, 1(3*a3 + a5 + a8)?] in f32 row [s(a1), s(a6), s(a7), 1(a8)]"
                     " %0 = load 0 : f32 %1 = load 1 : f32 %2 = fold dot_general(%0, %1) a6 a7 a8 : f32 %3 = fold reduce_max(%2) a4 a5 : f32"
                     " out f32 row [s(a0), s(a1), s(a2), 1(a3)] = %3 }";
  uint32_t end, file = dhc_sources_add(&sources, "t", "t", text, strlen(text));
  const DhcSpec *s = dhc_spec_parse(&a, &diags, file, 0, &end);
  assert_non_null(s);
  DhcSchedule k[DHC_MAX_CLASSES];
  int n = dhc_schedule_choose(s, &(DhcTargetFacts){.kind = DHC_TARGET_GPU, .vector_bytes = 64, .task_elements = 1}, &a, k), n_dims = dhc_spec_n_dims(s);
  for (int images = 1; images <= 4096; images *= 4096) {
    int64_t *dim = DHC_NEW_N(&a, int64_t, n_dims), holds = 0, results = (int64_t)images * 32 * 32 * 32, most = 0;
    const int64_t extent[9] = {images, 32, 32, 32, 0, 0, 16};
    for (int i = 0; i < 9; i++)
      if (dhc_spec_extent_arg(s, i) >= 0) dim[dhc_spec_extent_arg(s, i)] = extent[i];
    for (int i = 0; i < n - 1; i++)
      if (dhc_dimprog_eval(k[i].guard, dim, n_dims, 1, &holds) && holds) most++;
    assert_true(k[n - 1].wide && (most > 0) == (9 * results <= 1 << 30)); /* strides are 0: all operands are near */
  }
  dhc_arena_fini(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(threads_meet), cmocka_unit_test(accesses_are_checked),
                                     cmocka_unit_test(uniform_is_followed),
                                     cmocka_unit_test(copies_arrive), cmocka_unit_test(tiles_round), cmocka_unit_test(groups_multiply), cmocka_unit_test(narrow_places),
                                     cmocka_unit_test(far_places_have_a_class), cmocka_unit_test(tiles_are_near)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
