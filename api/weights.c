/* Where a program's persistent tensors lie, and how they get their values:
 * initialisers, files, callers. */
#include <stdlib.h>

#include "api/api.h"

/* ---- placement ---------------------------------------------------------------- */

static int64_t decl_elements(DhcModule *m, const DhcTensorDecl *d) {
  int64_t n = 0;
  if (!dhc_dim_is_const(dhc_type_elements(m->dims, &d->type), &n)) return 0;
  return n;
}

Placement placement_make(DhcModule *m, DhcArena *arena) {
  Placement p = {.n_slots = m->tensors.n};
  p.slots = DHC_NEW_N(arena, Slot, p.n_slots + 1);
  for (int pass = 0; pass < 2; pass++) {
    for (int i = 0; i < p.n_slots; i++) {
      const DhcTensorDecl *d = &m->tensors.at[i];
      if (d->role != DHC_ROLE_PARAM || d->no_decay != (pass == 1)) continue;
      p.slots[i] = (Slot){.decl = d, .offset = p.n_weights, .n = decl_elements(m, d)};
      p.n_weights += p.slots[i].n;
      p.n_begun += p.slots[i].n ? dhc_decl_pieces(d) : 0;
    }
    if (pass == 0) p.n_decayed = p.n_weights;
  }
  for (int i = 0; i < p.n_slots; i++) {
    const DhcTensorDecl *d = &m->tensors.at[i];
    if (d->role == DHC_ROLE_PARAM) continue;
    p.slots[i] = (Slot){.decl = d, .offset = p.state_bytes};
    if (d->role == DHC_ROLE_STATE) continue; /* sizes and places come with the first run */
    p.slots[i].n = decl_elements(m, d);
    p.state_bytes += (p.slots[i].n * 8 + 63) / 64 * 64;
  }
  return p;
}

void placement_grow(Placement *p, DhcModule *m, DhcArena *arena) {
  if (m->tensors.n == p->n_slots) return;
  Slot *slots = DHC_NEW_N(arena, Slot, m->tensors.n + 1);
  memcpy(slots, p->slots, sizeof *slots * (size_t)p->n_slots);
  for (int i = p->n_slots; i < m->tensors.n; i++)
    slots[i] = (Slot){.decl = &m->tensors.at[i], .offset = p->state_bytes};
  p->slots = slots;
  p->n_slots = m->tensors.n;
}

int memory_state(Memory *mem, const char *name) {
  for (int i = 0; i < mem->n_states; i++)
    if (!strcmp(mem->state_names[i], name)) return i;
  if (mem->n_states == API_MAX_STATES) return -1;
  int64_t each = memory_state_bytes(mem), begun = memory_begun_bytes(mem);
  char *more = dhc_aligned_alloc(begun + each * (mem->n_states + 1));
  if (!more) return -1;
  if (mem->n_states) memcpy(more, mem->opt, (size_t)(begun + each * mem->n_states));
  dhc_aligned_free(mem->opt);
  mem->opt = more;
  mem->state_names[mem->n_states] = name;
  if (!strcmp(name, "$ema")) memcpy(memory_state_at(mem, mem->n_states), mem->weights, (size_t)mem->place.n_weights * mem->float_bytes);
  return mem->n_states++;
}

int64_t memory_state_bytes(const Memory *mem) {
  return ((int64_t)mem->float_bytes * mem->place.n_weights + 63) / 64 * 64;
}

void *memory_state_at(const Memory *mem, int k) {
  return (char *)mem->opt + memory_begun_bytes(mem) + k * memory_state_bytes(mem);
}

int64_t memory_begun_bytes(const Memory *mem) {
  return ((int64_t)mem->float_bytes * mem->place.n_begun + 63) / 64 * 64;
}

int64_t memory_arena_offset(Memory *mem, const char *name) {
  if (!strcmp(name, "$w")) return 0;
  if (!strcmp(name, "$begun")) return mem->n_states ? 0 : -1;
  int k = memory_state(mem, name);
  return k < 0 ? -1 : memory_begun_bytes(mem) + k * memory_state_bytes(mem);
}

bool weights_begun(dhc_program *p, DhcTensorView *out) {
  const Memory *mem = &p->mem;
  if (!mem->place.n_begun || !mem->n_states) return false;
  *out = (DhcTensorView){.name = "opt.$begun", .dtype = mem->float_bytes == 8 ? DHC_F64 : DHC_F32, .rank = 1,
                         .shape = {mem->place.n_begun}, .data = mem->opt,
                         .bytes = mem->place.n_begun * (int64_t)mem->float_bytes};
  return true;
}

