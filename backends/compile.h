/* From kernel specs to kernel tables: key, store, template, writer. The one door that
 * api/ uses; each backend folder registers one DhcBackend row in backends/backends.def. */
#ifndef DHC_BACKENDS_COMPILE_H
#define DHC_BACKENDS_COMPILE_H

#include <stdatomic.h>

#include "dhc/status.h"
#include "ir/spec.h"
#include "runtime/device.h"
#include "runtime/store.h"

/* ---- devices of the backends (backends.c) ---- */

typedef struct DhcDeviceOptions {
  const dhc_exec *exec; /* of a host device; NULL: the calling thread */
  int number;           /* of several alike */
} DhcDeviceOptions;
dhc_status dhc_backend_device(const char *name, const DhcDeviceOptions *o, DhcDevice **out) DHC_MUST_USE;
/* Name of the i-th backend of this build, the preferred one first; NULL behind the last. */
const char *dhc_backend_name(int i);
/* What this machine has and lacks for the i-th backend: names and texts in the arena, at most `room`. */
int dhc_backend_facts(int i, DhcArena *arena, const char *(*pair)[2], int room);
/* What the table says of a backend, in the build or not. */
enum {
  DHC_BACKEND_NUMBERED = 1, /* a machine may have several: "cuda:1" is the second */
  DHC_BACKEND_APART = 2,    /* its machine may not be there: looked for before anything is read */
  DHC_BACKEND_COMPUTE = 4,  /* contractions may be asked for in less than f32 */
  DHC_BACKEND_BOUNDS = 8,   /* kernels that check every access may be asked for */
  DHC_BACKEND_RECURS = 32,  /* a derivative of a recurrence over states is one kernel */
  DHC_BACKEND_REPEATS = 64, /* computing a value again costs less than a kernel that keeps it, or reading it back */
  DHC_BACKEND_OBJECTS = 16, /* kernels can be code of an object that others link */
  DHC_BACKEND_SOURCES = 256, /* its object is one C source: code for its machines, which need not be at hand, and a host part */
  DHC_BACKEND_ROUTES = 512, /* handing rows out to few places is one kernel */
  DHC_BACKEND_RANKS = 4096, /* ranks of all places of a row cost little more than reading them (dhc_spec_ranks) */
  DHC_BACKEND_TILES = 2048, /* 3 x 3 convolutions are summed by the rule of tiles (ir/sum.h), computing exactly */
  DHC_BACKEND_LANES = 1024, /* calls of a list that do not touch one another's memory run side by side */
  DHC_BACKEND_WHOLE = 128   /* it has no compiler: it runs entries whole, in float64, from their text */
};
typedef struct DhcBackendInfo {
  const char *name;
  const char *lacks; /* what a build without it says; NULL: every build has it */
  unsigned traits;
  bool in_build;
  const char *arch, *archs; /* backends.def */
} DhcBackendInfo;
const DhcBackendInfo *dhc_backend_known(int i);            /* NULL behind the last */
const DhcBackendInfo *dhc_backend_info(const char *name); /* NULL: no such backend */

/* Of a backend that runs entries whole: the kernel of such an entry's plan, loaded from its text (dhc_entry_text). */
dhc_status dhc_backend_load_whole(DhcDevice *d, const char *text, const dhc_plan *plan, DhcArena *arena, dhc_kernel *out) DHC_MUST_USE;

/* ---- compiler ---- */

typedef struct DhcCompiler DhcCompiler;
struct DhcLp;
struct DhcObject;

typedef struct DhcCompileOptions {
  const char *backend;     /* of one that compiles; NULL: the preferred one */
  const char *target;      /* cpu: a machine of backends/cpu/targets.def; NULL: this one */
  const char *cpu;         /* NULL: this machine's */
  const char *features;    /* NULL: this machine's; e.g. "-avx512f" to cap */
  const char *gpu_arch;    /* NULL: the machine's, or the arch of the row where there is none */
  DhcCompute compute;      /* cuda: how contractions compute */
  bool check_bounds;       /* cpu: kernels check where they read and write; launches carry limits (runtime/device.h) */
  bool bounded;            /* as in DhcTargetFacts */
  bool offline;            /* code is only looked at: no device is opened, nothing is linked */
  int workers;             /* code generation threads, >= 1 */
  DhcStore *store;         /* borrowed; may be memory only */
  DhcDevice *device;       /* what kernels are loaded onto, borrowed; NULL: one of the compiler's own */
} DhcCompileOptions;

