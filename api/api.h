/* dhc.h from inside: what the handles hold, and the doors between the files of api/.
 *
 *   doors.c     guards of the public functions
 *   args.c      what callers hand in
 *   budget.c    what is going to be needed, against the limit
 *   session.c   handles, settings, statistics, diagnostics
 *   doing.c     what a session is at, for who shows it
 *   notes.c     what a reader of a model should know
 *   model.c     binding hyperparameters, listing, hash
 *   package.c   a model with what it was opened with, in one file
 *   kept.c      images of entries in the kernel store
 *   pipeline.c  entry -> differentiated, clean, fused, planned, compiled (one step a line)
 *   program.c   a set of entries over one set of segments; runs
 *   exec.c      a compiled entry in the program's memory: inputs in, results out
 *   call.c      prepared calls
 *   share.c     programs over another one's weights
 *   entry.c     what entries take and give
 *   weights.c   placement in segments, load, save
 *   unused.c    what a weights file holds beside the model's tensors
 *   transplant.c  values of another model's weights, where they fit
 *   state.c     what streaming entries keep from run to run
 *   finite.c    how large tensors are, what holds a NaN
 *   source.c    what editors ask about a model file
 *   generate.c, verify.c, print.c, tools.c, kernel_check.c, tensor_file.c
 *   ablate/     parts of the model left out of runs (ablate/ablate.h)
 *   atlas/      what is known without running: costs, the report about a model (atlas/atlas.h)
 *   train/      the training room: data source (feed.c), stepper, guard (step_guard.c), report (taps.c), runs;
 *               doors in train/train.h, one run from inside in train/trainer.h */
#ifndef DHC_API_API_H
#define DHC_API_API_H

#include <pthread.h>
#include <stdatomic.h>

#include "api/args.h"
#include "api/doors.h"
#include "backends/compile.h"
#include "dhc/dhc.h"
#include "frontend/elab.h"
#include "ir/image_graph.h"
#include "ir/interp.h"
#include "ir/ir.h"
#include "passes/pipeline.h"
#include "passes/plan/image.h"
#include "runtime/program.h"
#include "runtime/runtime.h"

enum { API_MAX_ROOTS = 8, API_MAX_ENTRIES = 16, API_MAX_RANGES = 8 };

struct dhc_session {
  pthread_mutex_t *lock; /* its calls take turns; recursive, children have their parent's */
  DhcBlocks *blocks; /* of regions that have ended; lent to children: what a variant leaves serves the next */
  DhcArena arena;
  DhcStrings strings;
  DhcSources sources;
  DhcParsed parsed; /* model files, whose trees its models share */
  DhcDiags diags;
  dhc_session_options o;
  DhcBudget budget;
  const char *backend; /* row of backends/backends.def */
  unsigned traits;     /* its DHC_BACKEND_ */
  int gpu;             /* number of the GPU, of a backend that has several */
  DhcCompute compute;  /* of contractions; not f32: on the backend cuda, or for its texts */
  const char *solves;  /* the setting that --solve adds last to models; NULL: it is not at work */
  struct DhcTuning *tuning; /* tuning.h; NULL: the usual schedules */
  bool offline;        /* kernels are printed, not run: no device is opened */
  bool spent;  /* a call ran out of memory: see doors.c */
  bool lent;   /* blocks, store, pool, device and compiler are another session's */
  const char *roots[API_MAX_ROOTS]; /* folders with shipped models */
  int n_roots;
  DhcWarn warn;
  DhcStore *store;
  DhcPool *pool;
  DhcDevice *device;     /* opened when first needed */
  DhcCompiler *compiler; /* the same */
  dhc_compile_stats stats;
  struct {
    _Atomic(const char *) what; /* NULL: nothing that takes long */
    DhcCompileSeen count;
  } doing;
  struct SeenKernels *seen; /* kernels that dhc_model_costs was asked about; lent to children */
};

