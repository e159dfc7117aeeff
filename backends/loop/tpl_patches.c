/* Template "patches" (GPUs with products of groups of warps, tf32): convolutions whose images are walked by single pixels
 * (dhc_spec_window), of two or three taps down and up to three across. Of tpl_tile.c it has the roles.
 *
 * A patch is 8 x 8 pixels of an image, the 64 lines of a group's product; a tile is some patches by some outs. The tasks of a first
 * phase lay out the weights: rounded, fours of channels of an out side by side, the outs of a tile behind each other, all that a
 * stage takes in a row. In the second phase a block brings what its patches see of v[2] channels to block memory by way of
 * registers, rounded too, fours of channels of a pixel side by side; so a tap is the same lines from another place on, no
 * operand is moved for it, and memory is met without conflicts. A stage is the weights of these channels and of a line of taps; those of
 * the next stages are copied meanwhile.
 *
 * Up to four channels (v[7]): the eight ks of a product are two taps, behind the last of an odd number zeros; all is one stage.
 *
 * Schedule: v[0] outs of a tile; v[1] its pixels, 64 a patch; v[2] channels of a step, a multiple of eight; v[3] warps along the patches,
 * four a group; v[4] 1; v[5] 1; v[6] stages, 4 or more; v[7] 1: four channels, no steps. */
#include "backends/loop/tpl_tile.h"

enum { SIDE = 8, PATCH = SIDE * SIDE, FOUR = 4, MOST_POSITIONS = 4, PACKED = 4 };

/* Where the thread brings pixels from, and to: of a plane, the same for all channels. */
typedef struct Position {
  DhcLv from, valid, to;
} Position;

typedef struct Patches {
  DhcTile t;
  DhcSpecWindow w;
  int n_patches, groups, own;  /* of a tile; groups of warps; patches of a group */
  int taps, fours, quads;      /* fours of channels of a step; with all taps of a stage */
  int wide, seen, plane, patch; /* pixels of a line of what a patch sees; all of it; elements of four channels' of it, and of a step's */
  int64_t planes_at, buffer;   /* elements: from the stages' beginning to the planes, of one of the two buffers */
  int pitch, windows;          /* results: elements from out to out; of a patch */
  bool pairs;
  dhc_dimprog down, across, per_image, all, outs, n_steps, packed; /* patches along an image, in it, in all; tiles along outs; steps; fours of weights */
  DhcLv first, out0;           /* the tile's first patch, and its number among those of outs */
  DhcLv at_col;                /* while results are stored: where in a line of them */
  Position position[MOST_POSITIONS];
  int n_positions;
  DhcLv sum[SIDE];
  DhcLv column;                /* results: is the thread's place one? */
} Patches;

static dhc_dimprog op(const Patches *v, int o, dhc_dimprog x, dhc_dimprog y) { return dhc_prog_op(v->t.b->arena, o, x, y); }
static dhc_dimprog number(const Patches *v, int64_t n) { return dhc_prog_const(v->t.b->arena, n); }
static dhc_dimprog extent(const Patches *v, int axis) { return dhc_tpl_extent_prog(&v->t.cx, axis); }
static DhcLv prog(const Patches *v, dhc_dimprog p) { return dhc_lp_prog(v->t.b, p); }
static DhcLv stride(const Patches *v, int operand, int term) { return v->t.cx.stride[operand][term]; }

static dhc_dimprog sides(const Patches *v, const DhcSpecLine *l) {
  return op(v, DHC_DIM_CEILDIV, op(v, DHC_DIM_MUL, extent(v, l->place), number(v, l->step)), number(v, SIDE));
}

static void plan(Patches *v) {
  const DhcTile *d = &v->t;
  v->down = sides(v, &v->w.down);
  v->across = sides(v, &v->w.across);
  v->per_image = op(v, DHC_DIM_MUL, v->down, v->across);
  v->all = op(v, DHC_DIM_MUL, extent(v, v->w.batch), v->per_image);
  v->outs = op(v, DHC_DIM_CEILDIV, extent(v, v->w.out), number(v, d->bm));
  v->n_steps = v->pairs ? number(v, 1) : op(v, DHC_DIM_CEILDIV, extent(v, v->w.channel), number(v, d->bk));
  v->packed = op(v, DHC_DIM_MUL, op(v, DHC_DIM_MUL, v->outs, v->n_steps), number(v, (int64_t)v->quads * d->bm));
}

