/* Entries of a model as functions; versions by facts. */
#include "frontend/elab_internal.h"

/* i64[B, L], or of another type of integers; a run of dims may be two. */
static bool is_tokens(const DhcAstType *t) {
  dhc_dtype type;
  if (t->kind != DHC_TY_TENSOR || !t->has_dtype || !t->shape) return false;
  bool fits = t->shape->u.list.n == 2;
  for (int i = 0; i < t->shape->u.list.n; i++) fits = fits || t->shape->u.list.at[i]->kind == DHC_EX_RUN;
  return fits && dhc_dtype_parse(t->dtype.text, &type) && dhc_dtype_is_int(type);
}

DhcEntryInfos dhc_model_entries(const DhcModel *m) {
  DhcEntryInfos out = {0};
  DhcArena *a = m->e->arena;
  for (int i = 0; i < m->root->entries.n; i++) {
    const DhcAstItem *it = m->root->entries.at[i];
    const DhcAstSignature *sig = &it->u.entry.sig;
    DhcEntryInfo e = {.name = sig->name.text,
                      .is_metric = it->u.entry.is_metric,
                      .n_inputs = sig->inputs.n,
                      .n_outputs = sig->outputs.n};
    const char **names = DHC_NEW_N(a, const char *, sig->inputs.n + sig->outputs.n + 1);
    for (int k = 0; k < sig->inputs.n; k++) names[k] = sig->inputs.at[k].name.text;
    for (int k = 0; k < sig->outputs.n; k++) names[sig->inputs.n + k] = sig->outputs.at[k].name.text;
    bool *optional = DHC_NEW_N(a, bool, sig->inputs.n + 1);
    bool *tokens = DHC_NEW_N(a, bool, sig->inputs.n + 1);
    for (int k = 0; k < sig->inputs.n; k++) {
      optional[k] = sig->inputs.at[k].default_value != NULL;
      tokens[k] = is_tokens(&sig->inputs.at[k].type);
    }
    e.inputs = names;
    e.optional = optional;
    e.tokens = tokens;
    e.outputs = names + sig->inputs.n;
    DHC_PUSH(a, &out, e);
  }
  return out;
}

const char *dhc_model_classes_setting(const DhcModel *m) {
  for (int i = 0; i < m->root->entries.n; i++) {
    const DhcAstParams *out = &m->root->entries.at[i]->u.entry.sig.outputs;
    for (int k = 0; k < out->n; k++) {
      const DhcAstExpr *shape = out->at[k].type.kind == DHC_TY_TENSOR ? out->at[k].type.shape : NULL;
      const DhcAstExpr *last = shape && shape->u.list.n ? shape->u.list.at[shape->u.list.n - 1] : NULL;
      if (!strcmp(out->at[k].name.text, "logits") && last && last->kind == DHC_EX_NAME && dhc_inst_hyper(m->root, last->u.name)) return last->u.name;
    }
  }
  return NULL;
}

const char *dhc_model_entry_for(const DhcModel *m, const char *const *inputs, int n) {
  for (int i = 0; i < m->root->entries.n; i++) {
    const DhcAstSignature *sig = &m->root->entries.at[i]->u.entry.sig;
    int n_found = 0;
    bool all = true;
    for (int k = 0; all && k < sig->inputs.n; k++) {
      bool found = false;
      for (int j = 0; j < n; j++) found = found || !strcmp(sig->inputs.at[k].name.text, inputs[j]);
      n_found += found;
      all = found || sig->inputs.at[k].default_value;
    }
    if (all && n_found == n) return sig->name.text;
  }
  return NULL;
}

/* ---- what the request says about symbols ------------------------------------------------------------ */

static const DhcInputShape *given(const DhcEntryRequest *r, const char *name) {
  for (int i = 0; i < r->n_inputs; i++)
    if (!strcmp(r->inputs[i].name, name)) return &r->inputs[i];
  return NULL;
}

static void hint(DhcRun *run, const char *name, int64_t v) {
  for (int i = 0; i < run->n_hints; i++)
    if (run->hint_name[i] == name) return;
  if (run->n_hints == 64) return;
  run->hint_name[run->n_hints] = name;
  run->hint_value[run->n_hints++] = v;
}

