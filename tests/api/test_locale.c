/* A host program whose locale writes 0,5: everything the library reads and writes is as in "C". The
 * first argument is a folder with the locale (LOCPATH). */
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

int main(int argc, char **argv) {
  static const char *const models[] = {"mlp", "dhc_ssm", "lstm"};
  char *plain[3][N_TEXTS], *comma[3][N_TEXTS], point[8];
  int fails = 0;
  for (int i = 0; i < 3; i++) texts(models[i], "interp", plain[i]);
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
  snprintf(point, sizeof point, "%.1f", 0.5);
  if (strcmp(point, "0,5")) printf("FAILED: the library changed the locale of its caller\n"), fails++;
  printf("%d failures\n", fails);
  return fails != 0;
}
