/* The interpreter on every case of every op: runs, gives the declared shapes, agrees with
 * naive formulas and adjoint identities; every wrong use is refused. */
#include <math.h>

#include "tests/ops/check.h"

static const DhcCaseOptions options = {.seed = 1, .float_dtype = DHC_F32};

/* ---- every case runs ----------------------------------------------------------- */

static void runs(void *ctx, const DhcOpCase *c) {
  Check *k = ctx;
  k->cases++;
  if (!c->node) {
    check_fail(k, c, "was refused");
    return;
  }
  DhcArray *r[DHC_MAX_RESULTS];
  if (!dhc_case_run(c, r)) {
    check_fail(k, c, "did not run");
    return;
  }
  for (int i = 0; i < c->f->results.n; i++) {
    const DhcType *t = &c->f->results.at[i]->type;
    if (r[i]->dtype != t->dtype || r[i]->rank != t->rank) check_fail(k, c, "result %d has another type", i);
    for (int64_t e = 0; r[i]->f && !c->special && e < r[i]->n; e++)
      if (!isfinite(r[i]->f[e])) check_fail(k, c, "result %d [%lld] is %g", i, (long long)e, r[i]->f[e]);
    /* a result is within any bound of itself */
    if (dhc_case_mismatch(r[i], r[i], dhc_case_bound(c, i, r[i])) >= 0)
      check_fail(k, c, "result %d differs from itself", i);
  }
}

static void is_refused(void *ctx, const DhcOpCase *c) {
  Check *k = ctx;
  k->cases++;
  if (c->node) check_fail(k, c, "was accepted");
  if (!c->node && c->diags->n_errors == 0) check_fail(k, c, "was refused without a message");
}

static void count(void *ctx, const DhcOpCase *c) {
  (void)c;
  ++*(int *)ctx;
}

static int test_coverage(void) {
  int bad = 0;
  for (int op = 0; op < DHC_N_OPS; op++) {
    if (dhc_op_info((DhcOp)op)->cls == DHC_CLASS_META) continue;
    int n = 0, said = dhc_op_cases((DhcOp)op, &options, count, &n), n_wrong = 0;
    dhc_op_wrong_cases((DhcOp)op, &options, count, &n_wrong);
    bool may_be_wrong = op != DHC_OP_STOP_GRADIENT && op != DHC_OP_DIM;
    if (n >= 8 && n == said && (n_wrong > 0 || !may_be_wrong)) continue;
    fprintf(stderr, "%s: %d cases (said %d), %d wrong uses\n", dhc_op_info((DhcOp)op)->name, n, said, n_wrong);
    bad++;
  }
  printf("coverage: %d ops lack cases\n", bad);
  return bad > 0;
}

/* ---- adjoint identities ----------------------------------------------------------- */

static double dot(const DhcArray *a, const DhcArray *b, double *scale) {
  double s = 0;
  for (int64_t e = 0; e < a->n; e++) {
    s += a->f[e] * b->f[e];
    *scale += fabs(a->f[e] * b->f[e]);
  }
  return s;
}

static DhcArray *random_like(const DhcOpCase *c, const DhcArray *a, uint64_t *state) {
  DhcArray *r = dhc_array_new(c->arena, a->dtype, a->rank, a->dim);
  for (int64_t e = 0; e < r->n; e++) r->f[e] = dhc_case_uniform(state, -1, 1);
  return r;
}

/* Another op on these arrays (constant extents), with these attributes; NULL: refused. */
static DhcArray *apply(const DhcOpCase *c, DhcOp op, const DhcArray *const *args, int n,
                       const DhcAttr *attrs, int n_attrs) {
  DhcSpan none = {0};
  DhcFunc *f = dhc_func_new(c->m, "other", DHC_FUNC_ENTRY, none);
  DhcBuilder b = {.f = f};
  DhcValue *v[4];
  for (int k = 0; k < n; k++) {
    DhcType t = {.dtype = args[k]->dtype, .rank = args[k]->rank};
    for (int d = 0; d < t.rank; d++) t.dim[d] = dhc_dim_const(c->m->dims, args[k]->dim[d]);
    DhcParamInfo info = {.name = "p", .role = DHC_ROLE_INPUT, .decl = -1};
    v[k] = dhc_func_param(f, &t, info, none);
  }
  DhcArray *r = NULL;
  DhcValue *y = dhc_build1(&b, op, v, n, attrs, n_attrs);
  if (!y) return NULL;
  dhc_func_result(f, y, "r");
  return dhc_interp_run(c->arena, c->diags, f, args, &r, NULL) ? r : NULL;
}

