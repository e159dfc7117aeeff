/* Programs: entries over one set of persistent tensors. Which version of an entry runs is
 * decided by the inputs' shapes; everything else is the same for all. */
#include <float.h>
#include <stdlib.h>

#include "api/api.h"

static void default_scalars(dhc_program *p) {
  DhcModule *m = p->m->module;
  const DhcRecipe *r = dhc_model_recipe(p->m->m);
  for (int i = 0; i < m->scalars.n; i++) *memory_scalar(&p->mem, m->scalars.at[i].name) = m->scalars.at[i].value;
  *memory_scalar(&p->mem, "$seed") = 0;
  *memory_scalar(&p->mem, "$step") = 0;
  *memory_scalar(&p->mem, "$opt_step") = 1;
  *memory_scalar(&p->mem, "$lr") = dhc_recipe_lr(r, 0, 1);
  *memory_scalar(&p->mem, "$clip") = r->clip;
  *memory_scalar(&p->mem, "$limit") = (double)FLT_MAX;
  *memory_scalar(&p->mem, "$ema_decay") = r->ema;
  for (int i = 0; i < r->optimizer_args.n; i++) {
    char name[128];
    snprintf(name, sizeof name, "$%s", r->optimizer_args.at[i].name);
    *memory_scalar(&p->mem, dhc_intern(&p->m->s->strings, name)) = r->optimizer_args.at[i].value;
  }
}

static void close_program(void *p) {
  dhc_program_close(p);
}

dhc_status api_program_open(dhc_model *m, const char *entry, dhc_mode mode, dhc_program **out) {
  NEED_OUT(out);
  NEED(m);
  NEED(entry);
  dhc_program *p = calloc(1, sizeof *p);
  if (!p) return dhc_status_memory((long long)sizeof *p, "a program");
  p->m = m;
  dhc_arena_init(&p->arena);
  dhc_arena_init(&p->run);
  DhcHeld held;
  dhc_hold(&held, close_program, p);
  p->mem.place = placement_make(m->module, &p->arena);
  p->mem.float_bytes = m->s->interp ? 8 : 4;
  dhc_status st = budget_program(p, mode == DHC_MODE_TRAIN, 0);
  if (st.code != DHC_OK) {
    dhc_release(&held);
    dhc_program_close(p);
    return st;
  }
  p->mem.weights = dhc_aligned_alloc((int64_t)p->mem.float_bytes * p->mem.place.n_weights);
  p->mem.state = dhc_aligned_alloc(p->mem.place.state_bytes);
  if (!p->mem.weights || !p->mem.state)
    st = dhc_status_memory((long long)p->mem.float_bytes * p->mem.place.n_weights, "weights");
  if (st.code == DHC_OK && m->module->scalars.n > API_MAX_SCALARS / 2)
    st = dhc_status_make(DHC_E_INPUT, "the model has %d float hyperparameters; %d are allowed", m->module->scalars.n, API_MAX_SCALARS / 2);
  if (st.code == DHC_OK) default_scalars(p);
  if (st.code == DHC_OK) st = dhc_program_add(p, entry, mode, NULL);
  dhc_release(&held);
  if (st.code != DHC_OK) {
    dhc_program_close(p);
    return st;
  }
  *out = p;
  return st;
}

/* Ranges for the state of the recipe's optimiser, which are there before the first step is
 * compiled: a checkpoint may be read into them. */
static dhc_status add_states(dhc_program *p) {
  const DhcRecipe *r = dhc_model_recipe(p->m->m);
  DhcFunc *f = dhc_model_function(p->m->m, r->optimizer);
  if (!f) return session_errors(p->m->s);
  DHC_TRY(budget_program(p, true, f->results.n - 1 + (r->ema > 0)));
  for (int i = 1; i < f->results.n; i++) { /* result 0 is the weights */
    char name[128];
    snprintf(name, sizeof name, "$%s", f->result_names.at[i]);
    if (memory_state(&p->mem, dhc_intern(&p->m->s->strings, name)) < 0) return dhc_status_memory(memory_state_bytes(&p->mem), name);
  }
  if (r->ema > 0 && memory_state(&p->mem, "$ema") < 0) return dhc_status_memory(memory_state_bytes(&p->mem), "$ema");
  return dhc_status_ok();
}

