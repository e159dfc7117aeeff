/* Template "conv": convolution and its input gradient, by planes.
 *
 * One DOT fold over x (a load with one or two guarded, spatial terms) and w (a plain load),
 * contracted over channels, then the taps of the first, then of the last dimension. For a
 * block of output rows of some images, a task copies x to scratch as
 *
 *   plane[channel][tap of the last dimension][row][place]      zeros where guarded off
 *
 * so that the pixels of all rows and images lie in one run p, and the tap (ky, kx) of pixel
 * p is plane[c][kx][p + ky * row]: vectors over p meet neither edges nor masks. Images of a
 * group lie below one another and share the zero rows between them. With a stride s the input
 * is taken apart into every s-th row (and column), which taps shift by whole rows again. Where many
 * taps, one channel or one row make copies for each tap dear, planes have no kx: rows are as long as taps
 * reach, and what lies behind a row's last pixel is computed in vain (by_taps in tpl_conv.h). Rows of which a vector would hold
 * several are copied element by element, from a list that serves all channels.
 * Of a division q (the input gradient of a stride) results are q x q images, the places of one phase
 * each, and a phase's list holds the products that meet something; blocks of the product rule begin where they
 * would among all.
 * A tile is `rows` output channels times `vectors` vectors of pixels in registers;
 *
 *   task: outer index, group of images, block of rows, chunk of channels
 *     fill the planes
 *     for each tile of channels (numbers clamped to the last):
 *       for each tile of pixels, for c, ky, kx:  acc += w[m, c, ky, kx] * plane[c][kx][p + ...]
 *       tile to scratch; for each channel, image, row, vector: the epilogue, stores
 *
 * Folds over window axes (pooling) are epilogue: their elements come from the tile.
 *
 * Schedule: v[0] rows of a tile, v[1] vectors, v[2] lanes, v[3] tasks that a kernel should
 * at least be cut into (by channels); images of up to v[4] pixels are grouped, up to v[5] pixels; a task holds planes of v[6]
 * elements, if v[7] rows and those that they reach allow. */
#include "backends/loop/tpl_conv.h"

/* ---- the tile ------------------------------------------------------------------------------ */

typedef struct Tile {
  DhcLv w[DHC_CONV_MAX_ROWS];         /* row r of w, c and taps 0, r < half */
  DhcLv second, second_rows; /* elements and rows from row r to the r-th of the second half */
  DhcLpVar acc[DHC_CONV_MAX_ROWS * DHC_CONV_MAX_VECTORS];
  DhcLv results; /* of the phase */
} Tile;

/* The products of a block for `vectors` vectors of pixels from p on, to the results. */
static void pixel_tile(DhcConv *v, Tile *t, const DhcTplProducts *products, DhcLv p, int vectors) {
  DhcLp *b = v->b;
  DhcLv start = dhc_lp_at(b, v->planes, p), vec[DHC_CONV_MAX_VECTORS];
  for (int i = 0; i < v->rows * vectors; i++) t->acc[i] = dhc_lp_var(b, dhc_lp_zero(b, DHC_F32, v->lanes));
  DhcLv k = dhc_tpl_products_chain(b, products);
  DhcLv x_at = dhc_lp_load(b, v->taps, k, 1, 0);
  DhcLv w_at = dhc_lp_load(b, v->taps, dhc_lp_addc(b, k, 1), 1, 0);
  if (v->listed == 3) dhc_lp_prefetch(b, t->w[0], dhc_lp_load(b, v->taps, dhc_lp_addc(b, k, 2), 1, 0));
  for (int i = 0; i < vectors; i++)
    vec[i] = dhc_lp_load(b, start, dhc_lp_addc(b, x_at, (int64_t)i * v->lanes), v->lanes, 0);
  for (int r = 0; r < v->rows; r++) {
    DhcLv from = r < v->half ? w_at : dhc_lp_add(b, w_at, t->second);
    DhcLv w = dhc_lp_splat(b, dhc_lp_load(b, t->w[r % v->half], from, 1, 0), v->lanes);
    for (int i = 0; i < vectors; i++) {
      DhcLpVar acc = t->acc[r * vectors + i];
      dhc_lp_set(b, acc, dhc_lp_fma(b, w, vec[i], dhc_lp_get(b, acc)));
    }
  }
  dhc_lp_end(b);
  for (int r = 0; r < v->rows; r++)
    for (int i = 0; i < vectors; i++) {
      DhcLv row = dhc_lp_i64(b, r % v->half);
      if (r >= v->half) row = dhc_lp_add(b, row, t->second_rows);
      DhcLv at = dhc_lp_add(b, dhc_lp_mul(b, v->Result, row), dhc_lp_addc(b, p, (int64_t)i * v->lanes));
      dhc_lp_store(b, t->results, at, dhc_lp_get(b, t->acc[r * vectors + i]), 0);
    }
}

