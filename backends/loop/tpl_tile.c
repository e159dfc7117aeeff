/* Template "tile" (GPUs): contractions whose result is cut into tiles, a block of threads each. Serves every
 * kind that is one or two contractions of loads and what is made of them in place: dot, conv, conv_dw,
 * ragged.
 *
 * Of a contraction sum over k of x * y, the rows are the axes that x alone varies over, the columns those
 * that y alone does; axes of both are a batch (tpl_tile_roles.c). Rows and columns are numbered row-major
 * over their axes, so a convolution is the same loop as a matrix product: its pixels are columns, its taps
 * are part of k. Reduced axes that the contraction does not fold but varies over (a pooling window) count as
 * the innermost rows or columns of whole windows.
 *
 * In steps of BK a block brings a BM x BK and a BK x BN piece into block memory (tpl_tile_copy.c), some steps
 * ahead of the one that it multiplies (tpl_tile_sum.c): there are as many stages as steps on their way, and
 * one. Exact: sums by the product rule (ir/sum.h), k ascending, the CPU's bits. In tf32 operands are rounded
 * to 11 bits, or taken in two parts, and go through matrix tiles of 16 x 8 x 8, whose sums are cut toward zero: k / 8
 * cuts, each below 2^-23 of the sum's largest part. In bf16 it is 8 bits, 16 in two parts, and tiles of 16 x 8 x 16;
 * memory, block memory too, holds f32. Results go through block memory, so that a thread stores
 * along the columns and holds whole windows.
 *
 * Ragged contractions. Rows of a range [lo, hi) of some axis e meet e's matrix: where the ranges are all rows
 * in order, each has its own tiles (find_rows). Else the es of which a block has rows are put into a list,
 * and its steps are those of all of them, one after the other; what the others would add is a zero. Or the
 * range is one of ks, for an e of the batch: the steps are those of the range.
 *
 * Split over k (v[7]): where tiles are too few for the machine, the tasks of a first phase are the tiles by
 * pieces of k, whose sums lie in the shared memory; those of the second add them and store. Exact: a piece is
 * a block of the product rule, and they are added by that rule. By matrix tiles there are as many as make the tasks
 * that v[7] asks for, added in order.
 *
 * Schedule: v[0] BM, v[1] BN, v[2] BK; exact: v[3] TM and v[4] TN, rows and columns of a thread; else: v[3]
 * and v[4] warps along rows and columns, v[5] groups of them that share a step's ks (0: exact), + 16:
 * operands in two parts, + 32: in bf16, + 64: by groups of four warps (wgmma), in tf32, 16 rows a warp, BK 32,
 * operands cut and their sums scaled; v[6] stages; v[7] tasks of a split, exact: 1; 0: not split. */
#include "backends/loop/tpl_tile.h"

/* ---- steps -------------------------------------------------------------------------------- */

/* Step by step: a number of a range in the list (ragged) and a first k. */
typedef struct Walk {
  DhcLpVar k, range;
} Walk;

static Walk walk_begin(DhcTile *d) {
  return (Walk){dhc_lp_var(d->b, d->k_first), dhc_lp_var(d->b, dhc_lp_i64(d->b, 0))};
}

static void walk_next(DhcTile *d, const Walk *w) {
  DhcLp *b = d->b;
  dhc_lp_set(b, w->k, dhc_lp_addc(b, dhc_lp_get(b, w->k), d->bk));
  if (d->e < 0) return;
  dhc_lp_if(b, dhc_lp_ge(b, dhc_lp_get(b, w->k), d->k_end));
  dhc_lp_set(b, w->k, d->k_first);
  dhc_lp_set(b, w->range, dhc_lp_addc(b, dhc_lp_get(b, w->range), 1));
  dhc_lp_end(b);
}

static DhcLv walk_range(DhcTile *d, const Walk *w) { return d->e < 0 ? NULL : dhc_lp_get(d->b, w->range); }

