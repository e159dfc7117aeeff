/* Weights of one variant as a beginning for another: what has the same name and stands for the same.
 *
 * Names alone do not tell that a layer is of another kind: the mixers of a stack have each a tensor
 * "layers.3.main_layer.out_proj.weight". So the tensors of a part (below "layers.3.main_layer"; of what has no number,
 * below its layer) are compared as a set: where neither the file's names contain the model's nor the model's the file's,
 * the part is another layer, and nothing of it is taken. */

#include "api/api.h"
#include "runtime/formats/safetensors.h"

typedef struct Transplant {
  dhc_program *p;
  const DhcSafetensors *file;
  DhcArena arena;
  DHC_VEC(const char *) names; /* the model's */
  void (*row)(void *ctx, dhc_transplant_kind kind, const char *name, const char *why);
  void *ctx;
} Transplant;

/* Length of the part that a tensor belongs to, with the point behind it; 0: it has none. */
static size_t part_of(const char *name) {
  size_t last = 0;
  for (const char *at = name; *at; at += strcspn(at, "."), at += *at == '.') {
    size_t n = strcspn(at, ".");
    if (at[n]) last = (size_t)(at - name) + n + 1;
    if (n != strspn(at, "0123456789") || !at[n]) continue;
    const char *next = at + n + 1;
    size_t more = strcspn(next, ".");
    return next[more] ? (size_t)(next - name) + more + 1 : (size_t)(next - name);
  }
  return last;
}

static bool starts(const char *name, const char *part, size_t n) {
  return !strncmp(name, part, n);
}

/* Whether the file has every tensor that the model has there, or the other way round. */
static bool same_kind(const Transplant *t, const char *name) {
  size_t n = part_of(name);
  bool model_in_file = true, file_in_model = true;
  for (int i = 0; i < t->names.n; i++)
    if (starts(t->names.at[i], name, n)) model_in_file = model_in_file && dhc_safetensors_find(t->file, t->names.at[i]);
  if (model_in_file) return true;
  for (int32_t i = 0; i < dhc_safetensors_count(t->file); i++) {
    const char *there = dhc_safetensors_at(t->file, i)->name;
    if (!starts(there, name, n)) continue;
    bool known = false;
    for (int k = 0; k < t->names.n && !known; k++) known = !strcmp(t->names.at[k], there);
    file_in_model = file_in_model && known;
  }
  return file_in_model;
}

/* What both shapes have in common, row by row, into `to`. */
static void copy_common(const DhcTensorView *from, const DhcTensorView *to, uint8_t *out) {
  int64_t common[8], index[8] = {0}, from_bytes = dhc_tensor_dtype_bytes(from->dtype), to_bytes = dhc_tensor_dtype_bytes(to->dtype);
  int last = to->rank - 1;
  for (int d = 0; d <= last; d++) common[d] = from->shape[d] < to->shape[d] ? from->shape[d] : to->shape[d];
  for (;;) {
    int64_t f = 0, o = 0;
    for (int d = 0; d <= last; d++) {
      f = f * from->shape[d] + index[d];
      o = o * to->shape[d] + index[d];
    }
    dhc_tensor_convert(out + o * to_bytes, to->dtype, (const uint8_t *)from->data + f * from_bytes, from->dtype, common[last]);
    int d = last - 1;
    while (d >= 0 && ++index[d] == common[d]) index[d--] = 0;
    if (d < 0) return;
  }
}

static void drop_bytes(void *p) {
  dhc_aligned_free(p);
}

/* Over the values that are there. */
static dhc_status put_common(const Transplant *t, const DhcTensorView *from, const DhcTensorView *to, DhcDevicePtr at) {
  DhcDevice *d = dhc_prog_device(t->p->run);
  uint8_t *all = dhc_aligned_alloc(to->bytes);
  if (!all) return dhc_status_memory((long long)to->bytes, "a tensor");
  DhcHeld held;
  dhc_hold(&held, drop_bytes, all);
  int64_t n = to->bytes / dhc_tensor_dtype_bytes(to->dtype);
  dhc_status st = dhc_device_get(d, at, to->dtype, all, to->dtype, n);
  if (st.code == DHC_OK) {
    copy_common(from, to, all);
    st = dhc_device_put(d, at, to->dtype, all, to->dtype, n);
  }
  dhc_release(&held);
  dhc_aligned_free(all);
  return st;
}

static dhc_status say(const Transplant *t, dhc_transplant_kind kind, const char *name, const char *why) {
  if (t->row) t->row(t->ctx, kind, name, why);
  return dhc_status_ok();
}

static dhc_status one(Transplant *t, const WeightsWalk *w, const DhcTensorView *to) {
  const DhcTensorView *from = dhc_safetensors_find(t->file, to->name);
  if (!from) return say(t, DHC_FRESH, to->name, "not in the file");
  if (!same_kind(t, to->name)) return say(t, DHC_FRESH, to->name, "the layer there is of another kind");
  DHC_TRY(dhc_safetensors_readable(t->file, from));
  int64_t n = to->bytes / dhc_tensor_dtype_bytes(to->dtype), n_from = 1;
  bool same = from->rank == to->rank;
  for (int i = 0; i < from->rank; i++) n_from *= from->shape[i];
  for (int i = 0; same && i < to->rank; i++) same = from->shape[i] == to->shape[i];
  char was[128], is[128];
  const char *shapes = dhc_arena_printf(&t->arena, "%s -> %s", dhc_tensor_shape_text(from->rank, from->shape, was, sizeof was),
                                        dhc_tensor_shape_text(to->rank, to->shape, is, sizeof is));
  if (n_from == n) {
    DHC_TRY(dhc_device_put(dhc_prog_device(t->p->run), w->at, to->dtype, from->data, from->dtype, n));
    return say(t, same ? DHC_KEPT : DHC_RESHAPED, to->name, same ? "" : shapes);
  }
  if (from->rank != to->rank || !to->rank || !n_from) return say(t, DHC_FRESH, to->name, shapes);
  DHC_TRY(put_common(t, from, to, w->at));
  return say(t, DHC_RESHAPED, to->name, shapes);
}

static dhc_status all(Transplant *t) {
  WeightsWalk w = {.p = t->p, .prefix = "", .range = DHC_WEIGHTS, .buffers = true}, again = w;
  DhcTensorView to;
  while (weights_next(&w, &to)) DHC_PUSH(&t->arena, &t->names, dhc_arena_strdup(&t->arena, to.name));
  dhc_prog_changed(t->p->run, false);
  while (weights_next(&again, &to)) DHC_TRY(one(t, &again, &to));
  return dhc_status_ok();
}

dhc_status weights_openable(const char *path) {
  DhcSafetensors *file;
  DHC_TRY(dhc_safetensors_open_weights(path, &file));
  dhc_safetensors_close(file);
  return dhc_status_ok();
}

dhc_status api_program_transplant(dhc_program *p, const char *path,
                                  void (*row)(void *ctx, dhc_transplant_kind kind, const char *name, const char *why), void *ctx) {
  NEED(p);
  NEED(path);
  DHC_TRY(program_owns(p, "loading weights"));
  DhcSafetensors *file;
  DHC_TRY(dhc_safetensors_open_weights(path, &file));
  Transplant t = {.p = p, .file = file, .row = row, .ctx = ctx};
  dhc_arena_init(&t.arena);
  dhc_status st = all(&t);
  dhc_arena_fini(&t.arena);
  dhc_safetensors_close(file);
  return st;
}
