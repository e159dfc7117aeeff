/* What streaming entries keep from run to run: how the states begin, and their files. Where they lie
 * is the runtime's business (runtime/program_state.c). */
#include <stdlib.h>

#include "api/api.h"
#include "backends/begin.h"

static const char meta_model[] = "dhc.model";

static const dhc_slot *slot_at(const dhc_program *p, int i) {
  return &dhc_prog_layout(p->run)->slots[i];
}

static int n_slots(const dhc_program *p) {
  return dhc_prog_layout(p->run)->n_slots;
}

static int64_t elements(const dhc_program *p, int slot) {
  int64_t n = 1;
  for (int i = 0; i < slot_at(p, slot)->rank; i++) n *= dhc_prog_state_dim(p->run, slot)[i];
  return n;
}

static DhcDevicePtr place_of(const dhc_program *p, int slot) {
  return dhc_prog_slot(p->run, slot, DHC_WEIGHTS);
}

static dhc_status put(dhc_program *p, int slot, const void *from, int32_t dtype) {
  return dhc_device_put(dhc_prog_device(p->run), place_of(p, slot), slot_at(p, slot)->dtype, from, dtype, elements(p, slot));
}

/* Room for live and wanted states; the wanted ones become live with whatever was there. */
static dhc_status arrange(dhc_program *p, const DhcWantState *want) {
  int64_t bytes, held = dhc_prog_held(p->run, DHC_SEGMENT_STATES);
  DHC_TRY(dhc_prog_states_bytes(p->run, want, &bytes));
  if (bytes > held) DHC_TRY(budget_more(p, DHC_USE_STATE, bytes - held, "states"));
  return dhc_prog_arrange_states(p->run, want);
}

/* ---- beginning ---------------------------------------------------------------------- */

static dhc_status begin(dhc_program *p, const Version *v, const DhcWantState *want) {
  DhcBeginner b = program_beginner(p);
  int before = p->m->s->diags.n_errors;
  dhc_status st = dhc_begin_states(&b, p->run, v->image, want);
  return st.code != DHC_OK && p->m->s->diags.n_errors > before ? session_errors(p->m->s) : st;
}

static dhc_status refuse_new(const dhc_program *p, const Version *v, const DhcWantState *want) {
  for (int i = 0; p->states_loaded && i < n_slots(p); i++)
    if (want[i].in)
      return dhc_status_make(DHC_E_INPUT, "the loaded state has no '%s', which entry '%s' carries on", slot_at(p, i)->name, v->entry);
  return dhc_status_ok();
}

dhc_status state_prepare(dhc_program *p, const Version *v, const int64_t *symbols) {
  DhcWantState *want = calloc((size_t)n_slots(p) + 1, sizeof *want);
  int32_t n = 0;
  DhcHeld held;
  if (!want) return dhc_status_memory((long long)sizeof *want * n_slots(p), "states");
  dhc_hold(&held, free, want);
  dhc_status st = dhc_prog_wanted_states(v->loaded, symbols, want, &n);
  if (st.code == DHC_OK) st = refuse_new(p, v, want);
  if (st.code == DHC_OK && n) {
    st = arrange(p, want);
    if (st.code == DHC_OK) st = begin(p, v, want);
    if (st.code != DHC_OK) dhc_program_reset(p);
  }
  dhc_release(&held);
  free(want);
  return st;
}

void dhc_program_reset(dhc_program *p) {
  if (!p) return;
  dhc_prog_reset_states(p->run);
  p->states_loaded = false;
}

/* ---- one state ---------------------------------------------------------------------- */

dhc_status state_get(dhc_program *p, int slot, dhc_tensor *t) {
  const dhc_slot *s = slot_at(p, slot);
  if (!dhc_prog_state_live(p->run, slot)) return dhc_status_make(DHC_E_INPUT, "state '%s' holds nothing before the first run", s->name);
  *t = (dhc_tensor){.name = s->name, .dtype = (dhc_dtype)s->dtype, .rank = s->rank};
  memcpy(t->dim, dhc_prog_state_dim(p->run, slot), sizeof *t->dim * (size_t)t->rank);
  return exec_host(p, place_of(p, slot), dhc_tensor_bytes(t), &t->data);
}

static dhc_status check_type(const dhc_program *p, int slot, dhc_dtype dtype, int rank, const int64_t *dim) {
  const DhcTensorDecl *decl = &p->m->module->tensors.at[slot];
  const DhcType *t = &decl->type;
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
  dhc_status st = dhc_status_make(DHC_E_INPUT, "state '%s' is %s%s here, the model needs %s", decl->path, dhc_dtype_name(dtype),
                                  dhc_tensor_shape_text(rank, dim, got, sizeof got), dhc_text_str(&text));
  dhc_arena_fini(&a);
  return st;
}

