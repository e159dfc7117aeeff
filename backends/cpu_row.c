/* The CPU backend's row. */
#include "backends/backend.h"

#include <stdlib.h>

#include "backends/cpu/cpu.h"
#include "backends/object/llvm.h"

typedef struct Self {
  DhcCpuTarget target;
} Self;

static dhc_status cpu_open(DhcArena *arena, const DhcCompileOptions *o, void **out,
                           DhcTargetFacts *facts, const char **key_text, const char **needs) {
  Self *s = DHC_NEW(arena, Self);
  dhc_status st = o->target ? dhc_cpu_target_named(arena, o->target, o->cpu, o->features, &s->target)
                            : dhc_cpu_target(arena, o->cpu, o->features, &s->target);
  if (st.code) return st;
  *facts = s->target.facts;
  *needs = s->target.isa;
  *key_text = dhc_arena_printf(arena, "cpu %s %s %s %s", s->target.triple, s->target.cpu,
                               s->target.isa, dhc_cpu_llvm_version(arena));
  *out = s;
  return st;
}

static void cpu_close(void *self) { (void)self; }

static dhc_status cpu_worker_open(void *self, void **worker) {
  DhcCpuGen *g = NULL;
  dhc_status st = dhc_cpu_gen_open(&((Self *)self)->target, &g);
  *worker = g;
  return st;
}
static void cpu_worker_close(void *worker) { dhc_cpu_gen_close(worker); }

static dhc_status cpu_generate(void *worker, const DhcLp *const *program, const char *const *names,
                               int n, DhcStageText text, const char *about, DhcBytes *out) {
  (void)about;
  static const DhcCpuStage stage[] = {[DHC_TEXT_NONE] = DHC_CPU_OBJECT,
                                      [DHC_TEXT_IR] = DHC_CPU_LLVM,
                                      [DHC_TEXT_ASM] = DHC_CPU_ASM};
  DhcCpuBytes b = {0};
  dhc_status st = dhc_cpu_gen_run(worker, program, names, n, stage[text], &b);
  *out = (DhcBytes){b.bytes, b.n_bytes};
  return st;
}

static dhc_status cpu_object(void *worker, const struct DhcObject *o, DhcArena *arena, DhcBytes *out) {
  DhcObjLlvm in = {o, arena, NULL};
  if (o->levels) {
    DhcCpuTarget *level = DHC_NEW_N(arena, DhcCpuTarget, o->n_variants);
    for (int i = 0; i < o->n_variants; i++) DHC_TRY(dhc_cpu_target_named(arena, o->variant[i].target, NULL, NULL, &level[i]));
    in.level = level;
  }
  const char *emulator = dhc_cpu_gen_target(worker)->emulator;
  if (o->drive) o->drive->emulator = *emulator ? emulator : NULL;
  if (o->drive && !*emulator) return (dhc_status){0};
  DhcCpuStack stack = {.arena = arena};
  const DhcCpuFill fill = {.name = o->model, .fill = dhc_object_write_llvm, .ctx = &in, .stack = o->drive ? NULL : &stack, .large = o->large};
  DhcCpuBytes b = {0};
  dhc_status st = dhc_cpu_gen_module(worker, &fill, DHC_CPU_OBJECT, &b);
  for (int i = 0; i < o->n_entries && !st.code && !o->drive; i++) {
    const DhcCpuDepth *d = dhc_cpu_stack_of(&stack, o->entry[i]->c_name);
    o->entry[i]->stack_bytes = d->deepest;
    o->entry[i]->stack_most = d->largest;
  }
  for (int i = 0; i < stack.all.n && o->frames && !st.code; i++)
    DHC_PUSH(arena, &o->frames->all, ((DhcObjFrame){stack.all.at[i].name, stack.all.at[i].frame, stack.all.at[i].deepest}));
  *out = (DhcBytes){b.bytes, b.n_bytes};
  return st;
}

/* ---- device ---- */

/* *ctx is a DhcCpuJit *, made when something is loaded. */
static dhc_status cpu_load(void *ctx, const void *code, size_t n_bytes, const char *const *names, int n,
                           dhc_kernel_fn *fn) {
  DhcCpuJit **jit = ctx;
  if (!*jit) {
    dhc_status st = dhc_cpu_jit_open(jit);
    if (st.code) return st;
  }
  return dhc_cpu_jit_add(*jit, code, n_bytes, names, n, fn);
}

static void cpu_unload(void *ctx) {
  DhcCpuJit **jit = ctx;
  dhc_cpu_jit_close(*jit);
  free(jit);
}

static dhc_status cpu_device_open(const DhcDeviceOptions *o, DhcDevice **out) {
  DhcCpuJit **jit = calloc(1, sizeof *jit);
  if (!jit) return (dhc_status){DHC_E_ENVIRONMENT, "out of memory"};
  const DhcLoader loader = {jit, cpu_load, cpu_unload};
  dhc_status st = dhc_host_device_open("cpu", o->exec, &loader, out);
  if (st.code) free(jit);
  return st;
}

static const char *cpu_host_features(DhcArena *arena, const char *cap) {
  DhcCpuTarget t;
  return dhc_cpu_target(arena, NULL, cap, &t).code ? "" : t.isa;
}

const DhcBackend dhc_backend_cpu = {.name = "cpu",
                                    .stage = {[DHC_TEXT_IR] = "llvm", [DHC_TEXT_ASM] = "asm"},
                                    .device_open = cpu_device_open,
                                    .host_features = cpu_host_features,
                                    .open = cpu_open,
                                    .close = cpu_close,
                                    .worker_open = cpu_worker_open,
                                    .worker_close = cpu_worker_close,
                                    .generate = cpu_generate,
                                    .object = cpu_object};
