/* A compiled entry in a program's memory: loading, running, results for the host, profiles. */
#include <stdlib.h>

#include "api/api.h"

dhc_status exec_load(dhc_program *p, Version *v) {
  return v->loaded ? dhc_status_ok() : dhc_prog_load(p->run, v->image, &v->loaded);
}

/* ---- what the host sees ------------------------------------------------------------- */

dhc_status exec_host(dhc_program *p, DhcDevicePtr at, int64_t bytes, void **out) {
  DhcDevice *d = dhc_prog_device(p->run);
  if ((*out = d->ops->view(d, at, bytes))) return dhc_status_ok();
  HostCopy *c = p->copies;
  while (c && (c->of != at || c->bytes < bytes)) c = c->next;
  if (!c) {
    c = DHC_NEW(&p->arena, HostCopy);
    *c = (HostCopy){at, dhc_aligned_alloc(bytes), bytes, p->copies};
    if (!c->at) return dhc_status_memory((long long)bytes, "a copy of a tensor");
    p->copies = c;
  }
  *out = c->at;
  return d->ops->download(d, c->at, at, bytes);
}

enum { MOST_BEHIND = 16 << 20 }; /* memory that a device reaches is taken from all others: large results come the slow way */

static bool comes_behind(const DhcDevice *d, int64_t bytes) {
  return d->ops->behind && bytes <= MOST_BEHIND;
}

static void free_copy(DhcDevice *d, void *copy, int64_t bytes) {
  if (comes_behind(d, bytes)) d->ops->host_free(d, copy);
  else dhc_aligned_free(copy);
}

static dhc_status new_copy(DhcDevice *d, int64_t bytes, void **out) {
  if (comes_behind(d, bytes)) return d->ops->host_alloc(d, bytes, out);
  *out = dhc_aligned_alloc(bytes);
  return *out ? dhc_status_ok() : dhc_status_memory((long long)bytes, "results");
}

/* There once the device has been synchronised. */
static dhc_status result_data(dhc_program *p, Version *v, int i, DhcDevicePtr at, int64_t bytes, void **out) {
  DhcDevice *d = dhc_prog_device(p->run);
  if ((*out = d->ops->view(d, at, bytes))) return dhc_status_ok();
  if (bytes > v->copy_bytes[i] || !v->copies[i]) {
    free_copy(d, v->copies[i], v->copy_bytes[i]);
    v->copies[i] = NULL;
    v->copy_bytes[i] = 0;
    DHC_TRY(new_copy(d, bytes, &v->copies[i]));
    v->copy_bytes[i] = bytes;
  }
  *out = v->copies[i];
  return comes_behind(d, bytes) ? d->ops->behind(d, *out, at, bytes) : d->ops->download(d, *out, at, bytes);
}

dhc_status exec_result(const Version *v, int i, dhc_tensor *t, int64_t *bytes, DhcDevicePtr *at) {
  DhcTensorView view;
  DHC_TRY(dhc_prog_result(v->loaded, i, &view, at));
  *t = (dhc_tensor){.name = view.name, .dtype = (dhc_dtype)view.dtype, .rank = view.rank};
  memcpy(t->dim, view.shape, sizeof *t->dim * (size_t)view.rank);
  *bytes = view.bytes;
  return dhc_status_ok();
}

dhc_status exec_results(dhc_program *p, Entry *e, Version *v) {
  int n = v->image->n_results;
  if (!v->results) {
    v->results = DHC_NEW_N(&p->arena, dhc_tensor, n + 1);
    v->copies = DHC_NEW_N(&p->arena, void *, n + 1);
    v->copy_bytes = DHC_NEW_N(&p->arena, int64_t, n + 1);
  }
  e->results = v->results;
  e->n_results = n - v->image->n_requires; /* those are the last */
  for (int i = 0; i < e->n_results; i++) {
    int64_t bytes;
    DhcDevicePtr at;
    DHC_TRY(exec_result(v, i, &v->results[i], &bytes, &at));
    DHC_TRY(result_data(p, v, i, at, bytes, &v->results[i].data));
  }
  DhcDevice *d = dhc_prog_device(p->run);
  return d->ops->behind ? d->ops->synchronise(d) : dhc_status_ok();
}

