/* dhc.h: the public C API of dhcc.
 *
 *   session   settings, diagnostics, thread pool, kernel store
 *   model     one .dhc model with its hyperparameters bound
 *   program   one or more entries of a model, compiled for a backend, with memory
 *
 * Handles are opaque and owned by the caller; a parent must outlive its children. Several threads may use a session and what hangs off it, each its own
 * program (dhc_program_share): calls that can fail wait for one another, but for those of dhc_call_run; whatever is asked of a handle beside is for
 * one thread at a time. Separate sessions are independent. No function prints, exits or keeps a global; whatever the caller's locale, numbers are
 * read and written as in "C" (in callbacks too). Functions that can fail return a dhc_status that must be looked at; errors in model files are
 * collected in the session as diagnostics (the status then says how many). A pointer that is NULL where nothing here allows it is DHC_E_USAGE;
 * functions that return values then give 0, NULL, false or an empty struct, as they do for an index outside their range. Strings and arrays returned
 * as const stay valid as long as the handle they came from.
 *
 * Without memory a call returns DHC_E_ENVIRONMENT. Where a tensor found none, the session goes on as before; where the compiler did, every further call
 * returns DHC_E_ENVIRONMENT too, and what was opened can still be closed. */
#ifndef DHC_DHC_H
#define DHC_DHC_H

#include <stdbool.h>
#include <stdio.h>

#include "dhc/abi.h"
#include "dhc/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DHC_API __attribute__((visibility("default")))

typedef struct dhc_session dhc_session;
typedef struct dhc_model dhc_model;
typedef struct dhc_program dhc_program;
DHC_API const char *dhc_version(void); /* "0.1.0" */

/* ---- tensors --------------------------------------------------------------- */

/* A dense row-major tensor; data is borrowed. */
typedef struct dhc_tensor {
  const char *name;
  dhc_dtype dtype;
  int rank;
  int64_t dim[8];
  void *data;
} dhc_tensor;
/* -1: NULL, a rank outside 0..8, a negative size, or a count that does not fit in 63 bits. */
DHC_API int64_t dhc_tensor_elements(const dhc_tensor *t);
DHC_API int64_t dhc_tensor_bytes(const dhc_tensor *t);
/* Element i in row-major order as a number, exactly but for integers beyond 2^53; NaN: there is none. */
DHC_API double dhc_tensor_value(const dhc_tensor *t, int64_t i);
DHC_API const char *dhc_dtype_text(dhc_dtype t); /* "?": no dtype */

/* Tensor files: .safetensors (memory-mapped, validated) or one .npy (tensor "" with the
 * file's stem as name). The array and its data live until dhc_tensor_file_close. Floats of types that
 * dhc_dtype lacks (F16, F8_…, F4) come as f32, exactly, U64 as i64 (too large ones as the largest); a tensor
 * that none of them holds (C64, F6_…, more than 8 dimensions) has dtype DHC_N_DTYPES, rank 0 and no data. */
typedef struct dhc_tensor_file dhc_tensor_file;
DHC_API dhc_status dhc_tensor_file_open(const char *path, dhc_tensor_file **out) DHC_MUST_USE;
DHC_API void dhc_tensor_file_close(dhc_tensor_file *f);
DHC_API int dhc_tensor_file_count(const dhc_tensor_file *f);
DHC_API const dhc_tensor *dhc_tensor_file_get(const dhc_tensor_file *f, int i);
/* Writes .safetensors, or one tensor as .npy, atomically. */
DHC_API dhc_status dhc_tensor_file_save(const char *path, const dhc_tensor *t, int n) DHC_MUST_USE;

/* Closest of `names` to `word`, or NULL: for "did you mean". */
DHC_API const char *dhc_closest(const char *word, const char *const *names, int n);
/* A number as other programs read it, in JSON and CSV: the fewest digits that bring it back, '.' in every locale, whole numbers
 * below 2^53 with all of theirs; "nan", "inf" and "-inf" are what they are. */
enum { DHC_NUMBER_TEXT = 48 };
DHC_API void dhc_format_number(double v, char text[DHC_NUMBER_TEXT]);
/* The i-th error code that a diagnostic can have, in order of codes; false behind the last. */
typedef struct dhc_error_info {
  const char *code, *title, *text;
  const char *command; /* reports the code when FILE holds the example; "": the example says how in words */
  const char *example;
} dhc_error_info;
DHC_API bool dhc_explain(int i, dhc_error_info *out);

/* ---- session ----------------------------------------------------------------- */

typedef struct dhc_session_options {
  int threads;             /* 0: as many as this process may run on */
  const char *backend;     /* "cpu", "cuda" (or "cuda:1", the second GPU), "interp"; NULL: "cpu" where built in */
  const char *cpu_features; /* NULL: this machine's; "-avx512f" caps */
  bool print_only;          /* of a session that prints and checks: no GPU is opened */
  const char *gpu_arch;     /* what dhc_model_print writes GPU code for, "sm_90a"; NULL: the GPU's, else sm_90a */
  const char *compute;      /* contractions: "f32" (NULL), exact, or "tf32" or "bf16", backend cuda only */
  const char *cache_dir;   /* NULL: $XDG_CACHE_HOME/dhcc; "" : memory only */
  const char *model_path;  /* extra folders with shipped models, ':'-separated, or NULL */
  int64_t max_memory;      /* bytes that models, data and runs may need in all, refused (DHC_E_INPUT)
                            * before they are allocated; 0: what the machine or its control group has */
  const char *disable_passes; /* comma-separated, or NULL */
  bool check_bounds;       /* backend cpu: kernels check every access; one outside ends the run (DHC_E_ENVIRONMENT) */
  int pass_limit;          /* allow only the first N changes of all passes, to bisect; 0: all; < 0: none */
  bool explain_compiles;   /* a note of every kernel that is compiled: how it differs from the nearest one stored */
  bool strict;             /* tensors of a weights file that the model does not have are an error, not a note */
  void (*warn)(void *ctx, const char *line); /* one-line warnings, or NULL */
  void *warn_ctx;
  const char *tuning;      /* file of dhc_model_tune (tune.h): schedules of kernels; only speed depends on it. NULL: the usual ones */
} dhc_session_options;

