/* Charges against a limit, and what a machine has by its files. */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "runtime/budget.h"
#include "runtime/io.h"

static void refuses_before_it_is_too_much(void **state) {
  (void)state;
  DhcBudget b;
  dhc_budget_init(&b, 1000 << 10);
  DhcCharge program = {{0}}, data = {{0}}, want = {{0}};
  want.bytes[DHC_USE_WEIGHTS] = 600 << 10;
  assert_ok(dhc_budget_charge(&b, &program, &want, "model"));
  assert_int_equal(dhc_budget_left(&b), 400 << 10);
  DhcCharge more = {{0}};
  more.bytes[DHC_USE_DATA] = 401 << 10;
  dhc_status s = dhc_budget_charge(&b, &data, &more, "data");
  assert_int_equal(s.code, DHC_E_INPUT);
  assert_string_equal(s.message, "data needs 1001 KiB (weights 600 KiB, data 401 KiB), limit is 1000 KiB (--max-memory)");
  assert_int_equal(data.bytes[DHC_USE_DATA], 0);
  more.bytes[DHC_USE_DATA] = 400 << 10;
  assert_ok(dhc_budget_charge(&b, &data, &more, "data"));
  /* the same again and less are no more than before */
  assert_ok(dhc_budget_charge(&b, &program, &want, "model"));
  want.bytes[DHC_USE_WORK] = INT64_MAX;
  assert_int_equal(dhc_budget_charge(&b, &program, &want, "model").code, DHC_E_INPUT);
  dhc_budget_release(&b, &program);
  assert_int_equal(dhc_budget_left(&b), 600 << 10);
  want.bytes[DHC_USE_WORK] = 0;
  assert_ok(dhc_budget_charge(&b, &program, &want, "model"));
}

/* A GPU's memory is its own: the host's limit is for data and copies, unless it was given. */
static void a_device_has_its_own(void **state) {
  (void)state;
  DhcBudget b;
  dhc_budget_init(&b, 1000 << 10);
  b.given = false;
  b.apart = 3000 << 10;
  DhcCharge program = {{0}}, data = {{0}}, want = {{0}}, more = {{0}};
  want.bytes[DHC_USE_WEIGHTS] = 600 << 10;
  want.bytes[DHC_USE_WORK] = 2400 << 10;
  assert_ok(dhc_budget_charge(&b, &program, &want, "entry 'loss'"));
  assert_int_equal(dhc_budget_left(&b), 1000 << 10);
  more.bytes[DHC_USE_DATA] = 1000 << 10;
  assert_ok(dhc_budget_charge(&b, &data, &more, "data"));
  more.bytes[DHC_USE_DATA]++;
  assert_int_equal(dhc_budget_charge(&b, &data, &more, "data").code, DHC_E_INPUT);
  want.bytes[DHC_USE_WORK]++;
  dhc_status s = dhc_budget_charge(&b, &program, &want, "entry 'loss'");
  assert_int_equal(s.code, DHC_E_ENVIRONMENT);
  assert_string_equal(s.message, "GPU memory: entry 'loss' needs 2.93 MiB (workspace 2.34 MiB, weights 600 KiB), 2.93 MiB are free; try a smaller --batch");
  want.bytes[DHC_USE_WORK] = INT64_MAX;
  assert_int_equal(dhc_budget_charge(&b, &program, &want, "entry 'loss'").code, DHC_E_ENVIRONMENT);
  b.given = true; /* of everything then, and said first */
  want.bytes[DHC_USE_WORK] = 2401 << 10;
  s = dhc_budget_charge(&b, &program, &want, "entry 'loss'");
  assert_int_equal(s.code, DHC_E_INPUT);
  assert_string_equal(s.message, "entry 'loss' needs 3.91 MiB (workspace 2.34 MiB, data 1000 KiB, weights 600 KiB), limit is 1000 KiB (--max-memory)");
}

static void put(const char *root, const char *path, const char *text) {
  char full[512];
  support_join(full, root, path);
  char *slash = strrchr(full, '/');
  *slash = '\0';
  assert_ok(dhc_file_make_folder(full));
  *slash = '/';
  FILE *f = fopen(full, "w");
  assert_non_null(f);
  fputs(text, f);
  assert_int_equal(fclose(f), 0);
}

static void what_a_machine_has(void **state) {
  (void)state;
  char root[256];
  support_folder(root);
  put(root, "proc/meminfo", "MemTotal:        8000000 kB\nMemFree: 1 kB\n");
  assert_int_equal(dhc_machine_memory(root), INT64_C(8000000) * 1024);
  put(root, "proc/self/cgroup", "9:name=systemd:/\n4:memory,cpu:/docker/abc\n0::/user/me\n");
  put(root, "proc/self/mountinfo",
      "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
      "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:1 - cgroup cgroup rw,memory\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  assert_int_equal(dhc_machine_memory(root), INT64_C(8000000) * 1024); /* no limits there */
  put(root, "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "9223372036854771712\n");
  assert_int_equal(dhc_machine_memory(root), INT64_C(8000000) * 1024);
  put(root, "sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "3000000000\n"); /* of the group above */
  assert_int_equal(dhc_machine_memory(root), 3000000000);
  put(root, "sys/fs/cgroup/unified/user/me/memory.max", "max\n");
  assert_int_equal(dhc_machine_memory(root), 3000000000);
  put(root, "sys/fs/cgroup/unified/user/memory.max", "2000000000\n");
  assert_int_equal(dhc_machine_memory(root), 2000000000);
  put(root, "sys/fs/cgroup/unified/other/memory.max", "1000\n");
  assert_int_equal(dhc_machine_memory(root), 2000000000);
  /* a container's mount begins at its own group, the path is the host's */
  put(root, "proc/self/cgroup", "0::/pod/box/inner\n");
  put(root, "proc/self/mountinfo", "41 31 0:38 /pod/box /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  assert_int_equal(dhc_machine_memory(root), INT64_C(8000000) * 1024);
  put(root, "sys/fs/cgroup/unified/inner/memory.max", "500000000\n");
  assert_int_equal(dhc_machine_memory(root), 500000000);
  assert_true(dhc_machine_memory("") > 0);
  support_drop(root);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(refuses_before_it_is_too_much), cmocka_unit_test(a_device_has_its_own),
                                     cmocka_unit_test(what_a_machine_has)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
