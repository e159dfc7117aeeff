/* HalfCheetah, Hopper and Walker2d as Gymnasium 1.4.0 defines their v5, over MuJoCo's C library, which is opened when one is
 * made. A step uses functions of the library alone, none of its structs: a state goes in and out as an array.
 *
 * A robot's file is Gymnasium's own, in `assets`; the library is looked for where the system's loader finds it, in
 * $DHC_MUJOCO, and beside the Python package gymnasium that the assets belong to. */
#include <dlfcn.h>
#include <glob.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/env/env_internal.h"
#include "runtime/env/mujoco.h"

enum { /* components of a state (mjtState) */
  STATE_TIME = 1 << 0,
  STATE_QPOS = 1 << 1,
  STATE_QVEL = 1 << 2,
  STATE_CTRL = 1 << 6,
  STATE_INTEGRATION = (1 << 15) - 1 /* all that a step depends on, where the solver begins among it */
};

/* What sets the robots apart (gymnasium/envs/mujoco/NAME_v5.py). */
typedef struct Kind {
  const char *file;
  int frames; /* of physics, a step */
  double control_cost, noise, max_speed;
  bool normal_speeds; /* at the start; else uniform */
  double healthy_reward, min_height, max_height, max_angle, max_state; /* where it may fall */
} Kind;

enum { MAX_SIZE = 32 }; /* positions, speeds, actuators: each */

typedef struct Robot {
  const Kind *kind;
  Mujoco library;
  void *model, *data;
  int n_positions, n_speeds, n_actions;
  double dt;
  double first[2 * MAX_SIZE]; /* position and speed that episodes begin around */
  double low[MAX_SIZE], high[MAX_SIZE];
} Robot;

/* ---- the library -------------------------------------------------------------------------- */

/* Beside gymnasium/envs/mujoco/assets: the package mujoco of the same environment. */
static void *open_beside(const char *assets) {
  static const char up[] = "/../../../../mujoco/libmujoco.so*";
  char pattern[4096];
  glob_t found;
  void *handle = NULL;
  if (!assets || (size_t)snprintf(pattern, sizeof pattern, "%s%s", assets, up) >= sizeof pattern) return NULL;
  if (glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc) handle = dlopen(found.gl_pathv[0], RTLD_NOW | RTLD_LOCAL);
  globfree(&found);
  return handle;
}

/* Left to itself the library prints warnings, such as that a robot's file has an attribute of old, and adds them to a file
 * MUJOCO_LOG.TXT wherever the process is. */
static void drop_warning(const char *text) {
  (void)text;
}

