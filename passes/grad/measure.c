/* Entries that look at tensors: how large the elements of a flat range of weights or moments are and whether all are
 * finite; whether weights and buffers hold a NaN. */
#include "passes/passes.h"

/* Index of the first element that is bad, DHC_MEASURE_NONE where none is; x of one axis. */
static DhcValue *first(DhcBuilder *b, DhcValue *x, DhcValue *bad) {
  DhcAttr a[3] = {dhc_attr_int(0), dhc_attr_dtype(DHC_I64), dhc_attr_dims(b->f->module, x->type.dim, 1)};
  static const int64_t axis = 0;
  DhcValue *at = dhc_build1(b, DHC_OP_IOTA, NULL, 0, a, 3);
  at = dhc_b_select(b, bad, at, dhc_b_scalar(b, DHC_I64, (double)DHC_MEASURE_NONE));
  return dhc_b_reduce(b, DHC_OP_REDUCE_MIN, at, &axis, 1, false);
}

static DhcFunc *begin(DhcModule *m, DhcBuilder *b) {
  DhcModule *own = dhc_module_extract(m, NULL, 0, NULL); /* for what it says of tensors */
  *b = (DhcBuilder){.f = dhc_func_new(own, "measure", DHC_FUNC_ENTRY, (DhcSpan){0})};
  return b->f;
}

static DhcValue *flat(DhcFunc *f, int64_t n) {
  DhcType t = {.dtype = DHC_F32, .rank = 1};
  t.dim[0] = dhc_dim_const(f->module->dims, n);
  return dhc_func_param(f, &t, (DhcParamInfo){DHC_NAME_WEIGHTS, DHC_ROLE_FLAT, -1}, (DhcSpan){0});
}

/* One kernel, whose rows are the elements and the elements turned round: max gives NaN where one is. */
DhcFunc *dhc_measure_entry(DhcModule *m, int64_t n) {
  static const int64_t axis = 1;
  DhcBuilder b;
  DhcFunc *f = begin(m, &b);
  DhcDims *cx = f->module->dims;
  const DhcDim *row[2] = {dhc_dim_const(cx, 1), dhc_dim_const(cx, n)}, *two[2] = {dhc_dim_const(cx, 2), dhc_dim_const(cx, 1)};
  DhcAttr a[3] = {dhc_attr_int(0), dhc_attr_dtype(DHC_I64), dhc_attr_dims(f->module, two, 2)};
  DhcValue *x = dhc_b_reshape(&b, flat(f, n), row, 2);
  DhcValue *turned = dhc_b_binary(&b, DHC_OP_GT, dhc_build1(&b, DHC_OP_IOTA, NULL, 0, a, 3), dhc_b_scalar(&b, DHC_I64, 0));
  x = dhc_b_select(&b, turned, dhc_b_unary(&b, DHC_OP_NEG, x), x);
  dhc_func_result(f, dhc_b_reduce(&b, DHC_OP_REDUCE_MAX, x, &axis, 1, false), "ends");
  return f;
}

DhcFunc *dhc_infinite_entry(DhcModule *m, int64_t n) {
  DhcBuilder b;
  DhcFunc *f = begin(m, &b);
  DhcValue *x = flat(f, n);
  dhc_func_result(f, first(&b, x, dhc_b_unary(&b, DHC_OP_NOT, dhc_b_unary(&b, DHC_OP_IS_FINITE, x))), "first");
  return f;
}

static void find_nan(DhcBuilder *b, DhcValue *x) {
  const DhcDim *n = dhc_type_elements(b->f->module->dims, &x->type);
  if (x->type.rank != 1) x = dhc_b_reshape(b, x, &n, 1);
  DhcValue *nan = dhc_b_binary(b, DHC_OP_NE, x, x);
  dhc_func_result(b->f, first(b, x, nan), dhc_arena_printf(b->f->module->arena, "first.%d", b->f->results.n));
}

DhcFunc *dhc_nan_entry(DhcModule *m, int64_t n) {
  DhcBuilder b;
  DhcFunc *f = begin(m, &b);
  if (n) find_nan(&b, flat(f, n));
  for (int i = 0; i < f->module->tensors.n; i++) {
    const DhcTensorDecl *d = &f->module->tensors.at[i];
    if (d->role != DHC_ROLE_BUFFER || !dhc_dtype_is_float(d->type.dtype)) continue;
    find_nan(&b, dhc_func_param(f, &d->type, (DhcParamInfo){d->path, DHC_ROLE_BUFFER, i}, (DhcSpan){0}));
  }
  return f;
}
