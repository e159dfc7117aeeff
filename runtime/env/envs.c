/* Many environments of one kind: finding it, stepping all, beginning episodes anew, their state. */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/env/env_internal.h"
#include "runtime/rng.h"

/* What an environment is in, beside its own state. */
typedef struct Episode {
  uint64_t number; /* episodes begun */
  double sum;      /* of rewards */
  int32_t length;
} Episode;

struct DhcEnvs {
  const dhc_env_functions *f;
  dhc_env_info info;
  void *library;
  int32_t count;
  uint32_t seed;
  double noise; /* of observations */
  void **env;
  Episode *episode;
  double *observation, *last, *reward, *episode_return;
  bool *terminated, *truncated, *begins;
  int32_t *episode_length;
};

static const dhc_env_functions *const shipped[] = {
#define ENV(functions) &functions,
#include "runtime/env/envs.def"
#undef ENV
};
enum { N_SHIPPED = sizeof shipped / sizeof shipped[0] };

const char *dhc_env_shipped(int i) {
  return i >= 0 && i < N_SHIPPED ? shipped[i]->name : NULL;
}

/* ---- random numbers ----------------------------------------------------------------------- */

typedef struct Draws {
  uint32_t seed, env;
  uint64_t episode, n;
} Draws;

enum { ENV_SITE = 0x656e7600 }; /* apart from weights and dropout */

static double unit(Draws *d) {
  const uint32_t key[2] = {d->seed, ENV_SITE + d->env};
  const uint32_t counter[4] = {(uint32_t)d->n, (uint32_t)(d->n >> 32), (uint32_t)d->episode, (uint32_t)(d->episode >> 32)};
  uint32_t word[4];
  dhc_rng_philox(key, counter, word);
  d->n++;
  return (double)(((uint64_t)word[0] << 21) ^ (word[1] >> 11)) * 0x1p-53;
}

static double draw_uniform(void *ctx, double low, double high) {
  return low + (high - low) * unit(ctx);
}

/* Box and Muller. */
static double draw_normal(void *ctx) {
  double radius = sqrt(-2.0 * log(1.0 - unit(ctx)));
  return radius * cos(2.0 * 3.14159265358979323846 * unit(ctx));
}

/* ---- settings ------------------------------------------------------------------------------ */

bool dhc_env_numbers(const dhc_env_setting *settings, const DhcEnvNumber *known, int n, char *error, size_t room) {
  for (const dhc_env_setting *s = settings; s->name; s++) {
    int k = 0;
    while (k < n && strcmp(known[k].name, s->name)) k++;
    if (k < n && s->value > known[k].above) {
      *known[k].to = s->value;
      continue;
    }
    size_t at = (size_t)snprintf(error, room, k < n ? "setting '%.100s' must be above %g" : "has no setting '%.100s': there are observation_noise", s->name,
                                 k < n ? known[k].above : 0.0);
    for (int i = 0; k == n && i < n && at < room; i++) at += (size_t)snprintf(error + at, room - at, ", %s", known[i].name);
    return false;
  }
  return true;
}

enum { MAX_SETTINGS = 32 };
typedef struct Settings {
  dhc_env_setting at[MAX_SETTINGS + 1];
  char name[MAX_SETTINGS][64];
  int n;
} Settings;

static dhc_status read_settings(DhcEnvs *e, const DhcEnvAsk *ask, Settings *to) {
  for (int i = 0; i < ask->n_sets; i++) {
    const char *set = ask->sets[i];
    size_t n = strcspn(set, "=");
    char *end = NULL;
    double v = set[n] ? strtod(set + n + 1, &end) : 0;
    if (!n || n >= sizeof to->name[0] || !end || end == set + n + 1 || *end || !isfinite(v))
      return dhc_status_make(DHC_E_USAGE, "--env-set %s: needs NAME=NUMBER", set);
    if (!strncmp(set, "observation_noise", n) && n == strlen("observation_noise")) {
      if (v < 0) return dhc_status_make(DHC_E_USAGE, "--env-set %s: a standard deviation is at least 0", set);
      e->noise = v;
      continue;
    }
    if (to->n == MAX_SETTINGS) return dhc_status_make(DHC_E_USAGE, "more than %d settings of an environment", MAX_SETTINGS);
    memcpy(to->name[to->n], set, n);
    to->at[to->n] = (dhc_env_setting){to->name[to->n], v};
    to->n++;
  }
  return dhc_status_ok();
}

