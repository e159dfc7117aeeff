/* Template "winograd": 3 x 3 convolutions of stride 1 and their input gradients by minimal filtering F(2 x 2, 3 x 3), after
 * Winograd, "Arithmetic complexity of computations" (1980), and Lavin and Gray, "Fast algorithms for convolutional neural
 * networks" (2016): 16 products for four results, not 36.
 *
 * Results are cut into tiles of 2 x 2 places, counted from the first place of all, so that a place's bits hang on nothing
 * else. With d the 4 x 4 elements of a channel that a tile meets and g its 3 x 3 weights (ir/sum.h: the rule of tiles)
 *
 *   V = B^T d B,  U = G g G^T,  M = sum over channels of U * V, element by element,  results = A^T M A
 *
 *   first phase:  U of `rows` channels, but where there is one block; where blocks are few, V of some channels of a block as well
 *   second phase, task: block of tiles (rows of images, or whole images), chunk of output channels
 *     V of the block, if it is not there yet: planes[channel][row, column mod 2][row][place] as in template "conv" of stride 2,
 *       then V[channel][16][tile]
 *     for each `rows` channels, each of the 16: M[rows][tile] by tiles of rows x vectors
 *       A^T M A, as four images of the places of each phase; the epilogue of template "conv"
 *
 * Schedule: v[0] rows, v[1] vectors, v[2] lanes, v[3] tasks wanted; a block has tiles for v[6] elements of V, but from v[4] to v[5]
 * tiles; v[7] channels of a block transformed by a task of the first phase. */
#include "backends/loop/tpl_winograd.h"
#include "ir/sum.h"

enum { POINTS = DHC_WINOGRAD_POINTS, TAPS = 9, MAX_LANES = 64 /* of any target (tpl.h) */ };

typedef struct Winograd {
  DhcConv v;
  int per;           /* channels of a vector of U */
  dhc_dimprog tiles; /* room for a block's */
  DhcLv Tiles, Deep; /* the same; channels of U with room for whole vectors */
  DhcLv Columns;     /* tiles of a row of places */
  DhcLv own;         /* a single block: U is made where it is used */
  DhcLv n_tiles;     /* of the block */
  DhcLv u, sums, to; /* U; M; V of the block */
  DhcLv tile_u;      /* scratch */
} Winograd;

static dhc_dimprog pc(const Winograd *w, int64_t x) { return dhc_prog_const(w->v.b->arena, x); }
static dhc_dimprog op(const Winograd *w, int o, dhc_dimprog x, dhc_dimprog y) { return dhc_prog_op(w->v.b->arena, o, x, y); }
static dhc_dimprog lanes_prog(const Winograd *w) { return pc(w, w->v.lanes); }
static dhc_dimprog at_least(const Winograd *w, dhc_dimprog x, int64_t n) { return op(w, DHC_DIM_MAX, x, pc(w, n)); }

/* ---- transforms ------------------------------------------------------------------------ */

void dhc_winograd_input(DhcLp *b, const DhcLv d[4], DhcLv out[4]) {
  out[0] = dhc_lp_sub(b, d[0], d[2]);
  out[1] = dhc_lp_add(b, d[1], d[2]);
  out[2] = dhc_lp_sub(b, d[2], d[1]);
  out[3] = dhc_lp_sub(b, d[1], d[3]);
}

void dhc_winograd_weights(DhcLp *b, const DhcLv g[3], DhcLv half, DhcLv out[4]) {
  DhcLv ends = dhc_lp_add(b, g[0], g[2]);
  out[0] = g[0];
  out[1] = dhc_lp_mul(b, dhc_lp_add(b, ends, g[1]), half);
  out[2] = dhc_lp_mul(b, dhc_lp_sub(b, ends, g[1]), half);
  out[3] = g[2];
}

void dhc_winograd_results(DhcLp *b, const DhcLv m[4], DhcLv out[2]) {
  out[0] = dhc_lp_add(b, dhc_lp_add(b, m[0], m[1]), m[2]);
  out[1] = dhc_lp_sub(b, dhc_lp_sub(b, m[1], m[2]), m[3]);
}

/* The tile's weights from channel m0 on, taps side by side: *base[row * *step_m + c * *step_c + tap]. As they lie, if they do so; else
 * copied or widened. */
