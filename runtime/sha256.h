/* SHA-256 (FIPS 180-4), for keys, checksums and model hashes. */
#ifndef DHC_RUNTIME_SHA256_H
#define DHC_RUNTIME_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct DhcSha256 {
  uint32_t state[8];
  uint64_t n_bytes;
  uint8_t block[64]; /* the n_bytes % 64 bytes not yet digested */
} DhcSha256;

void dhc_sha256_init(DhcSha256 *h);
void dhc_sha256_update(DhcSha256 *h, const void *bytes, size_t n_bytes);
/* Ends the hash; h must be initialised again before it is reused. */
void dhc_sha256_final(DhcSha256 *h, uint8_t digest[32]);
void dhc_sha256_bytes(const void *bytes, size_t n_bytes, uint8_t digest[32]);
/* The same without the processor's SHA instructions; tests compare the two. */
void dhc_sha256_portable(const void *bytes, size_t n_bytes, uint8_t digest[32]);
/* 64 lower-case digits and a NUL. */
void dhc_sha256_hex(const uint8_t digest[32], char hex[65]);
/* True if key is exactly 64 lower-case hex digits. */
bool dhc_sha256_is_hex(const char *key);

#endif
