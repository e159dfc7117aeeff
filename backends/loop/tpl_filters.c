/* Template "filters" (GPUs, tf32): filter gradients of convolutions that walk their image by single pixels
 * (dhc_spec_filters), by matrix tiles of outs x channels for each tap, pixels as ks. Of tpl_tile.c it has roles and products.
 *
 * A step is a band of lines of one image, as many as hold v[2] pixels. A block brings to block memory the results'
 * gradients of its outs there, and what they see of its channels' planes, once for all taps; then it multiplies eight
 * pixels of a line by all taps. Lines of gradients are filled up with zeros to eights; lines of planes are as in
 * tpl_image.c, four zeros before each. What lies beside a line's end meets those zeros.
 *
 * Sums are long and results few: the tasks of a first phase are tiles by pieces of all steps, whose sums lie in the
 * shared memory, thread by thread; those of the second add them in order and store.
 *
 * Schedule: v[0] outs of a tile, v[1] channels, 8 a warp; v[2] pixels of a step; v[3], v[4] warps along outs and channels;
 * v[5] 1, + 16: operands in two parts; v[6] stages; v[7] tasks of the first phase. The size class' guard sees that a line
 * fits a step, and what a band sees a plane. */
#include "backends/loop/tpl_filters.h"

static dhc_dimprog op(const DhcFilters *v, int o, dhc_dimprog x, dhc_dimprog y) { return dhc_prog_op(v->t.b->arena, o, x, y); }
static dhc_dimprog number(const DhcFilters *v, int64_t n) { return dhc_prog_const(v->t.b->arena, n); }
static dhc_dimprog extent(const DhcFilters *v, int axis) { return dhc_tpl_extent_prog(&v->t.cx, axis); }

void dhc_filters_plan(DhcFilters *v) {
  const DhcTile *d = &v->t;
  dhc_dimprog one = number(v, 1), pad = number(v, v->four ? 4 : 8);
  dhc_dimprog wide = op(v, DHC_DIM_MUL, op(v, DHC_DIM_CEILDIV, extent(v, v->w.across.place), pad), pad);
  v->lines = op(v, DHC_DIM_FLOORDIV, number(v, d->bk), op(v, DHC_DIM_MAX, wide, one));
  v->lines = op(v, DHC_DIM_MAX, op(v, DHC_DIM_MIN, v->lines, extent(v, v->w.down.place)), one);
  v->bands = op(v, DHC_DIM_CEILDIV, extent(v, v->w.down.place), v->lines);
  v->outs = op(v, DHC_DIM_CEILDIV, extent(v, v->w.out), number(v, d->bm));
  v->tiles = op(v, DHC_DIM_MUL, v->outs, op(v, DHC_DIM_CEILDIV, extent(v, v->w.channel), number(v, v->channels)));
  /* as many pieces as make v[7] tasks, of two steps or more each where a step is little */
  dhc_dimprog steps = op(v, DHC_DIM_CEILDIV, op(v, DHC_DIM_MUL, extent(v, v->w.batch), v->bands), number(v, v->four ? 1 : 2));
  dhc_dimprog wanted = op(v, DHC_DIM_FLOORDIV, number(v, d->target), op(v, DHC_DIM_MAX, v->tiles, one));
  v->splits = op(v, DHC_DIM_MAX, op(v, DHC_DIM_MIN, wanted, steps), one);
}

static DhcLv stride(const DhcFilters *v, int operand, int term) { return v->t.cx.stride[operand][term]; }

/* All strides but the unit one are multiples of four. */
static DhcLv fours(const DhcFilters *v, int operand) {
  DhcLp *b = v->t.b;
  DhcLv yes = dhc_lp_aligned(b, v->t.cx.pointer[operand], 16);
  const DhcOperand *p = &v->t.cx.s->operand[operand];
  for (int t = 0; t < p->n_terms; t++)
    if (!p->term[t].unit) yes = dhc_lp_and(b, yes, dhc_tile_is_four(b, stride(v, operand, t)));
  return yes;
}

