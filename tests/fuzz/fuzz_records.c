/* Fuzz target for what training and sweeps read back of their own texts. The first byte says which file the rest is:
 * c config.json of a run that goes on before its first checkpoint, k behind it, m its metrics.csv; s sweep.json and r
 * run.json of a sweep that is merged. What a merge has written can be merged again. */
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dhc/dhc.h"
#include "tests/fuzz/fuzz.h"

#define HASH "0123456789abcdef"
#define RUN_ID "00112233445566778899aabbccddeeff"
static const char model[] = "import std/nn\nmodel M(d: int = 2) {\n  param w: [d] = ones()\n  loss<B>(x: [B, d], target: i64[B]) -> (loss: []) {"
                            " return mean(x * w) + 0.0 * mean(float(target)) }\n}\n";
static const char sweep[] = "{\"format\": 1, \"command\": \"dhcc sweep\", \"settings\": {\"epochs\": \"2\"}, \"seeds\": [0], \"variants\": "
                            "[{\"name\": \"a\", \"hash\": \"" HASH "\", \"settings\": \"lr=1\", \"mixers\": \"\", \"pattern\": \"\", \"order\": \"\","
                            " \"sequence_length\": -1, \"parameters\": 2}], \"merged\": []}";
static const char run[] = "{\"name\": \"a\", \"hash\": \"" HASH "\", \"seed\": 0, \"run_id\": \"" RUN_ID "\", \"status\": \"done\", \"loss\": 0.5}";
static char root[200];
static uint8_t config[8192], checkpoint[8192]; /* of a run of one step */
static size_t n_config, n_checkpoint;

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
  (void)st, (void)kind, (void)at;
  return remove(path);
}

static void clear(const char *name) {
  char path[300];
  snprintf(path, sizeof path, "%s/%s", root, name);
  nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void clear_all(void) {
  clear("run"), clear("sweep"), clear("merged"), clear("again"), clear("data");
}

static void folder(const char *name) {
  char path[300];
  snprintf(path, sizeof path, "%s/%s", root, name);
  fuzz_check(mkdir(path, 0777) == 0, "a folder can be made");
}

static void file(const char *name, const void *bytes, size_t n) {
  (void)fuzz_file(name, bytes, n);
}

static size_t read_back(const char *name, uint8_t *to, size_t max) {
  char path[300];
  snprintf(path, sizeof path, "%s/%s", root, name);
  FILE *f = fopen(path, "rb");
  size_t n = f ? fread(to, 1, max, f) : 0;
  if (f) fclose(f);
  fuzz_check(n > 0 && n < max, "a run leaves its config and a checkpoint");
  return n;
}

static void write_npy(const char *name, const char *header) {
  uint8_t npy[128 + 16] = "\x93NUMPY\x01\x00v"; /* a header of 118 bytes, zeros behind it */
  memset(npy + 10, ' ', 118);
  memcpy(npy + 10, header, strlen(header));
  npy[127] = '\n';
  file(name, npy, sizeof npy);
}

static bool told(dhc_status st) {
  fuzz_check(st.code == DHC_OK || st.message[0], "a failure has a message");
  return st.code == DHC_OK;
}

static void silent(void *ctx, const char *line) {
  (void)ctx;
  fuzz_check(line[0] != 0, "a warning has a text");
}

static bool stop(void *ctx, const dhc_train_progress *p) {
  (void)ctx, (void)p;
  return false;
}

/* A run goes on: its settings are compared, its rows kept and replayed. */
static void train(bool resume) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  char path[300], out[300], data[300];
  snprintf(path, sizeof path, "%s/m.dhc", root);
  snprintf(out, sizeof out, "%s/run", root);
  snprintf(data, sizeof data, "npy:%s/data", root);
  dhc_session_options so = {.threads = 1, .backend = "interp", .cache_dir = "", .model_path = DHC_FUZZ_MODELS, .warn = silent};
  if (told(dhc_session_open(&so, &s)) && told(dhc_model_open(s, &(dhc_model_options){.name = path}, &m))) {
    dhc_train_options o = {.data = data, .out = out, .batch = 1, .epochs = 1, .val_fraction = -1, .resume = resume, .tensorboard = true, .progress = stop};
    dhc_train_result r;
    (void)told(dhc_train(m, &o, &r));
  }
  dhc_model_close(m);
  dhc_session_close(s);
}

static void merge(void) {
  char from[300], to[300], again[300];
  snprintf(from, sizeof from, "%s/sweep", root);
  snprintf(to, sizeof to, "%s/merged", root);
  snprintf(again, sizeof again, "%s/again", root);
  const char *first = from, *second = to;
  dhc_sweep_train_result r, same;
  if (!told(dhc_sweep_merge(to, &first, 1, &r))) return;
  fuzz_check(told(dhc_sweep_merge(again, &second, 1, &same)), "what a merge has written can be merged");
  fuzz_check(same.done == r.done && same.numeric == r.numeric && same.variants == r.variants, "a merge of one has the same runs");
}

static void begin(void) {
  snprintf(root, sizeof root, "%s", fuzz_folder());
  atexit(clear_all);
  file("m.dhc", model, sizeof model - 1);
  folder("data"), folder("data/train");
  write_npy("data/train/x.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }");
  write_npy("data/train/target.npy", "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }");
  train(false);
  n_config = read_back("run/config.json", config, sizeof config);
  n_checkpoint = read_back("run/checkpoint-000000001.safetensors", checkpoint, sizeof checkpoint);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  if (!n) return 0;
  if (!root[0]) begin();
  uint8_t what = *data++;
  n--;
  if (what == 'c' || what == 'k' || what == 'm') {
    clear("run");
    folder("run");
    file("run/config.json", what == 'm' ? config : data, what == 'm' ? n_config : n);
    if (what != 'c') file("run/checkpoint-000000001.safetensors", checkpoint, n_checkpoint);
    if (what == 'm') file("run/metrics.csv", data, n);
    train(true);
  } else {
    clear("sweep"), clear("merged"), clear("again");
    folder("sweep"), folder("sweep/runs"), folder("sweep/runs/" HASH "-s0");
    file("sweep/sweep.json", what == 's' ? (const void *)data : sweep, what == 's' ? n : sizeof sweep - 1);
    file("sweep/runs/" HASH "-s0/run.json", what == 's' ? (const void *)run : data, what == 's' ? sizeof run - 1 : n);
    merge();
  }
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) {
  static const char *const words[] = {"\"run_id\"", "\"command\"", "\"model_hash\"", "\"run\"", "\"replaces\"", "\"format\": 1", "\"settings\"",
                                      "\"seeds\"", "\"variants\"", "\"merged\"", "\"baseline\"", "\"metric_asked\"", "\"name\"", "\"hash\"",
                                      "\"same_as\"", "\"sequence_length\"", "\"parameters\"", "\"status\"", "\"done\"", "\"numeric\"", "\"seed\"",
                                      "\"" HASH "\"", "\"" RUN_ID "\"", "\"optimizer\"", "\"lr\"", "\"lr.values\"", "[", "]", "{", "}", ",", ":", "null",
                                      "true", "0", "1", "-1", "1e300", "4294967296", "9007199254740993", "0.5", "\"\"", "nan", "inf", "step", "loss", NULL};
  return fuzz_mutate_text(data, n, max, seed, words);
}
