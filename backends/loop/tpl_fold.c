/* Folds of a spec's DAG as loops at a place in the nest. Folds over the same axes that do
 * not need each other share their loops. Two forms, with the same bits:
 *
 *   by lanes    the innermost folded axis is the vector axis; lane l of the accumulator is
 *               partial l of the sum rule, so vectors start at flat indices that are
 *               multiples of 16, reaching before the row's first element if need be;
 *   in order    elements one after the other, each a scalar, or a vector over an axis that
 *               is not folded; the 16 partials lie in a stack buffer (or in variables where
 *               at most 16 elements are folded).
 *
 * Contractions are chains of scalars, or of vectors over an axis that is not folded, by the product rule.
 *
 * Either may go over one block of the sum rule only (dhc_tpl_fold_part); the parts are then
 * joined as the rule joins blocks, which gives the same bits again.
 *
 * The result of a maximum or minimum gets + 0, so that its zero's sign does not depend on
 * the order. */
#include <math.h>

#include "backends/loop/tpl.h"

enum { MAX_UNROLL = 16, MAX_GROUP = 16, STRANDS = 4 /* of maxima along a row: one alone waits for itself */, FEW_OPS = 4 };

typedef struct Member {
  int node;
  const DhcSpecNode *d;
  dhc_dtype t; /* of what is folded */
  bool sum16;  /* by the sum rule */
  DhcLpVar acc, arg;
  DhcLpVar strand[STRANDS]; /* [0] is acc; the others where there are several */
  DhcTplBlocks blocks;      /* where there may be several */
  DhcTplLevels levels;      /* of a contraction, likewise; buffer NULL: one block */
  DhcLpVar total;           /* of the ranges of a ragged contraction, likewise */
  DhcLv parts;              /* in order: buffer of 16 partials */
  DhcLv few[MAX_UNROLL];    /* in order, unrolled: the elements */
  DhcLv result;
  DhcLv best; /* ARGMAX: the element at `result` */
} Member;

typedef struct Fold {
  DhcTplCx *cx;
  uint32_t axes;
  int n_axes, axis[DHC_SPEC_MAX_AXES];
  bool by_lanes;
  int64_t max_count; /* product of the extents, 0 if not all constant */
  bool unrolled;
  int few;           /* they are at most so many: all at once; else 0 */
  int lanes;         /* of the values folded */
  int n, n_few;
  DhcLv products;     /* of a contraction of more than one block, for all that is known */
  bool ranges;        /* it is one of many, over a first axis of ranges */
  DhcLv lo, hi;       /* of a part: its flat indices */
  const DhcTplPart *done; /* of a part: by node, what has been folded already */
  Member m[MAX_GROUP];
} Fold;

/* ---- which folds share loops ------------------------------------------------------- */

/* Does n need a fold of this level that has no value yet? */
static bool ready(const DhcTplCx *cx, int n) {
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  dhc_tpl_needed(cx->s, n, needed);
  for (int m = 0; m < n; m++)
    if (needed[m] && cx->s->node[m].kind == DHC_SN_FOLD && !cx->value[m] &&
        !(cx->varies[m] & ~cx->bound))
      return false;
  return true;
}

/* A scan without a value below n: the fold belongs into the scan's loop. */
static bool waits_for_scan(const DhcTplCx *cx, int n) {
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  dhc_tpl_needed(cx->s, n, needed);
  for (int m = 0; m < n; m++)
    if (needed[m] && cx->s->node[m].kind == DHC_SN_SCAN && !cx->value[m] && !cx->carried[m])
      return true;
  return false;
}

static void add_member(Fold *f, int n) {
  const DhcSpec *s = f->cx->s;
  Member *m = &f->m[f->n++];
  m->node = n;
  m->d = &s->node[n];
  m->t = s->node[m->d->a[0]].dtype;
  m->sum16 = m->d->op == DHC_OP_REDUCE_SUM && dhc_dtype_is_float(m->t);
}

static int64_t constant_count(const DhcSpec *s, uint32_t axes) {
  int64_t n = 1;
  for (int a = 0; a < s->n_axes; a++)
    if (axes >> a & 1) n = n && s->axis[a].extent && n <= (1 << 20) ? n * s->axis[a].extent : 0;
  return n;
}

static void plan(Fold *f, DhcTplCx *cx, int n) {
  const DhcSpec *s = cx->s;
  f->cx = cx;
  f->axes = s->node[n].axes;
  for (int a = 0; a < s->n_axes; a++)
    if (f->axes >> a & 1) f->axis[f->n_axes++] = a;
  add_member(f, n);
  for (int m = 0; m < s->n_nodes && f->n < MAX_GROUP; m++)
    if (m != n && s->node[m].kind == DHC_SN_FOLD && s->node[m].axes == f->axes && !cx->value[m] &&
        !(f->done && f->done[m].value) && !(cx->varies[m] & ~cx->bound) && ready(cx, m) && !waits_for_scan(cx, m))
      add_member(f, m);
  int last = f->axis[f->n_axes - 1];
  f->ranges = s->kind == DHC_KIND_RAGGED && f->n_axes > 1;
  f->by_lanes = cx->plan_vector == last && cx->vector_axis < 0 && !f->ranges;
  f->max_count = constant_count(s, f->axes);
  if (f->done) f->max_count = DHC_SUM_BLOCK;
  f->unrolled = !f->by_lanes && f->max_count && f->max_count <= MAX_UNROLL;
}

