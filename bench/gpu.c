/* Speed of single contraction and convolution kernels on a GPU: microseconds a launch in a CUDA graph of many, and the
 * distance from exact sums.
 *
 *   bench_gpu f32|tf32|bf16 [-v A,B,...[/A,B,...]] [-t TEMPLATE] [-s KIND,A,B,C,D | -f SPEC=A,B,...] [NAME]
 *
 * Rows whose name contains NAME, or one row of one's own (bench/shapes.h), or a spec's text (dhcc print --stage=spec) with its axes'
 * extents, by the class that the schedule takes at these sizes, and by these schedule vectors of template "tile" or the one given. Operands
 * stay in the GPU's cache where they fit. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/compile.h"
#include "bench/shapes.h"
#include "passes/plan/schedule.h"

enum { LAUNCHES = 20, REPLAYS = 7, MAX_DIMS = 64 };

static const double LARGE = 2e10; /* operations: beyond, no comparison */

typedef struct Gpu {
  DhcArena arena;
  DhcDevice *device;
  DhcCompiler *compiler;
} Gpu;

static void check(dhc_status s) {
  if (!s.code) return;
  fprintf(stderr, "bench_gpu: %s\n", s.message);
  exit((int)s.code);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + 1e-3 * (double)t.tv_nsec;
}

static int64_t bytes_of(const Bench *c, int o) { return (c->size[o] + 1) * dhc_dtype_bytes(c->s.operand[o].dtype); }

/* One schedule at one shape. */
typedef struct Item {
  const char *name, *what;
  const Bench *shape;
  DhcSchedule schedule;
} Item;

typedef DHC_VEC(Item) Items;

/* A kernel of one class, its operands on the device, and the launches of a call. */
typedef struct Call {
  DhcDevicePtr ptr[DHC_SPEC_MAX_OPERANDS + 1];
  int64_t dim[MAX_DIMS];
  DhcCommand command[DHC_MAX_PHASES * LAUNCHES];
  int n;
} Call;

static void prepare_call(Gpu *g, const Bench *c, const dhc_kernel_class *k, Call *call, int launches) {
  int n = c->s.n_operands;
  int64_t all = bench_prog(k->n_tasks, call->dim), cut[DHC_MAX_PHASES + 1] = {0, bench_prog(k->first_tasks, call->dim)},
          shared = bench_prog(k->shared_bytes, call->dim);
  if (shared) check(g->device->ops->alloc(g->device, shared, &call->ptr[n]));
  for (int i = 2; i <= DHC_MAX_PHASES; i++)
    cut[i] = i < DHC_MAX_PHASES && k->later_tasks[i - 2].n_code ? bench_prog(k->later_tasks[i - 2], call->dim) : all;
  call->n = 0;
  for (int i = 0; i < launches; i++)
    for (int phase = 0; phase < DHC_MAX_PHASES; phase++) {
      DhcLaunch l = {.fn = k->fn, .ptr = call->ptr, .dim = (const intptr_t *)call->dim, .n_ptrs = n, .n_dims = dhc_spec_n_dims(&c->s),
                     .phase = phase, .task0 = cut[phase], .n_tasks = cut[phase + 1] - cut[phase]};
      if (l.n_tasks > 0) call->command[call->n++] = (DhcCommand){.kind = DHC_ITEM_CALL, .launch = l};
    }
}

static double time_call(Gpu *g, const Call *call) {
  void *graph = NULL;
  double best = 1e30;
  check(g->device->ops->prepare(g->device, call->command, call->n, &graph));
  for (int i = 0; i < REPLAYS; i++) {
    double t = now();
    check(g->device->ops->replay(g->device, graph));
    check(g->device->ops->synchronise(g->device));
    t = now() - t;
    if (t < best) best = t;
  }
  g->device->ops->forget(g->device, graph);
  return best / (double)LAUNCHES;
}

