/* Hashes: XXH3-64 for keys and content, CRC32C for frames on disk. */
#ifndef QV_BASE_HASH_H
#define QV_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t qv_hash_64(const void *p, size_t n); /* XXH3-64, seed 0 */
uint64_t qv_hash_64_seed(const void *p, size_t n, uint64_t seed);

/* A bijective mix of 64 bits (splitmix64's finaliser): spreads integers over a table. */
static inline uint64_t qv_hash_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 27;
    x *= 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* CRC32C (Castagnoli), start with crc = 0; chains: crc(crc(0, a), b) == crc(0, ab).
 * SSE4.2 where the machine has it (several GB/s), a table elsewhere. */
uint32_t qv_hash_crc32c(uint32_t crc, const void *p, size_t n);

/* SipHash-2-4 with an all-zero key: what the API's `slice` condition is defined by. */
uint64_t qv_hash_sip24(const void *p, size_t n);

#endif
