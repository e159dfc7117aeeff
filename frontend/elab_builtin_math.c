/* Builtins that reduce, contract, convolve, scan and route. */
#include "frontend/elab_builtin.h"

static DhcVal results(DhcCx *cx, DhcNode *n) {
  if (!n) return dhc_v_error();
  DhcVal v[4];
  for (int i = 0; i < n->n_results && i < 4; i++) v[i] = dhc_v_tensor(n->results[i]);
  return n->n_results == 1 ? v[0] : dhc_v_list(cx, DHC_V_TUPLE, v, n->n_results);
}

/* ---- reductions ----------------------------------------------------------------------------- */

/* Argument i as axes of `rank` dims, each once; all of them if it is not given. */
static bool axes_of(DhcCx *cx, DhcBuiltinCall *c, int i, int rank, int64_t *axes, int *n) {
  const DhcVal *v = &c->arg[i];
  *n = 0;
  if (!dhc_bi_given(c, i)) {
    for (; *n < rank; ++*n) axes[*n] = *n;
    return true;
  }
  bool list = v->kind == DHC_V_LIST;
  int count = list ? v->list.n : 1;
  bool on[DHC_MAX_RANK] = {false};
  for (int k = 0; k < count; k++) {
    int64_t a;
    if (!dhc_want_int(cx, list ? &v->list.at[k] : v, c->span[i], dhc_bi_what(cx, c, i), &a)) return false;
    int64_t at = a < 0 ? a + rank : a;
    if (at < 0 || at >= rank || on[at]) {
      DhcDiag *d = dhc_err(cx, "E0308", c->span[i],
                           at >= 0 && at < rank ? "%s: axis %lld is given twice, rank %d"
                                                : "%s: axis %lld is outside a rank of %d",
                           c->name, (long long)a, rank);
      dhc_note_operand(cx, d, &c->arg[0]);
      return false;
    }
    on[at] = true;
  }
  for (int k = 0; k < rank; k++)
    if (on[k]) axes[(*n)++] = k;
  return true;
}

static DhcVal reduce(DhcCx *cx, DhcBuiltinCall *c, DhcOp op, int axis_arg, const DhcDim **count) {
  DhcValue *x = dhc_bi_tensor(cx, c, 0, -1);
  int64_t axes[DHC_MAX_RANK];
  int n;
  bool keep;
  if (x && x->type.dtype == DHC_BOOL) {
    DhcDiag *d = dhc_err(cx, "E0310", c->at, "%s: needs numbers, got %s", c->name, dhc_say_type(cx, &x->type));
    dhc_err_hint(cx, d, "count by %s(float(…)); any and all ask whether some or every one is true", c->name);
    dhc_note_operand(cx, d, &c->arg[0]);
    return dhc_v_error();
  }
  if (!x || !axes_of(cx, c, axis_arg, x->type.rank, axes, &n) ||
      !dhc_bi_bool(cx, c, axis_arg + 1, false, &keep))
    return dhc_v_error();
  if (count) {
    *count = dhc_dim_const(dhc_cx_dims(cx), 1);
    for (int i = 0; i < n; i++) *count = dhc_dim_mul(dhc_cx_dims(cx), *count, x->type.dim[axes[i]]);
  }
  return dhc_v_tensor(dhc_b_reduce(dhc_at(cx, c->at), op, x, axes, n, keep));
}

/* A compile-time list of numbers or tensors, added up element by element. */
static DhcVal sum_list(DhcCx *cx, DhcBuiltinCall *c) {
  const DhcVal *v = &c->arg[0];
  DhcVal r = v->list.n ? v->list.at[0] : dhc_v_float(cx, 0);
  for (int i = 1; i < v->list.n; i++) r = dhc_eval_binary(cx, DHC_BI_ADD, r, v->list.at[i], c->at);
  return r;
}

DhcVal dhc_bi_sum(DhcCx *cx, DhcBuiltinCall *c) {
  if (c->arg[0].kind == DHC_V_LIST && !dhc_bi_given(c, 1)) return sum_list(cx, c);
  return reduce(cx, c, DHC_OP_REDUCE_SUM, 1, NULL);
}