/* ---- the weights, in order --------------------------------------------------------------------- */

/* Four channels of an out's tap: of sixteen outs all taps lie close to each other in memory, too. to: where it goes, in fours. */
static DhcLv four_weights(Patches *v, DhcLv e, DhcLv *to) {
  enum { CLOSE = 16 };
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  const DhcTplCx *cx = &d->cx;
  int per_channel = v->quads / v->fours; /* taps, and zeros */
  DhcLv some = dhc_lp_i64(b, CLOSE), taps = dhc_lp_i64(b, per_channel);
  DhcLv low = dhc_lp_urem(b, e, some), rest = dhc_lp_udiv(b, e, some), tap = dhc_lp_urem(b, rest, taps);
  rest = dhc_lp_udiv(b, rest, taps);
  DhcLv blocks = dhc_lp_i64(b, d->bm / CLOSE), fours = dhc_lp_i64(b, v->fours), steps = prog(v, v->n_steps);
  DhcLv n = dhc_lp_add(b, low, dhc_lp_mulc(b, dhc_lp_urem(b, rest, blocks), CLOSE));
  rest = dhc_lp_udiv(b, rest, blocks);
  DhcLv q = dhc_lp_urem(b, rest, fours);
  rest = dhc_lp_udiv(b, rest, fours);
  DhcLv step = dhc_lp_urem(b, rest, steps), tile = dhc_lp_udiv(b, rest, steps), none = dhc_lp_i64(b, 0);
  DhcLv out = dhc_lp_add(b, n, dhc_lp_mulc(b, tile, d->bm));
  DhcLv channel = dhc_lp_add(b, dhc_lp_mulc(b, step, d->bk), dhc_lp_mulc(b, q, FOUR));
  /* what lies at the patch's place `tap` meets that tap, or, counted backwards, the one as far from the last */
  DhcLv all = dhc_lp_i64(b, v->taps), across = dhc_lp_i64(b, v->w.across.taps);
  DhcLv own = v->w.across.sign < 0 ? dhc_lp_sub(b, dhc_lp_i64(b, v->taps - 1), tap) : tap;
  DhcLv there = dhc_lp_and(b, dhc_lp_lt(b, out, cx->extent[v->w.out]), dhc_lp_lt(b, tap, all));
  own = dhc_lp_select(b, there, own, none);
  DhcLv at = dhc_lp_mul(b, dhc_lp_select(b, there, out, none), stride(v, v->w.other, v->w.other_term[0]));
  at = dhc_lp_add(b, at, dhc_lp_mul(b, dhc_lp_udiv(b, own, across), stride(v, v->w.other, v->w.other_term[2])));
  at = dhc_lp_add(b, at, dhc_lp_mul(b, dhc_lp_urem(b, own, across), stride(v, v->w.other, v->w.other_term[3])));
  DhcLv four = dhc_lp_zero(b, DHC_F32, FOUR), zero = dhc_lp_float(b, DHC_F32, 0);
  for (int i = 0; i < FOUR; i++) {
    DhcLv c = dhc_lp_addc(b, channel, i), in = dhc_lp_and(b, there, dhc_lp_lt(b, c, cx->extent[v->w.channel]));
    DhcLv from = dhc_lp_add(b, at, dhc_lp_mul(b, c, stride(v, v->w.other, v->w.other_term[1])));
    DhcLv x = dhc_lp_load(b, cx->pointer[v->w.other], dhc_lp_select(b, in, from, none), 1, 0);
    four = dhc_lp_insert(b, four, i, dhc_lp_tf32(b, dhc_lp_select(b, in, x, zero)));
  }
  *to = dhc_lp_add(b, dhc_lp_mul(b, tile, steps), step);
  *to = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_add(b, dhc_lp_mulc(b, *to, per_channel), tap), v->fours), q);
  *to = dhc_lp_add(b, dhc_lp_mulc(b, *to, d->bm), n);
  return four;
}

