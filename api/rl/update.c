/* What a rollout teaches: advantages by generalised advantage estimation (Schulman et al., 2016), then steps of the optimiser
 * over shuffled sequences. */
#include <math.h>

#include "api/rl/rl.h"

enum { ORDER_SITE = 0x6f726465 };

static dhc_status values_of(Rl *r, const float *obs, int64_t n, const float **out) {
  const dhc_tensor in = {.name = "obs", .dtype = DHC_F32, .rank = 2, .dim = {n, r->n_obs}, .data = (void *)obs};
  const dhc_tensor *all;
  int n_all;
  DHC_TRY(dhc_program_run(r->p, r->value, &in, 1, &all, &n_all));
  const dhc_tensor *v = result_named(all, n_all, "value");
  if (!v || v->dtype != DHC_F32 || v->rank != 1) return dhc_status_make(DHC_E_INPUT, "entry 'value' must give value: [B] (docs/rl.md)");
  *out = v->data;
  return dhc_status_ok();
}

/* An episode that was truncated would have gone on: what it was still worth is part of its last reward. */
static dhc_status complete(Rl *r) {
  const float *v;
  if (!r->n_cut) return dhc_status_ok();
  DHC_TRY(values_of(r, r->cut_obs, r->n_cut, &v));
  for (int64_t i = 0; i < r->n_cut; i++) r->reward[r->cut_at[i]] += r->gamma * (double)v[i];
  return dhc_status_ok();
}

static dhc_status advantages(Rl *r) {
  const float *v;
  int64_t all = r->n * r->horizon;
  DHC_TRY(values_of(r, r->obs, all, &v));
  memcpy(r->values, v, sizeof *v * (size_t)all);
  DHC_TRY(complete(r));
  rl_observe(r, r->now.observation, r->n, r->seen);
  DHC_TRY(values_of(r, r->seen, r->n, &v));
  for (int64_t e = 0; e < r->n; e++) {
    double next = (double)v[e], sum = 0;
    for (int64_t t = r->horizon - 1; t >= 0; t--) {
      int64_t at = e * r->horizon + t;
      double goes_on = r->ends[at] ? 0 : r->gamma, value = (double)r->values[at];
      sum = r->reward[at] + goes_on * next - value + goes_on * r->lambda * sum;
      r->advantage[at] = (float)sum;
      r->returns[at] = (float)(sum + value);
      next = value;
    }
  }
  return dhc_status_ok();
}

static double explained(const Rl *r) {
  double mean = 0, all = 0, rest_mean = 0, rest = 0;
  int64_t n = r->n * r->horizon;
  for (int64_t i = 0; i < n; i++) mean += (double)r->returns[i] / (double)n, rest_mean += (double)(r->returns[i] - r->values[i]) / (double)n;
  for (int64_t i = 0; i < n; i++) {
    double a = (double)r->returns[i] - mean, b = (double)(r->returns[i] - r->values[i]) - rest_mean;
    all += a * a;
    rest += b * b;
  }
  return all > 0 ? 1 - rest / all : NAN;
}

/* Fisher and Yates. */
static void shuffle(Rl *r, int64_t n, uint64_t epoch) {
  for (int64_t i = 0; i < n; i++) r->order[i] = i;
  for (int64_t i = n - 1; i > 0; i--) {
    int64_t k = (int64_t)dhc_rng_below(r->seed, ORDER_SITE, (uint64_t)i, epoch, (uint64_t)i + 1), kept = r->order[i];
    r->order[i] = r->order[k];
    r->order[k] = kept;
  }
}

static void gather(float *to, const float *from, const int64_t *sequences, int64_t n, int64_t each) {
  for (int64_t k = 0; k < n; k++) memcpy(to + k * each, from + sequences[k] * each, sizeof *to * (size_t)each);
}

