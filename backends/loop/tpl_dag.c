/* A spec's scalar DAG at a place in a loop nest: bindings, addresses, nodes. */
#include "backends/loop/tpl.h"

#include <math.h>

/* ---- setting up --------------------------------------------------------------------- */

static dhc_dtype stored_as(const DhcOperand *p) {
  return p->tag == DHC_TAG_ROWS_I8 ? DHC_I8 : p->tag == DHC_TAG_ROWS_BF16 ? DHC_BF16 : p->dtype;
}

/* Elements lie behind all scales. */
static void begin_scaled(DhcTplCx *cx, int o) {
  const DhcSpec *s = cx->s;
  int t = dhc_tag_row_term(s, o);
  const DhcTerm *e = &s->operand[o].term[t];
  DhcLv rows = e->index < 0 ? cx->extent[e->axis[0]] : cx->limit[o][t];
  cx->scale[o] = dhc_lp_operand(cx->b, o, DHC_F32);
  cx->pointer[o] = dhc_lp_at(cx->b, cx->pointer[o], dhc_lp_mulc(cx->b, rows, 4));
}

void dhc_tpl_init_packed(DhcTplCx *cx, const DhcTplInput *in, DhcLp *b) {
  const DhcSpec *s = in->spec;
  *cx = (DhcTplCx){.in = in, .s = s, .b = b, .vector_axis = -1, .plan_vector = -1, .kept_in = -1,
                   .lanes = DHC_TPL_LANES};
  for (int a = 0; a < s->n_axes; a++) {
    int arg = dhc_spec_extent_arg(s, a);
    cx->extent[a] = arg < 0 ? dhc_lp_i64(b, s->axis[a].extent) : dhc_lp_dim(b, arg);
  }
  for (int n = 0; n < s->n_nodes; n++) cx->varies[n] = dhc_spec_varies(s, n);
  for (int o = 0; o < s->n_operands; o++) {
    const DhcOperand *p = &s->operand[o];
    cx->pointer[o] = dhc_lp_operand(b, o, stored_as(p));
    cx->base[o] = dhc_lp_i64(b, 0);
    for (int t = 0; t < p->n_terms; t++) {
      int arg = dhc_spec_stride_arg(s, o, t);
      cx->stride[o][t] = arg < 0 ? dhc_lp_i64(b, 1) : dhc_lp_dim(b, arg);
      if (!p->term[t].guarded) continue;
      int guard = dhc_spec_offset_arg(s, o, t);
      cx->offset[o][t] = dhc_lp_dim(b, guard);
      cx->limit[o][t] = dhc_lp_dim(b, guard + 1);
    }
    if (p->tag == DHC_TAG_ROWS_I8) begin_scaled(cx, o);
  }
}

void dhc_tpl_refuse_packed(DhcTplCx *cx) {
  for (int o = 0; o < cx->s->n_operands; o++)
    if (dhc_tag_is_panel(cx->s->operand[o].tag)) dhc_lp_refuse(cx->b, "operand %d: packed storage", o);
}

void dhc_tpl_init(DhcTplCx *cx, const DhcTplInput *in, DhcLp *b) {
  dhc_tpl_init_packed(cx, in, b);
  dhc_tpl_refuse_packed(cx);
}

/* ---- scope ---------------------------------------------------------------------------- */

DhcTplMark dhc_tpl_push(DhcTplCx *cx) {
  DhcTplMark m = {.bound = cx->bound, .vector_axis = cx->vector_axis, .mask = cx->mask};
  memcpy(m.base, cx->base, sizeof m.base);
  cx->depth++;
  return m;
}

void dhc_tpl_pop(DhcTplCx *cx, const DhcTplMark *m) {
  for (int n = 0; n < cx->s->n_nodes; n++)
    if (cx->value[n] && cx->made_at[n] >= cx->depth) cx->value[n] = NULL;
  cx->depth--;
  cx->bound = m->bound;
  cx->vector_axis = m->vector_axis;
  cx->mask = m->mask;
  memcpy(cx->base, m->base, sizeof m->base);
}

static bool is_plain(const DhcTerm *t) { return !t->guarded && t->index < 0; }