/* Some a thread, whose loads are all under way before the first is stored: blocks take much block memory, so few are at once. */
static void pack(Patches *v, DhcLv task) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv all = prog(v, v->packed), last = dhc_lp_addc(b, all, -1), four[PACKED], to[PACKED], number[PACKED];
  for (int i = 0; i < PACKED; i++) {
    number[i] = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_addc(b, dhc_lp_mulc(b, task, PACKED), i), d->threads), d->tid);
    four[i] = four_weights(v, dhc_lp_min(b, number[i], last), &to[i]);
  }
  for (int i = 0; i < PACKED; i++) {
    dhc_lp_if(b, dhc_lp_le(b, number[i], last));
    dhc_lp_store(b, dhc_lp_shared(b, DHC_F32), dhc_lp_mulc(b, to[i], FOUR), four[i], 4 * FOUR);
    dhc_lp_end(b);
  }
}

/* ---- stages ------------------------------------------------------------------------------------ */

static int stage_quads(const Patches *v) { return v->pairs ? v->quads : (int)v->w.across.taps * v->fours; }
static int n_stages_of_step(const Patches *v) { return v->pairs ? 1 : (int)v->w.down.taps; }

/* Begins to bring stage `number` of the tile's to the one at `base`, if it is below `end`. */
static void copy_stage(Patches *v, DhcLv number, DhcLv end, DhcLv base) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  int size = stage_quads(v) * d->bm; /* fours */
  dhc_lp_if(b, dhc_lp_lt(b, number, end));
  DhcLv tile = dhc_lp_mul(b, v->out0, end), own = dhc_lp_mulc(b, d->tid, FOUR);
  DhcLv from = dhc_lp_at(b, dhc_lp_shared(b, DHC_F32), dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_add(b, tile, number), (int64_t)FOUR * size), own));
  DhcLv to = dhc_lp_add(b, base, own);
  for (int i = 0; i < size; i += d->threads) {
    bool part = size - i < d->threads;
    if (part) dhc_lp_if(b, dhc_lp_lt(b, d->tid, dhc_lp_i64(b, size - i)));
    dhc_lp_copy(b, dhc_tile_memory(d), dhc_lp_addc(b, to, (int64_t)FOUR * i), dhc_lp_at(b, from, dhc_lp_i64(b, (int64_t)FOUR * i)), FOUR, NULL);
    if (part) dhc_lp_end(b);
  }
  dhc_lp_end(b);
  dhc_lp_commit(b);
}

static DhcLv offset(const Patches *v, const DhcSpecLine *l) {
  DhcLp *b = v->t.b;
  return dhc_lp_addc(b, v->t.cx.offset[v->w.image][l->term], l->sign < 0 ? 1 - l->taps : 0);
}

static void find_positions(Patches *v) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  const DhcTplCx *cx = &d->cx;
  DhcLv none = dhc_lp_i64(b, 0), wide = dhc_lp_i64(b, v->wide), per_image = prog(v, v->per_image), across = prog(v, v->across);
  DhcLv in_h = cx->limit[v->w.image][v->w.down.term], in_w = cx->limit[v->w.image][v->w.across.term];
  for (int i = 0; i < v->n_positions; i++) {
    DhcLv at = dhc_lp_addc(b, d->tid, (int64_t)i * d->threads), seen = dhc_lp_i64(b, v->seen);
    DhcLv patch = dhc_lp_udiv(b, at, seen), r = dhc_lp_urem(b, at, seen), p = dhc_lp_add(b, v->first, patch);
    DhcLv n = dhc_lp_udiv(b, p, per_image), rest = dhc_lp_urem(b, p, per_image);
    DhcLv y = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_udiv(b, rest, across), SIDE), dhc_lp_udiv(b, r, wide));
    DhcLv x = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_urem(b, rest, across), SIDE), dhc_lp_urem(b, r, wide));
    y = dhc_lp_add(b, y, offset(v, &v->w.down));
    x = dhc_lp_add(b, x, offset(v, &v->w.across));
    DhcLv in = dhc_lp_and(b, dhc_lp_and(b, dhc_lp_le(b, none, y), dhc_lp_lt(b, y, in_h)), dhc_lp_and(b, dhc_lp_le(b, none, x), dhc_lp_lt(b, x, in_w)));
    in = dhc_lp_and(b, dhc_lp_and(b, in, dhc_lp_lt(b, n, cx->extent[v->w.batch])), dhc_lp_lt(b, at, dhc_lp_i64(b, v->n_patches * v->seen)));
    DhcLv from = dhc_lp_add(b, dhc_lp_mul(b, n, stride(v, v->w.image, v->w.batch_term)), x);
    from = dhc_lp_add(b, from, dhc_lp_mul(b, y, stride(v, v->w.image, v->w.down.term)));
    v->position[i] = (Position){dhc_lp_select(b, in, from, none), in,
                                dhc_lp_add(b, dhc_lp_mulc(b, patch, v->patch), dhc_lp_mulc(b, r, FOUR))};
  }
}

