/* The table of templates and the one way to run them. */
#include "backends/loop/tpl.h"

enum { CPU = 1 << DHC_TARGET_CPU, GPU = 1 << DHC_TARGET_GPU, ANY = CPU | GPU };

static const DhcTemplate table[] = {
#define TPL(targets, kind, name, fn) {name, DHC_KIND_##kind, targets, false, fn},
#define PLAIN(targets, kind, name, fn) {name, DHC_KIND_##kind, targets, true, fn},
#include "backends/loop/templates.def"
};

static bool suits(const DhcTemplate *t, DhcKind kind, DhcTargetKind target) {
  return t->kind == kind && (t->targets >> target & 1);
}

const DhcTemplate *dhc_template_find(const char *name, DhcKind kind, DhcTargetKind target) {
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (suits(&table[i], kind, target) && (!name || !*name || !strcmp(name, table[i].name))) return &table[i];
  return NULL;
}

/* The row of a kind that lowers whatever others refuse. */
static const DhcTemplate *plain_of(DhcKind kind, DhcTargetKind target) {
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (table[i].plain && suits(&table[i], kind, target)) return &table[i];
  return NULL;
}

static DhcLp *run(const DhcTemplate *t, const DhcTplInput *in, const char **why) {
  DhcLp *b = dhc_lp_new(in->arena, in->spec->n_operands, dhc_spec_n_dims(in->spec));
  t->build(in, b);
  if (in->facts->kind == DHC_TARGET_GPU && !in->schedule->wide) b->narrow_dims = dhc_spec_extra_arg(in->spec, 0);
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
  const char *name = in->schedule->template_name;
  DhcTargetKind target = in->facts->kind;
  const DhcTemplate *t = dhc_template_find(name, in->spec->kind, target), *plain = plain_of(in->spec->kind, target);
  if (!t) {
    *why = dhc_arena_printf(in->arena, "no template '%s'", name ? name : "");
    return NULL;
  }
  DhcLp *b = run(t, in, why);
  if (b || !plain || plain == t) return b;
  DhcTplInput again = *in;
  const DhcSchedule own = {.v = {0, in->facts->task_elements}}; /* the vector is meant for the other template */
  again.schedule = &own;
  return run(plain, &again, why);
}
