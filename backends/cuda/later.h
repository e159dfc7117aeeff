/* Code that is compiled when somebody needs it (later.c). A queue has threads; `later` is the kernels of one object, which its
 * holders share. Functions are thread-safe but for queue_close. */
#ifndef DHC_BACKENDS_CUDA_LATER_H
#define DHC_BACKENDS_CUDA_LATER_H

#include "backends/cuda/object.h"
#include "runtime/store.h"

typedef struct DhcCudaQueue DhcCudaQueue;
typedef struct DhcCudaLater DhcCudaLater;

/* Code is put into the store (NULL: none; borrowed) as soon as it is compiled, and found there by an interrupted run's next one;
 * nvrtc: whose code it is. */
dhc_status dhc_cuda_queue_open(const char *arch, int workers, DhcStore *store, const char *nvrtc, DhcCudaQueue **out) DHC_MUST_USE;
void dhc_cuda_queue_close(DhcCudaQueue *q); /* what nobody has begun is done by who needs it */

/* Jobs' texts are copied. The one who makes it holds it. NULL: no memory. */
DhcCudaLater *dhc_cuda_later_new(DhcCudaQueue *q, const DhcNvrtcJob *job, int n);
void dhc_cuda_later_hold(DhcCudaLater *l);
void dhc_cuda_later_drop(DhcCudaLater *l);
/* The store has all of it together from now on: what it has of its parts goes. */
void dhc_cuda_later_stored(DhcCudaLater *l);
/* Number i is needed: before all that nobody asked for. */
void dhc_cuda_later_want(DhcCudaLater *l, int i);
/* Its code, as long as it is held: compiled by now, or here. */
dhc_status dhc_cuda_later_code(DhcCudaLater *l, int i, const DhcCudaCode **code) DHC_MUST_USE;

/* An object whose code is yet to come: it names `l`, which somebody holds as long as it is read. malloc'd; NULL: no memory.
 * The names of its kernels are those of the jobs. */
char *dhc_cuda_later_write(const DhcCudaLater *l, const DhcCudaLaunch *launch, size_t *n_bytes);
/* NULL: no such object. launch: n of them. */
DhcCudaLater *dhc_cuda_later_read(const char *bytes, size_t n_bytes, int n, DhcCudaLaunch *launch);

#endif