/* All pixels: tiles of `wide` vectors up to pixel `whole`, then narrow ones, or one of a single vector. starts: where the phase's blocks begin; NULL: there are
 * no phases. */
static void pixel_tiles(DhcConv *v, Tile *t, DhcLv starts, DhcLv whole, int narrow) {
  DhcLp *b = v->b;
  int64_t wide = v->vectors;
  DhcLv zero = dhc_lp_i64(b, 0), n_wide = dhc_lp_udiv(b, whole, dhc_lp_i64(b, wide * v->lanes)), lanes = dhc_lp_i64(b, v->lanes);
  DhcLv single = dhc_lp_le(b, v->n_pixels, lanes), less = dhc_lp_i64(b, narrow * v->lanes); /* nothing but one vector */
  if (narrow > 1) less = dhc_lp_select(b, single, lanes, less);
  DhcLv rest = dhc_lp_udiv(b, dhc_lp_addc(b, dhc_lp_add(b, dhc_lp_sub(b, v->n_pixels, whole), less), -1), less);
  DhcLv i = dhc_lp_for(b, zero, dhc_lp_add(b, n_wide, dhc_lp_max(b, rest, zero)), 1), is_wide = dhc_lp_lt(b, i, n_wide);
  DhcLv width = dhc_lp_select(b, is_wide, dhc_lp_i64(b, wide * v->lanes), less);
  DhcLv behind = dhc_lp_add(b, whole, dhc_lp_mul(b, dhc_lp_sub(b, i, n_wide), width));
  DhcLv p = dhc_lp_select(b, is_wide, dhc_lp_mul(b, i, width), behind);
  DhcTplProducts products = {.from = zero, .to = v->n_taps, .starts = starts};
  if (starts) {
    DhcLv none = dhc_lp_eq(b, dhc_lp_load(b, starts, zero, 1, 0), dhc_lp_load(b, starts, v->n_blocks, 1, 0));
    products.to = dhc_lp_select(b, none, zero, v->n_taps);
  }
  dhc_tpl_products_begin(b, &products, v->rows, v->vectors * v->lanes, v->lanes, v->n_taps, v->listed);
  dhc_lp_if(b, is_wide);
  pixel_tile(v, t, &products, p, v->vectors);
  dhc_lp_else(b);
  if (narrow > 1) {
    dhc_lp_if(b, single);
    pixel_tile(v, t, &products, p, 1);
    dhc_lp_else(b);
  }
  pixel_tile(v, t, &products, p, narrow);
  if (narrow > 1) dhc_lp_end(b);
  dhc_lp_end(b);
  DhcLv rows = dhc_lp_i64(b, v->half);
  if (v->half < v->rows) rows = dhc_lp_add(b, rows, t->second_rows);
  DhcTplSums sums = {.at = dhc_lp_at(b, t->results, p), .row = v->Result, .rows = rows, .width = width};
  dhc_tpl_products_end(b, &products, sums);
  dhc_lp_end(b);
}

/* Elements [from, to) of a row of w, `lanes` at a time, in f32. */
static void widen_row(DhcConv *v, DhcLv to_row, DhcLv from_row, DhcLv scale, DhcLv from, DhcLv to, int lanes) {
  DhcLp *b = v->b;
  DhcLv k = dhc_lp_for(b, from, to, lanes);
  DhcLv x = dhc_lp_cast(b, dhc_lp_load(b, from_row, k, lanes, 0), DHC_F32);
  if (scale) x = dhc_lp_mul(b, x, lanes > 1 ? dhc_lp_splat(b, scale, lanes) : scale);
  dhc_lp_store(b, to_row, k, x, 0);
  dhc_lp_end(b);
}

