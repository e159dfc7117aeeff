/* Fusion: the ops of every function become kernel nodes; calls, scans and updates stay.
 * fuse_internal.h says how. Here: the driver, the order of kernels, the rewritten function. */
#include <string.h>

#include "passes/clean/edit.h"
#include "passes/fuse/fuse_internal.h"

/* ---- tables ------------------------------------------------------------------------ */

static void collect(Fu *fu) {
  DhcFunc *f = fu->f;
  int n_values = f->next_value_id + 1;
  fu->value = DHC_NEW_N(fu->scratch, FuValue, n_values);
  fu->use = DHC_NEW_N(fu->scratch, DhcNode **, n_values);
  fu->n_use = DHC_NEW_N(fu->scratch, int, n_values);
  fu->is_result = DHC_NEW_N(fu->scratch, bool, n_values);
  fu->place_of = DHC_NEW_N(fu->scratch, int, f->next_node_id + 1);
  fu->chain_of = DHC_NEW_N(fu->scratch, FuChain *, f->next_node_id + 1);
  for (int v = 0; v < n_values; v++) fu->value[v].group = fu->value[v].level = fu->value[v].copy = -1;
  for (DhcNode *n = f->first; n; n = n->next) {
    fu->place_of[n->id] = fu->nodes.n;
    DHC_PUSH(fu->scratch, &fu->nodes, n);
    for (int i = 0; i < n->n_args; i++) fu->n_use[n->args[i]->id]++;
  }
  for (int v = 0; v < n_values; v++) {
    fu->use[v] = DHC_NEW_N(fu->scratch, DhcNode *, fu->n_use[v] + 1);
    fu->n_use[v] = 0;
  }
  for (int i = 0; i < fu->nodes.n; i++) {
    DhcNode *n = fu->nodes.at[i];
    for (int k = 0; k < n->n_args; k++) {
      int v = n->args[k]->id;
      fu->use[v][fu->n_use[v]++] = n;
    }
  }
  for (int i = 0; i < f->results.n; i++) fu->is_result[f->results.at[i]->id] = true;
}

Fu *dhc_fu_open(DhcModule *m, DhcPassCtx *px, DhcFunc *f) {
  Fu *fu = DHC_NEW(px->scratch, Fu);
  fu->m = m;
  fu->px = px;
  fu->f = f;
  fu->scratch = px->scratch;
  collect(fu);
  return fu;
}

static bool is_flat(const DhcFunc *f, const DhcValue *v) {
  const int at = v->def->op == DHC_OP_PARAM ? dhc_edit_param(f, v) : -1;
  return at >= 0 && f->param_info.at[at].role == DHC_ROLE_FLAT;
}

/* What an `update` takes is computed by map kernels: they may run in place. That goes back
 * through elementwise ops and the one concat that makes a flat tensor of its ranges; behind
 * such a concat, contractions may have it as epilogue. */
static void mark_updates(Fu *fu) {
  fu->to_update = DHC_NEW_N(fu->scratch, char, fu->f->next_value_id + 1);
  fu->to_flat = DHC_NEW_N(fu->scratch, bool, fu->f->next_value_id + 1);
  for (int i = fu->nodes.n; i-- > 0;) {
    const DhcNode *n = fu->nodes.at[i];
    if (n->op == DHC_OP_UPDATE) fu->to_update[n->args[1]->id] = 2;
    if (n->op == DHC_OP_UPDATE) fu->to_flat[n->args[1]->id] = is_flat(fu->f, n->args[0]);
    char mark = n->n_results == 1 ? fu->to_update[n->results[0]->id] : 0;
    bool view = dhc_fu_is_view(n), concat = n->op == DHC_OP_CONCAT && mark == 2;
    if (!mark || !(view || concat || dhc_op_info(n->op)->cls == DHC_CLASS_ELEMENTWISE)) continue;
    for (int k = 0; k < n->n_args; k++) {
      char *to = &fu->to_update[n->args[k]->id];
      char next = view ? mark : 1;
      if (*to < next) *to = next;
      if (fu->to_flat[n->results[0]->id]) fu->to_flat[n->args[k]->id] = true;
    }
  }
}

/* ---- order --------------------------------------------------------------------------- */

static void order_failed(const Fu *fu, const FuNeeds *needs, const int *waits) {
  DhcText text = {.arena = fu->scratch};
  for (int g = 0; g < fu->groups.n; g++) {
    if (waits[g] <= 0) continue;
    dhc_text_printf(&text, "\n%d:", g);
    for (int i = 0; i < fu->groups.at[g]->members.n; i++) dhc_text_printf(&text, " %%%d", fu->groups.at[g]->members.at[i]->id);
    dhc_text_puts(&text, " needs");
    for (int i = 0; i < needs[g].groups.n; i++) dhc_text_printf(&text, " %d", needs[g].groups.at[i]);
  }
  dhc_text_puts(&text, "\n");
  dhc_func_print(fu->f, &text);
  DHC_BUG("fuse @%s: kernels wait for each other%s", fu->f->name, dhc_text_str(&text));
}

