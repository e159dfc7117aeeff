/* The training loop: recipe, data, steps, validation, checkpoints, metrics. A run that was
 * stopped and resumed gives the bits of one that was not: weights, optimiser state, seed,
 * step and data position all come back from the checkpoint. */
#include <math.h>

#include "api/trainer.h"

static const char *const log_columns[] = {"step",      "epoch",     "loss",   "accuracy", "lr",
                                          "grad_norm", "samples_s", "time_s", "val_loss", "val_accuracy"};
enum { N_LOG_COLUMNS = sizeof log_columns / sizeof log_columns[0] };

/* ---- setting up ----------------------------------------------------------------- */

static dhc_status open_data(Trainer *t) {
  DhcDataOptions o = {.max_bytes = t->m->s->o.max_memory};
  DHC_TRY(dhc_dataset_open(t->o->data, DHC_SPLIT_TRAIN, &o, &t->data));
  int64_t n = t->data->n_examples, n_val = 0;
  if (!strncmp(t->o->data, "npy:", 4)) {
    dhc_status st = dhc_dataset_open(t->o->data, DHC_SPLIT_VAL, &o, &t->val_file);
    if (st.code == DHC_OK) t->val = *t->val_file; /* none: part of the training data */
  }
  if (!t->val_file) n_val = (int64_t)((double)n * (t->o->val_fraction > 0 ? t->o->val_fraction : 1.0 / 12));
  t->train = dataset_part(t->data, 0, n - n_val, &t->arena);
  if (!t->val_file) t->val = dataset_part(t->data, n - n_val, n_val, &t->arena);
  if (t->o->limit > 0 && t->o->limit < t->train.n_examples) t->train.n_examples = t->o->limit;
  if (t->o->limit > 0 && t->o->limit < t->val.n_examples) t->val.n_examples = t->o->limit;
  if (t->train.n_examples < 1) return dhc_status_make(DHC_E_INPUT, "%s: no training examples", t->o->data);
  return dhc_status_ok();
}

static dhc_status open_batches(Trainer *t) {
  DhcBatchOptions o = {.batch = t->set.batch, .shuffle = true, .seed = (uint32_t)t->seed};
  DHC_TRY(dhc_batcher_new(&t->train, &o, &t->batcher));
  int64_t an_epoch = dhc_batcher_count(t->batcher), most = an_epoch * t->set.epochs;
  t->steps = t->set.steps && (!most || t->set.steps < most) ? t->set.steps : most;
  t->epochs = (t->steps + an_epoch - 1) / an_epoch;
  return dhc_status_ok();
}

/* Columns for the reported taps are known once the step is elaborated, for the first batch. */
static dhc_status open_log(Trainer *t) {
  Version *v;
  if (t->taps.open) return dhc_status_ok();
  DHC_TRY(program_version(t->p, &t->p->entries[0], t->feed.in, t->feed.n_in, &v));
  taps_open(&t->taps, v->func, &t->arena);
  if (t->set.recipe->report_asked && !t->taps.n)
    dhc_warn(&t->m->s->warn, DHC_WARN_WARNING, "report: no tap of 'loss' matches");
  if (!t->o->out || t->o->no_csv) return dhc_status_ok();
  const char **columns = DHC_NEW_N(&t->arena, const char *, N_LOG_COLUMNS + t->taps.n);
  memcpy(columns, log_columns, sizeof log_columns);
  for (int i = 0; i < t->taps.n; i++) columns[N_LOG_COLUMNS + i] = t->taps.tap[i].path;
  const char *csv = dhc_arena_printf(&t->arena, "%s/metrics.csv", t->o->out);
  const char *jsonl = dhc_arena_printf(&t->arena, "%s/metrics.jsonl", t->o->out);
  DHC_TRY(dhc_metrics_open(csv, jsonl, columns, N_LOG_COLUMNS + t->taps.n, t->taps.n, t->o->resume, &t->log));
  return t->o->resume ? dhc_metrics_cut(t->log, t->step + 1) : dhc_status_ok(); /* rows of steps to be done again */
}