static void dense_weights(Winograd *w, DhcLv m0, DhcLv last, DhcLpVar *base, DhcLpVar *step_m, DhcLpVar *step_c) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), one = dhc_lp_i64(b, 1), of_c = dhc_space_step(&v->cx, v->ow, v->c), of_m = dhc_space_step(&v->cx, v->ow, v->m);
  DhcLv of_y = dhc_space_step(&v->cx, v->ow, v->y.d.tap), of_x = dhc_space_step(&v->cx, v->ow, v->x.d.tap);
  DhcLv from = dhc_lp_at(b, v->cx.pointer[v->ow], dhc_lp_add(b, dhc_tpl_base(&v->cx, v->ow), dhc_lp_mul(b, m0, of_m)));
  *base = dhc_lp_var(b, v->weights);
  *step_m = dhc_lp_var(b, v->row);
  *step_c = dhc_lp_var(b, dhc_lp_i64(b, TAPS));
  if (v->narrow) {
    dhc_conv_widen(v, m0, last);
    return;
  }
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_eq(b, of_x, one), dhc_lp_eq(b, of_y, dhc_lp_i64(b, 3))));
  dhc_lp_set(b, *base, from);
  dhc_lp_set(b, *step_m, of_m);
  dhc_lp_set(b, *step_c, of_c);
  dhc_lp_else(b);
  DhcLv n = dhc_lp_min(b, dhc_lp_i64(b, v->rows), dhc_lp_addc(b, dhc_lp_sub(b, last, m0), 1));
  DhcLv r = dhc_lp_for(b, zero, n, 1), c = dhc_lp_for(b, zero, v->C, 1);
  DhcLv here = dhc_lp_add(b, dhc_lp_mul(b, r, of_m), dhc_lp_mul(b, c, of_c)), to = dhc_lp_add(b, dhc_lp_mul(b, r, v->row), dhc_lp_mulc(b, c, TAPS));
  DhcLv y = dhc_lp_for(b, zero, dhc_lp_i64(b, 3), 1), x = dhc_lp_for(b, zero, dhc_lp_i64(b, 3), 1);
  DhcLv tap = dhc_lp_load(b, from, dhc_lp_add(b, here, dhc_lp_add(b, dhc_lp_mul(b, y, of_y), dhc_lp_mul(b, x, of_x))), 1, 0);
  dhc_lp_store(b, v->weights, dhc_lp_add(b, to, dhc_lp_add(b, dhc_lp_mulc(b, y, 3), x)), tap, 0);
  for (int i = 0; i < 4; i++) dhc_lp_end(b);
  dhc_lp_end(b);
}

/* tap[t]: tap t of the rows of the tile for channel c, then for the next, as many as a vector has room for; numbers clamped. */
static void weight_vectors(Winograd *w, DhcLv base, DhcLv step_m, DhcLv step_c, DhcLv c, DhcLv n_rows, DhcLv tap[TAPS]) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  int lanes = v->lanes;
  DhcLv last_row = dhc_lp_addc(b, n_rows, -1), last = dhc_lp_addc(b, v->C, -1), at[MAX_LANES], x[MAX_LANES];
  for (int l = 0; l < lanes; l++) {
    DhcLv row = dhc_lp_mul(b, dhc_lp_min(b, dhc_lp_i64(b, l % v->rows), last_row), step_m);
    at[l] = dhc_lp_add(b, row, dhc_lp_mul(b, dhc_lp_min(b, dhc_lp_addc(b, c, l / v->rows), last), step_c));
  }
  if (lanes > TAPS) {
    DhcLv taps = dhc_lp_tail(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, TAPS), lanes);
    for (int l = 0; l < lanes; l++) x[l] = dhc_lp_mload(b, base, at[l], lanes, taps);
    dhc_lp_transpose(b, x, lanes);
    for (int t = 0; t < TAPS; t++) tap[t] = x[t];
    return;
  }
  for (int t = 0; t < TAPS; t++) {
    tap[t] = dhc_lp_zero(b, DHC_F32, lanes);
    for (int l = 0; l < lanes; l++) tap[t] = dhc_lp_insert(b, tap[t], l, dhc_lp_load(b, base, dhc_lp_addc(b, at[l], t), 1, 0));
  }
}

/* U of the channels from m0 on: u[point][c][row]; vectors hold the rows of `per` channels. */
static void transform_weights(Winograd *w, DhcLv m0, DhcLv u) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), last = dhc_lp_addc(b, v->M, -1), rows = dhc_lp_i64(b, v->rows), tap[TAPS], down[4][3], across[4];
  DhcLv half = dhc_lp_splat(b, dhc_lp_float(b, DHC_F32, 0.5), v->lanes);
  DhcLpVar base, step_m, step_c;
  dense_weights(w, m0, last, &base, &step_m, &step_c);
  DhcLv from = dhc_lp_get(b, base), of_m = dhc_lp_get(b, step_m), of_c = dhc_lp_get(b, step_c), n = dhc_lp_min(b, rows, dhc_lp_sub(b, v->M, m0));
  DhcLv c = dhc_lp_for(b, zero, v->C, w->per);
  weight_vectors(w, from, of_m, of_c, c, n, tap);
  bool back_y = v->y.d.dilation < 0, back_x = v->x.d.dilation < 0;
  for (int x = 0; x < 3; x++) {
    DhcLv g[3], of[4];
    for (int y = 0; y < 3; y++) g[y] = tap[3 * (back_y ? 2 - y : y) + (back_x ? 2 - x : x)];
    dhc_winograd_weights(b, g, half, of);
    for (int i = 0; i < 4; i++) down[i][x] = of[i];
  }
  DhcLv to = dhc_lp_mul(b, c, rows), point = dhc_lp_mul(b, w->Deep, rows);
  for (int i = 0; i < 4; i++) {
    dhc_winograd_weights(b, down[i], half, across);
    for (int j = 0; j < 4; j++) dhc_lp_store(b, u, dhc_lp_add(b, to, dhc_lp_mulc(b, point, 4 * i + j)), across[j], 0);
  }
  dhc_lp_end(b);
}

