/* Where a kernel waits for those before it, where it may have started before they ended (programmatic dependent launch);
 * and what it writes, for those that run beside it. */
#include <string.h>

#include "backends/cuda/cuda_internal.h"

static bool has(const uint32_t *operands, int64_t i) { return i < DHC_LP_OPERAND_BITS && operands[i / 32] >> i % 32 & 1; }

/* Does the statement read or write what other kernels wrote or read? */
static bool meets_memory(const DhcLp *p, const DhcLpInst *n) {
  if (n->kind == DHC_LP_AT || n->kind == DHC_LP_ALIGNED) return false;
  if (n->kind == DHC_LP_LOAD && dhc_lp_root(n->a[0])->kind == DHC_LP_OPERAND && has(p->early, dhc_lp_root(n->a[0])->i)) return false;
  if (n->kind == DHC_LP_COPY && dhc_lp_root(n->a[2])->kind == DHC_LP_OPERAND && has(p->early, dhc_lp_root(n->a[2])->i)) return false;
  for (int k = 0; k < 4; k++)
    if (n->a[k] && n->a[k]->type.ptr && dhc_lp_root(n->a[k])->kind != DHC_LP_LOCAL && dhc_lp_root(n->a[k])->kind != DHC_LP_BLOCK) return true;
  return n->kind == DHC_LP_VAR || n->kind == DHC_LP_SET ? n->a[0]->type.ptr : false;
}

/* Where the statement that `open` begins ends. */
static int end_of(const DhcLp *p, int open) {
  int i = open;
  while (p->code.at[i]->kind != DHC_LP_END || p->code.at[i]->i != open) i++;
  return i;
}

/* Before which statements from i on, to the end of their block, the kernel waits for those before it: on every way
 * before the first that meets memory, outside loops. What comes first, places and tables of its own, is made while the
 * others still run. Gives where the block ends; *waited: has been waited for, on entry and there. */
static int find_waits(const DhcLp *p, int i, bool *before, bool *waited) {
  for (; i < p->code.n; i++) {
    const DhcLpInst *n = p->code.at[i];
    const int end = n->kind == DHC_LP_FOR ? end_of(p, i) : i;
    bool one = *waited, other = *waited;
    switch (n->kind) {
    case DHC_LP_ELSE:
    case DHC_LP_END: return i;
    case DHC_LP_TASKS: i = find_waits(p, i + 1, before, waited); break;
    case DHC_LP_IF:
      i = find_waits(p, i + 1, before, &one);
      if (p->code.at[i]->kind == DHC_LP_ELSE) i = find_waits(p, i + 1, before, &other);
      before[i + 1] = one != other; /* and for what comes behind it, on the way without */
      *waited = one || other;
      break;
    case DHC_LP_FOR:
      for (int k = i; k < end; k++) one = one || meets_memory(p, p->code.at[k]);
      before[i] = before[i] || (one && !*waited);
      *waited = one;
      i = end;
      break;
    default:
      before[i] = before[i] || (!*waited && meets_memory(p, n));
      *waited = *waited || before[i];
    }
  }
  return i;
}

const bool *dhc_cuda_waits(const DhcLp *p) {
  bool waited = false, *before = DHC_NEW_N(p->arena, bool, p->code.n + 1);
  find_waits(p, 0, before, &waited);
  return before;
}

bool dhc_cuda_stores_to(const DhcCudaLaunch *launch, int operand) { return operand >= DHC_LP_OPERAND_BITS || has(launch->stores, operand); }
bool dhc_cuda_reads_early(const DhcCudaLaunch *launch, int operand) { return has(launch->early, operand); }

void dhc_cuda_stores(const DhcLp *p, DhcCudaLaunch *launch) {
  for (int i = 0; i < p->code.n; i++) {
    const DhcLpInst *n = p->code.at[i];
    if (n->kind != DHC_LP_STORE && n->kind != DHC_LP_SCATTER && n->kind != DHC_LP_ADD_TO) continue;
    const DhcLpInst *root = dhc_lp_root(n->a[0]);
    if (root->kind == DHC_LP_LOCAL || root->kind == DHC_LP_BLOCK) continue;
    if (root->kind != DHC_LP_OPERAND) memset(launch->stores, 0xff, sizeof launch->stores);
    else if (root->i < DHC_LP_OPERAND_BITS) launch->stores[root->i / 32] |= 1u << root->i % 32;
  }
}