/* ---- opening ------------------------------------------------------------------------------- */

static dhc_status open_library(DhcEnvs *e, const char *path) {
  e->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!e->library) return dhc_status_make(DHC_E_INPUT, "environment %s: %s", path, dlerror());
  const dhc_env_functions *(*entry)(void);
  *(void **)&entry = dlsym(e->library, "dhc_env");
  if (!entry) return dhc_status_make(DHC_E_INPUT, "environment %s: has no function 'dhc_env' (include/dhc/env.h)", path);
  e->f = entry();
  if (!e->f) return dhc_status_make(DHC_E_INPUT, "environment %s: dhc_env gave nothing", path);
  if (e->f->version != DHC_ENV_VERSION)
    return dhc_status_make(DHC_E_INPUT, "environment %s: is for version %u of dhc/env.h, this is version %u", path, e->f->version,
                           DHC_ENV_VERSION);
  return dhc_status_ok();
}

static dhc_status find(DhcEnvs *e, const char *name) {
  if (strchr(name, '/') || (strlen(name) > 3 && !strcmp(name + strlen(name) - 3, ".so"))) return open_library(e, name);
  char all[256] = "";
  for (int i = 0; i < N_SHIPPED; i++) {
    if (!strcmp(shipped[i]->name, name)) {
      e->f = shipped[i];
      return dhc_status_ok();
    }
    size_t n = strlen(all);
    snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", shipped[i]->name);
  }
  return dhc_status_make(DHC_E_INPUT, "no environment '%s': there are %s, or a file ./NAME.so of your own (include/dhc/env.h)", name, all);
}

static bool info_right(const dhc_env_info *i) {
  bool ok = i->n_observations > 0 && i->n_actions > 0 && i->max_steps > 0 && i->state_bytes >= 0 && i->action_low && i->action_high &&
            i->n_observations <= 65536 && i->n_actions <= 65536 && i->state_bytes <= (1 << 26);
  for (int32_t k = 0; ok && k < i->n_actions; k++)
    ok = isfinite(i->action_low[k]) && isfinite(i->action_high[k]) && i->action_low[k] < i->action_high[k];
  return ok;
}

/* Whether it is for its settings that one cannot be made: there it is without them. */
static bool at_fault(DhcEnvs *e, const char *assets, const dhc_env_setting *settings) {
  static const dhc_env_setting none = {NULL, 0};
  char error[400] = "";
  dhc_env_info info = {0};
  void *env = settings->name ? e->f->create(assets, &none, &info, error, sizeof error) : NULL;
  if (env) e->f->destroy(env);
  return env;
}

static dhc_status make_all(DhcEnvs *e, const char *assets, const dhc_env_setting *settings) {
  for (int32_t i = 0; i < e->count; i++) {
    char error[400] = "";
    dhc_env_info info = {0};
    e->env[i] = e->f->create(assets, settings, &info, error, sizeof error);
    if (!e->env[i] && !error[0]) return dhc_status_memory(0, "environments");
    if (!e->env[i]) return dhc_status_make(at_fault(e, assets, settings) ? DHC_E_INPUT : DHC_E_ENVIRONMENT, "environment %s: %s", e->f->name, error);
    if (!i) e->info = info;
    if (!info_right(&info)) return dhc_status_make(DHC_E_INPUT, "environment %s: its sizes or action ranges make no sense", e->f->name);
  }
  return dhc_status_ok();
}

