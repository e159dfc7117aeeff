/* Regions, interned strings, growing text, and diagnostics as people and programs see
 * them. */
#include <stdlib.h>

#include "tests/ir/support.h"

static void regions(void **state) {
  (void)state;
  DhcArena a;
  dhc_arena_init(&a);
  unsigned char *p[200];
  for (int i = 0; i < 200; i++) {
    size_t n = (size_t)(i * 37 % 3000);
    p[i] = dhc_arena_alloc(&a, n);
    assert_int_equal((uintptr_t)p[i] % 16, 0);
    for (size_t k = 0; k < n; k++) assert_int_equal(p[i][k], 0);
    memset(p[i], i, n);
  }
  for (int i = 0; i < 200; i++)
    for (int k = 0; k < i * 37 % 3000; k++) assert_int_equal(p[i][k], i & 255);
  assert_true(a.used_bytes > 100000);
  dhc_arena_reset(&a);
  assert_int_equal(a.used_bytes, 0);
  unsigned char *q = dhc_arena_alloc(&a, 5000);
  for (int k = 0; k < 5000; k++) assert_int_equal(q[k], 0);
  DHC_VEC(int) v = {0};
  for (int i = 0; i < 1000; i++) DHC_PUSH(&a, &v, i);
  for (int i = 0; i < 1000; i++) assert_int_equal(v.at[i], i);
  dhc_arena_fini(&a);
}

static dhc_status ask_for(DhcArena *a, size_t bytes) {
  dhc_arena_alloc(a, bytes);
  return (dhc_status){0};
}

static dhc_status guarded(DhcArena *a, size_t bytes) { DHC_GUARDED(ask_for(a, bytes)); }

typedef struct Dropped {
  int n;
  char order[4];
} Dropped;
static Dropped dropped;
static void drop(void *what) { dropped.order[dropped.n++] = *(const char *)what; }

/* Holds three things, gives one back, and asks for what there is not. */
static dhc_status hold_and_ask(size_t bytes) {
  DhcArena inner;
  DhcHeld a, b, c;
  dhc_arena_init(&inner);
  dhc_hold(&a, drop, "a");
  dhc_hold(&b, drop, "b");
  dhc_hold(&c, drop, "c");
  dhc_release(&b);
  dhc_release(&b);
  dhc_status s = guarded(&inner, bytes); /* the inner guard drops nothing of the outer's */
  if (s.code) assert_int_equal(dropped.n, 0);
  dhc_arena_alloc(&inner, bytes);
  dhc_release(&a);
  dhc_release(&c);
  dhc_arena_fini(&inner);
  return s;
}

static dhc_status guarded_hold(size_t bytes) { DHC_GUARDED(hold_and_ask(bytes)); }

static void out_of_memory(void **state) {
  (void)state;
  DhcArena a;
  dhc_arena_init(&a);
  dhc_status s = guarded(&a, SIZE_MAX / 2);
  assert_int_equal(s.code, DHC_E_ENVIRONMENT);
  assert_string_equal(s.message, "out of memory (9223372036854775807 bytes)");
  assert_int_equal(guarded(&a, 100).code, DHC_OK);
  dhc_arena_fini(&a);
  assert_int_equal(guarded_hold(10).code, DHC_OK);
  assert_int_equal(dropped.n, 0);
  assert_int_equal(guarded_hold(SIZE_MAX / 2).code, DHC_E_ENVIRONMENT);
  assert_string_equal(dropped.order, "ca"); /* newest first; the region itself under the sanitizers */
}

static void strings(void **state) {
  (void)state;
  DhcArena a;
  dhc_arena_init(&a);
  DhcStrings s = {.arena = &a};
  const char *first[300];
  char name[16];
  for (int i = 0; i < 300; i++) {
    snprintf(name, sizeof name, "name%d", i);
    first[i] = dhc_intern(&s, name);
    assert_string_equal(first[i], name);
  }
  for (int i = 0; i < 300; i++) {
    snprintf(name, sizeof name, "name%d!", i);
    assert_ptr_equal(dhc_intern_n(&s, name, strlen(name) - 1), first[i]);
  }
  assert_string_equal(dhc_intern_n(&s, "a\0b", 3), "a");
  DhcText t = {.arena = &a};
  assert_string_equal(dhc_text_str(&t), "");
  for (int i = 0; i < 100; i++) dhc_text_printf(&t, "%d,", i);
  dhc_text_puts(&t, "end");
  assert_int_equal(strlen(dhc_text_str(&t)), t.n);
  assert_int_equal(strncmp(t.at, "0,1,2,", 6), 0);
  assert_string_equal(t.at + t.n - 6, "99,end");
  assert_string_equal(dhc_arena_printf(&a, "%s-%d", "x", 3), "x-3");
  dhc_arena_fini(&a);
}

/* ---- diagnostics ------------------------------------------------------------------- */

BENCH_OF_FILE

static const char *printed(bool json) {
  char *text = NULL;
  size_t n = 0;
  FILE *f = open_memstream(&text, &n);
  if (json)
    dhc_diags_print_json(&b.diags, f);
  else
    dhc_diags_print(&b.diags, f, false);
  fclose(f);
  const char *copy = dhc_arena_strdup(&b.arena, text);
  free(text);
  return copy;
}

static DhcSpan source(const char *text, uint32_t begin, uint32_t end) {
  return (DhcSpan){dhc_sources_add(&b.sources, "m.dhc", NULL, text, strlen(text)), begin, end};
}

