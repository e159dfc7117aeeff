/* Shape rules: contractions, convolutions, windows. */
#include "ir/ir_internal.h"
#include "ir/ops_rules.h"

static bool need_floats(DhcShapeCtx *cx, int n) {
  const DhcType *a = dhc_arg_type(cx, 0);
  for (int i = 0; i < n; i++) {
    const DhcType *t = dhc_arg_type(cx, i);
    if (!dhc_dtype_is_float(t->dtype))
      return dhc_shape_error(cx, "needs a float dtype, got %s", dhc_arg_text(cx, i));
    if (t->dtype != a->dtype)
      return dhc_shape_error(cx, "dtypes differ: %s and %s", dhc_arg_text(cx, 0),
                             dhc_arg_text(cx, i));
  }
  return true;
}

/* Dims i of operand a and k of operand b are equal. */
static bool need_equal(DhcShapeCtx *cx, int a, int64_t i, int b, int64_t k, const char *what) {
  const DhcDim *x = dhc_arg_type(cx, a)->dim[i], *y = dhc_arg_type(cx, b)->dim[k];
  if (x == y) return true;
  return dhc_shape_error(cx, "%s sizes differ: %s and %s in %s and %s", what,
                         dhc_dim_text(cx->m, x), dhc_dim_text(cx->m, y), dhc_arg_text(cx, a),
                         dhc_arg_text(cx, b));
}

/* ---- contractions --------------------------------------------------------------------- */

static bool need_pairs(DhcShapeCtx *cx, const char *name_a, const char *name_b, const char *what,
                       bool *used_a, bool *used_b) {
  const DhcAttr *a = dhc_attr(cx->n, name_a), *b = dhc_attr(cx->n, name_b);
  if (a->ints.n != b->ints.n)
    return dhc_shape_error(cx, "'%s' and '%s' differ in length", name_a, name_b);
  if (!dhc_need_axes(cx, name_a, dhc_arg_type(cx, 0)->rank) ||
      !dhc_need_axes(cx, name_b, dhc_arg_type(cx, 1)->rank))
    return false;
  for (int i = 0; i < a->ints.n; i++) {
    int64_t p = a->ints.at[i], q = b->ints.at[i];
    if (used_a[p] || used_b[q])
      return dhc_shape_error(cx, "axis %lld is both batch and contracted",
                             (long long)(used_a[p] ? p : q));
    used_a[p] = used_b[q] = true;
    if (!need_equal(cx, 0, p, 1, q, what)) return false;
  }
  return true;
}

bool dhc_shape_dot_general(DhcShapeCtx *cx) {
  const DhcType *a = dhc_arg_type(cx, 0), *b = dhc_arg_type(cx, 1);
  bool used_a[DHC_MAX_RANK] = {false}, used_b[DHC_MAX_RANK] = {false};
  if (!need_floats(cx, 2) || !need_pairs(cx, "batch_a", "batch_b", "batch", used_a, used_b) ||
      !need_pairs(cx, "contract_a", "contract_b", "inner", used_a, used_b))
    return false;
  const DhcDim *dim[2 * DHC_MAX_RANK];
  const DhcAttr *batch = dhc_attr(cx->n, "batch_a");
  int rank = 0;
  for (int i = 0; i < batch->ints.n; i++) dim[rank++] = a->dim[batch->ints.at[i]];
  for (int i = 0; i < a->rank; i++)
    if (!used_a[i]) dim[rank++] = a->dim[i];
  for (int i = 0; i < b->rank; i++)
    if (!used_b[i]) dim[rank++] = b->dim[i];
  return dhc_result_of(cx, a->dtype, rank, dim);
}

/* Offsets i32[E+1] as operand `arg`. */
static bool need_offsets(DhcShapeCtx *cx, int arg) {
  const DhcType *t = dhc_arg_type(cx, arg);
  if (t->dtype == DHC_I32 && t->rank == 1) return true;
  return dhc_shape_error(cx, "the offsets must be i32 of rank 1, got %s", dhc_arg_text(cx, arg));
}

