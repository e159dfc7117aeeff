/* Chains: contractions of what contractions give, with elementwise ops and folds between,
 * as in softmax(q k^T) v. What lies between is wide: rows by columns, where the inputs are
 * rows or columns by something small. A chain's wide values never lie in memory: kernels of
 * kind CHAIN compute them again, some rows at a time, each fold and each outer contraction
 * in the order in which it would run by itself, so that every bit stays.
 *
 *   wide      results of inner contractions and what elementwise ops make of them
 *   folds     of wide values, all over the same dims
 *   outer     contractions of one wide value with something that is not
 *
 * A chain must be closed: nothing else uses its wide values. Pass `chain` puts what a chain
 * needs in front of it, so that all of it can be computed once the chain begins; fusion
 * takes those chains that lie so. */
#include <string.h>

#include "passes/clean/edit.h"
#include "passes/fuse/fuse_internal.h"

enum {
  MAX_SMALL = 256, /* inner contracted extent, which is computed again */
  TIMES = 4        /* a constant extent is wide from this many times the small one */
};

/* A search; its tables are by value id and serve one dot after the other. */
typedef struct Find {
  Fu *fu;
  FuChain *c;
  bool *in;   /* wide */
  bool *made; /* of the chain's dims, made of a contraction's result element by element */
  char *dep;  /* how it depends on the chain */
  bool ok;
} Find;

static Find search_in(Fu *fu) {
  int n = fu->f->next_value_id + 1;
  return (Find){.fu = fu, .in = DHC_NEW_N(fu->scratch, bool, n), .made = DHC_NEW_N(fu->scratch, bool, n),
                .dep = DHC_NEW_N(fu->scratch, char, n)};
}

/* ---- what belongs to a chain ---------------------------------------------------------- */

static bool has_dims(const FuChain *c, const DhcType *t) {
  if (t->rank != c->rank) return false;
  for (int d = 0; d < t->rank; d++)
    if (t->dim[d] != c->dim[d]) return false;
  return true;
}

static unsigned bits(const DhcAttr *list) {
  unsigned m = 0;
  for (int i = 0; i < list->ints.n; i++) m |= 1u << list->ints.at[i];
  return m;
}

static void mark_made(Find *f) {
  for (int i = 0; i < f->fu->nodes.n; i++) {
    const DhcNode *n = f->fu->nodes.at[i];
    bool from = n->op == DHC_OP_DOT_GENERAL;
    for (int k = 0; k < n->n_args && dhc_fu_is_elementwise(n); k++) from = from || f->made[n->args[k]->id];
    for (int r = 0; r < n->n_results; r++) f->made[n->results[r]->id] = from && has_dims(f->c, &n->results[r]->type);
  }
}

static void add_wide(Find *f, DhcValue *v) {
  if (f->in[v->id]) return;
  f->in[v->id] = true;
  if (dhc_fu_of(f->fu, v)->forced || f->fu->is_result[v->id]) f->ok = false;
  if (v->def->op == DHC_OP_DOT_GENERAL) {
    if (v->type.dtype != DHC_F32) f->ok = false;
    DHC_PUSH(f->fu->scratch, &f->c->inner, v->def);
  }
  DHC_PUSH(f->fu->scratch, &f->c->wide, v);
}

/* Which operand of an outer contraction is the wide one. */
static int wide_side(const Find *f, const DhcNode *n) {
  return f->in[n->args[0]->id] ? 0 : 1;
}

static bool listed(const DhcNode *n, DhcNode *const *at, int count) {
  for (int i = 0; i < count; i++)
    if (at[i] == n) return true;
  return false;
}

static void take_use(Find *f, DhcNode *u) {
  FuChain *c = f->c;
  if (dhc_fu_is_elementwise(u)) {
    if (has_dims(c, &u->results[0]->type)) add_wide(f, u->results[0]);
    else f->ok = false;
    return;
  }
  if (dhc_op_folds(u->op)) {
    if (!listed(u, c->folds.at, c->folds.n)) DHC_PUSH(f->fu->scratch, &c->folds, u);
    return;
  }
  if (u->op != DHC_OP_DOT_GENERAL || u->args[0] == u->args[1] || u->results[0]->type.dtype != DHC_F32) f->ok = false;
  else if (!listed(u, c->outer.at, c->outer.n)) DHC_PUSH(f->fu->scratch, &c->outer, u);
}

