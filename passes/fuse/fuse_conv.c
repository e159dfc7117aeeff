/* Depthwise convolutions of few taps in terms of elementwise ops, before ops are put into
 * kernels: they then join what stands around them, without a copy for a layout of their own.
 * The chain is that of the definition, so every bit stays. */
#include "passes/clean/depthwise.h"
#include "passes/fuse/fuse_internal.h"

bool dhc_fu_lower_convs(DhcFunc *f) {
  for (DhcNode *n = f->first, *next; n; n = next) {
    next = n->next;
    if (!dhc_depthwise_few(n)) continue;
    DhcBuilder b = {.f = f, .before = n, .span = n->span, .origin = n->origin};
    DhcValue *y = dhc_depthwise_chain(&b, n);
    if (!y) return false;
    dhc_replace_uses(n->results[0], y);
    dhc_node_remove(n);
  }
  return true;
}
