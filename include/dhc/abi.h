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

/* Of everything in this file: images carry it, and readers refuse another (runtime/image_io.c). */
enum { DHC_ABI_VERSION = 9 };

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
 * over calls and threads gives the same bits, as long as each of the class's
 * phases is complete before a task of the next begins. scratch is private to the
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

enum { DHC_MAX_PHASES = 4 };

/* One size class of a compiled kernel. All programs read the kernel's dim[]. */
typedef struct dhc_kernel_class {
  dhc_dimprog guard;         /* taken if nonzero; the last class has none */
  dhc_dimprog n_tasks;       /* how many tasks the class cuts the work into */
  dhc_dimprog first_tasks;   /* the first phase: tasks below this number; absent: one phase */
  dhc_dimprog later_tasks[DHC_MAX_PHASES - 2]; /* where the phases behind the first but the last end; absent: at n_tasks */
  dhc_dimprog scratch_bytes; /* per worker */
  dhc_dimprog shared_bytes;  /* memory that the tasks of one call share */
  dhc_kernel_fn fn;          /* NULL until loaded; on other devices than the host a handle, not to be called */
} dhc_kernel_class;

typedef struct dhc_kernel {
  const char *name; /* short, for profiles: kind and key prefix */
  int32_t n_ptrs, n_dims, n_classes;
  const dhc_kernel_class *classes; /* n_classes, at least 1; what binding takes is the first whose guard holds */
  dhc_dimprog flops, bytes; /* of a call, over its dims, for profiles: operations; bytes if each element is moved once. Absent: not known */
} dhc_kernel;

/* ---- plans ------------------------------------------------------------- */

/* Segments of a program's memory. Buffers of one segment lie at offsets fixed at bind time. */
typedef enum dhc_segment {
  DHC_SEGMENT_WEIGHTS, /* trained parameters, in the plan's layout order */
  DHC_SEGMENT_MOMENTS, /* what the optimiser keeps, averaged weights: k ranges of the weights' size */
  DHC_SEGMENT_BUFFERS, /* buffers and tables */
  DHC_SEGMENT_STATES,  /* what a streaming entry keeps from run to run */
  DHC_SEGMENT_WORK,    /* saved for backward + scratch; packed by liveness */
  DHC_SEGMENT_IO,      /* inputs and outputs */
  DHC_SEGMENT_PANELS,  /* packed copies of weights (passes/plan/layout.c) */
  DHC_SEGMENT_SCALARS, /* float hyperparameters, lr, step, seed, finite flag */
  DHC_N_SEGMENTS
} dhc_segment;

/* A buffer's byte offset at bind time is, in table order,
 *   alias >= 0:    offset(alias) + at
 *   n_below == 0:  at
 *   otherwise:     max(at, end(below[0]), end(below[1]), …) rounded up to 64,
 * where end(b) = offset(b) + bytes(b). */
typedef struct dhc_buffer {
  int32_t segment; /* dhc_segment */
  int32_t alias; /* buffer whose memory this one shares, or -1 */
  dhc_dimprog at;
  dhc_dimprog bytes;
  const int32_t *below;
  int32_t n_below;
} dhc_buffer;

enum { DHC_MAX_LOOP_DEPTH = 4 };

/* Operand of an item: buffer plus byte offset, plus step[d] bytes per completed
 * iteration of the enclosing loop at depth d (outermost first). Bytes [low, high) of the buffer are all that
 * the item may touch of it, in all iterations; a program of no code: from the buffer's beginning, to its end. */
typedef struct dhc_ref {
  int32_t buffer;
  dhc_dimprog offset;
  dhc_dimprog step[DHC_MAX_LOOP_DEPTH];
  dhc_dimprog low, high;
} dhc_ref;

typedef enum dhc_item_kind {
  DHC_ITEM_CALL, /* run kernel `kernel` on refs with dims */
  DHC_ITEM_COPY, /* refs[1] <- refs[0], `bytes` bytes, may not overlap */
  DHC_ITEM_FILL, /* refs[0] <- bytes of `pattern` (4-byte), `bytes` bytes */
  DHC_ITEM_LOOP, /* run the next n_body items `count` times */
  DHC_ITEM_RANKS, /* refs[1] <- what refs[0] of all processes that run the plan make together, `bytes` bytes; `pattern`: a
                     dhc_ranks_op. Both are the same place. Under way beside the items behind it, up to the next JOIN */
  DHC_ITEM_JOIN  /* all RANKS before it are done */
} dhc_item_kind;

