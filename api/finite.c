/* What tensors hold: how large weights, moments and buffers are and whether something is no number, which an entry of
 * plain IR is asked (passes/grad/measure.c), compiled and run like any other; and NaN in results, which are the host's. */
#include <math.h>

#include "api/api.h"

/* ---- tensors of the program -------------------------------------------------------------- */

dhc_status measure_make(dhc_program *p, DhcFunc *f, Version **out) {
  Version *v = DHC_NEW(&p->arena, Version);
  *v = (Version){.entry = f->name, .mode = DHC_MODE_RUN};
  const DhcPipelineRequest way = pipeline_request(p->m->s, f->module, f);
  v->way = dhc_pipeline_begin(&way);
  if (!dhc_pipeline_run(&v->way, DHC_PIPELINE_GRAPH)) return session_errors(p->m->s);
  v->module = v->way.module;
  v->func = v->way.func;
  pipeline_image(p->m, v, dhc_prog_layout(p->run));
  v->none = DHC_NEW_N(&p->arena, const DhcTensorView *, v->image->n_params + 1);
  DHC_TRY(pipeline_compile(p->m, v));
  DHC_TRY(exec_load(p, v));
  dhc_prog_set_apart(v->loaded);
  *out = v;
  return dhc_status_ok();
}

dhc_status measure_run(dhc_program *p, Version *v, int32_t range) {
  const int64_t symbols[1] = {0}; /* it has none */
  dhc_prog_use_weights(p->run, range);
  dhc_status st = exec_run(p, v, v->none, symbols);
  dhc_prog_use_weights(p->run, DHC_WEIGHTS);
  return st;
}

const dhc_slot *measured_slot(const dhc_layout *l, int64_t *at) {
  for (int32_t i = 0; i < l->n_slots; i++) {
    const dhc_slot *s = &l->slots[i];
    int64_t first = s->at / dhc_tensor_dtype_bytes(l->dtype);
    if (s->role != DHC_IMAGE_WEIGHT || *at < first || *at >= first + s->n) continue;
    *at -= first;
    return s;
  }
  return NULL;
}

/* ---- NaN ------------------------------------------------------------------------------------ */

static dhc_status is_nan(const char *what, const char *name, int64_t at) {
  return dhc_status_make(DHC_E_NUMERIC, "%s '%s' is NaN at index %lld", what, name, (long long)at);
}

static dhc_status look(dhc_program *p) {
  const dhc_image *im = p->look->image;
  DHC_TRY(measure_run(p, p->look, DHC_WEIGHTS));
  for (int32_t i = 0; i < im->n_params; i++) {
    double first;
    DHC_TRY(exec_number(p, p->look, i, &first));
    if (first >= (double)DHC_MEASURE_NONE) continue;
    int64_t at = (int64_t)first;
    const dhc_slot *s = im->tensors[i].role == DHC_IMAGE_RANGE ? measured_slot(dhc_prog_layout(p->run), &at) : NULL;
    return is_nan("tensor", s ? s->name : im->tensors[i].name, at);
  }
  return dhc_status_ok();
}

/* Infinity is a value like others where masks are: only NaN is none. */
dhc_status weights_check(dhc_program *p) {
  const dhc_layout *l = dhc_prog_layout(p->run);
  bool any = l->n_weights > 0;
  for (int32_t i = 0; i < l->n_slots; i++) any = any || (l->slots[i].role == DHC_IMAGE_BUFFER && l->slots[i].n);
  if (!any) return dhc_status_ok();
  if (!p->look) DHC_TRY(measure_make(p, dhc_nan_entry(p->m->module, l->n_weights), &p->look));
  return look(p);
}

static dhc_status check(const dhc_tensor *t) {
  if (!dhc_dtype_is_float(t->dtype)) return dhc_status_ok();
  DhcTensorView v = {.dtype = (int32_t)t->dtype, .data = t->data};
  int64_t n = dhc_tensor_elements(t);
  for (int64_t i = 0; i < n; i++)
    if (isnan(dhc_tensor_get(&v, i))) return is_nan("result", t->name, i);
  return dhc_status_ok();
}

dhc_status results_check(dhc_program *p, const dhc_tensor *results, int n_results) {
  for (int i = 0; i < n_results; i++) {
    dhc_status st = check(&results[i]);
    if (st.code == DHC_OK) continue;
    DHC_TRY(weights_check(p)); /* the cause, where it is that */
    return st;
  }
  return dhc_status_ok();
}

dhc_status api_program_check(dhc_program *p, int index) {
  NEED(p);
  if (index < 0 || index >= p->n_entries) return dhc_status_make(DHC_E_USAGE, "program has no entry number %d", index);
  DHC_TRY(weights_check(p));
  return results_check(p, p->entries[index].results, p->entries[index].n_results);
}
