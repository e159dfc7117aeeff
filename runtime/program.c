/* Programs: memory, images in it, runs. */
#include <stdlib.h>
#include <string.h>

#include "runtime/program_internal.h"

enum { MAX_BINDINGS = 8 };

/* ---- memory ------------------------------------------------------------------------------ */

static const char *segment_text(int segment) {
  static const char *const text[DHC_N_SEGMENTS + 1] = {
      [DHC_SEGMENT_WEIGHTS] = "weights", [DHC_SEGMENT_MOMENTS] = "moments", [DHC_SEGMENT_BUFFERS] = "buffers",
      [DHC_SEGMENT_STATES] = "states", [DHC_SEGMENT_WORK] = "workspace", [DHC_SEGMENT_IO] = "inputs and outputs",
      [DHC_SEGMENT_PANELS] = "packed weights", [DHC_SEGMENT_SCALARS] = "scalars", [DHC_SCRATCH] = "scratch"};
  return text[segment];
}

/* What a run writes before it reads it. */
static bool begins_as_anything(int segment) {
  return segment == DHC_SEGMENT_WORK || segment == DHC_SEGMENT_IO || segment == DHC_SCRATCH;
}

static bool settles(int segment) {
  return segment == DHC_SEGMENT_WEIGHTS || segment == DHC_SEGMENT_MOMENTS;
}

static dhc_status allocate(DhcProg *p, int segment, int64_t bytes) {
  DhcDevice *d = p->device;
  bool zero = true;
  if (!d->ops->alloc_any || !(begins_as_anything(segment) || settles(segment))) return d->ops->alloc(d, bytes, &p->segment[segment]);
  DHC_TRY(d->ops->alloc_any(d, bytes, &zero, &p->segment[segment]));
  p->stale[segment] = settles(segment) && !zero;
  return dhc_status_ok();
}

void dhc_prog_settle(DhcProg *p, int segment) {
  if (!p->stale[segment]) return;
  p->stale[segment] = false;
  dhc_status st = p->device->ops->fill(p->device, p->segment[segment], 0, p->held[segment]);
  (void)st; /* on a device that gives such memory filling does not fail */
}

/* Others may have taken it since the session began. */
static dhc_status no_memory(DhcDevice *d, int64_t bytes, const char *what) {
  DhcDeviceInfo info;
  char free_text[32], needs[32];
  d->ops->describe(d, &info);
  if (!info.own_memory) return dhc_status_memory((long long)bytes, what);
  return dhc_status_make(DHC_E_ENVIRONMENT, "GPU memory: %s for %s, %s are free; try a smaller --batch", dhc_size_text(bytes, needs, sizeof needs), what,
                         dhc_size_text(info.memory_free, free_text, sizeof free_text));
}

static dhc_status need(DhcProg *p, int segment, int64_t bytes) {
  DhcDevice *d = p->device;
  if (bytes <= p->held[segment] && p->segment[segment]) return dhc_status_ok();
  d->ops->free(d, p->segment[segment]);
  p->segment[segment] = 0;
  p->held[segment] = 0;
  dhc_status st = allocate(p, segment, bytes);
  if (st.code == DHC_OK) p->held[segment] = bytes;
  else if (st.code == DHC_E_ENVIRONMENT) st = no_memory(d, bytes, segment_text(segment));
  return st;
}

/* The owner's. */
static bool shared(const DhcProg *p, int segment) {
  return p->owner && (segment == DHC_SEGMENT_WEIGHTS || segment == DHC_SEGMENT_BUFFERS);
}

static dhc_status open_prog(DhcDevice *device, DhcProg *owner, const dhc_layout *layout, DhcProg **out) {
  DhcProg *p = calloc(1, sizeof *p);
  if (!p) return dhc_status_memory((long long)sizeof *p, "a program");
  DhcDeviceInfo info;
  device->ops->describe(device, &info);
  p->device = device;
  p->owner = owner;
  p->workers = info.workers;
  p->lanes = info.lanes;
  p->layout = layout;
  p->weights = DHC_WEIGHTS;
  p->fresh = -1;
  pthread_mutex_init(&p->lock, NULL);
  p->states = calloc((size_t)layout->n_slots + 1, sizeof *p->states);
  dhc_status st = p->states ? dhc_status_ok() : dhc_status_memory((long long)sizeof *p->states * layout->n_slots, "a program");
  for (int a = 0; st.code == DHC_OK && a < DHC_N_SEGMENTS; a++) {
    if (a != DHC_SEGMENT_WEIGHTS && a != DHC_SEGMENT_BUFFERS) continue;
    if (!owner) st = need(p, a, layout->bytes[a]);
    if (owner) dhc_prog_settle(owner, a);
    if (owner) p->segment[a] = owner->segment[a];
    if (owner) p->held[a] = owner->held[a];
  }
  if (st.code == DHC_OK) st = need(p, DHC_SEGMENT_SCALARS, SCALAR_BYTES * DHC_PROG_MAX_SCALARS);
  if (st.code == DHC_OK && layout->n_ranges && !owner) st = dhc_prog_extend(p, layout);
  if (st.code != DHC_OK) {
    dhc_prog_close(p);
    return st;
  }
  *out = p;
  return st;
}

