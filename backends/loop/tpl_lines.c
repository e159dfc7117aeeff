/* Lines of a contraction that are made of sums of their own, or the sums alone, sixteen threads each: by the sum rule, as template "rows" has
 * them (tpl_rows.c). */
#include "backends/loop/tpl_rows.h"

static void open_lines(DhcRows *v, const DhcTplInput *in, DhcLp *b, const DhcTplLines *l) {
  v->b = b;
  v->s = in->spec;
  dhc_tpl_init(&v->cx, in, b);
  v->red = l->k;
  v->axis = l->lines ? __builtin_ctz(l->lines) : 0; /* by columns, that is */
  v->columns = l->threads / PARTS;
  v->threads = l->threads;
  v->at_once = l->at_once;
  v->brief = l->brief;
  v->cx.provide = dhc_rows_provide;
  v->cx.provide_arg = v;
  v->tid = dhc_lp_thread(b);
  v->lane = dhc_lp_udiv(b, v->tid, dhc_lp_i64(b, PARTS));
  v->part = dhc_lp_urem(b, v->tid, dhc_lp_i64(b, PARTS));
  DhcLv line = dhc_lp_add(b, l->first, v->lane);
  v->inside = dhc_lp_lt(b, line, l->n);
  dhc_tpl_bind_flat(&v->cx, l->lines, dhc_lp_min(b, line, dhc_lp_addc(b, l->n, -1)));
}

void dhc_tpl_lines_sums(const DhcTplInput *in, DhcLp *b, const DhcTplLines *l, DhcLv at) {
  DhcRows *v = DHC_NEW(b->arena, DhcRows);
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  int place = 0;
  open_lines(v, in, b, l);
  dhc_tpl_needed(v->s, l->node, needed);
  for (int n = 0; n <= l->node; n++)
    if (needed[n] && v->s->node[n].kind == DHC_SN_FOLD) dhc_tpl_eval(&v->cx, n);
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_eq(b, v->part, dhc_lp_i64(b, 0)), dhc_lp_lt(b, v->lane, dhc_lp_i64(b, l->kept))));
  for (int n = 0; n <= l->node; n++)
    if (needed[n] && v->s->node[n].kind == DHC_SN_FOLD)
      dhc_lp_store(b, at, dhc_lp_addc(b, v->lane, (int64_t)l->kept * place++), dhc_tpl_eval(&v->cx, n), 0);
  dhc_lp_end(b);
  dhc_lp_barrier(b);
}

enum { HELD_FOURS = 8 }; /* of a thread */

/* Lines of fours, so many at most: all that they are made of is on its way at once. */
static void put_held(DhcRows *v, const DhcTplLines *l, int axis, const bool *needed, DhcLv to) {
  DhcLp *b = v->b;
  DhcTplCx *cx = &v->cx;
  DhcLv count = cx->extent[axis], line = dhc_lp_mul(b, dhc_lp_add(b, l->first, v->lane), count), *x[HELD_FOURS];
  for (int j = 0; j < 2 * HELD_FOURS; j++) { /* first what is loaded, then, with the sums, what is made of it */
    int f = j % HELD_FOURS;
    DhcLv i = dhc_lp_addc(b, dhc_lp_mulc(b, v->part, 4), (int64_t)f * 4 * PARTS);
    if (j == HELD_FOURS) dhc_tpl_hoist(cx, needed);
    if (j < HELD_FOURS) x[f] = DHC_NEW_N(b->arena, DhcLv, l->node + 1);
    DhcTplMark mark = dhc_tpl_push(cx);
    dhc_tpl_bind_vector(cx, axis, dhc_lp_min(b, i, dhc_lp_addc(b, count, -4)), 4, NULL);
    for (int n = 0; n <= l->node; n++) {
      if (!needed[n] || v->s->node[n].kind != DHC_SN_LOAD || !(cx->varies[n] & l->k)) continue;
      if (j < HELD_FOURS) x[f][n] = dhc_tpl_eval(cx, n);
      else dhc_tpl_set(cx, n, x[f][n]);
    }
    if (j >= HELD_FOURS) {
      DhcLv made = dhc_lp_splat(b, dhc_tpl_eval(cx, l->node), 4);
      dhc_lp_if(b, dhc_lp_and(b, v->inside, dhc_lp_lt(b, i, count)));
      dhc_lp_store(b, to, dhc_lp_add(b, line, i), made, 16);
      dhc_lp_end(b);
    }
    dhc_tpl_pop(cx, &mark);
  }
}

static void put_long(DhcRows *v, const DhcTplLines *l, int axis, const bool *needed, DhcLv to) {
  DhcLp *b = v->b;
  DhcTplCx *cx = &v->cx;
  DhcLv count = dhc_tpl_count(cx, l->k), rest = dhc_lp_i64(b, 0), line = dhc_lp_mul(b, dhc_lp_add(b, l->first, v->lane), count);
  dhc_tpl_hoist(cx, needed);
  dhc_lp_if(b, v->inside);
  DhcTplMark mark;
  if (axis >= 0) {
    rest = dhc_lp_select(b, dhc_lp_eq(b, dhc_lp_and(b, count, dhc_lp_i64(b, 3)), rest), count, rest);
    DhcLv i = dhc_lp_for(b, dhc_lp_mulc(b, v->part, 4), rest, 4 * PARTS);
    mark = dhc_tpl_push(cx);
    dhc_tpl_bind_vector(cx, axis, i, 4, NULL);
    dhc_lp_store(b, to, dhc_lp_add(b, line, i), dhc_lp_splat(b, dhc_tpl_eval(cx, l->node), 4), 16);
    dhc_tpl_pop(cx, &mark);
    dhc_lp_end(b);
  }
  DhcLv i = dhc_lp_for(b, dhc_lp_add(b, rest, v->part), count, PARTS);
  mark = dhc_tpl_push(cx);
  dhc_tpl_bind_flat(cx, l->k, i);
  dhc_lp_store(b, to, dhc_lp_add(b, line, i), dhc_tpl_eval(cx, l->node), 0);
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

void dhc_tpl_lines_put(const DhcTplInput *in, DhcLp *b, const DhcTplLines *l, DhcLv to) {
  DhcRows *v = DHC_NEW(b->arena, DhcRows);
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  open_lines(v, in, b, l);
  dhc_tpl_needed(v->s, l->node, needed);
  const int axis = l->k & (l->k - 1) ? -1 : dhc_rows_quad_axis(v, l->k, l->node);
  if (axis >= 0) {
    DhcLv count = v->cx.extent[axis], none = dhc_lp_i64(b, 0);
    DhcLv fits = dhc_lp_and(b, dhc_lp_le(b, count, dhc_lp_i64(b, HELD_FOURS * 4 * PARTS)), dhc_lp_lt(b, none, count));
    dhc_lp_if(b, dhc_lp_and(b, fits, dhc_lp_eq(b, dhc_lp_and(b, count, dhc_lp_i64(b, 3)), none)));
    DhcTplMark mark = dhc_tpl_push(&v->cx);
    v->brief = true;
    put_held(v, l, axis, needed, to);
    v->brief = l->brief;
    dhc_tpl_pop(&v->cx, &mark);
    dhc_lp_else(b);
  }
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  put_long(v, l, axis, needed, to);
  dhc_tpl_pop(&v->cx, &mark);
  if (axis >= 0) dhc_lp_end(b);
}
