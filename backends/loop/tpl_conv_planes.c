/* Planes of template "conv": roles of a spec's axes, sizes, what a task copies, and where its products meet it. */
#include "backends/loop/tpl_conv.h"

enum {
  APART = 8,         /* taps along a row that have planes of their own at most, */
  APART_STRIDED = 4, /* and where they are strided */
  UNROLLED = 4,      /* planes that are filled side by side */
  PREFETCHED = 3,    /* numbers listed of a product, the last of them what to prefetch */
  SHORT = 8          /* rows of which so many would fill a vector are copied by elements */
};

/* ---- dimensions ------------------------------------------------------------------------ */

static int64_t reach_of(const DhcSpace *d) {
  return (d->dilation < 0 ? -d->dilation : d->dilation) * (d->n_taps - 1);
}

/* How planes serve a dimension; wide: by shifts even where taps might have planes of their own. False: they do not. */
static bool plan_dim(DhcConvDim *v, bool wide) {
  const DhcSpace *d = &v->d;
  v->phases = d->div;
  if (d->div > 1) {
    if (d->stride != 1 || d->window >= 0 || d->per_out != 1 || !d->n_taps) return false;
    v->by_taps = !wide && d->n_taps <= APART;
    v->unit = 1;
    v->classes = v->by_taps ? (reach_of(d) + d->div - 1) / d->div + 1 : 1;
    return true;
  }
  v->by_taps = d->n_taps && (d->n_taps < d->stride || (!wide && d->n_taps <= (d->stride > 1 ? APART_STRIDED : APART)));
  v->unit = v->by_taps ? d->dilation : 1;
  v->classes = v->by_taps ? d->n_taps : d->stride;
  return true;
}

static bool find_operands(DhcConv *v) {
  v->node = dhc_space_contraction(v->s);
  return v->node >= 0 && dhc_space_operands(&v->cx, v->node, false, &v->ox, &v->ow, &v->y.d, &v->x.d) && v->x.d.out >= 0;
}

bool dhc_conv_roles(DhcConv *v) {
  const DhcSpec *s = v->s;
  if (!find_operands(v)) return false;
  const DhcSpace *y = &v->y.d, *x = &v->x.d;
  uint32_t taps = dhc_space_bit(y->tap) | dhc_space_bit(x->tap), red = s->node[v->node].axes & ~taps;
  uint32_t windows = dhc_space_bit(y->window) | dhc_space_bit(x->window), par = 0;
  v->c = dhc_space_last_axis(red);
  if (red & (red - 1)) return false;
  /* products: channels, then taps of y, then taps of x */
  if (v->c > (y->tap >= 0 ? y->tap : x->tap >= 0 ? x->tap : v->c)) return false;
  if (y->tap >= 0 && x->tap >= 0 && y->tap > x->tap) return false;
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
  uint32_t space = dhc_space_bit(y->out) | dhc_space_bit(x->out);
  if (space & in_w) return false;
  for (int t = 0; t < s->operand[v->ox].n_terms; t++) {
    const DhcTerm *e = &s->operand[v->ox].term[t];
    if (!e->guarded && ((space | taps | windows) >> e->axis[0] & 1)) return false;
  }
  v->m = dhc_space_last_axis(par & in_w & ~in_x);
  v->image = dhc_space_last_axis(par & in_x & ~in_w & ~space);
  v->outer = par & ~(dhc_space_bit(v->m) | dhc_space_bit(v->image) | space);
  /* a row's tail that no place needs costs less than copies of it, where one channel or a single row meets it */
  bool wide = v->m < 0 || y->term < 0;
  /* few taps of a stride: planes of each, so that neither rows nor images have places between them that nothing meets */
  if (!plan_dim(&v->y, v->m < 0 || y->stride == 1) || !plan_dim(&v->x, wide)) return false;
  if (dhc_conv_has_phases(v) && v->cx.in->facts->bounded) return false; /* where a phase's list ends is read from memory */
  v->shared = y->stride == 1 && y->div == 1;
  v->n_planes = (int)(v->y.classes * v->x.classes);
  return true;
}

/* ---- sizes ----------------------------------------------------------------------------- */

static dhc_dimprog pc(const DhcConv *v, int64_t x) { return dhc_prog_const(v->b->arena, x); }
static dhc_dimprog op(const DhcConv *v, int o, dhc_dimprog x, dhc_dimprog y) { return dhc_prog_op(v->b->arena, o, x, y); }
static dhc_dimprog at_least(const DhcConv *v, dhc_dimprog x, int64_t n) { return op(v, DHC_DIM_MAX, x, pc(v, n)); }
static dhc_dimprog round_up(const DhcConv *v, dhc_dimprog x, int64_t to) {
  return op(v, DHC_DIM_MUL, op(v, DHC_DIM_CEILDIV, x, pc(v, to)), pc(v, to));
}

