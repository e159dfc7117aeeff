/* Where everything lies that outlives a run. */
#include <string.h>

#include "passes/grad/places.h"

static int n_moving_classes(const DhcModule *m) { return 2 * (m->n_places ? m->n_places : 1); }

int dhc_n_place_classes(const DhcModule *m) { return n_moving_classes(m) + 1; }

int dhc_place_class(const DhcModule *m, const DhcTensorDecl *d) {
  return d->frozen ? n_moving_classes(m) : 2 * d->place + d->no_decay;
}

static int first_with_loss(const DhcModule *m, const char *loss) {
  int i = 0;
  while (!m->groups.at[i].loss || strcmp(m->groups.at[i].loss, loss)) i++;
  return i;
}

int dhc_group_loss(const DhcModule *m, int group) {
  const char *loss = m->groups.at[group].loss;
  int number = 1;
  for (int i = 0; loss && i < first_with_loss(m, loss); i++)
    number += m->groups.at[i].loss && first_with_loss(m, m->groups.at[i].loss) == i;
  return loss ? number : 0;
}

int dhc_n_losses(const DhcModule *m) {
  int n = 1;
  for (int i = 0; i < m->groups.n; i++)
    if (dhc_group_loss(m, i) >= n) n = dhc_group_loss(m, i) + 1;
  return n;
}

DhcPlaces dhc_places_make(DhcModule *m, DhcArena *arena) {
  DhcPlaces p = {.offset = DHC_NEW_N(arena, int64_t, m->tensors.n + 1), .n = DHC_NEW_N(arena, int64_t, m->tensors.n + 1), .n_more = dhc_n_losses(m)};
  for (int pass = 0; pass < dhc_n_place_classes(m); pass++) {
    for (int i = 0; i < m->tensors.n; i++) {
      const DhcTensorDecl *d = &m->tensors.at[i];
      if (d->role != DHC_ROLE_WEIGHT || dhc_place_class(m, d) != pass) continue;
      p.offset[i] = p.n_weights;
      p.n[i] = dhc_decl_elements(m, d);
      p.n_weights += p.n[i]; /* elaboration has bounded the sum of all tensors */
      p.n_begun += p.n[i] ? dhc_decl_pieces(d) : 0;
    }
    if (!pass) p.n_decayed = p.n_weights;
    if (pass + 1 == n_moving_classes(m)) p.n_moving = p.n_weights;
  }
  for (int i = 0; i < m->tensors.n; i++) {
    const DhcTensorDecl *d = &m->tensors.at[i];
    if (d->role != DHC_ROLE_BUFFER || d->type.dtype != DHC_F32) continue;
    p.offset[i] = p.n_more;
    p.n_more += p.n[i] = dhc_decl_elements(m, d);
  }
  return p;
}

/* Elements before those that rank r's even share would begin with. */
static int64_t even(int64_t all, int r, int n) { return all / n * r + all % n * r / n; }

static int64_t apart(int64_t a, int64_t b) { return a < b ? b - a : a - b; }

bool dhc_places_cut(DhcModule *m, const DhcPlaces *p, int n, int64_t *cut) {
  int64_t *begin = DHC_NEW_N(m->arena, int64_t, m->tensors.n + 1); /* of tensors that move, in order */
  int k = 0, all = 0;
  for (int pass = 0; pass < n_moving_classes(m); pass++)
    for (int i = 0; i < m->tensors.n; i++)
      if (m->tensors.at[i].role == DHC_ROLE_WEIGHT && dhc_place_class(m, &m->tensors.at[i]) == pass && p->n[i]) begin[all++] = p->offset[i];
  cut[0] = 0;
  cut[n] = p->n_moving;
  if (all < n) return false;
  for (int r = 1; r < n; r++) {
    const int64_t want = even(p->n_moving, r, n);
    k++;
    while (k < all - (n - r) && apart(begin[k + 1], want) < apart(begin[k], want)) k++;
    cut[r] = begin[k];
  }
  return true;
}

