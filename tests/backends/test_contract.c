/* Contraction and convolution templates over odd shapes: against the spec interpreter, at
 * every cut into tasks, and bit for bit against the loops of the definition. */
#include "tests/backends/spec_case.h"

#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

/* y = relu(a . b + bias): layouts by bit: 1 A is [k, m], 2 B is [k, n], 4 y is [n, m],
 * 8 A has a prologue, 16 a batch axis outside, 32 no row axis */
static void one_dot(int form, int64_t m, int64_t n, int64_t k, const char *features, const int *v) {
  SpecCase c;
  case_init(&c, DHC_KIND_DOT);
  c.plain = "dot_plain";
  int ax[4], am[3], bm[3], ym[3], na = 0, nb = 0, ny = 0;
  bool batch = form & 16, row = !(form & 32);
  if (batch) am[na++] = bm[nb++] = ym[ny++] = case_axis(&c, DHC_AXIS_PAR, 3, false);
  int mi = row ? case_axis(&c, DHC_AXIS_PAR, m, false) : -1;
  ax[1] = case_axis(&c, DHC_AXIS_PAR, n, false);
  ax[2] = case_axis(&c, DHC_AXIS_RED, k, false);
  if (row && !(form & 1)) am[na++] = mi;
  am[na++] = ax[2];
  if (row && (form & 1)) am[na++] = mi;
  bm[nb++] = form & 2 ? ax[2] : ax[1];
  bm[nb++] = form & 2 ? ax[1] : ax[2];
  if (row && !(form & 4)) ym[ny++] = mi;
  ym[ny++] = ax[1];
  if (row && (form & 4)) ym[ny++] = mi;
  int oa = case_operand(&c, DHC_F32, -1, na, am), ob = case_operand(&c, DHC_F32, -1, nb, bm);
  int bias = case_operand(&c, DHC_F32, -1, 1, &ax[1]);
  int a = case_load(&c, oa), b = case_load(&c, ob);
  if (form & 8) a = case_ew(&c, DHC_OP_MUL, a, case_const(&c, 0.5), -1);
  int d = case_fold(&c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << ax[2], a, b);
  d = case_ew(&c, DHC_OP_ADD, d, case_load(&c, bias), -1);
  d = case_ew(&c, DHC_OP_MAX, d, case_const(&c, 0), -1);
  case_operand(&c, DHC_F32, d, ny, ym);
  case_check(&c, features, v, 1e-4);
  case_free(&c);
}

static void dot_shapes(void **st) {
  (void)st;
  static const int64_t mm[] = {1, 14, 3, 16, 33}, nn[] = {33, 1, 32, 5, 70}, kk[] = {1, 17, 64, 4};
  for (int form = 0; form < 64; form++)
    for (int i = 0; i < 3; i++)
      one_dot(form, mm[(form + i) % 5], nn[(form * 3 + 2 * i) % 5], kk[(form + i) % 4], NULL, NULL);
}

static void dot_large(void **st) {
  (void)st;
  one_dot(0, 130, 100, 300, NULL, NULL);
  one_dot(2, 130, 100, 300, NULL, NULL);
  one_dot(1, 65, 67, 129, NULL, NULL);
}

static void dot_narrow(void **st) {
  (void)st;
  for (int form = 0; form < 64; form += 5) {
    one_dot(form, 13, 21, 9, "-avx512f", NULL);
    one_dot(form, 7, 18, 5, "-avx512f,-avx2,-fma,-avx", NULL);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(dot_shapes), cmocka_unit_test(dot_large),
                                     cmocka_unit_test(dot_narrow)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
