/* Training steps of objects against those of a program: outputs of every step, and all of the state after the last; a step that
 * is not finite; the state begun anew, set and got; the same from source.
 *
 *   test_training [case] */
#include "loaded.h"
#ifdef __x86_64__
#define SEVERAL true
#else
#define SEVERAL false
#endif

enum { N_STEPS = 4, MAX_SIZES = 4 };

typedef struct Case {
  const char *name, *model, *root;
  const char *sets[MAX_SETS];
  int size[MAX_SIZES];
  bool source; /* of C99 too */
  bool levels; /* of several levels of the machine */
} Case;

/* Averaged weights, buffers that training writes, dropout, clipping. */
static const char averaged[] =
    "import std/nn\nimport std/optim\nimport layers/linear\nimport layers/norm\n"
    "model Averaged(d: int in 1..64 = 6) {\n"
    "  lift = Linear(5, d)\n  norm = BatchNorm2d(d)\n  head = Linear(d, 3)\n"
    "  forward<B>(x: [B, 5]) -> (y: [B, 3]) {\n"
    "    return head(dropout(relu(reshape(norm(reshape(lift(x), [B, d, 1, 1])), [B, d])), 0.2))\n  }\n"
    "  loss<B>(x: [B, 5], target: i64[B]) -> (loss: [], y: [B, 3]) {\n    y = forward(x)\n    return cross_entropy(y, target), y\n  }\n"
    "}\n"
    "recipe default for Averaged {\n  optimizer = adamw(weight_decay = 0.1)\n  ema = 0.9\n  clip = 0.05\n}\n";

