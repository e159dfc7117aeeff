/* The settings that a run would use, and where those of rollouts come from: what `dhcc rl --print-recipe` shows. */
#include "api/json.h"
#include "api/rl/rl.h"

/* The first rate and the last: between them goes what the recipe's text says. */
static void add_rates(JsonDoc *d, const DhcRecipe *c, int64_t rollouts) {
  double first = dhc_recipe_lr(c, 0, rollouts), last = dhc_recipe_lr(c, rollouts - 1, rollouts);
  json_number(d, d->root, "lr", first);
  if (last != first) json_number(d, d->root, "lr at the end", last);
}

static void add_rollouts(JsonDoc *d, const DhcRecipe *c, struct cJSON *from) {
#define ROLLOUT(name, whole, usual, low, high, text) \
  json_number(d, d->root, #name, c->rollout.name); \
  json_text(d, from, #name, text);
#include "frontend/rollout.def"
#undef ROLLOUT
}

/* Of the model that learns: the policy with its settings, the clipped objective, what it begins with. */
static void add_hypers(JsonDoc *d, const dhc_model *m, struct cJSON *from) {
  DhcHyperInfos all = dhc_model_hypers(m->m);
  for (int i = 0; i < all.n; i++) {
    json_text(d, d->root, all.at[i].name, all.at[i].value);
    bool sized = !strcmp(all.at[i].name, "obs") || !strcmp(all.at[i].name, "act");
    json_text(d, from, all.at[i].name, sized ? "the environment" : all.at[i].source);
  }
}

dhc_status api_rl_recipe_json(dhc_model *m, int64_t steps, char **out) {
  NEED_OUT(out);
  NEED(m);
  const DhcRecipe *c = dhc_model_recipe(m->m);
  int64_t each = (int64_t)c->rollout.envs * (int64_t)c->rollout.horizon, rollouts = steps < 1 ? 1000 : (steps + each - 1) / each;
  JsonDoc d;
  json_begin(&d);
  json_text(&d, d.root, "recipe", c->span.file ? c->name : "(none: defaults)");
  json_text(&d, d.root, "optimizer", c->optimizer);
  for (int i = 0; i < c->optimizer_args.n; i++) json_number(&d, d.root, c->optimizer_args.at[i].name, c->optimizer_args.at[i].value);
  add_rates(&d, c, rollouts);
  json_number(&d, d.root, "batch", (double)c->batch);
  json_number(&d, d.root, "epochs", (double)c->epochs);
  json_number(&d, d.root, "clip", c->clip);
  struct cJSON *from = json_object(&d, d.root, "from");
  add_rollouts(&d, c, from);
  add_hypers(&d, m, from);
  return json_end(&d, dhc_status_ok(), false, out);
}
