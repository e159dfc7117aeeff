/* NaN in what an entry read or gave: which tensor, which element. */
#include <math.h>

#include "api/api.h"

static dhc_status check(const char *what, const char *name, const dhc_tensor *t) {
  if (!dhc_dtype_is_float(t->dtype)) return dhc_status_ok();
  DhcTensorView v = {.dtype = (int32_t)t->dtype, .data = t->data};
  int64_t n = dhc_tensor_elements(t);
  for (int64_t i = 0; i < n; i++)
    if (isnan(dhc_tensor_get(&v, i))) return dhc_status_make(DHC_E_NUMERIC, "%s '%s' is NaN at index %lld", what, name, (long long)i);
  return dhc_status_ok();
}

/* Infinity is a value like others where masks are: only NaN is none. */
dhc_status weights_check(dhc_program *p) {
  const dhc_layout *l = dhc_prog_layout(p->run);
  for (int i = 0; i < l->n_slots; i++) {
    const dhc_slot *s = &l->slots[i];
    dhc_tensor w;
    if (!s->n || (s->role != DHC_IMAGE_WEIGHT && s->role != DHC_IMAGE_BUFFER)) continue;
    if (dhc_program_get(p, s->name, &w).code == DHC_OK) DHC_TRY(check("tensor", s->name, &w));
  }
  return dhc_status_ok();
}

dhc_status results_check(dhc_program *p, const dhc_tensor *results, int n_results) {
  for (int i = 0; i < n_results; i++) {
    dhc_status st = check("result", results[i].name, &results[i]);
    if (st.code == DHC_OK) continue;
    DHC_TRY(weights_check(p)); /* the cause, where it is that */
    return st;
  }
  return dhc_status_ok();
}

dhc_status dhc_program_check(dhc_program *p, int index) {
  NEED(p);
  if (index < 0 || index >= p->n_entries) return dhc_status_make(DHC_E_USAGE, "program has no entry number %d", index);
  DHC_TRY(weights_check(p));
  return results_check(p, p->entries[index].results, p->entries[index].n_results);
}
