/* How a program's tensors get their values: files, callers. */
#include <stdlib.h>

#include "api/api.h"
#include "backends/begin.h"

int program_range(const dhc_program *p, const char *name) {
  return dhc_prog_find_range(p->run, name);
}

/* ---- one tensor ------------------------------------------------------------------ */

typedef struct Place {
  DhcDevicePtr at;
  const dhc_slot *slot;
} Place;

static int find_slot(const dhc_program *p, const char *path) {
  const dhc_layout *l = dhc_prog_layout(p->run);
  for (int i = 0; i < l->n_slots; i++)
    if (!strcmp(l->slots[i].name, path)) return i;
  return -1;
}

int state_slot(const dhc_program *p, const char *path) {
  int i = find_slot(p, path);
  return i >= 0 && dhc_prog_layout(p->run)->slots[i].role == DHC_IMAGE_STATE ? i : -1;
}

/* Frozen weights lie behind what a range of moments is as long as on all ranks. */
static bool in_range(const dhc_layout *l, const dhc_slot *s, int range) {
  return range == DHC_WEIGHTS || s->role != DHC_IMAGE_WEIGHT || s->at / dhc_tensor_dtype_bytes(l->dtype) + s->n <= l->ranges[range].whole;
}

static bool is_share(const dhc_range *r) { return r->n != r->whole; }

/* "PATH", or "MOMENT:PATH" with MOMENT what an optimiser keeps or "ema". */
static dhc_status find_place(dhc_program *p, const char *name, Place *out) {
  const char *colon = strchr(name, ':'), *path = colon ? colon + 1 : name;
  int range = DHC_WEIGHTS;
  if (colon) {
    char state[64];
    snprintf(state, sizeof state, "%.*s", (int)(colon - name), name);
    range = program_range(p, state);
    if (range < 0 || !dhc_prog_layout(p->run)->ranges[range].like_weights)
      return dhc_status_make(DHC_E_INPUT, "no moments '%s' here", state);
  }
  int i = find_slot(p, path);
  const dhc_slot *s = i < 0 ? NULL : &dhc_prog_layout(p->run)->slots[i];
  if (!s || (colon && s->role != DHC_IMAGE_WEIGHT) || !in_range(dhc_prog_layout(p->run), s, range)) return dhc_status_make(DHC_E_INPUT, "the model has no tensor '%s'", path);
  *out = (Place){dhc_prog_slot(p->run, i, range), s};
  return dhc_status_ok();
}

static void shape_of(const dhc_slot *s, dhc_tensor *t) {
  t->rank = s->rank;
  for (int i = 0; i < t->rank; i++) t->dim[i] = s->dim[i] < 0 ? 0 : s->dim[i];
}

static dhc_status check_shape(const dhc_tensor *t, const dhc_slot *s) {
  dhc_tensor want = {0};
  shape_of(s, &want);
  bool same = t->rank == want.rank;
  for (int i = 0; same && i < want.rank; i++) same = t->dim[i] == want.dim[i];
  if (same) return dhc_status_ok();
  char got[128], need[128];
  return dhc_status_make(DHC_E_INPUT, "tensor '%s' is %s, the model needs %s", t->name,
                         dhc_tensor_shape_text(t->rank, t->dim, got, sizeof got),
                         dhc_tensor_shape_text(want.rank, want.dim, need, sizeof need));
}

dhc_status api_program_set(dhc_program *p, const dhc_tensor *t) {
  NEED(p);
  NEED(t);
  DHC_TRY(args_tensor(t));
  int state = state_slot(p, t->name);
  if (state >= 0) return state_set(p, state, t);
  DHC_TRY(program_owns(p, "writing a tensor"));
  Place at;
  DHC_TRY(find_place(p, t->name, &at));
  DHC_TRY(check_shape(t, at.slot));
  dhc_prog_changed(p->run, true);
  return dhc_device_put(dhc_prog_device(p->run), at.at, at.slot->dtype, t->data, (int32_t)t->dtype, at.slot->n);
}

