/* Arithmetic over compile-time values, dims, run-time scalars and tensors. */
#include "frontend/elab_internal.h"
#include "ir/interp.h"

/* ---- dims: comparing under facts ------------------------------------------------------- */

bool dhc_same_dim(DhcCx *cx, const DhcDim *a, const DhcDim *b) {
  if (a == b) return true;
  if (!cx->fn) return false;
  DhcDims *dims = dhc_cx_dims(cx);
  return dhc_fn_truth(cx, cx->fn, dhc_dim_sub(dims, a, b)) == DHC_TRUE &&
         dhc_fn_truth(cx, cx->fn, dhc_dim_sub(dims, b, a)) == DHC_TRUE;
}

DhcValue *dhc_align(DhcCx *cx, DhcValue *v, const DhcDim *const *dim, int rank) {
  int more = rank - (v ? v->type.rank : 0);
  for (int i = 0; v && i < v->type.rank; i++) {
    const DhcDim *want = i + more >= 0 ? dim[i + more] : v->type.dim[i];
    if (v->type.dim[i] == want || dhc_dim_is(v->type.dim[i], 1) || !dhc_same_dim(cx, v->type.dim[i], want))
      continue;
    v = dhc_b_slice(&cx->fn->b, v, i, dhc_dim_const(dhc_cx_dims(cx), 0), want);
  }
  return v;
}

/* Value of d under the request's extents; false where they do not say. */
static bool hinted(DhcCx *cx, const DhcDim *d, int64_t *out) {
  if (!cx->run) return false;
  d = dhc_fn_to_root(cx->fn, d);
  return dhc_dim_eval(d, cx->run->n_hints, cx->run->hint_name, cx->run->hint_value, out);
}

static void record(DhcCx *cx, const DhcDim *d, const char *a, const char *op, const char *b) {
  const char *text = cx->in_require && cx->require
                         ? cx->require
                         : dhc_arena_printf(dhc_cx_arena(cx), "needs %s %s %s", a, op, b);
  if (cx->run && ++cx->run->n_decisions > DHC_LIMIT_CONDITIONS) {
    DhcDiag *g = dhc_limit_stop(cx, "E0317", cx->fn->b.span, "more than %d conditions on sizes that nothing decides", DHC_LIMIT_CONDITIONS);
    dhc_err_hint(cx, g, "each `if` on dims that nothing decides doubles the versions of the entry; state facts with require");
  }
  dhc_fn_assume(cx, cx->fn, d, (DhcFactMessage){text, cx->in_require ? cx->require_at : cx->fn->b.span});
}

/* What a condition that nothing decides is taken for: true, but where the request wants it otherwise. */
static bool open_condition(DhcCx *cx) {
  if (!cx->run) return true;
  int number = ++cx->run->n_open, flip = cx->run->request ? cx->run->request->flip : 0;
  return flip != number && flip != DHC_FLIP_ALL;
}

bool dhc_decide_ge(DhcCx *cx, const DhcDim *a, const DhcDim *b) {
  DhcDims *dims = dhc_cx_dims(cx);
  const DhcDim *d = dhc_dim_sub(dims, a, b);
  DhcTruth t = cx->fn ? dhc_fn_truth(cx, cx->fn, d) : dhc_dim_le(dims, NULL, b, a);
  if (t != DHC_UNKNOWN || !cx->fn) return t == DHC_TRUE;
  int64_t v = 0;
  bool yes = cx->in_require || (hinted(cx, d, &v) ? v >= 0 : open_condition(cx));
  const DhcDim *ra = dhc_fn_to_root(cx->fn, a), *rb = dhc_fn_to_root(cx->fn, b);
  record(cx, yes ? d : dhc_dim_addc(dims, dhc_dim_mulc(dims, d, -1), -1), dhc_say_dim(cx, ra),
         yes ? ">=" : "<", dhc_say_dim(cx, rb));
  return yes;
}

bool dhc_decide_eq(DhcCx *cx, const DhcDim *a, const DhcDim *b) {
  if (a == b) return true;
  DhcDims *dims = dhc_cx_dims(cx);
  const DhcDim *d = dhc_dim_sub(dims, a, b), *e = dhc_dim_sub(dims, b, a);
  if (!cx->fn) return false;
  DhcTruth p = dhc_fn_truth(cx, cx->fn, d), q = dhc_fn_truth(cx, cx->fn, e);
  if (p == DHC_FALSE || q == DHC_FALSE) return false;
  if (p == DHC_TRUE && q == DHC_TRUE) return true;
  int64_t v = 0;
  if (!cx->in_require && !hinted(cx, d, &v)) v = open_condition(cx) ? 0 : q == DHC_TRUE ? -1 : 1;
  const char *ta = dhc_say_dim(cx, dhc_fn_to_root(cx->fn, a));
  const char *tb = dhc_say_dim(cx, dhc_fn_to_root(cx->fn, b));
  if (v == 0) {
    record(cx, d, ta, "==", tb);
    record(cx, e, ta, "==", tb);
  } else if (v > 0) {
    record(cx, dhc_dim_addc(dims, d, -1), ta, ">", tb);
  } else {
    record(cx, dhc_dim_addc(dims, e, -1), ta, "<", tb);
  }
  return v == 0;
}