static bool open_library(Mujoco *l, const char *assets, char *error, size_t room) {
  const char *said = getenv("DHC_MUJOCO");
  l->handle = said && *said ? dlopen(said, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (said && *said && !l->handle) {
    snprintf(error, room, "DHC_MUJOCO: %s", dlerror());
    return false;
  }
  if (!l->handle) l->handle = open_beside(assets);
  if (!l->handle) l->handle = dlopen("libmujoco.so." MUJOCO_TEXT, RTLD_NOW | RTLD_LOCAL);
  if (!l->handle) {
    snprintf(error, room, "needs libmujoco.so." MUJOCO_TEXT ": pip install mujoco==" MUJOCO_TEXT ", and set DHC_MUJOCO to its libmujoco.so");
    return false;
  }
#define F(result, name, parameters) *(void **)&l->name = dlsym(l->handle, #name);
  MUJOCO_FUNCTIONS(F)
#undef F
  const char *missing = NULL;
#define F(result, name, parameters) missing = missing || l->name ? missing : #name; /* the first */
  MUJOCO_FUNCTIONS(F)
#undef F
  if (l->mj_version && l->mj_versionString && l->mj_version() != MUJOCO_VERSION) {
    snprintf(error, room, "needs MuJoCo " MUJOCO_TEXT ", this library is %.40s", l->mj_versionString());
    return false;
  }
  void (**warning)(const char *);
  *(void **)&warning = dlsym(l->handle, "mju_user_warning");
  if (warning) *warning = drop_warning;
  if (missing) snprintf(error, room, "the library that was found is not MuJoCo " MUJOCO_TEXT ": it has no %s", missing);
  return !missing;
}

/* ---- making one ------------------------------------------------------------------------------ */

static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER; /* the library's parser: one file at a time */

static void destroy(void *env) {
  Robot *r = env;
  if (r->data) r->library.mj_deleteData(r->data);
  if (r->model) r->library.mj_deleteModel(r->model);
  if (r->library.handle) dlclose(r->library.handle);
  free(r);
}

/* What settings change of a robot, in a file of its own around Gymnasium's. */
static bool write_around(const char *path, const dhc_env_setting *settings, char *text, size_t n, char *error, size_t room) {
  double gravity = NAN, mass = NAN;
  const DhcEnvNumber known[] = {{"gravity", -INFINITY, &gravity}, {"mass", 0, &mass}};
  if (!dhc_env_numbers(settings, known, sizeof known / sizeof known[0], error, room)) return false;
  size_t at = (size_t)snprintf(text, n, "<mujoco><include file=\"%s\"/>", path);
  if (!isnan(gravity) && at < n) at += (size_t)snprintf(text + at, n - at, "<option gravity=\"0 0 %.17g\"/>", -gravity);
  if (!isnan(mass) && at < n) at += (size_t)snprintf(text + at, n - at, "<compiler settotalmass=\"%.17g\"/>", mass);
  if (at < n) at += (size_t)snprintf(text + at, n - at, "</mujoco>");
  if (at < n) return true;
  snprintf(error, room, "the name of the folder of assets is too long");
  return false;
}

static bool load_model(Robot *r, const char *assets, const dhc_env_setting *settings, char *error, size_t room) {
  static const char around[] = "dhc_around.xml";
  char path[4096], text[8192], why[300] = "";
  double vfs[16]; /* a pointer */
  if (!assets) {
    snprintf(error, room, "needs --assets DIR, the folder with %s: envs/mujoco/assets of the Python package gymnasium==1.4.0", r->kind->file);
    return false;
  }
  if ((size_t)snprintf(path, sizeof path, "%s/%s", assets, r->kind->file) >= sizeof path) {
    snprintf(error, room, "the name of the folder of assets is too long");
    return false;
  }
  if (settings->name && !write_around(path, settings, text, sizeof text, error, room)) return false;
  pthread_mutex_lock(&loading);
  if (settings->name) {
    r->library.mj_defaultVFS(vfs);
    (void)r->library.mj_addBufferVFS(vfs, around, text, (int)strlen(text));
  }
  r->model = r->library.mj_loadXML(settings->name ? around : path, settings->name ? vfs : NULL, why, sizeof why);
  if (settings->name) r->library.mj_deleteVFS(vfs);
  pthread_mutex_unlock(&loading);
  if (!r->model) {
    why[strcspn(why, "\n")] = 0;
    snprintf(error, room, "%.200s: %.180s", path, why);
  }
  return r->model;
}

static bool measure(Robot *r, char *error, size_t room) {
  const Mujoco *l = &r->library;
  r->n_positions = l->mj_stateSize(r->model, STATE_QPOS);
  r->n_speeds = l->mj_stateSize(r->model, STATE_QVEL);
  r->n_actions = l->mj_stateSize(r->model, STATE_CTRL);
  if (r->n_positions < 3 || r->n_positions > MAX_SIZE || r->n_speeds < 1 || r->n_speeds > MAX_SIZE || r->n_actions < 1 || r->n_actions > MAX_SIZE) {
    snprintf(error, room, "%s has %d positions, %d speeds and %d actuators: no file of Gymnasium's", r->kind->file, r->n_positions, r->n_speeds,
             r->n_actions);
    return false;
  }
  double frame;
  l->mj_getState(r->model, r->data, r->first, STATE_QPOS | STATE_QVEL);
  l->mj_step(r->model, r->data);
  l->mj_getState(r->model, r->data, &frame, STATE_TIME);
  l->mj_resetData(r->model, r->data);
  r->dt = frame * r->kind->frames;
  for (int i = 0; i < r->n_actions; i++) {
    r->low[i] = -1.0;
    r->high[i] = 1.0;
  }
  return true;
}

static void *create(const Kind *kind, const char *assets, const dhc_env_setting *settings, dhc_env_info *info, char *error, size_t room) {
  Robot *r = calloc(1, sizeof *r);
  if (!r) {
    error[0] = 0;
    return NULL;
  }
  r->kind = kind;
  bool ok = open_library(&r->library, assets, error, room) && load_model(r, assets, settings, error, room);
  if (ok && !(r->data = r->library.mj_makeData(r->model))) {
    snprintf(error, room, "MuJoCo made no data for %s", kind->file);
    ok = false;
  }
  if (!ok || !measure(r, error, room)) {
    destroy(r);
    return NULL;
  }
  *info = (dhc_env_info){r->n_positions - 1 + r->n_speeds, r->n_actions, r->low, r->high, 1000,
                         (int64_t)sizeof(double) * r->library.mj_stateSize(r->model, STATE_INTEGRATION)};
  return r;
}

/* ---- running ---------------------------------------------------------------------------------- */

/* Positions but for the first, speeds clipped. */
static void observe(const Robot *r, const double *state, double *observation) {
  const double *speed = state + r->n_positions;
  memcpy(observation, state + 1, sizeof *state * (size_t)(r->n_positions - 1));
  observation += r->n_positions - 1;
  for (int i = 0; i < r->n_speeds; i++) observation[i] = fmin(fmax(speed[i], -r->kind->max_speed), r->kind->max_speed);
}

static void reset(void *env, const dhc_env_random *random, double *observation) {
  Robot *r = env;
  const Kind *k = r->kind;
  double state[2 * MAX_SIZE];
  for (int i = 0; i < r->n_positions; i++) state[i] = r->first[i] + random->uniform(random->ctx, -k->noise, k->noise);
  for (int i = r->n_positions; i < r->n_positions + r->n_speeds; i++)
    state[i] = r->first[i] + (k->normal_speeds ? k->noise * random->normal(random->ctx) : random->uniform(random->ctx, -k->noise, k->noise));
  r->library.mj_resetData(r->model, r->data);
  r->library.mj_setState(r->model, r->data, state, STATE_QPOS | STATE_QVEL);
  r->library.mj_forward(r->model, r->data);
  observe(r, state, observation);
}

static bool healthy(const Robot *r, const double *state) {
  const Kind *k = r->kind;
  for (int i = 2; i < r->n_positions + r->n_speeds; i++)
    if (!(-k->max_state < state[i] && state[i] < k->max_state)) return false;
  return k->min_height < state[1] && state[1] < k->max_height && -k->max_angle < state[2] && state[2] < k->max_angle;
}

static bool step(void *env, const float *action, double *observation, double *reward) {
  Robot *r = env;
  const Kind *k = r->kind;
  double control[MAX_SIZE], before[2 * MAX_SIZE], after[2 * MAX_SIZE];
  float squares = 0; /* in float, as an action is */
  for (int i = 0; i < r->n_actions; i++) {
    control[i] = (double)action[i];
    squares += action[i] * action[i];
  }
  r->library.mj_getState(r->model, r->data, before, STATE_QPOS | STATE_QVEL);
  r->library.mj_setState(r->model, r->data, control, STATE_CTRL);
  for (int i = 0; i < k->frames; i++) r->library.mj_step(r->model, r->data);
  r->library.mj_getState(r->model, r->data, after, STATE_QPOS | STATE_QVEL);
  observe(r, after, observation);
  bool well = healthy(r, after);
  *reward = (after[0] - before[0]) / r->dt + (well ? k->healthy_reward : 0.0) - (double)((float)k->control_cost * squares);
  return !well;
}

static void save(void *env, void *state) {
  Robot *r = env;
  double *all = malloc(sizeof(double) * (size_t)r->library.mj_stateSize(r->model, STATE_INTEGRATION));
  if (!all) abort();
  r->library.mj_getState(r->model, r->data, all, STATE_INTEGRATION);
  memcpy(state, all, sizeof(double) * (size_t)r->library.mj_stateSize(r->model, STATE_INTEGRATION));
  free(all);
}

static void load(void *env, const void *state) {
  Robot *r = env;
  size_t bytes = sizeof(double) * (size_t)r->library.mj_stateSize(r->model, STATE_INTEGRATION);
  double *all = malloc(bytes);
  if (!all) abort();
  memcpy(all, state, bytes);
  r->library.mj_setState(r->model, r->data, all, STATE_INTEGRATION);
  free(all);
}

static bool draw(void *env, int32_t width, int32_t height, unsigned char *rgb, char *error, size_t room) {
  Robot *r = env;
  return mujoco_draw(&r->library, r->model, r->data, width, height, rgb, error, room);
}

#define ROBOT(which, ...)                                                                                  \
  static const Kind kind_##which = {__VA_ARGS__};                                                          \
  static void *create_##which(const char *assets, const dhc_env_setting *settings, dhc_env_info *info, char *error, size_t room) { \
    return create(&kind_##which, assets, settings, info, error, room);                                     \
  }                                                                                                        \
  const dhc_env_functions dhc_env_##which = {DHC_ENV_VERSION, #which, create_##which, destroy, reset, step, save, load, draw};

ROBOT(halfcheetah, .file = "half_cheetah.xml", .frames = 5, .control_cost = 0.1, .noise = 0.1, .max_speed = INFINITY, .normal_speeds = true,
      .min_height = -INFINITY, .max_height = INFINITY, .max_angle = INFINITY, .max_state = INFINITY)
ROBOT(hopper, .file = "hopper.xml", .frames = 4, .control_cost = 1e-3, .noise = 5e-3, .max_speed = 10.0, .healthy_reward = 1.0,
      .min_height = 0.7, .max_height = INFINITY, .max_angle = 0.2, .max_state = 100.0)
ROBOT(walker2d, .file = "walker2d_v5.xml", .frames = 4, .control_cost = 1e-3, .noise = 5e-3, .max_speed = 10.0, .healthy_reward = 1.0,
      .min_height = 0.8, .max_height = 2.0, .max_angle = 1.0, .max_state = INFINITY)