static DhcAttr dims_of(const DhcOpCase *c, const DhcArray *a, int from, int n) {
  const DhcDim *d[DHC_MAX_RANK];
  for (int k = 0; k < n; k++) d[k] = dhc_dim_const(c->m->dims, a->dim[from + k]);
  return dhc_attr_dims(c->m, d, n);
}

static void expect_equal(Check *k, const DhcOpCase *c, const char *what, double a, double b, double scale) {
  if (!(fabs(a - b) <= 1e-12 * (1 + scale))) check_fail(k, c, "%s: %.17g and %.17g", what, a, b);
}

/* <conv(x, w), dy> = <x, conv_dx(dy, w)> = <w, conv_dw(x, dy)> */
static void conv_adjoints(Check *k, const DhcOpCase *c, const DhcArray *y) {
  uint64_t state = 5;
  const DhcArray *x = c->args[0], *w = c->args[1], *dy = random_like(c, y, &state);
  DhcAttr attrs[6];
  memcpy(attrs, c->node->attrs, 5 * sizeof *attrs);
  attrs[5] = dims_of(c, x, 2, x->rank - 2);
  const DhcArray *for_dx[] = {dy, w}, *for_dw[] = {x, dy};
  DhcArray *dx = apply(c, DHC_OP_CONV_DX, for_dx, 2, attrs, 6);
  attrs[5] = dims_of(c, w, 2, w->rank - 2);
  DhcArray *dw = apply(c, DHC_OP_CONV_DW, for_dw, 2, attrs, 6);
  if (!dx || !dw) {
    check_fail(k, c, "conv_dx or conv_dw was refused");
    return;
  }
  double scale = 0, want = dot(y, dy, &scale);
  expect_equal(k, c, "<x, conv_dx>", dot(x, dx, &scale), want, scale);
  expect_equal(k, c, "<w, conv_dw>", dot(w, dw, &scale), want, scale);
}

/* For y = A x linear in args[0]: <A x, u> = <x, A' u>, where A' is `back` on `args`. */
static void linear_adjoint(Check *k, const DhcOpCase *c, const DhcArray *y) {
  uint64_t state = 7;
  const DhcArray *x = c->args[0], *u = random_like(c, y, &state);
  DhcAttr attrs[DHC_MAX_ATTRS];
  memcpy(attrs, c->node->attrs, sizeof attrs);
  DhcArray *back = NULL;
  const DhcArray *args[3] = {u, c->f->params.n > 1 ? c->args[1] : NULL, NULL};
  switch (c->op) {
    case DHC_OP_WINDOW_GATHER: {
      int n = attrs[0].ints.n;
      attrs[2] = dims_of(c, x, x->rank - n, n);
      back = apply(c, DHC_OP_WINDOW_SCATTER, args, 2, attrs, 3);
      break;
    }
    case DHC_OP_GATHER:
      args[2] = u;
      args[0] = dhc_array_new(c->arena, x->dtype, x->rank, x->dim);
      back = apply(c, DHC_OP_SCATTER_ADD, args, 3, attrs, 1);
      break;
    case DHC_OP_TAKE_ALONG:
      attrs[1] = dhc_attr_dim(dhc_dim_const(c->m->dims, x->dim[attrs[0].i]));
      back = apply(c, DHC_OP_PUT_ALONG, args, 2, attrs, 2);
      break;
    case DHC_OP_PAD: {
      DhcAttr slice[3] = {attrs[0], dims_of(c, x, 0, x->rank), attrs[2]};
      back = apply(c, DHC_OP_SLICE, args, 1, slice, 3);
      break;
    }
    default: return;
  }
  double scale = 0, want = dot(y, u, &scale);
  if (!back)
    check_fail(k, c, "the adjoint was refused");
  else
    expect_equal(k, c, "<x, A' u>", dot(x, back, &scale), want, scale);
}

