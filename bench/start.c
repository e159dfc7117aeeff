/* Times variants of a model from request to first training step, one after another in one process:
 * one JSON line each, milliseconds.
 *
 *   bench_start MODEL BATCH ROUNDS THREADS VARIANT...      VARIANT: KEY=VALUE,KEY=VALUE… (preset=NAME among them)
 *
 * plan_ms: from the request to the bound plan, parsing and elaboration included; init_ms: initial weights;
 * first_ms: the first step; step_ms: the least of three more; beyond_ms: all of it but step_ms. cpu: the same parts in
 * processor time of all threads, steadier on a shared machine. Inputs are 3x32x32 images, labels 0..9. With
 * DHC_BENCH_PLAN=1 nothing is run. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dhc/dhc.h"

typedef struct Clock {
  double wall, cpu; /* ms */
} Clock;

static double read_ms(clockid_t which) {
  struct timespec t;
  clock_gettime(which, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static Clock now(void) {
  return (Clock){read_ms(CLOCK_MONOTONIC), read_ms(CLOCK_PROCESS_CPUTIME_ID)};
}

static Clock since(Clock t) {
  Clock n = now();
  return (Clock){n.wall - t.wall, n.cpu - t.cpu};
}

static void must(dhc_status st, dhc_session *s) {
  if (st.code == DHC_OK) return;
  if (s) dhc_session_print_diagnostics(s, stderr, false);
  fprintf(stderr, "bench_start: %s\n", st.message);
  exit((int)st.code);
}

enum { MAX_SETS = 32 };

/* "preset=medium,mamba_ratio=3" */
static dhc_model_options options_of(const char *model, char *text, const char **sets) {
  dhc_model_options o = {.name = model, .sets = sets};
  for (char *at = strtok(text, ","); at; at = strtok(NULL, ",")) {
    if (!strncmp(at, "preset=", 7)) o.preset = at + 7;
    else if (o.n_sets < MAX_SETS) sets[o.n_sets++] = at;
  }
  return o;
}

typedef struct Inputs {
  dhc_tensor in[2];
} Inputs;

static Inputs inputs_of(int64_t batch) {
  int64_t pixels = batch * 3 * 32 * 32;
  float *image = malloc(sizeof *image * (size_t)pixels);
  int64_t *target = malloc(sizeof *target * (size_t)batch);
  if (!image || !target) exit(3);
  for (int64_t i = 0; i < pixels; i++) image[i] = (float)((i * 7919) % 2001 - 1000) / 1000;
  for (int64_t i = 0; i < batch; i++) target[i] = i % 10;
  return (Inputs){{{.name = "image", .dtype = DHC_F32, .rank = 4, .dim = {batch, 3, 32, 32}, .data = image},
                   {.name = "target", .dtype = DHC_I64, .rank = 1, .dim = {batch}, .data = target}}};
}

static Clock run(dhc_program *p, dhc_session *s, const Inputs *x) {
  Clock t = now();
  must(dhc_program_run(p, 0, x->in, 2, NULL, NULL), s);
  return since(t);
}

/* What one variant takes. */
typedef struct Times {
  Clock model, plan, init, first, step;
} Times;

static void begin(dhc_session *s, const char *model, const char *name, const Inputs *x, Times *t) {
  const char *sets[MAX_SETS];
  char text[512];
  dhc_model *m;
  dhc_program *p;
  snprintf(text, sizeof text, "%s", name);
  dhc_model_options o = options_of(model, text, sets);
  Clock t0 = now();
  must(dhc_model_open(s, &o, &m), s);
  t->model = since(t0);
  must(dhc_program_open(m, "loss", DHC_MODE_TRAIN, &p), s);
  must(dhc_program_plan(p, 0, x->in, 2), s);
  t->plan = since(t0);
  if (!getenv("DHC_BENCH_PLAN")) {
    t0 = now();
    must(dhc_program_init(p, 0), s);
    t->init = since(t0);
    t->first = run(p, s, x);
    for (int i = 0; i < 3; i++) {
      Clock c = run(p, s, x);
      if (!i || c.wall < t->step.wall) t->step = c;
    }
  }
  dhc_program_close(p);
  dhc_model_close(m);
}

static void variant(dhc_session *s, const char *model, const char *name, const Inputs *x) {
  dhc_compile_stats before = dhc_session_stats(s);
  Times t = {0};
  begin(s, model, name, x, &t);
  dhc_compile_stats st = dhc_session_stats(s);
  printf("{\"variant\": \"%s\", \"plan_ms\": %.1f, \"model_ms\": %.1f, \"init_ms\": %.1f, \"first_ms\": %.1f, \"step_ms\": %.1f, "
         "\"beyond_ms\": %.1f, \"cpu\": {\"plan\": %.1f, \"model\": %.1f, \"init\": %.1f, \"first\": %.1f, \"step\": %.1f}, "
         "\"kernels_compiled\": %d, \"kernels_reused\": %d}\n",
         name, t.plan.wall, t.model.wall, t.init.wall, t.first.wall, t.step.wall,
         t.plan.wall + t.init.wall + t.first.wall - t.step.wall, t.plan.cpu, t.model.cpu, t.init.cpu, t.first.cpu, t.step.cpu,
         st.kernels_compiled - before.kernels_compiled, st.kernels_reused - before.kernels_reused);
  fflush(stdout);
}

int main(int argc, char **argv) {
  if (argc < 6) {
    fprintf(stderr, "usage: bench_start MODEL BATCH ROUNDS THREADS VARIANT...\n");
    return 2;
  }
  dhc_session_options o = {.threads = atoi(argv[4])};
  dhc_session *s;
  must(dhc_session_open(&o, &s), NULL);
  Inputs x = inputs_of(atoll(argv[2]));
  for (int round = 0; round < atoi(argv[3]); round++)
    for (int i = 5; i < argc; i++) variant(s, argv[1], argv[i], &x);
  free(x.in[0].data);
  free(x.in[1].data);
  dhc_session_close(s);
  return 0;
}
