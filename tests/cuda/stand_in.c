/* A driver and an NVRTC without a GPU: every function of driver.def, doing what the backend relies on with
 * plain memory, launches doing nothing. STAND_IN_FAIL=NAME:CODE:AFTER lets a function return CODE after
 * AFTER good calls; STAND_IN_VERSION is the driver's version, STAND_IN_FREE bytes of memory are free; STAND_IN_MISSING names a function it lacks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cuda/driver.h"

#define EXPORT __attribute__((visibility("default")))

static int fails(const char *name) {
  const char *want = getenv("STAND_IN_FAIL");
  size_t n = strlen(name);
  if (!want || strncmp(want, name, n) || want[n] != ':') return 0;
  static int calls;
  char *end;
  int code = (int)strtol(want + n + 1, &end, 10), after = *end == ':' ? atoi(end + 1) : 0;
  return calls++ < after ? 0 : code;
}
#define FAIL(name)                \
  do {                            \
    int code_ = fails(#name);     \
    if (code_) return code_;      \
  } while (0)

static void *here(CuPtr p) { return (void *)(uintptr_t)p; }

/* ---- the driver's functions; declared by the table so that none differs from it ------------- */

#define CU(name, version, arguments) static int fake_##name arguments;
#include "backends/cuda/driver.def"

