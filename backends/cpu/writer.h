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

#endif