/* The greatest shift less the least: of s (i + shift) + class, or of i + shift from a phase's first place to its last. */
static void reach_dim(DhcConv *v, DhcConvDim *d) {
  const DhcSpace *p = &d->d;
  d->taps_prog = p->tap < 0 ? pc(v, 1) : dhc_space_extent_prog(&v->cx, p->tap);
  d->taps = p->tap < 0 ? dhc_lp_i64(v->b, 1) : dhc_space_extent(&v->cx, p->tap);
  int64_t dilation = p->dilation < 0 ? -p->dilation : p->dilation;
  dhc_dimprog far = op(v, DHC_DIM_MUL, op(v, DHC_DIM_ADD, d->taps_prog, pc(v, -1)), pc(v, dilation));
  int64_t by = d->phases > 1 ? d->phases : p->stride;
  if (d->phases > 1) far = op(v, DHC_DIM_ADD, far, pc(v, by - 1));
  else if (p->dilation < 0) far = op(v, DHC_DIM_ADD, far, pc(v, by - 1)); /* down to the floor of a negative one */
  d->reach_prog = d->by_taps ? pc(v, 0) : op(v, DHC_DIM_FLOORDIV, far, pc(v, by));
  d->reach = dhc_lp_prog(v->b, d->reach_prog);
  DhcLp *b = v->b;
  DhcLv least = dhc_lp_i64(b, 0);
  if (p->dilation < 0) least = dhc_lp_mulc(b, dhc_lp_addc(b, d->taps, -1), p->dilation);
  if (d->phases > 1) least = dhc_lp_addc(b, dhc_lp_add(b, least, v->cx.offset[v->ox][p->term]), by - 1); /* the first without a remainder */
  d->low = by == 1 ? least : dhc_lp_ew2(b, DHC_OP_FLOORDIV, least, dhc_lp_i64(b, by));
  if (d->by_taps && d->phases == 1) d->low = dhc_lp_i64(b, 0);
}

static dhc_dimprog rows_prog(const DhcConv *v, const DhcConvDim *d, dhc_dimprog outs) {
  if (d->phases > 1) return op(v, DHC_DIM_CEILDIV, outs, pc(v, d->phases));
  return dhc_space_places_prog(&v->cx, &d->d, outs);
}

/* Images per task, out rows per task, sizes of planes. */
static void size_blocks(DhcConv *v) {
  const int *k = v->cx.in->schedule->v;
  dhc_dimprog outs = dhc_space_outs_prog(&v->cx, &v->y.d), H = rows_prog(v, &v->y, outs), reach = v->y.reach_prog;
  dhc_dimprog W = at_least(v, rows_prog(v, &v->x, dhc_space_outs_prog(&v->cx, &v->x.d)), 1);
  W = op(v, DHC_DIM_ADD, W, v->x.reach_prog);
  dhc_dimprog pixels = at_least(v, op(v, DHC_DIM_MUL, H, W), 1);
  /* vectors fill up better over several small images, and weights are read for all of them */
  dhc_dimprog fit = op(v, DHC_DIM_CEILDIV, pc(v, k[5]), pixels);
  dhc_dimprog small = op(v, DHC_DIM_LE, pixels, pc(v, k[4]));
  fit = op(v, DHC_DIM_MUL, fit, small);
  v->group = at_least(v, op(v, DHC_DIM_MIN, fit, dhc_space_extent_prog(&v->cx, v->image)), 1);
  /* rows that fit, then blocks of equal height */
  dhc_dimprog row = op(v, DHC_DIM_MUL, op(v, DHC_DIM_MUL, W, dhc_space_extent_prog(&v->cx, v->c)), pc(v, v->n_planes));
  dhc_dimprog rows = op(v, DHC_DIM_FLOORDIV, pc(v, k[6]), at_least(v, row, 1));
  rows = op(v, DHC_DIM_MAX, op(v, DHC_DIM_SUB, rows, reach), pc(v, k[7]));
  dhc_dimprog step = at_least(v, op(v, DHC_DIM_FLOORDIV, rows, pc(v, v->y.d.per_out)), 1);
  dhc_dimprog some = at_least(v, op(v, DHC_DIM_CEILDIV, outs, pc(v, v->y.phases)), 1);
  dhc_dimprog n = op(v, DHC_DIM_CEILDIV, some, step);
  v->block = op(v, DHC_DIM_MUL, op(v, DHC_DIM_CEILDIV, some, n), pc(v, v->y.phases));
  dhc_dimprog pitch = op(v, DHC_DIM_ADD, rows_prog(v, &v->y, v->block), reach);
  dhc_dimprog all = op(v, DHC_DIM_MUL, op(v, DHC_DIM_MUL, v->group, pitch), W);
  /* whole tiles of the last pixels, displaced by the greatest tap */
  v->plane = round_up(v, op(v, DHC_DIM_ADD, all, pc(v, 2 * v->lanes)), v->lanes);
  v->result = op(v, DHC_DIM_MUL, v->plane, pc(v, v->y.phases * v->x.phases));
}

/* Blocks of products, as many as there are without phases. */
static dhc_dimprog blocks_prog(const DhcConv *v, dhc_dimprog row) {
  return op(v, DHC_DIM_CEILDIV, row, pc(v, DHC_DOT_BLOCK));
}

/* Places of a row of planes. */
static dhc_dimprog row_prog(const DhcConv *v) {
  dhc_dimprog n = rows_prog(v, &v->x, dhc_space_outs_prog(&v->cx, &v->x.d));
  return op(v, DHC_DIM_ADD, at_least(v, n, 1), v->x.reach_prog);
}

