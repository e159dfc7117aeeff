/* Template "conv_dw": the weight gradient of a convolution,
 *
 *   dw[o, c, ky, kx] = sum over images n, places y, x of
 *                      x[n, c, stride * y + dilation * ky + offset, ...] * dy[n, o, y, x]
 *
 * by the product rule (ir/sum.h), n, y, x ascending. Vectors run over output channels o, so dy is
 * transposed to scratch as [place][o] and x copied into planes with zeros where its guards
 * say so; each place then costs one scalar of x for each tap and one vector row of dy.
 *
 *   task: outer index, chunk of output channels, chunk of input channels
 *     sums[o block][c][tap][o] = 0
 *     for each group of images:
 *       dy of the chunk, transposed
 *       for each c: its planes; for each block of o: sums += over images, rows, places; where 256 places
 *         are complete they go to the rule's next level; the levels lie behind all sums
 *     for each block of o, vector by vector: the sums of each o side by side; epilogue, stores along [c][tap]
 *
 * A depthwise one has no axis of dy's alone: vectors run over the channels of both, x is transposed as dy is, and a place
 * costs a vector row of x for each tap.
 *
 * Of a single tap all places of a group are one row.
 *
 * Schedule: v[0] vectors, v[1] vectors where taps are up to 3, v[2] lanes, v[3] tasks wanted;
 * images are grouped up to v[4] places, a task has up to v[5] input channels, where tasks are few down to v[6], or four times as many by taps
 * up to 3 (each transposes dy anew), and up to v[7] blocks of output channels. */
#include "backends/loop/tpl_space.h"

enum {
  MAX_TAPS = 14, /* taps of one pass */
  MAX_SUMS = 28, /* and their vectors, where there are 32 registers, */
  FEW_SUMS = 14, /* and where there are 16 */
  MAX_TOGETHER = 8,
  MAX_VECTORS = 6
};

typedef struct ConvDw {
  DhcTplCx cx;
  DhcLp *b;
  const DhcSpec *s;
  int node, ox, oy; /* the DOT fold; operands x and dy */
  DhcSpace y, x;
  int o, c, image; /* axes; c and image may be -1 */
  uint32_t outer;
  int run[3], n_run; /* axes of the results but o: c and taps, as they follow one another */
  int vectors, lanes, width; /* width: output channels of a block */
  int n_taps, most;          /* most: sums in registers */
  int y_step, x_step;        /* of a single tap no other elements are copied */
  bool deep;                        /* depthwise: o is an axis of x, too */
  int together;                     /* channels of one pass, where taps are few: each place's row of dy serves them all */
  bool one_block;                   /* of products, whatever the sizes */
  dhc_dimprog group, places, plane; /* images; places of a group; elements of one image's plane */
  dhc_dimprog blocks, channels;     /* of a task */
  DhcLv H, W, Rows, Columns;        /* places; rows and columns of a plane */
  DhcLv Dy;                         /* elements of one block of transposed dy */
  DhcLv Plane, Sums, All;           /* elements: one image's plane; sums of one block, of the task's blocks */
  DhcLv dy, planes, sums;           /* scratch */
  DhcLv turned, Turned;             /* scratch: sums of a vector of o, those of one side by side; elements of one */
  DhcLv apart;                      /* deep: planes of the channels of a vector, one after the other, before they are transposed */
  DhcLv image0, n_images, o0, n_blocks, c0, n_channels; /* of a task */
} ConvDw;

/* ---- roles --------------------------------------------------------------------------- */

static bool find_roles(ConvDw *v) {
  const DhcSpec *s = v->s;
  v->node = dhc_space_contraction(s);
  if (v->node < 0 || !dhc_space_operands(&v->cx, v->node, true, &v->ox, &v->oy, &v->y, &v->x)) return false;
  for (int n = 0; n < s->n_nodes; n++)
    if (s->node[n].kind == DHC_SN_FOLD && n != v->node) return false;
  if (v->y.window >= 0 || v->x.window >= 0 || v->y.div != 1 || v->x.div != 1) return false;
  uint32_t red = s->node[v->node].axes, par = 0, space = dhc_space_bit(v->y.out) | dhc_space_bit(v->x.out);
  uint32_t taps = dhc_space_bit(v->y.tap) | dhc_space_bit(v->x.tap);
  for (int a = 0; a < s->n_axes; a++) {
    if (s->axis[a].role == DHC_AXIS_PAR)
      par |= 1u << a;
    else if (!(red >> a & 1))
      return false;
  }
  v->image = dhc_space_last_axis(red & ~space);
  if (red & ~space & ~dhc_space_bit(v->image)) return false;
  /* products: images, then places of y, then of x */
  if (v->y.out >= 0 && v->x.out >= 0 && v->y.out > v->x.out) return false;
  if (v->image >= 0 && space && (dhc_space_bit(v->image) & ~((space & (0u - space)) - 1))) return false;
  for (int t = 0; t < s->operand[v->ox].n_terms; t++) {
    const DhcTerm *e = &s->operand[v->ox].term[t];
    if (!e->guarded && ((space | taps) >> e->axis[0] & 1)) return false;
  }
  uint32_t in_x = dhc_tpl_operand_axes(&v->cx, v->ox), in_y = dhc_tpl_operand_axes(&v->cx, v->oy);
  v->o = dhc_space_last_axis(par & in_y & ~in_x);
  v->c = dhc_space_last_axis(par & in_x & ~in_y & ~taps);
  if (v->o < 0) {
    v->o = dhc_space_last_axis(par & in_y & in_x & ~taps);
    v->deep = true;
    if (v->c >= 0) return false;
  }
  if (v->o < 0 || (in_y & taps)) return false;
  v->outer = par & ~(dhc_space_bit(v->o) | dhc_space_bit(v->c) | taps);
  v->n_taps = (int)(v->y.n_taps * v->x.n_taps);
  const int run[] = {v->deep ? -1 : v->c, v->y.tap, v->x.tap};
  for (int i = 0; i < 3; i++)
    if (run[i] >= 0) v->run[v->n_run++] = run[i];
  return true;
}

