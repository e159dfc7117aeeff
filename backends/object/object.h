/* Standalone objects: what a C program links to run a model with nothing else.
 *
 * An object is made from images (dhc/abi.h) and the loop programs of their kernels. A walk over each
 * image (walk.c) gives an entry in the terms of this file: integer expressions over the entry's sizes, and
 * statements whose operands are places in the caller's memory. Writers know no more than that:
 *
 *   llvm*.c    functions in one LLVM module with the kernels
 *   c99*.c     one file of freestanding C99
 *   header.c   the C header, and the text that describe() returns
 *
 * Nothing is interpreted at run time, nothing allocates, nothing is written but what the caller gives.
 * Memory is the arena's that the walk was given. */
#ifndef DHC_BACKENDS_OBJECT_OBJECT_H
#define DHC_BACKENDS_OBJECT_OBJECT_H

#include "backends/compile.h"
#include "backends/loop/loop.h"

/* Of the functions that an object has and of its header's types: docs/abi.md. */
enum { DHC_OBJECT_ABI = 1 };
/* Sizes are from 1 to this. */
enum { DHC_OBJ_MAX_DIM = INT32_MAX };

/* ---- integer expressions (expr.c) ------------------------------------------------------ */

enum { DHC_OBJ_SELECT = DHC_DIM_AND + 1 }; /* c ? a : b; beside the ops of dim programs */

typedef struct DhcObjX {
  int op;
  const struct DhcObjX *a, *b, *c;
  int64_t value;  /* CONST; SYM: number of the symbol */
  int64_t lo, hi; /* what it can be, symbols being from 1 to DHC_OBJ_MAX_DIM */
  bool checked;   /* its op may leave 63 bits or divide by 0 at some sizes: they are refused */
  int id;         /* position in DhcObjEntry.x: behind its operands */
} DhcObjX;

/* ---- entries (walk.c) ---------------------------------------------------------------------- */

/* Whose memory an operand lies in. */
typedef enum DhcObjBase {
  DHC_OBJ_WEIGHTS, /* the object's constants: weights, buffers, tables, packed copies, scalars */
  DHC_OBJ_STATE,   /* what a stream or a training carries on: the caller's */
  DHC_OBJ_WORK,    /* the caller's workspace */
  DHC_OBJ_SCALARS, /* of a training step: the caller's numbers of this step */
  DHC_OBJ_PARAM    /* an input or output: parameter number `param` */
} DhcObjBase;

typedef struct DhcObjRef {
  DhcObjBase base;
  int param;
  const DhcObjX *at;                        /* bytes */
  const DhcObjX *step[DHC_MAX_LOOP_DEPTH];  /* bytes an iteration of the loop at that depth; NULL: 0 */
} DhcObjRef;

typedef struct DhcObjClass {
  const DhcObjX *guard; /* NULL: always */
  int function;         /* of the object */
  const DhcObjX *n_tasks, *first_tasks; /* first_tasks NULL: one phase */
  const DhcObjX *later_tasks[DHC_MAX_PHASES - 2]; /* ends of phases between the first and the last; NULL: there is none (GPUs alone have some) */
} DhcObjClass;

typedef struct DhcObjStmt {
  int kind; /* dhc_item_kind */
  int n_refs, n_dims, n_classes;
  DhcObjRef *refs; /* COPY: from, to; FILL: to */
  const DhcObjX **dims;
  DhcObjClass class[DHC_MAX_CLASSES]; /* the first whose guard holds is called */
  const DhcObjX *bytes;               /* COPY, FILL */
  const DhcObjX *count;               /* LOOP */
  uint32_t pattern;                   /* FILL */
  int n_body;                         /* LOOP: statements behind it that it repeats */
  const char *label;                  /* layer it belongs to, or NULL */
} DhcObjStmt;

/* A parameter of the C function: an input or an output. */
typedef struct DhcObjParam {
  const char *name; /* a C identifier */
  const dhc_image_tensor *tensor;
  bool out;
} DhcObjParam;

/* A number of a training step: a member of the struct that its caller passes. */
typedef struct DhcObjScalar {
  const char *name; /* a C identifier */
  const dhc_image_tensor *tensor;
  int64_t at; /* byte offset in the struct, as C lays it out */
  double value; /* what a training of the model would begin with */
} DhcObjScalar;

/* A tensor of a training's state that callers may set and get. */
typedef struct DhcObjKept {
  const char *name;
  const dhc_slot *slot; /* NULL: a range of what the optimiser keeps, flat */
  int32_t dtype;
  int64_t at, n; /* byte offset in the state, elements */
} DhcObjKept;