/* Kernels that a call generates, and how many of them it has; another thread may read both. */
typedef struct DhcCompileSeen {
  _Atomic int64_t done, of;
} DhcCompileSeen;

typedef struct DhcCompileStats {
  int compiled;      /* generated in this call */
  int reused_memory; /* already in this compiler */
  int reused_disk;   /* linked from the store */
  double ms;         /* wall time of the call */
  bool *made;        /* NULL, or by request: set where this call generated the kernel */
  char (*keys)[65];  /* NULL, or by request: its key */
  DhcCompileSeen *seen; /* NULL, or for who looks meanwhile */
} DhcCompileStats;

/* What this machine has, capped by `cap` ("-avx512f" or NULL), as words for
 * DhcStoreOptions.features: entries that need more are misses. */
const char *dhc_compiler_host_features(DhcArena *arena, const char *cap);

dhc_status dhc_compiler_open(DhcArena *arena, const DhcCompileOptions *o, DhcCompiler **out) DHC_MUST_USE;
void dhc_compiler_close(DhcCompiler *c); /* kernels last as long as the device they are on */
const DhcTargetFacts *dhc_compiler_target(const DhcCompiler *c);
const char *dhc_compiler_target_text(const DhcCompiler *c); /* backend, machine, features, generator: what decides code */

/* What a kernel is made from: a spec and its size classes (passes/plan/schedule.h). */
typedef struct DhcKernelRequest {
  const DhcSpec *spec;
  DhcSchedule classes[DHC_MAX_CLASSES];
  int n_classes;
} DhcKernelRequest;

/* SHA-256 over spec text, target with resolved features, schedules, generator id. */
void dhc_kernel_key(const DhcCompiler *c, const DhcKernelRequest *r, char hex[65]);

/* out[i] is the linked kernel of req[i]; valid until the compiler closes. Equal keys are
 * generated once. Missing ones are generated by `workers` threads in parallel and put
 * into the store. stats are added to. */
dhc_status dhc_compile(DhcCompiler *c, const DhcKernelRequest *req, int n, dhc_kernel *out,
                       DhcCompileStats *stats) DHC_MUST_USE;

/* The kernels of an earlier call by their keys alone; name, n_ptrs, n_dims and n_classes of kernels[] are as they were
 * then. False where one of them is not in the store any more: they have to be asked for by dhc_compile. */
bool dhc_compile_again(DhcCompiler *c, const char (*key)[65], int n, dhc_kernel *kernels, DhcCompileStats *stats);

/* How many of these a call of dhc_compile would generate. */
int dhc_compile_missing(const DhcCompiler *c, const DhcKernelRequest *req, int n);

/* What is known of a kernel before it is compiled. */
typedef struct DhcKernelFacts {
  char key[65];
  bool there;        /* compiled already, or in the store: asking for it would generate nothing */
  dhc_kernel kernel; /* its size classes and their programs; `fn` is no code, there for binding alone */
} DhcKernelFacts;
/* Facts of n kernels; nothing is generated, loaded or kept but in the arena. */
dhc_status dhc_compile_describe(DhcCompiler *c, const DhcKernelRequest *req, int n, DhcArena *arena, DhcKernelFacts *out) DHC_MUST_USE;
/* What a kernel's code would be made from: its table (fn is NULL) and a loop program a class. Memory is the
 * arena's; nothing is generated. */
dhc_status dhc_compiler_programs(const DhcCompiler *c, const DhcKernelRequest *r, DhcArena *arena, dhc_kernel *out,
                                 const struct DhcLp *const **programs) DHC_MUST_USE;
/* A standalone object for the compiler's target; *bytes is malloc's. */
dhc_status dhc_compiler_object(DhcCompiler *c, const struct DhcObject *o, DhcArena *arena, char **bytes, size_t *n_bytes) DHC_MUST_USE;

/* Spec texts of all that the compiler's store holds, for as many as `room`; how many. Memory is the arena's. */
int dhc_compiler_stored(DhcCompiler *c, DhcArena *arena, const char **text, int room);

/* Stages of one kernel as text, for `print`: "loop", then what the backends of the build have. NULL behind the last. */
const char *dhc_compiler_stage(int i);
/* The backend whose stage this is; NULL: any. */
const char *dhc_compiler_stage_backend(const char *stage);
dhc_status dhc_compiler_print(DhcCompiler *c, const DhcKernelRequest *r, const char *stage,
                              DhcText *to) DHC_MUST_USE;

#endif
