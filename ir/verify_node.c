/* The verifier: what is inside a function. Trusts nothing it has not looked at. */
#include "ir/verify_internal.h"

/* The list is whole: links, owners, counts, ids. */
static bool verify_list(DhcVerifier *v, const DhcFunc *f) {
  const DhcNode *prev = NULL;
  bool *seen = DHC_NEW_N(&v->scratch, bool, f->next_node_id + 1);
  int n = 0;
  for (const DhcNode *x = f->first; x; prev = x, x = x->next) {
    if (x->prev != prev)
      return dhc_verify_fail(v, f, x->span, "the links between nodes are broken at node %d", x->id);
    if (x->func != f) return dhc_verify_fail(v, f, x->span, "node %d belongs to another function", x->id);
    if (x->id < 0 || x->id >= f->next_node_id)
      return dhc_verify_fail(v, f, x->span, "node id %d is out of range", x->id);
    if (seen[x->id]) return dhc_verify_fail(v, f, x->span, "two nodes have id %d", x->id);
    seen[x->id] = true;
    if (++n > DHC_MAX_NODES)
      return dhc_verify_fail(v, f, x->span, "more than %d nodes", DHC_MAX_NODES);
  }
  if (f->last != prev) return dhc_verify_fail(v, f, f->span, "its last node is not the end of the list");
  if (f->n_nodes != n)
    return dhc_verify_fail(v, f, f->span, "it counts %d nodes, the list has %d", f->n_nodes, n);
  return true;
}

/* Defines n's results in `defined`. */
static bool verify_values(DhcVerifier *v, const DhcNode *n, DhcValue **defined) {
  const DhcFunc *f = n->func;
  for (int i = 0; i < n->n_results; i++) {
    DhcValue *r = n->results[i];
    if (!r) return dhc_verify_fail(v, f, n->span, "node %d: result %d is missing", n->id, i);
    if (r->def != n || r->index != i)
      return dhc_verify_fail(v, f, n->span, "node %d: result %d names another node as its source", n->id, i);
    if (r->id < 0 || r->id >= f->next_value_id)
      return dhc_verify_fail(v, f, n->span, "node %d: value id %d is out of range", n->id, r->id);
    if (defined[r->id])
      return dhc_verify_fail(v, f, n->span, "node %d: two values have id %d", n->id, r->id);
    defined[r->id] = r;
  }
  return true;
}

/* Use of value x as `what` of its user. */
static bool verify_use(DhcVerifier *v, const DhcFunc *f, DhcSpan at, const DhcValue *x,
                       DhcValue *const *defined, const char *what) {
  if (!x) return dhc_verify_fail(v, f, at, "%s is missing", what);
  if (!x->def || x->def->func != f)
    return dhc_verify_fail(v, f, at, "%s comes from another function", what);
  if (x->id < 0 || x->id >= f->next_value_id || defined[x->id] != x) {
    bool listed = false;
    for (const DhcNode *n = f->first; n && !listed; n = n->next) listed = n == x->def;
    return dhc_verify_fail(v, f, at, listed ? "%s is used before it is defined"
                                            : "%s comes from a node that was taken out", what);
  }
  return true;
}

static bool is_defined(const DhcFunc *f, const DhcValue *x, DhcValue *const *defined) {
  return x && x->def && x->def->func == f && x->id >= 0 && x->id < f->next_value_id && defined[x->id] == x;
}

static bool verify_operands(DhcVerifier *v, const DhcNode *n, DhcValue *const *defined) {
  for (int i = 0; i < n->n_args; i++) {
    if (is_defined(n->func, n->args[i], defined)) continue; /* text only for what is wrong */
    const char *what = dhc_arena_printf(&v->scratch, "node %d (%s): operand %d", n->id,
                                        dhc_op_info(n->op)->name, i);
    if (!verify_use(v, n->func, n->span, n->args[i], defined, what)) return false;
  }
  return true;
}

/* ---- attributes ---------------------------------------------------------------------------- */