typedef enum dhc_ranks_op {
  DHC_RANKS_SUM,    /* f32, element by element */
  DHC_RANKS_SPREAD, /* 4-byte elements in parts one after the other, as many of each as the dims say: part r as rank r has it */
  DHC_N_RANKS_OPS
} dhc_ranks_op;

typedef struct dhc_item {
  int32_t kind; /* dhc_item_kind */
  int32_t kernel;
  int32_t n_refs, n_dims;
  const dhc_ref *refs;
  const dhc_dimprog *dims; /* over the plan's symbols */
  dhc_dimprog bytes;       /* COPY, FILL, RANKS */
  uint32_t pattern;        /* FILL, RANKS */
  dhc_dimprog count;       /* LOOP */
  int32_t n_body;          /* LOOP */
  const char *label;       /* path of the layer it belongs to, or NULL */
} dhc_item;

/* A run-time guard: refused with `message` if the program gives 0. */
typedef struct dhc_guard {
  dhc_dimprog cond;
  const char *message;
  uint32_t src_file, src_begin, src_end; /* what asked for it; src_file 0: nobody knows */
} dhc_guard;

typedef struct dhc_plan {
  const char *name; /* entry, for reports */
  int32_t n_symbols, n_buffers, n_items, n_guards, n_kernels;
  const char *const *symbols;
  const dhc_buffer *buffers;
  const dhc_item *items;
  const dhc_guard *guards;
} dhc_plan;

/* ---- images ------------------------------------------------------------ */

/* All there is to know about a compiled entry in order to run it: nothing else of the compiler
 * is needed. Planning fills it in (passes/plan/image.c); executors, emitted objects and other
 * devices read it. Structs refer to one another by number. */

typedef enum dhc_image_role {
  DHC_IMAGE_INPUT,  /* given at every run */
  DHC_IMAGE_RESULT,
  DHC_IMAGE_WEIGHT,  /* trained weight */
  DHC_IMAGE_BUFFER, /* saved, not trained */
  DHC_IMAGE_TABLE,  /* computed once, not saved */
  DHC_IMAGE_STATE,  /* carried from run to run by streaming entries */
  DHC_IMAGE_RANGE,  /* flat: all weights, or a range of moments */
  DHC_IMAGE_SCALAR  /* a number that changes without compiling anew */
} dhc_image_role;

/* A function that is evaluated rarely and by itself, in float64: how tensors begin, what an optimiser does to
 * ranges of numbers. Its parameters go by name: scalars of the program, and states, whose sizes they stand for. */
typedef struct dhc_graph {
  const char *text; /* in the text form of the IR, the function last; NULL: there is none, or it was not written yet */
  const void *made; /* the same for the process that made the image, instead of the way through the text; never in bytes */
} dhc_graph;

/* A tensor that a program keeps: its name, its form and its place. */
typedef struct dhc_slot {
  const char *name; /* "classifier.0.weight" */
  const char *file; /* in weight files, names of its parts, one a line; '*' is an index of the leading axis; NULL: as `name` */
  int32_t role;     /* dhc_image_role: WEIGHT, BUFFER, TABLE or STATE */
  int32_t dtype;    /* as it lies in memory */
  int32_t rank;
  int64_t dim[8];   /* STATE: -1 where the first run decides */
  int64_t n;        /* elements; STATE: 0 */
  int64_t at;       /* byte offset in its segment: WEIGHTS for WEIGHT, else BUFFERS; STATE: -1, placed
                       in STATES by who runs */
  dhc_graph begin;  /* its first values, one result; STATE: see dhc_begin */
} dhc_slot;

/* A range of the MOMENTS segment. */
typedef struct dhc_range {
  const char *name;     /* "m"; "ema"; "begun" */
  int32_t dtype;
  int32_t like_weights; /* laid out like n of the weights from `begin` on (frozen ones are last); else by itself */
  int32_t from_weights; /* begins as a copy of the weights; else with zeros */
  int64_t n, at;        /* elements, byte offset */
  int64_t begin, whole; /* of `whole` elements these are those from `begin` on, the others being on other ranks; else 0 and n */
} dhc_range;

/* What the images of one model share: where everything lies that outlives a run. Layouts of one
 * model agree, but that only a training step's has ranges. */
typedef struct dhc_layout {
  int32_t n_slots, n_ranges;
  int32_t dtype; /* of weights: DHC_F32, or DHC_F64 for the interpreter */
  const dhc_slot *slots;
  const dhc_range *ranges;
  int64_t n_weights; /* elements of all WEIGHT slots, which fill the segment without gaps */
  int64_t bytes[DHC_N_SEGMENTS]; /* of WEIGHTS, MOMENTS and BUFFERS; else 0 */
} dhc_layout;

