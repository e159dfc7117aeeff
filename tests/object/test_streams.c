/* Streams of objects against those of a program: piece by piece and step by step, after resets, from memory that held
 * anything before.
 *
 *   test_streams [case] */
#include "loaded.h"

#define ATTENTION "layers/attention", "MultiHeadAttention"
#define JAMBA "num_layers=4", "mamba_ratio=1", "num_heads=2", "num_experts=3"
#define POLICY "obs=5", "hidden_dim=8", "num_layers=2", "num_heads=2", "mamba_ratio=1"
/* ---- streams -------------------------------------------------------------------------------------------------- */

typedef struct Stream {
  const char *name, *model, *root;
  const char *sets[MAX_SETS];
  const char *entry; /* plain */
  int features;      /* of its input [B, L, features]; 0: tokens */
} Stream;

#define CAUSAL "d_model=8", "num_heads=2", "causal=true"
static const Stream streams[] = {
    {"lstm stream", "lstm", "LSTM", {"d_in=5", "d=7"}, "forward", 5},
    {"ssm stream", "layers/temporal_ssm", "TemporalSSM", {"d=5", "state_dim=6"}, "sequence", 5},
    {"conv stream", "layers/mamba", "CausalDepthwiseConv1d", {"d=6", "taps=4"}, "forward", 6},
    {"mamba stream", "layers/mamba", "Mamba", {"d_model=6", "d_state=5"}, "forward", 6},
    {"attention stream", ATTENTION, {CAUSAL, "max_len=40"}, "forward", 8},
    {"window stream", ATTENTION, {CAUSAL, "window=4", "max_len=16"}, "forward", 8},
    {"stack stream", "layers/jamba", "JambaStack", {"d_model=8", JAMBA, "d_state=4", "ffn_inner=12", "causal=true"}, "forward", 8},
    {"seq stream", "seq", NULL, {"vocabulary=11", "d_model=8", JAMBA, "d_state=4", "ffn_inner=12"}, "forward", 0},
    {"policy stream", "rl_policy", NULL, {POLICY, "window=4"}, "sequence", 5},
    {"ssm policy stream", "rl_ssm_policy", NULL, {"obs=5", "hidden_dim=8", "state_dim=6"}, "sequence", 5},
};
enum { N_STREAMS = sizeof streams / sizeof streams[0], B = 2, L = 12 };

static const cJSON *entry_named(const Loaded *l, const char *name) {
  const cJSON *e;
  cJSON_ArrayForEach(e, cJSON_GetObjectItem(l->about, "entries")) if (!strcmp(cJSON_GetObjectItem(e, "name")->valuestring, name)) return e;
  return NULL;
}

/* One piece through the object; outputs behind one another. size: B, or B and L. */
static int64_t run_piece(Loaded *l, const cJSON *entry, const Memory *state, const void *in, const dhc_tensor *want, int n_out, int length,
                         bool *same) {
  intptr_t a[MAX_ARGS] = {0}, s[MAX_ARGS] = {B, length};
  int n = 0, n_sizes = cJSON_GetArraySize(cJSON_GetObjectItem(entry, "sizes"));
  Memory out[8] = {{0}};
  l->entry = entry;
  s[n_sizes] = 1;
  Memory work = memory_new((size_t)call(symbol(l, "_workspace_bytes"), s));
  memset(work.at, 0xff, work.bytes);
  a[n++] = (intptr_t)state->at;
  if (in) a[n++] = (intptr_t)in;
  for (int i = 0; i < n_out; i++) {
    out[i] = memory_new((size_t)dhc_tensor_bytes(&want[i]));
    a[n++] = (intptr_t)out[i].at;
  }
  for (int i = 0; i < n_sizes; i++) a[n++] = s[i];
  a[n++] = (intptr_t)work.at;
  a[n++] = (intptr_t)work.bytes;
  int64_t got = (int)call(symbol(l, ""), a);
  *same = true;
  for (int i = 0; i < n_out; i++) {
    *same = *same && !memcmp(out[i].at, want[i].data, out[i].bytes);
    memory_free(&out[i]);
  }
  memory_free(&work);
  return got;
}

