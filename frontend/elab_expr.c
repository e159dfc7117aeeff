/* Expressions: dispatch over the syntax tree, lists, maps, subscripts. */
#include "frontend/elab_internal.h"

/* Values are walked by functions that call themselves. */
static bool nested_ok(DhcCx *cx, const DhcVal *v, DhcSpan at) {
  if (dhc_val_depth(v) <= DHC_LIMIT_NESTING) return true;
  dhc_limit_stop(cx, "E0315", at, "lists and maps nested deeper than %d levels", DHC_LIMIT_NESTING);
  return false;
}

static DhcVal eval_list(DhcCx *cx, const DhcAstExpr *e) {
  DHC_VEC(DhcVal) all = {0};
  bool bad = false;
  for (int i = 0; i < e->u.list.n; i++) {
    const DhcAstExpr *x = e->u.list.at[i];
    if (x->kind == DHC_EX_RUN) {
      DhcVal *run = dhc_scope_get(cx->scope, x->u.name);
      if (!run || run->kind != DHC_V_LIST) {
        dhc_report_unknown(cx, "run of dims", x->u.name, x->span);
        bad = true;
        continue;
      }
      for (int k = 0; k < run->list.n; k++) DHC_PUSH(dhc_cx_arena(cx), &all, run->list.at[k]);
      bad = bad || !dhc_limit_steps(cx, 16 * dhc_limit_walk(run->list.n), x->span);
      if (all.n <= DHC_LIMIT_LIST) continue;
      dhc_err(cx, "E0304", e->span, "list longer than %d", DHC_LIMIT_LIST);
      return dhc_v_error();
    }
    DhcVal v = dhc_eval(cx, x);
    bad = bad || v.kind == DHC_V_ERROR;
    DHC_PUSH(dhc_cx_arena(cx), &all, v);
  }
  if (bad) return dhc_v_error();
  DhcVal v = dhc_v_list(cx, DHC_V_LIST, all.at, all.n);
  return nested_ok(cx, &v, e->span) ? v : dhc_v_error();
}

static DhcVal eval_map(DhcCx *cx, const DhcAstExpr *e) {
  DhcVal v = {.kind = DHC_V_MAP};
  v.map.n = e->u.map.n;
  v.map.at = DHC_NEW_N(dhc_cx_arena(cx), DhcValPair, e->u.map.n + 1);
  for (int i = 0; i < e->u.map.n; i++) {
    v.map.at[i].key = e->u.map.at[i].name.text;
    v.map.at[i].value = DHC_NEW(dhc_cx_arena(cx), DhcVal);
    *v.map.at[i].value = dhc_eval(cx, e->u.map.at[i].value);
    if (dhc_val_depth(v.map.at[i].value) >= v.map.depth) v.map.depth = dhc_val_depth(v.map.at[i].value) + 1;
  }
  return nested_ok(cx, &v, e->span) ? v : dhc_v_error();
}

static DhcVal eval_range(DhcCx *cx, const DhcAstExpr *e) {
  DhcVal lo = dhc_eval(cx, e->u.range.lo), hi = dhc_v_error();
  int64_t a, b;
  if (!e->u.range.hi) { /* only in `in 1..` of a hyperparameter, which is not evaluated */
    DHC_BUG("a range without an end is evaluated");
  }
  hi = dhc_eval(cx, e->u.range.hi);
  if (hi.kind == DHC_V_DIM) {
    DhcDiag *d = dhc_err(cx, "E0303", e->u.range.hi->span, "the end of a range must be an int known at compile time, got the dim %s", dhc_say_val(cx, &hi));
    dhc_err_hint(cx, d, "a loop is unrolled; along an axis go steps of: h, y = scan (h = h0) over (u = x) along 1 { … yield h }");
    return dhc_v_error();
  }
  if (!dhc_want_int(cx, &lo, e->u.range.lo->span, "the start of a range", &a) ||
      !dhc_want_int(cx, &hi, e->u.range.hi->span, "the end of a range", &b))
    return dhc_v_error();
  if (b > a && (uint64_t)b - (uint64_t)a > DHC_LIMIT_LOOP) {
    dhc_err(cx, "E0304", e->span, "range of more than %d steps: loops are unrolled", DHC_LIMIT_LOOP);
    return dhc_v_error();
  }
  if (b > a && !dhc_limit_steps(cx, 16 * dhc_limit_walk(b - a), e->span)) return dhc_v_error();
  DHC_VEC(DhcVal) all = {0};
  for (int64_t i = a; i < b; i++) DHC_PUSH(dhc_cx_arena(cx), &all, dhc_v_int(i));
  return dhc_v_list(cx, DHC_V_LIST, all.at, all.n);
}

