/* Recurrences over states, trained: every layer of recurrences.dhc and Mamba at lengths around the
 * size of a chunk. In chunks against all at once: results in every bit, gradients nearly. Against
 * the float64 interpreter, at any number of threads, batch row by batch row, step by step; with
 * 0 kernels compiled after the first length. And states that fade come to rest at zero. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dhc/dhc.h"

enum { MAX_IN = 12, MAX_OUT = 32, SEED = 7, N_LENGTHS = 7 };

static const int64_t lengths[N_LENGTHS] = {65, 1, 2, 63, 64, 129, 200};
static const char *model_file;
static int fails;

static bool good(dhc_status st, const char *what) {
  if (st.code == DHC_OK) return true;
  printf("FAILED: %s: %s\n", what, st.message);
  fails++;
  return false;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

typedef struct Array {
  char name[64];
  int rank;
  int64_t dim[8], n;
  double *v; /* values as doubles: floats convert without loss */
} Array;

typedef struct Set {
  int n;
  Array a[MAX_OUT];
} Set;

static void set_free(Set *s) {
  for (int i = 0; i < s->n; i++) free(s->a[i].v);
  s->n = 0;
}

static Array *set_find(Set *s, const char *name) {
  for (int i = 0; i < s->n; i++)
    if (!strcmp(s->a[i].name, name)) return &s->a[i];
  return NULL;
}

static Array *set_add(Set *s, const char *name, int rank, const int64_t *dim) {
  Array *a = &s->a[s->n++];
  memset(a, 0, sizeof *a);
  snprintf(a->name, sizeof a->name, "%s", name);
  a->rank = rank;
  a->n = 1;
  for (int i = 0; i < rank; i++) a->n *= a->dim[i] = dim[i];
  a->v = calloc((size_t)a->n, sizeof *a->v);
  if (!a->v) exit(3);
  return a;
}

static double uniform(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (double)(float)((double)(*state >> 40) / (1 << 23) - 1.0);
}

/* ---- programs ---------------------------------------------------------------------------------- */

typedef struct Layer {
  const char *name, *file, *root;
  const char *sets[4];
  int n_sets;
  struct {
    const char *name;
    int64_t dim[4]; /* 0 ends; -1: batch, -2: length */
  } in[6];
} Layer;

typedef struct Program {
  dhc_session *s;
  dhc_model *m;
  dhc_program *p;
} Program;

static bool program_open(Program *p, const Layer *l, const char *backend, int threads, const char *off) {
  memset(p, 0, sizeof *p);
  dhc_session_options so = {.backend = backend, .threads = threads, .disable_passes = off, .cache_dir = ""};
  dhc_model_options mo = {.name = l->file ? l->file : model_file, .root = l->root, .sets = l->sets, .n_sets = l->n_sets};
  if (!good(dhc_session_open(&so, &p->s), "session")) return false;
  if (!good(dhc_model_open(p->s, &mo, &p->m), l->name)) {
    dhc_session_print_diagnostics(p->s, stdout, false);
    return false;
  }
  return good(dhc_program_open(p->m, "forward", DHC_MODE_GRAD, &p->p), "program") && good(dhc_program_init(p->p, SEED), "init");
}

static void program_close(Program *p) {
  dhc_program_close(p->p);
  dhc_model_close(p->m);
  dhc_session_close(p->s);
}

/* Results of one run with `in`, as doubles. */
static bool program_run(Program *p, Set *in, Set *out) {
  dhc_tensor t[MAX_IN];
  float *data[MAX_IN];
  const dhc_tensor *res;
  int n = 0;
  for (int i = 0; i < in->n; i++) {
    Array *a = &in->a[i];
    data[i] = malloc(sizeof(float) * (size_t)a->n);
    if (!data[i]) exit(3);
    for (int64_t e = 0; e < a->n; e++) data[i][e] = (float)a->v[e];
    t[i] = (dhc_tensor){.name = a->name, .dtype = DHC_F32, .rank = a->rank, .data = data[i]};
    memcpy(t[i].dim, a->dim, sizeof a->dim);
  }
  bool ok = good(dhc_program_run(p->p, 0, t, in->n, &res, &n), "run");
  out->n = 0;
  for (int i = 0; ok && i < n; i++) {
    Array *a = set_add(out, res[i].name, res[i].rank, res[i].dim);
    for (int64_t e = 0; e < a->n; e++)
      a->v[e] = res[i].dtype == DHC_F64 ? ((const double *)res[i].data)[e] : (double)((const float *)res[i].data)[e];
  }
  for (int i = 0; i < in->n; i++) free(data[i]);
  return ok;
}

