/* Every function of the driver and of NVRTC fails once, in a process of its own: what comes back is one line
 * and status 3, nothing crashes and nothing is kept. argv[1]: the stand-in library. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/compile.h"
#include "backends/cuda/cuda.h"
#include "backends/cuda/object.h"
#include "backends/loop/loop.h"

/* ---- what a program does with a GPU, up to the first failure --------------------------------- */

static dhc_status compile(DhcBytes *out) {
  const DhcNvrtc *nv;
  char *code = NULL;
  size_t n = 0;
  dhc_status st = dhc_cuda_nvrtc(&nv);
  if (st.code) return st;
  DhcNvrtcJob job = {.source = "line one\n  nothing;\n", .name = "kernel", .arch = "sm_90a"};
  st = dhc_nvrtc_compile(nv, &job, &code, &n);
  const DhcCudaLaunch launch = {.threads = 256, .per_block = 16, .shared_bytes = 60 << 10, .n_ptrs = 1, .n_dims = 1};
  if (!st.code) out->bytes = dhc_cuda_object_write(&launch, &(DhcCudaCode){code, n}, 1, &out->n_bytes);
  free(code);
  if (st.code) return st;
  job.ptx = 1;
  st = dhc_nvrtc_compile(nv, &job, &code, &n);
  free(code);
  return st;
}

#define TRY(expr)           \
  do {                      \
    st = (expr);            \
    if (st.code) goto done; \
  } while (0)

static dhc_status use_gpu(DhcDevice *d, const DhcBytes *code) {
  dhc_status st;
  DhcDevicePtr at = 0, ptr[2] = {0};
  dhc_kernel_fn fn;
  void *prepared = NULL;
  char bytes[64] = "abc", back[64] = "";
  void *host = NULL;
  const char *name = "kernel";
  intptr_t dim = 4;
  TRY(d->ops->alloc(d, 64, &at));
  TRY(d->ops->upload(d, at, bytes, 64));
  TRY(d->ops->host_alloc(d, 64, &host));
  TRY(d->ops->ahead(d, at, host, 64));
  TRY(d->ops->behind(d, host, at, 64));
  TRY(d->ops->fill(d, at, 0x3f800000, 64));
  TRY(d->ops->copy(d, at, at + 32, 32));
  TRY(d->ops->load(d, code->bytes, code->n_bytes, &name, 1, &fn));
  ptr[0] = at;
  DhcCommand call = {.kind = DHC_ITEM_CALL, .launch = {.fn = fn, .ptr = ptr, .dim = &dim, .n_ptrs = 1, .n_dims = 1, .n_tasks = 9}};
  TRY(d->ops->launch(d, &call.launch));
  TRY(d->ops->prepare(d, &call, 1, &prepared));
  TRY(d->ops->replay(d, prepared));
  float ms = 0;
  TRY(d->ops->time(d, &call, 1, &ms));
  TRY(d->ops->download(d, back, at, 64));
  TRY(d->ops->synchronise(d));
done:
  if (prepared) d->ops->forget(d, prepared);
  d->ops->host_free(d, host);
  d->ops->free(d, at);
  return st;
}

static dhc_status everything(void) {
  DhcBytes code = {0};
  DhcDevice *d = NULL;
  DhcDeviceInfo info;
  char arch[16];
  dhc_status st;
  TRY(dhc_cuda_arch(arch));
  TRY(compile(&code));
  TRY(dhc_cuda_device_open(&(DhcDeviceOptions){0}, &d));
  d->ops->describe(d, &info);
  st = use_gpu(d, &code);
done:
  if (d) d->ops->close(d);
  free(code.bytes);
  return st;
}

/* ---- one process a case ------------------------------------------------------------------------- */

static int n_wrong;

static dhc_status (*work)(void) = everything;