/* ---- numbers and tensors as operands ------------------------------------------------------ */

static DhcValue *number_tensor(DhcCx *cx, const DhcVal *v, int want, DhcSpan at) {
  DhcBuilder *b = dhc_at(cx, at);
  if (v->kind == DHC_V_FLOAT) {
    if (want >= 0 && !dhc_dtype_is_float((dhc_dtype)want)) {
      DhcDiag *d = dhc_err(cx, "E0310", at, "a float does not mix with %s", dhc_dtype_name((dhc_dtype)want));
      dhc_err_hint(cx, d, "convert the other operand with float(...)");
      return NULL;
    }
    DhcValue *t = dhc_fn_fx(cx, v->fx);
    return t && want >= 0 ? dhc_b_cast(b, t, (dhc_dtype)want) : t;
  }
  if (want == DHC_BOOL) {
    dhc_err(cx, "E0310", at, "%s does not mix with bool", dhc_say_kind(cx, v));
    return NULL;
  }
  if (v->kind == DHC_V_DIM) {
    DhcValue *t = dhc_b_dim(b, v->dim);
    return want >= 0 && t ? dhc_b_cast(b, t, (dhc_dtype)want) : t;
  }
  if (v->varies && want == DHC_F32) return dhc_fn_fx(cx, dhc_val_fx(cx, v));
  bool exact = v->i >= -(1LL << 53) && v->i <= (1LL << 53);
  if (!exact && (want < 0 || want == DHC_I64)) return dhc_b_dim(b, dhc_dim_const(dhc_cx_dims(cx), v->i));
  return dhc_b_scalar(b, want < 0 ? DHC_I64 : (dhc_dtype)want, (double)v->i);
}

/* [a, b, …] as a tensor: its elements stacked along a new first axis. */
static DhcValue *list_tensor(DhcCx *cx, const DhcVal *v, int want, DhcSpan at) {
  DHC_VEC(DhcValue *) parts = {0};
  if (v->list.n == 0) {
    dhc_err(cx, "E0303", at, "an empty list is no tensor");
    return NULL;
  }
  for (int i = 0; i < v->list.n && want < 0; i++) {
    if (v->list.at[i].kind == DHC_V_TENSOR) want = (int)v->list.at[i].t->type.dtype;
    if (v->list.at[i].kind == DHC_V_FLOAT) want = DHC_F32;
  }
  for (int i = 0; i < v->list.n; i++) {
    DhcValue *t = dhc_as_tensor(cx, &v->list.at[i], want, at);
    if (!t) return NULL;
    if (t->type.rank == DHC_MAX_RANK) {
      dhc_err(cx, "E0308", at, "a stack of tensors of rank %d: at most %d dims are possible", t->type.rank,
              DHC_MAX_RANK);
      return NULL;
    }
    const DhcDim *dim[DHC_MAX_RANK + 1] = {dhc_dim_const(dhc_cx_dims(cx), 1)};
    for (int k = 0; k < t->type.rank; k++) dim[k + 1] = t->type.dim[k];
    DHC_PUSH(dhc_cx_arena(cx), &parts, dhc_b_reshape(dhc_at(cx, at), t, dim, t->type.rank + 1));
  }
  return dhc_b_concat(dhc_at(cx, at), parts.at, parts.n, 0);
}

