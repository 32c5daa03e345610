#include "peer_cases.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "base/rng.h"
#include "suite.h"

#include <stdlib.h>
#include <string.h>

#define LONG_NS (20 * QV_NS_PER_S)

enum { ECHO = 1, FAIL = 2, HOLD = 3, NOBODY = 9, LIMITED = 10 };

/* A handler that keeps its requests. */
struct holder {
    struct qv_peer_request *held[64];
    unsigned n, canceled;
    bool any_canceled, any;
};

static struct peer_world *world(void **state, unsigned n)
{
    peer_world_make_f **make = *state;
    return (*make)(n, 1);
}

static struct qv_bytes bytes_of(const void *p, size_t n)
{
    return (struct qv_bytes){p, n};
}

static void on_echo(void *arg, struct qv_peer_request *r)
{
    struct qv_buf out;
    struct qv_peer_request *copy = arg;
    QV_ASSERT((uintptr_t)r->body.p % 16 == 0 && !r->canceled);
    if (copy != NULL)
        *copy = *r;
    qv_buf_init(&out, 0);
    qv_buf_append(&out, r->body.p, r->body.n);
    qv_peer_answer(r, 0, NULL, &out);
    assert_int_equal(out.len, 0);
}

static void on_fail(void *arg, struct qv_peer_request *r)
{
    struct qv_errmsg msg;
    struct qv_buf out;
    (void)arg;
    qv_buf_init(&out, 0);
    qv_buf_str(&out, "the newer record");
    int err = qv_fail(&msg, QV_ESTALE, "shard 3 is at epoch %d, \xc3\xa4nderung 100%%", 12);
    qv_peer_answer(r, err, &msg, &out);
}

static void on_canceled(struct qv_peer_request *r)
{
    struct holder *h = r->user;
    assert_true(r->canceled);
    h->canceled++;
    h->any_canceled = true;
}

static void on_hold(void *arg, struct qv_peer_request *r)
{
    struct holder *h = arg;
    assert_true(h->n < sizeof h->held / sizeof h->held[0]);
    r->on_cancel = on_canceled;
    r->user = h;
    h->held[h->n++] = r;
    h->any = true;
}

static void release(struct holder *h)
{
    for (unsigned i = 0; i < h->n; i++)
        qv_peer_answer(h->held[i], 0, NULL, NULL);
    h->n = 0;
}

void peer_case_echo(void **state)
{
    struct peer_world *w = world(state, 2);
    struct qv_peer_request seen;
    struct peer_ask ask;
    struct qv_rng r;
    uint8_t *body = qv_mem_alloc(100000);
    peer_world_start_all(w);
    qv_rng_init(&r, 3);
    qv_peers_serve(w->nodes[1].peers, ECHO, on_echo, &seen);
    for (unsigned i = 0; i < 60; i++) {
        size_t n = i < 20 ? i : (size_t)qv_rng_below(&r, 100000);
        for (size_t k = 0; k < n; k++)
            body[k] = (uint8_t)qv_rng_u64(&r);
        peer_ask_init(&ask, 101, ECHO, bytes_of(body, n));
        ask.call.priority = (uint8_t)(i % QV_PEER_PRIORITY_COUNT);
        ask.call.tenant = i * 7;
        ask.call.trace[0] = i;
        ask.call.trace[1] = i * 3;
        ask.call.to_incarnation = i % 2;
        if (ask.call.priority == QV_PEER_REPAIR && n > 4000)
            ask.call.body.n = n = 4000;
        assert_int_equal(peer_world_ask(w, 0, &ask, LONG_NS), 0);
        assert_int_equal(ask.body.len, n);
        if (n > 0)
            assert_memory_equal(ask.body.data, body, n);
        assert_false(ask.remote);
        assert_int_equal(ask.incarnation, 1);
        assert_string_equal(ask.text, "");
        assert_true(seen.from == 100 && seen.from_incarnation == 1 && seen.method == ECHO);
        assert_true(seen.priority == ask.call.priority && seen.tenant == i * 7);
        assert_true(seen.trace[0] == i && seen.trace[1] == i * 3);
        assert_int_equal(seen.from_feature_level, QV_PEER_FEATURE_LEVEL);
        assert_true(seen.deadline_ns <= ask.call.deadline_ns + LONG_NS);
        peer_ask_close(&ask);
    }
    struct qv_peer_state known;
    assert_true(qv_peers_state(w->nodes[0].peers, 101, &known));
    assert_true(known.connected && known.incarnation == 1 && known.calls == 0 && known.bytes == 0);
    assert_true(known.protocol == QV_PEER_PROTOCOL && known.rtt_ns > 0);
    assert_int_equal(known.sent_messages, 60);
    assert_int_equal(known.received_messages, 60);
    assert_int_equal(known.sent_bytes, known.received_bytes);
    assert_false(qv_peers_state(w->nodes[0].peers, 55, &known));
    qv_mem_free(body);
    peer_world_destroy(&w);
}

