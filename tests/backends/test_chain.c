/* The chain template: contractions of rows that contractions give. Against the spec
 * interpreter, at every cut into tasks, and bit for bit against the loops of the definition. */
#include "tests/backends/spec_case.h"

#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

typedef struct Shape {
  int64_t rows, steps, k, columns;
} Shape;

enum {
  BATCH = 1,     /* an axis outside */
  BY_LANES = 2,  /* B lies [k, row] */
  SOFTMAX = 4,   /* folds of the rows, a second output of rows alone */
  TWO_STEPS = 8, /* R is two axes */
  FOLDED = 16,   /* inner dot's second operand is A */
  UNKNOWN = 32,  /* extents are arguments */
  RANGES = 64    /* steps count in a range that each row has, and else are 0 */
};

static int dot(SpecCase *c, uint32_t axes, int a, int b) {
  return case_fold(c, DHC_OP_DOT_GENERAL, DHC_F32, axes, a, b);
}

static int load(SpecCase *c, int n, const int *axes) {
  return case_load(c, case_operand(c, DHC_F32, -1, n, axes));
}

/* x where lo[row] <= step < hi[row], else `other` */
static int in_range(SpecCase *c, int x, int lo, int hi, int step, double other) {
  int at = case_node(c, (DhcSpecNode){.kind = DHC_SN_AXIS, .dtype = DHC_I64, .a = {-1, -1, -1, -1}, .operand = step});
  int both = case_node(c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_AND, .dtype = DHC_BOOL,
                                        .a = {case_ew(c, DHC_OP_LE, lo, at, -1), case_ew(c, DHC_OP_LT, at, hi, -1), -1, -1}});
  return case_ew(c, DHC_OP_SELECT, both, x, case_const(c, other));
}

/* y = f(a b^T) w, and for SOFTMAX the rows' sums */
static void one(int form, Shape f, const char *features, const int *v) {
  SpecCase c;
  case_init(&c, DHC_KIND_CHAIN);
  c.plain = "chain_plain";
  bool known = !(form & UNKNOWN);
  int batch = form & BATCH ? case_axis(&c, DHC_AXIS_PAR, 3, false) : -1, row = case_axis(&c, DHC_AXIS_PAR, f.rows, false);
  int outer = form & TWO_STEPS ? case_axis(&c, DHC_AXIS_RED, 3, false) : -1, step = case_axis(&c, DHC_AXIS_RED, f.steps, false);
  int k = case_axis(&c, DHC_AXIS_RED, f.k, known), col = case_axis(&c, DHC_AXIS_RED, f.columns, known && f.columns > 1);
  int a[4], b[4], w[4], y[4], l[3], na = 0, nb = 0, nw = 0, ny = 0, nl = 0;
  if (batch >= 0) a[na++] = b[nb++] = w[nw++] = y[ny++] = l[nl++] = batch;
  if (outer >= 0) a[na++] = w[nw++] = outer;
  a[na++] = step, a[na++] = k;
  if (form & BY_LANES) b[nb++] = k, b[nb++] = row;
  else b[nb++] = row, b[nb++] = k;
  w[nw++] = step, w[nw++] = col;
  y[ny++] = l[nl++] = row, y[ny++] = col;
  int lo = -1, hi = -1;
  if (form & RANGES) { /* inputs come first */
    lo = case_load(&c, case_operand(&c, DHC_I64, -1, nl, l));
    hi = case_load(&c, case_operand(&c, DHC_I64, -1, nl, l));
    c.int_hi = f.steps + 2;
  }
  int la = load(&c, na, a), lb = load(&c, nb, b), lw = load(&c, nw, w);
  uint32_t r = 1u << step | (outer >= 0 ? 1u << outer : 0);
  int s = form & FOLDED ? dot(&c, 1u << k, la, lb) : dot(&c, 1u << k, lb, la), e = s, n = -1;
  if (form & SOFTMAX) {
    if (lo >= 0) s = in_range(&c, s, lo, hi, step, -1e30);
    int m = case_fold(&c, DHC_OP_REDUCE_MAX, DHC_F32, r, s, -1);
    e = case_ew(&c, DHC_OP_EXP, case_ew(&c, DHC_OP_SUB, s, m, -1), -1, -1);
    if (lo >= 0) e = in_range(&c, e, lo, hi, step, 0);
    n = case_ew(&c, DHC_OP_MAX, case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, r, e, -1), case_const(&c, 1), -1);
  } else {
    e = case_ew(&c, DHC_OP_MUL, case_ew(&c, DHC_OP_MAX, s, case_const(&c, 0), -1), case_const(&c, 0.5), -1);
    if (lo >= 0) e = in_range(&c, e, lo, hi, step, 0);
  }
  int o = form & FOLDED ? dot(&c, r, lw, e) : dot(&c, r, e, lw);
  if (n >= 0) o = case_ew(&c, DHC_OP_DIV, o, n, -1);
  case_operand(&c, DHC_F32, o, ny, y);
  if (n >= 0) case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_LOG, n, -1, -1), nl, l);
  case_check(&c, features, v, 1e-4);
  case_free(&c);
}