/* Rows of planes follow one another as those of the operand do, if these are whole. */
static bool is_joined(const DhcConv *v) {
  const DhcSpace *y = &v->y.d, *x = &v->x.d;
  return v->n_planes == 1 && y->term >= 0 && y->tap < 0 && x->tap < 0 && y->stride == 1 && x->stride == 1;
}

/* The same of a single row, whatever its taps. */
static bool is_line(const DhcConv *v) {
  const DhcSpace *x = &v->x.d, *y = &v->y.d;
  if (y->term >= 0 && (y->tap >= 0 || y->stride != 1 || y->div != 1 || v->y.phases > 1)) return false;
  return v->n_planes <= UNROLLED && x->stride == 1 && x->div == 1 && v->x.phases <= 1 && v->s->operand[v->ox].term[x->term].unit;
}

void dhc_conv_sizes(DhcConv *v) {
  DhcLp *b = v->b;
  reach_dim(v, &v->y);
  reach_dim(v, &v->x);
  size_blocks(v);
  /* elements of short rows: where each comes from and goes to */
  dhc_dimprog row_length = row_prog(v);
  if (is_joined(v)) row_length = op(v, DHC_DIM_MUL, row_length, rows_prog(v, &v->y, dhc_space_outs_prog(&v->cx, &v->y.d)));
  dhc_dimprog is_short = op(v, DHC_DIM_LE, op(v, DHC_DIM_MUL, row_length, pc(v, SHORT)), pc(v, v->lanes));
  v->elements = op(v, DHC_DIM_MUL, op(v, DHC_DIM_MUL, is_short, v->plane), pc(v, (int64_t)4 * v->n_planes));
  v->is_short = dhc_lp_lt(b, dhc_lp_i64(b, 0), dhc_lp_prog(b, is_short));
  dhc_dimprog C = dhc_space_extent_prog(&v->cx, v->c), around = op(v, DHC_DIM_MUL, v->y.taps_prog, v->x.taps_prog);
  dhc_dimprog row = op(v, DHC_DIM_MUL, C, around), blocks = blocks_prog(v, row);
  v->list = round_up(v, op(v, DHC_DIM_MUL, row, pc(v, 2 * v->listed)), 16);
  v->first = pc(v, 0);
  if (dhc_conv_has_phases(v)) {
    v->first = op(v, DHC_DIM_MUL, op(v, DHC_DIM_ADD, blocks, pc(v, 1)), pc(v, v->y.phases * v->x.phases));
    v->first = round_up(v, op(v, DHC_DIM_MUL, op(v, DHC_DIM_ADD, v->first, around), pc(v, 2)), 16);
  }
  dhc_dimprog n = op(v, DHC_DIM_MUL, op(v, DHC_DIM_MUL, C, pc(v, v->n_planes)), v->plane);
  n = op(v, DHC_DIM_ADD, n, op(v, DHC_DIM_MUL, v->result, pc(v, v->rows)));
  n = op(v, DHC_DIM_ADD, n, pc(v, v->lanes * (v->x.d.per_out + 2)));
  n = op(v, DHC_DIM_ADD, n, op(v, DHC_DIM_ADD, op(v, DHC_DIM_ADD, v->list, v->first), v->elements));
  if (v->narrow) n = op(v, DHC_DIM_ADD, n, op(v, DHC_DIM_MUL, row, pc(v, v->rows)));
  b->scratch_bytes = op(v, DHC_DIM_MUL, n, pc(v, 4));
  v->C = dhc_space_extent(&v->cx, v->c);
  v->M = dhc_space_extent(&v->cx, v->m);
  DhcLv outs = dhc_space_outs(&v->cx, &v->x.d);
  v->W = v->x.phases > 1 ? dhc_lp_ceildivc(b, outs, v->x.phases) : dhc_space_places(&v->cx, &v->x.d, outs);
  v->W = dhc_lp_add(b, v->W, v->x.reach);
  v->Plane = dhc_lp_prog(b, v->plane);
  v->Result = dhc_lp_prog(b, v->result);
  v->row = dhc_lp_prog(b, row);
  v->n_taps = dhc_lp_mulc(b, v->row, v->listed);
  v->n_blocks = dhc_lp_prog(b, blocks);
}

/* ---- planes ------------------------------------------------------------------------------ */

/* Rows between images that are zeros for both. */
static DhcLv shared_rows(DhcConv *v, const DhcFill *f) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0);
  if (!v->shared || v->y.d.term < 0 || v->image < 0) return zero;
  DhcLv top = dhc_lp_sub(b, zero, f->y_at);
  DhcLv end = dhc_lp_add(b, top, v->cx.limit[v->ox][v->y.d.term]);
  DhcLv bottom = dhc_lp_sub(b, f->rows, end);
  DhcLv n = dhc_lp_min(b, dhc_lp_min(b, top, bottom), v->y.reach);
  return dhc_lp_max(b, n, zero);
}

/* Zeros behind the last row: the last vectors of pixels take part in arithmetic, and what
 * memory held before could be slow there (denormals). */
