#include "runtime/sample.h"

#include <math.h>

#include "runtime/rng.h"

/* Philox site of sampling; dropouts and initialisers hash theirs from paths. */
enum { SITE = 0x73616d70 };

static int precedes(const float *x, int64_t a, int64_t b) {
  return x[a] > x[b] || (x[a] == x[b] && a < b);
}

/* order[0..k) become the k largest, in descending order, by a heap whose root is the least. */
static void sift(const float *x, int64_t *heap, int64_t k, int64_t i) {
  for (;;) {
    int64_t least = i;
    for (int64_t c = 2 * i + 1; c <= 2 * i + 2; c++)
      if (c < k && precedes(x, heap[least], heap[c])) least = c;
    if (least == i) return;
    int64_t t = heap[i];
    heap[i] = heap[least];
    heap[least] = t;
    i = least;
  }
}

static void largest(const float *x, int64_t n, int64_t k, int64_t *order) {
  for (int64_t i = 0; i < k; i++) order[i] = i;
  for (int64_t i = k / 2; i-- > 0;) sift(x, order, k, i);
  for (int64_t i = k; i < n; i++) {
    if (!precedes(x, i, order[0])) continue;
    order[0] = i;
    sift(x, order, k, 0);
  }
  for (int64_t end = k; end-- > 1;) {
    int64_t t = order[0];
    order[0] = order[end];
    order[end] = t;
    sift(x, order, end, 0);
  }
}

int64_t dhc_sample(const float *logits, int64_t n, const DhcSampling *how, uint64_t step, int64_t *order) {
  float top = -INFINITY;
  for (int64_t i = 0; i < n; i++) {
    if (isnan(logits[i]) || logits[i] == INFINITY) return -1;
    if (logits[i] > top) top = logits[i];
  }
  if (isinf(top)) return -1;
  int64_t k = how->temperature == 0 ? 1 : how->top_k > 0 && how->top_k < n ? how->top_k : n;
  if (k < n) largest(logits, n, k, order);
  else
    for (int64_t i = 0; i < n; i++) order[i] = i;
  if (k == 1) return order[0];
  double sum = 0;
  for (int64_t i = 0; i < k; i++) sum += exp(((double)logits[order[i]] - top) / how->temperature);
  double u = (dhc_rng_bits(how->seed, SITE, 0, step) + 0.5) * 0x1p-32 * sum;
  int64_t drawn = order[0];
  for (int64_t i = 0; i < k && u >= 0; i++) {
    double weight = exp(((double)logits[order[i]] - top) / how->temperature);
    if (weight > 0) drawn = order[i];
    u -= weight;
  }
  return drawn;
}
