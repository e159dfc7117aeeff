/* The text form: everything a module holds comes back the same, floats exactly, and what is
 * not well formed is refused at its place. (Every op's round trip is in tests/ops.) */
#include <locale.h>
#include <math.h>

#include "tests/ir/support.h"

BENCH_OF_FILE

static const char everything[] =
    "module \"m \\\"1\\\"\"\n"
    "tensor \"fc.weight\" param f32[10, 64] no_decay as \"a.*\" init @init.w\n"
    "tensor \"h\" state bf16[B, 4]\n"
    "scalar \"p\" = 0x1.3333333333333p-2\n"
    "\n"
    "func @init.w() -> (%0) init {\n"
    "  %0 = fill() {value = -inf, dtype = f32, shape = [10, 64]} : f32[10, 64]\n"
    "}\n"
    "\n"
    "func @\"odd name\\x0a\"<N, M.0>(%0: f32[N, M.0] plain) -> (%0) unit {\n"
    "}\n"
    "\n"
    "func @f<B>(\n"
    "    %0: f32[B, 64] input \"x\",\n"
    "    %1: f32[10, 64] param \"fc.weight\" #0,\n"
    "    %2: f32[] scalar \"p\" #0,\n"
    "    %3: i64[] scalar \"$seed\",\n"
    "    %4: f32[640] flat \"grads\") -> (%5 \"y\", %0) entry require B >= 2 \"two \\\\ at least\" require B*B >= B + 1 {\n"
    "  %5 = call(%0) {callee = @\"odd name\\x0a\", dims = [B, 64]} : f32[B, 64]\n"
    "}\n";

static void round_trip(void **state) {
  (void)state;
  DhcModule *m = bench_parse(&b, everything);
  if (!m) fail_msg("%s", bench_messages(&b));
  assert_string_equal(bench_print(&b, m), everything);
  assert_string_equal(m->model_name, "m \"1\"");
  assert_true(m->tensors.at[0].no_decay && m->tensors.at[0].init == m->funcs.at[0]);
  if (!dhc_verify(m, DHC_STAGE_GRAPH, NULL)) fail_msg("%s", bench_messages(&b));
}

static void loose_text(void **state) {
  (void)state;
  DhcModule *m = bench_parse(&b,
      "// a comment\nfunc @f<H>(%7: f32[ H//2 ,3 ] plain // another\n)->(%9)unit{\n"
      "%9=reduce_sum(%7){keep=true,axes=[ 1 ]}:f32[H//2,1]//end\n}");
  if (!m) fail_msg("%s", bench_messages(&b));
  assert_string_equal(bench_print(&b, m),
                      "func @f<H>(%0: f32[H//2, 3] plain) -> (%1) unit {\n"
                      "  %1 = reduce_sum(%0) {axes = [1], keep = true} : f32[H//2, 1]\n}\n");
  assert_string_equal(bench_print(&b, bench_parse(&b, "")), "");
}

static void floats(void **state) {
  (void)state;
  static const double v[] = {0.0, -0.0, 1, -1.5, 0.1, 1e300, 5e-324, -2.2250738585072014e-308, 3.0e-310,
                             INFINITY, -INFINITY, 1.7976931348623157e308, 0x1.fp-1030};
  setlocale(LC_ALL, ""); /* must not matter */
  for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
    DhcModule *m = dhc_module_new(&b.arena, &b.strings, &b.diags);
    DHC_PUSH(&b.arena, &m->scalars, ((DhcScalarDecl){"s", v[i]}));
    DhcModule *again = bench_parse(&b, bench_print(&b, m));
    assert_non_null(again);
    double w = again->scalars.at[0].value;
    if (memcmp(&w, &v[i], sizeof w) != 0) fail_msg("%a came back as %a", v[i], w);
  }
  DhcModule *m = bench_parse(&b, "scalar \"s\" = nan");
  assert_true(isnan(m->scalars.at[0].value));
  assert_true(bench_parse(&b, "scalar \"s\" = 0.1")->scalars.at[0].value == 0.1);
}

