/* Shape rules: recurrences, routing, calls, effects, kernels. */
#include "ir/ir_internal.h"
#include "ir/ops_rules.h"
#include "ir/spec.h"

bool dhc_shape_linear_scan(DhcShapeCtx *cx) {
  const DhcType *a = dhc_arg_type(cx, 0), *b = dhc_arg_type(cx, 1), *h0 = dhc_arg_type(cx, 2);
  int64_t axis = dhc_attr(cx->n, "axis")->i;
  if (!dhc_dtype_is_float(a->dtype))
    return dhc_shape_error(cx, "needs a float dtype, got %s", dhc_arg_text(cx, 0));
  if (!dhc_type_equal(a, b))
    return dhc_shape_error(cx, "shapes differ: %s and %s", dhc_arg_text(cx, 0),
                           dhc_arg_text(cx, 1));
  if (!dhc_need_axis(cx, axis, a->rank)) return false;
  DhcType want = {.dtype = a->dtype};
  for (int i = 0; i < a->rank; i++)
    if (i != axis) want.dim[want.rank++] = a->dim[i];
  if (!dhc_type_equal(&want, h0))
    return dhc_shape_error(cx, "the initial state must be %s, got %s", dhc_type_text(cx->m, &want),
                           dhc_arg_text(cx, 2));
  return dhc_result_of(cx, a->dtype, a->rank, a->dim);
}

/* ---- functions --------------------------------------------------------------------------- */

/* Binds the callee's symbols by the attribute `dims` and checks its facts. */
static bool bind_callee(DhcShapeCtx *cx, const DhcFunc *f, DhcSubst *s) {
  const DhcAttr *dims = dhc_attr(cx->n, "dims");
  if (dims->dims.n != f->symbols.n)
    return dhc_shape_error(cx, "@%s has %d symbols, 'dims' has %d", f->name, f->symbols.n,
                           dims->dims.n);
  *s = (DhcSubst){f->symbols.n, f->symbols.at, dims->dims.at};
  const DhcDim *one = dhc_dim_const(cx->m->dims, 1), *zero = dhc_dim_const(cx->m->dims, 0);
  for (int i = 0; i < s->n; i++)
    if (!dhc_dim_symbol_name(s->to[i]) &&
        !dhc_need_le(cx, one, s->to[i], "symbol %s of @%s is bound to %s, which must be at least 1",
                     s->from[i], f->name, dhc_dim_text(cx->m, s->to[i])))
      return false;
  for (int i = 0; i < f->facts.nonneg.n; i++) {
    const DhcDim *fact = dhc_dim_subst(cx->m->dims, f->facts.nonneg.at[i], s->n, s->from, s->to);
    DhcText text = {.arena = cx->m->arena};
    dhc_dim_print_fact(cx->m->dims, f->facts.nonneg.at[i], &text);
    if (!dhc_need_le(cx, zero, fact, "@%s requires %s", f->name, dhc_text_str(&text))) return false;
  }
  return true;
}

static bool need_param(DhcShapeCtx *cx, const DhcFunc *f, int param, const DhcType *have,
                       const DhcSubst *s) {
  DhcType want = f->params.at[param]->type;
  dhc_type_subst(cx->m->dims, &want, s);
  if (dhc_type_equal(&want, have)) return true;
  return dhc_shape_error(cx, "parameter %d of @%s is %s, got %s", param, f->name,
                         dhc_type_text(cx->m, &want), dhc_type_text(cx->m, have));
}

static bool need_count(DhcShapeCtx *cx, const DhcFunc *f, int have, const char *what, int want) {
  if (have == want) return true;
  return dhc_shape_error(cx, "@%s has %d %s, %d are needed", f->name, have, what, want);
}

