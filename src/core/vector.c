/* Stored vectors: check, take apart, decode to f32, encode from f32. */
#include "core/vector.h"

#include "base/half.h"
#include "base/qv_assert.h"
#include "core/limits.h"

#include <stdalign.h>

QV_STATIC_ASSERT(sizeof(float) == 4, "elements are IEEE 754 binary32");

static uint8_t f32_to_u8(float x)
{
    if (!(x > 0.0f)) /* NaN too */
        return 0;
    return x >= 255.0f ? 255 : (uint8_t)x;
}

/* ---- check and view ---- */

static int bad(struct qv_errmsg *msg, const char *why)
{
    return qv_fail(msg, QV_ECORRUPT, "vector: %s", why);
}

static int read_elements(struct qv_rd *r, struct qv_vec_view *out, struct qv_errmsg *msg)
{
    const uint8_t dtype = qv_rd_u8(r);
    out->dim = qv_rd_u32(r);
    out->rows = out->kind == QV_VEC_MULTI ? qv_rd_u32(r) : 1;
    if (r->failed)
        return bad(msg, "head is cut");
    if (dtype >= QV_DTYPE_COUNT)
        return bad(msg, "unknown element type");
    if (out->dim == 0 || out->dim > QV_DIM_MAX)
        return bad(msg, "impossible dimension");
    if (out->rows == 0 || out->rows > QV_MULTI_ROWS_MAX)
        return bad(msg, "impossible number of rows");
    out->dtype = (enum qv_dtype)dtype;
    out->elements = qv_rd_take(r, (size_t)out->dim * out->rows * qv_dtype_bytes(out->dtype));
    return out->elements != NULL ? 0 : bad(msg, "elements are cut");
}

static int read_sparse(struct qv_rd *r, struct qv_vec_view *out, struct qv_errmsg *msg)
{
    uint32_t last = 0;

    out->dtype = QV_DTYPE_F32;
    out->rows = 1;
    out->dim = qv_rd_u32(r);
    if (r->failed || out->dim > QV_SPARSE_NNZ_MAX)
        return bad(msg, "impossible number of non-zeros");
    out->indices = qv_rd_take(r, (size_t)out->dim * 4);
    out->elements = qv_rd_take(r, (size_t)out->dim * 4);
    if (out->elements == NULL)
        return bad(msg, "elements are cut");
    for (uint32_t i = 0; i < out->dim; i++) {
        uint32_t index;
        memcpy(&index, out->indices + (size_t)i * 4, sizeof index);
        if (i > 0 && index <= last)
            return bad(msg, "indices do not ascend");
        last = index;
    }
    return 0;
}

static int read_stored(const void *p, size_t n, struct qv_vec_view *out, struct qv_errmsg *msg)
{
    struct qv_rd r;
    qv_rd_init(&r, p, n);
    *out = (struct qv_vec_view){0};
    const uint8_t kind = qv_rd_u8(&r);
    if (r.failed || kind > QV_VEC_MULTI)
        return bad(msg, "unknown kind");
    out->kind = (enum qv_vec_kind)kind;
    int err = kind == QV_VEC_SPARSE ? read_sparse(&r, out, msg) : read_elements(&r, out, msg);
    if (err == 0 && qv_rd_left(&r) != 0)
        err = bad(msg, "bytes follow the elements");
    return err;
}

int qv_vec_check_stored(const void *p, size_t n, struct qv_errmsg *msg)
{
    struct qv_vec_view view;
    return read_stored(p, n, &view, msg);
}

void qv_vec_view(struct qv_bytes stored, struct qv_vec_view *out)
{
    struct qv_errmsg msg;
    int err = read_stored(stored.p, stored.n, out, &msg);
    QV_ASSERT(err == 0);
}

/* ---- decode and encode ---- */

static void widen(enum qv_dtype dtype, const uint8_t *from, float *to, size_t n)
{
    if (dtype == QV_DTYPE_F32) {
        memcpy(to, from, n * sizeof *to);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        if (dtype == QV_DTYPE_U8) {
            to[i] = from[i];
        } else {
            memcpy(&h, from + 2 * i, sizeof h);
            to[i] = qv_half_to_f32(h);
        }
    }
}

int qv_vec_decode(struct qv_arena *a, struct qv_bytes stored, struct qv_vec *out)
{
    struct qv_vec_view view;
    qv_vec_view(stored, &view);
    QV_ASSERT(view.elements != NULL);
    const size_t n = (size_t)view.dim * view.rows;

    *out = (struct qv_vec){.kind = view.kind, .dim = view.dim, .rows = view.rows};
    if (view.dtype == QV_DTYPE_F32 && (uintptr_t)view.elements % alignof(float) == 0 &&
        view.kind != QV_VEC_SPARSE) {
        out->values = (const float *)(const void *)view.elements;
        return 0;
    }
    float *values = qv_arena_alloc(a, n * sizeof *values);
    if (values == NULL)
        return QV_ENOMEM;
    widen(view.dtype, view.elements, values, n);
    out->values = values;
    if (view.kind == QV_VEC_SPARSE) {
        out->indices = qv_arena_dup(a, view.indices, (size_t)view.dim * 4);
        if (out->indices == NULL)
            return QV_ENOMEM;
    }
    return 0;
}

static void narrow(struct qv_buf *b, enum qv_dtype dtype, const float *from, size_t n)
{
    const size_t bytes = n * qv_dtype_bytes(dtype);
    uint8_t *to = qv_buf_reserve(b, bytes);
    if (to == NULL)
        return;
    if (dtype == QV_DTYPE_F32) {
        memcpy(to, from, bytes);
    } else {
        for (size_t i = 0; i < n; i++) {
            const uint16_t h = qv_half_from_f32(from[i]);
            if (dtype == QV_DTYPE_U8)
                to[i] = f32_to_u8(from[i]);
            else
                memcpy(to + 2 * i, &h, sizeof h);
        }
    }
    b->len += bytes;
}

void qv_vec_encode(struct qv_buf *b, const struct qv_vec *v, enum qv_dtype dtype)
{
    qv_buf_u8(b, (uint8_t)v->kind);
    if (v->kind == QV_VEC_SPARSE) {
        QV_ASSERT(v->dim <= QV_SPARSE_NNZ_MAX);
        qv_buf_u32(b, v->dim);
        if (v->dim == 0)
            return;
        qv_buf_append(b, v->indices, (size_t)v->dim * 4);
        qv_buf_append(b, v->values, (size_t)v->dim * 4);
        return;
    }
    QV_ASSERT(v->dim >= 1 && v->dim <= QV_DIM_MAX && dtype < QV_DTYPE_COUNT);
    QV_ASSERT(v->rows >= 1 && (v->kind == QV_VEC_DENSE ? v->rows == 1 : true));
    QV_ASSERT(v->rows <= QV_MULTI_ROWS_MAX);
    qv_buf_u8(b, (uint8_t)dtype);
    qv_buf_u32(b, v->dim);
    if (v->kind == QV_VEC_MULTI)
        qv_buf_u32(b, v->rows);
    narrow(b, dtype, v->values, (size_t)v->dim * v->rows);
}
