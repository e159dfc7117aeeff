/* Template "image" (GPUs, matrix tiles): convolutions whose images are walked by single pixels (dhc_spec_window), by tiles of
 * outs x pixels as in tpl_tile.c, of which it has the sums and the stores.
 *
 * A tile's pixels are whole lines of one image, or whole images. In steps of v[2] channels a block brings to block memory
 * what the tile sees of these channels' planes, once for all taps, and the outs' weights for them; then it multiplies tap
 * by tap, a channel a k. Copies are 16 bytes wherever memory is aligned so: whole lines of a plane, and of the weights all
 * taps of all channels of a step, which lie side by side (or, with taps counted backwards as gradients do, all taps of
 * all outs).
 *
 * A plane in block memory: lines of in_w pixels, rounded up to fours, four zeros before each and behind the last, so that
 * what lies beside the image on the right is what lies before the next line; lines above and below are zeros.
 * Planes are v[7] elements apart, 8 mod 32, and weights' lines 4 mod 8 (8 mod 16 backwards), so that the 32 threads of a
 * matrix tile meet as many banks.
 *
 * Schedule: v[0] BM outs, v[1] BN pixels, v[2] channels of a step, 8 (16 in bf16) for each group; v[3], v[4], v[5], v[6] as "tile";
 * v[7] elements of a plane. Where a tile's part of a plane is larger than that, or a line longer than BN, the guard of the
 * size class (passes/plan/schedule_tiles.c) must have chosen another. */
#include "backends/loop/tpl_tile.h"

typedef struct Image {
  DhcTile t;
  DhcSpecWindow w;
  int channels, plane, pitch; /* of a step; elements from plane to plane, from line to line of the weights */
  int taps;
  bool backwards;
  int64_t image_at; /* elements from a stage's beginning to its planes */
  dhc_dimprog n_down, n_across, images, lines, bands, outs; /* of results, windows counted whole; of a tile; tiles */
  DhcLv in_h, in_w, line, size;  /* of the image; elements of a line and of an image's part in block memory */
  DhcLv n0, y0, first;           /* the tile's first image and line; the image's line that lies first in block memory */
  DhcLv per_tile_images, seen;   /* lines of an image that a tile sees */
  DhcLv planes_wide, weights_wide; /* copies of four elements may be made */
  DhcLv column;                  /* places of the thread's columns in a plane, an array */
  DhcLv lane_from, lane_to, lane_valid, lane_plane, at_once, rounds; /* the thread's part of every plane; planes at once */
} Image;

static int stage_size(const Image *v) { return (int)(v->t.stage / 4); }

static DhcLv stride(const Image *v, int operand, int term) { return v->t.cx.stride[operand][term]; }
static DhcLv image_stride(const Image *v, int term) { return stride(v, v->w.image, term); }
static DhcLv weight_stride(const Image *v, int i) { return stride(v, v->w.other, v->w.other_term[i]); }
static DhcLv offset(const Image *v, const DhcSpecLine *l) { return v->t.cx.offset[v->w.image][l->term]; }

/* ---- the tile ------------------------------------------------------------------------------- */

static dhc_dimprog op(const Image *v, int o, dhc_dimprog x, dhc_dimprog y) { return dhc_prog_op(v->t.b->arena, o, x, y); }
static dhc_dimprog number(const Image *v, int64_t n) { return dhc_prog_const(v->t.b->arena, n); }

static dhc_dimprog places(const Image *v, const DhcSpecLine *l) {
  return op(v, DHC_DIM_MUL, dhc_tpl_extent_prog(&v->t.cx, l->place), number(v, l->step));
}

