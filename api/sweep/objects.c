/* An object of each variant: what it takes to deploy it. */
#include <unistd.h>

#include "api/atlas/atlas.h"
#include "api/sweep/study.h"

typedef struct ObjectSweep {
  dhc_sweep *w;
  const dhc_build_options *o;
  bool (*row)(void *ctx, const dhc_sweep_object_row *r);
  void *ctx;
  SweepSeen seen;
  Study study; /* of the sweep's runs */
  int at; /* variant */
  bool go_on;
} ObjectSweep;

/* The best weights of the variant's first run, else the last; *out is the region's. */
static dhc_status find_weights(ObjectSweep *t, const SweepOpen *x, const char **out) {
  static const char *const files[] = {"best.safetensors", "last.safetensors"};
  int v = study_variant(&t->study, x->name);
  if (v < 0) return dhc_status_make(DHC_E_INPUT, "%s: the sweep has no variant '%s'", t->study.out, x->name);
  const char *folder = t->study.n_seeds ? t->study.runs.at[v * t->study.n_seeds].folder : "runs";
  for (int i = 0; i < 2; i++) {
    *out = study_path(&t->study, dhc_arena_printf(t->study.arena, "%s/%s", folder, files[i]));
    if (!access(*out, F_OK)) return dhc_status_ok();
  }
  return dhc_status_make(DHC_E_INPUT, "%s/%s: variant '%s' has no weights there: its run is not finished", t->study.out, folder, x->name);
}

static dhc_status build(void *ctx, SweepOpen *x) {
  ObjectSweep *t = ctx;
  dhc_tensor in[ATLAS_MAX_INPUTS];
  int n_in;
  SweepIdentity id;
  dhc_build_result built = {0};
  dhc_eval_result eval;
  dhc_build_options o = *t->o;
  dhc_eval_options measured = {.data = o.data, .split = o.split, .batch = o.batch, .limit = o.limit};
  DHC_TRY(sweep_inputs(x->m, t->w->o.sizes, &x->arena, in, &n_in, NULL));
  DHC_TRY(sweep_identify(x, in, n_in, &x->arena, &id));
  int same = sweep_seen_before(&t->seen, id.hash, t->at);
  if (same < 0 && t->study.out) DHC_TRY(find_weights(t, x, &o.weights));
  if (same < 0) DHC_TRY(dhc_model_build(x->m, &o, &built));
  measured.weights = o.weights;
  bool evaluates = same < 0 && o.data && t->study.out;
  if (evaluates) DHC_TRY(dhc_evaluate(x->m, &measured, &eval));
  const dhc_sweep_object_row row = {.index = t->at, .name = x->name, .hash = id.hash, .order = id.order, .mixers = id.mixers,
                                    .same_as = same >= 0 ? t->w->variants.at[same].name : NULL, .built = &built,
                                    .eval = evaluates ? &eval : NULL};
  t->go_on = !t->row || t->row(t->ctx, &row);
  return dhc_status_ok();
}

dhc_status api_sweep_objects(dhc_sweep *w, const dhc_build_options *o, bool (*row)(void *ctx, const dhc_sweep_object_row *r), void *ctx) {
  NEED(w);
  NEED(o);
  DhcArena a;
  dhc_arena_init(&a);
  ObjectSweep t = {.w = w, .o = o, .row = row, .ctx = ctx, .seen = sweep_seen_make(&a, w->variants.n),
                   .study = {.out = w->o.runs, .arena = &a}, .go_on = true};
  dhc_status st = w->o.runs ? study_read(&t.study) : dhc_status_ok();
  if (st.code == DHC_OK) st = sweep_each(w, build, &t, &t.at, &t.go_on);
  dhc_arena_fini(&a);
  return st;
}