DhcVal dhc_bi_mean(DhcCx *cx, DhcBuiltinCall *c) {
  const DhcDim *n = NULL;
  DhcVal s;
  if (c->arg[0].kind == DHC_V_LIST && c->arg[0].list.n && !dhc_bi_given(c, 1)) {
    s = sum_list(cx, c);
    n = dhc_dim_const(dhc_cx_dims(cx), c->arg[0].list.n);
  } else {
    s = reduce(cx, c, DHC_OP_REDUCE_SUM, 1, &n);
    if (s.kind == DHC_V_TENSOR) { /* a size, not a literal: models of other widths share the kernel */
      DhcBuilder *b = dhc_at(cx, c->at);
      DhcVal size = dhc_v_tensor(dhc_b_cast(b, dhc_b_dim(b, n), s.t->type.dtype));
      return dhc_eval_binary(cx, DHC_BI_DIV, s, size, c->at);
    }
  }
  if (s.kind == DHC_V_ERROR) return s;
  return dhc_eval_binary(cx, DHC_BI_DIV, s, dhc_v_dim(n), c->at);
}

/* max(x, y) element by element, max(x, axis = a) along axes. */
static DhcVal extreme(DhcCx *cx, DhcBuiltinCall *c, DhcOp ew, DhcOp red) {
  if (dhc_bi_given(c, 1)) {
    DhcVal two[2] = {c->arg[0], c->arg[1]};
    if (dhc_bi_given(c, 2) || dhc_bi_given(c, 3)) {
      dhc_err(cx, "E0306", c->at, "%s takes two operands, or one and an axis", c->name);
      return dhc_v_error();
    }
    return dhc_elementwise(cx, ew, two, 2, c->at);
  }
  if (c->arg[0].kind == DHC_V_LIST && !dhc_bi_given(c, 2) && c->arg[0].list.n) {
    DhcVal r = c->arg[0].list.at[0];
    for (int i = 1; i < c->arg[0].list.n; i++) {
      DhcVal two[2] = {r, c->arg[0].list.at[i]};
      r = dhc_elementwise(cx, ew, two, 2, c->at);
    }
    return r;
  }
  return reduce(cx, c, red, 2, NULL);
}

DhcVal dhc_bi_max(DhcCx *cx, DhcBuiltinCall *c) {
  return extreme(cx, c, DHC_OP_MAX, DHC_OP_REDUCE_MAX);
}
DhcVal dhc_bi_min(DhcCx *cx, DhcBuiltinCall *c) {
  return extreme(cx, c, DHC_OP_MIN, DHC_OP_REDUCE_MIN);
}

DhcVal dhc_bi_argmax(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *x = dhc_bi_tensor(cx, c, 0, -1);
  int64_t axis;
  if (!x || !dhc_bi_axis(cx, c, 1, x->type.rank, -1, &axis)) return dhc_v_error();
  DhcAttr attr = dhc_attr_int(axis);
  DhcValue *v = dhc_build1(dhc_at(cx, c->at), DHC_OP_ARGMAX, &x, 1, &attr, 1);
  return dhc_v_tensor(v ? dhc_b_cast(&cx->fn->b, v, DHC_I64) : NULL);
}

/* ---- contractions ------------------------------------------------------------------------------- */

DhcVal dhc_bi_matmul(DhcCx *cx, DhcBuiltinCall *c) {
  return dhc_matmul(cx, &c->arg[0], &c->arg[1], c->at);
}

DhcVal dhc_bi_einsum(DhcCx *cx, DhcBuiltinCall *c) {
  const char *spec;
  if (!dhc_want_string(cx, &c->arg[0], c->span[0], dhc_bi_what(cx, c, 0), &spec)) return dhc_v_error();
  return dhc_einsum(cx, spec, c->arg + 1, c->n_args - 1, c->at);
}

/* An int for all axes, or a list of one each. */
static bool per_axis(DhcCx *cx, DhcBuiltinCall *c, int i, int n, int64_t or_else, int64_t min, int64_t *out) {
  for (int k = 0; k < n; k++) out[k] = or_else;
  if (!dhc_bi_given(c, i)) return true;
  const DhcVal *v = &c->arg[i];
  bool list = v->kind == DHC_V_LIST;
  if (list && v->list.n != n) {
    dhc_err(cx, "E0308", c->span[i], "%s needs %d values, got %d", dhc_bi_what(cx, c, i), n, v->list.n);
    return false;
  }
  for (int k = 0; k < n; k++) {
    if (!dhc_want_int(cx, list ? &v->list.at[k] : v, c->span[i], dhc_bi_what(cx, c, i), &out[k]))
      return false;
    if (out[k] < min) {
      dhc_err(cx, "E0304", c->span[i], "%s must be at least %lld, got %lld", dhc_bi_what(cx, c, i),
              (long long)min, (long long)out[k]);
      return false;
    }
  }
  return true;
}

