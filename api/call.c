/* Prepared calls: an entry compiled and bound for inputs of given shapes, run without looking at names again. */
#include <stdlib.h>

#include "api/api.h"

struct dhc_call {
  dhc_program *p;
  Entry *e;
  Version *v;
  DhcReady *ready; /* NULL: the device runs it in its own memory */
  int ablations;   /* of the program, when it was opened */
  int64_t symbols[DHC_IMAGE_MAX_SYMBOLS];
  int n_inputs;
  DhcTensorView *input;           /* as the caller numbers them */
  const DhcTensorView **by_param; /* the same by the image's parameters */
  int n_results;
  dhc_tensor *results;
  void **at;
  int64_t begun; /* dhc_prog_begun when its states were there */
  DhcArena arena;
};

dhc_session *call_session(const dhc_call *c) {
  return c ? c->p->m->s : NULL;
}

bool call_is_apart(const dhc_call *c) {
  return c && c->ready && c->p->device;
}

static void take_inputs(dhc_call *c, const dhc_tensor *in, int n_in) {
  const dhc_image *im = c->v->image;
  c->n_inputs = n_in;
  c->input = DHC_NEW_N(&c->arena, DhcTensorView, n_in + 1);
  c->by_param = DHC_NEW_N(&c->arena, const DhcTensorView *, im->n_params + 1);
  for (int k = 0; k < n_in; k++) {
    DhcTensorView *v = &c->input[k];
    *v = (DhcTensorView){.name = dhc_arena_strdup(&c->arena, in[k].name), .dtype = (int32_t)in[k].dtype, .rank = in[k].rank,
                         .bytes = dhc_tensor_bytes(&in[k])};
    memcpy(v->shape, in[k].dim, sizeof *v->shape * (size_t)in[k].rank);
    int32_t i = dhc_image_find(im, DHC_IMAGE_INPUT, in[k].name);
    if (i >= 0) c->by_param[i] = v;
  }
}

static dhc_status describe_results(dhc_call *c) {
  const dhc_image *im = c->v->image;
  c->n_results = im->n_results - im->n_requires;
  c->results = DHC_NEW_N(&c->arena, dhc_tensor, im->n_results + 1);
  c->at = DHC_NEW_N(&c->arena, void *, im->n_results + 1);
  for (int i = 0; i < c->n_results; i++) {
    DhcTensorView v;
    DhcDevicePtr at;
    DHC_TRY(dhc_prog_result(c->v->loaded, i, &v, &at));
    c->results[i] = (dhc_tensor){.name = v.name, .dtype = (dhc_dtype)v.dtype, .rank = v.rank};
    memcpy(c->results[i].dim, v.shape, sizeof *v.shape * (size_t)v.rank);
  }
  return dhc_status_ok();
}

static dhc_status open_call(dhc_call *c, int index, const dhc_tensor *in, int n_in) {
  dhc_program *p = c->p;
  DHC_TRY(program_bound(p, index, in, n_in, c->symbols, &c->v));
  c->e = &p->entries[index];
  c->ablations = p->n_ablations;
  c->begun = dhc_prog_begun(p->run);
  DHC_TRY(dhc_prog_hold(c->v->loaded));
  if (!session_whole(p->m->s)) DHC_TRY(dhc_prog_ready(c->v->loaded, c->symbols, &c->ready));
  take_inputs(c, in, n_in);
  return describe_results(c);
}

static void close_call(void *c) {
  dhc_call_close(c);
}

dhc_status api_call_open(dhc_program *p, int index, const dhc_tensor *inputs, int n_inputs, dhc_call **out) {
  NEED_OUT(out);
  NEED(p);
  DHC_TRY(args_forms(__func__, inputs, n_inputs));
  dhc_call *c = calloc(1, sizeof *c);
  if (!c) return dhc_status_memory((long long)sizeof *c, "a call");
  c->p = p;
  dhc_arena_init(&c->arena);
  DhcHeld held;
  dhc_hold(&held, close_call, c);
  dhc_status st = open_call(c, index, inputs, n_inputs);
  dhc_release(&held);
  if (st.code == DHC_OK) *out = c;
  else dhc_call_close(c);
  return st;
}

void dhc_call_close(dhc_call *c) {
  if (!c) return;
  dhc_session *s = c->p->m->s;
  session_lock(s);
  dhc_ready_free(c->ready);
  dhc_arena_fini(&c->arena);
  free(c);
  session_unlock(s);
}

const dhc_tensor *dhc_call_results(const dhc_call *c, int *n) {
  if (n) *n = c ? c->n_results : 0;
  return c ? c->results : NULL;
}

/* ---- running --------------------------------------------------------------------------- */

dhc_status api_call_begin(dhc_call *c) {
  if (c->v->image->n_begins) DHC_TRY(state_prepare(c->p, c->v, c->symbols));
  c->begun = dhc_prog_begun(c->p->run);
  return dhc_status_ok();
}

static dhc_status take_data(dhc_call *c, const void *const *inputs) {
  for (int k = 0; k < c->n_inputs; k++) {
    if (!inputs[k] && c->input[k].bytes)
      return dhc_status_make(DHC_E_USAGE, "tensor '%s' has no data", c->input[k].name);
    c->input[k].data = inputs[k];
  }
  return dhc_status_ok();
}

/* As program_required, of results that lie where the caller wants them. */
static dhc_status check_required(dhc_call *c) {
  const dhc_image *im = c->v->image;
  for (int32_t i = 0; i < im->n_requires; i++) {
    const bool *holds = dhc_ready_result(c->ready, im->requires[i].tensor - im->n_params);
    if (*holds) continue;
    dhc_program_reset(c->p);
    return dhc_status_make(DHC_E_INPUT, "entry '%s': %s", c->v->entry, im->requires[i].message);
  }
  return dhc_status_ok();
}

/* By the program's own way, and copied. */
static dhc_status run_there(dhc_call *c, void *const *results) {
  dhc_program *p = c->p;
  DHC_TRY(c->v->mode == DHC_MODE_TRAIN ? step_run(p, c->v, c->by_param, c->symbols) : exec_run(p, c->v, c->by_param, c->symbols));
  DHC_TRY(program_required(p, c->v));
  DHC_TRY(exec_results(p, c->e, c->v));
  for (int i = 0; i < c->n_results; i++) {
    c->at[i] = results && results[i] ? results[i] : c->v->results[i].data;
    if (c->at[i] != c->v->results[i].data) memcpy(c->at[i], c->v->results[i].data, (size_t)dhc_tensor_bytes(&c->results[i]));
  }
  return dhc_status_ok();
}

dhc_status api_call_run(dhc_call *c, const void *const *inputs, void *const *results) {
  NEED(c);
  if (c->n_inputs > 0) NEED(inputs);
  DHC_TRY(take_data(c, inputs));
  if (c->ablations != c->p->n_ablations)
    return dhc_status_make(DHC_E_USAGE, "entry '%s': the program leaves out other parts than when the call was opened", c->v->entry);
  if (c->v->image->n_begins && c->begun != dhc_prog_begun(c->p->run)) DHC_TRY(call_begin(c));
  if (c->v->image->n_index_checks) DHC_TRY(dhc_image_check_indices(c->v->image, c->by_param, c->symbols));
  c->e->last = c->v;
  if (!c->ready) {
    DHC_TRY(run_there(c, results));
  } else {
    DHC_TRY(dhc_ready_run(c->ready, c->by_param, results, c->at));
    DHC_TRY(check_required(c));
  }
  for (int i = 0; i < c->n_results; i++) c->results[i].data = c->at[i];
  return dhc_status_ok();
}
