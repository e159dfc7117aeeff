/* Two contractions of one operand whose results meet in an elementwise op, a projection and
 * its gate, become one kernel with both sums; to a target that computes anew rather than start another kernel, also two of
 * which one goes into a further contraction through elementwise ops alone. Where they are written as one contraction whose
 * result is cut in two, it is first written as two: each sum is the same chain as before. Ragged
 * contractions stay one where experts' weights are packed: that is whole, halves of each are not. */
#include "passes/clean/edit.h"
#include "passes/fuse/fuse_internal.h"

static bool is_contraction(const DhcNode *n, bool again) {
  bool known = n->op == DHC_OP_DOT_GENERAL || (n->op == DHC_OP_RAGGED_DOT && again);
  return known && n->results[0]->type.dtype == DHC_F32;
}

/* ---- meeting ----------------------------------------------------------------------- */

enum { LATE = -1, EARLY = 0, ONE = 1, OTHER = 2 };

/* By value id: ONE and OTHER bits of what is elementwise in a and b and else known before both
 * or of no cost; LATE for anything else computed from `first` on. */
static int state_of(const DhcNode *n, const int *state) {
  int all = EARLY;
  DhcOpClass cls = dhc_op_info(n->op)->cls;
  if (cls == DHC_CLASS_CREATE) return EARLY;
  for (int i = 0; i < n->n_args; i++) {
    int s = state[n->args[i]->id];
    if (s == LATE) return LATE;
    all |= s;
  }
  if (cls == DHC_CLASS_VIEW) return all ? LATE : EARLY;
  return cls == DHC_CLASS_ELEMENTWISE ? all : LATE;
}

/* Some op of a's shape reads a and b, both through elementwise ops only, and nothing that
 * might wait for either. */
static bool meet(const DhcFunc *f, DhcArena *scratch, const DhcValue *a, const DhcValue *b) {
  int *state = DHC_NEW_N(scratch, int, f->next_value_id + 1);
  bool begun = false;
  for (const DhcNode *n = f->first; n; n = n->next) {
    begun = begun || n == a->def || n == b->def;
    if (!begun) continue; /* EARLY */
    int s = n->n_results == 1 && n->results[0] == a ? ONE : n->n_results == 1 && n->results[0] == b ? OTHER : state_of(n, state);
    for (int r = 0; r < n->n_results; r++) state[n->results[r]->id] = s;
    if (s == (ONE | OTHER)) return dhc_type_equal(&n->results[0]->type, &a->type);
  }
  return false;
}

/* Some contraction reads what elementwise ops and views make of v and of what is known before it. */
static bool leads_on(const DhcFunc *f, DhcArena *scratch, const DhcValue *v) {
  int *state = DHC_NEW_N(scratch, int, f->next_value_id + 1);
  bool begun = false;
  for (const DhcNode *n = f->first; n; n = n->next) {
    begun = begun || n == v->def;
    if (!begun) continue; /* EARLY */
    DhcOpClass cls = dhc_op_info(n->op)->cls;
    int all = EARLY;
    for (int i = 0; i < n->n_args; i++) all = all == LATE || state[n->args[i]->id] == LATE ? LATE : all | state[n->args[i]->id];
    if (n == v->def) all = ONE;
    else if (cls == DHC_CLASS_CONTRACT && all == ONE) return true;
    else if (all && cls != DHC_CLASS_ELEMENTWISE && n->op != DHC_OP_RESHAPE && n->op != DHC_OP_TRANSPOSE) all = LATE;
    for (int r = 0; r < n->n_results; r++) state[n->results[r]->id] = all;
  }
  return false;
}

static bool pays(const DhcFunc *f, DhcArena *scratch, bool again, const DhcValue *a, const DhcValue *b) {
  return meet(f, scratch, a, b) || (again && (leads_on(f, scratch, a) || leads_on(f, scratch, b)));
}

/* ---- one contraction cut in two ---------------------------------------------------------- */

static bool is_half(const DhcNode *n, const DhcValue *of, int axis, int which) {
  if (n->op != DHC_OP_SLICE) return false;
  const DhcAttr *start = dhc_attr(n, "start"), *step = dhc_attr(n, "step");
  for (int i = 0; i < of->type.rank; i++) {
    if (step->ints.at[i] != 1) return false;
    bool at = which && i == axis ? start->dims.at[i] == n->results[0]->type.dim[i] : dhc_dim_is(start->dims.at[i], 0);
    if (!at || (i != axis && n->results[0]->type.dim[i] != of->type.dim[i])) return false;
  }
  return true;
}

