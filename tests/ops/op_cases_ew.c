/* Cases of elementwise ops, by their `types` column, and of creation. */
#include <float.h>
#include <math.h>

#include "tests/ops/op_gen.h"

/* rank 0, one element, odd sizes, SIMD widths (8, 16) and their neighbours, symbolic */
static const Shape plain[] = {{0, {0}},       {1, {1}},        {2, {17, 33}}, {1, {7}},
                              {1, {8}},       {1, {9}},        {1, {15}},     {1, {16}},
                              {1, {17}},      {3, {2, 3, 5}},  {4, {2, 1, 3, 1}},
                              {2, {B(3), 5}}, {2, {B(2), L(7)}}};
enum { N_PLAIN = sizeof plain / sizeof *plain };

static bool types_are(DhcOp op, const char *name) {
  const char *t = case_types(op);
  return t && strcmp(t, name) == 0;
}

/* Operand dtypes to try, by column; returns their number. */
static int operand_dtypes(Gen *g, dhc_dtype *t) {
  DhcOp op = g->op;
  int n = 0;
  bool bits = op == DHC_OP_AND || op == DHC_OP_OR || op == DHC_OP_XOR || op == DHC_OP_NOT;
  if (!types_are(op, "integer")) t[n++] = g->flt;
  if (types_are(op, "float") || types_are(op, "test")) return n;
  t[n++] = DHC_I32;
  t[n++] = DHC_I64;
  t[n++] = DHC_U32;
  if (bits) t[n++] = DHC_BOOL;
  return n;
}

static bool is_extreme(DhcOp op) {
  return op == DHC_OP_MAX || op == DHC_OP_MIN;
}

static void operands(Gen *g, dhc_dtype t, Shape s) {
  int n = dhc_op_info(g->op)->n_args;
  for (int k = 0; k < n; k++) {
    if (types_are(g->op, "select") && k == 0)
      arg(g, DHC_BOOL, s);
    else if (is_extreme(g->op) && dhc_dtype_is_float(t))
      arg_distinct(g, t, s);
    else
      arg(g, t, s);
  }
}

/* Which ops round at all: the others give one of their operands or a yes or no. */
static DhcCaseError error_of(DhcOp op, dhc_dtype t) {
  bool exact = op == DHC_OP_NEG || op == DHC_OP_ABS || op == DHC_OP_SIGN || op == DHC_OP_FLOOR ||
               op == DHC_OP_ROUND || op == DHC_OP_STOP_GRADIENT || is_extreme(op) ||
               types_are(op, "compare") || types_are(op, "select") || types_are(op, "test");
  return exact || !dhc_dtype_is_float(t) ? DHC_CASE_EXACT : DHC_CASE_ULPS;
}

static void case_plain(Gen *g, dhc_dtype t, Shape s) {
  case_begin(g, "%s", dhc_dtype_name(t));
  g->c.name = dhc_arena_printf(&g->arena, "%s%s", g->c.name, shape_text(g, s));
  g->c.error = error_of(g->op, t);
  operands(g, t, s);
  case_end(g);
}

/* Every tuple of special values. */
static void case_special(Gen *g, dhc_dtype t) {
  const double f[] = {0.0,  -0.0,     1.0,      -1.0,      INFINITY,   -INFINITY,
                      NAN,  FLT_MIN,  FLT_MAX,  -FLT_MAX,  0x1p-149,   0.5};
  const int64_t i[] = {0, 1, -1, 2, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 31, 32, 63, 64};
  int n = dhc_op_info(g->op)->n_args;
  int64_t total = n == 1 ? 12 : n == 2 ? 144 : 1728;
  bool select = types_are(g->op, "select");
  case_begin(g, "%s special values", dhc_dtype_name(t));
  g->c.special = true;
  g->c.smooth = false;
  g->c.error = error_of(g->op, t);
  int64_t period = 1;
  for (int k = 0; k < n; k++, period *= 12) {
    dhc_dtype of = select && k == 0 ? DHC_BOOL : t;
    DhcArray *a = arg(g, of, SHAPE(total));
    for (int64_t e = 0; e < total; e++) {
      int64_t v = e / period % 12;
      if (a->f)
        a->f[e] = dhc_case_representable(of, f[v]);
      else
        a->i[e] = dhc_eval_wrap(of, i[v]);
    }
  }
  case_end(g);
}

/* Operands of two shapes, stretched by the builder's shorthand. */
static void case_broadcast(Gen *g, dhc_dtype t, Shape a, Shape b) {
  case_begin(g, "%s broadcast", dhc_dtype_name(t));
  g->c.name = dhc_arena_printf(&g->arena, "%s %s %s", g->c.name, shape_text(g, a), shape_text(g, b));
  g->c.error = error_of(g->op, t);
  g->c.composed = true;
  if (is_extreme(g->op) && dhc_dtype_is_float(t)) {
    arg_distinct(g, t, a);
    arg_distinct(g, t, b);
  } else {
    arg(g, t, a);
    arg(g, t, b);
  }
  DhcBuilder builder = case_builder(g);
  DhcValue *v = dhc_b_binary(&builder, g->op, g->value[0], g->value[1]);
  case_end_node(g, v ? v->def : NULL);
}

