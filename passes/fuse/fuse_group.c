/* Which op goes into which kernel.
 *
 * Forward: a contraction, convolution, window, recurrence or reduction opens a group; an
 * elementwise op joins the group that computes its last operand, if it reads members
 * only where they are computed; a reduction over the axes that its group reduces already
 * joins, too. A group's number grows with what it depends on, and an op joins a group only
 * if that is the highest number among its operands: so no two kernels wait for each other.
 * Backward: of what is left, each value is computed where it is needed, or, if it is
 * needed in several places and costs something, in a map kernel of its own; map kernels
 * over one domain that share operands become one. */
#include <string.h>

#include "passes/fuse/fuse_internal.h"

enum {
  MAX_DEPTH = 96 /* nodes on a way through a kernel: bounds recursion and spec size */
};

static DhcDims *dims(const Fu *fu) {
  return fu->m->dims;
}

static int axis_of(const DhcNode *n, int rank) {
  int a = (int)dhc_attr(n, "axis")->i;
  return a < 0 ? a + rank : a;
}

/* ---- what ops are -------------------------------------------------------------- */

bool dhc_fu_needs_memory(const Fu *fu, const DhcNode *n, int k) {
  if (fu->norm_of[n->id]) return dhc_fu_reads_rows(fu, n, k);
  if (n->op != DHC_OP_DOT_GENERAL) return dhc_fu_op(n->op)->in_memory >> (k < 31 ? k : 31) & 1; /* the last bit: all others */
  if (k == 0 && dhc_fu_takes_norm(fu, n)) return false;
  /* operands are packed as they are, but for a recurrence's own states */
  const FuValue *r = dhc_fu_of(fu, n->results[0]);
  return r->where != FU_MEMBER || fu->groups.at[r->group]->kind != DHC_KIND_SCAN;
}

/* ---- groups ----------------------------------------------------------------------- */

int dhc_fu_new_group(Fu *fu, DhcKind kind) {
  FuGroup *g = DHC_NEW(fu->scratch, FuGroup);
  g->kind = kind;
  g->merged_into = -1;
  DHC_PUSH(fu->scratch, &fu->groups, g);
  return fu->groups.n - 1;
}

static FuGroup *new_group(Fu *fu, DhcKind kind, int *number) {
  *number = dhc_fu_new_group(fu, kind);
  return fu->groups.at[*number];
}

static int add_axis(FuGroup *g, DhcAxisRole role, const DhcDim *extent, bool unrolled) {
  if (g->n_axes == FU_MAX_AXES) DHC_BUG("fuse: too many axes");
  g->axis[g->n_axes] = (FuAxis){role, extent, unrolled, g->n_axes};
  return g->n_axes++;
}

/* One axis a dim; those of extent 1 count nothing. */
void dhc_fu_set_domain(Fu *fu, FuGroup *g, int rank, const DhcDim *const *dim) {
  g->rank = rank;
  for (int d = 0; d < rank; d++) {
    g->dim[d] = dim[d];
    int a = add_axis(g, DHC_AXIS_PAR, dim[d], false);
    bool one = dhc_dim_is(dim[d], 1);
    g->full[d] = dhc_fu_plain(one ? dhc_fu_const(dims(fu), NULL) : dhc_fu_axis(dims(fu), a));
  }
}

void dhc_fu_add_member(Fu *fu, int group, DhcValue *v, const FuIx *ix) {
  FuGroup *g = fu->groups.at[group];
  FuValue *x = dhc_fu_of(fu, v);
  x->where = FU_MEMBER;
  x->group = group;
  x->level = group;
  x->ix = dhc_arena_dup(fu->scratch, ix, sizeof *ix * (size_t)(v->type.rank ? v->type.rank : 1));
  g->place = fu->place_of[v->def->id];
  DHC_PUSH(fu->scratch, &g->members, v);
}

/* Folding over everything leaves one task; no work beside the fold belongs there. */
static bool folds_all(const FuGroup *g) {
  for (int d = 0; d < g->rank; d++)
    if (!(g->reduced >> d & 1) && !dhc_dim_is(g->dim[d], 1)) return false;
  return g->reduced != 0;
}

/* Index of a value of type t that lies over the whole domain, or (ROW) over what is left
 * of it after folding. */
