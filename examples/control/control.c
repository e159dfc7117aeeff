/* A policy as a control loop: a pendulum, simulated here, is swung up and held by a model that is in this program.
 *
 *   dhcc rl rl_ssm_policy --env pendulum --recipe pendulum --steps 300000 --out runs/p
 *   dhcc build runs/p --entry step --bind B=1 --name policy -o policy.o --header policy.h
 *   cc -O2 -I . control.c policy.o -lm -o control
 *   ./control 10            for ten seconds, 1,000 calls in each
 *
 * Every millisecond the policy is called once. It learned at 20 Hz, so what it remembers is kept fifty times, in turn: each memory
 * meets observations 50 ms apart, as it is used to. Nothing allocates. At the end: how long calls took, the longest among them, and how
 * late the loop woke up, which is the system's part. */
#define _GNU_SOURCE
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "policy.h"

enum { HZ = 1000, LEARNED_HZ = 20, MEMORIES = HZ / LEARNED_HZ, BUCKETS = 10000 };
static const long tick_ns = 1000000000 / HZ;
static const double max_torque = 2, max_speed = 8, gravity = 10; /* of Gymnasium's Pendulum-v1; mass and length are 1 */

#define ROOM(bytes) (((bytes) + POLICY_ALIGN - 1) / POLICY_ALIGN * POLICY_ALIGN)
static _Alignas(POLICY_ALIGN) char state[MEMORIES][ROOM(POLICY_STATE_BYTES)];
static _Alignas(POLICY_ALIGN) char workspace[POLICY_WORKSPACE_BYTES];
static long calls_of[BUCKETS]; /* by tenths of a microsecond */

static long since(const struct timespec *then) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (now.tv_sec - then->tv_sec) * 1000000000 + (now.tv_nsec - then->tv_nsec);
}

/* Below which this share of the calls stayed, in microseconds. */
static double quantile(double share, long n) {
  long seen = 0;
  for (int i = 0; i < BUCKETS; i++)
    if ((double)(seen += calls_of[i]) >= share * (double)n) return 0.1 * (i + 1);
  return INFINITY;
}

static void step_pendulum(double *angle, double *speed, double torque) {
  double dt = 1.0 / HZ;
  *speed += (1.5 * gravity * sin(*angle) + 3 * torque) * dt;
  *speed = fmin(fmax(*speed, -max_speed), max_speed);
  *angle += *speed * dt;
}

int main(int argc, char **argv) {
  double seconds = argc > 1 ? atof(argv[1]) : 10, angle = 3.0, speed = 0;
  long n = (long)(seconds * HZ), longest = 0, latest = 0, late = 0;
  /* so that nobody else's work comes between, where that is allowed */
  int alone = !mlockall(MCL_CURRENT | MCL_FUTURE) & !sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 50});
  policy_prefault(NULL, 0, workspace, sizeof workspace);
  for (int i = 0; i < MEMORIES; i++)
    if (policy_reset(state[i], NULL, 0, NULL) != DHC_OBJECT_OK) return fputs("the policy does not begin\n", stderr), 1;
  struct timespec tick;
  clock_gettime(CLOCK_MONOTONIC, &tick);
  for (long i = 0; i < n; i++) {
    if ((tick.tv_nsec += tick_ns) >= 1000000000) tick.tv_nsec -= 1000000000, tick.tv_sec++;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &tick, NULL)) continue;
    long waited = since(&tick);
    const float seen[3] = {(float)cos(angle), (float)sin(angle), (float)speed};
    float action;
    struct timespec began;
    clock_gettime(CLOCK_MONOTONIC, &began);
    if (policy_step(state[i % MEMORIES], seen, &action, workspace, sizeof workspace, NULL) != DHC_OBJECT_OK) return fputs("the policy failed\n", stderr), 1;
    long took = since(&began);
    calls_of[took / 100 < BUCKETS ? took / 100 : BUCKETS - 1]++;
    longest = took > longest ? took : longest;
    latest = waited > latest ? waited : latest;
    late += waited + took > tick_ns;
    step_pendulum(&angle, &speed, max_torque * (double)action);
  }
  printf("%ld calls at %d Hz%s: half within %.1f us, 99.9 %% within %.1f us, the longest %.1f us\n", n, HZ, alone ? ", scheduled before others" : "",
         quantile(0.5, n), quantile(0.999, n), (double)longest * 1e-3);
  printf("woke up %.1f us late at most; %ld ticks were over before the action was there\n", (double)latest * 1e-3, late);
  printf("at the end %.1f degrees from upright, %.2f rad/s\n", fabs(remainder(angle, 2 * 3.14159265358979323846)) * 57.29577951308232, speed);
  return 0;
}