static int fake_cuInit(unsigned flags) { (void)flags; FAIL(cuInit); return 0; }
static int fake_cuDriverGetVersion(int *version) {
  FAIL(cuDriverGetVersion);
  *version = getenv("STAND_IN_VERSION") ? atoi(getenv("STAND_IN_VERSION")) : 13000;
  return 0;
}
static int fake_cuGetErrorName(int code, const char **name) {
  static char text[32];
  snprintf(text, sizeof text, "CUDA_ERROR_%d", code);
  *name = text;
  FAIL(cuGetErrorName);
  return 0;
}
static int fake_cuGetErrorString(int code, const char **text) { (void)code; *text = "what it means"; FAIL(cuGetErrorString); return 0; }
static int fake_cuDeviceGetCount(int *n) { FAIL(cuDeviceGetCount); *n = getenv("STAND_IN_GPUS") ? atoi(getenv("STAND_IN_GPUS")) : 1; return 0; }
static int fake_cuDeviceGet(int *device, int ordinal) { FAIL(cuDeviceGet); *device = ordinal; return 0; }
static int fake_cuDeviceGetName(char *name, int room, int device) {
  FAIL(cuDeviceGetName);
  if (device) snprintf(name, (size_t)room, "stand-in %d", device);
  else snprintf(name, (size_t)room, "stand-in");
  return 0;
}
static int fake_cuDeviceGetAttribute(int *value, int attribute, int device) {
  (void)device;
  FAIL(cuDeviceGetAttribute);
  *value = attribute == CU_ATTRIBUTE_MAJOR ? 9 : attribute == CU_ATTRIBUTE_MINOR ? 0 : 132;
  return 0;
}
static int fake_cuDeviceTotalMem(size_t *bytes, int device) { (void)device; FAIL(cuDeviceTotalMem); *bytes = (size_t)1 << 36; return 0; }
static int fake_cuDevicePrimaryCtxRetain(CuContext *context, int device) { (void)device; FAIL(cuDevicePrimaryCtxRetain); *context = malloc(1); return 0; }
static int fake_cuDevicePrimaryCtxRelease(int device) { (void)device; FAIL(cuDevicePrimaryCtxRelease); return 0; }
static int fake_cuCtxSetCurrent(CuContext context) { FAIL(cuCtxSetCurrent); free(context); return 0; }
static int fake_cuMemGetInfo(size_t *left, size_t *total) { FAIL(cuMemGetInfo); *left = *total = getenv("STAND_IN_FREE") ? (size_t)atoll(getenv("STAND_IN_FREE")) : 1000; return 0; }
static int fake_cuMemAlloc(CuPtr *at, size_t bytes) { FAIL(cuMemAlloc); *at = (CuPtr)(uintptr_t)malloc(bytes); return 0; }
static int fake_cuMemFree(CuPtr at) { FAIL(cuMemFree); free(here(at)); return 0; }
static int fake_cuMemAllocHost(void **at, size_t bytes) { FAIL(cuMemAllocHost); *at = malloc(bytes); return 0; }
static int fake_cuMemFreeHost(void *at) { FAIL(cuMemFreeHost); free(at); return 0; }
static int fake_cuMemcpyHtoDAsync(CuPtr to, const void *from, size_t bytes, CuStream s) { (void)s; FAIL(cuMemcpyHtoDAsync); memcpy(here(to), from, bytes); return 0; }
static int fake_cuMemcpyDtoHAsync(void *to, CuPtr from, size_t bytes, CuStream s) { (void)s; FAIL(cuMemcpyDtoHAsync); memcpy(to, here(from), bytes); return 0; }
static int fake_cuMemcpyDtoDAsync(CuPtr to, CuPtr from, size_t bytes, CuStream s) { (void)s; FAIL(cuMemcpyDtoDAsync); memcpy(here(to), here(from), bytes); return 0; }
static int fake_cuMemsetD32Async(CuPtr to, unsigned value, size_t n, CuStream s) {
  (void)s;
  FAIL(cuMemsetD32Async);
  for (size_t i = 0; i < n; i++) memcpy((char *)here(to) + 4 * i, &value, 4);
  return 0;
}
static int fake_cuMemsetD8Async(CuPtr to, unsigned char value, size_t n, CuStream s) { (void)s; FAIL(cuMemsetD8Async); memset(here(to), value, n); return 0; }
static int fake_cuStreamCreate(CuStream *s, unsigned flags) { (void)flags; FAIL(cuStreamCreate); *s = malloc(1); return 0; }
static int fake_cuStreamDestroy(CuStream s) { free(s); FAIL(cuStreamDestroy); return 0; }
static int fake_cuStreamSynchronize(CuStream s) { (void)s; FAIL(cuStreamSynchronize); return 0; }
static int fake_cuStreamWaitEvent(CuStream s, CuEvent event, unsigned flags) { (void)s, (void)event, (void)flags; FAIL(cuStreamWaitEvent); return 0; }
static int fake_cuStreamBeginCapture(CuStream s, int mode) { (void)s, (void)mode; FAIL(cuStreamBeginCapture); return 0; }
static int fake_cuStreamEndCapture(CuStream s, CuGraph *graph) { (void)s; FAIL(cuStreamEndCapture); *graph = malloc(1); return 0; }
static int fake_cuStreamCreateWithPriority(CuStream *s, unsigned flags, int priority) { (void)flags, (void)priority; FAIL(cuStreamCreateWithPriority); *s = malloc(1); return 0; }
static int fake_cuCtxGetStreamPriorityRange(int *least, int *greatest) { FAIL(cuCtxGetStreamPriorityRange); *least = 0; *greatest = -5; return 0; }
static int fake_cuGraphInstantiateWithFlags(CuGraphExec *exec, CuGraph graph, unsigned long long flags) { (void)graph, (void)flags; FAIL(cuGraphInstantiateWithFlags); *exec = malloc(1); return 0; }
static int fake_cuGraphLaunch(CuGraphExec exec, CuStream s) { (void)exec, (void)s; FAIL(cuGraphLaunch); return 0; }
static int fake_cuGraphExecDestroy(CuGraphExec exec) { free(exec); FAIL(cuGraphExecDestroy); return 0; }
static int fake_cuGraphDestroy(CuGraph graph) { free(graph); FAIL(cuGraphDestroy); return 0; }
static int fake_cuLibraryLoadData(CuLibrary *library, const void *code, int *options, void **values, unsigned n, int *l_options, void **l_values, unsigned l_n) {
  (void)code, (void)options, (void)values, (void)n, (void)l_options, (void)l_values, (void)l_n;
  FAIL(cuLibraryLoadData);
  *library = malloc(1);
  return 0;
}
static int fake_cuLibraryUnload(CuLibrary library) { free(library); FAIL(cuLibraryUnload); return 0; }
static int fake_cuLibraryGetKernel(CuKernel *kernel, CuLibrary library, const char *name) { (void)name; FAIL(cuLibraryGetKernel); *kernel = (CuKernel)(void *)library; return 0; }
static int fake_cuKernelGetAttribute(int *value, int attribute, CuKernel kernel, int device) { (void)attribute, (void)kernel, (void)device; FAIL(cuKernelGetAttribute); *value = 40; return 0; }
static int fake_cuKernelSetAttribute(int attribute, int value, CuKernel kernel, int device) { (void)attribute, (void)value, (void)kernel, (void)device; FAIL(cuKernelSetAttribute); return 0; }
static int fake_cuLaunchKernelEx(const CuLaunchConfig *config, CuKernel kernel, void **arguments, void **extra) { (void)config, (void)kernel, (void)arguments, (void)extra; FAIL(cuLaunchKernelEx); return 0; }
static int fake_cuEventCreate(CuEvent *event, unsigned flags) { (void)flags; FAIL(cuEventCreate); *event = malloc(1); return 0; }
static int fake_cuEventDestroy(CuEvent event) { free(event); FAIL(cuEventDestroy); return 0; }
static int fake_cuEventRecordWithFlags(CuEvent event, CuStream s, unsigned flags) { (void)event, (void)s, (void)flags; FAIL(cuEventRecordWithFlags); return 0; }
static int fake_cuEventSynchronize(CuEvent event) { (void)event; FAIL(cuEventSynchronize); return 0; }
static int fake_cuEventElapsedTime(float *ms, CuEvent begin, CuEvent end) { (void)begin, (void)end; FAIL(cuEventElapsedTime); *ms = 1; return 0; }

