/* The product rule (ir/sum.h) for a tile of accumulators. Its code stands there once: what adds products in registers is
 * the body of a loop over blocks; at its end the sums go to memory, and from there, row by row, to those of finished
 * blocks, a buffer for every level. */
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

/* The loop over levels up to v->to. */
static DhcLv each_level(DhcLp *b, DhcTplLevel *v, DhcLv block, DhcLv first) {
  v->number = dhc_lp_var(b, block);
  v->first = dhc_lp_var(b, first);
  return dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_addc(b, v->to, 1), 1);
}

static DhcLv level_holds(DhcLp *b, const DhcTplLevel *v, DhcLv level) {
  DhcLv top = dhc_lp_eq(b, level, dhc_lp_i64(b, DHC_DOT_LEVELS - 1));
  return holds(b, dhc_lp_get(b, v->number), dhc_lp_get(b, v->first), top);
}

static void next_level(DhcLp *b, const DhcTplLevel *v) {
  dhc_lp_set(b, v->number, group_of(b, dhc_lp_get(b, v->number), 1));
  dhc_lp_set(b, v->first, group_of(b, dhc_lp_get(b, v->first), 1));
  dhc_lp_end(b);
}

DhcLv dhc_tpl_level_begin(DhcLp *b, DhcTplLevel *v, DhcLv block, DhcLv first, DhcLv last) {
  v->to = goes_to(b, block, first, last);
  DhcLv l = each_level(b, v, block, first);
  dhc_lp_if(b, level_holds(b, v, l));
  return l;
}

void dhc_tpl_level_end(DhcLp *b, const DhcTplLevel *v) {
  dhc_lp_end(b);
  next_level(b, v);
}

/* ---- sums in memory ---------------------------------------------------------------------------- */

static DhcTplLevels levels_in(DhcLp *b, DhcLv buffer, dhc_dtype t, int64_t pitch, int lanes) {
  return (DhcTplLevels){.dtype = t, .lanes = lanes, .buffer = buffer, .none = dhc_lp_local(b, t, lanes), .pitch = dhc_lp_i64(b, pitch)};
}

DhcTplLevels dhc_tpl_levels(DhcLp *b, dhc_dtype t, int rows, int width, int lanes) {
  int64_t pitch = (int64_t)rows * width;
  return levels_in(b, dhc_lp_local(b, t, DHC_DOT_LEVELS * pitch), t, pitch, lanes);
}

/* to[onto] = from[in] + the sums at `at`. */
static void add_vector(DhcLp *b, const DhcTplLevels *v, const DhcTplSums *s, DhcLv at, DhcLv from, DhcLv in, DhcLv to, DhcLv onto) {
  DhcLv x = dhc_lp_load(b, s->at, at, v->lanes, 0);
  x = dhc_lp_add(b, dhc_lp_load(b, from, in, v->lanes, 0), x);
  if (s->carried) dhc_lp_store(b, s->at, at, dhc_lp_zero(b, v->dtype, v->lanes), 0);
  dhc_lp_store(b, to, onto, x, 0);
}

/* One level. What it does not hold is +0; a sum that is complete stays where it is, for the next level or as the result. */
static void add_level(DhcLp *b, const DhcTplLevels *v, const DhcTplSums *s, DhcLv level, DhcLv held, DhcLv stays) {
  DhcLv zero = dhc_lp_i64(b, 0), here = dhc_lp_at(b, v->buffer, dhc_lp_mul(b, level, v->pitch));
  DhcLpVar from = dhc_lp_var(b, v->none), to = dhc_lp_var(b, s->at), to_row = {0};
  if (s->row) to_row = dhc_lp_var(b, s->row);
  DhcLv step = dhc_lp_select(b, held, dhc_lp_i64(b, 1), zero);
  dhc_lp_if(b, held);
  dhc_lp_set(b, from, here);
  dhc_lp_end(b);
  dhc_lp_if(b, stays);
  dhc_lp_set(b, to, here);
  if (s->row) dhc_lp_set(b, to_row, s->width);
  dhc_lp_end(b);
  DhcLv there = dhc_lp_get(b, from), onto = dhc_lp_get(b, to);
  if (!s->row) {
    DhcLv i = dhc_lp_for(b, zero, s->width, v->lanes);
    add_vector(b, v, s, i, there, dhc_lp_mul(b, i, step), onto, i);
    dhc_lp_end(b);
    return;
  }
  DhcLv r = dhc_lp_for(b, zero, s->rows, 1);
  DhcLv at = dhc_lp_mul(b, r, s->row), in = dhc_lp_mul(b, r, s->width), at_to = dhc_lp_mul(b, r, dhc_lp_get(b, to_row));
  DhcLv i = dhc_lp_for(b, zero, s->width, v->lanes);
  add_vector(b, v, s, dhc_lp_add(b, at, i), there, dhc_lp_mul(b, dhc_lp_add(b, in, i), step), onto, dhc_lp_add(b, at_to, i));
  dhc_lp_end(b);
  dhc_lp_end(b);
}