/* Whole images, as many as a tile holds; or as many lines of one as it holds, whole windows of them. */
static dhc_dimprog plan_tiles(Image *v) {
  const DhcTile *d = &v->t;
  dhc_dimprog one = number(v, 1), bn = number(v, d->bn), step = number(v, v->w.down.step);
  v->n_down = places(v, &v->w.down);
  v->n_across = places(v, &v->w.across);
  dhc_dimprog all = op(v, DHC_DIM_MAX, op(v, DHC_DIM_MUL, v->n_down, v->n_across), one);
  v->images = op(v, DHC_DIM_MAX, op(v, DHC_DIM_FLOORDIV, bn, all), one);
  dhc_dimprog windows = op(v, DHC_DIM_FLOORDIV, bn, op(v, DHC_DIM_MAX, op(v, DHC_DIM_MUL, v->n_across, step), one));
  v->lines = op(v, DHC_DIM_MUL, op(v, DHC_DIM_MAX, windows, one), step);
  v->lines = op(v, DHC_DIM_MAX, op(v, DHC_DIM_MIN, v->lines, v->n_down), one);
  v->bands = op(v, DHC_DIM_CEILDIV, v->n_down, v->lines);
  v->outs = op(v, DHC_DIM_CEILDIV, dhc_tpl_extent_prog(&d->cx, v->w.out), number(v, d->bm));
  dhc_dimprog batches = op(v, DHC_DIM_CEILDIV, dhc_tpl_extent_prog(&d->cx, v->w.batch), v->images);
  return op(v, DHC_DIM_MUL, op(v, DHC_DIM_MUL, batches, v->bands), v->outs);
}

/* What is the same in all tiles. */
static void find_sizes(Image *v) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  v->in_h = d->cx.limit[v->w.image][v->w.down.term];
  v->in_w = d->cx.limit[v->w.image][v->w.across.term];
  v->per_tile_images = dhc_lp_prog(b, v->images);
  v->seen = dhc_lp_addc(b, dhc_lp_prog(b, v->lines), v->w.down.taps - 1);
  v->line = dhc_lp_addc(b, dhc_lp_mulc(b, dhc_lp_ceildivc(b, v->in_w, 4), 4), 4);
  v->size = dhc_lp_mul(b, v->seen, v->line);
}

static void find_tile(Image *v, DhcLv task) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv outs = dhc_lp_prog(b, v->outs), bands = dhc_lp_prog(b, v->bands), lines = dhc_lp_prog(b, v->lines);
  DhcLv down = dhc_lp_prog(b, v->n_down), across = dhc_lp_prog(b, v->n_across), n = d->cx.extent[v->w.batch];
  DhcLv rest = dhc_lp_udiv(b, task, outs);
  d->row0 = dhc_lp_mulc(b, dhc_lp_urem(b, task, outs), d->bm);
  v->n0 = dhc_lp_mul(b, dhc_lp_udiv(b, rest, bands), v->per_tile_images);
  v->y0 = dhc_lp_mul(b, dhc_lp_urem(b, rest, bands), lines);
  d->col0 = dhc_lp_mul(b, dhc_lp_add(b, dhc_lp_mul(b, v->n0, down), v->y0), across);
  DhcLv images = dhc_lp_min(b, v->per_tile_images, dhc_lp_sub(b, n, v->n0));
  DhcLv columns = dhc_lp_mul(b, images, dhc_lp_mul(b, dhc_lp_min(b, lines, dhc_lp_sub(b, down, v->y0)), across));
  d->n_cols = dhc_lp_add(b, d->col0, columns);
  int64_t back = v->backwards ? v->w.down.taps - 1 : 0;
  v->first = dhc_lp_addc(b, dhc_lp_add(b, v->y0, offset(v, &v->w.down)), -back);
}

/* q / by, where q is less than 4,096 and by the reciprocal: the half keeps what is rounded off from mattering. */
static DhcLv small_div(DhcLp *b, DhcLv q, DhcLv reciprocal) {
  DhcLv x = dhc_lp_mul(b, dhc_lp_add(b, dhc_lp_cast(b, q, DHC_F32), dhc_lp_float(b, DHC_F32, 0.5)), reciprocal);
  return dhc_lp_cast(b, dhc_lp_cast(b, x, DHC_I32), DHC_I64);
}

static DhcLv reciprocal_of(DhcLp *b, DhcLv n) {
  return dhc_lp_ew2(b, DHC_OP_DIV, dhc_lp_float(b, DHC_F32, 1), dhc_lp_cast(b, n, DHC_F32));
}

