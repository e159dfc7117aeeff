/* One GPU through the driver: context, memory, code, launches, graphs. */
#include "backends/cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/cuda/cuda_internal.h"
#include "backends/cuda/lanes.h"
#include "backends/cuda/later.h"
#include "backends/cuda/nccl.h"
#include "runtime/status.h"

enum { MAX_GRID = 1 << 20, MAX_ARGUMENT = 4096 };

struct DhcCudaKernel {
  CuKernel kernel; /* NULL: its code is not there yet, see ready */
  DhcCudaLaunch launch;
  CuLibrary *library;
  DhcCudaLater *later;
  int part; /* of it */
  char name[64];
};

typedef struct Library {
  CuLibrary code[DHC_CUDA_MAX_KERNELS];
  DhcCudaKernel *kernels; /* of its own, one of each code */
  int n;
  struct Library *next;
} Library;

struct DhcCudaGpu {
  const DhcCudaDriver *cu;
  int device;
  CuContext context;
  CuStream stream, ahead; /* everything in order; uploads beside it */
  CuStream lane[DHC_CUDA_LANES]; /* while a graph is recorded: the first is `stream` */
  CuStream at;            /* where commands go: `stream`, but for lanes */
  bool urgent;            /* before those of other lanes, where blocks of both could begin */
  bool joins;             /* the next command there waits for another lane's, so for the one before it to its end, too */
  CuEvent *signal;        /* by number */
  int n_signals;
  CuEvent arrived;        /* of the last of those */
  NcclComm comm;          /* NULL: the only rank */
  CuStream ranks;         /* what the ranks do together, beside `stream` */
  CuEvent begun, done;    /* `stream` up to such a thing; the last of them */
  bool lost;              /* a call failed: the other ranks may be gone */
  Library *libraries;
  DhcCudaInfo info;
  double code_ms; /* waited for */
};

struct DhcCudaGraph {
  CuGraphExec exec;
};

#define TRY_CU(g, call, what)                                    \
  do {                                                           \
    int code_ = (g)->cu->call;                                   \
    if (code_) return dhc_cuda_status((g)->cu, code_, what);     \
  } while (0)

/* ---- opening ----------------------------------------------------------------------------- */

static dhc_status device_at(const DhcCudaDriver *cu, int ordinal, int *device) {
  int n = 0, code = cu->cuDeviceGetCount(&n);
  if (code) return dhc_cuda_status(cu, code, "counting GPUs");
  if (n < 1) return dhc_status_make(DHC_E_ENVIRONMENT, "--backend cuda: the driver finds no GPU");
  if (ordinal < 0) ordinal = (-1 - ordinal) % n; /* of several processes that go round all GPUs */
  if (ordinal >= n)
    return dhc_status_make(DHC_E_ENVIRONMENT, "--backend cuda: there is no GPU %d, only %d of them, counted from 0", ordinal, n);
  code = cu->cuDeviceGet(device, ordinal);
  return dhc_cuda_status(cu, code, "naming a GPU");
}

static dhc_status arch_of(const DhcCudaDriver *cu, int device, char arch[16]) {
  int major = 0, minor = 0, code = cu->cuDeviceGetAttribute(&major, CU_ATTRIBUTE_MAJOR, device);
  if (!code) code = cu->cuDeviceGetAttribute(&minor, CU_ATTRIBUTE_MINOR, device);
  if (code) return dhc_cuda_status(cu, code, "asking a GPU for its architecture");
  snprintf(arch, 16, "sm_%d%d%s", major, minor, major >= 9 ? "a" : "");
  return dhc_status_ok();
}

dhc_status dhc_cuda_arch(char arch[16]) {
  const DhcCudaDriver *cu;
  int device = 0;
  DHC_TRY(dhc_cuda_driver(&cu));
  DHC_TRY(device_at(cu, 0, &device));
  return arch_of(cu, device, arch);
}

