/* Copies that need not be: source and destination become one buffer.
 *
 * Let item c copy all of buffer S to bytes [at, at + n) of buffer D. S may lie there from
 * the start if nothing can tell: S is written first by item w, last touched by item e.
 *   - S belongs to nobody else, is not written after c, and, if c is in a loop, is touched
 *     only inside, first by a write (no value of it goes from trip to trip);
 *   - a read of D between w and c wants the old contents: it must lie apart from what S has
 *     been written so far, or be the same element of the same iteration of the map that
 *     writes it;
 *   - a write of D between w and e would destroy S: it must lie apart from it, or be again
 *     the same element of the same iteration that reads it.
 * Items in loops inside c's own loop happen at any time of that loop.
 *
 * Merged this way: in-place updates of weights and moments, gradients into their flat
 * range, stacked results of scans, carries, results that start as an argument. */
#include "passes/plan/plan_internal.h"

static void add_steps(const Pl *p, const DhcDim **to, const DhcDim *const *from) {
  for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++)
    if (from[d]) to[d] = to[d] ? dhc_dim_add(p->cx, to[d], from[d]) : from[d];
}

/* Root of b; b then lies in it directly, so that chains of buffers stay short. */
static int find_root(Pl *p, int b) {
  PlBuf *s = &p->bufs.at[b];
  if (s->parent < 0) return b;
  int root = find_root(p, s->parent);
  if (root != s->parent) {
    const PlBuf *up = &p->bufs.at[s->parent];
    s->at = dhc_dim_add(p->cx, s->at, up->at);
    add_steps(p, s->step, up->step);
    s->parent = root;
  }
  return root;
}

int dhc_pl_resolve(Pl *p, const PlRef *r, const DhcDim **offset, const DhcDim *step[DHC_MAX_LOOP_DEPTH]) {
  int root = find_root(p, r->buf);
  *offset = r->offset;
  for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++) step[d] = r->step[d];
  if (root == r->buf) return root;
  *offset = dhc_dim_add(p->cx, *offset, p->bufs.at[r->buf].at);
  add_steps(p, step, p->bufs.at[r->buf].step);
  return root;
}

/* ---- uses -------------------------------------------------------------------------- */

/* A use of a root. */
typedef struct Use {
  int item, ref;
  bool write;
  int first, last; /* items it may happen at, seen from the copy's loop */
  bool nested;     /* in a loop inside that one */
  const DhcDim *offset, *lo, *hi; /* bytes of the root */
  const DhcDim *step[DHC_MAX_LOOP_DEPTH];
} Use;

static bool has_steps(const DhcDim *const *step) {
  for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++)
    if (step[d]) return true;
  return false;
}

int dhc_pl_extent(Pl *p, const PlRef *r, const DhcDim **lo, const DhcDim **hi) {
  const DhcDim *offset, *step[DHC_MAX_LOOP_DEPTH];
  int root = dhc_pl_resolve(p, r, &offset, step);
  const DhcDim *shift = dhc_dim_sub(p->cx, offset, r->offset);
  bool stepped = has_steps(step);
  *lo = stepped ? dhc_dim_const(p->cx, 0) : dhc_dim_add(p->cx, r->lo, shift);
  *hi = stepped ? p->bufs.at[root].bytes : dhc_dim_add(p->cx, r->hi, shift);
  return root;
}

/* When the use happens, seen from loop `loop`; false if it is not inside that. */
static bool time_use(const Pl *p, PlUse at, int loop, Use *u) {
  const PlItem *it = &p->items.at[at.item];
  *u = (Use){.item = at.item, .ref = at.ref, .write = it->refs[at.ref].write, .first = at.item, .last = at.item};
  for (int l = it->loop; l != loop; l = p->items.at[l].loop) {
    if (l < 0) return false;
    u->first = l;
    u->last = p->items.at[l].end - 1;
    u->nested = true;
  }
  return true;
}

