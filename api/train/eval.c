/* Loss, metric and predictions on a split. */
#include <math.h>

#include "api/train/train.h"

typedef struct Predict {
  const dhc_eval_options *o;
  Routing *routing; /* NULL: not asked for */
} Predict;

/* Largest logit and its softmax probability, for the first n_predictions examples. */
static void predictions(void *ctx, const Feed *f, const dhc_tensor *results, int n_results, int64_t first, int64_t n) {
  const dhc_eval_options *o = ((Predict *)ctx)->o;
  if (((Predict *)ctx)->routing) routing_add(((Predict *)ctx)->routing, results, n_results);
  const dhc_tensor *logits = result_named(results, n_results, "logits");
  const dhc_tensor *target = NULL;
  for (int i = 0; i < f->n_in; i++)
    if (!strcmp(f->in[i].name, "target")) target = &f->in[i];
  if (!logits || logits->rank != 2 || !o->prediction) return;
  int64_t k = logits->dim[1];
  for (int64_t i = 0; i < n && first + i < o->n_predictions; i++) {
    DhcTensorView v = {.dtype = (int32_t)logits->dtype, .data = logits->data};
    int64_t best = 0;
    double sum = 0, top = dhc_tensor_get(&v, i * k);
    for (int64_t j = 1; j < k; j++) {
      double x = dhc_tensor_get(&v, i * k + j);
      if (x > top) top = x, best = j;
    }
    for (int64_t j = 0; j < k; j++) sum += exp(dhc_tensor_get(&v, i * k + j) - top);
    DhcTensorView tv = {.dtype = target ? (int32_t)target->dtype : 0, .data = target ? target->data : NULL};
    o->prediction(o->ctx, first + i, target ? dhc_dtype_from_double(DHC_I64, dhc_tensor_get(&tv, i)) : -1, best, 1 / sum);
  }
}

static bool parse_split(const char *name, DhcSplit *out) {
  for (int i = DHC_SPLIT_TRAIN; i <= DHC_SPLIT_TEST; i++)
    if (!strcmp(name, dhc_split_name((DhcSplit)i))) {
      *out = (DhcSplit)i;
      return true;
    }
  return false;
}

void evaluation_close(Evaluation *e) {
  feed_close(&e->feed);
  dhc_program_close(e->p);
  if (e->data) dhc_dataset_free(e->data);
  dhc_budget_release(&e->s->budget, &e->charge);
  dhc_arena_fini(&e->arena);
}

static dhc_status open_program(Evaluation *e, dhc_model *m, const dhc_eval_options *o) {
  e->batch = o->batch ? o->batch : dhc_model_recipe(m->m)->batch;
  DHC_TRY(dhc_program_open(m, "loss", DHC_MODE_RUN, &e->p));
  DHC_TRY(metric_open(e->p, &e->metric));
  DHC_TRY(dhc_program_init(e->p, 0));
  DHC_TRY(dhc_program_load(e->p, o->weights, false));
  DHC_TRY(weights_check(e->p));
  if (o->n_ablate) DHC_TRY(dhc_program_ablate(e->p, o->ablate, o->n_ablate));
  return feed_open(e->p, &e->part, e->batch, false, &e->feed);
}

/* Of the training examples the last are what train kept to validate with (train.c). */
static dhc_status open_part(Evaluation *e, DhcSplit split, const dhc_eval_options *o) {
  const bool kept = split == DHC_SPLIT_VAL && o->val_fraction > 0;
  DhcDataOptions data = session_data_options(e->s);
  if (kept && o->val_fraction >= 1) return dhc_status_make(DHC_E_USAGE, "--val-fraction: needs a share below 1, got %g", o->val_fraction);
  DHC_TRY(dhc_dataset_open(o->data, kept ? DHC_SPLIT_TRAIN : split, &data, &e->data));
  const int64_t all = e->data->n_examples, n = kept ? (int64_t)((double)all * o->val_fraction) : all;
  if (!n) return dhc_status_make(DHC_E_INPUT, "%s: has no %s examples", o->data, dhc_split_name(split));
  e->part = dataset_part(e->data, all - n, o->limit > 0 && o->limit < n ? o->limit : n, &e->arena);
  return budget_data(e->s, e->data, &e->charge);
}

dhc_status evaluation_open(Evaluation *e, dhc_model *m, const dhc_eval_options *o) {
  DhcSplit split = DHC_SPLIT_TEST;
  *e = (Evaluation){.s = m->s};
  dhc_arena_init(&e->arena);
  if (o->split && !parse_split(o->split, &split))
    return dhc_status_make(DHC_E_USAGE, "--split: needs train, val or test, got \"%s\"", o->split);
  DHC_TRY(open_part(e, split, o));
  return open_program(e, m, o);
}

dhc_status evaluation_run(Evaluation *e, const dhc_eval_options *o, dhc_eval_result *out) {
  double t0 = session_now_ms();
  EvalSums sums;
  e->routing = (Routing){.arena = &e->arena};
  Predict pr = {o, o->routing ? &e->routing : NULL};
  DHC_TRY(evaluate(e->p, 0, &e->feed, &e->metric, &e->part, e->batch, predictions, &pr, &sums));
  *out = (dhc_eval_result){.n_examples = sums.n, .loss = sums.loss, .accuracy = e->metric.entry >= 0 ? sums.metric : NAN,
                           .seconds = (session_now_ms() - t0) / 1e3};
  if (o->routing) DHC_TRY(routing_report(e->p->m, &e->routing, o->routing, o->ctx));
  return dhc_status_ok();
}

static void drop(void *what) {
  evaluation_close(what);
}

dhc_status api_evaluate(dhc_model *m, const dhc_eval_options *o, dhc_eval_result *out) {
  NEED(out);
  *out = (dhc_eval_result){0};
  NEED(m);
  NEED(o);
  NEED(o->data);
  NEED(o->weights);
  if (o->n_ablate > 0) NEED(o->ablate);
  Evaluation e = {.s = m->s};
  DhcHeld held;
  dhc_hold(&held, drop, &e);
  m->report = o->routing ? routing_patterns() : NULL;
  dhc_status st = evaluation_open(&e, m, o);
  if (st.code == DHC_OK) st = evaluation_run(&e, o, out);
  m->report = NULL;
  dhc_release(&held);
  drop(&e);
  return st;
}