/* The thread's fours of the channels from channel0 on; those that are not there are zeros. */
static void load_pixels(Patches *v, DhcLv channel0, DhcLv *four) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv n = d->cx.extent[v->w.channel], none = dhc_lp_i64(b, 0), zero = dhc_lp_float(b, DHC_F32, 0);
  for (int q = 0; q < v->fours; q++)
    for (int c = 0; c < FOUR; c++) {
      DhcLv channel = dhc_lp_addc(b, channel0, (int64_t)FOUR * q + c), there = dhc_lp_lt(b, channel, n);
      DhcLv plane = dhc_lp_mul(b, dhc_lp_select(b, there, channel, none), stride(v, v->w.image, v->w.channel_term));
      for (int i = 0; i < v->n_positions; i++) {
        DhcLv x = dhc_lp_load(b, d->cx.pointer[v->w.image], dhc_lp_add(b, v->position[i].from, plane), 1, 0);
        x = dhc_lp_tf32(b, dhc_lp_select(b, dhc_lp_and(b, there, v->position[i].valid), x, zero));
        DhcLv *to = &four[q * MOST_POSITIONS + i];
        *to = dhc_lp_insert(b, c ? *to : dhc_lp_zero(b, DHC_F32, FOUR), c, x);
      }
    }
}

static void store_pixels(Patches *v, DhcLv buffer, const DhcLv *four) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  for (int i = 0; i < v->n_positions; i++) {
    bool part = (i + 1) * d->threads > v->n_patches * v->seen;
    if (part) dhc_lp_if(b, dhc_lp_lt(b, d->tid, dhc_lp_i64(b, v->n_patches * v->seen - i * d->threads)));
    DhcLv to = dhc_lp_addc(b, dhc_lp_add(b, buffer, v->position[i].to), v->planes_at);
    for (int q = 0; q < v->fours; q++)
      dhc_lp_store(b, dhc_tile_memory(d), dhc_lp_addc(b, to, (int64_t)q * v->plane), four[q * MOST_POSITIONS + i], 4 * FOUR);
    if (part) dhc_lp_end(b);
  }
}

static DhcLv group(const Patches *v) { return dhc_lp_udiv(v->t.b, v->t.tid, dhc_lp_i64(v->t.b, 4 * DHC_TILE_WARP)); }

/* Patch number i of the group's in a buffer. */
static DhcLv patch_at(Patches *v, DhcLv buffer, int i) {
  DhcLp *b = v->t.b;
  DhcLv patch = dhc_lp_addc(b, dhc_lp_mulc(b, group(v), v->own), i);
  return dhc_lp_addc(b, dhc_lp_add(b, buffer, dhc_lp_mulc(b, patch, v->patch)), v->planes_at);
}

static int tap_at(const Patches *v, int tap) {
  int across = (int)v->w.across.taps;
  return FOUR * (tap / across * v->wide + tap % across);
}

