/* Running shape rules: what is checked for every op, and what the rules share. */
#include "ir/ir_internal.h"

bool dhc_shape_error(DhcShapeCtx *cx, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  const char *text = dhc_arena_vprintf(cx->m->arena, fmt, ap);
  va_end(ap);
  dhc_diag(cx->m->diags, DHC_ERROR, DHC_E_SHAPE, cx->n->span, "%s%s: %s",
           cx->prefix ? cx->prefix : "", dhc_op_info(cx->n->op)->name, text);
  return false;
}

const char *dhc_arg_text(DhcShapeCtx *cx, int i) {
  return dhc_type_text(cx->m, &cx->n->args[i]->type);
}

/* True without asking the prover: no negative coefficient outside of constants that are
 * fine themselves is by far the most frequent case. */
DhcTruth dhc_shape_le(DhcShapeCtx *cx, const DhcDim *a, const DhcDim *b) {
  DhcTruth t = a == b ? DHC_TRUE : dhc_dim_le(cx->m->dims, cx->facts, a, b);
  bool ask = t == DHC_UNKNOWN && cx->b && cx->b->known;
  return ask && cx->b->known(cx->b->known_ctx, dhc_dim_sub(cx->m->dims, b, a)) ? DHC_TRUE : t;
}

bool dhc_need_failed(DhcShapeCtx *cx, const DhcDim *a, const DhcDim *b, const char *fmt, ...) {
  DhcTruth truth = dhc_shape_le(cx, a, b);
  DhcModule *m = cx->m;
  va_list ap;
  va_start(ap, fmt);
  const char *what = dhc_arena_vprintf(m->arena, fmt, ap);
  va_end(ap);
  if (truth == DHC_FALSE) return dhc_shape_error(cx, "%s", what);
  DhcText fact = {.arena = m->arena};
  dhc_dim_print_fact(m->dims, dhc_dim_sub(m->dims, b, a), &fact);
  DhcDiag *d = dhc_diag(m->diags, DHC_ERROR, DHC_E_PROOF, cx->n->span, "%s%s: %s: needs %s",
                        cx->prefix ? cx->prefix : "", dhc_op_info(cx->n->op)->name, what,
                        dhc_text_str(&fact));
  dhc_diag_hint(m->diags, d, "add `require %s`", dhc_text_str(&fact));
  return false;
}

bool dhc_need_axis(DhcShapeCtx *cx, int64_t axis, int rank) {
  if (axis >= 0 && axis < rank) return true;
  if (rank == 0) return dhc_shape_error(cx, "axis %lld of a scalar", (long long)axis);
  return dhc_shape_error(cx, "axis %lld is outside 0..%d", (long long)axis, rank - 1);
}

bool dhc_need_axes(DhcShapeCtx *cx, const char *name, int rank) {
  const DhcAttr *a = dhc_attr(cx->n, name);
  for (int i = 0; i < a->ints.n; i++) {
    if (!dhc_need_axis(cx, a->ints.at[i], rank)) return false;
    for (int k = 0; k < i; k++)
      if (a->ints.at[k] == a->ints.at[i])
        return dhc_shape_error(cx, "axis %lld is in '%s' twice", (long long)a->ints.at[i], name);
  }
  return true;
}

bool dhc_need_rank(DhcShapeCtx *cx, int arg, int rank) {
  if (dhc_arg_type(cx, arg)->rank == rank) return true;
  return dhc_shape_error(cx, "operand %d must have rank %d, got %s", arg, rank,
                         dhc_arg_text(cx, arg));
}

DhcType *dhc_add_result(DhcShapeCtx *cx) {
  if (cx->n_results == DHC_MAX_RESULTS) {
    dhc_shape_error(cx, "more than %d results", DHC_MAX_RESULTS);
    return NULL;
  }
  DhcType *t = &cx->type[cx->n_results++];
  *t = (DhcType){.dtype = DHC_F32};
  return t;
}

bool dhc_result_of(DhcShapeCtx *cx, dhc_dtype dtype, int rank, const DhcDim *const *dim) {
  if (rank > DHC_MAX_RANK)
    return dhc_shape_error(cx, "the result has rank %d, the largest is %d", rank, DHC_MAX_RANK);
  DhcType *t = dhc_add_result(cx);
  if (!t) return false;
  t->dtype = dtype;
  t->rank = rank;
  for (int i = 0; i < rank; i++) t->dim[i] = dim[i];
  return true;
}

/* ---- checks around every rule ---------------------------------------------------------- */