void dhc_filters_sizes(DhcFilters *v) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  v->n_lines = dhc_lp_prog(b, v->lines);
  v->n_bands = dhc_lp_prog(b, v->bands);
  const int pad = v->four ? 4 : 8;
  v->wide = dhc_lp_mulc(b, dhc_lp_ceildivc(b, d->cx.extent[v->w.across.place], pad), pad);
  v->line = dhc_lp_addc(b, dhc_lp_mulc(b, dhc_lp_ceildivc(b, d->cx.limit[v->w.image][v->w.across.term], 4), 4), 4);
  v->seen = dhc_lp_addc(b, v->n_lines, v->w.down.taps - 1);
  v->image_fours = fours(v, v->w.image);
  v->grad_fours = fours(v, v->w.other);
}

void dhc_filters_tile(DhcFilters *v, DhcLv tile) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv outs = dhc_lp_prog(b, v->outs);
  d->row0 = dhc_lp_mulc(b, dhc_lp_urem(b, tile, outs), d->bm);
  v->channel0 = dhc_lp_mulc(b, dhc_lp_udiv(b, tile, outs), v->channels);
}

/* ---- copies ------------------------------------------------------------------------------------------ */

static DhcFilterLane lane_of(DhcFilters *v, DhcLv lines, DhcLv width, int planes) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv across = dhc_lp_ceildivc(b, width, 4), each = dhc_lp_mul(b, lines, across), at = dhc_lp_urem(b, d->tid, each);
  DhcLv at_once = dhc_lp_udiv(b, dhc_lp_i64(b, d->threads), each);
  return (DhcFilterLane){.own = dhc_lp_udiv(b, d->tid, each), .at_once = at_once,
                .rounds = dhc_lp_udiv(b, dhc_lp_addc(b, at_once, planes - 1), at_once),
                .y = dhc_lp_udiv(b, at, across), .x = dhc_lp_mulc(b, dhc_lp_urem(b, at, across), 4)};
}

/* Planes of an operand: of the thread's part of the first, where it is in memory and how many of its four elements are
 * there; elements from plane to plane there and in block memory; planes that are there, of `count`. */
typedef struct Planes {
  int operand, count, pitch;
  DhcLv from, valid, stride, n, to;
} Planes;

static void copy_planes(DhcFilters *v, const DhcFilterLane *l, const Planes *p, bool wide) {
  DhcLp *b = v->t.b;
  DhcLv end = dhc_lp_min(b, p->n, dhc_lp_i64(b, p->count)), none = dhc_lp_i64(b, 0);
  DhcLpVar plane = dhc_lp_var(b, l->own);
  DhcLv first = dhc_lp_select(b, dhc_lp_lt(b, none, p->valid), dhc_lp_add(b, p->from, dhc_lp_mul(b, l->own, p->stride)), none);
  DhcLpVar from = dhc_lp_var(b, first), to = dhc_lp_var(b, dhc_lp_add(b, p->to, dhc_lp_mulc(b, l->own, p->pitch)));
  DhcLv apart = dhc_lp_select(b, dhc_lp_lt(b, none, p->valid), dhc_lp_mul(b, l->at_once, p->stride), none);
  dhc_lp_for_rounds(b, none, l->rounds, 1, 4);
  DhcLv own = dhc_lp_get(b, plane);
  dhc_lp_if(b, dhc_lp_lt(b, own, end));
  dhc_tile_copy_four(&v->t, p->operand, dhc_lp_get(b, to), dhc_lp_get(b, from), p->valid, wide);
  dhc_lp_end(b);
  dhc_lp_set(b, plane, dhc_lp_add(b, own, l->at_once));
  dhc_lp_set(b, from, dhc_lp_add(b, dhc_lp_get(b, from), apart));
  dhc_lp_set(b, to, dhc_lp_add(b, dhc_lp_get(b, to), dhc_lp_mulc(b, l->at_once, p->pitch)));
  dhc_lp_end(b);
}

