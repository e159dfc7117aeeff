/* Instances: a layer's items carried out, submodules below it, tensors it owns. */
#include "frontend/elab_internal.h"

static void run_items(DhcCx *cx, const DhcAstItems *items);

enum { STEPS_A_LAYER = 10 }; /* an instance takes the memory of about so many values */

static bool new_member(DhcCx *cx, const char *name, DhcSpan at, DhcMemberKind kind, DhcMember **out) {
  DhcInst *inst = cx->self;
  if (!dhc_limit_steps(cx, dhc_limit_walk(inst->members.n), at)) return false;
  DhcMember *m = dhc_inst_member(inst, name);
  if (m) {
    DhcDiag *d = dhc_err(cx, "E0302", at, "'%s' is declared twice in %s", name, inst->decl->name.text);
    dhc_err_note(cx, d, m->span, "first here");
    return false;
  }
  DhcHyper *h = dhc_inst_hyper(inst, name);
  if (h && kind == DHC_M_CONST) {
    DhcDiag *d =
        dhc_err(cx, "E0302", at, "'%s' is a hyperparameter of %s already", name, inst->decl->name.text);
    dhc_err_note(cx, d, h->decl->span, "declared here");
    return false;
  }
  m = DHC_NEW(dhc_cx_arena(cx), DhcMember);
  m->kind = kind;
  m->name = name;
  m->span = at;
  m->tensor = -1;
  DHC_PUSH(dhc_cx_arena(cx), &inst->members, m);
  *out = m;
  return true;
}

/* A const in the body of a `for` belongs to the iteration: other iterations declare it anew. */
static void loop_const(DhcCx *cx, const DhcAstName *name, DhcVal v) {
  const DhcVal *old = dhc_scope_get(cx->scope, name->text);
  const DhcMember *m = dhc_inst_member(cx->self, name->text);
  const DhcHyper *h = dhc_inst_hyper(cx->self, name->text);
  if (!old && !m && !h) {
    dhc_scope_set(cx, name->text, v);
    return;
  }
  DhcDiag *d = dhc_err(cx, "E0302", name->span, "'%s' is declared twice in %s", name->text, cx->self->decl->name.text);
  if (old && old->name) dhc_err_note(cx, d, old->def, "first here");
  if (!old) dhc_err_note(cx, d, m ? m->span : h->decl->span, "first here");
}

static void run_const(DhcCx *cx, const DhcAstItem *it) {
  const DhcAstConst *c = &it->u.const_;
  DhcVal v = dhc_eval(cx, c->value);
  const char *what = dhc_arena_printf(dhc_cx_arena(cx), "const '%s'", c->name.text);
  if (!dhc_coerce(cx, &c->type, NULL, what, &v, c->value->span)) v = dhc_v_error();
  v.name = c->name.text;
  v.def = c->name.span;
  if (cx->scope->parent) {
    loop_const(cx, &c->name, v);
    return;
  }
  DhcMember *m;
  if (new_member(cx, c->name.text, c->name.span, DHC_M_CONST, &m)) m->value = v;
}

/* ---- tensors ------------------------------------------------------------------------------- */

static const char *joined(DhcCx *cx, const char *path, const char *name) {
  return dhc_intern(cx->e->strings, *path ? dhc_arena_printf(dhc_cx_arena(cx), "%s.%s", path, name) : name);
}

static DhcScope *snapshot(DhcCx *cx) {
  DhcScope *s = DHC_NEW(dhc_cx_arena(cx), DhcScope);
  for (DhcScope *p = cx->scope; p; p = p->parent)
    for (int i = 0; i < p->vars.n; i++) DHC_PUSH(dhc_cx_arena(cx), &s->vars, p->vars.at[i]);
  return s;
}

static bool count_bytes(DhcCx *cx, const DhcAstItem *it, const DhcType *type, int64_t *n) {
  *n = 1;
  for (int i = 0; i < type->rank; i++) {
    int64_t d = 1;
    if (!dhc_dim_is_const(type->dim[i], &d)) DHC_BUG("tensor '%s' has an extent of an entry", it->u.tensor.name.text); /* no binder is in scope */
    if (__builtin_mul_overflow(*n, d, n)) {
      dhc_err(cx, "E0313", it->span, "tensor '%s': number of elements does not fit in 63 bits",
              it->u.tensor.name.text);
      return false;
    }
  }
  int64_t bytes, total;
  if (__builtin_mul_overflow(*n, (int64_t)dhc_dtype_bytes(type->dtype), &bytes) ||
      __builtin_add_overflow(cx->m->param_bytes, bytes, &total)) {
    dhc_err(cx, "E0313", it->span, "tensor '%s': number of bytes does not fit in 63 bits",
            it->u.tensor.name.text);
    return false;
  }
  int64_t limit = cx->e->config.max_memory_bytes;
  if (limit > 0 && total > limit && cx->m->param_bytes <= limit) {
    bool large = limit >= 1 << 30;
    double unit = large ? 1 << 30 : 1 << 10;
    dhc_err(cx, "E0312", it->span, "model needs %.1f %s, limit is %.1f %s (--max-memory)", (double)total / unit, large ? "GiB" : "KiB",
            (double)limit / unit, large ? "GiB" : "KiB");
  }
  cx->m->param_bytes = total;
  return true;
}

