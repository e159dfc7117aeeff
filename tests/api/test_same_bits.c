/* What may not decide any bit: passes switched off alone and all together, a limit on their
 * changes (of derivatives see compare_close and tests/passes/test_pass_limit.c), instructions that the target lacks. Shipped models and layers, outputs and gradients
 * and a training step, byte for byte.
 *
 *   test_same_bits passes|features [case] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dhc/dhc.h"

enum { MAX_SETS = 12, MAX_IN = 4 };

typedef struct Case {
  const char *name, *model, *root;
  const char *sets[MAX_SETS];
  const char *entry;
  dhc_mode mode;
  /* name, dtype (f: f32 in ±1, u: u8, i: i64 below 5, b: bool) and extents of each input */
  struct {
    const char *name;
    char dtype;
    int rank, dim[4];
  } in[MAX_IN];
} Case;

#define ATTENTION "layers/attention", "MultiHeadAttention"
#define JAMBA "num_layers=4", "mamba_ratio=1", "num_heads=2", "num_experts=3"
#define POLICY "obs=5", "hidden_dim=8", "num_layers=2", "num_heads=2", "mamba_ratio=1"
#define IMAGE {"image", 'f', 4, {2, 3, 16, 16}}
#define X(...) {{"x", 'f', __VA_ARGS__}}
#define X_RESET(...) {{"x", 'f', __VA_ARGS__}, {"reset", 'b', 2, {2, 9}}}
#define GRAD(...) {{"x", 'f', __VA_ARGS__}, {"cotangent.y", 'f', __VA_ARGS__}}
static const Case cases[] = {
    {"dhc_ssm", "dhc_ssm", NULL, {"hidden_dim=8"}, "loss", DHC_MODE_GRAD, {IMAGE, {"target", 'i', 1, {2}}}},
    {"dhc_ssm step", "dhc_ssm", NULL, {"hidden_dim=8"}, "loss", DHC_MODE_TRAIN, {IMAGE, {"target", 'i', 1, {2}}}},
    {"dhc_ssm run", "dhc_ssm", NULL, {"hidden_dim=8"}, "classify", DHC_MODE_RUN, {{"pixels", 'u', 4, {2, 3, 16, 16}}}},
    {"dhc_jamba", "dhc_jamba", NULL, {"hidden_dim=4", JAMBA}, "loss", DHC_MODE_GRAD, {IMAGE, {"target", 'i', 1, {2}}}},
    {"dhc_jamba step", "dhc_jamba", NULL, {"hidden_dim=4", JAMBA}, "loss", DHC_MODE_TRAIN, {IMAGE, {"target", 'i', 1, {2}}}},
    {"dhc_jamba run", "dhc_jamba", NULL, {"hidden_dim=4", JAMBA}, "forward", DHC_MODE_RUN, {IMAGE}},
    {"mlp", "mlp", NULL, {"channels=3", "height=16", "width=16"}, "loss", DHC_MODE_GRAD, {IMAGE, {"target", 'i', 1, {2}}}},
    {"lstm", "lstm", "LSTMClassifier", {"d_in=5", "hidden=6"}, "loss", DHC_MODE_GRAD,
     {{"image", 'f', 4, {2, 1, 9, 5}}, {"target", 'i', 1, {2}}}},
    {"lstm run", "lstm", "LSTM", {"d_in=5", "d=6"}, "forward", DHC_MODE_RUN, X_RESET(3, {2, 9, 5})},
    {"seq", "seq", NULL, {"vocabulary=7", "d_model=8", JAMBA, "d_state=4"}, "loss", DHC_MODE_GRAD,
     {{"tokens", 'i', 2, {2, 9}}, {"target", 'i', 2, {2, 9}}}},
    {"seq run", "seq", NULL, {"vocabulary=7", "d_model=8", JAMBA, "d_state=4"}, "forward", DHC_MODE_RUN, {{"tokens", 'i', 2, {2, 9}}}},
    {"policy", "rl_policy", NULL, {POLICY}, "loss", DHC_MODE_GRAD, {{"obs", 'f', 2, {3, 5}}, {"action", 'f', 2, {3, 2}}}},
    {"policy run", "rl_policy", NULL, {POLICY}, "forward", DHC_MODE_RUN, {{"obs", 'f', 2, {3, 5}}}},
    {"value", "rl_value", NULL, {POLICY}, "loss", DHC_MODE_GRAD, {{"obs", 'f', 2, {3, 5}}, {"returns", 'f', 2, {3, 1}}}},
    {"value run", "rl_value", NULL, {POLICY}, "forward", DHC_MODE_RUN, {{"obs", 'f', 2, {3, 5}}}},
    {"value episode", "rl_value", NULL, {POLICY}, "sequence", DHC_MODE_RUN, {{"obs_seq", 'f', 3, {2, 9, 5}}, {"reset", 'b', 2, {2, 9}}}},
    {"actor and critic", "rl_actor_critic", NULL, {POLICY}, "loss", DHC_MODE_GRAD,
     {{"obs", 'f', 2, {3, 5}}, {"target_action", 'f', 2, {3, 6}}, {"returns", 'f', 2, {3, 1}}}},
    {"ssm policy", "rl_ssm_policy", NULL, {"obs=5", "hidden_dim=8", "state_dim=6"}, "loss", DHC_MODE_GRAD,
     {{"obs", 'f', 3, {2, 9, 5}}, {"reset", 'b', 2, {2, 9}}, {"action", 'f', 3, {2, 9, 2}}}},
    {"attention", ATTENTION, {"d_model=8", "num_heads=2", "causal=true"}, "forward", DHC_MODE_GRAD, GRAD(3, {2, 9, 8})},
    {"grouped", ATTENTION, {"d_model=16", "num_heads=4", "num_kv_heads=2", "window=4", "causal=true"}, "forward", DHC_MODE_RUN, X_RESET(3, {2, 9, 16})},
    {"conv1d", "layers/mamba", "CausalDepthwiseConv1d", {"d=6"}, "forward", DHC_MODE_GRAD, GRAD(3, {2, 9, 6})},
    {"mamba", "layers/mamba", "Mamba", {"d_model=6", "d_state=5"}, "forward", DHC_MODE_GRAD, GRAD(3, {2, 70, 6})},
    {"mamba run", "layers/mamba", "Mamba", {"d_model=6", "d_state=5"}, "forward", DHC_MODE_RUN, X_RESET(3, {2, 9, 6})},
    {"mamba step", "layers/mamba", "Mamba", {"d_model=6", "d_state=5"}, "forward.step", DHC_MODE_RUN, X(3, {2, 1, 6})},
    {"moe", "layers/moe", "MoE", {"d_model=8", "num_experts=3"}, "forward", DHC_MODE_GRAD, GRAD(3, {2, 9, 8})},
    {"swiglu", "layers/ffn", "SwiGLU", {"d_model=8"}, "forward", DHC_MODE_GRAD, GRAD(2, {5, 8})},
    {"gelu", "layers/ffn", "GELUFeedForward", {"d_model=8"}, "forward", DHC_MODE_GRAD, GRAD(2, {5, 8})},
    {"rms norm", "layers/norm", "RMSNorm", {"d=20"}, "forward", DHC_MODE_GRAD, GRAD(2, {5, 20})},
    {"layer norm", "layers/norm", "LayerNorm", {"d=20"}, "forward", DHC_MODE_GRAD, GRAD(2, {5, 20})},
    {"batch norm", "layers/norm", "BatchNorm2d", {"channels=3"}, "forward", DHC_MODE_GRAD, GRAD(4, {2, 3, 8, 8})},
    {"conv tiles", "layers/conv", "Conv2d", {"in_channels=32", "out_channels=32", "padding=1"}, "forward", DHC_MODE_GRAD, GRAD(4, {2, 32, 5, 6})},
    {"conv", "layers/conv", "Conv2d", {"in_channels=3", "out_channels=3", "padding=1"}, "forward", DHC_MODE_GRAD, GRAD(4, {2, 3, 8, 8})},
    {"spatial", "layers/spatial_encoder", "SpatialEncoder", {"hidden=4"}, "forward", DHC_MODE_RUN, X(4, {2, 3, 16, 16})},
    {"temporal", "layers/temporal_ssm", "TemporalSSM", {"d=5", "state_dim=6"}, "sequence", DHC_MODE_GRAD, GRAD(3, {2, 9, 5})},
    {"embedding", "layers/embedding", "Embedding", {"n=7", "d=6"}, "forward", DHC_MODE_RUN, {{"tokens", 'i', 2, {2, 9}}}},
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

/* What a run leaves: all its results, and after a training step the weights. */
typedef struct Bytes {
  char *at;
  size_t n;
  struct {
    size_t at;
    int64_t floats;
  } part[400]; /* those of floats */
  int n_parts;
} Bytes;

static int fails;

static bool good(dhc_status st, dhc_session *s, const char *name, const char *what) {
  if (st.code == DHC_OK) return true;
  if (s) dhc_session_print_diagnostics(s, stdout, false);
  printf("FAILED: %s (%s): %s\n", name, what, st.message);
  fails++;
  return false;
}

static void put(Bytes *b, const void *p, int64_t n) {
  b->at = realloc(b->at, b->n + (size_t)n + 1);
  if (!b->at) abort();
  memcpy(b->at + b->n, p, (size_t)n);
  b->n += (size_t)n;
}

static void put_tensor(Bytes *b, const dhc_tensor *t) {
  if (t->dtype == DHC_F32 && b->n_parts < 400) {
    b->part[b->n_parts].at = b->n;
    b->part[b->n_parts++].floats = dhc_tensor_elements(t);
  }
  put(b, t->data, dhc_tensor_bytes(t));
}

static uint32_t next(uint32_t *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 8;
}

static int make_inputs(const Case *c, dhc_tensor *t) {
  uint32_t seed = 3;
  int n = 0;
  for (; n < MAX_IN && c->in[n].name; n++) {
    char d = c->in[n].dtype;
    t[n] = (dhc_tensor){.name = c->in[n].name, .dtype = d == 'f' ? DHC_F32 : d == 'u' ? DHC_U8 : d == 'i' ? DHC_I64 : DHC_BOOL,
                        .rank = c->in[n].rank};
    for (int i = 0; i < t[n].rank; i++) t[n].dim[i] = c->in[n].dim[i];
    int64_t m = dhc_tensor_elements(&t[n]);
    t[n].data = malloc((size_t)m * 8);
    if (!t[n].data) abort();
    for (int64_t i = 0; i < m; i++) {
      uint32_t r = next(&seed);
      if (d == 'f') ((float *)t[n].data)[i] = (float)(r % 20001) / 10000 - 1;
      else if (d == 'u') ((uint8_t *)t[n].data)[i] = (uint8_t)r;
      else if (d == 'i') ((int64_t *)t[n].data)[i] = r % 5;
      else ((uint8_t *)t[n].data)[i] = r % 4 == 0;
    }
  }
  return n;
}

static bool run_program(dhc_model *m, const Case *c, dhc_session *s, const char *what, Bytes *out) {
  dhc_program *p = NULL;
  const dhc_tensor *r;
  dhc_tensor in[MAX_IN];
  int n_r, n_in = make_inputs(c, in);
  bool ok = good(dhc_program_open(m, c->entry, c->mode, &p), s, c->name, what) && good(dhc_program_init(p, 1), s, c->name, what) &&
            good(dhc_program_run(p, 0, in, n_in, &r, &n_r), s, c->name, what);
  for (int i = 0; ok && i < n_r; i++) {
    put(out, r[i].name, (int64_t)strlen(r[i].name));
    put_tensor(out, &r[i]);
  }
  for (int i = 0; ok && c->mode == DHC_MODE_TRAIN && i < dhc_model_n_tensors(m); i++) {
    dhc_tensor_info info = dhc_model_tensor(m, i);
    if (strcmp(info.role, "param") && strcmp(info.role, "buffer")) continue;
    dhc_tensor t = {.name = info.path};
    ok = good(dhc_program_get(p, info.path, &t), s, c->name, what);
    if (ok) put_tensor(out, &t);
  }
  for (int i = 0; i < n_in; i++) free(in[i].data);
  dhc_program_close(p);
  return ok;
}

static bool run(const Case *c, const dhc_session_options *o, const char *what, Bytes *out) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  int n_sets = 0;
  while (n_sets < MAX_SETS && c->sets[n_sets]) n_sets++;
  *out = (Bytes){0};
  bool ok = good(dhc_session_open(o, &s), NULL, c->name, what) &&
            good(dhc_model_open(s, &(dhc_model_options){.name = c->model, .root = c->root, .sets = c->sets, .n_sets = n_sets}, &m), s, c->name, what) &&
            run_program(m, c, s, what, out);
  dhc_model_close(m);
  dhc_session_close(s);
  return ok && out->n;
}

