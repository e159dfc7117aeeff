/* Wrong uses of every op: each must be refused by its shape rule with an error. */
#include "tests/ops/op_gen.h"

#define F(...) arg(g, g->flt, SHAPE(__VA_ARGS__))
#define I(...) arg(g, DHC_I32, SHAPE(__VA_ARGS__))
/* One wrong case: name, then what sets it up. */
#define WRONG(name, ...)       \
  do {                         \
    case_begin(g, "%s", name); \
    __VA_ARGS__;               \
    case_end(g);               \
  } while (0)

/* ---- elementwise ----------------------------------------------------------------- */

void wrong_elementwise(Gen *g) {
  const char *types = case_types(g->op);
  if (!types) return;
  int n = dhc_op_info(g->op)->n_args;
  bool select = strcmp(types, "select") == 0, integer = strcmp(types, "integer") == 0;
  bool floats = strcmp(types, "float") == 0 || strcmp(types, "test") == 0;
  dhc_dtype good = integer ? DHC_I32 : g->flt;
#define OPERANDS(t, s, other, other_s) \
  for (int k = 0; k < n; k++) arg(g, select && k == 0 ? DHC_BOOL : k == n - 1 ? other : t, k == n - 1 ? other_s : s)
  if (n > 1) {
    WRONG("extents differ", OPERANDS(good, SHAPE(2, 3), good, SHAPE(3, 2)));
    WRONG("ranks differ", OPERANDS(good, SHAPE(2, 3), good, SHAPE(3)));
    WRONG("no broadcast", OPERANDS(good, SHAPE(4), good, SHAPE(1)));
    WRONG("symbol and constant", OPERANDS(good, SHAPE(B(4)), good, SHAPE(4)));
    WRONG("dtypes differ", OPERANDS(good, SHAPE(4), integer ? DHC_I64 : DHC_I32, SHAPE(4)));
  }
  if (integer) WRONG("float", OPERANDS(g->flt, SHAPE(4), g->flt, SHAPE(4)));
  if (floats) WRONG("integer", OPERANDS(DHC_I32, SHAPE(4), DHC_I32, SHAPE(4)));
  if (floats) WRONG("bool", OPERANDS(DHC_BOOL, SHAPE(4), DHC_BOOL, SHAPE(4)));
  if (strcmp(types, "arith") == 0 && g->op != DHC_OP_STOP_GRADIENT)
    WRONG("bool", OPERANDS(DHC_BOOL, SHAPE(4), DHC_BOOL, SHAPE(4)));
  if (select) WRONG("condition not bool", F(4); F(4); F(4));
#undef OPERANDS
}

/* ---- views, moves ------------------------------------------------------------------ */

static void wrong_view(Gen *g) {
  switch (g->op) {
    case DHC_OP_RESHAPE:
      WRONG("count", F(2, 3); attr_dims(g, SHAPE(5)));
      WRONG("symbolic count", F(B(2), 3); attr_dims(g, SHAPE(6)));
      return;
    case DHC_OP_TRANSPOSE:
      WRONG("length", F(2, 3); attr_ints(g, 0));
      WRONG("twice", F(2, 3); attr_ints(g, 0, 0));
      WRONG("range", F(2, 3); attr_ints(g, 0, 2));
      return;
    case DHC_OP_BROADCAST:
      WRONG("extent", F(3); attr_dims(g, SHAPE(2, 4)));
      WRONG("rank", F(2, 3); attr_dims(g, SHAPE(3)));
      WRONG("unknown extent", F(B(1)); attr_dims(g, SHAPE(4)));
      return;
    case DHC_OP_SLICE:
      WRONG("beyond", F(5); attr_dims(g, SHAPE(3)); attr_dims(g, SHAPE(3)); attr_ints(g, 1));
      WRONG("beyond by steps", F(5); attr_dims(g, SHAPE(0)); attr_dims(g, SHAPE(3)); attr_ints(g, 3));
      WRONG("negative start", F(5); attr_dims(g, SHAPE(-1)); attr_dims(g, SHAPE(3)); attr_ints(g, 1));
      WRONG("step 0", F(5); attr_dims(g, SHAPE(0)); attr_dims(g, SHAPE(3)); attr_ints(g, 0));
      WRONG("lengths", F(5, 2); attr_dims(g, SHAPE(0)); attr_dims(g, SHAPE(3)); attr_ints(g, 1));
      WRONG("undecided", F(B(5)); attr_dims(g, SHAPE(0)); attr_dims(g, SHAPE(3)); attr_ints(g, 1));
      return;
    case DHC_OP_REVERSE:
      WRONG("range", F(2, 3); attr_ints(g, 2));
      WRONG("twice", F(2, 3); attr_ints(g, 1, 1));
      return;
    case DHC_OP_PAD:
      WRONG("lengths", F(2, 3); attr_dims(g, SHAPE(0)); attr_dims(g, SHAPE(1)); attr_ints(g, 1));
      WRONG("step 0", F(3); attr_dims(g, SHAPE(0)); attr_dims(g, SHAPE(1)); attr_ints(g, 0));
      WRONG("negative", F(3); attr_dims(g, SHAPE(-4)); attr_dims(g, SHAPE(0)); attr_ints(g, 1));
      return;
    case DHC_OP_CONCAT:
      WRONG("axis", F(2, 3); F(2, 3); attr_i(g, 2));
      WRONG("other extents", F(2, 3); F(3, 3); attr_i(g, 1));
      WRONG("ranks", F(2, 3); F(3); attr_i(g, 0));
      WRONG("dtypes", F(3); I(3); attr_i(g, 0));
      WRONG("nothing", attr_i(g, 0));
      return;
    default: return;
  }
}

