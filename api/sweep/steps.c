/* A step of each variant: what it costs to begin one. */
#include <stdlib.h>

#include "api/atlas/atlas.h"
#include "api/sweep/sweep.h"
#include "api/train/train.h"

dhc_session *sweep_session(const dhc_sweep *w) {
  return w ? w->s : NULL;
}

typedef struct Steps {
  dhc_sweep *w;
  SweepSeen seen;
  bool (*row)(void *ctx, const dhc_sweep_row *r);
  void *ctx;
  int at; /* variant */
  bool go_on;
} Steps;

/* The first step of a run, again and again. */
static dhc_status one_step(const SweepOpen *x, const dhc_tensor *in, int n_in, uint64_t seed) {
  const StepAt at = {.step = 0, .age = 1, .lr = dhc_recipe_lr(dhc_model_recipe(x->m->m), 0, 1), .seed = (uint32_t)seed};
  Stepped done;
  return stepper_run(x->p, 0, &at, in, NULL, n_in, &done);
}

static dhc_status measure(void *ctx, SweepOpen *x) {
  Steps *t = ctx;
  int i = t->at;
  dhc_tensor in[ATLAS_MAX_INPUTS];
  int n_in;
  int64_t classes;
  SweepIdentity id;
  DHC_TRY(sweep_inputs(x->m, t->w->o.sizes, &x->arena, in, &n_in, &classes));
  DHC_TRY(sweep_identify(x, in, n_in, &x->arena, &id));
  dhc_sweep_row row = {.index = i, .name = t->w->variants.at[i].name, .hash = id.hash, .pattern = id.pattern, .order = id.order,
                       .mixers = id.mixers, .sequence_length = id.length, .parameters = id.parameters};
  int same = sweep_seen_before(&t->seen, id.hash, i);
  if (same >= 0) row.same_as = t->w->variants.at[same].name;
  if (same < 0) {
    DHC_TRY(dhc_program_open(x->m, "loss", DHC_MODE_TRAIN, &x->p));
    DHC_TRY(dhc_program_plan(x->p, 0, in, n_in));
    double planned = session_now_ms();
    generate_fill(in, n_in, t->w->o.seed, classes); /* data are not the variant's time */
    double filled = session_now_ms();
    DHC_TRY(dhc_program_init(x->p, t->w->o.seed));
    DHC_TRY(one_step(x, in, n_in, t->w->o.seed));
    double first = session_now_ms();
    DHC_TRY(one_step(x, in, n_in, t->w->o.seed));
    row.plan_ms = planned - x->asked_ms;
    row.first_step_ms = first - x->asked_ms - (filled - planned);
    row.step_ms = session_now_ms() - first;
    row.kernels_compiled = x->s->stats.kernels_compiled;
    row.kernels_reused = x->s->stats.kernels_reused;
  }
  t->go_on = !t->row || t->row(t->ctx, &row);
  return dhc_status_ok();
}

dhc_status api_sweep_steps(dhc_sweep *w, bool (*row)(void *ctx, const dhc_sweep_row *r), void *ctx) {
  NEED(w);
  DhcArena a;
  dhc_arena_init(&a);
  Steps t = {.w = w, .seen = sweep_seen_make(&a, w->variants.n), .row = row, .ctx = ctx, .go_on = true};
  dhc_status st = sweep_each(w, measure, &t, &t.at, &t.go_on);
  dhc_arena_fini(&a);
  return st;
}