static void end_planes(DhcConv *v, const DhcFill *f, DhcLv of_image, DhcLv channel) {
  DhcLp *b = v->b;
  DhcLv rows = dhc_lp_add(b, dhc_lp_mul(b, dhc_lp_addc(b, v->n_images, -1), v->pitch), of_image);
  DhcLv at = dhc_lp_add(b, channel, dhc_lp_mul(b, rows, v->W));
  for (int k = 0; k < f->n_planes; k++)
    for (int i = 0; i < 2; i++)
      dhc_lp_store(b, v->planes, dhc_lp_addc(b, dhc_lp_add(b, at, dhc_lp_mulc(b, v->Plane, k)), i * v->lanes),
                   dhc_lp_zero(b, DHC_F32, v->lanes), 0);
}

/* Where row or column 0 of a class' planes lies in the operand; place0: the task's first place. */
static DhcLv class_begin(DhcConv *v, const DhcConvDim *d, DhcLv place0, DhcLv class) {
  DhcLp *b = v->b;
  if (d->d.term < 0) return dhc_lp_i64(b, 0);
  DhcLv at = dhc_lp_mulc(b, class, d->unit);
  if (d->phases > 1) return dhc_lp_add(b, dhc_lp_add(b, at, d->low), dhc_lp_udiv(b, place0, dhc_lp_i64(b, d->phases)));
  DhcLv first = dhc_lp_mulc(b, dhc_lp_add(b, place0, d->low), d->d.stride);
  return dhc_lp_add(b, dhc_lp_add(b, first, v->cx.offset[v->ox][d->d.term]), at);
}

/* Planes [first, first + n_planes) of all channels and images; rows: of an image. */
static void fill_class(DhcConv *v, DhcFill *f, DhcLv rows, DhcLv first) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), channel_size = dhc_lp_mulc(b, v->Plane, v->n_planes);
  first = dhc_lp_mul(b, first, v->Plane);
  dhc_fill_begin(f);
  DhcLv c = dhc_lp_for(b, zero, v->C, 1);
  DhcTplMark in_c = dhc_tpl_push(&v->cx);
  if (v->c >= 0) dhc_tpl_bind(&v->cx, v->c, c);
  DhcLv i = dhc_lp_for(b, zero, v->n_images, 1);
  DhcTplMark in_image = dhc_tpl_push(&v->cx);
  if (v->image >= 0) dhc_tpl_bind(&v->cx, v->image, dhc_lp_add(b, v->image0, i));
  DhcLv at = dhc_lp_add(b, dhc_lp_mul(b, c, channel_size), first);
  at = dhc_lp_add(b, at, dhc_lp_mul(b, dhc_lp_mul(b, i, v->pitch), v->W));
  dhc_fill_rows(f, dhc_lp_at(b, v->planes, at));
  dhc_tpl_pop(&v->cx, &in_image);
  dhc_lp_end(b);
  end_planes(v, f, rows, dhc_lp_add(b, dhc_lp_mul(b, c, channel_size), first));
  dhc_tpl_pop(&v->cx, &in_c);
  dhc_lp_end(b);
  dhc_fill_end(f);
}

/* Without taps and strides rows of planes follow one another as those of the operand do, if these are whole: then all are one. */
static DhcLv follow(DhcConv *v, const DhcFill *f) {
  DhcLp *b = v->b;
  DhcLv width = v->cx.limit[v->ox][v->x.d.term];
  DhcLv joined = dhc_lp_and(b, dhc_lp_eq(b, v->cx.stride[v->ox][v->y.d.term], width), dhc_lp_eq(b, f->columns, width));
  return dhc_lp_and(b, joined, dhc_lp_eq(b, f->x_at[0], dhc_lp_i64(b, 0)));
}

static DhcLv is_few(DhcConv *v, const DhcFill *f) {
  return dhc_lp_le(v->b, dhc_lp_mul(v->b, f->rows, f->columns), dhc_lp_i64(v->b, 4 * v->lanes));
}

/* Vectors [from, to) of a run of n elements, of which those of [0, limit) are there, from `at` on: the others are 0. */
static void copy_run(DhcConv *v, DhcLv onto, DhcLv source, DhcLv from, DhcLv to, DhcLv at, DhcLv n, DhcLv limit) {
  DhcLp *b = v->b;
  DhcLv j = dhc_lp_for(b, from, to, v->lanes), x = dhc_lp_add(b, at, j);
  if (!limit) dhc_lp_store(b, onto, j, dhc_lp_load(b, source, x, v->lanes, 0), 0);
  else dhc_lp_mstore(b, onto, j, dhc_lp_mload(b, source, x, v->lanes, dhc_space_inside(b, x, limit, v->lanes)), dhc_lp_tail(b, j, n, v->lanes));
  dhc_lp_end(b);
}