/* Everything that hangs together with the dot. */
static void flood(Find *f, DhcNode *dot) {
  add_wide(f, dot->results[0]);
  for (int i = 0; i < f->c->wide.n && f->ok; i++) {
    DhcValue *v = f->c->wide.at[i];
    if (dhc_fu_is_elementwise(v->def))
      for (int k = 0; k < v->def->n_args; k++)
        if (f->made[v->def->args[k]->id]) add_wide(f, v->def->args[k]);
    for (int u = 0; u < f->fu->n_use[v->id]; u++) take_use(f, f->fu->use[v->id][u]);
  }
}

/* ---- whether it may be one, and is worth it --------------------------------------------- */

static bool dims_wide(const FuChain *c, unsigned dims, int64_t small) {
  int64_t n = 1, x;
  bool any = false;
  for (int d = 0; d < c->rank; d++) {
    if (!(dims >> d & 1)) continue;
    if (!dhc_dim_is_const(c->dim[d], &x)) any = true;
    else if (n < (1 << 30)) n *= x;
  }
  return dims && (any || n >= TIMES * small);
}

/* Extent that an inner contraction sums over; 0: too large or not known. */
static int64_t small_extent(const DhcNode *dot) {
  const DhcAttr *contract = dhc_attr(dot, "contract_a");
  int64_t n = 1, x;
  for (int i = 0; i < contract->ints.n; i++) {
    if (!dhc_dim_is_const(dot->args[0]->type.dim[contract->ints.at[i]], &x) || x > MAX_SMALL) return 0;
    n *= x;
  }
  return contract->ints.n && n <= MAX_SMALL ? n : 0;
}

/* Of a chain's dims those that the inner contraction takes from operand s alone. */
static unsigned free_dims(const DhcNode *dot, int s) {
  int batch = dhc_attr(dot, "batch_a")->ints.n, contract = dhc_attr(dot, "contract_a")->ints.n;
  int free_a = dot->args[0]->type.rank - batch - contract, free_b = dot->args[1]->type.rank - batch - contract;
  unsigned a = ((1u << free_a) - 1) << batch, b = ((1u << free_b) - 1) << (batch + free_a);
  return s == 0 ? a : b;
}

/* Contracts what one side of every inner contraction has, keeps what the other has. */
static bool outer_fits(const Find *f, const DhcNode *n) {
  const FuChain *c = f->c;
  int s = wide_side(f, n);
  if (f->in[n->args[1 - s]->id] || listed(n, c->inner.at, c->inner.n)) return false;
  unsigned contract = bits(dhc_attr(n, s ? "contract_b" : "contract_a")), batch = bits(dhc_attr(n, s ? "batch_b" : "batch_a"));
  unsigned rows = ((1u << c->rank) - 1) & ~contract & ~batch;
  for (int i = 0; i < c->inner.n; i++) {
    const DhcNode *dot = c->inner.at[i];
    unsigned a = free_dims(dot, 0), b = free_dims(dot, 1);
    int64_t small = small_extent(dot);
    if (!small || !contract || ((contract & ~a) && (contract & ~b))) return false;
    unsigned other = (contract & ~a) ? a : b; /* the side that rows come from */
    if (!(rows & other) || (batch & other) || !dims_wide(c, rows & other, small) || !dims_wide(c, contract, small)) return false;
  }
  return true;
}

/* Rows times a matrix, element by element, times a matrix of known height, as in a feed-forward
 * block: the matrices are weights, which contractions of their own read once for all rows. */
static bool is_feed_forward(const Find *f) {
  const FuChain *c = f->c;
  for (int i = 0; i < c->inner.n; i++)
    if (dhc_attr(c->inner.at[i], "batch_a")->ints.n) return false;
  for (int i = 0; i < c->outer.n; i++) {
    unsigned contract = bits(dhc_attr(c->outer.at[i], wide_side(f, c->outer.at[i]) ? "contract_b" : "contract_a"));
    for (int d = 0; d < c->rank; d++)
      if ((contract >> d & 1) && !dhc_dim_is_const(c->dim[d], NULL)) return false;
  }
  return c->folds.n == 0;
}