/* Of one tap every stride-th element alone is copied, and these follow one another. */
static int copied_step(DhcSpace *d) {
  int step = d->term >= 0 && d->n_taps == 1 ? (int)d->stride : 1;
  if (step > 1) d->stride = 1;
  return step;
}

static void choose_tile(ConvDw *v) {
  const int *k = v->cx.in->schedule->v;
  v->vectors = v->n_taps <= 3 ? k[1] : k[0];
  v->lanes = k[2];
  if (v->vectors > MAX_VECTORS) v->vectors = MAX_VECTORS;
  v->width = v->vectors * v->lanes;
  v->most = v->cx.in->facts->vector_bytes >= 64 ? MAX_SUMS : FEW_SUMS;
  v->together = v->c < 0 || v->deep ? 1 : MAX_TOGETHER / v->n_taps;
  while (v->together > 1 && v->together * v->n_taps * v->vectors > v->most - v->vectors) v->together--;
  if (v->together < 1) v->together = 1;
  v->y_step = copied_step(&v->y);
  v->x_step = copied_step(&v->x);
}

/* ---- sizes ------------------------------------------------------------------------------ */

static dhc_dimprog pc(const ConvDw *v, int64_t x) {
  return dhc_prog_const(v->b->arena, x);
}
static dhc_dimprog op(const ConvDw *v, int o, dhc_dimprog x, dhc_dimprog y) {
  return dhc_prog_op(v->b->arena, o, x, y);
}
static dhc_dimprog at_least(const ConvDw *v, dhc_dimprog x, int64_t n) {
  return op(v, DHC_DIM_MAX, x, pc(v, n));
}
/* Input rows (or columns) that `n` places reach. */
static dhc_dimprog reach_prog(const ConvDw *v, const DhcSpace *d, dhc_dimprog n) {
  dhc_dimprog last = op(v, DHC_DIM_ADD, n, pc(v, -1));
  return op(v, DHC_DIM_ADD, op(v, DHC_DIM_MUL, last, pc(v, d->stride)), pc(v, 1 + d->hi - d->lo));
}

static void size_blocks(ConvDw *v) {
  dhc_dimprog H = at_least(v, dhc_space_extent_prog(&v->cx, v->y.out), 1), W = at_least(v, dhc_space_extent_prog(&v->cx, v->x.out), 1);
  dhc_dimprog pixels = op(v, DHC_DIM_MUL, H, W);
  dhc_dimprog fit = op(v, DHC_DIM_CEILDIV, pc(v, v->cx.in->schedule->v[4]), pixels);
  v->group = at_least(v, op(v, DHC_DIM_MIN, fit, dhc_space_extent_prog(&v->cx, v->image)), 1);
  /* a transposition writes whole blocks of places */
  v->places = op(v, DHC_DIM_ADD, op(v, DHC_DIM_MUL, v->group, pixels), pc(v, v->lanes));
  v->plane = op(v, DHC_DIM_MUL, reach_prog(v, &v->y, H), reach_prog(v, &v->x, W));
}

/* Tasks: chunks of input channels; of output channels as many as make enough of them; where
 * these are too few, smaller chunks of input channels. */
static dhc_dimprog size_tasks(ConvDw *v, dhc_dimprog *o_chunks, dhc_dimprog *c_chunks) {
  const int *k = v->cx.in->schedule->v;
  dhc_dimprog c = dhc_space_extent_prog(&v->cx, v->c), enough = pc(v, k[3]);
  dhc_dimprog all = op(v, DHC_DIM_CEILDIV, dhc_space_extent_prog(&v->cx, v->o), pc(v, v->width));
  dhc_dimprog small = op(v, DHC_DIM_CEILDIV, enough, at_least(v, all, 1));
  small = op(v, DHC_DIM_MIN, small, op(v, DHC_DIM_CEILDIV, c, pc(v, v->n_taps < 4 ? 4 * k[6] / v->n_taps : k[6])));
  *c_chunks = op(v, DHC_DIM_MAX, op(v, DHC_DIM_CEILDIV, c, pc(v, k[5])), small);
  v->channels = op(v, DHC_DIM_CEILDIV, c, at_least(v, *c_chunks, 1));
  *c_chunks = op(v, DHC_DIM_CEILDIV, c, at_least(v, v->channels, 1));
  dhc_dimprog want = op(v, DHC_DIM_CEILDIV, enough, at_least(v, *c_chunks, 1));
  want = op(v, DHC_DIM_MAX, want, op(v, DHC_DIM_CEILDIV, all, pc(v, k[7])));
  want = at_least(v, op(v, DHC_DIM_MIN, want, all), 1);
  v->blocks = op(v, DHC_DIM_CEILDIV, all, want);
  *o_chunks = op(v, DHC_DIM_CEILDIV, all, at_least(v, v->blocks, 1));
  dhc_dimprog n = op(v, DHC_DIM_MUL, *o_chunks, *c_chunks);
  return op(v, DHC_DIM_MUL, dhc_tpl_count_prog(&v->cx, v->outer), n);
}

