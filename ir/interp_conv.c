/* Meaning of convolutions and of windows over trailing axes. */
#include "ir/interp_internal.h"
#include "ir/sum.h"

/* ---- convolution ------------------------------------------------------------- */

enum { MAX_SPATIAL = DHC_MAX_RANK - 2 };

/* x [N, C, *size], w [O, C/groups, *kernel], y [N, O, *out]. */
typedef struct Conv {
  int n_s; /* spatial axes */
  const int64_t *stride, *low, *dilation;
  int64_t groups, batch, c, o;
  int64_t size[MAX_SPATIAL], kernel[MAX_SPATIAL], out[MAX_SPATIAL];
} Conv;

static void conv_init(const DhcNode *n, Conv *v, const DhcArray *x, const DhcArray *w, const DhcArray *y) {
  v->n_s = x->rank - 2;
  v->stride = dhc_attr(n, "stride")->ints.at;
  v->low = dhc_attr(n, "pad_low")->ints.at;
  v->dilation = dhc_attr(n, "dilation")->ints.at;
  v->groups = dhc_attr(n, "groups")->i;
  v->batch = x->dim[0];
  v->c = x->dim[1];
  v->o = w->dim[0];
  dhc_in_proved(n, y->dim[0] == v->batch && y->dim[1] == v->o && w->dim[1] * v->groups == v->c && v->o % v->groups == 0);
  for (int s = 0; s < v->n_s; s++) {
    v->size[s] = x->dim[s + 2];
    v->kernel[s] = w->dim[s + 2];
    v->out[s] = y->dim[s + 2];
  }
}

/* Place in x that output p meets at tap k, flattened; -1 in the padding. */
static int64_t tap(const Conv *v, const int64_t *p, const int64_t *k) {
  int64_t at = 0;
  for (int s = 0; s < v->n_s; s++) {
    int64_t q = p[s] * v->stride[s] - v->low[s] + k[s] * v->dilation[s];
    if (q < 0 || q >= v->size[s]) return -1;
    at = at * v->size[s] + q;
  }
  return at;
}

/* Output that meets place q of x at tap k, flattened; -1 if none does. */
static int64_t back(const Conv *v, const int64_t *q, const int64_t *k) {
  int64_t at = 0;
  for (int s = 0; s < v->n_s; s++) {
    int64_t p = q[s] + v->low[s] - k[s] * v->dilation[s];
    if (p < 0 || p % v->stride[s] != 0 || p / v->stride[s] >= v->out[s]) return -1;
    at = at * v->out[s] + p / v->stride[s];
  }
  return at;
}

bool dhc_interp_conv(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0), *w = dhc_in_arg(in, n, 1);
  DhcArray *y = dhc_in_result(in, n, 0);
  Conv v;
  if (!y) return false;
  conv_init(n, &v, x, w, y);
  int64_t n_k = dhc_in_product(v.kernel, v.n_s), n_x = dhc_in_product(v.size, v.n_s);
  int64_t c_group = v.c / v.groups, o_group = v.o / v.groups, n_y = dhc_in_product(v.out, v.n_s);
  int64_t p[MAX_SPATIAL] = {0};
  for (int64_t e = 0; e < y->n; e++) {
    int64_t o = e / n_y % v.o, b = e / n_y / v.o, c0 = o / o_group * c_group;
    DhcDotSum sum = {0};
    for (int64_t c = 0; c < c_group; c++) {
      int64_t k[MAX_SPATIAL] = {0};
      for (int64_t t = 0; t < n_k; t++) {
        int64_t q = tap(&v, p, k);
        double xv = q < 0 ? 0 : x->f[(b * v.c + c0 + c) * n_x + q];
        dhc_dot_add(&sum, xv, w->f[(o * c_group + c) * n_k + t]);
        dhc_in_next(v.n_s, v.kernel, k);
      }
    }
    y->f[e] = dhc_dot_end(&sum);
    dhc_in_next(v.n_s, v.out, p);
  }
  return true;
}

/* Products over (o within the group, k…) ascending; of patches over o, with the one tap that meets. */
bool dhc_interp_conv_dx(DhcInterp *in, const DhcNode *n) {
  const DhcArray *dy = dhc_in_arg(in, n, 0), *w = dhc_in_arg(in, n, 1);
  DhcArray *dx = dhc_in_result(in, n, 0);
  Conv v;
  if (!dx) return false;
  conv_init(n, &v, dx, w, dy);
  int64_t n_k = dhc_in_product(v.kernel, v.n_s), n_x = dhc_in_product(v.size, v.n_s);
  int64_t c_group = v.c / v.groups, o_group = v.o / v.groups, n_y = dhc_in_product(v.out, v.n_s);
  int64_t q[MAX_SPATIAL] = {0};
  bool patches = dhc_conv_is_patches(n);
  for (int64_t e = 0; e < dx->n; e++) {
    int64_t c = e / n_x % v.c, b = e / n_x / v.c, o0 = c / c_group * o_group;
    DhcDotSum sum = {0};
    for (int64_t o = o0; o < o0 + o_group; o++) {
      int64_t k[MAX_SPATIAL] = {0};
      for (int64_t t = 0; t < n_k; t++) {
        int64_t p = back(&v, q, k);
        dhc_in_next(v.n_s, v.kernel, k);
        if (p < 0 && patches) continue;
        double d = p < 0 ? 0 : dy->f[(b * v.o + o) * n_y + p];
        dhc_dot_add(&sum, d, w->f[(o * c_group + c % c_group) * n_k + t]);
      }
    }
    dx->f[e] = dhc_dot_end(&sum);
    dhc_in_next(v.n_s, v.size, q);
  }
  return true;
}

