/* The verifier: module and signatures. Nodes are in verify_node.c. */
#include "ir/verify_internal.h"

bool dhc_verify_fail(DhcVerifier *v, const DhcFunc *f, DhcSpan at, const char *fmt, ...) {
  DhcText text = {.arena = v->m->arena};
  if (v->after) dhc_text_printf(&text, "after %s: ", v->after);
  if (f) {
    dhc_print_func_name(f->name ? f->name : "?", &text);
    dhc_text_puts(&text, ": ");
  }
  va_list ap;
  va_start(ap, fmt);
  dhc_text_puts(&text, dhc_arena_vprintf(v->m->arena, fmt, ap));
  va_end(ap);
  dhc_diag(v->m->diags, DHC_ERROR, DHC_E_VERIFY, at, "%s", dhc_text_str(&text));
  return v->ok = false;
}

bool dhc_verify_dim(DhcVerifier *v, const DhcFunc *f, DhcSpan at, const DhcDim *d,
                    const char *where) {
  const char *names[64];
  if (!d) return dhc_verify_fail(v, f, at, "%s has a missing dim", where);
  if (dhc_dim_is_const(d, NULL)) return true;
  int n = dhc_dim_symbols(d, names, 64);
  for (int i = 0; i < n; i++) {
    bool bound = false;
    for (int k = 0; k < f->symbols.n; k++) bound |= f->symbols.at[k] == names[i];
    if (!bound) return dhc_verify_fail(v, f, at, "symbol %s in %s is not bound", names[i], where);
  }
  return true;
}

bool dhc_verify_in_module(const DhcVerifier *v, const DhcFunc *f) {
  return f && f->module == v->m && f->id >= 0 && f->id < v->m->next_func_id && v->place[f->id];
}

/* ---- declarations -------------------------------------------------------------------------- */

static bool valid_type(DhcVerifier *v, const DhcFunc *f, DhcSpan at, const DhcType *t,
                       const char *what) {
  if ((unsigned)t->dtype >= DHC_N_DTYPES)
    return dhc_verify_fail(v, f, at, "%s has no valid dtype", what);
  if (t->rank < 0 || t->rank > DHC_MAX_RANK)
    return dhc_verify_fail(v, f, at, "%s has rank %d, the largest is %d", what, t->rank, DHC_MAX_RANK);
  for (int i = 0; i < t->rank; i++) {
    int64_t extent;
    if (!t->dim[i]) return dhc_verify_fail(v, f, at, "%s has a missing dim", what);
    if (dhc_dim_is_const(t->dim[i], &extent) && extent < 0)
      return dhc_verify_fail(v, f, at, "%s has extent %lld", what, (long long)extent);
  }
  DhcDims *dims = v->m->dims;
  dhc_dims_overflowed(dims);
  dhc_dim_mulc(dims, dhc_type_elements(dims, t), dhc_dtype_bytes(t->dtype));
  if (dhc_dims_overflowed(dims))
    return dhc_verify_fail(v, f, at, "%s: number of elements does not fit in 63 bits", what);
  return true;
}

static bool owns_tensor(DhcRole r) {
  return r == DHC_ROLE_WEIGHT || r == DHC_ROLE_BUFFER || r == DHC_ROLE_TABLE || r == DHC_ROLE_STATE;
}

