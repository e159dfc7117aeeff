/* Views over memory: what a chain of view nodes means for the buffer at its end. */
#ifndef DHC_PASSES_VIEWS_H
#define DHC_PASSES_VIEWS_H

#include "ir/ir.h"

/* Value at the end of v's view nodes; v itself if it is none. */
DhcValue *dhc_view_base(DhcValue *v);
/* True if v is a row-major range of its base: element i of v is element i + *offset. */
bool dhc_view_range(DhcDims *dims, const DhcFacts *facts, DhcValue *v, const DhcDim **offset);

#endif
