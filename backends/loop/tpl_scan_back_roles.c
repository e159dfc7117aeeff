/* Template "scan_back": which axes, nodes and loads of a spec are what, and how much memory that takes. */
#include "backends/loop/tpl_scan_back.h"

static bool has_axis(const DhcBack *v, int n, int axis) { return v->cx.varies[n] >> axis & 1; }

static const char *find_axes(DhcBack *v) {
  const DhcSpec *s = v->s;
  uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR);
  v->seq = v->state = -1;
  for (int a = 0; a < s->n_axes; a++) {
    if (s->axis[a].role == DHC_AXIS_SEQ) v->seq = a;
    if (s->axis[a].role != DHC_AXIS_RED) continue;
    if (v->state >= 0) return "two axes of states";
    v->state = a;
  }
  if (v->seq < 0 || v->state < 0) return "no states";
  int64_t n = s->axis[v->state].extent;
  if (n != 4 && n != 8 && n != 16) return "another number of states";
  v->n = (int)n;
  v->lanes = v->n / DHC_BACK_QUAD;
  v->channels = v->threads / v->lanes;
  v->axis = dhc_tpl_choose_vector(&v->cx, par);
  if (v->axis < 0) return "no channels";
  v->rows = par & ~(1u << v->axis);
  return NULL;
}

/* The recurrence, and the one that goes back over it. */
static const char *find_scans(DhcBack *v) {
  const DhcSpec *s = v->s;
  v->scan = v->back = -1;
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *d = &s->node[n];
    if (d->kind != DHC_SN_SCAN || !v->needed[n]) continue;
    int *to = d->i & DHC_SCAN_BACK ? &v->back : &v->scan;
    if (*to >= 0 || d->dtype != DHC_F32) return "two recurrences";
    *to = n;
  }
  if (v->back < 0) return "no derivative of a recurrence";
  const DhcSpecNode *g = &s->node[v->back], *h = v->scan < 0 ? NULL : &s->node[v->scan];
  if (h && (h->a[0] != g->a[0] || h->i & DHC_SCAN_FORGET)) return "a recurrence of another form";
  if (h) {
    dhc_tpl_needed(s, h->a[0], v->in_sweep);
    dhc_tpl_needed(s, h->a[1], v->in_sweep);
  }
  memcpy(v->in_summary, v->in_sweep, sizeof v->in_summary);
  dhc_tpl_needed(s, g->a[0], v->in_summary);
  dhc_tpl_needed(s, g->a[1], v->in_summary);
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *d = &s->node[n];
    bool loops = d->kind == DHC_SN_SCAN || d->kind == DHC_SN_FOLD || d->kind == DHC_SN_BEFORE;
    if (v->in_sweep[n] && loops) return "a recurrence of what another gives";
    if (v->in_summary[n] && loops) v->segment = 0; /* needs the states: one after the other */
    if (v->needed[n] && d->kind == DHC_SN_BEFORE && d->a[0] != v->scan) return "what was before a step back";
  }
  return NULL;
}

static const char *find_folds(DhcBack *v) {
  const DhcSpec *s = v->s;
  uint32_t all = v->rows | 1u << v->seq;
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *d = &s->node[n];
    if (d->kind != DHC_SN_FOLD || !v->needed[n]) continue;
    if (d->op != DHC_OP_REDUCE_SUM || d->dtype != DHC_F32) return "a fold that is no sum";
    if (d->axes == 1u << v->state) continue;
    bool across = d->axes == 1u << v->axis, along = d->axes == all;
    if ((!across && !along) || !has_axis(v, d->a[0], v->state)) return "a sum over other axes";
    if ((across ? v->n_across : v->n_along) == DHC_BACK_FOLDS) return "too many sums";
    if (across) v->across[v->n_across++] = n;
    else v->along[v->n_along++] = n;
    for (int m = n + 1; m < s->n_nodes; m++)
      for (int k = 0; k < 4; k++)
        if (v->needed[m] && s->node[m].a[k] == n) return "something made of a sum over steps or channels";
  }
  return NULL;
}

static const char *find_outputs(const DhcBack *v) {
  const DhcSpec *s = v->s;
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) {
    int n = s->operand[o].stored;
    bool seq = dhc_tpl_operand_axes(&v->cx, o) >> v->seq & 1, fold = false;
    for (int k = 0; k < v->n_across; k++) fold = fold || v->across[k] == n;
    for (int k = 0; k < v->n_along; k++) fold = fold || v->along[k] == n;
    if (fold) continue;
    if (!seq && n != v->back) return "a last value of another form";
    if (seq && !(dhc_tpl_operand_axes(&v->cx, o) >> v->axis & 1)) return "an output of steps alone";
  }
  return NULL;
}

/* Plain loads of steps come by groups into block memory; others are asked for step by step. */
static void find_staged(DhcBack *v) {
  const DhcSpec *s = v->s;
  for (int n = 0; n < s->n_nodes && v->n_staged < DHC_BACK_STAGED; n++) {
    int o = v->needed[n] ? dhc_tpl_plain_load(s, n) : -1;
    if (o < 0 || !has_axis(v, n, v->seq) || has_axis(v, n, v->axis) == has_axis(v, n, v->state)) continue;
    bool by_state = has_axis(v, n, v->state);
    int width = by_state ? v->n : v->channels;
    v->staged[v->n_staged++] = (DhcBackStaged){n, o, width, by_state, v->slot};
    v->slot += (int64_t)width * DHC_BACK_STEPS;
  }
}

typedef enum What { ZERO, ONE, ANY } What;

