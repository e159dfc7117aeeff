/* Meaning of the ops that make values: fill, iota, dim. */
#include "ir/interp_internal.h"

bool dhc_interp_fill(DhcInterp *in, const DhcNode *n) {
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  DhcScalar v = {.f = dhc_attr(n, "value")->f};
  v = dhc_eval_cast(DHC_F64, y->dtype, v);
  for (int64_t e = 0; e < y->n; e++) {
    if (y->f)
      y->f[e] = v.f;
    else
      y->i[e] = v.i;
  }
  return true;
}

bool dhc_interp_iota(DhcInterp *in, const DhcNode *n) {
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  DhcSplit s = dhc_in_split(y, dhc_in_axis(n, y->rank));
  for (int64_t e = 0; e < y->n; e++) {
    DhcScalar v = {.i = e / s.inner % s.n};
    v = dhc_eval_cast(DHC_I64, y->dtype, v);
    if (y->f)
      y->f[e] = v.f;
    else
      y->i[e] = v.i;
  }
  return true;
}

bool dhc_interp_dim(DhcInterp *in, const DhcNode *n) {
  DhcArray *y = dhc_in_result(in, n, 0);
  return y && dhc_interp_eval_dim(in, n, dhc_attr(n, "dim")->dim, y->i);
}
