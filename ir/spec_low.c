/* Contractions whose operands are read as they lie, a few rows of them at once. */
#include "ir/spec.h"

static bool is_one(uint32_t mask) { return mask && !(mask & (mask - 1)); }

/* A load in f32 of rows of ks: lines of at most one axis, ks side by side. */
static bool is_plain(const DhcSpec *s, int n, uint32_t k) {
  const DhcSpecNode *x = &s->node[n];
  if (x->kind != DHC_SN_LOAD) return false;
  const DhcOperand *p = &s->operand[x->operand];
  uint32_t lines = dhc_spec_varies(s, n) & ~k;
  bool along = false;
  if (p->dtype != DHC_F32 || p->tag != DHC_TAG_ROW || (lines && !is_one(lines))) return false;
  for (int t = 0; t < p->n_terms; t++) {
    const DhcTerm *e = &p->term[t];
    if (e->guarded || e->index >= 0 || e->div != 1 || e->n_axes != 1 || e->coef[0] != 1) return false;
    along = along || (e->unit && k >> e->axis[0] & 1);
  }
  return along && p->n_terms == 1 + (lines != 0);
}

bool dhc_spec_low(const DhcSpec *s) {
  uint32_t k = dhc_spec_axes(s, DHC_AXIS_RED), sides[2] = {0};
  bool any = false;
  if (s->kind != DHC_KIND_DOT || !is_one(k) || dhc_spec_axes(s, DHC_AXIS_SEQ)) return false;
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *f = &s->node[n];
    if (f->kind != DHC_SN_FOLD) continue;
    if (f->op != DHC_OP_DOT_GENERAL || f->dtype != DHC_F32) return false;
    for (int i = 0; i < 2; i++) {
      uint32_t lines = dhc_spec_varies(s, f->a[i]) & ~k;
      if (!is_plain(s, f->a[i], k) || (any && lines != sides[i])) return false;
      sides[i] = lines;
    }
    any = true;
  }
  return any && sides[0] != sides[1] && (sides[0] | sides[1]) == dhc_spec_axes(s, DHC_AXIS_PAR);
}
