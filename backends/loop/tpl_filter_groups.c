/* Template "filter_groups" (GPUs with products of groups of warps, tf32): filter gradients as template "filters" makes them, of three
 * taps across, the middle one the place itself, and up to three down. Of tpl_filters.c it has bands, copies and pieces.
 *
 * A group of four warps has one tap down: 64 outs by the tile's channels, for each tap across. Gradients lie in fours of pixels, the outs' side
 * by side. Planes come as lines; then each four of pixels, and the same one to the left and to the right, is rounded and put where
 * the channels' fours lie side by side, in one of two buffers, while the step before is multiplied. A tap down is the same fours from
 * another line on.
 *
 * Up to four channels (v[7] bit 0): the taps across are lines of one product, sixteen with zeros.
 *
 * Sums are long and results few: pieces in a first phase, added in order in a second; there, of few results, by all warps of a block, whose
 * sums are added in order.
 *
 * Schedule: v[0] outs of a tile, 64; v[1] channels, a multiple of eight; v[2] pixels of a step; v[3] 4, v[4] 1, v[5] 1; v[6] 1: four channels;
 * v[7] tasks of the first phase. The size class' guard sees that a line fits a step, and what a band sees a plane. */
#include "backends/loop/tpl_filters.h"

enum { FOUR = 4, ACROSS = 3, ADDED = 8, TOGETHER = 2, QUARTERS = 4, MANY_PIECES = 32 };

typedef struct Groups {
  DhcFilters f; /* first: its phases are given that */
  bool packed;
  int lines, columns;       /* lines of a product: channels, or taps by channels; in all products of a step */
  int fours, seen;          /* of pixels: of a step, at most of what it sees */
  int buffer, tap;          /* elements of a buffer, from tap across to tap across in it */
  int64_t grads_at, planes_at;
  DhcLv n_seen, per_line;   /* fours that a step sees; lines a four */
  DhcLv sum[ACROSS];
} Groups;

static int calls(const Groups *v) { return v->packed ? 1 : ACROSS; }
static DhcLv group(const Groups *v) { return dhc_lp_udiv(v->f.t.b, v->f.t.tid, dhc_lp_i64(v->f.t.b, 4 * DHC_TILE_WARP)); }

static void clear_memory(Groups *v, int64_t from, int64_t to) {
  DhcTile *d = &v->f.t;
  DhcLp *b = d->b;
  DhcLv i = dhc_lp_for(b, dhc_lp_addc(b, dhc_lp_mulc(b, d->tid, FOUR), from), dhc_lp_i64(b, to), (int64_t)FOUR * d->threads);
  dhc_lp_store(b, dhc_tile_memory(d), i, dhc_lp_zero(b, DHC_F32, FOUR), 4 * FOUR);
  dhc_lp_end(b);
}

/* What nothing is brought to is zero: beside lines, and what a step has more fours than its lines. */
static void clear(Groups *v) {
  DhcTile *d = &v->f.t;
  DhcLp *b = d->b;
  clear_memory(v, v->planes_at, d->stage / 4);
  if (!v->packed) dhc_lp_if(b, dhc_lp_lt(b, dhc_lp_mul(b, v->f.n_lines, v->f.wide), dhc_lp_i64(b, d->bk)));
  clear_memory(v, 0, v->planes_at);
  if (!v->packed) dhc_lp_end(b);
  for (int k = 0; k < calls(v); k++) {
    v->sum[k] = dhc_lp_local(b, DHC_F32, v->lines / 2);
    DhcLv e = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, v->lines / 2), 1);
    dhc_lp_store(b, v->sum[k], e, dhc_lp_float(b, DHC_F32, 0), 0);
    dhc_lp_end(b);
  }
  dhc_lp_barrier(b);
}

