/* Cases of recurrences, calls and update. */
#include "tests/ops/op_gen.h"

static void name_shape(Gen *g, Shape s) {
  g->c.name = dhc_arena_printf(&g->arena, "%s %s", g->c.name, shape_text(g, s));
}

static int64_t value_of(int64_t d) {
  return d >= SYM_UNIT ? d % SYM_UNIT : d;
}

/* ---- linear_scan ------------------------------------------------------------- */

static void linear_scans(Gen *g) {
  static const struct {
    Shape of;
    int axis;
  } t[] = {{{1, {1}}, 0},       {{1, {17}}, 0},      {{2, {17, 33}}, 0},  {{2, {17, 33}}, 1},
           {{3, {2, 3, 5}}, 1}, {{3, {2, 16, 4}}, 1}, {{2, {B(3), 8}}, 0}, {{3, {B(2), L(5), 3}}, 1},
           {{2, {15, 1}}, 1}};
  for (int k = 0; k < (int)(sizeof t / sizeof *t); k++) {
    for (int reverse = 0; reverse < 2; reverse++) {
      case_begin(g, "axis %d%s", t[k].axis, reverse ? " reverse" : "");
      name_shape(g, t[k].of);
      g->c.error = DHC_CASE_SUM;
      g->c.terms = value_of(t[k].of.dim[t[k].axis]);
      Shape h0 = {0};
      for (int d = 0; d < t[k].of.rank; d++)
        if (d != t[k].axis) h0.dim[h0.rank++] = t[k].of.dim[d];
      arg(g, g->flt, t[k].of);
      arg(g, g->flt, t[k].of);
      arg(g, g->flt, h0);
      attr_i(g, t[k].axis);
      attr_b(g, reverse);
      attr_b(g, false);
      case_end(g);
    }
  }
  /* 0.5^t h0 passes the least normal number and, if asked, becomes 0 */
  for (int flush = 0; flush < 2; flush++) {
    case_begin(g, flush ? "flush" : "no flush");
    g->c.smooth = false;
    DhcArray *a = arg(g, g->flt, SHAPE(140)), *b = arg(g, g->flt, SHAPE(140));
    for (int e = 0; e < 140; e++) a->f[e] = 0.5, b->f[e] = 0;
    arg(g, g->flt, SCALAR)->f[0] = 1;
    attr_i(g, 0);
    attr_b(g, false);
    attr_b(g, flush);
    case_end(g);
  }
}

/* ---- functions to call --------------------------------------------------------- */

typedef struct Callee {
  DhcFunc *f;
  DhcBuilder b;
} Callee;

static Callee callee(Gen *g, const char *name, DhcFuncKind kind) {
  DhcSpan none = {0};
  Callee c = {.f = dhc_func_new(g->m, name, kind, none)};
  c.b.f = c.f;
  return c;
}

static DhcValue *param(Gen *g, Callee *c, dhc_dtype t, Shape s) {
  DhcSpan none = {0};
  DhcParamInfo info = {.name = dhc_arena_printf(&g->arena, "p%d", c->f->params.n),
                       .role = DHC_ROLE_PLAIN,
                       .decl = -1};
  for (int d = 0; d < s.rank; d++) gen_bind(g, c->f, s.dim[d]);
  DhcType type = gen_type(g, t, s);
  return dhc_func_param(c->f, &type, info, none);
}

static DhcValue *un(Callee *c, DhcOp op, DhcValue *x) { return dhc_b_unary(&c->b, op, x); }

static DhcValue *bin(Callee *c, DhcOp op, DhcValue *x, DhcValue *y) {
  return dhc_b_binary(&c->b, op, x, y);
}

static void result(Gen *g, Callee *c, DhcValue *v) {
  dhc_func_result(c->f, v, dhc_arena_printf(&g->arena, "r%d", c->f->results.n));
}

/* ---- scan --------------------------------------------------------------------------- */

