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
 * group lie below one another and share the zero rows between them. Where a row's input
 * is no shift of the row before (a stride or a division), each (ky, kx) has its own plane.
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
#include "backends/loop/tpl_space.h"

enum {
  MAX_ROWS = 16,
  MAX_VECTORS = 6
};

typedef struct Conv {
  DhcTplCx cx;
  DhcLp *b;
  const DhcSpec *s;
  int node;   /* the DOT fold */
  int ox, ow; /* operands */
  DhcSpace y, x;
  int c, m, image; /* axes or -1: contracted channels, channels of the tile, images */
  uint32_t outer;
  bool shared; /* rows of y serve several taps */
  int rows, vectors, lanes, n_planes;
  int half;   /* rows that have pointers; the others lie at one distance from them */
  int listed; /* numbers per tap in the list */
  bool *needed;
  /* sizes */
  dhc_dimprog group, block, plane, result; /* images, out rows, elements of a plane, of a row of results */
  DhcLv W, C, M;
  DhcLv Plane, Result;
  /* of a task */
  DhcLv image0, n_images, y0, y1, H, pitch; /* pitch: rows from image to image */
  DhcLv n_pixels, planes, results;          /* scratch, but for the number */
  DhcLv tile_row;                           /* channel within the tile */
  DhcLv taps;                               /* scratch: for each (c, ky, kx) its place in planes and w */
  DhcLv n_taps;                             /* C * taps */
  bool narrow;                              /* w has elements of fewer bits: a tile's rows are widened first, */
  DhcLv weights, row;                       /* to scratch; elements of a row */
} Conv;

/* ---- roles --------------------------------------------------------------------------- */

static bool find_roles(Conv *v) {
  const DhcSpec *s = v->s;
  v->node = dhc_space_contraction(s);
  if (v->node < 0 || !dhc_space_operands(&v->cx, v->node, false, &v->ox, &v->ow, &v->y, &v->x) || v->x.out < 0)
    return false;
  uint32_t taps = dhc_space_bit(v->y.tap) | dhc_space_bit(v->x.tap), red = s->node[v->node].axes & ~taps;
  uint32_t windows = dhc_space_bit(v->y.window) | dhc_space_bit(v->x.window), par = 0;
  v->c = dhc_space_last_axis(red);
  if (red & (red - 1)) return false;
  /* products: channels, then taps of y, then taps of x */
  if (v->c > (v->y.tap >= 0 ? v->y.tap : v->x.tap >= 0 ? v->x.tap : v->c)) return false;
  if (v->y.tap >= 0 && v->x.tap >= 0 && v->y.tap > v->x.tap) return false;
  for (int a = 0; a < s->n_axes; a++) {
    if (s->axis[a].role == DHC_AXIS_PAR)
      par |= 1u << a;
    else if (!((s->node[v->node].axes | windows) >> a & 1))
      return false;
  }
  for (int n = 0; n < s->n_nodes; n++)
    if (s->node[n].kind == DHC_SN_FOLD && n != v->node && (s->node[n].axes & ~windows)) return false;
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++)
    if (dhc_tpl_operand_axes(&v->cx, o) & ~par) return false;
  uint32_t in_x = dhc_tpl_operand_axes(&v->cx, v->ox), in_w = dhc_tpl_operand_axes(&v->cx, v->ow);
  uint32_t space = dhc_space_bit(v->y.out) | dhc_space_bit(v->x.out);
  if (space & in_w) return false;
  for (int t = 0; t < s->operand[v->ox].n_terms; t++) {
    const DhcTerm *e = &s->operand[v->ox].term[t];
    if (!e->guarded && ((space | taps | windows) >> e->axis[0] & 1)) return false;
  }
  v->m = dhc_space_last_axis(par & in_w & ~in_x);
  v->image = dhc_space_last_axis(par & in_x & ~in_w & ~space);
  v->outer = par & ~(dhc_space_bit(v->m) | dhc_space_bit(v->image) | space);
  v->shared = v->y.stride == 1 && v->y.div == 1;
  int64_t planes = v->x.n_taps * (v->shared ? 1 : v->y.n_taps);
  v->n_planes = (int)planes;
  return planes <= DHC_SPACE_MAX_PLANES && v->y.n_taps <= 8 && v->x.n_taps <= DHC_SPACE_MAX_PLANES;
}