static const Shape shapes[] = {{1, 1, 4, 1},  {3, 17, 8, 10}, {16, 5, 17, 16}, {65, 33, 64, 64}, {70, 130, 4, 33},
                               {15, 64, 3, 48}, {130, 65, 10, 8}};

static void all_forms(void **st) {
  (void)st;
  for (int form = 0; form < 128; form += 3) one(form, shapes[(form * 5 + form / 8) % 7], NULL, NULL);
}

static void all_shapes(void **st) {
  (void)st;
  for (int i = 0; i < 7; i++) {
    one(BATCH, shapes[i], NULL, NULL);
    one(SOFTMAX | RANGES, shapes[i], NULL, NULL);
  }
}

static void long_rows(void **st) { /* sums over more than one block of 4,096 */
  (void)st;
  one(SOFTMAX, (Shape){5, 5000, 4, 5}, NULL, NULL);
  one(SOFTMAX | TWO_STEPS | RANGES, (Shape){3, 4096, 4, 3}, NULL, NULL);
}

static void narrow(void **st) {
  (void)st;
  for (int form = 0; form < 128; form += 13) {
    one(form, shapes[form % 7], "-avx512f", NULL);
    one(form, shapes[(form + 3) % 7], "-avx512f,-avx2,-fma,-avx", NULL);
  }
}

static void tiles(void **st) {
  (void)st;
  static const int tile[][8] = {{2, 1}, {4, 2, 16}, {6, 4, 16, 8}, {1, 2, 8, 16}, {8, 2, 16, 128}};
  for (int i = 0; i < 5; i++) {
    one(SOFTMAX | RANGES, shapes[4], NULL, tile[i]);
    one(BATCH | TWO_STEPS, shapes[3], NULL, tile[i]);
  }
}

/* As in the derivative of attention: two inner contractions, three outer ones, two of which
 * share their columns. */
static void several(void **st) {
  (void)st;
  for (int i = 1; i < 7; i++) {
    SpecCase c;
    case_init(&c, DHC_KIND_CHAIN);
    c.plain = "chain_plain";
    c.lo = -0.5, c.hi = 0.5; /* exponentials of sums */
    Shape f = shapes[i];
    int row = case_axis(&c, DHC_AXIS_PAR, f.rows, false), step = case_axis(&c, DHC_AXIS_RED, f.steps, false);
    int k = case_axis(&c, DHC_AXIS_RED, f.k, true), j = case_axis(&c, DHC_AXIS_RED, 9, true);
    int col = case_axis(&c, DHC_AXIS_RED, f.columns, true), other = case_axis(&c, DHC_AXIS_RED, 20, true);
    int q = load(&c, 2, (int[]){row, k}), key = load(&c, 2, (int[]){step, k}), d = load(&c, 2, (int[]){step, j});
    int value = load(&c, 2, (int[]){row, j}), w = load(&c, 2, (int[]){step, col}), x = load(&c, 2, (int[]){step, other});
    int t = load(&c, 1, (int[]){step}), u = load(&c, 1, (int[]){row});
    int s = dot(&c, 1u << k, q, key), dp = dot(&c, 1u << j, d, value);
    int p = case_ew(&c, DHC_OP_EXP, case_ew(&c, DHC_OP_SUB, s, t, -1), -1, -1);
    int ds = case_ew(&c, DHC_OP_MUL, p, case_ew(&c, DHC_OP_SUB, dp, u, -1), -1);
    int o0 = dot(&c, 1u << step, ds, w), o1 = dot(&c, 1u << step, p, x), o2 = dot(&c, 1u << step, w, p);
    case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_ADD, o0, o2, -1), 2, (int[]){row, col});
    case_operand(&c, DHC_F32, o1, 2, (int[]){row, other});
    case_check(&c, NULL, NULL, 1e-4);
    case_free(&c);
  }
}

/* What has no rows to tile goes to the loops of the definition. */
static void no_rows(void **st) {
  (void)st;
  SpecCase c;
  case_init(&c, DHC_KIND_CHAIN);
  int row = case_axis(&c, DHC_AXIS_PAR, 5, false), step = case_axis(&c, DHC_AXIS_RED, 7, false);
  int k = case_axis(&c, DHC_AXIS_RED, 4, true), col = case_axis(&c, DHC_AXIS_RED, 3, true);
  int a = load(&c, 3, (int[]){row, step, k}), b = load(&c, 2, (int[]){row, k}), w = load(&c, 2, (int[]){step, col});
  case_operand(&c, DHC_F32, dot(&c, 1u << step, dot(&c, 1u << k, a, b), w), 2, (int[]){row, col});
  case_check(&c, NULL, NULL, 1e-4);
  case_free(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_forms), cmocka_unit_test(all_shapes), cmocka_unit_test(long_rows), cmocka_unit_test(narrow),
      cmocka_unit_test(tiles),     cmocka_unit_test(several),    cmocka_unit_test(no_rows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