void peer_case_answers(void **state)
{
    struct peer_world *w = world(state, 1);
    struct peer_ask ask;
    peer_world_start_all(w); /* a node that calls itself */
    qv_peers_serve(w->nodes[0].peers, FAIL, on_fail, NULL);
    peer_ask_init(&ask, 100, FAIL, bytes_of("x", 1));
    assert_int_equal(peer_world_ask(w, 0, &ask, LONG_NS), QV_ESTALE);
    assert_true(ask.remote && ask.may_have_run);
    assert_string_equal(ask.text, "shard 3 is at epoch 12, \xc3\xa4nderung 100%");
    assert_int_equal(ask.body.len, 16);
    assert_memory_equal(ask.body.data, "the newer record", 16);
    ask.call.method = NOBODY;
    assert_int_equal(peer_world_ask(w, 0, &ask, LONG_NS), QV_ENOTIMPL);
    assert_false(ask.remote || ask.may_have_run);
    ask.call.method = FAIL;
    qv_peers_serve(w->nodes[0].peers, FAIL, NULL, NULL);
    assert_int_equal(peer_world_ask(w, 0, &ask, LONG_NS), QV_ENOTIMPL);
    assert_int_equal(ask.times, 3);
    peer_ask_close(&ask);
    peer_world_destroy(&w);
}

void peer_case_not_there(void **state)
{
    struct peer_world *w = world(state, 2);
    struct peer_ask ask;
    struct qv_peer_state known;
    struct qv_errmsg msg;
    peer_world_start_all(w);
    struct qv_peers *peers = w->nodes[0].peers;
    peer_ask_init(&ask, 77, ECHO, bytes_of(NULL, 0));
    assert_int_equal(peer_world_ask(w, 0, &ask, LONG_NS), QV_EUNAVAILABLE);
    assert_string_equal(ask.text, "the peer is not known");
    assert_false(ask.remote || ask.may_have_run);
    uint16_t free_port = w->nodes[1].port;
    w->ops->stop(w, 1); /* its port is free now */
    assert_int_equal(qv_peers_set(peers, 78, w->nodes[1].host, free_port, &msg), 0);
    ask.call.to = 78;
    for (unsigned i = 0; i < 5; i++) { /* while it is known to be away, too */
        assert_int_equal(peer_world_ask(w, 0, &ask, LONG_NS), QV_EUNAVAILABLE);
        assert_false(ask.may_have_run);
        assert_true(ask.text[0] != '\0');
    }
    assert_true(qv_peers_state(peers, 78, &known));
    assert_true(!known.connected && known.why_err == QV_EUNAVAILABLE && known.why[0] != '\0');
    assert_int_equal(qv_peers_set(peers, 0, "x", 1, &msg), QV_EINVAL);
    assert_int_equal(qv_peers_set(peers, 5, "", 1, &msg), QV_EINVAL);
    assert_int_equal(qv_peers_set(peers, 5, "x", 0, &msg), QV_EINVAL);
    assert_int_equal(ask.times, 6);
    peer_ask_close(&ask);
    peer_world_destroy(&w);
}

void peer_case_deadline(void **state)
{
    struct peer_world *w = world(state, 2);
    struct holder h = {.n = 0};
    struct peer_ask ask;
    peer_world_start_all(w);
    qv_peers_serve(w->nodes[1].peers, HOLD, on_hold, &h);
    peer_ask_init(&ask, 101, HOLD, bytes_of("later", 5));
    assert_int_equal(peer_world_ask(w, 0, &ask, 300 * QV_NS_PER_MS), QV_ETIMEOUT);
    assert_true(ask.may_have_run && !ask.remote);
    peer_world_wait(w, &h.any_canceled); /* the handler learns of it */
    assert_true(h.n == 1 && h.held[0]->canceled);
    release(&h);
    peer_world_run_for(w, 50 * QV_NS_PER_MS);
    assert_int_equal(ask.times, 1);
    ask.call.deadline_ns = 1; /* long ago */
    ask.done = false;
    qv_peer_send(w->nodes[0].peers, &ask.call);
    peer_world_wait(w, &ask.done);
    assert_int_equal(ask.err, QV_ETIMEOUT);
    assert_false(ask.may_have_run);
    assert_int_equal(h.canceled, 1);
    peer_ask_close(&ask);
    peer_world_destroy(&w);
}

