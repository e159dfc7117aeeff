/* The training loop: recipe, data, steps, validation, checkpoints, metrics. A run that was
 * stopped and resumed gives the bits of one that was not: weights, moments, seed,
 * step and data position all come back from the checkpoint, and so does what rows of the metrics
 * show. Between two steps and before a validation the state is whole; a stop anywhere else
 * goes back to there. */
#include <math.h>

#include "api/train/trainer.h"
#include "runtime/events.h"

static const char *const log_columns[] = {"step",      "epoch",     "loss",   "accuracy", "lr",
                                          "grad_norm", "samples_s", "time_s", "val_loss", "val_accuracy"};
enum { N_LOG_COLUMNS = sizeof log_columns / sizeof log_columns[0] };
_Static_assert((int)N_LOG_COLUMNS == (int)TRAIN_N_COLUMNS, "events.c knows the columns");

/* ---- setting up ----------------------------------------------------------------- */

static dhc_status open_data(Trainer *t) {
  DhcDataOptions o = session_data_options(t->m->s);
  DHC_TRY(dhc_dataset_open(t->o->data, DHC_SPLIT_TRAIN, &o, &t->data));
  DHC_TRY(budget_data(t->m->s, t->data, &t->charge));
  int64_t n = t->data->n_examples, n_val = 0;
  if (t->o->val_fraction == 0 && dhc_data_may_have_val(t->o->data)) {
    o = session_data_options(t->m->s);
    dhc_status st = dhc_dataset_open(t->o->data, DHC_SPLIT_VAL, &o, &t->val_file);
    if (st.code == DHC_E_ENVIRONMENT) return st;
    if (st.code == DHC_OK) DHC_TRY(budget_data(t->m->s, t->val_file, &t->charge));
    if (st.code == DHC_OK) t->val = *t->val_file; /* none: part of the training data */
  }
  /* a share below 1: an example is left to train with */
  if (!t->val_file) n_val = (int64_t)((double)n * train_val_fraction(t->o));
  t->train = dataset_part(t->data, 0, n - n_val, &t->arena);
  if (!t->val_file) t->val = dataset_part(t->data, n - n_val, n_val, &t->arena);
  if (t->o->limit > 0 && t->o->limit < t->train.n_examples) t->train.n_examples = t->o->limit;
  if (t->o->limit > 0 && t->o->limit < t->val.n_examples) t->val.n_examples = t->o->limit;
  return dhc_status_ok();
}

static int trainer_parts(const Trainer *t) {
  return (t->ranks ? dhc_ranks_count(t->ranks) : 1) * (int)t->set.accumulate;
}

int64_t trainer_part(const Trainer *t) {
  const int parts = trainer_parts(t);
  return t->set.batch / parts + (t->set.batch % parts != 0);
}

static dhc_status open_batches(Trainer *t) {
  DhcBatchOptions o = {.batch = t->set.batch, .shuffle = !t->o->shuffle_off, .workers = dhc_session_threads(t->m->s), .seed = (uint32_t)t->seed};
  const int in_turn = (int)t->set.accumulate;
  o.part = t->ranks ? dhc_ranks_number(t->ranks) * in_turn : 0;
  o.parts = trainer_parts(t);
  o.turns = in_turn;
  DHC_TRY(dhc_batcher_new(&t->train, &o, &t->batcher));
  int64_t an_epoch = dhc_batcher_count(t->batcher), most = an_epoch * t->set.epochs;
  t->steps = t->set.steps && (!most || t->set.steps < most) ? t->set.steps : most;
  t->epochs = (t->steps + an_epoch - 1) / an_epoch;
  return dhc_status_ok();
}

/* Columns for the reported taps are known once the step is elaborated, for the first batch, or
 * from the checkpoint. */
static dhc_status open_taps(Trainer *t) {
  Version *v;
  if (t->taps.open) return dhc_status_ok();
  DHC_TRY(program_version(t->p, &t->p->entries[0], t->feed.in, t->feed.n_in, &v));
  taps_open(&t->taps, v->image, &t->arena);
  if (t->set.recipe->report_asked && !t->taps.n)
    dhc_warn(&t->m->s->warn, DHC_WARN_WARNING, "report: no tap of 'loss' matches");
  return dhc_status_ok();
}

