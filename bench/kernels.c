/* Speed of single kernels: GFLOP/s of the contraction and convolution templates per shape,
 * one core, beside the rate of a loop of fused multiply-adds in registers. Medians of the CPU
 * time of this thread, so that other work on the machine matters less.
 *
 *   bench_kernels [NAME]      only rows whose name contains NAME
 *   bench_kernels -v A,B,C NAME   with this schedule vector
 *   bench_kernels -s KIND,A,B,C,D a row of its own, numbers as in the table at the end
 *   bench_kernels -t N NAME       beside that, the least wall time on 1 and on N threads
 *
 * BENCH_FEATURES caps the target, BENCH_TEMPLATE names the template, BENCH_PRINT=asm|llvm
 * prints the code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/cpu/cpu.h"
#include "backends/loop/tpl.h"
#include "bench/shapes.h"
#include "passes/plan/schedule.h"
#include "runtime/pool.h"

enum { MAX_RUNS = 401, BATCH = 16, PEAK_STEPS = 100000 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void die(const char *what) {
  fprintf(stderr, "bench_kernels: %s\n", what);
  exit(3);
}

/* ---- running -------------------------------------------------------------------------------- */

typedef struct Machine {
  DhcCpuTarget target;
  DhcCpuGen *gen;
  DhcCpuJit *jit;
  int n_kernels;
  dhc_kernel_fn peak_fn;
  double peak_flops;
  DhcPool *pool; /* or NULL */
} Machine;

static dhc_kernel_fn link_program(Machine *m, DhcArena *arena, const DhcLp *p, double *ms, size_t *bytes) {
  const char *name = dhc_arena_printf(arena, "k%d", m->n_kernels++);
  DhcCpuBytes object;
  dhc_kernel_fn fn;
  double t0 = now();
  dhc_status s = dhc_cpu_gen_run(m->gen, (const DhcLp *const *)&p, &name, 1, DHC_CPU_OBJECT, &object);
  if (s.code) die(s.message);
  *ms = (now() - t0) * 1e3;
  *bytes = object.n_bytes;
  const char *print = getenv("BENCH_PRINT"); /* asm or llvm */
  if (print) {
    DhcCpuBytes text;
    s = dhc_cpu_gen_run(m->gen, (const DhcLp *const *)&p, &name, 1,
                        *print == 'a' ? DHC_CPU_ASM : DHC_CPU_LLVM, &text);
    if (s.code) die(s.message);
    fwrite(text.bytes, 1, text.n_bytes, stdout);
    free(text.bytes);
  }
  s = dhc_cpu_jit_add(m->jit, object.bytes, object.n_bytes, &name, 1, &fn);
  if (s.code) die(s.message);
  free(object.bytes);
  return fn;
}

/* 24 chains of fused multiply-adds in registers */
static void link_peak(Machine *m, DhcArena *arena) {
  DhcLp *b = dhc_lp_new(arena, 1, 1);
  int lanes = m->target.facts.vector_bytes / 4, chains = m->target.facts.vector_bytes >= 64 ? 24 : 12; /* of 32 and 16 registers */
  DhcLv n = dhc_lp_dim(b, 0), y = dhc_lp_operand(b, 0, DHC_F32);
  DhcLv one = dhc_lp_splat(b, dhc_lp_load(b, y, dhc_lp_i64(b, 0), 1, 0), lanes);
  dhc_lp_tasks(b, dhc_prog_const(arena, 1));
  DhcLpVar acc[24];
  for (int i = 0; i < chains; i++) acc[i] = dhc_lp_var(b, dhc_lp_zero(b, DHC_F32, lanes));
  dhc_lp_for(b, dhc_lp_i64(b, 0), n, 1);
  for (int i = 0; i < chains; i++) dhc_lp_set(b, acc[i], dhc_lp_fma(b, one, one, dhc_lp_get(b, acc[i])));
  dhc_lp_end(b);
  for (int i = 0; i < chains; i++) dhc_lp_store(b, y, dhc_lp_i64(b, i * lanes), dhc_lp_get(b, acc[i]), 0);
  dhc_lp_end(b);
  double ms;
  size_t bytes;
  m->peak_fn = link_program(m, arena, b, &ms, &bytes);
  m->peak_flops = 2.0 * chains * lanes * (double)PEAK_STEPS;
}

/* GFLOP/s now: the clock of a shared machine comes and goes, so each row has its own. */
static double measure_peak(Machine *m) {
  _Alignas(64) float out[24 * 16] = {1e-3f};
  void *ptr[1] = {out};
  intptr_t dim[1] = {PEAK_STEPS};
  double t[15];
  for (int i = 0; i < 15; i++) {
    double t0 = now();
    m->peak_fn(ptr, dim, 0, 1, NULL);
    t[i] = now() - t0;
  }
  qsort(t, 15, sizeof *t, by_value);
  return m->peak_flops / t[7] * 1e-9;
}

