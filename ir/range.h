/* Ranges instead of numbers: what an op's results can be, given what its operands can be. The
 * RANGE column of the op table.
 *
 * add, sub, mul, div and sqrt round correctly, hence monotonically, so that ends of ranges rounded
 * like the elements bound them; other functions get a margin far above what they may be off. */
#ifndef DHC_IR_RANGE_H
#define DHC_IR_RANGE_H

#include "ir/ir.h"

typedef struct DhcRange {
  double lo, hi;
} DhcRange;

/* The range from a to b or b to a, rounded to f32 or left in double. False: not finite. */
bool dhc_range_make(bool f32, double a, double b, DhcRange *out);
DhcRange dhc_range_hull(DhcRange a, DhcRange b);
/* Of an elementwise node of float results; x[k] that of operand k (bool: ignored). False: nothing can be said. */
bool dhc_range_of(const DhcNode *n, const DhcRange *x, bool f32, DhcRange *out);

#endif
