/* env.h: what an environment for reinforcement learning is made of. One of your own is a shared object that exports
 *
 *   const dhc_env_functions *dhc_env(void);
 *
 * and `dhcc rl MODEL --env ./mine.so` trains in it. Many environments of one kind are stepped side by side, each by one
 * thread at a time, so a function may write to nothing but its own environment. Nothing here draws random numbers by
 * itself or looks at a clock: runs are to be repeatable. */
#ifndef DHC_ENV_H
#define DHC_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DHC_ENV_VERSION 2

/* Random numbers of one episode, the same for the same run whatever else happens. */
typedef struct dhc_env_random {
  void *ctx;
  double (*uniform)(void *ctx, double low, double high);
  double (*normal)(void *ctx); /* mean 0, standard deviation 1 */
} dhc_env_random;

/* What a user asks for by --env-set NAME=VALUE. */
typedef struct dhc_env_setting {
  const char *name;
  double value;
} dhc_env_setting;

/* What create says of an environment; arrays live as long as it. */
typedef struct dhc_env_info {
  int32_t n_observations, n_actions;
  const double *action_low, *action_high; /* n_actions; finite: a policy's -1 is low, its 1 is high */
  int32_t max_steps;   /* an episode is truncated after so many */
  int64_t state_bytes; /* of what save writes */
} dhc_env_info;

typedef struct dhc_env_functions {
  uint32_t version; /* DHC_ENV_VERSION */
  const char *name;
  /* `assets`: a folder with the environment's files, or NULL. `settings`: up to one without a name. NULL: it could not be made,
   * and `error` says why in one line, such as that there is no setting of a name. */
  void *(*create)(const char *assets, const dhc_env_setting *settings, dhc_env_info *info, char *error, size_t room);
  void (*destroy)(void *env);
  /* An episode begins; its first observation. */
  void (*reset)(void *env, const dhc_env_random *random, double *observation);
  /* Actions lie in action_low..action_high. True: a state that has no future (termination, not truncation). */
  bool (*step)(void *env, const float *action, double *observation, double *reward);
  /* All that later steps depend on, state_bytes of it: what is loaded goes on bit for bit. */
  void (*save)(void *env, void *state);
  void (*load)(void *env, const void *state);
  /* A picture of where it is: `height` rows of `width` pixels of red, green and blue, from the top. False: `error` says what is
   * missing. NULL in place of it: there are no pictures. */
  bool (*draw)(void *env, int32_t width, int32_t height, unsigned char *rgb, char *error, size_t room);
} dhc_env_functions;

#ifdef __cplusplus
}
#endif
#endif