static bool has_k_table(const DhcTile *d) {
  bool any = d->x.ks.on;
  for (int f = 0; f < d->n_folds; f++) any = any || d->y[f].ks.on;
  return any;
}

/* Writes the places of the chunk that begins with `step`, if one does. */
static void begin_chunk(DhcTile *d, DhcLv step, const Walk *w) {
  DhcLp *b = d->b;
  dhc_lp_if(b, dhc_lp_eq(b, dhc_lp_and(b, step, dhc_lp_i64(b, d->chunk - 1)), dhc_lp_i64(b, 0)));
  dhc_tile_ks(d, step, dhc_lp_get(b, w->k));
  dhc_lp_end(b);
}

/* columns: theirs, too. */
static void copy_step(DhcTile *d, const Walk *w, DhcLv step, DhcLv n_steps, DhcLv base, bool columns) {
  DhcLp *b = d->b;
  dhc_lp_if(b, dhc_lp_lt(b, step, n_steps));
  dhc_tile_copy_rows(d, step, dhc_lp_get(b, w->k), base, walk_range(d, w));
  if (columns) dhc_tile_copy_columns(d, step, dhc_lp_get(b, w->k), base, walk_range(d, w));
  dhc_lp_end(b);
  dhc_lp_commit(b);
  walk_next(d, w);
}

DhcLv dhc_tile_next_stage(DhcTile *d, DhcLv base) {
  DhcLp *b = d->b;
  int64_t size = d->stage / 4;
  DhcLv next = dhc_lp_addc(b, base, size);
  return dhc_lp_select(b, dhc_lp_lt(b, next, dhc_lp_i64(b, size * d->stages)), next, dhc_lp_i64(b, 0));
}

void dhc_tile_steps(DhcTile *d, const DhcTileSteps *how, DhcLv first, DhcLv end) {
  DhcLp *b = d->b;
  int ahead = d->stages - 1;
  int64_t size = d->stage / 4;
  for (int s = 0; s < ahead; s++) how->copy(how->arg, dhc_lp_addc(b, first, s), end, dhc_lp_i64(b, s * size));
  if (how->ready) how->ready(how->arg);
  DhcLpVar now = dhc_lp_var(b, dhc_lp_i64(b, 0)), free = dhc_lp_var(b, dhc_lp_i64(b, ahead * size));
  DhcLv s = dhc_lp_for(b, first, end, 1);
  dhc_lp_wait(b, ahead - 1);
  dhc_lp_barrier(b); /* the step's copies are here, and nobody multiplies the stage that is filled now */
  how->copy(how->arg, dhc_lp_addc(b, s, ahead), end, dhc_lp_get(b, free));
  how->multiply(how->arg, dhc_lp_get(b, now));
  dhc_lp_set(b, now, dhc_tile_next_stage(d, dhc_lp_get(b, now)));
  dhc_lp_set(b, free, dhc_tile_next_stage(d, dhc_lp_get(b, free)));
  dhc_lp_end(b);
}

/* Columns of loads alone, as weights are, are brought before those ahead of this kernel have ended, where a launch says so: the first
 * steps' are on their way before any row's. Where steps are short; that code stands there for each of them. */
static bool is_early(const DhcTile *d) {
  bool plain = d->warps && (d->wk > 1 || d->group) && !d->target && d->range_axis < 0 && !has_k_table(d);
  for (int f = 0; f < d->n_folds; f++) plain = plain && d->y[f].operand >= 0;
  return plain;
}

static void copy_early(DhcTile *d, DhcLv n_steps, int ahead) {
  DhcLp *b = d->b;
  for (int s = 0; s < ahead; s++) {
    DhcLv step = dhc_lp_i64(b, s);
    dhc_lp_if(b, dhc_lp_lt(b, step, n_steps));
    dhc_tile_copy_columns(d, step, dhc_lp_i64(b, (int64_t)s * d->bk), dhc_lp_i64(b, s * (d->stage / 4)), NULL);
    dhc_lp_end(b);
  }
}

