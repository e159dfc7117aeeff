/* grad(y, x): the derivative of a value by another, while the function that has both is made. What leads from x to y becomes a
 * unit of its own, which is differentiated at once; its derivative is ordinary graph, and is differentiated again like it. */
#include "frontend/elab_builtin.h"

typedef struct Way {
  bool *active, *needed; /* by value id of the function: depends on an x; leads to y */
  DhcValue **copy;       /* by value id: in the unit */
  DHC_VEC(DhcNode *) nodes;
} Way;

static void find_way(DhcCx *cx, Way *w, DhcValue *const *x, int n_x, const DhcValue *y) {
  const DhcFunc *f = cx->fn->f;
  DhcArena *a = dhc_cx_arena(cx);
  w->active = DHC_NEW_N(a, bool, f->next_value_id + 1);
  w->needed = DHC_NEW_N(a, bool, f->next_value_id + 1);
  w->copy = DHC_NEW_N(a, DhcValue *, f->next_value_id + 1);
  for (DhcNode *n = f->first; n; n = n->next) DHC_PUSH(a, &w->nodes, n);
  for (int i = 0; i < n_x; i++) w->active[x[i]->id] = true;
  for (int i = 0; i < w->nodes.n; i++) {
    const DhcNode *n = w->nodes.at[i];
    bool some = false;
    for (int k = 0; k < n->n_args; k++) some = some || w->active[n->args[k]->id];
    for (int k = 0; some && k < n->n_results; k++) w->active[n->results[k]->id] = true;
  }
  w->needed[y->id] = true;
  for (int i = w->nodes.n; i-- > 0;) {
    const DhcNode *n = w->nodes.at[i];
    bool some = false;
    for (int k = 0; k < n->n_results; k++) some = some || w->needed[n->results[k]->id];
    for (int k = 0; some && k < n->n_args; k++) w->needed[n->args[k]->id] = true;
  }
}

/* The value in the unit: a copy of what depends on an x, else what comes in. */
static DhcValue *inside(DhcFn *fn, Way *w, DhcValue *v) {
  if (!w->copy[v->id]) w->copy[v->id] = dhc_fn_import(fn, v);
  return w->copy[v->id];
}

static bool copy_way(DhcCx *cx, DhcFn *fn, Way *w) {
  for (int i = 0; i < w->nodes.n; i++) {
    const DhcNode *n = w->nodes.at[i];
    bool some = false, made = true;
    for (int k = 0; k < n->n_results; k++) {
      some = some || (w->active[n->results[k]->id] && w->needed[n->results[k]->id]);
      made = made && w->copy[n->results[k]->id];
    }
    if (!some || made) continue; /* the x themselves come in */
    DhcValue **args = DHC_NEW_N(dhc_cx_arena(cx), DhcValue *, n->n_args + 1);
    for (int k = 0; k < n->n_args; k++) args[k] = inside(fn, w, n->args[k]);
    fn->b.span = n->span;
    fn->b.origin = n->origin;
    DhcNode *c = dhc_node_copy(&fn->b, n, args);
    if (!c) return false;
    for (int k = 0; k < n->n_results; k++)
      if (!w->copy[n->results[k]->id]) w->copy[n->results[k]->id] = c->results[k];
  }
  return true;
}

static int param_of(const DhcFunc *f, const DhcValue *v) {
  for (int i = 0; i < f->params.n; i++)
    if (f->params.at[i] == v) return i;
  return -1;
}

/* The unit (x, what else it needs) -> sum of y, its derivative by the x, and a call of that. */
static DhcNode *differentiate(DhcCx *cx, Way *w, DhcValue *const *x, int n_x, DhcValue *y, int *place, DhcSpan at) {
  DhcArena *a = dhc_cx_arena(cx);
  DhcModule *m = cx->m->module;
  DhcFn *fn = dhc_fn_begin(cx, "grad", DHC_FUNC_UNIT, cx->fn, false);
  const char **names = DHC_NEW_N(a, const char *, n_x + 1);
  for (int i = 0; i < n_x; i++) {
    names[i] = dhc_intern(cx->e->strings, dhc_arena_printf(a, "x%d", i));
    place[i] = param_of(fn->f, inside(fn, w, x[i])); /* they come first */
    fn->f->param_info.at[place[i]].name = names[i];
  }
  if (!copy_way(cx, fn, w)) return NULL;
  int64_t axes[DHC_MAX_RANK];
  for (int i = 0; i < y->type.rank; i++) axes[i] = i;
  DhcValue *sum = w->copy[y->id];
  if (y->type.rank) sum = dhc_b_reduce(&fn->b, DHC_OP_REDUCE_SUM, sum, axes, y->type.rank, false);
  if (!sum) return NULL;
  dhc_func_result(fn->f, sum, "y");
  const DhcDim *const *dims = NULL;
  const int n_dims = dhc_fn_close(cx, fn, &dims);
  DhcFunc *g = cx->e->config.grad(m, fn->f, names, n_x);
  if (!g) return NULL;
  DHC_VEC(DhcValue *) args = {0};
  for (int i = 0; i < fn->captures.n; i++) DHC_PUSH(m->arena, &args, fn->captures.at[i].outer);
  DhcAttr attrs[2] = {dhc_attr_func(g), dhc_attr_dims(m, dims, n_dims)};
  return dhc_build(dhc_at(cx, at), DHC_OP_CALL, args.at, args.n, attrs, 2);
}

DhcVal dhc_bi_grad(DhcCx *cx, DhcBuiltinCall *c) {
  const bool list = c->arg[1].kind == DHC_V_LIST;
  const int n = list ? c->arg[1].list.n : 1;
  DhcArena *a = dhc_cx_arena(cx);
  DhcValue *y = dhc_bi_tensor(cx, c, 0, -1), **x = DHC_NEW_N(a, DhcValue *, n + 1);
  Way w = {0};
  if (!y) return dhc_v_error();
  for (int i = 0; i < n; i++) {
    x[i] = dhc_as_tensor(cx, list ? &c->arg[1].list.at[i] : &c->arg[1], -1, c->span[1]);
    if (!x[i]) return dhc_v_error();
    if (dhc_dtype_is_float(x[i]->type.dtype) && dhc_dtype_is_float(y->type.dtype)) continue;
    dhc_err(cx, "E0310", c->at, "grad: only floats have derivatives, got %s by %s", dhc_say_type(cx, &y->type), dhc_say_type(cx, &x[i]->type));
    return dhc_v_error();
  }
  find_way(cx, &w, x, n, y);
  for (int i = 0; i < n; i++) {
    if (w.needed[x[i]->id] && x[i] != y) continue;
    DhcDiag *d = dhc_err(cx, "E0306", c->at, "grad: the first value is not computed from %s", list ? "every one of the others" : "the second");
    dhc_err_hint(cx, d, "give the value itself that it was computed from: x = x[:, 0:2], y = f(x), grad(y, x)");
    return dhc_v_error();
  }
  if (!cx->e->config.grad) {
    dhc_err(cx, "E0311", c->at, "grad: nothing is differentiated here");
    return dhc_v_error();
  }
  int *place = DHC_NEW_N(a, int, n + 1);
  DhcNode *call = differentiate(cx, &w, x, n, y, place, c->at);
  if (!call) return dhc_v_error();
  DhcVal *v = DHC_NEW_N(a, DhcVal, n + 1);
  for (int i = 0; i < n; i++) v[i] = dhc_v_tensor(call->results[1 + place[i]]);
  return list ? dhc_v_list(cx, DHC_V_LIST, v, n) : v[0];
}
