/* Recurrences that contract their own states: which folds become part of a recurrence's kernel,
 * so that no state is stored, and which of its products other kernels compute. */
#include "passes/clean/edit.h"
#include "passes/fuse/fuse_internal.h"

enum { MAX_STATES = 256 /* of a recurrence, contracted within it */ };

unsigned dhc_fu_reduced_dims(const DhcNode *n) {
  int rank = n->args[0]->type.rank;
  if (n->op == DHC_OP_ARGMAX) {
    int64_t a = dhc_attr(n, "axis")->i;
    return 1u << (a < 0 ? a + rank : a);
  }
  const DhcAttr *axes = dhc_attr(n, "axes");
  unsigned m = 0;
  for (int i = 0; i < axes->ints.n; i++) {
    int64_t a = axes->ints.at[i];
    m |= 1u << (a < 0 ? a + rank : a);
  }
  return m;
}

/* Whether a fold or dot over the last axis of values like the group's is to come. */
static bool folds_last(const FuGroup *g) {
  int last = g->rank - 1;
  for (const DhcNode *n = g->anchor->next; n; n = n->next) {
    bool dot = n->op == DHC_OP_DOT_GENERAL;
    for (int k = 0; k < n->n_args && (dot || dhc_op_folds(n->op)); k++) {
      const DhcType *t = &n->args[k]->type;
      bool like = t->rank == g->rank, over;
      for (int d = 0; like && d < g->rank; d++) like = t->dim[d] == g->dim[d];
      const DhcAttr *c = dot ? dhc_attr(n, k ? "contract_b" : "contract_a") : NULL;
      over = dot ? c->ints.n == 1 && c->ints.at[0] == last : dhc_fu_reduced_dims(n) == 1u << last;
      if (like && over && (dot || n->op == DHC_OP_REDUCE_SUM)) return true;
    }
  }
  return false;
}

/* A recurrence takes in folds over one axis, of few states known in number (those of a
 * channel), which it then contracts step by step: over the last axis where there are such. */
bool dhc_fu_takes_states(const FuGroup *g, unsigned reduced) {
  int64_t states;
  int d = 0;
  while (d < g->rank && !(reduced >> d & 1)) d++;
  if (g->kind != DHC_KIND_SCAN || !g->anchor || g->fixed || d == g->rank || reduced != 1u << d) return false;
  if (!(g->reduced == 0 || g->reduced == reduced) || g->axis[d].role == DHC_AXIS_SEQ) return false;
  if (!dhc_dim_is_const(g->dim[d], &states) || states <= 1 || states > MAX_STATES) return false;
  return d == g->rank - 1 || g->reduced == reduced || !folds_last(g);
}

bool dhc_fu_contracts_states(const FuGroup *g, const DhcNode *n, unsigned reduced) {
  return n->op == DHC_OP_REDUCE_SUM && dhc_fu_takes_states(g, reduced);
}

void dhc_fu_take_states(FuGroup *g, unsigned reduced) {
  for (int d = 0; d < g->rank; d++) {
    if (!(reduced >> d & 1)) continue;
    g->reduced = reduced;
    g->red0 = d;
    g->n_red = 1;
    g->axis[d].role = DHC_AXIS_RED;
    g->axis[d].unrolled = true;
  }
}

/* Whether only kernels of other folds read n, whose operands include states: they load those and
 * compute n by themselves, and n is not stored beside the states. */
bool dhc_fu_left_to_folds(const Fu *fu, const FuGroup *g, const DhcNode *n) {
  const DhcValue *v = n->results[0];
  if (g->kind != DHC_KIND_SCAN || !g->anchor || fu->is_result[v->id] || !fu->n_use[v->id]) return false;
  for (int u = 0; u < fu->n_use[v->id]; u++) {
    const DhcNode *use = fu->use[v->id][u];
    if (!dhc_op_folds(use->op) || dhc_fu_contracts_states(g, use, dhc_fu_reduced_dims(use))) return false;
  }
  return true;
}

bool dhc_fu_is_last(const DhcNode *n) {
  const DhcNode *scan = n->args[0]->def;
  DhcDims *cx = n->func->module->dims;
  const DhcType *t = &n->args[0]->type;
  int axis = (int)dhc_attr(scan, "axis")->i;
  if (axis < 0) axis += t->rank;
  const DhcDim *zero = dhc_dim_const(cx, 0), *last = dhc_attr(scan, "reverse")->b ? zero : dhc_dim_addc(cx, t->dim[axis], -1);
  if (dhc_dim_is(t->dim[axis], 1)) return false; /* no steps: a view like any other */
  for (int d = 0; d < t->rank; d++) {
    if (dhc_attr(n, "step")->ints.at[d] != 1) return false;
    if (dhc_attr(n, "start")->dims.at[d] != (d == axis ? last : zero)) return false;
    if (dhc_attr(n, "size")->dims.at[d] != (d == axis ? dhc_dim_const(cx, 1) : t->dim[d])) return false;
  }
  return true;
}

