/* Meaning of reductions. */
#include <math.h>

#include "ir/interp_internal.h"
#include "ir/sum.h"

/* The reduced axes of n's operand, and a walk over result places and, for each, over the
 * reduced elements in row-major order. */
typedef struct Fold {
  const DhcArray *x;
  DhcArray *y;
  int n_kept, n_red;
  int64_t kept_dim[DHC_MAX_RANK], kept_stride[DHC_MAX_RANK];
  int64_t red_dim[DHC_MAX_RANK], red_stride[DHC_MAX_RANK];
  int64_t n; /* elements folded into one */
} Fold;

static void fold_plan(Fold *f, const bool *reduced) {
  int64_t stride[DHC_MAX_RANK];
  dhc_in_strides(f->x, stride);
  f->n_kept = f->n_red = 0;
  for (int d = 0; d < f->x->rank; d++) {
    if (reduced[d]) {
      f->red_dim[f->n_red] = f->x->dim[d];
      f->red_stride[f->n_red++] = stride[d];
    } else {
      f->kept_dim[f->n_kept] = f->x->dim[d];
      f->kept_stride[f->n_kept++] = stride[d];
    }
  }
  f->n = dhc_in_product(f->red_dim, f->n_red);
}

static bool fold_init(DhcInterp *in, const DhcNode *n, Fold *f) {
  f->x = dhc_in_arg(in, n, 0);
  f->y = dhc_in_result(in, n, 0);
  if (!f->y) return false;
  bool reduced[DHC_MAX_RANK] = {false};
  const DhcAttr *axes = dhc_attr(n, "axes");
  for (int k = 0; k < axes->ints.n; k++) {
    int64_t d = axes->ints.at[k];
    reduced[d < 0 ? d + f->x->rank : d] = true;
  }
  fold_plan(f, reduced);
  dhc_in_proved(n, dhc_in_product(f->kept_dim, f->n_kept) == f->y->n);
  return true;
}

/* Offset of reduced element number e, by stepping an index vector. */
#define FOR_REDUCED(f, base, e, at)                                                       \
  for (int64_t e = 0, idx_[DHC_MAX_RANK] = {0}, at = (base); e < (f)->n;                  \
       e++, dhc_in_next((f)->n_red, (f)->red_dim, idx_),                                  \
               at = (base) + dhc_in_at((f)->n_red, (f)->red_stride, idx_))

static double sum_floats(const Fold *f, int64_t base) {
  DhcSum sum = {0};
  FOR_REDUCED(f, base, e, at) dhc_sum_add(&sum, f->x->f[at]);
  return dhc_sum_end(&sum);
}

static int64_t sum_ints(const Fold *f, int64_t base) {
  uint64_t total = 0;
  FOR_REDUCED(f, base, e, at) total += (uint64_t)f->x->i[at];
  return dhc_eval_wrap(f->y->dtype, (int64_t)total);
}

bool dhc_interp_reduce_sum(DhcInterp *in, const DhcNode *n) {
  Fold f;
  if (!fold_init(in, n, &f)) return false;
  int64_t idx[DHC_MAX_RANK] = {0};
  for (int64_t e = 0; e < f.y->n; e++) {
    int64_t base = dhc_in_at(f.n_kept, f.kept_stride, idx);
    if (f.n_red == 0)
      dhc_in_copy(f.y, e, f.x, base);
    else if (f.y->f)
      f.y->f[e] = sum_floats(&f, base);
    else
      f.y->i[e] = sum_ints(&f, base);
    dhc_in_next(f.n_kept, f.kept_dim, idx);
  }
  return true;
}

static int64_t least_int(dhc_dtype t, bool greatest) {
  int bits = 8 * dhc_dtype_bytes(t);
  bool is_unsigned = t == DHC_U32 || t == DHC_U16 || t == DHC_U8;
  if (t == DHC_BOOL) return greatest;
  if (is_unsigned) return greatest ? (int64_t)(((uint64_t)1 << bits) - 1) : 0;
  if (bits == 64) return greatest ? INT64_MAX : INT64_MIN;
  return greatest ? ((int64_t)1 << (bits - 1)) - 1 : -((int64_t)1 << (bits - 1));
}

static bool reduce_extreme(DhcInterp *in, const DhcNode *n, DhcOp op) {
  Fold f;
  if (!fold_init(in, n, &f)) return false;
  bool is_min = op == DHC_OP_MIN;
  int64_t idx[DHC_MAX_RANK] = {0};
  for (int64_t e = 0; e < f.y->n; e++) {
    int64_t base = dhc_in_at(f.n_kept, f.kept_stride, idx);
    DhcScalar v[2];
    if (f.y->f)
      v[0].f = is_min ? INFINITY : -INFINITY;
    else
      v[0].i = least_int(f.y->dtype, is_min);
    FOR_REDUCED(&f, base, k, at) {
      if (f.x->f)
        v[1].f = f.x->f[at];
      else
        v[1].i = f.x->i[at];
      /* the running value second, so that it stays at a tie: the first -0 or +0 wins */
      DhcScalar pair[2] = {v[1], v[0]};
      v[0] = dhc_eval_ew(op, f.x->dtype, pair);
    }
    if (f.y->f)
      f.y->f[e] = v[0].f;
    else
      f.y->i[e] = v[0].i;
    dhc_in_next(f.n_kept, f.kept_dim, idx);
  }
  return true;
}

bool dhc_interp_reduce_max(DhcInterp *in, const DhcNode *n) {
  return reduce_extreme(in, n, DHC_OP_MAX);
}

bool dhc_interp_reduce_min(DhcInterp *in, const DhcNode *n) {
  return reduce_extreme(in, n, DHC_OP_MIN);
}

bool dhc_in_larger(const DhcArray *x, int64_t at, int64_t than) {
  if (!x->f) return x->i[at] > x->i[than];
  if (isnan(x->f[at])) return !isnan(x->f[than]);
  return x->f[at] > x->f[than];
}

bool dhc_interp_argmax(DhcInterp *in, const DhcNode *n) {
  Fold f = {.x = dhc_in_arg(in, n, 0), .y = dhc_in_result(in, n, 0)};
  if (!f.y) return false;
  bool reduced[DHC_MAX_RANK] = {false};
  reduced[dhc_in_axis(n, f.x->rank)] = true;
  fold_plan(&f, reduced);
  int64_t idx[DHC_MAX_RANK] = {0};
  for (int64_t e = 0; e < f.y->n; e++) {
    int64_t base = dhc_in_at(f.n_kept, f.kept_stride, idx), best = base;
    FOR_REDUCED(&f, base, k, at) {
      if (dhc_in_larger(f.x, at, best)) {
        best = at;
        f.y->i[e] = k;
      }
    }
    dhc_in_next(f.n_kept, f.kept_dim, idx);
  }
  return true;
}
