/* What each variant costs, from its plan: nothing is run or compiled. */
#include <stdlib.h>

#include "api/atlas/atlas.h"
#include "api/sweep/sweep.h"

typedef struct CostSweep {
  dhc_sweep *w;
  bool (*row)(void *ctx, const dhc_sweep_cost_row *r);
  void *ctx;
  int at;      /* variant */
  bool go_on;
} CostSweep;

static dhc_status cost(void *ctx, SweepOpen *x) {
  CostSweep *t = ctx;
  const dhc_sweep_options *o = &t->w->o;
  dhc_tensor in[ATLAS_MAX_INPUTS];
  int n_in;
  SweepIdentity id;
  dhc_costs costs;
  DHC_TRY(sweep_inputs(x->m, o->sizes, o->seed, &x->arena, in, &n_in));
  DHC_TRY(sweep_identify(x, in, n_in, &x->arena, &id));
  DHC_TRY(dhc_model_costs(x->m, &(dhc_costs_options){.sizes = o->sizes}, &costs));
  const dhc_sweep_cost_row row = {.index = t->at, .name = t->w->variants.at[t->at].name, .hash = id.hash, .pattern = id.pattern, .order = id.order,
                                  .mixers = id.mixers, .costs = &costs};
  t->go_on = !t->row || t->row(t->ctx, &row);
  return dhc_status_ok();
}

dhc_status api_sweep_costs(dhc_sweep *w, bool (*row)(void *ctx, const dhc_sweep_cost_row *r), void *ctx) {
  NEED(w);
  CostSweep t = {.w = w, .row = row, .ctx = ctx, .go_on = true};
  return sweep_each(w, cost, &t, &t.at, &t.go_on);
}