static const char *run_symbol(DhcModel *m, const DhcAstSignature *sig, const char *run, int k) {
  const char *name = dhc_intern(m->e->strings, dhc_arena_printf(m->e->arena, "%s%d", run, k));
  for (int i = 0; i < sig->binders.n; i++) /* <S0, ...S> */
    if (sig->binders.at[i].name.text == name)
      return dhc_intern(m->e->strings, dhc_arena_printf(m->e->arena, "%s_%d", run, k));
  return name;
}

/* Rank of run `name` by the request (2 if it does not say) and hints for lone symbols. */
static bool read_hints(DhcCx *cx, DhcRun *run, const DhcAstSignature *sig, const DhcEntryRequest *r,
                       int *ranks) {
  int n_runs = 0;
  for (int i = 0; i < sig->binders.n; i++)
    if (sig->binders.at[i].is_run && n_runs < DHC_MAX_RANK) ranks[n_runs++] = 2;
  for (int i = 0; i < sig->inputs.n; i++) {
    const DhcAstParam *p = &sig->inputs.at[i];
    const DhcInputShape *x = given(r, p->name.text);
    if (!x || x->rank < 0 || p->type.kind != DHC_TY_TENSOR) continue;
    const DhcAstExprs *list = &p->type.shape->u.list;
    int at = -1;
    for (int k = 0; k < list->n; k++)
      if (list->at[k]->kind == DHC_EX_RUN) at = k;
    int fixed = list->n - (at >= 0);
    if (at < 0 ? x->rank != fixed : x->rank < fixed) {
      dhc_err(cx, "E0308", p->span, "input '%s' is given with %d dims, needs %s%d", p->name.text, x->rank,
              at >= 0 ? "at least " : "", fixed);
      return false;
    }
    for (int k = 0, d = 0; k < list->n; k++) {
      const DhcAstExpr *e = list->at[k];
      if (e->kind == DHC_EX_NAME) hint(run, e->u.name, x->dim[d]);
      if (e->kind != DHC_EX_RUN) {
        d++;
        continue;
      }
      int which = 0;
      for (int b = 0; b < sig->binders.n; b++) {
        if (sig->binders.at[b].is_run && sig->binders.at[b].name.text == e->u.name && which < DHC_MAX_RANK)
          ranks[which] = x->rank - fixed;
        which += sig->binders.at[b].is_run;
      }
      for (int j = 0; j < x->rank - fixed; j++)
        hint(run, run_symbol(cx->m, sig, e->u.name, j), x->dim[d + j]);
      d += x->rank - fixed;
    }
  }
  return true;
}

/* ---- the function's frame ---------------------------------------------------------------------------- */

static void bind_symbols(DhcCx *cx, const DhcAstSignature *sig, const int *ranks) {
  DhcFunc *f = cx->fn->f;
  DhcDims *dims = dhc_cx_dims(cx);
  for (int i = 0, run = 0; i < sig->binders.n; i++) {
    const DhcAstBinder *b = &sig->binders.at[i];
    if (cx->run->form == DHC_FORM_STEP && !b->is_run && !strcmp(b->name.text, "L")) {
      dhc_scope_set(cx, b->name.text, dhc_v_int(1)); /* static: length-1 rewrites apply */
      continue;
    }
    if (!b->is_run) {
      DHC_PUSH(dhc_cx_arena(cx), &f->symbols, b->name.text);
      dhc_scope_set(cx, b->name.text, dhc_v_dim(dhc_dim_symbol(dims, b->name.text)));
      continue;
    }
    DhcVal v[DHC_MAX_RANK];
    int rank = run < DHC_MAX_RANK ? ranks[run] : 0;
    run++;
    for (int k = 0; k < rank; k++) {
      const char *name = run_symbol(cx->m, sig, b->name.text, k);
      DHC_PUSH(dhc_cx_arena(cx), &f->symbols, name);
      v[k] = dhc_v_dim(dhc_dim_symbol(dims, name));
    }
    dhc_scope_set(cx, b->name.text, dhc_v_list(cx, DHC_V_LIST, v, rank));
  }
}