void peer_case_cancel(void **state)
{
    struct peer_world *w = world(state, 2);
    struct holder h = {.n = 0};
    struct peer_ask ask;
    peer_world_start_all(w);
    struct qv_peers *peers = w->nodes[0].peers;
    qv_peers_serve(w->nodes[1].peers, HOLD, on_hold, &h);
    qv_peers_serve(w->nodes[1].peers, ECHO, on_echo, NULL);
    peer_ask_init(&ask, 101, HOLD, bytes_of("x", 1));
    qv_peer_send(peers, &ask.call); /* before it is connected */
    qv_peer_cancel(peers, &ask.call);
    assert_false(ask.done);
    peer_world_wait(w, &ask.done);
    assert_int_equal(ask.err, QV_ECANCELED);
    assert_false(ask.may_have_run);
    ask.done = false;
    qv_peer_send(peers, &ask.call);
    peer_world_wait(w, &h.any);
    qv_peer_cancel(peers, &ask.call);
    qv_peer_cancel(peers, &ask.call); /* twice is fine */
    assert_false(ask.done);
    peer_world_wait(w, &ask.done);
    assert_int_equal(ask.err, QV_ECANCELED);
    assert_true(ask.may_have_run);
    qv_peer_cancel(peers, &ask.call); /* and when it is over */
    peer_world_wait(w, &h.any_canceled);
    assert_int_equal(h.canceled, 1);
    release(&h);
    for (unsigned i = 0; i < 200; i++) { /* races with the answer: one end, whichever */
        ask.call.method = ECHO;
        ask.done = false;
        ask.call.deadline_ns = 0;
        qv_peer_send(peers, &ask.call);
        for (unsigned k = 0; k < i % 10; k++)
            w->ops->step(w);
        qv_peer_cancel(peers, &ask.call);
        peer_world_wait(w, &ask.done);
        assert_true(ask.err == 0 || ask.err == QV_ECANCELED);
    }
    peer_world_run_for(w, 50 * QV_NS_PER_MS);
    assert_int_equal(ask.times, 202);
    peer_ask_close(&ask);
    peer_world_destroy(&w);
}

void peer_case_kill(void **state)
{
    struct peer_world *w = world(state, 3);
    struct holder h = {.n = 0};
    struct peer_ask ask;
    peer_world_start_all(w);
    qv_peers_serve(w->nodes[1].peers, HOLD, on_hold, &h);
    peer_ask_init(&ask, 101, HOLD, bytes_of("x", 1));
    qv_peer_send(w->nodes[0].peers, &ask.call);
    peer_world_wait(w, &h.any);
    w->ops->kill(w, 1);
    peer_world_wait(w, &ask.done);
    assert_int_equal(ask.err, QV_EUNKNOWN);
    assert_true(ask.may_have_run && !ask.remote);
    assert_int_equal(peer_world_ask(w, 0, &ask, LONG_NS), QV_EUNAVAILABLE);
    assert_false(ask.may_have_run);
    w->nodes[1].self.incarnation = 2;
    w->ops->start(w, 1);
    qv_peers_serve(w->nodes[1].peers, ECHO, on_echo, NULL);
    ask.call.method = ECHO;
    int err = QV_EUNAVAILABLE; /* until it tries again */
    for (unsigned i = 0; i < 100 && err == QV_EUNAVAILABLE; i++) {
        err = peer_world_ask(w, 0, &ask, LONG_NS);
        peer_world_run_for(w, 20 * QV_NS_PER_MS);
    }
    assert_int_equal(err, 0);
    assert_int_equal(ask.incarnation, 2);
    ask.call.to_incarnation = 1;
    assert_int_equal(peer_world_ask(w, 0, &ask, LONG_NS), QV_EUNAVAILABLE);
    assert_false(ask.may_have_run);
    assert_non_null(strstr(ask.text, "started again"));
    ask.call.to_incarnation = 2;
    assert_int_equal(peer_world_ask(w, 0, &ask, LONG_NS), 0);
    peer_ask_close(&ask);
    peer_world_destroy(&w);
}

