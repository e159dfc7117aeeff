/* The blocks of a sum, added as the tree of the sum rule (ir/sum.h) says: a stack buffer of
 * finished subtrees, their number, and the number of blocks so far. */
#include "backends/loop/tpl.h"

DhcTplBlocks dhc_tpl_blocks_begin(DhcLp *b, dhc_dtype t, int lanes) {
  DhcTplBlocks s = {.lanes = lanes};
  if (t == DHC_BF16) t = DHC_F32; /* as it is in a register */
  s.tree = dhc_lp_local(b, t, (int64_t)DHC_SUM_LEVELS * lanes);
  s.n = dhc_lp_var(b, dhc_lp_i64(b, 0));
  s.depth = dhc_lp_var(b, dhc_lp_i64(b, 0));
  return s;
}

/* Trailing zero bits of n > 0, below 2^DHC_SUM_LEVELS. */
static DhcLv trailing_zeros(DhcLp *b, DhcLv n) {
  DhcLv zeros = dhc_lp_i64(b, 0);
  for (int half = 32; half > 0; half /= 2) {
    DhcLv low = dhc_lp_and(b, n, dhc_lp_i64(b, ((int64_t)1 << half) - 1));
    DhcLv none = dhc_lp_eq(b, low, dhc_lp_i64(b, 0));
    zeros = dhc_lp_add(b, zeros, dhc_lp_select(b, none, dhc_lp_i64(b, half), dhc_lp_i64(b, 0)));
    n = dhc_lp_select(b, none, dhc_lp_ew2(b, DHC_OP_SHR, n, dhc_lp_i64(b, half)), n);
  }
  return zeros;
}

/* The sum of the topmost `count` subtrees and x, from the top down. */
static DhcLv add_top(DhcLp *b, const DhcTplBlocks *s, DhcLv depth, DhcLv count, DhcLv x) {
  DhcLpVar sum = dhc_lp_var(b, x);
  DhcLv top = dhc_lp_mulc(b, dhc_lp_addc(b, depth, -1), s->lanes);
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), count, 1);
  DhcLv at = dhc_lp_sub(b, top, dhc_lp_mulc(b, i, s->lanes));
  dhc_lp_set(b, sum, dhc_lp_add(b, dhc_lp_load(b, s->tree, at, s->lanes, 0), dhc_lp_get(b, sum)));
  dhc_lp_end(b);
  return dhc_lp_get(b, sum);
}

void dhc_tpl_blocks_add(DhcLp *b, const DhcTplBlocks *s, DhcLv block) {
  DhcLv n = dhc_lp_addc(b, dhc_lp_get(b, s->n), 1), depth = dhc_lp_get(b, s->depth);
  DhcLv merged = trailing_zeros(b, n);
  DhcLv sum = add_top(b, s, depth, merged, block);
  depth = dhc_lp_sub(b, depth, merged);
  dhc_lp_store(b, s->tree, dhc_lp_mulc(b, depth, s->lanes), sum, 0);
  dhc_lp_set(b, s->n, n);
  dhc_lp_set(b, s->depth, dhc_lp_addc(b, depth, 1));
}

DhcLv dhc_tpl_blocks_end(DhcLp *b, const DhcTplBlocks *s, DhcLv last) {
  DhcLv depth = dhc_lp_get(b, s->depth);
  return add_top(b, s, depth, depth, last);
}
