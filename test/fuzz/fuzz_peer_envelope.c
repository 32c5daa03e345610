/* The envelope between nodes, their greeting and the session that is shown with each call, from
 * anywhere. What is read and written again is read as the same.
 * covers: src/core/peer_envelope.c src/net/peer_auth.c
 * options: -max_len=1500 */
#include "core/peer_envelope.h"
#include "net/peer_auth.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct qv_peer_self fuzz_self(void)
{
    struct qv_peer_self self = {.id = 7, .incarnation = 3, .protocol_max = 2};
    memcpy(self.cluster, "a cluster's name", sizeof self.cluster);
    qv_peer_self_fill(&self);
    return self;
}

static void envelope(struct qv_bytes in, const struct qv_peer_self *self)
{
    struct qv_peer_envelope e, again;
    struct qv_errmsg msg = {""};
    uint8_t head[QV_PEER_HEAD_BYTES_MAX];
    if (qv_peer_envelope_decode(in, &e, &msg) != 0) {
        QV_ASSERT(msg.text[0] != '\0');
        return;
    }
    QV_ASSERT(e.body.n == 0 || (e.body.p >= in.p && e.body.p + e.body.n <= in.p + in.n));
    size_t n = qv_peer_envelope_encode(&e, head);
    uint8_t *whole = qv_mem_alloc(n + e.body.n);
    memcpy(whole, head, n);
    if (e.body.n > 0)
        memcpy(whole + n, e.body.p, e.body.n);
    int err = qv_peer_envelope_decode((struct qv_bytes){whole, n + e.body.n}, &again, &msg);
    QV_ASSERT(err == 0 && again.from == e.from && again.to == e.to && again.method == e.method);
    QV_ASSERT(again.left_ns == e.left_ns && again.body.n == e.body.n && again.err == e.err);
    QV_ASSERT(e.body.n == 0 || (size_t)(again.body.p - whole + 5) % 16 == 0);
    qv_mem_free(whole);
    (void)!qv_peer_envelope_check(&e, self, &msg);
    (void)!qv_peer_envelope_check_answer(&e, self, 9, &msg);
}

static void hello(struct qv_bytes in, const struct qv_peer_self *self)
{
    struct qv_peer_hello h, again;
    struct qv_errmsg msg = {""};
    uint8_t bytes[QV_PEER_HELLO_BYTES_MAX];
    uint32_t version;
    if (qv_peer_hello_decode(in, &h, &msg) != 0) {
        QV_ASSERT(msg.text[0] != '\0');
        return;
    }
    size_t n = qv_peer_hello_encode(&h, bytes);
    int err = qv_peer_hello_decode((struct qv_bytes){bytes, n}, &again, &msg);
    QV_ASSERT(err == 0 && again.from == h.from && again.protocol_max == h.protocol_max);
    QV_ASSERT(memcmp(again.nonce, h.nonce, sizeof h.nonce) == 0 && again.err == h.err);
    struct qv_peer_meeting who = {h.to, self->id};
    if (qv_peer_hello_check(&h, self, who, &version, &msg) == 0)
        QV_ASSERT(version >= self->protocol_min && version <= self->protocol_max);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[QV_PEER_KEY_BYTES] = {1, 2, 3};
    struct qv_peer_self self = fuzz_self();
    struct qv_peer_pair who;
    uint8_t *in = qv_mem_alloc(size + 1); /* exact: a read past the end shows */
    if (size > 0)
        memcpy(in, data, size);
    envelope((struct qv_bytes){in, size}, &self);
    hello((struct qv_bytes){in, size}, &self);
    in[size] = '\0';
    QV_ASSERT(!qv_peer_auth_check("secret", key, &self, (const char *)in, &who));
    qv_mem_free(in);
    return 0;
}