/* Many vectors, one after the other as in the operand: an image's are copied at once, beyond its edges zeros. */
static void fill_runs(DhcConv *v, const DhcFill *f, bool line) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), lanes = dhc_lp_i64(b, v->lanes), n = line ? v->W : dhc_lp_mul(b, f->rows, v->W);
  DhcLv limit = v->cx.limit[v->ox][v->x.d.term];
  if (!line) limit = dhc_lp_mul(b, limit, v->cx.limit[v->ox][v->y.d.term]);
  DhcLv c = dhc_lp_for(b, zero, v->C, 1), channel = dhc_lp_mul(b, c, dhc_lp_mulc(b, v->Plane, v->n_planes));
  DhcTplMark in_c = dhc_tpl_push(&v->cx);
  if (v->c >= 0) dhc_tpl_bind(&v->cx, v->c, c);
  DhcLv i = dhc_lp_for(b, zero, v->n_images, 1);
  DhcTplMark in_image = dhc_tpl_push(&v->cx);
  if (v->image >= 0) dhc_tpl_bind(&v->cx, v->image, dhc_lp_add(b, v->image0, i));
  DhcLv image = dhc_lp_add(b, channel, dhc_lp_mul(b, dhc_lp_mul(b, i, v->pitch), v->W)), base = dhc_tpl_base(&v->cx, v->ox);
  if (line && v->y.d.term >= 0) base = dhc_lp_add(b, base, dhc_lp_mul(b, f->y_at, v->cx.stride[v->ox][v->y.d.term]));
  DhcLv from = dhc_lp_at(b, v->cx.pointer[v->ox], base);
  for (int k = 0; k < f->n_planes; k++) {
    DhcLv at = line ? f->x_at[k] : dhc_lp_mul(b, f->y_at, v->W), to = dhc_lp_at(b, v->planes, dhc_lp_add(b, image, dhc_lp_mulc(b, v->Plane, k)));
    DhcLv before = dhc_lp_max(b, dhc_lp_sub(b, zero, at), zero), first = dhc_lp_mul(b, dhc_lp_ceildivc(b, before, v->lanes), lanes);
    DhcLv there = dhc_lp_max(b, dhc_lp_sub(b, dhc_lp_min(b, n, dhc_lp_sub(b, limit, at)), first), zero);
    DhcLv last = dhc_lp_add(b, first, dhc_lp_mul(b, dhc_lp_udiv(b, there, lanes), lanes));
    copy_run(v, to, from, zero, dhc_lp_min(b, first, n), at, n, limit);
    copy_run(v, to, from, first, last, at, n, NULL);
    copy_run(v, to, from, last, n, at, n, limit);
  }
  dhc_tpl_pop(&v->cx, &in_image);
  dhc_lp_end(b);
  end_planes(v, f, f->rows, channel);
  dhc_tpl_pop(&v->cx, &in_c);
  dhc_lp_end(b);
}

/* NULL: never; else whether images are copied so. */
static DhcLv in_runs(DhcConv *v, const DhcFill *f) {
  DhcLp *b = v->b;
  if (is_line(v) && !is_joined(v)) {
    DhcLv many = dhc_lp_lt(b, dhc_lp_i64(b, 4 * v->lanes), f->columns);
    if (v->y.d.term < 0) return many;
    DhcLv one = dhc_lp_and(b, dhc_lp_eq(b, f->rows, dhc_lp_i64(b, 1)), dhc_lp_ge(b, f->y_at, dhc_lp_i64(b, 0)));
    return dhc_lp_and(b, dhc_lp_and(b, many, one), dhc_lp_lt(b, f->y_at, v->cx.limit[v->ox][v->y.d.term]));
  }
  if (!is_joined(v)) return NULL;
  DhcLv end = dhc_lp_le(b, dhc_lp_add(b, f->y_at, f->rows), v->cx.limit[v->ox][v->y.d.term]);
  DhcLv all = dhc_lp_and(b, dhc_lp_ge(b, f->y_at, dhc_lp_i64(b, 0)), end);
  return dhc_lp_and(b, dhc_lp_and(b, follow(v, f), all), dhc_lp_ew1(b, DHC_OP_NOT, is_few(v, f)));
}

/* A few vectors: one row in place of all (columns are walked outside of channels). */
static void join_rows(DhcConv *v, DhcFill *f) {
  DhcLp *b = v->b;
  const DhcSpace *y = &v->y.d, *x = &v->x.d;
  if (!is_joined(v)) return;
  DhcLv zero = dhc_lp_i64(b, 0), one = dhc_lp_i64(b, 1), width = v->cx.limit[v->ox][x->term], height = v->cx.limit[v->ox][y->term];
  DhcLv joined = dhc_lp_and(b, follow(v, f), is_few(v, f));
  f->x_limit = dhc_lp_select(b, joined, dhc_lp_mul(b, width, height), width);
  f->x_at[0] = dhc_lp_select(b, joined, dhc_lp_mul(b, f->y_at, width), f->x_at[0]);
  f->y_at = dhc_lp_select(b, joined, zero, f->y_at);
  f->columns = dhc_lp_select(b, joined, dhc_lp_mul(b, f->rows, width), f->columns);
  f->rows = dhc_lp_select(b, joined, one, f->rows);
}

/* ---- short rows ------------------------------------------------------------------------------- */

/* One row or column of planes: its place in the operand, and whether it is there. */
static DhcLv element_of(DhcConv *v, const DhcConvDim *d, int64_t step, DhcLv class_at, DhcLv i, DhcLv *ok) {
  DhcLp *b = v->b;
  int t = d->d.term;
  *ok = NULL;
  if (t < 0) return dhc_lp_i64(b, 0);
  DhcLv at = dhc_lp_add(b, dhc_lp_mulc(b, i, step), class_at);
  *ok = dhc_lp_and(b, dhc_lp_ge(b, at, dhc_lp_i64(b, 0)), dhc_lp_lt(b, at, v->cx.limit[v->ox][t]));
  return dhc_lp_mul(b, at, v->cx.stride[v->ox][t]);
}

