/* Environments side by side: a kind of environment by name, so many of it, stepped on threads. What comes out depends on
 * seed and actions alone. */
#ifndef DHC_RUNTIME_ENV_H
#define DHC_RUNTIME_ENV_H

#include "dhc/abi.h"
#include "dhc/env.h"
#include "runtime/status.h"

typedef struct DhcEnvs DhcEnvs;

/* What a step gave; arrays of count() and of count() * n_observations, valid until the next step. An episode that ended has
 * begun anew already: `observation` is the new one's first and `begins` is set, `last` the one that ended it. */
typedef struct DhcEnvStep {
  const double *observation, *last, *reward;
  const bool *terminated, *truncated, *begins;
  const double *episode_return; /* of the episode that ended */
  const int32_t *episode_length;
} DhcEnvStep;

/* Which environment. `name`: of envs.def, or a file NAME.so; `sets`: NAME=NUMBER each, of the environment's own settings, or
 * observation_noise, the standard deviation of what is added to observations of any. */
typedef struct DhcEnvAsk {
  const char *name, *assets;
  const char *const *sets;
  int n_sets;
} DhcEnvAsk;
/* DHC_E_INPUT names what is not there; DHC_E_ENVIRONMENT what would have to be installed. */
dhc_status dhc_envs_open(const DhcEnvAsk *ask, int32_t count, uint32_t seed, DhcEnvs **out) DHC_MUST_USE;
void dhc_envs_close(DhcEnvs *e);
const dhc_env_info *dhc_envs_info(const DhcEnvs *e);
const char *dhc_envs_name(const DhcEnvs *e);
int32_t dhc_envs_count(const DhcEnvs *e);
/* Every environment begins an episode; observations in step->observation, begins all set. */
void dhc_envs_reset(DhcEnvs *e, DhcEnvStep *step);
/* `action`: count * n_actions in -1..1, which are scaled to the environment's range; what lies outside is clipped. */
void dhc_envs_step(DhcEnvs *e, const dhc_exec *exec, const float *action, DhcEnvStep *step);
/* All of them, with the episodes they are in: what is loaded goes on bit for bit. */
int64_t dhc_envs_state_bytes(const DhcEnvs *e);
void dhc_envs_save(const DhcEnvs *e, void *state);
void dhc_envs_load(DhcEnvs *e, const void *state, DhcEnvStep *step);
/* A picture of environment i, as draw of dhc/env.h. */
dhc_status dhc_envs_draw(DhcEnvs *e, int32_t i, int32_t width, int32_t height, unsigned char *rgb) DHC_MUST_USE;
/* A single one, as its library made it: for tests of parity. */
const dhc_env_functions *dhc_envs_functions(const DhcEnvs *e);
void *dhc_envs_at(const DhcEnvs *e, int32_t i);

/* Name of the i-th environment that is shipped; NULL behind the last. */
const char *dhc_env_shipped(int i);

#endif
