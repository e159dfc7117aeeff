/* Shape rules: views, data movement and reductions. */
#include "ir/ir_internal.h"
#include "ir/ops_rules.h"

static bool same_except(const DhcType *a, const DhcType *b, int axis) {
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++)
    if (i != axis && a->dim[i] != b->dim[i]) return false;
  return true;
}

static bool need_length(DhcShapeCtx *cx, const char *name, int have, int want) {
  if (have == want) return true;
  return dhc_shape_error(cx, "'%s' has %d entries, %d are needed for %s", name, have, want,
                         dhc_arg_text(cx, 0));
}

static bool need_steps(DhcShapeCtx *cx, const char *name) {
  const DhcAttr *a = dhc_attr(cx->n, name);
  for (int i = 0; i < a->ints.n; i++)
    if (a->ints.at[i] < 1)
      return dhc_shape_error(cx, "'%s' must be at least 1, got %lld", name,
                             (long long)a->ints.at[i]);
  return true;
}

/* ---- views --------------------------------------------------------------------------- */

bool dhc_shape_reshape(DhcShapeCtx *cx) {
  const DhcType *x = dhc_arg_type(cx, 0);
  const DhcAttr *shape = dhc_attr(cx->n, "shape");
  if (!dhc_result_of(cx, x->dtype, shape->dims.n, shape->dims.at)) return false;
  DhcDims *dims = cx->m->dims;
  const DhcDim *have = dhc_type_elements(dims, x), *want = dhc_type_elements(dims, &cx->type[0]);
  if (have == want) return true;
  bool differ = dhc_dim_eq(dims, cx->facts, have, want) == DHC_FALSE;
  return dhc_shape_error(cx, "%s has %s elements, %s has %s%s", dhc_arg_text(cx, 0),
                         dhc_dim_text(cx->m, have), dhc_type_text(cx->m, &cx->type[0]),
                         dhc_dim_text(cx->m, want),
                         differ ? "" : "; they must be equal for all sizes");
}

bool dhc_shape_transpose(DhcShapeCtx *cx) {
  const DhcType *x = dhc_arg_type(cx, 0);
  const DhcAttr *perm = dhc_attr(cx->n, "perm");
  if (!need_length(cx, "perm", perm->ints.n, x->rank) || !dhc_need_axes(cx, "perm", x->rank))
    return false;
  const DhcDim *dim[DHC_MAX_RANK];
  for (int i = 0; i < x->rank; i++) dim[i] = x->dim[perm->ints.at[i]];
  return dhc_result_of(cx, x->dtype, x->rank, dim);
}

bool dhc_shape_broadcast(DhcShapeCtx *cx) {
  const DhcType *x = dhc_arg_type(cx, 0);
  const DhcAttr *shape = dhc_attr(cx->n, "shape");
  int more = shape->dims.n - x->rank;
  if (!dhc_result_of(cx, x->dtype, shape->dims.n, shape->dims.at)) return false;
  if (more < 0)
    return dhc_shape_error(cx, "%s has more dimensions than %s", dhc_arg_text(cx, 0), dhc_type_text(cx->m, &cx->type[0]));
  for (int i = 0; i < x->rank; i++) {
    if (x->dim[i] == shape->dims.at[more + i] || dhc_dim_is(x->dim[i], 1)) continue;
    return dhc_shape_error(cx, "%s does not stretch to %s: dimension %d is %s, only a known 1 broadcasts",
                           dhc_arg_text(cx, 0), dhc_type_text(cx->m, &cx->type[0]), i, dhc_dim_text(cx->m, x->dim[i]));
  }
  return true;
}

/* start + (size - 1) * step + 1 <= extent on axis i, start and size not negative */
static bool need_slice(DhcShapeCtx *cx, int i, const DhcDim *start, const DhcDim *size,
                       int64_t step) {
  DhcDims *dims = cx->m->dims;
  const DhcDim *zero = dhc_dim_const(dims, 0), *extent = dhc_arg_type(cx, 0)->dim[i];
  const DhcDim *end = dhc_dim_add(dims, start, size);
  if (step > 1)
    end = dhc_dim_addc(dims, dhc_dim_add(dims, start, dhc_dim_mulc(dims, dhc_dim_addc(dims, size, -1), step)), 1);
  return dhc_need_le(cx, zero, start, "start %s on axis %d is negative", dhc_dim_text(cx->m, start), i) &&
         dhc_need_le(cx, zero, size, "size %s on axis %d is negative", dhc_dim_text(cx->m, size), i) &&
         dhc_need_le(cx, end, extent, "%s to %s is outside axis %d of %s", dhc_dim_text(cx->m, start),
                     dhc_dim_text(cx->m, end), i, dhc_arg_text(cx, 0));
}

