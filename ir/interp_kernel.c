/* Meaning of a fused kernel: that of its spec, on element arrays. */
#include <math.h>

#include "ir/interp_internal.h"
#include "ir/spec.h"

/* What a kernel finds in fresh memory. */
static void garbage(DhcArray *a) {
  for (int64_t e = 0; e < a->n; e++) {
    if (a->f)
      a->f[e] = NAN;
    else
      a->i[e] = a->dtype == DHC_BOOL ? 1 : 0x55;
  }
}

/* A packed copy of operand k, a dense matrix or several. */
static double *packed(DhcInterp *in, const DhcSpec *s, int k, const int64_t *dim, const double *from) {
  const DhcOperand *p = &s->operand[k];
  DhcTagShape x = dhc_tag_shape(s, k, dim);
  int64_t each = dhc_tag_elements(p->tag, p->width, x.rows, x.cols);
  double *to = DHC_NEW_N(in->arena, double, x.matrices * each + 1);
  for (int64_t m = 0; m < x.matrices; m++)
    for (int64_t r = 0; r < x.rows; r++)
      for (int64_t c = 0; c < x.cols; c++)
        to[m * each + dhc_tag_index(p->tag, p->width, x.rows, x.cols, r, c)] = from[(m * x.rows + r) * x.cols + c];
  return to;
}

bool dhc_interp_kernel(DhcInterp *in, const DhcNode *n) {
  const DhcSpec *s = dhc_attr(n, "spec")->spec;
  const DhcAttr *dims = dhc_attr(n, "dims"), *offsets = dhc_attr(n, "offsets");
  const DhcAttr *into = dhc_attr(n, "into");
  int n_in = dhc_spec_n_inputs(s);
  int64_t *dim = DHC_NEW_N(in->arena, int64_t, dims->dims.n + 1);
  int64_t *offset = DHC_NEW_N(in->arena, int64_t, offsets->dims.n + 1);
  if (!dhc_interp_attr_dims(in, n, "dims", dim) || !dhc_interp_attr_dims(in, n, "offsets", offset))
    return false;
  void **ptr = DHC_NEW_N(in->arena, void *, s->n_operands + 1);
  DhcArray **array = DHC_NEW_N(in->arena, DhcArray *, s->n_operands + 1);
  for (int k = 0; k < s->n_operands; k++) {
    int r = k - n_in;
    int whole = r < 0 ? -1 : dhc_kernel_within(n, r);
    DhcArray *a = r < 0 ? in->value[n->args[k]->id] : dhc_in_result(in, n, r);
    if (!a) return false;
    if (whole >= 0) a = array[n_in + whole]; /* that result's copy is made below */
    array[k] = a;
    if (whole < 0 && r >= 0 && into->ints.at[r] >= 0) { /* the result starts as a copy */
      const DhcArray *from = dhc_in_arg(in, n, (int)into->ints.at[r]);
      for (int64_t e = 0; e < a->n; e++) dhc_in_copy(a, e, from, e);
    } else if (whole < 0 && r >= 0 && in->runner) {
      garbage(a);
    }
    ptr[k] = a->f ? (void *)(a->f + offset[k]) : (void *)(a->i + offset[k]);
    if (dhc_tag_is_panel(s->operand[k].tag)) ptr[k] = packed(in, s, k, dim, ptr[k]);
  }
  bool ok = true;
  if (in->runner) {
    ok = in->runner->run(in->runner->ctx, s, array, offset, dim);
  } else {
    DhcArena scratch;
    dhc_arena_init(&scratch);
    dhc_spec_interp(s, ptr, dim, &scratch);
    dhc_arena_fini(&scratch);
  }
  for (int r = 0; r < n->n_results; r++) {
    DhcArray *a = in->value[n->results[r]->id];
    for (int64_t e = 0; dhc_kernel_within(n, r) >= 0 && e < a->n; e++) dhc_in_copy(a, e, array[n_in + r], e);
  }
  return ok;
}