static void verify_tensor(DhcVerifier *v, int i) {
  const DhcTensorDecl *t = &v->m->tensors.at[i];
  if (!t->path || !*t->path) {
    dhc_verify_fail(v, NULL, t->span, "tensor %d has no path", i);
    return;
  }
  const char *what = dhc_arena_printf(&v->scratch, "tensor '%s'", t->path);
  if (dhc_module_tensor(v->m, t->path) != i)
    dhc_verify_fail(v, NULL, t->span, "%s is declared twice", what);
  if (!owns_tensor(t->role))
    dhc_verify_fail(v, NULL, t->span, "%s has role %s", what, dhc_role_name(t->role));
  if (!valid_type(v, NULL, t->span, &t->type, what)) return;
  for (int k = 0; k < t->type.rank && t->role != DHC_ROLE_STATE; k++)
    if (!dhc_dim_is_const(t->type.dim[k], NULL))
      dhc_verify_fail(v, NULL, t->span, "%s has the symbolic extent %s", what,
                      dhc_dim_text(v->m, t->type.dim[k]));
  if (t->as && dhc_name_parts(t->as).bad)
    dhc_verify_fail(v, NULL, t->span, "%s: a name on disk has at most one '*', and all have it or none", what);
  if (!t->init || t->init->module != v->m) return; /* an extracted module leaves it behind */
  if (!dhc_verify_in_module(v, t->init))
    dhc_verify_fail(v, NULL, t->span, "%s: its initialiser is not in the module", what);
  else if (t->init->kind != DHC_FUNC_INIT)
    dhc_verify_fail(v, NULL, t->span, "%s: @%s is no initialiser", what, t->init->name);
  else if (t->init->results.n != 1 || !t->init->results.at[0] ||
           (t->role != DHC_ROLE_STATE && !dhc_type_equal(&t->init->results.at[0]->type, &t->type)))
    dhc_verify_fail(v, NULL, t->span, "%s: initialiser @%s does not give %s", what, t->init->name,
                    dhc_type_text(v->m, &t->type));
}

static void verify_scalar(DhcVerifier *v, int i) {
  const char *name = v->m->scalars.at[i].name;
  if (!name || !*name) {
    dhc_verify_fail(v, NULL, (DhcSpan){0}, "scalar %d has no name", i);
    return;
  }
  for (int k = 0; k < i; k++)
    if (v->m->scalars.at[k].name && strcmp(v->m->scalars.at[k].name, name) == 0)
      dhc_verify_fail(v, NULL, (DhcSpan){0}, "scalar '%s' is declared twice", name);
}

/* ---- signatures ------------------------------------------------------------------------------- */

static void verify_role(DhcVerifier *v, const DhcFunc *f, int i) {
  const DhcParamInfo *info = &f->param_info.at[i];
  const DhcType *t = &f->params.at[i]->type;
  DhcSpan at = f->params.at[i]->def->span;
  const DhcModule *m = v->m;
  if ((unsigned)info->role > DHC_ROLE_FLAT) {
    dhc_verify_fail(v, f, at, "parameter %d has no valid role", i);
    return;
  }
  if (info->decl >= 0 && owns_tensor(info->role)) {
    if (info->decl >= m->tensors.n) {
      dhc_verify_fail(v, f, at, "parameter %d: there is no tensor #%d", i, info->decl);
      return;
    }
    const DhcTensorDecl *d = &m->tensors.at[info->decl];
    bool alike = d->type.dtype == t->dtype && d->type.rank == t->rank;
    if (d->role != info->role)
      dhc_verify_fail(v, f, at, "parameter %d is a %s, tensor '%s' a %s", i,
                      dhc_role_name(info->role), d->path, dhc_role_name(d->role));
    else if (!alike || (d->role != DHC_ROLE_STATE && !dhc_type_equal(t, &d->type)))
      dhc_verify_fail(v, f, at, "parameter %d is %s, tensor '%s' %s", i, dhc_type_text(v->m, t),
                      d->path, dhc_type_text(v->m, &d->type));
  } else if (info->decl >= 0 && info->role != DHC_ROLE_SCALAR) {
    dhc_verify_fail(v, f, at, "parameter %d: role %s has no declaration", i, dhc_role_name(info->role));
  }
  if (info->role == DHC_ROLE_SCALAR && info->decl >= m->scalars.n)
    dhc_verify_fail(v, f, at, "parameter %d: there is no scalar #%d", i, info->decl);
  if (info->role == DHC_ROLE_SCALAR && t->rank != 0)
    dhc_verify_fail(v, f, at, "scalar parameter %d has rank %d", i, t->rank);
  if (info->role == DHC_ROLE_FLAT && t->rank != 1)
    dhc_verify_fail(v, f, at, "flat parameter %d has rank %d", i, t->rank);
  if (f->kind != DHC_FUNC_ENTRY || info->role == DHC_ROLE_PLAIN) return;
  if (!info->name) {
    dhc_verify_fail(v, f, at, "parameter %d of an entry has no name", i);
    return;
  }
  for (int k = 0; k < i; k++)
    if (f->param_info.at[k].role == info->role && f->param_info.at[k].name &&
        strcmp(f->param_info.at[k].name, info->name) == 0)
      dhc_verify_fail(v, f, at, "two %s parameters are named '%s'", dhc_role_name(info->role), info->name);
}

