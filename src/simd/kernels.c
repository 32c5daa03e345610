/* Which kernel runs: a table of all of them. */
#include "simd/kernels.h"

#include "base/qv_assert.h"
#include "simd/kernel_list.h"

#include <string.h>

struct kernel {
    qv_dist_f one;
    qv_dist_batch_f batch;
};

#define KERNEL(op, dt, isa)                                                                        \
    {                                                                                              \
        qv_##op##_##dt##_##isa, qv_##op##_##dt##_##isa##_batch                                     \
    }
#define KERNELS_OF_DTYPES(op, isa)                                                                 \
    {                                                                                              \
        [QV_DTYPE_F32] = KERNEL(op, f32, isa), [QV_DTYPE_F16] = KERNEL(op, f16, isa),              \
        [QV_DTYPE_U8] = KERNEL(op, u8, isa),                                                       \
    }
#define KERNELS_OF_ISA(isa)                                                                        \
    {                                                                                              \
        [QV_METRIC_L2] = KERNELS_OF_DTYPES(l2, isa),                                               \
        [QV_METRIC_DOT] = KERNELS_OF_DTYPES(dot, isa),                                             \
        [QV_METRIC_COSINE] = KERNELS_OF_DTYPES(cosine, isa),                                       \
        [QV_METRIC_L1] = KERNELS_OF_DTYPES(l1, isa),                                               \
    }

static const struct kernel kernels[QV_ISA_COUNT][QV_METRIC_COUNT][QV_DTYPE_COUNT] = {
    [QV_ISA_SERIAL] = KERNELS_OF_ISA(serial),
#ifdef __x86_64__
    [QV_ISA_AVX2] = KERNELS_OF_ISA(avx2),
    [QV_ISA_AVX512] = KERNELS_OF_ISA(avx512),
#endif
#ifdef __aarch64__
    [QV_ISA_NEON] = KERNELS_OF_ISA(neon),
#endif
};

#ifdef __x86_64__
/* u8 of an AVX-512 machine that has VNNI besides; L1 has no use for it. */
static const struct kernel kernels_u8_vnni[QV_METRIC_COUNT] = {
    [QV_METRIC_L2] = KERNEL(l2, u8, avx512vnni),
    [QV_METRIC_DOT] = KERNEL(dot, u8, avx512vnni),
    [QV_METRIC_COSINE] = KERNEL(cosine, u8, avx512vnni),
    [QV_METRIC_L1] = KERNEL(l1, u8, avx512),
};
#endif

static const char *const isa_names[QV_ISA_COUNT] = {"serial", "avx2", "avx512", "neon"};

enum qv_isa qv_simd_isa_best(void)
{
    return qv_isa_best();
}

enum qv_isa qv_simd_isa(void)
{
    return qv_isa_in_force();
}

const char *qv_simd_isa_name(enum qv_isa isa)
{
    QV_ASSERT((unsigned)isa < QV_ISA_COUNT);
    return isa_names[isa];
}

int qv_simd_select(const char *isa_or_null, struct qv_errmsg *msg)
{
    static const char *const allowed[QV_ISA_COUNT] = {"serial", "serial or avx2",
                                                      "serial, avx2 or avx512", "serial or neon"};
    const enum qv_isa best = qv_isa_best();

    if (isa_or_null == NULL || isa_or_null[0] == '\0') {
        qv_isa_force(best);
        return QV_OK;
    }
    for (int isa = 0; isa < QV_ISA_COUNT; ++isa) {
        if (strcmp(isa_or_null, isa_names[isa]) != 0)
            continue;
        if (!qv_isa_have((enum qv_isa)isa))
            return qv_fail(msg, QV_EINVAL, "this machine has no %s: QUIVER_ISA may be %s",
                           isa_or_null, allowed[best]);
        qv_isa_force((enum qv_isa)isa);
        return QV_OK;
    }
    return qv_fail(msg, QV_EINVAL, "unknown instruction set '%s': QUIVER_ISA may be %s",
                   isa_or_null, allowed[best]);
}

/* NULL when the machine can't run it. */
static const struct kernel *find_kernel(enum qv_isa isa, enum qv_metric metric, enum qv_dtype dtype)
{
    QV_ASSERT((unsigned)isa < QV_ISA_COUNT);
    QV_ASSERT((unsigned)metric < QV_METRIC_COUNT);
    QV_ASSERT((unsigned)dtype < QV_DTYPE_COUNT);
    if (!qv_isa_have(isa))
        return NULL;
#ifdef __x86_64__
    if (isa == QV_ISA_AVX512 && dtype == QV_DTYPE_U8 && qv_isa_probe().vnni)
        return &kernels_u8_vnni[metric];
#endif
    return &kernels[isa][metric][dtype];
}

qv_dist_f qv_simd_dist_isa(enum qv_isa isa, enum qv_metric metric, enum qv_dtype dtype)
{
    const struct kernel *k = find_kernel(isa, metric, dtype);
    return k == NULL ? NULL : k->one;
}

qv_dist_batch_f qv_simd_dist_batch_isa(enum qv_isa isa, enum qv_metric metric, enum qv_dtype dtype)
{
    const struct kernel *k = find_kernel(isa, metric, dtype);
    return k == NULL ? NULL : k->batch;
}

qv_dist_f qv_simd_dist(enum qv_metric metric, enum qv_dtype dtype)
{
    return qv_simd_dist_isa(qv_simd_isa(), metric, dtype);
}

qv_dist_batch_f qv_simd_dist_batch(enum qv_metric metric, enum qv_dtype dtype)
{
    return qv_simd_dist_batch_isa(qv_simd_isa(), metric, dtype);
}