static dhc_status read_info(DhcCudaGpu *g) {
  size_t total = 0;
  int l2 = 0;
  g->info.driver = g->cu->version;
  TRY_CU(g, cuDeviceGetName(g->info.name, (int)sizeof g->info.name, g->device), "asking a GPU for its name");
  TRY_CU(g, cuDeviceTotalMem(&total, g->device), "asking a GPU for its memory");
  TRY_CU(g, cuDeviceGetAttribute(&g->info.sms, CU_ATTRIBUTE_SMS, g->device), "asking a GPU for its size");
  TRY_CU(g, cuDeviceGetAttribute(&g->info.block_bytes, CU_ATTRIBUTE_BLOCK_BYTES, g->device), "asking a GPU for its size");
  TRY_CU(g, cuDeviceGetAttribute(&l2, CU_ATTRIBUTE_L2_BYTES, g->device), "asking a GPU for its size");
  g->info.memory_bytes = (int64_t)total;
  g->info.l2_bytes = l2;
  return arch_of(g->cu, g->device, g->info.arch);
}

static dhc_status start(DhcCudaGpu *g) {
  int least, greatest; /* the other ranks wait for what the GPU has to say: that need not queue for a place */
  TRY_CU(g, cuDevicePrimaryCtxRetain(&g->context, g->device), "starting the GPU");
  TRY_CU(g, cuCtxSetCurrent(g->context), "starting the GPU");
  TRY_CU(g, cuStreamCreate(&g->stream, CU_STREAM_NON_BLOCKING), "starting the GPU");
  g->at = g->lane[0] = g->stream;
  TRY_CU(g, cuStreamCreate(&g->ahead, CU_STREAM_NON_BLOCKING), "starting the GPU");
  TRY_CU(g, cuCtxGetStreamPriorityRange(&least, &greatest), "starting the GPU");
  TRY_CU(g, cuStreamCreateWithPriority(&g->ranks, CU_STREAM_NON_BLOCKING, greatest), "starting the GPU");
  TRY_CU(g, cuEventCreate(&g->arrived, CU_EVENT_NO_TIMES), "starting the GPU");
  return read_info(g);
}

dhc_status dhc_cuda_gpu_open(int ordinal, DhcCudaGpu **out) {
  const DhcCudaDriver *cu;
  int device = 0;
  DHC_TRY(dhc_cuda_driver(&cu));
  DHC_TRY(device_at(cu, ordinal, &device));
  DhcCudaGpu *g = calloc(1, sizeof *g);
  if (!g) return dhc_status_memory((long long)sizeof *g, "a GPU");
  g->cu = cu;
  g->device = device;
  dhc_status st = start(g);
  if (st.code) {
    dhc_cuda_gpu_close(g);
    return st;
  }
  *out = g;
  return st;
}

void dhc_cuda_gpu_close(DhcCudaGpu *g) {
  if (!g) return;
  const DhcCudaDriver *cu = g->cu;
  if (g->stream) cu->cuStreamSynchronize(g->stream); /* what went wrong was reported where it mattered */
  if (g->ahead) cu->cuStreamSynchronize(g->ahead);
  while (g->libraries) {
    Library *l = g->libraries;
    g->libraries = l->next;
    for (int i = 0; i < l->n; i++)
      if (l->code[i]) cu->cuLibraryUnload(l->code[i]);
    dhc_cuda_later_drop(l->kernels[0].later);
    free(l->kernels);
    free(l);
  }
  dhc_nccl_leave(g->comm, false);
  if (g->begun) cu->cuEventDestroy(g->begun);
  if (g->done) cu->cuEventDestroy(g->done);
  if (g->ranks) cu->cuStreamDestroy(g->ranks);
  if (g->arrived) cu->cuEventDestroy(g->arrived);
  for (int i = 0; i < g->n_signals; i++) cu->cuEventDestroy(g->signal[i]);
  free(g->signal);
  for (int i = 1; i < DHC_CUDA_LANES; i++)
    if (g->lane[i]) cu->cuStreamDestroy(g->lane[i]);
  if (g->ahead) cu->cuStreamDestroy(g->ahead);
  if (g->stream) cu->cuStreamDestroy(g->stream);
  if (g->context) cu->cuDevicePrimaryCtxRelease(g->device);
  free(g);
}

const DhcCudaInfo *dhc_cuda_gpu_info(const DhcCudaGpu *g) { return &g->info; }

/* ---- memory ------------------------------------------------------------------------------- */

dhc_status dhc_cuda_gpu_free_bytes(DhcCudaGpu *g, int64_t *bytes) {
  size_t left = 0, total = 0;
  TRY_CU(g, cuMemGetInfo(&left, &total), "asking for free memory");
  *bytes = (int64_t)left;
  return dhc_status_ok();
}

