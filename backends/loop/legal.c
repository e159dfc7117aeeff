/* Which statements a target has, and where its threads may wait for each other. */
#include "backends/loop/loop.h"

typedef enum Where { NOWHERE, EVERYWHERE, VECTORS, BLOCKS } Where; /* VECTORS: where lanes are not threads of one block */

static const struct {
  DhcLpKind kind;
  const char *name;
  Where cpu, cuda;
} table[] = {
    {DHC_LP_SCRATCH, "a worker's scratch", EVERYWHERE, NOWHERE}, /* thousands of workers */
    {DHC_LP_THREAD, "a thread's number", NOWHERE, BLOCKS},
    {DHC_LP_BLOCK, "block memory", NOWHERE, BLOCKS},
    {DHC_LP_BARRIER, "a barrier", NOWHERE, BLOCKS},
    {DHC_LP_TF32, "rounding to tf32", NOWHERE, EVERYWHERE},
    {DHC_LP_MMA, "a matrix tile", NOWHERE, BLOCKS},
};

bool dhc_lp_legal(const DhcLp *p, const char *target, DhcArena *arena, const char **why) {
  bool cuda = !strcmp(target, "cuda");
  for (int i = 0; i < p->code.n; i++)
    for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
      if (p->code.at[i]->kind != table[k].kind) continue;
      Where w = cuda ? table[k].cuda : table[k].cpu;
      if (w == EVERYWHERE || (w == BLOCKS && p->threads) || (w == VECTORS && !p->threads)) continue;
      *why = dhc_arena_printf(arena, "statement %%%d: %s", i, table[k].name);
      return false;
    }
  return true;
}