/* More than one block of the sum rule, for all that is known. */
static bool many_blocks(const Fold *f) { return !(f->max_count && f->max_count <= DHC_SUM_BLOCK); }

/* What a contraction of more than one block needs, for all that is known. */
static void begin_levels(Fold *f, Member *m, int lanes) {
  DhcLv n = dhc_tpl_count(f->cx, f->axes & ~(f->ranges ? 1u << f->axis[0] : 0));
  if (m->d->op != DHC_OP_DOT_GENERAL || dhc_tpl_one_block(n, 1)) return;
  f->products = n;
  m->levels = dhc_tpl_levels(f->cx->b, m->t, 1, lanes, lanes);
  if (f->ranges) m->total = dhc_lp_var(f->cx->b, dhc_lp_zero(f->cx->b, m->t, lanes));
}

static DhcLv is_many(const Fold *f) { return dhc_lp_lt(f->cx->b, dhc_lp_i64(f->cx->b, DHC_DOT_BLOCK), f->products); }

/* lanes of what member m folds: a vector if it varies over the bound vector axis */
static int value_lanes(const Fold *f, const Member *m) {
  const DhcTplCx *cx = f->cx;
  uint32_t v = cx->varies[m->d->a[0]];
  if (m->d->a[1] >= 0) v |= cx->varies[m->d->a[1]];
  return cx->vector_axis >= 0 && (v >> cx->vector_axis & 1) ? cx->lanes : 1;
}

/* ---- steps --------------------------------------------------------------------------- */

static DhcOp extreme_op(const Member *m) { return dhc_op_info(m->d->op)->fold_by; }
/* Folds that choose an element begin with the one that any other is preferred to. */
static bool chooses(DhcOp op) { return op == DHC_OP_ARGMAX || dhc_tpl_is_extreme(op); }

static DhcLv settle_zero(DhcLp *b, const Member *m, DhcLv v) {
  return dhc_dtype_is_float(m->t) ? dhc_lp_add(b, v, dhc_lp_zero(b, m->t, v->type.lanes)) : v;
}

/* ---- in order --------------------------------------------------------------------------- */

static void begin_in_order(Fold *f) {
  DhcLp *b = f->cx->b;
  for (int k = 0; k < f->n; k++) {
    Member *m = &f->m[k];
    int lanes = value_lanes(f, m);
    DhcLv zero = dhc_lp_zero(b, m->t, lanes);
    DhcOp op = m->d->op;
    if (m->sum16 && f->unrolled) continue;
    if (m->sum16) {
      m->parts = dhc_lp_local(b, m->t, (int64_t)DHC_TPL_LANES * lanes);
      for (int i = 0; i < DHC_TPL_LANES; i++)
        dhc_lp_store(b, m->parts, dhc_lp_i64(b, (int64_t)i * lanes), zero, 0);
      if (many_blocks(f)) m->blocks = dhc_tpl_blocks_begin(b, m->t, lanes);
    } else if (chooses(op)) {
      m->acc = dhc_lp_var(b, dhc_lp_splat(b, dhc_tpl_fold_lowest(b, m->t, op != DHC_OP_REDUCE_MIN), lanes));
      if (op == DHC_OP_ARGMAX) m->arg = dhc_lp_var(b, dhc_lp_zero(b, m->d->dtype, lanes));
    } else {
      m->acc = dhc_lp_var(b, zero);
      begin_levels(f, m, lanes);
    }
  }
}

static DhcLv take_parts(Fold *f, Member *m) {
  DhcLp *b = f->cx->b;
  DhcLv p[DHC_TPL_LANES];
  int lanes = value_lanes(f, m);
  for (int i = 0; i < DHC_TPL_LANES; i++)
    p[i] = dhc_lp_load(b, m->parts, dhc_lp_i64(b, (int64_t)i * lanes), lanes, 0);
  return dhc_tpl_fold16(b, p);
}

