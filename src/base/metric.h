/* Element types and metrics of dense vectors: shared by kernels (simd) and domain types (core). */
#ifndef QV_BASE_METRIC_H
#define QV_BASE_METRIC_H

#include <stddef.h>

enum qv_dtype { QV_DTYPE_F32, QV_DTYPE_F16, QV_DTYPE_U8, QV_DTYPE_COUNT };

static inline size_t qv_dtype_bytes(enum qv_dtype t)
{
    return t == QV_DTYPE_F32 ? 4 : t == QV_DTYPE_F16 ? 2 : 1;
}

/* Inside, everything is a distance: smaller is closer. QV_METRIC_L2 is the squared euclidean
 * distance, DOT the negated inner product, COSINE 1 - cosine similarity, L1 manhattan. The score a
 * client sees (sqrt, sign) is made from the distance at the edge of the shard (core/rank.h). */
enum qv_metric { QV_METRIC_L2, QV_METRIC_DOT, QV_METRIC_COSINE, QV_METRIC_L1, QV_METRIC_COUNT };

#endif
