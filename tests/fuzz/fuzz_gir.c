/* Fuzz target: any bytes as IR text, through the verifier and passes: what parses prints and parses
 * again to the same text; no pass breaks what the verifier asks for (it runs after each). */
#include <stdlib.h>
#include <string.h>

#include "passes/passes.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/words.h"

static const char *const lists[] = {
    "simplify,cse,dce", "inline,simplify,hoist,simplify,cse,dce", "chunk,simplify,dce", "grad,simplify,cse,dce",
    "simplify,cse,dce,fusion", "inline,simplify,cse,dce,hoist,chunk,grad,simplify,cse,dce,kernels",
};

/* Exit status; the printed module in *out (heap). */
static int run(const char *text, size_t n, const char *passes, bool plan, char **out) {
  size_t n_out = 0;
  FILE *to = open_memstream(out, &n_out);
  fuzz_check(to != NULL, "memory");
  DhcOptRequest rq = {.file_name = "fuzz", .text = text, .n_bytes = n, .passes = passes, .limit = -1, .plan = plan};
  int rc = dhc_opt_run(&rq, to, fuzz_sink());
  fclose(to);
  return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  char *text = malloc(n + 1), *once = NULL, *twice = NULL, *passed = NULL;
  fuzz_check(text != NULL, "memory");
  memcpy(text, data, n);
  text[n] = 0;
  if (run(text, n, "", false, &once) == 0) {
    fuzz_check(run(once, strlen(once), "", false, &twice) == 0, "printed IR parses");
    fuzz_check(!strcmp(once, twice), "IR text is the same after a round trip");
    (void)run(text, n, lists[n % (sizeof lists / sizeof *lists)], n % 7 == 0, &passed);
  }
  free(text);
  free(once);
  free(twice);
  free(passed);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) {
  return fuzz_mutate_text(data, n, max, seed, gir_words);
}
