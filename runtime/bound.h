/* A bound plan from inside: shared by binding (bind.c) and running (run.c). */
#ifndef DHC_RUNTIME_BOUND_H
#define DHC_RUNTIME_BOUND_H

#include "runtime/plan.h"

enum { DHC_MAX_ITEM_REFS = 1 << 16 };

typedef struct BoundRef {
  int32_t segment;
  bool steps; /* some step is not 0 */
  int64_t offset;
  int64_t begin, end; /* of its buffer, in the segment */
  int64_t low, high;  /* of what is touched there */
  int64_t step[DHC_MAX_LOOP_DEPTH];
} BoundRef;

typedef struct BoundItem {
  int32_t kind; /* dhc_item_kind */
  int32_t n_refs, n_dims;
  int32_t size_class; /* CALL, else -1 */
  int32_t n_body;     /* LOOP */
  uint32_t pattern;   /* FILL */
  const BoundRef *refs;
  const intptr_t *dims;
  dhc_kernel_fn fn;
  int64_t scratch, shared; /* CALL: bytes it asked for */
  int64_t n_tasks;                   /* CALL */
  int64_t ends[DHC_MAX_PHASES]; /* CALL: of its phases, in tasks; the last is n_tasks */
  int64_t bytes;   /* COPY, FILL */
  int64_t count;   /* LOOP */
  int64_t runs;    /* product of the counts around it */
} BoundItem;

typedef struct BoundBuffer {
  int64_t offset, bytes;
} BoundBuffer;

struct DhcBound {
  const dhc_plan *plan;
  const dhc_kernel *const *kernels;
  const int64_t *place; /* while it is being bound: see dhc_plan_bind_at */
  int workers, lanes;
  int32_t most_refs; /* of an item */
  int64_t worker_scratch; /* bytes a worker, multiple of 64 */
  int64_t shared;         /* bytes behind the workers' scratch, for tasks of one call to share; of each lane */
  int64_t segment_bytes[DHC_N_SEGMENTS];
  int64_t *symbols;
  BoundBuffer *buffers;
  BoundItem *items;
  BoundRef *refs;  /* of all items */
  intptr_t *dims;  /* of all items */
};

#endif
