/* dhcc as one of the peers: a model is opened, says what it gives, then is timed whenever it is asked.
 *
 *   bench_peer MODEL ENTRY run|train|step THREADS[,BACKEND[,COMPUTE]] FOLDER [preset=NAME] [root=NAME] [KEY=VALUE...]
 *
 * FOLDER/inputs.safetensors is read; FOLDER/weights.safetensors too, or, where there is none, initial weights of seed 0 are
 * written there for all peers; FOLDER/dhcc.safetensors is what the peers have to agree on: of `run` all float results, of
 * `train` the losses of the first steps, of `step` what the first tokens give: x is [tokens, batch, 1, d] there, met one after the other, round and
 * round, on one state. Then one JSON line, "ready", and for every line "SECONDS" on stdin one line of
 * milliseconds, a run each: what fits into that time, three at least; then "cpu" and a run's processor time, all threads. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench/subject.h"

enum { CHECKED_STEPS = 3, CHECKED_TOKENS = 12, MAX_INPUTS = 8, MAX_RUNS = 4096 };

typedef struct Peer {
  dhc_session *session;
  dhc_model *model;
  dhc_program *program;
  dhc_tensor in[MAX_INPUTS];
  void *at[MAX_INPUTS]; /* on a GPU, where other frameworks have their inputs, or NULL */
  int n_in;
  bool train, stream;
  int step;
  const char *tokens; /* of a stream: the data of x, whose first axis is not in `in` */
  int64_t n_tokens;
  char folder[512];
} Peer;

static const char *in_folder(const Peer *p, const char *file, char path[1024]) {
  snprintf(path, 1024, "%s/%s", p->folder, file);
  return path;
}

static void open_all(Peer *p, char **argv, int argc) {
  dhc_model_options options = {.name = argv[1], .sets = (const char *const *)argv + 6, .n_sets = argc - 6};
  for (; options.n_sets; options.sets++, options.n_sets--) {
    if (!strncmp(*options.sets, "preset=", 7)) options.preset = *options.sets + 7;
    else if (!strncmp(*options.sets, "root=", 5)) options.root = *options.sets + 5;
    else break;
  }
  dhc_session_options session = machine(argv[4]);
  must(dhc_session_open(&session, &p->session), NULL);
  must(dhc_model_open(p->session, &options, &p->model), p->session);
  must(dhc_program_open(p->model, argv[2], p->train ? DHC_MODE_TRAIN : DHC_MODE_RUN, &p->program), p->session);
}

static void begin(Peer *p) {
  char path[1024];
  struct stat there;
  if (stat(in_folder(p, "weights.safetensors", path), &there) == 0) {
    must(dhc_program_load(p->program, path, false), p->session);
  } else {
    must(dhc_program_init(p->program, 0), p->session);
    must(dhc_program_save(p->program, path, false), p->session);
  }
}

static int64_t token_bytes(const dhc_tensor *x) {
  int64_t n = (int64_t)sizeof(float);
  for (int i = 0; i < x->rank; i++) n *= x->dim[i];
  return n;
}

/* x of a stream: one axis less, token by token. */
static void open_tokens(Peer *p) {
  dhc_tensor *x = &p->in[0];
  if (p->n_in != 1 || x->dtype != DHC_F32 || x->rank < 2) {
    fprintf(stderr, "bench_peer: a stream takes one tensor of f32, tokens first\n");
    exit(1);
  }
  p->tokens = x->data;
  p->n_tokens = x->dim[0];
  for (int i = 1; i < x->rank; i++) x->dim[i - 1] = x->dim[i];
  x->rank--;
}

/* Constant learning rate: a recipe's schedule asks for the number of steps. */
static void run(Peer *p, const dhc_tensor **results, int *n) {
  if (p->stream) p->in[0].data = (void *)(uintptr_t)(p->tokens + p->step++ % p->n_tokens * token_bytes(&p->in[0]));
  if (p->train) {
    must(dhc_program_set_scalar(p->program, "$lr", 1e-3), p->session);
    must(dhc_program_set_scalar(p->program, "$step", p->step), p->session);
    must(dhc_program_set_scalar(p->program, "$opt_step", p->step + 1), p->session);
    p->step++;
  }
  must(dhc_program_run_at(p->program, 0, p->in, p->at, p->n_in, results, n), p->session);
}