/* Rounds before the first that multiplies bring steps only; the code that brings one stands here twice, and the first
 * of them before all loops, so that nothing waits for it. Few rows are done in a step or two, and have all in a row. */
static void steps(DhcTile *d, DhcLv n_steps) {
  DhcLp *b = d->b;
  int ahead = d->stages - (d->group ? 2 : 1); /* a group multiplies one stage more than the one of this step */
  int first = d->group ? ahead : 1;
  bool tables = has_k_table(d);
  Walk w = walk_begin(d), used = walk_begin(d);
  dhc_tile_lines(d);
  if (is_early(d) || d->bm <= DHC_TILE_LOW || (tables && d->chunk <= ahead)) first = ahead; /* tables: places are due before the first product */
  for (int s = 0; s < first; s++) {
    DhcLv step = dhc_lp_i64(b, s);
    if (tables && s % d->chunk == 0) dhc_tile_ks(d, step, dhc_lp_get(b, w.k));
    if ((tables && s % d->chunk == 0) || !s) dhc_lp_barrier(b);
    if (!s && is_early(d)) copy_early(d, n_steps, first);
    copy_step(d, &w, step, n_steps, dhc_lp_i64(b, s * (d->stage / 4)), !is_early(d));
  }
  if (tables && first % d->chunk == 0) dhc_tile_ks(d, dhc_lp_i64(b, first), dhc_lp_get(b, w.k));
  DhcLpVar now = dhc_lp_var(b, dhc_lp_i64(b, 0)), free = dhc_lp_var(b, dhc_lp_i64(b, first * (d->stage / 4)));
  DhcLv s = dhc_lp_for(b, dhc_lp_i64(b, first - ahead), n_steps, 1);
  DhcLv multiplies = dhc_lp_ge(b, s, dhc_lp_i64(b, 0));
  if (first < ahead) dhc_lp_if(b, multiplies);
  dhc_lp_wait(b, ahead - 1);
  dhc_lp_barrier(b); /* the step's ks are here, and nobody multiplies the stage that is filled now */
  if (first < ahead) dhc_lp_end(b);
  DhcLv next = dhc_lp_addc(b, s, ahead);
  if (d->group) dhc_tile_multiply(d, dhc_lp_get(b, now), NULL);
  copy_step(d, &w, next, n_steps, dhc_lp_get(b, free), true);
  if (tables) begin_chunk(d, dhc_lp_addc(b, next, 1), &w);
  if (first < ahead) dhc_lp_if(b, multiplies);
  if (d->group) dhc_lp_group_wait(b, d->n_folds);
  else dhc_tile_multiply(d, dhc_lp_get(b, now), dhc_lp_sub(b, d->k_end, dhc_lp_get(b, used.k)));
  dhc_tile_end_step(d, dhc_lp_addc(b, dhc_lp_get(b, used.k), d->bk));
  dhc_lp_set(b, now, dhc_tile_next_stage(d, dhc_lp_get(b, now)));
  walk_next(d, &used);
  if (first < ahead) dhc_lp_end(b);
  dhc_lp_set(b, free, dhc_tile_next_stage(d, dhc_lp_get(b, free)));
  dhc_lp_end(b);
  if (d->group) dhc_lp_group_wait(b, 0);
}

static DhcLv count_steps(DhcTile *d) {
  return dhc_lp_ceildivc(d->b, dhc_lp_max(d->b, dhc_lp_sub(d->b, d->k_end, d->k_first), dhc_lp_i64(d->b, 0)),
                         d->bk);
}

enum { LISTED = 64 }; /* ranges in the list at most; more are taken in turns */

