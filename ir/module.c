/* Modules, functions, node lists and uses. */
#include <stdlib.h>

#include "ir/ir_internal.h"

DhcModule *dhc_module_new(DhcArena *arena, DhcStrings *strings, DhcDiags *diags) {
  DhcModule *m = DHC_NEW(arena, DhcModule);
  m->arena = arena;
  m->strings = strings;
  m->diags = diags;
  m->dims = dhc_dims_new(arena, strings);
  return m;
}

DhcFunc *dhc_module_func(const DhcModule *m, const char *name) {
  for (int i = 0; i < m->funcs.n; i++)
    if (m->funcs.at[i]->name == name || strcmp(m->funcs.at[i]->name, name) == 0)
      return m->funcs.at[i];
  return NULL;
}

DhcNameParts dhc_name_parts(const char *names) {
  DhcNameParts p = {.sum = -1};
  for (const char *s = names; s; s = strchr(s, '\n') ? strchr(s, '\n') + 1 : NULL) {
    int stars = 0;
    const size_t n = strcspn(s, "\t\n");
    for (size_t i = 0; i < n; i++) stars += s[i] == '*';
    p.bad = p.bad || stars > 1 || (p.n && stars != p.star);
    p.star = stars;
    p.n++;
    if (s[n] == '\t') p.sum = (p.sum < 0 ? 0 : p.sum) + strtoll(s + n + 1, NULL, 10);
  }
  return p;
}

DhcNamePart dhc_name_part(const char *names, int number, int64_t extent) {
  const int n = dhc_name_parts(names).n;
  DhcNamePart p = {.name = names};
  for (int k = 0; k <= number; k++) {
    if (k) p.name = strchr(p.name, '\n') + 1;
    p.length = (int)strcspn(p.name, "\t\n");
    p.begin += p.n;
    p.n = p.name[p.length] == '\t' ? strtoll(p.name + p.length + 1, NULL, 10) : extent / n;
  }
  return p;
}

int64_t dhc_decl_elements(DhcModule *m, const DhcTensorDecl *d) {
  int64_t n;
  return dhc_dim_is_const(dhc_type_elements(m->dims, &d->type), &n) ? n : 0;
}

int64_t dhc_decl_pieces(const DhcTensorDecl *d) {
  int64_t n;
  return d->as && strchr(d->as, '*') && d->type.rank > 0 && dhc_dim_is_const(d->type.dim[0], &n) ? n : 0;
}

int dhc_module_tensor(const DhcModule *m, const char *path) {
  for (int i = 0; i < m->tensors.n; i++)
    if (strcmp(m->tensors.at[i].path, path) == 0) return i;
  return -1;
}

DhcFunc *dhc_func_new(DhcModule *m, const char *name, DhcFuncKind kind, DhcSpan span) {
  DhcFunc *f = DHC_NEW(m->arena, DhcFunc);
  const char *unique = name;
  for (int k = 2; dhc_module_func(m, unique); k++)
    unique = dhc_arena_printf(m->arena, "%s.%d", name, k);
  f->name = dhc_intern(m->strings, unique);
  f->id = m->next_func_id++;
  f->kind = kind;
  f->module = m;
  f->span = span;
  DHC_PUSH(m->arena, &m->funcs, f);
  return f;
}

/* ---- nodes ---------------------------------------------------------------------------- */

DhcNode *dhc_node_make(DhcFunc *f, DhcOp op, DhcValue *const *args, int n_args,
                       const DhcType *type, int n_results) {
  DhcArena *a = f->module->arena;
  DhcNode *n = DHC_NEW(a, DhcNode);
  n->op = op;
  n->id = f->next_node_id++;
  n->func = f;
  n->n_args = n_args;
  n->n_results = n_results;
  n->args = DHC_NEW_N(a, DhcValue *, n_args);
  n->results = DHC_NEW_N(a, DhcValue *, n_results);
  for (int i = 0; i < n_args; i++) n->args[i] = args[i];
  for (int i = 0; i < n_results; i++) {
    DhcValue *v = DHC_NEW(a, DhcValue);
    *v = (DhcValue){f->next_value_id++, type[i], n, i};
    n->results[i] = v;
  }
  return n;
}

void dhc_node_link(DhcNode *n, DhcNode *before) {
  DhcFunc *f = n->func;
  n->next = before;
  n->prev = before ? before->prev : f->last;
  *(n->prev ? &n->prev->next : &f->first) = n;
  *(before ? &before->prev : &f->last) = n;
  f->n_nodes++;
}