/* Where the thread's columns lie in a plane, their tap at the corner; those that do not count take the last one's. */
static void find_columns(void *arg) {
  Image *v = arg;
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcTileLane l = dhc_tile_lane(d);
  const DhcSpecLine *down = &v->w.down, *across = &v->w.across;
  int64_t windows[2] = {down->window < 0 ? 1 : down->step, across->window < 0 ? 1 : across->step}; /* elements of one */
  DhcLv per_line = d->cx.extent[across->place], last = dhc_lp_addc(b, dhc_lp_sub(b, d->n_cols, d->col0), -1);
  DhcLv lines = dhc_lp_udiv(b, dhc_lp_prog(b, v->lines), dhc_lp_i64(b, windows[0]));
  DhcLv by_line = reciprocal_of(b, per_line), by_lines = reciprocal_of(b, lines);
  v->column = dhc_lp_local(b, DHC_I32, dhc_tile_across(d));
  DhcLv j = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, dhc_tile_across(d)), 1);
  DhcLv q = dhc_lp_min(b, dhc_lp_add(b, dhc_lp_add(b, l.col, l.g), dhc_lp_mulc(b, j, 8)), last);
  DhcLv window = dhc_lp_i64(b, d->n_window), in = dhc_lp_urem(b, q, window), n = dhc_lp_udiv(b, q, window);
  DhcLv line = small_div(b, n, by_line), image = small_div(b, line, by_lines);
  DhcLv x = dhc_lp_sub(b, n, dhc_lp_mul(b, line, per_line)), y = dhc_lp_sub(b, line, dhc_lp_mul(b, image, lines));
  DhcLv wide = dhc_lp_i64(b, windows[1]);
  y = dhc_lp_add(b, dhc_lp_mulc(b, y, windows[0]), dhc_lp_udiv(b, in, wide));
  x = dhc_lp_add(b, dhc_lp_mulc(b, x, windows[1]), dhc_lp_urem(b, in, wide));
  DhcLv at = dhc_lp_add(b, dhc_lp_mul(b, image, v->size), dhc_lp_mul(b, y, v->line));
  at = dhc_lp_add(b, at, dhc_lp_addc(b, dhc_lp_add(b, x, offset(v, across)), 4));
  dhc_lp_store(b, v->column, j, dhc_lp_cast(b, at, DHC_I32), 0);
  dhc_lp_end(b);
}

/* ---- copies --------------------------------------------------------------------------------- */

static DhcLv clamped(DhcLp *b, DhcLv x) { return dhc_lp_min(b, dhc_lp_max(b, x, dhc_lp_i64(b, 0)), dhc_lp_i64(b, 4)); }

/* Of every plane a thread brings four pixels of a line, always the same; as many planes at once as there are threads for. */
static void find_lane(Image *v) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv fours = dhc_lp_ceildivc(b, v->in_w, 4), threads = dhc_lp_i64(b, d->threads), none = dhc_lp_i64(b, 0);
  DhcLv per_plane = dhc_lp_mul(b, dhc_lp_mul(b, v->per_tile_images, v->seen), fours);
  v->at_once = dhc_lp_udiv(b, threads, per_plane);
  v->rounds = dhc_lp_udiv(b, dhc_lp_addc(b, v->at_once, v->channels - 1), v->at_once);
  v->lane_plane = dhc_lp_udiv(b, d->tid, per_plane);
  DhcLv at = dhc_lp_urem(b, d->tid, per_plane), x = dhc_lp_mulc(b, dhc_lp_urem(b, at, fours), 4), l = dhc_lp_udiv(b, at, fours);
  DhcLv image = dhc_lp_udiv(b, l, v->seen), row = dhc_lp_urem(b, l, v->seen), y = dhc_lp_add(b, v->first, row);
  DhcLv n = dhc_lp_add(b, v->n0, image);
  DhcLv in = dhc_lp_and(b, dhc_lp_and(b, dhc_lp_le(b, none, y), dhc_lp_lt(b, y, v->in_h)), dhc_lp_lt(b, n, d->cx.extent[v->w.batch]));
  in = dhc_lp_and(b, in, dhc_lp_lt(b, v->lane_plane, v->at_once));
  v->lane_valid = dhc_lp_select(b, in, clamped(b, dhc_lp_sub(b, v->in_w, x)), none);
  v->lane_to = dhc_lp_addc(b, dhc_lp_add(b, dhc_lp_add(b, dhc_lp_mul(b, image, v->size), dhc_lp_mul(b, row, v->line)), x), 4);
  DhcLv from = dhc_lp_add(b, dhc_lp_mul(b, n, image_stride(v, v->w.batch_term)), dhc_lp_mul(b, y, image_stride(v, v->w.down.term)));
  v->lane_from = dhc_lp_select(b, in, dhc_lp_add(b, from, x), none);
}

