/* Declares the rule functions that the op table names, from the table itself: shape
 * rules and costs, and the interpreter's functions. A row without a rule has NULL in the
 * column; while the table is read that names a function that nobody defines or calls. */
#ifndef DHC_IR_OPS_RULES_H
#define DHC_IR_OPS_RULES_H

#include "ir/ir.h"

#pragma push_macro("NULL")

#undef NULL
#define NULL dhc_shape_nothing
#define OP(id, name, n_args, n_results, cls, attrs, shape, interp, flops) \
  bool shape(DhcShapeCtx *cx);
#include "ir/ops.def"

#undef NULL
#define NULL dhc_interp_nothing
#define OP(id, name, n_args, n_results, cls, attrs, shape, interp, flops) \
  bool interp(struct DhcInterp *in, const DhcNode *n);
#include "ir/ops.def"

#undef NULL /* every row has a cost: NULL is no name for a function */
#define NULL a cost is missing
#define OP(id, name, n_args, n_results, cls, attrs, shape, interp, flops) \
  const DhcDim *flops(DhcModule *m, const DhcNode *n);
#include "ir/ops.def"

#undef NULL
#define NULL dhc_axes_nothing
#define AXES(rule) bool dhc_axes_##rule(DhcDims *cx, const DhcNode *n, int k, DhcAxisMap *map);
#include "ir/ops.def"

#define RANGE(rule) bool dhc_range_##rule(const DhcNode *n, const struct DhcRange *x, bool f32, struct DhcRange *out);
#include "ir/ops.def"

#pragma pop_macro("NULL")

#endif