DHC_API dhc_status dhc_session_open(const dhc_session_options *o, dhc_session **out) DHC_MUST_USE;
DHC_API void dhc_session_close(dhc_session *s);
/* Diagnostics so far, as text (file:line:col, source line, caret) or a JSON array. */
DHC_API int dhc_session_errors(const dhc_session *s);
DHC_API int dhc_session_warnings(const dhc_session *s);
DHC_API int dhc_session_diagnostics(const dhc_session *s); /* kept so far, notes and warnings too */
DHC_API void dhc_session_print_diagnostics(const dhc_session *s, FILE *to, bool color);
/* Text of those from number `first` (0: all) on. */
DHC_API void dhc_session_print_diagnostics_from(const dhc_session *s, int first, FILE *to, bool color);
DHC_API void dhc_session_print_diagnostics_json(const dhc_session *s, FILE *to);
DHC_API int dhc_session_threads(const dhc_session *s);

/* What the session is at, for whoever shows progress: "compiling kernels", done of so many (of 0: not counted); what NULL: nothing that takes
 * long. Unlike all else it may be asked by another thread while a call runs. */
typedef struct dhc_doing {
  const char *what;
  int64_t done, of;
} dhc_doing;
DHC_API dhc_doing dhc_session_doing(const dhc_session *s);

/* Kernels compiled and reused since the session began. */
typedef struct dhc_compile_stats {
  int kernels_compiled, kernels_reused, kernels_reused_disk;
  double compile_ms;  /* everything from the graph to linked kernels */
  double codegen_ms;  /* of it: code generation and linking */
} dhc_compile_stats;
DHC_API dhc_compile_stats dhc_session_stats(const dhc_session *s);

/* ---- model --------------------------------------------------------------------- */

typedef struct dhc_model_options {
  const char *name;     /* a file, the name of a shipped model, layer or function file, the folder of a run or a
                         * package (.dhcm): these bring root, preset, variant, recipe and settings along; sets are added */
  const char *root;     /* layer or model to build; NULL: the file's only or last model */
  const char *preset;   /* or NULL */
  const char *variant;  /* of a `variants` block: "r3" or "ratio.r3"; or NULL */
  const char *recipe;   /* or NULL: "default" if the model has one */
  const char *const *sets; /* "key=value" */
  int n_sets;
} dhc_model_options;

/* DHC_E_INPUT if the file has errors; see the session's diagnostics. */
DHC_API dhc_status dhc_model_open(dhc_session *s, const dhc_model_options *o,
                                  dhc_model **out) DHC_MUST_USE;
DHC_API void dhc_model_close(dhc_model *m);
DHC_API const char *dhc_model_name(const dhc_model *m);
/* Hex SHA-256 of structure and hyperparameters: what checkpoints are bound to. */
DHC_API const char *dhc_model_hash(const dhc_model *m);
/* Elaborates every entry and reports everything that can be known without sizes. */
DHC_API dhc_status dhc_model_check(dhc_model *m) DHC_MUST_USE;
/* Writes a package: the model's texts, imports among them, what it was opened with, and weights, which are any that
 * dhc_program_load takes. It opens wherever a model does, and is its own weights file. Atomic. */
DHC_API dhc_status dhc_model_pack(dhc_model *m, const char *weights, const char *path) DHC_MUST_USE;
/* Whether `path` is a package or the folder of a run that holds one; *weights (or NULL): whether it brings weights, to be
 * had by dhc_program_load from the same path. */
DHC_API bool dhc_package_find(const char *path, bool *weights);

typedef struct dhc_tensor_info {
  const char *path;
  const char *role; /* "param", "buffer", "table", "state" */
  dhc_dtype dtype;
  int rank;
  int64_t dim[8]; /* -1: symbolic (state) */
  bool no_decay;
} dhc_tensor_info;
DHC_API int dhc_model_n_tensors(const dhc_model *m);
DHC_API dhc_tensor_info dhc_model_tensor(const dhc_model *m, int i);
DHC_API int64_t dhc_model_n_params(const dhc_model *m); /* elements of all params */
DHC_API int dhc_model_n_entries(const dhc_model *m);
DHC_API const char *dhc_model_entry_name(const dhc_model *m, int i);

/* What an entry ("forward", "forward.step") takes and gives, as it is written: extents in the entry's symbols. Kept with
 * the model. Inputs whose rank a call decides have one that is assumed. */
typedef struct dhc_entry_tensor {
  const char *name;
  const char *type;   /* "f32[B, 3, H, W]" */
  dhc_dtype dtype;    /* of an input: callers may give any of its kind */
  int rank;
  const char *dim[8]; /* "B", "3", "2 * L + 1" */
  int64_t size[8];    /* -1: the symbols decide */
  bool optional;      /* an input that may be left out */
} dhc_entry_tensor;
typedef struct dhc_entry_info {
  const char *name;
  int n_inputs, n_results;
  const dhc_entry_tensor *inputs, *results;
} dhc_entry_info;
DHC_API dhc_status dhc_model_signature(dhc_model *m, const char *entry, const dhc_entry_info **out) DHC_MUST_USE;

/* A JSON document about the model: parameters, per layer, entries, and for `entry` (if
 * not NULL) at the given sizes FLOPs, bytes, workspace and kernels. sizes: "B=16,H=32".
 * Caller frees with free(). */