bool dhc_shape_slice(DhcShapeCtx *cx) {
  const DhcType *x = dhc_arg_type(cx, 0);
  const DhcAttr *start = dhc_attr(cx->n, "start"), *size = dhc_attr(cx->n, "size"),
                *step = dhc_attr(cx->n, "step");
  if (!need_length(cx, "start", start->dims.n, x->rank) ||
      !need_length(cx, "size", size->dims.n, x->rank) ||
      !need_length(cx, "step", step->ints.n, x->rank) || !need_steps(cx, "step"))
    return false;
  for (int i = 0; i < x->rank; i++)
    if (!need_slice(cx, i, start->dims.at[i], size->dims.at[i], step->ints.at[i])) return false;
  return dhc_result_of(cx, x->dtype, x->rank, size->dims.at);
}

bool dhc_shape_reverse(DhcShapeCtx *cx) {
  const DhcType *x = dhc_arg_type(cx, 0);
  return dhc_need_axes(cx, "axes", x->rank) && dhc_result_of(cx, x->dtype, x->rank, x->dim);
}

/* ---- data movement ------------------------------------------------------------------- */

bool dhc_shape_pad(DhcShapeCtx *cx) {
  const DhcType *x = dhc_arg_type(cx, 0);
  const DhcAttr *low = dhc_attr(cx->n, "low"), *high = dhc_attr(cx->n, "high"),
                *step = dhc_attr(cx->n, "step");
  if (!need_length(cx, "low", low->dims.n, x->rank) ||
      !need_length(cx, "high", high->dims.n, x->rank) ||
      !need_length(cx, "step", step->ints.n, x->rank) || !need_steps(cx, "step"))
    return false;
  DhcDims *dims = cx->m->dims;
  const DhcDim *dim[DHC_MAX_RANK], *zero = dhc_dim_const(dims, 0), *one = dhc_dim_const(dims, 1);
  for (int i = 0; i < x->rank; i++) {
    const DhcDim *lo = low->dims.at[i], *hi = high->dims.at[i], *n = x->dim[i];
    int64_t s = step->ints.at[i];
    if (!dhc_need_le(cx, zero, lo, "low padding %s of axis %d is negative", dhc_dim_text(cx->m, lo), i) ||
        !dhc_need_le(cx, zero, hi, "high padding %s of axis %d is negative", dhc_dim_text(cx->m, hi), i))
      return false;
    if (s > 1) {
      if (!dhc_need_le(cx, one, n, "axis %d of %s may be empty", i, dhc_arg_text(cx, 0))) return false;
      n = dhc_dim_addc(dims, dhc_dim_mulc(dims, dhc_dim_addc(dims, n, -1), s), 1);
    }
    dim[i] = dhc_dim_add(dims, dhc_dim_add(dims, lo, n), hi);
  }
  return dhc_result_of(cx, x->dtype, x->rank, dim);
}

bool dhc_shape_concat(DhcShapeCtx *cx) {
  if (cx->n->n_args == 0) return dhc_shape_error(cx, "needs at least one operand");
  const DhcType *x = dhc_arg_type(cx, 0);
  int64_t axis = dhc_attr(cx->n, "axis")->i;
  if (!dhc_need_axis(cx, axis, x->rank)) return false;
  const DhcDim *dim[DHC_MAX_RANK], *sum = dhc_dim_const(cx->m->dims, 0);
  for (int i = 0; i < cx->n->n_args; i++) {
    const DhcType *t = dhc_arg_type(cx, i);
    if (t->dtype != x->dtype || !same_except(t, x, (int)axis))
      return dhc_shape_error(cx, "operands differ other than on axis %lld: %s and %s",
                             (long long)axis, dhc_arg_text(cx, 0), dhc_arg_text(cx, i));
    sum = dhc_dim_add(cx->m->dims, sum, t->dim[axis]);
  }
  for (int i = 0; i < x->rank; i++) dim[i] = i == axis ? sum : x->dim[i];
  return dhc_result_of(cx, x->dtype, x->rank, dim);
}

