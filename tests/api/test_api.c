/* A host program on dhc.h alone: opens a shipped model, runs it on both backends at two
 * batch sizes, trains a few steps by hand, and sees the loss fall. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dhc/dhc.h"

static int fails;

static bool good(dhc_status st, const char *what) {
  if (st.code == DHC_OK) return true;
  printf("FAILED: %s: %s\n", what, st.message);
  fails++;
  return false;
}

static void check(bool ok, const char *what) {
  if (ok) return;
  printf("FAILED: %s\n", what);
  fails++;
}

enum { MAX_BATCH = 7, PIXELS = 784 };

typedef struct Batch {
  float image[MAX_BATCH * PIXELS];
  int64_t target[MAX_BATCH];
  dhc_tensor in[2];
} Batch;

static void make_batch(Batch *b, int64_t n) {
  for (int64_t i = 0; i < n * PIXELS; i++) b->image[i] = (float)((i * 7919) % 1000) / 1000 - 0.5f;
  for (int64_t i = 0; i < n; i++) b->target[i] = i % 10;
  b->in[0] = (dhc_tensor){.name = "image", .dtype = DHC_F32, .rank = 4, .dim = {n, 1, 28, 28}, .data = b->image};
  b->in[1] = (dhc_tensor){.name = "target", .dtype = DHC_I64, .rank = 1, .dim = {n}, .data = b->target};
}

static double value(const dhc_tensor *t, int64_t i) {
  return t->dtype == DHC_F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
}

static bool open_model(const char *backend, dhc_session **s, dhc_model **m) {
  const char *sets[] = {"hidden=33", "depth=2"};
  if (!good(dhc_session_open(&(dhc_session_options){.backend = backend, .threads = 2}, s), "session")) return false;
  dhc_model_options o = {.name = "mlp", .sets = sets, .n_sets = 2};
  if (good(dhc_model_open(*s, &o, m), "model")) return true;
  dhc_session_print_diagnostics(*s, stdout, false);
  return false;
}

/* Loss of both batch sizes with weights of one seed. */
static void losses(const char *backend, double loss[2]) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  dhc_program *p = NULL;
  static Batch b;
  loss[0] = loss[1] = NAN;
  if (open_model(backend, &s, &m) && good(dhc_program_open(m, "loss", DHC_MODE_RUN, &p), "program") &&
      good(dhc_program_init(p, 5), "init")) {
    for (int k = 0; k < 2; k++) {
      const dhc_tensor *res;
      int n;
      make_batch(&b, k ? MAX_BATCH : 1);
      if (good(dhc_program_run(p, 0, b.in, 2, &res, &n), "run")) loss[k] = value(&res[0], 0);
    }
  }
  dhc_program_close(p);
  dhc_model_close(m);
  dhc_session_close(s);
}

static void train_by_hand(void) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  dhc_program *p = NULL;
  static Batch b;
  if (open_model(NULL, &s, &m) && good(dhc_program_open(m, "loss", DHC_MODE_TRAIN, &p), "program") &&
      good(dhc_program_init(p, 1), "init")) {
    double first = NAN, last = NAN;
    make_batch(&b, MAX_BATCH);
    for (int step = 0; step < 30; step++) {
      const dhc_tensor *res;
      int n;
      good(dhc_program_set_scalar(p, "$opt_step", step + 1), "set_scalar");
      good(dhc_program_set_scalar(p, "$step", step), "set_scalar");
      if (!good(dhc_program_run(p, 0, b.in, 2, &res, &n), "step")) break;
      last = value(&res[0], 0);
      if (step == 0) first = last;
    }
    check(last < first, "the loss falls");
    dhc_memory mem = dhc_program_memory(p, 0);
    check(mem.planned == mem.allocated, "planned memory is what is allocated");
    int compiled = dhc_session_stats(s).kernels_compiled;
    make_batch(&b, 3);
    good(dhc_program_run(p, 0, b.in, 2, NULL, NULL), "another batch size");
    check(dhc_session_stats(s).kernels_compiled == compiled, "another batch size compiles nothing");
    dhc_tensor w;
    good(dhc_program_get(p, "head.weight", &w), "get");
    check(w.rank == 2 && w.dim[0] == 10 && w.dim[1] == 33, "shape of head.weight");
    check(dhc_program_get(p, "head.wieght", &w).code == DHC_E_INPUT, "a wrong path is refused");
  }
  dhc_program_close(p);
  dhc_model_close(m);
  dhc_session_close(s);
}

#ifdef TEST_LLVM
static const bool interpreted = false;
#else
static const bool interpreted = true;
#endif

