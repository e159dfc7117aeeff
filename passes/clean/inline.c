/* Calls of trivial functions are replaced by their bodies. Trivial means: not a composite,
 * at most DHC_INLINE_NODES nodes, none of them an anchor of a kernel (contraction,
 * convolution, scan, reduction …) or a call. Such a body is all prologue or epilogue of
 * something in the caller, and a unit boundary in memory would cost more than it shares.
 * Everything else stays a call: units are what kernels are shared by. */
#include "passes/passes.h"

enum { DHC_INLINE_NODES = 6 };

static bool is_cheap(const DhcNode *n) {
  switch (dhc_op_info(n->op)->cls) {
    case DHC_CLASS_ELEMENTWISE:
    case DHC_CLASS_CREATE:
    case DHC_CLASS_VIEW:
      return true;
    default:
      return false;
  }
}

static bool is_trivial(const DhcFunc *f) {
  if (f->kind != DHC_FUNC_UNIT && f->kind != DHC_FUNC_BODY) return false;
  if (f->kernel || f->vjp) return false;
  int n = 0;
  for (const DhcNode *k = f->first; k; k = k->next) {
    if (k->op == DHC_OP_PARAM) continue;
    if (!is_cheap(k) || ++n > DHC_INLINE_NODES) return false;
  }
  return true;
}

/* requires: UNFUSED. establishes: -. breaks: -. */
bool dhc_pass_inline(DhcModule *m, DhcPassCtx *px) {
  for (int i = 0; i < m->funcs.n; i++) {
    DhcFunc *f = m->funcs.at[i];
    for (DhcNode *n = f->first, *next; n; n = next) {
      next = n->next; /* what is put in place of a call holds no calls */
      if (n->op == DHC_OP_CALL && is_trivial(dhc_attr(n, "callee")->func) &&
          dhc_pass_may_change(px))
        dhc_inline_call(n);
    }
  }
  return true;
}
