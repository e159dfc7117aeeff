/* Random graphs, interpreted as made and after fusion (alone, after the clean-up, and after it as for a target that computes
 * anew rather than start another kernel, without derivatives and with): equal bits; behind the clean-up, whose rule for the sum of one
 * term may give -0 for +0, but for a zero's sign.
 *
 *   test_fuse_random [graphs] [first seed] */
#include <stdlib.h>

#include "passes/passes.h"
#include "tests/random/random_graph.h"

/* ctx: passes before fusion, and, "again" or "derived", as for which target. */
static bool fuse(void *ctx, DhcModule *m, DhcFunc **f) {
  const char *name = (*f)->name;
  DhcArena scratch;
  DhcPassCtx px;
  dhc_arena_init(&scratch);
  dhc_pass_ctx_init(&px, m, &scratch);
  px.folds_again = px.norms = ctx && *(const char *)ctx == 'a';
  px.repeats = px.folds_again || (ctx && *(const char *)ctx == 'd');
  bool ok = (!ctx || dhc_passes_clean(m, &px)) && dhc_passes_run(m, &px, "fusion");
  dhc_arena_fini(&scratch);
  *f = dhc_module_func(m, name);
  return ok && *f;
}

/* What random graphs found. */
static const uint64_t known[] = {
    2376, /* of a sum within a sum, over two axes, one was there already */
    9300423, /* of the maximum of a softmax over two axes: its sums are needed in their own loop */
    9300435, /* of a convolution into a wider tensor, whose rows are as long as those of planes */
    51069 /* another kernel's value computed again under a guard: -0 outside */
};
enum { KNOWN = sizeof known / sizeof *known };

int main(int argc, char **argv) {
  int graphs = argc > 1 ? atoi(argv[1]) : 300, bad = 0;
  uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  static char clean[] = "clean", again[] = "again", derived[] = "derived";
  DhcRandomHook hooks[] = {{.name = "fuse", .apply = fuse}, {.name = "clean,fuse", .apply = fuse, .ctx = clean, .zeros = true},
                           {.name = "again: clean,fuse", .apply = fuse, .ctx = again, .zeros = true},
                           {.name = "derived: clean,fuse", .apply = fuse, .ctx = derived, .zeros = true}};
  for (int h = 0; h < 4; h++) {
    DhcRandomTally t = {0};
    for (int k = 0; k < graphs + KNOWN; k++) {
      DhcRandomOptions o = {.seed = k < graphs ? seed + (uint64_t)k : known[k - graphs], .max_elements = 2048};
      if (k < graphs && k % 8 == 7) o.min_steps = 20, o.max_steps = 30;
      dhc_random_check(&o, &hooks[h], &t, t.mismatches + t.invalid < 3 ? stderr : NULL);
    }
    printf("%s: %d graphs, %d mismatches, %d invalid\n", hooks[h].name, t.graphs, t.mismatches, t.invalid);
    bad += t.mismatches > 0 || t.invalid * 20 > t.graphs;
  }
  return bad > 0;
}
