/* Reports about a model: counts, layers, and what an entry costs at given sizes. */
#include <stdlib.h>

#include "api/api.h"
#include "api/json.h"

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
static dhc_status check_sizes(const char *entry, const char *sizes, const DhcFunc *f) {
  for (const char *at = sizes; at && *at; at += strcspn(at, ","), at += *at == ',') {
    int length = (int)strcspn(at, ","), name = (int)strcspn(at, "=,");
    char *end = NULL;
    long long value = at[name] == '=' && at[name + 1] >= '0' && at[name + 1] <= '9' ? strtoll(at + name + 1, &end, 10) : 0;
    if (end != at + length || value < 1 || value > INT32_MAX)
      return dhc_status_make(DHC_E_USAGE, "--sizes: needs NAME=N with N from 1 to %d, got \"%.*s\"", INT32_MAX, length, at);
    bool known = false;
    for (int i = 0; i < f->symbols.n; i++)
      known |= strlen(f->symbols.at[i]) == (size_t)name && !strncmp(f->symbols.at[i], at, (size_t)name);
    if (!known) return dhc_status_make(DHC_E_USAGE, "--sizes: entry '%s' has no size '%.*s'", entry, name, at);
  }
  return dhc_status_ok();
}

/* "B = 16, H = 32 (assumed)" into `used`; a note that tells what to say instead. */
static void say_sizes(const DhcFunc *f, const char *sizes, const int64_t *values, DhcText *used, JsonDoc *doc) {
  DhcText assumed = {.arena = used->arena};
  for (int i = 0; i < f->symbols.n; i++) {
    const char *name = f->symbols.at[i];
    bool given = size_named(sizes, name) > 0;
    dhc_text_printf(used, "%s%s = %lld%s", i ? ", " : "", name, (long long)values[i], given ? "" : " (assumed)");
    if (!given) dhc_text_printf(&assumed, "%s%s=%lld", assumed.n ? "," : "", name, (long long)values[i]);
  }
  if (!assumed.n) return;
  cJSON *notes = cJSON_GetObjectItem(doc->root, "notes");
  if (!notes) notes = json_array(doc, doc->root, "notes");
  const char *text = dhc_arena_printf(used->arena, "sizes not given are assumed: --sizes %s", dhc_text_str(&assumed));
  json_text(doc, notes, NULL, text);
}

/* Zero tensors for every input of an entry at the given sizes. */
static dhc_status zero_inputs(dhc_model *m, const char *entry, const char *sizes, DhcArena *a, dhc_tensor *in, int max, int *n_in,
                              DhcText *used, JsonDoc *doc) {
  DhcEntryRequest rq = {0};
  dhc_model_form(m->m, entry, &rq.name, &rq.form);
  DhcFunc *f = dhc_model_entry(m->m, &rq);
  if (!f) return session_errors(m->s);
  DHC_TRY(check_sizes(entry, sizes, f));
  int64_t *values = DHC_NEW_N(a, int64_t, f->symbols.n + 1);
  for (int i = 0; i < f->symbols.n; i++) {
    values[i] = size_named(sizes, f->symbols.at[i]);
    if (values[i] < 1) values[i] = default_size(f->symbols.at[i]);
  }
  say_sizes(f, sizes, values, used, doc);
  *n_in = 0;
  int64_t all = 0;
  for (int i = 0; i < f->params.n; i++) {
    if (f->param_info.at[i].role != DHC_ROLE_INPUT) continue;
    if (*n_in == max) return dhc_status_make(DHC_E_INPUT, "more than %d inputs", max);
    const DhcType *t = &f->params.at[i]->type;
    dhc_tensor *x = &in[(*n_in)++];
    *x = (dhc_tensor){.name = f->param_info.at[i].name, .dtype = t->dtype, .rank = t->rank};
    for (int d = 0; d < t->rank; d++)
      if (!dhc_dim_eval(t->dim[d], f->symbols.n, f->symbols.at, values, &x->dim[d]) || x->dim[d] < 1)
        return dhc_status_make(DHC_E_INPUT, "input '%s' has no size here", x->name);
    int64_t bytes;
    if (!dhc_size_tensor((int32_t)x->dtype, x->rank, x->dim, NULL, &bytes) || bytes > INT64_MAX - 64)
      return dhc_status_make(DHC_E_INPUT, "input '%s' is larger than any tensor can be", x->name);
    all = bytes > INT64_MAX - all ? INT64_MAX : all + bytes;
    if (all > dhc_budget_left(&m->s->budget))
      return dhc_status_make(DHC_E_INPUT, "the inputs of entry '%s' need more memory than the limit leaves (--max-memory)", entry);
    x->data = dhc_arena_alloc(a, (size_t)dhc_tensor_bytes(x) + 64);
  }
  return dhc_status_ok();
}

