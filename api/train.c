/* The training loop: recipe, data, steps, validation, checkpoints, metrics. A run that was
 * stopped and resumed gives the bits of one that was not: weights, optimiser state, seed,
 * step and data position all come back from the checkpoint. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

#include "api/train.h"

typedef struct Trainer {
  dhc_model *m;
  const dhc_train_options *o;
  const DhcRecipe *recipe;
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
  int64_t batch, epochs, steps, steps_per_epoch, step;
  uint64_t seed;
  double epoch_loss, epoch_metric, best, val_loss, val_accuracy; /* of the last validation */
  int64_t epoch_n;
  double t0, train_seconds;
  int64_t samples;
  dhc_train_progress pr;
} Trainer;

static const char *const log_columns[] = {"step", "epoch", "loss", "accuracy", "lr", "grad_norm", "samples_s", "time_s", "val_loss", "val_accuracy"};
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
  DhcBatchOptions o = {.batch = t->batch, .shuffle = true, .seed = (uint32_t)t->seed};
  DHC_TRY(dhc_batcher_new(&t->train, &o, &t->batcher));
  t->steps_per_epoch = dhc_batcher_count(t->batcher);
  t->steps = t->steps_per_epoch * t->epochs;
  int64_t limit = t->o->steps ? t->o->steps : t->recipe->steps;
  if (limit && limit < t->steps) t->steps = limit;
  return dhc_status_ok();
}

/* Columns for the reported taps are known once the step is elaborated, for the first batch. */
static dhc_status open_log(Trainer *t) {
  Version *v;
  if (t->taps.open) return dhc_status_ok();
  DHC_TRY(program_version(t->p, &t->p->entries[0], t->feed.in, t->feed.n_in, &v));
  taps_open(&t->taps, v->func, &t->arena);
  if (t->recipe->report_asked && !t->taps.n) dhc_warn(&t->m->s->warn, DHC_WARN_WARNING, "report: no tap of 'loss' matches");
  if (!t->o->out || t->o->no_csv) return dhc_status_ok();
  const char **columns = DHC_NEW_N(&t->arena, const char *, N_LOG_COLUMNS + t->taps.n);
  memcpy(columns, log_columns, sizeof log_columns);
  for (int i = 0; i < t->taps.n; i++) columns[N_LOG_COLUMNS + i] = t->taps.tap[i].path;
  const char *csv = dhc_arena_printf(&t->arena, "%s/metrics.csv", t->o->out);
  const char *jsonl = dhc_arena_printf(&t->arena, "%s/metrics.jsonl", t->o->out);
  DHC_TRY(dhc_metrics_open(csv, jsonl, columns, N_LOG_COLUMNS + t->taps.n, t->taps.n, t->o->resume, &t->log));
  return t->o->resume ? dhc_metrics_cut(t->log, t->step + 1) : dhc_status_ok(); /* rows of steps to be done again */
}

static dhc_status write_config(Trainer *t) {
  if (!t->o->out) return dhc_status_ok();
  cJSON *doc = cJSON_CreateObject();
  cJSON_AddStringToObject(doc, "dhcc", dhc_version());
  cJSON_AddStringToObject(doc, "model", t->m->name);
  cJSON_AddStringToObject(doc, "model_hash", t->m->hash);
  cJSON_AddStringToObject(doc, "data", t->o->data);
  cJSON_AddNumberToObject(doc, "batch", (double)t->batch);
  cJSON_AddNumberToObject(doc, "epochs", (double)t->epochs);
  cJSON_AddNumberToObject(doc, "steps", (double)t->steps);
  cJSON_AddNumberToObject(doc, "seed", (double)t->seed);
  cJSON_AddStringToObject(doc, "optimizer", t->recipe->optimizer);
  cJSON *hypers = cJSON_AddObjectToObject(doc, "hyperparameters");
  DhcHyperInfos infos = dhc_model_hypers(t->m->m);
  for (int i = 0; i < infos.n; i++) cJSON_AddStringToObject(hypers, infos.at[i].name, infos.at[i].value);
  char *text = cJSON_Print(doc);
  const char *path = dhc_arena_printf(&t->arena, "%s/config.json", t->o->out);
  dhc_status st = text ? dhc_file_replace(path, text, strlen(text)) : dhc_status_memory(0, path);
  free(text);
  cJSON_Delete(doc);
  return st;
}

