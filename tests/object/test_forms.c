/* Objects in other forms than the usual: bounded ones (the same bits, and as many instructions whatever the values, counted one by
 * one), and quantised ones (what the model gives with its weights rounded, whose rounding is looked at element by element). */
#include <math.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "loaded.h"

typedef struct Form {
  const char *name, *model, *root;
  const char *sets[MAX_SETS];
  const char *entry, *bind;
} Form;

#define STACK "num_layers=4", "mamba_ratio=1", "num_heads=2", "num_experts=3"
static const Form forms[] = {
    {"experts", "layers/moe", "MoE", {"d_model=8", "num_experts=3"}, "forward", "S0=1,S1=5"},
    {"jamba", "dhc_jamba", NULL, {"hidden_dim=4", "num_layers=2", "mamba_ratio=1", "num_heads=2", "num_experts=3", "d_state=4"}, "forward", "B=1,H=16,W=16"},
    {"steps", "seq", NULL, {"vocabulary=7", "d_model=8", STACK, "d_state=4", "ffn_inner=12", "max_len=12"}, "step", "B=1"},
};
enum { N_FORMS = sizeof forms / sizeof forms[0], MOST = 4096 };

static char *path(char *to, const char *name) {
  snprintf(to, 128, "%s/%s", folder, name);
  return to;
}

static dhc_model *open_form(dhc_session *s, const Form *f, char *weights) {
  dhc_model_options mo = {.name = f->model, .root = f->root, .sets = f->sets};
  dhc_model *m = NULL;
  dhc_program *p = NULL;
  while (f->sets[mo.n_sets]) mo.n_sets++;
  bool ok = good(dhc_model_open(s, &mo, &m), s, "model") && good(dhc_program_open(m, f->entry, DHC_MODE_RUN, &p), s, "program") &&
            good(dhc_program_init(p, 5), s, "init") && good(dhc_program_save(p, path(weights, "w.safetensors"), false), s, "save");
  dhc_program_close(p);
  if (!ok) dhc_model_close(m), m = NULL;
  return m;
}

/* ---- calls of an object all of whose sizes are fixed and whose weights are embedded ------------------------------------ */

typedef struct Object {
  Loaded l;
  _Alignas(64) char state[1 << 16], work[1 << 20], out[1 << 16];
  _Alignas(64) char in[1 << 16];
  void *run, *reset;
  intptr_t args[MAX_ARGS];
  int64_t out_bytes;
} Object;

static int64_t elements(const cJSON *tensor, const cJSON *sizes) {
  int64_t dim[8], n = 1;
  int value[8] = {0}, k = 0;
  const cJSON *s;
  cJSON_ArrayForEach(s, sizes) value[k++] = (int)cJSON_GetObjectItem(s, "value")->valuedouble;
  int rank = n_dims_of(cJSON_GetObjectItem(tensor, "type"), sizes, value, dim);
  for (int i = 0; i < rank; i++) n *= dim[i];
  return n;
}

static int64_t bytes_of(dhc_dtype t) { return t == DHC_I64 || t == DHC_F64 ? 8 : t == DHC_BOOL ? 1 : 4; }

static bool load(Object *o, const char *so, const char *entry) {
  memset(o, 0, sizeof *o);
  o->l.so = dlopen(so, RTLD_NOW);
  if (!check(o->l.so != NULL, "load")) return false;
  void *about = dlsym(o->l.so, "m_describe");
  const intptr_t none[MAX_ARGS] = {0};
  o->l.about = cJSON_Parse((const char *)(intptr_t)call(about, none));
  const cJSON *e, *t;
  cJSON_ArrayForEach(e, cJSON_GetObjectItem(o->l.about, "entries")) if (!strcmp(cJSON_GetObjectItem(e, "name")->valuestring, entry)) o->l.entry = e;
  o->run = symbol(&o->l, "");
  o->reset = dlsym(o->l.so, "m_reset");
  if (!o->reset) o->reset = dlsym(o->l.so, "m_sequence_reset");
  int n = 0;
  if (o->reset) o->args[n++] = (intptr_t)o->state;
  char *in = o->in, *out = o->out;
  const cJSON *sizes = cJSON_GetObjectItem(o->l.entry, "sizes");
  cJSON_ArrayForEach(t, cJSON_GetObjectItem(o->l.entry, "inputs")) {
    o->args[n++] = (intptr_t)in;
    in += (elements(t, sizes) * bytes_of(dtype_of(cJSON_GetObjectItem(t, "type")->valuestring)) + 63) / 64 * 64;
  }
  cJSON_ArrayForEach(t, cJSON_GetObjectItem(o->l.entry, "outputs")) {
    o->args[n++] = (intptr_t)out;
    out += (elements(t, sizes) * bytes_of(dtype_of(cJSON_GetObjectItem(t, "type")->valuestring)) + 63) / 64 * 64;
  }
  o->out_bytes = out - o->out;
  o->args[n++] = (intptr_t)o->work;
  o->args[n++] = sizeof o->work;
  return check(in - o->in <= (int64_t)sizeof o->in && o->out_bytes <= (int64_t)sizeof o->out, "room");
}

