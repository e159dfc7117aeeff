/* From a fused entry to a plan: the steps, one a line. plan_internal.h says how. */
#include "passes/plan/plan_internal.h"

enum { REFERENCE = 16, N_SAMPLES = 4 };

static int64_t reference_size(const DhcPlanOptions *o, const char *symbol) {
  for (int i = 0; o && i < o->n_reference; i++)
    if (strcmp(o->reference_symbols[i], symbol) == 0 && o->reference_values[i] > 0) return o->reference_values[i];
  return REFERENCE;
}

/* Sizes to pack at: those asked for; if none are, small and large batches (the first symbol)
 * of small and large things. */
static int choose_samples(Pl *p, const DhcPlanOptions *o, const dhc_plan *plan, const int64_t **samples) {
  static const int64_t batch[N_SAMPLES] = {1, 8, 1, 8}, other[N_SAMPLES] = {1, 2, 2, 1};
  int n = o && o->n_reference ? 1 : N_SAMPLES;
  for (int k = 0; k < n; k++) {
    int64_t *symbols = DHC_NEW_N(p->arena, int64_t, plan->n_symbols + 1);
    for (int i = 0; i < plan->n_symbols; i++)
      symbols[i] = reference_size(o, plan->symbols[i]) * (n == 1 ? 1 : i ? other[k] : batch[k]);
    samples[k] = symbols;
  }
  return n;
}

static bool pack(Pl *p, const DhcPlanOptions *o, DhcPlanned *out) {
  int n = out->plan.n_buffers;
  const int64_t *samples[N_SAMPLES];
  int n_samples = choose_samples(p, o, &out->plan, samples);
  int *from = DHC_NEW_N(p->arena, int, n + 1), *to = DHC_NEW_N(p->arena, int, n + 1);
  if (!dhc_memory_pack(&out->plan, out->specs, samples, n_samples, o ? o->linger : 0, p->arena, from)) {
    dhc_diag(p->m->diags, DHC_ERROR, "E0921", p->entry->span, "'%s': buffer sizes do not fit in 63 bits", p->entry->name);
    return false;
  }
  dhc_dtype *dtypes = DHC_NEW_N(p->arena, dhc_dtype, n + 1);
  const char **names = DHC_NEW_N(p->arena, const char *, n + 1);
  for (int i = 0; i < n; i++) to[from[i]] = i, dtypes[i] = out->dtypes[from[i]], names[i] = out->names[from[i]];
  out->dtypes = dtypes;
  out->names = names;
  for (int i = 0; i < out->n_params; i++)
    if (out->params[i].buffer >= 0) out->params[i].buffer = to[out->params[i].buffer];
  DhcPlanPanel *panels = DHC_NEW_N(p->arena, DhcPlanPanel, p->panels.n + 1);
  for (int i = 0; i < p->panels.n; i++) {
    int row = p->bufs.at[p->panels.at[i].buffer].row;
    if (row < 0) continue; /* what read it was dropped, as its results are unread */
    panels[out->n_panels] = p->panels.at[i];
    panels[out->n_panels++].buffer = to[row];
  }
  out->panels = panels;
  for (int i = 0; i < out->n_results; i++) out->results[i].buffer = to[out->results[i].buffer];
  return true;
}

DhcPlanned *dhc_plan_build(DhcModule *m, DhcFunc *entry, const DhcPlanOptions *o, DhcArena *arena) {
  Pl p = {.m = m, .cx = m->dims, .entry = entry, .facts = &entry->facts, .arena = arena, .loop = -1};
  DhcPlanned *out = DHC_NEW(arena, DhcPlanned);
  if (!dhc_pl_flatten(&p)) return NULL;
  dhc_pl_panels(&p);
  dhc_pl_collect_uses(&p);
  if (!o || !o->plain) {
    dhc_pl_drop_unread(&p);
    dhc_pl_merge(&p);
  }
  return dhc_pl_emit(&p, out) && pack(&p, o, out) ? out : NULL;
}
