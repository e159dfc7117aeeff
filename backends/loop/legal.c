/* Which statements a target has, and where its threads may wait for each other. */
#include "backends/loop/loop.h"

typedef enum Where { NOWHERE, EVERYWHERE, VECTORS, BLOCKS } Where; /* VECTORS: where lanes are not threads of one block */

static const struct {
  DhcLpKind kind;
  const char *name;
  Where cpu, gpu;
} table[] = {
    {DHC_LP_SCRATCH, "a worker's scratch", EVERYWHERE, NOWHERE}, /* thousands of workers */
    {DHC_LP_THREAD, "a thread's number", NOWHERE, BLOCKS},
    {DHC_LP_BLOCK, "block memory", NOWHERE, BLOCKS},
    {DHC_LP_BARRIER, "a barrier", NOWHERE, BLOCKS},
    {DHC_LP_ADD_TO, "an addition in one step", NOWHERE, BLOCKS},
    {DHC_LP_COPY, "a copy that is not waited for", NOWHERE, BLOCKS},
    {DHC_LP_COMMIT, "a group of copies", NOWHERE, BLOCKS},
    {DHC_LP_WAIT, "a wait for copies", NOWHERE, BLOCKS},
    {DHC_LP_ALIGNED, "a pointer's alignment", NOWHERE, EVERYWHERE},
    {DHC_LP_TF32, "rounding to tf32", NOWHERE, EVERYWHERE},
    {DHC_LP_PAIR, "a pair of bf16", NOWHERE, EVERYWHERE},
    {DHC_LP_MMA, "a matrix tile", NOWHERE, BLOCKS},
    {DHC_LP_GROUP_MMA, "a product of a group of warps", NOWHERE, BLOCKS},
    {DHC_LP_GROUP_WAIT, "a wait for products", NOWHERE, BLOCKS},
    {DHC_LP_ACROSS, "a value of another thread", NOWHERE, BLOCKS},
    {DHC_LP_EXP2, "a power of two, nearly", NOWHERE, EVERYWHERE},
    {DHC_LP_FMA_FLUSH, "a multiply-add without denormals", NOWHERE, EVERYWHERE},
};

bool dhc_lp_groups(const DhcLp *p) {
  for (int i = 0; i < p->code.n; i++)
    if (p->code.at[i]->kind == DHC_LP_GROUP_MMA) return true;
  return false;
}

bool dhc_lp_legal(const DhcLp *p, DhcTargetKind target, DhcArena *arena, const char **why) {
  for (int i = 0; i < p->code.n; i++)
    for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
      if (p->code.at[i]->kind != table[k].kind) continue;
      Where w = target == DHC_TARGET_GPU ? table[k].gpu : table[k].cpu;
      if (w == EVERYWHERE || (w == BLOCKS && p->threads) || (w == VECTORS && !p->threads)) continue;
      *why = dhc_arena_printf(arena, "statement %%%d: %s", i, table[k].name);
      return false;
    }
  return true;
}

/* ---- where threads may meet ------------------------------------------------------------------ */

/* Which values differ from thread to thread of a block: a thread's number, what it loads from its own or the
 * block's memory, and what is made from these. A variable differs if it is ever set to such a value, or set
 * where not all threads are. */
typedef struct Differ {
  const DhcLp *p;
  bool *value, *var;
  bool changed;
} Differ;

static bool is_private(DhcLv p) {
  p = dhc_lp_root(p);
  return p->kind == DHC_LP_BLOCK || p->kind == DHC_LP_LOCAL || p->kind == DHC_LP_GET;
}

static bool differs(const Differ *d, const DhcLpInst *n) {
  for (int k = 0; k < 4; k++)
    if (n->a[k] && d->value[n->a[k]->id]) return true;
  switch (n->kind) {
  case DHC_LP_THREAD:
  case DHC_LP_MMA: return true;
  case DHC_LP_LOAD:
  case DHC_LP_GATHER: return is_private(n->a[0]);
  case DHC_LP_GET: return d->var[n->i];
  default: return false;
  }
}

/* One walk; *where: a statement at which threads meet though some may not be there. */
static void walk(Differ *d, const DhcLpInst **where) {
  DHC_VEC(int) open = {0};
  int apart = 0; /* open blocks that not all threads enter alike */
  for (int i = 0; i < d->p->code.n; i++) {
    const DhcLpInst *n = d->p->code.at[i];
    bool now = differs(d, n);
    if (n->kind == DHC_LP_VAR || n->kind == DHC_LP_SET) {
      bool var = d->var[n->i] || now || (n->kind == DHC_LP_SET && apart);
      d->changed = d->changed || var != d->var[n->i];
      d->var[n->i] = var;
    }
    d->changed = d->changed || now != d->value[i];
    d->value[i] = now;
    if (dhc_lp_joins(n) && apart && !*where) *where = n;
    if (n->kind == DHC_LP_TASKS || n->kind == DHC_LP_FOR || n->kind == DHC_LP_IF) {
      apart += now;
      DHC_PUSH(d->p->arena, &open, now);
    } else if (n->kind == DHC_LP_END) {
      apart -= open.at[--open.n];
    }
  }
}

bool dhc_lp_meets(const DhcLp *p, DhcArena *arena, const char **why) {
  Differ d = {p, DHC_NEW_N(arena, bool, p->code.n + 1), DHC_NEW_N(arena, bool, p->vars.n + 1), true};
  const DhcLpInst *where = NULL;
  if (!p->threads) return true;
  while (d.changed) {
    d.changed = false;
    where = NULL;
    walk(&d, &where);
  }
  if (!where) return true;
  *why = dhc_arena_printf(arena, "statement %%%d: threads meet where not all of them need be", where->id);
  return false;
}
