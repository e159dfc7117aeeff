/* Pass "ready": rewrites that let more ops share a kernel, always by definition, so that no bit changes. */
#include "passes/clean/depthwise.h"
#include "passes/fuse/fuse_internal.h"

/* Over two spatial axes and more, channels first: what such a chain reads lies anyhow, and every tap has its guards. */
static bool in_planes(const DhcNode *n, const DhcPassCtx *px) {
  return !px->repeats && n->results[0]->type.rank > 3 && n->args[0]->def->op != DHC_OP_TRANSPOSE;
}

/* Depthwise convolutions of few taps as chains of elementwise ops: they join what stands around them, without a copy for a
 * layout of their own. */
static bool write_taps(DhcFunc *f, DhcPassCtx *px) {
  for (DhcNode *n = f->first, *next; n; n = next) {
    next = n->next;
    if (!dhc_depthwise_few(n) || in_planes(n, px) || !dhc_pass_may_change(px)) continue;
    DhcBuilder b = {.f = f, .before = n, .span = n->span, .origin = n->origin};
    DhcValue *y = dhc_depthwise_chain(&b, n);
    if (!y) return false;
    dhc_replace_uses(n->results[0], y);
    dhc_node_remove(n);
  }
  return true;
}

/* requires: LOWERED. establishes: -. breaks: -. */
bool dhc_pass_ready(DhcModule *m, DhcPassCtx *px) {
  bool ok = true;
  for (int i = 0; ok && i < m->funcs.n; i++) {
    DhcFunc *f = m->funcs.at[i];
    if (f->kind == DHC_FUNC_INIT) continue; /* the interpreter runs those */
    ok = write_taps(f, px) && dhc_fu_cut_pairs(f, px);
    if (ok) dhc_fu_order_scans(f, px);
  }
  return ok;
}