/* The state of a training step: weights, what the optimiser keeps, buffers; each begins at a multiple of 64. */
typedef struct DhcObjTrain {
  const char *c_name; /* "mlp_train_step", of every level and variant */
  const dhc_layout *layout;
  int64_t moments, buffers, bytes; /* where they begin; weights at 0; of all */
  const uint8_t *first;            /* weights, then (at buffers - moments) buffers, as a training begins */
  DHC_VEC(DhcObjScalar) scalars;
  DHC_VEC(DhcObjKept) kept;
} DhcObjTrain;

typedef struct DhcObjGuard {
  const DhcObjX *cond;
  const char *message;
} DhcObjGuard;

/* Elements of an input that are used as indices: loops over them, outermost first. */
typedef struct DhcObjIndexCheck {
  int param;
  int rank; /* loops */
  const DhcObjX *at, *count[8], *step[8]; /* in elements */
  const DhcObjX *extent;
  bool exempt; /* `exempted` is allowed as well */
  int64_t exempted;
} DhcObjIndexCheck;

typedef struct DhcObjEntry {
  const char *name;   /* "forward" */
  const char *c_name; /* "mlp_forward", of a variant "mlp_r7_forward" */
  int variant;        /* 0 where the object has none */
  const dhc_image *image;
  int n_symbols;
  const char **symbol; /* C identifiers */
  int64_t *bound;      /* by symbol: its value; 0: a parameter of the function */
  DhcObjParam *param;
  int n_params;
  DHC_VEC(const DhcObjX *) x;
  DHC_VEC(DhcObjGuard) guards;
  DHC_VEC(DhcObjIndexCheck) index_checks; /* before anything is computed */
  DHC_VEC(DhcObjStmt) stmts;
  DHC_VEC(DhcObjRef) required; /* bools that have to be true afterwards */
  int most_refs, most_dims; /* of a call */
  bool reads_weights;
  const DhcObjX *work_bytes;     /* multiple of 64; behind it `shared`, then `scratch` for each worker */
  const DhcObjX *shared_bytes, *scratch_bytes; /* multiples of 64 */
  const DhcObjX *state_bytes;    /* NULL: it carries nothing on */
  DhcObjTrain *train;            /* NULL: it does not train */
  const DhcObjX *numbers_at;     /* of a step for GPUs: where in the workspace its numbers lie there; else NULL */
  int64_t stack_bytes;           /* when its code is made: what a call takes at most without exec; 0: not known */
  const char *stack_most;        /* the function that takes most of it */
} DhcObjEntry;

/* ---- objects ---------------------------------------------------------------------------------- */

/* Code that entries call. Equal kernels are there once. */
typedef struct DhcObjFunction {
  const char *name;
  int level; /* of an object with several: the machine that it is for */
  const DhcLp *program;
} DhcObjFunction;

/* One of several models that an object is made of; or the model for one of several levels of a machine, the least first, which
 * callers see together: by a level, or the best that the CPU has. */
typedef struct DhcObjVariant {
  const char *name, *hash;
  const char *target; /* of a level: its row of backends/cpu/targets.def; NULL: a variant */
} DhcObjVariant;

/* An entry that every variant has, as functions that take a variant first. */
typedef struct DhcObjChoice {
  const char *name, *c_name; /* "forward", "mlp_forward" */
  int *entry;                /* by variant */
  bool weights, state;       /* parameters that entries of some variants have */
} DhcObjChoice;

/* One call that the object makes to test itself: bytes of each parameter of the entry, inputs as they are given, outputs as they
 * have to be. */
typedef struct DhcObjTest {
  int entry;
  const void **data;
  int64_t *bytes;
} DhcObjTest;

/* What a function takes of the stack: its own frame, and with all that it calls. */
typedef struct DhcObjFrame {
  const char *name;
  int64_t frame, deepest;
} DhcObjFrame;
typedef struct DhcObjFrames {
  DHC_VEC(DhcObjFrame) all;
} DhcObjFrames;

/* The object is a program for an emulator that counts instructions: it calls an entry, all of whose sizes are fixed, as often as it has
 * arguments (llvm_drive.c). */
typedef struct DhcObjDrive {
  int entry;
  const char *emulator; /* filled in when its code is made: "qemu-aarch64 max", program and CPU; NULL: there is none, and no program */
} DhcObjDrive;

