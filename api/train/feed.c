/* From data sets to entry inputs, and means over whole data sets. */
#include <math.h>
#include <stdlib.h>

#include "api/train/train.h"

static bool entry_info(dhc_program *p, const char *name, DhcEntryInfo *out) {
  DhcEntryInfos all = dhc_model_entries(p->m->m);
  for (int i = 0; i < all.n; i++)
    if (!strcmp(all.at[i].name, name)) {
      *out = all.at[i];
      return true;
    }
  return false;
}

static int index_of(const char *const *names, int n, const char *name) {
  for (int i = 0; i < n; i++)
    if (!strcmp(names[i], name)) return i;
  return -1;
}

static dhc_status add_prepare(dhc_program *p, const char *name, int *entry, DhcEntryInfo *info) {
  *entry = -1;
  if (!entry_info(p, name, info)) return dhc_status_ok();
  return dhc_program_add(p, name, DHC_MODE_RUN, entry);
}

/* "'target' i64[256], 'tokens' i64[256]" */
static const char *fields_of(dhc_program *p, const DhcDataset *d) {
  DhcText t = {.arena = &p->arena};
  for (int i = 0; i < d->n_fields; i++) {
    char shape[128];
    dhc_text_printf(&t, "%s'%s' %s%s", i ? ", " : "", d->fields[i].name, dhc_tensor_dtype_name(d->fields[i].dtype),
                    dhc_tensor_shape_text(d->fields[i].rank, d->fields[i].shape, shape, sizeof shape));
  }
  return dhc_text_str(&t);
}

/* Optional inputs that the data does not have are left out. */
static dhc_status keep_inputs(dhc_program *p, const DhcDataset *d, DhcEntryInfo *e) {
  const char **kept = DHC_NEW_N(&p->arena, const char *, e->n_inputs + 1);
  int n = 0;
  for (int i = 0; i < e->n_inputs; i++) {
    if (dhc_dataset_field(d, e->inputs[i]))
      kept[n++] = e->inputs[i];
    else if (!e->optional[i])
      return dhc_status_make(DHC_E_INPUT, "the data has no '%s', which entry 'loss' of %s needs: it has %s; --data %s=FIELD,SOURCE calls one so", e->inputs[i], p->m->name, fields_of(p, d),
                             e->inputs[i]);
  }
  e->inputs = kept;
  e->n_inputs = n;
  e->optional = NULL;
  return dhc_status_ok();
}

/* ---- gathered examples ------------------------------------------------------------------- */

static DhcDevice *device(const Feed *f) {
  return dhc_prog_device(f->p->run);
}

/* Room for one field, and on a device that takes batches ahead. */
static dhc_status make_room(Feed *f, FeedBatch *b, int i) {
  DhcDevice *d = device(f);
  int64_t bytes;
  if (!dhc_size_mul(f->batch, f->d->fields[i].example_bytes, &bytes))
    return dhc_status_make(DHC_E_USAGE, "batch: the bytes of %lld examples do not fit in 63 bits", (long long)f->batch);
  DHC_TRY(budget_more(f->p, DHC_USE_DATA, bytes, "a batch"));
  if (d->ops->ahead) {
    DHC_TRY(d->ops->host_alloc(d, bytes, &b->field[i]));
    return d->ops->alloc(d, bytes, &b->at[i]);
  }
  b->field[i] = dhc_aligned_alloc(bytes);
  return b->field[i] ? dhc_status_ok() : dhc_status_memory((long long)bytes, "a batch");
}

static void free_room(Feed *f, FeedBatch *b, int i) {
  DhcDevice *d = device(f);
  if (d->ops->ahead) d->ops->host_free(d, b->field[i]);
  else dhc_aligned_free(b->field[i]);
  d->ops->free(d, b->at[i]);
}

static dhc_status send(Feed *f, const FeedBatch *b, int64_t n) {
  DhcDevice *d = device(f);
  for (int i = 0; i < f->d->n_fields && d->ops->ahead; i++)
    DHC_TRY(d->ops->ahead(d, b->at[i], b->field[i], n * f->d->fields[i].example_bytes));
  return dhc_status_ok();
}

