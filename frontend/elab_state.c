/* State: tensors that a streaming entry carries from run to run. In the whole form a state is
 * its initialiser; in the streaming forms reads and assignments go to a parameter of role
 * STATE, which one `update` at the end of the entry writes.
 *
 * A layer that is called several times in a run has a state a call, as in the whole form every
 * call begins with the initialiser: calls count by their order in the run, and the state of the
 * second one is the tensor PATH.2. */
#include <stdlib.h>

#include "frontend/elab_internal.h"

const char *const dhc_form_names[4] = {"whole", "stream", "step", "reset"};

/* ---- forms ---------------------------------------------------------------------------- */

void dhc_model_form(const DhcModel *m, const char *name, const char **entry, DhcForm *form) {
  *entry = name;
  *form = DHC_FORM_WHOLE;
  if (dhc_inst_entry(m->root, name)) return;
  const char *dot = strrchr(name, '.'), *last = dot ? dot + 1 : name;
  for (int f = DHC_FORM_STREAM; f <= DHC_FORM_RESET; f++) {
    if (strcmp(last, dhc_form_names[f])) continue;
    *form = (DhcForm)f;
    *entry = dot ? dhc_intern_n(m->e->strings, name, (size_t)(dot - name)) : dhc_intern(m->e->strings, "forward");
  }
}

/* ---- declarations ------------------------------------------------------------------------ */

/* Binders of the layer's entries, each as a symbol of its name: what a state's declared type
 * is written in. */
static void bind_symbols(DhcCx *cx, const DhcInst *inst) {
  for (int i = 0; i < inst->entries.n; i++) {
    const DhcAstBinders *b = &inst->entries.at[i]->u.entry.sig.binders;
    for (int k = 0; k < b->n; k++)
      if (!b->at[k].is_run && !dhc_scope_get(cx->scope, b->at[k].name.text))
        dhc_scope_set(cx, b->at[k].name.text, dhc_v_dim(dhc_dim_symbol(dhc_cx_dims(cx), b->at[k].name.text)));
  }
}

/* No other tensor has its path: members of a layer have different names. */
static void declare(DhcModel *m, DhcInst *inst, DhcMember *s) {
  DhcScope scope = {0};
  DhcCx cx = {.e = m->e, .m = m, .self = inst, .owner = inst, .file = inst->file, .scope = &scope};
  const DhcAstItem *it = s->item;
  DhcTensorDecl d = {.role = DHC_ROLE_STATE, .span = it->span};
  bind_symbols(&cx, inst);
  d.path = dhc_intern(m->e->strings, *inst->path ? dhc_arena_printf(m->e->arena, "%s.%s", inst->path, s->name) : s->name);
  if (!dhc_eval_type(&cx, &it->u.tensor.type, &d.type, dhc_arena_printf(m->e->arena, "state '%s'", s->name))) return;
  DHC_PUSH(m->module->arena, &m->module->tensors, d);
  s->tensor = m->module->tensors.n - 1;
}

void dhc_state_declare(DhcModel *m, DhcInst *inst) {
  for (int i = 0; i < inst->members.n; i++)
    if (inst->members.at[i]->kind == DHC_M_STATE) declare(m, inst, inst->members.at[i]);
  for (int i = 0; i < inst->children.n; i++) dhc_state_declare(m, inst->children.at[i]);
}

/* The tensor of a state in call number `call` of its layer, from 0. */
static int of_call(DhcModule *m, int tensor, int call) {
  if (call == 0 || tensor < 0) return tensor;
  DhcTensorDecl d = m->tensors.at[tensor];
  d.path = dhc_intern(m->strings, dhc_arena_printf(m->arena, "%s.%d", d.path, call + 1));
  int known = dhc_module_tensor(m, d.path);
  if (known >= 0) return known;
  DHC_PUSH(m->arena, &m->tensors, d);
  return m->tensors.n - 1;
}

static int state_tensor(DhcCx *cx, const DhcMember *m) { return of_call(cx->m->module, m->tensor, cx->call); }

void dhc_state_of_call(DhcModule *m, const char *path) {
  const char *dot = strrchr(path, '.');
  if (!dot || dhc_module_tensor(m, path) >= 0) return;
  size_t digits = strspn(dot + 1, "0123456789");
  if (dot[1 + digits] || digits < 1 || digits > 6 || dot[1] == '0') return;
  int tensor = dhc_module_tensor(m, dhc_intern_n(m->strings, path, (size_t)(dot - path))), call = atoi(dot + 1);
  if (tensor >= 0 && m->tensors.at[tensor].role == DHC_ROLE_STATE && call > 1) of_call(m, tensor, call - 1);
}

/* ---- the parameter -------------------------------------------------------------------------- */

