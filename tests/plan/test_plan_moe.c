/* Mixtures of experts, forward and backward, at sizes where something is odd: one expert, all
 * chosen, experts without a token, one token, widths that no tile fits. Outputs and gradients
 * are the interpreter's within the bounds of a sum of products; the bits are the same at any
 * number of threads, and where every op is a kernel of its own, with nothing fused.
 *
 *   test_plan_moe MODELS_FOLDER */
#include <math.h>
#include <stdlib.h>

#include "passes/passes.h"
#include "tests/plan/plan_cpu.h"
#include "tests/plan/plan_exec.h"
#include "tests/plan/plan_models.h"

typedef struct Case {
  int experts, k, d, d_ff, tokens;
} Case;

static const Case cases[] = {
    {16, 3, 17, 33, 5}, {1, 1, 8, 7, 9},    {3, 3, 16, 5, 130},  {16, 3, 16, 32, 1}, {8, 2, 19, 13, 2},
    {4, 4, 5, 9, 7},    {8, 2, 64, 96, 64}, {2, 1, 33, 65, 31}, {64, 2, 3, 1, 11},  {5, 1, 1, 4, 40},
};

static bool build(Made *x, const char *root, const Case *c) {
  static char text[4][16];
  const int value[4] = {c->experts, c->k, c->d, c->d_ff};
  static const char *const key[4] = {"num_experts", "top_k", "d_model", "d_ff"};
  DhcSetting sets[4];
  for (int i = 0; i < 4; i++) {
    snprintf(text[i], sizeof text[i], "%d", value[i]);
    sets[i] = (DhcSetting){key[i], text[i]};
  }
  return dhc_test_layer(x, root, "layers/moe", "MoE", "forward", "grad", sets, 4);
}

/* Every op but views becomes a function of its own, which fusion does not look across. */
static void take_apart(Made *x) {
  DhcFunc *f = x->f;
  for (DhcNode *n = f->first, *next; n; n = next) {
    next = n->next;
    if (n->op == DHC_OP_PARAM || n->op == DHC_OP_CALL || dhc_op_info(n->op)->cls == DHC_CLASS_VIEW) continue;
    DhcFunc *g = dhc_func_new(x->m, dhc_arena_printf(&x->arena, "op%d", n->id), DHC_FUNC_UNIT, n->span);
    for (int i = 0; i < f->symbols.n; i++) DHC_PUSH(x->m->arena, &g->symbols, f->symbols.at[i]);
    g->facts = f->facts;
    g->fact_messages = f->fact_messages;
    DhcValue **args = DHC_NEW_N(&x->arena, DhcValue *, n->n_args + 1);
    for (int i = 0; i < n->n_args; i++) {
      DhcParamInfo info = {.name = "x", .role = DHC_ROLE_PLAIN, .decl = -1};
      args[i] = dhc_func_param(g, &n->args[i]->type, info, n->span);
    }
    DhcBuilder inside = {.f = g, .span = n->span};
    DhcNode *copy = dhc_node_copy(&inside, n, args);
    for (int i = 0; i < n->n_results; i++) dhc_func_result(g, copy->results[i], NULL);
    const DhcDim **dims = DHC_NEW_N(&x->arena, const DhcDim *, f->symbols.n + 1);
    for (int i = 0; i < f->symbols.n; i++) dims[i] = dhc_dim_symbol(x->m->dims, f->symbols.at[i]);
    DhcAttr attrs[2] = {dhc_attr_func(g), dhc_attr_dims(x->m, dims, f->symbols.n)};
    DhcBuilder b = {.f = f, .before = n, .span = n->span};
    DhcNode *call = dhc_build(&b, DHC_OP_CALL, n->args, n->n_args, attrs, 2);
    for (int i = 0; i < n->n_results; i++) dhc_replace_uses(n->results[i], call->results[i]);
    dhc_node_remove(n);
  }
  const char *name = f->name;
  dhc_module_sort(x->m);
  x->f = dhc_module_func(x->m, name);
}

static DhcArray **draw_all(Made *x, int tokens) {
  DhcArray **args = DHC_NEW_N(&x->arena, DhcArray *, x->f->params.n + 1);
  const int64_t extents[2] = {1, tokens}; /* of the run of leading dims */
  uint64_t state = 7;
  for (int i = 0; i < x->f->params.n; i++)
    if (!(args[i] = dhc_test_draw(x, i, &state, extents))) return NULL;
  return args;
}

