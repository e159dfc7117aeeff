/* A training run from inside: what the files of the loop share.
 *
 *   recipe.c       what a run is to use: the recipe under the caller's options
 *   train.c        setting up, the loop, validation, reports
 *   train_state.c  checkpoints, resuming, what config.json records
 *   train_blame.c  where a number that is not finite came from */
#ifndef DHC_API_TRAINER_H
#define DHC_API_TRAINER_H

#include "api/train.h"

/* The recipe with what the options change in it. */
typedef struct TrainSettings {
  const DhcRecipe *recipe;
  bool declared; /* some recipe was; else all of it are defaults */
  int64_t batch;
  int64_t epochs, steps; /* epochs 0: as many as the steps take; steps 0: by epochs */
  double clip;
  double lr; /* constant; 0: the recipe's schedule */
} TrainSettings;
TrainSettings train_settings(const dhc_model *m, const dhc_train_options *o);
/* Of step 0 ... steps - 1. */
double train_lr(const TrainSettings *s, int64_t step, int64_t steps);

typedef struct Trainer {
  dhc_model *m;
  const dhc_train_options *o;
  TrainSettings set;
  dhc_program *p; /* entry 0: the step */
  int eval_entry;
  Metric metric;
  Feed feed;
  DhcDataset *data;     /* the training files */
  DhcDataset *val_file; /* a split of its own, or NULL */
  DhcDataset train, val;
  DhcBatcher *batcher;
  DhcMetrics *log;
  Taps taps;
  DhcArena arena;
  int64_t steps, epochs, step; /* of the run: steps in all, epochs they take; done so far */
  uint64_t seed;
  double epoch_loss, epoch_metric, best, val_loss, val_accuracy; /* of the last validation */
  int64_t epoch_n;
  double t0;            /* ms: the loop began */
  double train_ms;      /* feeding and stepping, without compiling and validation */
  int64_t samples;      /* of those steps */
  dhc_train_progress pr;
} Trainer;

/* ---- train_state.c ---- */
dhc_status trainer_write_config(Trainer *t) DHC_MUST_USE;
/* Checkpoint of the state now; nothing without a folder. */
dhc_status trainer_save(Trainer *t) DHC_MUST_USE;
dhc_status trainer_save_weights(Trainer *t, const char *name) DHC_MUST_USE;
/* Goes to where the folder's last checkpoint stands. */
dhc_status trainer_resume(Trainer *t) DHC_MUST_USE;

/* ---- train_blame.c ---- */
/* DHC_E_NUMERIC: the first culprit on the way of the step that was refused, for inputs, weights,
 * results and gradients in this order. */
dhc_status trainer_blame(Trainer *t, double loss) DHC_MUST_USE;

#endif
