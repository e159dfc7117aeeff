/* Objects against the program in this process: built, linked by the system's compiler without any library,
 * loaded, and called by what describe() says. The same bytes at several sizes, in one thread, with workers,
 * in four threads at once; nothing undefined but the three functions of memory; nothing read or written
 * outside the caller's tensors, which end where a page does that may not be touched; the same command twice
 * makes the same file.
 *
 *   test_object [case] */
#include "loaded.h"

enum { N_THREADS = 4, MAX_SIZES = 4 };

typedef struct Case {
  const char *name, *model, *root;
  const char *sets[MAX_SETS];
  const char *entry;
  int sizes[2][MAX_SIZES]; /* of the entry's symbols, in their order */
  const char *optional;    /* input that callers give, or NULL */
} Case;

#define ATTENTION "layers/attention", "MultiHeadAttention"
#define JAMBA "num_layers=4", "mamba_ratio=1", "num_heads=2", "num_experts=3"
#define POLICY "obs=5", "hidden_dim=8", "num_layers=2", "num_heads=2", "mamba_ratio=1"
static const Case cases[] = {
    {"mlp", "mlp", NULL, {NULL}, "forward", {{1}, {7}}, NULL},
    {"mlp normalize", "mlp", NULL, {NULL}, "normalize", {{1}, {7}}, NULL},
    {"dhc_ssm", "dhc_ssm", NULL, {NULL}, "forward", {{1, 32, 32}, {3, 17, 30}}, NULL},
    {"dhc_ssm classify", "dhc_ssm", NULL, {"hidden_dim=8"}, "classify", {{2, 16, 16}, {5, 33, 16}}, NULL},
    {"dhc_ssm grid", "dhc_ssm", NULL, {"hidden_dim=8", "tokens=grid"}, "forward", {{2, 16, 16}, {3, 32, 24}}, NULL},
    {"dhc_jamba", "dhc_jamba", NULL, {"hidden_dim=4", JAMBA}, "forward", {{1, 16, 16}, {3, 32, 16}}, NULL},
    {"lstm", "lstm", "LSTMClassifier", {"d_in=5", "hidden=6"}, "forward", {{2, 9}, {1, 3}}, NULL},
    {"lstm layer", "lstm", "LSTM", {"d_in=5", "d=6"}, "forward", {{3, 9}, {1, 1}}, NULL},
    {"lstm resets", "lstm", "LSTM", {"d_in=5", "d=6"}, "forward", {{3, 9}, {1, 1}}, "reset"},
    {"policy", "rl_policy", NULL, {POLICY}, "forward", {{1}, {3}}, NULL},
    {"value", "rl_value", NULL, {POLICY}, "forward", {{1}, {3}}, NULL},
    {"actor and critic", "rl_actor_critic", NULL, {POLICY}, "forward", {{1}, {3}}, NULL},
    {"ssm policy", "rl_ssm_policy", NULL, {"obs=5", "hidden_dim=8", "state_dim=6"}, "sequence", {{2, 9}, {1, 4}}, NULL},
    {"ppo", "rl/ppo", "PPO", {"obs=3", "act=2", "policy=RLSSMPolicy(hidden_dim = 8, state_dim = 6)"}, "forward", {{1}, {3}}, NULL},
    {"value network", "rl/ppo", "ValueNetwork", {"obs=3", "hidden=6"}, "forward", {{5, 2}, {1, 1}}, NULL},
    {"attention", ATTENTION, {"d_model=8", "num_heads=2", "causal=true"}, "forward", {{2, 9}, {1, 40}}, NULL},
    {"grouped", ATTENTION, {"d_model=16", "num_heads=4", "num_kv_heads=2", "window=4", "causal=true"}, "forward", {{2, 9}, {1, 5}}, NULL},
    {"conv1d", "layers/mamba", "CausalDepthwiseConv1d", {"d=6"}, "forward", {{2, 9}, {1, 70}}, NULL},
    {"mamba", "layers/mamba", "Mamba", {"d_model=6", "d_state=5"}, "forward", {{2, 70}, {3, 5}}, NULL},
    {"block", "layers/jamba", "JambaBlock", {"d=8"}, "forward", {{2, 9}, {1, 4}}, NULL},
    {"stack", "layers/jamba", "JambaStack", {"d_model=8", JAMBA}, "forward", {{2, 9}, {1, 4}}, NULL},
    {"moe", "layers/moe", "MoE", {"d_model=8", "num_experts=3"}, "forward", {{2, 9}, {1, 4}}, NULL},
    {"swiglu", "layers/ffn", "SwiGLU", {"d_model=8"}, "forward", {{5, 2}, {1, 1}}, NULL},
    {"gelu", "layers/ffn", "GELUFeedForward", {"d_model=8"}, "forward", {{5, 2}, {1, 1}}, NULL},
    {"rms norm", "layers/norm", "RMSNorm", {"d=20"}, "forward", {{5, 2}, {1, 1}}, NULL},
    {"layer norm", "layers/norm", "LayerNorm", {"d=20"}, "forward", {{5, 2}, {1, 1}}, NULL},
    {"long norm", "layers/norm", "LayerNorm", {"d=40000"}, "forward", {{5, 2}, {1, 1}}, NULL}, /* two phases, shared memory */
    {"group norm", "layers/norm", "GroupNorm", {"groups=2", "channels=6"}, "forward", {{2, 9, 4}, {1, 1, 3}}, NULL},
    {"batch norm", "layers/norm", "BatchNorm2d", {"channels=3"}, "forward", {{2, 8, 8}, {1, 5, 7}}, NULL},
    {"linear", "layers/linear", "Linear", {"in_features=7", "out_features=5"}, "forward", {{2, 3}, {70, 1}}, NULL},
    {"conv", "layers/conv", "Conv2d", {"in_channels=3", "out_channels=3", "padding=1"}, "forward", {{2, 8, 8}, {1, 5, 7}}, NULL},
    {"conv tiles", "layers/conv", "Conv2d", {"in_channels=33", "out_channels=35", "padding=1"}, "forward", {{2, 8, 8}, {1, 5, 7}}, NULL}, /* rule of tiles */
    {"conv back", "layers/conv", "ConvTranspose2d", {"in_channels=3", "out_channels=2", "kernel=3", "stride=2", "padding=1"}, "forward", {{2, 8, 8}, {1, 5, 7}}, NULL},
    {"spatial", "layers/spatial_encoder", "SpatialEncoder", {"hidden=4"}, "forward", {{2, 16, 16}, {1, 21, 19}}, NULL},
    {"temporal", "layers/temporal_ssm", "TemporalSSM", {"d=5", "state_dim=6"}, "sequence", {{2, 9}, {1, 1}}, NULL},
    {"seq", "seq", NULL, {"vocabulary=7", "d_model=8", JAMBA, "d_state=4"}, "forward", {{2, 9}, {1, 4}}, NULL},
    {"embedding", "layers/embedding", "Embedding", {"n=7", "d=6"}, "forward", {{2, 9}, {1, 1}}, NULL},
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

/* One call: its tensors, and what they have to be afterwards. */
typedef struct Call {
  const Loaded *l;
  const int *size;
  Memory in[8], out[8], work;
  const dhc_tensor *want;
  int n_in, n_out;
  int workers; /* 0: without exec */
  int64_t got;
  bool same;
} Call;

static void run_call(Call *c) {
  intptr_t a[MAX_ARGS] = {0};
  Exec exec = {&c->workers, c->workers, backwards};
  int n = 0, n_sizes = cJSON_GetArraySize(cJSON_GetObjectItem(c->l->entry, "sizes"));
  intptr_t s[MAX_ARGS] = {0};
  for (int i = 0; i < n_sizes; i++) s[i] = c->size[i];
  s[n_sizes] = c->workers;
  int64_t bytes = call(symbol(c->l, "_workspace_bytes"), s);
  c->work = memory_new((size_t)bytes);
  memset(c->work.at, 0xff, c->work.bytes); /* NaN, wherever it is read before it is written */
  for (int i = 0; i < c->n_in; i++) a[n++] = (intptr_t)c->in[i].at;
  for (int i = 0; i < c->n_out; i++) a[n++] = (intptr_t)c->out[i].at;
  for (int i = 0; i < n_sizes; i++) a[n++] = c->size[i];
  a[n++] = (intptr_t)c->work.at;
  a[n++] = (intptr_t)bytes;
  a[n++] = c->workers ? (intptr_t)&exec : 0;
  for (int i = 0; i < c->n_out; i++) memset(c->out[i].at, 0xff, c->out[i].bytes);
  c->got = (int)call(symbol(c->l, ""), a);
  c->same = true;
  for (int i = 0; i < c->n_out; i++) c->same = c->same && !memcmp(c->out[i].at, c->want[i].data, c->out[i].bytes);
  if (c->work.bytes >= 64) {
    a[n - 2] = (intptr_t)bytes - 64;
    check((int)call(symbol(c->l, ""), a) == 4, "too small a workspace is refused");
    a[n - 2] = (intptr_t)bytes;
    a[n - 3] += 32;
    check((int)call(symbol(c->l, ""), a) == 2, "a workspace at no multiple of 64 is refused");
  }
  a[n - 3] = 0;
  check(!c->work.bytes || (int)call(symbol(c->l, ""), a) == 1, "a workspace that is NULL is refused");
  a[n - 3] = (intptr_t)c->work.at;
  exec.parallel_for = NULL;
  a[n - 1] = (intptr_t)&exec;
  check((int)call(symbol(c->l, ""), a) == 1, "threads without parallel_for are refused");
  a[n - 1] = 0;
  a[0] = 0;
  check((int)call(symbol(c->l, ""), a) == 1, "an input that is NULL is refused");
  memory_free(&c->work);
}

/* Indices that are out of range, one at a time: refused before anything is written. */
static void bad_indices(const Call *base, const dhc_tensor *in) {
  for (int i = 0; i < base->n_in; i++) {
    static const int64_t wrong[] = {-1, 7, INT64_MIN, INT64_MAX};
    int64_t n = dhc_tensor_elements(&in[i]), *v = in[i].data;
    if (in[i].dtype != DHC_I64) continue;
    for (int k = 0; k < 4; k++) {
      int64_t at = k % 2 ? n - 1 : 0, was = v[at];
      Call c = *base;
      v[at] = wrong[k];
      for (int o = 0; o < c.n_out; o++) c.out[o] = memory_new((size_t)dhc_tensor_bytes(&c.want[o]));
      run_call(&c);
      check(c.got == 6, "an index out of range is refused");
      for (int o = 0; o < c.n_out; o++) {
        bool same = true;
        for (size_t b = 0; b < c.out[o].bytes; b++) same = same && (unsigned char)c.out[o].at[b] == 0xff;
        check(same, "and nothing is written");
        memory_free(&c.out[o]);
      }
      v[at] = was;
    }
  }
}

static void *call_thread(void *c) {
  run_call(c);
  return NULL;
}

static void refusals(const Loaded *l, const int *size) {
  intptr_t s[MAX_ARGS] = {0};
  int n = cJSON_GetArraySize(cJSON_GetObjectItem(l->entry, "sizes"));
  for (int i = 0; i < n; i++) s[i] = size[i];
  s[n] = 1;
  check(!call(symbol(l, "_why"), s), "good sizes have no why");
  for (int i = 0; i < n; i++) {
    static const int64_t wrong[] = {0, -1, INT64_MIN, INT64_C(1) << 31, INT64_MAX};
    for (int k = 0; k < 5; k++) {
      s[i] = (intptr_t)wrong[k];
      check(call(symbol(l, "_workspace_bytes"), s) == -1, "sizes outside their range are refused");
      const char *why = (const char *)(intptr_t)call(symbol(l, "_why"), s);
      check(why && strstr(why, "must be from 1 to 2147483647"), "and it is said why");
    }
    s[i] = size[i];
  }
}

/* ---- stack ---------------------------------------------------------------------------------------- */

enum { STACK = 1 << 20, PAINT = 0xa5 };

/* How deep a thread's stack gets under f. */
static int64_t stack_used(void *(*f)(void *), void *arg) {
  pthread_attr_t with;
  pthread_t t;
  unsigned char *at = aligned_alloc(4096, STACK);
  int64_t used = 0;
  if (!at || pthread_attr_init(&with) || pthread_attr_setstack(&with, at, STACK)) abort();
  memset(at, PAINT, STACK);
  if (!check(!pthread_create(&t, &with, f, arg), "a thread with a stack of its own")) return 0;
  pthread_join(t, NULL);
  pthread_attr_destroy(&with);
  while (used < STACK && at[used] == PAINT) used++;
  free(at);
  return STACK - used;
}

typedef struct Bare {
  void *fn;
  intptr_t a[MAX_ARGS];
  int64_t got;
} Bare;

static void *call_bare(void *what) {
  Bare *b = what;
  b->got = (int)call(b->fn, b->a);
  return NULL;
}

static int64_t stack_bytes; /* what building the case has said */

/* It is enough, and not ten times too much. */
static void look_at_stack(const Loaded *l, const Call *c) {
  intptr_t sizes[MAX_ARGS] = {0};
  Bare run = {.fn = symbol(l, "")};
  Memory work;
  int n = 0, n_sizes = cJSON_GetArraySize(cJSON_GetObjectItem(l->entry, "sizes"));
  for (int i = 0; i < n_sizes; i++) sizes[i] = c->size[i];
  sizes[n_sizes] = 1;
  work = memory_new((size_t)call(symbol(l, "_workspace_bytes"), sizes));
  for (int i = 0; i < c->n_in; i++) run.a[n++] = (intptr_t)c->in[i].at;
  for (int i = 0; i < c->n_out; i++) run.a[n++] = (intptr_t)c->out[i].at;
  for (int i = 0; i < n_sizes; i++) run.a[n++] = sizes[i];
  run.a[n++] = (intptr_t)work.at;
  run.a[n++] = (intptr_t)work.bytes;
  Bare nothing = {.fn = symbol(l, "_why")};
  int64_t base = stack_used(call_bare, &nothing), used = stack_used(call_bare, &run) - base;
  check(run.got == 0, "a call on a stack of its own");
  if (!check(stack_bytes > 0 && used <= stack_bytes, "stack is no more than was said")) printf("  %lld of %lld\n", (long long)used, (long long)stack_bytes);
  if (used * 10 + 4096 < stack_bytes) check(false, "nor is that far too much");
  memory_free(&work);
}

/* ---- one case at one choice of sizes ----------------------------------------------------------------- */

static void at_sizes(const Case *c, dhc_session *s, dhc_program *p, const Loaded *l, const int *size) {
  const cJSON *inputs = cJSON_GetObjectItem(l->entry, "inputs"), *sizes = cJSON_GetObjectItem(l->entry, "sizes");
  dhc_tensor in[8];
  Call base = {.l = l, .size = size, .n_in = cJSON_GetArraySize(inputs)};
  const dhc_tensor *want;
  (void)c;
  for (int i = 0; i < base.n_in; i++) {
    const cJSON *t = cJSON_GetArrayItem(inputs, i), *type = cJSON_GetObjectItem(t, "type");
    in[i] = (dhc_tensor){.name = cJSON_GetObjectItem(t, "name")->valuestring, .dtype = dtype_of(type->valuestring)};
    in[i].rank = n_dims_of(type, sizes, size, in[i].dim);
    base.in[i] = memory_new((size_t)dhc_tensor_bytes(&in[i]));
    in[i].data = base.in[i].at;
    fill(in[i].data, in[i].dtype, dhc_tensor_elements(&in[i]), 3 + (uint32_t)i);
  }
  if (!good(dhc_program_run(p, 0, in, base.n_in, &want, &base.n_out), s, "the program")) return;
  check(base.n_out == cJSON_GetArraySize(cJSON_GetObjectItem(l->entry, "outputs")), "number of outputs");
  base.want = want;
  pthread_t thread[N_THREADS];
  Call calls[N_THREADS];
  for (int k = 0; k < N_THREADS; k++) {
    calls[k] = base;
    calls[k].workers = k < 2 ? 0 : k;
    for (int i = 0; i < base.n_out; i++) calls[k].out[i] = memory_new((size_t)dhc_tensor_bytes(&want[i]));
    if (pthread_create(&thread[k], NULL, call_thread, &calls[k])) abort();
  }
  for (int k = 0; k < N_THREADS; k++) {
    pthread_join(thread[k], NULL);
    check(calls[k].got == 0, "the object runs");
    if (!k) look_at_stack(l, &calls[k]);
    check(calls[k].same, calls[k].workers ? "the program's bytes, with workers" : "the program's bytes");
    for (int i = 0; i < base.n_out; i++) memory_free(&calls[k].out[i]);
  }
  refusals(l, size);
  bad_indices(&base, in);
  for (int i = 0; i < base.n_in; i++) memory_free(&base.in[i]);
}

static char seen[N_CASES][64]; /* models that were built and run */
static int n_seen;

static void run_case(const Case *c) {
  char weights[128], object[128], again[128], header[128], so[128];
  snprintf(weights, sizeof weights, "%s/w.safetensors", folder);
  snprintf(object, sizeof object, "%s/m.o", folder);
  snprintf(again, sizeof again, "%s/again.o", folder);
  snprintf(header, sizeof header, "%s/m.h", folder);
  snprintf(so, sizeof so, "%s/m%d.so", folder, (int)(c - cases));
  now = c->name;
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  dhc_program *p = NULL;
  dhc_session_options so_ = {.threads = 2};
  int n_sets = 0;
  while (n_sets < MAX_SETS && c->sets[n_sets]) n_sets++;
  dhc_model_options mo = {.name = c->model, .root = c->root, .sets = c->sets, .n_sets = n_sets};
  bool ok = good(dhc_session_open(&so_, &s), s, "session") && good(dhc_model_open(s, &mo, &m), s, "model") &&
            good(dhc_program_open(m, c->entry, DHC_MODE_RUN, &p), s, "program") && good(dhc_program_init(p, 5), s, "init") &&
            good(dhc_program_save(p, weights, false), s, "save");
  dhc_build_options o = {.entries = &c->entry, .n_entries = 1, .optional = &c->optional, .n_optional = c->optional != NULL, .name = "m", .weights = weights, .out = object, .header = header};
  dhc_build_result built = {0};
  ok = ok && good(dhc_model_build(m, &o, &built), s, "build");
  stack_bytes = built.stack_bytes;
  check(strcmp(c->name, "dhc_ssm") || built.code_bytes < 150 << 10, "code of DHC-SSM takes less than 150 KB");
  o.out = again;
  ok = ok && good(dhc_model_build(m, &o, NULL), s, "build again") && check(same_files(object, again), "twice the same bytes");
  if (ok) look_at_symbols(object);
  Loaded l = {0};
  ok = ok && link_object(object, header, so) && check((l.so = dlopen(so, RTLD_NOW | RTLD_LOCAL)) != NULL, "dlopen");
  if (ok) {
    intptr_t none[MAX_ARGS] = {0};
    l.about = cJSON_Parse((const char *)(intptr_t)call(dlsym(l.so, "m_describe"), none));
    l.entry = cJSON_GetArrayItem(cJSON_GetObjectItem(l.about, "entries"), 0);
    ok = check(l.entry != NULL, "describe() is JSON");
    const char *build = ok ? cJSON_GetObjectItem(l.about, "build")->valuestring : "", *id = strchr(build, ' ');
    check(id && strlen(id) == 13 && strspn(id + 1, "0123456789abcdef") == 12, "the build's id");
    if (ok) snprintf(seen[n_seen++], sizeof *seen, "%s", cJSON_GetObjectItem(l.about, "model")->valuestring);
    check(!c->optional || cJSON_GetArraySize(cJSON_GetObjectItem(l.entry, "inputs")) == 2, "the optional input is one");
  }
  for (int i = 0; ok && i < 2; i++) at_sizes(c, s, p, &l, c->sizes[i]);
  cJSON_Delete(l.about);
  if (l.so) dlclose(l.so);
  dhc_program_close(p);
  dhc_model_close(m);
  dhc_session_close(s);
}

/* ---- weights that the caller passes, sizes that are fixed, shared libraries ------------------------------------ */

typedef struct Passed {
  const Loaded *l;
  dhc_tensor in[8];
  int n_in, n_out;
  const dhc_tensor *want;
} Passed;

static void run_passed(const Passed *p, const void *weights, const char *what) {
  intptr_t a[MAX_ARGS] = {(intptr_t)weights}, one[MAX_ARGS] = {1};
  int n = 1;
  Memory out[8], work = memory_new((size_t)call(symbol(p->l, "_workspace_bytes"), one));
  for (int i = 0; i < p->n_in; i++) a[n++] = (intptr_t)p->in[i].data;
  for (int i = 0; i < p->n_out; i++) {
    out[i] = memory_new((size_t)dhc_tensor_bytes(&p->want[i]));
    a[n++] = (intptr_t)out[i].at;
  }
  a[n++] = (intptr_t)work.at;
  a[n++] = (intptr_t)work.bytes;
  check((int)call(symbol(p->l, ""), a) == 0, what);
  for (int i = 0; i < p->n_out; i++) {
    check(!memcmp(out[i].at, p->want[i].data, out[i].bytes), what);
    memory_free(&out[i]);
  }
  memory_free(&work);
}

/* The file's bytes; with each kind of damage; made by the object itself. */
static void look_at_weights(const Passed *p, dhc_session *s, dhc_program *prog, const char *path) {
  size_t n = 0;
  char *file = slurp(path, &n);
  if (!check(file != NULL, "the weights file is there")) return;
  Memory w = memory_new(n), own = memory_new(n);
  memcpy(w.at, file, n);
  const intptr_t at = (intptr_t)w.at, bytes = (intptr_t)n;
  check(call_named(p->l, "m_weights_check", at, bytes, 0, 0) == 0, "weights are good");
  run_passed(p, w.at, "the program's bytes, with weights of a file");
  check(call_named(p->l, "m_weights_check", at, bytes - 1, 0, 0) == 5, "a file cut short");
  check(call_named(p->l, "m_weights_check", at + 4, bytes, 0, 0) == 2, "a file at no multiple of 64");
  check(call_named(p->l, "m_weights_check", 0, bytes, 0, 0) == 1, "no file");
  for (size_t i = 0; i < n; i += i < 64 ? 8 : n / 7 + 1) {
    if (i >= 32 && i < 64) continue; /* not used */
    w.at[i] ^= 64;
    check(call_named(p->l, "m_weights_check", at, bytes, 0, 0) == 5, "a file with one other bit");
    w.at[i] ^= 64;
  }
  const intptr_t to = (intptr_t)own.at;
  const cJSON *t, *all = cJSON_GetObjectItem(p->l->about, "weights");
  check(call_named(p->l, "m_weights_begin", to, bytes, 0, 0) == 0, "begin");
  check(call_named(p->l, "m_weights_begin", to, bytes - 1, 0, 0) == 5, "begin of too little");
  int k = 0;
  cJSON_ArrayForEach(t, all) {
    dhc_tensor x;
    if (!good(dhc_program_get(prog, cJSON_GetObjectItem(t, "name")->valuestring, &x), s, "a weight")) break;
    check(call_named(p->l, "m_weights_set", to, k, (intptr_t)x.data, (intptr_t)dhc_tensor_bytes(&x)) == 0, "set");
    check(call_named(p->l, "m_weights_set", to, k++, (intptr_t)x.data, (intptr_t)dhc_tensor_bytes(&x) + 4) == 5, "set of another size");
  }
  check(call_named(p->l, "m_weights_set", to, k, to, 4) == 5, "set of no tensor");
  check(call_named(p->l, "m_weights_check", to, bytes, 0, 0) == 0, "weights are good");
  run_passed(p, own.at, "the program's bytes, with weights that were set");
  memory_free(&w);
  memory_free(&own);
  free(file);
}

static void run_bound(const Case *c) {
  char weights[128], file[128], header[128], so[128], bind[128] = "";
  static const char *const names[] = {"mlp", "dhc_ssm", "stack", "seq", "long norm", "batch norm"};
  bool is = false;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) is = is || !strcmp(c->name, names[i]);
  if (!is) return;
  snprintf(weights, sizeof weights, "%s/w.safetensors", folder);
  snprintf(file, sizeof file, "%s/w.bin", folder);
  snprintf(header, sizeof header, "%s/m.h", folder);
  snprintf(so, sizeof so, "%s/bound%d.so", folder, (int)(c - cases));
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  dhc_program *p = NULL;
  const dhc_session_options o = {.threads = 1};
  int n_sets = 0;
  while (n_sets < MAX_SETS && c->sets[n_sets]) n_sets++;
  dhc_model_options mo = {.name = c->model, .root = c->root, .sets = c->sets, .n_sets = n_sets};
  bool ok = good(dhc_session_open(&o, &s), s, "session") && good(dhc_model_open(s, &mo, &m), s, "model") &&
            good(dhc_program_open(m, c->entry, DHC_MODE_RUN, &p), s, "program") && good(dhc_program_init(p, 6), s, "init") &&
            good(dhc_program_save(p, weights, false), s, "save");
  /* the sizes' names are in an object that does not fix them */
  dhc_build_options bo = {.entries = &c->entry, .n_entries = 1, .name = "m", .out = so, .header = header};
  Loaded l = {0};
  intptr_t none[MAX_ARGS] = {0};
  for (int round = 0; round < 2 && ok; round++) {
    ok = good(dhc_model_build(m, &bo, NULL), s, "build") && check((l.so = dlopen(so, RTLD_NOW | RTLD_LOCAL)) != NULL, "dlopen");
    if (!ok) break;
    l.about = cJSON_Parse((const char *)(intptr_t)call(dlsym(l.so, "m_describe"), none));
    l.entry = cJSON_GetArrayItem(cJSON_GetObjectItem(l.about, "entries"), 0);
    if (round) break;
    const cJSON *sizes = cJSON_GetObjectItem(l.entry, "sizes");
    for (int i = 0; i < cJSON_GetArraySize(sizes); i++)
      snprintf(bind + strlen(bind), sizeof bind - strlen(bind), "%s%s=%d", i ? "," : "",
               cJSON_GetObjectItem(cJSON_GetArrayItem(sizes, i), "name")->valuestring, c->sizes[0][i]);
    cJSON_Delete(l.about);
    dlclose(l.so);
    l = (Loaded){0};
    bo.bind = bind;
    bo.weights = weights;
    bo.weights_file = file;
    unlink(so);
  }
  Passed x = {.l = &l};
  const cJSON *inputs = ok ? cJSON_GetObjectItem(l.entry, "inputs") : NULL;
  for (int i = 0; i < cJSON_GetArraySize(inputs); i++) {
    const cJSON *t = cJSON_GetArrayItem(inputs, i), *type = cJSON_GetObjectItem(t, "type");
    dhc_tensor *in = &x.in[x.n_in++];
    *in = (dhc_tensor){.name = cJSON_GetObjectItem(t, "name")->valuestring, .dtype = dtype_of(type->valuestring)};
    in->rank = n_dims_of(type, cJSON_GetObjectItem(l.entry, "sizes"), c->sizes[0], in->dim);
    in->data = malloc((size_t)dhc_tensor_bytes(in));
    if (!in->data) abort();
    fill(in->data, in->dtype, dhc_tensor_elements(in), 3);
  }
  if (ok && good(dhc_program_run(p, 0, x.in, x.n_in, &x.want, &x.n_out), s, "the program")) look_at_weights(&x, s, p, file);
  for (int i = 0; i < x.n_in; i++) free(x.in[i].data);
  cJSON_Delete(l.about);
  if (l.so) dlclose(l.so);
  dhc_program_close(p);
  dhc_model_close(m);
  dhc_session_close(s);
}

