/* Which weights an object may keep in fewer bits (--quantize): what the model says alone, so that it is the same whichever entries are
 * made of it, for which sizes and machine, and however they are computed. */
#ifndef DHC_PASSES_NARROW_H
#define DHC_PASSES_NARROW_H

#include "ir/ir.h"

typedef struct DhcNarrow {
  const char *name;
  int row_axes; /* a row, which has one scale, is what these first axes number */
} DhcNarrow;

typedef struct DhcNarrows {
  DHC_VEC(DhcNarrow) all;
} DhcNarrows;

/* Adds the weights that a contraction sums along their last axis, that a convolution without groups reads, or whose rows are gathered:
 * by the module's ops as they are before fusion. Names are the module's. */
void dhc_narrow_find(const DhcModule *m, DhcArena *arena, DhcNarrows *to);
/* 0: it stays f32. */
int dhc_narrow_row_axes(const DhcNarrows *all, const char *name);
/* The function that node n runs, with argument k its parameter k; *first: arguments below it are not passed as they are. NULL: none. */
const DhcFunc *dhc_narrow_callee(const DhcNode *n, int *first);

#endif
