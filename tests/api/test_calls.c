/* Prepared calls, signatures, and programs over the weights of another: the same bits as dhc_program_run, callers' memory
 * used where it lies, several threads at once. `test_calls time` says what a call costs beyond its kernel. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dhc/dhc.h"

static int fails;

static bool good(dhc_status st, const char *what) {
  if (st.code == DHC_OK) return true;
  printf("FAILED: %s: %s\n", what, st.message);
  fails++;
  return false;
}

static void check(bool ok, const char *what) {
  if (ok) return;
  printf("FAILED: %s\n", what);
  fails++;
}

static void refused(dhc_status st, dhc_code code, const char *text) {
  if (st.code == code && strstr(st.message, text)) return;
  printf("FAILED: code %d, \"%s\": no \"%s\"\n", (int)st.code, st.message, text);
  fails++;
}

enum { B = 3, PIXELS = 784, CLASSES = 10 };
static float image[B * PIXELS + 1];

static dhc_tensor images(void) {
  for (int i = 0; i < B * PIXELS; i++) image[i] = (float)((i * 7919) % 1000) / 1000 - 0.5f;
  return (dhc_tensor){.name = "image", .dtype = DHC_F32, .rank = 4, .dim = {B, 1, 28, 28}, .data = image};
}

static bool open_model(dhc_session *s, const char *name, const char *const *sets, int n, dhc_model **m) {
  if (good(dhc_model_open(s, &(dhc_model_options){.name = name, .sets = sets, .n_sets = n}, m), name)) return true;
  dhc_session_print_diagnostics(s, stdout, false);
  return false;
}

/* ---- signatures -------------------------------------------------------------------- */

static void test_signature(dhc_model *m) {
  const dhc_entry_info *e, *again;
  if (!good(dhc_model_signature(m, "forward", &e), "signature")) return;
  check(e->n_inputs == 1 && !strcmp(e->inputs[0].name, "image") && !strcmp(e->inputs[0].type, "f32[B, 1, 28, 28]"), "input's type");
  check(e->inputs[0].rank == 4 && !strcmp(e->inputs[0].dim[0], "B") && e->inputs[0].size[0] == -1 && e->inputs[0].size[2] == 28, "input's extents");
  check(e->n_results == 1 && !strcmp(e->results[0].name, "logits") && e->results[0].dtype == DHC_F32 && e->results[0].size[1] == 10, "result");
  check(good(dhc_model_signature(m, "forward", &again), "again") && again == e, "a signature is kept");
  refused(dhc_model_signature(m, "forwrd", &e), DHC_E_INPUT, "model MLP has no entry 'forwrd' (did you mean 'forward'?)");
  check(e == NULL, "no signature");
}

/* ---- calls -------------------------------------------------------------------------- */

static void same(const void *a, const float *want, const char *what) {
  check(!memcmp(a, want, sizeof(float) * B * CLASSES), what);
}

/* Values as float32, whatever the backend gives. */
static void values(const dhc_tensor *t, float *to) {
  for (int i = 0; i < B * CLASSES; i++) to[i] = (float)dhc_tensor_value(t, i);
}

