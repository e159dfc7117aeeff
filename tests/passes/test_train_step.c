/* The train-step builder: layout of the weights, a step against the optimiser written out in
 * C, clipping, averaging, the finite gate, and buffers. Everything by the interpreter. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ir/interp.h"
#include "passes/grad/places.h"

/* b decays not; c is not used by the loss; n is a buffer that the loss assigns. */
static const char text[] =
    "tensor \"b\" param f32[3] no_decay\n"
    "tensor \"a\" param f32[2, 3]\n"
    "tensor \"c\" param f32[2]\n"
    "tensor \"n\" buffer f32[]\n"
    "func @momentum<N>(%0: f32[N] plain \"w\", %1: f32[N] plain \"g\", %2: f32[N] plain \"m\",\n"
    "    %3: f32[] plain \"lr\", %4: f32[] plain \"step\", %5: f32[] plain \"weight_decay\")\n"
    "    -> (%13 \"w\", %10 \"m\") unit {\n"
    "  %6 = broadcast(%5) {shape = [N]} : f32[N]\n"
    "  %7 = fma(%6, %0, %1) : f32[N]\n"
    "  %8 = fill() {value = 0x1p-1, dtype = f32, shape = [N]} : f32[N]\n"
    "  %9 = mul(%8, %2) : f32[N]\n"
    "  %10 = add(%9, %7) : f32[N]\n"
    "  %11 = broadcast(%3) {shape = [N]} : f32[N]\n"
    "  %12 = mul(%11, %10) : f32[N]\n"
    "  %13 = sub(%0, %12) : f32[N]\n"
    "}\n"
    "func @loss<B>(%0: f32[B, 2] input \"x\", %1: f32[3] param \"b\" #0,\n"
    "    %2: f32[2, 3] param \"a\" #1, %3: f32[] buffer \"n\" #3)\n"
    "    -> (%8 \"loss\", %6 \"y\") entry {\n"
    "  %4 = dot_general(%0, %2) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : f32[B, 3]\n"
    "  %5 = broadcast(%1) {shape = [B, 3]} : f32[B, 3]\n"
    "  %6 = mul(%4, %5) : f32[B, 3]\n"
    "  %7 = mul(%6, %6) : f32[B, 3]\n"
    "  %8 = reduce_sum(%7) {axes = [0, 1], keep = false} : f32[]\n"
    "  %9 = fill() {value = 0x1p+0, dtype = f32, shape = []} : f32[]\n"
    "  %10 = add(%3, %9) : f32[]\n"
    "  %11 = update(%3, %10) : f32[]\n"
    "}\n";

enum { N = 11, BATCH = 2 };

typedef struct Bench {
  DhcArena arena, scratch;
  DhcStrings strings;
  DhcSources sources;
  DhcDiags diags;
  DhcModule *m;
  DhcPassCtx px;
  DhcTrainStep step;
  bool keeps_m; /* "$m" is given already: a share */
  DhcArray *args[32], *results[32], *updated[32];
} Bench;

static Bench *bench_of(bool ema, DhcShare share) {
  Bench *b = calloc(1, sizeof *b);
  dhc_arena_init(&b->arena);
  dhc_arena_init(&b->scratch);
  b->strings.arena = b->sources.arena = b->diags.arena = &b->arena;
  b->diags.sources = &b->sources;
  uint32_t file = dhc_sources_add(&b->sources, "step", "step", text, sizeof text - 1);
  b->m = dhc_module_parse(&b->arena, &b->strings, &b->diags, file);
  dhc_diags_print(&b->diags, stderr, false);
  assert_non_null(b->m);
  dhc_pass_ctx_init(&b->px, b->m, &b->scratch);
  DhcTrainRequest rq = {.optimizer = dhc_module_func(b->m, "momentum"), .ema = ema, .shared = share.n > 1, .share = share};
  bool ok = dhc_train_step(&b->px, dhc_module_func(b->m, "loss"), &rq, &b->step);
  ok = ok && dhc_passes_clean(b->m, &b->px);
  dhc_diags_print(&b->diags, stderr, false);
  assert_true(ok);
  return b;
}