/* Planes of channels [first, first + n), as of a convolution of stride 2. */
static void fill(Winograd *w, DhcLv first, DhcLv n) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), place0 = dhc_lp_mulc(b, v->y0, v->y.d.per_out);
  DhcLv y_at = dhc_lp_add(b, place0, dhc_lp_addc(b, v->cx.offset[v->ox][v->y.d.term], v->y.d.lo));
  DhcLv x_at = dhc_lp_addc(b, v->cx.offset[v->ox][v->x.d.term], v->x.d.lo);
  DhcFill f = {.cx = &v->cx, .operand = v->ox, .y_term = v->y.d.term, .x_term = v->x.d.term, .lanes = v->lanes,
               .n_planes = 2, .y_step = 2, .x_step = 2, .x_at = {x_at, dhc_lp_addc(b, x_at, 1)},
               .rows = dhc_lp_addc(b, v->H, 1), .columns = dhc_lp_addc(b, w->Columns, 1), .pitch = v->Plane};
  DhcLv class = dhc_lp_for(b, zero, dhc_lp_i64(b, 2), 1), each = dhc_lp_mul(b, f.rows, f.columns);
  f.y_at = dhc_lp_add(b, y_at, class);
  dhc_fill_begin(&f);
  DhcLv c = dhc_lp_for(b, zero, n, 1);
  DhcTplMark in_c = dhc_tpl_push(&v->cx);
  if (v->c >= 0) dhc_tpl_bind(&v->cx, v->c, dhc_lp_add(b, first, c));
  DhcLv planes = dhc_lp_mul(b, v->Plane, dhc_lp_add(b, dhc_lp_mulc(b, c, 4), dhc_lp_mulc(b, class, 2)));
  DhcLv i = dhc_lp_for(b, zero, v->n_images, 1);
  DhcTplMark in_image = dhc_tpl_push(&v->cx);
  if (v->image >= 0) dhc_tpl_bind(&v->cx, v->image, dhc_lp_add(b, v->image0, i));
  dhc_fill_rows(&f, dhc_lp_at(b, v->planes, dhc_lp_add(b, planes, dhc_lp_mul(b, i, each))));
  dhc_tpl_pop(&v->cx, &in_image);
  dhc_lp_end(b);
  DhcLv end = dhc_lp_add(b, planes, dhc_lp_mul(b, v->n_images, each)); /* what vectors read behind the last row */
  for (int k = 0; k < 2; k++)
    for (int l = 0; l < 2; l++)
      dhc_lp_store(b, v->planes, dhc_lp_addc(b, dhc_lp_add(b, end, dhc_lp_mulc(b, v->Plane, k)), (int64_t)l * v->lanes), dhc_lp_zero(b, DHC_F32, v->lanes), 0);
  dhc_tpl_pop(&v->cx, &in_c);
  dhc_lp_end(b);
  dhc_fill_end(&f);
  dhc_lp_end(b);
}

/* A vector of tiles of a row, the first in the planes at `from`, to `to`. */
static void transform_vector(Winograd *w, DhcLv from, DhcLv to) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  DhcLv across[4][4], row = dhc_lp_addc(b, w->Columns, 1);
  for (int x = 0; x < 4; x++) {
    DhcLv d[4], of[4];
    for (int y = 0; y < 4; y++) {
      DhcLv at = dhc_lp_addc(b, dhc_lp_add(b, from, dhc_lp_mulc(b, v->Plane, y % 2 * 2 + x % 2)), x / 2);
      d[y] = dhc_lp_load(b, v->planes, y / 2 ? dhc_lp_add(b, at, row) : at, v->lanes, 0);
    }
    dhc_winograd_input(b, d, of);
    for (int y = 0; y < 4; y++) across[y][x] = of[y];
  }
  for (int y = 0; y < 4; y++) {
    DhcLv of[4];
    dhc_winograd_input(b, across[y], of);
    for (int x = 0; x < 4; x++) dhc_lp_store(b, w->to, dhc_lp_add(b, to, dhc_lp_mulc(b, w->Tiles, 4 * y + x)), of[x], 0);
  }
}

