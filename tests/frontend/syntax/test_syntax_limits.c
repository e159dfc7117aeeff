/* Limits of the parser at, below and above; inputs that would be too large, or cannot
 * be kept, as files; links; locale; speed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "frontend/fmt.h"
#include "frontend/literal.h"
#include "frontend/parse.h"
#include "ir/errors.h"

typedef struct Session {
  DhcArena arena;
  DhcSources sources;
  DhcDiags diags;
  DhcStrings strings;
  DhcParse parse;
  DhcAstProgram program;
} Session;

static void session_init(Session *s) {
  memset(s, 0, sizeof *s);
  dhc_arena_init(&s->arena);
  s->sources.arena = &s->arena;
  s->diags.arena = &s->arena;
  s->diags.sources = &s->sources;
  s->strings.arena = &s->arena;
  s->parse = (DhcParse){.arena = &s->arena, .strings = &s->strings, .diags = &s->diags};
}

/* `before`, then `part` n times, then `middle`, then `after_part` n times. */
static char *repeat(Session *s, const char *before, const char *part, int n, const char *middle,
                    const char *after_part) {
  size_t np = strlen(part), na = strlen(after_part);
  char *out = dhc_arena_alloc(&s->arena, strlen(before) + strlen(middle) + (np + na) * (size_t)n + 1);
  char *at = stpcpy(out, before);
  for (int i = 0; i < n; i++) at = stpcpy(at, part);
  at = stpcpy(at, middle);
  for (int i = 0; i < n; i++) at = stpcpy(at, after_part);
  return out;
}

/* want: "line:column code text" of the first message, NULL for none. */
static void check_text(Session *s, const char *text, const char *want) {
  dhc_parse_text(&s->parse, "m.dhc", text, strlen(text), &s->program);
  if (!want) {
    if (s->diags.n_errors) dhc_diags_print(&s->diags, stderr, false);
    assert_int_equal(s->diags.n_errors, 0);
    return;
  }
  assert_int_not_equal(s->diags.n_errors, 0);
  const DhcDiag *d = s->diags.all.at[0];
  int line, column;
  dhc_span_locate(&s->sources, d->at, &line, &column);
  assert_string_equal(dhc_arena_printf(&s->arena, "%d:%d %s %s", line, column, d->code, d->text),
                      want);
}

static void check_repeat(const char *before, const char *part, int n, const char *middle,
                         const char *after_part, const char *want) {
  Session s;
  session_init(&s);
  check_text(&s, repeat(&s, before, part, n, middle, after_part), want);
  dhc_arena_fini(&s.arena);
}

static void test_nesting(void **state) {
  (void)state;
  const char *deep = "1:257 E0112 nesting deeper than 256 levels";
  check_repeat("", "(", 100000, "", "", deep);
  check_repeat("", "[", 100000, "", "", deep);
  check_repeat("const x = ", "(", 255, "1", ")", NULL);
  check_repeat("const x = ", "(", 256, "1", ")", NULL);
  check_repeat("const x = ", "(", 257, "1", ")", "1:267 E0112 nesting deeper than 256 levels");
  check_repeat("const x = ", "f(", 256, "1", ")", "1:11 E0112 nesting deeper than 256 levels");
  check_repeat("const x = ", "f(", 255, "1", ")", NULL);
  check_repeat("const x = ", "-", 254, "1", "", NULL);
  check_repeat("const x = ", "-", 255, "1", "", NULL);
  check_repeat("const x = ", "-", 256, "1", "", "1:266 E0112 nesting deeper than 256 levels");
  check_repeat("const x = ", "not ", 100000, "1", "", "1:1031 E0112 nesting deeper than 256 levels");
  check_repeat("const x = ", "1 ^ ", 255, "1", "", NULL);
  check_repeat("const x = ", "1 if a else ", 300, "1", "", "1:539 E0112 nesting deeper than 256 levels");
}

static void test_operators(void **state) {
  (void)state;
  check_repeat("", "1+", 299999, "1", "", "1:20002 E0113 expression has more than 10000 operators");
  check_repeat("const x = ", "1+", 9999, "1", "", NULL);
  check_repeat("const x = ", "1+", 10000, "1", "", NULL);
  check_repeat("const x = ", "1+", 10001, "1", "",
               "1:20012 E0113 expression has more than 10000 operators");
  check_repeat("const x = a", ".b", 10000, "", "", NULL);
  check_repeat("const x = a", ".b", 10001, "", "",
               "1:20012 E0113 expression has more than 10000 operators");
  check_repeat("const x = f(", "1+1+1+1,", 10000, "1)", "", NULL);
}

