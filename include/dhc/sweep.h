/* Sweeps: many variants of one model over one set of compiled kernels. Included by dhc.h, whose rules hold here.
 *
 *   dhc_sweep   the list of variants: a grid, orders of a pattern, what the model file declares
 *
 * A variant is opened, run and closed before the next one begins: what it took is given back, but for the kernels it
 * was the first to need. Variants whose graph and recipe are equal are one: the later ones are merged into the first. */
#ifndef DHC_SWEEP_H
#define DHC_SWEEP_H

#include "dhc/dhc.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dhc_sweep dhc_sweep;

typedef struct dhc_sweep_options {
  dhc_model_options model;    /* what all variants have in common */
  const char *const *axes;    /* "key=a,b,c": hyperparameters and recipe; every combination, the first axis slowest */
  int n_axes;
  const char *const *opts;    /* the same for settings of the recipe and its optimiser: "lr=1e-3,3e-4" */
  int n_opts;
  const char *variants;       /* `variants` blocks of the model file, or single ones as "block.name"; commas between; or NULL */
  const char *placements;     /* "M6A2": every order of these letters, as hyperparameter `pattern`; or NULL */
  int64_t random;             /* of all combinations only so many, drawn by `seed`; 0: all */
  uint64_t seed;              /* of that draw, of weights and of generated data */
  const char *sizes;          /* of generated data: "B=16,H=32,W=32"; what is not named has the recipe's batch, or 32, or 16 */
  /* Equal budgets: of each variant the whole number `solve` ("ffn_inner", or "ffn_inner:16": its multiples) that brings it
   * nearest to `hold` ("params=2.4M"; active-params, flops-per-token, state-bytes: caches included, at `sizes`), not
   * further than this share of it. It becomes part of the variant and of its name. */
  const char *hold, *solve;   /* both or none */
  double slack;               /* 0: 0.01 */
  const char *runs;           /* of dhc_sweep_objects: folder of a sweep that was trained, whose weights objects have: the best of each
                                 variant's run with the first seed; NULL: no weights */
} dhc_sweep_options;

/* DHC_E_USAGE where nothing varies, or an axis has no values; DHC_E_INPUT where the model has no such variants, or
 * one meets no budget. Texts are borrowed as long as the sweep. The session outlives the sweep. */
DHC_API dhc_status dhc_sweep_open(dhc_session *s, const dhc_sweep_options *o, dhc_sweep **out) DHC_MUST_USE;
DHC_API void dhc_sweep_close(dhc_sweep *w);
DHC_API int dhc_sweep_count(const dhc_sweep *w); /* variants, equal ones counted each */
DHC_API const char *dhc_sweep_name(const dhc_sweep *w, int i); /* "mamba_ratio=3,lr=1e-3" */

typedef struct dhc_sweep_row {
  int index;              /* of the variant */
  const char *name;
  const char *hash;       /* 16 hex digits: of the graph of `loss` with all its constants, and of the recipe */
  const char *pattern;    /* letters of the mixers in their order, "MMMA"; "" where the model has none */
  const char *order;      /* its canonical name: more than four alike in a row are counted, "M7A" */
  const char *mixers;     /* "M7 A1" */
  int64_t sequence_length; /* that the mixers see; -1: not known */
  int64_t parameters;
  const char *same_as;    /* name of the variant that it is equal to, and nothing else then; else NULL */
  int kernels_compiled, kernels_reused;
  double plan_ms;         /* from the request to the plan, bound to its sizes, kernels loaded */
  double first_step_ms;   /* from the request to the end of the first step, initial weights included */
  double step_ms;         /* of one more step */
} dhc_sweep_row;

/* One training step on generated data of each variant (and one more, for its own time). Rows are valid during the
 * call; false ends the sweep. The first variant that fails ends it too: its diagnostics are the session's. */
DHC_API dhc_status dhc_sweep_steps(dhc_sweep *w, bool (*row)(void *ctx, const dhc_sweep_row *r), void *ctx) DHC_MUST_USE;

/* What a variant costs, from its plan: nothing is run or compiled. kernels_shared of the costs counts variants before
 * it, too. */
typedef struct dhc_sweep_cost_row {
  int index;
  const char *name, *hash, *pattern, *order, *mixers; /* as in dhc_sweep_row */
  int64_t sequence_length; /* the same */
  const char *same_as;    /* name of the variant that it is equal to, or NULL; its costs are told all the same */
  const dhc_costs *costs;
} dhc_sweep_cost_row;
/* Of every variant, equal ones too; sizes that the sweep does not give are assumed, one example. false ends it. */
DHC_API dhc_status dhc_sweep_costs(dhc_sweep *w, bool (*row)(void *ctx, const dhc_sweep_cost_row *r), void *ctx) DHC_MUST_USE;