void dhc_conv_widen(DhcConv *v, DhcLv m0, DhcLv last) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), lanes = dhc_lp_i64(b, v->lanes);
  DhcLv base = dhc_lp_at(b, v->cx.pointer[v->ow], dhc_tpl_base(&v->cx, v->ow));
  DhcLv whole = dhc_lp_mul(b, dhc_lp_udiv(b, v->row, lanes), lanes);
  DhcLv n = dhc_lp_min(b, dhc_lp_i64(b, v->rows), dhc_lp_addc(b, dhc_lp_sub(b, last, m0), 1));
  DhcLv r = dhc_lp_for(b, zero, n, 1);
  DhcLv m = dhc_lp_add(b, m0, r);
  DhcLv from = dhc_lp_at(b, base, dhc_lp_mul(b, m, dhc_space_step(&v->cx, v->ow, v->m)));
  DhcLv to = dhc_lp_at(b, v->weights, dhc_lp_mul(b, r, v->row)), scale = v->cx.scale[v->ow];
  if (scale) scale = dhc_lp_load(b, scale, v->m < 0 ? v->cx.index[v->s->operand[v->ow].term[0].axis[0]] : m, 1, 0);
  widen_row(v, to, from, scale, zero, whole, v->lanes);
  widen_row(v, to, from, scale, whole, v->row, 1);
  dhc_lp_end(b);
}

static void channel_tile(DhcConv *v, DhcLv m0) {
  DhcLp *b = v->b;
  Tile t;
  DhcLv base = dhc_lp_at(b, v->cx.pointer[v->ow], dhc_tpl_base(&v->cx, v->ow));
  DhcLv step = dhc_space_step(&v->cx, v->ow, v->m), last = dhc_lp_addc(b, v->M, -1);
  if (v->narrow) {
    dhc_conv_widen(v, m0, last);
    base = v->weights;
    step = v->row;
    last = dhc_lp_sub(b, last, m0);
  }
  for (int r = 0; r < v->half; r++) {
    DhcLv m = dhc_lp_min(b, dhc_lp_addc(b, v->narrow ? dhc_lp_i64(b, 0) : m0, r), last);
    t.w[r] = dhc_lp_at(b, base, dhc_lp_mul(b, m, step));
  }
  /* the second half ends with the last channel, overlapping the first where few are left:
   * half as many pointers leave registers for everything in the loop */
  DhcLv zero = dhc_lp_i64(b, 0), half = dhc_lp_i64(b, v->half);
  DhcLv rest = dhc_lp_sub(b, dhc_lp_sub(b, v->M, m0), half);
  t.second_rows = dhc_lp_max(b, dhc_lp_min(b, rest, half), zero);
  t.second = dhc_lp_mul(b, t.second_rows, step);
  /* the rest in tiles of 2 vectors where 3 are wide (a single one waits for its own sums):
   * as many as make what is left a multiple of 3 */
  int64_t wide = v->vectors, narrow = wide == 3 ? 2 : 1;
  DhcLv n = dhc_lp_ceildivc(b, v->n_pixels, v->lanes);
  DhcLv left = dhc_lp_urem(b, n, dhc_lp_i64(b, wide));
  if (narrow == 2) left = dhc_lp_urem(b, dhc_lp_mulc(b, left, 4), dhc_lp_i64(b, 6));
  DhcLv whole = dhc_lp_mulc(b, dhc_lp_max(b, dhc_lp_sub(b, n, left), zero), v->lanes), starts = NULL;
  t.results = v->results;
  if (dhc_conv_has_phases(v)) {
    DhcLv phase = dhc_lp_for(b, zero, dhc_lp_i64(b, v->y.phases * v->x.phases), 1);
    starts = dhc_lp_at(b, v->starts, dhc_lp_mul(b, phase, dhc_lp_addc(b, v->n_blocks, 1)));
    t.results = dhc_lp_at(b, v->results, dhc_lp_mul(b, phase, v->Plane));
  }
  pixel_tiles(v, &t, starts, whole, (int)narrow);
  if (starts) dhc_lp_end(b);
}

/* ---- epilogue --------------------------------------------------------------------------------- */

