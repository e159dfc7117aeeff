/* dhc.h from inside: what the handles hold, and the doors between the files of api/.
 *
 *   doors.c     guards of the public functions
 *   args.c      what callers hand in
 *   budget.c    what is going to be needed, against the limit
 *   session.c   handles, settings, statistics, diagnostics
 *   model.c     binding hyperparameters, listing, hash
 *   pipeline.c  entry -> differentiated, clean, fused, planned, compiled (one step a line)
 *   program.c   a set of entries over one set of arenas; runs
 *   exec_cpu.c, exec_interp.c   the two ways to run a compiled entry
 *   step_guard.c                training steps whose update overflows
 *   weights.c   placement in arenas, initialisers, load, save
 *   unused.c    what a weights file holds beside the model's tensors
 *   state.c     what streaming entries keep from run to run
 *   train.c, train_data.c, eval.c, verify.c, info.c, print.c, tools.c, kernel_check.c, tensor_file.c */
#ifndef DHC_API_API_H
#define DHC_API_API_H

#include "api/args.h"
#include "api/doors.h"
#include "backends/compile.h"
#include "dhc/dhc.h"
#include "frontend/elab.h"
#include "ir/interp.h"
#include "ir/ir.h"
#include "passes/passes.h"
#include "passes/plan/plan.h"
#include "runtime/runtime.h"

enum { API_MAX_ROOTS = 8, API_MAX_ENTRIES = 16, API_MAX_SYMBOLS = 32 };

struct dhc_session {
  DhcArena arena;
  DhcStrings strings;
  DhcSources sources;
  DhcDiags diags;
  dhc_session_options o;
  DhcBudget budget;
  const char *backend; /* row of backends/backends.def */
  bool interp;         /* it runs graphs */
  int gpu;             /* number of the GPU, of a backend that has several */
  bool offline;        /* kernels are printed, not run: no device is opened */
  bool spent;  /* a call ran out of memory: see doors.c */
  const char *roots[API_MAX_ROOTS]; /* folders with shipped models */
  int n_roots;
  DhcWarn warn;
  DhcStore *store;
  DhcPool *pool;
  DhcDevice *device;     /* opened when first needed */
  DhcCompiler *compiler; /* the same */
  dhc_compile_stats stats;
};

/* Opens the device and the compiler when they are first needed. */
dhc_status session_device(dhc_session *s, DhcDevice **out) DHC_MUST_USE;
dhc_status session_compiler(dhc_session *s, DhcCompiler **out) DHC_MUST_USE;
/* DHC_E_INPUT, "N errors" if diagnostics have been reported (since there were `before`), else OK. */
dhc_status session_errors(const dhc_session *s) DHC_MUST_USE;
dhc_status session_errors_since(const dhc_session *s, int before) DHC_MUST_USE;
double session_now_ms(void);

struct dhc_model {
  dhc_session *s;
  DhcElab *elab;
  DhcModel *m;
  DhcModule *module;
  const char *name;
  char hash[65];
};

/* ---- placement (weights.c) -------------------------------------------------- */

/* One tensor of the model in the program's persistent memory. Parameters lie in the
 * weights arena, decayed ones first, as passes/grad/train_step.c orders them; optimiser
 * states repeat that layout. Buffers, tables and state follow in the state arena. */
typedef struct Slot {
  const DhcTensorDecl *decl;
  int64_t offset; /* elements into the weights, bytes into the state arena or (states) Memory.recurrent */
  int64_t n;      /* elements */
  bool live;      /* states: `dim` and the contents are valid; else it begins at the next run */
  int64_t dim[DHC_MAX_RANK];
} Slot;

typedef struct Placement {
  Slot *slots; /* parallel to module->tensors */
  int n_slots;
  int64_t n_weights, n_decayed; /* elements */
  int64_t n_begun;            /* elements of "$begun" (passes/grad/train_step.c) */
  int64_t state_bytes;
} Placement;
Placement placement_make(DhcModule *m, DhcArena *arena);
/* Slots for the states that m has got since, those of a layer's further calls. */
void placement_grow(Placement *p, DhcModule *m, DhcArena *arena);

enum { API_MAX_STATES = 8, API_MAX_SCALARS = 256 };

