/* What a contraction makes of its own rows before it multiplies them, as a norm does: a row's statistic, and the row scaled by it. To a
 * target that computes anew rather than start another kernel, it belongs to the contraction where nobody else needs it and
 * rows have one axis: as many as there are examples, or a step's. Where they have more, as tokens of sequences do, there
 * are many, and each is folded once, by a kernel of its own. */
#include "passes/clean/edit.h"
#include "passes/fuse/fuse_internal.h"

static const DhcDim *contracted(const DhcNode *dot) { return dot->args[0]->type.dim[dhc_attr(dot, "contract_a")->ints.at[0]]; }

/* What lies side by side: rows are along it. */
static int last_dim(const DhcType *t) {
  int d = t->rank - 1;
  while (d > 0 && dhc_dim_is(t->dim[d], 1)) d--;
  return d;
}

static bool few_rows(const DhcType *t) {
  int n = 0;
  for (int d = 0; d < t->rank; d++) n += !dhc_dim_is(t->dim[d], 1);
  return n <= 2;
}

static bool may_take(const Fu *fu, const DhcNode *n) {
  if (n->op != DHC_OP_DOT_GENERAL || fu->chain_of[n->id] || n->results[0]->type.dtype != DHC_F32 || dhc_fu_is_short(fu, n)) return false;
  const DhcAttr *k = dhc_attr(n, "contract_a");
  return k->ints.n == 1 && k->ints.at[0] == last_dim(&n->args[0]->type) && !dhc_attr(n, "batch_a")->ints.n && few_rows(&n->args[0]->type) &&
         !dhc_fu_of(fu, n->results[0])->wide;
}

/* One statistic of a row of what is contracted. */
static bool folds_rows(const DhcNode *n, const DhcNode *dot) {
  unsigned dims = n->op == DHC_OP_REDUCE_SUM ? dhc_fu_reduced_dims(n) : 0;
  const DhcType *t = n->n_args ? &n->args[0]->type : NULL;
  if (!dims || t->dtype != DHC_F32 || !few_rows(t) || dims != 1u << last_dim(t)) return false;
  return t->dim[last_dim(t)] == contracted(dot);
}

enum { MOST = 24 /* nodes that are marked */, STEPS = 10 /* from a fold to what is contracted */ };

/* A node looked at in vain with as many steps left, for the same contraction, is not looked at again. */
static bool depends_on_fold(const Fu *fu, const DhcValue *v, const DhcNode *dot, int steps) {
  const DhcNode *n = v->def;
  int64_t *vain = &fu->in_vain[n->id], now = (int64_t)dot->id * (STEPS + 2) + steps + 1;
  if (*vain >= now && *vain <= (int64_t)dot->id * (STEPS + 2) + STEPS + 1) return false;
  DhcOpClass cls = dhc_op_info(n->op)->cls;
  if (folds_rows(n, dot)) return true;
  if (!steps || (cls != DHC_CLASS_ELEMENTWISE && cls != DHC_CLASS_VIEW)) return false;
  for (int i = 0; i < n->n_args; i++)
    if (depends_on_fold(fu, n->args[i], dot, steps - 1)) return true;
  *vain = now;
  return false;
}

/* An element of a row times itself, say: what a statistic folds, made of one value alone. */
static bool of_one_value(const DhcNode *n) {
  for (int i = 1; i < n->n_args; i++)
    if (n->args[i] != n->args[0]) return false;
  return n->n_args > 0 && dhc_fu_is_elementwise(n);
}

/* Nobody needs n's result but the contraction, those of its pair, and what it makes of its rows. */
static bool is_own(const Fu *fu, const DhcNode *n, const DhcNode *dot) {
  const DhcValue *v = n->results[0];
  if (fu->is_result[v->id] || dhc_fu_of(fu, v)->forced || dhc_fu_of(fu, v)->wide || fu->to_update[v->id]) return false;
  for (int u = 0; u < fu->n_use[v->id]; u++) {
    const DhcNode *by = fu->use[v->id][u];
    bool takes = by == dot || (v == dot->args[0] && by->op == dot->op && dhc_fu_are_pair(fu, dot, by));
    if (!takes && fu->norm_of[by->id] != dot) return false;
  }
  return true;
}

