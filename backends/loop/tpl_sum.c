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

/* The subtrees that are merged are as many as the number of blocks so far has ones at its end, at most all. */
void dhc_tpl_blocks_add(DhcLp *b, const DhcTplBlocks *s, DhcLv block) {
  DhcLv n = dhc_lp_get(b, s->n), zero = dhc_lp_i64(b, 0), one = dhc_lp_i64(b, 1);
  DhcLpVar sum = dhc_lp_var(b, block), left = dhc_lp_var(b, n);
  dhc_lp_for(b, zero, dhc_lp_min(b, dhc_lp_get(b, s->depth), dhc_lp_i64(b, DHC_SUM_LEVELS)), 1); /* that it ends can be seen */
  dhc_lp_if(b, dhc_lp_eq(b, dhc_lp_and(b, dhc_lp_get(b, left), one), one));
  DhcLv top = dhc_lp_addc(b, dhc_lp_get(b, s->depth), -1);
  DhcLv x = dhc_lp_load(b, s->tree, dhc_lp_mulc(b, top, s->lanes), s->lanes, 0);
  dhc_lp_set(b, sum, dhc_lp_add(b, x, dhc_lp_get(b, sum)));
  dhc_lp_set(b, left, dhc_lp_ew2(b, DHC_OP_SHR, dhc_lp_get(b, left), one));
  dhc_lp_set(b, s->depth, top);
  dhc_lp_end(b);
  dhc_lp_end(b);
  DhcLv depth = dhc_lp_get(b, s->depth);
  dhc_lp_store(b, s->tree, dhc_lp_mulc(b, depth, s->lanes), dhc_lp_get(b, sum), 0);
  dhc_lp_set(b, s->n, dhc_lp_add(b, n, one));
  dhc_lp_set(b, s->depth, dhc_lp_add(b, depth, one));
}

/* From the top down. */
DhcLv dhc_tpl_blocks_end(DhcLp *b, const DhcTplBlocks *s, DhcLv last) {
  DhcLv depth = dhc_lp_get(b, s->depth), top = dhc_lp_addc(b, depth, -1);
  DhcLpVar sum = dhc_lp_var(b, last);
  DhcLv i = dhc_lp_for(b, dhc_lp_i64(b, 0), depth, 1);
  DhcLv x = dhc_lp_load(b, s->tree, dhc_lp_mulc(b, dhc_lp_sub(b, top, i), s->lanes), s->lanes, 0);
  dhc_lp_set(b, sum, dhc_lp_add(b, x, dhc_lp_get(b, sum)));
  dhc_lp_end(b);
  return dhc_lp_get(b, sum);
}
