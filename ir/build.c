/* Building nodes: attributes, the generic builder, copying and inlining. */
#include "ir/ir_internal.h"

/* ---- attributes ------------------------------------------------------------------------ */

DhcAttr dhc_attr_int(int64_t v) { return (DhcAttr){.kind = DHC_ATTR_INT, .i = v}; }
DhcAttr dhc_attr_float(double v) { return (DhcAttr){.kind = DHC_ATTR_FLOAT, .f = v}; }
DhcAttr dhc_attr_flag(bool v) { return (DhcAttr){.kind = DHC_ATTR_FLAG, .b = v}; }
DhcAttr dhc_attr_bool(bool v) { return (DhcAttr){.kind = DHC_ATTR_BOOL, .b = v}; }
DhcAttr dhc_attr_string(const char *v) { return (DhcAttr){.kind = DHC_ATTR_STRING, .s = v}; }
DhcAttr dhc_attr_dim(const DhcDim *v) { return (DhcAttr){.kind = DHC_ATTR_DIM, .dim = v}; }
DhcAttr dhc_attr_dtype(dhc_dtype v) { return (DhcAttr){.kind = DHC_ATTR_DTYPE, .dtype = v}; }
DhcAttr dhc_attr_func(DhcFunc *v) { return (DhcAttr){.kind = DHC_ATTR_FUNC, .func = v}; }
DhcAttr dhc_attr_spec(const struct DhcSpec *v) {
  return (DhcAttr){.kind = DHC_ATTR_SPEC, .spec = v};
}

DhcAttr dhc_attr_ints(DhcModule *m, const int64_t *v, int n) {
  DhcAttr a = {.kind = DHC_ATTR_INTS};
  a.ints.n = n;
  a.ints.at = dhc_arena_dup(m->arena, v, sizeof *v * (size_t)n);
  return a;
}

DhcAttr dhc_attr_dims(DhcModule *m, const DhcDim *const *v, int n) {
  DhcAttr a = {.kind = DHC_ATTR_DIMS};
  a.dims.n = n;
  a.dims.at = dhc_arena_dup(m->arena, v, sizeof *v * (size_t)n);
  return a;
}

const DhcAttr *dhc_attr(const DhcNode *n, const char *name) {
  const DhcOpInfo *info = dhc_op_info(n->op);
  for (int i = 0; i < info->n_attrs; i++)
    if (info->attrs[i].name[0] == name[0] && strcmp(info->attrs[i].name, name) == 0) return &n->attrs[i];
  DHC_BUG("op %s has no attribute '%s'", info->name, name);
}

int dhc_kernel_within(const DhcNode *n, int result) {
  int64_t into = dhc_attr(n, "into")->ints.at[result];
  return into <= DHC_KERNEL_WITHIN ? (int)(DHC_KERNEL_WITHIN - into) : -1;
}

DhcFunc *dhc_node_callee(const DhcNode *n) {
  return dhc_attr(n, n->op == DHC_OP_SCAN ? "body" : "callee")->func;
}

/* ---- the generic builder ------------------------------------------------------------------ */

DhcNode *dhc_build(DhcBuilder *b, DhcOp op, DhcValue *const *args, int n_args,
                   const DhcAttr *attrs, int n_attrs) {
  DhcFunc *f = b->f;
  DhcModule *m = f->module;
  const DhcOpInfo *info = dhc_op_info(op);
  for (int i = 0; i < n_args; i++) {
    if (!args[i]) return NULL;
    if (args[i]->def->func != f)
      DHC_BUG("%s in @%s: operand %d belongs to @%s", info->name, f->name, i,
              args[i]->def->func->name);
  }
  bool flag = n_attrs + 1 == info->n_attrs && info->attrs[n_attrs].kind == DHC_ATTR_FLAG; /* left out */
  if (n_attrs != info->n_attrs && !flag)
    DHC_BUG("%s takes %d attributes, got %d", info->name, info->n_attrs, n_attrs);
  if (f->n_nodes >= DHC_MAX_NODES) {
    dhc_diag(m->diags, DHC_ERROR, DHC_E_LIMIT, b->span, "function @%s has more than %d nodes",
             f->name, DHC_MAX_NODES);
    return NULL;
  }
  DhcNode draft = {.op = op, .n_args = n_args, .args = (DhcValue **)args, .span = b->span, .func = f};
  for (int i = 0; i < n_attrs; i++) draft.attrs[i] = attrs[i];
  if (flag) draft.attrs[n_attrs] = dhc_attr_flag(false);
  DhcType type[DHC_MAX_RESULTS];
  int n_results = 0;
  if (!dhc_shape_infer(m, &f->facts, b, &draft, NULL, type, &n_results)) return NULL;
  DhcNode *n = dhc_node_make(f, op, args, n_args, type, n_results);
  for (int i = 0; i < info->n_attrs; i++) n->attrs[i] = draft.attrs[i];
  n->span = b->span;
  n->origin = b->origin;
  dhc_node_link(n, b->before);
  return n;
}

DhcValue *dhc_build1(DhcBuilder *b, DhcOp op, DhcValue *const *args, int n_args,
                     const DhcAttr *attrs, int n_attrs) {
  DhcNode *n = dhc_build(b, op, args, n_args, attrs, n_attrs);
  return n && n->n_results ? n->results[0] : NULL;
}

/* ---- copying ------------------------------------------------------------------------------- */

DhcNode *dhc_node_copy(DhcBuilder *b, const DhcNode *n, DhcValue *const *args) {
  DhcBuilder at = *b;
  at.span = n->span;
  at.origin = n->origin ? n->origin : b->origin;
  return dhc_build(&at, n->op, args, n->n_args, n->attrs, dhc_op_info(n->op)->n_attrs);
}