static void check_tokens(Peer *p, const char *path, const dhc_tensor *y) {
  int n;
  size_t bytes = (size_t)token_bytes(y);
  char *all = malloc(bytes * CHECKED_TOKENS);
  if (!all) exit(3);
  for (int i = 0; i < CHECKED_TOKENS; i++) {
    if (i) run(p, &y, &n);
    memcpy(all + bytes * (size_t)i, y->data, bytes);
  }
  dhc_tensor out = {.name = "logits", .dtype = DHC_F32, .rank = 2, .dim = {CHECKED_TOKENS, (int64_t)(bytes / sizeof(float))}, .data = all};
  must(dhc_tensor_file_save(path, &out, 1), p->session);
  free(all);
}

/* What the peers agree on; returns the time of the first run. */
static double check(Peer *p) {
  char path[1024];
  const dhc_tensor *results;
  int n;
  double t = now_ms();
  run(p, &results, &n);
  t = now_ms() - t;
  in_folder(p, "dhcc.safetensors", path);
  if (p->stream) {
    check_tokens(p, path, results);
    return t;
  }
  if (!p->train) {
    must(dhc_tensor_file_save(path, results, n), p->session);
    return t;
  }
  float loss[CHECKED_STEPS];
  for (int i = 0; i < CHECKED_STEPS; i++) {
    if (i) run(p, &results, &n);
    const void *value = results[0].data;
    loss[i] = results[0].dtype == DHC_F64 ? (float)*(const double *)value : *(const float *)value;
  }
  dhc_tensor losses = {.name = "losses", .dtype = DHC_F32, .rank = 1, .dim = {CHECKED_STEPS}, .data = loss};
  must(dhc_tensor_file_save(path, &losses, 1), p->session);
  return t;
}

static void answer(Peer *p, double seconds) {
  static double ms[MAX_RUNS];
  int n = 0;
  double cpu = cpu_ms();
  for (double end = now_ms() + seconds * 1e3; n < MAX_RUNS && (n < 3 || now_ms() < end); n++) {
    double t = now_ms();
    run(p, NULL, NULL);
    ms[n] = now_ms() - t;
  }
  cpu = (cpu_ms() - cpu) / n;
  for (int i = 0; i < n; i++) printf("%.4f ", ms[i]);
  printf("cpu %.4f\n", cpu);
  fflush(stdout);
}

int main(int argc, char **argv) {
  if (argc < 6 || (strcmp(argv[3], "run") && strcmp(argv[3], "train") && strcmp(argv[3], "step"))) {
    fprintf(stderr, "usage: bench_peer MODEL ENTRY run|train|step THREADS[,BACKEND[,COMPUTE]] FOLDER [preset=NAME] [root=NAME] [KEY=VALUE...]\n");
    return 2;
  }
  Peer p = {.train = !strcmp(argv[3], "train"), .stream = !strcmp(argv[3], "step")};
  snprintf(p.folder, sizeof p.folder, "%s", argv[5]);
  char path[1024], line[64];
  dhc_tensor_file *inputs;
  must(dhc_tensor_file_open(in_folder(&p, "inputs.safetensors", path), &inputs), NULL);
  for (int i = 0; i < dhc_tensor_file_count(inputs) && i < MAX_INPUTS; i++) p.in[p.n_in++] = *dhc_tensor_file_get(inputs, i);
  if (p.stream) open_tokens(&p);
  double t0 = now_ms();
  bool gpu = strstr(argv[4], ",cuda");
  open_all(&p, argv, argc);
  double t1 = now_ms();
  begin(&p);
  for (int i = 0; i < p.n_in && gpu && !p.stream; i++) must(dhc_program_upload(p.program, &p.in[i], &p.at[i]), p.session);
  double weights = now_ms() - t1, first = check(&p);
  dhc_compile_stats st = dhc_session_stats(p.session);
  dhc_memory m = dhc_program_memory(p.program, 0);
  printf("{\"ready\": true, \"versions\": {\"dhcc\": \"%s\"}, \"open_ms\": %.1f, \"weights_ms\": %.1f, \"first_ms\": %.1f, \"compile_ms\": %.1f, "
         "\"kernels_compiled\": %d, \"kernels_reused\": %d, \"memory\": {\"weights\": %lld, \"grads\": %lld, \"optimizer\": %lld, \"work\": %lld, "
         "\"planned\": %lld, \"allocated\": %lld}}\n",
         dhc_version(), t1 - t0, weights, first, st.compile_ms, st.kernels_compiled, st.kernels_reused, (long long)m.weights, (long long)m.grads,
         (long long)m.optimizer, (long long)m.work, (long long)m.planned, (long long)m.allocated);
  fflush(stdout);
  while (fgets(line, sizeof line, stdin)) answer(&p, atof(line));
  dhc_program_close(p.program);
  dhc_model_close(p.model);
  dhc_session_close(p.session);
  dhc_tensor_file_close(inputs);
  return 0;
}