/* Another cluster, another secret, another node: each its error, on both sides, and no handler
 * sees anything. */
void peer_case_strangers(void **state)
{
    struct peer_world *w = world(state, 4);
    struct peer_ask ask;
    for (unsigned i = 0; i < 4; i++)
        w->nodes[i].self.secret = "correct horse";
    w->nodes[1].self.cluster[3] ^= 1;
    w->nodes[2].self.secret = "correct house";
    peer_world_start_all(w);
    for (unsigned i = 0; i < 4; i++)
        qv_peers_serve(w->nodes[i].peers, ECHO, on_echo, NULL);
    static const int want[4] = {0, QV_EFORBIDDEN, QV_EAUTH, 0};
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned k = 0; k < 2; k++) { /* from 0 to i and back */
            peer_ask_init(&ask, k == 0 ? 100 + i : 100, ECHO, bytes_of("x", 1));
            assert_int_equal(peer_world_ask(w, k == 0 ? 0 : i, &ask, LONG_NS), want[i]);
            assert_true(want[i] == 0 || (!ask.may_have_run && !ask.remote && ask.text[0] != '\0'));
            peer_ask_close(&ask);
        }
    }
    int err = qv_peers_set(w->nodes[0].peers, 103, w->nodes[0].host, w->nodes[0].port, NULL);
    assert_int_equal(err, 0);
    peer_ask_init(&ask, 103, ECHO, bytes_of("x", 1));
    assert_int_equal(peer_world_ask(w, 0, &ask, LONG_NS), QV_EUNAVAILABLE);
    assert_non_null(strstr(ask.text, "node 103 was meant, this is node 100"));
    assert_false(ask.may_have_run);
    peer_ask_close(&ask);
    peer_world_destroy(&w);
}

void peer_case_versions(void **state)
{
    struct peer_world *w = world(state, 3);
    struct peer_ask ask;
    struct qv_peer_state known;
    w->nodes[0].self.protocol_max = 3;
    w->nodes[1].self.protocol_max = 4; /* one of overlap */
    w->nodes[1].self.feature_level = 9;
    w->nodes[2].self.protocol_max = 5; /* none */
    peer_world_start_all(w);
    for (unsigned i = 0; i < 3; i++)
        qv_peers_serve(w->nodes[i].peers, ECHO, on_echo, NULL);
    peer_ask_init(&ask, 101, ECHO, bytes_of("x", 1));
    assert_int_equal(peer_world_ask(w, 0, &ask, LONG_NS), 0);
    assert_true(qv_peers_state(w->nodes[0].peers, 101, &known));
    assert_true(known.protocol == 3 && known.feature_level == 9);
    ask.call.to = 100;
    assert_int_equal(peer_world_ask(w, 1, &ask, LONG_NS), 0);
    for (unsigned k = 0; k < 2; k++) {
        ask.call.to = k == 0 ? 102 : 100;
        assert_int_equal(peer_world_ask(w, k == 0 ? 0 : 2, &ask, LONG_NS), QV_EPROTO);
        assert_false(ask.may_have_run);
        assert_non_null(strstr(ask.text, "protocol version"));
    }
    peer_ask_close(&ask);
    peer_world_destroy(&w);
}

