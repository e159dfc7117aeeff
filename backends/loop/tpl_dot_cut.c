/* How a contraction's work is cut (tpl_dot.c): all from extents. */
#include "backends/loop/tpl_dot.h"

typedef DhcDot Dot;

enum {
  PART_TILES = 80, /* of a chunk of rows, so many sums wait from part to part */
  AREA = 64, MOST_BLOCKS = 4 /* a task takes n blocks of columns where there are n (n - 1) areas of so many rows for each task */
};

#define OP(o, x, y) dhc_prog_op(a, DHC_DIM_##o, x, y)

static dhc_dimprog k_prog(const Dot *d) {
  return dhc_tpl_count_prog(&d->cx, d->red);
}

bool dhc_dot_in_parts(const DhcDot *d) {
  int64_t known = d->s->axis[dhc_dot_red_axis(d)].extent;
  return dhc_dot_one_axis(d->red) && !(known && known <= DHC_DOT_PART);
}

dhc_dimprog dhc_dot_room(const DhcDot *d) {
  DhcArena *a = d->b->arena;
  return dhc_dot_in_parts(d) ? dhc_prog_op(a, DHC_DIM_MIN, k_prog(d), dhc_prog_const(a, DHC_DOT_PART)) : k_prog(d);
}

dhc_dimprog dhc_dot_panel_bytes(const DhcDot *d, int width) {
  DhcArena *a = d->b->arena;
  dhc_dimprog k = dhc_prog_op(a, DHC_DIM_ADD, dhc_dot_room(d), dhc_prog_const(a, d->lanes));
  return dhc_prog_op(a, DHC_DIM_MUL, k, dhc_prog_const(a, width * 4));
}

dhc_dimprog dhc_dot_far(const DhcDot *d) {
  DhcArena *a = d->b->arena;
  const int *v = d->cx.in->schedule->v;
  dhc_dimprog step = dhc_prog_const(a, 1), k = k_prog(d);
  const DhcOperand *p = &d->s->operand[d->oa];
  for (int t = 0; t < p->n_terms; t++)
    for (int i = 0; i < p->term[t].n_axes; i++)
      if (p->term[t].axis[i] == dhc_dot_red_axis(d) && !p->term[t].unit) step = dhc_prog_dim(a, dhc_spec_stride_arg(d->s, d->oa, t));
  dhc_dimprog wide = OP(LE, dhc_prog_const(a, v[6]), step), large = OP(LE, dhc_prog_const(a, (int64_t)v[6] * DHC_DOT_PART), OP(MUL, step, k));
  return OP(AND, OP(LE, dhc_prog_const(a, v[5] + 1), k), OP(MAX, wide, large));
}

/* Blocks of columns that a task takes: where A's rows are packed, once for all of them. */
static dhc_dimprog blocks_of_task(const Dot *d, dhc_dimprog outer, dhc_dimprog blocks, dhc_dimprog rows) {
  DhcArena *a = d->b->arena;
  dhc_dimprog areas = OP(MUL, OP(MUL, outer, blocks), OP(CEILDIV, rows, dhc_prog_const(a, AREA))), n = dhc_prog_const(a, 1);
  for (int i = 2; i <= MOST_BLOCKS && (d->across || !d->direct_a); i++) {
    dhc_dimprog many = OP(LE, dhc_prog_const(a, (int64_t)d->tasks * i * (i - 1)), areas);
    n = OP(ADD, n, d->across ? OP(MUL, dhc_dot_far(d), many) : many);
  }
  dhc_dimprog each = OP(MUL, OP(MAX, dhc_dot_room(d), dhc_prog_const(a, 1)), dhc_prog_const(a, (int64_t)dhc_dot_vectors(d) * d->lanes * 4));
  dhc_dimprog fit = OP(MAX, OP(FLOORDIV, dhc_prog_const(a, d->cx.in->schedule->v[7]), each), dhc_prog_const(a, 1));
  dhc_dimprog groups = OP(MAX, OP(CEILDIV, blocks, OP(MIN, n, fit)), dhc_prog_const(a, 1));
  return OP(MAX, OP(CEILDIV, blocks, groups), dhc_prog_const(a, 1));
}

DhcDotCut dhc_dot_cut(const DhcDot *d) {
  DhcArena *a = d->b->arena;
  dhc_dimprog one = dhc_prog_const(a, 1);
  dhc_dimprog rows = d->m >= 0 ? dhc_tpl_extent_prog(&d->cx, d->m) : one, outer = dhc_tpl_count_prog(&d->cx, d->outer);
  DhcDotCut c = {.blocks = OP(CEILDIV, dhc_tpl_extent_prog(&d->cx, d->n), dhc_prog_const(a, d->vectors * d->lanes))};
  c.per_group = blocks_of_task(d, outer, c.blocks, rows);
  /* chunks of rows until there are tasks enough: each packs its columns anew */
  dhc_dimprog groups = OP(CEILDIV, c.blocks, c.per_group), pieces = OP(MAX, OP(MUL, outer, groups), one);
  dhc_dimprog tiles = OP(CEILDIV, rows, dhc_prog_const(a, d->rows));
  dhc_dimprog want = OP(CEILDIV, dhc_prog_const(a, d->tasks), pieces);
  want = OP(MIN, want, OP(CEILDIV, tiles, dhc_prog_const(a, d->cx.in->schedule->v[4])));
  c.held = one;
  dhc_dimprog several = dhc_dot_in_parts(d) ? OP(LE, dhc_prog_const(a, DHC_DOT_PART + 1), k_prog(d)) : dhc_prog_const(a, 0);
  if (dhc_dot_in_parts(d)) want = OP(MAX, want, OP(MUL, several, OP(CEILDIV, tiles, dhc_prog_const(a, PART_TILES))));
  c.per_chunk = OP(MAX, OP(CEILDIV, tiles, OP(MAX, want, one)), one);
  c.held = OP(MAX, OP(MUL, several, OP(MUL, c.per_chunk, c.per_group)), one);
  c.chunks = OP(CEILDIV, tiles, c.per_chunk);
  c.per_outer = OP(MUL, groups, c.chunks);
  c.n_tasks = OP(MUL, outer, c.per_outer);
  return c;
}
