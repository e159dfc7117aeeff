/* Builtins that create, view and move tensors. */
#include "frontend/elab_builtin.h"

static DhcDims *dims_of(DhcCx *cx) {
  return cx->m->module->dims;
}

static DhcVal build(DhcCx *cx, DhcBuiltinCall *c, DhcOp op, DhcValue *const *args, int n,
                    const DhcAttr *attrs, int n_attrs) {
  for (int i = 0; i < n; i++)
    if (!args[i]) return dhc_v_error();
  return dhc_v_tensor(dhc_build1(dhc_at(cx, c->at), op, args, n, attrs, n_attrs));
}

static bool running(DhcCx *cx, DhcBuiltinCall *c) {
  if (cx->fn) return true;
  dhc_err(cx, "E0307", c->at, "%s makes a tensor, which is not known at compile time", c->name);
  return false;
}

/* ---- creation ------------------------------------------------------------------------------- */

DhcVal dhc_bi_fill(DhcCx *cx, DhcBuiltinCall *c) {
  int rank;
  const DhcDim *dim[DHC_MAX_RANK];
  dhc_dtype dtype = DHC_F32;
  bool typed = dhc_bi_given(c, 2);
  if (!running(cx, c) || !dhc_want_shape(cx, &c->arg[0], c->span[0], dhc_bi_what(cx, c, 0), &rank, dim))
    return dhc_v_error();
  if (typed && !dhc_want_dtype(cx, &c->arg[2], c->span[2], dhc_bi_what(cx, c, 2), &dtype))
    return dhc_v_error();
  DhcVal *v = &c->arg[1];
  bool varies = dtype == DHC_F32 && (v->kind == DHC_V_FLOAT ? v->fx->varies : v->kind == DHC_V_INT && v->varies);
  bool constant = (v->kind == DHC_V_FLOAT && v->fx->constant && !varies && dhc_dtype_is_float(dtype)) ||
                  (v->kind == DHC_V_INT && !varies && dtype != DHC_BOOL && v->i > -(1LL << 53) && v->i < (1LL << 53));
  if (constant) {
    DhcType t = {.dtype = dtype, .rank = rank};
    memcpy(t.dim, dim, sizeof dim);
    return dhc_v_tensor(
        dhc_b_fill(dhc_at(cx, c->at), &t, v->kind == DHC_V_INT ? (double)v->i : v->fx->value));
  }
  DhcValue *t = dhc_bi_tensor(cx, c, 1,
                              v->kind == DHC_V_TENSOR && !typed ? -1
                              : v->kind == DHC_V_BOOL           ? DHC_BOOL
                                                                : (int)dtype);
  return dhc_v_tensor(t ? dhc_b_broadcast(dhc_at(cx, c->at), t, dim, rank) : NULL);
}

DhcVal dhc_bi_iota(DhcCx *cx, DhcBuiltinCall *c) {
  const DhcDim *n;
  dhc_dtype dtype = DHC_F32;
  if (!running(cx, c) || !dhc_want_dim(cx, &c->arg[0], c->span[0], dhc_bi_what(cx, c, 0), &n))
    return dhc_v_error();
  if (dhc_bi_given(c, 1) && !dhc_want_dtype(cx, &c->arg[1], c->span[1], dhc_bi_what(cx, c, 1), &dtype))
    return dhc_v_error();
  DhcAttr attrs[3] = {dhc_attr_int(0), dhc_attr_dtype(dtype), dhc_attr_dims(cx->m->module, &n, 1)};
  return build(cx, c, DHC_OP_IOTA, NULL, 0, attrs, 3);
}

/* The site's number is stable: the owning instance's path (or the tensor's, in an
 * initialiser) and a count of draws there. */