/* The status and the whole line; `starts`: only what it begins with. */
static void run_line(const char *variable, const char *value, const char *want, bool starts) {
  int pipe_[2];
  char text[600] = "";
  if (pipe(pipe_)) abort();
  fflush(stdout);
  pid_t child = fork();
  if (!child) {
    if (variable) setenv(variable, value, 1);
    dhc_status st = work();
    char line[600];
    int n = snprintf(line, sizeof line, "%d %s", (int)st.code, st.message);
    _Exit(write(pipe_[1], line, (size_t)n) != n || strchr(st.message, '\n') != NULL);
  }
  close(pipe_[1]);
  ssize_t n = read(pipe_[0], text, sizeof text - 1);
  close(pipe_[0]);
  int status = 0;
  waitpid(child, &status, 0);
  bool ok = n > 0 && WIFEXITED(status) && !WEXITSTATUS(status) && (starts ? strstr(text, want) != NULL : !strcmp(text, want));
  if (ok) return;
  printf("%s=%s: wanted \"%s\", got \"%s\" (status %d)\n", variable ? variable : "", value ? value : "", want, text, status);
  n_wrong++;
}

static void run_case(const char *variable, const char *value, const char *want) { run_line(variable, value, want, false); }

/* ---- what is asked wrongly -------------------------------------------------------------------------- */

static DhcDevice *open_device(void) {
  DhcDevice *d = NULL;
  return dhc_cuda_device_open(&(DhcDeviceOptions){0}, &d).code ? NULL : d;
}

static void one_by_one(void *ctx, int64_t n, void (*f)(void *, int64_t, int64_t, int), void *arg) {
  (void)ctx;
  for (int64_t i = n - 1; i >= 0; i--) f(arg, i, i + 1, 0);
}

/* A large upload goes in parts through memory of the host, several rounds of it. */
static dhc_status upload_large(void) {
  enum { BYTES = (20 << 20) + 12345 };
  static const dhc_exec exec = {.workers = 1, .parallel_for = one_by_one};
  static char bytes[BYTES], back[BYTES];
  DhcDevicePtr at = 0;
  DhcDevice *d = NULL;
  dhc_status st;
  for (int i = 0; i < BYTES; i++) bytes[i] = (char)(i * 31 >> 3);
  TRY(dhc_cuda_device_open(&(DhcDeviceOptions){.exec = &exec}, &d));
  TRY(d->ops->alloc(d, BYTES, &at));
  TRY(d->ops->upload(d, at, bytes, BYTES));
  TRY(d->ops->download(d, back, at, BYTES));
  if (memcmp(bytes, back, BYTES)) st = dhc_status_make(DHC_E_INPUT, "other bytes came back");
done:
  if (d) d->ops->free(d, at);
  if (d) d->ops->close(d);
  return st;
}

static dhc_status second_gpu(void) {
  DhcDevice *d;
  return dhc_cuda_device_open(&(DhcDeviceOptions){.number = 3}, &d);
}

/* Of five processes on three GPUs the fifth has the second. */
static dhc_status going_round(void) {
  DhcDevice *d;
  DHC_TRY(dhc_cuda_device_open(&(DhcDeviceOptions){.number = -1 - 4}, &d));
  DhcDeviceInfo info;
  d->ops->describe(d, &info);
  bool second = !strcmp(info.name, "stand-in 1");
  dhc_device_close(d);
  return second ? dhc_status_ok() : dhc_status_make(DHC_E_INPUT, "not so: %s", info.name);
}

static dhc_status no_code(void) {
  DhcDevice *d = open_device();
  const char *name = "kernel";
  dhc_kernel_fn fn;
  return d->ops->load(d, "junk", 4, &name, 1, &fn);
}

static dhc_status operands(void) {
  DhcDevice *d = open_device();
  static const DhcDevicePtr ptr[300];
  return d->ops->launch(d, &(DhcLaunch){.ptr = ptr, .n_ptrs = 257, .n_tasks = 1});
}