/* elements[2 n], [2 n + 1]: where the n-th element of a channel lies in the operand, from the first image on, and in its planes.
 * How many there are. */
static DhcLv list_elements(DhcConv *v, const DhcFill *f, DhcLv place0, DhcLv rows) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), y_ok, x_ok;
  DhcLpVar n = dhc_lp_var(b, zero);
  DhcLv class_y = dhc_lp_for(b, zero, dhc_lp_i64(b, v->y.classes), 1), y_at = class_begin(v, &v->y, place0, class_y);
  DhcLv class_x = dhc_lp_for(b, zero, dhc_lp_i64(b, v->x.classes), 1), x_at = class_begin(v, &v->x, zero, class_x);
  DhcLv plane = dhc_lp_mul(b, dhc_lp_add(b, dhc_lp_mulc(b, class_y, v->x.classes), class_x), v->Plane);
  DhcLv image = dhc_lp_for(b, zero, v->n_images, 1), from = dhc_lp_mul(b, image, dhc_space_step(&v->cx, v->ox, v->image));
  DhcLv r = dhc_lp_for(b, zero, rows, 1), y = element_of(v, &v->y, f->y_step, y_at, r, &y_ok);
  DhcLv to = dhc_lp_add(b, plane, dhc_lp_mul(b, dhc_lp_add(b, dhc_lp_mul(b, image, v->pitch), r), v->W));
  DhcLv i = dhc_lp_for(b, zero, v->W, 1), x = element_of(v, &v->x, f->x_step, x_at, i, &x_ok);
  dhc_lp_if(b, y_ok ? dhc_lp_and(b, y_ok, x_ok) : x_ok);
  DhcLv at = dhc_lp_mulc(b, dhc_lp_get(b, n), 2);
  dhc_lp_store(b, v->element, at, dhc_lp_add(b, from, dhc_lp_add(b, y, x)), 0);
  dhc_lp_store(b, v->element, dhc_lp_addc(b, at, 1), dhc_lp_add(b, to, i), 0);
  dhc_lp_set(b, n, dhc_lp_addc(b, dhc_lp_get(b, n), 1));
  for (int k = 0; k < 6; k++) dhc_lp_end(b);
  return dhc_lp_get(b, n);
}

static void fill_elements(DhcConv *v, const DhcFill *f, DhcLv place0, DhcLv rows) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), n = list_elements(v, f, place0, rows), size = dhc_lp_mulc(b, v->Plane, v->n_planes);
  DhcLv c = dhc_lp_for(b, zero, v->C, 1), to = dhc_lp_at(b, v->planes, dhc_lp_mul(b, c, size));
  DhcTplMark mark = dhc_tpl_push(&v->cx);
  if (v->c >= 0) dhc_tpl_bind(&v->cx, v->c, c);
  if (v->image >= 0) dhc_tpl_bind(&v->cx, v->image, v->image0);
  DhcLv from = dhc_lp_at(b, v->cx.pointer[v->ox], dhc_tpl_base(&v->cx, v->ox)), i = dhc_lp_for(b, zero, size, v->lanes);
  dhc_lp_store(b, to, i, dhc_lp_zero(b, DHC_F32, v->lanes), 0);
  dhc_lp_end(b);
  DhcLv k = dhc_lp_for(b, zero, n, 1), at = dhc_lp_mulc(b, k, 2);
  DhcLv x = dhc_lp_load(b, from, dhc_lp_load(b, v->element, at, 1, 0), 1, 0);
  dhc_lp_store(b, to, dhc_lp_load(b, v->element, dhc_lp_addc(b, at, 1), 1, 0), x, 0);
  dhc_lp_end(b);
  dhc_tpl_pop(&v->cx, &mark);
  dhc_lp_end(b);
}