static void copy_operand(DhcFilters *v, const DhcFilterLane *l, const Planes *p, DhcLv wide) {
  DhcLp *b = v->t.b;
  dhc_lp_if(b, dhc_lp_lt(b, l->own, l->at_once));
  dhc_lp_if(b, wide);
  copy_planes(v, l, p, true);
  dhc_lp_else(b);
  copy_planes(v, l, p, false);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* Of a line's `width` elements the four at x that are there, none where the line is not. */
static DhcLv valid_of(DhcLp *b, DhcLv y, DhcLv height, DhcLv x, DhcLv width) {
  DhcLv none = dhc_lp_i64(b, 0), left = dhc_lp_min(b, dhc_lp_max(b, dhc_lp_sub(b, width, x), none), dhc_lp_i64(b, 4));
  return dhc_lp_select(b, dhc_lp_and(b, dhc_lp_le(b, none, y), dhc_lp_lt(b, y, height)), left, none);
}

void dhc_filters_copy(DhcFilters *v, DhcLv step, DhcLv end, DhcLv grads, DhcLv image) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  const DhcTplCx *cx = &d->cx;
  DhcLv width = cx->extent[v->w.across.place], in_w = cx->limit[v->w.image][v->w.across.term];
  dhc_lp_if(b, dhc_lp_lt(b, step, end));
  DhcLv n = dhc_lp_udiv(b, step, v->n_bands), y0 = dhc_lp_mul(b, dhc_lp_urem(b, step, v->n_bands), v->n_lines);
  DhcFilterLane l = v->grad_lane;
  DhcLv y = dhc_lp_add(b, y0, l.y), from = dhc_lp_mul(b, n, stride(v, v->w.other, v->w.other_term[0]));
  from = dhc_lp_add(b, from, dhc_lp_mul(b, d->row0, stride(v, v->w.other, v->w.other_term[1])));
  from = dhc_lp_add(b, from, dhc_lp_add(b, dhc_lp_mul(b, y, stride(v, v->w.other, v->w.other_term[2])), l.x));
  DhcLv to = dhc_lp_add(b, dhc_lp_mul(b, l.y, v->wide), l.x);
  if (v->four) to = dhc_lp_mulc(b, dhc_lp_udiv(b, to, dhc_lp_i64(b, 4)), v->four);
  Planes g = {.operand = v->w.other, .count = d->bm, .pitch = v->four ? 4 : v->pitch, .from = from,
              .valid = valid_of(b, y, cx->extent[v->w.down.place], l.x, width), .stride = stride(v, v->w.other, v->w.other_term[1]),
              .n = dhc_lp_sub(b, cx->extent[v->w.out], d->row0),
              .to = dhc_lp_add(b, grads, to)};
  copy_operand(v, &l, &g, v->grad_fours);
  l = v->image_lane;
  y = dhc_lp_add(b, dhc_lp_add(b, y0, l.y), cx->offset[v->w.image][v->w.down.term]);
  from = dhc_lp_mul(b, n, stride(v, v->w.image, v->w.batch_term));
  from = dhc_lp_add(b, from, dhc_lp_mul(b, v->channel0, stride(v, v->w.image, v->w.channel_term)));
  from = dhc_lp_add(b, from, dhc_lp_add(b, dhc_lp_mul(b, y, stride(v, v->w.image, v->w.down.term)), l.x));
  Planes p = {.operand = v->w.image, .count = v->channels, .pitch = v->plane, .from = from,
              .valid = valid_of(b, y, cx->limit[v->w.image][v->w.down.term], l.x, in_w),
              .stride = stride(v, v->w.image, v->w.channel_term), .n = dhc_lp_sub(b, cx->extent[v->w.channel], v->channel0),
              .to = dhc_lp_addc(b, dhc_lp_add(b, image, dhc_lp_add(b, dhc_lp_mul(b, l.y, v->line), l.x)), 4)};
  copy_operand(v, &l, &p, v->image_fours);
  dhc_lp_end(b);
  dhc_lp_commit(b);
}

