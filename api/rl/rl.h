/* A run of reinforcement learning from inside.
 *
 *   model.c       MODEL for an environment: as it is, or a policy in PPO
 *   rl.c          setting up, the loop, the end
 *   rollout.c     experience: what was seen, done and got
 *   update.c      advantages, and steps of the optimiser over them
 *   carried.c     states of a recurrent policy, in and out of the program
 *   normal.c      running means and deviations
 *   evaluate.c    episodes with the likeliest actions
 *   recipe.c      the settings, in words
 *   keep.c        checkpoints and metrics */
#ifndef DHC_API_RL_H
#define DHC_API_RL_H

#include "api/train/train.h"
#include "dhc/rl.h"
#include "runtime/env/env.h"

/* Mean and variance of what was seen so far (Chan et al., 1979), of `n` numbers each. */
typedef struct Running {
  int n;
  double count;
  double *mean, *squares; /* sums of squared distances from the mean */
} Running;
void running_add(Running *r, const double *rows, int64_t n_rows);
/* 1 over the deviation of number i. */
double running_scale(const Running *r, int i);

/* A state of the policy: rows of environments. */
typedef struct Carried {
  const char *path;
  dhc_dtype dtype;
  int rank;
  int64_t dim[8]; /* dim[0]: of environments */
  int64_t row;    /* bytes of one */
  unsigned char *begin; /* [envs][sequences of a rollout] rows: where each began */
  unsigned char *now;   /* [envs] rows: behind the rollout */
  unsigned char *batch; /* rows of sequences that are gathered */
} Carried;

enum { RL_RECENT = 100, RL_N_COLUMNS = 15 };
#define RL_MEAN "obs_mean" /* buffers of the model: statistics of observations */
#define RL_SCALE "obs_scale"

typedef struct Rl {
  dhc_model *m;
  const dhc_rl_options *o;
  const DhcRecipe *recipe;
  DhcArena arena;
  DhcHeld held;
  dhc_program *p;
  int act, value, update; /* entries */
  bool recurrent;         /* act and update read states */
  DhcEnvs *envs;
  DhcEnvStep now;
  int64_t n, horizon, length, n_obs, n_act, batch; /* environments, steps of each, of a sequence; sequences of an update */
  double gamma, lambda;
  bool normalize_obs, normalize_reward;
  uint32_t seed;
  /* at the step at hand: [n] rows */
  float *seen, *noise;
  double *seen_rows; /* of a rollout, for their statistics */
  bool *begins;
  /* a rollout: [n][horizon] */
  float *obs, *action, *logp, *values, *advantage, *returns;
  bool *reset, *ends;
  double *reward;
  int64_t n_cut, cut_room; /* episodes that were truncated: where, and what was seen last */
  int64_t *cut_at;
  float *cut_obs;
  int64_t *order;
  float *batch_of[7]; /* gathered for an update: obs, action, logp, value, advantage, returns */
  bool *batch_reset;
  Running seen_stats, return_stats;
  double *discounted; /* [n] */
  int n_carried;
  Carried *carried;
  double recent[RL_RECENT], recent_length[RL_RECENT];
  double rollout_ms; /* of this process, without what is learned */
  int64_t rollouts, total, updates, episodes; /* rollouts done and in all; optimiser steps */
  dhc_rl_progress pr;
  DhcRunFolder folder;
  DhcMetrics *log;
  char run_id[DHC_RUN_ID_CHARS];
  const char *command;
  bool used, begun, any_saved;
  int64_t saved;
} Rl;

/* ---- rollout.c ---- */
dhc_status rl_rollout(Rl *r) DHC_MUST_USE;
void rl_observe(const Rl *r, const double *from, int64_t rows, float *to); /* as the policy takes them */
dhc_status rl_tell_statistics(Rl *r) DHC_MUST_USE; /* of observations, to the model's buffers */
dhc_status rl_act(Rl *r, const float *obs, const bool *reset, const float *noise, int64_t n, const float **action, const float **logp) DHC_MUST_USE;
/* ---- update.c ---- */
dhc_status rl_learn(Rl *r) DHC_MUST_USE;
/* ---- carried.c ---- */
dhc_status carried_open(Rl *r) DHC_MUST_USE;      /* after the first run of act */
dhc_status carried_begin(Rl *r, int64_t sequence) DHC_MUST_USE;
dhc_status carried_take(Rl *r) DHC_MUST_USE;      /* program -> now */
dhc_status carried_put(Rl *r) DHC_MUST_USE;       /* now -> program */
dhc_status carried_gather(Rl *r, const int64_t *sequences, int64_t n) DHC_MUST_USE;
/* ---- evaluate.c ---- */
dhc_status rl_evaluate(Rl *r, int64_t episodes, dhc_rl_result *out) DHC_MUST_USE;
/* ---- keep.c ---- */
dhc_status keep_open(Rl *r) DHC_MUST_USE; /* the folder; with resume goes to where its run stands */
dhc_status keep_row(Rl *r) DHC_MUST_USE;
dhc_status keep_save(Rl *r, bool stop) DHC_MUST_USE;
dhc_status keep_end(Rl *r) DHC_MUST_USE; /* weights as a file of their own */

/* ---- rl.c ---- */
dhc_status rl_open(Rl *r, dhc_model *m, const dhc_rl_options *o) DHC_MUST_USE;
void rl_close(void *r);

#endif