/* A long chain is printed without deep recursion. */
static void test_long_chain(void **state) {
  (void)state;
  Session s;
  session_init(&s);
  const char *text = repeat(&s, "const x = a", " + b", 10000, "\n", "");
  check_text(&s, text, NULL);
  assert_string_equal(dhc_ast_print(&s.arena, s.program.root, NULL), text);
  dhc_arena_fini(&s.arena);
}

static void test_size(void **state) {
  (void)state;
  Session s;
  session_init(&s);
  size_t max = DHC_AST_MAX_SOURCE_BYTES;
  char *text = malloc(max + 2);
  assert_non_null(text);
  memset(text, ' ', max + 1);
  memcpy(text, "const a = 1\n", 12);
  assert_true(dhc_parse_text(&s.parse, "m.dhc", text, max, &s.program));
  assert_false(dhc_parse_text(&s.parse, "m.dhc", text, max + 1, &s.program));
  assert_string_equal(s.diags.all.at[0]->code, "E0114");
  assert_string_equal(s.diags.all.at[0]->text, "source is larger than 16 MiB");
  free(text);
  dhc_arena_fini(&s.arena);
}

static void test_many_errors(void **state) {
  (void)state;
  Session s;
  session_init(&s);
  const char *text = repeat(&s, "", "$", 1000000, "", "");
  assert_false(dhc_parse_text(&s.parse, "m.dhc", text, strlen(text), &s.program));
  assert_int_equal(s.diags.all.n, 20);
  assert_true(s.arena.used_bytes < (16u << 20));
  dhc_arena_fini(&s.arena);
}