/* Element `flat` may have completed a block. */
static void end_block(Fold *f, Member *m, DhcLv flat) {
  DhcLp *b = f->cx->b;
  int lanes = value_lanes(f, m);
  if (!many_blocks(f)) return;
  DhcLv low = dhc_lp_and(b, flat, dhc_lp_i64(b, DHC_SUM_BLOCK - 1));
  dhc_lp_if(b, dhc_lp_eq(b, low, dhc_lp_i64(b, DHC_SUM_BLOCK - 1)));
  dhc_tpl_blocks_add(b, &m->blocks, take_parts(f, m));
  for (int i = 0; i < DHC_TPL_LANES; i++)
    dhc_lp_store(b, m->parts, dhc_lp_i64(b, (int64_t)i * lanes), dhc_lp_zero(b, m->t, lanes), 0);
  dhc_lp_end(b);
}

/* Product `flat` may have completed a block. */
static void end_products(Fold *f, Member *m, DhcLv flat) {
  DhcLp *b = f->cx->b;
  if (!m->levels.buffer) return;
  if (f->ranges) flat = dhc_lp_urem(b, flat, f->products);
  DhcLv next = dhc_lp_addc(b, flat, 1), last = dhc_lp_eq(b, next, f->products), zero = dhc_lp_i64(b, 0);
  DhcLv complete = dhc_lp_eq(b, dhc_lp_and(b, next, dhc_lp_i64(b, DHC_DOT_BLOCK - 1)), zero);
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_or(b, complete, last), is_many(f)));
  dhc_tpl_levels_add_var(b, &m->levels, m->acc, dhc_lp_udiv(b, flat, dhc_lp_i64(b, DHC_DOT_BLOCK)), last);
  if (f->ranges) {
    dhc_lp_if(b, last);
    dhc_lp_set(b, m->total, dhc_lp_add(b, dhc_lp_get(b, m->total), dhc_lp_get(b, m->acc)));
    dhc_lp_set(b, m->acc, dhc_lp_zero(b, m->t, m->levels.lanes));
    dhc_lp_end(b);
  }
  dhc_lp_end(b);
}

static void step_in_order(Fold *f, Member *m, DhcLv flat) {
  DhcTplCx *cx = f->cx;
  DhcLp *b = cx->b;
  int lanes = value_lanes(f, m);
  DhcLv v = dhc_lp_splat(b, dhc_tpl_eval(cx, m->d->a[0]), lanes);
  if (m->sum16 && f->unrolled) {
    m->few[f->n_few] = v;
    return;
  }
  if (m->sum16) {
    DhcLv slot = dhc_lp_and(b, flat, dhc_lp_i64(b, DHC_TPL_LANES - 1));
    DhcLv at = dhc_lp_mulc(b, slot, lanes);
    dhc_lp_store(b, m->parts, at, dhc_lp_add(b, dhc_lp_load(b, m->parts, at, lanes, 0), v), 0);
    end_block(f, m, flat);
    return;
  }
  DhcLv acc = dhc_lp_get(b, m->acc);
  switch ((int)m->d->op) {
  case DHC_OP_DOT_GENERAL:
    dhc_lp_set(b, m->acc, dhc_lp_fma(b, v, dhc_tpl_eval(cx, m->d->a[1]), acc));
    end_products(f, m, flat);
    break;
  case DHC_OP_ARGMAX: {
    DhcLv better = dhc_tpl_argmax_before(b, v, acc, NULL, NULL);
    DhcLv i = dhc_lp_splat(b, dhc_lp_cast(b, flat, m->d->dtype), lanes);
    dhc_lp_set(b, m->acc, dhc_lp_select(b, better, v, acc));
    dhc_lp_set(b, m->arg, dhc_lp_select(b, better, i, dhc_lp_get(b, m->arg)));
    break;
  }
  default: /* else ADD; sums of integers wrap */
    dhc_lp_set(b, m->acc, dhc_tpl_is_extreme(m->d->op) ? dhc_lp_ew2(b, extreme_op(m), acc, v) : dhc_lp_add(b, acc, v));
  }
}

static DhcLv end_blocks(Fold *f, Member *m, DhcLv last) {
  return many_blocks(f) ? dhc_tpl_blocks_end(f->cx->b, &m->blocks, last) : last;
}

static void end_in_order(Fold *f) {
  DhcLp *b = f->cx->b;
  for (int k = 0; k < f->n; k++) {
    Member *m = &f->m[k];
    if (m->sum16 && f->unrolled) m->result = dhc_tpl_fold_few(b, m->few, f->n_few);
    else if (m->sum16) m->result = end_blocks(f, m, take_parts(f, m));
    else if (m->d->op == DHC_OP_ARGMAX) m->result = dhc_lp_get(b, m->arg), m->best = dhc_lp_get(b, m->acc);
    else if (dhc_tpl_is_extreme(m->d->op))
      m->result = settle_zero(b, m, dhc_lp_get(b, m->acc));
    else m->result = dhc_lp_get(b, m->acc);
    if (m->levels.buffer && f->ranges) m->result = dhc_lp_select(b, is_many(f), dhc_lp_get(b, m->total), m->result);
  }
}

