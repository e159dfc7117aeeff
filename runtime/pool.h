/* The tool's thread pool behind dhc_exec. Work is cut into chunks that threads
 * take in order from one atomic counter, so uneven tasks balance; which thread
 * runs a task never shows in results (see dhc_kernel_fn). */
#ifndef DHC_RUNTIME_POOL_H
#define DHC_RUNTIME_POOL_H

#include "dhc/abi.h"
#include "runtime/status.h"

typedef struct DhcPool DhcPool;

/* n_threads counts the calling thread; 0 means as many as this process may run
 * on. At most 1024. One thread makes a pool that starts none. */
dhc_status dhc_pool_new(int n_threads, DhcPool **out) DHC_MUST_USE;
/* Waits for the threads to end. No call of its executor may be under way. */
void dhc_pool_free(DhcPool *pool);
int dhc_pool_threads(const DhcPool *pool);
/* Valid as long as the pool; workers = its threads. A call from inside a task
 * runs serially, as the calling worker's number. Calls from several outside
 * threads take turns. */
const dhc_exec *dhc_pool_exec(const DhcPool *pool);

/* How many CPUs this process may run on (affinity mask), at least 1. */
int dhc_pool_cpus(void);

#endif
