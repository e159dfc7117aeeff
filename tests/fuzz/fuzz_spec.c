/* Fuzz target: any bytes as a kernel spec: what parses prints and parses again to an equal one, has
 * schedules for every width of vectors, and each is lowered or refused with a reason. */
#include <stdlib.h>
#include <string.h>

#include "backends/loop/tpl.h"
#include "passes/plan/schedule.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/words.h"

static void lower(DhcArena *arena, const DhcSpec *s) {
  static const DhcTargetFacts targets[] = {
      {.kind = DHC_TARGET_CPU, .vector_bytes = 64, .task_elements = 16384, .has_fma = true},
      {.kind = DHC_TARGET_CPU, .vector_bytes = 16, .task_elements = 16384},
  };
  for (size_t t = 0; t < sizeof targets / sizeof *targets; t++) {
    DhcSchedule classes[DHC_MAX_CLASSES];
    int n = dhc_schedule_choose(s, &targets[t], arena, classes);
    for (int i = 0; i < n; i++) {
      const char *why = NULL;
      DhcTplInput in = {.spec = s, .schedule = &classes[i], .facts = &targets[t], .arena = arena};
      DhcLp *p = dhc_template_build(&in, &why);
      fuzz_check(p || why, "a template that refuses says why");
    }
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  DhcArena arena;
  dhc_arena_init(&arena);
  DhcSources sources = {.arena = &arena};
  DhcDiags diags = {.arena = &arena, .sources = &sources};
  uint32_t end = 0, file = dhc_sources_add(&sources, "fuzz", NULL, (const char *)data, n);
  DhcSpec *s = dhc_spec_parse(&arena, &diags, file, 0, &end);
  fuzz_check(s || diags.n_errors, "what is refused has a message");
  if (s) {
    DhcText text = {.arena = &arena};
    dhc_spec_print(s, &text);
    file = dhc_sources_add(&sources, "printed", NULL, dhc_text_str(&text), (size_t)text.n);
    const DhcSpec *again = dhc_spec_parse(&arena, &diags, file, 0, &end);
    fuzz_check(again && dhc_spec_equal(s, again), "a printed spec parses to an equal one");
    (void)dhc_spec_flops(s, &arena);
    (void)dhc_spec_bytes(s, &arena);
    lower(&arena, s);
  }
  dhc_diags_print(&diags, fuzz_sink(), false);
  dhc_arena_fini(&arena);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) {
  return fuzz_mutate_text(data, n, max, seed, spec_words);
}