void dhc_tpl_bind(DhcTplCx *cx, int axis, DhcLv index) {
  if (cx->bound >> axis & 1)
    dhc_lp_refuse(cx->b, "axis %d: a fold over it is needed inside its own loop", axis);
  cx->bound |= 1u << axis;
  cx->index[axis] = index;
  for (int o = 0; o < cx->s->n_operands; o++) {
    const DhcOperand *p = &cx->s->operand[o];
    for (int t = 0; t < p->n_terms; t++)
      if (is_plain(&p->term[t]) && p->term[t].axis[0] == axis)
        cx->base[o] = dhc_lp_add(cx->b, cx->base[o], dhc_lp_mul(cx->b, index, cx->stride[o][t]));
  }
}

void dhc_tpl_bind_vector(DhcTplCx *cx, int axis, DhcLv index, int lanes, DhcLv mask) {
  dhc_tpl_bind(cx, axis, index);
  cx->vector_axis = axis;
  cx->lanes = lanes;
  cx->mask = mask;
}

void dhc_tpl_set(DhcTplCx *cx, int n, DhcLv value) {
  cx->value[n] = value;
  cx->made_at[n] = cx->depth;
}

DhcLv dhc_tpl_base(const DhcTplCx *cx, int o) { return cx->base[o]; }

DhcLv dhc_tpl_step(const DhcTplCx *cx, int o, int axis) {
  const DhcOperand *p = &cx->s->operand[o];
  DhcLv step = NULL;
  for (int t = 0; t < p->n_terms; t++) {
    const DhcTerm *e = &p->term[t];
    if (e->index >= 0 && (cx->varies[e->index] >> axis & 1)) return NULL;
    for (int i = 0; i < e->n_axes; i++) {
      if (e->axis[i] != axis) continue;
      if (!is_plain(e)) return NULL;
      step = cx->stride[o][t];
    }
  }
  return step ? step : dhc_lp_i64(cx->b, 0);
}

dhc_dimprog dhc_tpl_extent_prog(const DhcTplCx *cx, int axis) {
  int arg = dhc_spec_extent_arg(cx->s, axis);
  DhcArena *a = cx->b->arena;
  return arg < 0 ? dhc_prog_const(a, cx->s->axis[axis].extent) : dhc_prog_dim(a, arg);
}

bool dhc_tpl_contiguous(const DhcTplCx *cx, int o, int axis) {
  const DhcOperand *p = &cx->s->operand[o];
  for (int t = 0; t < p->n_terms; t++) {
    const DhcTerm *e = &p->term[t];
    bool has = e->index >= 0 && (cx->varies[e->index] >> axis & 1);
    for (int i = 0; i < e->n_axes; i++) has = has || e->axis[i] == axis;
    if (has && (e->guarded || e->index >= 0 || !e->unit)) return false;
  }
  return true;
}

uint32_t dhc_tpl_operand_axes(const DhcTplCx *cx, int o) {
  const DhcOperand *p = &cx->s->operand[o];
  uint32_t m = 0;
  for (int t = 0; t < p->n_terms; t++) {
    for (int i = 0; i < p->term[t].n_axes; i++) m |= 1u << p->term[t].axis[i];
    if (p->term[t].index >= 0) m |= cx->varies[p->term[t].index];
  }
  return m;
}

/* ---- addresses ------------------------------------------------------------------------ */

/* Where an operand's elements are: lane l at `at` + l * step (+ lanes[l]), if valid. */
typedef struct Place {
  DhcLv at;       /* i64 scalar */
  DhcLv step;     /* i64 scalar; NULL: every lane at the same place */
  DhcLv lanes;    /* i64 vector or NULL */
  DhcLv one_ok;   /* scalar condition or NULL */
  DhcLv lanes_ok; /* vector condition or NULL */
  DhcLv there;    /* of a bounded target: an index of memory is in its range, scalar or vector; where not, the place is another that
                     may be read, and of the same task. NULL: it is */
} Place;

