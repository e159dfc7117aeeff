/* Reinforcement learning by proximal policy optimisation (Schulman et al., 2017): setting up, and the loop of rollouts and
 * updates. */
#include <math.h>
#include <stdlib.h>

#include "api/rl/rl.h"

/* ---- setting up --------------------------------------------------------------------------- */

static bool has_buffer(const Rl *r, const char *path) {
  for (int i = 0; i < dhc_model_n_tensors(r->m); i++) {
    dhc_tensor_info t = dhc_model_tensor(r->m, i);
    if (!strcmp(t.path, path)) return !strcmp(t.role, "buffer") && t.rank == 1 && t.dim[0] == r->n_obs;
  }
  return false;
}

static bool has_form(const Rl *r, const char *entry) {
  const DhcEntryRequest q = {.name = entry, .form = DHC_FORM_STREAM, .all_inputs = true, .may_lack = true};
  return dhc_model_entry(r->m->m, &q) != NULL;
}

static dhc_status open_entries(Rl *r) {
  r->recurrent = has_form(r, "act");
  if (r->recurrent != has_form(r, "update"))
    return dhc_status_make(DHC_E_INPUT, "model %s: entries 'act' and 'update' must carry the same states (docs/rl.md)", r->m->name);
  DHC_TRY(dhc_program_open(r->m, r->recurrent ? "update.stream" : "update", DHC_MODE_TRAIN, &r->p));
  DHC_TRY(dhc_program_add(r->p, r->recurrent ? "act.stream" : "act", DHC_MODE_RUN, &r->act));
  DHC_TRY(dhc_program_add(r->p, "value", DHC_MODE_RUN, &r->value));
  return dhc_program_init(r->p, r->o->seed);
}

/* The reference interpreter keeps numbers of another size. */
static dhc_status check_backend(const dhc_model *m) {
  if (strcmp(m->s->backend, "interp")) return dhc_status_ok();
  return dhc_status_make(DHC_E_USAGE, "--backend interp: reinforcement learning runs on cpu and cuda");
}

static dhc_status check_sizes(const Rl *r) {
  if (r->horizon % r->length)
    return dhc_status_make(DHC_E_INPUT, "recipe: sequence = %lld does not divide horizon = %lld", (long long)r->length, (long long)r->horizon);
  return dhc_status_ok();
}

static void read_recipe(Rl *r) {
  const DhcRollout *c = &r->recipe->rollout;
  r->n = (int64_t)c->envs;
  r->horizon = (int64_t)c->horizon;
  r->length = (int64_t)c->sequence;
  r->gamma = c->gamma;
  r->lambda = c->gae_lambda;
  r->normalize_reward = c->normalize_reward != 0;
  int64_t sequences = r->recipe->batch / r->length;
  r->batch = sequences < 1 ? 1 : sequences;
  int64_t each = r->n * r->horizon;
  r->total = (r->o->steps + each - 1) / each;
}

static Running running(Rl *r, int64_t n) {
  return (Running){(int)n, 0, DHC_NEW_N(&r->arena, double, n), DHC_NEW_N(&r->arena, double, n)};
}

static void allocate(Rl *r) {
  DhcArena *a = &r->arena;
  int64_t n = r->n, all = n * r->horizon, of_batch = r->batch * r->length;
  r->seen = DHC_NEW_N(a, float, n * r->n_obs);
  r->noise = DHC_NEW_N(a, float, n * r->n_act);
  r->begins = DHC_NEW_N(a, bool, n);
  r->obs = DHC_NEW_N(a, float, all * r->n_obs);
  r->action = DHC_NEW_N(a, float, all * r->n_act);
  float **rows[] = {&r->logp, &r->values, &r->advantage, &r->returns};
  for (int i = 0; i < 4; i++) *rows[i] = DHC_NEW_N(a, float, all);
  r->reset = DHC_NEW_N(a, bool, all);
  r->ends = DHC_NEW_N(a, bool, all);
  r->reward = DHC_NEW_N(a, double, all);
  r->cut_room = all;
  r->cut_at = DHC_NEW_N(a, int64_t, all);
  r->cut_obs = DHC_NEW_N(a, float, all * r->n_obs);
  r->order = DHC_NEW_N(a, int64_t, all / r->length);
  const int64_t width[] = {r->n_obs, r->n_act, 1, 1, 1, 1};
  for (int i = 0; i < 6; i++) r->batch_of[i] = DHC_NEW_N(a, float, of_batch * width[i]);
  r->batch_reset = DHC_NEW_N(a, bool, of_batch);
  r->seen_rows = DHC_NEW_N(a, double, all * r->n_obs);
  r->seen_stats = running(r, r->n_obs);
  r->return_stats = running(r, 1);
  r->discounted = DHC_NEW_N(a, double, n);
}