/* Groups so that each comes after what it needs; of those that may come next, the one
 * whose last op comes first in the function. */
static int *group_order(Fu *fu) {
  int n = fu->groups.n, n_order = 0;
  FuNeeds *needs = dhc_fu_needs(fu);
  int *order = DHC_NEW_N(fu->scratch, int, n + 1), *waits = DHC_NEW_N(fu->scratch, int, n + 1);
  struct List {
    DHC_VEC(int) at;
  } *waiters = DHC_NEW_N(fu->scratch, struct List, n + 1);
  for (int g = 0; g < n; g++) {
    waits[g] = needs[g].groups.n;
    for (int i = 0; i < needs[g].groups.n; i++) DHC_PUSH(fu->scratch, &waiters[needs[g].groups.at[i]].at, g);
  }
  for (; n_order < n; n_order++) {
    int best = -1;
    for (int g = 0; g < n; g++)
      if (waits[g] == 0 && (best < 0 || fu->groups.at[g]->place < fu->groups.at[best]->place)) best = g;
    if (best < 0) order_failed(fu, needs, waits);
    waits[best] = -1;
    order[n_order] = best;
    for (int i = 0; i < waiters[best].at.n; i++) waits[waiters[best].at.at[i]]--;
  }
  return order;
}

static bool has_stored(const Fu *fu, const FuGroup *g) {
  for (int i = 0; i < g->members.n; i++)
    if (dhc_fu_of(fu, g->members.at[i])->stored) return true;
  return false;
}

/* ---- rewritten function ----------------------------------------------------------------- */

typedef struct Rebuild {
  Fu *fu;
  DhcBuilder b;
  DhcValue **to; /* by old value id */
} Rebuild;

/* New value for v; views in front of fixed nodes are copied. */
static DhcValue *get(Rebuild *r, DhcValue *v) {
  DhcValue **slot = &r->to[v->id];
  if (*slot) return *slot;
  if (!dhc_fu_is_view(v->def) || dhc_fu_of(r->fu, v)->where != FU_VIEW)
    DHC_BUG("fuse @%s: value of op %s is not in memory", r->fu->f->name, dhc_op_info(v->def->op)->name);
  DhcValue *x = get(r, v->def->args[0]);
  r->b.span = v->def->span;
  r->b.origin = v->def->origin;
  DhcNode *n = dhc_node_copy(&r->b, v->def, &x);
  return *slot = n ? n->results[0] : NULL;
}

const DhcSpec *dhc_fu_intern(DhcModule *m, const DhcSpec *s) {
  for (int i = 0; i < m->specs.n; i++)
    if (dhc_spec_equal(m->specs.at[i], s)) return m->specs.at[i];
  const char *why = "";
  if (!dhc_spec_verify(s, m->arena, &why)) {
    DhcText text = {.arena = m->arena};
    dhc_spec_print(s, &text);
    DHC_BUG("fuse made a wrong spec: %s\n%s", why, dhc_text_str(&text));
  }
  DHC_PUSH(m->arena, &m->specs, s);
  return s;
}

/* Type of the buffer that operand value v is stored in. */
static const DhcType *stored_type(const Fu *fu, const DhcValue *v) {
  const FuValue *x = dhc_fu_of(fu, v);
  return x->piece_of ? &x->piece_of->results[0]->type : &v->type;
}

/* Whether the windows of n, side by side, leave nothing of its result between them. */
static bool windows_cover(const Rebuild *r, const DhcNode *n) {
  const DhcAttr *w = dhc_attr(n, "window");
  const DhcType *t = &n->results[0]->type;
  for (int s = 0; s < w->ints.n; s++) {
    int d = t->rank - w->ints.n + s;
    if (t->dim[d] != dhc_dim_mulc(r->fu->m->dims, n->args[0]->type.dim[d], w->ints.at[s])) return false;
  }
  return true;
}

