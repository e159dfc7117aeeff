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

static void copy_step(DhcTile *d, const Walk *w, DhcLv step, DhcLv n_steps, DhcLv base) {
  DhcLp *b = d->b;
  dhc_lp_if(b, dhc_lp_lt(b, step, n_steps));
  dhc_tile_copy(d, step, dhc_lp_get(b, w->k), base, walk_range(d, w));
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

/* Rounds before the first that multiplies bring steps only; the code that brings one stands here twice, and the first
 * of them before all loops, so that nothing waits for it. Few rows are done in a step or two, and have all in a row. */
static void steps(DhcTile *d, DhcLv n_steps) {
  DhcLp *b = d->b;
  int ahead = d->stages - (d->group ? 2 : 1); /* a group multiplies one stage more than the one of this step */
  int first = d->group ? ahead : 1;
  bool tables = has_k_table(d);
  Walk w = walk_begin(d), used = walk_begin(d);
  dhc_tile_lines(d);
  if (d->bm <= DHC_TILE_LOW || (tables && d->chunk <= ahead)) first = ahead; /* tables: places are due before the first product */
  for (int s = 0; s < first; s++) {
    DhcLv step = dhc_lp_i64(b, s);
    if (tables && s % d->chunk == 0) dhc_tile_ks(d, step, dhc_lp_get(b, w.k));
    if ((tables && s % d->chunk == 0) || !s) dhc_lp_barrier(b);
    copy_step(d, &w, step, n_steps, dhc_lp_i64(b, s * (d->stage / 4)));
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
  copy_step(d, &w, next, n_steps, dhc_lp_get(b, free));
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
  DhcLv e = dhc_lp_for(b, e0, dhc_lp_min(b, dhc_lp_addc(b, e0, LISTED), d->cx.extent[d->e]), 1);
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
  DhcLv e0 = dhc_lp_for(b, dhc_lp_i64(b, 0), d->cx.extent[d->e], LISTED);
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
  if (d->range_axis >= 0 && d->e < 0) {
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

/* ---- results --------------------------------------------------------------------------------- */

static int result_pitch(const DhcTile *d) { return d->bn + 8; }
static int result_size(const DhcTile *d) { return d->bm * result_pitch(d); }

static void put_result(DhcTile *d, int f, DhcLv row, DhcLv col, DhcLv sums) {
  DhcLp *b = d->b;
  DhcLv mem = dhc_tile_memory(d);
  DhcLv part = dhc_lp_mulc(b, dhc_lp_addc(b, dhc_lp_mulc(b, dhc_tile_group(d), d->n_folds), f), result_size(d));
  DhcLv at = dhc_lp_add(b, part, dhc_lp_add(b, dhc_lp_mulc(b, row, result_pitch(d)), col));
  dhc_lp_store(b, mem, at, sums, 4 * sums->type.lanes);
}

/* Where piece `piece`'s sums of the task's tile begin in the shared memory. */
static DhcLv piece_at(DhcTile *d, DhcLv piece) {
  DhcLp *b = d->b;
  return dhc_lp_mulc(b, dhc_lp_add(b, dhc_lp_mul(b, d->slot, d->n_splits), piece), (int64_t)d->n_folds * d->bm * d->bn);
}

static void put_piece(DhcTile *d, int f, DhcLv row, DhcLv col, DhcLv sums) {
  DhcLp *b = d->b;
  DhcLv at = dhc_lp_addc(b, dhc_lp_add(b, dhc_lp_mulc(b, row, d->bn), col), (int64_t)f * d->bm * d->bn);
  dhc_lp_store(b, dhc_lp_shared(b, DHC_F32), dhc_lp_add(b, piece_at(d, d->piece), at), sums, 4 * sums->type.lanes);
}

DhcLv dhc_tile_blocks_sum(DhcLp *b, const DhcLpVar *level, DhcLv piece, DhcLv n, DhcLv x) {
  DhcLv next = dhc_lp_addc(b, piece, 1), last = dhc_lp_ge(b, next, n), fan = dhc_lp_i64(b, 1 << DHC_DOT_FAN_LOG2);
  dhc_lp_set(b, level[0], dhc_lp_add(b, dhc_lp_get(b, level[0]), x));
  for (int l = 1; l < DHC_DOT_LEVELS; l++) {
    dhc_lp_if(b, dhc_lp_or(b, last, dhc_lp_eq(b, dhc_lp_urem(b, next, fan), dhc_lp_i64(b, 0))));
    dhc_lp_set(b, level[l], dhc_lp_add(b, dhc_lp_get(b, level[l]), dhc_lp_get(b, level[l - 1])));
    dhc_lp_set(b, level[l - 1], dhc_lp_zero(b, DHC_F32, x->type.lanes));
    fan = dhc_lp_mulc(b, fan, 1 << DHC_DOT_FAN_LOG2);
  }
  for (int l = 0; l < DHC_DOT_LEVELS; l++) dhc_lp_end(b);
  return dhc_lp_get(b, level[DHC_DOT_LEVELS - 1]);
}

/* The sums of fold f at a place of the tile, and the next ones of its row: of its groups, or of its pieces. */
static DhcLv result(DhcTile *d, int f, DhcLv row, DhcLv col, int lanes) {
  DhcLp *b = d->b;
  int align = lanes > 1 ? 4 * lanes : 0;
  if (d->target) {
    DhcLv zero = dhc_lp_zero(b, DHC_F32, lanes);
    DhcLpVar sum = dhc_lp_var(b, zero), level[DHC_DOT_LEVELS];
    for (int l = 0; l < DHC_DOT_LEVELS; l++) level[l] = dhc_lp_var(b, zero);
    DhcLv at = dhc_lp_addc(b, dhc_lp_add(b, dhc_lp_mulc(b, row, d->bn), col), (int64_t)f * d->bm * d->bn);
    DhcLv p = dhc_lp_for(b, dhc_lp_i64(b, 0), d->n_splits, 1);
    DhcLv one = dhc_lp_load(b, dhc_lp_shared(b, DHC_F32), dhc_lp_add(b, piece_at(d, p), at), lanes, align);
    if (!d->warps) return dhc_tile_blocks_sum(b, level, p, d->n_splits, one);
    dhc_lp_set(b, sum, dhc_lp_add(b, dhc_lp_get(b, sum), one));
    dhc_lp_end(b);
    return dhc_lp_get(b, sum);
  }
  DhcLv mem = dhc_tile_memory(d), sum = NULL;
  DhcLv at = dhc_lp_add(b, dhc_lp_mulc(b, row, result_pitch(d)), col);
  for (int g = 0; g < (d->warps ? d->wk : 1); g++) {
    DhcLv one = dhc_lp_load(b, mem, dhc_lp_addc(b, at, (int64_t)(g * d->n_folds + f) * result_size(d)), lanes, align);
    sum = sum ? dhc_lp_add(b, sum, one) : one;
  }
  return sum;
}

/* The contraction's value at the bound axes. */
static DhcLv provide(DhcTplCx *cx, int n, void *arg) {
  DhcTile *d = arg;
  DhcLp *b = cx->b;
  for (int f = 0; f < d->n_folds; f++) {
    if (d->fold[f] != n) continue;
    DhcLv w = dhc_lp_i64(b, 0);
    for (int a = 0; a < cx->s->n_axes; a++)
      if (d->window >> a & 1) w = dhc_lp_add(b, dhc_lp_mul(b, w, cx->extent[a]), cx->index[a]);
    bool rows = d->window && d->window_rows, cols = d->window && !d->window_rows;
    return result(d, f, rows ? dhc_lp_add(b, d->at_row, w) : d->at_row, cols ? dhc_lp_add(b, d->at_col, w) : d->at_col,
                  cx->vector_axis >= 0 ? cx->lanes : 1);
  }
  return NULL;
}

enum { FOUR = 4 };

/* The axis along which four results may be stored at once: the columns' last, along which all that is loaded for a
 * result and all that is stored lies side by side, or stays where it is; -1: none. */
static int fours_axis(const DhcTile *d) {
  const DhcSpec *s = d->cx.s;
  int axis = -1;
  for (int a = 0; a < s->n_axes; a++)
    if (d->y[0].axes >> a & 1) axis = a;
  if (d->window || axis < 0 || d->bn % FOUR || d->bm * d->bn / FOUR < d->threads) return -1;
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) {
    if (!dhc_tpl_contiguous(&d->cx, o, axis)) return -1;
    needed[s->operand[o].stored] = true;
  }
  for (int n = s->n_nodes - 1; n >= 0; n--) { /* what is contracted is no more loaded */
    const DhcSpecNode *e = &s->node[n];
    if (!needed[n] || e->kind == DHC_SN_FOLD) continue;
    if (e->kind == DHC_SN_LOAD && !dhc_tpl_contiguous(&d->cx, e->operand, axis)) return -1;
    for (int k = 0; k < 4; k++)
      if (e->a[k] >= 0) needed[e->a[k]] = true;
  }
  return axis;
}

/* Threads side by side, rows at once, and how often to cover a tile, by `lanes` columns a thread. */
typedef struct Cover {
  int lanes, groups, per_pass, passes;
} Cover;

static Cover cover(const DhcTile *d, int lanes) {
  if (lanes == 1) return (Cover){1, d->groups, d->per_pass, d->passes};
  Cover c = {.lanes = lanes, .groups = d->bn / lanes};
  c.per_pass = d->threads / c.groups;
  c.passes = (d->bm + c.per_pass - 1) / c.per_pass;
  return c;
}

/* A thread stores one column of the tile, or a window of them, or four columns: binds it; true if the result has it. */
static DhcLv begin_column(DhcTile *d, const Cover *c, int axis) {
  DhcLp *b = d->b;
  DhcLv group = dhc_lp_urem(b, d->tid, dhc_lp_i64(b, c->groups)), own = dhc_lp_udiv(b, d->tid, dhc_lp_i64(b, c->groups));
  DhcLv col = dhc_lp_mulc(b, group, c->lanes > 1 ? c->lanes : d->window_rows ? 1 : d->n_window);
  DhcLv at = dhc_lp_add(b, d->col0, col);
  d->at_col = col;
  if (c->lanes == 1) {
    dhc_tile_bind_line(d, &d->y[0], at, false);
  } else {
    DhcLv digit[DHC_SPEC_MAX_AXES];
    dhc_tile_digits(d, d->y[0].axes, at, digit);
    for (int a = 0; a < d->cx.s->n_axes; a++)
      if (a != axis && d->y[0].axes >> a & 1) dhc_tpl_bind(&d->cx, a, digit[a]);
    dhc_tpl_bind_vector(&d->cx, axis, digit[axis], c->lanes, NULL);
  }
  return dhc_lp_and(b, dhc_lp_lt(b, at, d->n_cols), dhc_lp_lt(b, own, dhc_lp_i64(b, c->per_pass)));
}

/* First row of the tile that the thread stores in a pass: a row, or a window of them. */
static DhcLv row_of_pass(DhcTile *d, const Cover *c, DhcLv pass) {
  DhcLp *b = d->b;
  DhcLv own = dhc_lp_udiv(b, d->tid, dhc_lp_i64(b, c->groups));
  return dhc_lp_mulc(b, dhc_lp_add(b, own, dhc_lp_mulc(b, pass, c->per_pass)), d->window_rows ? d->n_window : 1);
}

/* Of its columns it stores every per_pass-th row, or window of them, one a pass. */
static void store_pass(DhcTile *d, const Cover *c, DhcLv pass, DhcLv has_column) {
  DhcLp *b = d->b;
  DhcTplCx *cx = &d->cx;
  int window = d->window_rows ? d->n_window : 1;
  DhcLv row = row_of_pass(d, c, pass), at = dhc_lp_add(b, d->row0, row);
  DhcLv in = dhc_lp_and(b, has_column, dhc_lp_lt(b, at, d->n_rows));
  d->at_row = row;
  dhc_lp_if(b, dhc_lp_and(b, in, dhc_lp_le(b, dhc_lp_addc(b, row, window), dhc_lp_i64(b, d->bm))));
  DhcTplMark mark = dhc_tpl_push(cx);
  dhc_tile_bind_line(d, &d->x, at, false);
  dhc_tpl_store_all(cx);
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
}

enum { PASSES_AT_ONCE = 4 };

/* So many passes at once, where a result takes elements of memory that no other of its column takes; random bits are long
 * code. Else one. */
static int passes_at_once(const DhcTile *d) {
  const DhcSpec *s = d->cx.s;
  bool needed[DHC_SPEC_MAX_NODES] = {false}, loads = false, random = false;
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) needed[s->operand[o].stored] = true;
  for (int n = s->n_nodes - 1; n >= 0; n--) {
    const DhcSpecNode *e = &s->node[n];
    if (!needed[n] || e->kind == DHC_SN_FOLD) continue;
    loads = loads || (e->kind == DHC_SN_LOAD && d->cx.varies[n] & d->x.axes);
    random = random || e->kind == DHC_SN_RANDOM;
    for (int k = 0; k < 4; k++)
      if (e->a[k] >= 0) needed[e->a[k]] = true;
  }
  return !loads || d->window ? 1 : random ? PASSES_AT_ONCE / 2 : PASSES_AT_ONCE;
}

/* Some passes at once: what all of them load is under way before the first is stored. Operands may lie in results, each
 * element in its own. */
static void store_passes(DhcTile *d, const Cover *c, DhcLv pass, int n) {
  DhcTplCx *cx = &d->cx;
  const DhcSpec *s = cx->s;
  DhcLv value[PASSES_AT_ONCE][DHC_SPEC_MAX_OPERANDS];
  for (int store = 0; store < 2; store++)
    for (int i = 0; i < n; i++) {
      DhcTplMark mark = dhc_tpl_push(cx);
      d->at_row = row_of_pass(d, c, dhc_lp_addc(d->b, pass, i));
      dhc_tile_bind_line(d, &d->x, dhc_lp_add(d->b, d->row0, d->at_row), false);
      for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) {
        if (store) dhc_tpl_store_value(cx, o, value[i][o]);
        else value[i][o] = dhc_tpl_eval(cx, s->operand[o].stored);
      }
      dhc_tpl_pop(cx, &mark);
    }
}

/* All passes, n at once: all rows of these are there, or they are looked at one by one. */
static void store_fast(DhcTile *d, const Cover *c, DhcLv has_column, int n) {
  DhcLp *b = d->b;
  DhcLv pass = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, c->passes), n, 1);
  DhcLv last = dhc_lp_add(b, d->row0, row_of_pass(d, c, dhc_lp_addc(b, pass, n - 1)));
  dhc_lp_if(b, dhc_lp_and(b, has_column, dhc_lp_lt(b, last, d->n_rows)));
  store_passes(d, c, pass, n);
  dhc_lp_else(b);
  store_pass(d, c, dhc_lp_for_rounds(b, pass, dhc_lp_addc(b, pass, n), 1, 1), has_column);
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