/* Sum of the ops' flops at the sizes that the inputs have; -1 where one has no value. */
static double entry_flops(const Version *v, const dhc_tensor *in, int n_in) {
  const DhcFunc *f = v->func;
  int64_t values[32] = {0};
  bool bound[32] = {false}, unbound;
  for (int i = 0; i < f->params.n; i++)
    for (int k = 0; k < n_in; k++)
      for (int d = 0; !strcmp(f->param_info.at[i].name, in[k].name) && d < in[k].rank; d++)
        dhc_dim_unify(f->params.at[i]->type.dim[d], in[k].dim[d], f->symbols.n, f->symbols.at, values, bound, &unbound);
  double sum = 0;
  for (const DhcNode *n = f->first; n; n = n->next) {
    const DhcOpInfo *info = dhc_op_info(n->op);
    int64_t x;
    if (!info->flops) continue;
    if (!dhc_dim_eval(info->flops(f->module, n), f->symbols.n, f->symbols.at, values, &x)) return -1;
    sum += (double)x;
  }
  return sum;
}

static void close_program(void *p) {
  dhc_program_close(p);
}

static dhc_status add_entry(dhc_model *m, const char *entry, const char *sizes, JsonDoc *doc) {
  DhcArena a;
  dhc_arena_init(&a);
  dhc_tensor in[32];
  int n_in = 0;
  dhc_program *p = NULL;
  DhcText used = {.arena = &a};
  dhc_status st = zero_inputs(m, entry, sizes, &a, in, 32, &n_in, &used, doc);
  if (st.code == DHC_OK) st = dhc_program_open(m, entry, DHC_MODE_RUN, &p);
  DhcHeld held;
  dhc_hold(&held, close_program, p);
  Version *v = NULL;
  if (st.code == DHC_OK) st = program_version(p, &p->entries[0], in, n_in, &v);
  cJSON *e = json_object(doc, doc->root, "entry");
  json_text(doc, e, "name", entry);
  json_text(doc, e, "sizes", dhc_text_str(&used));
  if (st.code == DHC_OK) {
    json_number(doc, e, "flops", entry_flops(v, in, n_in));
    cJSON *guards = json_array(doc, e, "guards");
    for (int i = 0; i < v->func->facts.nonneg.n; i++) {
      DhcText t = {.arena = &a};
      dhc_dim_print_fact(v->func->module->dims, v->func->facts.nonneg.at[i], &t);
      json_text(doc, guards, NULL, dhc_text_str(&t));
    }
    if (!m->s->graphs) {
      st = dhc_program_run(p, 0, in, n_in, NULL, NULL);
      dhc_memory mem = dhc_program_memory(p, 0);
      json_number(doc, e, "workspace_bytes", (double)(mem.work + mem.scratch));
      json_number(doc, e, "planned_bytes", (double)mem.planned);
      json_number(doc, e, "allocated_bytes", (double)mem.allocated);
      json_number(doc, e, "kernels", dhc_program_n_kernels(p, 0));
      json_number(doc, e, "calls", dhc_program_n_calls(p, 0));
    }
  }
  dhc_release(&held);
  dhc_program_close(p);
  dhc_arena_fini(&a);
  return st;
}

/* "M4 A0", and what a reader of a comparison of ratios should know about it. */
static void add_mixers(dhc_model *m, const DhcHyperInfos *hypers, JsonDoc *doc) {
  DhcKindInfos k = dhc_model_kinds(m->m);
  if (!k.n) return;
  cJSON *notes = json_array(doc, doc->root, "notes");
  char text[256];
  size_t at = 0;
  int total = 0;
  text[0] = 0;
  for (int i = 0; i < k.n; i++) {
    total += k.at[i].count;
    if (at < sizeof text) at += (size_t)snprintf(text + at, sizeof text - at, "%s%s%d", i ? " " : "", k.at[i].letter, k.at[i].count);
  }
  json_text(doc, doc->root, "mixers", text);
  for (int i = 0; i < k.n; i++) {
    if (k.at[i].count) continue;
    snprintf(text, sizeof text, "no %s among the %d mixers: pattern, ratio and depth leave kind %s out", k.at[i].layer, total,
             k.at[i].letter);
    json_text(doc, notes, NULL, text);
  }
  for (int i = 0; i < hypers->n; i++)
    if (!strcmp(hypers->at[i].name, "tokens") && strstr(hypers->at[i].value, "pooled"))
      json_text(doc, notes, NULL, "tokens = pooled gives the mixers a single token: they have nothing to mix");
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

dhc_status api_model_info_json(dhc_model *m, const char *entry, const char *sizes, char **out) {
  NEED_OUT(out);
  NEED(m);
  JsonDoc doc;
  json_begin(&doc);
  json_text(&doc, doc.root, "model", m->name);
  json_text(&doc, doc.root, "hash", m->hash);
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
  add_mixers(m, &h, &doc);
  cJSON *layers = json_array(&doc, doc.root, "layers");
  DhcLayerInfos l = dhc_model_layers(m->m);
  for (int i = 0; i < l.n; i++) {
    cJSON *row = json_object(&doc, layers, NULL);
    json_text(&doc, row, "path", l.at[i].path);
    json_text(&doc, row, "layer", l.at[i].layer);
    json_number(&doc, row, "parameters", (double)l.at[i].n_params);
  }
  add_states(m, &doc);
  cJSON *entries = json_array(&doc, doc.root, "entries");
  DhcEntryInfos e = dhc_model_entries(m->m);
  for (int i = 0; i < e.n; i++) json_text(&doc, entries, NULL, e.at[i].name);
  dhc_status st = dhc_status_ok();
  if (entry || sizes) st = add_entry(m, entry ? entry : "forward", sizes, &doc);
  return json_end(&doc, st, false, out);
}
