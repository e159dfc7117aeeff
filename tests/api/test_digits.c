/* How many digits float32 keeps: layers at the widths that trained models have, initial weights, every result and
 * gradient of the compiled program against the interpreter's float64 on the same numbers. The bounds are what
 * contractions by blocks (ir/sum.h) reach, with a quarter to spare: one chain a sum is beyond them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dhc/dhc.h"

typedef struct Case {
  const char *model, *root;
  const char *sets[3];
  int64_t length, width;
  double bound, of_weights; /* of the result and its input's gradient, of weights' gradients: |got - want| / |want| */
} Case;

static const Case cases[] = {
    {"layers/mamba", "Mamba", {"d_model=768"}, 8, 768, 6e-7, 1.1e-6},
    {"layers/ffn", "SwiGLU", {"d_model=768"}, 8, 768, 6.5e-7, 5.5e-7},
};

typedef struct Run {
  dhc_session *session;
  dhc_model *model;
  dhc_program *program;
  const dhc_tensor *result;
  int n;
} Run;

static void must(dhc_status st, const char *what) {
  if (st.code == DHC_OK) return;
  printf("FAILED: %s: %s\n", what, st.message);
  exit(1);
}

static Run open_run(const Case *c, const char *backend) {
  Run r = {0};
  int n_sets = 0;
  while (n_sets < 3 && c->sets[n_sets]) n_sets++;
  must(dhc_session_open(&(dhc_session_options){.threads = 1, .backend = backend}, &r.session), backend);
  must(dhc_model_open(r.session, &(dhc_model_options){.name = c->model, .root = c->root, .sets = c->sets, .n_sets = n_sets}, &r.model),
       c->model);
  must(dhc_program_open(r.model, "forward", DHC_MODE_GRAD, &r.program), c->model);
  return r;
}

static void close_run(Run *r) {
  dhc_program_close(r->program);
  dhc_model_close(r->model);
  dhc_session_close(r->session);
}

/* Weights of one run for another. */
static void give(const Run *from, const Run *to) {
  for (int i = 0; i < dhc_model_n_tensors(from->model); i++) {
    dhc_tensor_info info = dhc_model_tensor(from->model, i);
    if (strcmp(info.role, "param") != 0) continue;
    dhc_tensor t = {.name = info.path};
    must(dhc_program_get(from->program, info.path, &t), info.path);
    must(dhc_program_set(to->program, &t), info.path);
  }
}

static double element(const dhc_tensor *t, int64_t i) {
  return t->dtype == DHC_F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
}

static int compare(const Case *c, const Run *got, const Run *want) {
  int bad = got->n != want->n;
  for (int k = 0; k < want->n && got->n == want->n; k++) {
    const dhc_tensor *g = &got->result[k], *w = &want->result[k];
    double diff = 0, ref = 0;
    if (strcmp(g->name, w->name) != 0 || dhc_tensor_elements(g) != dhc_tensor_elements(w)) return printf("FAILED: %s\n", w->name);
    for (int64_t i = 0; i < dhc_tensor_elements(w); i++) {
      double a = element(g, i), b = element(w, i);
      diff += (a - b) * (a - b);
      ref += b * b;
    }
    double error = sqrt(diff / ref);
    double bound = k == 0 || !strcmp(w->name, "grad.x") ? c->bound : c->of_weights;
    bool good = ref > 0 && error <= bound;
    printf("%s %-24s %.2e of %.2e%s\n", c->root, w->name, error, bound, good ? "" : "  FAILED");
    bad += !good;
  }
  return bad;
}

static float *numbers(int64_t n, uint32_t seed) {
  float *x = malloc((size_t)n * sizeof *x);
  if (!x) exit(3);
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    x[i] = (float)(seed >> 8) / 8388608.0f - 1;
  }
  return x;
}

static int check(const Case *c) {
  Run f32 = open_run(c, "cpu"), f64 = open_run(c, "interp");
  must(dhc_program_init(f32.program, 1), "initial weights");
  must(dhc_program_init(f64.program, 1), "initial weights");
  give(&f32, &f64);
  int64_t n = c->length * c->width;
  dhc_tensor in[2] = {{.name = "x", .dtype = DHC_F32, .rank = 3, .dim = {1, c->length, c->width}}};
  in[1] = in[0];
  in[1].name = "cotangent.y";
  in[0].data = numbers(n, 5);
  in[1].data = numbers(n, 6);
  must(dhc_program_run(f32.program, 0, in, 2, &f32.result, &f32.n), "f32");
  must(dhc_program_run(f64.program, 0, in, 2, &f64.result, &f64.n), "f64");
  int bad = compare(c, &f32, &f64);
  free(in[0].data);
  free(in[1].data);
  close_run(&f32);
  close_run(&f64);
  return bad;
}

int main(void) {
  int bad = 0;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) bad += check(&cases[i]);
  return bad > 0;
}
