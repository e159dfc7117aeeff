/* The host part of objects for GPUs. */
#ifndef DHC_BACKENDS_OBJECT_CUDA_HOST_H
#define DHC_BACKENDS_OBJECT_CUDA_HOST_H

#include "backends/object/object.h"

/* One C99 file with o->cuda's code. */
void dhc_object_write_cuda(const DhcObject *o, DhcText *to);

/* cuda_around.c: the driver's functions that it calls beside; state of a training; the self test. */
extern const char dhc_cuda_around_text[];
void dhc_cuda_training(const DhcObjTrain *t, DhcText *to);
void dhc_cuda_selftest(const DhcObject *o, DhcText *to);

#endif