/* Whose contents the output v of group g starts as; NULL: nothing. */
static DhcValue *starts_as(Rebuild *r, const FuGroup *g, DhcValue *v) {
  const FuValue *x = dhc_fu_of(r->fu, v);
  if (x->piece_of) return r->to[x->piece_of->results[0]->id];
  if (g->copies.n) return r->to[v->id];
  const DhcNode *n = g->anchor;
  if (!n || n->results[0] != v) return NULL;
  switch (dhc_fu_op(n->op)->starts) {
    case FU_STARTS_NOTHING: return NULL;
    case FU_STARTS_FIRST: return get(r, n->args[0]);
    case FU_STARTS_ZEROS: return g->kind == DHC_KIND_MAP ? NULL : dhc_b_fill(&r->b, &v->type, 0);
    case FU_STARTS_ZEROS_BETWEEN: return g->kind != DHC_KIND_MAP || windows_cover(r, n) ? NULL : dhc_b_fill(&r->b, &v->type, 0);
  }
  return NULL;
}

DhcNode *dhc_fu_kernel(DhcModule *m, DhcBuilder *b, const FuSpec *w, DhcValue *const *arg, int n_args, const DhcType *const *out,
                       const int64_t *into) {
  const DhcSpec *s = dhc_fu_intern(m, w->spec);
  int n_out = s->n_operands - dhc_spec_n_inputs(s), n_dims = 0;
  int64_t rank[DHC_SPEC_MAX_OPERANDS];
  const DhcDim *shape[DHC_SPEC_MAX_OPERANDS * DHC_MAX_RANK];
  for (int o = 0; o < n_out; o++) {
    rank[o] = out[o]->rank;
    for (int d = 0; d < out[o]->rank; d++) shape[n_dims++] = out[o]->dim[d];
  }
  DhcAttr attr[] = {dhc_attr_spec(s),
                    dhc_attr_dims(m, w->dims, w->n_dims),
                    dhc_attr_dims(m, w->offsets, s->n_operands),
                    dhc_attr_dims(m, shape, n_dims),
                    dhc_attr_ints(m, rank, n_out),
                    dhc_attr_ints(m, into, n_out)};
  return dhc_build(b, DHC_OP_KERNEL, arg, n_args, attr, 6);
}

/* The earlier output of a kernel that is a piece of the same concat as output o; -1: none is. */
static int piece_with(Fu *fu, DhcValue *const *out, int o) {
  const DhcNode *whole = dhc_fu_of(fu, out[o])->piece_of;
  int k = 0;
  while (k < o && !(whole && dhc_fu_of(fu, out[k])->piece_of == whole)) k++;
  return k < o ? k : -1;
}

static bool build_kernel(Rebuild *r, FuGroup *g, const FuSpec *w) {
  Fu *fu = r->fu;
  int n_in = dhc_spec_n_inputs(w->spec), n_out = w->spec->n_operands - n_in, n_args = n_in;
  DhcValue *arg[2 * DHC_SPEC_MAX_OPERANDS];
  int64_t into[DHC_SPEC_MAX_OPERANDS];
  const DhcType *out[DHC_SPEC_MAX_OPERANDS] = {NULL};
  const DhcNode *first = g->copies.n    ? g->copies.at[0].concat
                         : g->copy_view ? g->copy_view->def
                         : g->anchor    ? g->anchor
                                        : g->members.at[0]->def;
  r->b.span = first->span;
  r->b.origin = first->origin;
  for (int i = 0; i < n_in; i++) arg[i] = get(r, w->value[i]);
  for (int o = 0; o < n_out; o++) {
    int with = piece_with(fu, w->value + n_in, o);
    DhcValue *v = w->value[n_in + o], *from = with < 0 ? starts_as(r, g, v) : NULL;
    out[o] = stored_type(fu, v);
    into[o] = with >= 0 ? DHC_KERNEL_WITHIN - with : from ? n_args : -1;
    if (from) arg[n_args++] = from;
  }
  r->b.span = first->span;
  r->b.origin = first->origin;
  DhcNode *n = dhc_fu_kernel(fu->m, &r->b, w, arg, n_args, out, into);
  if (!n) return false;
  for (int o = 0; o < n_out; o++) {
    DhcValue *v = w->value[n_in + o];
    const FuValue *x = dhc_fu_of(fu, v);
    r->to[x->piece_of ? x->piece_of->results[0]->id : v->id] = n->results[o];
  }
  dhc_pass_count_change(fu->px);
  return true;
}

static bool build_fixed(Rebuild *r, const DhcNode *n) {
  DhcValue **arg = DHC_NEW_N(r->fu->scratch, DhcValue *, n->n_args + 1);
  for (int i = 0; i < n->n_args; i++)
    if (!(arg[i] = get(r, n->args[i]))) return false;
  r->b.span = n->span;
  r->b.origin = n->origin;
  DhcNode *copy = dhc_node_copy(&r->b, n, arg);
  if (!copy) return false;
  for (int i = 0; i < n->n_results; i++) r->to[n->results[i]->id] = copy->results[i];
  return true;
}