static bool need_start(DhcShapeCtx *cx, int arg) {
  const DhcType *t = dhc_arg_type(cx, arg);
  if (t->dtype == DHC_I64 && t->rank == 0) return true;
  return dhc_shape_error(cx, "the start must be i64[], got %s", dhc_arg_text(cx, arg));
}

static bool need_fits(DhcShapeCtx *cx, const DhcDim *size, int64_t axis) {
  const DhcDim *extent = dhc_arg_type(cx, 0)->dim[axis];
  return dhc_need_le(cx, size, extent, "size %s is more than axis %lld of %s",
                     dhc_dim_text(cx->m, size), (long long)axis, dhc_arg_text(cx, 0));
}

bool dhc_shape_dynamic_slice(DhcShapeCtx *cx) {
  const DhcType *x = dhc_arg_type(cx, 0);
  int64_t axis = dhc_attr(cx->n, "axis")->i;
  const DhcDim *size = dhc_attr(cx->n, "size")->dim, *dim[DHC_MAX_RANK];
  if (!dhc_need_axis(cx, axis, x->rank) || !need_start(cx, 1) || !need_fits(cx, size, axis))
    return false;
  for (int i = 0; i < x->rank; i++) dim[i] = i == axis ? size : x->dim[i];
  return dhc_result_of(cx, x->dtype, x->rank, dim);
}

bool dhc_shape_dynamic_update(DhcShapeCtx *cx) {
  const DhcType *x = dhc_arg_type(cx, 0), *u = dhc_arg_type(cx, 1);
  int64_t axis = dhc_attr(cx->n, "axis")->i;
  if (!dhc_need_axis(cx, axis, x->rank) || !need_start(cx, 2)) return false;
  if (u->dtype != x->dtype || !same_except(u, x, (int)axis))
    return dhc_shape_error(cx, "operands differ other than on axis %lld: %s and %s",
                           (long long)axis, dhc_arg_text(cx, 0), dhc_arg_text(cx, 1));
  return need_fits(cx, u->dim[axis], axis) && dhc_result_of(cx, x->dtype, x->rank, x->dim);
}

static bool need_index(DhcShapeCtx *cx, int arg) {
  dhc_dtype t = dhc_arg_type(cx, arg)->dtype;
  if (t == DHC_I32 || t == DHC_I64) return true;
  return dhc_shape_error(cx, "the index must be i32 or i64, got %s", dhc_arg_text(cx, arg));
}

/* x's dims with `axis` replaced by the index's. */
static bool gathered(DhcShapeCtx *cx, int64_t axis, DhcType *out) {
  const DhcType *x = dhc_arg_type(cx, 0), *index = dhc_arg_type(cx, 1);
  if (!dhc_need_axis(cx, axis, x->rank) || !need_index(cx, 1)) return false;
  if (x->rank - 1 + index->rank > DHC_MAX_RANK)
    return dhc_shape_error(cx, "the result has rank %d, the largest is %d",
                           x->rank - 1 + index->rank, DHC_MAX_RANK);
  *out = (DhcType){.dtype = x->dtype};
  for (int i = 0; i < axis; i++) out->dim[out->rank++] = x->dim[i];
  for (int i = 0; i < index->rank; i++) out->dim[out->rank++] = index->dim[i];
  for (int i = (int)axis + 1; i < x->rank; i++) out->dim[out->rank++] = x->dim[i];
  return true;
}

bool dhc_shape_gather(DhcShapeCtx *cx) {
  DhcType t;
  return gathered(cx, dhc_attr(cx->n, "axis")->i, &t) && dhc_result_of(cx, t.dtype, t.rank, t.dim);
}

static bool need_sums(DhcShapeCtx *cx) {
  dhc_dtype t = dhc_arg_type(cx, 0)->dtype;
  if (dhc_dtype_is_float(t) || (dhc_dtype_is_int(t) && t != DHC_I16 && t != DHC_U16)) return true;
  return dhc_shape_error(cx, "needs a float or integer dtype, got %s", dhc_arg_text(cx, 0));
}