/* V of channels [first, first + n) of the block. A row's last vector writes beyond it; the next row comes after. */
static void transform(Winograd *w, DhcLv first, DhcLv n) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), row = dhc_lp_addc(b, w->Columns, 1);
  fill(w, first, n);
  DhcLv c = dhc_lp_for(b, zero, n, 1), planes = dhc_lp_mul(b, v->Plane, dhc_lp_mulc(b, c, 4));
  DhcLv to = dhc_lp_mul(b, dhc_lp_add(b, first, c), dhc_lp_mulc(b, w->Tiles, POINTS));
  for (int i = 0; i < POINTS; i++)
    dhc_lp_store(b, w->to, dhc_lp_add(b, to, dhc_lp_add(b, w->n_tiles, dhc_lp_mulc(b, w->Tiles, i))), dhc_lp_zero(b, DHC_F32, v->lanes), 0);
  DhcLv i = dhc_lp_for(b, zero, v->n_images, 1), y = dhc_lp_for(b, zero, v->H, 1);
  DhcLv of_image = dhc_lp_add(b, dhc_lp_mul(b, i, v->H), y), in_planes = dhc_lp_mul(b, dhc_lp_add(b, of_image, i), row);
  in_planes = dhc_lp_add(b, in_planes, planes);
  DhcLv at = dhc_lp_add(b, to, dhc_lp_mul(b, of_image, w->Columns));
  DhcLv x = dhc_lp_for(b, zero, w->Columns, v->lanes);
  transform_vector(w, dhc_lp_add(b, in_planes, x), dhc_lp_add(b, at, x));
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* ---- products ---------------------------------------------------------------------------- */

/* Channels [from, to) of `vectors` vectors of tiles from p on: added to M. u, x: those of the point. */
static void product_tile(Winograd *w, DhcLv u, DhcLv x, DhcLv sums, DhcLv from, DhcLv to, int vectors) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  DhcLpVar acc[DHC_CONV_MAX_ROWS * DHC_CONV_MAX_VECTORS];
  DhcLv vec[DHC_CONV_MAX_VECTORS];
  for (int i = 0; i < v->rows * vectors; i++) acc[i] = dhc_lp_var(b, dhc_lp_zero(b, DHC_F32, v->lanes));
  DhcLv c = dhc_lp_for(b, from, to, 1), at = dhc_lp_mul(b, c, dhc_lp_mulc(b, w->Tiles, POINTS)), weight = dhc_lp_mulc(b, c, v->rows);
  for (int i = 0; i < vectors; i++) vec[i] = dhc_lp_load(b, x, dhc_lp_addc(b, at, (int64_t)i * v->lanes), v->lanes, 0);
  for (int r = 0; r < v->rows; r++) {
    DhcLv g = dhc_lp_splat(b, dhc_lp_load(b, u, dhc_lp_addc(b, weight, r), 1, 0), v->lanes);
    for (int i = 0; i < vectors; i++) {
      DhcLpVar a = acc[r * vectors + i];
      dhc_lp_set(b, a, dhc_lp_fma(b, g, vec[i], dhc_lp_get(b, a)));
    }
  }
  dhc_lp_end(b);
  for (int r = 0; r < v->rows; r++)
    for (int i = 0; i < vectors; i++) {
      DhcLv place = dhc_lp_addc(b, dhc_lp_mulc(b, w->Tiles, r), (int64_t)i * v->lanes);
      DhcLv so_far = dhc_lp_load(b, sums, place, v->lanes, 0);
      dhc_lp_store(b, sums, place, dhc_lp_add(b, so_far, dhc_lp_get(b, acc[r * vectors + i])), 0);
    }
}