/* ---- as a layout --------------------------------------------------------------------------- */

static int64_t align64(int64_t x) {
  return (x + 63) / 64 * 64;
}

static dhc_dtype stored(dhc_dtype t, bool wide) {
  return wide && dhc_dtype_is_float(t) ? DHC_F64 : t;
}

static dhc_image_role role_of(DhcRole r) {
  switch (r) {
    case DHC_ROLE_WEIGHT: return DHC_IMAGE_WEIGHT;
    case DHC_ROLE_BUFFER: return DHC_IMAGE_BUFFER;
    case DHC_ROLE_TABLE: return DHC_IMAGE_TABLE;
    default: return DHC_IMAGE_STATE;
  }
}

static dhc_slot slot_of(DhcModule *m, int i, const DhcPlaces *p, bool wide, int64_t *buffer_bytes) {
  const DhcTensorDecl *d = &m->tensors.at[i];
  dhc_slot s = {.name = d->path, .file = d->as, .role = (int32_t)role_of(d->role), .rank = d->type.rank, .at = -1};
  s.dtype = (int32_t)stored(d->type.dtype, wide);
  for (int k = 0; k < s.rank; k++)
    if (!dhc_dim_is_const(d->type.dim[k], &s.dim[k])) s.dim[k] = -1;
  if (s.role == DHC_IMAGE_STATE) return s;
  s.begin.made = d->init;
  s.n = dhc_decl_elements(m, d);
  if (s.role == DHC_IMAGE_WEIGHT) {
    s.at = p->offset[i] * (wide ? 8 : 4);
  } else {
    s.at = *buffer_bytes;
    *buffer_bytes += align64(s.n * 8);
  }
  return s;
}

int dhc_optimizer_weights(const DhcFunc *f) {
  const char *name = f->params.n ? f->param_info.at[0].name : NULL;
  for (int i = 0; name && i < f->results.n; i++)
    if (f->result_names.at[i] && !strcmp(f->result_names.at[i], name)) return i;
  return 0;
}

static void add_moments(DhcMoments *to, const DhcFunc *f) {
  const int weights = f ? dhc_optimizer_weights(f) : 0;
  for (int i = 0; f && i < f->results.n; i++) {
    const char *name = f->result_names.at[i];
    bool there = i == weights || !name;
    for (int k = 0; k < to->n && !there; k++) there = !strcmp(to->name[k], name);
    if (!there) to->name[to->n++] = name;
  }
}

bool dhc_weight_keeps(const DhcModule *m, const DhcTensorDecl *t, const char *name) {
  const char *const *k = t->group ? m->groups.at[t->group - 1].keeps : NULL;
  if (!k) return true;
  while (*k && strcmp(*k, name)) k++;
  return *k;
}

static bool has_state(const DhcFunc *f, const char *name) {
  const int weights = dhc_optimizer_weights(f);
  for (int i = 0; i < f->results.n; i++)
    if (i != weights && f->result_names.at[i] && !strcmp(f->result_names.at[i], name)) return true;
  return false;
}

/* Up to the last weight that has it. */
static int64_t moment_length(const DhcModule *m, const DhcPlaces *p, const DhcFunc *optimizer, const char *name) {
  int64_t n = 0;
  for (int i = 0; i < m->tensors.n; i++) {
    const DhcTensorDecl *t = &m->tensors.at[i];
    const bool own = t->group && m->groups.at[t->group - 1].keeps;
    if (t->role != DHC_ROLE_WEIGHT || t->frozen || !p->n[i] || !(own ? dhc_weight_keeps(m, t, name) : has_state(optimizer, name))) continue;
    if (p->offset[i] + p->n[i] > n) n = p->offset[i] + p->n[i];
  }
  return n;
}

