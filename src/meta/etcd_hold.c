/* Leases that are held: asked for again every third of their time, each time by a LeaseKeepAlive
 * stream of one message (which on the wire is an ordinary call, and fails over like one), and
 * watched by our own clock: what can't be renewed in time is given up before etcd ends it. */
#include "meta/meta_etcd_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"

/* The clock is looked at this often: it goes on in suspend, timers do not. */
#define LOOK_NS QV_NS_PER_S

struct qv_etcd_held {
    struct qv_meta_etcd *e;
    struct qv_meta_lease *l;
    struct qv_timer keep, end;
    uint64_t id; /* of the keep-alive in flight; 0: none */
    uint64_t asked_boot_ns;
    uint64_t ttl_ns;
};

static void held_free(struct qv_etcd_held *h)
{
    qv_env_timer_stop(h->e->base.env, &h->keep);
    qv_env_timer_stop(h->e->base.env, &h->end);
    qv_meta_calls_remove(&h->e->leases, &h->l->call);
    h->l->call.meta = NULL;
    h->l->call.impl = NULL;
    qv_mem_free(h);
}

static void held_lost(struct qv_etcd_held *h, int err, const char *text)
{
    struct qv_meta_lease *l = h->l;
    (void)qv_fail(&l->msg, err, "%s", text);
    held_free(h);
    l->id = 0;
    l->end_boot_ns = 0;
    l->lost(l, err);
}

static void held_send(struct qv_etcd_held *h)
{
    struct qv_buf b;
    if (h->e->state != QV_ETCD_READY || h->id != 0)
        return;
    qv_buf_init(&b, 0);
    qv_etcd_put_lease(&b, h->l->id);
    h->asked_boot_ns = qv_env_boot_ns(h->e->base.env);
    h->id = qv_meta_etcd_send(h->e, QV_ETCD_KEEP, &b, h->e->timeout_ms);
}

static void on_keep(struct qv_timer *timer)
{
    struct qv_etcd_held *h = timer->arg;
    qv_env_timer_start(h->e->base.env, timer, h->ttl_ns / 3);
    held_send(h);
}

static void look_later(struct qv_etcd_held *h, uint64_t now)
{
    uint64_t left = h->l->end_boot_ns - now;
    qv_env_timer_start(h->e->base.env, &h->end, left < LOOK_NS ? left : LOOK_NS);
}

static void on_end(struct qv_timer *timer)
{
    struct qv_etcd_held *h = timer->arg;
    uint64_t now = qv_env_boot_ns(h->e->base.env);
    if (now < h->l->end_boot_ns)
        look_later(h, now);
    else
        held_lost(h, QV_ETIMEOUT, "the lease could not be kept alive");
}

void qv_etcd_hold_begin(struct qv_meta_etcd *e, struct qv_meta_lease *l, uint64_t asked_boot_ns,
                        uint64_t id, uint64_t ttl_s)
{
    struct qv_etcd_held *h = qv_mem_calloc(1, sizeof *h);
    *h = (struct qv_etcd_held){.e = e, .l = l, .ttl_ns = ttl_s * QV_NS_PER_S};
    h->keep = (struct qv_timer){.run = on_keep, .arg = h};
    h->end = (struct qv_timer){.run = on_end, .arg = h};
    l->id = id;
    l->end_boot_ns = qv_meta_lease_end_ns(asked_boot_ns, h->ttl_ns);
    l->call.meta = &e->base;
    l->call.kind = QV_META_CALL_HELD;
    l->call.impl = h;
    qv_meta_calls_add(&e->leases, &l->call);
    qv_env_timer_start(e->base.env, &h->keep, h->ttl_ns / 3);
    qv_env_timer_start(e->base.env, &h->end, 0);
}

void qv_etcd_hold_release(struct qv_meta_etcd *e, struct qv_meta_lease *l)
{
    (void)e;
    held_free(l->call.impl);
}

void qv_etcd_holds_send(struct qv_meta_etcd *e)
{
    for (struct qv_meta_call *c = e->leases.first; c != NULL; c = c->next)
        held_send(c->impl);
}

void qv_etcd_holds_left(struct qv_meta_etcd *e)
{
    for (struct qv_meta_call *c = e->leases.first; c != NULL; c = c->next)
        ((struct qv_etcd_held *)c->impl)->id = 0;
}

void qv_etcd_holds_close(struct qv_meta_etcd *e)
{
    while (e->leases.first != NULL)
        held_lost(e->leases.first->impl, QV_ECANCELED, "closed");
}

static void kept(struct qv_etcd_held *h, struct qv_bytes body)
{
    struct qv_meta_etcd *e = h->e;
    struct qv_arena arena;
    struct qv_etcd_answer a;
    struct qv_errmsg msg;
    qv_arena_init(&arena, 1u << 20);
    int err =
        qv_etcd_get(&(struct qv_etcd_asked){QV_ETCD_IS_KEEP, e->root, ""}, body, &arena, &a, &msg);
    if (err == 0 && a.lease != h->l->id)
        err = qv_fail(&msg, QV_EPROTO, "it kept another lease alive");
    if (err != 0) {
        qv_meta_etcd_leave(e, QV_EUNAVAILABLE, msg.text);
    } else if (qv_meta_etcd_heard(e, &a, 0) != 0) {
        ; /* another store: nothing it says of the lease counts */
    } else if (a.ttl_s == 0) {
        held_lost(h, QV_ENOTFOUND, "etcd has ended the lease");
    } else {
        uint64_t end = qv_meta_lease_end_ns(h->asked_boot_ns, a.ttl_s * QV_NS_PER_S);
        if (end > h->l->end_boot_ns)
            h->l->end_boot_ns = end;
    }
    qv_arena_close(&arena);
}

bool qv_etcd_holds_done(struct qv_meta_etcd *e, const struct qv_etcd_result *r)
{
    struct qv_etcd_held *h = NULL;
    int err = 0;
    for (struct qv_meta_call *c = e->leases.first; c != NULL && h == NULL; c = c->next) {
        struct qv_etcd_held *at = c->impl;
        h = at->id == r->id ? at : NULL;
    }
    if (h == NULL)
        return false;
    h->id = 0;
    enum qv_etcd_verdict v =
        r->err != 0 ? QV_ETCD_UNKNOWN : qv_etcd_judge(r->grpc_status, r->text, &err);
    if (v == QV_ETCD_DONE)
        kept(h, r->body);
    else if (v == QV_ETCD_REFUSED && err == QV_ENOTFOUND)
        held_lost(h, QV_ENOTFOUND, "etcd has ended the lease");
    else if (v != QV_ETCD_LOG_IN || qv_meta_etcd_login_again(e) != 0)
        qv_meta_etcd_leave(e, QV_EUNAVAILABLE, qv_meta_etcd_failure(r));
    return true;
}
