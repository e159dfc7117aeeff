/* Gymnasium's Pendulum-v1 (classic_control/pendulum.py of 1.4.0), in its precision: the state in double, an action and what
 * is computed of it alone in float, observations rounded to float. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/env/env_internal.h"

typedef struct Pendulum {
  double angle, speed;
} Pendulum;

static const double pi = 3.14159265358979323846;
static const double gravity = 10.0, mass = 1.0, length = 1.0, dt = 0.05, max_speed = 8.0;
static const double torque_low[] = {-2.0}, torque_high[] = {2.0};

static void *create(const char *assets, dhc_env_info *info, char *error, size_t room) {
  (void)assets;
  Pendulum *p = calloc(1, sizeof *p);
  if (!p && room) error[0] = 0;
  *info = (dhc_env_info){3, 1, torque_low, torque_high, 200, sizeof *p};
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
  double push = (double)((float)(3.0 / (mass * length * length)) * torque);
  double speed = p->speed + (3 * gravity / (2 * length) * sin(p->angle) + push) * dt;
  p->speed = fmin(fmax(speed, -max_speed), max_speed);
  p->angle += p->speed * dt;
  observe(p, observation);
  return false;
}

static void save(void *env, void *state) {
  memcpy(state, env, sizeof(Pendulum));
}

static void load(void *env, const void *state) {
  memcpy(env, state, sizeof(Pendulum));
}

const dhc_env_functions dhc_env_pendulum = {DHC_ENV_VERSION, "pendulum", create, free, reset, step, save, load};
