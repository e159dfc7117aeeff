/* Random graphs through every hook: the text form, each pass, the clean-up pipeline; and
 * the generator's own promises (same graph from the same seed, valid, finite, a reducer
 * that finds a planted bug in few steps).
 *
 *   test_random [graphs] [first seed] [fused | cpu | checked]
 *
 * With `fused` also through fusion, compared by running the kernel specs; with `cpu` the
 * kernels run as compiled code.
 */
#include <math.h>
#include <stdlib.h>

#include "tests/ops/op_cases.h"
#include "tests/random/random_graph.h"
#ifdef DHC_TEST_PASSES
#include "passes/passes.h"
#endif
#ifdef DHC_TEST_CPU
#include "tests/ops/cpu_runner.h"
#endif

static bool nothing(void *ctx, DhcModule *m, DhcFunc **f) {
  (void)ctx, (void)m, (void)f;
  return true;
}

/* The entry of the module that the text describes. */
static bool through_text(void *ctx, DhcModule *m, DhcFunc **f) {
  (void)ctx;
  if (!dhc_verify(m, DHC_STAGE_GRAPH, "the generator")) return false;
  DhcText t = {.arena = m->arena}, again = {.arena = m->arena};
  dhc_module_print(m, &t);
  const char *text = dhc_text_str(&t);
  uint32_t file = dhc_sources_add(m->diags->sources, "g.gir", "g.gir", text, strlen(text));
  DhcModule *parsed = dhc_module_parse(m->arena, m->strings, m->diags, file);
  if (!parsed) return false;
  dhc_module_print(parsed, &again);
  *f = dhc_module_func(parsed, (*f)->name);
  return *f && strcmp(text, dhc_text_str(&again)) == 0;
}

/* A planted bug: the last division of the graph is turned round. */
static bool planted(void *ctx, DhcModule *m, DhcFunc **f) {
  (void)ctx, (void)m;
  for (DhcNode *n = (*f)->last; n; n = n->prev) {
    if (n->op != DHC_OP_DIV) continue;
    DhcValue *keep = n->args[0];
    n->args[0] = n->args[1];
    n->args[1] = keep;
    return true;
  }
  return true;
}

#ifdef DHC_TEST_PASSES
/* ctx: a list of passes */
static bool run_passes(void *ctx, DhcModule *m, DhcFunc **f) {
  DhcArena scratch;
  DhcPassCtx px;
  const char *name = (*f)->name;
  dhc_arena_init(&scratch);
  dhc_pass_ctx_init(&px, m, &scratch);
  bool ok = ctx ? dhc_passes_run(m, &px, ctx) : dhc_passes_clean(m, &px);
  dhc_arena_fini(&scratch);
  *f = dhc_module_func(m, name);
  return ok && *f;
}

/* The entry becomes its own gradient with respect to all float inputs. */
static bool gradient(void *ctx, DhcModule *m, DhcFunc **f) {
  (void)ctx;
  DhcArena scratch;
  DhcPassCtx px;
  dhc_arena_init(&scratch);
  dhc_pass_ctx_init(&px, m, &scratch);
  DhcGradRequest rq = {.name = "gradient", .roles = 1u << DHC_ROLE_INPUT, .of = "loss"};
  *f = dhc_grad_entry(&px, *f, &rq);
  dhc_arena_fini(&scratch);
  return *f && dhc_verify(m, DHC_STAGE_GRAPH, "autodiff");
}

/* Slope of the loss along a random direction by central difference, and as the gradient
 * says. False: something did not run. */
