/* Every shipped file parses, and prints to a text that prints the same when parsed
 * again. test_shipped ROOT FILE... */
#include <stdio.h>

#include "frontend/fmt.h"
#include "frontend/parse.h"

static bool check(const char *root, const char *file) {
  DhcArena arena;
  dhc_arena_init(&arena);
  DhcSources sources = {.arena = &arena};
  DhcDiags diags = {.arena = &arena, .sources = &sources};
  DhcStrings strings = {.arena = &arena};
  DhcParse parse = {.arena = &arena, .strings = &strings, .diags = &diags, .shipped_roots = &root, .n_shipped_roots = 1};
  DhcAstProgram program, again;
  bool good = dhc_parse_file(&parse, file, &program);
  if (good) {
    const char *once = dhc_ast_print(&arena, program.root, &sources);
    good = dhc_parse_text(&parse, "printed", once, strlen(once), &again);
    good = good && strcmp(once, dhc_ast_print(&arena, again.root, &sources)) == 0;
  }
  if (!good) printf("FAIL %s\n", file);
  dhc_diags_print(&diags, stdout, false);
  dhc_arena_fini(&arena);
  return good;
}

int main(int argc, char **argv) {
  int n_bad = 0;
  for (int i = 2; i < argc; i++) n_bad += !check(argv[1], argv[i]);
  printf("%d files, %d failed\n", argc - 2, n_bad);
  return n_bad != 0;
}
