/* Shared by the interpreter's files: operands, results, walking over indices. */
#ifndef DHC_IR_INTERP_INTERNAL_H
#define DHC_IR_INTERP_INTERNAL_H

#include "ir/interp.h"
#include "ir/interp_ops.h"

/* Operand k of n, already computed. */
static inline const DhcArray *dhc_in_arg(const DhcInterp *in, const DhcNode *n, int k) {
  return in->value[n->args[k]->id];
}

/* Shapes are the verifier's business: where one of them holds for an op to stay within its arrays, it holds
 * here, or the verifier is at fault. */
static inline void dhc_in_proved(const DhcNode *n, bool holds) {
  if (!holds) DHC_BUG("%s: extents that the verifier lets nobody have", dhc_op_info(n->op)->name);
}

/* Makes result k of n, zeros of its type's shape; NULL after a diagnostic. */
DhcArray *dhc_in_result(DhcInterp *in, const DhcNode *n, int k);
/* Attribute INT named "axis" counted from 0 for an operand of the given rank. */
int dhc_in_axis(const DhcNode *n, int rank);

/* x[at] > x[than] in the order of argmax and top_k: NaN is largest, and equal to NaN. */
bool dhc_in_larger(const DhcArray *x, int64_t at, int64_t than);

/* Runs f in `in`'s place with symbols bound; args one per parameter. Values live in
 * in->arena of the callee context. Used by call, checkpoint and scan. */
bool dhc_in_call(DhcInterp *in, const DhcNode *n, const DhcFunc *f, const int64_t *extents,
                 const DhcArray *const *args, DhcArena *arena, DhcArray **results,
                 DhcArray **updated);

/* ---- indices ---- */

static inline int64_t dhc_in_product(const int64_t *dim, int n) {
  int64_t p = 1;
  for (int i = 0; i < n; i++) p *= dim[i];
  return p;
}

/* Row-major element strides of a dense array. */
static inline void dhc_in_strides(const DhcArray *a, int64_t *stride) {
  int64_t s = 1;
  for (int i = a->rank - 1; i >= 0; i--) {
    stride[i] = s;
    s *= a->dim[i];
  }
}

/* Next index vector in row-major order; false after the last (idx is then all 0). */
static inline bool dhc_in_next(int rank, const int64_t *dim, int64_t *idx) {
  for (int i = rank - 1; i >= 0; i--) {
    if (++idx[i] < dim[i]) return true;
    idx[i] = 0;
  }
  return false;
}

static inline int64_t dhc_in_at(int rank, const int64_t *stride, const int64_t *idx) {
  int64_t at = 0;
  for (int i = 0; i < rank; i++) at += stride[i] * idx[i];
  return at;
}

/* dst[d] = src[s], equal dtypes. */
static inline void dhc_in_copy(DhcArray *dst, int64_t d, const DhcArray *src, int64_t s) {
  if (dst->f)
    dst->f[d] = src->f[s];
  else
    dst->i[d] = src->i[s];
}

/* dst[d] += src[s], equal dtypes. */
static inline void dhc_in_add(DhcArray *dst, int64_t d, const DhcArray *src, int64_t s) {
  if (dst->f)
    dst->f[d] += src->f[s];
  else
    dst->i[d] = dhc_eval_wrap(dst->dtype, (int64_t)((uint64_t)dst->i[d] + (uint64_t)src->i[s]));
}

/* An array seen as [outer, axis, inner]. */
typedef struct DhcSplit {
  int64_t outer, n, inner;
} DhcSplit;
static inline DhcSplit dhc_in_split(const DhcArray *a, int axis) {
  DhcSplit s = {dhc_in_product(a->dim, axis), a->dim[axis],
                dhc_in_product(a->dim + axis + 1, a->rank - axis - 1)};
  return s;
}
static inline int64_t dhc_in_split_at(DhcSplit s, int64_t o, int64_t k, int64_t i) {
  return (o * s.n + k) * s.inner + i;
}

#endif
