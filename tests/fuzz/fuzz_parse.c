/* Fuzz target: any bytes to a syntax tree; what parses must print and parse again to
 * the same text. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "frontend/fmt.h"
#include "frontend/parse.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/words.h"

typedef struct Run {
  DhcDiags diags;
  DhcStrings strings;
  DhcParse parse;
  DhcAstProgram program;
} Run;

static bool parse(DhcArena *arena, DhcSources *sources, Run *r, const char *text, size_t n) {
  memset(r, 0, sizeof *r);
  r->diags.arena = arena;
  r->diags.sources = sources;
  r->strings.arena = arena;
  r->parse = (DhcParse){.arena = arena, .strings = &r->strings, .diags = &r->diags};
  return dhc_parse_text(&r->parse, "fuzz", text, n, &r->program);
}

static void check(DhcArena *arena, const DhcAstModule *m, DhcSources *sources, bool with_source) {
  Run again;
  const char *once = dhc_ast_print(arena, m, with_source ? sources : NULL);
  bool ok = parse(arena, sources, &again, once, strlen(once));
  const char *twice = dhc_ast_print(arena, again.program.root, with_source ? sources : NULL);
  if (ok && strcmp(once, twice) == 0) return;
  fprintf(stderr, "---- once\n%s---- twice\n%s----\n", once, twice);
  dhc_diags_print(&again.diags, stderr, false);
  abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  DhcArena arena;
  dhc_arena_init(&arena);
  DhcSources sources = {.arena = &arena};
  Run r;
  if (parse(&arena, &sources, &r, (const char *)data, n)) {
    check(&arena, r.program.root, &sources, false);
    check(&arena, r.program.root, &sources, true);
  } else if (r.diags.n_errors == 0) {
    abort();
  }
  dhc_arena_fini(&arena);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) {
  return fuzz_mutate_text(data, n, max, seed, model_words);
}
