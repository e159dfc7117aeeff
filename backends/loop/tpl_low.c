/* Template "low" (GPUs): contractions of few rows, in tf32 or bf16, whose time is that of waiting. Of loads alone, along one
 * axis of ks that lie side by side on both sides; dhc_spec_low says which.
 *
 * A block has sixteen rows and few columns. Its warps share the ks, sixteen of them each in turn; a thread reads four ks of
 * a line at once, in the order in which matrix tiles want them, straight into registers, and no line goes through block
 * memory. First what no kernel before it can have written, where a launch says so of it (dhc_lp_early): the columns', weights. They
 * are on their way while that kernel ends. Then the rows', and what results go into. The warps' sums meet in block memory and are
 * added in order.
 *
 * Ragged: a block has few columns of one range's matrix, and goes over the range's rows, sixteen at a time; where it has none nothing
 * is read. That is where the ranges are all rows, one after the other; else the first range's blocks do everything, range after range.
 * For ranges of which most are empty: reading all matrices early took longer where most have rows.
 *
 * Schedule: v[0] rows, 16; v[1] columns; v[2] ks of a round, sixteen of each warp; v[3] warps for each that v[5] says; v[4] 1; v[5] as of template
 * "tile": warps, in two parts, in bf16; v[6] rounds whose operands are on their way together. */
#include "backends/loop/tpl_tile.h"

enum { ROWS = 2 /* of a thread: g and g + 8 */, FOUR = 4, WARP_KS = 16 };

typedef struct Low {
  DhcTile t;
  int rounds, columns; /* at once; matrix tiles of a warp, across */
  DhcLv fours;         /* every line's ks may be read four at a time */
  DhcLv row_at[ROWS], *column_at[DHC_TILE_PAIR]; /* where the thread's lines begin */
  DhcLv xs, ys[DHC_TILE_PAIR];                   /* stack arrays of what has been read: by round, line and k */
  DhcLv row_in[ROWS]; /* ragged, ranges in any order: the row is one of the range's; else NULL */
  DhcTileLane lane;
} Low;

static DhcLv stride_along(const Low *l, const DhcTileSide *s, uint32_t axes) {
  const DhcTile *d = &l->t;
  const DhcOperand *p = &d->cx.s->operand[s->operand];
  for (int t = 0; t < p->n_terms; t++)
    if (axes >> p->term[t].axis[0] & 1) return d->cx.stride[s->operand][t];
  return dhc_lp_i64(d->b, 0);
}

/* Lines beyond the last are the last: nobody looks at what becomes of them. */
static DhcLv line_at(Low *l, const DhcTileSide *s, DhcLv line) {
  DhcLp *b = l->t.b;
  DhcLv last = dhc_lp_addc(b, s->rows ? l->t.n_rows : l->t.n_cols, -1);
  return dhc_lp_mul(b, dhc_lp_min(b, line, last), stride_along(l, s, s->axes));
}

static DhcLv are_fours(Low *l, const DhcTileSide *s) {
  DhcLp *b = l->t.b;
  DhcLv yes = dhc_lp_aligned(b, l->t.cx.pointer[s->operand], 16);
  if (!s->rows && l->t.e >= 0) yes = dhc_lp_and(b, yes, dhc_tile_is_four(b, stride_along(l, s, 1u << l->t.e)));
  return dhc_lp_and(b, yes, dhc_tile_is_four(b, stride_along(l, s, s->axes)));
}

static void find_fours(Low *l) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  l->lane = dhc_tile_lane(d);
  l->fours = dhc_lp_and(b, dhc_tile_is_four(b, d->n_k), are_fours(l, &d->x));
  for (int f = 0; f < d->n_folds; f++) l->fours = dhc_lp_and(b, l->fours, are_fours(l, &d->y[f]));
}

static void find_rows(Low *l) {
  DhcLp *b = l->t.b;
  for (int r = 0; r < ROWS; r++) l->row_at[r] = line_at(l, &l->t.x, dhc_lp_addc(b, dhc_lp_add(b, l->t.row0, l->lane.g), 8 * r));
}

/* e: the range whose matrix it is, or NULL. */
static void find_columns(Low *l, DhcLv e) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  for (int f = 0; f < d->n_folds; f++)
    for (int j = 0; j < l->columns; j++) {
      DhcLv at = line_at(l, &d->y[f], dhc_lp_addc(b, dhc_lp_add(b, d->col0, l->lane.g), 8 * j));
      l->column_at[f][j] = e ? dhc_lp_add(b, at, dhc_lp_mul(b, e, stride_along(l, &d->y[f], 1u << d->e))) : at;
    }
}