/* M of one point: tiles of `vectors` vectors, then of one. */
static void point_sums(Winograd *w, DhcLv u, DhcLv x, DhcLv sums) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  int64_t wide = (int64_t)v->vectors * v->lanes;
  DhcLv zero = dhc_lp_i64(b, 0), n_wide = dhc_lp_udiv(b, w->n_tiles, dhc_lp_i64(b, wide));
  DhcLv whole = dhc_lp_mulc(b, n_wide, wide), rest = dhc_lp_ceildivc(b, dhc_lp_sub(b, w->n_tiles, whole), v->lanes);
  DhcLv i = dhc_lp_for(b, zero, dhc_lp_add(b, n_wide, rest), 1), is_wide = dhc_lp_lt(b, i, n_wide);
  DhcLv behind = dhc_lp_add(b, whole, dhc_lp_mulc(b, dhc_lp_sub(b, i, n_wide), v->lanes));
  DhcLv p = dhc_lp_select(b, is_wide, dhc_lp_mulc(b, i, wide), behind), here = dhc_lp_at(b, sums, p);
  x = dhc_lp_at(b, x, p);
  DhcLv width = dhc_lp_select(b, is_wide, dhc_lp_i64(b, wide), dhc_lp_i64(b, v->lanes));
  for (int r = 0; r < v->rows; r++) {
    DhcLv k = dhc_lp_for(b, zero, width, v->lanes);
    dhc_lp_store(b, here, dhc_lp_add(b, k, dhc_lp_mulc(b, w->Tiles, r)), dhc_lp_zero(b, DHC_F32, v->lanes), 0);
    dhc_lp_end(b);
  }
  DhcLv from = dhc_lp_for(b, zero, v->C, DHC_TILE_BLOCK), to = dhc_lp_min(b, v->C, dhc_lp_addc(b, from, DHC_TILE_BLOCK));
  dhc_lp_if(b, is_wide);
  product_tile(w, u, x, here, from, to, v->vectors);
  dhc_lp_else(b);
  product_tile(w, u, x, here, from, to, 1);
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* A^T M A of all channels of the tile of rows, to the results of four phases. */
static void transform_sums(Winograd *w) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), r = dhc_lp_for(b, zero, dhc_lp_i64(b, v->rows), 1), point = dhc_lp_mulc(b, w->Tiles, v->rows);
  DhcLv sums = dhc_lp_at(b, w->sums, dhc_lp_mul(b, r, w->Tiles)), to = dhc_lp_at(b, v->results, dhc_lp_mul(b, r, v->Result));
  DhcLv p = dhc_lp_for(b, zero, w->n_tiles, v->lanes), across[2][4];
  for (int x = 0; x < 4; x++) {
    DhcLv m[4], of[2];
    for (int y = 0; y < 4; y++) m[y] = dhc_lp_load(b, sums, dhc_lp_add(b, p, dhc_lp_mulc(b, point, 4 * y + x)), v->lanes, 0);
    dhc_winograd_results(b, m, of);
    for (int y = 0; y < 2; y++) across[y][x] = of[y];
  }
  for (int y = 0; y < 2; y++) {
    DhcLv of[2];
    dhc_winograd_results(b, across[y], of);
    for (int x = 0; x < 2; x++) dhc_lp_store(b, to, dhc_lp_add(b, p, dhc_lp_mulc(b, w->Tiles, 2 * y + x)), of[x], 0);
  }
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* Channels [m_first, m_end): their U where `weights`, their results of the block, from V, where `results`. */
static void channels(Winograd *w, DhcLv m_first, DhcLv m_end, DhcLv weights, DhcLv results) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  DhcLv m0 = dhc_lp_for(b, m_first, m_end, v->rows), zero = dhc_lp_i64(b, 0), each = dhc_lp_mulc(b, w->Deep, v->rows);
  DhcLv number = dhc_lp_select(b, w->own, zero, dhc_lp_udiv(b, m0, dhc_lp_i64(b, v->rows)));
  DhcLv u = dhc_lp_at(b, w->u, dhc_lp_mul(b, number, dhc_lp_mulc(b, each, POINTS)));
  dhc_lp_if(b, weights);
  transform_weights(w, m0, u);
  dhc_lp_end(b);
  dhc_lp_if(b, results);
  DhcLv k = dhc_lp_for(b, zero, dhc_lp_i64(b, POINTS), 1);
  point_sums(w, dhc_lp_at(b, u, dhc_lp_mul(b, k, each)), dhc_lp_at(b, w->to, dhc_lp_mul(b, k, w->Tiles)),
             dhc_lp_at(b, w->sums, dhc_lp_mul(b, k, dhc_lp_mulc(b, w->Tiles, v->rows))));
  dhc_lp_end(b);
  transform_sums(w);
  DhcLv plane = v->Plane;
  v->Plane = w->Tiles;
  v->y.phases = v->x.phases = 2;
  dhc_conv_epilogue(v, m0, m_end);
  v->y.phases = v->x.phases = 1;
  v->Plane = plane;
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* ---- the kernel --------------------------------------------------------------------------- */

static dhc_dimprog tiles_of(const Winograd *w, const DhcConvDim *d, dhc_dimprog outs) {
  return op(w, DHC_DIM_CEILDIV, at_least(w, dhc_space_places_prog(&w->v.cx, &d->d, outs), 1), pc(w, 2));
}