static Bench *bench_new(bool ema) { return bench_of(ema, (DhcShare){0}); }

static void bench_free(Bench *b) {
  dhc_arena_fini(&b->scratch);
  dhc_arena_fini(&b->arena);
  free(b);
}

static int param(Bench *b, const char *name) {
  const DhcFunc *f = b->step.entry;
  for (int i = 0; i < f->params.n; i++)
    if (!strcmp(f->param_info.at[i].name, name)) return i;
  fail_msg("the step has no parameter '%s'", name);
  return -1;
}

static void set(Bench *b, const char *name, int rank, const int64_t *dim, const double *v) {
  DhcArray *a = dhc_array_new(&b->arena, DHC_F32, rank, dim);
  memcpy(a->f, v, sizeof *v * (size_t)a->n);
  b->args[param(b, name)] = a;
}

static void set_scalar(Bench *b, const char *name, double v) {
  set(b, name, 0, NULL, &v);
}

static double result(Bench *b, const char *name) {
  const DhcFunc *f = b->step.entry;
  for (int i = 0; i < f->results.n; i++)
    if (!strcmp(f->result_names.at[i], name))
      return b->results[i]->f ? b->results[i]->f[0] : (double)b->results[i]->i[0];
  fail_msg("the step has no result '%s'", name);
  return 0;
}

static const double x[BATCH * 2] = {1, -2, 0.5, 3};
/* decayed: a (2 x 3), c (2); then b (3) */
static const double w[N] = {0.1, 0.2, -0.3, 0.4, 0.5, -0.6, 7, 8, 1.5, -1, 0.5};
static const double m0[N] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

static void run_limited(Bench *b, const double *in, double clip, double limit) {
  static const int64_t dx[2] = {BATCH, 2}, dw[1] = {N};
  set(b, "x", 2, dx, in);
  set(b, "$w", 1, dw, w);
  if (!b->keeps_m) set(b, "$m", 1, dw, m0);
  set_scalar(b, "n", 5);
  set_scalar(b, "$clip", clip);
  set_scalar(b, "$limit", limit);
  set_scalar(b, "$lr", 0.25);
  set_scalar(b, "$opt_step", 1);
  set_scalar(b, "$weight_decay", 0.125);
  assert_true(dhc_interp_run(&b->arena, &b->diags, b->step.entry,
                             (const DhcArray *const *)b->args, b->results, b->updated));
}

static void run(Bench *b, const double *in, double clip) {
  run_limited(b, in, clip, 1e30);
}

/* Gradient of Σ ((x a) ∘ b)² in the order of the weights. */
static void gradient(double *g) {
  for (int i = 0; i < N; i++) g[i] = 0;
  for (int r = 0; r < BATCH; r++)
    for (int j = 0; j < 3; j++) {
      double z = 0, bj = w[8 + j];
      for (int k = 0; k < 2; k++) z += x[r * 2 + k] * w[k * 3 + j];
      for (int k = 0; k < 2; k++) g[k * 3 + j] += 2 * z * bj * bj * x[r * 2 + k];
      g[8 + j] += 2 * z * bj * z;
    }
}

static void near(double want, double got) {
  if (!(fabs(want - got) <= 1e-12 * (1 + fabs(want)))) fail_msg("want %.17g, got %.17g", want, got);
}

static void layout(void **state) {
  (void)state;
  Bench *b = bench_new(true);
  static const char *const path[3] = {"a", "c", "b"};
  static const int64_t offset[3] = {0, 6, 8};
  assert_int_equal(b->step.n, N);
  assert_int_equal(b->step.n_decayed, 8);
  assert_int_equal(b->step.n_slots, 3);
  for (int i = 0; i < 3; i++) {
    assert_string_equal(b->step.slots[i].path, path[i]);
    assert_int_equal(b->step.slots[i].offset, offset[i]);
  }
  assert_int_equal(b->step.n_moments, 1);
  assert_string_equal(b->step.moments[0], "$m");
  static const char *const scalar[6] = {"$clip", "$limit", "$lr", "$opt_step", "$weight_decay", "$ema_decay"};
  assert_int_equal(b->step.n_scalars, 6);
  for (int i = 0; i < 6; i++) assert_string_equal(b->step.scalars[i], scalar[i]);
  bench_free(b);
}