static void unload(Object *o) {
  cJSON_Delete(o->l.about);
  dlclose(o->l.so);
}

/* Inputs number `kind`: noise, zeros, all alike, large; tokens likewise. */
static void inputs(Object *o, int kind) {
  const cJSON *t, *sizes = cJSON_GetObjectItem(o->l.entry, "sizes");
  char *in = o->in;
  cJSON_ArrayForEach(t, cJSON_GetObjectItem(o->l.entry, "inputs")) {
    dhc_dtype dtype = dtype_of(cJSON_GetObjectItem(t, "type")->valuestring);
    int64_t n = elements(t, sizes);
    memset(in, 0, (size_t)(n * bytes_of(dtype)));
    if (dtype == DHC_F32) fill(in, DHC_F32, n, (uint32_t)kind + 3);
    for (int64_t i = 0; i < n && dtype == DHC_F32 && kind; i++) ((float *)(void *)in)[i] = kind == 1 ? 0 : kind == 2 ? 0.5f : 3e4f * ((float *)(void *)in)[i];
    for (int64_t i = 0; i < n && dtype == DHC_I64; i++) ((int64_t *)(void *)in)[i] = (i + kind) % 7;
    in += (n * bytes_of(dtype) + 63) / 64 * 64;
  }
}

static int64_t run(Object *o) { return (int)call(o->run, o->args); }

/* `steps` calls before the one that is counted. */
static void begin(Object *o, int kind, int steps) {
  const intptr_t reset[MAX_ARGS] = {(intptr_t)o->state, (intptr_t)o->work, sizeof o->work};
  if (o->reset) check((int)call(o->reset, reset) == 0, "reset");
  for (int i = 0; i < steps; i++) inputs(o, kind + i), check(run(o) == 0, "a step");
  inputs(o, kind);
}

#if defined __x86_64__
/* Instructions of a call, by the processor's trap behind each of them. */
static volatile long traps;
static void on_trap(int number) {
  (void)number;
  traps++;
}

static long instructions(Object *o) {
  const struct sigaction count = {.sa_handler = on_trap};
  struct sigaction before;
  sigaction(SIGTRAP, &count, &before);
  traps = 0;
  __asm__ volatile("subq $128, %%rsp; pushfq; orq $256, (%%rsp); popfq; addq $128, %%rsp" ::: "memory", "cc");
  int64_t status = run(o);
  __asm__ volatile("subq $128, %%rsp; pushfq; andq $-257, (%%rsp); popfq; addq $128, %%rsp" ::: "memory", "cc");
  sigaction(SIGTRAP, &before, NULL);
  return status == 0 ? traps : -1;
}
#else
/* Instructions of a child that makes one call and ends, stepped one by one; -1: they cannot be. */
static long instructions(Object *o) {
  int status;
  pid_t child = fork();
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) _exit(99);
    raise(SIGSTOP);
    run(o);
    _exit(0);
  }
  waitpid(child, &status, 0);
  if (!WIFSTOPPED(status)) return -1;
  for (long n = 0;; n++) {
    if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL)) return -1;
    waitpid(child, &status, 0);
    if (WIFEXITED(status)) return WEXITSTATUS(status) == 0 ? n : -1;
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) return -1;
  }
}
#endif

/* ---- bounded ---------------------------------------------------------------------------------------------------------- */

