/* Meaning of recurrences: linear_scan, and scan over a body function. */
#include <math.h>

#include "ir/interp_internal.h"

bool dhc_interp_linear_scan(DhcInterp *in, const DhcNode *n) {
  const DhcArray *a = dhc_in_arg(in, n, 0), *b = dhc_in_arg(in, n, 1);
  const DhcArray *h0 = dhc_in_arg(in, n, 2);
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  DhcSplit s = dhc_in_split(y, dhc_in_axis(n, y->rank));
  bool reverse = dhc_attr(n, "reverse")->b, forget = dhc_attr(n, "forget")->b;
  double least = dhc_attr(n, "flush")->b ? dhc_dtype_least_normal(y->dtype) : 0;
  dhc_in_proved(n, a->n == y->n && b->n == y->n && h0->n == s.outer * s.inner);
  for (int64_t o = 0; o < s.outer; o++) {
    for (int64_t i = 0; i < s.inner; i++) {
      double h = h0->f[o * s.inner + i];
      for (int64_t t = 0; t < s.n; t++) {
        int64_t at = dhc_in_split_at(s, o, reverse ? s.n - 1 - t : t, i);
        h = forget && a->f[at] == 0 ? b->f[at] : fma(a->f[at], h, b->f[at]);
        if (fabs(h) < least) h = 0; /* NaN stays */
        y->f[at] = h;
      }
    }
  }
  return true;
}

/* ---- scan -------------------------------------------------------------------- */

typedef struct Scan {
  const DhcFunc *body;
  int n_carry, n_xs, n_ys, axis;
  int64_t length;
  bool reverse;
} Scan;

/* Slice t of x along axis, which goes away. */
static DhcArray *take(DhcArena *arena, const DhcArray *x, int axis, int64_t t) {
  int64_t dim[DHC_MAX_RANK];
  for (int d = 0, k = 0; d < x->rank; d++)
    if (d != axis) dim[k++] = x->dim[d];
  DhcArray *y = dhc_array_new(arena, x->dtype, x->rank - 1, dim);
  DhcSplit s = dhc_in_split(x, axis);
  for (int64_t e = 0; e < y->n; e++)
    dhc_in_copy(y, e, x, dhc_in_split_at(s, e / s.inner, t, e % s.inner));
  return y;
}

/* The reverse of take. */
static void put(DhcArray *y, int axis, int64_t t, const DhcArray *x) {
  DhcSplit s = dhc_in_split(y, axis);
  for (int64_t e = 0; e < x->n; e++)
    dhc_in_copy(y, dhc_in_split_at(s, e / s.inner, t, e % s.inner), x, e);
}

static bool scan_init(DhcInterp *in, const DhcNode *n, Scan *s) {
  s->body = dhc_attr(n, "body")->func;
  s->n_carry = (int)dhc_attr(n, "n_carry")->i;
  s->n_xs = (int)dhc_attr(n, "n_xs")->i;
  s->n_ys = n->n_results - s->n_carry;
  s->axis = (int)dhc_attr(n, "axis")->i;
  s->reverse = dhc_attr(n, "reverse")->b;
  if (!dhc_interp_eval_dim(in, n, dhc_attr(n, "length")->dim, &s->length)) return false;
  for (int k = s->n_carry; k < s->n_carry + s->n_xs; k++)
    dhc_in_proved(n, dhc_in_arg(in, n, k)->dim[s->axis] == s->length);
  return true;
}

bool dhc_interp_scan(DhcInterp *in, const DhcNode *n) {
  Scan s;
  if (!scan_init(in, n, &s)) return false;
  int64_t *extents = DHC_NEW_N(in->arena, int64_t, s.body->symbols.n + 1);
  if (!dhc_interp_attr_dims(in, n, "dims", extents)) return false;
  DhcArray **out = DHC_NEW_N(in->arena, DhcArray *, n->n_results + 1);
  for (int k = 0; k < n->n_results; k++) {
    if (!(out[k] = dhc_in_result(in, n, k))) return false;
    dhc_in_proved(n, k < s.n_carry || out[k]->dim[s.axis] == s.length);
  }
  /* carries live in out[] between trips, so that a trip's values can go away */
  for (int k = 0; k < s.n_carry; k++) {
    const DhcArray *c = dhc_in_arg(in, n, k);
    dhc_in_proved(n, c->n == out[k]->n && c->dtype == out[k]->dtype);
    for (int64_t e = 0; e < c->n; e++) dhc_in_copy(out[k], e, c, e);
  }
  DhcArena scratch;
  dhc_arena_init(&scratch);
  bool ok = true;
  for (int64_t trip = 0; ok && trip < s.length; trip++) {
    int64_t t = s.reverse ? s.length - 1 - trip : trip;
    const DhcArray **args = DHC_NEW_N(&scratch, const DhcArray *, n->n_args + 1);
    DhcArray **results = DHC_NEW_N(&scratch, DhcArray *, n->n_results + 1);
    DhcArray **updated = DHC_NEW_N(&scratch, DhcArray *, n->n_args + 1);
    for (int k = 0; k < n->n_args; k++) {
      if (k < s.n_carry)
        args[k] = dhc_array_copy(&scratch, out[k]);
      else if (k < s.n_carry + s.n_xs)
        args[k] = take(&scratch, dhc_in_arg(in, n, k), s.axis, t);
      else
        args[k] = dhc_in_arg(in, n, k);
    }
    ok = dhc_in_call(in, n, s.body, extents, args, &scratch, results, updated);
    for (int k = 0; ok && k < n->n_results; k++) {
      if (k >= s.n_carry) {
        put(out[k], s.axis, t, results[k]);
        continue;
      }
      for (int64_t e = 0; e < out[k]->n; e++) dhc_in_copy(out[k], e, results[k], e);
    }
    dhc_arena_reset(&scratch);
  }
  dhc_arena_fini(&scratch);
  return ok;
}