/* While the device computes with the batch at hand. What fails here is done again by feed_next, which says it. */
static void gather_next(void *feed) {
  Feed *f = feed;
  FeedBatch *b = &f->batches[!f->now];
  int64_t n;
  if (dhc_batcher_peek(f->from, b->field, &n).code != DHC_OK || !n || send(f, b, n).code != DHC_OK) return;
  f->next.of = f->from;
  f->next.n = n;
  f->next.position = dhc_batcher_position(f->from);
}

/* The next batch is the one at hand. */
static dhc_status gather(Feed *f, DhcBatcher *b, int64_t *n) {
  DhcDataPosition now = dhc_batcher_position(b), then = f->next.position;
  bool there = f->next.of == b && now.seed == then.seed && now.epoch == then.epoch && now.next == then.next && now.turn == then.turn;
  f->next.of = NULL;
  f->from = b;
  if (there) {
    f->now = !f->now;
    *n = f->next.n;
    dhc_batcher_skip(b, *n);
  } else {
    DHC_TRY(dhc_batcher_next(b, f->batches[f->now].field, n));
    DHC_TRY(send(f, &f->batches[f->now], *n));
  }
  dhc_prog_meanwhile(f->p->run, device(f)->ops->ahead ? gather_next : NULL, f);
  return dhc_status_ok();
}

void feed_forget(Feed *f) {
  f->next.of = NULL;
  if (f->p) dhc_prog_meanwhile(f->p->run, NULL, NULL);
}

/* ---- inputs of the loss -------------------------------------------------------------------- */

dhc_status feed_open(dhc_program *p, const DhcDataset *d, int64_t batch, bool augment, Feed *f) {
  *f = (Feed){.p = p, .d = d, .normalize = -1, .augment = -1, .batch = batch};
  if (!entry_info(p, "loss", &f->loss)) return dhc_status_make(DHC_E_INPUT, "model %s has no entry 'loss'", p->m->name);
  if (!f->loss.n_outputs || strcmp(f->loss.outputs[0], "loss"))
    return dhc_status_make(DHC_E_INPUT, "model %s trains by the first result of its entry 'loss', which must be called 'loss': -> (loss: [], ...)", p->m->name);
  if (d->n_fields > FEED_MAX) return dhc_status_make(DHC_E_INPUT, "the data have %d fields, training takes at most %d", d->n_fields, FEED_MAX);
  if (f->loss.n_inputs > FEED_MAX)
    return dhc_status_make(DHC_E_INPUT, "entry 'loss' of %s has %d inputs, training takes at most %d", p->m->name, f->loss.n_inputs, FEED_MAX);
  DHC_TRY(keep_inputs(p, d, &f->loss));
  DHC_TRY(add_prepare(p, "normalize", &f->normalize, &f->norm_info));
  if (augment) DHC_TRY(add_prepare(p, "augment", &f->augment, &f->aug_info));
  DHC_TRY(budget_more(p, DHC_USE_DATA, dhc_batcher_bytes(d, batch), "batches read ahead"));
  for (int k = 0; k < (device(f)->ops->ahead ? 2 : 1); k++)
    for (int i = 0; i < d->n_fields; i++) DHC_TRY(make_room(f, &f->batches[k], i));
  return dhc_status_ok();
}

void feed_close(Feed *f) {
  if (!f->p) return;
  feed_forget(f);
  for (int i = 0; i < FEED_MAX; i++) {
    for (int k = 0; k < 2; k++) free_room(f, &f->batches[k], i);
    device(f)->ops->free(device(f), f->stage[i]);
  }
  *f = (Feed){0};
}

