/* The plain C kernel, and which one runs. */
#include "simd/links.h"

#include "base/qv_assert.h"

/* Whether a link was seen and whether it passes is a coin's throw: counted, not branched on. */
uint32_t qv_links_split_serial(const _Atomic uint32_t *list, uint32_t cap,
                               const struct qv_links_filter *filter, struct qv_links_parts *parts)
{
    const struct qv_links_filter f = *filter;
    uint32_t passing = parts->passing_count;
    uint32_t failing = parts->failing_count;
    uint32_t i = 0;
    for (; i < cap; i++) {
        const uint32_t to = atomic_load_explicit(&list[i], memory_order_acquire);
        if (to >= f.bound) {
            if (to == UINT32_MAX)
                break;
            continue;
        }
        const uint32_t pass = (uint32_t)(f.bits[to >> 6] >> (to & 63)) & 1;
        parts->passing[passing] = to;
        parts->failing[failing] = to;
        passing += pass & (f.seen[to] != f.epoch ? 1U : 0U);
        failing += pass ^ 1;
    }
    parts->passing_count = passing;
    parts->failing_count = failing;
    return i;
}

qv_links_split_f qv_simd_links_split_isa(enum qv_isa isa)
{
    QV_ASSERT((unsigned)isa < QV_ISA_COUNT);
    if (!qv_isa_have(isa))
        return NULL;
#ifdef __x86_64__
    if (isa == QV_ISA_AVX512)
        return qv_links_split_avx512;
#endif
    return qv_links_split_serial;
}

qv_links_split_f qv_simd_links_split(void)
{
    return qv_simd_links_split_isa(qv_isa_in_force());
}
