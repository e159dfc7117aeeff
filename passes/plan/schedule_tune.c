/* What a search may choose among (dhcc tune): of each template's numbers those that move work about and no sum. On a CPU every
 * schedule has the same bits; on a GPU some of them decide how sums are cut, so there is nothing to choose there yet. */
#include "passes/plan/schedule_internal.h"

typedef struct Change {
  int at[2], to[2]; /* numbers of the vector; at[1] -1: one alone */
} Change;

/* Accumulators, a line of columns and a broadcast at a time in registers. */
static bool in_registers(const DhcTargetFacts *t, const DhcSchedule *x) {
  return x->v[0] * x->v[1] + x->v[1] < (t->vector_bytes >= 64 ? 32 : 16);
}

static bool reads_panels(const DhcSpec *s) {
  for (int o = 0; o < s->n_operands; o++)
    if (dhc_tag_is_panel(s->operand[o].tag)) return true;
  return false;
}

/* Tiles of a contraction, how many tasks there are at least, and of how many tiles. Panels are as wide as the usual tile. */
static int of_dot(const DhcSpec *s, const DhcTargetFacts *t, Change *out) {
  static const Change all[] = {{{0, 1}, {12, 2}}, {{0, 1}, {8, 3}}, {{0, 1}, {4, 4}}, {{0, 1}, {4, 2}}, {{3, 4}, {32, 4}}, {{3, 4}, {16, 24}}, {{3, -1}, {4, 0}}};
  int n = 0;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    const DhcSchedule tile = {.v = {all[i].to[0], all[i].to[1]}};
    if (all[i].at[0] == 0 && (reads_panels(s) || !in_registers(t, &tile))) continue;
    out[n++] = all[i];
  }
  return n;
}

/* Of the other templates: tasks, elements of a task, places and channels that go together. */
static const struct {
  const char *name;
  int n;
  Change change[4];
} others[] = {
  {"chain", 2, {{{3, -1}, {32, 0}}, {{3, -1}, {128, 0}}}},
  {"row_split", 2, {{{2, -1}, {1, 0}}, {{2, -1}, {16, 0}}}},
  {"row", 3, {{{1, -1}, {2048, 0}}, {{1, -1}, {8192, 0}}, {{1, -1}, {65536, 0}}}},
  {"map", 3, {{{1, -1}, {2048, 0}}, {{1, -1}, {8192, 0}}, {{1, -1}, {65536, 0}}}},
  {"scan", 3, {{{1, -1}, {2048, 0}}, {{1, -1}, {8192, 0}}, {{1, -1}, {65536, 0}}}},
  {"scatter", 3, {{{1, -1}, {2048, 0}}, {{1, -1}, {8192, 0}}, {{1, -1}, {65536, 0}}}},
  {"conv", 4, {{{3, -1}, {2, 0}}, {{3, -1}, {32, 0}}, {{4, 5}, {196, 240}}, {{6, -1}, {65536, 0}}}},
  {"conv_deep", 3, {{{4, 5}, {16, 64}}, {{4, 5}, {128, 512}}, {{1, -1}, {12, 0}}}},
  {"conv_dw", 4, {{{3, -1}, {2, 0}}, {{3, 6}, {32, 4}}, {{4, -1}, {64, 0}}, {{5, 7}, {64, 8}}}},
  {"winograd", 3, {{{3, -1}, {2, 0}}, {{3, -1}, {32, 0}}, {{6, -1}, {65536, 0}}}},
};

static int of_template(const DhcSpec *s, const DhcTargetFacts *t, const char *name, Change *out) {
  if (!strcmp(name, "dot") || !strcmp(name, "ragged")) return of_dot(s, t, out);
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    if (strcmp(name, others[i].name)) continue;
    for (int k = 0; k < others[i].n; k++) out[k] = others[i].change[k];
    return others[i].n;
  }
  return 0;
}

int dhc_schedule_candidates(const DhcSpec *s, const DhcTargetFacts *t, const DhcSchedule *usual, DhcSchedule out[DHC_MAX_CANDIDATES]) {
  Change change[DHC_MAX_CANDIDATES];
  int n = 1, n_changes = t->kind == DHC_TARGET_CPU ? of_template(s, t, usual->template_name, change) : 0;
  out[0] = *usual;
  for (int i = 0; i < n_changes && n < DHC_MAX_CANDIDATES; i++) {
    out[n] = *usual;
    for (int k = 0; k < 2; k++)
      if (change[i].at[k] >= 0) out[n].v[change[i].at[k]] = change[i].to[k];
    if (memcmp(out[n].v, usual->v, sizeof usual->v)) n++;
  }
  return n;
}
