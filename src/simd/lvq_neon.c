/* LVQ codes, NEON. */
#include "simd/lvq_list.h"
#include "simd/neon.h"

#define STEP(x, y) products = qv_neon_add_products(products, x, y)

QV_ALWAYS_INLINE uint32_t product_neon(const uint8_t *a, const uint8_t *b, size_t dim, uint32_t sum)
{
    uint32x4_t products = vdupq_n_u32(0);
    (void)sum;
    QV_NEON_BYTES(STEP);
    return vaddvq_u32(products);
}

QV_LVQ_DEFINE(neon, product_neon, )