/* The planes' fours, and those beside them, to the buffer at `to`. */
static void spread(Groups *v, DhcLv to) {
  DhcTile *d = &v->f.t;
  DhcLp *b = d->b;
  DhcLv mem = dhc_tile_memory(d), channels = dhc_lp_i64(b, v->f.channels), c = dhc_lp_urem(b, d->tid, channels);
  DhcLv j = dhc_lp_for_rounds(b, dhc_lp_udiv(b, d->tid, channels), v->n_seen, d->threads / v->f.channels, 4);
  /* a line is its fours and one of zeros; which line: the half keeps what is rounded off from mattering */
  DhcLv line = dhc_lp_mul(b, dhc_lp_add(b, dhc_lp_cast(b, j, DHC_F32), dhc_lp_float(b, DHC_F32, 0.5)), v->per_line);
  DhcLv from = dhc_lp_mulc(b, dhc_lp_add(b, j, dhc_lp_cast(b, dhc_lp_cast(b, line, DHC_I32), DHC_I64)), FOUR);
  from = dhc_lp_addc(b, dhc_lp_add(b, from, dhc_lp_mulc(b, c, v->f.plane)), v->planes_at + FOUR);
  DhcLv own = dhc_lp_load(b, mem, from, FOUR, 4 * FOUR), x[FOUR + 2];
  x[0] = dhc_lp_load(b, mem, dhc_lp_addc(b, from, -1), 1, 0);
  x[FOUR + 1] = dhc_lp_load(b, mem, dhc_lp_addc(b, from, FOUR), 1, 0);
  for (int l = 0; l < FOUR; l++) x[l + 1] = dhc_lp_extract(b, own, l);
  for (int l = 0; l < FOUR + 2; l++) x[l] = dhc_lp_tf32(b, x[l]);
  DhcLv at = dhc_lp_add(b, dhc_lp_add(b, to, dhc_lp_mulc(b, j, (int64_t)FOUR * v->lines)), dhc_lp_mulc(b, c, FOUR));
  for (int k = 0; k < ACROSS; k++) {
    DhcLv four = dhc_lp_zero(b, DHC_F32, FOUR);
    for (int l = 0; l < FOUR; l++) four = dhc_lp_insert(b, four, l, x[k + l]);
    dhc_lp_store(b, mem, dhc_lp_addc(b, at, (int64_t)k * v->tap), four, 4 * FOUR);
  }
  dhc_lp_end(b);
}

static void multiply(Groups *v, DhcLv grads, DhcLv buffer) {
  DhcTile *d = &v->f.t;
  DhcLp *b = d->b;
  DhcLv mem = dhc_tile_memory(d), wide = dhc_lp_udiv(b, v->f.wide, dhc_lp_i64(b, FOUR));
  DhcLv down = dhc_lp_mulc(b, dhc_lp_mul(b, group(v), wide), (int64_t)FOUR * v->lines);
  const DhcLpFours f = {.ks = d->bk, .x_four = v->f.four, .x_lines = 8 * FOUR, .y_four = FOUR * v->lines, .y_lines = 8 * FOUR};
  for (int k = 0; k < calls(v); k++)
    dhc_lp_group_fours(b, v->sum[k], dhc_lp_at(b, mem, grads),
                       dhc_lp_at(b, mem, dhc_lp_addc(b, dhc_lp_add(b, buffer, down), (int64_t)k * v->tap)), v->lines, f);
}