static dhc_dimprog sums_prog(const ConvDw *v) {
  return op(v, DHC_DIM_MUL, v->channels, pc(v, (int64_t)v->n_taps * v->width));
}

/* Results of one o in a task, in whole vectors. */
static dhc_dimprog turned_prog(const ConvDw *v) {
  dhc_dimprog n = op(v, DHC_DIM_MUL, v->channels, pc(v, v->n_taps));
  return op(v, DHC_DIM_MUL, op(v, DHC_DIM_CEILDIV, n, pc(v, v->lanes)), pc(v, v->lanes));
}

static dhc_dimprog scratch_bytes(const ConvDw *v) {
  dhc_dimprog dy = op(v, DHC_DIM_MUL, v->places, pc(v, v->width));
  dhc_dimprog sums = op(v, DHC_DIM_MUL, sums_prog(v), pc(v, v->one_block ? 1 : 1 + DHC_DOT_LEVELS));
  dhc_dimprog n = op(v, DHC_DIM_MUL, v->blocks, op(v, DHC_DIM_ADD, dy, sums));
  dhc_dimprog planes = op(v, DHC_DIM_MUL, op(v, DHC_DIM_MUL, v->group, v->plane), pc(v, v->together));
  if (v->deep) planes = op(v, DHC_DIM_MUL, op(v, DHC_DIM_ADD, planes, pc(v, v->lanes)), pc(v, v->width + v->lanes));
  n = op(v, DHC_DIM_ADD, n, op(v, DHC_DIM_ADD, planes, op(v, DHC_DIM_MUL, turned_prog(v), pc(v, v->lanes))));
  return op(v, DHC_DIM_MUL, n, pc(v, 4));
}

/* ---- operands to scratch ------------------------------------------------------------------ */

/* Rows and columns of dy: one row of all places if the rows follow one another. */
typedef struct DyRows {
  DhcLv rows, columns, row_step;
} DyRows;

static DyRows dy_rows(ConvDw *v) {
  DhcLp *b = v->b;
  DhcLv one = dhc_lp_i64(b, 1), step = dhc_space_step(&v->cx, v->oy, v->y.out);
  DhcLv run = dhc_lp_mul(b, v->W, dhc_space_step(&v->cx, v->oy, v->x.out)), flat = dhc_lp_eq(b, run, step);
  return (DyRows){dhc_lp_select(b, flat, one, v->H), dhc_lp_select(b, flat, dhc_lp_mul(b, v->H, v->W), v->W),
                  step};
}

/* lanes places of one output channel from `at` on */
static DhcLv dy_vector(ConvDw *v, DhcLv at, DhcLv mask) {
  DhcLp *b = v->b;
  DhcLv step = dhc_space_step(&v->cx, v->oy, v->x.out), ptr = v->cx.pointer[v->oy];
  int64_t known;
  if (dhc_lp_is_const(step, &known) && known == 1) return dhc_lp_mload(b, ptr, at, v->lanes, mask);
  DhcLv lane = dhc_lp_mul(b, dhc_lp_iota(b, DHC_I64, v->lanes), step);
  return dhc_lp_gather(b, ptr, dhc_lp_add(b, lane, at), mask);
}

/* to[place * width + l] = dy[o_first + l, place] of one image, l < lanes; channels beyond
 * the last are copies of it. */
static void transpose_image(ConvDw *v, const DyRows *d, DhcLv base, DhcLv o_first, DhcLv to) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), last = dhc_lp_addc(b, dhc_space_extent(&v->cx, v->o), -1);
  DhcLv x_step = dhc_space_step(&v->cx, v->oy, v->x.out), o_step = dhc_space_step(&v->cx, v->oy, v->o), row_of[64], x[64];
  for (int l = 0; l < v->lanes; l++) {
    DhcLv o = dhc_lp_min(b, dhc_lp_addc(b, o_first, l), last);
    row_of[l] = dhc_lp_add(b, base, dhc_lp_mul(b, o, o_step));
  }
  DhcLv r = dhc_lp_for(b, zero, d->rows, 1), in_row = dhc_lp_mul(b, r, d->row_step);
  DhcLv i = dhc_lp_for(b, zero, d->columns, v->lanes), mask = dhc_lp_tail(b, i, d->columns, v->lanes);
  DhcLv from = dhc_lp_add(b, in_row, dhc_lp_mul(b, i, x_step));
  for (int l = 0; l < v->lanes; l++) x[l] = dy_vector(v, dhc_lp_add(b, row_of[l], from), mask);
  dhc_lp_transpose(b, x, v->lanes);
  DhcLv place = dhc_lp_add(b, dhc_lp_mul(b, r, d->columns), i);
  for (int l = 0; l < v->lanes; l++)
    dhc_lp_store(b, to, dhc_lp_mulc(b, dhc_lp_addc(b, place, l), v->width), x[l], 0);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