static void bounded(dhc_session *s, const Form *f, Object *usual, Object *steady) {
  char weights[128], object[128], header[128], so[2][128];
  dhc_model *m = open_form(s, f, weights);
  bool built = m != NULL;
  for (int k = 0; k < 2 && built; k++) {
    const dhc_build_options o = {.name = "m", .entries = &f->entry, .n_entries = 1, .bind = f->bind, .weights = weights, .bounded = k,
                                 .out = path(object, k ? "b.o" : "a.o"), .header = path(header, "m.h")};
    built = good(dhc_model_build(m, &o, NULL), s, "build") && link_object(object, header, path(so[k], k ? "b.so" : "a.so"));
  }
  if (built && load(usual, so[0], f->entry) && load(steady, so[1], f->entry)) {
    check(cJSON_GetObjectItem(steady->l.about, "timing") && !cJSON_GetObjectItem(usual->l.about, "timing"), "describe() says so");
    long want = -1, least = 0, most = 0;
    for (int kind = 0; kind < 4; kind += f == forms ? 1 : 3) { /* a trap for each instruction takes its time */
      int steps = usual->reset ? 2 * kind : 0;
      begin(usual, kind, steps);
      begin(steady, kind, steps);
      char state[sizeof usual->state]; /* a call changes it */
      memcpy(state, usual->state, sizeof state);
      long free_count = f == forms ? instructions(usual) : 0, count = instructions(steady);
      memcpy(usual->state, state, sizeof state);
      memcpy(steady->state, state, sizeof state);
      check(run(usual) == 0 && run(steady) == 0, "status");
      check(!memcmp(usual->out, steady->out, (size_t)usual->out_bytes), "the same bits");
      if (want < 0) want = least = most = count, least = most = free_count;
      if (!check(count > 0 && count == want, "as many instructions")) printf("  inputs %d: %ld, before %ld\n", kind, count, want);
      least = free_count < least ? free_count : least;
      most = free_count > most ? free_count : most;
    }
    if (f == forms) check(least < most, "which hangs on values in an object that is not bounded");
    printf("%s: %ld instructions\n", f->name, want);
    unload(usual);
    unload(steady);
  }
  dhc_model_close(m);
}

/* ---- quantised ------------------------------------------------------------------------------------------------------------ */

/* How many weights describe() calls quantised. */
static int says_quantised(void *so) {
  void *about = dlsym(so, "m_describe");
  const char *(*describe)(void);
  memcpy(&describe, &about, sizeof about);
  cJSON *all = cJSON_Parse(describe());
  const cJSON *w;
  int n = 0;
  cJSON_ArrayForEach(w, cJSON_GetObjectItem(all, "weights")) n += cJSON_IsTrue(cJSON_GetObjectItem(w, "quantized"));
  cJSON_Delete(all);
  return n;
}

/* Their self tests compare with this process, whose model has the rounded weights: the same whichever way the object computes, and
 * with an entry more. */
static void quantised(dhc_session *s, const Form *f, const char *how, bool source, double factor) {
  char weights[128], out[128], header[128], so[128], line[1024];
  dhc_model *m = open_form(s, f, weights);
  const char *entry = !strcmp(f->entry, "step") ? "forward" : f->entry;
  const char *const entries[] = {entry, f->entry};
  enum { USUAL, BOUNDED, SOURCE };
  for (int way = USUAL, n = 0; way <= (source ? SOURCE : BOUNDED) && m; way++) {
    const bool c = way == SOURCE;
    dhc_build_result r = {0};
    const dhc_build_options o = {.name = "m", .entries = entries, .n_entries = way == BOUNDED && entry != f->entry ? 2 : 1, .bounded = way == BOUNDED, .bind = strcmp(f->entry, "step") ? f->bind : "B=2,L=5", .weights = weights,
                                 .quantize = how, .selftest = 2, .c = c, .out = path(out, c ? "q.c" : "q.o"), .header = path(header, "m.h")};
    if (!good(dhc_model_build(m, &o, &r), s, "build")) break;
    snprintf(line, sizeof line, "%s -std=c99 -O1 -Wall -Wextra -Werror -ffp-contract=off -shared -fPIC -o %s %s", CC, path(so, "q.so"), out);
    if (c ? !check(system(line) == 0, "compiles") : !link_object(out, header, so)) break;
    void *l = dlopen(so, RTLD_NOW);
    if (!check(l != NULL, "load")) break;
    Memory work = memory_new(1 << 22);
    const intptr_t a[MAX_ARGS] = {(intptr_t)work.at, (intptr_t)work.bytes};
    check((int)call(dlsym(l, "m_selftest"), a) == 0, c ? "source: the bits of the rounded model" : "the bits of the rounded model");
    n = way == USUAL ? r.n_quantized : n;
    check(r.n_quantized == n && says_quantised(l) == n, "the same weights whichever way");
    check(r.n_quantized > 0 && r.deviation > 0 && r.deviation < 0.2 * r.largest + 0.05, "results move a little");
    if (!check((double)r.weights_bytes < factor * (double)r.weights_bytes_before, "constants are smaller"))
      printf("  %lld of %lld\n", (long long)r.weights_bytes, (long long)r.weights_bytes_before);
    memory_free(&work);
    dlclose(l);
  }
  dhc_model_close(m);
}

