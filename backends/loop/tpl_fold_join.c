/* What folds begin with and how two elements become one; folds of parts of a row, joined: as the sum rule joins its blocks, or by what
 * folds two elements. */
#include <math.h>

#include "backends/loop/tpl.h"

DhcLv dhc_tpl_fold_lowest(DhcLp *b, dhc_dtype t, bool largest) {
  if (dhc_dtype_is_float(t)) return dhc_lp_float(b, t, largest ? -(double)INFINITY : (double)INFINITY);
  bool is_unsigned = t == DHC_U32 || t == DHC_U16 || t == DHC_U8 || t == DHC_BOOL;
  int bits = 8 * dhc_dtype_bytes(t);
  if (largest) return dhc_lp_int(b, t, is_unsigned ? 0 : (int64_t)((uint64_t)1 << (bits - 1)));
  if (t == DHC_BOOL) return dhc_lp_int(b, t, 1);
  return dhc_lp_int(b, t, (int64_t)(~(uint64_t)0 >> (is_unsigned ? 64 - bits : 65 - bits)));
}

static DhcLv is_nan(DhcLp *b, DhcLv x) { return dhc_lp_ew2(b, DHC_OP_NE, x, x); }

DhcLv dhc_tpl_argmax_before(DhcLp *b, DhcLv x, DhcLv y, DhcLv i, DhcLv j) {
  DhcLv above = dhc_lp_ew2(b, DHC_OP_GT, x, y), equal = dhc_lp_eq(b, x, y);
  if (dhc_dtype_is_float(x->type.dtype)) {
    DhcLv nx = is_nan(b, x), ny = is_nan(b, y);
    DhcLv only = dhc_lp_and(b, nx, dhc_lp_ew1(b, DHC_OP_NOT, ny));
    above = dhc_lp_or(b, above, only);
    equal = dhc_lp_or(b, equal, dhc_lp_and(b, nx, ny));
  }
  if (!i) return above; /* x comes later: ties stay with y */
  return dhc_lp_or(b, above, dhc_lp_and(b, equal, dhc_lp_lt(b, i, j)));
}

DhcLv dhc_tpl_fold_unit(DhcLp *b, const DhcSpecNode *d, dhc_dtype t) {
  if (!dhc_tpl_is_extreme(d->op)) return dhc_lp_zero(b, t, 1);
  return dhc_tpl_fold_lowest(b, t, d->op == DHC_OP_REDUCE_MAX);
}

DhcLv dhc_tpl_fold_two(DhcLp *b, const DhcSpecNode *d, DhcLv x, DhcLv y) {
  return dhc_lp_ew2(b, dhc_tpl_is_extreme(d->op) ? dhc_op_info(d->op)->fold_by : DHC_OP_ADD, x, y);
}

DhcLv dhc_tpl_fold_settle(DhcLp *b, const DhcSpecNode *d, DhcLv x) {
  return dhc_tpl_is_extreme(d->op) && dhc_dtype_is_float(x->type.dtype) ? dhc_lp_add(b, x, dhc_lp_zero(b, x->type.dtype, x->type.lanes)) : x;
}

DhcLv dhc_tpl_argmax_lanes(DhcLp *b, DhcLv v, DhcLv i, DhcLv *best) {
  int pick[DHC_TPL_LANES];
  for (int half = DHC_TPL_LANES / 2; half > 0; half /= 2) {
    for (int l = 0; l < DHC_TPL_LANES; l++) pick[l] = (l + half) % DHC_TPL_LANES;
    DhcLv v2 = dhc_lp_shuffle(b, v, v, pick, DHC_TPL_LANES);
    DhcLv i2 = dhc_lp_shuffle(b, i, i, pick, DHC_TPL_LANES);
    DhcLv better = dhc_tpl_argmax_before(b, v2, v, i2, i);
    v = dhc_lp_select(b, better, v2, v);
    i = dhc_lp_select(b, better, i2, i);
  }
  *best = dhc_lp_extract(b, v, 0);
  return dhc_lp_extract(b, i, 0);
}

