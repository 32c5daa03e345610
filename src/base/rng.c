#include "base/rng.h"

#include "base/hash.h"
#include "base/qv_assert.h"

#include <math.h>

void qv_rng_init(struct qv_rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += 0x9E3779B97F4A7C15u;
        r->s[i] = qv_hash_mix(seed);
    }
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t qv_rng_u64(struct qv_rng *r)
{
    uint64_t out = rotl(r->s[1] * 5, 7) * 9;
    uint64_t t = r->s[1] << 17;
    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = rotl(r->s[3], 45);
    return out;
}

uint64_t qv_rng_below(struct qv_rng *r, uint64_t bound)
{
    QV_ASSERT(bound >= 1);
    uint64_t reject_below = (0 - bound) % bound;
    for (;;) {
        uint64_t x = qv_rng_u64(r);
        if (x >= reject_below)
            return x % bound;
    }
}

double qv_rng_unit(struct qv_rng *r)
{
    return (double)(qv_rng_u64(r) >> 11) * 0x1p-53;
}

float qv_rng_gauss(struct qv_rng *r)
{
    double u = 1.0 - qv_rng_unit(r);
    double v = qv_rng_unit(r);
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}