/* Index of a place: out and window axes as bound. */
static DhcLv place_of(DhcConv *v, const DhcSpace *d, DhcLv out0) {
  DhcLp *b = v->b;
  DhcLv p = dhc_lp_i64(b, 0);
  if (d->out >= 0) p = dhc_lp_mulc(b, dhc_lp_sub(b, v->cx.index[d->out], out0), d->per_out);
  if (d->window >= 0) p = dhc_lp_add(b, p, v->cx.index[d->window]);
  return p;
}

/* Every second element from `at` on. */
static DhcLv evens(DhcConv *v, DhcLv at) {
  DhcLp *b = v->b;
  int even[64];
  for (int l = 0; l < v->lanes; l++) even[l] = 2 * l;
  DhcLv lo = dhc_lp_load(b, v->results, at, v->lanes, 0);
  DhcLv hi = dhc_lp_load(b, v->results, dhc_lp_addc(b, at, v->lanes), v->lanes, 0);
  return dhc_lp_shuffle(b, lo, hi, even, v->lanes);
}

/* Places x, x + per_out, … of a row whose first lies at `at`: of all phases in turn; x is a multiple of the lanes where per_out is 1. */
static DhcLv woven(DhcConv *v, DhcLv at, DhcLv x) {
  DhcLp *b = v->b;
  int lanes = v->lanes;
  DhcLv phases = dhc_lp_i64(b, v->x.phases);
  if (v->x.phases == v->x.d.per_out) {
    at = dhc_lp_add(b, at, dhc_lp_mul(b, dhc_lp_urem(b, x, phases), v->Plane));
    return dhc_lp_load(b, v->results, dhc_lp_add(b, at, dhc_lp_udiv(b, x, phases)), lanes, 0);
  }
  if (v->x.phases == 2 && v->x.d.per_out == 1 && v->x.d.window < 0) {
    int both[64];
    for (int l = 0; l < lanes; l++) both[l] = l / 2 + (l % 2 ? lanes : 0);
    at = dhc_lp_add(b, at, dhc_lp_udiv(b, x, phases));
    DhcLv even = dhc_lp_load(b, v->results, at, lanes, 0), odd = dhc_lp_load(b, v->results, dhc_lp_add(b, at, v->Plane), lanes, 0);
    return dhc_lp_shuffle(b, even, odd, both, lanes);
  }
  DhcLv place = dhc_lp_mul(b, dhc_lp_iota(b, DHC_I64, lanes), dhc_lp_i64(b, v->x.d.per_out));
  place = dhc_lp_add(b, place, x);
  DhcLv i = dhc_lp_ew2(b, DHC_OP_FLOORDIV, place, phases);
  DhcLv r = dhc_lp_sub(b, place, dhc_lp_mul(b, i, phases));
  return dhc_lp_gather(b, dhc_lp_at(b, v->results, at), dhc_lp_add(b, i, dhc_lp_mul(b, r, v->Plane)), NULL);
}

/* The DOT node at the bound axes: from the tile's results, a vector over the last dimension. */
static DhcLv result_vector(DhcTplCx *cx, int n, void *arg) {
  DhcConv *v = arg;
  DhcLp *b = cx->b;
  if (n != v->node) return NULL;
  DhcLv row = place_of(v, &v->y.d, v->y0), image = dhc_lp_i64(b, 0), phase = image;
  if (v->image >= 0) image = dhc_lp_mul(b, dhc_lp_sub(b, cx->index[v->image], v->image0), v->pitch);
  if (v->y.phases > 1) {
    DhcLv phases = dhc_lp_i64(b, v->y.phases);
    phase = dhc_lp_mul(b, dhc_lp_urem(b, row, phases), dhc_lp_mulc(b, v->Plane, v->x.phases));
    row = dhc_lp_udiv(b, row, phases);
  }
  DhcLv at = dhc_lp_add(b, dhc_lp_mul(b, dhc_lp_add(b, row, image), v->W), phase);
  at = dhc_lp_add(b, at, dhc_lp_mul(b, v->tile_row, v->Result));
  DhcLv x = place_of(v, &v->x.d, dhc_lp_i64(b, 0));
  if (v->x.phases > 1) return woven(v, at, x);
  at = dhc_lp_add(b, at, x);
  int lanes = v->lanes;
  if (v->x.d.per_out == 1) return dhc_lp_load(b, v->results, at, lanes, 0);
  if (v->x.d.per_out == 2) return evens(v, at);
  DhcLv lane = dhc_lp_mul(b, dhc_lp_iota(b, DHC_I64, lanes), dhc_lp_i64(b, v->x.d.per_out));
  return dhc_lp_gather(b, v->results, dhc_lp_add(b, lane, at), NULL);
}

