/* Environments: numbers of Gymnasium's Pendulum, episodes that end, states that go on bit for bit, threads.
 *
 *   test_env                     all of it
 *   test_env dump NAME ASSETS [NAME=NUMBER]   a state, then actions and what came of them, in hexadecimal: env_parity.py compares */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/env/env.h"
#include "runtime/pool.h"

static int fails;

#define CHECK(holds)                                        \
  do {                                                      \
    if (!(holds)) {                                         \
      printf("FAILED: line %d: %s\n", __LINE__, #holds);    \
      fails++;                                              \
    }                                                       \
  } while (0)

static DhcEnvs *open_envs(const char *name, const char *assets, int32_t n, const char *set) {
  DhcEnvs *e;
  dhc_status st = dhc_envs_open(&(DhcEnvAsk){name, assets, &set, set != NULL}, n, 7, &e);
  if (st.code == DHC_OK) return e;
  printf("%s\n", st.message);
  exit(1);
}

/* Gymnasium 1.4.0: from angle pi at rest, action 3, which is clipped to 2 (here the wrapper clips). */
static void pendulum(void) {
  DhcEnvs *e = open_envs("pendulum", NULL, 1, NULL);
  const dhc_env_functions *f = dhc_envs_functions(e);
  const double state[2] = {3.14159265358979323846, 0};
  const float most = 2;
  double observation[3], reward, after[2];
  f->load(dhc_envs_at(e, 0), state);
  CHECK(!f->step(dhc_envs_at(e, 0), &most, observation, &reward));
  f->save(dhc_envs_at(e, 0), after);
  CHECK(fabs(reward - -9.873604401279) < 1e-11);
  CHECK(fabs(after[0] - 3.156592654) < 1e-9 && fabs(after[1] - 0.3) < 1e-7);
  CHECK(observation[2] == (double)0.3f);
  dhc_envs_close(e);
}

static void actions_of(int t, int32_t n, float *action) {
  for (int32_t i = 0; i < n; i++) action[i] = (float)sin(0.1 * t + i) * 1.5f;
}

/* On one and two threads, and from a state in the middle: the same bits. */
static void repeatable(const char *set) {
  enum { N = 5, STEPS = 450 };
  DhcPool *pool;
  dhc_status st = dhc_pool_new(2, &pool);
  if (st.code != DHC_OK) exit(1);
  DhcEnvs *a = open_envs("pendulum", NULL, N, set), *b = open_envs("pendulum", NULL, N, set);
  DhcEnvStep x, y;
  float action[N];
  void *state = malloc((size_t)dhc_envs_state_bytes(a));
  int ended = 0;
  dhc_envs_reset(a, &x);
  dhc_envs_reset(b, &y);
  CHECK(x.begins[N - 1] && x.observation[0] != x.observation[3]);
  for (int t = 0; t < STEPS; t++) {
    actions_of(t, N, action);
    if (t == 230) {
      dhc_envs_save(a, state);
      dhc_envs_load(b, state, &y);
    }
    dhc_envs_step(a, NULL, action, &x);
    dhc_envs_step(b, dhc_pool_exec(pool), action, &y);
    CHECK(!memcmp(x.observation, y.observation, sizeof(double) * 3 * N) && !memcmp(x.reward, y.reward, sizeof(double) * N));
    CHECK(x.truncated[2] == ((t + 1) % 200 == 0) && x.begins[2] == x.truncated[2] && !x.terminated[2]);
    ended += x.truncated[2];
    if (x.truncated[2]) CHECK(x.episode_length[2] == 200 && x.episode_return[2] < 0 && x.last[6] != x.observation[6]);
  }
  CHECK(ended == 2);
  free(state);
  dhc_envs_close(a);
  dhc_envs_close(b);
  dhc_pool_free(pool);
}

/* What is added to observations has the deviation asked for, and changes nothing of the environment. */
static void noisy(void) {
  enum { STEPS = 2000 };
  DhcEnvs *a = open_envs("pendulum", NULL, 1, NULL), *b = open_envs("pendulum", NULL, 1, "observation_noise=0.5");
  DhcEnvStep x, y;
  float action;
  double mean = 0, squares = 0;
  dhc_envs_reset(a, &x);
  dhc_envs_reset(b, &y);
  for (int t = 0; t < STEPS; t++) {
    for (int k = 0; k < 3; k++) {
      double off = y.observation[k] - x.observation[k];
      mean += off / (3 * STEPS);
      squares += off * off / (3 * STEPS);
    }
    actions_of(t, 1, &action);
    dhc_envs_step(a, NULL, &action, &x);
    dhc_envs_step(b, NULL, &action, &y);
    CHECK(x.reward[0] == y.reward[0] && x.truncated[0] == y.truncated[0]);
  }
  CHECK(fabs(mean) < 0.03 && fabs(sqrt(squares) - 0.5) < 0.02); /* four standard errors */
  dhc_envs_close(a);
  dhc_envs_close(b);
}

static void refused(const char *name, const char *assets, const char *says) {
  DhcEnvs *e;
  dhc_status st = dhc_envs_open(&(DhcEnvAsk){.name = name, .assets = assets}, 1, 0, &e);
  if (st.code != DHC_OK && strstr(st.message, says)) return;
  printf("FAILED: %s: \"%s\", want \"%s\"\n", name, st.message, says);
  fails++;
}

static void print_numbers(const double *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) printf("%a ", x[i]);
}

static int dump(const char *name, const char *assets, const char *set) {
  enum { EPISODES = 6, STEPS = 150 };
  DhcEnvs *e = open_envs(name, assets, EPISODES, set);
  const dhc_env_info *info = dhc_envs_info(e);
  const dhc_env_functions *f = dhc_envs_functions(e);
  double *state = malloc((size_t)info->state_bytes), *observation = calloc((size_t)info->n_observations, sizeof(double)), reward;
  float *action = calloc((size_t)info->n_actions, sizeof(float));
  DhcEnvStep first;
  dhc_envs_reset(e, &first);
  for (int32_t i = 0; i < EPISODES; i++) {
    f->save(dhc_envs_at(e, i), state);
    printf("%lld %d %d\n", (long long)info->state_bytes / 8, info->n_observations, info->n_actions);
    print_numbers(state, info->state_bytes / 8);
    printf("\n");
    bool over = false;
    for (int t = 0; t < STEPS && !over; t++) {
      for (int32_t k = 0; k < info->n_actions; k++) {
        action[k] = (float)(sin(0.37 * t * (k + 1) + i) * info->action_high[k]);
        printf("%a ", (double)action[k]);
      }
      over = f->step(dhc_envs_at(e, i), action, observation, &reward);
      print_numbers(observation, info->n_observations);
      printf("%a %d\n", reward, over);
    }
    printf("end\n");
  }
  free(state);
  free(observation);
  free(action);
  dhc_envs_close(e);
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 2 && !strcmp(argv[1], "dump")) return dump(argv[2], argc > 3 ? argv[3] : NULL, argc > 4 ? argv[4] : NULL);
  pendulum();
  repeatable(NULL);
  repeatable("observation_noise=0.5");
  noisy();
  setenv("DHC_MUJOCO", "./nowhere.so", 1);
  refused("hopper", NULL, "environment hopper: DHC_MUJOCO: ");
  unsetenv("DHC_MUJOCO");
  refused("walker2d", "/nowhere", "environment walker2d: needs libmujoco.so.4.0.0: pip install mujoco==4.0.0, and set DHC_MUJOCO to its libmujoco.so");
  puts(fails ? "failed" : "ok");
  return fails != 0;
}