/* Inputs of a layer: row r of the batch depends on r and the length alone. */
static void draw_inputs(const Layer *l, int64_t batch, int64_t length, Set *in) {
  in->n = 0;
  for (int i = 0; l->in[i].name; i++) {
    int64_t dim[8];
    int rank = 0;
    for (; rank < 4 && l->in[i].dim[rank]; rank++)
      dim[rank] = l->in[i].dim[rank] == -1 ? batch : l->in[i].dim[rank] == -2 ? length : l->in[i].dim[rank];
    Array *a = set_add(in, l->in[i].name, rank, dim);
    for (int64_t e = 0; e < a->n; e++) {
      int64_t row = e / (a->n / batch), at = e % (a->n / batch);
      uint64_t state = (uint64_t)(row * 1000003 + i * 7919 + at) * 0x9E3779B97F4A7C15u + (uint64_t)length;
      uniform(&state);
      a->v[e] = uniform(&state);
    }
  }
}

/* ---- comparing ---------------------------------------------------------------------------------- */

static bool is_gradient(const char *name) { return strncmp(name, "grad.", 5) == 0; }

/* ||a - b|| / ||b||, where b is small: beside the largest tensor of b. */
static double difference(const Array *a, const Array *b, double largest) {
  double d = 0, s = 0;
  for (int64_t e = 0; e < b->n; e++) {
    d += (a->v[e] - b->v[e]) * (a->v[e] - b->v[e]);
    s += b->v[e] * b->v[e];
  }
  double least = 1e-3 * largest;
  s = sqrt(s) > least ? sqrt(s) : least;
  return s > 0 ? sqrt(d) / s : sqrt(d);
}

static double largest_norm(const Set *s) {
  double best = 0;
  for (int i = 0; i < s->n; i++) {
    double n = 0;
    for (int64_t e = 0; e < s->a[i].n; e++) n += s->a[i].v[e] * s->a[i].v[e];
    if (sqrt(n) > best) best = sqrt(n);
  }
  return best;
}

/* out_tol < 0: results in every bit. */
static void compare(const char *what, const Layer *l, int64_t length, Set *have, Set *want, double out_tol, double grad_tol) {
  double largest = largest_norm(want);
  for (int i = 0; i < want->n; i++) {
    Array *w = &want->a[i], *h = set_find(have, w->name);
    if (!h || h->n != w->n) {
      printf("FAILED: %s %s at %lld: no %s\n", l->name, what, (long long)length, w->name);
      fails++;
      continue;
    }
    bool grad = is_gradient(w->name);
    double tol = grad ? grad_tol : out_tol;
    double d = difference(h, w, grad ? largest : 0);
    bool same = memcmp(h->v, w->v, sizeof *w->v * (size_t)w->n) == 0;
    if (tol < 0 ? same : d <= tol) continue;
    printf("FAILED: %s %s at %lld: %s differs by %g\n", l->name, what, (long long)length, w->name, d);
    fails++;
  }
}

/* ---- the layers at every length ------------------------------------------------------------------ */

/* Cotangents for the float results, shaped as `out` has them. */
static void draw_cotangents(const Set *out, Set *in) {
  uint64_t state = 99;
  for (int i = 0; i < out->n; i++) {
    char name[64];
    if (is_gradient(out->a[i].name)) continue;
    snprintf(name, sizeof name, "cotangent.%.40s", out->a[i].name);
    Array *a = set_add(in, name, out->a[i].rank, out->a[i].dim);
    for (int64_t e = 0; e < a->n; e++) a->v[e] = uniform(&state);
  }
}

enum { CHUNKS, ALL_AT_ONCE, THREE_THREADS, REFERENCE, N_PROGRAMS };

/* Row 0 of a batch of 2, run alone: the same bits. */
static void check_row(const Layer *l, int64_t length, Program *p, Set *in, Set *both) {
  Set one = {0}, out = {0};
  for (int i = 0; i < in->n; i++) {
    int64_t dim[8];
    memcpy(dim, in->a[i].dim, sizeof dim);
    dim[0] = 1;
    Array *a = set_add(&one, in->a[i].name, in->a[i].rank, dim);
    memcpy(a->v, in->a[i].v, sizeof *a->v * (size_t)a->n);
  }
  if (program_run(p, &one, &out))
    for (int i = 0; i < out.n; i++) {
      const Array *a = &out.a[i], *b = set_find(both, a->name);
      if (a->rank < 3 || !b || b->dim[0] != 2 || b->n != 2 * a->n) continue; /* gradients of weights sum over rows */
      if (memcmp(a->v, b->v, sizeof *a->v * (size_t)a->n) == 0) continue;
      printf("FAILED: %s at %lld: %s of one row depends on the other\n", l->name, (long long)length, a->name);
      fails++;
    }
  set_free(&one);
  set_free(&out);
}

