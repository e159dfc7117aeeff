/* Generated inputs: shapes from the entry at given sizes, values from a seed. */
#include "api/atlas/atlas.h"
#include "api/sweep/sweep.h"

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
  DHC_TRY(bind(m, sizes, a, &s));
  if (classes) *classes = classes_of(s.func);
  *n_in = s.n_inputs;
  return generate_zeros(m, "loss", &s, a, in);
}
