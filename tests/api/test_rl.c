/* Updates of proximal policy optimisation: what `dhcc rl` makes of a rollout against PyTorch in float64 (ppo_reference.py):
 * advantages, parts of the loss, gradients, clipping, Adam, where a rollout's updates end, statistics of observations. And a
 * policy gives the same numbers on single steps, which a rollout is made of, as on sequences, which are learned from.
 *
 *   test_rl PPO_REFERENCE.json SIZES_ENV.so */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

#include "api/rl/rl.h"

static int fails;

static void must(dhc_status st, const char *what) {
  if (st.code == DHC_OK) return;
  printf("FAILED: %s: %s\n", what, st.message);
  exit(1);
}

static const cJSON *part(const cJSON *of, const char *name) {
  const cJSON *x = cJSON_GetObjectItemCaseSensitive(of, name);
  if (x) return x;
  printf("FAILED: the reference has no %s\n", name);
  exit(1);
}

static int64_t floats_of(const cJSON *list, float *to) {
  int64_t n = 0;
  for (const cJSON *x = list->child; x; x = x->next) to[n++] = (float)x->valuedouble;
  return n;
}

static void bools_of(const cJSON *list, bool *to) {
  for (const cJSON *x = list->child; x; x = x->next) *to++ = cJSON_IsTrue(x);
}

/* ---- against PyTorch ----------------------------------------------------------------------- */

/* Sums of up to 16 float32 terms, a few hundred operations one after another. */
static const double tolerance = 2e-5;

static void compare(const char *of, const char *what, int64_t i, double got, double want) {
  if (fabs(got - want) <= tolerance * (1 + fabs(want))) return;
  printf("FAILED: %s: %s[%lld] is %.9g, PyTorch has %.9g\n", of, what, (long long)i, got, want);
  fails++;
}

static void compare_all(const char *of, const char *what, const float *got, const cJSON *want) {
  int64_t i = 0;
  for (const cJSON *x = want->child; x; x = x->next, i++) compare(of, what, i, (double)got[i], x->valuedouble);
}

static void set_weight(Rl *r, const cJSON *w) {
  float values[64];
  const cJSON *shape = cJSON_GetArrayItem(w, 0);
  dhc_tensor t = {.name = w->string, .dtype = DHC_F32, .rank = cJSON_GetArraySize(shape), .data = values};
  for (int i = 0; i < t.rank; i++) t.dim[i] = (int64_t)cJSON_GetArrayItem(shape, i)->valuedouble;
  (void)floats_of(cJSON_GetArrayItem(w, 1), values);
  must(dhc_program_set(r->p, &t), w->string);
}

static void set_buffer(Rl *r, const char *name, const cJSON *list) {
  float values[16];
  dhc_tensor t = {.name = name, .dtype = DHC_F32, .rank = 1, .data = values};
  t.dim[0] = floats_of(list, values);
  must(dhc_program_set(r->p, &t), name);
}

/* The rollout of the reference, as if it had been made here. */
static void take_rollout(Rl *r, const cJSON *from) {
  (void)floats_of(part(from, "obs"), r->obs);
  (void)floats_of(part(from, "action"), r->action);
  (void)floats_of(part(from, "logp"), r->logp);
  (void)floats_of(part(from, "cut_obs"), r->cut_obs);
  bools_of(part(from, "reset"), r->reset);
  bools_of(part(from, "ends"), r->ends);
  int64_t i = 0;
  for (const cJSON *x = part(from, "reward")->child; x; x = x->next) r->reward[i++] = x->valuedouble;
  for (const cJSON *x = part(from, "cut_at")->child; x; x = x->next) r->cut_at[r->n_cut++] = (int64_t)x->valuedouble;
  double *next = DHC_NEW_N(&r->arena, double, r->n * r->n_obs);
  i = 0;
  for (const cJSON *x = part(from, "next")->child; x; x = x->next) next[i++] = x->valuedouble;
  r->now.observation = next;
  if (r->n_carried != 1) {
    printf("FAILED: the policy has %d states\n", r->n_carried);
    exit(1);
  }
  (void)floats_of(part(from, "state"), (float *)(void *)r->carried[0].begin);
}

static dhc_model *open_model(dhc_session *s, const char *policy, const char *const *sets, int n, const char *env) {
  dhc_model *m;
  const dhc_model_options o = {.name = policy, .sets = sets, .n_sets = n};
  must(dhc_rl_model(s, &o, env, NULL, &m), "a model");
  return m;
}