static dhc_status resume(Trainer *t) {
  DhcCheckpoint ck;
  DHC_TRY(dhc_checkpoint_open_latest(t->o->out, t->m->hash, &t->m->s->warn, &ck));
  dhc_program *p = t->p;
  dhc_status st = weights_read(p, ck.file, "", p->mem.weights, false, true);
  for (int i = 0; i < p->mem.n_states && st.code == DHC_OK; i++) {
    char prefix[80];
    snprintf(prefix, sizeof prefix, "opt.%s.", p->mem.state_names[i] + 1);
    st = weights_read(p, ck.file, prefix, memory_state_at(&p->mem, i), false, false);
  }
  DhcTensorView begun;
  if (st.code == DHC_OK && weights_begun(p, &begun)) {
    const DhcTensorView *v;
    st = dhc_safetensors_need(ck.file, begun.name, -1, 1, begun.shape, &v);
    if (st.code == DHC_OK) dhc_tensor_convert(p->mem.opt, begun.dtype, v->data, v->dtype, begun.shape[0]);
  }
  if (st.code == DHC_OK) st = dhc_batcher_seek(t->batcher, ck.meta.data);
  t->step = ck.meta.step;
  t->seed = ck.meta.rng_seed;
  cJSON *doc = ck.meta.config_json ? cJSON_Parse(ck.meta.config_json) : NULL;
  const cJSON *v;
  if ((v = cJSON_GetObjectItem(doc, "best")) && cJSON_IsNumber(v)) t->best = v->valuedouble;
  if ((v = cJSON_GetObjectItem(doc, "epoch_loss")) && cJSON_IsNumber(v)) t->epoch_loss = v->valuedouble;
  if ((v = cJSON_GetObjectItem(doc, "epoch_metric")) && cJSON_IsNumber(v)) t->epoch_metric = v->valuedouble;
  if ((v = cJSON_GetObjectItem(doc, "epoch_n")) && cJSON_IsNumber(v)) t->epoch_n = (int64_t)v->valuedouble;
  cJSON_Delete(doc);
  dhc_checkpoint_close(&ck);
  return st;
}

static dhc_status set_up(Trainer *t) {
  const dhc_train_options *o = t->o;
  t->batch = o->batch ? o->batch : t->recipe->batch;
  t->epochs = o->epochs ? o->epochs : t->recipe->epochs;
  t->seed = o->seed;
  t->best = -INFINITY;
  DHC_TRY(open_data(t));
  DHC_TRY(open_batches(t));
  if (o->out) DHC_TRY(dhc_checkpoint_prepare(o->out));
  DHC_TRY(dhc_program_open(t->m, "loss", DHC_MODE_TRAIN, &t->p));
  DHC_TRY(dhc_program_add(t->p, "loss", DHC_MODE_RUN, &t->eval_entry));
  DHC_TRY(metric_open(t->p, &t->metric));
  DHC_TRY(feed_open(t->p, &t->train, t->batch, !o->augment_off, &t->feed));
  DHC_TRY(dhc_program_init(t->p, t->seed));
  if (o->clip >= 0) DHC_TRY(dhc_program_set_scalar(t->p, "$clip", o->clip));
  return write_config(t);
}

/* ---- saving ------------------------------------------------------------------------ */

static dhc_status save(Trainer *t) {
  if (!t->o->out) return dhc_status_ok();
  dhc_program *p = t->p;
  DhcArena a;
  dhc_arena_init(&a);
  int n = weights_views(p, "", p->mem.weights, true, &a, NULL, 0);
  int each = weights_views(p, "", p->mem.weights, false, &a, NULL, 0);
  int max = n + each * p->mem.n_states + 1, k = n;
  DhcTensorView *v = DHC_NEW_N(&a, DhcTensorView, max + 1);
  weights_views(p, "", p->mem.weights, true, &a, v, n);
  for (int i = 0; i < p->mem.n_states; i++) {
    const char *prefix = dhc_arena_printf(&a, "opt.%s.", p->mem.state_names[i] + 1);
    k += weights_views(p, prefix, memory_state_at(&p->mem, i), false, &a, v + k, max - k);
  }
  k += weights_begun(p, &v[k]);
  cJSON *doc = cJSON_CreateObject();
  if (isfinite(t->best)) cJSON_AddNumberToObject(doc, "best", t->best);
  cJSON_AddNumberToObject(doc, "epoch_loss", t->epoch_loss);
  if (isfinite(t->epoch_metric)) cJSON_AddNumberToObject(doc, "epoch_metric", t->epoch_metric);
  cJSON_AddNumberToObject(doc, "epoch_n", (double)t->epoch_n);
  char *json = cJSON_PrintUnformatted(doc);
  DhcCheckpointMeta meta = {.step = t->step, .data = dhc_batcher_position(t->batcher), .rng_seed = (uint32_t)t->seed,
                            .model_hash = t->m->hash, .config_json = json};
  dhc_status st = dhc_checkpoint_save(t->o->out, &meta, v, k, 2);
  free(json);
  cJSON_Delete(doc);
  dhc_arena_fini(&a);
  return st;
}