/* The products of a stage of all of the group's patches; how many calls these are. */
static int multiply(Patches *v, DhcLv stage, DhcLv buffer, int down) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv mem = dhc_tile_memory(d);
  int calls = v->pairs ? v->quads / 2 : (int)v->w.across.taps;
  DhcLpFours f = {.ks = v->pairs ? 8 : d->bk, .x_four = v->plane, .x_lines = FOUR * v->wide, .y_four = FOUR * d->bm, .y_lines = FOUR * SIDE};
  for (int c = 0; c < calls; c++) {
    int tap = v->pairs ? 2 * c : down * (int)v->w.across.taps + c, at = tap_at(v, tap);
    if (v->pairs) f.x_four = (tap + 1 < v->taps ? tap_at(v, tap + 1) : v->plane) - at;
    DhcLv ys = dhc_lp_at(b, mem, dhc_lp_addc(b, stage, (int64_t)c * f.ks * d->bm));
    for (int i = 0; i < v->own; i++)
      dhc_lp_group_fours(b, v->sum[i], dhc_lp_at(b, mem, dhc_lp_addc(b, patch_at(v, buffer, i), at)), ys, d->bm, f);
  }
  return calls * v->own;
}

/* What taps behind the last meet is zero. */
static void clear_plane(Patches *v) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv i = dhc_lp_for(b, d->tid, dhc_lp_i64(b, (int64_t)v->n_patches * v->seen), d->threads), seen = dhc_lp_i64(b, v->seen);
  DhcLv at = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_udiv(b, i, seen), v->patch), dhc_lp_mulc(b, dhc_lp_urem(b, i, seen), FOUR));
  dhc_lp_store(b, dhc_tile_memory(d), dhc_lp_addc(b, at, v->planes_at + v->plane), dhc_lp_zero(b, DHC_F32, FOUR), 4 * FOUR);
  dhc_lp_end(b);
}

static void clear_sums(Patches *v) {
  DhcLp *b = v->t.b;
  for (int i = 0; i < v->own; i++) {
    v->sum[i] = dhc_lp_local(b, DHC_F32, v->t.bm / 2);
    DhcLv e = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, v->t.bm / 2), 1);
    dhc_lp_store(b, v->sum[i], e, dhc_lp_float(b, DHC_F32, 0), 0);
    dhc_lp_end(b);
  }
}

/* Four channels at most: everything is there at once. */
static void add_up_pairs(Patches *v) {
  DhcLp *b = v->t.b;
  DhcLv none = dhc_lp_i64(b, 0), four[MOST_POSITIONS];
  copy_stage(v, none, dhc_lp_i64(b, 1), none);
  load_pixels(v, none, four);
  if (v->taps % 2) clear_plane(v);
  clear_sums(v);
  store_pixels(v, none, four);
  dhc_lp_wait(b, 0);
  dhc_lp_barrier(b);
  multiply(v, none, none, 0);
}

/* Steps of channels, stage by stage: while one is multiplied the one after the next is copied, and the next step's pixels are loaded. The
 * other buffer is free behind the second stage's barrier: there all groups have waited for the products of the step before. */
static void add_up_steps(Patches *v) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  int ahead = d->stages - 2, per_step = n_stages_of_step(v);
  DhcLv steps = prog(v, v->n_steps), end = dhc_lp_mulc(b, steps, per_step), four[SIDE * MOST_POSITIONS];
  for (int s = 0; s < ahead; s++) copy_stage(v, dhc_lp_i64(b, s), end, dhc_lp_i64(b, s * (d->stage / 4)));
  load_pixels(v, dhc_lp_i64(b, 0), four);
  clear_sums(v);
  store_pixels(v, dhc_lp_i64(b, 0), four);
  DhcLpVar now = dhc_lp_var(b, dhc_lp_i64(b, 0)), free = dhc_lp_var(b, dhc_lp_i64(b, ahead * (d->stage / 4)));
  DhcLpVar buffer = dhc_lp_var(b, dhc_lp_i64(b, 0));
  DhcLv s = dhc_lp_for(b, dhc_lp_i64(b, 0), steps, 1);
  for (int down = 0; down < per_step; down++) {
    dhc_lp_wait(b, ahead - 1);
    dhc_lp_barrier(b);
    int calls = multiply(v, dhc_lp_get(b, now), dhc_lp_get(b, buffer), down);
    copy_stage(v, dhc_lp_addc(b, dhc_lp_mulc(b, s, per_step), down + ahead), end, dhc_lp_get(b, free));
    if (!down) load_pixels(v, dhc_lp_mulc(b, dhc_lp_addc(b, s, 1), d->bk), four);
    dhc_lp_group_wait(b, calls);
    dhc_lp_set(b, now, dhc_tile_next_stage(d, dhc_lp_get(b, now)));
    dhc_lp_set(b, free, dhc_tile_next_stage(d, dhc_lp_get(b, free)));
  }
  dhc_lp_set(b, buffer, dhc_lp_sub(b, dhc_lp_i64(b, v->buffer), dhc_lp_get(b, buffer)));
  store_pixels(v, dhc_lp_get(b, buffer), four);
  dhc_lp_end(b);
}