dhc_status dhc_cuda_alloc(DhcCudaGpu *g, int64_t bytes, const char *what, void **out) {
  CuPtr at = 0;
  *out = NULL;
  int code = g->cu->cuMemAlloc(&at, (size_t)(bytes > 0 ? bytes : 1));
  if (code == CU_OUT_OF_MEMORY) {
    int64_t left = 0;
    dhc_status st = dhc_cuda_gpu_free_bytes(g, &left);
    return dhc_status_make(DHC_E_ENVIRONMENT, "out of GPU memory: %lld bytes for %s, %lld free on %s", (long long)bytes, what,
                           (long long)(st.code ? 0 : left), g->info.name);
  }
  if (code) return dhc_cuda_status(g->cu, code, what);
  *out = (void *)(uintptr_t)at;
  return dhc_status_ok();
}

void dhc_cuda_free(DhcCudaGpu *g, void *at) {
  if (at) g->cu->cuMemFree((CuPtr)(uintptr_t)at);
}

dhc_status dhc_cuda_alloc_host(DhcCudaGpu *g, int64_t bytes, void **out) {
  *out = NULL;
  int code = g->cu->cuMemAllocHost(out, (size_t)(bytes > 0 ? bytes : 1));
  if (code == CU_OUT_OF_MEMORY) return dhc_status_memory((long long)bytes, "memory that the GPU can reach");
  return dhc_cuda_status(g->cu, code, "memory that the GPU can reach");
}

void dhc_cuda_free_host(DhcCudaGpu *g, void *at) {
  if (at) g->cu->cuMemFreeHost(at);
}

static CuPtr ptr_of(const void *at) { return (CuPtr)(uintptr_t)at; }

dhc_status dhc_cuda_upload(DhcCudaGpu *g, void *to, const void *from, int64_t bytes) {
  if (bytes > 0) TRY_CU(g, cuMemcpyHtoDAsync(ptr_of(to), from, (size_t)bytes, g->stream), "copying to the GPU");
  return dhc_status_ok();
}
dhc_status dhc_cuda_ahead(DhcCudaGpu *g, void *to, const void *from, int64_t bytes) {
  if (bytes <= 0) return dhc_status_ok();
  TRY_CU(g, cuMemcpyHtoDAsync(ptr_of(to), from, (size_t)bytes, g->ahead), "copying to the GPU");
  TRY_CU(g, cuEventRecordWithFlags(g->arrived, g->ahead, 0), "copying to the GPU");
  TRY_CU(g, cuStreamWaitEvent(g->stream, g->arrived, 0), "copying to the GPU");
  return dhc_status_ok();
}
dhc_status dhc_cuda_download(DhcCudaGpu *g, void *to, const void *from, int64_t bytes) {
  if (bytes > 0) TRY_CU(g, cuMemcpyDtoHAsync(to, ptr_of(from), (size_t)bytes, g->stream), "copying from the GPU");
  return dhc_status_ok();
}
dhc_status dhc_cuda_copy(DhcCudaGpu *g, void *to, const void *from, int64_t bytes) {
  g->joins = false;
  if (bytes > 0 && to != from)
    TRY_CU(g, cuMemcpyDtoDAsync(ptr_of(to), ptr_of(from), (size_t)bytes, g->at), "copying on the GPU");
  return dhc_status_ok();
}
dhc_status dhc_cuda_fill(DhcCudaGpu *g, void *to, uint32_t pattern, int64_t bytes) {
  g->joins = false;
  if (bytes > 0 && pattern == 0) TRY_CU(g, cuMemsetD8Async(ptr_of(to), 0, (size_t)bytes, g->at), "filling GPU memory");
  else if (bytes > 0) TRY_CU(g, cuMemsetD32Async(ptr_of(to), pattern, (size_t)bytes / 4, g->at), "filling GPU memory");
  return dhc_status_ok();
}
dhc_status dhc_cuda_sync(DhcCudaGpu *g) {
  int code = g->cu->cuStreamSynchronize(g->stream);
  dhc_status st = code ? dhc_cuda_status(g->cu, code, "running on the GPU") : dhc_nccl_failed(g->comm);
  if (st.code) g->lost = true;
  return st;
}

/* ---- several ranks -------------------------------------------------------------------------- */

dhc_status dhc_cuda_meet(DhcCudaGpu *g, const DhcRanksOf *ranks) {
  TRY_CU(g, cuEventCreate(&g->begun, CU_EVENT_NO_TIMES), "starting the GPU");
  TRY_CU(g, cuEventCreate(&g->done, CU_EVENT_NO_TIMES), "starting the GPU");
  return dhc_nccl_meet(ranks, &g->comm);
}

