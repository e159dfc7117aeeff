/* Folds by blocks of threads where they are longer than a block of the sum rule, by rows and by columns, in one phase and
 * in two; what needs no order: hits that are counted,
 * integers that are scattered; and chains, a thread a row. Small cases of the same templates
 * are in test_templates.c. */
#include "passes/plan/schedule.h"
#include "tests/backends/spec_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

/* Sum of x and of x * x, and the largest x, over the last axis (or the first: by columns). */
static void folds(int64_t rows, int64_t n, bool columns) {
  SpecCase c;
  case_init(&c, DHC_KIND_ROW);
  c.all_classes = true;
  int i = case_axis(&c, DHC_AXIS_PAR, rows, false), r = case_axis(&c, DHC_AXIS_RED, n, false);
  int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, columns ? (int[]){r, i} : (int[]){i, r}));
  int square = case_ew(&c, DHC_OP_MUL, x, x, -1);
  int sum = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 1u << r, x, -1);
  int squares = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 1u << r, square, -1);
  int most = case_fold(&c, DHC_OP_REDUCE_MAX, DHC_F32, 1u << r, x, -1);
  case_operand(&c, DHC_F32, sum, 1, &i);
  case_operand(&c, DHC_F32, squares, 1, &i);
  case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_ADD, most, sum, -1), 1, &i);
  case_check(&c, "", NULL, 1e-5);
  case_free(&c);
}

static void by_rows(void **st) { (void)st; folds(2, 9000, false); }
static void by_columns(void **st) { (void)st; folds(35, 4200, true); }
static void one_row(void **st) { (void)st; folds(1, 20 * 4096 + 17, false); } /* 21 blocks: a tree with gaps */

/* y = x / (sum of x * x): what is made of the fold goes back over the row, in place of x. */
static void norm(void **st) {
  (void)st;
  SpecCase c;
  case_init(&c, DHC_KIND_ROW);
  c.all_classes = true;
  c.lo = 0.5;
  c.hi = 1;
  int i = case_axis(&c, DHC_AXIS_PAR, 3, false), r = case_axis(&c, DHC_AXIS_RED, 700, false);
  int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){i, r}));
  int sum = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 1u << r, case_ew(&c, DHC_OP_MUL, x, x, -1), -1);
  case_operand(&c, DHC_F32, sum, 1, &i);
  case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_DIV, x, sum, -1), 2, (int[]){i, r});
  case_check(&c, "", NULL, 1e-5);
  case_free(&c);
}

/* y = x * c / (sum of x * x + c * c) * g, and the sum of that added: rows that a block of threads holds, and of other lengths. */
static void held(void **st) {
  (void)st;
  static const int64_t n[] = {4, 64, 200, 512, 516, 41};
  for (int k = 0; k < 6; k++) {
    SpecCase c;
    case_init(&c, DHC_KIND_ROW);
    c.all_classes = true;
    int i = case_axis(&c, DHC_AXIS_PAR, 3, false), r = case_axis(&c, DHC_AXIS_RED, n[k], false);
    int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){i, r})), g = case_load(&c, case_operand(&c, DHC_F32, -1, 1, &r));
    int eps = case_load(&c, case_operand(&c, DHC_F32, -1, 0, NULL));
    int squares = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 1u << r, case_ew(&c, DHC_OP_MUL, x, x, -1), -1);
    int scale = case_ew(&c, DHC_OP_DIV, eps, case_ew(&c, DHC_OP_ADD, squares, case_ew(&c, DHC_OP_MUL, eps, eps, -1), -1), -1);
    int y = case_ew(&c, DHC_OP_MUL, case_ew(&c, DHC_OP_MUL, x, scale, -1), g, -1);
    int sum = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 1u << r, y, -1);
    case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_ADD, y, sum, -1), 2, (int[]){i, r});
    assert_true(dhc_spec_holds(c.s));
    case_check(&c, "", NULL, 1e-5);
    case_free(&c);
  }
}

/* The sum of a channel's planes, as a bias' gradient is: lines of whole fours, and not. */
static void planes(void **st) {
  (void)st;
  for (int64_t size = 420; size < 422; size++) {
    SpecCase c;
    case_init(&c, DHC_KIND_ROW);
    c.all_classes = true;
    int i = case_axis(&c, DHC_AXIS_PAR, 3, false), n = case_axis(&c, DHC_AXIS_RED, 20, false), p = case_axis(&c, DHC_AXIS_RED, size, false);
    int x = case_load(&c, case_operand(&c, DHC_F32, -1, 3, (int[]){n, i, p}));
    case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 1u << n | 1u << p, x, -1), 1, &i);
    case_check(&c, "", NULL, 1e-4);
    case_free(&c);
  }
}