DHC_API dhc_status dhc_model_info_json(dhc_model *m, const char *entry, const char *sizes,
                                       char **out) DHC_MUST_USE;
/* An entry (NULL: "forward") as one graph, all calls written out, at given sizes: "layers" as in dhc_model_info_json, each with its "parent"
 * (-1: none), "flops" and "output", and "nodes", arguments first: "op" ("input" and "result" with a "name", ops, kernels), number of its
 * "layer", "type" of what it gives, "flops", numbers of "args". Caller frees. */
DHC_API dhc_status dhc_model_graph_json(dhc_model *m, const char *entry, const char *sizes, char **out) DHC_MUST_USE;
/* What an entry of the model costs at given sizes, from its plan alone: nothing is run or compiled, no tensor of the
 * model is allocated. Fields: dhc/costs.def. */
typedef struct dhc_costs {
#define COST(field, name, unit, text) double field;
#include "dhc/costs.def"
  int64_t sequence; /* tokens an example, where the entry binds L; else 0 */
  char sizes[256];  /* "B = 1, H = 32 (assumed)" */
} dhc_costs;
typedef struct dhc_cost_info {
  const char *name, *unit, *text;
} dhc_cost_info;
typedef struct dhc_costs_options {
  const char *entry; /* NULL: "forward" */
  const char *sizes; /* "B=16,H=32"; what is not said is assumed */
  bool no_train;     /* leaves out what is of training: of entry "loss", with the model's recipe */
  bool compile;      /* compiles the entry's kernels all the same (dhc_session_stats), as its first run would */
} dhc_costs_options;
DHC_API dhc_status dhc_model_costs(dhc_model *m, const dhc_costs_options *o, dhc_costs *out) DHC_MUST_USE;
/* The i-th field, for tables of any form; false behind the last. *value may be NULL, and so may c. */
DHC_API bool dhc_costs_field(const dhc_costs *c, int i, dhc_cost_info *info, double *value);
/* Bytes of caches after `length` tokens. */
DHC_API double dhc_costs_cache_bytes(const dhc_costs *c, int64_t length);
/* Which kernels two variants of a model share, of `entry` (NULL: "forward") and of training, and why they do not
 * share the others. Each is "key=value,key=value" over what `base` sets, a preset, a declared variant, or "." for `base`
 * itself. JSON: "a", "b" with "kernels"; "shared"; "differ": rows with "only" ("a", "b", or "each" where either has its own), "kind", "layer", "plan",
 * "nearest" and "why", where a's value stands first. Nothing is compiled. Caller frees. */
DHC_API dhc_status dhc_kernels_diff(dhc_session *s, const dhc_model_options *base, const char *a, const char *b, const char *entry,
                                    char **out) DHC_MUST_USE;
/* The same of one plan, as text, with the items that differ: stage "plan", "grad.plan" or "train.plan". */
DHC_API dhc_status dhc_plans_diff(dhc_session *s, const dhc_model_options *base, const char *a, const char *b, const char *entry,
                                  const char *stage, char **out) DHC_MUST_USE;
/* Name of the i-th stage that dhc_model_print knows, in order; NULL behind the last. */
DHC_API const char *dhc_stage_name(int i);
/* Text of a stage, "grad" and "train" among them: the graph with gradients, or of a training step. Also "train.plan".
 * Caller frees. */
DHC_API dhc_status dhc_model_print(dhc_model *m, const char *entry, const char *stage,
                                   char **out) DHC_MUST_USE;

/* What the shipped files declare, and the builtins of the language, in that order: models, layers, functions. */
typedef struct dhc_library_item {
  const char *kind;      /* "model", "layer", "function", "builtin" */
  const char *name;
  const char *module;    /* what a file imports for it, "layers/linear"; "" of builtins */
  const char *signature; /* "Linear(in_features: int in 1..1048576, ...)" */
  const char *comment;   /* what its author says: shapes, formula, source; "" */
  const char *entries;   /* of layers and models: their signatures, a line each */
  const char *presets;   /* of models: "preset small", "recipe default", a line each */
  const char *text;      /* the declaration as it is written; "" of builtins */
} dhc_library_item;
DHC_API dhc_status dhc_library(dhc_session *s, void (*item)(void *ctx, const dhc_library_item *i), void *ctx) DHC_MUST_USE;

/* What editors ask about a model file; text: what it holds now, NULL: what the file has. JSON: "diagnostics" of the session; "names" that it and
 * its imports declare: "kind", "name", "file", "line", "column", "begin" and "end" (bytes), "text", of what lies in a declaration "in", of what is known in
 * a part of the file alone "scope_begin" and "scope_end"; "types": "begin", "end" and "type" of expressions and of names that get a value, as far as
 * the file's models could be built. Errors of the file are no error here. To be asked of a session of its own. Caller frees. */
DHC_API dhc_status dhc_source_json(dhc_session *s, const char *path, const char *text, char **out) DHC_MUST_USE;

/* ---- programs ------------------------------------------------------------------- */

/* What the program is to compute from an entry. */
typedef enum dhc_mode {
  DHC_MODE_RUN,  /* the entry's results */
  DHC_MODE_GRAD, /* also gradients of params and float inputs; see dhc_program_run */
  DHC_MODE_TRAIN /* also clip, optimiser step, EMA: updates the weights */
} dhc_mode;

/* Compiles nothing yet that depends on sizes; kernels are generated for the entry's
 * version on first use with given input shapes, and serve all others. */
DHC_API dhc_status dhc_program_open(dhc_model *m, const char *entry, dhc_mode mode,
                                    dhc_program **out) DHC_MUST_USE;
/* A further entry over the same weights, moments and buffers; its number in *index (or NULL). */
DHC_API dhc_status dhc_program_add(dhc_program *p, const char *entry, dhc_mode mode,
                                   int *index) DHC_MUST_USE;