static void store_tile(DhcTile *d, int lanes, int axis) {
  DhcLp *b = d->b;
  Cover c = cover(d, lanes);
  int n = axis >= 0 && lanes == 1 ? 1 : passes_at_once(d);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  DhcLv has_column = begin_column(d, &c, axis);
  if (n > 1 && c.passes % n == 0 && c.passes * c.per_pass == d->bm) {
    store_fast(d, &c, has_column, n);
  } else {
    DhcLv pass = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, c.passes), 1, axis >= 0 && lanes == 1 ? 1 : PASSES_AT_ONCE);
    store_pass(d, &c, pass, has_column);
    dhc_lp_end(b);
  }
  dhc_tpl_pop(&d->cx, &mark);
}

/* Four columns belong to one row of the last axis. */
static DhcLv in_fours(DhcTile *d, int axis) {
  DhcLp *b = d->b;
  DhcLv both = dhc_lp_or(b, d->cx.extent[axis], d->col0);
  return dhc_lp_eq(b, dhc_lp_and(b, both, dhc_lp_i64(b, FOUR - 1)), dhc_lp_i64(b, 0));
}

void dhc_tile_put_sums(DhcTile *d) {
  for (int f = 0; f < d->n_folds; f++) dhc_tile_each_sum(d, f, put_result);
  dhc_lp_barrier(d->b);
}