bool dhc_shape_ragged_dot(DhcShapeCtx *cx) {
  if (!need_floats(cx, 2) || !dhc_need_rank(cx, 0, 2) || !dhc_need_rank(cx, 1, 3) ||
      !need_offsets(cx, 2) || !need_equal(cx, 0, 1, 1, 1, "inner"))
    return false;
  const DhcType *a = dhc_arg_type(cx, 0), *w = dhc_arg_type(cx, 1);
  if (dhc_arg_type(cx, 2)->dim[0] != dhc_dim_addc(cx->m->dims, w->dim[0], 1))
    return dhc_shape_error(cx, "%s has %s groups, so the offsets need one entry more, got %s",
                           dhc_arg_text(cx, 1), dhc_dim_text(cx->m, w->dim[0]),
                           dhc_arg_text(cx, 2));
  const DhcDim *dim[] = {a->dim[0], w->dim[2]};
  return dhc_result_of(cx, a->dtype, 2, dim);
}

bool dhc_shape_ragged_dot_dw(DhcShapeCtx *cx) {
  if (!need_floats(cx, 2) || !dhc_need_rank(cx, 0, 2) || !dhc_need_rank(cx, 1, 2) ||
      !need_offsets(cx, 2) || !need_equal(cx, 0, 0, 1, 0, "row"))
    return false;
  const DhcType *a = dhc_arg_type(cx, 0), *d = dhc_arg_type(cx, 1);
  const DhcDim *groups = dhc_dim_addc(cx->m->dims, dhc_arg_type(cx, 2)->dim[0], -1);
  const DhcDim *dim[] = {groups, a->dim[1], d->dim[1]};
  return dhc_result_of(cx, a->dtype, 3, dim);
}

/* ---- convolutions ------------------------------------------------------------------------ */

typedef struct Conv {
  int n; /* spatial dimensions */
  const int64_t *stride, *low, *high, *dilation;
  int64_t groups;
} Conv;

static bool need_ints(DhcShapeCtx *cx, const char *name, int n, int64_t least) {
  const DhcAttr *a = dhc_attr(cx->n, name);
  if (a->ints.n != n)
    return dhc_shape_error(cx, "'%s' has %d entries for %d spatial dimensions", name, a->ints.n, n);
  for (int i = 0; i < n; i++)
    if (a->ints.at[i] < least || a->ints.at[i] > INT32_MAX)
      return dhc_shape_error(cx, "'%s' must be at least %lld, got %lld", name, (long long)least,
                             (long long)a->ints.at[i]);
  return true;
}

static bool read_conv(DhcShapeCtx *cx, Conv *c) {
  const DhcType *x = dhc_arg_type(cx, 0), *w = dhc_arg_type(cx, 1);
  if (!need_floats(cx, 2)) return false;
  if (x->rank < 3 || w->rank != x->rank)
    return dhc_shape_error(cx, "needs operands of one rank, 3 or more, got %s and %s",
                           dhc_arg_text(cx, 0), dhc_arg_text(cx, 1));
  c->n = x->rank - 2;
  if (!need_ints(cx, "stride", c->n, 1) || !need_ints(cx, "pad_low", c->n, 0) ||
      !need_ints(cx, "pad_high", c->n, 0) || !need_ints(cx, "dilation", c->n, 1))
    return false;
  c->stride = dhc_attr(cx->n, "stride")->ints.at;
  c->low = dhc_attr(cx->n, "pad_low")->ints.at;
  c->high = dhc_attr(cx->n, "pad_high")->ints.at;
  c->dilation = dhc_attr(cx->n, "dilation")->ints.at;
  c->groups = dhc_attr(cx->n, "groups")->i;
  if (c->groups < 1)
    return dhc_shape_error(cx, "'groups' must be at least 1, got %lld", (long long)c->groups);
  return true;
}

