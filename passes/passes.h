/* Passes over modules: the manager, the clean-up passes, reverse-mode autodiff, and the
 * train-step builder. A pass is `bool dhc_pass_<name>(DhcModule *, DhcPassCtx *)`, one row
 * of passes/passes.def, one file. false: diagnostics were emitted and the module is to be
 * discarded. Passes do no I/O, know no backend, never look across a call, and keep what
 * they find out in arrays by node or value id in px->scratch, which the manager empties
 * after every pass. Results never depend on pointer values.
 *
 * Memory: what stays goes into module->arena. A context belongs to one module and must
 * live as long as derivatives are taken of it (it remembers which functions have them). */
#ifndef DHC_PASSES_PASSES_H
#define DHC_PASSES_PASSES_H

#include <stdio.h>

#include "ir/ir.h"

/* ---- manager (manager.c) ------------------------------------------------- */

enum {
#define PROP(name, doc) DHC_PROP_BIT_##name,
#include "passes/passes.def"
  DHC_N_PROPS
};
typedef enum DhcProp {
#define PROP(name, doc) DHC_PROP_##name = 1 << DHC_PROP_BIT_##name,
#include "passes/passes.def"
} DhcProp;

/* One run of one pass. */
typedef struct DhcPassStat {
  const char *pass;
  int64_t changes;
  double ms, verify_ms;
  int nodes_before, nodes_after; /* of all functions */
} DhcPassStat;

typedef struct DhcPassCtx {
  DhcModule *module;
  DhcDiags *diags;     /* the module's */
  DhcArena *scratch;   /* of the pass that runs; emptied after it */
  unsigned props;      /* DhcProp set that holds now */
  const char *pass;    /* the one that runs, or "" */
  int64_t changes;     /* of the pass that runs */
  bool unverified;     /* something changed since the verifier looked */
  int64_t all_changes; /* that passes asked leave for so far */
  int64_t limit;       /* changes allowed in all (bisecting); < 0: no limit */
  int panel_width;     /* columns of the target's contraction tile; 0: nothing is packed (layout) */
  int panel_tag;       /* how elements of packed weights lie: a DhcTag; 0: f32 */
  const struct DhcNarrows *narrow; /* where that is in fewer bits: of which weights (plan/narrow.h) */
  int panel_width_pair; /* of each of two contractions side by side in one tile */
  bool repeats;         /* values of little work are computed again by every kernel that needs them (fuse) */
  bool folds_again;     /* short folds, too, and a contraction is cut for what goes on from its half (fuse) */
  bool norms;           /* what a contraction makes of its own rows belongs to it (fuse) */
  bool routes;          /* top_k and route of what it chose are one kernel (fuse) */
  bool ranks;           /* many choices of a row are made by the ranks of all its places (lower) */
  bool tiles;           /* 3 x 3 convolutions may be summed by the rule of tiles (fuse) */
  const char *disabled; /* names of passes switched off, separated by commas, or NULL */
  DHC_VEC(DhcPassStat) stats; /* in the module's arena */
  DHC_VEC(struct DhcGradPair *) pairs; /* derivatives made so far (autodiff) */
} DhcPassCtx;

typedef struct DhcPassInfo {
  const char *name;
  bool (*run)(DhcModule *m, DhcPassCtx *px);
  unsigned requires, establishes, breaks; /* DhcProp sets */
  bool optional;
  const char *doc;
} DhcPassInfo;

/* Rows of passes.def. NULL: no such pass. */
const DhcPassInfo *dhc_pass_info(const char *name);
int dhc_pass_count(void);
const DhcPassInfo *dhc_pass_at(int i);
/* Whether every name of a comma-separated list is a pass (and one that may be left out, if
 * `optional`); else a line in `why` (of `size` >= 200 bytes) says which is not. NULL: empty. */
bool dhc_pass_list_check(const char *list, bool optional, char *why, size_t size);

/* `scratch` is borrowed and reset by the manager: nothing else may live in it. */
void dhc_pass_ctx_init(DhcPassCtx *px, DhcModule *m, DhcArena *scratch);
/* Asks for leave to make one more change and counts it. False: the limit of a bisecting
 * run is reached, the rewrite must not be made. Work that is not optional is only counted for
 * the report (dhc_pass_count_change). Whether leave would be given, for a pass that finds out
 * later whether it has something to do: dhc_pass_can_change. */
bool dhc_pass_may_change(DhcPassCtx *px);
bool dhc_pass_can_change(const DhcPassCtx *px);
void dhc_pass_count_change(DhcPassCtx *px);
/* The passes that one name stands for (LIST rows of passes.def), or NULL. */
const char *dhc_pass_named_list(const char *name);
/* Runs the passes of `list` ("simplify,cse,dce") in order with the verifier after the last, and after each where
 * assertions are on, there is a limit, or a pass is switched off.
 * False after diagnostics, also for an unknown name or a requirement that does not hold. */