/* Constants begin with a header (docs/abi.md); what entries read lies behind it. */
enum { DHC_OBJ_BLOB_HEADER = 64 };
typedef enum DhcObjPieceKind { DHC_OBJ_SLOT, DHC_OBJ_PANEL, DHC_OBJ_SCALAR } DhcObjPieceKind;
typedef struct DhcObjPiece {
  DhcObjPieceKind kind;
  int slot;                        /* SLOT, PANEL: of the layout */
  int width;                       /* PANEL */
  DhcTag tag;                      /* PANEL: how its elements lie */
  int64_t matrices, rows, cols;    /* PANEL */
  const dhc_image_tensor *scalar;  /* SCALAR */
  int64_t at, bytes;
} DhcObjPiece;

/* Code of an object for GPUs, and how each of its functions is launched. */
typedef struct DhcObjCudaImage {
  const char *arch; /* "sm_90a" */
  int major, minor; /* of the architecture */
  bool exact, ptx;  /* it runs on no other; it is text that the driver compiles for later ones */
  const char *bytes;
  size_t n;
} DhcObjCudaImage;
typedef struct DhcObjCudaLaunch {
  int32_t threads, per_block, shared_bytes, n_ptrs, n_dims; /* backends/cuda/cuda_internal.h */
} DhcObjCudaLaunch;
typedef struct DhcObjCuda {
  const char *archs, *header; /* "sm_80,sm_90a"; the file name that the source includes */
  const DhcObjCudaImage *image; /* in the order in which they are tried */
  int n_images;
  const DhcObjCudaLaunch *launch; /* by function */
} DhcObjCuda;

struct DhcObject {
  const char *name;       /* prefix of all that it exports: a C identifier */
  const char *model;      /* as its author calls it */
  const char *hash;       /* of the model with its hyperparameters */
  const char *build;      /* what made the object */
  const dhc_layout *layout;
  const DhcObjVariant *variant; /* n_variants 0: it is of one model */
  int n_variants;
  bool levels;            /* they are those of a machine */
  DhcObjEntry **entry;
  int n_entries;
  DHC_VEC(DhcObjChoice) choices; /* one an entry of the variants */
  DHC_VEC(DhcObjFunction) functions;
  DHC_VEC(DhcObjPiece) pieces;
  int64_t blob_bytes;     /* of the constants, a multiple of 64; 0: there are none */
  const uint8_t *blob;    /* embedded; NULL: the caller passes them */
  const uint8_t *fixed;   /* where the caller passes them: the same bytes but for the tensors of files */
  int *tensor;            /* slots of the tensors of files that entries read, in order */
  int n_tensors;
  uint64_t blob_id;       /* stands in the header of constants: what they are laid out for */
  DHC_VEC(DhcObjTest) tests; /* of entries that carry nothing on and whose sizes are fixed; none: no selftest() */
  bool large;             /* the program that links it may be larger than 2 GiB */
  DhcObjCuda *cuda;       /* NULL: code for a CPU */
  DhcTag tag;                /* PANEL, or how weights are quantised, when callers cannot set them tensor by tensor */
  const int *row_axes;       /* by slot of the layout, as in the request */
  bool bounded;              /* how much is done hangs on sizes alone */
  DhcObjFrames *frames;      /* of all functions, in the order of the module; filled in when its code is made. NULL: nobody asks */
  DhcObjDrive *drive;        /* NULL: what others link */
  const char *describe;   /* JSON; by dhc_object_describe, when it is known where the constants lie */
};
typedef struct DhcObject DhcObject;

/* What an entry is made from. `kernels` has plan.n_kernels tables (fn is not looked at), programs[k][c] is the loop
 * program of class c of kernel k, keys[k] names equal kernels. */
typedef struct DhcObjSource {
  const char *name;
  int variant;        /* 0 where the object has none */
  const int *slot_of; /* by slot of the image: of the request's layout */
  const double *scalar; /* of a training step: values by tensor of the image; NULL: it does not train */
  const dhc_image *image;
  const dhc_kernel *kernels;
  const DhcLp *const *const *programs;
  const char *const *keys;
  uint64_t *writes; /* by kernel: operands that it writes, as bits */
} DhcObjSource;

