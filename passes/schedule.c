/* Schedules: a template and a short vector for each size class of a spec. The vectors are
 * documented beside the templates (backends/loop/tpl_*.c); 0 means the template's default. */
#include "passes/schedule.h"

/* ---- contractions --------------------------------------------------------------- */

static int only_dot(const DhcSpec *s) {
  int found = -1;
  for (int n = 0; n < s->n_nodes; n++)
    if (s->node[n].kind == DHC_SN_FOLD && s->node[n].op == DHC_OP_DOT_GENERAL) found = found < 0 ? n : -2;
  return found;
}

static int unit_axis(const DhcOperand *p) {
  for (int t = 0; t < p->n_terms; t++)
    if (p->term[t].unit && !p->term[t].guarded && p->term[t].index < 0) return p->term[t].axis[0];
  return -1;
}

/* The axis whose extent decides how many rows there are to tile: the innermost parallel
 * axis of the operand that does not vary along output 0's contiguous axis. */
static int row_axis(const DhcSpec *s, int dot) {
  uint32_t red = s->node[dot].axes;
  uint32_t a = dhc_spec_varies(s, s->node[dot].a[0]) & ~red, b = dhc_spec_varies(s, s->node[dot].a[1]) & ~red;
  int side = unit_axis(&s->operand[dhc_spec_n_inputs(s)]);
  uint32_t rows = side >= 0 && (a & ~b) >> side & 1 ? b & ~a : a & ~b;
  for (int x = s->n_axes - 1; x >= 0; x--)
    if (rows >> x & 1) return x;
  return -1;
}

static dhc_dimprog at_most(DhcArena *arena, int arg, int64_t limit) {
  int64_t *code = DHC_NEW_N(arena, int64_t, 5);
  code[0] = DHC_DIM_SYM;
  code[1] = arg;
  code[2] = DHC_DIM_CONST;
  code[3] = limit;
  code[4] = DHC_DIM_LE;
  return (dhc_dimprog){code, 5};
}

/* A register tile of many rows wastes its work where there are few. */
static int dot_classes(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule out[4]) {
  int wide = t->vector_bytes >= 64, dot = only_dot(s), n = 0;
  int m = dot >= 0 ? row_axis(s, dot) : -1;
  int arg = m >= 0 ? dhc_spec_extent_arg(s, m) : -1;
  if (arg >= 0 && wide) {
    out[n++] = (DhcSchedule){.template_name = "dot", .v = {2, 4}, .guard = at_most(arena, arg, 2)};
    out[n++] = (DhcSchedule){.template_name = "dot", .v = {6, 4}, .guard = at_most(arena, arg, 6)};
  } else if (arg >= 0) {
    out[n++] = (DhcSchedule){.template_name = "dot", .v = {2, 4}, .guard = at_most(arena, arg, 2)};
  }
  out[n++] = (DhcSchedule){.template_name = "dot"};
  return n;
}

/* ---- all kinds ---------------------------------------------------------------------- */

int dhc_schedule_choose(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule out[4]) {
  static const char *const names[DHC_N_KINDS] = {
#define KIND(id, name, ...) [DHC_KIND_##id] = name,
#include "ir/kinds.def"
  };
  if (s->kind == DHC_KIND_DOT) return dot_classes(s, t, arena, out);
  out[0] = (DhcSchedule){.template_name = names[s->kind]};
  return 1;
}