/* Axes of a kernel that all of the chain joins, before any are merged. */
static int most_axes(const Find *f) {
  const FuChain *c = f->c;
  int n = c->rank;
  for (int i = 0; i < c->inner.n; i++) n += dhc_attr(c->inner.at[i], "contract_a")->ints.n;
  for (int i = 0; i < c->outer.n; i++) {
    const DhcNode *dot = c->outer.at[i];
    n += dot->args[1 - wide_side(f, dot)]->type.rank - dhc_attr(dot, "batch_a")->ints.n - dhc_attr(dot, "contract_a")->ints.n;
  }
  return n;
}

static bool fits(const Find *f) {
  const FuChain *c = f->c;
  if (!f->ok || c->outer.n == 0 || c->inner.n == 0 || is_feed_forward(f) || most_axes(f) > FU_MAX_AXES) return false;
  unsigned folded = c->folds.n ? bits(dhc_attr(c->folds.at[0], "axes")) : 0;
  for (int i = 0; i < c->folds.n; i++)
    if (bits(dhc_attr(c->folds.at[i], "axes")) != folded) return false;
  for (int i = 0; i < c->outer.n; i++) {
    if (!outer_fits(f, c->outer.at[i])) return false;
    int s = wide_side(f, c->outer.at[i]);
    if (folded && bits(dhc_attr(c->outer.at[i], s ? "contract_b" : "contract_a")) != folded) return false;
  }
  for (int i = 0; i < c->inner.n; i++)
    for (int k = 0; k < 2; k++)
      if (f->in[c->inner.at[i]->args[k]->id]) return false;
  return true;
}

/* ---- order ------------------------------------------------------------------------------- */

enum { FREE, BEHIND_FOLD, BEHIND }; /* how a value depends on a chain */

static bool is_part(const FuChain *c, const bool *in, const DhcNode *n) {
  return (n->n_results == 1 && in[n->results[0]->id]) || listed(n, c->outer.at, c->outer.n) || listed(n, c->folds.at, c->folds.n);
}

/* Fills dep; false where the chain waits for something that waits for it. */
static bool dependences(Find *f) {
  const Fu *fu = f->fu;
  char *dep = f->dep;
  for (int i = 0; i < fu->nodes.n; i++) {
    const DhcNode *n = fu->nodes.at[i];
    bool part = is_part(f->c, f->in, n), fold = listed(n, f->c->folds.at, f->c->folds.n);
    char worst = FREE;
    for (int k = 0; k < n->n_args; k++) {
      char d = dep[n->args[k]->id];
      if (part && !f->in[n->args[k]->id] && d == BEHIND) return false;
      if (d > worst) worst = d;
    }
    if (fold) worst = BEHIND_FOLD;
    else if (part || (worst && !dhc_fu_is_elementwise(n) && !dhc_fu_is_view(n))) worst = BEHIND;
    for (int r = 0; r < n->n_results; r++) dep[n->results[r]->id] = worst;
  }
  return true;
}

/* All that the chain needs stands before it. */
static bool in_order(const Find *f) {
  const Fu *fu = f->fu;
  bool begun = false;
  int left = f->c->wide.n + f->c->outer.n + f->c->folds.n;
  for (int i = 0; i < fu->nodes.n && left; i++) {
    const DhcNode *n = fu->nodes.at[i];
    if (is_part(f->c, f->in, n)) {
      begun = true;
      left--;
    } else if (begun && n->n_results && !f->dep[n->results[0]->id] && !dhc_fu_is_elementwise(n) && !dhc_fu_is_view(n) &&
               dhc_op_info(n->op)->cls != DHC_CLASS_CREATE) {
      return false;
    }
  }
  return true;
}

/* What the chain does not lead to goes before its first op. */
static int put_in_order(const Find *f) {
  const Fu *fu = f->fu;
  DhcNode *first = NULL;
  int left = f->c->wide.n + f->c->outer.n + f->c->folds.n, moved = 0;
  for (int i = 0; i < fu->nodes.n && left; i++) {
    DhcNode *n = fu->nodes.at[i];
    if (is_part(f->c, f->in, n)) {
      if (!first) first = n;
      left--;
    } else if (first && n->n_results && !f->dep[n->results[0]->id]) {
      dhc_edit_move_before(n, first);
      moved++;
    }
  }
  return moved;
}

