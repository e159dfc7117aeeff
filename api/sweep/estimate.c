/* What a training sweep is going to take: a few steps of each variant are timed. */
#include <math.h>
#include <stdlib.h>

#include "api/sweep/study.h"
#include "api/train/trainer.h"
#include "runtime/data/data.h"

enum { TIMED_STEPS = 6 };

typedef struct Watch {
  double at[TIMED_STEPS + 1]; /* seconds when a step was done */
  int n;
} Watch;

static bool watch_step(void *ctx, const dhc_train_progress *p) {
  Watch *w = ctx;
  if (!p->epoch_end && w->n <= TIMED_STEPS) w->at[w->n++] = p->seconds;
  return !dhc_stop_signal();
}

/* The fastest of the steps behind the first, which compiles and touches memory for the first time. */
static double step_seconds(const Watch *w) {
  double least = (double)NAN;
  for (int i = 2; i < w->n; i++) least = fmin(least, w->at[i] - w->at[i - 1]);
  return isnan(least) && w->n ? w->at[0] : least;
}

/* Examples of training and of validation that a run with these options has. */
static dhc_status count_examples(dhc_session *s, const dhc_train_options *o, int64_t *n_train, int64_t *n_val) {
  DhcDataset *d;
  DhcDataOptions limit = session_data_options(s);
  DHC_TRY(dhc_dataset_open(o->data, DHC_SPLIT_TRAIN, &limit, &d));
  int64_t n = d->n_examples;
  dhc_dataset_free(d);
  dhc_status own = {.code = DHC_E_INPUT};
  if (o->val_fraction == 0 && dhc_data_may_have_val(o->data)) own = dhc_dataset_open(o->data, DHC_SPLIT_VAL, &limit, &d);
  if (own.code == DHC_OK) {
    *n_val = d->n_examples;
    *n_train = n;
    dhc_dataset_free(d);
  } else {
    *n_val = (int64_t)((double)n * train_val_fraction(o));
    *n_train = n - *n_val;
  }
  if (o->limit > 0 && *n_train > o->limit) *n_train = o->limit;
  if (o->limit > 0 && *n_val > o->limit) *n_val = o->limit;
  return dhc_status_ok();
}

static int64_t disk_bytes(dhc_model *m, int64_t steps) {
  const dhc_layout *l = pipeline_layout(m, true);
  int64_t weights = 4 * dhc_model_n_params(m), all = weights;
  for (int i = 0; l && i < l->n_ranges; i++) all += l->ranges[i].n * dhc_tensor_dtype_bytes(l->ranges[i].dtype);
  return TRAIN_KEPT * all + 2 * weights + 300 * steps;
}

static void fill(SweepOpen *x, const dhc_train_options *o, int64_t n_train, int64_t n_val, double step_s, dhc_sweep_estimate *e) {
  const TrainSettings set = train_settings(x->m, o);
  int64_t an_epoch = (n_train + set.batch - 1) / set.batch, most = an_epoch * set.epochs;
  e->steps = set.steps && (!most || set.steps < most) ? set.steps : most;
  double epochs = an_epoch > 0 ? ceil((double)e->steps / (double)an_epoch) : 0;
  /* a validation's batch is a forward pass: about a third of a step */
  e->seconds = step_s * ((double)e->steps + epochs * ceil((double)n_val / (double)set.batch) / 3);
  e->step_ms = 1e3 * step_s;
  e->disk_bytes = disk_bytes(x->m, e->steps);
}

/* A few steps of a run that leaves nothing behind, and what the whole one would take. */
typedef struct Trial {
  dhc_train_options o;
  int64_t n_train, n_val;
  Watch watch;
  dhc_sweep_estimate *e;
} Trial;

static dhc_status try_steps(void *ctx, SweepOpen *x) {
  Trial *t = ctx;
  dhc_train_options o = t->o;
  o.out = NULL;
  o.resume = o.overwrite = o.tensorboard = false;
  o.allow_changed = o.init_from = NULL;
  o.steps = TIMED_STEPS;
  o.epochs = 0;
  o.val_fraction = -1;
  o.progress = watch_step;
  o.ctx = &t->watch;
  dhc_train_result r = {0};
  dhc_status st = dhc_train(x->m, &o, &r);
  t->e->memory_bytes = r.peak_bytes;
  if (st.code != DHC_OK && st.code != DHC_E_NUMERIC) return st;
  fill(x, &t->o, t->n_train, t->n_val, step_seconds(&t->watch), t->e); /* numbers: the run itself will say so */
  return dhc_status_ok();
}

dhc_status sweep_estimate(dhc_sweep *w, const dhc_train_options *train, const SweepVariant *v, dhc_sweep_estimate *e) {
  Trial t = {.o = *train, .e = e};
  DHC_TRY(count_examples(w->s, train, &t.n_train, &t.n_val));
  return sweep_report_again(w, v, NULL, NULL, sweep_with_variant(w, v, try_steps, &t, NULL));
}