/* Results as bytes, of a run at some number of threads. */
static unsigned char **run(Made *x, CpuRunner *cpu, DhcArray *const *args, DhcPool *pool, int64_t *bytes) {
  int64_t symbols[64];
  PlanImage m = {0};
  const DhcArray *const *in = (const DhcArray *const *)args;
  DhcPlanned *p = dhc_test_plan(&x->f, DHC_PIPELINE_FUSED, false);
  bool ok = p && dhc_test_symbols(x->f, in, symbols) && plan_cpu_run(cpu, p, in, symbols, pool, &x->arena, &m);
  unsigned char **out = DHC_NEW_N(&x->arena, unsigned char *, x->f->results.n + 1);
  for (int r = 0; ok && r < x->f->results.n; r++) {
    int k = p->results[r].buffer;
    bytes[r] = dhc_bound_buffer_bytes(m.bound, k);
    out[r] = dhc_arena_dup(&x->arena, m.all[p->plan.buffers[k].segment] + dhc_bound_buffer_offset(m.bound, k), (size_t)bytes[r]);
  }
  plan_cpu_forget(&m);
  return ok ? out : NULL;
}

static bool same(const Case *c, const Made *x, unsigned char *const *a, unsigned char *const *b, const int64_t *bytes, const char *what) {
  bool ok = a && b;
  for (int r = 0; ok && r < x->f->results.n; r++)
    if (memcmp(a[r], b[r], (size_t)bytes[r])) {
      fprintf(stderr, "%s has other bits %s\n", x->f->result_names.at[r], what);
      ok = false;
    }
  if (!ok) fprintf(stderr, "%d experts, top %d, %d -> %d, %d tokens: %s\n", c->experts, c->k, c->d, c->d_ff, c->tokens, what);
  return ok;
}

/* ||a - b|| <= 1e-5 ||b||; of a gradient that is small beside the largest, against that. */
static bool near(const Case *c, const Made *x, unsigned char *const *got, DhcArray *const *want) {
  double largest = 0;
  for (int r = 0; r < x->f->results.n; r++) {
    double s = 0;
    for (int64_t i = 0; i < want[r]->n; i++) s += want[r]->f[i] * want[r]->f[i];
    if (sqrt(s) > largest) largest = sqrt(s);
  }
  for (int r = 0; r < x->f->results.n; r++) {
    double diff = 0, ref = 0;
    for (int64_t i = 0; i < want[r]->n; i++) {
      float g;
      memcpy(&g, got[r] + 4 * i, 4);
      diff += (g - want[r]->f[i]) * (g - want[r]->f[i]);
      ref += want[r]->f[i] * want[r]->f[i];
    }
    if (sqrt(diff) <= 1e-5 * fmax(sqrt(ref), 1e-3 * largest)) continue;
    fprintf(stderr, "%d experts, top %d, %d tokens: %s is off by %g of %g\n", c->experts, c->k, c->tokens, x->f->result_names.at[r],
            sqrt(diff), sqrt(ref));
    return false;
  }
  return true;
}

static bool check(const char *root, const Case *c, CpuRunner *cpu, DhcPool *const *pool) {
  Made x, apart;
  int64_t bytes[16];
  bool ok = build(&x, root, c) && build(&apart, root, c);
  DhcArray **args = ok ? draw_all(&x, c->tokens) : NULL, *want[16];
  ok = args && x.f->results.n <= 16 &&
       dhc_interp_run(&x.arena, &x.diags, x.f, (const DhcArray *const *)args, want, NULL);
  if (ok) take_apart(&apart);
  ok = ok && dhc_test_passes(&x, "lower,ready,fuse") && dhc_test_passes(&apart, "lower,ready,fuse");
  unsigned char **one = ok ? run(&x, cpu, args, pool[0], bytes) : NULL;
  ok = one && near(c, &x, one, want);
  for (int k = 1; ok && k < 3; k++) ok = same(c, &x, one, run(&x, cpu, args, pool[k], bytes), bytes, "at another number of threads");
  ok = ok && same(c, &x, one, run(&apart, cpu, args, pool[1], bytes), bytes, "where nothing is fused");
  dhc_diags_print(&x.diags, stderr, false);
  dhc_diags_print(&apart.diags, stderr, false);
  dhc_arena_fini(&x.arena);
  dhc_arena_fini(&apart.arena);
  return ok;
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  CpuRunner cpu;
  DhcPool *pool[3];
  int bad = 0, n = (int)(sizeof cases / sizeof cases[0]);
  if (!cpu_runner_open(&cpu, NULL)) return 1;
  for (int k = 0; k < 3; k++)
    if (dhc_pool_new(k + 1, &pool[k]).code != DHC_OK) return 1;
  for (int i = 0; i < n; i++) bad += !check(argv[1], &cases[i], &cpu, pool);
  printf("%d cases, %d wrong; %d kernels compiled\n", n, bad, cpu.stats.compiled);
  for (int k = 0; k < 3; k++) dhc_pool_free(pool[k]);
  cpu_runner_close(&cpu);
  return bad > 0;
}
