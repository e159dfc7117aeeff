/* Shorthands of the builder. */
#include "ir/ir_internal.h"

DhcValue *dhc_b_unary(DhcBuilder *b, DhcOp op, DhcValue *x) {
  return dhc_build1(b, op, &x, 1, NULL, 0);
}

/* ---- broadcasting ---------------------------------------------------------------------- */

/* Shape that all of xs stretch to, from the right; -1 if two disagree. */
static int common_shape(DhcValue *const *xs, int n, const DhcDim **dim) {
  int rank = 0;
  for (int i = 0; i < n; i++)
    if (xs[i]->type.rank > rank) rank = xs[i]->type.rank;
  for (int k = 0; k < rank; k++) {
    const DhcDim *d = NULL;
    for (int i = 0; i < n; i++) {
      int at = k - (rank - xs[i]->type.rank);
      const DhcDim *e = at < 0 ? NULL : xs[i]->type.dim[at];
      if (!e || e == d) continue;
      if (!d || dhc_dim_is(d, 1))
        d = e;
      else if (!dhc_dim_is(e, 1))
        return -1;
    }
    dim[k] = d;
  }
  return rank;
}

/* Says why xs have no common shape, in the words of op. */
static void shape_conflict(DhcBuilder *b, DhcOp op, DhcValue *const *xs, int n) {
  DhcModule *m = b->f->module;
  DhcText text = {.arena = m->arena};
  bool stretch = false;
  for (int i = 0; i < n; i++) {
    dhc_text_puts(&text, i == 0 ? "" : i + 1 < n ? ", " : " and ");
    dhc_type_print(&xs[i]->type, &text);
    for (int k = 0; k < xs[i]->type.rank; k++)
      stretch |= !dhc_dim_is_const(xs[i]->type.dim[k], NULL);
  }
  dhc_diag(m->diags, DHC_ERROR, DHC_E_SHAPE, b->span, "%s: shapes differ: %s%s",
           dhc_op_info(op)->name, dhc_text_str(&text),
           stretch ? "; only a known 1 broadcasts" : "");
}

/* Stretches all of xs in place; false after a diagnostic or if one is NULL. */
static bool stretch_all(DhcBuilder *b, DhcOp op, DhcValue **xs, int n) {
  const DhcDim *dim[DHC_MAX_RANK];
  for (int i = 0; i < n; i++)
    if (!xs[i]) return false;
  int rank = common_shape(xs, n, dim);
  if (rank < 0) {
    shape_conflict(b, op, xs, n);
    return false;
  }
  for (int i = 0; i < n; i++)
    if (!(xs[i] = dhc_b_broadcast(b, xs[i], dim, rank))) return false;
  return true;
}

DhcValue *dhc_b_binary(DhcBuilder *b, DhcOp op, DhcValue *x, DhcValue *y) {
  DhcValue *xs[] = {x, y};
  if (x && y && x->type.dtype != y->type.dtype) return dhc_build1(b, op, xs, 2, NULL, 0);
  return stretch_all(b, op, xs, 2) ? dhc_build1(b, op, xs, 2, NULL, 0) : NULL;
}

DhcValue *dhc_b_select(DhcBuilder *b, DhcValue *c, DhcValue *x, DhcValue *y) {
  DhcValue *xs[] = {c, x, y};
  return stretch_all(b, DHC_OP_SELECT, xs, 3) ? dhc_build1(b, DHC_OP_SELECT, xs, 3, NULL, 0) : NULL;
}

DhcValue *dhc_b_flush(DhcBuilder *b, DhcValue *x) {
  if (!x || !dhc_dtype_is_float(x->type.dtype)) return x;
  DhcValue *size = dhc_b_unary(b, DHC_OP_ABS, x); /* before the limit, whatever the compiler */
  DhcValue *tiny = dhc_b_binary(b, DHC_OP_LT, size, dhc_b_fill(b, &x->type, dhc_dtype_least_normal(x->type.dtype)));
  return dhc_b_select(b, tiny, dhc_b_fill(b, &x->type, 0), x);
}

/* ---- creation --------------------------------------------------------------------------- */