static bool is_given(const DhcEntryRequest *r, const DhcAstParam *p) {
  return !p->default_value || r->all_inputs || given(r, p->name.text);
}

static bool add_inputs(DhcCx *cx, const DhcAstSignature *sig) {
  for (int i = 0; i < sig->inputs.n; i++) {
    const DhcAstParam *p = &sig->inputs.at[i];
    DhcType t;
    if (!is_given(cx->run->request, p)) {
      DhcVal v = dhc_absent_input(cx, p);
      if (v.kind == DHC_V_ERROR) return false;
      dhc_scope_set(cx, p->name.text, v);
      continue;
    }
    int before = cx->e->diags->n_errors;
    if (!dhc_eval_type(cx, &p->type, &t, dhc_arena_printf(dhc_cx_arena(cx), "tensor '%s'", p->name.text))) {
      if (cx->e->diags->n_errors == before)
        dhc_err(cx, "E0303", p->span, "input '%s' of an entry needs a tensor type", p->name.text);
      return false;
    }
    DhcParamInfo info = {.name = p->name.text, .role = DHC_ROLE_INPUT, .decl = -1};
    DhcVal v = dhc_v_tensor(dhc_func_param(cx->fn->f, &t, info, p->span));
    v.name = p->name.text;
    v.def = p->span;
    v.local = true;
    dhc_scope_set(cx, p->name.text, v);
  }
  return true;
}

static bool add_results(DhcCx *cx, const DhcAstSignature *sig, DhcVal r) {
  int n = r.kind == DHC_V_VOID ? 0 : r.kind == DHC_V_TUPLE ? r.list.n : 1;
  for (int i = 0; i < n; i++) {
    DhcVal v = r.kind == DHC_V_TUPLE ? r.list.at[i] : r;
    DhcValue *t = dhc_as_tensor(cx, &v, -1, sig->span);
    if (!t) return false;
    const char *name =
        i < sig->outputs.n ? sig->outputs.at[i].name.text : dhc_arena_printf(dhc_cx_arena(cx), "result%d", i);
    dhc_func_result(cx->fn->f, t, name);
  }
  for (int i = 0; i < cx->fn->taps.n; i++)
    if (cx->fn->taps.at[i].require) dhc_func_result(cx->fn->f, cx->fn->taps.at[i].value, cx->fn->taps.at[i].path);
  for (int i = 0; i < cx->fn->stores.n; i++) {
    const DhcStore *s = &cx->fn->stores.at[i];
    DhcValue *args[2] = {dhc_fn_tensor(cx, s->tensor), s->value};
    if (!dhc_build1(dhc_at(cx, s->span), DHC_OP_UPDATE, args, 2, NULL, 0)) return false;
  }
  return true;
}

/* "forward", "forward.step" */
static const char *form_name(DhcCx *cx, const DhcAstSignature *sig) {
  if (cx->run->form == DHC_FORM_WHOLE) return sig->name.text;
  const char *form = cx->run->form == DHC_FORM_STEP ? "step" : "stream"; /* .reset comes of the latter */
  return dhc_arena_printf(dhc_cx_arena(cx), "%s.%s", sig->name.text, form);
}

static bool keeps_state(DhcCx *cx, const DhcAstSignature *sig) {
  if (cx->run->form == DHC_FORM_WHOLE || cx->fn->states.n) return true;
  if (cx->run->request->may_lack) return false;
  DhcDiag *d = dhc_err(cx, "E0321", sig->name.span, "entry '%s' uses no state here: it has no %s form", sig->name.text,
                       dhc_form_names[cx->run->form]);
  dhc_err_hint(cx, d, "each run of '%s' stands by itself; a state is declared as `state h: [B, d] = zeros()`", sig->name.text);
  return false;
}

static bool has_result(const DhcFunc *f, const char *name) {
  for (int i = 0; i < f->results.n; i++)
    if (f->result_names.at[i] && !strcmp(f->result_names.at[i], name)) return true;
  return false;
}

