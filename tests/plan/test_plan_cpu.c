/* Random graphs and training steps of shipped models on the CPU backend, planned twice:
 * plainly, every value in its own buffer, and as usual, merged, in place, packed. Equal bytes,
 * at one and at two threads.
 *
 *   test_plan_cpu MODELS_FOLDER [graphs] [first seed] */
#include <stdlib.h>

#include "passes/passes.h"
#include "tests/plan/plan_cpu.h"
#include "tests/plan/plan_models.h"
#include "tests/random/random_graph.h"

static bool compare(CpuRunner *cpu, DhcFunc *f, const DhcArray *const *args, DhcPool *pool,
                    DhcArena *arena) {
  int64_t symbols[64];
  DhcPlanned *p = dhc_test_plan(&f, DHC_PIPELINE_FUSED, true), *q = dhc_test_plan(&f, DHC_PIPELINE_FUSED, false);
  PlanImage m = {{0}, NULL}, n = {{0}, NULL};
  bool ok = p && q && dhc_test_symbols(f, args, symbols) && plan_cpu_run(cpu, p, args, symbols, pool, arena, &m) &&
            plan_cpu_run(cpu, q, args, symbols, pool, arena, &n);
  for (int i = 0; ok && i < p->n_params; i++)
    if (q->params[i].buffer >= 0 && !plan_cpu_same(p, &m, p->params[i].buffer, q, &n, q->params[i].buffer)) {
      fprintf(stderr, "parameter %d differs\n", i);
      ok = false;
    }
  for (int r = 0; ok && r < p->n_results; r++)
    if (!plan_cpu_same(p, &m, p->results[r].buffer, q, &n, q->results[r].buffer)) {
      fprintf(stderr, "result %d differs\n", r);
      ok = false;
    }
  plan_cpu_forget(&m);
  plan_cpu_forget(&n);
  return ok;
}

/* sin, cos, pow and f64 are not on this backend. */
static bool has_kernels(const DhcModule *m) {
  for (int i = 0; i < m->funcs.n; i++)
    for (const DhcNode *n = m->funcs.at[i]->first; n; n = n->next)
      switch (n->op) {
        case DHC_OP_SIN:
        case DHC_OP_COS:
        case DHC_OP_POW: return false;
        default:
          for (int r = 0; r < n->n_results; r++)
            if (n->results[r]->type.dtype == DHC_F64) return false;
      }
  return true;
}

static int check_step(CpuRunner *cpu, const char *root, const char *model, const DhcSetting *sets, int n_sets,
                      const int64_t *extents, DhcPool *pool) {
  Made x;
  uint64_t state = 3;
  bool ok = dhc_test_model(&x, root, model, "loss", "train", sets, n_sets);
  const DhcArray **args = DHC_NEW_N(&x.arena, const DhcArray *, ok ? x.f->params.n + 1 : 1);
  for (int i = 0; ok && i < x.f->params.n; i++) ok = (args[i] = dhc_test_draw(&x, i, &state, extents)) != NULL;
  ok = ok && dhc_test_fuse(&x.f, DHC_PIPELINE_GRAPH) && compare(cpu, x.f, args, pool, &x.arena);
  dhc_diags_print(&x.diags, stderr, false);
  if (!ok) fprintf(stderr, "the training step of %s is wrong\n", model);
  dhc_arena_fini(&x.arena);
  return !ok;
}

static int check_steps(CpuRunner *cpu, const char *root, DhcPool *pool) {
  static const DhcSetting small[] = {{"hidden_dim", "4"}, {"tokens", "grid"}};
  static const DhcSetting jamba[] = {{"hidden_dim", "4"}, {"num_layers", "2"}, {"num_heads", "2"}, {"num_experts", "3"},
                                     {"mamba_ratio", "1"}, {"tokens", "grid"}};
  static const int64_t image[] = {3, 16, 24}, line[] = {5, 7, 7};
  return check_step(cpu, root, "dhc_ssm", small, 2, image, pool) + check_step(cpu, root, "dhc_jamba", jamba, 6, image, pool) +
         check_step(cpu, root, "lstm", NULL, 0, line, pool) + check_step(cpu, root, "mlp", NULL, 0, line, pool);
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  int graphs = argc > 2 ? atoi(argv[2]) : 40, bad = 0, skipped = 0;
  uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
  CpuRunner cpu;
  DhcPool *pool[2];
  if (!cpu_runner_open(&cpu, NULL)) return 1;
  for (int k = 0; k < 2; k++)
    if (dhc_pool_new(k + 1, &pool[k]).code != DHC_OK) return 1;
  for (int k = 0; k < graphs; k++) {
    DhcArena arena;
    dhc_arena_init(&arena);
    DhcRandomGraph *g = DHC_NEW(&arena, DhcRandomGraph);
    DhcRandomOptions o = {.seed = seed + (uint64_t)k, .max_elements = 4096};
    DhcFunc *f = dhc_random_graph(&o, &arena, g) && has_kernels(g->m) ? g->f : NULL;
    skipped += !f;
    if (f && !(dhc_test_fuse(&f, DHC_PIPELINE_BEGUN) && compare(&cpu, f, g->args, pool[k % 2], &arena))) {
      fprintf(stderr, "seed %llu is wrong\n", (unsigned long long)o.seed);
      dhc_diags_print(&g->diags, stderr, false);
      bad++;
    }
    dhc_arena_fini(&arena);
  }
  bad += check_steps(&cpu, argv[1], pool[1]);
  printf("%d graphs, %d wrong, %d skipped; %d kernels compiled\n", graphs, bad, skipped, cpu.stats.compiled);
  for (int k = 0; k < 2; k++) dhc_pool_free(pool[k]);
  cpu_runner_close(&cpu);
  return bad > 0;
}