static dhc_status set_up(Trainer *t) {
  const dhc_train_options *o = t->o;
  t->set = train_settings(t->m, o);
  t->seed = o->seed;
  t->best = -INFINITY;
  DHC_TRY(open_data(t));
  DHC_TRY(open_batches(t));
  if (o->out) DHC_TRY(dhc_checkpoint_prepare(o->out));
  DHC_TRY(dhc_program_open(t->m, "loss", DHC_MODE_TRAIN, &t->p));
  DHC_TRY(dhc_program_add(t->p, "loss", DHC_MODE_RUN, &t->eval_entry));
  DHC_TRY(metric_open(t->p, &t->metric));
  DHC_TRY(feed_open(t->p, &t->train, t->set.batch, !o->augment_off, &t->feed));
  DHC_TRY(dhc_program_init(t->p, t->seed));
  DHC_TRY(dhc_program_set_scalar(t->p, "$clip", t->set.clip));
  return trainer_write_config(t);
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
  }
  if (t->o->progress && !t->o->progress(t->o->ctx, p))
    return dhc_status_make(DHC_E_INTERRUPTED, "stopped at step %lld", (long long)t->step);
  return dhc_status_ok();
}

static dhc_status validate(Trainer *t) {
  t->pr.val_loss = t->pr.val_accuracy = NAN;
  t->pr.best = false;
  if (!t->val.n_examples) return dhc_status_ok();
  if (t->set.recipe->ema > 0)
    for (int i = 0; i < t->p->mem.n_states; i++)
      if (!strcmp(t->p->mem.state_names[i], "$ema")) t->p->ema_weights = memory_state_at(&t->p->mem, i);
  EvalSums sums;
  dhc_status st = evaluate(t->p, t->eval_entry, &t->feed, &t->metric, &t->val, t->set.batch, NULL, NULL, &sums);
  t->p->ema_weights = NULL;
  if (st.code != DHC_OK) return st;
  t->pr.val_loss = t->val_loss = sums.loss;
  t->pr.val_accuracy = t->val_accuracy = t->metric.entry >= 0 ? sums.metric : NAN;
  double score = t->metric.entry >= 0 ? sums.metric : -sums.loss;
  if (score > t->best) {
    t->best = score;
    t->pr.best = true;
    return trainer_save_weights(t, "best.safetensors");
  }
  return dhc_status_ok();
}

static dhc_status end_epoch(Trainer *t) {
  DHC_TRY(open_log(t)); /* a resumed run may have no batch left */
  DHC_TRY(validate(t));
  dhc_status st = report(t, true);
  t->epoch_loss = t->epoch_metric = 0;
  t->epoch_n = 0;
  t->pr.val_loss = t->pr.val_accuracy = NAN;
  if (st.code != DHC_OK) return st;
  return t->o->save_every ? dhc_status_ok() : trainer_save(t);
}

static dhc_status one_step(Trainer *t, int64_t n) {
  t->pr.lr = train_lr(&t->set, t->step, t->steps);
  *memory_scalar(&t->p->mem, "$lr") = t->pr.lr;
  *memory_scalar(&t->p->mem, "$step") = (double)t->step;
  *memory_scalar(&t->p->mem, "$opt_step") = (double)(t->step + 1);
  *memory_scalar(&t->p->mem, "$seed") = (double)t->seed;
  const dhc_tensor *res;
  int n_res;
  DHC_TRY(dhc_program_run(t->p, 0, t->feed.in, t->feed.n_in, &res, &n_res));
  t->pr.loss = scalar_result(res, n_res, "loss");
  t->pr.grad_norm = scalar_result(res, n_res, "grad_norm");
  if (scalar_result(res, n_res, "finite") == 0) return trainer_blame(t, t->pr.loss);
  taps_read(&t->taps, res, n_res);
  DHC_TRY(metric_value(t->p, &t->metric, &t->feed, res, n_res, &t->pr.accuracy));
  t->step++;
  t->epoch_loss += t->pr.loss * (double)n;
  t->epoch_metric += t->pr.accuracy * (double)n;
  t->epoch_n += n;
  t->samples += n;
  return dhc_status_ok();
}

