/* Convolutions that walk an image by single pixels. */
#include "ir/spec.h"
#include "ir/sum.h"

enum { MOST_TAPS = 7 };

/* ---- what they share --------------------------------------------------------------------------- */

/* The one contraction in f32, of two loads; alone: the one fold. -1: there is none. */
static int find_dot(const DhcSpec *s, bool alone) {
  int dot = -1;
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *f = &s->node[n];
    if (f->kind != DHC_SN_FOLD || (f->op != DHC_OP_DOT_GENERAL && !alone)) continue;
    if (dot >= 0 || f->op != DHC_OP_DOT_GENERAL || f->dtype != DHC_F32) return -1;
    if (s->node[f->a[0]].kind != DHC_SN_LOAD || s->node[f->a[1]].kind != DHC_SN_LOAD) return -1;
    dot = n;
  }
  return dot;
}

static bool find_image(const DhcSpec *s, const DhcSpecNode *f, DhcSpecWindow *w) {
  w->image = -1;
  for (int i = 0; i < 2; i++) {
    const DhcOperand *p = &s->operand[s->node[f->a[i]].operand];
    for (int t = 0; t < p->n_terms; t++)
      if (p->term[t].guarded) w->image = s->node[f->a[i]].operand, w->other = s->node[f->a[1 - i]].operand;
  }
  return w->image >= 0;
}

static bool has_four(const DhcOperand *p) { return p->dtype == DHC_F32 && p->tag == DHC_TAG_ROW && p->n_terms == 4; }

static bool is_plain(const DhcTerm *t) { return !t->guarded && t->n_axes == 1 && t->coef[0] == 1 && t->index < 0; }

/* A guarded term: step * place + within the window + sign * tap + offset. taps, places: axes that are these. */
static bool take_guarded(const DhcSpec *s, const DhcTerm *t, uint32_t taps, uint32_t places, DhcSpecLine *line) {
  *line = (DhcSpecLine){.place = -1, .window = -1, .tap = -1};
  if (t->div != 1 || t->index >= 0) return false;
  for (int i = 0; i < t->n_axes; i++) {
    int a = t->axis[i];
    bool tap = taps >> a & 1, place = places >> a & 1;
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

/* Of the axes that are summed, k, are the channels and the taps; or, of filters, the batch and the places. */
static bool take_image(const DhcSpec *s, uint32_t k, bool filters, DhcSpecWindow *w) {
  const DhcOperand *p = &s->operand[w->image];
  uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR), taps = filters ? par : k, places = filters ? k : par;
  int seen = 0;
  if (!has_four(p)) return false;
  for (int t = 0; t < 4; t++) {
    const DhcTerm *e = &p->term[t];
    if (e->guarded) {
      DhcSpecLine *line = e->unit ? &w->across : &w->down;
      if (!take_guarded(s, e, taps, places, line)) return false;
      line->term = t;
      seen |= e->unit ? 2 : 1;
      continue;
    }
    if (!is_plain(e) || e->unit || !((par | k) >> e->axis[0] & 1)) return false;
    bool channel = (k >> e->axis[0] & 1) != filters;
    *(channel ? &w->channel : &w->batch) = e->axis[0];
    *(channel ? &w->channel_term : &w->batch_term) = t;
    seen |= channel ? 8 : 4;
  }
  return seen == 15 && w->down.sign == w->across.sign;
}

/* Four plain terms, one of each axis; where axis[] has -1 it is another, the outs'. */
static bool take_other(const DhcSpec *s, const int axis[4], DhcSpecWindow *w) {
  const DhcOperand *p = &s->operand[w->other];
  int seen = 0;
  if (!has_four(p)) return false;
  for (int t = 0; t < 4; t++) {
    if (!is_plain(&p->term[t])) return false;
    int at = -1, rest = -1;
    for (int i = 0; i < 4; i++) {
      if (axis[i] == p->term[t].axis[0]) at = i;
      if (axis[i] < 0) rest = i;
    }
    if (at < 0) w->out = p->term[t].axis[0], at = rest;
    w->other_term[at] = t;
    seen |= 1 << at;
  }
  return seen == 15 && s->axis[w->out].role == DHC_AXIS_PAR;
}

/* ---- forms -------------------------------------------------------------------------------------- */

bool dhc_spec_window(const DhcSpec *s, DhcSpecWindow *w) {
  int n = find_dot(s, false);
  if (!dhc_kind_is_conv(s->kind) || n < 0) return false;
  const DhcSpecNode *f = &s->node[n];
  if (!find_image(s, f, w) || !take_image(s, f->axes, false, w)) return false;
  if (!take_other(s, (int[]){-1, w->channel, w->down.tap, w->across.tap}, w)) return false;
  if (f->axes != (1u << w->channel | 1u << w->down.tap | 1u << w->across.tap)) return false;
  return w->batch < w->down.place && w->down.place < w->across.place;
}

bool dhc_spec_filters(const DhcSpec *s, DhcSpecWindow *w) {
  int n = find_dot(s, true);
  if (s->kind != DHC_KIND_CONV_DW || n < 0) return false;
  const DhcSpecNode *f = &s->node[n];
  if (!find_image(s, f, w) || !take_image(s, f->axes, true, w) || w->down.sign != 1) return false;
  if (!take_other(s, (int[]){w->batch, -1, w->down.place, w->across.place}, w)) return false;
  for (int i = 0; i < 4; i++)
    if (s->operand[w->other].term[w->other_term[i]].unit != (i == 3)) return false;
  if (f->axes != (1u << w->batch | 1u << w->down.place | 1u << w->across.place)) return false;
  return w->channel < w->down.tap && w->down.tap < w->across.tap;
}

bool dhc_spec_depthwise(const DhcSpec *s, DhcSpecDepthwise *w) {
  uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR);
  *w = (DhcSpecDepthwise){.fold = find_dot(s, true), .n_taps = 1};
  if (s->kind != DHC_KIND_CONV_DW || w->fold < 0) return false;
  const DhcSpecNode *f = &s->node[w->fold];
  uint32_t varies[2] = {dhc_spec_varies(s, f->a[0]) & par, dhc_spec_varies(s, f->a[1]) & par};
  w->image_side = varies[1] != (varies[0] & varies[1]);
  uint32_t both = varies[0] & varies[1], own = varies[1 - w->image_side];
  w->channel = dhc_spec_unit_axis(&s->operand[s->node[f->a[0]].operand]);
  w->taps = par & ~both;
  if (w->channel < 0 || both != 1u << w->channel || own != both || f->axes != dhc_spec_axes(s, DHC_AXIS_RED)) return false;
  if (dhc_spec_unit_axis(&s->operand[s->node[f->a[1]].operand]) != w->channel || dhc_spec_axes(s, DHC_AXIS_SEQ)) return false;
  for (int a = 0; a < s->n_axes; a++) {
    if (!(w->taps >> a & 1)) continue;
    if (s->axis[a].extent < 1 || s->axis[a].extent > DHC_DEPTHWISE_TAPS / w->n_taps) return false;
    w->n_taps *= s->axis[a].extent;
  }
  return true;
}

