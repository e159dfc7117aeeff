#include "ir/image_graph.h"

/* What the text may not depend on: the tensors and scalars of the model it came from. */
static void stand_alone(DhcFunc *f, bool entry) {
  for (int i = 0; i < f->params.n; i++) {
    f->param_info.at[i].decl = -1;
    if (!entry && f->param_info.at[i].role != DHC_ROLE_SCALAR) f->param_info.at[i].role = DHC_ROLE_INPUT;
  }
  f->kind = DHC_FUNC_ENTRY;
}

static const char *text_of(const DhcFunc *f, bool entry, DhcArena *arena) {
  DhcFunc *root = (DhcFunc *)(uintptr_t)f, *copy; /* extraction reads it only */
  DhcModule *m = dhc_module_extract(f->module, &root, 1, &copy);
  DhcText text = {.arena = arena};
  stand_alone(copy, entry);
  for (int i = 0; i < m->funcs.n; i++)
    if (m->funcs.at[i] != copy) dhc_func_print(m->funcs.at[i], &text);
  dhc_func_print(copy, &text);
  return dhc_text_str(&text);
}

const char *dhc_graph_text(const DhcFunc *f, DhcArena *arena) { return text_of(f, false, arena); }

const char *dhc_entry_text(const DhcFunc *f, DhcArena *arena) { return text_of(f, true, arena); }

const DhcFunc *dhc_graph_func(const DhcGraphReader *r, const dhc_graph *g) {
  if (g->made || !g->text) return g->made;
  uint32_t file = dhc_sources_add(r->diags->sources, "image", "image", g->text, strlen(g->text));
  DhcModule *m = dhc_module_parse(r->arena, r->strings, r->diags, file);
  if (!m || !m->funcs.n || !dhc_verify(m, DHC_STAGE_GRAPH, "image")) return NULL;
  return m->funcs.at[m->funcs.n - 1];
}