/* The thread's ks of a round, of lines that begin at at[]; what is beyond the last k is zero. */
static void read_lines(Low *l, const DhcTileSide *s, DhcLv to, const DhcLv *at, int n, DhcLv k0, int round, bool fours) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  DhcLv k = dhc_lp_add(b, dhc_lp_addc(b, k0, (int64_t)round * d->bk), dhc_lp_add(b, dhc_lp_mulc(b, l->lane.group, WARP_KS), dhc_lp_mulc(b, l->lane.t, FOUR)));
  DhcLv in = dhc_lp_lt(b, k, d->n_k), some = dhc_lp_select(b, in, k, dhc_lp_i64(b, 0)), from = d->cx.pointer[s->operand];
  DhcLv each = dhc_lp_add(b, dhc_lp_splat(b, k, FOUR), dhc_lp_iota(b, DHC_I64, FOUR));
  DhcLv mask = dhc_lp_lt(b, each, dhc_lp_splat(b, d->n_k, FOUR));
  for (int i = 0; i < n; i++) {
    if (s->rows && l->row_in[i]) {
      in = dhc_lp_and(b, dhc_lp_lt(b, k, d->n_k), l->row_in[i]);
      some = dhc_lp_select(b, in, k, dhc_lp_i64(b, 0));
      mask = dhc_lp_and(b, dhc_lp_lt(b, each, dhc_lp_splat(b, d->n_k, FOUR)), dhc_lp_splat(b, l->row_in[i], FOUR));
    }
    DhcLv v = fours ? dhc_lp_select(b, in, dhc_lp_load(b, from, dhc_lp_add(b, at[i], some), FOUR, 16), dhc_lp_zero(b, DHC_F32, FOUR))
                    : dhc_lp_mload(b, from, dhc_lp_add(b, at[i], k), FOUR, mask);
    for (int e = 0; e < FOUR; e++)
      dhc_lp_store(b, to, dhc_lp_i64(b, ((int64_t)round * n + i) * FOUR + e), dhc_lp_extract(b, v, e), 0);
  }
}

static void read_side(Low *l, const DhcTileSide *s, DhcLv to, const DhcLv *at, int n, DhcLv k0) {
  DhcLp *b = l->t.b;
  dhc_lp_if(b, l->fours);
  for (int r = 0; r < l->rounds; r++) read_lines(l, s, to, at, n, k0, r, true);
  dhc_lp_else(b);
  for (int r = 0; r < l->rounds; r++) read_lines(l, s, to, at, n, k0, r, false);
  dhc_lp_end(b);
}

static void read_columns(Low *l, DhcLv k0) {
  for (int f = 0; f < l->t.n_folds; f++) read_side(l, &l->t.y[f], l->ys[f], l->column_at[f], l->columns, k0);
}

static void take(Low *l, DhcLv to, int i, int n, DhcLv from, int64_t at) {
  DhcLp *b = l->t.b;
  DhcLv v[FOUR];
  for (int e = 0; e < dhc_tile_own(&l->t); e++) v[e] = dhc_lp_load(b, from, dhc_lp_i64(b, at + e), 1, 0);
  dhc_tile_take(&l->t, to, i, n, v);
}

/* Sixteen ks of a warp are one product of bf16, two of tf32. */
static void multiply(Low *l) {
  DhcTile *d = &l->t;
  int own = dhc_tile_own(d);
  for (int r = 0; r < l->rounds; r++)
    for (int h = 0; h < FOUR; h += own) {
      DhcLv xs = dhc_tile_operands(d, ROWS);
      for (int i = 0; i < ROWS; i++) take(l, xs, i, ROWS, l->xs, ((int64_t)r * ROWS + i) * FOUR + h);
      for (int f = 0; f < d->n_folds; f++) {
        DhcLv ys = dhc_tile_operands(d, l->columns);
        for (int j = 0; j < l->columns; j++) take(l, ys, j, l->columns, l->ys[f], ((int64_t)r * l->columns + j) * FOUR + h);
        dhc_tile_products(d, f, xs, ys);
      }
    }
}

/* A thread's result, if the tile has so many: binds it. True: the result is there. */
static DhcLv bind_result(Low *l) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  DhcLv columns = dhc_lp_i64(b, d->bn), one = dhc_lp_i64(b, 1);
  d->at_row = dhc_lp_udiv(b, d->tid, columns);
  d->at_col = dhc_lp_urem(b, d->tid, columns);
  DhcLv row = dhc_lp_add(b, d->row0, d->at_row), col = dhc_lp_add(b, d->col0, d->at_col);
  DhcLv there = dhc_lp_and(b, dhc_lp_lt(b, row, d->n_rows), dhc_lp_lt(b, col, d->n_cols));
  if (d->x.axes) dhc_tile_bind_line(d, &d->x, dhc_lp_min(b, row, dhc_lp_sub(b, d->n_rows, one)), false);
  dhc_tile_bind_line(d, &d->y[0], dhc_lp_min(b, col, dhc_lp_sub(b, d->n_cols, one)), false);
  return dhc_lp_and(b, there, dhc_lp_lt(b, d->at_row, dhc_lp_i64(b, d->bm)));
}