/* Persistent memory of a program, f32 (double with the interpreter). */
typedef struct Memory {
  Placement place;
  size_t float_bytes; /* 4 or 8 */
  void *weights;
  void *opt; /* "$begun", then n_states ranges, each like weights: optimiser state and "$ema" */
  const char *state_names[API_MAX_STATES];
  int n_states;
  void *state; /* buffers, tables */
  void *recurrent; /* states, one after the other in the order of their declarations (state.c) */
  int64_t recurrent_bytes;
  int64_t layout; /* goes up whenever a state's place has changed */
  bool from_file; /* the states were loaded: none begins anew by itself */
  const char *scalar_names[API_MAX_SCALARS];
  double scalars[API_MAX_SCALARS];
  int n_scalars;
} Memory;
int memory_state(Memory *mem, const char *name);  /* index, made (zeros) if new; -1: too many, no memory */
int64_t memory_state_bytes(const Memory *mem);    /* of one range, a multiple of 64 */
int64_t memory_begun_bytes(const Memory *mem);    /* of "$begun", a multiple of 64 */
void *memory_state_at(const Memory *mem, int k);
/* Byte offset of an arena parameter ("$w", "$begun", a state) from its base: weights for "$w",
 * opt for the others; -1: no room. */
int64_t memory_arena_offset(Memory *mem, const char *name);
double *memory_scalar(Memory *mem, const char *name); /* made (0) if new; NULL: too many */

/* Reads or lists all parameters (and buffers) under prefix + name, from or in the memory at
 * `base` (laid out like the weights). weights_views with out NULL only counts. */
dhc_status weights_read(dhc_program *p, const DhcSafetensors *file, const char *prefix, void *base,
                        bool partial, bool buffers) DHC_MUST_USE;
/* After weights_read: names the tensors of the file that it did not need, as a note, with session option
 * strict as an error (unused.c). */
dhc_status weights_unused(const dhc_program *p, const DhcSafetensors *file) DHC_MUST_USE;
/* "$begun" as a tensor of a checkpoint; false: the program has none. */
bool weights_begun(dhc_program *p, DhcTensorView *out);
int weights_views(dhc_program *p, const char *prefix, void *base, bool buffers, DhcArena *arena,
                  DhcTensorView *out, int max);

/* ---- compiled entries (pipeline.c) --------------------------------------------- */

/* An input whose elements (all, or those of a part) are indices below `extent`. */
typedef struct IndexPart {
  const DhcDim *start[8], *size[8];
  int64_t step[8];
} IndexPart;
typedef struct IndexCheck {
  int param;            /* of the entry */
  const DhcDim *extent; /* in the entry's symbols */
  const IndexPart *part; /* NULL: all */
  bool exempt;          /* `exempted` is allowed: it never arrives */
  int64_t exempted;
  const char *into; /* name of the tensor it looks into, or NULL */
} IndexCheck;
/* What an elaborated entry (its units still calls) does with its inputs (index_check.c). */
const IndexCheck *index_checks(const DhcFunc *entry, DhcArena *arena, int *n);
/* DHC_E_INPUT names tensor, place, value and range. */
dhc_status index_check(const IndexCheck *c, const dhc_tensor *t, int n_symbols, const char *const *symbol,
                       const int64_t *value) DHC_MUST_USE;

/* An entry under one set of decided branches. `module` is its own: the entry and what
 * it calls, out of the model's. */
typedef struct Version {
  const char *entry;
  dhc_mode mode;
  DhcForm form;
  DhcFunc *reset;  /* streaming: initial values of the states it uses, in a module of its own */
  DhcFunc *source; /* the elaborated entry: identity of the version */
  const IndexCheck *index_checks; /* n_index_checks, by source's parameters */
  int n_index_checks;
  DhcModule *module;
  DhcFunc *func; /* graph stage, with gradients or the training step */
  DhcTrainStep step; /* TRAIN */
  int64_t changes; /* that passes made up to the graph stage, as a bisecting run counts them */
  bool fused, placed;
  dhc_buffer *places; /* placed: the plan's buffers, in this program's places */
  int64_t layout; /* of the states, when their buffers were placed */
  DhcPlanned *planned; /* cpu */
  dhc_tensor *results; /* described anew by every run */
  dhc_kernel *kernels; /* one per spec */
  void *panels; /* packed parameters, of weights_version `packed` and these weights */
  const void *packed_from;
  int64_t packed;
  const dhc_kernel **kernel_ptrs;
  struct Bound *bound; /* cache of bindings, newest first (exec_cpu.c) */
  struct Version *next;
} Version;

