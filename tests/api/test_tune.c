/* Tuning: every schedule that a search may choose gives the same bytes, forward and backward; a file that is no tuning file, or
 * chooses what there is not, is refused with its line; a search goes on from its file.
 *
 *   test_tune FOLDER */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/tuning.h"

static int fails;

static bool good(dhc_status st, dhc_session *s, const char *what) {
  if (st.code == DHC_OK) return true;
  if (s) dhc_session_print_diagnostics(s, stdout, false);
  printf("FAILED: %s: %s\n", what, st.message);
  fails++;
  return false;
}

/* ---- the same bytes ------------------------------------------------------------------------------------ */

typedef struct Case {
  const char *model, *root, *sets[8], *input;
  int rank, dim[4];
} Case;

static const Case cases[] = {
    {"mlp", NULL, {"channels=3", "height=16", "width=16"}, "image", 4, {130, 3, 16, 16}},
    {"layers/attention", "MultiHeadAttention", {"d_model=16", "num_heads=2", "causal=true"}, "x", 3, {2, 70, 16}},
    {"layers/moe", "MoE", {"d_model=8", "num_experts=3"}, "x", 3, {2, 50, 8}},
    {"layers/mamba", "Mamba", {"d_model=6", "d_state=5"}, "x", 3, {2, 70, 6}},
    {"layers/conv", "Conv2d", {"in_channels=3", "out_channels=20", "kernel=3", "stride=2", "padding=1"}, "x", 4, {5, 3, 9, 17}},
    {"layers/conv", "Conv2d", {"in_channels=18", "out_channels=18", "kernel=3", "padding=1", "groups=18"}, "x", 4, {5, 18, 6, 7}},
    {"layers/conv", "Conv2d", {"in_channels=16", "out_channels=17", "kernel=3", "padding=1"}, "x", 4, {2, 16, 14, 20}},
    {"layers/norm", "BatchNorm2d", {"channels=3"}, "x", 4, {4, 3, 120, 90}},
};

typedef struct Bytes {
  char *at;
  size_t n;
} Bytes;

static bool run(const Case *c, int round, const char *file, Bytes *out) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  dhc_program *p = NULL;
  DhcTuning t = {.searches = true, .round = round};
  const dhc_tensor *r;
  int n_sets = 0, n = 0;
  dhc_tensor x = {.name = c->input, .dtype = DHC_F32, .rank = c->rank};
  for (int i = 0; i < c->rank; i++) x.dim[i] = c->dim[i];
  float *data = x.data = malloc((size_t)dhc_tensor_bytes(&x));
  if (!data) abort();
  uint32_t seed = 3;
  for (int64_t i = 0; i < dhc_tensor_elements(&x); i++) data[i] = (float)((seed = seed * 1664525u + 1013904223u) >> 8) * 0x1p-23f - 1;
  while (n_sets < 8 && c->sets[n_sets]) n_sets++;
  *out = (Bytes){0};
  snprintf(t.digest, sizeof t.digest, "round %d", round);
  bool ok = good(dhc_session_open(&(dhc_session_options){.threads = 2, .tuning = file}, &s), NULL, c->model);
  if (ok && round >= 0) s->tuning = &t;
  ok = ok && good(dhc_model_open(s, &(dhc_model_options){.name = c->model, .root = c->root, .sets = c->sets, .n_sets = n_sets}, &m), s, c->model) &&
       good(dhc_program_open(m, "forward", DHC_MODE_GRAD, &p), s, c->model) && good(dhc_program_init(p, 1), s, c->model) &&
       good(dhc_program_run(p, 0, &x, 1, &r, &n), s, c->model);
  for (int i = 0; ok && i < n; i++) {
    out->at = realloc(out->at, out->n + (size_t)dhc_tensor_bytes(&r[i]) + 1);
    if (!out->at) abort();
    memcpy(out->at + out->n, r[i].data, (size_t)dhc_tensor_bytes(&r[i]));
    out->n += (size_t)dhc_tensor_bytes(&r[i]);
  }
  dhc_program_close(p);
  dhc_model_close(m);
  dhc_session_close(s);
  free(data);
  return ok;
}

static void same(const Case *c, const Bytes *want, int round, const char *file) {
  Bytes got;
  if (run(c, round, file, &got) && (got.n != want->n || memcmp(got.at, want->at, want->n))) {
    printf("FAILED: %s: other bytes in round %d\n", c->model, round);
    fails++;
  }
  free(got.at);
}

static void all_rounds(int first) {
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Bytes want;
    if (!run(&cases[i], -1, NULL, &want)) continue;
    for (int round = first; round < DHC_MAX_CANDIDATES; round += first) same(&cases[i], &want, round, NULL);
    free(want.at);
  }
}

