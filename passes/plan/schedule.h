/* Which size classes a spec gets on a target, and the tile vector of each. Pure: the same
 * spec and target give the same schedules, which are part of the kernel's key. */
#ifndef DHC_PASSES_SCHEDULE_H
#define DHC_PASSES_SCHEDULE_H

#include "ir/spec.h"

/* Writes 1 to DHC_MAX_CLASSES classes to out and returns how many; class i applies where its guard (over
 * dim[]) holds, the last one everywhere. Memory for guards is arena's. */
int dhc_schedule_choose(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]);

/* The numbers that x leaves 0 become the target's: for schedules given by hand. */
void dhc_schedule_complete(const DhcSpec *s, const DhcTargetFacts *t, DhcSchedule *x);

/* Columns of the "dot" template's tile on a target, for each of n_folds (1 or 2) contractions:
 * the width of panels that need no masks. */
int dhc_schedule_panel_width(const DhcTargetFacts *t, int n_folds);

/* Schedules that may stand in the place of one that dhc_schedule_choose gave for s, that one first; how many, at most
 * DHC_MAX_CANDIDATES. They differ in speed alone: operands, guard and every bit of the results stay (tests/plan/test_tune.c). */
enum { DHC_MAX_CANDIDATES = 8 };
int dhc_schedule_candidates(const DhcSpec *s, const DhcTargetFacts *t, const DhcSchedule *usual, DhcSchedule out[DHC_MAX_CANDIDATES]);

#endif
