/* Classes of pictures: pixels through the model's entry `normalize` into `forward`, whose result `logits` becomes
 * probabilities. */
#include <math.h>
#include <stdlib.h>

#include "api/train/train.h"
#include "runtime/formats/picture.h"

typedef struct Predictor {
  const dhc_predict_options *o;
  dhc_program *p;             /* entry 0: forward, 1: normalize */
  const char *pixels, *image; /* their inputs */
  int64_t channels;           /* that the model takes; 0: any */
  uint8_t *block;             /* pictures of a batch */
  void *normal;               /* what `normalize` made of them: entries share their memory for results */
  int64_t *best;              /* labels of one picture, the likeliest first */
} Predictor;

static bool find_entry(const dhc_model *m, const char *name, DhcEntryInfo *out) {
  DhcEntryInfos all = dhc_model_entries(m->m);
  for (int i = 0; i < all.n; i++)
    if (!strcmp(all.at[i].name, name)) return *out = all.at[i], true;
  return false;
}

static bool gives(const DhcEntryInfo *e, const char *result) {
  for (int i = 0; i < e->n_outputs; i++)
    if (!strcmp(e->outputs[i], result)) return true;
  return false;
}

/* The number of channels that `normalize` is declared for; 0: any. */
static dhc_status channels_of(dhc_model *m, int64_t *out) {
  DhcFunc *f = dhc_model_entry(m->m, &(DhcEntryRequest){.name = "normalize"});
  if (!f) return session_errors(m->s);
  const DhcType *t = &f->params.at[0]->type;
  *out = 0;
  if (t->dtype != DHC_U8 || t->rank != 4)
    return dhc_status_make(DHC_E_INPUT, "entry 'normalize' of %s does not take pixels u8[B, C, H, W]", m->name);
  bool fixed = dhc_dim_is_const(t->dim[1], out);
  if (!fixed || *out == 1 || *out == 3) return dhc_status_ok();
  return dhc_status_make(DHC_E_INPUT, "entry 'normalize' of %s takes %lld channels; pictures have 1 or 3", m->name, (long long)*out);
}

static dhc_status open_entries(Predictor *x, dhc_model *m) {
  DhcEntryInfo forward, normalize;
  if (!find_entry(m, "forward", &forward) || !gives(&forward, "logits") || forward.n_inputs < 1)
    return dhc_status_make(DHC_E_INPUT, "%s has no entry 'forward' with a result 'logits': forward<B, H, W>(image: [B, 3, H, W]) -> (logits: [B, classes])",
                           m->name);
  x->image = forward.inputs[0];
  if (!find_entry(m, "normalize", &normalize) || normalize.n_inputs != 1 || normalize.n_outputs < 1)
    return dhc_status_make(DHC_E_INPUT,
                           "%s has no entry 'normalize', which makes '%s' of pixels: normalize<B, H, W>(pixels: u8[B, 3, H, W]) -> (%s: [B, 3, H, W]) "
                           "{ return float(pixels) * (1.0 / 255.0) }",
                           m->name, x->image, x->image);
  x->pixels = normalize.inputs[0];
  DHC_TRY(channels_of(m, &x->channels));
  DHC_TRY(dhc_program_open(m, "forward", DHC_MODE_RUN, &x->p));
  DHC_TRY(dhc_program_add(x->p, "normalize", DHC_MODE_RUN, NULL));
  DHC_TRY(dhc_program_init(x->p, 0));
  DHC_TRY(dhc_program_load(x->p, x->o->weights, false));
  return weights_check(x->p);
}

static bool taken(const Predictor *x, int n, int64_t label) {
  for (int i = 0; i < n; i++)
    if (x->best[i] == label) return true;
  return false;
}

static void report(const Predictor *x, const char *file, const DhcTensorView *logits, int64_t row, int64_t k) {
  const dhc_model *m = x->p->m;
  int64_t at = row * k;
  double sum = 0, most = -INFINITY;
  for (int64_t j = 0; j < k; j++) most = fmax(most, dhc_tensor_get(logits, at + j));
  for (int64_t j = 0; j < k; j++) sum += exp(dhc_tensor_get(logits, at + j) - most);
  for (int n = 0; n < x->o->top && n < k; n++) {
    int64_t best = -1;
    for (int64_t j = 0; j < k; j++)
      if (!taken(x, n, j) && (best < 0 || dhc_tensor_get(logits, at + j) > dhc_tensor_get(logits, at + best))) best = j;
    x->best[n] = best;
    const dhc_prediction p = {.file = file, .place = n, .label = best, .name = best < m->n_classes ? m->classes[best] : NULL,
                              .probability = exp(dhc_tensor_get(logits, at + best) - most) / sum};
    x->o->row(x->o->ctx, &p);
  }
}

