/* What streaming entries keep from run to run: where the states lie, how they begin, files.
 *
 * Memory.recurrent holds the live states, one after the other in the order of their
 * declarations. A state's sizes are those of the run it began in. */
#include <stdlib.h>

#include "api/api.h"

enum { ALIGN = 64 };
static const char meta_model[] = "dhc.model";

/* Sizes a slot is to have; `in`: it is to be there. */
typedef struct Want {
  bool in;
  int64_t dim[DHC_MAX_RANK];
} Want;

dhc_dtype state_dtype(const Memory *mem, const DhcTensorDecl *d) {
  return dhc_dtype_is_float(d->type.dtype) && mem->float_bytes == 8 ? DHC_F64 : d->type.dtype;
}

static bool is_state(const Slot *s) {
  return s->decl->role == DHC_ROLE_STATE;
}

static bool bytes_of(const Memory *mem, const Slot *s, const int64_t *dim, int64_t *bytes) {
  *bytes = dhc_dtype_bytes(state_dtype(mem, s->decl));
  for (int i = 0; i < s->decl->type.rank; i++)
    if (__builtin_mul_overflow(*bytes, dim[i], bytes)) return false;
  return true;
}

static int64_t elements(const Slot *s) {
  int64_t n = 1;
  for (int i = 0; i < s->decl->type.rank; i++) n *= s->dim[i];
  return n;
}

/* ---- places ---------------------------------------------------------------------- */

static dhc_status find_places(const Memory *mem, const Want *want, int64_t *at, int64_t *total) {
  *total = 0;
  for (int i = 0; i < mem->place.n_slots; i++) {
    const Slot *s = &mem->place.slots[i];
    int64_t bytes;
    at[i] = *total;
    if (!is_state(s) || (!s->live && !want[i].in)) continue;
    if (!bytes_of(mem, s, want[i].in ? want[i].dim : s->dim, &bytes) || bytes > INT64_MAX / 2 - *total)
      return dhc_status_make(DHC_E_INPUT, "number of bytes of state '%s' does not fit in 63 bits", s->decl->path);
    *total += (bytes + ALIGN - 1) / ALIGN * ALIGN;
  }
  return dhc_status_ok();
}

/* Moves the live states to `at` in new memory of `total` bytes. */
static dhc_status move(dhc_program *p, const int64_t *at, int64_t total) {
  Memory *mem = &p->mem;
  if (total > mem->recurrent_bytes) DHC_TRY(budget_more(p, DHC_USE_STATE, total - mem->recurrent_bytes, "states"));
  char *to = dhc_aligned_alloc(total ? total : ALIGN);
  if (!to) return dhc_status_memory((long long)total, "states");
  for (int i = 0; i < mem->place.n_slots; i++) {
    Slot *s = &mem->place.slots[i];
    int64_t bytes;
    if (!is_state(s)) continue;
    if (s->live && bytes_of(mem, s, s->dim, &bytes)) memcpy(to + at[i], (char *)mem->recurrent + s->offset, (size_t)bytes);
    s->offset = at[i];
  }
  dhc_aligned_free(mem->recurrent);
  mem->recurrent = to;
  mem->recurrent_bytes = total;
  mem->layout++;
  return dhc_status_ok();
}

/* Room for live and wanted states; the wanted ones become live with whatever was there. */
static dhc_status arrange(dhc_program *p, const Want *want) {
  Memory *mem = &p->mem;
  int64_t *at = calloc((size_t)mem->place.n_slots + 1, sizeof *at), total;
  if (!at) return dhc_status_memory(0, "states");
  dhc_status st = find_places(mem, want, at, &total);
  bool same = total == mem->recurrent_bytes && mem->recurrent;
  for (int i = 0; i < mem->place.n_slots; i++)
    same = same && (!is_state(&mem->place.slots[i]) || mem->place.slots[i].offset == at[i]);
  if (st.code == DHC_OK && !same) st = move(p, at, total);
  for (int i = 0; st.code == DHC_OK && i < mem->place.n_slots; i++) {
    if (!want[i].in) continue;
    memcpy(mem->place.slots[i].dim, want[i].dim, sizeof want[i].dim);
    mem->place.slots[i].live = true;
  }
  free(at);
  return st;
}

