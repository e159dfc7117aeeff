/* What an object is made of: a model, or variants of one, with their entries and weights. */
#include <stdlib.h>

#include "api/build.h"

static const char *const no_entries[] = {"forward"};

static const char *entry_at(const Build *b, int i) { return b->o->n_entries ? b->o->entries[i] : no_entries[i]; }

static const char train_step[] = "train_step", trained[] = "loss"; /* the entry that it is the step of, as everywhere */

static bool has_entry(const BuildModel *x, const char *name) {
  DhcEntryInfos all = dhc_model_entries(x->m->m);
  for (int i = 0; i < all.n; i++)
    if (!strcmp(all.at[i].name, name)) return true;
  return false;
}

/* A training step, unless the model has an entry of that name. */
static bool is_step(const BuildModel *x, const char *name) { return !strcmp(name, train_step) && !has_entry(x, name); }

static dhc_status check_step(const Build *b, const BuildModel *x) {
  if (b->o->n_variants) return dhc_status_make(DHC_E_USAGE, "--entry train_step: an object of several variants does not train; build one of each");
  if (has_entry(x, trained)) return dhc_status_ok();
  return dhc_status_make(DHC_E_INPUT, "--entry train_step: model %s has no entry 'loss' to train", x->m->name);
}

static dhc_status check_entry(const Build *b, const BuildModel *x, const char *name) {
  if (is_step(x, name)) return check_step(b, x);
  DhcEntryInfos all = dhc_model_entries(x->m->m);
  const char *names[64], *plain;
  DhcForm form;
  int n = 0;
  dhc_model_form(x->m->m, name, &plain, &form);
  for (int i = 0; i < all.n; i++) {
    if (n < 64) names[n++] = all.at[i].name;
    if (strcmp(all.at[i].name, plain)) continue;
    return dhc_status_ok();
  }
  const char *near = dhc_suggest(plain, names, n);
  return dhc_status_make(DHC_E_INPUT, "model %s has no entry '%s'%s%s%s", x->m->name, plain, near ? " (did you mean '" : "", near ? near : "",
                         near ? "'?)" : "");
}

/* ---- sizes that are fixed ----------------------------------------------------------------------- */

/* "B=1,L=16" */
static dhc_status parse_binds(Build *b) {
  for (const char *at = b->o->bind && *b->o->bind ? b->o->bind : NULL; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
    int length = (int)strcspn(at, ","), name = (int)strcspn(at, "=,");
    char *end = NULL;
    long long v = at[name] == '=' && at[name + 1] >= '0' && at[name + 1] <= '9' ? strtoll(at + name + 1, &end, 10) : 0;
    if (end != at + length || v < 1 || v > DHC_OBJ_MAX_DIM || !name)
      return dhc_status_make(DHC_E_USAGE, "--bind: needs NAME=N with N from 1 to %d, got \"%.*s\"", DHC_OBJ_MAX_DIM, length, at);
    if (b->n_bind == BUILD_MAX_BINDS) return dhc_status_make(DHC_E_USAGE, "--bind: more than %d sizes", BUILD_MAX_BINDS);
    b->bind_name[b->n_bind] = dhc_arena_strndup(b->arena, at, (size_t)name);
    for (int k = 0; k < b->n_bind; k++)
      if (!strcmp(b->bind_name[k], b->bind_name[b->n_bind])) return dhc_status_make(DHC_E_USAGE, "--bind: '%s' is given twice", b->bind_name[k]);
    b->bind_value[b->n_bind++] = v;
  }
  return dhc_status_ok();
}

static int64_t bound_value(Build *b, const char *symbol) {
  for (int i = 0; i < b->n_bind; i++)
    if (!strcmp(b->bind_name[i], symbol)) {
      b->bind_used[i] = true;
      return b->bind_value[i];
    }
  if (!b->o->instructions || b->n_bind == BUILD_MAX_BINDS) return 0;
  b->bind_name[b->n_bind] = symbol;
  b->bind_used[b->n_bind] = true;
  return b->bind_value[b->n_bind++] = 1;
}

/* The shapes of the entry's inputs where all its sizes are fixed: they decide its branches. n 0: they are not. */
static DhcInputShape *bound_shapes(Build *b, const DhcFunc *f, int *n) {
  int64_t *value = DHC_NEW_N(b->arena, int64_t, f->symbols.n + 1);
  DhcInputShape *in = DHC_NEW_N(b->arena, DhcInputShape, f->params.n + 1);
  bool all = b->n_bind > 0 || b->o->instructions;
  *n = 0;
  for (int i = 0; i < f->symbols.n; i++) all = (value[i] = bound_value(b, f->symbols.at[i])) > 0 && all;
  for (int i = 0; all && i < f->params.n; i++) {
    const DhcType *t = &f->params.at[i]->type;
    int64_t *dim = DHC_NEW_N(b->arena, int64_t, 8);
    if (f->param_info.at[i].role != DHC_ROLE_INPUT) continue;
    for (int d = 0; d < t->rank; d++)
      if (!dhc_dim_eval(t->dim[d], f->symbols.n, f->symbols.at, value, &dim[d])) all = false;
    in[(*n)++] = (DhcInputShape){f->param_info.at[i].name, t->rank, dim};
  }
  if (!all) *n = 0;
  return in;
}