/* floor((n + low + high - dilation (k - 1) - 1) / stride) + 1, which must be >= 1 */
static const DhcDim *conv_extent(DhcShapeCtx *cx, const Conv *c, int i, const DhcDim *n, const DhcDim *k) {
  DhcDims *dims = cx->m->dims;
  const DhcDim *reach = dhc_dim_addc(dims, dhc_dim_mulc(dims, dhc_dim_addc(dims, k, -1), c->dilation[i]), 1);
  const DhcDim *room = dhc_dim_addc(dims, n, c->low[i] + c->high[i]);
  if (!dhc_need_le(cx, reach, room, "kernel of extent %s does not fit dimension %d of extent %s (padding included)",
                   dhc_dim_text(cx->m, reach), i, dhc_dim_text(cx->m, room)))
    return NULL;
  return dhc_dim_addc(dims, dhc_dim_floordiv(dims, dhc_dim_sub(dims, room, reach), c->stride[i]), 1);
}

/* Kernel extent i, at least 1: of a weight operand, or as told. */
static bool kernel_extent(DhcShapeCtx *cx, const DhcDim *k, int i) {
  return dhc_need_le(cx, dhc_dim_const(cx->m->dims, 1), k, "kernel extent %s of dimension %d must be at least 1",
                     dhc_dim_text(cx->m, k), i);
}

static bool need_divides(DhcShapeCtx *cx, const DhcDim *d, int64_t groups, const char *what) {
  if (dhc_dim_divide(cx->m->dims, d, dhc_dim_const(cx->m->dims, groups))) return true;
  return dhc_shape_error(cx, "%s %s are not divisible by %lld groups", dhc_dim_text(cx->m, d), what,
                         (long long)groups);
}

bool dhc_shape_conv(DhcShapeCtx *cx) {
  Conv c;
  if (!read_conv(cx, &c)) return false;
  const DhcType *x = dhc_arg_type(cx, 0), *w = dhc_arg_type(cx, 1);
  const DhcDim *channels = dhc_dim_mulc(cx->m->dims, w->dim[1], c.groups);
  if (x->dim[1] != channels)
    return dhc_shape_error(cx, "channels differ: %s has %s, %s in %lld groups needs %s",
                           dhc_arg_text(cx, 0), dhc_dim_text(cx->m, x->dim[1]), dhc_arg_text(cx, 1),
                           (long long)c.groups, dhc_dim_text(cx->m, channels));
  if (!need_divides(cx, w->dim[0], c.groups, "output channels")) return false;
  const DhcDim *dim[DHC_MAX_RANK] = {x->dim[0], w->dim[0]};
  for (int i = 0; i < c.n; i++) {
    const DhcDim *k = w->dim[2 + i];
    if (!kernel_extent(cx, k, i)) return false;
    if (!(dim[2 + i] = conv_extent(cx, &c, i, x->dim[2 + i], k))) return false;
  }
  return dhc_result_of(cx, x->dtype, x->rank, dim);
}

/* dy's spatial extents are what a convolution of extent `size` gives. */
static bool need_conv_result(DhcShapeCtx *cx, const Conv *c, int dy, int i, const DhcDim *size,
                             const DhcDim *k) {
  const DhcDim *want = conv_extent(cx, c, i, size, k), *have = dhc_arg_type(cx, dy)->dim[2 + i];
  if (!want || want == have) return want != NULL;
  return dhc_shape_error(cx, "spatial dimension %d of %s should be %s", i, dhc_arg_text(cx, dy),
                         dhc_dim_text(cx->m, want));
}

bool dhc_shape_conv_dx(DhcShapeCtx *cx) {
  Conv c;
  if (!read_conv(cx, &c) || !need_equal(cx, 0, 1, 1, 0, "output channel")) return false;
  const DhcType *dy = dhc_arg_type(cx, 0), *w = dhc_arg_type(cx, 1);
  const DhcAttr *size = dhc_attr(cx->n, "size");
  if (size->dims.n != c.n)
    return dhc_shape_error(cx, "'size' has %d entries for %d spatial dimensions", size->dims.n, c.n);
  if (!need_divides(cx, w->dim[0], c.groups, "output channels")) return false;
  const DhcDim *dim[DHC_MAX_RANK] = {dy->dim[0], dhc_dim_mulc(cx->m->dims, w->dim[1], c.groups)};
  for (int i = 0; i < c.n; i++) {
    const DhcDim *k = w->dim[2 + i];
    if (!kernel_extent(cx, k, i) || !need_conv_result(cx, &c, 0, i, size->dims.at[i], k))
      return false;
    dim[2 + i] = size->dims.at[i];
  }
  return dhc_result_of(cx, dy->dtype, dy->rank, dim);
}

