/* Commands of a list side by side: which may, and what each then waits for. */
#ifndef DHC_BACKENDS_CUDA_LANES_H
#define DHC_BACKENDS_CUDA_LANES_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/status.h"

/* Those that commands are put into, the last of them for what waits for other ranks; behind them the one of what ranks do
 * together, which has no kernels of its own. */
enum { DHC_CUDA_LATE_LANE = 4, DHC_CUDA_LANES, DHC_CUDA_RANKS_LANE = DHC_CUDA_LANES, DHC_CUDA_ALL_LANES };

/* Memory [begin, end) that a command reads or writes. */
typedef struct DhcCudaUse {
  uint64_t begin, end;
  bool writes, early; /* early: it would read it before it has waited */
} DhcCudaUse;

typedef struct DhcCudaStep {
  int first_use, n_uses; /* given; in the table of uses */
  bool follows;          /* given: it goes on with what the one before has begun, in its lane */
  bool ranks;            /* given: something that ranks do together */
  int lane;
  int after[DHC_CUDA_ALL_LANES]; /* by other lane: the command that it waits for, and with it all before that one there; -1 */
  bool signals;              /* some other lane waits for it */
  bool urgent;               /* the longest way goes through it, or nearly */
  bool early;                /* by dhc_cuda_find_early */
} DhcCudaStep;

/* Puts n commands into lanes. Each lane keeps their order; a command waits for those of other lanes that write what it
 * touches, or touch what it writes. It goes where it can begin first, by times guessed from what is touched; what the longest way does not
 * go through leaves lane 0. What can begin before the ranks have done the last thing together, but not before the first, is in the late lane:
 * others need not wait for that. */
dhc_status dhc_cuda_lanes(const DhcCudaUse *use, DhcCudaStep *step, int n) DHC_MUST_USE;
/* Which of n commands have nothing among their early uses that a command of the list writes (early.c). The table of uses is in the
 * order of the commands. */
dhc_status dhc_cuda_find_early(const DhcCudaUse *use, DhcCudaStep *step, int n) DHC_MUST_USE;

#endif
