/* The contraction template's roles (tpl_dot.c): which axis is rows', which columns', and which fold's operand is whose. */
#include "backends/loop/tpl_dot.h"

typedef DhcDot Dot;

/* The folds: contractions over the same axes. */
static bool find_folds(Dot *d) {
  d->n_folds = 0;
  for (int n = 0; n < d->s->n_nodes; n++) {
    const DhcSpecNode *f = &d->s->node[n];
    if (f->kind != DHC_SN_FOLD) continue;
    if (f->op != DHC_OP_DOT_GENERAL || f->dtype != DHC_F32 || d->n_folds == DHC_DOT_MAX_FOLDS) return false;
    if (d->n_folds && f->axes != d->s->node[d->node[0]].axes) return false;
    d->node[d->n_folds++] = n;
  }
  return d->n_folds > 0;
}

/* A second fold has node `a` for A as well, and its B runs over the axes that the first's does. */
static bool find_second(Dot *d, int a) {
  if (d->n_folds < 2) return true;
  const DhcSpecNode *f = &d->s->node[d->node[1]];
  if (f->a[0] != a && f->a[1] != a) return false;
  d->nb[1] = f->a[0] == a ? f->a[1] : f->a[0];
  return d->cx.varies[d->nb[1]] == d->cx.varies[d->nb[0]];
}

bool dhc_dot_find_roles(DhcDot *d) {
  const DhcSpec *s = d->s;
  if (!find_folds(d)) return false;
  const DhcSpecNode *f = &s->node[d->node[0]];
  d->red = f->axes;
  uint32_t va = d->cx.varies[f->a[0]] & ~d->red, vb = d->cx.varies[f->a[1]] & ~d->red, par = 0;
  for (int a = 0; a < s->n_axes; a++) {
    if (s->axis[a].role == DHC_AXIS_PAR)
      par |= 1u << a;
    else if (!(d->red >> a & 1))
      return false;
  }
  d->na = f->a[0];
  d->nb[0] = f->a[1];
  int out = dhc_spec_n_inputs(s), side = dhc_spec_unit_axis(&s->operand[out]);
  if (side >= 0 && (va & ~vb) >> side & 1) { /* the columns are A's: swap */
    uint32_t v = va;
    va = vb;
    vb = v;
    d->na = f->a[1];
    d->nb[0] = f->a[0];
  }
  if (!find_second(d, d->na)) return false;
  d->n = dhc_dot_single_axis(vb & ~va, side);
  if (d->n < 0) return false;
  d->m = dhc_dot_single_axis(va & ~vb, -1);
  d->outer = par & ~(1u << d->n);
  if (d->m >= 0) d->outer &= ~(1u << d->m);
  return true;
}

/* select(lo <= row and row < hi, x, 0) with lo and hi over a single axis e: x, or -1. */
static int range_of(Dot *d, int node) {
  const DhcSpecNode *all = d->s->node, *s = &all[node];
  if (s->kind != DHC_SN_EW || s->op != DHC_OP_SELECT || all[s->a[2]].kind != DHC_SN_CONST || all[s->a[2]].f != 0) return -1;
  const DhcSpecNode *both = &all[s->a[0]];
  if (both->kind != DHC_SN_EW || both->op != DHC_OP_AND) return -1;
  const DhcSpecNode *le = &all[both->a[0]], *lt = &all[both->a[1]];
  if (le->kind != DHC_SN_EW || le->op != DHC_OP_LE || lt->kind != DHC_SN_EW || lt->op != DHC_OP_LT) return -1;
  const DhcSpecNode *row = &all[le->a[1]];
  uint32_t e = d->cx.varies[le->a[0]];
  if (le->a[1] != lt->a[0] || row->kind != DHC_SN_AXIS || !e || (e & (e - 1)) || d->cx.varies[lt->a[1]] != e) return -1;
  d->lo = le->a[0];
  d->hi = lt->a[1];
  d->e = dhc_dot_single_axis(e, -1);
  d->m = row->operand; /* for the caller */
  return s->a[1];
}

bool dhc_dot_find_ragged(DhcDot *d) {
  const DhcSpec *s = d->s;
  if (s->kind != DHC_KIND_RAGGED) return false;
  if (!find_folds(d)) return false;
  const DhcSpecNode *f = &s->node[d->node[0]];
  d->na = range_of(d, f->a[0]);
  d->nb[0] = f->a[1];
  if (d->na < 0 || !find_second(d, f->a[0])) return false;
  uint32_t e = 1u << d->e, row = 1u << d->m, par = dhc_spec_axes(s, DHC_AXIS_PAR);
  d->red = f->axes & ~e;
  bool forward = f->axes & e;
  if (!d->red || !dhc_dot_one_axis(d->red) || (forward ? !(par & row) : row != d->red || !(par & e))) return false;
  uint32_t va = d->cx.varies[d->na] & ~d->red, vb = d->cx.varies[d->nb[0]] & ~d->red & ~e;
  int side = dhc_spec_unit_axis(&s->operand[dhc_spec_n_inputs(s)]);
  if (side >= 0 && !(vb >> side & 1)) return false;
  d->n = dhc_dot_single_axis(vb & ~va, side);
  d->m = dhc_dot_single_axis(va & ~vb, -1);
  if (d->n < 0 || d->m < 0 || (forward && row != 1u << d->m)) return false;
  d->outer = par & ~(1u << d->n) & ~(1u << d->m);
  return true;
}
