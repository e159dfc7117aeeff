/* What calls of a recurrence (passes/grad/recur.c) read a part of, as a selective scan does of one projection's result, they are given
 * whole: the slice moves into the function and its derivative, whose kernels read the part where it lies, and nobody makes a copy for the
 * call. All calls of both cut it alike; gradients stay those of the part. */
#include <string.h>

#include "passes/clean/edit.h"
#include "passes/fuse/fuse_internal.h"

enum { MOST = 4 /* views one behind the other */ };

typedef struct Cut {
  int n;
  const DhcNode *view[MOST]; /* from the argument on */
  DhcValue *whole;
} Cut;

static Cut cut_of(DhcValue *v) {
  Cut c = {.whole = v};
  bool part = false;
  while (c.n < MOST && (c.whole->def->op == DHC_OP_SLICE || c.whole->def->op == DHC_OP_RESHAPE)) {
    part = part || c.whole->def->op == DHC_OP_SLICE;
    c.view[c.n++] = c.whole->def;
    c.whole = c.whole->def->args[0];
  }
  return part ? c : (Cut){.whole = v};
}

static bool same_cut(const Cut *a, const Cut *b) {
  bool same = a->n == b->n && dhc_type_equal(&a->whole->type, &b->whole->type);
  for (int i = 0; same && i < a->n; i++) {
    const DhcNode *x = a->view[i], *y = b->view[i];
    same = x->op == y->op && dhc_type_equal(&x->results[0]->type, &y->results[0]->type);
    for (int k = 0; same && k < dhc_op_info(x->op)->n_attrs; k++) same = dhc_attr_equal(&x->attrs[k], &y->attrs[k]);
  }
  return same;
}

typedef DHC_VEC(DhcNode *) Calls;

/* Do f's symbols mean the same in the caller, so that a view may go from one to the other? */
static bool own_dims(const DhcNode *call, const DhcFunc *f) {
  const DhcAttr *dims = dhc_attr(call, "dims");
  bool own = dims->dims.n == f->symbols.n;
  for (int i = 0; own && i < f->symbols.n; i++) own = dims->dims.at[i] == dhc_dim_symbol(f->module->dims, f->symbols.at[i]);
  return own;
}

/* Adds all calls of f; false: some have other symbols. */
static bool find_calls(DhcModule *m, DhcArena *scratch, const DhcFunc *f, Calls *calls) {
  for (int i = 0; i < m->funcs.n; i++)
    for (DhcNode *n = m->funcs.at[i]->first; n; n = n->next) {
      if (n->op != DHC_OP_CALL || dhc_node_callee(n) != f) continue;
      if (!own_dims(n, f)) return false;
      DHC_PUSH(scratch, calls, n);
    }
  return true;
}

/* Parameter i of f is the whole, of which f itself takes the part. */
static bool take_whole(DhcFunc *f, int i, const Cut *c) {
  DhcValue *p = f->params.at[i], *x = p;
  DhcBuilder b = {.f = f, .before = f->first, .span = f->span};
  while (b.before && b.before->op == DHC_OP_PARAM) b.before = b.before->next;
  p->type = c->whole->type;
  DhcNode *first = NULL;
  for (int k = c->n; k-- > 0;) {
    DhcNode *n = dhc_node_copy(&b, c->view[k], &x);
    if (!n) return false;
    if (!first) first = n;
    x = n->results[0];
  }
  dhc_replace_uses(p, x);
  first->args[0] = p;
  return true;
}

static bool is_used(const DhcValue *v) {
  const DhcFunc *f = v->def->func;
  for (int i = 0; i < f->results.n; i++)
    if (f->results.at[i] == v) return true;
  for (const DhcNode *n = v->def->next; n; n = n->next)
    for (int k = 0; k < n->n_args; k++)
      if (n->args[k] == v) return true;
  return false;
}

static bool give_whole(DhcPassCtx *px, DhcFunc *f, const Calls *calls, int i) {
  Cut c = cut_of(calls->at[0]->args[i]);
  for (int k = 1; k < calls->n; k++) {
    Cut other = cut_of(calls->at[k]->args[i]);
    if (!same_cut(&c, &other)) return true;
  }
  if (!c.n || !dhc_pass_may_change(px)) return true;
  if (!take_whole(f, i, &c) || !take_whole(f->vjp, i, &c)) return false;
  for (int k = 0; k < calls->n; k++) {
    DhcNode *n = calls->at[k];
    DhcValue *v = n->args[i];
    n->args[i] = cut_of(v).whole;
    for (DhcNode *view = v->def; view != n->args[i]->def && !is_used(view->results[0]);) {
      DhcNode *from = view->args[0]->def;
      dhc_node_remove(view);
      view = from;
    }
  }
  return true;
}

bool dhc_fu_give_wholes(DhcModule *m, DhcPassCtx *px) {
  for (int i = 0; i < m->funcs.n; i++) {
    DhcFunc *f = m->funcs.at[i];
    Calls calls = {0};
    if (!f->vjp || !f->kernel || strcmp(f->kernel, DHC_KERNEL_RECURRENCE) != 0) continue;
    if (!find_calls(m, px->scratch, f, &calls) || !find_calls(m, px->scratch, f->vjp, &calls) || !calls.n) continue;
    for (int k = 0; k < f->params.n; k++)
      if (!give_whole(px, f, &calls, k)) return false;
  }
  return true;
}