/* |out - ref| / |ref| of the first output, ref by the plain template in exact f32 on the same device. */
static double error_of(Gpu *g, const Bench *c, const Call *call, const dhc_kernel_class *plain) {
  int o = dhc_spec_n_inputs(&c->s);
  int64_t bytes = bytes_of(c, o);
  if (c->flops > LARGE) return NAN;
  Call ref = *call;
  check(g->device->ops->alloc(g->device, bytes, &ref.ptr[o]));
  prepare_call(g, c, plain, &ref, 1);
  for (int i = 0; i < ref.n; i++) check(g->device->ops->launch(g->device, &ref.command[i].launch));
  float *x = malloc((size_t)bytes), *y = malloc((size_t)bytes);
  if (!x || !y) exit(3);
  check(g->device->ops->download(g->device, x, call->ptr[o], bytes));
  check(g->device->ops->download(g->device, y, ref.ptr[o], bytes));
  double off = 0, all = 0;
  for (int64_t i = 0; i <= c->size[o]; i++) off += pow((double)x[i] - (double)y[i], 2), all += pow((double)y[i], 2);
  free(x);
  free(y);
  g->device->ops->free(g->device, ref.ptr[o]);
  return sqrt(off / all);
}

static void bench(Gpu *g, const Item *item, const dhc_kernel_class *k, const dhc_kernel_class *plain) {
  const Bench *c = item->shape;
  Call call = {0};
  bench_dims(c, call.dim);
  uint32_t seed = 1;
  bool second = false;
  for (int o = 0; o < c->s.n_operands; o++) {
    int64_t bytes = bytes_of(c, o);
    float *f = malloc((size_t)bytes);
    if (!f) exit(3);
    int64_t ranges = c->s.operand[o].dtype == DHC_I32 && !c->s.operand[o].out ? bytes / 4 : 0, n_rows = 0;
    for (int i = 0; i < c->s.n_nodes; i++)
      if (c->s.node[i].kind == DHC_SN_AXIS) n_rows = c->extent[c->s.node[i].operand];
    second = ranges ? !second : second; /* firsts, then ends */
    for (int64_t i = 0; i < ranges; i++) ((int32_t *)(void *)f)[i] = (int32_t)((i + !second) * n_rows / ranges);
    for (int64_t i = 0; i < bytes / 4 && !ranges; i++)
      seed = seed * 1664525 + 1013904223,
      f[i] = c->s.operand[o].out ? NAN : (float)(seed >> 8) * 0x1p-23f - 1;
    check(g->device->ops->alloc(g->device, bytes, &call.ptr[o]));
    check(g->device->ops->upload(g->device, call.ptr[o], f, bytes));
    check(g->device->ops->synchronise(g->device));
    free(f);
  }
  prepare_call(g, c, k, &call, LAUNCHES);
  double us = time_call(g, &call), error = error_of(g, c, &call, plain);
  printf("%-24s %-36s %9.2f us %8.1f TFLOP/s  error %.1e  tasks %lld + %lld\n", item->name, item->what, us,
         c->flops / us * 1e-6, error, (long long)(bench_prog(k->first_tasks, call.dim)),
         (long long)(bench_prog(k->n_tasks, call.dim) - bench_prog(k->first_tasks, call.dim)));
  fflush(stdout);
  for (int o = 0; o <= c->s.n_operands; o++)
    if (call.ptr[o]) g->device->ops->free(g->device, call.ptr[o]);
}