static void find_widths(Image *v) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  const DhcLv *p = d->cx.pointer;
  v->planes_wide = dhc_lp_and(b, dhc_lp_aligned(b, p[v->w.image], 16), dhc_tile_is_four(b, image_stride(v, v->w.channel_term)));
  v->planes_wide = dhc_lp_and(b, v->planes_wide, dhc_tile_is_four(b, image_stride(v, v->w.batch_term)));
  v->planes_wide = dhc_lp_and(b, v->planes_wide, dhc_tile_is_four(b, image_stride(v, v->w.down.term)));
  int beside = v->backwards ? 0 : 1; /* outs or channels whose taps follow each other */
  DhcLv together = dhc_lp_and(b, dhc_lp_eq(b, weight_stride(v, beside), dhc_lp_i64(b, v->taps)),
                              dhc_lp_eq(b, weight_stride(v, 2), dhc_lp_i64(b, v->w.across.taps)));
  together = dhc_lp_and(b, together, dhc_lp_eq(b, weight_stride(v, 3), dhc_lp_i64(b, 1)));
  together = dhc_lp_and(b, together, dhc_tile_is_four(b, weight_stride(v, 1 - beside)));
  v->weights_wide = dhc_lp_and(b, together, dhc_lp_aligned(b, p[v->w.other], 16));
}

/* The planes from the thread's first on, as many apart as are brought at once. */
static void copy_planes(Image *v, DhcLv channel0, DhcLv base, bool wide) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv none = dhc_lp_i64(b, 0), count = dhc_lp_i64(b, v->channels), stride = image_stride(v, v->w.channel_term);
  DhcLv left = dhc_lp_sub(b, d->cx.extent[v->w.channel], channel0), rounds = v->rounds;
  DhcLpVar plane = dhc_lp_var(b, v->lane_plane);
  DhcLpVar from = dhc_lp_var(b, dhc_lp_add(b, v->lane_from, dhc_lp_mul(b, dhc_lp_add(b, channel0, v->lane_plane), stride)));
  DhcLv first = dhc_lp_add(b, dhc_lp_add(b, base, dhc_lp_mulc(b, v->lane_plane, v->plane)), v->lane_to);
  DhcLpVar to = dhc_lp_var(b, dhc_lp_addc(b, first, v->image_at));
  dhc_lp_for_rounds(b, none, rounds, 1, 2);
  DhcLv own = dhc_lp_get(b, plane);
  dhc_lp_if(b, dhc_lp_lt(b, own, count));
  DhcLv valid = dhc_lp_select(b, dhc_lp_lt(b, own, left), v->lane_valid, none);
  dhc_tile_copy_four(d, v->w.image, dhc_lp_get(b, to), dhc_lp_get(b, from), valid, wide);
  dhc_lp_end(b);
  dhc_lp_set(b, plane, dhc_lp_add(b, own, v->at_once));
  dhc_lp_set(b, from, dhc_lp_add(b, dhc_lp_get(b, from), dhc_lp_mul(b, v->at_once, stride)));
  dhc_lp_set(b, to, dhc_lp_add(b, dhc_lp_get(b, to), dhc_lp_mulc(b, v->at_once, v->plane)));
  dhc_lp_end(b);
}

/* Lines of weights in block memory: an out's taps of all channels of a step, or, backwards, a channel's of all outs. */
typedef struct Weights {
  int lines, inner;                                /* of a step; elements of a line that count */
  DhcLv line0, inner0, n_lines, n_inner;           /* in the operand, and how many there are behind the first */
  DhcLv line_stride, inner_stride;
} Weights;

static Weights weights_of(Image *v, DhcLv channel0) {
  const DhcTile *d = &v->t;
  bool back = v->backwards;
  DhcLv out = d->row0, n_out = d->cx.extent[v->w.out], n_channel = d->cx.extent[v->w.channel];
  return (Weights){.lines = back ? v->channels : d->bm,
                   .inner = (back ? d->bm : v->channels) * v->taps,
                   .line0 = back ? channel0 : out,
                   .inner0 = back ? out : channel0,
                   .n_lines = dhc_lp_sub(d->b, back ? n_channel : n_out, back ? channel0 : out),
                   .n_inner = dhc_lp_sub(d->b, back ? n_out : n_channel, back ? out : channel0),
                   .line_stride = weight_stride(v, back ? 1 : 0),
                   .inner_stride = weight_stride(v, back ? 0 : 1)};
}