static void copy_step(void *arg, DhcLv step, DhcLv end, DhcLv base) {
  DhcFilters *v = arg;
  dhc_filters_copy(v, step, end, base, dhc_lp_addc(v->t.b, base, v->image_at));
}

/* What no copy writes is zero. */
static void clear(DhcFilters *v) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv i = dhc_lp_for(b, dhc_lp_mulc(b, d->tid, 4), dhc_lp_i64(b, d->stage / 4 * d->stages), 4 * (int64_t)d->threads);
  dhc_lp_store(b, dhc_tile_memory(d), i, dhc_lp_zero(b, DHC_F32, 4), 16);
  dhc_lp_end(b);
  dhc_lp_barrier(b);
}

/* ---- products ----------------------------------------------------------------------------------------- */

/* The warp's first channel in the tile. */
static DhcLv warp_channel(DhcFilters *v, const DhcTileLane *l) {
  DhcTile *d = &v->t;
  return dhc_lp_mulc(d->b, dhc_lp_udiv(d->b, l->col, dhc_lp_i64(d->b, d->bn / d->wc)), 8);
}

static void multiply(void *arg, DhcLv base) {
  DhcFilters *v = arg;
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  int mt = dhc_tile_down(d), own = dhc_tile_own(d), across = (int)v->w.across.taps;
  DhcTileLane l = dhc_tile_lane(d);
  DhcLv xs = dhc_tile_operands(d, 2 * mt), ys = dhc_tile_operands(d, v->taps), x[4];
  DhcLv out = dhc_lp_add(b, dhc_lp_add(b, base, l.t), dhc_lp_mulc(b, dhc_lp_add(b, l.row, l.g), v->pitch));
  DhcLv channel = dhc_lp_add(b, warp_channel(v, &l), l.g), corner = dhc_lp_add(b, l.t, d->cx.offset[v->w.image][v->w.across.term]);
  corner = dhc_lp_addc(b, dhc_lp_add(b, dhc_lp_add(b, base, corner), dhc_lp_mulc(b, channel, v->plane)), v->image_at + 4);
  DhcLv y = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), v->n_lines, 1, 1);
  DhcLv row = dhc_lp_add(b, out, dhc_lp_mul(b, y, v->wide)), top = dhc_lp_add(b, corner, dhc_lp_mul(b, y, v->line));
  DhcLv eight = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), v->wide, 8, 1);
  for (int i = 0; i < 2 * mt; i++) {
    for (int h = 0; h < own; h++)
      x[h] = dhc_lp_load(b, dhc_tile_memory(d), dhc_lp_addc(b, dhc_lp_add(b, row, eight), (int64_t)8 * i * v->pitch + 4 * h), 1, 0);
    dhc_tile_take(d, xs, i, 2 * mt, x);
  }
  for (int ky = 0; ky < v->w.down.taps; ky++) {
    DhcLv at = dhc_lp_add(b, dhc_lp_add(b, top, eight), dhc_lp_mulc(b, v->line, ky));
    for (int kx = 0; kx < across; kx++) {
      for (int h = 0; h < own; h++) x[h] = dhc_lp_load(b, dhc_tile_memory(d), dhc_lp_addc(b, at, kx + 4 * h), 1, 0);
      dhc_tile_take(d, ys, ky * across + kx, v->taps, x);
    }
  }
  dhc_tile_products(d, 0, xs, ys);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* ---- the kernel ------------------------------------------------------------------------------------------ */

DhcLv dhc_filters_piece_at(DhcFilters *v, DhcLv piece, DhcLv q, DhcLv thread) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv sums = dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_add(b, dhc_lp_mul(b, d->slot, d->n_splits), piece), v->n_sums), q);
  return dhc_lp_add(b, dhc_lp_mulc(b, sums, d->threads), thread);
}