/* Hoists what the members need and the bound axes already give. */
static void hoist(Fold *f) {
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  for (int k = 0; k < f->n; k++)
    for (int i = 0; i < 2; i++)
      if (f->m[k].d->a[i] >= 0) dhc_tpl_needed(f->cx->s, f->m[k].d->a[i], needed);
  dhc_tpl_hoist(f->cx, needed);
}

static void loops_in_order(Fold *f, int level, DhcLv flat) {
  DhcTplCx *cx = f->cx;
  DhcLp *b = cx->b;
  if (level == f->n_axes) {
    for (int k = 0; k < f->n; k++) step_in_order(f, &f->m[k], flat);
    f->n_few++;
    return;
  }
  int a = f->axis[level];
  DhcLv row = dhc_lp_mul(b, flat, cx->extent[a]);
  for (int i = 0; i < f->few; i++) { /* those that are not there are the last again, as zeros */
    DhcLv at = dhc_lp_i64(b, i), there = dhc_lp_lt(b, at, cx->extent[a]);
    DhcTplMark mark = dhc_tpl_push(cx);
    dhc_tpl_bind(cx, a, dhc_lp_min(b, at, dhc_lp_addc(b, cx->extent[a], -1)));
    loops_in_order(f, level + 1, at);
    dhc_tpl_pop(cx, &mark);
    for (int k = 0; k < f->n && i; k++) f->m[k].few[i] = dhc_lp_select(b, there, f->m[k].few[i], dhc_lp_zero(b, f->m[k].t, f->m[k].few[i]->type.lanes));
  }
  if (f->few) return;
  if (f->unrolled) {
    for (int64_t i = 0; i < cx->s->axis[a].extent; i++) {
      DhcTplMark mark = dhc_tpl_push(cx);
      dhc_tpl_bind(cx, a, dhc_lp_i64(b, i));
      loops_in_order(f, level + 1, dhc_lp_addc(b, row, i));
      dhc_tpl_pop(cx, &mark);
    }
    return;
  }
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), cx->extent[a], 1);
  DhcTplMark mark = dhc_tpl_push(cx);
  dhc_tpl_bind(cx, a, i);
  if (level + 1 < f->n_axes) hoist(f);
  loops_in_order(f, level + 1, dhc_lp_add(b, row, i));
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
}

/* ---- by lanes ------------------------------------------------------------------------------ */

static void begin_by_lanes(Fold *f) {
  DhcLp *b = f->cx->b;
  int lanes = DHC_TPL_LANES;
  for (int k = 0; k < f->n; k++) {
    Member *m = &f->m[k];
    DhcOp op = m->d->op;
    if (chooses(op)) {
      m->acc = dhc_lp_var(b, dhc_lp_splat(b, dhc_tpl_fold_lowest(b, m->t, op != DHC_OP_REDUCE_MIN), lanes));
      /* off lanes lose every tie */
      if (op == DHC_OP_ARGMAX)
        m->arg = dhc_lp_var(b, dhc_lp_splat(b, dhc_tpl_fold_lowest(b, m->d->dtype, false), lanes));
    } else if (op == DHC_OP_DOT_GENERAL || op == DHC_OP_ADD) {
      m->acc = dhc_lp_var(b, dhc_lp_zero(b, m->t, 1));
      begin_levels(f, m, 1);
    } else {
      m->acc = dhc_lp_var(b, dhc_lp_zero(b, m->t, lanes));
      if (m->sum16 && many_blocks(f)) m->blocks = dhc_tpl_blocks_begin(b, m->t, 1);
    }
  }
}

/* A fold by lanes of little more than what is loaded. */
static bool is_bare(const Fold *f) {
  const DhcTplCx *cx = f->cx;
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  int ops = 0;
  dhc_tpl_needed(cx->s, f->m[0].d->a[0], needed);
  for (int n = 0; n < cx->s->n_nodes; n++)
    if (needed[n] && !cx->value[n] && cx->s->node[n].kind != DHC_SN_LOAD) ops += cx->s->node[n].kind == DHC_SN_EW ? dhc_op_work(cx->s->node[n].op) : 1;
  return f->by_lanes && f->n == 1 && ops <= FEW_OPS && !cx->in->facts->by_threads;
}

/* Maxima are the same in any order, so several strands of them go side by side. */
static bool goes_in_strands(const Fold *f) { return dhc_tpl_is_extreme(f->m[0].d->op) && is_bare(f); }
/* Sums are not; but without masks, and a block's end looked for once in several vectors, a core does one row beside the next. */
static bool goes_in_runs(const Fold *f) { return f->m[0].sum16 && is_bare(f); }