static DhcLv both(DhcTplCx *cx, DhcLv x, DhcLv y) {
  return !x ? y : !y ? x : dhc_lp_and(cx->b, x, y);
}
static DhcLv in_range(DhcTplCx *cx, DhcLv x, DhcLv limit) {
  return dhc_lp_and(cx->b, dhc_lp_ge(cx->b, x, dhc_lp_i64(cx->b, 0)), dhc_lp_lt(cx->b, x, limit));
}

/* lanes l with 0 <= x + l < limit */
static DhcLv lanes_in_range(DhcTplCx *cx, DhcLv x, DhcLv limit) {
  DhcLp *b = cx->b;
  DhcLv zero = dhc_lp_i64(b, 0), top = dhc_lp_i64(b, cx->lanes);
  DhcLv lo = dhc_lp_min(b, dhc_lp_max(b, dhc_lp_sub(b, zero, x), zero), top);
  DhcLv hi = dhc_lp_max(b, dhc_lp_min(b, dhc_lp_sub(b, limit, x), top), zero);
  DhcLv l = dhc_lp_iota(b, DHC_I32, cx->lanes);
  return dhc_lp_and(b, dhc_lp_ge(b, l, dhc_lp_cast(b, lo, DHC_I32)),
                    dhc_lp_lt(b, l, dhc_lp_cast(b, hi, DHC_I32)));
}

/* x / div and whether nothing is left over; x scalar or vector */
static DhcLv exact_division(DhcTplCx *cx, DhcLv x, int64_t div, DhcLv *ok) {
  DhcLp *b = cx->b;
  DhcLv d = dhc_lp_i64(b, div), rest;
  if ((div & (div - 1)) == 0) {
    int64_t shift = 0;
    while ((int64_t)1 << shift < div) shift++;
    rest = dhc_lp_and(b, x, dhc_lp_i64(b, div - 1));
    x = dhc_lp_ew2(b, DHC_OP_SHR, x, dhc_lp_i64(b, shift));
  } else {
    rest = dhc_lp_ew2(b, DHC_OP_REM, x, d);
    x = dhc_lp_ew2(b, DHC_OP_FLOORDIV, x, d);
  }
  *ok = dhc_lp_eq(b, rest, dhc_lp_i64(b, 0));
  return x;
}

/* The term's index in every lane is one scalar. */
static void place_scalar(DhcTplCx *cx, int o, int t, DhcLv x, Place *p) {
  DhcLp *b = cx->b;
  const DhcTerm *e = &cx->s->operand[o].term[t];
  if (e->guarded) {
    DhcLv ok = NULL;
    if (e->div > 1) { /* the quotient's range says nothing of a negative dividend */
      p->one_ok = both(cx, p->one_ok, dhc_lp_ge(b, x, dhc_lp_i64(b, 0)));
      x = exact_division(cx, x, e->div, &ok);
    }
    p->one_ok = both(cx, both(cx, p->one_ok, ok), in_range(cx, x, cx->limit[o][t]));
  }
  p->at = dhc_lp_add(b, p->at, dhc_lp_mul(b, x, cx->stride[o][t]));
}

/* It is x + lane * per_lane, undivided: the operand still walks with a constant step. */
static void place_steady(DhcTplCx *cx, int o, int t, DhcLv x, int64_t per_lane, Place *p) {
  DhcLp *b = cx->b;
  if (cx->s->operand[o].term[t].guarded && per_lane == 1) {
    p->lanes_ok = both(cx, p->lanes_ok, lanes_in_range(cx, x, cx->limit[o][t]));
  } else if (cx->s->operand[o].term[t].guarded) {
    DhcLv grow = dhc_lp_mul(b, dhc_lp_iota(b, DHC_I64, cx->lanes), dhc_lp_i64(b, per_lane));
    p->lanes_ok = both(cx, p->lanes_ok, in_range(cx, dhc_lp_add(b, x, grow), cx->limit[o][t]));
  }
  DhcLv step = dhc_lp_mulc(b, cx->stride[o][t], per_lane);
  p->step = p->step ? dhc_lp_add(b, p->step, step) : step;
  p->at = dhc_lp_add(b, p->at, dhc_lp_mul(b, x, cx->stride[o][t]));
}