/* ---- files ----------------------------------------------------------------------------------------------- */

static void write_text(const char *path, const char *text) {
  FILE *f = fopen(path, "wb");
  if (!f || fputs(text, f) < 0 || fclose(f)) abort();
}

#define HASH "0123456789abcdef0123456789abcdef"
static void refuses(const char *path, const char *text, const char *says) {
  dhc_session *s = NULL;
  char want[400];
  write_text(path, text);
  snprintf(want, sizeof want, "%s: error: %s", path, says);
  dhc_status st = dhc_session_open(&(dhc_session_options){.tuning = path}, &s);
  if (st.code != DHC_E_INPUT || strcmp(st.message, want)) {
    printf("FAILED: \"%s\": %d \"%s\", want \"%s\"\n", text, (int)st.code, st.message, want);
    fails++;
  }
  dhc_session_close(s);
}

/* The machine stopped in a copy of the file: its end has a length, and no bytes yet. */
static void refuses_zeros(const char *path) {
  dhc_session *s = NULL;
  write_text(path, "dhcc tuning 1\n");
  FILE *f = fopen(path, "ab");
  if (!f || fwrite((char[16]){0}, 1, 16, f) != 16 || fclose(f)) abort();
  dhc_status st = dhc_session_open(&(dhc_session_options){.tuning = path}, &s);
  if (st.code != DHC_E_INPUT || !strstr(st.message, "byte 14 is 0, as a file's bytes are that were never written")) {
    printf("FAILED: zeros: %d \"%s\"\n", (int)st.code, st.message);
    fails++;
  }
  dhc_session_close(s);
}

static void bad_files(const char *path) {
  refuses_zeros(path);
  refuses(path, "", "line 1: this is no tuning file: it begins with \"dhcc tuning 1\"");
  refuses(path, "dhcc tuning 2\n", "line 1: this is no tuning file: it begins with \"dhcc tuning 1\"");
  refuses(path, "dhcc tuning 1\n\nkernel x\n", "line 3: a target stands before kernels and times");
  refuses(path, "dhcc tuning 1\ntarget t\nkernel x 0 dot 1 2 3 4 5 6 7 8\n", "line 3: a kernel is named by 32 hexadecimal digits");
  refuses(path, "dhcc tuning 1\ntarget t\ntime x 0 1\n", "line 3: a kernel is named by 32 hexadecimal digits");
  refuses(path, "dhcc tuning 1\ntarget t\nkernel " HASH " 99 dot 1 2 3 4 5 6 7 8\n", "line 3: behind a kernel stands the number of a size class");
  refuses(path, "dhcc tuning 1\ntarget t\nkernel " HASH " 0 dot 1 2 3\n", "line 3: a schedule is a template and eight whole numbers");
  refuses(path, "dhcc tuning 1\ntarget t\nkernel " HASH " 0 dot 1 2 3 4 5 6 7 -8\n", "line 3: a schedule is a template and eight whole numbers");
  refuses(path, "dhcc tuning 1\ntarget t\nkernel " HASH " 0 dot 1 2 3 4 5 6 7 8 9\n", "line 3: a schedule is a template and eight whole numbers");
  refuses(path, "dhcc tuning 1\ntarget t\ntime " HASH " 8 1\n", "line 3: a time is the number of a round and nanoseconds");
  char wide[5000];
  snprintf(wide, sizeof wide, "dhcc tuning 1\n#%4097s\n", "");
  refuses(path, wide, "line 2: a line this long is no line of a tuning file");
  refuses(path, "dhcc tuning 1\ntarget t\nfaster please\n", "line 3: a line begins with target, kernel, time or #");
}

/* A run with this file ends with this line. */
static void run_refused(const char *path, const char *text, const char *says) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  dhc_program *p = NULL;
  float x[2 * 784] = {0};
  const dhc_tensor in = {.name = "image", .dtype = DHC_F32, .rank = 4, .dim = {2, 1, 28, 28}, .data = x};
  write_text(path, text);
  bool ok = good(dhc_session_open(&(dhc_session_options){.threads = 1, .tuning = path}, &s), NULL, path) &&
            good(dhc_model_open(s, &(dhc_model_options){.name = "mlp"}, &m), s, path) && good(dhc_program_open(m, "forward", DHC_MODE_RUN, &p), s, path) &&
            good(dhc_program_init(p, 1), s, path);
  dhc_status st = ok ? dhc_program_run(p, 0, &in, 1, NULL, NULL) : dhc_status_ok();
  if (st.code != DHC_E_INPUT || !strstr(st.message, says)) {
    printf("FAILED: %d \"%s\", want \"%s\"\n", (int)st.code, st.message, says);
    fails++;
  }
  dhc_program_close(p);
  dhc_model_close(m);
  dhc_session_close(s);
}