/* Of a line that lies side by side, four elements a thread; several lines at once where there are threads for them. */
typedef struct Lines {
  int fours, width, at_once; /* of a line; threads of one, lines at once */
  DhcLv own, c0, left;       /* the thread's line among these, its first element; elements of a line that are there */
  DhcLpVar from;
  bool whole; /* all of the step's are there */
} Lines;

static void copy_line(Image *v, const Weights *w, const Lines *l, DhcLv base, DhcLv line, bool cut) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv to = dhc_lp_add(b, base, dhc_lp_add(b, dhc_lp_mulc(b, line, v->pitch), l->c0)), there = dhc_lp_lt(b, line, w->n_lines);
  if (cut) dhc_lp_if(b, dhc_lp_lt(b, line, dhc_lp_i64(b, w->lines)));
  for (int q = 0; q < l->fours; q += l->width) {
    DhcLv c = dhc_lp_addc(b, l->c0, (int64_t)4 * q), valid = NULL;
    bool part = q + l->width > l->fours;
    if (part) dhc_lp_if(b, dhc_lp_lt(b, c, dhc_lp_i64(b, w->inner)));
    if (!l->whole) valid = dhc_lp_select(b, there, clamped(b, dhc_lp_sub(b, l->left, c)), dhc_lp_i64(b, 0));
    DhcLv source = dhc_lp_at(b, d->cx.pointer[v->w.other], dhc_lp_addc(b, dhc_lp_get(b, l->from), (int64_t)4 * q));
    dhc_lp_copy(b, dhc_tile_memory(d), dhc_lp_addc(b, to, (int64_t)4 * q), source, 4, valid);
    if (part) dhc_lp_end(b);
  }
  if (cut) dhc_lp_end(b);
}

static void copy_lines(Image *v, const Weights *w, DhcLv base, bool whole) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  Lines l = {.fours = w->inner / 4, .whole = whole};
  l.at_once = d->threads / l.fours ? d->threads / l.fours : 1;
  l.width = l.fours < d->threads ? l.fours : d->threads;
  DhcLv width = dhc_lp_i64(b, l.width);
  l.own = dhc_lp_udiv(b, d->tid, width);
  l.c0 = dhc_lp_mulc(b, dhc_lp_urem(b, d->tid, width), 4);
  l.left = dhc_lp_mulc(b, w->n_inner, v->taps);
  DhcLv start = dhc_lp_mul(b, dhc_lp_add(b, w->line0, l.own), w->line_stride);
  int rounds = w->lines / l.at_once;
  dhc_lp_if(b, dhc_lp_lt(b, l.own, dhc_lp_i64(b, l.at_once)));
  l.from = dhc_lp_var(b, dhc_lp_add(b, dhc_lp_add(b, start, dhc_lp_mulc(b, w->inner0, v->taps)), l.c0));
  DhcLv i = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, (int64_t)rounds * l.at_once), l.at_once, whole ? 6 : 1);
  copy_line(v, w, &l, base, dhc_lp_add(b, i, l.own), false);
  dhc_lp_set(b, l.from, dhc_lp_add(b, dhc_lp_get(b, l.from), dhc_lp_mulc(b, w->line_stride, l.at_once)));
  dhc_lp_end(b);
  if (w->lines % l.at_once) copy_line(v, w, &l, base, dhc_lp_addc(b, l.own, (int64_t)rounds * l.at_once), true);
  dhc_lp_end(b);
}