/* Rows that a resumed run will write again go; rows that are gone are missed aloud. The clock goes on from the last one. */
static dhc_status go_on_with_log(Trainer *t) {
  int64_t kept;
  double seconds;
  DHC_TRY(dhc_metrics_keep(t->log, t->rows, &kept));
  DHC_TRY(dhc_metrics_last(t->log, TRAIN_COLUMN_TIME, &seconds));
  if (seconds > 0 && seconds < 1e12) t->t0 -= seconds * 1e3;
  if (kept < t->rows)
    dhc_warn(&t->m->s->warn, DHC_WARN_WARNING, "%s: the metrics have %lld of the %lld rows so far; the others are lost", t->o->out,
             (long long)kept, (long long)t->rows);
  return dhc_status_ok();
}

static dhc_status open_log(Trainer *t) {
  DHC_TRY(open_taps(t));
  DHC_TRY(trainer_begin_files(t));
  if (t->log || !t->o->out || t->o->no_csv) return dhc_status_ok();
  const char **columns = DHC_NEW_N(&t->arena, const char *, N_LOG_COLUMNS + t->taps.n);
  memcpy(columns, log_columns, sizeof log_columns);
  for (int i = 0; i < t->taps.n; i++) columns[N_LOG_COLUMNS + i] = t->taps.tap[i].path;
  const char *csv = dhc_arena_printf(&t->arena, "%s/metrics.csv", t->o->out);
  const char *jsonl = dhc_arena_printf(&t->arena, "%s/metrics.jsonl", t->o->out);
  DHC_TRY(dhc_metrics_open(csv, jsonl, columns, N_LOG_COLUMNS + t->taps.n, t->taps.n, t->saved.any, &t->log));
  if (t->saved.any) DHC_TRY(go_on_with_log(t));
  return trainer_open_events(t);
}

static dhc_status check_options(const dhc_train_options *o) {
  const struct {
    const char *name;
    int64_t value;
  } counts[] = {{"batch", o->batch}, {"epochs", o->epochs}, {"steps", o->steps}, {"limit", o->limit}, {"accumulate", o->accumulate}, {"save-every", o->save_every}};
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
    if (counts[i].value < 0)
      return dhc_status_make(DHC_E_USAGE, "--%s: needs a whole number, got %lld", counts[i].name, (long long)counts[i].value);
  if (o->seed > UINT32_MAX) return dhc_status_make(DHC_E_USAGE, "--seed: needs at most %u, got %llu", UINT32_MAX, (unsigned long long)o->seed);
  if (!(o->lr >= 0) || isinf(o->lr)) return dhc_status_make(DHC_E_USAGE, "--lr: needs a finite number above 0, got %g", o->lr);
  if (isnan(o->clip)) return dhc_status_make(DHC_E_USAGE, "--clip: needs a number, got nan");
  if (!(o->val_fraction < 1)) return dhc_status_make(DHC_E_USAGE, "--val-fraction: needs a share below 1, got %g", o->val_fraction);
  return dhc_status_ok();
}

static dhc_status stopped_at_once(const Trainer *t) {
  if (!t->o->out) return dhc_status_make(DHC_E_INTERRUPTED, "stopped before the first step");
  return dhc_status_make(DHC_E_INTERRUPTED, "stopped before the first step; %s is as it was", t->o->out);
}

/* Which parts of batches there are besides: the model's entries are made for them. */
static dhc_status part_batches(Trainer *t) {
  if (t->set.accumulate > t->set.batch)
    return dhc_status_make(DHC_E_USAGE, "--accumulate: a batch of %lld has no %lld parts", (long long)t->set.batch, (long long)t->set.accumulate);
  t->m->parts = (t->ranks ? API_PARTS_OF_RANKS : 0u) | (t->set.accumulate > 1 ? API_PARTS_IN_TURN : 0u);
  return trainer_take_share(t);
}

