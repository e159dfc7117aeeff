/* The product rule (ir/sum.h) for accumulators that are variables: sums of finished blocks lie in a buffer,
 * one for every level. */
#include "backends/loop/tpl.h"

DhcLv dhc_tpl_level_begin(DhcLp *b, DhcTplLevel *v, DhcLv block, DhcLv first, DhcLv last) {
  DhcLv next = dhc_lp_addc(b, block, 1), top = dhc_lp_i64(b, DHC_DOT_LEVELS - 1), zero = dhc_lp_i64(b, 0);
  DhcLv to = zero;
  for (int l = 1; l < DHC_DOT_LEVELS; l++) {
    DhcLv within = dhc_lp_and(b, next, dhc_lp_i64(b, ((int64_t)1 << l * DHC_DOT_FAN_LOG2) - 1));
    to = dhc_lp_select(b, dhc_lp_eq(b, within, zero), dhc_lp_i64(b, l), to);
  }
  v->to = dhc_lp_select(b, last, top, to);
  v->number = dhc_lp_var(b, block);
  v->first = dhc_lp_var(b, first);
  DhcLv l = dhc_lp_for(b, zero, dhc_lp_addc(b, v->to, 1), 1);
  /* is there a sum of this level already: of one that came before, under the same of the next level */
  DhcLv number = dhc_lp_get(b, v->number);
  DhcLv within = dhc_lp_and(b, number, dhc_lp_i64(b, ((int64_t)1 << DHC_DOT_FAN_LOG2) - 1));
  DhcLv later = dhc_lp_or(b, dhc_lp_lt(b, zero, within), dhc_lp_eq(b, l, top));
  dhc_lp_if(b, dhc_lp_and(b, later, dhc_lp_lt(b, dhc_lp_get(b, v->first), number)));
  return l;
}

void dhc_tpl_level_end(DhcLp *b, const DhcTplLevel *v) {
  dhc_lp_end(b);
  DhcLv fan = dhc_lp_i64(b, (int64_t)1 << DHC_DOT_FAN_LOG2);
  dhc_lp_set(b, v->number, dhc_lp_udiv(b, dhc_lp_get(b, v->number), fan));
  dhc_lp_set(b, v->first, dhc_lp_udiv(b, dhc_lp_get(b, v->first), fan));
  dhc_lp_end(b);
}

void dhc_tpl_levels_add(DhcLp *b, const DhcTplLevels *v, DhcLv block, DhcLv first, DhcLv last) {
  DhcTplLevel level;
  DhcLv zero = dhc_lp_zero(b, v->dtype, v->lanes);
  DhcLv l = dhc_tpl_level_begin(b, &level, block, first, last), at = dhc_lp_at(b, v->buffer, dhc_lp_mul(b, l, v->pitch));
  for (int i = 0; i < v->n; i++) {
    DhcLv so_far = dhc_lp_load(b, at, dhc_lp_i64(b, v->place[i]), v->lanes, 0);
    dhc_lp_set(b, v->acc[i], dhc_lp_add(b, so_far, dhc_lp_get(b, v->acc[i])));
  }
  dhc_tpl_level_end(b, &level);
  dhc_lp_if(b, last);
  for (int i = 0; i < v->n; i++) dhc_lp_set(b, v->acc[i], dhc_lp_add(b, zero, dhc_lp_get(b, v->acc[i])));
  dhc_lp_else(b);
  at = dhc_lp_at(b, v->buffer, dhc_lp_mul(b, level.to, v->pitch));
  for (int i = 0; i < v->n; i++) {
    dhc_lp_store(b, at, dhc_lp_i64(b, v->place[i]), dhc_lp_get(b, v->acc[i]), 0);
    dhc_lp_set(b, v->acc[i], zero);
  }
  dhc_lp_end(b);
}

DhcTplLevels dhc_tpl_levels(DhcLp *b, dhc_dtype t, const DhcLpVar *acc, int n, int lanes) {
  DhcTplLevels v = {.dtype = t, .n = n, .lanes = lanes, .acc = acc, .pitch = dhc_lp_i64(b, (int64_t)n * lanes)};
  int64_t *place = DHC_NEW_N(b->arena, int64_t, n ? n : 1);
  for (int i = 0; i < n; i++) place[i] = (int64_t)i * lanes;
  v.place = place;
  v.buffer = dhc_lp_local(b, t, (int64_t)DHC_DOT_LEVELS * n * lanes);
  return v;
}

bool dhc_tpl_one_block(DhcLv n, int64_t step) {
  int64_t known;
  return dhc_lp_is_const(n, &known) && known <= DHC_DOT_BLOCK * step;
}

DhcLv dhc_tpl_products_begin(DhcLp *b, DhcTplProducts *p, const DhcLpVar *acc, int n, int lanes, DhcLv from, DhcLv to,
                             DhcLv all, int64_t step) {
  int64_t size = DHC_DOT_BLOCK * step, known;
  *p = (DhcTplProducts){.one = dhc_tpl_one_block(all, step)};
  if (p->one) return dhc_lp_for(b, from, to, step);
  bool whole = dhc_lp_is_const(from, &known) && known == 0;
  p->many = dhc_lp_lt(b, dhc_lp_i64(b, size), all);
  p->to = to;
  p->size = dhc_lp_i64(b, size);
  p->first = dhc_lp_udiv(b, from, p->size);
  p->levels = dhc_tpl_levels(b, DHC_F32, acc, n, lanes);
  p->block = dhc_lp_for(b, dhc_lp_mulc(b, p->first, size), to, size);
  DhcLv end = dhc_lp_min(b, dhc_lp_addc(b, p->block, size), to);
  return dhc_lp_for(b, whole ? p->block : dhc_lp_max(b, p->block, from), end, step);
}

void dhc_tpl_products_end(DhcLp *b, const DhcTplProducts *p) {
  dhc_lp_end(b);
  if (p->one) return;
  dhc_lp_if(b, p->many);
  DhcLv last = dhc_lp_ge(b, dhc_lp_add(b, p->block, p->size), p->to);
  dhc_tpl_levels_add(b, &p->levels, dhc_lp_udiv(b, p->block, p->size), p->first, last);
  dhc_lp_end(b);
  dhc_lp_end(b);
}