DhcLv dhc_tpl_fold16(DhcLp *b, DhcLv *p) {
  for (int w = DHC_TPL_LANES / 2; w > 0; w /= 2)
    for (int i = 0; i < w; i++) p[i] = dhc_lp_add(b, p[i], p[i + w]);
  return p[0];
}

/* Adding +0 to what is not -0 changes nothing, and 0 + x is never -0. */
DhcLv dhc_tpl_fold_few(DhcLp *b, DhcLv *x, int n) {
  DhcLv p[DHC_TPL_LANES];
  for (int i = 0; i < DHC_TPL_LANES; i++)
    p[i] = i < n ? dhc_lp_add(b, dhc_lp_zero(b, x[i]->type.dtype, x[i]->type.lanes), x[i]) : NULL;
  for (int w = DHC_TPL_LANES / 2; w > 0; w /= 2)
    for (int i = 0; i < w; i++)
      if (p[i + w]) p[i] = dhc_lp_add(b, p[i], p[i + w]);
  return p[0];
}

typedef struct Joined {
  const DhcSpecNode *d;
  dhc_dtype t; /* of what is folded */
  bool sum16;  /* by the sum rule */
} Joined;

static Joined joined(const DhcTplCx *cx, int n) {
  const DhcSpecNode *d = &cx->s->node[n];
  dhc_dtype t = cx->s->node[d->a[0]].dtype;
  return (Joined){d, t, d->op == DHC_OP_REDUCE_SUM && dhc_dtype_is_float(t)};
}

DhcTplJoin dhc_tpl_join_begin(DhcTplCx *cx, int n, int lanes) {
  DhcLp *b = cx->b;
  Joined m = joined(cx, n);
  DhcTplJoin j = {0};
  if (m.sum16) {
    j.blocks = dhc_tpl_blocks_begin(b, m.t, lanes);
    return j;
  }
  DhcLv unit = m.d->op == DHC_OP_ARGMAX ? dhc_tpl_fold_lowest(b, m.t, true) : dhc_tpl_fold_unit(b, m.d, m.t);
  j.value = dhc_lp_var(b, dhc_lp_splat(b, unit, lanes));
  if (m.d->op == DHC_OP_ARGMAX) j.index = dhc_lp_var(b, dhc_lp_zero(b, m.d->dtype, lanes));
  return j;
}

void dhc_tpl_join_add(DhcTplCx *cx, int n, const DhcTplJoin *j, const DhcTplPart *part) {
  DhcLp *b = cx->b;
  Joined m = joined(cx, n);
  if (m.sum16) {
    dhc_tpl_blocks_add(b, &j->blocks, part->value);
    return;
  }
  DhcLv acc = dhc_lp_get(b, j->value), v = part->value;
  if (m.d->op != DHC_OP_ARGMAX) {
    dhc_lp_set(b, j->value, dhc_tpl_fold_two(b, m.d, acc, v));
    return;
  }
  DhcLv better = dhc_tpl_argmax_before(b, v, acc, NULL, NULL);
  dhc_lp_set(b, j->value, dhc_lp_select(b, better, v, acc));
  dhc_lp_set(b, j->index, dhc_lp_select(b, better, part->index, dhc_lp_get(b, j->index)));
}

DhcLv dhc_tpl_join_end(DhcTplCx *cx, int n, const DhcTplJoin *j) {
  Joined m = joined(cx, n);
  if (m.sum16) return dhc_tpl_blocks_end(cx->b, &j->blocks, dhc_lp_zero(cx->b, m.t, j->blocks.lanes));
  if (m.d->op == DHC_OP_ARGMAX) return dhc_lp_get(cx->b, j->index);
  return dhc_tpl_fold_settle(cx->b, m.d, dhc_lp_get(cx->b, j->value));
}