DhcFunc *dhc_func_clone(DhcFunc *f, const char *name) {
  DhcModule *m = f->module;
  DhcFunc *g = dhc_func_new(m, name, f->kind, f->span);
  DhcValue **map = DHC_NEW_N(m->arena, DhcValue *, f->next_value_id);
  for (const DhcNode *n = f->first; n; n = n->next) {
    DhcValue **args = DHC_NEW_N(m->arena, DhcValue *, n->n_args);
    DhcType *type = DHC_NEW_N(m->arena, DhcType, n->n_results);
    for (int i = 0; i < n->n_args; i++) args[i] = map[n->args[i]->id];
    for (int i = 0; i < n->n_results; i++) type[i] = n->results[i]->type;
    DhcNode *c = dhc_node_make(g, n->op, args, n->n_args, type, n->n_results);
    memcpy(c->attrs, n->attrs, sizeof c->attrs);
    c->span = n->span;
    c->origin = n->origin;
    dhc_node_link(c, NULL);
    for (int i = 0; i < n->n_results; i++) map[n->results[i]->id] = c->results[i];
  }
  for (int i = 0; i < f->symbols.n; i++) DHC_PUSH(m->arena, &g->symbols, f->symbols.at[i]);
  for (int i = 0; i < f->params.n; i++) {
    DHC_PUSH(m->arena, &g->params, map[f->params.at[i]->id]);
    DHC_PUSH(m->arena, &g->param_info, f->param_info.at[i]);
  }
  for (int i = 0; i < f->results.n; i++)
    dhc_func_result(g, map[f->results.at[i]->id], f->result_names.at[i]);
  for (int i = 0; i < f->facts.nonneg.n; i++)
    DHC_PUSH(m->arena, &g->facts.nonneg, f->facts.nonneg.at[i]);
  for (int i = 0; i < f->fact_messages.n; i++)
    DHC_PUSH(m->arena, &g->fact_messages, f->fact_messages.at[i]);
  g->kernel = f->kernel;
  g->vjp = f->vjp;
  return g;
}

/* ---- inlining -------------------------------------------------------------------------------- */

static DhcAttr subst_attr(DhcModule *m, const DhcAttr *a, const DhcSubst *s) {
  DhcAttr r = *a;
  if (a->kind == DHC_ATTR_DIM) r.dim = dhc_dim_subst(m->dims, a->dim, s->n, s->from, s->to);
  if (a->kind != DHC_ATTR_DIMS) return r;
  const DhcDim **at = DHC_NEW_N(m->arena, const DhcDim *, a->dims.n);
  for (int i = 0; i < a->dims.n; i++)
    at[i] = dhc_dim_subst(m->dims, a->dims.at[i], s->n, s->from, s->to);
  r.dims.at = at;
  return r;
}

/* What the callee knows about its symbols, said about the caller's: the call has been
 * checked against it, so it holds, and the inlined nodes may rest on it. */
static void carry_facts(DhcFunc *to, const DhcFunc *from, const DhcSubst *s) {
  DhcModule *m = to->module;
  for (int i = 0; i < from->facts.nonneg.n; i++) {
    const DhcDim *d = dhc_dim_subst(m->dims, from->facts.nonneg.at[i], s->n, s->from, s->to);
    bool known = dhc_dim_is_const(d, NULL);
    for (int k = 0; k < to->facts.nonneg.n && !known; k++) known = to->facts.nonneg.at[k] == d;
    if (known) continue;
    DHC_PUSH(m->arena, &to->facts.nonneg, d);
    DHC_PUSH(m->arena, &to->fact_messages, (DhcFactMessage){0});
  }
}

void dhc_inline_call(DhcNode *call) {
  dhc_inline_call_to(call, NULL);
}

void dhc_inline_call_to(DhcNode *call, DhcValue **results) {
  DhcModule *m = call->func->module;
  if (call->op != DHC_OP_CALL && call->op != DHC_OP_CHECKPOINT)
    DHC_BUG("inlining a node of op %s", dhc_op_info(call->op)->name);
  DhcFunc *f = dhc_attr(call, "callee")->func;
  DhcSubst s = {f->symbols.n, f->symbols.at, dhc_attr(call, "dims")->dims.at};
  carry_facts(call->func, f, &s);
  DhcValue **map = DHC_NEW_N(m->arena, DhcValue *, f->next_value_id);
  for (int i = 0; i < f->params.n; i++) map[f->params.at[i]->id] = call->args[i];
  for (const DhcNode *n = f->first; n; n = n->next) {
    if (n->op == DHC_OP_PARAM) continue;
    DhcNode draft = *n;
    draft.args = DHC_NEW_N(m->arena, DhcValue *, n->n_args);
    for (int i = 0; i < n->n_args; i++) draft.args[i] = map[n->args[i]->id];
    for (int i = 0; i < dhc_op_info(n->op)->n_attrs; i++)
      draft.attrs[i] = subst_attr(m, &n->attrs[i], &s);
    DhcBuilder b = {.f = call->func, .before = call, .span = call->span, .origin = call->origin};
    DhcNode *c = dhc_node_copy(&b, &draft, draft.args);
    if (!c) {
      dhc_diags_print(m->diags, stderr, false);
      DHC_BUG("inlining @%s: %s does not fit", f->name, dhc_op_info(n->op)->name);
    }
    for (int i = 0; i < n->n_results; i++) map[n->results[i]->id] = c->results[i];
  }
  for (int i = 0; i < call->n_results; i++) {
    if (results) results[i] = map[f->results.at[i]->id];
    dhc_replace_uses(call->results[i], map[f->results.at[i]->id]);
  }
  dhc_node_remove(call);
}