static void one_step(void **state) {
  (void)state;
  double g[N], norm = 0;
  gradient(g);
  for (int i = 0; i < N; i++) norm += g[i] * g[i];
  norm = sqrt(norm);
  static const double clips[3] = {0, 0.5, INFINITY};
  for (int c = 0; c < 3; c++) {
    Bench *b = bench_new(false);
    run(b, x, clips[c]);
    double scale = c == 1 ? fmin(1, clips[c] / (norm + 1e-6)) : 1;
    near(norm, result(b, "grad_norm"));
    near(1, result(b, "finite"));
    for (int i = 0; i < N; i++) {
      bool frozen = i == 6 || i == 7; /* c, which the loss does not use: neither decay nor momentum */
      double m = frozen ? m0[i] : 0.5 * m0[i] + (i < 8 ? 0.125 : 0) * w[i] + scale * g[i];
      near(m, b->updated[param(b, "$m")]->f[i]);
      near(frozen ? w[i] : w[i] - 0.25 * m, b->updated[param(b, "$w")]->f[i]);
    }
    near(6, b->updated[param(b, "n")]->f[0]);
    bench_free(b);
  }
}

static void averaging(void **state) {
  (void)state;
  Bench *b = bench_new(true);
  static const int64_t dw[1] = {N};
  double e[N];
  for (int i = 0; i < N; i++) e[i] = i;
  set(b, "$ema", 1, dw, e);
  set_scalar(b, "$ema_decay", 0.75);
  run(b, x, 1);
  for (int i = 0; i < N; i++) {
    double now = b->updated[param(b, "$w")]->f[i];
    near(i == 6 || i == 7 ? w[i] : 0.75 * e[i] + 0.25 * now, b->updated[param(b, "$ema")]->f[i]);
  }
  bench_free(b);
}

/* Whole tensors, one at least, as even as they let the shares be. */
static void cuts(void **state) {
  (void)state;
  Bench *b = bench_new(false);
  const DhcPlaces p = dhc_places_make(b->m, &b->arena);
  int64_t cut[5];
  assert_true(dhc_places_cut(b->m, &p, 1, cut));
  assert_true(cut[0] == 0 && cut[1] == N);
  assert_true(dhc_places_cut(b->m, &p, 2, cut));
  assert_true(cut[0] == 0 && cut[1] == 6 && cut[2] == N);
  assert_true(dhc_places_cut(b->m, &p, 3, cut));
  assert_true(cut[0] == 0 && cut[1] == 6 && cut[2] == 8 && cut[3] == N);
  assert_false(dhc_places_cut(b->m, &p, 4, cut));
  bench_free(b);
}

/* A rank by itself, which nobody sends anything: its own weights and moments are those of the whole step, others' weights stay,
 * averages follow what there is. */
static void shares(void **state) {
  (void)state;
  static const int64_t begin[3] = {0, 6, N}, dw[1] = {N};
  double e[N] = {0};
  Bench *whole = bench_new(false);
  run(whole, x, 0.5);
  for (int r = 0; r < 2; r++) {
    Bench *b = bench_of(true, (DhcShare){r, 2});
    const int64_t n = begin[r + 1] - begin[r];
    set(b, "$m", 1, &n, m0 + begin[r]);
    const DhcArray *mine = b->args[param(b, "$m")];
    set(b, "$ema", 1, dw, e);
    set_scalar(b, "$ema_decay", 0.75);
    set_scalar(b, "$share", 1);
    b->keeps_m = true;
    run(b, x, 0.5);
    assert_ptr_equal(b->args[param(b, "$m")], mine);
    near(result(whole, "grad_norm"), result(b, "grad_norm"));
    for (int i = 0; i < N; i++) {
      const bool own = i >= begin[r] && i < begin[r + 1];
      const double now = b->updated[param(b, "$w")]->f[i];
      near(own ? whole->updated[param(whole, "$w")]->f[i] : w[i], now);
      if (own) near(whole->updated[param(whole, "$m")]->f[i], b->updated[param(b, "$m")]->f[i - begin[r]]);
      near(i == 6 || i == 7 ? w[i] : 0.25 * now, b->updated[param(b, "$ema")]->f[i]);
    }
    bench_free(b);
  }
  bench_free(whole);
}

