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

/* An i32 as i64, of which the larger or smaller of two fits if the other does. */
static bool is_i32(const DhcLpInst *n) {
  return n->kind == DHC_LP_EW && n->op == DHC_OP_CAST && n->a[0]->type.dtype == DHC_I32;
}

static bool fits(const DhcLp *p, const DhcLpInst *n, const bool *narrow) {
  switch (n->kind) {
  case DHC_LP_CONST: return n->i == (int)n->i;
  case DHC_LP_DIM: return n->i < p->narrow_dims;
  case DHC_LP_TASKS:
  case DHC_LP_IOTA:
  case DHC_LP_THREAD: return true;
  case DHC_LP_FOR:
  case DHC_LP_UDIV:
  case DHC_LP_UREM: return narrow[n->a[0]->id] && narrow[n->a[1]->id];
  case DHC_LP_VAR:
  case DHC_LP_SPLAT: return narrow[n->a[0]->id];
  case DHC_LP_GET: return narrow[p->vars.at[n->i]->id];
  case DHC_LP_EW:
    if (n->op == DHC_OP_SELECT) return narrow[n->a[1]->id] && narrow[n->a[2]->id];
    if (n->op == DHC_OP_CAST || n->op == DHC_OP_FLOOR || n->op == DHC_OP_ROUND || n->op == DHC_OP_SHL) return false;
    for (int k = 0; k < 4; k++)
      if (n->a[k] && !narrow[n->a[k]->id] && !((n->op == DHC_OP_MIN || n->op == DHC_OP_MAX) && is_i32(n->a[k]))) return false;
    return true;
  default: return false;
  }
}

/* What is set to something wider is wide, and what is made of it: until nothing changes. */
bool *dhc_lp_narrow(const DhcLp *p, DhcArena *arena) {
  bool *narrow = DHC_NEW_N(arena, bool, p->code.n + 1), changed = p->narrow_dims > 0;
  for (int i = 0; i < p->code.n; i++) {
    const DhcLpInst *n = p->code.at[i];
    dhc_dtype t = n->kind == DHC_LP_VAR ? n->a[0]->type.dtype : n->type.dtype;
    bool pointer = n->kind == DHC_LP_VAR ? n->a[0]->type.ptr : n->type.ptr;
    narrow[i] = changed && t == DHC_I64 && !pointer;
  }
  while (changed) {
    changed = false;
    for (int i = 0; i < p->code.n; i++) {
      const DhcLpInst *n = p->code.at[i];
      int of = n->kind == DHC_LP_SET ? p->vars.at[n->i]->id : i;
      if (!narrow[of] || (n->kind == DHC_LP_SET ? narrow[n->a[0]->id] : fits(p, n, narrow))) continue;
      narrow[of] = false;
      changed = true;
    }
  }
  return narrow;
}