/* The worlds bound the repair class to 20 calls and 4,096 bytes. */
void peer_case_limits(void **state)
{
    struct peer_world *w = world(state, 2);
    struct holder h = {.n = 0};
    struct peer_ask asks[21], other;
    uint8_t body[4096] = {0};
    peer_world_start_all(w);
    struct qv_peers *peers = w->nodes[0].peers;
    qv_peers_serve(w->nodes[1].peers, HOLD, on_hold, &h);
    qv_peers_serve(w->nodes[1].peers, ECHO, on_echo, NULL);
    for (unsigned i = 0; i < 21; i++) {
        peer_ask_init(&asks[i], 101, HOLD, bytes_of(body, 10));
        asks[i].call.priority = QV_PEER_REPAIR;
        qv_peer_send(peers, &asks[i].call);
    }
    peer_world_wait(w, &asks[20].done);
    assert_int_equal(asks[20].err, QV_EBUSY);
    assert_false(asks[20].may_have_run);
    peer_ask_init(&other, 101, ECHO, bytes_of(body, sizeof body)); /* other classes go on */
    assert_int_equal(peer_world_ask(w, 0, &other, LONG_NS), 0);
    peer_world_wait(w, &h.any);
    while (h.n < 20)
        w->ops->step(w);
    release(&h);
    for (unsigned i = 0; i < 20; i++) {
        peer_world_wait(w, &asks[i].done);
        assert_int_equal(asks[i].err, 0);
        peer_ask_close(&asks[i]);
    }
    peer_ask_close(&asks[20]);
    other.call.priority = QV_PEER_REPAIR;
    assert_int_equal(peer_world_ask(w, 0, &other, LONG_NS), 0);
    h.any = false;
    peer_ask_init(&asks[0], 101, HOLD, bytes_of(body, 10));
    asks[0].call.priority = QV_PEER_REPAIR;
    qv_peer_send(peers, &asks[0].call);
    assert_int_equal(peer_world_ask(w, 0, &other, LONG_NS), QV_EBUSY); /* 10 bytes too many */
    peer_world_wait(w, &h.any);
    release(&h);
    peer_world_wait(w, &asks[0].done);
    peer_ask_close(&asks[0]);
    peer_ask_close(&other);
    peer_world_destroy(&w);
}

void peer_case_large(void **state)
{
    struct peer_world *w = world(state, 2);
    struct peer_ask ask[3];
    size_t n = (size_t)8 << 20;
    uint8_t *body = qv_mem_alloc(n);
    struct qv_rng r;
    peer_world_start_all(w);
    qv_peers_serve(w->nodes[1].peers, ECHO, on_echo, NULL);
    qv_rng_init(&r, 8);
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = qv_rng_u64(&r);
        memcpy(body + i, &v, sizeof v);
    }
    for (unsigned i = 0; i < 3; i++) {
        peer_ask_init(&ask[i], 101, ECHO, bytes_of(body, n - i));
        ask[i].call.priority = i == 0 ? QV_PEER_MOVEMENT : QV_PEER_INTERACTIVE;
        qv_peer_send(w->nodes[0].peers, &ask[i].call);
    }
    for (unsigned i = 0; i < 3; i++) {
        peer_world_wait(w, &ask[i].done);
        assert_int_equal(ask[i].err, 0);
        assert_int_equal(ask[i].body.len, n - i);
        assert_memory_equal(ask[i].body.data, body, n - i);
    }
    ask[0].call.body.n = QV_PEER_BODY_BYTES_MAX + 1; /* never read */
    assert_int_equal(peer_world_ask(w, 0, &ask[0], LONG_NS), QV_ETOOBIG);
    assert_false(ask[0].may_have_run);
    for (unsigned i = 0; i < 3; i++)
        peer_ask_close(&ask[i]);
    qv_mem_free(body);
    peer_world_destroy(&w);
}

/* A peer that moves, or is forgotten, with calls under way. */
void peer_case_moved(void **state)
{
    struct peer_world *w = world(state, 2);
    struct holder h = {.n = 0};
    struct peer_ask ask;
    peer_world_start_all(w);
    struct qv_peers *peers = w->nodes[0].peers;
    qv_peers_serve(w->nodes[1].peers, HOLD, on_hold, &h);
    qv_peers_serve(w->nodes[1].peers, ECHO, on_echo, NULL);
    peer_ask_init(&ask, 101, HOLD, bytes_of("x", 1));
    for (unsigned k = 0; k < 2; k++) {
        h.any = h.any_canceled = ask.done = false;
        ask.call.method = HOLD;
        qv_peer_send(peers, &ask.call);
        peer_world_wait(w, &h.any);
        if (k == 0)
            assert_int_equal(qv_peers_set(peers, 101, "127.0.0.9", w->nodes[1].port, NULL), 0);
        else
            qv_peers_remove(peers, 101);
        assert_false(ask.done);
        peer_world_wait(w, &ask.done);
        assert_int_equal(ask.err, QV_EUNKNOWN);
        assert_true(ask.may_have_run);
        release(&h);
        peer_world_introduce(w, 0, 1);
        ask.call.method = ECHO;
        assert_int_equal(peer_world_ask(w, 0, &ask, LONG_NS), 0);
    }
    peer_ask_close(&ask);
    peer_world_destroy(&w);
}