static bool identity(Fu *fu, const FuGroup *g, const DhcType *t, FuIx *ix) {
  if (t->rank == g->rank) {
    bool same = true;
    for (int d = 0; d < t->rank; d++) same = same && t->dim[d] == g->dim[d];
    if (same && !(folds_all(g) && t->rank > 0)) {
      memcpy(ix, g->full, sizeof *ix * DHC_MAX_RANK);
      return true;
    }
  }
  if (!g->reduced) return false;
  bool keep = t->rank == g->rank;
  int at = 0;
  for (int d = 0; d < g->rank; d++) {
    bool red = g->reduced >> d & 1;
    if (red && !keep) continue;
    if (at == t->rank) return false;
    if (red ? !dhc_dim_is(t->dim[at], 1) : t->dim[at] != g->dim[d]) return false;
    ix[at++] = red ? dhc_fu_plain(dhc_fu_const(dims(fu), NULL)) : g->full[d];
  }
  return at == t->rank;
}

static FuIndexCx index_cx(const Fu *fu, const FuGroup *g) {
  FuIndexCx cx = {.dims = dims(fu), .facts = &fu->f->facts, .axis = g->axis, .n_axes = g->n_axes};
  return cx;
}

/* Index of n's result found by walking an operand's reshapes and transposes backwards from
 * a member. */
static bool index_from_member(Fu *fu, int group, DhcValue *v, FuIx *ix) {
  DhcValue *chain[16];
  int n = 0;
  while (dhc_fu_is_view(v->def) && n < 16) chain[n++] = v, v = v->def->args[0];
  const FuValue *x = dhc_fu_of(fu, v);
  if (x->where != FU_MEMBER || x->group != group || x->forced) return false;
  memcpy(ix, x->ix, sizeof *ix * (size_t)v->type.rank);
  while (n-- > 0) {
    FuIx next[DHC_MAX_RANK];
    FuIndexCx cx = index_cx(fu, fu->groups.at[group]);
    if (dhc_fu_of(fu, chain[n])->forced || !dhc_fu_back(&cx, chain[n]->def, ix, next)) return false;
    memcpy(ix, next, sizeof next);
  }
  return true;
}

/* ix runs over all of v, as a member's index must. */
static bool covers(Fu *fu, int group, DhcValue *v, const FuIx *ix) {
  FuIx own[DHC_MAX_RANK + 1];
  if (identity(fu, fu->groups.at[group], &v->type, own) && dhc_fu_ix_equal(own, ix, v->type.rank)) return true;
  for (int i = 0; i < v->def->n_args; i++)
    if (index_from_member(fu, group, v->def->args[i], own) && dhc_fu_ix_equal(own, ix, v->type.rank)) return true;
  return false;
}

/* v at index ix reads members of the group only where they are computed. */
static bool reaches(Fu *fu, int group, DhcValue *v, const FuIx *ix) {
  const FuValue *x = dhc_fu_of(fu, v);
  const FuGroup *g = fu->groups.at[group];
  if (x->level < group) return true;
  if (x->level > group || x->forced) return false;
  FuIx in[DHC_MAX_RANK];
  switch (x->where) {
    case FU_MEMORY: return false;
    case FU_MEMBER: return dhc_fu_ix_equal(x->ix, ix, v->type.rank);
    case FU_VIEW: {
      FuIndexCx cx = index_cx(fu, g);
      return dhc_fu_through(&cx, v->def, ix, in) && reaches(fu, group, v->def->args[0], in);
    }
    case FU_LAZY:
      if (!dhc_fu_is_elementwise(v->def) || !covers(fu, group, v, ix)) return false;
      for (int i = 0; i < v->def->n_args; i++)
        if (!reaches(fu, group, v->def->args[i], ix)) return false;
      return true;
  }
  return false;
}

/* Lazy values between v and members become members, too: were they computed in a kernel of
 * their own, that and this group would wait for each other. */
static void adopt(Fu *fu, int group, DhcValue *v, const FuIx *ix) {
  const FuValue *x = dhc_fu_of(fu, v);
  if (x->level < group || x->where == FU_MEMBER) return;
  FuIx in[DHC_MAX_RANK + 1] = {{.div = 1}};
  if (x->where == FU_VIEW) {
    FuIndexCx cx = index_cx(fu, fu->groups.at[group]);
    if (dhc_fu_through(&cx, v->def, ix, in)) adopt(fu, group, v->def->args[0], in);
    return;
  }
  for (int i = 0; i < v->def->n_args; i++) adopt(fu, group, v->def->args[i], ix);
  memcpy(in, ix, sizeof *ix * (size_t)v->type.rank);
  dhc_fu_add_member(fu, group, v, in);
}

static int operands_level(const Fu *fu, const DhcNode *n) {
  int level = -1;
  for (int i = 0; i < n->n_args; i++) {
    int l = dhc_fu_of(fu, n->args[i])->level;
    if (l > level) level = l;
  }
  return level;
}

/* ---- joining ------------------------------------------------------------------------- */