bool dhc_shape_call(DhcShapeCtx *cx) {
  const DhcFunc *f = dhc_attr(cx->n, "callee")->func;
  DhcSubst s;
  if (!need_count(cx, f, f->params.n, "parameters", cx->n->n_args) || !bind_callee(cx, f, &s))
    return false;
  for (int i = 0; i < f->params.n; i++)
    if (!need_param(cx, f, i, dhc_arg_type(cx, i), &s)) return false;
  for (int i = 0; i < f->results.n; i++) {
    DhcType *t = dhc_add_result(cx);
    if (!t) return false;
    *t = f->results.at[i]->type;
    dhc_type_subst(cx->m->dims, t, &s);
  }
  return true;
}

/* t without dimension `axis`; false if there is no such axis or its extent is not `length`. */
static bool element_type(DhcShapeCtx *cx, int arg, int64_t axis, const DhcDim *length, DhcType *t) {
  const DhcType *xs = dhc_arg_type(cx, arg);
  if (!dhc_need_axis(cx, axis, xs->rank)) return false;
  if (xs->dim[axis] != length)
    return dhc_shape_error(cx, "axis %lld of %s should be the length %s", (long long)axis,
                           dhc_arg_text(cx, arg), dhc_dim_text(cx->m, length));
  *t = (DhcType){.dtype = xs->dtype};
  for (int i = 0; i < xs->rank; i++)
    if (i != axis) t->dim[t->rank++] = xs->dim[i];
  return true;
}

/* y with `length` put in as dimension `axis`, as a result. */
static bool stacked_result(DhcShapeCtx *cx, const DhcType *y, int64_t axis, const DhcDim *length) {
  const DhcDim *dim[DHC_MAX_RANK + 1];
  if (!dhc_need_axis(cx, axis, y->rank + 1)) return false;
  for (int i = 0; i <= y->rank; i++)
    dim[i] = i < axis ? y->dim[i] : i == axis ? length : y->dim[i - 1];
  return dhc_result_of(cx, y->dtype, y->rank + 1, dim);
}

bool dhc_shape_scan(DhcShapeCtx *cx) {
  const DhcNode *n = cx->n;
  const DhcFunc *f = dhc_attr(n, "body")->func;
  int64_t nc = dhc_attr(n, "n_carry")->i, nx = dhc_attr(n, "n_xs")->i, axis = dhc_attr(n, "axis")->i;
  const DhcDim *length = dhc_attr(n, "length")->dim;
  DhcSubst s;
  if (nc < 0 || nx < 0 || nc > n->n_args || nx > n->n_args - nc)
    return dhc_shape_error(cx, "%lld carries and %lld sequences do not fit %d operands",
                           (long long)nc, (long long)nx, n->n_args);
  if (!need_count(cx, f, f->params.n, "parameters", n->n_args) || !bind_callee(cx, f, &s)) return false;
  if (f->results.n < nc)
    return dhc_shape_error(cx, "@%s has %d results for %lld carries", f->name, f->results.n,
                           (long long)nc);
  if (!dhc_need_le(cx, dhc_dim_const(cx->m->dims, 0), length, "length %s is negative",
                   dhc_dim_text(cx->m, length)))
    return false;
  for (int i = 0; i < n->n_args; i++) {
    DhcType t = *dhc_arg_type(cx, i);
    bool sequence = i >= nc && i < nc + nx;
    if (sequence && !element_type(cx, i, axis, length, &t)) return false;
    if (!need_param(cx, f, i, &t, &s)) return false;
  }
  for (int i = 0; i < f->results.n; i++) {
    DhcType t = f->results.at[i]->type;
    dhc_type_subst(cx->m->dims, &t, &s);
    if (i >= nc) {
      if (!stacked_result(cx, &t, axis, length)) return false;
      continue;
    }
    if (!dhc_type_equal(&t, dhc_arg_type(cx, i)))
      return dhc_shape_error(cx, "carry %d goes in as %s and comes out as %s", i,
                             dhc_arg_text(cx, i), dhc_type_text(cx->m, &t));
    if (!dhc_result_of(cx, t.dtype, t.rank, t.dim)) return false;
  }
  return true;
}

/* ---- routing -------------------------------------------------------------------------------- */

