/* PTX in objects for GPUs. */
#ifndef DHC_BACKENDS_OBJECT_PTX_H
#define DHC_BACKENDS_OBJECT_PTX_H

#include "backends/object/object.h"

/* Makes the text say the least version of PTX that has its architecture and, where version 7.0 (CUDA 11.0) has all of its words, them; else
 * it stays. */
void dhc_ptx_lower(char *text, size_t n, const char *arch);

#endif