/* Taps that the request asks for, behind all other results. */
static void add_reported(DhcCx *cx, const char *const *pattern) {
  DhcFn *fn = cx->fn;
  for (int i = 0; pattern && i < fn->taps.n; i++) {
    const char *path = fn->taps.at[i].path;
    bool wanted = false;
    if (fn->taps.at[i].require) continue;
    for (int k = 0; pattern[k]; k++) wanted = wanted || dhc_tap_matches(pattern[k], path);
    if (!wanted) continue;
    const char *name = dhc_arena_printf(dhc_cx_arena(cx), DHC_PREFIX_TAP "%s", path);
    for (int k = 2; has_result(fn->f, name); k++) name = dhc_arena_printf(dhc_cx_arena(cx), DHC_PREFIX_TAP "%s.%d", path, k);
    dhc_func_result(fn->f, fn->taps.at[i].value, name);
  }
}

static DhcFunc *elaborate(DhcModel *m, const DhcAstItem *it, DhcRun *run, const int *ranks) {
  const DhcAstSignature *sig = &it->u.entry.sig;
  DhcScope scope = {0};
  DhcCx cx = {.e = m->e,
              .m = m,
              .self = m->root,
              .owner = m->root,
              .file = m->root->file,
              .scope = &scope,
              .run = run,
              .sig = sig};
  int before = m->e->diags->n_errors;
  cx.fn = dhc_fn_begin(&cx, form_name(&cx, sig), DHC_FUNC_ENTRY, NULL, false);
  cx.fn->f->span = it->span;
  cx.fn->b.span = it->span;
  bind_symbols(&cx, sig, ranks);
  if (!add_inputs(&cx, sig)) return NULL;
  dhc_run_body(&cx, &it->u.entry.body);
  if (m->e->diags->n_errors > before) return NULL;
  DhcVal r = cx.has_result ? cx.result : (DhcVal){.kind = DHC_V_VOID};
  DhcSpan at = it->u.entry.body.n ? it->u.entry.body.at[it->u.entry.body.n - 1]->span : sig->span;
  r = dhc_check_outputs(&cx, sig, r, at);
  if (r.kind == DHC_V_ERROR || !add_results(&cx, sig, r) || !keeps_state(&cx, sig)) return NULL;
  add_reported(&cx, run->request->report);
  if (m->e->diags->n_errors > before) return NULL;
  return run->form == DHC_FORM_RESET ? dhc_state_reset(&cx, sig->name.text) : cx.fn->f;
}

/* ---- versions ---------------------------------------------------------------------------------------------
 */

static bool facts_hold(const DhcFunc *f, const DhcRun *run) {
  for (int i = 0; i < f->facts.nonneg.n; i++) {
    int64_t v;
    if (!dhc_dim_eval(f->facts.nonneg.at[i], run->n_hints, run->hint_name, run->hint_value, &v)) {
      if (run->n_hints) return false;
      continue; /* nothing known: the first version will do */
    }
    if (v < 0) return false;
  }
  return true;
}

/* A function for the entry that the request's extents satisfy, if there is one already. */
static DhcFunc *find_version(DhcModel *m, const DhcEntryRequest *r, uint64_t given_inputs, const DhcRun *run,
                             const int *ranks, int n_runs, int *n) {
  *n = 0;
  for (int i = 0; i < m->versions.n; i++) {
    const DhcVersion *v = &m->versions.at[i];
    if (strcmp(v->entry, r->name) || v->training != r->training || v->part != r->part || v->reported != !!r->report) continue;
    if (v->form != r->form || v->given != given_inputs) continue;
    ++*n;
    if (v->n_runs != n_runs || memcmp(v->run_rank, ranks, sizeof(int) * (size_t)n_runs)) continue;
    if (!facts_hold(v->func, run)) continue;
    m->n_open = v->n_open;
    return v->func;
  }
  return NULL;
}

bool dhc_model_seal(DhcModel *m) {
  dhc_module_merge_units(m->module);
  dhc_module_sort(m->module);
  return dhc_verify(m->module, DHC_STAGE_GRAPH, "elaboration");
}

