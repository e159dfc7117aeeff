/* A program that uses an object for GPUs: `program WEIGHTS INPUT OUTPUT_BYTES OUTPUT sizes...`, files being bytes as they lie in memory.
 * Compiled with -DCALL='m_forward(w, in, out, s[0], work, bytes, &gpu)' and -DBYTES='m_forward_workspace_bytes(s[0], 1)'; with
 * -DSTREAM=7 for the driver of the tests, which knows its stream by that. Ends with the entry's status. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include OBJECT

extern int cuInit(unsigned flags);
extern int cuDeviceGet(int *device, int ordinal);
extern int cuDevicePrimaryCtxRetain(void **context, int device);
extern int cuCtxSetCurrent(void *context);
extern int cuMemAlloc_v2(unsigned long long *at, size_t bytes);
extern int cuMemcpyHtoD_v2(unsigned long long to, const void *from, size_t bytes);
extern int cuMemcpyDtoH_v2(void *to, unsigned long long from, size_t bytes);
extern int cuCtxSynchronize(void);

static void *on_gpu(const void *from, size_t bytes) {
  unsigned long long at = 0;
  if (cuMemAlloc_v2(&at, bytes ? bytes : 1) || (from && cuMemcpyHtoD_v2(at, from, bytes))) exit(90);
  return (void *)(uintptr_t)at;
}

static void *file(const char *path, size_t *bytes) {
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END)) exit(91);
  *bytes = (size_t)ftell(f);
  rewind(f);
  void *p = aligned_alloc(64, (*bytes / 64 + 1) * 64);
  if (!p || fread(p, 1, *bytes, f) != *bytes || fclose(f)) exit(92);
  return p;
}

int main(int n, char **a) {
  int device;
  void *context;
  int64_t s[4] = {1, 1, 1, 1};
  for (int i = 5; i < n; i++) s[i - 5] = atoll(a[i]);
  if (cuInit(0) || cuDeviceGet(&device, 0) || cuDevicePrimaryCtxRetain(&context, device) || cuCtxSetCurrent(context)) return 93;
  size_t n_w, n_in, n_out = (size_t)atoll(a[3]);
  void *w_host = file(a[1], &n_w), *in_host = file(a[2], &n_in), *out_host = malloc(n_out);
  if (m_weights_check(w_host, (int64_t)n_w)) return 94;
  void *w = on_gpu(w_host, n_w), *in = on_gpu(in_host, n_in), *out = on_gpu(NULL, n_out);
  m_cuda gpu;
  int status = m_cuda_open(&gpu, (void *)(uintptr_t)STREAM);
  if (status) return status;
  int64_t bytes = BYTES;
  void *work = on_gpu(NULL, (size_t)bytes);
  status = CALL;
  if (cuCtxSynchronize() || cuMemcpyDtoH_v2(out_host, (unsigned long long)(uintptr_t)out, n_out)) return 95;
  m_cuda_close(&gpu);
  FILE *f = fopen(a[4], "wb");
  if (!f || fwrite(out_host, 1, n_out, f) != n_out || fclose(f)) return 96;
  return status;
}
