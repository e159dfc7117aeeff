/* MODEL for an environment: one that has the entries of reinforcement learning, or a policy, which PPO completes. */
#include <stdlib.h>

#include "api/rl/rl.h"

static const char wrapper[] = "rl/ppo";

static bool has_entry(const dhc_model *m, const char *name) {
  for (int i = 0; i < dhc_model_n_entries(m); i++)
    if (!strcmp(dhc_model_entry_name(m, i), name)) return true;
  return false;
}

static bool has_hyper(const dhc_model *m, const char *key) {
  DhcHyperInfos all = dhc_model_hypers(m->m);
  for (int i = 0; i < all.n; i++)
    if (!strcmp(all.at[i].name, key)) return true;
  return false;
}

static const char *key_of(const char *set, DhcArena *a) {
  return dhc_arena_strndup(a, set, strcspn(set, "="));
}

typedef struct Opening {
  dhc_session *s;
  const dhc_model_options *o;
  DhcArena arena;
  const char *sets[256];
  int n_sets;
  int64_t n_obs, n_act;
} Opening;

static dhc_status add(Opening *x, const char *set) {
  if (x->n_sets == 256) return dhc_status_make(DHC_E_USAGE, "more than 256 settings");
  x->sets[x->n_sets++] = set;
  return dhc_status_ok();
}

static dhc_status refuse_sizes(Opening *x) {
  for (int i = 0; i < x->o->n_sets; i++) {
    const char *key = key_of(x->o->sets[i], &x->arena);
    if (!strcmp(key, "obs") || !strcmp(key, "act"))
      return dhc_status_make(DHC_E_USAGE, "--set %s: comes from the environment", key);
  }
  return dhc_status_ok();
}

/* The last of a key counts. */
static bool said_again(Opening *x, int i) {
  const char *key = key_of(x->o->sets[i], &x->arena);
  for (int k = i + 1; k < x->o->n_sets; k++)
    if (!strcmp(key_of(x->o->sets[k], &x->arena), key)) return true;
  return false;
}

/* A set goes to PPO where it is its own, or a setting of its recipe; else to the policy. */
static dhc_status wrap(Opening *x, const dhc_model *policy, const dhc_model *ppo) {
  DhcText own = {.arena = &x->arena};
  int n = 0;
  bool quiet = !has_hyper(policy, "dropout");
  dhc_text_printf(&own, "policy=%s(", policy->name);
  for (int i = 0; i < x->o->n_sets; i++) {
    const char *set = x->o->sets[i], *key = key_of(set, &x->arena);
    if (has_hyper(ppo, key) || dhc_recipe_has_key(key) || !has_hyper(policy, key)) {
      DHC_TRY(add(x, set));
      continue;
    }
    if (said_again(x, i)) continue;
    quiet = quiet || !strcmp(key, "dropout");
    dhc_text_printf(&own, "%s%s = %s", n++ ? ", " : "", key, set + strlen(key) + 1);
  }
  /* dropped units would make an update's probabilities others than those that were acted with */
  if (!quiet) dhc_text_printf(&own, "%sdropout = 0.0", n++ ? ", " : "");
  dhc_text_printf(&own, ")");
  return add(x, dhc_text_str(&own));
}

static dhc_status open_made(Opening *x, dhc_model_options o, dhc_model **out) {
  DHC_TRY(add(x, dhc_arena_printf(&x->arena, "obs=%lld", (long long)x->n_obs)));
  DHC_TRY(add(x, dhc_arena_printf(&x->arena, "act=%lld", (long long)x->n_act)));
  o.sets = x->sets;
  o.n_sets = x->n_sets;
  return dhc_model_open(x->s, &o, out);
}

static void close_model(void *m) {
  dhc_model_close(m);
}

static dhc_status wrapped(Opening *x, const dhc_model *policy, dhc_model **out) {
  dhc_model *ppo;
  const dhc_model_options plain = {.name = wrapper};
  DHC_TRY(dhc_model_open(x->s, &plain, &ppo));
  DhcHeld held;
  dhc_hold(&held, close_model, ppo);
  dhc_status st = dhc_status_ok();
  if (!has_entry(policy, "forward") || !has_entry(policy, "sequence"))
    st = dhc_status_make(DHC_E_INPUT, "model %s has neither entries act, value and update nor forward and sequence of a policy (docs/rl.md)", policy->name);
  if (st.code == DHC_OK && strpbrk(x->o->name, "./"))
    st = dhc_status_make(DHC_E_INPUT, "model %s is a policy of a file of its own: a model of yours imports rl/ppo and takes it in (docs/rl.md, Models)", policy->name);
  if (st.code == DHC_OK) st = wrap(x, policy, ppo);
  dhc_release(&held);
  dhc_model_close(ppo);
  if (st.code != DHC_OK) return st;
  const dhc_model_options o = {.name = wrapper, .preset = x->o->preset, .recipe = x->o->recipe};
  return open_made(x, o, out);
}

static dhc_status open_for(Opening *x, dhc_model **out) {
  dhc_model *probe;
  dhc_model_options plain = *x->o;
  plain.n_sets = 0;
  plain.recipe = plain.preset = NULL; /* of PPO, where that completes a policy */
  DHC_TRY(refuse_sizes(x));
  DHC_TRY(dhc_model_open(x->s, &plain, &probe));
  DhcHeld held;
  dhc_hold(&held, close_model, probe);
  bool whole = has_entry(probe, "act") && has_entry(probe, "value") && has_entry(probe, "update");
  dhc_status st = dhc_status_ok();
  if (!whole) st = wrapped(x, probe, out);
  for (int i = 0; whole && i < x->o->n_sets && st.code == DHC_OK; i++) st = add(x, x->o->sets[i]);
  if (whole && st.code == DHC_OK) st = open_made(x, *x->o, out);
  dhc_release(&held);
  dhc_model_close(probe);
  return st;
}

dhc_status api_rl_model(dhc_session *s, const dhc_model_options *o, const char *env, const char *assets, dhc_model **out) {
  NEED_OUT(out);
  NEED(s);
  NEED(o);
  NEED(o->name);
  NEED(env);
  DhcEnvs *envs;
  DHC_TRY(dhc_envs_open(&(DhcEnvAsk){.name = env, .assets = assets}, 1, 0, &envs));
  Opening *x = calloc(1, sizeof *x);
  if (!x) {
    dhc_envs_close(envs);
    return dhc_status_memory((long long)sizeof *x, "a model");
  }
  *x = (Opening){.s = s, .o = o, .n_obs = dhc_envs_info(envs)->n_observations, .n_act = dhc_envs_info(envs)->n_actions};
  dhc_envs_close(envs);
  DhcHeld held;
  dhc_hold(&held, free, x);
  dhc_arena_init(&x->arena);
  dhc_status st = open_for(x, out);
  dhc_arena_fini(&x->arena);
  dhc_release(&held);
  free(x);
  return st;
}