/* Keeps a copy of result k as loss input i, where it lies: entries share their input and output memory. */
static dhc_status keep(Feed *f, int i, const Version *v, int k) {
  DhcDevice *d = device(f);
  DhcDevicePtr from;
  int64_t bytes;
  DHC_TRY(exec_result(v, k, &f->in[i], &bytes, &from));
  if (bytes > f->stage_bytes[i]) {
    DHC_TRY(budget_more(f->p, DHC_USE_DATA, bytes - f->stage_bytes[i], "a batch"));
    d->ops->free(d, f->stage[i]);
    f->stage[i] = 0;
    f->stage_bytes[i] = 0;
    DHC_TRY(d->ops->alloc(d, bytes, &f->stage[i]));
    f->stage_bytes[i] = bytes;
  }
  DHC_TRY(d->ops->copy(d, f->stage[i], from, bytes));
  f->in[i].name = f->loss.inputs[i];
  f->in[i].data = d->ops->view(d, f->stage[i], bytes);
  f->at[i] = f->in[i].data ? 0 : f->stage[i];
  return dhc_dtype_is_float(f->in[i].dtype) ? dhc_status_ok() : feed_data(f, i); /* labels, which the host looks at */
}

dhc_status feed_data(Feed *f, int i) {
  dhc_tensor *t = &f->in[i];
  return t->data ? dhc_status_ok() : exec_host(f->p, f->at[i], dhc_tensor_bytes(t), &t->data);
}

static dhc_status normalize(Feed *f) {
  for (int i = 0; i < f->n_in; i++) {
    if (f->in[i].dtype != DHC_U8 || index_of(f->norm_info.outputs, f->norm_info.n_outputs, f->in[i].name) < 0) continue;
    dhc_tensor in = f->in[i];
    in.name = f->norm_info.inputs[0];
    const Version *v;
    DHC_TRY(program_start(f->p, f->normalize, &in, &f->at[i], 1, &v));
    DHC_TRY(keep(f, i, v, 0));
  }
  return dhc_status_ok();
}

static dhc_status augment(Feed *f) {
  const Version *v;
  DHC_TRY(program_start(f->p, f->augment, f->in, f->at, f->n_in, &v));
  for (int k = 0; k < v->image->n_results - v->image->n_requires; k++) {
    int i = index_of(f->loss.inputs, f->loss.n_inputs, v->image->tensors[v->image->n_params + k].name);
    if (i >= 0) DHC_TRY(keep(f, i, v, k));
  }
  return dhc_status_ok();
}

/* Where the examples at hand stand in the batch that other ranks have other parts of. */
static void say_part(Feed *f, const DhcBatcher *b) {
  if (!f->p->m->parts) return;
  const DhcBatchPart part = dhc_batcher_part(b);
  *program_scalar(f->p, DHC_NAME_SHARE) = part.share;
  *program_scalar(f->p, DHC_NAME_FIRST) = (double)part.first;
  *program_scalar(f->p, DHC_NAME_ROWS) = (double)part.n;
}

dhc_status feed_next(Feed *f, DhcBatcher *b, bool with_augment, int64_t *n) {
  DHC_TRY(gather(f, b, n));
  if (!*n) return dhc_status_ok();
  say_part(f, b);
  const FeedBatch *now = &f->batches[f->now];
  f->n_in = f->loss.n_inputs;
  for (int i = 0; i < f->n_in; i++) {
    const DhcField *field = dhc_dataset_field(f->d, f->loss.inputs[i]);
    dhc_tensor *t = &f->in[i];
    *t = (dhc_tensor){.name = f->loss.inputs[i], .dtype = (dhc_dtype)field->dtype, .rank = field->rank + 1, .dim = {*n}};
    for (int k = 0; k < field->rank; k++) t->dim[k + 1] = field->shape[k];
    t->data = now->field[field - f->d->fields];
    f->at[i] = now->at[field - f->d->fields];
  }
  if (f->normalize >= 0) DHC_TRY(normalize(f));
  if (with_augment && f->augment >= 0) DHC_TRY(augment(f));
  return dhc_status_ok();
}

static bool ignores_labels(const dhc_model *m) {
  DhcHyperInfos h = dhc_model_hypers(m->m);
  for (int i = 0; i < h.n; i++)
    if (!strcmp(h.at[i].name, "ignore_index")) return true;
  return false;
}

