/* What a name stands for: declarations across files, members of an instance, locals. */
#include <math.h>

#include "frontend/elab_internal.h"

/* ---- scopes ------------------------------------------------------------------------- */

void dhc_scope_set(DhcCx *cx, const char *name, DhcVal v) {
  if (!strcmp(name, "_")) return;
  for (int i = 0; i < cx->scope->vars.n; i++)
    if (cx->scope->vars.at[i].name == name) {
      cx->scope->vars.at[i].value = v;
      return;
    }
  cx->e->steps += dhc_limit_walk(cx->scope->vars.n);
  DhcVar var = {.name = name, .value = v};
  DHC_PUSH(dhc_cx_arena(cx), &cx->scope->vars, var);
}

DhcVal *dhc_scope_get(DhcScope *s, const char *name) {
  for (; s; s = s->parent)
    for (int i = 0; i < s->vars.n; i++)
      if (s->vars.at[i].name == name) return &s->vars.at[i].value;
  return NULL;
}

/* ---- declarations ---------------------------------------------------------------------- */

/* Names are interned. */
static const DhcAstDecl *find_in(const DhcAstModule *file, const char *name, unsigned kinds) {
  for (int i = 0; i < file->decls.n; i++) {
    const DhcAstDecl *d = file->decls.at[i];
    if (d->name.text == name && (kinds & DHC_DECL_BIT(d->kind))) return d;
  }
  return NULL;
}

static const DhcAstProgram *program_of(DhcElab *e, const DhcAstModule *file) {
  for (int i = 0; i < e->program.modules.n; i++)
    if (e->program.modules.at[i] == file) return &e->program;
  for (int p = 0; p < e->prelude.n; p++)
    for (int i = 0; i < e->prelude.at[p].modules.n; i++)
      if (e->prelude.at[p].modules.at[i] == file) return &e->prelude.at[p];
  return NULL;
}

/* Own declarations first, then those of imports in their order, depth first. */
static const DhcAstDecl *find_from(DhcElab *e, const DhcAstProgram *p, const DhcAstModule *file, const char *name,
                                   unsigned kinds, const DhcAstModule **in) {
  const DhcAstDecl *d = find_in(file, name, kinds);
  e->steps += dhc_limit_walk(file->decls.n);
  if (d) {
    if (in) *in = file;
    return d;
  }
  for (int i = 0; p && i < file->imports.n && !d; i++) {
    int m = file->imports.at[i].module;
    if (m < 0 || m >= p->modules.n || p->modules.at[m] == file || e->visited.at[m] == e->n_searches) continue;
    e->visited.at[m] = e->n_searches; /* once, by however many ways it is imported */
    d = find_from(e, p, p->modules.at[m], name, kinds, in);
  }
  return d;
}

static const DhcAstDecl *search(DhcElab *e, const DhcAstProgram *p, const DhcAstModule *file, const char *name, unsigned kinds,
                                const DhcAstModule **in) {
  while (p && e->visited.n < p->modules.n) DHC_PUSH(e->arena, &e->visited, 0);
  e->n_searches++;
  return find_from(e, p, file, name, kinds, in);
}

const DhcAstDecl *dhc_find_decl(DhcElab *e, const DhcAstModule *file, const char *name, unsigned kinds,
                                const DhcAstModule **in) {
  name = dhc_intern(e->strings, name);
  const DhcAstDecl *d = search(e, program_of(e, file), file, name, kinds, in);
  for (int i = 0; i < e->prelude.n && !d; i++)
    if (e->prelude.at[i].root) d = search(e, &e->prelude.at[i], e->prelude.at[i].root, name, kinds, in);
  return d;
}

/* ---- members ------------------------------------------------------------------------------ */

DhcMember *dhc_inst_member(DhcInst *inst, const char *name) {
  for (int i = 0; i < inst->members.n; i++)
    if (!strcmp(inst->members.at[i]->name, name)) return inst->members.at[i];
  return NULL;
}

DhcHyper *dhc_inst_hyper(DhcInst *inst, const char *name) {
  for (int i = 0; i < inst->hypers.n; i++)
    if (!strcmp(inst->hypers.at[i].name, name)) return &inst->hypers.at[i];
  return NULL;
}

const DhcAstItem *dhc_inst_entry(const DhcInst *inst, const char *name) {
  for (int i = 0; i < inst->entries.n; i++)
    if (!strcmp(inst->entries.at[i]->u.entry.sig.name.text, name)) return inst->entries.at[i];
  return NULL;
}