static const BenchRow rows[] = {
    {"dot nt 4096", 0, 0, 4096, 4096, 4096},          {"dot nn 4096", 0, 2, 4096, 4096, 4096},
    {"dot tn 4096", 0, 3, 4096, 4096, 4096},          {"dot nt 1 1024 256", 0, 0, 1, 1024, 256},
    {"dot nt 16 1024 256", 0, 0, 16, 1024, 256},      {"dot nt 16 256 512", 0, 0, 16, 256, 512},
    {"dot nt 16 256 1024", 0, 0, 16, 256, 1024},      {"dot nn 16 256 1024", 0, 2, 16, 256, 1024},
    {"dot tn 1024 256 16", 0, 3, 1024, 256, 16},      {"dot nt 128 1024 256", 0, 0, 128, 1024, 256},
    {"dot nt 128 256 1024", 0, 0, 128, 256, 1024},    {"dot tn 1024 256 128", 0, 3, 1024, 256, 128},
    {"dot nt 1024 1024 256", 0, 0, 1024, 1024, 256},  {"dot nt 8192 1024 256", 0, 0, 8192, 1024, 256},
    {"dot nt 8192 256 1024", 0, 0, 8192, 256, 1024},  {"dot tn 1024 256 8192", 0, 3, 1024, 256, 8192},
    {"conv+pool 3>64 32 b16", 3, 16, 3, 64, 32},      {"conv+pool 64>128 16 b16", 3, 16, 64, 128, 16},
    {"conv 128>256 8 b16", 1, 16, 128, 256, 8},       {"dx 64<128 16 b16", 2, 16, 128, 64, 16},
    {"dx 128<256 8 b16", 2, 16, 256, 128, 8},         {"dw 3>64 32 b16", 4, 16, 3, 64, 32},
    {"dw 64>128 16 b16", 4, 16, 64, 128, 16},         {"dw 128>256 8 b16", 4, 16, 128, 256, 8},
    {"conv+pool 3>64 32 b256", 3, 256, 3, 64, 32},    {"conv+pool 64>128 16 b256", 3, 256, 64, 128, 16},
    {"conv 128>256 8 b256", 1, 256, 128, 256, 8},     {"ragged 32 256 2048", 6, 0, 32, 256, 2048},
    {"ragged 32 1024 256", 6, 0, 32, 1024, 256},      {"ragged 256 256 2048", 6, 0, 256, 256, 2048},
    {"ragged 256 1024 256", 6, 0, 256, 1024, 256},    {"ragged dx 32 2048 256", 6, 1, 32, 2048, 256},
    {"ragged dx 256 2048 256", 6, 1, 256, 2048, 256}, {"ragged dw 32 256 2048", 6, 2, 32, 256, 2048},
    {"ragged dw 256 256 2048", 6, 2, 256, 256, 2048}, {"ragged dw 256 2048 256", 6, 2, 256, 2048, 256},
    {"dw 3>64 32 b128", 4, 128, 3, 64, 32},           {"dw 64>128 16 b128", 4, 128, 64, 128, 16},
    {"dw 128>256 8 b128", 4, 128, 128, 256, 8}};

static void add_shape(Gpu *g, const char *name, const Bench *c, const char *vectors, const char *template, Items *items) {
  int64_t dim[MAX_DIMS] = {0};
  bench_dims(c, dim);
  DhcSchedule classes[DHC_MAX_CLASSES];
  int n = dhc_schedule_choose(&c->s, dhc_compiler_target(g->compiler), &g->arena, classes), i = 0;
  while (i < n - 1 && !bench_prog(classes[i].guard, dim)) i++;
  Item item = {.name = name, .what = dhc_arena_printf(&g->arena, "class %d of %d", i, n), .shape = c, .schedule = classes[i]};
  DHC_PUSH(&g->arena, items, item);
  while (vectors) {
    const char *end = strchr(vectors, '/');
    char *what = dhc_arena_printf(&g->arena, "%.*s", end ? (int)(end - vectors) : 79, vectors);
    item.what = what;
    item.schedule = (DhcSchedule){.template_name = template};
    bench_numbers(what, item.schedule.v, 8);
    DHC_PUSH(&g->arena, items, item);
    vectors = end ? end + 1 : NULL;
  }
}

static void add_row(Gpu *g, const BenchRow *r, const char *vectors, const char *template, Items *items) {
  Bench *c = DHC_NEW(&g->arena, Bench);
  bench_shape(c, r->kind, (int64_t[]){r->a, r->b, r->c, r->d});
  bool exact = dhc_compiler_target(g->compiler)->compute == DHC_COMPUTE_F32;
  if (exact && c->s.kind == DHC_KIND_CONV && r->b >= 16 && r->c >= 16) c->s.kind = DHC_KIND_WINOGRAD; /* as fusion makes of them */
  add_shape(g, r->name, c, vectors, template, items);
}

/* FILE=A,B,...: a spec and its axes' extents. */
static void add_file(Gpu *g, char *given, const char *vectors, const char *template, Items *items) {
  static char text[1 << 16];
  int extent[DHC_SPEC_MAX_AXES] = {0};
  char *sizes = strchr(given, '=');
  if (!sizes) exit(2);
  *sizes++ = 0;
  FILE *f = fopen(given, "r");
  if (!f) exit(3);
  text[fread(text, 1, sizeof text - 1, f)] = 0;
  fclose(f);
  DhcSources sources = {.arena = &g->arena};
  DhcDiags diags = {.arena = &g->arena, .sources = &sources};
  uint32_t end;
  const DhcSpec *s = dhc_spec_parse(&g->arena, &diags, dhc_sources_add(&sources, given, given, text, strlen(text)), 0, &end);
  if (!s || bench_numbers(sizes, extent, s->n_axes) != s->n_axes) exit(2);
  Bench *c = DHC_NEW(&g->arena, Bench);
  bench_spec(c, s, extent);
  add_shape(g, given, c, vectors, template, items);
}

