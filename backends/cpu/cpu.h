/* The CPU backend: target, loop program -> LLVM IR -> object bytes, linking into this
 * process. Everything here is thread-safe as long as each thread has its own DhcCpuGen. */
#ifndef DHC_BACKENDS_CPU_CPU_H
#define DHC_BACKENDS_CPU_CPU_H

#include "backends/loop/loop.h"
#include "dhc/status.h"

/* ---- target.c ------------------------------------------------------------------- */

typedef struct DhcCpuTarget {
  const char *triple;   /* normalised */
  const char *cpu;      /* LLVM's name */
  const char *features; /* as given to LLVM: "+avx2,-avx512f,…" */
  const char *isa;      /* resolved instruction set: sorted "+…" words without tuning flags
                           and signs, separated by commas; for keys and the store's `needs` */
  DhcTargetFacts facts;
  bool has_round; /* round and floor are instructions */
  bool has_scale; /* y 2^n of 16 lanes is one, rounded once (AVX-512) */
  bool x86;
  int bits;     /* of an address: 64 or 32 */
  bool divides; /* 32-bit integers have a division instruction */
  const char *emulator; /* of its programs, and the CPU that it plays: "qemu-aarch64 max"; "": there is none */
} DhcCpuTarget;

/* cpu, features NULL: this machine's. `features` is added after the CPU's own ("-avx512f"
 * caps). Strings live in the arena. */
dhc_status dhc_cpu_target(DhcArena *arena, const char *cpu, const char *features,
                          DhcCpuTarget *out) DHC_MUST_USE;

/* One of targets.def, by its name or a triple. */
dhc_status dhc_cpu_target_named(DhcArena *arena, const char *name, const char *cpu, const char *features,
                                DhcCpuTarget *out) DHC_MUST_USE;

const char *dhc_cpu_llvm_version(DhcArena *arena);

/* ---- gen.c ------------------------------------------------------------------------ */

struct DhcCpuW;

/* One worker's code generator: an LLVM context and a target machine. */
typedef struct DhcCpuGen DhcCpuGen;
dhc_status dhc_cpu_gen_open(const DhcCpuTarget *target, DhcCpuGen **out) DHC_MUST_USE;
void dhc_cpu_gen_close(DhcCpuGen *g);
const DhcCpuTarget *dhc_cpu_gen_target(const DhcCpuGen *g);

typedef enum DhcCpuStage { DHC_CPU_OBJECT, DHC_CPU_LLVM, DHC_CPU_ASM } DhcCpuStage;

typedef struct DhcCpuBytes {
  char *bytes; /* malloc; the receiver frees */
  size_t n_bytes;
} DhcCpuBytes;
/* One module with a function names[i] for each program[i], as an object file or as text.
 * An op without a CPU form, or one that LLVM would lower to a library call, is an error. */
dhc_status dhc_cpu_gen_run(DhcCpuGen *g, const DhcLp *const *program, const char *const *names,
                           int n, DhcCpuStage stage, DhcCpuBytes *out) DHC_MUST_USE;
/* One module with what `fill` writes into it, under a name that stands in object files. */
typedef struct DhcCpuFill {
  const char *name;
  void (*fill)(struct DhcCpuW *w, void *ctx);
  void *ctx;
  struct DhcCpuStack *stack; /* NULL, or filled for an object file (stack.c) */
  bool large; /* x86-64: constants may lie further than 2 GiB from the code */
  bool lean;  /* x86-64: without passes that kernels gain nothing from (lean.c), */
  bool addresses_weigh; /* of which the one that reduces addresses' strength is none */
} DhcCpuFill;
dhc_status dhc_cpu_gen_module(DhcCpuGen *g, const DhcCpuFill *f, DhcCpuStage stage, DhcCpuBytes *out) DHC_MUST_USE;

/* ---- stack.c ----------------------------------------------------------------------- */

/* How much stack a function of a module takes at most, with those that it calls; not what functions of others take
 * (memcpy, an executor's parallel_for). Bytes, for every function with a body; memory is the arena's. */
typedef struct DhcCpuDepth {
  const char *name;
  int64_t frame;       /* by itself */
  int64_t deepest;     /* -1: not computed yet */
  const char *largest; /* whose frame is the largest on the deepest way, and that frame */
  int64_t largest_frame;
} DhcCpuDepth;
typedef struct DhcCpuStack {
  DhcArena *arena;
  DHC_VEC(DhcCpuDepth) all;
} DhcCpuStack;
const DhcCpuDepth *dhc_cpu_stack_of(const DhcCpuStack *s, const char *function); /* NULL: there is none */

/* ---- jit.c ------------------------------------------------------------------------- */

/* Object files linked into this process; function names are unique among them. */
typedef struct DhcCpuJit DhcCpuJit;
dhc_status dhc_cpu_jit_open(DhcCpuJit **out) DHC_MUST_USE;
void dhc_cpu_jit_close(DhcCpuJit *j); /* unloads everything */
/* bytes are copied. fn[i] = address of names[i]. Not thread-safe. */
dhc_status dhc_cpu_jit_add(DhcCpuJit *j, const char *bytes, size_t n_bytes,
                           const char *const *names, int n, dhc_kernel_fn *fn) DHC_MUST_USE;

/* ---- math.c ------------------------------------------------------------------------ */

/* Maximum error against double-precision libm over all f32 exponents and both signs,
 * 200 points a binade, in units of the last place (tests/backends/test_math.c measures and
 * bounds them). pow, over pairs of ordinary and special values: 0.51. Denormal results, NaN,
 * infinities and signed zeros are exact. */
#define DHC_CPU_ULP(X) \
  X(EXP, 1.0) X(EXPM1, 1.5) X(LOG, 1.0) X(LOG1P, 2.0) X(TANH, 2.5) X(SIGMOID, 2.0) \
  X(SOFTPLUS, 2.0) X(ERF, 1.5) X(SQRT, 0.51) X(RSQRT, 1.51) X(SIN, 0.51) X(COS, 0.51)

#endif