/* h' = tanh(x + h w), y = h' * h' */
static DhcFunc *body_rnn(Gen *g, Shape h, int64_t d) {
  static const int64_t last[] = {1}, first[] = {0};
  Callee c = callee(g, "rnn", DHC_FUNC_BODY);
  DhcValue *hv = param(g, &c, g->flt, h), *x = param(g, &c, g->flt, h);
  DhcValue *w = param(g, &c, g->flt, SHAPE(d, d));
  DhcValue *hw = dhc_b_dot(&c.b, hv, w, NULL, NULL, 0, last, first, 1);
  DhcValue *next = un(&c, DHC_OP_TANH, bin(&c, DHC_OP_ADD, x, hw));
  result(g, &c, next);
  result(g, &c, bin(&c, DHC_OP_MUL, next, next));
  return c.f;
}

/* s' = s + x; y = s' x and a count in integers beside it */
static DhcFunc *body_sum(Gen *g, Shape s) {
  Callee c = callee(g, "sum", DHC_FUNC_BODY);
  DhcValue *sv = param(g, &c, g->flt, s), *n = param(g, &c, DHC_I64, SCALAR);
  DhcValue *x = param(g, &c, g->flt, s);
  DhcValue *next = bin(&c, DHC_OP_ADD, sv, x);
  result(g, &c, next);
  result(g, &c, bin(&c, DHC_OP_ADD, n, dhc_b_scalar(&c.b, DHC_I64, 2)));
  result(g, &c, bin(&c, DHC_OP_MUL, next, x));
  return c.f;
}

/* c' = f c + i z, h' = o tanh(c'): two carries, two xs, one const, two ys */
static DhcFunc *body_gates(Gen *g, Shape s) {
  Callee c = callee(g, "gates", DHC_FUNC_BODY);
  DhcValue *cell = param(g, &c, g->flt, s), *h = param(g, &c, g->flt, s);
  DhcValue *x = param(g, &c, g->flt, s), *z = param(g, &c, g->flt, s);
  DhcValue *bias = param(g, &c, g->flt, s);
  DhcValue *gate = un(&c, DHC_OP_SIGMOID, bin(&c, DHC_OP_ADD, bin(&c, DHC_OP_ADD, x, h), bias));
  DhcValue *next = bin(&c, DHC_OP_ADD, bin(&c, DHC_OP_MUL, gate, cell), bin(&c, DHC_OP_MUL, x, z));
  DhcValue *out = bin(&c, DHC_OP_MUL, gate, un(&c, DHC_OP_TANH, next));
  result(g, &c, next);
  result(g, &c, out);
  result(g, &c, out);
  result(g, &c, bin(&c, DHC_OP_MUL, next, h));
  return c.f;
}

/* v' = v / 2 + k: no xs, no ys */
static DhcFunc *body_decay(Gen *g, Shape s) {
  Callee c = callee(g, "decay", DHC_FUNC_BODY);
  DhcValue *v = param(g, &c, g->flt, s), *k = param(g, &c, g->flt, s);
  DhcValue *half = dhc_b_scalar(&c.b, g->flt, 0.5);
  result(g, &c, bin(&c, DHC_OP_ADD, bin(&c, DHC_OP_MUL, v, half), k));
  return c.f;
}

static Shape with_axis(Shape s, int axis, int64_t extent) {
  Shape r = {s.rank + 1, {0}};
  for (int d = 0, k = 0; d < r.rank; d++) r.dim[d] = d == axis ? extent : s.dim[k++];
  return r;
}

static void scan_attrs(Gen *g, DhcFunc *body, int n_carry, int n_xs, int axis, int64_t length,
                       bool reverse) {
  const DhcDim *dims[4];
  attr_func(g, body);
  for (int k = 0; k < body->symbols.n; k++) dims[k] = dhc_dim_symbol(g->m->dims, body->symbols.at[k]);
  g->attr[g->n_attrs++] = dhc_attr_dims(g->m, dims, body->symbols.n);
  attr_i(g, n_carry);
  attr_i(g, n_xs);
  attr_i(g, axis);
  attr_dim(g, length);
  attr_b(g, reverse);
  g->c.error = DHC_CASE_CHAIN;
  g->c.terms = 8 * value_of(length);
  g->c.composed = true;
}

