/* The host part of objects for GPUs. */
#ifndef DHC_BACKENDS_OBJECT_CUDA_HOST_H
#define DHC_BACKENDS_OBJECT_CUDA_HOST_H

#include "backends/object/object.h"

/* One C99 file with o->cuda's code. */
void dhc_object_write_cuda(const DhcObject *o, DhcText *to);

#endif