static bool join_elementwise(Fu *fu, DhcNode *n, int level) {
  if (level < 0) return false;
  const FuGroup *g = fu->groups.at[level];
  if (g->fixed || g->copies.n || g->copy_view || (g->anchor && dhc_op_info(g->anchor->op)->cls == DHC_CLASS_MOVE)) return false;
  if (g->anchor && g->anchor->op == DHC_OP_WINDOW_SCATTER) return false;
  if (dhc_fu_left_to_folds(fu, g, n)) return false;
  DhcValue *v = n->results[0];
  FuIx ix[DHC_MAX_RANK + 1];
  if (fu->to_update[v->id] && v->type.rank > 0 && !dhc_fu_updates(fu, g, v)) return false;
  bool found = identity(fu, g, &v->type, ix);
  if (found)
    for (int i = 0; i < n->n_args && found; i++) found = reaches(fu, level, n->args[i], ix);
  for (int k = n->n_args; k-- > 0 && !found;) {
    found = index_from_member(fu, level, n->args[k], ix);
    for (int i = 0; i < n->n_args && found; i++) found = reaches(fu, level, n->args[i], ix);
  }
  if (!found || dhc_fu_is_turned(fu, g, v, ix)) return false;
  for (int i = 0; i < n->n_args; i++) adopt(fu, level, n->args[i], ix);
  dhc_fu_add_member(fu, level, v, ix);
  return true;
}

void dhc_fu_kept_index(Fu *fu, const FuGroup *g, const DhcType *t, FuIx *ix) {
  bool keep = t->rank == g->rank;
  int at = 0;
  for (int d = 0; d < g->rank; d++) {
    if (!(g->reduced >> d & 1)) ix[at++] = g->full[d];
    else if (keep) ix[at++] = dhc_fu_plain(dhc_fu_const(dims(fu), NULL));
  }
}

/* A short fold has no kernel of its own, unless others than kernels of elements go on from it. */
static void join_short(Fu *fu, DhcNode *n, int level) {
  DhcValue *v = n->results[0];
  int group;
  dhc_fu_join_lazy(fu, n, level);
  dhc_fu_of(fu, v)->inner = true;
  if (dhc_fu_goes_to_elements(fu, v)) return;
  FuGroup *g = new_group(fu, DHC_KIND_MAP, &group);
  dhc_fu_set_domain(fu, g, v->type.rank, v->type.dim);
  dhc_fu_add_member(fu, group, v, g->full);
  dhc_fu_of(fu, v)->folds = true;
}

void dhc_fu_join_reduce(Fu *fu, DhcNode *n, int level) {
  DhcValue *x = n->args[0], *v = n->results[0];
  unsigned reduced = dhc_fu_reduced_dims(n);
  FuIx ix[DHC_MAX_RANK + 1];
  int group = level;
  const FuGroup *g = level >= 0 ? fu->groups.at[level] : NULL;
  bool states = g && !g->fixed && dhc_fu_contracts_states(g, n, reduced);
  if (!states && dhc_fu_is_short(fu, n)) {
    join_short(fu, n, level);
    return;
  }
  bool join = g && !g->fixed && ((g->kind == DHC_KIND_ROW && g->reduced == reduced) || states) && g->rank == x->type.rank &&
              reaches(fu, level, x, g->full);
  for (int d = 0; join && d < x->type.rank; d++) join = g->dim[d] == x->type.dim[d];
  const int beside = join || n->op != DHC_OP_REDUCE_SUM ? -1 : dhc_fu_folds_beside(fu, n, level, reduced);
  if (beside >= 0) {
    group = beside;
  } else if (join) {
    adopt(fu, level, x, g->full);
    if (states) dhc_fu_take_states(fu->groups.at[group], reduced);
  } else {
    FuGroup *fresh = new_group(fu, DHC_KIND_ROW, &group);
    fresh->anchor = n;
    dhc_fu_set_domain(fu, fresh, x->type.rank, x->type.dim);
    fresh->reduced = reduced;
    for (int d = 0; d < fresh->rank; d++)
      if (reduced >> d & 1) fresh->axis[d].role = DHC_AXIS_RED;
  }
  dhc_fu_kept_index(fu, fu->groups.at[group], &v->type, ix);
  dhc_fu_add_member(fu, group, v, ix);
}

