/* Inputs of an entry at given sizes, of data that nobody has. */
#include "api/atlas/atlas.h"
#include "runtime/rng.h"

static void fill(const dhc_tensor *t, uint32_t seed, uint32_t site, int64_t classes) {
  int64_t n = dhc_tensor_elements(t), each = dhc_tensor_bytes(t) / (n ? n : 1);
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits = dhc_rng_bits(seed, site, (uint64_t)i, 0);
    double v = dhc_dtype_is_float((dhc_dtype)t->dtype) ? (double)(bits >> 8) * 0x1p-23 - 1 : (double)(bits % (uint64_t)classes);
    if (t->dtype == DHC_BOOL) v = 0;
    dhc_tensor_convert((char *)t->data + i * each, (int32_t)t->dtype, &v, DHC_F64, 1);
  }
}

void generate_fill(const dhc_tensor *in, int n_in, uint64_t seed, int64_t classes) {
  for (int i = 0; i < n_in; i++) fill(&in[i], (uint32_t)seed, (uint32_t)i, classes);
}

dhc_status generate_zeros(dhc_model *m, const char *entry, const Sizes *s, DhcArena *a, dhc_tensor *in) {
  int64_t all = 0;
  for (int i = 0; i < s->n_inputs; i++) {
    const DhcInputShape *shape = &s->input[i];
    dhc_tensor *x = &in[i];
    for (int k = 0; k < s->func->params.n; k++)
      if (s->func->param_info.at[k].name == shape->name)
        *x = (dhc_tensor){.name = shape->name, .dtype = s->func->params.at[k]->type.dtype, .rank = shape->rank};
    memcpy(x->dim, shape->dim, sizeof *shape->dim * (size_t)shape->rank);
    int64_t bytes = dhc_tensor_bytes(x);
    all = bytes > INT64_MAX - all ? INT64_MAX : all + bytes;
    if (all > dhc_budget_left(&m->s->budget))
      return dhc_status_make(DHC_E_INPUT, "the inputs of entry '%s' need more memory than the limit leaves (--max-memory)", entry);
    x->data = dhc_arena_alloc(a, (size_t)bytes + 64);
  }
  return dhc_status_ok();
}

dhc_status generate_inputs(dhc_model *m, const char *entry, const char *sizes, DhcArena *a, Generated *out) {
  Sizes s;
  DHC_TRY(sizes_bind(m, entry, sizes, false, a, &s));
  *out = (Generated){.n = s.n_inputs};
  DHC_TRY(generate_zeros(m, entry, &s, a, out->t));
  generate_fill(out->t, out->n, 1, 1);
  return dhc_status_ok();
}