bool dhc_eval_cond(DhcCx *cx, const DhcAstExpr *e, bool *out) {
  DhcVal v = dhc_eval(cx, e);
  if (v.kind == DHC_V_TENSOR) {
    DhcDiag *d = dhc_err(cx, "E0307", e->span, "a condition must be known at compile time, got %s",
                         dhc_say_kind(cx, &v));
    dhc_err_hint(cx, d, "select(c, a, b) chooses element by element");
    return false;
  }
  return dhc_want_bool(cx, &v, e->span, "a condition", out);
}

static DhcVal eval_member(DhcCx *cx, const DhcAstExpr *e) {
  const DhcAstExpr *o = e->u.member.object;
  const char *name = e->u.member.name.text;
  if (o->kind == DHC_EX_SELF) {
    if (!cx->self) {
      dhc_err(cx, "E0301", o->span, "there is no 'self' here");
      return dhc_v_error();
    }
    return dhc_eval_member_of(cx, cx->self, name, e->u.member.name.span, true);
  }
  DhcVal v = dhc_eval(cx, o);
  if (v.kind == DHC_V_ERROR) return v;
  if (v.kind == DHC_V_INST) return dhc_eval_member_of(cx, v.inst, name, e->u.member.name.span, true);
  if (v.kind == DHC_V_TENSOR) {
    if (!strcmp(name, "T")) return dhc_transpose_last(cx, &v, e->span);
    if (!strcmp(name, "rank")) return dhc_v_int(v.t->type.rank);
    if (!strcmp(name, "dtype")) return (DhcVal){.kind = DHC_V_DTYPE, .dtype = v.t->type.dtype};
    if (!strcmp(name, "shape")) {
      DhcVal dims[DHC_MAX_RANK];
      for (int i = 0; i < v.t->type.rank; i++) dims[i] = dhc_v_dim(v.t->type.dim[i]);
      return dhc_v_list(cx, DHC_V_LIST, dims, v.t->type.rank);
    }
    DhcDiag *d = dhc_err(cx, "E0301", e->u.member.name.span, "a tensor has no member '%s'", name);
    dhc_err_hint(cx, d, "it has T, shape, rank and dtype; functions are called as %s(x)", name);
    return dhc_v_error();
  }
  dhc_err(cx, "E0303", e->span, "%s has no members", dhc_say_kind(cx, &v));
  return dhc_v_error();
}

/* `tokens == grid`: a bare name beside an enum is one of its values. */
static bool enum_literal(const DhcVal *a, const DhcAstExpr *e, DhcVal *out) {
  if (a->kind != DHC_V_STRING || !a->s.names || e->kind != DHC_EX_NAME) return false;
  for (int i = 0; i < a->s.names->n; i++)
    if (a->s.names->at[i].text == e->u.name) {
      *out = *a;
      out->s.at = e->u.name;
      out->s.n = (int)strlen(e->u.name);
      return true;
    }
  return false;
}

/* x @ w.T contracts w itself; the view made for `w.T` has no other reader. */
static void drop_transpose(const DhcAstExpr *rhs, const DhcVal *w, DhcValue *product) {
  if (rhs->kind != DHC_EX_MEMBER || w->kind != DHC_V_TENSOR || w->t->def->op != DHC_OP_TRANSPOSE) return;
  if (w->t->def->func == product->def->func && product->def->prev == w->t->def &&
      product->def->args[1] != w->t)
    dhc_node_remove(w->t->def);
}