/* A session of its own for one more model, over what `parent` has opened: store, pool, device, compiler and the
 * kernels it has. Closing it gives back all that the model took. The parent outlives it. */
dhc_status session_child(dhc_session *parent, dhc_session **out) DHC_MUST_USE;
/* atlas/explain.c: around compiling n kernels of a version, with session option explain_compiles; made: by kernel. */
struct Version;
void explain_before(dhc_session *s, int n, bool **made);
void explain_after(dhc_model *m, const struct Version *v, const bool *made);
/* atlas/costs.c */
dhc_status seen_open(struct SeenKernels **out) DHC_MUST_USE;
void seen_close(struct SeenKernels *s);

/* NULL: no session. */
void session_lock(dhc_session *s);
void session_unlock(dhc_session *s);
/* Opens the device and the compiler when they are first needed. */
dhc_status session_device(dhc_session *s, DhcDevice **out) DHC_MUST_USE;
/* A usage error where a backend makes no objects, or (NULL) none is called `asked`. */
dhc_status session_makes_objects(const DhcBackendInfo *b, const char *asked) DHC_MUST_USE;
dhc_status session_compiler(dhc_session *s, DhcCompiler **out) DHC_MUST_USE;
/* What verify takes of an output or a gradient, under the session's compute. */
double session_tolerance(const dhc_session *s, bool gradient);
/* The backend and, where that is not exactly, how it computes: "cuda tf32". */
const char *session_backend_text(const dhc_session *s, DhcArena *arena);
/* DHC_E_INPUT, "N errors": of a step that failed and has reported diagnostics. */
dhc_status session_errors(const dhc_session *s) DHC_MUST_USE;
/* The same of those since there were `before`; OK if there are none. */
dhc_status session_errors_since(const dhc_session *s, int before) DHC_MUST_USE;
double session_now_ms(void);
/* doing.c: a text that stays, "compiling kernels"; done of so many, 0: not counted. */
void session_doing(dhc_session *s, const char *what, int64_t done, int64_t of);
/* notes.c: why a kind of mixer that the model knows is not among its mixers; false: it is. Everything of that sort. */
bool model_kind_missing(const dhc_model *m, int kind, char *text, size_t n);
void model_notes(const dhc_model *m, void (*note)(void *ctx, const char *text), void *ctx);
bool session_whole(const dhc_session *s); /* its backend runs entries whole, in float64: there are no kernels */
int64_t session_pass_limit(const dhc_session *s); /* as passes take it */

/* A mode of the trainer's: adds a part of a batch to those before it (program_add_part). */
#define API_MODE_PART ((dhc_mode)(DHC_MODE_TRAIN + 1))
enum { API_PARTS_OF_RANKS = 1 /* others are with other ranks */, API_PARTS_IN_TURN = 2 /* others come before or behind it */ };

struct dhc_model {
  dhc_session *s;
  DhcElab *elab;
  DhcModel *m;
  DhcModule *module;
  const char *name;
  char hash[65];
  dhc_model_options asked;   /* what it was opened with */
  dhc_model_options made;    /* the same, but that of a package in place of its name */
  const char *const *classes; /* what a package says that its labels are called, n_classes of them; or NULL */
  int64_t n_classes;
  const char *const *roots;  /* where its shipped texts were looked for */
  int n_roots;
  uint8_t from[32]; /* digest of its texts and settings (kept.c) */
  DhcFileNumbers files; /* its texts among the session's: what it was read from, then its settings */
  int said;         /* messages of the session when it was open */
  struct EntryTypes *types;  /* entries that callers asked about (entry.c) */
  unsigned parts; /* API_PARTS_ of what is trained, which sees parts of batches; 0: whole ones */
  DhcShare share; /* of the moments of what is trained */
  const char *const *report; /* patterns of taps that runs of `loss` give as results, or NULL */
};

/* package.c: what a folder of a run or a package stands for, with what else it says; of other names *made is *o.
 * Writing one without weights. */