/* May rows that follow one another in memory be stored as one? Not if the indices
 * themselves matter, or an operand has one of the two dimensions only. *cond: whether they do
 * follow one another, in every operand. */
static bool may_join_rows(DhcConv *v, DhcLv *cond) {
  DhcLp *b = v->b;
  const DhcSpec *s = v->s;
  *cond = NULL;
  if (v->y.d.out < 0 || v->y.d.window >= 0 || v->x.d.window >= 0 || dhc_conv_has_phases(v)) return false;
  for (int n = 0; n < s->n_nodes; n++)
    if (v->needed[n] && s->node[n].kind == DHC_SN_AXIS &&
        (s->node[n].operand == v->y.d.out || s->node[n].operand == v->x.d.out))
      return false;
  uint32_t both = dhc_space_bit(v->y.d.out) | dhc_space_bit(v->x.d.out);
  for (int o = 0; o < s->n_operands; o++) {
    uint32_t has = dhc_tpl_operand_axes(&v->cx, o) & both;
    if (o == v->ox || o == v->ow || !has) continue;
    DhcLv y = dhc_tpl_step(&v->cx, o, v->y.d.out), x = dhc_tpl_step(&v->cx, o, v->x.d.out);
    if (has != both || !y || !x) return false;
    DhcLv follows = dhc_lp_eq(b, y, dhc_lp_mul(b, x, v->W));
    *cond = *cond ? dhc_lp_and(b, *cond, follows) : follows;
  }
  if (*cond) *cond = dhc_lp_and(b, *cond, dhc_lp_eq(b, v->W, dhc_space_outs(&v->cx, &v->x.d))); /* rows of planes may have a tail */
  return *cond != NULL;
}

/* Columns [0, n) of the bound row. */
static void store_row(DhcConv *v, DhcLv n) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0);
  DhcLv i = dhc_lp_for(b, zero, n, v->lanes);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  dhc_tpl_bind_vector(&v->cx, v->x.d.out, i, v->lanes, dhc_lp_tail(b, i, n, v->lanes));
  int first = dhc_spec_n_inputs(v->s);
  for (int o = first; o < v->s->n_operands; o++) dhc_tpl_eval(&v->cx, v->s->operand[o].stored);
  for (int o = first; o < v->s->n_operands; o++) dhc_tpl_store(&v->cx, o);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

/* A loop over an axis, bound inside, or one round if there is none. */
static DhcTplMark open_axis(DhcConv *v, int axis, DhcLv lo, DhcLv hi) {
  DhcLv i = dhc_lp_for(v->b, lo, hi, 1);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  if (axis >= 0) dhc_tpl_bind(&v->cx, axis, i);
  dhc_tpl_hoist(&v->cx, v->needed);
  return mark;
}

static void close_axis(DhcConv *v, const DhcTplMark *mark) {
  dhc_tpl_pop(&v->cx, mark);
  dhc_lp_end(v->b);
}

void dhc_conv_epilogue(DhcConv *v, DhcLv m0, DhcLv m_end) {
  DhcLp *b = v->b;
  DhcLv end = dhc_lp_min(b, dhc_lp_addc(b, m0, v->rows), m_end);
  DhcLv m = dhc_lp_for(b, m0, end, 1);
  DhcTplMark in_m = dhc_tpl_push(&v->cx);
  if (v->m >= 0) dhc_tpl_bind(&v->cx, v->m, m);
  v->tile_row = dhc_lp_sub(b, m, m0);
  dhc_tpl_hoist(&v->cx, v->needed);
  DhcTplMark in_image = open_axis(v, v->image, v->image0, dhc_lp_add(b, v->image0, v->n_images));
  DhcLv join, y1 = v->y1, columns = v->cx.extent[v->x.d.out];
  if (may_join_rows(v, &join)) {
    columns = dhc_lp_select(b, join, dhc_lp_mul(b, columns, dhc_lp_sub(b, y1, v->y0)), columns);
    y1 = dhc_lp_select(b, join, dhc_lp_min(b, y1, dhc_lp_addc(b, v->y0, 1)), y1);
  }
  DhcTplMark in_y = open_axis(v, v->y.d.out, v->y0, y1);
  store_row(v, columns);
  close_axis(v, &in_y);
  close_axis(v, &in_image);
  close_axis(v, &in_m);
}

