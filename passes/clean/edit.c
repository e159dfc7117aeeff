#include "passes/clean/edit.h"

void dhc_edit_copy_binders(DhcFunc *to, const DhcFunc *from) {
  DhcArena *a = to->module->arena;
  for (int i = 0; i < from->symbols.n; i++) DHC_PUSH(a, &to->symbols, from->symbols.at[i]);
  for (int i = 0; i < from->facts.nonneg.n; i++)
    DHC_PUSH(a, &to->facts.nonneg, from->facts.nonneg.at[i]);
  for (int i = 0; i < from->fact_messages.n; i++)
    DHC_PUSH(a, &to->fact_messages, from->fact_messages.at[i]);
}

void dhc_edit_drop(DhcModule *m, const DhcFunc *f) {
  int k = 0;
  for (int i = 0; i < m->funcs.n; i++)
    if (m->funcs.at[i] != f) m->funcs.at[k++] = m->funcs.at[i];
  m->funcs.n = k;
}

void dhc_edit_move_last(DhcModule *m, DhcFunc *f) {
  dhc_edit_drop(m, f);
  m->funcs.at[m->funcs.n++] = f; /* the place it had */
}

void dhc_edit_place_before(DhcModule *m, DhcFunc *f, const DhcFunc *user) {
  int at = 0;
  dhc_edit_drop(m, f);
  while (at < m->funcs.n && m->funcs.at[at] != user) at++;
  for (int i = m->funcs.n++; i > at; i--) m->funcs.at[i] = m->funcs.at[i - 1];
  m->funcs.at[at] = f;
}

void dhc_edit_move_before(DhcNode *n, DhcNode *at) {
  DhcFunc *f = n->func;
  if (n == at) return;
  *(n->prev ? &n->prev->next : &f->first) = n->next;
  *(n->next ? &n->next->prev : &f->last) = n->prev;
  n->prev = at->prev;
  n->next = at;
  *(at->prev ? &at->prev->next : &f->first) = n;
  at->prev = n;
}

void dhc_edit_replaced_body(DhcModule *m, const DhcFunc *old, DhcFunc *now) {
  if (old->kind != DHC_FUNC_BODY) return;
  for (int i = 0; i < m->funcs.n; i++)
    for (const DhcNode *n = m->funcs.at[i]->first; n; n = n->next)
      if (dhc_op_info(n->op)->cls == DHC_CLASS_CALL && n->attrs[0].func == old) return;
  dhc_edit_drop(m, old);
  now->name = old->name;
}

bool dhc_edit_has_steps(const DhcFunc *body) {
  for (const DhcNode *n = body->first; n; n = n->next)
    if (n->op == DHC_OP_LINEAR_SCAN) return true;
  return false;
}

int dhc_edit_param(const DhcFunc *f, const DhcValue *v) {
  for (int i = 0; i < f->params.n; i++)
    if (f->params.at[i] == v) return i;
  return -1;
}

bool dhc_edit_lists(const DhcAttr *axes, int axis) {
  for (int i = 0; i < axes->ints.n; i++)
    if (axes->ints.at[i] == axis) return true;
  return false;
}
