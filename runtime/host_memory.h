/* Large blocks of the host's memory for a device, kept when they are given back, so that the next program finds
 * pages that are there. Used and kept together never take more than an eighth above what was once used at a
 * time: a request that no kept block serves lets as many go as that needs, the smallest first. */
#ifndef DHC_RUNTIME_HOST_MEMORY_H
#define DHC_RUNTIME_HOST_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

enum { DHC_HOST_LARGE = 4 << 20 }; /* bytes from which on a block is one of these */

typedef struct DhcHostBlock {
  void *at; /* aligned to 2 MiB */
  int64_t room; /* bytes */
  bool used;
  bool met; /* it has been given back once, or touched */
  struct DhcHostBlock *next;
} DhcHostBlock;

/* All zero: empty. */
typedef struct DhcHostMemory {
  DhcHostBlock *blocks;
  int64_t peak; /* bytes: the most that was used at a time */
} DhcHostMemory;

/* At least `bytes` bytes; NULL: there are none. *zero: all of them are. */
void *dhc_host_take(DhcHostMemory *m, int64_t bytes, bool *zero);
/* False: `at` is no block of these. */
bool dhc_host_give(DhcHostMemory *m, void *at);
/* True the first time it is asked about the block that begins at `at`: its pages are not there yet. */
bool dhc_host_is_new(DhcHostMemory *m, const void *at);
/* Bytes kept and not used. */
int64_t dhc_host_kept(const DhcHostMemory *m);
void dhc_host_drop(DhcHostMemory *m); /* what is kept goes back to the system */

#endif