static bool rebuild(Fu *fu, const int *order, const FuSpec *spec) {
  DhcFunc *f = fu->f;
  Rebuild r = {.fu = fu, .b = {.f = f}, .to = DHC_NEW_N(fu->scratch, DhcValue *, f->next_value_id + 1)};
  for (int i = 0; i < f->params.n; i++) r.to[f->params.at[i]->id] = f->params.at[i];
  for (int i = 0; i < fu->groups.n; i++) {
    FuGroup *g = fu->groups.at[order[i]];
    if (g->fixed && !g->writers.n && !build_fixed(&r, g->fixed)) return false; /* else: written piece by piece */
    if (!g->fixed && spec[order[i]].spec && !build_kernel(&r, g, &spec[order[i]])) return false;
  }
  for (int i = 0; i < f->results.n; i++) {
    f->results.at[i] = get(&r, f->results.at[i]);
    if (!f->results.at[i]) return false;
  }
  for (int i = fu->nodes.n; i-- > 0;)
    if (fu->nodes.at[i]->op != DHC_OP_PARAM) dhc_node_remove(fu->nodes.at[i]);
  return true;
}

/* ---- driver -------------------------------------------------------------------------------- */

/* Kernels from last to first, so that all that is read of one is known when it is written.
 * NULL: done; else the value to keep in memory. */
static DhcValue *write_all(Fu *fu, const int *order, FuSpec *spec) {
  for (int i = fu->groups.n; i-- > 0;) {
    FuGroup *g = fu->groups.at[order[i]];
    if (g->dead || g->fixed || (!g->copies.n && !g->copy_view && !has_stored(fu, g))) continue;
    DhcValue *force = NULL;
    if (dhc_fu_write(fu, g, &spec[order[i]], &force)) continue;
    if (!force) DHC_BUG("fuse @%s: no kernel for op %s", fu->f->name,
                        g->anchor ? dhc_op_info(g->anchor->op)->name : "elementwise");
    return force;
  }
  return NULL;
}

/* Every value of an op that computes may stay inside a kernel: that is a change. Past the limit of
 * a bisecting run each has a kernel of its own and lies in memory. */
static void ask_leave(DhcPassCtx *px, const DhcFunc *f, bool *forced) {
  for (const DhcNode *n = f->first; n; n = n->next)
    if (n->op != DHC_OP_PARAM && n->op != DHC_OP_UPDATE && dhc_op_info(n->op)->cls != DHC_CLASS_CREATE && !dhc_fu_is_view(n))
      for (int r = 0; r < n->n_results; r++) forced[n->results[r]->id] = !dhc_pass_may_change(px);
}

static bool fuse_function(DhcModule *m, DhcPassCtx *px, DhcFunc *f, FuRoom *room) {
  int n_values = f->next_value_id + 1;
  bool *forced = DHC_NEW_N(px->scratch, bool, n_values);
  ask_leave(px, f, forced);
  for (;;) {
    Fu *fu = dhc_fu_open(m, px, f);
    fu->room = room;
    mark_updates(fu);
    for (int v = 0; v < n_values; v++) fu->value[v].forced = forced[v];
    if (px->props & DHC_PROP_CHAINED) dhc_fu_find_chains(fu);
    dhc_fu_find_norms(fu);
    dhc_fu_group(fu);
    int *order = group_order(fu);
    FuSpec *spec = DHC_NEW_N(px->scratch, FuSpec, fu->groups.n + 1);
    DhcValue *force = write_all(fu, order, spec);
    if (!force) return rebuild(fu, order, spec);
    if (forced[force->id]) DHC_BUG("fuse @%s: op %s cannot be a kernel", f->name, dhc_op_info(force->def->op)->name);
    forced[force->id] = true;
  }
}

/* requires: LOWERED. establishes: FUSED. breaks: UNFUSED. That an op has a kernel is no choice and asks nobody;
 * that several share one is. */
bool dhc_pass_fuse(DhcModule *m, DhcPassCtx *px) {
  bool ok = true, *done = DHC_NEW_N(m->arena, bool, m->next_func_id + 1);
  FuRoom room = {0};
  if (!dhc_fu_give_wholes(m, px) || !dhc_fu_write_backs(m, px, &room, done)) return false; /* from the bodies of what they are derivatives of, before these are kernels */
  for (int i = 0; i < m->funcs.n; i++) {
    DhcFunc *f = m->funcs.at[i];
    if (f->kind == DHC_FUNC_INIT || done[f->id]) continue; /* the interpreter runs the former */
    ok = dhc_fu_write_routes(f, px) && fuse_function(m, px, f, &room) && ok;
  }
  return ok;
}