void dhc_node_remove(DhcNode *n) {
  DhcFunc *f = n->func;
  *(n->prev ? &n->prev->next : &f->first) = n->next;
  *(n->next ? &n->next->prev : &f->last) = n->prev;
  n->prev = n->next = NULL;
  f->n_nodes--;
}

/* Parameters stand first in the list, in their order. */
DhcValue *dhc_func_param(DhcFunc *f, const DhcType *type, DhcParamInfo info, DhcSpan span) {
  DhcModule *m = f->module;
  DhcNode *n = dhc_node_make(f, DHC_OP_PARAM, NULL, 0, type, 1);
  n->span = span;
  dhc_node_link(n, f->params.n ? f->params.at[f->params.n - 1]->def->next : f->first);
  if (info.name) info.name = dhc_intern(m->strings, info.name);
  DHC_PUSH(m->arena, &f->params, n->results[0]);
  DHC_PUSH(m->arena, &f->param_info, info);
  return n->results[0];
}

void dhc_func_result(DhcFunc *f, DhcValue *v, const char *name) {
  DHC_PUSH(f->module->arena, &f->results, v);
  DHC_PUSH(f->module->arena, &f->result_names, name ? dhc_intern(f->module->strings, name) : NULL);
}

int dhc_param_index(const DhcFunc *f, const DhcValue *v) {
  for (int i = 0; i < f->params.n; i++)
    if (f->params.at[i] == v) return i;
  return -1;
}

/* ---- uses ------------------------------------------------------------------------------ */

void dhc_replace_uses(DhcValue *from, DhcValue *to) {
  DhcFunc *f = from->def->func;
  for (DhcNode *n = f->first; n; n = n->next)
    for (int i = 0; i < n->n_args; i++)
      if (n->args[i] == from) n->args[i] = to;
  for (int i = 0; i < f->results.n; i++)
    if (f->results.at[i] == from) f->results.at[i] = to;
}

int *dhc_use_counts(const DhcFunc *f, DhcArena *scratch) {
  int *count = DHC_NEW_N(scratch, int, f->next_value_id + 1);
  for (const DhcNode *n = f->first; n; n = n->next)
    for (int i = 0; i < n->n_args; i++) count[n->args[i]->id]++;
  for (int i = 0; i < f->results.n; i++) count[f->results.at[i]->id]++;
  return count;
}

/* ---- order of functions ------------------------------------------------------------------ */

typedef struct Sorter {
  DhcModule *m;
  signed char *mark; /* by function id: 1 entered, 2 done */
  DHC_VEC(DhcFunc *) order;
} Sorter;

static void visit(Sorter *s, DhcFunc *f) {
  if (s->mark[f->id]) return;
  s->mark[f->id] = 1;
  for (DhcNode *n = f->first; n; n = n->next) {
    const DhcOpInfo *info = dhc_op_info(n->op);
    for (int i = 0; i < info->n_attrs; i++)
      if (n->attrs[i].kind == DHC_ATTR_FUNC && n->attrs[i].func) visit(s, n->attrs[i].func);
  }
  s->mark[f->id] = 2;
  DHC_PUSH(s->m->arena, &s->order, f);
}

/* A derivative may call what it is the derivative of, so it is only kept alive by it, not
 * ordered before it. */
static void visit_derivatives(Sorter *s) {
  for (int i = 0; i < s->order.n; i++)
    if (s->order.at[i]->vjp) visit(s, s->order.at[i]->vjp);
}

void dhc_module_sort(DhcModule *m) {
  Sorter s = {.m = m, .mark = DHC_NEW_N(m->arena, signed char, m->next_func_id + 1)};
  bool any_entry = false;
  for (int i = 0; i < m->funcs.n; i++) any_entry |= m->funcs.at[i]->kind == DHC_FUNC_ENTRY;
  for (int i = 0; i < m->tensors.n; i++)
    if (m->tensors.at[i].init && m->tensors.at[i].init->module == m)
      visit(&s, m->tensors.at[i].init);
  for (int i = 0; i < m->funcs.n; i++)
    if (!any_entry || m->funcs.at[i]->kind == DHC_FUNC_ENTRY) visit(&s, m->funcs.at[i]);
  visit_derivatives(&s);
  m->funcs.n = 0;
  for (int i = 0; i < s.order.n; i++) DHC_PUSH(m->arena, &m->funcs, s.order.at[i]);
}