static void transpose_dy(ConvDw *v) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0);
  DyRows d = dy_rows(v);
  DhcLv i = dhc_lp_for(b, zero, v->n_images, 1); /* in order: an image's last block reaches into the next */
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  if (v->image >= 0) dhc_tpl_bind(&v->cx, v->image, dhc_lp_add(b, v->image0, i));
  DhcLv at = dhc_lp_mulc(b, dhc_lp_mul(b, i, dhc_lp_mul(b, v->H, v->W)), v->width);
  DhcLv k = dhc_lp_for(b, zero, v->n_blocks, 1);
  DhcLv block = dhc_lp_add(b, at, dhc_lp_mul(b, k, v->Dy));
  DhcLv o = dhc_lp_add(b, v->o0, dhc_lp_mulc(b, k, v->width));
  DhcLv part = dhc_lp_for(b, zero, dhc_lp_i64(b, v->width), v->lanes);
  transpose_image(v, &d, dhc_tpl_base(&v->cx, v->oy), dhc_lp_add(b, o, part),
                  dhc_lp_at(b, v->dy, dhc_lp_add(b, block, part)));
  dhc_lp_end(b);
  dhc_lp_end(b);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

/* x of the group's images, at the bound channels, to planes one after the other. */
static void fill_planes(ConvDw *v, DhcLv to) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0);
  DhcFill f = {.cx = &v->cx,
               .operand = v->ox,
               .y_term = v->y.term,
               .x_term = v->x.term,
               .lanes = v->lanes,
               .n_planes = 1,
               .y_step = v->y_step,
               .x_step = v->x_step,
               .y_at = v->y.term >= 0 ? dhc_lp_addc(b, v->cx.offset[v->ox][v->y.term], v->y.lo) : zero,
               .x_at = {dhc_lp_addc(b, v->cx.offset[v->ox][v->x.term], v->x.lo)},
               .rows = v->Rows,
               .columns = v->Columns,
               .pitch = zero};
  dhc_fill_begin(&f);
  DhcLv i = dhc_lp_for(b, zero, v->n_images, 1);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  if (v->image >= 0) dhc_tpl_bind(&v->cx, v->image, dhc_lp_add(b, v->image0, i));
  dhc_fill_rows(&f, dhc_lp_at(b, to, dhc_lp_mul(b, i, v->Plane)));
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
  dhc_fill_end(&f);
}

/* planes[place * width + l]: x of channel o_first + l; those beyond the last are copies of it. */
static void fill_deep(ConvDw *v, DhcLv o_first) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), last = dhc_lp_addc(b, dhc_space_extent(&v->cx, v->o), -1), x[64];
  DhcLv all = dhc_lp_mul(b, v->n_images, v->Plane), each = dhc_lp_mul(b, dhc_lp_prog(b, v->group), v->Plane);
  each = dhc_lp_addc(b, each, v->lanes);
  DhcLv part = dhc_lp_for(b, zero, dhc_lp_i64(b, v->width), v->lanes);
  DhcLv l = dhc_lp_for(b, zero, dhc_lp_i64(b, v->lanes), 1);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  dhc_tpl_bind(&v->cx, v->o, dhc_lp_min(b, dhc_lp_add(b, o_first, dhc_lp_add(b, part, l)), last));
  fill_planes(v, dhc_lp_at(b, v->apart, dhc_lp_mul(b, l, each)));
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
  DhcLv place = dhc_lp_for(b, zero, all, v->lanes);
  for (int i = 0; i < v->lanes; i++) x[i] = dhc_lp_load(b, v->apart, dhc_lp_add(b, dhc_lp_mulc(b, each, i), place), v->lanes, 0);
  dhc_lp_transpose(b, x, v->lanes);
  for (int i = 0; i < v->lanes; i++)
    dhc_lp_store(b, v->planes, dhc_lp_add(b, dhc_lp_mulc(b, dhc_lp_addc(b, place, i), v->width), part), x[i], 0);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* ---- sums ------------------------------------------------------------------------------------ */

typedef struct Taps {
  int n;
  DhcLpVar acc[MAX_TAPS * MAX_VECTORS];
  int64_t place[MAX_TAPS * MAX_VECTORS]; /* in the sums of these taps */
  DhcLv dy_row, tap_row[MAX_TAPS];
} Taps;

/* Elements from a place of the planes to the next. */
static int64_t across(const ConvDw *v) { return v->deep ? v->width : 1; }

/* Places [from, to) of a row. */
static void add_row(ConvDw *v, const Taps *s, DhcLv from, DhcLv to) {
  DhcLp *b = v->b;
  DhcLv x = dhc_lp_for(b, from, to, 1), x_at = dhc_lp_mulc(b, x, v->x.stride * across(v)), vec[MAX_VECTORS];
  for (int i = 0; i < v->vectors; i++)
    vec[i] = dhc_lp_load(b, s->dy_row, dhc_lp_addc(b, dhc_lp_mulc(b, x, v->width), i * v->lanes), v->lanes, 0);
  for (int t = 0; t < s->n; t++) {
    DhcLv p = v->deep ? NULL : dhc_lp_splat(b, dhc_lp_load(b, s->tap_row[t], x_at, 1, 0), v->lanes);
    for (int i = 0; i < v->vectors; i++) {
      if (v->deep) p = dhc_lp_load(b, s->tap_row[t], dhc_lp_addc(b, x_at, i * v->lanes), v->lanes, 0);
      DhcLpVar acc = s->acc[t * v->vectors + i];
      dhc_lp_set(b, acc, dhc_lp_fma(b, p, vec[i], dhc_lp_get(b, acc)));
    }
  }
  dhc_lp_end(b);
}

