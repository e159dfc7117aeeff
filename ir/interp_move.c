/* Meaning of views and data movement: every element of the result from its index. */
#include "ir/interp_internal.h"

/* ---- views ------------------------------------------------------------------ */

bool dhc_interp_reshape(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  dhc_in_proved(n, x->n == y->n);
  for (int64_t e = 0; e < y->n; e++) dhc_in_copy(y, e, x, e);
  return true;
}

/* y[idx] = x[at + sum idx[d] * step[d]] for every index of y. */
static void walk(DhcArray *y, const DhcArray *x, int64_t at, const int64_t *step) {
  int64_t idx[DHC_MAX_RANK] = {0};
  for (int64_t e = 0; e < y->n; e++) {
    dhc_in_copy(y, e, x, at + dhc_in_at(y->rank, step, idx));
    dhc_in_next(y->rank, y->dim, idx);
  }
}

bool dhc_interp_transpose(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  const DhcAttr *perm = dhc_attr(n, "perm");
  int64_t stride[DHC_MAX_RANK], step[DHC_MAX_RANK];
  dhc_in_strides(x, stride);
  for (int d = 0; d < y->rank; d++) step[d] = stride[perm->ints.at[d]];
  walk(y, x, 0, step);
  return true;
}

bool dhc_interp_broadcast(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  int64_t stride[DHC_MAX_RANK], step[DHC_MAX_RANK] = {0};
  dhc_in_strides(x, stride);
  for (int d = 0; d < x->rank; d++) {
    int to = d + y->rank - x->rank;
    dhc_in_proved(n, x->dim[d] == y->dim[to] || x->dim[d] == 1);
    if (x->dim[d] == y->dim[to]) step[to] = stride[d];
  }
  walk(y, x, 0, step);
  return true;
}

bool dhc_interp_slice(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  int64_t start[DHC_MAX_RANK], stride[DHC_MAX_RANK], step[DHC_MAX_RANK], at = 0;
  const int64_t *by = dhc_attr(n, "step")->ints.at;
  if (!dhc_interp_attr_dims(in, n, "start", start)) return false;
  dhc_in_strides(x, stride);
  for (int d = 0; d < x->rank; d++) {
    int64_t last = start[d] + (y->dim[d] - 1) * by[d];
    dhc_in_proved(n, y->dim[d] == 0 || (start[d] >= 0 && last < x->dim[d]));
    at += start[d] * stride[d];
    step[d] = by[d] * stride[d];
  }
  walk(y, x, at, step);
  return true;
}

bool dhc_interp_reverse(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  const DhcAttr *axes = dhc_attr(n, "axes");
  int64_t step[DHC_MAX_RANK], at = 0;
  dhc_in_strides(x, step);
  for (int k = 0; k < axes->ints.n; k++) {
    int64_t d = axes->ints.at[k];
    at += (x->dim[d] - 1) * step[d];
    step[d] = -step[d];
  }
  walk(y, x, at, step);
  return true;
}

/* ---- pad, concat --------------------------------------------------------------- */

bool dhc_interp_pad(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  const int64_t *by = dhc_attr(n, "step")->ints.at;
  int64_t low[DHC_MAX_RANK], stride[DHC_MAX_RANK], idx[DHC_MAX_RANK] = {0};
  if (!dhc_interp_attr_dims(in, n, "low", low)) return false;
  dhc_in_strides(y, stride);
  for (int64_t e = 0; e < x->n; e++) {
    int64_t at = 0;
    bool inside = true; /* a negative low or high cuts off */
    for (int d = 0; d < x->rank; d++) {
      int64_t p = low[d] + idx[d] * by[d];
      inside = inside && p >= 0 && p < y->dim[d];
      at += p * stride[d];
    }
    if (inside) dhc_in_copy(y, at, x, e);
    dhc_in_next(x->rank, x->dim, idx);
  }
  return true;
}

bool dhc_interp_concat(DhcInterp *in, const DhcNode *n) {
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  int axis = dhc_in_axis(n, y->rank);
  DhcSplit to = dhc_in_split(y, axis);
  int64_t done = 0;
  for (int k = 0; k < n->n_args; k++) {
    const DhcArray *x = dhc_in_arg(in, n, k);
    DhcSplit s = dhc_in_split(x, axis);
    dhc_in_proved(n, s.outer == to.outer && s.inner == to.inner && done + s.n <= to.n);
    for (int64_t e = 0; e < x->n; e++) {
      int64_t i = e % s.inner, j = e / s.inner % s.n, o = e / s.inner / s.n;
      dhc_in_copy(y, dhc_in_split_at(to, o, done + j, i), x, e);
    }
    done += s.n;
  }
  return true;
}