/* Nearly all of whose weights are read row by row, and what of the constants is left of them at most: by convolutions of several
 * tiles of channels, the last in part; of taps too many for tiles; in one dimension and for each channel; and by an index. */
typedef struct Rows {
  Form form;
  double int8, bf16;
} Rows;
static const Rows in_rows[] = {
    {{"convolutions", "dhc_ssm", NULL, {"hidden_dim=9", "state_dim=3"}, "forward", "B=2,H=17,W=16"}, 0.4, 0.6},
    {{"taps", "layers/conv", "Conv2d", {"in_channels=2", "out_channels=5", "kernel=11", "padding=5"}, "forward", "B=2,H=13,W=12"}, 0.4, 0.6},
    {{"gathered", "layers/embedding", "Embedding", {"n=50", "d=13"}, "forward", "S0=2,S1=5"}, 0.4, 0.6},
};

/* One-hot inputs read the weights out. */
static void rounding(dhc_session *s) {
  enum { IN = 7, OUT = 5 };
  static const Form f = {"rounding", "layers/linear", "Linear", {"in_features=7", "out_features=5", "bias=false"}, "forward", "S0=1,S1=7"};
  char weights[128], object[128], header[128], so[128];
  dhc_model *m = open_form(s, &f, weights);
  dhc_program *p = NULL;
  dhc_tensor t = {0};
  static Object o;
  if (!m || !good(dhc_program_open(m, "forward", DHC_MODE_RUN, &p), s, "program") || !good(dhc_program_load(p, weights, false), s, "load") ||
      !good(dhc_program_get(p, "weight", &t), s, "weight"))
    return;
  float w[OUT][IN];
  memcpy(w, t.data, sizeof w);
  for (int k = 0; k < 2; k++) {
    now = k ? "bf16" : "int8";
    const dhc_build_options b = {.name = "m", .bind = f.bind, .weights = weights, .quantize = now, .out = path(object, "r.o"), .header = path(header, "m.h")};
    if (!good(dhc_model_build(m, &b, NULL), s, "build") || !link_object(object, header, path(so, k ? "r1.so" : "r0.so")) || !load(&o, so, "forward")) break;
    for (int i = 0; i < IN * IN; i++) ((float *)(void *)o.in)[i] = i / IN == i % IN;
    check(run(&o) == 0, "status");
    const float *y = (const float *)(const void *)o.out;
    for (int n = 0; n < OUT; n++) {
      float most = 0;
      for (int i = 0; i < IN; i++) most = fabsf(w[n][i]) > most ? fabsf(w[n][i]) : most;
      for (int i = 0; i < IN; i++) {
        uint32_t bits, whole;
        memcpy(&bits, &w[n][i], 4);
        whole = (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u;
        float scale = most / 127, want = rintf(w[n][i] / scale) * scale;
        if (k) memcpy(&want, &whole, 4);
        if (!check(y[i * OUT + n] == want, "an element as it is rounded")) printf("  %a, not %a, from %a\n", (double)y[i * OUT + n], (double)want, (double)w[n][i]);
      }
    }
    unload(&o);
  }
  dhc_program_close(p);
  dhc_model_close(m);
}

/* ---- silence ------------------------------------------------------------------------------------------------------------------ */

typedef struct Decay {
  Form form;
  struct {
    const char *tensor;
    int kind; /* 0: zeros; 1: value on the diagonal; 2: value at [from, to) */
    int from, to;
    float value;
  } set[4];
} Decay;

/* Each decays by less than a hundredth a step, and would stay at some denormal number for ever. */
static const Decay decays[] = {
    {{"TemporalSSM", "layers/temporal_ssm", "TemporalSSM", {"d=5", "state_dim=6"}, "sequence.step", "N=1"}, {{"A", 1, 0, 0, 0.995f}}},
    {{"LSTM", "lstm", "LSTM", {"d_in=5", "d=4"}, "step", "B=1"},
     {{"weight_hh_l0", 0, 0, 0, 0}, {"bias_hh_l0", 0, 0, 0, 0}, {"bias_ih_l0", 2, 4, 8, 5}}},
    {{"Mamba", "layers/mamba", "Mamba", {"d_model=4", "d_state=4"}, "step", "B=1"}, {{"A_log", 2, 0, 1 << 20, -8}}},
};

static bool set_decay(dhc_session *s, dhc_model *m, const Decay *d, const char *weights) {
  dhc_program *p = NULL;
  bool ok = good(dhc_program_open(m, d->form.entry, DHC_MODE_RUN, &p), s, "program") && good(dhc_program_load(p, weights, false), s, "load");
  for (int i = 0; i < 4 && d->set[i].tensor && ok; i++) {
    dhc_tensor t = {0};
    if (!(ok = good(dhc_program_get(p, d->set[i].tensor, &t), s, d->set[i].tensor))) break;
    int n = 1;
    for (int k = 0; k < t.rank; k++) n *= (int)t.dim[k];
    for (int k = 0; k < n; k++) {
      bool on = d->set[i].kind == 1 ? k / (int)t.dim[1] == k % (int)t.dim[1] : d->set[i].kind == 2 && k >= d->set[i].from && k < d->set[i].to;
      ((float *)t.data)[k] = on ? d->set[i].value : 0;
    }
  }
  ok = ok && good(dhc_program_save(p, weights, false), s, "save");
  dhc_program_close(p);
  return ok;
}

/* Noise, then a silence of 24,000 steps: no number of the state is denormal on its way, but for a few rounds at most. */
static void silence(dhc_session *s, const Decay *d, Object *o) {
  char weights[128], object[128], header[128], so[128];
  dhc_model *m = open_form(s, &d->form, weights);
  const dhc_build_options b = {.name = "m", .entries = &d->form.entry, .n_entries = 1, .bind = d->form.bind, .weights = weights, .out = path(object, "s.o"),
                               .header = path(header, "m.h")};
  snprintf(so, sizeof so, "%s/%s.so", folder, d->form.name);
  if (m && set_decay(s, m, d, weights) && good(dhc_model_build(m, &b, NULL), s, "build") && link_object(object, header, so) && load(o, so, d->form.entry)) {
    int denormal = 0, alive = 0;
    begin(o, 0, 0);
    for (int i = 0; i < 20; i++) inputs(o, 0), check(run(o) == 0, "noise");
    for (size_t i = 0; i < sizeof o->state / 4; i++) alive += ((float *)(void *)o->state)[i] != 0;
    inputs(o, 1);
    for (int step = 0; step < 24000; step++) {
      run(o);
      for (size_t i = 0; i < 64 && step % 50 == 0; i++) {
        float x = fabsf(((float *)(void *)o->state)[i]);
        denormal += x > 0 && x < 0x1p-126f;
      }
    }
    check(alive > 0, "noise is remembered");
    if (!check(denormal == 0, "no state stays at denormal numbers")) printf("  %d\n", denormal);
    call(dlsym(o->l.so, "m_prefault"), (const intptr_t[MAX_ARGS]){0, 0, (intptr_t)o->state, sizeof o->state});
    int kept = 0;
    memset(o->work, 7, sizeof o->work);
    call(dlsym(o->l.so, "m_prefault"), (const intptr_t[MAX_ARGS]){(intptr_t)o->in, sizeof o->in, (intptr_t)o->work, 5000});
    for (size_t i = 0; i < sizeof o->work; i++) kept += o->work[i] == 7;
    check(kept == sizeof o->work, "prefault leaves what is there");
    unload(o);
  }
  dhc_model_close(m);
}

int main(void) {
  static Object usual, steady;
  begin_tests();
  dhc_session *s = NULL;
  const dhc_session_options o = {.threads = 1};
  if (good(dhc_session_open(&o, &s), s, "session")) {
    for (int i = 0; i < N_FORMS; i++) now = forms[i].name, bounded(s, &forms[i], &usual, &steady);
    for (int i = 0; i < N_FORMS; i++) {
      now = forms[i].name;
      quantised(s, &forms[i], "int8", i == 0, 0.95);
      if (i == 0) quantised(s, &forms[i], "bf16", true, 0.97);
    }
    for (size_t i = 0; i < 2 * sizeof in_rows / sizeof *in_rows; i++) {
      const Rows *r = &in_rows[i / 2];
      now = r->form.name;
      quantised(s, &r->form, i % 2 ? "bf16" : "int8", true, i % 2 ? r->bf16 : r->int8);
    }
    rounding(s);
    for (size_t i = 0; i < sizeof decays / sizeof *decays; i++) now = decays[i].form.name, silence(s, &decays[i], &usual);
  }
  dhc_session_close(s);
  return end_tests();
}
