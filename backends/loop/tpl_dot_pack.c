#include "backends/loop/tpl_dot.h"

int dhc_dot_single_axis(uint32_t mask, int prefer) {
  if (prefer >= 0 && (mask >> prefer & 1)) return prefer;
  for (int a = DHC_SPEC_MAX_AXES - 1; a >= 0; a--)
    if (mask >> a & 1) return a;
  return -1;
}

int dhc_dot_red_axis(const DhcDot *d) {
  return dhc_dot_single_axis(d->red, -1);
}

bool dhc_dot_unit_along(const DhcDot *d, int node, int axis) {
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  dhc_tpl_needed(d->s, node, needed);
  for (int n = 0; n < d->s->n_nodes; n++)
    if (needed[n] && d->s->node[n].kind == DHC_SN_LOAD &&
        dhc_spec_unit_axis(&d->s->operand[d->s->node[n].operand]) == axis)
      return true;
  return false;
}

void dhc_dot_pack_along(DhcDot *d, int node, int along, DhcLv first, DhcLv extent, int width, DhcLv used, DhcLv to) {
  DhcLp *b = d->b;
  DhcTplRows k = dhc_tpl_rows(&d->cx, d->red, d->from);
  DhcLv i = dhc_lp_for(b, d->from, d->to, 1);
  DhcTplMark in_k = dhc_tpl_push(&d->cx);
  dhc_tpl_rows_bind(&d->cx, &k);
  DhcLv v = dhc_lp_for(b, dhc_lp_i64(b, 0), used, d->lanes);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  DhcLv low = dhc_lp_min(b, dhc_lp_add(b, first, v), extent); /* a mask wants index <= limit */
  dhc_tpl_bind_vector(&d->cx, along, low, d->lanes, dhc_lp_tail(b, low, extent, d->lanes));
  DhcLv x = dhc_lp_splat(b, dhc_tpl_eval(&d->cx, node), d->lanes);
  dhc_lp_store(b, to, dhc_lp_add(b, dhc_lp_mulc(b, i, width), v), x, 0);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &in_k);
  dhc_tpl_rows_next(&d->cx, &k);
  dhc_lp_end(b);
}

void dhc_dot_pack_whole(DhcDot *d, int o, DhcLv first, int width, DhcLv to) {
  DhcLp *b = d->b;
  DhcLv step = dhc_tpl_step(&d->cx, o, dhc_dot_red_axis(d)), there = dhc_lp_at(b, d->cx.pointer[o], dhc_lp_add(b, dhc_tpl_base(&d->cx, o), first));
  DhcLv ahead = dhc_lp_at(b, there, dhc_lp_mulc(b, step, DHC_DOT_AHEAD));
  DhcLv k = dhc_lp_for(b, d->from, d->to, 1), at = dhc_lp_mul(b, k, step), onto = dhc_lp_mulc(b, k, width);
  for (int v = 0; v < width; v += d->lanes) {
    dhc_lp_prefetch(b, ahead, dhc_lp_addc(b, at, v));
    dhc_lp_store(b, to, dhc_lp_addc(b, onto, v), dhc_lp_load(b, there, dhc_lp_addc(b, at, v), d->lanes, 0), 0);
  }
  dhc_lp_end(b);
}

void dhc_dot_pack_transposed(DhcDot *d, int node, int along, DhcLv first, DhcLv extent, DhcLv used, int pitch,
                            DhcLv to) {
  DhcLp *b = d->b;
  int inner = dhc_dot_red_axis(d), lanes = d->lanes;
  uint32_t others = d->red & ~(1u << inner);
  DhcLv n_inner = d->cx.extent[inner], zero = dhc_lp_i64(b, 0);
  DhcLv last = dhc_lp_addc(b, extent, -1);
  DhcTplRows k = dhc_tpl_rows(&d->cx, others, zero);
  DhcLv o = dhc_lp_for(b, zero, dhc_tpl_count(&d->cx, others), 1);
  DhcTplMark in_o = dhc_tpl_push(&d->cx);
  dhc_tpl_rows_bind(&d->cx, &k);
  DhcLv base = dhc_lp_mul(b, o, n_inner);
  DhcLv v = dhc_lp_for(b, zero, used, lanes);
  DhcLv column = dhc_lp_add(b, first, v);
  DhcLv j = dhc_lp_for(b, others ? zero : d->from, others ? n_inner : d->to, lanes);
  DhcLv mask = dhc_lp_tail(b, j, n_inner, lanes), row[64];
  for (int r = 0; r < lanes; r++) {
    DhcTplMark mark = dhc_tpl_push(&d->cx);
    dhc_tpl_bind(&d->cx, along, dhc_lp_min(b, dhc_lp_addc(b, column, r), last));
    dhc_tpl_bind_vector(&d->cx, inner, j, lanes, mask);
    row[r] = dhc_lp_splat(b, dhc_tpl_eval(&d->cx, node), lanes);
    dhc_tpl_pop(&d->cx, &mark);
  }
  dhc_lp_transpose(b, row, lanes);
  DhcLv at = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_add(b, base, j), pitch), v);
  for (int r = 0; r < lanes; r++) /* the panel has room for whole blocks of k */
    dhc_lp_store(b, to, dhc_lp_addc(b, at, (int64_t)r * pitch), row[r], 0);
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &in_o);
  dhc_tpl_rows_next(&d->cx, &k);
  dhc_lp_end(b);
}