int cuGetProcAddress_v2(const char *name, void **at, int version, uint64_t flags, int *found);
EXPORT int cuGetProcAddress_v2(const char *name, void **at, int version, uint64_t flags, int *found) {
  const char *missing = getenv("STAND_IN_MISSING");
  (void)flags;
  *at = NULL;
  *found = 0;
  if (missing && !strcmp(missing, name)) return 0;
#define CU(function, since, arguments)                            \
  if (!strcmp(name, #function) && version == (since)) {           \
    int(*f) arguments = fake_##function;                          \
    memcpy(at, &f, sizeof f);                                     \
  }
#include "backends/cuda/driver.def"
  return *at ? 0 : 1;
}
int cuDriverGetVersion(int *version);
EXPORT int cuDriverGetVersion(int *version) { return fake_cuDriverGetVersion(version); }

/* ---- NVRTC ------------------------------------------------------------------------------------ */

#define NV(name, arguments) EXPORT int name arguments;
#include "backends/cuda/driver.def"
const char *nvrtcGetErrorString(int code);

static const char log_text[] = "kernel(2): error: identifier \"nothing\" is undefined\n\n1 error detected.\n";
EXPORT const char *nvrtcGetErrorString(int code) { return code == 7 ? "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE" : "NVRTC_ERROR"; }
int nvrtcVersion(int *major, int *minor) { FAIL(nvrtcVersion); *major = 13; *minor = 0; return 0; }
int nvrtcCreateProgram(NvProgram *program, const char *source, const char *name, int n, const char *const *headers, const char *const *names) {
  (void)source, (void)name, (void)n, (void)headers, (void)names;
  FAIL(nvrtcCreateProgram);
  *program = malloc(1);
  return 0;
}
int nvrtcDestroyProgram(NvProgram *program) { free(*program); FAIL(nvrtcDestroyProgram); return 0; }
int nvrtcCompileProgram(NvProgram program, int n, const char *const *options) { (void)program, (void)n, (void)options; FAIL(nvrtcCompileProgram); return 0; }
int nvrtcGetProgramLogSize(NvProgram program, size_t *bytes) { (void)program; FAIL(nvrtcGetProgramLogSize); *bytes = sizeof log_text; return 0; }
int nvrtcGetProgramLog(NvProgram program, char *log) { (void)program; FAIL(nvrtcGetProgramLog); memcpy(log, log_text, sizeof log_text); return 0; }
int nvrtcGetPTXSize(NvProgram program, size_t *bytes) { (void)program; FAIL(nvrtcGetPTXSize); *bytes = 8; return 0; }
int nvrtcGetPTX(NvProgram program, char *ptx) { (void)program; FAIL(nvrtcGetPTX); memcpy(ptx, "// ptx\n", 8); return 0; }
int nvrtcGetCUBINSize(NvProgram program, size_t *bytes) { (void)program; FAIL(nvrtcGetCUBINSize); *bytes = 8; return 0; }
int nvrtcGetCUBIN(NvProgram program, char *cubin) { (void)program; FAIL(nvrtcGetCUBIN); memcpy(cubin, "\177ELFcod", 8); return 0; }
