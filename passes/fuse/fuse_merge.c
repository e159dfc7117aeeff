/* Kernels that become one: map kernels over one domain that share operands, and pieces of
 * several concats that share work. Two may merge unless one waits for the other through a
 * third. */
#include <string.h>

#include "passes/fuse/fuse_internal.h"

enum { MAX_OUTPUTS = 8 };

int dhc_fu_merged(const Fu *fu, int group) {
  while (fu->groups.at[group]->merged_into >= 0) group = fu->groups.at[group]->merged_into;
  return group;
}

/* ---- what groups wait for ------------------------------------------------------------- */

typedef struct Walk {
  Fu *fu;
  int group;
  int *value_stamp, *group_stamp, stamp; /* seen in this walk */
  FuNeeds *out;
} Walk;

static void need_group(Walk *w, int group) {
  group = dhc_fu_merged(w->fu, group);
  if (group == w->group || w->group_stamp[group] == w->stamp) return;
  w->group_stamp[group] = w->stamp;
  DHC_PUSH(w->fu->scratch, &w->out->groups, group);
}

static void need_args(Walk *w, const DhcNode *n);

/* A range of something flat, as all weights are: it stands for itself, as two ranges have nothing in common. */
static bool is_range(const DhcValue *v) {
  return v->def->op == DHC_OP_SLICE && v->type.rank == 1;
}

static void need_value(Walk *w, DhcValue *v) {
  const FuValue *x = dhc_fu_of(w->fu, v);
  if (w->value_stamp[v->id] == w->stamp) return;
  w->value_stamp[v->id] = w->stamp;
  bool other = x->where == FU_MEMBER && dhc_fu_merged(w->fu, x->group) != w->group;
  if (x->where == FU_MEMORY || other) {
    if (x->group >= 0) need_group(w, x->group);
    DHC_PUSH(w->fu->scratch, &w->out->loads, v->id);
    return;
  }
  if (!is_range(v)) {
    need_args(w, v->def);
    return;
  }
  const FuValue *whole = dhc_fu_of(w->fu, v->def->args[0]);
  DHC_PUSH(w->fu->scratch, &w->out->loads, v->id);
  if (whole->where == FU_MEMORY || whole->where == FU_MEMBER) {
    if (whole->group >= 0) need_group(w, whole->group);
  } else {
    need_args(w, v->def);
  }
}

static void need_args(Walk *w, const DhcNode *n) {
  for (int i = 0; i < n->n_args; i++) need_value(w, n->args[i]);
}

static void walk_group(Walk *w, int group) {
  const FuGroup *g = w->fu->groups.at[group];
  w->group = group;
  w->stamp++;
  for (int i = 0; i < g->copies.n; i++) need_value(w, g->copies.at[i].concat->args[g->copies.at[i].piece]);
  if (g->copy_view) need_value(w, g->copy_view);
  for (int i = 0; i < g->writers.n; i++) need_group(w, g->writers.at[i]);
  if (g->fixed && !g->writers.n) {
    for (int i = 0; i < g->fixed->n_args; i++) {
      const FuValue *x = dhc_fu_of(w->fu, g->fixed->args[i]);
      if (x->where == FU_VIEW && x->copy >= 0) need_group(w, x->copy);
      else need_value(w, g->fixed->args[i]);
    }
  }
  for (int m = 0; m < g->members.n; m++) need_args(w, g->members.at[m]->def);
}

FuNeeds *dhc_fu_needs(Fu *fu) {
  FuNeeds *all = DHC_NEW_N(fu->scratch, FuNeeds, fu->groups.n + 1);
  Walk w = {.fu = fu,
            .value_stamp = DHC_NEW_N(fu->scratch, int, fu->f->next_value_id + 1),
            .group_stamp = DHC_NEW_N(fu->scratch, int, fu->groups.n + 1)};
  for (int g = 0; g < fu->groups.n; g++) {
    w.out = &all[g];
    if (!fu->groups.at[g]->dead) walk_group(&w, g);
  }
  return all;
}

/* ---- merging ------------------------------------------------------------------------------ */

typedef struct Merge {
  Fu *fu;
  FuNeeds *needs;
  int *group_stamp, stamp;
  int *value_stamp, value_mark;
  int *rank; /* by value */
} Merge;