DhcVal dhc_bi_random_bits(DhcCx *cx, DhcBuiltinCall *c) {
  int rank, k = -1;
  const DhcDim *dim[DHC_MAX_RANK];
  if (!running(cx, c) || !dhc_want_shape(cx, &c->arg[0], c->span[0], dhc_bi_what(cx, c, 0), &rank, dim))
    return dhc_v_error();
  DhcRun *run = cx->run;
  const char *path = run->init_path ? run->init_path : cx->owner ? cx->owner->path : "";
  for (int i = 0; i < run->site_path.n; i++)
    if (!strcmp(run->site_path.at[i], path)) k = i;
  if (k < 0) {
    DHC_PUSH(dhc_cx_arena(cx), &run->site_path, path);
    DHC_PUSH(dhc_cx_arena(cx), &run->site_count, 0);
    k = run->site_count.n - 1;
  }
  int count = run->site_count.at[k]++;
  dhc_at(cx, c->at);
  int64_t site = dhc_site_of(dhc_arena_printf(dhc_cx_arena(cx), "%s#%d", path, count));
  DhcValue *args[4] = {dhc_fn_seed(cx), dhc_fn_i64(cx, site), dhc_fn_step(cx), dhc_fn_draw_from(cx, dim, rank)};
  DhcAttr attr = dhc_attr_dims(cx->m->module, dim, rank);
  return build(cx, c, DHC_OP_RANDOM_BITS, args, args[3] ? 4 : 3, &attr, 1);
}

/* ---- views ------------------------------------------------------------------------------------- */

DhcVal dhc_bi_cast(DhcCx *cx, DhcBuiltinCall *c) {
  dhc_dtype dtype;
  if (!dhc_want_dtype(cx, &c->arg[1], c->span[1], dhc_bi_what(cx, c, 1), &dtype)) return dhc_v_error();
  DhcValue *x = dhc_bi_tensor(cx, c, 0, dhc_val_is_number(&c->arg[0]) ? (int)dtype : -1);
  return dhc_v_tensor(x ? dhc_b_cast(dhc_at(cx, c->at), x, dtype) : NULL);
}

/* One -1 takes what is left, if the quotient is a dim. */
static bool infer_extent(DhcCx *cx, DhcBuiltinCall *c, const DhcValue *x, int rank, const DhcDim **dim) {
  DhcDims *ds = dims_of(cx);
  int hole = -1;
  const DhcDim *rest = dhc_dim_const(ds, 1);
  for (int i = 0; i < rank; i++) {
    if (dhc_dim_is(dim[i], -1)) {
      if (hole >= 0) {
        dhc_err(cx, "E0308", c->span[1], "reshape: only one extent may be -1");
        return false;
      }
      hole = i;
    } else {
      rest = dhc_dim_mul(ds, rest, dim[i]);
    }
  }
  if (hole < 0) return true;
  const DhcDim *all = dhc_dim_product(ds, x->type.dim, x->type.rank);
  dim[hole] = dhc_dim_divide(ds, all, rest);
  if (dim[hole]) return true;
  DhcDiag *d = dhc_err(cx, "E0308", c->at, "reshape: %s elements of %s are no multiple of %s",
                       dhc_say_dim(cx, all), dhc_say_type(cx, &x->type), dhc_say_dim(cx, rest));
  dhc_note_operand(cx, d, &c->arg[0]);
  return false;
}

/* Takes out of both what they have in common, symbol by symbol. */
static const DhcDim *cancel(DhcDims *ds, const DhcDim **a, const DhcDim **b) {
  const DhcDim *common = dhc_dim_const(ds, 1);
  const char *names[32];
  int n = dhc_dim_symbols(*a, names, 32);
  for (int i = 0; i < n; i++)
    for (;;) {
      const DhcDim *s = dhc_dim_symbol(ds, names[i]), *p = dhc_dim_divide(ds, *a, s),
                   *q = dhc_dim_divide(ds, *b, s);
      if (!p || !q) break;
      *a = p;
      *b = q;
      common = dhc_dim_mul(ds, common, s);
    }
  return common;
}

static DhcVal elements_differ(DhcCx *cx, DhcBuiltinCall *c, const DhcValue *x, const DhcDim *a,
                              const DhcDim *b) {
  DhcDiag *d = dhc_err(cx, "E0308", c->at, "reshape: %s has %s elements, the new shape %s",
                       dhc_say_type(cx, &x->type), dhc_say_dim(cx, a), dhc_say_dim(cx, b));
  dhc_note_operand(cx, d, &c->arg[0]);
  cancel(dims_of(cx), &a, &b);
  if (!dhc_dim_is_const(a, NULL) || !dhc_dim_is_const(b, NULL))
    dhc_err_hint(cx, d, "these are not known to be equal; say so with `require %s == %s`", dhc_say_dim(cx, a),
                 dhc_say_dim(cx, b));
  return dhc_v_error();
}

