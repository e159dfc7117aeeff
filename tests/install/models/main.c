/* What the objects of this project say and do. */
#include <stdio.h>
#include <string.h>

#include "reset.h"
#include "small.h"
#include "teacher.h"
#include "two.h"
#include "written.h"
#ifdef X86
#include "levels.h"
#include "plain.h"
#endif

static int fails;

static void check(int holds, const char *what) {
  if (holds) return;
  printf("FAILED: %s\n", what);
  fails++;
}

static int says(const char *describe, const char *text) { return strstr(describe, text) != NULL; }

int main(void) {
  static _Alignas(64) char work[SMALL_SELFTEST_WORKSPACE_BYTES], state[TEACHER_TRAIN_STEP_STATE_BYTES];
  check(says(small_describe(), "\"quantized\": \"int8\""), "QUANTIZE");
  check(small_selftest(work, sizeof work) == DHC_OBJECT_OK, "SELFTEST");
  check(SMALL_CLASSIFY_WORKSPACE_BYTES > 0 && SMALL_CLASSIFY_STACK_BYTES > 0, "BIND");
  check(teacher_train_step_init(state, sizeof state) == DHC_OBJECT_OK && says(teacher_describe(), "\"timing\": \"bounded\""), "TRAIN, TIMING");
  check(teacher_forward_workspace_bytes(2, 1) > 0, "ENTRY beside TRAIN");
  check(two_variant("narrow") == TWO_VARIANT_narrow && two_variant("wide") == TWO_VARIANT_wide && two_variant("other") < 0, "VARIANT");
  check(written_forward_workspace_bytes(2, 1) > 0 && written_forward_why(0) != NULL, "EMIT c, NAME");
  check(says(reset_describe(), "\"reset\""), "OPTIONAL, ROOT");
#ifdef X86
  check(levels_level() >= -1 && LEVELS_LEVEL_v4 == 2, "MULTIVERSION");
  check(says(plain_describe(), "x86-64-v2"), "TARGET_MACHINE, CPU");
  check(plain_weights_check(NULL, 0) == DHC_OBJECT_NULL, "WEIGHTS_FILE");
#endif
  return fails != 0;
}