bool dhc_passes_run(DhcModule *m, DhcPassCtx *px, const char *list);
/* The standard clean-up, run before and after autodiff. */
bool dhc_passes_clean(DhcModule *m, DhcPassCtx *px);
/* One line a run: name, changes, nodes, milliseconds. */
void dhc_passes_report(const DhcPassCtx *px, FILE *to);

/* Rows of passes.def. */
#define PASS(name, ...) bool dhc_pass_##name(DhcModule *m, DhcPassCtx *px);
#include "passes/passes.def"

/* `dhcc opt` (opt_driver.c): IR text in, IR text out. The text is cut at lines "// -----";
 * every piece is a module of its own, and pieces are printed in order with that line
 * between. Returns the exit status: 0, 1 (diagnostics), 2 (a pass name is unknown: one line
 * to err). */
typedef struct DhcOptRequest {
  const char *file_name; /* as shown in messages */
  const char *text;
  size_t n_bytes;
  const char *passes;   /* list, "" for none: parse, verify, print; "pipeline": all of it (pipeline.h) */
  const char *disabled; /* or NULL */
  int64_t limit;        /* < 0: none */
  DhcDiags *diags;      /* where diagnostics go; NULL: to err, as text */
  bool stats;           /* report to err */
  bool plan;            /* print the plans of the entries instead of the module */
  bool tiles;           /* as DhcPassCtx's */
} DhcOptRequest;
/* 0: done; 1: errors, as diagnostics; 2: no such pass; 3: out or err could not be written. */
int dhc_opt_run(const DhcOptRequest *rq, FILE *out, FILE *err);

/* ---- simplify ------------------------------------------------------------- */

#define DHC_RULE_EXACT DHC_N_OPS
/* The rules by name, for the property test over special values and the docs. */
typedef struct DhcRuleInfo {
  const char *name;
  DhcOp op;              /* of the node it replaces; a name may stand at several ops; DHC_RULE_EXACT: at every one that
                            ir/ops.def calls EXACT */
  const char *condition; /* why every bit stays, or the documented difference */
} DhcRuleInfo;
int dhc_simplify_rule_count(void);
DhcRuleInfo dhc_simplify_rule_at(int i);

/* ---- autodiff (autodiff.c, ad_split.c, vjp_*.c) ---------------------------- */

/* Reverse mode of one function. With p the parameters of f, r its results:
 *   fwd(p...)                     -> s... (begins with r..., then what else bwd needs)
 *   bwd(p[input]..., s[saved]..., cotangents of the float results of r)
 *                                 -> cotangents of the float parameters of p
 * in order; both have f's symbols and facts, in f's order. Integer parameters and
 * results have no cotangents. */
typedef struct DhcGradPair {
  DhcFunc *f, *fwd, *bwd;
  int n_input;
  const int *input; /* indices of f's parameters that bwd reads */
  int n_saved;
  const int *saved; /* indices of fwd's results that bwd reads: of r, or behind them */
} DhcGradPair;

/* The pair of f, made when first asked for, callees first. Saved are results of
 * contractions, convolutions, scans, windows, reductions, routes and calls as far as bwd
 * needs them, and f's own results, which are in memory anyway; everything else bwd computes
 * anew from those and the inputs. NULL after diagnostics. */
const DhcGradPair *dhc_autodiff(DhcPassCtx *px, DhcFunc *f);

typedef struct DhcGradRequest {
  const char *name; /* of the new entry */
  /* What to differentiate by: float parameters whose role is in `roles` (bits
   * 1 << DhcRole) or whose name is listed. */
  unsigned roles;
  const char *const *wrt;
  int n_wrt;
  /* What to differentiate: with cotangents = false the float scalar result called `of`
   * (NULL: the first result); with cotangents = true every float result (n_results = 0)
   * or those listed, each with an input "cotangent.<result>" of its type. */
  bool cotangents;
  const char *of;
  const char *const *results;
  int n_results;
  /* By parameter of the entry, with cotangents = false: the result, a float scalar, that its gradient is of; NULL: all are of
   * `of`. The way forward is there once, a way back for every such result. */
  const int *result_of;
  bool weighed; /* with cotangents = false: times inputs "cotangent.<result>", of every such result, behind all other parameters */
} DhcGradRequest;

/* New entry: parameters of `entry` (then the cotangent inputs), results of `entry`, then
 * one "grad.<parameter>" for each parameter asked for, in parameter order, zeros where
 * the result does not depend on it ("grad." is put in front again while the name is
 * taken). Its output can be differentiated again. NULL after diagnostics. */
DhcFunc *dhc_grad_entry(DhcPassCtx *px, DhcFunc *entry, const DhcGradRequest *rq);