DhcVal dhc_bi_reshape(DhcCx *cx, DhcBuiltinCall *c) {
  int rank;
  const DhcDim *dim[DHC_MAX_RANK];
  DhcValue *x = dhc_bi_tensor(cx, c, 0, -1);
  if (!x || !dhc_want_shape(cx, &c->arg[1], c->span[1], dhc_bi_what(cx, c, 1), &rank, dim))
    return dhc_v_error();
  if (!infer_extent(cx, c, x, rank, dim)) return dhc_v_error();
  const DhcDim *all = dhc_dim_product(dims_of(cx), x->type.dim, x->type.rank), *a = all;
  const DhcDim *want = dhc_dim_product(dims_of(cx), dim, rank), *b = want;
  DhcBuilder *bd = dhc_at(cx, c->at);
  if (a == b) return dhc_v_tensor(dhc_b_reshape(bd, x, dim, rank));
  const DhcDim *two[2] = {cancel(dims_of(cx), &a, &b), NULL};
  if (!dhc_same_dim(cx, a, b)) return elements_differ(cx, c, x, all, want);
  two[1] = a; /* equal by a require: the whole of [.., a] read as [.., b] */
  x = dhc_b_reshape(bd, x, two, 2);
  two[1] = b;
  x = dhc_align(cx, x, two, 2);
  return dhc_v_tensor(x ? dhc_b_reshape(bd, x, dim, rank) : NULL);
}

DhcVal dhc_bi_flatten(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *x = dhc_bi_tensor(cx, c, 0, -1);
  if (!x) return dhc_v_error();
  int rank = x->type.rank, n = 0;
  int64_t a, b;
  const DhcDim *dim[DHC_MAX_RANK + 1];
  if (rank == 0) {
    dim[0] = dhc_dim_const(dims_of(cx), 1);
    return dhc_v_tensor(dhc_b_reshape(dhc_at(cx, c->at), x, dim, 1));
  }
  /* An end before the start is an empty run of dims: flatten(x, 0, -2) of a vector is [1, n]. */
  bool empty = c->arg[2].kind == DHC_V_INT && c->arg[2].i < 0 && c->arg[2].i + rank == -1;
  if (!dhc_bi_axis(cx, c, 1, rank, 0, &a)) return dhc_v_error();
  if (empty)
    b = -1;
  else if (!dhc_bi_axis(cx, c, 2, rank, -1, &b))
    return dhc_v_error();
  for (int i = 0; i < a; i++) dim[n++] = x->type.dim[i];
  dim[n++] = dhc_dim_product(dims_of(cx), x->type.dim + a, b >= a ? (int)(b - a + 1) : 0);
  for (int i = (int)(b >= a ? b + 1 : a); i < rank; i++) dim[n++] = x->type.dim[i];
  return dhc_v_tensor(dhc_b_reshape(dhc_at(cx, c->at), x, dim, n));
}

DhcVal dhc_bi_transpose(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *x = dhc_bi_tensor(cx, c, 0, -1);
  const DhcVal *p = &c->arg[1];
  if (!x) return dhc_v_error();
  int rank = x->type.rank;
  if (p->kind != DHC_V_LIST || p->list.n != rank) {
    DhcDiag *d =
        dhc_err(cx, "E0308", c->span[1], "transpose: needs a permutation of the %d dims of %s, got %s", rank,
                dhc_say_type(cx, &x->type), dhc_say_val(cx, p));
    dhc_note_operand(cx, d, &c->arg[0]);
    return dhc_v_error();
  }
  int64_t perm[DHC_MAX_RANK];
  bool seen[DHC_MAX_RANK] = {false};
  for (int i = 0; i < rank; i++) {
    if (!dhc_want_int(cx, &p->list.at[i], c->span[1], dhc_bi_what(cx, c, 1), &perm[i])) return dhc_v_error();
    if (perm[i] < 0) perm[i] += rank;
    if (perm[i] < 0 || perm[i] >= rank || seen[perm[i]]) {
      dhc_err(cx, "E0308", c->span[1], "transpose: %s is no permutation of %d dims", dhc_say_val(cx, p),
              rank);
      return dhc_v_error();
    }
    seen[perm[i]] = true;
  }
  return dhc_v_tensor(dhc_b_transpose(dhc_at(cx, c->at), x, perm));
}