dhc_status api_program_add(dhc_program *p, const char *entry, dhc_mode mode, int *index) {
  NEED(p);
  NEED(entry);
  if (mode < DHC_MODE_RUN || mode > DHC_MODE_TRAIN) return dhc_status_make(DHC_E_USAGE, "%d is no mode", (int)mode);
  DhcEntryInfos all = dhc_model_entries(p->m->m);
  const char *names[64];
  int n = 0;
  bool found = false;
  Entry e = {.name = dhc_intern(&p->m->s->strings, entry), .mode = mode};
  dhc_model_form(p->m->m, e.name, &e.plain, &e.form);
  for (int i = 0; i < all.n; i++) {
    if (n < 61) names[n++] = all.at[i].name;
    for (int f = DHC_FORM_STREAM; f <= DHC_FORM_STEP && n < 61 && strchr(entry, '.'); f++)
      names[n++] = dhc_arena_printf(&p->arena, "%s.%s", all.at[i].name, dhc_form_names[f]);
    if (strcmp(all.at[i].name, e.plain)) continue;
    found = true;
    e.info = all.at[i];
  }
  for (int f = DHC_FORM_STREAM; f <= DHC_FORM_RESET; f++) names[n++] = dhc_form_names[f];
  if (!found) {
    const char *near = dhc_suggest(e.plain, names, n);
    return dhc_status_make(DHC_E_INPUT, "model %s has no entry '%s'%s%s%s", p->m->name, e.plain, near ? " (did you mean '" : "",
                           near ? near : "", near ? "'?)" : "");
  }
  if (e.form == DHC_FORM_RESET) return dhc_status_make(DHC_E_USAGE, "'%s' is no entry to run: dhc_program_reset does it", entry);
  if (e.form != DHC_FORM_WHOLE && mode != DHC_MODE_RUN)
    return dhc_status_make(DHC_E_USAGE, "'%s' runs only: gradients and training are of '%s'", entry, e.plain);
  if (p->n_entries == API_MAX_ENTRIES) return dhc_status_make(DHC_E_USAGE, "a program has at most %d entries", API_MAX_ENTRIES);
  p->entries[p->n_entries] = e;
  if (index) *index = p->n_entries;
  p->n_entries++;
  return mode == DHC_MODE_TRAIN ? add_states(p) : dhc_status_ok();
}

void dhc_program_close(dhc_program *p) {
  if (!p) return;
  dhc_budget_release(&p->m->s->budget, &p->charge);
  exec_cpu_close(p);
  step_close(p);
  dhc_aligned_free(p->mem.weights);
  dhc_aligned_free(p->mem.state);
  dhc_aligned_free(p->mem.opt);
  dhc_aligned_free(p->mem.recurrent);
  dhc_arena_fini(&p->arena);
  dhc_arena_fini(&p->run);
  free(p);
}

/* ---- versions -------------------------------------------------------------------- */

static bool is_given(const dhc_tensor *in, int n_in, const char *name) {
  for (int k = 0; k < n_in; k++)
    if (!strcmp(in[k].name, name)) return true;
  return false;
}

/* An entry with and one without an optional input are different versions. */
static bool same_inputs(const Version *v, const DhcEntryInfo *e, const dhc_tensor *in, int n_in) {
  for (int k = 0; k < e->n_inputs; k++) {
    if (!e->optional[k]) continue;
    bool has = false;
    for (int i = 0; i < v->func->params.n; i++)
      has = has || (v->func->param_info.at[i].role == DHC_ROLE_INPUT && !strcmp(v->func->param_info.at[i].name, e->inputs[k]));
    if (has != is_given(in, n_in, e->inputs[k])) return false;
  }
  return true;
}

