/* Recurrences: one step, and where they were cut into segments of steps what each of them leaves to the next. */
#include "backends/loop/tpl.h"

DhcLv dhc_tpl_flush(DhcLp *b, DhcLv h) {
  DhcLv small = dhc_lp_lt(b, dhc_lp_ew1(b, DHC_OP_ABS, h), dhc_lp_float(b, h->type.dtype, dhc_dtype_least_normal(h->type.dtype)));
  return dhc_lp_select(b, small, dhc_lp_float(b, h->type.dtype, 0), h);
}

DhcLv dhc_tpl_next_state(DhcTplCx *cx, int n, DhcLv a, DhcLv h, DhcLv x) {
  const DhcSpecNode *d = &cx->s->node[n];
  bool flushes = d->i & DHC_SCAN_FLUSH, drops = flushes && cx->nearly;
  DhcLv next = drops ? dhc_lp_fma_flush(cx->b, a, h, x) : dhc_lp_fma(cx->b, a, h, x);
  if (d->i & DHC_SCAN_FORGET) next = dhc_lp_select(cx->b, dhc_lp_eq(cx->b, a, dhc_lp_zero(cx->b, a->type.dtype, a->type.lanes)), x, next);
  return flushes && !drops ? dhc_tpl_flush(cx->b, next) : next;
}

enum { AHEAD = 4 /* segments that are asked for at once */ };

void dhc_tpl_carry(DhcLp *b, DhcLv memory, DhcLv left, DhcLv decay, DhcLv place0, DhcLv each, DhcLv n, DhcLv from, bool backwards,
                   bool forgets) {
  DhcLpVar x = dhc_lp_var(b, from);
  DhcLv top = dhc_lp_addc(b, n, -1), i = dhc_lp_for(b, dhc_lp_i64(b, 0), n, AHEAD), at[AHEAD], out[AHEAD], by[AHEAD];
  for (int j = 0; j < AHEAD; j++) {
    DhcLv s = dhc_lp_min(b, dhc_lp_addc(b, i, j), top);
    if (backwards) s = dhc_lp_sub(b, top, s);
    DhcLv place = dhc_lp_add(b, place0, dhc_lp_mul(b, s, each));
    at[j] = dhc_lp_add(b, left, place);
    out[j] = dhc_lp_load(b, memory, at[j], 1, 0);
    by[j] = dhc_lp_load(b, memory, dhc_lp_add(b, decay, place), 1, 0);
  }
  for (int j = 0; j < AHEAD; j++) {
    dhc_lp_if(b, dhc_lp_lt(b, dhc_lp_addc(b, i, j), n));
    DhcLv next = dhc_lp_fma(b, by[j], dhc_lp_get(b, x), out[j]);
    if (forgets) next = dhc_lp_select(b, dhc_lp_eq(b, by[j], dhc_lp_zero(b, DHC_F32, 1)), out[j], next);
    dhc_lp_store(b, memory, at[j], dhc_lp_get(b, x), 0);
    dhc_lp_set(b, x, next);
    dhc_lp_end(b);
  }
  dhc_lp_end(b);
}
