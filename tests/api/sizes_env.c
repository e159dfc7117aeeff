/* An environment of four observations and two actions that nothing happens in: test_rl.c gives updates a rollout of its own. */
#include <stdlib.h>

#include "dhc/env.h"

static const double low[] = {-1.0, -1.0}, high[] = {1.0, 1.0};

static void *create(const char *assets, const dhc_env_setting *settings, dhc_env_info *info, char *error, size_t room) {
  (void)assets;
  (void)settings;
  if (room) error[0] = 0;
  *info = (dhc_env_info){.n_observations = 4, .n_actions = 2, .action_low = low, .action_high = high, .max_steps = 100, .state_bytes = 0};
  return malloc(1);
}

static void reset(void *env, const dhc_env_random *random, double *observation) {
  (void)env;
  for (int i = 0; i < 4; i++) observation[i] = random->normal(random->ctx);
}

static bool step(void *env, const float *action, double *observation, double *reward) {
  (void)env;
  for (int i = 0; i < 4; i++) observation[i] = (double)action[i % 2];
  *reward = 0;
  return false;
}

static void save(void *env, void *state) {
  (void)env;
  (void)state;
}

static void load(void *env, const void *state) {
  (void)env;
  (void)state;
}

__attribute__((visibility("default"))) const dhc_env_functions *dhc_env(void);
const dhc_env_functions *dhc_env(void) {
  static const dhc_env_functions functions = {DHC_ENV_VERSION, "sizes", create, free, reset, step, save, load, NULL};
  return &functions;
}
