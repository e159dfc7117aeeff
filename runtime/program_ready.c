/* Runs made ready: what hangs on sizes alone is decided once, and callers' tensors are used where they lie. */
#include <stdlib.h>
#include <string.h>

#include "runtime/program_internal.h"

struct DhcReady {
  DhcLoaded *l;
  Binding *b;
  int64_t places;     /* DhcProg.places when it was bound */
  int32_t *number;    /* by buffer of the plan: where its base stands in `base`; -1: its segment's does */
  DhcDevicePtr *base; /* of the segments, of scratch, then of the buffers lent */
};

static const dhc_buffer *root_of(const dhc_plan *plan, int32_t *buffer) {
  while (plan->buffers[*buffer].alias >= 0) *buffer = plan->buffers[*buffer].alias;
  return &plan->buffers[*buffer];
}

/* Inputs and results that lie in memory of their own. */
static int32_t number_lent(const dhc_image *im, int32_t *number) {
  int32_t n = DHC_N_SEGMENTS + 1;
  for (int32_t i = 0; i < im->plan.n_buffers; i++) number[i] = -1;
  for (int32_t i = 0; i < im->n_params + im->n_results; i++) {
    int32_t buffer = im->tensors[i].buffer;
    if (buffer < 0 || (i < im->n_params && im->tensors[i].role != DHC_IMAGE_INPUT)) continue;
    if (root_of(&im->plan, &buffer)->segment == DHC_SEGMENT_IO && buffer == im->tensors[i].buffer && number[buffer] < 0) number[buffer] = n++;
  }
  return n;
}

static void unbind(DhcReady *r) {
  if (!r->b) return;
  dhc_bound_free(r->b->bound);
  free(r->b->symbols);
  free(r->b);
  r->b = NULL;
}

static dhc_status bind(DhcReady *r, const int64_t *symbols) {
  DhcLoaded *l = r->l;
  const dhc_plan *plan = &l->image->plan;
  Binding *b = calloc(1, sizeof *b);
  int64_t *copy = calloc((size_t)plan->n_symbols + 1, sizeof *copy);
  dhc_status st = b && copy ? dhc_status_ok() : dhc_status_memory((long long)sizeof *b, "a binding");
  if (st.code == DHC_OK) st = dhc_plan_bind_at(plan, l->kernels, symbols, l->p->workers, l->place, &b->bound);
  if (st.code != DHC_OK) {
    free(copy);
    free(b);
    return st;
  }
  memcpy(copy, symbols, sizeof *copy * (size_t)plan->n_symbols);
  b->symbols = copy;
  dhc_bound_lend(b->bound, r->number);
  unbind(r);
  r->b = b;
  r->places = l->p->places;
  return st;
}

dhc_status dhc_prog_ready(DhcLoaded *l, const int64_t *symbols, DhcReady **out) {
  const DhcDeviceOps *ops = l->p->device->ops;
  DhcDeviceInfo info;
  *out = NULL;
  ops->describe(l->p->device, &info);
  if (ops->prepare || info.own_memory || l->image->finite >= 0) return dhc_status_ok();
  DHC_TRY(dhc_prog_bind(l, symbols)); /* whose states may have moved */
  DhcReady *r = calloc(1, sizeof *r);
  int32_t *number = calloc((size_t)l->image->plan.n_buffers + 1, sizeof *number);
  DhcDevicePtr *base = calloc((size_t)(DHC_N_SEGMENTS + 1 + l->image->n_params + l->image->n_results), sizeof *base);
  dhc_status st = r && number && base ? dhc_status_ok() : dhc_status_memory((long long)sizeof *r, "a call");
  if (st.code != DHC_OK) {
    free(r);
    free(number);
    free(base);
    return st;
  }
  *r = (DhcReady){.l = l, .number = number, .base = base};
  number_lent(l->image, number);
  st = bind(r, symbols);
  if (st.code == DHC_OK) *out = r;
  else dhc_ready_free(r);
  return st;
}

void dhc_ready_free(DhcReady *r) {
  if (!r) return;
  unbind(r);
  free(r->number);
  free(r->base);
  free(r);
}

static DhcDevicePtr place_of(const DhcReady *r, int32_t buffer) {
  int32_t root = buffer;
  int32_t segment = root_of(&r->l->image->plan, &root)->segment;
  if (r->number[root] >= 0) segment = r->number[root];
  return r->base[segment] + (uint64_t)dhc_bound_buffer_offset(r->b->bound, buffer);
}

