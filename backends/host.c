/* What this machine can run, asked before a store or compiler is opened. */
#include "backends/compile.h"
#include "backends/cpu/cpu.h"

const char *dhc_compiler_host_isa(DhcArena *arena, const char *backend, const char *features) {
  DhcCpuTarget target;
  if (strcmp(backend, "cpu")) return NULL;
  return dhc_cpu_target(arena, NULL, features, &target).code == DHC_OK ? target.isa : NULL;
}
