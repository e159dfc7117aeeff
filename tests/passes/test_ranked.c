/* Which choices among the places of a row are made by the ranks of all of them, where the target has a kernel for these: many of a short
 * row, not such as blocks find sooner. */
#include <stdio.h>
#include <string.h>

#include "tests/passes/pass_text.h"

typedef struct Case {
  int places, k;
  bool has_kernel, ranked;
} Case;

static const Case cases[] = {
    {64, 50, true, true},   {257, 50, true, true},   {1000, 100, true, true}, /* pairs, or sorted */
    {64, 50, false, false}, {257, 8, true, false},   {1025, 100, true, false},
    {257, 16, true, false}, {1000, 16, true, false}, {1000, 32, true, false}, /* blocks */
};

static bool check(const Case *c) {
  PassText p;
  pass_text_begin(&p);
  const char *text = dhc_arena_printf(&p.arena, "func @f<B>(%%0: f32[B, %d] input \"x\") -> (%%1 \"v\", %%2 \"i\") entry {\n  %%1, %%2 = top_k(%%0) {k = %d} : f32[B, %d], i32[B, %d]\n}\n",
                                      c->places, c->k, c->k, c->k);
  bool ok = pass_text_parse(&p, text);
  p.px.ranks = c->has_kernel;
  text = ok ? pass_text_run(&p, "lower") : NULL;
  bool ranked = text && strstr(text, "= put_along(");
  ok = text && ranked == c->ranked;
  if (!ok) printf("%d of %d places: %s\n%s", c->k, c->places, ranked ? "ranked" : "not ranked", text ? text : "");
  pass_text_end(&p);
  return ok;
}

int main(void) {
  int bad = 0;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) bad += !check(&cases[i]);
  return bad > 0;
}
