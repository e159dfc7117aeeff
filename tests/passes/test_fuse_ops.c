/* Every op case of the table: interpreted, fused, interpreted again. Kernels are evaluated
 * in double, in the order that ops.def defines, so results must be equal bit for bit. */
#include <string.h>

#include "ir/spec.h"
#include "passes/passes.h"
#include "tests/ops/check.h"

static bool same(const DhcArray *a, const DhcArray *b, int64_t *at) {
  if (a->n != b->n || a->rank != b->rank) return false;
  for (int64_t i = 0; i < a->n; i++) {
    *at = i;
    bool ok = a->f ? (a->f[i] == b->f[i] || (a->f[i] != a->f[i] && b->f[i] != b->f[i])) : a->i[i] == b->i[i];
    if (!ok) return false;
  }
  return true;
}

static int n_fused, n_skipped;

/* parse(print(spec)) equals spec and prints the same. */
static bool round_trip(const DhcOpCase *c, const DhcSpec *s) {
  DhcText t = {.arena = c->arena}, again = {.arena = c->arena};
  dhc_spec_print(s, &t);
  const char *text = dhc_text_str(&t);
  uint32_t file = dhc_sources_add(c->diags->sources, "spec", "spec", text, strlen(text)), end = 0;
  DhcSpec *p = dhc_spec_parse(c->arena, c->diags, file, 0, &end);
  if (!p || !dhc_spec_equal(p, s)) return false;
  dhc_spec_print(p, &again);
  return strcmp(text, dhc_text_str(&again)) == 0;
}

static void check(void *ctx, const DhcOpCase *c) {
  Check *k = ctx;
  DhcArray *want[DHC_MAX_RESULTS], *got[DHC_MAX_RESULTS];
  if (!c->node || !dhc_case_run(c, want)) {
    n_skipped++;
    return;
  }
  k->cases++;
  DhcArena scratch;
  dhc_arena_init(&scratch);
  DhcPassCtx px = {.module = c->m, .diags = c->diags, .scratch = &scratch, .limit = -1, .pass = "fuse"};
  bool ok = dhc_pass_lower(c->m, &px) && dhc_pass_ready(c->m, &px) && dhc_pass_fuse(c->m, &px);
  dhc_arena_fini(&scratch);
  if (!ok) {
    check_fail(k, c, "fuse refused");
    return;
  }
  for (DhcNode *n = c->f->first; n; n = n->next) {
    DhcOpClass cls = dhc_op_info(n->op)->cls;
    bool stays = cls == DHC_CLASS_META || cls == DHC_CLASS_VIEW || cls == DHC_CLASS_CALL || cls == DHC_CLASS_EFFECT ||
                 n->op == DHC_OP_FILL;
    if (!stays) check_fail(k, c, "%s is left", dhc_op_info(n->op)->name);
  }
  n_fused++;
  for (int i = 0; i < c->m->specs.n; i++)
    if (!round_trip(c, c->m->specs.at[i])) check_fail(k, c, "a spec's text does not come back");
  if (!dhc_case_run(c, got)) {
    check_fail(k, c, "the fused function does not run");
    return;
  }
  for (int r = 0; r < c->f->results.n; r++) {
    int64_t at = -1;
    if (same(want[r], got[r], &at)) continue;
    check_fail(k, c, "result %d differs at %lld: %.17g, fused %.17g", r, (long long)at,
               want[r]->f ? want[r]->f[at < 0 ? 0 : at] : (double)want[r]->i[at < 0 ? 0 : at],
               got[r]->f ? got[r]->f[at < 0 ? 0 : at] : (double)got[r]->i[at < 0 ? 0 : at]);
  }
}

int main(void) {
  DhcCaseOptions o = {.seed = 7, .float_dtype = DHC_F64, .small = true};
  int rc = check_all("fuse", &o, check, false);
  printf("%d fused, %d without a kernel\n", n_fused, n_skipped);
  return rc;
}