/* The buffer lies at `at`. */
static void lend(const DhcReady *r, int32_t buffer, const void *at) {
  r->base[r->number[buffer]] = (DhcDevicePtr)(uintptr_t)at - (uint64_t)dhc_bound_buffer_offset(r->b->bound, buffer);
}

/* Numbers lie where numbers of their size do: kernels count on that, and callers may not have seen to it. */
static bool fits(const void *at, int32_t dtype) {
  return at && (uintptr_t)at % (uintptr_t)dhc_tensor_dtype_bytes(dtype) == 0;
}

static dhc_status put_inputs(const DhcReady *r, const DhcTensorView *const *in) {
  const dhc_image *im = r->l->image;
  DhcDevice *d = r->l->p->device;
  for (int32_t i = 0; i < im->n_params; i++) {
    const dhc_image_tensor *t = &im->tensors[i];
    if (t->buffer < 0 || t->role != DHC_IMAGE_INPUT) continue;
    if (in[i] && in[i]->dtype == t->dtype && r->number[t->buffer] >= 0 && fits(in[i]->data, t->dtype)) {
      lend(r, t->buffer, in[i]->data);
      continue;
    }
    int64_t n = dhc_bound_buffer_bytes(r->b->bound, t->buffer) / dhc_tensor_dtype_bytes(t->dtype);
    DHC_TRY(in[i] ? dhc_device_put(d, place_of(r, t->buffer), t->dtype, in[i]->data, in[i]->dtype, n)
                  : dhc_device_set(d, place_of(r, t->buffer), t->dtype, t->absent == DHC_ABSENT_ONES ? 1 : 0, n));
  }
  return dhc_prog_put_scalars(r->l);
}

/* A result that shares its memory with another tensor is written there, and copied. */
static bool is_lent(const DhcReady *r, int32_t tensor, void *const *results) {
  const dhc_image *im = r->l->image;
  int32_t buffer = im->tensors[tensor].buffer;
  if (r->number[buffer] < 0) return false;
  for (int32_t i = 0; i < tensor; i++)
    if (im->tensors[i].buffer == buffer && (i < im->n_params || results[i - im->n_params])) return false;
  return true;
}

static void lend_results(const DhcReady *r, void *const *results) {
  const dhc_image *im = r->l->image;
  for (int32_t i = 0; results && i < im->n_results - im->n_requires; i++) {
    const dhc_image_tensor *t = &im->tensors[im->n_params + i];
    if (fits(results[i], t->dtype) && is_lent(r, im->n_params + i, results)) lend(r, t->buffer, results[i]);
  }
}

static void give_results(const DhcReady *r, void *const *results, void **at) {
  const dhc_image *im = r->l->image;
  for (int32_t i = 0; i < im->n_results - im->n_requires; i++) {
    int32_t buffer = im->tensors[im->n_params + i].buffer;
    void *lies = (void *)(uintptr_t)place_of(r, buffer);
    int64_t bytes = dhc_bound_buffer_bytes(r->b->bound, buffer);
    if (results && results[i] && results[i] != lies && bytes) memcpy(results[i], lies, (size_t)bytes);
    at[i] = results && results[i] ? results[i] : lies;
  }
}

void *dhc_ready_result(const DhcReady *r, int32_t i) {
  return (void *)(uintptr_t)place_of(r, r->l->image->tensors[r->l->image->n_params + i].buffer);
}

/* Segments as they are now; what may be lent lies in the program. */
static dhc_status find_bases(DhcReady *r) {
  DhcLoaded *l = r->l;
  if (r->places != l->p->places) { /* states have moved */
    DHC_TRY(dhc_prog_bind(l, r->b->symbols));
    DHC_TRY(bind(r, r->b->symbols));
  }
  DHC_TRY(dhc_prog_find_bases(l, r->b));
  DHC_TRY(dhc_prog_pack(l, r->b));
  memcpy(r->base, r->b->base, sizeof r->b->base);
  for (int32_t i = 0; i < l->image->plan.n_buffers; i++)
    if (r->number[i] >= 0) r->base[r->number[i]] = r->base[DHC_SEGMENT_IO];
  return dhc_status_ok();
}

dhc_status dhc_ready_run(DhcReady *r, const DhcTensorView *const *in, void *const *results, void **at) {
  DhcDevice *d = r->l->p->device;
  DHC_TRY(find_bases(r));
  DHC_TRY(put_inputs(r, in));
  lend_results(r, results);
  DHC_TRY(dhc_bound_run(r->b->bound, d, r->base, r->base[DHC_SCRATCH], NULL));
  DHC_TRY(d->ops->synchronise(d));
  give_results(r, results, at);
  return dhc_status_ok();
}
