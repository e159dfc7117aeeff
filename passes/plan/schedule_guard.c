/* Guards of size classes, word by word. */
#include "passes/plan/schedule_internal.h"

void dhc_size_put(DhcSizeGuard *g, int64_t word) {
  DHC_PUSH(g->arena, &g->code, word);
}

/* Product of the extents of some axes. */
void dhc_size_count(DhcSizeGuard *g, uint32_t axes) {
  dhc_size_put(g, DHC_DIM_CONST);
  dhc_size_put(g, 1);
  for (int a = 0; a < g->spec->n_axes; a++) {
    if (!(axes >> a & 1)) continue;
    int arg = dhc_spec_extent_arg(g->spec, a);
    dhc_size_put(g, arg < 0 ? DHC_DIM_CONST : DHC_DIM_SYM);
    dhc_size_put(g, arg < 0 ? g->spec->axis[a].extent : arg);
    dhc_size_put(g, DHC_DIM_MUL);
  }
}

void dhc_size_const(DhcSizeGuard *g, int64_t v) {
  dhc_size_put(g, DHC_DIM_CONST);
  dhc_size_put(g, v);
}

dhc_dimprog dhc_size_guard(const DhcSizeGuard *g) {
  return (dhc_dimprog){g->code.at, g->code.n};
}

/* lo <= product of extents (or, at_most, the other way round), joined by and with the guard so far. */
void dhc_size_bound(DhcSizeGuard *g, uint32_t axes, int64_t bound, bool at_most) {
  bool joined = g->code.n > 0;
  if (at_most) dhc_size_count(g, axes);
  dhc_size_const(g, bound);
  if (!at_most) dhc_size_count(g, axes);
  dhc_size_put(g, DHC_DIM_LE);
  if (joined) dhc_size_put(g, DHC_DIM_AND);
}

void dhc_size_arg(DhcSizeGuard *g, int arg) {
  dhc_size_put(g, DHC_DIM_SYM);
  dhc_size_put(g, arg);
}