/* The es of [e0, e0 + LISTED) with rows here: number, lo and hi of each, and how many. All threads count alike; one writes. */
static DhcLv list_ranges(DhcTile *d, DhcLv e0) {
  DhcLp *b = d->b;
  DhcLv list = dhc_lp_block_memory(b, DHC_I64, d->list_at), end = dhc_lp_min(b, dhc_lp_addc(b, d->row0, d->bm), d->n_rows);
  DhcLpVar n = dhc_lp_var(b, dhc_lp_i64(b, 0));
  DhcLv e = dhc_lp_for(b, e0, dhc_lp_min(b, dhc_lp_addc(b, e0, LISTED), d->e_end), 1);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  dhc_tpl_bind(&d->cx, d->e, e);
  DhcLv lo = dhc_lp_cast(b, dhc_tpl_eval(&d->cx, d->lo), DHC_I64), hi = dhc_lp_cast(b, dhc_tpl_eval(&d->cx, d->hi), DHC_I64);
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_lt(b, d->row0, hi), dhc_lp_and(b, dhc_lp_lt(b, lo, end), dhc_lp_lt(b, lo, hi))));
  DhcLv at = dhc_lp_mulc(b, dhc_lp_get(b, n), 3);
  dhc_lp_if(b, dhc_lp_eq(b, d->tid, dhc_lp_i64(b, 0)));
  dhc_lp_store(b, list, at, e, 0);
  dhc_lp_store(b, list, dhc_lp_addc(b, at, 1), lo, 0);
  dhc_lp_store(b, list, dhc_lp_addc(b, at, 2), hi, 0);
  dhc_lp_end(b);
  dhc_lp_set(b, n, dhc_lp_addc(b, dhc_lp_get(b, n), 1));
  dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
  dhc_lp_barrier(b);
  return dhc_lp_get(b, n);
}

static void steps_of_ranges(DhcTile *d) {
  DhcLp *b = d->b;
  DhcLv e0 = dhc_lp_for(b, d->e_first, d->e_end, LISTED);
  DhcLv n = list_ranges(d, e0);
  steps(d, dhc_lp_mul(b, n, count_steps(d)));
  dhc_lp_barrier(b); /* the next list overwrites this one */
  dhc_lp_end(b);
}

/* The ks of this task: all, a piece of a split, or those of the batch's range. */
static void choose_ks(DhcTile *d, DhcLv piece) {
  DhcLp *b = d->b;
  d->k_lo = d->k_first = dhc_lp_i64(b, 0);
  d->k_end = d->n_k;
  if (piece) {
    d->k_lo = d->k_first = dhc_lp_mul(b, piece, d->per_split);
    d->k_end = dhc_lp_min(b, d->n_k, dhc_lp_add(b, d->k_lo, d->per_split));
  }
  if (dhc_tile_ranges_of_ks(d)) {
    DhcLv bk = dhc_lp_i64(b, d->bk);
    d->k_lo = dhc_lp_max(b, dhc_lp_cast(b, dhc_tpl_eval(&d->cx, d->lo), DHC_I64), dhc_lp_i64(b, 0));
    d->k_end = dhc_lp_min(b, dhc_lp_cast(b, dhc_tpl_eval(&d->cx, d->hi), DHC_I64), d->n_k);
    d->k_first = dhc_lp_mul(b, dhc_lp_udiv(b, d->k_lo, bk), bk);
  }
}

static void add_up(DhcTile *d) {
  dhc_tile_begin(d);
  if (d->e < 0) {
    steps(d, count_steps(d));
    return;
  }
  steps_of_ranges(d);
  dhc_tile_end_ranges(d);
}

/* ---- the kernel ---------------------------------------------------------------------------------- */

/* Lines of a tile that count: whole windows. */
static int whole(const DhcTile *d, bool rows) {
  int size = rows ? d->bm : d->bn;
  return d->window && d->window_rows == rows ? size / d->n_window * d->n_window : size;
}

static dhc_dimprog tiles(const DhcTile *d, uint32_t axes, int64_t size) {
  DhcArena *a = d->b->arena;
  return dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_count_prog(&d->cx, axes), dhc_prog_const(a, size));
}

typedef struct Grid {
  dhc_dimprog across, per_batch, all; /* tiles: of one row of them, of a batch, all */
  dhc_dimprog splits;
} Grid;

