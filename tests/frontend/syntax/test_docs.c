/* Every example of docs/language.md parses: as a file, or as members of a layer, or as
 * statements of an entry. `{ ... }` stands for some body. test_docs LANGUAGE.md */
#include <stdio.h>

#include "frontend/parse.h"

static char text[1 << 18];

static bool parses(const char *example, int n) {
  static const char *const frames[] = {
      "%.*s", "layer A(d: int) {\n%.*s\n}\n",
      "layer A(d: int) { forward<B>(x: [B]) -> (y: [B]) {\n%.*s\n}\n}\n"};
  bool ok = false;
  DhcArena arena;
  dhc_arena_init(&arena);
  for (int i = 0; i < 3 && !ok; i++) {
    DhcSources sources = {.arena = &arena};
    DhcDiags diags = {.arena = &arena, .sources = &sources};
    DhcStrings strings = {.arena = &arena};
    DhcParse parse = {.arena = &arena, .strings = &strings, .diags = &diags};
    DhcAstProgram program;
    const char *s = dhc_arena_printf(&arena, frames[i], n, example);
    dhc_parse_text(&parse, "example", s, strlen(s), &program);
    ok = true; /* an example's imports are not there */
    for (int k = 0; k < diags.all.n; k++)
      ok = ok && (!strcmp(diags.all.at[k]->code, "E0227") || !strcmp(diags.all.at[k]->code, "E0228"));
    if (!ok && i == 2) dhc_diags_print(&diags, stdout, false);
  }
  dhc_arena_fini(&arena);
  return ok;
}

int main(int argc, char **argv) {
  FILE *f = argc == 2 ? fopen(argv[1], "rb") : NULL;
  if (!f) return 2;
  text[fread(text, 1, sizeof text - 1, f)] = 0;
  fclose(f);
  for (char *s = text; (s = strstr(s, "{ ... }"));) memcpy(s, "{     }", 7);
  int n = 0, n_bad = 0;
  for (char *s = text; (s = strstr(s, "\n```"));) {
    char *body = strchr(s + 4, '\n') + 1, *end = strstr(body, "\n```");
    if (!end) break;
    if (s[4] == '\n') {
      n++;
      n_bad += !parses(body, (int)(end - body));
    }
    s = end + 4;
  }
  printf("%d examples, %d do not parse\n", n, n_bad);
  return n < 8 || n_bad ? 1 : 0;
}
