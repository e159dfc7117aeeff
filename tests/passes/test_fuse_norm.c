/* Which contractions make what they contract of their own rows: how many kernels a function becomes for a target that computes anew. */
#include <stdio.h>
#include <string.h>

#include "tests/passes/pass_text.h"

/* x [rows] is divided by a sum over `axes`, times a gain of the last axis, and contracted with w by the last axis; @: more ops and results. */
typedef struct Case {
  const char *what, *rows, *sum, *axes, *gain, *more, *results;
  int kernels;
} Case;

static const Case cases[] = {
    {"rows of examples", "B, 32", "B, 1", "1", "32", "", "", 1},
    {"a position of each", "B, 1, 32", "B, 1, 1", "2", "32", "", "", 1},
    {"rows of sequences", "B, L, 32", "B, L, 1", "2", "32", "", "", 2},
    {"a sum of columns", "32, 32", "1, 32", "0", "32", "", "", 2},
    {"somebody else reads the norm", "B, 32", "B, 1", "1", "32", "", ", %7 \"z\"", 2},
    {"and by another contraction, which it does not meet", "B, 32", "B, 1", "1", "32",
     "  %9 = dot_general(%7, %11) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [1]} : f32[B, 24]\n", ", %9 \"z\"", 3},
};

static char *text_of(DhcArena *a, const Case *c) {
  int last = pass_text_count(c->rows, ",");
  return dhc_arena_printf(
      a,
      "func @f<B, L>(%%0: f32[%s] input \"x\", %%1: f32[24, %s] param \"w\", %%11: f32[24, %s] param \"v\", %%2: f32[%s] param \"g\") -> (%%8 \"y\"%s) entry {\n"
      "  %%3 = mul(%%0, %%0) : f32[%s]\n  %%4 = reduce_sum(%%3) {axes = [%s], keep = true} : f32[%s]\n"
      "  %%5 = broadcast(%%4) {shape = [%s]} : f32[%s]\n  %%6 = div(%%0, %%5) : f32[%s]\n"
      "  %%10 = broadcast(%%2) {shape = [%s]} : f32[%s]\n  %%7 = mul(%%6, %%10) : f32[%s]\n"
      "  %%8 = dot_general(%%7, %%1) {batch_a = [], batch_b = [], contract_a = [%d], contract_b = [1]} : f32[%.*s24]\n%s}\n",
      c->rows, c->gain, c->gain, c->gain, c->results, c->rows, c->axes, c->sum, c->rows, c->rows, c->rows, c->rows, c->rows, c->rows, last,
      (int)(strlen(c->rows) - 2), c->rows, c->more);
}

static bool check(const Case *c, bool norms) {
  PassText p;
  pass_text_begin(&p);
  bool ok = pass_text_parse(&p, text_of(&p.arena, c));
  p.px.repeats = p.px.folds_again = true;
  p.px.norms = norms;
  const char *text = ok ? pass_text_run(&p, "fusion") : NULL;
  const int n = text ? pass_text_count(text, "= kernel(") : -1, want = norms ? c->kernels : c->kernels + (c->kernels == 1);
  ok = n == want;
  if (!ok) printf("%s, %s: %d kernels instead of %d\n%s", c->what, norms ? "with" : "without", n, want, text ? text : "");
  pass_text_end(&p);
  return ok;
}

int main(void) {
  int bad = 0;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int norms = 0; norms < 2; norms++) bad += !check(&cases[i], norms);
  return bad > 0;
}