/* What results go into is on its way with the rows. */
static void read_beside(Low *l) {
  const DhcSpec *s = l->t.cx.s;
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) needed[s->operand[o].stored] = true;
  for (int n = s->n_nodes - 1; n >= 0; n--) {
    const DhcSpecNode *e = &s->node[n];
    if (!needed[n] || e->kind == DHC_SN_FOLD) continue;
    if (e->kind == DHC_SN_LOAD) dhc_tpl_eval(&l->t.cx, n);
    for (int k = 0; k < 4; k++)
      if (e->a[k] >= 0) needed[e->a[k]] = true;
  }
}

static int64_t at_once(const Low *l) { return (int64_t)l->rounds * l->t.bk; }

static void read_rows(Low *l, DhcLv k0) { read_side(l, &l->t.x, l->xs, l->row_at, ROWS, k0); }

/* The ks from `first` on. */
static void add_rest(Low *l, int64_t first) {
  DhcLp *b = l->t.b;
  DhcLv k0 = dhc_lp_for(b, dhc_lp_i64(b, first), l->t.n_k, at_once(l));
  read_columns(l, k0);
  read_rows(l, k0);
  multiply(l);
  dhc_lp_end(b);
}

static void store(Low *l, DhcLv there) {
  DhcLp *b = l->t.b;
  dhc_tile_end_small(&l->t);
  dhc_tile_put_sums(&l->t);
  dhc_lp_if(b, there);
  dhc_tpl_store_all(&l->t.cx);
  dhc_lp_end(b);
}

static void open_columns(Low *l) {
  for (int f = 0; f < l->t.n_folds; f++) l->ys[f] = dhc_lp_local(l->t.b, DHC_F32, (int64_t)l->rounds * l->columns * FOUR);
}

static void open_rows(Low *l) { l->xs = dhc_lp_local(l->t.b, DHC_F32, (int64_t)l->rounds * ROWS * FOUR); }

/* Rows from row0 on; the first columns have been read. */
static void one_tile(Low *l) {
  DhcLp *b = l->t.b;
  DhcTplMark mark = dhc_tpl_push(&l->t.cx);
  find_rows(l);
  dhc_tile_begin(&l->t);
  dhc_tile_begin_small(&l->t);
  open_rows(l);
  read_rows(l, dhc_lp_i64(b, 0));
  DhcLv there = bind_result(l);
  read_beside(l);
  multiply(l);
  add_rest(l, at_once(l));
  store(l, there);
  dhc_tpl_pop(&l->t.cx, &mark);
}

/* ---- ragged ------------------------------------------------------------------------------------ */

static void rows_of(Low *l, DhcLv e, DhcLv *lo, DhcLv *hi) {
  DhcTile *d = &l->t;
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  dhc_tpl_bind(&d->cx, d->e, e);
  *lo = dhc_lp_cast(d->b, dhc_tpl_eval(&d->cx, d->lo), DHC_I64);
  *hi = dhc_lp_cast(d->b, dhc_tpl_eval(&d->cx, d->hi), DHC_I64);
  dhc_tpl_pop(&d->cx, &mark);
}

/* Are the ranges all rows, each beginning where the one before ends? */
static DhcLv in_order(Low *l) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  DhcLv none = dhc_lp_i64(b, 0), lo, hi;
  DhcLpVar reached = dhc_lp_var(b, none), gaps = dhc_lp_var(b, none);
  DhcLv e = dhc_lp_for_rounds(b, none, d->cx.extent[d->e], 1, 8);
  rows_of(l, e, &lo, &hi);
  DhcLv gap = dhc_lp_or(b, dhc_lp_sub(b, lo, dhc_lp_get(b, reached)), dhc_lp_min(b, dhc_lp_sub(b, hi, lo), none));
  dhc_lp_set(b, gaps, dhc_lp_or(b, dhc_lp_get(b, gaps), gap));
  dhc_lp_set(b, reached, hi);
  dhc_lp_end(b);
  return dhc_lp_and(b, dhc_lp_eq(b, dhc_lp_get(b, gaps), none), dhc_lp_eq(b, dhc_lp_get(b, reached), d->n_rows));
}

/* Its own rows, tile after tile. Short sums keep their columns. */
static void own_rows(Low *l, DhcLv lo, DhcLv hi) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  DhcLv all = d->n_rows, zero = dhc_lp_i64(b, 0);
  d->n_rows = hi;
  dhc_lp_if(b, dhc_lp_lt(b, lo, hi));
  read_columns(l, zero);
  dhc_lp_end(b);
  d->row0 = dhc_lp_for(b, lo, hi, d->bm);
  one_tile(l);
  dhc_lp_barrier(b); /* the next sums overwrite these */
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_lt(b, dhc_lp_i64(b, at_once(l)), d->n_k), dhc_lp_lt(b, dhc_lp_addc(b, d->row0, d->bm), hi)));
  read_columns(l, zero);
  dhc_lp_end(b);
  dhc_lp_end(b);
  d->n_rows = all;
}