dhc_status exec_number(dhc_program *p, const Version *v, int result, double *out) {
  DhcTensorView view;
  DhcDevicePtr at;
  DHC_TRY(dhc_prog_result(v->loaded, result, &view, &at));
  return dhc_device_get(dhc_prog_device(p->run), at, view.dtype, out, DHC_F64, 1);
}

/* ---- profile ---------------------------------------------------------------- */

static void add_time(void *ctx, int32_t item, int64_t begin_ns, int64_t end_ns) {
  dhc_program *p = ctx;
  if (item >= p->n_profile) return;
  p->profile[item].ms += (double)(end_ns - begin_ns) * 1e-6;
  p->profile[item].runs++;
  if (p->n_events < p->room_events) p->events[p->n_events++] = (ProfileEvent){item, begin_ns, end_ns};
}

static double program_value(dhc_dimprog prog, const int64_t *env, int32_t n) {
  int64_t v;
  return dhc_dimprog_eval(prog, env, n, 0, &v) ? (double)v : 0;
}

/* What a call costs, at the kernel's arguments. */
static void set_cost(dhc_profile_row *row, const dhc_item *it, const Version *v, const int64_t *symbols, DhcArena *arena) {
  int64_t *dim = DHC_NEW_N(arena, int64_t, it->n_dims + 1);
  const dhc_kernel *k = &v->image->kernels[it->kernel];
  for (int i = 0; i < it->n_dims; i++)
    if (!dhc_dimprog_eval(it->dims[i], symbols, v->image->plan.n_symbols, 0, &dim[i])) return;
  row->flops = program_value(k->flops, dim, it->n_dims);
  row->bytes = program_value(k->bytes, dim, it->n_dims);
}

/* Rows for the plan's items, made when the program's first entry runs for the first time while it is on. */
static void name_rows(dhc_program *p, Version *v, const int64_t *symbols) {
  const dhc_plan *plan = &v->image->plan;
  if (p->profiled == v && p->n_profile == plan->n_items) return;
  p->profiled = v;
  p->n_profile = plan->n_items;
  p->profile = DHC_NEW_N(&p->arena, dhc_profile_row, plan->n_items + 1);
  for (int i = 0; i < plan->n_items; i++) {
    const dhc_item *it = &plan->items[i];
    static const char *const names[] = {[DHC_ITEM_CALL] = "", [DHC_ITEM_COPY] = "copy", [DHC_ITEM_FILL] = "fill", [DHC_ITEM_LOOP] = "loop", [DHC_ITEM_RANKS] = "ranks", [DHC_ITEM_JOIN] = "join"};
    dhc_profile_row *row = &p->profile[i];
    *row = (dhc_profile_row){.kernel = it->kind == DHC_ITEM_CALL ? v->image->kernels[it->kernel].name : names[it->kind],
                             .label = it->label ? it->label : ""};
    if (it->kind == DHC_ITEM_CALL) set_cost(row, it, v, symbols, &p->arena);
    else row->bytes = (it->kind == DHC_ITEM_COPY ? 2 : 1) * program_value(it->bytes, symbols, plan->n_symbols);
  }
}

static bool is_profiled(const dhc_program *p, const Version *v) {
  if (!p->profiling) return false;
  for (const Version *x = p->entries[0].versions; x; x = x->next)
    if (x == v) return true;
  return false;
}

void dhc_program_profile(dhc_program *p, bool on) {
  if (!p) return;
  p->profiling = on;
  if (on) p->n_profile = 0;
}

int dhc_program_profile_rows(const dhc_program *p) {
  return p ? p->n_profile : 0;
}

dhc_profile_row dhc_program_profile_row(const dhc_program *p, int i) {
  return i < 0 || i >= dhc_program_profile_rows(p) ? (dhc_profile_row){0} : p->profile[i];
}

/* ---- running ------------------------------------------------------------------ */