static void adjoints(void *ctx, const DhcOpCase *c) {
  Check *k = ctx;
  DhcArray *r[4];
  if (!c->node || c->f->results.n > 1 || !c->args[0]->f || !dhc_case_run(c, r)) return;
  k->cases++;
  if (c->op == DHC_OP_CONV)
    conv_adjoints(k, c, r[0]);
  else
    linear_adjoint(k, c, r[0]);
}

static int test_adjoints(void) {
  static const DhcOp ops[] = {DHC_OP_CONV, DHC_OP_WINDOW_GATHER, DHC_OP_GATHER, DHC_OP_TAKE_ALONG, DHC_OP_PAD};
  Check k = {.what = "adjoints"};
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) dhc_op_cases(ops[i], &options, adjoints, &k);
  printf("adjoints: %d cases, %d failed\n", k.cases, k.failed);
  return k.failed > 0 || k.cases < 40;
}

/* ---- naive formulas ------------------------------------------------------------------- */

/* Whole-array formulas written from the definitions, index by index. */
static double naive(const DhcOpCase *c, int64_t e, bool *known) {
  const DhcArray *x = c->args[0], *y = c->f->params.n > 1 ? c->args[1] : NULL;
  *known = true;
  switch (c->op) {
    case DHC_OP_REDUCE_SUM: {
      double s = 0;
      *known = dhc_attr(c->node, "axes")->ints.n == x->rank;
      for (int64_t i = 0; i < x->n; i++) s += x->f[i];
      return s;
    }
    case DHC_OP_DOT_GENERAL: {
      *known = x->rank == 2 && y->rank == 2 && dhc_attr(c->node, "contract_a")->ints.at[0] == 1 &&
               dhc_attr(c->node, "contract_b")->ints.at[0] == 0;
      if (!*known) return 0;
      double s = 0;
      int64_t m = y->dim[1];
      for (int64_t k = 0; k < x->dim[1]; k++) s += x->f[e / m * x->dim[1] + k] * y->f[k * m + e % m];
      return s;
    }
    case DHC_OP_TRANSPOSE:
      *known = x->rank == 2 && dhc_attr(c->node, "perm")->ints.at[0] == 1 && x->f;
      return *known ? x->f[e % x->dim[0] * x->dim[1] + e / x->dim[0]] : 0;
    case DHC_OP_LINEAR_SCAN: {
      *known = x->rank == 1 && !dhc_attr(c->node, "reverse")->b && c->smooth;
      double h = *known ? c->args[2]->f[0] : 0;
      for (int64_t t = 0; *known && t <= e; t++) h = x->f[t] * h + y->f[t];
      return h;
    }
    case DHC_OP_SIGMOID: return 0.5 * (1 + tanh(x->f[e] / 2));
    case DHC_OP_SOFTPLUS: return x->f[e] > 30 ? x->f[e] : log(1 + exp(x->f[e]));
    case DHC_OP_FMA: return x->f[e] * y->f[e] + c->args[2]->f[e];
    default: *known = false; return 0;
  }
}

static void formulas(void *ctx, const DhcOpCase *c) {
  Check *k = ctx;
  DhcArray *r[DHC_MAX_RESULTS];
  bool known = true;
  if (!c->node || c->special || c->f->results.n != 1 || !c->args[0] || !c->args[0]->f) return;
  if (c->f->results.at[0]->type.dtype != c->args[0]->dtype || !dhc_case_run(c, r)) return;
  for (int64_t e = 0; e < r[0]->n; e++) {
    double want = naive(c, e, &known);
    if (!known) return;
    if (!(fabs(want - r[0]->f[e]) <= 1e-11 * (1 + fabs(want))))
      check_fail(k, c, "[%lld]: want %.17g, got %.17g", (long long)e, want, r[0]->f[e]);
  }
  k->cases++;
}

/* ---- scalars ------------------------------------------------------------------------------ */

static int expect_i(const char *what, int64_t got, int64_t want) {
  if (got == want) return 0;
  fprintf(stderr, "%s: want %lld, got %lld\n", what, (long long)want, (long long)got);
  return 1;
}

static int64_t ew2(DhcOp op, dhc_dtype t, int64_t x, int64_t y) {
  DhcScalar s[2] = {{.i = x}, {.i = y}};
  return dhc_eval_ew(op, t, s).i;
}

static int64_t to_int(dhc_dtype t, double v) {
  DhcScalar s = {.f = v};
  return dhc_eval_cast(DHC_F64, t, s).i;
}