/* A program with the entries of `of`, on its weights and buffers and on copies of its scalars; states and all that a run
 * needs are its own, and so are `threads` threads (1: the one that calls; of backends other than "cpu": the
 * session's). `of` outlives it. Weights are written through `of` alone, while none of those that share them runs. An entry
 * that trains is DHC_E_USAGE when it is run here. */
DHC_API dhc_status dhc_program_share(dhc_program *of, int threads, dhc_program **out) DHC_MUST_USE;
/* Its memory serves the session's next program, if that needs about as much: close a variant's before the next is opened. */
DHC_API void dhc_program_close(dhc_program *p);

/* Weights. init: initialisers keyed by (seed, path). load: a .safetensors file, an index of several
 * (NAME.safetensors.index.json), a package, a folder that holds one of the first two (of a run: its best, else its last), or a GGUF file; every param and buffer must be
 * there in the right shape, unless `partial`, of any float type; tensors that the model does not have are
 * named in a note, with the session option `strict` in an error. save: atomically; `ema` takes the averaged
 * weights. */
DHC_API dhc_status dhc_program_init(dhc_program *p, uint64_t seed) DHC_MUST_USE;
DHC_API dhc_status dhc_program_load(dhc_program *p, const char *path, bool partial) DHC_MUST_USE;
DHC_API dhc_status dhc_program_save(dhc_program *p, const char *path, bool ema) DHC_MUST_USE;
/* Takes from the weights of another model what fits, over initial values: `row` is told of every tensor. */
typedef enum dhc_transplant_kind {
  DHC_KEPT,     /* the same name and shape */
  DHC_RESHAPED, /* as many elements in another shape, in their order; else what both shapes have in common, the rest as it was */
  DHC_FRESH     /* not there, of another rank, or of a layer of another kind: as it was */
} dhc_transplant_kind;
DHC_API dhc_status dhc_program_transplant(dhc_program *p, const char *path,
                                          void (*row)(void *ctx, dhc_transplant_kind kind, const char *name, const char *why),
                                          void *ctx) DHC_MUST_USE;
/* Copies one tensor in or out by path (row-major, f32 or the tensor's dtype; f64 is
 * converted). "m:PATH", "v:PATH", "ema:PATH" name moments: what an optimiser keeps, averages. */
DHC_API dhc_status dhc_program_set(dhc_program *p, const dhc_tensor *t) DHC_MUST_USE;
DHC_API dhc_status dhc_program_get(dhc_program *p, const char *path, dhc_tensor *t) DHC_MUST_USE;
/* Float hyperparameters and "$lr", "$clip", "$step", "$seed", "$weight_decay" …: no recompile. */
DHC_API dhc_status dhc_program_set_scalar(dhc_program *p, const char *name, double v) DHC_MUST_USE;

/* Runs entry number `index` (0: the first). inputs are matched by name, and those with a default
 * may be left out; names the entry does not take are ignored, unless one is close to that of an
 * input left out (DHC_E_INPUT). For DHC_MODE_GRAD "cotangent.NAME" gives the cotangent of float
 * result NAME (default: 1 of the only float result if it is a scalar, else 0); an entry whose first result is a scalar "loss" is
 * differentiated by itself and takes none. results and n_results may be NULL. On return results[] describes every result, its
 * data in the program's memory until the next run: the entry's results by name, then
 * for GRAD "grad.PATH" and "grad.INPUT", for TRAIN "grad_norm" and "finite". */
DHC_API dhc_status dhc_program_run(dhc_program *p, int index, const dhc_tensor *inputs,
                                   int n_inputs, const dhc_tensor **results,
                                   int *n_results) DHC_MUST_USE;

/* The same with inputs in the memory of the session's GPU: at[i] is where the i-th lies, dense; NULL: inputs[i].data as ever. cudaMalloc's (of the
 * primary context), a framework's, or what dhc_program_upload made and dhc_program_drop takes back before the session is closed; written
 * before the call. Nothing of them travels but what is converted, and indices, which are looked at here. */
DHC_API dhc_status dhc_program_run_at(dhc_program *p, int index, const dhc_tensor *inputs, void *const *at, int n_inputs,
                                      const dhc_tensor **results, int *n_results) DHC_MUST_USE;
DHC_API dhc_status dhc_program_upload(dhc_program *p, const dhc_tensor *t, void **at) DHC_MUST_USE;
DHC_API void dhc_program_drop(dhc_program *p, void *at);
/* All that dhc_program_run does before it runs: with inputs of these shapes the entry is compiled, its memory
 * planned and bound. The first run then only runs. */
DHC_API dhc_status dhc_program_plan(dhc_program *p, int index, const dhc_tensor *inputs, int n_inputs) DHC_MUST_USE;
/* A prepared call: entry number `index` for inputs of these names, dtypes and shapes (their data is not looked at), compiled
 * and bound. It is closed before its program. A run of it matches no names and checks no shapes: inputs[i] is what the
 * i-th of those tensors holds. On backends that run in the host's memory what is of the entry's own dtype is read where it
 * lies, and result i is written to results[i] where that is not NULL, else (or if `results` is NULL) to the program's memory until its
 * next run; dhc_call_results describes them, its data set by every run. What an entry gives as it was given may lie
 * in the input.
 * Runs of calls of a program that dhc_program_share made on the backend "cpu" go on beside all other calls of the session. */
typedef struct dhc_call dhc_call;
DHC_API dhc_status dhc_call_open(dhc_program *p, int index, const dhc_tensor *inputs, int n_inputs, dhc_call **out) DHC_MUST_USE;
DHC_API void dhc_call_close(dhc_call *c);
DHC_API const dhc_tensor *dhc_call_results(const dhc_call *c, int *n);
DHC_API dhc_status dhc_call_run(dhc_call *c, const void *const *inputs, void *const *results) DHC_MUST_USE;
/* Name of the i-th input that entry number `index` takes; NULL behind the last. */
DHC_API const char *dhc_program_input(const dhc_program *p, int index, int i);