/* Vectors from `lo`, a multiple of as many elements as the strands have, while there are elements for all strands; where they end. */
static DhcLv strands_by_lanes(Fold *f, DhcLv lo, DhcLv hi) {
  DhcTplCx *cx = f->cx;
  DhcLp *b = cx->b;
  Member *m = &f->m[0];
  DhcOp op = extreme_op(m);
  const int64_t all = (int64_t)STRANDS * DHC_TPL_LANES;
  int a = f->axis[f->n_axes - 1];
  DhcLv end = dhc_lp_add(b, lo, dhc_lp_mulc(b, dhc_lp_udiv(b, dhc_lp_sub(b, hi, lo), dhc_lp_i64(b, all)), all));
  m->strand[0] = m->acc;
  dhc_lp_if(b, dhc_lp_lt(b, lo, end)); /* not in short rows */
  for (int i = 1; i < STRANDS; i++) m->strand[i] = dhc_lp_var(b, dhc_lp_get(b, m->acc));
  DhcLv j = dhc_lp_for(b, lo, end, all);
  for (int i = 0; i < STRANDS; i++) {
    DhcTplMark mark = dhc_tpl_push(cx);
    dhc_tpl_bind_vector(cx, a, dhc_lp_addc(b, j, (int64_t)i * DHC_TPL_LANES), DHC_TPL_LANES, NULL);
    DhcLv v = dhc_lp_splat(b, dhc_tpl_eval(cx, m->d->a[0]), DHC_TPL_LANES);
    dhc_lp_set(b, m->strand[i], dhc_lp_ew2(b, op, dhc_lp_get(b, m->strand[i]), v));
    dhc_tpl_pop(cx, &mark);
  }
  dhc_lp_end(b);
  for (int i = 1; i < STRANDS; i++) dhc_lp_set(b, m->acc, dhc_lp_ew2(b, op, dhc_lp_get(b, m->acc), dhc_lp_get(b, m->strand[i])));
  dhc_lp_end(b);
  return end;
}

static DhcLv fold_lanes(DhcLp *b, const Member *m) { return dhc_lp_fold(b, DHC_OP_ADD, dhc_lp_get(b, m->acc)); }

/* One lane after the other into a scalar chain; lanes that do not count change nothing. */
static void chain_lanes(Fold *f, Member *m, DhcLv v) {
  DhcTplCx *cx = f->cx;
  DhcLp *b = cx->b;
  DhcLv acc = dhc_lp_get(b, m->acc), y = NULL;
  if (m->d->a[1] >= 0) y = dhc_lp_splat(b, dhc_tpl_eval(cx, m->d->a[1]), DHC_TPL_LANES);
  for (int l = 0; l < DHC_TPL_LANES; l++) {
    DhcLv x = dhc_lp_extract(b, v, l);
    DhcLv next = y ? dhc_lp_fma(b, x, dhc_lp_extract(b, y, l), acc) : dhc_lp_add(b, acc, x);
    acc = cx->mask ? dhc_lp_select(b, dhc_lp_extract(b, cx->mask, l), next, acc) : next;
  }
  dhc_lp_set(b, m->acc, acc);
}

static void step_by_lanes(Fold *f, Member *m, DhcLv flat) {
  DhcTplCx *cx = f->cx;
  DhcLp *b = cx->b;
  DhcLv v = dhc_lp_splat(b, dhc_tpl_eval(cx, m->d->a[0]), DHC_TPL_LANES);
  DhcLv on = cx->mask;
  switch ((int)m->d->op) {
  case DHC_OP_DOT_GENERAL:
  case DHC_OP_ADD: chain_lanes(f, m, v); return;
  case DHC_OP_ARGMAX: {
    DhcLv acc = dhc_lp_get(b, m->acc), arg = dhc_lp_get(b, m->arg);
    DhcLv i = dhc_lp_add(b, dhc_lp_iota(b, m->d->dtype, DHC_TPL_LANES),
                         dhc_lp_cast(b, flat, m->d->dtype));
    /* a lane's first element wins even where it is no better than the start value */
    DhcLv better = dhc_tpl_argmax_before(b, v, acc, i, arg);
    if (on) better = dhc_lp_and(b, better, on);
    dhc_lp_set(b, m->acc, dhc_lp_select(b, better, v, acc));
    dhc_lp_set(b, m->arg, dhc_lp_select(b, better, i, arg));
    return;
  }
  default:
    if (dhc_tpl_is_extreme(m->d->op)) {
      if (on) v = dhc_lp_select(b, on, v, dhc_tpl_fold_lowest(b, m->t, m->d->op == DHC_OP_REDUCE_MAX));
      dhc_lp_set(b, m->acc, dhc_lp_ew2(b, extreme_op(m), dhc_lp_get(b, m->acc), v));
      return;
    }
    if (on) v = dhc_lp_select(b, on, v, dhc_lp_zero(b, m->t, 1));
    dhc_lp_set(b, m->acc, dhc_lp_add(b, dhc_lp_get(b, m->acc), v));
  }
}

