/* A training run from inside: what the files of the loop share.
 *
 *   recipe.c      what a run is to use: the recipe under the caller's options
 *   train.c       setting up, the loop, validation, reports
 *   run.c         which run it is: settings, what may not differ when it goes on, config.json
 *   checkpoint.c  checkpoints and resuming
 *   folder.c      the folder: whose it is, beginning and going on there
 *   events.c      metrics for TensorBoard
 *   origin.c      beginning with the weights of another run
 *   ranks.c       several processes, each with a part of every batch
 *   shares.c      moments of which each of them has a share
 *   blame.c       where a number that is not finite came from */
#ifndef DHC_API_TRAINER_H
#define DHC_API_TRAINER_H

#include "api/train/train.h"
#include "runtime/ranks.h"

/* The recipe with what the options change in it. */
typedef struct TrainSettings {
  const DhcRecipe *recipe;
  bool declared; /* some recipe was; else all of it are defaults */
  int64_t batch, accumulate; /* parts of a rank that come in turn */
  int64_t epochs, steps; /* epochs 0: as many as the steps take; steps 0: by epochs */
  double clip;
  double lr; /* constant; 0: the recipe's schedule */
} TrainSettings;
TrainSettings train_settings(const dhc_model *m, const dhc_train_options *o);
/* Of step 0 ... steps - 1. */
double train_lr(const TrainSettings *s, int64_t step, int64_t steps);

/* Of the training data, where they have no split of their own. */
double train_val_fraction(const dhc_train_options *o);

/* Something a run is made with, which it keeps when it goes on. */
typedef enum RunSettingKind {
  RUN_PLAIN,
  RUN_OPTIMIZER, /* an argument of the optimizer */
  RUN_RATE,      /* the learning rate or its schedule */
  RUN_LENGTH,    /* epochs, steps: may differ where the rates of the steps done do not */
  RUN_TOTAL,     /* steps in all */
  RUN_EXTENT,    /* which examples of the data */
  RUN_DATA,
  RUN_MODEL      /* a hyperparameter */
} RunSettingKind;
typedef struct RunSetting {
  RunSettingKind kind;
  const char *name, *value;
  const char *digest; /* what counts instead of value, or NULL */
} RunSetting;

enum { TRAIN_N_COLUMNS = 10, TRAIN_COLUMN_STEP = 0, TRAIN_COLUMN_TIME = 7 }; /* numbers of a row of the metrics (train.c) */
#define TRAIN_EVENTS_FILE "events.out.tfevents.dhcc"
enum { TRAIN_KEPT = 2 }; /* checkpoints of a folder, beside that of a stop */

struct cJSON;
/* Where settings of a run were recorded: one of them. */
typedef struct RunRecord {
  const DhcCheckpoint *checkpoint;
  const struct cJSON *config; /* "run" of config.json */
} RunRecord;

/* Where a tensor's initial values come from. */
typedef struct TrainerOrigin {
  dhc_transplant_kind kind;
  const char *name, *why;
} TrainerOrigin;