static void test_call(dhc_program *p, bool host) {
  dhc_tensor in = images(), form = in;
  const dhc_tensor *r;
  int n;
  float want[B * CLASSES], got[B * CLASSES];
  dhc_call *c = NULL;
  form.data = NULL;
  if (!good(dhc_program_run(p, 0, &in, 1, &r, &n), "run")) return;
  values(&r[0], want);
  if (!good(dhc_call_open(p, 0, &form, 1, &c), "call")) return;
  const void *data[] = {image};
  r = dhc_call_results(c, &n);
  check(n == 1 && r[0].rank == 2 && r[0].dim[0] == B && r[0].dim[1] == CLASSES, "results are known before a run");
  check(good(dhc_call_run(c, data, NULL), "run a call"), "a call runs");
  values(&r[0], got);
  same(got, want, "a call gives what a run gives");
  static double room[B * CLASSES];
  void *out[] = {room};
  check(good(dhc_call_run(c, data, out), "into memory"), "a call runs");
  check(r[0].data == room, "the result is where it should be");
  values(&r[0], got);
  same(got, want, "written by the kernel");
  if (host) { /* where floats do not lie: taken over by a copy */
    char *odd = (char *)image + 1;
    memmove(odd, image, sizeof(float) * B * PIXELS);
    check(good(dhc_call_run(c, (const void *const[]){odd}, NULL), "misaligned"), "a call runs");
    values(&r[0], got);
    same(got, want, "misaligned input");
    in = images();
  }
  refused(dhc_call_run(c, NULL, NULL), DHC_E_USAGE, "dhc_call_run: 'inputs' is NULL");
  refused(dhc_call_run(c, (const void *const[]){NULL}, NULL), DHC_E_USAGE, "tensor 'image' has no data");
  dhc_call_close(c);
  form.dim[1] = 2;
  refused(dhc_call_open(p, 0, &form, 1, &c), DHC_E_INPUT, "input 'image' is [3,2,28,28], entry 'forward' needs f32[B, 1, 28, 28]");
  check(c == NULL, "no call");
  refused(dhc_call_open(p, 0, NULL, 1, &c), DHC_E_USAGE, "dhc_call_open: 1 tensors at NULL");
  refused(dhc_call_open(p, 7, &form, 1, &c), DHC_E_USAGE, "program has no entry number 7");
}

/* float64 where the entry has float32: converted. */
static void test_converted(dhc_program *p) {
  static double wide[B * PIXELS];
  dhc_tensor in = images();
  const dhc_tensor *r;
  dhc_call *c = NULL;
  float want[B * CLASSES], got[B * CLASSES];
  int n;
  for (int i = 0; i < B * PIXELS; i++) wide[i] = (double)image[i];
  if (!good(dhc_program_run(p, 0, &in, 1, &r, &n), "run")) return;
  values(&r[0], want);
  in.dtype = DHC_F64;
  if (good(dhc_call_open(p, 0, &in, 1, &c), "call") && good(dhc_call_run(c, (const void *const[]){wide}, NULL), "run")) {
    values(dhc_call_results(c, NULL), got);
    same(got, want, "f64 input");
  }
  dhc_call_close(c);
}

/* ---- states and requirements --------------------------------------------------------- */

#define SEQ "vocabulary=11", "d_model=8", "num_heads=2", "num_layers=2", "mamba_ratio=1", "d_state=4", "ffn_inner=12", "max_len=5"

static void test_steps(dhc_session *s) {
  const char *sets[] = {SEQ};
  dhc_model *m = NULL;
  dhc_program *p = NULL;
  dhc_call *c = NULL;
  int64_t token = 0;
  float want[5][11];
  dhc_tensor in = {.name = "tokens", .dtype = DHC_I64, .rank = 2, .dim = {1, 1}, .data = &token};
  const dhc_tensor *r;
  int n;
  if (!open_model(s, "seq", sets, 8, &m) || !good(dhc_program_open(m, "forward.step", DHC_MODE_RUN, &p), "program") ||
      !good(dhc_program_init(p, 3), "init"))
    return;
  for (token = 0; token < 5; token++) {
    if (!good(dhc_program_run(p, 0, &in, 1, &r, &n), "step")) return;
    for (int i = 0; i < 11; i++) want[token][i] = (float)dhc_tensor_value(&r[0], i);
  }
  dhc_program_reset(p);
  check(good(dhc_call_open(p, 0, &in, 1, &c), "call"), "a step's call");
  for (int round = 0; c && round < 2; round++, dhc_program_reset(p)) {
    for (token = 0; token < 5; token++) {
      check(good(dhc_call_run(c, (const void *const[]){&token}, NULL), "step"), "a step's call runs");
      for (int i = 0; i < 11; i++)
        check((float)dhc_tensor_value(dhc_call_results(c, NULL), i) == want[token][i], "a step's call gives what a step gives");
    }
    refused(dhc_call_run(c, (const void *const[]){&token}, NULL), DHC_E_INPUT, "entry 'forward.step': ");
  }
  token = 11;
  refused(dhc_call_run(c, (const void *const[]){&token}, NULL), DHC_E_INPUT, "tokens");
  dhc_program_ablate(p, (const char *const[]){"mamba"}, 1).code == DHC_OK ? (void)0 : check(false, "ablate");
  token = 0;
  refused(dhc_call_run(c, (const void *const[]){&token}, NULL), DHC_E_USAGE,
          "entry 'forward.step': the program leaves out other parts than when the call was opened");
  dhc_call_close(c);
  dhc_program_close(p);
  dhc_model_close(m);
}

