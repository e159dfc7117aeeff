/* What stands around entries of an object for GPUs: a training's state, variants and the self test, on the driver of the tests, whose
 * launches do nothing. Compiled with -DTRAIN, -DVARIANTS or -DSELFTEST; ends with the number of what is wrong, a self test with its status. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include OBJECT

extern int cuMemAlloc_v2(unsigned long long *at, size_t bytes);
extern int cuMemcpyHtoD_v2(unsigned long long to, const void *from, size_t bytes);
extern int cuMemcpyDtoH_v2(void *to, unsigned long long from, size_t bytes);
extern int cuCtxSynchronize(void);

static void *on_gpu(int64_t bytes) {
  unsigned long long at = 0;
  if (bytes < 0 || cuMemAlloc_v2(&at, bytes ? (size_t)bytes : 1)) exit(90);
  return (void *)(uintptr_t)at;
}

#define NEED(x) \
  if (!(x)) { \
    fprintf(stderr, "line %d: %s\n", __LINE__, #x); \
    return 1; \
  }

#ifdef TRAIN
static int around(const m_cuda *gpu) {
  static float got[64], want[64];
  void *state = on_gpu(M_TRAIN_STEP_STATE_BYTES), *x = on_gpu(4 * 64 * 3), *out = on_gpu(4096);
  m_train_step_scalars now = M_TRAIN_STEP_SCALARS;
  int64_t bytes = m_train_step_workspace_bytes(3, 1);
  char *work = on_gpu(bytes), *host = malloc((size_t)bytes);
  NEED(host && m_train_step_init(state, M_TRAIN_STEP_STATE_BYTES - 1) == DHC_OBJECT_WORKSPACE);
  NEED(m_train_step_init(state, M_TRAIN_STEP_STATE_BYTES) == DHC_OBJECT_OK);
  NEED(m_train_step_get(state, 0, want, sizeof want) == DHC_OBJECT_OK && want[0] != want[1]);
  NEED(m_train_step_get(state, 0, want, 4) == DHC_OBJECT_WEIGHTS);
  memcpy(got, want, sizeof got);
  got[5] = 7;
  NEED(m_train_step_set(state, 0, got, sizeof got) == DHC_OBJECT_OK);
  memset(got, 0, sizeof got);
  NEED(m_train_step_get(state, 0, got, sizeof got) == DHC_OBJECT_OK && got[5] == 7.0f && got[6] == want[6]);
  NEED(m_train_step_reset(state) == DHC_OBJECT_OK);
  now.lr = 0.125f;
  NEED(m_train_step(state, x, out, out, out, NULL, 3, work, bytes, gpu) == DHC_OBJECT_NULL);
  NEED(m_train_step(state, x, out, out, out, &now, 3, work, bytes - 1, gpu) == DHC_OBJECT_WORKSPACE);
  NEED(m_train_step(state, x, out, out, out, &now, 3, work, bytes, gpu) == DHC_OBJECT_OK);
  /* the numbers of the step are in the workspace */
  NEED(!cuMemcpyDtoH_v2(host, (uintptr_t)work, (size_t)bytes));
  for (int64_t i = 0; i + (int64_t)sizeof now <= bytes; i += 64)
    if (!memcmp(host + i, &now, sizeof now)) return 0;
  NEED(!"numbers of the step on the GPU");
}
#elif defined VARIANTS
static int around(const m_cuda *gpu) {
  static _Alignas(64) char weights[M_WEIGHTS_BYTES];
  void *w = on_gpu(M_WEIGHTS_BYTES), *x = on_gpu(4 * 64), *out = on_gpu(4096);
  int64_t bytes = m_forward_workspace_bytes(1, 1, 1);
  void *work = on_gpu(bytes);
  NEED(m_weights_begin(weights, sizeof weights) == DHC_OBJECT_OK && !cuMemcpyHtoD_v2((uintptr_t)w, weights, sizeof weights));
  NEED(m_variant("b") == M_VARIANT_b && m_variant("c") == -1 && m_forward_workspace_bytes(2, 1, 1) == -1);
  NEED(m_forward(2, w, x, out, 1, work, bytes, gpu) == DHC_OBJECT_VARIANT);
  NEED(m_b_forward(w, x, out, 1, work, bytes, gpu) == DHC_OBJECT_OK);
  NEED(m_forward(M_VARIANT_b, w, x, out, 1, work, bytes, gpu) == DHC_OBJECT_OK);
  return 0;
}
#else
static int around(const m_cuda *gpu) {
  void *w = on_gpu(M_WEIGHTS_BYTES), *work = on_gpu(M_SELFTEST_WORKSPACE_BYTES); /* zeros, which nobody looks at */
  NEED(m_selftest(w, work, M_SELFTEST_WORKSPACE_BYTES - 1, gpu) == DHC_OBJECT_WORKSPACE);
  NEED(m_selftest(w, work, M_SELFTEST_WORKSPACE_BYTES, NULL) == DHC_OBJECT_NULL);
  return m_selftest(w, work, M_SELFTEST_WORKSPACE_BYTES, gpu);
}
#endif

int main(void) {
  m_cuda gpu;
  int rc = m_cuda_open(&gpu, (void *)(uintptr_t)7);
  if (!rc) rc = around(&gpu);
  (void)cuCtxSynchronize();
  m_cuda_close(&gpu);
  return rc;
}
