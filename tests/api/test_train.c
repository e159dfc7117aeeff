/* dhc_train from a program: whose a folder is, what a run that goes on may not differ in, and that a
 * stop asked for by the progress callback, at any of its calls, leaves no trace at the end. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dhc/dhc.h"

static int fails;
static char root[300], data[320], folder[320];

static void check(bool ok, const char *what) {
  if (ok) return;
  printf("FAILED: %s\n", what);
  fails++;
}

static void fails_with(dhc_status st, dhc_code code, const char *text, const char *what) {
  if (st.code == code && strstr(st.message, text)) return;
  printf("FAILED: %s: %d \"%s\", want %d \"%s\"\n", what, st.code, st.message, code, text);
  fails++;
}

static void put_be32(FILE *f, unsigned v) {
  for (int shift = 24; shift >= 0; shift -= 8) fputc((int)(v >> shift & 255), f);
}

enum { EXAMPLES = 60, SIDE = 6 };

/* Images of one bright column, whose place is the label. */
static void write_data(void) {
  char path[400];
  mkdir(data, 0777);
  snprintf(path, sizeof path, "%s/train-images-idx3-ubyte", data);
  FILE *f = fopen(path, "wb");
  if (!f) abort();
  put_be32(f, 0x803), put_be32(f, EXAMPLES), put_be32(f, SIDE), put_be32(f, SIDE);
  for (int i = 0; i < EXAMPLES * SIDE * SIDE; i++) fputc(i % SIDE == i / (SIDE * SIDE) % SIDE ? 200 : i * 7 % 60, f);
  fclose(f);
  snprintf(path, sizeof path, "%s/train-labels-idx1-ubyte", data);
  f = fopen(path, "wb");
  if (!f) abort();
  put_be32(f, 0x801), put_be32(f, EXAMPLES);
  for (int i = 0; i < EXAMPLES; i++) fputc(i % SIDE, f);
  fclose(f);
}

typedef struct Progress {
  int calls, stop_at; /* 0: never */
  const char *second; /* a folder to train in from within, or NULL */
} Progress;

static dhc_status train_in(const char *out, const dhc_train_options *more, dhc_train_result *r);

static bool progress(void *ctx, const dhc_train_progress *p) {
  Progress *pr = ctx;
  (void)p;
  if (++pr->calls == 1 && pr->second) {
    dhc_train_result r;
    fails_with(train_in(pr->second, &(dhc_train_options){.resume = true}, &r), DHC_E_ENVIRONMENT, "another process writes there",
               "a second training of one process");
  }
  return pr->calls != pr->stop_at;
}

static dhc_status train_in(const char *out, const dhc_train_options *more, dhc_train_result *r) {
  static const char *const sets[] = {"height=6", "width=6", "hidden=4", "depth=1"};
  char spec[340];
  snprintf(spec, sizeof spec, "idx:%s", data);
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  dhc_train_options o = *more;
  o.data = spec;
  o.out = out;
  o.batch = o.batch ? o.batch : 16;
  o.epochs = o.epochs ? o.epochs : 2;
  if (!(o.lr != 0)) o.lr = 0.01;
  if (!(o.clip != 0)) o.clip = -1;
  dhc_status st = dhc_session_open(NULL, &s);
  if (st.code == DHC_OK) st = dhc_model_open(s, &(dhc_model_options){.name = "mlp", .sets = sets, .n_sets = 4}, &m);
  if (st.code == DHC_OK) st = dhc_train(m, &o, r);
  dhc_model_close(m);
  dhc_session_close(s);
  return st;
}

static void remove_tree(const char *path) {
  char cmd[700];
  snprintf(cmd, sizeof cmd, "rm -rf '%s'", path);
  if (system(cmd)) abort();
}

static long size_and_bytes(const char *out, const char *name, char **bytes) {
  char path[500];
  snprintf(path, sizeof path, "%s/%s", out, name);
  FILE *f = fopen(path, "rb");
  long n = -1;
  *bytes = NULL;
  if (f && !fseek(f, 0, SEEK_END) && (n = ftell(f)) >= 0) {
    *bytes = malloc((size_t)n + 1);
    rewind(f);
    if (!*bytes || fread(*bytes, 1, (size_t)n, f) != (size_t)n) n = -2;
  }
  if (f) fclose(f);
  return n;
}

static bool same_file(const char *a, const char *b, const char *name) {
  char *x, *y;
  long n = size_and_bytes(a, name, &x), k = size_and_bytes(b, name, &y);
  bool same = n > 0 && n == k && !memcmp(x, y, (size_t)n);
  free(x);
  free(y);
  return same;
}