static bool belongs(const Fu *fu, const DhcNode *n, const DhcNode *dot) {
  if (n->n_results != 1 || !is_own(fu, n, dot)) return false;
  if (folds_rows(n, dot)) return true;
  if (n->results[0]->type.dtype != DHC_F32) return false;
  if (depends_on_fold(fu, n->results[0], dot, STEPS)) return dhc_fu_is_elementwise(n) || n->op == DHC_OP_BROADCAST || n->op == DHC_OP_RESHAPE;
  if (!of_one_value(n)) return false;
  for (int u = 0; u < fu->n_use[n->results[0]->id]; u++)
    if (!folds_rows(fu->use[n->results[0]->id][u], dot)) return false;
  return true;
}

/* Marks backwards from the contraction, users before what they use. */
static void mark(Fu *fu, const DhcNode *dot) {
  bool folds = false;
  const DhcNode *found[MOST];
  int n_found = 0, to = fu->place_of[dot->id];
  if (dhc_fu_of(fu, dot->args[0])->forced || !depends_on_fold(fu, dot->args[0], dot, STEPS)) return;
  for (int i = to; i-- > 0 && to - i <= 4 * MOST && n_found < MOST;) {
    const DhcNode *n = fu->nodes.at[i];
    if (n->op == DHC_OP_PARAM || fu->norm_of[n->id] || !belongs(fu, n, dot)) continue;
    fu->norm_of[n->id] = dot;
    found[n_found++] = n;
    folds = folds || folds_rows(n, dot);
  }
  if (folds && fu->norm_of[dot->args[0]->def->id] == dot) return;
  while (n_found > 0) fu->norm_of[found[--n_found]->id] = NULL;
}

void dhc_fu_find_norms(Fu *fu) {
  fu->norm_of = DHC_NEW_N(fu->scratch, const DhcNode *, fu->f->next_node_id + 1);
  if (!fu->px->norms) return;
  fu->in_vain = DHC_NEW_N(fu->scratch, int64_t, fu->f->next_node_id + 1);
  for (int i = 0; i < fu->nodes.n; i++)
    if (may_take(fu, fu->nodes.at[i])) mark(fu, fu->nodes.at[i]);
}

bool dhc_fu_takes_norm(const Fu *fu, const DhcNode *dot) { return fu->norm_of[dot->args[0]->def->id] != NULL; }

bool dhc_fu_reads_rows(const Fu *fu, const DhcNode *n, int k) {
  const DhcValue *v = n->args[k];
  const DhcNode *dot = fu->norm_of[n->id];
  DhcOpClass base = dhc_op_info(dhc_view_base(n->args[k])->def->op)->cls;
  if (fu->norm_of[v->def->id] || base == DHC_CLASS_CREATE) return false;
  for (int d = 0; d < v->type.rank; d++)
    if (v->type.dim[d] == contracted(dot) && !dhc_dim_is(v->type.dim[d], 1)) return dhc_type_equal(&v->type, &n->results[0]->type) || folds_rows(n, dot);
  return false;
}

void dhc_fu_join_norm(Fu *fu, DhcNode *n, int level) {
  if (dhc_fu_is_view(n)) dhc_fu_join_view(fu, n, level);
  else dhc_fu_join_lazy(fu, n, level);
}

int dhc_fu_emit_norm(FuKernel *k, DhcValue *v, const FuIx *ix) {
  const DhcNode *n = v->def;
  DhcValue *x = n->args[0];
  unsigned reduced = dhc_fu_reduced_dims(n);
  bool keep = v->type.rank == x->type.rank;
  uint32_t axes = dhc_fu_axis_bits(k, k->g->red0);
  FuIx in[DHC_MAX_RANK];
  for (int d = 0, at = 0; d < x->type.rank; d++) {
    bool red = reduced >> d & 1;
    in[d] = red ? dhc_fu_plain(dhc_fu_axis_form(k, k->g->red0)) : ix[at];
    for (int i = 0; i < in[d].f.n && !red; i++)
      if (axes >> in[d].f.axis[i] & 1) return dhc_fu_fail(k, v); /* a statistic of something else than rows */
    at += !red || keep;
  }
  return dhc_fu_emit_fold(k, n->op, v->type.dtype, dhc_fu_emit(k, x, in), -1, axes);
}