/* Images and rows of a task, and all sizes but those of scratch. */
static void size_blocks(Winograd *w) {
  DhcConv *v = &w->v;
  const int *k = v->cx.in->schedule->v;
  dhc_dimprog outs = at_least(w, dhc_space_outs_prog(&v->cx, &v->y.d), 1), columns = tiles_of(w, &v->x, dhc_space_outs_prog(&v->cx, &v->x.d));
  dhc_dimprog deep = op(w, DHC_DIM_MUL, at_least(w, dhc_space_extent_prog(&v->cx, v->c), 1), pc(w, POINTS));
  dhc_dimprog most = op(w, DHC_DIM_MIN, op(w, DHC_DIM_FLOORDIV, pc(w, k[6]), deep), pc(w, k[5]));
  most = at_least(w, most, k[4]);
  dhc_dimprog all = op(w, DHC_DIM_MUL, tiles_of(w, &v->y, outs), columns);
  v->group = op(w, DHC_DIM_MIN, op(w, DHC_DIM_FLOORDIV, most, all), dhc_space_extent_prog(&v->cx, v->image));
  v->group = at_least(w, v->group, 1);
  dhc_dimprog rows = at_least(w, op(w, DHC_DIM_FLOORDIV, most, columns), 1);
  int64_t per_out = v->y.d.per_out, unit = per_out % 2 ? 2 : 1; /* blocks begin with a tile */
  dhc_dimprog step = at_least(w, op(w, DHC_DIM_FLOORDIV, op(w, DHC_DIM_MUL, rows, pc(w, 2)), pc(w, per_out)), unit);
  dhc_dimprog n = op(w, DHC_DIM_CEILDIV, outs, step);
  v->block = op(w, DHC_DIM_MUL, op(w, DHC_DIM_CEILDIV, op(w, DHC_DIM_CEILDIV, outs, n), pc(w, unit)), pc(w, unit));
  dhc_dimprog high = tiles_of(w, &v->y, v->block), lanes = pc(w, v->lanes);
  dhc_dimprog tiles = op(w, DHC_DIM_MUL, op(w, DHC_DIM_MUL, v->group, high), columns);
  w->tiles = op(w, DHC_DIM_MUL, op(w, DHC_DIM_ADD, op(w, DHC_DIM_CEILDIV, tiles, lanes), pc(w, 1)), lanes);
  dhc_dimprog plane = op(w, DHC_DIM_MUL, op(w, DHC_DIM_ADD, high, pc(w, 1)), op(w, DHC_DIM_ADD, columns, pc(w, 1)));
  v->plane = op(w, DHC_DIM_ADD, op(w, DHC_DIM_MUL, plane, v->group), pc(w, 3 * v->lanes));
  w->Tiles = dhc_lp_prog(v->b, w->tiles);
  w->Columns = dhc_lp_prog(v->b, columns);
  v->W = w->Columns;
  v->Plane = dhc_lp_prog(v->b, v->plane);
  v->Result = dhc_lp_mulc(v->b, w->Tiles, 4);
}

typedef struct Cut {
  dhc_dimprog tiles, u_tasks, parts, v_tasks, chunks, per_chunk, blocks, second;
  dhc_dimprog few, own;             /* V is made in the first phase; U is made where it is used */
  dhc_dimprog u, all_u, block;      /* elements of a tile's U, of those in shared memory, of a block's V */
} Cut;

static Cut cut(Winograd *w) {
  DhcConv *v = &w->v;
  const int *k = v->cx.in->schedule->v;
  Cut c = {.tiles = op(w, DHC_DIM_CEILDIV, dhc_space_extent_prog(&v->cx, v->m), pc(w, v->rows))};
  dhc_dimprog C = dhc_space_extent_prog(&v->cx, v->c), outs = dhc_space_outs_prog(&v->cx, &v->y.d);
  dhc_dimprog groups = op(w, DHC_DIM_CEILDIV, dhc_space_extent_prog(&v->cx, v->image), v->group);
  c.blocks = op(w, DHC_DIM_CEILDIV, outs, v->block);
  dhc_dimprog pieces = op(w, DHC_DIM_MUL, groups, c.blocks);
  c.few = op(w, DHC_DIM_LE, pieces, pc(w, k[3] - 1));
  c.own = op(w, DHC_DIM_LE, pieces, pc(w, 1));
  c.u_tasks = op(w, DHC_DIM_MUL, c.tiles, op(w, DHC_DIM_SUB, pc(w, 1), c.own));
  c.parts = at_least(w, op(w, DHC_DIM_CEILDIV, C, pc(w, k[7])), 1);
  c.v_tasks = op(w, DHC_DIM_MUL, op(w, DHC_DIM_MUL, pieces, c.parts), c.few);
  dhc_dimprog want = op(w, DHC_DIM_MIN, op(w, DHC_DIM_CEILDIV, pc(w, k[3]), at_least(w, pieces, 1)), op(w, DHC_DIM_CEILDIV, c.tiles, pc(w, 2)));
  want = at_least(w, op(w, DHC_DIM_MUL, want, c.few), 1);
  c.per_chunk = at_least(w, op(w, DHC_DIM_CEILDIV, c.tiles, want), 1);
  c.chunks = op(w, DHC_DIM_CEILDIV, c.tiles, c.per_chunk);
  c.second = op(w, DHC_DIM_MUL, pieces, c.chunks);
  dhc_dimprog deep = op(w, DHC_DIM_ADD, C, pc(w, w->per));
  c.u = op(w, DHC_DIM_MUL, deep, pc(w, (int64_t)POINTS * v->rows));
  c.all_u = op(w, DHC_DIM_MUL, c.u_tasks, c.u);
  c.block = op(w, DHC_DIM_MUL, op(w, DHC_DIM_MUL, C, w->tiles), pc(w, POINTS));
  w->Deep = dhc_lp_prog(v->b, deep);
  dhc_dimprog shared = op(w, DHC_DIM_ADD, c.all_u, op(w, DHC_DIM_MUL, op(w, DHC_DIM_MUL, c.block, pieces), c.few));
  dhc_lp_share(v->b, op(w, DHC_DIM_MUL, shared, pc(w, 4)));
  return c;
}