DhcValue *dhc_as_tensor(DhcCx *cx, const DhcVal *v, int want, DhcSpan at) {
  if (v->kind == DHC_V_ERROR) return NULL;
  if (!cx->fn) {
    dhc_err(cx, "E0307", at, "a tensor is not known here, at compile time");
    return NULL;
  }
  switch (v->kind) {
    case DHC_V_TENSOR:
      if (want >= 0 && (int)v->t->type.dtype != want) {
        DhcDiag *d = dhc_err(cx, "E0310", at, "expected %s, got %s", dhc_dtype_name((dhc_dtype)want),
                             dhc_say_type(cx, &v->t->type));
        dhc_note_operand(cx, d, v);
        dhc_err_hint(cx, d, "nothing is converted silently; use cast(x, %s)",
                     dhc_dtype_name((dhc_dtype)want));
        return NULL;
      }
      return dhc_fn_import(cx->fn, v->t);
    case DHC_V_INT:
    case DHC_V_DIM:
    case DHC_V_FLOAT: return number_tensor(cx, v, want, at);
    case DHC_V_BOOL: {
      if (want >= 0 && want != DHC_BOOL) break;
      return dhc_b_scalar(dhc_at(cx, at), DHC_BOOL, v->b);
    }
    case DHC_V_LIST: return list_tensor(cx, v, want, at);
    default: break;
  }
  DhcDiag *d = dhc_err(cx, "E0303", at, "expected a tensor, got %s", dhc_say_kind(cx, v));
  if (v->kind == DHC_V_LAYER)
    dhc_err_hint(cx, d, "a layer is made as a member, fc = %s(...), and called by that name: fc(x)", v->layer->decl->name.text);
  return NULL;
}

/* Whether a's axes are the first ones of b, which has one more. */
static bool prefix_of(const DhcType *a, const DhcType *b) {
  if (!a->rank || b->rank != a->rank + 1) return false;
  for (int i = 0; i < a->rank; i++)
    if (a->dim[i] != b->dim[i]) return false;
  return true;
}

static const char *shape_list(DhcCx *cx, const DhcType *t) {
  DhcText s = {.arena = dhc_cx_arena(cx)};
  for (int i = 0; i < t->rank; i++) dhc_text_printf(&s, "%s%s", i ? ", " : "", dhc_say_dim(cx, t->dim[i]));
  return dhc_text_str(&s);
}

bool dhc_broadcast_shape(DhcCx *cx, const char *op, const DhcVal *args, int n, DhcSpan at, int *rank,
                         const DhcDim **dim) {
  *rank = 0;
  for (int i = 0; i < n; i++)
    if (args[i].t->type.rank > *rank) *rank = args[i].t->type.rank;
  for (int k = 1; k <= *rank; k++) {
    const DhcDim *d = NULL;
    int from = -1;
    for (int i = 0; i < n; i++) {
      const DhcType *t = &args[i].t->type;
      if (k > t->rank) continue;
      const DhcDim *x = t->dim[t->rank - k];
      if (!d || (dhc_dim_is(d, 1) && !dhc_dim_is(x, 1))) {
        d = x;
        from = i;
      } else if (d != x && !dhc_dim_is(x, 1) && !dhc_same_dim(cx, d, x)) {
        const DhcType *u = &args[from].t->type;
        const char *oi = dhc_say_origin(cx, &args[from]), *oj = dhc_say_origin(cx, &args[i]);
        DhcDiag *g = dhc_err(cx, "E0308", at, "%s: shapes differ: %s%s%s%s and %s%s%s%s", op,
                             dhc_say_type(cx, u), *oi ? " (" : "", oi, *oi ? ")" : "", dhc_say_type(cx, t),
                             *oj ? " (" : "", oj, *oj ? ")" : "");
        dhc_note_operand(cx, g, &args[from]);
        dhc_note_operand(cx, g, &args[i]);
        const char *dd = dhc_say_dim(cx, d), *dx = dhc_say_dim(cx, x);
        if (prefix_of(t, u) || prefix_of(u, t)) {
          const DhcType *less = prefix_of(t, u) ? t : u;
          dhc_err_hint(cx, g, "shapes meet at their last axes: give the smaller one an axis there, reshape(…, [%s%s1])",
                       shape_list(cx, less), less->rank ? ", " : "");
        } else if (!dhc_dim_is_const(d, NULL) || !dhc_dim_is_const(x, NULL))
          dhc_err_hint(cx, g,
                       "%s and %s are not known to be equal: say so with `require %s == %s`; only an extent "
                       "known to be 1 stretches",
                       dd, dx, dd, dx);
        return false;
      }
    }
    dim[*rank - k] = d;
  }
  return true;
}

/* ---- elementwise ------------------------------------------------------------------------------ */

static DhcVal int_op(DhcCx *cx, DhcOp op, const DhcVal *args, DhcSpan at, bool *done) {
  DhcScalar v[3] = {{.i = args[0].i}, {.i = args[1].i}};
  *done = dhc_op_info(op)->types == DHC_EW_arith;
  if (!*done) return dhc_v_error();
  DhcVal out = dhc_v_int(0);
  out.varies = args[0].varies || args[1].varies;
  if (dhc_eval_int(op, v, &out.i)) return out;
  dhc_err(cx, "E0304", at, "integer out of range (max 9223372036854775807)");
  return dhc_v_error();
}