/* All kernels are compiled together. */
static void run_all(Gpu *g, const Items *items) {
  static const char *const plain[DHC_N_KINDS] = {[DHC_KIND_DOT] = "dot_plain",
                                                 [DHC_KIND_CONV] = "conv_plain",
                                                 [DHC_KIND_WINOGRAD] = "winograd_plain",
                                                 [DHC_KIND_CONV_DW] = "conv_dw_plain",
                                                 [DHC_KIND_RAGGED] = "ragged_plain",
                                                 [DHC_KIND_ROW] = "row_plain"};
  DhcKernelRequest *r = DHC_NEW_N(&g->arena, DhcKernelRequest, 2 * items->n + 1);
  dhc_kernel *k = DHC_NEW_N(&g->arena, dhc_kernel, 2 * items->n + 1);
  DhcCompileStats stats = {0};
  for (int i = 0; i < items->n; i++) {
    r[2 * i] = (DhcKernelRequest){.spec = &items->at[i].shape->s, .n_classes = 1, .classes = {items->at[i].schedule}};
    r[2 * i].classes[0].guard = (dhc_dimprog){0};
    r[2 * i + 1] = r[2 * i];
    r[2 * i + 1].classes[0] = (DhcSchedule){.template_name = plain[items->at[i].shape->s.kind], .v = {0, 1}};
  }
  check(dhc_compile(g->compiler, r, 2 * items->n, k, &stats));
  printf("%d kernels compiled in %.0f ms\n", stats.compiled, stats.ms);
  for (int i = 0; i < items->n; i++) bench(g, &items->at[i], &k[2 * i].classes[0], &k[2 * i + 1].classes[0]);
}

int main(int argc, char **argv) {
  Gpu g = {0};
  Items items = {0};
  int own[5] = {0}, n_own = 0;
  char *vectors = NULL, *only = NULL, *file = NULL;
  const char *template = "tile";
  if (argc < 2) return 2;
  for (int i = 2; i < argc; i++) {
    if (!strcmp(argv[i], "-v") && i + 1 < argc) vectors = argv[++i];
    else if (!strcmp(argv[i], "-t") && i + 1 < argc) template = argv[++i];
    else if (!strcmp(argv[i], "-s") && i + 1 < argc) n_own = bench_numbers(argv[++i], own, 5);
    else if (!strcmp(argv[i], "-f") && i + 1 < argc) file = argv[++i];
    else only = argv[i];
  }
  dhc_arena_init(&g.arena);
  const bool look = getenv("BENCH_LOOK") != NULL; /* no device: are the schedules taken? */
  if (!look) check(dhc_backend_device("cuda", &(DhcDeviceOptions){0}, &g.device));
  DhcCompileOptions o = {.backend = "cuda", .workers = 16, .device = g.device, .compute = !strcmp(argv[1], "tf32") ? DHC_COMPUTE_TF32 : !strcmp(argv[1], "bf16") ? DHC_COMPUTE_BF16 : DHC_COMPUTE_F32};
  if (look) o.gpu_arch = "sm_90a", o.offline = true;
  check(dhc_compiler_open(&g.arena, &o, &g.compiler));
  if (n_own == 5) add_row(&g, &(BenchRow){"given", own[0], own[1], own[2], own[3], own[4]}, vectors, template, &items);
  if (file) add_file(&g, file, vectors, template, &items);
  for (size_t i = 0; i < sizeof rows / sizeof *rows && n_own != 5 && !file; i++)
    if (!only || strstr(rows[i].name, only)) add_row(&g, &rows[i], vectors, template, &items);
  for (int i = 0; i < items.n && look; i++) {
    const char *why = "taken";
    const DhcTplInput in = {&items.at[i].shape->s, &items.at[i].schedule, dhc_compiler_target(g.compiler), &g.arena};
    dhc_template_build(&in, &why);
    printf("%s %s: %s\n", items.at[i].name, items.at[i].what, why);
  }
  if (look) return 0;
  run_all(&g, &items);
  dhc_compiler_close(g.compiler);
  dhc_device_close(g.device);
  dhc_arena_fini(&g.arena);
  return 0;
}
