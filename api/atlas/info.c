/* Reports about a model: counts, layers, and what an entry costs at given sizes. */
#include <math.h>
#include <stdlib.h>

#include "api/atlas/atlas.h"
#include "api/json.h"

/* Adds to the notes, which are made when there is a first one. */
static void add_note(JsonDoc *doc, const char *text) {
  cJSON *notes = cJSON_GetObjectItem(doc->root, "notes");
  if (!notes) notes = json_array(doc, doc->root, "notes");
  json_text(doc, notes, NULL, text);
}

static void take_note(void *doc, const char *text) {
  add_note(doc, text);
}

static void add_costs(const dhc_costs *c, JsonDoc *doc) {
  cJSON *o = json_object(doc, doc->root, "costs");
  dhc_cost_info info;
  double value;
  for (int i = 0; dhc_costs_field(c, i, &info, &value); i++)
    if (!isnan(value)) json_number(doc, o, info.name, value);
}

/* Every op of the entry's graph, those that cost nothing too. */
static void add_ops(const Counts *n, JsonDoc *doc) {
  cJSON *list = json_array(doc, doc->root, "ops");
  for (int i = 0; i < DHC_N_OPS; i++) {
    if (n->op[i].nodes == 0 || i == DHC_OP_PARAM) continue;
    cJSON *row = json_object(doc, list, NULL);
    json_text(doc, row, "op", dhc_op_info((DhcOp)i)->name);
    json_number(doc, row, "times", n->op[i].nodes);
    json_number(doc, row, "flops", n->op[i].flops);
  }
}

/* Numbers that kernels are compiled for: a variant that differs in one of them compiles kernels of that kind. */
static void add_unrolled(dhc_model *m, const Counts *n, JsonDoc *doc) {
  static const char *const kinds[] = {
#define KIND(id, name, ...) [DHC_KIND_##id] = name,
#include "ir/kinds.def"
  };
  cJSON *list = json_array(doc, doc->root, "unrolled");
  for (int i = 0; i < n->n_unrolled; i++) {
    cJSON *row = json_object(doc, list, NULL);
    const char *name = n->unrolled[i].name ? n->unrolled[i].name : atlas_number_name(m, kinds[n->unrolled[i].kind], n->unrolled[i].extent);
    json_text(doc, row, "kind", kinds[n->unrolled[i].kind]);
    json_number(doc, row, "extent", (double)n->unrolled[i].extent);
    json_text(doc, row, "by", dhc_spec_unrolled_by(kinds[n->unrolled[i].kind]));
    if (name) json_text(doc, row, "name", name);
  }
}

/* Bytes of caches and states against length. */
static void add_lengths(const dhc_costs *c, JsonDoc *doc) {
  if (!(c->cache_bytes_token > 0) && !(c->state_bytes > 0)) return;
  cJSON *list = json_array(doc, doc->root, "lengths");
  for (int64_t length = 16; length <= 65536; length *= 4) {
    cJSON *row = json_object(doc, list, NULL);
    json_number(doc, row, "length", (double)length);
    json_number(doc, row, "cache_bytes", dhc_costs_cache_bytes(c, length));
    json_number(doc, row, "state_bytes", c->state_bytes);
  }
}

static void add_guards(const DhcFunc *f, cJSON *e, DhcArena *a, JsonDoc *doc) {
  cJSON *guards = json_array(doc, e, "guards");
  for (int i = 0; i < f->facts.nonneg.n; i++) {
    DhcText t = {.arena = a};
    dhc_dim_print_fact(f->module->dims, f->facts.nonneg.at[i], &t);
    json_text(doc, guards, NULL, dhc_text_str(&t));
  }
}

/* Nothing of it is allocated, but what no run could be given is most likely no size that was meant: it is refused as a
 * run would be. A higher limit is an answer, too. */
