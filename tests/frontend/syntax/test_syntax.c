/* Golden tests of the parser. For every NAME.dhc of the folder:
 *   NAME.err exists: parsing must fail with exactly this text;
 *   otherwise: parsing succeeds, and printing, parsing, printing gives the same text
 *   (with comments and without); if NAME.out exists, it is that text.
 * test_syntax FOLDER [--update]: with --update, writes the expectations instead. */
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "frontend/fmt.h"
#include "frontend/parse.h"

typedef struct Session {
  DhcArena arena;
  DhcSources sources;
  DhcDiags diags;
  DhcStrings strings;
  DhcParse parse;
} Session;

static const char *const shipped[] = {"shipped"};

static void session_init(Session *s) {
  memset(s, 0, sizeof *s);
  dhc_arena_init(&s->arena);
  s->sources.arena = &s->arena;
  s->diags.arena = &s->arena;
  s->diags.sources = &s->sources;
  s->strings.arena = &s->arena;
  s->parse = (DhcParse){.arena = &s->arena, .strings = &s->strings, .diags = &s->diags, .shipped_roots = shipped, .n_shipped_roots = 1};
}

static char *read_file(DhcArena *a, const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f) return NULL;
  char *text = dhc_arena_alloc(a, 1 << 20);
  size_t n = fread(text, 1, (1 << 20) - 1, f);
  text[n] = 0;
  fclose(f);
  return text;
}

static void write_file(const char *path, const char *text) {
  FILE *f = fopen(path, "wb");
  if (!f || fputs(text, f) < 0 || fclose(f) != 0) {
    perror(path);
    exit(1);
  }
}

static char *messages(Session *s) {
  char *text = NULL;
  size_t n = 0;
  FILE *f = open_memstream(&text, &n);
  dhc_diags_print(&s->diags, f, false);
  fclose(f);
  char *out = dhc_arena_strndup(&s->arena, text, n);
  free(text);
  return out;
}

static bool same(const char *name, const char *what, const char *want, const char *got) {
  if (want && strcmp(want, got) == 0) return true;
  printf("FAIL %s: %s\n---- want\n%s---- got\n%s----\n", name, what, want ? want : "(nothing)\n",
         got);
  return false;
}

/* print(parse(print(m))) must be print(m). */
static bool round_trip(Session *s, const char *name, const DhcAstModule *m,
                       const DhcSources *sources) {
  const char *once = dhc_ast_print(&s->arena, m, sources);
  DhcAstProgram again;
  if (!dhc_parse_text(&s->parse, "printed", once, strlen(once), &again) && s->diags.n_errors) {
    bool only_imports = true; /* a text has no folder to import from */
    for (int i = 0; i < s->diags.all.n; i++)
      only_imports = only_imports && strcmp(s->diags.all.at[i]->code, "E0228") == 0;
    if (!only_imports) return same(name, "printed text does not parse", once, messages(s));
  }
  return same(name, "printing again differs", once,
              dhc_ast_print(&s->arena, again.root, sources));
}

static bool run_case(const char *file, bool update) {
  Session s;
  session_init(&s);
  const char *stem = dhc_arena_strndup(&s.arena, file, strlen(file) - 4);
  const char *err_path = dhc_arena_printf(&s.arena, "%s.err", stem);
  const char *out_path = dhc_arena_printf(&s.arena, "%s.out", stem);
  const char *want_err = read_file(&s.arena, err_path);
  DhcAstProgram program;
  bool ok = dhc_parse_file(&s.parse, file, &program), good = true;
  if (!ok) {
    if (update)
      write_file(err_path, messages(&s));
    else
      good = same(file, "messages", want_err, messages(&s));
  } else if (want_err) {
    good = same(file, "messages", want_err, "");
  } else {
    const char *out = dhc_ast_print(&s.arena, program.root, &s.sources);
    const char *want = read_file(&s.arena, out_path);
    if (update && want)
      write_file(out_path, out);
    else if (want)
      good = same(file, "canonical text", want, out);
    good = good && round_trip(&s, file, program.root, &s.sources) &&
           round_trip(&s, file, program.root, NULL);
  }
  dhc_arena_fini(&s.arena);
  return good;
}

static int is_source(const struct dirent *e) {
  size_t n = strlen(e->d_name);
  return n > 4 && strcmp(e->d_name + n - 4, ".dhc") == 0;
}

int main(int argc, char **argv) {
  if (argc < 2 || chdir(argv[1]) != 0) return 2;
  bool update = argc > 2 && strcmp(argv[2], "--update") == 0;
  struct dirent **list;
  int n = scandir(".", &list, is_source, alphasort), n_bad = 0;
  for (int i = 0; i < n; i++) {
    n_bad += !run_case(list[i]->d_name, update);
    free(list[i]);
  }
  if (n >= 0) free(list);
  printf("%d cases, %d failed\n", n, n_bad);
  return n < 60 || n_bad ? 1 : 0;
}
