/* Initialisers: which one a tensor gets, and its function. */
#include "frontend/elab_internal.h"

/* FNV-1a, folded to 31 bits: random_bits takes the low word. Equal paths, equal sites,
 * whatever else the model holds. */
int64_t dhc_site_of(const char *path) {
  uint64_t h = 14695981039346656037u;
  for (const char *p = path; *p; p++) h = (h ^ (unsigned char)*p) * 1099511628211u;
  return (int64_t)((h ^ (h >> 32)) & 0x7fffffffu);
}

/* Path components of a tensor from the inside out: name, then for every instance up to
 * (not including) the one that overrides: its index, its member name. A component that
 * ends an instance also answers to its layer's name. */
static bool override_matches(const DhcOverride *o, const DhcInst *top, const DhcInst *inst,
                             const char *tensor) {
  const DhcAstNames *p = &o->item->u.init.path;
  int k = p->n - 1;
  if (k < 0 || (strcmp(p->at[k].text, tensor) && strcmp(p->at[k].text, "*"))) return false;
  k--;
  for (; inst != top && k >= 0; inst = inst->parent) {
    const char *c = p->at[k].text;
    bool layer = !strcmp(c, inst->decl->name.text);
    if (inst->index) {
      if (!layer && strcmp(c, inst->index) && strcmp(c, "*")) return false;
      if (--k < 0) return true;
      if (layer) continue; /* one name stood for member and index */
      c = p->at[k].text;
      if (strcmp(c, inst->name) && strcmp(c, "*")) return false;
      k--;
    } else {
      if (!layer && strcmp(c, inst->name) && strcmp(c, "*")) return false;
      k--;
    }
  }
  return k < 0;
}

/* Outermost instance wins; within one, the last written. */
static const DhcOverride *find_override(DhcInst *inst, const char *tensor, DhcInst **top) {
  const DhcOverride *found = NULL;
  for (DhcInst *t = inst; t; t = t->parent)
    for (int i = t->overrides.n - 1; i >= 0; i--)
      if (override_matches(&t->overrides.at[i], t, inst, tensor)) {
        found = &t->overrides.at[i];
        *top = t;
        break;
      }
  return found;
}

DhcFunc *dhc_init_function(DhcCx *cx, const DhcAstExpr *init, DhcSpan at, const char *path,
                           const DhcType *type) {
  DhcRun run = {.init_path = path};
  DhcVal dims[DHC_MAX_RANK];
  for (int i = 0; i < type->rank; i++) dims[i] = dhc_v_dim(type->dim[i]);
  DhcVal shape = dhc_v_list(cx, DHC_V_LIST, dims, type->rank);
  cx->run = &run;
  cx->init_shape = &shape;
  cx->fn = dhc_fn_begin(cx, dhc_arena_printf(dhc_cx_arena(cx), "init.%s", path), DHC_FUNC_INIT, NULL, false);
  cx->fn->b.span = at;
  DhcVal v = dhc_eval(cx, init);
  DhcValue *t = dhc_as_tensor(cx, &v, (int)type->dtype, init->span);
  DhcFunc *f = cx->fn->f;
  if (!t) return NULL;
  bool fits = t->type.rank <= type->rank;
  for (int i = 1; fits && i <= t->type.rank; i++) {
    const DhcDim *d = t->type.dim[t->type.rank - i];
    fits = d == type->dim[type->rank - i] || dhc_dim_is(d, 1);
  }
  if (!fits) {
    DhcDiag *d = dhc_err(cx, "E0308", init->span, "'%s' is %s, its initialiser gives %s", path,
                         dhc_say_type(cx, type), dhc_say_type(cx, &t->type));
    dhc_err_note(cx, d, at, "declared here");
    return NULL;
  }
  t = dhc_b_broadcast(dhc_at(cx, init->span), t, type->dim, type->rank);
  if (!t) return NULL;
  dhc_func_result(f, t, NULL);
  return f;
}

bool dhc_run_initialisers(DhcModel *m) {
  bool ok = true;
  for (int i = 0; i < m->pending.n; i++) {
    DhcPendingInit *p = &m->pending.at[i];
    DhcInst *top = p->inst;
    const DhcOverride *o = find_override(p->inst, p->item->u.tensor.name.text, &top);
    DhcTensorDecl *d = &m->module->tensors.at[p->tensor];
    DhcScope scope = {.parent = o ? o->scope : p->scope};
    DhcCx cx = {.e = m->e, .m = m, .self = top, .owner = p->inst, .file = top->file, .scope = &scope};
    const DhcAstExpr *init = o ? o->item->u.init.value : p->item->u.tensor.init;
    int before = m->e->diags->all.n;
    DhcFunc *f = dhc_init_function(&cx, init, d->span, d->path, &d->type);
    m->module->tensors.at[p->tensor].init = f;
    ok = ok && f;
    if (!f && o)
      for (int k = before; k < m->e->diags->all.n; k++)
        dhc_diag_note(m->e->diags, m->e->diags->all.at[k], d->span, "while initialising '%s'", d->path);
  }
  return ok;
}