/* A dot of states with something else over one axis of them joins the recurrence. */
static bool join_dot(Fu *fu, DhcNode *n, int level) {
  if (level < 0) return false;
  const FuGroup *g = fu->groups.at[level];
  const DhcAttr *batch[2] = {dhc_attr(n, "batch_a"), dhc_attr(n, "batch_b")};
  const DhcAttr *contract[2] = {dhc_attr(n, "contract_a"), dhc_attr(n, "contract_b")};
  int n_batch = batch[0]->ints.n;
  for (int s = 0; s < 2 && g->kind == DHC_KIND_SCAN && contract[0]->ints.n == 1; s++) {
    const DhcType *t = &n->args[s]->type;
    int d = (int)contract[s]->ints.at[0], at = n_batch;
    FuIx ix[DHC_MAX_RANK + 1], other[DHC_MAX_RANK];
    if (n->args[1 - s]->type.rank != n_batch + 1 || t->rank != g->rank || !dhc_fu_takes_states(g, 1u << d)) continue;
    bool same = true, used[DHC_MAX_RANK] = {false};
    for (int i = 0; i < t->rank; i++) same = same && t->dim[i] == g->dim[i];
    used[d] = true;
    other[contract[1 - s]->ints.at[0]] = g->full[d];
    for (int i = 0; i < n_batch; i++) {
      used[batch[s]->ints.at[i]] = true;
      other[batch[1 - s]->ints.at[i]] = ix[i] = g->full[batch[s]->ints.at[i]];
    }
    for (int i = 0; i < t->rank; i++)
      if (!used[i]) ix[at++] = g->full[i];
    if (!same || !reaches(fu, level, n->args[s], g->full) || !reaches(fu, level, n->args[1 - s], other)) continue;
    adopt(fu, level, n->args[s], g->full);
    adopt(fu, level, n->args[1 - s], other);
    dhc_fu_take_states(fu->groups.at[level], 1u << d);
    dhc_fu_add_member(fu, level, n->results[0], ix);
    return true;
  }
  return false;
}

/* A contraction joins the one it meets. Forced values keep groups apart. */
static bool join_pair(Fu *fu, DhcNode *n, int level) {
  for (int group = fu->groups.n; group-- > 0 && group > level;) {
    FuGroup *g = fu->groups.at[group];
    if ((g->kind != DHC_KIND_DOT && g->kind != DHC_KIND_RAGGED) || !g->anchor || g->paired || !dhc_fu_are_pair(fu, g->anchor, n)) continue;
    if (dhc_fu_of(fu, n->results[0])->forced || dhc_fu_of(fu, g->anchor->results[0])->forced) continue;
    g->paired = true;
    dhc_fu_add_member(fu, group, n->results[0], g->full);
    return true;
  }
  return false;
}

void dhc_fu_join_dot(Fu *fu, DhcNode *n, int level) {
  if (join_dot(fu, n, level)) return;
  if (dhc_fu_is_short(fu, n)) {
    join_short(fu, n, level);
    return;
  }
  if (join_pair(fu, n, level)) return;
  int group;
  FuGroup *g = new_group(fu, DHC_KIND_DOT, &group);
  const DhcAttr *contract = dhc_attr(n, "contract_a");
  g->anchor = n;
  dhc_fu_set_domain(fu, g, n->results[0]->type.rank, n->results[0]->type.dim);
  g->red0 = g->n_axes;
  g->n_red = contract->ints.n;
  for (int i = 0; i < g->n_red; i++)
    add_axis(g, DHC_AXIS_RED, n->args[0]->type.dim[contract->ints.at[i]], false);
  dhc_fu_add_member(fu, group, n->results[0], g->full);
}

/* Reduced: (range, contracted) or, for the weights' gradient, rows. */
void dhc_fu_join_ragged(Fu *fu, DhcNode *n, int level) {
  if (join_pair(fu, n, level)) return;
  int group;
  FuGroup *g = new_group(fu, DHC_KIND_RAGGED, &group);
  const DhcType *a = &n->args[0]->type, *w = &n->args[1]->type;
  bool dw = n->op == DHC_OP_RAGGED_DOT_DW;
  g->anchor = n;
  dhc_fu_set_domain(fu, g, n->results[0]->type.rank, n->results[0]->type.dim);
  g->red0 = g->n_axes;
  g->n_red = dw ? 1 : 2;
  add_axis(g, DHC_AXIS_RED, dw ? a->dim[0] : w->dim[0], false);
  if (!dw) add_axis(g, DHC_AXIS_RED, w->dim[1], false);
  dhc_fu_add_member(fu, group, n->results[0], g->full);
}

