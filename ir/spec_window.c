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