DhcValue *dhc_b_fill(DhcBuilder *b, const DhcType *type, double value) {
  DhcAttr attrs[] = {dhc_attr_float(value), dhc_attr_dtype(type->dtype),
                     dhc_attr_dims(b->f->module, type->dim, type->rank)};
  return dhc_build1(b, DHC_OP_FILL, NULL, 0, attrs, 3);
}

DhcValue *dhc_b_scalar(DhcBuilder *b, dhc_dtype dtype, double value) {
  DhcType t = {.dtype = dtype};
  return dhc_b_fill(b, &t, value);
}

DhcValue *dhc_b_dim(DhcBuilder *b, const DhcDim *d) {
  DhcAttr a = dhc_attr_dim(d);
  return dhc_build1(b, DHC_OP_DIM, NULL, 0, &a, 1);
}

DhcValue *dhc_b_cast(DhcBuilder *b, DhcValue *x, dhc_dtype to) {
  if (!x || x->type.dtype == to) return x;
  DhcAttr a = dhc_attr_dtype(to);
  return dhc_build1(b, DHC_OP_CAST, &x, 1, &a, 1);
}

/* ---- views and movement -------------------------------------------------------------------- */

static bool has_shape(const DhcValue *x, const DhcDim *const *dim, int rank) {
  if (x->type.rank != rank) return false;
  for (int i = 0; i < rank; i++)
    if (x->type.dim[i] != dim[i]) return false;
  return true;
}

DhcValue *dhc_b_reshape(DhcBuilder *b, DhcValue *x, const DhcDim *const *dim, int rank) {
  if (!x || has_shape(x, dim, rank)) return x;
  DhcAttr a = dhc_attr_dims(b->f->module, dim, rank);
  return dhc_build1(b, DHC_OP_RESHAPE, &x, 1, &a, 1);
}

DhcValue *dhc_b_transpose(DhcBuilder *b, DhcValue *x, const int64_t *perm) {
  if (!x) return NULL;
  DhcAttr a = dhc_attr_ints(b->f->module, perm, x->type.rank);
  return dhc_build1(b, DHC_OP_TRANSPOSE, &x, 1, &a, 1);
}

DhcValue *dhc_b_broadcast(DhcBuilder *b, DhcValue *x, const DhcDim *const *dim, int rank) {
  if (!x || has_shape(x, dim, rank)) return x;
  DhcAttr a = dhc_attr_dims(b->f->module, dim, rank);
  return dhc_build1(b, DHC_OP_BROADCAST, &x, 1, &a, 1);
}

DhcValue *dhc_b_slice(DhcBuilder *b, DhcValue *x, int axis, const DhcDim *start,
                      const DhcDim *size) {
  if (!x) return NULL;
  DhcModule *m = b->f->module;
  const DhcDim *starts[DHC_MAX_RANK], *sizes[DHC_MAX_RANK];
  int64_t steps[DHC_MAX_RANK];
  for (int i = 0; i < x->type.rank; i++) {
    starts[i] = i == axis ? start : dhc_dim_const(m->dims, 0);
    sizes[i] = i == axis ? size : x->type.dim[i];
    steps[i] = 1;
  }
  DhcAttr attrs[] = {dhc_attr_dims(m, starts, x->type.rank), dhc_attr_dims(m, sizes, x->type.rank),
                     dhc_attr_ints(m, steps, x->type.rank)};
  return dhc_build1(b, DHC_OP_SLICE, &x, 1, attrs, 3);
}

DhcValue *dhc_b_concat(DhcBuilder *b, DhcValue *const *xs, int n, int axis) {
  DhcAttr a = dhc_attr_int(axis);
  return dhc_build1(b, DHC_OP_CONCAT, xs, n, &a, 1);
}

/* ---- reductions and contractions -------------------------------------------------------------- */

DhcValue *dhc_b_reduce(DhcBuilder *b, DhcOp op, DhcValue *x, const int64_t *axes, int n_axes,
                       bool keep) {
  int64_t sorted[DHC_MAX_RANK];
  if (!x) return NULL;
  if (n_axes > DHC_MAX_RANK) DHC_BUG("reduction over %d axes", n_axes);
  for (int i = 0; i < n_axes; i++) {
    int k = i;
    for (; k > 0 && sorted[k - 1] > axes[i]; k--) sorted[k] = sorted[k - 1];
    sorted[k] = axes[i];
  }
  DhcAttr attrs[] = {dhc_attr_ints(b->f->module, sorted, n_axes), dhc_attr_bool(keep)};
  return dhc_build1(b, op, &x, 1, attrs, 2);
}