static dhc_status set_up(Trainer *t) {
  const dhc_train_options *o = t->o;
  DHC_TRY(check_options(o));
  t->set = train_settings(t->m, o);
  DHC_TRY(part_batches(t));
  t->seed = o->seed;
  t->best = -INFINITY;
  t->best_loss = NAN;
  DHC_TRY(trainer_open_folder(t));
  session_doing(t->m->s, "reading the data", 0, 0);
  DHC_TRY(open_data(t));
  DHC_TRY(open_batches(t));
  if (dhc_stop_signal()) return stopped_at_once(t);
  DHC_TRY(dhc_program_open(t->m, "loss", DHC_MODE_TRAIN, &t->p));
  DHC_TRY(dhc_program_add(t->p, "loss", DHC_MODE_RUN, &t->eval_entry));
  t->part_entry = -1;
  if (t->set.accumulate > 1) DHC_TRY(program_add_part(t->p, &t->part_entry));
  DHC_TRY(metric_open(t->p, &t->metric));
  DHC_TRY(feed_open(t->p, &t->train, trainer_part(t), !o->augment_off, &t->feed));
  DHC_TRY(trainer_open_shares(t));
  DHC_TRY(trainer_meet(t));
  DHC_TRY(dhc_program_init(t->p, t->seed));
  DHC_TRY(dhc_program_set_scalar(t->p, DHC_NAME_CLIP, t->set.clip));
  dhc_program_profile(t->p, o->profile != NULL);
  if (o->out) DHC_TRY(trainer_settings(t));
  DHC_TRY(trainer_check_allowed(t));
  if (o->resume) DHC_TRY(trainer_go_on(t));
  if (o->init_from && !t->saved.any) DHC_TRY(trainer_transplant(t));
  DHC_TRY(trainer_share(t));
  t->ready = true;
  return t->saved.any ? trainer_begin_files(t) : dhc_status_ok();
}

/* ---- what it is about to do ---------------------------------------------------------- */

static void warn_of_defaults(const Trainer *t) {
  if (t->set.declared) return;
  dhc_warn(&t->m->s->warn, DHC_WARN_NOTE, "%s has no recipe: %s, lr %g, batch %lld, clip %g (train --print-recipe shows all)",
           t->m->name, t->set.recipe->optimizer, train_lr(&t->set, 0, 1), (long long)t->set.batch, t->set.clip);
}

static void take_note(void *trainer, const char *text) {
  dhc_warn(&((Trainer *)trainer)->m->s->warn, DHC_WARN_NOTE, "%s", text);
}

/* Kernels of the step that is next: planned, not compiled. */
static dhc_status count_kernels(const Trainer *t, dhc_train_begin *b) {
  Version *v;
  DhcKernelRequest *rq;
  b->kernels = b->to_compile = -1;
  if (session_whole(t->m->s) || t->step >= t->steps) return dhc_status_ok();
  DHC_TRY(program_version(t->p, &t->p->entries[0], t->feed.in, t->feed.n_in, &v));
  b->to_compile = 0;
  if (!v->compiled) {
    DHC_TRY(pipeline_fuse(t->m, v));
    DHC_TRY(pipeline_requests(t->m, v, &rq));
    b->to_compile = dhc_compile_missing(t->m->s->compiler, rq, v->planned->plan.n_kernels);
  }
  b->kernels = v->compiled ? v->image->plan.n_kernels : v->planned->plan.n_kernels;
  return dhc_status_ok();
}

static void note_classes(Trainer *t) {
  const char *setting = dhc_model_classes_setting(t->m->m);
  int64_t n = t->data->n_classes;
  char text[256];
  if (n < 1 || t->feed.n_classes <= n || !setting) return;
  snprintf(text, sizeof text, "the data have %lld classes, %s tells %lld apart (--set %s=%lld)", (long long)n, t->m->name, (long long)t->feed.n_classes,
           setting, (long long)n);
  take_note(t, text);
}

static void note_ranks(Trainer *t, const dhc_train_begin *b) {
  const int n = t->ranks ? dhc_ranks_count(t->ranks) : 1;
  char text[256];
  if (t->shares.n && !b->optimizer_bytes[1]) take_note(t, "the optimizer keeps nothing: --shard-optimizer saves no memory");
  if (b->batch >= n) return;
  snprintf(text, sizeof text, "batches of %lld: %lld of %d GPUs have no example (--batch %d or more)", (long long)b->batch, (long long)(n - b->batch), n, n);
  take_note(t, text);
}

static dhc_status announce(Trainer *t) {
  if (!t->o->begin || t->announced) return dhc_status_ok();
  t->announced = true;
  dhc_train_begin b = {.n_params = dhc_model_n_params(t->m), .n_train = t->train.n_examples, .n_val = t->val.n_examples,
                             .n_classes = t->data->n_classes, .step = t->step, .steps = t->steps, .epochs = t->epochs, .batch = t->set.batch,
                             .optimizer = t->set.recipe->optimizer, .lr = train_lr(&t->set, t->step, t->steps)};
  double begin = session_now_ms();
  trainer_optimizer_bytes(t, b.optimizer_bytes);
  DHC_TRY(count_kernels(t, &b));
  t->m->s->stats.compile_ms += session_now_ms() - begin;
  t->o->begin(t->o->ctx, &b);
  model_notes(t->m, take_note, t);
  note_classes(t);
  note_ranks(t, &b);
  return dhc_status_ok();
}