static dhc_status check_limit(const dhc_model *m, const char *entry, const Sizes *s, const dhc_costs *c) {
  double need = isnan(c->planned_bytes) ? 0 : c->planned_bytes, inputs = 0;
  char text[32], limit[32];
  for (int i = 0; i < s->n_inputs; i++) {
    double bytes = 4;
    for (int d = 0; d < s->input[i].rank; d++) bytes *= (double)s->input[i].dim[d];
    inputs += bytes;
  }
  if (inputs > need) need = inputs;
  if (!(need > (double)m->s->budget.limit)) return dhc_status_ok();
  return dhc_status_make(DHC_E_INPUT, "entry '%s' needs %s at these sizes, limit is %s (--max-memory; nothing would be allocated here)", entry,
                         dhc_size_text(need < 9e18 ? (int64_t)need : INT64_MAX, text, sizeof text), dhc_size_text(m->s->budget.limit, limit, sizeof limit));
}

static dhc_status add_entry(dhc_model *m, const char *entry, const char *sizes, JsonDoc *doc) {
  DhcArena a;
  dhc_arena_init(&a);
  dhc_costs c;
  Counts n;
  Sizes s;
  dhc_status st = atlas_costs(m, &(dhc_costs_options){.entry = entry, .sizes = sizes}, &a, &n, &c);
  if (st.code == DHC_OK) st = sizes_bind(m, entry, sizes, false, &a, &s);
  if (st.code == DHC_OK) st = check_limit(m, entry, &s, &c);
  if (st.code == DHC_OK) {
    cJSON *e = json_object(doc, doc->root, "entry");
    json_text(doc, e, "name", entry);
    json_text(doc, e, "sizes", c.sizes);
    json_number(doc, e, "flops", c.flops);
    add_guards(n.func, e, &a, doc);
    if (!session_whole(m->s)) {
      json_number(doc, e, "workspace_bytes", c.workspace_bytes);
      json_number(doc, e, "planned_bytes", c.planned_bytes);
      json_number(doc, e, "kernels", c.kernels);
      json_number(doc, e, "calls", c.calls);
    }
    add_costs(&c, doc);
    add_ops(&n, doc);
    add_lengths(&c, doc);
    if (!session_whole(m->s)) add_unrolled(m, &n, doc);
    const char *assumed = sizes_assumed(&s, &a);
    if (*assumed) add_note(doc, dhc_arena_printf(&a, "sizes not given are assumed: --sizes %s", assumed));
  }
  dhc_arena_fini(&a);
  return st;
}

/* "M4 A0". */
static void add_mixers(const dhc_model *m, JsonDoc *doc) {
  DhcKindInfos k = dhc_model_kinds(m->m);
  if (!k.n) return;
  char text[256];
  size_t at = 0;
  text[0] = 0;
  for (int i = 0; i < k.n; i++)
    if (at < sizeof text) at += (size_t)snprintf(text + at, sizeof text - at, "%s%s%d", i ? " " : "", k.at[i].letter, k.at[i].count);
  json_text(doc, doc->root, "mixers", text);
}

/* What streaming entries carry on; shapes in the symbols of the layers that declare them. */
static void add_states(const dhc_model *m, JsonDoc *doc) {
  cJSON *list = NULL;
  DhcArena a;
  dhc_arena_init(&a);
  for (int i = 0; i < m->module->tensors.n; i++) {
    const DhcTensorDecl *d = &m->module->tensors.at[i];
    if (d->role != DHC_ROLE_STATE) continue;
    if (!list) list = json_array(doc, doc->root, "state");
    DhcText t = {.arena = &a};
    dhc_type_print(&d->type, &t);
    cJSON *row = json_object(doc, list, NULL);
    json_text(doc, row, "path", d->path);
    json_text(doc, row, "type", dhc_text_str(&t));
  }
  dhc_arena_fini(&a);
}

/* Last: what is wrong with the loss is not said here. */
static void add_hash(dhc_model *m, const char *sizes, JsonDoc *doc) {
  DhcArena a;
  char hash[17];
  dhc_arena_init(&a);
  atlas_variant_hash(m, sizes, &a, hash);
  json_text(doc, doc->root, "hash", hash);
  dhc_arena_fini(&a);
}