/* Scratch: planes, V, M, results, U of a tile, weights widened or copied. */
static void place_scratch(Winograd *w, const Cut *c) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  dhc_dimprog C = dhc_space_extent_prog(&v->cx, v->c), row = op(w, DHC_DIM_MUL, C, pc(w, TAPS));
  dhc_dimprog planes = op(w, DHC_DIM_MUL, op(w, DHC_DIM_MUL, C, v->plane), pc(w, 4)), results = op(w, DHC_DIM_MUL, w->tiles, pc(w, 4 * (int64_t)v->rows));
  results = op(w, DHC_DIM_ADD, results, pc(w, v->lanes * (v->x.d.per_out + 2)));
  dhc_dimprog sums = op(w, DHC_DIM_MUL, w->tiles, pc(w, (int64_t)POINTS * v->rows)), n = op(w, DHC_DIM_ADD, planes, c->block);
  v->row = dhc_lp_prog(b, row);
  v->planes = dhc_lp_scratch(b, DHC_F32, 0);
  w->sums = dhc_lp_at(b, v->planes, dhc_lp_prog(b, n));
  n = op(w, DHC_DIM_ADD, n, sums);
  v->results = dhc_lp_at(b, v->planes, dhc_lp_prog(b, n));
  n = op(w, DHC_DIM_ADD, n, results);
  w->tile_u = dhc_lp_at(b, v->planes, dhc_lp_prog(b, n));
  n = op(w, DHC_DIM_ADD, n, c->u);
  v->weights = dhc_lp_at(b, v->planes, dhc_lp_prog(b, n));
  n = op(w, DHC_DIM_ADD, n, op(w, DHC_DIM_ADD, op(w, DHC_DIM_MUL, row, pc(w, v->rows)), lanes_prog(w)));
  b->scratch_bytes = op(w, DHC_DIM_MUL, n, pc(w, 4));
}

/* Binds the block number `piece`. */
static void open_block(Winograd *w, const Cut *c, DhcLv piece) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  DhcLv n_blocks = dhc_lp_prog(b, c->blocks), block = dhc_lp_prog(b, v->block), group = dhc_lp_prog(b, v->group);
  v->y0 = dhc_lp_mul(b, dhc_lp_urem(b, piece, n_blocks), block);
  v->y1 = dhc_lp_min(b, dhc_space_outs(&v->cx, &v->y.d), dhc_lp_add(b, v->y0, block));
  v->H = dhc_lp_ceildivc(b, dhc_space_places(&v->cx, &v->y.d, dhc_lp_sub(b, v->y1, v->y0)), 2);
  v->pitch = v->H;
  v->image0 = dhc_lp_mul(b, dhc_lp_udiv(b, piece, n_blocks), group);
  v->n_images = dhc_lp_min(b, group, dhc_lp_sub(b, dhc_space_extent(&v->cx, v->image), v->image0));
  w->n_tiles = dhc_lp_mul(b, dhc_lp_mul(b, v->n_images, v->H), w->Columns);
}

/* Where the block's V lies. */
static void place_block(Winograd *w, const Cut *c, DhcLv piece, DhcLv few) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  DhcLpVar to = dhc_lp_var(b, dhc_lp_at(b, v->planes, dhc_lp_mul(b, v->C, dhc_lp_mulc(b, v->Plane, 4))));
  DhcLpVar u = dhc_lp_var(b, w->tile_u);
  dhc_lp_if(b, few);
  DhcLv mine = dhc_lp_add(b, dhc_lp_prog(b, c->all_u), dhc_lp_mul(b, piece, dhc_lp_prog(b, c->block)));
  dhc_lp_set(b, to, dhc_lp_at(b, dhc_lp_shared(b, DHC_F32), mine));
  dhc_lp_end(b);
  dhc_lp_if(b, dhc_lp_ew1(b, DHC_OP_NOT, w->own));
  dhc_lp_set(b, u, dhc_lp_shared(b, DHC_F32));
  dhc_lp_end(b);
  w->to = dhc_lp_get(b, to);
  w->u = dhc_lp_get(b, u);
}