/* ---- at a run-time place --------------------------------------------------------- */

static int64_t clamp_start(int64_t start, int64_t extent, int64_t size) {
  if (start > extent - size) start = extent - size;
  return start < 0 ? 0 : start;
}

bool dhc_interp_dynamic_slice(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  int axis = dhc_in_axis(n, x->rank);
  DhcSplit from = dhc_in_split(x, axis), to = dhc_in_split(y, axis);
  dhc_in_proved(n, to.n <= from.n);
  int64_t start = clamp_start(dhc_in_arg(in, n, 1)->i[0], from.n, to.n);
  for (int64_t e = 0; e < y->n; e++) {
    int64_t i = e % to.inner, j = e / to.inner % to.n, o = e / to.inner / to.n;
    dhc_in_copy(y, e, x, dhc_in_split_at(from, o, start + j, i));
  }
  return true;
}

bool dhc_interp_dynamic_update(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0), *u = dhc_in_arg(in, n, 1);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  int axis = dhc_in_axis(n, x->rank);
  DhcSplit to = dhc_in_split(y, axis), from = dhc_in_split(u, axis);
  dhc_in_proved(n, from.n <= to.n);
  int64_t start = clamp_start(dhc_in_arg(in, n, 2)->i[0], to.n, from.n);
  for (int64_t e = 0; e < y->n; e++) dhc_in_copy(y, e, x, e);
  for (int64_t e = 0; e < u->n; e++) {
    int64_t i = e % from.inner, j = e / from.inner % from.n, o = e / from.inner / from.n;
    dhc_in_copy(y, dhc_in_split_at(to, o, start + j, i), u, e);
  }
  return true;
}

/* ---- by index ---------------------------------------------------------------------- */

/* Result [outer, index…, inner]; x [outer, n, inner]. */
bool dhc_interp_gather(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0), *index = dhc_in_arg(in, n, 1);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  DhcSplit from = dhc_in_split(x, dhc_in_axis(n, x->rank));
  for (int64_t e = 0; e < y->n; e++) {
    int64_t i = e % from.inner, j = e / from.inner % index->n, o = e / from.inner / index->n;
    int64_t k = index->i[j];
    if (k >= 0 && k < from.n) dhc_in_copy(y, e, x, dhc_in_split_at(from, o, k, i));
  }
  return true;
}

bool dhc_interp_scatter_add(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0), *index = dhc_in_arg(in, n, 1);
  const DhcArray *u = dhc_in_arg(in, n, 2);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  DhcSplit to = dhc_in_split(y, dhc_in_axis(n, x->rank));
  dhc_in_proved(n, u->n == to.outer * index->n * to.inner);
  for (int64_t e = 0; e < y->n; e++) dhc_in_copy(y, e, x, e);
  /* row-major over u visits each place's additions in index order */
  for (int64_t e = 0; e < u->n; e++) {
    int64_t i = e % to.inner, j = e / to.inner % index->n, o = e / to.inner / index->n;
    int64_t k = index->i[j];
    if (k >= 0 && k < to.n) dhc_in_add(y, dhc_in_split_at(to, o, k, i), u, e);
  }
  return true;
}

bool dhc_interp_take_along(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0), *index = dhc_in_arg(in, n, 1);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  int axis = dhc_in_axis(n, x->rank);
  DhcSplit from = dhc_in_split(x, axis), to = dhc_in_split(index, axis);
  dhc_in_proved(n, y->n == index->n && from.outer == to.outer && from.inner == to.inner);
  for (int64_t e = 0; e < y->n; e++) {
    int64_t i = e % to.inner, o = e / to.inner / to.n, k = index->i[e];
    if (k >= 0 && k < from.n) dhc_in_copy(y, e, x, dhc_in_split_at(from, o, k, i));
  }
  return true;
}

bool dhc_interp_put_along(DhcInterp *in, const DhcNode *n) {
  const DhcArray *u = dhc_in_arg(in, n, 0), *index = dhc_in_arg(in, n, 1);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  int axis = dhc_in_axis(n, u->rank);
  DhcSplit from = dhc_in_split(u, axis), to = dhc_in_split(y, axis);
  dhc_in_proved(n, u->n == index->n && from.outer == to.outer && from.inner == to.inner);
  for (int64_t e = 0; e < u->n; e++) {
    int64_t i = e % from.inner, o = e / from.inner / from.n, k = index->i[e];
    if (k >= 0 && k < to.n) dhc_in_add(y, dhc_in_split_at(to, o, k, i), u, e);
  }
  return true;
}
