/* A rollout: every environment goes on for `horizon` steps. */
#include <math.h>

#include "api/rl/rl.h"

enum { NOISE_SITE = 0x6e6f6973 };

void rl_observe(const Rl *r, const double *from, int64_t rows, float *to) {
  for (int64_t i = 0; i < rows * r->n_obs; i++) to[i] = (float)from[i];
}

static dhc_status tell(Rl *r, const char *name, const float *values) {
  const dhc_tensor t = {.name = name, .dtype = DHC_F32, .rank = 1, .dim = {r->n_obs}, .data = (void *)values};
  return dhc_program_set(r->p, &t);
}

dhc_status rl_tell_statistics(Rl *r) {
  if (!r->normalize_obs) return dhc_status_ok();
  int64_t all = r->n * r->horizon;
  for (int64_t i = 0; i < all * r->n_obs; i++) r->seen_rows[i] = (double)r->obs[i];
  running_add(&r->seen_stats, r->seen_rows, all);
  for (int64_t i = 0; i < r->n_obs; i++) r->seen[i] = (float)r->seen_stats.mean[i];
  DHC_TRY(tell(r, RL_MEAN, r->seen));
  for (int64_t i = 0; i < r->n_obs; i++) r->seen[i] = (float)running_scale(&r->seen_stats, (int)i);
  return tell(r, RL_SCALE, r->seen);
}

/* Standard normal, by Box and Muller; element i of a step depends on nothing but seed, step and i. */
static void draw(Rl *r, uint64_t step, float *to, int64_t n) {
  const double turn = 6.283185307179586;
  for (int64_t i = 0; i < n; i++) {
    double u = ((double)dhc_rng_bits(r->seed, NOISE_SITE, (uint64_t)(2 * i), step) + 1.0) * 0x1p-32;
    double v = (double)dhc_rng_bits(r->seed, NOISE_SITE, (uint64_t)(2 * i + 1), step) * 0x1p-32;
    to[i] = (float)(sqrt(-2.0 * log(u)) * cos(turn * v));
  }
}

dhc_status rl_act(Rl *r, const float *obs, const bool *reset, const float *noise, int64_t n, const float **action, const float **logp) {
  const dhc_tensor in[] = {{.name = "obs", .dtype = DHC_F32, .rank = 2, .dim = {n, r->n_obs}, .data = (void *)obs},
                           {.name = "reset", .dtype = DHC_BOOL, .rank = 1, .dim = {n}, .data = (void *)reset},
                           {.name = "noise", .dtype = DHC_F32, .rank = 2, .dim = {n, r->n_act}, .data = (void *)noise}};
  const dhc_tensor *out;
  int n_out;
  DHC_TRY(dhc_program_run(r->p, r->act, in, 3, &out, &n_out));
  const dhc_tensor *a = result_named(out, n_out, "action"), *l = result_named(out, n_out, "logp");
  if (!a || !l || a->dtype != DHC_F32 || l->dtype != DHC_F32 || a->rank != 2 || a->dim[1] != r->n_act || l->rank != 1)
    return dhc_status_make(DHC_E_INPUT, "entry 'act' must give action: [B, %lld] and logp: [B] (docs/rl.md)", (long long)r->n_act);
  *action = a->data;
  *logp = l->data;
  return dhc_status_ok();
}

static void note_episode(Rl *r, int64_t e) {
  int64_t at = r->episodes++ % RL_RECENT;
  r->recent[at] = r->now.episode_return[e];
  r->recent_length[at] = r->now.episode_length[e];
}

/* What environment e got at step t. */
static void take(Rl *r, int64_t e, int64_t t) {
  int64_t at = e * r->horizon + t;
  bool over = r->now.terminated[e] || r->now.truncated[e];
  r->reward[at] = r->now.reward[e];
  r->ends[at] = over;
  if (over) note_episode(r, e);
  if (!r->now.truncated[e] || r->n_cut == r->cut_room) return;
  r->cut_at[r->n_cut] = at;
  rl_observe(r, r->now.last + e * r->n_obs, 1, r->cut_obs + r->n_cut * r->n_obs);
  r->n_cut++;
}

/* Rewards by the running deviation of what they add up to, discounted. */
static void scale_rewards(Rl *r, int64_t t) {
  for (int64_t e = 0; e < r->n; e++) r->discounted[e] = r->discounted[e] * r->gamma + r->reward[e * r->horizon + t];
  running_add(&r->return_stats, r->discounted, r->n);
  for (int64_t e = 0; e < r->n; e++) {
    int64_t at = e * r->horizon + t;
    r->reward[at] = fmin(fmax(r->reward[at] * running_scale(&r->return_stats, 0), -10.0), 10.0);
    if (r->ends[at]) r->discounted[e] = 0;
  }
}

dhc_status rl_rollout(Rl *r) {
  const dhc_exec *exec = dhc_pool_exec(r->m->s->pool);
  r->n_cut = 0;
  for (int64_t t = 0; t < r->horizon; t++) {
    uint64_t step = (uint64_t)(r->rollouts * r->horizon + t);
    const float *action, *logp;
    rl_observe(r, r->now.observation, r->n, r->seen);
    memcpy(r->begins, r->now.begins, sizeof *r->begins * (size_t)r->n);
    draw(r, step, r->noise, r->n * r->n_act);
    if (t % r->length == 0) DHC_TRY(carried_begin(r, t / r->length));
    DHC_TRY(rl_act(r, r->seen, r->begins, r->noise, r->n, &action, &logp));
    for (int64_t e = 0; e < r->n; e++) {
      int64_t at = e * r->horizon + t;
      memcpy(r->obs + at * r->n_obs, r->seen + e * r->n_obs, sizeof *r->obs * (size_t)r->n_obs);
      memcpy(r->action + at * r->n_act, action + e * r->n_act, sizeof *r->action * (size_t)r->n_act);
      r->logp[at] = logp[e];
      r->reset[at] = r->begins[e];
    }
    dhc_envs_step(r->envs, exec, action, &r->now);
    for (int64_t e = 0; e < r->n; e++) take(r, e, t);
    if (r->normalize_reward) scale_rewards(r, t);
  }
  return carried_take(r);
}