void dhc_conv_fill(DhcConv *v) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), class_y = zero, class_x = zero;
  DhcLv place0 = dhc_lp_mulc(b, v->y0, v->y.d.per_out);
  bool unrolled = v->x.classes <= UNROLLED;
  DhcFill f = {.cx = &v->cx,
               .operand = v->ox,
               .y_term = v->y.d.term,
               .x_term = v->x.d.term,
               .lanes = v->lanes,
               .n_planes = unrolled ? (int)v->x.classes : 1,
               .y_step = v->y.phases > 1 ? 1 : v->y.d.stride,
               .x_step = v->x.phases > 1 ? 1 : v->x.d.stride,
               .y_at = class_begin(v, &v->y, place0, zero),
               .rows = dhc_lp_add(b, v->H, v->y.reach),
               .columns = v->W,
               .pitch = v->Plane};
  v->pitch = dhc_lp_sub(b, f.rows, shared_rows(v, &f));
  DhcLv all = dhc_lp_mul(b, dhc_lp_addc(b, v->n_images, -1), v->pitch);
  v->n_pixels = dhc_lp_sub(b, dhc_lp_mul(b, dhc_lp_add(b, all, v->H), v->W), v->x.reach);
  dhc_lp_if(b, v->is_short);
  fill_elements(v, &f, place0, f.rows);
  dhc_lp_else(b);
  if (v->y.classes > 1) {
    class_y = dhc_lp_for(b, zero, dhc_lp_i64(b, v->y.classes), 1);
    f.y_at = class_begin(v, &v->y, place0, class_y);
  }
  if (!unrolled) class_x = dhc_lp_for(b, zero, dhc_lp_i64(b, v->x.classes), 1);
  for (int k = 0; k < f.n_planes; k++) f.x_at[k] = class_begin(v, &v->x, zero, dhc_lp_addc(b, class_x, k));
  DhcLv rows = f.rows, runs = in_runs(v, &f);
  if (runs) {
    dhc_lp_if(b, runs);
    fill_runs(v, &f, !is_joined(v));
    dhc_lp_else(b);
  }
  join_rows(v, &f);
  fill_class(v, &f, rows, dhc_lp_add(b, dhc_lp_mulc(b, class_y, v->x.classes), class_x));
  if (runs) dhc_lp_end(b);
  if (!unrolled) dhc_lp_end(b);
  if (v->y.classes > 1) dhc_lp_end(b);
  dhc_lp_end(b);
}

/* ---- the list of products ------------------------------------------------------------------- */

/* What tap t of phase r meets in one dimension: in elements of planes whose classes and places are so far apart. *meets: NULL,
 * always; else whether there is anything. */
static DhcLv tap_at(DhcConv *v, const DhcConvDim *d, DhcLv r, DhcLv t, DhcLv class_size, DhcLv place_size, DhcLv *meets) {
  DhcLp *b = v->b;
  *meets = NULL;
  if (d->d.term < 0) return dhc_lp_i64(b, 0);
  DhcLv at = dhc_lp_mulc(b, t, d->d.dilation), class = NULL, shift = at;
  if (d->phases > 1) {
    DhcLv by = dhc_lp_i64(b, d->phases);
    at = dhc_lp_add(b, dhc_lp_add(b, at, r), v->cx.offset[v->ox][d->d.term]);
    shift = dhc_lp_ew2(b, DHC_OP_FLOORDIV, at, by);
    *meets = dhc_lp_eq(b, dhc_lp_mul(b, shift, by), at);
  } else if (d->by_taps) {
    return dhc_lp_mul(b, t, class_size);
  } else if (d->d.stride > 1) {
    DhcLv by = dhc_lp_i64(b, d->d.stride);
    shift = dhc_lp_ew2(b, DHC_OP_FLOORDIV, at, by);
    class = dhc_lp_sub(b, at, dhc_lp_mul(b, shift, by));
  }
  shift = dhc_lp_sub(b, shift, d->low);
  if (d->by_taps) return dhc_lp_mul(b, shift, class_size);
  shift = dhc_lp_mul(b, shift, place_size);
  return class ? dhc_lp_add(b, shift, dhc_lp_mul(b, class, class_size)) : shift;
}

/* One product: its place in planes, in w, and what to prefetch. */
static void list_product(DhcConv *v, DhcLv k, DhcLv x_at, DhcLv w_at, DhcLv ahead) {
  DhcLp *b = v->b;
  DhcLv at = dhc_lp_mulc(b, k, v->listed);
  if (v->listed == PREFETCHED) dhc_lp_store(b, v->taps, dhc_lp_addc(b, at, 2), ahead, 0);
  dhc_lp_store(b, v->taps, at, x_at, 0);
  dhc_lp_store(b, v->taps, dhc_lp_addc(b, at, 1), w_at, 0);
}

/* Loops over taps, as bound below; between begin and end stands what is done with one. */
typedef struct EachTap {
  DhcLv t, x_at, w_at, meets; /* its number among a channel's; in planes and w; NULL: it meets something */
} EachTap;

static EachTap each_tap(DhcConv *v, DhcLv ry, DhcLv rx) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), one = dhc_lp_i64(b, 1), y_meets, x_meets;
  DhcLv ky = dhc_lp_for(b, zero, v->y.taps, 1);
  DhcLv y_at = tap_at(v, &v->y, ry, ky, dhc_lp_mulc(b, v->Plane, v->x.classes), v->W, &y_meets);
  DhcLv w_y = dhc_lp_mul(b, ky, dhc_space_step(&v->cx, v->ow, v->y.d.tap));
  DhcLv kx = dhc_lp_for(b, zero, v->x.taps, 1);
  DhcLv x_at = tap_at(v, &v->x, rx, kx, v->Plane, one, &x_meets);
  EachTap e = {.t = dhc_lp_add(b, dhc_lp_mul(b, ky, v->x.taps), kx)};
  e.x_at = dhc_lp_add(b, y_at, x_at);
  e.w_at = dhc_lp_add(b, w_y, dhc_lp_mul(b, kx, dhc_space_step(&v->cx, v->ow, v->x.d.tap)));
  e.meets = y_meets && x_meets ? dhc_lp_and(b, y_meets, x_meets) : y_meets ? y_meets : x_meets;
  return e;
}

static void each_tap_end(DhcConv *v) {
  dhc_lp_end(v->b);
  dhc_lp_end(v->b);
}