/* The same of a unit with a scalar result, while its module is made: a unit too, which gives the result and its derivatives by
 * the parameters called `wrt`, in their order. NULL after diagnostics. */
DhcFunc *dhc_grad_unit(DhcModule *m, DhcFunc *f, const char *const *wrt, int n);

/* ---- train step (train_step.c) ----------------------------------------------- */

typedef struct DhcWeightSlot {
  int tensor;             /* index into module->tensors */
  const char *path;
  int64_t offset, n;      /* elements of the flat weights */
} DhcWeightSlot;

typedef struct DhcTrainStep {
  DhcFunc *entry;
  int64_t n, n_decayed;   /* elements in all; slots below n_decayed get weight decay */
  int n_slots;
  const DhcWeightSlot *slots; /* in their order: decayed first, then no_decay, each in
                                 module order */
  int n_moments;
  const char *const *moments; /* flat parameters, what the optimiser keeps: "$m", … */
  int64_t n_begun; /* elements of the flat "$begun" (with n_moments > 0): how many steps ago each
                      piece of the tensors that files hold in pieces first had a gradient, in
                      order of the weights */
  int n_scalars;
  const char *const *scalars; /* scalar parameters the step adds: "$clip", "lr", … */
  DHC_VEC(const DhcDim *) decided; /* facts that the sizes at hand have decided: >= 0 */
} DhcTrainStep;

/* What of the moments a rank has: share `rank` of n (passes/grad/places.h); n < 2: all of them. */
typedef struct DhcShare {
  int rank, n;
} DhcShare;

typedef struct DhcTrainRequest {
  const char *name; /* of the new entry; "train_step" if NULL */
  const char *of;   /* the loss among the entry's results; NULL: the first */
  /* (w, g, moments..., scalars...) -> (w, moments...), all flat over one symbol but scalars; a
   * parameter with the name of a result is a moment; others are scalars by name. */
  DhcFunc *optimizer;
  DhcFunc *const *own; /* by group of the module: its own optimiser, or NULL; NULL: no group has one */
  bool ema; /* adds flat "$ema" and scalar "$ema_decay": e <- d*e + (1-d)*w_new */
  /* Every rank runs the step on a part of the batch: loss, gradients and float buffers times scalar "$share", summed over the
   * ranks (op sum_ranks), are those of the whole. Gradients are summed by ranges of the flat one, each behind the last of its
   * gradients; norm, clipping and the finite flag come of the sums, so all ranks agree. */
  bool shared;
  /* With shares of moments (`shared`, too) a rank steps the weights of its own and takes the others' new ones from them (op
   * spread_ranks). The moments are as long as its share. */
  DhcShare share;
  /* Parts of the batch come one after the other. The entry asked for with `part` changes nothing but flats "$parts_sum" and "$parts_more",
   * to what its part and those before it ("$part" of them) add up to; loss, gradients and float buffers of the step itself are such
   * sums, as over ranks in the order of the parts. */
  bool parts, part;
  /* Gradients of large weights that are contractions of few rows do not lie in memory (train_rows.c). What rows are few is
   * decided by the sizes at hand, where facts leave it open, and becomes a fact of the step; not where nothing is said of them. */
  bool few;
  const char *const *size_of; /* n_sizes symbols of the entry */
  const int64_t *size;
  int n_sizes;
} DhcTrainRequest;

/* Builds the step as a plain entry: the loss entry's parameters, but weights as slices of
 * the flat "$w"; moments; scalars. Optimiser scalars keep their names with "$" in
 * front ("$lr"); "weight_decay" is read from "$weight_decay" for the decayed range and is
 * 0 for the rest; "step" is "$opt_step" (f32, counts from 1). "$clip" is the largest
 * gradient norm, 0 or infinity: no clipping. Results: the entry's, then "grad_norm" (f32, before
 * clipping) and "finite" (bool): false where the norm is above "$limit", or the loss or a new
 * buffer is not finite; every update then writes back the old value. False after diagnostics. */
bool dhc_train_step(DhcPassCtx *px, DhcFunc *loss, const DhcTrainRequest *rq, DhcTrainStep *out);

/* Entries of a module of their own that look at tensors (measure.c). Results "first" are i64: the index of the first
 * element in question, DHC_MEASURE_NONE where there is none.
 *   measure  the flat range "$w" of n f32 elements: "ends", the largest element and the largest of the elements with
 *            the other sign; not finite where some element is not
 *   infinite of the same: first that is not finite
 *   nan      "$w" (where n is not 0), then every float buffer of the model: first NaN of each */
#define DHC_MEASURE_NONE (INT64_C(1) << 52)
DhcFunc *dhc_measure_entry(DhcModule *m, int64_t n);
DhcFunc *dhc_infinite_entry(DhcModule *m, int64_t n);
DhcFunc *dhc_nan_entry(DhcModule *m, int64_t n);

#endif
