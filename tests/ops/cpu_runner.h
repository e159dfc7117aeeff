/* Runs kernels of a fused graph on the CPU backend, one by one, between the interpreter's
 * other ops (DhcKernelRunner): element formats are the native ones, every buffer has a
 * guard around it, and tasks run in two pieces out of order. */
#ifndef DHC_TESTS_CPU_RUNNER_H
#define DHC_TESTS_CPU_RUNNER_H

#include "backends/compile.h"
#include "ir/interp.h"

typedef struct CpuRunner {
  DhcKernelRunner runner; /* hand this to dhc_interp_run_kernels */
  DhcArena arena;
  DhcStore *store;
  DhcCompiler *compiler;
  DhcCompileStats stats;
  const char *why; /* what went wrong when a kernel last failed */
} CpuRunner;

/* features: cap as in DhcCompileOptions, or NULL. False: message on stderr. c must not move
 * afterwards. */
bool cpu_runner_open(CpuRunner *c, const char *features);
/* Kernels check their accesses; one outside is a failure. */
bool cpu_runner_open_checked(CpuRunner *c);
void cpu_runner_close(CpuRunner *c);

#endif