typedef struct Trainer {
  dhc_model *m;
  const dhc_train_options *o;
  TrainSettings set;
  dhc_program *p; /* entry 0: the step */
  int eval_entry, part_entry; /* the latter -1: a rank's share of a batch is one part */
  Metric metric;
  Feed feed;
  DhcDataset *data;     /* the training files */
  DhcDataset *val_file; /* a split of its own, or NULL */
  DhcDataset train, val;
  DhcBatcher *batcher;
  DhcMetrics *log;
  Taps taps;
  DhcArena arena;
  DhcHeld held;
  DhcRunFolder folder; /* locked; fd -1: nothing is saved */
  bool used;           /* the folder holds another run, which is replaced by the first step that works */
  bool ready;          /* set up: there is a state to keep */
  bool begun;          /* its files are this run's */
  bool announced;      /* the caller knows what it is about to do */
  char run_id[DHC_RUN_ID_CHARS];
  const char *command;  /* that began the run */
  const char *replaces; /* ids of runs whose checkpoints go, parted by blanks */
  DHC_VEC(RunSetting) settings;
  bool new_optimizer; /* another than the checkpoint's: its state begins anew */
  int64_t first_step; /* of this optimizer */
  int64_t rows;       /* of the metrics files */
  struct {            /* the state that the newest checkpoint holds */
    bool any, stop;
    int64_t step, rows;
  } saved;
  DhcCharge charge; /* of data and val_file */
  int64_t steps, epochs, step; /* of the run: steps in all, epochs they take; done so far */
  uint64_t seed;
  double best_loss; /* of the validation that was best; NaN: none */
  double step_metric;   /* of the step under way: metrics of this rank's parts times their examples that count, */
  int64_t step_n;       /* which are so many */
  double epoch_loss, epoch_metric, best, val_loss, val_accuracy; /* of the last validation */
  int64_t epoch_n;
  struct DhcEvents *events; /* NULL: not asked for, or not open yet */
  double event_wall;        /* time that time_s counts from */
  DHC_VEC(TrainerOrigin) origins; /* of the initial values, where they come from another run's weights */
  double t0;            /* ms: the clock of the run, which stands still between its processes; the loop began then, or as much earlier as it had run */
  double began;         /* ms: the loop of this process */
  double train_ms;      /* feeding and stepping, without compiling and validation */
  int64_t samples;      /* of those steps */
  double latency_ms;    /* an example of the fastest validation; NaN: none yet */
  dhc_train_progress pr;
  dhc_train_options own;   /* what `o` is: the caller's, or what of it is this rank's business */
  DhcRanks *ranks;         /* NULL: this process alone */
  DhcShares shares;        /* of the moments; n 0: each rank has all of them */
  void **whole;            /* of rank 0: ranges that a checkpoint had, until all have their shares, by range; else NULL */
  struct Report *reports;  /* of all, of the last step */
  bool met;                /* the devices know one another */
  bool asked_to_stop;      /* by the caller: all are to hear of it first */
  bool stops;              /* all do, now */
  dhc_status ended;        /* how the run has */
  bool common;             /* what went wrong all ranks say alike: one is enough */
} Trainer;

/* ---- run.c ---- */
dhc_status trainer_settings(Trainer *t) DHC_MUST_USE; /* reads the data, for their digest */
/* DHC_E_USAGE where the caller allows changes of what no run has, or of a new run. */
dhc_status trainer_check_allowed(Trainer *t) DHC_MUST_USE;
bool trainer_allows(const Trainer *t, const char *name);
/* Two pairs a setting at most; the texts live as long as arena and trainer. */
int trainer_setting_pairs(Trainer *t, DhcArena *arena, DhcMetaPair *out);
/* DHC_E_INPUT names everything that differs from the record and may not. t->step: steps done. path:
 * of the record, for messages; model_hash: NULL if not recorded. */
dhc_status trainer_compare(Trainer *t, const RunRecord *record, const char *path, const char *model_hash) DHC_MUST_USE;
void trainer_set_command(Trainer *t, const char *command); /* that began the run */
const char *trainer_config_path(Trainer *t);
dhc_status trainer_write_config(Trainer *t) DHC_MUST_USE;
/* The caller's to delete; NULL and a warning where it says nothing of a run. */
dhc_status trainer_read_config(Trainer *t, struct cJSON **out) DHC_MUST_USE;

/* ---- folder.c ---- */
/* Locks the folder; DHC_E_INPUT where it is used and the caller has not said what for. */
dhc_status trainer_open_folder(Trainer *t) DHC_MUST_USE;
/* Goes to where the folder's run stands: its last checkpoint, or the beginning. */
dhc_status trainer_go_on(Trainer *t) DHC_MUST_USE;
/* Once, when there is something to write: the folder becomes this run's. */
dhc_status trainer_begin_files(Trainer *t) DHC_MUST_USE;

