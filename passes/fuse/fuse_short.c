/* Short folds: what a thread folds by the way. To a target that computes anew rather than start another kernel, a sum of few
 * elements, or a contraction of few products, is a value like any other: each kernel of elements that needs it folds by
 * itself, within another fold if it comes to that, in the fold's own order. The axes are known extents of the spec. */
#include "passes/clean/edit.h"
#include "passes/fuse/fuse_internal.h"

enum { FEW = 16 /* elements or products */ };

static const DhcAttr *contracted(const DhcNode *n, int side) { return dhc_attr(n, side ? "contract_b" : "contract_a"); }

int64_t dhc_fu_short_extent(const DhcNode *n) {
  const DhcType *t = &n->args[0]->type;
  unsigned dims = n->op == DHC_OP_DOT_GENERAL ? 1u << contracted(n, 0)->ints.at[0] : dhc_fu_reduced_dims(n);
  int64_t all = 1, one;
  for (int d = 0; d < t->rank; d++) {
    if (!(dims >> d & 1)) continue;
    if (!dhc_dim_is_const(t->dim[d], &one) || one < 1 || one > FEW) return FEW + 1;
    all *= one;
  }
  return all;
}

/* All operands of n that are v are read from memory, whoever computes n. */
static bool is_loaded(const Fu *fu, const DhcNode *n, const DhcValue *v) {
  if (dhc_op_info(n->op)->cls == DHC_CLASS_SCAN) return false;
  for (int k = 0; k < n->n_args; k++)
    if (n->args[k] == v && !dhc_fu_needs_memory(fu, n, k)) return false;
  return true;
}

static bool may_be_short(const Fu *fu, const DhcNode *n) {
  if (!fu->px->folds_again || dhc_fu_of(fu, n->results[0])->wide) return false;
  for (int i = 0; i < n->n_args; i++)
    if (dhc_fu_of(fu, n->args[i])->wide) return false;
  if (n->op != DHC_OP_DOT_GENERAL) return n->op != DHC_OP_ARGMAX && dhc_fu_short_extent(n) <= FEW;
  if (n->results[0]->type.dtype != DHC_F32 || contracted(n, 0)->ints.n != 1 || dhc_attr(n, "batch_a")->ints.n) return false;
  return dhc_fu_short_extent(n) <= FEW;
}

bool dhc_fu_goes_to_elements(const Fu *fu, const DhcValue *v) {
  if (fu->to_update[v->id]) return false;
  for (int u = 0; u < fu->n_use[v->id]; u++) {
    const DhcNode *n = fu->use[v->id][u];
    DhcOpClass cls = dhc_op_info(n->op)->cls;
    if (fu->chain_of[n->id]) return false;
    bool on = cls == DHC_CLASS_ELEMENTWISE || cls == DHC_CLASS_VIEW;
    if (!on && cls != DHC_CLASS_REDUCE && !is_loaded(fu, n, v)) return false;
    for (int r = 0; on && r < n->n_results; r++)
      if (!dhc_fu_goes_to_elements(fu, n->results[r])) return false;
  }
  return true;
}

bool dhc_fu_is_short(const Fu *fu, const DhcNode *n) {
  return may_be_short(fu, n) && (n->op != DHC_OP_DOT_GENERAL || dhc_fu_goes_to_elements(fu, n->results[0]));
}

bool dhc_fu_in_memory_anyway(const Fu *fu, const DhcValue *v) {
  if (fu->is_result[v->id]) return true;
  for (int u = 0; u < fu->n_use[v->id]; u++) {
    const DhcNode *n = fu->use[v->id][u];
    if (dhc_fu_is_view(n) && dhc_fu_in_memory_anyway(fu, n->results[0])) return true;
    for (int k = 0; k < n->n_args && !dhc_fu_is_view(n); k++)
      if (n->args[k] == v && dhc_fu_needs_memory(fu, n, k)) return true;
  }
  return false;
}

void dhc_fu_note_folds(Fu *fu, const DhcNode *n) {
  if (fu->norm_of[n->id]) return;
  for (int r = 0; r < n->n_results; r++) {
    FuValue *x = dhc_fu_of(fu, n->results[r]);
    if (x->where != FU_LAZY && x->where != FU_VIEW) continue;
    x->folds = x->inner;
    for (int i = 0; i < n->n_args; i++) {
      const FuValue *a = dhc_fu_of(fu, n->args[i]);
      bool again = (a->where == FU_LAZY || a->where == FU_VIEW) && a->folds;
      x->folds = x->folds || (again && !dhc_fu_in_memory_anyway(fu, n->args[i]));
    }
  }
}