/* It is v, lane by lane. */
static void place_lanes(DhcTplCx *cx, int o, int t, DhcLv v, Place *p) {
  DhcLp *b = cx->b;
  const DhcTerm *e = &cx->s->operand[o].term[t];
  if (e->guarded) {
    DhcLv ok = NULL;
    if (e->div > 1) {
      p->lanes_ok = both(cx, p->lanes_ok, dhc_lp_ge(b, v, dhc_lp_i64(b, 0)));
      v = exact_division(cx, v, e->div, &ok);
    }
    p->lanes_ok = both(cx, both(cx, p->lanes_ok, ok), in_range(cx, v, cx->limit[o][t]));
  }
  v = dhc_lp_mul(b, v, cx->stride[o][t]);
  p->lanes = p->lanes ? dhc_lp_add(b, p->lanes, v) : v;
}

/* An index that memory gives, where nothing may branch on it. Places along an axis of their own stay apart: they are kept. */
static void place_anywhere(DhcTplCx *cx, int o, int t, DhcLv x, Place *p) {
  DhcLp *b = cx->b;
  DhcLv ok = in_range(cx, x, cx->limit[o][t]);
  x = dhc_lp_mul(b, dhc_lp_select(b, ok, x, dhc_lp_i64(b, 0)), cx->stride[o][t]);
  p->there = both(cx, p->there, ok);
  if (x->type.lanes > 1) p->lanes = p->lanes ? dhc_lp_add(b, p->lanes, x) : x;
  else p->at = dhc_lp_add(b, p->at, x);
}

static void place_term(DhcTplCx *cx, int o, int t, Place *p) {
  DhcLp *b = cx->b;
  const DhcTerm *e = &cx->s->operand[o].term[t];
  DhcLv x = e->guarded ? cx->offset[o][t] : dhc_lp_i64(b, 0);
  int64_t per_lane = 0; /* by which the index grows from lane to lane */
  for (int i = 0; i < e->n_axes; i++) {
    x = dhc_lp_add(b, x, dhc_lp_mulc(b, cx->index[e->axis[i]], e->coef[i]));
    if (e->axis[i] == cx->vector_axis) per_lane = e->coef[i];
  }
  if (e->index >= 0) x = dhc_lp_add(b, x, dhc_lp_cast(b, dhc_tpl_eval(cx, e->index), DHC_I64));
  bool vector = x->type.lanes > 1;
  if (cx->in->facts->bounded && e->guarded && e->index >= 0 && e->div == 1 && !per_lane) {
    place_anywhere(cx, o, t, x, p);
  } else if (!vector && !per_lane) {
    place_scalar(cx, o, t, x, p);
  } else if (!vector && e->div == 1) {
    place_steady(cx, o, t, x, per_lane, p);
  } else {
    DhcLv grow = dhc_lp_mul(b, dhc_lp_iota(b, DHC_I64, cx->lanes), dhc_lp_i64(b, per_lane));
    place_lanes(cx, o, t, per_lane ? dhc_lp_add(b, x, grow) : x, p);
  }
}

static Place place(DhcTplCx *cx, int o) {
  const DhcOperand *p = &cx->s->operand[o];
  Place r = {.at = cx->base[o]};
  for (int t = 0; t < p->n_terms; t++) {
    const DhcTerm *e = &p->term[t];
    if (!is_plain(e)) {
      place_term(cx, o, t, &r);
    } else if (e->axis[0] == cx->vector_axis) {
      r.step = r.step ? dhc_lp_add(cx->b, r.step, cx->stride[o][t]) : cx->stride[o][t];
    }
  }
  return r;
}

static bool is_vector(const Place *p) { return p->step || p->lanes || p->lanes_ok; }
static bool is_contiguous(const Place *p) {
  int64_t step;
  return !p->lanes && p->step && dhc_lp_is_const(p->step, &step) && step == 1;
}
static DhcLv lane_places(DhcTplCx *cx, const Place *p) {
  DhcLp *b = cx->b;
  DhcLv v = dhc_lp_splat(b, p->at, cx->lanes);
  if (p->step) v = dhc_lp_add(b, v, dhc_lp_mul(b, dhc_lp_iota(b, DHC_I64, cx->lanes), p->step));
  return p->lanes ? dhc_lp_add(b, v, p->lanes) : v;
}
static DhcLv lane_mask(DhcTplCx *cx, const Place *p) {
  DhcLv m = both(cx, cx->mask, p->lanes_ok);
  if (!p->one_ok) return m;
  DhcLv ok = dhc_lp_splat(cx->b, p->one_ok, cx->lanes);
  return m ? dhc_lp_and(cx->b, m, ok) : ok;
}