/* The states are there once an entry has run; every episode begins them anew. */
static dhc_status meet_states(Rl *r) {
  const float *action, *logp;
  for (int64_t e = 0; e < r->n; e++) r->begins[e] = true;
  DHC_TRY(rl_act(r, r->seen, r->begins, r->noise, r->n, &action, &logp));
  DHC_TRY(carried_open(r));
  return carried_take(r);
}

dhc_status rl_open(Rl *r, dhc_model *m, const dhc_rl_options *o) {
  *r = (Rl){.m = m, .o = o, .recipe = dhc_model_recipe(m->m), .seed = (uint32_t)o->seed, .folder = {.fd = -1}};
  dhc_arena_init(&r->arena);
  dhc_hold(&r->held, rl_close, r);
  r->pr.mean_return = r->pr.mean_length = NAN;
  DHC_TRY(check_backend(m));
  read_recipe(r);
  DHC_TRY(check_sizes(r));
  DHC_TRY(dhc_envs_open(&(DhcEnvAsk){o->env, o->assets, o->env_sets, o->n_env_sets}, (int32_t)r->n, r->seed, &r->envs));
  r->n_obs = dhc_envs_info(r->envs)->n_observations;
  r->n_act = dhc_envs_info(r->envs)->n_actions;
  allocate(r);
  r->normalize_obs = r->recipe->rollout.normalize_obs != 0 && has_buffer(r, RL_MEAN) && has_buffer(r, RL_SCALE);
  DHC_TRY(open_entries(r));
  dhc_envs_reset(r->envs, &r->now);
  return meet_states(r);
}

void rl_close(void *run) {
  Rl *r = run;
  if (r->log) dhc_metrics_close(r->log);
  dhc_program_close(r->p);
  dhc_envs_close(r->envs);
  dhc_run_folder_close(&r->folder);
  dhc_arena_fini(&r->arena);
}

/* ---- the loop --------------------------------------------------------------------------------- */

static double mean_of(const double *x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += x[i];
  return n ? sum / (double)n : NAN;
}

static dhc_status report(Rl *r, double began, int64_t first) {
  dhc_rl_progress *p = &r->pr;
  int64_t each = r->n * r->horizon, n = r->episodes < RL_RECENT ? r->episodes : RL_RECENT;
  p->rollouts = r->rollouts;
  p->steps = r->rollouts * each;
  p->of = r->total * each;
  p->episodes = r->episodes;
  p->mean_return = mean_of(r->recent, n);
  p->mean_length = mean_of(r->recent_length, n);
  p->seconds = (session_now_ms() - began) / 1e3;
  p->steps_per_s = (double)((r->rollouts - first) * each) / p->seconds;
  p->eta_seconds = (double)(p->of - p->steps) / p->steps_per_s;
  DHC_TRY(keep_row(r));
  if (r->o->progress && !r->o->progress(r->o->ctx, p)) return dhc_status_make(DHC_E_INTERRUPTED, "stopped at step %lld", (long long)p->steps);
  return dhc_status_ok();
}