/* What follows a `require` that rules the whole case out is no error of the text. */
static void forget_refused(DhcDiags *d, const DhcRun *run) {
  if (d->all.n > run->n_all) d->all.n = run->n_all;
  if (d->n_errors > run->n_errors) d->n_errors = run->n_errors;
  if (d->n_warnings > run->n_warnings) d->n_warnings = run->n_warnings;
}

int dhc_model_open_ifs(const DhcModel *m) {
  return m->n_open;
}

DhcFunc *dhc_model_entry(DhcModel *m, const DhcEntryRequest *r) {
  DhcScope scope = {0};
  DhcRun run = {.request = r, .training = r->training, .streaming = r->form != DHC_FORM_WHOLE, .form = r->form};
  DhcCx cx = {.e = m->e, .m = m, .self = m->root, .owner = m->root, .file = m->root->file, .scope = &scope};
  const DhcAstItem *it = dhc_inst_entry(m->root, r->name);
  m->n_open = 0;
  dhc_limit_begin(m->e);
  if (!it) {
    DHC_VEC(const char *) names = {0};
    for (int i = 0; i < m->root->entries.n; i++)
      DHC_PUSH(m->e->arena, &names, m->root->entries.at[i]->u.entry.sig.name.text);
    DhcDiag *d = dhc_err(&cx, "E0301", m->root->decl->name.span, "%s has no entry '%s'",
                         m->root->decl->name.text, r->name);
    const char *close = dhc_suggest(r->name, names.at, names.n);
    if (close) dhc_err_hint(&cx, d, "did you mean '%s'?", close);
    return NULL;
  }
  int ranks[DHC_MAX_RANK] = {0}, n_runs = 0, n_versions;
  if (!read_hints(&cx, &run, &it->u.entry.sig, r, ranks)) return NULL;
  for (int i = 0; i < it->u.entry.sig.binders.n; i++) n_runs += it->u.entry.sig.binders.at[i].is_run;
  if (n_runs > DHC_MAX_RANK) n_runs = DHC_MAX_RANK;
  uint64_t given_inputs = 0;
  for (int i = 0; i < it->u.entry.sig.inputs.n && i < 64; i++)
    given_inputs |= (uint64_t)is_given(r, &it->u.entry.sig.inputs.at[i]) << i;
  DhcFunc *f = find_version(m, r, given_inputs, &run, ranks, n_runs, &n_versions);
  if (f && !r->flip) return f;
  if (n_versions >= DHC_MAX_VERSIONS && !r->flip) {
    DhcDiag *d = dhc_err(&cx, "E0317", it->u.entry.sig.name.span, "entry '%s' has more than %d versions",
                         r->name, DHC_MAX_VERSIONS);
    dhc_err_hint(&cx, d, "each `if` on dims that nothing decides doubles them; state facts with require");
    return NULL;
  }
  const int n_funcs = m->module->funcs.n, before = m->e->diags->n_errors;
  f = elaborate(m, it, &run, ranks);
  m->n_open = run.n_open;
  if (!f && run.refused) forget_refused(m->e->diags, &run);
  if (!f || m->e->diags->n_errors > before) { /* nothing half-made stays: who asks again hears it again */
    m->module->funcs.n = n_funcs;
    return NULL;
  }
  if (!m->batch && !dhc_model_seal(m)) return NULL;
  if (r->flip) return f; /* looked at, and no version of its own */
  DhcVersion v = {.entry = it->u.entry.sig.name.text, .training = r->training, .part = r->part, .reported = !!r->report, .form = r->form,
                  .given = given_inputs, .func = f, .n_runs = n_runs, .n_open = run.n_open};
  memcpy(v.run_rank, ranks, sizeof v.run_rank);
  DHC_PUSH(m->e->arena, &m->versions, v);
  return f;
}

static DhcInst *inst_at(DhcInst *inst, const char *path) {
  if (!strcmp(inst->path, path)) return inst;
  for (int i = 0; i < inst->children.n; i++) {
    DhcInst *found = inst_at(inst->children.at[i], path);
    if (found) return found;
  }
  return NULL;
}