static dhc_status arguments(void) {
  DhcDevice *d = open_device();
  static const DhcDevicePtr ptr[2];
  static const intptr_t dim[600];
  const DhcCudaLaunch launch = {.threads = 32, .per_block = 1, .n_ptrs = 1, .n_dims = 600};
  const char *name = "kernel";
  size_t n;
  char *bytes = dhc_cuda_object_write(&launch, &(DhcCudaCode){(char[]){"code"}, 4}, 1, &n);
  dhc_kernel_fn fn;
  dhc_status st = d->ops->load(d, bytes, n, &name, 1, &fn);
  return st.code ? st : d->ops->launch(d, &(DhcLaunch){.fn = fn, .ptr = ptr, .dim = dim, .n_ptrs = 1, .n_dims = 600, .n_tasks = 1});
}

/* ---- printing: a spec through a compiler that opens no GPU -------------------------------------------- */

static const char *arch = "sm_90a", *dtype = "f32";

static dhc_status print(const char *stage) {
  static DhcArena a;
  dhc_arena_init(&a);
  DhcSources sources = {.arena = &a};
  DhcDiags diags = {.arena = &a, .sources = &sources};
  const char *text = dhc_arena_printf(&a, "spec map args 0 { axis par in %s row [1(a0)] %%0 = load 0 : %s %%1 = exp(%%0) : %s out %s row [1(a0)] = %%1 }",
                                      dtype, dtype, dtype, dtype);
  uint32_t end, file = dhc_sources_add(&sources, "t", "t", text, strlen(text));
  DhcKernelRequest r = {.spec = dhc_spec_parse(&a, &diags, file, 0, &end), .n_classes = 1};
  DhcCompiler *c;
  DhcText to = {.arena = &a};
  dhc_status st = dhc_compiler_open(&a, &(DhcCompileOptions){.backend = "cuda", .gpu_arch = arch, .offline = true, .workers = 1}, &c);
  return st.code ? st : dhc_compiler_print(c, &r, stage, &to);
}
static dhc_status print_cuda(void) { return print("cuda"); }
static dhc_status print_sass(void) { return print("sass"); }
static dhc_status print_resources(void) { return print("resources"); }
static dhc_status print_without_room(void) {
  const struct rlimit none = {0, 0};
  (void)signal(SIGXFSZ, SIG_IGN);
  if (setrlimit(RLIMIT_FSIZE, &none)) abort();
  return print("sass");
}

/* ---- writing: programs that no template makes ---------------------------------------------------------- */

static dhc_status write_program(void (*fill)(DhcLp *b, DhcLv p, DhcLv task)) {
  static DhcArena a;
  dhc_arena_init(&a);
  DhcLp *b = dhc_lp_new(&a, 1, 0);
  DhcLv p = dhc_lp_operand(b, 0, DHC_F32), task = dhc_lp_tasks(b, dhc_prog_const(&a, 4));
  fill(b, p, task);
  dhc_lp_end(b);
  DhcText to = {.arena = &a};
  DhcCudaLaunch launch;
  const char *name = "kernel", *why = NULL;
  const DhcLp *program = b;
  dhc_cuda_write(&program, &name, 1, "", &to, &launch, &why);
  dhc_status st = {.code = why ? DHC_E_INPUT : DHC_OK};
  snprintf(st.message, sizeof st.message, "%s", why ? why : "");
  return st;
}

static void wide(DhcLp *b, DhcLv p, DhcLv task) { dhc_lp_store(b, p, task, dhc_lp_load(b, p, task, 64, 0), 0); }
static void several(DhcLp *b, DhcLv p, DhcLv task) {
  dhc_lp_store(b, p, task, dhc_lp_load(b, p, task, 8, 0), 0);
  dhc_lp_store(b, p, task, dhc_lp_load(b, p, task, 16, 0), 0);
}
static void shuffled(DhcLp *b, DhcLv p, DhcLv task) {
  static const int pick[8] = {1, 0, 3, 2, 5, 4, 7, 6};
  DhcLv x = dhc_lp_load(b, p, task, 8, 0);
  dhc_lp_store(b, p, task, dhc_lp_shuffle(b, x, x, pick, 8), 0);
}
static void shared(DhcLp *b, DhcLv p, DhcLv task) {
  DhcLv local = dhc_lp_local(b, DHC_F32, 64);
  dhc_lp_store(b, local, dhc_lp_i64(b, 0), dhc_lp_load(b, p, task, 16, 0), 0);
  dhc_lp_store(b, p, task, dhc_lp_load(b, local, dhc_lp_i64(b, 3), 1, 0), 0);
}
static dhc_status write_wide(void) { return write_program(wide); }
static dhc_status write_several(void) { return write_program(several); }
static dhc_status write_shuffled(void) { return write_program(shuffled); }
static dhc_status write_shared(void) { return write_program(shared); }