/* Loaded, called and unloaded again and again: nothing is left. */
static void many_times(void) {
  char object[128], so[128], line[512];
  snprintf(object, sizeof object, "%s/often.o", folder);
  snprintf(so, sizeof so, "%s/often.so", folder);
  now = "1,000 times";
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  const dhc_session_options o = {.threads = 1};
  const dhc_build_options bo = {.name = "m", .bind = "B=1", .out = object};
  const dhc_model_options mo = {.name = "mlp"};
  bool ok = good(dhc_session_open(&o, &s), s, "session") && good(dhc_model_open(s, &mo, &m), s, "model") &&
            good(dhc_model_build(m, &bo, NULL), s, "build");
  snprintf(line, sizeof line, "%s -shared -nostdlib -o %s %s", CC, so, object);
  ok = ok && check(system(line) == 0, "link");
  long pages[2] = {0};
  static float image[784], logits[10];
  Memory work = memory_new(1 << 16), weights = memory_new(1 << 21);
  for (int i = 0; ok && i < 1000; i++) {
    Loaded l = {.so = dlopen(so, RTLD_NOW | RTLD_LOCAL)};
    ok = check(l.so != NULL, "dlopen");
    const intptr_t a[MAX_ARGS] = {(intptr_t)weights.at, (intptr_t)image, (intptr_t)logits, (intptr_t)work.at, (intptr_t)work.bytes};
    if (ok && !i) ok = check(call_named(&l, "m_weights_begin", (intptr_t)weights.at, (intptr_t)weights.bytes, 0, 0) == 0, "begin");
    ok = ok && check((int)call(dlsym(l.so, "m_forward"), a) == 0, "call");
    if (l.so) dlclose(l.so);
    FILE *f = i == 100 || i == 999 ? fopen("/proc/self/statm", "r") : NULL;
    if (f && fscanf(f, "%ld", &pages[i == 999]) != 1) ok = check(false, "statm");
    if (f) fclose(f);
  }
  check(pages[0] && pages[0] == pages[1], "as much memory after 1,000 times as after 100");
  memory_free(&work);
  memory_free(&weights);
  dhc_model_close(m);
  dhc_session_close(s);
}

/* Every model and layer that is shipped was among the cases. */
static void all_shipped(void) {
  char name[64];
  int n = 0;
  now = "all models and layers";
  FILE *f = popen("grep -rhoE '^(model|layer) [A-Za-z0-9_]+' " MODELS " | cut -d' ' -f2", "r");
  if (!f) abort();
  for (; fscanf(f, "%63s", name) == 1; n++) {
    bool found = false;
    for (int i = 0; i < n_seen; i++) found = found || !strcmp(seen[i], name);
    check(found, name);
  }
  check(pclose(f) == 0 && n > 20, "are found");
}

int main(int argc, char **argv) {
  begin_tests();
  for (int i = 0; i < N_CASES; i++)
    if (argc < 2 || !strcmp(argv[1], cases[i].name)) {
      run_case(&cases[i]);
      run_bound(&cases[i]);
    }
  if (argc < 2 || !strcmp(argv[1], "often")) many_times();
  if (argc < 2) all_shipped();
  return end_tests();
}
