/* Schedules: a template and a short vector for each size class of a spec. The vectors are
 * documented beside the templates (backends/loop/tpl_*.c); 0 means the template's default. */
#include "passes/schedule.h"

/* ---- guards ------------------------------------------------------------------------ */

typedef struct Guard {
  DhcArena *arena;
  const DhcSpec *spec;
  DHC_VEC(int64_t) code;
} Guard;

static void put(Guard *g, int64_t word) {
  DHC_PUSH(g->arena, &g->code, word);
}

/* Product of the extents of all axes of a role. */
static void put_count(Guard *g, DhcAxisRole role) {
  put(g, DHC_DIM_CONST);
  put(g, 1);
  for (int a = 0; a < g->spec->n_axes; a++) {
    if (g->spec->axis[a].role != role) continue;
    int arg = dhc_spec_extent_arg(g->spec, a);
    put(g, arg < 0 ? DHC_DIM_CONST : DHC_DIM_SYM);
    put(g, arg < 0 ? g->spec->axis[a].extent : arg);
    put(g, DHC_DIM_MUL);
  }
}

static void put_const(Guard *g, int64_t v) {
  put(g, DHC_DIM_CONST);
  put(g, v);
}

static dhc_dimprog guard_of(const Guard *g) {
  return (dhc_dimprog){g->code.at, g->code.n};
}

/* ---- folds ----------------------------------------------------------------------------- */

enum { SPLIT_FOLDED = 32768, SPLIT_ROWS = 64 };

/* Few rows of many elements are cut into blocks, which all threads share (two phases); many rows are
 * tasks enough, and short ones not worth a second phase. */
static int row_classes(const DhcSpec *s, DhcArena *arena, DhcSchedule out[4]) {
  int n = 0;
  bool known = true; /* folded axes of constant extent: windows */
  for (int a = 0; a < s->n_axes; a++) known = known && (s->axis[a].role != DHC_AXIS_RED || s->axis[a].extent);
  if (!known && dhc_spec_may_split(s)) {
    Guard g = {.arena = arena, .spec = s};
    put_const(&g, SPLIT_FOLDED);
    put_count(&g, DHC_AXIS_RED);
    put(&g, DHC_DIM_LE);
    put_count(&g, DHC_AXIS_PAR);
    put_const(&g, SPLIT_ROWS);
    put(&g, DHC_DIM_LE);
    put(&g, DHC_DIM_AND);
    out[n++] = (DhcSchedule){.template_name = "row_split", .guard = guard_of(&g)};
  }
  out[n++] = (DhcSchedule){.template_name = "row"};
  return n;
}

/* ---- contractions --------------------------------------------------------------- */

/* One class: the template's tile is low (6 rows), so few rows waste little, and a second
 * class would double the time that code generation takes. Measured at 1, 2 and 6 rows: packing
 * the columns takes as long as all else. */
static int dot_classes(DhcSchedule out[4]) {
  out[0] = (DhcSchedule){.template_name = "dot"};
  return 1;
}

int dhc_schedule_panel_width(const DhcTargetFacts *t, int n_folds) {
  int lanes = t->vector_bytes >= 64 ? 16 : t->vector_bytes >= 32 ? 8 : 4;
  int vectors = t->vector_bytes >= 64 ? 4 : t->vector_bytes >= 32 ? 3 : 2; /* tpl_dot.c: choose_tile */
  return vectors / n_folds * lanes;
}

/* ---- all kinds ---------------------------------------------------------------------- */

int dhc_schedule_choose(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule out[4]) {
  (void)t;
  static const char *const names[DHC_N_KINDS] = {
#define KIND(id, name, ...) [DHC_KIND_##id] = name,
#include "ir/kinds.def"
  };
  if (s->kind == DHC_KIND_DOT) return dot_classes(out);
  if (s->kind == DHC_KIND_ROW) return row_classes(s, arena, out);
  out[0] = (DhcSchedule){.template_name = names[s->kind]};
  return 1;
}