/* A node that stops ends its own calls. */
void peer_case_stop(void **state)
{
    struct peer_world *w = world(state, 2);
    struct holder h = {.n = 0};
    struct peer_ask ask;
    peer_world_start_all(w);
    qv_peers_serve(w->nodes[1].peers, HOLD, on_hold, &h);
    peer_ask_init(&ask, 101, HOLD, bytes_of("x", 1));
    qv_peer_send(w->nodes[0].peers, &ask.call);
    peer_world_wait(w, &h.any);
    w->ops->stop(w, 0);
    assert_true(ask.done);
    assert_int_equal(ask.err, QV_ECANCELED);
    peer_world_wait(w, &h.any_canceled);
    release(&h);
    assert_int_equal(ask.times, 1);
    peer_ask_close(&ask);
    peer_world_destroy(&w);
}

/* ---- anything, in any order ----------------------------------------------------------------- */

struct late {
    struct peer_world *w;
    struct qv_rng rng;
    struct holder h;
};

/* Answers now or later, rightly or with an error. */
static void on_random(void *arg, struct qv_peer_request *r)
{
    struct late *late = arg;
    struct qv_buf out;
    if (late->h.n < 40 && qv_rng_below(&late->rng, 4) == 0) {
        late->h.held[late->h.n++] = r;
        return;
    }
    qv_buf_init(&out, 0);
    qv_buf_append(&out, r->body.p, r->body.n);
    qv_peer_answer(r, qv_rng_below(&late->rng, 5) == 0 ? QV_ESTALE : 0, NULL, &out);
}

static void random_run(peer_world_make_f *make, uint64_t seed)
{
    enum { ASKS = 40 };
    struct late late = {.w = make(3, seed)};
    struct peer_world *w = late.w;
    struct peer_ask asks[ASKS];
    uint8_t body[3000];
    unsigned sent[ASKS] = {0}, good = 0;
    qv_rng_init(&late.rng, seed);
    memset(body, (int)seed & 255, sizeof body);
    peer_world_start_all(w);
    for (unsigned i = 0; i < 3; i++)
        qv_peers_serve(w->nodes[i].peers, ECHO, on_random, &late);
    for (unsigned i = 0; i < ASKS; i++)
        peer_ask_init(&asks[i], 0, ECHO, bytes_of(body, 0));
    for (unsigned round = 0; round < 400; round++) {
        unsigned i = (unsigned)qv_rng_below(&late.rng, ASKS);
        struct qv_peers *peers = w->nodes[i % 3].peers;
        struct qv_peer_call *call = &asks[i].call;
        if (call->impl == NULL) {
            call->to = 100 + qv_rng_below(&late.rng, 3);
            call->priority = (uint8_t)qv_rng_below(&late.rng, QV_PEER_PRIORITY_COUNT);
            call->body.n = qv_rng_below(&late.rng, 200);
            call->deadline_ns = peer_world_now(w) + 1 + qv_rng_below(&late.rng, 400 * QV_NS_PER_MS);
            qv_peer_send(peers, call);
            sent[i]++;
        } else if (qv_rng_below(&late.rng, 3) == 0) {
            qv_peer_cancel(peers, call);
        }
        if (qv_rng_below(&late.rng, 4) == 0)
            w->ops->step(w);
        if (late.h.n > 0 && qv_rng_below(&late.rng, 8) == 0)
            release(&late.h);
    }
    for (unsigned i = 0; i < ASKS; i++) {
        while (asks[i].times < sent[i])
            w->ops->step(w);
        good += asks[i].err == 0;
    }
    release(&late.h);
    peer_world_run_for(w, 20 * QV_NS_PER_MS);
    for (unsigned i = 0; i < ASKS; i++) {
        assert_int_equal(asks[i].times, sent[i]);
        peer_ask_close(&asks[i]);
    }
    assert_true(good > 0);
    peer_world_destroy(&w);
}

void peer_case_random(void **state)
{
    peer_world_make_f **make = *state;
    const char *one = getenv("QV_SEED");
    struct peer_world *w = (*make)(1, 1);
    uint64_t runs = w->is_real ? 2 : SANITIZED_LESS(150);
    peer_world_destroy(&w);
    for (uint64_t i = 0; i < runs; i++) {
        uint64_t seed = one != NULL ? strtoull(one, NULL, 10) : i + 1;
        printf("seed %llu\n", (unsigned long long)seed);
        random_run(*make, seed);
        if (one != NULL)
            break;
    }
}
