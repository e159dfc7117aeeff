/* Functions under construction: captured values, symbols, facts, calls. */
#include "frontend/elab_internal.h"

static bool known_outside(void *fn, const DhcDim *d);

DhcFn *dhc_fn_begin(DhcCx *cx, const char *name, DhcFuncKind kind, DhcFn *outer, bool renamed) {
  DhcModule *m = cx->m->module;
  DhcFn *fn = DHC_NEW(m->arena, DhcFn);
  DhcSpan span = cx->fn ? cx->fn->b.span : (DhcSpan){0};
  fn->f = dhc_func_new(m, name, kind, span);
  fn->outer = outer;
  fn->renamed = renamed;
  fn->b = (DhcBuilder){.f = fn->f, .span = span, .origin = cx->owner && cx->owner->path[0] ? cx->owner->path : NULL};
  fn->b.known = known_outside;
  fn->b.known_ctx = fn;
  if (outer && !renamed)
    for (int i = 0; i < outer->f->facts.nonneg.n; i++) {
      DHC_PUSH(m->arena, &fn->f->facts.nonneg, outer->f->facts.nonneg.at[i]);
      DHC_PUSH(m->arena, &fn->f->fact_messages, (DhcFactMessage){0});
    }
  return fn;
}

DhcFn *dhc_fn_root(DhcFn *fn) {
  while (fn->outer) fn = fn->outer;
  return fn;
}

DhcBuilder *dhc_at(DhcCx *cx, DhcSpan at) {
  cx->fn->b.span = at;
  cx->fn->b.origin = cx->owner && cx->owner->path[0] ? cx->owner->path : NULL;
  return &cx->fn->b;
}

/* d over the symbols of a renaming fn, or NULL: a dim that a symbol is bound to becomes
 * that symbol, also as a factor; what is left must be symbols bound one to one. */
static const DhcDim *express(DhcFn *fn, const DhcDim *d) {
  DhcDims *dims = fn->f->module->dims;
  if (dhc_dim_is_const(d, NULL)) return d;
  for (int i = 0; i < fn->bound.n; i++)
    if (fn->bound.at[i] == d) return dhc_dim_symbol(dims, fn->symbols.at[i]);
  for (int i = 0; i < fn->bound.n; i++) {
    const DhcDim *q = dhc_dim_symbol_name(fn->bound.at[i]) ? NULL : dhc_dim_divide(dims, d, fn->bound.at[i]);
    if (q && (q = express(fn, q))) return dhc_dim_mul(dims, q, dhc_dim_symbol(dims, fn->symbols.at[i]));
  }
  const char *names[32];
  const DhcDim *to[32];
  int n = dhc_dim_symbols(d, names, 32);
  for (int k = 0; k < n; k++) {
    to[k] = NULL;
    for (int i = 0; i < fn->bound.n && !to[k]; i++)
      if (dhc_dim_symbol_name(fn->bound.at[i]) == names[k]) to[k] = dhc_dim_symbol(dims, fn->symbols.at[i]);
    if (!to[k]) return NULL;
  }
  return dhc_dim_subst(dims, d, n, names, to);
}

/* Dims of an outer type in the symbols of a renaming fn; what they cannot express gets a
 * new symbol. */
const DhcDim *dhc_fn_rename(DhcFn *fn, const DhcDim *d) {
  const DhcDim *e = fn->renamed ? express(fn, d) : d;
  if (e) return e;
  DhcModule *m = fn->f->module;
  const char *name = dhc_intern(m->strings, dhc_arena_printf(m->arena, "n%d", fn->symbols.n));
  DHC_PUSH(m->arena, &fn->symbols, name);
  DHC_PUSH(m->arena, &fn->bound, d);
  return dhc_dim_symbol(m->dims, name);
}

DhcValue *dhc_fn_import(DhcFn *fn, DhcValue *v) {
  if (!v || v->def->func == fn->f) return v;
  if (!fn->outer) DHC_BUG("value of another function used in @%s", fn->f->name);
  DhcValue *outer = dhc_fn_import(fn->outer, v);
  for (int i = 0; i < fn->captures.n; i++)
    if (fn->captures.at[i].outer == outer) return fn->captures.at[i].inner;
  DhcType type = outer->type;
  for (int i = 0; i < type.rank; i++) type.dim[i] = dhc_fn_rename(fn, type.dim[i]);
  DhcParamInfo info = {.name = NULL, .role = DHC_ROLE_PLAIN, .decl = -1};
  DhcCapture c = {.outer = outer, .inner = dhc_func_param(fn->f, &type, info, fn->b.span)};
  DHC_PUSH(fn->f->module->arena, &fn->captures, c);
  return c.inner;
}

