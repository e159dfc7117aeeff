/* Attention and its derivative with chains as one kernel and with every op on its own: equal
 * bytes at any number of threads, and near the float64 interpreter; what lies in memory is
 * linear in the length.
 *
 *   test_plan_chain MODELS_FOLDER ATTEND_MODEL */
#include <math.h>
#include <stdlib.h>

#include "passes/passes.h"
#include "tests/ops/op_cases.h"
#include "tests/plan/plan_cpu.h"
#include "tests/plan/plan_models.h"

enum { N_SETS = 6, MAX_THREADS = 8 };

typedef enum Values {
  USUAL,
  MINUS_ZERO, /* windows of 9 keys; cotangents so small that sums of them become -0, then positive */
  INFINITE    /* windows; some values, seen by few, are infinite */
} Values;

typedef struct Shape {
  int64_t b, l, m;
  Values values;
} Shape;

typedef struct Case {
  const char *what;
  const char *set[N_SETS]; /* heads, rows, size, value, causal, ranges */
} Case;

typedef struct Run {
  const char *root, *model;
  CpuRunner *cpu;
  DhcPool *pool[MAX_THREADS];
  int n_runs;
} Run;

static bool make(const Run *r, const Case *c, const char *mode, const char *passes, Made *x) {
  static const char *const name[N_SETS] = {"heads", "rows", "size", "value", "causal", "ranges"};
  DhcSetting set[N_SETS];
  for (int i = 0; i < N_SETS; i++) set[i] = (DhcSetting){name[i], c->set[i]};
  const char *entry = strcmp(mode, "fwd") ? "loss" : "forward";
  bool ok = dhc_test_layer(x, r->root, r->model, "Attend", entry, mode, set, N_SETS) && (!passes || dhc_test_passes(x, passes));
  if (!ok) dhc_diags_print(&x->diags, stderr, false);
  return ok;
}

static int n_chains(const DhcPlanned *p) {
  int n = 0;
  for (int k = 0; k < p->plan.n_kernels; k++) n += p->specs[k]->kind == DHC_KIND_CHAIN;
  return n;
}

static void special(DhcArray *a, int64_t e, const char *name, const Shape *s) {
  int64_t l = e % s->l, row = e / a->dim[a->rank - 1] % s->l; /* of [B, L]; of [.., L, value] */
  if (!strcmp(name, "first")) a->i[e] = l < 8 ? 0 : l - 8;
  if (!strcmp(name, "end")) a->i[e] = l + 1;
  if (!strcmp(name, "q")) a->f[e] *= 0.1;
  if (!strcmp(name, "w") && s->values == MINUS_ZERO) a->f[e] = row < s->l / 2 ? -0x1p-149 : 0x1p-100;
  if (!strcmp(name, "v") && s->values == INFINITE && e % 61 == 7) a->f[e] = INFINITY;
}

/* Arguments by the shape; every query's range is drawn over the keys and may be empty. */
static const DhcArray **draw(Made *x, const Shape *s, uint64_t seed) {
  const DhcArray **args = DHC_NEW_N(&x->arena, const DhcArray *, x->f->params.n + 1);
  for (int i = 0; i < x->f->params.n; i++) {
    const DhcType *t = &x->f->params.at[i]->type;
    const char *name = x->f->param_info.at[i].name;
    const int64_t extents[3] = {s->b, s->l, s->m};
    int64_t dim[DHC_MAX_RANK];
    uint64_t state = seed + (uint64_t)i;
    for (int d = 0; d < t->rank; d++)
      if (!dhc_dim_eval(t->dim[d], x->f->symbols.n, x->f->symbols.at, extents, &dim[d])) return NULL;
    DhcArray *a = dhc_array_new(&x->arena, t->dtype, t->rank, dim);
    for (int64_t e = 0; e < a->n; e++) {
      if (a->f) a->f[e] = dhc_case_uniform(&state, -1.5, 1.5);
      else a->i[e] = (int64_t)(dhc_case_bits(&state) % (uint64_t)(strcmp(name, "end") ? s->m / 2 + 1 : s->m + 1));
      if (s->values != USUAL) special(a, e, name, s);
    }
    args[i] = a;
  }
  return args;
}

