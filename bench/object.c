/* An object beside the program in this process: DHC-SSM at batch 1, 32×32, one thread. From dlopen to the first result, then calls
 * of both in turn, the least time of each.
 *
 *   bench_object [calls] */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dhc/dhc.h"

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
  int calls = argc > 1 ? atoi(argv[1]) : 1000, n = 0;
  snprintf(so, sizeof so, "/tmp/bench_object_%d.so", (int)getpid());
  snprintf(weights, sizeof weights, "/tmp/bench_object_%d.safetensors", (int)getpid());
  dhc_session *s;
  dhc_model *m;
  dhc_program *p;
  dhc_build_result r;
  const dhc_session_options options = {.threads = 1};
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
  double begin = now_ms();
  void *library = dlopen(so, RTLD_NOW);
  Forward forward;
  Bytes bytes;
  if (!library || !(*(void **)&forward = dlsym(library, "m_forward")) || !(*(void **)&bytes = dlsym(library, "m_forward_workspace_bytes"))) return 1;
  int64_t room = bytes(1);
  void *work = aligned_alloc(64, (size_t)room + 64 - (size_t)room % 64);
  if (!work || forward(image, logits, work, room, NULL)) return 1;
  double first = now_ms() - begin, object = 1e9, program = 1e9;
  for (int i = 0; i <= calls; i++) { /* the first of each is left out */
    double t0 = now_ms();
    need(dhc_program_run(p, 0, &in, 1, &out, &n));
    double t1 = now_ms();
    if (forward(image, logits, work, room, NULL)) return 1;
    double t2 = now_ms();
    if (i && t1 - t0 < program) program = t1 - t0;
    if (i && t2 - t1 < object) object = t2 - t1;
  }
  printf("code %lld bytes; first result %.2f ms after dlopen; program %.4f ms, object %.4f ms (%.3f); %s bits\n", (long long)r.code_bytes, first, program,
         object, object / program, memcmp(out[0].data, logits, sizeof logits) ? "OTHER" : "the same");
  unlink(so);
  unlink(weights);
  free(work);
  dhc_program_close(p);
  dhc_model_close(m);
  dhc_session_close(s);
  return dlclose(library);
}