static DhcLv load_at(DhcTplCx *cx, DhcLv ptr, Place p) {
  DhcLp *b = cx->b;
  dhc_dtype t = ptr->type.dtype == DHC_BF16 ? DHC_F32 : ptr->type.dtype; /* as it is in a register */
  bool whole = b->threads && p.one_ok && !cx->mask && !p.lanes_ok && is_contiguous(&p);
  if (whole) { /* all lanes or none: a thread reads them by one access */
    DhcLpVar v = dhc_lp_var(b, dhc_lp_zero(b, t, cx->lanes));
    dhc_lp_if(b, p.one_ok);
    dhc_lp_set(b, v, dhc_lp_load(b, ptr, p.at, cx->lanes, 0));
    dhc_lp_end(b);
    return dhc_lp_get(b, v);
  }
  if (is_vector(&p)) {
    DhcLv mask = lane_mask(cx, &p);
    if (is_contiguous(&p) && !mask) return dhc_lp_load(b, ptr, p.at, cx->lanes, cx->align);
    if (is_contiguous(&p)) return dhc_lp_mload(b, ptr, p.at, cx->lanes, mask);
    return dhc_lp_gather(b, ptr, lane_places(cx, &p), mask);
  }
  if (!p.one_ok) return dhc_lp_load(b, ptr, p.at, 1, 0);
  DhcLpVar v = dhc_lp_var(b, dhc_lp_zero(b, t, 1));
  dhc_lp_if(b, p.one_ok);
  dhc_lp_set(b, v, dhc_lp_load(b, ptr, p.at, 1, 0));
  dhc_lp_end(b);
  return dhc_lp_get(b, v);
}

/* x, of operand o's memory, times the scale of its row, or of each lane's. */
static DhcLv scaled(DhcTplCx *cx, int o, DhcLv x) {
  DhcLp *b = cx->b;
  int t = dhc_tag_row_term(cx->s, o);
  const DhcTerm *e = &cx->s->operand[o].term[t];
  Place p = {.at = dhc_lp_i64(b, 0)};
  if (is_plain(e)) {
    p.at = cx->index[e->axis[0]];
    if (e->axis[0] == cx->vector_axis) p.step = dhc_lp_i64(b, 1);
  } else { /* by row, not by element */
    DhcLv stride = cx->stride[o][t];
    cx->stride[o][t] = dhc_lp_i64(b, 1);
    place_term(cx, o, t, &p);
    cx->stride[o][t] = stride;
  }
  DhcLv scale = load_at(cx, cx->scale[o], p);
  if (x->type.lanes > 1) scale = dhc_lp_splat(b, scale, x->type.lanes);
  return dhc_lp_mul(b, dhc_lp_cast(b, x, DHC_F32), scale);
}

DhcLv dhc_tpl_load(DhcTplCx *cx, int o) {
  Place p = place(cx, o);
  DhcLv x = load_at(cx, cx->pointer[o], p);
  if ((cx->once >> o & 1) && x->kind == DHC_LP_LOAD) dhc_lp_once(cx->b);
  if (cx->scale[o]) x = scaled(cx, o, x);
  return p.there ? dhc_lp_select(cx->b, p.there, x, dhc_lp_zero(cx->b, x->type.dtype, x->type.lanes)) : x;
}