static dhc_status loop(Rl *r) {
  double began = session_now_ms();
  int64_t first = r->rollouts, every = r->o->save_every ? r->o->save_every : 10;
  while (r->rollouts < r->total) {
    if (dhc_stop_signal()) return dhc_status_make(DHC_E_INTERRUPTED, "stopped at step %lld", (long long)(r->rollouts * r->n * r->horizon));
    dhc_stop_hold(); /* a rollout and what is learned from it are one: between two the state is whole */
    double rolls = session_now_ms();
    dhc_status st = rl_rollout(r);
    r->rollout_ms += session_now_ms() - rolls;
    if (st.code == DHC_OK) st = rl_learn(r);
    dhc_stop_release();
    if (st.code != DHC_OK) return st;
    r->rollouts++;
    DHC_TRY(report(r, began, first));
    if (r->rollouts % every == 0) DHC_TRY(keep_save(r, false));
  }
  return dhc_status_ok();
}

static dhc_status run(Rl *r, dhc_rl_result *out) {
  DHC_TRY(keep_open(r));
  int64_t first = r->rollouts;
  double began = session_now_ms();
  dhc_status st = loop(r);
  bool stop = st.code == DHC_E_INTERRUPTED;
  out->seconds = (session_now_ms() - began) / 1e3;
  out->steps = r->rollouts * r->n * r->horizon;
  out->steps_per_s = (double)((r->rollouts - first) * r->n * r->horizon) / out->seconds;
  out->rollout_steps_per_s = r->rollout_ms > 0 ? (double)((r->rollouts - first) * r->n * r->horizon) / (1e-3 * r->rollout_ms) : NAN;
  out->episodes = r->episodes;
  out->mean_return = mean_of(r->recent, r->episodes < RL_RECENT ? r->episodes : RL_RECENT);
  if (st.code != DHC_OK && !stop) return st;
  if (r->rollouts) DHC_TRY(keep_save(r, stop));
  if (r->rollouts) DHC_TRY(keep_end(r));
  if (stop && r->o->out && r->rollouts)
    return dhc_status_make(DHC_E_INTERRUPTED, "stopped at step %lld, checkpoint in %s; go on with --resume", (long long)out->steps, r->o->out);
  if (!stop && r->o->eval_episodes) DHC_TRY(rl_evaluate(r, r->o->eval_episodes, out));
  return st;
}

static dhc_status check_options(const dhc_rl_options *o) {
  if (o->steps < 1) return dhc_status_make(DHC_E_USAGE, "%lld steps are none", (long long)o->steps);
  if (o->seed > UINT32_MAX) return dhc_status_make(DHC_E_USAGE, "a seed has 32 bits here");
  return dhc_status_ok();
}

static void begin_result(dhc_rl_result *out) {
  *out = (dhc_rl_result){.mean_return = NAN, .eval_return = NAN, .eval_deviation = NAN, .eval_length = NAN, .rollout_steps_per_s = NAN};
}

dhc_status api_rl(dhc_model *m, const dhc_rl_options *o, dhc_rl_result *out) {
  NEED(out);
  begin_result(out);
  NEED(m);
  NEED(o);
  NEED(o->env);
  DHC_TRY(check_options(o));
  Rl r;
  dhc_status st = rl_open(&r, m, o);
  if (st.code == DHC_OK) st = run(&r, out);
  dhc_release(&r.held);
  rl_close(&r);
  return st;
}

dhc_status api_rl_evaluate(dhc_model *m, const char *weights, const dhc_rl_options *o, dhc_rl_result *out) {
  NEED(out);
  begin_result(out);
  NEED(m);
  NEED(o);
  NEED(o->env);
  NEED(weights);
  if (o->eval_episodes < 1) return dhc_status_make(DHC_E_USAGE, "%lld episodes are none", (long long)o->eval_episodes);
  Rl r;
  dhc_status st = rl_open(&r, m, o);
  if (st.code == DHC_OK) st = dhc_program_load(r.p, weights, false);
  if (st.code == DHC_OK) st = rl_evaluate(&r, o->eval_episodes, out);
  dhc_release(&r.held);
  rl_close(&r);
  return st;
}

const char *dhc_rl_environment(int i) {
  return dhc_env_shipped(i);
}