dhc_status api_program_get(dhc_program *p, const char *path, dhc_tensor *t) {
  NEED(p);
  NEED(path);
  NEED(t);
  int state = state_slot(p, path);
  if (state >= 0) return state_get(p, state, t);
  Place at;
  DHC_TRY(find_place(p, path, &at));
  t->name = path;
  t->dtype = (dhc_dtype)at.slot->dtype;
  shape_of(at.slot, t);
  dhc_prog_changed(p->run, true); /* the caller may write there, where it is no copy */
  return exec_host(p, at.at, dhc_tensor_bytes(t), &t->data);
}

dhc_status api_program_set_scalar(dhc_program *p, const char *name, double v) {
  NEED(p);
  NEED(name);
  double *s = program_scalar(p, dhc_intern(&p->m->s->strings, name));
  if (!s) return dhc_status_make(DHC_E_USAGE, "more than %d scalars", DHC_PROG_MAX_SCALARS);
  *s = v;
  return dhc_status_ok();
}

/* ---- first values ------------------------------------------------------------------ */

DhcBeginner program_beginner(dhc_program *p) {
  dhc_session *s = p->m->s;
  return (DhcBeginner){{&s->arena, &s->strings, &s->diags}, dhc_pool_exec(s->pool)};
}

dhc_status weights_begin(dhc_program *p, bool tables_only) {
  DhcBeginner b = program_beginner(p);
  int before = p->m->s->diags.n_errors;
  dhc_status st = dhc_begin_slots(&b, p->run, tables_only);
  return st.code != DHC_OK && p->m->s->diags.n_errors > before ? session_errors(p->m->s) : st;
}

dhc_status api_program_init(dhc_program *p, uint64_t seed) {
  NEED(p);
  DHC_TRY(program_owns(p, "initialising weights"));
  DHC_TRY(dhc_program_set_scalar(p, DHC_NAME_SEED, (double)seed));
  dhc_status st = weights_begin(p, false);
  dhc_program_reset(p);
  return st.code == DHC_OK ? dhc_prog_begin_ranges(p->run) : st;
}

/* ---- files ---------------------------------------------------------------------------- */

/* The name of a piece: of a part at index `i` of the leading axis. */
static void piece_name(const DhcNamePart *q, int64_t i, const char *prefix, char *to, size_t n) {
  const int head = (int)strcspn(q->name, "*\t\n");
  if (q->name[head] == '*') snprintf(to, n, "%s%.*s%lld%.*s", prefix, head, q->name, (long long)i, q->length - head - 1, q->name + head + 1);
  else snprintf(to, n, "%s%.*s", prefix, q->length, q->name);
}

bool weights_next(WeightsWalk *w, DhcTensorView *out) {
  const dhc_layout *l = dhc_prog_layout(w->p->run);
  const DhcModule *m = w->p->m->module;
  for (; w->slot < l->n_slots; w->slot++, w->piece = 0) {
    const dhc_slot *s = &l->slots[w->slot];
    if (s->role != DHC_IMAGE_WEIGHT && !(w->buffers && s->role == DHC_IMAGE_BUFFER)) continue;
    if (!in_range(l, s, w->range)) continue;
    if (w->range >= 0 && l->ranges[w->range].like_weights && !l->ranges[w->range].from_weights && !dhc_weight_keeps(m, &m->tensors.at[w->slot], l->ranges[w->range].name)) continue;
    const char *names = s->file ? s->file : s->name;
    const DhcNameParts p = dhc_name_parts(names);
    const int64_t stacked = p.star ? s->dim[0] : 1, extent = s->rank > p.star ? s->dim[p.star] : 1;
    if (w->piece >= stacked * p.n) continue;
    const int64_t each = s->n / stacked, row = extent ? each / extent : 0, index = w->piece / p.n;
    const DhcNamePart q = dhc_name_part(names, (int)(w->piece % p.n), extent);
    piece_name(&q, index, w->prefix, w->name, sizeof w->name);
    *out = (DhcTensorView){.name = w->name, .dtype = s->dtype, .rank = s->rank - p.star};
    const int64_t size = dhc_tensor_dtype_bytes(s->dtype);
    out->bytes = q.n * row * size;
    for (int i = 0; i < out->rank; i++) out->shape[i] = s->dim[i + p.star];
    if (p.n > 1) out->shape[0] = q.n;
    const int64_t within = (index * each + q.begin * row) * size;
    w->offset = s->at + within;
    w->at = dhc_prog_slot(w->p->run, w->slot, w->range) + (uint64_t)within;
    w->piece++;
    return true;
  }
  return false;
}