const DhcFunc *dhc_model_layer_entry(DhcModel *m, const char *path, const DhcEntryRequest *request) {
  DhcModel was = *m;
  DhcInst *inst = inst_at(m->root, path);
  if (!inst || !dhc_inst_entry(inst, request->name)) return NULL;
  int n_funcs = m->module->funcs.n, n_scalars = m->module->scalars.n;
  m->root = inst;
  m->batch = true; /* not sealed: nothing of it stays */
  memset(&m->versions, 0, sizeof m->versions);
  const DhcFunc *f = dhc_model_entry(m, request);
  m->module->funcs.n = n_funcs;
  m->module->scalars.n = n_scalars;
  *m = was;
  return f;
}

/* ---- functions
 * ----------------------------------------------------------------------------------------------- */

static bool function_inputs(DhcCx *cx, const DhcAstSignature *sig) {
  for (int i = 0; i < sig->inputs.n; i++) {
    const DhcAstParam *p = &sig->inputs.at[i];
    DhcType t = {.dtype = DHC_F32, .rank = 0};
    if (p->type.kind != DHC_TY_FLOAT && p->type.kind != DHC_TY_TENSOR) {
      DhcVal v = dhc_v_error();
      if (p->default_value)
        v = dhc_eval(cx, p->default_value);
      else
        dhc_err(cx, "E0306", p->span, "'%s' needs a default: it is known only at compile time", p->name.text);
      if (!dhc_coerce(cx, &p->type, p->range, p->name.text, &v, p->span)) return false;
      dhc_scope_set(cx, p->name.text, v);
      continue;
    }
    if (p->type.kind == DHC_TY_TENSOR && !dhc_eval_type(cx, &p->type, &t, p->name.text)) return false;
    DhcParamInfo info = {.name = p->name.text, .role = DHC_ROLE_PLAIN, .decl = -1};
    DhcVal v = dhc_v_tensor(dhc_func_param(cx->fn->f, &t, info, p->span));
    v.name = p->name.text;
    v.def = p->span;
    dhc_scope_set(cx, p->name.text, v);
  }
  return true;
}

static DhcFunc *new_function(DhcModel *m, const char *name) {
  DhcScope scope = {0};
  DhcRun run = {.training = true};
  DhcCx cx = {.e = m->e, .m = m, .owner = m->root, .file = m->root->file, .scope = &scope, .run = &run};
  const DhcAstModule *in = NULL;
  int before = m->e->diags->n_errors;
  dhc_limit_begin(m->e);
  const DhcAstDecl *d = dhc_find_decl(m->e, m->e->program.root, name, DHC_DECL_BIT(DHC_DE_FN), &in);
  if (!d) {
    cx.file = m->e->program.root;
    dhc_report_unknown(&cx, "function", name, m->root->decl->name.span);
    return NULL;
  }
  const DhcAstSignature *sig = &d->u.fn.sig;
  cx.file = in;
  cx.sig = sig;
  cx.fn = dhc_fn_begin(&cx, name, DHC_FUNC_UNIT, NULL, false);
  cx.fn->f->span = cx.fn->b.span = d->span;
  int ranks[DHC_MAX_RANK] = {1, 1, 1, 1, 1, 1, 1, 1};
  bind_symbols(&cx, sig, ranks);
  if (!function_inputs(&cx, sig)) return NULL;
  dhc_run_body(&cx, &d->u.fn.body);
  if (m->e->diags->n_errors > before) return NULL;
  DhcVal r = dhc_check_outputs(&cx, sig, cx.has_result ? cx.result : (DhcVal){.kind = DHC_V_VOID}, d->span);
  if (r.kind == DHC_V_ERROR || !add_results(&cx, sig, r)) return NULL;
  return m->e->diags->n_errors > before ? NULL : cx.fn->f;
}

DhcFunc *dhc_model_function(DhcModel *m, const char *name) {
  for (int i = 0; i < m->functions.n; i++)
    if (!strcmp(m->functions.at[i].name, name)) return m->functions.at[i].f;
  const DhcNamedFunc x = {dhc_intern(m->e->strings, name), new_function(m, name)};
  if (x.f) DHC_PUSH(m->e->arena, &m->functions, x);
  return x.f;
}