/* Operator chains lean left and may be long: the spine is walked in a loop. */
static DhcVal eval_binary_spine(DhcCx *cx, const DhcAstExpr *e) {
  DHC_VEC(const DhcAstExpr *) spine = {0};
  while (e->kind == DHC_EX_BINARY) {
    DHC_PUSH(dhc_cx_arena(cx), &spine, e);
    e = e->u.binary.lhs;
  }
  DhcVal a = dhc_eval(cx, e);
  for (int i = spine.n - 1; i >= 0; i--) {
    const DhcAstExpr *x = spine.at[i];
    DhcAstBinary op = x->u.binary.op;
    if ((op == DHC_BI_AND || op == DHC_BI_OR) && a.kind == DHC_V_BOOL && a.b == (op == DHC_BI_OR)) continue;
    bool saved = cx->in_require;
    if (op != DHC_BI_AND && op != DHC_BI_EQ && !(op >= DHC_BI_LT && op <= DHC_BI_GE)) cx->in_require = false;
    DhcVal b;
    if (!((op == DHC_BI_EQ || op == DHC_BI_NE) && enum_literal(&a, x->u.binary.rhs, &b)))
      b = dhc_eval(cx, x->u.binary.rhs);
    a = dhc_eval_binary(cx, op, a, b, x->span);
    if (op == DHC_BI_MATMUL && a.kind == DHC_V_TENSOR) drop_transpose(x->u.binary.rhs, &b, a.t);
    cx->in_require = saved;
  }
  return a;
}

static DhcVal eval_cond_expr(DhcCx *cx, const DhcAstExpr *e) {
  bool yes;
  if (!dhc_eval_cond(cx, e->u.cond.cond, &yes)) return dhc_v_error();
  return dhc_eval(cx, yes ? e->u.cond.then_ : e->u.cond.else_);
}

static DhcVal eval_kind(DhcCx *cx, const DhcAstExpr *e) {
  switch (e->kind) {
    case DHC_EX_ERROR: return dhc_v_error();
    case DHC_EX_INT: return dhc_v_int(e->u.int_value);
    case DHC_EX_FLOAT: return dhc_v_float(cx, e->u.float_value);
    case DHC_EX_BOOL: return dhc_v_bool(e->u.bool_value);
    case DHC_EX_STRING: return dhc_v_string(cx, e->u.string.at, e->u.string.n);
    case DHC_EX_NAME: return dhc_eval_name(cx, e->u.name, e->span);
    case DHC_EX_SELF:
      DHC_BUG("'self' is evaluated"); /* the grammar has it only before a member */
    case DHC_EX_MEMBER: return eval_member(cx, e);
    case DHC_EX_INDEX:
      return dhc_eval_index(cx, dhc_eval(cx, e->u.index.object), &e->u.index.subscripts, e->span);
    case DHC_EX_CALL: return dhc_eval_call(cx, e);
    case DHC_EX_UNARY: {
      bool saved = cx->in_require;
      cx->in_require = false;
      DhcVal v = dhc_eval_unary(cx, e->u.unary.op, dhc_eval(cx, e->u.unary.operand), e->span);
      cx->in_require = saved;
      return v;
    }
    case DHC_EX_BINARY: return eval_binary_spine(cx, e);
    case DHC_EX_COND: return eval_cond_expr(cx, e);
    case DHC_EX_LIST: return eval_list(cx, e);
    case DHC_EX_MAP: return eval_map(cx, e);
    case DHC_EX_RUN:
      DHC_BUG("'...%s' is evaluated", e->u.name); /* the grammar has it only in lists */
    case DHC_EX_RANGE: return eval_range(cx, e);
    case DHC_EX_UNIT: return dhc_eval_unit(cx, e);
    case DHC_EX_CHECKPOINT: return dhc_eval_checkpoint(cx, e);
    case DHC_EX_SCAN: return dhc_eval_scan(cx, e);
  }
  return dhc_v_error();
}

DhcVal dhc_eval(DhcCx *cx, const DhcAstExpr *e) {
  if (!dhc_limit_steps(cx, 1, e->span)) return dhc_v_error();
  if (++cx->eval_depth > DHC_LIMIT_EVALUATIONS) {
    dhc_limit_stop(cx, "E0315", e->span, "more than %d expressions within one another, through all calls", DHC_LIMIT_EVALUATIONS);
    cx->eval_depth--;
    return dhc_v_error();
  }
  DhcVal v = eval_kind(cx, e);
  cx->eval_depth--;
  return v;
}