static void *place_of(const Memory *mem, const Slot *s) {
  return (char *)mem->recurrent + s->offset;
}

/* ---- beginning ---------------------------------------------------------------------- */

static void fill(const Memory *mem, const Slot *s, double value) {
  dhc_dtype t = state_dtype(mem, s->decl);
  size_t each = (size_t)dhc_dtype_bytes(t);
  char one[8] = {0}, *to = place_of(mem, s);
  int64_t n = elements(s);
  dhc_tensor_convert(one, (int32_t)t, &value, DHC_F64, 1);
  for (int64_t i = 0; i < n; i++) memcpy(to + (size_t)i * each, one, each);
}

/* Initial values that are not one number everywhere: the reset form, run in float64. */
static dhc_status run_reset(dhc_program *p, const Version *v, const bool *begins) {
  const DhcFunc *f = v->reset;
  DhcArena a;
  dhc_arena_init(&a);
  const DhcArray **args = DHC_NEW_N(&a, const DhcArray *, f->params.n + 1);
  DhcArray **updated = DHC_NEW_N(&a, DhcArray *, f->params.n + 1);
  for (int i = 0; i < f->params.n; i++) {
    const DhcParamInfo *info = &f->param_info.at[i];
    const DhcType *t = &f->params.at[i]->type;
    DhcArray *x = dhc_array_new(&a, t->dtype, t->rank, info->role == DHC_ROLE_STATE ? p->mem.place.slots[info->decl].dim : NULL);
    if (info->role == DHC_ROLE_SCALAR) {
      const double *value = memory_scalar(&p->mem, info->name);
      if (value && x->f) x->f[0] = *value;
      if (value && !x->f) x->i[0] = dhc_dtype_from_double(t->dtype, *value);
    }
    args[i] = x;
  }
  bool ok = dhc_interp_run(&a, &p->m->s->diags, f, args, NULL, updated);
  for (int i = 0; ok && i < f->params.n; i++) {
    if (f->param_info.at[i].role != DHC_ROLE_STATE || !begins[f->param_info.at[i].decl]) continue;
    const Slot *s = &p->mem.place.slots[f->param_info.at[i].decl];
    const DhcArray *x = updated[i];
    const void *from = x->f ? (const void *)x->f : (const void *)x->i;
    dhc_tensor_convert(place_of(&p->mem, s), (int32_t)state_dtype(&p->mem, s->decl), from, x->f ? DHC_F64 : DHC_I64, x->n);
  }
  dhc_arena_fini(&a);
  return ok ? dhc_status_ok() : session_errors(p->m->s);
}

static dhc_status begin(dhc_program *p, const Version *v, const bool *begins) {
  bool other = false;
  for (const DhcNode *n = v->reset->first; n; n = n->next) {
    if (n->op != DHC_OP_UPDATE) continue;
    int decl = -1;
    for (int i = 0; i < v->reset->params.n; i++)
      if (v->reset->params.at[i] == n->args[0]) decl = v->reset->param_info.at[i].decl;
    if (decl < 0 || !begins[decl]) continue;
    if (n->args[1]->def->op == DHC_OP_FILL)
      fill(&p->mem, &p->mem.place.slots[decl], dhc_attr(n->args[1]->def, "value")->f);
    else
      other = true;
  }
  return other ? run_reset(p, v, begins) : dhc_status_ok();
}

static dhc_status wrong_size(const Slot *s, const int64_t *need) {
  char has[128], wants[128];
  int rank = s->decl->type.rank;
  return dhc_status_make(DHC_E_INPUT, "state '%s' is %s, these inputs need %s: reset before sizes change", s->decl->path,
                         dhc_tensor_shape_text(rank, s->dim, has, sizeof has), dhc_tensor_shape_text(rank, need, wants, sizeof wants));
}