static void check_layer(const Layer *l) {
  Program p[N_PROGRAMS];
  bool ok = program_open(&p[CHUNKS], l, "cpu", 1, NULL);
  ok = program_open(&p[ALL_AT_ONCE], l, "cpu", 1, "chunk") && ok;
  ok = program_open(&p[THREE_THREADS], l, "cpu", 3, NULL) && ok;
  ok = program_open(&p[REFERENCE], l, "interp", 1, "chunk") && ok;
  int compiled = -1;
  for (int k = 0; ok && k < N_LENGTHS; k++) {
    Set in = {0}, out[N_PROGRAMS] = {{0}}, first = {0};
    draw_inputs(l, 2, lengths[k], &in);
    ok = program_run(&p[CHUNKS], &in, &first);
    draw_cotangents(&first, &in);
    for (int i = 0; i < N_PROGRAMS; i++) ok = ok && program_run(&p[i], &in, &out[i]);
    if (ok) {
      compare("in chunks against all at once", l, lengths[k], &out[CHUNKS], &out[ALL_AT_ONCE], -1, 1e-5);
      compare("against the reference", l, lengths[k], &out[CHUNKS], &out[REFERENCE], 1e-5, 1e-4);
      compare("three threads", l, lengths[k], &out[THREE_THREADS], &out[CHUNKS], -1, -1);
      check_row(l, lengths[k], &p[CHUNKS], &in, &out[CHUNKS]);
    }
    int now = dhc_session_stats(p[CHUNKS].s).kernels_compiled;
    if (compiled >= 0 && now != compiled) {
      printf("FAILED: %s: %d kernels compiled for length %lld\n", l->name, now - compiled, (long long)lengths[k]);
      fails++;
    }
    compiled = now;
    set_free(&in);
    set_free(&first);
    for (int i = 0; i < N_PROGRAMS; i++) set_free(&out[i]);
  }
  for (int i = 0; i < N_PROGRAMS; i++) program_close(&p[i]);
}

/* ---- step by step ---------------------------------------------------------------------------------- */

/* Step t of whole inputs; h is the state. */
static void step_inputs(Set *whole, int64_t t, const double *h, Set *in) {
  in->n = 0;
  for (int i = 0; i < whole->n; i++) {
    const Array *w = &whole->a[i];
    bool state = !strcmp(w->name, "h0");
    int64_t dim[8], inner = 1;
    memcpy(dim, w->dim, sizeof dim);
    if (!state) dim[1] = 1;
    for (int d = 2; d < w->rank; d++) inner *= w->dim[d];
    Array *a = set_add(in, w->name, w->rank, dim);
    for (int64_t e = 0; e < a->n; e++)
      a->v[e] = state ? h[e] : w->v[(e / inner * w->dim[1] + t) * inner + e % inner];
  }
}

/* Forward one step after the other, then backward through the steps: results in every bit,
 * gradients nearly. */