/* Cuts the channel dim d of a domain into groups and channels within one. */
static void cut_channels(Fu *fu, FuGroup *g, int d, int64_t groups) {
  int64_t all = 0;
  if (groups == 1 || !dhc_dim_is_const(g->dim[d], &all)) return;
  g->axis[d].extent = dhc_dim_const(dims(fu), groups);
  FuForm f = dhc_fu_axis(dims(fu), d);
  f = dhc_fu_scale(dims(fu), &f, dhc_dim_const(dims(fu), all / groups));
  if (all > groups) {
    int a = add_axis(g, DHC_AXIS_PAR, dhc_dim_const(dims(fu), all / groups), false);
    for (int i = 0; i < a; i++) g->axis[i].place *= 2;
    g->axis[a].place = g->axis[d].place + 1;
    FuForm in = dhc_fu_axis(dims(fu), a);
    f = dhc_fu_add(dims(fu), &f, &in);
  }
  g->full[d] = dhc_fu_plain(f);
}

void dhc_fu_join_conv(Fu *fu, DhcNode *n, int level) {
  (void)level;
  int group;
  bool dw = n->op == DHC_OP_CONV_DW;
  bool tiled = fu->px->tiles && dhc_conv_is_tiled(n);
  FuGroup *g = new_group(fu, dw ? DHC_KIND_CONV_DW : tiled ? DHC_KIND_WINOGRAD : DHC_KIND_CONV, &group);
  const DhcType *y = &n->results[0]->type, *a = &n->args[0]->type, *b = &n->args[1]->type;
  int64_t groups = dhc_attr(n, "groups")->i, o_all = 0;
  g->anchor = n;
  dhc_fu_set_domain(fu, g, y->rank, y->dim);
  cut_channels(fu, g, dw ? 0 : 1, groups);
  if (dw)
    for (int d = 2; d < y->rank; d++) g->axis[d].unrolled = dhc_dim_is_const(y->dim[d], &o_all);
  g->red0 = g->n_axes;
  g->n_red = 1 + y->rank - 2;
  const DhcDim *first = dw ? a->dim[0] : b->dim[1];
  if (n->op == DHC_OP_CONV_DX)
    first = dhc_dim_is_const(b->dim[0], &o_all) ? dhc_dim_const(dims(fu), o_all / groups) : b->dim[0];
  add_axis(g, DHC_AXIS_RED, first, false);
  for (int d = 2; d < y->rank; d++) add_axis(g, DHC_AXIS_RED, b->dim[d], !dw && dhc_dim_is_const(b->dim[d], &o_all));
  for (int i = 0; i < g->n_red; i++) g->axis[g->red0 + i].place += 1000;
  dhc_fu_add_member(fu, group, n->results[0], g->full);
}

/* All uses of the group's members lie in the group or are n. */
static bool closed(const Fu *fu, int group, const DhcNode *n) {
  const FuGroup *g = fu->groups.at[group];
  for (int i = 0; i < g->members.n; i++) {
    const DhcValue *v = g->members.at[i];
    if (fu->is_result[v->id]) return false;
    for (int u = 0; u < fu->n_use[v->id]; u++) {
      const DhcNode *c = fu->use[v->id][u];
      if (c != n && (c->n_results != 1 || dhc_fu_of(fu, c->results[0])->group != group)) return false;
    }
  }
  return true;
}

/* A maximum over windows that cut a convolution's plane joins it: nobody else sees the
 * plane. Its axes become (window, place in it). */
static bool join_window(Fu *fu, DhcNode *n) {
  const DhcAttr *window = dhc_attr(n, "window"), *stride = dhc_attr(n, "stride");
  const FuValue *x = dhc_fu_of(fu, n->args[0]);
  if (x->where != FU_MEMBER || x->forced) return false;
  FuGroup *g = fu->groups.at[x->group];
  int n_w = window->ints.n, rank = n->args[0]->type.rank;
  if (!dhc_kind_is_conv(g->kind) || g->pooled || rank != g->rank) return false;
  if (!dhc_fu_ix_equal(x->ix, g->full, rank) || !closed(fu, x->group, n)) return false;
  for (int s = 0; s < n_w; s++)
    if (window->ints.at[s] != stride->ints.at[s] || rank - n_w < 2) return false;
  for (int s = 0; s < n_w; s++) {
    int d = rank - n_w + s, w = add_axis(g, DHC_AXIS_RED, dhc_dim_const(dims(fu), window->ints.at[s]), true);
    g->axis[w].place = 500 + s; /* before the contraction */
    FuForm p = dhc_fu_axis(dims(fu), d), in = dhc_fu_axis(dims(fu), w);
    p = dhc_fu_scale(dims(fu), &p, dhc_dim_const(dims(fu), window->ints.at[s]));
    p = dhc_fu_add(dims(fu), &p, &in);
    for (int i = 0; i < g->members.n; i++) {
      FuIx *ix = dhc_fu_of(fu, g->members.at[i])->ix;
      for (int e = 0; e < g->members.at[i]->type.rank; e++) ix[e].f = dhc_fu_subst(dims(fu), &ix[e].f, d, &p);
    }
    g->dim[d] = g->axis[d].extent = n->results[0]->type.dim[d];
    bool one = dhc_dim_is(g->dim[d], 1);
    g->full[d] = dhc_fu_plain(one ? dhc_fu_const(dims(fu), NULL) : dhc_fu_axis(dims(fu), d));
  }
  g->n_red += n_w;
  g->pooled = true;
  for (int r = 0; r < 2; r++) dhc_fu_add_member(fu, x->group, n->results[r], g->full);
  return true;
}

