/* Which values of a derivative are kept for several kernels, and which these compute again: how many results the kernels of a function
 * have, for a target that computes anew. */
#include <stdio.h>

#include "tests/passes/pass_text.h"

typedef struct Case {
  const char *what, *body, *results;
  int stored, made; /* results of kernels; sigmoids in them */
} Case;

/* %9 is made of eight operands, %20 a contraction. */
static const Case cases[] = {
    {"of a value that is kept for its own sake, too, elementwise ops are computed again",
     "  %10 = sigmoid(%9) : f32[B, 32]\n  %11 = mul(%9, %10) : f32[B, 32]\n  %12 = mul(%20, %10) : f32[B, 32]\n  %13 = mul(%12, %9) : f32[B, 32]\n",
     "%11 \"u\", %13 \"y\"", 3, 2},
    {"not of one that would be kept for them", "  %10 = sigmoid(%9) : f32[B, 32]\n  %11 = mul(%0, %10) : f32[B, 32]\n  %13 = mul(%20, %10) : f32[B, 32]\n",
     "%11 \"u\", %13 \"y\"", 3, 1},
    {"of a result of the function they are, too",
     "  %10 = sigmoid(%9) : f32[B, 32]\n  %11 = add(%10, %1) : f32[B, 32]\n  %12 = mul(%11, %2) : f32[B, 32]\n  %13 = mul(%20, %11) : f32[B, 32]\n",
     "%10 \"u\", %12 \"v\", %13 \"y\"", 3, 1},
};

static char *text_of(DhcArena *a, const Case *c) {
  DhcText to = {.arena = a};
  dhc_text_puts(&to, "func @f<B>(");
  for (int i = 0; i < 8; i++) dhc_text_printf(&to, "%%%d: f32[B, 32] input \"x%d\", ", i, i);
  dhc_text_printf(&to, "%%8: f32[32, 32] param \"w\") -> (%s) entry {\n", c->results);
  for (int i = 1; i < 8; i++) dhc_text_printf(&to, "  %%%d = add(%%%d, %%%d) : f32[B, 32]\n", i < 7 ? 29 + i : 9, i > 1 ? 28 + i : 0, i);
  dhc_text_puts(&to, "  %20 = dot_general(%0, %8) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [1]} : f32[B, 32]\n");
  dhc_text_printf(&to, "%s}\n", c->body);
  return dhc_arena_printf(a, "%s", dhc_text_str(&to));
}

static bool check(const Case *c) {
  PassText p;
  pass_text_begin(&p);
  bool ok = pass_text_parse(&p, text_of(&p.arena, c));
  p.px.repeats = true;
  const char *text = ok ? pass_text_run(&p, "fusion") : NULL;
  const int n = text ? pass_text_count(text, "\n  out f32 ") : -1, made = text ? pass_text_count(text, "= sigmoid(") : -1;
  ok = n == c->stored && made == c->made;
  if (!ok) printf("%s: %d are stored instead of %d, %d sigmoids instead of %d\n%s", c->what, n, c->stored, made, c->made, text ? text : "");
  pass_text_end(&p);
  return ok;
}

int main(void) {
  int bad = 0;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) bad += !check(&cases[i]);
  return bad > 0;
}