static void add_up(DhcFilters *f, DhcLv task) {
  Groups *v = (Groups *)f;
  DhcTile *d = &v->f.t;
  DhcLp *b = d->b;
  DhcLv first, end, none = dhc_lp_i64(b, 0), slots = dhc_lp_i64(b, v->planes_at), planes = slots;
  int64_t slot = (v->planes_at - v->grads_at) / 2;
  dhc_filters_piece(&v->f, task, &first, &end);
  DhcLv wide = dhc_lp_udiv(b, v->f.wide, dhc_lp_i64(b, FOUR));
  v->n_seen = dhc_lp_mul(b, v->f.seen, wide);
  v->per_line = dhc_lp_ew2(b, DHC_OP_DIV, dhc_lp_float(b, DHC_F32, 1), dhc_lp_cast(b, wide, DHC_F32));
  clear(v);
  dhc_filters_copy(&v->f, first, end, dhc_lp_i64(b, v->grads_at), planes);
  DhcLpVar grads = dhc_lp_var(b, dhc_lp_i64(b, v->grads_at)), buffer = dhc_lp_var(b, none);
  DhcLv s = dhc_lp_for(b, first, end, 1);
  dhc_lp_wait(b, 0);
  dhc_lp_barrier(b); /* the step's planes and gradients are here */
  spread(v, dhc_lp_get(b, buffer));
  dhc_lp_group_wait(b, 0);
  dhc_lp_barrier(b); /* they are spread, and nobody multiplies */
  multiply(v, dhc_lp_get(b, grads), dhc_lp_get(b, buffer));
  DhcLv next = dhc_lp_sub(b, dhc_lp_i64(b, 2 * v->grads_at + slot), dhc_lp_get(b, grads));
  dhc_filters_copy(&v->f, dhc_lp_addc(b, s, 1), end, next, planes);
  dhc_lp_set(b, grads, next);
  dhc_lp_set(b, buffer, dhc_lp_sub(b, dhc_lp_i64(b, v->buffer), dhc_lp_get(b, buffer)));
  dhc_lp_end(b);
  dhc_lp_wait(b, 0);
  dhc_lp_group_wait(b, 0);
  for (int k = 0; k < calls(v); k++) {
    DhcLv e = dhc_lp_for(b, none, dhc_lp_i64(b, v->lines / 2), 1), q = dhc_lp_addc(b, e, (int64_t)k * v->lines / 2);
    dhc_lp_store(b, dhc_lp_shared(b, DHC_F32), dhc_filters_piece_at(&v->f, d->piece, q, d->tid), dhc_lp_load(b, v->sum[k], e, 1, 0), 0);
    dhc_lp_end(b);
  }
}

/* Gradients are cut as they are: this makes up for it on average (tpl_tile_sum.c). */
static DhcLv uncut(DhcLp *b) { return dhc_lp_float(b, DHC_F32, 1 + 0x1p-11 * 0.70710678118654752); }

/* Of `count` places in the pieces, four neighbouring threads' sums or one: all pieces from `first` on, by `by`, a few of each under way
 * at once; behind the last zeros. */
static void add_pieces(Groups *v, DhcLv first, DhcLv by, const DhcLv *place, int count, int lanes, DhcLv *total) {
  DhcTile *d = &v->f.t;
  DhcLp *b = d->b;
  DhcLv zero = dhc_lp_zero(b, DHC_F32, lanes), last = dhc_lp_addc(b, d->n_splits, -1), one[TOGETHER][ADDED];
  DhcLpVar sum[TOGETHER];
  for (int i = 0; i < count; i++) sum[i] = dhc_lp_var(b, zero);
  DhcLv rounds = dhc_lp_udiv(b, dhc_lp_addc(b, d->n_splits, -1), dhc_lp_mulc(b, by, ADDED));
  DhcLv round = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), dhc_lp_addc(b, rounds, 1), 1, 1);
  for (int k = 0; k < ADDED; k++) {
    DhcLv number = dhc_lp_add(b, first, dhc_lp_mul(b, dhc_lp_addc(b, dhc_lp_mulc(b, round, ADDED), k), by));
    DhcLv from = dhc_lp_mulc(b, dhc_lp_min(b, number, last), (int64_t)v->f.n_sums * d->threads);
    for (int i = 0; i < count; i++) {
      one[i][k] = dhc_lp_load(b, dhc_lp_shared(b, DHC_F32), dhc_lp_add(b, place[i], from), lanes, 4 * lanes);
      one[i][k] = dhc_lp_select(b, dhc_lp_splat(b, dhc_lp_le(b, number, last), lanes), one[i][k], zero);
    }
  }
  for (int i = 0; i < count; i++)
    for (int k = 0; k < ADDED; k++) dhc_lp_set(b, sum[i], dhc_lp_add(b, dhc_lp_get(b, sum[i]), one[i][k]));
  dhc_lp_end(b);
  for (int i = 0; i < count; i++) total[i] = dhc_lp_get(b, sum[i]);
}