/* Before any of it is allocated. */
static dhc_status charge(dhc_program *p, const Version *v) {
  DhcCharge c = {{0}};
  c.bytes[DHC_USE_WORK] = dhc_prog_planned(v->loaded, DHC_SEGMENT_WORK);
  c.bytes[DHC_USE_IO] = dhc_prog_planned(v->loaded, DHC_SEGMENT_IO);
  c.bytes[DHC_USE_SCRATCH] = dhc_prog_planned(v->loaded, DHC_N_SEGMENTS);
  c.bytes[DHC_USE_PANELS] = dhc_prog_planned(v->loaded, DHC_SEGMENT_PANELS);
  return budget_run(p, v, &c, v->image->n_panels && !dhc_prog_packed(v->loaded));
}

dhc_status exec_bind(dhc_program *p, Version *v, const int64_t *symbols) {
  DHC_TRY(dhc_prog_bind(v->loaded, symbols));
  return charge(p, v);
}

static dhc_status bind_and_run(dhc_program *p, Version *v, const DhcTensorView *const *in, const int64_t *symbols,
                               dhc_status (*how)(DhcLoaded *, const DhcTensorView *const *, const int64_t *, const DhcItemHook *)) {
  DHC_TRY(exec_bind(p, v, symbols));
  bool profiled = is_profiled(p, v);
  if (profiled) name_rows(p, v, symbols);
  const DhcItemHook hook = {p, add_time};
  return how(v->loaded, in, symbols, profiled ? &hook : NULL);
}

dhc_status exec_run(dhc_program *p, Version *v, const DhcTensorView *const *in, const int64_t *symbols) {
  return bind_and_run(p, v, in, symbols, dhc_prog_run);
}

dhc_status exec_start(dhc_program *p, Version *v, const DhcTensorView *const *in, const int64_t *symbols) {
  return bind_and_run(p, v, in, symbols, dhc_prog_start);
}

void exec_unload(dhc_program *p, Version *v) {
  dhc_prog_unload(v->loaded);
  v->loaded = NULL;
  for (int i = 0; v->copies && i < v->image->n_results; i++) free_copy(dhc_prog_device(p->run), v->copies[i], v->copy_bytes[i]);
  v->copies = NULL;
}

void exec_close(dhc_program *p) {
  for (int i = 0; i < p->n_entries; i++)
    for (Version *v = p->entries[i].versions; v; v = v->next) {
      exec_unload(p, v);
      if (v->kept) dhc_image_free(v->image);
      v->image = NULL;
    }
  for (HostCopy *c = p->copies; c; c = c->next) dhc_aligned_free(c->at);
}

dhc_memory exec_memory(const dhc_program *p, const Version *v) {
  dhc_memory m = {0};
  if (!v->loaded) return m;
  const DhcProg *r = p->run;
  const int64_t scalars = dhc_prog_held(r, DHC_SEGMENT_SCALARS);
  m.weights = dhc_prog_held(r, DHC_SEGMENT_WEIGHTS) + dhc_prog_planned(v->loaded, DHC_SEGMENT_PANELS);
  m.optimizer = dhc_prog_held(r, DHC_SEGMENT_MOMENTS);
  m.state = dhc_prog_held(r, DHC_SEGMENT_BUFFERS) + dhc_prog_held(r, DHC_SEGMENT_STATES);
  m.work = dhc_prog_planned(v->loaded, DHC_SEGMENT_WORK);
  m.io = dhc_prog_planned(v->loaded, DHC_SEGMENT_IO);
  m.scratch = dhc_prog_planned(v->loaded, DHC_N_SEGMENTS);
  m.planned = m.weights + m.optimizer + m.state + m.work + m.io + m.scratch + scalars;
  m.allocated = m.weights + m.optimizer + m.state + dhc_prog_held(r, DHC_SEGMENT_WORK) + dhc_prog_held(r, DHC_SEGMENT_IO) +
                dhc_prog_held(r, DHC_N_SEGMENTS) + scalars;
  return m;
}
