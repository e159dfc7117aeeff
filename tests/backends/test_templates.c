/* Every template over odd shapes against the spec interpreter. */
#include "tests/backends/spec_case.h"

#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

static const int64_t odd[] = {1, 2, 15, 16, 17, 33, 255, 4096, 4111, 40000};
enum { N_ODD = sizeof odd / sizeof *odd };

/* y = x * w + 1, one axis */
static void map_flat(void **st) {
  (void)st;
  for (int i = 0; i < N_ODD; i++) {
    SpecCase c;
    case_init(&c, DHC_KIND_MAP);
    int a = case_axis(&c, DHC_AXIS_PAR, odd[i], false);
    int x = case_operand(&c, DHC_F32, -1, 1, &a), w = case_operand(&c, DHC_F32, -1, 1, &a);
    int n = case_ew(&c, DHC_OP_MUL, case_load(&c, x), case_load(&c, w), -1);
    n = case_ew(&c, DHC_OP_ADD, n, case_const(&c, 1), -1);
    case_operand(&c, DHC_F32, n, 1, &a);
    case_check(&c, NULL, NULL, 1e-6);
    case_free(&c);
  }
}

/* y[i,j] = x[i,j] + b[j] * s[i], z[j,i] = that transposed */
static void map_broadcast(void **st) {
  (void)st;
  for (int i = 0; i < 6; i++)
    for (int k = 0; k < 6; k++) {
      SpecCase c;
      case_init(&c, DHC_KIND_MAP);
      int ij[2] = {case_axis(&c, DHC_AXIS_PAR, odd[i], false),
                   case_axis(&c, DHC_AXIS_PAR, odd[k], false)};
      int ji[2] = {ij[1], ij[0]};
      int x = case_operand(&c, DHC_F32, -1, 2, ij), b = case_operand(&c, DHC_F32, -1, 1, &ij[1]);
      int s = case_operand(&c, DHC_F32, -1, 1, &ij[0]);
      int n = case_ew(&c, DHC_OP_MUL, case_load(&c, b), case_load(&c, s), -1);
      n = case_ew(&c, DHC_OP_ADD, n, case_load(&c, x), -1);
      case_operand(&c, DHC_F32, n, 2, ij);
      case_operand(&c, DHC_F32, n, 2, ji);
      case_check(&c, NULL, (int[8]){0, 64}, 1e-6);
      case_free(&c);
    }
}

/* softmax with all its phases; argmax beside it */
static void row_softmax(void **st) {
  (void)st;
  for (int i = 0; i < N_ODD; i++) {
    if (odd[i] < 2) continue;
    SpecCase c;
    case_init(&c, DHC_KIND_ROW);
    int ir[2] = {case_axis(&c, DHC_AXIS_PAR, 5, false), case_axis(&c, DHC_AXIS_RED, odd[i], false)};
    int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, ir));
    int m = case_fold(&c, DHC_OP_REDUCE_MAX, DHC_F32, 2, x, -1);
    int e = case_ew(&c, DHC_OP_EXP, case_ew(&c, DHC_OP_SUB, x, m, -1), -1, -1);
    int s = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 2, e, -1);
    int arg = case_fold(&c, DHC_OP_ARGMAX, DHC_I32, 2, x, -1);
    case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_DIV, e, s, -1), 2, ir);
    case_operand(&c, DHC_F32, s, 1, ir);
    case_operand(&c, DHC_I32, arg, 1, ir);
    case_check(&c, NULL, (int[8]){0, 16}, 1e-5);
    case_free(&c);
  }
}

/* column sums, maxima and argmax: [r, j] -> [j] */
static void row_columns(void **st) {
  (void)st;
  for (int i = 0; i < N_ODD; i++)
    for (int k = 0; k < 6; k += 2) {
      SpecCase c;
      case_init(&c, DHC_KIND_ROW);
      int j = case_axis(&c, DHC_AXIS_PAR, odd[k], false);
      int r = case_axis(&c, DHC_AXIS_RED, odd[i], false);
      int x = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){r, j}));
      case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 2, x, -1), 1, &j);
      case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_REDUCE_MIN, DHC_F32, 2, x, -1), 1, &j);
      case_operand(&c, DHC_I64, case_fold(&c, DHC_OP_ARGMAX, DHC_I64, 2, x, -1), 1, &j);
      case_operand(&c, DHC_F32, case_fold(&c, DHC_OP_ADD, DHC_F32, 2, x, -1), 1, &j);
      case_check(&c, NULL, (int[8]){0, 16}, 2e-4);
      case_free(&c);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(map_flat), cmocka_unit_test(map_broadcast), cmocka_unit_test(row_softmax),
      cmocka_unit_test(row_columns)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