DhcVal dhc_member_value(DhcCx *cx, DhcInst *inst, DhcMember *m, DhcSpan at) {
  DhcVal v = dhc_v_error();
  switch (m->kind) {
    case DHC_M_CONST: v = m->value; break;
    case DHC_M_SUB:
      if (m->sub) v = (DhcVal){.kind = DHC_V_INST, .inst = m->sub};
      break;
    case DHC_M_TABLE:
      v = (DhcVal){.kind = DHC_V_TABLE};
      v.table.inst = inst;
      v.table.member = m;
      break;
    case DHC_M_TENSOR:
      if (m->tensor < 0) return v; /* its declaration was wrong */
      if (!cx->fn || cx->init_shape) {
        dhc_err(cx, "E0307", at, "'%s' is a tensor: its value is not known here", m->name);
        return v;
      }
      v = dhc_v_tensor(dhc_fn_tensor(cx, m->tensor));
      break;
    case DHC_M_STATE:
      if (!cx->fn || cx->init_shape) {
        dhc_err(cx, "E0307", at, "'%s' is state: its value is not known here", m->name);
        return v;
      }
      v = dhc_state_read(cx, inst, m, at);
      break;
  }
  v.name = m->name;
  v.def = m->span;
  return v;
}

/* inst.name: members first, then hyperparameters, then entries. */
DhcVal dhc_eval_member_of(DhcCx *cx, DhcInst *inst, const char *name, DhcSpan at, bool report) {
  DhcMember *m = dhc_inst_member(inst, name);
  if (m) return dhc_member_value(cx, inst, m, at);
  DhcHyper *h = dhc_inst_hyper(inst, name);
  if (h) return h->value;
  const DhcAstItem *entry = dhc_inst_entry(inst, name);
  if (entry) {
    DhcVal v = {.kind = DHC_V_METHOD};
    v.method.inst = inst;
    v.method.entry = entry;
    return v;
  }
  if (!report) return (DhcVal){.kind = DHC_V_VOID};
  DHC_VEC(const char *) names = {0};
  DhcArena *a = dhc_cx_arena(cx);
  for (int i = 0; i < inst->members.n; i++) DHC_PUSH(a, &names, inst->members.at[i]->name);
  for (int i = 0; i < inst->hypers.n; i++) DHC_PUSH(a, &names, inst->hypers.at[i].name);
  for (int i = 0; i < inst->entries.n; i++) DHC_PUSH(a, &names, inst->entries.at[i]->u.entry.sig.name.text);
  DhcDiag *d = dhc_err(cx, "E0301", at, "%s has no member '%s'", inst->decl->name.text, name);
  const char *close = dhc_suggest(name, names.at, names.n);
  if (close) dhc_err_hint(cx, d, "did you mean '%s'?", close);
  return dhc_v_error();
}

/* ---- names ---------------------------------------------------------------------------------- */

static DhcVal file_const(DhcCx *cx, const DhcAstDecl *d, const DhcAstModule *file) {
  DhcElab *e = cx->e;
  for (int i = 0; i < e->file_const_decls.n; i++)
    if (e->file_const_decls.at[i] == d) return e->file_consts.at[i];
  DHC_PUSH(e->arena, &e->file_const_decls, d); /* first: a const that reads itself is an error */
  DHC_PUSH(e->arena, &e->file_consts, dhc_v_error());
  int slot = e->file_consts.n - 1;
  DhcScope scope = {0};
  const DhcFrame frame = {dhc_arena_printf(e->arena, "const '%s'", d->name.text), d->span, cx->frame, false};
  DhcCx inner = {.e = e, .m = cx->m, .file = file, .scope = &scope, DHC_CALLED(cx, &frame)};
  DhcVal v = dhc_eval(&inner, d->u.const_.value);
  if (d->u.const_.type.kind != DHC_TY_NONE)
    dhc_coerce(&inner, &d->u.const_.type, NULL, dhc_arena_printf(e->arena, "const '%s'", d->name.text), &v,
               d->u.const_.value->span);
  e->file_consts.at[slot] = v;
  return v;
}

DhcClosure *dhc_closure_with(DhcArena *a, const DhcClosure *c, const DhcGiven *more, int n) {
  DhcClosure *r = DHC_NEW(a, DhcClosure);
  r->decl = c->decl;
  r->file = c->file;
  r->frozen = c->frozen;
  r->average = c->average;
  r->decay = c->decay;
  for (int i = 0; i < c->args.n; i++) {
    bool replaced = false;
    for (int k = 0; k < n; k++) replaced = replaced || (more[k].name && more[k].name == c->args.at[i].name);
    if (!replaced) DHC_PUSH(a, &r->args, c->args.at[i]);
  }
  for (int k = 0; k < n; k++) DHC_PUSH(a, &r->args, more[k]);
  return r;
}

static DhcVal layer_value(DhcCx *cx, const DhcAstDecl *d, const DhcAstModule *file) {
  DhcClosure *c = DHC_NEW(dhc_cx_arena(cx), DhcClosure);
  c->decl = d;
  c->file = file;
  return (DhcVal){.kind = DHC_V_LAYER, .layer = c};
}