static DhcVal checked_dim(DhcCx *cx, const DhcDim *d, DhcSpan at) {
  if (!dhc_dims_overflowed(dhc_cx_dims(cx))) return dhc_v_dim(d);
  DhcDiag *g = dhc_err(cx, "E0304", at, "integer out of range (max 9223372036854775807), or a size of too many parts");
  dhc_err_hint(cx, g, "a size has at most %d terms of %d factors, divisions within divisions %d deep", DHC_LIMIT_DIM_TERMS, DHC_LIMIT_DIM_DEGREE,
               DHC_LIMIT_DIM_NESTING);
  return dhc_v_error();
}

static DhcVal dim_op(DhcCx *cx, DhcOp op, const DhcVal *args, DhcSpan at, bool *done) {
  DhcDims *dims = dhc_cx_dims(cx);
  const DhcDim *a = NULL, *b = NULL;
  *done = true;
  if (!dhc_want_dim(cx, &args[0], at, "operand", &a)) return dhc_v_error();
  if (op != DHC_OP_NEG && op != DHC_OP_ADD && op != DHC_OP_SUB && op != DHC_OP_MUL) {
    *done = false;
    return dhc_v_error();
  }
  if (op == DHC_OP_NEG) return dhc_v_dim(dhc_dim_mulc(dims, a, -1));
  if (!dhc_want_dim(cx, &args[1], at, "operand", &b)) return dhc_v_error();
  const DhcDim *r = op == DHC_OP_ADD   ? dhc_dim_add(dims, a, b)
                    : op == DHC_OP_SUB ? dhc_dim_sub(dims, a, b)
                                       : dhc_dim_mul(dims, a, b);
  return checked_dim(cx, r, at);
}

/* All operands are numbers. *done false: it takes a tensor op. */
static DhcVal number_op(DhcCx *cx, DhcOp op, const DhcVal *args, int n, DhcSpan at, bool *done) {
  bool all_int = true, any_dim = false;
  DhcFx *fx[3] = {NULL, NULL, NULL};
  *done = true;
  for (int i = 0; i < n; i++) {
    all_int = all_int && args[i].kind != DHC_V_FLOAT;
    any_dim = any_dim || args[i].kind == DHC_V_DIM;
    fx[i] = dhc_val_fx(cx, &args[i]);
  }
  if (all_int) {
    DhcVal two[2] = {args[0], n > 1 ? args[1] : dhc_v_int(0)};
    DhcVal r = any_dim ? dim_op(cx, op, two, at, done) : int_op(cx, op, two, at, done);
    if (*done) return r;
  }
  if (any_dim) return dhc_v_error();
  *done = true;
  DhcFx *r = dhc_fx_op(cx, op, fx, n);
  if (r && r->depth > DHC_LIMIT_SCALARS) {
    dhc_limit_stop(cx, "E0315", at, "a float made of more than %d operations on floats known at run time", DHC_LIMIT_SCALARS);
    return dhc_v_error();
  }
  return dhc_v_fx(r);
}

/* Numbers in, a number out: what a value known up to scalars can hold. */
static bool fx_foldable(DhcOp op) {
  DhcEwTypes types = dhc_op_info(op)->types;
  return types == DHC_EW_arith || types == DHC_EW_float;
}

static DhcVal float_only_error(DhcCx *cx, DhcOp op, const DhcVal *v, DhcSpan at) {
  DhcDiag *d = dhc_err(cx, "E0310", at, "%s: needs float operands, got %s", dhc_op_info(op)->name,
                       dhc_say_type(cx, &v->t->type));
  dhc_note_operand(cx, d, v);
  dhc_err_hint(cx, d,
               op == DHC_OP_DIV ? "use // for whole numbers, or float(...)" : "convert with float(...)");
  return dhc_v_error();
}

static bool takes_only_float(DhcOp op) {
  DhcEwTypes types = dhc_op_info(op)->types;
  return types == DHC_EW_float || types == DHC_EW_test;
}