double *memory_scalar(Memory *mem, const char *name) {
  for (int i = 0; i < mem->n_scalars; i++)
    if (!strcmp(mem->scalar_names[i], name)) return &mem->scalars[i];
  if (mem->n_scalars == API_MAX_SCALARS) return NULL;
  mem->scalar_names[mem->n_scalars] = name;
  return &mem->scalars[mem->n_scalars++];
}

/* ---- one tensor ------------------------------------------------------------------ */

typedef struct Place {
  void *at;
  dhc_dtype dtype; /* of the memory */
  const Slot *slot;
} Place;

static const Slot *find_slot(const Placement *p, const char *path) {
  for (int i = 0; i < p->n_slots; i++)
    if (!strcmp(p->slots[i].decl->path, path)) return &p->slots[i];
  return NULL;
}

static dhc_dtype stored_dtype(const Memory *mem, const DhcTensorDecl *d) {
  if (dhc_dtype_is_float(d->type.dtype)) return mem->float_bytes == 8 ? DHC_F64 : DHC_F32;
  return d->type.dtype;
}

static Place slot_place(Memory *mem, const Slot *s, void *base) {
  Place p = {NULL, stored_dtype(mem, s->decl), s};
  if (s->decl->role == DHC_ROLE_PARAM)
    p.at = (char *)base + (size_t)s->offset * mem->float_bytes;
  else
    p.at = (char *)mem->state + s->offset;
  return p;
}

/* "PATH", or "STATE:PATH" with STATE an optimiser state or "ema". */
static dhc_status find_place(dhc_program *p, const char *name, Place *out) {
  Memory *mem = &p->mem;
  const char *colon = strchr(name, ':');
  void *base = mem->weights;
  if (colon) {
    char state[64];
    snprintf(state, sizeof state, "$%.*s", (int)(colon - name), name);
    base = NULL;
    for (int i = 0; i < mem->n_states; i++)
      if (!strcmp(mem->state_names[i], state)) base = memory_state_at(mem, i);
    if (!base) return dhc_status_make(DHC_E_INPUT, "no optimiser state '%.*s' here", (int)(colon - name), name);
    name = colon + 1;
  }
  const Slot *s = find_slot(&mem->place, name);
  if (!s || (colon && s->decl->role != DHC_ROLE_PARAM)) return dhc_status_make(DHC_E_INPUT, "the model has no tensor '%s'", name);
  *out = slot_place(mem, s, base);
  return dhc_status_ok();
}

static void shape_of(const DhcTensorDecl *d, dhc_tensor *t) {
  t->rank = d->type.rank;
  for (int i = 0; i < t->rank; i++)
    if (!dhc_dim_is_const(d->type.dim[i], &t->dim[i])) t->dim[i] = 0;
}

static dhc_status check_shape(const dhc_tensor *t, const DhcTensorDecl *d) {
  dhc_tensor want = {0};
  shape_of(d, &want);
  bool same = t->rank == want.rank;
  for (int i = 0; same && i < want.rank; i++) same = t->dim[i] == want.dim[i];
  if (same) return dhc_status_ok();
  char got[128], need[128];
  return dhc_status_make(DHC_E_INPUT, "tensor '%s' is %s, the model needs %s", t->name,
                         dhc_tensor_shape_text(t->rank, t->dim, got, sizeof got),
                         dhc_tensor_shape_text(want.rank, want.dim, need, sizeof need));
}

static Slot *state_slot(dhc_program *p, const char *path) {
  Slot *s = (Slot *)(uintptr_t)find_slot(&p->mem.place, path);
  return s && s->decl->role == DHC_ROLE_STATE ? s : NULL;
}

dhc_status api_program_set(dhc_program *p, const dhc_tensor *t) {
  NEED(p);
  NEED(t);
  DHC_TRY(args_tensor(t));
  Slot *s = state_slot(p, t->name);
  if (s) return state_set(p, s, t);
  Place at;
  DHC_TRY(find_place(p, t->name, &at));
  DHC_TRY(check_shape(t, at.slot->decl));
  p->weights_version++;
  dhc_tensor_convert(at.at, (int32_t)at.dtype, t->data, (int32_t)t->dtype, at.slot->n);
  return dhc_status_ok();
}

dhc_status api_program_get(dhc_program *p, const char *path, dhc_tensor *t) {
  NEED(p);
  NEED(path);
  NEED(t);
  Slot *s = state_slot(p, path);
  if (s) return state_get(p, s, t);
  Place at;
  DHC_TRY(find_place(p, path, &at));
  t->name = path;
  t->dtype = at.dtype;
  shape_of(at.slot->decl, t);
  t->data = at.at;
  p->weights_version++; /* the caller may write there */
  return dhc_status_ok();
}

