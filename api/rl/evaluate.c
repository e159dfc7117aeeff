/* Episodes with the likeliest actions, in environments of their own; pictures of the first. */
#include <math.h>

#include "api/rl/rl.h"
#include "runtime/formats/picture.h"

enum { EVAL_ENVS = 16, EVAL_SEED = 0x65766100 };

typedef struct Scores {
  double *score, *length;
  int64_t n;
} Scores;

/* Pictures of an episode, beside one another. */
enum { N_FRAMES = 10, FRAME_WIDTH = 160, FRAME_HEIGHT = 120 };
typedef struct Strip {
  int64_t every, taken;
  unsigned char *frame, *pixels;
} Strip;

static Strip strip_make(Rl *r, int64_t steps) {
  int64_t bytes = (int64_t)FRAME_WIDTH * FRAME_HEIGHT * 3;
  if (!r->o->render) return (Strip){0};
  return (Strip){(steps + N_FRAMES - 1) / N_FRAMES, 0, DHC_NEW_N(&r->arena, unsigned char, bytes), DHC_NEW_N(&r->arena, unsigned char, bytes * N_FRAMES)};
}

/* Before step t of environment 0's first episode. */
static dhc_status strip_take(Strip *s, DhcEnvs *envs, int64_t t) {
  if (!s->every || t % s->every || s->taken == N_FRAMES) return dhc_status_ok();
  DHC_TRY(dhc_envs_draw(envs, 0, FRAME_WIDTH, FRAME_HEIGHT, s->frame));
  for (int64_t y = 0; y < FRAME_HEIGHT; y++)
    memcpy(s->pixels + 3 * FRAME_WIDTH * (y * N_FRAMES + s->taken), s->frame + 3 * FRAME_WIDTH * y, 3 * FRAME_WIDTH);
  s->taken++;
  return dhc_status_ok();
}

/* A shorter episode's strip is as wide as it has pictures. */
static dhc_status strip_write(Rl *r, const Strip *s) {
  if (!s->every) return dhc_status_ok();
  for (int64_t y = 0; y < FRAME_HEIGHT; y++)
    memmove(s->pixels + 3 * FRAME_WIDTH * y * s->taken, s->pixels + 3 * FRAME_WIDTH * y * N_FRAMES, (size_t)(3 * FRAME_WIDTH * s->taken));
  DHC_TRY(dhc_file_make_folder(r->o->render));
  return dhc_picture_write(dhc_arena_printf(&r->arena, "%s/episode.png", r->o->render), FRAME_WIDTH * s->taken, FRAME_HEIGHT, s->pixels);
}

static dhc_status play(Rl *r, DhcEnvs *envs, int64_t each, Scores *s) {
  int64_t n = dhc_envs_count(envs);
  int64_t *done = DHC_NEW_N(&r->arena, int64_t, n);
  float *seen = DHC_NEW_N(&r->arena, float, n * r->n_obs), *still = DHC_NEW_N(&r->arena, float, n * r->n_act);
  bool *begins = DHC_NEW_N(&r->arena, bool, n);
  Strip strip = strip_make(r, dhc_envs_info(envs)->max_steps);
  DhcEnvStep now;
  dhc_envs_reset(envs, &now);
  for (int64_t left = n * each, t = 0; left > 0; t++) {
    const float *action, *logp;
    if (!done[0]) DHC_TRY(strip_take(&strip, envs, t));
    rl_observe(r, now.observation, n, seen);
    memcpy(begins, now.begins, sizeof *begins * (size_t)n);
    DHC_TRY(rl_act(r, seen, begins, still, n, &action, &logp));
    dhc_envs_step(envs, dhc_pool_exec(r->m->s->pool), action, &now);
    for (int64_t e = 0; e < n; e++) {
      if ((!now.terminated[e] && !now.truncated[e]) || done[e] == each) continue;
      done[e]++;
      left--;
      s->score[s->n] = now.episode_return[e];
      s->length[s->n++] = now.episode_length[e];
    }
    if (dhc_stop_signal()) return dhc_status_make(DHC_E_INTERRUPTED, "stopped in evaluation");
  }
  return strip_write(r, &strip);
}

static void close_envs(void *envs) {
  dhc_envs_close(envs);
}

/* As many of each environment, so that short episodes count no more than long ones. */
dhc_status rl_evaluate(Rl *r, int64_t episodes, dhc_rl_result *out) {
  int32_t n = (int32_t)(episodes < EVAL_ENVS ? episodes : EVAL_ENVS);
  int64_t each = (episodes + n - 1) / n;
  Scores s = {DHC_NEW_N(&r->arena, double, n * each), DHC_NEW_N(&r->arena, double, n * each), 0};
  DhcEnvs *envs;
  DHC_TRY(dhc_envs_open(&(DhcEnvAsk){r->o->env, r->o->assets, r->o->env_sets, r->o->n_env_sets}, n, r->seed + EVAL_SEED, &envs));
  DhcHeld held;
  dhc_hold(&held, close_envs, envs);
  if (r->recurrent) dhc_program_reset(r->p);
  dhc_status st = play(r, envs, each, &s);
  dhc_release(&held);
  dhc_envs_close(envs);
  if (st.code != DHC_OK) return st;
  double mean = 0, length = 0, squares = 0;
  for (int64_t i = 0; i < s.n; i++) mean += s.score[i] / (double)s.n, length += s.length[i] / (double)s.n;
  for (int64_t i = 0; i < s.n; i++) squares += (s.score[i] - mean) * (s.score[i] - mean);
  out->eval_return = mean;
  out->eval_length = length;
  out->eval_deviation = s.n > 1 ? sqrt(squares / (double)(s.n - 1)) : NAN;
  out->eval_episodes = s.n;
  return carried_put(r);
}