static dhc_status save_weights(Trainer *t, const char *name) {
  if (!t->o->out) return dhc_status_ok();
  return dhc_program_save(t->p, dhc_arena_printf(&t->arena, "%s/%s", t->o->out, name), t->recipe->ema > 0);
}

/* ---- a step that is not finite ---------------------------------------------------- */

static int64_t first_bad(const dhc_tensor *t) {
  DhcTensorView v = {.name = t->name, .dtype = (int32_t)t->dtype, .rank = t->rank, .data = t->data, .bytes = dhc_tensor_bytes(t)};
  for (int i = 0; i < t->rank; i++) v.shape[i] = t->dim[i];
  return dhc_tensor_first_nonfinite(&v);
}

/* Looks for the first culprit on the way of the step: inputs, weights, results, gradients. */
static dhc_status blame(Trainer *t, double loss) {
  long long step = (long long)t->step + 1;
  for (int i = 0; i < t->feed.n_in; i++) {
    int64_t at = first_bad(&t->feed.in[i]);
    if (at >= 0) return dhc_status_make(DHC_E_NUMERIC, "step %lld: input '%s' is not finite at index %lld; nothing was changed", step, t->feed.in[i].name, (long long)at);
  }
  for (int i = 0; i < t->p->mem.place.n_slots; i++) {
    dhc_tensor w;
    const DhcTensorDecl *d = t->p->mem.place.slots[i].decl;
    if (!t->p->mem.place.slots[i].n || dhc_program_get(t->p, d->path, &w).code != DHC_OK) continue;
    int64_t at = first_bad(&w);
    if (at >= 0) return dhc_status_make(DHC_E_NUMERIC, "step %lld: tensor '%s' is not finite at index %lld; nothing was changed", step, d->path, (long long)at);
  }
  int grad;
  const dhc_tensor *res;
  int n = 0;
  dhc_status st = dhc_program_add(t->p, "loss", DHC_MODE_GRAD, &grad);
  if (st.code == DHC_OK) st = dhc_program_run(t->p, grad, t->feed.in, t->feed.n_in, &res, &n);
  for (int i = 0; st.code == DHC_OK && i < n; i++) {
    int64_t at = first_bad(&res[i]);
    if (at >= 0) return dhc_status_make(DHC_E_NUMERIC, "step %lld: '%s' is not finite at index %lld (loss %g); nothing was changed", step, res[i].name, (long long)at, loss);
  }
  return dhc_status_make(DHC_E_NUMERIC, "step %lld: the gradient norm is not finite (loss %g); nothing was changed", step, loss);
}

/* ---- the loop ------------------------------------------------------------------------- */

static dhc_status report(Trainer *t, bool epoch_end) {
  dhc_train_progress *p = &t->pr;
  p->step = t->step;
  p->steps = t->steps;
  p->epochs = t->epochs;
  p->epoch_loss = t->epoch_n ? t->epoch_loss / (double)t->epoch_n : NAN;
  p->epoch_accuracy = t->epoch_n && t->metric.entry >= 0 ? t->epoch_metric / (double)t->epoch_n : NAN;
  p->seconds = (session_now_ms() - t->t0) / 1e3;
  p->samples_per_s = t->train_seconds > 0 ? (double)t->samples / t->train_seconds : 0;
  p->eta_seconds = p->samples_per_s > 0 ? (double)(t->steps - t->step) * (double)t->batch / p->samples_per_s : NAN;
  p->epoch_end = epoch_end;
  p->taps = t->taps.tap;
  p->n_taps = t->taps.n;
  if (t->log) {
    double row[N_LOG_COLUMNS] = {(double)t->step, (double)p->epoch + 1, p->loss, p->accuracy, p->lr, p->grad_norm,
                                 p->samples_per_s, p->seconds, p->val_loss, p->val_accuracy};
    DHC_TRY(dhc_metrics_row(t->log, row, t->taps.list));
  }
  if (t->o->progress && !t->o->progress(t->o->ctx, p)) return dhc_status_make(DHC_E_INTERRUPTED, "stopped at step %lld", (long long)t->step);
  return dhc_status_ok();
}