/* What it touches. */
static void place_use(Pl *p, Use *u) {
  const PlRef *r = &p->items.at[u->item].refs[u->ref];
  dhc_pl_resolve(p, r, &u->offset, u->step);
  dhc_pl_extent(p, r, &u->lo, &u->hi);
}

bool dhc_pl_apart(const Pl *p, const DhcDim *lo1, const DhcDim *hi1, const DhcDim *lo2, const DhcDim *hi2) {
  return dhc_dim_le(p->cx, p->facts, hi1, lo2) == DHC_TRUE || dhc_dim_le(p->cx, p->facts, hi2, lo1) == DHC_TRUE;
}

/* ---- may they be one? ------------------------------------------------------------------ */

typedef struct Merge {
  Pl *p;
  int item; /* the copy */
  int from, to; /* roots S, D */
  const DhcDim *at;
  const DhcDim *step[DHC_MAX_LOOP_DEPTH];
  Use *use; /* of S */
  int n;
  int begin, end; /* w and e */
} Merge;

static bool same_steps(const DhcDim *const *a, const DhcDim *const *b) {
  for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++)
    if (a[d] != b[d]) return false;
  return true;
}

/* Reading x and writing y are one iteration's business: the same element. One of them is a use
 * of S, which moves to `at`. */
static bool one_element(const Merge *m, const Use *read, const Use *write, bool read_moves) {
  const Pl *p = m->p;
  if (read->item != write->item || read->nested || write->nested) return false;
  const DhcDim *a = read->offset, *b = write->offset;
  if (read_moves)
    a = dhc_dim_add(p->cx, a, m->at);
  else
    b = dhc_dim_add(p->cx, b, m->at);
  const DhcDim *none[DHC_MAX_LOOP_DEPTH] = {0};
  return a == b && same_steps(read->step, none) && same_steps(write->step, none) && same_steps(m->step, none) &&
         dhc_pl_same_walk(&p->items.at[read->item], read->ref, write->ref);
}

static bool source_is_free(Merge *m) {
  Pl *p = m->p;
  const PlBuf *s = &p->bufs.at[m->from];
  int loop = p->items.at[m->item].loop;
  m->use = DHC_NEW_N(p->arena, Use, s->uses.n + 1);
  m->begin = m->end = -1;
  bool ok = true, read_first = false;
  int first = -1;
  for (int i = 0; i < s->uses.n && ok; i++) {
    Use *u = &m->use[m->n++];
    ok = time_use(p, s->uses.at[i], loop, u) && !(u->write && u->last > m->item);
    if (ok) place_use(p, u);
    if (first < 0 || u->item < first || (u->item == first && !u->write)) {
      first = u->item;
      read_first = !u->write;
    }
    if (m->begin < 0 || u->first < m->begin) m->begin = u->first;
    if (u->last > m->end) m->end = u->last;
  }
  return ok && !(read_first && loop >= 0);
}

/* x of D happens between w and c. */
static bool read_sees_old(const Merge *m, const Use *x) {
  for (int i = 0; i < m->n; i++) {
    const Use *w = &m->use[i];
    if (!w->write || w->first > x->last) continue;
    const DhcDim *lo = dhc_dim_add(m->p->cx, w->lo, m->at), *hi = dhc_dim_add(m->p->cx, w->hi, m->at);
    if (!dhc_pl_apart(m->p, lo, hi, x->lo, x->hi) && !one_element(m, x, w, false)) return false;
  }
  return true;
}

/* x of D happens between w and e. */
static bool write_spares_source(const Merge *m, const Use *x) {
  if (x->first <= m->item) return false;
  for (int i = 0; i < m->n; i++) {
    const Use *r = &m->use[i];
    if (r->last < x->first || r->item == m->item) continue;
    const DhcDim *lo = dhc_dim_add(m->p->cx, r->lo, m->at), *hi = dhc_dim_add(m->p->cx, r->hi, m->at);
    if (!dhc_pl_apart(m->p, lo, hi, x->lo, x->hi) && !one_element(m, r, x, true)) return false;
  }
  return true;
}