static const char *attr_kind_name(DhcAttrKind k) {
  static const char *const name[] = {
      [DHC_ATTR_INT] = "an integer", [DHC_ATTR_FLOAT] = "a float",
      [DHC_ATTR_BOOL] = "a bool",    [DHC_ATTR_STRING] = "a string",
      [DHC_ATTR_INTS] = "integers",  [DHC_ATTR_DIM] = "a dim",
      [DHC_ATTR_DIMS] = "dims",      [DHC_ATTR_DTYPE] = "a dtype",
      [DHC_ATTR_FUNC] = "a function", [DHC_ATTR_SPEC] = "a kernel spec", [DHC_ATTR_FLAG] = "a flag"};
  return name[k];
}

static bool attr_complete(const DhcAttr *a) {
  switch (a->kind) {
    case DHC_ATTR_DIM: return a->dim != NULL;
    case DHC_ATTR_FUNC: return a->func != NULL;
    case DHC_ATTR_SPEC: return a->spec != NULL;
    case DHC_ATTR_STRING: return a->s != NULL;
    case DHC_ATTR_INTS: return a->ints.n >= 0 && (a->ints.n == 0 || a->ints.at);
    case DHC_ATTR_DTYPE: return (unsigned)a->dtype < DHC_N_DTYPES;
    case DHC_ATTR_DIMS:
      if (a->dims.n < 0 || (a->dims.n && !a->dims.at)) return false;
      for (int i = 0; i < a->dims.n; i++)
        if (!a->dims.at[i]) return false;
      return true;
    default: return true;
  }
}

static bool check_operands(DhcShapeCtx *cx, const DhcOpInfo *info) {
  const DhcNode *n = cx->n;
  if (info->n_args >= 0 && n->n_args != info->n_args)
    return dhc_shape_error(cx, "takes %d operands, got %d", info->n_args, n->n_args);
  for (int i = 0; i < info->n_attrs; i++) {
    if (n->attrs[i].kind != info->attrs[i].kind)
      return dhc_shape_error(cx, "attribute '%s' must be %s", info->attrs[i].name,
                             attr_kind_name(info->attrs[i].kind));
    if (!attr_complete(&n->attrs[i]))
      return dhc_shape_error(cx, "attribute '%s' has no value", info->attrs[i].name);
  }
  return true;
}

static bool limit_error(DhcShapeCtx *cx, const DhcType *t, const char *what) {
  dhc_diag(cx->m->diags, DHC_ERROR, DHC_E_LIMIT, cx->n->span, "%s%s: %s of %s %s",
           cx->prefix ? cx->prefix : "", dhc_op_info(cx->n->op)->name, "the size",
           dhc_type_text(cx->m, t), what);
  return false;
}

static bool obviously_nonneg(const DhcDim *d) {
  int64_t v;
  return dhc_dim_symbol_name(d) || (dhc_dim_is_const(d, &v) && v >= 0);
}

/* One function for every size: elements and bytes of a result fit 63 bits. */
static bool check_size(DhcShapeCtx *cx, const DhcType *t) {
  DhcDims *dims = cx->m->dims;
  bool before = dhc_dims_overflowed(dims);
  const DhcDim *bytes = dhc_dim_mulc(dims, dhc_type_elements(dims, t), dhc_dtype_bytes(t->dtype));
  (void)bytes;
  if (dhc_dims_overflowed(dims) || before)
    return limit_error(cx, t, "does not fit in 63 bits");
  return true;
}

static bool check_result(DhcShapeCtx *cx, const DhcType *t) {
  const DhcDim *zero = NULL;
  for (int i = 0; i < t->rank; i++) {
    if (obviously_nonneg(t->dim[i])) continue;
    if (!zero) zero = dhc_dim_const(cx->m->dims, 0);
    if (!dhc_need_le(cx, zero, t->dim[i], "extent %s of dimension %d is negative",
                     dhc_dim_text(cx->m, t->dim[i]), i))
      return false;
  }
  return check_size(cx, t);
}

bool dhc_shape_infer(DhcModule *m, const DhcFacts *facts, const DhcBuilder *b, const DhcNode *n, const char *prefix,
                     DhcType *type, int *n_results) {
  const DhcOpInfo *info = dhc_op_info(n->op);
  DhcShapeCtx cx = {.m = m, .facts = facts, .b = b, .n = n, .prefix = prefix, .type = type};
  dhc_dims_overflowed(m->dims);
  if (!info->shape) return dhc_shape_error(&cx, "cannot be built like this");
  if (!check_operands(&cx, info) || !info->shape(&cx)) return false;
  if (info->n_results >= 0 && cx.n_results != info->n_results)
    DHC_BUG("%s: its shape rule gave %d results", info->name, cx.n_results);
  for (int i = 0; i < cx.n_results; i++)
    if (!check_result(&cx, &cx.type[i])) return false;
  *n_results = cx.n_results;
  return true;
}
