/* Contractions and sums whose operands are read as they lie, few rows of them at once. */
#include "ir/spec.h"

static int count(uint32_t axes) { return __builtin_popcount(axes); }

/* A load in f32 of lines of ks, which lie side by side; lines are of so many axes at most. */
static bool is_plain(const DhcSpec *s, int n, uint32_t k, int most) {
  const DhcSpecNode *x = &s->node[n];
  if (x->kind != DHC_SN_LOAD) return false;
  const DhcOperand *p = &s->operand[x->operand];
  int lines = count(dhc_spec_varies(s, n) & ~k);
  bool along = false;
  if (p->dtype != DHC_F32 || p->tag != DHC_TAG_ROW || lines > most) return false;
  for (int t = 0; t < p->n_terms; t++) {
    const DhcTerm *e = &p->term[t];
    if (e->guarded || e->index >= 0 || e->div != 1 || e->n_axes != 1 || e->coef[0] != 1) return false;
    along = along || (e->unit && k >> e->axis[0] & 1);
  }
  return along && p->n_terms == 1 + lines;
}

static void mark(const DhcSpec *s, int n, bool *needed) {
  needed[n] = true;
  for (; n >= 0; n--)
    for (int k = 0; k < 4 && needed[n]; k++)
      if (s->node[n].a[k] >= 0) needed[s->node[n].a[k]] = true;
}

bool dhc_spec_folds(const DhcSpec *s, int n) {
  bool needed[DHC_SPEC_MAX_NODES] = {false}, folds = false;
  mark(s, n, needed);
  for (; n >= 0; n--) folds = folds || (needed[n] && s->node[n].kind == DHC_SN_FOLD);
  return folds;
}

static bool is_row_sum(const DhcSpec *s, const DhcSpecNode *f, uint32_t k) {
  return f->op == DHC_OP_REDUCE_SUM && f->axes == k && f->dtype == DHC_F32 && s->node[f->a[0]].dtype == DHC_F32;
}

int dhc_spec_norm(const DhcSpec *s, int n, uint32_t k) {
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  int rows = -1;
  mark(s, n, needed);
  for (; n >= 0; n--) {
    const DhcSpecNode *e = &s->node[n];
    if (!needed[n] || e->kind == DHC_SN_CONST || e->kind == DHC_SN_ARG || e->kind == DHC_SN_EW) continue;
    if (e->kind == DHC_SN_FOLD ? !is_row_sum(s, e, k) : e->kind != DHC_SN_LOAD) return -1;
    uint32_t varies = dhc_spec_varies(s, n);
    if (e->kind == DHC_SN_FOLD || (!varies && !s->operand[e->operand].n_terms)) continue;
    if (!is_plain(s, n, k, 1) || (varies != k && rows >= 0)) return -1;
    if (varies != k) rows = n;
  }
  return rows;
}

/* What is multiplied by a range's matrix, where its row is one of the range's; -1: no ranges. */
static int ranged(const DhcSpec *s, int n) {
  const DhcSpecNode *x = &s->node[n];
  return x->kind == DHC_SN_EW && x->op == DHC_OP_SELECT ? x->a[1] : -1;
}

/* The contraction n, of lines `side` of both operands; *k: its axis. */
static bool is_low(const DhcSpec *s, int n, uint32_t *side, uint32_t *k) {
  const DhcSpecNode *f = &s->node[n];
  bool ranges = s->kind == DHC_KIND_RAGGED;
  int x = ranges ? ranged(s, f->a[0]) : f->a[0], y = f->a[1];
  if (f->op != DHC_OP_DOT_GENERAL || f->dtype != DHC_F32 || x < 0) return false;
  *k = dhc_spec_varies(s, x) & f->axes;
  side[0] = dhc_spec_varies(s, x) & ~*k;
  side[1] = dhc_spec_varies(s, y) & ~*k;
  if (count(*k) != 1 || !is_plain(s, y, *k, 1 + ranges)) return false;
  if (!is_plain(s, x, *k, 1)) { /* rows, so the columns are the result's last axis */
    uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR);
    if (ranges || !dhc_spec_folds(s, x) || dhc_spec_norm(s, x, *k) < 0 || (par & ~side[1]) > (par & side[1])) return false;
  }
  return (f->axes & ~*k) == (side[1] & dhc_spec_axes(s, DHC_AXIS_RED)) && count(f->axes) == 1 + ranges;
}