DhcVal dhc_elementwise(DhcCx *cx, DhcOp op, const DhcVal *args, int n, DhcSpan at) {
  bool numbers = true;
  for (int i = 0; i < n; i++) {
    if (args[i].kind == DHC_V_ERROR) return dhc_v_error();
    numbers = numbers && dhc_val_is_number(&args[i]);
  }
  if (numbers && fx_foldable(op)) {
    bool done = false;
    DhcVal r = number_op(cx, op, args, n, at, &done);
    if (done) return r;
  }
  int want = -1, first = op == DHC_OP_SELECT ? 1 : 0;
  bool any_float = takes_only_float(op);
  for (int i = first; i < n && want < 0; i++)
    if (args[i].kind == DHC_V_TENSOR) want = (int)args[i].t->type.dtype;
  for (int i = first; i < n && want < 0; i++) any_float = any_float || args[i].kind == DHC_V_FLOAT;
  if (want < 0 && any_float) want = DHC_F32;
  DhcVal t[3];
  for (int i = 0; i < n; i++) {
    if (args[i].kind == DHC_V_TENSOR && i >= first && (int)args[i].t->type.dtype != want) {
      const DhcVal *other = &args[first];
      for (int k = first; k < i; k++)
        if (args[k].kind == DHC_V_TENSOR) other = &args[k];
      DhcDiag *d = dhc_err(cx, "E0310", at, "%s: dtypes differ: %s and %s", dhc_op_info(op)->name,
                           dhc_say_val(cx, other), dhc_say_val(cx, &args[i]));
      dhc_note_operand(cx, d, other);
      dhc_note_operand(cx, d, &args[i]);
      dhc_err_hint(cx, d, "nothing is converted silently; use float(...) or cast(x, dtype)");
      return dhc_v_error();
    }
    DhcValue *v = dhc_as_tensor(cx, &args[i], i < first ? DHC_BOOL : want, at);
    if (!v) return dhc_v_error();
    t[i] = args[i];
    t[i].kind = DHC_V_TENSOR;
    t[i].t = v;
    if (takes_only_float(op) && !dhc_dtype_is_float(v->type.dtype))
      return float_only_error(cx, op, &t[i], at);
  }
  int rank = 0;
  const DhcDim *dim[DHC_MAX_RANK];
  if (!dhc_broadcast_shape(cx, dhc_op_info(op)->name, t, n, at, &rank, dim)) return dhc_v_error();
  DhcValue *v[3] = {NULL, NULL, NULL};
  DhcBuilder *b = dhc_at(cx, at);
  for (int i = 0; i < n; i++) {
    v[i] = dhc_align(cx, t[i].t, dim, rank);
    v[i] = v[i] ? dhc_b_broadcast(b, v[i], dim, rank) : NULL;
  }
  return dhc_v_tensor(dhc_build1(b, op, v, n, NULL, 0));
}

/* ---- operators ------------------------------------------------------------------------------------ */

static int64_t floor_div(int64_t a, int64_t b) {
  int64_t q = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q;
}

static DhcVal divide_ints(DhcCx *cx, DhcAstBinary op, DhcVal a, DhcVal b, DhcSpan at) {
  if (b.kind == DHC_V_INT && b.i == 0) {
    dhc_err(cx, "E0304", at, "division by zero");
    return dhc_v_error();
  }
  if (a.kind == DHC_V_INT && b.kind == DHC_V_INT) {
    if (b.i == -1) {
      DhcVal zero = dhc_v_int(0);
      return op == DHC_BI_MOD ? zero : dhc_elementwise(cx, DHC_OP_NEG, &a, 1, at);
    }
    int64_t q = floor_div(a.i, b.i);
    DhcVal out = dhc_v_int(op == DHC_BI_FLOORDIV ? q : a.i - q * b.i);
    out.varies = a.varies || b.varies;
    return out;
  }
  DhcDims *dims = dhc_cx_dims(cx);
  const DhcDim *x = a.kind == DHC_V_INT ? dhc_dim_const(dims, a.i) : a.dim;
  const DhcDim *y = b.kind == DHC_V_INT ? dhc_dim_const(dims, b.i) : b.dim;
  const DhcDim *q =
      b.kind == DHC_V_INT && b.i > 0 ? dhc_dim_floordiv(dims, x, b.i) : dhc_dim_divide(dims, x, y);
  if (!q) {
    dhc_err(cx, "E0309", at,
            "%s %s %s: a dim is divided only by a positive constant, or where it divides exactly",
            dhc_say_dim(cx, x), dhc_ast_binary_text(op), dhc_say_dim(cx, y));
    return dhc_v_error();
  }
  if (op == DHC_BI_MOD) q = dhc_dim_sub(dims, x, dhc_dim_mul(dims, q, y));
  return checked_dim(cx, q, at);
}