void dhc_filters_piece(DhcFilters *v, DhcLv task, DhcLv *from, DhcLv *to) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  d->slot = dhc_lp_udiv(b, task, d->n_splits);
  d->piece = dhc_lp_urem(b, task, d->n_splits);
  dhc_filters_tile(v, d->slot);
  DhcLv all = dhc_lp_mul(b, d->cx.extent[v->w.batch], v->n_bands);
  DhcLv each = dhc_lp_udiv(b, dhc_lp_addc(b, dhc_lp_add(b, all, d->n_splits), -1), d->n_splits);
  *from = dhc_lp_mul(b, d->piece, each), *to = dhc_lp_min(b, all, dhc_lp_add(b, *from, each));
  v->grad_lane = lane_of(v, v->n_lines, d->cx.extent[v->w.across.place], d->bm);
  v->image_lane = lane_of(v, v->seen, d->cx.limit[v->w.image][v->w.across.term], v->channels);
}

static void add_up(DhcFilters *v, DhcLv task) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv first, end;
  dhc_filters_piece(v, task, &first, &end);
  clear(v);
  dhc_tile_begin(d);
  dhc_tile_steps(d, &(DhcTileSteps){.copy = copy_step, .multiply = multiply, .arg = v}, first, end);
  dhc_lp_wait(b, 0);
  DhcLv q = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, dhc_tile_n_sums(d)), 1);
  dhc_lp_store(b, dhc_lp_shared(b, DHC_F32), dhc_filters_piece_at(v, d->piece, q, d->tid), dhc_lp_load(b, d->sum[0], q, 1, 0), 0);
  dhc_lp_end(b);
}

static DhcLv provide(DhcTplCx *cx, int n, void *arg) {
  const DhcFilters *v = arg;
  (void)cx;
  return n == v->t.fold[0] ? v->value : NULL;
}

/* Sum number `rest` of all threads: q = (matrix tile down * taps + tap) * 4 + place in it. */
static void store(DhcFilters *v, DhcLv rest) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  DhcLv n = dhc_lp_i64(b, dhc_tile_n_sums(d)), q = dhc_lp_urem(b, rest, n), four = dhc_lp_i64(b, 4), two = dhc_lp_i64(b, 2);
  d->slot = dhc_lp_udiv(b, rest, n);
  dhc_filters_tile(v, d->slot);
  DhcTileLane l = dhc_tile_lane(d);
  DhcLv taps = dhc_lp_i64(b, v->taps), across = dhc_lp_i64(b, v->w.across.taps);
  DhcLv e = dhc_lp_urem(b, q, four), tile = dhc_lp_udiv(b, q, four);
  DhcLv tap = dhc_lp_urem(b, tile, taps), down = dhc_lp_udiv(b, tile, taps);
  DhcLv out = dhc_lp_add(b, dhc_lp_add(b, l.row, l.g), dhc_lp_add(b, dhc_lp_mulc(b, down, 16), dhc_lp_mulc(b, dhc_lp_udiv(b, e, two), 8)));
  DhcLv channel = dhc_lp_add(b, warp_channel(v, &l), dhc_lp_add(b, dhc_lp_mulc(b, l.t, 2), dhc_lp_urem(b, e, two)));
  out = dhc_lp_add(b, out, d->row0);
  channel = dhc_lp_add(b, channel, v->channel0);
  DhcLpVar sum = dhc_lp_var(b, dhc_lp_float(b, DHC_F32, 0));
  DhcLv p = dhc_lp_for_rounds(b, dhc_lp_i64(b, 0), d->n_splits, 1, 4);
  dhc_lp_set(b, sum, dhc_lp_add(b, dhc_lp_get(b, sum), dhc_lp_load(b, dhc_lp_shared(b, DHC_F32), dhc_filters_piece_at(v, p, q, d->tid), 1, 0)));
  dhc_lp_end(b);
  v->value = dhc_lp_get(b, sum);
  DhcLv in = dhc_lp_and(b, dhc_lp_lt(b, out, d->cx.extent[v->w.out]), dhc_lp_lt(b, channel, d->cx.extent[v->w.channel]));
  dhc_lp_if(b, in);
  dhc_tpl_bind(&d->cx, v->w.out, out);
  dhc_tpl_bind(&d->cx, v->w.channel, channel);
  dhc_tpl_bind(&d->cx, v->w.down.tap, dhc_lp_udiv(b, tap, across));
  dhc_tpl_bind(&d->cx, v->w.across.tap, dhc_lp_urem(b, tap, across));
  dhc_tpl_store_all(&d->cx);
  dhc_lp_end(b);
}

