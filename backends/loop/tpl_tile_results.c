/* Template "tile": what becomes of the sums. */
#include "backends/loop/tpl_tile.h"

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
  if (d->apart) piece = dhc_lp_mul(b, piece, d->apart);
  return dhc_lp_mulc(b, dhc_lp_add(b, d->slot, piece), (int64_t)d->n_folds * d->bm * d->bn);
}

void dhc_tile_put_piece(DhcTile *d, int f, DhcLv row, DhcLv col, DhcLv sums) {
  DhcLp *b = d->b;
  DhcLv at = dhc_lp_addc(b, dhc_lp_add(b, dhc_lp_mulc(b, row, d->bn), col), (int64_t)f * d->bm * d->bn);
  dhc_lp_store(b, d->pieces, dhc_lp_add(b, piece_at(d, d->piece), at), sums, 4 * sums->type.lanes);
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
  if (d->adds) return d->added[f][d->adds - 1];
  if (d->target) {
    DhcLv zero = dhc_lp_zero(b, DHC_F32, lanes);
    DhcLpVar sum = dhc_lp_var(b, zero), level[DHC_DOT_LEVELS];
    for (int l = 0; l < DHC_DOT_LEVELS; l++) level[l] = dhc_lp_var(b, zero);
    DhcLv at = dhc_lp_addc(b, dhc_lp_add(b, dhc_lp_mulc(b, row, d->bn), col), (int64_t)f * d->bm * d->bn);
    DhcLv p = dhc_lp_for(b, dhc_lp_i64(b, 0), d->n_splits, 1);
    DhcLv one = dhc_lp_load(b, d->pieces, dhc_lp_add(b, piece_at(d, p), at), lanes, align);
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

DhcLv dhc_tile_provide(DhcTplCx *cx, int n, void *arg) {
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

int dhc_tile_fours_axis(const DhcTile *d) {
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
  dhc_tile_scaled_put(d);
  dhc_lp_barrier(d->b);
  dhc_tile_scaled_rows(d);
}

void dhc_tile_results(DhcTile *d) {
  DhcLp *b = d->b;
  int axis = dhc_tile_fours_axis(d);
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

int64_t dhc_tile_result_bytes(const DhcTile *d) { return (int64_t)4 * (d->warps ? d->wk : 1) * d->n_folds * result_size(d); }

/* ---- of pieces ------------------------------------------------------------------------------------ */

/* A task of the second phase has some passes of four columns a thread, where these lie side by side and fill the tile; a quarter of the
 * tile's at most. Else one of one. */
static int sums_at_once(const DhcTile *d) {
  int n = DHC_TILE_SUMS;
  Cover c = cover(d, FOUR);
  while (n > 1 && (c.passes % n || c.passes / n < 4)) n /= 2;
  return !d->warps || c.passes * c.per_pass != d->bm || n * c.per_pass % d->per_pass || dhc_tile_fours_axis(d) < 0 ? 0 : n;
}

int dhc_tile_parts(const DhcTile *d) {
  int n = sums_at_once(d);
  return n ? cover(d, FOUR).passes / n : d->passes;
}

enum { AT_ONCE = 16 /* loads */ };

/* The pieces of n passes' sums, some on their way at once; added in order, behind the last piece zeros. */
static void add_pieces(DhcTile *d, const Cover *c, DhcLv pass, int n) {
  DhcLp *b = d->b;
  int some = AT_ONCE / n / d->n_folds;
  DhcLpVar sum[DHC_TILE_PAIR][DHC_TILE_SUMS];
  DhcLv one[AT_ONCE], last = dhc_lp_addc(b, d->n_splits, -1), none = dhc_lp_zero(b, DHC_F32, FOUR);
  for (int f = 0; f < d->n_folds; f++)
    for (int i = 0; i < n; i++) sum[f][i] = dhc_lp_var(b, none);
  DhcLv p = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), d->n_splits, some, 1);
  for (int f = 0; f < d->n_folds; f++)
    for (int i = 0; i < n; i++) {
      DhcLv row = row_of_pass(d, c, dhc_lp_addc(b, pass, i));
      DhcLv at = dhc_lp_addc(b, dhc_lp_add(b, dhc_lp_mulc(b, row, d->bn), d->at_col), (int64_t)f * d->bm * d->bn);
      for (int k = 0; k < some; k++) {
        DhcLv number = dhc_lp_addc(b, p, k), from = piece_at(d, dhc_lp_min(b, number, last));
        one[k] = dhc_lp_load(b, d->pieces, dhc_lp_add(b, from, at), FOUR, 4 * FOUR);
        if (k) one[k] = dhc_lp_select(b, dhc_lp_splat(b, dhc_lp_le(b, number, last), FOUR), one[k], none);
      }
      for (int k = 0; k < some; k++) dhc_lp_set(b, sum[f][i], dhc_lp_add(b, dhc_lp_get(b, sum[f][i]), one[k]));
    }
  dhc_lp_end(b);
  for (int f = 0; f < d->n_folds; f++)
    for (int i = 0; i < n; i++) d->added[f][i] = dhc_lp_get(b, sum[f][i]);
}

void dhc_tile_store_part(DhcTile *d, DhcLv part) {
  DhcLp *b = d->b;
  int n = sums_at_once(d), rows = 1;
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  if (n) {
    Cover c = cover(d, FOUR);
    rows = n * c.per_pass / d->per_pass;
    dhc_lp_if(b, in_fours(d, dhc_tile_fours_axis(d)));
    DhcTplMark inner = dhc_tpl_push(&d->cx);
    DhcLv has_column = begin_column(d, &c, dhc_tile_fours_axis(d)), first = dhc_lp_mulc(b, part, n);
    add_pieces(d, &c, first, n);
    for (int i = 0; i < n; i++) {
      d->adds = i + 1;
      store_pass(d, &c, dhc_lp_addc(b, first, i), has_column);
    }
    d->adds = 0;
    dhc_tpl_pop(&d->cx, &inner);
    dhc_lp_else(b);
  }
  Cover c = cover(d, 1);
  DhcLv has_column = begin_column(d, &c, -1), pass = dhc_lp_mulc(b, part, rows);
  if (rows > 1) pass = dhc_lp_for_rounds(b, pass, dhc_lp_addc(b, pass, rows), 1, 1);
  store_pass(d, &c, pass, has_column);
  if (rows > 1) dhc_lp_end(b);
  if (n) dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &mark);
}