/* An object of each variant, made one after the other at the same place: o->out. With `runs` and o->data: what its weights come to. */
typedef struct dhc_sweep_object_row {
  int index;
  const char *name, *hash, *order, *mixers; /* as in dhc_sweep_row */
  const char *same_as;                      /* nothing was built then; else NULL */
  const dhc_build_result *built;
  const dhc_eval_result *eval;              /* NULL: not measured */
} dhc_sweep_object_row;
DHC_API dhc_status dhc_sweep_objects(dhc_sweep *w, const dhc_build_options *o, bool (*row)(void *ctx, const dhc_sweep_object_row *r),
                                     void *ctx) DHC_MUST_USE;

/* ---- training ------------------------------------------------------------------------- */

/* Where a training sweep stands. */
typedef struct dhc_sweep_progress {
  const char *name, *hash; /* of the variant at hand */
  uint64_t seed;
  int run, done, runs;     /* number of this run from 0; finished so far; all that are to be done here */
  double seconds;          /* since the sweep began here */
  double eta_seconds;      /* NaN: not known yet */
  const dhc_train_progress *train; /* NULL: the run has just ended */
  const char *status;      /* of a run that has ended: "done", "numeric" */
  const char *message;     /* of "numeric" */
} dhc_sweep_progress;

/* What a run of a variant is going to take, from a few steps of it. */
typedef struct dhc_sweep_estimate {
  const char *name, *hash;
  int runs;             /* of it that are not finished */
  int64_t steps;        /* of a run */
  double step_ms, seconds; /* of a step; of a run, validation included */
  int64_t memory_bytes, disk_bytes;
} dhc_sweep_estimate;

typedef struct dhc_sweep_train_options {
  dhc_train_options train;  /* of every run; `out`, `seed`, `resume`, `overwrite` and `progress` are the sweep's */
  const char *out;          /* the sweep's folder */
  const uint64_t *seeds;    /* of weights, order and dropout: the same ones for every variant */
  int n_seeds;
  const char *baseline;     /* variant that the others are compared with, what is solved for may be left out; NULL: none */
  const char *metric;       /* column of results.csv that is compared; NULL: val_accuracy, else val_loss, else loss */
  bool resume;              /* go on with the sweep in the folder: finished runs are not done again; variants and seeds may be more */
  int shard, n_shards;      /* only every n-th run, from number shard (1 ... n) on; 0, 0: all */
  /* Several processes: the workers do the runs of this shard, the j-th of n every n-th of them, write nothing but those and
   * take no lock; the one that leads them does none, and asks `others` until it says that they are done. */
  int worker, n_workers;    /* 1 ... n; 0, 0: no worker */
  bool (*others)(void *ctx);
  double budget_seconds;    /* begin only runs that are expected to end within it, DHC_E_INPUT where none is; 0: all */
  bool dry_run;             /* `estimate` is told of every variant, nothing is run or written; `out` may be NULL */
  void (*estimate)(void *ctx, const dhc_sweep_estimate *e);
  bool (*progress)(void *ctx, const dhc_sweep_progress *p); /* false: stop as on SIGINT */
  void *ctx;
} dhc_sweep_train_options;

typedef struct dhc_sweep_train_result {
  int variants, merged;     /* different ones; equal to one of these */
  int runs, done, numeric, left; /* of the whole sweep: finished, of them stopped at a number that is not finite; not finished */
} dhc_sweep_train_result;

/* Trains every variant with every seed, into out/runs/HASH-sSEED, seeds in the outer loop. out/sweep.json and
 * out/results.csv are there from the first moment on and whole after every run (docs/research.md). A run that was stopped or
 * killed goes on, a run that ended in numbers that are not finite counts as finished. DHC_E_INPUT where the folder holds a
 * sweep and `resume` is not set, or one with other settings; DHC_E_ENVIRONMENT while another sweep writes there;
 * DHC_E_INTERRUPTED when it was stopped. */
DHC_API dhc_status dhc_sweep_train(dhc_sweep *w, const dhc_sweep_train_options *o, dhc_sweep_train_result *out) DHC_MUST_USE;

/* The folders of shards of one sweep into one more: what is small of every finished run (run.json, config.json, metrics; not
 * checkpoints and weights), sweep.json and results.csv. DHC_E_INPUT where they are of sweeps with different settings, or
 * `out` holds a sweep. */
DHC_API dhc_status dhc_sweep_merge(const char *out, const char *const *folders, int n, dhc_sweep_train_result *result) DHC_MUST_USE;

/* A sweep's folder as it stands, from its runs: sweep.json (docs/research.md) with the numbers of results.csv in every run, and
 * the summary of column `metric`; NULL: the sweep's own. DHC_E_INPUT where it holds no sweep, DHC_E_USAGE where there is no
 * such column. Caller frees. */
DHC_API dhc_status dhc_sweep_json(const char *folder, const char *metric, char **out) DHC_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