#define DHC_PACKAGE_FILE "model.dhcm" /* in the folder of a run */
#define DHC_PACKAGE_SHIPPED "shipped" /* where shipped texts lie in it */
typedef struct PackageSays {
  const DhcTexts *texts;      /* NULL: the name is no package's */
  const char *const *classes; /* n_classes, or NULL */
  int64_t n_classes;
} PackageSays;
dhc_status package_open(dhc_session *s, const dhc_model_options *o, dhc_model_options *made, PackageSays *says) DHC_MUST_USE;
dhc_status package_write(const dhc_model *m, const char *path, const char *const *classes, int64_t n_classes) DHC_MUST_USE;

dhc_session *sweep_session(const dhc_sweep *w); /* NULL: of NULL */

/* ---- values of a program (weights.c) ------------------------------------------- */

/* Slots for the states that the model has got since, those of a layer's further calls. */
dhc_status program_grow(dhc_program *p) DHC_MUST_USE;
/* Scalar of a program, made (0) if new; NULL: too many. */
double *program_scalar(dhc_program *p, const char *name);
/* Number of a moment ("m") or "ema" among the program's ranges; -2: there is none. */
int program_range(const dhc_program *p, const char *name);

/* First values of every tensor, or of the tables alone, which no file holds. */
struct DhcBeginner program_beginner(dhc_program *p); /* backends/begin.h */
dhc_status weights_begin(dhc_program *p, bool tables_only) DHC_MUST_USE;

/* Every tensor of a file in turn: parameters in the weights or a range like them, then perhaps buffers, a
 * stacked one piece by piece. */
typedef struct WeightsWalk {
  dhc_program *p;
  const char *prefix;
  int range;
  bool buffers;
  int slot;
  int64_t piece; /* of the slot */
  char name[512];
  DhcDevicePtr at; /* where it lies, if it is here */
  int64_t offset;  /* in bytes, of a parameter in all of the range */
} WeightsWalk;
/* The next one, its name in w until the next call, its data NULL; false behind the last. */
bool weights_next(WeightsWalk *w, DhcTensorView *out);
/* Reads or lists all parameters (and buffers) under prefix + name, from or in the weights
 * (range DHC_WEIGHTS) or a range like them. Views' data are copies in the arena where the host does not see
 * the device's memory. */
dhc_status weights_read(dhc_program *p, const DhcSafetensors *file, const char *prefix, int range,
                        bool partial, bool buffers) DHC_MUST_USE;
dhc_status weights_views(dhc_program *p, const char *prefix, int range, bool buffers, DhcArena *arena,
                         DhcTensorView **out, int *n) DHC_MUST_USE;
/* Weights, buffers and all moments: what a checkpoint holds. whole: by range, those of which this rank has a share alone. */
dhc_status weights_all(dhc_program *p, void *const *whole, DhcArena *arena, DhcTensorView **out, int *n) DHC_MUST_USE;
/* All of a range of moments, of which this rank has a share, in memory of malloc's; there may be some after an error, too. */
dhc_status weights_read_whole(dhc_program *p, const DhcSafetensors *file, int i, void **out) DHC_MUST_USE;
/* A range of moments from such a file. */
dhc_status weights_read_range(dhc_program *p, const DhcSafetensors *file, int range) DHC_MUST_USE;
/* Whether the file can be opened as weights. */
dhc_status weights_openable(const char *path) DHC_MUST_USE;
/* After weights_read: names the tensors of the file that it did not need, as a note, with session option
 * strict as an error (unused.c). */
dhc_status weights_unused(const dhc_program *p, const DhcSafetensors *file) DHC_MUST_USE;

/* ---- compiled entries (pipeline.c) --------------------------------------------- */

/* An entry under one set of decided branches. `module` is its own: the entry and what
 * it calls, out of the model's. */