/* ---- results ----------------------------------------------------------------------------------- */

static void put_sums(Patches *v) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv lane = dhc_lp_urem(b, d->tid, dhc_lp_i64(b, DHC_TILE_WARP)), four = dhc_lp_i64(b, 4), two = dhc_lp_i64(b, 2);
  DhcLv warp = dhc_lp_urem(b, dhc_lp_udiv(b, d->tid, dhc_lp_i64(b, DHC_TILE_WARP)), four);
  DhcLv out = dhc_lp_mul(b, dhc_lp_urem(b, lane, four), two), line = dhc_lp_add(b, dhc_lp_mulc(b, warp, 16), dhc_lp_udiv(b, lane, four));
  DhcLv at = dhc_lp_add(b, dhc_lp_add(b, dhc_lp_mulc(b, out, v->pitch), line), dhc_lp_mulc(b, group(v), (int64_t)v->own * PATCH));
  for (int i = 0; i < v->own; i++) {
    DhcLv j = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, d->bm / 8), 1), to = dhc_lp_add(b, at, dhc_lp_mulc(b, j, (int64_t)8 * v->pitch));
    for (int e = 0; e < 4; e++) {
      DhcLv x = dhc_lp_load(b, v->sum[i], dhc_lp_addc(b, dhc_lp_mulc(b, j, 4), e), 1, 0);
      dhc_lp_store(b, dhc_tile_memory(d), dhc_lp_addc(b, to, (int64_t)PATCH * i + e % 2 * v->pitch + e / 2 * 8), x, 0);
    }
    dhc_lp_end(b);
  }
}

static DhcLv provide(DhcTplCx *cx, int n, void *arg) {
  Patches *v = arg;
  DhcLp *b = cx->b;
  if (n != v->t.fold[0]) return NULL;
  DhcLv at = dhc_lp_add(b, v->at_col, dhc_lp_mulc(b, v->t.at_row, v->pitch));
  if (v->w.down.window >= 0) at = dhc_lp_add(b, at, dhc_lp_mulc(b, cx->index[v->w.down.window], SIDE));
  if (v->w.across.window >= 0) at = dhc_lp_add(b, at, cx->index[v->w.across.window]);
  bool lanes = cx->vector_axis >= 0;
  return dhc_lp_load(b, dhc_tile_memory(&v->t), at, lanes ? cx->lanes : 1, lanes ? 4 * cx->lanes : 0);
}