/* With an entry: what of its operations is each layer's, and what each gives. */
static dhc_status add_layers(dhc_model *m, const char *entry, const char *sizes, JsonDoc *doc) {
  DhcArena a;
  AtlasGraph g = {0};
  dhc_arena_init(&a);
  dhc_status st = entry ? atlas_graph(m, entry, sizes, &a, &g) : dhc_status_ok();
  cJSON *layers = json_array(doc, doc->root, "layers");
  DhcLayerInfos l = dhc_model_layers(m->m);
  for (int i = 0; i < l.n; i++) {
    cJSON *row = json_object(doc, layers, NULL);
    json_text(doc, row, "path", l.at[i].path);
    json_text(doc, row, "layer", l.at[i].layer);
    json_number(doc, row, "parameters", (double)l.at[i].n_params);
    if (g.layers) json_number(doc, row, "flops", g.layers[i].flops);
    if (g.layers && g.layers[i].output) json_text(doc, row, "output", g.layers[i].output);
  }
  dhc_arena_fini(&a);
  return st;
}

static void add_tensors(JsonDoc *doc, cJSON *to, const char *name, const dhc_entry_tensor *t, int n) {
  cJSON *list = json_array(doc, to, name);
  for (int i = 0; i < n; i++) {
    cJSON *row = json_object(doc, list, NULL);
    json_text(doc, row, "name", t[i].name);
    json_text(doc, row, "type", t[i].type);
    if (t[i].optional) json_bool(doc, row, "optional", true);
  }
}

/* Names, and what each takes and gives. One that is wrong as the model is set has its name alone: why is said where it
 * is asked for. */
static void add_entries(dhc_model *m, JsonDoc *doc) {
  cJSON *entries = json_array(doc, doc->root, "entries"), *list = json_array(doc, doc->root, "signatures");
  DhcEntryInfos e = dhc_model_entries(m->m);
  for (int i = 0; i < e.n; i++) {
    const dhc_entry_info *sign;
    json_text(doc, entries, NULL, e.at[i].name);
    const DhcDiags said = m->s->diags;
    m->s->diags = (DhcDiags){.arena = &m->s->arena, .sources = said.sources};
    const bool fits = api_model_signature(m, e.at[i].name, &sign).code == DHC_OK;
    m->s->diags = said;
    if (!fits) continue;
    cJSON *row = json_object(doc, list, NULL);
    json_text(doc, row, "name", sign->name);
    add_tensors(doc, row, "inputs", sign->inputs, sign->n_inputs);
    add_tensors(doc, row, "results", sign->results, sign->n_results);
  }
}

dhc_status api_model_info_json(dhc_model *m, const char *entry, const char *sizes, char **out) {
  NEED_OUT(out);
  NEED(m);
  JsonDoc doc;
  json_begin(&doc);
  json_text(&doc, doc.root, "model", m->name);
  json_text(&doc, doc.root, "model_hash", m->hash);
  int64_t n = dhc_model_n_params(m), buffers = 0;
  for (int i = 0; i < m->module->tensors.n; i++) {
    const DhcTensorDecl *d = &m->module->tensors.at[i];
    int64_t k;
    if (d->role == DHC_ROLE_BUFFER && dhc_dim_is_const(dhc_type_elements(m->module->dims, &d->type), &k)) buffers += k;
  }
  json_number(&doc, doc.root, "parameters", (double)n);
  json_number(&doc, doc.root, "buffers", (double)buffers);
  json_number(&doc, doc.root, "weight_bytes", (double)(4 * n));
  cJSON *hypers = json_array(&doc, doc.root, "hyperparameters");
  DhcHyperInfos h = dhc_model_hypers(m->m);
  for (int i = 0; i < h.n; i++) {
    cJSON *row = json_object(&doc, hypers, NULL);
    json_text(&doc, row, "name", h.at[i].name);
    json_text(&doc, row, "type", h.at[i].type);
    json_text(&doc, row, "value", h.at[i].value);
    json_text(&doc, row, "source", h.at[i].source);
    json_bool(&doc, row, "run_time", h.at[i].scalar >= 0);
  }
  add_mixers(m, &doc);
  model_notes(m, take_note, &doc);
  dhc_status st = add_layers(m, entry || sizes ? entry ? entry : "forward" : NULL, sizes, &doc);
  add_states(m, &doc);
  if (st.code == DHC_OK) add_entries(m, &doc);
  if (st.code == DHC_OK && (entry || sizes)) st = add_entry(m, entry ? entry : "forward", sizes, &doc);
  if (st.code == DHC_OK) add_hash(m, sizes, &doc);
  return json_end(&doc, st, false, out);
}