static dhc_status fork_stream(DhcCudaGpu *g) {
  TRY_CU(g, cuEventRecordWithFlags(g->begun, g->at, 0), "working with the other ranks");
  TRY_CU(g, cuStreamWaitEvent(g->ranks, g->begun, 0), "working with the other ranks");
  return dhc_status_ok();
}

dhc_status dhc_cuda_ranks_sum(DhcCudaGpu *g, void *at, int64_t bytes) {
  if (g->at != g->ranks) DHC_TRY(fork_stream(g));
  return dhc_nccl_sum(g->comm, at, bytes, g->ranks);
}

dhc_status dhc_cuda_ranks_gather(DhcCudaGpu *g, void *at, const intptr_t *part, int n) {
  if (g->at != g->ranks) DHC_TRY(fork_stream(g));
  return dhc_nccl_gather(g->comm, at, part, n, g->ranks);
}

dhc_status dhc_cuda_join(DhcCudaGpu *g) {
  TRY_CU(g, cuEventRecordWithFlags(g->done, g->ranks, 0), "working with the other ranks");
  TRY_CU(g, cuStreamWaitEvent(g->at, g->done, 0), "working with the other ranks");
  g->joins = true;
  return dhc_status_ok();
}

void dhc_cuda_leave(DhcCudaGpu *g, bool whole) {
  dhc_nccl_leave(g->comm, whole && !g->lost);
  g->comm = NULL;
}

dhc_status dhc_cuda_spread(DhcCudaGpu *g, int from, void *at, int64_t bytes) {
  return dhc_nccl_spread(g->comm, from, at, bytes, g->stream);
}

/* ---- code ----------------------------------------------------------------------------------- */

static dhc_status load_kernel(DhcCudaGpu *g, const char *cubin, size_t n, const char *name, CuLibrary *library, DhcCudaKernel *k) {
  char *code = malloc(n); /* aligned, as the driver reads it in words */
  if (!code) return dhc_status_memory((long long)n, "a kernel's code");
  memcpy(code, cubin, n);
  int rc = g->cu->cuLibraryLoadData(library, code, NULL, NULL, 0, NULL, NULL, 0);
  free(code);
  if (rc) return dhc_cuda_status(g->cu, rc, "loading a kernel");
  /* code for another architecture is noticed here, not at loading */
  TRY_CU(g, cuLibraryGetKernel(&k->kernel, *library, name), "finding a kernel in its code");
  if (k->launch.shared_bytes > 48 << 10)
    TRY_CU(g, cuKernelSetAttribute(CU_KERNEL_MAX_DYNAMIC, k->launch.shared_bytes, k->kernel, g->device), "block memory");
  return dhc_status_ok();
}

dhc_status dhc_cuda_load(DhcCudaGpu *g, const char *bytes, size_t n_bytes, const char *const *names, int n,
                         const DhcCudaKernel **out) {
  DhcCudaObject o;
  DhcCudaLater *later = dhc_cuda_later_read(bytes, n_bytes, n, o.launch);
  if (!later && !dhc_cuda_object_read(bytes, n_bytes, n, &o)) return dhc_status_make(DHC_E_ENVIRONMENT, "--backend cuda: this is no kernel's code");
  Library *l = calloc(1, sizeof *l);
  DhcCudaKernel *kernels = calloc((size_t)n, sizeof *kernels);
  if (!l || !kernels) {
    free(l);
    free(kernels);
    return dhc_status_memory((long long)sizeof *kernels * n, "a kernel's code");
  }
  l->kernels = kernels;
  l->n = n;
  l->next = g->libraries;
  g->libraries = l;
  if (later) dhc_cuda_later_hold(later);
  for (int i = 0; i < n; i++) {
    kernels[i] = (DhcCudaKernel){.launch = o.launch[i], .library = &l->code[i], .later = later, .part = i};
    snprintf(kernels[i].name, sizeof kernels[i].name, "%s", names[i]);
    if (!later) DHC_TRY(load_kernel(g, o.cubin[i], o.n_cubin[i], names[i], &l->code[i], &kernels[i]));
    out[i] = &kernels[i];
  }
  return dhc_status_ok();
}