static Merge merge_start(Fu *fu) {
  Merge m = {.fu = fu,
             .needs = dhc_fu_needs(fu),
             .group_stamp = DHC_NEW_N(fu->scratch, int, fu->groups.n + 1),
             .value_stamp = DHC_NEW_N(fu->scratch, int, fu->f->next_value_id + 1),
             .rank = DHC_NEW_N(fu->scratch, int, fu->f->next_value_id + 1)};
  for (const DhcNode *n = fu->f->first; n; n = n->next)
    for (int i = 0; i < n->n_results; i++) m.rank[n->results[i]->id] = n->results[i]->type.rank;
  return m;
}

/* A walk through what `from` waits for comes upon `target`. */
static bool finds(Merge *m, int from, int target) {
  for (int i = 0; i < m->needs[from].groups.n; i++) {
    int g = dhc_fu_merged(m->fu, m->needs[from].groups.at[i]);
    if (g == target) return true;
    if (m->group_stamp[g] == m->stamp) continue;
    m->group_stamp[g] = m->stamp;
    if (finds(m, g, target)) return true;
  }
  return false;
}

/* `from` waits for `target`, not counting what it reads of it directly. */
static bool waits_through(Merge *m, int from, int target) {
  m->stamp++;
  m->group_stamp[from] = m->stamp;
  for (int i = 0; i < m->needs[from].groups.n; i++) {
    int g = dhc_fu_merged(m->fu, m->needs[from].groups.at[i]);
    if (g == target || g == from || m->group_stamp[g] == m->stamp) continue;
    m->group_stamp[g] = m->stamp;
    if (finds(m, g, target)) return true;
  }
  return false;
}

static bool reads_directly(const Merge *m, int from, int target) {
  for (int i = 0; i < m->needs[from].groups.n; i++)
    if (dhc_fu_merged(m->fu, m->needs[from].groups.at[i]) == target) return true;
  return false;
}

static bool same_domain(const FuGroup *a, const FuGroup *b) {
  if (a->rank != b->rank) return false;
  for (int d = 0; d < a->rank; d++)
    if (a->dim[d] != b->dim[d]) return false;
  return true;
}

static void unite(Merge *m, int into, int from) {
  FuGroup *a = m->fu->groups.at[into], *b = m->fu->groups.at[from];
  for (int i = 0; i < m->needs[from].groups.n; i++)
    DHC_PUSH(m->fu->scratch, &m->needs[into].groups, m->needs[from].groups.at[i]);
  for (int i = 0; i < m->needs[from].loads.n; i++)
    DHC_PUSH(m->fu->scratch, &m->needs[into].loads, m->needs[from].loads.at[i]);
  if (b->place > a->place) a->place = b->place;
  b->members.n = b->copies.n = 0;
  b->dead = true;
  b->merged_into = into;
}

/* ---- map kernels ----------------------------------------------------------------------------- */

static bool plain_map(const FuGroup *g) {
  return g->kind == DHC_KIND_MAP && !g->anchor && !g->fixed && !g->copies.n && !g->copy_view && !g->dead &&
         g->rank > 0;
}

static bool any_forced(const Fu *fu, const FuGroup *g) {
  for (int i = 0; i < g->members.n; i++)
    if (dhc_fu_of(fu, g->members.at[i])->forced) return true;
  return false;
}

/* A short fold reads what it folds at other places than the kernel's own. */
static bool any_folds(const Fu *fu, const FuGroup *g) {
  for (int i = 0; i < g->members.n; i++)
    if (dhc_fu_of(fu, g->members.at[i])->folds) return true;
  return false;
}

/* Members in the function's order. */
static void take_members(Fu *fu, int into, const FuGroup *b) {
  FuGroup *a = fu->groups.at[into];
  for (int i = 0; i < b->members.n; i++) {
    DHC_PUSH(fu->scratch, &a->members, b->members.at[i]);
    dhc_fu_of(fu, b->members.at[i])->group = into;
    for (int j = a->members.n - 1; j > 0; j--) {
      DhcValue *p = a->members.at[j - 1], *q = a->members.at[j];
      if (fu->place_of[p->def->id] <= fu->place_of[q->def->id]) break;
      a->members.at[j - 1] = q;
      a->members.at[j] = p;
    }
  }
}