static int test_scalars(void) {
  int bad = 0;
  bad += expect_i("i32 wraps", ew2(DHC_OP_ADD, DHC_I32, INT32_MAX, 1), INT32_MIN);
  bad += expect_i("i64 wraps", ew2(DHC_OP_MUL, DHC_I64, INT64_MAX, 2), -2);
  bad += expect_i("u32 wraps", ew2(DHC_OP_SUB, DHC_U32, 0, 1), UINT32_MAX);
  bad += expect_i("-7 // 2", ew2(DHC_OP_FLOORDIV, DHC_I32, -7, 2), -4);
  bad += expect_i("-7 % 2", ew2(DHC_OP_REM, DHC_I32, -7, 2), 1);
  bad += expect_i("7 % -2", ew2(DHC_OP_REM, DHC_I32, 7, -2), -1);
  bad += expect_i("5 // 0", ew2(DHC_OP_FLOORDIV, DHC_I32, 5, 0), 0);
  bad += expect_i("least // -1", ew2(DHC_OP_FLOORDIV, DHC_I32, INT32_MIN, -1), INT32_MIN);
  bad += expect_i("1 << 31", ew2(DHC_OP_SHL, DHC_I32, 1, 31), INT32_MIN);
  bad += expect_i("1 << 32", ew2(DHC_OP_SHL, DHC_I32, 1, 32), 0);
  bad += expect_i("-8 >> 1", ew2(DHC_OP_SHR, DHC_I32, -8, 1), -4);
  bad += expect_i("-8 >> 70", ew2(DHC_OP_SHR, DHC_I32, -8, 70), -1);
  bad += expect_i("not true", ew2(DHC_OP_NOT, DHC_BOOL, 1, 0), 0);
  bad += expect_i("NaN to i32", to_int(DHC_I32, NAN), 0);
  bad += expect_i("1e30 to i32", to_int(DHC_I32, 1e30), INT32_MAX);
  bad += expect_i("-1e30 to i64", to_int(DHC_I64, -1e30), INT64_MIN);
  bad += expect_i("1e30 to i64", to_int(DHC_I64, 1e30), INT64_MAX);
  bad += expect_i("-1 to u8", to_int(DHC_U8, -1), 0);
  bad += expect_i("300 to u8", to_int(DHC_U8, 300), 255);
  bad += expect_i("-2.7 to i8", to_int(DHC_I8, -2.7), -2);
  bad += expect_i("NaN to bool", to_int(DHC_BOOL, NAN), 1);
  /* published vector: key and counter 0 */
  bad += expect_i("philox", dhc_eval_random(0, 0, 0, 0), 0x6627e8d5);
  bad += expect_i("philox all ones", dhc_eval_random(-1, -1, -1, -1), 0x408f276d);
  printf("scalars: %d failed\n", bad);
  return bad > 0;
}

/* The sum of block b of x, n elements in all. */
static double block_sum(const double *x, int64_t n, int64_t b) {
  double p[16] = {0}, q[8], r[4];
  for (int64_t e = 4096 * b; e < n && e < 4096 * (b + 1); e++) p[e % 16] += x[e];
  for (int i = 0; i < 8; i++) q[i] = p[i] + p[i + 8];
  for (int i = 0; i < 4; i++) r[i] = q[i] + q[i + 4];
  return (r[0] + r[2]) + (r[1] + r[3]);
}

/* Blocks [b, b + k), as the rule says it: the largest power of two below k of them, and the rest. */
static double tree_sum(const double *x, int64_t n, int64_t b, int64_t k) {
  if (k == 1) return block_sum(x, n, b);
  int64_t left = 1;
  while (2 * left < k) left *= 2;
  return tree_sum(x, n, b, left) + tree_sum(x, n, b + left, k - left);
}

/* Products [lo, hi) as the product rule says it; size: of the blocks they are cut into. */
static double product_sum(const double *x, const double *y, int64_t lo, int64_t hi, int64_t size) {
  double sum = 0;
  if (hi - lo <= 256)
    for (int64_t k = lo; k < hi; k++) sum = fma(x[k], y[k], sum);
  for (int64_t at = lo; hi - lo > 256 && at < hi; at += size)
    sum += product_sum(x, y, at, at + size < hi ? at + size : hi, size / 16);
  return sum;
}