DhcVal dhc_bi_conv(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *args[2] = {dhc_bi_tensor(cx, c, 0, -1), dhc_bi_tensor(cx, c, 1, -1)};
  if (!args[0] || !args[1]) return dhc_v_error();
  int n = args[1]->type.rank - 2;
  if (n < 1 || args[0]->type.rank != n + 2) {
    DhcDiag *d = dhc_err(cx, "E0308", c->at,
                         "conv: needs x [N, C, ...] and w [O, C/groups, ...] of one rank, got %s and %s",
                         dhc_say_type(cx, &args[0]->type), dhc_say_type(cx, &args[1]->type));
    dhc_note_operand(cx, d, &c->arg[0]);
    dhc_note_operand(cx, d, &c->arg[1]);
    return dhc_v_error();
  }
  int64_t stride[DHC_MAX_RANK], low[DHC_MAX_RANK], high[DHC_MAX_RANK], dilation[DHC_MAX_RANK], groups = 1;
  if (!per_axis(cx, c, 2, n, 1, 1, stride) || !per_axis(cx, c, 3, n, 0, 0, low) ||
      !per_axis(cx, c, 3, n, 0, 0, high) || !per_axis(cx, c, 4, n, 1, 1, dilation) ||
      !per_axis(cx, c, 5, 1, 1, 1, &groups))
    return dhc_v_error();
  if (dhc_bi_given(c, 6) && !per_axis(cx, c, 6, n, 0, 0, low)) return dhc_v_error();
  if (dhc_bi_given(c, 7) && !per_axis(cx, c, 7, n, 0, 0, high)) return dhc_v_error();
  DhcModule *m = cx->m->module;
  DhcAttr attrs[5] = {dhc_attr_ints(m, stride, n), dhc_attr_ints(m, low, n), dhc_attr_ints(m, high, n),
                      dhc_attr_ints(m, dilation, n), dhc_attr_int(groups)};
  return dhc_v_tensor(dhc_build1(dhc_at(cx, c->at), DHC_OP_CONV, args, 2, attrs, 5));
}

/* What conv has as the derivative of its input: x [N, C, ...], w [C, O/groups, ...] as PyTorch has them. */
DhcVal dhc_bi_conv_transpose(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *args[2] = {dhc_bi_tensor(cx, c, 0, -1), dhc_bi_tensor(cx, c, 1, -1)};
  if (!args[0] || !args[1]) return dhc_v_error();
  int n = args[1]->type.rank - 2;
  if (n < 1 || args[0]->type.rank != n + 2) {
    DhcDiag *d = dhc_err(cx, "E0308", c->at, "conv_transpose: needs x [N, C, ...] and w [C, O/groups, ...] of one rank, got %s and %s",
                         dhc_say_type(cx, &args[0]->type), dhc_say_type(cx, &args[1]->type));
    dhc_note_operand(cx, d, &c->arg[0]);
    dhc_note_operand(cx, d, &c->arg[1]);
    return dhc_v_error();
  }
  int64_t stride[DHC_MAX_RANK], padding[DHC_MAX_RANK], more[DHC_MAX_RANK], dilation[DHC_MAX_RANK], groups = 1;
  if (!per_axis(cx, c, 2, n, 1, 1, stride) || !per_axis(cx, c, 3, n, 0, 0, padding) || !per_axis(cx, c, 4, n, 0, 0, more) ||
      !per_axis(cx, c, 5, n, 1, 1, dilation) || !per_axis(cx, c, 6, 1, 1, 1, &groups))
    return dhc_v_error();
  DhcModule *m = cx->m->module;
  const DhcDim *size[DHC_MAX_RANK];
  for (int i = 0; i < n; i++) {
    if (more[i] >= stride[i]) {
      dhc_err(cx, "E0304", c->at, "conv_transpose: output_padding must be below the stride, got %lld and %lld", (long long)more[i], (long long)stride[i]);
      return dhc_v_error();
    }
    const DhcDim *last = dhc_dim_mul(m->dims, dhc_dim_sub(m->dims, args[0]->type.dim[2 + i], dhc_dim_const(m->dims, 1)), dhc_dim_const(m->dims, stride[i]));
    const DhcDim *reach = dhc_dim_mul(m->dims, dhc_dim_sub(m->dims, args[1]->type.dim[2 + i], dhc_dim_const(m->dims, 1)), dhc_dim_const(m->dims, dilation[i]));
    size[i] = dhc_dim_add(m->dims, dhc_dim_add(m->dims, last, reach), dhc_dim_const(m->dims, 1 + more[i] - 2 * padding[i]));
  }
  DhcAttr attrs[6] = {dhc_attr_ints(m, stride, n),   dhc_attr_ints(m, padding, n), dhc_attr_ints(m, padding, n),
                      dhc_attr_ints(m, dilation, n), dhc_attr_int(groups),         dhc_attr_dims(m, size, n)};
  return dhc_v_tensor(dhc_build1(dhc_at(cx, c->at), DHC_OP_CONV_DX, args, 2, attrs, 6));
}