dhc_status dhc_prog_open(DhcDevice *device, const dhc_layout *layout, DhcProg **out) {
  return open_prog(device, NULL, layout, out);
}

dhc_status dhc_prog_share(DhcProg *of, DhcDevice *device, DhcProg **out) {
  DHC_TRY(open_prog(device, of->owner ? of->owner : of, of->layout, out));
  memcpy((*out)->scalar_names, of->scalar_names, sizeof of->scalar_names);
  memcpy((*out)->scalars, of->scalars, sizeof of->scalars);
  (*out)->n_scalars = of->n_scalars;
  return dhc_status_ok();
}

bool dhc_prog_shares(const DhcProg *p) {
  return p->owner != NULL;
}

static dhc_status more_states(DhcProg *p, const dhc_layout *layout) {
  int32_t have = p->layout->n_slots, n = layout->n_slots;
  if (n <= have) return dhc_status_ok();
  State *s = realloc(p->states, sizeof *s * (size_t)n);
  if (!s) return dhc_status_memory((long long)sizeof *s * n, "states");
  memset(s + have, 0, sizeof *s * (size_t)(n - have));
  p->states = s;
  return dhc_status_ok();
}

dhc_status dhc_prog_extend(DhcProg *p, const dhc_layout *layout) {
  DHC_TRY(more_states(p, layout));
  bool begins = layout->n_ranges && !p->owner && !p->segment[DHC_SEGMENT_MOMENTS];
  if (begins) DHC_TRY(need(p, DHC_SEGMENT_MOMENTS, layout->bytes[DHC_SEGMENT_MOMENTS]));
  p->layout = layout;
  if (!begins) return dhc_status_ok();
  p->ranges_zero = true; /* fresh memory is */
  for (int32_t i = 0; i < layout->n_ranges; i++)
    if (layout->ranges[i].from_weights)
      DHC_TRY(p->device->ops->copy(p->device, dhc_prog_range(p, i), dhc_prog_range(p, DHC_WEIGHTS), p->layout->bytes[DHC_SEGMENT_WEIGHTS]));
  return dhc_status_ok();
}

void dhc_prog_close(DhcProg *p) {
  if (!p) return;
  for (int a = 0; a <= DHC_SCRATCH; a++)
    if (!shared(p, a)) p->device->ops->free(p->device, p->segment[a]);
  pthread_mutex_destroy(&p->lock);
  free(p->states);
  free(p);
}

const dhc_layout *dhc_prog_layout(const DhcProg *p) {
  return p->layout;
}

DhcDevice *dhc_prog_device(const DhcProg *p) {
  return p->device;
}

int64_t dhc_prog_held(const DhcProg *p, int segment) {
  return p->held[segment];
}

/* ---- images ------------------------------------------------------------------------------- */

static void forget_prepared(DhcLoaded *l, Binding *b) {
  DhcDevice *d = l->p->device;
  if (b->prepared) d->ops->forget(d, b->prepared);
  b->prepared = NULL;
  b->declined = false;
}

static void forget(DhcLoaded *l, Binding *b) {
  forget_prepared(l, b);
  dhc_prog_drop_lent(b);
  dhc_bound_free(b->bound);
  free(b->symbols);
  free(b);
}

static void forget_bindings(DhcLoaded *l) {
  while (l->bindings) {
    Binding *b = l->bindings;
    l->bindings = b->next;
    forget(l, b);
  }
}

void dhc_prog_unload(DhcLoaded *l) {
  if (!l) return;
  forget_bindings(l);
  dhc_prog_drop_panels(l);
  l->p->device->ops->free(l->p->device, l->io);
  free(l->kernels);
  free(l->place);
  free(l->lends);
  free(l);
}

