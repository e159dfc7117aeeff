/* Generated inputs: shapes from the entry at given sizes, values from a seed. */
#include "api/atlas/atlas.h"
#include "api/sweep/sweep.h"
#include "runtime/rng.h"

/* Integers are below this: the classes that the loss tells apart, which for tokens is the vocabulary. */
static int64_t classes_of(const DhcFunc *f) {
  int64_t n = 1;
  for (int i = 0; i < f->results.n; i++) {
    const DhcType *t = &f->results.at[i]->type;
    if (strcmp(f->result_names.at[i], "logits") || !t->rank) continue;
    if (!dhc_dim_is_const(t->dim[t->rank - 1], &n) || n < 1) n = 1;
  }
  return n;
}

static void fill(const dhc_tensor *t, uint32_t seed, uint32_t site, int64_t classes) {
  int64_t n = dhc_tensor_elements(t);
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits = dhc_rng_bits(seed, site, (uint64_t)i, 0);
    double v = dhc_dtype_is_float((dhc_dtype)t->dtype) ? (double)(bits >> 8) * 0x1p-23 - 1 : (double)(bits % (uint64_t)classes);
    if (t->dtype == DHC_BOOL) v = 0;
    dhc_tensor_convert((char *)t->data + i * dhc_tensor_bytes(t) / n, (int32_t)t->dtype, &v, DHC_F64, 1);
  }
}

/* The batch is the recipe's where nothing else is said. */
static dhc_status bind(dhc_model *m, const char *sizes, DhcArena *a, Sizes *out) {
  DHC_TRY(sizes_bind(m, "loss", sizes, false, a, out));
  if (!out->n || !out->assumed[0]) return dhc_status_ok();
  const char *with = dhc_arena_printf(a, "%s%s%s=%lld", sizes ? sizes : "", sizes && *sizes ? "," : "", out->names[0],
                                      (long long)dhc_model_recipe(m->m)->batch);
  return sizes_bind(m, "loss", with, false, a, out);
}

dhc_status sweep_inputs(dhc_model *m, const char *sizes, DhcArena *a, dhc_tensor *in, int *n_in, int64_t *classes) {
  Sizes s;
  int64_t all = 0;
  DHC_TRY(bind(m, sizes, a, &s));
  if (classes) *classes = classes_of(s.func);
  for (int i = 0; i < s.n_inputs; i++) {
    const DhcInputShape *shape = &s.input[i];
    dhc_tensor *x = &in[i];
    for (int k = 0; k < s.func->params.n; k++)
      if (s.func->param_info.at[k].name == shape->name)
        *x = (dhc_tensor){.name = shape->name, .dtype = s.func->params.at[k]->type.dtype, .rank = shape->rank};
    memcpy(x->dim, shape->dim, sizeof *shape->dim * (size_t)shape->rank);
    int64_t bytes = dhc_tensor_bytes(x);
    all = bytes > INT64_MAX - all ? INT64_MAX : all + bytes;
    if (all > dhc_budget_left(&m->s->budget))
      return dhc_status_make(DHC_E_INPUT, "the inputs of entry 'loss' need more memory than the limit leaves (--max-memory)");
    x->data = dhc_arena_alloc(a, (size_t)bytes + 64);
  }
  *n_in = s.n_inputs;
  return dhc_status_ok();
}

void sweep_fill(const dhc_tensor *in, int n_in, uint64_t seed, int64_t classes) {
  for (int i = 0; i < n_in; i++) fill(&in[i], (uint32_t)seed, (uint32_t)i, classes);
}
