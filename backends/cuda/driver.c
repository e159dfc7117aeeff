/* Opening the driver and NVRTC, and what their codes mean. */
#include "backends/cuda/driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/status.h"

#define NO_DRIVER "--backend cuda: "

/* ---- the driver --------------------------------------------------------------------- */

typedef int (*GetProcAddress)(const char *name, void **at, int version, uint64_t flags, int *found);

static dhc_status find_functions(DhcCudaDriver *cu, GetProcAddress get) {
  void *at = NULL;
  int found = 0;
#define CU(name, version, arguments)                                                                  \
  at = NULL;                                                                                          \
  if (get(#name, &at, version, 0, &found) || !at)                                                     \
    return dhc_status_make(DHC_E_ENVIRONMENT, NO_DRIVER "this NVIDIA driver has no %s of CUDA %d.%d; " \
                           "install a newer driver", #name, (version) / 1000, (version) % 1000 / 10); \
  memcpy(&cu->name, &at, sizeof at);
#include "backends/cuda/driver.def"
  return dhc_status_ok();
}

dhc_status dhc_cuda_status(const DhcCudaDriver *cu, int code, const char *what) {
  if (code == CU_OK) return dhc_status_ok();
  const char *name = NULL, *text = NULL;
  if (cu->cuGetErrorName) cu->cuGetErrorName(code, &name);
  if (cu->cuGetErrorString) cu->cuGetErrorString(code, &text);
  return dhc_status_make(DHC_E_ENVIRONMENT, NO_DRIVER "%s: %s (%d)%s%s", what, name ? name : "unknown error", code,
                         text ? ": " : "", text ? text : "");
}

static dhc_status start_driver(DhcCudaDriver *cu) {
  GetProcAddress get = NULL;
  void *symbol = dlsym(cu->library, "cuGetProcAddress_v2");
  int (*driver_version)(int *) = NULL;
  void *version_symbol = dlsym(cu->library, "cuDriverGetVersion");
  memcpy(&driver_version, &version_symbol, sizeof version_symbol);
  memcpy(&get, &symbol, sizeof symbol);
  int code = driver_version ? driver_version(&cu->version) : 1;
  if (code == CU_STUB_LIBRARY)
    return dhc_status_make(DHC_E_ENVIRONMENT, NO_DRIVER "the libcuda that was found is the toolkit's stub; "
                           "install the NVIDIA driver or mend LD_LIBRARY_PATH");
  if (code) return dhc_cuda_status(cu, code, "asking the driver for its version");
  if (!get || cu->version < DHC_CUDA_OLDEST)
    return dhc_status_make(DHC_E_ENVIRONMENT, NO_DRIVER "the NVIDIA driver supports CUDA %d.%d, kernels need %d.%d; "
                           "install a newer driver", cu->version / 1000, cu->version % 1000 / 10,
                           DHC_CUDA_OLDEST / 1000, DHC_CUDA_OLDEST % 1000 / 10);
  DHC_TRY(find_functions(cu, get));
  code = cu->cuInit(0);
  if (code == CU_NO_DEVICE) return dhc_status_make(DHC_E_ENVIRONMENT, NO_DRIVER "the driver finds no GPU");
  if (code == CU_STUB_LIBRARY)
    return dhc_status_make(DHC_E_ENVIRONMENT, NO_DRIVER "the libcuda that was found is the toolkit's stub; "
                           "install the NVIDIA driver or mend LD_LIBRARY_PATH");
  if (code == CU_SYSTEM_DRIVER_MISMATCH || code == CU_INSUFFICIENT_DRIVER)
    return dhc_status_make(DHC_E_ENVIRONMENT, NO_DRIVER "libcuda and the kernel's NVIDIA module are of different "
                           "versions; restart the machine or reload the module");
  return dhc_cuda_status(cu, code, "starting the driver");
}

static DhcCudaDriver driver;
static dhc_status driver_status;
static pthread_once_t driver_once = PTHREAD_ONCE_INIT;

static void open_driver(void) {
  const char *path = getenv("DHC_LIBCUDA");
  driver.library = dlopen(path ? path : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!driver.library) {
    driver_status = dhc_status_make(DHC_E_ENVIRONMENT, NO_DRIVER "no NVIDIA driver: %.200s", dlerror());
    return;
  }
  driver_status = start_driver(&driver);
}

dhc_status dhc_cuda_driver(const DhcCudaDriver **out) {
  pthread_once(&driver_once, open_driver);
  *out = &driver;
  return driver_status;
}

/* ---- NVRTC ---------------------------------------------------------------------------- */

static DhcNvrtc nvrtc;
static dhc_status nvrtc_status;
static pthread_once_t nvrtc_once = PTHREAD_ONCE_INIT;

static void *open_nvrtc_library(void) {
  static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12"};
  static const char *const folders[] = {"", "/usr/local/cuda/lib64/", "/usr/local/cuda/lib/"};
  const char *path = getenv("DHC_LIBNVRTC");
  if (path) return dlopen(path, RTLD_NOW | RTLD_LOCAL);
  for (size_t f = 0; f < sizeof folders / sizeof *folders; f++)
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
      char full[128];
      snprintf(full, sizeof full, "%s%s", folders[f], names[n]);
      void *lib = dlopen(full, RTLD_NOW | RTLD_LOCAL);
      if (lib) return lib;
    }
  return NULL;
}

/* NVRTC opens its builtins by bare name when it first compiles. Where it was itself found outside
 * the linker's search path, that fails unless they are loaded already. */
static void open_builtins(DhcNvrtc *nv, const void *function) {
  Dl_info info;
  if (!dladdr(function, &info) || !info.dli_fname) return;
  char real[4096];
  if (!realpath(info.dli_fname, real)) return;
  char *slash = strrchr(real, '/');
  if (!slash) return;
  char full[4096 + 64];
  *slash = 0;
  snprintf(full, sizeof full, "%s/libnvrtc-builtins.so.%d.%d", real, nv->major, nv->minor);
  nv->builtins = dlopen(full, RTLD_NOW | RTLD_GLOBAL);
}

static void open_nvrtc(void) {
  DhcNvrtc *nv = &nvrtc;
  nv->library = open_nvrtc_library();
  if (!nv->library) {
    const char *path = getenv("DHC_LIBNVRTC");
    nvrtc_status = dhc_status_make(DHC_E_ENVIRONMENT, NO_DRIVER "no NVRTC (%s): install the CUDA toolkit's libnvrtc, or name it "
                                   "in DHC_LIBNVRTC", path ? path : "libnvrtc.so.13, libnvrtc.so.12");
    return;
  }
  void *at = NULL;
#define NV(name, arguments)                                                                             \
  at = dlsym(nv->library, #name);                                                                       \
  if (!at) {                                                                                            \
    nvrtc_status = dhc_status_make(DHC_E_ENVIRONMENT, NO_DRIVER "this libnvrtc has no %s; use one of "   \
                                   "CUDA 12 or newer", #name);                                          \
    return;                                                                                             \
  }                                                                                                     \
  memcpy(&nv->name, &at, sizeof at);
#include "backends/cuda/driver.def"
  at = dlsym(nv->library, "nvrtcGetErrorString");
  memcpy(&nv->nvrtcGetErrorString, &at, sizeof at);
  if (nv->nvrtcVersion(&nv->major, &nv->minor)) {
    nvrtc_status = dhc_status_make(DHC_E_ENVIRONMENT, NO_DRIVER "NVRTC does not say its version");
    return;
  }
  at = dlsym(nv->library, "nvrtcVersion");
  open_builtins(nv, at);
}

dhc_status dhc_cuda_nvrtc(const DhcNvrtc **out) {
  pthread_once(&nvrtc_once, open_nvrtc);
  *out = &nvrtc;
  return nvrtc_status;
}

/* ---- compiling -------------------------------------------------------------------------- */

static dhc_status nvrtc_error(const DhcNvrtc *nv, int code, const char *what) {
  const char *text = nv->nvrtcGetErrorString ? nv->nvrtcGetErrorString(code) : NULL;
  if (code == NV_BUILTINS)
    return dhc_status_make(DHC_E_ENVIRONMENT, NO_DRIVER "NVRTC %d.%d cannot open libnvrtc-builtins.so.%d.%d; it must lie "
                           "beside libnvrtc", nv->major, nv->minor, nv->major, nv->minor);
  return dhc_status_make(DHC_E_ENVIRONMENT, NO_DRIVER "NVRTC %d.%d: %s: %s (%d)", nv->major, nv->minor, what,
                         text ? text : "error", code);
}

/* Line `number` (from 1) of a text, without its end. */
static const char *line_of(const char *text, int number, int *length) {
  while (--number > 0 && text) {
    text = strchr(text, '\n');
    if (text) text++;
  }
  *length = text ? (int)strcspn(text, "\n") : 0;
  return text ? text : "";
}

/* The log's first error and the line of source that it names: "name(12): error: …". */
static dhc_status refused(const DhcNvrtcJob *job, const char *log) {
  const char *error = strstr(log, "error");
  if (!error) error = log;
  const char *begin = error;
  while (begin > log && begin[-1] != '\n') begin--;
  int number = 0, length = 0, n = (int)strcspn(begin, "\n");
  const char *paren = memchr(begin, '(', (size_t)n);
  if (paren) number = atoi(paren + 1);
  const char *line = number > 0 ? line_of(job->source, number, &length) : "";
  while (length && *line == ' ') line++, length--;
  return dhc_status_make(DHC_E_ENVIRONMENT, NO_DRIVER "NVRTC refuses a kernel: %.*s: %.*s", n > 240 ? 240 : n, begin,
                         length > 160 ? 160 : length, line);
}

static char *log_of(const DhcNvrtc *nv, NvProgram program) {
  size_t n = 0;
  if (nv->nvrtcGetProgramLogSize(program, &n) || !n) return NULL;
  char *log = calloc(n + 1, 1);
  if (log && nv->nvrtcGetProgramLog(program, log)) log[0] = 0;
  return log;
}

static dhc_status take(const DhcNvrtc *nv, NvProgram program, const DhcNvrtcJob *job, char **out, size_t *n_out) {
  int code = job->ptx ? nv->nvrtcGetPTXSize(program, n_out) : nv->nvrtcGetCUBINSize(program, n_out);
  if (code || *n_out < 2) return nvrtc_error(nv, code, "no code");
  *out = malloc(*n_out + 1);
  if (!*out) return dhc_status_memory((long long)*n_out, "a kernel");
  (*out)[*n_out] = 0;
  code = job->ptx ? nv->nvrtcGetPTX(program, *out) : nv->nvrtcGetCUBIN(program, *out);
  if (!code) return dhc_status_ok();
  free(*out);
  *out = NULL;
  return nvrtc_error(nv, code, "no code");
}

dhc_status dhc_nvrtc_compile(const DhcNvrtc *nv, const DhcNvrtcJob *job, char **out, size_t *n_out) {
  char arch[64];
  snprintf(arch, sizeof arch, "--gpu-architecture=%.32s", job->arch);
  /* nothing but what the text says: no contraction, IEEE division and root, denormals kept */
  const char *options[] = {arch, "--fmad=false", "--prec-div=true", "--prec-sqrt=true", "--ftz=false",
                           "--std=c++17", "--no-cache", "--Ofast-compile=mid"};
  int n_options = nv->major < 13 ? 6 : job->quick ? 8 : 7; /* 12 knows neither of the last two */
  NvProgram program = NULL;
  *out = NULL;
  int code = nv->nvrtcCreateProgram(&program, job->source, job->name, 0, NULL, NULL);
  if (code) return nvrtc_error(nv, code, "creating a program");
  code = nv->nvrtcCompileProgram(program, n_options, options);
  char *log = code || job->log ? log_of(nv, program) : NULL;
  dhc_status st = !code                  ? take(nv, program, job, out, n_out)
                  : code == NV_COMPILATION ? refused(job, log ? log : "")
                                         : nvrtc_error(nv, code, arch + 2);
  if (job->log) *job->log = log;
  else free(log);
  nv->nvrtcDestroyProgram(&program);
  return st;
}