/* ---- what lives at the root --------------------------------------------------------- */

DhcValue *dhc_fn_tensor(DhcCx *cx, int tensor) {
  DhcFn *root = dhc_fn_root(cx->fn);
  DhcModule *m = cx->m->module;
  while (root->tensor_value.n <= tensor) DHC_PUSH(m->arena, &root->tensor_value, NULL);
  if (!root->tensor_value.at[tensor]) {
    const DhcTensorDecl *d = &m->tensors.at[tensor];
    DhcParamInfo info = {.name = d->path, .role = d->role, .decl = tensor};
    root->tensor_value.at[tensor] = dhc_func_param(root->f, &d->type, info, d->span);
  }
  DhcValue *v = dhc_fn_import(cx->fn, root->tensor_value.at[tensor]);
  const DhcTensorDecl *d = &m->tensors.at[tensor];
  const bool frozen = d->role == DHC_ROLE_WEIGHT && (d->frozen || cx->frozen);
  return frozen ? dhc_b_unary(&cx->fn->b, DHC_OP_STOP_GRADIENT, v) : v;
}

static DhcValue *scalar_param(DhcFn *root, dhc_dtype dtype, const char *name, int decl) {
  DhcType type = {.dtype = dtype, .rank = 0};
  DhcParamInfo info = {.name = name, .role = DHC_ROLE_SCALAR, .decl = decl};
  return dhc_func_param(root->f, &type, info, root->b.span);
}

DhcValue *dhc_fn_seed(DhcCx *cx) {
  DhcFn *root = dhc_fn_root(cx->fn);
  if (!root->seed) root->seed = scalar_param(root, DHC_I64, DHC_NAME_SEED, -1);
  return dhc_fn_import(cx->fn, root->seed);
}

/* Where a draw of that shape begins among those of the whole batch. What does not depend on sizes all parts draw alike. */
DhcValue *dhc_fn_draw_from(DhcCx *cx, const DhcDim *const *dim, int rank) {
  DhcFn *root = dhc_fn_root(cx->fn);
  const DhcDim *n = dhc_dim_product(cx->m->module->dims, dim, rank);
  if (!cx->run->request || !cx->run->request->part || dhc_dim_is_const(n, NULL)) return NULL;
  if (!root->first) root->first = scalar_param(root, DHC_I64, DHC_NAME_FIRST, -1);
  if (!root->rows) root->rows = scalar_param(root, DHC_I64, DHC_NAME_ROWS, -1);
  DhcBuilder *b = &cx->fn->b;
  DhcValue *at = dhc_b_binary(b, DHC_OP_MUL, dhc_b_dim(b, n), dhc_fn_import(cx->fn, root->first));
  return dhc_b_binary(b, DHC_OP_FLOORDIV, at, dhc_fn_import(cx->fn, root->rows));
}

static DhcFn *scan_around(DhcFn *fn) {
  while (fn && !fn->in_scan) fn = fn->outer;
  return fn;
}

/* The scan's own number of the step: a parameter behind its xs. */
static DhcValue *trip_param(DhcFn *fn) {
  DhcModule *m = fn->f->module;
  DhcType type = {.dtype = DHC_I64, .rank = fn->scan_axis};
  for (int i = 0; i < type.rank; i++) type.dim[i] = dhc_dim_const(m->dims, 1);
  DhcParamInfo info = {.name = NULL, .role = DHC_ROLE_PLAIN, .decl = -1};
  DhcValue *v = dhc_func_param(fn->f, &type, info, fn->b.span);
  for (int i = fn->f->params.n - 1; i > fn->scan_inputs; i--) {
    fn->f->params.at[i] = fn->f->params.at[i - 1];
    fn->f->param_info.at[i] = fn->f->param_info.at[i - 1];
  }
  fn->f->params.at[fn->scan_inputs] = v;
  fn->f->param_info.at[fn->scan_inputs] = info;
  return dhc_b_reshape(&fn->b, v, NULL, 0);
}

