/* Vector values as clients give them, and their stored bytes.
 *
 * stored := kind u8, then
 *   DENSE  (0): dtype u8, u32 dim, dim elements
 *   SPARSE (1): u32 count, count x u32 index (ascending, distinct), count x f32
 *   MULTI  (2): dtype u8, u32 dim, u32 rows, rows x dim elements
 * all little-endian, unaligned; bounds from limits.h (dim >= 1, rows >= 1, count may be 0). Any bit
 * pattern of an element is valid here: NaN and Inf are refused where a request comes in.
 * Normalising and rounding to the stored dtype is done once, by the member that accepts a change.
 */
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
    uint32_t dim;            /* dense, multi: elements a row; sparse: count of non-zeros */
    uint32_t rows;           /* multi: rows; else 1 */
    const float *values;     /* rows x dim */
    const uint32_t *indices; /* sparse only */
};

/* A vector under its name; the unnamed one has name.n == 0. */
struct qv_named_vec {
    struct qv_str name;
    struct qv_vec vec;
};

/* Stored bytes as they lie: elements borrowed, unaligned. */
struct qv_vec_view {
    enum qv_vec_kind kind;
    enum qv_dtype dtype;     /* sparse: f32 */
    uint32_t dim;            /* as in qv_vec */
    uint32_t rows;           /* multi; else 1 */
    const uint8_t *elements; /* rows x dim x qv_dtype_bytes(dtype) */
    const uint8_t *indices;  /* sparse only: dim x u32 */
};

/* Exactly one stored vector in p[0..n)? Otherwise QV_ECORRUPT with the reason in msg (reported to
 * nobody: the caller knows whose bytes they are). */
QV_MUST_USE int qv_vec_check_stored(const void *p, size_t n, struct qv_errmsg *msg);
/* Takes checked stored bytes apart; asserts on others. */
void qv_vec_view(struct qv_bytes stored, struct qv_vec_view *out);
/* Decodes checked stored bytes to f32 (dense and multi f32 borrow the bytes when they are aligned,
 * everything else is copied into the arena). QV_ENOMEM. */
QV_MUST_USE int qv_vec_decode(struct qv_arena *a, struct qv_bytes stored, struct qv_vec *out);

#define QV_VEC_DENSE_HEAD_BYTES 6 /* before the elements of a stored dense vector */
/* Appends the stored form of v with elements of dtype (dense, multi; already normalised by the
 * caller where the metric asks for it). f16: to nearest, ties to even, overflow to Inf; u8: cut
 * towards zero and clamped to 0 .. 255, NaN 0: as simd/convert.h does. Asserts the bounds. */
void qv_vec_encode(struct qv_buf *b, const struct qv_vec *v, enum qv_dtype dtype);

#endif