static dhc_status count_classes(Feed *f, int entry) {
  Version *v;
  f->n_classes = -1;
  if (ignores_labels(f->p->m)) return dhc_status_ok();
  DHC_TRY(program_version(f->p, &f->p->entries[entry], f->in, f->n_in, &v));
  int32_t i = dhc_image_find(v->image, DHC_IMAGE_RESULT, "logits");
  const dhc_image_tensor *t = i < 0 ? NULL : &v->image->tensors[i];
  if (t && t->rank > 0 && !dhc_dimprog_eval(t->dims[t->rank - 1], NULL, 0, 0, &f->n_classes)) f->n_classes = -1; /* no number */
  return dhc_status_ok();
}

static dhc_status wrong_label(const Feed *f, int64_t label) {
  const char *setting = f->d->n_classes > f->n_classes ? dhc_model_classes_setting(f->p->m->m) : NULL;
  char hint[128] = "";
  if (setting) snprintf(hint, sizeof hint, " (--set %s=%lld)", setting, (long long)f->d->n_classes);
  return dhc_status_make(DHC_E_INPUT, "label %lld of the data is outside 0..%lld, the classes of %s%s", (long long)label,
                         (long long)f->n_classes - 1, f->p->m->name, hint);
}

dhc_status feed_check_labels(Feed *f, int entry) {
  if (!f->n_classes) DHC_TRY(count_classes(f, entry));
  for (int i = 0; f->n_classes > 0 && i < f->n_in; i++) {
    const dhc_tensor *t = &f->in[i];
    if (strcmp(t->name, "target") || t->dtype != DHC_I64) continue;
    const int64_t *label = t->data;
    for (int64_t k = 0; k < dhc_tensor_elements(t); k++)
      if (label[k] < 0 || label[k] >= f->n_classes) return wrong_label(f, label[k]);
  }
  return dhc_status_ok();
}

const dhc_tensor *result_named(const dhc_tensor *t, int n, const char *name) {
  for (int i = 0; i < n; i++)
    if (!strcmp(t[i].name, name)) return &t[i];
  return NULL;
}

double scalar_result(const dhc_tensor *t, int n, const char *name) {
  const dhc_tensor *r = result_named(t, n, name);
  double v = NAN;
  if (r) dhc_tensor_convert(&v, DHC_F64, r->data, (int32_t)r->dtype, 1);
  return v;
}

dhc_status metric_open(dhc_program *p, Metric *out) {
  *out = (Metric){.entry = -1};
  DhcEntryInfos all = dhc_model_entries(p->m->m);
  for (int i = 0; i < all.n; i++) {
    if (!all.at[i].is_metric) continue;
    out->info = all.at[i];
    return dhc_program_add(p, all.at[i].name, DHC_MODE_RUN, &out->entry);
  }
  return dhc_status_ok();
}

dhc_status metric_value(dhc_program *p, const Metric *m, Feed *f, const dhc_tensor *results, int n_results, double *out) {
  *out = NAN;
  if (m->entry < 0) return dhc_status_ok();
  dhc_tensor in[FEED_MAX];
  void *copy[FEED_MAX] = {0};
  int n = 0;
  DhcBudget *budget = &p->m->s->budget;
  DhcCharge charge = {0}, want = {0};
  dhc_status st = dhc_status_ok();
  for (int i = 0; i < m->info.n_inputs && i < FEED_MAX; i++) {
    const dhc_tensor *t = result_named(results, n_results, m->info.inputs[i]);
    int at = t ? -1 : index_of(f->loss.inputs, f->n_in, m->info.inputs[i]);
    if (at >= 0) st = feed_data(f, at);
    if (st.code != DHC_OK) break;
    if (at >= 0) t = &f->in[at];
    if (!t && m->info.optional[i]) continue;
    if (!t) {
      st = dhc_status_make(DHC_E_INPUT, "metric '%s' needs '%s', which 'loss' neither takes nor gives", m->info.name,
                           m->info.inputs[i]);
      break;
    }
    in[n] = *t;
    want.bytes[DHC_USE_COPY] += dhc_tensor_bytes(t);
    st = dhc_budget_charge(budget, &charge, &want, "the metric");
    if (st.code != DHC_OK) break;
    copy[n] = dhc_aligned_alloc(dhc_tensor_bytes(t)); /* results lie where inputs go */
    if (!copy[n]) st = dhc_status_memory((long long)dhc_tensor_bytes(t), "a metric");
    if (st.code != DHC_OK) break;
    memcpy(copy[n], t->data, (size_t)dhc_tensor_bytes(t));
    in[n].data = copy[n];
    n++;
  }
  const dhc_tensor *res;
  int n_res;
  if (st.code == DHC_OK) st = dhc_program_run(p, m->entry, in, n, &res, &n_res);
  if (st.code == DHC_OK) dhc_tensor_convert(out, DHC_F64, res[0].data, (int32_t)res[0].dtype, 1);
  for (int i = 0; i < FEED_MAX; i++) dhc_aligned_free(copy[i]);
  dhc_budget_release(budget, &charge);
  return st;
}

