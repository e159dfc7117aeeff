/* Loop program -> LLVM function. */
#ifndef DHC_BACKENDS_CPU_WRITER_H
#define DHC_BACKENDS_CPU_WRITER_H

#include "backends/cpu/cpu_internal.h"

/* Adds `void name(ptr, dim, task0, task1, scratch)` (dhc_kernel_fn) to w->module.
 * w->refused is set if an op has no CPU form; the module is then discarded. */
void dhc_cpu_write(DhcCpuW *w, const DhcLp *p, const char *name);

#endif
