/* The CUDA backend: loop program -> CUDA C -> cubin (NVRTC), and one GPU that runs it. Driver and NVRTC
 * are opened at run time (driver.h); compiling needs no GPU. */
#ifndef DHC_BACKENDS_CUDA_CUDA_H
#define DHC_BACKENDS_CUDA_CUDA_H

#include "backends/backend.h"
#include "backends/cuda/driver.h"

/* backends/cuda_object.c: an object for GPUs, as one C file. */
dhc_status dhc_cuda_make_object(void *worker, const struct DhcObject *o, DhcArena *arena, DhcBytes *out) DHC_MUST_USE;

/* device.c: the GPU behind runtime/device.h. */
dhc_status dhc_cuda_device_open(const DhcDeviceOptions *o, DhcDevice **out) DHC_MUST_USE;

/* ---- gpu.c: a GPU, its memory, kernels and one stream --------------------------------------
 *
 * One GPU a process in practice; each DhcCudaGpu has its own stream, on which everything is ordered. Not
 * thread-safe. Every call that can fail says why in one line (DHC_E_ENVIRONMENT). Memory is aligned to 256 bytes. */
typedef struct DhcCudaGpu DhcCudaGpu;

typedef struct DhcCudaInfo {
  char name[128], arch[16]; /* "NVIDIA H200", "sm_90a" */
  int driver;               /* 13000: CUDA 13.0 */
  int sms, block_bytes;     /* multiprocessors; shared memory of a block at most */
  int64_t memory_bytes, l2_bytes;
} DhcCudaInfo;

/* ordinal: among the devices that CUDA_VISIBLE_DEVICES leaves. */
dhc_status dhc_cuda_gpu_open(int ordinal, DhcCudaGpu **out) DHC_MUST_USE;
void dhc_cuda_gpu_close(DhcCudaGpu *g); /* unloads its code; memory must have been given back */
const DhcCudaInfo *dhc_cuda_gpu_info(const DhcCudaGpu *g);
/* Architecture of the first GPU; an error says why there is none. */
dhc_status dhc_cuda_arch(char arch[16]) DHC_MUST_USE;
dhc_status dhc_cuda_gpu_free_bytes(DhcCudaGpu *g, int64_t *bytes) DHC_MUST_USE;

dhc_status dhc_cuda_alloc(DhcCudaGpu *g, int64_t bytes, const char *what, void **out) DHC_MUST_USE;
void dhc_cuda_free(DhcCudaGpu *g, void *at);
/* Host memory that copies overlap with; plain memory serves as well. */
dhc_status dhc_cuda_alloc_host(DhcCudaGpu *g, int64_t bytes, void **out) DHC_MUST_USE;
void dhc_cuda_free_host(DhcCudaGpu *g, void *at);
/* In stream order. upload: the source may change when it returns unless it is host memory of
 * dhc_cuda_alloc_host. download: the data are there after dhc_cuda_sync. */
dhc_status dhc_cuda_upload(DhcCudaGpu *g, void *to, const void *from, int64_t bytes) DHC_MUST_USE;
dhc_status dhc_cuda_download(DhcCudaGpu *g, void *to, const void *from, int64_t bytes) DHC_MUST_USE;
/* As upload, on a stream of its own beside what was given before, which does not use `to`; what is given afterwards
 * comes behind it. `from` is of dhc_cuda_alloc_host and stays as it is until dhc_cuda_sync. */
dhc_status dhc_cuda_ahead(DhcCudaGpu *g, void *to, const void *from, int64_t bytes) DHC_MUST_USE;
dhc_status dhc_cuda_copy(DhcCudaGpu *g, void *to, const void *from, int64_t bytes) DHC_MUST_USE;
dhc_status dhc_cuda_fill(DhcCudaGpu *g, void *to, uint32_t pattern, int64_t bytes) DHC_MUST_USE; /* bytes: a multiple of 4 unless the pattern is 0 */
dhc_status dhc_cuda_sync(DhcCudaGpu *g) DHC_MUST_USE;