/* ---- the kernel --------------------------------------------------------------------------------- */

static void task_body(DhcConv *v, DhcLv m_first, DhcLv m_end) {
  DhcLp *b = v->b;
  v->taps = dhc_lp_scratch(b, DHC_I64, 0);
  DhcLv behind = dhc_lp_at(b, dhc_lp_scratch(b, DHC_F32, 0), dhc_lp_prog(b, v->list));
  v->starts = dhc_lp_at(b, v->taps, dhc_lp_udiv(b, dhc_lp_prog(b, v->list), dhc_lp_i64(b, 2)));
  behind = dhc_lp_at(b, behind, dhc_lp_prog(b, v->first));
  v->element = dhc_lp_at(b, v->starts, dhc_lp_udiv(b, dhc_lp_prog(b, v->first), dhc_lp_i64(b, 2)));
  v->planes = dhc_lp_at(b, behind, dhc_lp_prog(b, v->elements));
  v->results = dhc_lp_at(b, v->planes, dhc_lp_mul(b, v->C, dhc_lp_mulc(b, v->Plane, v->n_planes)));
  dhc_conv_fill(v);
  dhc_conv_list(v);
  if (v->narrow) {
    DhcLv n = dhc_lp_addc(b, dhc_lp_mulc(b, v->Result, v->rows), (int64_t)v->lanes * (v->x.d.per_out + 2));
    v->weights = dhc_lp_at(b, v->results, n);
  }
  DhcLv m0 = dhc_lp_for(b, m_first, m_end, v->rows);
  channel_tile(v, m0);
  dhc_conv_epilogue(v, m0, m_end);
  dhc_lp_end(b);
}

static dhc_dimprog pc(DhcConv *v, int64_t x) { return dhc_prog_const(v->b->arena, x); }
static dhc_dimprog op(DhcConv *v, int o, dhc_dimprog x, dhc_dimprog y) { return dhc_prog_op(v->b->arena, o, x, y); }
static dhc_dimprog at_least(DhcConv *v, dhc_dimprog x, int64_t n) { return op(v, DHC_DIM_MAX, x, pc(v, n)); }

