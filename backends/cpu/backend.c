/* The CPU backend's row. */
#include "backends/backend.h"

#include <stdlib.h>

#include "backends/cpu/cpu.h"

typedef struct Self {
  DhcCpuTarget target;
  DhcCpuJit *jit; /* made when something is linked */
} Self;

static dhc_status cpu_open(DhcArena *arena, const DhcCompileOptions *o, void **out,
                           DhcTargetFacts *facts, const char **key_text, const char **needs) {
  Self *s = DHC_NEW(arena, Self);
  dhc_status st = dhc_cpu_target(arena, o->cpu, o->features, &s->target);
  if (st.code) return st;
  *facts = s->target.facts;
  *needs = s->target.isa;
  *key_text = dhc_arena_printf(arena, "cpu %s %s %s %s", s->target.triple, s->target.cpu,
                               s->target.isa, dhc_cpu_llvm_version(arena));
  *out = s;
  return st;
}

static void cpu_close(void *self) { dhc_cpu_jit_close(((Self *)self)->jit); }

static dhc_status cpu_worker_open(void *self, void **worker) {
  DhcCpuGen *g = NULL;
  dhc_status st = dhc_cpu_gen_open(&((Self *)self)->target, &g);
  *worker = g;
  return st;
}
static void cpu_worker_close(void *worker) { dhc_cpu_gen_close(worker); }

static dhc_status cpu_generate(void *worker, const DhcLp *const *program, const char *const *names,
                               int n, DhcStageText text, DhcBytes *out) {
  static const DhcCpuStage stage[] = {[DHC_TEXT_NONE] = DHC_CPU_OBJECT,
                                      [DHC_TEXT_IR] = DHC_CPU_LLVM,
                                      [DHC_TEXT_ASM] = DHC_CPU_ASM};
  DhcCpuBytes b = {0};
  dhc_status st = dhc_cpu_gen_run(worker, program, names, n, stage[text], &b);
  *out = (DhcBytes){b.bytes, b.n_bytes};
  return st;
}

static dhc_status cpu_link(void *self, const char *bytes, size_t n_bytes, const char *const *names,
                           int n, dhc_kernel_fn *fn) {
  Self *s = self;
  if (!s->jit) {
    dhc_status st = dhc_cpu_jit_open(&s->target, &s->jit);
    if (st.code) return st;
  }
  return dhc_cpu_jit_add(s->jit, bytes, n_bytes, names, n, fn);
}

const DhcBackend dhc_backend_cpu = {"cpu",           cpu_open,         cpu_close,
                                    cpu_worker_open, cpu_worker_close, cpu_generate,
                                    cpu_link};

const char *dhc_compiler_host_features(DhcArena *arena, const char *cap) {
  DhcCpuTarget t;
  return dhc_cpu_target(arena, NULL, cap, &t).code ? "" : t.isa;
}