static void choose_tile(Conv *v) {
  const int *k = v->cx.in->schedule->v;
  v->rows = k[0];
  v->vectors = k[1];
  v->lanes = k[2];
  if (v->rows > MAX_ROWS) v->rows = MAX_ROWS;
  if (v->vectors > MAX_VECTORS) v->vectors = MAX_VECTORS;
  if (v->m < 0) v->rows = 1;
  v->half = v->rows % 2 ? v->rows : v->rows / 2;
  v->narrow = dhc_tag_is_rows(v->s->operand[v->ow].tag);
  v->listed = !v->narrow && (v->y.dilation < 0 || v->x.dilation < 0) ? 3 : 2;
}

/* ---- sizes ----------------------------------------------------------------------------- */

typedef struct Progs {
  DhcArena *a;
} Progs;
static dhc_dimprog pc(Progs *p, int64_t v) {
  return dhc_prog_const(p->a, v);
}
static dhc_dimprog op(Progs *p, int o, dhc_dimprog x, dhc_dimprog y) {
  return dhc_prog_op(p->a, o, x, y);
}
static dhc_dimprog at_least(Progs *p, dhc_dimprog x, int64_t v) {
  return op(p, DHC_DIM_MAX, x, pc(p, v));
}

/* Images per task, out rows per task, sizes of planes. */
static void size_blocks(Conv *v) {
  Progs p = {v->b->arena};
  const int *k = v->cx.in->schedule->v;
  int64_t reach = v->shared ? v->y.hi - v->y.lo : 0;
  dhc_dimprog outs = dhc_space_outs_prog(&v->cx, &v->y);
  dhc_dimprog H = dhc_space_places_prog(&v->cx, &v->y, outs);
  dhc_dimprog W = dhc_space_places_prog(&v->cx, &v->x, dhc_space_outs_prog(&v->cx, &v->x));
  W = at_least(&p, W, 1);
  dhc_dimprog pixels = at_least(&p, op(&p, DHC_DIM_MUL, H, W), 1);
  /* vectors fill up better over several small images, and weights are read for all of them */
  dhc_dimprog fit = op(&p, DHC_DIM_CEILDIV, pc(&p, k[5]), pixels);
  dhc_dimprog small = op(&p, DHC_DIM_LE, pixels, pc(&p, k[4]));
  fit = op(&p, DHC_DIM_MUL, fit, small);
  v->group = at_least(&p, op(&p, DHC_DIM_MIN, fit, dhc_space_extent_prog(&v->cx, v->image)), 1);
  /* rows that fit, then blocks of equal height */
  dhc_dimprog row = op(&p, DHC_DIM_MUL, op(&p, DHC_DIM_MUL, W, dhc_space_extent_prog(&v->cx, v->c)), pc(&p, v->n_planes));
  dhc_dimprog rows = op(&p, DHC_DIM_FLOORDIV, pc(&p, k[6]), at_least(&p, row, 1));
  rows = at_least(&p, rows, k[7] + reach);
  rows = op(&p, DHC_DIM_ADD, rows, pc(&p, -reach));
  dhc_dimprog step = at_least(&p, op(&p, DHC_DIM_FLOORDIV, rows, pc(&p, v->y.per_out)), 1);
  dhc_dimprog some = at_least(&p, outs, 1);
  dhc_dimprog n = op(&p, DHC_DIM_CEILDIV, some, step);
  v->block = op(&p, DHC_DIM_CEILDIV, some, n);
  dhc_dimprog height = dhc_space_places_prog(&v->cx, &v->y, v->block);
  dhc_dimprog pitch = op(&p, DHC_DIM_ADD, height, pc(&p, reach));
  dhc_dimprog all = op(&p, DHC_DIM_MUL, op(&p, DHC_DIM_MUL, v->group, pitch), W);
  /* whole tiles of the last pixels, displaced by the greatest tap */
  all = op(&p, DHC_DIM_CEILDIV, op(&p, DHC_DIM_ADD, all, pc(&p, 2 * v->lanes)), pc(&p, v->lanes));
  v->plane = op(&p, DHC_DIM_MUL, all, pc(&p, v->lanes));
  v->result = v->plane;
}