bool dhc_shape_top_k(DhcShapeCtx *cx) {
  const DhcType *x = dhc_arg_type(cx, 0);
  int64_t k = dhc_attr(cx->n, "k")->i;
  if (!dhc_dtype_is_float(x->dtype))
    return dhc_shape_error(cx, "needs a float dtype, got %s", dhc_arg_text(cx, 0));
  if (x->rank == 0) return dhc_shape_error(cx, "needs at least one dimension");
  if (k < 1) return dhc_shape_error(cx, "'k' must be at least 1, got %lld", (long long)k);
  const DhcDim *dim[DHC_MAX_RANK], *dk = dhc_dim_const(cx->m->dims, k);
  for (int i = 0; i < x->rank; i++) dim[i] = x->dim[i];
  if (!dhc_need_le(cx, dk, dim[x->rank - 1], "k = %lld is more than the last axis of %s has", (long long)k,
                   dhc_arg_text(cx, 0)))
    return false;
  dim[x->rank - 1] = dk;
  return dhc_result_of(cx, x->dtype, x->rank, dim) && dhc_result_of(cx, DHC_I32, x->rank, dim);
}

bool dhc_shape_route(DhcShapeCtx *cx) {
  const DhcType *e = dhc_arg_type(cx, 0);
  int64_t num = dhc_attr(cx->n, "num")->i;
  if (e->dtype != DHC_I32 || e->rank != 2)
    return dhc_shape_error(cx, "needs i32 of rank 2, got %s", dhc_arg_text(cx, 0));
  if (num < 1 || num > INT32_MAX)
    return dhc_shape_error(cx, "'num' must be at least 1, got %lld", (long long)num);
  const DhcDim *rows[] = {dhc_dim_mul(cx->m->dims, e->dim[0], e->dim[1])};
  const DhcDim *offsets[] = {dhc_dim_const(cx->m->dims, num + 1)};
  return dhc_result_of(cx, DHC_I32, 1, rows) && dhc_result_of(cx, DHC_I32, 2, e->dim) &&
         dhc_result_of(cx, DHC_I32, 1, offsets);
}

/* ---- effects and kernels ------------------------------------------------------------------- */

bool dhc_shape_update(DhcShapeCtx *cx) {
  const DhcValue *p = cx->n->args[0];
  const DhcType *t = &p->type;
  int i = p->def->op == DHC_OP_PARAM ? dhc_param_index(p->def->func, p) : -1;
  if (i < 0) return dhc_shape_error(cx, "its target is not a parameter of the function");
  DhcRole role = p->def->func->param_info.at[i].role;
  if (role != DHC_ROLE_WEIGHT && role != DHC_ROLE_BUFFER && role != DHC_ROLE_STATE &&
      role != DHC_ROLE_FLAT)
    return dhc_shape_error(cx, "a parameter of role %s cannot be updated", dhc_role_name(role));
  if (!dhc_type_equal(t, dhc_arg_type(cx, 1)))
    return dhc_shape_error(cx, "the target is %s, its new value %s", dhc_arg_text(cx, 0),
                           dhc_arg_text(cx, 1));
  return dhc_result_of(cx, t->dtype, t->rank, t->dim);
}

bool dhc_shape_sum_ranks(DhcShapeCtx *cx) {
  const DhcType *t = dhc_arg_type(cx, 0);
  if (t->dtype != DHC_F32) return dhc_shape_error(cx, "ranks sum f32, got %s", dhc_arg_text(cx, 0));
  return dhc_result_of(cx, t->dtype, t->rank, t->dim);
}