void dhc_tpl_store_value(DhcTplCx *cx, int o, DhcLv v) {
  DhcLp *b = cx->b;
  Place p = place(cx, o);
  if (p.there) v = dhc_lp_select(b, p.there, v, load_at(cx, cx->pointer[o], p));
  DhcLv ptr = cx->pointer[o];
  if (is_vector(&p)) {
    DhcLv mask = lane_mask(cx, &p);
    v = dhc_lp_splat(b, v, cx->lanes);
    if (is_contiguous(&p) && !mask) dhc_lp_store(b, ptr, p.at, v, cx->align);
    else if (is_contiguous(&p)) dhc_lp_mstore(b, ptr, p.at, v, mask);
    else dhc_lp_scatter(b, ptr, lane_places(cx, &p), v, mask);
    if (cx->once >> o & 1) dhc_lp_once(b);
    return;
  }
  if (p.one_ok) dhc_lp_if(b, p.one_ok);
  dhc_lp_store(b, ptr, p.at, v, 0);
  if (p.one_ok) dhc_lp_end(b);
}

void dhc_tpl_add_value(DhcTplCx *cx, int o, DhcLv v) {
  DhcLp *b = cx->b;
  Place p = place(cx, o);
  if (p.one_ok) dhc_lp_if(b, p.one_ok);
  dhc_lp_add_to(b, cx->pointer[o], p.at, v);
  if (p.one_ok) dhc_lp_end(b);
}

void dhc_tpl_store(DhcTplCx *cx, int o) {
  dhc_tpl_store_value(cx, o, dhc_tpl_eval(cx, cx->s->operand[o].stored));
}

/* ---- nodes ------------------------------------------------------------------------------ */

/* Word 0 of Philox4x32-10 with key (seed, site) and counter (flat, step), as ir/ops.def says. */
static DhcLv random_bits(DhcTplCx *cx, DhcLv seed, DhcLv site, DhcLv step, DhcLv flat) {
  DhcLp *b = cx->b;
  DhcLv high = dhc_lp_i64(b, 32);
#define LOW(x) dhc_lp_cast(b, (x), DHC_U32)
#define HIGH(x) dhc_lp_cast(b, dhc_lp_ew2(b, DHC_OP_SHR, (x), high), DHC_U32)
#define XOR(x, y) dhc_lp_ew2(b, DHC_OP_XOR, (x), (y))
  DhcLv k0 = LOW(seed), k1 = LOW(site);
  DhcLv c[4] = {LOW(flat), HIGH(flat), LOW(step), HIGH(step)};
  DhcLv m0 = dhc_lp_i64(b, 0xD2511F53), m1 = dhc_lp_i64(b, 0xCD9E8D57);
  for (int round = 0; round < 10; round++) {
    DhcLv p0 = dhc_lp_mul(b, dhc_lp_cast(b, c[0], DHC_I64), m0);
    DhcLv p1 = dhc_lp_mul(b, dhc_lp_cast(b, c[2], DHC_I64), m1);
    DhcLv next[4] = {XOR(XOR(HIGH(p1), c[1]), k0), LOW(p1), XOR(XOR(HIGH(p0), c[3]), k1), LOW(p0)};
    memcpy(c, next, sizeof c);
    k0 = dhc_lp_add(b, k0, dhc_lp_int(b, DHC_U32, 0x9E3779B9));
    k1 = dhc_lp_add(b, k1, dhc_lp_int(b, DHC_U32, 0xBB67AE85));
  }
#undef LOW
#undef HIGH
#undef XOR
  return c[0];
}

/* exp(x y) as 2^(x (y log2 e)), where y is the same at every step. */
static DhcLv near_exp(DhcTplCx *cx, int n) {
  DhcLp *b = cx->b;
  const DhcSpecNode *d = &cx->s->node[n];
  DhcLv log2e = dhc_lp_float(b, DHC_F32, 1.4426950408889634);
  uint32_t seq = dhc_spec_axes(cx->s, DHC_AXIS_SEQ);
  if (d->kind != DHC_SN_EW || d->op != DHC_OP_MUL || cx->value[n]) return dhc_lp_exp2(b, dhc_lp_mul(b, dhc_tpl_eval(cx, n), log2e));
  int still = cx->varies[d->a[0]] & seq ? 1 : 0;
  DhcLv y = dhc_lp_mul(b, dhc_tpl_eval(cx, d->a[still]), log2e);
  return dhc_lp_exp2(b, dhc_lp_mul(b, dhc_tpl_eval(cx, d->a[1 - still]), y));
}