DhcVal dhc_bi_window_max(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *x = dhc_bi_tensor(cx, c, 0, -1);
  if (!x) return dhc_v_error();
  int n = c->arg[1].kind == DHC_V_LIST ? c->arg[1].list.n : 2;
  if (n < 1 || n > x->type.rank) {
    dhc_err(cx, "E0308", c->at, "window_max: a window over %d axes does not fit %s", n,
            dhc_say_type(cx, &x->type));
    return dhc_v_error();
  }
  int64_t window[DHC_MAX_RANK], stride[DHC_MAX_RANK];
  if (!per_axis(cx, c, 1, n, 1, 1, window)) return dhc_v_error();
  memcpy(stride, window, sizeof stride);
  if (dhc_bi_given(c, 2) && !per_axis(cx, c, 2, n, 1, 1, stride)) return dhc_v_error();
  DhcModule *m = cx->m->module;
  DhcAttr attrs[2] = {dhc_attr_ints(m, window, n), dhc_attr_ints(m, stride, n)};
  return results(cx, dhc_build(dhc_at(cx, c->at), DHC_OP_WINDOW_MAX, &x, 1, attrs, 2));
}

/* ---- recurrences ------------------------------------------------------------------------------------ */

DhcVal dhc_bi_linear_scan(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *args[3] = {dhc_bi_tensor(cx, c, 0, -1), dhc_bi_tensor(cx, c, 1, -1), NULL};
  int64_t axis;
  bool rev, flush, forget;
  if (!args[0] || !args[1] || !dhc_bi_axis(cx, c, 3, args[0]->type.rank, 1, &axis) ||
      !dhc_bi_bool(cx, c, 4, false, &rev) || !dhc_bi_bool(cx, c, 5, false, &flush) || !dhc_bi_bool(cx, c, 6, false, &forget))
    return dhc_v_error();
  DhcType t = args[0]->type;
  for (int k = (int)axis; k + 1 < t.rank; k++) t.dim[k] = t.dim[k + 1];
  t.rank--;
  args[2] = dhc_bi_given(c, 2) ? dhc_bi_tensor(cx, c, 2, -1) : dhc_b_fill(dhc_at(cx, c->at), &t, 0);
  if (!args[2]) return dhc_v_error();
  DhcAttr attrs[4] = {dhc_attr_int(axis), dhc_attr_bool(rev), dhc_attr_bool(flush), dhc_attr_flag(forget)};
  return dhc_v_tensor(dhc_build1(dhc_at(cx, c->at), DHC_OP_LINEAR_SCAN, args, 3, attrs, 4));
}

/* ---- routing ------------------------------------------------------------------------------------------ */

DhcVal dhc_bi_top_k(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *x = dhc_bi_tensor(cx, c, 0, -1);
  int64_t k;
  if (!x || !dhc_want_int(cx, &c->arg[1], c->span[1], dhc_bi_what(cx, c, 1), &k)) return dhc_v_error();
  DhcAttr attr = dhc_attr_int(k);
  return results(cx, dhc_build(dhc_at(cx, c->at), DHC_OP_TOP_K, &x, 1, &attr, 1));
}

DhcVal dhc_bi_route(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *e = dhc_bi_tensor(cx, c, 0, DHC_I32);
  int64_t n;
  if (!e || !dhc_want_int(cx, &c->arg[1], c->span[1], dhc_bi_what(cx, c, 1), &n)) return dhc_v_error();
  DhcAttr attr = dhc_attr_int(n);
  return results(cx, dhc_build(dhc_at(cx, c->at), DHC_OP_ROUTE, &e, 1, &attr, 1));
}

DhcVal dhc_bi_ragged_dot(DhcCx *cx, DhcBuiltinCall *c) {
  DhcValue *args[3] = {dhc_bi_tensor(cx, c, 0, -1), dhc_bi_tensor(cx, c, 1, -1),
                       dhc_bi_tensor(cx, c, 2, DHC_I32)};
  if (!args[0] || !args[1] || !args[2]) return dhc_v_error();
  return dhc_v_tensor(dhc_build1(dhc_at(cx, c->at), DHC_OP_RAGGED_DOT, args, 3, NULL, 0));
}