static void asked_wrongly(void) {
  char folder[] = "/tmp/dhc-cuda-XXXXXX", tool[64];
  work = upload_large;
  run_case(NULL, NULL, "0 ");
  run_case("STAND_IN_FAIL", "cuMemcpyHtoDAsync:719:3", "3 --backend cuda: copying to the GPU: CUDA_ERROR_719 (719): what it means");
  run_case("STAND_IN_FAIL", "cuMemAllocHost:719", "3 --backend cuda: memory that the GPU can reach: CUDA_ERROR_719 (719): what it means");
  run_case("STAND_IN_FAIL", "cuStreamSynchronize:719", "3 --backend cuda: running on the GPU: CUDA_ERROR_719 (719): what it means");
  work = second_gpu;
  run_case(NULL, NULL, "3 --backend cuda: there is no GPU 3, only 1 of them, counted from 0");
  work = going_round;
  run_case("STAND_IN_GPUS", "3", "0 ");
  work = no_code;
  run_case(NULL, NULL, "3 --backend cuda: this is no kernel's code");
  work = operands;
  run_case(NULL, NULL, "3 --backend cuda: a kernel of 257 operands");
  work = arguments;
  run_case(NULL, NULL, "3 --backend cuda: a kernel of 601 arguments");
  work = write_wide;
  run_case(NULL, NULL, "1 vectors of more than 32 lanes");
  work = write_several;
  run_case(NULL, NULL, "1 vectors of several lengths");
  work = write_shuffled;
  run_case(NULL, NULL, "1 a shuffle of other than 16 lanes");
  work = write_shared;
  run_case(NULL, NULL, "1 a stack array that lanes share");
  work = print_cuda;
  run_case(NULL, NULL, "0 ");
  dtype = "f64";
  run_case(NULL, NULL, "1 not compiled for GPUs: maths functions are compiled for f32 only; use --backend interp for f64");
  arch = "h100";
  run_case(NULL, NULL, "2 --gpu-arch: needs an architecture such as sm_90a, got \"h100\"");
  arch = "sm_90a";
  dtype = "f32";
  work = print_resources; /* a cubin that is none */
  run_case("PATH", "/nonexistent", "3 --stage=resources: NVRTC's code does not say what it takes");
  work = print_sass;
  run_case("PATH", "/nonexistent", "3 --stage=sass: nvdisasm is not installed (it comes with the CUDA toolkit): No such file or directory");
  if (!mkdtemp(folder)) abort();
  snprintf(tool, sizeof tool, "%s/nvdisasm", folder);
  FILE *f = fopen(tool, "w");
  if (!f || fputs("#!/bin/sh\nexit 1\n", f) < 0 || fclose(f) || chmod(tool, 0755)) abort();
  run_case("PATH", folder, "3 --stage=sass: nvdisasm failed");
  work = print_without_room;
  run_case("PATH", folder, "3 --stage=sass: cannot write to /tmp: File too large");
  remove(tool);
  remove(folder);
  work = everything;
}

