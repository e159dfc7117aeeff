/* What elaborated functions compute, by the interpreter: std functions against formulas
 * written out here, initialisers against their moments, optimisers against one step by
 * hand. Inputs are small and fixed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "frontend/elab.h"
#include "ir/interp.h"

typedef struct World {
  DhcArena arena;
  DhcSources sources;
  DhcDiags diags;
  DhcStrings strings;
  DhcElabConfig config;
} World;

static const char *const roots[] = {DHC_SHIPPED};

static World *world(void) {
  World *w = calloc(1, sizeof *w);
  dhc_arena_init(&w->arena);
  w->sources.arena = w->diags.arena = w->strings.arena = &w->arena;
  w->diags.sources = &w->sources;
  w->config = (DhcElabConfig){.shipped_roots = roots, .n_shipped_roots = 1};
  return w;
}

static void end(World *w) {
  dhc_arena_fini(&w->arena);
  free(w);
}

static DhcModel *model(World *w, const char *text) {
  DhcElab *e = dhc_elab_open_text(&w->arena, &w->strings, &w->diags, &w->config, "t.dhc", text, strlen(text));
  DhcModelRequest r = {0};
  DhcModel *m = e ? dhc_elab_model(e, &r) : NULL;
  if (!m) dhc_diags_print(&w->diags, stderr, false);
  assert_non_null(m);
  return m;
}

static DhcArray *scalar(World *w, dhc_dtype t, double v) {
  DhcArray *a = dhc_array_new(&w->arena, t, 0, NULL);
  if (a->f)
    a->f[0] = v;
  else
    a->i[0] = (int64_t)v;
  return a;
}

static DhcArray *init_of(World *w, DhcModule *m, int tensor, int64_t seed);

/* Results of f; inputs in the order of the input parameters, everything else as the
 * module says: weights by their initialisers with seed 1, step 3. */
static DhcArray **run(World *w, DhcModule *m, DhcFunc *f, DhcArray *const *inputs) {
  const DhcArray **args = dhc_arena_alloc(&w->arena, sizeof *args * (size_t)(f->params.n + 1));
  DhcArray **out = dhc_arena_alloc(&w->arena, sizeof *out * (size_t)(f->results.n + 1));
  for (int i = 0, k = 0; i < f->params.n; i++) {
    DhcParamInfo p = f->param_info.at[i];
    if (p.role == DHC_ROLE_INPUT || p.role == DHC_ROLE_PLAIN)
      args[i] = inputs[k++];
    else if (p.role == DHC_ROLE_SCALAR)
      args[i] = p.decl >= 0 ? scalar(w, DHC_F32, m->scalars.at[p.decl].value)
                            : scalar(w, DHC_I64, p.name[2] == 'e' ? 1 : 3);
    else
      args[i] = init_of(w, m, p.decl, 1);
  }
  bool ok = dhc_interp_run(&w->arena, &w->diags, f, args, out, NULL);
  if (!ok) dhc_diags_print(&w->diags, stderr, false);
  assert_true(ok);
  return out;
}

static DhcArray *init_of(World *w, DhcModule *m, int tensor, int64_t seed) {
  (void)seed;
  return run(w, m, m->tensors.at[tensor].init, NULL)[0];
}

static DhcFunc *entry(World *w, DhcModel *m, const char *name, bool training) {
  DhcEntryRequest r = {.name = name, .training = training};
  DhcFunc *f = dhc_model_entry(m, &r);
  if (!f) dhc_diags_print(&w->diags, stderr, false);
  assert_non_null(f);
  return f;
}

static DhcArray *filled(World *w, int rank, const int64_t *dim, double from, double step) {
  DhcArray *a = dhc_array_new(&w->arena, DHC_F32, rank, dim);
  for (int64_t i = 0; i < a->n; i++) a->f[i] = from + step * (double)((i * 7) % 11);
  return a;
}

static void near(double got, double want) {
  if (!(fabs(got - want) <= 1e-9 * (1 + fabs(want)))) {
    print_error("got %.17g want %.17g\n", got, want);
    fail();
  }
}

/* ---- functions of std/nn -------------------------------------------------------------- */