/* Type of the state in the symbols of cx->fn. */
static bool state_type(DhcCx *cx, DhcMember *m, DhcSpan at, DhcType *out) {
  int before = cx->e->diags->all.n;
  const char *what = dhc_arena_printf(dhc_cx_arena(cx), "state '%s'", m->name);
  if (m->tensor >= 0 && dhc_eval_type(cx, &m->item->u.tensor.type, out, what)) return true;
  for (int i = before; i < cx->e->diags->all.n; i++)
    dhc_err_note(cx, cx->e->diags->all.at[i], at, "'%s' is used here", m->name);
  return false;
}

static DhcType in_root(DhcFn *fn, DhcType t) {
  for (int i = 0; i < t.rank; i++) t.dim[i] = dhc_fn_to_root(fn, t.dim[i]);
  return t;
}

static void remember(DhcCx *cx, DhcMember *m, int tensor, const DhcType *type) {
  DhcFn *root = dhc_fn_root(cx->fn);
  DhcArena *a = dhc_cx_arena(cx);
  DhcStateUse use = {.inst = cx->self, .member = m, .tensor = tensor, .binders = DHC_NEW(a, DhcScope), .type = *type};
  for (int i = 0; cx->sig && i < cx->sig->binders.n; i++) {
    const char *name = cx->sig->binders.at[i].name.text;
    const DhcVal *v = dhc_scope_get(cx->scope, name);
    if (!v || (v->kind != DHC_V_DIM && v->kind != DHC_V_INT)) continue;
    DhcVar var = {.name = name, .value = v->kind == DHC_V_DIM ? dhc_v_dim(dhc_fn_to_root(cx->fn, v->dim)) : *v};
    DHC_PUSH(a, &use.binders->vars, var);
  }
  DHC_PUSH(a, &root->states, use);
}

/* The root's parameter for a state of type t (over cx->fn's symbols). */
static DhcValue *state_param(DhcCx *cx, DhcMember *m, const DhcType *t, DhcSpan at) {
  DhcFn *root = dhc_fn_root(cx->fn);
  DhcModule *mod = cx->m->module;
  DhcType type = in_root(cx->fn, *t);
  int tensor = state_tensor(cx, m);
  while (root->tensor_value.n <= tensor) DHC_PUSH(mod->arena, &root->tensor_value, NULL);
  DhcValue **p = &root->tensor_value.at[tensor];
  if (*p && !dhc_type_equal(&(*p)->type, &type)) {
    DhcDiag *d = dhc_err(cx, "E0308", at, "state '%s' is %s here and %s elsewhere in this call", m->name,
                         dhc_say_type(cx, &type), dhc_say_type(cx, &(*p)->type));
    dhc_err_note(cx, d, m->span, "declared here");
    return NULL;
  }
  if (!*p) {
    const DhcTensorDecl *d = &mod->tensors.at[tensor];
    DhcParamInfo info = {.name = d->path, .role = DHC_ROLE_STATE, .decl = tensor};
    *p = dhc_func_param(root->f, &type, info, d->span);
    remember(cx, m, tensor, &type);
  }
  return *p;
}

/* ---- reading and writing ---------------------------------------------------------------------- */

static DhcValue *initial(DhcCx *cx, DhcMember *m, const DhcType *type) {
  const char *what = dhc_arena_printf(dhc_cx_arena(cx), "state '%s'", m->name);
  return dhc_default_tensor(cx, m->item->u.tensor.init, type, what, m->span);
}

DhcVal dhc_state_read(DhcCx *cx, DhcInst *inst, DhcMember *m, DhcSpan at) {
  DhcType type;
  if (inst != cx->self) {
    DhcDiag *d = dhc_err(cx, "E0321", at, "'%s' is state of %s: only its own entries read it", m->name, inst->decl->name.text);
    dhc_err_note(cx, d, m->span, "declared here");
    return dhc_v_error();
  }
  if (!state_type(cx, m, at, &type)) return dhc_v_error();
  if (!cx->run->streaming) return dhc_v_tensor(initial(cx, m, &type));
  int tensor = state_tensor(cx, m);
  for (DhcFn *fn = cx->fn; fn; fn = fn->outer) /* what this call has assigned */
    for (int i = 0; i < fn->stores.n; i++)
      if (fn->stores.at[i].tensor == tensor) return dhc_v_tensor(dhc_fn_import(cx->fn, fn->stores.at[i].value));
  DhcValue *p = state_param(cx, m, &type, at);
  return dhc_v_tensor(p ? dhc_fn_import(cx->fn, p) : NULL);
}

DhcMember *dhc_state_target(DhcCx *cx, const char *name) {
  DhcMember *m = cx->self ? dhc_inst_member(cx->self, name) : NULL;
  if (!m || m->kind != DHC_M_STATE) return NULL;
  const DhcVal *v = dhc_scope_get(cx->scope, name);
  return v && v->local ? NULL : m;
}