/* What the next channel's weights begin with, t rows of the tile on. */
static DhcLv prefetched(DhcConv *v, DhcLv t) {
  return dhc_lp_add(v->b, dhc_space_step(&v->cx, v->ow, v->c), dhc_lp_mul(v->b, t, dhc_space_step(&v->cx, v->ow, v->m)));
}

/* One phase, whose products begin at number `first`: those of the first channel, noting how many come before each tap; the
 * others' after them; then where blocks begin. Gives the end. */
static DhcLv list_phase(DhcConv *v, DhcLv ry, DhcLv rx, DhcLv first, DhcLv starts, DhcLv before) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), around = dhc_lp_mul(b, v->y.taps, v->x.taps), size = dhc_lp_i64(b, DHC_DOT_BLOCK);
  DhcLpVar so_far = dhc_lp_var(b, zero);
  EachTap e = each_tap(v, ry, rx);
  DhcLv j = dhc_lp_get(b, so_far);
  dhc_lp_store(b, before, e.t, j, 0);
  dhc_lp_if(b, e.meets);
  list_product(v, dhc_lp_add(b, first, j), e.x_at, e.w_at, prefetched(v, j));
  dhc_lp_set(b, so_far, dhc_lp_addc(b, j, 1));
  dhc_lp_end(b);
  each_tap_end(v);
  DhcLv n = dhc_lp_get(b, so_far);
  DhcLv c = dhc_lp_for(b, dhc_lp_i64(b, 1), v->C, 1), own = dhc_lp_add(b, first, dhc_lp_mul(b, c, n));
  DhcLv x_c = dhc_lp_mul(b, c, dhc_lp_mulc(b, v->Plane, v->n_planes)), w_c = dhc_lp_mul(b, c, dhc_space_step(&v->cx, v->ow, v->c));
  DhcLv i = dhc_lp_for(b, zero, n, 1), from = dhc_lp_mulc(b, dhc_lp_add(b, first, i), v->listed);
  DhcLv x_at = dhc_lp_add(b, x_c, dhc_lp_load(b, v->taps, from, 1, 0));
  DhcLv w_at = dhc_lp_add(b, w_c, dhc_lp_load(b, v->taps, dhc_lp_addc(b, from, 1), 1, 0));
  list_product(v, dhc_lp_add(b, own, i), x_at, w_at, dhc_lp_add(b, w_c, prefetched(v, i)));
  dhc_lp_end(b);
  dhc_lp_end(b);
  DhcLv block = dhc_lp_for(b, zero, dhc_lp_addc(b, v->n_blocks, 1), 1);
  DhcLv all = dhc_lp_min(b, dhc_lp_mul(b, block, size), v->row), channels = dhc_lp_udiv(b, all, around);
  DhcLv some = dhc_lp_load(b, before, dhc_lp_urem(b, all, around), 1, 0);
  DhcLv at = dhc_lp_add(b, first, dhc_lp_add(b, dhc_lp_mul(b, channels, n), some));
  dhc_lp_store(b, starts, block, dhc_lp_mulc(b, at, v->listed), 0);
  dhc_lp_end(b);
  return dhc_lp_add(b, first, dhc_lp_mul(b, n, v->C));
}

static void list_phases(DhcConv *v) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0), per_phase = dhc_lp_addc(b, v->n_blocks, 1);
  DhcLv before = dhc_lp_at(b, v->starts, dhc_lp_mulc(b, per_phase, v->y.phases * v->x.phases));
  DhcLpVar first = dhc_lp_var(b, zero);
  DhcLv ry = dhc_lp_for(b, zero, dhc_lp_i64(b, v->y.phases), 1);
  DhcLv rx = dhc_lp_for(b, zero, dhc_lp_i64(b, v->x.phases), 1);
  DhcLv phase = dhc_lp_add(b, dhc_lp_mulc(b, ry, v->x.phases), rx);
  DhcLv end = list_phase(v, ry, rx, dhc_lp_get(b, first), dhc_lp_at(b, v->starts, dhc_lp_mul(b, phase, per_phase)), before);
  dhc_lp_set(b, first, end);
  dhc_lp_end(b);
  dhc_lp_end(b);
}

void dhc_conv_list(DhcConv *v) {
  DhcLp *b = v->b;
  DhcLv zero = dhc_lp_i64(b, 0);
  if (dhc_conv_has_phases(v)) {
    list_phases(v);
    return;
  }
  DhcLv c = dhc_lp_for(b, zero, v->C, 1);
  DhcLv x_c = dhc_lp_mul(b, c, dhc_lp_mulc(b, v->Plane, v->n_planes)), w_c = dhc_lp_mul(b, c, dhc_space_step(&v->cx, v->ow, v->c));
  DhcLv first = dhc_lp_mul(b, c, dhc_lp_mul(b, v->y.taps, v->x.taps));
  EachTap e = each_tap(v, zero, zero);
  list_product(v, dhc_lp_add(b, first, e.t), dhc_lp_add(b, x_c, e.x_at), dhc_lp_add(b, w_c, e.w_at),
               dhc_lp_add(b, w_c, prefetched(v, e.t)));
  each_tap_end(v);
  dhc_lp_end(b);
}
