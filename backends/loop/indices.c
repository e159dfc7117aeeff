/* Which values of a program are sizes and places. */
#include "backends/loop/loop.h"

bool *dhc_lp_indices(const DhcLp *p, DhcArena *arena) {
  bool *index = DHC_NEW_N(arena, bool, p->code.n + 1);
  for (int i = 0; i < p->code.n; i++) {
    const DhcLpInst *n = p->code.at[i];
    if (n->type.dtype != DHC_I64 || n->type.ptr) continue;
    switch (n->kind) {
    case DHC_LP_CONST: index[i] = n->i == (int)n->i; break;
    case DHC_LP_DIM:
    case DHC_LP_TASKS:
    case DHC_LP_FOR:
    case DHC_LP_IOTA:
    case DHC_LP_THREAD:
    case DHC_LP_UDIV:
    case DHC_LP_UREM: index[i] = true; break;
    case DHC_LP_SPLAT: index[i] = index[n->a[0]->id]; break;
    case DHC_LP_GET: index[i] = index[p->vars.at[n->i]->a[0]->id]; break;
    case DHC_LP_EW: /* templates reckon with +, -, *, min, max and quotients; what else there is comes from a model */
      index[i] = n->op != DHC_OP_CAST && n->op != DHC_OP_SELECT && n->op != DHC_OP_FLOOR && n->op != DHC_OP_ROUND;
      for (int k = 0; k < 4; k++)
        if (n->a[k]) index[i] = index[i] && index[n->a[k]->id];
      break;
    default: break;
    }
  }
  return index;
}
