/* What a node says of itself and its shards, from anywhere: an answer and an ask of the same bytes.
 * What is read comes back the same when it is written and read again. Seeds made-*:
 * QV_SEEDS=test/fuzz/corpus test_peer_info
 * covers: src/wire/peer_info.c
 * options: -max_len=8192 */
#include "wire/peer_info.h"

#include "base/qv_assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct qv_node_tell *t, struct qv_arena *arena)
{
    struct qv_node_tell again;
    struct qv_errmsg msg;
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_peer_encode_tell(&b, t);
    QV_ASSERT(!b.failed);
    int err = qv_peer_decode_tell((struct qv_bytes){b.data, b.len}, arena, &again, &msg);
    QV_ASSERT(err == 0 || err == QV_ENOMEM);
    QV_ASSERT(err != 0 || (again.epoch == t->epoch && again.shard_count == t->shard_count));
    for (uint32_t i = 0; err == 0 && i < t->shard_count; i++) {
        QV_ASSERT(again.shards[i].points == t->shards[i].points);
        QV_ASSERT(again.shards[i].field_count == t->shards[i].field_count);
        QV_ASSERT(qv_str_equal(again.shards[i].failing, t->shards[i].failing));
    }
    qv_buf_close(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct qv_bytes in = {data, size};
    struct qv_node_tell t;
    struct qv_tell_ask ask;
    struct qv_errmsg msg;
    struct qv_arena arena;
    qv_arena_init(&arena, 8u << 20);
    int err = qv_peer_decode_tell(in, &arena, &t, &msg);
    QV_ASSERT(err == 0 || err == QV_EPROTO || err == QV_ENOTIMPL || err == QV_ENOMEM);
    if (err == 0)
        check_again(&t, &arena);
    err = qv_peer_decode_tell_ask(in, &ask, &msg);
    QV_ASSERT(err == 0 || err == QV_EPROTO || err == QV_ENOTIMPL);
    qv_arena_close(&arena);
    return 0;
}