/* Places [from, to) of the group; shift: of each tap, in a plane. */
static void add_rows(ConvDw *v, Taps *s, DhcLv dy, const DhcLv *shift, DhcLv from, DhcLv to) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), first = dhc_lp_udiv(b, from, v->W);
  DhcLv end = dhc_lp_udiv(b, dhc_lp_addc(b, dhc_lp_add(b, to, v->W), -1), v->W);
  DhcLpVar in_image = dhc_lp_var(b, dhc_lp_urem(b, first, v->H));
  DhcLpVar plane = dhc_lp_var(b, dhc_lp_mul(b, dhc_lp_udiv(b, first, v->H), v->Plane));
  DhcLv row = dhc_lp_for(b, first, end, 1), place = dhc_lp_mul(b, row, v->W), y = dhc_lp_get(b, in_image);
  DhcLv image = dhc_lp_get(b, plane), in_plane = dhc_lp_mul(b, dhc_lp_mulc(b, y, v->y.stride), v->Columns);
  DhcLv planes = dhc_lp_at(b, v->planes, dhc_lp_mulc(b, dhc_lp_add(b, image, in_plane), across(v)));
  s->dy_row = dhc_lp_at(b, dy, dhc_lp_mulc(b, place, v->width));
  for (int t = 0; t < s->n; t++) s->tap_row[t] = dhc_lp_at(b, planes, shift[t]);
  add_row(v, s, dhc_lp_max(b, dhc_lp_sub(b, from, place), zero), dhc_lp_min(b, dhc_lp_sub(b, to, place), v->W));
  DhcLv next = dhc_lp_addc(b, y, 1), more = dhc_lp_lt(b, next, v->H);
  dhc_lp_set(b, in_image, dhc_lp_select(b, more, next, zero));
  dhc_lp_set(b, plane, dhc_lp_select(b, more, image, dhc_lp_add(b, image, v->Plane)));
  dhc_lp_end(b);
}

/* Places [from, to) of the group, of one block of products: from and to the sums. */
static void add_block(ConvDw *v, Taps *s, DhcLv dy, const DhcLv *shift, DhcLv sums, DhcLv from, DhcLv to) {
  DhcLp *b = v->b;
  int sums_here = s->n * v->vectors;
  for (int i = 0; i < sums_here; i++) s->acc[i] = dhc_lp_var(b, dhc_lp_load(b, sums, dhc_lp_i64(b, s->place[i]), v->lanes, 0));
  if (v->n_taps == 1) {
    s->dy_row = dy;
    for (int t = 0; t < s->n; t++) s->tap_row[t] = dhc_lp_at(b, v->planes, shift[t]);
    add_row(v, s, from, to);
  } else {
    add_rows(v, s, dy, shift, from, to);
  }
  for (int i = 0; i < sums_here; i++) dhc_lp_store(b, sums, dhc_lp_i64(b, s->place[i]), dhc_lp_get(b, s->acc[i]), 0);
}

/* All places of the group, block by block of the product rule; done: room for its levels. */
static void add_blocks(ConvDw *v, Taps *s, DhcLv dy, const DhcLv *shift, DhcLv sums, DhcLv done) {
  DhcLp *b = v->b;
  DhcLv pixels = dhc_lp_mul(b, v->H, v->W), zero = dhc_lp_i64(b, 0), size = dhc_lp_i64(b, DHC_DOT_BLOCK);
  DhcLv all = dhc_lp_mul(b, dhc_space_extent(&v->cx, v->image), pixels), n = dhc_lp_mul(b, v->n_images, pixels);
  if (v->one_block) {
    add_block(v, s, dy, shift, sums, zero, n);
    return;
  }
  DhcLv width = dhc_lp_i64(b, (int64_t)s->n * v->width);
  DhcTplLevels levels = {.dtype = DHC_F32, .lanes = v->lanes, .buffer = done, .pitch = width, .none = dhc_lp_local(b, DHC_F32, v->lanes)};
  DhcTplSums here = {.at = sums, .width = width, .carried = true};
  DhcLv before = dhc_lp_mul(b, v->image0, pixels), end = dhc_lp_add(b, before, n);
  DhcLv block = dhc_lp_for(b, dhc_lp_udiv(b, before, size), dhc_lp_ceildivc(b, end, DHC_DOT_BLOCK), 1);
  DhcLv start = dhc_lp_mulc(b, block, DHC_DOT_BLOCK), stop = dhc_lp_min(b, end, dhc_lp_addc(b, start, DHC_DOT_BLOCK));
  add_block(v, s, dy, shift, sums, dhc_lp_sub(b, dhc_lp_max(b, start, before), before), dhc_lp_sub(b, stop, before));
  DhcLv last = dhc_lp_eq(b, stop, all), complete = dhc_lp_eq(b, dhc_lp_and(b, stop, dhc_lp_addc(b, size, -1)), zero);
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_or(b, last, complete), dhc_lp_lt(b, size, all)));
  dhc_tpl_levels_add(b, &levels, &here, block, zero, last);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* Rows of taps from ky on, `rows` of them, in each n taps from kx on (all of them, or rows is 1): of so many channels and a block,
 * whose sums[channel][tap][width] lie at `at`: += over the group. Of more than one channel all taps. */
