/* The contract between generated code, plans and whoever runs them: the kernel
 * entry point, the executor, dim programs, kernel tables and plans as plain
 * structs. Nothing here knows the compiler; the runtime, emitted objects and
 * hosts that bring their own threads include only this file. */
#ifndef DHC_ABI_H
#define DHC_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { DHC_ABI_VERSION = 2 };

/* ---- dtypes ------------------------------------------------------------ */

typedef enum dhc_dtype {
#define DHC_DTYPE(id, name, bytes, kind) DHC_##id,
#include "dhc/dtypes.def"
#undef DHC_DTYPE
  DHC_N_DTYPES
} dhc_dtype;

/* ---- kernels and executors --------------------------------------------- */

/* One compiled kernel. ptr[i] is operand i of its spec (inputs first, outputs
 * after, byte offsets already added), dim[] the spec's arguments in the order
 * that ir/spec.h fixes. Runs tasks [task0, task1); any partition of the tasks
 * over calls and threads gives the same bits, as long as the class's first
 * phase is complete before another task begins. scratch is private to the
 * calling worker, 64-byte aligned, at least as large as the class's scratch
 * program says. A class with shared memory finds it behind its operands, as
 * ptr[n_ptrs], 64-byte aligned, holding anything. Never allocates, never fails. */
typedef void (*dhc_kernel_fn)(void *const *ptr, const intptr_t *dim, intptr_t task0,
                              intptr_t task1, void *scratch);

/* Who runs tasks. NULL where a dhc_exec is expected means: serially, in the
 * calling thread. parallel_for calls f on disjoint ranges that cover [0, n),
 * each with a worker number below `workers`, and returns when all are done. */
typedef struct dhc_exec {
  void *ctx;
  int workers;
  void (*parallel_for)(void *ctx, int64_t n,
                       void (*f)(void *arg, int64_t t0, int64_t t1, int worker), void *arg);
} dhc_exec;

/* ---- dim programs ------------------------------------------------------ */

/* Integer expressions over an environment of int64 values (a plan's symbols, or
 * a kernel's dim arguments), as reverse Polish code. Division floors. */
enum dhc_dimop {
  DHC_DIM_CONST, /* next word is the value */
  DHC_DIM_SYM,   /* next word is the index into the environment */
  DHC_DIM_ADD,
  DHC_DIM_SUB,
  DHC_DIM_MUL,
  DHC_DIM_FLOORDIV,
  DHC_DIM_CEILDIV,
  DHC_DIM_MIN,
  DHC_DIM_MAX,
  DHC_DIM_LE, /* 1 if a <= b else 0 */
  DHC_DIM_AND
};
typedef struct dhc_dimprog {
  const int64_t *code;
  int32_t n_code; /* 0: the program is absent (value 0 for sizes, 1 for guards) */
} dhc_dimprog;

/* ---- kernel table ------------------------------------------------------ */

/* One size class of a compiled kernel. All programs read the kernel's dim[]. */
typedef struct dhc_kernel_class {
  dhc_dimprog guard;         /* taken if nonzero; the last class has none */
  dhc_dimprog n_tasks;       /* how many tasks the class cuts the work into */
  dhc_dimprog first_tasks;   /* the first phase: tasks below this number; absent: one phase */
  dhc_dimprog scratch_bytes; /* per worker */
  dhc_dimprog shared_bytes;  /* memory that the tasks of one call share */
  dhc_kernel_fn fn;          /* NULL until loaded; on other devices than the host a handle, not to be called */
} dhc_kernel_class;

typedef struct dhc_kernel {
  const char *name; /* short, for profiles: kind and key prefix */
  int32_t n_ptrs, n_dims, n_classes;
  const dhc_kernel_class *classes; /* n_classes, at least 1; what binding takes is the first whose guard holds */
} dhc_kernel;

/* ---- plans ------------------------------------------------------------- */

/* Arenas of a program. Buffers of one arena lie at offsets fixed at bind time. */
typedef enum dhc_arena_kind {
  DHC_ARENA_WEIGHTS, /* parameters, in the plan's layout order */
  DHC_ARENA_GRADS,   /* same offsets as weights */
  DHC_ARENA_OPT,     /* optimiser state, EMA: k ranges of the weights' size */
  DHC_ARENA_STATE,   /* buffers and tables */
  DHC_ARENA_RECURRENT, /* state: what a streaming entry keeps from run to run */
  DHC_ARENA_WORK,    /* saved for backward + scratch; packed by liveness */
  DHC_ARENA_IO,      /* inputs and outputs */
  DHC_ARENA_PANELS,  /* packed copies of parameters (passes/plan/layout.c) */
  DHC_ARENA_SCALARS, /* float hyperparameters, lr, step, seed, finite flag */
  DHC_N_ARENAS
} dhc_arena_kind;

/* A buffer's byte offset at bind time is, in table order,
 *   alias >= 0:    offset(alias) + at
 *   n_below == 0:  at
 *   otherwise:     max(at, end(below[0]), end(below[1]), …) rounded up to 64,
 * where end(b) = offset(b) + bytes(b). */
typedef struct dhc_buffer {
  int32_t arena; /* dhc_arena_kind */
  int32_t dtype; /* dhc_dtype, of the elements */
  int32_t alias; /* buffer whose memory this one shares, or -1 */
  dhc_dimprog at;
  dhc_dimprog bytes;
  const int32_t *below;
  int32_t n_below;
  const char *name; /* parameter path, input or output name, or NULL */
} dhc_buffer;

enum { DHC_MAX_LOOP_DEPTH = 4 };

/* Operand of an item: buffer plus byte offset, plus step[d] bytes per completed
 * iteration of the enclosing loop at depth d (outermost first). */
typedef struct dhc_ref {
  int32_t buffer;
  dhc_dimprog offset;
  dhc_dimprog step[DHC_MAX_LOOP_DEPTH];
} dhc_ref;

typedef enum dhc_item_kind {
  DHC_ITEM_CALL, /* run kernel `kernel` on refs with dims */
  DHC_ITEM_COPY, /* refs[1] <- refs[0], `bytes` bytes, may not overlap */
  DHC_ITEM_FILL, /* refs[0] <- bytes of `pattern` (4-byte), `bytes` bytes */
  DHC_ITEM_LOOP  /* run the next n_body items `count` times */
} dhc_item_kind;

typedef struct dhc_item {
  int32_t kind; /* dhc_item_kind */
  int32_t kernel;
  int32_t n_refs, n_dims;
  const dhc_ref *refs;
  const dhc_dimprog *dims; /* over the plan's symbols */
  dhc_dimprog bytes;       /* COPY, FILL */
  uint32_t pattern;        /* FILL */
  dhc_dimprog count;       /* LOOP */
  int32_t n_body;          /* LOOP */
  uint32_t src_file, src_begin, src_end; /* where in the model it came from */
  const char *label;       /* path of the layer it belongs to, or NULL */
} dhc_item;

/* A run-time guard: refused with `message` if the program gives 0. */
typedef struct dhc_guard {
  dhc_dimprog cond;
  const char *message;
} dhc_guard;

typedef struct dhc_plan {
  const char *name; /* entry, for reports */
  int32_t n_symbols, n_buffers, n_items, n_guards, n_kernels;
  const char *const *symbols;
  const dhc_buffer *buffers;
  const dhc_item *items;
  const dhc_guard *guards;
} dhc_plan;

#ifdef __cplusplus
}
#endif
#endif