static Grid grid_of(const DhcTile *d) {
  DhcArena *a = d->b->arena;
  Grid g = {.across = tiles(d, d->y[0].axes, whole(d, false))};
  dhc_dimprog down = tiles(d, d->x.axes, whole(d, true));
  if (d->e >= 0) down = dhc_prog_op(a, DHC_DIM_ADD, down, dhc_tpl_extent_prog(&d->cx, d->e)); /* each range's last is not full */
  g.per_batch = dhc_prog_op(a, DHC_DIM_MUL, g.across, down);
  g.all = dhc_prog_op(a, DHC_DIM_MUL, g.per_batch, dhc_tpl_count_prog(&d->cx, d->batch));
  if (!d->target) return g;
  if (!d->warps) {
    g.splits = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_count_prog(&d->cx, d->k), dhc_prog_const(a, DHC_DOT_BLOCK));
    g.splits = dhc_prog_op(a, DHC_DIM_MAX, g.splits, dhc_prog_const(a, 1));
    return g;
  }
  /* as many pieces as make `target` tasks, of four steps or more each; of ranges, all of them together */
  bool ranges = dhc_tile_ranges_of_ks(d);
  dhc_dimprog one = dhc_prog_const(a, 1), some = dhc_prog_op(a, DHC_DIM_MAX, ranges ? g.per_batch : g.all, one);
  dhc_dimprog wanted = dhc_prog_op(a, DHC_DIM_FLOORDIV, dhc_prog_const(a, d->target), some);
  dhc_dimprog most = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_count_prog(&d->cx, d->k), dhc_prog_const(a, DHC_TILE_PIECE_STEPS * d->bk));
  g.splits = dhc_prog_op(a, DHC_DIM_MAX, dhc_prog_op(a, DHC_DIM_MIN, wanted, most), one);
  return g;
}

/* The tile with number `tile` among all. */
static void find_tile(DhcTile *d, const Grid *g, DhcLv tile) {
  DhcLp *b = d->b;
  DhcLv across = dhc_lp_prog(b, g->across), per_batch = dhc_lp_prog(b, g->per_batch), in = dhc_lp_urem(b, tile, per_batch);
  if (d->batch) dhc_tile_bind(d, d->batch, dhc_lp_udiv(b, tile, per_batch));
  /* tiles of one row of them follow each other: what they share is then in the cache */
  DhcLv down = dhc_lp_udiv(b, in, across);
  d->row0 = dhc_lp_mulc(b, down, whole(d, true));
  if (d->e >= 0) dhc_tile_find_rows(d, down);
  d->col0 = dhc_lp_mulc(b, dhc_lp_urem(b, in, across), whole(d, false));
}

/* ---- tasks ------------------------------------------------------------------------------------- */

static void one_phase(DhcTile *d, const Grid *g) {
  DhcLp *b = d->b;
  if (d->norm >= 0 && !d->scaled) dhc_lp_share(b, dhc_prog_op(b->arena, DHC_DIM_MUL, dhc_tile_made_elements(d), dhc_prog_const(b->arena, 4)));
  DhcLv task = dhc_tile_open_phases(d, &g->all, 1);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  d->tid = dhc_lp_thread(b);
  find_tile(d, g, task);
  choose_ks(d, NULL);
  add_up(d);
  dhc_tile_results(d);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_tile_close_phases(d);
}

/* The tile and ks of a task of the first phase; what is false if there are none, or NULL. */
static DhcLv find_piece(DhcTile *d, const Grid *g, DhcLv task) {
  DhcLp *b = d->b;
  if (!dhc_tile_ranges_of_ks(d)) {
    DhcLv tile = dhc_lp_udiv(b, task, d->n_splits);
    d->piece = dhc_lp_urem(b, task, d->n_splits);
    d->slot = dhc_lp_mul(b, tile, d->n_splits);
    find_tile(d, g, tile);
    choose_ks(d, d->piece);
    return NULL;
  }
  DhcLv per_batch = dhc_lp_prog(b, g->per_batch);
  DhcTilePieces p = dhc_tile_find_pieces(d, d->n_splits, dhc_lp_udiv(b, task, per_batch), NULL);
  d->piece = dhc_lp_i64(b, 0);
  d->slot = task;
  find_tile(d, g, dhc_lp_add(b, dhc_lp_mul(b, p.range, per_batch), dhc_lp_urem(b, task, per_batch)));
  d->k_first = p.k_first, d->k_lo = p.k_lo, d->k_end = p.k_end;
  return dhc_lp_lt(b, dhc_lp_i64(b, 0), p.n);
}

