/* Meaning of top_k and route. */
#include "ir/interp_internal.h"

bool dhc_interp_top_k(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0);
  DhcArray *y = dhc_in_result(in, n, 0), *index = dhc_in_result(in, n, 1);
  if (!y || !index) return false;
  int64_t k = dhc_attr(n, "k")->i, m = x->dim[x->rank - 1];
  dhc_in_proved(n, k <= m);
  bool *taken = DHC_NEW_N(in->arena, bool, m + 1);
  for (int64_t row = 0; row < y->n / (k > 0 ? k : 1); row++) {
    memset(taken, 0, sizeof(bool) * (size_t)m);
    for (int64_t j = 0; j < k; j++) {
      int64_t best = -1;
      for (int64_t i = 0; i < m; i++) {
        if (!taken[i] && (best < 0 || dhc_in_larger(x, row * m + i, row * m + best))) best = i;
      }
      taken[best] = true;
      dhc_in_copy(y, row * k + j, x, row * m + best);
      index->i[row * k + j] = best;
    }
  }
  return true;
}

bool dhc_interp_route(DhcInterp *in, const DhcNode *n) {
  const DhcArray *e = dhc_in_arg(in, n, 0);
  DhcArray *row = dhc_in_result(in, n, 0), *slot = dhc_in_result(in, n, 1);
  DhcArray *offsets = dhc_in_result(in, n, 2);
  if (!row || !slot || !offsets) return false;
  int64_t num = dhc_attr(n, "num")->i, k = e->dim[1], next = 0;
  dhc_in_proved(n, row->n == e->n && offsets->n == num + 1);
  /* bin `num` collects what is in no bin */
  for (int64_t bin = 0; bin <= num; bin++) {
    offsets->i[bin] = next;
    for (int64_t c = 0; c < e->n; c++) {
      int64_t b = e->i[c] < 0 || e->i[c] >= num ? num : e->i[c];
      if (b != bin) continue;
      row->i[next] = c / k;
      slot->i[c] = next++;
    }
  }
  return true;
}