static dhc_status grow(void **block, int64_t bytes) {
  void *more = realloc(*block, (size_t)bytes + 1);
  if (!more) return dhc_status_memory((long long)bytes, "a batch of pictures");
  *block = more;
  return dhc_status_ok();
}

static dhc_status run_batch(Predictor *x, int first, int n, const DhcPictureSize *size) {
  const dhc_tensor *res;
  int n_res;
  dhc_tensor in = {.name = x->pixels, .dtype = DHC_U8, .rank = 4, .dim = {n, size->channels, size->height, size->width}, .data = x->block};
  DHC_TRY(dhc_program_run(x->p, 1, &in, 1, &res, &n_res));
  dhc_tensor image = res[0];
  int64_t bytes = dhc_tensor_bytes(&image);
  DHC_TRY(grow(&x->normal, bytes));
  memcpy(x->normal, image.data, (size_t)bytes);
  image.name = x->image;
  image.data = x->normal;
  DHC_TRY(dhc_program_run(x->p, 0, &image, 1, &res, &n_res));
  DHC_TRY(results_check(x->p, res, n_res));
  const dhc_tensor *logits = result_named(res, n_res, "logits");
  if (logits->rank != 2 || !logits->dim[1]) return dhc_status_make(DHC_E_INPUT, "result 'logits' of %s is not [B, classes]", x->p->m->name);
  DhcTensorView v = {.dtype = (int32_t)logits->dtype, .data = logits->data};
  for (int i = 0; i < n; i++) report(x, x->o->images[first + i], &v, i, logits->dim[1]);
  return dhc_status_ok();
}

static dhc_status size_of(const Predictor *x, int i, DhcPictureSize *out) {
  DHC_TRY(dhc_picture_size(x->o->images[i], out));
  if (x->channels) out->channels = x->channels;
  return dhc_status_ok();
}

static bool same_size(const DhcPictureSize *a, const DhcPictureSize *b) {
  return a->channels == b->channels && a->height == b->height && a->width == b->width;
}

/* Pictures of one size that follow each other go together, at most a batch of them. */
static dhc_status run_all(Predictor *x) {
  enum { BATCH = 64 };
  int64_t most = x->o->batch > 0 ? x->o->batch : BATCH;
  DhcPictureSize size, next = {0, 0, 0};
  if (x->o->n_images > 0) DHC_TRY(size_of(x, 0, &next));
  for (int first = 0, n; first < x->o->n_images; first += n) {
    size = next;
    for (n = 1; first + n < x->o->n_images; n++) {
      DHC_TRY(size_of(x, first + n, &next));
      if (n == most || !same_size(&size, &next)) break;
    }
    int64_t bytes = size.channels * size.height * size.width;
    void *block = x->block;
    dhc_status st = grow(&block, bytes * n);
    x->block = block;
    for (int i = 0; st.code == DHC_OK && i < n; i++) st = dhc_picture_read(x->o->images[first + i], size, x->block + i * bytes);
    DHC_TRY(st);
    DHC_TRY(run_batch(x, first, n, &size));
  }
  return dhc_status_ok();
}

static void drop(void *what) {
  Predictor *x = what;
  dhc_program_close(x->p);
  free(x->block);
  free(x->normal);
  free(x->best);
}

dhc_status api_predict(dhc_model *m, const dhc_predict_options *o) {
  NEED(m);
  NEED(o);
  NEED(o->weights);
  NEED(o->row);
  if (o->n_images > 0) NEED(o->images);
  for (int i = 0; i < o->n_images; i++) NEED(o->images[i]);
  Predictor x = {.o = o};
  DhcHeld held;
  dhc_hold(&held, drop, &x);
  x.best = calloc((size_t)(o->top > 0 ? o->top : 1), sizeof *x.best);
  dhc_status st = x.best ? open_entries(&x, m) : dhc_status_memory((long long)o->top * (long long)sizeof *x.best, "places");
  if (st.code == DHC_OK) st = run_all(&x);
  dhc_release(&held);
  drop(&x);
  return st;
}