/* log(1 + z) for z from 0 to 1, within 2^-22 of it: z times a polynomial through values of log(1 + z) / z (Chebyshev's places). */
static DhcLv near_log1p(DhcLp *b, DhcLv z) {
  static const double c[] = {0x1p0, -0x1.fffeb2p-2, 0x1.553078p-2, -0x1.fcd00cp-3, 0x1.8766fp-3, -0x1.180f2ep-3, 0x1.40f82ap-4, -0x1.e4c732p-6, 0x1.584a66p-8};
  int n = sizeof c / sizeof *c - 1;
  DhcLv p = dhc_lp_float(b, DHC_F32, c[n]);
  while (n-- > 0) p = dhc_lp_fma(b, dhc_lp_splat(b, p, z->type.lanes), z, dhc_lp_float(b, DHC_F32, c[n]));
  return dhc_lp_mul(b, p, z);
}

/* exp(-|x|), and what is made of it by its definition (ir/ops.def). */
static DhcLv near_sigmoid(DhcLp *b, DhcOp op, DhcLv x) {
  DhcLv zero = dhc_lp_float(b, DHC_F32, 0.0), one = dhc_lp_float(b, DHC_F32, 1.0);
  DhcLv z = dhc_lp_exp2(b, dhc_lp_mul(b, dhc_lp_ew1(b, DHC_OP_ABS, x), dhc_lp_float(b, DHC_F32, -1.4426950408889634)));
  DhcLv below = dhc_lp_lt(b, x, zero);
  if (op == DHC_OP_SOFTPLUS) return dhc_lp_add(b, dhc_lp_select(b, below, zero, x), near_log1p(b, z));
  return dhc_lp_ew2(b, DHC_OP_DIV, dhc_lp_select(b, below, z, one), dhc_lp_add(b, one, z));
}

static DhcLv elementwise(DhcTplCx *cx, const DhcSpecNode *d) {
  bool nearly = cx->nearly && d->dtype == DHC_F32;
  if (nearly && d->op == DHC_OP_EXP) return near_exp(cx, d->a[0]);
  if (nearly && (d->op == DHC_OP_SIGMOID || d->op == DHC_OP_SOFTPLUS)) return near_sigmoid(cx->b, d->op, dhc_tpl_eval(cx, d->a[0]));
  DhcLv a[4];
  int n = 0;
  for (; n < 4 && d->a[n] >= 0; n++) a[n] = dhc_tpl_eval(cx, d->a[n]);
  if (d->op == DHC_OP_CAST)
    return cx->s->node[d->a[0]].dtype == d->dtype ? a[0] : dhc_lp_cast(cx->b, a[0], d->dtype);
  DhcLv v = dhc_lp_ew(cx->b, d->op, a, n);
  return d->dtype == DHC_BF16 && d->op != DHC_OP_SELECT ? dhc_lp_cast(cx->b, v, DHC_BF16) : v;
}

static DhcLv carried_state(DhcTplCx *cx, int n) {
  bool vector = cx->vector_axis >= 0 && (cx->varies[n] >> cx->vector_axis & 1);
  return dhc_lp_load(cx->b, cx->carried[n], dhc_tpl_state_index(cx, n), vector ? cx->lanes : 1, 0);
}

DhcLv dhc_tpl_state_index(DhcTplCx *cx, int n) {
  DhcLp *b = cx->b;
  DhcLv at = dhc_lp_i64(b, 0);
  for (int a = 0; a < cx->s->n_axes; a++)
    if (cx->s->axis[a].role == DHC_AXIS_RED && (cx->varies[n] >> a & 1))
      at = dhc_lp_add(b, dhc_lp_mul(b, at, cx->extent[a]), cx->index[a]);
  bool vector = cx->vector_axis >= 0 && (cx->varies[n] >> cx->vector_axis & 1);
  return vector ? dhc_lp_mulc(b, at, cx->lanes) : at;
}