DhcVal dhc_bi_broadcast(DhcCx *cx, DhcBuiltinCall *c) {
  int rank;
  const DhcDim *dim[DHC_MAX_RANK];
  DhcVal *v = &c->arg[0];
  if (!running(cx, c)) return dhc_v_error();
  DhcValue *x = dhc_bi_tensor(cx, c, 0, v->kind == DHC_V_INT || v->kind == DHC_V_DIM ? DHC_F32 : -1);
  if (!x || !dhc_want_shape(cx, &c->arg[1], c->span[1], dhc_bi_what(cx, c, 1), &rank, dim))
    return dhc_v_error();
  return dhc_v_tensor(dhc_b_broadcast(dhc_at(cx, c->at), x, dim, rank));
}

DhcVal dhc_bi_reverse(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *x = dhc_bi_tensor(cx, c, 0, -1);
  int64_t axis;
  if (!x || !dhc_bi_axis(cx, c, 1, x->type.rank, 0, &axis)) return dhc_v_error();
  DhcAttr attr = dhc_attr_ints(cx->m->module, &axis, 1);
  return build(cx, c, DHC_OP_REVERSE, &x, 1, &attr, 1);
}

/* ---- joining and cutting ---------------------------------------------------------------------------- */

static bool list_of_tensors(DhcCx *cx, DhcBuiltinCall *c, DhcValue ***out, int *n) {
  const DhcVal *v = &c->arg[0];
  if ((v->kind != DHC_V_LIST && v->kind != DHC_V_TUPLE) || v->list.n == 0) {
    dhc_err(cx, "E0303", c->span[0], "%s takes a list of tensors, got %s", c->name, dhc_say_kind(cx, v));
    return false;
  }
  int want = -1;
  for (int i = 0; i < v->list.n && want < 0; i++)
    if (v->list.at[i].kind == DHC_V_TENSOR) want = (int)v->list.at[i].t->type.dtype;
  *n = v->list.n;
  *out = DHC_NEW_N(dhc_cx_arena(cx), DhcValue *, *n);
  for (int i = 0; i < *n; i++)
    if (!((*out)[i] = dhc_as_tensor(cx, &v->list.at[i], want, c->span[0]))) return false;
  return true;
}

DhcVal dhc_bi_concat(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue **xs;
  int n;
  int64_t axis;
  if (!list_of_tensors(cx, c, &xs, &n) || !dhc_bi_axis(cx, c, 1, xs[0]->type.rank, 0, &axis))
    return dhc_v_error();
  return dhc_v_tensor(dhc_b_concat(dhc_at(cx, c->at), xs, n, (int)axis));
}

DhcVal dhc_bi_stack(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue **xs;
  int n;
  int64_t axis;
  if (!list_of_tensors(cx, c, &xs, &n) || !dhc_bi_axis(cx, c, 1, xs[0]->type.rank + 1, 0, &axis))
    return dhc_v_error();
  for (int i = 0; i < n; i++) {
    const DhcDim *dim[DHC_MAX_RANK + 1];
    int rank = xs[i]->type.rank;
    if (rank >= DHC_MAX_RANK || axis > rank) {
      dhc_err(cx, "E0308", c->at, "stack: %s does not take axis %lld", dhc_say_type(cx, &xs[i]->type),
              (long long)axis);
      return dhc_v_error();
    }
    for (int k = 0; k < axis; k++) dim[k] = xs[i]->type.dim[k];
    dim[axis] = dhc_dim_const(dims_of(cx), 1);
    for (int k = (int)axis; k < rank; k++) dim[k + 1] = xs[i]->type.dim[k];
    xs[i] = dhc_b_reshape(dhc_at(cx, c->at), xs[i], dim, rank + 1);
  }
  return dhc_v_tensor(dhc_b_concat(dhc_at(cx, c->at), xs, n, (int)axis));
}

