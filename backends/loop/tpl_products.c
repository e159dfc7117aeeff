/* The product rule (ir/sum.h) for accumulators that are variables: sums of finished blocks lie in a buffer,
 * one for every level. */
#include "backends/loop/tpl.h"

static DhcLv group_of(DhcLp *b, DhcLv block, int level) {
  return dhc_lp_udiv(b, block, dhc_lp_i64(b, (int64_t)1 << level * DHC_DOT_FAN_LOG2));
}

/* Level that a complete block's sum goes to; of the last one the highest that holds anything. */
static DhcLv goes_to(DhcLp *b, DhcLv block, DhcLv first, DhcLv last) {
  DhcLv next = dhc_lp_addc(b, block, 1), to = dhc_lp_i64(b, 0), top = to;
  for (int l = 1; l < DHC_DOT_LEVELS; l++) {
    DhcLv within = dhc_lp_and(b, next, dhc_lp_i64(b, ((int64_t)1 << l * DHC_DOT_FAN_LOG2) - 1)), level = dhc_lp_i64(b, l);
    to = dhc_lp_select(b, dhc_lp_eq(b, within, dhc_lp_i64(b, 0)), level, to);
    top = dhc_lp_select(b, dhc_lp_lt(b, group_of(b, first, l), group_of(b, block, l)), level, top);
  }
  return dhc_lp_select(b, last, top, to);
}

/* Does `level` hold a sum already, of one before number `at` (of this level) under the same of the next? */
static DhcLv holds(DhcLp *b, DhcLv at, DhcLv first, DhcLv top) {
  DhcLv within = dhc_lp_and(b, at, dhc_lp_i64(b, ((int64_t)1 << DHC_DOT_FAN_LOG2) - 1));
  DhcLv later = dhc_lp_lt(b, dhc_lp_i64(b, 0), within);
  return dhc_lp_and(b, top ? dhc_lp_or(b, later, top) : later, dhc_lp_lt(b, first, at));
}

/* The loop over levels from `from` to v->to. */
static DhcLv level_begin(DhcLp *b, DhcTplLevel *v, DhcLv block, DhcLv first, int from) {
  v->number = dhc_lp_var(b, group_of(b, block, from));
  v->first = dhc_lp_var(b, group_of(b, first, from));
  DhcLv l = dhc_lp_for(b, dhc_lp_i64(b, from), dhc_lp_addc(b, v->to, 1), 1);
  DhcLv top = dhc_lp_eq(b, l, dhc_lp_i64(b, DHC_DOT_LEVELS - 1));
  dhc_lp_if(b, holds(b, dhc_lp_get(b, v->number), dhc_lp_get(b, v->first), top));
  return l;
}

DhcLv dhc_tpl_level_begin(DhcLp *b, DhcTplLevel *v, DhcLv block, DhcLv first, DhcLv last) {
  v->to = goes_to(b, block, first, last);
  return level_begin(b, v, block, first, 0);
}

void dhc_tpl_level_end(DhcLp *b, const DhcTplLevel *v) {
  dhc_lp_end(b);
  dhc_lp_set(b, v->number, group_of(b, dhc_lp_get(b, v->number), 1));
  dhc_lp_set(b, v->first, group_of(b, dhc_lp_get(b, v->first), 1));
  dhc_lp_end(b);
}

static DhcLv level_at(DhcLp *b, const DhcTplLevels *v, DhcLv level) {
  return dhc_lp_at(b, v->buffer, dhc_lp_mul(b, level, v->pitch));
}

static void add_level(DhcLp *b, const DhcTplLevels *v, DhcLv level) {
  DhcLv at = level_at(b, v, level);
  for (int i = 0; i < v->n; i++) {
    DhcLv so_far = dhc_lp_load(b, at, dhc_lp_i64(b, v->place[i]), v->lanes, 0);
    dhc_lp_set(b, v->acc[i], dhc_lp_add(b, so_far, dhc_lp_get(b, v->acc[i])));
  }
}

void dhc_tpl_levels_add(DhcLp *b, const DhcTplLevels *v, DhcLv block, DhcLv first, DhcLv last) {
  DhcTplLevel level = {.to = goes_to(b, block, first, last)};
  DhcLv zero = dhc_lp_zero(b, v->dtype, v->lanes), none = dhc_lp_i64(b, 0);
  dhc_lp_if(b, holds(b, block, first, NULL));
  add_level(b, v, none);
  dhc_lp_end(b);
  dhc_lp_if(b, dhc_lp_lt(b, none, level.to)); /* seldom */
  add_level(b, v, level_begin(b, &level, block, first, 1));
  dhc_tpl_level_end(b, &level);
  dhc_lp_end(b);
  dhc_lp_if(b, last);
  for (int i = 0; i < v->n; i++) dhc_lp_set(b, v->acc[i], dhc_lp_add(b, zero, dhc_lp_get(b, v->acc[i])));
  dhc_lp_else(b);
  DhcLv at = level_at(b, v, level.to);
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