/* Floats that the list of taps takes, a multiple of 16. */
static dhc_dimprog taps_prog(const Conv *v) {
  Progs p = {v->b->arena};
  dhc_dimprog n = op(&p, DHC_DIM_MUL, dhc_space_extent_prog(&v->cx, v->c), pc(&p, v->y.n_taps * v->x.n_taps * v->listed * 2));
  return op(&p, DHC_DIM_MUL, op(&p, DHC_DIM_CEILDIV, n, pc(&p, 16)), pc(&p, 16));
}

/* Floats that a row of w takes in scratch. */
static dhc_dimprog row_prog(const Conv *v) {
  Progs p = {v->b->arena};
  return op(&p, DHC_DIM_MUL, dhc_space_extent_prog(&v->cx, v->c), pc(&p, v->y.n_taps * v->x.n_taps));
}

static dhc_dimprog scratch_bytes(const Conv *v) {
  Progs p = {v->b->arena};
  dhc_dimprog n = op(&p, DHC_DIM_MUL, dhc_space_extent_prog(&v->cx, v->c), pc(&p, v->n_planes));
  n = op(&p, DHC_DIM_ADD, n, pc(&p, v->rows));
  n = op(&p, DHC_DIM_MUL, n, v->plane);
  n = op(&p, DHC_DIM_ADD, n, pc(&p, v->lanes * (v->x.per_out + 2)));
  n = op(&p, DHC_DIM_ADD, n, taps_prog(v));
  if (v->narrow) n = op(&p, DHC_DIM_ADD, n, op(&p, DHC_DIM_MUL, row_prog(v), pc(&p, v->rows)));
  return op(&p, DHC_DIM_MUL, n, pc(&p, 4));
}

/* ---- planes ------------------------------------------------------------------------------ */

/* Rows between images that are zeros for both. */
static DhcLv shared_rows(Conv *v, const DhcFill *f) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0);
  if (!v->shared || v->y.term < 0 || v->image < 0) return zero;
  DhcLv top = dhc_lp_sub(b, zero, dhc_lp_addc(b, f->y_offset, f->y_shift));
  DhcLv end = dhc_lp_add(b, top, v->cx.limit[v->ox][v->y.term]);
  DhcLv bottom = dhc_lp_sub(b, f->rows, end);
  DhcLv n = dhc_lp_min(b, dhc_lp_min(b, top, bottom), dhc_lp_i64(b, v->y.hi - v->y.lo));
  return dhc_lp_max(b, n, zero);
}

/* Zeros behind the last row: the last vectors of pixels take part in arithmetic, and what
 * memory held before could be slow there (denormals). */
static void end_planes(Conv *v, const DhcFill *f, DhcLv channel) {
  DhcLp *b = v->b;
  DhcLv rows = dhc_lp_add(b, dhc_lp_mul(b, dhc_lp_addc(b, v->n_images, -1), v->pitch), f->rows);
  DhcLv at = dhc_lp_add(b, channel, dhc_lp_mul(b, rows, v->W));
  for (int k = 0; k < f->n_planes; k++)
    for (int i = 0; i < 2; i++)
      dhc_lp_store(b, v->planes, dhc_lp_addc(b, dhc_lp_add(b, at, dhc_lp_mulc(b, v->Plane, k)), i * v->lanes),
                   dhc_lp_zero(b, DHC_F32, v->lanes), 0);
}