/* A sequence in pieces of these lengths, in the program and in the object, twice: what was there is forgotten. */
static void in_pieces(const Stream *t, dhc_session *s, dhc_program *p, Loaded *l, const Memory *state, const int *length) {
  char name[64];
  bool same;
  snprintf(name, sizeof name, "%s.reset", t->entry);
  for (int round = 0; round < 2; round++) {
    dhc_program_reset(p);
    check(run_piece(l, entry_named(l, name), state, NULL, NULL, 0, 0, &same) == 0, "reset");
    for (int i = 0, at = 0; at < L; at += length[i++]) {
      float x[B * L * 8];
      int64_t tokens[B * L];
      bool step = length[i] == 1;
      dhc_tensor in = {.dtype = t->features ? DHC_F32 : DHC_I64, .rank = t->features ? 3 : 2, .dim = {B, length[i], t->features},
                       .data = t->features ? (void *)x : tokens};
      const dhc_tensor *want;
      int n;
      fill(in.data, in.dtype, dhc_tensor_elements(&in), 7 + (uint32_t)at);
      char of[64];
      snprintf(of, sizeof of, "%s.%s", t->entry, step ? "step" : "stream");
      const cJSON *e = entry_named(l, of);
      in.name = cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(e, "inputs"), 0), "name")->valuestring;
      if (!good(dhc_program_run(p, step, &in, 1, &want, &n), s, "the program's piece")) return;
      check(run_piece(l, e, state, in.data, want, n, length[i], &same) == 0, "the object's piece");
      check(same, step ? "the program's bytes, step by step" : "the program's bytes, piece by piece");
    }
  }
}

static void run_stream(const Stream *t) {
  char weights[128], object[128], header[128], so[128], stream[64], step[64], reset[64];
  snprintf(weights, sizeof weights, "%s/w.safetensors", folder);
  snprintf(object, sizeof object, "%s/m.o", folder);
  snprintf(header, sizeof header, "%s/m.h", folder);
  snprintf(so, sizeof so, "%s/s%d.so", folder, (int)(t - streams));
  snprintf(stream, sizeof stream, "%s.stream", t->entry);
  snprintf(step, sizeof step, "%s.step", t->entry);
  snprintf(reset, sizeof reset, "%s.reset", t->entry);
  now = t->name;
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  dhc_program *p = NULL;
  const dhc_session_options o = {.threads = 1};
  int n_sets = 0;
  while (n_sets < MAX_SETS && t->sets[n_sets]) n_sets++;
  dhc_model_options mo = {.name = t->model, .root = t->root, .sets = t->sets, .n_sets = n_sets};
  bool ok = good(dhc_session_open(&o, &s), s, "session") && good(dhc_model_open(s, &mo, &m), s, "model") &&
            good(dhc_program_open(m, stream, DHC_MODE_RUN, &p), s, "program") &&
            good(dhc_program_add(p, step, DHC_MODE_RUN, NULL), s, "step") && good(dhc_program_init(p, 5), s, "init") &&
            good(dhc_program_save(p, weights, false), s, "save");
  const char *const entries[] = {stream, step};
  dhc_build_options bo = {.entries = entries, .n_entries = 2, .name = "m", .weights = weights, .out = object, .header = header};
  ok = ok && good(dhc_model_build(m, &bo, NULL), s, "build");
  if (ok) look_at_symbols(object);
  Loaded l = {0};
  ok = ok && link_object(object, header, so) && check((l.so = dlopen(so, RTLD_NOW | RTLD_LOCAL)) != NULL, "dlopen");
  if (ok) {
    intptr_t none[MAX_ARGS] = {0}, sizes[MAX_ARGS] = {B, 5};
    l.about = cJSON_Parse((const char *)(intptr_t)call(dlsym(l.so, "m_describe"), none));
    l.entry = entry_named(&l, reset);
    ok = check(l.entry && entry_named(&l, stream) && entry_named(&l, step), "describe() has the entries and a reset");
    if (ok) {
      Memory state = memory_new((size_t)call(symbol(&l, "_state_bytes"), sizes));
      l.entry = entry_named(&l, stream);
      check(call(symbol(&l, "_state_bytes"), sizes) == (int64_t)state.bytes, "state has one size");
      memset(state.at, 0xff, state.bytes);
      in_pieces(t, s, p, &l, &state, (const int[]){5, 1, 6});
      in_pieces(t, s, p, &l, &state, (const int[]){1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
      memory_free(&state);
    }
  }
  cJSON_Delete(l.about);
  if (l.so) dlclose(l.so);
  dhc_program_close(p);
  dhc_model_close(m);
  dhc_session_close(s);
}

int main(int argc, char **argv) {
  begin_tests();
  for (int i = 0; i < N_STREAMS; i++)
    if (argc < 2 || !strcmp(argv[1], streams[i].name)) run_stream(&streams[i]);
  return end_tests();
}
