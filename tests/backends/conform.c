#include "tests/backends/conform.h"

#include <stdio.h>
#include <stdlib.h>

#include "passes/plan/schedule.h"
#include "runtime/plan.h"

static DhcArena session;
static DhcCompiler *compiler;
static DhcDevice *device;
static DhcCompileStats stats;
static int n_run, n_equal, n_differ;

const char *conform_backend(void) {
  return getenv("DHC_TEST_BACKEND");
}

static void check(dhc_status s) {
  if (s.code) {
    fprintf(stderr, "%s\n", s.message);
    abort();
  }
}

static void report(void) {
  fprintf(stderr, "%s: %d kernels compiled (%.0f ms), %d size classes run, outputs with the CPU's bits %d, with others %d\n",
          conform_backend(), stats.compiled, stats.ms, n_run, n_equal, n_differ);
  dhc_compiler_close(compiler);
  dhc_device_close(device);
  dhc_arena_fini(&session);
}

static void open_backend(void) {
  dhc_arena_init(&session);
  check(dhc_backend_device(conform_backend(), &(DhcDeviceOptions){0}, &device));
  DhcCompileOptions o = {.backend = conform_backend(), .workers = 1, .device = device};
  check(dhc_compiler_open(&session, &o, &compiler));
  atexit(report);
}

bool conform_compile(const DhcSpec *s, DhcArena *arena, dhc_kernel *out) {
  if (!compiler) open_backend();
  DhcKernelRequest r = {.spec = s};
  r.n_classes = dhc_schedule_choose(s, dhc_compiler_target(compiler), arena, r.classes);
  dhc_status st = dhc_compile(compiler, &r, 1, out, &stats);
  if (st.code == DHC_E_INPUT && (strstr(st.message, "not compiled") || strstr(st.message, "for f32 only"))) return false;
  check(st);
  return true;
}

static int64_t eval(dhc_dimprog p, const int64_t *dim, int n) {
  int64_t v = 0;
  if (p.n_code && !dhc_dimprog_eval(p, dim, n, 0, &v)) abort();
  return v;
}

void conform_run(const DhcSpec *s, const dhc_kernel_class *k, const int64_t *dim, const void *const *before,
                 const int64_t *lo, const size_t *bytes, void *const *after) {
  DhcDevicePtr at[DHC_SPEC_MAX_OPERANDS + 1] = {0}, ptr[DHC_SPEC_MAX_OPERANDS + 1] = {0};
  int n_dims = dhc_spec_n_dims(s), n = s->n_operands;
  for (int o = 0; o < n; o++) {
    check(device->ops->alloc(device, (int64_t)bytes[o], &at[o]));
    check(device->ops->upload(device, at[o], before[o], (int64_t)bytes[o]));
    ptr[o] = at[o] - (uint64_t)(lo[o] * dhc_dtype_bytes(s->operand[o].dtype));
  }
  int64_t shared = eval(k->shared_bytes, dim, n_dims);
  if (shared) {
    check(device->ops->alloc(device, shared, &at[n]));
    check(device->ops->fill(device, at[n], 0xffffffffu, shared / 4 * 4));
    ptr[n] = at[n];
  }
  int64_t all = eval(k->n_tasks, dim, n_dims), cut[DHC_MAX_PHASES + 1] = {0, eval(k->first_tasks, dim, n_dims)};
  for (int i = 2; i <= DHC_MAX_PHASES; i++)
    cut[i] = i < DHC_MAX_PHASES && k->later_tasks[i - 2].n_code ? eval(k->later_tasks[i - 2], dim, n_dims) : all;
  for (int phase = 0; phase < DHC_MAX_PHASES; phase++) {
    DhcLaunch l = {.fn = k->fn, .ptr = ptr, .dim = (const intptr_t *)dim, .n_ptrs = n, .n_dims = n_dims, .phase = phase,
                   .task0 = cut[phase], .n_tasks = cut[phase + 1] - cut[phase]};
    if (l.n_tasks > 0) check(device->ops->launch(device, &l));
  }
  for (int o = dhc_spec_n_inputs(s); o < n; o++) check(device->ops->download(device, after[o], at[o], (int64_t)bytes[o]));
  check(device->ops->synchronise(device));
  for (int o = 0; o <= n; o++) device->ops->free(device, at[o]);
  n_run++;
}

void conform_bits(const void *cpu, const void *other, size_t bytes) {
  *(memcmp(cpu, other, bytes) ? &n_differ : &n_equal) += 1;
}
