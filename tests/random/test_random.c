/* Random graphs through every hook: the text form, each pass, the clean-up pipeline; and
 * the generator's own promises (same graph from the same seed, valid, finite, a reducer
 * that finds a planted bug in few steps).
 *
 *   test_random [graphs] [first seed]
 */
#include <stdlib.h>

#include "tests/random/random_graph.h"
#ifdef DHC_TEST_PASSES
#include "passes/passes.h"
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
#endif

static int run(const DhcRandomHook *hook, int graphs, uint64_t seed) {
  DhcRandomTally t = {0};
  for (int k = 0; k < graphs; k++) {
    DhcRandomOptions o = {.seed = seed + (uint64_t)k, .max_elements = 4096};
    dhc_random_check(&o, hook, &t, t.mismatches + t.invalid < 3 ? stderr : NULL);
  }
  printf("%-12s %d graphs, %d mismatches, %d invalid, %d not finite\n", hook->name, t.graphs, t.mismatches,
         t.invalid, t.non_finite);
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

int main(int argc, char **argv) {
  int graphs = argc > 1 ? atoi(argv[1]) : 300, bad = 0;
  uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  printf("seeds %llu to %llu\n", (unsigned long long)seed, (unsigned long long)seed + (unsigned)graphs - 1);
  static const DhcRandomHook hooks[] = {{.name = "again", .apply = nothing}, {.name = "text", .apply = through_text}};
  for (size_t k = 0; k < sizeof hooks / sizeof *hooks; k++) bad += run(&hooks[k], graphs, seed);
#ifdef DHC_TEST_PASSES
  DhcRandomHook clean = {.name = "clean", .apply = run_passes};
  bad += run(&clean, graphs, seed);
  static const char *const alone[] = {"simplify", "cse", "dce", "inline"};
  for (size_t k = 0; k < sizeof alone / sizeof *alone; k++) {
    if (!dhc_pass_info(alone[k])) continue;
    DhcRandomHook one = {.name = alone[k], .apply = run_passes, .ctx = (void *)(uintptr_t)alone[k]};
    bad += run(&one, graphs, seed);
  }
#endif
  bad += test_reducer();
  return bad ? 1 : 0;
}