/* Failures that only tidying up sees, or that have nobody to tell, leave the run as it was. */
static bool is_silent(const char *name) {
  static const char *const names[] = {"cuMemFree", "cuMemGetInfo", "cuMemFreeHost", "cuLibraryUnload",
                                      "cuEventDestroy", "cuStreamDestroy", "cuDevicePrimaryCtxRelease", "cuGraphExecDestroy",
                                      "cuGraphDestroy",
                                      "cuKernelGetAttribute", "cuGetErrorName", "cuGetErrorString", "nvrtcDestroyProgram",
                                      "nvrtcGetProgramLogSize", "nvrtcGetProgramLog"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(names[i], name)) return true;
  return false;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  setenv("DHC_LIBCUDA", argv[1], 1);
  setenv("DHC_LIBNVRTC", argv[1], 1);
  run_case(NULL, NULL, "0 ");
  char value[128], line[300];
#define CASE(name, code, want) snprintf(value, sizeof value, "%s:%d", name, code), run_case("STAND_IN_FAIL", value, want)
/* one of many that end alike: what was being done stands behind the beginning */
#define ALIKE(name, code, want) snprintf(value, sizeof value, "%s:%d", name, code), run_line("STAND_IN_FAIL", value, want, true)
#define CU(name, version, arguments)                                                                                  \
  ALIKE(#name, 719, is_silent(#name) ? "0 " : !strcmp(#name, "cuDriverGetVersion") ? "unknown error (719)" : "CUDA_ERROR_719"); \
  snprintf(line, sizeof line, "3 --backend cuda: this NVIDIA driver has no " #name " of CUDA %d.%d; install a newer driver", \
           (version) / 1000, (version) % 1000 / 10);                                                                  \
  run_case("STAND_IN_MISSING", #name, line);
#define NV(name, arguments) ALIKE(#name, 5, is_silent(#name) ? "0 " : "3 --backend cuda: NVRTC");
#include "backends/cuda/driver.def"
  CASE("cuMemAlloc", CU_OUT_OF_MEMORY, "3 out of GPU memory: 64 bytes for a program, 1000 free on stand-in");
  CASE("cuInit", CU_NO_DEVICE, "3 --backend cuda: the driver finds no GPU");
  static const char stub[] = "3 --backend cuda: the libcuda that was found is the toolkit's stub; install the NVIDIA driver or mend LD_LIBRARY_PATH";
  CASE("cuInit", CU_STUB_LIBRARY, stub);
  CASE("cuDriverGetVersion", CU_STUB_LIBRARY, stub);
  CASE("cuInit", CU_SYSTEM_DRIVER_MISMATCH,
       "3 --backend cuda: libcuda and the kernel's NVIDIA module are of different versions; restart the machine or reload the module");
  ALIKE("cuLibraryGetKernel", CU_NO_BINARY_FOR_GPU, "3 --backend cuda: finding a kernel in its code: CUDA_ERROR_209");
  CASE("nvrtcCompileProgram", NV_COMPILATION, "3 --backend cuda: NVRTC refuses a kernel: kernel(2): error: identifier \"nothing\" is undefined: nothing;");
  CASE("nvrtcCompileProgram", NV_BUILTINS,
       "3 --backend cuda: NVRTC 13.0 cannot open libnvrtc-builtins.so.13.0; it must lie beside libnvrtc");
  CASE("nvrtcVersion", 5, "3 --backend cuda: NVRTC does not say its version");
  CASE("nvrtcCreateProgram", 5, "3 --backend cuda: NVRTC 13.0: creating a program: NVRTC_ERROR (5)");
  run_case("STAND_IN_VERSION", "11040", "3 --backend cuda: the NVIDIA driver supports CUDA 11.4, kernels need 12.0; install a newer driver");
  run_case("STAND_IN_GPUS", "0", "3 --backend cuda: the driver finds no GPU");
  run_line("DHC_LIBCUDA", "/nonexistent/libcuda.so", "3 --backend cuda: no NVIDIA driver: /nonexistent/libcuda.so", true);
  run_case("DHC_LIBNVRTC", "/nonexistent/libnvrtc.so",
           "3 --backend cuda: no NVRTC (/nonexistent/libnvrtc.so): install the CUDA toolkit's libnvrtc, or name it in DHC_LIBNVRTC");
  run_case("DHC_LIBNVRTC", "libm.so.6", "3 --backend cuda: this libnvrtc has no nvrtcVersion; use one of CUDA 12 or newer");
  asked_wrongly();
  printf(n_wrong ? "%d wrong\n" : "every failure is a line\n", n_wrong);
  return n_wrong != 0;
}
