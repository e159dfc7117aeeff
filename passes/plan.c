/* From a fused entry to a plan: the steps, one a line. plan_internal.h says how. */
#include "passes/plan_internal.h"

static int64_t reference_size(const DhcPlanOptions *o, const char *symbol) {
  for (int i = 0; o && i < o->n_reference; i++)
    if (strcmp(o->reference_symbols[i], symbol) == 0 && o->reference_values[i] > 0) return o->reference_values[i];
  return 16;
}

static bool pack(Pl *p, const DhcPlanOptions *o, DhcPlanned *out) {
  int n = out->plan.n_buffers;
  int64_t *symbols = DHC_NEW_N(p->arena, int64_t, out->plan.n_symbols + 1);
  for (int i = 0; i < out->plan.n_symbols; i++) symbols[i] = reference_size(o, out->plan.symbols[i]);
  int *from = DHC_NEW_N(p->arena, int, n + 1), *to = DHC_NEW_N(p->arena, int, n + 1);
  if (!dhc_memory_pack(&out->plan, out->specs, symbols, p->arena, from)) {
    dhc_diag(p->m->diags, DHC_ERROR, "E0921", p->entry->span, "'%s': buffer sizes do not fit in 63 bits", p->entry->name);
    return false;
  }
  for (int i = 0; i < n; i++) to[from[i]] = i;
  for (int i = 0; i < out->n_params; i++)
    if (out->params[i].buffer >= 0) out->params[i].buffer = to[out->params[i].buffer];
  for (int i = 0; i < out->n_results; i++) out->results[i].buffer = to[out->results[i].buffer];
  return true;
}

DhcPlanned *dhc_plan_build(DhcModule *m, DhcFunc *entry, const DhcPlanOptions *o, DhcArena *arena) {
  Pl p = {.m = m, .cx = m->dims, .entry = entry, .facts = &entry->facts, .arena = arena, .loop = -1};
  DhcPlanned *out = DHC_NEW(arena, DhcPlanned);
  if (!dhc_pl_flatten(&p)) return NULL;
  dhc_pl_drop_unread(&p);
  dhc_pl_merge(&p);
  dhc_pl_fold_flushes(&p);
  return dhc_pl_emit(&p, out) && pack(&p, o, out) ? out : NULL;
}
