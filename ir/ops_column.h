/* Rows of a table by op that holds columns of ir/ops.def: DHC_N_OPS + 1 of them, the last one of no op. A row is a struct
 * with a member `op`; what else it holds the includer's macros set, each a designated initializer:
 *
 *   static const struct { DhcOp op; Rule rule; } table[DHC_N_OPS + 1] = {
 *   #define STEPS(name) .rule = steps_##name,
 *   #include "ir/ops_column.h"
 *   };
 *
 * An op without that column has its `op` alone, the rest is zero. */
[DHC_N_OPS] = {
  .op = DHC_N_OPS,
#define OP(id, ...) \
  },                \
  [DHC_OP_##id] = { \
    .op = DHC_OP_##id,
#include "ir/ops.def"
}