dhc_status weights_read(dhc_program *p, const DhcSafetensors *file, const char *prefix, int range, bool partial, bool buffers) {
  WeightsWalk w = {.p = p, .prefix = prefix, .range = range, .buffers = buffers};
  DhcTensorView to;
  dhc_prog_changed(p->run, range != DHC_WEIGHTS);
  while (weights_next(&w, &to)) {
    const DhcTensorView *from;
    if (partial && !dhc_safetensors_find(file, to.name)) continue;
    DHC_TRY(dhc_safetensors_need(file, to.name, -1, to.rank, to.shape, &from));
    DHC_TRY(dhc_device_put(dhc_prog_device(p->run), w.at, to.dtype, from->data, from->dtype,
                           to.bytes / dhc_tensor_dtype_bytes(to.dtype)));
  }
  return dhc_status_ok();
}

/* Bytes of the device's as the host may keep them until the next run. */
static dhc_status host_bytes(dhc_program *p, DhcDevicePtr at, int64_t bytes, DhcArena *arena, const void **out) {
  DhcDevice *d = dhc_prog_device(p->run);
  if ((*out = d->ops->view(d, at, bytes))) return dhc_status_ok();
  void *copy = dhc_arena_alloc(arena, (size_t)bytes + 8);
  *out = copy;
  return d->ops->download(d, copy, at, bytes);
}

/* whole: where all of the range is on the host; NULL: it is on the device. */
static dhc_status views(dhc_program *p, const char *prefix, int range, bool buffers, const char *whole, DhcArena *arena, DhcTensorView **out, int *n) {
  WeightsWalk count = {.p = p, .prefix = prefix, .range = range, .buffers = buffers}, w = count;
  DhcTensorView v;
  *n = 0;
  while (weights_next(&count, &v)) ++*n;
  *out = DHC_NEW_N(arena, DhcTensorView, *n + 1);
  for (int i = 0; weights_next(&w, &v); i++) {
    v.name = dhc_arena_strdup(arena, v.name);
    if (whole) v.data = whole + w.offset;
    else DHC_TRY(host_bytes(p, w.at, v.bytes, arena, &v.data));
    (*out)[i] = v;
  }
  return dhc_status_ok();
}

dhc_status weights_views(dhc_program *p, const char *prefix, int range, bool buffers, DhcArena *arena, DhcTensorView **out, int *n) {
  return views(p, prefix, range, buffers, NULL, arena, out, n);
}

/* ---- checkpoints ------------------------------------------------------------------------ */

/* Sums of a step that is not done mean nothing behind it. */
static bool of_parts(const dhc_range *r) { return !strcmp(r->name, DHC_RANGE_SUM) || !strcmp(r->name, DHC_RANGE_MORE); }

/* A range that is not like the weights ("begun"), as one tensor. */
static DhcTensorView flat_range(const dhc_range *r, DhcArena *arena) {
  return (DhcTensorView){.name = dhc_arena_printf(arena, DHC_CHECKPOINT_MOMENTS "$%s", r->name), .dtype = r->dtype, .rank = 1, .shape = {r->n},
                         .bytes = r->n * dhc_tensor_dtype_bytes(r->dtype)};
}

static const char *range_prefix(const dhc_range *r, DhcArena *arena) {
  return dhc_arena_printf(arena, DHC_CHECKPOINT_MOMENTS "%s.", r->name);
}

dhc_status weights_all(dhc_program *p, void *const *whole, DhcArena *arena, DhcTensorView **out, int *n) {
  const dhc_layout *l = dhc_prog_layout(p->run);
  DhcTensorView **part = DHC_NEW_N(arena, DhcTensorView *, l->n_ranges + 2);
  int *count = DHC_NEW_N(arena, int, l->n_ranges + 2), all = 0, k = 0;
  DHC_TRY(weights_views(p, "", DHC_WEIGHTS, true, arena, &part[k], &count[k]));
  for (int flat = 0; flat < 2; flat++) /* those like the weights first */
    for (int i = 0; i < l->n_ranges; i++) {
      const dhc_range *r = &l->ranges[i];
      if (r->like_weights == flat || of_parts(r)) continue;
      k++;
      if (!flat) {
        DHC_TRY(views(p, range_prefix(r, arena), i, false, is_share(r) ? whole[i] : NULL, arena, &part[k], &count[k]));
        continue;
      }
      part[k] = DHC_NEW(arena, DhcTensorView);
      *part[k] = flat_range(r, arena);
      count[k] = 1;
      DHC_TRY(host_bytes(p, dhc_prog_range(p->run, i), part[k]->bytes, arena, &part[k]->data));
    }
  for (int i = 0; i <= k; i++) all += count[i];
  *out = DHC_NEW_N(arena, DhcTensorView, all + 1);
  *n = 0;
  for (int i = 0; i <= k; *n += count[i++]) memcpy(*out + *n, part[i], sizeof **out * (size_t)count[i]);
  return dhc_status_ok();
}