bool dhc_shape_conv_dw(DhcShapeCtx *cx) {
  Conv c;
  if (!read_conv(cx, &c) || !need_equal(cx, 0, 0, 1, 0, "batch")) return false;
  const DhcType *x = dhc_arg_type(cx, 0), *dy = dhc_arg_type(cx, 1);
  const DhcAttr *size = dhc_attr(cx->n, "size");
  DhcDims *dims = cx->m->dims;
  if (size->dims.n != c.n)
    return dhc_shape_error(cx, "'size' has %d entries for %d spatial dimensions", size->dims.n, c.n);
  if (!need_divides(cx, x->dim[1], c.groups, "input channels") ||
      !need_divides(cx, dy->dim[1], c.groups, "output channels"))
    return false;
  const DhcDim *dim[DHC_MAX_RANK] = {
      dy->dim[1], dhc_dim_divide(dims, x->dim[1], dhc_dim_const(dims, c.groups))};
  for (int i = 0; i < c.n; i++) {
    const DhcDim *k = size->dims.at[i];
    if (!kernel_extent(cx, k, i) || !need_conv_result(cx, &c, 1, i, x->dim[2 + i], k)) return false;
    dim[2 + i] = k;
  }
  return dhc_result_of(cx, x->dtype, x->rank, dim);
}

static int64_t int_at(const DhcNode *n, const char *name, int i) { return dhc_attr(n, name)->ints.at[i]; }

bool dhc_conv_is_patches(const DhcNode *n) {
  if (n->op != DHC_OP_CONV && n->op != DHC_OP_CONV_DX && n->op != DHC_OP_CONV_DW) return false;
  const DhcType *w = n->op == DHC_OP_CONV_DW ? &n->results[0]->type : &n->args[1]->type;
  int64_t k, all = 1;
  if (dhc_attr(n, "groups")->i != 1 || 2 * w->rank - 2 > DHC_MAX_RANK) return false;
  for (int i = 0; i < w->rank - 2; i++) {
    if (!dhc_dim_is_const(w->dim[2 + i], &k) || int_at(n, "stride", i) != k || (k > 1 && int_at(n, "dilation", i) != 1)) return false;
    if (int_at(n, "pad_low", i) || int_at(n, "pad_high", i)) return false;
    all = k > 1 ? 2 : all;
  }
  return all > 1;
}

bool dhc_conv_is_tiled(const DhcNode *n) {
  enum { FEW_CHANNELS = 16 };
  int64_t k;
  if ((n->op != DHC_OP_CONV && n->op != DHC_OP_CONV_DX) || n->args[1]->type.rank != 4 || dhc_attr(n, "groups")->i != 1) return false;
  for (int i = 0; i < 2; i++) {
    const DhcDim *const *w = n->args[1]->type.dim;
    if (!dhc_dim_is_const(w[i], &k) || k < FEW_CHANNELS || !dhc_dim_is(w[2 + i], 3)) return false;
    if (int_at(n, "stride", i) != 1 || int_at(n, "dilation", i) != 1) return false;
  }
  return true;
}

/* ---- windows -------------------------------------------------------------------------------- */