static void check_steps(const Layer *l, int64_t length) {
  Program p;
  Set in = {0}, whole = {0}, step[256] = {{0}}, out[256] = {{0}};
  bool ok = program_open(&p, l, "cpu", 2, NULL);
  draw_inputs(l, 2, length, &in);
  ok = ok && program_run(&p, &in, &whole);
  Set cot = {0};
  draw_cotangents(&whole, &cot);
  for (int i = 0; i < cot.n; i++) in.a[in.n++] = cot.a[i];
  set_free(&whole);
  ok = ok && program_run(&p, &in, &whole);
  Array *y = ok ? set_find(&whole, "y") : NULL, *last = ok ? set_find(&whole, "last") : NULL;
  ok = ok && y && last;
  const double *h = ok ? set_find(&in, "h0")->v : NULL;
  int64_t d = ok ? y->dim[2] : 0;
  for (int64_t t = 0; ok && t < length; t++) { /* "cotangent.last" is filled in on the way back */
    Set steps = {0};
    for (int i = 0; i < in.n; i++)
      if (strcmp(in.a[i].name, "cotangent.last")) steps.a[steps.n++] = in.a[i];
    step_inputs(&steps, t, h, &step[t]);
    ok = program_run(&p, &step[t], &out[t]);
    if (!ok) break;
    h = set_find(&out[t], "last")->v;
    Array *yt = set_find(&out[t], "y");
    for (int64_t e = 0; e < yt->n; e++)
      if (memcmp(&yt->v[e], &y->v[(e / d * length + t) * d + e % d], sizeof(double))) ok = false;
    if (!ok) printf("FAILED: %s: y of step %lld is not that of the whole\n", l->name, (long long)t), fails++;
  }
  if (ok && memcmp(h, last->v, sizeof *h * (size_t)last->n)) printf("FAILED: %s: last state\n", l->name), fails++;
  Set sum = {0};
  double *back = ok ? set_find(&in, "cotangent.last")->v : NULL;
  Set grads[256] = {{0}};
  for (int64_t t = length; ok && t-- > 0;) {
    Array *c = set_add(&step[t], "cotangent.last", last->rank, last->dim);
    memcpy(c->v, back, sizeof *back * (size_t)last->n);
    ok = program_run(&p, &step[t], &grads[t]);
    if (!ok) break;
    back = set_find(&grads[t], "grad.h0")->v;
    for (int i = 0; i < grads[t].n; i++) {
      const Array *g = &grads[t].a[i];
      if (!is_gradient(g->name)) continue;
      Array *w = set_find(&whole, g->name), *s = set_find(&sum, g->name);
      if (!s) s = set_add(&sum, g->name, w->rank, w->dim);
      bool weight = g->n == w->n && strcmp(g->name, "grad.h0");
      int64_t inner = weight ? 1 : g->dim[g->rank - 1];
      if (!strcmp(g->name, "grad.h0")) memcpy(s->v, g->v, sizeof *g->v * (size_t)g->n);
      else
        for (int64_t e = 0; e < g->n; e++) s->v[weight ? e : (e / inner * length + t) * inner + e % inner] += g->v[e];
    }
  }
  if (ok) {
    Set want = {0};
    for (int i = 0; i < whole.n; i++)
      if (is_gradient(whole.a[i].name)) want.a[want.n++] = whole.a[i];
    compare("step by step", l, length, &sum, &want, 0, 1e-5);
  }
  for (int i = 0; i < 256; i++) set_free(&step[i]), set_free(&out[i]), set_free(&grads[i]);
  set_free(&in);
  set_free(&whole);
  set_free(&sum);
  program_close(&p);
}

/* ---- silence ---------------------------------------------------------------------------------------- */

/* One push at the start, or one cotangent at the end: states and their cotangents fade by a quarter
 * a step, and denormals they are not: zero, whole or in chunks. */
static void check_silence(const Layer *l, const char *backend, const char *off) {
  Program p;
  Set in = {0}, out = {0};
  bool ok = program_open(&p, l, backend, 1, off);
  draw_inputs(l, 2, 200, &in);
  for (int i = 0; i < in.n; i++) memset(in.a[i].v, 0, sizeof(double) * (size_t)in.a[i].n);
  Array *h0 = set_find(&in, "h0");
  for (int64_t e = 0; e < h0->n; e++) h0->v[e] = 1;
  ok = ok && program_run(&p, &in, &out);
  if (ok) {
    draw_cotangents(&out, &in);
    Array *c = set_find(&in, "cotangent.y");
    memset(set_find(&in, "cotangent.last")->v, 0, sizeof(double) * (size_t)set_find(&in, "cotangent.last")->n);
    for (int64_t e = 0; e < c->n; e++) c->v[e] = (e / c->dim[2]) % c->dim[1] == c->dim[1] - 1;
  }
  set_free(&out);
  ok = ok && program_run(&p, &in, &out);
  Array *y = ok ? set_find(&out, "y") : NULL, *gx = ok ? set_find(&out, "grad.x") : NULL;
  int zeros = 0, tiny = 0;
  for (int i = 0; i < out.n; i++)
    for (int64_t e = 0; e < out.a[i].n; e++) tiny += out.a[i].v[e] != 0 && fabs(out.a[i].v[e]) < 0x1p-126;
  for (int64_t e = 0; y && e < y->n; e++) {
    int64_t t = e / y->dim[2] % y->dim[1];
    /* 4^-63 = 2^-126 is still kept */
    if (t > 63 && y->v[e] != 0) zeros++;
    if (t < 63 && y->v[e] == 0) zeros++;
    if (t < 136 && gx->v[e] != 0) zeros++;
    if (t >= 137 && gx->v[e] == 0) zeros++;
  }
  if (ok && (zeros || tiny)) {
    printf("FAILED: %s on %s, without '%s': %d values not as they fade, %d too small\n", l->name, backend, off ? off : "", zeros, tiny);
    fails++;
  }
  set_free(&in);
  set_free(&out);
  program_close(&p);
}

/* ---- draws ---------------------------------------------------------------------------------------------- */