/* Byte offset of a parameter in its segment of this program; -1: as planned. */
static dhc_status place_of(DhcProg *p, const dhc_image_tensor *t, int64_t *at) {
  *at = -1;
  const double *scalar;
  switch (t->role) {
    case DHC_IMAGE_WEIGHT:
    case DHC_IMAGE_BUFFER:
    case DHC_IMAGE_TABLE: *at = p->layout->slots[t->place].at; return dhc_status_ok();
    case DHC_IMAGE_STATE: *at = p->states[t->place].at; return dhc_status_ok();
    case DHC_IMAGE_RANGE: *at = t->place < 0 ? 0 : p->layout->ranges[t->place].at; return dhc_status_ok();
    case DHC_IMAGE_SCALAR:
      scalar = dhc_prog_scalar(p, t->name);
      if (!scalar) return dhc_status_make(DHC_E_USAGE, "more than %d scalars", DHC_PROG_MAX_SCALARS);
      *at = (scalar - p->scalars) * SCALAR_BYTES;
      return dhc_status_ok();
    default: return dhc_status_ok();
  }
}

dhc_status dhc_prog_enter_places(DhcLoaded *l) {
  for (int32_t i = 0; i < l->image->n_params; i++) {
    const dhc_image_tensor *t = &l->image->tensors[i];
    if (t->buffer >= 0) DHC_TRY(place_of(l->p, t, &l->place[t->buffer]));
  }
  l->places = l->p->places;
  return dhc_status_ok();
}

/* Those that the program does not know yet. */
static dhc_status add_scalars(DhcProg *p, const dhc_image *im) {
  for (int32_t i = 0; i < im->n_scalars; i++) {
    int32_t before = p->n_scalars;
    double *value = dhc_prog_scalar(p, im->scalars[i].name);
    if (!value) return dhc_status_make(DHC_E_USAGE, "more than %d scalars", DHC_PROG_MAX_SCALARS);
    if (p->n_scalars > before) *value = im->scalars[i].value;
  }
  return dhc_status_ok();
}

dhc_status dhc_prog_load(DhcProg *p, const dhc_image *im, DhcLoaded **out) {
  const dhc_plan *plan = &im->plan;
  if (im->version != DHC_ABI_VERSION)
    return dhc_status_make(DHC_E_INPUT, "entry '%s' is an image of version %u, this is version %d", plan->name, im->version, DHC_ABI_VERSION);
  if (plan->n_symbols > DHC_IMAGE_MAX_SYMBOLS)
    return dhc_status_make(DHC_E_INPUT, "entry '%s' has more than %d symbols", plan->name, DHC_IMAGE_MAX_SYMBOLS);
  if (im->n_panels && !p->device->ops->pack)
    return dhc_status_make(DHC_E_USAGE, "entry '%s' reads packed weights, which this device has not", plan->name);
  DhcLoaded *l = calloc(1, sizeof *l);
  if (!l) return dhc_status_memory((long long)sizeof *l, "an entry");
  l->p = p;
  l->image = im;
  l->kernels = calloc((size_t)plan->n_kernels + 1, sizeof *l->kernels);
  l->place = calloc((size_t)plan->n_buffers + 1, sizeof *l->place);
  dhc_status st = dhc_status_ok();
  if (!l->kernels || !l->place) st = dhc_status_memory((long long)sizeof *l->place * plan->n_buffers, "an entry");
  for (int32_t i = 0; st.code == DHC_OK && i < plan->n_kernels; i++) l->kernels[i] = &im->kernels[i];
  for (int32_t i = 0; st.code == DHC_OK && i < plan->n_buffers; i++) l->place[i] = -1;
  if (st.code == DHC_OK) st = add_scalars(p, im);
  if (st.code == DHC_OK) st = dhc_prog_enter_places(l);
  if (st.code != DHC_OK) {
    dhc_prog_unload(l);
    return st;
  }
  *out = l;
  return st;
}

/* ---- binding ------------------------------------------------------------------------------ */

static void forget_oldest(DhcLoaded *l) {
  Binding **link = &l->bindings;
  for (int n = 0; *link; n++) {
    Binding *b = *link;
    if (n < MAX_BINDINGS) {
      link = &b->next;
      continue;
    }
    *link = b->next;
    forget(l, b);
  }
}

