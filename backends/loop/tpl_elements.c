/* Template "elements" (GPUs): maps, a thread a few neighbouring elements. Threads are numbered over the parallel axes,
 * the vector axis innermost, so that neighbouring threads touch neighbouring memory; where everything that varies along
 * that axis lies side by side, a thread takes v[2] elements by one access each, and what is left over at the end of a
 * row one by one.
 *
 * Schedule: v[0] as "map", v[1] threads of a block, v[2] elements of a thread at most: 1, 2 or 4. */
#include "backends/loop/tpl.h"

/* Does every operand lie side by side along the axis, or not vary over it? */
static bool all_contiguous(const DhcTplCx *cx, int axis) {
  for (int o = 0; o < cx->s->n_operands; o++) {
    const DhcOperand *p = &cx->s->operand[o];
    if (!(dhc_tpl_operand_axes(cx, o) >> axis & 1)) continue;
    for (int t = 0; t < p->n_terms; t++) {
      const DhcTerm *e = &p->term[t];
      bool has = e->index >= 0 && (cx->varies[e->index] >> axis & 1);
      for (int i = 0; i < e->n_axes; i++) has = has || e->axis[i] == axis;
      if (has && (e->guarded || e->index >= 0 || !e->unit)) return false;
    }
  }
  return true;
}

void dhc_tpl_elements(const DhcTplInput *in, DhcLp *b) {
  DhcTplCx cx;
  DhcArena *arena = b->arena;
  uint32_t par = 0;
  dhc_tpl_init(&cx, in, b);
  for (int a = 0; a < in->spec->n_axes; a++) {
    if (in->spec->axis[a].role == DHC_AXIS_PAR) par |= 1u << a;
    else dhc_lp_refuse(b, "a map over reduced axes");
  }
  if (b->refused) return;
  int axis = dhc_tpl_choose_vector(&cx, par), threads = in->schedule->v[1];
  int each = axis >= 0 && all_contiguous(&cx, axis) ? in->schedule->v[2] : 1;
  cx.plan_vector = axis;
  uint32_t unrolled = dhc_tpl_unrolled_axes(&cx, par), rows = par & ~unrolled;
  if (axis >= 0) rows &= ~(1u << axis);
  dhc_lp_block(b, threads, 0);
  dhc_dimprog n_rows = dhc_tpl_count_prog(&cx, rows), per_row = dhc_prog_const(arena, 1);
  if (axis >= 0) per_row = dhc_prog_op(arena, DHC_DIM_CEILDIV, dhc_tpl_extent_prog(&cx, axis), dhc_prog_const(arena, each));
  dhc_dimprog all = dhc_prog_op(arena, DHC_DIM_MUL, n_rows, per_row);
  DhcLv n_all = dhc_lp_prog(b, all), n_per_row = dhc_lp_prog(b, per_row);
  DhcLv task = dhc_lp_tasks(b, dhc_prog_op(arena, DHC_DIM_CEILDIV, all, dhc_prog_const(arena, threads)));
  DhcLv at = dhc_lp_add(b, dhc_lp_mulc(b, task, threads), dhc_lp_thread(b));
  dhc_lp_if(b, dhc_lp_lt(b, at, n_all));
  DhcTplMark mark = dhc_tpl_push(&cx);
  bool several = rows != 0;
  DhcLv column = several && axis >= 0 ? dhc_lp_urem(b, at, n_per_row) : at;
  dhc_tpl_bind_flat(&cx, rows, axis >= 0 ? dhc_lp_udiv(b, at, n_per_row) : at);
  if (axis < 0) {
    dhc_tpl_store_unrolled(&cx, unrolled);
  } else if (each == 1) {
    dhc_tpl_bind(&cx, axis, column);
    dhc_tpl_store_unrolled(&cx, unrolled);
  } else {
    DhcLv from = dhc_lp_mulc(b, column, each), to = dhc_lp_addc(b, from, each), n = cx.extent[axis];
    dhc_lp_if(b, dhc_lp_le(b, to, n));
    DhcTplMark whole = dhc_tpl_push(&cx);
    dhc_tpl_bind_vector(&cx, axis, from, each, NULL);
    dhc_tpl_store_unrolled(&cx, unrolled);
    dhc_tpl_pop(&cx, &whole);
    dhc_lp_else(b);
    DhcLv i = dhc_lp_for(b, from, n, 1);
    DhcTplMark rest = dhc_tpl_push(&cx);
    dhc_tpl_bind(&cx, axis, i);
    dhc_tpl_store_unrolled(&cx, unrolled);
    dhc_tpl_pop(&cx, &rest);
    dhc_lp_end(b);
    dhc_lp_end(b);
  }
  dhc_tpl_pop(&cx, &mark);
  dhc_lp_end(b);
  dhc_lp_end(b);
}
