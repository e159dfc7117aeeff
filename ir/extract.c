/* Copying functions into a module of their own. */
#include "ir/ir.h"

typedef struct Extract {
  DhcModule *to;
  DhcFunc **copy; /* by function id in the source module */
} Extract;

static DhcFunc *copy_func(Extract *x, DhcFunc *f);

static DhcValue *copy_value(DhcModule *m, DhcNode *def, const DhcValue *v) {
  DhcValue *c = DHC_NEW(m->arena, DhcValue);
  *c = *v;
  c->def = def;
  return c;
}

static DhcNode *copy_node(Extract *x, DhcFunc *f, const DhcNode *n, DhcValue **value) {
  DhcArena *a = x->to->arena;
  DhcNode *c = DHC_NEW(a, DhcNode);
  *c = *n;
  c->func = f;
  c->args = DHC_NEW_N(a, DhcValue *, n->n_args + 1);
  c->results = DHC_NEW_N(a, DhcValue *, n->n_results + 1);
  for (int i = 0; i < n->n_args; i++) c->args[i] = value[n->args[i]->id];
  for (int i = 0; i < n->n_results; i++)
    value[n->results[i]->id] = c->results[i] = copy_value(x->to, c, n->results[i]);
  const DhcOpInfo *info = dhc_op_info(n->op);
  for (int i = 0; i < info->n_attrs; i++)
    if (info->attrs[i].kind == DHC_ATTR_FUNC) c->attrs[i].func = copy_func(x, n->attrs[i].func);
  c->prev = f->last;
  c->next = NULL;
  if (f->last)
    f->last->next = c;
  else
    f->first = c;
  f->last = c;
  return c;
}

static DhcFunc *copy_func(Extract *x, DhcFunc *f) {
  if (x->copy[f->id]) return x->copy[f->id];
  DhcArena *a = x->to->arena;
  for (DhcNode *n = f->first; n; n = n->next) { /* callees come first in the module */
    const DhcOpInfo *info = dhc_op_info(n->op);
    for (int i = 0; i < info->n_attrs; i++)
      if (info->attrs[i].kind == DHC_ATTR_FUNC) copy_func(x, n->attrs[i].func);
  }
  DhcFunc *c = dhc_func_new(x->to, f->name, f->kind, f->span);
  int id = c->id;
  *c = *f;
  c->id = id;
  c->module = x->to;
  c->vjp = NULL;
  c->first = c->last = NULL;
  c->symbols.at = dhc_arena_dup(a, f->symbols.at, sizeof *f->symbols.at * (size_t)f->symbols.n);
  c->symbols.cap = f->symbols.n;
  c->facts.nonneg.at = dhc_arena_dup(a, f->facts.nonneg.at, sizeof *f->facts.nonneg.at * (size_t)f->facts.nonneg.n);
  c->facts.nonneg.cap = f->facts.nonneg.n;
  c->fact_messages.at = dhc_arena_dup(a, f->fact_messages.at, sizeof *f->fact_messages.at * (size_t)f->fact_messages.n);
  c->fact_messages.cap = f->fact_messages.n;
  c->param_info.at = dhc_arena_dup(a, f->param_info.at, sizeof *f->param_info.at * (size_t)f->param_info.n);
  c->param_info.cap = f->param_info.n;
  c->result_names.at = dhc_arena_dup(a, f->result_names.at, sizeof *f->result_names.at * (size_t)f->result_names.n);
  c->result_names.cap = f->result_names.n;
  c->params.at = DHC_NEW_N(a, DhcValue *, f->params.n + 1);
  c->params.cap = f->params.n + 1;
  c->results.at = DHC_NEW_N(a, DhcValue *, f->results.n + 1);
  c->results.cap = f->results.n + 1;
  DhcValue **value = DHC_NEW_N(a, DhcValue *, f->next_value_id + 1);
  for (DhcNode *n = f->first; n; n = n->next) copy_node(x, c, n, value);
  for (int i = 0; i < f->params.n; i++) {
    DhcValue *p = f->params.at[i];
    if (!value[p->id]) { /* parameters whose nodes are not in the list */
      DhcNode *def = DHC_NEW(a, DhcNode);
      *def = *p->def;
      def->func = c;
      def->results = DHC_NEW(a, DhcValue *);
      value[p->id] = def->results[0] = copy_value(x->to, def, p);
    }
    c->params.at[i] = value[p->id];
  }
  for (int i = 0; i < f->results.n; i++) c->results.at[i] = value[f->results.at[i]->id];
  x->copy[f->id] = c;
  if (f->vjp) c->vjp = copy_func(x, f->vjp); /* which may call f: so after it */
  return c;
}

DhcModule *dhc_module_extract(DhcModule *m, DhcFunc *const *roots, int n, DhcFunc **out) {
  DhcModule *to = DHC_NEW(m->arena, DhcModule);
  *to = *m;
  memset(&to->funcs, 0, sizeof to->funcs);
  memset(&to->specs, 0, sizeof to->specs);
  to->tensors.at = dhc_arena_dup(m->arena, m->tensors.at, sizeof *m->tensors.at * (size_t)m->tensors.n);
  to->tensors.cap = to->tensors.n;
  for (int i = 0; i < to->tensors.n; i++) to->tensors.at[i].init = NULL; /* they stay behind */
  int max_id = 0;
  for (int i = 0; i < m->funcs.n; i++)
    if (m->funcs.at[i]->id > max_id) max_id = m->funcs.at[i]->id;
  Extract x = {to, DHC_NEW_N(m->arena, DhcFunc *, max_id + 1)};
  for (int i = 0; i < n; i++) out[i] = copy_func(&x, roots[i]);
  return to;
}