/* Result dims of windows over the last axes of x (rank dims): floor((n - w) / stride) + 1. */
static bool window_dims(DhcShapeCtx *cx, int rank, const DhcDim *const *x, const DhcDim **out) {
  const DhcAttr *window = dhc_attr(cx->n, "window"), *stride = dhc_attr(cx->n, "stride");
  int n = window->ints.n, first = rank - n;
  if (n < 1 || n > rank)
    return dhc_shape_error(cx, "a window of %d axes over %s", n, dhc_arg_text(cx, 0));
  if (!need_ints(cx, "window", n, 1) || !need_ints(cx, "stride", n, 1)) return false;
  DhcDims *dims = cx->m->dims;
  int64_t area = 1;
  for (int i = 0; i < rank; i++) {
    out[i] = x[i];
    if (i < first) continue;
    int64_t w = window->ints.at[i - first];
    if (__builtin_mul_overflow(area, w, &area) || area > INT32_MAX)
      return dhc_shape_error(cx, "the window has too many places");
    if (!dhc_need_le(cx, dhc_dim_const(dims, w), x[i], "window of %lld does not fit axis %d of extent %s",
                     (long long)w, i, dhc_dim_text(cx->m, x[i])))
      return false;
    out[i] = dhc_dim_addc(
        dims, dhc_dim_floordiv(dims, dhc_dim_addc(dims, x[i], -w), stride->ints.at[i - first]), 1);
  }
  return true;
}

static bool need_numbers(DhcShapeCtx *cx) {
  dhc_dtype t = dhc_arg_type(cx, 0)->dtype;
  if (dhc_dtype_is_float(t) || (dhc_dtype_is_int(t) && t != DHC_I16 && t != DHC_U16)) return true;
  return dhc_shape_error(cx, "needs a float or integer dtype, got %s", dhc_arg_text(cx, 0));
}

bool dhc_shape_window_max(DhcShapeCtx *cx) {
  const DhcType *x = dhc_arg_type(cx, 0);
  const DhcDim *out[DHC_MAX_RANK];
  return need_numbers(cx) && window_dims(cx, x->rank, x->dim, out) &&
         dhc_result_of(cx, x->dtype, x->rank, out) && dhc_result_of(cx, DHC_I32, x->rank, out);
}

/* The index operand is i32 of dims `out`. */
static bool need_window_index(DhcShapeCtx *cx, int rank, const DhcDim *const *out) {
  DhcType want = {.dtype = DHC_I32, .rank = rank};
  for (int i = 0; i < rank; i++) want.dim[i] = out[i];
  if (dhc_type_equal(&want, dhc_arg_type(cx, 1))) return true;
  return dhc_shape_error(cx, "the index must be %s, got %s", dhc_type_text(cx->m, &want),
                         dhc_arg_text(cx, 1));
}

bool dhc_shape_window_gather(DhcShapeCtx *cx) {
  const DhcType *x = dhc_arg_type(cx, 0);
  const DhcDim *out[DHC_MAX_RANK];
  return window_dims(cx, x->rank, x->dim, out) && need_window_index(cx, x->rank, out) &&
         dhc_result_of(cx, x->dtype, x->rank, out);
}

bool dhc_shape_window_scatter(DhcShapeCtx *cx) {
  const DhcType *dy = dhc_arg_type(cx, 0);
  const DhcAttr *size = dhc_attr(cx->n, "size");
  const DhcDim *x[DHC_MAX_RANK], *out[DHC_MAX_RANK];
  int n = dhc_attr(cx->n, "window")->ints.n;
  if (!need_numbers(cx)) return false;
  if (size->dims.n != n || n > dy->rank)
    return dhc_shape_error(cx, "'size' has %d entries for a window of %d axes over %s",
                           size->dims.n, n, dhc_arg_text(cx, 0));
  for (int i = 0; i < dy->rank; i++)
    x[i] = i < dy->rank - n ? dy->dim[i] : size->dims.at[i - (dy->rank - n)];
  if (!window_dims(cx, dy->rank, x, out)) return false;
  for (int i = 0; i < dy->rank; i++)
    if (out[i] != dy->dim[i])
      return dhc_shape_error(cx, "dimension %d of %s should be %s", i, dhc_arg_text(cx, 0),
                             dhc_dim_text(cx->m, out[i]));
  return need_window_index(cx, dy->rank, out) && dhc_result_of(cx, dy->dtype, dy->rank, x);
}
