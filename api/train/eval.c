/* Loss, metric and predictions on a split. */
#include <math.h>

#include "api/train/train.h"

typedef struct Predict {
  const dhc_eval_options *o;
} Predict;

/* Largest logit and its softmax probability, for the first n_predictions examples. */
static void predictions(void *ctx, const Feed *f, const dhc_tensor *results, int n_results, int64_t first, int64_t n) {
  const dhc_eval_options *o = ((Predict *)ctx)->o;
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

/* What an evaluation opens. */
typedef struct Evaluation {
  dhc_session *s;
  DhcDataset *data;
  dhc_program *p;
  Feed feed;
  DhcArena arena;
  DhcCharge charge; /* of data */
} Evaluation;

static void drop(void *what) {
  Evaluation *e = what;
  feed_close(&e->feed);
  dhc_program_close(e->p);
  if (e->data) dhc_dataset_free(e->data);
  dhc_budget_release(&e->s->budget, &e->charge);
  dhc_arena_fini(&e->arena);
}

static dhc_status run(dhc_model *m, const dhc_eval_options *o, const DhcDataset *d, dhc_program **p, Feed *feed, dhc_eval_result *out) {
  int64_t batch = o->batch ? o->batch : dhc_model_recipe(m->m)->batch;
  DHC_TRY(dhc_program_open(m, "loss", DHC_MODE_RUN, p));
  Metric metric;
  DHC_TRY(metric_open(*p, &metric));
  DHC_TRY(dhc_program_init(*p, 0));
  DHC_TRY(dhc_program_load(*p, o->weights, false));
  DHC_TRY(weights_check(*p));
  DHC_TRY(feed_open(*p, d, batch, false, feed));
  double t0 = session_now_ms();
  EvalSums sums;
  Predict pr = {o};
  DHC_TRY(evaluate(*p, 0, feed, &metric, d, batch, predictions, &pr, &sums));
  *out = (dhc_eval_result){.n_examples = sums.n, .loss = sums.loss, .accuracy = metric.entry >= 0 ? sums.metric : NAN,
                           .seconds = (session_now_ms() - t0) / 1e3};
  return dhc_status_ok();
}

dhc_status api_evaluate(dhc_model *m, const dhc_eval_options *o, dhc_eval_result *out) {
  NEED(out);
  *out = (dhc_eval_result){0};
  NEED(m);
  NEED(o);
  NEED(o->data);
  NEED(o->weights);
  DhcSplit split = DHC_SPLIT_TEST;
  if (o->split && !parse_split(o->split, &split))
    return dhc_status_make(DHC_E_USAGE, "--split: needs train, val or test, got \"%s\"", o->split);
  Evaluation e = {.s = m->s};
  dhc_arena_init(&e.arena);
  DhcHeld held;
  dhc_hold(&held, drop, &e);
  DhcDataOptions data = {.max_bytes = dhc_budget_left(&m->s->budget)};
  dhc_status st = dhc_dataset_open(o->data, split, &data, &e.data);
  if (st.code == DHC_OK) st = budget_data(m->s, e.data, &e.charge);
  if (st.code == DHC_OK) {
    int64_t n = e.data->n_examples;
    DhcDataset part = dataset_part(e.data, 0, o->limit > 0 && o->limit < n ? o->limit : n, &e.arena);
    st = run(m, o, &part, &e.p, &e.feed, out);
  }
  dhc_release(&held);
  drop(&e);
  return st;
}
