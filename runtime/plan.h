/* Dim programs and plans (dhc/abi.h) at run time. Binding a plan to symbol
 * values checks its guards and evaluates everything once: buffer offsets, segment
 * sizes, operands, kernel arguments, size classes, task counts. Running a bound
 * plan is then a loop over calls that allocates nothing and cannot fail. */
#ifndef DHC_RUNTIME_PLAN_H
#define DHC_RUNTIME_PLAN_H

#include <stdint.h>

#include "dhc/abi.h"
#include "runtime/device.h"
#include "runtime/status.h"

/* Evaluates prog over env[0..n_env). An absent program gives `absent`. False on
 * overflow of int64, division by zero, a bad code word or a stack deeper than
 * 64: then *out is untouched. */
bool dhc_dimprog_eval(dhc_dimprog prog, const int64_t *env, int32_t n_env, int64_t absent,
                      int64_t *out);

typedef struct DhcBound DhcBound;

/* kernels[i] is what items call kernel i, plan->n_kernels of them, linked (fn of
 * the class that is selected must not be NULL). symbols[i] is the value of
 * plan->symbols[i], at least 1. workers >= 1: the largest number of workers a
 * device given to dhc_bound_run may have. The bound plan keeps pointers to
 * plan and kernels; symbols are copied.
 * Errors: DHC_E_INPUT with the guard's message if a guard fails or sizes do not
 * fit in 63 bits; DHC_E_USAGE if the plan is malformed (a bug of its maker),
 * naming the item; DHC_E_ENVIRONMENT out of memory. */
dhc_status dhc_plan_bind(const dhc_plan *plan, const dhc_kernel *const *kernels,
                         const int64_t *symbols, int workers, DhcBound **out) DHC_MUST_USE;
/* The same, with buffer i at byte place[i] of its segment where that is not negative. */
dhc_status dhc_plan_bind_at(const dhc_plan *plan, const dhc_kernel *const *kernels, const int64_t *symbols, int workers,
                            const int64_t *place, DhcBound **out) DHC_MUST_USE;
void dhc_bound_free(DhcBound *bound);
/* Buffer i, and whatever shares its memory, lies from here on at its offset from base[number[i]] where that is not
 * negative: base then has more elements than segments. */
void dhc_bound_lend(DhcBound *bound, const int32_t *number);

/* Calls of a list may run side by side in so many lanes (DhcDeviceInfo.lanes). */
void dhc_bound_lanes(DhcBound *bound, int lanes);

/* Bytes an segment needs for this binding, a multiple of 64, or 0. */
int64_t dhc_bound_segment_bytes(const DhcBound *bound, int segment);
/* Bytes of scratch for all workers together and of the memory that tasks of a call share, a
 * multiple of 64, or 0. */
int64_t dhc_bound_scratch_bytes(const DhcBound *bound);

/* Where a buffer lies: byte offset in its segment (plan->buffers[i].segment), and
 * its size. */
int64_t dhc_bound_buffer_offset(const DhcBound *bound, int32_t buffer);
int64_t dhc_bound_buffer_bytes(const DhcBound *bound, int32_t buffer);
/* What an item came to (for profiles and tests). CALL: tasks and the index of
 * the selected size class; other kinds give 0 and -1. */
int64_t dhc_bound_item_tasks(const DhcBound *bound, int32_t item);
int32_t dhc_bound_item_class(const DhcBound *bound, int32_t item);
/* How many times an item runs in one run of the plan. */
int64_t dhc_bound_item_runs(const DhcBound *bound, int32_t item);
/* The item's dims as evaluated, n_dims of them; NULL where it has none. */
const intptr_t *dhc_bound_item_dims(const DhcBound *bound, int32_t item);

/* Called for every item that ran (not for LOOP itself), in the calling thread: after it, with CLOCK_MONOTONIC; where the
 * device takes the time itself (DhcDeviceOps.time), when all have run, with begin_ns 0. */
typedef struct DhcItemHook {
  void *ctx;
  void (*item)(void *ctx, int32_t item, int64_t begin_ns, int64_t end_ns);
} DhcItemHook;

/* Runs all items once. base[a] is an address of `device` with at least
 * dhc_bound_segment_bytes(bound, a) bytes (may be 0 where that is 0); scratch
 * likewise. The device may not have more workers than were bound for. Reentrant: runs
 * of one bound plan over disjoint segments and scratch may overlap in time, each on a device of its
 * own. hook may be NULL; with it the device is waited for after every item, or takes the times. */
dhc_status dhc_bound_run(const DhcBound *bound, DhcDevice *device, const DhcDevicePtr base[DHC_N_SEGMENTS], DhcDevicePtr scratch,
                         const DhcItemHook *hook) DHC_MUST_USE;
/* The same run as a list that the device has made ready (DhcDeviceOps.prepare): *out goes to
 * replay, in the end to forget. NULL: the device takes commands one by one. */
dhc_status dhc_bound_prepare(const DhcBound *bound, DhcDevice *device, const DhcDevicePtr base[DHC_N_SEGMENTS], DhcDevicePtr scratch,
                             void **out) DHC_MUST_USE;

#endif
