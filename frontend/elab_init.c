/* Initialisers: which one a tensor gets, and its function. */
#include <math.h>

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

/* One number everywhere adapts to the declared dtype as a literal does, if that holds it:
 * zeros() of a bool or an i64. */
static void refill(DhcCx *cx, DhcVal *v, dhc_dtype want, DhcSpan at) {
  if (v->kind != DHC_V_TENSOR || v->t->def->op != DHC_OP_FILL || v->t->type.dtype == want) return;
  double x = dhc_attr(v->t->def, "value")->f;
  bool holds = dhc_dtype_is_float(want) || (want == DHC_BOOL ? x == 0 || x == 1 : x == floor(x) && fabs(x) <= 127);
  if (!holds || (x < 0 && (want == DHC_U8 || want == DHC_U16 || want == DHC_U32))) return;
  DhcType t = v->t->type;
  t.dtype = want;
  v->t = dhc_b_fill(dhc_at(cx, at), &t, x);
}

DhcValue *dhc_default_tensor(DhcCx *cx, const DhcAstExpr *init, const DhcType *type, const char *what, DhcSpan at) {
  if (!init) return dhc_b_fill(dhc_at(cx, at), type, 0);
  DhcVal dims[DHC_MAX_RANK];
  for (int i = 0; i < type->rank; i++) dims[i] = dhc_v_dim(type->dim[i]);
  DhcVal shape = dhc_v_list(cx, DHC_V_LIST, dims, type->rank);
  const DhcVal *saved = cx->init_shape;
  cx->init_shape = &shape;
  DhcVal v = dhc_eval(cx, init);
  cx->init_shape = saved;
  refill(cx, &v, type->dtype, init->span);
  DhcValue *t = dhc_as_tensor(cx, &v, (int)type->dtype, init->span);
  if (!t) return NULL;
  bool fits = t->type.rank <= type->rank;
  for (int i = 1; fits && i <= t->type.rank; i++) {
    const DhcDim *d = t->type.dim[t->type.rank - i];
    fits = d == type->dim[type->rank - i] || dhc_dim_is(d, 1);
  }
  if (!fits) {
    DhcDiag *d = dhc_err(cx, "E0308", init->span, "%s is %s, its initialiser gives %s", what,
                         dhc_say_type(cx, type), dhc_say_type(cx, &t->type));
    dhc_err_note(cx, d, at, "declared here");
    return NULL;
  }
  return dhc_b_broadcast(dhc_at(cx, init->span), t, type->dim, type->rank);
}

DhcFunc *dhc_init_function(DhcCx *cx, const DhcAstExpr *init, DhcSpan at, const char *path,
                           const DhcType *type) {
  DhcRun run = {.init_path = path};
  cx->run = &run;
  cx->fn = dhc_fn_begin(cx, dhc_arena_printf(dhc_cx_arena(cx), "init.%s", path), DHC_FUNC_INIT, NULL, false);
  cx->fn->b.span = at;
  DhcValue *t = dhc_default_tensor(cx, init, type, dhc_arena_printf(dhc_cx_arena(cx), "'%s'", path), at);
  if (!t) return NULL;
  dhc_func_result(cx->fn->f, t, NULL);
  return cx->fn->f;
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
  dhc_train_begin_averages(m);
  return ok;
}