static void fill_planes(Conv *v) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0);
  int64_t reach = v->shared ? v->y.hi - v->y.lo : 0;
  DhcFill f = {.cx = &v->cx,
               .operand = v->ox,
               .y = &v->y,
               .x = &v->x,
               .lanes = v->lanes,
               .n_planes = (int)v->x.n_taps,
               .y_step = v->y.stride,
               .x_step = v->x.stride,
               .rows = dhc_lp_addc(b, v->H, reach),
               .columns = v->W,
               .pitch = v->Plane};
  for (int k = 0; k < f.n_planes; k++) f.x_shift[k] = v->x.dilation * k;
  f.y_offset = zero;
  if (v->y.term >= 0) {
    DhcLv place0 = dhc_lp_mulc(b, v->y0, v->y.per_out * v->y.stride);
    f.y_offset = dhc_lp_add(b, v->cx.offset[v->ox][v->y.term], place0);
  }
  f.y_shift = v->shared ? v->y.lo : 0;
  v->pitch = dhc_lp_sub(b, f.rows, shared_rows(v, &f));
  DhcLv all = dhc_lp_mul(b, dhc_lp_addc(b, v->n_images, -1), v->pitch);
  v->n_pixels = dhc_lp_mul(b, dhc_lp_add(b, all, v->H), v->W);

  int64_t n_ky = v->shared ? 1 : v->y.n_taps;
  DhcLv channel_size = dhc_lp_mulc(b, v->Plane, v->n_planes);
  for (int64_t ky = 0; ky < n_ky; ky++) {
    if (!v->shared) f.y_shift = v->y.dilation * ky;
    DhcLv first = dhc_lp_mulc(b, v->Plane, ky * v->x.n_taps);
    dhc_fill_begin(&f);
    DhcLv c = dhc_lp_for(b, zero, v->C, 1);
    DhcTplMark in_c = dhc_tpl_push(&v->cx);
    if (v->c >= 0) dhc_tpl_bind(&v->cx, v->c, c);
    DhcLv i = dhc_lp_for(b, zero, v->n_images, 1);
    DhcTplMark in_image = dhc_tpl_push(&v->cx);
    if (v->image >= 0) dhc_tpl_bind(&v->cx, v->image, dhc_lp_add(b, v->image0, i));
    DhcLv at = dhc_lp_add(b, dhc_lp_mul(b, c, channel_size), first);
    at = dhc_lp_add(b, at, dhc_lp_mul(b, dhc_lp_mul(b, i, v->pitch), v->W));
    dhc_fill_rows(&f, dhc_lp_at(b, v->planes, at));
    dhc_tpl_pop(&v->cx, &in_image);
    dhc_lp_end(b);
    end_planes(v, &f, dhc_lp_add(b, dhc_lp_mul(b, c, channel_size), first));
    dhc_tpl_pop(&v->cx, &in_c);
    dhc_lp_end(b);
    dhc_fill_end(&f);
  }
}

/* ---- the tile ------------------------------------------------------------------------------ */

typedef struct Tile {
  DhcLv w[MAX_ROWS];         /* row r of w, c and taps 0, r < half */
  DhcLv second, second_rows; /* elements and rows from row r to the r-th of the second half */
  DhcLpVar acc[MAX_ROWS * MAX_VECTORS];
} Tile;

/* Displacement of the planes for tap ky of the first dimension. */
static DhcLv row_shift(Conv *v, DhcLv ky) {
  DhcLp *b = v->b;
  if (!v->shared) return dhc_lp_mul(b, ky, dhc_lp_mulc(b, v->Plane, v->x.n_taps));
  return dhc_lp_mul(b, dhc_lp_addc(b, dhc_lp_mulc(b, ky, v->y.dilation), -v->y.lo), v->W);
}

/* taps[v->listed * k ..]: displacements in planes and in a row of w of the k-th product, so
 * that the tile's loop is one block, whatever the taps; and, for the input gradient, whose w
 * lies scattered, what to prefetch then, in w from the tile's first row on: the t-th step of a
 * channel fetches row t of the next channel. */