static bool is_in_scan(DhcCx *cx) {
  if (cx->block && !strcmp(cx->block, "scan")) return true;
  bool in = false;
  for (DhcFn *fn = cx->fn; fn && cx->run->streaming; fn = fn->outer) in = in || fn->in_scan;
  return in;
}

/* v broadcast to the state's type; NULL after an error. */
static DhcValue *fit(DhcCx *cx, DhcMember *m, const DhcVal *v, const DhcType *want, DhcSpan at) {
  DhcValue *t = dhc_as_tensor(cx, v, (int)want->dtype, at);
  if (!t) return NULL;
  bool fits = t->type.rank <= want->rank;
  for (int i = 1; fits && i <= t->type.rank; i++) {
    const DhcDim *d = t->type.dim[t->type.rank - i];
    fits = dhc_dim_is(d, 1) || dhc_same_dim(cx, d, want->dim[want->rank - i]);
  }
  if (fits) {
    dhc_at(cx, at);
    t = dhc_align(cx, t, want->dim, want->rank);
    return t ? dhc_b_broadcast(dhc_at(cx, at), t, want->dim, want->rank) : NULL;
  }
  DhcDiag *d = dhc_err(cx, "E0308", at, "state '%s' is %s, the new value is %s", m->name, dhc_say_type(cx, want),
                       dhc_say_type(cx, &t->type));
  dhc_err_note(cx, d, m->span, "declared here");
  dhc_note_operand(cx, d, v);
  dhc_err_hint(cx, d, "a name of a state in front of '=' assigns the state; call a local value something else");
  return NULL;
}

void dhc_state_write(DhcCx *cx, DhcMember *m, DhcVal *v, DhcSpan at) {
  DhcType type;
  if (v->kind == DHC_V_ERROR) return;
  DhcVal was = *v;
  *v = dhc_v_error();
  if (!state_type(cx, m, at, &type)) return;
  if (is_in_scan(cx)) {
    DhcDiag *d = dhc_err(cx, "E0321", at, "state '%s' is assigned inside a scan: it has one value a run", m->name);
    dhc_err_hint(cx, d, "carry it: %s, y = scan (%s = %s) over (...) along 1 { ... }", m->name, m->name, m->name);
    return;
  }
  DhcValue *t = fit(cx, m, &was, &type, at);
  if (!t) return;
  *v = dhc_v_tensor(t);
  v->name = was.name;
  v->def = was.def;
  if (!cx->run->streaming) return;
  if (!state_param(cx, m, &type, at)) {
    *v = dhc_v_error();
    return;
  }
  DhcStore store = {.tensor = state_tensor(cx, m), .value = t, .span = at};
  for (int i = 0; i < cx->fn->stores.n; i++)
    if (cx->fn->stores.at[i].tensor == store.tensor) {
      cx->fn->stores.at[i] = store;
      return;
    }
  DHC_PUSH(dhc_cx_arena(cx), &cx->fn->stores, store);
}

/* ---- the reset form -------------------------------------------------------------------------------- */

static bool reset_one(DhcCx *cx, DhcFn *fn, const DhcStateUse *use) {
  DhcMember *m = use->member;
  DhcScope scope = {.parent = use->binders};
  DhcCx inner = {.e = cx->e, .m = cx->m, .self = use->inst, .owner = use->inst, .file = use->inst->file,
                 .scope = &scope, .fn = fn, .run = cx->run};
  const DhcTensorDecl *d = &cx->m->module->tensors.at[use->tensor];
  DhcParamInfo info = {.name = d->path, .role = DHC_ROLE_STATE, .decl = use->tensor};
  DhcValue *args[2] = {dhc_func_param(fn->f, &use->type, info, d->span), initial(&inner, m, &use->type)};
  return args[1] && dhc_build1(dhc_at(&inner, m->span), DHC_OP_UPDATE, args, 2, NULL, 0);
}

DhcFunc *dhc_state_reset(DhcCx *cx, const char *name) {
  DhcFn *from = cx->fn;
  const DhcDim *const *dims;
  cx->fn = NULL;
  DhcFn *fn = dhc_fn_begin(cx, dhc_arena_printf(dhc_cx_arena(cx), "%s.reset", name), DHC_FUNC_ENTRY, NULL, false);
  fn->f->span = fn->b.span = from->f->span;
  for (int i = 0; i < from->f->symbols.n; i++) DHC_PUSH(dhc_cx_arena(cx), &fn->f->symbols, from->f->symbols.at[i]);
  for (int i = 0; i < from->states.n; i++)
    if (!reset_one(cx, fn, &from->states.at[i])) return NULL;
  dhc_fn_close(cx, fn, &dims);
  from->f->kind = DHC_FUNC_UNIT; /* nothing calls it: it goes away */
  return fn->f;
}