/* ---- the loop ------------------------------------------------------------------------- */

static double samples_per_s(const Trainer *t) {
  return t->train_ms > 0 ? (double)t->samples / t->train_ms * 1e3 : 0;
}

static dhc_status report(Trainer *t, bool epoch_end) {
  dhc_train_progress *p = &t->pr;
  p->step = t->step;
  p->steps = t->steps;
  p->epochs = t->epochs;
  p->epoch_loss = t->epoch_n ? t->epoch_loss / (double)t->epoch_n : NAN;
  p->epoch_accuracy = t->epoch_n && t->metric.entry >= 0 ? t->epoch_metric / (double)t->epoch_n : NAN;
  p->seconds = (session_now_ms() - t->t0) / 1e3;
  p->samples_per_s = samples_per_s(t);
  p->eta_seconds = p->samples_per_s > 0 ? (double)(t->steps - t->step) * (double)t->set.batch / p->samples_per_s : NAN;
  p->epoch_end = epoch_end;
  p->taps = t->taps.tap;
  p->n_taps = t->taps.n;
  if (t->log) {
    double row[N_LOG_COLUMNS] = {(double)t->step, (double)p->epoch + 1, p->loss, p->accuracy, p->lr, p->grad_norm,
                                 p->samples_per_s, p->seconds, p->val_loss, p->val_accuracy};
    DHC_TRY(dhc_metrics_row(t->log, row, t->taps.list));
    DHC_TRY(trainer_event(t, row));
  }
  t->rows++;
  if (!t->o->progress || t->o->progress(t->o->ctx, p)) return dhc_status_ok();
  t->asked_to_stop = true;
  if (!t->ranks) return dhc_status_make(DHC_E_INTERRUPTED, "stopped at step %lld", (long long)t->step);
  return dhc_status_ok();
}

static dhc_status validate(Trainer *t) {
  t->pr.val_loss = t->pr.val_accuracy = NAN;
  t->pr.best = false;
  if (!t->val.n_examples || !trainer_leads(t)) return dhc_status_ok();
  if (t->set.recipe->ema > 0) dhc_prog_use_weights(t->p->run, program_range(t->p, DHC_RANGE_EMA));
  EvalSums sums;
  double began = session_now_ms();
  dhc_status st = evaluate(t->p, t->eval_entry, &t->feed, &t->metric, &t->val, trainer_part(t), NULL, NULL, &sums);
  dhc_prog_use_weights(t->p->run, DHC_WEIGHTS);
  if (st.code != DHC_OK) return st;
  if (sums.n) t->latency_ms = fmin(t->latency_ms, (session_now_ms() - began) / (double)sums.n); /* of one NaN the other */
  t->pr.val_loss = t->val_loss = sums.loss;
  t->pr.val_accuracy = t->val_accuracy = t->metric.entry >= 0 ? sums.metric : NAN;
  double score = t->metric.entry >= 0 ? sums.metric : -sums.loss;
  if (score > t->best || (score == t->best && sums.loss < t->best_loss)) { /* few examples are soon all right: then the surer weights */
    t->best = score;
    t->best_loss = sums.loss;
    t->pr.best = true;
    return trainer_save_weights(t, "best.safetensors");
  }
  return dhc_status_ok();
}

/* Stopped in its validation, the epoch has not ended: that is done again, from its start. */
static dhc_status end_epoch(Trainer *t, bool whole) {
  DHC_TRY(open_log(t)); /* a resumed run may have no batch left */
  session_doing(t->m->s, "validating", 0, t->val.n_examples);
  DHC_TRY(validate(t));
  session_doing(t->m->s, "saving", 0, 0);
  dhc_status st = report(t, true);
  t->epoch_loss = t->epoch_metric = 0;
  t->epoch_n = 0;
  t->pr.val_loss = t->pr.val_accuracy = NAN;
  if (whole) dhc_batcher_end_epoch(t->batcher);
  if (st.code != DHC_OK) return st;
  return t->o->save_every ? dhc_status_ok() : trainer_save(t, false);
}

/* What belongs to the step of all ranks. */
static dhc_status end_step(Trainer *t) {
  t->step++;
  if (t->ranks) DHC_TRY(trainer_agree(t, &t->pr.accuracy, &t->stops));
  else if (t->part_entry >= 0) t->pr.accuracy = t->step_metric / (double)t->step_n;
  int64_t n = dhc_batcher_part(t->batcher).whole;
  t->epoch_loss += t->pr.loss * (double)n;
  t->epoch_metric += t->pr.accuracy * (double)n;
  t->epoch_n += n;
  t->samples += n;
  return dhc_status_ok();
}