static dhc_status bind(DhcLoaded *l, const int64_t *symbols, Binding **out) {
  size_t bytes = sizeof *symbols * (size_t)l->image->plan.n_symbols;
  for (Binding **link = &l->bindings; *link; link = &(*link)->next) {
    Binding *b = *link;
    if (memcmp(b->symbols, symbols, bytes)) continue;
    *link = b->next;
    b->next = l->bindings;
    *out = l->bindings = b;
    return dhc_status_ok();
  }
  Binding *b = calloc(1, sizeof *b);
  int64_t *copy = malloc(bytes + 8);
  if (!b || !copy) {
    free(b);
    free(copy);
    return dhc_status_memory((long long)sizeof *b, "a binding");
  }
  memcpy(copy, symbols, bytes);
  b->symbols = copy;
  dhc_status st = dhc_plan_bind_at(&l->image->plan, l->kernels, symbols, l->p->workers, l->place, &b->bound);
  if (st.code != DHC_OK) {
    free(copy);
    free(b);
    return st;
  }
  dhc_bound_lanes(b->bound, l->p->lanes);
  b->next = l->bindings;
  *out = l->bindings = b;
  forget_oldest(l);
  return st;
}

/* ---- running ---------------------------------------------------------------------------------- */

static DhcDevicePtr buffer_at(const Binding *b, const DhcLoaded *l, int32_t buffer) {
  return b->base[l->image->plan.buffers[buffer].segment] + (uint64_t)dhc_bound_buffer_offset(b->bound, buffer);
}

dhc_status dhc_prog_put_scalars(const DhcLoaded *l) {
  DhcProg *p = l->p;
  const dhc_image *im = l->image;
  char block[SCALAR_BYTES * DHC_PROG_MAX_SCALARS] = {0};
  bool any = false;
  for (int32_t i = 0; i < im->n_params; i++) {
    const dhc_image_tensor *t = &im->tensors[i];
    if (t->role != DHC_IMAGE_SCALAR || t->buffer < 0) continue;
    int64_t at = l->place[t->buffer];
    dhc_tensor_convert(block + at, t->dtype, &p->scalars[at / SCALAR_BYTES], DHC_F64, 1);
    any = true;
  }
  int64_t n = SCALAR_BYTES * p->n_scalars;
  if (!any || (p->n_sent == n && !memcmp(p->sent, block, (size_t)n))) return dhc_status_ok(); /* entries that run mostly read constants */
  p->n_sent = -1;
  DHC_TRY(p->device->ops->upload(p->device, p->segment[DHC_SEGMENT_SCALARS], block, n));
  memcpy(p->sent, block, (size_t)n);
  p->n_sent = n;
  return dhc_status_ok();
}

static dhc_status put_input(DhcDevice *d, DhcDevicePtr at, const dhc_image_tensor *t, const DhcTensorView *in, int64_t n) {
  if (!in) return dhc_device_set(d, at, t->dtype, t->absent == DHC_ABSENT_ONES ? 1 : 0, n);
  if (in->device && in->dtype == t->dtype) return d->ops->copy(d, at, in->device, n * dhc_tensor_dtype_bytes(t->dtype));
  return dhc_device_put(d, at, t->dtype, in->data, in->dtype, n);
}

static dhc_status put_inputs(const DhcLoaded *l, const Binding *b, const DhcTensorView *const *in) {
  DhcDevice *d = l->p->device;
  for (int32_t i = 0; i < l->image->n_params; i++) {
    const dhc_image_tensor *t = &l->image->tensors[i];
    if (t->buffer < 0 || t->role != DHC_IMAGE_INPUT || dhc_prog_is_lent(l, b, i, in[i])) continue;
    DhcDevicePtr at = buffer_at(b, l, t->buffer);
    int64_t n = dhc_bound_buffer_bytes(b->bound, t->buffer) / dhc_tensor_dtype_bytes(t->dtype);
    DHC_TRY(put_input(d, at, t, in[i], n));
  }
  return dhc_prog_put_scalars(l);
}

static bool writes_weights(const dhc_image *im) {
  return im->finite >= 0;
}

static void touch(DhcProg *p, int segment) {
  if (p->segment[segment] && p->device->ops->touch) p->device->ops->touch(p->device, p->segment[segment], p->held[segment]);
}

static dhc_status need_io(DhcLoaded *l, const Binding *b) {
  int64_t bytes = dhc_bound_segment_bytes(b->bound, DHC_SEGMENT_IO);
  DhcDevice *d = l->p->device;
  if (!l->apart) return need(l->p, DHC_SEGMENT_IO, bytes);
  if (l->io && bytes <= l->io_bytes) return dhc_status_ok();
  d->ops->free(d, l->io);
  l->io = 0;
  DHC_TRY(d->ops->alloc(d, bytes, &l->io));
  l->io_bytes = bytes;
  return dhc_status_ok();
}