static void write_text(const char *path, const char *text) {
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

static void check_import(const char *import, const char *want) {
  Session s;
  session_init(&s);
  write_text("main.dhc", dhc_arena_printf(&s.arena, "import \"%s\"\n", import));
  bool ok = dhc_parse_file(&s.parse, "main.dhc", &s.program);
  assert_int_equal(ok, want == NULL);
  if (want) assert_string_equal(s.diags.all.at[0]->text, want);
  dhc_arena_fini(&s.arena);
}

/* Everything that is not a plain file of this folder is refused at once. */
static void test_paths(void **state) {
  (void)state;
  char folder[] = "/tmp/dhc_syntax_XXXXXX";
  assert_non_null(mkdtemp(folder));
  assert_int_equal(chdir(folder), 0);
  assert_int_equal(mkdir("lib", 0700), 0);
  write_text("lib/good.dhc", "const a = 1\n");
  check_import("lib/good.dhc", NULL);
  check_import("./lib/./good.dhc", NULL);
  assert_int_equal(link("lib/good.dhc", "hard.dhc"), 0);
  check_import("hard.dhc", "import \"hard.dhc\" is a link, refused");
  check_import("lib/good.dhc", "import \"lib/good.dhc\" is a link, refused");
  assert_int_equal(unlink("hard.dhc"), 0);
  assert_int_equal(symlink("lib/good.dhc", "soft.dhc"), 0);
  check_import("soft.dhc", "import \"soft.dhc\" is a link, refused");
  assert_int_equal(symlink("lib", "other"), 0);
  check_import("other/good.dhc", "import \"other/good.dhc\" is a link, refused");
  assert_int_equal(mkfifo("pipe.dhc", 0600), 0);
  check_import("pipe.dhc", "import \"pipe.dhc\" is not a regular file");
  check_import("lib", "import \"lib\" is not a regular file");
  check_import("/dev/zero", "import leaves the model folder: \"/dev/zero\"");
  check_import("lib/../main.dhc", "import leaves the model folder: \"lib/../main.dhc\"");
  char longer[5000];
  memset(longer, 'a', 4096);
  strcpy(longer + 4096, ".dhc");
  Session s;
  session_init(&s);
  check_import(longer, dhc_arena_printf(&s.arena, "import \"%s\": cannot be read: File name too long",
                                        longer));
  assert_false(dhc_parse_file(&s.parse, "nothing.dhc", &s.program));
  assert_string_equal(s.diags.all.at[0]->text,
                      "nothing.dhc: cannot be read: No such file or directory");
  assert_null(s.program.root);
  dhc_arena_fini(&s.arena);
  static const char *const left[] = {"main.dhc", "lib/good.dhc", "soft.dhc", "other", "pipe.dhc"};
  for (size_t i = 0; i < sizeof left / sizeof *left; i++) unlink(left[i]);
  rmdir("lib");
  assert_int_equal(chdir("/"), 0);
  rmdir(folder);
}

static void test_text_imports_nothing(void **state) {
  (void)state;
  Session s;
  session_init(&s);
  check_text(&s, "import \"a.dhc\"\n",
             "1:8 E0228 a text that is not a file cannot import \"a.dhc\"");
  dhc_arena_fini(&s.arena);
}

static void test_expression(void **state) {
  (void)state;
  Session s;
  session_init(&s);
  DhcAstExpr *e = dhc_parse_expr(&s.parse, "--set", "[1, 2 * n]", 10);
  assert_non_null(e);
  assert_string_equal(dhc_ast_expr_text(&s.arena, e), "[1, 2 * n]");
  assert_null(dhc_parse_expr(&s.parse, "--set", "1 +", 3));
  assert_string_equal(s.diags.all.at[0]->text,
                      "expected an expression after '+', found the end of the file");
  assert_null(dhc_parse_expr(&s.parse, "--set", "", 0));
  assert_null(dhc_parse_expr(&s.parse, "--set", "1 2", 3));
  dhc_arena_fini(&s.arena);
}

static void test_numbers(void **state) {
  (void)state;
  DhcArena a;
  dhc_arena_init(&a);
  int64_t i;
  double f;
  assert_true(dhc_literal_int("9223372036854775807", 19, &i));
  assert_true(i == INT64_MAX);
  assert_false(dhc_literal_int("9223372036854775808", 19, &i));
  assert_true(dhc_literal_int("1_000", 5, &i));
  assert_int_equal(i, 1000);
  const char *locales[] = {"C", "de_DE.UTF-8", "fr_FR.UTF-8"}; /* absent ones change nothing */
  for (int k = 0; k < 3; k++) {
    setlocale(LC_ALL, locales[k]);
    assert_true(dhc_literal_float(&a, "0.1", 3, &f));
    assert_true(f == 0.1);
    assert_true(dhc_literal_float(&a, "2.2250738585072011e-308", 23, &f));
    assert_true(f == 0x0.fffffffffffffp-1022);
    Session s;
    session_init(&s);
    check_text(&s, "const a = (1.5)\n", NULL);
    assert_string_equal(dhc_ast_print(&s.arena, s.program.root, NULL), "const a = 1.5\n");
    dhc_arena_fini(&s.arena);
  }
  setlocale(LC_ALL, "C");
  char digits[400];
  memset(digits, '9', 399);
  digits[399] = 0;
  assert_false(dhc_literal_float(&a, digits, 399, &f));
  dhc_arena_fini(&a);
}

/* The table of codes is in order, and each row has all it needs. */
static void test_explained(void **state) {
  (void)state;
  const char *before = "";
  int n = 0;
  for (const DhcErrorInfo *e; (e = dhc_error_row(n)); n++) {
    assert_true(strcmp(before, e->code) < 0);
    assert_true(*e->title && *e->text && *e->example);
    before = e->code;
  }
  assert_true(n >= 70);
  assert_null(dhc_error_row(-1));
}

/* 100 KB of ordinary layers; sanitizers get 50 times the 10 ms of processor time. */
static void test_speed(void **state) {
  (void)state;
  Session s;
  session_init(&s);
  const char *layer =
      "layer A(d: int, p: float in 0.0..1.0 = 0.1) {\n  a = Linear(d, 2 * d, bias = false)\n"
      "  forward<B, L>(x: [B, L, d]) -> (y: [B, L, d]) {\n    u, z = split(a(x), 2, axis = -1)\n"
      "    return x + dropout(silu(u) * z, p)\n  }\n}\n";
  const char *text = repeat(&s, "", layer, 430, "", "");
  struct timespec t0, t1;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
  check_text(&s, text, NULL);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
  double ms = 1e3 * (double)(t1.tv_sec - t0.tv_sec) + 1e-6 * (double)(t1.tv_nsec - t0.tv_nsec);
  printf("%zu bytes parsed in %.1f ms, %zu KiB of arena\n", strlen(text), ms,
         s.arena.used_bytes >> 10);
  assert_true(ms < 500);
  dhc_arena_fini(&s.arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_nesting),     cmocka_unit_test(test_operators),
      cmocka_unit_test(test_long_chain),  cmocka_unit_test(test_size),
      cmocka_unit_test(test_many_errors), cmocka_unit_test(test_paths),
      cmocka_unit_test(test_text_imports_nothing), cmocka_unit_test(test_expression),
      cmocka_unit_test(test_numbers),     cmocka_unit_test(test_explained),
      cmocka_unit_test(test_speed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
