/* Reinforcement learning: proximal policy optimisation of a model in environments. Included by dhc.h, whose rules hold here.
 *
 * A model that learns so has three entries (docs/rl.md, models/rl/ppo.dhc):
 *   act<B>(obs, reset, noise) -> (action, logp)       what to do; over states where the model has some
 *   value<B>(obs) -> (value)                          what that may be worth
 *   update<B, L>(obs, reset, action, logp, value, advantage, returns) -> (loss, …)   the loss of sequences of steps */
#ifndef DHC_RL_H
#define DHC_RL_H

#include "dhc/dhc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Opens a model for an environment: one with the entries above as it is; a shipped policy (a layer or model with
 * forward and sequence) inside the model PPO of models/rl/ppo.dhc. Settings that PPO does not have are the policy's. Sizes of
 * observations and actions, hyperparameters obs and act, come from the environment. */
DHC_API dhc_status dhc_rl_model(dhc_session *s, const dhc_model_options *o, const char *env, const char *assets,
                                dhc_model **out) DHC_MUST_USE;

typedef struct dhc_rl_progress {
  int64_t steps, of;        /* of environments, done and in all */
  int64_t rollouts, episodes;
  double mean_return, mean_length; /* of the last 100 episodes; NaN before the first */
  double policy_loss, value_loss, entropy, kl, clipped; /* means over the rollout's updates */
  double explained_variance; /* of returns by values before the updates */
  double lr, grad_norm;
  double steps_per_s, seconds, eta_seconds;
} dhc_rl_progress;

typedef struct dhc_rl_options {
  const char *env, *assets; /* as dhc_rl_model */
  const char *const *env_sets; /* of the environment, NAME=NUMBER each: docs/rl.md; beside its own observation_noise */
  int n_env_sets;
  const char *render;   /* folder for pictures of the first episode of the evaluation, or NULL */
  const char *out;      /* folder, or NULL */
  int64_t steps;        /* of environments, in all; rounded up to whole rollouts */
  uint64_t seed;        /* of weights, environments, noise and order */
  bool resume, overwrite;
  int64_t save_every;   /* rollouts between checkpoints; 0: 10 */
  int64_t eval_episodes; /* with the likeliest actions, at the end; 0: none */
  const char *command;  /* recorded as what began the run, or NULL */
  bool (*progress)(void *ctx, const dhc_rl_progress *p); /* after each rollout; false: stop as on SIGINT */
  void *ctx;
} dhc_rl_options;

typedef struct dhc_rl_result {
  int64_t steps, episodes;
  double mean_return;   /* of the last 100 training episodes */
  double eval_return, eval_deviation, eval_length; /* NaN without evaluation */
  int64_t eval_episodes;
  double seconds, steps_per_s; /* of this process */
  double rollout_steps_per_s;  /* of its rollouts alone: the policy acts, environments go on, nothing is learned; NaN: none */
} dhc_rl_result;

/* Trains. A run stopped or killed goes on with `resume` to the same bytes, whatever the number of threads. DHC_E_NUMERIC: an
 * update that is not finite. */
DHC_API dhc_status dhc_rl(dhc_model *m, const dhc_rl_options *o, dhc_rl_result *out) DHC_MUST_USE;
/* Episodes with the likeliest actions: weights as dhc_program_load takes them, a run's folder brings its observations'
 * statistics along. Of the options env, assets, env_sets, render, seed, out (NULL) and
 * eval_episodes are read. */
DHC_API dhc_status dhc_rl_evaluate(dhc_model *m, const char *weights, const dhc_rl_options *o, dhc_rl_result *out) DHC_MUST_USE;
/* The settings that a run of so many steps (0: unknown) would use, as a JSON object; "from" in it says of each where it comes
 * from: a paper, the model, its preset, the caller. *out: free(). */
DHC_API dhc_status dhc_rl_recipe_json(dhc_model *m, int64_t steps, char **out) DHC_MUST_USE;
/* Name of the i-th shipped environment; NULL behind the last. */
DHC_API const char *dhc_rl_environment(int i);

#ifdef __cplusplus
}
#endif
#endif
