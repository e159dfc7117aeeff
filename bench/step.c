/* Times an entry of a shipped model through dhc.h: one JSON line with compile time and the
 * median, least and largest milliseconds of a run.
 *
 *   bench_step MODEL run|train BATCH REPEAT THREADS[,BACKEND[,COMPUTE]] [preset=NAME] [KEY=VALUE…]
 *
 * With DHC_BENCH_PROFILE=1 also the time of every item of the plan, how often it runs, and rates. Inputs are 3x32x32 images,
 * labels 0..9; with DHC_BENCH_THERE=1 they lie in the GPU's memory, where other frameworks have theirs. */
#include <stdbool.h>

#include "bench/subject.h"

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

typedef struct Bench {
  dhc_session *session;
  dhc_model *model;
  dhc_program *program;
  dhc_tensor in[2];
  void *at[2]; /* on the GPU, or NULL */
  int n_in;
} Bench;

static void open_all(Bench *b, const char *model, bool train, char *on, char **sets, int n_sets) {
  dhc_model_options options = {.name = model, .sets = (const char *const *)sets, .n_sets = n_sets};
  if (n_sets && !strncmp(sets[0], "preset=", 7)) {
    options.preset = sets[0] + 7;
    options.sets++;
    options.n_sets--;
  }
  dhc_session_options session = machine(on);
  must(dhc_session_open(&session, &b->session), NULL);
  must(dhc_model_open(b->session, &options, &b->model), b->session);
  must(dhc_program_open(b->model, train ? "loss" : "forward", train ? DHC_MODE_TRAIN : DHC_MODE_RUN, &b->program), b->session);
}

static void run(Bench *b) {
  must(dhc_program_run_at(b->program, 0, b->in, b->at, b->n_in, NULL, NULL), b->session);
}

/* Inputs on the GPU give the results of those in the host's memory; of an entry that does not train. */
static void compare(Bench *b) {
  const dhc_tensor *results;
  int n, differ = 0;
  must(dhc_program_run(b->program, 0, b->in, b->n_in, &results, &n), b->session);
  int64_t bytes = dhc_tensor_bytes(&results[0]);
  char *want = malloc((size_t)bytes);
  if (!want) exit(3);
  memcpy(want, results[0].data, (size_t)bytes);
  for (int i = 0; i < 3; i++) { /* copied, then read where they lie */
    must(dhc_program_run_at(b->program, 0, b->in, b->at, b->n_in, &results, &n), b->session);
    differ += memcmp(want, results[0].data, (size_t)bytes) != 0;
  }
  free(want);
  if (differ) {
    fprintf(stderr, "bench_step: other results from inputs on the GPU\n");
    exit(1);
  }
}

static void profile(Bench *b, int repeat) {
  dhc_program_profile(b->program, true);
  for (int i = 0; i < repeat; i++) run(b);
  for (int i = 0; i < dhc_program_profile_rows(b->program); i++) {
    dhc_profile_row r = dhc_program_profile_row(b->program, i);
    if (r.runs)
      printf("%9.4f ms %4lld %8.1f GB/s %9.1f GFLOP/s  %-24s %s\n", r.ms / repeat, (long long)(r.runs / repeat), r.bytes * (double)r.runs / r.ms * 1e-6,
             r.flops * (double)r.runs / r.ms * 1e-6, r.kernel, r.label);
  }
}

int main(int argc, char **argv) {
  int repeat = argc < 6 ? 0 : atoi(argv[4]);
  if (repeat < 1) {
    fprintf(stderr, "usage: bench_step MODEL run|train BATCH REPEAT THREADS[,BACKEND[,COMPUTE]] [preset=NAME] [KEY=VALUE...]\n");
    return 2;
  }
  bool train = !strcmp(argv[2], "train");
  Bench b = {0};
  double t0 = now_ms();
  open_all(&b, argv[1], train, argv[5], argv + 6, argc - 6);
  double t1 = now_ms();
  must(dhc_program_init(b.program, 0), b.session);
  double init = now_ms() - t1;
  images_make(atoll(argv[3]), b.in);
  b.n_in = train ? 2 : 1;
  for (int i = 0; i < b.n_in && getenv("DHC_BENCH_THERE"); i++) must(dhc_program_upload(b.program, &b.in[i], &b.at[i]), b.session);
  run(&b);
  double first = now_ms() - t0 - init;

  double *ms = malloc(sizeof *ms * (size_t)repeat);
  if (!ms) return 3;
  for (int i = 0; i < 5; i++) run(&b);
  double cpu = cpu_ms();
  for (int i = 0; i < repeat; i++) {
    double t = now_ms();
    run(&b);
    ms[i] = now_ms() - t;
  }
  cpu = (cpu_ms() - cpu) / repeat;
  if (b.at[0] && !train) compare(&b);
  if (getenv("DHC_BENCH_PROFILE")) profile(&b, repeat);
  qsort(ms, (size_t)repeat, sizeof *ms, by_value);
  dhc_compile_stats st = dhc_session_stats(b.session);
  dhc_memory mem = dhc_program_memory(b.program, 0);
  printf("{\"median_ms\": %.3f, \"min_ms\": %.3f, \"max_ms\": %.3f, \"cpu_ms\": %.3f, \"to_first_result_ms\": %.1f, \"compile_ms\": %.1f, "
         "\"kernels_compiled\": %d, \"kernels_reused\": %d, \"planned_bytes\": %lld, \"allocated_bytes\": %lld}\n",
         ms[repeat / 2], ms[0], ms[repeat - 1], cpu, first, st.compile_ms, st.kernels_compiled, st.kernels_reused,
         (long long)mem.planned, (long long)mem.allocated);
  free(ms);
  free(b.in[0].data);
  free(b.in[1].data);
  for (int i = 0; i < b.n_in; i++) dhc_program_drop(b.program, b.at[i]);
  dhc_program_close(b.program);
  dhc_model_close(b.model);
  dhc_session_close(b.session);
  return 0;
}