/* Where the thread's result lies: patches beside each other line by line, where a tile has whole lines of them or parts of one. */
static void find_column(Patches *v, int lanes) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  const DhcSpecLine *down = &v->w.down, *across = &v->w.across;
  int step_y = (int)down->step, step_x = (int)across->step, per_line = SIDE / step_x / lanes, n_lines = SIDE / step_y;
  DhcLv n = dhc_lp_i64(b, v->n_patches), wide = prog(v, v->across), one = dhc_lp_i64(b, 1), none = dhc_lp_i64(b, 0);
  DhcLv beside = dhc_lp_select(b, dhc_lp_eq(b, dhc_lp_urem(b, wide, n), none), n, one);
  beside = dhc_lp_select(b, dhc_lp_eq(b, dhc_lp_urem(b, n, wide), none), wide, beside);
  DhcLv rest = dhc_lp_urem(b, d->tid, dhc_lp_i64(b, v->n_patches * v->windows / lanes)), width = dhc_lp_i64(b, per_line), lines = dhc_lp_i64(b, n_lines);
  DhcLv x = dhc_lp_urem(b, rest, width);
  rest = dhc_lp_udiv(b, rest, width);
  DhcLv patch = dhc_lp_urem(b, rest, beside);
  rest = dhc_lp_udiv(b, rest, beside);
  DhcLv y = dhc_lp_urem(b, rest, lines);
  patch = dhc_lp_add(b, patch, dhc_lp_mul(b, dhc_lp_udiv(b, rest, lines), beside));
  DhcLv at = dhc_lp_add(b, dhc_lp_mulc(b, y, (int64_t)step_y * SIDE), dhc_lp_mulc(b, x, (int64_t)step_x * lanes));
  v->at_col = dhc_lp_add(b, at, dhc_lp_mulc(b, patch, PATCH));
  DhcLv p = dhc_lp_add(b, v->first, patch), per_image = prog(v, v->per_image), in = dhc_lp_urem(b, p, per_image);
  DhcLv image = dhc_lp_udiv(b, p, per_image);
  y = dhc_lp_add(b, y, dhc_lp_mulc(b, dhc_lp_udiv(b, in, wide), n_lines));
  x = dhc_lp_add(b, dhc_lp_mulc(b, x, lanes), dhc_lp_mulc(b, dhc_lp_urem(b, in, wide), SIDE / step_x));
  v->column = dhc_lp_and(b, dhc_lp_lt(b, image, d->cx.extent[v->w.batch]), dhc_lp_lt(b, y, d->cx.extent[down->place]));
  v->column = dhc_lp_and(b, v->column, dhc_lp_lt(b, x, d->cx.extent[across->place]));
  dhc_tpl_bind(&d->cx, v->w.batch, image);
  dhc_tpl_bind(&d->cx, down->place, y);
  if (lanes > 1) dhc_tpl_bind_vector(&d->cx, across->place, x, lanes, NULL);
  else dhc_tpl_bind(&d->cx, across->place, x);
}

/* A thread stores one place, or four, of some outs. */
static void store_tile(Patches *v, int lanes) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  int columns = v->n_patches * v->windows / lanes, fit = d->threads / columns, at_once = fit < d->bm ? fit : d->bm;
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  find_column(v, lanes);
  DhcLv row0 = dhc_lp_mulc(b, v->out0, d->bm), own = dhc_lp_udiv(b, d->tid, dhc_lp_i64(b, columns));
  DhcLv i = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, d->bm), at_once, 4);
  d->at_row = dhc_lp_add(b, i, own);
  DhcLv out = dhc_lp_add(b, row0, d->at_row), in = dhc_lp_and(b, v->column, dhc_lp_lt(b, out, d->cx.extent[v->w.out]));
  dhc_lp_if(b, dhc_lp_and(b, in, dhc_lp_lt(b, own, dhc_lp_i64(b, at_once))));
  DhcTplMark inner = dhc_tpl_push(&d->cx);
  dhc_tpl_bind(&d->cx, v->w.out, out);
  dhc_tpl_store_all(&d->cx);
  dhc_tpl_pop(&d->cx, &inner);
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &mark);
}

static void results(Patches *v) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  dhc_lp_wait(b, 0);
  dhc_lp_group_wait(b, 0);
  dhc_lp_barrier(b); /* the stages are free: the sums lie there now */
  put_sums(v);
  dhc_lp_barrier(b);
  if (dhc_tile_fours_axis(d) != v->w.across.place || SIDE / v->w.across.step % FOUR) {
    store_tile(v, 1);
    return;
  }
  dhc_lp_if(b, dhc_tile_is_four(b, d->cx.extent[v->w.across.place]));
  store_tile(v, FOUR);
  dhc_lp_else(b);
  store_tile(v, 1);
  dhc_lp_end(b);
}

/* ---- the kernel ---------------------------------------------------------------------------------- */

/* One, two, four or eight pixels of a patch's line. */
static bool divides(const DhcSpecLine *l) { return SIDE % l->step == 0; }

