/* Object files into this process, by ORC. */
#include <llvm-c/Core.h>
#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cpu/cpu.h"

struct DhcCpuJit {
  LLVMOrcLLJITRef jit;
};

static dhc_status failed(LLVMErrorRef e) {
  dhc_status s = {.code = DHC_E_ENVIRONMENT};
  char *text = LLVMGetErrorMessage(e);
  snprintf(s.message, sizeof s.message, "linker: %.400s", text);
  LLVMDisposeErrorMessage(text);
  return s;
}

/* Objects carry their own code; the linker needs only the format. */
dhc_status dhc_cpu_jit_open(DhcCpuJit **out) {
  DhcCpuJit *j = calloc(1, sizeof *j);
  if (!j) return (dhc_status){DHC_E_ENVIRONMENT, "out of memory"};
  LLVMErrorRef e = LLVMOrcCreateLLJIT(&j->jit, NULL);
  if (e) {
    free(j);
    return failed(e);
  }
  *out = j;
  return (dhc_status){0};
}

void dhc_cpu_jit_close(DhcCpuJit *j) {
  if (!j) return;
  LLVMErrorRef e = LLVMOrcDisposeLLJIT(j->jit);
  if (e) LLVMConsumeError(e);
  free(j);
}

dhc_status dhc_cpu_jit_add(DhcCpuJit *j, const char *bytes, size_t n_bytes,
                           const char *const *names, int n, dhc_kernel_fn *fn) {
  LLVMMemoryBufferRef copy = LLVMCreateMemoryBufferWithMemoryRangeCopy(bytes, n_bytes, names[0]);
  LLVMErrorRef e = LLVMOrcLLJITAddObjectFile(j->jit, LLVMOrcLLJITGetMainJITDylib(j->jit), copy);
  if (e) return failed(e);
  for (int i = 0; i < n; i++) {
    LLVMOrcExecutorAddress address;
    e = LLVMOrcLLJITLookup(j->jit, &address, names[i]);
    if (e) return failed(e);
    uintptr_t at = (uintptr_t)address;
    memcpy(&fn[i], &at, sizeof at); /* a function pointer has no integer conversion in C */
  }
  return (dhc_status){0};
}