static bool may_merge(Merge *m) {
  Pl *p = m->p;
  if (!source_is_free(m)) return false;
  const PlBuf *d = &p->bufs.at[m->to], *s = &p->bufs.at[m->from];
  const DhcDim *none[DHC_MAX_LOOP_DEPTH] = {0};
  bool stepped = !same_steps(m->step, none);
  const DhcDim *end = dhc_dim_add(p->cx, m->at, s->bytes);
  for (int i = 0; i < d->uses.n; i++) {
    Use x;
    if (d->uses.at[i].item == m->item || !time_use(p, d->uses.at[i], p->items.at[m->item].loop, &x)) continue;
    if (x.last < m->begin || x.first > (x.write ? m->end : m->item)) continue;
    if (stepped) return false;
    place_use(p, &x);
    if (dhc_pl_apart(p, m->at, end, x.lo, x.hi)) continue;
    if (!(x.write ? write_spares_source(m, &x) : read_sees_old(m, &x))) return false;
  }
  return true;
}

/* ---- merging ----------------------------------------------------------------------------- */

static void add_uses(Pl *p, int to, int from) {
  PlBuf *d = &p->bufs.at[to], *s = &p->bufs.at[from];
  for (int i = 0; i < s->uses.n; i++) DHC_PUSH(p->arena, &d->uses, s->uses.at[i]);
}

void dhc_pl_drop_uses(Pl *p, int root, int item) {
  PlBuf *b = &p->bufs.at[root];
  int n = 0;
  for (int i = 0; i < b->uses.n; i++)
    if (b->uses.at[i].item != item) b->uses.at[n++] = b->uses.at[i];
  b->uses.n = n;
}

/* Item c if it is a move of all of a root of its own. */
static bool try_merge(Pl *p, int c) {
  PlItem *it = &p->items.at[c];
  if (!it->moves || it->gone) return false;
  const DhcDim *from_at, *from_step[DHC_MAX_LOOP_DEPTH];
  Merge m = {.p = p, .item = c};
  m.from = dhc_pl_resolve(p, &it->refs[0], &from_at, from_step);
  m.to = dhc_pl_resolve(p, &it->refs[1], &m.at, m.step);
  if (m.from == m.to) {
    if (it->kind != DHC_ITEM_COPY || from_at != m.at || !same_steps(from_step, m.step)) return false;
    it->gone = true;
    dhc_pl_drop_uses(p, m.to, c);
    return true;
  }
  PlBuf *s = &p->bufs.at[m.from];
  const DhcDim *none[DHC_MAX_LOOP_DEPTH] = {0};
  if (s->fixed || !dhc_dim_is(from_at, 0) || !same_steps(from_step, none) || s->bytes != it->bytes) return false;
  if (!may_merge(&m)) return false;
  s->parent = m.to;
  s->at = m.at;
  memcpy(s->step, m.step, sizeof m.step);
  add_uses(p, m.to, m.from);
  if (it->kind != DHC_ITEM_COPY) return true;
  it->gone = true;
  dhc_pl_drop_uses(p, m.to, c);
  return true;
}

void dhc_pl_collect_uses(Pl *p) {
  for (int i = 0; i < p->items.n; i++)
    for (int r = 0; r < p->items.at[i].n_refs; r++) {
      PlUse u = {i, r};
      DHC_PUSH(p->arena, &p->bufs.at[p->items.at[i].refs[r].buf].uses, u);
    }
}

void dhc_pl_merge(Pl *p) {
  /* In order: a buffer assembled through a chain of results that start as the one before is
   * one buffer, its writers known piece by piece, when its own copy comes. */
  for (bool more = true; more;) {
    more = false;
    for (int i = 0; i < p->items.n; i++) more = try_merge(p, i) || more;
  }
}