/* ---- finding ------------------------------------------------------------------------------- */

static bool find(Find *f, DhcNode *dot) {
  const DhcType *t = &dot->results[0]->type;
  f->c = DHC_NEW(f->fu->scratch, FuChain);
  f->c->rank = t->rank;
  memcpy(f->c->dim, t->dim, sizeof t->dim);
  f->ok = true;
  memset(f->in, 0, sizeof *f->in * (size_t)(f->fu->f->next_value_id + 1));
  mark_made(f);
  flood(f, dot);
  return fits(f) && dependences(f);
}

static bool may_begin(const Fu *fu, const DhcNode *n) {
  return n->op == DHC_OP_DOT_GENERAL && !dhc_fu_of(fu, n->results[0])->wide && !fu->chain_of[n->id] && small_extent(n);
}

void dhc_fu_find_chains(Fu *fu) {
  Find f = search_in(fu);
  for (int i = 0; i < fu->nodes.n; i++) {
    DhcNode *n = fu->nodes.at[i];
    if (!may_begin(fu, n) || !find(&f, n) || !in_order(&f)) continue;
    bool taken = false; /* part of a chain found before */
    for (int k = 0; k < f.c->outer.n; k++) taken = taken || fu->chain_of[f.c->outer.at[k]->id];
    for (int k = 0; k < f.c->wide.n; k++) taken = taken || fu->chain_of[f.c->wide.at[k]->def->id];
    if (taken) continue;
    for (int k = 0; k < f.c->wide.n; k++) dhc_fu_of(fu, f.c->wide.at[k])->wide = f.c;
    for (int k = 0; k < f.c->outer.n; k++) fu->chain_of[f.c->outer.at[k]->id] = f.c;
    for (int k = 0; k < f.c->folds.n; k++) fu->chain_of[f.c->folds.at[k]->id] = f.c;
  }
}

/* ---- kernels ------------------------------------------------------------------------------- */

static int side_of(const Fu *fu, const DhcNode *outer) {
  return dhc_fu_of(fu, outer->args[0])->wide ? 0 : 1;
}

/* Dims of the wide values that n folds or contracts. */
static unsigned reduced_by(const Fu *fu, const DhcNode *n) {
  if (n->op != DHC_OP_DOT_GENERAL) return bits(dhc_attr(n, "axes"));
  return bits(dhc_attr(n, side_of(fu, n) ? "contract_b" : "contract_a"));
}

static int add_axis(FuGroup *g, const DhcDim *extent) {
  if (g->n_axes == FU_MAX_AXES) DHC_BUG("fuse: too many axes in a chain");
  int64_t known;
  bool unrolled = dhc_dim_is_const(extent, &known) && known <= MAX_SMALL;
  g->axis[g->n_axes] = (FuAxis){DHC_AXIS_RED, extent, unrolled, g->n_axes};
  return g->n_axes++;
}

/* The chain's kernel that reduces these dims, if n may still join it; or a new one. */
static int group_for(Fu *fu, FuChain *c, DhcNode *n, int level) {
  unsigned reduced = reduced_by(fu, n);
  for (int i = fu->groups.n - 1; i >= 0 && i >= level; i--)
    if (fu->groups.at[i]->chain == c && fu->groups.at[i]->reduced == reduced) return i;
  int group = dhc_fu_new_group(fu, DHC_KIND_CHAIN);
  FuGroup *g = fu->groups.at[group];
  g->anchor = n;
  g->chain = c;
  g->reduced = reduced;
  dhc_fu_set_domain(fu, g, c->rank, c->dim);
  for (int d = 0; d < c->rank; d++)
    if (reduced >> d & 1) g->axis[d].role = DHC_AXIS_RED;
  g->inner0 = g->n_axes;
  for (int i = 0; i < c->inner.n; i++) {
    const DhcAttr *contract = dhc_attr(c->inner.at[i], "contract_a");
    for (int k = 0; k < contract->ints.n; k++) add_axis(g, c->inner.at[i]->args[0]->type.dim[contract->ints.at[k]]);
  }
  return group;
}

