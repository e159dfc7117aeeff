/* Packed copies of weights. An entry that reads weights in panels gets a copy of them in that order, packed anew when they
 * may have changed; entries that read the same panels have one copy, those of programs that share the weights too. */
#include <stdlib.h>
#include <string.h>

#include "runtime/program_internal.h"

static DhcProg *owner_of(DhcProg *p) {
  return p->owner ? p->owner : p;
}

static PanelKey key_of(const DhcLoaded *l, const DhcBound *b, int32_t i) {
  const dhc_panel *x = &l->image->panels[i];
  return (PanelKey){.slot = l->image->tensors[x->tensor].place, .width = x->width, .tag = x->tag, .matrices = x->matrices,
                    .rows = x->rows, .cols = x->cols, .at = dhc_bound_buffer_offset(b, x->buffer)};
}

/* The copy that this entry would read, if there is one. The owner's lock is held. */
static Panels *find(const DhcLoaded *l, const DhcBound *b) {
  DhcProg *owner = owner_of(l->p);
  for (Panels *x = owner->panels; x; x = x->next) {
    bool same = x->n == l->image->n_panels && x->range == l->p->weights;
    for (int32_t i = 0; same && i < x->n; i++) {
      PanelKey k = key_of(l, b, i);
      same = !memcmp(&k, &x->key[i], sizeof k);
    }
    if (same) return x;
  }
  return NULL;
}

static dhc_status make(const DhcLoaded *l, const DhcBound *b, Panels **out) {
  DhcProg *owner = owner_of(l->p);
  Panels *x = calloc(1, sizeof *x);
  PanelKey *key = calloc((size_t)l->image->n_panels, sizeof *key);
  dhc_status st = x && key ? dhc_status_ok() : dhc_status_memory((long long)sizeof *key * l->image->n_panels, "packed weights");
  if (st.code == DHC_OK) st = owner->device->ops->alloc(owner->device, dhc_bound_segment_bytes(b, DHC_SEGMENT_PANELS), &x->at);
  if (st.code != DHC_OK) {
    free(x);
    free(key);
    return st;
  }
  x->key = key;
  x->n = l->image->n_panels;
  x->range = l->p->weights;
  for (int32_t i = 0; i < x->n; i++) key[i] = key_of(l, b, i);
  x->next = owner->panels;
  *out = owner->panels = x;
  return st;
}

dhc_status dhc_prog_find_panels(DhcLoaded *l, const DhcBound *b) {
  DhcProg *owner = owner_of(l->p);
  if (!l->image->n_panels || (l->panels && l->panels->range == l->p->weights)) return dhc_status_ok();
  dhc_prog_drop_panels(l);
  pthread_mutex_lock(&owner->lock);
  Panels *x = find(l, b);
  dhc_status st = x ? dhc_status_ok() : make(l, b, &x);
  if (st.code == DHC_OK) x->users++;
  pthread_mutex_unlock(&owner->lock);
  if (st.code == DHC_OK) l->panels = x;
  return st;
}

void dhc_prog_drop_panels(DhcLoaded *l) {
  DhcProg *owner = owner_of(l->p);
  Panels *x = l->panels;
  if (!x) return;
  pthread_mutex_lock(&owner->lock);
  if (!--x->users) {
    Panels **link = &owner->panels;
    while (*link != x) link = &(*link)->next;
    *link = x->next;
    owner->device->ops->free(owner->device, x->at);
    free(x->key);
    free(x);
  }
  pthread_mutex_unlock(&owner->lock);
  l->panels = NULL;
}

static dhc_status pack(const DhcLoaded *l, const Binding *b, Panels *x) {
  DhcDevice *d = l->p->device;
  int64_t version = dhc_prog_version(l->p);
  DhcDevicePtr from = b->base[DHC_SEGMENT_WEIGHTS];
  if (x->from == from && x->packed == version) return dhc_status_ok();
  x->from = 0;
  for (int32_t i = 0; i < x->n; i++) {
    uint64_t weight = (uint64_t)l->p->layout->slots[x->key[i].slot].at;
    DHC_TRY(d->ops->pack(d, x->at + (uint64_t)x->key[i].at, from + weight, &l->image->panels[i]));
  }
  x->from = from;
  x->packed = version;
  return dhc_status_ok();
}

dhc_status dhc_prog_pack(DhcLoaded *l, Binding *b) {
  if (!l->image->n_panels) return dhc_status_ok();
  DHC_TRY(dhc_prog_find_panels(l, b->bound));
  DhcProg *owner = owner_of(l->p);
  pthread_mutex_lock(&owner->lock);
  dhc_status st = pack(l, b, l->panels);
  pthread_mutex_unlock(&owner->lock);
  b->base[DHC_SEGMENT_PANELS] = l->panels->at;
  return st;
}

dhc_status dhc_prog_hold(DhcLoaded *l) {
  return dhc_prog_find_panels(l, l->bindings->bound);
}

bool dhc_prog_packed(const DhcLoaded *l) {
  DhcProg *owner = owner_of(l->p);
  if (l->panels || !l->bindings) return l->panels != NULL;
  pthread_mutex_lock(&owner->lock);
  const Panels *x = find(l, l->bindings->bound);
  pthread_mutex_unlock(&owner->lock);
  return x != NULL;
}
