/* Template "conv_deep": depthwise convolutions and their input gradients, a channel a lane.
 *
 * Each channel has its own weights, so that pixels side by side share nothing but them, and planes of a few pixels fill no vectors.
 * A task takes the channels of a vector and some images. It turns their weights, once, and their pixels, so that
 *
 *   taps[tap][lane],   planes[image][row][column][lane]      zeros around the pixels and, of a division, between them
 *
 * and a result is a chain of aligned vectors, whatever its row: results of all rows and images are one run, which goes by blocks.
 *
 *   task: outer index, vector of channels, group of images
 *     turn the weights; list where pixels lie in planes, where results begin there, and how far on each tap meets them
 *     for each few images of the group: turn the pixels
 *       for each block of results: for each tap:  acc += taps[tap] * planes[result + tap]
 *       turn the results; the epilogue of template "conv", stores
 *
 * Schedule: v[1] results of a block, v[2] lanes; images that make v[4] results are multiplied together, and as many as make v[5] are
 * a task. The sum is one chain of products (ir/sum.h), so taps are no more. */
#include "backends/loop/tpl_conv.h"
#include "ir/sum.h"

enum { MAX_BLOCK = 16, MAX_LANES = 64 };

/* One spatial dimension of planes. */
typedef struct Side {
  const DhcSpace *d;
  DhcLv outs, offset, limit, size, low; /* results; of the guard; places of a plane, and the coordinate of the first */
  dhc_dimprog size_prog, outs_prog, limit_prog;
} Side;

typedef struct Deep {
  DhcConv v; /* m: the channels */
  Side y, x;
  int block, n_taps;
  dhc_dimprog places, plane, images, task_images, row; /* results of an image, elements of its plane; images at once and of a task; of results */
  DhcLv Places, Plane, Images;
  DhcLv pixels, results, shifts;    /* lists, in elements of planes */
  DhcLv taps, planes, sums;         /* scratch */
  DhcLv channel0;                   /* of the task */
} Deep;

static dhc_dimprog pc(const Deep *d, int64_t x) { return dhc_prog_const(d->v.b->arena, x); }
static dhc_dimprog op(const Deep *d, int o, dhc_dimprog x, dhc_dimprog y) { return dhc_prog_op(d->v.b->arena, o, x, y); }
static dhc_dimprog round_up(const Deep *d, dhc_dimprog x, int64_t to) {
  return op(d, DHC_DIM_MUL, op(d, DHC_DIM_CEILDIV, x, pc(d, to)), pc(d, to));
}

/* ---- sizes ---------------------------------------------------------------------------------------- */

/* From the first coordinate that a tap meets or a pixel has to the last. */
static void find_side(Deep *d, Side *s, const DhcSpace *of) {
  DhcTplCx *cx = &d->v.cx;
  DhcLp *b = d->v.b;
  s->d = of;
  s->outs = dhc_space_outs(cx, of);
  s->outs_prog = dhc_space_outs_prog(cx, of);
  s->offset = s->low = dhc_lp_i64(b, 0);
  s->limit = s->size = dhc_lp_i64(b, 1);
  s->limit_prog = s->size_prog = pc(d, 1);
  if (of->term < 0) return;
  int arg = dhc_spec_offset_arg(d->v.s, d->v.ox, of->term);
  dhc_dimprog offset = dhc_prog_dim(b->arena, arg), limit = dhc_prog_dim(b->arena, arg + 1);
  dhc_dimprog low = op(d, DHC_DIM_MIN, op(d, DHC_DIM_ADD, offset, pc(d, of->lo)), pc(d, 0));
  dhc_dimprog met = op(d, DHC_DIM_MUL, op(d, DHC_DIM_ADD, s->outs_prog, pc(d, -1)), pc(d, of->stride));
  met = op(d, DHC_DIM_ADD, op(d, DHC_DIM_ADD, met, offset), pc(d, of->hi));
  dhc_dimprog there = op(d, DHC_DIM_MUL, op(d, DHC_DIM_ADD, limit, pc(d, -1)), pc(d, of->div));
  s->limit_prog = limit;
  s->size_prog = op(d, DHC_DIM_ADD, op(d, DHC_DIM_SUB, op(d, DHC_DIM_MAX, met, there), low), pc(d, 1));
  s->size_prog = op(d, DHC_DIM_MAX, s->size_prog, pc(d, 1));
  s->offset = cx->offset[d->v.ox][of->term];
  s->limit = cx->limit[d->v.ox][of->term];
  s->size = dhc_lp_prog(b, s->size_prog);
  s->low = dhc_lp_prog(b, low);
}

