/* core/peer_envelope.h: what is written is read as it was, by us and by protobuf-c from the
 * declaration in proto/; any bytes are read or refused; each rule refuses with its own error. */
#include "core/peer_envelope.h"

#include "base/mem.h"
#include "base/rng.h"
#include "proto/quiver_internal_peer.pb-c.h"
#include "suite.h"

#include <string.h>

#define ROUNDS SANITIZED_LESS(20000)
#define BODY_MAX 300u

static uint64_t odd_number(struct qv_rng *r)
{
    return qv_rng_u64(r) >> qv_rng_below(r, 64);
}

static void random_text(struct qv_rng *r, char out[QV_PEER_TEXT_BYTES_MAX])
{
    size_t n = qv_rng_below(r, QV_PEER_TEXT_BYTES_MAX);
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(' ' + qv_rng_below(r, 95));
    out[n] = '\0';
}

static void random_bytes(struct qv_rng *r, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)qv_rng_u64(r);
}

static void random_envelope(struct qv_rng *r, struct qv_peer_envelope *e, uint8_t *body)
{
    memset(e, 0, sizeof *e);
    if (qv_rng_below(r, 4) > 0)
        random_bytes(r, e->cluster, sizeof e->cluster);
    e->protocol = 1 + (uint32_t)qv_rng_below(r, 1000);
    e->feature_level = (uint32_t)odd_number(r);
    e->from = odd_number(r) | 1;
    e->from_incarnation = odd_number(r) | 1;
    e->to = odd_number(r);
    e->to_incarnation = odd_number(r);
    e->method = (uint16_t)qv_rng_below(r, QV_PEER_METHODS_MAX);
    e->priority = (uint8_t)qv_rng_below(r, QV_PEER_PRIORITY_COUNT);
    e->left_ns = odd_number(r);
    e->tenant = odd_number(r);
    e->trace[0] = qv_rng_u64(r);
    e->trace[1] = qv_rng_u64(r);
    e->refused = qv_rng_below(r, 2) != 0;
    if (qv_rng_below(r, 2) != 0) {
        e->err = QV_ERR_BASE + 1 + (int)qv_rng_below(r, QV_ERR_END - QV_ERR_BASE - 1);
        random_text(r, e->text);
    }
    e->body = (struct qv_bytes){body, qv_rng_below(r, BODY_MAX)};
    random_bytes(r, body, e->body.n);
}

/* Head and body behind the five bytes of gRPC's prefix, in memory of exactly that size. */
static struct qv_bytes lay_out(const struct qv_peer_envelope *e, uint8_t **memory)
{
    uint8_t head[QV_PEER_HEAD_BYTES_MAX];
    size_t n = qv_peer_envelope_encode(e, head);
    *memory = qv_mem_alloc(5 + n + e->body.n);
    memcpy(*memory + 5, head, n);
    if (e->body.n > 0)
        memcpy(*memory + 5 + n, e->body.p, e->body.n);
    return (struct qv_bytes){*memory + 5, n + e->body.n};
}

static void assert_same(const struct qv_peer_envelope *a, const struct qv_peer_envelope *b)
{
    assert_memory_equal(a->cluster, b->cluster, sizeof a->cluster);
    assert_int_equal(a->protocol, b->protocol);
    assert_int_equal(a->feature_level, b->feature_level);
    assert_true(a->from == b->from && a->from_incarnation == b->from_incarnation);
    assert_true(a->to == b->to && a->to_incarnation == b->to_incarnation);
    assert_int_equal(a->method, b->method);
    assert_int_equal(a->priority, b->priority);
    assert_true(a->left_ns == b->left_ns && a->tenant == b->tenant);
    assert_true(a->trace[0] == b->trace[0] && a->trace[1] == b->trace[1]);
    assert_int_equal(a->err, b->err);
    assert_int_equal(a->refused, b->refused);
    assert_string_equal(a->text, b->text);
    assert_int_equal(a->body.n, b->body.n);
    if (a->body.n > 0)
        assert_memory_equal(a->body.p, b->body.p, a->body.n);
}

