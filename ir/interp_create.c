/* Meaning of the ops that make values: fill, iota, dim, random_bits. */
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

bool dhc_interp_random_bits(DhcInterp *in, const DhcNode *n) {
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  int64_t seed = dhc_in_arg(in, n, 0)->i[0], site = dhc_in_arg(in, n, 1)->i[0];
  int64_t step = dhc_in_arg(in, n, 2)->i[0];
  for (int64_t e = 0; e < y->n; e++) y->i[e] = dhc_eval_random(seed, site, step, e);
  return true;
}