static bool slopes(const DhcRandomOptions *o, double *want, double *got, double *scale) {
  DhcArena arena;
  DhcRandomGraph g;
  uint64_t state = o->seed;
  dhc_arena_init(&arena);
  bool ok = dhc_random_graph(o, &arena, &g);
  DhcFunc *f = g.f, *grad = g.f;
  int n = f->params.n, n_r = f->results.n;
  double loss[2] = {0};
  const DhcArray **moved[2] = {DHC_NEW_N(&arena, const DhcArray *, n), DHC_NEW_N(&arena, const DhcArray *, n)};
  DhcArray **dir = DHC_NEW_N(&arena, DhcArray *, n), **r = DHC_NEW_N(&arena, DhcArray *, n_r + n);
  for (int p = 0; p < n; p++) {
    DhcArray *up = dhc_array_copy(&arena, g.args[p]), *down = dhc_array_copy(&arena, g.args[p]);
    dir[p] = dhc_array_copy(&arena, g.args[p]);
    for (int64_t e = 0; up->f && e < up->n; e++) {
      dir[p]->f[e] = dhc_case_uniform(&state, -1, 1);
      up->f[e] += 1e-6 * dir[p]->f[e];
      down->f[e] -= 1e-6 * dir[p]->f[e];
    }
    moved[0][p] = up;
    moved[1][p] = down;
  }
  for (int k = 0; ok && k < 2; k++) {
    ok = dhc_interp_run(&arena, &g.diags, f, moved[k], r, NULL);
    if (ok) loss[k] = r[n_r - 1]->f[0];
  }
  ok = ok && gradient(NULL, g.m, &grad) && dhc_interp_run(&arena, &g.diags, grad, g.args, r, NULL);
  *want = (loss[0] - loss[1]) / 2e-6;
  *got = *scale = 0;
  for (int p = 0, k = n_r; ok && p < n; p++) {
    if (!dir[p]->f) continue;
    for (int64_t e = 0; e < dir[p]->n; e++) {
      *got += r[k]->f[e] * dir[p]->f[e];
      *scale += fabs(r[k]->f[e] * dir[p]->f[e]);
    }
    k++;
  }
  if (!ok) dhc_diags_print(&g.diags, stderr, false);
  dhc_arena_fini(&arena);
  return ok;
}

static bool wrong_slope(void *ctx, const DhcRandomOptions *o) {
  double want, got, scale;
  (void)ctx;
  return !slopes(o, &want, &got, &scale) || !(fabs(want - got) <= 1e-5 * (1 + scale) + 1e-3 * fabs(want));
}

static int test_gradients(int graphs, uint64_t seed) {
  int bad = 0;
  for (int k = 0; k < graphs; k++) {
    DhcRandomOptions o = {.seed = seed + (uint64_t)k, .max_elements = 1024, .smooth = true, .loss = true};
    if (!wrong_slope(NULL, &o)) continue;
    double want = 0, got = 0, scale = 0;
    bad++;
    int left = dhc_random_reduce(&o, wrong_slope, NULL);
    slopes(&o, &want, &got, &scale);
    fprintf(stderr, "gradient: seed %llu removed 0x%x (%d steps): want %g, got %g\n", (unsigned long long)o.seed,
            (unsigned)o.removed, left, want, got);
  }
  printf("%-12s %d graphs, %d wrong\n", "gradient", graphs, bad);
  return bad > 0;
}
#endif

static int run(const DhcRandomHook *hook, int graphs, uint64_t seed) {
  DhcRandomTally t = {0};
  for (int k = 0; k < graphs; k++) {
    DhcRandomOptions o = {.seed = seed + (uint64_t)k, .max_elements = 4096, .loss = hook->prepare != NULL,
                          .smooth = hook->runner != NULL};
    dhc_random_check(&o, hook, &t, t.mismatches + t.invalid < 3 ? stderr : NULL);
  }
  printf("%-12s %d graphs, %d mismatches, %d invalid, %d not finite", hook->name, t.graphs, t.mismatches,
         t.invalid, t.non_finite);
  if (hook->unsupported) printf(", %d unsupported", t.unsupported);
  putchar('\n');
  return t.mismatches > 0 || t.invalid * 20 > t.graphs || t.non_finite * 50 > t.graphs;
}