static void end_by_lanes(Fold *f) {
  DhcLp *b = f->cx->b;
  for (int k = 0; k < f->n; k++) {
    Member *m = &f->m[k];
    DhcOp op = m->d->op;
    if (op == DHC_OP_ARGMAX) {
      DhcLv i = dhc_tpl_argmax_lanes(b, dhc_lp_get(b, m->acc), dhc_lp_get(b, m->arg), &m->best);
      DhcLv none = dhc_tpl_fold_lowest(b, m->d->dtype, false); /* nothing was folded: 0 */
      m->result = dhc_lp_select(b, dhc_lp_eq(b, i, none), dhc_lp_zero(b, m->d->dtype, 1), i);
    } else if (dhc_tpl_is_extreme(op)) {
      m->result = settle_zero(b, m, dhc_lp_fold(b, extreme_op(m), dhc_lp_get(b, m->acc)));
    } else if (op == DHC_OP_DOT_GENERAL || op == DHC_OP_ADD) {
      if (m->levels.buffer) {
        DhcLv last = dhc_lp_udiv(b, dhc_lp_addc(b, f->products, -1), dhc_lp_i64(b, DHC_DOT_BLOCK));
        dhc_lp_if(b, is_many(f));
        dhc_tpl_levels_add_var(b, &m->levels, m->acc, last, dhc_lp_int(b, DHC_BOOL, 1));
        dhc_lp_end(b);
      }
      m->result = dhc_lp_get(b, m->acc);
    } else {
      m->result = fold_lanes(b, m);
      if (m->sum16) m->result = end_blocks(f, m, m->result);
    }
  }
}

static bool any_sum(const Fold *f) {
  for (int k = 0; k < f->n; k++)
    if (f->m[k].sum16) return true;
  return false;
}

/* Is the vector at flat index `at` the first of a block of `size`? The one before is complete then. */
static DhcLv begins_block(DhcLp *b, DhcLv at, DhcLv j, int64_t size) {
  DhcLv zero = dhc_lp_i64(b, 0), low = dhc_lp_and(b, at, dhc_lp_i64(b, size - 1));
  return dhc_lp_and(b, dhc_lp_and(b, dhc_lp_eq(b, low, zero), dhc_lp_ge(b, j, zero)), dhc_lp_lt(b, zero, at));
}

static void flush_products(Fold *f, DhcLv at) {
  DhcLp *b = f->cx->b;
  DhcLv block = dhc_lp_addc(b, dhc_lp_udiv(b, at, dhc_lp_i64(b, DHC_DOT_BLOCK)), -1);
  for (int k = 0; k < f->n; k++) {
    const Member *m = &f->m[k];
    if (m->levels.buffer) dhc_tpl_levels_add_var(b, &m->levels, m->acc, block, dhc_lp_int(b, DHC_BOOL, 0));
  }
}

static void flush_sums(Fold *f) {
  DhcLp *b = f->cx->b;
  for (int k = 0; k < f->n; k++) {
    Member *m = &f->m[k];
    if (!m->sum16) continue;
    dhc_tpl_blocks_add(b, &m->blocks, fold_lanes(b, m));
    dhc_lp_set(b, m->acc, dhc_lp_zero(b, m->t, DHC_TPL_LANES));
  }
}

/* What the row's elements are made into is not made again: it waits where it ends. */
static void keep(const Fold *f) {
  DhcTplCx *cx = f->cx;
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  if (cx->kept_in < 0) return;
  for (int k = 0; k < f->n; k++) dhc_tpl_needed(cx->s, f->m[k].d->a[0], needed);
  if (needed[cx->kept]) dhc_tpl_store_value(cx, cx->kept_in, dhc_tpl_eval(cx, cx->kept));
}

/* Whole vectors from `lo`, a multiple of as many elements as a run has, while there are runs of them; where they end. */
static DhcLv runs_by_lanes(Fold *f, DhcLv lo, DhcLv hi, bool blocks) {
  DhcTplCx *cx = f->cx;
  DhcLp *b = cx->b;
  const int64_t all = (int64_t)STRANDS * DHC_TPL_LANES;
  DhcLv end = dhc_lp_add(b, lo, dhc_lp_mulc(b, dhc_lp_udiv(b, dhc_lp_sub(b, hi, lo), dhc_lp_i64(b, all)), all));
  DhcLv j = dhc_lp_for_rounds(b, lo, end, all, 1);
  if (blocks) {
    dhc_lp_if(b, begins_block(b, j, j, DHC_SUM_BLOCK));
    flush_sums(f);
    dhc_lp_end(b);
  }
  for (int i = 0; i < STRANDS; i++) {
    DhcTplMark mark = dhc_tpl_push(cx);
    dhc_tpl_bind_vector(cx, f->axis[f->n_axes - 1], dhc_lp_addc(b, j, (int64_t)i * DHC_TPL_LANES), DHC_TPL_LANES, NULL);
    step_by_lanes(f, &f->m[0], NULL);
    dhc_tpl_pop(cx, &mark);
  }
  dhc_lp_end(b);
  return end;
}