bool dhc_spec_low(const DhcSpec *s) {
  uint32_t side[2], first[2] = {0}, k, par = dhc_spec_axes(s, DHC_AXIS_PAR), red = 0;
  if ((s->kind != DHC_KIND_DOT && s->kind != DHC_KIND_RAGGED) || dhc_spec_axes(s, DHC_AXIS_SEQ)) return false;
  bool within[DHC_SPEC_MAX_NODES] = {false}; /* what is contracted */
  for (int n = 0; n < s->n_nodes; n++)
    if (s->node[n].kind == DHC_SN_FOLD && s->node[n].op == DHC_OP_DOT_GENERAL) mark(s, s->node[n].a[0], within);
  for (int n = 0; n < s->n_nodes; n++) {
    if (s->node[n].kind != DHC_SN_FOLD || within[n]) continue;
    if (!is_low(s, n, side, &k) || (red && (side[0] != first[0] || side[1] != first[1] || s->node[n].axes != red))) return false;
    first[0] = side[0];
    first[1] = side[1];
    red = s->node[n].axes;
  }
  return red && red == dhc_spec_axes(s, DHC_AXIS_RED) && side[0] != side[1] && (side[0] | (side[1] & par)) == par;
}

/* Nodes that folds are made of. */
static void mark_folded(const DhcSpec *s, bool *of) {
  for (int n = s->n_nodes; n-- > 0;) {
    const DhcSpecNode *d = &s->node[n];
    for (int i = 0; i < 4; i++)
      if (d->a[i] >= 0 && (of[n] || d->kind == DHC_SN_FOLD)) of[d->a[i]] = true;
  }
}

bool dhc_spec_is_folded(const DhcSpec *s, int operand) {
  bool of[DHC_SPEC_MAX_NODES] = {false};
  mark_folded(s, of);
  for (int n = 0; n < s->n_nodes; n++)
    if (of[n] && s->node[n].kind == DHC_SN_LOAD && s->node[n].operand == operand) return true;
  return false;
}

int dhc_spec_updates(const DhcSpec *s) {
  const int n_in = dhc_spec_n_inputs(s);
  const uint32_t red = dhc_spec_axes(s, DHC_AXIS_RED), par = dhc_spec_axes(s, DHC_AXIS_PAR);
  int fold = -1, beside = 0;
  if ((s->kind != DHC_KIND_DOT && s->kind != DHC_KIND_RAGGED) || s->n_operands - n_in < 2 || count(red) != 1) return -1;
  for (int n = 0; n < s->n_nodes; n++) {
    if (s->node[n].kind != DHC_SN_FOLD) continue;
    if (fold >= 0 || s->node[n].op != DHC_OP_DOT_GENERAL || s->node[n].dtype != DHC_F32) return -1;
    fold = n;
  }
  for (int o = 0; o < n_in; o++) /* rows that are summed over lie one after the other: a gradient of weights */
    if (dhc_spec_is_folded(s, o) && dhc_spec_unit_axis(&s->operand[o]) >= 0 && (red >> dhc_spec_unit_axis(&s->operand[o]) & 1)) return -1;
  for (int n = 0; n < s->n_nodes; n++)
    beside += s->node[n].kind == DHC_SN_LOAD && dhc_spec_varies(s, n) == par && !dhc_spec_is_folded(s, s->node[n].operand);
  return fold >= 0 && beside >= 2 ? fold : -1;
}

/* Side by side along the axis, or the same all along it. */
static bool lies_along(const DhcSpec *s, const DhcOperand *p, uint32_t axis) {
  for (int t = 0; t < p->n_terms; t++) {
    const DhcTerm *e = &p->term[t];
    bool has = e->index >= 0 && (dhc_spec_varies(s, e->index) & axis);
    for (int i = 0; i < e->n_axes; i++) has = has || axis >> e->axis[i] & 1;
    if (has && (e->guarded || e->index >= 0 || !e->unit || e->coef[0] != 1 || e->n_axes != 1)) return false;
  }
  return p->tag == DHC_TAG_ROW;
}

bool dhc_spec_holds(const DhcSpec *s) {
  uint32_t red = dhc_spec_axes(s, DHC_AXIS_RED);
  if (s->kind != DHC_KIND_ROW || count(red) != 1 || dhc_spec_axes(s, DHC_AXIS_SEQ)) return false;
  for (int a = 0; a < s->n_axes; a++)
    if (red >> a & 1 && s->axis[a].extent) return false;
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *d = &s->node[n];
    if (d->kind == DHC_SN_RANDOM || d->kind == DHC_SN_SCAN) return false;
    if (d->kind == DHC_SN_FOLD && (d->op != DHC_OP_REDUCE_SUM || s->node[d->a[0]].dtype != DHC_F32 || d->axes != red)) return false;
  }
  for (int o = 0; o < s->n_operands; o++) {
    bool out = o >= dhc_spec_n_inputs(s);
    if (!lies_along(s, &s->operand[o], red) || (out && !(dhc_spec_varies(s, s->operand[o].stored) & red))) return false;
  }
  return true;
}
