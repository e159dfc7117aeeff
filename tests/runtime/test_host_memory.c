/* Large blocks: kept for what comes next, never beside what is used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/device.h"

enum { MIB = 1 << 20 };

static void blocks(void **state) {
  (void)state;
  DhcHostMemory m = {0};
  bool zero;
  char *a = dhc_host_take(&m, 9 * MIB, &zero);
  assert_non_null(a);
  assert_true(zero);
  assert_int_equal((uintptr_t)a % (2 * MIB), 0);
  for (int i = 0; i < 9 * MIB; i++) assert_int_equal(a[i], 0);
  memset(a, 7, 9 * MIB);
  assert_false(dhc_host_give(&m, a + 64));
  assert_true(dhc_host_give(&m, a));
  assert_int_equal(dhc_host_kept(&m), 10 * MIB);

  char *b = dhc_host_take(&m, 10 * MIB, &zero); /* a little more than before fits */
  assert_ptr_equal(b, a);
  assert_false(zero);
  assert_int_equal(dhc_host_kept(&m), 0);
  char *c = dhc_host_take(&m, 10 * MIB, &zero);
  assert_ptr_not_equal(c, b);
  assert_true(zero);
  assert_true(dhc_host_give(&m, b));
  char *d = dhc_host_take(&m, 64 * MIB, &zero); /* more than ever before: what is kept goes */
  assert_true(zero);
  assert_int_equal(dhc_host_kept(&m), 0);
  assert_true(dhc_host_give(&m, c));
  assert_true(dhc_host_give(&m, d));
  c = dhc_host_take(&m, 5 * MIB, &zero); /* the smallest that fits */
  assert_false(zero);
  assert_int_equal(dhc_host_kept(&m), 64 * MIB);
  assert_true(dhc_host_give(&m, c));
  char *e = dhc_host_take(&m, 20 * MIB, &zero); /* 74 and an eighth at most: the smallest goes, the largest could not stay either */
  assert_true(zero);
  assert_int_equal(dhc_host_kept(&m), 0);
  assert_true(dhc_host_give(&m, e));
  assert_int_equal(dhc_host_kept(&m), 20 * MIB);
  c = dhc_host_take(&m, 5 * MIB, &zero); /* too large a block is not cut: but both have room */
  assert_true(zero);
  assert_int_equal(dhc_host_kept(&m), 20 * MIB);
  assert_true(dhc_host_give(&m, c));
  dhc_host_drop(&m);
  assert_null(m.blocks);
  assert_null(dhc_host_take(&m, INT64_MAX, &zero));
}

/* What a device gives is zero, whatever was in it. */
static void device(void **state) {
  (void)state;
  DhcDevice *d;
  DhcDevicePtr p, q;
  assert_int_equal(dhc_host_device_open("cpu", NULL, NULL, &d).code, DHC_OK);
  for (int round = 0; round < 2; round++) {
    assert_int_equal(d->ops->alloc(d, 6 * MIB, &p).code, DHC_OK);
    char *at = d->ops->view(d, p, 6 * MIB);
    for (int i = 0; i < 6 * MIB; i++) assert_int_equal(at[i], 0);
    memset(at, 1, 6 * MIB);
    d->ops->free(d, p);
  }
  bool zero;
  assert_int_equal(d->ops->alloc_any(d, 6 * MIB, &zero, &q).code, DHC_OK);
  assert_false(zero);
  assert_int_equal(q, p);
  d->ops->free(d, q);
  dhc_device_close(d);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(blocks), cmocka_unit_test(device)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
