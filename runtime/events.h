/* Scalars over steps as TensorBoard reads them: an event file is TFRecord frames (length, masked CRC-32C of it, bytes,
 * masked CRC-32C of them; little endian) around protocol buffers (tensorflow/core/util/event.proto). Every event is written
 * at once, so that a reader sees it and a kill loses at most a torn last one. */
#ifndef DHC_RUNTIME_EVENTS_H
#define DHC_RUNTIME_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/status.h"

typedef struct DhcEvents DhcEvents;

/* A new file in place of whatever lies there; its name must have "tfevents" in it. */
dhc_status dhc_events_open(const char *path, DhcEvents **out) DHC_MUST_USE;
/* The finite ones of n values, each under its tag, at a step and a time (seconds since 1970). */
dhc_status dhc_events_scalars(DhcEvents *e, int64_t step, double wall_time, const char *const *tags, const double *values, int n) DHC_MUST_USE;
void dhc_events_close(DhcEvents *e); /* NULL is allowed */

/* CRC-32C (Castagnoli), as RFC 3720 has it. */
uint32_t dhc_crc32c(const void *bytes, size_t n);

#endif
