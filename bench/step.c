/* Times an entry of a shipped model through dhc.h: one JSON line with compile time and the
 * median, least and largest milliseconds of a run.
 *
 *   bench_step MODEL run|train BATCH REPEAT THREADS [KEY=VALUE…]
 *
 * With DHC_BENCH_PROFILE=1 also the time of every item of the plan. Inputs are 3x32x32 images unless input_channels is set; labels 0..9. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dhc/dhc.h"

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Processor time of all threads: steadier than wall time on a shared machine. */
static double cpu_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void must(dhc_status st, dhc_session *s) {
  if (st.code == DHC_OK) return;
  if (s) dhc_session_print_diagnostics(s, stderr, false);
  fprintf(stderr, "bench_step: %s\n", st.message);
  exit((int)st.code);
}

int main(int argc, char **argv) {
  if (argc < 6) {
    fprintf(stderr, "usage: bench_step MODEL run|train BATCH REPEAT THREADS [KEY=VALUE...]\n");
    return 2;
  }
  bool train = !strcmp(argv[2], "train");
  int64_t batch = atoll(argv[3]);
  int repeat = atoi(argv[4]);
  double t0 = now_ms();
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  dhc_program *p = NULL;
  must(dhc_session_open(&(dhc_session_options){.threads = atoi(argv[5])}, &s), NULL);
  must(dhc_model_open(s, &(dhc_model_options){.name = argv[1], .sets = (const char *const *)argv + 6, .n_sets = argc - 6}, &m), s);
  must(dhc_program_open(m, train ? "loss" : "forward", train ? DHC_MODE_TRAIN : DHC_MODE_RUN, &p), s);
  double t1 = now_ms();
  must(dhc_program_init(p, 0), s);
  double init = now_ms() - t1;

  int64_t pixels = batch * 3 * 32 * 32;
  float *image = malloc(sizeof *image * (size_t)pixels);
  int64_t *target = malloc(sizeof *target * (size_t)batch);
  double *ms = malloc(sizeof *ms * (size_t)repeat);
  if (!image || !target || !ms) return 3;
  for (int64_t i = 0; i < pixels; i++) image[i] = (float)((i * 7919) % 2001 - 1000) / 1000;
  for (int64_t i = 0; i < batch; i++) target[i] = i % 10;
  dhc_tensor in[2] = {{.name = "image", .dtype = DHC_F32, .rank = 4, .dim = {batch, 3, 32, 32}, .data = image},
                      {.name = "target", .dtype = DHC_I64, .rank = 1, .dim = {batch}, .data = target}};
  int n_in = train ? 2 : 1;
  must(dhc_program_run(p, 0, in, n_in, NULL, NULL), s);
  double first = now_ms() - t0 - init;
  for (int i = 0; i < 5; i++) must(dhc_program_run(p, 0, in, n_in, NULL, NULL), s);
  double cpu = cpu_ms();
  for (int i = 0; i < repeat; i++) {
    double t = now_ms();
    must(dhc_program_run(p, 0, in, n_in, NULL, NULL), s);
    ms[i] = now_ms() - t;
  }
  cpu = (cpu_ms() - cpu) / repeat;
  if (getenv("DHC_BENCH_PROFILE")) {
    dhc_program_profile(p, true);
    for (int i = 0; i < repeat; i++) must(dhc_program_run(p, 0, in, n_in, NULL, NULL), s);
    for (int i = 0; i < dhc_program_profile_rows(p); i++) {
      dhc_profile_row r = dhc_program_profile_row(p, i);
      if (r.runs) printf("%9.4f ms  %-24s %s\n", r.ms / repeat, r.kernel, r.label);
    }
  }
  qsort(ms, (size_t)repeat, sizeof *ms, by_value);
  dhc_compile_stats st = dhc_session_stats(s);
  dhc_memory mem = dhc_program_memory(p, 0);
  printf("{\"median_ms\": %.3f, \"min_ms\": %.3f, \"max_ms\": %.3f, \"cpu_ms\": %.3f, \"to_first_result_ms\": %.1f, \"compile_ms\": %.1f, "
         "\"kernels_compiled\": %d, \"kernels_reused\": %d, \"planned_bytes\": %lld, \"allocated_bytes\": %lld}\n",
         ms[repeat / 2], ms[0], ms[repeat - 1], cpu, first, st.compile_ms, st.kernels_compiled, st.kernels_reused,
         (long long)mem.planned, (long long)mem.allocated);
  free(image);
  free(target);
  free(ms);
  dhc_program_close(p);
  dhc_model_close(m);
  dhc_session_close(s);
  return 0;
}