/* Binds the place of sum q of thread `thread`: true if the result has it. */
static DhcLv bind(Groups *v, DhcLv q, DhcLv thread) {
  DhcTile *d = &v->f.t;
  DhcLp *b = d->b;
  DhcLv four = dhc_lp_i64(b, 4), two = dhc_lp_i64(b, 2), warps = dhc_lp_i64(b, DHC_TILE_WARP), per_call = dhc_lp_i64(b, v->lines / 2);
  DhcLv down = dhc_lp_udiv(b, thread, dhc_lp_i64(b, 4 * DHC_TILE_WARP)), lane = dhc_lp_urem(b, thread, warps);
  DhcLv warp = dhc_lp_urem(b, dhc_lp_udiv(b, thread, warps), four), across = dhc_lp_udiv(b, q, per_call), e = dhc_lp_urem(b, q, per_call);
  DhcLv out = dhc_lp_add(b, dhc_lp_mulc(b, warp, 16), dhc_lp_udiv(b, lane, four));
  out = dhc_lp_add(b, out, dhc_lp_mulc(b, dhc_lp_urem(b, dhc_lp_udiv(b, e, two), two), 8));
  DhcLv line = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_udiv(b, e, four), 8), dhc_lp_mulc(b, dhc_lp_urem(b, lane, four), 2));
  line = dhc_lp_add(b, line, dhc_lp_urem(b, e, two));
  DhcLv channel = v->packed ? dhc_lp_urem(b, line, four) : line;
  if (v->packed) across = dhc_lp_udiv(b, line, four);
  out = dhc_lp_add(b, out, d->row0);
  channel = dhc_lp_add(b, channel, v->f.channel0);
  DhcLv in = dhc_lp_and(b, dhc_lp_lt(b, out, d->cx.extent[v->f.w.out]), dhc_lp_lt(b, channel, d->cx.extent[v->f.w.channel]));
  dhc_tpl_bind(&d->cx, v->f.w.out, out);
  dhc_tpl_bind(&d->cx, v->f.w.channel, channel);
  dhc_tpl_bind(&d->cx, v->f.w.down.tap, down);
  dhc_tpl_bind(&d->cx, v->f.w.across.tap, across);
  return dhc_lp_and(b, in, dhc_lp_lt(b, across, dhc_lp_i64(b, ACROSS)));
}

/* Blocks take much block memory, so a multiprocessor has one: few tasks, whose threads have much under way. Of many pieces four quarters
 * of the threads add a quarter each. */
static dhc_dimprog quarters(const Groups *v) {
  DhcArena *a = v->f.t.b->arena;
  dhc_dimprog many = dhc_prog_op(a, DHC_DIM_LE, dhc_prog_const(a, MANY_PIECES), v->f.splits);
  return dhc_prog_op(a, DHC_DIM_ADD, dhc_prog_const(a, 1), dhc_prog_op(a, DHC_DIM_MUL, many, dhc_prog_const(a, QUARTERS - 1)));
}

static dhc_dimprog second_tasks(const Groups *v) {
  DhcArena *a = v->f.t.b->arena;
  dhc_dimprog fours = dhc_prog_op(a, DHC_DIM_MUL, v->f.tiles, dhc_prog_const(a, (int64_t)v->f.n_sums * v->f.t.threads / FOUR));
  dhc_dimprog of_task = dhc_prog_op(a, DHC_DIM_FLOORDIV, dhc_prog_const(a, v->f.t.threads * TOGETHER), quarters(v));
  return dhc_prog_op(a, DHC_DIM_CEILDIV, fours, of_task);
}

static dhc_dimprog sums_by_warps(const Groups *v) {
  DhcArena *a = v->f.t.b->arena;
  return dhc_prog_op(a, DHC_DIM_MUL, v->f.tiles, dhc_prog_const(a, (int64_t)v->f.n_sums * v->f.t.threads / DHC_TILE_WARP));
}

/* Of four threads beside each other a sum: where it lies in the first piece of its tile, and what it is. */
typedef struct Place {
  DhcLv there, at, q, thread, tile;
} Place;