typedef struct DhcObjRequest {
  const char *name, *model, *hash, *build;
  const dhc_layout *layout;
  const DhcObjSource *source;
  int n_sources;               /* those of a variant side by side, all variants with the same entries */
  const DhcObjVariant *variant; /* none: the object is of one model */
  int n_variants;
  const char *const *bind_name; /* sizes that are fixed */
  const int64_t *bind_value;
  int n_bind;
  DhcTag tag;          /* how weights lie that are quantised */
  const int *row_axes; /* by slot of the layout: axes that number its rows, each with one scale; 0: it is not quantised */
} DhcObjRequest;

/* *why (arena): what an object cannot have. */
DhcObject *dhc_object_walk(const DhcObjRequest *rq, DhcArena *arena, const char **why);
/* cuda_around.c. Behind the walk: its code is for devices of these architectures, and source with a host part (DHC_BACKEND_SOURCES), which
 * includes `header`; workspace of training steps has room for their numbers. */
void dhc_object_goes_away(DhcObject *o, const char *archs, const char *header, DhcArena *arena);

/* Bytes of constants: values(slot) gives a slot's bytes as the layout says; NULL: they stay 0. */
typedef const void *(*DhcObjValues)(void *ctx, int slot);
/* The f32 that a row's elements become by being stored so. I8: to[i] * scale, symmetric, scale = largest / 127, halves to even;
 * NULL scale: BF16, halves to even. */
void dhc_object_round_row(DhcTag tag, const float *from, int64_t n, float *to, int8_t *whole, float *scale);
/* All of a slot that is quantised. */
void dhc_object_round(const DhcObject *o, int slot, const float *from, float *to);
/* With a sum over everything behind the header, if asked for. NULL: out of memory. malloc's. */
uint8_t *dhc_object_blob(const DhcObject *o, bool sum, DhcObjValues values, void *ctx);
/* The sum: from SUM_BEGIN on (sum ^ word) * SUM_FACTOR, word by word of 64 bits (FNV-1a on words); 0 stands for none. */
#define DHC_OBJ_SUM_BEGIN 0xcbf29ce484222325u
#define DHC_OBJ_SUM_FACTOR 0x100000001b3
/* Words 0 to 2 of the header: magic and ABI version, blob_id, blob_bytes. */
uint64_t dhc_object_header_word(const DhcObject *o, int i);
/* No file holds it: a table or a scalar. */
bool dhc_object_piece_is_fixed(const DhcObject *o, const DhcObjPiece *p);
int64_t dhc_object_tensor_bytes(const DhcObject *o, int tensor);

/* ---- variants (choose.c) ------------------------------------------------------------------------ */

/* o->choices, from the entries of all variants. NULL, or (arena) which of them differ in what callers pass. */
const char *dhc_object_choose(DhcObject *o, DhcArena *arena);
/* The functions of a choice: "mlp_forward", "mlp_forward_workspace_bytes", "mlp_forward_why", "mlp_forward_state_bytes". */
typedef enum DhcObjCall { DHC_OBJ_RUN, DHC_OBJ_WORKSPACE_BYTES, DHC_OBJ_WHY, DHC_OBJ_STATE_BYTES, DHC_OBJ_N_CALLS } DhcObjCall;
extern const char *const dhc_object_call_suffix[DHC_OBJ_N_CALLS];
bool dhc_object_has_call(const DhcObjChoice *c, DhcObjCall call);
/* What they are called with. */
typedef enum DhcObjArgKind {
  DHC_OBJ_ARG_VARIANT, DHC_OBJ_ARG_WEIGHTS, DHC_OBJ_ARG_STATE, DHC_OBJ_ARG_TENSOR, DHC_OBJ_ARG_SCALARS, DHC_OBJ_ARG_SIZE, DHC_OBJ_ARG_WORKSPACE,
  DHC_OBJ_ARG_BYTES, DHC_OBJ_ARG_EXEC, DHC_OBJ_ARG_WORKERS
} DhcObjArgKind;
typedef struct DhcObjArg {
  DhcObjArgKind kind;
  int i; /* TENSOR: parameter; SIZE: symbol of the first variant's entry */
} DhcObjArg;
typedef struct DhcObjArgs {
  DHC_VEC(DhcObjArg) all;
} DhcObjArgs;
/* Of the function of variant v's own entry, of the one that takes a variant or level, or of the one that finds the level. */
enum { DHC_OBJ_BY_NUMBER = -1, DHC_OBJ_BY_CPU = -2 };
DhcObjArgs dhc_object_call_args(const DhcObject *o, const DhcObjChoice *c, DhcObjCall call, int v, DhcArena *arena);
/* "mlp_forward_workspace_bytes", of a level "mlp_forward_workspace_bytes_at"; by: as `v` of dhc_object_call_args */
const char *dhc_object_call_name(const DhcObject *o, const DhcObjChoice *c, DhcObjCall call, int by, DhcArena *arena);
/* "int64_t mlp_forward_workspace_bytes(int variant, int64_t B, int workers)" */
const char *dhc_object_call_prototype(const DhcObject *o, const DhcObjChoice *c, DhcObjCall call, int by, DhcArena *arena);

