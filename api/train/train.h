/* The training room: what sweeps, evaluation and whoever else trains build on. The data source takes batches to
 * the inputs of an entry, the stepper makes a step of them, its guard lets none through that is not finite, metrics
 * and taps report. train/trainer.h is one run made of these. */
#ifndef DHC_API_TRAIN_H
#define DHC_API_TRAIN_H

#include "api/api.h"

enum { FEED_MAX = 16 };

/* Gathered examples, by field of the data; on the device too where it has memory of its own. */
typedef struct FeedBatch {
  void *field[FEED_MAX];
  DhcDevicePtr at[FEED_MAX];
} FeedBatch;

/* Takes batches of a data set to the inputs of the loss entry: fields by name; u8 pixels
 * through the model's `normalize` entry (one input, one result named like a loss input);
 * with augmentation also through its `augment` entry. */
typedef struct Feed {
  dhc_program *p;
  const DhcDataset *d;
  DhcEntryInfo loss;
  int normalize, augment; /* entry numbers, or -1 */
  DhcEntryInfo norm_info, aug_info;
  int64_t batch;
  FeedBatch batches[2]; /* the second only where a device takes them ahead */
  int now;              /* the one at hand */
  struct {              /* what the other one holds, gathered while the device computed; of NULL: nothing */
    const DhcBatcher *of;
    DhcDataPosition position;
    int64_t n;
  } next;
  DhcBatcher *from;              /* of the last batch */
  DhcDevicePtr stage[FEED_MAX];  /* by loss input: what a preparing entry made of it */
  int64_t stage_bytes[FEED_MAX];
  dhc_tensor in[FEED_MAX];   /* loss inputs of the batch at hand; data NULL: see feed_data */
  DhcDevicePtr at[FEED_MAX]; /* where they lie on the device; 0: on the host alone */
  int n_in;
  int64_t n_classes; /* of "logits"; 0: not asked yet, -1: the entry has none */
} Feed;

/* `batch`: the largest batch. The data set and program must outlive it. */
dhc_status feed_open(dhc_program *p, const DhcDataset *d, int64_t batch, bool augment, Feed *out) DHC_MUST_USE;
void feed_close(Feed *f);
/* Next batch into f->in; *n examples, 0 at the end of an epoch. */
dhc_status feed_next(Feed *f, DhcBatcher *b, bool augment, int64_t *n) DHC_MUST_USE;
/* Input i of the batch at hand for the host, where it is not there: f->in[i].data. */
dhc_status feed_data(Feed *f, int i) DHC_MUST_USE;
/* The batcher of the last batch is going to end. */
void feed_forget(Feed *f);

/* ---- the stepper (stepper.c) ------------------------------------------------------------ */

/* Where a step stands in its run. */
typedef struct StepAt {
  int64_t step; /* those done before it */
  int64_t age;  /* of the optimiser's moments: 1 at its first step */
  double lr;
  uint64_t seed;
} StepAt;
typedef struct Stepped {
  double loss, grad_norm;
  bool finite; /* false: nothing was changed; step_blame may know why */
  const dhc_tensor *results; /* until the next run */
  int n_results;
} Stepped;
/* One step of entry number `entry`, which trains, guarded (step_guard.c). where: as program_run's at. */
dhc_status stepper_run(dhc_program *p, int entry, const StepAt *at, const dhc_tensor *in, const DhcDevicePtr *where, int n_in,
                       Stepped *out) DHC_MUST_USE;

/* Labels of the batch at hand must be below the number of classes of result "logits" of the
 * entry (and not negative, unless the model has an ignore_index): DHC_E_INPUT names example
 * and label. Compiles nothing. */
dhc_status feed_check_labels(Feed *f, int entry) DHC_MUST_USE;

/* Metric entry of the model (the first one written), fed by name from loss inputs and results. */
typedef struct Metric {
  int entry; /* -1: none */
  DhcEntryInfo info;
} Metric;
dhc_status metric_open(dhc_program *p, Metric *out) DHC_MUST_USE;
/* NaN if there is none. */
dhc_status metric_value(dhc_program *p, const Metric *m, Feed *f, const dhc_tensor *results, int n_results, double *out) DHC_MUST_USE;

/* Mean loss and metric over a data set, weighted by examples. */
typedef struct EvalSums {
  double loss, metric;
  int64_t n;
} EvalSums;
dhc_status evaluate(dhc_program *p, int loss_entry, Feed *f, const Metric *m, const DhcDataset *d, int64_t batch,
                    void (*seen)(void *ctx, const Feed *f, const dhc_tensor *results, int n_results, int64_t first, int64_t n), void *ctx,
                    EvalSums *out) DHC_MUST_USE;

/* Reported taps of a training step (taps.c). */
typedef struct Taps {
  bool open;
  int n;
  dhc_tap *tap;        /* n, of the last step read */
  DhcMetricList *list; /* the same numbers */
  double **at;
  int64_t *room; /* elements at[i] has */
  DhcArena *arena;
} Taps;
/* Which taps there are, from the step's results. */
void taps_open(Taps *t, const dhc_image *step, DhcArena *arena);
/* The same from a checkpoint: `most` of them, then each with its values, which the taps take over. */
void taps_begin(Taps *t, int most, DhcArena *arena);
void taps_restore(Taps *t, const char *path, double *values, int64_t n);
/* Their values, from the results of a run. */
void taps_read(Taps *t, const dhc_tensor *results, int n_results);

/* The routing ledger (routing.c). */
typedef struct RoutedBlock {
  const char *path; /* of the tap */
  int n;
  double *tokens; /* by expert */
} RoutedBlock;
typedef struct Routing {
  DhcArena *arena;
  DHC_VEC(RoutedBlock) blocks;
} Routing;
const char *const *routing_patterns(void); /* of the taps that it is made of */
void routing_add(Routing *r, const dhc_tensor *results, int n_results);
/* Every block, then the blocks behind each kind of mixer together. DHC_E_INPUT where there are none. */
dhc_status routing_report(const dhc_model *m, const Routing *r, void (*row)(void *ctx, const dhc_routing_row *r), void *ctx) DHC_MUST_USE;

/* An evaluation of entry "loss" on a split, with weights (eval.c). Whatever evaluation_open returns, e is to be
 * closed. */
typedef struct Evaluation {
  dhc_session *s;
  DhcDataset *data;
  DhcDataset part; /* of it */
  dhc_program *p;
  Metric metric;
  Feed feed;
  int64_t batch;
  Routing routing; /* where it is asked for */
  DhcArena arena;
  DhcCharge charge; /* of data */
} Evaluation;
dhc_status evaluation_open(Evaluation *e, dhc_model *m, const dhc_eval_options *o) DHC_MUST_USE;
dhc_status evaluation_run(Evaluation *e, const dhc_eval_options *o, dhc_eval_result *out) DHC_MUST_USE;
void evaluation_close(Evaluation *e);

const dhc_tensor *result_named(const dhc_tensor *t, int n, const char *name);
double scalar_result(const dhc_tensor *t, int n, const char *name); /* NaN if absent */

/* Examples [first, first + n) of d as a data set of their own; borrows d. */
DhcDataset dataset_part(const DhcDataset *d, int64_t first, int64_t n, DhcArena *arena);

#endif
