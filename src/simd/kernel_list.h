/* Private to src/simd: the prototypes of every kernel, single and batched. kernels.c is the table
 * over them. A kernel's name is qv_<operation>_<dtype>_<isa>. */
#ifndef QV_SIMD_KERNEL_LIST_H
#define QV_SIMD_KERNEL_LIST_H

#include <stddef.h>
#include <stdint.h>

#define QV_KERNEL_DECLARE(op, dt, isa)                                                             \
    float qv_##op##_##dt##_##isa(const void *a, const void *b, size_t dim);                        \
    void qv_##op##_##dt##_##isa##_batch(const void *query, const void *base, size_t stride,        \
                                        const uint32_t *slots, size_t n, size_t dim, float *out);

#define QV_KERNEL_DECLARE_OPS(dt, isa)                                                             \
    QV_KERNEL_DECLARE(l2, dt, isa)                                                                 \
    QV_KERNEL_DECLARE(dot, dt, isa)                                                                \
    QV_KERNEL_DECLARE(cosine, dt, isa)                                                             \
    QV_KERNEL_DECLARE(l1, dt, isa)

QV_KERNEL_DECLARE_OPS(f32, serial)
QV_KERNEL_DECLARE_OPS(f16, serial)
QV_KERNEL_DECLARE_OPS(u8, serial)

#ifdef __x86_64__
QV_KERNEL_DECLARE_OPS(f32, avx2)
QV_KERNEL_DECLARE_OPS(f16, avx2)
QV_KERNEL_DECLARE_OPS(u8, avx2)
QV_KERNEL_DECLARE_OPS(f32, avx512)
QV_KERNEL_DECLARE_OPS(f16, avx512)
QV_KERNEL_DECLARE_OPS(u8, avx512)
/* Where the machine has VNNI too. */
QV_KERNEL_DECLARE(l2, u8, avx512vnni)
QV_KERNEL_DECLARE(dot, u8, avx512vnni)
QV_KERNEL_DECLARE(cosine, u8, avx512vnni)
#endif

#ifdef __aarch64__
QV_KERNEL_DECLARE_OPS(f32, neon)
QV_KERNEL_DECLARE_OPS(f16, neon)
QV_KERNEL_DECLARE_OPS(u8, neon)
#endif

#endif