/* Scalars do not count: nothing is saved by reading them once, and what has only a rate in common (the
 * optimiser's work on two tensors) would make kernels that depend on how many there are. */
static bool shares_load(const Merge *m, int j) {
  for (int i = 0; i < m->needs[j].loads.n; i++)
    if (m->value_stamp[m->needs[j].loads.at[i]] == m->value_mark) return true;
  return false;
}

static void mark_loads(Merge *m, int g) {
  for (int i = 0; i < m->needs[g].loads.n; i++) {
    int id = m->needs[g].loads.at[i];
    if (m->rank[id] > 0) m->value_stamp[id] = m->value_mark;
  }
}

/* What one reads of the other must be read where it is computed; if it is not, writing
 * finds out and forces the value, and forced values keep groups apart. */
void dhc_fu_merge_maps(Fu *fu) {
  Merge m = merge_start(fu);
  for (int i = 0; i < fu->groups.n; i++) {
    FuGroup *a = fu->groups.at[i];
    if (!plain_map(a) || any_forced(fu, a)) continue;
    m.value_mark++;
    mark_loads(&m, i);
    for (int j = i + 1; j < fu->groups.n && a->members.n < MAX_OUTPUTS; j++) {
      FuGroup *b = fu->groups.at[j];
      if (!plain_map(b) || !same_domain(a, b) || a->members.n + b->members.n > MAX_OUTPUTS || any_forced(fu, b)) continue;
      bool reads = reads_directly(&m, i, j) || reads_directly(&m, j, i);
      if (reads ? any_folds(fu, a) || any_folds(fu, b) : !shares_load(&m, j)) continue;
      if (waits_through(&m, i, j) || waits_through(&m, j, i)) continue;
      take_members(fu, i, b);
      unite(&m, i, j);
      mark_loads(&m, i);
    }
  }
}

/* ---- what a contraction's results load ----------------------------------------------------------- */

/* What the members load but for the contraction itself. */
static void mark_results_loads(Merge *m, Walk *w, int group) {
  const FuGroup *g = m->fu->groups.at[group];
  FuNeeds own = {0};
  w->out = &own;
  w->group = group;
  w->stamp++;
  for (int contracted = 1; contracted >= 0; contracted--) /* those count as seen */
    for (int i = 0; i < g->members.n; i++) {
      const DhcValue *v = g->members.at[i];
      if ((dhc_op_info(v->def->op)->cls == DHC_CLASS_CONTRACT) != contracted) continue;
      if (contracted) w->value_stamp[v->id] = w->stamp;
      else need_args(w, v->def);
    }
  for (int i = 0; i < own.loads.n; i++)
    if (m->rank[own.loads.at[i]] > 0) m->value_stamp[own.loads.at[i]] = m->value_mark;
}

/* Something of as many dims is loaded, and nothing that is not marked. */
static bool loads_marked(const Merge *m, int j) {
  bool any = false;
  for (int i = 0; i < m->needs[j].loads.n; i++) {
    int id = m->needs[j].loads.at[i];
    if (m->rank[id] > 0 && m->value_stamp[id] != m->value_mark) return false;
    any = any || m->rank[id] >= m->fu->groups.at[j]->rank;
  }
  return any;
}

void dhc_fu_merge_results(Fu *fu) {
  if (!fu->px->repeats) return;
  Merge m = merge_start(fu);
  Walk w = {.fu = fu,
            .value_stamp = DHC_NEW_N(fu->scratch, int, fu->f->next_value_id + 1),
            .group_stamp = DHC_NEW_N(fu->scratch, int, fu->groups.n + 1)};
  for (int i = 0; i < fu->groups.n; i++) {
    const FuGroup *a = fu->groups.at[i];
    if ((a->kind != DHC_KIND_DOT && a->kind != DHC_KIND_RAGGED) || a->dead || a->fixed || !a->anchor) continue;
    m.value_mark++;
    mark_results_loads(&m, &w, i);
    for (int j = 0; j < fu->groups.n && a->members.n < MAX_OUTPUTS; j++) {
      const FuGroup *b = fu->groups.at[j];
      if (!plain_map(b) || !same_domain(a, b) || a->members.n + b->members.n > MAX_OUTPUTS || any_forced(fu, b) || any_folds(fu, b)) continue;
      if (!loads_marked(&m, j) || reads_directly(&m, i, j) || reads_directly(&m, j, i)) continue;
      if (waits_through(&m, i, j) || waits_through(&m, j, i)) continue;
      take_members(fu, i, b);
      unite(&m, i, j);
    }
  }
}