static void test_cross_entropy(void **state) {
  (void)state;
  World *w = world();
  DhcModel *m =
      model(w,
            "model M(s: float = 0.1) {\n"
            "  loss<B>(x: [B, 4], t: i64[B]) -> (a: [], b: []) {\n"
            "    return cross_entropy(x, t, s), cross_entropy(x, t, 0.0, ignore_index = 2)\n  }\n}\n");
  DhcArray *x = filled(w, 2, (int64_t[]){3, 4}, -1, 0.3),
           *t = dhc_array_new(&w->arena, DHC_I64, 1, (int64_t[]){3});
  t->i[0] = 1;
  t->i[1] = 2;
  t->i[2] = 3;
  DhcArray **r = run(w, dhc_model_module(m), entry(w, m, "loss", true), (DhcArray *[]){x, t});
  double a = 0, b = 0;
  for (int i = 0; i < 3; i++) {
    double z = 0, mean = 0;
    for (int k = 0; k < 4; k++) z += exp(x->f[4 * i + k]);
    for (int k = 0; k < 4; k++) mean += (x->f[4 * i + k] - log(z)) / 4;
    double nll = log(z) - x->f[4 * i + t->i[i]];
    a += (0.9 * nll - 0.1 * mean) / 3;
    if (t->i[i] != 2) b += nll / 2;
  }
  near(r[0]->f[0], a);
  near(r[1]->f[0], b);
  end(w);
}

static void test_functions(void **state) {
  (void)state;
  World *w = world();
  DhcModel *m = model(w,
                      "model M() {\n  forward<B, L>(x: [B, L]) -> (a: [B, L], b: [B], c: [B, L], d: [B], e: "
                      "[B, L], f: [L], g: [B, 3]) {\n    require L >= 5\n"
                      "    return softmax(x), logsumexp(x), cumsum(x), var(x), gelu(x), einsum(\"bl,bl->l\", "
                      "x, x), x[:, ::2][:, -3:]\n  }\n}\n");
  DhcArray *x = filled(w, 2, (int64_t[]){2, 5}, -1, 0.3);
  DhcArray **r = run(w, dhc_model_module(m), entry(w, m, "forward", false), &x);
  for (int i = 0; i < 2; i++) {
    const double *v = x->f + 5 * i;
    double z = 0, mean = 0, var = 0, sum = 0;
    for (int k = 0; k < 5; k++) z += exp(v[k]);
    for (int k = 0; k < 5; k++) mean += v[k] / 5;
    for (int k = 0; k < 5; k++) var += (v[k] - mean) * (v[k] - mean) / 5;
    near(r[1]->f[i], log(z));
    near(r[3]->f[i], var);
    for (int k = 0; k < 5; k++) {
      sum += v[k];
      near(r[0]->f[5 * i + k], exp(v[k]) / z);
      near(r[2]->f[5 * i + k], sum);
      near(r[4]->f[5 * i + k], 0.5 * v[k] * (1 + erf(v[k] / sqrt(2))));
    }
    for (int k = 0; k < 3; k++) near(r[6]->f[3 * i + k], v[2 * k]);
  }
  for (int k = 0; k < 5; k++) near(r[5]->f[k], x->f[k] * x->f[k] + x->f[5 + k] * x->f[5 + k]);
  end(w);
}

static void test_dropout(void **state) {
  (void)state;
  World *w = world();
  DhcModel *m =
      model(w,
            "layer D(p: float) { forward<...S>(x: [...S]) -> (y: [...S]) { return dropout(x, p) } }\n"
            "model M(p: float = 0.25) { d[0] = D(p)\n  d[1] = D(p)\n"
            "  forward<B>(x: [B]) -> (y: [B], z: [B]) { return d[0](x), d[1](x) } }\n");
  DhcArray *x = filled(w, 1, (int64_t[]){20000}, 1, 0);
  DhcArray **r = run(w, dhc_model_module(m), entry(w, m, "forward", true), &x);
  int kept[2] = {0, 0}, differ = 0;
  for (int i = 0; i < 20000; i++) {
    for (int k = 0; k < 2; k++) {
      assert_true(r[k]->f[i] == 0 || fabs(r[k]->f[i] - 1 / 0.75) < 1e-9);
      kept[k] += r[k]->f[i] != 0;
    }
    differ += r[0]->f[i] != r[1]->f[i];
  }
  assert_in_range(kept[0], 14700, 15300);
  assert_in_range(kept[1], 14700, 15300);
  assert_in_range(differ, 7000, 8000); /* two sites draw their own */
  r = run(w, dhc_model_module(m), entry(w, m, "forward", false), &x);
  for (int i = 0; i < 20000; i++) near(r[0]->f[i], 1);
  end(w);
}

/* ---- initialisers ------------------------------------------------------------------------- */