static dhc_status allocate(DhcEnvs *e) {
  size_t n = (size_t)e->count, observations = n * (size_t)e->info.n_observations;
  e->episode = calloc(n, sizeof *e->episode);
  e->observation = calloc(observations, sizeof(double));
  e->last = calloc(observations, sizeof(double));
  e->reward = calloc(n, sizeof(double));
  e->episode_return = calloc(n, sizeof(double));
  e->terminated = calloc(n, sizeof(bool));
  e->truncated = calloc(n, sizeof(bool));
  e->begins = calloc(n, sizeof(bool));
  e->episode_length = calloc(n, sizeof(int32_t));
  if (!e->episode || !e->observation || !e->last || !e->reward || !e->episode_return || !e->terminated || !e->truncated || !e->begins ||
      !e->episode_length)
    return dhc_status_memory((long long)(observations * 2 * sizeof(double)), "environments");
  return dhc_status_ok();
}

dhc_status dhc_envs_open(const DhcEnvAsk *ask, int32_t count, uint32_t seed, DhcEnvs **out) {
  DhcEnvs *e = calloc(1, sizeof *e);
  if (!e) return dhc_status_memory(sizeof *e, "environments");
  e->count = count;
  e->seed = seed;
  e->env = calloc((size_t)count, sizeof *e->env);
  Settings settings = {0};
  dhc_status st = e->env ? find(e, ask->name) : dhc_status_memory((long long)sizeof *e->env * count, "environments");
  if (st.code == DHC_OK) st = read_settings(e, ask, &settings);
  if (st.code == DHC_OK) st = make_all(e, ask->assets, settings.at);
  if (st.code == DHC_OK) st = allocate(e);
  if (st.code == DHC_OK) *out = e;
  else dhc_envs_close(e);
  return st;
}

void dhc_envs_close(DhcEnvs *e) {
  if (!e) return;
  for (int32_t i = 0; e->env && i < e->count; i++)
    if (e->env[i]) e->f->destroy(e->env[i]);
  free(e->env);
  free(e->episode);
  free(e->observation);
  free(e->last);
  free(e->reward);
  free(e->episode_return);
  free(e->terminated);
  free(e->truncated);
  free(e->begins);
  free(e->episode_length);
  if (e->library) dlclose(e->library);
  free(e);
}

const dhc_env_info *dhc_envs_info(const DhcEnvs *e) {
  return &e->info;
}

const char *dhc_envs_name(const DhcEnvs *e) {
  return e->f->name;
}

int32_t dhc_envs_count(const DhcEnvs *e) {
  return e->count;
}

const dhc_env_functions *dhc_envs_functions(const DhcEnvs *e) {
  return e->f;
}

void *dhc_envs_at(const DhcEnvs *e, int32_t i) {
  return e->env[i];
}

/* ---- stepping ------------------------------------------------------------------------------ */

/* A sensor's noise: of an episode's numbers those that no reset comes to. */
static void disturb(DhcEnvs *e, int32_t i, double *observation) {
  if (e->noise == 0) return;
  const Episode *at = &e->episode[i];
  Draws d = {.seed = e->seed, .env = (uint32_t)i, .episode = at->number - 1,
             .n = ((uint64_t)1 << 40) + (uint64_t)at->length * 2 * (uint64_t)e->info.n_observations};
  for (int32_t k = 0; k < e->info.n_observations; k++) observation[k] += e->noise * draw_normal(&d);
}

static void begin(DhcEnvs *e, int32_t i) {
  Draws d = {.seed = e->seed, .env = (uint32_t)i, .episode = e->episode[i].number++};
  const dhc_env_random random = {&d, draw_uniform, draw_normal};
  e->episode[i].sum = 0;
  e->episode[i].length = 0;
  double *observation = e->observation + (int64_t)i * e->info.n_observations;
  e->f->reset(e->env[i], &random, observation);
  disturb(e, i, observation);
  e->begins[i] = true;
}

static void show(const DhcEnvs *e, DhcEnvStep *step) {
  *step = (DhcEnvStep){.observation = e->observation, .last = e->last, .reward = e->reward, .terminated = e->terminated,
                       .truncated = e->truncated, .begins = e->begins, .episode_return = e->episode_return, .episode_length = e->episode_length};
}

void dhc_envs_reset(DhcEnvs *e, DhcEnvStep *step) {
  for (int32_t i = 0; i < e->count; i++) begin(e, i);
  show(e, step);
}