/* Where the pieces of a tile lie. */
static void find_sums(DhcTile *d, const Grid *g, DhcLv tile) {
  DhcLp *b = d->b;
  if (dhc_tile_ranges_of_ks(d)) {
    d->apart = dhc_lp_prog(b, g->per_batch);
    DhcTilePieces p = dhc_tile_find_pieces(d, d->n_splits, NULL, dhc_lp_udiv(b, tile, d->apart));
    d->slot = dhc_lp_add(b, dhc_lp_mul(b, p.first, d->apart), dhc_lp_urem(b, tile, d->apart));
    d->n_splits = p.n;
  } else {
    d->slot = dhc_lp_mul(b, tile, d->n_splits);
  }
  find_tile(d, g, tile);
}

static void two_phases(DhcTile *d, const Grid *g) {
  DhcLp *b = d->b;
  DhcArena *a = b->arena;
  bool ranges = dhc_tile_ranges_of_ks(d);
  dhc_dimprog pieces = dhc_prog_op(a, DHC_DIM_MUL, g->all, g->splits), made = dhc_tile_made_elements(d);
  if (ranges) /* each range's last is shorter */
    pieces = dhc_prog_op(a, DHC_DIM_MUL, g->per_batch, dhc_prog_op(a, DHC_DIM_ADD, g->splits, dhc_tpl_count_prog(&d->cx, d->batch)));
  dhc_dimprog sums = dhc_prog_op(a, DHC_DIM_MUL, pieces, dhc_prog_const(a, (int64_t)d->n_folds * d->bm * d->bn));
  dhc_lp_share(b, dhc_prog_op(a, DHC_DIM_MUL, dhc_prog_op(a, DHC_DIM_ADD, made, sums), dhc_prog_const(a, 4)));
  d->pieces = dhc_lp_shared(b, DHC_F32);
  if (d->norm >= 0) d->pieces = dhc_lp_at(b, d->pieces, dhc_lp_prog(b, made));
  d->n_splits = dhc_lp_prog(b, g->splits);
  if (!d->warps) d->per_split = dhc_lp_i64(b, DHC_DOT_BLOCK);
  else
    d->per_split = dhc_lp_mulc(
        b,
        dhc_lp_ceildivc(
            b, dhc_lp_udiv(b, dhc_lp_addc(b, dhc_lp_add(b, d->n_k, d->n_splits), -1), d->n_splits), d->bk),
        d->bk);
  int parts = dhc_tile_parts(d);
  DhcLv first = dhc_lp_prog(b, pieces);
  DhcLv task = dhc_tile_open_phases(d, (const dhc_dimprog[]){pieces, dhc_prog_op(a, DHC_DIM_MUL, g->all, dhc_prog_const(a, parts))}, 2);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  d->tid = dhc_lp_thread(b);
  dhc_lp_if(b, dhc_lp_lt(b, task, first));
  DhcTplMark inner = dhc_tpl_push(&d->cx);
  DhcLv any = find_piece(d, g, task);
  if (any) dhc_lp_if(b, any);
  add_up(d);
  for (int f = 0; f < d->n_folds; f++) dhc_tile_each_sum(d, f, dhc_tile_put_piece);
  if (any) dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &inner);
  dhc_lp_else(b);
  inner = dhc_tpl_push(&d->cx);
  DhcLv rest = dhc_lp_sub(b, task, first), n = dhc_lp_i64(b, parts);
  find_sums(d, g, dhc_lp_udiv(b, rest, n));
  dhc_tile_store_part(d, dhc_lp_urem(b, rest, n));
  dhc_tpl_pop(&d->cx, &inner);
  dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_tile_close_phases(d);
}