static void moments(const DhcArray *a, double *mean, double *sd, double *lo, double *hi) {
  *mean = *sd = 0;
  *lo = INFINITY;
  *hi = -INFINITY;
  for (int64_t i = 0; i < a->n; i++) {
    *mean += a->f[i] / (double)a->n;
    *lo = fmin(*lo, a->f[i]);
    *hi = fmax(*hi, a->f[i]);
  }
  for (int64_t i = 0; i < a->n; i++) *sd += (a->f[i] - *mean) * (a->f[i] - *mean) / (double)a->n;
  *sd = sqrt(*sd);
}

static void check_moments(World *w, DhcModel *m, const char *path, double mean, double sd, double bound) {
  DhcModule *mod = dhc_model_module(m);
  int t = dhc_module_tensor(mod, path);
  assert_true(t >= 0);
  double gm, gs, lo, hi;
  moments(init_of(w, mod, t, 1), &gm, &gs, &lo, &hi);
  if (!(fabs(gm - mean) < 0.02 * sd + 1e-12 && fabs(gs - sd) < 0.02 * sd + 1e-12)) {
    print_error("%s: mean %g sd %g, want %g %g\n", path, gm, gs, mean, sd);
    fail();
  }
  if (bound > 0) assert_true(lo >= mean - bound && hi <= mean + bound && hi > mean + 0.99 * bound);
}

static void test_initialisers(void **state) {
  (void)state;
  World *w = world();
  DhcModel *m = model(
      w,
      "layer L() {\n  param a: [200, 300] = kaiming_uniform(a = sqrt(5.0))\n  param b: [200, 300] = "
      "xavier_normal(gain = 2.0)\n"
      "  param c: [20, 30, 5, 5] = xavier_uniform()\n  param d: [200, 300] = normal(1.0, 0.5)\n"
      "  param e: [200, 300] = kaiming_normal(mode = fan_out)\n  param f: [100000] = uniform(-1, 3)\n"
      "  param g: [12, 4, 2] = orthogonal(2.0)\n  param h: [3, 20] = orthogonal()\n"
      "  param i: [40, 3] = log(iota(3) + 1)\n  param j: [20000] = zeros()\n}\n"
      "model M() { x = L()\n  y = L()\n  init L.j = normal(0.0, 1.0)\n  init y.j = normal(0.0, 2.0) }\n");
  check_moments(w, m, "x.a", 0, 1 / sqrt(900), 1 / sqrt(300));
  check_moments(w, m, "x.b", 0, 2 * sqrt(2.0 / 500), 0);
  check_moments(w, m, "x.c", 0, sqrt(6.0 / (50 * 25)) / sqrt(3), sqrt(6.0 / (50 * 25)));
  check_moments(w, m, "x.d", 1, 0.5, 0);
  check_moments(w, m, "x.e", 0, sqrt(2.0 / 200), 0);
  check_moments(w, m, "x.f", 1, 2 / sqrt(3), 2);
  check_moments(w, m, "x.j", 0, 1, 0);
  check_moments(w, m, "y.j", 0, 2, 0);
  DhcModule *mod = dhc_model_module(m);
  const DhcArray *g = init_of(w, mod, dhc_module_tensor(mod, "x.g"), 1),
                 *h = init_of(w, mod, dhc_module_tensor(mod, "x.h"), 1);
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < 8; j++) {
      double s = 0;
      for (int k = 0; k < 12; k++) s += g->f[8 * k + i] * g->f[8 * k + j];
      near(s, i == j ? 4 : 0);
    }
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) {
      double s = 0;
      for (int k = 0; k < 20; k++) s += h->f[20 * i + k] * h->f[20 * j + k];
      near(s, i == j);
    }
  const DhcArray *l = init_of(w, mod, dhc_module_tensor(mod, "x.i"), 1);
  for (int i = 0; i < 120; i++) near(l->f[i], log(i % 3 + 1));
  end(w);
}

/* ---- optimisers ----------------------------------------------------------------------------- */