/* ---- subscripts of compile-time values ----------------------------------------------------- */

static DhcVal index_list(DhcCx *cx, const DhcVal *o, const DhcAstSubscript *s) {
  bool text = o->kind == DHC_V_STRING;
  int64_t n = text ? o->s.n : o->list.n, i = 0, lo = 0, hi = n, step = 1;
  if (s->kind == DHC_SUB_ELLIPSIS) return *o;
  if (s->kind == DHC_SUB_INDEX) {
    DhcVal v = dhc_eval(cx, s->lo);
    if (!dhc_want_int(cx, &v, s->span, "an index", &i)) return dhc_v_error();
    int64_t k = i < 0 ? i + n : i;
    if (k < 0 || k >= n) {
      DhcDiag *d = dhc_err(cx, "E0304", s->span, "index %lld is outside this %s of length %lld", (long long)i,
                           text ? "string" : "list", (long long)n);
      if (o->name) dhc_err_note(cx, d, o->def, "'%s' is %s", o->name, dhc_say_val(cx, o));
      return dhc_v_error();
    }
    return text ? dhc_v_string(cx, o->s.at + k, 1) : o->list.at[k];
  }
  int64_t *to[3] = {&lo, &hi, &step};
  const DhcAstExpr *from[3] = {s->lo, s->hi, s->step};
  for (int k = 0; k < 3; k++) {
    if (!from[k]) continue;
    DhcVal v = dhc_eval(cx, from[k]);
    if (!dhc_want_int(cx, &v, s->span, "a bound of a slice", to[k])) return dhc_v_error();
    if (k < 2 && *to[k] < 0) *to[k] += n;
  }
  if (step < 1 || lo < 0 || hi > n || lo > hi) {
    dhc_err(cx, "E0304", s->span, "slice %lld:%lld:%lld does not fit a length of %lld", (long long)lo,
            (long long)hi, (long long)step, (long long)n);
    return dhc_v_error();
  }
  if (text && step == 1) return dhc_v_string(cx, o->s.at + lo, (int)(hi - lo));
  DHC_VEC(DhcVal) all = {0};
  for (int64_t k = lo; k < hi && !text; k += step) DHC_PUSH(dhc_cx_arena(cx), &all, o->list.at[k]);
  return dhc_v_list(cx, DHC_V_LIST, all.at, all.n);
}

static DhcVal index_map(DhcCx *cx, const DhcVal *o, const DhcAstSubscript *s) {
  const char *key;
  DhcVal v = s->kind == DHC_SUB_INDEX ? dhc_eval(cx, s->lo) : dhc_v_error();
  if (!dhc_want_string(cx, &v, s->span, "a key of a map", &key)) return dhc_v_error();
  DHC_VEC(const char *) names = {0};
  for (int i = 0; i < o->map.n; i++) {
    if (!strcmp(o->map.at[i].key, key)) return *o->map.at[i].value;
    DHC_PUSH(dhc_cx_arena(cx), &names, o->map.at[i].key);
  }
  DhcDiag *d = dhc_err(cx, "E0301", s->span, "the map has no key '%s'", key);
  const char *close = dhc_suggest(key, names.at, names.n);
  if (close) dhc_err_hint(cx, d, "did you mean '%s'?", close);
  return dhc_v_error();
}