/* Fills want with the states that begin in this run; *n counts them. */
static dhc_status find_new(dhc_program *p, const Version *v, const int64_t *symbols, Want *want, bool *begins, int *n) {
  const DhcFunc *f = v->func;
  for (int i = 0; i < f->params.n; i++) {
    const DhcParamInfo *info = &f->param_info.at[i];
    if (info->role != DHC_ROLE_STATE) continue;
    const Slot *s = &p->mem.place.slots[info->decl];
    Want *w = &want[info->decl];
    for (int d = 0; d < f->params.at[i]->type.rank; d++)
      if (!dhc_dim_eval(f->params.at[i]->type.dim[d], f->symbols.n, f->symbols.at, symbols, &w->dim[d]) || w->dim[d] < 1)
        return dhc_status_make(DHC_E_INPUT, "state '%s' has no size here", s->decl->path);
    if (s->live && memcmp(s->dim, w->dim, sizeof(int64_t) * (size_t)s->decl->type.rank)) return wrong_size(s, w->dim);
    if (s->live) continue;
    if (p->mem.from_file)
      return dhc_status_make(DHC_E_INPUT, "the loaded state has no '%s', which entry '%s' carries on", s->decl->path, v->entry);
    w->in = begins[info->decl] = true;
    ++*n;
  }
  return dhc_status_ok();
}

dhc_status state_prepare(dhc_program *p, const Version *v, const int64_t *symbols) {
  size_t n_slots = (size_t)p->mem.place.n_slots;
  Want *want = calloc(n_slots + 1, sizeof *want);
  bool *begins = calloc(n_slots + 1, sizeof *begins);
  int n = 0;
  dhc_status st = want && begins ? dhc_status_ok() : dhc_status_memory(0, "states");
  if (st.code == DHC_OK) st = find_new(p, v, symbols, want, begins, &n);
  if (st.code == DHC_OK && n) {
    st = arrange(p, want);
    if (st.code == DHC_OK) st = begin(p, v, begins);
    if (st.code != DHC_OK) dhc_program_reset(p);
  }
  free(want);
  free(begins);
  return st;
}

void dhc_program_reset(dhc_program *p) {
  if (!p) return;
  for (int i = 0; i < p->mem.place.n_slots; i++) p->mem.place.slots[i].live = false;
  p->mem.from_file = false;
}

/* ---- one state ---------------------------------------------------------------------- */

dhc_status state_get(dhc_program *p, Slot *s, dhc_tensor *t) {
  if (!s->live) return dhc_status_make(DHC_E_INPUT, "state '%s' holds nothing before the first run", s->decl->path);
  *t = (dhc_tensor){.name = s->decl->path, .dtype = state_dtype(&p->mem, s->decl), .rank = s->decl->type.rank,
                    .data = place_of(&p->mem, s)};
  memcpy(t->dim, s->dim, sizeof(int64_t) * (size_t)t->rank);
  return dhc_status_ok();
}

static dhc_status check_type(const Slot *s, dhc_dtype dtype, int rank, const int64_t *dim) {
  const DhcType *t = &s->decl->type;
  bool fits = rank == t->rank && dhc_dtype_is_float(dtype) == dhc_dtype_is_float(t->dtype);
  for (int i = 0; fits && i < rank; i++) {
    int64_t fixed;
    fits = dim[i] >= 1 && (!dhc_dim_is_const(t->dim[i], &fixed) || fixed == dim[i]);
  }
  if (fits) return dhc_status_ok();
  DhcArena a;
  char got[128];
  dhc_arena_init(&a);
  DhcText text = {.arena = &a};
  dhc_type_print(t, &text);
  dhc_status st = dhc_status_make(DHC_E_INPUT, "state '%s' is %s%s here, the model needs %s", s->decl->path, dhc_dtype_name(dtype),
                                  dhc_tensor_shape_text(rank, dim, got, sizeof got), dhc_text_str(&text));
  dhc_arena_fini(&a);
  return st;
}

static void put(dhc_program *p, const Slot *s, const void *from, dhc_dtype dtype) {
  dhc_tensor_convert(place_of(&p->mem, s), (int32_t)state_dtype(&p->mem, s->decl), from, (int32_t)dtype, elements(s));
}

