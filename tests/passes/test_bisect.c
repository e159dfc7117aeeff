/* A limit on the changes of passes finds a wrong one by halving: for random graphs and for each
 * pass that changes one, the pass is taken to have spoiled the graph with one of its changes, and
 * ceil(log2 N) limited runs must name that change. Every run on the way that is not spoiled gives
 * the results of the graph as it was made, and passes for which nothing is left of the limit leave its text alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "passes/passes.h"
#include "tests/random/random_graph.h"

enum {
#define PASS(name, ...) PASS_##name,
#include "passes/passes.def"
  N_PASSES,
  MAX_RESULTS = 64
};
/* In the table's order, but for derivatives: they are another function, not a change of this one. */
static const char *const passes[] = {
#define PASS(name, ...) #name,
#include "passes/passes.def"
};

typedef struct Run {
  int64_t limit, wrong; /* changes allowed, < 0: all; the change that spoils, 0: none */
  int64_t after[N_PASSES];
  bool spoiled, same, kept; /* kept: passes that might change nothing any more changed nothing */
} Run;

static const char *text_of(DhcModule *m, DhcArena *arena) {
  DhcText text = {.arena = arena};
  dhc_module_print(m, &text);
  return dhc_text_str(&text);
}

static bool equal(const DhcArray *x, const DhcArray *y) {
  if (x->n != y->n || !x->f != !y->f) return false;
  for (int64_t i = 0; i < x->n; i++) /* a rule of simplify may turn the sign of a zero, and says so */
    if (x->f ? !(x->f[i] == y->f[i] || (isnan(x->f[i]) && isnan(y->f[i]))) : x->i[i] != y->i[i]) return false;
  return true;
}

static bool run(uint64_t seed, Run *r) {
  DhcRandomOptions o = {.seed = seed, .max_elements = 512, .min_steps = 8};
  DhcArena arena, scratch;
  DhcRandomGraph g;
  DhcPassCtx px;
  DhcArray *want[MAX_RESULTS], *got[MAX_RESULTS];
  dhc_arena_init(&arena);
  dhc_arena_init(&scratch);
  bool ok = dhc_random_graph(&o, &arena, &g) && g.f->results.n <= MAX_RESULTS &&
            dhc_interp_run(&arena, &g.diags, g.f, g.args, want, NULL);
  r->spoiled = false;
  r->kept = true;
  if (ok) {
    dhc_pass_ctx_init(&px, g.m, &scratch);
    px.limit = r->limit;
    for (int p = 0; ok && p < N_PASSES; p++) {
      r->after[p] = px.all_changes;
      if (p == PASS_grad) continue;
      const bool spent = px.limit >= 0 && px.all_changes >= px.limit && dhc_pass_info(passes[p])->optional;
      const char *before = spent ? text_of(g.m, &arena) : NULL;
      ok = dhc_passes_run(g.m, &px, passes[p]);
      r->kept = r->kept && (!spent || !strcmp(before, text_of(g.m, &arena)));
      r->after[p] = px.all_changes;
      r->spoiled |= r->wrong && px.all_changes >= r->wrong;
    }
    DhcFunc *f = dhc_module_func(g.m, "main");
    ok = ok && f && dhc_interp_run(&arena, &g.diags, f, g.args, got, NULL);
    r->same = ok;
    for (int i = 0; ok && i < f->results.n; i++) r->same = r->same && equal(want[i], got[i]);
    ok = ok && (r->limit < 0 || px.all_changes <= r->limit);
  }
  if (!ok) dhc_diags_print(&g.diags, stderr, false);
  dhc_arena_fini(&scratch);
  dhc_arena_fini(&arena);
  return ok;
}

/* Least limit with which change number `wrong` of n is made; counts runs. */
static int64_t bisect(uint64_t seed, int64_t n, int64_t wrong, int *runs) {
  int64_t good = 0, bad = n;
  for (*runs = 0; bad - good > 1; ++*runs) {
    Run r = {.limit = good + (bad - good) / 2, .wrong = wrong};
    if (!run(seed, &r) || (!r.spoiled && !r.same) || !r.kept) return -1;
    *(r.spoiled ? &bad : &good) = r.limit;
  }
  return bad;
}

int main(int argc, char **argv) {
  int graphs = argc > 1 ? atoi(argv[1]) : 25, bad = 0, found = 0, by[N_PASSES] = {0};
  for (uint64_t seed = 1; seed <= (uint64_t)graphs; seed++) {
    Run all = {.limit = -1}, none = {.limit = 0};
    if (!run(seed, &all) || !run(seed, &none) || !all.same || !none.same || !none.kept) {
      printf("FAILED: seed %d: %s\n", (int)seed, none.kept ? "other results" : "changes that nobody allowed");
      bad++;
      continue;
    }
    int64_t n = all.after[N_PASSES - 1];
    for (int p = 0; p < N_PASSES; p++) {
      int64_t from = p ? all.after[p - 1] : 0, wrong = from + 1 + (all.after[p] - from) / 2;
      int runs;
      if (all.after[p] == from) continue;
      if (wrong > all.after[p]) wrong = all.after[p];
      if (bisect(seed, n, wrong, &runs) != wrong || runs > (int)ceil(log2((double)n))) {
        printf("FAILED: seed %d: change %d of %d, by %s\n", (int)seed, (int)wrong, (int)n, passes[p]);
        bad++;
      }
      found++;
      by[p]++;
    }
  }
  printf("%d wrong changes planted, %d not found;", found, bad);
  for (int p = 0; p < N_PASSES; p++) printf(" %s %d", passes[p], by[p]);
  putchar('\n');
  return bad > 0 || !by[PASS_fuse];
}
