/* Random numbers: one seeded stream per module and node (xoshiro256**, Blackman & Vigna 2018).
 * Nothing else in the tree is random; a seed replays a run. */
#ifndef QV_BASE_RNG_H
#define QV_BASE_RNG_H

#include <stdint.h>

struct qv_rng {
    uint64_t s[4];
};

void qv_rng_init(struct qv_rng *r, uint64_t seed); /* any seed, 0 included */
uint64_t qv_rng_u64(struct qv_rng *r);
uint64_t qv_rng_below(struct qv_rng *r, uint64_t bound); /* 0 .. bound-1, unbiased; bound >= 1 */
double qv_rng_unit(struct qv_rng *r);                    /* [0, 1), 53 bits */
float qv_rng_gauss(struct qv_rng *r);                    /* mean 0, variance 1 */

#endif