/* Tasks: U of a tile of channels; V of some channels of a block; then results. */
static void task_body(Winograd *w, const Cut *c, DhcLv task) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  int part = v->cx.in->schedule->v[7];
  DhcLv zero = dhc_lp_i64(b, 0), n_u = dhc_lp_prog(b, c->u_tasks), n_v = dhc_lp_prog(b, c->v_tasks);
  DhcLv parts = dhc_lp_prog(b, c->parts), chunks = dhc_lp_prog(b, c->chunks), few = dhc_lp_lt(b, zero, n_v);
  DhcLv is_u = dhc_lp_lt(b, task, n_u), t = dhc_lp_max(b, dhc_lp_sub(b, task, n_u), zero), later = dhc_lp_max(b, dhc_lp_sub(b, t, n_v), zero);
  DhcLv first_phase = dhc_lp_lt(b, task, dhc_lp_add(b, n_u, n_v)), is_v = dhc_lp_and(b, first_phase, dhc_lp_ew1(b, DHC_OP_NOT, is_u));
  DhcLv piece = dhc_lp_select(b, is_v, dhc_lp_udiv(b, t, parts), dhc_lp_udiv(b, later, chunks));
  DhcLv results = dhc_lp_ew1(b, DHC_OP_NOT, first_phase);
  open_block(w, c, piece);
  place_block(w, c, piece, few);
  DhcLv first = dhc_lp_select(b, is_v, dhc_lp_mulc(b, dhc_lp_urem(b, t, parts), part), zero);
  DhcLv n = dhc_lp_select(b, is_v, dhc_lp_min(b, dhc_lp_i64(b, part), dhc_lp_sub(b, v->C, first)), v->C);
  dhc_lp_if(b, dhc_lp_or(b, is_v, dhc_lp_and(b, results, dhc_lp_ew1(b, DHC_OP_NOT, few))));
  transform(w, first, n);
  dhc_lp_end(b);
  DhcLv rows = dhc_lp_mulc(b, dhc_lp_prog(b, c->per_chunk), v->rows), chunk = dhc_lp_mul(b, dhc_lp_urem(b, later, chunks), rows);
  DhcLv m_first = dhc_lp_select(b, is_u, dhc_lp_mulc(b, task, v->rows), chunk);
  DhcLv m_end = dhc_lp_min(b, v->M, dhc_lp_add(b, m_first, dhc_lp_select(b, is_u, dhc_lp_i64(b, v->rows), dhc_lp_select(b, is_v, zero, rows))));
  channels(w, m_first, m_end, dhc_lp_or(b, is_u, w->own), results);
}

static void kernel(Winograd *w) {
  DhcConv *v = &w->v;
  DhcLp *b = v->b;
  v->C = dhc_space_extent(&v->cx, v->c);
  v->M = dhc_space_extent(&v->cx, v->m);
  size_blocks(w);
  Cut c = cut(w);
  place_scratch(w, &c);
  w->own = dhc_lp_eq(b, dhc_lp_prog(b, c.own), dhc_lp_i64(b, 1));
  DhcLv task = dhc_lp_phases(b, op(w, DHC_DIM_ADD, c.u_tasks, c.v_tasks), c.second);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  task_body(w, &c, task);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

static bool is_three(const DhcSpace *d) {
  return d->term >= 0 && d->n_taps == 3 && d->stride == 1 && d->div == 1 && (d->dilation == 1 || d->dilation == -1);
}

bool dhc_winograd_roles(DhcConv *v) {
  if (dhc_conv_roles(v) && is_three(&v->y.d) && is_three(&v->x.d) && v->m >= 0 && !v->outer) return true;
  dhc_lp_refuse(v->b, "a convolution by tiles of another form");
  return false;
}

void dhc_tpl_winograd(const DhcTplInput *in, DhcLp *b) {
  Winograd *w = DHC_NEW(b->arena, Winograd);
  DhcConv *v = &w->v;
  v->b = b;
  v->s = in->spec;
  dhc_tpl_init(&v->cx, in, b);
  if (b->refused) return;
  if (!dhc_winograd_roles(v)) return;
  dhc_conv_prepare(v);
  while (v->lanes % v->rows) v->rows--; /* vectors of U hold whole channels of a tile */
  w->per = v->lanes / v->rows;
  kernel(w);
}
