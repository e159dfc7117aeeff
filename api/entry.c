/* What entries take and give, for callers. */
#include "api/api.h"

typedef struct EntryTypes {
  dhc_entry_info info;
  struct EntryTypes *next;
} EntryTypes;

static dhc_entry_tensor describe(dhc_model *m, const char *name, const DhcType *t) {
  DhcArena *a = &m->s->arena;
  DhcText type = {.arena = a};
  dhc_type_print(t, &type);
  dhc_entry_tensor e = {.name = name, .type = dhc_text_str(&type), .dtype = t->dtype, .rank = t->rank};
  for (int i = 0; i < t->rank && i < 8; i++) {
    DhcText dim = {.arena = a};
    dhc_dim_print(t->dim[i], &dim);
    e.dim[i] = dhc_text_str(&dim);
    if (!dhc_dim_is_const(t->dim[i], &e.size[i])) e.size[i] = -1;
  }
  return e;
}

static const DhcEntryInfo *find(const dhc_model *m, const char *plain) {
  DhcEntryInfos all = dhc_model_entries(m->m);
  for (int i = 0; i < all.n; i++)
    if (!strcmp(all.at[i].name, plain)) return &all.at[i];
  return NULL;
}

static dhc_status unknown(const dhc_model *m, const char *entry) {
  const char *names[64];
  int n = 0;
  DhcEntryInfos all = dhc_model_entries(m->m);
  for (; n < all.n && n < 64; n++) names[n] = all.at[n].name;
  const char *near = dhc_suggest(entry, names, n);
  return dhc_status_make(DHC_E_INPUT, "model %s has no entry '%s'%s%s%s", m->name, entry, near ? " (did you mean '" : "",
                         near ? near : "", near ? "'?)" : "");
}

/* In the order in which they are written; what the entry has beside them is the model's own. */
static void add_inputs(dhc_model *m, const DhcFunc *f, const DhcEntryInfo *e, dhc_entry_info *out) {
  dhc_entry_tensor *in = DHC_NEW_N(&m->s->arena, dhc_entry_tensor, e->n_inputs + 1);
  for (int k = 0; k < e->n_inputs; k++)
    for (int i = 0; i < f->params.n; i++) {
      const DhcParamInfo *p = &f->param_info.at[i];
      if (p->role != DHC_ROLE_INPUT || strcmp(p->name, e->inputs[k])) continue;
      in[out->n_inputs] = describe(m, e->inputs[k], &f->params.at[i]->type);
      in[out->n_inputs++].optional = e->optional[k];
    }
  out->inputs = in;
}

static void add_results(dhc_model *m, const DhcFunc *f, dhc_entry_info *out) {
  dhc_entry_tensor *r = DHC_NEW_N(&m->s->arena, dhc_entry_tensor, f->results.n + 1);
  for (int i = 0; i < f->results.n; i++) {
    const char *name = f->result_names.at[i];
    if (strncmp(name, DHC_PREFIX_REQUIRE, sizeof DHC_PREFIX_REQUIRE - 1)) r[out->n_results++] = describe(m, name, &f->results.at[i]->type);
  }
  out->results = r;
}

/* The entry with every input that it can have. Optional ones may be refused as the model is set, or beside others: those
 * stay that go with the ones before. NULL after diagnostics: not even without them. */
static Version *with_inputs(dhc_model *m, const char *entry, const DhcEntryInfo *e) {
  DhcInputShape *in = DHC_NEW_N(&m->s->arena, DhcInputShape, e->n_inputs + 1);
  int n = 0;
  for (int i = 0; i < e->n_inputs; i++) in[i] = (DhcInputShape){e->inputs[i], -1, NULL};
  Version *v = pipeline_try(m, entry, in, e->n_inputs);
  if (v) return v;
  for (int i = 0; i < e->n_inputs; i++)
    if (!e->optional[i]) in[n++] = (DhcInputShape){e->inputs[i], -1, NULL};
  v = pipeline_graph(m, entry, DHC_MODE_RUN, in, n);
  for (int i = 0; v && i < e->n_inputs; i++) {
    if (!e->optional[i]) continue;
    in[n] = (DhcInputShape){e->inputs[i], -1, NULL};
    Version *more = pipeline_try(m, entry, in, n + 1);
    if (more) v = more, n++;
  }
  return v;
}

dhc_status api_model_signature(dhc_model *m, const char *entry, const dhc_entry_info **out) {
  NEED_OUT(out);
  NEED(m);
  NEED(entry);
  for (const EntryTypes *t = m->types; t; t = t->next)
    if (!strcmp(t->info.name, entry)) {
      *out = &t->info;
      return dhc_status_ok();
    }
  dhc_session *s = m->s;
  const char *plain;
  DhcForm form;
  dhc_model_form(m->m, entry, &plain, &form);
  const DhcEntryInfo *e = find(m, plain);
  if (!e) return unknown(m, plain);
  Version *v = with_inputs(m, dhc_intern(&s->strings, entry), e);
  if (!v) return session_errors(s);
  EntryTypes *t = DHC_NEW(&s->arena, EntryTypes);
  *t = (EntryTypes){.info = {.name = v->entry}, .next = m->types};
  add_inputs(m, v->source, e, &t->info);
  add_results(m, v->source, &t->info);
  m->types = t;
  *out = &t->info;
  return dhc_status_ok();
}