/* A kernel's tasks [first, first + …) for the pool. */
typedef struct Phase {
  dhc_kernel_fn fn;
  void *const *ptr;
  const intptr_t *dim;
  char *scratch;
  int64_t first, worker_scratch;
} Phase;

static void phase_tasks(void *arg, int64_t t0, int64_t t1, int worker) {
  const Phase *p = arg;
  p->fn(p->ptr, p->dim, (intptr_t)(p->first + t0), (intptr_t)(p->first + t1), p->scratch + worker * p->worker_scratch);
}

/* Least wall milliseconds of a call on `threads` threads. */
static double wall(const dhc_exec *exec, Phase p, int64_t first, int64_t n) {
  double best = 1e9;
  for (int i = 0; i < MAX_RUNS; i++) {
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int k = 0; k < 2; k++) {
      p.first = k ? first : 0;
      int64_t count = k ? n - first : first;
      if (count > 0 && exec) exec->parallel_for(exec->ctx, count, phase_tasks, &p);
      else if (count > 0) phase_tasks(&p, 0, count, 0);
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    double ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) * 1e-6;
    if (ms < best) best = ms;
  }
  return best;
}

static void bench(Machine *m, Bench *c, const char *name, const int *v) {
  DhcSchedule schedule = {.template_name = getenv("BENCH_TEMPLATE") ? getenv("BENCH_TEMPLATE") : ""};
  if (v) memcpy(schedule.v, v, sizeof schedule.v);
  dhc_schedule_complete(&c->s, &m->target.facts, &schedule);
  DhcTplInput in = {&c->s, &schedule, &m->target.facts, &c->arena};
  const char *why = "";
  if (!dhc_spec_verify(&c->s, &c->arena, &why)) die(why);
  double t0 = now(), gen_ms;
  DhcLp *p = dhc_template_build(&in, &why);
  if (!p) die(why);
  double build_ms = (now() - t0) * 1e3;
  size_t bytes;
  dhc_kernel_fn fn = link_program(m, &c->arena, p, &gen_ms, &bytes);
  int64_t dim[64] = {0};
  bench_dims(c, dim);
  void *ptr[DHC_SPEC_MAX_OPERANDS + 1];
  for (int o = 0; o < c->s.n_operands; o++) {
    size_t n = (size_t)c->size[o] + 64;
    float *f = aligned_alloc(64, (n * 4 + 63) / 64 * 64);
    if (!f) die("out of memory");
    for (size_t i = 0; i < n; i++) f[i] = (float)(i * 7919 % 1000) * 1e-3f - 0.5f;
    ptr[o] = f;
  }
  int64_t n_tasks = bench_prog(p->n_tasks, dim), n_scratch = bench_prog(p->scratch_bytes, dim);
  int64_t worker_scratch = (n_scratch + 127) / 64 * 64;
  const dhc_exec *exec = m->pool ? dhc_pool_exec(m->pool) : NULL;
  void *scratch = aligned_alloc(64, (size_t)(worker_scratch * (exec ? exec->workers : 1)));
  if (getenv("BENCH_JUNK")) /* denormals where nothing was written: must not be read */
    for (int64_t i = 0; i < n_scratch / 4; i++) ((uint32_t *)scratch)[i] = 0x100;
  ptr[c->s.n_operands] = aligned_alloc(64, (size_t)(bench_prog(p->shared_bytes, dim) + 127) / 64 * 64);
  double t[MAX_RUNS], peak = measure_peak(m);
  int runs = 0;
  for (double begin = now(); runs < MAX_RUNS && (runs < 5 || now() - begin < 0.25); runs++) {
    t0 = now();
    fn(ptr, (const intptr_t *)dim, 0, n_tasks, scratch); /* the first phase's tasks come first */
    t[runs] = now() - t0;
  }
  peak = (peak + measure_peak(m)) / 2;
  qsort(t, (size_t)runs, sizeof *t, by_value);
  double best = c->flops / t[0] * 1e-9, median = c->flops / t[runs / 2] * 1e-9;
  printf(
      "%-26s %8.3f ms %6.1f GF/s of %5.1f: %5.1f %% (best %5.1f)  tasks %4lld scratch %5.0f KB code %4.1f KB "
      "in %5.1f ms\n",
      name, t[runs / 2] * 1e3, median, peak, 100 * median / peak, best, (long long)n_tasks,
      (double)n_scratch / 1024, (double)bytes / 1024, build_ms + gen_ms);
  if (exec) {
    Phase phase = {fn, ptr, (const intptr_t *)dim, scratch, 0, worker_scratch};
    int64_t first = bench_prog(p->first_tasks, dim);
    double one = wall(NULL, phase, first, n_tasks), many = wall(exec, phase, first, n_tasks);
    printf("%-26s wall: 1 thread %.3f ms, %d threads %.3f ms\n", "", one, exec->workers, many);
  }
  for (int o = 0; o <= c->s.n_operands; o++) free(ptr[o]);
  free(scratch);
  dhc_arena_fini(&c->arena);
}