/* Symbol values from the inputs' shapes; false if they do not fit the parameter types. */
static bool symbols_fit(const DhcFunc *f, const dhc_tensor *in, int n_in, int64_t *values) {
  bool bound[API_MAX_SYMBOLS] = {false};
  int n = f->symbols.n;
  if (n > API_MAX_SYMBOLS) return false;
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < f->params.n; i++) {
      if (f->param_info.at[i].role != DHC_ROLE_INPUT) continue;
      const DhcType *t = &f->params.at[i]->type;
      for (int k = 0; k < n_in; k++) {
        if (strcmp(in[k].name, f->param_info.at[i].name)) continue;
        if (in[k].rank != t->rank) return false;
        for (int d = 0; d < t->rank; d++) {
          bool unbound = false;
          if (!dhc_dim_unify(t->dim[d], in[k].dim[d], n, f->symbols.at, values, bound, &unbound)) return false;
        }
      }
    }
  }
  return true;
}

static bool shapes_fit(const Version *v, const dhc_tensor *in, int n_in) {
  const DhcFunc *f = v->func;
  int64_t values[API_MAX_SYMBOLS] = {0};
  int n = f->symbols.n;
  if (!symbols_fit(f, in, n_in, values)) return false;
  for (int i = 0; i < f->facts.nonneg.n; i++) {
    int64_t x;
    if (dhc_dim_eval(f->facts.nonneg.at[i], n, f->symbols.at, values, &x) && x < 0) return false;
  }
  return true;
}

dhc_status program_version(dhc_program *p, Entry *e, const dhc_tensor *in, int n_in, Version **out) {
  for (Version *v = e->versions; v; v = v->next) {
    if (!same_inputs(v, &e->info, in, n_in) || !shapes_fit(v, in, n_in)) continue;
    *out = v;
    return dhc_status_ok();
  }
  double t0 = session_now_ms();
  DhcInputShape *shape = DHC_NEW_N(&p->arena, DhcInputShape, n_in + 1);
  for (int i = 0; i < n_in; i++) {
    int64_t *dim = DHC_NEW_N(&p->arena, int64_t, 8);
    memcpy(dim, in[i].dim, sizeof in[i].dim);
    shape[i] = (DhcInputShape){in[i].name, in[i].rank, dim};
  }
  Version *v = pipeline_graph(p->m, e->name, e->mode, shape, n_in);
  if (!v) {
    dhc_status st = session_errors(p->m->s);
    return st.code == DHC_OK ? dhc_status_make(DHC_E_INPUT, "entry '%s' could not be built", e->name) : st;
  }
  placement_grow(&p->mem.place, p->m->module, &p->arena);
  v->next = e->versions;
  e->versions = v;
  p->m->s->stats.compile_ms += session_now_ms() - t0;
  *out = v;
  return dhc_status_ok();
}

/* ---- running ------------------------------------------------------------------------- */

/* Inputs that the entry does not take are ignored, but none that seems to mean an optional one. */
static dhc_status check_names(const Entry *e, const dhc_tensor *in, int n_in) {
  for (int k = 0; k < e->info.n_inputs; k++) {
    if (!e->info.optional[k] || is_given(in, n_in, e->info.inputs[k])) continue;
    for (int i = 0; i < n_in; i++) {
      bool known = false;
      for (int j = 0; j < e->info.n_inputs; j++) known = known || !strcmp(in[i].name, e->info.inputs[j]);
      if (!known && dhc_suggest(in[i].name, &e->info.inputs[k], 1))
        return dhc_status_make(DHC_E_INPUT, "entry '%s' has no input '%s' (did you mean '%s'?)", e->name, in[i].name, e->info.inputs[k]);
    }
  }
  return dhc_status_ok();
}