static What what_of(const DhcBack *v, int n, const What *is) {
  const DhcSpecNode *d = &v->s->node[n];
  for (int k = 0; k < v->n_staged; k++)
    if (v->staged[k].node == n) return ZERO;
  if (d->kind == DHC_SN_CONST && d->dtype == DHC_F32) return d->f == 0 ? ZERO : d->f == 1 ? ONE : ANY;
  if (d->kind != DHC_SN_EW || d->dtype != DHC_F32) return ANY;
  What x = d->a[0] >= 0 ? is[d->a[0]] : ANY, y = d->a[1] >= 0 ? is[d->a[1]] : ANY;
  switch ((int)d->op) {
  case DHC_OP_MUL: return x == ZERO || y == ZERO ? ZERO : x == ONE ? y : y == ONE ? x : ANY;
  case DHC_OP_ADD: return x == ZERO ? y : y == ZERO ? x : ANY;
  case DHC_OP_SUB: return y == ZERO ? x : ANY;
  case DHC_OP_NEG: return x == ZERO ? ZERO : ANY;
  case DHC_OP_EXP: return x == ZERO ? ONE : ANY;
  default: return ANY;
  }
}

/* Where all that comes by groups is 0, states stay, nothing comes back, and no sum gets anything. */
static bool does_vanish(const DhcBack *v) {
  What is[DHC_SPEC_MAX_NODES];
  for (int n = 0; n < v->s->n_nodes; n++) is[n] = what_of(v, n, is);
  const DhcSpecNode *g = &v->s->node[v->back];
  bool ok = is[g->a[0]] == ONE && is[g->a[1]] == ZERO && (v->scan < 0 || is[v->s->node[v->scan].a[1]] == ZERO);
  for (int k = 0; k < v->n_across; k++) ok = ok && is[v->s->node[v->across[k]].a[0]] == ZERO;
  for (int k = 0; k < v->n_along; k++) ok = ok && is[v->s->node[v->along[k]].a[0]] == ZERO;
  return ok;
}

const char *dhc_back_roles(DhcBack *v) {
  dhc_tpl_needed_by_outputs(v->s, v->needed);
  const char *why = find_axes(v);
  if (!why) why = find_scans(v);
  if (!why) why = find_folds(v);
  if (!why) why = find_outputs(v);
  if (why) return why;
  find_staged(v);
  v->vanishes = does_vanish(v);
  return why;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static dhc_dimprog times(DhcBack *v, dhc_dimprog x, dhc_dimprog y) { return dhc_prog_op(v->b->arena, DHC_DIM_MUL, x, y); }
static dhc_dimprog number(DhcBack *v, int64_t n) { return dhc_prog_const(v->b->arena, n); }
static dhc_dimprog pieces(DhcBack *v, dhc_dimprog x, int64_t of) { return dhc_prog_op(v->b->arena, DHC_DIM_CEILDIV, x, number(v, of)); }

/* Arrays, in the order in which they lie. */
static int arrays(DhcBack *v, DhcBackArray **at) {
  int n = 0;
  if (v->scan >= 0) at[n++] = &v->saved;
  if (v->segment) at[n++] = &v->ends, at[n++] = &v->decays, at[n++] = &v->backs;
  for (int k = 0; k < v->n_across; k++) at[n++] = &v->across_parts[k];
  for (int k = 0; k < v->n_along; k++) at[n++] = &v->along_parts[k];
  return n;
}

dhc_dimprog dhc_back_sizes(DhcBack *v) {
  DhcArena *a = v->b->arena;
  v->n_steps = dhc_tpl_extent_prog(&v->cx, v->seq);
  v->n_rows = dhc_tpl_count_prog(&v->cx, v->rows);
  v->n_blocks = pieces(v, dhc_tpl_extent_prog(&v->cx, v->axis), v->channels);
  v->n_channels = times(v, v->n_blocks, number(v, v->channels));
  v->n_segments = v->segment ? dhc_prog_op(a, DHC_DIM_MAX, pieces(v, v->n_steps, v->segment), number(v, 1)) : number(v, 1);
  dhc_dimprog states = times(v, v->n_channels, number(v, v->n)), parts = times(v, v->n_rows, v->n_segments);
  dhc_dimprog groups = v->segment ? number(v, v->segment / DHC_BACK_STEPS) : pieces(v, v->n_steps, DHC_BACK_STEPS);
  v->saved.n = times(v, times(v, parts, groups), states);
  v->ends.n = v->decays.n = v->backs.n = times(v, parts, states);
  for (int k = 0; k < v->n_across; k++)
    v->across_parts[k].n = times(v, times(v, v->n_blocks, v->n_rows), times(v, v->n_steps, number(v, v->n)));
  for (int k = 0; k < v->n_along; k++) v->along_parts[k].n = times(v, parts, states);
  v->sums = (int64_t)v->threads / 32 * DHC_BACK_STEPS * v->n_across * v->n;
  DhcBackArray *at[4 + 2 * DHC_BACK_FOLDS];
  dhc_dimprog all = number(v, 0);
  for (int i = 0, n = arrays(v, at); i < n; i++) all = dhc_prog_op(a, DHC_DIM_ADD, all, at[i]->n);
  return times(v, all, number(v, 4));
}

void dhc_back_values(DhcBack *v) {
  DhcLp *b = v->b;
  DhcBackArray *at[4 + 2 * DHC_BACK_FOLDS];
  DhcLv place = dhc_lp_i64(b, 0);
  v->v_rows = dhc_lp_prog(b, v->n_rows);
  v->v_blocks = dhc_lp_prog(b, v->n_blocks);
  v->v_segments = dhc_lp_prog(b, v->n_segments);
  v->v_channels = dhc_lp_prog(b, v->n_channels);
  v->length = v->cx.extent[v->seq];
  for (int i = 0, n = arrays(v, at); i < n; i++) {
    at[i]->at = place;
    place = dhc_lp_add(b, place, dhc_lp_prog(b, at[i]->n));
  }
}