static void assert_same_as_protobuf(const struct qv_peer_envelope *e, struct qv_bytes in)
{
    Quiver__Internal__V1__Message *m = quiver__internal__v1__message__unpack(NULL, in.n, in.p);
    assert_non_null(m);
    assert_int_equal(m->protocol, e->protocol);
    assert_int_equal(m->feature_level, e->feature_level);
    assert_true(m->from == e->from && m->from_incarnation == e->from_incarnation);
    assert_true(m->to == e->to && m->to_incarnation == e->to_incarnation);
    assert_int_equal(m->method, e->method);
    assert_int_equal(m->priority, e->priority);
    assert_true(m->left_ns == e->left_ns && m->tenant == e->tenant);
    assert_true(m->trace_high == e->trace[0] && m->trace_low == e->trace[1]);
    assert_int_equal(m->refused, e->refused);
    assert_int_equal(m->err, qv_err_number(e->err));
    assert_int_equal(m->err_class, qv_err_class(e->err));
    assert_string_equal(m->text != NULL ? m->text : "", e->text);
    assert_int_equal(m->body.len, e->body.n);
    if (e->body.n > 0)
        assert_memory_equal(m->body.data, e->body.p, e->body.n);
    quiver__internal__v1__message__free_unpacked(m, NULL);
}

static void test_round_trip(void **state)
{
    struct qv_rng r;
    struct qv_peer_envelope e, got;
    struct qv_errmsg msg;
    uint8_t body[BODY_MAX];
    (void)state;
    qv_rng_init(&r, 1);
    for (int i = 0; i < ROUNDS; i++) {
        uint8_t *memory;
        random_envelope(&r, &e, body);
        struct qv_bytes in = lay_out(&e, &memory);
        assert_int_equal(qv_peer_envelope_decode(in, &got, &msg), 0);
        assert_same(&e, &got);
        if (e.body.n > 0)
            assert_int_equal((size_t)(got.body.p - memory) % 16, 0);
        if (i % 8 == 0)
            assert_same_as_protobuf(&e, in);
        qv_mem_free(memory);
    }
}

/* Bytes that were cut, flipped or made up: an error with its text, or a message that is whole. */
static void test_any_bytes(void **state)
{
    struct qv_rng r;
    struct qv_peer_envelope e, got;
    struct qv_peer_hello hello;
    struct qv_errmsg msg;
    uint8_t body[BODY_MAX];
    int refused = 0;
    (void)state;
    qv_rng_init(&r, 2);
    for (int i = 0; i < ROUNDS; i++) {
        uint8_t *memory;
        random_envelope(&r, &e, body);
        struct qv_bytes in = lay_out(&e, &memory);
        for (uint64_t k = qv_rng_below(&r, 4); k > 0; k--)
            memory[5 + qv_rng_below(&r, in.n)] ^= (uint8_t)(1u << qv_rng_below(&r, 8));
        size_t cut = qv_rng_below(&r, in.n + 1);
        uint8_t *part = qv_mem_alloc(cut + 1);
        memcpy(part, in.p, cut);
        struct qv_bytes given = {part, cut};
        if (qv_peer_envelope_decode(given, &got, &msg) != 0) {
            assert_true(msg.text[0] != '\0');
            refused++;
        } else {
            assert_true(got.body.n == 0 ||
                        (got.body.p >= part && got.body.p + got.body.n <= part + cut));
        }
        (void)!qv_peer_hello_decode(given, &hello, &msg);
        qv_mem_free(part);
        qv_mem_free(memory);
    }
    assert_true(refused > ROUNDS / 2);
}