/* Element by element, whatever the strides. */
static void copy_elements(Image *v, const Weights *w, DhcLv base) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv none = dhc_lp_i64(b, 0), taps = dhc_lp_i64(b, v->taps), across = dhc_lp_i64(b, v->w.across.taps);
  DhcLv e = dhc_lp_for_rounds(b, d->tid, dhc_lp_i64(b, (int64_t)w->lines * w->inner), d->threads, 1), inner = dhc_lp_i64(b, w->inner);
  DhcLv line = dhc_lp_udiv(b, e, inner), at = dhc_lp_urem(b, e, inner), tap = dhc_lp_urem(b, at, taps), k = dhc_lp_udiv(b, at, taps);
  DhcLv there = dhc_lp_and(b, dhc_lp_lt(b, line, w->n_lines), dhc_lp_lt(b, k, w->n_inner));
  DhcLv x = dhc_lp_mul(b, dhc_lp_add(b, w->line0, line), w->line_stride);
  x = dhc_lp_add(b, x, dhc_lp_mul(b, dhc_lp_add(b, w->inner0, k), w->inner_stride));
  x = dhc_lp_add(b, x, dhc_lp_mul(b, dhc_lp_udiv(b, tap, across), weight_stride(v, 2)));
  x = dhc_lp_add(b, x, dhc_lp_mul(b, dhc_lp_urem(b, tap, across), weight_stride(v, 3)));
  DhcLv to = dhc_lp_add(b, base, dhc_lp_add(b, dhc_lp_mulc(b, line, v->pitch), at));
  dhc_lp_copy(b, dhc_tile_memory(d), to, dhc_lp_at(b, d->cx.pointer[v->w.other], dhc_lp_select(b, there, x, none)), 1,
              dhc_lp_select(b, there, dhc_lp_i64(b, 1), none));
  dhc_lp_end(b);
}

static void copy_step(void *arg, DhcLv step, DhcLv n_steps, DhcLv base) {
  Image *v = arg;
  DhcLp *b = v->t.b;
  dhc_lp_if(b, dhc_lp_lt(b, step, n_steps));
  DhcLv channel0 = dhc_lp_mulc(b, step, v->channels);
  Weights w = weights_of(v, channel0);
  dhc_lp_if(b, dhc_lp_lt(b, dhc_lp_i64(b, 0), v->lane_valid));
  dhc_lp_if(b, v->planes_wide);
  copy_planes(v, channel0, base, true);
  dhc_lp_else(b);
  copy_planes(v, channel0, base, false);
  dhc_lp_end(b);
  dhc_lp_end(b);
  DhcLv whole = dhc_lp_le(b, dhc_lp_i64(b, w.lines), w.n_lines);
  whole = dhc_lp_and(b, whole, dhc_lp_le(b, dhc_lp_i64(b, w.inner / v->taps), w.n_inner));
  dhc_lp_if(b, dhc_lp_and(b, v->weights_wide, whole));
  copy_lines(v, &w, base, true);
  dhc_lp_else(b);
  dhc_lp_if(b, v->weights_wide);
  copy_lines(v, &w, base, false);
  dhc_lp_else(b);
  copy_elements(v, &w, base);
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_lp_commit(b);
}

/* What no copy writes is zero. */
static void clear_planes(Image *v) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv zero = dhc_lp_zero(b, DHC_F32, 4);
  for (int s = 0; s < d->stages; s++) {
    DhcLv i = dhc_lp_for(b, dhc_lp_mulc(b, d->tid, 4), dhc_lp_i64(b, (int64_t)v->channels * v->plane), 4 * (int64_t)d->threads);
    dhc_lp_store(b, dhc_tile_memory(d), dhc_lp_addc(b, i, (int64_t)s * stage_size(v) + v->image_at), zero, 16);
    dhc_lp_end(b);
  }
  dhc_lp_barrier(b);
}

/* ---- products ---------------------------------------------------------------------------------- */