/* x^n by squaring for whole n; sqrt and 1/sqrt where they are meant; else pow. */
static DhcVal power(DhcCx *cx, DhcVal a, DhcVal b, DhcSpan at) {
  double e = 0;
  bool whole = b.kind == DHC_V_INT;
  if (b.kind == DHC_V_FLOAT && b.fx->constant) {
    e = b.fx->value;
    whole = e >= -64 && e <= 64 && e == (double)(int64_t)e;
  } else if (whole) {
    e = (double)b.i;
  }
  bool exact = a.kind == DHC_V_INT || a.kind == DHC_V_DIM;
  if (exact && b.kind == DHC_V_INT && b.i >= 0 && b.i <= 4096) {
    DhcVal r = dhc_v_int(1);
    for (int64_t i = 0; i < b.i && r.kind != DHC_V_ERROR; i++) {
      DhcVal two[2] = {r, a};
      r = dhc_elementwise(cx, DHC_OP_MUL, two, 2, at);
    }
    return r;
  }
  if (a.kind == DHC_V_TENSOR && whole && e >= 1 && e <= 64) {
    DhcVal base = a, r = {.kind = DHC_V_VOID};
    for (int64_t k = (int64_t)e; k; k >>= 1) {
      if (k & 1) {
        DhcVal two[2] = {r, base};
        r = r.kind == DHC_V_VOID ? base : dhc_elementwise(cx, DHC_OP_MUL, two, 2, at);
      }
      DhcVal sq[2] = {base, base};
      if (k > 1) base = dhc_elementwise(cx, DHC_OP_MUL, sq, 2, at);
    }
    return r;
  }
  if (a.kind == DHC_V_TENSOR && b.kind == DHC_V_FLOAT && b.fx->constant) {
    if (e == 0.5) return dhc_elementwise(cx, DHC_OP_SQRT, &a, 1, at);
    if (e == -0.5) return dhc_elementwise(cx, DHC_OP_RSQRT, &a, 1, at);
  }
  DhcVal two[2] = {a, b};
  if (a.kind == DHC_V_INT) two[0] = dhc_v_fx(dhc_val_fx(cx, &a));
  return dhc_elementwise(cx, DHC_OP_POW, two, 2, at);
}

static DhcVal compare(DhcCx *cx, DhcAstBinary op, const DhcVal *a, const DhcVal *b, DhcSpan at) {
  bool dims =
      (a->kind == DHC_V_INT || a->kind == DHC_V_DIM) && (b->kind == DHC_V_INT || b->kind == DHC_V_DIM);
  if (a->kind == DHC_V_INT && b->kind == DHC_V_INT) {
    int64_t x = a->i, y = b->i;
    return dhc_v_bool(op == DHC_BI_LT   ? x < y
                      : op == DHC_BI_LE ? x <= y
                      : op == DHC_BI_GT ? x > y
                      : op == DHC_BI_GE ? x >= y
                      : op == DHC_BI_EQ ? x == y
                                        : x != y);
  }
  if (dims) {
    DhcDims *ds = dhc_cx_dims(cx);
    const DhcDim *x = a->kind == DHC_V_INT ? dhc_dim_const(ds, a->i) : a->dim;
    const DhcDim *y = b->kind == DHC_V_INT ? dhc_dim_const(ds, b->i) : b->dim;
    switch (op) {
      case DHC_BI_GE: return dhc_v_bool(dhc_decide_ge(cx, x, y));
      case DHC_BI_LE: return dhc_v_bool(dhc_decide_ge(cx, y, x));
      case DHC_BI_GT: return dhc_v_bool(dhc_decide_ge(cx, x, dhc_dim_addc(ds, y, 1)));
      case DHC_BI_LT: return dhc_v_bool(dhc_decide_ge(cx, y, dhc_dim_addc(ds, x, 1)));
      case DHC_BI_EQ: return dhc_v_bool(dhc_decide_eq(cx, x, y));
      default: return dhc_v_bool(!dhc_decide_eq(cx, x, y));
    }
  }
  if (a->kind == DHC_V_TENSOR || b->kind == DHC_V_TENSOR || a->kind == DHC_V_DIM || b->kind == DHC_V_DIM) {
    static const DhcOp ops[] = {[DHC_BI_LT] = DHC_OP_LT, [DHC_BI_LE] = DHC_OP_LE, [DHC_BI_GT] = DHC_OP_GT,
                                [DHC_BI_GE] = DHC_OP_GE, [DHC_BI_EQ] = DHC_OP_EQ, [DHC_BI_NE] = DHC_OP_NE};
    DhcVal two[2] = {*a, *b};
    return dhc_elementwise(cx, ops[op], two, 2, at);
  }
  if (op == DHC_BI_EQ || op == DHC_BI_NE) {
    if ((a->kind == DHC_V_FLOAT && !a->fx->constant) || (b->kind == DHC_V_FLOAT && !b->fx->constant)) {
      double unused;
      dhc_want_double(cx, a->kind == DHC_V_FLOAT && !a->fx->constant ? a : b, at, "a compared value",
                      &unused);
      return dhc_v_error();
    }
    return dhc_v_bool(dhc_val_equal(cx, a, b, at) == (op == DHC_BI_EQ));
  }
  double x, y;
  if (!dhc_want_double(cx, a, at, "a compared value", &x) ||
      !dhc_want_double(cx, b, at, "a compared value", &y))
    return dhc_v_error();
  return dhc_v_bool(op == DHC_BI_LT ? x < y : op == DHC_BI_LE ? x <= y : op == DHC_BI_GT ? x > y : x >= y);
}

