/* Which commands of a list may read some of their operands before those ahead of them have ended: what nothing in the list
 * writes, as weights are where nothing is trained. */
#include <stdlib.h>

#include "backends/cuda/lanes.h"

static int by_begin(const void *a, const void *b) {
  const DhcCudaUse *x = a, *y = b;
  return (x->begin > y->begin) - (x->begin < y->begin);
}

/* The memory that uses write, in order, ranges that meet joined; their number. */
static int written(const DhcCudaUse *use, int n, DhcCudaUse *out) {
  int n_out = 0, last = 0;
  for (int i = 0; i < n; i++)
    if (use[i].writes) out[n_out++] = use[i];
  qsort(out, (size_t)n_out, sizeof *out, by_begin);
  for (int i = 1; i < n_out; i++) {
    if (out[i].begin > out[last].end) out[++last] = out[i];
    else if (out[i].end > out[last].end) out[last].end = out[i].end;
  }
  return n_out ? last + 1 : 0;
}

static bool meets(const DhcCudaUse *range, int n, const DhcCudaUse *u) {
  int lo = 0, hi = n; /* the first that ends behind u's beginning */
  while (lo < hi) {
    int mid = (lo + hi) / 2;
    if (range[mid].end > u->begin) hi = mid;
    else lo = mid + 1;
  }
  return lo < n && range[lo].begin < u->end;
}

dhc_status dhc_cuda_find_early(const DhcCudaUse *use, DhcCudaStep *step, int n) {
  int n_uses = 0;
  for (int i = 0; i < n; i++) n_uses += step[i].n_uses;
  DhcCudaUse *range = calloc((size_t)n_uses + 1, sizeof *range);
  if (!range) return dhc_status_memory((long long)sizeof *range * (n_uses + 1), "a list of commands");
  int n_ranges = written(use, n_uses, range);
  for (int i = 0; i < n; i++) {
    step[i].early = true;
    for (int u = step[i].first_use; u < step[i].first_use + step[i].n_uses; u++)
      if (use[u].early && meets(range, n_ranges, &use[u])) step[i].early = false;
  }
  free(range);
  return dhc_status_ok();
}
