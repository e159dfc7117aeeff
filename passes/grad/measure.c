/* The entry that looks at a flat range of weights or optimiser state: how large its elements are, and
 * whether all are finite. Results: "lo", "hi" (least and largest, of no meaning where some element is not
 * finite), "worst" (f32: 1 where some is not, else 0), "at" (i64: index of the first such). */
#include "passes/passes.h"

DhcFunc *dhc_measure_entry(DhcModule *m, int64_t n) {
  static const int64_t axis = 0;
  DhcModule *own = dhc_module_new(m->arena, m->strings, m->diags);
  DhcFunc *f = dhc_func_new(own, "measure", DHC_FUNC_ENTRY, (DhcSpan){0});
  DhcBuilder b = {.f = f};
  DhcType t = {.dtype = DHC_F32, .rank = 1};
  t.dim[0] = dhc_dim_const(own->dims, n);
  DhcValue *x = dhc_func_param(f, &t, (DhcParamInfo){DHC_NAME_WEIGHTS, DHC_ROLE_FLAT, -1}, (DhcSpan){0});
  DhcValue *bad = dhc_b_select(&b, dhc_b_unary(&b, DHC_OP_IS_FINITE, x), dhc_b_scalar(&b, DHC_F32, 0), dhc_b_scalar(&b, DHC_F32, 1));
  dhc_func_result(f, dhc_b_reduce(&b, DHC_OP_REDUCE_MIN, x, &axis, 1, false), "lo");
  dhc_func_result(f, dhc_b_reduce(&b, DHC_OP_REDUCE_MAX, x, &axis, 1, false), "hi");
  dhc_func_result(f, dhc_b_reduce(&b, DHC_OP_REDUCE_MAX, bad, &axis, 1, false), "worst");
  const DhcAttr along = dhc_attr_int(0);
  dhc_func_result(f, dhc_build1(&b, DHC_OP_ARGMAX, &bad, 1, &along, 1), "at");
  return f;
}