static DhcVal joined(DhcCx *cx, const DhcVal *a, const DhcVal *b, DhcSpan at) {
  if (a->kind == DHC_V_STRING) {
    if (a->s.n + b->s.n > DHC_LIMIT_STRING) {
      dhc_err(cx, "E0304", at, "string longer than %d bytes", DHC_LIMIT_STRING);
      return dhc_v_error();
    }
    if (!dhc_limit_steps(cx, dhc_limit_walk(a->s.n + b->s.n), at)) return dhc_v_error();
    const char *s = dhc_arena_printf(dhc_cx_arena(cx), "%s%s", a->s.at, b->s.at);
    return dhc_v_string(cx, s, a->s.n + b->s.n);
  }
  if (a->list.n + b->list.n > DHC_LIMIT_LIST) {
    dhc_err(cx, "E0304", at, "list longer than %d", DHC_LIMIT_LIST);
    return dhc_v_error();
  }
  if (!dhc_limit_steps(cx, 16 * dhc_limit_walk(a->list.n + b->list.n), at)) return dhc_v_error();
  DhcVal *all = DHC_NEW_N(dhc_cx_arena(cx), DhcVal, a->list.n + b->list.n + 1);
  for (int i = 0; i < a->list.n; i++) all[i] = a->list.at[i];
  for (int i = 0; i < b->list.n; i++) all[a->list.n + i] = b->list.at[i];
  return dhc_v_list(cx, DHC_V_LIST, all, a->list.n + b->list.n);
}

static DhcVal repeated(DhcCx *cx, const DhcVal *a, int64_t n, DhcSpan at) {
  int64_t each = a->kind == DHC_V_STRING ? a->s.n : a->list.n;
  int64_t most = a->kind == DHC_V_STRING ? DHC_LIMIT_STRING : DHC_LIMIT_LIST;
  if (n < 0 || n > most || each * n > most) {
    dhc_err(cx, "E0304", at, "repeated %lld times: longer than %lld", (long long)n, (long long)most);
    return dhc_v_error();
  }
  if (!dhc_limit_steps(cx, (a->kind == DHC_V_STRING ? 1 : 16) * dhc_limit_walk(each * n + n), at)) return dhc_v_error();
  if (a->kind == DHC_V_STRING) {
    DhcText t = {.arena = dhc_cx_arena(cx)};
    for (int64_t i = 0; i < n; i++) dhc_text_puts(&t, a->s.at);
    return dhc_v_string(cx, dhc_text_str(&t), (int)(each * n));
  }
  DhcVal *all = DHC_NEW_N(dhc_cx_arena(cx), DhcVal, each * n + 1);
  for (int64_t i = 0; i < each * n; i++) all[i] = a->list.at[i % each];
  return dhc_v_list(cx, DHC_V_LIST, all, (int)(each * n));
}

static DhcVal logic(DhcCx *cx, DhcAstBinary op, const DhcVal *a, const DhcVal *b, DhcSpan at) {
  if (a->kind == DHC_V_BOOL && b->kind == DHC_V_BOOL)
    return dhc_v_bool(op == DHC_BI_AND ? a->b && b->b : a->b || b->b);
  DhcVal two[2];
  const DhcVal *v[2] = {a, b};
  for (int i = 0; i < 2; i++) {
    DhcValue *t = dhc_as_tensor(cx, v[i], DHC_BOOL, at);
    if (!t) return dhc_v_error();
    two[i] = dhc_v_tensor(t);
  }
  return dhc_elementwise(cx, op == DHC_BI_AND ? DHC_OP_AND : DHC_OP_OR, two, 2, at);
}

static bool is_float(const DhcVal *v) { return v->kind == DHC_V_FLOAT || (v->kind == DHC_V_TENSOR && dhc_dtype_is_float(v->t->type.dtype)); }

