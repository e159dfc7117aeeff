/* An environment of one's own: a mass on a line that is to come to rest at 0. Its observation is where it is and how fast,
 * its action a force. Built as a shared object, nothing of dhcc is linked:
 *
 *   cc -shared -fPIC -I $(pkg-config --variable=includedir dhc) mass.c -o mass.so
 *   dhcc rl rl_ssm_policy --env ./mass.so --steps 50000 --out runs/mass */
#include <dhc/env.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Mass {
  double place, speed; /* m, m/s */
} Mass;

static const double step_s = 0.05, weakest[] = {-1.0}, strongest[] = {1.0}; /* N, on 1 kg */

static void *create(const char *assets, const dhc_env_setting *settings, dhc_env_info *info, char *error, size_t room) {
  (void)assets;
  if (settings->name) {
    snprintf(error, room, "has no settings");
    return NULL;
  }
  Mass *m = calloc(1, sizeof *m);
  if (!m && room) error[0] = 0;
  *info = (dhc_env_info){.n_observations = 2, .n_actions = 1, .action_low = weakest, .action_high = strongest, .max_steps = 100,
                         .state_bytes = sizeof *m};
  return m;
}

static void observe(const Mass *m, double *observation) {
  observation[0] = m->place;
  observation[1] = m->speed;
}

static void reset(void *env, const dhc_env_random *random, double *observation) {
  Mass *m = env;
  m->place = random->uniform(random->ctx, -1.0, 1.0);
  m->speed = 0;
  observe(m, observation);
}

static bool step(void *env, const float *action, double *observation, double *reward) {
  Mass *m = env;
  m->speed += (double)action[0] * step_s;
  m->place += m->speed * step_s;
  observe(m, observation);
  *reward = -(m->place * m->place + 0.1 * m->speed * m->speed);
  return m->place < -3.0 || m->place > 3.0; /* out of reach */
}

static void save(void *env, void *state) {
  memcpy(state, env, sizeof(Mass));
}

static void load(void *env, const void *state) {
  memcpy(env, state, sizeof(Mass));
}

__attribute__((visibility("default"))) const dhc_env_functions *dhc_env(void);
const dhc_env_functions *dhc_env(void) {
  static const dhc_env_functions functions = {DHC_ENV_VERSION, "mass", create, free, reset, step, save, load, NULL};
  return &functions;
}