static void drop_batcher(void *b) {
  dhc_batcher_free(b);
}

dhc_status evaluate(dhc_program *p, int loss_entry, Feed *f, const Metric *m, const DhcDataset *d, int64_t batch,
                    void (*seen)(void *ctx, const Feed *f, const dhc_tensor *results, int n_results, int64_t first, int64_t n), void *ctx,
                    EvalSums *out) {
  *out = (EvalSums){0};
  DhcBatcher *b;
  int64_t ahead = dhc_batcher_bytes(d, batch);
  DHC_TRY(budget_more(p, DHC_USE_DATA, ahead, "batches read ahead"));
  DHC_TRY(dhc_batcher_new(d, &(DhcBatchOptions){.batch = batch, .once = true, .workers = dhc_session_threads(p->m->s)}, &b));
  DhcHeld held;
  dhc_hold(&held, drop_batcher, b);
  const DhcDataset *was = f->d;
  feed_forget(f); /* the other batch is the training's */
  f->d = d;
  dhc_status st = dhc_status_ok();
  for (;;) {
    int64_t n;
    st = feed_next(f, b, false, &n);
    if (st.code != DHC_OK || !n) break;
    atomic_fetch_add(&p->m->s->doing.count.done, n);
    if (dhc_stop_signal()) {
      st = dhc_status_make(DHC_E_INTERRUPTED, "stopped during evaluation");
      break;
    }
    st = feed_check_labels(f, loss_entry);
    if (st.code != DHC_OK) break;
    const dhc_tensor *res;
    int n_res;
    st = program_run(p, loss_entry, f->in, f->at, f->n_in, &res, &n_res);
    if (st.code != DHC_OK) break;
    double loss = scalar_result(res, n_res, "loss"), metric;
    if (!isfinite(loss)) st = results_check(p, res, n_res); /* names the tensor where one is NaN */
    if (st.code == DHC_OK && !isfinite(loss))
      st = dhc_status_make(DHC_E_NUMERIC, "result 'loss' is %g for the examples from number %lld on", loss, (long long)out->n);
    if (st.code != DHC_OK) break;
    if (seen) seen(ctx, f, res, n_res, out->n, n);
    st = metric_value(p, m, f, res, n_res, &metric);
    if (st.code != DHC_OK) break;
    out->loss += loss * (double)n;
    out->metric += metric * (double)n;
    out->n += n;
  }
  f->d = was;
  feed_forget(f);
  dhc_release(&held);
  dhc_batcher_free(b);
  budget_less(p, DHC_USE_DATA, ahead);
  if (out->n) {
    out->loss /= (double)out->n;
    out->metric /= (double)out->n;
  }
  return st;
}

DhcDataset dataset_part(const DhcDataset *d, int64_t first, int64_t n, DhcArena *arena) {
  DhcDataset part = *d;
  DhcField *fields = dhc_arena_dup(arena, d->fields, sizeof *fields * (size_t)d->n_fields);
  for (int i = 0; i < d->n_fields; i++)
    if (fields[i].data) fields[i].data += first * fields[i].example_bytes;
  part.fields = fields;
  part.n_examples = n;
  part.first += first;
  return part;
}