static bool near_interpreter(Made *plain, const DhcArray *const *args, const DhcPlanned *p, const PlanImage *m, const char *what) {
  DhcArray *want[64];
  if (plain->f->results.n > 64 || !dhc_interp_run(&plain->arena, &plain->diags, plain->f, args, want, NULL)) return false;
  double largest = 0; /* a gradient that cancels is measured by the others */
  for (int r = 0; r < p->n_results; r++) {
    double norm = 0;
    for (int64_t i = 0; want[r]->f && i < want[r]->n; i++) norm += want[r]->f[i] * want[r]->f[i];
    if (sqrt(norm) > largest) largest = sqrt(norm);
  }
  for (int r = 0; r < p->n_results; r++) {
    if (p->results[r].buffer < 0 || !want[r]->f) continue;
    const float *got = (const float *)(const void *)plan_cpu_at(p, m, p->results[r].buffer);
    double norm = 0, off = 0;
    for (int64_t i = 0; i < want[r]->n; i++) {
      norm += want[r]->f[i] * want[r]->f[i];
      off += (want[r]->f[i] - (double)got[i]) * (want[r]->f[i] - (double)got[i]);
    }
    if (!(sqrt(off) <= 1e-5 * sqrt(norm) + 1e-6 * largest)) {
      fprintf(stderr, "%s: result %d is off by %g of %g\n", what, r, sqrt(off), sqrt(norm));
      return false;
    }
  }
  return true;
}

/* One shape: apart on one thread, as chains on several. */
static bool check_shape(Run *r, Made *apart, const DhcPlanned *p, Made *chain, const DhcPlanned *q, Made *graph, const Shape *s,
                        const char *what) {
  int64_t symbols[64];
  const DhcArray **args = draw(chain, s, (uint64_t)(s->b * 100000 + s->l * 1000 + s->m));
  PlanImage m = {{0}, NULL};
  bool ok = args && dhc_test_symbols(chain->f, args, symbols) && plan_cpu_run(r->cpu, p, args, symbols, r->pool[0], &apart->arena, &m);
  int first = r->n_runs++ % 7;
  for (int t = 0; ok && t < MAX_THREADS; t++) {
    if (t && t != 1 + first) continue; /* 1 thread, and one number of 2 … 8, in turns */
    PlanImage n = {{0}, NULL};
    ok = plan_cpu_run(r->cpu, q, args, symbols, r->pool[t], &chain->arena, &n);
    for (int i = 0; ok && i < p->n_results; i++)
      if (!plan_cpu_same(p, &m, p->results[i].buffer, q, &n, q->results[i].buffer)) {
        fprintf(stderr, "%s: result %d differs at %d threads\n", what, i, t + 1);
        ok = false;
      }
    if (ok && t == 0 && s->values == USUAL) ok = near_interpreter(graph, args, q, &n, what);
    plan_cpu_forget(&n);
  }
  plan_cpu_forget(&m);
  if (!ok) fprintf(stderr, "%s: wrong at B=%lld L=%lld M=%lld\n", what, (long long)s->b, (long long)s->l, (long long)s->m);
  return ok;
}

