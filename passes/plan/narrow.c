/* Weights in fewer bits: which, and what of them has one scale. */
#include "passes/plan/narrow.h"

#include "passes/clean/edit.h"

enum { MAX_DEPTH = 64 }; /* of calls */

const DhcFunc *dhc_narrow_callee(const DhcNode *n, int *first) {
  *first = 0;
  if (dhc_op_info(n->op)->cls != DHC_CLASS_CALL) return NULL;
  if (n->op == DHC_OP_SCAN) *first = (int)(dhc_attr(n, "n_carry")->i + dhc_attr(n, "n_xs")->i);
  return dhc_node_callee(n);
}

int dhc_narrow_row_axes(const DhcNarrows *all, const char *name) {
  for (int i = 0; all && i < all->all.n; i++)
    if (!strcmp(all->all.at[i].name, name)) return all->all.at[i].row_axes;
  return 0;
}

typedef struct Find {
  const DhcModule *m;
  DhcArena *arena;
  DhcNarrows *to;
} Find;

/* Of two ways to read it the one with smaller rows. */
static void add(const Find *f, const char *name, int row_axes) {
  for (int i = 0; i < f->to->all.n; i++) {
    DhcNarrow *has = &f->to->all.at[i];
    if (strcmp(has->name, name)) continue;
    has->row_axes = row_axes > has->row_axes ? row_axes : has->row_axes;
    return;
  }
  DHC_PUSH(f->arena, &f->to->all, ((DhcNarrow){name, row_axes}));
}

/* Parameter k of `func`; last: read along its last axis, else row by row of its first. */
static void weight(const Find *f, const DhcFunc *func, int k, bool last, int depth) {
  int first;
  if (func->kind == DHC_FUNC_ENTRY) {
    const DhcType *t = &func->params.at[k]->type;
    bool fits = func->param_info.at[k].role == DHC_ROLE_WEIGHT && t->dtype == DHC_F32 && t->rank > 1;
    int64_t size = 0, rows = 1;
    for (int d = 0; d < t->rank && fits; d++) {
      fits = dhc_dim_is_const(t->dim[d], &size);
      if (d < (last ? t->rank - 1 : 1)) rows *= size;
    }
    if (fits && rows > 1) add(f, func->param_info.at[k].name, last ? t->rank - 1 : 1); /* one row is no matrix: nothing is gained */
    return;
  }
  for (int i = 0; i < f->m->funcs.n && depth < MAX_DEPTH; i++)
    for (const DhcNode *n = f->m->funcs.at[i]->first; n; n = n->next) {
      if (dhc_narrow_callee(n, &first) != func || k < first || k >= n->n_args) continue;
      int up = dhc_edit_param(f->m->funcs.at[i], n->args[k]);
      if (up >= 0) weight(f, f->m->funcs.at[i], up, last, depth + 1);
    }
}

/* A contraction sums along `axis` of v. */
static void summed(const Find *f, const DhcFunc *func, const DhcValue *v, int64_t axis) {
  for (; v->def && (v->def->op == DHC_OP_TRANSPOSE || v->def->op == DHC_OP_SLICE); v = v->def->args[0])
    if (v->def->op == DHC_OP_TRANSPOSE) axis = dhc_attr(v->def, "perm")->ints.at[axis];
  int k = dhc_edit_param(func, v);
  if (k >= 0 && axis == v->type.rank - 1) weight(f, func, k, true, 0);
}

static void gathered(const Find *f, const DhcFunc *func, const DhcValue *v) {
  int k = dhc_edit_param(func, v);
  if (k >= 0) weight(f, func, k, false, 0);
}

static void node(const Find *f, const DhcFunc *func, const DhcNode *n) {
  static const char *const contract[] = {"contract_a", "contract_b"};
  for (int k = 0; n->op == DHC_OP_DOT_GENERAL && k < 2; k++)
    if (dhc_attr(n, contract[k])->ints.n == 1) summed(f, func, n->args[k], dhc_attr(n, contract[k])->ints.at[0]);
  if (n->op == DHC_OP_RAGGED_DOT) summed(f, func, n->args[1], 1);
  if (n->op == DHC_OP_CONV && dhc_attr(n, "groups")->i == 1) gathered(f, func, n->args[1]);
  if (n->op == DHC_OP_GATHER && dhc_attr(n, "axis")->i == 0) gathered(f, func, n->args[0]);
}

void dhc_narrow_find(const DhcModule *m, DhcArena *arena, DhcNarrows *to) {
  const Find f = {m, arena, to};
  for (int i = 0; i < m->funcs.n; i++)
    for (const DhcNode *n = m->funcs.at[i]->first; n; n = n->next) node(&f, m->funcs.at[i], n);
}