static Place place_of(Groups *v, DhcLv number) {
  DhcTile *d = &v->f.t;
  DhcLp *b = d->b;
  int64_t fours = d->threads / FOUR;
  DhcLv all = dhc_lp_mulc(b, dhc_lp_prog(b, v->f.tiles), v->f.n_sums * fours), n = dhc_lp_i64(b, v->f.n_sums);
  Place p = {.there = dhc_lp_lt(b, number, all)};
  number = dhc_lp_min(b, number, dhc_lp_addc(b, all, -1));
  DhcLv rest = dhc_lp_udiv(b, number, dhc_lp_i64(b, fours));
  p.thread = dhc_lp_mulc(b, dhc_lp_urem(b, number, dhc_lp_i64(b, fours)), FOUR);
  p.q = dhc_lp_urem(b, rest, n);
  p.tile = dhc_lp_udiv(b, rest, n);
  d->slot = p.tile;
  p.at = dhc_filters_piece_at(&v->f, dhc_lp_i64(b, 0), p.q, p.thread);
  return p;
}

static void store(DhcFilters *f, DhcLv task) {
  Groups *v = (Groups *)f;
  DhcTile *d = &v->f.t;
  DhcLp *b = d->b;
  DhcLv n = dhc_lp_prog(b, quarters(v)), width = dhc_lp_udiv(b, dhc_lp_i64(b, d->threads), n), mem = dhc_tile_memory(d);
  DhcLv lane = dhc_lp_urem(b, d->tid, width), quarter = dhc_lp_udiv(b, d->tid, width), at[TOGETHER], sum[TOGETHER];
  Place place[TOGETHER];
  for (int i = 0; i < TOGETHER; i++) {
    place[i] = place_of(v, dhc_lp_add(b, dhc_lp_mul(b, dhc_lp_addc(b, dhc_lp_mulc(b, task, TOGETHER), i), width), lane));
    at[i] = place[i].at;
  }
  add_pieces(v, quarter, n, at, TOGETHER, FOUR, sum);
  for (int i = 0; i < TOGETHER; i++)
    dhc_lp_store(b, mem, dhc_lp_mulc(b, dhc_lp_addc(b, d->tid, (int64_t)i * d->threads), FOUR), sum[i], 4 * FOUR);
  dhc_lp_barrier(b);
  dhc_lp_if(b, dhc_lp_eq(b, quarter, dhc_lp_i64(b, 0)));
  for (int i = 0; i < TOGETHER; i++) {
    DhcLpVar all = dhc_lp_var(b, sum[i]);
    DhcLv k = dhc_lp_for(b, dhc_lp_i64(b, 1), n, 1), from = dhc_lp_addc(b, dhc_lp_add(b, d->tid, dhc_lp_mul(b, k, width)), (int64_t)i * d->threads);
    dhc_lp_set(b, all, dhc_lp_add(b, dhc_lp_get(b, all), dhc_lp_load(b, mem, dhc_lp_mulc(b, from, FOUR), FOUR, 4 * FOUR)));
    dhc_lp_end(b);
    DhcLv four = dhc_lp_get(b, all);
    dhc_filters_tile(&v->f, place[i].tile);
    for (int l = 0; l < FOUR; l++) {
      DhcTplMark mark = dhc_tpl_push(&d->cx);
      v->f.value = dhc_lp_mul(b, dhc_lp_extract(b, four, l), uncut(b));
      dhc_lp_if(b, dhc_lp_and(b, place[i].there, bind(v, place[i].q, dhc_lp_addc(b, place[i].thread, l))));
      dhc_tpl_store_all(&d->cx);
      dhc_lp_end(b);
      dhc_tpl_pop(&d->cx, &mark);
    }
  }
  dhc_lp_end(b);
}