/* Number of the step in the body of a scan, counted through the scans around it. */
static DhcValue *trip_of(DhcFn *fn) {
  if (fn->trip) return fn->trip;
  DhcFn *around = scan_around(fn->outer);
  DhcValue *trip = trip_param(fn);
  if (around) {
    DhcValue *before = dhc_fn_import(fn, trip_of(around)), *length = dhc_b_dim(&fn->b, fn->scan_length);
    trip = dhc_b_binary(&fn->b, DHC_OP_ADD, dhc_b_binary(&fn->b, DHC_OP_MUL, before, length), trip);
  }
  return fn->trip = trip;
}

/* In a scan every step draws anew: its number is the high word of what stands for "$step". */
DhcValue *dhc_fn_step(DhcCx *cx) {
  DhcFn *root = dhc_fn_root(cx->fn), *scan = scan_around(cx->fn);
  if (root->f->kind == DHC_FUNC_INIT) return dhc_b_scalar(&cx->fn->b, DHC_I64, 0);
  if (!root->step) root->step = scalar_param(root, DHC_I64, DHC_NAME_STEP, -1);
  if (!scan) return dhc_fn_import(cx->fn, root->step);
  if (!scan->drawn) {
    scan->b.span = cx->fn->b.span;
    DhcValue *word = dhc_b_dim(&scan->b, dhc_dim_const(scan->f->module->dims, 32));
    DhcValue *high = dhc_b_binary(&scan->b, DHC_OP_SHL, trip_of(scan), word);
    scan->drawn = dhc_b_binary(&scan->b, DHC_OP_ADD, dhc_fn_import(scan, root->step), high);
  }
  return dhc_fn_import(cx->fn, scan->drawn);
}

DhcValue *dhc_fn_i64(DhcCx *cx, int64_t v) {
  DhcFn *root = dhc_fn_root(cx->fn);
  root->b.span = cx->fn->b.span;
  const DhcDim *d = dhc_dim_const(cx->m->module->dims, v); /* exact beyond 2^53 */
  return dhc_fn_import(cx->fn, dhc_b_dim(&root->b, d));
}

static DhcValue *emit_fx(DhcCx *cx, DhcFn *root, DhcFx *fx) {
  if (fx->kind == DHC_FX_CONST) return dhc_b_scalar(&root->b, DHC_F32, fx->value);
  DhcModule *m = cx->m->module;
  if (fx->root == root) return fx->value_there;
  /* A scalar is one parameter, however many Fx nodes name it. */
  for (int i = 0; i < root->fx_key.n && fx->kind == DHC_FX_SCALAR; i++)
    if (root->fx_key.at[i]->scalar == fx->scalar) return root->fx_value.at[i];
  DhcValue *v;
  if (fx->kind == DHC_FX_SCALAR) {
    v = scalar_param(root, DHC_F32, m->scalars.at[fx->scalar].name, fx->scalar);
  } else {
    DhcValue *arg[3] = {NULL, NULL, NULL};
    for (int i = 0; i < fx->n_args; i++) arg[i] = emit_fx(cx, root, fx->arg[i]);
    v = dhc_build1(&root->b, fx->op, arg, fx->n_args, NULL, 0);
  }
  if (fx->kind == DHC_FX_SCALAR) {
    DHC_PUSH(m->arena, &root->fx_key, fx);
    DHC_PUSH(m->arena, &root->fx_value, v);
  }
  fx->root = root;
  fx->value_there = v;
  return v;
}

/* The scalar that holds a constant, one a value, named by its bits. */
static DhcFx *as_scalar(DhcCx *cx, double value) {
  DhcModule *m = cx->m->module;
  uint64_t bits;
  char name[24];
  memcpy(&bits, &value, sizeof bits);
  snprintf(name, sizeof name, "$%016llx", (unsigned long long)bits);
  for (int i = 0; i < m->scalars.n; i++) {
    if (strcmp(m->scalars.at[i].name, name)) continue;
    DhcFx *fx = dhc_fx_const(cx, value);
    fx->kind = DHC_FX_SCALAR;
    fx->constant = false;
    fx->scalar = i;
    return fx;
  }
  return dhc_fx_scalar(cx, dhc_intern(cx->e->strings, name), value);
}

DhcValue *dhc_fn_fx(DhcCx *cx, DhcFx *fx) {
  DhcFn *root = dhc_fn_root(cx->fn);
  if (fx->kind == DHC_FX_CONST && fx->varies && root->f->kind == DHC_FUNC_ENTRY) fx = as_scalar(cx, fx->value);
  if (fx->kind == DHC_FX_CONST) return dhc_b_scalar(&cx->fn->b, DHC_F32, fx->value);
  root->b.span = cx->fn->b.span;
  return dhc_fn_import(cx->fn, emit_fx(cx, root, fx));
}

