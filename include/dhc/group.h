/* Several processes (ranks) that train one model, each on its part of every batch, on a device of its own: what dhc_train takes
 * as `group`. */
#ifndef DHC_GROUP_H
#define DHC_GROUP_H

#include "dhc/dhc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `batch` of dhc_train_options is that of all ranks together. Weights stay the same on all of them, to the bit. Rank 0 alone writes,
 * reports and validates; a folder goes on with any number of ranks. */
typedef struct DhcRanks dhc_group;
/* Makes n of them out of this process, before it has threads or has touched a device: they return with *out, it itself, when all have
 * ended, with NULL there and in *rc the exit status of what failed first. What ended them early is the status, one line that names
 * the rank, unless rank 0 has said it. timeout: seconds that others wait for a rank before all end; 0: 600. */
DHC_API dhc_status dhc_group_fork(int n, int timeout, dhc_group **out, int *rc) DHC_MUST_USE;
/* This process as one of those that torchrun, Open MPI, MPICH or Slurm have started, by what they put into the environment: rank,
 * number of ranks, and MASTER_ADDR and MASTER_PORT, where rank 0 is. *out NULL: it is the only one. */
DHC_API dhc_status dhc_group_from_environment(int timeout, dhc_group **out) DHC_MUST_USE;
DHC_API int dhc_group_rank(const dhc_group *g);
DHC_API int dhc_group_size(const dhc_group *g);
DHC_API int dhc_group_local(const dhc_group *g); /* number of the rank among those of its machine */
/* Whether this rank is the one to print what ended it. */
DHC_API bool dhc_group_speaks(const dhc_group *g);
DHC_API bool dhc_group_ended(const dhc_group *g); /* by another rank */
/* say: called with that line where the process has to end from outside its own work. */
DHC_API void dhc_group_last_words(dhc_group *g, void (*say)(void *ctx, const char *line), void *ctx);
/* st: how this rank's work has ended. */
DHC_API void dhc_group_close(dhc_group *g, const dhc_status *st);

#ifdef __cplusplus
}
#endif

#endif