static void add_places(ConvDw *v, int channels, DhcLv ky, int rows, int kx, int n, DhcLv dy, DhcLv at) {
  DhcLp *b = v->b;
  Taps s = {.n = channels * rows * n};
  DhcLv shift[MAX_TAPS], each = dhc_lp_mul(b, dhc_lp_prog(b, v->group), v->Plane);
  for (int t = 0; t < s.n; t++) {
    DhcLv row = dhc_lp_addc(b, dhc_lp_mulc(b, dhc_lp_addc(b, ky, t / n % rows), v->y.dilation), -v->y.lo);
    shift[t] = dhc_lp_addc(b, dhc_lp_mul(b, v->Columns, row), v->x.dilation * (kx + t % n) - v->x.lo);
    shift[t] = dhc_lp_add(b, shift[t], dhc_lp_mulc(b, each, t / n / rows));
    shift[t] = dhc_lp_mulc(b, shift[t], across(v));
    for (int i = 0; i < v->vectors; i++) s.place[t * v->vectors + i] = (int64_t)t * v->width + i * v->lanes;
  }
  at = dhc_lp_add(b, at, dhc_lp_mulc(b, dhc_lp_addc(b, dhc_lp_mulc(b, ky, v->x.n_taps), kx), v->width));
  DhcLv done = v->one_block ? NULL : dhc_lp_at(b, v->sums, dhc_lp_add(b, v->All, dhc_lp_mulc(b, at, DHC_DOT_LEVELS)));
  add_blocks(v, &s, dy, shift, dhc_lp_at(b, v->sums, at), done);
}

/* As many rows of taps at once as registers allow, about as many every time. */
static void add_taps(ConvDw *v, int channels, DhcLv dy, DhcLv at) {
  DhcLp *b = v->b;
  int all = (int)v->y.n_taps, across = (int)v->x.n_taps, fit = v->most / v->vectors;
  if (fit > MAX_TAPS) fit = MAX_TAPS;
  int rows = fit / across;
  if (rows < 1) {
    DhcLv ky = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, all), 1);
    for (int kx = 0, n; kx < across; kx += n) {
      n = across - kx < fit ? across - kx : fit;
      add_places(v, 1, ky, 1, kx, n, dy, at);
    }
    dhc_lp_end(b);
    return;
  }
  if (rows > all) rows = all;
  int passes = (all + rows - 1) / rows;
  rows = (all + passes - 1) / passes;
  int whole = all / rows * rows;
  DhcLv ky = dhc_lp_for(b, dhc_lp_i64(b, 0), dhc_lp_i64(b, whole), rows);
  add_places(v, channels, ky, rows, 0, across, dy, at);
  dhc_lp_end(b);
  if (whole < all) add_places(v, channels, dhc_lp_i64(b, whole), all - whole, 0, across, dy, at);
}

/* Channels [c, c + channels) of the task. */
static void add_channels(ConvDw *v, DhcLv c, int channels) {
  DhcLp *b = v->b;
  DhcLv each = dhc_lp_mul(b, dhc_lp_prog(b, v->group), v->Plane);
  for (int i = 0; i < channels && !v->deep; i++) {
    DhcTplMark mark = dhc_tpl_push(&v->cx);
    if (v->c >= 0) dhc_tpl_bind(&v->cx, v->c, dhc_lp_add(b, v->c0, dhc_lp_addc(b, c, i)));
    fill_planes(v, dhc_lp_at(b, v->planes, dhc_lp_mulc(b, each, i)));
    dhc_tpl_pop(&v->cx, &mark);
  }
  DhcLv k = dhc_lp_for(b, dhc_lp_i64(b, 0), v->n_blocks, 1);
  if (v->deep) fill_deep(v, dhc_lp_add(b, v->o0, dhc_lp_mulc(b, k, v->width)));
  DhcLv at = dhc_lp_add(b, dhc_lp_mul(b, k, v->Sums), dhc_lp_mulc(b, c, (int64_t)v->n_taps * v->width));
  add_taps(v, channels, dhc_lp_at(b, v->dy, dhc_lp_mul(b, k, v->Dy)), at);
  dhc_lp_end(b);
}

static void add_group(ConvDw *v) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), whole = zero;
  transpose_dy(v);
  if (v->together > 1) {
    DhcLv by = dhc_lp_i64(b, v->together);
    whole = dhc_lp_mul(b, dhc_lp_udiv(b, v->n_channels, by), by);
    add_channels(v, dhc_lp_for(b, zero, whole, v->together), v->together);
    dhc_lp_end(b);
  }
  add_channels(v, dhc_lp_for(b, whole, v->n_channels, 1), 1);
  dhc_lp_end(b);
}

/* ---- epilogue ----------------------------------------------------------------------------------- */

/* sums[c, tap][o .. o + lanes) to turned[o][c, tap]. */
static void turn(ConvDw *v, DhcLv sums, DhcLv n) {
  DhcLp *b = v->b;
  DhcLv last = dhc_lp_addc(b, n, -1), x[64];
  DhcLv j = dhc_lp_for(b, dhc_lp_i64(b, 0), n, v->lanes);
  for (int i = 0; i < v->lanes; i++)
    x[i] = dhc_lp_load(b, sums, dhc_lp_mulc(b, dhc_lp_min(b, dhc_lp_addc(b, j, i), last), v->width), v->lanes, 0);
  dhc_lp_transpose(b, x, v->lanes);
  for (int i = 0; i < v->lanes; i++) dhc_lp_store(b, v->turned, dhc_lp_add(b, j, dhc_lp_mulc(b, v->Turned, i)), x[i], 0);
  dhc_lp_end(b);
}