/* Does f, through any number of calls, reach `target`? Bounded by the number of functions. */
static bool reaches(const DhcVerifier *v, const DhcFunc *f, const DhcFunc *target, int fuel) {
  if (f == target) return true;
  if (fuel == 0) return false;
  for (const DhcNode *n = f->first; n; n = n->next) {
    if ((unsigned)n->op >= DHC_N_OPS) continue;
    const DhcOpInfo *info = dhc_op_info(n->op);
    for (int i = 0; i < info->n_attrs; i++)
      if (n->attrs[i].kind == DHC_ATTR_FUNC && dhc_verify_in_module(v, n->attrs[i].func) &&
          reaches(v, n->attrs[i].func, target, fuel - 1))
        return true;
  }
  return false;
}

static bool verify_callee(DhcVerifier *v, const DhcNode *n, const DhcFunc *g) {
  const DhcFunc *f = n->func;
  const char *op = dhc_op_info(n->op)->name;
  if (!g) return dhc_verify_fail(v, f, n->span, "node %d (%s) names no function", n->id, op);
  if (!dhc_verify_in_module(v, g))
    return dhc_verify_fail(v, f, n->span, "node %d (%s) names a function outside the module", n->id, op);
  if (g == f) return dhc_verify_fail(v, f, n->span, "it calls itself");
  if (v->place[g->id] < v->place[f->id]) return true;
  if (reaches(v, g, f, 6)) return dhc_verify_fail(v, f, n->span, "it calls @%s, which calls it", g->name);
  return dhc_verify_fail(v, f, n->span, "it calls @%s, which must stand before it", g->name);
}

static bool verify_attr(DhcVerifier *v, const DhcNode *n, const DhcAttr *a, const char *name) {
  const char *where = name;
  if (a->kind == DHC_ATTR_DIM && a->dim) return dhc_verify_dim(v, n->func, n->span, a->dim, where);
  if (a->kind == DHC_ATTR_DIMS && a->dims.at) {
    for (int i = 0; i < a->dims.n; i++)
      if (!dhc_verify_dim(v, n->func, n->span, a->dims.at[i], where)) return false;
  }
  if (a->kind == DHC_ATTR_FUNC) return verify_callee(v, n, a->func);
  if (a->kind != DHC_ATTR_SPEC || !a->spec) return true;
  for (int i = 0; i < v->m->specs.n; i++)
    if (v->m->specs.at[i] == a->spec) return true;
  return dhc_verify_fail(v, n->func, n->span, "node %d runs a spec outside the module", n->id);
}

static bool verify_attrs(DhcVerifier *v, const DhcNode *n) {
  const DhcOpInfo *info = dhc_op_info(n->op);
  for (int i = 0; i < info->n_attrs; i++) {
    if (n->attrs[i].kind != info->attrs[i].kind)
      return dhc_verify_fail(v, n->func, n->span, "node %d (%s): attribute '%s' has the wrong kind",
                             n->id, info->name, info->attrs[i].name);
    if (!verify_attr(v, n, &n->attrs[i], info->attrs[i].name)) return false;
  }
  return true;
}

/* ---- types and stages ------------------------------------------------------------------------ */

static const char *prefix_of(DhcVerifier *v, const DhcFunc *f) {
  if (v->prefix_of == f) return v->prefix;
  DhcText prefix = {.arena = &v->scratch};
  if (v->after) dhc_text_printf(&prefix, "after %s: ", v->after);
  dhc_text_printf(&prefix, "@%s: ", f->name);
  v->prefix_of = f;
  return v->prefix = dhc_text_str(&prefix);
}

static bool verify_types(DhcVerifier *v, const DhcNode *n) {
  DhcType type[DHC_MAX_RESULTS];
  int n_types = 0;
  if (!dhc_shape_infer(v->m, &n->func->facts, NULL, n, prefix_of(v, n->func), type, &n_types))
    return v->ok = false;
  if (n_types != n->n_results)
    return dhc_verify_fail(v, n->func, n->span, "node %d (%s) has %d results, its rule gives %d", n->id,
                           dhc_op_info(n->op)->name, n->n_results, n_types);
  for (int i = 0; i < n_types; i++) {
    if (n->results[i]->type.rank < 0 || n->results[i]->type.rank > DHC_MAX_RANK)
      return dhc_verify_fail(v, n->func, n->span, "node %d: result %d has rank %d", n->id, i,
                             n->results[i]->type.rank);
    if (!dhc_type_equal(&type[i], &n->results[i]->type))
      return dhc_verify_fail(v, n->func, n->span, "node %d (%s): result %d is %s, its rule gives %s",
                             n->id, dhc_op_info(n->op)->name, i,
                             dhc_type_text(v->m, &n->results[i]->type), dhc_type_text(v->m, &type[i]));
  }
  return true;
}

