/* Meaning of a fused kernel: that of its spec, on element arrays. */
#include "ir/interp_internal.h"
#include "ir/spec.h"

/* The spec interpreter may be absent from a build of the graph IR alone. */
#pragma weak dhc_spec_interp

bool dhc_interp_kernel(DhcInterp *in, const DhcNode *n) {
  const DhcSpec *s = dhc_attr(n, "spec")->spec;
  const DhcAttr *dims = dhc_attr(n, "dims"), *offsets = dhc_attr(n, "offsets");
  if (!dhc_spec_interp) return dhc_interp_error(in, n, "kernel: this build runs no specs");
  if (n->n_args + n->n_results != s->n_operands || offsets->dims.n != s->n_operands)
    return dhc_interp_error(in, n, "kernel: %d operands for a spec of %d",
                            n->n_args + n->n_results, s->n_operands);
  int64_t *dim = DHC_NEW_N(in->arena, int64_t, dims->dims.n + 1);
  int64_t *offset = DHC_NEW_N(in->arena, int64_t, offsets->dims.n + 1);
  if (!dhc_interp_attr_dims(in, n, "dims", dim) || !dhc_interp_attr_dims(in, n, "offsets", offset))
    return false;
  void **ptr = DHC_NEW_N(in->arena, void *, s->n_operands + 1);
  for (int k = 0; k < s->n_operands; k++) {
    bool is_input = k < n->n_args;
    const DhcArray *a = is_input ? dhc_in_arg(in, n, k) : dhc_in_result(in, n, k - n->n_args);
    if (!a) return false;
    ptr[k] = a->f ? (void *)(a->f + offset[k]) : (void *)(a->i + offset[k]);
  }
  DhcArena scratch;
  dhc_arena_init(&scratch);
  scratch.oom = in->arena->oom;
  dhc_spec_interp(s, ptr, dim, &scratch);
  dhc_arena_fini(&scratch);
  return true;
}