static DhcLv make(DhcTplCx *cx, int n) {
  DhcLp *b = cx->b;
  const DhcSpecNode *d = &cx->s->node[n];
  switch (d->kind) {
  case DHC_SN_LOAD: return dhc_tpl_load(cx, d->operand);
  case DHC_SN_AXIS:
    if (d->operand == cx->vector_axis)
      return dhc_lp_add(b, dhc_lp_iota(b, DHC_I64, cx->lanes), cx->index[d->operand]);
    return cx->index[d->operand];
  case DHC_SN_ARG: return dhc_lp_dim(b, dhc_spec_extra_arg(cx->s, d->operand));
  case DHC_SN_CONST:
    return dhc_dtype_is_float(d->dtype) ? dhc_lp_float(b, d->dtype, d->f)
                                        : dhc_lp_int(b, d->dtype, d->i);
  case DHC_SN_EW: return elementwise(cx, d);
  case DHC_SN_RANDOM:
    return random_bits(cx, dhc_tpl_eval(cx, d->a[0]), dhc_tpl_eval(cx, d->a[1]),
                       dhc_tpl_eval(cx, d->a[2]), dhc_tpl_eval(cx, d->a[3]));
  case DHC_SN_SCAN:
  case DHC_SN_BEFORE:
    if (cx->carried[n]) return carried_state(cx, n);
    dhc_lp_refuse(b, "node %d: a scan in a template for other kinds", n);
    break;
  case DHC_SN_FOLD: break;
  }
  return dhc_lp_zero(b, d->dtype, 1);
}

DhcLv dhc_tpl_eval(DhcTplCx *cx, int n) {
  if (cx->value[n]) return cx->value[n];
  if (cx->varies[n] & ~cx->bound) { /* no spec of fusion's, but one may be given as text */
    dhc_lp_refuse(cx->b, "node %d varies over an axis that is not bound where it is needed", n);
    return dhc_lp_zero(cx->b, cx->s->node[n].dtype, 1);
  }
  if (cx->s->node[n].kind == DHC_SN_FOLD) {
    DhcLv own = cx->provide ? cx->provide(cx, n, cx->provide_arg) : NULL;
    if (own) dhc_tpl_set(cx, n, own);
    else dhc_tpl_fold(cx, n);
    return cx->value[n];
  }
  dhc_tpl_set(cx, n, make(cx, n));
  return cx->value[n];
}

void dhc_tpl_needed(const DhcSpec *s, int n, bool *needed) {
  if (needed[n]) return;
  needed[n] = true;
  const DhcSpecNode *d = &s->node[n];
  for (int k = 0; k < 4; k++)
    if (d->a[k] >= 0) dhc_tpl_needed(s, d->a[k], needed);
  if (d->kind != DHC_SN_LOAD) return;
  const DhcOperand *p = &s->operand[d->operand];
  for (int t = 0; t < p->n_terms; t++)
    if (p->term[t].index >= 0) dhc_tpl_needed(s, p->term[t].index, needed);
}

void dhc_tpl_hoist(DhcTplCx *cx, const bool *needed) {
  bool waits[DHC_SPEC_MAX_NODES] = {false}; /* for a scan whose value is not set yet */
  for (int n = 0; n < cx->s->n_nodes; n++) {
    const DhcSpecNode *d = &cx->s->node[n];
    waits[n] = d->kind == DHC_SN_SCAN && !cx->value[n] && !cx->carried[n];
    for (int k = 0; k < 4; k++)
      if (d->a[k] >= 0 && waits[d->a[k]] && !cx->value[n]) waits[n] = true;
    if (!needed[n] || waits[n] || (cx->varies[n] & ~cx->bound)) continue;
    if (d->kind == DHC_SN_CONST || d->kind == DHC_SN_AXIS || d->kind == DHC_SN_ARG) continue;
    dhc_tpl_eval(cx, n);
  }
}

int dhc_tpl_plain_load(const DhcSpec *s, int node) {
  const DhcSpecNode *d = &s->node[node];
  if (d->kind != DHC_SN_LOAD || d->dtype != DHC_F32) return -1;
  const DhcOperand *p = &s->operand[d->operand];
  if (dhc_tag_is_rows(p->tag)) return -1;
  for (int t = 0; t < p->n_terms; t++)
    if (p->term[t].guarded || p->term[t].index >= 0) return -1;
  return d->operand;
}