static void test_unknown_fields(void **state)
{
    static const uint8_t extra[] = {
        0xA0, 0x06, 0x05, 0xA9, 0x06, 1,    2,    3,   4,
        5,    6,    7,    8,    0xB2, 0x06, 0x02, 'h', 'i'}; /* fields 100 to 102 */
    struct qv_peer_envelope e = {.protocol = 1, .from = 7, .from_incarnation = 1, .method = 9}, got;
    uint8_t bytes[QV_PEER_HEAD_BYTES_MAX + sizeof extra];
    (void)state;
    memcpy(bytes, extra, sizeof extra);
    size_t n = sizeof extra + qv_peer_envelope_encode(&e, bytes + sizeof extra);
    assert_int_equal(qv_peer_envelope_decode((struct qv_bytes){bytes, n}, &got, NULL), 0);
    assert_int_equal(got.method, 9);
}

static struct qv_peer_self some_self(void)
{
    struct qv_peer_self self = {.cluster = {1, 2, 3}, .id = 7, .incarnation = 40};
    self.protocol_max = 4;
    qv_peer_self_fill(&self);
    return self;
}

static void test_rules(void **state)
{
    struct qv_peer_self self = some_self();
    struct qv_peer_envelope good = {.protocol = 3, .from = 9, .from_incarnation = 1, .to = 7}, e;
    struct qv_errmsg msg;
    (void)state;
    memcpy(good.cluster, self.cluster, sizeof good.cluster);
    assert_int_equal(self.protocol_min, 3);
    assert_int_equal(qv_peer_envelope_check(&good, &self, &msg), 0);
    e = good;
    e.to_incarnation = 40;
    assert_int_equal(qv_peer_envelope_check(&e, &self, &msg), 0);
    e.to_incarnation = 39;
    assert_int_equal(qv_peer_envelope_check(&e, &self, &msg), QV_EUNAVAILABLE);
    assert_non_null(strstr(msg.text, "started again"));
    e = good;
    e.to = 8;
    assert_int_equal(qv_peer_envelope_check(&e, &self, &msg), QV_EUNAVAILABLE);
    assert_string_equal(msg.text, "node 7 answers here, not node 8");
    e = good;
    e.cluster[0] ^= 1;
    assert_int_equal(qv_peer_envelope_check(&e, &self, &msg), QV_EFORBIDDEN);
    for (uint32_t version = 1; version < 7; version++) {
        e = good;
        e.protocol = version;
        int want = version == 3 || version == 4 ? 0 : QV_EPROTO;
        assert_int_equal(qv_peer_envelope_check(&e, &self, &msg), want);
    }
    assert_string_equal(msg.text, "protocol version 6: versions 3 to 4 are spoken here");
    assert_int_equal(qv_peer_envelope_check_answer(&good, &self, 9, &msg), 0);
    assert_int_equal(qv_peer_envelope_check_answer(&good, &self, 8, &msg), QV_EPROTO);
}

/* Two nodes meet in the newest version that both speak, one of overlap is enough, none is an error
 * on both sides. */
static void test_versions(void **state)
{
    struct qv_errmsg msg;
    (void)state;
    for (uint32_t a = 1; a < 6; a++) {
        for (uint32_t b = 1; b < 6; b++) {
            struct qv_peer_self self = some_self();
            self.protocol_max = a;
            self.protocol_min = a > 1 ? a - 1 : 1;
            struct qv_peer_hello h = {.from = 9, .from_incarnation = 1, .to = 7};
            memcpy(h.cluster, self.cluster, sizeof h.cluster);
            h.protocol_max = b;
            h.protocol_min = b > 1 ? b - 1 : 1;
            uint32_t version;
            uint8_t bytes[QV_PEER_HELLO_BYTES_MAX];
            struct qv_peer_hello got;
            size_t n = qv_peer_hello_encode(&h, bytes);
            assert_int_equal(qv_peer_hello_decode((struct qv_bytes){bytes, n}, &got, &msg), 0);
            int err = qv_peer_hello_check(&got, &self, (struct qv_peer_meeting){got.to, self.id},
                                          &version, &msg);
            bool meet = a > b ? a - b <= 1 : b - a <= 1;
            assert_int_equal(err, meet ? 0 : QV_EPROTO);
            assert_int_equal(version, meet ? (a < b ? a : b) : 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_unknown_fields), cmocka_unit_test(test_rules),
        cmocka_unit_test(test_versions),
    };
    return RUN_SUITE(tests);
}
