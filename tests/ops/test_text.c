/* Every case of every op: parse(print(m)) verifies, prints the same text and runs to the
 * same bits. */
#include "tests/ops/check.h"

static const DhcCaseOptions options = {.seed = 2, .float_dtype = DHC_F32, .small = true};

static const char *text_of(const DhcOpCase *c, DhcModule *m) {
  DhcText t = {.arena = c->arena};
  dhc_module_print(m, &t);
  return dhc_text_str(&t);
}

static bool same_bits(const DhcArray *a, const DhcArray *b) {
  if (a->n != b->n || a->dtype != b->dtype) return false;
  return memcmp(a->f ? (void *)a->f : (void *)a->i, b->f ? (void *)b->f : (void *)b->i,
                8 * (size_t)a->n) == 0;
}

static void round_trip(void *ctx, const DhcOpCase *c) {
  Check *k = ctx;
  k->cases++;
  if (!c->node) {
    check_fail(k, c, "was refused");
    return;
  }
  if (!dhc_verify(c->m, DHC_STAGE_GRAPH, "the case table")) {
    check_fail(k, c, "does not verify");
    return;
  }
  const char *text = text_of(c, c->m);
  DhcStrings strings = {.arena = c->arena};
  DhcSources sources = {.arena = c->arena};
  DhcDiags diags = {.arena = c->arena, .sources = &sources};
  uint32_t file = dhc_sources_add(&sources, "case.gir", "case.gir", text, strlen(text));
  DhcModule *m = dhc_module_parse(c->arena, &strings, &diags, file);
  if (!m) {
    dhc_diags_print(&diags, stderr, false);
    check_fail(k, c, "does not parse:\n%s", text);
    return;
  }
  const char *again = text_of(c, m);
  if (strcmp(text, again) != 0) check_fail(k, c, "prints as\n%s\nthen as\n%s", text, again);
  DhcFunc *f = dhc_module_func(m, c->f->name);
  DhcArray *want[DHC_MAX_RESULTS], *got[DHC_MAX_RESULTS];
  if (!f || !dhc_case_run(c, want) || !dhc_interp_run(c->arena, &diags, f, c->args, got, NULL)) {
    check_fail(k, c, "does not run after parsing");
    return;
  }
  for (int r = 0; r < f->results.n; r++)
    if (!same_bits(want[r], got[r])) check_fail(k, c, "result %d differs after parsing", r);
}

int main(void) {
  return check_all("text", &options, round_trip, false);
}
