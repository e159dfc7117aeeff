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
#include "passes/plan/schedule.h"
#include "runtime/pool.h"

enum { MAX_RUNS = 401, BATCH = 16, PEAK_STEPS = 100000 };

typedef struct Bench {
  DhcArena arena;
  DhcSpec s;
  DhcSpecNode node[16];
  int64_t extent[DHC_SPEC_MAX_AXES];
  int64_t stride[DHC_SPEC_MAX_OPERANDS][DHC_SPEC_MAX_TERMS];
  int64_t offset[DHC_SPEC_MAX_OPERANDS], limit[DHC_SPEC_MAX_OPERANDS][DHC_SPEC_MAX_TERMS];
  int64_t size[DHC_SPEC_MAX_OPERANDS];
  double flops;
} Bench;

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

/* ---- specs ----------------------------------------------------------------------------- */

static int axis(Bench *c, DhcAxisRole role, int64_t extent, bool constant) {
  c->s.axis[c->s.n_axes] = (DhcSpecAxis){role, constant ? extent : 0};
  c->extent[c->s.n_axes] = extent;
  return c->s.n_axes++;
}

static int operand(Bench *c, int stored) {
  c->s.operand[c->s.n_operands] = (DhcOperand){.dtype = DHC_F32, .out = stored >= 0, .stored = stored};
  return c->s.n_operands++;
}

static void plain(Bench *c, int o, int a, int64_t stride) {
  DhcOperand *p = &c->s.operand[o];
  c->stride[o][p->n_terms] = stride;
  p->term[p->n_terms++] =
      (DhcTerm){.n_axes = 1, .axis = {a}, .coef = {1}, .div = 1, .index = -1, .unit = stride == 1};
  c->size[o] += (c->extent[a] - 1) * stride;
}

/* index = cx * a + ct * b + offset, in [0, limit) */
static void guarded(Bench *c, int o, int n, const int *a, const int64_t *coef, int64_t stride, int64_t offset,
                    int64_t limit) {
  DhcOperand *p = &c->s.operand[o];
  int t = p->n_terms++;
  p->term[t] = (DhcTerm){.n_axes = n, .div = 1, .index = -1, .guarded = true, .unit = stride == 1};
  for (int i = 0; i < n; i++) p->term[t].axis[i] = a[i], p->term[t].coef[i] = coef[i];
  c->stride[o][t] = stride;
  c->offset[o] = offset;
  c->limit[o][t] = limit;
  c->size[o] += (limit - 1) * stride;
}

static int node(Bench *c, DhcSpecNode n) {
  c->node[c->s.n_nodes] = n;
  return c->s.n_nodes++;
}
static int load(Bench *c, int o) {
  return node(c, (DhcSpecNode){.kind = DHC_SN_LOAD, .dtype = DHC_F32, .a = {-1, -1, -1, -1}, .operand = o});
}
static int fold(Bench *c, DhcOp op, dhc_dtype t, uint32_t axes, int x, int y) {
  return node(c, (DhcSpecNode){.kind = DHC_SN_FOLD, .op = op, .dtype = t, .a = {x, y, -1, -1}, .axes = axes});
}

static void start(Bench *c, DhcKind kind) {
  memset(c, 0, sizeof *c);
  dhc_arena_init(&c->arena);
  c->s.kind = kind;
  c->s.node = c->node;
}

/* ---- shapes ------------------------------------------------------------------------------ */

/* form: bit 0 A is [k, m], bit 1 B is [k, n] (else [n, k], as a linear layer's weight) */
static void dot(Bench *c, int form, int64_t m, int64_t n, int64_t k) {
  start(c, DHC_KIND_DOT);
  int i = axis(c, DHC_AXIS_PAR, m, false), j = axis(c, DHC_AXIS_PAR, n, false),
      r = axis(c, DHC_AXIS_RED, k, false);
  int a = operand(c, -1), b = operand(c, -1);
  plain(c, a, i, form & 1 ? 1 : k);
  plain(c, a, r, form & 1 ? m : 1);
  plain(c, b, j, form & 2 ? 1 : k);
  plain(c, b, r, form & 2 ? n : 1);
  int y = operand(c, fold(c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << r, load(c, a), load(c, b)));
  plain(c, y, i, n);
  plain(c, y, j, 1);
  c->flops = 2.0 * (double)(m * n * k);
}