/* ---- facts ------------------------------------------------------------------------------- */

static const DhcDim *to_outer(DhcFn *fn, const DhcDim *d) {
  if (!fn->renamed) return d;
  return dhc_dim_subst(fn->f->module->dims, d, fn->symbols.n, fn->symbols.at, fn->bound.at);
}

const DhcDim *dhc_fn_to_root(DhcFn *fn, const DhcDim *d) {
  for (; fn->outer; fn = fn->outer) d = to_outer(fn, d);
  return d;
}

static void add_fact(DhcFn *fn, const DhcDim *d, DhcFactMessage message) {
  if (dhc_dim_is_const(d, NULL)) return;
  for (int i = 0; i < fn->f->facts.nonneg.n; i++)
    if (fn->f->facts.nonneg.at[i] == d) return;
  DHC_PUSH(fn->f->module->arena, &fn->f->facts.nonneg, d);
  DHC_PUSH(fn->f->module->arena, &fn->f->fact_messages, message);
}

static DhcTruth truth(DhcFn *fn, const DhcDim *d) {
  DhcDims *dims = fn->f->module->dims;
  DhcTruth t = dhc_dim_le(dims, &fn->f->facts, dhc_dim_const(dims, 0), d);
  if (t != DHC_UNKNOWN || !fn->outer) return t;
  t = truth(fn->outer, to_outer(fn, d));
  if (t == DHC_TRUE) add_fact(fn, d, (DhcFactMessage){0});
  if (t == DHC_FALSE) add_fact(fn, dhc_dim_addc(dims, dhc_dim_mulc(dims, d, -1), -1), (DhcFactMessage){0});
  return t;
}

DhcTruth dhc_fn_truth(DhcCx *cx, DhcFn *fn, const DhcDim *d) {
  (void)cx;
  return truth(fn, d);
}

/* For the builder: what an op needs may be known where the function is called. */
static bool known_outside(void *fn, const DhcDim *d) {
  return truth(fn, d) == DHC_TRUE;
}

void dhc_fn_assume(DhcCx *cx, DhcFn *fn, const DhcDim *d, DhcFactMessage message) {
  for (; fn; fn = fn->outer) {
    add_fact(fn, d, fn->outer ? (DhcFactMessage){0} : message);
    d = to_outer(fn, d);
  }
  (void)cx;
}

/* ---- closing and calling --------------------------------------------------------------------- */

typedef DHC_VEC(const char *) Symbols;

static void collect(DhcArena *a, Symbols *to, const DhcDim *d) {
  const char *names[64];
  int n = dhc_dim_symbols(d, names, 64);
  for (int i = 0; i < n; i++) {
    bool seen = false;
    for (int j = 0; j < to->n; j++) seen = seen || to->at[j] == names[i];
    if (!seen) DHC_PUSH(a, to, names[i]);
  }
}

static void collect_node(DhcArena *a, Symbols *to, const DhcNode *n) {
  for (int r = 0; r < n->n_results; r++)
    for (int i = 0; i < n->results[r]->type.rank; i++) collect(a, to, n->results[r]->type.dim[i]);
  const DhcOpInfo *info = dhc_op_info(n->op);
  for (int k = 0; k < info->n_attrs; k++) {
    if (n->attrs[k].kind == DHC_ATTR_DIM && n->attrs[k].dim) collect(a, to, n->attrs[k].dim);
    if (n->attrs[k].kind == DHC_ATTR_DIMS)
      for (int i = 0; i < n->attrs[k].dims.n; i++) collect(a, to, n->attrs[k].dims.at[i]);
  }
}

static bool has(const Symbols *s, const char *name) {
  for (int i = 0; i < s->n; i++)
    if (s->at[i] == name) return true;
  return false;
}