void dhc_tile_results(DhcTile *d) {
  DhcLp *b = d->b;
  int axis = fours_axis(d);
  dhc_lp_wait(b, 0);
  dhc_lp_barrier(b); /* the stages are free: the sums lie there now */
  dhc_tile_put_sums(d);
  if (axis < 0) {
    store_tile(d, 1, -1);
    return;
  }
  dhc_lp_if(b, in_fours(d, axis));
  store_tile(d, FOUR, axis);
  dhc_lp_else(b);
  store_tile(d, 1, axis);
  dhc_lp_end(b);
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
  /* as many pieces as make `target` tasks, of four steps or more each */
  dhc_dimprog one = dhc_prog_const(a, 1), some = dhc_prog_op(a, DHC_DIM_MAX, g.all, one);
  dhc_dimprog wanted = dhc_prog_op(a, DHC_DIM_FLOORDIV, dhc_prog_const(a, d->target), some);
  dhc_dimprog most = dhc_prog_op(a, DHC_DIM_CEILDIV, dhc_tpl_count_prog(&d->cx, d->k), dhc_prog_const(a, 4 * d->bk));
  g.splits = dhc_prog_op(a, DHC_DIM_MAX, dhc_prog_op(a, DHC_DIM_MIN, wanted, most), one);
  return g;
}

