/* Template "map_turned": a map of which some operands lie across the lines of its results (dhc_spec_turned): x^T + y. Tiles of 16 by 16
 * are read as they lie, a vector a line, turned in registers and left in a small array, from which the rows of the tile are read like
 * any other operand.
 *
 *   task: what other axes there are, 16 rows of `down`, a block of `along`
 *     for each 16 places of `along`: turn; for each of the rows: the map
 *
 * Schedule: v[1] = elements per task. */
#include "backends/loop/tpl.h"

enum { SIDE = DHC_TPL_LANES };

typedef struct Turned {
  DhcTplCx cx;
  DhcLp *b;
  DhcSpecTurned t;
  DhcLv tile[DHC_TURNED_MOST];
} Turned;

/* Lines of `along` behind the last one are that again: nobody looks at what becomes of them. */
static void turn(Turned *m, DhcLv u, DhcLv v, DhcLv hi) {
  DhcTplCx *cx = &m->cx;
  DhcLp *b = m->b;
  DhcLv last = dhc_lp_addc(b, hi, -1), line[SIDE];
  for (int k = 0; k < m->t.n; k++) {
    for (int i = 0; i < SIDE; i++) {
      DhcTplMark mark = dhc_tpl_push(cx);
      dhc_tpl_bind(cx, m->t.along, dhc_lp_min(b, dhc_lp_addc(b, v, i), last));
      dhc_tpl_bind_vector(cx, m->t.down, u, SIDE, dhc_lp_tail(b, u, cx->extent[m->t.down], SIDE));
      line[i] = dhc_tpl_eval(cx, m->t.load[k]);
      dhc_tpl_pop(cx, &mark);
    }
    dhc_lp_transpose(b, line, SIDE);
    for (int i = 0; i < SIDE; i++) dhc_lp_store(b, m->tile[k], dhc_lp_i64(b, (int64_t)i * SIDE), line[i], 0);
  }
}

static void tile(Turned *m, DhcLv u, DhcLv v, DhcLv hi, const bool *needed) {
  DhcTplCx *cx = &m->cx;
  DhcLp *b = m->b;
  turn(m, u, v, hi);
  DhcTplMark across = dhc_tpl_push(cx);
  dhc_tpl_bind_vector(cx, m->t.along, v, SIDE, dhc_lp_tail(b, v, hi, SIDE));
  dhc_tpl_hoist(cx, needed);
  DhcLv end = dhc_lp_min(b, dhc_lp_sub(b, cx->extent[m->t.down], u), dhc_lp_i64(b, SIDE));
  DhcLv i = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), end, 1, 1);
  DhcTplMark row = dhc_tpl_push(cx);
  dhc_tpl_bind(cx, m->t.down, dhc_lp_add(b, u, i));
  for (int k = 0; k < m->t.n; k++) dhc_tpl_set(cx, m->t.load[k], dhc_lp_load(b, m->tile[k], dhc_lp_mulc(b, i, SIDE), SIDE, 0));
  dhc_tpl_store_all(cx);
  dhc_tpl_pop(cx, &row);
  dhc_lp_end(b);
  dhc_tpl_pop(cx, &across);
}

void dhc_tpl_map_turned(const DhcTplInput *in, DhcLp *b) {
  Turned *m = DHC_NEW(b->arena, Turned);
  DhcTplCx *cx = &m->cx;
  DhcArena *a = b->arena;
  m->b = b;
  dhc_tpl_init(cx, in, b);
  if (!dhc_spec_turned(in->spec, &m->t)) dhc_lp_refuse(b, "nothing lies across");
  if (b->refused) return;
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  dhc_tpl_needed_by_outputs(in->spec, needed);
  for (int k = 0; k < m->t.n; k++) needed[m->t.load[k]] = false;
  uint32_t others = dhc_spec_axes(in->spec, DHC_AXIS_PAR) & ~(1u << m->t.down | 1u << m->t.along);
  int block = in->schedule->v[1] / SIDE / SIDE * SIDE;
  if (block < SIDE) block = SIDE;
  dhc_dimprog lines = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_extent_prog(cx, m->t.down), dhc_prog_const(a, SIDE));
  dhc_dimprog blocks = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_extent_prog(cx, m->t.along), dhc_prog_const(a, block));
  DhcLv n_lines = dhc_lp_prog(b, lines), n_blocks = dhc_lp_prog(b, blocks);
  for (int k = 0; k < m->t.n; k++) m->tile[k] = dhc_lp_local(b, DHC_F32, SIDE * SIDE);
  DhcLv task = dhc_lp_tasks(b, dhc_prog_op(a, DHC_DIM_MUL, dhc_tpl_count_prog(cx, others), dhc_prog_op(a, DHC_DIM_MUL, lines, blocks)));
  DhcTplMark mark = dhc_tpl_push(cx);
  DhcLv rest = dhc_lp_udiv(b, task, n_blocks), lo = dhc_lp_mulc(b, dhc_lp_urem(b, task, n_blocks), block);
  dhc_tpl_bind_flat(cx, others, dhc_lp_udiv(b, rest, n_lines));
  DhcLv hi = dhc_lp_min(b, cx->extent[m->t.along], dhc_lp_addc(b, lo, block));
  DhcLv v = dhc_lp_for_rounds(b, lo, hi, SIDE, 1);
  tile(m, dhc_lp_mulc(b, dhc_lp_urem(b, rest, n_lines), SIDE), v, hi, needed);
  dhc_lp_end(b);
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
}