/* Do c and taps follow one another in memory, in every operand that has them? NULL: nobody can say, or it matters which is which. */
static DhcLv follows(ConvDw *v) {
  DhcLp *b = v->b;
  const DhcSpec *s = v->s;
  uint32_t run = 0;
  DhcLv yes = dhc_lp_eq(b, v->H, v->H);
  for (int i = 0; i < v->n_run; i++) run |= 1u << v->run[i];
  for (int n = 0; n < s->n_nodes; n++)
    if (s->node[n].kind == DHC_SN_AXIS && run >> s->node[n].operand & 1) return NULL;
  for (int o = 0; o < s->n_operands; o++) {
    uint32_t has = dhc_tpl_operand_axes(&v->cx, o) & run;
    if (o == v->ox || o == v->oy || !has) continue;
    if (has != run) return NULL;
    for (int i = 0; i + 1 < v->n_run; i++) {
      DhcLv step = dhc_tpl_step(&v->cx, o, v->run[i]), inner = dhc_tpl_step(&v->cx, o, v->run[i + 1]);
      if (!step || !inner) return NULL;
      yes = dhc_lp_and(b, yes, dhc_lp_eq(b, step, dhc_lp_mul(b, inner, dhc_space_extent(&v->cx, v->run[i + 1]))));
    }
  }
  return yes;
}

/* With all axes bound. */
static void store(ConvDw *v) {
  int first = dhc_spec_n_inputs(v->s);
  for (int o = first; o < v->s->n_operands; o++) dhc_tpl_eval(&v->cx, v->s->operand[o].stored);
  for (int o = first; o < v->s->n_operands; o++) dhc_tpl_store(&v->cx, o);
}

/* Results [first, end) along the last axis of the run, or all of them if it is one, from `at` on. */
static void store_run(ConvDw *v, DhcLv at, DhcLv first, DhcLv end) {
  DhcLp *b = v->b;
  DhcLv i = dhc_lp_for(b, first, end, v->lanes);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  dhc_tpl_bind_vector(&v->cx, v->run[v->n_run - 1], i, v->lanes, dhc_lp_tail(b, i, end, v->lanes));
  dhc_tpl_set(&v->cx, v->node, dhc_lp_load(b, v->turned, dhc_lp_add(b, at, dhc_lp_sub(b, i, first)), v->lanes, 0));
  store(v);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

/* The results of one o, bound. */
static void store_out(ConvDw *v, DhcLv at, DhcLv n) {
  DhcLp *b = v->b;
  DhcTplMark mark[3];
  DhcLv zero = dhc_lp_i64(b, 0), join = v->n_run > 1 ? follows(v) : NULL, per = NULL, first = zero, end = NULL;
  for (int i = 0; i < v->n_run; i++) {
    int a = v->run[i];
    DhcLv lo = a == v->c ? v->c0 : zero, hi = a == v->c ? dhc_lp_add(b, lo, v->n_channels) : dhc_space_extent(&v->cx, a);
    if (i == v->n_run - 1) {
      first = lo;
      end = join ? dhc_lp_select(b, join, n, hi) : hi;
      break;
    }
    if (join) hi = dhc_lp_select(b, join, dhc_lp_min(b, hi, dhc_lp_addc(b, lo, 1)), hi);
    per = dhc_lp_i64(b, 1);
    for (int k = i + 1; k < v->n_run; k++) per = dhc_lp_mul(b, per, dhc_space_extent(&v->cx, v->run[k]));
    DhcLv x = dhc_lp_for(b, lo, hi, 1);
    mark[i] = dhc_tpl_push(&v->cx);
    dhc_tpl_bind(&v->cx, a, x);
    at = dhc_lp_add(b, at, dhc_lp_mul(b, dhc_lp_sub(b, x, lo), per));
  }
  store_run(v, at, first, end);
  for (int i = v->n_run - 2; i >= 0; i--) {
    dhc_tpl_pop(&v->cx, &mark[i]);
    dhc_lp_end(b);
  }
}

/* Without c and taps a vector of results. */
static void store_outs(ConvDw *v, DhcLv sums, DhcLv o, DhcLv end) {
  DhcLp *b = v->b;
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  dhc_tpl_bind_vector(&v->cx, v->o, o, v->lanes, dhc_lp_tail(b, o, end, v->lanes));
  dhc_tpl_set(&v->cx, v->node, dhc_lp_load(b, sums, dhc_lp_i64(b, 0), v->lanes, 0));
  store(v);
  dhc_tpl_pop(&v->cx, &mark);
}

static void epilogue(ConvDw *v) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), O = dhc_space_extent(&v->cx, v->o), n = dhc_lp_mulc(b, v->n_channels, v->n_taps);
  DhcLv k = dhc_lp_for(b, zero, v->n_blocks, 1);
  DhcLv o_first = dhc_lp_add(b, v->o0, dhc_lp_mulc(b, k, v->width)), o_end = dhc_lp_min(b, O, dhc_lp_addc(b, o_first, v->width));
  DhcLv o = dhc_lp_for(b, o_first, o_end, v->lanes);
  DhcLv sums = dhc_lp_at(b, v->sums, dhc_lp_add(b, dhc_lp_mul(b, k, v->Sums), dhc_lp_sub(b, o, o_first)));
  if (!v->n_run) {
    store_outs(v, sums, o, o_end);
  } else {
    turn(v, sums, n);
    DhcLv one = dhc_lp_for(b, o, dhc_lp_min(b, o_end, dhc_lp_addc(b, o, v->lanes)), 1);
    DhcTplMark mark = dhc_tpl_push(&v->cx);
    dhc_tpl_bind(&v->cx, v->o, one);
    store_out(v, dhc_lp_mul(b, dhc_lp_sub(b, one, o), v->Turned), n);
    dhc_tpl_pop(&v->cx, &mark);
    dhc_lp_end(b);
  }
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* ---- the kernel ----------------------------------------------------------------------------------- */

