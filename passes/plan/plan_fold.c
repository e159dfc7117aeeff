/* Items that need not be: results nobody reads, and flushes of carried states, which the
 * kernel that computes the state does on the way. */
#include "passes/plan/plan_internal.h"

/* ---- unread results ------------------------------------------------------------------ */

static bool is_wanted(const Pl *p, const PlItem *it, const int *n_reads) {
  if (it->kind == DHC_ITEM_LOOP) return true;
  for (int r = 0; r < it->n_refs; r++)
    if (it->refs[r].write && (p->bufs.at[it->refs[r].buf].fixed || n_reads[it->refs[r].buf])) return true;
  return false;
}

void dhc_pl_drop_unread(Pl *p) {
  int *n_reads = DHC_NEW_N(p->arena, int, p->bufs.n + 1);
  for (int i = 0; i < p->items.n; i++)
    for (int r = 0; r < p->items.at[i].n_refs; r++) n_reads[p->items.at[i].refs[r].buf] += !p->items.at[i].refs[r].write;
  for (bool more = true; more;) {
    more = false;
    for (int i = p->items.n; i-- > 0;) {
      PlItem *it = &p->items.at[i];
      if (it->gone || is_wanted(p, it, n_reads)) continue;
      for (int r = 0; r < it->n_refs; r++) n_reads[it->refs[r].buf] -= !it->refs[r].write;
      for (int r = 0; r < it->n_refs; r++) dhc_pl_drop_uses(p, it->refs[r].buf, i);
      it->gone = more = true;
    }
  }
}

/* ---- flushes ---------------------------------------------------------------------------- */

/* Place of a reference: the same bytes in every iteration if all is equal. */
typedef struct Place {
  int root;
  const DhcDim *offset, *step[DHC_MAX_LOOP_DEPTH], *lo, *hi;
} Place;

static Place place_of(Pl *p, const PlRef *r) {
  Place x;
  dhc_pl_resolve(p, r, &x.offset, x.step);
  x.root = dhc_pl_extent(p, r, &x.lo, &x.hi);
  return x;
}

static bool same_place(const Place *a, const Place *b) {
  for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++)
    if (a->step[d] != b->step[d]) return false;
  return a->root == b->root && a->offset == b->offset && a->lo == b->lo && a->hi == b->hi;
}

static bool touches(Pl *p, const PlRef *r, const Place *x) {
  const DhcDim *lo, *hi;
  return dhc_pl_extent(p, r, &lo, &hi) == x->root && !dhc_pl_apart(p, lo, hi, x->lo, x->hi);
}

/* Output o of a call stores as many elements as the flush `f` moves: all of them. */
static bool stores_all(Pl *p, const PlItem *it, int o, const PlItem *f) {
  const DhcOperand *out = &it->spec->operand[o];
  const DhcDim *n = dhc_dim_const(p->cx, 1);
  for (int t = 0; t < out->n_terms; t++) {
    if (out->term[t].guarded || out->term[t].index >= 0 || out->term[t].n_axes != 1) return false;
    int at = dhc_spec_extent_arg(it->spec, out->term[t].axis[0]);
    n = dhc_dim_mul(p->cx, n, at < 0 ? dhc_dim_const(p->cx, it->spec->axis[out->term[t].axis[0]].extent) : it->dims[at]);
  }
  return dhc_dim_mulc(p->cx, n, dhc_dtype_bytes(out->dtype)) == f->bytes;
}

static bool kind_may_grow(const DhcSpec *s) {
  return (s->kind == DHC_KIND_MAP || s->kind == DHC_KIND_DOT || s->kind == DHC_KIND_ROW) &&
         s->n_operands < DHC_SPEC_MAX_OPERANDS && s->n_nodes + 5 <= DHC_SPEC_MAX_NODES;
}

/* The call that stores what flush f reads, if nothing in between (nor f's own writing, done
 * there) can tell that it is flushed at once. *out: its output. */
static PlItem *producer(Pl *p, int f, int *out) {
  const PlItem *flush = &p->items.at[f];
  Place src = place_of(p, &flush->refs[0]), dst = place_of(p, &flush->refs[1]);
  bool in_place = same_place(&src, &dst);
  for (int i = f; i-- > 0 && i != flush->loop;) {
    PlItem *it = &p->items.at[i];
    if (it->gone) continue;
    if (it->loop == flush->loop && it->kind == DHC_ITEM_CALL && kind_may_grow(it->spec)) {
      int n_in = dhc_spec_n_inputs(it->spec);
      for (int o = n_in; o < it->n_refs; o++) {
        Place x = place_of(p, &it->refs[o]);
        *out = o;
        if (!same_place(&x, &src) || !stores_all(p, it, o, flush)) continue;
        for (int r = 0; r < it->n_refs && !in_place; r++) {
          Place use = place_of(p, &it->refs[r]);
          if (touches(p, &it->refs[r], &dst) &&
              !(r < n_in && same_place(&use, &dst) && dhc_pl_same_walk(it, r, o)))
            return NULL;
        }
        return it;
      }
    }
    for (int r = 0; r < it->n_refs; r++)
      if (touches(p, &it->refs[r], &dst) || (it->refs[r].write && touches(p, &it->refs[r], &src))) return NULL;
  }
  return NULL;
}

/* A copy of s with room for one more operand and a flush; output `out` stores flushed, or a
 * further output beside it does. */
static const DhcSpec *flushing(Pl *p, const DhcSpec *s, int out, bool further) {
  DhcSpec *t = dhc_arena_dup(p->m->arena, s, sizeof *s);
  t->node = DHC_NEW_N(p->m->arena, DhcSpecNode, s->n_nodes + 5);
  memcpy(t->node, s->node, sizeof *s->node * (size_t)s->n_nodes);
  int node = dhc_pl_add_flush(t, s->operand[out].dtype, s->operand[out].stored), o = out;
  if (further) t->operand[o = t->n_operands++] = s->operand[out];
  t->operand[o].stored = node;
  return dhc_pl_intern(p, t);
}

static void fold_flush(Pl *p, int f) {
  PlItem *flush = &p->items.at[f];
  int out;
  PlItem *it = producer(p, f, &out);
  if (!it) return;
  Place src = place_of(p, &flush->refs[0]), dst = place_of(p, &flush->refs[1]);
  bool further = !same_place(&src, &dst);
  const DhcSpec *s = it->spec;
  it->spec = flushing(p, s, out, further);
  flush->gone = true;
  if (!further) return;
  /* the new operand's strides stand behind those of all others, before the extra arguments */
  int extra = dhc_spec_extra_arg(s, 0), n = 0;
  const DhcDim **dims = DHC_NEW_N(p->arena, const DhcDim *, it->n_dims + DHC_SPEC_MAX_TERMS);
  for (; n < extra; n++) dims[n] = it->dims[n];
  for (int t = 0; t < s->operand[out].n_terms; t++)
    if (dhc_spec_stride_arg(s, out, t) >= 0) dims[n++] = it->dims[dhc_spec_stride_arg(s, out, t)];
  for (int k = extra; k < it->n_dims; k++) dims[n++] = it->dims[k];
  PlRef *refs = DHC_NEW_N(p->arena, PlRef, it->n_refs + 1);
  memcpy(refs, it->refs, sizeof *refs * (size_t)it->n_refs);
  refs[it->n_refs++] = flush->refs[1];
  it->refs = refs;
  it->dims = dims;
  it->n_dims = n;
}

void dhc_pl_fold_flushes(Pl *p) {
  for (int i = 0; i < p->items.n; i++)
    if (p->items.at[i].flushes && !p->items.at[i].gone) fold_flush(p, i);
}