/* The optional inputs that the entry has and callers are to give. */
static DhcInputShape *optional_inputs(Build *b, const BuildModel *x, const char *entry, int *n) {
  DhcInputShape *in = DHC_NEW_N(b->arena, DhcInputShape, b->o->n_optional + 1);
  DhcEntryInfos all = dhc_model_entries(x->m->m);
  *n = 0;
  for (int e = 0; e < all.n; e++)
    for (int k = 0; !strcmp(all.at[e].name, entry) && k < all.at[e].n_inputs; k++)
      for (int i = 0; i < b->o->n_optional; i++) {
        if (!all.at[e].optional[k] || strcmp(all.at[e].inputs[k], b->o->optional[i])) continue;
        in[(*n)++] = (DhcInputShape){all.at[e].inputs[k], -1, NULL};
        b->optional_used[i] = true;
      }
  return in;
}

static dhc_status unused_optional(const Build *b) {
  for (int i = 0; i < b->o->n_optional; i++) {
    const char *names[64], *near;
    int n = 0;
    if (b->optional_used[i]) continue;
    for (int k = 0; k < b->model[0].n; k++) {
      DhcEntryInfos all = dhc_model_entries(b->model[0].m->m);
      for (int e = 0; e < all.n; e++)
        for (int j = 0; !strcmp(all.at[e].name, b->model[0].plain[k]) && j < all.at[e].n_inputs && n < 64; j++)
          if (all.at[e].optional[j]) names[n++] = all.at[e].inputs[j];
    }
    near = dhc_suggest(b->o->optional[i], names, n);
    return dhc_status_make(DHC_E_USAGE, "--optional: no entry of the object has an optional input '%s'%s%s%s", b->o->optional[i],
                           near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
  }
  return dhc_status_ok();
}

static dhc_status unused_binds(const Build *b) {
  for (int i = 0; i < b->n_bind; i++)
    if (!b->bind_used[i]) return dhc_status_make(DHC_E_USAGE, "--bind: no entry of the object has a size '%s'", b->bind_name[i]);
  return dhc_status_ok();
}

/* ---- entries ---------------------------------------------------------------------------------------- */

static dhc_status add_graph(Build *b, BuildModel *x, const char *name) {
  if (x->n == API_MAX_ENTRIES) return dhc_status_make(DHC_E_USAGE, "an object has at most %d entries, resets among them", API_MAX_ENTRIES);
  DhcForm form;
  dhc_mode mode = is_step(x, name) ? DHC_MODE_TRAIN : DHC_MODE_RUN;
  x->name[x->n] = name;
  if (mode == DHC_MODE_TRAIN) name = dhc_intern(&b->s->strings, trained);
  dhc_model_form(x->m->m, name, &x->plain[x->n], &form);
  int n_in;
  DhcInputShape *given = optional_inputs(b, x, x->plain[x->n], &n_in);
  x->version[x->n] = pipeline_graph(x->m, name, mode, given, n_in);
  if (!x->version[x->n]) return session_errors(b->s);
  DhcInputShape *in = bound_shapes(b, x->version[x->n]->func, &n_in);
  if (n_in && !(x->version[x->n] = pipeline_graph(x->m, name, mode, in, n_in))) return session_errors(b->s);
  x->version[x->n]->way.rq.bounded = b->o->bounded;
  x->version[x->n]->way.panel_tag = (int)b->tag;
  x->version[x->n]->way.narrow = &x->narrow;
  x->trains = x->trains || mode == DHC_MODE_TRAIN;
  x->n++;
  return dhc_status_ok();
}

static bool has_states(const Version *v) {
  for (int i = 0; i < v->func->params.n; i++)
    if (v->func->param_info.at[i].role == DHC_ROLE_STATE) return true;
  return false;
}

/* "forward.step" brings "forward.reset", "step" brings "reset": who carries states on has to begin. */
static dhc_status add_resets(Build *b, BuildModel *x) {
  for (int i = 0, n = x->n; i < n; i++) {
    const Version *v = x->version[i];
    if (!v->reset || !has_states(v)) continue;
    const char *dot = strrchr(v->entry, '.'), *plain = "";
    DhcForm form;
    const char *name = dhc_intern(&b->s->strings, dhc_arena_printf(b->arena, "%.*sreset", dot ? (int)(dot + 1 - v->entry) : 0, v->entry));
    dhc_model_form(x->m->m, name, &plain, &form);
    bool there = form != DHC_FORM_RESET; /* the model's own entry of that name */
    for (int k = 0; k < x->n && !there; k++) there = x->version[k]->form == DHC_FORM_RESET && !strcmp(x->plain[k], plain);
    if (!there) DHC_TRY(add_graph(b, x, name));
  }
  return dhc_status_ok();
}

/* By all entries that the model has as it is set, whichever of them the object has, at sizes that are open. */
static void find_narrow(const Build *b, BuildModel *x) {
  DhcEntryInfos all = dhc_model_entries(x->m->m);
  for (int i = 0; i < all.n && b->o->quantize; i++) {
    const Version *v = pipeline_try(x->m, all.at[i].name, NULL, 0);
    if (v) dhc_narrow_find(v->module, b->arena, &x->narrow);
  }
}

static dhc_status graphs(Build *b, BuildModel *x) {
  int n = b->o->n_entries ? b->o->n_entries : 1;
  find_narrow(b, x);
  for (int i = 0; i < n; i++) {
    const char *name = dhc_intern(&b->s->strings, entry_at(b, i));
    for (int k = 0; k < x->n; k++)
      if (!strcmp(name, x->name[k])) return dhc_status_make(DHC_E_USAGE, "--entry %s: given twice", name);
    DHC_TRY(check_entry(b, x, name));
    DHC_TRY(add_graph(b, x, name));
  }
  DHC_TRY(add_resets(b, x));
  x->layout = pipeline_layout(x->m, x->trains); /* after all forms: they may have brought states */
  return dhc_status_ok();
}

/* ---- models ------------------------------------------------------------------------------------------- */

static dhc_status check_variant(const Build *b, int i) {
  const dhc_build_variant *v = &b->o->variants[i];
  NEED(v->name);
  if (!*v->name || strcmp(dhc_object_identifier(v->name, b->arena), v->name))
    return dhc_status_make(DHC_E_USAGE, "--variant: needs a name of letters, digits and _ that is no word of C, got \"%s\"", v->name);
  for (int k = 0; k < i; k++)
    if (!strcmp(b->o->variants[k].name, v->name)) return dhc_status_make(DHC_E_USAGE, "--variant %s: given twice", v->name);
  return dhc_status_ok();
}

/* The model as it was opened, and the variant's settings behind its own. */
static dhc_status open_variant(Build *b, const dhc_model *m, BuildModel *x) {
  dhc_model_options o = m->asked;
  const char **sets = DHC_NEW_N(b->arena, const char *, o.n_sets + x->variant->n_sets + 1);
  for (int i = 0; i < o.n_sets; i++) sets[i] = o.sets[i];
  for (int i = 0; i < x->variant->n_sets; i++) sets[o.n_sets++] = x->variant->sets[i];
  o.sets = sets;
  return dhc_model_open(b->s, &o, &x->m);
}

dhc_status build_open(Build *b, dhc_model *m) {
  int n = b->o->n_variants;
  if (n > BUILD_MAX_VARIANTS) return dhc_status_make(DHC_E_USAGE, "--variant: given more than %d times", BUILD_MAX_VARIANTS);
  b->model = DHC_NEW_N(b->arena, BuildModel, n + BUILD_MAX_LEVELS);
  for (int i = 0; !n && i < (b->o->multiversion ? BUILD_MAX_LEVELS : 1); i++) b->model[b->n_models++] = (BuildModel){.m = m};
  for (int i = 0; i < n; i++) {
    DHC_TRY(check_variant(b, i));
    BuildModel *x = &b->model[b->n_models++];
    *x = (BuildModel){.variant = &b->o->variants[i]};
    DHC_TRY(open_variant(b, m, x));
  }
  return dhc_status_ok();
}

void build_close(Build *b) {
  for (int i = 0; i < b->n_models; i++) {
    dhc_program_close(b->model[i].program);
    if (b->model[i].variant) dhc_model_close(b->model[i].m);
  }
}

/* ---- values ---------------------------------------------------------------------------------------------- */

static dhc_status find_values(const Build *b, BuildModel *x) {
  const dhc_layout *l = dhc_prog_layout(x->program->run);
  x->values = DHC_NEW_N(b->arena, const void *, l->n_slots + 1);
  for (int i = 0; i < l->n_slots; i++) {
    const dhc_slot *s = &l->slots[i];
    void *at;
    if (s->role == DHC_IMAGE_STATE) continue;
    DHC_TRY(exec_host(x->program, dhc_prog_slot(x->program->run, i, DHC_WEIGHTS), s->n * dhc_tensor_dtype_bytes(s->dtype), &at));
    x->values[i] = at;
  }
  return dhc_status_ok();
}

dhc_status build_program(const Build *b, BuildModel *x) {
  if (x->program) return dhc_status_ok();
  DHC_TRY(dhc_program_open(x->m, x->version[0]->entry, DHC_MODE_RUN, &x->program));
  DHC_TRY(x->trains ? dhc_program_init(x->program, b->o->seed) : weights_begin(x->program, true));
  return find_values(b, x);
}

static dhc_status load_weights(const Build *b, BuildModel *x) {
  const char *weights = build_weights(b->o, x->variant);
  if (!weights) return x->variant ? build_program(b, x) : dhc_status_ok(); /* tables of variants may differ */
  DHC_TRY(dhc_program_open(x->m, x->version[0]->entry, DHC_MODE_RUN, &x->program));
  DHC_TRY(dhc_program_load(x->program, weights, false));
  return find_values(b, x);
}

const void *build_values(const Build *b, int slot) {
  const BuildHome *h = &b->home.at[slot];
  return b->model[h->model].values[h->slot];
}

int build_row_axes(const Build *b, int slot) {
  const BuildModel *x = &b->model[b->home.at[slot].model];
  return dhc_narrow_row_axes(&x->narrow, x->layout->slots[b->home.at[slot].slot].name);
}

/* ---- one layout ----------------------------------------------------------------------------------------- */

static bool same_form(const dhc_slot *a, const dhc_slot *b) {
  bool same = a->role == b->role && a->dtype == b->dtype && a->rank == b->rank;
  for (int d = 0; d < a->rank && same; d++) same = a->dim[d] == b->dim[d];
  return same;
}

/* Weights that callers pass are equal where they are called the same; what is known has to be. */
static bool same_values(const Build *b, const dhc_slot *s, int slot, const BuildModel *x, int own) {
  bool known = s->role == DHC_IMAGE_TABLE || (s->role != DHC_IMAGE_STATE && build_weights(b->o, x->variant));
  return !known || !memcmp(build_values(b, slot), x->values[own], (size_t)(s->n * dhc_tensor_dtype_bytes(s->dtype)));
}

typedef struct Slots {
  DHC_VEC(dhc_slot) all;
  DHC_VEC(const char *) name; /* what each is called in its own model */
} Slots;

static int merge_slot(Build *b, Slots *to, int model, int own) {
  const BuildModel *x = &b->model[model];
  dhc_slot s = x->layout->slots[own];
  const char *name = s.name;
  for (int i = 0; i < to->all.n; i++) {
    if (strcmp(to->name.at[i], name)) continue;
    bool same = same_form(&to->all.at[i], &s) && build_row_axes(b, i) == dhc_narrow_row_axes(&x->narrow, name);
    if (same && same_values(b, &s, i, x, own)) return i;
    s.name = dhc_arena_printf(b->arena, "%s:%s", x->variant->name, name);
  }
  DHC_PUSH(b->arena, &to->all, s);
  DHC_PUSH(b->arena, &to->name, name);
  DHC_PUSH(b->arena, &b->home, ((BuildHome){model, own}));
  return to->all.n - 1;
}

static void merge_layouts(Build *b) {
  Slots to = {0};
  for (int i = 0; i < b->n_models; i++) {
    BuildModel *x = &b->model[i];
    x->slot_of = DHC_NEW_N(b->arena, int, x->layout->n_slots + 1);
    for (int s = 0; s < x->layout->n_slots; s++) x->slot_of[s] = i && b->o->multiversion ? s : merge_slot(b, &to, i, s);
  }
  dhc_layout *all = DHC_NEW(b->arena, dhc_layout);
  *all = (dhc_layout){.n_slots = to.all.n, .slots = to.all.at, .dtype = b->model[0].layout->dtype};
  b->layout = all;
}

dhc_status build_models(Build *b) {
  DHC_TRY(parse_binds(b));
  b->optional_used = DHC_NEW_N(b->arena, bool, b->o->n_optional + 1);
  for (int i = 0; i < b->n_models; i++) DHC_TRY(graphs(b, &b->model[i]));
  DHC_TRY(unused_binds(b));
  DHC_TRY(unused_optional(b));
  for (int i = 0; i < (b->o->multiversion ? 1 : b->n_models); i++) DHC_TRY(load_weights(b, &b->model[i]));
  merge_layouts(b);
  return dhc_status_ok();
}
