/* Declares the interpreter's function of every op, from the table itself. */
#ifndef DHC_IR_INTERP_OPS_H
#define DHC_IR_INTERP_OPS_H

#include "ir/ir.h"

/* An op without a meaning of its own has NULL in the column; while the table is read
 * that names a function that nobody defines or calls. */
#pragma push_macro("NULL")
#undef NULL
#define NULL dhc_interp_nothing
#define OP(id, name, n_args, n_results, cls, attrs, shape, interp, flops) \
  bool interp(struct DhcInterp *in, const DhcNode *n);
#include "ir/ops.def"
#pragma pop_macro("NULL")

#endif
