/* Loop programs as they are, statement by statement: slow, for tests. Every access is checked against the
 * memory it belongs to, a value that was never stored is NaN or junk, and the threads of a block run one
 * after the other between barriers, in an order of the caller's, so that what depends on the order shows. Copies
 * arrive at once in rising order, in the others not before they are waited for. */
#ifndef DHC_BACKENDS_LOOP_INTERP_H
#define DHC_BACKENDS_LOOP_INTERP_H

#include "backends/loop/loop.h"

typedef struct DhcLpMemory {
  void *at;       /* the pointer's element 0 */
  void *lo, *hi;  /* bytes [lo, hi) may be touched */
} DhcLpMemory;

typedef enum DhcLpOrder { DHC_LP_RISING, DHC_LP_FALLING, DHC_LP_MIXED, DHC_LP_N_ORDERS } DhcLpOrder;

/* Tasks [task0, task1). ptr: the operands, and what tasks share behind them. False: a fault of the program's, in
 * *why (arena): an access outside, a barrier that not all threads reach. */
bool dhc_lp_interp(const DhcLp *p, const DhcLpMemory *ptr, const int64_t *dim, int64_t task0, int64_t task1,
                   DhcLpOrder order, DhcArena *arena, const char **why);

#endif
