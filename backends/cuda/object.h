/* What the CUDA backend keeps in the store: how each kernel is launched, then their cubins. */
#ifndef DHC_BACKENDS_CUDA_OBJECT_H
#define DHC_BACKENDS_CUDA_OBJECT_H

#include <stdbool.h>
#include <stddef.h>

#include "backends/cuda/cuda_internal.h"

enum { DHC_CUDA_MAX_KERNELS = 16 }; /* as many as a kernel may have size classes */

/* A cubin of one kernel. */
typedef struct DhcCudaCode {
  char *cubin;
  size_t n;
} DhcCudaCode;

typedef struct DhcCudaObject {
  DhcCudaLaunch launch[DHC_CUDA_MAX_KERNELS];
  const char *cubin[DHC_CUDA_MAX_KERNELS]; /* inside the bytes that were read */
  size_t n_cubin[DHC_CUDA_MAX_KERNELS];
} DhcCudaObject;

/* malloc'd; NULL: no memory. */
char *dhc_cuda_object_write(const DhcCudaLaunch *launch, const DhcCudaCode *code, int n, size_t *n_bytes);
/* False: not n kernels' code as written by this build. */
bool dhc_cuda_object_read(const char *bytes, size_t n_bytes, int n, DhcCudaObject *out);
/* Registers and bytes of stack of a thread; false: the cubin does not say. */
bool dhc_cuda_cubin_use(const char *cubin, size_t n, const char *kernel, int *registers, int *stack);

#endif