/* Vectors of one row of the innermost axis. `phase`: flat index of its first element modulo
 * 16 (NULL: 0), `flat`: that index (NULL: 0). */
static void row_by_lanes(Fold *f, DhcLv flat, DhcLv phase) {
  DhcTplCx *cx = f->cx;
  DhcLp *b = cx->b;
  int a = f->axis[f->n_axes - 1];
  DhcLv n = cx->extent[a], zero = dhc_lp_i64(b, 0);
  int64_t known;
  bool whole = dhc_lp_is_const(n, &known) && known % DHC_TPL_LANES == 0 && !phase;
  bool blocks = any_sum(f) && many_blocks(f), strands = goes_in_strands(f);
  if (strands) phase = NULL;
  bool runs = !phase && !flat && cx->kept_in < 0 && goes_in_runs(f);
  DhcLv first = strands ? strands_by_lanes(f, zero, n) : runs ? runs_by_lanes(f, zero, n, blocks) : phase ? dhc_lp_sub(b, zero, phase) : zero;
  DhcLv j = dhc_lp_for(b, first, n, DHC_TPL_LANES);
  DhcTplMark mark = dhc_tpl_push(cx);
  DhcLv on = whole ? NULL : dhc_lp_tail(b, j, n, DHC_TPL_LANES);
  DhcLv at = flat ? dhc_lp_add(b, flat, j) : j;
  if (phase) {
    DhcLv before = dhc_lp_cast(b, dhc_lp_max(b, dhc_lp_sub(b, zero, j), zero), DHC_I32);
    on = dhc_lp_and(b, on, dhc_lp_ge(b, dhc_lp_iota(b, DHC_I32, DHC_TPL_LANES), before));
  }
  if (blocks) {
    dhc_lp_if(b, begins_block(b, at, j, DHC_SUM_BLOCK));
    flush_sums(f);
    dhc_lp_end(b);
  }
  if (f->products) {
    dhc_lp_if(b, begins_block(b, at, j, DHC_DOT_BLOCK));
    flush_products(f, at);
    dhc_lp_end(b);
  }
  dhc_tpl_bind_vector(cx, a, j, DHC_TPL_LANES, on);
  for (int k = 0; k < f->n; k++) step_by_lanes(f, &f->m[k], at);
  keep(f);
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
}

static void loops_by_lanes(Fold *f, int level, DhcLv flat) {
  DhcTplCx *cx = f->cx;
  DhcLp *b = cx->b;
  int a = f->axis[level];
  DhcLv row = flat ? dhc_lp_mul(b, flat, cx->extent[a]) : NULL;
  if (level == f->n_axes - 1) {
    int64_t known;
    bool aligned = !row || (dhc_lp_is_const(cx->extent[a], &known) && known % DHC_TPL_LANES == 0);
    row_by_lanes(f, row,
                 aligned ? NULL : dhc_lp_and(b, row, dhc_lp_i64(b, DHC_TPL_LANES - 1)));
    return;
  }
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), cx->extent[a], 1);
  DhcTplMark mark = dhc_tpl_push(cx);
  dhc_tpl_bind(cx, a, i);
  hoist(f);
  loops_by_lanes(f, level + 1, row ? dhc_lp_add(b, row, i) : i);
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
}

/* ---- parts --------------------------------------------------------------------------------- */

/* Columns [j0, j1) of the row whose first element has flat index `flat` (NULL: 0, and j0 is a
 * multiple of 16). */
static void part_row(Fold *f, DhcLv flat, DhcLv j0, DhcLv j1) {
  DhcTplCx *cx = f->cx;
  DhcLp *b = cx->b;
  int a = f->axis[f->n_axes - 1];
  DhcLv start = j0;
  if (goes_in_strands(f)) {
    start = strands_by_lanes(f, j0, j1);
    flat = NULL;
  } else if (!flat && goes_in_runs(f)) {
    start = runs_by_lanes(f, j0, j1, false);
  }
  if (f->by_lanes && flat)
    start = dhc_lp_sub(b, j0, dhc_lp_and(b, dhc_lp_add(b, flat, j0), dhc_lp_i64(b, DHC_TPL_LANES - 1)));
  DhcLv j = dhc_lp_for(b, start, j1, f->by_lanes ? DHC_TPL_LANES : 1);
  DhcLv at = flat ? dhc_lp_add(b, flat, j) : j;
  DhcTplMark mark = dhc_tpl_push(cx);
  if (f->by_lanes) {
    DhcLv on = dhc_lp_tail(b, j, j1, DHC_TPL_LANES);
    if (flat) {
      DhcLv before = dhc_lp_cast(b, dhc_lp_max(b, dhc_lp_sub(b, j0, j), dhc_lp_i64(b, 0)), DHC_I32);
      on = dhc_lp_and(b, on, dhc_lp_ge(b, dhc_lp_iota(b, DHC_I32, DHC_TPL_LANES), before));
    }
    dhc_tpl_bind_vector(cx, a, j, DHC_TPL_LANES, on);
    for (int k = 0; k < f->n; k++) step_by_lanes(f, &f->m[k], at);
  } else {
    dhc_tpl_bind(cx, a, j);
    for (int k = 0; k < f->n; k++) step_in_order(f, &f->m[k], at);
  }
  dhc_tpl_pop(cx, &mark);
  dhc_lp_end(b);
}