/* How often each of three values has come so far. */
static void counts(void **st) {
  (void)st;
  SpecCase c;
  case_init(&c, DHC_KIND_SCAN);
  c.all_classes = true;
  c.int_hi = 2;
  int i = case_axis(&c, DHC_AXIS_PAR, 3, false), t = case_axis(&c, DHC_AXIS_SEQ, 1300, false);
  int x = case_load(&c, case_operand(&c, DHC_I32, -1, 1, &t));
  int bin = case_node(&c, (DhcSpecNode){.kind = DHC_SN_AXIS, .dtype = DHC_I64, .operand = i, .a = {-1, -1, -1, -1}});
  int number = case_node(&c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_CAST, .dtype = DHC_I32, .a = {bin, -1, -1, -1}});
  int hit = case_node(&c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_EQ, .dtype = DHC_BOOL, .a = {x, number, -1, -1}});
  int one = case_node(&c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_CAST, .dtype = DHC_F32, .a = {hit, -1, -1, -1}});
  int h = case_node(&c, (DhcSpecNode){.kind = DHC_SN_SCAN, .op = DHC_OP_LINEAR_SCAN, .dtype = DHC_F32,
                                      .a = {case_const(&c, 1), one, case_const(&c, 0), -1}});
  case_operand(&c, DHC_F32, h, 2, (int[]){t, i});
  assert_true(dhc_spec_counts(c.s));
  case_check(&c, "", NULL, 0);
  c.s->node[c.s->node[h].a[2]].f = 1; /* not from 0: the sums need not be whole numbers for all that is known */
  assert_false(dhc_spec_counts(c.s));
  case_free(&c);
}

/* Rows with ties, both zeros, infinities and NaN; the second operand is the first, or other numbers. */
static void alike_rows(const SpecCase *c, int operand, double *to) {
  static const double some[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1.5, -1.5, 1e-40};
  int64_t n = c->extent[0] * c->extent[operand ? 1 : 2];
  uint32_t r = operand && c->arg[0] ? 77 : 5;
  for (int64_t i = 0; i < n; i++) {
    r = r * 1664525u + 1013904223u;
    to[i] = (r >> 29) ? (double)(float)((int32_t)r * 1e-6) : some[r >> 20 & 7];
  }
}

static int is_nan(SpecCase *c, int x) {
  return case_node(c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_NE, .dtype = DHC_BOOL, .a = {x, x, -1, -1}});
}
static int whole_op(SpecCase *c, DhcOp op, int a, int b) {
  return case_node(c, (DhcSpecNode){.kind = DHC_SN_EW, .op = op, .dtype = DHC_I32, .a = {a, b, -1, -1}});
}
static int test_op(SpecCase *c, DhcOp op, int a, int b) {
  return case_node(c, (DhcSpecNode){.kind = DHC_SN_EW, .op = op, .dtype = DHC_BOOL, .a = {a, b, -1, -1}});
}
/* What x is compared by: itself, or infinity and a number (of `axis`) in front of or behind all others. */
static void in_order(SpecCase *c, int x, int axis, bool falling, int *value, int *number) {
  int nan = is_nan(c, x), inf = case_const(c, INFINITY);
  *value = case_node(c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_SELECT, .dtype = DHC_F32, .a = {nan, inf, x, -1}});
  int i = case_node(c, (DhcSpecNode){.kind = DHC_SN_AXIS, .dtype = DHC_I64, .operand = axis, .a = {-1, -1, -1, -1}});
  int far = case_node(c, (DhcSpecNode){.kind = DHC_SN_CONST, .dtype = DHC_I32, .i = 1 << 30, .a = {-1, -1, -1, -1}});
  i = whole_op(c, DHC_OP_CAST, i, -1);
  if (!falling) *number = whole_op(c, DHC_OP_ADD, i, whole_op(c, DHC_OP_MUL, whole_op(c, DHC_OP_CAST, nan, -1), far));
  else *number = case_node(c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_SELECT, .dtype = DHC_I32, .a = {nan, i, whole_op(c, DHC_OP_ADD, i, far), -1}});
}

