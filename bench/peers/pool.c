/* dhcc's thread pool for objects that Python calls: any pool of the caller's would do. */
#include "runtime/pool.h"

/* What an object takes as exec; it lives as long as the process. NULL: no threads to be had. */
__attribute__((visibility("default"))) const dhc_exec *bench_pool_exec(int threads);

const dhc_exec *bench_pool_exec(int threads) {
  DhcPool *pool;
  return dhc_pool_new(threads, &pool).code == DHC_OK ? dhc_pool_exec(pool) : NULL;
}
