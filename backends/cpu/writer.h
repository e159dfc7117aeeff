/* Loop program -> LLVM function. */
#ifndef DHC_BACKENDS_CPU_WRITER_H
#define DHC_BACKENDS_CPU_WRITER_H

#include "backends/cpu/cpu_internal.h"

/* Adds `void name(ptr, dim, task0, task1, scratch)` (dhc_kernel_fn) to w->module.
 * w->refused is set if an op has no CPU form; the module is then discarded. */
void dhc_cpu_write(DhcCpuW *w, const DhcLp *p, const char *name);

/* stack.c. Around code generation of a module: what asks for every frame, and what adds them up along the calls. */
void dhc_cpu_stack_watch(DhcCpuStack *s, LLVMContextRef cx, LLVMModuleRef module);
void dhc_cpu_stack_add_up(DhcCpuStack *s, const DhcCpuTarget *t, LLVMContextRef cx, LLVMModuleRef module);

/* lean.c. Around code generation of a module: which of LLVM's passes it takes. Waits while modules that take others are being generated. */
typedef enum DhcCpuPasses { DHC_CPU_ALL, DHC_CPU_LEAN, DHC_CPU_LEANEST, DHC_CPU_N_PASSES } DhcCpuPasses;
void dhc_cpu_passes_begin(DhcCpuPasses p);
void dhc_cpu_passes_end(void);

#endif