DhcValue *dhc_b_dot(DhcBuilder *b, DhcValue *x, DhcValue *y, const int64_t *batch_x,
                    const int64_t *batch_y, int n_batch, const int64_t *contract_x,
                    const int64_t *contract_y, int n_contract) {
  DhcModule *m = b->f->module;
  DhcValue *xs[] = {x, y};
  DhcAttr attrs[] = {dhc_attr_ints(m, batch_x, n_batch), dhc_attr_ints(m, batch_y, n_batch),
                     dhc_attr_ints(m, contract_x, n_contract),
                     dhc_attr_ints(m, contract_y, n_contract)};
  return dhc_build1(b, DHC_OP_DOT_GENERAL, xs, 2, attrs, 4);
}

/* ---- calls --------------------------------------------------------------------------------------- */

/* One round: solves every parameter extent that has one open symbol left. Open symbols stand
 * under names of their own, apart from the caller's. Returns how many are bound now. */
static int bind_round(DhcModule *m, const DhcFunc *f, DhcValue *const *args, const DhcDim **bound,
                      const char **open) {
  const DhcDim **to = DHC_NEW_N(m->arena, const DhcDim *, f->symbols.n);
  for (int p = 0; p < f->params.n; p++) {
    const DhcType *want = &f->params.at[p]->type, *have = &args[p]->type;
    for (int d = 0; d < want->rank && d < have->rank; d++) {
      for (int i = 0; i < f->symbols.n; i++)
        to[i] = bound[i] ? bound[i] : dhc_dim_symbol(m->dims, open[i]);
      const DhcDim *pattern =
          dhc_dim_subst(m->dims, want->dim[d], f->symbols.n, f->symbols.at, to);
      const char *names[64];
      int n = dhc_dim_symbols(pattern, names, 64), which = -1, n_open = 0;
      for (int i = 0; i < f->symbols.n; i++)
        for (int k = 0; k < n && !bound[i]; k++)
          if (names[k] == open[i]) which = i, n_open++;
      if (n_open == 1) bound[which] = dhc_dim_solve(m->dims, pattern, open[which], have->dim[d]);
    }
  }
  int n_bound = 0;
  for (int i = 0; i < f->symbols.n; i++) n_bound += bound[i] != NULL;
  return n_bound;
}

DhcNode *dhc_b_call(DhcBuilder *b, DhcOp op, DhcFunc *callee, DhcValue *const *args, int n_args) {
  DhcModule *m = b->f->module;
  int n = callee->symbols.n, before = -1, now = 0;
  for (int i = 0; i < n_args; i++)
    if (!args[i]) return NULL;
  const DhcDim **bound = DHC_NEW_N(m->arena, const DhcDim *, n);
  const char **open = DHC_NEW_N(m->arena, const char *, n);
  for (int i = 0; i < n; i++)
    open[i] = dhc_intern(m->strings, dhc_arena_printf(m->arena, "?%s", callee->symbols.at[i]));
  while (n_args == callee->params.n && now > before && now < n) {
    before = now;
    now = bind_round(m, callee, args, bound, open);
  }
  for (int i = 0; i < n && n_args == callee->params.n; i++) {
    if (bound[i]) continue;
    dhc_diag(m->diags, DHC_ERROR, DHC_E_SHAPE, b->span,
             "%s: symbol %s of @%s cannot be told from the arguments", dhc_op_info(op)->name,
             callee->symbols.at[i], callee->name);
    return NULL;
  }
  for (int i = 0; i < n; i++)
    if (!bound[i]) bound[i] = dhc_dim_const(m->dims, 1); /* the arity error comes from the rule */
  DhcAttr attrs[] = {dhc_attr_func(callee), dhc_attr_dims(m, bound, n)};
  return dhc_build(b, op, args, n_args, attrs, 2);
}