/* Keeps only facts about the function's own symbols. */
static void filter_facts(DhcFunc *f) {
  int kept = 0;
  for (int i = 0; i < f->facts.nonneg.n; i++) {
    const char *names[64];
    int n = dhc_dim_symbols(f->facts.nonneg.at[i], names, 64);
    bool ok = true;
    for (int j = 0; j < n; j++) {
      bool own = false;
      for (int k = 0; k < f->symbols.n; k++) own = own || f->symbols.at[k] == names[j];
      ok = ok && own;
    }
    if (!ok) continue;
    f->facts.nonneg.at[kept] = f->facts.nonneg.at[i];
    f->fact_messages.at[kept++] = f->fact_messages.at[i];
  }
  f->facts.nonneg.n = f->fact_messages.n = kept;
}

/* Symbols that fn may use, in a fixed order: those of the next function out that has
 * symbols of its own. */
static void universe(DhcFn *fn, Symbols *to) {
  while (fn->outer && !fn->renamed) fn = fn->outer;
  if (fn->renamed)
    for (int i = 0; i < fn->symbols.n; i++) DHC_PUSH(fn->f->module->arena, to, fn->symbols.at[i]);
  else
    for (int i = 0; i < fn->f->symbols.n; i++) DHC_PUSH(fn->f->module->arena, to, fn->f->symbols.at[i]);
}

int dhc_fn_close(DhcCx *cx, DhcFn *fn, const DhcDim *const **dims) {
  DhcModule *m = cx->m->module;
  Symbols used = {0}, all = {0};
  for (int i = 0; i < fn->f->params.n; i++)
    for (int k = 0; k < fn->f->params.at[i]->type.rank; k++)
      collect(m->arena, &used, fn->f->params.at[i]->type.dim[k]);
  for (const DhcNode *n = fn->f->first; n; n = n->next) collect_node(m->arena, &used, n);
  universe(fn, &all);
  DHC_VEC(const DhcDim *) bound = {0};
  fn->f->symbols.n = 0;
  for (int i = 0; i < all.n; i++) {
    if (!has(&used, all.at[i])) continue;
    DHC_PUSH(m->arena, &fn->f->symbols, all.at[i]);
    DHC_PUSH(m->arena, &bound, fn->renamed ? fn->bound.at[i] : dhc_dim_symbol(m->dims, all.at[i]));
  }
  filter_facts(fn->f);
  *dims = bound.at;
  return bound.n;
}

void dhc_fn_extra_results(DhcCx *cx, DhcFn *fn) {
  (void)cx;
  for (int i = 0; i < fn->taps.n; i++) dhc_func_result(fn->f, dhc_fn_import(fn, fn->taps.at[i].value), NULL);
  for (int i = 0; i < fn->stores.n; i++)
    dhc_func_result(fn->f, dhc_fn_import(fn, fn->stores.at[i].value), NULL);
}

void dhc_fn_move_out(DhcCx *cx, DhcFn *fn, DhcNode *call, int first) {
  DhcArena *a = cx->m->module->arena;
  for (int i = 0; i < fn->taps.n; i++) {
    DhcTap t = fn->taps.at[i];
    t.value = call->results[first++];
    DHC_PUSH(a, &fn->outer->taps, t);
  }
  for (int i = 0; i < fn->stores.n; i++) {
    DhcStore s = fn->stores.at[i];
    s.value = call->results[first++];
    bool again = false; /* a tensor is stored once: the last value stands */
    for (int k = 0; k < fn->outer->stores.n && !again; k++)
      if ((again = fn->outer->stores.at[k].tensor == s.tensor)) fn->outer->stores.at[k] = s;
    if (!again) DHC_PUSH(a, &fn->outer->stores, s);
  }
}

DhcNode *dhc_fn_call(DhcCx *cx, DhcFn *fn, DhcOp op, DhcValue *const *args, int n_args) {
  DhcModule *m = cx->m->module;
  int n_results = fn->f->results.n;
  dhc_fn_extra_results(cx, fn);
  const DhcDim *const *dims = NULL;
  int n_dims = dhc_fn_close(cx, fn, &dims);
  DHC_VEC(DhcValue *) all = {0};
  for (int i = 0; i < n_args; i++) DHC_PUSH(m->arena, &all, dhc_fn_import(fn->outer, args[i]));
  for (int i = 0; i < fn->captures.n; i++) DHC_PUSH(m->arena, &all, fn->captures.at[i].outer);
  DhcAttr attrs[2] = {dhc_attr_func(fn->f), dhc_attr_dims(m, dims, n_dims)};
  DhcNode *call = dhc_build(&fn->outer->b, op, all.at, all.n, attrs, 2);
  if (call) dhc_fn_move_out(cx, fn, call, n_results);
  return call;
}