static void multiply(void *arg, DhcLv base) {
  Image *v = arg;
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  int mt = dhc_tile_down(d), nt = dhc_tile_across(d), own = dhc_tile_own(d);
  DhcTileLane l = dhc_tile_lane(d);
  DhcLv xs = dhc_tile_operands(d, 2 * mt), ys = dhc_tile_operands(d, nt), x[4];
  /* of the group's channels, the thread's first; then every fourth */
  DhcLv k = dhc_lp_add(b, dhc_lp_mulc(b, l.group, dhc_tile_deep(d)), l.t);
  int out_step = v->backwards ? v->taps : v->pitch, k_step = v->backwards ? v->pitch : v->taps;
  DhcLv weight = dhc_lp_add(b, base, dhc_lp_mulc(b, dhc_lp_add(b, l.row, l.g), out_step));
  weight = dhc_lp_add(b, weight, dhc_lp_mulc(b, k, k_step));
  DhcLv pixel = dhc_lp_addc(b, dhc_lp_add(b, base, dhc_lp_mulc(b, k, v->plane)), v->image_at);
  DhcLv ky = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, v->w.down.taps), 1, 1);
  DhcLv down = v->backwards ? dhc_lp_sub(b, dhc_lp_i64(b, v->w.down.taps - 1), ky) : ky;
  weight = dhc_lp_add(b, weight, dhc_lp_mulc(b, ky, v->w.across.taps));
  pixel = dhc_lp_add(b, pixel, dhc_lp_mul(b, down, v->line));
  for (int kx = 0; kx < v->w.across.taps; kx++) {
    for (int i = 0; i < 2 * mt; i++) {
      for (int h = 0; h < own; h++)
        x[h] = dhc_lp_load(b, dhc_tile_memory(d), dhc_lp_addc(b, weight, (int64_t)8 * i * out_step + (int64_t)4 * h * k_step + kx), 1, 0);
      dhc_tile_take(d, xs, i, 2 * mt, x);
    }
    for (int j = 0; j < nt; j++) {
      DhcLv column = dhc_lp_cast(b, dhc_lp_load(b, v->column, dhc_lp_i64(b, j), 1, 0), DHC_I64), at = dhc_lp_add(b, pixel, column);
      for (int h = 0; h < own; h++)
        x[h] = dhc_lp_load(b, dhc_tile_memory(d), dhc_lp_addc(b, at, (int64_t)4 * h * v->plane + v->w.across.sign * kx), 1, 0);
      dhc_tile_take(d, ys, j, nt, x);
    }
    dhc_tile_products(d, 0, xs, ys);
  }
  dhc_lp_end(b);
}

/* ---- the kernel ---------------------------------------------------------------------------------- */

static const char *roles(Image *v, const DhcTplInput *in) {
  DhcTile *d = &v->t;
  if (!dhc_spec_window(in->spec, &v->w)) return "a convolution of another form";
  const char *why = dhc_tile_roles(d);
  if (why) return why;
  const DhcSpecNode *x = &in->spec->node[d->x.node];
  if (x->kind != DHC_SN_LOAD || x->operand != v->w.other) return "results that do not lie along the image's lines";
  v->channels = in->schedule->v[2];
  v->plane = in->schedule->v[7];
  d->target = 0;
  v->taps = (int)(v->w.down.taps * v->w.across.taps);
  v->backwards = v->w.across.sign < 0;
  if (!d->warps || v->channels != dhc_tile_deep(d) * d->wk || v->plane % 4 || v->plane > 4 * d->threads) DHC_BUG("schedule of images");
  return NULL;
}

/* The least pitch of such a rest. */
static int pitch_of(int elements, int rest, int of) {
  int n = (elements + 3) / 4 * 4;
  while (n % of != rest) n += 4;
  return n;
}

static int64_t lay_out(Image *v) {
  DhcTile *d = &v->t;
  v->pitch = v->backwards ? pitch_of(d->bm * v->taps, 8, 16) : pitch_of(v->channels * v->taps, 4, 8);
  v->image_at = (int64_t)v->pitch * (v->backwards ? v->channels : d->bm);
  d->stage = 4 * (v->image_at + (int64_t)v->channels * v->plane);
  int64_t results = dhc_tile_result_bytes(d);
  return results > d->stage * d->stages ? results : d->stage * d->stages;
}

void dhc_tpl_image(const DhcTplInput *in, DhcLp *b) {
  Image *v = DHC_NEW(b->arena, Image);
  DhcTile *d = &v->t;
  dhc_tile_look(d, in, b, false);
  const char *why = roles(v, in);
  if (why) {
    dhc_lp_refuse(b, "%s", why);
    return;
  }
  dhc_tile_block(d, lay_out(v));
  dhc_tile_open(d, in);
  DhcLv task = dhc_lp_tasks(b, plan_tiles(v));
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  d->tid = dhc_lp_thread(b);
  find_sizes(v);
  find_tile(v, task);
  find_widths(v);
  find_lane(v);
  clear_planes(v);
  dhc_tile_begin(d);
  const DhcTileSteps how = {.copy = copy_step, .ready = find_columns, .multiply = multiply, .arg = v};
  DhcLv n_steps = dhc_lp_ceildivc(b, d->cx.extent[v->w.channel], v->channels);
  dhc_tile_steps(d, &how, dhc_lp_i64(b, 0), n_steps);
  dhc_tile_results(d);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
}
