/* The settings that a run would use, and where each comes from: what `dhcc rl --print-recipe` shows. */
#include "api/json.h"
#include "api/rl/rl.h"

typedef struct Made {
  JsonDoc d;
  const DhcRecipe *c;
  struct cJSON *from;
} Made;

/* What recipe and command say of a setting, or what holds without them. */
static void add_from(Made *a, const char *name, const char *key, const char *usual) {
  const char *said = dhc_recipe_source(a->c, key);
  json_text(&a->d, a->from, name, said ? said : usual);
}

static void add(Made *a, const char *name, double value, const char *key) {
  json_number(&a->d, a->d.root, name, value);
  add_from(a, name, key, "default of all recipes");
}

static void add_optimizer(Made *a) {
  json_text(&a->d, a->d.root, "optimizer", a->c->optimizer);
  add_from(a, "optimizer", "optimizer", "default of all recipes");
  for (int i = 0; i < a->c->optimizer_args.n; i++) {
    const char *name = a->c->optimizer_args.at[i].name;
    add(a, name, a->c->optimizer_args.at[i].value, dhc_recipe_source(a->c, name) ? name : "optimizer");
  }
}

/* The first rate and the last: between them goes what the recipe's text says. */
static void add_rates(Made *a, int64_t rollouts) {
  double first = dhc_recipe_lr(a->c, 0, rollouts), last = dhc_recipe_lr(a->c, rollouts - 1, rollouts);
  add(a, "lr", first, "lr");
  if (last != first) add(a, "lr at the end", last, "lr");
}

static void add_rollouts(Made *a) {
#define ROLLOUT(name, whole, usual, low, high, text) \
  json_number(&a->d, a->d.root, #name, a->c->rollout.name); \
  add_from(a, #name, #name, text);
#include "frontend/rollout.def"
#undef ROLLOUT
}

static const char *hyper_from(const DhcHyperInfo *h, char *text, size_t n) {
  if (!strcmp(h->name, "obs") || !strcmp(h->name, "act")) return "the environment";
  if (!strcmp(h->name, "policy")) return "the policy asked for";
  if (strcmp(h->source, "default") || !*h->beside) return h->source;
  (void)snprintf(text, n, "default: %s", h->beside);
  return text;
}

/* Of the model that learns: the policy with its settings, the clipped objective, what it begins with. */
static void add_hypers(Made *a, const dhc_model *m) {
  DhcHyperInfos all = dhc_model_hypers(m->m);
  for (int i = 0; i < all.n; i++) {
    char text[512];
    json_text(&a->d, a->d.root, all.at[i].name, all.at[i].value);
    json_text(&a->d, a->from, all.at[i].name, hyper_from(&all.at[i], text, sizeof text));
  }
}

dhc_status api_rl_recipe_json(dhc_model *m, int64_t steps, char **out) {
  NEED_OUT(out);
  NEED(m);
  const DhcRecipe *c = dhc_model_recipe(m->m);
  int64_t each = (int64_t)c->rollout.envs * (int64_t)c->rollout.horizon, rollouts = steps < 1 ? 1000 : (steps + each - 1) / each;
  Made a = {.c = c};
  json_begin(&a.d);
  json_text(&a.d, a.d.root, "recipe", c->span.file ? c->name : "(none: defaults)");
  a.from = json_object(&a.d, a.d.root, "from");
  add_optimizer(&a);
  add_rates(&a, rollouts);
  add(&a, "batch", (double)c->batch, "batch");
  add(&a, "epochs", (double)c->epochs, "epochs");
  add(&a, "clip", c->clip, "clip");
  if (c->groups) {
    json_text(&a.d, a.d.root, "groups", c->groups);
    add_from(&a, "groups", "groups", "");
  }
  add_rollouts(&a);
  add_hypers(&a, m);
  return json_end(&a.d, dhc_status_ok(), false, out);
}