static void wrong_move(Gen *g) {
  switch (g->op) {
    case DHC_OP_DYNAMIC_SLICE:
      WRONG("size", F(3); arg(g, DHC_I64, SCALAR); attr_i(g, 0); attr_dim(g, 4));
      WRONG("axis", F(3); arg(g, DHC_I64, SCALAR); attr_i(g, 1); attr_dim(g, 1));
      WRONG("start not scalar", F(3); arg(g, DHC_I64, SHAPE(1)); attr_i(g, 0); attr_dim(g, 1));
      WRONG("start float", F(3); arg(g, g->flt, SCALAR); attr_i(g, 0); attr_dim(g, 1));
      return;
    case DHC_OP_DYNAMIC_UPDATE:
      WRONG("size", F(3); F(4); arg(g, DHC_I64, SCALAR); attr_i(g, 0));
      WRONG("other extents", F(3, 2); F(1, 3); arg(g, DHC_I64, SCALAR); attr_i(g, 0));
      WRONG("axis", F(3); F(1); arg(g, DHC_I64, SCALAR); attr_i(g, 1));
      WRONG("dtypes", F(3); I(1); arg(g, DHC_I64, SCALAR); attr_i(g, 0));
      WRONG("start float", F(3); F(1); arg(g, g->flt, SCALAR); attr_i(g, 0));
      return;
    case DHC_OP_GATHER:
      WRONG("axis", F(3, 2); I(4); attr_i(g, 2));
      WRONG("index float", F(3, 2); F(4); attr_i(g, 0));
      WRONG("scalar", arg(g, g->flt, SCALAR); I(4); attr_i(g, 0));
      return;
    case DHC_OP_SCATTER_ADD:
      WRONG("update shape", F(3, 2); I(4); F(3, 2); attr_i(g, 0));
      WRONG("index float", F(3, 2); F(4); F(4, 2); attr_i(g, 0));
      WRONG("dtypes", F(3, 2); I(4); I(4, 2); attr_i(g, 0));
      WRONG("axis", F(3, 2); I(4); F(4, 2); attr_i(g, 2));
      return;
    case DHC_OP_TAKE_ALONG:
      WRONG("ranks", F(3, 2); I(3); attr_i(g, 1));
      WRONG("other extents", F(3, 2); I(4, 1); attr_i(g, 1));
      WRONG("index float", F(3, 2); F(3, 1); attr_i(g, 1));
      WRONG("axis", F(3, 2); I(3, 2); attr_i(g, 2));
      return;
    case DHC_OP_PUT_ALONG:
      WRONG("shapes", F(3, 2); I(3, 1); attr_i(g, 1); attr_dim(g, 5));
      WRONG("index float", F(3, 2); F(3, 2); attr_i(g, 1); attr_dim(g, 5));
      WRONG("axis", F(3, 2); I(3, 2); attr_i(g, 2); attr_dim(g, 5));
      WRONG("negative size", F(3, 2); I(3, 2); attr_i(g, 1); attr_dim(g, -1));
      return;
    default: return;
  }
}