static void excerpt(void **state) {
  (void)state;
  DhcSpan at = source("one\n\ttwo = threee\nfour", 11, 17);
  DhcDiag *d = dhc_diag(&b.diags, DHC_ERROR, "E0201", at, "no '%s' here", "threee");
  dhc_diag_note(&b.diags, d, (DhcSpan){at.file, 0, 3}, "'three' is defined here");
  dhc_diag_note(&b.diags, d, (DhcSpan){0}, "nowhere in particular");
  dhc_diag_hint(&b.diags, d, "did you mean '%s'?", "three");
  dhc_diag(&b.diags, DHC_WARNING, NULL, (DhcSpan){0}, "careful");
  assert_string_equal(printed(false),
                      "m.dhc:2:8: error[E0201]: no 'threee' here\n"
                      "  \ttwo = threee\n"
                      "  \t      ^~~~~~\n"
                      "m.dhc:1:1: note: 'three' is defined here\n"
                      "  one\n"
                      "  ^~~\n"
                      "note: nowhere in particular\n"
                      "  hint: did you mean 'three'?\n"
                      "warning: careful\n");
  assert_int_equal(b.diags.n_errors, 1);
  assert_int_equal(b.diags.n_warnings, 1);
}

static void excerpt_edges(void **state) {
  (void)state;
  dhc_diag(&b.diags, DHC_ERROR, NULL, source("", 0, 0), "empty");
  dhc_diag(&b.diags, DHC_ERROR, NULL, source("ab\r\n", 2, 4), "at the end");
  dhc_diag(&b.diags, DHC_ERROR, NULL, source("\xC3\xA4\x01 x", 4, 5), "wide");
  assert_string_equal(printed(false),
                      "m.dhc:1:1: error: empty\n  \n  ^\n"
                      "m.dhc:1:3: error: at the end\n  ab\n    ^\n"
                      "m.dhc:1:5: error: wide\n  \xC3\xA4? x\n     ^\n");
  bench_clear(&b);
  char *line = dhc_arena_alloc(&b.arena, 100001);
  memset(line, 'x', 100000);
  dhc_diag(&b.diags, DHC_ERROR, NULL, source(line, 50000, 99000), "long");
  assert_true(strlen(printed(false)) < 500);
}

static void repeated_errors(void **state) {
  (void)state;
  DhcSpan at = source("text", 0, 2);
  for (int i = 0; i < 3; i++) dhc_diag(&b.diags, DHC_ERROR, "E1", at, "same");
  assert_int_equal(b.diags.n_errors, 1);
  dhc_diag(&b.diags, DHC_ERROR, "E2", at, "other code");
  assert_int_equal(b.diags.all.n, 2);
  for (uint32_t i = 0; i < 30; i++)
    assert_non_null(dhc_diag(&b.diags, DHC_ERROR, "E1", (DhcSpan){at.file, i, i + 9}, "more"));
  assert_int_equal(b.diags.all.n, 20);
  assert_int_equal(b.diags.n_errors, 32);
  assert_non_null(strstr(printed(false), "\n12 more errors not shown\n"));
}

static void json(void **state) {
  (void)state;
  assert_string_equal(printed(true), "[]\n");
  DhcDiag *d = dhc_diag(&b.diags, DHC_ERROR, "E0201", source("ab\ncd", 3, 5), "a \"b\"\n\xff\xC3\xA4");
  dhc_diag_note(&b.diags, d, (DhcSpan){0}, "n");
  assert_string_equal(
      printed(true),
      "[\n  {\"severity\": \"error\", \"code\": \"E0201\", \"file\": \"m.dhc\", \"line\": 2, \"column\": 1, "
      "\"end_line\": 2, \"end_column\": 3, \"message\": \"a \\\"b\\\"\\u000a\\ufffd\xC3\xA4\", \"notes\": "
      "[{\"file\": null, \"line\": null, \"column\": null, \"end_line\": null, \"end_column\": null, "
      "\"message\": \"n\"}], \"hint\": null}\n]\n");
}

static void spans(void **state) {
  (void)state;
  DhcSpan x = {1, 5, 9}, y = {1, 2, 6}, z = {2, 0, 1}, none = {0, 0, 0};
  DhcSpan j = dhc_span_join(x, y);
  assert_true(j.file == 1 && j.begin == 2 && j.end == 9);
  assert_int_equal(dhc_span_join(none, y).begin, 2);
  assert_int_equal(dhc_span_join(x, z).begin, 5);
  assert_null(dhc_sources_get(&b.sources, 0));
  assert_null(dhc_sources_get(&b.sources, 7));
}

static void suggestions(void **state) {
  (void)state;
  const char *names[] = {"hidden", "epochs", "x", "state_dim"};
  assert_string_equal(dhc_suggest("hiden", names, 4), "hidden");
  assert_string_equal(dhc_suggest("ihdden", names, 4), "hidden");
  assert_string_equal(dhc_suggest("epoch", names, 4), "epochs");
  assert_string_equal(dhc_suggest("state_dmi", names, 4), "state_dim");
  assert_string_equal(dhc_suggest("x", names, 4), "x");
  assert_null(dhc_suggest("y", names, 4));
  assert_null(dhc_suggest("something", names, 4));
  assert_null(dhc_suggest("", names, 4));
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(f) BENCH_TEST(f)
      cmocka_unit_test(regions), cmocka_unit_test(out_of_memory), cmocka_unit_test(strings),
      T(excerpt), T(excerpt_edges), T(repeated_errors), T(json), T(spans), T(suggestions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