static const char *roles(Patches *v, const DhcTplInput *in) {
  DhcTile *d = &v->t;
  if (!dhc_spec_window(in->spec, &v->w)) return "a convolution of another form";
  const DhcSpecLine *down = &v->w.down, *across = &v->w.across;
  if (down->taps < 2 || down->taps > 3 || across->taps > 3 || !divides(down) || !divides(across)) return "taps or windows of another number";
  const char *why = dhc_tile_roles(d);
  if (why) return why;
  const DhcSpecNode *x = &in->spec->node[d->x.node];
  if (x->kind != DHC_SN_LOAD || x->operand != v->w.other) return "results that do not lie along the image's lines";
  v->pairs = in->schedule->v[7];
  d->target = 0;
  v->taps = (int)(down->taps * across->taps);
  v->fours = v->pairs ? 1 : d->bk / FOUR;
  v->quads = v->pairs ? (v->taps + 1) / 2 * 2 : v->taps * v->fours;
  v->n_patches = d->bn / PATCH;
  v->groups = d->wr / 4;
  v->own = v->groups ? v->n_patches / v->groups : 0;
  v->windows = PATCH / (int)(down->step * across->step);
  if (d->three || d->bf16 || d->group || d->wk != 1 || d->wc != 1 || d->wr % 4 || d->bn % PATCH || v->own < 1 || v->own > SIDE ||
      v->own * v->groups != v->n_patches || d->bm % 16 || d->bm > 256 || d->stages < 3 || v->fours > SIDE || d->threads % (v->n_patches * v->windows))
    DHC_BUG("schedule of patches");
  return NULL;
}

static int64_t lay_out(Patches *v) {
  DhcTile *d = &v->t;
  v->wide = SIDE - 1 + (int)v->w.across.taps;
  v->seen = v->wide * (SIDE - 1 + (int)v->w.down.taps);
  v->plane = FOUR * v->seen;
  v->patch = v->plane * (v->pairs && v->taps % 2 ? 2 : v->fours);
  v->n_positions = (v->n_patches * v->seen + d->threads - 1) / d->threads;
  if (v->n_positions > MOST_POSITIONS) DHC_BUG("schedule of patches");
  v->buffer = (int64_t)v->n_patches * v->patch;
  d->stage = (int64_t)4 * FOUR * stage_quads(v) * d->bm;
  v->planes_at = d->stage / 4 * (v->pairs ? 1 : d->stages);
  v->pitch = d->bn + FOUR;
  int64_t bytes = 4 * (v->planes_at + v->buffer * (v->pairs ? 1 : 2)), results = (int64_t)4 * v->pitch * d->bm;
  return results > bytes ? results : bytes;
}

void dhc_tpl_patches(const DhcTplInput *in, DhcLp *b) {
  Patches *v = DHC_NEW(b->arena, Patches);
  DhcTile *d = &v->t;
  dhc_tile_look(d, in, b, false);
  const char *why = roles(v, in);
  if (why) {
    dhc_lp_refuse(b, "%s", why);
    return;
  }
  int64_t bytes = lay_out(v);
  dhc_lp_block(b, d->threads, bytes);
  if (v->own * d->bm * d->threads <= 128 * 256 / 2 && 2 * bytes <= DHC_TILE_MEMORY) dhc_lp_together(b, 2); /* one stores, one multiplies */
  dhc_tile_open(d, in);
  d->cx.provide = provide;
  d->cx.provide_arg = v;
  plan(v);
  dhc_lp_share(b, op(v, DHC_DIM_MUL, v->packed, number(v, 4 * FOUR)));
  dhc_dimprog packs = op(v, DHC_DIM_CEILDIV, v->packed, number(v, (int64_t)PACKED * d->threads));
  dhc_dimprog tiles = op(v, DHC_DIM_MUL, op(v, DHC_DIM_CEILDIV, v->all, number(v, v->n_patches)), v->outs);
  DhcLv first = prog(v, packs), task = dhc_lp_phases(b, packs, tiles), outs = prog(v, v->outs);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  d->tid = dhc_lp_thread(b);
  dhc_lp_if(b, dhc_lp_lt(b, task, first));
  pack(v, task);
  dhc_lp_else(b);
  DhcTplMark inner = dhc_tpl_push(&d->cx);
  DhcLv tile = dhc_lp_sub(b, task, first);
  v->out0 = dhc_lp_urem(b, tile, outs);
  v->first = dhc_lp_mulc(b, dhc_lp_udiv(b, tile, outs), v->n_patches);
  find_positions(v);
  if (v->pairs) add_up_pairs(v);
  else add_up_steps(v);
  results(v);
  dhc_tpl_pop(&d->cx, &inner);
  dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
}
