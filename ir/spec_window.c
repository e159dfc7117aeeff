/* Convolutions that walk an image by single pixels. */
#include "ir/spec.h"

enum { MOST_TAPS = 7 };

/* A guarded term: step * place + within the window + sign * tap + offset. */
static bool take_guarded(const DhcSpec *s, const DhcTerm *t, uint32_t k, DhcSpecLine *line) {
  *line = (DhcSpecLine){.place = -1, .window = -1, .tap = -1};
  if (t->div != 1 || t->index >= 0) return false;
  for (int i = 0; i < t->n_axes; i++) {
    int a = t->axis[i];
    bool tap = k >> a & 1, place = !tap && s->axis[a].role == DHC_AXIS_PAR;
    int *to = tap ? &line->tap : place ? &line->place : &line->window;
    if (*to >= 0) return false;
    *to = a;
    if (tap) line->sign = t->coef[i] == 1 ? 1 : t->coef[i] == -1 ? -1 : 0;
    else if (place) line->step = t->coef[i];
    else if (t->coef[i] != 1) return false;
  }
  if (line->place < 0 || line->tap < 0 || !line->sign) return false;
  line->taps = s->axis[line->tap].extent;
  return line->taps >= 1 && line->taps <= MOST_TAPS && line->step == (line->window < 0 ? 1 : s->axis[line->window].extent);
}

static bool take_image(const DhcSpec *s, uint32_t k, DhcSpecWindow *w) {
  const DhcOperand *p = &s->operand[w->image];
  int guarded = 0;
  w->batch = w->channel = -1;
  if (p->dtype != DHC_F32 || p->tag != DHC_TAG_ROW || p->n_terms != 4) return false;
  for (int t = 0; t < p->n_terms; t++) {
    const DhcTerm *e = &p->term[t];
    if (e->guarded) {
      DhcSpecLine *line = e->unit ? &w->across : &w->down;
      if (!take_guarded(s, e, k, line)) return false;
      line->term = t;
      guarded |= e->unit ? 2 : 1;
      continue;
    }
    if (e->n_axes != 1 || e->coef[0] != 1 || e->index >= 0) return false;
    int *to = k >> e->axis[0] & 1 ? &w->channel : &w->batch;
    if (*to >= 0 || s->axis[e->axis[0]].role == (to == &w->batch ? DHC_AXIS_RED : DHC_AXIS_PAR)) return false;
    *to = e->axis[0];
    *(to == &w->channel ? &w->channel_term : &w->batch_term) = t;
  }
  return guarded == 3 && w->batch >= 0 && w->channel >= 0 && w->down.sign == w->across.sign;
}

static bool take_weights(const DhcSpec *s, DhcSpecWindow *w) {
  const DhcOperand *p = &s->operand[w->weights];
  uint32_t seen = 0;
  w->out = -1;
  if (p->dtype != DHC_F32 || p->tag != DHC_TAG_ROW || p->n_terms != 4) return false;
  for (int t = 0; t < p->n_terms; t++) {
    const DhcTerm *e = &p->term[t];
    if (e->guarded || e->n_axes != 1 || e->coef[0] != 1 || e->index >= 0) return false;
    int a = e->axis[0], i = a == w->channel ? 1 : a == w->down.tap ? 2 : a == w->across.tap ? 3 : 0;
    if (!i) w->out = a;
    w->weight_term[i] = t;
    seen |= 1u << i;
  }
  return seen == 15 && s->axis[w->out].role == DHC_AXIS_PAR;
}

bool dhc_spec_window(const DhcSpec *s, DhcSpecWindow *w) {
  *w = (DhcSpecWindow){.image = -1};
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *f = &s->node[n];
    if (f->kind != DHC_SN_FOLD || f->op != DHC_OP_DOT_GENERAL) continue;
    if (w->image >= 0 || f->dtype != DHC_F32 || s->node[f->a[0]].kind != DHC_SN_LOAD || s->node[f->a[1]].kind != DHC_SN_LOAD) return false;
    for (int i = 0; i < 2; i++) {
      const DhcOperand *p = &s->operand[s->node[f->a[i]].operand];
      for (int t = 0; t < p->n_terms; t++)
        if (p->term[t].guarded) w->image = s->node[f->a[i]].operand, w->weights = s->node[f->a[1 - i]].operand;
    }
    if (w->image < 0 || !take_image(s, f->axes, w) || !take_weights(s, w)) return false;
    uint32_t k = 1u << w->channel | 1u << w->down.tap | 1u << w->across.tap;
    if (f->axes != k || !(w->batch < w->down.place && w->down.place < w->across.place)) return false;
  }
  return s->kind == DHC_KIND_CONV && w->image >= 0;
}

/* The two terms of the image that walk it: place + tap + offset. */
static bool take_walk(const DhcSpec *s, const DhcTerm *t, uint32_t k, DhcSpecLine *line) {
  *line = (DhcSpecLine){.place = -1, .window = -1, .tap = -1, .sign = 1, .step = 1};
  if (t->div != 1 || t->index >= 0 || t->n_axes != 2 || t->coef[0] != 1 || t->coef[1] != 1) return false;
  for (int i = 0; i < 2; i++) *(k >> t->axis[i] & 1 ? &line->place : &line->tap) = t->axis[i];
  if (line->place < 0 || line->tap < 0) return false;
  line->taps = s->axis[line->tap].extent;
  return line->taps >= 1 && line->taps <= MOST_TAPS;
}

