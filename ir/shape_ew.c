/* Shape rules: elementwise ops and creation. */
#include <math.h>

#include "ir/ir_internal.h"
#include "ir/ops_rules.h"

/* i16 and u16 come in as data and are only moved or cast. */
static bool computes(dhc_dtype t) { return t != DHC_I16 && t != DHC_U16; }

/* All operands from `first` on have one type. */
static bool need_alike(DhcShapeCtx *cx, int first) {
  const DhcType *a = dhc_arg_type(cx, first);
  for (int i = first + 1; i < cx->n->n_args; i++) {
    const DhcType *b = dhc_arg_type(cx, i);
    if (dhc_type_equal(a, b)) continue;
    return dhc_shape_error(cx, "%s differ: %s and %s", a->dtype != b->dtype ? "dtypes" : "shapes",
                           dhc_arg_text(cx, first), dhc_arg_text(cx, i));
  }
  return true;
}

static bool need_dtype(DhcShapeCtx *cx, bool ok, const char *what) {
  if (ok) return true;
  return dhc_shape_error(cx, "needs %s, got %s", what, dhc_arg_text(cx, 0));
}

static bool like_first(DhcShapeCtx *cx, dhc_dtype dtype) {
  const DhcType *t = dhc_arg_type(cx, 0);
  return dhc_result_of(cx, dtype, t->rank, t->dim);
}

bool dhc_shape_arith(DhcShapeCtx *cx) {
  dhc_dtype t = dhc_arg_type(cx, 0)->dtype;
  return need_alike(cx, 0) &&
         need_dtype(cx, dhc_dtype_is_float(t) || (dhc_dtype_is_int(t) && computes(t)),
                    "a float or integer dtype") &&
         like_first(cx, t);
}

bool dhc_shape_float(DhcShapeCtx *cx) {
  dhc_dtype t = dhc_arg_type(cx, 0)->dtype;
  return need_alike(cx, 0) && need_dtype(cx, dhc_dtype_is_float(t), "a float dtype") &&
         like_first(cx, t);
}

static bool takes_bool(DhcOp op) {
  return op == DHC_OP_AND || op == DHC_OP_OR || op == DHC_OP_XOR || op == DHC_OP_NOT;
}

bool dhc_shape_integer(DhcShapeCtx *cx) {
  dhc_dtype t = dhc_arg_type(cx, 0)->dtype;
  bool logic = takes_bool(cx->n->op);
  bool ok = (dhc_dtype_is_int(t) && computes(t)) || (logic && t == DHC_BOOL);
  return need_alike(cx, 0) &&
         need_dtype(cx, ok, logic ? "an integer or bool dtype" : "an integer dtype") &&
         like_first(cx, t);
}

bool dhc_shape_compare(DhcShapeCtx *cx) {
  return need_alike(cx, 0) &&
         need_dtype(cx, computes(dhc_arg_type(cx, 0)->dtype), "a dtype to compute in") &&
         like_first(cx, DHC_BOOL);
}

bool dhc_shape_test(DhcShapeCtx *cx) {
  return need_dtype(cx, dhc_dtype_is_float(dhc_arg_type(cx, 0)->dtype), "a float dtype") &&
         like_first(cx, DHC_BOOL);
}

bool dhc_shape_select(DhcShapeCtx *cx) {
  const DhcType *c = dhc_arg_type(cx, 0), *x = dhc_arg_type(cx, 1);
  if (c->dtype != DHC_BOOL)
    return dhc_shape_error(cx, "the condition must be bool, got %s", dhc_arg_text(cx, 0));
  if (!need_alike(cx, 1)) return false;
  DhcType as_x = *c;
  as_x.dtype = x->dtype;
  if (!dhc_type_equal(&as_x, x))
    return dhc_shape_error(cx, "shapes differ: condition %s, values %s", dhc_arg_text(cx, 0),
                           dhc_arg_text(cx, 1));
  return like_first(cx, x->dtype);
}

static bool need_target(DhcShapeCtx *cx, dhc_dtype t) {
  if (computes(t)) return true;
  return dhc_shape_error(cx, "%s is a dtype of inputs only", dhc_dtype_name(t));
}

bool dhc_shape_cast(DhcShapeCtx *cx) {
  dhc_dtype t = dhc_attr(cx->n, "dtype")->dtype;
  return need_target(cx, t) && like_first(cx, t);
}

/* ---- creation ------------------------------------------------------------------------- */

static bool result_of_attr(DhcShapeCtx *cx, dhc_dtype dtype) {
  const DhcAttr *shape = dhc_attr(cx->n, "shape");
  return dhc_result_of(cx, dtype, shape->dims.n, shape->dims.at);
}

/* Integers must be able to hold the value exactly. */
static bool holds(dhc_dtype t, double v) {
  if (dhc_dtype_is_float(t)) return true;
  if (t == DHC_BOOL) return v == 0 || v == 1;
  bool is_unsigned = t == DHC_U32 || t == DHC_U8;
  int bits = dhc_dtype_bytes(t) * 8;
  double high = ldexp(1, is_unsigned ? bits : bits - 1);
  return v == floor(v) && v < high && v >= (is_unsigned ? 0 : -high);
}

bool dhc_shape_fill(DhcShapeCtx *cx) {
  double v = dhc_attr(cx->n, "value")->f;
  dhc_dtype t = dhc_attr(cx->n, "dtype")->dtype;
  if (!need_target(cx, t)) return false;
  if (!holds(t, v)) return dhc_shape_error(cx, "%g is no value of %s", v, dhc_dtype_name(t));
  return result_of_attr(cx, t);
}

bool dhc_shape_iota(DhcShapeCtx *cx) {
  dhc_dtype t = dhc_attr(cx->n, "dtype")->dtype;
  if (!need_target(cx, t)) return false;
  if (t == DHC_BOOL) return dhc_shape_error(cx, "bool cannot count");
  return dhc_need_axis(cx, dhc_attr(cx->n, "axis")->i, dhc_attr(cx->n, "shape")->dims.n) &&
         result_of_attr(cx, t);
}

bool dhc_shape_dim(DhcShapeCtx *cx) { return dhc_result_of(cx, DHC_I64, 0, NULL); }

bool dhc_shape_random_bits(DhcShapeCtx *cx) {
  static const char *const what[] = {"seed", "site", "step", "first element"};
  if (cx->n->n_args < 3 || cx->n->n_args > 4) return dhc_shape_error(cx, "takes 3 or 4 operands, got %d", cx->n->n_args);
  for (int i = 0; i < cx->n->n_args; i++) {
    const DhcType *t = dhc_arg_type(cx, i);
    if (t->dtype != DHC_I64 || t->rank != 0)
      return dhc_shape_error(cx, "the %s must be i64[], got %s", what[i], dhc_arg_text(cx, i));
  }
  return result_of_attr(cx, DHC_U32);
}
