/* Spatial dimensions of convolutions and their planes in scratch. */
#include "backends/loop/tpl_space.h"

/* Guarded terms of o that are not indexed, in order; -1 if there are others or over two. */
static int space_terms(const DhcOperand *p, int *term) {
  int n = 0;
  for (int t = 0; t < p->n_terms; t++) {
    if (p->term[t].index >= 0) return -1;
    if (!p->term[t].guarded) continue;
    if (n == 2) return -1;
    term[n++] = t;
  }
  return n;
}

/* Reads term t of operand o (t -1: the absent dimension). Axes of `contracted` are taps (or,
 * if `taps_out`, the constant parallel axes are, and contracted ones places). False: a form
 * that has no such reading. */
static bool space_read(const DhcTplCx *cx, int o, int t, uint32_t contracted, bool taps_out, DhcSpace *d) {
  const DhcSpec *s = cx->s;
  *d = (DhcSpace){.term = t,
                  .out = -1,
                  .window = -1,
                  .tap = -1,
                  .per_out = 1,
                  .n_window = 1,
                  .stride = 1,
                  .div = 1,
                  .n_taps = 1};
  if (t < 0) return true;
  const DhcTerm *e = &s->operand[o].term[t];
  d->div = e->div;
  int64_t out_coef = 0, window_coef = 0;
  for (int i = 0; i < e->n_axes; i++) {
    int a = e->axis[i];
    bool red = contracted >> a & 1, par = s->axis[a].role == DHC_AXIS_PAR;
    if (taps_out ? par : red) { /* a tap */
      if (d->tap >= 0 || (taps_out && s->axis[a].extent < 1)) return false;
      d->tap = a;
      d->dilation = e->coef[i];
      d->n_taps = s->axis[a].extent;
    } else if (par || red) {
      if (d->out >= 0) return false;
      d->out = a;
      out_coef = e->coef[i];
    } else {
      if (d->window >= 0 || s->axis[a].extent < 1) return false;
      d->window = a;
      window_coef = e->coef[i];
      d->n_window = s->axis[a].extent;
    }
  }
  d->stride = d->window >= 0 ? window_coef : d->out >= 0 ? out_coef : 1;
  if (d->stride < 1) return false;
  if (d->out >= 0) {
    if (out_coef < 1 || out_coef % d->stride) return false;
    d->per_out = out_coef / d->stride;
  }
  int64_t reach = d->dilation * (d->n_taps - 1);
  d->lo = reach < 0 ? reach : 0;
  d->hi = reach > 0 ? reach : 0;
  return true;
}

/* ---- roles --------------------------------------------------------------------------- */

int dhc_space_last_axis(uint32_t mask) {
  int a = -1;
  for (int i = 0; i < DHC_SPEC_MAX_AXES; i++)
    if (mask >> i & 1) a = i;
  return a;
}

DhcLv dhc_space_extent(DhcTplCx *cx, int axis) {
  return axis < 0 ? dhc_lp_i64(cx->b, 1) : cx->extent[axis];
}

dhc_dimprog dhc_space_extent_prog(const DhcTplCx *cx, int axis) {
  return axis < 0 ? dhc_prog_const(cx->b->arena, 1) : dhc_tpl_extent_prog(cx, axis);
}

DhcLv dhc_space_step(DhcTplCx *cx, int o, int axis) {
  return axis < 0 ? dhc_lp_i64(cx->b, 0) : dhc_tpl_step(cx, o, axis);
}

int dhc_space_contraction(const DhcSpec *s) {
  int node = -1;
  for (int n = 0; n < s->n_nodes; n++) {
    if (s->node[n].kind != DHC_SN_FOLD || s->node[n].op != DHC_OP_DOT_GENERAL) continue;
    if (node >= 0 || s->node[n].dtype != DHC_F32) return -1;
    node = n;
  }
  return node;
}

static int load_operand(const DhcSpec *s, int node) {
  const DhcSpecNode *d = &s->node[node];
  return d->kind == DHC_SN_LOAD && d->dtype == DHC_F32 && !dhc_tag_is_panel(s->operand[d->operand].tag)
             ? d->operand
             : -1;
}

