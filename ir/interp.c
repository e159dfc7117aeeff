/* Driver of the interpreter: binds symbols, runs the nodes of a function in order, and
 * the ops that run or touch functions: call, checkpoint, update. */
#include <stdarg.h>

#include "ir/interp_internal.h"
#include "ir/ir_internal.h"

/* Functions cannot recurse, so only a module with chains of calls this long gets here. */
enum { MAX_DEPTH = 256 };
static const int64_t max_elements = (int64_t)1 << 40;

bool dhc_interp_error(DhcInterp *in, const DhcNode *n, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  const char *text = dhc_arena_vprintf(in->diags->arena, fmt, ap);
  va_end(ap);
  DhcSpan none = {0};
  DhcDiag *d = dhc_diag(in->diags, DHC_ERROR, "E0801", n ? n->span : none, "%s", text);
  if (n && n->origin) dhc_diag_note(in->diags, d, none, "in '%s' of @%s", n->origin, in->func->name);
  return false;
}

/* ---- dims ------------------------------------------------------------------- */

static const char *dim_text(DhcInterp *in, const DhcDim *d) {
  DhcText t = {.arena = in->diags->arena};
  dhc_dim_print(d, &t);
  return dhc_text_str(&t);
}

bool dhc_interp_eval_dim(DhcInterp *in, const DhcNode *n, const DhcDim *d, int64_t *out) {
  if (dhc_dim_eval(d, in->n_symbols, in->symbols, in->extents, out)) return true;
  return dhc_interp_error(in, n, "@%s: the dim %s has no value here", in->func->name,
                          dim_text(in, d));
}

bool dhc_interp_attr_dims(DhcInterp *in, const DhcNode *n, const char *attr, int64_t *out) {
  const DhcAttr *a = dhc_attr(n, attr);
  for (int i = 0; i < a->dims.n; i++) {
    if (!dhc_interp_eval_dim(in, n, a->dims.at[i], &out[i])) return false;
  }
  return true;
}

bool dhc_interp_extents(DhcInterp *in, const DhcNode *n, const DhcType *t, int64_t *out) {
  int64_t elements = 1;
  for (int i = 0; i < t->rank; i++) {
    if (!dhc_interp_eval_dim(in, n, t->dim[i], &out[i])) return false;
    dhc_in_proved(n, out[i] >= 0);
    if (out[i] > 0 && elements > max_elements / out[i])
      return dhc_interp_error(in, n, "@%s: a tensor has more than 2^40 elements", in->func->name);
    elements *= out[i];
  }
  return true;
}

DhcArray *dhc_in_result(DhcInterp *in, const DhcNode *n, int k) {
  int64_t dim[DHC_MAX_RANK];
  const DhcType *t = &n->results[k]->type;
  if (!dhc_interp_extents(in, n, t, dim)) return NULL;
  DhcArray *a = dhc_array_new(in->arena, t->dtype, t->rank, dim);
  in->value[n->results[k]->id] = a;
  return a;
}

int dhc_in_axis(const DhcNode *n, int rank) {
  int64_t axis = dhc_attr(n, "axis")->i;
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank)
    DHC_BUG("%s: axis %lld of rank %d", dhc_op_info(n->op)->name, (long long)axis, rank);
  return (int)axis;
}

/* ---- running a function -------------------------------------------------------- */

static bool check_params(DhcInterp *in, const DhcFunc *f, const DhcArray *const *args) {
  for (int p = 0; p < f->params.n; p++) {
    const DhcType *t = &f->params.at[p]->type;
    const DhcArray *a = args[p];
    if (!a || a->dtype != t->dtype || a->rank != t->rank)
      return dhc_interp_error(in, f->params.at[p]->def, "@%s: argument %d is not %s of rank %d",
                              f->name, p, dhc_dtype_name(t->dtype), t->rank);
  }
  return true;
}

static bool check_facts(DhcInterp *in, const DhcFunc *f) {
  for (int k = 0; k < f->facts.nonneg.n; k++) {
    int64_t v;
    if (!dhc_interp_eval_dim(in, NULL, f->facts.nonneg.at[k], &v)) return false;
    if (v >= 0) continue;
    const char *why = k < f->fact_messages.n ? f->fact_messages.at[k].text : NULL;
    if (why) return dhc_interp_error(in, NULL, "@%s: %s", f->name, why);
    return dhc_interp_error(in, NULL, "@%s: needs %s >= 0, but it is %lld", f->name,
                            dim_text(in, f->facts.nonneg.at[k]), (long long)v);
  }
  return true;
}