/* ---- events.c ---- */
/* Once the metrics are open: the event file, with the rows that they have. */
dhc_status trainer_open_events(Trainer *t) DHC_MUST_USE;
dhc_status trainer_event(Trainer *t, const double row[TRAIN_N_COLUMNS]) DHC_MUST_USE;

/* ---- origin.c ---- */
/* Weights of options' init_from over the initial ones; says what was taken. */
dhc_status trainer_transplant(Trainer *t) DHC_MUST_USE;
dhc_status trainer_write_origins(Trainer *t) DHC_MUST_USE; /* init.json, if there are some */

/* ---- checkpoint.c ---- */
/* Checkpoint of the state now, unless the newest holds it; nothing without a folder. stop: an
 * extra one, which the next takes the place of. */
dhc_status trainer_save(Trainer *t, bool stop) DHC_MUST_USE;
dhc_status trainer_save_weights(Trainer *t, const char *name) DHC_MUST_USE;
/* Takes up a checkpoint of this run. */
dhc_status trainer_load(Trainer *t, const DhcCheckpoint *c) DHC_MUST_USE;

/* ---- ranks.c ---- */
enum { TRAIN_CHECK_EVERY = 100 /* steps */, TRAIN_N_FIELDS = 14 };
bool trainer_leads(const Trainer *t); /* this is rank 0, or the only one */
void trainer_take_rank(Trainer *t, const dhc_train_options *o);
void trainer_leave_ranks(Trainer *t, DhcDevice *met); /* met: the device that knows the others, or NULL */
dhc_status trainer_meet(Trainer *t) DHC_MUST_USE;
dhc_status trainer_share(Trainer *t) DHC_MUST_USE;
/* After a step: the metric of all parts from those of this rank (step_metric; NaN stays NaN); whether all stop. Now and then that
 * all have the same weights. */
dhc_status trainer_agree(Trainer *t, double *metric, bool *stop) DHC_MUST_USE;
dhc_status trainer_common(Trainer *t, dhc_status st) DHC_MUST_USE; /* st; every rank returns the same */
/* how: where it was found, the smaller the nearer to its cause. */
dhc_status trainer_blame_ranks(Trainer *t, dhc_status own, int how) DHC_MUST_USE;
dhc_status trainer_of_rank(const Trainer *t, dhc_status st) DHC_MUST_USE; /* with its rank in front, where that is of use */
/* What the loop's decisions and rows depend on, beside tensors, to or from so many words (checkpoint.c). */
void trainer_fields(Trainer *t, double words[TRAIN_N_FIELDS], bool read);

/* ---- shares.c ---- */
/* Which share of the moments is this rank's, if they are shared out. */
dhc_status trainer_take_share(Trainer *t) DHC_MUST_USE;
dhc_status trainer_open_shares(Trainer *t) DHC_MUST_USE; /* the program is open */
void trainer_close_shares(Trainer *t);
bool trainer_shares(const Trainer *t, int range);
/* All of the range in memory of malloc's, on rank 0; on others NULL. */
dhc_status trainer_collect(Trainer *t, int range, void **whole) DHC_MUST_USE;
dhc_status trainer_hand_out(Trainer *t) DHC_MUST_USE; /* what rank 0 has in t->whole */
void trainer_drop_whole(Trainer *t);
/* What rank 0 says. */
dhc_status trainer_follow(Trainer *t, bool *yes) DHC_MUST_USE;
void trainer_optimizer_bytes(const Trainer *t, int64_t bytes[3]); /* as in dhc_train_begin */

/* ---- train.c ---- */
int64_t trainer_part(const Trainer *t); /* examples of a part at most */
/* The next part of the batch into t->feed. */
dhc_status trainer_feed(Trainer *t) DHC_MUST_USE;

/* ---- blame.c ---- */
/* DHC_E_NUMERIC: the first culprit on the way of the step that was refused, for inputs, weights,
 * results and gradients in this order. */
dhc_status trainer_blame(Trainer *t, double loss) DHC_MUST_USE;

#endif