/* Whether callers can fill in the weights tensor by tensor. */
static inline bool dhc_object_sets_weights(const DhcObject *o) { return o->blob_bytes && !o->blob && o->tag == DHC_TAG_PANEL; }
/* "int8", "bf16"; NULL: as they are. */
const char *dhc_object_quantized(const DhcObject *o);
/* Whether a slot's numbers are those of fewer bits, and whether some kernel reads them as f32. */
bool dhc_object_is_rounded(const DhcObject *o, int slot);
bool dhc_object_is_wide(const DhcObject *o, int slot);

/* Every name that the object defines for its users, and how many (header.c). */
const char **dhc_object_exports(const DhcObject *o, DhcArena *arena, int *n);
/* "float" of a tensor's elements. */
const char *dhc_object_c_type(int32_t dtype);

/* The function that a test calls, and the workspace that it gives it: of several levels the largest. */
const char *dhc_object_test_function(const DhcObject *o, const DhcObjTest *t);
int64_t dhc_object_tested_workspace(const DhcObject *o, const DhcObjTest *t);
/* Workspace of selftest(): the entry's, and behind it its outputs, each at a multiple of 64. */
int64_t dhc_object_selftest_bytes(const DhcObject *o);
int64_t dhc_object_test_workspace(const DhcObjEntry *e);
/* What a training step's state is handled with: "_init", "_reset", "_set", "_get". */
typedef enum DhcObjTraining { DHC_OBJ_INIT, DHC_OBJ_RESET, DHC_OBJ_SET, DHC_OBJ_GET, DHC_OBJ_N_TRAINING } DhcObjTraining;
extern const char *const dhc_object_training_suffix[DHC_OBJ_N_TRAINING];
/* The first entry that handles this state: of several levels of the machine one does for all. */
bool dhc_object_handles_state(const DhcObject *o, const DhcObjEntry *e);
/* The header's text. */
void dhc_object_header(const DhcObject *o, const char *file, DhcText *to);
/* "dhc_object_status mlp_forward(const float *image, …)" */
const char *dhc_object_prototype(const DhcObject *o, const DhcObjEntry *e, DhcArena *arena);
/* Text as a string of JSON. */
void dhc_object_json_text(DhcText *to, const char *text);
/* What describe() returns. */
const char *dhc_object_describe(const DhcObject *o, const char *target, DhcArena *arena);
/* At all sizes: then its pointer may be anything. */
static inline bool dhc_object_needs_no_workspace(const DhcObjEntry *e) {
  return e->work_bytes->hi == 0 && e->shared_bytes->hi == 0 && e->scratch_bytes->hi == 0;
}
/* Text as a C identifier that is no word of C or C++. */
const char *dhc_object_identifier(const char *text, DhcArena *arena);

/* Expressions of an entry: equal ones are one. */
const DhcObjX *dhc_obj_const(DhcObjEntry *e, DhcArena *a, int64_t v);
const DhcObjX *dhc_obj_op(DhcObjEntry *e, DhcArena *a, int op, const DhcObjX *x, const DhcObjX *y);
const DhcObjX *dhc_obj_select(DhcObjEntry *e, DhcArena *a, const DhcObjX *c, const DhcObjX *x, const DhcObjX *y);
/* The program with env[i] for its symbol i; absent: for one without code. NULL: it is malformed. */
const DhcObjX *dhc_obj_prog(DhcObjEntry *e, DhcArena *a, dhc_dimprog p, const DhcObjX *const *env, int n_env, int64_t absent);
const DhcObjX *dhc_obj_symbol(DhcObjEntry *e, DhcArena *a, int i);
const DhcObjX *dhc_obj_align64(DhcObjEntry *e, DhcArena *a, const DhcObjX *x);
const DhcObjX *dhc_obj_max(DhcObjEntry *e, DhcArena *a, const DhcObjX *x, const DhcObjX *y);
static inline bool dhc_obj_is(const DhcObjX *x, int64_t v) { return x->op == DHC_DIM_CONST && x->value == v; }

#endif