/* Several processes with a GPU each, as runtime/device.h says: ranks_sum and ranks_gather beside what follows in the stream, up to join. */
dhc_status dhc_cuda_meet(DhcCudaGpu *g, const DhcRanksOf *ranks) DHC_MUST_USE;
dhc_status dhc_cuda_ranks_sum(DhcCudaGpu *g, void *at, int64_t bytes) DHC_MUST_USE;
dhc_status dhc_cuda_join(DhcCudaGpu *g) DHC_MUST_USE;
dhc_status dhc_cuda_ranks_gather(DhcCudaGpu *g, void *at, const intptr_t *part, int n) DHC_MUST_USE;
dhc_status dhc_cuda_spread(DhcCudaGpu *g, int from, void *at, int64_t bytes) DHC_MUST_USE;
void dhc_cuda_leave(DhcCudaGpu *g, bool whole);

/* A kernel that was loaded, until the GPU is closed. */
typedef struct DhcCudaKernel DhcCudaKernel;
/* Code as `generate` made it; bytes may go afterwards. */
dhc_status dhc_cuda_load(DhcCudaGpu *g, const char *bytes, size_t n_bytes, const char *const *names, int n,
                         const DhcCudaKernel **out) DHC_MUST_USE;
/* Tasks [task0, task1) in stream order: what the stream did before is complete and seen. ptr: device
 * addresses, the memory that tasks share last, if the kernel has any. early: nothing that is still under way writes the operands of
 * which dhc_cuda_early holds. */
dhc_status dhc_cuda_launch(DhcCudaGpu *g, const DhcCudaKernel *k, void *const *ptr, const int64_t *dim, int64_t task0,
                           int64_t task1, bool early) DHC_MUST_USE;
/* Would the kernel read its operand before those ahead of it have ended? */
bool dhc_cuda_early(const DhcCudaKernel *k, int operand);
/* Does the kernel write to its operand? */
bool dhc_cuda_writes(const DhcCudaKernel *k, int operand);
/* Code that `generate` left to be compiled when it is needed is waited for by what uses it; this says beforehand that it will be. */
void dhc_cuda_want(const DhcCudaKernel *k);
double dhc_cuda_code_ms(const DhcCudaGpu *g); /* waited so far */
typedef struct DhcCudaResources {
  int registers, local_bytes, shared_bytes;
} DhcCudaResources;
dhc_status dhc_cuda_resources(DhcCudaGpu *g, const DhcCudaKernel *k, DhcCudaResources *out) DHC_MUST_USE;

/* Everything between begin and end is recorded instead of run; no upload, download or sync among it.
 * Replaying does it all again at the same addresses. */
typedef struct DhcCudaGraph DhcCudaGraph;
dhc_status dhc_cuda_record_begin(DhcCudaGpu *g) DHC_MUST_USE;
/* Among it: what follows goes to this lane, beside the others, and lane 0 first and last; a signal is given when all before it in
 * the lane is done, and awaited by all that comes behind in another one. Numbers count from 0, each signalled once before it is awaited. Urgent: blocks of what follows
 * begin before others that could, too. */
dhc_status dhc_cuda_lane(DhcCudaGpu *g, int lane, bool urgent) DHC_MUST_USE;
dhc_status dhc_cuda_signal(DhcCudaGpu *g, int number) DHC_MUST_USE;
dhc_status dhc_cuda_await(DhcCudaGpu *g, int number) DHC_MUST_USE;
dhc_status dhc_cuda_record_end(DhcCudaGpu *g, DhcCudaGraph **out) DHC_MUST_USE; /* NULL after a failure */
dhc_status dhc_cuda_replay(DhcCudaGpu *g, const DhcCudaGraph *graph) DHC_MUST_USE;
void dhc_cuda_graph_free(DhcCudaGpu *g, DhcCudaGraph *graph);

/* Times on the GPU: a mark is put into the graph being recorded; when a replay has passed two of them, what lay
 * between is in milliseconds. `between` waits for the later one. */
typedef struct DhcCudaMark DhcCudaMark;
dhc_status dhc_cuda_mark_new(DhcCudaGpu *g, DhcCudaMark **out) DHC_MUST_USE;
void dhc_cuda_mark_free(DhcCudaGpu *g, DhcCudaMark *m);
dhc_status dhc_cuda_mark(DhcCudaGpu *g, DhcCudaMark *m) DHC_MUST_USE;
dhc_status dhc_cuda_between(DhcCudaGpu *g, const DhcCudaMark *from, const DhcCudaMark *to, float *ms) DHC_MUST_USE;

#endif