/* {text, message, offset of the message} */
static const struct {
  const char *text, *message;
  int at;
} refused[] = {
    {"fun", "'func', 'tensor', 'scalar', 'spec' or 'module' expected", 0},
    {"func f", "'@' expected", 5},
    {"func @", "a function's name expected", 6},
    {"func @f<>", "a symbol expected", 8},
    {"func @f(x", "'%' expected", 8},
    {"func @f(%0: f31[2] plain)", "'f31' is no dtype", 12},
    {"func @f(%0: f32[2 3] plain)", "',' expected", 18},
    {"func @f(%0: f32[1,1,1,1,1,1,1,1,1] plain)", "more than 8 dimensions", 12},
    {"func @f(%0: f32[*] plain)", "this is no dim", 16},
    {"func @f(%0: f32[2] output)", "a role expected", 25},
    {"func @f(%0: f32[2] plain, %0: f32[2] plain)", "%0 is defined twice", 26},
    {"func @f(%99999999: f32[2] plain)", "this number is too large", 9},
    {"func @f() -> (%3) unit {}", "%3 is not defined", 14},
    {"func @f() -> () thing {}", "a kind of function expected", 21},
    {"func @f() -> () unit", "'{' expected", 20},
    {"func @f() -> () unit {", "'}' expected", 22},
    {"func @f() -> () unit {} func @f() -> () unit {}", "function @f is defined twice", 29},
    {"func @f() -> () unit vjp @g {}", "function @g is not defined", 24},
    {"func @f() -> () unit require 2 {}", "'>=' expected", 31},
    {"func @f() -> () unit { %0 = nop() : f32[] }", "'nop' is no op", 28},
    {"func @f() -> () unit { %0 = param() : f32[] }", "'param' is no op", 28},
    {"func @f() -> () unit { %0 = neg(%1) : f32[] }", "%1 is not defined", 32},
    {"func @f() -> () unit { %0 = dim() : i64[] }", "'{' expected", 34},
    {"func @f() -> () unit { %0 = dim() {size = 3} : i64[] }", "an attribute of 'dim' expected", 35},
    {"func @f() -> () unit { %0 = dim() {dim = 3, dim = 3} : i64[] }", "an attribute of 'dim' expected", 44},
    {"func @f() -> () unit { %0 = dim() {} : i64[] }", "attribute 'dim' expected", 36},
    {"func @f() -> () unit { %0 = dim() {dim = 3} : i32[] }", "dim gives i64[] here", 46},
    {"func @f() -> () unit { %0, %1 = dim() {dim = 3} : i64[] }", "dim gives 1 results here", 23},
    {"func @f() -> () unit { dim() {dim = 3} }", "dim gives 1 results here", 23},
    {"func @f() -> () unit { %0 = iota() {axis = x, dtype = i32, shape = [2]} : i32[2] }", "an integer expected", 43},
    {"func @f() -> () unit { %0 = iota() {axis = 99999999999999999999, dtype = i32, shape = [2]} : i32[2] }",
     "this integer is too large", 43},
    {"func @f() -> () unit { %0 = fill() {value = x, dtype = i32, shape = []} : i32[] }", "a number expected", 44},
    {"func @f() -> () unit { %0 = fill() {value = 1, dtype = int, shape = []} : i32[] }", "a dtype expected", 58},
    {"func @f(%0: f32[2] plain) -> () unit { %1 = reduce_sum(%0) {axes = [0], keep = 1} : f32[1] }",
     "'true' or 'false' expected", 79},
    {"func @f() -> () unit { kernel() {spec = #0, dims = [], offsets = [], shapes = [], ranks = [], into = []} }",
     "there is no spec #0", 40},
    {"tensor \"a", "this string has no end", 7},
    {"tensor a", "a string expected", 7},
    {"tensor \"a\" weight f32[2]", "a role expected", 17},
    {"tensor \"a\" param f32[2] init @i", "function @i is not defined", 28},
    {"scalar \"a\" = b", "a number expected", 13},
};

static void refusals(void **state) {
  (void)state;
  int bad = 0;
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    DhcModule *m = bench_parse(&b, refused[i].text);
    const char *got = bench_messages(&b);
    int at = b.diags.all.n ? (int)b.diags.all.at[0]->at.begin : -1;
    if (m || strcmp(got, refused[i].message) != 0 || at != refused[i].at) {
      print_error("%s\n  wanted: %s (%d)\n  got:    %s (%d)\n", refused[i].text, refused[i].message,
                  refused[i].at, got, at);
      bad++;
    }
    bench_clear(&b);
  }
  assert_int_equal(bad, 0);
}

/* Every beginning of a good text: refused or read, never a crash. */
static void cut_short(void **state) {
  (void)state;
  for (size_t n = 0; n < sizeof everything; n++) {
    char *copy = dhc_arena_strndup(&b.arena, everything, n);
    DhcModule *m = bench_parse(&b, copy);
    if (!m && b.diags.n_errors == 0) fail_msg("refused without a word at %zu", n);
    bench_clear(&b);
  }
}

/* Places in a text are 32 bits wide: more than half of what they reach is refused before it is read. */
static void too_large(void **state) {
  (void)state;
  DhcSource s = {.name = "t.gir", .text = "?", .n_bytes = (size_t)INT32_MAX + 1};
  DHC_PUSH(&b.arena, &b.sources.files, s);
  assert_null(dhc_module_parse(&b.arena, &b.strings, &b.diags, (uint32_t)b.sources.files.n));
  assert_string_equal(bench_messages(&b), "this file is too large");
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(f) BENCH_TEST(f)
      T(round_trip), T(loose_text), T(floats), T(refusals), T(cut_short), T(too_large),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