static void cases_cast(Gen *g) {
  static const dhc_dtype all[] = {DHC_F64, DHC_F32, DHC_BF16, DHC_I64, DHC_I32, DHC_I16,
                                  DHC_I8,  DHC_U32, DHC_U16,  DHC_U8,  DHC_BOOL};
  int n = (int)(sizeof all / sizeof *all);
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < n; j++) {
      /* a cast that the IR refuses (to the input-only types) is a wrong case */
      if (all[j] == DHC_I16 || all[j] == DHC_U16) continue;
      case_begin(g, "%s to %s", dhc_dtype_name(all[i]), dhc_dtype_name(all[j]));
      bool floats = dhc_dtype_is_float(all[i]) && dhc_dtype_is_float(all[j]);
      /* a float rounds to what the narrower one holds */
      if (dhc_dtype_is_float(all[j])) g->c.error = DHC_CASE_ULPS;
      g->c.smooth = floats;
      arg(g, all[i], i % 2 ? SHAPE(5, 7) : SHAPE(17));
      attr_t(g, all[j]);
      case_end(g);
    }
  }
  case_begin(g, "special values");
  g->c.special = true;
  DhcArray *a = arg(g, g->flt, SHAPE(8));
  const double f[] = {NAN, INFINITY, -INFINITY, 3e9, -3e9, -0.99, 2.99, 0x1p31};
  for (int e = 0; e < 8; e++) a->f[e] = dhc_case_representable(g->flt, f[e]);
  attr_t(g, DHC_I32);
  case_end(g);
}

void cases_elementwise(Gen *g) {
  dhc_dtype t[8];
  if (g->op == DHC_OP_CAST) cases_cast(g);
  if (!case_types(g->op)) return;
  int n_types = operand_dtypes(g, t);
  for (int k = 0; k < n_types; k++) {
    for (int s = 0; s < N_PLAIN; s++) case_plain(g, t[k], plain[s]);
    case_special(g, t[k]);
    if (dhc_op_info(g->op)->n_args != 2) continue;
    case_broadcast(g, t[k], SHAPE(5, 7), SHAPE(7));
    case_broadcast(g, t[k], SHAPE(7), SHAPE(5, 7));
    case_broadcast(g, t[k], SHAPE(1, 5), SHAPE(4, 1));
    case_broadcast(g, t[k], SCALAR, SHAPE(9));
    case_broadcast(g, t[k], SHAPE(B(3), 1), SHAPE(1, 5));
  }
}

/* ---- creation -------------------------------------------------------------------- */

static void cases_random(Gen *g) {
  static const int64_t keys[][3] = {{0, 0, 0},  {1, 2, 3},        {7, 0, 1000},
                                    {-1, 5, 1}, {1ll << 40, 9, 0}, {3, -4, (1ll << 33) + 1}};
  static const Shape shapes[] = {{0, {0}}, {1, {1}},  {1, {15}},      {1, {16}},
                                 {1, {17}}, {2, {17, 33}}, {2, {B(3), 5}}, {3, {2, 3, 5}}};
  for (int k = 0; k < 8; k++) {
    case_begin(g, "key %d", k);
    g->c.name = dhc_arena_printf(&g->arena, "%s %s", g->c.name, shape_text(g, shapes[k]));
    for (int a = 0; a < 3; a++) arg(g, DHC_I64, SCALAR)->i[0] = keys[k % 6][a];
    if (k % 2) arg(g, DHC_I64, SCALAR)->i[0] = k > 4 ? (1ll << 32) - 7 : 40 * k; /* the first element */
    /* a symbol in the shape needs an operand that binds it */
    if (shapes[k].rank == 2 && shapes[k].dim[0] == B(3)) {
      arg(g, g->flt, SHAPE(B(3)));
      g->n_args--;
    }
    attr_dims(g, shapes[k]);
    case_end(g);
  }
}

/* Makes an operand the op does not read, for the symbols of `s`. */
static void bind_only(Gen *g, Shape s) {
  for (int d = 0; d < s.rank; d++) {
    if (s.dim[d] < SYM_UNIT) continue;
    arg(g, g->flt, s);
    g->n_args--;
    return;
  }
}

void cases_create(Gen *g) {
  static const dhc_dtype types[] = {DHC_F32, DHC_I32, DHC_I64, DHC_U32, DHC_BOOL, DHC_F32};
  if (g->op == DHC_OP_RANDOM_BITS) cases_random(g);
  for (int s = 0; s < N_PLAIN && g->op == DHC_OP_FILL; s++) {
    case_begin(g, "%s %s", dhc_dtype_name(types[s % 6]), "value");
    g->c.name = dhc_arena_printf(&g->arena, "%s %s", g->c.name, shape_text(g, plain[s]));
    bind_only(g, plain[s]);
    attr_f(g, s % 3 == 0 ? 1 : s % 3 == 1 ? 0 : types[s % 6] == DHC_F32 ? -0.375 : 3);
    attr_t(g, types[s % 6]);
    attr_dims(g, plain[s]);
    case_end(g);
  }
  for (int s = 0; s < N_PLAIN && g->op == DHC_OP_IOTA; s++) {
    for (int axis = 0; axis < plain[s].rank; axis++) {
      case_begin(g, "axis %d %s", axis, dhc_dtype_name(types[s % 4]));
      g->c.name = dhc_arena_printf(&g->arena, "%s %s", g->c.name, shape_text(g, plain[s]));
      bind_only(g, plain[s]);
      attr_i(g, axis);
      attr_t(g, types[s % 4]);
      attr_dims(g, plain[s]);
      case_end(g);
    }
  }
  static const int64_t dims[] = {0, 1, 7, 1000, B(1), B(3), B(17), L(5)};
  for (int k = 0; k < 8 && g->op == DHC_OP_DIM; k++) {
    case_begin(g, "%lld", (long long)dims[k]);
    bind_only(g, SHAPE(dims[k]));
    attr_dim(g, dims[k]);
    case_end(g);
  }
}
