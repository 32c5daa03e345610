/* Batches of changes from anywhere: what is accepted can be cut down to some keys and is a batch
 * again; records of the log's replays are read without harm.
 * covers: src/shard/change_batch.c */
#include "shard/change_batch.h"

#include "base/qv_assert.h"
#include "shard/shard_replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void cut(struct qv_bytes bytes)
{
    static const struct qv_interval half = {0, UINT64_MAX / 2};
    const struct qv_key_set keys = {.keys = {&half, 1}};
    struct qv_arena arena;
    struct qv_buf some;
    struct qv_buf all;
    struct qv_rd rd;
    qv_arena_init(&arena, (size_t)1 << 28);
    qv_buf_init(&some, 0);
    qv_buf_init(&all, 0);
    qv_batch_begin(&some);
    qv_batch_begin(&all);
    int err = qv_batch_open(&rd, bytes, NULL);
    while (err == 0 && qv_rd_left(&rd) > 0) {
        struct qv_batch_record r;
        err = qv_batch_next(&rd, &r, NULL);
        if (err == 0)
            err = qv_batch_put_some(&some, &r, &keys, &arena, NULL);
        if (err == 0)
            err = qv_batch_put_some(&all, &r, NULL, &arena, NULL);
    }
    QV_ASSERT(err == 0 && !some.failed && !all.failed && some.len <= all.len);
    QV_ASSERT(all.len == bytes.n && memcmp(all.data, bytes.p, bytes.n) == 0);
    QV_ASSERT(qv_batch_check((struct qv_bytes){some.data, some.len}, NULL));
    qv_buf_close(&some);
    qv_buf_close(&all);
    qv_arena_close(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct qv_bytes bytes = {data, size};
    struct qv_logged logged;
    const char *why;
    int err = qv_logged_decode(size > 0 ? data[0] % 4 : 0, bytes, &logged, NULL);
    QV_ASSERT(err == 0 || err == QV_ECORRUPT);
    if (qv_batch_check(bytes, &why))
        cut(bytes);
    else
        QV_ASSERT(why != NULL);
    return 0;
}