/* The two slices that are all uses of v and halve its last axis. */
static bool halves(const DhcFunc *f, const DhcValue *v, DhcNode *half[2]) {
  half[0] = half[1] = NULL;
  int axis = v->type.rank - 1;
  for (int i = 0; i < f->results.n; i++)
    if (f->results.at[i] == v) return false;
  for (DhcNode *n = f->first; n; n = n->next)
    for (int i = 0; i < n->n_args; i++) {
      if (n->args[i] != v) continue;
      int which = is_half(n, v, axis, 0) ? 0 : 1;
      if (half[which] || !is_half(n, v, axis, which)) return false;
      half[which] = n;
    }
  if (!half[0] || !half[1]) return false;
  return dhc_type_equal(&half[0]->results[0]->type, &half[1]->results[0]->type) &&
         !dhc_dim_is(half[0]->results[0]->type.dim[axis], 1);
}

/* Axis of the second operand that is the result's last; -1: that is the first's. */
static int column_axis(const DhcNode *n) {
  if (n->op == DHC_OP_RAGGED_DOT) return n->args[1]->type.rank - 1;
  for (int d = n->args[1]->type.rank - 1; d >= 0; d--)
    if (!dhc_edit_lists(dhc_attr(n, "batch_b"), d) && !dhc_edit_lists(dhc_attr(n, "contract_b"), d)) return d;
  return -1;
}

static bool cut(DhcFunc *f, DhcNode *n, DhcNode *const half[2]) {
  int axis = column_axis(n), last = n->results[0]->type.rank - 1;
  DhcBuilder b = {.f = f, .before = n, .span = n->span, .origin = n->origin};
  for (int i = 0; i < 2; i++) {
    DhcValue *part = half[i]->results[0], *args[3] = {n->args[0], NULL, n->n_args > 2 ? n->args[2] : NULL};
    args[1] = dhc_b_slice(&b, n->args[1], axis, dhc_attr(half[i], "start")->dims.at[last], part->type.dim[last]);
    DhcValue *y = args[1] ? dhc_build1(&b, n->op, args, n->n_args, n->attrs, dhc_op_info(n->op)->n_attrs) : NULL;
    if (!y) return false;
    dhc_replace_uses(part, y);
  }
  for (int i = 0; i < 2; i++) dhc_node_remove(half[i]);
  dhc_node_remove(n);
  return true;
}

bool dhc_fu_cut_pairs(DhcFunc *f, DhcPassCtx *px) {
  for (DhcNode *n = f->first, *next; n; n = next) {
    next = n->next;
    DhcNode *half[2];
    if (!is_contraction(n, px->folds_again) || column_axis(n) < 0 || !halves(f, n->results[0], half)) continue;
    if (!pays(f, px->scratch, px->folds_again, half[0]->results[0], half[1]->results[0]) || !dhc_pass_may_change(px)) continue;
    if (next == half[0] || next == half[1]) next = next->next;
    if (next == half[0] || next == half[1]) next = next->next;
    if (!cut(f, n, half)) return false;
  }
  return true;
}

/* ---- two contractions -------------------------------------------------------------------- */

static bool same_ints(const DhcNode *a, const DhcNode *b, const char *name) {
  const DhcAttr *x = dhc_attr(a, name), *y = dhc_attr(b, name);
  bool same = x->ints.n == y->ints.n;
  for (int i = 0; same && i < x->ints.n; i++) same = x->ints.at[i] == y->ints.at[i];
  return same;
}

bool dhc_fu_are_pair(const Fu *fu, const DhcNode *a, const DhcNode *b) {
  if (a->op != b->op || !is_contraction(a, fu->px->folds_again) || a->args[0] != b->args[0] || column_axis(b) < 0) return false;
  if (!dhc_type_equal(&a->results[0]->type, &b->results[0]->type)) return false;
  bool ragged = a->op == DHC_OP_RAGGED_DOT;
  if (ragged && a->args[2] != b->args[2]) return false;
  if (!ragged && (!same_ints(a, b, "batch_a") || !same_ints(a, b, "batch_b") || !same_ints(a, b, "contract_a") ||
                  !same_ints(a, b, "contract_b")))
    return false;
  return pays(fu->f, fu->scratch, fu->px->folds_again, a->results[0], b->results[0]);
}
