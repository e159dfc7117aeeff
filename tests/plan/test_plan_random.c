/* Random graphs: interpreted as made, and planned and run from the plan's memory, alone and
 * after the clean-up. Equal bits; buffers apart at other sizes; memory near its bound.
 *
 *   test_plan_random [graphs] [first seed] [-v] */
#include <stdlib.h>

#include "passes/passes.h"
#include "tests/ops/op_cases.h"
#include "tests/plan/plan_exec.h"
#include "tests/random/random_graph.h"

typedef struct Sum {
  int64_t live, packed;
  int copies, calls, graphs, skipped, bad;
} Sum;

static bool check_memory(const DhcPlanned *p, DhcArena *arena, uint64_t seed, Sum *sum) {
  int64_t symbols[64];
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < p->plan.n_symbols; i++) symbols[i] = round ? (int64_t)(dhc_case_bits(&seed) % 40) + 1 : 16;
    if (!dhc_test_apart(p, symbols, arena, stderr)) return false;
    if (round) continue;
    DhcBound *b;
    if (!dhc_test_bind(p, symbols, arena, &b, stderr)) return false;
    sum->live += dhc_plan_live_bytes(p, symbols);
    sum->packed += dhc_bound_segment_bytes(b, DHC_SEGMENT_WORK);
    dhc_bound_free(b);
  }
  return true;
}

static bool compare(const DhcPlanned *p, const DhcFunc *f, const DhcRandomGraph *g, DhcArray **want, DhcArray **want_up,
                    DhcArena *arena) {
  DhcArray *got[DHC_MAX_RESULTS], **after = DHC_NEW_N(arena, DhcArray *, f->params.n + 1);
  if (!dhc_test_run_plan(p, f, g->args, arena, got, after, stderr)) return false;
  bool ok = true;
  for (int r = 0; r < f->results.n; r++) {
    if (dhc_test_same(want[r], got[r])) continue;
    fprintf(stderr, "result %d differs\n", r);
    for (int64_t e = 0; e < want[r]->n && e < 64 && want[r]->f; e++)
      if (want[r]->f[e] != got[r]->f[e]) fprintf(stderr, "  at %lld: want %g, got %g\n", (long long)e, want[r]->f[e], got[r]->f[e]);
    ok = false;
  }
  for (int i = 0; i < f->params.n; i++) {
    if (!after[i] || dhc_test_same(want_up[i] ? want_up[i] : g->args[i], after[i])) continue;
    fprintf(stderr, "parameter %d is not what it should be\n", i);
    ok = false;
  }
  return ok;
}

static void check(uint64_t seed, bool clean, bool verbose, Sum *sum) {
  DhcArena arena;
  dhc_arena_init(&arena);
  DhcRandomGraph *g = DHC_NEW(&arena, DhcRandomGraph);
  DhcRandomOptions o = {.seed = seed, .max_elements = 2048};
  if (!dhc_random_graph(&o, &arena, g)) {
    sum->skipped++;
    dhc_arena_fini(&arena);
    return;
  }
  DhcArray *want[DHC_MAX_RESULTS], **want_up = DHC_NEW_N(&arena, DhcArray *, g->f->params.n + 1);
  DhcFunc *f = g->f;
  bool ok = dhc_interp_run(&arena, &g->diags, f, g->args, want, want_up);
  DhcPlanned *p = ok ? dhc_test_plan(&f, clean ? DHC_PIPELINE_BEGUN : DHC_PIPELINE_GRAPH, false) : NULL;
  DhcText text = {.arena = &arena};
  if (p && verbose) dhc_func_print(f, &text), dhc_plan_print(p, &text), fputs(dhc_text_str(&text), stdout);
  ok = p && compare(p, f, g, want, want_up, &arena) && check_memory(p, &arena, seed, sum);
  sum->graphs++;
  if (p) sum->calls += p->n_calls;
  for (int i = 0; p && i < p->plan.n_items; i++) sum->copies += p->plan.items[i].kind == DHC_ITEM_COPY;
  if (!ok) {
    sum->bad++;
    fprintf(stderr, "seed %llu%s is wrong\n", (unsigned long long)seed, clean ? " (clean)" : "");
    dhc_diags_print(&g->diags, stderr, false);
  }
  dhc_arena_fini(&arena);
}

int main(int argc, char **argv) {
  int graphs = argc > 1 ? atoi(argv[1]) : 200;
  uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  Sum sum = {0};
  for (int k = 0; k < 2 * graphs; k++) check(seed + (uint64_t)(k / 2), k % 2 == 1, argc > 3, &sum);
  printf("%d plans, %d wrong, %d skipped, %d calls, %d copies, live %lld bytes, packed %lld\n", sum.graphs, sum.bad,
         sum.skipped, sum.calls, sum.copies, (long long)sum.live, (long long)sum.packed);
  return sum.bad > 0 || sum.graphs < graphs;
}