/* What is said before a run is what the run then takes. */
static void costs_are_those_of_runs(void) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  dhc_program *p = NULL, *t = NULL;
  dhc_costs c;
  static Batch b;
  make_batch(&b, MAX_BATCH);
  char sizes[16];
  snprintf(sizes, sizeof sizes, "B=%d", MAX_BATCH);
  const dhc_costs_options o = {.entry = "loss", .sizes = sizes};
  if (open_model(NULL, &s, &m) && good(dhc_model_costs(m, &o, &c), "costs") &&
      good(dhc_program_open(m, "loss", DHC_MODE_RUN, &p), "program") && good(dhc_program_init(p, 1), "init") &&
      good(dhc_program_open(m, "loss", DHC_MODE_TRAIN, &t), "program") && good(dhc_program_init(t, 1), "init")) {
    check(dhc_session_stats(s).kernels_compiled == 0, "costs compile nothing");
    good(dhc_program_run(p, 0, b.in, 2, NULL, NULL), "run");
    good(dhc_program_run(t, 0, b.in, 2, NULL, NULL), "step");
    dhc_memory run = dhc_program_memory(p, 0), step = dhc_program_memory(t, 0);
    check(c.flops_train > 2 * c.flops && c.flops_example * (double)MAX_BATCH == c.flops, "operations");
    check(interpreted == (c.kernels != c.kernels), "where entries are interpreted, and only there, nothing is known of plans");
    if (interpreted) goto done;
    check(c.activation_bytes == (double)run.work && c.workspace_bytes == (double)(run.work + run.scratch), "activations of a run");
    check(c.planned_bytes == (double)run.planned, "memory of a run");
    check(c.activation_train_bytes == (double)step.work && c.planned_train_bytes == (double)step.planned, "memory of a step");
    check(c.kernels == dhc_program_n_kernels(p, 0) && c.calls_train == dhc_program_n_calls(t, 0), "kernels and calls");
    check(good(dhc_model_costs(m, &o, &c), "costs") && c.kernels_shared == c.kernels && c.kernels_train_shared == c.kernels_train,
          "every kernel is there now");
  }
done:
  dhc_program_close(p);
  dhc_program_close(t);
  dhc_model_close(m);
  dhc_session_close(s);
}

static void refusals(void) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  if (!good(dhc_session_open(NULL, &s), "session")) return;
  dhc_status st = dhc_model_open(s, &(dhc_model_options){.name = "no_such_model"}, &m);
  check(st.code != DHC_OK && !m, "an unknown model is refused");
  dhc_session_close(s);
}

/* What only the caller of the API can get wrong. */
static void wrong_calls(dhc_model *m) {
  dhc_program *p = NULL;
  static Batch b;
  make_batch(&b, 2);
  if (good(dhc_program_open(m, "forward", DHC_MODE_GRAD, &p), "program") && good(dhc_program_init(p, 1), "init")) {
    static float dy[20];
    const char *name = "cotangent.logits";
    dhc_tensor in[2] = {b.in[0], {.name = name, .dtype = DHC_F32, .rank = 0, .data = dy}};
    check(dhc_program_run(p, 0, in, 2, NULL, NULL).code == DHC_E_INPUT, "a cotangent of another rank, at the first run");
    in[1] = (dhc_tensor){.name = name, .dtype = DHC_F32, .rank = 2, .dim = {2, 10}, .data = dy};
    good(dhc_program_run(p, 0, in, 2, NULL, NULL), "a cotangent");
    in[1].rank = 1;
    check(dhc_program_run(p, 0, in, 2, NULL, NULL).code == DHC_E_INPUT, "a cotangent of another rank");
  }
  dhc_program_close(p);
  const int64_t token = 0;
  dhc_generate_result r;
  dhc_generate_options o = {.prompt = &token, .n_prompt = 1, .n_tokens = 1};
  check(dhc_generate(m, &o, &r).code == DHC_E_INPUT, "a model of images does not generate");
  o.temperature = -1;
  check(dhc_generate(m, &o, &r).code == DHC_E_USAGE, "a negative temperature is refused");
  o.temperature = NAN;
  check(dhc_generate(m, &o, &r).code == DHC_E_USAGE, "a temperature that is no number is refused");
  o.n_prompt = 0;
  check(dhc_generate(m, &o, &r).code == DHC_E_USAGE, "an empty prompt is refused");
}

/* An input that may be left out, misspelt. */
static void wrong_name(dhc_session *s) {
  dhc_model *m = NULL;
  dhc_program *p = NULL;
  const char *sets[] = {"obs=5", "hidden_dim=8"};
  dhc_model_options o = {.name = "rl_policy", .sets = sets, .n_sets = 2};
  if (good(dhc_model_open(s, &o, &m), "policy") && good(dhc_program_open(m, "sequence", DHC_MODE_RUN, &p), "program") &&
      good(dhc_program_init(p, 1), "init")) {
    static float x[30];
    static uint8_t reset[6];
    dhc_tensor in[2] = {{.name = "obs_seq", .dtype = DHC_F32, .rank = 3, .dim = {2, 3, 5}, .data = x},
                        {.name = "rest", .dtype = DHC_BOOL, .rank = 2, .dim = {2, 3}, .data = reset}};
    dhc_status st = dhc_program_run(p, 0, in, 2, NULL, NULL);
    check(st.code == DHC_E_INPUT && strstr(st.message, "did you mean 'reset'"), "a misspelt input is refused");
    in[1].name = "reset";
    good(dhc_program_run(p, 0, in, 2, NULL, NULL), "reset");
    in[1].name = "something else";
    good(dhc_program_run(p, 0, in, 2, NULL, NULL), "an input of no entry is ignored");
  }
  dhc_program_close(p);
  dhc_model_close(m);
}

static void refusals_of_runs(void) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  if (open_model("interp", &s, &m)) {
    wrong_calls(m);
    wrong_name(s);
  }
  dhc_model_close(m);
  dhc_session_close(s);
}

int main(void) {
  double ref[2], cpu[2];
  losses("interp", ref);
  losses(NULL, cpu);
  for (int k = 0; k < 2; k++)
    if (!(fabs(ref[k] - cpu[k]) <= 1e-5 * fabs(ref[k]))) {
      printf("FAILED: loss %.9g, reference %.9g\n", cpu[k], ref[k]);
      fails++;
    }
  train_by_hand();
  costs_are_those_of_runs();
  refusals();
  refusals_of_runs();
  if (!fails) printf("ok\n");
  return fails != 0;
}
