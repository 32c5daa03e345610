#include "core/kv.h"

#include "base/qv_assert.h"

#define BATCH_BYTES_MAX ((size_t)4 << 30)
#define OP_HEAD_BYTES 9

void qv_kv_batch_init(struct qv_kv_batch *b)
{
    qv_buf_init(&b->ops, BATCH_BYTES_MAX);
    b->count = 0;
}

void qv_kv_batch_close(struct qv_kv_batch *b)
{
    qv_buf_close(&b->ops);
    b->count = 0;
}

void qv_kv_batch_clear(struct qv_kv_batch *b)
{
    qv_buf_clear(&b->ops);
    b->count = 0;
}

static void batch_add(struct qv_kv_batch *b, enum qv_kv_op op, struct qv_bytes key,
                      struct qv_bytes value)
{
    if (key.n > QV_KV_KEY_BYTES_MAX || value.n > QV_KV_VALUE_BYTES_MAX)
        b->ops.failed = true;
    if (qv_buf_reserve(&b->ops, OP_HEAD_BYTES + key.n + value.n) == NULL)
        return;
    qv_buf_u8(&b->ops, (uint8_t)op);
    qv_buf_u32(&b->ops, (uint32_t)key.n);
    qv_buf_u32(&b->ops, (uint32_t)value.n);
    qv_buf_append(&b->ops, key.p, key.n);
    qv_buf_append(&b->ops, value.p, value.n);
    b->count++;
}

void qv_kv_batch_put(struct qv_kv_batch *b, struct qv_bytes key, struct qv_bytes value)
{
    QV_ASSERT(key.n > 0);
    batch_add(b, QV_KV_PUT, key, value);
}

void qv_kv_batch_delete(struct qv_kv_batch *b, struct qv_bytes key)
{
    QV_ASSERT(key.n > 0);
    batch_add(b, QV_KV_DELETE, key, (struct qv_bytes){0});
}

void qv_kv_batch_delete_range(struct qv_kv_batch *b, struct qv_bytes from, struct qv_bytes to)
{
    QV_ASSERT(to.n > 0 && to.n <= QV_KV_KEY_BYTES_MAX);
    batch_add(b, QV_KV_DELETE_RANGE, from, to);
}

bool qv_kv_batch_next(const struct qv_kv_batch *b, size_t *pos, enum qv_kv_op *op,
                      struct qv_bytes *key, struct qv_bytes *value)
{
    QV_ASSERT(!b->ops.failed && *pos <= b->ops.len);
    if (*pos == b->ops.len)
        return false;
    struct qv_rd rd;
    qv_rd_init(&rd, b->ops.data + *pos, b->ops.len - *pos);
    *op = (enum qv_kv_op)qv_rd_u8(&rd);
    key->n = qv_rd_u32(&rd);
    value->n = qv_rd_u32(&rd);
    key->p = qv_rd_take(&rd, key->n);
    value->p = qv_rd_take(&rd, value->n);
    QV_ASSERT(!rd.failed);
    *pos = b->ops.len - qv_rd_left(&rd);
    return true;
}
