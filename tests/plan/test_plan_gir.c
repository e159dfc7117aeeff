/* Pieces of a .gir file: every entry is interpreted as written and run from its plan's memory,
 * with parameters drawn at random and several sizes. Equal bits.
 *
 *   test_plan_gir FILE.gir */
#include <stdio.h>
#include <stdlib.h>

#include "passes/passes.h"
#include "tests/ops/op_cases.h"
#include "tests/plan/plan_exec.h"

typedef struct Piece {
  DhcArena arena;
  DhcStrings strings;
  DhcSources sources;
  DhcDiags diags;
  DhcModule *m;
} Piece;

static bool parse(Piece *x, const char *text, size_t n) {
  memset(x, 0, sizeof *x);
  dhc_arena_init(&x->arena);
  x->strings.arena = x->sources.arena = x->diags.arena = &x->arena;
  x->diags.sources = &x->sources;
  uint32_t file = dhc_sources_add(&x->sources, "piece", "piece", text, n);
  x->m = dhc_module_parse(&x->arena, &x->strings, &x->diags, file);
  return x->m && dhc_verify(x->m, DHC_STAGE_GRAPH, "parse");
}

static DhcFunc *entry_of(const DhcModule *m) {
  for (int i = 0; i < m->funcs.n; i++)
    if (m->funcs.at[i]->kind == DHC_FUNC_ENTRY) return m->funcs.at[i];
  return NULL;
}

static DhcArray *draw(Piece *x, const DhcFunc *f, int i, const int64_t *symbols, uint64_t *state) {
  const DhcType *t = &f->params.at[i]->type;
  int64_t dim[DHC_MAX_RANK];
  for (int d = 0; d < t->rank; d++)
    if (!dhc_dim_eval(t->dim[d], f->symbols.n, f->symbols.at, symbols, &dim[d])) return NULL;
  DhcArray *a = dhc_array_new(&x->arena, t->dtype, t->rank, dim);
  for (int64_t e = 0; e < a->n; e++) {
    if (a->f)
      a->f[e] = dhc_case_uniform(state, -1, 1);
    else
      a->i[e] = (int64_t)(dhc_case_bits(state) % 6);
  }
  return a;
}

static bool check(const char *text, size_t n, uint64_t seed) {
  Piece x;
  bool ok = parse(&x, text, n);
  DhcFunc *f = ok ? entry_of(x.m) : NULL;
  const char *name = f ? f->name : "?";
  int64_t symbols[16];
  for (int i = 0; i < 16; i++) symbols[i] = (int64_t)(seed + 3 * (uint64_t)i) % 7 + 2;
  if (f) {
    int n_params = f->params.n;
    const DhcArray **args = DHC_NEW_N(&x.arena, const DhcArray *, n_params + 1);
    DhcArray *want[64], *got[64], *want_up[64], *after[64];
    for (int i = 0; i < n_params; i++) ok = (args[i] = draw(&x, f, i, symbols, &seed)) && ok;
    ok = ok && dhc_interp_run(&x.arena, &x.diags, f, args, want, want_up);
    DhcPlanned *p = ok ? dhc_test_plan(&f, DHC_PIPELINE_GRAPH, false) : NULL;
    ok = p && dhc_test_run_plan(p, f, args, &x.arena, got, after, stderr) && dhc_test_apart(p, symbols, &x.arena, stderr);
    for (int r = 0; ok && r < f->results.n; r++) ok = dhc_test_same(want[r], got[r]);
    for (int i = 0; ok && i < n_params; i++)
      ok = after[i] ? dhc_test_same(want_up[i] ? want_up[i] : args[i], after[i]) : !want_up[i];
  }
  dhc_diags_print(&x.diags, stderr, false);
  if (!ok || !f) fprintf(stderr, "@%s differs\n", name);
  dhc_arena_fini(&x.arena);
  return ok && f;
}

int main(int argc, char **argv) {
  static char text[1 << 17];
  FILE *from = argc > 1 ? fopen(argv[1], "rb") : NULL;
  if (!from) return 2;
  size_t n = fread(text, 1, sizeof text - 1, from);
  fclose(from);
  int bad = 0, pieces = 0;
  for (const char *at = text, *end = text + n; at < end; pieces++) {
    const char *cut = strstr(at, "\n// -----");
    size_t k = cut ? (size_t)(cut + 1 - at) : (size_t)(end - at);
    for (uint64_t seed = 1; seed < 4; seed++) bad += !check(at, k, seed);
    at += cut ? k + strlen("// -----") : k;
  }
  printf("%d pieces, %d wrong\n", pieces, bad);
  return bad > 0;
}
