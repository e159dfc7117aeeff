/* The table of templates and the one way to run them. */
#include "backends/loop/tpl.h"

static const DhcTemplate table[] = {
#define TPL(kind, name, fn) {name, DHC_KIND_##kind, fn},
#include "backends/loop/templates.def"
};

const DhcTemplate *dhc_template_find(const char *name, DhcKind kind) {
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    if (table[i].kind != kind) continue;
    if (!name || !*name || !strcmp(name, table[i].name)) return &table[i];
  }
  return NULL;
}

/* The row of a kind that lowers whatever others refuse. */
static const DhcTemplate *plain_of(DhcKind kind) {
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (table[i].kind == kind && strstr(table[i].name, "_plain")) return &table[i];
  return NULL;
}

static DhcLp *run(const DhcTemplate *t, const DhcTplInput *in, const char **why) {
  DhcLp *b = dhc_lp_new(in->arena, in->spec->n_operands, dhc_spec_n_dims(in->spec));
  t->build(in, b);
  if (b->refused) {
    *why = dhc_arena_printf(in->arena, "template %s: %s", t->name, b->refused);
    return NULL;
  }
  dhc_lp_cse(b);
  const char *wrong;
  if (!dhc_lp_verify(b, in->arena, &wrong)) DHC_BUG("template %s: %s", t->name, wrong);
  return b;
}

DhcLp *dhc_template_build(const DhcTplInput *in, const char **why) {
  const char *name = in->schedule ? in->schedule->template_name : NULL;
  const DhcTemplate *t = dhc_template_find(name, in->spec->kind), *plain = plain_of(in->spec->kind);
  if (t) {
    DhcLp *b = run(t, in, why);
    if (b || !plain || plain == t) return b;
  } else {
    *why = dhc_arena_printf(in->arena, "no template '%s'", name ? name : "");
    if (!plain) return NULL;
  }
  DhcTplInput again = *in;
  /* the vector is meant for the other template; a GPU's tasks are small */
  const DhcSchedule small = {.v = {0, 1}};
  again.schedule = in->facts && in->facts->name && !strcmp(in->facts->name, "cuda") ? &small : NULL;
  return run(plain, &again, why);
}
