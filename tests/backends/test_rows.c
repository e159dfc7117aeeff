/* Folds by blocks of threads where they are longer than a block of the sum rule, by rows and by columns, in one phase and
 * in two; and what needs no order: hits that are counted, integers that are scattered. Small cases of the same templates
 * are in test_templates.c. */
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

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(by_rows), cmocka_unit_test(by_columns), cmocka_unit_test(one_row),
                                     cmocka_unit_test(norm), cmocka_unit_test(counts), cmocka_unit_test(integers)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
