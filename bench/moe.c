/* A mixture of experts at few tokens, grouped by expert (layers/moe), the same with its weights
 * in rows instead of panels, and masked-dense (bench/moe_dense.dhc): microseconds of processor time a forward pass, the least of REPEAT
 * rounds, one thread.
 *
 *   bench_moe DENSE.dhc [D_MODEL] [D_FF] [EXPERTS] [TOP_K] [REPEAT] */
#include "bench/subject.h"

static double cpu_us(void) { return cpu_ms() * 1e3; }

typedef struct Layer {
  dhc_model *model;
  dhc_program *program;
} Layer;

static Layer open_layer(dhc_session *s, const char *file, const char *root, const char *const *sets) {
  Layer l;
  must(dhc_model_open(s, &(dhc_model_options){.name = file, .root = root, .sets = sets, .n_sets = 4}, &l.model), s);
  must(dhc_program_open(l.model, "forward", DHC_MODE_RUN, &l.program), s);
  must(dhc_program_init(l.program, 1), s);
  return l;
}

static double one_pass(Layer *l, dhc_session *s, const dhc_tensor *x, int repeat) {
  const dhc_tensor *res;
  int n;
  double least = 1e30;
  must(dhc_program_run(l->program, 0, x, 1, &res, &n), s); /* compiles */
  for (int r = 0; r < repeat; r++) {
    double t0 = cpu_us();
    int passes = 0;
    do {
      must(dhc_program_run(l->program, 0, x, 1, &res, &n), s);
      passes++;
    } while (cpu_us() - t0 < 2e3);
    double t = (cpu_us() - t0) / passes;
    if (t < least) least = t;
  }
  return least;
}

static void close_layer(Layer *l) {
  dhc_program_close(l->program);
  dhc_model_close(l->model);
}

static void profile(Layer *l, dhc_session *s, const dhc_tensor *x) {
  const dhc_tensor *res;
  int n;
  dhc_program_profile(l->program, true);
  for (int i = 0; i < 50; i++) must(dhc_program_run(l->program, 0, x, 1, &res, &n), s);
  for (int i = 0; i < dhc_program_profile_rows(l->program); i++) {
    dhc_profile_row r = dhc_program_profile_row(l->program, i);
    printf("    %-24s %-12s %8.1f us\n", r.kernel, r.label, 1e3 * r.ms / 50);
  }
  dhc_program_profile(l->program, false);
}

int main(int argc, char **argv) {
  static const char *const key[4] = {"d_model", "d_ff", "num_experts", "top_k"};
  static const int tokens[] = {1, 4, 16, 64, 256};
  int value[5] = {256, 1024, 8, 2, 20};
  char text[4][40];
  const char *sets[4];
  if (argc < 2) return 2;
  for (int i = 0; i < 5 && i + 2 < argc; i++) value[i] = atoi(argv[i + 2]);
  for (int i = 0; i < 4; i++) {
    snprintf(text[i], sizeof text[i], "%s=%d", key[i], value[i]);
    sets[i] = text[i];
  }
  dhc_session *s = NULL, *no_panels = NULL;
  must(dhc_session_open(&(dhc_session_options){.threads = 1}, &s), NULL);
  must(dhc_session_open(&(dhc_session_options){.threads = 1, .disable_passes = "layout"}, &no_panels), NULL);
  Layer grouped = open_layer(s, "layers/moe", "MoE", sets), dense = open_layer(s, argv[1], NULL, sets);
  Layer rows = open_layer(no_panels, "layers/moe", "MoE", sets);
  printf("%s, %s, %s, %s; microseconds of processor time\n", sets[0], sets[1], sets[2], sets[3]);
  printf("%8s %10s %10s %10s\n", "tokens", "grouped", "rows", "dense");
  for (size_t k = 0; k < sizeof tokens / sizeof tokens[0]; k++) {
    int64_t n = (int64_t)tokens[k] * value[0];
    float *data = malloc((size_t)n * sizeof *data);
    for (int64_t i = 0; data && i < n; i++) data[i] = (float)((i * 7919) % 1009) / 1009 - 0.5f;
    dhc_tensor x = {.name = "x", .dtype = DHC_F32, .rank = 3, .dim = {1, tokens[k], value[0]}, .data = data};
    printf("%8d %10.0f", tokens[k], one_pass(&grouped, s, &x, value[4]));
    printf(" %10.0f", one_pass(&rows, no_panels, &x, value[4]));
    printf(" %10.0f\n", one_pass(&dense, s, &x, value[4]));
    if (getenv("DHC_BENCH_PROFILE")) profile(&grouped, s, &x);
    free(data);
  }
  close_layer(&grouped);
  close_layer(&dense);
  close_layer(&rows);
  dhc_session_close(s);
  dhc_session_close(no_panels);
  return 0;
}