/* All rows by all ranges. */
static void any_rows(Low *l) {
  DhcTile *d = &l->t;
  DhcLp *b = d->b;
  DhcLv zero = dhc_lp_i64(b, 0), lo, hi;
  d->row0 = dhc_lp_for(b, zero, d->n_rows, d->bm);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  find_rows(l);
  dhc_tile_begin(d);
  dhc_tile_begin_small(d);
  open_rows(l);
  DhcLv e = dhc_lp_for(b, zero, d->cx.extent[d->e], 1);
  rows_of(l, e, &lo, &hi);
  for (int r = 0; r < ROWS; r++) {
    DhcLv row = dhc_lp_addc(b, dhc_lp_add(b, d->row0, l->lane.g), 8 * r);
    l->row_in[r] = dhc_lp_and(b, dhc_lp_le(b, lo, row), dhc_lp_lt(b, row, hi));
  }
  find_columns(l, e);
  add_rest(l, 0);
  dhc_lp_end(b);
  store(l, bind_result(l));
  dhc_lp_barrier(b);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
}

static void one_range(Low *l, DhcLv e) {
  DhcLp *b = l->t.b;
  DhcLv zero = dhc_lp_i64(b, 0), lo, hi;
  find_columns(l, e);
  open_columns(l);
  rows_of(l, e, &lo, &hi);
  dhc_lp_if(b, in_order(l));
  own_rows(l, lo, hi);
  dhc_lp_else(b);
  dhc_lp_if(b, dhc_lp_eq(b, e, zero));
  any_rows(l);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* ---- the kernel ------------------------------------------------------------------------------------ */

/* Sides that are one axis of lines by one of ks. */
static const char *look(Low *l) {
  DhcTile *d = &l->t;
  const char *why = dhc_tile_roles(d);
  if (why) return why;
  if (!dhc_spec_low(d->cx.s)) return "rows that are not read as they lie";
  if (d->cx.s->kind == DHC_KIND_RAGGED && d->e < 0) return "ranges that are not read";
  d->x.operand = d->cx.s->node[d->e < 0 ? d->x.node : d->cx.s->node[d->x.node].a[1]].operand;
  for (int f = 0; f < d->n_folds; f++) d->y[f].operand = d->cx.s->node[d->y[f].node].operand;
  l->rounds = d->stages;
  d->wk *= d->wr;
  d->wr = 1;
  l->columns = dhc_tile_across(d);
  if (d->bm != DHC_TILE_LOW || d->wc != 1 || d->bk != WARP_KS * d->wk || d->bm * d->bn > d->threads) DHC_BUG("schedule of few rows");
  return NULL;
}

void dhc_tpl_low(const DhcTplInput *in, DhcLp *b) {
  Low *l = DHC_NEW(b->arena, Low);
  DhcTile *d = &l->t;
  DhcArena *a = b->arena;
  dhc_tile_look(d, in, b);
  const char *why = look(l);
  if (why) {
    dhc_lp_refuse(b, "%s", why);
    return;
  }
  dhc_lp_block(b, d->threads, dhc_tile_result_bytes(d));
  dhc_tile_open(d, in);
  for (int f = 0; f < d->n_folds; f++) {
    l->column_at[f] = DHC_NEW_N(a, DhcLv, l->columns);
    if (d->e < 0) dhc_lp_early(b, d->y[f].operand);
  }
  dhc_dimprog across = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_count_prog(&d->cx, d->y[0].axes), dhc_prog_const(a, d->bn));
  dhc_dimprog down = d->e < 0 ? dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_count_prog(&d->cx, d->x.axes), dhc_prog_const(a, d->bm))
                              : dhc_tpl_extent_prog(&d->cx, d->e);
  DhcLv n_across = dhc_lp_prog(b, across), task = dhc_lp_tasks(b, dhc_prog_op(a, DHC_DIM_MUL, across, down));
  DhcLv first = dhc_lp_udiv(b, task, n_across);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  d->tid = dhc_lp_thread(b);
  d->col0 = dhc_lp_mulc(b, dhc_lp_urem(b, task, n_across), d->bn);
  find_fours(l);
  if (d->e < 0) {
    d->row0 = dhc_lp_mulc(b, first, d->bm);
    find_columns(l, NULL);
    open_columns(l);
    read_columns(l, dhc_lp_i64(b, 0));
    one_tile(l);
  } else {
    one_range(l, first);
  }
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
}