static dhc_status match_inputs(const Version *v, const dhc_tensor *in, int n_in, const dhc_tensor **by_param) {
  const DhcFunc *f = v->func;
  for (int i = 0; i < f->params.n; i++) {
    by_param[i] = NULL;
    if (f->param_info.at[i].role != DHC_ROLE_INPUT) continue;
    for (int k = 0; k < n_in; k++)
      if (!strcmp(in[k].name, f->param_info.at[i].name)) by_param[i] = &in[k];
    const char *name = f->param_info.at[i].name;
    if (!by_param[i] && strncmp(name, "cotangent.", 10)) {
      const char *names[64];
      int n = n_in < 64 ? n_in : 64;
      for (int k = 0; k < n; k++) names[k] = in[k].name;
      const char *near = dhc_suggest(name, names, n);
      return dhc_status_make(DHC_E_INPUT, "entry '%s' needs input '%s'%s%s%s", v->entry, name, near ? ", got '" : "",
                             near ? near : "", near ? "'" : "");
    }
    if (!by_param[i]) continue;
    dhc_dtype need = f->params.at[i]->type.dtype, got = by_param[i]->dtype;
    if (dhc_dtype_is_float(need) != dhc_dtype_is_float(got))
      return dhc_status_make(DHC_E_INPUT, "input '%s' is %s, entry '%s' needs %s", name, dhc_dtype_name(got), v->entry,
                             dhc_dtype_name(need));
  }
  return dhc_status_ok();
}

/* What the entry required of values: bool results behind the others. Where one is false, what
 * was written to the states means nothing. */
static dhc_status check_required(dhc_program *p, Entry *e) {
  static const char mark[] = "$require: ";
  dhc_status st = dhc_status_ok();
  while (e->n_results && !strncmp(e->results[e->n_results - 1].name, mark, sizeof mark - 1)) {
    const dhc_tensor *t = &e->results[--e->n_results];
    if (!*(const uint8_t *)t->data) st = dhc_status_make(DHC_E_INPUT, "entry '%s': %s", e->name, t->name + sizeof mark - 1);
  }
  if (st.code != DHC_OK) dhc_program_reset(p);
  return st;
}

static dhc_status wrong_shape(const Version *v, int i, const dhc_tensor *in) {
  char got[128];
  const DhcFunc *f = v->func;
  DhcText need = {.arena = f->module->arena};
  dhc_type_print(&f->params.at[i]->type, &need);
  return dhc_status_make(DHC_E_INPUT, "input '%s' is %s, entry '%s' needs %s", in->name,
                         dhc_tensor_shape_text(in->rank, in->dim, got, sizeof got), v->entry, dhc_text_str(&need));
}

/* Symbol values from the inputs as they are matched; a line where one does not fit its type. */
static dhc_status symbol_values(const Version *v, const dhc_tensor *const *in, int64_t *values) {
  const DhcFunc *f = v->func;
  int n = f->symbols.n;
  bool bound[API_MAX_SYMBOLS] = {false}, unbound = false;
  if (n > API_MAX_SYMBOLS) return dhc_status_make(DHC_E_INPUT, "entry '%s' has more than %d symbols", v->entry, API_MAX_SYMBOLS);
  for (int i = 0; i < f->params.n; i++)
    if (in[i] && in[i]->rank != f->params.at[i]->type.rank) return wrong_shape(v, i, in[i]);
  for (int round = 0; round < 2; round++) /* a symbol may stand alone only behind where it is used */
    for (int i = 0; i < f->params.n; i++)
      for (int d = 0; in[i] && d < in[i]->rank; d++)
        if (!dhc_dim_unify(f->params.at[i]->type.dim[d], in[i]->dim[d], n, f->symbols.at, values, bound, &unbound))
          return wrong_shape(v, i, in[i]);
  for (int i = 0; i < n; i++)
    if (!bound[i]) values[i] = 1;
  return dhc_status_ok();
}

/* Every fact the entry was compiled under must hold at these sizes, whatever runs it: the first
 * that does not is an error at the place that asked for it. */