bool dhc_space_operands(const DhcTplCx *cx, int node, bool taps_out, int *planes, int *other, DhcSpace *y,
                        DhcSpace *x) {
  const DhcSpecNode *f = &cx->s->node[node];
  int term[2], none[2], n = 0;
  for (int side = 0; side < 2 && n < 1; side++) {
    *planes = load_operand(cx->s, f->a[side]);
    *other = load_operand(cx->s, f->a[1 - side]);
    if (*planes < 0 || *other < 0) return false;
    n = space_terms(&cx->s->operand[*planes], term);
  }
  if (n < 1 || space_terms(&cx->s->operand[*other], none) != 0) return false;
  return space_read(cx, *planes, n == 2 ? term[0] : -1, f->axes, taps_out, y) &&
         space_read(cx, *planes, term[n - 1], f->axes, taps_out, x);
}

/* ---- sizes --------------------------------------------------------------------------- */

DhcLv dhc_space_outs(DhcTplCx *cx, const DhcSpace *d) {
  return dhc_space_extent(cx, d->out);
}

dhc_dimprog dhc_space_outs_prog(const DhcTplCx *cx, const DhcSpace *d) {
  return dhc_space_extent_prog(cx, d->out);
}

DhcLv dhc_space_places(DhcTplCx *cx, const DhcSpace *d, DhcLv outs) {
  DhcLv n = dhc_lp_mulc(cx->b, dhc_lp_addc(cx->b, outs, -1), d->per_out);
  return dhc_lp_addc(cx->b, n, d->n_window);
}

dhc_dimprog dhc_space_places_prog(const DhcTplCx *cx, const DhcSpace *d, dhc_dimprog outs) {
  DhcArena *a = cx->b->arena;
  dhc_dimprog n = dhc_prog_op(a, DHC_DIM_ADD, outs, dhc_prog_const(a, -1));
  n = dhc_prog_op(a, DHC_DIM_MUL, n, dhc_prog_const(a, d->per_out));
  return dhc_prog_op(a, DHC_DIM_ADD, n, dhc_prog_const(a, d->n_window));
}

/* ---- copying ------------------------------------------------------------------------- */

DhcLv dhc_space_inside(DhcLp *b, DhcLv x, DhcLv limit, int lanes) {
  DhcLv zero = dhc_lp_i64(b, 0), top = dhc_lp_i64(b, lanes);
  DhcLv lo = dhc_lp_min(b, dhc_lp_max(b, dhc_lp_sub(b, zero, x), zero), top);
  DhcLv hi = dhc_lp_max(b, dhc_lp_min(b, dhc_lp_sub(b, limit, x), top), zero);
  DhcLv l = dhc_lp_iota(b, DHC_I32, lanes);
  return dhc_lp_and(b, dhc_lp_ge(b, l, dhc_lp_cast(b, lo, DHC_I32)),
                    dhc_lp_lt(b, l, dhc_lp_cast(b, hi, DHC_I32)));
}

static const DhcTerm *x_term(const DhcFill *f) {
  return &f->cx->s->operand[f->operand].term[f->x_term];
}

/* Columns of a plane lie side by side in the operand, or every second of its elements. */
static bool side_by_side(const DhcFill *f) {
  return f->x_step == 1 && x_term(f)->unit;
}
static bool in_twos(const DhcFill *f) {
  return f->x_step == 2 && x_term(f)->unit;
}

static void plane_lanes(DhcFill *f, int k) {
  DhcLp *b = f->cx->b;
  int o = f->operand, t = f->x_term;
  DhcLv start = dhc_lp_add(b, dhc_lp_mulc(b, f->column, f->x_step), f->x_at[k]), limit = f->x_limit ? f->x_limit : f->cx->limit[o][t];
  if (side_by_side(f) || in_twos(f)) {
    f->index[k] = start;
    f->mask[k] = dhc_space_inside(b, start, limit, f->lanes);
    if (in_twos(f)) f->second[k] = dhc_space_inside(b, dhc_lp_addc(b, start, f->lanes), limit, f->lanes);
    else f->mask[k] = dhc_lp_and(b, f->store_mask, f->mask[k]);
    return;
  }
  DhcLv x = dhc_lp_mul(b, dhc_lp_iota(b, DHC_I64, f->lanes), dhc_lp_i64(b, f->x_step));
  x = dhc_lp_add(b, x, start);
  DhcLv ok = dhc_lp_and(b, dhc_lp_ge(b, x, dhc_lp_i64(b, 0)), dhc_lp_lt(b, x, limit));
  f->mask[k] = dhc_lp_and(b, f->store_mask, ok);
  f->index[k] = dhc_lp_mul(b, x, f->cx->stride[o][t]);
}