bool dhc_shape_scatter_add(DhcShapeCtx *cx) {
  const DhcType *x = dhc_arg_type(cx, 0);
  DhcType want;
  if (!need_sums(cx) || !gathered(cx, dhc_attr(cx->n, "axis")->i, &want)) return false;
  if (!dhc_type_equal(&want, dhc_arg_type(cx, 2)))
    return dhc_shape_error(cx, "what is added must be %s, got %s", dhc_type_text(cx->m, &want),
                           dhc_arg_text(cx, 2));
  return dhc_result_of(cx, x->dtype, x->rank, x->dim);
}

static bool along(DhcShapeCtx *cx, int64_t *axis) {
  const DhcType *x = dhc_arg_type(cx, 0), *index = dhc_arg_type(cx, 1);
  *axis = dhc_attr(cx->n, "axis")->i;
  if (!dhc_need_axis(cx, *axis, x->rank) || !need_index(cx, 1)) return false;
  bool exact = cx->n->op == DHC_OP_PUT_ALONG;
  if (same_except(x, index, exact ? -1 : (int)*axis)) return true;
  return dhc_shape_error(cx, exact ? "shapes differ: %s and %s"
                                   : "shapes differ other than on the axis: %s and %s",
                         dhc_arg_text(cx, 0), dhc_arg_text(cx, 1));
}

bool dhc_shape_take_along(DhcShapeCtx *cx) {
  const DhcType *x = dhc_arg_type(cx, 0), *index = dhc_arg_type(cx, 1);
  int64_t axis;
  return along(cx, &axis) && dhc_result_of(cx, x->dtype, index->rank, index->dim);
}

bool dhc_shape_put_along(DhcShapeCtx *cx) {
  const DhcType *u = dhc_arg_type(cx, 0);
  const DhcDim *dim[DHC_MAX_RANK];
  int64_t axis;
  if (!need_sums(cx) || !along(cx, &axis)) return false;
  for (int i = 0; i < u->rank; i++)
    dim[i] = i == axis ? dhc_attr(cx->n, "size")->dim : u->dim[i];
  return dhc_result_of(cx, u->dtype, u->rank, dim);
}

/* ---- reductions ------------------------------------------------------------------------- */

static bool need_nonempty(DhcShapeCtx *cx, int64_t axis) {
  return dhc_need_le(cx, dhc_dim_const(cx->m->dims, 1), dhc_arg_type(cx, 0)->dim[axis],
                     "axis %lld of %s may be empty", (long long)axis, dhc_arg_text(cx, 0));
}

bool dhc_shape_reduce(DhcShapeCtx *cx) {
  const DhcType *x = dhc_arg_type(cx, 0);
  const DhcAttr *axes = dhc_attr(cx->n, "axes");
  bool keep = dhc_attr(cx->n, "keep")->b, gone[DHC_MAX_RANK] = {false};
  if (!need_sums(cx) || !dhc_need_axes(cx, "axes", x->rank)) return false;
  for (int i = 0; i < axes->ints.n; i++) {
    if (i && axes->ints.at[i] < axes->ints.at[i - 1])
      return dhc_shape_error(cx, "'axes' must be in rising order");
    if (cx->n->op != DHC_OP_REDUCE_SUM && !need_nonempty(cx, axes->ints.at[i])) return false;
    gone[axes->ints.at[i]] = true;
  }
  const DhcDim *dim[DHC_MAX_RANK];
  int rank = 0;
  for (int i = 0; i < x->rank; i++) {
    if (!gone[i])
      dim[rank++] = x->dim[i];
    else if (keep)
      dim[rank++] = dhc_dim_const(cx->m->dims, 1);
  }
  return dhc_result_of(cx, x->dtype, rank, dim);
}

bool dhc_shape_argmax(DhcShapeCtx *cx) {
  const DhcType *x = dhc_arg_type(cx, 0);
  int64_t axis = dhc_attr(cx->n, "axis")->i;
  if (!need_sums(cx) || !dhc_need_axis(cx, axis, x->rank) || !need_nonempty(cx, axis)) return false;
  const DhcDim *dim[DHC_MAX_RANK];
  int rank = 0;
  for (int i = 0; i < x->rank; i++)
    if (i != axis) dim[rank++] = x->dim[i];
  return dhc_result_of(cx, DHC_I32, rank, dim);
}
