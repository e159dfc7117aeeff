/* Folds of parts of a row, joined: as the sum rule joins its blocks, or by what folds two elements. */
#include "backends/loop/tpl.h"

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
