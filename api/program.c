/* Programs: entries over one set of persistent tensors. Which version of an entry runs is
 * decided by the inputs' shapes; everything else is the same for all. */
#include <float.h>
#include <stdlib.h>

#include "api/api.h"

double *program_scalar(dhc_program *p, const char *name) {
  return dhc_prog_scalar(p->run, name);
}

/* Entries may bring scalars that the model had not when the program began. */
static dhc_status new_scalars(dhc_program *p) {
  DhcModule *m = p->m->module;
  for (; p->n_scalars < m->scalars.n; p->n_scalars++) {
    double *value = program_scalar(p, m->scalars.at[p->n_scalars].name);
    if (!value) return dhc_status_make(DHC_E_INPUT, "more than %d scalars", DHC_PROG_MAX_SCALARS);
    *value = m->scalars.at[p->n_scalars].value;
  }
  return dhc_status_ok();
}

static void default_scalars(dhc_program *p) {
  const DhcRecipe *r = dhc_model_recipe(p->m->m);
  *program_scalar(p, DHC_NAME_SEED) = 0;
  *program_scalar(p, DHC_NAME_STEP) = 0;
  *program_scalar(p, DHC_NAME_OPT_STEP) = 1;
  *program_scalar(p, DHC_NAME_LR) = dhc_recipe_lr(r, 0, 1);
  *program_scalar(p, DHC_NAME_CLIP) = r->clip;
  *program_scalar(p, DHC_NAME_LIMIT) = (double)FLT_MAX;
  *program_scalar(p, DHC_NAME_EMA_DECAY) = r->ema;
  for (int i = 0; i < r->optimizer_args.n; i++) {
    char name[128];
    snprintf(name, sizeof name, DHC_NAME_OF("%s"), r->optimizer_args.at[i].name);
    *program_scalar(p, dhc_intern(&p->m->s->strings, name)) = r->optimizer_args.at[i].value;
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
  DhcHeld held;
  dhc_hold(&held, close_program, p);
  DhcDevice *device;
  const dhc_layout *layout = pipeline_layout(m, false);
  dhc_status st = budget_program(p, layout, mode == DHC_MODE_TRAIN);
  if (st.code == DHC_OK) st = session_device(m->s, &device);
  if (st.code == DHC_OK) st = dhc_prog_open(device, layout, &p->run);
  if (st.code == DHC_OK && m->module->scalars.n > DHC_PROG_MAX_SCALARS / 2)
    st = dhc_status_make(DHC_E_INPUT, "the model has %d float hyperparameters; %d are allowed", m->module->scalars.n, DHC_PROG_MAX_SCALARS / 2);
  if (st.code == DHC_OK) st = new_scalars(p);
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

/* Room for the moments of the recipe's optimiser, which are there before the first step is
 * compiled: a checkpoint may be read into it. */
static dhc_status add_states(dhc_program *p) {
  DHC_TRY(program_owns(p, "training"));
  const dhc_layout *l = pipeline_layout(p->m, true);
  if (!l) return session_errors(p->m->s);
  DHC_TRY(budget_program(p, l, true));
  return dhc_prog_extend(p->run, l);
}

dhc_status program_grow(dhc_program *p) {
  const dhc_layout *l = dhc_prog_layout(p->run);
  if (p->m->module->tensors.n == l->n_slots) return dhc_status_ok();
  return dhc_prog_extend(p->run, pipeline_layout(p->m, l->n_ranges > 0));
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
  if (e.form != DHC_FORM_WHOLE && mode == DHC_MODE_GRAD)
    return dhc_status_make(DHC_E_USAGE, "'%s' runs and trains only: gradients are of '%s'", entry, e.plain);
  if (p->n_entries == API_MAX_ENTRIES) return dhc_status_make(DHC_E_USAGE, "a program has at most %d entries", API_MAX_ENTRIES);
  p->entries[p->n_entries] = e;
  if (index) *index = p->n_entries;
  p->n_entries++;
  return mode == DHC_MODE_TRAIN ? add_states(p) : dhc_status_ok();
}

dhc_status program_add_part(dhc_program *p, int *index) {
  if (p->n_entries == API_MAX_ENTRIES) return dhc_status_make(DHC_E_USAGE, "a program has at most %d entries", API_MAX_ENTRIES);
  Entry e = {.name = p->entries[0].name, .mode = API_MODE_PART, .plain = p->entries[0].plain, .form = p->entries[0].form, .info = p->entries[0].info};
  *index = p->n_entries;
  p->entries[p->n_entries++] = e;
  return dhc_status_ok();
}

void dhc_program_close(dhc_program *p) {
  if (!p) return;
  dhc_session *s = p->m->s;
  session_lock(s);
  dhc_budget_release(&p->m->s->budget, &p->charge);
  exec_close(p);
  step_close(p);
  if (p->look) dhc_prog_unload(p->look->loaded);
  dhc_prog_close(p->run);
  dhc_device_close(p->device);
  if (p->pool) dhc_pool_free(p->pool);
  dhc_arena_fini(&p->arena);
  free(p);
  session_unlock(s);
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
    if ((dhc_image_find(v->image, DHC_IMAGE_INPUT, e->inputs[k]) >= 0) != is_given(in, n_in, e->inputs[k])) return false;
  }
  return true;
}

/* What the caller gives, by the image's parameters. */
typedef struct Inputs {
  DhcTensorView *all; /* n_params */
  const DhcTensorView **by_param; /* NULL: no input, or not given */
} Inputs;

static Inputs inputs_make(const dhc_image *im, const dhc_tensor *in, const DhcDevicePtr *at, int n_in, DhcArena *scratch) {
  Inputs x = {DHC_NEW_N(scratch, DhcTensorView, im->n_params + 1), DHC_NEW_N(scratch, const DhcTensorView *, im->n_params + 1)};
  for (int i = 0; i < im->n_params; i++) {
    for (int k = 0; im->tensors[i].role == DHC_IMAGE_INPUT && k < n_in; k++) {
      if (strcmp(in[k].name, im->tensors[i].name)) continue;
      DhcTensorView *v = &x.all[i];
      *v = (DhcTensorView){.name = in[k].name, .dtype = (int32_t)in[k].dtype, .rank = in[k].rank, .data = in[k].data};
      v->bytes = dhc_tensor_bytes(&in[k]);
      v->device = at ? at[k] : 0;
      for (int d = 0; d < in[k].rank; d++) v->shape[d] = in[k].dim[d];
      x.by_param[i] = v;
    }
  }
  return x;
}

static bool shapes_fit(const Version *v, const dhc_tensor *in, int n_in) {
  int64_t symbols[DHC_IMAGE_MAX_SYMBOLS];
  int32_t wrong;
  DhcArena scratch;
  dhc_arena_init(&scratch);
  Inputs x = inputs_make(v->image, in, NULL, n_in, &scratch);
  bool fit = dhc_image_solve(v->image, x.by_param, symbols, &wrong) && dhc_image_guard(v->image, symbols) < 0;
  dhc_arena_fini(&scratch);
  return fit;
}

bool program_fits(const Version *v, const Entry *e, const dhc_tensor *in, int n_in) {
  return same_inputs(v, &e->info, in, n_in) && shapes_fit(v, in, n_in);
}

static Version *enter(Entry *e, Version *v) {
  v->next = e->versions;
  return e->versions = v;
}

/* From the store, or elaborated. */
static dhc_status new_version(dhc_program *p, Entry *e, const dhc_tensor *in, int n_in, Version **out) {
  const char *key;
  int number, n_tensors = p->m->module->tensors.n;
  DhcInputShape *shape = DHC_NEW_N(&p->arena, DhcInputShape, n_in + 1);
  for (int i = 0; i < n_in; i++) {
    int64_t *dim = DHC_NEW_N(&p->arena, int64_t, 8);
    memcpy(dim, in[i].dim, sizeof in[i].dim);
    shape[i] = (DhcInputShape){dhc_intern(&p->m->s->strings, in[i].name), in[i].rank, dim};
  }
  Version *v = kept_version(p, e, in, n_in, &key, &number);
  if (v) {
    v->in = shape;
    v->n_in = n_in;
    *out = enter(e, v);
    return new_scalars(p);
  }
  v = pipeline_graph(p->m, e->name, e->mode, shape, n_in);
  if (!v) return session_errors(p->m->s);
  if (p->m->module->tensors.n == n_tensors) v->key = key;
  v->number = number;
  DHC_TRY(new_scalars(p));
  DHC_TRY(program_grow(p));
  if (v->func->symbols.n > DHC_IMAGE_MAX_SYMBOLS)
    return dhc_status_make(DHC_E_INPUT, "entry '%s' has more than %d symbols", v->entry, DHC_IMAGE_MAX_SYMBOLS);
  pipeline_image(p->m, v, dhc_prog_layout(p->run));
  *out = enter(e, v);
  return dhc_status_ok();
}

dhc_status program_version(dhc_program *p, Entry *e, const dhc_tensor *in, int n_in, Version **out) {
  for (Version *v = e->versions; v; v = v->next) {
    if (v->base || !program_fits(v, e, in, n_in)) continue;
    *out = v;
    return dhc_status_ok();
  }
  double t0 = session_now_ms();
  const dhc_status st = new_version(p, e, in, n_in, out);
  p->m->s->stats.compile_ms += session_now_ms() - t0;
  return st;
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

static dhc_status missing(const Version *v, const char *name, const dhc_tensor *in, int n_in) {
  const char *names[64];
  int n = n_in < 64 ? n_in : 64;
  for (int k = 0; k < n; k++) names[k] = in[k].name;
  const char *near = dhc_suggest(name, names, n);
  return dhc_status_make(DHC_E_INPUT, "entry '%s' needs input '%s'%s%s%s", v->entry, name, near ? ", got '" : "", near ? near : "",
                         near ? "'" : "");
}

static dhc_status check_inputs(const Version *v, const Inputs *x, const dhc_tensor *in, int n_in) {
  for (int i = 0; i < v->image->n_params; i++) {
    const dhc_image_tensor *t = &v->image->tensors[i];
    if (t->role != DHC_IMAGE_INPUT) continue;
    if (!x->by_param[i] && !t->absent) return missing(v, t->name, in, n_in);
    if (!x->by_param[i]) continue;
    dhc_dtype need = (dhc_dtype)t->dtype, got = (dhc_dtype)x->by_param[i]->dtype;
    if (dhc_dtype_is_float(need) && got == DHC_U8)
      return dhc_status_make(DHC_E_INPUT,
                             "input '%s' is u8, entry '%s' needs %.*s; the model's entry normalize makes it of pixels: "
                             "normalize<B, H, W>(pixels: u8[B, 3, H, W]) -> (%s: [B, 3, H, W]) { return float(pixels) * (1.0 / 255.0) }",
                             t->name, v->entry, (int)strcspn(t->type, "["), t->type, t->name);
    if (dhc_dtype_is_float(need) != dhc_dtype_is_float(got))
      return dhc_status_make(DHC_E_INPUT, "input '%s' is %s, entry '%s' needs %.*s", t->name, dhc_dtype_name(got), v->entry,
                             (int)strcspn(t->type, "["), t->type);
  }
  return dhc_status_ok();
}

/* What the entry required of values: bool results, behind those the caller sees. Where one is false, what
 * was written to the states means nothing. */
dhc_status program_required(dhc_program *p, const Version *v) {
  const dhc_image *im = v->image;
  dhc_status st = dhc_status_ok();
  for (int i = 0; i < im->n_requires && st.code == DHC_OK; i++) {
    double holds = 1;
    DHC_TRY(exec_number(p, v, im->requires[i].tensor - im->n_params, &holds));
    if (holds == 0) st = dhc_status_make(DHC_E_INPUT, "entry '%s': %s", v->entry, im->requires[i].message);
  }
  if (st.code != DHC_OK) dhc_program_reset(p);
  return st;
}

static dhc_status wrong_shape(const Version *v, int i, const DhcTensorView *in) {
  char got[128];
  return dhc_status_make(DHC_E_INPUT, "input '%s' is %s, entry '%s' needs %s", in->name,
                         dhc_tensor_shape_text(in->rank, in->shape, got, sizeof got), v->entry, v->image->tensors[i].type);
}

/* Whatever runs it: the first that does not hold is said. */
dhc_status program_guards(dhc_session *s, const Version *v, const int64_t *symbols) {
  const dhc_plan *plan = &v->image->plan;
  int i = dhc_image_guard(v->image, symbols);
  if (i < 0) return dhc_status_ok();
  const dhc_guard *g = &plan->guards[i];
  DhcText sizes = {.arena = &s->arena};
  for (int k = 0; k < plan->n_symbols; k++)
    dhc_text_printf(&sizes, "%s%s = %lld", k ? ", " : "", plan->symbols[k], (long long)symbols[k]);
  DhcSpan at = {.file = g->src_file, .begin = g->src_begin, .end = g->src_end};
  DhcDiag *d = dhc_diag(&s->diags, DHC_ERROR, "E0305", at, "%s", g->message);
  dhc_diag_note(&s->diags, d, (DhcSpan){0}, "the inputs have %s", dhc_text_str(&sizes));
  return dhc_status_make(DHC_E_INPUT, "%s (%s)", g->message, dhc_text_str(&sizes));
}

/* What the inputs make the symbols, everything known before values are looked at checked. */
static dhc_status prepare(dhc_program *p, const Version *v, const Inputs *x, const dhc_tensor *in, int n_in, int64_t *symbols) {
  int32_t wrong;
  DHC_TRY(check_inputs(v, x, in, n_in));
  if (!dhc_image_solve(v->image, x->by_param, symbols, &wrong)) return wrong_shape(v, wrong, x->by_param[wrong]);
  DHC_TRY(program_guards(p->m->s, v, symbols));
  return v->image->n_begins ? state_prepare(p, v, symbols) : dhc_status_ok();
}

static dhc_status plan_version(dhc_program *p, Version *v, const dhc_tensor *in, int n_in, int64_t *symbols) {
  DhcArena scratch;
  dhc_arena_init(&scratch);
  Inputs x = inputs_make(v->image, in, NULL, n_in, &scratch);
  dhc_status st = prepare(p, v, &x, in, n_in, symbols);
  if (st.code == DHC_OK) st = exec_bind(p, v, symbols);
  dhc_arena_fini(&scratch);
  return st;
}

/* Inputs on the device that are converted on their way in, or looked at here, come down. */
static dhc_status bring_down(dhc_program *p, const Version *v, const Inputs *x) {
  for (int i = 0; i < v->image->n_params; i++) {
    void *data;
    DhcTensorView *t = &x->all[i];
    if (!x->by_param[i] || t->data || (t->dtype == v->image->tensors[i].dtype && dhc_tensor_dtype_is_float(t->dtype))) continue;
    DHC_TRY(exec_host(p, t->device, t->bytes, &data));
    t->data = data;
  }
  return dhc_status_ok();
}

static dhc_status run_version(dhc_program *p, Entry *e, Version *v, const dhc_tensor *in, const DhcDevicePtr *at, int n_in, bool wait) {
  int64_t symbols[DHC_IMAGE_MAX_SYMBOLS];
  DhcArena scratch;
  dhc_arena_init(&scratch);
  Inputs x = inputs_make(v->image, in, at, n_in, &scratch);
  dhc_status st = prepare(p, v, &x, in, n_in, symbols);
  for (int i = 0; i < v->image->n_params; i++) x.all[i].stays = p->inputs_stay;
  if (st.code == DHC_OK && at) st = bring_down(p, v, &x);
  if (st.code == DHC_OK) st = dhc_image_check_indices(v->image, x.by_param, symbols);
  if (st.code == DHC_OK) e->last = v;
  if (st.code == DHC_OK)
    st = e->mode == DHC_MODE_TRAIN ? step_run(p, v, x.by_param, symbols)
         : wait                    ? exec_run(p, v, x.by_param, symbols)
                                   : exec_start(p, v, x.by_param, symbols);
  dhc_arena_fini(&scratch);
  return st;
}

/* Compiled and in the program, with what its runs need beside it: from here on nothing asks the compiler. */
static dhc_status make_ready(dhc_program *p, Version *v) {
  DHC_TRY(pipeline_compile(p->m, v));
  DHC_TRY(exec_load(p, v));
  return v->mode == DHC_MODE_TRAIN ? step_ready(p) : dhc_status_ok();
}

/* The version of entry number `index` that these inputs ask for, ready to run. */
static dhc_status ready_version(dhc_program *p, int index, const dhc_tensor *in, int n_in, Version **out) {
  if (index < 0 || index >= p->n_entries) return dhc_status_make(DHC_E_USAGE, "program has no entry number %d", index);
  Entry *e = &p->entries[index];
  if (e->mode == DHC_MODE_TRAIN) DHC_TRY(program_owns(p, "training"));
  DHC_TRY(check_names(e, in, n_in));
  DHC_TRY(program_version(p, e, in, n_in, out));
  if (p->ablation) DHC_TRY(ablate_version(p, e, *out, out));
  return make_ready(p, *out);
}

dhc_status program_bound(dhc_program *p, int index, const dhc_tensor *in, int n_in, int64_t *symbols, Version **out) {
  DHC_TRY(ready_version(p, index, in, n_in, out));
  return plan_version(p, *out, in, n_in, symbols);
}

dhc_status api_program_plan(dhc_program *p, int index, const dhc_tensor *inputs, int n_inputs) {
  int64_t symbols[DHC_IMAGE_MAX_SYMBOLS];
  Version *v;
  NEED(p);
  DHC_TRY(args_tensors(__func__, inputs, n_inputs));
  return program_bound(p, index, inputs, n_inputs, symbols, &v);
}

static dhc_status run_entry(dhc_program *p, int index, const dhc_tensor *in, const DhcDevicePtr *at, int n_in, bool wait, Version **v) {
  DHC_TRY(ready_version(p, index, in, n_in, v));
  DHC_TRY(run_version(p, &p->entries[index], *v, in, at, n_in, wait));
  kept_put(p, *v); /* nobody waits for it any more */
  return program_required(p, *v);
}

dhc_status program_start(dhc_program *p, int index, const dhc_tensor *in, const DhcDevicePtr *at, int n_in, const Version **ran) {
  Version *v;
  DHC_TRY(run_entry(p, index, in, at, n_in, false, &v));
  *ran = v;
  return dhc_status_ok();
}

dhc_status program_run(dhc_program *p, int index, const dhc_tensor *in, const DhcDevicePtr *at, int n_in, const dhc_tensor **results,
                       int *n_results) {
  Version *v;
  DHC_TRY(run_entry(p, index, in, at, n_in, true, &v));
  if (!results && !n_results) return dhc_status_ok();
  Entry *e = &p->entries[index];
  DHC_TRY(exec_results(p, e, v));
  if (results) *results = e->results;
  if (n_results) *n_results = e->n_results;
  return dhc_status_ok();
}

dhc_status api_program_run(dhc_program *p, int index, const dhc_tensor *inputs, int n_inputs, const dhc_tensor **results,
                           int *n_results) {
  NEED(p);
  DHC_TRY(args_tensors(__func__, inputs, n_inputs));
  return program_run(p, index, inputs, NULL, n_inputs, results, n_results);
}

/* ---- inputs on the device -------------------------------------------------------------- */

static dhc_status need_apart(dhc_program *p, const char *name) {
  DhcDeviceInfo info;
  DhcDevice *d = dhc_prog_device(p->run);
  d->ops->describe(d, &info);
  if (d->ops->prepare || info.own_memory) return dhc_status_ok();
  return dhc_status_make(DHC_E_USAGE, "tensor '%s' is to lie in a GPU's memory: backend %s computes in the host's", name, p->m->s->backend);
}

dhc_status api_program_run_at(dhc_program *p, int index, const dhc_tensor *inputs, void *const *at, int n_inputs,
                              const dhc_tensor **results, int *n_results) {
  NEED(p);
  NEED(at);
  DHC_TRY(args_forms(__func__, inputs, n_inputs));
  for (int i = 0; i < n_inputs; i++) DHC_TRY(at[i] ? need_apart(p, inputs[i].name) : args_tensor(&inputs[i]));
  DhcArena scratch;
  dhc_arena_init(&scratch);
  DhcDevicePtr *place = DHC_NEW_N(&scratch, DhcDevicePtr, n_inputs + 1);
  dhc_tensor *in = DHC_NEW_N(&scratch, dhc_tensor, n_inputs + 1);
  for (int i = 0; i < n_inputs; i++) {
    in[i] = inputs[i];
    if (at[i]) in[i].data = NULL; /* the host's may be another */
    place[i] = (DhcDevicePtr)(uintptr_t)at[i];
  }
  p->inputs_stay = true;
  dhc_status st = program_run(p, index, in, place, n_inputs, results, n_results);
  p->inputs_stay = false;
  dhc_arena_fini(&scratch);
  return st;
}

dhc_status api_program_upload(dhc_program *p, const dhc_tensor *t, void **at) {
  NEED_OUT(at);
  NEED(p);
  NEED(t);
  DHC_TRY(args_tensor(t));
  DHC_TRY(need_apart(p, t->name));
  DhcDevice *d = dhc_prog_device(p->run);
  DhcDevicePtr to;
  DHC_TRY(d->ops->alloc(d, dhc_tensor_bytes(t), &to));
  dhc_status st = d->ops->upload(d, to, t->data, dhc_tensor_bytes(t));
  if (st.code == DHC_OK) st = d->ops->synchronise(d);
  if (st.code == DHC_OK) *at = (void *)(uintptr_t)to;
  else d->ops->free(d, to);
  return st;
}

void dhc_program_drop(dhc_program *p, void *at) {
  if (!p || !at) return;
  session_lock(p->m->s);
  DhcDevice *d = dhc_prog_device(p->run);
  d->ops->free(d, (DhcDevicePtr)(uintptr_t)at);
  session_unlock(p->m->s);
}

/* What entry number `index` ran last; NULL: nothing, or there is no such entry. */
static const Version *last_version(const dhc_program *p, int index) {
  return p && index >= 0 && index < p->n_entries ? p->entries[index].last : NULL;
}

dhc_memory dhc_program_memory(const dhc_program *p, int index) {
  const Version *v = last_version(p, index);
  if (!v || session_whole(p->m->s)) return (dhc_memory){0};
  return exec_memory(p, v);
}

const char *dhc_program_input(const dhc_program *p, int index, int i) {
  const Entry *e = p && index >= 0 && index < p->n_entries ? &p->entries[index] : NULL;
  return e && i >= 0 && i < e->info.n_inputs ? e->info.inputs[i] : NULL;
}

int dhc_program_n_kernels(const dhc_program *p, int index) {
  const Version *v = last_version(p, index);
  return v && !session_whole(p->m->s) ? v->image->plan.n_kernels : 0;
}

int dhc_program_n_calls(const dhc_program *p, int index) {
  const Version *v = last_version(p, index);
  int n = 0;
  for (int i = 0; v && !session_whole(p->m->s) && i < v->image->plan.n_items; i++) n += v->image->plan.items[i].kind == DHC_ITEM_CALL;
  return n;
}
