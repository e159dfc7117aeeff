/* Variants one after the other in one session: made of layers already seen they compile nothing, planning leaves
 * a run nothing to compile, and what an earlier program left in memory is seen by nobody. Weights are compared byte
 * for byte with those of a session of its own.
 *
 *   test_variants FOLDER */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dhc/dhc.h"

static int fails;
static float image[2 * 3 * 32 * 32];
static int64_t target[2] = {3, 7};
static dhc_tensor in[2];

#define CHECK(what, condition)              \
  do {                                      \
    if (condition) break;                   \
    printf("FAILED: %s: %s\n", what, #condition); \
    fails++;                                \
  } while (0)

static void must(dhc_status st) {
  if (st.code == DHC_OK) return;
  printf("FAILED: %s\n", st.message);
  exit(1);
}

typedef struct Open {
  dhc_model *m;
  dhc_program *p;
} Open;

static Open open_variant(dhc_session *s, const char *pattern) {
  char set[64];
  snprintf(set, sizeof set, "pattern=%s", pattern);
  const char *sets[] = {"num_layers=4", "num_heads=4", "num_experts=4", set};
  Open v;
  must(dhc_model_open(s, &(dhc_model_options){.name = "dhc_jamba", .sets = sets, .n_sets = 4}, &v.m));
  must(dhc_program_open(v.m, "loss", DHC_MODE_TRAIN, &v.p));
  return v;
}

static void close_variant(Open *v) {
  dhc_program_close(v->p);
  dhc_model_close(v->m);
}

/* Two steps; the weights go to the file. How many kernels it compiled. */
static int train(dhc_session *s, const char *pattern, const char *file) {
  int before = dhc_session_stats(s).kernels_compiled;
  Open v = open_variant(s, pattern);
  must(dhc_program_plan(v.p, 0, in, 2));
  dhc_compile_stats planned = dhc_session_stats(s), run;
  CHECK(pattern, dhc_program_memory(v.p, 0).planned == 0); /* nothing has run */
  must(dhc_program_init(v.p, 5));
  for (int i = 0; i < 2; i++) must(dhc_program_run(v.p, 0, in, 2, NULL, NULL));
  run = dhc_session_stats(s);
  /* the further ones: the training step's guard measures the weights */
  CHECK(pattern, run.kernels_compiled + run.kernels_reused - planned.kernels_compiled - planned.kernels_reused <= 4);
  must(dhc_program_save(v.p, file, false));
  close_variant(&v);
  return run.kernels_compiled - before;
}

static void same_files(const char *what, const char *a, const char *b) {
  FILE *f = fopen(a, "rb"), *g = fopen(b, "rb");
  long n = 0;
  if (!f || !g) {
    printf("FAILED: %s: no file\n", what);
    exit(1);
  }
  for (int x, y; (x = getc(f), y = getc(g), x != EOF || y != EOF); n++)
    if (x != y) {
      printf("FAILED: %s: byte %ld differs\n", what, n);
      fails++;
      break;
    }
  CHECK(what, n > 1000000);
  fclose(f);
  fclose(g);
}

/* Memory that nobody wrote to holds zeros, also where a program lay before. */
static void zeros(dhc_session *s) {
  Open v = open_variant(s, "MAMA");
  for (int i = 0; i < dhc_model_n_tensors(v.m); i++) {
    dhc_tensor_info info = dhc_model_tensor(v.m, i);
    for (int moment = 0; moment < 2 && !strcmp(info.role, "param"); moment++) {
      char path[256];
      dhc_tensor t;
      snprintf(path, sizeof path, "%s%s", moment ? "m:" : "", info.path);
      must(dhc_program_get(v.p, path, &t));
      int64_t n = dhc_tensor_elements(&t);
      const float *x = t.data;
      for (int64_t k = 0; k < n; k++) {
        if (x[k] == 0) continue;
        printf("FAILED: %s[%lld] is %g before anything was written\n", path, (long long)k, (double)x[k]);
        fails++;
        break;
      }
    }
  }
  close_variant(&v);
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  char alone[512], after[512], again[512];
  snprintf(alone, sizeof alone, "%s/alone.safetensors", argv[1]);
  snprintf(after, sizeof after, "%s/after.safetensors", argv[1]);
  snprintf(again, sizeof again, "%s/again.safetensors", argv[1]);
  for (int i = 0; i < 2 * 3 * 32 * 32; i++) image[i] = (float)((i * 7919) % 2001 - 1000) / 1000;
  in[0] = (dhc_tensor){.name = "image", .dtype = DHC_F32, .rank = 4, .dim = {2, 3, 32, 32}, .data = image};
  in[1] = (dhc_tensor){.name = "target", .dtype = DHC_I64, .rank = 1, .dim = {2}, .data = target};
  dhc_session_options o = {.threads = 2};
  dhc_session *s;
  must(dhc_session_open(&o, &s));
  train(s, "AMMM", alone);
  dhc_session_close(s);
  must(dhc_session_open(&o, &s));
  train(s, "MAMA", after);
  CHECK("a variant of layers that were there", train(s, "AMMM", after) == 0);
  same_files("after another variant", alone, after);
  zeros(s);
  CHECK("the same variant again", train(s, "AMMM", again) == 0);
  same_files("again", alone, again);
  dhc_session_close(s);
  remove(alone);
  remove(after);
  remove(again);
  if (!fails) printf("variants agree\n");
  return fails > 0;
}