/* Row tile number `tile` where rows belong to ranges. If these are all rows, one after the other, each has tiles of its
 * own, so that a block has to do with one matrix: row0 and the end of the rows. Else tiles of rows as they come. */
static void find_rows(DhcTile *d, DhcLv tile) {
  DhcLp *b = d->b;
  DhcLv plain = dhc_lp_mulc(b, tile, d->bm);
  DhcLpVar row0 = dhc_lp_var(b, d->n_rows), end = dhc_lp_var(b, d->n_rows), before = dhc_lp_var(b, dhc_lp_i64(b, 0));
  DhcLpVar reached = dhc_lp_var(b, dhc_lp_i64(b, 0)), gaps = dhc_lp_var(b, dhc_lp_i64(b, 0));
  DhcLv e = dhc_lp_for(b, dhc_lp_i64(b, 0), d->cx.extent[d->e], 1);
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
  dhc_lp_end(b);
  dhc_lp_set(b, before, dhc_lp_add(b, first, n));
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
  DhcLv none = dhc_lp_i64(b, 0), all = dhc_lp_eq(b, dhc_lp_get(b, gaps), none);
  all = dhc_lp_and(b, all, dhc_lp_eq(b, dhc_lp_get(b, reached), d->n_rows));
  d->row0 = dhc_lp_select(b, all, dhc_lp_get(b, row0), plain);
  d->n_rows = dhc_lp_select(b, all, dhc_lp_get(b, end), d->n_rows);
}

