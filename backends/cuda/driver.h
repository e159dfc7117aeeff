/* The CUDA driver and NVRTC, opened at run time: a build needs neither, and a machine without
 * them runs everything else. Own declarations of the few types and functions used.
 *
 * Where they are looked for: DHC_LIBCUDA and DHC_LIBNVRTC (a file) if set, else the names the linker
 * knows, else, for NVRTC, the toolkit's folders. Every refusal is one line that names what is
 * missing (DHC_E_ENVIRONMENT). */
#ifndef DHC_BACKENDS_CUDA_DRIVER_H
#define DHC_BACKENDS_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "dhc/status.h"

typedef unsigned long long CuPtr;
typedef struct CuContextOpaque *CuContext;
typedef struct CuStreamOpaque *CuStream;
typedef struct CuEventOpaque *CuEvent;
typedef struct CuGraphOpaque *CuGraph;
typedef struct CuGraphExecOpaque *CuGraphExec;
typedef struct CuLibraryOpaque *CuLibrary;
typedef struct CuKernelOpaque *CuKernel;
typedef struct NvProgramOpaque *NvProgram;
typedef struct NcclCommOpaque *NcclComm;
typedef struct NcclId {
  char bytes[128];
} NcclId;

/* CUlaunchAttribute: 64 bytes of value, aligned to 8. */
typedef struct CuLaunchAttribute {
  int id;
  int pad;
  union {
    char bytes[64];
    int number;
    int64_t align;
  } value;
} CuLaunchAttribute;
typedef struct CuLaunchConfig {
  unsigned grid[3], block[3], shared_bytes;
  CuStream stream;
  CuLaunchAttribute *attributes;
  unsigned n_attributes;
} CuLaunchConfig;

enum {
  CU_OK = 0,
  CU_OUT_OF_MEMORY = 2,
  CU_STUB_LIBRARY = 34,
  CU_NO_DEVICE = 100,
  CU_NO_BINARY_FOR_GPU = 209,
  CU_INSUFFICIENT_DRIVER = 35,
  CU_SYSTEM_DRIVER_MISMATCH = 803,
  CU_ATTRIBUTE_SMS = 16,
  CU_ATTRIBUTE_L2_BYTES = 38,
  CU_ATTRIBUTE_MAJOR = 75,
  CU_ATTRIBUTE_MINOR = 76,
  CU_ATTRIBUTE_BLOCK_BYTES = 97,       /* shared memory of a block, at most */
  CU_KERNEL_SHARED_BYTES = 1,          /* cuKernelGetAttribute: static */
  CU_KERNEL_LOCAL_BYTES = 3,
  CU_KERNEL_REGISTERS = 4,
  CU_KERNEL_MAX_DYNAMIC = 8,
  CU_LAUNCH_PROGRAMMATIC = 6,          /* programmatic stream serialisation */
  CU_LAUNCH_PRIORITY = 8,              /* smaller numbers first; a stream has 0 */
  CU_STREAM_NON_BLOCKING = 1,
  CU_GRAPH_PRIORITIES = 8, /* nodes have their own, else those of the streams that they were recorded from */
  CU_CAPTURE_THREAD_LOCAL = 1,
  CU_EVENT_NO_TIMES = 2,               /* cuEventCreate: it only orders */
  CU_EVENT_RECORD_EXTERNAL = 1,        /* in a recorded graph: a node of its own, whose event the host may read */
  NV_OK = 0,
  NV_COMPILATION = 6,
  NV_BUILTINS = 7,
  DHC_CUDA_OLDEST = 12000 /* driver: libraries of kernels, graphs of this form */
};

typedef struct DhcCudaDriver {
#define CU(name, version, arguments) int(*name) arguments;
#include "backends/cuda/driver.def"
  void *library;
  int version; /* 13000: CUDA 13.0 */
} DhcCudaDriver;

typedef struct DhcNvrtc {
#define NV(name, arguments) int(*name) arguments;
#include "backends/cuda/driver.def"
  const char *(*nvrtcGetErrorString)(int);
  void *library, *builtins;
  int major, minor;
} DhcNvrtc;

/* Once a process; what was opened stays open. Thread-safe after the first call has returned. */
dhc_status dhc_cuda_driver(const DhcCudaDriver **out) DHC_MUST_USE;
dhc_status dhc_cuda_nvrtc(const DhcNvrtc **out) DHC_MUST_USE;

/* What a call of the driver said, as a status: "what: CUDA_ERROR_…: text". CU_OK: DHC_OK. */
dhc_status dhc_cuda_status(const DhcCudaDriver *cu, int code, const char *what) DHC_MUST_USE;

/* Source -> cubin (or PTX) for a real architecture ("sm_90a"). *out is malloc'd, the receiver frees
 * it. A refused source is a status with NVRTC's first error and the source line it is about; the
 * whole log goes to *log if that is asked for (malloc'd). */
typedef struct DhcNvrtcJob {
  const char *source, *name, *arch;
  int ptx; /* text instead of a cubin */
  int quick; /* code that hardly ever runs: compiled fast rather than well */
  char **log;
} DhcNvrtcJob;
dhc_status dhc_nvrtc_compile(const DhcNvrtc *nv, const DhcNvrtcJob *job, char **out, size_t *n_out) DHC_MUST_USE;

#endif