/* Counts graphs the planted bug shows in, and the steps its reduction leaves. */
static bool shows(void *ctx, const DhcRandomOptions *o) {
  DhcRandomTally *t = ctx;
  DhcArena arena;
  DhcRandomGraph a, b;
  bool differs = false;
  dhc_arena_init(&arena);
  if (dhc_random_graph(o, &arena, &a) && dhc_random_graph(o, &arena, &b) && planted(NULL, b.m, &b.f)) {
    DhcArray **want = DHC_NEW_N(&arena, DhcArray *, a.f->results.n), **got = DHC_NEW_N(&arena, DhcArray *, a.f->results.n);
    if (dhc_interp_run(&arena, &a.diags, a.f, a.args, want, NULL) && dhc_interp_run(&arena, &b.diags, b.f, b.args, got, NULL))
      for (int r = 0; r < a.f->results.n; r++)
        differs = differs || (want[r]->f && memcmp(want[r]->f, got[r]->f, sizeof(double) * (size_t)want[r]->n) != 0);
  } else {
    t->invalid++;
  }
  dhc_arena_fini(&arena);
  return differs;
}

static int test_reducer(void) {
  DhcRandomTally t = {0};
  int found = 0, worst = 0;
  for (uint64_t seed = 1; seed <= 60; seed++) {
    DhcRandomOptions o = {.seed = seed, .min_steps = 8, .max_elements = 512};
    if (!shows(&t, &o)) continue;
    int left = dhc_random_reduce(&o, shows, &t);
    found++;
    if (left > worst) worst = left;
  }
  printf("reducer      %d planted bugs seen, at most %d steps left\n", found, worst);
  return found < 5 || worst > 5;
}

#ifdef DHC_TEST_PASSES
static int test_fused(int graphs, uint64_t seed, const DhcKernelRunner *runner) {
  int bad = 0;
  static const char full[] = "inline,simplify,cse,dce,fusion";
  DhcRandomHook fused = {.name = "full", .apply = run_passes, .ctx = (void *)(uintptr_t)full, .zeros = true};
  fused.runner = runner;
  fused.unsupported = "E0911";
  /* compiled code computes in f32; steps at which that decides anything are left out */
  if (runner) fused.rtol = 1e-3;
  bad += run(&fused, graphs, seed);
  fused.name = "grad+full";
  fused.prepare = gradient;
  bad += run(&fused, graphs, seed);
  return bad;
}
#endif

int main(int argc, char **argv) {
  int graphs = argc > 1 ? atoi(argv[1]) : 300, bad = 0;
  uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  printf("seeds %llu to %llu\n", (unsigned long long)seed, (unsigned long long)seed + (unsigned)graphs - 1);
  static const DhcRandomHook hooks[] = {{.name = "again", .apply = nothing}, {.name = "text", .apply = through_text}};
  for (size_t k = 0; k < sizeof hooks / sizeof *hooks; k++) bad += run(&hooks[k], graphs, seed);
#ifdef DHC_TEST_PASSES
  /* simplify's rule for the sum of one term may give -0 for +0, and says so */
  DhcRandomHook clean = {.name = "clean", .apply = run_passes, .zeros = true};
  bad += run(&clean, graphs, seed);
  DhcRandomHook grad = {.name = "grad+clean", .prepare = gradient, .apply = run_passes, .zeros = true};
  bad += run(&grad, graphs, seed);
  bad += test_gradients(graphs, seed);
  if (argc > 3 && strcmp(argv[3], "fused") == 0) bad += test_fused(graphs, seed, NULL);
#ifdef DHC_TEST_CPU
  CpuRunner cpu;
  bool checked = argc > 3 && strcmp(argv[3], "checked") == 0;
  if (argc > 3 && (checked || strcmp(argv[3], "cpu") == 0) && (checked ? cpu_runner_open_checked(&cpu) : cpu_runner_open(&cpu, NULL))) {
    bad += test_fused(graphs, seed, &cpu.runner);
    printf("%d kernels compiled, %d reused\n", cpu.stats.compiled, cpu.stats.reused_memory);
    cpu_runner_close(&cpu);
  }
#endif
  for (int k = 0; k < dhc_pass_count(); k++) {
    const DhcPassInfo *pass = dhc_pass_at(k);
    if (!pass->optional || !(pass->requires & DHC_PROP_UNFUSED)) continue;
    DhcRandomHook one = {.name = pass->name, .apply = run_passes, .ctx = (void *)(uintptr_t)pass->name};
    one.zeros = !strcmp(pass->name, "simplify");
    bad += run(&one, graphs, seed);
  }
#endif
  bad += test_reducer();
  return bad ? 1 : 0;
}