/* Nodes in order; in->func, symbols and extents are set, values of parameters go in here. */
static bool run_nodes(DhcInterp *in, const DhcArray *const *args, DhcArray **results) {
  const DhcFunc *f = in->func;
  if (!check_facts(in, f)) return false;
  in->value = DHC_NEW_N(in->arena, DhcArray *, f->next_value_id > 0 ? f->next_value_id : 1);
  /* never written to: every op makes its results anew */
  for (int p = 0; p < f->params.n; p++) in->value[f->params.at[p]->id] = (DhcArray *)(uintptr_t)args[p];
  for (const DhcNode *n = f->first; n; n = n->next) {
    if (n->op == DHC_OP_PARAM) continue;
    const DhcOpInfo *info = dhc_op_info(n->op);
    if (!info->interp) DHC_BUG("%s has no interpreter", info->name);
    if (!info->interp(in, n)) return false;
  }
  for (int r = 0; r < f->results.n; r++) results[r] = in->value[f->results.at[r]->id];
  return true;
}

/* Finds symbols from parameter types, as long as any pass over them finds more; the last one compares every
 * extent with what its type says. */
static bool bind_symbols(DhcInterp *in, const DhcFunc *f, const DhcArray *const *args,
                         int64_t *extents, bool *bound) {
  for (bool again = true; again;) {
    int before = 0, after = 0;
    for (int s = 0; s < in->n_symbols; s++) before += bound[s];
    for (int p = 0; p < f->params.n; p++) {
      const DhcType *t = &f->params.at[p]->type;
      for (int i = 0; i < t->rank; i++) {
        bool unbound = false;
        if (!dhc_dim_unify(t->dim[i], args[p]->dim[i], in->n_symbols, in->symbols, extents, bound,
                           &unbound))
          return dhc_interp_error(in, f->params.at[p]->def,
                                  "@%s: argument %d has extent %lld on axis %d, which cannot be %s",
                                  f->name, p, (long long)args[p]->dim[i], i,
                                  dim_text(in, t->dim[i]));
      }
    }
    for (int s = 0; s < in->n_symbols; s++) after += bound[s];
    again = after > before;
  }
  for (int s = 0; s < in->n_symbols; s++) {
    if (!bound[s])
      return dhc_interp_error(in, NULL, "@%s: no argument gives the extent %s", f->name,
                              in->symbols[s]);
    if (extents[s] < 1)
      return dhc_interp_error(in, NULL, "@%s: extent %s must be at least 1, got %lld", f->name,
                              in->symbols[s], (long long)extents[s]);
  }
  return true;
}

static bool run_func(DhcArena *arena, DhcDiags *diags, const DhcFunc *f, int n,
                     const char *const *names, const int64_t *extents,
                     const DhcKernelRunner *runner, const DhcArray *const *args,
                     DhcArray **results, DhcArray **updated) {
  int64_t *value = DHC_NEW_N(arena, int64_t, f->symbols.n + 1);
  bool *bound = DHC_NEW_N(arena, bool, f->symbols.n + 1);
  for (int s = 0; s < f->symbols.n; s++) {
    for (int k = 0; k < n; k++) {
      if (strcmp(f->symbols.at[s], names[k]) != 0) continue;
      value[s] = extents[k];
      bound[s] = true;
    }
  }
  DhcInterp in = {.arena = arena,
                  .diags = diags,
                  .func = f,
                  .n_symbols = f->symbols.n,
                  .symbols = f->symbols.at,
                  .extents = value,
                  .updated = DHC_NEW_N(arena, DhcArray *, f->params.n + 1),
                  .runner = runner};
  if (!check_params(&in, f, args) || !bind_symbols(&in, f, args, value, bound) || !run_nodes(&in, args, results)) return false;
  if (updated) memcpy(updated, in.updated, sizeof *updated * (size_t)f->params.n);
  return true;
}