/* How many elements of a row come before each: counted pair by pair, or sorted where the row is long and both operands hold the same. */
static void ranks(void **st) {
  (void)st;
  static const int64_t shape[][4] = {{3, 1, 1, 0}, {4, 33, 33, 0}, {2, 40, 71, 1}, {2, 550, 550, 0}, {1, 513, 513, 1}, {1, 600, 530, 1}};
  for (size_t k = 0; k < 2 * (sizeof shape / sizeof *shape); k++) {
    const int64_t *e = shape[k / 2];
    bool falling = k % 2;
    SpecCase c;
    case_init(&c, DHC_KIND_ROW);
    c.floats = alike_rows;
    int i = case_axis(&c, DHC_AXIS_PAR, e[0], false), mine = case_axis(&c, DHC_AXIS_PAR, e[1], false), other = case_axis(&c, DHC_AXIS_RED, e[2], false);
    c.arg[0] = e[3];
    int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){i, other})), y = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){i, mine}));
    int a, b, first, second;
    in_order(&c, x, other, falling, &a, &first);
    in_order(&c, y, mine, falling, &b, &second);
    int tie = test_op(&c, DHC_OP_AND, test_op(&c, DHC_OP_EQ, a, b), test_op(&c, DHC_OP_LT, first, second));
    int before = test_op(&c, DHC_OP_OR, test_op(&c, falling ? DHC_OP_GT : DHC_OP_LT, a, b), tie);
    int rank = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_I32, 1u << other, whole_op(&c, DHC_OP_CAST, before, -1), -1);
    case_operand(&c, DHC_I32, rank, 2, (int[]){i, mine});
    DhcSpecRanks r;
    DhcSchedule cls[DHC_MAX_CLASSES];
    assert_true(dhc_spec_ranks(c.s, &r));
    assert_true(r.falling == falling && r.x == x && r.y == y && r.mine == mine);
    assert_int_equal(dhc_schedule_choose(c.s, &(DhcTargetFacts){.vector_bytes = 64}, &c.arena, cls), 1);
    assert_string_equal(cls[0].template_name, "ranks");
    case_check(&c, NULL, NULL, 0);
    c.s->node[before].op = DHC_OP_AND; /* no order */
    assert_false(dhc_spec_ranks(c.s, &r));
    case_free(&c);
  }
}

/* out[at[i, k]] += i, several to a place. */
static void integers(void **st) {
  (void)st;
  SpecCase c;
  case_init(&c, DHC_KIND_SCATTER);
  c.all_classes = true;
  c.int_hi = 6;
  int i = case_axis(&c, DHC_AXIS_RED, 300, false), k = case_axis(&c, DHC_AXIS_RED, 2, false);
  int at = case_load(&c, case_operand(&c, DHC_I32, -1, 2, (int[]){i, k}));
  int place = case_node(&c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_CAST, .dtype = DHC_I64, .a = {at, -1, -1, -1}});
  int number = case_node(&c, (DhcSpecNode){.kind = DHC_SN_AXIS, .dtype = DHC_I64, .operand = i, .a = {-1, -1, -1, -1}});
  int value = case_node(&c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_CAST, .dtype = DHC_I32, .a = {number, -1, -1, -1}});
  int out = case_operand(&c, DHC_I32, value, 0, NULL);
  c.size[out] = 7;
  case_term(&c, out, (DhcTerm){.div = 1, .index = place, .guarded = true, .unit = true}, 1, 0, 7);
  case_check(&c, "", NULL, 0);
  case_free(&c);
}

/* Scores of 70 rows by some steps, 300 of them more than a block of products, their largest, what lies below it, its sum, and two outer contractions of it. */
static void chain_of(int64_t rows, int64_t n_steps, double tolerance) {
  SpecCase c;
  case_init(&c, DHC_KIND_CHAIN);
  c.all_classes = true;
  int g = case_axis(&c, DHC_AXIS_PAR, 2, false), i = case_axis(&c, DHC_AXIS_PAR, rows, false), s = case_axis(&c, DHC_AXIS_RED, n_steps, false);
  int k = case_axis(&c, DHC_AXIS_RED, 8, true), d = case_axis(&c, DHC_AXIS_RED, 4, true), e = case_axis(&c, DHC_AXIS_RED, 12, true);
  int q = case_load(&c, case_operand(&c, DHC_F32, -1, 3, (int[]){g, i, k}));
  int key = case_load(&c, case_operand(&c, DHC_F32, -1, 3, (int[]){g, s, k}));
  int v = case_load(&c, case_operand(&c, DHC_F32, -1, 3, (int[]){g, s, d}));
  int w = case_load(&c, case_operand(&c, DHC_F32, -1, 3, (int[]){g, s, e}));
  int score = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << k, q, key);
  int most = case_fold(&c, DHC_OP_REDUCE_MAX, DHC_F32, 1u << s, score, -1);
  int below = case_ew(&c, DHC_OP_SUB, score, most, -1);
  int first = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << s, below, v);
  int second = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << s, below, w);
  int sum = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 1u << s, below, -1);
  case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_ADD, first, sum, -1), 3, (int[]){g, i, d});
  case_operand(&c, DHC_F32, second, 3, (int[]){g, i, e});
  case_operand(&c, DHC_F32, sum, 2, (int[]){g, i});
  const char *why = NULL;
  const DhcSchedule schedule = {.template_name = "chain_rows", .v = {0, 64, 32, 4}};
  const DhcTargetFacts cuda = {.kind = DHC_TARGET_GPU};
  DhcTplInput in = {c.s, &schedule, &cuda, &c.arena};
  DhcLp *p = dhc_template_build(&in, &why);
  assert_true(p && p->threads == 64); /* it is this template that takes it */
  case_check(&c, "", NULL, tolerance);
  case_free(&c);
}