/* 3x3, pad 1; pool: 2x2 maxima with argmax */
static void conv(Bench *c, bool back, bool pool, int64_t n_images, int64_t channels, int64_t outs,
                 int64_t h) {
  start(c, DHC_KIND_CONV);
  int64_t step = pool ? 2 : 1, out = h / step;
  int n = axis(c, DHC_AXIS_PAR, n_images, false), o = axis(c, DHC_AXIS_PAR, outs, false);
  int y = axis(c, DHC_AXIS_PAR, out, false), x = axis(c, DHC_AXIS_PAR, out, false);
  int wy = pool ? axis(c, DHC_AXIS_RED, 2, true) : -1, wx = pool ? axis(c, DHC_AXIS_RED, 2, true) : -1;
  int ci = axis(c, DHC_AXIS_RED, channels, false), ky = axis(c, DHC_AXIS_RED, 3, true),
      kx = axis(c, DHC_AXIS_RED, 3, true);
  int ox = operand(c, -1), ow = operand(c, -1);
  plain(c, ox, n, channels * h * h);
  plain(c, ox, ci, h * h);
  int64_t tap = back ? -1 : 1, offset = back ? 1 : -1;
  if (pool) {
    guarded(c, ox, 3, (int[]){y, wy, ky}, (int64_t[]){2, 1, tap}, h, offset, h);
    guarded(c, ox, 3, (int[]){x, wx, kx}, (int64_t[]){2, 1, tap}, 1, offset, h);
  } else {
    guarded(c, ox, 2, (int[]){y, ky}, (int64_t[]){1, tap}, h, offset, h);
    guarded(c, ox, 2, (int[]){x, kx}, (int64_t[]){1, tap}, 1, offset, h);
  }
  plain(c, ow, o, back ? 9 : channels * 9);
  plain(c, ow, ci, back ? outs * 9 : 9);
  plain(c, ow, ky, 3);
  plain(c, ow, kx, 1);
  int d = fold(c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << ci | 1u << ky | 1u << kx, load(c, ox), load(c, ow));
  uint32_t window = pool ? 1u << wy | 1u << wx : 0;
  int stored[2] = {d, -1};
  if (pool) {
    stored[0] = fold(c, DHC_OP_REDUCE_MAX, DHC_F32, window, d, -1);
    stored[1] = fold(c, DHC_OP_ARGMAX, DHC_I32, window, d, -1);
  }
  for (int i = 0; i < 2 && stored[i] >= 0; i++) {
    int q = operand(c, stored[i]);
    c->s.operand[q].dtype = i ? DHC_I32 : DHC_F32;
    plain(c, q, n, outs * out * out);
    plain(c, q, o, out * out);
    plain(c, q, y, out);
    plain(c, q, x, 1);
  }
  c->flops = 18.0 * (double)(n_images * channels * outs * out * out * step * step);
}

static void conv_dw(Bench *c, int64_t n_images, int64_t channels, int64_t outs, int64_t h) {
  start(c, DHC_KIND_CONV_DW);
  int o = axis(c, DHC_AXIS_PAR, outs, false), ci = axis(c, DHC_AXIS_PAR, channels, false);
  int ky = axis(c, DHC_AXIS_PAR, 3, true), kx = axis(c, DHC_AXIS_PAR, 3, true);
  int n = axis(c, DHC_AXIS_RED, n_images, false), y = axis(c, DHC_AXIS_RED, h, false),
      x = axis(c, DHC_AXIS_RED, h, false);
  int ox = operand(c, -1), oy = operand(c, -1);
  plain(c, ox, ci, h * h);
  plain(c, ox, n, channels * h * h);
  guarded(c, ox, 2, (int[]){ky, y}, (int64_t[]){1, 1}, h, -1, h);
  guarded(c, ox, 2, (int[]){kx, x}, (int64_t[]){1, 1}, 1, -1, h);
  plain(c, oy, o, h * h);
  plain(c, oy, n, outs * h * h);
  plain(c, oy, y, h);
  plain(c, oy, x, 1);
  int d = fold(c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << n | 1u << y | 1u << x, load(c, ox), load(c, oy));
  int q = operand(c, d);
  plain(c, q, o, channels * 9);
  plain(c, q, ci, 9);
  plain(c, q, ky, 3);
  plain(c, q, kx, 1);
  c->flops = 18.0 * (double)(n_images * channels * outs * h * h);
}

/* square sums of `rows` rows: along them, or down them ([n, rows] in memory) */
static void sums(Bench *c, bool down, int64_t n_rows, int64_t n) {
  start(c, DHC_KIND_ROW);
  int i = axis(c, DHC_AXIS_PAR, n_rows, false), r = axis(c, DHC_AXIS_RED, n, false);
  int x = operand(c, -1);
  plain(c, x, down ? r : i, down ? n_rows : n);
  plain(c, x, down ? i : r, 1);
  int e = load(c, x);
  int sq = node(c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_MUL, .dtype = DHC_F32, .a = {e, e, -1, -1}});
  plain(c, operand(c, fold(c, DHC_OP_REDUCE_SUM, DHC_F32, 1u << r, sq, -1)), i, 1);
  c->flops = 2.0 * (double)(n_rows * n);
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

static int64_t run_prog(dhc_dimprog p, const int64_t *dim) {
  int64_t st[64];
  int n = 0;
  for (int i = 0; i < p.n_code; i++) {
    int64_t o = p.code[i];
    if (o == DHC_DIM_CONST || o == DHC_DIM_SYM) {
      int64_t v = p.code[++i];
      st[n++] = o == DHC_DIM_CONST ? v : dim[v];
      continue;
    }
    int64_t y = st[--n], x = st[n - 1];
    st[n - 1] = o == DHC_DIM_ADD        ? x + y
                : o == DHC_DIM_SUB      ? x - y
                : o == DHC_DIM_MUL      ? x * y
                : o == DHC_DIM_FLOORDIV ? x / y
                : o == DHC_DIM_CEILDIV  ? (x + y - 1) / y
                : o == DHC_DIM_MIN      ? (x < y ? x : y)
                : o == DHC_DIM_MAX      ? (x > y ? x : y)
                : o == DHC_DIM_LE       ? x <= y
                                        : x && y;
  }
  return n ? st[0] : 0;
}

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