dhc_status state_set(dhc_program *p, int slot, const dhc_tensor *t) {
  DHC_TRY(check_type(p, slot, t->dtype, t->rank, t->dim));
  DhcWantState *want = calloc((size_t)n_slots(p) + 1, sizeof *want);
  if (!want) return dhc_status_memory((long long)sizeof *want * n_slots(p), "states");
  want[slot].in = true;
  memcpy(want[slot].dim, t->dim, sizeof *t->dim * (size_t)t->rank);
  dhc_status st = arrange(p, want);
  free(want);
  return st.code == DHC_OK ? put(p, slot, t->data, (int32_t)t->dtype) : st;
}

/* ---- files ------------------------------------------------------------------------------ */

dhc_status api_program_save_state(dhc_program *p, const char *path) {
  NEED(p);
  NEED(path);
  DhcArena a;
  dhc_arena_init(&a);
  DhcTensorView *v = DHC_NEW_N(&a, DhcTensorView, n_slots(p) + 1);
  int n = 0;
  dhc_status st = dhc_status_ok();
  for (int i = 0; i < n_slots(p) && st.code == DHC_OK; i++) {
    dhc_tensor t;
    if (slot_at(p, i)->role != DHC_IMAGE_STATE || !dhc_prog_state_live(p->run, i)) continue;
    st = state_get(p, i, &t);
    v[n] = (DhcTensorView){.name = t.name, .dtype = (int32_t)t.dtype, .rank = t.rank, .data = t.data, .bytes = dhc_tensor_bytes(&t)};
    memcpy(v[n++].shape, t.dim, sizeof *t.dim * (size_t)t.rank);
  }
  const DhcMetaPair meta = {meta_model, p->m->hash};
  if (st.code == DHC_OK && !n) st = dhc_status_make(DHC_E_INPUT, "there is no state to save: no streaming entry has run");
  if (st.code == DHC_OK) st = dhc_safetensors_write(path, v, n, &meta, 1);
  dhc_arena_fini(&a);
  return st;
}

static dhc_status find_states(dhc_program *p, const DhcSafetensors *f, DhcWantState *want) {
  const char *path = dhc_safetensors_path(f), *model = dhc_safetensors_meta(f, meta_model);
  if (model && strcmp(model, p->m->hash))
    return dhc_status_file(path, "holds the state of another model than %s as it is set here", p->m->name);
  for (int k = 0; k < dhc_safetensors_count(f); k++) {
    const DhcTensorView *t = dhc_safetensors_at(f, k);
    int i = state_slot(p, t->name);
    if (i < 0) return dhc_status_file(path, "'%s' is no state of %s", t->name, p->m->name);
    DHC_TRY(check_type(p, i, (dhc_dtype)t->dtype, t->rank, t->shape));
    want[i].in = true;
    memcpy(want[i].dim, t->shape, sizeof *t->shape * (size_t)t->rank);
  }
  return dhc_status_ok();
}

dhc_status api_program_load_state(dhc_program *p, const char *path) {
  NEED(p);
  NEED(path);
  DhcSafetensors *f;
  DHC_TRY(dhc_safetensors_open(path, &f));
  for (int k = 0; k < dhc_safetensors_count(f); k++) dhc_state_of_call(p->m->module, dhc_safetensors_at(f, k)->name);
  dhc_status st = program_grow(p);
  if (st.code != DHC_OK) {
    dhc_safetensors_close(f);
    return st;
  }
  DhcWantState *want = calloc((size_t)n_slots(p) + 1, sizeof *want);
  DhcHeld held;
  dhc_hold(&held, free, want);
  st = want ? find_states(p, f, want) : dhc_status_memory((long long)sizeof *want * n_slots(p), "states");
  if (st.code == DHC_OK) {
    dhc_program_reset(p);
    st = arrange(p, want);
  }
  for (int i = 0; st.code == DHC_OK && i < n_slots(p); i++) {
    if (!want[i].in) continue;
    const DhcTensorView *t = dhc_safetensors_find(f, slot_at(p, i)->name);
    st = put(p, i, t->data, t->dtype);
  }
  if (st.code == DHC_OK) p->states_loaded = true;
  dhc_release(&held);
  free(want);
  dhc_safetensors_close(f);
  return st;
}
