/* What each variant costs, from its plan: nothing is run or compiled. */
#include <stdlib.h>

#include "api/atlas/atlas.h"
#include "api/sweep/sweep.h"

typedef struct CostSweep {
  dhc_sweep *w;
  bool (*row)(void *ctx, const dhc_sweep_cost_row *r);
  void *ctx;
} CostSweep;

static void close_open(void *x) {
  sweep_close_variant(x);
}

static dhc_status cost(CostSweep *t, const SweepOpen *x, int i, DhcArena *a, bool *go_on) {
  const dhc_sweep_options *o = &t->w->o;
  dhc_tensor in[ATLAS_MAX_INPUTS];
  int n_in;
  SweepIdentity id;
  dhc_costs costs;
  DHC_TRY(sweep_inputs(x->m, o->sizes, o->seed, a, in, &n_in));
  DHC_TRY(sweep_identify(x, in, n_in, a, &id));
  DHC_TRY(dhc_model_costs(x->m, &(dhc_costs_options){.sizes = o->sizes}, &costs));
  const dhc_sweep_cost_row row = {.index = i, .name = t->w->variants.at[i].name, .hash = id.hash, .pattern = id.pattern, .order = id.order,
                                  .mixers = id.mixers, .costs = &costs};
  *go_on = !t->row || t->row(t->ctx, &row);
  return dhc_status_ok();
}

static dhc_status one(CostSweep *t, int i, bool *go_on) {
  const SweepVariant *v = &t->w->variants.at[i];
  SweepOpen x;
  DhcArena a;
  DhcHeld held;
  dhc_arena_init(&a);
  dhc_status st = sweep_open_variant(t->w, v, &x);
  dhc_hold(&held, close_open, &x);
  if (st.code == DHC_OK) st = cost(t, &x, i, &a, go_on);
  dhc_release(&held);
  sweep_close_variant(&x);
  dhc_arena_fini(&a);
  return st.code == DHC_OK || st.code == DHC_E_INTERRUPTED ? st : sweep_report_again(t->w, v, st);
}

dhc_status api_sweep_costs(dhc_sweep *w, bool (*row)(void *ctx, const dhc_sweep_cost_row *r), void *ctx) {
  NEED(w);
  CostSweep t = {w, row, ctx};
  dhc_status st = dhc_status_ok();
  bool go_on = true;
  for (int i = 0; i < w->variants.n && st.code == DHC_OK && go_on; i++)
    st = dhc_stop_signal() ? dhc_status_make(DHC_E_INTERRUPTED, "stopped after %d of %d variants", i, w->variants.n) : one(&t, i, &go_on);
  return st;
}