static void test_optimisers(void **state) {
  (void)state;
  World *w = world();
  DhcModel *m = model(w, "model M() { param a: [2] = zeros() }\n");
  DhcModule *mod = dhc_model_module(m);
  DhcArray *p = filled(w, 1, (int64_t[]){4}, 1, 0.1), *g = filled(w, 1, (int64_t[]){4}, -1, 0.2);
  DhcArray *mm = filled(w, 1, (int64_t[]){4}, 0.5, 0.1), *v = filled(w, 1, (int64_t[]){4}, 0.3, 0.1);
  DhcArray *lr = scalar(w, DHC_F32, 0.01), *step = scalar(w, DHC_F32, 3);
  for (int decoupled = 0; decoupled < 2; decoupled++) {
    DhcFunc *f = dhc_model_function(m, decoupled ? "adamw" : "adam");
    assert_non_null(f);
    assert_int_equal(f->params.n, 10);
    assert_string_equal(f->param_info.at[9].name, "weight_decay");
    DhcArray *args[] = {p,
                        g,
                        mm,
                        v,
                        lr,
                        step,
                        scalar(w, DHC_F32, 0.9),
                        scalar(w, DHC_F32, 0.999),
                        scalar(w, DHC_F32, 1e-8),
                        scalar(w, DHC_F32, 0.1)};
    DhcArray **r = run(w, mod, f, args);
    for (int i = 0; i < 4; i++) {
      double d = g->f[i] + (decoupled ? 0 : 0.1 * p->f[i]), m1 = 0.9 * mm->f[i] + 0.1 * d,
             v1 = 0.999 * v->f[i] + 0.001 * d * d;
      double base = decoupled ? p->f[i] * (1 - 0.01 * 0.1) : p->f[i];
      near(r[0]->f[i], base - 0.01 / (1 - pow(0.9, 3)) * m1 / (sqrt(v1) / sqrt(1 - pow(0.999, 3)) + 1e-8));
      near(r[1]->f[i], m1);
      near(r[2]->f[i], v1);
    }
  }
  DhcFunc *f = dhc_model_function(m, "sgd");
  DhcArray *args[] = {
      p, g, mm, lr, step, scalar(w, DHC_F32, 0.9), scalar(w, DHC_F32, 1), scalar(w, DHC_F32, 0.1)};
  DhcArray **r = run(w, mod, f, args);
  for (int i = 0; i < 4; i++) {
    double d = g->f[i] + 0.1 * p->f[i], m1 = 0.9 * mm->f[i] + d;
    near(r[0]->f[i], p->f[i] - 0.01 * (d + 0.9 * m1));
    near(r[1]->f[i], m1);
  }
  end(w);
}

/* ---- versions -------------------------------------------------------------------------------- */

static void test_versions(void **state) {
  (void)state;
  World *w = world();
  DhcModel *m = model(w,
                      "model M() {\n  forward<B, H>(x: [B, H]) -> (y) {\n    if H >= 4 { x = x + 1 }\n    if "
                      "H % 2 == 0 { x = x * 2 }\n    return x\n  }\n}\n");
  DhcFunc *seen[4] = {0};
  int n = 0;
  for (int64_t h = 1; h < 12; h++) {
    int64_t dim[2] = {3, h};
    DhcInputShape s = {.name = "x", .rank = 2, .dim = dim};
    DhcEntryRequest q = {.name = "forward", .inputs = &s, .n_inputs = 1};
    DhcFunc *f = dhc_model_entry(m, &q);
    assert_non_null(f);
    bool old = false;
    for (int i = 0; i < n; i++) old = old || seen[i] == f;
    if (!old) {
      assert_true(n < 4);
      seen[n++] = f;
    }
    DhcArray *x = filled(w, 2, dim, 0, 1);
    DhcArray **r = run(w, dhc_model_module(m), f, &x);
    for (int64_t i = 0; i < x->n; i++) near(r[0]->f[i], (x->f[i] + (h >= 4)) * (h % 2 == 0 ? 2 : 1));
  }
  assert_int_equal(n, 4);
  end(w);
}

/* Each further threshold is another version; the one beyond the limit is refused. */
static void test_too_many_versions(void **state) {
  (void)state;
  World *w = world();
  const char *text = "model M() {\n  forward<H>(x: [H]) -> (y) {\n";
  for (int k = 2; k < 20; k++) text = dhc_arena_printf(&w->arena, "%s    if H >= %d { x = x + 1 }\n", text, k);
  DhcModel *m = model(w, dhc_arena_printf(&w->arena, "%s    return x\n  }\n}\n", text));
  int64_t h = 1;
  for (; h < 20; h++) {
    DhcInputShape s = {.name = "x", .rank = 1, .dim = &h};
    DhcEntryRequest q = {.name = "forward", .inputs = &s, .n_inputs = 1};
    if (!dhc_model_entry(m, &q)) break;
  }
  assert_int_equal(h, 17);
  assert_string_equal(w->diags.all.at[0]->code, "E0317");
  end(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cross_entropy), cmocka_unit_test(test_functions),
      cmocka_unit_test(test_dropout),       cmocka_unit_test(test_initialisers),
      cmocka_unit_test(test_optimisers),    cmocka_unit_test(test_versions),
      cmocka_unit_test(test_too_many_versions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