static void wrong_create(Gen *g) {
  switch (g->op) {
    case DHC_OP_FILL:
      WRONG("negative", attr_f(g, 1); attr_t(g, g->flt); attr_dims(g, SHAPE(2, -1)));
      WRONG("too large", attr_f(g, 1); attr_t(g, g->flt);
            attr_dims(g, SHAPE(900000, 900000, 900000, 900000)));
      return;
    case DHC_OP_IOTA:
      WRONG("axis", attr_i(g, 1); attr_t(g, DHC_I32); attr_dims(g, SHAPE(3)));
      WRONG("scalar", attr_i(g, 0); attr_t(g, DHC_I32); attr_dims(g, SCALAR));
      WRONG("negative axis", attr_i(g, -1); attr_t(g, DHC_I32); attr_dims(g, SHAPE(3)));
      return;
    case DHC_OP_RANDOM_BITS:
      WRONG("seed float", arg(g, g->flt, SCALAR); arg(g, DHC_I64, SCALAR); arg(g, DHC_I64, SCALAR);
            attr_dims(g, SHAPE(3)));
      WRONG("site not scalar", arg(g, DHC_I64, SCALAR); arg(g, DHC_I64, SHAPE(1));
            arg(g, DHC_I64, SCALAR); attr_dims(g, SHAPE(3)));
      return;
    case DHC_OP_CAST: WRONG("to an input type", F(3); attr_t(g, DHC_I16)); return;
    default: return;
  }
}

/* ---- reductions, contractions ---------------------------------------------------------- */

static void dot_attrs(Gen *g, Shape ba, Shape bb, Shape ca, Shape cb) {
  attr_ints_n(g, ba.rank, ba.dim);
  attr_ints_n(g, bb.rank, bb.dim);
  attr_ints_n(g, ca.rank, ca.dim);
  attr_ints_n(g, cb.rank, cb.dim);
}

static void wrong_fold(Gen *g) {
  Shape none = SCALAR;
  switch (g->op) {
    case DHC_OP_REDUCE_SUM:
    case DHC_OP_REDUCE_MAX:
    case DHC_OP_REDUCE_MIN:
      WRONG("range", F(2, 3); attr_ints(g, 2); attr_b(g, false));
      WRONG("twice", F(2, 3); attr_ints(g, 1, 1); attr_b(g, false));
      WRONG("scalar", arg(g, g->flt, SCALAR); attr_ints(g, 0); attr_b(g, false));
      return;
    case DHC_OP_ARGMAX:
      WRONG("range", F(2, 3); attr_i(g, 2));
      WRONG("scalar", arg(g, g->flt, SCALAR); attr_i(g, 0));
      return;
    case DHC_OP_DOT_GENERAL:
      WRONG("inner", F(2, 3); F(4, 5); dot_attrs(g, none, none, SHAPE(1), SHAPE(0)));
      WRONG("batch", F(2, 3); F(4, 3); dot_attrs(g, SHAPE(0), SHAPE(0), SHAPE(1), SHAPE(1)));
      WRONG("range", F(2, 3); F(3, 5); dot_attrs(g, none, none, SHAPE(2), SHAPE(0)));
      WRONG("lengths", F(2, 3); F(3, 5); dot_attrs(g, none, none, SHAPE(0, 1), SHAPE(0)));
      WRONG("twice", F(3, 3); F(3, 3); dot_attrs(g, SHAPE(0), SHAPE(0), SHAPE(0), SHAPE(0)));
      WRONG("dtypes", F(2, 3); I(3, 5); dot_attrs(g, none, none, SHAPE(1), SHAPE(0)));
      return;
    case DHC_OP_RAGGED_DOT:
      WRONG("inner", F(4, 3); F(2, 5, 6); I(3));
      WRONG("offsets", F(4, 3); F(2, 3, 6); I(2));
      WRONG("rank", F(4, 3); F(3, 6); I(3));
      WRONG("offsets float", F(4, 3); F(2, 3, 6); F(3));
      return;
    case DHC_OP_RAGGED_DOT_DW:
      WRONG("rows", F(4, 3); F(5, 6); I(3));
      WRONG("rank", F(4, 3, 1); F(4, 6); I(3));
      WRONG("offsets float", F(4, 3); F(4, 6); F(3));
      WRONG("offsets rank", F(4, 3); F(4, 6); I(3, 1));
      return;
    default: return;
  }
}

/* ---- convolutions, windows ------------------------------------------------------------- */

static void conv_attrs(Gen *g, int64_t stride, int64_t pad, int64_t dilation, int64_t groups) {
  attr_ints(g, stride);
  attr_ints(g, pad);
  attr_ints(g, pad);
  attr_ints(g, dilation);
  attr_i(g, groups);
}

