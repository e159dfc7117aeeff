/* Gymnasium's Pendulum-v1 (classic_control/pendulum.py of 1.4.0), in its precision: the state in double, an action and what
 * is computed of it alone in float, observations rounded to float. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/env/env_internal.h"

typedef struct Pendulum {
  double angle, speed; /* its state */
  double gravity, mass, length, dt;
} Pendulum;
enum { STATE_BYTES = 2 * sizeof(double) };

static const double pi = 3.14159265358979323846;
static const double max_speed = 8.0;
static const double torque_low[] = {-2.0}, torque_high[] = {2.0};

static void *create(const char *assets, const dhc_env_setting *settings, dhc_env_info *info, char *error, size_t room) {
  (void)assets;
  Pendulum *p = calloc(1, sizeof *p);
  if (!p) {
    error[0] = 0;
    return NULL;
  }
  *p = (Pendulum){.gravity = 10.0, .mass = 1.0, .length = 1.0, .dt = 0.05};
  const DhcEnvNumber known[] = {{"gravity", -INFINITY, &p->gravity}, {"mass", 0, &p->mass}, {"length", 0, &p->length}, {"dt", 0, &p->dt}};
  if (!dhc_env_numbers(settings, known, sizeof known / sizeof known[0], error, room)) {
    free(p);
    return NULL;
  }
  *info = (dhc_env_info){3, 1, torque_low, torque_high, 200, STATE_BYTES};
  return p;
}

/* As floats, of which Gymnasium's observations are. */
static void observe(const Pendulum *p, double *observation) {
  observation[0] = (double)(float)cos(p->angle);
  observation[1] = (double)(float)sin(p->angle);
  observation[2] = (double)(float)p->speed;
}

static void reset(void *env, const dhc_env_random *random, double *observation) {
  Pendulum *p = env;
  p->angle = random->uniform(random->ctx, -pi, pi);
  p->speed = random->uniform(random->ctx, -1.0, 1.0);
  observe(p, observation);
}

/* Python's %: the sign of the divisor. */
static double normalized(double angle) {
  double r = fmod(angle + pi, 2 * pi);
  return (r < 0 ? r + 2 * pi : r) - pi;
}

static bool step(void *env, const float *action, double *observation, double *reward) {
  Pendulum *p = env;
  float torque = action[0];
  double angle = normalized(p->angle);
  volatile double two = 2.0; /* NumPy squares a number by pow, which is not always the rounded product that a compiler makes of it */
  *reward = -(pow(angle, two) + 0.1 * pow(p->speed, two) + (double)(0.001f * powf(torque, (float)two)));
  double push = (double)((float)(3.0 / (p->mass * p->length * p->length)) * torque);
  double speed = p->speed + (3 * p->gravity / (2 * p->length) * sin(p->angle) + push) * p->dt;
  p->speed = fmin(fmax(speed, -max_speed), max_speed);
  p->angle += p->speed * p->dt;
  observe(p, observation);
  return false;
}

static void save(void *env, void *state) {
  memcpy(state, env, STATE_BYTES);
}

static void load(void *env, const void *state) {
  memcpy(env, state, STATE_BYTES);
}

/* A rod on white from the middle, which points up at angle 0; the axis in black. */
static bool draw(void *env, int32_t width, int32_t height, unsigned char *rgb, char *error, size_t room) {
  (void)error;
  (void)room;
  const Pendulum *p = env;
  double side = width < height ? width : height, reach = 0.4 * side, half = 0.04 * side;
  double x1 = reach * -sin(p->angle), y1 = reach * -cos(p->angle);
  for (int32_t i = 0; i < height; i++)
    for (int32_t k = 0; k < width; k++) {
      double x = k + 0.5 - 0.5 * width, y = i + 0.5 - 0.5 * height;
      double along = fmin(fmax((x * x1 + y * y1) / (reach * reach), 0), 1);
      double off = fmin(fmax(hypot(x - along * x1, y - along * y1) - half + 0.5, 0), 1), axis = fmin(fmax(hypot(x, y) - 0.3 * half + 0.5, 0), 1);
      const double rod[] = {204, 77, 77};
      for (int c = 0; c < 3; c++) *rgb++ = (unsigned char)(axis * (rod[c] + off * (255 - rod[c])));
    }
  return true;
}

const dhc_env_functions dhc_env_pendulum = {DHC_ENV_VERSION, "pendulum", create, free, reset, step, save, load, draw};