static void fill_dims(const Bench *c, int64_t *dim) {
  const DhcSpec *s = &c->s;
  for (int a = 0; a < s->n_axes; a++)
    if (dhc_spec_extent_arg(s, a) >= 0) dim[dhc_spec_extent_arg(s, a)] = c->extent[a];
  for (int o = 0; o < s->n_operands; o++)
    for (int t = 0; t < s->operand[o].n_terms; t++) {
      int st = dhc_spec_stride_arg(s, o, t), of = dhc_spec_offset_arg(s, o, t);
      if (st >= 0) dim[st] = c->stride[o][t];
      if (of >= 0) dim[of] = c->offset[o], dim[of + 1] = c->limit[o][t];
    }
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
  fill_dims(c, dim);
  void *ptr[DHC_SPEC_MAX_OPERANDS + 1];
  for (int o = 0; o < c->s.n_operands; o++) {
    size_t n = (size_t)c->size[o] + 64;
    float *f = aligned_alloc(64, (n * 4 + 63) / 64 * 64);
    if (!f) die("out of memory");
    for (size_t i = 0; i < n; i++) f[i] = (float)(i * 7919 % 1000) * 1e-3f - 0.5f;
    ptr[o] = f;
  }
  int64_t n_tasks = run_prog(p->n_tasks, dim), n_scratch = run_prog(p->scratch_bytes, dim);
  int64_t worker_scratch = (n_scratch + 127) / 64 * 64;
  const dhc_exec *exec = m->pool ? dhc_pool_exec(m->pool) : NULL;
  void *scratch = aligned_alloc(64, (size_t)(worker_scratch * (exec ? exec->workers : 1)));
  if (getenv("BENCH_JUNK")) /* denormals where nothing was written: must not be read */
    for (int64_t i = 0; i < n_scratch / 4; i++) ((uint32_t *)scratch)[i] = 0x100;
  ptr[c->s.n_operands] = aligned_alloc(64, (size_t)(run_prog(p->shared_bytes, dim) + 127) / 64 * 64);
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
    int64_t first = run_prog(p->first_tasks, dim);
    double one = wall(NULL, phase, first, n_tasks), many = wall(exec, phase, first, n_tasks);
    printf("%-26s wall: 1 thread %.3f ms, %d threads %.3f ms\n", "", one, exec->workers, many);
  }
  for (int o = 0; o <= c->s.n_operands; o++) free(ptr[o]);
  free(scratch);
  dhc_arena_fini(&c->arena);
}

typedef struct Row {
  const char *name;
  int kind;           /* 0 dot, 1 conv, 2 conv_dx, 3 conv + pool, 4 conv_dw, 5 sums */
  int64_t a, b, c, d; /* dot: form, m, n, k; sums: down, rows, elements; else images, channels, outs, height */
} Row;

static const Row rows[] = {
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

static int numbers(char *at, int *out, int max) {
  int n = 0;
  while (n < max && *at) {
    out[n++] = (int)strtol(at, &at, 10);
    if (*at) at++;
  }
  return n;
}

static void bench_row(Machine *m, const Row *r, const int *v) {
  Bench *c = malloc(sizeof *c);
  if (!c) die("out of memory");
  if (r->kind == 0)
    dot(c, (int)r->a, r->b, r->c, r->d);
  else if (r->kind == 5)
    sums(c, r->a != 0, r->b, r->c);
  else if (r->kind == 4)
    conv_dw(c, r->a, r->b, r->c, r->d);
  else
    conv(c, r->kind == 2, r->kind == 3, r->a, r->b, r->c, r->d);
  bench(m, c, r->name, v);
  free(c);
}

int main(int argc, char **argv) {
  int v[8] = {0}, own[5] = {0}, n_own = 0, threads = 1;
  const char *only = NULL;
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "-v") && i + 1 < argc)
      numbers(argv[++i], v, 8);
    else if (!strcmp(argv[i], "-s") && i + 1 < argc)
      n_own = numbers(argv[++i], own, 5);
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
  if (n_own == 5) bench_row(&m, &(Row){"given", own[0], own[1], own[2], own[3], own[4]}, v);
  for (size_t i = 0; i < sizeof rows / sizeof *rows && n_own != 5; i++)
    if (!only || strstr(rows[i].name, only)) bench_row(&m, &rows[i], v);
  dhc_pool_free(m.pool);
  dhc_cpu_jit_close(m.jit);
  dhc_cpu_gen_close(m.gen);
  dhc_arena_fini(&arena);
  return 0;
}
