/* Which axes and nodes of a chain play which part (tpl_chain.c says what the parts are). */
#include "backends/loop/tpl_chain.h"

/* ---- roles -------------------------------------------------------------------------------- */

static bool is_dot(const DhcSpecNode *d) {
  return d->kind == DHC_SN_FOLD && d->op == DHC_OP_DOT_GENERAL;
}

int dhc_chain_only_axis(uint32_t m) {
  if (!m || (m & (m - 1))) return -1;
  int a = 0;
  while (!(m >> a & 1)) a++;
  return a;
}

static int last_axis(uint32_t m) {
  int a = -1;
  for (int i = 0; i < DHC_SPEC_MAX_AXES; i++)
    if (m >> i & 1) a = i;
  return a;
}

static bool needs_dot(const DhcSpec *s, int n) {
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  dhc_tpl_needed(s, n, needed);
  for (int i = 0; i <= n; i++)
    if (needed[i] && is_dot(&s->node[i])) return true;
  return false;
}

bool dhc_chain_side_by_side(const DhcOperand *p, int axis) {
  for (int t = 0; t < p->n_terms; t++)
    if (p->term[t].unit && p->term[t].n_axes == 1 && p->term[t].axis[0] == axis) return true;
  return false;
}

/* Dots into inner and outer ones, other folds into folds. */
static bool sort_folds(DhcChain *c) {
  const DhcSpec *s = c->s;
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *d = &s->node[n];
    if (d->kind != DHC_SN_FOLD) continue;
    if (d->dtype != DHC_F32) return false;
    if (!is_dot(d)) {
      if (!dhc_op_folds(d->op) || c->n_fold == DHC_CHAIN_MAX_FOLDS) return false;
      c->fold[c->n_fold++] = (DhcChainFold){.node = n, .sum = d->op == DHC_OP_REDUCE_SUM};
      continue;
    }
    bool wide0 = needs_dot(s, d->a[0]), wide1 = needs_dot(s, d->a[1]);
    if (wide0 && wide1) return false;
    if (!wide0 && !wide1) {
      if (c->n_in == DHC_CHAIN_MAX_INNER || dhc_chain_only_axis(d->axes) < 0) return false;
      c->in[c->n_in++] = (DhcChainInner){.node = n, .na = d->a[0], .nb = d->a[1], .k = dhc_chain_only_axis(d->axes)};
    } else {
      if (c->n_out == DHC_CHAIN_MAX_OUTER || (c->n_out && d->axes != c->red)) return false;
      c->red = d->axes;
      c->out[c->n_out++] = (DhcChainOuter){.node = n, .ne = d->a[wide0 ? 0 : 1], .nv = d->a[wide0 ? 1 : 0]};
    }
  }
  for (int f = 0; f < c->n_fold; f++)
    if (s->node[c->fold[f].node].axes != c->red) return false;
  return c->n_in && c->n_out;
}

/* The lane axis suits if one side of every inner contraction has it and the other has R. */
static bool lane_suits(DhcChain *c, int lane) {
  const uint32_t *varies = c->cx.varies;
  uint32_t bit = 1u << lane;
  for (int j = 0; j < c->n_out; j++)
    if (varies[c->out[j].nv] & bit) return false;
  for (int i = 0; i < c->n_in; i++) {
    DhcChainInner *in = &c->in[i];
    if (varies[in->na] & bit) {
      int a = in->na;
      in->na = in->nb;
      in->nb = a;
    }
    if ((varies[in->na] & bit) || !(varies[in->nb] & bit) || (varies[in->nb] & c->red)) return false;
  }
  return true;
}

/* Number of the last level of folds below n. */
static int level_below(const DhcChain *c, int n) {
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  dhc_tpl_needed(c->s, n, needed);
  int level = 0;
  for (int f = 0; f < c->n_fold; f++)
    if (needed[c->fold[f].node] && c->fold[f].level > level) level = c->fold[f].level;
  return level;
}