/* After a run of entry number `index`: DHC_E_NUMERIC names a param, buffer or result that holds a NaN,
 * and the place. Infinities pass: masks are made of them. */
DHC_API dhc_status dhc_program_check(dhc_program *p, int index) DHC_MUST_USE;

/* State: what an entry's `state` tensors carry from run to run. An entry is opened (or added)
 * in one of three forms, by name:
 *   "forward"         whole: every run begins with the initialisers and keeps nothing
 *   "forward.stream"  reads the states at its start and writes them at its end, so that a
 *                     sequence may come in pieces of any length
 *   "forward.step"    the same for one position: where the entry binds L, inputs have L = 1.
 *                     "stream" and "step" alone are forms of "forward"
 * All entries of a program share its states: a prompt may go through "forward.stream" and what follows through "forward.step". States begin with their
 * initialisers at the first run, which also fixes their sizes; a run of another batch size is DHC_E_INPUT until the next reset. DHC_MODE_RUN has all
 * forms; DHC_MODE_TRAIN "whole" and "stream", whose step begins with the states as they are, which get no gradient; DHC_MODE_GRAD "whole" alone. */
/* Every state begins anew in the next run, whose batch size may differ. dhc_program_init does
 * that too; loading weights does not. */
DHC_API void dhc_program_reset(dhc_program *p);
/* All states as .safetensors, by their paths, bit for bit. save: DHC_E_INPUT before the first run. load: replaces all states; the file must hold every
 * state that the next run uses and, if it names a model, this one's hash. dhc_program_get and _set reach a single one by its path; what _get points
 * to is valid until the next run, reset or _set. */
DHC_API dhc_status dhc_program_save_state(dhc_program *p, const char *path) DHC_MUST_USE;
DHC_API dhc_status dhc_program_load_state(dhc_program *p, const char *path) DHC_MUST_USE;

/* Runs from here on leave parts of the model out; n 0: nothing. Each is
 *   a path, or whole components of it: "layers.3", "layers.3.ffn", "main_layer"
 *   a kind of layer, in any case, or part of its name: "attention", "Mamba", "moe"; or its letter in a pattern
 *   LAYER=expert:K: no token goes to that expert of such layers
 * Left out is a unit that gives what it takes (x + f(x)): its output is its input, what else it gave is zero, and
 * the kernels are those of the whole entry. Only runs can leave units out, not gradients or training. To be said after
 * weights have been initialised or loaded; what fits no unit of an entry is DHC_E_INPUT when it is run. */
DHC_API dhc_status dhc_program_ablate(dhc_program *p, const char *const *what, int n) DHC_MUST_USE;

typedef struct dhc_memory {
  int64_t weights, grads, optimizer, state, work, io, scratch;
  int64_t planned;   /* sum, as the plan states it */
  int64_t allocated; /* what the program holds now */
} dhc_memory;
DHC_API dhc_memory dhc_program_memory(const dhc_program *p, int index); /* of the last run's sizes */
/* Time of every item of the plan of a program's first entry, summed over the runs made with it on: of the GPU where
 * that runs it (with about a microsecond of launching a kernel), else of the host. Whoever profiles runs slower. */
typedef struct dhc_profile_row {
  const char *kernel; /* kind and key prefix, "copy" or "fill" */
  const char *label;  /* layer it was written in, or "" */
  int64_t runs;
  double ms;
  double flops, bytes; /* of one run: operations; bytes read and written if each element counts once */
} dhc_profile_row;
DHC_API void dhc_program_profile(dhc_program *p, bool on); /* on: sums begin at zero */
DHC_API int dhc_program_profile_rows(const dhc_program *p);
DHC_API dhc_profile_row dhc_program_profile_row(const dhc_program *p, int i);
DHC_API int dhc_program_n_kernels(const dhc_program *p, int index); /* distinct */
DHC_API int dhc_program_n_calls(const dhc_program *p, int index);   /* kernel calls a run */

/* ---- training --------------------------------------------------------------------- */

/* A value that a layer taps and the recipe's `report` names, in the step just done. */
typedef struct dhc_tap {
  const char *path; /* "layers.1.ffn.tokens_per_expert" */
  const double *values;
  int64_t n;
} dhc_tap;

typedef struct dhc_train_progress {
  int64_t step, steps, epoch, epochs; /* step counts completed ones */
  double loss, accuracy;              /* of this step; accuracy NaN where there is no metric */
  double epoch_loss, epoch_accuracy;  /* running means of the epoch */
  double lr, grad_norm, samples_per_s, seconds, eta_seconds;
  double val_loss, val_accuracy; /* NaN until measured; set at the end of an epoch */
  bool epoch_end, best;
  const dhc_tap *taps; /* n_taps of them, valid during the call */
  int n_taps;
} dhc_train_progress;

/* What a run is about to do, when its data are open and its step is planned, before it is compiled. */
typedef struct dhc_train_begin {
  int64_t n_params, n_train, n_val, n_classes; /* examples; classes 0 where the data do not say */
  int64_t step, steps, epochs, batch; /* step: done before, by the run that is gone on with */
  const char *optimizer;
  double lr; /* of the next step */
  int64_t optimizer_bytes[3]; /* of what the optimizer keeps: on this GPU, in all, on the fullest GPU; equal unless it is shared out */
  int kernels, to_compile; /* of the step; so many of them are not in the store. -1: the backend has no kernels, or no step is left to do */
} dhc_train_begin;

