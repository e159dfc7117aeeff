/* Meaning of contractions: products by the rule of ir/sum.h, contracted index ascending. */
#include "ir/interp_internal.h"
#include "ir/sum.h"

/* One output: floats by the product rule, integers wrap. */
typedef struct Out {
  DhcDotSum f;
  int64_t i;
} Out;

static void add_product(Out *o, dhc_dtype t, const DhcArray *x, int64_t i, const DhcArray *y, int64_t j) {
  if (x->f)
    dhc_dot_add(&o->f, x->f[i], y->f[j]);
  else
    o->i = dhc_eval_wrap(t, (int64_t)((uint64_t)o->i + (uint64_t)x->i[i] * (uint64_t)y->i[j]));
}

static void put_out(DhcArray *y, int64_t at, const Out *o) {
  if (y->f)
    y->f[at] = dhc_dot_end(&o->f);
  else
    y->i[at] = o->i;
}

/* Extents of one group of axes (batch, free or contracted) and their strides in both operands. */
typedef struct Axes {
  int n;
  int64_t dim[2 * DHC_MAX_RANK], a[2 * DHC_MAX_RANK], b[2 * DHC_MAX_RANK];
} Axes;

static void push(Axes *x, int64_t dim, int64_t a, int64_t b) {
  x->dim[x->n] = dim;
  x->a[x->n] = a;
  x->b[x->n++] = b;
}

bool dhc_interp_dot_general(DhcInterp *in, const DhcNode *n) {
  const DhcArray *a = dhc_in_arg(in, n, 0), *b = dhc_in_arg(in, n, 1);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  const DhcAttr *ba = dhc_attr(n, "batch_a"), *bb = dhc_attr(n, "batch_b");
  const DhcAttr *ca = dhc_attr(n, "contract_a"), *cb = dhc_attr(n, "contract_b");
  int64_t sa[DHC_MAX_RANK], sb[DHC_MAX_RANK];
  bool used_a[DHC_MAX_RANK] = {false}, used_b[DHC_MAX_RANK] = {false};
  Axes out = {0}, red = {0};
  dhc_in_strides(a, sa);
  dhc_in_strides(b, sb);
  for (int k = 0; k < ba->ints.n + ca->ints.n; k++) {
    bool batch = k < ba->ints.n;
    int64_t i = batch ? ba->ints.at[k] : ca->ints.at[k - ba->ints.n];
    int64_t j = batch ? bb->ints.at[k] : cb->ints.at[k - ba->ints.n];
    dhc_in_proved(n, a->dim[i] == b->dim[j]);
    used_a[i] = used_b[j] = true;
    push(batch ? &out : &red, a->dim[i], sa[i], sb[j]);
  }
  for (int i = 0; i < a->rank; i++)
    if (!used_a[i]) push(&out, a->dim[i], sa[i], 0);
  for (int j = 0; j < b->rank; j++)
    if (!used_b[j]) push(&out, b->dim[j], 0, sb[j]);
  dhc_in_proved(n, dhc_in_product(out.dim, out.n) == y->n);

  int64_t n_red = dhc_in_product(red.dim, red.n), idx[2 * DHC_MAX_RANK] = {0};
  for (int64_t e = 0; e < y->n; e++) {
    int64_t k[2 * DHC_MAX_RANK] = {0};
    int64_t at_a = dhc_in_at(out.n, out.a, idx), at_b = dhc_in_at(out.n, out.b, idx);
    Out sum = {0};
    for (int64_t r = 0; r < n_red; r++) {
      add_product(&sum, y->dtype, a, at_a + dhc_in_at(red.n, red.a, k), b, at_b + dhc_in_at(red.n, red.b, k));
      dhc_in_next(red.n, red.dim, k);
    }
    put_out(y, e, &sum);
    dhc_in_next(out.n, out.dim, idx);
  }
  return true;
}

/* Rows of range e, cut to the rows there are. */
static void range(const DhcArray *offsets, int64_t e, int64_t rows, int64_t *from, int64_t *to) {
  *from = offsets->i[e] < 0 ? 0 : offsets->i[e];
  *to = offsets->i[e + 1] > rows ? rows : offsets->i[e + 1];
}

bool dhc_interp_ragged_dot(DhcInterp *in, const DhcNode *n) {
  const DhcArray *a = dhc_in_arg(in, n, 0), *w = dhc_in_arg(in, n, 1);
  const DhcArray *offsets = dhc_in_arg(in, n, 2);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  int64_t n_k = w->dim[1], n_n = w->dim[2], from, to;
  for (int64_t e = 0; e < w->dim[0]; e++) {
    range(offsets, e, a->dim[0], &from, &to);
    for (int64_t t = from; t < to; t++)
      for (int64_t j = 0; j < n_n; j++) {
        Out sum = {0};
        for (int64_t k = 0; k < n_k; k++) add_product(&sum, y->dtype, a, t * n_k + k, w, (e * n_k + k) * n_n + j);
        put_out(y, t * n_n + j, &sum);
      }
  }
  return true;
}

bool dhc_interp_ragged_dot_dw(DhcInterp *in, const DhcNode *n) {
  const DhcArray *a = dhc_in_arg(in, n, 0), *d = dhc_in_arg(in, n, 1);
  const DhcArray *offsets = dhc_in_arg(in, n, 2);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  int64_t n_k = a->dim[1], n_n = d->dim[1], from, to;
  for (int64_t e = 0; e < y->dim[0]; e++) {
    range(offsets, e, a->dim[0], &from, &to);
    for (int64_t k = 0; k < n_k; k++)
      for (int64_t j = 0; j < n_n; j++) {
        Out sum = {.f = {.n = from}};
        for (int64_t t = from; t < to; t++) add_product(&sum, y->dtype, a, t * n_k + k, d, t * n_n + j);
        put_out(y, (e * n_k + k) * n_n + j, &sum);
      }
  }
  return true;
}