static bool take_walked(const DhcSpec *s, uint32_t k, DhcSpecFilters *w) {
  const DhcOperand *p = &s->operand[w->image];
  int seen = 0;
  if (p->dtype != DHC_F32 || p->tag != DHC_TAG_ROW || p->n_terms != 4) return false;
  for (int t = 0; t < 4; t++) {
    const DhcTerm *e = &p->term[t];
    if (e->guarded) {
      DhcSpecLine *line = e->unit ? &w->across : &w->down;
      if (!take_walk(s, e, k, line)) return false;
      line->term = t;
      seen |= e->unit ? 2 : 1;
      continue;
    }
    if (e->n_axes != 1 || e->coef[0] != 1 || e->index >= 0 || e->unit) return false;
    bool batch = k >> e->axis[0] & 1;
    *(batch ? &w->batch : &w->channel) = e->axis[0];
    w->image_term[!batch] = t;
    seen |= batch ? 4 : 8;
  }
  return seen == 15;
}

static bool take_gradient(const DhcSpec *s, DhcSpecFilters *w) {
  const DhcOperand *p = &s->operand[w->grad];
  int seen = 0;
  if (p->dtype != DHC_F32 || p->tag != DHC_TAG_ROW || p->n_terms != 4) return false;
  for (int t = 0; t < 4; t++) {
    const DhcTerm *e = &p->term[t];
    if (e->guarded || e->n_axes != 1 || e->coef[0] != 1 || e->index >= 0) return false;
    int a = e->axis[0], i = a == w->batch ? 0 : a == w->down.place ? 2 : a == w->across.place ? 3 : 1;
    if (i == 1) w->out = a;
    if (e->unit != (i == 3)) return false;
    w->grad_term[i] = t;
    seen |= 1 << i;
  }
  return seen == 15 && s->axis[w->out].role == DHC_AXIS_PAR;
}

bool dhc_spec_filters(const DhcSpec *s, DhcSpecFilters *w) {
  const DhcSpecNode *f = NULL;
  *w = (DhcSpecFilters){.image = -1};
  for (int n = 0; n < s->n_nodes; n++) {
    if (s->node[n].kind != DHC_SN_FOLD) continue;
    if (f || s->node[n].op != DHC_OP_DOT_GENERAL || s->node[n].dtype != DHC_F32) return false;
    f = &s->node[n];
  }
  if (s->kind != DHC_KIND_CONV_DW || !f) return false;
  for (int i = 0; i < 2; i++) {
    const DhcSpecNode *x = &s->node[f->a[i]], *y = &s->node[f->a[1 - i]];
    if (x->kind != DHC_SN_LOAD || y->kind != DHC_SN_LOAD) return false;
    for (int t = 0; t < s->operand[x->operand].n_terms; t++)
      if (s->operand[x->operand].term[t].guarded) w->image = x->operand, w->grad = y->operand;
  }
  if (w->image < 0 || w->image == w->grad || !take_walked(s, f->axes, w) || !take_gradient(s, w)) return false;
  if (f->axes != (1u << w->batch | 1u << w->down.place | 1u << w->across.place)) return false;
  return w->channel < w->down.tap && w->down.tap < w->across.tap;
}

/* The axis that is an operand's unit, unguarded; -1: none. */
static int unit_axis(const DhcOperand *p) {
  for (int t = 0; t < p->n_terms; t++)
    if (p->term[t].unit && !p->term[t].guarded && p->term[t].index < 0 && p->term[t].n_axes == 1) return p->term[t].axis[0];
  return -1;
}

bool dhc_spec_depthwise(const DhcSpec *s, DhcSpecDepthwise *w) {
  uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR);
  *w = (DhcSpecDepthwise){.fold = -1, .n_taps = 1};
  for (int n = 0; n < s->n_nodes; n++) {
    if (s->node[n].kind != DHC_SN_FOLD) continue;
    if (w->fold >= 0 || s->node[n].op != DHC_OP_DOT_GENERAL || s->node[n].dtype != DHC_F32) return false;
    w->fold = n;
  }
  if (s->kind != DHC_KIND_CONV_DW || w->fold < 0) return false;
  const DhcSpecNode *f = &s->node[w->fold];
  if (s->node[f->a[0]].kind != DHC_SN_LOAD || s->node[f->a[1]].kind != DHC_SN_LOAD) return false;
  uint32_t varies[2] = {dhc_spec_varies(s, f->a[0]) & par, dhc_spec_varies(s, f->a[1]) & par};
  w->image_side = varies[1] != (varies[0] & varies[1]);
  uint32_t both = varies[0] & varies[1], own = varies[1 - w->image_side];
  w->channel = unit_axis(&s->operand[s->node[f->a[0]].operand]);
  w->taps = par & ~both;
  if (w->channel < 0 || both != 1u << w->channel || own != both || f->axes != dhc_spec_axes(s, DHC_AXIS_RED)) return false;
  if (unit_axis(&s->operand[s->node[f->a[1]].operand]) != w->channel || dhc_spec_axes(s, DHC_AXIS_SEQ)) return false;
  for (int a = 0; a < s->n_axes; a++)
    if (w->taps >> a & 1) w->n_taps = s->axis[a].extent && w->n_taps <= 16 ? w->n_taps * s->axis[a].extent : 17;
  return w->n_taps <= 16;
}