/* ---- pieces of several concats ------------------------------------------------------------------ */

/* Values of some size that computing v reads or passes: marks them, or says if one is marked.
 * A slice stands for itself: two ranges of one flat tensor have nothing in common. */
static bool touch(Merge *m, DhcValue *v, bool marking) {
  const FuValue *x = dhc_fu_of(m->fu, v);
  bool slice = v->def->op == DHC_OP_SLICE;
  bool counts = (x->where != FU_VIEW || slice) && v->type.rank > 0 && dhc_op_info(v->def->op)->cls != DHC_CLASS_CREATE;
  if (counts && m->value_stamp[v->id] == m->value_mark) return true;
  if (counts && marking) m->value_stamp[v->id] = m->value_mark;
  if (x->where == FU_MEMORY || x->where == FU_MEMBER || x->depth > 64 || slice) return false;
  bool found = false;
  for (int i = 0; i < v->def->n_args; i++) found = touch(m, v->def->args[i], marking) || found;
  return found;
}

static bool other_concats(const FuGroup *a, const FuGroup *b) {
  for (int c = 0; c < a->copies.n; c++)
    for (int d = 0; d < b->copies.n; d++)
      if (a->copies.at[c].concat == b->copies.at[d].concat) return false;
  return true;
}

/* The new weights and moments of one range are written by one kernel. */
void dhc_fu_merge_copies(Fu *fu) {
  bool any = false;
  for (int i = 0; i < fu->groups.n; i++) any = any || fu->groups.at[i]->copies.n;
  if (!any) return;
  Merge m = merge_start(fu);
  for (int i = 0; i < fu->groups.n; i++) {
    FuGroup *a = fu->groups.at[i];
    if (!a->copies.n) continue;
    m.value_mark++;
    touch(&m, a->copies.at[0].concat->args[a->copies.at[0].piece], true);
    for (int j = i + 1; j < fu->groups.n && a->copies.n < MAX_OUTPUTS; j++) {
      FuGroup *b = fu->groups.at[j];
      if (b->copies.n != 1 || !same_domain(a, b) || !other_concats(a, b)) continue;
      DhcValue *v = b->copies.at[0].concat->args[b->copies.at[0].piece];
      if (!touch(&m, v, false) || waits_through(&m, i, j) || waits_through(&m, j, i)) continue;
      DHC_PUSH(fu->scratch, &a->copies, b->copies.at[0]);
      touch(&m, v, true);
      unite(&m, i, j);
    }
  }
}

/* ---- sums beside each other ---------------------------------------------------------------------- */

enum { MOST_OPS = 64 /* that are looked through: ways through x * x double with every op */ };

/* The one value that elementwise ops make v of, beside scalars; NULL: there are several, or it is not found within `left` ops. */
static const DhcValue *made_of(const DhcValue *v, int *left) {
  const DhcValue *of = NULL;
  if (!dhc_fu_is_elementwise(v->def)) return v;
  if ((*left)-- <= 0) return NULL;
  for (int i = 0; i < v->def->n_args; i++) {
    const DhcValue *x = v->def->args[i]->type.rank ? made_of(v->def->args[i], left) : of;
    if (!x || (of && x != of)) return NULL;
    of = x;
  }
  return of;
}

int dhc_fu_folds_beside(const Fu *fu, const DhcNode *n, int level, unsigned reduced) {
  int left = MOST_OPS;
  const DhcValue *of = made_of(n->args[0], &left);
  if (!of || !of->type.rank || dhc_fu_of(fu, n->results[0])->forced) return -1;
  for (int group = fu->groups.n; group-- > 0 && group > level;) {
    const FuGroup *g = fu->groups.at[group];
    if (g->kind != DHC_KIND_ROW || !g->anchor || g->anchor->op != DHC_OP_REDUCE_SUM || g->reduced != reduced) continue;
    left = MOST_OPS;
    if (dhc_fu_of(fu, g->anchor->results[0])->forced || made_of(g->anchor->args[0], &left) != of) continue;
    if (g->rank == n->args[0]->type.rank) return group;
  }
  return -1;
}