bool dhc_cuda_writes(const DhcCudaKernel *k, int operand) { return dhc_cuda_stores_to(&k->launch, operand); }

void dhc_cuda_want(const DhcCudaKernel *k) {
  if (!k->kernel) dhc_cuda_later_want(k->later, k->part);
}

/* Waits for code that is still to come. */
static dhc_status ready(DhcCudaGpu *g, const DhcCudaKernel *k) {
  const DhcCudaCode *code;
  struct timespec begin, end;
  if (k->kernel) return dhc_status_ok();
  clock_gettime(CLOCK_MONOTONIC, &begin);
  dhc_status st = dhc_cuda_later_code(k->later, k->part, &code);
  clock_gettime(CLOCK_MONOTONIC, &end);
  g->code_ms += (double)(end.tv_sec - begin.tv_sec) * 1e3 + (double)(end.tv_nsec - begin.tv_nsec) * 1e-6;
  if (st.code) return st;
  return load_kernel(g, code->cubin, code->n, k->name, k->library, (DhcCudaKernel *)(uintptr_t)k);
}

bool dhc_cuda_early(const DhcCudaKernel *k, int operand) { return dhc_cuda_reads_early(&k->launch, operand); }

dhc_status dhc_cuda_launch(DhcCudaGpu *g, const DhcCudaKernel *k, void *const *ptr, const int64_t *dim, int64_t task0,
                           int64_t task1, bool early) {
  if (task1 <= task0) return dhc_status_ok();
  DHC_TRY(ready(g, k));
  const DhcCudaLaunch *h = &k->launch;
  int n_ptrs = h->n_ptrs ? h->n_ptrs : 1, n_dims = h->n_dims ? h->n_dims : 1;
  int64_t argument[MAX_ARGUMENT / 8] = {0};
  if (n_ptrs + n_dims + 3 > MAX_ARGUMENT / 8) return dhc_status_make(DHC_E_ENVIRONMENT, "--backend cuda: a kernel of %d arguments", n_ptrs + n_dims);
  for (int i = 0; i < h->n_ptrs; i++) argument[i] = (int64_t)(uintptr_t)ptr[i];
  for (int i = 0; i < h->n_dims; i++) argument[n_ptrs + i] = dim[i];
  argument[n_ptrs + n_dims] = task0;
  argument[n_ptrs + n_dims + 1] = task1;
  argument[n_ptrs + n_dims + 2] = early;
  /* a new block is better than one that goes on: there is always one whose loads are under way */
  int64_t blocks = (task1 - task0 + h->per_block - 1) / h->per_block;
  CuLaunchAttribute attribute[2];
  unsigned n_attributes = 0;
  if (!g->joins) attribute[n_attributes++] = (CuLaunchAttribute){.id = CU_LAUNCH_PROGRAMMATIC, .value.number = 1};
  if (g->urgent) attribute[n_attributes++] = (CuLaunchAttribute){.id = CU_LAUNCH_PRIORITY, .value.number = -1};
  CuLaunchConfig config = {.grid = {(unsigned)(blocks < MAX_GRID ? blocks : MAX_GRID), 1, 1},
                           .block = {(unsigned)h->threads, 1, 1},
                           .shared_bytes = (unsigned)h->shared_bytes,
                           .stream = g->at,
                           .attributes = attribute,
                           .n_attributes = n_attributes};
  void *arguments[] = {argument};
  g->joins = false;
  TRY_CU(g, cuLaunchKernelEx(&config, k->kernel, arguments, NULL), "launching a kernel");
  return dhc_status_ok();
}

double dhc_cuda_code_ms(const DhcCudaGpu *g) { return g->code_ms; }

dhc_status dhc_cuda_resources(DhcCudaGpu *g, const DhcCudaKernel *k, DhcCudaResources *out) {
  DHC_TRY(ready(g, k));
  TRY_CU(g, cuKernelGetAttribute(&out->registers, CU_KERNEL_REGISTERS, k->kernel, g->device), "asking a kernel for its registers");
  TRY_CU(g, cuKernelGetAttribute(&out->local_bytes, CU_KERNEL_LOCAL_BYTES, k->kernel, g->device), "asking a kernel for its stack");
  out->shared_bytes = k->launch.shared_bytes;
  return dhc_status_ok();
}

/* ---- graphs and time ------------------------------------------------------------------------- */

