/* What the parts of the schedules share: guards, and the classes of contractions on a GPU (schedule_tiles.c). */
#ifndef DHC_PASSES_SCHEDULE_INTERNAL_H
#define DHC_PASSES_SCHEDULE_INTERNAL_H

#include "passes/plan/schedule.h"

/* schedule_guard.c: a guard in the making; spec and arena are borrowed. */
typedef struct DhcSizeGuard {
  DhcArena *arena;
  const DhcSpec *spec;
  DHC_VEC(int64_t) code;
} DhcSizeGuard;

void dhc_size_put(DhcSizeGuard *g, int64_t word);
void dhc_size_const(DhcSizeGuard *g, int64_t v);
void dhc_size_arg(DhcSizeGuard *g, int arg);
/* Product of the extents of some axes. */
void dhc_size_count(DhcSizeGuard *g, uint32_t axes);
/* lo <= product of extents (or, at_most, the other way round), joined by and with the guard so far. */
void dhc_size_bound(DhcSizeGuard *g, uint32_t axes, int64_t bound, bool at_most);
dhc_dimprog dhc_size_guard(const DhcSizeGuard *g);

/* schedule.c: does it fold places of the largest? */
bool dhc_schedule_has_argmax(const DhcSpec *s);

/* Classes of contractions and convolutions on a GPU; how many. */
int dhc_schedule_tiles(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]);

#endif