void dhc_fill_begin(DhcFill *f) {
  DhcLp *b = f->cx->b;
  DhcLv zero = dhc_lp_i64(b, 0);
  if (f->y_term < 0) {
    f->first = zero;
    f->last = f->rows;
  } else if (f->y_step == 1) {
    DhcLv top = dhc_lp_sub(b, zero, f->y_at);
    DhcLv end = dhc_lp_add(b, top, f->cx->limit[f->operand][f->y_term]);
    f->first = dhc_lp_min(b, dhc_lp_max(b, top, zero), f->rows);
    f->last = dhc_lp_max(b, dhc_lp_min(b, end, f->rows), f->first);
  }
  f->column = dhc_lp_for(b, zero, f->columns, f->lanes);
  f->store_mask = dhc_lp_tail(b, f->column, f->columns, f->lanes);
  for (int k = 0; k < f->n_planes; k++) plane_lanes(f, k);
}

void dhc_fill_end(DhcFill *f) {
  dhc_lp_end(f->cx->b);
}

/* Columns of plane k; those outside are 0. */
static DhcLv row_lanes(DhcFill *f, int k, DhcLv from, DhcLv ok) {
  DhcLp *b = f->cx->b;
  DhcLv mask = ok ? dhc_lp_and(b, f->mask[k], dhc_lp_splat(b, ok, f->lanes)) : f->mask[k], ptr = f->cx->pointer[f->operand];
  if (!side_by_side(f) && !in_twos(f)) return dhc_lp_gather(b, dhc_lp_at(b, ptr, from), f->index[k], mask);
  DhcLv at = dhc_lp_add(b, from, f->index[k]), x = dhc_lp_mload(b, ptr, at, f->lanes, mask);
  if (side_by_side(f)) return x;
  DhcLv second = ok ? dhc_lp_and(b, f->second[k], dhc_lp_splat(b, ok, f->lanes)) : f->second[k];
  int even[64];
  for (int l = 0; l < f->lanes; l++) even[l] = 2 * l;
  return dhc_lp_shuffle(b, x, dhc_lp_mload(b, ptr, dhc_lp_addc(b, at, f->lanes), f->lanes, second), even, f->lanes);
}

/* from: where the row's x index 0 lies, in elements; NULL: a row of zeros */
static void copy_row(DhcFill *f, DhcLv to, DhcLv row, DhcLv from, DhcLv ok) {
  DhcLp *b = f->cx->b;
  DhcLv at = dhc_lp_add(b, dhc_lp_mul(b, row, f->columns), f->column);
  for (int k = 0; k < f->n_planes; k++) {
    DhcLv v = from ? row_lanes(f, k, from, ok) : dhc_lp_zero(b, DHC_F32, f->lanes);
    DhcLv plane = dhc_lp_mul(b, f->pitch, dhc_lp_i64(b, k));
    dhc_lp_mstore(b, to, dhc_lp_add(b, at, plane), v, f->store_mask);
  }
}

static void zero_rows(DhcFill *f, DhcLv to, DhcLv first, DhcLv last) {
  DhcLv r = dhc_lp_for(f->cx->b, first, last, 1);
  copy_row(f, to, r, NULL, NULL);
  dhc_lp_end(f->cx->b);
}

void dhc_fill_rows(DhcFill *f, DhcLv to) {
  DhcLp *b = f->cx->b;
  int o = f->operand, t = f->y_term;
  DhcLv base = dhc_tpl_base(f->cx, o), zero = dhc_lp_i64(b, 0);
  if (t < 0) {
    DhcLv r = dhc_lp_for(b, zero, f->rows, 1);
    copy_row(f, to, r, base, NULL);
    dhc_lp_end(b);
    return;
  }
  DhcLv stride = f->cx->stride[o][t];
  if (f->y_step == 1) {
    zero_rows(f, to, zero, f->first);
    DhcLv r = dhc_lp_for(b, f->first, f->last, 1);
    copy_row(f, to, r, dhc_lp_add(b, base, dhc_lp_mul(b, dhc_lp_add(b, r, f->y_at), stride)), NULL);
    dhc_lp_end(b);
    zero_rows(f, to, f->last, f->rows);
    return;
  }
  DhcLv r = dhc_lp_for(b, zero, f->rows, 1);
  DhcLv y = dhc_lp_add(b, dhc_lp_mulc(b, r, f->y_step), f->y_at);
  DhcLv ok = dhc_lp_and(b, dhc_lp_ge(b, y, zero), dhc_lp_lt(b, y, f->cx->limit[o][t]));
  copy_row(f, to, r, dhc_lp_add(b, base, dhc_lp_mul(b, y, stride)), ok);
  dhc_lp_end(b);
}