typedef struct dhc_train_options {
  const char *data;   /* images:DIR, cifar10:DIR, idx:DIR, mnist:DIR, npy:DIR, text:FILE[@LENGTH], tokens:FILE[@LENGTH], scifar:DIR, synth:TASK[:KEY=N,…] */
  const char *out;    /* folder for checkpoints and metrics, or NULL */
  int64_t batch, epochs, steps, accumulate; /* 0: the recipe's; steps alone: as many epochs as they take; parts of a batch, one by one */
  double lr;          /* 0: the recipe's; else a constant replaces its schedule */
  double clip;        /* < 0: the recipe's */
  double val_fraction; /* of the training split; 0: the data's own split or 1/12; < 0: none */
  int64_t limit;      /* use only the first N training examples; 0: all */
  uint64_t seed;
  bool resume, augment_off, no_csv, shard_optimizer; /* the last: what the optimizer keeps of a weight lies with one of the group alone */
  int64_t save_every, check_every; /* steps between checkpoints, 0: each epoch; between comparisons of the group's weights, 0: 100 */
  bool (*progress)(void *ctx, const dhc_train_progress *p); /* false: stop as on SIGINT */
  void *ctx;
  /* `out` belongs to one run at a time, and to one process (DHC_E_ENVIRONMENT while another
   * trains there). A folder that holds a run already is DHC_E_INPUT unless `resume` or
   * `overwrite`; the old run's files go when the new one's first step is done, not before.
   * `resume` takes up the run that config.json names, from its newest whole checkpoint.
   * What the run began with and these options would change is DHC_E_INPUT, which names each
   * with both values: optimizer and its arguments, seed, lr, batch, accumulate, clip, ema, label_smoothing,
   * augment, shuffle, data, limit, val-fraction, backend, report, hyperparameters, and epochs or
   * steps where the learning rates of steps done would have been others. */
  bool overwrite;
  bool shuffle_off;           /* examples in the order of the data */
  const char *allow_changed;  /* with resume: names of such settings (and "model": its text) that may differ, "lr,seed", or NULL */
  const char *command;        /* recorded as what began the run, or NULL */
  bool tensorboard;           /* the metrics also as out/events.out.tfevents.dhcc */
  const char *init_from;      /* weights that a new run begins with where they fit (dhc_program_transplant), listed in
                               * out/init.json; or NULL */
  void (*profile)(void *ctx, const dhc_profile_row *row); /* called at the end for every item of the step's plan, or NULL */
  void (*begin)(void *ctx, const dhc_train_begin *b); /* called once, or NULL */
  struct DhcRanks *group; /* this process is one of several, which have parts of every batch (group.h); or NULL */
} dhc_train_options;

typedef struct dhc_train_result {
  int64_t steps, epochs;
  double loss, accuracy, val_loss, val_accuracy, best_val_accuracy;
  double seconds;       /* of the whole loop */
  double samples_per_s; /* of training: without compiling and validation */
  double latency_ms;    /* of a forward pass, an example, in the fastest validation; NaN without one */
  int64_t peak_bytes, optimizer_bytes[3]; /* the latter as in dhc_train_begin */
  char run_id[33];      /* drawn once, kept when the run goes on */
} dhc_train_result;

/* The settings a run with these options would use (NULL: the recipe's own), as JSON: "recipe"
 * (a name, or "(none)": all from defaults), "optimizer", its scalars, "batch", "epochs", "steps",
 * learning rates, "clip", "ema", "label_smoothing". Caller frees. */
DHC_API dhc_status dhc_recipe_json(dhc_model *m, const dhc_train_options *o, char **out) DHC_MUST_USE;

/* SIGINT, SIGTERM and SIGHUP set a flag that compiling, loading, training and evaluation poll;
 * a second SIGINT or SIGTERM ends the process at once, with status 130 or 143. A SIGHUP that is
 * ignored (nohup) stays ignored. For programs that want it; the command does, and ends with 128
 * and the signal's number: 130, 143 or 129. */
DHC_API void dhc_catch_signals(void);
DHC_API int dhc_signal_caught(void); /* 0 or the signal's number */

/* Trains with the model's recipe. Stops cleanly when a signal flag is set: writes a
 * checkpoint, returns DHC_E_INTERRUPTED. Wherever it stops, and wherever it is killed, the run
 * goes on with `resume` to the same bytes of every file as if it had not, but for the columns
 * samples_s and time_s and the run's id. A step that is not finite changes nothing and
 * returns DHC_E_NUMERIC naming step, tensor and index. */
DHC_API dhc_status dhc_train(dhc_model *m, const dhc_train_options *o,
                             dhc_train_result *out) DHC_MUST_USE;

/* Where the tokens of an evaluation went, of one routed block or of all behind one kind of mixer. */
typedef struct dhc_routing_row {
  const char *path;    /* of the tap, "layers.1.ffn.tokens_per_expert"; "": of all blocks that follow such a mixer */
  const char *follows; /* what made the mixer in front: "Mamba"; "" where there is none */
  int n_blocks, n_experts;
  const double *tokens; /* by expert; NULL of several blocks */
  double total;        /* tokens times experts each goes to */
  double entropy;      /* of the experts' shares, by its largest value: 1 where all get the same; means of several */
  double balance;      /* mean by largest load, the same */
} dhc_routing_row;
typedef struct dhc_eval_options {
  const char *data, *split, *weights; /* split NULL: "test" */
  int64_t batch, limit;
  const char *const *ablate; /* n_ablate: see dhc_program_ablate */
  int n_ablate;
  void (*routing)(void *ctx, const dhc_routing_row *r); /* the ledger, when the evaluation is done; or NULL */
  int n_predictions; /* report the first so many through `prediction` */
  void (*prediction)(void *ctx, int64_t example, int64_t target, int64_t predicted, double p);
  void *ctx;
  double val_fraction; /* split "val": that share of the training examples, as train kept it; 0: the data's own */
} dhc_eval_options;
typedef struct dhc_eval_result {
  int64_t n_examples;
  double loss, accuracy, seconds;
} dhc_eval_result;
DHC_API dhc_status dhc_evaluate(dhc_model *m, const dhc_eval_options *o,
                            dhc_eval_result *out) DHC_MUST_USE;