static dhc_status read_range(dhc_program *p, const DhcSafetensors *file, int i, DhcArena *scratch) {
  const dhc_range *r = &dhc_prog_layout(p->run)->ranges[i];
  if (r->like_weights) return weights_read(p, file, range_prefix(r, scratch), i, false, false);
  const DhcTensorView *from;
  DhcTensorView to = flat_range(r, scratch);
  DHC_TRY(dhc_safetensors_need(file, to.name, -1, 1, to.shape, &from));
  dhc_prog_changed(p->run, true);
  return dhc_device_put(dhc_prog_device(p->run), dhc_prog_range(p->run, i), to.dtype, from->data, from->dtype, r->n);
}

dhc_status weights_read_range(dhc_program *p, const DhcSafetensors *file, int i) {
  DhcArena scratch;
  if (of_parts(&dhc_prog_layout(p->run)->ranges[i])) return dhc_status_ok();
  dhc_arena_init(&scratch);
  dhc_status st = read_range(p, file, i, &scratch);
  dhc_arena_fini(&scratch);
  return st;
}

dhc_status weights_read_whole(dhc_program *p, const DhcSafetensors *file, int i, void **out) {
  const dhc_range *r = &dhc_prog_layout(p->run)->ranges[i];
  const int64_t bytes = r->whole * dhc_tensor_dtype_bytes(r->dtype);
  char *all = *out = malloc((size_t)bytes + 8);
  if (!all) return dhc_status_memory(bytes, "a moment");
  char prefix[96];
  snprintf(prefix, sizeof prefix, DHC_CHECKPOINT_MOMENTS "%.60s.", r->name);
  WeightsWalk w = {.p = p, .prefix = prefix, .range = i};
  DhcTensorView to;
  while (weights_next(&w, &to)) {
    const DhcTensorView *from;
    DHC_TRY(dhc_safetensors_need(file, to.name, -1, to.rank, to.shape, &from));
    dhc_tensor_convert(all + w.offset, to.dtype, from->data, from->dtype, to.bytes / dhc_tensor_dtype_bytes(to.dtype));
  }
  return dhc_status_ok();
}

dhc_status api_program_load(dhc_program *p, const char *path, bool partial) {
  NEED(p);
  NEED(path);
  DHC_TRY(program_owns(p, "loading weights"));
  DhcSafetensors *file;
  DHC_TRY(dhc_safetensors_open_weights(path, &file));
  dhc_status st = weights_read(p, file, "", DHC_WEIGHTS, partial, true);
  if (st.code == DHC_OK) st = weights_unused(p, file);
  dhc_safetensors_close(file);
  return st.code == DHC_OK ? weights_begin(p, true) : st;
}

dhc_status api_program_save(dhc_program *p, const char *path, bool ema) {
  NEED(p);
  NEED(path);
  int range = ema ? program_range(p, DHC_RANGE_EMA) : DHC_WEIGHTS, n;
  if (range < DHC_WEIGHTS) return dhc_status_make(DHC_E_INPUT, "no averaged weights here (the recipe has no ema)");
  DhcArena a;
  dhc_arena_init(&a);
  DhcTensorView *v;
  DhcMetaPair meta[] = {{"format", "dhcc"}, {"model", p->m->name}, {"model_hash", p->m->hash}};
  dhc_status st = weights_views(p, "", range, true, &a, &v, &n);
  if (st.code == DHC_OK) st = dhc_safetensors_write(path, v, n, meta, 3);
  dhc_arena_fini(&a);
  return st;
}