static void task_body(ConvDw *v) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), none = dhc_lp_zero(b, DHC_F32, v->lanes);
  DhcLv i = dhc_lp_for(b, zero, dhc_lp_mul(b, v->n_blocks, v->Sums), v->lanes);
  dhc_lp_store(b, v->sums, i, none, 0);
  dhc_lp_end(b);
  DhcLv images = dhc_space_extent(&v->cx, v->image), group = dhc_lp_prog(b, v->group);
  DhcLv g = dhc_lp_for(b, zero, dhc_lp_udiv(b, dhc_lp_add(b, images, dhc_lp_addc(b, group, -1)), group), 1);
  v->image0 = dhc_lp_mul(b, g, group);
  v->n_images = dhc_lp_min(b, group, dhc_lp_sub(b, images, v->image0));
  add_group(v);
  dhc_lp_end(b);
  epilogue(v);
}

static DhcLv reach(ConvDw *v, const DhcSpace *d) {
  DhcLv n = dhc_lp_mulc(v->b, dhc_lp_addc(v->b, dhc_space_extent(&v->cx, d->out), -1), d->stride);
  return dhc_lp_addc(v->b, n, 1 + d->hi - d->lo);
}

static void kernel(ConvDw *v) {
  DhcLp *b = v->b;
  dhc_dimprog o_chunks, c_chunks;
  DhcLv places = dhc_lp_mul(b, dhc_space_extent(&v->cx, v->y.out), dhc_space_extent(&v->cx, v->x.out));
  v->one_block = dhc_tpl_one_block(dhc_lp_mul(b, places, dhc_space_extent(&v->cx, v->image)), 1);
  size_blocks(v);
  dhc_dimprog n_tasks = size_tasks(v, &o_chunks, &c_chunks);
  b->scratch_bytes = scratch_bytes(v);
  v->H = dhc_space_extent(&v->cx, v->y.out);
  v->W = dhc_space_extent(&v->cx, v->x.out);
  v->Rows = reach(v, &v->y);
  v->Columns = reach(v, &v->x);
  v->Plane = dhc_lp_mul(b, v->Rows, v->Columns);
  v->Dy = dhc_lp_mulc(b, dhc_lp_prog(b, v->places), v->width);
  v->Sums = dhc_lp_prog(b, sums_prog(v));
  DhcLv blocks = dhc_lp_prog(b, v->blocks), channels = dhc_lp_prog(b, v->channels);
  v->dy = dhc_lp_scratch(b, DHC_F32, 0);
  v->sums = dhc_lp_at(b, v->dy, dhc_lp_mul(b, blocks, v->Dy));
  v->All = dhc_lp_mul(b, blocks, v->Sums);
  v->Turned = dhc_lp_prog(b, turned_prog(v));
  v->turned = dhc_lp_at(b, v->sums, dhc_lp_mulc(b, v->All, v->one_block ? 1 : 1 + DHC_DOT_LEVELS));
  v->planes = dhc_lp_at(b, v->turned, dhc_lp_mulc(b, v->Turned, v->lanes));
  DhcLv deep = dhc_lp_addc(b, dhc_lp_mul(b, dhc_lp_prog(b, v->group), v->Plane), v->lanes);
  if (v->deep) v->apart = dhc_lp_at(b, v->planes, dhc_lp_mulc(b, deep, v->width));
  DhcLv n_o = dhc_lp_prog(b, o_chunks), n_c = dhc_lp_prog(b, c_chunks), per_outer = dhc_lp_mul(b, n_o, n_c);
  DhcLv all_blocks = dhc_lp_ceildivc(b, dhc_space_extent(&v->cx, v->o), v->width);

  DhcLv task = dhc_lp_tasks(b, n_tasks);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  DhcTplRows outer = dhc_tpl_rows(&v->cx, v->outer, dhc_lp_udiv(b, task, per_outer));
  dhc_tpl_rows_bind(&v->cx, &outer);
  DhcLv t = dhc_lp_urem(b, task, per_outer);
  DhcLv block0 = dhc_lp_mul(b, dhc_lp_udiv(b, t, n_c), blocks);
  v->o0 = dhc_lp_mulc(b, block0, v->width);
  v->n_blocks = dhc_lp_min(b, blocks, dhc_lp_sub(b, all_blocks, block0));
  v->c0 = dhc_lp_mul(b, dhc_lp_urem(b, t, n_c), channels);
  v->n_channels = dhc_lp_min(b, channels, dhc_lp_sub(b, dhc_space_extent(&v->cx, v->c), v->c0));
  task_body(v);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

void dhc_tpl_conv_dw(const DhcTplInput *in, DhcLp *b) {
  ConvDw *v = DHC_NEW(b->arena, ConvDw);
  v->b = b;
  v->s = in->spec;
  dhc_tpl_init(&v->cx, in, b);
  if (b->refused) return;
  if (!find_roles(v)) {
    dhc_tpl_row(in, b);
    return;
  }
  b->addresses_weigh = v->deep;
  choose_tile(v);
  kernel(v);
}