void dhc_fu_join_window(Fu *fu, DhcNode *n, int level) {
  (void)level;
  if (join_window(fu, n)) return;
  const DhcAttr *window = dhc_attr(n, "window");
  int group;
  FuGroup *g = new_group(fu, DHC_KIND_ROW, &group);
  g->anchor = n;
  dhc_fu_set_domain(fu, g, n->results[0]->type.rank, n->results[0]->type.dim);
  g->red0 = g->n_axes;
  g->n_red = window->ints.n;
  for (int s = 0; s < g->n_red; s++) add_axis(g, DHC_AXIS_RED, dhc_dim_const(dims(fu), window->ints.at[s]), true);
  for (int r = 0; r < 2; r++) dhc_fu_add_member(fu, group, n->results[r], g->full);
}

void dhc_fu_join_window_scatter(Fu *fu, DhcNode *n, int level) {
  (void)level;
  const DhcAttr *window = dhc_attr(n, "window"), *stride = dhc_attr(n, "stride");
  DhcValue *v = n->results[0];
  int n_w = window->ints.n, rank = v->type.rank, group;
  bool apart = true;
  for (int s = 0; s < n_w; s++) apart = apart && stride->ints.at[s] == window->ints.at[s];
  FuGroup *g = new_group(fu, apart ? DHC_KIND_MAP : DHC_KIND_ROW, &group);
  g->anchor = n;
  dhc_fu_set_domain(fu, g, rank, apart ? n->args[0]->type.dim : v->type.dim);
  g->red0 = g->n_axes;
  g->n_red = n_w;
  FuIx ix[DHC_MAX_RANK + 1];
  memcpy(ix, g->full, sizeof g->full);
  for (int s = 0; s < n_w; s++) {
    int d = rank - n_w + s;
    int w = add_axis(g, apart ? DHC_AXIS_PAR : DHC_AXIS_RED, dhc_dim_const(dims(fu), window->ints.at[s]), true);
    if (!apart) continue;
    FuForm in = dhc_fu_axis(dims(fu), w);
    if (window->ints.at[s] == 1) in = dhc_fu_const(dims(fu), NULL);
    ix[d].f = dhc_fu_scale(dims(fu), &g->full[d].f, dhc_dim_const(dims(fu), window->ints.at[s]));
    ix[d].f = dhc_fu_add(dims(fu), &ix[d].f, &in);
    /* a row of the result is walked window by window, place by place */
    for (int a = 0; a < g->n_axes; a++) g->axis[a].place = a == w ? 2 * d + 1 : a < rank ? 2 * a : g->axis[a].place;
  }
  dhc_fu_add_member(fu, group, v, ix);
}

/* One step, which simplify may not have been asked to write as such, is no recurrence. */
static bool is_one_step(const DhcNode *n) {
  const DhcType *t = &n->results[0]->type;
  return dhc_dim_is(t->dim[axis_of(n, t->rank)], 1);
}

void dhc_fu_join_linear_scan(Fu *fu, DhcNode *n, int level) {
  (void)level;
  int group;
  DhcValue *v = n->results[0];
  bool one = is_one_step(n);
  FuGroup *g = new_group(fu, one ? DHC_KIND_MAP : DHC_KIND_SCAN, &group);
  dhc_fu_set_domain(fu, g, v->type.rank, v->type.dim);
  if (!one) {
    g->anchor = n;
    g->axis[axis_of(n, v->type.rank)].role = DHC_AXIS_SEQ;
  }
  dhc_fu_add_member(fu, group, v, g->full);
}

