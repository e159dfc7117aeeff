/* A host program whose locale writes 0,5: everything the library reads and writes is as in "C". The
 * first argument is a folder with the locale (LOCPATH). */
#include <ftw.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dhc/dhc.h"

static const char *const stages[] = {"ast", "graph", "grad.graph", "train.graph", "fused", "spec", "plan"};
enum { N_STAGES = sizeof stages / sizeof stages[0], N_TEXTS = N_STAGES + 3 };

static void must(dhc_status st) {
  if (st.code == DHC_OK) return;
  printf("FAILED: %s\n", st.message);
  exit(1);
}

static void texts(const char *model, const char *backend, char *out[N_TEXTS]) {
  static const char *const sets[] = {"dropout=0.25"};
  dhc_session *s;
  dhc_model *m;
  must(dhc_session_open(&(dhc_session_options){.backend = backend, .threads = 1, .cache_dir = ""}, &s));
  must(dhc_model_open(s, &(dhc_model_options){.name = model, .sets = sets, .n_sets = !strcmp(model, "mlp")}, &m));
  for (int i = 0; i < N_STAGES; i++) must(dhc_model_print(m, NULL, stages[i], &out[i]));
  must(dhc_model_info_json(m, NULL, NULL, &out[N_STAGES]));
  must(dhc_recipe_json(m, NULL, &out[N_STAGES + 1]));
  must(dhc_opt_text(s, "t", "func @f(%0: f32[2] input \"x\") -> (%2 \"r\") entry {\n"
                            "  %1 = fill() {value = 0x1.8p-1, dtype = f32, shape = [2]} : f32[2]\n  %2 = mul(%0, %1) : f32[2]\n}\n",
                    "simplify", &out[N_STAGES + 2]));
  dhc_model_close(m);
  dhc_session_close(s);
}

/* ---- what a sweep reads back of its own files ------------------------------------------------- */

enum { SIDE = 6, EXAMPLES = 40 };
static char root[] = "/tmp/dhc_locale_XXXXXX";

static void put(const char *name, unsigned magic, int n, int rank) {
  char path[100];
  snprintf(path, sizeof path, "%s/%s", root, name);
  FILE *f = fopen(path, "wb");
  unsigned head[4] = {magic, (unsigned)n, SIDE, SIDE};
  if (!f) exit(1);
  for (int i = 0; i < 1 + rank; i++)
    for (int shift = 24; shift >= 0; shift -= 8) fputc((int)(head[i] >> shift & 255), f);
  for (int i = 0; i < n * (rank == 1 ? 1 : SIDE * SIDE); i++) fputc(rank == 1 ? i % 10 : i * 7 % 256, f);
  if (fclose(f)) exit(1);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
  (void)st, (void)kind, (void)at;
  return remove(path);
}
static void remove_all(void) {
  nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* results.csv of a sweep of two variants, without its last three columns, which are times and memory. */
static void results(const char *out, char text[4000]) {
  static const char *const axes[] = {"hidden=3,4"}, *const sets[] = {"height=6", "width=6", "depth=1"};
  char path[100], data[100];
  uint64_t seed = 1;
  dhc_session *s;
  dhc_sweep *w;
  dhc_sweep_train_result r;
  snprintf(path, sizeof path, "%s/%s", root, out);
  snprintf(data, sizeof data, "idx:%s", root);
  must(dhc_session_open(&(dhc_session_options){.backend = "interp", .threads = 1, .cache_dir = ""}, &s));
  must(dhc_sweep_open(s, &(dhc_sweep_options){.model = {.name = "mlp", .sets = sets, .n_sets = 3}, .axes = axes, .n_axes = 1}, &w));
  must(dhc_sweep_train(w, &(dhc_sweep_train_options){.train = {.data = data, .batch = 8, .epochs = 1}, .out = path, .seeds = &seed, .n_seeds = 1}, &r));
  dhc_sweep_close(w);
  dhc_session_close(s);
  strncat(path, "/results.csv", sizeof path - strlen(path) - 1);
  FILE *f = fopen(path, "rb");
  size_t n = f ? fread(text, 1, 3999, f) : 0, to = 0;
  if (!f || fclose(f) || r.done != 2) exit(printf("FAILED: no results of two runs\n"));
  text[n] = 0;
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    for (int k = 0; k < 3; k++) *strrchr(line, ',') = 0;
    size_t length = strlen(line);
    memmove(text + to, line, length);
    to += length;
    text[to++] = '\n';
  }
  text[to] = 0;
}

int main(int argc, char **argv) {
  static const char *const models[] = {"mlp", "dhc_ssm", "lstm"};
  char *plain[3][N_TEXTS], *comma[3][N_TEXTS], point[8];
  int fails = 0;
  char was[4000], is[4000];
  if (!mkdtemp(root)) return 1;
  put("train-images-idx3-ubyte", 0x803, EXAMPLES, 3);
  put("train-labels-idx1-ubyte", 0x801, EXAMPLES, 1);
  for (int i = 0; i < 3; i++) texts(models[i], "interp", plain[i]);
  results("plain", was);
  setenv("LOCPATH", argc > 1 ? argv[1] : "", 1);
  if (!setlocale(LC_ALL, "de_DE.UTF-8")) return printf("FAILED: no locale de_DE.UTF-8 in %s\n", argv[1]), 1;
  snprintf(point, sizeof point, "%.1f", 0.5);
  if (strcmp(point, "0,5")) return printf("FAILED: the locale writes %s\n", point), 1;
  for (int i = 0; i < 3; i++) {
    texts(models[i], "interp", comma[i]);
    for (int k = 0; k < N_TEXTS; k++) {
      if (strcmp(plain[i][k], comma[i][k])) printf("FAILED: %s: text %d differs\n", models[i], k), fails++;
      free(plain[i][k]);
      free(comma[i][k]);
    }
  }
  results("comma", is);
  if (strcmp(was, is)) printf("FAILED: results of a sweep differ:\n%s%s", was, is), fails++;
  remove_all();
  snprintf(point, sizeof point, "%.1f", 0.5);
  if (strcmp(point, "0,5")) printf("FAILED: the library changed the locale of its caller\n"), fails++;
  printf("%d failures\n", fails);
  return fails != 0;
}