static void folders(void) {
  dhc_train_result r, again;
  Progress second = {.second = folder};
  fails_with(train_in(folder, &(dhc_train_options){.progress = progress, .ctx = &second}, &r), DHC_OK, "", "a run");
  check(strlen(r.run_id) == 32 && strspn(r.run_id, "0123456789abcdef") == 32, "a run has an id");
  fails_with(train_in(folder, &(dhc_train_options){0}, &again), DHC_E_INPUT, "holds a run already", "a used folder");
  fails_with(train_in(folder, &(dhc_train_options){.resume = true, .seed = 2}, &again), DHC_E_INPUT,
             "seed: 0 in the run, 2 now (give what the run has, or --allow-changed seed)", "another seed");
  fails_with(train_in(folder, &(dhc_train_options){.resume = true, .shuffle_off = true}, &again), DHC_E_INPUT,
             "shuffle: on in the run, off now", "no shuffling");
  fails_with(train_in(folder, &(dhc_train_options){.resume = true, .seed = 2, .epochs = 3, .allow_changed = "seed"}, &again), DHC_OK, "",
             "an allowed change");
  check(!strcmp(r.run_id, again.run_id) && again.steps > r.steps, "a run that goes on keeps its id");
  fails_with(train_in(folder, &(dhc_train_options){.overwrite = true}, &again), DHC_OK, "", "overwrite");
  check(strcmp(r.run_id, again.run_id) != 0 && again.steps == r.steps, "overwrite begins another run");
}

static void usage(void) {
  dhc_train_result r;
  const struct {
    dhc_train_options o;
    const char *text;
  } wrong[] = {
      {{.resume = true, .overwrite = true}, "--resume and --overwrite exclude each other"},
      {{.allow_changed = "lr"}, "--allow-changed: only a run that goes on (--resume) can have changes"},
      {{.resume = true, .allow_changed = "lr,sed"}, "--allow-changed: a run has no 'sed' (did you mean 'seed'?)"},
      {{.seed = 1ull << 32}, "--seed: needs at most 4294967295, got 4294967296"},
      {{.batch = -1}, "--batch: needs a whole number, got -1"},
      {{.limit = -1}, "--limit: needs a whole number, got -1"},
      {{.save_every = -1}, "--save-every: needs a whole number, got -1"},
      {{.lr = NAN}, "--lr: needs a finite number"},
      {{.lr = -1}, "--lr: needs a finite number"},
      {{.clip = NAN}, "--clip: needs a number, got nan"},
      {{.val_fraction = NAN}, "--val-fraction: needs a share below 1, got nan"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    fails_with(train_in(wrong[i].o.allow_changed && !wrong[i].o.resume ? root : folder, &wrong[i].o, &r), DHC_E_USAGE, wrong[i].text,
               "a wrong option");
}

/* Every call of the progress callback is a place to stop at. */
static void stops(void) {
  char whole[400], parts[400];
  dhc_train_result r;
  Progress count = {0};
  snprintf(whole, sizeof whole, "%s/whole", root);
  snprintf(parts, sizeof parts, "%s/parts", root);
  fails_with(train_in(whole, &(dhc_train_options){.progress = progress, .ctx = &count}, &r), DHC_OK, "", "a run");
  check(count.calls >= 8, "rows of a run");
  for (int k = 1; k <= count.calls; k++) {
    Progress stop = {.stop_at = k};
    remove_tree(parts);
    dhc_status st = train_in(parts, &(dhc_train_options){.progress = progress, .ctx = &stop}, &r);
    fails_with(st, DHC_E_INTERRUPTED, "go on with --resume", "a stop");
    fails_with(train_in(parts, &(dhc_train_options){.resume = true}, &r), DHC_OK, "", "going on");
    if (!same_file(whole, parts, "last.safetensors") || !same_file(whole, parts, "best.safetensors")) {
      printf("FAILED: stopped at call %d: other weights\n", k);
      fails++;
    }
  }
}

int main(void) {
  const char *tmp = getenv("TMPDIR");
  snprintf(root, sizeof root, "%s/dhc-train-XXXXXX", tmp && strlen(tmp) < 200 ? tmp : "/tmp");
  if (!mkdtemp(root)) return 1;
  snprintf(data, sizeof data, "%s/data", root);
  snprintf(folder, sizeof folder, "%s/run", root);
  write_data();
  folders();
  usage();
  stops();
  remove_tree(root);
  if (!fails) printf("ok\n");
  return fails != 0;
}
