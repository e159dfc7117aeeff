/* Which choices among the places of a row are made by the ranks of all of them, where the target has a kernel for these: many of a short
 * row, not such as blocks find sooner. */
#include <stdio.h>
#include <string.h>

#include "passes/passes.h"

typedef struct Case {
  int places, k;
  bool has_kernel, ranked;
} Case;

static const Case cases[] = {
    {64, 50, true, true},   {257, 50, true, true},   {1000, 100, true, true}, /* pairs, or sorted */
    {64, 50, false, false}, {257, 8, true, false},   {1025, 100, true, false},
    {257, 16, true, false}, {1000, 16, true, false}, {1000, 32, true, false}, /* blocks */
};

static int check(const Case *c) {
  DhcArena a, scratch;
  DhcPassCtx px;
  dhc_arena_init(&a);
  dhc_arena_init(&scratch);
  DhcStrings strings = {.arena = &a};
  DhcSources sources = {.arena = &a};
  DhcDiags diags = {.arena = &a, .sources = &sources};
  const char *text = dhc_arena_printf(&a, "func @f<B>(%%0: f32[B, %d] input \"x\") -> (%%1 \"v\", %%2 \"i\") entry {\n  %%1, %%2 = top_k(%%0) {k = %d} : f32[B, %d], i32[B, %d]\n}\n",
                                      c->places, c->k, c->k, c->k);
  uint32_t file = dhc_sources_add(&sources, "f.gir", "f.gir", text, strlen(text));
  DhcModule *m = dhc_module_parse(&a, &strings, &diags, file);
  int bad = !m;
  if (m) {
    DhcText to = {.arena = &a};
    dhc_pass_ctx_init(&px, m, &scratch);
    px.ranks = c->has_kernel;
    bool ok = dhc_passes_run(m, &px, "lower");
    dhc_module_print(m, &to);
    bool ranked = strstr(dhc_text_str(&to), "= put_along(");
    if (!ok || ranked != c->ranked) {
      printf("%d of %d places: %s\n%s", c->k, c->places, ranked ? "ranked" : "not ranked", dhc_text_str(&to));
      bad = 1;
    }
  } else {
    dhc_diags_print(&diags, stdout, false);
  }
  dhc_arena_fini(&scratch);
  dhc_arena_fini(&a);
  return bad;
}

int main(void) {
  int bad = 0;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) bad += check(&cases[i]);
  return bad > 0;
}