/* Memory for all that the run shares with others; where each segment lies then. */
dhc_status dhc_prog_find_bases(DhcLoaded *l, Binding *b) {
  DhcProg *p = l->p;
  DHC_TRY(need(p, DHC_SEGMENT_WORK, dhc_bound_segment_bytes(b->bound, DHC_SEGMENT_WORK)));
  DHC_TRY(need_io(l, b));
  DHC_TRY(need(p, DHC_SCRATCH, dhc_bound_scratch_bytes(b->bound)));
  DhcDevicePtr base[DHC_N_SEGMENTS + 1];
  dhc_prog_settle(p, DHC_SEGMENT_MOMENTS);
  if (writes_weights(l->image)) touch(p, DHC_SEGMENT_MOMENTS);
  touch(p, DHC_SEGMENT_WORK);
  memcpy(base, p->segment, sizeof base);
  base[DHC_SEGMENT_WEIGHTS] = dhc_prog_range(p, p->weights);
  base[DHC_SEGMENT_PANELS] = l->panels ? l->panels->at : 0;
  if (l->apart) base[DHC_SEGMENT_IO] = l->io;
  if (memcmp(base, b->base, sizeof base)) forget_prepared(l, b);
  memcpy(b->base, base, sizeof base);
  return dhc_status_ok();
}

static dhc_status run(DhcLoaded *l, Binding *b, const DhcItemHook *hook) {
  DhcDevice *d = l->p->device;
  const DhcDevicePtr *base = dhc_prog_bases(b);
  if (d->ops->prepare && !hook && !b->prepared && !b->declined) {
    DHC_TRY(dhc_bound_prepare(b->bound, d, base, base[DHC_SCRATCH], &b->prepared));
    b->declined = !b->prepared;
  }
  if (b->prepared && !hook) return d->ops->replay(d, b->prepared);
  return dhc_bound_run(b->bound, d, base, base[DHC_SCRATCH], hook);
}

dhc_status dhc_prog_bind(DhcLoaded *l, const int64_t *symbols) {
  Binding *b;
  if (l->places != l->p->places) { /* states have moved, which no earlier binding knows */
    forget_bindings(l);
    DHC_TRY(dhc_prog_enter_places(l));
  }
  return bind(l, symbols, &b);
}

void dhc_prog_set_apart(DhcLoaded *l) {
  l->apart = true;
}

void dhc_prog_meanwhile(DhcProg *p, void (*fn)(void *ctx), void *ctx) {
  p->meanwhile = fn;
  p->meanwhile_ctx = ctx;
}

dhc_status dhc_prog_start(DhcLoaded *l, const DhcTensorView *const *in, const int64_t *symbols, const DhcItemHook *hook) {
  DhcProg *p = l->p;
  DHC_TRY(dhc_prog_bind(l, symbols));
  Binding *b = l->bindings;
  DHC_TRY(dhc_prog_find_bases(l, b));
  DHC_TRY(dhc_prog_pack(l, b));
  bool moved;
  DHC_TRY(dhc_prog_lend(l, b, in, &moved));
  if (moved) forget_prepared(l, b);
  DHC_TRY(put_inputs(l, b, in));
  if (writes_weights(l->image)) dhc_prog_changed(p, true);
  return run(l, b, hook);
}

dhc_status dhc_prog_run(DhcLoaded *l, const DhcTensorView *const *in, const int64_t *symbols, const DhcItemHook *hook) {
  DhcProg *p = l->p;
  DHC_TRY(dhc_prog_start(l, in, symbols, hook));
  void (*meanwhile)(void *ctx) = p->meanwhile;
  p->meanwhile = NULL;
  if (meanwhile) meanwhile(p->meanwhile_ctx);
  return p->device->ops->synchronise(p->device);
}

dhc_status dhc_prog_result(const DhcLoaded *l, int32_t i, DhcTensorView *out, DhcDevicePtr *at) {
  const dhc_image *im = l->image;
  const Binding *b = l->bindings;
  int32_t tensor = im->n_params + i;
  const dhc_image_tensor *t = &im->tensors[tensor];
  *out = (DhcTensorView){.name = t->name, .dtype = t->dtype, .rank = t->rank};
  if (!b || !dhc_image_shape(im, tensor, b->symbols, out->shape) ||
      !dhc_size_tensor(t->dtype, t->rank, out->shape, NULL, &out->bytes))
    return dhc_prog_unsized("result", t->name);
  *at = buffer_at(b, l, t->buffer);
  return dhc_status_ok();
}

int64_t dhc_prog_planned(const DhcLoaded *l, int segment) {
  if (!l->bindings) return 0;
  return segment == DHC_SCRATCH ? dhc_bound_scratch_bytes(l->bindings->bound) : dhc_bound_segment_bytes(l->bindings->bound, segment);
}
