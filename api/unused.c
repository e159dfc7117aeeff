/* What a weights file holds beside the model's tensors: a head that the model ties to its embedding, a
 * bias that it was built without, another model's parts. The results are then not those of whoever
 * wrote the file, so it is said. */
#include "api/api.h"

enum { NAMED = 8 };

/* A tensor that was needed and holds the same bytes: leaving this one out changes nothing. */
static const char *copy_of(const DhcSafetensors *file, const DhcTensorView *t) {
  for (int32_t i = 0; t->bytes && i < dhc_safetensors_count(file); i++) {
    const DhcTensorView *u = dhc_safetensors_at(file, i);
    if (dhc_safetensors_needed(file, i) && u->dtype == t->dtype && u->rank == t->rank && u->bytes == t->bytes &&
        !memcmp(u->shape, t->shape, sizeof t->shape) && !memcmp(u->data, t->data, (size_t)t->bytes))
      return u->name;
  }
  return NULL;
}

dhc_status weights_unused(const dhc_program *p, const DhcSafetensors *file) {
  char text[400] = "";
  int n = 0;
  size_t at = 0;
  for (int32_t i = 0; i < dhc_safetensors_count(file); i++) {
    const DhcTensorView *t = dhc_safetensors_at(file, i);
    if (dhc_safetensors_needed(file, i) || n++ >= NAMED || at >= sizeof text) continue;
    const char *same = copy_of(file, t);
    at += (size_t)snprintf(text + at, sizeof text - at, "%s'%s'%s%s%s", at ? ", " : "", t->name, same ? " (a copy of '" : "",
                           same ? same : "", same ? "')" : "");
  }
  if (!n) return dhc_status_ok();
  const char *path = dhc_safetensors_path(file), *more = n > NAMED || at >= sizeof text ? ", …" : "";
  if (p->m->s->o.strict)
    return dhc_status_file(path, "holds %d tensor%s that the model does not have: %s%s", n, n == 1 ? "" : "s", text, more);
  dhc_warn(&p->m->s->warn, DHC_WARN_NOTE, "%s: %d tensor%s left out, the model does not have %s: %s%s", path, n, n == 1 ? " is" : "s are",
           n == 1 ? "it" : "them", text, more);
  return dhc_status_ok();
}
