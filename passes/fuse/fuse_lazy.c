/* Where the values live that no anchor's kernel computes: from last to first, each is
 * computed again by every kernel that needs it, or kept in memory by a map kernel. */
#include "passes/fuse/fuse_internal.h"

enum {
  COSTLY = 8,       /* work that is not repeated under a broadcast, */
  COSTLY_FOLD = 64, /* nor a short fold's */
  MUCH = 1 << 14,   /* what is not worth counting on */
  FEW_TIMES = 16,   /* a known broadcast by up to this is none, where computing anew is cheap */
  CHEAP_SCALAR = 32 /* work of a single element */
};

/* Up to where a value is computed again by each that needs it: work, and memory operands. */
typedef struct Again {
  int work, loads;
} Again;
static const Again by_memory = {6, 2}, by_kernels = {48, 5};

typedef struct Cost {
  int work, loads, steps;
  bool all; /* nothing but what is in memory already is loaded */
} Cost;

static void cost(const Fu *fu, DhcValue *v, Cost *c);

static bool is_much(const Fu *fu, const Cost *c) {
  const Again *most = fu->px->repeats ? &by_kernels : &by_memory;
  return c->loads > most->loads || c->work > (c->loads ? most->work : 2 * CHEAP_SCALAR);
}

/* Will an operand of what is to be computed again by several be in memory, whatever becomes of that? In derivatives, also as it has another
 * use and is too much to be computed again itself. */
static bool will_be_kept(const Fu *fu, DhcValue *v) {
  Cost own = {.all = true};
  if (dhc_fu_in_memory_anyway(fu, v)) return true;
  if (fu->px->folds_again || fu->n_use[v->id] < 2 || v->type.rank == 0) return false;
  cost(fu, v, &own);
  return is_much(fu, &own);
}

/* Of computing v anew; counts shared parts each time. */
static void cost(const Fu *fu, DhcValue *v, Cost *c) {
  v = dhc_view_base(v);
  if (++c->steps > 64) {
    c->work = MUCH;
    return;
  }
  if (dhc_fu_of(fu, v)->where != FU_LAZY || (fu->px->repeats && c->steps > 1 && !c->all && will_be_kept(fu, v))) {
    c->loads += v->type.rank > 0;
    return;
  }
  if (dhc_fu_of(fu, v)->inner) {
    Cost each = {.steps = c->steps, .all = c->all};
    for (int i = 0; i < v->def->n_args; i++) cost(fu, v->def->args[i], &each);
    int64_t work = dhc_fu_short_extent(v->def) * (each.work + 1) + c->work;
    c->work = work < MUCH ? (int)work : MUCH;
    c->loads += each.loads;
    c->steps = each.steps;
    return;
  }
  c->work += dhc_op_work(v->def->op);
  for (int i = 0; i < v->def->n_args && c->work < MUCH; i++) cost(fu, v->def->args[i], c);
}

static void add_sink(FuValue *x, int group) {
  for (int i = 0; i < x->n_sinks && i < FU_MAX_SINKS; i++)
    if (x->sink[i] == group) return;
  if (x->n_sinks < FU_MAX_SINKS) x->sink[x->n_sinks] = group;
  x->n_sinks++;
}

static void add_sinks(FuValue *x, const FuValue *from) {
  for (int i = 0; i < from->n_sinks && i < FU_MAX_SINKS; i++) add_sink(x, from->sink[i]);
  if (from->n_sinks > FU_MAX_SINKS) x->n_sinks = FU_MAX_SINKS + 1;
}

/* Does the broadcast make much of little? */
static bool stretches(const Fu *fu, const DhcNode *n) {
  const DhcType *from = &n->args[0]->type, *to = &n->results[0]->type;
  int64_t times = 1, extent;
  if (n->op != DHC_OP_BROADCAST) return false;
  for (int d = 0; d < to->rank && times <= FEW_TIMES && fu->px->folds_again; d++) {
    if (from->dim[d] == to->dim[d]) continue;
    times = dhc_dim_is_const(to->dim[d], &extent) && extent <= FEW_TIMES ? times * extent : FEW_TIMES + 1;
  }
  return !fu->px->folds_again || times > FEW_TIMES;
}

/* Whether node n is a scan that meets its operand k a trip at a time. */
static bool is_walked(const DhcNode *n, int k) {
  int first = n->op == DHC_OP_SCAN ? (int)dhc_attr(n, "n_carry")->i : 0;
  return n->op == DHC_OP_SCAN && k >= first && k < first + (int)dhc_attr(n, "n_xs")->i;
}

/* Whether planning has no need to copy v for a scan: part of a range of what is in memory, its axes split. */
static bool lies_apart(const DhcValue *v) {
  if (v->def->op == DHC_OP_RESHAPE) v = v->def->args[0];
  return v->def->op == DHC_OP_SLICE && !dhc_fu_is_view(v->def->args[0]->def);
}

