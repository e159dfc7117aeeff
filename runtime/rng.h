/* Counter-based random numbers: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw:
 * "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * The convention of the whole project, which the IR op `random_bits` also means:
 *
 *   key     = (seed, site)                            two 32-bit words
 *   counter = (index lo, index hi, step lo, step hi)  four 32-bit words
 *   bits(seed, site, index, step) = word 0 of the block
 *
 * One block an element: element `index` (flat, row-major) never depends on the
 * shape around it, on fusion, or on how lanes and threads share the work.
 * site names the place (one dropout, one parameter's path hash); step is the
 * training step. Uniform floats: bits >> 8 times 2^-24, in [0, 1). */
#ifndef DHC_RUNTIME_RNG_H
#define DHC_RUNTIME_RNG_H

#include <stdint.h>

/* One block: ten rounds on counter under key. */
void dhc_rng_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);
/* bits(seed, site, index, step) as above. */
uint32_t dhc_rng_bits(uint32_t seed, uint32_t site, uint64_t index, uint64_t step);
/* Without bias, 0 <= result < n (n >= 1): 64 bits from words 0 and 1 of the
 * block; a draw that would bias the result takes step + 2^63, + 2^63 + 1, … */
uint64_t dhc_rng_below(uint32_t seed, uint32_t site, uint64_t index, uint64_t step, uint64_t n);

#endif