static void compare(const Case *c, const Bytes *want, const dhc_session_options *o, const char *what) {
  Bytes got;
  if (run(c, o, what, &got) && (got.n != want->n || memcmp(got.at, want->at, want->n))) {
    size_t at = 0;
    while (at < got.n && at < want->n && got.at[at] == want->at[at]) at++;
    printf("FAILED: %s: %s: other bytes from %zu of %zu on\n", c->name, what, at, want->n);
    fails++;
  }
  free(got.at);
}

/* Of limits that cut off what is done before differentiation: cotangents add in another order. A step of the optimiser
 * is as large as the rate (0.01 at most) where a gradient is nothing but rounding. */
static void compare_close(const Case *c, const Bytes *want, const dhc_session_options *o, const char *what) {
  Bytes got;
  const float by = c->mode == DHC_MODE_TRAIN ? 2e-2f : 2e-4f;
  bool ran = run(c, o, what, &got), ok = ran && got.n == want->n && got.n_parts == want->n_parts;
  for (int p = 0; ok && p < want->n_parts; p++)
    for (int64_t i = 0; ok && i < want->part[p].floats; i++) {
      float x, y;
      memcpy(&x, want->at + want->part[p].at + 4 * (size_t)i, 4);
      memcpy(&y, got.at + want->part[p].at + 4 * (size_t)i, 4);
      ok = fabsf(x - y) <= by * (1 + fabsf(x));
      if (!ok) printf("FAILED: %s: %s: tensor %d at %d is %g, not %g\n", c->name, what, p, (int)i, (double)y, (double)x);
    }
  fails += ran && !ok;
  free(got.at);
}

