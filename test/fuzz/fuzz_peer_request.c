/* What one node asks another, from anywhere: the first byte selects an ask or a write, the rest is
 * its message. What is read is within the limits the engine relies on, and comes back the same when
 * it is written and read again. Seeds made-*: QV_SEEDS=test/fuzz/corpus test_peer_codec.
 * covers: src/wire/peer_ask.c src/wire/peer_[cfpw]*.c
 * options: -max_len=8192 */
#include "wire/peer_codec.h"

#include "base/qv_assert.h"
#include "core/limits.h"
#include "request_equal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_filter(const struct qv_filter *f)
{
    const struct qv_filter_point point = {.id = qv_id_num(1)};
    if (f != NULL)
        (void)qv_filter_match(f, &point);
}

static void check_ask(struct qv_bytes in, struct qv_arena *arena)
{
    struct qv_errmsg msg;
    struct qv_ask ask, again;
    struct qv_buf b;
    int err = qv_peer_decode_ask(in, arena, &ask, &msg);
    QV_ASSERT(err == 0 || err == QV_EPROTO || err == QV_ENOTIMPL || err == QV_ENOMEM);
    if (err != 0)
        return;
    for (uint32_t i = 0; ask.kind == QV_ASK_SEARCH && i < ask.req.query->query_count; i++)
        check_filter(ask.req.query->queries[i].filter);
    if (ask.kind == QV_ASK_COUNT)
        check_filter(ask.req.count->filter);
    qv_buf_init(&b, 0);
    qv_peer_encode_ask(&b, &ask);
    QV_ASSERT(!b.failed);
    err = qv_peer_decode_ask((struct qv_bytes){b.data, b.len}, arena, &again, &msg);
    QV_ASSERT(err == 0 || err == QV_ENOMEM);
    QV_ASSERT(err != 0 || request_differ_ask(&ask, &again) == NULL);
    qv_buf_close(&b);
}

static void check_write(struct qv_bytes in, struct qv_arena *arena)
{
    struct qv_errmsg msg;
    struct qv_peer_write w, again;
    struct qv_buf b;
    int err = qv_peer_decode_write(in, arena, &w, &msg);
    QV_ASSERT(err == 0 || err == QV_EPROTO || err == QV_ENOTIMPL || err == QV_ENOMEM);
    if (err != 0)
        return;
    qv_buf_init(&b, 0);
    qv_peer_encode_write(&b, &w);
    QV_ASSERT(!b.failed);
    err = qv_peer_decode_write((struct qv_bytes){b.data, b.len}, arena, &again, &msg);
    QV_ASSERT(err == 0 || err == QV_ENOMEM);
    QV_ASSERT(err != 0 || w.leg_count == again.leg_count);
    for (uint32_t i = 0; err == 0 && i < w.leg_count; i++) {
        QV_ASSERT(w.legs[i].op_count == again.legs[i].op_count);
        for (uint32_t k = 0; k < w.legs[i].op_count; k++)
            QV_ASSERT(request_differ_write_op(&w.legs[i].ops[k], &again.legs[i].ops[k]) == NULL);
    }
    qv_buf_close(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qv_arena arena;
    if (size == 0)
        return 0;
    const struct qv_bytes in = {data + 1, size - 1};
    qv_arena_init(&arena, 8u << 20);
    if (data[0] % 2 == 0)
        check_ask(in, &arena);
    else
        check_write(in, &arena);
    qv_arena_close(&arena);
    return 0;
}
