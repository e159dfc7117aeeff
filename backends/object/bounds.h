/* How often loops of an object run at most, and what its functions take of the stack: numbers for who has to prove an upper
 * bound of time or memory. And whether how much is done hangs on values in memory (--timing bounded). */
#ifndef DHC_BACKENDS_OBJECT_BOUNDS_H
#define DHC_BACKENDS_OBJECT_BOUNDS_H

#include "backends/object/object.h"

/* What an integer can be, at the sizes of one call. */
typedef struct DhcObjRange {
  int64_t lo, hi; /* INT64_MIN, INT64_MAX: no bound is known on that side */
  bool values;    /* hangs on what lies in memory */
} DhcObjRange;

typedef struct DhcObjLoop {
  int depth;          /* loops around it, in its own function */
  int64_t iterations; /* at most, each time it is entered; -1: sizes or values that are open decide */
  bool values;        /* values in memory decide how many there are, below that */
} DhcObjLoop;

typedef struct DhcObjLoops {
  DHC_VEC(DhcObjLoop) all; /* in the order of the program */
  bool branches;           /* some `if` hangs on values in memory */
} DhcObjLoops;

/* Of a kernel, with dim[i] as given and tasks from 0 to n_tasks - 1. */
void dhc_object_kernel_loops(const DhcLp *p, const DhcObjRange *dim, DhcObjRange n_tasks, DhcArena *arena, DhcObjLoops *out);

/* Of function number `function` of the object: at most, over all its calls. */
void dhc_object_function_loops(const DhcObject *o, int function, DhcArena *arena, DhcObjLoops *out);

/* Of an expression; INT64_MAX: sizes that are not fixed decide. */
int64_t dhc_object_at_most(const DhcObjX *x);

/* The document of --bounds (bounds_text.c). */
void dhc_object_bounds(const DhcObject *o, const char *target, DhcText *to);

/* NULL, or (arena) which entry does how much by what values, and where. */
const char *dhc_object_unbounded(const DhcObject *o, DhcArena *arena);

#endif
