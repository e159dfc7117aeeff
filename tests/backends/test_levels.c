/* Blocks of threads: where they may meet, what the interpreter finds, and a contraction by matrix tiles. */
#include "backends/loop/interp.h"
#include "passes/plan/schedule.h"
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

/* y = x w, by matrix tiles of tf32: within 2^-10 of the sum of magnitudes, and each tile's own threads */
static void matrix_tiles(void **st) {
  (void)st;
  enum { M = 70, K = 41, N = 45 };
  SpecCase c;
  case_init(&c, DHC_KIND_DOT);
  int i = case_axis(&c, DHC_AXIS_PAR, M, false), j = case_axis(&c, DHC_AXIS_PAR, N, false);
  int k = case_axis(&c, DHC_AXIS_RED, K, false);
  int x = case_operand(&c, DHC_F32, -1, 2, (int[]){i, k}), w = case_operand(&c, DHC_F32, -1, 2, (int[]){k, j});
  int dot = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << k, case_load(&c, x), case_load(&c, w));
  case_operand(&c, DHC_F32, dot, 2, (int[]){i, j});
  DhcTargetFacts cuda = {.kind = DHC_TARGET_GPU, .vector_bytes = 64, .task_elements = 1};
  DhcSchedule s, classes[DHC_MAX_CLASSES];
  assert_int_equal(dhc_schedule_choose(c.s, &cuda, &c.arena, classes), 2);
  assert_int_equal(classes[1].v[5], 0); /* exact unless tf32 is asked for */
  cuda.tf32 = true;
  assert_int_equal(dhc_schedule_choose(c.s, &cuda, &c.arena, classes), 2);
  assert_int_equal(classes[0].v[5], 0);
  s = classes[1];
  assert_int_equal(s.v[5], 1);
  const char *why = NULL;
  DhcTplInput in = {c.s, &s, &cuda, &c.arena};
  DhcLp *p = dhc_template_build(&in, &why);
  assert_non_null(p);
  assert_int_equal(p->threads, 256);
  static float xs[M * K], ws[K * N], ys[M * N];
  for (int e = 0; e < M * K; e++) xs[e] = (float)(e * 37 % 101 - 50) / 64;
  for (int e = 0; e < K * N; e++) ws[e] = (float)(e * 53 % 97 - 48) / 64;
  DhcLpMemory m[3] = {{xs, xs, xs + M * K}, {ws, ws, ws + K * N}, {ys, ys, ys + M * N}};
  int64_t *dim = case_dims(&c);
  if (!dhc_lp_interp(p, m, dim, 0, case_prog(p->n_tasks, dim), DHC_LP_FALLING, &c.arena, &why)) fail_msg("%s", why);
  for (int r = 0; r < M; r++)
    for (int q = 0; q < N; q++) {
      double want = 0, size = 0;
      for (int e = 0; e < K; e++) {
        double t = (double)xs[r * K + e] * (double)ws[e * N + q];
        want += t, size += fabs(t);
      }
      if (!(fabs((double)ys[r * N + q] - want) <= 1e-3 * size)) fail_msg("%d, %d: want %g, got %g", r, q, want, (double)ys[r * N + q]);
    }
  case_free(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(threads_meet), cmocka_unit_test(uniform_is_followed),
                                     cmocka_unit_test(matrix_tiles)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
