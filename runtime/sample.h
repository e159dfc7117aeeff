/* Drawing an index from logits: what text generation does with the scores of a next token. */
#ifndef DHC_RUNTIME_SAMPLE_H
#define DHC_RUNTIME_SAMPLE_H

#include <stdint.h>

typedef struct DhcSampling {
  double temperature; /* logits are divided by it; 0: the largest logit wins */
  int64_t top_k;      /* draw among the k largest only; 0: among all */
  uint32_t seed;
} DhcSampling;

/* An index in 0..n-1 with probability softmax(logits / temperature), restricted to the
 * top_k largest; of equal logits the lowest index counts as the larger. The draw is number
 * `step` of the seed: the same arguments give the same index everywhere. -1 if no logit is
 * finite or one is NaN or +inf (-inf never wins). `order` is scratch of n indices. Source:
 * Fan, Lewis, Dauphin, "Hierarchical neural story generation", 2018 (top-k). */
int64_t dhc_sample(const float *logits, int64_t n, const DhcSampling *how, uint64_t step, int64_t *order);

#endif
