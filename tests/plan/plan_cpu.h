/* Runs plans on the CPU backend. */
#ifndef DHC_TESTS_PLAN_CPU_H
#define DHC_TESTS_PLAN_CPU_H

#include "runtime/pool.h"
#include "tests/ops/cpu_runner.h"
#include "tests/plan/plan_exec.h"

/* Segments after a run. */
typedef struct PlanImage {
  unsigned char *all[DHC_N_SEGMENTS];
  DhcBound *bound;
} PlanImage;

/* Memory is garbage at first, NaN as floats. False: message on stderr. */
bool plan_cpu_run(CpuRunner *cpu, const DhcPlanned *p, const DhcArray *const *args, const int64_t *symbols, DhcPool *pool,
                  DhcArena *arena, PlanImage *m);
void plan_cpu_forget(PlanImage *m);
/* First byte of a buffer. */
const unsigned char *plan_cpu_at(const DhcPlanned *p, const PlanImage *m, int buffer);
/* Equal bytes in a buffer of one plan and a buffer of another; -1 equals only -1. */
bool plan_cpu_same(const DhcPlanned *p, const PlanImage *m, int buffer, const DhcPlanned *q, const PlanImage *n, int other);

#endif
