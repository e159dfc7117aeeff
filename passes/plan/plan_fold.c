/* Items that need not be: results nobody reads. */
#include "passes/plan/plan_internal.h"

static bool is_wanted(const Pl *p, const PlItem *it, const int *n_reads) {
  if (it->kind == DHC_ITEM_LOOP) return true;
  for (int r = 0; r < it->n_refs; r++)
    if (it->refs[r].write && (p->bufs.at[it->refs[r].buf].fixed || n_reads[it->refs[r].buf])) return true;
  return false;
}

void dhc_pl_drop_unread(Pl *p) {
  int *n_reads = DHC_NEW_N(p->arena, int, p->bufs.n + 1);
  for (int i = 0; i < p->items.n; i++)
    for (int r = 0; r < p->items.at[i].n_refs; r++) n_reads[p->items.at[i].refs[r].buf] += !p->items.at[i].refs[r].write;
  for (bool more = true; more;) {
    more = false;
    for (int i = p->items.n; i-- > 0;) {
      PlItem *it = &p->items.at[i];
      if (it->gone || is_wanted(p, it, n_reads)) continue;
      for (int r = 0; r < it->n_refs; r++) n_reads[it->refs[r].buf] -= !it->refs[r].write;
      for (int r = 0; r < it->n_refs; r++) dhc_pl_drop_uses(p, it->refs[r].buf, i);
      it->gone = more = true;
    }
  }
}