/* Names every frame knows. */
static bool predefined(DhcCx *cx, const char *name, DhcSpan at, DhcVal *out) {
  dhc_dtype t;
  if (!strcmp(name, "training") || !strcmp(name, "streaming") || !strcmp(name, "reporting")) {
    if (!cx->run) {
      dhc_err(cx, "E0307", at, "'%s' is known only inside entries and functions", name);
      *out = dhc_v_error();
    } else {
      *out = dhc_v_bool(name[0] == 't' ? cx->run->training : name[0] == 's' ? cx->run->streaming : cx->run->request && cx->run->request->report);
    }
    return true;
  }
  if (!strcmp(name, "pi")) {
    *out = dhc_v_float(cx, 3.14159265358979323846);
    return true;
  }
  if (!strcmp(name, "inf")) {
    *out = dhc_v_float(cx, (double)INFINITY);
    return true;
  }
  if (dhc_dtype_parse(name, &t)) {
    *out = (DhcVal){.kind = DHC_V_DTYPE, .dtype = t};
    return true;
  }
  return false;
}

/* What another library's name is here, NULL: not known. */
static const char *synonym(const char *name) {
  static const struct {
    const char *theirs, *here;
  } table[] = {
#define SYNONYM(theirs, here) {#theirs, here},
#include "frontend/synonyms.def"
  };
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
    if (!strcmp(table[i].theirs, name)) return table[i].here;
  return NULL;
}

const char *dhc_argument_here(const char *name, const char *const *names, int n) {
  static const struct {
    const char *theirs, *here;
  } table[] = {
#define ARGUMENT(theirs, here) {#theirs, #here},
#include "frontend/synonyms.def"
  };
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
    for (int k = 0; k < n; k++)
      if (!strcmp(table[i].theirs, name) && !strcmp(table[i].here, names[k])) return names[k];
  return dhc_suggest(name, names, n);
}

void dhc_report_unknown(DhcCx *cx, const char *what, const char *name, DhcSpan at) {
  DhcArena *a = dhc_cx_arena(cx);
  DHC_VEC(const char *) names = {0};
  for (DhcScope *s = cx->scope; s; s = s->parent)
    for (int i = 0; i < s->vars.n; i++) DHC_PUSH(a, &names, s->vars.at[i].name);
  if (cx->self) {
    for (int i = 0; i < cx->self->hypers.n; i++) DHC_PUSH(a, &names, cx->self->hypers.at[i].name);
    for (int i = 0; i < cx->self->members.n; i++) DHC_PUSH(a, &names, cx->self->members.at[i]->name);
    for (int i = 0; i < cx->self->entries.n; i++)
      DHC_PUSH(a, &names, cx->self->entries.at[i]->u.entry.sig.name.text);
  }
  if (cx->file) {
    const DhcAstProgram *p = program_of(cx->e, cx->file);
    for (int k = -1; k < cx->e->prelude.n; k++) {
      const DhcAstProgram *q = k < 0 ? p : &cx->e->prelude.at[k];
      for (int i = 0; q && i < q->modules.n; i++)
        for (int j = 0; j < q->modules.at[i]->decls.n; j++)
          if (q->modules.at[i]->decls.at[j]->name.text)
            DHC_PUSH(a, &names, q->modules.at[i]->decls.at[j]->name.text);
    }
  }
  const char *builtin[256];
  int n = dhc_builtin_names(builtin, 256);
  for (int i = 0; i < n; i++) DHC_PUSH(a, &names, builtin[i]);
  DhcDiag *d = dhc_err(cx, "E0301", at, "unknown %s '%s'", what, name);
  const char *close = dhc_suggest(name, names.at, names.n);
  const char *home = dhc_parse_find_layer(&cx->e->parse, name), *here = synonym(name);
  if (here && !(close && !strcmp(close, name)))
    dhc_err_hint(cx, d, "write %s", here);
  else if (home)
    dhc_err_hint(cx, d, "add 'import %s'", home);
  else if (close && !strcmp(close, name))
    dhc_err_hint(cx, d, "there is a '%s', but it is no %s here", name, what);
  else if (close)
    dhc_err_hint(cx, d, "did you mean '%s'?", close);
  else if (!strcmp(what, "name") && name[0] >= 'A' && name[0] <= 'Z' && strlen(name) <= 2)
    dhc_err_hint(cx, d, "an entry binds its dims: forward<%s>(...)", name);
}

DhcVal dhc_eval_name(DhcCx *cx, const char *name, DhcSpan at) {
  if (!dhc_limit_steps(cx, dhc_limit_walk(cx->scope->vars.n), at)) return dhc_v_error();
  DhcVal *local = dhc_scope_get(cx->scope, name);
  if (local) return *local;
  if (cx->self) {
    DhcHyper *h = dhc_inst_hyper(cx->self, name);
    if (h) return h->value;
    DhcMember *m = dhc_inst_member(cx->self, name);
    if (m) return dhc_member_value(cx, cx->self, m, at);
  }
  const DhcAstModule *in = NULL;
  const DhcAstDecl *d = dhc_find_decl(
      cx->e, cx->file, name,
      DHC_DECL_BIT(DHC_DE_CONST) | DHC_DECL_BIT(DHC_DE_LAYER) | DHC_DECL_BIT(DHC_DE_MODEL), &in);
  if (d) return d->kind == DHC_DE_CONST ? file_const(cx, d, in) : layer_value(cx, d, in);
  DhcVal v;
  if (predefined(cx, name, at, &v)) return v;
  dhc_report_unknown(cx, "name", name, at);
  return dhc_v_error();
}