/* As many as make n results. */
static dhc_dimprog images_for(const Deep *d, int n) {
  dhc_dimprog some = op(d, DHC_DIM_CEILDIV, pc(d, n), op(d, DHC_DIM_MAX, d->places, pc(d, 1)));
  some = op(d, DHC_DIM_MIN, some, dhc_space_extent_prog(&d->v.cx, d->v.image));
  return op(d, DHC_DIM_MAX, some, pc(d, 1));
}

static void find_sizes(Deep *d) {
  DhcConv *v = &d->v;
  DhcLp *b = v->b;
  const int *k = v->cx.in->schedule->v;
  find_side(d, &d->y, &v->y.d);
  find_side(d, &d->x, &v->x.d);
  d->places = op(d, DHC_DIM_MUL, d->y.outs_prog, d->x.outs_prog);
  d->plane = op(d, DHC_DIM_MUL, op(d, DHC_DIM_MUL, d->y.size_prog, d->x.size_prog), pc(d, v->lanes));
  d->plane = op(d, DHC_DIM_ADD, d->plane, pc(d, v->lanes));
  d->images = images_for(d, k[4]);
  d->task_images = op(d, DHC_DIM_MUL, op(d, DHC_DIM_CEILDIV, images_for(d, k[5]), d->images), d->images);
  d->row = round_up(d, op(d, DHC_DIM_MUL, d->places, d->images), v->lanes > d->block ? v->lanes : d->block);
  d->Places = dhc_lp_prog(b, d->places);
  d->Plane = dhc_lp_prog(b, d->plane);
  d->Images = dhc_lp_prog(b, d->images);
  v->W = d->x.outs;
  v->pitch = d->y.outs;
  v->Result = dhc_lp_prog(b, op(d, DHC_DIM_ADD, d->row, pc(d, v->lanes)));
}

/* Scratch: the three lists; taps, planes, sums, results. */
static void place_scratch(Deep *d) {
  DhcConv *v = &d->v;
  DhcLp *b = v->b;
  int64_t lanes = v->lanes;
  dhc_dimprog pixels = op(d, DHC_DIM_ADD, op(d, DHC_DIM_MUL, d->y.limit_prog, d->x.limit_prog), pc(d, lanes));
  dhc_dimprog lists = op(d, DHC_DIM_ADD, op(d, DHC_DIM_ADD, pixels, d->row), pc(d, d->n_taps));
  dhc_dimprog n = round_up(d, op(d, DHC_DIM_MUL, lists, pc(d, 2)), 16);
  d->pixels = dhc_lp_scratch(b, DHC_I64, 0);
  d->results = dhc_lp_at(b, d->pixels, dhc_lp_prog(b, pixels));
  d->shifts = dhc_lp_at(b, d->results, dhc_lp_prog(b, d->row));
  DhcLv base = dhc_lp_scratch(b, DHC_F32, 0);
  d->taps = dhc_lp_at(b, base, dhc_lp_prog(b, n));
  n = op(d, DHC_DIM_ADD, n, pc(d, (d->n_taps + lanes) * lanes));
  d->planes = dhc_lp_at(b, base, dhc_lp_prog(b, n));
  n = op(d, DHC_DIM_ADD, n, op(d, DHC_DIM_MUL, d->plane, d->images));
  d->sums = dhc_lp_at(b, base, dhc_lp_prog(b, n));
  n = op(d, DHC_DIM_ADD, n, op(d, DHC_DIM_MUL, d->row, pc(d, lanes)));
  v->results = dhc_lp_at(b, base, dhc_lp_prog(b, n));
  n = op(d, DHC_DIM_ADD, n, op(d, DHC_DIM_MUL, op(d, DHC_DIM_ADD, d->row, pc(d, lanes)), pc(d, lanes)));
  b->scratch_bytes = op(d, DHC_DIM_MUL, n, pc(d, 4));
}

/* ---- lists -------------------------------------------------------------------------------------------- */

