/* Times variants of a model from request to first training step, one after another in one process:
 * one JSON line each, milliseconds.
 *
 *   bench_start MODEL BATCH ROUNDS THREADS[,BACKEND[,COMPUTE]] VARIANT...      VARIANT: KEY=VALUE,KEY=VALUE… (preset=NAME among them)
 *
 * plan_ms: from the request to the bound plan, parsing and elaboration included; init_ms: initial weights;
 * first_ms: the first step; step_ms: the least of three more; beyond_ms: all of it but step_ms. cpu: the same parts in
 * processor time of all threads, steadier on a shared machine. Inputs are 3x32x32 images, labels 0..9. With
 * DHC_BENCH_PLAN=1 nothing is run. */
#include <stdbool.h>

#include "bench/subject.h"

typedef struct Clock {
  double wall, cpu; /* ms */
} Clock;

static Clock now(void) {
  return (Clock){now_ms(), cpu_ms()};
}

static Clock since(Clock t) {
  Clock n = now();
  return (Clock){n.wall - t.wall, n.cpu - t.cpu};
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

static Clock run(dhc_program *p, dhc_session *s, const dhc_tensor *x) {
  Clock t = now();
  must(dhc_program_run(p, 0, x, 2, NULL, NULL), s);
  return since(t);
}

/* What one variant takes. */
typedef struct Times {
  Clock model, plan, init, first, step;
} Times;

static void begin(dhc_session *s, const char *model, const char *name, const dhc_tensor *x, Times *t) {
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
  must(dhc_program_plan(p, 0, x, 2), s);
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

static void variant(dhc_session *s, const char *model, const char *name, const dhc_tensor *x) {
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
    fprintf(stderr, "usage: bench_start MODEL BATCH ROUNDS THREADS[,BACKEND[,COMPUTE]] VARIANT...\n");
    return 2;
  }
  dhc_session_options o = machine(argv[4]);
  dhc_session *s;
  must(dhc_session_open(&o, &s), NULL);
  dhc_tensor x[2];
  images_make(atoll(argv[2]), x);
  for (int round = 0; round < atoi(argv[3]); round++)
    for (int i = 5; i < argc; i++) variant(s, argv[1], argv[i], x);
  free(x[0].data);
  free(x[1].data);
  dhc_session_close(s);
  return 0;
}