/* Products over (n, output places…) ascending. */
bool dhc_interp_conv_dw(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0), *dy = dhc_in_arg(in, n, 1);
  DhcArray *dw = dhc_in_result(in, n, 0);
  Conv v;
  if (!dw) return false;
  conv_init(n, &v, x, dw, dy);
  int64_t n_k = dhc_in_product(v.kernel, v.n_s), n_x = dhc_in_product(v.size, v.n_s);
  int64_t c_group = v.c / v.groups, o_group = v.o / v.groups, n_y = dhc_in_product(v.out, v.n_s);
  int64_t k[MAX_SPATIAL] = {0};
  for (int64_t e = 0; e < dw->n; e++) {
    int64_t c = e / n_k % c_group, o = e / n_k / c_group, cx = o / o_group * c_group + c;
    DhcDotSum sum = {0};
    for (int64_t b = 0; b < v.batch; b++) {
      int64_t p[MAX_SPATIAL] = {0};
      for (int64_t t = 0; t < n_y; t++) {
        int64_t q = tap(&v, p, k);
        double xv = q < 0 ? 0 : x->f[(b * v.c + cx) * n_x + q];
        dhc_dot_add(&sum, xv, dy->f[(b * v.o + o) * n_y + t]);
        dhc_in_next(v.n_s, v.out, p);
      }
    }
    dw->f[e] = dhc_dot_end(&sum);
    dhc_in_next(v.n_s, v.kernel, k);
  }
  return true;
}

/* ---- windows ------------------------------------------------------------------- */

/* `full` is the array windows lie in, `small` has one place a window. */
typedef struct Windows {
  int n_w, lead; /* windowed axes; axes before them */
  const int64_t *window, *stride;
  int64_t taps; /* places in a window */
  const DhcArray *full, *small;
} Windows;

static Windows windows(const DhcNode *n, const DhcArray *full, const DhcArray *small) {
  const DhcAttr *w = dhc_attr(n, "window");
  Windows v = {.n_w = w->ints.n,
               .lead = full->rank - w->ints.n,
               .window = w->ints.at,
               .stride = dhc_attr(n, "stride")->ints.at,
               .taps = dhc_in_product(w->ints.at, w->ints.n),
               .full = full,
               .small = small};
  return v;
}

/* Flat place in `full` of tap t (row-major in the window) of the window at small's index;
 * -1 if outside. */
static int64_t window_place(const Windows *v, const int64_t *idx, int64_t t) {
  int64_t off[DHC_MAX_RANK] = {0}, at = 0;
  if (t < 0 || t >= v->taps) return -1;
  for (int s = v->n_w - 1; s >= 0; s--) {
    off[s] = t % v->window[s];
    t /= v->window[s];
  }
  for (int d = 0; d < v->full->rank; d++) {
    int s = d - v->lead;
    int64_t q = s < 0 ? idx[d] : idx[d] * v->stride[s] + off[s];
    if (q < 0 || q >= v->full->dim[d]) return -1;
    at = at * v->full->dim[d] + q;
  }
  return at;
}

bool dhc_interp_window_max(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0);
  DhcArray *y = dhc_in_result(in, n, 0), *index = dhc_in_result(in, n, 1);
  if (!y || !index) return false;
  Windows v = windows(n, x, y);
  int64_t idx[DHC_MAX_RANK] = {0};
  for (int64_t e = 0; e < y->n; e++) {
    int64_t best = window_place(&v, idx, 0);
    for (int64_t t = 1; t < v.taps; t++) {
      int64_t at = window_place(&v, idx, t);
      dhc_in_proved(n, at >= 0 && best >= 0);
      if (!dhc_in_larger(x, at, best)) continue;
      best = at;
      index->i[e] = t;
    }
    dhc_in_copy(y, e, x, best);
    dhc_in_next(y->rank, y->dim, idx);
  }
  return true;
}

bool dhc_interp_window_gather(DhcInterp *in, const DhcNode *n) {
  const DhcArray *x = dhc_in_arg(in, n, 0), *index = dhc_in_arg(in, n, 1);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  Windows v = windows(n, x, index);
  int64_t idx[DHC_MAX_RANK] = {0};
  for (int64_t e = 0; e < y->n; e++) {
    int64_t at = window_place(&v, idx, index->i[e]);
    if (at >= 0) dhc_in_copy(y, e, x, at);
    dhc_in_next(y->rank, y->dim, idx);
  }
  return true;
}

bool dhc_interp_window_scatter(DhcInterp *in, const DhcNode *n) {
  const DhcArray *dy = dhc_in_arg(in, n, 0), *index = dhc_in_arg(in, n, 1);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  Windows v = windows(n, y, index);
  int64_t idx[DHC_MAX_RANK] = {0};
  for (int64_t e = 0; e < dy->n; e++) {
    int64_t at = window_place(&v, idx, index->i[e]);
    if (at >= 0) dhc_in_add(y, at, dy, e);
    dhc_in_next(dy->rank, dy->dim, idx);
  }
  return true;
}