static dhc_tensor batch_input(const char *name, const void *data, int64_t n, int64_t length, int64_t width) {
  return (dhc_tensor){.name = name, .dtype = DHC_F32, .rank = width ? 3 : 2, .dim = {n, length, width}, .data = (void *)data};
}

typedef struct Sums {
  double policy, value, entropy, kl, clipped, norm;
  int64_t n;
} Sums;

static double number(const Stepped *s, const char *name) {
  return scalar_result(s->results, s->n_results, name);
}

/* One step of the optimiser over n sequences; *kl of it. */
static dhc_status step(Rl *r, const int64_t *sequences, int64_t n, Sums *sums, double *kl) {
  int64_t l = r->length;
  const struct {
    const char *name;
    const float *from;
    int64_t width;
  } field[] = {{"obs", r->obs, r->n_obs}, {"action", r->action, r->n_act}, {"logp", r->logp, 0},
               {"value", r->values, 0},   {"advantage", r->advantage, 0},  {"returns", r->returns, 0}};
  enum { N_FIELDS = sizeof field / sizeof field[0] };
  dhc_tensor in[N_FIELDS + 1];
  for (int i = 0; i < N_FIELDS; i++) {
    gather(r->batch_of[i], field[i].from, sequences, n, l * (field[i].width ? field[i].width : 1));
    in[i] = batch_input(field[i].name, r->batch_of[i], n, l, field[i].width);
  }
  for (int64_t k = 0; k < n; k++) memcpy(r->batch_reset + k * l, r->reset + sequences[k] * l, sizeof *r->reset * (size_t)l);
  in[N_FIELDS] = (dhc_tensor){.name = "reset", .dtype = DHC_BOOL, .rank = 2, .dim = {n, l}, .data = r->batch_reset};
  DHC_TRY(carried_gather(r, sequences, n));
  Stepped s;
  const StepAt at = {.step = r->updates, .age = r->updates + 1, .lr = r->pr.lr, .seed = r->seed};
  DHC_TRY(stepper_run(r->p, r->update, &at, in, NULL, N_FIELDS + 1, &s));
  if (!s.finite) return dhc_status_make(DHC_E_NUMERIC, "update %lld: loss %g or a gradient is not finite", (long long)r->updates, s.loss);
  r->updates++;
  *kl = number(&s, "kl");
  sums->policy += number(&s, "policy_loss");
  sums->value += number(&s, "value_loss");
  sums->entropy += number(&s, "entropy");
  sums->clipped += number(&s, "clipped");
  sums->norm += s.grad_norm;
  sums->kl += *kl;
  sums->n++;
  return dhc_status_ok();
}

dhc_status rl_learn(Rl *r) {
  DHC_TRY(advantages(r));
  r->pr.explained_variance = explained(r);
  r->pr.lr = dhc_recipe_lr(r->recipe, r->rollouts, r->total);
  int64_t sequences = r->n * (r->horizon / r->length);
  Sums sums = {0};
  bool far = false;
  for (int64_t epoch = 0; epoch < r->recipe->epochs && !far; epoch++) {
    shuffle(r, sequences, (uint64_t)(r->rollouts * r->recipe->epochs + epoch));
    for (int64_t k = 0; k < sequences && !far; k += r->batch) {
      double kl = 0;
      DHC_TRY(step(r, r->order + k, sequences - k < r->batch ? sequences - k : r->batch, &sums, &kl));
      far = r->recipe->rollout.target_kl > 0 && kl > 1.5 * r->recipe->rollout.target_kl;
    }
  }
  double n = (double)sums.n;
  r->pr.policy_loss = sums.policy / n;
  r->pr.value_loss = sums.value / n;
  r->pr.entropy = sums.entropy / n;
  r->pr.kl = sums.kl / n;
  r->pr.clipped = sums.clipped / n;
  r->pr.grad_norm = sums.norm / n;
  DHC_TRY(rl_tell_statistics(r));
  return carried_put(r);
}
