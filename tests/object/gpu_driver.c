/* A CUDA driver without a GPU, for objects that are built for GPUs (gpu.py) and for programs that use them: memory is the
 * host's, launches are looked at and do nothing. GPU_CC=90 is its architecture. What it is given that is wrong ends the
 * process; what it does is printed to stderr, a line each. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY(name) int name

typedef struct Block {
  char *at;
  size_t bytes;
} Block;
static Block block[64];
static int n_blocks, n_launches;
static const char *image;

static void need(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "driver: %s\n", what);
  exit(9);
}

static int inside(uint64_t p, size_t bytes) {
  for (int i = 0; i < n_blocks; i++)
    if (p >= (uintptr_t)block[i].at && p + bytes <= (uintptr_t)block[i].at + block[i].bytes) return 1;
  return 0;
}

int cuInit(unsigned flags);
int cuDeviceGet(int *device, int ordinal);
int cuDevicePrimaryCtxRetain(void **context, int device);
int cuCtxSetCurrent(void *context);
int cuMemAlloc_v2(unsigned long long *at, size_t bytes);
int cuMemcpyHtoD_v2(unsigned long long to, const void *from, size_t bytes);
int cuMemcpyDtoH_v2(void *to, unsigned long long from, size_t bytes);
int cuCtxSynchronize(void);
int cuCtxGetDevice(int *device);
int cuDeviceGetAttribute(int *value, int attribute, int device);
int cuModuleLoadData(void **module, const void *code);
int cuModuleUnload(void *module);
int cuModuleGetFunction(void **function, void *module, const char *name);
int cuFuncSetAttribute(void *function, int attribute, int value);
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned tx, unsigned ty, unsigned tz, unsigned shared, void *stream, void **arguments,
                   void **extra);
int cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, size_t bytes, void *stream);
int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t bytes, void *stream);
int cuMemsetD8Async(unsigned long long to, unsigned char value, size_t n, void *stream);
int cuMemsetD32Async(unsigned long long to, unsigned value, size_t n, void *stream);
int cuStreamSynchronize(void *stream);
int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t bytes, void *stream);
int cuMemcpyDtoD_v2(unsigned long long to, unsigned long long from, size_t bytes);
int cuMemsetD8_v2(unsigned long long to, unsigned char value, size_t n);

ENTRY(cuInit)(unsigned flags) { return flags ? 1 : 0; }
ENTRY(cuDeviceGet)(int *device, int ordinal) { return *device = ordinal, 0; }
ENTRY(cuDevicePrimaryCtxRetain)(void **context, int device) { return (void)device, *context = block, 0; }
ENTRY(cuCtxSetCurrent)(void *context) { return context ? 0 : 1; }
ENTRY(cuMemAlloc_v2)(unsigned long long *at, size_t bytes) {
  char *p = aligned_alloc(256, (bytes / 256 + 1) * 256);
  need(n_blocks < 64 && p, "memory");
  memset(p, 0, bytes);
  block[n_blocks++] = (Block){p, bytes};
  *at = (uintptr_t)p;
  return 0;
}
ENTRY(cuMemcpyHtoD_v2)(unsigned long long to, const void *from, size_t bytes) {
  need(inside(to, bytes), "a copy to where no memory is");
  memcpy((void *)(uintptr_t)to, from, bytes);
  return 0;
}
ENTRY(cuMemcpyDtoH_v2)(void *to, unsigned long long from, size_t bytes) {
  need(inside(from, bytes), "a copy from where no memory is");
  memcpy(to, (const void *)(uintptr_t)from, bytes);
  return 0;
}
ENTRY(cuCtxSynchronize)(void) { return fprintf(stderr, "launches %d\n", n_launches), 0; }
ENTRY(cuCtxGetDevice)(int *device) { return *device = 0, 0; }
ENTRY(cuDeviceGetAttribute)(int *value, int attribute, int device) {
  int cc = getenv("GPU_CC") ? atoi(getenv("GPU_CC")) : 90;
  need(device == 0 && (attribute == 75 || attribute == 76 || attribute == 16), "an attribute that is not asked for");
  *value = attribute == 75 ? cc / 10 : attribute == 76 ? cc % 10 : 132;
  return 0;
}
ENTRY(cuModuleLoadData)(void **module, const void *code) {
  image = code;
  need((uintptr_t)code % 8 == 0, "code at no multiple of 8");
  if (memcmp(image, "\177ELF", 4)) need(strstr(image, ".version") && strstr(image, ".target"), "code that is neither a cubin nor PTX");
  bool text = memcmp(image, "\177ELF", 4) != 0;
  const char *target = text ? strstr(image, ".target ") + 8 : "cubin", *version = text ? strstr(image, ".version ") + 9 : "";
  fprintf(stderr, "loads %.*s %.*s\n", (int)strcspn(target, ", \n"), target, (int)strcspn(version, "\n"), version);
  *module = block;
  return 0;
}
ENTRY(cuModuleUnload)(void *module) { return fprintf(stderr, "unloads\n"), module ? 0 : 1; }
ENTRY(cuModuleGetFunction)(void **function, void *module, const char *name) {
  char entry[256];
  snprintf(entry, sizeof entry, ".entry %s(", name);
  need(module != NULL && strlen(name) > 3, "a function of no module");
  if (memcmp(image, "\177ELF", 4)) need(strstr(image, entry) != NULL, "a function that the code has not");
  *function = (void *)(uintptr_t)name;
  return 0;
}
ENTRY(cuFuncSetAttribute)(void *function, int attribute, int value) {
  need(function && attribute == 8 && value > 48 * 1024 && value <= 227 * 1024, "block memory");
  return 0;
}
ENTRY(cuLaunchKernel)(void *function, unsigned x, unsigned y, unsigned z, unsigned tx, unsigned ty, unsigned tz, unsigned shared, void *stream,
                      void **arguments, void **extra) {
  const uint64_t *argument = arguments[0];
  need(function && !extra && y == 1 && z == 1 && ty == 1 && tz == 1, "a launch of another form");
  need(x >= 1 && x <= 1u << 20 && tx >= 32 && tx <= 1024 && tx % 32 == 0 && shared <= 227 * 1024, "a launch that no GPU takes");
  need(stream == (void *)7, "another stream");
  need(inside(argument[0], 1), "a kernel whose first operand lies nowhere");
  n_launches++;
  return 0;
}
ENTRY(cuMemcpyDtoDAsync_v2)(unsigned long long to, unsigned long long from, size_t bytes, void *stream) {
  need(stream == (void *)7 && inside(to, bytes) && inside(from, bytes), "a copy between places that are none");
  memcpy((void *)(uintptr_t)to, (const void *)(uintptr_t)from, bytes);
  return 0;
}
ENTRY(cuMemcpyDtoHAsync_v2)(void *to, unsigned long long from, size_t bytes, void *stream) {
  return need(stream == (void *)7, "another stream"), cuMemcpyDtoH_v2(to, from, bytes);
}
ENTRY(cuMemsetD8Async)(unsigned long long to, unsigned char value, size_t n, void *stream) {
  need(stream == (void *)7 && inside(to, n), "a fill of no memory");
  memset((void *)(uintptr_t)to, value, n);
  return 0;
}
ENTRY(cuMemsetD32Async)(unsigned long long to, unsigned value, size_t n, void *stream) {
  need(stream == (void *)7 && inside(to, 4 * n), "a fill of no memory");
  for (size_t i = 0; i < n; i++) memcpy((char *)(uintptr_t)to + 4 * i, &value, 4);
  return 0;
}
ENTRY(cuStreamSynchronize)(void *stream) { return need(!stream || stream == (void *)7, "another stream"), 0; }
ENTRY(cuMemcpyHtoDAsync_v2)(unsigned long long to, const void *from, size_t bytes, void *stream) {
  return need(stream == (void *)7, "another stream"), cuMemcpyHtoD_v2(to, from, bytes);
}
ENTRY(cuMemcpyDtoD_v2)(unsigned long long to, unsigned long long from, size_t bytes) { return cuMemcpyDtoDAsync_v2(to, from, bytes, (void *)7); }
ENTRY(cuMemsetD8_v2)(unsigned long long to, unsigned char value, size_t n) { return cuMemsetD8Async(to, value, n, (void *)7); }