static void kernel(DhcConv *v) {
  DhcLp *b = v->b;
  const int *k = v->cx.in->schedule->v;
  dhc_conv_sizes(v);
  dhc_dimprog images = dhc_space_extent_prog(&v->cx, v->image), outs = dhc_space_outs_prog(&v->cx, &v->y.d);
  dhc_dimprog groups = op(v, DHC_DIM_CEILDIV, images, v->group);
  dhc_dimprog blocks = op(v, DHC_DIM_CEILDIV, outs, v->block);
  dhc_dimprog pieces = op(v, DHC_DIM_MUL, groups, blocks);
  dhc_dimprog tiles = op(v, DHC_DIM_CEILDIV, dhc_space_extent_prog(&v->cx, v->m), pc(v, v->rows));
  /* chunks of channels until there are tasks enough, but never of less than 4 tiles; of more where rows are short, since each
   * chunk copies the planes anew, which takes as long for a few elements as for a vector */
  dhc_dimprog least = op(v, DHC_DIM_FLOORDIV, pc(v, 4 * v->lanes), at_least(v, dhc_space_outs_prog(&v->cx, &v->x.d), 1));
  least = at_least(v, op(v, DHC_DIM_MIN, least, pc(v, v->lanes)), 4);
  dhc_dimprog want = op(v, DHC_DIM_CEILDIV, pc(v, k[3]), at_least(v, pieces, 1));
  want = op(v, DHC_DIM_MIN, want, op(v, DHC_DIM_CEILDIV, tiles, least));
  dhc_dimprog per_chunk = at_least(v, op(v, DHC_DIM_CEILDIV, tiles, at_least(v, want, 1)), 1);
  dhc_dimprog chunks = op(v, DHC_DIM_CEILDIV, tiles, per_chunk);
  dhc_dimprog per_outer = op(v, DHC_DIM_MUL, pieces, chunks);
  dhc_dimprog n_tasks = op(v, DHC_DIM_MUL, dhc_tpl_count_prog(&v->cx, v->outer), per_outer);

  DhcLv n_outer = dhc_lp_prog(b, per_outer), n_chunks = dhc_lp_prog(b, chunks);
  DhcLv n_blocks = dhc_lp_prog(b, blocks), group = dhc_lp_prog(b, v->group);
  DhcLv block = dhc_lp_prog(b, v->block), rows_per = dhc_lp_mulc(b, dhc_lp_prog(b, per_chunk), v->rows);
  DhcLv task = dhc_lp_tasks(b, n_tasks);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  DhcTplRows outer = dhc_tpl_rows(&v->cx, v->outer, dhc_lp_udiv(b, task, n_outer));
  dhc_tpl_rows_bind(&v->cx, &outer);
  DhcLv t = dhc_lp_urem(b, task, n_outer);
  DhcLv m_first = dhc_lp_mul(b, dhc_lp_urem(b, t, n_chunks), rows_per);
  DhcLv m_end = dhc_lp_min(b, v->M, dhc_lp_add(b, m_first, rows_per));
  t = dhc_lp_udiv(b, t, n_chunks);
  v->y0 = dhc_lp_mul(b, dhc_lp_urem(b, t, n_blocks), block);
  v->y1 = dhc_lp_min(b, dhc_space_outs(&v->cx, &v->y.d), dhc_lp_add(b, v->y0, block));
  DhcLv rows = dhc_lp_sub(b, v->y1, v->y0);
  v->H = v->y.phases > 1 ? dhc_lp_ceildivc(b, rows, v->y.phases) : dhc_space_places(&v->cx, &v->y.d, rows);
  v->image0 = dhc_lp_mul(b, dhc_lp_udiv(b, t, n_blocks), group);
  v->n_images = dhc_lp_min(b, group, dhc_lp_sub(b, dhc_space_extent(&v->cx, v->image), v->image0));
  task_body(v, m_first, m_end);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

static void choose_tile(DhcConv *v) {
  const int *k = v->cx.in->schedule->v;
  v->rows = k[0];
  v->vectors = k[1];
  v->lanes = k[2];
  if (v->rows > DHC_CONV_MAX_ROWS) v->rows = DHC_CONV_MAX_ROWS;
  if (v->vectors > DHC_CONV_MAX_VECTORS) v->vectors = DHC_CONV_MAX_VECTORS;
  if (v->m < 0) v->rows = 1, v->vectors = DHC_CONV_MAX_VECTORS; /* sums enough to hide what an addition takes */
  v->half = v->rows % 2 ? v->rows : v->rows / 2;
  v->narrow = dhc_tag_is_rows(v->s->operand[v->ow].tag);
  v->listed = !v->narrow && (v->y.d.dilation < 0 || v->x.d.dilation < 0) ? 3 : 2;
}

void dhc_conv_prepare(DhcConv *v) {
  choose_tile(v);
  v->cx.provide = result_vector;
  v->cx.provide_arg = v;
  v->needed = DHC_NEW_N(v->b->arena, bool, DHC_SPEC_MAX_NODES);
  for (int o = dhc_spec_n_inputs(v->s); o < v->s->n_operands; o++)
    dhc_tpl_needed(v->s, v->s->operand[o].stored, v->needed);
}

void dhc_tpl_conv(const DhcTplInput *in, DhcLp *b) {
  DhcConv *v = DHC_NEW(b->arena, DhcConv);
  v->b = b;
  v->s = in->spec;
  dhc_tpl_init(&v->cx, in, b);
  if (b->refused) return;
  if (!dhc_conv_roles(v)) {
    dhc_tpl_row(in, b);
    return;
  }
  b->addresses_weigh = v->c < 0;
  dhc_conv_prepare(v);
  kernel(v);
}
