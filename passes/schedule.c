/* Schedules: a template and a short vector for each size class of a spec. The vectors are
 * documented beside the templates (backends/loop/tpl_*.c); 0 means the template's default. */
#include "passes/schedule.h"

/* ---- contractions --------------------------------------------------------------- */

/* One class: the template's tile is low (6 rows), so few rows waste little, and a second
 * class would double the time that code generation takes. Measured at 1, 2 and 6 rows: packing
 * the columns takes as long as all else. */
static int dot_classes(DhcSchedule out[4]) {
  out[0] = (DhcSchedule){.template_name = "dot"};
  return 1;
}

int dhc_schedule_panel_width(const DhcTargetFacts *t) {
  return t->vector_bytes >= 64 ? 64 : t->vector_bytes >= 32 ? 24 : 8;
}

/* ---- all kinds ---------------------------------------------------------------------- */

int dhc_schedule_choose(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule out[4]) {
  (void)t;
  (void)arena;
  static const char *const names[DHC_N_KINDS] = {
#define KIND(id, name, ...) [DHC_KIND_##id] = name,
#include "ir/kinds.def"
  };
  if (s->kind == DHC_KIND_DOT) return dot_classes(out);
  out[0] = (DhcSchedule){.template_name = names[s->kind]};
  return 1;
}