enum { DHC_ABSENT_NEVER, DHC_ABSENT_ZEROS, DHC_ABSENT_ONES };

/* A parameter or result of the entry. */
typedef struct dhc_image_tensor {
  const char *name;
  const char *type; /* for messages: "f32[B,3,H,W]" */
  int32_t role, dtype, rank;
  int32_t buffer;   /* of the plan; -1: a parameter that nothing reads */
  int32_t place;    /* WEIGHT, BUFFER, TABLE, STATE: slot; RANGE: range, or -1 for the weights */
  int32_t absent;   /* INPUT: what it is where it is not given */
  double value;     /* SCALAR: what it is unless somebody says otherwise */
  const dhc_dimprog *dims; /* `rank` of them, over the plan's symbols */
} dhc_image_tensor;

/* symbols[symbol] = value, over the symbols found so far and, as the last of the environment,
 * the extent of `axis` of input `tensor`. The extents computed from all symbols have to be those
 * given. */
typedef struct dhc_equation {
  int32_t symbol, tensor, axis;
  dhc_dimprog value;
} dhc_equation;

/* A copy of a WEIGHT in the order in which kernels read it, made before the first run after weights have
 * changed: `matrices` of rows x cols elements, each in panels of `width` rows, within a panel all
 * rows of one column side by side, the last panel filled up with zeros. */
enum { DHC_PANEL_F32 = 1 };
typedef struct dhc_panel {
  int32_t tensor, buffer, width;
  int64_t matrices, rows, cols;
  int32_t tag; /* how elements lie: DHC_PANEL_F32; in images that are not run others of ir/spec.h */
} dhc_panel;

/* Elements of an input, all or those of a part, are indices: from 0 to below `extent`. */
typedef struct dhc_index_check {
  int32_t tensor;
  int32_t has_part;
  dhc_dimprog extent, start[8], size[8]; /* over the plan's symbols; start, size, step: of a part */
  int64_t step[8];
  int32_t exempt; /* `exempted` is allowed as well */
  int64_t exempted;
  const char *into; /* what it is an index of, or NULL */
} dhc_index_check;

/* A bool result that has to be true, or the run meant nothing. */
typedef struct dhc_require {
  int32_t tensor;
  const char *message;
} dhc_require;

/* A number that changes without compiling anew, which the entry or a graph of the image may read. */
typedef struct dhc_scalar {
  const char *name;
  double value; /* unless somebody says otherwise */
} dhc_scalar;

/* How a state begins that the entry carries on and that holds nothing yet. */
typedef struct dhc_begin {
  int32_t slot;
  int32_t result; /* of the image's `reset`; -1: `value` everywhere */
  double value;
} dhc_begin;

enum { DHC_UPDATE_FLAT, DHC_UPDATE_GRADIENT, DHC_UPDATE_SCALAR };

/* A parameter of an optimiser's formula. */
typedef struct dhc_update_param {
  int32_t kind;
  int32_t range;        /* FLAT: of the layout, -1: the weights */
  const char *scalar;   /* SCALAR: of the program */
  int32_t from_least;   /* SCALAR: it may be anything from `least` to its value, element by element */
  double least;
} dhc_update_param;

/* What a training step does to the weights and ranges, for those who want to know how far it can go. */
typedef struct dhc_update {
  dhc_graph formula; /* none in images that do not train */
  int32_t n_params, n_results;
  const dhc_update_param *params;
  const int32_t *results; /* the range that a result becomes; -1: the weights */
  int32_t average;        /* range that follows the weights as their average; -1: none */
  int32_t loss, norm;     /* results of the entry; -1: none */
} dhc_update;

typedef struct dhc_image {
  uint32_t version; /* DHC_ABI_VERSION */
  dhc_plan plan;
  const dhc_kernel *kernels; /* plan.n_kernels */
  dhc_layout layout;
  int32_t n_params, n_results; /* tensors: parameters in their order, then results */
  const dhc_image_tensor *tensors;
  int32_t n_equations, n_panels, n_index_checks, n_requires;
  const dhc_equation *equations;
  const dhc_panel *panels;
  const dhc_index_check *index_checks;
  const dhc_require *requires;
  int32_t n_scalars;
  const dhc_scalar *scalars;
  dhc_graph reset; /* first values of states that are not one number everywhere */
  int32_t n_begins; /* of states; 0: the entry carries none on */
  const dhc_begin *begins;
  dhc_update update;
  int32_t finite; /* bool result of a training step: false where it changed nothing; -1: no step */
} dhc_image;

#ifdef __cplusplus
}
#endif
#endif