static bool find_columns(DhcChain *c) {
  const DhcSpec *s = c->s;
  for (int j = 0; j < c->n_out; j++) {
    DhcChainOuter *o = &c->out[j];
    o->ov = dhc_tpl_plain_load(s, o->nv);
    o->col = dhc_chain_only_axis(c->cx.varies[o->nv] & ~c->red & ~c->outer);
    if (o->ov < 0 || o->col < 0 || !dhc_chain_side_by_side(&s->operand[o->ov], o->col)) return false;
    o->panel = -1;
    for (int i = 0; i < j; i++)
      if (c->out[i].ne == o->ne) o->panel = c->out[i].panel;
    if (o->panel < 0) o->panel = c->n_panels++;
  }
  if (c->n_panels < c->n_in) c->n_panels = c->n_in;
  return true;
}

/* An output has rows, and the columns of the contractions it needs, or none. */
static bool output_suits(const DhcChain *c, int o) {
  uint32_t par = c->outer | 1u << c->lane, more = dhc_tpl_operand_axes(&c->cx, o) & ~par;
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  dhc_tpl_needed(c->s, c->s->operand[o].stored, needed);
  if (more && dhc_chain_only_axis(more) < 0) return false;
  for (int i = 0; i < c->n_in; i++)
    if (needed[c->in[i].node] && (c->cx.varies[c->s->operand[o].stored] & c->red)) return false;
  bool found = !more;
  for (int j = 0; j < c->n_out; j++) {
    if (c->out[j].col == dhc_chain_only_axis(more)) found = true;
    else if (needed[c->out[j].node]) return false;
  }
  return found;
}

bool dhc_chain_roles(DhcChain *c) {
  const DhcSpec *s = c->s;
  if (!sort_folds(c)) return false;
  uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR);
  if (dhc_spec_axes(s, DHC_AXIS_SEQ)) return false;
  c->lane = -1;
  for (int a = s->n_axes - 1; a >= 0 && c->lane < 0; a--)
    if ((par >> a & 1) && lane_suits(c, a)) c->lane = a;
  if (c->lane < 0) return false;
  c->outer = par & ~(1u << c->lane);
  c->step = last_axis(c->red);
  c->others = c->red & ~(1u << c->step);
  for (int i = 0; i < c->n_in; i++) {
    c->in[i].oa = dhc_tpl_plain_load(s, c->in[i].na);
    if (c->in[i].oa < 0) return false;
  }
  for (int f = 0; f < c->n_fold; f++) {
    c->fold[f].level = 0;
    c->fold[f].level = 1 + level_below(c, s->node[c->fold[f].node].a[0]);
    if (c->fold[f].level > c->last) c->last = c->fold[f].level;
  }
  for (int j = 0; j < c->n_out; j++)
    if (level_below(c, c->out[j].ne) >= c->last) c->last = level_below(c, c->out[j].ne) + 1;
  if (!find_columns(c)) return false;
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++)
    if (!output_suits(c, o)) return false;
  return true;
}

void dhc_chain_tile(DhcChain *c) {
  const int *v = c->cx.in->schedule->v;
  c->steps = v[0];
  c->vectors = v[1];
  c->lanes = v[2];
  if (c->steps > DHC_CHAIN_MAX_STEPS) c->steps = DHC_CHAIN_MAX_STEPS;
  if (c->vectors > DHC_CHAIN_MAX_VECTORS) c->vectors = DHC_CHAIN_MAX_VECTORS;
  c->width = c->lanes * c->vectors;
  c->chunk = v[3];
  for (int j = 0; j < c->n_out; j++) {
    int64_t columns = c->s->axis[c->out[j].col].extent;
    c->out[j].vectors = columns && columns <= c->lanes ? 1 : 2;
    c->out[j].lane_rows = c->lanes == 16 ? 16 / c->out[j].vectors : 4;
  }
}