static dhc_status add_metric(Trainer *t, const dhc_tensor *results, int n_results, double *metric) {
  const DhcBatchPart part = dhc_batcher_part(t->batcher);
  const int64_t n = part.share > 0 ? part.n : 0;
  DHC_TRY(metric_value(t->p, &t->metric, &t->feed, results, n_results, metric));
  t->step_metric += *metric * (double)n;
  t->step_n += n;
  return dhc_status_ok();
}

/* A part that others follow: nothing but the sums changes. */
static dhc_status one_part(Trainer *t, int64_t number) {
  const dhc_tensor *results;
  int n_results;
  double metric;
  *program_scalar(t->p, DHC_NAME_PART) = (double)number;
  *program_scalar(t->p, DHC_NAME_SEED) = (double)t->seed;
  DHC_TRY(program_run(t->p, t->part_entry, t->feed.in, t->feed.at, t->feed.n_in, &results, &n_results));
  return add_metric(t, results, n_results, &metric);
}

static dhc_status one_step(Trainer *t) {
  t->pr.lr = train_lr(&t->set, t->step, t->steps);
  const StepAt at = {.step = t->step, .age = t->step - t->first_step + 1, .lr = t->pr.lr, .seed = t->seed};
  Stepped done;
  if (t->ranks) dhc_ranks_mark(t->ranks);
  DHC_TRY(stepper_run(t->p, 0, &at, t->feed.in, t->feed.at, t->feed.n_in, &done));
  t->pr.loss = done.loss;
  t->pr.grad_norm = done.grad_norm;
  if (!done.finite) return trainer_blame(t, done.loss);
  DHC_TRY(open_log(t));
  taps_read(&t->taps, done.results, done.n_results);
  dhc_stop_hold(); /* the weights have moved on: what belongs to the step cannot be left out */
  dhc_status st = add_metric(t, done.results, done.n_results, &t->pr.accuracy);
  dhc_stop_release();
  return st.code ? st : end_step(t);
}

/* A clock that stands still while something is compiled: rates are about training. */
static double working_ms(const Trainer *t) {
  return session_now_ms() - t->m->s->stats.compile_ms - dhc_prog_device(t->p->run)->code_ms;
}

dhc_status trainer_feed(Trainer *t) {
  int64_t n;
  session_doing(t->m->s, "reading the data", 0, 0);
  DHC_TRY(feed_next(&t->feed, t->batcher, !t->o->augment_off, &n));
  return feed_check_labels(&t->feed, 0);
}

static dhc_status next_batch(Trainer *t) {
  double begin = working_ms(t);
  t->pr.epoch = dhc_batcher_position(t->batcher).epoch;
  *program_scalar(t->p, DHC_NAME_STEP) = (double)t->step;
  t->step_metric = 0;
  t->step_n = 0;
  for (int64_t k = 0; k < t->set.accumulate; k++) {
    DHC_TRY(trainer_feed(t));
    DHC_TRY(open_taps(t));
    DHC_TRY(announce(t));
    session_doing(t->m->s, "training: step", t->step + 1, t->steps);
    DHC_TRY(k + 1 < t->set.accumulate ? one_part(t, k) : one_step(t));
  }
  t->train_ms += working_ms(t) - begin;
  return dhc_status_ok();
}

static bool all_seen(const Trainer *t) {
  return dhc_batcher_position(t->batcher).next >= t->train.n_examples;
}

static bool at_epoch_end(const Trainer *t) {
  return t->epoch_n && (all_seen(t) || t->step >= t->steps);
}

static dhc_status loop(Trainer *t) {
  for (;;) {
    DhcDataPosition at = dhc_batcher_position(t->batcher);
    if (at_epoch_end(t)) {
      DHC_TRY(end_epoch(t, all_seen(t)));
      continue;
    }
    if (t->step >= t->steps) return dhc_status_ok();
    if (all_seen(t)) { /* of fewer examples than the run had before */
      dhc_batcher_end_epoch(t->batcher);
      continue;
    }
    if (dhc_stop_signal() || t->stops) return dhc_status_make(DHC_E_INTERRUPTED, "stopped at step %lld", (long long)t->step);
    int64_t done = t->step;
    dhc_status st = next_batch(t);
    if (st.code != DHC_OK && t->step == done) DHC_TRY(dhc_batcher_seek(t->batcher, at)); /* that batch is still to be done */
    if (st.code != DHC_OK) return st;
    if (!at_epoch_end(t)) DHC_TRY(report(t, false)); /* else that step's row is written with what the validation finds */
    if (t->o->save_every && t->step % t->o->save_every == 0) DHC_TRY(trainer_save(t, false));
  }
}

