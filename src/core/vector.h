/* Vector values as clients give them, and their stored bytes.
 *
 * stored := kind u8, then
 *   DENSE  (0): dtype u8, u32 dim, dim elements
 *   SPARSE (1): u32 count, count x u32 index (ascending, distinct), count x f32
 *   MULTI  (2): dtype u8, u32 dim, u32 rows, rows x dim elements
 * Normalising and rounding to the stored dtype is done once, by the member that accepts a change. */
#ifndef QV_CORE_VECTOR_H
#define QV_CORE_VECTOR_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/metric.h"
#include "core/doc.h"

enum qv_vec_kind { QV_VEC_DENSE, QV_VEC_SPARSE, QV_VEC_MULTI };

/* f32 values as given or as answered; borrows values and indices. */
struct qv_vec {
    enum qv_vec_kind kind;
    uint32_t dim;   /* dense, multi: elements a row; sparse: count of non-zeros */
    uint32_t rows;  /* multi: rows; else 1 */
    const float *values;     /* rows x dim */
    const uint32_t *indices; /* sparse only */
};

/* A vector under its name; the unnamed one has name.n == 0. */
struct qv_named_vec {
    struct qv_str name;
    struct qv_vec vec;
};

QV_MUST_USE int qv_vec_check_stored(const void *p, size_t n, struct qv_errmsg *msg);
/* Decodes checked stored bytes to f32 in the arena (dense f32 may borrow when aligned). */
QV_MUST_USE int qv_vec_decode(struct qv_arena *a, struct qv_bytes stored, struct qv_vec *out);
/* Appends the stored form of v with elements of dtype (dense, multi; already normalised by the
 * caller where the metric asks for it). */
void qv_vec_encode(struct qv_buf *b, const struct qv_vec *v, enum qv_dtype dtype);

#endif