/* ---- in memory ------------------------------------------------------------------------ */

/* A recurrence folds its last axis step by step and works on many channels, the axis before, at
 * once: what it stores and loads for other kernels lies with the channels side by side. */
static bool swaps(const FuGroup *g) {
  int64_t channels;
  int last = g->rank - 1;
  if (g->kind != DHC_KIND_SCAN || !g->anchor || g->fixed || last < 2 || g->reduced != 1u << last) return false;
  return g->axis[last - 1].role == DHC_AXIS_PAR && (!dhc_dim_is_const(g->dim[last - 1], &channels) || channels >= 16);
}

static bool has_domain(const FuGroup *g, const DhcType *t) {
  bool same = t->rank == g->rank;
  for (int d = 0; same && d < t->rank; d++) same = t->dim[d] == g->dim[d];
  return same;
}

void dhc_fu_swap_states(Fu *fu) {
  for (int i = 0; i < fu->groups.n; i++) {
    const FuGroup *g = fu->groups.at[i];
    if (!swaps(g)) continue;
    for (int k = 0; k < fu->groups.n; k++) {
      const FuGroup *other = fu->groups.at[k];
      if (other->kind != DHC_KIND_SCAN && (other->kind != DHC_KIND_MAP || other->anchor)) continue;
      if (other->fixed || other->copies.n || other->copy_view || other->dead) continue;
      for (int j = 0; j < other->members.n; j++) {
        const DhcValue *v = other->members.at[j];
        FuValue *x = dhc_fu_of(fu, v);
        bool free = !x->dense && !x->memory && !x->forced && !x->piece_of && !fu->is_result[v->id];
        if (free && has_domain(g, &v->type)) x->swapped = true;
      }
    }
  }
}

/* ---- order ---------------------------------------------------------------------------- */

/* What the states of recurrence n meet until they are folded: marks, behind n, what depends on
 * it (`on`) and what its consumers read besides (`wanted`). */
static void consumers(const DhcNode *n, bool *on, bool *meets, bool *wanted) {
  on[n->results[0]->id] = meets[n->results[0]->id] = true;
  for (const DhcNode *u = n->next; u; u = u->next) {
    bool any = false, met = false;
    for (int i = 0; i < u->n_args; i++) {
      any |= on[u->args[i]->id];
      met |= meets[u->args[i]->id];
    }
    DhcOpClass cls = dhc_op_info(u->op)->cls;
    bool through = cls == DHC_CLASS_ELEMENTWISE || cls == DHC_CLASS_VIEW;
    for (int r = 0; r < u->n_results; r++) {
      on[u->results[r]->id] = any;
      meets[u->results[r]->id] = met && through;
    }
    for (int i = 0; met && (through || u->op == DHC_OP_DOT_GENERAL) && i < u->n_args; i++)
      wanted[u->args[i]->id] |= !on[u->args[i]->id];
  }
}

/* Moves what is wanted in front of n, where it is not yet: one change. */
static void move_wanted(DhcNode *n, const bool *wanted, DhcPassCtx *px) {
  bool asked = false;
  for (DhcNode *u = n->next, *next; u; u = next) {
    next = u->next;
    bool any = false;
    for (int r = 0; r < u->n_results; r++) any |= wanted[u->results[r]->id];
    if (any && !asked && !dhc_pass_may_change(px)) return;
    asked |= any;
    if (any) dhc_edit_move_before(u, n);
  }
}

/* A group takes in an op only if all it reads was computed before: what the states of a recurrence
 * meet moves in front of the recurrence, as far as it does not wait for it. */
void dhc_fu_order_scans(DhcFunc *f, DhcPassCtx *px) {
  DhcArena *scratch = px->scratch;
  for (DhcNode *n = f->first; n; n = n->next) {
    if (n->op != DHC_OP_LINEAR_SCAN) continue;
    bool *on = DHC_NEW_N(scratch, bool, f->next_value_id + 1), *meets = DHC_NEW_N(scratch, bool, f->next_value_id + 1);
    bool *wanted = DHC_NEW_N(scratch, bool, f->next_value_id + 1);
    consumers(n, on, meets, wanted);
    for (const DhcNode *u = f->last; u != n; u = u->prev) {
      bool any = false;
      for (int r = 0; r < u->n_results; r++) any |= wanted[u->results[r]->id];
      for (int i = 0; any && i < u->n_args; i++) wanted[u->args[i]->id] = true;
    }
    move_wanted(n, wanted, px);
  }
}
