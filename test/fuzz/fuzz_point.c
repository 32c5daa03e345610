/* Changes (first byte even) and copies (odd) from anywhere: what is decoded encodes to bytes that
 * decode and encode to the same bytes; copies keep normal form and join with themselves to
 * themselves. covers: src/core/point_codec.c src/core/point.c src/core/vector.c */
#include "core/point.h"
#include "core/vector.h"

#include "base/qv_assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_vectors(struct qv_arena *a, const struct qv_part *parts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct qv_vec v;
        struct qv_vec_view view;
        struct qv_buf b;
        if (parts[i].kind != QV_PART_VECTOR || parts[i].state != QV_PART_INLINE)
            continue;
        qv_vec_view(parts[i].value, &view);
        if (qv_vec_decode(a, parts[i].value, &v) != 0)
            continue;
        qv_buf_init(&b, 0);
        qv_vec_encode(&b, &v, view.dtype);
        QV_ASSERT(b.len == parts[i].value.n);
        if (view.dtype != QV_DTYPE_F16) /* there a signalling NaN becomes a quiet one */
            QV_ASSERT(memcmp(b.data, parts[i].value.p, b.len) == 0);
        qv_buf_close(&b);
    }
}

static void same(const struct qv_buf *a, const struct qv_buf *b)
{
    QV_ASSERT(a->len == b->len && memcmp(a->data, b->data, a->len) == 0);
}

static void use_copy(struct qv_arena *a, const struct qv_copy *c, const struct qv_copy *other)
{
    const char *reason;
    struct qv_copy self;
    struct qv_copy both;
    struct qv_copy turned;
    struct qv_buf b;
    QV_ASSERT(qv_copy_check(c, &reason));
    if (qv_copy_join(a, c, c, &self) != 0 || qv_copy_join(a, c, other, &both) != 0 ||
        qv_copy_join(a, other, c, &turned) != 0)
        return;
    QV_ASSERT(qv_copy_digest(&self) == qv_copy_digest(c) && qv_copy_check(&both, &reason));
    QV_ASSERT(qv_copy_digest(&both) == qv_copy_digest(&turned));
    qv_buf_init(&b, 0);
    qv_copy_payload(&both, &b);
    struct qv_errmsg msg;
    int err = qv_doc_check(b.data, b.len, &msg);
    QV_ASSERT(err == 0);
    (void)qv_copy_find(&both, QV_PART_PAYLOAD, 0, qv_str_of("a"));
    qv_buf_close(&b);
}

static void one_change(struct qv_rd *r, struct qv_arena *a)
{
    struct qv_errmsg msg;
    struct qv_change c;
    struct qv_change again;
    struct qv_copy first;
    struct qv_copy second;
    struct qv_buf b[2];
    if (qv_change_decode(r, a, &c, &msg) != 0)
        return;
    qv_buf_init(&b[0], 0);
    qv_buf_init(&b[1], 0);
    qv_change_encode(&b[0], &c);
    qv_rd_init(r, b[0].data, b[0].len);
    int err = qv_change_decode(r, a, &again, &msg);
    QV_ASSERT(err == 0 && qv_rd_left(r) == 0);
    qv_change_encode(&b[1], &again);
    same(&b[0], &b[1]);
    use_vectors(a, c.parts, c.part_count);
    qv_copy_of_change(&c, (struct qv_version){5, 1}, &first);
    qv_copy_of_change(&again, (struct qv_version){6, 1}, &second);
    use_copy(a, &first, &second);
    qv_buf_close(&b[0]);
    qv_buf_close(&b[1]);
}

static void one_copy(struct qv_rd *r, struct qv_arena *a)
{
    struct qv_errmsg msg;
    struct qv_copy c;
    struct qv_copy again;
    struct qv_buf b[2];
    if (qv_copy_decode(r, a, &c, &msg) != 0)
        return;
    qv_buf_init(&b[0], 0);
    qv_buf_init(&b[1], 0);
    qv_copy_encode(&b[0], &c);
    qv_rd_init(r, b[0].data, b[0].len);
    int err = qv_copy_decode(r, a, &again, &msg);
    QV_ASSERT(err == 0 && qv_rd_left(r) == 0);
    QV_ASSERT(qv_copy_digest(&c) == qv_copy_digest(&again));
    qv_copy_encode(&b[1], &again);
    same(&b[0], &b[1]);
    use_vectors(a, c.parts, c.part_count);
    use_copy(a, &c, &again);
    qv_buf_close(&b[0]);
    qv_buf_close(&b[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qv_rd r;
    struct qv_arena a;
    if (size == 0)
        return 0;
    qv_arena_init(&a, (size_t)64 << 20);
    qv_rd_init(&r, data + 1, size - 1);
    if (data[0] % 2 == 0)
        one_change(&r, &a);
    else
        one_copy(&r, &a);
    qv_arena_close(&a);
    return 0;
}