/* One of the likeliest classes of a picture. */
typedef struct dhc_prediction {
  const char *file;
  int place;          /* 0: the likeliest */
  int64_t label;
  const char *name;   /* of the class, as the training data called it; NULL where nobody said */
  double probability; /* softmax of the entry's logits */
} dhc_prediction;
typedef struct dhc_predict_options {
  const char *weights;       /* as dhc_program_load takes them */
  const char *const *images; /* n_images files, PNG or JPEG */
  int n_images;
  int64_t batch;             /* pictures of one size at a time; 0: 64 */
  int top;                   /* classes of each */
  void (*row)(void *ctx, const dhc_prediction *p); /* in the order of files, then of places */
  void *ctx;
} dhc_predict_options;
/* Pixels go through the model's entry `normalize` into `forward`, which gives `logits` [B, classes]. Gray and colour become
 * what the model takes (runtime/formats/picture.h says how). DHC_E_INPUT names the file that is no picture, or the entry
 * that is missing. */
DHC_API dhc_status dhc_predict(dhc_model *m, const dhc_predict_options *o) DHC_MUST_USE;

/* ---- standalone objects ------------------------------------------------------------------ */

/* One of several models of an object: the settings that the model was opened with, and these. */
typedef struct dhc_build_variant {
  const char *name;        /* what callers choose it by: letters, digits, _ */
  const char *const *sets; /* "key=value" */
  int n_sets;
  const char *weights;     /* NULL: those of the options */
} dhc_build_variant;
/* Entries of a model as one object file and a C header: what links it needs nothing else (docs/abi.md). */
typedef struct dhc_build_options {
  const char *const *entries; /* none: "forward"; "train_step": a step of training of the entry "loss" as the recipe says, unless
                                 the model has an entry of that name */
  int n_entries;
  const char *const *optional; /* inputs with a default that are parameters of the entries that have them; the others are left out */
  int n_optional;
  const char *name;    /* prefix of the functions, an identifier; NULL: made of `stem` */
  const char *stem;    /* of a file, such as "my-model", which gives my_model; NULL: the model's name in lower case */
  const char *target;  /* a machine of backends/cpu/targets.def or a triple of one; NULL: this one */
  const char *cpu, *features; /* with target; NULL: its own */
  bool large;          /* the program that links the object may be larger than 2 GiB, as it is with constants of that size; x86-64 */
  bool multiversion;   /* code for x86-64-v2, v3 and v4 in one object, the best of which is chosen when it runs */
  uint64_t seed;       /* of the weights that a training step begins with where none are given */
  const char *bind;    /* "B=1,L=16": sizes that are fixed; NULL: none */
  const char *weights; /* NULL: callers of the object pass them */
  const char *weights_file; /* where weights go that callers map and pass; NULL: they are embedded */
  int selftest;        /* calls that the object can make to test itself, of each entry that carries nothing on; needs
                          bind of all sizes, and weights */
  int64_t max_ram;     /* refused where an entry's workspace (of one worker) and state need more; needs bind of all sizes; 0: no limit */
  int64_t max_stack;   /* refused where an entry may need more of it, called without exec; 0: no limit */
  int64_t max_flash;   /* refused where code and embedded constants are more; 0: no limit */
  const dhc_build_variant *variants; /* none: the model as it is. Kernels and tensors that are equal are there once */
  int n_variants;
  const char *quantize; /* "int8": weights of contractions, convolutions and embeddings in 8 bits, with a scale for each row (output
                           channel, token); "bf16": in 16. Needs weights.
                           NULL: as they are */
  const char *data, *split; /* with quantize: accuracy before and after, as dhc_evaluate takes them; NULL: not measured */
  int64_t batch, limit;
  bool bounded;        /* how much an entry does hangs on sizes alone: experts all compute, no position is skipped. The results are the same
                          bits. Refused where that cannot be had */
  bool c;              /* C99 source instead of code; then out is FILE.c, and header is needed */
  const char *backend; /* what its code runs on; NULL: what the session's does. "cuda", of which nothing need be here: code for GPUs and a
                          host part for the CUDA driver, in one C file; then out is FILE.c, and header is needed */
  const char *gpu_arch; /* with "cuda": "sm_80,sm_90a": architectures; NULL: those of a list of its own. PTX of the least is there, too */
  const char *out;     /* FILE.o, FILE.a or FILE.so, which needs ld.lld or ld */
  const char *header;  /* NULL: none is written */
  const char *bounds;  /* where a JSON document goes: iterations of every loop, at most, and stack of every function; NULL: none */
  int64_t *instructions; /* NULL, or where those of a call go, one a name of `entries`: counted under qemu-user on inputs and weights of
                            zeros, sizes that are open being 1; -1: not known. With target, of one model */
} dhc_build_options;
typedef struct dhc_build_result {
  int64_t object_bytes;  /* of the file */
  int64_t weights_bytes; /* of the constants that entries read, packed copies among them */
  int64_t code_bytes;    /* the file without embedded constants; -1: source, whose compiler decides */
  int64_t workspace_bytes, state_bytes; /* of the entry that needs most, with one worker; -1: sizes that are not fixed decide */
  int64_t stack_bytes;   /* of the entry that needs most; 0: source */
  int n_entries, n_kernels;
  char uncounted[128];   /* why instructions are not known; "": they are */
  /* with quantize: */
  int n_quantized;              /* tensors */
  int64_t weights_bytes_before; /* constants, had they stayed as they are */
  dhc_eval_result before, after; /* n_examples 0: no data. Of several variants, of the one whose loss grows most */
  double deviation, largest;    /* on generated inputs, between results before and after; the largest result before. NaN: no entry without
                                   states takes any */
} dhc_build_result;
/* All files are there afterwards, or all are as they were. Needs the backend "cpu". */
DHC_API dhc_status dhc_model_build(dhc_model *m, const dhc_build_options *o, dhc_build_result *out) DHC_MUST_USE;