static dhc_status validate(Trainer *t) {
  t->pr.val_loss = t->pr.val_accuracy = NAN;
  t->pr.best = false;
  if (!t->val.n_examples) return dhc_status_ok();
  if (t->recipe->ema > 0)
    for (int i = 0; i < t->p->mem.n_states; i++)
      if (!strcmp(t->p->mem.state_names[i], "$ema")) t->p->ema_weights = memory_state_at(&t->p->mem, i);
  EvalSums sums;
  dhc_status st = evaluate(t->p, t->eval_entry, &t->feed, &t->metric, &t->val, t->batch, NULL, NULL, &sums);
  t->p->ema_weights = NULL;
  if (st.code != DHC_OK) return st;
  t->pr.val_loss = t->val_loss = sums.loss;
  t->pr.val_accuracy = t->val_accuracy = t->metric.entry >= 0 ? sums.metric : NAN;
  double score = t->metric.entry >= 0 ? sums.metric : -sums.loss;
  if (score > t->best) {
    t->best = score;
    t->pr.best = true;
    return save_weights(t, "best.safetensors");
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
  return t->o->save_every ? dhc_status_ok() : save(t);
}

static dhc_status one_step(Trainer *t, int64_t n) {
  double begin = session_now_ms();
  t->pr.lr = t->o->lr > 0 ? t->o->lr : dhc_recipe_lr(t->recipe, t->step, t->steps);
  *memory_scalar(&t->p->mem, "$lr") = t->pr.lr;
  *memory_scalar(&t->p->mem, "$step") = (double)t->step;
  *memory_scalar(&t->p->mem, "$opt_step") = (double)(t->step + 1);
  *memory_scalar(&t->p->mem, "$seed") = (double)t->seed;
  const dhc_tensor *res;
  int n_res;
  DHC_TRY(dhc_program_run(t->p, 0, t->feed.in, t->feed.n_in, &res, &n_res));
  t->pr.loss = scalar_result(res, n_res, "loss");
  t->pr.grad_norm = scalar_result(res, n_res, "grad_norm");
  bool finite = scalar_result(res, n_res, "finite") != 0;
  if (!finite) return blame(t, t->pr.loss);
  taps_read(&t->taps, res, n_res);
  DHC_TRY(metric_value(t->p, &t->metric, &t->feed, res, n_res, &t->pr.accuracy));
  t->step++;
  t->epoch_loss += t->pr.loss * (double)n;
  t->epoch_metric += t->pr.accuracy * (double)n;
  t->epoch_n += n;
  t->samples += n;
  t->train_seconds += (session_now_ms() - begin) / 1e3;
  return dhc_status_ok();
}

static dhc_status loop(Trainer *t) {
  while (t->step < t->steps) {
    if (dhc_stop_signal()) return dhc_status_make(DHC_E_INTERRUPTED, "stopped at step %lld", (long long)t->step);
    int64_t n;
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
    DHC_TRY(report(t, false));
    if (t->o->save_every && t->step % t->o->save_every == 0) DHC_TRY(save(t));
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

dhc_status dhc_train(dhc_model *m, const dhc_train_options *o, dhc_train_result *out) {
  Trainer t = {.m = m, .o = o, .recipe = dhc_model_recipe(m->m)};
  t.pr.val_loss = t.pr.val_accuracy = t.pr.accuracy = t.pr.loss = t.val_loss = t.val_accuracy = NAN;
  dhc_arena_init(&t.arena);
  dhc_status st = set_up(&t);
  if (st.code == DHC_OK && o->resume) st = resume(&t);
  t.t0 = session_now_ms();
  if (st.code == DHC_OK) st = loop(&t);
  if (st.code == DHC_OK || st.code == DHC_E_INTERRUPTED) {
    dhc_status kept = t.p ? save(&t) : dhc_status_ok();
    if (kept.code == DHC_OK && t.p) kept = save_weights(&t, "last.safetensors");
    if (kept.code != DHC_OK) st = kept;
    else if (st.code == DHC_E_INTERRUPTED && o->out)
      st = dhc_status_make(DHC_E_INTERRUPTED, "stopped at step %lld, checkpoint in %s; go on with --resume", (long long)t.step, o->out);
  }
  *out = (dhc_train_result){.steps = t.step, .epochs = t.pr.epoch + 1, .loss = t.pr.loss, .accuracy = t.pr.accuracy, .val_loss = t.val_loss,
                            .val_accuracy = t.val_accuracy, .best_val_accuracy = t.best, .seconds = t.t0 > 0 ? (session_now_ms() - t.t0) / 1e3 : 0};
  if (t.p && t.p->n_entries) out->peak_bytes = dhc_program_memory(t.p, 0).allocated;
  tear_down(&t);
  return st;
}