/* The defined order of a sum shows where terms differ much in size. */
static int test_sum_order(void) {
  DhcArena arena;
  dhc_arena_init(&arena);
  DhcStrings strings = {.arena = &arena};
  DhcSources sources = {.arena = &arena};
  DhcDiags diags = {.arena = &arena, .sources = &sources};
  DhcModule *m = dhc_module_new(&arena, &strings, &diags);
  DhcOpCase c = {.arena = &arena, .diags = &diags, .m = m, .name = "sum order"};
  static const int64_t count[] = {40, 4096, 4096 + 40, 2 * 4096, 3 * 4096 + 1, 7 * 4096 + 40, 8 * 4096, 11 * 4096, 33 * 4096 + 300};
  int64_t axis = 0;
  uint64_t state = 3;
  bool good = true;
  for (size_t i = 0; i < sizeof count / sizeof *count; i++) {
    int64_t n = count[i];
    DhcArray *x = dhc_array_new(&arena, DHC_F64, 1, &n);
    for (int64_t e = 0; e < n; e++) x->f[e] = ldexp(dhc_case_uniform(&state, -1, 1), (int)(dhc_case_bits(&state) % 60));
    DhcAttr attrs[2] = {dhc_attr_ints(m, &axis, 1), dhc_attr_bool(false)};
    const DhcArray *args[] = {x};
    DhcArray *y = apply(&c, DHC_OP_REDUCE_SUM, args, 1, attrs, 2);
    bool same = y && y->f[0] == tree_sum(x->f, n, 0, (n + 4095) / 4096);
    printf("sum order, %lld elements: %s\n", (long long)n, same ? "as defined" : "WRONG");
    good = good && same;
    DhcAttr dot[4] = {dhc_attr_ints(m, &axis, 0), dhc_attr_ints(m, &axis, 0), dhc_attr_ints(m, &axis, 1), dhc_attr_ints(m, &axis, 1)};
    const DhcArray *pair[] = {x, x};
    y = apply(&c, DHC_OP_DOT_GENERAL, pair, 2, dot, 4);
    same = y && y->f[0] == product_sum(x->f, x->f, 0, n, 65536);
    printf("products, %lld of them: %s\n", (long long)n, same ? "as defined" : "WRONG");
    good = good && same;
  }
  dhc_arena_fini(&arena);
  return !good;
}

static int test_bytes(void) {
  DhcArena arena;
  dhc_arena_init(&arena);
  int bad = 0;
  const double f[] = {1, -2.5, 1.00390625, 1.01171875, 1e39, 0x1.01p0, 0x1.010000001p0, -0.0};
  const uint16_t bf16[] = {0x3f80, 0xc020, 0x3f80, 0x3f82, 0x7f80, 0x3f80, 0x3f81, 0x8000};
  int64_t n = 8;
  uint16_t out[8];
  DhcArray *a = dhc_array_new(&arena, DHC_BF16, 1, &n);
  memcpy(a->f, f, sizeof f);
  dhc_array_to_bytes(a, out);
  for (int e = 0; e < 8; e++) bad += expect_i("bf16", out[e], bf16[e]);
  static const dhc_dtype ints[] = {DHC_I64, DHC_I32, DHC_I16, DHC_I8, DHC_U32, DHC_U16, DHC_U8};
  for (int t = 0; t < 7; t++) {
    int64_t bytes[8];
    DhcArray *i = dhc_array_new(&arena, ints[t], 1, &n);
    for (int e = 0; e < 8; e++) i->i[e] = dhc_eval_wrap(ints[t], (e - 4) * 1234567891011);
    dhc_array_to_bytes(i, bytes);
    DhcArray *back = dhc_array_from_bytes(&arena, ints[t], 1, &n, bytes);
    for (int e = 0; e < 8; e++) bad += expect_i(dhc_dtype_name(ints[t]), back->i[e], i->i[e]);
  }
  printf("bytes: %d failed\n", bad);
  dhc_arena_fini(&arena);
  return bad > 0;
}

int main(void) {
  int bad = 0;
  bad += test_scalars();
  bad += test_bytes();
  bad += test_sum_order();
  bad += test_coverage();
  bad += check_all("runs", &options, runs, false);
  bad += check_all("wrong uses", &options, is_refused, true);
  bad += check_all("formulas", &options, formulas, false);
  bad += test_adjoints();
  return bad ? 1 : 0;
}
