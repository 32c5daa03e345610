/* What another node answers, from anywhere: the first byte selects what was asked (a kind of ask by
 * its number here, or a write), of two shards, the rest is the answer. What is read belongs to the
 * ask, and comes back the same when it is written and read again. Seeds made-*:
 * QV_SEEDS=test/fuzz/corpus test_peer_codec
 * covers: src/wire/peer_answer.c
 * options: -max_len=8192 */
#include "wire/peer_codec.h"

#include "base/qv_assert.h"
#include "request_equal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The seeds' numbers. */
static const enum qv_ask_kind kinds[] = {QV_ASK_SEARCH, QV_ASK_FETCH, QV_ASK_SCROLL,
                                         QV_ASK_COUNT,  QV_ASK_FACET, QV_ASK_DIGESTS};
#define KINDS (sizeof kinds / sizeof *kinds)

#define LEGS 2

static void check_answers(enum qv_ask_kind kind, struct qv_bytes in)
{
    struct qv_query queries[2] = {{.kind = QV_QUERY_SCROLL}, {.kind = QV_QUERY_SCROLL}};
    const struct qv_query_req query = {.queries = queries, .query_count = 2};
    struct qv_leg_answer first[LEGS], second[LEGS];
    struct qv_leg_answer *answers[LEGS] = {&first[0], &first[1]};
    struct qv_leg_answer *others[LEGS] = {&second[0], &second[1]};
    struct qv_bytes records[LEGS];
    struct qv_errmsg msg;
    struct qv_buf b;
    struct qv_ask ask = {.kind = kind, .req.query = &query, .leg_count = LEGS, .answers = answers};
    struct qv_ask again = {.kind = kind, .req.query = &query, .leg_count = LEGS, .answers = others};
    qv_buf_init(&b, 0);
    for (unsigned i = 0; i < LEGS; i++) {
        qv_arena_init(&first[i].arena, 8u << 20);
        qv_arena_init(&second[i].arena, 8u << 20);
    }
    int err = qv_peer_decode_answers(in, &ask, records, &msg);
    QV_ASSERT(err == 0 || err == QV_EPROTO || err == QV_ENOTIMPL || err == QV_ENOMEM);
    if (err == 0) {
        qv_peer_encode_answers(&b, &ask, records);
        QV_ASSERT(!b.failed);
        err = qv_peer_decode_answers((struct qv_bytes){b.data, b.len}, &again, NULL, &msg);
        QV_ASSERT(err == 0 || err == QV_ENOMEM);
        for (unsigned i = 0; err == 0 && i < LEGS; i++)
            QV_ASSERT(request_differ_answer(&ask, &first[i], &second[i]) == NULL);
    }
    qv_buf_close(&b);
    for (unsigned i = 0; i < LEGS; i++) {
        qv_arena_close(&first[i].arena);
        qv_arena_close(&second[i].arena);
    }
}

static void check_write_answers(struct qv_bytes in)
{
    struct qv_peer_write_answer answers[LEGS], again[LEGS];
    struct qv_errmsg msg;
    struct qv_arena arena;
    struct qv_buf b;
    qv_arena_init(&arena, 8u << 20);
    qv_buf_init(&b, 0);
    int err = qv_peer_decode_write_answers(in, LEGS, &arena, answers, &msg);
    QV_ASSERT(err == 0 || err == QV_EPROTO || err == QV_ENOTIMPL || err == QV_ENOMEM);
    if (err == 0) {
        qv_peer_encode_write_answers(&b, answers, LEGS);
        const struct qv_bytes bytes = {b.data, b.len};
        err = qv_peer_decode_write_answers(bytes, LEGS, &arena, again, &msg);
        QV_ASSERT(err == 0 || err == QV_ENOMEM);
        for (unsigned i = 0; err == 0 && i < LEGS; i++) {
            QV_ASSERT(answers[i].err == again[i].err && answers[i].epoch == again[i].epoch);
            QV_ASSERT(qv_str_equal(answers[i].text, again[i].text));
            QV_ASSERT(answers[i].result_count == again[i].result_count);
        }
    }
    qv_buf_close(&b);
    qv_arena_close(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct qv_bytes in = {data + 1, size - 1};
    const unsigned selector = data[0] % (KINDS + 1);
    if (selector < KINDS)
        check_answers(kinds[selector], in);
    else
        check_write_answers(in);
    return 0;
}
