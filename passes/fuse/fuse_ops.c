/* What fusion does with each op, from the op table. */
#include "passes/fuse/fuse_internal.h"

static const FuOp table[DHC_N_OPS + 1] = {
#define FUSE(how, emitter) .join = dhc_fu_join_##how, .emit = dhc_fu_emit_##emitter,
#define IN_MEMORY(set) .in_memory = set,
#define STARTS(as) .starts = FU_STARTS_##as,
#include "ir/ops_column.h"
};

const FuOp *dhc_fu_op(DhcOp op) {
  return &table[op];
}