static void chain(void **st) {
  (void)st;
  chain_of(70, 41, 1e-5);
  chain_of(3, 300, 1e-4); /* products of either sign, far larger than what is left of them */
}

/* h <- a h + b over 19 steps of 70 channels with 12 states: contracted with c in each step, every state stored in each
 * step, and the last ones; forwards and backwards. */
/* One step of a recurrence with the projection before it: folds of some fours of elements within each other, which threads of a GPU read four
 * at a time. */
static void short_folds(void **st) {
  (void)st;
  for (int extent = 4; extent <= 16; extent += 4) {
    SpecCase c;
    case_init(&c, DHC_KIND_ROW);
    c.all_classes = true; /* a GPU's bits are the CPU's */
    int i = case_axis(&c, DHC_AXIS_PAR, 3, false), j = case_axis(&c, DHC_AXIS_PAR, 5, false), n = case_axis(&c, DHC_AXIS_RED, extent, true);
    int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){i, n})), w = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){j, n}));
    int y = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){i, n}));
    int step = case_ew(&c, DHC_OP_MUL, case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << n, x, w), y, -1);
    case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 1u << n, case_ew(&c, DHC_OP_MUL, step, x, -1), -1), 2, (int[]){i, j});
    case_check(&c, "", NULL, 1e-5);
    case_free(&c);
  }
}

static void states(void **st) {
  (void)st;
  for (int reverse = 0; reverse < 2; reverse++) {
    SpecCase c;
    case_init(&c, DHC_KIND_SCAN);
    c.all_classes = true;
    c.lo = -0.9;
    c.hi = 0.9;
    c.s->n_attrs = 1;
    c.s->attr[0] = reverse;
    int g = case_axis(&c, DHC_AXIS_PAR, 2, false), i = case_axis(&c, DHC_AXIS_PAR, 70, false), t = case_axis(&c, DHC_AXIS_SEQ, 19, false);
    int n = case_axis(&c, DHC_AXIS_RED, 12, true);
    int a = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){n, i})), x = case_load(&c, case_operand(&c, DHC_F32, -1, 3, (int[]){g, t, i}));
    int b = case_load(&c, case_operand(&c, DHC_F32, -1, 3, (int[]){g, t, n})), w = case_load(&c, case_operand(&c, DHC_F32, -1, 3, (int[]){g, t, n}));
    int h0 = case_load(&c, case_operand(&c, DHC_F32, -1, 3, (int[]){g, n, i}));
    int h = case_node(&c, (DhcSpecNode){.kind = DHC_SN_SCAN, .op = DHC_OP_LINEAR_SCAN, .dtype = DHC_F32, .i = 1,
                                        .a = {a, case_ew(&c, DHC_OP_MUL, x, b, -1), h0, -1}});
    int y = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 1u << n, case_ew(&c, DHC_OP_MUL, h, w, -1), -1);
    case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_ADD, y, x, -1), 3, (int[]){g, t, i});
    case_operand(&c, DHC_F32, h, 4, (int[]){g, t, n, i});
    case_operand(&c, DHC_F32, h, 3, (int[]){g, n, i});
    const char *why = NULL;
    const DhcSchedule schedule = {.template_name = "scan_states", .v = {0, 64, 16, 4}};
    const DhcTargetFacts cuda = {.kind = DHC_TARGET_GPU};
    DhcTplInput in = {c.s, &schedule, &cuda, &c.arena};
    DhcLp *p = dhc_template_build(&in, &why);
    assert_true(p && p->threads == 64);
    case_check(&c, "", NULL, 1e-5);
    case_free(&c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(by_rows), cmocka_unit_test(by_columns), cmocka_unit_test(one_row),
                                     cmocka_unit_test(norm), cmocka_unit_test(short_folds), cmocka_unit_test(held), cmocka_unit_test(planes), cmocka_unit_test(counts), cmocka_unit_test(integers),
                                     cmocka_unit_test(ranks), cmocka_unit_test(chain), cmocka_unit_test(states)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
