/* Runs plans on the CPU backend, in memory that is garbage at first (NaN as floats). */
#ifndef DHC_TESTS_PLAN_CPU_H
#define DHC_TESTS_PLAN_CPU_H

#include "passes/plan.h"
#include "runtime/plan.h"
#include "runtime/pool.h"
#include "tests/ops/cpu_runner.h"

/* What a run has left in memory. */
typedef struct PlanImage {
  unsigned char *all[DHC_N_ARENAS];
  DhcBound *bound;
} PlanImage;

/* args: one per parameter of the planned entry; symbols: its sizes. dhc_test_forget either way. */
bool dhc_test_run_cpu(CpuRunner *cpu, const DhcPlanned *p, const DhcArray *const *args, const int64_t *symbols, DhcPool *pool,
                      DhcArena *arena, PlanImage *m);
void dhc_test_forget(PlanImage *m);

#endif