bool dhc_fu_takes_folds(const FuGroup *g) {
  return g->kind == DHC_KIND_MAP && !g->anchor && !g->fixed && !g->copies.n && !g->copy_view;
}

/* ---- writing ------------------------------------------------------------------------------- */

static bool occurs(const FuKernel *k, const FuIx *ix, int rank, int axis) {
  for (int d = 0; d < rank; d++) {
    if (ix[d].f.node >= 0) return true; /* for all that is known */
    for (int i = 0; i < ix[d].f.n; i++)
      if (ix[d].f.axis[i] == axis) return true;
  }
  return axis < k->g->n_axes + k->n_splits;
}

/* Is a fold over this axis being written, in whose loop, or one within it, what varies at ix is known? A fold of that is needed in the
 * axis's own loop. */
static bool is_around(const FuKernel *k, const FuIx *ix, int rank, int axis) {
  bool around = false;
  for (int i = 0; i < k->n_open; i++) {
    around = around || k->open[i] == axis;
    if (around && occurs(k, ix, rank, k->open[i])) return true;
  }
  return false;
}

/* A kernel axis of this extent over which nothing at ix varies, behind all that are taken, as a fold goes over its axes in order; -1: there
 * is no more room. */
static int inner_axis(FuKernel *k, const DhcDim *extent, const FuIx *ix, int rank, uint32_t taken) {
  for (int a = k->g->n_axes + k->n_splits; a < k->n_axes; a++)
    if (!(taken >> a) && k->axis[a].extent == extent && !occurs(k, ix, rank, a) && !is_around(k, ix, rank, a)) return a;
  if (k->n_axes == FU_MAX_AXES) return dhc_fu_full(k);
  int a = k->n_axes++;
  k->axis[a] = (FuAxis){DHC_AXIS_RED, extent, true, a};
  k->key[a] = (int64_t)(2000 + a) * (1 << 20);
  k->gap[a] = 1 << 20;
  k->axis_gone[a] = false;
  return a;
}

static FuIx over(FuKernel *k, const DhcDim *extent, const FuIx *ix, int rank, uint32_t *axes) {
  DhcDims *dims = k->fu->m->dims;
  if (dhc_dim_is(extent, 1)) return dhc_fu_plain(dhc_fu_const(dims, NULL));
  int a = k->n_open < FU_MAX_AXES ? inner_axis(k, extent, ix, rank, *axes) : dhc_fu_full(k);
  if (a < 0) return dhc_fu_plain(dhc_fu_const(dims, NULL));
  *axes |= 1u << a;
  k->open[k->n_open++] = a;
  return dhc_fu_plain(dhc_fu_axis(dims, a));
}

static int emit_contraction(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  int node[2], out = 0;
  uint32_t axes = 0;
  int open = k->n_open;
  FuIx at = over(k, n->args[0]->type.dim[contracted(n, 0)->ints.at[0]], ix, v->type.rank, &axes);
  for (int s = 0; s < 2; s++) {
    FuIx in[DHC_MAX_RANK];
    for (int d = 0; d < n->args[s]->type.rank; d++) in[d] = dhc_edit_lists(contracted(n, s), d) ? at : ix[out++];
    node[s] = k->failed ? -1 : dhc_fu_emit(k, n->args[s], in);
  }
  k->n_open = open;
  return dhc_fu_emit_fold(k, DHC_OP_DOT_GENERAL, v->type.dtype, node[0], node[1], axes);
}

int dhc_fu_emit_short(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  if (n->op == DHC_OP_DOT_GENERAL) return emit_contraction(k, v, ix);
  DhcValue *x = n->args[0];
  unsigned reduced = dhc_fu_reduced_dims(n);
  bool keep = v->type.rank == x->type.rank;
  FuIx in[DHC_MAX_RANK];
  uint32_t axes = 0;
  int open = k->n_open;
  for (int d = 0, at = 0; d < x->type.rank; d++) {
    bool red = reduced >> d & 1;
    in[d] = red ? over(k, x->type.dim[d], ix, v->type.rank, &axes) : ix[at];
    at += !red || keep;
  }
  int of = k->failed ? -1 : dhc_fu_emit(k, x, in);
  k->n_open = open;
  return of < 0 ? -1 : dhc_fu_emit_fold(k, n->op, v->type.dtype, of, -1, axes);
}