dhc_status dhc_cuda_record_begin(DhcCudaGpu *g) {
  TRY_CU(g, cuStreamBeginCapture(g->stream, CU_CAPTURE_THREAD_LOCAL), "recording a graph");
  return dhc_status_ok();
}

dhc_status dhc_cuda_lane(DhcCudaGpu *g, int lane, bool urgent) {
  if (lane != DHC_CUDA_RANKS_LANE && !g->lane[lane]) TRY_CU(g, cuStreamCreate(&g->lane[lane], CU_STREAM_NON_BLOCKING), "recording a graph");
  g->at = lane == DHC_CUDA_RANKS_LANE ? g->ranks : g->lane[lane];
  g->urgent = urgent;
  return dhc_status_ok();
}

dhc_status dhc_cuda_signal(DhcCudaGpu *g, int number) {
  if (number >= g->n_signals) {
    int n = number * 2 + 64;
    CuEvent *more = realloc(g->signal, sizeof *more * (size_t)n);
    if (!more) return dhc_status_memory((long long)sizeof *more * n, "a graph");
    g->signal = more;
    while (g->n_signals < n) {
      TRY_CU(g, cuEventCreate(&g->signal[g->n_signals], CU_EVENT_NO_TIMES), "recording a graph");
      g->n_signals++;
    }
  }
  TRY_CU(g, cuEventRecordWithFlags(g->signal[number], g->at, 0), "recording a graph");
  return dhc_status_ok();
}

dhc_status dhc_cuda_await(DhcCudaGpu *g, int number) {
  TRY_CU(g, cuStreamWaitEvent(g->at, g->signal[number], 0), "recording a graph");
  g->joins = true;
  return dhc_status_ok();
}

dhc_status dhc_cuda_record_end(DhcCudaGpu *g, DhcCudaGraph **out) {
  CuGraph graph = NULL;
  *out = NULL;
  g->at = g->stream;
  g->joins = g->urgent = false;
  TRY_CU(g, cuStreamEndCapture(g->stream, &graph), "recording a graph");
  DhcCudaGraph *r = calloc(1, sizeof *r);
  if (!r) {
    g->cu->cuGraphDestroy(graph);
    return dhc_status_memory((long long)sizeof *r, "a graph");
  }
  int code = g->cu->cuGraphInstantiateWithFlags(&r->exec, graph, CU_GRAPH_PRIORITIES);
  g->cu->cuGraphDestroy(graph);
  if (code) {
    free(r);
    return dhc_cuda_status(g->cu, code, "making a graph");
  }
  *out = r;
  return dhc_status_ok();
}

dhc_status dhc_cuda_replay(DhcCudaGpu *g, const DhcCudaGraph *graph) {
  TRY_CU(g, cuGraphLaunch(graph->exec, g->stream), "launching a graph");
  return dhc_status_ok();
}

void dhc_cuda_graph_free(DhcCudaGpu *g, DhcCudaGraph *graph) {
  if (!graph) return;
  g->cu->cuGraphExecDestroy(graph->exec);
  free(graph);
}

struct DhcCudaMark {
  CuEvent event;
};

dhc_status dhc_cuda_mark_new(DhcCudaGpu *g, DhcCudaMark **out) {
  DhcCudaMark *m = calloc(1, sizeof *m);
  *out = NULL;
  if (!m) return dhc_status_memory((long long)sizeof *m, "a mark");
  int code = g->cu->cuEventCreate(&m->event, 0);
  if (code) {
    free(m);
    return dhc_cuda_status(g->cu, code, "taking the time on the GPU");
  }
  *out = m;
  return dhc_status_ok();
}

void dhc_cuda_mark_free(DhcCudaGpu *g, DhcCudaMark *m) {
  if (!m) return;
  g->cu->cuEventDestroy(m->event);
  free(m);
}

dhc_status dhc_cuda_mark(DhcCudaGpu *g, DhcCudaMark *m) {
  TRY_CU(g, cuEventRecordWithFlags(m->event, g->stream, CU_EVENT_RECORD_EXTERNAL), "taking the time on the GPU");
  return dhc_status_ok();
}

dhc_status dhc_cuda_between(DhcCudaGpu *g, const DhcCudaMark *from, const DhcCudaMark *to, float *ms) {
  TRY_CU(g, cuEventSynchronize(to->event), "running on the GPU");
  TRY_CU(g, cuEventElapsedTime(ms, from->event, to->event), "taking the time on the GPU");
  return dhc_status_ok();
}