int main(int argc, char **argv) {
  const char *off[] = { /* each alone, and in the last place all */
#define PASS(name, requires, establishes, breaks, optional, doc) optional ? #name : NULL,
#include "passes/passes.def"
      NULL};
  enum { N_OFF = sizeof off / sizeof *off };
  char all[300] = "";
  for (int k = 0; k < N_OFF - 1; k++)
    if (off[k]) snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", *all ? "," : "", off[k]);
  off[N_OFF - 1] = all;
  static const int limit[] = {-1, 1, 7, 40, 150}; /* -1: none */
  static const char *const features[] = {"-fma,-avx512f", "-avx"};
  bool passes = argc < 2 || strcmp(argv[1], "features") != 0;
  char what[120];
  for (int i = 0; i < N_CASES; i++) {
    const Case *c = &cases[i];
    Bytes want;
    if (argc > 2 && strcmp(argv[2], c->name)) continue;
    if (argc < 3 && getenv("DHC_SANITIZED") && i % 3) continue; /* bits are the same in any build */
    if (!run(c, &(dhc_session_options){.threads = 1}, "as it is", &want)) continue;
    for (size_t k = 0; passes && k < N_OFF; k++) {
      if (!off[k]) continue;
      snprintf(what, sizeof what, "without %s", off[k]);
      compare(c, &want, &(dhc_session_options){.threads = 1, .disable_passes = off[k]}, what);
    }
    for (size_t k = 0; passes && k < sizeof limit / sizeof *limit; k++) {
      snprintf(what, sizeof what, "pass limit %d", limit[k]);
      (c->mode == DHC_MODE_RUN ? compare : compare_close)(c, &want, &(dhc_session_options){.threads = 1, .pass_limit = limit[k]}, what);
    }
    /* the second, of narrow vectors and other instructions still, on every third */
    for (size_t k = 0; !passes && k < (i % 3 ? 1 : sizeof features / sizeof *features); k++)
      compare(c, &want, &(dhc_session_options){.threads = 1, .cpu_features = features[k]}, features[k]);
    free(want.at);
  }
  printf("%d cases, %d failures\n", (int)N_CASES, fails);
  return fails > 0;
}