static void list_taps(Conv *v) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0);
  DhcLv w_c = dhc_space_step(&v->cx, v->ow, v->c), w_ky = dhc_space_step(&v->cx, v->ow, v->y.tap);
  DhcLv w_kx = dhc_space_step(&v->cx, v->ow, v->x.tap);
  int64_t n_ky = v->y.n_taps, n_kx = v->x.n_taps;
  DhcLv c = dhc_lp_for(b, zero, v->C, 1);
  DhcLv x_c = dhc_lp_mul(b, c, dhc_lp_mulc(b, v->Plane, v->n_planes));
  DhcLv ky = dhc_lp_for(b, zero, dhc_lp_i64(b, n_ky), 1);
  DhcLv x_at = dhc_lp_add(b, x_c, row_shift(v, ky));
  DhcLv w_at = dhc_lp_add(b, dhc_lp_mul(b, c, w_c), dhc_lp_mul(b, ky, w_ky));
  DhcLv row = dhc_lp_mulc(b, dhc_lp_add(b, dhc_lp_mulc(b, c, n_ky), ky), n_kx);
  DhcLv kx = dhc_lp_for(b, zero, dhc_lp_i64(b, n_kx), 1);
  DhcLv at = dhc_lp_mulc(b, dhc_lp_add(b, row, kx), v->listed);
  DhcLv t = dhc_lp_add(b, dhc_lp_mulc(b, ky, n_kx), kx);
  DhcLv ahead =
      dhc_lp_add(b, dhc_lp_mul(b, dhc_lp_addc(b, c, 1), w_c), dhc_lp_mul(b, t, dhc_space_step(&v->cx, v->ow, v->m)));
  if (v->listed == 3) dhc_lp_store(b, v->taps, dhc_lp_addc(b, at, 2), ahead, 0);
  dhc_lp_store(b, v->taps, at, dhc_lp_add(b, x_at, dhc_lp_mul(b, v->Plane, kx)), 0);
  dhc_lp_store(b, v->taps, dhc_lp_addc(b, at, 1), dhc_lp_add(b, w_at, dhc_lp_mul(b, kx, w_kx)), 0);
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* The products of a block for `vectors` vectors of pixels from p on, to the results. */
static void pixel_tile(Conv *v, Tile *t, const DhcTplProducts *products, DhcLv p, int vectors) {
  DhcLp *b = v->b;
  DhcLv start = dhc_lp_at(b, v->planes, p), vec[MAX_VECTORS];
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
      dhc_lp_store(b, v->results, at, dhc_lp_get(b, t->acc[r * vectors + i]), 0);
    }
}

/* All pixels: tiles of `wide` vectors up to pixel `whole`, then narrow ones. */
static void pixel_tiles(Conv *v, Tile *t, DhcLv whole, int narrow) {
  DhcLp *b = v->b;
  int64_t wide = v->vectors;
  DhcLv zero = dhc_lp_i64(b, 0), n_wide = dhc_lp_udiv(b, whole, dhc_lp_i64(b, wide * v->lanes));
  DhcLv rest = dhc_lp_udiv(b, dhc_lp_addc(b, dhc_lp_sub(b, v->n_pixels, whole), narrow * v->lanes - 1), dhc_lp_i64(b, narrow * v->lanes));
  DhcLv i = dhc_lp_for(b, zero, dhc_lp_add(b, n_wide, dhc_lp_max(b, rest, zero)), 1), is_wide = dhc_lp_lt(b, i, n_wide);
  DhcLv width = dhc_lp_select(b, is_wide, dhc_lp_i64(b, wide * v->lanes), dhc_lp_i64(b, narrow * v->lanes));
  DhcLv behind = dhc_lp_add(b, whole, dhc_lp_mul(b, dhc_lp_sub(b, i, n_wide), width));
  DhcLv p = dhc_lp_select(b, is_wide, dhc_lp_mul(b, i, width), behind);
  DhcTplProducts products = {.from = zero, .to = v->n_taps};
  dhc_tpl_products_begin(b, &products, v->rows, v->vectors * v->lanes, v->lanes, v->n_taps, v->listed);
  dhc_lp_if(b, is_wide);
  pixel_tile(v, t, &products, p, v->vectors);
  dhc_lp_else(b);
  pixel_tile(v, t, &products, p, narrow);
  dhc_lp_end(b);
  DhcLv rows = dhc_lp_i64(b, v->half);
  if (v->half < v->rows) rows = dhc_lp_add(b, rows, t->second_rows);
  DhcTplSums sums = {.at = dhc_lp_at(b, v->results, p), .row = v->Result, .rows = rows, .width = width};
  dhc_tpl_products_end(b, &products, sums);
  dhc_lp_end(b);
}