static void tear_down(void *trainer) {
  Trainer *t = trainer;
  DhcDevice *met = t->met ? dhc_prog_device(t->p->run) : NULL;
  dhc_budget_release(&t->m->s->budget, &t->charge);
  feed_close(&t->feed);
  if (t->log) dhc_metrics_close(t->log);
  trainer_close_shares(t);
  dhc_events_close(t->events);
  if (t->batcher) dhc_batcher_free(t->batcher);
  dhc_program_close(t->p); /* with the lists of commands in which the device meets the others */
  trainer_leave_ranks(t, met);
  dhc_run_folder_close(&t->folder);
  if (t->data) dhc_dataset_free(t->data);
  if (t->val_file) dhc_dataset_free(t->val_file);
  dhc_arena_fini(&t->arena);
}

/* What was reached is kept, whether the run came to its end or was stopped. Before its first step
 * that is nothing where it would cost another run's files. */
static dhc_status keep(Trainer *t, dhc_status st) {
  bool stop = st.code == DHC_E_INTERRUPTED;
  if (!t->ready || (st.code != DHC_OK && !stop)) return st;
  if (stop && t->used && !t->begun) {
    bool saves = false;
    DHC_TRY(trainer_follow(t, &saves));
    return stopped_at_once(t);
  }
  DHC_TRY(trainer_save(t, stop));
  DHC_TRY(trainer_save_weights(t, "last.safetensors"));
  if (stop && t->o->out)
    return dhc_status_make(DHC_E_INTERRUPTED, "stopped at step %lld, checkpoint in %s; go on with --resume",
                           (long long)t->step, t->o->out);
  return st;
}

dhc_status api_train(dhc_model *m, const dhc_train_options *o, dhc_train_result *out) {
  NEED(out);
  *out = (dhc_train_result){0};
  NEED(m);
  NEED(o);
  NEED(o->data);
  Trainer t = {.m = m, .folder = {.fd = -1}};
  trainer_take_rank(&t, o);
  t.pr.val_loss = t.pr.val_accuracy = t.pr.accuracy = t.pr.loss = t.val_loss = t.val_accuracy = t.latency_ms = NAN;
  dhc_arena_init(&t.arena);
  dhc_hold(&t.held, tear_down, &t);
  dhc_status st = set_up(&t);
  if (st.code == DHC_OK) warn_of_defaults(&t);
  t.t0 = t.began = session_now_ms();
  if (st.code == DHC_OK && t.step >= t.steps) st = announce(&t);
  if (st.code == DHC_OK) st = loop(&t);
  session_doing(m->s, "saving", 0, 0);
  st = trainer_of_rank(&t, keep(&t, st));
  session_doing(m->s, NULL, 0, 0);
  *out = (dhc_train_result){.steps = t.step,
                            .epochs = t.pr.epoch + 1,
                            .loss = t.pr.loss,
                            .accuracy = t.pr.accuracy,
                            .val_loss = t.val_loss,
                            .val_accuracy = t.val_accuracy,
                            .best_val_accuracy = t.best,
                            .samples_per_s = samples_per_s(&t),
                            .latency_ms = t.latency_ms,
                            .seconds = (session_now_ms() - t.began) / 1e3};
  if (t.p && t.p->n_entries) out->peak_bytes = dhc_program_memory(t.p, 0).allocated;
  if (t.p) trainer_optimizer_bytes(&t, out->optimizer_bytes);
  for (int i = 0; t.o->profile && i < dhc_program_profile_rows(t.p); i++) {
    const dhc_profile_row row = dhc_program_profile_row(t.p, i);
    t.o->profile(t.o->ctx, &row);
  }
  snprintf(out->run_id, sizeof out->run_id, "%s", t.run_id);
  if (t.ranks && t.common) dhc_ranks_agreed(t.ranks);
  if (t.ranks && st.code && st.code != DHC_E_INTERRUPTED) dhc_ranks_tell(t.ranks, &st); /* before the device is waited for */
  t.ended = st;
  dhc_release(&t.held);
  tear_down(&t);
  return st;
}