typedef struct Version {
  const char *entry;
  dhc_mode mode;
  DhcForm form;
  DhcFunc *reset;  /* streaming: initial values of the states it uses, in a module of its own */
  DhcFunc *source; /* the elaborated entry: identity of the version */
  DhcFunc *optimizer; /* TRAIN: for the image */
  DhcPipeline way;     /* through the passes: what it has come to are the next three */
  DhcModule *module;
  DhcFunc *func;       /* with gradients, or the training step */
  DhcPlanned *planned; /* NULL: not yet */
  dhc_image *image;    /* made with the version; complete when it is compiled */
  bool compiled;
  DhcSpan span; /* of the entry */
  const DhcInputShape *in; /* inputs it was first asked for with */
  int n_in;
  bool kept;    /* from the store: the image is the version's own, there is no graph before pipeline_again */
  const char *key; /* under which the image will be kept when it has run, with its number there; NULL: it will not */
  int number;
  char (*keys)[65]; /* of its kernels */
  DhcLoaded *loaded;   /* in the program */
  const DhcTensorView **none; /* of entries that measure: their inputs */
  dhc_tensor *results; /* described anew by every run */
  void **copies;       /* by result: on the host, where it does not see the device's memory */
  int64_t *copy_bytes;
  struct Version *base; /* NULL, or the version that this is an edit of (ablate/) */
  int ablation;         /* which one */
  struct Version *next;
} Version;

/* The switches of the session for a way through the passes, whatever goes it. */
DhcPipelineRequest pipeline_request(const dhc_session *s, DhcModule *module, DhcFunc *entry);
/* Graph stage of an entry ("forward", "forward.step") for these input shapes, differentiated as `mode` says. NULL
 * (and diagnostics) on error. */
Version *pipeline_graph(dhc_model *m, const char *entry, dhc_mode mode, const DhcInputShape *in, int n_in);
/* The same of a run, or NULL in silence where the model as it is set refuses it. */
Version *pipeline_try(dhc_model *m, const char *entry, const DhcInputShape *in, int n_in);
/* Graph and plan of a version that came without; nothing else of it changes. */
dhc_status pipeline_again(dhc_model *m, Version *v) DHC_MUST_USE;
/* Its image as far as the graph tells, for programs of this layout. */
void pipeline_image(dhc_model *m, Version *v, const dhc_layout *layout);
/* The recipe's optimiser, and groups' own: by group, NULL where it has none; NULL where no group has. False after diagnostics. */
bool pipeline_optimizers(dhc_model *m, DhcFunc **usual, DhcFunc *const **of_groups);
const dhc_layout *pipeline_layout(dhc_model *m, bool trains);
/* Each once: fused and planned; what the compiler is asked for; all of it and compiled, the image complete. */
dhc_status pipeline_fuse(dhc_model *m, Version *v) DHC_MUST_USE;
dhc_status pipeline_plan(dhc_model *m, Version *v) DHC_MUST_USE; /* of what is fused already */
dhc_status pipeline_requests(dhc_model *m, Version *v, DhcKernelRequest **out) DHC_MUST_USE;
dhc_status pipeline_compile(dhc_model *m, Version *v) DHC_MUST_USE;

/* kept.c: what a model comes from; a version of the entry from the store, NULL: there is none for these inputs, and *key
 * and *number say under what the one that is made now is to be kept; keeping it, when it has run. */
struct Entry;
void kept_model(dhc_model *m, const dhc_model_options *o);
Version *kept_version(dhc_program *p, const struct Entry *e, const dhc_tensor *in, int n_in, const char **key, int *number);
void kept_put(dhc_program *p, Version *v);

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

/* A tensor of the program that a caller asked for, on the host. */
typedef struct HostCopy {
  DhcDevicePtr of;
  void *at;
  int64_t bytes;
  struct HostCopy *next;
} HostCopy;

typedef struct ProfileEvent {
  int32_t item;
  int64_t begin_ns, end_ns;
} ProfileEvent;