/* ---- sharing -------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 50 };

typedef struct Worker {
  pthread_t thread;
  dhc_program *p;
  const float *want;
  int wrong;
} Worker;

static void *work(void *arg) {
  Worker *w = arg;
  dhc_call *c = NULL;
  static const float zero[B * CLASSES];
  dhc_tensor in = {.name = "image", .dtype = DHC_F32, .rank = 4, .dim = {B, 1, 28, 28}};
  float got[B * CLASSES];
  if (dhc_call_open(w->p, 0, &in, 1, &c).code != DHC_OK) w->wrong++;
  for (int i = 0; c && i < ROUNDS; i++) {
    void *out[] = {got};
    memcpy(got, zero, sizeof got);
    if (dhc_call_run(c, (const void *const[]){image}, out).code != DHC_OK) w->wrong++;
    if (memcmp(got, w->want, sizeof got)) w->wrong++;
  }
  dhc_call_close(c);
  return NULL;
}

static void test_refusals(dhc_program *q, dhc_program *p) {
  float w[1] = {0};
  dhc_program *x;
  dhc_tensor t = {.name = "head.bias", .dtype = DHC_F32, .rank = 1, .dim = {1}, .data = w};
  refused(dhc_program_init(q, 1), DHC_E_USAGE, "initialising weights: the weights are another program's (dhc_program_share)");
  refused(dhc_program_load(q, "w.safetensors", false), DHC_E_USAGE, "loading weights: the weights are another program's");
  refused(dhc_program_transplant(q, "w.safetensors", NULL, NULL), DHC_E_USAGE, "loading weights: the weights are another program's");
  refused(dhc_program_set(q, &t), DHC_E_USAGE, "writing a tensor: the weights are another program's");
  refused(dhc_program_add(q, "loss", DHC_MODE_TRAIN, NULL), DHC_E_USAGE, "training: the weights are another program's");
  refused(dhc_program_share(p, 0, &x), DHC_E_USAGE, "dhc_program_share: 0 threads");
  check(x == NULL, "no program");
}

static void test_share(dhc_model *m, dhc_program *p, bool bits) {
  dhc_tensor in = images();
  const dhc_tensor *r;
  int n;
  float want[B * CLASSES], got[B * CLASSES];
  static Worker w[THREADS];
  if (!good(dhc_program_run(p, 0, &in, 1, &r, &n), "run")) return;
  values(&r[0], want);
  const char *path = dhc_model_tensor(m, 0).path;
  for (int i = 0; i < THREADS; i++) {
    dhc_tensor a, b;
    w[i] = (Worker){.want = want};
    if (!good(dhc_program_share(i ? w[i - 1].p : p, i % 2 + 1, &w[i].p), "share")) return;
    check(dhc_program_get(p, path, &a).code == DHC_OK && dhc_program_get(w[i].p, path, &b).code == DHC_OK && a.data == b.data,
          "weights are not copied");
    check(good(dhc_program_run(w[i].p, 0, &in, 1, &r, &n), "run a shared program"), "it runs");
    values(&r[0], got);
    same(got, want, "a shared program gives the same");
  }
  test_refusals(w[1].p, p);
  for (int i = 0; bits && i < THREADS; i++) pthread_create(&w[i].thread, NULL, work, &w[i]);
  for (int i = 0; bits && i < ROUNDS; i++) { /* beside them */
    check(good(dhc_program_run(p, 0, &in, 1, &r, &n), "run"), "runs");
    check(!memcmp(r[0].data, want, sizeof want), "beside others");
  }
  for (int i = 0; bits && i < THREADS; i++) pthread_join(w[i].thread, NULL);
  for (int i = 0; i < THREADS; i++) check(!w[i].wrong, "several threads");
  /* other weights are seen, packed copies of them too */
  check(good(dhc_program_init(p, 8), "other weights"), "init");
  check(good(dhc_program_run(p, 0, &in, 1, &r, &n), "run"), "runs");
  values(&r[0], want);
  check(memcmp(got, want, sizeof want), "other weights");
  check(good(dhc_program_run(w[0].p, 0, &in, 1, &r, &n), "run"), "runs");
  values(&r[0], got);
  same(got, want, "a shared program sees new weights");
  for (int i = THREADS; i-- > 0;) dhc_program_close(w[i].p);
}