bool dhc_interp_run_bound(DhcArena *arena, DhcDiags *diags, const DhcFunc *f, int n,
                          const char *const *names, const int64_t *extents,
                          const DhcArray *const *args, DhcArray **results, DhcArray **updated) {
  return run_func(arena, diags, f, n, names, extents, NULL, args, results, updated);
}

bool dhc_interp_run_kernels(DhcArena *arena, DhcDiags *diags, const DhcFunc *f,
                            const DhcKernelRunner *runner, const DhcArray *const *args,
                            DhcArray **results, DhcArray **updated) {
  return run_func(arena, diags, f, 0, NULL, NULL, runner, args, results, updated);
}

bool dhc_interp_run(DhcArena *arena, DhcDiags *diags, const DhcFunc *f,
                    const DhcArray *const *args, DhcArray **results, DhcArray **updated) {
  return run_func(arena, diags, f, 0, NULL, NULL, NULL, args, results, updated);
}

/* ---- functions called by functions ---------------------------------------------- */

bool dhc_in_call(DhcInterp *in, const DhcNode *n, const DhcFunc *f, const int64_t *extents,
                 const DhcArray *const *args, DhcArena *arena, DhcArray **results,
                 DhcArray **updated) {
  if (in->depth >= MAX_DEPTH)
    return dhc_interp_error(in, n, "calls are nested deeper than %d", (int)MAX_DEPTH);
  DhcInterp callee = {.arena = arena,
                      .diags = in->diags,
                      .func = f,
                      .n_symbols = f->symbols.n,
                      .symbols = f->symbols.at,
                      .extents = extents,
                      .depth = in->depth + 1,
                      .updated = updated,
                      .runner = in->runner};
  return run_nodes(&callee, args, results);
}

/* What a callee left in its parameter is left in the caller's, if that is what was passed. */
static void pass_updates_on(DhcInterp *in, const DhcNode *n, DhcArray **updated) {
  for (int k = 0; k < n->n_args; k++) {
    if (!updated[k]) continue;
    for (int p = 0; p < in->func->params.n; p++) {
      if (in->func->params.at[p] == n->args[k])
        in->updated[p] = dhc_array_copy(in->arena, updated[k]);
    }
  }
}

bool dhc_interp_call(DhcInterp *in, const DhcNode *n) {
  const DhcFunc *f = dhc_attr(n, "callee")->func;
  const DhcAttr *dims = dhc_attr(n, "dims");
  int64_t *extents = DHC_NEW_N(in->arena, int64_t, dims->dims.n + 1);
  if (!dhc_interp_attr_dims(in, n, "dims", extents)) return false;

  /* the callee's values go away when it returns; only its results are kept */
  DhcArena scratch;
  dhc_arena_init(&scratch);
  const DhcArray **args = DHC_NEW_N(&scratch, const DhcArray *, n->n_args + 1);
  DhcArray **results = DHC_NEW_N(&scratch, DhcArray *, n->n_results + 1);
  DhcArray **updated = DHC_NEW_N(&scratch, DhcArray *, n->n_args + 1);
  for (int k = 0; k < n->n_args; k++) args[k] = dhc_in_arg(in, n, k);
  bool ok = dhc_in_call(in, n, f, extents, args, &scratch, results, updated);
  if (ok) {
    for (int k = 0; k < n->n_results; k++)
      in->value[n->results[k]->id] = dhc_array_copy(in->arena, results[k]);
    pass_updates_on(in, n, updated);
  }
  dhc_arena_fini(&scratch);
  return ok;
}

/* The only rank. */
bool dhc_interp_sum_ranks(DhcInterp *in, const DhcNode *n) {
  DhcArray *y = dhc_in_result(in, n, 0);
  const DhcArray *x = dhc_in_arg(in, n, 0);
  for (int64_t e = 0; y && e < y->n; e++) dhc_in_copy(y, e, x, e);
  return y != NULL;
}

bool dhc_interp_update(DhcInterp *in, const DhcNode *n) {
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  const DhcArray *v = dhc_in_arg(in, n, 1);
  dhc_in_proved(n, v->n == y->n);
  for (int64_t e = 0; e < y->n; e++) dhc_in_copy(y, e, v, e);
  in->updated[dhc_param_index(in->func, n->args[0])] = y;
  return true;
}
