/* The recipe under the caller's options: what a training run uses. */
#include <math.h>
#include <stdlib.h>

#include "api/json.h"
#include "api/train/trainer.h"

TrainSettings train_settings(const dhc_model *m, const dhc_train_options *o) {
  const DhcRecipe *r = dhc_model_recipe(m->m);
  TrainSettings s = {.recipe = r, .declared = r->span.file != 0, .batch = r->batch, .accumulate = r->accumulate, .epochs = r->epochs, .steps = r->steps,
                     .clip = r->clip};
  if (!o) return s;
  if (o->batch) s.batch = o->batch;
  if (o->accumulate) s.accumulate = o->accumulate;
  if (o->steps) s.steps = o->steps;
  if (o->epochs || o->steps) s.epochs = o->epochs; /* steps alone take the epochs they need */
  if (o->clip >= 0) s.clip = o->clip;
  s.lr = o->lr;
  return s;
}

double train_lr(const TrainSettings *s, int64_t step, int64_t steps) {
  return s->lr > 0 ? s->lr : dhc_recipe_lr(s->recipe, step, steps);
}

double train_val_fraction(const dhc_train_options *o) {
  return o->val_fraction < 0 ? 0 : o->val_fraction > 0 ? o->val_fraction : 1.0 / 12;
}

/* Rates of the first, a middle and the last step where a run's length is known without data. */
static void add_rates(JsonDoc *d, const TrainSettings *s) {
  bool fixed = s->lr > 0 || !s->recipe->lr;
  if (fixed) {
    json_number(d, d->root, "lr", train_lr(s, 0, 1));
    return;
  }
  int64_t steps = s->steps ? s->steps : 1000;
  char text[160];
  snprintf(text, sizeof text, "schedule: %.3g at the start, %.3g a tenth in, %.3g half way, %.3g at the end%s", train_lr(s, 0, steps),
           train_lr(s, steps / 10, steps), train_lr(s, steps / 2, steps), train_lr(s, steps - 1, steps),
           s->steps ? "" : " of 1000 steps");
  json_text(d, d->root, "lr", text);
}

dhc_status api_recipe_json(dhc_model *m, const dhc_train_options *o, char **out) {
  NEED_OUT(out);
  NEED(m);
  TrainSettings s = train_settings(m, o);
  const DhcRecipe *r = s.recipe;
  JsonDoc d;
  json_begin(&d);
  json_text(&d, d.root, "recipe", s.declared ? r->name : "(none: defaults)");
  json_text(&d, d.root, "optimizer", r->optimizer);
  for (int i = 0; i < r->optimizer_args.n; i++) json_number(&d, d.root, r->optimizer_args.at[i].name, r->optimizer_args.at[i].value);
  add_rates(&d, &s);
  json_number(&d, d.root, "batch", (double)s.batch);
  json_number(&d, d.root, "accumulate", (double)s.accumulate);
  if (s.epochs) json_number(&d, d.root, "epochs", (double)s.epochs);
  if (s.steps) json_number(&d, d.root, "steps", (double)s.steps);
  json_number(&d, d.root, "clip", s.clip);
  json_number(&d, d.root, "ema", r->ema);
  json_number(&d, d.root, "label_smoothing", r->label_smoothing);
  if (r->groups) json_text(&d, d.root, "groups", r->groups);
  return json_end(&d, dhc_status_ok(), false, out);
}