static void test_backend(const char *backend) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  dhc_program *p = NULL;
  bool cpu = !strcmp(backend, "cpu");
  const char *sets[] = {"hidden=33", "depth=2"};
  if (good(dhc_session_open(&(dhc_session_options){.backend = backend, .threads = 2}, &s), "session") &&
      open_model(s, "mlp", sets, 2, &m) && good(dhc_program_open(m, "forward", DHC_MODE_RUN, &p), "program") &&
      good(dhc_program_init(p, 7), "init")) {
    test_signature(m);
    test_call(p, cpu);
    test_converted(p);
    test_share(m, p, cpu);
    test_steps(s);
  }
  dhc_program_close(p);
  dhc_model_close(m);
  dhc_session_close(s);
}

/* ---- time ------------------------------------------------------------------------------ */

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

enum { CALLS = 2000, REPEATS = 41 };

static double median(dhc_program *p, dhc_call *c, dhc_tensor *in, int n_in, const void *const *data, void *const *out) {
  static double each[REPEATS];
  for (int i = 0; i < REPEATS; i++) {
    double t0 = now_us();
    for (int k = 0; k < CALLS; k++) {
      dhc_status st = c ? dhc_call_run(c, data, out) : dhc_program_run(p, 0, in, n_in, NULL, NULL);
      if (st.code != DHC_OK) exit(1);
    }
    each[i] = (now_us() - t0) / (double)CALLS;
  }
  qsort(each, REPEATS, sizeof *each, by_size);
  return each[REPEATS / 2];
}

/* The smallest of entries: one kernel of a few numbers, which takes some ten nanoseconds. */
static int print_time(const char *file) {
  dhc_session *s;
  dhc_model *m;
  dhc_program *p, *q;
  dhc_call *c, *d;
  static float x[4], y[4];
  dhc_tensor in = {.name = "x", .dtype = DHC_F32, .rank = 2, .dim = {1, 4}, .data = x};
  if (!good(dhc_session_open(&(dhc_session_options){.backend = "cpu", .threads = 2}, &s), "session") || !open_model(s, file, NULL, 0, &m) ||
      !good(dhc_program_open(m, "forward", DHC_MODE_RUN, &p), "program") || !good(dhc_program_init(p, 1), "init") ||
      !good(dhc_program_share(p, 1, &q), "share") || !good(dhc_call_open(p, 0, &in, 1, &c), "call") || !good(dhc_call_open(q, 0, &in, 1, &d), "call"))
    return 1;
  const void *data[] = {x};
  void *out[] = {y};
  printf("dhc_program_run            %6.3f us\n", median(p, NULL, &in, 1, data, out));
  printf("dhc_call_run               %6.3f us\n", median(p, c, &in, 1, data, out));
  printf("dhc_call_run, shared       %6.3f us\n", median(q, d, &in, 1, data, out));
  dhc_call_close(d);
  dhc_call_close(c);
  dhc_program_close(q);
  dhc_program_close(p);
  dhc_model_close(m);
  dhc_session_close(s);
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 2 && !strcmp(argv[1], "time")) return print_time(argv[2]);
  test_backend("interp");
#ifdef TEST_LLVM
  test_backend("cpu");
#endif
  printf("%d failures\n", fails);
  return fails > 0;
}
