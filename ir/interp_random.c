/* Random bits: Philox4x32-10, one block an element. */
#include "ir/interp_internal.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define HAS_WIDE 1
#else
#define HAS_WIDE 0
#endif

/* Philox4x32-10 (Salmon et al., SC 2011): ten rounds of two 32x32->64 multiplications. */
uint32_t dhc_eval_random(int64_t seed, int64_t site, int64_t step, int64_t flat) {
  uint32_t k0 = (uint32_t)(uint64_t)seed, k1 = (uint32_t)(uint64_t)site;
  uint32_t c[4] = {(uint32_t)(uint64_t)flat, (uint32_t)((uint64_t)flat >> 32),
                   (uint32_t)(uint64_t)step, (uint32_t)((uint64_t)step >> 32)};
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ c[1] ^ k0, (uint32_t)p1,
                        (uint32_t)(p0 >> 32) ^ c[3] ^ k1, (uint32_t)p0};
    memcpy(c, next, sizeof c);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c[0];
}

#if HAS_WIDE
/* Eight blocks a vector, their words in the lower halves of its lanes; two vectors at a time. Only the
 * lower halves are multiplied, so what stands above them needs no cleaning until the end. */
__attribute__((target("avx512f"))) static void random_wide(uint32_t k0, uint32_t k1, uint64_t step, uint64_t first, int64_t n, int64_t *out) {
  const __m512i m0 = _mm512_set1_epi64(0xD2511F53), m1 = _mm512_set1_epi64(0xCD9E8D57);
  const __m512i low = _mm512_set1_epi64(0xffffffff), index = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
  for (int64_t e = 0; e < n; e += 16) {
    __m512i c[2][4];
    for (int k = 0; k < 2; k++) {
      c[k][0] = _mm512_add_epi64(_mm512_set1_epi64((int64_t)(first + (uint64_t)e + 8 * (uint64_t)k)), index);
      c[k][1] = _mm512_srli_epi64(c[k][0], 32);
      c[k][2] = _mm512_set1_epi64((int64_t)(uint32_t)step);
      c[k][3] = _mm512_set1_epi64((int64_t)(step >> 32));
    }
    uint32_t a = k0, b = k1;
    for (int round = 0; round < 10; round++) {
      const __m512i va = _mm512_set1_epi64(a), vb = _mm512_set1_epi64(b);
      for (int k = 0; k < 2; k++) {
        __m512i p0 = _mm512_mul_epu32(c[k][0], m0), p1 = _mm512_mul_epu32(c[k][2], m1);
        c[k][0] = _mm512_xor_epi64(_mm512_xor_epi64(_mm512_srli_epi64(p1, 32), c[k][1]), va);
        c[k][2] = _mm512_xor_epi64(_mm512_xor_epi64(_mm512_srli_epi64(p0, 32), c[k][3]), vb);
        c[k][1] = p1;
        c[k][3] = p0;
      }
      a += 0x9E3779B9u;
      b += 0xBB67AE85u;
    }
    for (int k = 0; k < 2; k++) _mm512_storeu_si512(out + e + (ptrdiff_t)8 * k, _mm512_and_epi64(c[k][0], low));
  }
}
#endif

void dhc_eval_random_many(int64_t seed, int64_t site, int64_t step, int64_t first, int64_t n, int64_t *out) {
  int64_t done = 0;
#if HAS_WIDE
  if (__builtin_cpu_supports("avx512f")) {
    done = n / 16 * 16;
    random_wide((uint32_t)(uint64_t)seed, (uint32_t)(uint64_t)site, (uint64_t)step, (uint64_t)first, done, out);
  }
#endif
  for (int64_t e = done; e < n; e++) out[e] = dhc_eval_random(seed, site, step, first + e);
}

bool dhc_interp_random_bits(DhcInterp *in, const DhcNode *n) {
  DhcArray *y = dhc_in_result(in, n, 0);
  if (!y) return false;
  int64_t seed = dhc_in_arg(in, n, 0)->i[0], site = dhc_in_arg(in, n, 1)->i[0];
  int64_t step = dhc_in_arg(in, n, 2)->i[0];
  dhc_eval_random_many(seed, site, step, n->n_args > 3 ? dhc_in_arg(in, n, 3)->i[0] : 0, y->n, y->i);
  return true;
}
