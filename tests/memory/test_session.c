/* The C API with each of its requests for memory refused in turn, once and from there on: every
 * call says OK or DHC_E_ENVIRONMENT with a line, the session can be closed after it, nothing
 * is left behind, and a session that begins then works. usage: test_session BACKEND STEP, with
 * fail_alloc preloaded; every STEP-th request. */
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dhc/dhc.h"

static void (*set)(long at, bool all);
static long (*count)(void);
static long fails;

static void expect(bool ok, const char *what, long k, bool all, dhc_status st) {
  if (ok) return;
  if (fails++ < 20) printf("FAILED: %s at request %ld%s: %d %s\n", what, k, all ? " and all after it" : "", (int)st.code, st.message);
}

/* Opens, asks, runs, trains a step, saves and closes. The first status that is not OK. */
static dhc_status use(const char *backend, const char *folder, double *loss) {
  static const char *const sets[] = {"height=2", "width=2", "hidden=3"};
  float image[8] = {0.5f, 1, -1, 2, 0.25f, 0, 1, -2};
  int64_t target[2] = {3, 4};
  dhc_tensor in[] = {{.name = "image", .dtype = DHC_F32, .rank = 4, .dim = {2, 1, 2, 2}, .data = image},
                     {.name = "target", .dtype = DHC_I64, .rank = 1, .dim = {2}, .data = target}};
  const dhc_session_options so = {.backend = backend, .threads = 2, .cache_dir = ""};
  const dhc_model_options mo = {.name = "mlp", .sets = sets, .n_sets = 3};
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  dhc_program *p = NULL;
  char *text = NULL, path[600];
  const dhc_tensor *res = NULL;
  int n = 0;
  snprintf(path, sizeof path, "%s/weights.safetensors", folder);
  dhc_status st = dhc_session_open(&so, &s);
  if (st.code == DHC_OK) st = dhc_model_open(s, &mo, &m);
  if (st.code == DHC_OK) st = dhc_model_check(m);
  if (st.code == DHC_OK) st = dhc_model_info_json(m, NULL, NULL, &text);
  if (st.code == DHC_OK) st = dhc_program_open(m, "loss", DHC_MODE_TRAIN, &p);
  if (st.code == DHC_OK) st = dhc_program_init(p, 1);
  if (st.code == DHC_OK) st = dhc_program_run(p, 0, in, 2, &res, &n);
  if (st.code == DHC_OK && n) *loss = res[0].dtype == DHC_F64 ? *(double *)res[0].data : (double)*(float *)res[0].data;
  if (st.code == DHC_OK) st = dhc_program_save(p, path, false);
  if (st.code == DHC_OK) st = dhc_program_load(p, path, false);
  free(text);
  dhc_program_close(p);
  dhc_model_close(m);
  dhc_session_close(s);
  return st;
}

/* A session that ran out of memory while it compiled a model answers nothing more. */
static void spent(const char *backend) {
  static const char text[] = "out of memory in an earlier call: the session can only be closed";
  const dhc_session_options so = {.backend = backend, .threads = 1, .cache_dir = ""};
  dhc_session *s;
  dhc_model *m;
  dhc_status st = dhc_session_open(&so, &s);
  expect(st.code == DHC_OK, "a session", 0, false, st);
  if (st.code != DHC_OK) return;
  set(0, true);
  st = dhc_model_open(s, &(dhc_model_options){.name = "mlp"}, &m);
  set(-1, false);
  expect(st.code == DHC_E_ENVIRONMENT, "a model without memory", 0, true, st);
  st = dhc_model_open(s, &(dhc_model_options){.name = "mlp"}, &m);
  expect(st.code == DHC_E_ENVIRONMENT && !strcmp(st.message, text), "a spent session", 0, true, st);
  dhc_session_close(s);
}

/* Without the allocator's caches for threads (GLIBC_TUNABLES, see CMakeLists.txt), in which blocks
 * that were freed count as used. */
static size_t in_use(void) {
  struct mallinfo2 i = mallinfo2();
  return i.uordblks + i.hblkhd;
}

int main(int argc, char **argv) {
  void *symbol = dlsym(RTLD_DEFAULT, "fail_alloc_set");
  memcpy(&set, &symbol, sizeof set);
  symbol = dlsym(RTLD_DEFAULT, "fail_alloc_count");
  memcpy(&count, &symbol, sizeof count);
  char folder[] = "/tmp/dhc-session-XXXXXX", path[600];
  if (argc != 3 || !set || !count || !mkdtemp(folder)) {
    printf("usage: LD_PRELOAD=libfail_alloc.so test_session BACKEND STEP\n");
    return 2;
  }
  snprintf(path, sizeof path, "%s/weights.safetensors", folder);
  bool interp = !strcmp(argv[1], "interp"); /* LLVM keeps things for later */
  double want = 0, loss = 0;
  for (int i = 0; i < 2; i++) { /* what is allocated once is there after the second */
    dhc_status st = use(argv[1], folder, &want);
    expect(st.code == DHC_OK, "undisturbed run", i, false, st);
  }
  set(-1, false);
  dhc_status st = use(argv[1], folder, &want);
  long n = count(), tried = 0, before = (long)in_use();
  for (long k = 0; k < n && !fails; k += atol(argv[2]))
    for (int all = 0; all < 2; all++, tried++) {
      set(k, all == 1);
      st = use(argv[1], folder, &loss);
      set(-1, false);
      expect(st.code == DHC_OK || (st.code == DHC_E_ENVIRONMENT && st.message[0] && !strchr(st.message, '\n')), "status", k, all, st);
      expect(st.code != DHC_OK || loss == want, "another loss", k, all, st);
      expect(!interp || (long)in_use() == before, "memory left behind", k, all, st);
    }
  st = use(argv[1], folder, &loss);
  expect(st.code == DHC_OK && loss == want, "a run after all", n, false, st);
  expect(n > 100, "requests counted", n, false, st);
  spent(argv[1]);
  remove(path);
  remove(folder);
  printf("%ld requests, %ld runs, %ld wrong\n", n, tried, fails);
  return fails > 0;
}