/* ---- a channel each ----------------------------------------------------------------------------- */

/* Axes of terms that are guarded, or of the others; -1: a term by an index, or dimensions of another make. */
static int64_t axes_of(const DhcOperand *p, bool guarded, uint32_t taps) {
  int64_t axes = 0;
  int n = 0;
  for (int t = 0; t < p->n_terms; t++) {
    const DhcTerm *e = &p->term[t];
    int places = 0, kinds = 0;
    if (e->index >= 0) return -1;
    if (e->guarded != guarded) continue;
    n++;
    for (int i = 0; i < e->n_axes; i++) {
      axes |= (int64_t)1 << e->axis[i];
      if (taps >> e->axis[i] & 1) kinds++;
      else places += e->coef[i] >= 1 ? 1 : 2;
    }
    if (guarded && (places > 1 || kinds > 1)) return -1;
  }
  return guarded && n > 2 ? -1 : axes;
}

bool dhc_spec_deep(const DhcSpec *s) {
  DhcSpecWindow w;
  int dot = find_dot(s, true);
  if (s->kind != DHC_KIND_CONV || dot < 0 || !find_image(s, &s->node[dot], &w)) return false;
  const DhcOperand *image = &s->operand[w.image], *own = &s->operand[w.other];
  uint32_t red = dhc_spec_axes(s, DHC_AXIS_RED), par = dhc_spec_axes(s, DHC_AXIS_PAR);
  if (image->tag != DHC_TAG_ROW || own->tag != DHC_TAG_ROW || s->node[dot].axes != red || dhc_spec_axes(s, DHC_AXIS_SEQ)) return false;
  int64_t space = axes_of(image, true, red), plain = axes_of(image, false, red), weights = axes_of(own, false, red), n = 1;
  if (space < 0 || plain < 0 || weights < 0 || axes_of(own, true, red)) return false;
  for (int a = 0; a < s->n_axes; a++) {
    if (!(red >> a & 1)) continue;
    if (s->axis[a].extent < 1 || s->axis[a].extent > DHC_DOT_BLOCK / n) return false;
    n *= s->axis[a].extent;
  }
  uint32_t channels = (uint32_t)weights & par;
  return channels && !((uint32_t)plain & red) && !(channels & ~(uint32_t)plain) && !((uint32_t)space & channels) && !((uint32_t)plain & (uint32_t)space);
}