/* list[first + y * columns + x] = from + (y * y_step + x * x_step in places of a plane). */
static void list(Deep *d, DhcLv to, DhcLv rows, DhcLv columns, int64_t y_step, int64_t x_step, DhcLv from) {
  DhcLp *b = d->v.b;
  DhcLv zero = dhc_lp_i64(b, 0), y = dhc_lp_for(b, zero, rows, 1);
  DhcLv row = dhc_lp_add(b, from, dhc_lp_mul(b, dhc_lp_mulc(b, y, y_step * d->v.lanes), d->x.size)), at = dhc_lp_mul(b, y, columns);
  DhcLv x = dhc_lp_for(b, zero, columns, 1);
  dhc_lp_store(b, to, dhc_lp_add(b, at, x), dhc_lp_add(b, row, dhc_lp_mulc(b, x, x_step * d->v.lanes)), 0);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

static DhcLv place(Deep *d, DhcLv y, DhcLv x) {
  DhcLp *b = d->v.b;
  DhcLv at = dhc_lp_add(b, dhc_lp_mul(b, dhc_lp_sub(b, y, d->y.low), d->x.size), dhc_lp_sub(b, x, d->x.low));
  return dhc_lp_mulc(b, at, d->v.lanes);
}

static DhcLv n_taps_of(Deep *d, const DhcSpace *s) { return dhc_lp_i64(d->v.b, s->tap < 0 ? 1 : s->n_taps); }

/* Behind the lists of pixels and results stands what does no harm: a place behind the plane's, and the last result. */
static void make_lists(Deep *d) {
  DhcLp *b = d->v.b;
  DhcLv zero = dhc_lp_i64(b, 0), n_pixels = dhc_lp_mul(b, d->y.limit, d->x.limit), behind = dhc_lp_addc(b, d->Plane, -d->v.lanes);
  list(d, d->pixels, d->y.limit, d->x.limit, d->y.d->div, d->x.d->div, place(d, zero, zero));
  for (int i = 0; i < d->v.lanes; i++) dhc_lp_store(b, d->pixels, dhc_lp_addc(b, n_pixels, i), behind, 0);
  DhcLv image = dhc_lp_for(b, zero, d->Images, 1);
  DhcLv first = dhc_lp_add(b, place(d, d->y.offset, d->x.offset), dhc_lp_mul(b, image, d->Plane));
  list(d, dhc_lp_at(b, d->results, dhc_lp_mul(b, image, d->Places)), d->y.outs, d->x.outs, d->y.d->stride, d->x.d->stride, first);
  dhc_lp_end(b);
  DhcLv n = dhc_lp_mul(b, d->Places, d->Images), i = dhc_lp_for(b, n, dhc_lp_prog(b, d->row), 1);
  dhc_lp_store(b, d->results, i, dhc_lp_load(b, d->results, dhc_lp_addc(b, n, -1), 1, 0), 0);
  dhc_lp_end(b);
  list(d, d->shifts, n_taps_of(d, d->y.d), n_taps_of(d, d->x.d), d->y.d->dilation, d->x.d->dilation, zero);
}

/* ---- turning ------------------------------------------------------------------------------------------ */

/* Elements of an operand: rows of columns, `row_step` and `step` apart, or one row if rows follow one another. */
typedef struct Rows {
  int operand;
  DhcLv rows, columns, row_step, step;
} Rows;

static Rows rows_of(Deep *d, int operand, DhcLv rows, DhcLv columns, DhcLv row_step, DhcLv step) {
  DhcLp *b = d->v.b;
  DhcLv one = dhc_lp_eq(b, row_step, dhc_lp_mul(b, columns, step));
  return (Rows){.operand = operand, .rows = dhc_lp_select(b, one, dhc_lp_i64(b, 1), rows),
                .columns = dhc_lp_select(b, one, dhc_lp_mul(b, rows, columns), columns), .row_step = row_step, .step = step};
}

/* to[list[i]][lane], or, list NULL, to[i][lane] = the i-th element of the channel of each lane; those beyond the last are copies of it. */
static void turn_in(Deep *d, const Rows *r, DhcLv list, DhcLv to) {
  DhcConv *v = &d->v;
  DhcLp *b = v->b;
  int64_t known;
  bool unit = dhc_lp_is_const(r->step, &known) && known == 1;
  DhcLv zero = dhc_lp_i64(b, 0), last = dhc_lp_addc(b, v->M, -1), base = dhc_tpl_base(&v->cx, r->operand), lane[MAX_LANES], x[MAX_LANES];
  DhcLv apart = dhc_space_step(&v->cx, r->operand, v->m), ptr = v->cx.pointer[r->operand];
  for (int l = 0; l < v->lanes; l++)
    lane[l] = dhc_lp_add(b, base, dhc_lp_mul(b, dhc_lp_min(b, dhc_lp_addc(b, d->channel0, l), last), apart));
  DhcLv row = dhc_lp_for(b, zero, r->rows, 1);
  DhcLv i = dhc_lp_for(b, zero, r->columns, v->lanes), mask = dhc_lp_tail(b, i, r->columns, v->lanes);
  DhcLv from = dhc_lp_add(b, dhc_lp_mul(b, row, r->row_step), dhc_lp_mul(b, i, r->step)), n = dhc_lp_add(b, dhc_lp_mul(b, row, r->columns), i);
  DhcLv each = unit ? NULL : dhc_lp_mul(b, dhc_lp_iota(b, DHC_I64, v->lanes), r->step);
  for (int l = 0; l < v->lanes; l++) {
    DhcLv at = dhc_lp_add(b, lane[l], from);
    x[l] = unit ? dhc_lp_mload(b, ptr, at, v->lanes, mask) : dhc_lp_gather(b, dhc_lp_at(b, ptr, at), each, mask);
  }
  dhc_lp_transpose(b, x, v->lanes);
  for (int l = 0; l < v->lanes; l++) {
    DhcLv at = dhc_lp_addc(b, n, l);
    at = list ? dhc_lp_load(b, list, at, 1, 0) : dhc_lp_mulc(b, at, v->lanes);
    dhc_lp_store(b, to, at, x[l], 0);
  }
  dhc_lp_end(b);
  dhc_lp_end(b);
}

/* results[lane][i] = sums[i][lane] */
static void turn_out(Deep *d, DhcLv n) {
  DhcConv *v = &d->v;
  DhcLp *b = v->b;
  DhcLv x[MAX_LANES], i = dhc_lp_for(b, dhc_lp_i64(b, 0), n, v->lanes);
  for (int l = 0; l < v->lanes; l++) x[l] = dhc_lp_load(b, d->sums, dhc_lp_mulc(b, dhc_lp_addc(b, i, l), v->lanes), v->lanes, 0);
  dhc_lp_transpose(b, x, v->lanes);
  for (int l = 0; l < v->lanes; l++) dhc_lp_store(b, v->results, dhc_lp_add(b, i, dhc_lp_mulc(b, v->Result, l)), x[l], 0);
  dhc_lp_end(b);
}

static void clear(Deep *d, DhcLv n) {
  DhcLp *b = d->v.b;
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), n, d->v.lanes);
  dhc_lp_store(b, d->planes, i, dhc_lp_zero(b, DHC_F32, d->v.lanes), 0);
  dhc_lp_end(b);
}

