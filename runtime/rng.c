#include "runtime/rng.h"

/* Round multipliers and key increments of Philox 4x32 (Salmon et al., §3.2). */
enum { ROUNDS = 10 };
static const uint32_t multiplier0 = 0xD2511F53u;
static const uint32_t multiplier1 = 0xCD9E8D57u;
static const uint32_t weyl0 = 0x9E3779B9u;
static const uint32_t weyl1 = 0xBB67AE85u;

void dhc_rng_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]) {
  uint32_t k0 = key[0], k1 = key[1];
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  for (int round = 0; round < ROUNDS; round++) {
    uint64_t p0 = (uint64_t)multiplier0 * c0;
    uint64_t p1 = (uint64_t)multiplier1 * c2;
    c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
    c1 = (uint32_t)p1;
    c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c3 = (uint32_t)p0;
    k0 += weyl0;
    k1 += weyl1;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

static void block(uint32_t seed, uint32_t site, uint64_t index, uint64_t step, uint32_t out[4]) {
  uint32_t key[2] = {seed, site};
  uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)step,
                         (uint32_t)(step >> 32)};
  dhc_rng_philox(key, counter, out);
}

uint32_t dhc_rng_bits(uint32_t seed, uint32_t site, uint64_t index, uint64_t step) {
  uint32_t out[4];
  block(seed, site, index, step, out);
  return out[0];
}

uint64_t dhc_rng_below(uint32_t seed, uint32_t site, uint64_t index, uint64_t step, uint64_t n) {
  uint64_t redraw = (uint64_t)1 << 63;
  /* 2^64 mod n: draws below it would make small results likelier. */
  uint64_t threshold = (0 - n) % n;
  for (;;) {
    uint32_t out[4];
    block(seed, site, index, step, out);
    uint64_t draw = (uint64_t)out[1] << 32 | out[0];
    if (draw >= threshold) {
      return draw % n;
    }
    step += redraw;
    redraw = 1;
  }
}
