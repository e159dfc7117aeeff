/* What streaming entries keep from run to run: where the states lie.
 *
 * The STATES segment holds the live states, one after the other in the order of their
 * slots. A state's sizes are those of the run it began in. */
#include <stdlib.h>
#include <string.h>

#include "runtime/program_internal.h"

bool dhc_prog_state_live(const DhcProg *p, int32_t slot) {
  return p->states[slot].live;
}

const int64_t *dhc_prog_state_dim(const DhcProg *p, int32_t slot) {
  return p->states[slot].dim;
}

int64_t dhc_prog_begun(const DhcProg *p) {
  return p->begun;
}

void dhc_prog_reset_states(DhcProg *p) {
  p->begun++;
  for (int32_t i = 0; i < p->layout->n_slots; i++) p->states[i].live = false;
}

static bool is_state(const DhcProg *p, int32_t i) {
  return p->layout->slots[i].role == DHC_IMAGE_STATE;
}

static bool bytes_of(const DhcProg *p, int32_t slot, const int64_t *dim, int64_t *bytes) {
  const dhc_slot *s = &p->layout->slots[slot];
  return dhc_size_tensor(s->dtype, s->rank, dim, NULL, bytes);
}

static dhc_status find_places(const DhcProg *p, const DhcWantState *want, int64_t *at, int64_t *total) {
  *total = 0;
  for (int32_t i = 0; i < p->layout->n_slots; i++) {
    const State *s = &p->states[i];
    int64_t bytes;
    at[i] = *total;
    if (!is_state(p, i) || (!s->live && !want[i].in)) continue;
    if (!bytes_of(p, i, want[i].in ? want[i].dim : s->dim, &bytes) || !dhc_size_align64(bytes, &bytes) ||
        !dhc_size_add(*total, bytes, total))
      return dhc_status_make(DHC_E_INPUT, "number of bytes of state '%s' does not fit in 63 bits", p->layout->slots[i].name);
  }
  return dhc_status_ok();
}

/* Moves the live states that stay to `at` in new memory of `total` bytes. */
static dhc_status move(DhcProg *p, const DhcWantState *want, const int64_t *at, int64_t total) {
  DhcDevice *d = p->device;
  DhcDevicePtr to, from = p->segment[DHC_SEGMENT_STATES];
  DHC_TRY(d->ops->alloc(d, total, &to));
  dhc_status st = dhc_status_ok();
  for (int32_t i = 0; i < p->layout->n_slots && st.code == DHC_OK; i++) {
    State *s = &p->states[i];
    int64_t bytes;
    if (!is_state(p, i) || !s->live || want[i].in || !bytes_of(p, i, s->dim, &bytes)) continue;
    st = d->ops->copy(d, to + (uint64_t)at[i], from + (uint64_t)s->at, bytes);
  }
  if (st.code != DHC_OK) {
    d->ops->free(d, to);
    return st;
  }
  for (int32_t i = 0; i < p->layout->n_slots; i++)
    if (is_state(p, i)) p->states[i].at = at[i];
  d->ops->free(d, from);
  p->segment[DHC_SEGMENT_STATES] = to;
  p->held[DHC_SEGMENT_STATES] = total;
  p->places++;
  return st;
}

dhc_status dhc_prog_states_bytes(const DhcProg *p, const DhcWantState *want, int64_t *bytes) {
  int64_t *at = calloc((size_t)p->layout->n_slots + 1, sizeof *at);
  if (!at) return dhc_status_memory((long long)sizeof *at * p->layout->n_slots, "states");
  dhc_status st = find_places(p, want, at, bytes);
  free(at);
  return st;
}

dhc_status dhc_prog_arrange_states(DhcProg *p, const DhcWantState *want) {
  int32_t n = p->layout->n_slots;
  int64_t *at = calloc((size_t)n + 1, sizeof *at), total;
  if (!at) return dhc_status_memory((long long)sizeof *at * n, "states");
  dhc_status st = find_places(p, want, at, &total);
  bool same = total == p->held[DHC_SEGMENT_STATES] && p->segment[DHC_SEGMENT_STATES];
  for (int32_t i = 0; i < n; i++) same = same && (!is_state(p, i) || p->states[i].at == at[i]);
  if (st.code == DHC_OK && !same) st = move(p, want, at, total);
  p->begun++;
  for (int32_t i = 0; st.code == DHC_OK && i < n; i++) {
    if (!want[i].in) continue;
    memcpy(p->states[i].dim, want[i].dim, sizeof want[i].dim);
    p->states[i].live = true;
  }
  free(at);
  return st;
}

static dhc_status wrong_size(const DhcProg *p, int32_t slot, const int64_t *need) {
  char has[128], wants[128];
  const dhc_slot *s = &p->layout->slots[slot];
  return dhc_status_make(DHC_E_INPUT, "state '%s' is %s, these inputs need %s: reset before sizes change", s->name,
                         dhc_tensor_shape_text(s->rank, p->states[slot].dim, has, sizeof has),
                         dhc_tensor_shape_text(s->rank, need, wants, sizeof wants));
}

dhc_status dhc_prog_unsized(const char *kind, const char *name) {
  return dhc_status_make(DHC_E_INPUT, "%s '%s' has no size here", kind, name);
}

dhc_status dhc_prog_wanted_states(const DhcLoaded *l, const int64_t *symbols, DhcWantState *want, int32_t *n) {
  const DhcProg *p = l->p;
  *n = 0;
  for (int32_t i = 0; i < l->image->n_params; i++) {
    const dhc_image_tensor *t = &l->image->tensors[i];
    if (t->role != DHC_IMAGE_STATE) continue;
    const State *s = &p->states[t->place];
    DhcWantState *w = &want[t->place];
    bool sized = dhc_image_shape(l->image, i, symbols, w->dim);
    for (int32_t d = 0; d < t->rank; d++) sized = sized && w->dim[d] >= 1;
    if (!sized) return dhc_prog_unsized("state", t->name);
    if (s->live && memcmp(s->dim, w->dim, sizeof(int64_t) * (size_t)t->rank)) return wrong_size(p, t->place, w->dim);
    if (s->live) continue;
    w->in = true;
    ++*n;
  }
  return dhc_status_ok();
}