struct dhc_program {
  dhc_model *m;
  DhcCharge charge;   /* against the session's budget */
  DhcProg *run;       /* all memory, on the session's device or its own */
  DhcDevice *device;  /* of a program that shares another's weights and runs beside it, with its pool; else NULL */
  DhcPool *pool;
  bool inputs_stay;   /* those on the device that this run is given (dhc_program_run_at) */
  bool states_loaded; /* from a file: none begins anew by itself */
  Entry entries[API_MAX_ENTRIES];
  int n_entries;
  const struct Ablation *ablation; /* what runs leave out, or NULL (ablate/ablate.h) */
  int n_ablations;
  int n_scalars; /* of the module's, those that have been given their values */
  HostCopy *copies;
  ProfileEvent *events; /* NULL, or room for those of runs that are profiled */
  int n_events, room_events;
  dhc_profile_row *profile; /* one row an item of the version that ran last */
  const Version *profiled;
  int n_profile;
  bool profiling;
  struct DhcRanks *sharers; /* ranks that have the other shares of the moments; NULL: all are here */
  struct StepGuard *guard; /* of training steps (train/step_guard.c); NULL: none has run */
  Version *look;           /* finds NaN in weights and buffers (finite.c); NULL: nobody asked yet */
  DhcArena arena;  /* as long as the program */
};

/* finite.c: an entry that looks at tensors (passes/grad/measure.c) as a version, and a run of it, over the weights or a range
 * like them, which leaves the results of other entries where they are; the weight that element *at of a flat range
 * belongs to, *at its index there (NULL: none). */
dhc_status measure_make(dhc_program *p, DhcFunc *f, Version **out) DHC_MUST_USE;
dhc_status measure_run(dhc_program *p, Version *v, int32_t range) DHC_MUST_USE;
const dhc_slot *measured_slot(const dhc_layout *l, int64_t *at);
/* DHC_E_NUMERIC names the first param or buffer, or result, that holds a NaN (of results: the
 * weights come first). */
dhc_status weights_check(dhc_program *p) DHC_MUST_USE;
dhc_status results_check(dhc_program *p, const dhc_tensor *results, int n_results) DHC_MUST_USE;

/* state.c: the states that version v uses are there in the sizes that its symbols have; those
 * that begin get their initial values. */
dhc_status state_prepare(dhc_program *p, const Version *v, const int64_t *symbols) DHC_MUST_USE;
int state_slot(const dhc_program *p, const char *path); /* -1: no state */
/* A state as a tensor; DHC_E_INPUT if it holds nothing yet. set: makes it hold a copy of t. */
dhc_status state_get(dhc_program *p, int slot, dhc_tensor *t) DHC_MUST_USE;
dhc_status state_set(dhc_program *p, int slot, const dhc_tensor *t) DHC_MUST_USE;

/* budget.c: what a program of this layout takes, with gradients if it trains;
 * what a run takes (work, io, scratch, panels if they are new); anything more of it;
 * what a data set takes. DHC_E_INPUT, located where it is the
 * model's, before any of it is allocated. */
dhc_status budget_program(dhc_program *p, const dhc_layout *l, bool train) DHC_MUST_USE;
dhc_status budget_run(dhc_program *p, const Version *v, const DhcCharge *segments, bool new_panels) DHC_MUST_USE;
dhc_status budget_more(dhc_program *p, DhcUse use, int64_t bytes, const char *what) DHC_MUST_USE;
void budget_less(dhc_program *p, DhcUse use, int64_t bytes); /* gives back what budget_more took */
/* For data sets that are opened now. */
DhcDataOptions session_data_options(const dhc_session *s);
dhc_status budget_data(dhc_session *s, const DhcDataset *d, DhcCharge *c) DHC_MUST_USE;