dhc_status api_program_set_scalar(dhc_program *p, const char *name, double v) {
  NEED(p);
  NEED(name);
  double *s = memory_scalar(&p->mem, dhc_intern(&p->m->s->strings, name));
  if (!s) return dhc_status_make(DHC_E_USAGE, "more than %d scalars", API_MAX_SCALARS);
  *s = v;
  return dhc_status_ok();
}

/* ---- initialisers ------------------------------------------------------------------- */

/* Runs one initialiser in float64. Its parameters are scalars of the module, "$seed" and
 * "$step" (0); values depend on (seed, path) alone, so equal names start equal. */
static dhc_status init_slot(dhc_program *p, const Slot *s, DhcArena *scratch) {
  DhcFunc *f = s->decl->init;
  dhc_session *se = p->m->s;
  const DhcArray *args[64];
  if (!f) return dhc_status_make(DHC_E_INPUT, "tensor '%s' has no initialiser", s->decl->path);
  if (f->params.n > 64) return dhc_status_make(DHC_E_INPUT, "initialiser of '%s' reads more than 64 scalars", s->decl->path);
  for (int i = 0; i < f->params.n; i++) {
    dhc_dtype t = f->params.at[i]->type.dtype;
    DhcArray *a = dhc_array_new(scratch, t, 0, NULL);
    const double *v = memory_scalar(&p->mem, f->param_info.at[i].name);
    if (!v) return dhc_status_make(DHC_E_USAGE, "more than %d scalars", API_MAX_SCALARS);
    if (a->f)
      a->f[0] = *v;
    else
      a->i[0] = dhc_dtype_from_double(t, *v);
    args[i] = a;
  }
  DhcArray *result;
  if (!dhc_interp_run(scratch, &se->diags, f, args, &result, NULL)) return session_errors(se);
  Place at = slot_place(&p->mem, s, p->mem.weights);
  if (result->f)
    dhc_tensor_convert(at.at, (int32_t)at.dtype, result->f, DHC_F64, s->n);
  else
    dhc_tensor_convert(at.at, (int32_t)at.dtype, result->i, DHC_I64, s->n);
  return dhc_status_ok();
}

/* Every tensor, or the tables alone: no file holds those. */
static dhc_status init_slots(dhc_program *p, bool tables_only) {
  DhcArena scratch;
  dhc_arena_init(&scratch);
  dhc_status st = dhc_status_ok();
  p->weights_version++;
  for (int i = 0; i < p->mem.place.n_slots && st.code == DHC_OK; i++) {
    if (!p->mem.place.slots[i].n) continue;
    if (tables_only && p->mem.place.slots[i].decl->role != DHC_ROLE_TABLE) continue;
    st = init_slot(p, &p->mem.place.slots[i], &scratch);
    dhc_arena_reset(&scratch);
  }
  dhc_arena_fini(&scratch);
  return st;
}

dhc_status api_program_init(dhc_program *p, uint64_t seed) {
  NEED(p);
  DHC_TRY(dhc_program_set_scalar(p, "$seed", (double)seed));
  dhc_status st = init_slots(p, false);
  dhc_program_reset(p);
  if (p->mem.n_states) memset(p->mem.opt, 0, (size_t)memory_begun_bytes(&p->mem));
  for (int i = 0; i < p->mem.n_states; i++) {
    size_t bytes = (size_t)p->mem.place.n_weights * p->mem.float_bytes;
    if (!strcmp(p->mem.state_names[i], "$ema"))
      memcpy(memory_state_at(&p->mem, i), p->mem.weights, bytes);
    else
      memset(memory_state_at(&p->mem, i), 0, bytes);
  }
  return st;
}

/* ---- files ---------------------------------------------------------------------------- */

/* A tensor stored as one file entry per index of its leading axis ("experts.*.fc1"). */
static const char *piece_name(const DhcTensorDecl *d, int64_t i, char *to, size_t n) {
  const char *star = strchr(d->as, '*');
  snprintf(to, n, "%.*s%lld%s", (int)(star - d->as), d->as, (long long)i, star + 1);
  return to;
}

static int64_t n_pieces(const DhcTensorDecl *d) {
  int64_t n = dhc_decl_pieces(d);
  return n ? n : 1;
}

static bool stacked(const DhcTensorDecl *d) {
  return d->as && strchr(d->as, '*') && d->type.rank > 0;
}