/* A clock that stands still while something is compiled: rates are about training. */
static double working_ms(const Trainer *t) {
  return session_now_ms() - t->m->s->stats.compile_ms;
}

static dhc_status loop(Trainer *t) {
  while (t->step < t->steps) {
    if (dhc_stop_signal()) return dhc_status_make(DHC_E_INTERRUPTED, "stopped at step %lld", (long long)t->step);
    int64_t n;
    double begin = working_ms(t);
    t->pr.epoch = dhc_batcher_position(t->batcher).epoch;
    *memory_scalar(&t->p->mem, "$step") = (double)t->step;
    DHC_TRY(feed_next(&t->feed, t->batcher, !t->o->augment_off, &n));
    if (!n) {
      DHC_TRY(end_epoch(t));
      continue;
    }
    DHC_TRY(feed_check_labels(&t->feed, 0));
    DHC_TRY(open_log(t));
    DHC_TRY(one_step(t, n));
    t->train_ms += working_ms(t) - begin;
    DHC_TRY(report(t, false));
    if (t->o->save_every && t->step % t->o->save_every == 0) DHC_TRY(trainer_save(t));
  }
  return t->epoch_n ? end_epoch(t) : dhc_status_ok();
}

static void tear_down(Trainer *t) {
  feed_close(&t->feed);
  if (t->log) dhc_metrics_close(t->log);
  if (t->batcher) dhc_batcher_free(t->batcher);
  dhc_program_close(t->p);
  if (t->data) dhc_dataset_free(t->data);
  if (t->val_file) dhc_dataset_free(t->val_file);
  dhc_arena_fini(&t->arena);
}

/* What was reached is kept, whether the run came to its end or was stopped. */
static dhc_status keep(Trainer *t, dhc_status st) {
  if (!t->p || (st.code != DHC_OK && st.code != DHC_E_INTERRUPTED)) return st;
  DHC_TRY(trainer_save(t));
  DHC_TRY(trainer_save_weights(t, "last.safetensors"));
  if (st.code == DHC_E_INTERRUPTED && t->o->out)
    return dhc_status_make(DHC_E_INTERRUPTED, "stopped at step %lld, checkpoint in %s; go on with --resume",
                           (long long)t->step, t->o->out);
  return st;
}

static void warn_of_defaults(const Trainer *t) {
  if (t->set.declared) return;
  dhc_warn(&t->m->s->warn, DHC_WARN_NOTE, "%s has no recipe: %s, lr %g, batch %lld, clip %g (train --print-recipe shows all)",
           t->m->name, t->set.recipe->optimizer, train_lr(&t->set, 0, 1), (long long)t->set.batch, t->set.clip);
}

dhc_status api_train(dhc_model *m, const dhc_train_options *o, dhc_train_result *out) {
  NEED(out);
  *out = (dhc_train_result){0};
  NEED(m);
  NEED(o);
  NEED(o->data);
  Trainer t = {.m = m, .o = o};
  t.pr.val_loss = t.pr.val_accuracy = t.pr.accuracy = t.pr.loss = t.val_loss = t.val_accuracy = NAN;
  dhc_arena_init(&t.arena);
  dhc_status st = set_up(&t);
  if (st.code == DHC_OK && o->resume) st = trainer_resume(&t);
  if (st.code == DHC_OK) warn_of_defaults(&t);
  t.t0 = session_now_ms();
  if (st.code == DHC_OK) st = loop(&t);
  st = keep(&t, st);
  *out = (dhc_train_result){.steps = t.step,
                            .epochs = t.pr.epoch + 1,
                            .loss = t.pr.loss,
                            .accuracy = t.pr.accuracy,
                            .val_loss = t.val_loss,
                            .val_accuracy = t.val_accuracy,
                            .best_val_accuracy = t.best,
                            .samples_per_s = samples_per_s(&t),
                            .seconds = (session_now_ms() - t.t0) / 1e3};
  if (t.p && t.p->n_entries) out->peak_bytes = dhc_program_memory(t.p, 0).allocated;
  tear_down(&t);
  return st;
}
