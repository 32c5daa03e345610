#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdbool.h>
#include <string.h>

uint64_t qv_hash_64(const void *p, size_t n)
{
    return XXH3_64bits(p, n);
}

uint64_t qv_hash_64_seed(const void *p, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(p, n, seed);
}

/* ---- SipHash ---- */

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], unsigned rounds)
{
    while (rounds-- > 0) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

uint64_t qv_hash_sip24(const void *p, size_t n)
{
    uint64_t v[4] = {0x736f6d6570736575u, 0x646f72616e646f6du, 0x6c7967656e657261u,
                     0x7465646279746573u};
    const uint8_t *at = p;
    size_t left = n;
    for (;; at += 8, left -= 8) {
        const bool last = left < 8; /* what is left, and the length in the highest byte */
        uint64_t word = last ? (uint64_t)(n & 0xff) << 56 : 0;
        for (size_t i = 0; i < (last ? left : 8); i++)
            word |= (uint64_t)at[i] << (8 * i);
        v[3] ^= word;
        sip_rounds(v, 2);
        v[0] ^= word;
        if (last)
            break;
    }
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- CRC32C ---- */

static uint32_t crc_table_step(uint32_t crc, uint8_t byte)
{
    crc ^= byte;
    for (int i = 0; i < 8; i++)
        crc = (crc >> 1) ^ (0x82F63B78u & (0u - (crc & 1u)));
    return crc;
}

static uint32_t crc_portable(uint32_t crc, const uint8_t *p, size_t n)
{
    while (n-- > 0)
        crc = crc_table_step(crc, *p++);
    return crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

#define CRC_LANE ((size_t)1024)

/* a * b mod P in the bit-reflected field. */
static uint32_t crc_mul(uint32_t a, uint32_t b)
{
    uint32_t r = 0;
    for (uint32_t m = 1u << 31; m != 0; m >>= 1) {
        if (a & m)
            r ^= b;
        b = (b >> 1) ^ (0x82F63B78u & (0u - (b & 1u)));
    }
    return r;
}

/* The remainder after CRC_LANE zero bytes: times x^(8 * 1024) mod P. */
static uint32_t crc_shift_lane(uint32_t crc)
{
    return crc_mul(0xe4172b16u, crc);
}

__attribute__((target("sse4.2"))) static uint64_t crc_run(uint64_t crc, const uint8_t *p, size_t n)
{
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        crc = _mm_crc32_u64(crc, v);
    }
    for (; n > 0; n--, p++)
        crc = _mm_crc32_u8((uint32_t)crc, *p);
    return crc;
}

/* Three streams hide the instruction's latency of 3 cycles; their remainders are joined by shifting
 * the earlier ones over the lane that follows. */
__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const uint8_t *p,
                                                            size_t n)
{
    uint64_t a = crc;
    while (n >= 3 * CRC_LANE) {
        uint64_t b = 0;
        uint64_t c = 0;
        for (size_t i = 0; i < CRC_LANE; i += 8) {
            uint64_t x;
            uint64_t y;
            uint64_t z;
            memcpy(&x, p + i, 8);
            memcpy(&y, p + CRC_LANE + i, 8);
            memcpy(&z, p + 2 * CRC_LANE + i, 8);
            a = _mm_crc32_u64(a, x);
            b = _mm_crc32_u64(b, y);
            c = _mm_crc32_u64(c, z);
        }
        a = crc_shift_lane((uint32_t)a) ^ b;
        a = crc_shift_lane((uint32_t)a) ^ c;
        p += 3 * CRC_LANE;
        n -= 3 * CRC_LANE;
    }
    return (uint32_t)crc_run(a, p, n);
}

#endif

uint32_t qv_hash_crc32c(uint32_t crc, const void *p, size_t n)
{
    crc = ~crc;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc_sse42(crc, p, n);
#endif
    return ~crc_portable(crc, p, n);
}