static void wrong_conv(Gen *g) {
  switch (g->op) {
    case DHC_OP_CONV:
      WRONG("channels", F(1, 3, 8); F(4, 2, 3); conv_attrs(g, 1, 0, 1, 1));
      WRONG("ranks", F(1, 3, 8); F(4, 3, 3, 3); conv_attrs(g, 1, 0, 1, 1));
      WRONG("kernel too large", F(1, 3, 8); F(4, 3, 9); conv_attrs(g, 1, 0, 1, 1));
      WRONG("undecided", F(1, 3, L(8)); F(4, 3, 3); conv_attrs(g, 1, 0, 1, 1));
      WRONG("groups", F(1, 3, 8); F(4, 1, 3); conv_attrs(g, 1, 0, 1, 2));
      WRONG("stride 0", F(1, 3, 8); F(4, 3, 3); conv_attrs(g, 0, 0, 1, 1));
      WRONG("dilation 0", F(1, 3, 8); F(4, 3, 3); conv_attrs(g, 1, 0, 0, 1));
      WRONG("attribute length", F(1, 3, 8, 8); F(4, 3, 3, 3); conv_attrs(g, 1, 0, 1, 1));
      WRONG("no spatial axis", F(1, 3); F(4, 3); conv_attrs(g, 1, 0, 1, 1));
      WRONG("integers", I(1, 3, 8); I(4, 3, 3); conv_attrs(g, 1, 0, 1, 1));
      return;
    case DHC_OP_CONV_DX:
      WRONG("channels", F(1, 3, 6); F(4, 2, 3); conv_attrs(g, 1, 0, 1, 1); attr_dims(g, SHAPE(8)));
      WRONG("size", F(1, 4, 6); F(4, 2, 3); conv_attrs(g, 1, 0, 1, 1); attr_dims(g, SHAPE(12)));
      WRONG("size length", F(1, 4, 6); F(4, 2, 3); conv_attrs(g, 1, 0, 1, 1); attr_dims(g, SHAPE(8, 8)));
      return;
    case DHC_OP_CONV_DW:
      WRONG("batch", F(1, 3, 8); F(2, 4, 6); conv_attrs(g, 1, 0, 1, 1); attr_dims(g, SHAPE(3)));
      WRONG("size", F(1, 3, 8); F(1, 4, 6); conv_attrs(g, 1, 0, 1, 1); attr_dims(g, SHAPE(5)));
      WRONG("size length", F(1, 3, 8); F(1, 4, 6); conv_attrs(g, 1, 0, 1, 1); attr_dims(g, SHAPE(3, 3)));
      WRONG("groups", F(1, 3, 8); F(1, 4, 6); conv_attrs(g, 1, 0, 1, 2); attr_dims(g, SHAPE(3)));
      return;
    case DHC_OP_WINDOW_MAX:
      WRONG("too large", F(2, 3); attr_ints(g, 4); attr_ints(g, 1));
      WRONG("undecided", F(2, L(3)); attr_ints(g, 2); attr_ints(g, 2));
      WRONG("lengths", F(2, 3); attr_ints(g, 2); attr_ints(g, 1, 1));
      WRONG("rank", F(3); attr_ints(g, 2, 2); attr_ints(g, 1, 1));
      WRONG("stride 0", F(2, 3); attr_ints(g, 2); attr_ints(g, 0));
      WRONG("window 0", F(2, 3); attr_ints(g, 0); attr_ints(g, 1));
      return;
    case DHC_OP_WINDOW_GATHER:
      WRONG("index shape", F(2, 6); I(2, 2); attr_ints(g, 2); attr_ints(g, 2));
      WRONG("index float", F(2, 6); F(2, 3); attr_ints(g, 2); attr_ints(g, 2));
      return;
    case DHC_OP_WINDOW_SCATTER:
      WRONG("shapes", F(2, 3); I(2, 2); attr_ints(g, 2); attr_ints(g, 2); attr_dims(g, SHAPE(6)));
      WRONG("size", F(2, 3); I(2, 3); attr_ints(g, 2); attr_ints(g, 2); attr_dims(g, SHAPE(9)));
      WRONG("index float", F(2, 3); F(2, 3); attr_ints(g, 2); attr_ints(g, 2); attr_dims(g, SHAPE(6)));
      return;
    default: return;
  }
}

/* ---- recurrences, routing, functions, effects -------------------------------------------- */