DhcMoments dhc_moments_make(const DhcModule *m, const DhcPlaces *p, const DhcFunc *optimizer, DhcFunc *const *own, DhcArena *arena) {
  int n = optimizer ? optimizer->results.n : 0;
  for (int i = 0; own && i < m->groups.n; i++) n += own[i] ? own[i]->results.n : 0;
  DhcMoments all = {.name = DHC_NEW_N(arena, const char *, n + 1)};
  add_moments(&all, optimizer);
  for (int i = 0; own && i < m->groups.n; i++) add_moments(&all, own[i]);
  all.length = DHC_NEW_N(arena, int64_t, all.n + 1);
  const int every = all.n;
  all.n = 0;
  for (int i = 0; i < every; i++) {
    const int64_t length = own ? moment_length(m, p, optimizer, all.name[i]) : p->n_moving;
    if (!length) continue;
    all.length[all.n] = length;
    all.name[all.n++] = all.name[i];
  }
  return all;
}

typedef struct Ranges {
  dhc_range *at;
  int n;
  int64_t bytes;
} Ranges;

static void add_range(Ranges *r, const char *name, int64_t n, bool wide, bool like_weights, bool from_weights) {
  dhc_range x = {.name = name, .dtype = wide ? DHC_F64 : DHC_F32, .like_weights = like_weights, .from_weights = from_weights};
  x.n = x.whole = n;
  x.at = r->bytes;
  r->bytes += align64(n * (wide ? 8 : 4));
  r->at[r->n++] = x;
}

/* A moment, or what a rank has of it. */
static void add_moment(Ranges *r, const char *name, const int64_t *cut, DhcShare share, bool wide) {
  add_range(r, name, cut[share.rank + 1] - cut[share.rank], wide, true, false);
  r->at[r->n - 1].begin = cut[share.rank];
  r->at[r->n - 1].whole = cut[share.n];
}

const dhc_layout *dhc_layout_make(DhcModule *m, const DhcFunc *optimizer, DhcFunc *const *own, bool ema, bool parts, DhcShare share, bool wide, DhcArena *arena) {
  dhc_layout *l = DHC_NEW(arena, dhc_layout);
  DhcPlaces p = dhc_places_make(m, arena);
  dhc_slot *slots = DHC_NEW_N(arena, dhc_slot, m->tensors.n + 1);
  for (int i = 0; i < m->tensors.n; i++) slots[i] = slot_of(m, i, &p, wide, &l->bytes[DHC_SEGMENT_BUFFERS]);
  const DhcMoments moments = dhc_moments_make(m, &p, optimizer, own, arena);
  Ranges r = {.at = DHC_NEW_N(arena, dhc_range, moments.n + 4)};
  if (moments.n && p.n_begun) add_range(&r, DHC_RANGE_BEGUN, p.n_begun, wide, false, false);
  share.n = share.n ? share.n : 1;
  int64_t *cut = DHC_NEW_N(arena, int64_t, share.n + 1);
  if (!dhc_places_cut(m, &p, share.n, cut) && share.n > 1) DHC_BUG("shares of nothing");
  for (int i = 0; i < moments.n; i++) {
    if (share.n > 1) add_moment(&r, moments.name[i], cut, share, wide);
    else add_range(&r, moments.name[i], moments.length[i], wide, true, false);
  }
  if (optimizer && ema) add_range(&r, DHC_RANGE_EMA, p.n_weights, wide, true, true);
  if (optimizer && parts) {
    add_range(&r, DHC_RANGE_SUM, p.n_weights, wide, false, false);
    add_range(&r, DHC_RANGE_MORE, p.n_more, wide, false, false);
  }
  l->slots = slots;
  l->n_slots = m->tensors.n;
  l->ranges = r.at;
  l->n_ranges = r.n;
  l->dtype = wide ? DHC_F64 : DHC_F32;
  l->n_weights = p.n_weights;
  l->bytes[DHC_SEGMENT_WEIGHTS] = p.n_weights * (wide ? 8 : 4);
  l->bytes[DHC_SEGMENT_MOMENTS] = r.bytes;
  return l;
}
