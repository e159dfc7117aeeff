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

static Bench *bench_of_text(const char *model, size_t bytes, const DhcTrainRequest *asked) {
  Bench *b = calloc(1, sizeof *b);
  dhc_arena_init(&b->arena);
  dhc_arena_init(&b->scratch);
  b->strings.arena = b->sources.arena = b->diags.arena = &b->arena;
  b->diags.sources = &b->sources;
  uint32_t file = dhc_sources_add(&b->sources, "step", "step", model, (uint32_t)bytes);
  b->m = dhc_module_parse(&b->arena, &b->strings, &b->diags, file);
  dhc_diags_print(&b->diags, stderr, false);
  assert_non_null(b->m);
  dhc_pass_ctx_init(&b->px, b->m, &b->scratch);
  DhcTrainRequest rq = *asked;
  const char *size_of[1] = {dhc_intern(&b->strings, "B")};
  rq.optimizer = dhc_module_func(b->m, "momentum");
  if (rq.n_sizes) rq.size_of = size_of;
  bool ok = dhc_train_step(&b->px, dhc_module_func(b->m, "loss"), &rq, &b->step);
  ok = ok && dhc_passes_clean(b->m, &b->px);
  dhc_diags_print(&b->diags, stderr, false);
  assert_true(ok);
  return b;
}