/* dynamic_update, scatter_add, put_along: the domain is what is written. */
void dhc_fu_join_write(Fu *fu, DhcNode *n, int level) {
  (void)level;
  int group;
  DhcValue *u = n->args[n->op == DHC_OP_SCATTER_ADD ? 2 : n->op == DHC_OP_PUT_ALONG ? 0 : 1];
  bool stores = n->op == DHC_OP_DYNAMIC_UPDATE || (n->op == DHC_OP_PUT_ALONG && fu->px->repeats && dhc_attr(n, "whole")->b); /* else adds up */
  FuGroup *g = new_group(fu, stores ? DHC_KIND_MAP : DHC_KIND_SCATTER, &group);
  g->anchor = n;
  dhc_fu_set_domain(fu, g, u->type.rank, u->type.dim);
  if (g->kind == DHC_KIND_SCATTER) {
    int axis = axis_of(n, n->results[0]->type.rank);
    int r = n->op == DHC_OP_SCATTER_ADD ? n->args[1]->type.rank : 1;
    for (int d = axis; d < axis + r; d++) g->axis[d].role = DHC_AXIS_RED;
  }
  FuIx none[DHC_MAX_RANK + 1] = {{.div = 1}};
  for (int d = 0; d < n->results[0]->type.rank; d++) none[d] = dhc_fu_plain(dhc_fu_const(dims(fu), NULL));
  dhc_fu_add_member(fu, group, n->results[0], none);
  dhc_fu_of(fu, n->results[0])->forced = true; /* nothing joins a partial write */
}

static void add_fixed(Fu *fu, DhcNode *n) {
  int group;
  FuGroup *g = new_group(fu, DHC_KIND_MAP, &group);
  g->fixed = n;
  g->place = fu->place_of[n->id];
  for (int r = 0; r < n->n_results; r++) {
    FuValue *x = dhc_fu_of(fu, n->results[r]);
    x->where = FU_MEMORY;
    x->group = x->level = group;
  }
}

/* ---- concat ---------------------------------------------------------------------------- */

/* The member that is operand k of concat n and nothing else, behind reshapes and
 * transposes that can be undone. */
static DhcValue *direct_piece(Fu *fu, const DhcNode *n, int k) {
  DhcValue *v = n->args[k];
  FuIx ix[DHC_MAX_RANK], next[DHC_MAX_RANK];
  DhcValue *chain[32];
  int m = 0;
  for (;; v = v->def->args[0]) {
    if (fu->n_use[v->id] != 1 || fu->is_result[v->id] || dhc_fu_of(fu, v)->forced || m == 32) return NULL;
    if (v->def->op != DHC_OP_RESHAPE && v->def->op != DHC_OP_TRANSPOSE) break;
    chain[m++] = v;
  }
  FuValue *x = dhc_fu_of(fu, v);
  if (x->where != FU_MEMBER || x->piece_of) return NULL;
  const FuGroup *g = fu->groups.at[x->group];
  if (g->anchor && dhc_op_info(g->anchor->op)->cls == DHC_CLASS_MOVE) return NULL;
  if (g->anchor && g->anchor->op == DHC_OP_WINDOW_SCATTER) return NULL; /* leaves gaps */
  memcpy(ix, x->ix, sizeof *ix * (size_t)v->type.rank);
  while (m-- > 0) {
    FuIndexCx cx = index_cx(fu, g);
    if (!dhc_fu_back(&cx, chain[m]->def, ix, next)) {
      if (cx.miss.axis < 0) return NULL;
      break; /* the axis will be split */
    }
    memcpy(ix, next, sizeof ix);
  }
  return v;
}

/* Whether scans stack all of concat n's operands, for it alone: planning has them stack where it lies. */
static bool joins_stacks(const Fu *fu, const DhcNode *n) {
  for (int k = 0; k < n->n_args; k++) {
    const DhcValue *v = n->args[k];
    while (fu->n_use[v->id] == 1 && !fu->is_result[v->id] && v->def->op == DHC_OP_RESHAPE) v = v->def->args[0];
    if (fu->n_use[v->id] != 1 || fu->is_result[v->id] || v->def->op != DHC_OP_SCAN) return false;
  }
  return true;
}

void dhc_fu_join_concat(Fu *fu, DhcNode *n, int level) {
  (void)level;
  if (joins_stacks(fu, n)) {
    add_fixed(fu, n);
    return;
  }
  FuGroup *whole = DHC_NEW(fu->scratch, FuGroup);
  for (int k = 0; k < n->n_args; k++) {
    DhcValue *v = direct_piece(fu, n, k);
    if (v) {
      dhc_fu_of(fu, v)->piece_of = n;
      dhc_fu_of(fu, v)->piece = k;
      dhc_fu_of(fu, v)->stored = true;
      DHC_PUSH(fu->scratch, &whole->writers, dhc_fu_of(fu, v)->group);
      continue;
    }
    int group;
    FuGroup *g = new_group(fu, DHC_KIND_MAP, &group);
    FuCopy copy = {n, k};
    DHC_PUSH(fu->scratch, &g->copies, copy);
    dhc_fu_set_domain(fu, g, n->args[k]->type.rank, n->args[k]->type.dim);
    g->place = fu->place_of[n->id];
    DHC_PUSH(fu->scratch, &whole->writers, group);
  }
  int group = fu->groups.n;
  DHC_PUSH(fu->scratch, &fu->groups, whole);
  whole->kind = DHC_KIND_MAP;
  whole->merged_into = -1;
  whole->fixed = n;
  whole->place = fu->place_of[n->id];
  FuValue *x = dhc_fu_of(fu, n->results[0]);
  x->where = FU_MEMORY;
  x->group = x->level = group;
}