/* A sum of 32 threads: each warp adds some of the pieces. */
static void store_by_warps(DhcFilters *f, DhcLv rest) {
  Groups *v = (Groups *)f;
  DhcTile *d = &v->f.t;
  DhcLp *b = d->b;
  int n_warps = d->threads / DHC_TILE_WARP;
  DhcLv width = dhc_lp_i64(b, DHC_TILE_WARP), some = dhc_lp_i64(b, n_warps), n = dhc_lp_i64(b, v->f.n_sums), mem = dhc_tile_memory(d);
  DhcLv warp = dhc_lp_udiv(b, d->tid, width), lane = dhc_lp_urem(b, d->tid, width);
  DhcLv thread = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_urem(b, rest, some), DHC_TILE_WARP), lane);
  rest = dhc_lp_udiv(b, rest, some);
  DhcLv q = dhc_lp_urem(b, rest, n);
  d->slot = dhc_lp_udiv(b, rest, n);
  dhc_filters_tile(&v->f, d->slot);
  DhcLv at = dhc_filters_piece_at(&v->f, dhc_lp_i64(b, 0), q, thread), own;
  add_pieces(v, warp, some, &at, 1, 1, &own);
  dhc_lp_store(b, mem, d->tid, own, 0);
  dhc_lp_barrier(b);
  dhc_lp_if(b, dhc_lp_lt(b, d->tid, width));
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  DhcLv sum = dhc_lp_load(b, mem, lane, 1, 0);
  for (int i = 1; i < n_warps; i++) sum = dhc_lp_add(b, sum, dhc_lp_load(b, mem, dhc_lp_addc(b, lane, (int64_t)i * DHC_TILE_WARP), 1, 0));
  v->f.value = dhc_lp_mul(b, sum, uncut(b));
  dhc_lp_if(b, bind(v, q, thread));
  dhc_tpl_store_all(&d->cx);
  dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
}

static const char *roles(Groups *v, const DhcTplInput *in) {
  DhcTile *d = &v->f.t;
  DhcSpecWindow *w = &v->f.w;
  if (!dhc_spec_filters(in->spec, w)) return "filter gradients of another form";
  if (w->across.taps != ACROSS || w->down.taps > 3) return "taps of another number";
  const char *why = dhc_tile_roles(d);
  if (why) return why;
  const DhcSpecNode *x = &in->spec->node[d->x.node];
  if (x->kind != DHC_SN_LOAD || x->operand != w->other) return "results that do not lie along taps";
  v->packed = in->schedule->v[6];
  v->f.channels = v->packed ? FOUR : d->bn;
  v->f.taps = (int)(w->down.taps * w->across.taps);
  v->lines = v->packed ? 16 : d->bn;
  v->f.n_sums = calls(v) * v->lines / 2;
  d->threads = 4 * DHC_TILE_WARP * (int)w->down.taps;
  if (d->bm != 64 || d->bn % 8 || d->threads % v->f.channels || d->bk % 32 || d->three || d->bf16 || d->wk != 1 || !d->target) DHC_BUG("schedule of filters by groups");
  return NULL;
}

static void lay_out(Groups *v) {
  DhcTile *d = &v->f.t;
  int beside = (int)v->f.w.down.taps - 1, widest = v->packed ? 8 : 4; /* fours of a line at most */
  v->fours = d->bk / FOUR;
  v->seen = v->fours + beside * widest;
  v->tap = v->packed ? FOUR * FOUR : FOUR * v->lines * v->seen;
  v->buffer = FOUR * v->lines * v->seen * calls(v);
  v->f.four = FOUR * d->bm + FOUR;
  v->f.plane = d->bk + DHC_FILTERS_PLANE;
  v->f.plane += (36 - v->f.plane % 32) % 32; /* 4 mod 32: channels side by side meet different banks */
  v->grads_at = (int64_t)2 * v->buffer;
  v->planes_at = v->grads_at + (int64_t)2 * v->fours * v->f.four;
  d->stage = 4 * (v->planes_at + (int64_t)v->f.channels * v->f.plane);
  d->stage += 4 * FOUR; /* what is to the right of the last */
}

void dhc_tpl_filter_groups(const DhcTplInput *in, DhcLp *b) {
  Groups *v = DHC_NEW(b->arena, Groups);
  DhcFilters *f = &v->f;
  DhcTile *d = &f->t;
  dhc_tile_look(d, in, b, false);
  const char *why = roles(v, in);
  if (why) {
    dhc_lp_refuse(b, "%s", why);
    return;
  }
  lay_out(v);
  dhc_lp_block(b, d->threads, d->stage);
  int target = d->target;
  dhc_tile_open(d, in);
  d->target = target;
  d->bn = f->channels;
  dhc_filters_plan(f);
  dhc_filters_phases(f, v->packed ? sums_by_warps(v) : second_tasks(v), add_up, v->packed ? store_by_warps : store);
}