static void compare_case(Rl *r, const char *of, const cJSON *c) {
  compare_all(of, "advantage", r->advantage, part(c, "advantage"));
  compare_all(of, "returns", r->returns, part(c, "returns"));
  compare(of, "updates", 0, (double)r->updates, part(c, "updates")->valuedouble);
  const double got[] = {r->pr.policy_loss, r->pr.value_loss, r->pr.entropy, r->pr.kl, r->pr.clipped, r->pr.grad_norm};
  int64_t i = 0;
  for (const cJSON *x = part(c, "progress")->child; x; x = x->next, i++) compare(of, x->string, 0, got[i], x->valuedouble);
  compare(of, "explained_variance", 0, r->pr.explained_variance, part(c, "explained_variance")->valuedouble);
  dhc_tensor t;
  for (const cJSON *x = part(c, "weights")->child; x; x = x->next) {
    must(dhc_program_get(r->p, x->string, &t), x->string);
    compare_all(of, x->string, t.data, x);
  }
  static const char *const buffer[] = {RL_MEAN, RL_SCALE};
  for (int k = 0; k < 2; k++) {
    must(dhc_program_get(r->p, buffer[k], &t), buffer[k]);
    compare_all(of, buffer[k], t.data, part(c, buffer[k]));
  }
}

static void update(dhc_session *s, const cJSON *reference, const cJSON *c, const char *env) {
  const char *sets[32];
  char of[200] = "";
  int n = 0;
  for (const cJSON *x = part(reference, "sets")->child; x; x = x->next) sets[n++] = x->valuestring;
  for (const cJSON *x = part(c, "sets")->child; x; x = x->next) {
    sets[n++] = x->valuestring;
    snprintf(of + strlen(of), sizeof of - strlen(of), "%s ", x->valuestring);
  }
  dhc_model *m = open_model(s, "rl_ssm_policy", sets, n, env);
  const dhc_rl_options o = {.env = env, .steps = 1};
  Rl r;
  must(rl_open(&r, m, &o), "rl_open");
  for (const cJSON *x = part(reference, "weights")->child; x; x = x->next) set_weight(&r, x);
  set_buffer(&r, RL_MEAN, part(reference, RL_MEAN));
  set_buffer(&r, RL_SCALE, part(reference, RL_SCALE));
  take_rollout(&r, part(reference, "rollout"));
  must(rl_learn(&r), "rl_learn");
  compare_case(&r, of, c);
  dhc_release(&r.held);
  rl_close(&r);
  dhc_model_close(m);
}

static cJSON *read_json(const char *path) {
  FILE *f = fopen(path, "rb");
  static char text[1 << 20];
  size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
  if (f) fclose(f);
  text[n] = 0;
  cJSON *doc = cJSON_Parse(text);
  if (!doc) {
    printf("FAILED: %s cannot be read\n", path);
    exit(1);
  }
  return doc;
}

/* ---- steps and sequences ------------------------------------------------------------------------- */

/* Before anything is learned an update finds the probabilities that were acted with: with so narrow a clip range their ratio
 * says so step by step. Episodes of Pendulum end after 200 steps, so within a sequence of 3. */
static void steps_and_sequences(dhc_session *s, const char *policy, const char *const *own, int n_own) {
  const char *sets[16] = {"envs=3", "horizon=48", "sequence=3", "batch=144", "epochs=1", "clip_range=2e-5"};
  int n = 6;
  for (int i = 0; i < n_own; i++) sets[n++] = own[i];
  dhc_model *m = open_model(s, policy, sets, n, "pendulum");
  const dhc_rl_options o = {.env = "pendulum", .steps = 5 * 3 * 48};
  Rl r;
  int began = 0;
  must(rl_open(&r, m, &o), "rl_open");
  for (; r.rollouts < r.total; r.rollouts++) {
    must(rl_rollout(&r), "rl_rollout");
    for (int64_t i = 0; i < r.n * r.horizon; i++) began += r.reset[i] && i % r.length;
    must(rl_learn(&r), "rl_learn");
    if (r.pr.clipped == 0) continue;
    printf("FAILED: %s: rollout %lld: %g of the steps have another probability in a sequence\n", policy, (long long)r.rollouts, r.pr.clipped);
    fails++;
  }
  if (!began) {
    printf("FAILED: %s: no episode began within a sequence\n", policy);
    fails++;
  }
  dhc_release(&r.held);
  rl_close(&r);
  dhc_model_close(m);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  cJSON *reference = read_json(argv[1]);
  dhc_session *s;
  const dhc_session_options o = {.threads = 1};
  must(dhc_session_open(&o, &s), "a session");
  for (const cJSON *c = part(reference, "cases")->child; c; c = c->next) update(s, reference, c, argv[2]);
  static const char *const ssm[] = {"hidden_dim=8", "state_dim=4"};
  static const char *const jamba[] = {"hidden_dim=8", "num_heads=2", "num_layers=2", "mamba_ratio=1", "window=8"};
  steps_and_sequences(s, "rl_ssm_policy", ssm, 2);
  steps_and_sequences(s, "rl_policy", jamba, 5);
  dhc_session_close(s);
  cJSON_Delete(reference);
  puts(fails ? "failed" : "ok");
  return fails != 0;
}