/* Every fact that v was compiled under holds at these sizes; else a diagnostic at the place that asked for it. */
dhc_status program_guards(dhc_session *s, const Version *v, const int64_t *symbols) DHC_MUST_USE;
/* The version of `base` that leaves out what the program's ablation says, made if new (ablate/edit.c). */
dhc_status ablate_version(dhc_program *p, Entry *e, Version *base, Version **out) DHC_MUST_USE;
/* Whether the version is for these inputs. */
bool program_fits(const Version *v, const Entry *e, const dhc_tensor *in, int n_in);
/* The version of entry number `index` for these inputs, compiled, loaded, states there, bound to what they make its symbols. */
dhc_status program_bound(dhc_program *p, int index, const dhc_tensor *in, int n_in, int64_t *symbols, Version **out) DHC_MUST_USE;
/* After a run, what the entry required of values; where one is false the states are reset. */
dhc_status program_required(dhc_program *p, const Version *v) DHC_MUST_USE;
/* DHC_E_USAGE: `what` writes weights, which are another program's. */
dhc_status program_owns(const dhc_program *p, const char *what) DHC_MUST_USE;
/* An entry beside the first, which trains: the same, but it only adds a part of the batch to those before it (DHC_NAME_PART of them). */
dhc_status program_add_part(dhc_program *p, int *index) DHC_MUST_USE;
/* dhc_program_run with inputs that may lie on the device: at[k] says where input k does, 0: it does not; at may be
 * NULL. Results: as there, or, of program_start, left on the device; what reads them waits (exec_result). */
dhc_status program_run(dhc_program *p, int index, const dhc_tensor *in, const DhcDevicePtr *at, int n_in, const dhc_tensor **results,
                       int *n_results) DHC_MUST_USE;
dhc_status program_start(dhc_program *p, int index, const dhc_tensor *in, const DhcDevicePtr *at, int n_in, const Version **ran) DHC_MUST_USE;
/* Version of an entry for these inputs, made if new. */
dhc_status program_version(dhc_program *p, Entry *e, const dhc_tensor *in, int n_in, Version **out) DHC_MUST_USE;

/* exec.c: a compiled version into the program, once; its plan bound to what the inputs make its symbols; a run of it
 * (which binds too), inputs by the image's parameters; the results for the host, in e. */
dhc_status exec_load(dhc_program *p, Version *v) DHC_MUST_USE;
dhc_status exec_bind(dhc_program *p, Version *v, const int64_t *symbols) DHC_MUST_USE;
dhc_status exec_run(dhc_program *p, Version *v, const DhcTensorView *const *in, const int64_t *symbols) DHC_MUST_USE;
dhc_status exec_results(dhc_program *p, Entry *e, Version *v) DHC_MUST_USE;
/* A run that nothing waits for yet, and a result of it where it lies: t's data are not set. */
dhc_status exec_start(dhc_program *p, Version *v, const DhcTensorView *const *in, const int64_t *symbols) DHC_MUST_USE;
dhc_status exec_result(const Version *v, int i, dhc_tensor *t, int64_t *bytes, DhcDevicePtr *at) DHC_MUST_USE;
/* Result i of the last run as one number. */
dhc_status exec_number(dhc_program *p, const Version *v, int result, double *out) DHC_MUST_USE;
void exec_unload(dhc_program *p, Version *v);
void exec_close(dhc_program *p);
dhc_memory exec_memory(const dhc_program *p, const Version *v);
/* Memory of the program as the host may read it until the next run: its own, or a copy. */
dhc_status exec_host(dhc_program *p, DhcDevicePtr at, int64_t bytes, void **out) DHC_MUST_USE;
/* A training step that changes nothing unless all it writes is finite (train/step_guard.c), and before the first of
 * them what it measures weights with. */
dhc_status step_ready(dhc_program *p) DHC_MUST_USE;
dhc_status step_run(dhc_program *p, Version *v, const DhcTensorView *const *in, const int64_t *symbols) DHC_MUST_USE;
/* What the update of the last step would have made not finite; "": nothing. */
const char *step_blame(const dhc_program *p);
void step_close(dhc_program *p);

#endif