/* Node n wants its operand k, in `x`. */
static void demand(Fu *fu, const DhcNode *n, int k, FuValue *x) {
  const FuValue *r = n->n_results ? dhc_fu_of(fu, n->results[0]) : NULL;
  if (x->folds && (n->op == DHC_OP_CONCAT || (r && r->where == FU_MEMBER && !dhc_fu_takes_folds(fu->groups.at[r->group])))) x->memory = true;
  if (dhc_fu_needs_memory(fu, n, k) && !x->wide) x->memory = true;
  if ((n->op == DHC_OP_DYNAMIC_UPDATE || n->op == DHC_OP_SCATTER_ADD) && k == 0) {
    x->dense = true;
    return;
  }
  if (n->op == DHC_OP_CONCAT && fu->groups.at[r->group]->writers.n) {
    const FuGroup *whole = fu->groups.at[r->group];
    for (int w = 0; w < whole->writers.n; w++) {
      int g = dhc_fu_merged(fu, whole->writers.at[w]);
      for (int c = 0; c < fu->groups.at[g]->copies.n; c++)
        if (fu->groups.at[g]->copies.at[c].concat == n && fu->groups.at[g]->copies.at[c].piece == k) add_sink(x, g);
    }
    return;
  }
  if (!r || (r->where == FU_MEMORY && fu->groups.at[r->group]->fixed)) {
    if (is_walked(n, k)) x->walked = true;
    else if (n->op != DHC_OP_UPDATE || k != 0) x->dense = true;
    return;
  }
  switch (r->where) {
    case FU_MEMBER: add_sink(x, r->group); return;
    case FU_LAZY: add_sinks(x, r); x->stretched = x->stretched || r->stretched; return;
    case FU_VIEW:
      add_sinks(x, r);
      x->memory = x->memory || r->memory || r->dense;
      x->dense = x->dense || r->dense;
      x->stretched = x->stretched || r->stretched || stretches(fu, n);
      return;
    case FU_MEMORY: return;
  }
}

static void make_root(Fu *fu, DhcValue *v) {
  int group;
  FuValue *x = dhc_fu_of(fu, v);
  group = dhc_fu_new_group(fu, DHC_KIND_MAP);
  FuGroup *g = fu->groups.at[group];
  dhc_fu_set_domain(fu, g, v->type.rank, v->type.dim);
  int level = x->level;
  dhc_fu_add_member(fu, group, v, g->full);
  x->level = level; /* map groups have no place in the numbering */
  x->n_sinks = 0;
  add_sink(x, group);
}

void dhc_fu_place(Fu *fu, DhcValue *v) {
  FuValue *x = dhc_fu_of(fu, v);
  if (fu->is_result[v->id]) x->dense = true;
  for (int u = 0; u < fu->n_use[v->id]; u++) {
    const DhcNode *n = fu->use[v->id][u];
    for (int k = 0; k < n->n_args; k++)
      if (n->args[k] == v) demand(fu, n, k, x);
  }
  if (x->walked && x->where == FU_VIEW && lies_apart(v)) x->memory = true;
  else x->dense = x->dense || x->walked;
  if (x->where == FU_MEMBER) {
    for (int u = 0; u < fu->n_use[v->id]; u++) { /* what another anchor reads is in memory */
      const DhcNode *n = fu->use[v->id][u];
      const FuValue *r = n->n_results ? dhc_fu_of(fu, n->results[0]) : NULL;
      if (r && r->where == FU_MEMBER && r->group != x->group && dhc_op_info(n->op)->cls != DHC_CLASS_ELEMENTWISE) x->stored = true;
    }
    if (x->dense || x->memory) x->stored = true;
    return;
  }
  if (fu->norm_of[v->def->id]) return;
  if (x->where == FU_VIEW) {
    const DhcDim *offset;
    bool range = x->dense && dhc_view_range(fu->m->dims, &fu->f->facts, v, &offset);
    if (x->forced) {
      x->dense = x->memory = false;
      make_root(fu, v);
      x->stored = true;
    } else if (x->dense && !range) { /* kernels still look through it */
      x->copy = dhc_fu_new_group(fu, DHC_KIND_MAP);
      FuGroup *g = fu->groups.at[x->copy];
      g->copy_view = v;
      g->place = fu->place_of[v->def->id];
      dhc_fu_set_domain(fu, g, v->type.rank, v->type.dim);
      x->dense = false;
      add_sink(x, x->copy);
    }
    return;
  }
  if (x->where != FU_LAZY || x->wide || (x->n_sinks == 0 && !x->dense && !x->memory)) return;
  bool root = x->forced || x->dense || x->memory;
  if (!root && (x->n_sinks > 1 || x->stretched || x->folds)) {
    Cost c = {0};
    cost(fu, v, &c);
    if (v->type.rank == 0) root = c.work > CHEAP_SCALAR;
    else if (x->folds && x->n_sinks <= 1) root = c.work >= MUCH;
    else if (x->n_sinks > 1) root = is_much(fu, &c);
    if (v->type.rank > 0 && x->stretched && c.work >= (x->folds ? COSTLY_FOLD : COSTLY)) root = true;
  }
  if (!root) return;
  make_root(fu, v);
  x->stored = true;
}