/* Extents of the parts along an axis of extent `whole`; false after an error. */
static bool split_sizes(DhcCx *cx, DhcBuiltinCall *c, const DhcDim *whole, const DhcDim **size, int *n) {
  const DhcVal *p = &c->arg[1];
  DhcDims *ds = dims_of(cx);
  const DhcDim *sum = dhc_dim_const(ds, 0);
  if (p->kind == DHC_V_LIST) {
    *n = p->list.n;
    for (int i = 0; i < *n && i < DHC_MAX_RESULTS; i++) {
      if (!dhc_want_dim(cx, &p->list.at[i], c->span[1], dhc_bi_what(cx, c, 1), &size[i])) return false;
      sum = dhc_dim_add(ds, sum, size[i]);
    }
    if (*n > 0 && *n <= DHC_MAX_RESULTS && dhc_same_dim(cx, sum, whole)) return true;
    dhc_err(cx, "E0308", c->at, "split: parts %s add up to %s, the axis has %s", dhc_say_val(cx, p),
            dhc_say_dim(cx, sum), dhc_say_dim(cx, whole));
    return false;
  }
  int64_t k;
  if (!dhc_want_int(cx, p, c->span[1], dhc_bi_what(cx, c, 1), &k)) return false;
  const DhcDim *each =
      k >= 1 && k <= DHC_MAX_RESULTS ? dhc_dim_divide(ds, whole, dhc_dim_const(ds, k)) : NULL;
  if (!each) {
    DhcDiag *d = dhc_err(cx, "E0308", c->at, "split: %s cannot be cut into %lld equal parts",
                         dhc_say_dim(cx, whole), (long long)k);
    dhc_note_operand(cx, d, &c->arg[0]);
    return false;
  }
  *n = (int)k;
  for (int i = 0; i < *n; i++) size[i] = each;
  return true;
}

DhcVal dhc_bi_split(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *x = dhc_bi_tensor(cx, c, 0, -1);
  int64_t axis;
  int n = 0;
  if (!x || !dhc_bi_axis(cx, c, 2, x->type.rank, -1, &axis)) return dhc_v_error();
  const DhcDim **size = DHC_NEW_N(dhc_cx_arena(cx), const DhcDim *, DHC_MAX_RESULTS);
  if (!split_sizes(cx, c, x->type.dim[axis], size, &n)) return dhc_v_error();
  DhcVal *v = DHC_NEW_N(dhc_cx_arena(cx), DhcVal, n);
  const DhcDim *start = dhc_dim_const(dims_of(cx), 0);
  for (int i = 0; i < n; i++) {
    v[i] = dhc_v_tensor(dhc_b_slice(dhc_at(cx, c->at), x, (int)axis, start, size[i]));
    start = dhc_dim_add(dims_of(cx), start, size[i]);
  }
  return dhc_v_list(cx, DHC_V_LIST, v, n);
}

DhcVal dhc_bi_pad(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *x = dhc_bi_tensor(cx, c, 0, -1);
  int64_t axis;
  if (!x || !dhc_bi_axis(cx, c, 1, x->type.rank, 0, &axis)) return dhc_v_error();
  const DhcDim *zero = dhc_dim_const(dims_of(cx), 0), *low[DHC_MAX_RANK], *high[DHC_MAX_RANK];
  int64_t step[DHC_MAX_RANK];
  for (int i = 0; i < x->type.rank; i++) {
    low[i] = high[i] = zero;
    step[i] = 1;
  }
  if (dhc_bi_given(c, 2) && !dhc_want_dim(cx, &c->arg[2], c->span[2], dhc_bi_what(cx, c, 2), &low[axis]))
    return dhc_v_error();
  if (dhc_bi_given(c, 3) && !dhc_want_dim(cx, &c->arg[3], c->span[3], dhc_bi_what(cx, c, 3), &high[axis]))
    return dhc_v_error();
  DhcModule *m = cx->m->module;
  DhcAttr attrs[3] = {dhc_attr_dims(m, low, x->type.rank), dhc_attr_dims(m, high, x->type.rank),
                      dhc_attr_ints(m, step, x->type.rank)};
  DhcVal v = build(cx, c, DHC_OP_PAD, &x, 1, attrs, 3);
  if (!dhc_bi_given(c, 4) || v.kind != DHC_V_TENSOR) return v;
  DhcType inside = x->type; /* of what was there a mask, so that any value may surround it */
  inside.dtype = DHC_BOOL;
  DhcValue *is = dhc_b_fill(dhc_at(cx, c->at), &inside, 1);
  DhcVal three[3] = {build(cx, c, DHC_OP_PAD, &is, 1, attrs, 3), v, c->arg[4]};
  return dhc_elementwise(cx, DHC_OP_SELECT, three, 3, c->at);
}

