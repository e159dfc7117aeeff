/* An object beside the program in this process: DHC-SSM at batch 1, 32×32, one thread. From dlopen to the first result, then calls
 * of both in turn, the least time of each; with several threads the object's tasks go to a pool like the program's own, and all calls of
 * one come before those of the other, whose threads sleep then.
 *
 *   bench_object [calls [threads]] */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dhc/dhc.h"
#include "runtime/pool.h"

typedef int (*Forward)(const float *image, float *logits, void *work, int64_t bytes, const void *exec);
typedef int64_t (*Bytes)(int workers);

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void need(dhc_status st) {
  if (st.code == DHC_OK) return;
  fprintf(stderr, "bench_object: %s\n", st.message);
  exit(1);
}

int main(int argc, char **argv) {
  static float image[3 * 32 * 32], logits[10];
  char so[64], weights[64];
  int calls = argc > 1 ? atoi(argv[1]) : 1000, threads = argc > 2 ? atoi(argv[2]) : 1, n = 0;
  snprintf(so, sizeof so, "/tmp/bench_object_%d.so", (int)getpid());
  snprintf(weights, sizeof weights, "/tmp/bench_object_%d.safetensors", (int)getpid());
  dhc_session *s;
  dhc_model *m;
  dhc_program *p;
  dhc_build_result r;
  const dhc_session_options options = {.threads = threads};
  const dhc_model_options model = {.name = "dhc_ssm"};
  const dhc_build_options build = {.name = "m", .bind = "B=1,H=32,W=32", .weights = weights, .out = so};
  const dhc_tensor in = {.name = "image", .dtype = DHC_F32, .rank = 4, .dim = {1, 3, 32, 32}, .data = image}, *out = NULL;
  for (int i = 0; i < 3 * 32 * 32; i++) image[i] = (float)(i % 17) / 17;
  need(dhc_session_open(&options, &s));
  need(dhc_model_open(s, &model, &m));
  need(dhc_program_open(m, "forward", DHC_MODE_RUN, &p));
  need(dhc_program_init(p, 3));
  need(dhc_program_save(p, weights, false));
  need(dhc_model_build(m, &build, &r));
  DhcPool *pool = NULL;
  need(dhc_pool_new(threads, &pool));
  const dhc_exec *exec = threads > 1 ? dhc_pool_exec(pool) : NULL; /* laid out as dhc_object_exec is */
  double begin = now_ms();
  void *library = dlopen(so, RTLD_NOW);
  Forward forward;
  Bytes bytes;
  if (!library || !(*(void **)&forward = dlsym(library, "m_forward")) || !(*(void **)&bytes = dlsym(library, "m_forward_workspace_bytes"))) return 1;
  int64_t room = bytes(threads);
  void *work = aligned_alloc(64, (size_t)room + 64 - (size_t)room % 64);
  if (!work || forward(image, logits, work, room, exec)) return 1;
  double first = now_ms() - begin, object = 1e9, program = 1e9;
  for (int i = 0; i <= 2 * calls; i++) { /* the first of each is left out */
    bool both = threads == 1, own = both || i <= calls;
    double t0 = now_ms();
    if (own) need(dhc_program_run(p, 0, &in, 1, &out, &n));
    double t1 = now_ms();
    if ((both || !own) && forward(image, logits, work, room, exec)) return 1;
    double t2 = now_ms();
    if (i && own && t1 - t0 < program) program = t1 - t0;
    if (i && (both || i > calls + 1) && t2 - t1 < object) object = t2 - t1;
  }
  printf("code %lld bytes; first result %.2f ms after dlopen; program %.4f ms, object %.4f ms (%.3f); %s bits\n", (long long)r.code_bytes, first, program,
         object, object / program, memcmp(out[0].data, logits, sizeof logits) ? "OTHER" : "the same");
  unlink(so);
  unlink(weights);
  free(work);
  dhc_pool_free(pool);
  dhc_program_close(p);
  dhc_model_close(m);
  dhc_session_close(s);
  return dlclose(library);
}
