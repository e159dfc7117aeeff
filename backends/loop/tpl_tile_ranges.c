/* Template "tile": ranges. Those of rows have tiles of their own. Those of ks are cut into so many pieces of equal length as keep each of
 * them below a bound, which follows from what all ranges have together: a long range is many tasks, a short one is one, an empty one none. */
#include "backends/loop/tpl_tile.h"

enum { RANGES_AT_ONCE = 8 }; /* loads that do not wait for each other */

/* ---- rows ------------------------------------------------------------------------------------- */

void dhc_tile_find_rows(DhcTile *d, DhcLv tile) {
  DhcLp *b = d->b;
  DhcLv plain = dhc_lp_mulc(b, tile, d->bm);
  DhcLpVar row0 = dhc_lp_var(b, d->n_rows), end = dhc_lp_var(b, d->n_rows), before = dhc_lp_var(b, dhc_lp_i64(b, 0));
  DhcLpVar which = dhc_lp_var(b, d->cx.extent[d->e]);
  DhcLpVar reached = dhc_lp_var(b, dhc_lp_i64(b, 0)), gaps = dhc_lp_var(b, dhc_lp_i64(b, 0));
  DhcLv e = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), d->cx.extent[d->e], 1, RANGES_AT_ONCE);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  dhc_tpl_bind(&d->cx, d->e, e);
  DhcLv lo = dhc_lp_cast(b, dhc_tpl_eval(&d->cx, d->lo), DHC_I64), hi = dhc_lp_cast(b, dhc_tpl_eval(&d->cx, d->hi), DHC_I64);
  DhcLv gap = dhc_lp_sub(b, lo, dhc_lp_get(b, reached)); /* 0: this range begins where the last one ends */
  gap = dhc_lp_or(b, gap, dhc_lp_min(b, dhc_lp_sub(b, hi, lo), dhc_lp_i64(b, 0)));
  dhc_lp_set(b, gaps, dhc_lp_or(b, dhc_lp_get(b, gaps), gap));
  dhc_lp_set(b, reached, hi);
  DhcLv first = dhc_lp_get(b, before), n = dhc_lp_ceildivc(b, dhc_lp_max(b, dhc_lp_sub(b, hi, lo), dhc_lp_i64(b, 0)), d->bm);
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_le(b, first, tile), dhc_lp_lt(b, tile, dhc_lp_add(b, first, n))));
  dhc_lp_set(b, row0, dhc_lp_add(b, lo, dhc_lp_mulc(b, dhc_lp_sub(b, tile, first), d->bm)));
  dhc_lp_set(b, end, hi);
  dhc_lp_set(b, which, e);
  dhc_lp_end(b);
  dhc_lp_set(b, before, dhc_lp_add(b, first, n));
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
  DhcLv none = dhc_lp_i64(b, 0), all = dhc_lp_eq(b, dhc_lp_get(b, gaps), none);
  all = dhc_lp_and(b, all, dhc_lp_eq(b, dhc_lp_get(b, reached), d->n_rows));
  d->row0 = dhc_lp_select(b, all, dhc_lp_get(b, row0), plain);
  d->n_rows = dhc_lp_select(b, all, dhc_lp_get(b, end), d->n_rows);
  DhcLv own = dhc_lp_get(b, which), last = d->cx.extent[d->e];
  d->e_first = dhc_lp_select(b, all, own, none);
  d->e_end = dhc_lp_select(b, all, dhc_lp_min(b, dhc_lp_addc(b, own, 1), last), last);
}

/* ---- ks --------------------------------------------------------------------------------------- */

/* The ks of range e. */
static void span_of(DhcTile *d, DhcLv e, DhcLv *lo, DhcLv *hi) {
  DhcLp *b = d->b;
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  dhc_tpl_bind(&d->cx, dhc_tile_range_of(d), e);
  *lo = dhc_lp_max(b, dhc_lp_cast(b, dhc_tpl_eval(&d->cx, d->lo), DHC_I64), dhc_lp_i64(b, 0));
  *hi = dhc_lp_max(b, dhc_lp_min(b, dhc_lp_cast(b, dhc_tpl_eval(&d->cx, d->hi), DHC_I64), d->n_k), *lo);
  dhc_tpl_pop(&d->cx, &mark);
}