static const BenchRow rows[] = {
    {"dot nt 16 64 128", 0, 0, 16, 64, 128},       {"dot nt 16 128 256", 0, 0, 16, 128, 256},
    {"dot nt 1 1024 1024", 0, 0, 1, 1024, 1024},   {"dot nt 6 1024 1024", 0, 0, 6, 1024, 1024},
    {"dot nt 16 1024 1024", 0, 0, 16, 1024, 1024}, {"dot nt 64 64 64", 0, 0, 64, 64, 64},
    {"dot nt 128 128 128", 0, 0, 128, 128, 128},   {"dot nt 256 256 256", 0, 0, 256, 256, 256},
    {"dot nt 512 512 512", 0, 0, 512, 512, 512},   {"dot nt 1000 1000 1000", 0, 0, 1000, 1000, 1000},
    {"dot nn 16 128 256", 0, 2, 16, 128, 256},     {"dot nn 128 128 128", 0, 2, 128, 128, 128},
    {"dot nn 256 256 256", 0, 2, 256, 256, 256},   {"dot nn 512 512 512", 0, 2, 512, 512, 512},
    {"dot tn 64 128 16", 0, 3, 64, 128, 16},       {"dot tn 128 128 128", 0, 3, 128, 128, 128},
    {"dot tn 256 256 256", 0, 3, 256, 256, 256},   {"dot tn 512 512 512", 0, 3, 512, 512, 512},
    {"conv+pool 1>64 28", 3, BATCH, 1, 64, 28},    {"conv+pool 64>128 14", 3, BATCH, 64, 128, 14},
    {"conv 128>256 7", 1, BATCH, 128, 256, 7},     {"conv 3>64 32", 1, BATCH, 3, 64, 32},
    {"conv 64>128 16", 1, BATCH, 64, 128, 16},     {"conv 128>256 8", 1, BATCH, 128, 256, 8},
    {"conv 16>16 28", 1, BATCH, 16, 16, 28},       {"conv 32>32 32", 1, BATCH, 32, 32, 32},
    {"conv 64>64 64", 1, 4, 64, 64, 64},           {"conv 64>128 14 batch 1", 1, 1, 64, 128, 14},
    {"conv 128>256 7 batch 1", 1, 1, 128, 256, 7}, {"dx 64<128 14", 2, BATCH, 128, 64, 14},
    {"dx 128<256 7", 2, BATCH, 256, 128, 7},       {"dw 1>64 28", 4, BATCH, 1, 64, 28},
    {"dw 64>128 14", 4, BATCH, 64, 128, 14},       {"dw 128>256 7", 4, BATCH, 128, 256, 7},
    {"dw 16>16 28", 4, BATCH, 16, 16, 28},         {"dw 3>64 32", 4, BATCH, 3, 64, 32},
    {"dw 64>128 16", 4, BATCH, 64, 128, 16},       {"dw 128>256 8", 4, BATCH, 128, 256, 8},
    {"sum 507402", 5, 0, 1, 507402, 0},            {"sum 32055562", 5, 0, 1, 32055562, 0},
    {"sum 10 columns", 5, 1, 10, 200000, 0}};

static void bench_row(Machine *m, const BenchRow *r, const int *v) {
  Bench *c = malloc(sizeof *c);
  if (!c) die("out of memory");
  bench_shape(c, r->kind, (int64_t[]){r->a, r->b, r->c, r->d});
  bench(m, c, r->name, v);
  free(c);
}

int main(int argc, char **argv) {
  int v[8] = {0}, own[5] = {0}, n_own = 0, threads = 1;
  const char *only = NULL;
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "-v") && i + 1 < argc)
      bench_numbers(argv[++i], v, 8);
    else if (!strcmp(argv[i], "-s") && i + 1 < argc)
      n_own = bench_numbers(argv[++i], own, 5);
    else if (!strcmp(argv[i], "-t") && i + 1 < argc)
      threads = (int)strtol(argv[++i], NULL, 10);
    else
      only = argv[i];
  }
  DhcArena arena;
  dhc_arena_init(&arena);
  Machine m = {0};
  dhc_status s = dhc_cpu_target(&arena, NULL, getenv("BENCH_FEATURES"), &m.target);
  if (!s.code) s = dhc_cpu_gen_open(&m.target, &m.gen);
  if (!s.code) s = dhc_cpu_jit_open(&m.jit);
  if (!s.code && threads > 1) s = dhc_pool_new(threads, &m.pool);
  if (s.code) die(s.message);
  link_peak(&m, &arena);
  printf("%s: median time, rate of the peak measured beside it\n", m.target.cpu);
  if (n_own == 5) bench_row(&m, &(BenchRow){"given", own[0], own[1], own[2], own[3], own[4]}, v);
  for (size_t i = 0; i < sizeof rows / sizeof *rows && n_own != 5; i++)
    if (!only || strstr(rows[i].name, only)) bench_row(&m, &rows[i], v);
  dhc_pool_free(m.pool);
  dhc_cpu_jit_close(m.jit);
  dhc_cpu_gen_close(m.gen);
  dhc_arena_fini(&arena);
  return 0;
}