static int check_case(Run *r, const Case *c, const char *mode, int chains) {
  static const Shape shapes[] = {{1, 1, 2, USUAL}, {3, 1, 17, USUAL}, {1, 2, 1, USUAL}, {1, 2, 2, USUAL}, {3, 15, 15, USUAL}, {1, 16, 16, USUAL}, {2, 16, 33, USUAL},
                                 {1, 17, 5, USUAL}, {1, 65, 65, USUAL}, {3, 65, 17, USUAL}, {1, 13, 130, USUAL}, {1, 200, 200, USUAL}, {1, 130, 65, USUAL},
                                 {1, 300, 300, MINUS_ZERO}, {1, 300, 300, INFINITE}};
  Made apart, chain, graph;
  char what[128];
  snprintf(what, sizeof what, "%s %s", c->what, mode);
  bool ok = make(r, c, mode, "lower,ready,fuse", &apart), ranges = !strcmp(c->set[5], "true");
  ok = make(r, c, mode, "fusion", &chain) && ok;
  ok = make(r, c, mode, NULL, &graph) && ok;
  DhcPlanned *p = ok ? dhc_test_plan(&apart.f, DHC_PIPELINE_FUSED, false) : NULL;
  DhcPlanned *q = ok ? dhc_test_plan(&chain.f, DHC_PIPELINE_FUSED, false) : NULL;
  ok = p && q;
  if (ok && (n_chains(p) != 0 || n_chains(q) != chains)) {
    fprintf(stderr, "%s: %d and %d chains\n", what, n_chains(p), n_chains(q));
    ok = false;
  }
  for (size_t k = 0; ok && k < sizeof shapes / sizeof *shapes; k++) {
    if (!ranges && shapes[k].m == 1) continue; /* one key: another version */
    ok = check_shape(r, &apart, p, &chain, q, &graph, &shapes[k], what);
  }
  if (!ok) fprintf(stderr, "%s: FAILED\n", what);
  dhc_arena_fini(&apart.arena);
  dhc_arena_fini(&chain.arena);
  dhc_arena_fini(&graph.arena);
  return !ok;
}

static double value_of(Made *x, DhcFunc *f, const DhcArray *const *args, int result, const DhcArray *weight) {
  DhcArray *out[64];
  double sum = 0;
  if (f->results.n > 64 || !dhc_interp_run(&x->arena, &x->diags, f, args, out, NULL)) return NAN;
  for (int64_t i = 0; i < weight->n; i++) sum += out[result]->f[i] * weight->f[i];
  return sum;
}

static int named(const DhcFunc *f, const char *name) {
  for (int i = 0; i < f->results.n; i++)
    if (!strcmp(f->result_names.at[i], name)) return i;
  return -1;
}

static DhcArray *copy_of(Made *x, const DhcArray *a) {
  DhcArray *c = dhc_array_new(&x->arena, a->dtype, a->rank, a->dim);
  memcpy(c->f, a->f, sizeof *a->f * (size_t)a->n);
  return c;
}

/* The derivative of a gradient, by k along a random direction: what autodiff makes of the
 * composite's own derivative, against a difference quotient in float64. */
static int check_second(Run *r) {
  static const Case c = {"second", {"2", "2", "4", "4", "false", "true"}};
  static const Shape s = {2, 5, 7, USUAL};
  static const char *const of[] = {"grad.q"};
  Made x;
  DhcArena scratch;
  DhcPassCtx px;
  dhc_arena_init(&scratch);
  bool ok = make(r, &c, "grad", NULL, &x);
  if (ok) dhc_pass_ctx_init(&px, x.m, &scratch);
  DhcGradRequest rq = {.name = "second", .roles = 1u << DHC_ROLE_INPUT, .cotangents = true, .results = of, .n_results = 1};
  DhcFunc *first = x.f, *second = ok ? dhc_grad_entry(&px, first, &rq) : NULL;
  x.f = second;
  const DhcArray **args = second ? draw(&x, &s, 5) : NULL;
  int out = second ? named(first, "grad.q") : -1, dk = second ? named(second, "grad.grad.k") : -1;
  double slope = NAN, want = NAN;
  if (args && out >= 0) {
    const DhcArray *weight = args[second->params.n - 1], *k = args[1];
    DhcArray *direction = copy_of(&x, k), *moved = copy_of(&x, k);
    uint64_t state = 11;
    for (int64_t i = 0; i < k->n; i++) direction->f[i] = dhc_case_uniform(&state, -1, 1);
    if (dk >= 0) slope = value_of(&x, second, args, dk, direction);
    for (int side = -1; side <= 1; side += 2) {
      for (int64_t i = 0; i < k->n; i++) moved->f[i] = k->f[i] + side * 1e-6 * direction->f[i];
      args[1] = moved;
      double v = value_of(&x, first, args, out, weight);
      want = side < 0 ? -v : (want + v) / 2e-6;
    }
  }
  if (x.diags.all.n) dhc_diags_print(&x.diags, stderr, false);
  dhc_arena_fini(&scratch);
  dhc_arena_fini(&x.arena);
  printf("second derivative: %g, difference quotient %g\n", slope, want);
  return !(fabs(slope - want) <= 1e-6 * fabs(want) + 1e-8);
}