/* Elements [from, to) of a row of w, `lanes` at a time, in f32. */
static void widen_row(Conv *v, DhcLv to_row, DhcLv from_row, DhcLv scale, DhcLv from, DhcLv to, int lanes) {
  DhcLp *b = v->b;
  DhcLv k = dhc_lp_for(b, from, to, lanes);
  DhcLv x = dhc_lp_cast(b, dhc_lp_load(b, from_row, k, lanes, 0), DHC_F32);
  if (scale) x = dhc_lp_mul(b, x, lanes > 1 ? dhc_lp_splat(b, scale, lanes) : scale);
  dhc_lp_store(b, to_row, k, x, 0);
  dhc_lp_end(b);
}

/* The tile's rows of w, as they lie in memory, to scratch. */
static void widen_rows(Conv *v, DhcLv m0, DhcLv last) {
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

static void channel_tile(Conv *v, DhcLv m0) {
  DhcLp *b = v->b;
  Tile t;
  DhcLv base = dhc_lp_at(b, v->cx.pointer[v->ow], dhc_tpl_base(&v->cx, v->ow));
  DhcLv step = dhc_space_step(&v->cx, v->ow, v->m), last = dhc_lp_addc(b, v->M, -1);
  if (v->narrow) {
    widen_rows(v, m0, last);
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
  DhcLv whole = dhc_lp_mulc(b, dhc_lp_max(b, dhc_lp_sub(b, n, left), zero), v->lanes);
  pixel_tiles(v, &t, whole, (int)narrow);
}

/* ---- epilogue --------------------------------------------------------------------------------- */

/* Index of a place: out and window axes as bound. */
static DhcLv place_of(Conv *v, const DhcSpace *d, DhcLv out0) {
  DhcLp *b = v->b;
  DhcLv p = dhc_lp_i64(b, 0);
  if (d->out >= 0) p = dhc_lp_mulc(b, dhc_lp_sub(b, v->cx.index[d->out], out0), d->per_out);
  if (d->window >= 0) p = dhc_lp_add(b, p, v->cx.index[d->window]);
  return p;
}

/* The DOT node at the bound axes: from the tile's results, a vector over the last dimension. */
static DhcLv result_vector(DhcTplCx *cx, int n, void *arg) {
  Conv *v = arg;
  DhcLp *b = cx->b;
  if (n != v->node) return NULL;
  DhcLv row = place_of(v, &v->y, v->y0), image = dhc_lp_i64(b, 0);
  if (v->image >= 0) image = dhc_lp_mul(b, dhc_lp_sub(b, cx->index[v->image], v->image0), v->pitch);
  DhcLv at = dhc_lp_mul(b, dhc_lp_add(b, row, image), v->W);
  at = dhc_lp_add(b, at, place_of(v, &v->x, dhc_lp_i64(b, 0)));
  at = dhc_lp_add(b, at, dhc_lp_mul(b, v->tile_row, v->Result));
  int lanes = v->lanes;
  if (v->x.per_out == 1) return dhc_lp_load(b, v->results, at, lanes, 0);
  if (v->x.per_out == 2) {
    int even[64];
    for (int l = 0; l < lanes; l++) even[l] = 2 * l;
    DhcLv lo = dhc_lp_load(b, v->results, at, lanes, 0);
    DhcLv hi = dhc_lp_load(b, v->results, dhc_lp_addc(b, at, lanes), lanes, 0);
    return dhc_lp_shuffle(b, lo, hi, even, lanes);
  }
  DhcLv lane = dhc_lp_mul(b, dhc_lp_iota(b, DHC_I64, lanes), dhc_lp_i64(b, v->x.per_out));
  return dhc_lp_gather(b, v->results, dhc_lp_add(b, lane, at), NULL);
}

/* May rows that follow one another in memory be stored as one? Not if the indices
 * themselves matter, or an operand has one of the two dimensions only. *cond: whether they do
 * follow one another, in every operand. */
static bool may_join_rows(Conv *v, DhcLv *cond) {
  DhcLp *b = v->b;
  const DhcSpec *s = v->s;
  *cond = NULL;
  if (v->y.out < 0 || v->y.window >= 0 || v->x.window >= 0) return false;
  for (int n = 0; n < s->n_nodes; n++)
    if (v->needed[n] && s->node[n].kind == DHC_SN_AXIS &&
        (s->node[n].operand == v->y.out || s->node[n].operand == v->x.out))
      return false;
  uint32_t both = dhc_space_bit(v->y.out) | dhc_space_bit(v->x.out);
  for (int o = 0; o < s->n_operands; o++) {
    uint32_t has = dhc_tpl_operand_axes(&v->cx, o) & both;
    if (o == v->ox || o == v->ow || !has) continue;
    DhcLv y = dhc_tpl_step(&v->cx, o, v->y.out), x = dhc_tpl_step(&v->cx, o, v->x.out);
    if (has != both || !y || !x) return false;
    DhcLv follows = dhc_lp_eq(b, y, dhc_lp_mul(b, x, v->W));
    *cond = *cond ? dhc_lp_and(b, *cond, follows) : follows;
  }
  return *cond != NULL;
}

/* Columns [0, n) of the bound row. */
static void store_row(Conv *v, DhcLv n) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0);
  DhcLv i = dhc_lp_for(b, zero, n, v->lanes);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  dhc_tpl_bind_vector(&v->cx, v->x.out, i, v->lanes, dhc_lp_tail(b, i, n, v->lanes));
  int first = dhc_spec_n_inputs(v->s);
  for (int o = first; o < v->s->n_operands; o++) dhc_tpl_eval(&v->cx, v->s->operand[o].stored);
  for (int o = first; o < v->s->n_operands; o++) dhc_tpl_store(&v->cx, o);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

/* A loop over an axis, bound inside, or one round if there is none. */
static DhcTplMark open_axis(Conv *v, int axis, DhcLv lo, DhcLv hi) {
  DhcLv i = dhc_lp_for(v->b, lo, hi, 1);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  if (axis >= 0) dhc_tpl_bind(&v->cx, axis, i);
  dhc_tpl_hoist(&v->cx, v->needed);
  return mark;
}

static void close_axis(Conv *v, const DhcTplMark *mark) {
  dhc_tpl_pop(&v->cx, mark);
  dhc_lp_end(v->b);
}

static void epilogue(Conv *v, DhcLv m0, DhcLv m_end) {
  DhcLp *b = v->b;
  DhcLv end = dhc_lp_min(b, dhc_lp_addc(b, m0, v->rows), m_end);
  DhcLv m = dhc_lp_for(b, m0, end, 1);
  DhcTplMark in_m = dhc_tpl_push(&v->cx);
  if (v->m >= 0) dhc_tpl_bind(&v->cx, v->m, m);
  v->tile_row = dhc_lp_sub(b, m, m0);
  dhc_tpl_hoist(&v->cx, v->needed);
  DhcTplMark in_image = open_axis(v, v->image, v->image0, dhc_lp_add(b, v->image0, v->n_images));
  DhcLv join, y1 = v->y1, columns = v->cx.extent[v->x.out];
  if (may_join_rows(v, &join)) {
    columns = dhc_lp_select(b, join, dhc_lp_mul(b, columns, dhc_lp_sub(b, y1, v->y0)), columns);
    y1 = dhc_lp_select(b, join, dhc_lp_min(b, y1, dhc_lp_addc(b, v->y0, 1)), y1);
  }
  DhcTplMark in_y = open_axis(v, v->y.out, v->y0, y1);
  store_row(v, columns);
  close_axis(v, &in_y);
  close_axis(v, &in_image);
  close_axis(v, &in_m);
}

/* ---- the kernel --------------------------------------------------------------------------------- */

static void task_body(Conv *v, DhcLv m_first, DhcLv m_end) {
  DhcLp *b = v->b;
  v->taps = dhc_lp_scratch(b, DHC_I64, 0);
  v->n_taps = dhc_lp_mulc(b, v->C, v->y.n_taps * v->x.n_taps * v->listed);
  v->planes = dhc_lp_at(b, dhc_lp_scratch(b, DHC_F32, 0), dhc_lp_prog(b, taps_prog(v)));
  v->results = dhc_lp_at(b, v->planes, dhc_lp_mul(b, v->C, dhc_lp_mulc(b, v->Plane, v->n_planes)));
  fill_planes(v);
  list_taps(v);
  if (v->narrow) {
    v->row = dhc_lp_prog(b, row_prog(v));
    DhcLv n = dhc_lp_addc(b, dhc_lp_mulc(b, v->Result, v->rows), (int64_t)v->lanes * (v->x.per_out + 2));
    v->weights = dhc_lp_at(b, v->results, n);
  }
  DhcLv m0 = dhc_lp_for(b, m_first, m_end, v->rows);
  channel_tile(v, m0);
  epilogue(v, m0, m_end);
  dhc_lp_end(b);
}

static void kernel(Conv *v) {
  DhcLp *b = v->b;
  Progs p = {b->arena};
  const int *k = v->cx.in->schedule->v;
  size_blocks(v);
  b->scratch_bytes = scratch_bytes(v);
  dhc_dimprog images = dhc_space_extent_prog(&v->cx, v->image), outs = dhc_space_outs_prog(&v->cx, &v->y);
  dhc_dimprog groups = op(&p, DHC_DIM_CEILDIV, images, v->group);
  dhc_dimprog blocks = op(&p, DHC_DIM_CEILDIV, outs, v->block);
  dhc_dimprog pieces = op(&p, DHC_DIM_MUL, groups, blocks);
  dhc_dimprog tiles = op(&p, DHC_DIM_CEILDIV, dhc_space_extent_prog(&v->cx, v->m), pc(&p, v->rows));
  /* chunks of channels until there are tasks enough, but never of less than 4 tiles */
  dhc_dimprog want = op(&p, DHC_DIM_CEILDIV, pc(&p, k[3]), at_least(&p, pieces, 1));
  want = op(&p, DHC_DIM_MIN, want, op(&p, DHC_DIM_CEILDIV, tiles, pc(&p, 4)));
  dhc_dimprog per_chunk = at_least(&p, op(&p, DHC_DIM_CEILDIV, tiles, at_least(&p, want, 1)), 1);
  dhc_dimprog chunks = op(&p, DHC_DIM_CEILDIV, tiles, per_chunk);
  dhc_dimprog per_outer = op(&p, DHC_DIM_MUL, pieces, chunks);
  dhc_dimprog n_tasks = op(&p, DHC_DIM_MUL, dhc_tpl_count_prog(&v->cx, v->outer), per_outer);

  v->C = dhc_space_extent(&v->cx, v->c);
  v->M = dhc_space_extent(&v->cx, v->m);
  v->W = dhc_space_places(&v->cx, &v->x, dhc_space_outs(&v->cx, &v->x));
  v->Plane = dhc_lp_prog(b, v->plane);
  v->Result = dhc_lp_prog(b, v->result);
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
  v->y1 = dhc_lp_min(b, dhc_space_outs(&v->cx, &v->y), dhc_lp_add(b, v->y0, block));
  v->H = dhc_space_places(&v->cx, &v->y, dhc_lp_sub(b, v->y1, v->y0));
  v->image0 = dhc_lp_mul(b, dhc_lp_udiv(b, t, n_blocks), group);
  v->n_images = dhc_lp_min(b, group, dhc_lp_sub(b, dhc_space_extent(&v->cx, v->image), v->image0));
  task_body(v, m_first, m_end);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

void dhc_tpl_conv(const DhcTplInput *in, DhcLp *b) {
  Conv *v = DHC_NEW(b->arena, Conv);
  v->b = b;
  v->s = in->spec;
  dhc_tpl_init(&v->cx, in, b);
  if (b->refused) return;
  if (!find_roles(v)) {
    dhc_tpl_row(in, b);
    return;
  }
  choose_tile(v);
  v->cx.provide = result_vector;
  v->cx.provide_arg = v;
  v->needed = DHC_NEW_N(b->arena, bool, DHC_SPEC_MAX_NODES);
  for (int o = dhc_spec_n_inputs(v->s); o < v->s->n_operands; o++)
    dhc_tpl_needed(v->s, v->s->operand[o].stored, v->needed);
  kernel(v);
}