/* Graph stage of an entry ("forward", "forward.step") for these input shapes, differentiated as `mode` says. NULL
 * (and diagnostics) on error. */
Version *pipeline_graph(dhc_model *m, const char *entry, dhc_mode mode, const DhcInputShape *in, int n_in);
/* Each once: fused and planned; what the compiler is asked for; all of it and compiled. */
dhc_status pipeline_fuse(dhc_model *m, Version *v) DHC_MUST_USE;
dhc_status pipeline_requests(dhc_model *m, Version *v, DhcKernelRequest **out) DHC_MUST_USE;
dhc_status pipeline_compile(dhc_model *m, Version *v) DHC_MUST_USE;

typedef struct Entry {
  const char *name;  /* as asked for: "forward.step" */
  const char *plain; /* "forward" */
  DhcForm form;
  DhcEntryInfo info; /* of the plain one */
  dhc_mode mode;
  Version *versions;
  Version *last; /* of the last run */
  dhc_tensor *results;
  int n_results;
} Entry;

struct dhc_program {
  dhc_model *m;
  DhcCharge charge; /* against the session's budget */
  Memory mem;
  Entry entries[API_MAX_ENTRIES];
  int n_entries;
  struct ExecCpu *cpu;
  dhc_profile_row *profile; /* one row an item of the last entry run; NULL: off */
  int n_profile;
  bool profiling;
  struct StepGuard *guard; /* of training steps (step_guard.c); NULL: none has run */
  int64_t weights_version; /* goes up whenever weights may have changed; panels go by it */
  void *ema_weights; /* set: run entries on averaged weights */
  DhcArena arena;  /* as long as the program */
  DhcArena run;    /* results of the last interpreter run */
};

/* state.c: the states that version v uses are there in the sizes that its symbols have; those
 * that begin get their initial values. */
dhc_status state_prepare(dhc_program *p, const Version *v, const int64_t *symbols) DHC_MUST_USE;
dhc_dtype state_dtype(const Memory *mem, const DhcTensorDecl *d); /* as stored */
/* A state as a tensor; DHC_E_INPUT if it holds nothing yet. set: makes it hold a copy of t. */
dhc_status state_get(dhc_program *p, Slot *s, dhc_tensor *t) DHC_MUST_USE;
dhc_status state_set(dhc_program *p, Slot *s, const dhc_tensor *t) DHC_MUST_USE;

/* budget.c: what a program's tensors take, with gradients and so many optimiser states if it trains;
 * what a run takes (work, io, scratch, gradients, panels if they are new); anything more of it;
 * what a data set takes. DHC_E_INPUT, located where it is the
 * model's, before any of it is allocated. */
dhc_status budget_program(dhc_program *p, bool train, int n_optimiser_states) DHC_MUST_USE;
dhc_status budget_run(dhc_program *p, const Version *v, const DhcCharge *arenas, bool new_panels) DHC_MUST_USE;
dhc_status budget_more(dhc_program *p, DhcUse use, int64_t bytes, const char *what) DHC_MUST_USE;
void budget_less(dhc_program *p, DhcUse use, int64_t bytes); /* gives back what budget_more took */
dhc_status budget_data(dhc_session *s, const DhcDataset *d, DhcCharge *c) DHC_MUST_USE;

/* Version of an entry for these inputs, made if new. */
dhc_status program_version(dhc_program *p, Entry *e, const dhc_tensor *in, int n_in, Version **out) DHC_MUST_USE;

/* Both ways to run: inputs in the order of the version's INPUT parameters, and what they make
 * its symbols. */
dhc_status exec_cpu_run(dhc_program *p, Entry *e, Version *v, const dhc_tensor *const *in, const int64_t *values) DHC_MUST_USE;
void exec_cpu_close(dhc_program *p);
dhc_memory exec_cpu_memory(const dhc_program *p, const Version *v);
/* A training step that changes nothing unless all it writes is finite (step_guard.c). */
dhc_status step_run(dhc_program *p, Entry *e, Version *v, const dhc_tensor *const *in, const int64_t *values) DHC_MUST_USE;
/* What the update of the last step would have made not finite; "": nothing. */
const char *step_blame(const dhc_program *p);
void step_close(dhc_program *p);
dhc_status exec_interp_run(dhc_program *p, Entry *e, Version *v, const dhc_tensor *const *in) DHC_MUST_USE;

#endif
