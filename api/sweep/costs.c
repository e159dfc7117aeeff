/* What each variant costs, from its plan: nothing is run or compiled. */
#include <stdlib.h>

#include "api/atlas/atlas.h"
#include "api/sweep/sweep.h"

typedef struct CostSweep {
  dhc_sweep *w;
  bool (*row)(void *ctx, const dhc_sweep_cost_row *r);
  void *ctx;
  SweepSeen seen;
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
  DHC_TRY(sweep_inputs(x->m, o->sizes, &x->arena, in, &n_in, NULL));
  DHC_TRY(sweep_identify(x, in, n_in, &x->arena, &id));
  DHC_TRY(dhc_model_costs(x->m, &(dhc_costs_options){.sizes = o->sizes}, &costs));
  int same = sweep_seen_before(&t->seen, id.hash, t->at);
  const dhc_sweep_cost_row row = {.index = t->at, .name = x->name, .hash = id.hash, .pattern = id.pattern, .order = id.order, .mixers = id.mixers,
                                  .sequence_length = id.length, .same_as = same >= 0 ? t->w->variants.at[same].name : NULL, .costs = &costs};
  t->go_on = !t->row || t->row(t->ctx, &row);
  return dhc_status_ok();
}

dhc_status api_sweep_costs(dhc_sweep *w, bool (*row)(void *ctx, const dhc_sweep_cost_row *r), void *ctx) {
  NEED(w);
  DhcArena a;
  dhc_arena_init(&a);
  CostSweep t = {.w = w, .row = row, .ctx = ctx, .seen = sweep_seen_make(&a, w->variants.n), .go_on = true};
  dhc_status st = sweep_each(w, cost, &t, &t.at, &t.go_on);
  dhc_arena_fini(&a);
  return st;
}