void dhc_tpl_levels_add(DhcLp *b, const DhcTplLevels *v, const DhcTplSums *s, DhcLv block, DhcLv first, DhcLv last) {
  DhcTplLevel level = {.to = goes_to(b, block, first, last)};
  DhcLv stays = dhc_lp_select(b, last, dhc_lp_i64(b, -1), level.to);
  dhc_lp_store(b, v->none, dhc_lp_i64(b, 0), dhc_lp_zero(b, v->dtype, v->lanes), 0);
  DhcLv l = each_level(b, &level, block, first);
  add_level(b, v, s, l, level_holds(b, &level, l), dhc_lp_eq(b, l, stays));
  next_level(b, &level);
}

/* acc += what `level` holds. */
static void add_to_var(DhcLp *b, const DhcTplLevels *v, DhcLpVar acc, DhcLv level) {
  DhcLv so_far = dhc_lp_load(b, v->buffer, dhc_lp_mul(b, level, v->pitch), v->lanes, 0);
  dhc_lp_set(b, acc, dhc_lp_add(b, so_far, dhc_lp_get(b, acc)));
}

void dhc_tpl_levels_add_var(DhcLp *b, const DhcTplLevels *v, DhcLpVar acc, DhcLv block, DhcLv last) {
  DhcLv none = dhc_lp_i64(b, 0), nothing = dhc_lp_zero(b, v->dtype, v->lanes);
  DhcTplLevel level = {.to = goes_to(b, block, none, last)};
  dhc_lp_if(b, holds(b, block, none, NULL));
  add_to_var(b, v, acc, none);
  dhc_lp_end(b);
  dhc_lp_if(b, dhc_lp_lt(b, none, level.to)); /* seldom */
  level.number = dhc_lp_var(b, group_of(b, block, 1));
  level.first = dhc_lp_var(b, none);
  DhcLv l = dhc_lp_for(b, dhc_lp_i64(b, 1), dhc_lp_addc(b, level.to, 1), 1);
  dhc_lp_if(b, level_holds(b, &level, l));
  add_to_var(b, v, acc, l);
  dhc_lp_end(b);
  next_level(b, &level);
  dhc_lp_end(b);
  dhc_lp_if(b, last);
  dhc_lp_set(b, acc, dhc_lp_add(b, nothing, dhc_lp_get(b, acc)));
  dhc_lp_else(b);
  dhc_lp_store(b, v->buffer, dhc_lp_mul(b, level.to, v->pitch), dhc_lp_get(b, acc), 0);
  dhc_lp_set(b, acc, nothing);
  dhc_lp_end(b);
}

bool dhc_tpl_one_block(DhcLv n, int64_t step) {
  int64_t known;
  return dhc_lp_is_const(n, &known) && known <= DHC_DOT_BLOCK * step;
}

void dhc_tpl_products_begin(DhcLp *b, DhcTplProducts *p, int rows, int width, int lanes, DhcLv all, int64_t step) {
  int64_t size = DHC_DOT_BLOCK * step, known;
  p->step = step;
  p->one = dhc_tpl_one_block(all, step);
  if (p->one) return;
  p->whole = dhc_lp_is_const(p->from, &known) && known == 0;
  p->many = dhc_lp_lt(b, dhc_lp_i64(b, size), all);
  p->size = dhc_lp_i64(b, size);
  p->first = dhc_lp_udiv(b, p->from, p->size);
  p->levels = levels_in(b, p->held ? p->held : dhc_lp_local(b, DHC_F32, (int64_t)DHC_DOT_LEVELS * rows * width), DHC_F32, rows * width, lanes);
  DhcLv start = dhc_lp_mulc(b, p->first, size), end = p->to;
  if (p->part) {
    start = dhc_lp_max(b, start, p->part);
    end = dhc_lp_min(b, end, p->part_to);
  }
  p->block = dhc_lp_for(b, start, dhc_lp_max(b, end, dhc_lp_addc(b, start, 1)), size); /* once where there is nothing */
}

DhcLv dhc_tpl_products_chain(DhcLp *b, const DhcTplProducts *p) {
  if (p->starts) {
    DhcLv block = p->one ? dhc_lp_i64(b, 0) : dhc_lp_udiv(b, p->block, p->size);
    DhcLv end = dhc_lp_load(b, p->starts, dhc_lp_addc(b, block, 1), 1, 0);
    return dhc_lp_for(b, dhc_lp_load(b, p->starts, block, 1, 0), end, p->step);
  }
  if (p->one) return dhc_lp_for(b, p->from, p->to, p->step);
  DhcLv end = dhc_lp_min(b, dhc_lp_add(b, p->block, p->size), p->to);
  return dhc_lp_for(b, p->whole ? p->block : dhc_lp_max(b, p->block, p->from), end, p->step);
}

void dhc_tpl_products_end(DhcLp *b, const DhcTplProducts *p, DhcTplSums sums) {
  if (p->one) return;
  DhcLv last = dhc_lp_ge(b, dhc_lp_add(b, p->block, p->size), p->to);
  dhc_lp_if(b, p->many);
  dhc_tpl_levels_add(b, &p->levels, &sums, dhc_lp_udiv(b, p->block, p->size), p->first, last);
  dhc_lp_end(b);
  dhc_lp_end(b);
}