/* False if the parameters are too broken to look at the nodes. */
static bool verify_params(DhcVerifier *v, const DhcFunc *f) {
  bool whole = true;
  if (f->param_info.n != f->params.n)
    return dhc_verify_fail(v, f, f->span, "%d parameters, but %d parameter infos", f->params.n,
                           f->param_info.n);
  for (int i = 0; i < f->params.n; i++) {
    const DhcValue *p = f->params.at[i];
    if (!p || !p->def || p->def->op != DHC_OP_PARAM || p->def->func != f) {
      whole = dhc_verify_fail(v, f, f->span, "parameter %d is not the result of a param node", i);
      continue;
    }
    if (dhc_param_index(f, p) != i) {
      whole = dhc_verify_fail(v, f, p->def->span, "parameter %d is in the list twice", i);
      continue;
    }
    const char *what = dhc_arena_printf(&v->scratch, "parameter %d", i);
    if (!valid_type(v, f, p->def->span, &p->type, what)) {
      whole = false;
      continue;
    }
    for (int k = 0; k < p->type.rank; k++)
      dhc_verify_dim(v, f, p->def->span, p->type.dim[k], what);
    verify_role(v, f, i);
  }
  return whole;
}

static void verify_symbols(DhcVerifier *v, const DhcFunc *f) {
  for (int i = 0; i < f->symbols.n; i++) {
    if (!f->symbols.at[i] || !*f->symbols.at[i]) {
      dhc_verify_fail(v, f, f->span, "symbol %d has no name", i);
      continue;
    }
    for (int k = 0; k < i; k++)
      if (f->symbols.at[k] == f->symbols.at[i])
        dhc_verify_fail(v, f, f->span, "symbol %s is bound twice", f->symbols.at[i]);
  }
}

static void verify_facts(DhcVerifier *v, const DhcFunc *f) {
  if (f->fact_messages.n != f->facts.nonneg.n)
    dhc_verify_fail(v, f, f->span, "%d facts, but %d messages", f->facts.nonneg.n, f->fact_messages.n);
  for (int i = 0; i < f->facts.nonneg.n; i++) {
    int64_t c;
    const DhcDim *d = f->facts.nonneg.at[i];
    if (dhc_verify_dim(v, f, f->span, d, "a fact") && dhc_dim_is_const(d, &c) && c < 0)
      dhc_verify_fail(v, f, f->span, "a fact can never hold");
  }
}

static void verify_results(DhcVerifier *v, const DhcFunc *f) {
  if (f->result_names.n != f->results.n) {
    dhc_verify_fail(v, f, f->span, "%d results, but %d names", f->results.n, f->result_names.n);
    return;
  }
  for (int i = 0; i < f->results.n; i++) {
    const char *name = f->result_names.at[i];
    for (int k = 0; k < i && name; k++)
      if (f->result_names.at[k] && strcmp(f->result_names.at[k], name) == 0)
        dhc_verify_fail(v, f, f->span, "two results are named '%s'", name);
  }
}

/* vjp: (params, results, cotangents of float results) -> cotangents of float params; kinds
 * and ranks are compared, extents are checked at the call. */
static bool alike(const DhcType *a, const DhcType *b) {
  return a->dtype == b->dtype && a->rank == b->rank;
}

