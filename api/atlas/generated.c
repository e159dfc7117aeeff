/* Inputs of an entry at given sizes, to be timed on. */
#include "api/atlas/atlas.h"
#include "runtime/rng.h"

static void fill(const dhc_tensor *t, uint32_t site) {
  int64_t n = dhc_tensor_elements(t), each = dhc_tensor_bytes(t) / (n ? n : 1);
  for (int64_t i = 0; i < n; i++) {
    double v = dhc_dtype_is_float((dhc_dtype)t->dtype) ? (double)(dhc_rng_bits(1, site, (uint64_t)i, 0) >> 8) * 0x1p-23 - 1 : 0;
    dhc_tensor_convert((char *)t->data + i * each, (int32_t)t->dtype, &v, DHC_F64, 1);
  }
}

dhc_status generate_inputs(dhc_model *m, const char *entry, const char *sizes, DhcArena *a, Generated *out) {
  Sizes s;
  DHC_TRY(sizes_bind(m, entry, sizes, false, a, &s));
  *out = (Generated){.n = s.n_inputs};
  for (int i = 0; i < s.n_inputs; i++) {
    const DhcInputShape *shape = &s.input[i];
    dhc_tensor *to = &out->t[i];
    for (int k = 0; k < s.func->params.n; k++)
      if (s.func->param_info.at[k].name == shape->name)
        *to = (dhc_tensor){.name = shape->name, .dtype = s.func->params.at[k]->type.dtype, .rank = shape->rank};
    memcpy(to->dim, shape->dim, sizeof *shape->dim * (size_t)shape->rank);
    int64_t bytes = dhc_tensor_bytes(to);
    if (bytes > dhc_budget_left(&m->s->budget)) return dhc_status_make(DHC_E_INPUT, "input '%s' needs more memory than the limit leaves (--max-memory)", to->name);
    to->data = dhc_arena_alloc(a, (size_t)bytes + 64);
    fill(to, (uint32_t)i);
  }
  return dhc_status_ok();
}