static bool allowed_when_fused(const DhcNode *n) {
  switch (dhc_op_info(n->op)->cls) {
    case DHC_CLASS_CREATE:
    case DHC_CLASS_VIEW:
    case DHC_CLASS_MOVE:
    case DHC_CLASS_ROUTE:
    case DHC_CLASS_CALL:
    case DHC_CLASS_EFFECT:
    case DHC_CLASS_META: return true;
    default: return false;
  }
}

/* Initialisers run on the host and a composite's body is its meaning: neither is fused. */
static bool verify_stage(DhcVerifier *v, const DhcNode *n) {
  const char *op = dhc_op_info(n->op)->name;
  bool host = n->func->kind == DHC_FUNC_INIT || n->func->kind == DHC_FUNC_COMPOSITE;
  if (n->op == DHC_OP_KERNEL && v->stage == DHC_STAGE_GRAPH)
    return dhc_verify_fail(v, n->func, n->span, "node %d: a kernel before fusion", n->id);
  if (v->stage == DHC_STAGE_FUSED && !host && !allowed_when_fused(n))
    return dhc_verify_fail(v, n->func, n->span, "node %d: op %s was left by fusion", n->id, op);
  return true;
}

/* A parameter is updated at most once; an initialiser has none that could be. */
static bool verify_update(DhcVerifier *v, const DhcNode *n, bool *updated) {
  if (n->op != DHC_OP_UPDATE) return true;
  int i = dhc_param_index(n->func, n->args[0]);
  if (i >= 0 && updated[i])
    return dhc_verify_fail(v, n->func, n->span, "node %d: parameter %d is updated twice", n->id, i);
  if (i >= 0) updated[i] = true;
  return true;
}

/* ---- one node ----------------------------------------------------------------------------------- */

static bool verify_node(DhcVerifier *v, const DhcNode *n, DhcValue **defined, bool *updated) {
  const DhcFunc *f = n->func;
  if ((unsigned)n->op >= DHC_N_OPS)
    return dhc_verify_fail(v, f, n->span, "node %d has no valid op", n->id);
  if (n->n_args < 0 || n->n_results < 0 || (n->n_args && !n->args) || (n->n_results && !n->results))
    return dhc_verify_fail(v, f, n->span, "node %d lacks its operands or results", n->id);
  if (n->op == DHC_OP_PARAM) {
    if (n->n_args || n->n_results != 1)
      return dhc_verify_fail(v, f, n->span, "node %d: a param node has one result and no operands", n->id);
    if (n->prev && n->prev->op != DHC_OP_PARAM)
      return dhc_verify_fail(v, f, n->span, "node %d: a param node stands behind other nodes", n->id);
    if (!verify_values(v, n, defined)) return false;
    if (dhc_param_index(f, n->results[0]) < 0)
      return dhc_verify_fail(v, f, n->span, "node %d: a param node is not among the parameters", n->id);
    return true;
  }
  bool good = verify_operands(v, n, defined) && verify_attrs(v, n) && verify_stage(v, n) &&
              verify_types(v, n) && verify_update(v, n, updated);
  return verify_values(v, n, defined) && good;
}

void dhc_verify_nodes(DhcVerifier *v, DhcFunc *f) {
  if (!verify_list(v, f)) return;
  DhcValue **defined = DHC_NEW_N(&v->scratch, DhcValue *, f->next_value_id + 1);
  bool *updated = DHC_NEW_N(&v->scratch, bool, f->params.n + 1);
  for (const DhcNode *n = f->first; n; n = n->next)
    if (!verify_node(v, n, defined, updated) && v->m->diags->n_errors > 100) return;
  for (int i = 0; i < f->params.n; i++)
    if ((unsigned)f->params.at[i]->id >= (unsigned)f->next_value_id ||
        defined[f->params.at[i]->id] != f->params.at[i])
      dhc_verify_fail(v, f, f->span, "the node of parameter %d was taken out", i);
  for (int i = 0; i < f->results.n; i++) {
    const char *what = dhc_arena_printf(&v->scratch, "result %d", i);
    verify_use(v, f, f->span, f->results.at[i], defined, what);
  }
}