/* ---- moves by index
 * ---------------------------------------------------------------------------------------- */

DhcVal dhc_bi_gather(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *args[2] = {dhc_bi_tensor(cx, c, 0, -1), dhc_bi_tensor(cx, c, 1, -1)};
  int64_t axis;
  if (!args[0] || !dhc_bi_axis(cx, c, 2, args[0]->type.rank, 0, &axis)) return dhc_v_error();
  DhcAttr attr = dhc_attr_int(axis);
  return build(cx, c, DHC_OP_GATHER, args, 2, &attr, 1);
}

DhcVal dhc_bi_scatter_add(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *args[3] = {dhc_bi_tensor(cx, c, 0, -1), dhc_bi_tensor(cx, c, 1, -1), dhc_bi_tensor(cx, c, 2, -1)};
  int64_t axis;
  if (!args[0] || !dhc_bi_axis(cx, c, 3, args[0]->type.rank, 0, &axis)) return dhc_v_error();
  DhcAttr attr = dhc_attr_int(axis);
  return build(cx, c, DHC_OP_SCATTER_ADD, args, 3, &attr, 1);
}

DhcVal dhc_bi_take_along(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *args[2] = {dhc_bi_tensor(cx, c, 0, -1), dhc_bi_tensor(cx, c, 1, -1)};
  int64_t axis;
  if (!args[0] || !dhc_bi_axis(cx, c, 2, args[0]->type.rank, -1, &axis)) return dhc_v_error();
  DhcAttr attr = dhc_attr_int(axis);
  return build(cx, c, DHC_OP_TAKE_ALONG, args, 2, &attr, 1);
}

DhcVal dhc_bi_put_along(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *args[2] = {dhc_bi_tensor(cx, c, 0, -1), dhc_bi_tensor(cx, c, 1, -1)};
  int64_t axis;
  const DhcDim *size;
  if (!args[0] || !dhc_bi_axis(cx, c, 3, args[0]->type.rank, -1, &axis) ||
      !dhc_want_dim(cx, &c->arg[2], c->span[2], dhc_bi_what(cx, c, 2), &size))
    return dhc_v_error();
  DhcAttr attrs[2] = {dhc_attr_int(axis), dhc_attr_dim(size)};
  return build(cx, c, DHC_OP_PUT_ALONG, args, 2, attrs, 2);
}

DhcVal dhc_bi_dynamic_slice(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *args[2] = {dhc_bi_tensor(cx, c, 0, -1), dhc_bi_tensor(cx, c, 1, DHC_I64)};
  int64_t axis;
  const DhcDim *size;
  if (!args[0] || !dhc_bi_axis(cx, c, 3, args[0]->type.rank, 0, &axis) ||
      !dhc_want_dim(cx, &c->arg[2], c->span[2], dhc_bi_what(cx, c, 2), &size))
    return dhc_v_error();
  DhcAttr attrs[2] = {dhc_attr_int(axis), dhc_attr_dim(size)};
  return build(cx, c, DHC_OP_DYNAMIC_SLICE, args, 2, attrs, 2);
}

DhcVal dhc_bi_dynamic_update(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *args[3] = {dhc_bi_tensor(cx, c, 0, -1), dhc_bi_tensor(cx, c, 1, -1),
                       dhc_bi_tensor(cx, c, 2, DHC_I64)};
  int64_t axis;
  if (!args[0] || !dhc_bi_axis(cx, c, 3, args[0]->type.rank, 0, &axis)) return dhc_v_error();
  DhcAttr attr = dhc_attr_int(axis);
  return build(cx, c, DHC_OP_DYNAMIC_UPDATE, args, 3, &attr, 1);
}