/* ---- a search ---------------------------------------------------------------------------------------------- */

static int rounds_done;

static void count(void *ctx, int round, int rounds) {
  (void)ctx, (void)round, (void)rounds;
  rounds_done++;
}

static dhc_status tune(const char *path, const char *sizes, const char *backend, const char *tuning, dhc_tune_result *r) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  const dhc_tune_options o = {.sizes = sizes, .file = path, .repeat = 1, .progress = count};
  rounds_done = 0;
  dhc_status st = dhc_status_ok();
  if (good(dhc_session_open(&(dhc_session_options){.threads = 1, .backend = backend, .tuning = tuning}, &s), NULL, "session") &&
      good(dhc_model_open(s, &(dhc_model_options){.name = "mlp"}, &m), s, "model"))
    st = dhc_model_tune(m, &o, r);
  dhc_model_close(m);
  dhc_session_close(s);
  return st;
}

static void says(dhc_status st, const char *what) {
  if (st.code == DHC_E_USAGE && strstr(st.message, what)) return;
  printf("FAILED: %d \"%s\", want \"%s\"\n", (int)st.code, st.message, what);
  fails++;
}

static void expect(bool ok, const char *what) {
  if (ok) return;
  printf("FAILED: %s\n", what);
  fails++;
}

/* A file in which every kernel of the search has its last candidate is read and gives the same bytes; then a line of it is wrong. */
static void search(const char *path, const char *other) {
  dhc_tune_result r;
  char text[1 << 16], target[4200] = "";
  remove(path);
  if (!good(tune(path, "B=2", NULL, NULL, &r), NULL, "search")) return;
  expect(r.kernels > 1 && r.rounds > 1 && rounds_done == r.rounds, "a search does all its rounds");
  if (!good(tune(path, "B=2", NULL, NULL, &r), NULL, "search again")) return;
  expect(rounds_done == 1, "a search that is done does the first round alone");
  FILE *f = fopen(path, "rb");
  size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
  if (f) fclose(f);
  text[n] = 0;
  sscanf(text, "dhcc tuning 1\ntarget %4095[^\n]", target);
  char *time = strstr(text, "time ");
  expect(time != NULL, "a search keeps its times");
  if (!time) return;
  char spec[33], line[8192];
  snprintf(spec, sizeof spec, "%.32s", time + 5);
  snprintf(line, sizeof line, "dhcc tuning 1\ntarget %s\nkernel %s 9 dot 1 2 3 4 5 6 7 8\n", target, spec);
  run_refused(other, line, "line 3: this kernel has no such size class; dhcc tune writes the file anew");
  snprintf(line, sizeof line, "dhcc tuning 1\ntarget %s\nkernel %s 0 dot 6 4 16 1 2 3 4 5\n", target, spec);
  run_refused(other, line, "line 3: this kernel has no such schedule to choose; dhcc tune writes the file anew");
  snprintf(line, sizeof line, "nothing in it is for this target; dhcc tune -o %s adds it: ", other);
  run_refused(other, "dhcc tuning 1\ntarget pdp-11\n", line);
  run_refused(other, "dhcc tuning 1\n", line);
  dhc_status big = tune(other, "B=2000000000", NULL, NULL, &r);
  expect(big.code == DHC_E_INPUT && strstr(big.message, "the inputs of entry 'forward' need more memory than the limit leaves (--max-memory)"), big.message);
  says(tune(path, "B=2", "interp", NULL, &r), "tune: --backend interp has no kernels");
  says(tune(path, "B=2", NULL, path, &r), "tune: it begins with the usual schedules, without --tuning");
  Bytes want;
  const Case mlp = {"mlp", NULL, {NULL}, "image", 4, {2, 1, 28, 28}};
  if (run(&mlp, -1, NULL, &want)) same(&mlp, &want, -1, path);
  free(want.at);
}

int main(int argc, char **argv) {
  char path[4096], other[4096];
  if (argc < 2) return 2;
  snprintf(path, sizeof path, "%s/tune_%d.tuning", argv[1], (int)sizeof cases);
  snprintf(other, sizeof other, "%s/tune_other.tuning", argv[1]);
  all_rounds(getenv("DHC_SANITIZED") ? 3 : 1);
  bad_files(path);
  search(path, other);
  remove(path);
  remove(other);
  printf("%d failures\n", fails);
  return fails > 0;
}