/* The tile with number `tile` among all. */
static void find_tile(DhcTile *d, const Grid *g, DhcLv tile) {
  DhcLp *b = d->b;
  DhcLv across = dhc_lp_prog(b, g->across), per_batch = dhc_lp_prog(b, g->per_batch), in = dhc_lp_urem(b, tile, per_batch);
  if (d->batch) dhc_tile_bind(d, d->batch, dhc_lp_udiv(b, tile, per_batch));
  /* tiles of one row of them follow each other: what they share is then in the cache */
  DhcLv down = dhc_lp_udiv(b, in, across);
  d->row0 = dhc_lp_mulc(b, down, whole(d, true));
  if (d->e >= 0) find_rows(d, down);
  d->col0 = dhc_lp_mulc(b, dhc_lp_urem(b, in, across), whole(d, false));
}

static void one_phase(DhcTile *d, const Grid *g) {
  DhcLp *b = d->b;
  DhcLv task = dhc_lp_tasks(b, g->all);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  d->tid = dhc_lp_thread(b);
  find_tile(d, g, task);
  choose_ks(d, NULL);
  add_up(d);
  dhc_tile_results(d);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
}

static void two_phases(DhcTile *d, const Grid *g) {
  DhcLp *b = d->b;
  DhcArena *a = b->arena;
  dhc_dimprog pieces = dhc_prog_op(a, DHC_DIM_MUL, g->all, g->splits);
  dhc_lp_share(b, dhc_prog_op(a, DHC_DIM_MUL, pieces, dhc_prog_const(a, (int64_t)4 * d->n_folds * d->bm * d->bn)));
  d->n_splits = dhc_lp_prog(b, g->splits);
  if (!d->warps) d->per_split = dhc_lp_i64(b, DHC_DOT_BLOCK);
  else
    d->per_split = dhc_lp_mulc(
        b,
        dhc_lp_ceildivc(
            b, dhc_lp_udiv(b, dhc_lp_addc(b, dhc_lp_add(b, d->n_k, d->n_splits), -1), d->n_splits), d->bk),
        d->bk);
  DhcLv first = dhc_lp_prog(b, pieces);
  DhcLv task = dhc_lp_phases(b, pieces, dhc_prog_op(a, DHC_DIM_MUL, g->all, dhc_prog_const(a, d->passes)));
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  d->tid = dhc_lp_thread(b);
  dhc_lp_if(b, dhc_lp_lt(b, task, first));
  DhcTplMark inner = dhc_tpl_push(&d->cx);
  d->slot = dhc_lp_udiv(b, task, d->n_splits);
  d->piece = dhc_lp_urem(b, task, d->n_splits);
  find_tile(d, g, d->slot);
  choose_ks(d, d->piece);
  add_up(d);
  for (int f = 0; f < d->n_folds; f++) dhc_tile_each_sum(d, f, put_piece);
  dhc_tpl_pop(&d->cx, &inner);
  dhc_lp_else(b);
  inner = dhc_tpl_push(&d->cx);
  DhcLv rest = dhc_lp_sub(b, task, first), passes = dhc_lp_i64(b, d->passes);
  d->slot = dhc_lp_udiv(b, rest, passes);
  find_tile(d, g, d->slot);
  Cover c = cover(d, 1);
  store_pass(d, &c, dhc_lp_urem(b, rest, passes), begin_column(d, &c, -1));
  dhc_tpl_pop(&d->cx, &inner);
  dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
}

