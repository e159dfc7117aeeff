/* Sizes as people write them. */
#include <stdlib.h>

#include "api/atlas/atlas.h"

/* "B=16,H=32" -> value of one name; 0 if it is not there. */
static int64_t size_named(const char *sizes, const char *name) {
  size_t n = strlen(name);
  for (const char *at = sizes; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    if (!strncmp(at, name, n) && at[n] == '=') return strtoll(at + n + 1, NULL, 10);
  return 0;
}

static int64_t default_size(const char *name) {
  if (!strcmp(name, "B") || !strcmp(name, "N")) return 1;
  if (!strcmp(name, "H") || !strcmp(name, "W")) return 32;
  return 16;
}

/* Every part of "B=16,H=32" names a symbol of the entry and gives it a whole number from 1. */
static dhc_status check_sizes(const char *entry, const char *sizes, bool any_name, const DhcFunc *f) {
  for (const char *at = sizes; at && *at; at += strcspn(at, ","), at += *at == ',') {
    int length = (int)strcspn(at, ","), name = (int)strcspn(at, "=,");
    char *end = NULL;
    long long value = at[name] == '=' && at[name + 1] >= '0' && at[name + 1] <= '9' ? strtoll(at + name + 1, &end, 10) : 0;
    if (end != at + length || value < 1 || value > INT32_MAX)
      return dhc_status_make(DHC_E_USAGE, "--sizes: needs NAME=N with N from 1 to %d, got \"%.*s\"", INT32_MAX, length, at);
    bool known = any_name;
    for (int i = 0; i < f->symbols.n; i++)
      known |= strlen(f->symbols.at[i]) == (size_t)name && !strncmp(f->symbols.at[i], at, (size_t)name);
    if (!known) return dhc_status_make(DHC_E_USAGE, "--sizes: entry '%s' has no size '%.*s'", entry, name, at);
  }
  return dhc_status_ok();
}

static dhc_status input_shape(const Sizes *s, const DhcType *t, const char *name, DhcArena *a, DhcInputShape *out) {
  int64_t *dim = DHC_NEW_N(a, int64_t, t->rank + 1), bytes;
  for (int d = 0; d < t->rank; d++)
    if (!dhc_dim_eval(t->dim[d], s->n, s->names, s->values, &dim[d]) || dim[d] < 1)
      return dhc_status_make(DHC_E_INPUT, "input '%s' has no size here", name);
  if (!dhc_size_tensor((int32_t)t->dtype, t->rank, dim, NULL, &bytes) || bytes > INT64_MAX - 64)
    return dhc_status_make(DHC_E_INPUT, "input '%s' is larger than any tensor can be", name);
  *out = (DhcInputShape){name, t->rank, dim};
  return dhc_status_ok();
}

dhc_status sizes_bind(dhc_model *m, const char *entry, const char *sizes, bool any_name, DhcArena *a, Sizes *out) {
  DhcEntryRequest rq = {0};
  dhc_model_form(m->m, entry, &rq.name, &rq.form);
  DhcFunc *f = dhc_model_entry(m->m, &rq);
  if (!f) return session_errors(m->s);
  DHC_TRY(check_sizes(entry, sizes, any_name, f));
  *out = (Sizes){.func = f, .n = f->symbols.n, .names = f->symbols.at};
  out->values = DHC_NEW_N(a, int64_t, f->symbols.n + 1);
  out->assumed = DHC_NEW_N(a, bool, f->symbols.n + 1);
  for (int i = 0; i < f->symbols.n; i++) {
    out->values[i] = size_named(sizes, f->symbols.at[i]);
    out->assumed[i] = out->values[i] < 1;
    if (out->assumed[i]) out->values[i] = default_size(f->symbols.at[i]);
  }
  for (int i = 0; i < f->params.n; i++) {
    if (f->param_info.at[i].role != DHC_ROLE_INPUT) continue;
    if (out->n_inputs == ATLAS_MAX_INPUTS) return dhc_status_make(DHC_E_INPUT, "more than %d inputs", ATLAS_MAX_INPUTS);
    DHC_TRY(input_shape(out, &f->params.at[i]->type, f->param_info.at[i].name, a, &out->input[out->n_inputs]));
    out->n_inputs++;
  }
  return dhc_status_ok();
}

const char *sizes_text(const Sizes *s, DhcArena *a) {
  DhcText t = {.arena = a};
  for (int i = 0; i < s->n; i++)
    dhc_text_printf(&t, "%s%s = %lld%s", i ? ", " : "", s->names[i], (long long)s->values[i], s->assumed[i] ? " (assumed)" : "");
  return dhc_text_str(&t);
}

const char *sizes_assumed(const Sizes *s, DhcArena *a) {
  DhcText t = {.arena = a};
  for (int i = 0; i < s->n; i++)
    if (s->assumed[i]) dhc_text_printf(&t, "%s%s=%lld", t.n ? "," : "", s->names[i], (long long)s->values[i]);
  return dhc_text_str(&t);
}