/* One part left out. */
typedef struct dhc_ablate_row {
  const char *scope; /* "whole" (nothing), "block", "unit", "kind", "expert" */
  const char *name;  /* as dhc_program_ablate takes it; "" for the whole */
  const char *kind;  /* what made it: "Mamba"; "" where it has no one kind */
  int n_units;       /* calls that were dropped; 0: none */
  double loss, accuracy;               /* accuracy NaN where there is no metric */
  double loss_change, accuracy_change; /* against the whole */
} dhc_ablate_row;
typedef struct dhc_ablate_options {
  const char *data, *split; /* split NULL: "test" */
  const char *weights;
  int64_t batch, limit;
  bool experts;             /* each expert by itself, too */
  bool (*row)(void *ctx, const dhc_ablate_row *r); /* as they come, the whole first; false: stop as on SIGINT */
  void *ctx;
} dhc_ablate_options;
/* Evaluates the model as it is, then without each block, each unit, each kind of layer. */
DHC_API dhc_status dhc_ablate(dhc_model *m, const dhc_ablate_options *o) DHC_MUST_USE;

/* ---- generation -------------------------------------------------------------------- */

typedef struct dhc_generate_options {
  const char *weights;    /* NULL: initial weights of `seed` */
  const int64_t *prompt;  /* at least one token */
  int64_t n_prompt, n_tokens;
  double temperature;     /* logits are divided by it; 0: always the likeliest token */
  int64_t top_k;          /* draw among the k likeliest; 0: among all */
  uint64_t seed;          /* of the draws: equal seeds give equal tokens */
  bool (*token)(void *ctx, int64_t token); /* called for each new one; false: enough */
  void *ctx;
} dhc_generate_options;
typedef struct dhc_generate_result {
  int64_t n_tokens;       /* new ones */
  double prompt_seconds, seconds; /* the prompt's run; the steps' */
} dhc_generate_result;
/* Goes on from a prompt: it runs through `forward.stream`, every further token through
 * `forward.step`. The model's `forward` takes one i64 [B, L] of tokens and gives logits
 * [B, L, vocabulary]. DHC_E_INPUT where it does not, or a prompt's token is outside the
 * vocabulary; DHC_E_USAGE for an empty prompt or a temperature below 0; DHC_E_NUMERIC where logits are not finite; DHC_E_INTERRUPTED after a signal. */
DHC_API dhc_status dhc_generate(dhc_model *m, const dhc_generate_options *o,
                                dhc_generate_result *out) DHC_MUST_USE;

/* ---- verification ------------------------------------------------------------------ */

typedef struct dhc_verify_row {
  const char *name;
  double error, tolerance; /* ||a-b|| / ||b||, see api/verify.c; infinite or NaN where `why` says so */
  const char *why;         /* valid during the call: what no number says, or NULL */
  int64_t elements;
  bool passed;
} dhc_verify_row;
typedef struct dhc_verify_options {
  const char *oracle;
  double tolerance; /* < 0: 1e-9 interp; cpu and cuda 1e-5 outputs and losses, 1e-4 gradients and weights;
                     * under compute tf32 2e-3 and 5e-3, bf16 2e-2 */
  void (*row)(void *ctx, const dhc_verify_row *r);
  void *ctx;
} dhc_verify_options;
/* DHC_E_INPUT if a row fails (*n_failed says how many) or the file does not fit: every tensor in it must have
 * a part in the comparison. */
DHC_API dhc_status dhc_verify_oracle(dhc_model *m, const dhc_verify_options *o, int *n_rows,
                                     int *n_failed) DHC_MUST_USE;

/* ---- single parts of the compiler ----------------------------------------------------- */

/* Passes (comma-separated) on IR text; result in *out (caller frees). */
DHC_API dhc_status dhc_opt_text(dhc_session *s, const char *name, const char *text,
                                const char *passes, char **out) DHC_MUST_USE;
/* One kernel spec, run on the session's backend against the spec interpreter on random
 * operands at the given arguments: *max_ulp, *max_rel. */
DHC_API dhc_status dhc_kernel_check(dhc_session *s, const char *name, const char *text,
                                    const int64_t *dims, int n_dims, uint64_t seed,
                                    double *max_rel, char **report) DHC_MUST_USE;

/* ---- kernel store ----------------------------------------------------------------------- */

typedef struct dhc_cache_info {
  const char *path; /* NULL: memory only */
  int64_t entries, bytes, damaged;
} dhc_cache_info;
DHC_API dhc_status dhc_cache_inspect(dhc_session *s, bool verify, dhc_cache_info *out) DHC_MUST_USE;
/* Entries written longest ago go until max_bytes are left; removed may be NULL. */
DHC_API dhc_status dhc_cache_prune(dhc_session *s, int64_t max_bytes, int64_t *removed) DHC_MUST_USE;
/* What this machine and build have, as JSON (caller frees). */
DHC_API dhc_status dhc_doctor_json(dhc_session *s, char **out) DHC_MUST_USE;
#ifdef __cplusplus
}
#endif
#include "dhc/group.h"
#include "dhc/profile.h"
#include "dhc/rl.h"
#include "dhc/sweep.h"
#include "dhc/tune.h"
#endif