static Bench *bench_of(bool ema, DhcShare share) {
  return bench_of_text(text, sizeof text - 1, &(DhcTrainRequest){.ema = ema, .shared = share.n > 1, .share = share});
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

/* ---- gradients of few rows ---------------------------------------------------------------- */

/* y = x a and y = x c[range of the row]: a, and c in pieces, have 2^20 elements, b few. */
static const char few_text[] =
    "tensor \"a\" param f32[1024, 1024]\n"
    "tensor \"c\" param f32[4, 1024, 256] as \"c.*\"\n"
    "tensor \"b\" param f32[256] no_decay\n"
    "func @momentum<N>(%0: f32[N] plain \"w\", %1: f32[N] plain \"g\", %2: f32[N] plain \"m\",\n"
    "    %3: f32[] plain \"lr\", %4: f32[] plain \"step\", %5: f32[] plain \"weight_decay\")\n"
    "    -> (%13 \"w\", %10 \"m\") unit {\n"
    "  %6 = broadcast(%5) {shape = [N]} : f32[N]\n"
    "  %7 = mul(%6, %0) : f32[N]\n"
    "  %8 = add(%7, %1) : f32[N]\n"
    "  %9 = add(%8, %2) : f32[N]\n"
    "  %10 = mul(%9, %6) : f32[N]\n"
    "  %11 = broadcast(%3) {shape = [N]} : f32[N]\n"
    "  %12 = mul(%11, %10) : f32[N]\n"
    "  %13 = sub(%0, %12) : f32[N]\n"
    "}\n"
    "func @loss<B>(%0: f32[B, 1024] input \"x\", %1: i32[5] input \"ranges\", %2: f32[1024, 1024] param \"a\" #0,\n"
    "    %3: f32[4, 1024, 256] param \"c\" #1, %4: f32[256] param \"b\" #2) -> (%13 \"loss\") entry {\n"
    "  %5 = dot_general(%0, %2) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : f32[B, 1024]\n"
    "  %6 = ragged_dot(%0, %3, %1) : f32[B, 256]\n"
    "  %7 = broadcast(%4) {shape = [B, 256]} : f32[B, 256]\n"
    "  %8 = mul(%6, %7) : f32[B, 256]\n"
    "  %9 = mul(%5, %5) : f32[B, 1024]\n"
    "  %10 = mul(%8, %8) : f32[B, 256]\n"
    "  %11 = reduce_sum(%9) {axes = [0, 1], keep = false} : f32[]\n"
    "  %12 = reduce_sum(%10) {axes = [0, 1], keep = false} : f32[]\n"
    "  %13 = add(%11, %12) : f32[]\n"
    "}\n";

enum { FEW_N = 2 * 1048576 + 256, FEW_BATCH = 5 };

/* n elements between -1 and 1, the same for the same seed. */
static double *drawn(Bench *b, int64_t n, unsigned seed) {
  double *v = dhc_arena_alloc(&b->arena, sizeof *v * (size_t)n);
  for (int64_t i = 0; i < n; i++) v[i] = (double)((seed = seed * 1664525u + 1013904223u) >> 8) / (1 << 23) - 1;
  return v;
}

/* One step from given weights; the rows are of ranges 0 (two), 2 (one) and none (the last two); range 3 is empty, too, and
 * one row of range 0 is all zeros. */
static Bench *few_of(bool few, int64_t rows) {
  static const char *const name[] = {"B"};
  static const int64_t dx[2] = {FEW_BATCH, 1024}, dr[1] = {5}, dw[1] = {FEW_N}, db[1] = {4}, ranges[5] = {0, 2, 2, 3, 3};
  static const double begun[4] = {0, 2, 0, 0};
  Bench *b = bench_of_text(few_text, sizeof few_text - 1, &(DhcTrainRequest){.few = few, .size_of = name, .size = &rows, .n_sizes = 1});
  if (rows != FEW_BATCH) return b; /* to be looked at */
  double *in = drawn(b, FEW_BATCH * 1024, 1);
  for (int i = 0; i < 1024; i++) in[i] = 0;
  set(b, "x", 2, dx, in);
  DhcArray *r = dhc_array_new(&b->arena, DHC_I32, 1, dr);
  for (int i = 0; i < 5; i++) r->i[i] = ranges[i];
  b->args[param(b, "ranges")] = r;
  set(b, "$w", 1, dw, drawn(b, FEW_N, 2));
  set(b, "$m", 1, dw, drawn(b, FEW_N, 3));
  set(b, "$begun", 1, db, begun);
  set_scalar(b, "$clip", 0.5);
  set_scalar(b, "$limit", 1e30);
  set_scalar(b, "$lr", 0.25);
  set_scalar(b, "$opt_step", 1);
  set_scalar(b, "$weight_decay", 0.125);
  assert_true(dhc_interp_run(&b->arena, &b->diags, b->step.entry, (const DhcArray *const *)b->args, b->results, b->updated));
  return b;
}

/* Flat tensors of all weights' elements that are put together in the entry. */
static int large_concats(const DhcFunc *f) {
  int n = 0;
  for (const DhcNode *d = f->first; d; d = d->next) n += d->op == DHC_OP_CONCAT && dhc_dim_is(d->results[0]->type.dim[0], FEW_N);
  return n;
}

static void few_rows(void **state) {
  (void)state;
  Bench *stored = few_of(false, FEW_BATCH), *few = few_of(true, FEW_BATCH), *many = few_of(true, 1000);
  /* gradients side by side, and what becomes of weights and of moments; the former are not there of few rows */
  assert_int_equal(large_concats(stored->step.entry), 3);
  assert_int_equal(large_concats(many->step.entry), 3);
  assert_int_equal(large_concats(few->step.entry), 2);
  assert_int_equal(stored->step.decided.n, 0);
  assert_int_equal(few->step.decided.n, 1); /* B <= 64, */
  assert_int_equal(many->step.decided.n, 1); /* and B > 64 */
  assert_ptr_not_equal(few->step.decided.at[0], many->step.decided.at[0]);
  const double norm = result(stored, "grad_norm");
  if (!(fabs(norm - result(few, "grad_norm")) < 1e-9 * norm)) fail_msg("norm: want %.17g, got %.17g", norm, result(few, "grad_norm"));
  const char *const flat[] = {"$w", "$m"};
  for (int k = 0; k < 2; k++) {
    const double *want = stored->updated[param(stored, flat[k])]->f, *got = few->updated[param(few, flat[k])]->f;
    for (int i = 0; i < FEW_N; i++)
      if (!(fabs(want[i] - got[i]) < 1e-9)) fail_msg("%s[%d]: want %.17g, got %.17g", flat[k], i, want[i], got[i]);
  }
  /* begun: range 0 now, 1 before, 2 now, 3 never */
  const double ages[4] = {1, 3, 1, 0};
  for (int e = 0; e < 4; e++) {
    near(ages[e], few->updated[param(few, "$begun")]->f[e]);
    near(ages[e], stored->updated[param(stored, "$begun")]->f[e]);
  }
  bench_free(stored);
  bench_free(few);
  bench_free(many);
}

/* Without moments a contraction's results would not lie in place: gradients are stored. */
static void few_rows_stateless(void **state) {
  (void)state;
  static const char model[] =
      "tensor \"a\" param f32[1024, 1024]\n"
      "func @momentum<N>(%0: f32[N] plain \"w\", %1: f32[N] plain \"g\") -> (%2 \"w\") unit {\n"
      "  %2 = sub(%0, %1) : f32[N]\n"
      "}\n"
      "func @loss<B>(%0: f32[B, 1024] input \"x\", %1: f32[1024, 1024] param \"a\" #0) -> (%4 \"loss\") entry {\n"
      "  %2 = dot_general(%0, %1) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} : f32[B, 1024]\n"
      "  %3 = mul(%2, %2) : f32[B, 1024]\n"
      "  %4 = reduce_sum(%3) {axes = [0, 1], keep = false} : f32[]\n"
      "}\n";
  static const int64_t rows = 5;
  Bench *b = bench_of_text(model, sizeof model - 1, &(DhcTrainRequest){.few = true, .size = &rows, .n_sizes = 1});
  assert_int_equal(b->step.decided.n, 0);
  bench_free(b);
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
      cmocka_unit_test(nan_step), cmocka_unit_test(bad_optimizer), cmocka_unit_test(few_rows), cmocka_unit_test(few_rows_stateless),
      cmocka_unit_test(limits),   cmocka_unit_test(bad_weights),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