static DhcVal index_table(DhcCx *cx, DhcVal o, const DhcAstSubscript *s) {
  int64_t i = 0;
  DhcVal v = s->kind == DHC_SUB_INDEX ? dhc_eval(cx, s->lo) : dhc_v_error();
  if (s->kind != DHC_SUB_INDEX) dhc_err(cx, "E0303", s->span, "submodules are indexed by single ints");
  if (!dhc_want_int(cx, &v, s->span, "the index of a submodule", &i)) return dhc_v_error();
  const DhcMember *m = o.table.member;
  if (o.table.n_prefix == 4) DHC_BUG("more indices of '%s' than a submodule can have", m->name);
  o.table.prefix[o.table.n_prefix++] = i;
  bool longer = false;
  if (!dhc_limit_steps(cx, dhc_limit_walk(m->table.n), s->span)) return dhc_v_error();
  for (int k = 0; k < m->table.n; k++) {
    const DhcIndexed *x = &m->table.at[k];
    if (x->n_index < o.table.n_prefix ||
        memcmp(x->index, o.table.prefix, sizeof(int64_t) * (size_t)o.table.n_prefix))
      continue;
    if (x->n_index == o.table.n_prefix)
      return x->inst ? (DhcVal){.kind = DHC_V_INST, .inst = x->inst} : dhc_v_error();
    longer = true;
  }
  if (longer) return o;
  DhcDiag *d = dhc_err(cx, "E0304", s->span, "there is no %s[%lld]", m->name, (long long)i);
  dhc_err_note(cx, d, m->span, "'%s' has %d elements", m->name, m->table.n);
  return dhc_v_error();
}

/* ---- subscripts of tensors -------------------------------------------------------------------- */

static bool bound_of(DhcCx *cx, const DhcAstExpr *e, const DhcDim *n, const char *what, const DhcDim **out) {
  DhcVal v = dhc_eval(cx, e);
  if (!dhc_want_dim(cx, &v, e->span, what, out)) return false;
  int64_t k;
  if (dhc_dim_is_const(*out, &k) && k < 0) *out = dhc_dim_addc(dhc_cx_dims(cx), n, k);
  return true;
}

typedef struct Cut {
  const DhcDim *start[DHC_MAX_RANK], *size[DHC_MAX_RANK];
  int64_t step[DHC_MAX_RANK];
  bool drop[DHC_MAX_RANK];
  DhcValue *gather[DHC_MAX_RANK];
  bool any;
} Cut;

static bool cut_index(DhcCx *cx, const DhcVal *x, Cut *c, int k, const DhcAstSubscript *s) {
  const DhcDim *n = x->t->type.dim[k];
  DhcVal v = dhc_eval(cx, s->lo);
  if (v.kind == DHC_V_TENSOR && dhc_dtype_is_int(v.t->type.dtype)) {
    c->gather[k] = dhc_fn_import(cx->fn, v.t);
    return true;
  }
  const DhcDim *i;
  if (!dhc_want_dim(cx, &v, s->span, "an index", &i)) return false;
  int64_t at, len;
  if (dhc_dim_is_const(i, &at) && dhc_dim_is_const(n, &len) && (at >= len || at < -len)) {
    DhcDiag *d = dhc_err(cx, "E0304", s->span, "index %lld is outside dimension %d of %s", (long long)at, k,
                         dhc_say_type(cx, &x->t->type));
    dhc_note_operand(cx, d, x);
    return false;
  }
  if (dhc_dim_is_const(i, &at) && at < 0) i = dhc_dim_addc(dhc_cx_dims(cx), n, at);
  c->start[k] = i;
  c->size[k] = dhc_dim_const(dhc_cx_dims(cx), 1);
  c->drop[k] = c->any = true;
  return true;
}

static bool cut_slice(DhcCx *cx, const DhcVal *x, Cut *c, int k, const DhcAstSubscript *s) {
  DhcDims *dims = dhc_cx_dims(cx);
  const DhcDim *n = x->t->type.dim[k], *lo = dhc_dim_const(dims, 0), *hi = n;
  if (s->lo && !bound_of(cx, s->lo, n, "the start of a slice", &lo)) return false;
  if (s->hi && !bound_of(cx, s->hi, n, "the end of a slice", &hi)) return false;
  int64_t step = 1;
  if (s->step) {
    DhcVal v = dhc_eval(cx, s->step);
    if (!dhc_want_int(cx, &v, s->span, "the step of a slice", &step)) return false;
    if (step < 1) {
      DhcDiag *d =
          dhc_err(cx, "E0304", s->span, "the step of a slice must be at least 1, got %lld", (long long)step);
      dhc_err_hint(cx, d, "reverse(x, axis) turns an axis around");
      return false;
    }
  }
  const DhcDim *span = dhc_dim_sub(dims, hi, lo);
  c->start[k] = lo;
  c->size[k] = step == 1 ? span : dhc_dim_floordiv(dims, dhc_dim_addc(dims, span, step - 1), step);
  c->step[k] = step;
  c->any = c->any || s->lo || s->hi || s->step;
  return true;
}