int64_t dhc_tile_result_bytes(const DhcTile *d) { return (int64_t)4 * (d->warps ? d->wk : 1) * d->n_folds * result_size(d); }

/* Block memory: tables, the list of ranges, the stages, over which the results lie later. */
static int64_t lay_out(DhcTile *d) {
  int64_t stage = 0, at = 0;
  dhc_tile_place(d, &d->x, d->bm, &stage);
  for (int f = 0; f < d->n_folds; f++) dhc_tile_place(d, &d->y[f], d->bn, &stage);
  d->stage = stage;
  d->quads = d->bf16 && d->x.k_inner;
  for (int f = 0; f < d->n_folds; f++) d->quads = d->quads && d->y[f].k_inner;
  dhc_tile_tables(d, &at);
  d->list_at = at;
  if (d->e >= 0) at += LISTED * 3 * 8;
  int64_t align = d->group ? 1024 : 16;
  d->stages_at = (at + align - 1) / align * align;
  int64_t results = d->target ? 0 : dhc_tile_result_bytes(d);
  return d->stages_at + (results > stage * d->stages ? results : stage * d->stages);
}

void dhc_tile_look(DhcTile *d, const DhcTplInput *in, DhcLp *b) {
  d->b = b;
  d->cx = (DhcTplCx){.in = in, .s = in->spec, .b = b};
  for (int n = 0; n < in->spec->n_nodes; n++) d->cx.varies[n] = dhc_spec_varies(in->spec, n);
}

void dhc_tile_block(DhcTile *d, int64_t bytes) {
  dhc_lp_block(d->b, d->threads, bytes);
  /* two blocks at once hide each other's waits where registers and block memory suffice */
  bool room = dhc_tile_n_sums(d) * d->n_folds * (d->three ? 2 : 1) * d->threads <= 64 * 256;
  if (d->warps && d->threads <= 256 && room && 2 * bytes <= DHC_TILE_MEMORY) dhc_lp_together(d->b, 2);
}

void dhc_tile_open(DhcTile *d, const DhcTplInput *in) {
  dhc_tpl_init(&d->cx, in, d->b);
  d->cx.nearly = d->warps; /* what sums that are cut go into is no more exact for exact exponentials */
  d->cx.provide = provide;
  d->cx.provide_arg = d;
  d->n_rows = dhc_tpl_count(&d->cx, d->x.axes);
  d->n_cols = dhc_tpl_count(&d->cx, d->y[0].axes);
  d->n_k = dhc_tpl_count(&d->cx, d->k);
}

void dhc_tpl_tile(const DhcTplInput *in, DhcLp *b) {
  DhcTile *d = DHC_NEW(b->arena, DhcTile);
  dhc_tile_look(d, in, b);
  const char *why = dhc_tile_roles(d);
  if (why) {
    dhc_lp_refuse(b, "%s", why);
    return;
  }
  dhc_tile_block(d, lay_out(d));
  dhc_tile_open(d, in);
  bool pieces = d->target; /* each one block */
  if (!d->warps && !pieces && !dhc_tpl_one_block(d->n_k, 1)) d->many = dhc_lp_lt(b, dhc_lp_i64(b, DHC_DOT_BLOCK), d->n_k);
  Grid g = grid_of(d);
  if (d->target) two_phases(d, &g);
  else one_phase(d, &g);
}
