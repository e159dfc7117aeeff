/* An object of each variant: what it takes to deploy it. */
#include "api/atlas/atlas.h"
#include "api/sweep/sweep.h"

typedef struct ObjectSweep {
  dhc_sweep *w;
  const dhc_build_options *o;
  bool (*row)(void *ctx, const dhc_sweep_object_row *r);
  void *ctx;
  SweepSeen seen;
  int at; /* variant */
  bool go_on;
} ObjectSweep;

static dhc_status build(void *ctx, SweepOpen *x) {
  ObjectSweep *t = ctx;
  dhc_tensor in[ATLAS_MAX_INPUTS];
  int n_in;
  SweepIdentity id;
  dhc_build_result built = {0};
  DHC_TRY(sweep_inputs(x->m, t->w->o.sizes, &x->arena, in, &n_in, NULL));
  DHC_TRY(sweep_identify(x, in, n_in, &x->arena, &id));
  int same = sweep_seen_before(&t->seen, id.hash, t->at);
  if (same < 0) DHC_TRY(dhc_model_build(x->m, t->o, &built));
  const dhc_sweep_object_row row = {.index = t->at, .name = x->name, .hash = id.hash, .order = id.order, .mixers = id.mixers,
                                    .same_as = same >= 0 ? t->w->variants.at[same].name : NULL, .built = &built};
  t->go_on = !t->row || t->row(t->ctx, &row);
  return dhc_status_ok();
}

dhc_status api_sweep_objects(dhc_sweep *w, const dhc_build_options *o, bool (*row)(void *ctx, const dhc_sweep_object_row *r), void *ctx) {
  NEED(w);
  NEED(o);
  DhcArena a;
  dhc_arena_init(&a);
  ObjectSweep t = {.w = w, .o = o, .row = row, .ctx = ctx, .seen = sweep_seen_make(&a, w->variants.n), .go_on = true};
  dhc_status st = sweep_each(w, build, &t, &t.at, &t.go_on);
  dhc_arena_fini(&a);
  return st;
}