typedef struct Stepping {
  DhcEnvs *e;
  const float *action;
} Stepping;

static void step_one(DhcEnvs *e, int32_t i, const float *action) {
  const dhc_env_info *info = &e->info;
  double *observation = e->observation + (int64_t)i * info->n_observations, *last = e->last + (int64_t)i * info->n_observations;
  float scaled[info->n_actions];
  for (int32_t k = 0; k < info->n_actions; k++) {
    float a = fminf(fmaxf(action[k], -1.0f), 1.0f);
    scaled[k] = (float)(0.5 * (info->action_low[k] + info->action_high[k]) + 0.5 * (info->action_high[k] - info->action_low[k]) * (double)a);
  }
  Episode *episode = &e->episode[i];
  e->begins[i] = false;
  e->terminated[i] = e->f->step(e->env[i], scaled, observation, &e->reward[i]);
  episode->sum += e->reward[i];
  episode->length++;
  disturb(e, i, observation);
  e->truncated[i] = !e->terminated[i] && episode->length >= info->max_steps;
  if (!e->terminated[i] && !e->truncated[i]) return;
  e->episode_return[i] = episode->sum;
  e->episode_length[i] = episode->length;
  memcpy(last, observation, sizeof *last * (size_t)info->n_observations);
  begin(e, i);
}

static void step_range(void *arg, int64_t t0, int64_t t1, int worker) {
  (void)worker;
  Stepping *s = arg;
  for (int64_t i = t0; i < t1; i++) step_one(s->e, (int32_t)i, s->action + i * s->e->info.n_actions);
}

void dhc_envs_step(DhcEnvs *e, const dhc_exec *exec, const float *action, DhcEnvStep *step) {
  Stepping s = {e, action};
  if (exec) exec->parallel_for(exec->ctx, e->count, step_range, &s);
  else step_range(&s, 0, e->count, 0);
  show(e, step);
}

dhc_status dhc_envs_draw(DhcEnvs *e, int32_t i, int32_t width, int32_t height, unsigned char *rgb) {
  char error[400] = "";
  if (!e->f->draw) return dhc_status_make(DHC_E_INPUT, "environment %s: has no pictures of itself", e->f->name);
  if (e->f->draw(e->env[i], width, height, rgb, error, sizeof error)) return dhc_status_ok();
  return dhc_status_make(DHC_E_ENVIRONMENT, "environment %s: no picture: %s", e->f->name, error);
}

/* ---- state ----------------------------------------------------------------------------------- */

static int64_t bytes_each(const DhcEnvs *e) {
  return (int64_t)sizeof(Episode) + (int64_t)sizeof(double) * e->info.n_observations + 1 + e->info.state_bytes;
}

int64_t dhc_envs_state_bytes(const DhcEnvs *e) {
  return bytes_each(e) * e->count;
}

void dhc_envs_save(const DhcEnvs *e, void *state) {
  unsigned char *to = state;
  size_t n = sizeof(double) * (size_t)e->info.n_observations;
  for (int32_t i = 0; i < e->count; i++) {
    memcpy(to, &e->episode[i], sizeof(Episode));
    memcpy(to + sizeof(Episode), e->observation + (int64_t)i * e->info.n_observations, n);
    to[sizeof(Episode) + n] = e->begins[i];
    e->f->save(e->env[i], to + sizeof(Episode) + n + 1);
    to += bytes_each(e);
  }
}

void dhc_envs_load(DhcEnvs *e, const void *state, DhcEnvStep *step) {
  const unsigned char *from = state;
  size_t n = sizeof(double) * (size_t)e->info.n_observations;
  for (int32_t i = 0; i < e->count; i++) {
    memcpy(&e->episode[i], from, sizeof(Episode));
    memcpy(e->observation + (int64_t)i * e->info.n_observations, from + sizeof(Episode), n);
    e->begins[i] = from[sizeof(Episode) + n];
    e->f->load(e->env[i], from + sizeof(Episode) + n + 1);
    from += bytes_each(e);
  }
  show(e, step);
}