/* (f[2], f[2]) -> f[2] */
static DhcFunc *two_to_one(Gen *g, DhcFuncKind kind) {
  DhcSpan none = {0};
  DhcFunc *f = dhc_func_new(g->m, "callee", kind, none);
  DhcBuilder b = {.f = f};
  DhcType t = gen_type(g, g->flt, SHAPE(2));
  DhcParamInfo info = {.name = "p", .role = DHC_ROLE_PLAIN, .decl = -1};
  DhcValue *x = dhc_func_param(f, &t, info, none), *y = dhc_func_param(f, &t, info, none);
  dhc_func_result(f, dhc_b_binary(&b, DHC_OP_ADD, x, y), "r");
  return f;
}

static void scan_attrs(Gen *g, int n_carry, int n_xs, int axis, int64_t length) {
  attr_func(g, two_to_one(g, DHC_FUNC_BODY));
  attr_dims(g, SCALAR);
  attr_i(g, n_carry);
  attr_i(g, n_xs);
  attr_i(g, axis);
  attr_dim(g, length);
  attr_b(g, false);
}

static void call_attrs(Gen *g, Shape dims) {
  attr_func(g, two_to_one(g, DHC_FUNC_UNIT));
  attr_dims(g, dims);
}

static void wrong_flow(Gen *g) {
  switch (g->op) {
    case DHC_OP_LINEAR_SCAN:
      WRONG("a and b", F(4, 3); F(3, 4); F(3); attr_i(g, 0); attr_b(g, false); attr_b(g, false));
      WRONG("h0", F(4, 3); F(4, 3); F(4); attr_i(g, 0); attr_b(g, false); attr_b(g, false));
      WRONG("axis", F(4, 3); F(4, 3); F(3); attr_i(g, 2); attr_b(g, false); attr_b(g, false));
      WRONG("integers", I(4, 3); I(4, 3); I(3); attr_i(g, 0); attr_b(g, false); attr_b(g, false));
      return;
    case DHC_OP_SCAN:
      WRONG("x slices", F(2); F(5, 2); scan_attrs(g, 1, 1, 0, 4));
      WRONG("carry type", F(3); F(4, 2); scan_attrs(g, 1, 1, 0, 4));
      WRONG("axis", F(2); F(4, 2); scan_attrs(g, 1, 1, 2, 4));
      WRONG("operands", F(2); scan_attrs(g, 1, 0, 0, 4));
      WRONG("counts", F(2); F(4, 2); scan_attrs(g, 2, 1, 0, 4));
      return;
    case DHC_OP_TOP_K:
      WRONG("k too large", F(2, 3); attr_i(g, 4));
      WRONG("k 0", F(2, 3); attr_i(g, 0));
      WRONG("scalar", arg(g, g->flt, SCALAR); attr_i(g, 1));
      return;
    case DHC_OP_ROUTE:
      WRONG("float", F(4, 2); attr_i(g, 3));
      WRONG("rank", I(4); attr_i(g, 3));
      WRONG("num 0", I(4, 2); attr_i(g, 0));
      return;
    case DHC_OP_CALL:
    case DHC_OP_CHECKPOINT:
      WRONG("operand type", F(2); F(3); call_attrs(g, SCALAR));
      WRONG("operands", F(2); call_attrs(g, SCALAR));
      WRONG("dims", F(2); F(2); call_attrs(g, SHAPE(4)));
      WRONG("dtype", F(2); I(2); call_attrs(g, SCALAR));
      return;
    case DHC_OP_SUM_RANKS: WRONG("dtype", I(3)); return;
    case DHC_OP_SPREAD_RANKS:
      WRONG("dtype", I(3); attr_ints(g, 3));
      WRONG("rank", arg(g, DHC_F32, SHAPE(3, 1)); attr_ints(g, 3));
      WRONG("too few", arg(g, DHC_F32, SHAPE(3)); attr_ints(g, 1, 1));
      WRONG("too many", arg(g, DHC_F32, SHAPE(3)); attr_ints(g, 2, 2));
      WRONG("negative", arg(g, DHC_F32, SHAPE(3)); attr_ints(g, 4, -1));
      return;
    case DHC_OP_UPDATE:
      WRONG("role", F(3); F(3));
      WRONG("shape", g->role = DHC_ROLE_BUFFER; F(3); F(4));
      WRONG("dtype", g->role = DHC_ROLE_BUFFER; F(3); I(3));
      return;
    default: return;
  }
}

void wrong_structured(Gen *g) {
  wrong_create(g);
  wrong_view(g);
  wrong_move(g);
  wrong_fold(g);
  wrong_conv(g);
  wrong_flow(g);
}