/* What `as` says, one text, a list of them or a map to the lengths of parts, below the instance's place in files. */
static bool eval_as(DhcCx *cx, const DhcAstExpr *e, DhcTensorDecl *d) {
  DhcVal v = dhc_eval(cx, e);
  DhcText all = {.arena = dhc_cx_arena(cx)};
  const int n = v.kind == DHC_V_LIST ? v.list.n : v.kind == DHC_V_MAP ? v.map.n : 1;
  for (int i = 0; i < n; i++) {
    const char *s;
    int64_t length;
    if (v.kind == DHC_V_MAP) {
      s = v.map.at[i].key;
      if (!dhc_want_int(cx, v.map.at[i].value, e->span, dhc_arena_printf(dhc_cx_arena(cx), "the length of part '%s'", s), &length)) return false;
      if (length < 1 || length > INT32_MAX) {
        dhc_err(cx, "E0212", e->span, "part '%s' cannot be %lld long", s, (long long)length);
        return false;
      }
      dhc_text_printf(&all, "%s%s\t%lld", i ? "\n" : "", joined(cx, cx->self->files, s), (long long)length);
      continue;
    }
    if (!dhc_want_string(cx, v.kind == DHC_V_LIST ? &v.list.at[i] : &v, e->span, "the path behind `as`", &s)) return false;
    dhc_text_printf(&all, "%s%s", i ? "\n" : "", joined(cx, cx->self->files, s));
  }
  if (!n) dhc_err(cx, "E0212", e->span, "the list behind `as` is empty");
  d->as = n ? dhc_intern(cx->e->strings, dhc_text_str(&all)) : NULL;
  return n > 0;
}

/* What files hold of a tensor: all of it under one name; with '*' in the name a piece for each index of its leading
 * axis; of a list of names equal parts, of a map parts as long as it says, one after the other along the axis that comes next. */
static bool as_fits(DhcCx *cx, const DhcAstItem *it, const DhcTensorDecl *d) {
  DhcNameParts p = dhc_name_parts(d->as ? d->as : d->path);
  const char *name = it->u.tensor.name.text;
  DhcDiag *g = NULL;
  int64_t extent = 0;
  if (p.bad) {
    g = dhc_err(cx, "E0212", it->u.tensor.path->span, p.n == 1 ? "'%s': a path behind `as` has at most one '*'" : "'%s': all paths behind `as` have one '*', or none has", name);
    dhc_err_hint(cx, g, "it stands for the index along the leading axis: \"experts.*.weight\"");
  } else if (p.star && !d->type.rank) {
    g = dhc_err(cx, "E0212", it->u.tensor.path->span, "'%s' has no leading axis for the '*'", name);
  } else if (p.sum >= 0 && (d->type.rank <= p.star || !dhc_dim_is_const(d->type.dim[p.star], &extent) || extent != p.sum)) {
    g = dhc_err(cx, "E0212", it->u.tensor.path->span, "'%s' is %s: the parts behind `as` are not its axis %d but %lld long", name, dhc_say_type(cx, &d->type), p.star,
                (long long)p.sum);
  } else if (p.sum < 0 && p.n > 1 && (d->type.rank <= p.star || !dhc_dim_is_const(d->type.dim[p.star], &extent) || extent % p.n)) {
    g = dhc_err(cx, "E0212", it->u.tensor.path->span, "'%s' is %s: its axis %d has no %d equal parts", name, dhc_say_type(cx, &d->type), p.star, p.n);
    dhc_err_hint(cx, g, "parts of other lengths: as { \"q.weight\" = 6, \"k.weight\" = 2 }");
  }
  return !g;
}