/* ---- products ----------------------------------------------------------------------------------------- */

static void multiply(Deep *d, DhcLv n) {
  DhcLp *b = d->v.b;
  int lanes = d->v.lanes;
  DhcLv zero = dhc_lp_i64(b, 0), from[MAX_BLOCK];
  DhcLpVar acc[MAX_BLOCK];
  DhcLv p = dhc_lp_for(b, zero, n, d->block);
  for (int i = 0; i < d->block; i++) {
    from[i] = dhc_lp_at(b, d->planes, dhc_lp_load(b, d->results, dhc_lp_addc(b, p, i), 1, 0));
    acc[i] = dhc_lp_var(b, dhc_lp_zero(b, DHC_F32, lanes));
  }
  DhcLv t = dhc_lp_for(b, zero, dhc_lp_i64(b, d->n_taps), 1), shift = dhc_lp_load(b, d->shifts, t, 1, 0);
  DhcLv w = dhc_lp_load(b, d->taps, dhc_lp_mulc(b, t, lanes), lanes, 0);
  for (int i = 0; i < d->block; i++) dhc_lp_set(b, acc[i], dhc_lp_fma(b, w, dhc_lp_load(b, from[i], shift, lanes, 0), dhc_lp_get(b, acc[i])));
  dhc_lp_end(b);
  for (int i = 0; i < d->block; i++) dhc_lp_store(b, d->sums, dhc_lp_mulc(b, dhc_lp_addc(b, p, i), lanes), dhc_lp_get(b, acc[i]), 0);
  dhc_lp_end(b);
}

/* Images [image0, image0 + n_images). */
static void some_images(Deep *d, DhcLv m_end) {
  DhcConv *v = &d->v;
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), i = dhc_lp_for(b, zero, v->n_images, 1);
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  if (v->image >= 0) dhc_tpl_bind(&v->cx, v->image, dhc_lp_add(b, v->image0, i));
  DhcLv row_step = d->y.d->term < 0 ? zero : v->cx.stride[v->ox][d->y.d->term];
  Rows r = rows_of(d, v->ox, d->y.limit, d->x.limit, row_step, v->cx.stride[v->ox][d->x.d->term]);
  turn_in(d, &r, d->pixels, dhc_lp_at(b, d->planes, dhc_lp_mul(b, i, d->Plane)));
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
  DhcLv n = dhc_lp_mul(b, v->n_images, d->Places);
  multiply(d, n);
  turn_out(d, n);
  dhc_conv_epilogue(v, d->channel0, m_end);
}