/* Steps of a scan, and of a scan within it, draw different masks, both backends the same ones, and the
 * derivative those of the forward pass. */
static void check_draws(const Layer *l) {
  enum { STEPS = 40, D = 8, INNER = 4 };
  Program p[2];
  Set in = {0}, out[2] = {{0}};
  bool ok = program_open(&p[0], l, "cpu", 2, NULL);
  ok = program_open(&p[1], l, "interp", 1, NULL) && ok;
  draw_inputs(l, 2, STEPS, &in);
  for (int64_t e = 0; e < in.a[0].n; e++) in.a[0].v[e] = 1;
  ok = ok && program_run(&p[0], &in, &out[0]);
  for (int i = 0; ok && i < out[0].n; i++) {
    char name[64];
    if (is_gradient(out[0].a[i].name)) continue;
    snprintf(name, sizeof name, "cotangent.%.40s", out[0].a[i].name);
    Array *a = set_add(&in, name, out[0].a[i].rank, out[0].a[i].dim);
    for (int64_t e = 0; e < a->n; e++) a->v[e] = 1;
  }
  set_free(&out[0]);
  for (int i = 0; i < 2; i++) ok = ok && program_run(&p[i], &in, &out[i]);
  if (ok) compare("draws", l, STEPS, &out[0], &out[1], -1, 1e-7);
  Array *y = ok ? set_find(&out[0], "y") : NULL, *z = ok ? set_find(&out[0], "z") : NULL, *g = ok ? set_find(&out[0], "grad.x") : NULL;
  int equal = 0, kept = 0, wrong = 0;
  for (int64_t e = 0; ok && e < y->n; e++) {
    double sum = y->v[e];
    for (int64_t k = 0; k < INNER; k++) sum += z->v[(e / D * INNER + k) * D + e % D];
    wrong += g->v[e] != sum;
    kept += y->v[e] != 0;
  }
  /* 2 rows of D bits, or of INNER * D: 16 and 64 bits a step */
  for (int64_t a = 0; ok && a < STEPS; a++)
    for (int64_t b = 0; b < a; b++) {
      bool same = true, same_z = true;
      for (int64_t r = 0; r < 2; r++) {
        same = same && !memcmp(y->v + (r * STEPS + a) * D, y->v + (r * STEPS + b) * D, D * sizeof(double));
        same_z = same_z && !memcmp(z->v + (r * STEPS + a) * INNER * D, z->v + (r * STEPS + b) * INNER * D, INNER * D * sizeof(double));
      }
      equal += same_z + (same && b + 1 == a);
    }
  if (ok && (equal || wrong || kept < 200 || kept > 440)) {
    printf("FAILED: draws in scans: %d equal masks, %d gradients of other masks, %d of 640 kept\n", equal, wrong, kept);
    fails++;
  }
  set_free(&in);
  for (int i = 0; i < 2; i++) set_free(&out[i]), program_close(&p[i]);
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  model_file = argv[1];
  static const Layer layers[] = {
      {.name = "Mamba", .file = "layers/mamba", .root = "Mamba", .sets = {"d_model=6", "d_state=4"}, .n_sets = 2, .in = {{"x", {-1, -2, 6}}}},
      {.name = "GLA", .root = "GLA", .in = {{"x", {-1, -2, 12}}}},
      {.name = "RetNet", .root = "RetNet", .in = {{"x", {-1, -2, 12}}}},
      {.name = "S4D", .root = "S4D", .in = {{"x", {-1, -2, 10}}}},
      {.name = "Backward", .root = "Backward", .in = {{"x", {-1, -2, 6}}, {"c", {-1, -2, 5}}}},
      {.name = "Selective",
       .root = "Selective",
       .in = {{"x", {-1, -2, 6}}, {"t", {-1, -2, 6}}, {"b", {-1, -2, 4}}, {"c", {-1, -2, 4}}, {"h0", {-1, 6, 4}}}},
      {.name = "Fading", .root = "Fading", .in = {{"x", {-1, -2, 3}}, {"h0", {-1, 3, 2}}}},
  };
  for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) check_layer(&layers[i]);
  check_steps(&layers[5], 65);
  check_steps(&layers[6], 3);
  static const Layer draws = {.name = "Draws", .root = "Draws", .in = {{"x", {-1, -2, 8}}}};
  check_draws(&draws);
  const char *const off[] = {NULL, "chunk"};
  for (int i = 0; i < 2; i++) {
    check_silence(&layers[6], "cpu", off[i]);
    check_silence(&layers[6], "interp", off[i]);
  }
  printf(fails ? "%d failures\n" : "ok\n", fails);
  return fails > 0;
}