static bool vjp_fits(const DhcFunc *f, const DhcFunc *g) {
  int at = 0, out = 0;
  for (int i = 0; i < f->params.n; i++, at++)
    if (at >= g->params.n || !alike(&f->params.at[i]->type, &g->params.at[at]->type)) return false;
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < f->results.n; i++) {
      const DhcType *t = &f->results.at[i]->type;
      if (round && !dhc_dtype_is_float(t->dtype)) continue;
      if (at >= g->params.n || !alike(t, &g->params.at[at++]->type)) return false;
    }
  for (int i = 0; i < f->params.n; i++) {
    const DhcType *t = &f->params.at[i]->type;
    if (!dhc_dtype_is_float(t->dtype)) continue;
    if (out >= g->results.n || !alike(t, &g->results.at[out++]->type)) return false;
  }
  return at == g->params.n && out == g->results.n;
}

static void verify_kind(DhcVerifier *v, const DhcFunc *f) {
  if ((unsigned)f->kind > DHC_FUNC_INIT) {
    dhc_verify_fail(v, f, f->span, "no valid kind of function");
    return;
  }
  bool named = f->kernel || f->vjp;
  if (f->kind == DHC_FUNC_COMPOSITE && !named)
    dhc_verify_fail(v, f, f->span, "a composite needs a kernel or a vjp");
  if (f->kind != DHC_FUNC_COMPOSITE && named)
    dhc_verify_fail(v, f, f->span, "only a composite has a kernel or a vjp");
  if (f->vjp && !dhc_verify_in_module(v, f->vjp))
    dhc_verify_fail(v, f, f->span, "its vjp is not in the module");
  if (f->kind != DHC_FUNC_INIT) return;
  for (int i = 0; i < f->param_info.n; i++)
    if (f->param_info.at[i].role != DHC_ROLE_SCALAR)
      dhc_verify_fail(v, f, f->span, "parameter %d of an initialiser is no scalar", i);
  if (f->results.n != 1)
    dhc_verify_fail(v, f, f->span, "an initialiser has one result, not %d", f->results.n);
}

static void verify_func(DhcVerifier *v, DhcFunc *f) {
  verify_symbols(v, f);
  verify_kind(v, f);
  verify_facts(v, f);
  verify_results(v, f);
  if (verify_params(v, f)) dhc_verify_nodes(v, f);
}

/* ---- modules --------------------------------------------------------------------------------------- */

/* Fills `place`; false if the list itself is broken. */
static bool place_functions(DhcVerifier *v) {
  DhcModule *m = v->m;
  v->place = DHC_NEW_N(&v->scratch, int, m->next_func_id + 1);
  for (int i = 0; i < m->funcs.n; i++) {
    const DhcFunc *f = m->funcs.at[i];
    if (!f) return dhc_verify_fail(v, NULL, (DhcSpan){0}, "function %d is missing", i);
    if (!f->name || !*f->name) return dhc_verify_fail(v, NULL, f->span, "function %d has no name", i);
    if (f->module != m) return dhc_verify_fail(v, f, f->span, "belongs to another module");
    if (f->id < 0 || f->id >= m->next_func_id || v->place[f->id])
      return dhc_verify_fail(v, f, f->span, "its id %d is not its own", f->id);
    if (dhc_module_func(m, f->name) != f)
      return dhc_verify_fail(v, f, f->span, "its name is taken by another function");
    v->place[f->id] = i + 1;
  }
  return true;
}

bool dhc_verify(DhcModule *m, DhcStage stage, const char *after) {
  DhcVerifier v = {.m = m, .stage = stage, .after = after, .ok = true};
  dhc_arena_init(&v.scratch);
  if (place_functions(&v)) {
    for (int i = 0; i < m->tensors.n && v.ok; i++) verify_tensor(&v, i);
    for (int i = 0; i < m->scalars.n; i++) verify_scalar(&v, i);
    /* A caller is looked at only if its callees are sound. */
    for (int i = 0; i < m->funcs.n && v.ok; i++) verify_func(&v, m->funcs.at[i]);
    for (int i = 0; i < m->funcs.n && v.ok; i++) {
      DhcFunc *f = m->funcs.at[i];
      if (f->vjp && !vjp_fits(f, f->vjp))
        dhc_verify_fail(&v, f, f->span, "the signature of its vjp @%s does not fit", f->vjp->name);
    }
  }
  dhc_arena_fini(&v.scratch);
  return v.ok;
}
