/* One kernel at a time through schedule, compiler and native memory. */
#include "tests/ops/cpu_runner.h"

#include <stdio.h>

#include "passes/plan/schedule.h"
#include "runtime/plan.h"

/* Element memory of an array, 64-byte aligned with room around it that must stay as it is. */
typedef struct Buffer {
  unsigned char *all, *at;
  size_t n_bytes;
} Buffer;
enum { GUARD = 128, PATTERN = 0xa5 };

static Buffer to_native(DhcArena *arena, const DhcArray *a) {
  Buffer b = {.n_bytes = (size_t)a->n * (size_t)dhc_dtype_bytes(a->dtype)};
  b.all = dhc_arena_alloc(arena, b.n_bytes + 2 * GUARD + 64);
  uintptr_t p = ((uintptr_t)b.all + GUARD + 63) & ~(uintptr_t)63;
  b.at = b.all + (p - (uintptr_t)b.all);
  memset(b.all, PATTERN, b.n_bytes + 2 * GUARD + 64);
  dhc_array_to_bytes(a, b.at);
  return b;
}

static bool guards_hold(const Buffer *b) {
  for (const unsigned char *p = b->all; p < b->at; p++)
    if (*p != PATTERN) return false;
  for (int k = 0; k < GUARD; k++)
    if (b->at[b->n_bytes + (size_t)k] != PATTERN) return false;
  return true;
}

static const dhc_kernel_class *class_for(const dhc_kernel *k, const int64_t *dim) {
  for (int c = 0; c < k->n_classes; c++) {
    int64_t guard = 1;
    if (!dhc_dimprog_eval(k->classes[c].guard, dim, k->n_dims, 1, &guard)) return NULL;
    if (guard || c == k->n_classes - 1) return &k->classes[c];
  }
  return NULL;
}

static bool run_kernel(void *ctx, const DhcSpec *s, DhcArray *const *a, const int64_t *offset, const int64_t *dim) {
  CpuRunner *cpu = ctx;
  DhcKernelRequest rq = {.spec = s};
  dhc_kernel kernel;
  rq.n_classes = dhc_schedule_choose(s, dhc_compiler_target(cpu->compiler), &cpu->arena, rq.classes);
  dhc_status st = dhc_compile(cpu->compiler, &rq, 1, &kernel, &cpu->stats);
  if (st.code != DHC_OK) {
    cpu->why = dhc_arena_strdup(&cpu->arena, st.message);
    return false;
  }
  const dhc_kernel_class *c = class_for(&kernel, dim);
  int64_t tasks = 0, first = 0, scratch_bytes = 0, shared_bytes = 0;
  if (!c || !dhc_dimprog_eval(c->n_tasks, dim, kernel.n_dims, 1, &tasks) ||
      !dhc_dimprog_eval(c->first_tasks, dim, kernel.n_dims, 0, &first) ||
      !dhc_dimprog_eval(c->scratch_bytes, dim, kernel.n_dims, 0, &scratch_bytes) ||
      !dhc_dimprog_eval(c->shared_bytes, dim, kernel.n_dims, 0, &shared_bytes)) {
    cpu->why = "a dim program of the kernel has no value";
    return false;
  }
  DhcArena arena;
  dhc_arena_init(&arena);
  Buffer b[DHC_SPEC_MAX_OPERANDS];
  void *ptr[DHC_SPEC_MAX_OPERANDS + 2];
  int64_t limits[2 * (DHC_SPEC_MAX_OPERANDS + 2) + 2] = {0}, *room = limits;
  intptr_t *native = DHC_NEW_N(&arena, intptr_t, kernel.n_dims + 1);
  for (int k = 0; k < kernel.n_dims; k++) native[k] = (intptr_t)dim[k];
  for (int k = 0; k < s->n_operands; k++) {
    int with = 0; /* the output that this one lies in, if it lies in one */
    while (with < k && !(s->operand[with].out && a[with] == a[k])) with++;
    b[k] = with < k ? b[with] : to_native(&arena, a[k]);
    int64_t at = offset[k] * dhc_dtype_bytes(a[k]->dtype);
    ptr[k] = b[k].at + at;
    *room++ = at;
    *room++ = (int64_t)b[k].n_bytes - at;
  }
  unsigned char *scratch = dhc_arena_alloc(&arena, (size_t)scratch_bytes + 64);
  scratch += (64 - (uintptr_t)scratch % 64) % 64;
  unsigned char *shared = dhc_arena_alloc(&arena, (size_t)shared_bytes + 64);
  ptr[s->n_operands] = shared + (64 - (uintptr_t)shared % 64) % 64;
  room[1] = shared_bytes;
  room[3] = scratch_bytes;
  ptr[s->n_operands + 1] = limits;
  if (first > 0) c->fn(ptr, native, 0, first, scratch);
  /* the last task first, the others in one piece: any cut gives the same */
  if (tasks > first) c->fn(ptr, native, tasks - 1, tasks, scratch);
  if (tasks > first + 1) c->fn(ptr, native, first, tasks - 1, scratch);
  bool ok = room[4] == 0;
  if (!ok)
    cpu->why = dhc_arena_printf(&cpu->arena, "the kernel leaves operand %lld, from byte %lld on", (long long)room[4] - 1, (long long)room[5]);
  for (int k = 0; k < s->n_operands; k++) {
    if (!guards_hold(&b[k])) {
      cpu->why = dhc_arena_printf(&cpu->arena, "the kernel wrote outside operand %d", k);
      ok = false;
    }
    if (!s->operand[k].out) continue;
    const DhcArray *r = dhc_array_from_bytes(&arena, a[k]->dtype, a[k]->rank, a[k]->dim, b[k].at);
    if (r->f)
      memcpy(a[k]->f, r->f, sizeof(double) * (size_t)r->n);
    else
      memcpy(a[k]->i, r->i, sizeof(int64_t) * (size_t)r->n);
  }
  dhc_arena_fini(&arena);
  return ok;
}

static bool open_runner(CpuRunner *c, const char *features, bool checked) {
  memset(c, 0, sizeof *c);
  dhc_arena_init(&c->arena);
  c->runner = (DhcKernelRunner){.run = run_kernel, .ctx = c};
  c->why = "";
  DhcStoreOptions memory = {.memory_only = true};
  dhc_status st = dhc_store_open(&memory, &c->store);
  DhcCompileOptions o = {.backend = "cpu", .features = features, .workers = 1, .store = c->store, .check_bounds = checked};
  if (st.code == DHC_OK) st = dhc_compiler_open(&c->arena, &o, &c->compiler);
  if (st.code != DHC_OK) fprintf(stderr, "%s\n", st.message);
  return st.code == DHC_OK;
}

bool cpu_runner_open(CpuRunner *c, const char *features) {
  return open_runner(c, features, false);
}

bool cpu_runner_open_checked(CpuRunner *c) {
  return open_runner(c, NULL, true);
}

void cpu_runner_close(CpuRunner *c) {
  dhc_compiler_close(c->compiler);
  dhc_store_close(c->store);
  dhc_arena_fini(&c->arena);
}