/* a - floor(a / b) b, with b's sign as of whole numbers. Where the quotient is rounded up to a whole number it is one too large. */
static DhcVal float_remainder(DhcCx *cx, DhcVal a, DhcVal b, DhcSpan at) {
  DhcVal two[2] = {a, b}, v[3], zero = dhc_v_float(cx, 0);
  v[0] = dhc_elementwise(cx, DHC_OP_DIV, two, 2, at);
  v[0] = dhc_elementwise(cx, DHC_OP_FLOOR, v, 1, at);
  v[0] = dhc_elementwise(cx, DHC_OP_NEG, v, 1, at);
  v[1] = b;
  v[2] = a;
  DhcVal r = dhc_elementwise(cx, DHC_OP_FMA, v, 3, at);
  if (r.kind != DHC_V_TENSOR) return r;
  DhcVal below[2] = {compare(cx, DHC_BI_LT, &r, &zero, at), compare(cx, DHC_BI_LT, &b, &zero, at)};
  DhcVal some = compare(cx, DHC_BI_NE, &r, &zero, at), other = compare(cx, DHC_BI_NE, &below[0], &below[1], at);
  DhcVal three[3] = {logic(cx, DHC_BI_AND, &some, &other, at), dhc_eval_binary(cx, DHC_BI_ADD, r, b, at), r};
  return dhc_elementwise(cx, DHC_OP_SELECT, three, 3, at);
}

DhcVal dhc_eval_binary(DhcCx *cx, DhcAstBinary op, DhcVal a, DhcVal b, DhcSpan at) {
  if (a.kind == DHC_V_ERROR || b.kind == DHC_V_ERROR) return dhc_v_error();
  bool whole = (a.kind == DHC_V_INT || a.kind == DHC_V_DIM) && (b.kind == DHC_V_INT || b.kind == DHC_V_DIM);
  bool numeric =
      (dhc_val_is_number(&a) || a.kind == DHC_V_TENSOR) && (dhc_val_is_number(&b) || b.kind == DHC_V_TENSOR);
  bool lists = (a.kind == DHC_V_STRING || a.kind == DHC_V_LIST) && a.kind == b.kind;
  DhcVal two[2] = {a, b};
  if (op == DHC_BI_AND || op == DHC_BI_OR) return logic(cx, op, &a, &b, at);
  if (op >= DHC_BI_LT && op <= DHC_BI_NE) return compare(cx, op, &a, &b, at);
  if (op == DHC_BI_MATMUL) return dhc_matmul(cx, &a, &b, at);
  if (op == DHC_BI_ADD && lists) return joined(cx, &a, &b, at);
  if (op == DHC_BI_MUL && (a.kind == DHC_V_STRING || a.kind == DHC_V_LIST) && b.kind == DHC_V_INT)
    return repeated(cx, &a, b.i, at);
  if (!numeric && !(a.kind == DHC_V_TENSOR && b.kind == DHC_V_LIST) &&
      !(b.kind == DHC_V_TENSOR && a.kind == DHC_V_LIST)) {
    dhc_err(cx, "E0303", at, "'%s' takes numbers or tensors, got %s and %s", dhc_ast_binary_text(op),
            dhc_say_kind(cx, &a), dhc_say_kind(cx, &b));
    return dhc_v_error();
  }
  switch (op) {
    case DHC_BI_ADD: return dhc_elementwise(cx, DHC_OP_ADD, two, 2, at);
    case DHC_BI_SUB: return dhc_elementwise(cx, DHC_OP_SUB, two, 2, at);
    case DHC_BI_MUL: return dhc_elementwise(cx, DHC_OP_MUL, two, 2, at);
    case DHC_BI_DIV:
      if (a.kind == DHC_V_INT && b.kind == DHC_V_INT) two[0] = dhc_v_float(cx, (double)a.i);
      return dhc_elementwise(cx, DHC_OP_DIV, two, 2, at);
    case DHC_BI_FLOORDIV:
    case DHC_BI_MOD:
      if (op == DHC_BI_MOD && (is_float(&a) || is_float(&b))) return float_remainder(cx, a, b, at);
      if (whole) return divide_ints(cx, op, a, b, at);
      return dhc_elementwise(cx, op == DHC_BI_FLOORDIV ? DHC_OP_FLOORDIV : DHC_OP_REM, two, 2, at);
    default: return power(cx, a, b, at);
  }
}

DhcVal dhc_eval_unary(DhcCx *cx, DhcAstUnary op, DhcVal a, DhcSpan at) {
  if (a.kind == DHC_V_ERROR) return a;
  if (op == DHC_UN_NOT) {
    if (a.kind == DHC_V_BOOL) return dhc_v_bool(!a.b);
    DhcValue *t = dhc_as_tensor(cx, &a, DHC_BOOL, at);
    DhcVal v = dhc_v_tensor(t);
    return t ? dhc_elementwise(cx, DHC_OP_NOT, &v, 1, at) : v;
  }
  if (!dhc_val_is_number(&a) && a.kind != DHC_V_TENSOR) {
    dhc_err(cx, "E0303", at, "'%s' takes a number or a tensor, got %s", dhc_ast_unary_text(op),
            dhc_say_kind(cx, &a));
    return dhc_v_error();
  }
  return op == DHC_UN_PLUS ? a : dhc_elementwise(cx, DHC_OP_NEG, &a, 1, at);
}