/* Every tensor of a file in turn: parameters laid out at `base`, then perhaps buffers, a stacked
 * one piece by piece. */
typedef struct Walk {
  dhc_program *p;
  const char *prefix;
  void *base;
  bool buffers;
  int slot;
  int64_t piece; /* of the slot */
  char name[512];
  char *at; /* where it lies in memory */
} Walk;

/* The next one, its name and place in w until the next call; false behind the last. */
static bool walk_next(Walk *w, DhcTensorView *out) {
  const Placement *place = &w->p->mem.place;
  for (; w->slot < place->n_slots; w->slot++, w->piece = 0) {
    const Slot *s = &place->slots[w->slot];
    const DhcTensorDecl *d = s->decl;
    if (d->role != DHC_ROLE_PARAM && !(w->buffers && d->role == DHC_ROLE_BUFFER)) continue;
    int64_t pieces = n_pieces(d), each = s->n / pieces;
    if (w->piece == pieces) continue;
    dhc_tensor t = {0};
    shape_of(d, &t);
    Place at = slot_place(&w->p->mem, s, w->base);
    int skip = stacked(d) ? 1 : 0;
    char piece[400];
    snprintf(w->name, sizeof w->name, "%s%s", w->prefix,
             skip ? piece_name(d, w->piece, piece, sizeof piece) : d->as ? d->as : d->path);
    *out = (DhcTensorView){.name = w->name, .dtype = (int32_t)at.dtype, .rank = t.rank - skip, .bytes = each * dhc_dtype_bytes(at.dtype)};
    for (int i = 0; i < out->rank; i++) out->shape[i] = t.dim[i + skip];
    out->data = w->at = (char *)at.at + w->piece++ * out->bytes;
    return true;
  }
  return false;
}

dhc_status weights_read(dhc_program *p, const DhcSafetensors *file, const char *prefix, void *base, bool partial, bool buffers) {
  Walk w = {.p = p, .prefix = prefix, .base = base, .buffers = buffers};
  DhcTensorView to;
  p->weights_version++;
  while (walk_next(&w, &to)) {
    const DhcTensorView *from;
    if (partial && !dhc_safetensors_find(file, to.name)) continue;
    DHC_TRY(dhc_safetensors_need(file, to.name, -1, to.rank, to.shape, &from));
    dhc_tensor_convert(w.at, to.dtype, from->data, from->dtype, to.bytes / dhc_dtype_bytes((dhc_dtype)to.dtype));
  }
  return dhc_status_ok();
}

int weights_views(dhc_program *p, const char *prefix, void *base, bool buffers, DhcArena *arena, DhcTensorView *out, int max) {
  Walk w = {.p = p, .prefix = prefix, .base = base, .buffers = buffers};
  DhcTensorView v;
  int n = 0;
  for (; walk_next(&w, &v); n++) {
    if (!out || n >= max) continue;
    out[n] = v;
    out[n].name = dhc_arena_strdup(arena, v.name);
  }
  return n;
}

dhc_status api_program_load(dhc_program *p, const char *path, bool partial) {
  NEED(p);
  NEED(path);
  DhcSafetensors *file;
  DHC_TRY(dhc_safetensors_open_weights(path, &file));
  dhc_status st = weights_read(p, file, "", p->mem.weights, partial, true);
  if (st.code == DHC_OK) st = weights_unused(p, file);
  dhc_safetensors_close(file);
  return st.code == DHC_OK ? init_slots(p, true) : st;
}

dhc_status api_program_save(dhc_program *p, const char *path, bool ema) {
  NEED(p);
  NEED(path);
  void *base = p->mem.weights;
  if (ema) {
    int k = -1;
    for (int i = 0; i < p->mem.n_states; i++)
      if (!strcmp(p->mem.state_names[i], "$ema")) k = i;
    if (k < 0) return dhc_status_make(DHC_E_INPUT, "no averaged weights here (the recipe has no ema)");
    base = memory_state_at(&p->mem, k);
  }
  DhcArena a;
  dhc_arena_init(&a);
  int n = weights_views(p, "", base, true, &a, NULL, 0);
  DhcTensorView *v = DHC_NEW_N(&a, DhcTensorView, n + 1);
  weights_views(p, "", base, true, &a, v, n);
  DhcMetaPair meta[] = {{"format", "dhcc"}, {"model", p->m->name}, {"model_hash", p->m->hash}};
  dhc_status st = dhc_safetensors_write(path, v, n, meta, 3);
  dhc_arena_fini(&a);
  return st;
}