/* Block memory: tables, the list of ranges, the stages, over which the results lie later. */
static int64_t lay_out(DhcTile *d) {
  int64_t stage = 0, at = 0;
  dhc_tile_place(d, &d->x, d->bm, &stage);
  for (int f = 0; f < d->n_folds; f++) dhc_tile_place(d, &d->y[f], d->bn, &stage);
  dhc_tile_scaled_place(d, &stage);
  d->stage = stage;
  d->quads = d->bf16 && d->x.k_inner;
  for (int f = 0; f < d->n_folds; f++) d->quads = d->quads && d->y[f].k_inner;
  dhc_tile_tables(d, &at);
  d->list_at = at;
  if (d->e >= 0) at += LISTED * 3 * 8;
  int64_t align = d->group ? 1024 : 16;
  d->stages_at = (at + align - 1) / align * align;
  int64_t results = d->target ? 0 : dhc_tile_result_bytes(d) + dhc_tile_scaled_bytes(d);
  return d->stages_at + (results > stage * d->stages ? results : stage * d->stages);
}

void dhc_tile_block(DhcTile *d, int64_t bytes) {
  dhc_lp_block(d->b, d->threads, bytes);
  /* two blocks at once hide each other's waits where registers and block memory suffice */
  bool room = dhc_tile_n_sums(d) * d->n_folds * (d->three ? 2 : 1) * d->threads <= 64 * 256;
  if (d->warps && d->threads <= 256 && room && 2 * bytes <= DHC_TILE_MEMORY) dhc_lp_together(d->b, 2);
}

void dhc_tile_open(DhcTile *d, const DhcTplInput *in) {
  const DhcSpec *s = d->cx.s;
  dhc_tpl_init(&d->cx, in, d->b);
  d->cx.s = s;
  for (int n = 0; n < s->n_nodes; n++) d->cx.varies[n] = dhc_spec_varies(s, n);
  d->cx.nearly = d->warps; /* what sums that are cut go into is no more exact for exact exponentials */
  d->cx.provide = dhc_tile_provide;
  d->cx.provide_arg = d;
  d->n_rows = dhc_tpl_count(&d->cx, d->x.axes);
  d->n_cols = dhc_tpl_count(&d->cx, d->y[0].axes);
  d->n_k = dhc_tpl_count(&d->cx, d->k);
}

void dhc_tpl_tile(const DhcTplInput *in, DhcLp *b) {
  DhcTile *d = DHC_NEW(b->arena, DhcTile);
  dhc_tile_look(d, in, b, false);
  const char *why = b->refused ? NULL : dhc_tile_roles(d);
  if (why) dhc_lp_refuse(b, "%s", why);
  if (b->refused) return;
  if (dhc_tile_scale(d)) {
    DhcTile *raw = DHC_NEW(b->arena, DhcTile);
    dhc_tile_look(raw, in, b, true);
    if (b->refused || dhc_tile_roles(raw)) DHC_BUG("lines as they lie have other roles");
    raw->scaled = d->scaled;
    d = raw;
  }
  dhc_tile_block(d, lay_out(d));
  dhc_tile_open(d, in);
  dhc_tile_scaled_open(d);
  for (int f = 0; f < d->n_folds && is_early(d); f++) dhc_lp_early(b, d->y[f].operand);
  bool pieces = d->target; /* each one block */
  if (!d->warps && !pieces && !dhc_tpl_one_block(d->n_k, 1)) d->many = dhc_lp_lt(b, dhc_lp_i64(b, DHC_DOT_BLOCK), d->n_k);
  Grid g = grid_of(d);
  if (d->target) two_phases(d, &g);
  else one_phase(d, &g);
}