static DhcVal cut_apply(DhcCx *cx, DhcValue *v, const Cut *c, DhcSpan at) {
  DhcModule *m = cx->m->module;
  int rank = v->type.rank;
  DhcBuilder *b = dhc_at(cx, at);
  if (c->any) {
    DhcAttr attrs[3] = {dhc_attr_dims(m, c->start, rank), dhc_attr_dims(m, c->size, rank),
                        dhc_attr_ints(m, c->step, rank)};
    v = dhc_build1(b, DHC_OP_SLICE, &v, 1, attrs, 3);
    if (!v) return dhc_v_error();
    const DhcDim *dim[DHC_MAX_RANK];
    int kept = 0;
    for (int k = 0; k < rank; k++)
      if (!c->drop[k]) dim[kept++] = v->type.dim[k];
    if (kept < rank) v = dhc_b_reshape(b, v, dim, kept);
  }
  int axis = 0;
  for (int k = 0; k < rank && v; k++) {
    if (c->gather[k]) {
      DhcValue *args[2] = {v, c->gather[k]};
      DhcAttr attr = dhc_attr_int(axis);
      v = dhc_build1(b, DHC_OP_GATHER, args, 2, &attr, 1);
      axis += c->gather[k]->type.rank;
    } else if (!c->drop[k]) {
      axis++;
    }
  }
  return dhc_v_tensor(v);
}

static DhcVal index_tensor(DhcCx *cx, const DhcVal *x, const DhcAstSubscripts *subs, DhcSpan at) {
  DhcValue *v = dhc_fn_import(cx->fn, x->t);
  DhcVal here = *x;
  here.t = v;
  int rank = v->type.rank, given = 0, axis = 0;
  Cut c = {0};
  for (int k = 0; k < rank; k++) {
    c.start[k] = dhc_dim_const(dhc_cx_dims(cx), 0);
    c.size[k] = v->type.dim[k];
    c.step[k] = 1;
  }
  for (int i = 0; i < subs->n; i++) given += subs->at[i].kind != DHC_SUB_ELLIPSIS;
  if (given > rank) {
    DhcDiag *d =
        dhc_err(cx, "E0308", at, "%d indices into %s of rank %d", given, dhc_say_type(cx, &v->type), rank);
    dhc_note_operand(cx, d, x);
    return dhc_v_error();
  }
  for (int i = 0; i < subs->n; i++) {
    const DhcAstSubscript *s = &subs->at[i];
    if (s->kind == DHC_SUB_ELLIPSIS) {
      axis += rank - given;
      continue;
    }
    bool ok =
        s->kind == DHC_SUB_INDEX ? cut_index(cx, &here, &c, axis, s) : cut_slice(cx, &here, &c, axis, s);
    if (!ok) return dhc_v_error();
    axis++;
  }
  return cut_apply(cx, v, &c, at);
}

DhcVal dhc_eval_index(DhcCx *cx, DhcVal o, const DhcAstSubscripts *subs, DhcSpan at) {
  if (o.kind == DHC_V_TENSOR) return index_tensor(cx, &o, subs, at);
  for (int i = 0; i < subs->n; i++) {
    const DhcAstSubscript *s = &subs->at[i];
    switch (o.kind) {
      case DHC_V_ERROR: return o;
      case DHC_V_LIST:
      case DHC_V_TUPLE:
      case DHC_V_STRING: o = index_list(cx, &o, s); break;
      case DHC_V_MAP: o = index_map(cx, &o, s); break;
      case DHC_V_TABLE: o = index_table(cx, o, s); break;
      default: dhc_err(cx, "E0303", at, "%s cannot be indexed", dhc_say_kind(cx, &o)); return dhc_v_error();
    }
  }
  return o;
}
