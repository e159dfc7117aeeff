/* How much memory a session may take. Whoever needs much states what it is going to need,
 * before anything is allocated; what does not fit is refused in one line that names the largest
 * parts and the limit. Compiler structures and other small things are not counted. */
#ifndef DHC_RUNTIME_BUDGET_H
#define DHC_RUNTIME_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/status.h"

typedef enum DhcUse {
  DHC_USE_WEIGHTS,
  DHC_USE_PANELS,
  DHC_USE_GRADIENTS,
  DHC_USE_OPTIMISER,
  DHC_USE_STATE,
  DHC_USE_WORK,
  DHC_USE_IO,
  DHC_USE_SCRATCH,
  DHC_USE_DATA,
  DHC_USE_COPY,
  DHC_N_USES
} DhcUse;

/* One owner's part. */
typedef struct DhcCharge {
  int64_t bytes[DHC_N_USES];
} DhcCharge;

typedef struct DhcBudget {
  int64_t limit;
  bool given;     /* by the caller; else it is what the machine has */
  int64_t apart;  /* free in a device's own memory, where all but data and copies go; 0: that is the host's */
  DhcCharge used; /* by all owners */
} DhcBudget;

/* limit 0: what the machine has. */
void dhc_budget_init(DhcBudget *b, int64_t limit);
/* The owner's part becomes `want`. DHC_E_INPUT, "WHAT needs 1.2 GiB (workspace 1.0 GiB, weights
 * 200 MiB), limit is 1.0 GiB (--max-memory)", and nothing changes, where that is more than before
 * and too much. Of a device's own memory it is DHC_E_ENVIRONMENT, "GPU memory: WHAT needs 12.4 GiB (workspace ...), 9.8 GiB
 * are free; try a smaller --batch": others take part of it. A limit that was given holds for everything, what the machine
 * has for what lies in the host's memory. */
dhc_status dhc_budget_charge(DhcBudget *b, DhcCharge *owner, const DhcCharge *want, const char *what) DHC_MUST_USE;
void dhc_budget_release(DhcBudget *b, DhcCharge *owner);
int64_t dhc_budget_left(const DhcBudget *b); /* not negative */

/* Bytes that this process may have: the machine's memory, its resource limits, and the limits of
 * its control group and of those above it, of both versions. Files are looked for under `root`
 * ("": as they are). */
int64_t dhc_machine_memory(const char *root);

#endif