/* Index of an outer contraction's result: rows where the domain has them, an axis of its own
 * for each dim of the other operand. */
static void outer_index(Fu *fu, FuGroup *g, const DhcNode *n, FuIx *ix) {
  int s = side_of(fu, n), batch = dhc_attr(n, "batch_a")->ints.n, out = batch;
  const DhcAttr *wide_batch = dhc_attr(n, s ? "batch_b" : "batch_a");
  for (int i = 0; i < batch; i++) ix[i] = g->full[wide_batch->ints.at[i]];
  for (int side = 0; side < 2; side++) {
    unsigned gone = bits(dhc_attr(n, side ? "batch_b" : "batch_a")) | bits(dhc_attr(n, side ? "contract_b" : "contract_a"));
    for (int d = 0; d < n->args[side]->type.rank; d++) {
      if (gone >> d & 1) continue;
      const DhcDim *extent = n->args[side]->type.dim[d];
      if (side == s) ix[out++] = g->full[d];
      else if (dhc_dim_is(extent, 1)) ix[out++] = dhc_fu_plain(dhc_fu_const(fu->m->dims, NULL));
      else ix[out++] = dhc_fu_plain(dhc_fu_axis(fu->m->dims, add_axis(g, extent)));
    }
  }
}

void dhc_fu_add_chain(Fu *fu, DhcNode *n, int level) {
  FuChain *c = fu->chain_of[n->id];
  int group = group_for(fu, c, n, level);
  FuGroup *g = fu->groups.at[group];
  FuIx ix[DHC_MAX_RANK + 1];
  if (n->op == DHC_OP_DOT_GENERAL) outer_index(fu, g, n, ix);
  else dhc_fu_kept_index(fu, g, &n->results[0]->type, ix);
  dhc_fu_add_member(fu, group, n->results[0], ix);
}

/* Domain axis that contraction number i of a dot walks over. */
static int contracted_axis(const FuKernel *k, const DhcNode *dot, int i) {
  const FuGroup *g = k->g;
  int at = g->inner0;
  for (int j = 0; j < g->chain->inner.n; j++) {
    if (g->chain->inner.at[j] == dot) return at + i;
    at += dhc_attr(g->chain->inner.at[j], "contract_a")->ints.n;
  }
  return (int)dhc_attr(dot, side_of(k->fu, dot) ? "contract_b" : "contract_a")->ints.at[i];
}

FuForm dhc_fu_chain_axis(const FuKernel *k, const DhcNode *dot, int i) {
  return dhc_fu_axis_form(k, contracted_axis(k, dot, i));
}

uint32_t dhc_fu_chain_bits(const FuKernel *k, const DhcNode *dot) {
  uint32_t m = 0;
  for (int i = 0; i < dhc_attr(dot, "contract_a")->ints.n; i++) m |= dhc_fu_axis_bits(k, contracted_axis(k, dot, i));
  return m;
}

/* ---- the pass ------------------------------------------------------------------------------ */

static bool order_once(Fu *fu, DhcPassCtx *px) {
  Find f = search_in(fu);
  for (int i = 0; i < fu->nodes.n; i++) {
    DhcNode *n = fu->nodes.at[i];
    if (n->op != DHC_OP_DOT_GENERAL || !small_extent(n)) continue;
    if (find(&f, n) && !in_order(&f) && dhc_pass_may_change(px) && put_in_order(&f)) return true;
  }
  return false;
}

static void order_function(DhcModule *m, DhcPassCtx *px, DhcFunc *f) {
  for (int round = 0; round < 16; round++) { /* places change */
    Fu *fu = dhc_fu_open(m, px, f);
    if (!order_once(fu, px)) return;
  }
}

/* requires: LOWERED. establishes: CHAINED. breaks: -. */
bool dhc_pass_chain(DhcModule *m, DhcPassCtx *px) {
  for (int i = 0; i < m->funcs.n; i++)
    if (m->funcs.at[i]->kind != DHC_FUNC_INIT) order_function(m, px, m->funcs.at[i]);
  return true;
}
