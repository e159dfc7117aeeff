#include "tests/passes/pass_text.h"

#include <stdio.h>
#include <string.h>

void pass_text_begin(PassText *p) {
  memset(p, 0, sizeof *p);
  dhc_arena_init(&p->arena);
  dhc_arena_init(&p->scratch);
  p->strings.arena = p->sources.arena = p->diags.arena = &p->arena;
  p->diags.sources = &p->sources;
}

bool pass_text_parse(PassText *p, const char *text) {
  p->module = dhc_module_parse(&p->arena, &p->strings, &p->diags, dhc_sources_add(&p->sources, "f.gir", "f.gir", text, strlen(text)));
  if (!p->module) dhc_diags_print(&p->diags, stdout, false);
  else dhc_pass_ctx_init(&p->px, p->module, &p->scratch);
  return p->module;
}

const char *pass_text_run(PassText *p, const char *pass) {
  DhcText to = {.arena = &p->arena};
  if (!dhc_passes_run(p->module, &p->px, pass)) return NULL;
  dhc_module_print(p->module, &to);
  return dhc_text_str(&to);
}

void pass_text_end(PassText *p) {
  dhc_arena_fini(&p->scratch);
  dhc_arena_fini(&p->arena);
}

int pass_text_count(const char *text, const char *word) {
  int n = 0;
  for (; (text = strstr(text, word)); text += strlen(word)) n++;
  return n;
}