/* ---- the kernel --------------------------------------------------------------------------------------- */

static void turn_weights(Deep *d) {
  DhcConv *v = &d->v;
  DhcLv y = n_taps_of(d, d->y.d), x = n_taps_of(d, d->x.d);
  DhcLv y_step = dhc_space_step(&v->cx, v->ow, d->y.d->tap), x_step = dhc_space_step(&v->cx, v->ow, d->x.d->tap);
  Rows r = d->x.d->tap >= 0 ? rows_of(d, v->ow, y, x, y_step, x_step) : rows_of(d, v->ow, dhc_lp_i64(v->b, 1), y, dhc_lp_i64(v->b, 0), y_step);
  turn_in(d, &r, NULL, d->taps);
}

static void kernel(Deep *d) {
  DhcConv *v = &d->v;
  DhcLp *b = v->b;
  find_sizes(d);
  place_scratch(d);
  dhc_dimprog groups = op(d, DHC_DIM_CEILDIV, dhc_space_extent_prog(&v->cx, v->image), d->task_images);
  dhc_dimprog vectors = op(d, DHC_DIM_CEILDIV, dhc_space_extent_prog(&v->cx, v->m), pc(d, v->lanes));
  dhc_dimprog per_outer = op(d, DHC_DIM_MUL, groups, vectors);
  DhcLv n_groups = dhc_lp_prog(b, groups), n_outer = dhc_lp_prog(b, per_outer), each = dhc_lp_prog(b, d->task_images);
  DhcLv zero = dhc_lp_i64(b, 0), images = dhc_space_extent(&v->cx, v->image);
  v->M = dhc_space_extent(&v->cx, v->m);
  v->y0 = zero;
  v->y1 = d->y.outs;
  DhcLv task = dhc_lp_tasks(b, op(d, DHC_DIM_MUL, dhc_tpl_count_prog(&v->cx, v->outer), per_outer));
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  DhcTplRows outer = dhc_tpl_rows(&v->cx, v->outer, dhc_lp_udiv(b, task, n_outer));
  dhc_tpl_rows_bind(&v->cx, &outer);
  DhcLv t = dhc_lp_urem(b, task, n_outer);
  d->channel0 = dhc_lp_mulc(b, dhc_lp_udiv(b, t, n_groups), v->lanes);
  DhcLv first = dhc_lp_mul(b, dhc_lp_urem(b, t, n_groups), each), end = dhc_lp_min(b, images, dhc_lp_add(b, first, each));
  DhcLv m_end = dhc_lp_min(b, v->M, dhc_lp_addc(b, d->channel0, v->lanes));
  make_lists(d);
  turn_weights(d);
  clear(d, dhc_lp_mul(b, d->Plane, d->Images));
  DhcLv n = dhc_lp_udiv(b, dhc_lp_addc(b, dhc_lp_add(b, dhc_lp_sub(b, end, first), d->Images), -1), d->Images);
  v->image0 = dhc_lp_add(b, first, dhc_lp_mul(b, dhc_lp_for(b, zero, n, 1), d->Images));
  v->n_images = dhc_lp_min(b, d->Images, dhc_lp_sub(b, end, v->image0));
  some_images(d, m_end);
  dhc_lp_end(b);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

void dhc_tpl_conv_deep(const DhcTplInput *in, DhcLp *b) {
  Deep *d = DHC_NEW(b->arena, Deep);
  DhcConv *v = &d->v;
  const int *k = in->schedule->v;
  v->b = b;
  v->s = in->spec;
  dhc_tpl_init(&v->cx, in, b);
  if (b->refused) return;
  if (!dhc_spec_deep(v->s) || !dhc_conv_roles(v)) {
    dhc_lp_refuse(b, "a convolution that is not depthwise");
    return;
  }
  b->addresses_weigh = true;
  dhc_conv_prepare(v);
  v->m = dhc_space_last_axis(v->outer & dhc_tpl_operand_axes(&v->cx, v->ow));
  v->outer &= ~dhc_space_bit(v->m);
  v->y.phases = v->x.phases = 1; /* their zeros are in the planes */
  v->rows = v->lanes;
  d->block = k[1] < MAX_BLOCK ? k[1] : MAX_BLOCK;
  d->n_taps = (int)(v->y.d.n_taps * v->x.d.n_taps);
  kernel(d);
}