static dhc_status check_facts(dhc_session *s, const Version *v, const int64_t *values) {
  const DhcFunc *f = v->func;
  for (int i = 0; i < f->facts.nonneg.n; i++) {
    int64_t x;
    if (!dhc_dim_eval(f->facts.nonneg.at[i], f->symbols.n, f->symbols.at, values, &x) || x >= 0) continue;
    DhcFactMessage why = i < f->fact_messages.n ? f->fact_messages.at[i] : (DhcFactMessage){0};
    DhcText fact = {.arena = &s->arena}, sizes = {.arena = &s->arena};
    dhc_dim_print_fact(f->module->dims, f->facts.nonneg.at[i], &fact);
    for (int k = 0; k < f->symbols.n; k++)
      dhc_text_printf(&sizes, "%s%s = %lld", k ? ", " : "", f->symbols.at[k], (long long)values[k]);
    const char *text = why.text ? why.text : dhc_arena_printf(&s->arena, "needs %s", dhc_text_str(&fact));
    DhcDiag *d = dhc_diag(&s->diags, DHC_ERROR, "E0305", why.at.file ? why.at : f->span, "entry '%s': %s", v->entry, text);
    dhc_diag_note(&s->diags, d, (DhcSpan){0}, "the inputs have %s", dhc_text_str(&sizes));
    return dhc_status_make(DHC_E_INPUT, "entry '%s': %s (%s)", v->entry, text, dhc_text_str(&sizes));
  }
  return dhc_status_ok();
}

/* Integers that the entry takes as indices are in range. */
static dhc_status check_indices(const Version *v, const dhc_tensor *in, int n_in) {
  const DhcFunc *f = v->source;
  int64_t values[API_MAX_SYMBOLS] = {0};
  if (!v->n_index_checks || !symbols_fit(f, in, n_in, values)) return dhc_status_ok();
  for (int i = 0; i < v->n_index_checks; i++)
    for (int k = 0; k < n_in; k++)
      if (!strcmp(in[k].name, f->param_info.at[v->index_checks[i].param].name))
        DHC_TRY(index_check(&v->index_checks[i], &in[k], f->symbols.n, f->symbols.at, values));
  return dhc_status_ok();
}

dhc_status api_program_run(dhc_program *p, int index, const dhc_tensor *inputs, int n_inputs, const dhc_tensor **results,
                           int *n_results) {
  NEED(p);
  DHC_TRY(args_tensors(__func__, inputs, n_inputs));
  if (index < 0 || index >= p->n_entries) return dhc_status_make(DHC_E_USAGE, "program has no entry number %d", index);
  Entry *e = &p->entries[index];
  Version *v;
  DHC_TRY(check_names(e, inputs, n_inputs));
  DHC_TRY(program_version(p, e, inputs, n_inputs, &v));
  const dhc_tensor *by_param[4096];
  if (v->func->params.n > 4096) return dhc_status_make(DHC_E_INPUT, "entry '%s' has more than 4096 parameters", e->name);
  DHC_TRY(match_inputs(v, inputs, n_inputs, by_param));
  int64_t values[API_MAX_SYMBOLS] = {0};
  DHC_TRY(symbol_values(v, by_param, values));
  DHC_TRY(check_facts(p->m->s, v, values));
  if (v->reset) DHC_TRY(state_prepare(p, v, values));
  DHC_TRY(check_indices(v, inputs, n_inputs));
  e->last = v;
  if (e->mode == DHC_MODE_TRAIN)
    DHC_TRY(step_run(p, e, v, by_param, values));
  else
    DHC_TRY(p->m->s->interp ? exec_interp_run(p, e, v, by_param) : exec_cpu_run(p, e, v, by_param, values));
  DHC_TRY(check_required(p, e));
  if (results) *results = e->results;
  if (n_results) *n_results = e->n_results;
  return dhc_status_ok();
}

/* What entry number `index` ran last; NULL: nothing, or there is no such entry. */
static const Version *last_version(const dhc_program *p, int index) {
  return p && index >= 0 && index < p->n_entries ? p->entries[index].last : NULL;
}

dhc_memory dhc_program_memory(const dhc_program *p, int index) {
  const Version *v = last_version(p, index);
  if (!v || p->m->s->interp) return (dhc_memory){0};
  return exec_cpu_memory(p, v);
}

int dhc_program_n_kernels(const dhc_program *p, int index) {
  const Version *v = last_version(p, index);
  return v && v->planned ? v->planned->plan.n_kernels : 0;
}

int dhc_program_n_calls(const dhc_program *p, int index) {
  const Version *v = last_version(p, index);
  return v && v->planned ? v->planned->n_calls : 0;
}