/* ---- forward ----------------------------------------------------------------------------- */

/* A long chain is cut: the value at its end goes to memory. */
static void count_depth(Fu *fu, const DhcNode *n) {
  int depth = 0;
  for (int i = 0; i < n->n_args; i++) {
    const FuValue *x = dhc_fu_of(fu, n->args[i]);
    bool in_memory = x->forced || x->where == FU_MEMORY || (!x->wide && dhc_fu_needs_memory(fu, n, i));
    if (!in_memory && x->depth > depth) depth = x->depth;
  }
  for (int r = 0; r < n->n_results; r++) {
    FuValue *x = dhc_fu_of(fu, n->results[r]);
    x->depth = depth + 1;
    if (x->depth >= MAX_DEPTH && !x->wide) x->forced = true;
  }
}

/* The slice of a recurrence's last state is written by its kernel, behind the steps. */
static bool join_last(Fu *fu, DhcNode *n) {
  if (n->op != DHC_OP_SLICE || n->args[0]->def->op != DHC_OP_LINEAR_SCAN || is_one_step(n->args[0]->def)) return false;
  DhcValue *h = n->args[0], *v = n->results[0];
  const FuValue *x = dhc_fu_of(fu, h);
  if (x->where != FU_MEMBER || x->forced || dhc_fu_of(fu, v)->forced || !dhc_fu_is_last(n)) return false;
  FuIx ix[DHC_MAX_RANK + 1];
  memcpy(ix, x->ix, sizeof *ix * (size_t)h->type.rank);
  ix[axis_of(h->def, h->type.rank)] = dhc_fu_plain(dhc_fu_const(dims(fu), NULL));
  dhc_fu_add_member(fu, x->group, v, ix);
  dhc_fu_of(fu, v)->forced = true; /* nothing joins what is there after the last step only */
  return true;
}

void dhc_fu_join_view(Fu *fu, DhcNode *n, int level) {
  FuValue *x = dhc_fu_of(fu, n->results[0]);
  x->where = FU_VIEW;
  x->level = level;
}

void dhc_fu_join_lazy(Fu *fu, DhcNode *n, int level) {
  dhc_fu_of(fu, n->results[0])->level = level;
}

void dhc_fu_join_elementwise(Fu *fu, DhcNode *n, int level) {
  dhc_fu_join_lazy(fu, n, level);
  join_elementwise(fu, n, level);
}

static void forward(Fu *fu, DhcNode *n) {
  FuValue *x = n->n_results ? dhc_fu_of(fu, n->results[0]) : NULL;
  int level = operands_level(fu, n);
  if (n->op == DHC_OP_PARAM) {
    x->where = FU_MEMORY;
    return;
  }
  if (fu->norm_of[n->id]) {
    dhc_fu_join_norm(fu, n, level);
    return;
  }
  if (join_last(fu, n)) return;
  if (dhc_fu_is_view(n)) {
    dhc_fu_join_view(fu, n, level);
    return;
  }
  if (fu->chain_of[n->id]) {
    dhc_fu_add_chain(fu, n, level);
    return;
  }
  if (x && x->wide) { /* joins nobody but its own chain */
    x->level = level;
    if (dhc_fu_is_elementwise(n) && level >= 0 && fu->groups.at[level]->chain == x->wide) join_elementwise(fu, n, level);
    return;
  }
  const FuOp *op = dhc_fu_op(n->op);
  if (op->join) op->join(fu, n, level);
  else add_fixed(fu, n);
}

void dhc_fu_group(Fu *fu) {
  for (int i = 0; i < fu->nodes.n; i++) {
    count_depth(fu, fu->nodes.at[i]);
    forward(fu, fu->nodes.at[i]);
    dhc_fu_note_folds(fu, fu->nodes.at[i]);
  }
  dhc_fu_merge_copies(fu);
  for (int i = fu->nodes.n; i-- > 0;) {
    const DhcNode *n = fu->nodes.at[i];
    for (int r = n->n_results; r-- > 0;) dhc_fu_place(fu, n->results[r]);
  }
  dhc_fu_merge_maps(fu);
  dhc_fu_merge_results(fu);
  dhc_fu_swap_states(fu);
}