static void scans(Gen *g) {
  static const struct {
    Shape h; /* [rows, d] */
    int axis;
    int64_t length;
    bool reverse;
  } rnn[] = {{{2, {2, 3}}, 0, 4, false},    {{2, {2, 3}}, 1, 5, true},   {{2, {1, 1}}, 1, 1, false},
             {{2, {B(2), 4}}, 1, L(3), false}, {{2, {B(3), 2}}, 0, 2, true}, {{2, {3, 2}}, 2, 3, false}};
  for (int k = 0; k < (int)(sizeof rnn / sizeof *rnn); k++) {
    int64_t d = rnn[k].h.dim[1];
    case_begin(g, "rnn %d", k);
    name_shape(g, rnn[k].h);
    arg(g, g->flt, rnn[k].h);
    arg(g, g->flt, with_axis(rnn[k].h, rnn[k].axis, rnn[k].length));
    arg(g, g->flt, SHAPE(d, d));
    scan_attrs(g, body_rnn(g, rnn[k].h, d), 1, 1, rnn[k].axis, rnn[k].length, rnn[k].reverse);
    case_end(g);
  }
  static const Shape sums[] = {{0, {0}}, {1, {5}}, {1, {B(3)}}};
  for (int k = 0; k < 6; k++) {
    int64_t length = k % 2 ? L(4) : 17;
    Shape s = sums[k / 2];
    case_begin(g, "sum with integer carry %s", k % 2 ? "reverse" : "forward");
    name_shape(g, s);
    arg(g, g->flt, s);
    arg(g, DHC_I64, SCALAR);
    arg(g, g->flt, with_axis(s, 0, length));
    scan_attrs(g, body_sum(g, s), 2, 1, 0, length, k % 2);
    case_end(g);
  }
  for (int k = 0; k < 4; k++) {
    Shape s = k < 2 ? SHAPE(2, 3) : SHAPE(B(2), 1);
    case_begin(g, "gates %s", k % 2 ? "reverse" : "forward");
    name_shape(g, s);
    for (int j = 0; j < 2; j++) arg(g, g->flt, s);
    for (int j = 0; j < 2; j++) arg(g, g->flt, with_axis(s, 1, 4));
    arg(g, g->flt, s);
    scan_attrs(g, body_gates(g, s), 2, 2, 1, 4, k % 2);
    case_end(g);
  }
  case_begin(g, "decay without xs");
  arg(g, g->flt, SHAPE(4));
  arg(g, g->flt, SHAPE(4));
  scan_attrs(g, body_decay(g, SHAPE(4)), 1, 0, 0, 6, false);
  case_end(g);
}

void cases_scan(Gen *g) {
  if (g->op == DHC_OP_LINEAR_SCAN) linear_scans(g);
  if (g->op == DHC_OP_SCAN) scans(g);
}

/* ---- call, checkpoint ------------------------------------------------------------------ */

/* (x, y) -> (x y + x, exp(x / 8), 3): the last result has no gradient */
static DhcFunc *unit(Gen *g, Shape s) {
  Callee c = callee(g, "unit", DHC_FUNC_UNIT);
  DhcValue *x = param(g, &c, g->flt, s), *y = param(g, &c, g->flt, s);
  DhcValue *eighth = dhc_b_scalar(&c.b, g->flt, 0.125);
  result(g, &c, bin(&c, DHC_OP_ADD, bin(&c, DHC_OP_MUL, x, y), x));
  result(g, &c, un(&c, DHC_OP_EXP, bin(&c, DHC_OP_MUL, x, eighth)));
  result(g, &c, dhc_b_scalar(&c.b, DHC_I32, 3));
  return c.f;
}