static int is_linear(Made *x, const char *what, bool want) {
  DhcPlanned *p = dhc_test_plan(&x->f, DHC_PIPELINE_FUSED, false);
  int64_t bytes[2] = {0, 0}, largest = 0;
  for (int k = 0; p && k < 2; k++) {
    int64_t length = k ? 4096 : 1024, symbols[3] = {1, length, length};
    DhcBound *b;
    if (!dhc_test_bind(p, symbols, &x->arena, &b, stderr)) return 1;
    bytes[k] = dhc_bound_segment_bytes(b, DHC_SEGMENT_WORK);
    for (int i = 0; i < p->plan.n_buffers; i++)
      if (p->plan.buffers[i].segment == DHC_SEGMENT_WORK && dhc_bound_buffer_bytes(b, i) > largest)
        largest = dhc_bound_buffer_bytes(b, i);
    dhc_bound_free(b);
  }
  printf("%s: work %lld bytes at 4096, %lld at 1024; largest buffer %lld\n", what, (long long)bytes[1], (long long)bytes[0],
         (long long)largest);
  bool got = p && bytes[1] <= 4 * bytes[0] + 4096 && largest < 4096LL * 4096 * 4;
  if (got != want) fprintf(stderr, "%s: memory is %slinear in the length\n", what, got ? "" : "not ");
  return got != want;
}

/* Work memory of 8 heads: from one length to four times it at most four times and a bit, and no
 * buffer of length x length. */
static int check_memory(Run *r) {
  static const Case c = {"memory", {"8", "1", "64", "64", "true", "false"}};
  static const char *const mode[] = {"fwd", "grad", "fwd"};
  int bad = 0;
  for (int k = 0; k < 3; k++) {
    Made x;
    bad += !make(r, &c, mode[k], k < 2 ? "fusion" : "lower,ready,fuse", &x) || is_linear(&x, k < 2 ? mode[k] : "apart", k < 2);
    dhc_arena_fini(&x.arena);
  }
  Made x;
  bool ok = dhc_test_layer(&x, r->root, r->model, "Layer", "loss", "train", NULL, 0) && dhc_test_passes(&x, "fusion");
  dhc_diags_print(&x.diags, stderr, false);
  bad += !ok || is_linear(&x, "training step", true);
  dhc_arena_fini(&x.arena);
  return bad;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  static const Case cases[] = {
      {"all", {"2", "1", "8", "8", "false", "false"}},       {"causal", {"2", "2", "8", "8", "true", "false"}},
      {"ranges", {"3", "1", "10", "4", "false", "true"}},    {"ranges, groups", {"1", "4", "4", "10", "false", "true"}},
      {"all, wide", {"1", "2", "64", "64", "false", "false"}}, {"causal, wide", {"2", "1", "64", "48", "true", "false"}},
  };
  CpuRunner cpu;
  Run r = {.root = argv[1], .model = argv[2], .cpu = &cpu};
  int bad = 0;
  if (!cpu_runner_open(&cpu, NULL)) return 1;
  for (int t = 0; t < MAX_THREADS; t++)
    if (dhc_pool_new(t + 1, &r.pool[t]).code != DHC_OK) return 1;
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
    bad += check_case(&r, &cases[k], "fwd", 1) + check_case(&r, &cases[k], "grad", 3);
  bad += check_memory(&r) + check_second(&r);
  printf("%d wrong; %d kernels compiled\n", bad, cpu.stats.compiled);
  for (int t = 0; t < MAX_THREADS; t++) dhc_pool_free(r.pool[t]);
  cpu_runner_close(&cpu);
  return bad > 0;
}