static DhcLv n_ranges(const DhcTile *d) { return d->cx.extent[dhc_tile_range_of(d)]; }
static DhcLv in_steps(DhcTile *d, DhcLv ks) { return dhc_lp_mulc(d->b, dhc_lp_ceildivc(d->b, ks, d->bk), d->bk); }
static DhcLv ceildiv(DhcLp *b, DhcLv x, DhcLv y) { return dhc_lp_udiv(b, dhc_lp_addc(b, dhc_lp_add(b, x, y), -1), y); }

/* Ks of a piece at most: with them all ranges have no more than `wanted` pieces, and one each. */
static DhcLv most_ks(DhcTile *d, DhcLv wanted) {
  DhcLp *b = d->b;
  DhcLpVar all = dhc_lp_var(b, dhc_lp_i64(b, 0));
  DhcLv lo, hi, e = dhc_lp_for(b, dhc_lp_i64(b, 0), n_ranges(d), 1);
  span_of(d, e, &lo, &hi);
  dhc_lp_set(b, all, dhc_lp_add(b, dhc_lp_get(b, all), dhc_lp_sub(b, hi, lo)));
  dhc_lp_end(b);
  return dhc_lp_max(b, in_steps(d, ceildiv(b, dhc_lp_get(b, all), wanted)), dhc_lp_i64(b, (int64_t)DHC_TILE_PIECE_STEPS * d->bk));
}

DhcTilePieces dhc_tile_find_pieces(DhcTile *d, DhcLv wanted, DhcLv number, DhcLv range) {
  DhcLp *b = d->b;
  DhcLv none = dhc_lp_i64(b, 0), most = most_ks(d, wanted);
  DhcLpVar before = dhc_lp_var(b, none), first = dhc_lp_var(b, none), n = dhc_lp_var(b, none);
  DhcLpVar which = dhc_lp_var(b, none), begin = dhc_lp_var(b, none), end = dhc_lp_var(b, none);
  DhcLv lo, hi, e = dhc_lp_for(b, none, n_ranges(d), 1);
  span_of(d, e, &lo, &hi);
  DhcLv so_far = dhc_lp_get(b, before), own = ceildiv(b, dhc_lp_sub(b, hi, lo), most), next = dhc_lp_add(b, so_far, own);
  dhc_lp_if(b, range ? dhc_lp_eq(b, e, range) : dhc_lp_and(b, dhc_lp_le(b, so_far, number), dhc_lp_lt(b, number, next)));
  dhc_lp_set(b, first, so_far);
  dhc_lp_set(b, n, own);
  dhc_lp_set(b, which, e);
  dhc_lp_set(b, begin, lo);
  dhc_lp_set(b, end, hi);
  dhc_lp_end(b);
  dhc_lp_set(b, before, next);
  dhc_lp_end(b);
  DhcTilePieces p = {.range = dhc_lp_get(b, which), .first = dhc_lp_get(b, first), .n = dhc_lp_get(b, n)};
  if (range) return p;
  /* pieces meet where steps do */
  lo = dhc_lp_get(b, begin), hi = dhc_lp_get(b, end);
  DhcLv step0 = dhc_lp_mulc(b, dhc_lp_udiv(b, lo, dhc_lp_i64(b, d->bk)), d->bk), piece = dhc_lp_sub(b, number, p.first);
  DhcLv each = in_steps(d, ceildiv(b, dhc_lp_sub(b, hi, step0), dhc_lp_max(b, p.n, dhc_lp_i64(b, 1))));
  DhcLv from = dhc_lp_add(b, step0, dhc_lp_mul(b, piece, each));
  p.k_first = from;
  p.k_lo = dhc_lp_max(b, from, lo);
  p.k_end = dhc_lp_min(b, dhc_lp_add(b, from, each), hi);
  return p;
}