/* The rows of the innermost axis that [lo, hi) touches. */
static void part_rows(Fold *f) {
  DhcTplCx *cx = f->cx;
  DhcLp *b = cx->b;
  int a = f->axis[f->n_axes - 1];
  if (f->n_axes == 1) {
    part_row(f, NULL, f->lo, f->hi);
    return;
  }
  DhcLv n = cx->extent[a], first = dhc_lp_udiv(b, f->lo, n);
  DhcLv last = dhc_lp_addc(b, dhc_lp_udiv(b, dhc_lp_addc(b, f->hi, -1), n), 1);
  DhcTplRows rows = dhc_tpl_rows(cx, f->axes & ~(1u << a), first);
  DhcLv flat = dhc_lp_mul(b, dhc_lp_for(b, first, last, 1), n);
  DhcTplMark mark = dhc_tpl_push(cx);
  dhc_tpl_rows_bind(cx, &rows);
  hoist(f);
  part_row(f, flat, dhc_lp_max(b, dhc_lp_sub(b, f->lo, flat), dhc_lp_i64(b, 0)),
           dhc_lp_min(b, dhc_lp_sub(b, f->hi, flat), n));
  dhc_tpl_pop(cx, &mark);
  dhc_tpl_rows_next(cx, &rows);
  dhc_lp_end(b);
}

void dhc_tpl_fold_part(DhcTplCx *cx, int n, DhcLv lo, DhcLv hi, DhcTplPart *part) {
  Fold *f = DHC_NEW(cx->b->arena, Fold);
  f->lo = lo;
  f->hi = hi;
  f->done = part;
  plan(f, cx, n);
  hoist(f);
  if (f->by_lanes) begin_by_lanes(f);
  else begin_in_order(f);
  part_rows(f);
  if (f->by_lanes) end_by_lanes(f);
  else end_in_order(f);
  for (int k = 0; k < f->n; k++) {
    bool arg = f->m[k].d->op == DHC_OP_ARGMAX;
    part[f->m[k].node] = arg ? (DhcTplPart){f->m[k].best, f->m[k].result} : (DhcTplPart){f->m[k].result, NULL};
  }
}

/* ---- together --------------------------------------------------------------------------------- */

static void in_order(Fold *f) {
  begin_in_order(f);
  loops_in_order(f, 0, dhc_lp_i64(f->cx->b, 0));
  end_in_order(f);
}

static bool may_be_few(const Fold *f) { return f->cx->in->schedule->v[4] && f->n == 1 && f->n_axes == 1 && f->m[0].sum16 && !f->unrolled; }

/* Sums of few elements without partials in memory. */
static void few_or_many(Fold *f) {
  DhcTplCx *cx = f->cx;
  DhcLp *b = cx->b;
  Member *m = &f->m[0];
  DhcLv n = cx->extent[f->axis[0]];
  int most = cx->in->schedule->v[4];
  DhcLpVar sum = dhc_lp_var(b, dhc_lp_zero(b, m->t, value_lanes(f, m)));
  dhc_lp_if(b, dhc_lp_and(b, dhc_lp_lt(b, dhc_lp_i64(b, 0), n), dhc_lp_le(b, n, dhc_lp_i64(b, most))));
  for (int few = most; few >= 0; few -= most) {
    DhcTplMark arm = dhc_tpl_push(cx);
    f->few = few;
    f->unrolled = few;
    in_order(f);
    dhc_lp_set(b, sum, m->result);
    dhc_tpl_pop(cx, &arm);
    if (few) dhc_lp_else(b);
  }
  dhc_lp_end(b);
  m->result = dhc_lp_get(b, sum);
}

void dhc_tpl_fold(DhcTplCx *cx, int n) {
  Fold *f = DHC_NEW(cx->b->arena, Fold);
  f->cx = cx;
  add_member(f, n);
  hoist(f); /* folds that this one needs come first */
  *f = (Fold){0};
  if (cx->value[n]) return; /* one of them took it along */
  plan(f, cx, n);
  hoist(f);
  if (f->by_lanes) {
    begin_by_lanes(f);
    loops_by_lanes(f, 0, NULL);
    end_by_lanes(f);
  } else if (may_be_few(f)) {
    few_or_many(f);
  } else {
    in_order(f);
  }
  for (int k = 0; k < f->n; k++) dhc_tpl_set(cx, f->m[k].node, f->m[k].result);
}