/* x -> unit(x, x)[0] with the rows summed: a call within the call, and a reduction */
static DhcFunc *outer(Gen *g, DhcFunc *inner, Shape s) {
  static const int64_t first[] = {0};
  Callee c = callee(g, "outer", DHC_FUNC_UNIT);
  DhcValue *x = param(g, &c, g->flt, s), *both[] = {x, x};
  DhcNode *n = dhc_b_call(&c.b, DHC_OP_CALL, inner, both, 2);
  DhcValue *t = n ? un(&c, DHC_OP_TANH, n->results[0]) : NULL;
  result(g, &c, dhc_b_reduce(&c.b, DHC_OP_REDUCE_SUM, t, first, 1, false));
  return c.f;
}

void cases_call(Gen *g) {
  static const Shape of[] = {{0, {0}}, {1, {1}}, {2, {17, 33}}, {1, {16}},
                             {1, {15}}, {1, {17}}, {2, {B(3), 5}}, {2, {B(2), L(3)}}};
  if (g->op != DHC_OP_CALL && g->op != DHC_OP_CHECKPOINT) return;
  for (int k = 0; k < 8; k++) {
    for (int nested = 0; nested < (of[k].rank > 0 ? 2 : 1); nested++) {
      case_begin(g, nested ? "nested" : "flat");
      name_shape(g, of[k]);
      g->c.composed = true;
      g->c.error = DHC_CASE_CHAIN;
      g->c.terms = 8 * (nested ? value_of(of[k].dim[0]) : 1);
      arg(g, g->flt, of[k]);
      if (!nested) arg(g, g->flt, of[k]);
      DhcFunc *f = unit(g, of[k]);
      if (nested) f = outer(g, f, of[k]);
      DhcBuilder b = case_builder(g);
      case_end_node(g, dhc_b_call(&b, g->op, f, g->value, g->n_args));
    }
  }
}

/* ---- update ---------------------------------------------------------------------------- */

static void cases_ranks(Gen *g) {
  static const Shape of[] = {{0, {0}}, {1, {1}}, {2, {17, 33}}, {1, {16}}, {1, {15}}, {1, {17}}, {3, {2, 3, 5}}, {1, {B(3)}}};
  for (int k = 0; k < 8 && g->op == DHC_OP_SUM_RANKS; k++) {
    case_begin(g, "the only rank");
    name_shape(g, of[k]);
    arg(g, DHC_F32, of[k]);
    case_end(g);
  }
  static const int64_t parts[8][3] = {{0}, {1}, {17, 16}, {16, 0, 1}, {0, 15}, {5, 5, 7}, {2, 2, 2}, {64, 1}};
  for (int k = 0; k < 8 && g->op == DHC_OP_SPREAD_RANKS; k++) {
    Shape s = {1, {parts[k][0] + parts[k][1] + parts[k][2]}};
    case_begin(g, "what the only rank has");
    name_shape(g, s);
    arg(g, DHC_F32, s);
    attr_ints_n(g, 3, parts[k]);
    case_end(g);
  }
}

void cases_update(Gen *g) {
  cases_ranks(g);
  static const Shape of[] = {{0, {0}}, {1, {1}}, {2, {17, 33}}, {1, {16}},
                             {1, {15}}, {1, {17}}, {3, {2, 3, 5}}, {1, {B(3)}}}; /* an arena has rank 1 */
  static const DhcRole role[] = {DHC_ROLE_WEIGHT, DHC_ROLE_BUFFER, DHC_ROLE_STATE, DHC_ROLE_FLAT};
  for (int k = 0; k < 8 && g->op == DHC_OP_UPDATE; k++) {
    case_begin(g, "role %d", k % 4);
    name_shape(g, of[k]);
    g->role = role[k % 4];
    arg(g, k == 5 ? DHC_I32 : g->flt, of[k]);
    g->role = DHC_ROLE_INPUT;
    arg(g, k == 5 ? DHC_I32 : g->flt, of[k]);
    case_end(g);
  }
}