/* A NaN in the data changes nothing: bits of weights, state and buffers stay. */
static void nan_step(void **state) {
  (void)state;
  Bench *b = bench_new(false);
  double bad[BATCH * 2] = {1, NAN, 0, 2};
  run(b, bad, 1);
  near(0, result(b, "finite"));
  assert_memory_equal(b->updated[param(b, "$w")]->f, w, sizeof w);
  assert_memory_equal(b->updated[param(b, "$m")]->f, m0, sizeof m0);
  near(5, b->updated[param(b, "n")]->f[0]);
  bench_free(b);
}

static void unchanged(Bench *b) {
  near(0, result(b, "finite"));
  assert_memory_equal(b->updated[param(b, "$w")]->f, w, sizeof w);
  assert_memory_equal(b->updated[param(b, "$m")]->f, m0, sizeof m0);
}

/* A norm above the limit changes nothing; one at it does. A buffer that would not be finite
 * changes nothing either. */
static void limits(void **state) {
  (void)state;
  Bench *b = bench_new(false);
  run_limited(b, x, 0, 1e-3);
  unchanged(b);
  double norm = result(b, "grad_norm");
  run_limited(b, x, 0, norm);
  near(1, result(b, "finite"));
  set_scalar(b, "n", INFINITY);
  assert_true(dhc_interp_run(&b->arena, &b->diags, b->step.entry, (const DhcArray *const *)b->args, b->results, b->updated));
  unchanged(b);
  bench_free(b);
}

/* Takes no gradient: refused with the reason. */
static void bad_optimizer(void **state) {
  (void)state;
  Bench *b = bench_new(false);
  DhcTrainStep out;
  DhcTrainRequest rq = {.optimizer = dhc_module_func(b->m, "loss")};
  assert_false(dhc_train_step(&b->px, dhc_module_func(b->m, "loss"), &rq, &out));
  assert_int_equal(b->diags.n_errors, 1);
  assert_non_null(strstr(b->diags.all.at[0]->text, "'loss' cannot be an optimiser"));
  bench_free(b);
}

/* Modules that no model gives: a weight in another dtype, one that no tensor stands behind. */
static void bad_weights(void **state) {
  (void)state;
  Bench *b = bench_new(false);
  DhcFunc *loss = dhc_module_func(b->m, "loss");
  DhcTrainStep out;
  DhcTrainRequest rq = {.optimizer = dhc_module_func(b->m, "momentum")};
  loss->param_info.at[2].decl = -1;
  assert_false(dhc_train_step(&b->px, loss, &rq, &out));
  assert_string_equal(b->diags.all.at[0]->text, "parameter 'a' of 'loss' belongs to no tensor of the module");
  loss->param_info.at[2].decl = 1;
  b->m->tensors.at[1].type.dtype = DHC_BF16;
  assert_false(dhc_train_step(&b->px, loss, &rq, &out));
  assert_string_equal(b->diags.all.at[1]->text,
                      "parameter 'a' cannot be trained: weights are f32 of a fixed shape, this is bf16[2, 3]");
  assert_int_equal(b->diags.n_errors, 2);
  bench_free(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cuts),     cmocka_unit_test(shares),
      cmocka_unit_test(layout),   cmocka_unit_test(one_step),      cmocka_unit_test(averaging),
      cmocka_unit_test(nan_step), cmocka_unit_test(bad_optimizer),
      cmocka_unit_test(limits),   cmocka_unit_test(bad_weights),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