bool dhc_shape_spread_ranks(DhcShapeCtx *cx) {
  const DhcType *t = dhc_arg_type(cx, 0);
  const DhcAttr *parts = dhc_attr(cx->n, "parts");
  int64_t all, sum = 0;
  if (t->dtype != DHC_F32 || t->rank != 1 || !dhc_dim_is_const(t->dim[0], &all)) return dhc_shape_error(cx, "ranks spread f32[N], got %s", dhc_arg_text(cx, 0));
  for (int i = 0; i < parts->ints.n; i++) {
    if (parts->ints.at[i] < 0 || parts->ints.at[i] > all - sum) return dhc_shape_error(cx, "part %d does not fit into %s", i, dhc_arg_text(cx, 0));
    sum += parts->ints.at[i];
  }
  if (sum != all) return dhc_shape_error(cx, "the parts are %lld elements of %s", (long long)sum, dhc_arg_text(cx, 0));
  return dhc_result_of(cx, t->dtype, t->rank, t->dim);
}

bool dhc_shape_kernel(DhcShapeCtx *cx) {
  const DhcNode *n = cx->n;
  const DhcSpec *s = dhc_attr(n, "spec")->spec;
  const DhcAttr *shapes = dhc_attr(n, "shapes"), *ranks = dhc_attr(n, "ranks");
  int n_in = 0;
  while (n_in < s->n_operands && !s->operand[n_in].out) n_in++;
  int n_out = s->n_operands - n_in, at = 0;
  const DhcAttr *into = dhc_attr(n, "into");
  if (into->ints.n != n_out)
    return dhc_shape_error(cx, "the spec has %d outputs, 'into' has %d entries", n_out, into->ints.n);
  int n_into = 0; /* results that start as a further argument's contents, in order; others are in an earlier result */
  for (int i = 0; i < n_out; i++) {
    if (dhc_kernel_within(n, i) >= i) return dhc_shape_error(cx, "result %d is in a later one", i);
    if (into->ints.at[i] < 0) continue;
    if (into->ints.at[i] != n_in + n_into++) return dhc_shape_error(cx, "'into' does not count the arguments after the inputs");
  }
  if (n->n_args != n_in + n_into)
    return dhc_shape_error(cx, "the spec has %d inputs and %d results start as arguments, got %d operands", n_in,
                           n_into, n->n_args);
  for (int i = 0; i < n_in; i++)
    if (dhc_arg_type(cx, i)->dtype != s->operand[i].dtype)
      return dhc_shape_error(cx, "input %d of the spec is %s, got %s", i,
                             dhc_dtype_name(s->operand[i].dtype), dhc_arg_text(cx, i));
  if (ranks->ints.n != n_out)
    return dhc_shape_error(cx, "the spec has %d outputs, 'ranks' has %d entries", n_out, ranks->ints.n);
  if (dhc_attr(n, "offsets")->dims.n != s->n_operands)
    return dhc_shape_error(cx, "the spec has %d operands, 'offsets' has %d entries", s->n_operands,
                           dhc_attr(n, "offsets")->dims.n);
  if (dhc_attr(n, "dims")->dims.n != dhc_spec_n_dims(s))
    return dhc_shape_error(cx, "the spec has %d arguments, 'dims' has %d", dhc_spec_n_dims(s),
                           dhc_attr(n, "dims")->dims.n);
  for (int i = 0; i < n_out; i++) {
    int64_t rank = ranks->ints.at[i];
    if (rank < 0 || rank > shapes->dims.n - at)
      return dhc_shape_error(cx, "'ranks' and 'shapes' do not fit together");
    if (!dhc_result_of(cx, s->operand[n_in + i].dtype, (int)rank, shapes->dims.at + at)) return false;
    if (into->ints.at[i] >= 0 && !dhc_type_equal(dhc_arg_type(cx, (int)into->ints.at[i]), &cx->type[i]))
      return dhc_shape_error(cx, "result %d starts as an argument of another type", i);
    if (dhc_kernel_within(n, i) >= 0 && !dhc_type_equal(&cx->type[dhc_kernel_within(n, i)], &cx->type[i]))
      return dhc_shape_error(cx, "result %d is in one of another type", i);
    at += (int)rank;
  }
  if (at != shapes->dims.n) return dhc_shape_error(cx, "'ranks' and 'shapes' do not fit together");
  return true;
}