void dhc_filters_phases(DhcFilters *v, dhc_dimprog second, DhcFiltersPhase *first_phase, DhcFiltersPhase *second_phase) {
  DhcTile *d = &v->t;
  DhcLp *b = d->b;
  d->cx.provide = provide;
  d->cx.provide_arg = v;
  dhc_dimprog pieces = op(v, DHC_DIM_MUL, v->tiles, v->splits);
  dhc_lp_share(b, op(v, DHC_DIM_MUL, pieces, number(v, (int64_t)4 * v->n_sums * d->threads)));
  d->n_splits = dhc_lp_prog(b, v->splits);
  DhcLv first = dhc_lp_prog(b, pieces), task = dhc_lp_phases(b, pieces, second);
  DhcTplMark mark = dhc_tpl_push(&d->cx);
  d->tid = dhc_lp_thread(b);
  dhc_filters_sizes(v);
  dhc_lp_if(b, dhc_lp_lt(b, task, first));
  first_phase(v, task);
  dhc_lp_else(b);
  DhcTplMark inner = dhc_tpl_push(&d->cx);
  second_phase(v, dhc_lp_sub(b, task, first));
  dhc_tpl_pop(&d->cx, &inner);
  dhc_lp_end(b);
  dhc_tpl_pop(&d->cx, &mark);
  dhc_lp_end(b);
}

static const char *roles(DhcFilters *v, const DhcTplInput *in) {
  DhcTile *d = &v->t;
  if (!dhc_spec_filters(in->spec, &v->w)) return "filter gradients of another form";
  const char *why = dhc_tile_roles(d);
  if (why) return why;
  const DhcSpecNode *x = &in->spec->node[d->x.node];
  if (x->kind != DHC_SN_LOAD || x->operand != v->w.other) return "results that do not lie along taps";
  v->channels = d->bn;
  v->taps = (int)(v->w.down.taps * v->w.across.taps);
  d->bn = v->channels * v->taps;
  if (!d->warps || d->bf16 || d->wk != 1 || v->channels != 8 * d->wc || d->bk % 32 || !d->target) DHC_BUG("schedule of filters");
  v->pitch = d->bk + 4;
  v->plane = d->bk + DHC_FILTERS_PLANE;
  v->image_at = (int64_t)v->pitch * d->bm;
  d->stage = 4 * (v->image_at + (int64_t)v->channels * v->plane);
  return NULL;
}

void dhc_tpl_filters(const DhcTplInput *in, DhcLp *b) {
  DhcFilters *v = DHC_NEW(b->arena, DhcFilters);
  DhcTile *d = &v->t;
  dhc_tile_look(d, in, b, false);
  const char *why = roles(v, in);
  if (why) {
    dhc_lp_refuse(b, "%s", why);
    return;
  }
  dhc_tile_block(d, d->stage * d->stages);
  dhc_tile_open(d, in);
  dhc_filters_plan(v);
  v->n_sums = dhc_tile_n_sums(d);
  dhc_filters_phases(v, op(v, DHC_DIM_MUL, v->tiles, number(v, v->n_sums)), add_up, store);
}