dhc_status state_set(dhc_program *p, Slot *s, const dhc_tensor *t) {
  DHC_TRY(check_type(s, t->dtype, t->rank, t->dim));
  Want *want = calloc((size_t)p->mem.place.n_slots + 1, sizeof *want);
  if (!want) return dhc_status_memory(0, "states");
  Want *w = &want[s - p->mem.place.slots];
  w->in = true;
  memcpy(w->dim, t->dim, sizeof(int64_t) * (size_t)t->rank);
  s->live = false;
  dhc_status st = arrange(p, want);
  free(want);
  if (st.code == DHC_OK) put(p, s, t->data, t->dtype);
  return st;
}

/* ---- files ------------------------------------------------------------------------------ */

dhc_status api_program_save_state(dhc_program *p, const char *path) {
  NEED(p);
  NEED(path);
  DhcArena a;
  dhc_arena_init(&a);
  DhcTensorView *v = DHC_NEW_N(&a, DhcTensorView, p->mem.place.n_slots + 1);
  int n = 0;
  for (int i = 0; i < p->mem.place.n_slots; i++) {
    const Slot *s = &p->mem.place.slots[i];
    if (!is_state(s) || !s->live) continue;
    dhc_dtype t = state_dtype(&p->mem, s->decl);
    v[n] = (DhcTensorView){.name = s->decl->path, .dtype = (int32_t)t, .rank = s->decl->type.rank, .data = place_of(&p->mem, s)};
    v[n].bytes = elements(s) * dhc_dtype_bytes(t);
    memcpy(v[n++].shape, s->dim, sizeof(int64_t) * (size_t)s->decl->type.rank);
  }
  const DhcMetaPair meta = {meta_model, p->m->hash};
  dhc_status st = n ? dhc_safetensors_write(path, v, n, &meta, 1)
                    : dhc_status_make(DHC_E_INPUT, "there is no state to save: no streaming entry has run");
  dhc_arena_fini(&a);
  return st;
}

static dhc_status find_states(dhc_program *p, const DhcSafetensors *f, Want *want) {
  const char *path = dhc_safetensors_path(f), *model = dhc_safetensors_meta(f, meta_model);
  if (model && strcmp(model, p->m->hash))
    return dhc_status_file(path, "holds the state of another model than %s as it is set here", p->m->name);
  for (int k = 0; k < dhc_safetensors_count(f); k++) {
    const DhcTensorView *t = dhc_safetensors_at(f, k);
    int i = 0;
    while (i < p->mem.place.n_slots && (!is_state(&p->mem.place.slots[i]) || strcmp(p->mem.place.slots[i].decl->path, t->name))) i++;
    if (i == p->mem.place.n_slots) return dhc_status_file(path, "'%s' is no state of %s", t->name, p->m->name);
    DHC_TRY(check_type(&p->mem.place.slots[i], (dhc_dtype)t->dtype, t->rank, t->shape));
    want[i].in = true;
    memcpy(want[i].dim, t->shape, sizeof(int64_t) * (size_t)t->rank);
  }
  return dhc_status_ok();
}

dhc_status api_program_load_state(dhc_program *p, const char *path) {
  NEED(p);
  NEED(path);
  DhcSafetensors *f;
  DHC_TRY(dhc_safetensors_open(path, &f));
  for (int k = 0; k < dhc_safetensors_count(f); k++) dhc_state_of_call(p->m->module, dhc_safetensors_at(f, k)->name);
  placement_grow(&p->mem.place, p->m->module, &p->arena);
  Want *want = calloc((size_t)p->mem.place.n_slots + 1, sizeof *want);
  dhc_status st = want ? find_states(p, f, want) : dhc_status_memory(0, "states");
  if (st.code == DHC_OK) {
    dhc_program_reset(p);
    st = arrange(p, want);
  }
  for (int i = 0; st.code == DHC_OK && i < p->mem.place.n_slots; i++) {
    const Slot *s = &p->mem.place.slots[i];
    if (!want[i].in) continue;
    const DhcTensorView *t = dhc_safetensors_find(f, s->decl->path);
    put(p, s, t->data, (dhc_dtype)t->dtype);
  }
  if (st.code == DHC_OK) p->mem.from_file = true;
  free(want);
  dhc_safetensors_close(f);
  return st;
}