/* A name that both have in files, up to its line's end; NULL: none. */
static const char *same_file_name(const DhcTensorDecl *a, const DhcTensorDecl *b) {
  const char *x = a->as ? a->as : a->path, *y = b->as ? b->as : b->path;
  for (const char *p = x; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
    for (const char *q = y; q; q = strchr(q, '\n') ? strchr(q, '\n') + 1 : NULL) {
      const size_t n = strcspn(p, "\t\n");
      if (n == strcspn(q, "\t\n") && !strncmp(p, q, n)) return p;
    }
  return NULL;
}

/* No two tensors share a name in files. */
static bool path_fits(DhcCx *cx, const DhcAstItem *it, const DhcTensorDecl *d) {
  if (!as_fits(cx, it, d) || !dhc_limit_steps(cx, dhc_limit_walk(cx->m->module->tensors.n), it->span)) return false;
  for (int i = 0; i < cx->m->module->tensors.n; i++) {
    const DhcTensorDecl *t = &cx->m->module->tensors.at[i];
    const char *same = strcmp(t->path, d->path) ? same_file_name(t, d) : d->path;
    if (!same) continue;
    DhcDiag *g = dhc_err(cx, "E0319", it->span, "two tensors have the path '%.*s'", (int)strcspn(same, "\t\n"), same);
    dhc_err_note(cx, g, t->span, "the other is declared here");
    return false;
  }
  return true;
}

static void run_tensor(DhcCx *cx, const DhcAstItem *it) {
  static const DhcRole roles[] = {[DHC_TENSOR_PARAM] = DHC_ROLE_WEIGHT,
                                  [DHC_TENSOR_BUFFER] = DHC_ROLE_BUFFER,
                                  [DHC_TENSOR_TABLE] = DHC_ROLE_TABLE,
                                  [DHC_TENSOR_STATE] = DHC_ROLE_STATE};
  const char *name = it->u.tensor.name.text;
  bool state = it->u.tensor.role == DHC_TENSOR_STATE;
  DhcMember *m;
  if (!new_member(cx, name, it->u.tensor.name.span, state ? DHC_M_STATE : DHC_M_TENSOR, &m)) return;
  m->item = it;
  if (state) return; /* its type may use binders: known where it is read */
  DhcTensorDecl d = {.role = roles[it->u.tensor.role], .no_decay = it->u.tensor.no_decay, .span = it->span};
  d.path = joined(cx, cx->self->path, name);
  if (it->u.tensor.path && !eval_as(cx, it->u.tensor.path, &d)) return;
  if (!it->u.tensor.path && strcmp(cx->self->files, cx->self->path)) d.as = joined(cx, cx->self->files, name);
  if (!dhc_eval_type(cx, &it->u.tensor.type, &d.type,
                     dhc_arena_printf(dhc_cx_arena(cx), "tensor '%s'", name)))
    return;
  int64_t n;
  if (!count_bytes(cx, it, &d.type, &n)) return;
  if (d.role == DHC_ROLE_WEIGHT && !dhc_dtype_is_float(d.type.dtype)) {
    DhcDiag *g = dhc_err(cx, "E0310", it->span, "param '%s' is %s: only floats are trained", name,
                         dhc_dtype_name(d.type.dtype));
    dhc_err_hint(cx, g, "a buffer may have any dtype");
    return;
  }
  if (!it->u.tensor.init) {
    DhcDiag *g = dhc_err(cx, "E0306", it->span, "'%s' has no initialiser", name);
    dhc_err_hint(cx, g, "write for example `= zeros()` or `= kaiming_uniform(a = sqrt(5.0))`");
    return;
  }
  if (!path_fits(cx, it, &d)) return;
  if (d.role == DHC_ROLE_WEIGHT) dhc_train_tensor(cx, &d);
  DHC_PUSH(cx->m->module->arena, &cx->m->module->tensors, d);
  m->tensor = cx->m->module->tensors.n - 1;
  if (d.role == DHC_ROLE_WEIGHT) cx->self->n_own_params += n;
  DhcPendingInit p = {.inst = cx->self, .item = it, .scope = snapshot(cx), .tensor = m->tensor};
  DHC_PUSH(dhc_cx_arena(cx), &cx->m->pending, p);
}

/* ---- submodules ----------------------------------------------------------------------------------- */

static bool eval_indices(DhcCx *cx, const DhcAstItem *it, DhcIndexed *x, const char **text) {
  DhcText t = {.arena = dhc_cx_arena(cx)};
  x->n_index = it->u.submodule.indices.n;
  if (x->n_index > 4) {
    dhc_err(cx, "E0303", it->span, "at most 4 indices are possible");
    return false;
  }
  for (int i = 0; i < x->n_index; i++) {
    const DhcAstExpr *e = it->u.submodule.indices.at[i];
    DhcVal v = dhc_eval(cx, e);
    if (!dhc_want_int(cx, &v, e->span, "the index of a submodule", &x->index[i])) return false;
    if (x->index[i] < 0) {
      dhc_err(cx, "E0304", e->span, "the index of a submodule must be at least 0, got %lld",
              (long long)x->index[i]);
      return false;
    }
    dhc_text_printf(&t, "%s%lld", i ? "." : "", (long long)x->index[i]);
  }
  *text = x->n_index ? dhc_text_str(&t) : NULL;
  return true;
}

static DhcMember *submodule_member(DhcCx *cx, const DhcAstItem *it) {
  const DhcAstName *name = &it->u.submodule.name;
  DhcMember *m = dhc_inst_member(cx->self, name->text);
  bool indexed = it->u.submodule.indices.n > 0;
  if (m && indexed && m->kind == DHC_M_TABLE) return m;
  return new_member(cx, name->text, name->span, indexed ? DHC_M_TABLE : DHC_M_SUB, &m) ? m : NULL;
}

/* Where the tensors of a submodule lie in files: "" means beside those of the layer that has it. */
static bool files_below(DhcCx *cx, const DhcAstExpr *e, const char **files) {
  DhcVal v = dhc_eval(cx, e);
  const char *s;
  if (!dhc_want_string(cx, &v, e->span, "the path behind `as`", &s)) return false;
  *files = *s ? joined(cx, cx->self->files, s) : cx->self->files;
  return true;
}

static void run_submodule(DhcCx *cx, const DhcAstItem *it) {
  DhcIndexed x = {0};
  const char *index = NULL;
  DhcVal v = dhc_eval(cx, it->u.submodule.value);
  DhcMember *m = submodule_member(cx, it);
  if (!m || !eval_indices(cx, it, &x, &index)) return;
  if (!dhc_limit_steps(cx, dhc_limit_walk(m->table.n), it->span)) return;
  for (int i = 0; i < m->table.n; i++)
    if (m->table.at[i].n_index == x.n_index && !memcmp(m->table.at[i].index, x.index, sizeof x.index)) {
      dhc_err(cx, "E0302", it->span, "%s[%s] is declared twice", m->name, index);
      return;
    }
  if (v.kind != DHC_V_ERROR && v.kind != DHC_V_LAYER) {
    DhcDiag *d = dhc_err(cx, "E0303", it->u.submodule.value->span, "submodule '%s' must be a layer, got %s",
                         m->name, dhc_say_kind(cx, &v));
    dhc_err_hint(cx, d, "write `const %s = …` for a value", m->name);
    v = dhc_v_error();
  }
  if (v.kind == DHC_V_LAYER) {
    const char *path = joined(cx, cx->self->path, m->name), *files = joined(cx, cx->self->files, m->name);
    if (index) path = joined(cx, path, index), files = joined(cx, files, index);
    if (it->u.submodule.path && !files_below(cx, it->u.submodule.path, &files)) return;
    x.inst = dhc_instantiate(cx, v.layer, path, files, m->name, index, cx->self, it->span);
  }
  if (index)
    DHC_PUSH(dhc_cx_arena(cx), &m->table, x);
  else
    m->sub = x.inst;
}

/* ---- the rest ---------------------------------------------------------------------------------------- */

static void run_require(DhcCx *cx, const DhcAstItem *it) {
  DhcVal v = dhc_eval(cx, it->u.require.cond);
  bool yes;
  if (!dhc_want_bool(cx, &v, it->u.require.cond->span, "what is required", &yes) || yes) return;
  DhcDiag *d = dhc_err(cx, "E0305", it->span, "%s: %s", cx->self->decl->name.text,
                       dhc_require_message(cx, &it->u.require));
  const DhcAstExpr *c = it->u.require.cond;
  while (c->kind == DHC_EX_BINARY && (c->u.binary.op == DHC_BI_AND)) c = c->u.binary.lhs;
  for (int i = 0; i < cx->self->hypers.n && i < 6; i++)
    dhc_err_note(cx, d, (DhcSpan){0}, "%s = %s", cx->self->hypers.at[i].name,
                 dhc_say_val(cx, &cx->self->hypers.at[i].value));
}

static void run_for(DhcCx *cx, const DhcAstItem *it) {
  DhcVal over = dhc_eval(cx, it->u.for_.iter);
  if (over.kind != DHC_V_LIST) {
    if (over.kind != DHC_V_ERROR)
      dhc_err(cx, "E0303", it->u.for_.iter->span, "a loop runs over a range or a list, got %s",
              dhc_say_kind(cx, &over));
    return;
  }
  DhcScope *outer = cx->scope;
  for (int i = 0; i < over.list.n && dhc_limit_steps(cx, 1, it->span); i++) {
    DhcScope scope = {.parent = outer};
    int before = cx->e->diags->n_errors;
    cx->scope = &scope;
    dhc_scope_set(cx, it->u.for_.var.text, over.list.at[i]);
    run_items(cx, &it->u.for_.body);
    cx->scope = outer;
    if (cx->e->diags->n_errors > before) return;
  }
}

static void run_entry(DhcCx *cx, const DhcAstItem *it) {
  const DhcAstName *name = &it->u.entry.sig.name;
  const DhcAstItem *old = dhc_inst_entry(cx->self, name->text);
  DhcMember *m = dhc_inst_member(cx->self, name->text);
  if (old || m) {
    DhcDiag *d = dhc_err(cx, "E0302", name->span, "'%s' is declared twice in %s", name->text,
                         cx->self->decl->name.text);
    dhc_err_note(cx, d, old ? old->u.entry.sig.name.span : m->span, "first here");
    return;
  }
  DHC_PUSH(dhc_cx_arena(cx), &cx->self->entries, it);
}

static void run_item(DhcCx *cx, const DhcAstItem *it) {
  bool yes;
  switch (it->kind) {
    case DHC_IT_CONST: run_const(cx, it); break;
    case DHC_IT_TENSOR: run_tensor(cx, it); break;
    case DHC_IT_SUBMODULE: run_submodule(cx, it); break;
    case DHC_IT_INIT: {
      DhcOverride o = {.item = it, .scope = snapshot(cx)};
      DHC_PUSH(dhc_cx_arena(cx), &cx->self->overrides, o);
      break;
    }
    case DHC_IT_REQUIRE: run_require(cx, it); break;
    case DHC_IT_IF:
      if (dhc_eval_cond(cx, it->u.if_.cond, &yes)) run_items(cx, yes ? &it->u.if_.then_ : &it->u.if_.else_);
      break;
    case DHC_IT_FOR: run_for(cx, it); break;
    case DHC_IT_ENTRY: run_entry(cx, it); break;
  }
}

static void run_items(DhcCx *cx, const DhcAstItems *items) {
  for (int i = 0; i < items->n && dhc_limit_steps(cx, 1, items->at[i]->span); i++) run_item(cx, items->at[i]);
}

DhcInst *dhc_instantiate(DhcCx *cx, DhcClosure *c, const char *path, const char *files, const char *name, const char *index,
                         DhcInst *parent, DhcSpan at) {
  DhcArena *a = dhc_cx_arena(cx);
  const DhcFrame frame = {path, at, cx->frame, true};
  if (parent && parent->depth >= DHC_LIMIT_CALLS) {
    DhcDiag *d = dhc_limit_stop(cx, "E0315", at, "layers nested deeper than %d levels at '%s'", DHC_LIMIT_CALLS, path);
    dhc_err_hint(cx, d, "a layer may not contain itself");
    return NULL;
  }
  if (!dhc_limit_steps(cx, STEPS_A_LAYER, at)) return NULL;
  DhcInst *inst = DHC_NEW(a, DhcInst);
  inst->path = path;
  inst->files = files;
  inst->name = name;
  inst->index = index;
  inst->decl = c->decl;
  inst->file = c->file;
  inst->parent = parent;
  inst->is_element = index != NULL;
  inst->frozen = c->frozen || (parent && parent->frozen);
  inst->average = c->average;
  inst->decay = c->decay;
  inst->depth = parent ? parent->depth + 1 : 0;
  int before = cx->e->diags->all.n;
  DhcGivens args = {0};
  for (int i = 0; i < c->args.n; i++) DHC_PUSH(a, &args, c->args.at[i]);
  bool ok = dhc_bind_hypers(cx, inst, &args, at);
  for (int i = 0; i < c->args.n; i++) c->args.at[i].used = args.at[i].used;
  if (!ok) return NULL;
  DhcScope scope = {0};
  DhcCx own = {.e = cx->e,
               .m = cx->m,
               .self = inst,
               .owner = inst,
               .file = c->file,
               .scope = &scope,
               .depth = cx->depth,
               .eval_depth = cx->eval_depth,
               .frame = parent ? &frame : cx->frame};
  run_items(&own, &c->decl->u.layer.items);
  if (parent) {
    DHC_PUSH(a, &parent->children, inst);
    DhcDiags *ds = cx->e->diags;
    for (int i = before; at.file && i < ds->all.n && !cx->e->stopped; i++) {
      DhcDiag *d = ds->all.at[i];
      if (d->severity == DHC_ERROR && d->notes.n < 4 && d->at.begin != at.begin) dhc_diag_note(ds, d, at, "in '%s', made here", path);
    }
  }
  return inst;
}