static const Case cases[] = {
    {"mlp", "mlp", NULL, {"hidden=9", "width=4", "height=4"}, {6}, false, true},
    {"averaged", NULL, NULL, {NULL}, {7}, true, false},
    {"dhc_ssm", "dhc_ssm", NULL, {"hidden_dim=8", "label_smoothing=0.1"}, {2, 16, 16}, false, false},
    {"dhc_jamba", "dhc_jamba", NULL, {"hidden_dim=4", "num_layers=2", "mamba_ratio=1", "num_heads=2", "num_experts=3"}, {2, 16, 16}, false, false},
    {"seq", "seq", NULL, {"vocabulary=7", "d_model=8", "num_layers=2", "mamba_ratio=1", "num_heads=2", "num_experts=3", "d_state=4"}, {2, 9}, false, false},
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

typedef struct Run {
  const Case *c;
  dhc_session *s;
  dhc_program *p;
  Loaded l;
  dhc_tensor in[8];
  int n_in, n_sizes, workers;
  char scalars[256];
  Memory state;
} Run;

static int size_of(const cJSON *list) { return cJSON_GetArraySize(list); }
static const cJSON *of(const Run *r, const char *key) { return cJSON_GetObjectItem(r->l.entry, key); }

/* The member of the object's struct and the scalar of the program. */
static void set_scalar(Run *r, const char *name, double v) {
  char dollar[64];
  const cJSON *s;
  bool found = false;
  snprintf(dollar, sizeof dollar, "$%s", name);
  cJSON_ArrayForEach(s, of(r, "scalars")) {
    char *at = r->scalars + cJSON_GetObjectItem(s, "at")->valueint;
    if (strcmp(cJSON_GetObjectItem(s, "name")->valuestring, name)) continue;
    found = true;
    if (!strcmp(cJSON_GetObjectItem(s, "dtype")->valuestring, "i64")) memcpy(at, &(int64_t){(int64_t)v}, 8);
    else memcpy(at, &(float){(float)v}, 4);
  }
  if (strcmp(name, "seed") && strcmp(name, "step")) check(found, "the step has lr and opt_step");
  if (found) check(dhc_program_set_scalar(r->p, dollar, v).code == DHC_OK, "scalar");
}

/* As the header's initialiser has them. */
static void begin_scalars(Run *r) {
  const cJSON *s;
  cJSON_ArrayForEach(s, of(r, "scalars")) {
    char *at = r->scalars + cJSON_GetObjectItem(s, "at")->valueint;
    double v = cJSON_GetObjectItem(s, "value")->valuedouble;
    if (!strcmp(cJSON_GetObjectItem(s, "dtype")->valuestring, "i64")) memcpy(at, &(int64_t){(int64_t)v}, 8);
    else memcpy(at, &(float){(float)v}, 4);
  }
}

static void make_inputs(Run *r) {
  const cJSON *t;
  cJSON_ArrayForEach(t, of(r, "inputs")) {
    const cJSON *type = cJSON_GetObjectItem(t, "type");
    dhc_tensor *in = &r->in[r->n_in++];
    *in = (dhc_tensor){.name = cJSON_GetObjectItem(t, "name")->valuestring, .dtype = dtype_of(type->valuestring)};
    in->rank = n_dims_of(type, of(r, "sizes"), r->c->size, in->dim);
    in->data = malloc((size_t)dhc_tensor_bytes(in));
    if (!in->data) abort();
  }
}

/* One call of the object; outputs as `want` says, or (NULL) only its last one, whether the step was finite. */
static int step(Run *r, const dhc_tensor *want, int n_want, bool *finite) {
  intptr_t a[MAX_ARGS] = {0}, s[MAX_ARGS] = {0};
  Memory out[8] = {{0}};
  int n = 0, n_out = size_of(of(r, "outputs"));
  Exec exec = {&r->workers, r->workers, backwards};
  for (int i = 0; i < r->n_sizes; i++) s[i] = r->c->size[i];
  s[r->n_sizes] = r->workers ? r->workers : 1;
  Memory work = memory_new((size_t)call(symbol(&r->l, "_workspace_bytes"), s));
  memset(work.at, 0xff, work.bytes);
  a[n++] = (intptr_t)r->state.at;
  for (int i = 0; i < r->n_in; i++) a[n++] = (intptr_t)r->in[i].data;
  check(!want || n_out == n_want, "as many outputs");
  for (int i = 0; i < n_out; i++) {
    out[i] = memory_new(want ? (size_t)dhc_tensor_bytes(&want[i]) : 4096);
    a[n++] = (intptr_t)out[i].at;
  }
  a[n++] = (intptr_t)r->scalars;
  for (int i = 0; i < r->n_sizes; i++) a[n++] = s[i];
  a[n++] = (intptr_t)work.at;
  a[n++] = (intptr_t)work.bytes;
  a[n] = r->workers ? (intptr_t)&exec : 0;
  int got = (int)call(symbol(&r->l, ""), a);
  *finite = *out[n_out - 1].at != 0;
  for (int i = 0; i < n_out; i++) {
    if (want) check(!memcmp(out[i].at, want[i].data, out[i].bytes), want[i].name);
    memory_free(&out[i]);
  }
  a[1 + r->n_in + n_out] = 0;
  check((int)call(symbol(&r->l, ""), a) == 1, "scalars that are NULL are refused");
  memory_free(&work);
  return got;
}

/* Every tensor of the state, as the program has it: weights and buffers by name, ranges as one piece a weight. */
static void same_state(Run *r) {
  const cJSON *k, *w;
  cJSON_ArrayForEach(k, of(r, "state_tensors")) {
    const char *name = cJSON_GetObjectItem(k, "name")->valuestring;
    int at = cJSON_GetObjectItem(k, "at")->valueint;
    dhc_tensor t;
    if (dhc_program_get(r->p, name, &t).code == DHC_OK) {
      check(!memcmp(r->state.at + at, t.data, (size_t)dhc_tensor_bytes(&t)), name);
      continue;
    }
    int found = 0;
    cJSON_ArrayForEach(w, of(r, "state_tensors")) {
      char piece[256];
      snprintf(piece, sizeof piece, "%s:%s", name, cJSON_GetObjectItem(w, "name")->valuestring);
      if (dhc_program_get(r->p, piece, &t).code != DHC_OK) continue;
      found++;
      check(!memcmp(r->state.at + at + cJSON_GetObjectItem(w, "at")->valueint, t.data, (size_t)dhc_tensor_bytes(&t)), piece);
    }
    check(found || !strcmp(name, "begun"), name);
  }
}

static void all_inputs(Run *r, uint32_t seed) {
  for (int i = 0; i < r->n_in; i++) {
    fill(r->in[i].data, r->in[i].dtype, dhc_tensor_elements(&r->in[i]), seed + (uint32_t)i);
    for (int64_t k = 0; r->in[i].dtype == DHC_I64 && k < dhc_tensor_elements(&r->in[i]); k++) ((int64_t *)r->in[i].data)[k] %= 3;
  }
}

static void steps(Run *r) {
  const dhc_tensor *want;
  int n;
  bool finite;
  for (int i = 0; i < N_STEPS; i++) {
    all_inputs(r, 100u * (uint32_t)i);
    set_scalar(r, "lr", 0.01 / (i + 1));
    set_scalar(r, "step", i);
    set_scalar(r, "opt_step", i + 1);
    set_scalar(r, "seed", 5);
    if (!good(dhc_program_run(r->p, 0, r->in, r->n_in, &want, &n), r->s, "the program's step")) return;
    r->workers = i == 1 ? 3 : 0;
    check(step(r, want, n, &finite) == 0 && finite, "the object's step");
  }
  same_state(r);
}

static int handle(const Run *r, const char *end, intptr_t a, intptr_t b, intptr_t c, intptr_t d) {
  char name[128];
  snprintf(name, sizeof name, "%s%s", of(r, "training")->valuestring, end);
  return (int)call_named(&r->l, name, a, b, c, d);
}

/* Nothing changes where the loss is not finite; tensors in and out; the optimiser begun anew. */
static void handling(Run *r) {
  intptr_t at = (intptr_t)r->state.at;
  bool finite;
  char *before = malloc(r->state.bytes), *tensor = malloc(r->state.bytes);
  if (!before || !tensor) abort();
  memcpy(before, r->state.at, r->state.bytes);
  for (int i = 0; i < r->n_in; i++)
    if (r->in[i].dtype == DHC_F32) {
      ((float *)r->in[i].data)[0] = (float)1e39;
      check(step(r, NULL, 0, &finite) == 0 && !finite, "a step that is not finite says so");
      check(!memcmp(before, r->state.at, r->state.bytes), "and changes nothing");
    }
  const cJSON *k;
  int i = 0;
  cJSON_ArrayForEach(k, of(r, "state_tensors")) {
    int64_t bytes = !strcmp(cJSON_GetObjectItem(k, "dtype")->valuestring, "i64") ? 8 : 4;
    const cJSON *d;
    cJSON_ArrayForEach(d, cJSON_GetObjectItem(k, "shape")) bytes *= d->valueint;
    check(handle(r, "_get", at, i, (intptr_t)tensor, (intptr_t)bytes) == 0, "get");
    check(!memcmp(tensor, before + cJSON_GetObjectItem(k, "at")->valueint, (size_t)bytes), "what is got");
    memset(r->state.at + cJSON_GetObjectItem(k, "at")->valueint, 1, (size_t)bytes);
    check(handle(r, "_set", at, i, (intptr_t)tensor, (intptr_t)bytes) == 0, "set");
    check(handle(r, "_set", at, i, (intptr_t)tensor, (intptr_t)bytes + 4) == 5, "set of another size");
    i++;
  }
  check(handle(r, "_get", at, i, (intptr_t)tensor, 4) == 5 && handle(r, "_set", at, -1, (intptr_t)tensor, 4) == 5, "tensors that are none");
  check(!memcmp(before, r->state.at, r->state.bytes), "what is got is what is set");
  check(handle(r, "_get", 0, 0, (intptr_t)tensor, 4) == 1 && handle(r, "_get", at, 0, 0, 4) == 1 && handle(r, "_reset", at + 4, 0, 0, 0) == 2 &&
            handle(r, "_init", at, (intptr_t)r->state.bytes - 1, 0, 0) == 4, "NULL, no multiple of 64, too little");
  check(handle(r, "_reset", at, 0, 0, 0) == 0, "reset");
  check(memcmp(before, r->state.at, r->state.bytes) != 0, "the optimiser's state is gone");
  free(before);
  free(tensor);
}

static bool build(Run *r, dhc_model *m, bool source, char *so) {
  char object[128], header[128], line[512];
  const char *entry = "train_step";
  snprintf(object, sizeof object, "%s/m.%s", folder, source ? "c" : "o");
  snprintf(header, sizeof header, "%s/m.h", folder);
  snprintf(so, 128, "%s/t%d%d.so", folder, (int)(r->c - cases), source);
  const dhc_build_options bo = {.entries = &entry, .n_entries = 1, .name = "m", .seed = 3, .multiversion = r->c->levels && SEVERAL, .c = source, .out = object, .header = header};
  if (!good(dhc_model_build(m, &bo, NULL), r->s, "build")) return false;
  if (!source) return look_at_symbols(object), link_object(object, header, so);
  snprintf(line, sizeof line, "%s -std=c99 -O0 -Wall -Wextra -Werror -ffp-contract=off -shared -fPIC -o %s %s", CC, so, object);
  return check(system(line) == 0, "source compiles");
}

static void run_built(Run *r, dhc_model *m, bool source) {
  char so[128];
  const intptr_t none[MAX_ARGS] = {0};
  if (!build(r, m, source, so) || !check((r->l.so = dlopen(so, RTLD_NOW | RTLD_LOCAL)) != NULL, "dlopen")) return;
  r->l.about = cJSON_Parse((const char *)(intptr_t)call(dlsym(r->l.so, "m_describe"), none));
  r->l.entry = cJSON_GetArrayItem(cJSON_GetObjectItem(r->l.about, "entries"), 0);
  r->n_sizes = size_of(of(r, "sizes"));
  intptr_t sizes[MAX_ARGS] = {0};
  for (int i = 0; i < r->n_sizes; i++) sizes[i] = r->c->size[i];
  r->state = memory_new((size_t)call(symbol(&r->l, "_state_bytes"), sizes));
  memset(r->state.at, 0xff, r->state.bytes);
  if (!good(dhc_program_open(m, "loss", DHC_MODE_TRAIN, &r->p), r->s, "program")) return;
  if (good(dhc_program_init(r->p, 3), r->s, "init")) {
    make_inputs(r);
    begin_scalars(r);
    for (int round = 0; round < 2; round++) { /* what was there is forgotten */
      check(handle(r, "_init", (intptr_t)r->state.at, (intptr_t)r->state.bytes, 0, 0) == 0, "init");
      if (!good(dhc_program_init(r->p, 3), r->s, "init")) break;
      steps(r);
    }
    handling(r);
  }
  for (int i = 0; i < r->n_in; i++) free(r->in[i].data);
  dhc_program_close(r->p);
  memory_free(&r->state);
  cJSON_Delete(r->l.about);
  dlclose(r->l.so);
}

static void run_case(const Case *c) {
  char file[128];
  now = c->name;
  snprintf(file, sizeof file, "%s/averaged.dhc", folder);
  FILE *f = c->model ? NULL : fopen(file, "w");
  if (f && (fputs(averaged, f) < 0 || fclose(f))) abort();
  int n_sets = 0;
  while (n_sets < MAX_SETS && c->sets[n_sets]) n_sets++;
  for (int source = 0; source <= c->source; source++) {
    Run r = {.c = c};
    dhc_model *m = NULL;
    const dhc_session_options o = {.threads = 1};
    const dhc_model_options mo = {.name = c->model ? c->model : file, .root = c->root, .sets = c->sets, .n_sets = n_sets};
    if (good(dhc_session_open(&o, &r.s), r.s, "session") && good(dhc_model_open(r.s, &mo, &m), r.s, "model")) run_built(&r, m, source);
    dhc_model_close(m);
    dhc_session_close(r.s);
  }
}

int main(int argc, char **argv) {
  begin_tests();
  for (int i = 0; i < N_CASES; i++)
    if (argc < 2 || !strcmp(argv[1], cases[i].name)) run_case(&cases[i]);
  return end_tests();
}
