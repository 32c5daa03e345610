/* Requests with one answer: lists (page after page), transactions, grants and revocations. */
#include "meta/meta_etcd_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdio.h>

/* Pages: so few keys always fit into an answer; more where they are small. */
#define PAGE_KEYS_MIN 48u
#define PAGE_KEYS_MAX 2048u
#define PAGE_BYTES_SMALL ((size_t)1 << 20)
#define LIST_BYTES_MAX ((size_t)256 << 20)
#define LIST_RESTARTS_MAX 3u
#define OP_LOGINS_MAX 2u

struct qv_etcd_op {
    struct qv_meta_etcd *e;
    struct qv_meta_call *call;
    struct qv_timer timer; /* its deadline */
    uint64_t id;           /* 0: not in flight */
    uint64_t known_revision;
    uint64_t asked_boot_ns;
    uint32_t logins;
    /* list */
    struct qv_meta_item **items;
    uint32_t count, cap;
    size_t bytes;
    uint64_t revision; /* of its first page; 0: none yet */
    uint32_t page_keys, restarts;
};

static struct qv_errmsg *op_msg(struct qv_etcd_op *op)
{
    switch ((enum qv_meta_call_kind)op->call->kind) {
    case QV_META_CALL_LIST:
        return &((struct qv_meta_listing *)op->call)->msg;
    case QV_META_CALL_TXN:
        return &((struct qv_meta_txn *)op->call)->msg;
    default:
        return &((struct qv_meta_lease *)op->call)->msg;
    }
}

static void pages_clear(struct qv_etcd_op *op)
{
    for (uint32_t i = 0; i < op->count; i++)
        qv_meta_item_unref(op->items[i]);
    op->count = 0;
    op->bytes = 0;
    op->revision = 0;
}

static void list_done(struct qv_etcd_op *op, struct qv_meta_listing *l, int err)
{
    struct qv_meta_entry *entries = NULL;
    if (err == 0) {
        entries = qv_mem_calloc((size_t)op->count + 1, sizeof *entries);
        for (uint32_t i = 0; i < op->count; i++)
            entries[i] = op->items[i]->entry;
        l->entries = entries;
        l->count = op->count;
        l->revision = op->revision;
    }
    l->done(l, err);
    qv_mem_free(entries);
}

/* Its callback; op is gone afterwards. On an error its message is set. */
static void op_end(struct qv_etcd_op *op, int err)
{
    struct qv_meta_call *c = op->call;
    qv_env_timer_stop(op->e->base.env, &op->timer);
    qv_meta_calls_remove(&op->e->ops, c);
    c->meta = NULL;
    c->impl = NULL;
    if (c->kind == QV_META_CALL_LIST) {
        list_done(op, (struct qv_meta_listing *)c, err);
    } else if (c->kind == QV_META_CALL_TXN) {
        struct qv_meta_txn *t = (struct qv_meta_txn *)c;
        t->done(t, err);
    } else {
        struct qv_meta_lease *l = (struct qv_meta_lease *)c;
        l->id = 0;
        if (c->kind == QV_META_CALL_GRANT)
            l->granted(l, err);
        else
            l->lost(l, err);
    }
    pages_clear(op);
    qv_mem_free(op->items);
    qv_mem_free(op);
}

static void op_fail(struct qv_etcd_op *op, int err, const char *text)
{
    op_end(op, qv_fail(op_msg(op), err, "%s", text));
}

/* ---- sending ---- */

static uint32_t left_ms(const struct qv_etcd_op *op)
{
    uint64_t now = qv_env_mono_ns(op->e->base.env);
    uint64_t left = op->call->deadline_ns > now ? op->call->deadline_ns - now : 0;
    return (uint32_t)(left / QV_NS_PER_MS) + 1;
}

static const char *put_request(struct qv_etcd_op *op, struct qv_buf *b)
{
    const char *root = op->e->root;
    if (op->call->kind == QV_META_CALL_LIST) {
        const struct qv_meta_listing *l = (const struct qv_meta_listing *)op->call;
        struct qv_etcd_range r = {
            .root = root, .prefix = l->prefix, .revision = op->revision, .limit = op->page_keys};
        if (op->count > 0)
            r.after = op->items[op->count - 1]->entry.key;
        qv_etcd_put_range(b, &r);
        return QV_ETCD_RANGE;
    }
    if (op->call->kind == QV_META_CALL_TXN) {
        qv_etcd_put_txn(b, root, (const struct qv_meta_txn *)op->call);
        return QV_ETCD_TXN;
    }
    const struct qv_meta_lease *l = (const struct qv_meta_lease *)op->call;
    if (op->call->kind == QV_META_CALL_REVOKE) {
        qv_etcd_put_lease(b, l->id);
        return QV_ETCD_REVOKE;
    }
    qv_etcd_put_grant(b, (l->ttl_ms + 999u) / 1000);
    return QV_ETCD_GRANT;
}

/* A transaction may take all the time that is left; what can be repeated is given up earlier, so
 * that there is time for another endpoint. */
static void op_send(struct qv_etcd_op *op)
{
    struct qv_meta_etcd *e = op->e;
    struct qv_buf b;
    if (e->state != QV_ETCD_READY || op->id != 0 || op->call->err != 0)
        return;
    qv_buf_init(&b, 0);
    const char *path = put_request(op, &b);
    uint32_t ms = left_ms(op);
    if (op->call->kind != QV_META_CALL_TXN && ms > e->timeout_ms)
        ms = e->timeout_ms;
    op->known_revision = e->base.revision;
    op->asked_boot_ns = qv_env_boot_ns(e->base.env);
    op->id = qv_meta_etcd_send(e, path, &b, ms);
}

static void on_deadline(struct qv_timer *timer)
{
    struct qv_etcd_op *op = timer->arg;
    struct qv_meta_etcd *e = op->e;
    if (op->call->err != 0) { /* it could not be asked */
        op_end(op, op->call->err);
        return;
    }
    if (op->id == 0) {
        op_end(op, qv_fail(op_msg(op), QV_EUNAVAILABLE, "%s",
                           e->base.reachable ? "etcd had no time for it" : e->base.why.text));
        return;
    }
    qv_etcd_link_cancel(e->link, op->id);
    op->id = 0;
    qv_meta_etcd_leave(e, QV_EUNAVAILABLE, "no answer in time");
    op_fail(op, op->call->kind == QV_META_CALL_TXN ? QV_EUNKNOWN : QV_EUNAVAILABLE,
            "etcd did not answer in time");
}

void qv_etcd_op_begin(struct qv_meta_etcd *e, struct qv_meta_call *c, enum qv_meta_call_kind kind,
                      int err)
{
    QV_ASSERT(c->meta == NULL && !e->closing);
    struct qv_etcd_op *op = qv_mem_calloc(1, sizeof *op);
    *op = (struct qv_etcd_op){.e = e, .call = c, .page_keys = PAGE_KEYS_MIN};
    op->timer = (struct qv_timer){.run = on_deadline, .arg = op};
    c->meta = &e->base;
    c->kind = (uint8_t)kind;
    c->err = err;
    c->impl = op;
    uint32_t ms = kind == QV_META_CALL_LIST  ? ((struct qv_meta_listing *)c)->timeout_ms
                  : kind == QV_META_CALL_TXN ? ((struct qv_meta_txn *)c)->timeout_ms
                                             : ((struct qv_meta_lease *)c)->timeout_ms;
    uint64_t ns = err != 0 ? 0 : (ms == 0 ? QV_META_TIMEOUT_MS : ms) * QV_NS_PER_MS;
    c->deadline_ns = qv_env_mono_ns(e->base.env) + ns;
    qv_env_timer_start(e->base.env, &op->timer, ns);
    qv_meta_calls_add(&e->ops, c);
    op_send(op);
}

void qv_etcd_ops_send(struct qv_meta_etcd *e)
{
    for (struct qv_meta_call *c = e->ops.first; c != NULL; c = c->next)
        op_send(c->impl);
}

/* The callbacks may begin others, which wait again: only those that are here now are refused. */
void qv_etcd_ops_refuse(struct qv_meta_etcd *e, int err)
{
    uint32_t n = 0;
    for (struct qv_meta_call *c = e->ops.first; c != NULL; c = c->next)
        n++;
    for (struct qv_meta_call *c = e->ops.first; n > 0 && c != NULL; n--) {
        struct qv_etcd_op *op = c->impl;
        c = c->next;
        if (op->id != 0 || op->call->err != 0)
            continue;
        op->call->err = qv_fail(op_msg(op), err, "%s", e->base.why.text);
        qv_env_timer_start(e->base.env, &op->timer, 0); /* its callback comes from there */
    }
}

void qv_etcd_ops_close(struct qv_meta_etcd *e)
{
    while (e->ops.first != NULL) {
        struct qv_etcd_op *op = e->ops.first->impl;
        bool sent = op->id != 0 && op->call->kind == QV_META_CALL_TXN;
        op_fail(op, sent ? QV_EUNKNOWN : QV_ECANCELED, "closed");
    }
}

/* ---- answers ---- */

/* Some of the request may have been done, or nothing; the endpoint is left. */
static void op_lost(struct qv_etcd_op *op, bool may_be_done, const char *text)
{
    struct qv_meta_etcd *e = op->e;
    qv_meta_etcd_leave(e, QV_EUNAVAILABLE, text);
    if (may_be_done && op->call->kind == QV_META_CALL_TXN)
        op_fail(op, QV_EUNKNOWN, text);
    else
        op_send(op); /* later, when there is an endpoint */
}

static void page_add(struct qv_etcd_op *op, const struct qv_etcd_answer *a)
{
    size_t page_bytes = 0;
    if (op->count + a->count > op->cap) {
        op->cap = (op->count + a->count) * 2;
        op->items = qv_mem_realloc(op->items, op->cap * sizeof(struct qv_meta_item *));
    }
    for (uint32_t i = 0; i < a->count; i++) {
        op->items[op->count++] = qv_meta_item_make(&a->entries[i]);
        page_bytes += a->entries[i].value.n + QV_META_KEY_BYTES_MAX;
    }
    op->bytes += page_bytes;
    if (page_bytes < PAGE_BYTES_SMALL && op->page_keys < PAGE_KEYS_MAX)
        op->page_keys *= 4;
    else if (page_bytes >= PAGE_BYTES_SMALL)
        op->page_keys = PAGE_KEYS_MIN;
}

static void list_answer(struct qv_etcd_op *op, const struct qv_etcd_answer *a)
{
    bool out_of_order = op->count > 0 && a->count > 0 &&
                        strcmp(op->items[op->count - 1]->entry.key, a->entries[0].key) >= 0;
    if (op->revision == 0)
        op->revision = a->revision;
    for (uint32_t i = 0; i < a->count; i++)
        out_of_order |= a->entries[i].mod_revision > op->revision;
    if (out_of_order || op->revision == 0) {
        pages_clear(op);
        op_lost(op, false, "its pages don't fit together");
        return;
    }
    page_add(op, a);
    if (op->count > QV_META_KEYS_MAX || op->bytes > LIST_BYTES_MAX)
        op_end(op, qv_fail(op_msg(op), QV_ELIMIT, "more metadata than %u keys or %zu bytes",
                           QV_META_KEYS_MAX, LIST_BYTES_MAX));
    else if (a->more)
        op_send(op);
    else
        op_end(op, 0);
}

static void answer(struct qv_etcd_op *op, const struct qv_etcd_answer *a)
{
    struct qv_meta_etcd *e = op->e;
    if (op->call->kind == QV_META_CALL_LIST) {
        list_answer(op, a);
    } else if (op->call->kind == QV_META_CALL_TXN) {
        ((struct qv_meta_txn *)op->call)->revision = a->revision;
        if (a->succeeded)
            op_end(op, 0);
        else
            op_fail(op, QV_ESTALE, "the metadata has changed");
    } else if (op->call->kind == QV_META_CALL_REVOKE) {
        op_end(op, 0);
    } else if (a->reason[0] != '\0') {
        op_fail(op, QV_EINVAL, a->reason);
    } else {
        struct qv_meta_lease *l = (struct qv_meta_lease *)op->call;
        qv_env_timer_stop(e->base.env, &op->timer);
        qv_meta_calls_remove(&e->ops, op->call);
        qv_etcd_hold_begin(e, l, op->asked_boot_ns, a->lease, a->ttl_s);
        qv_mem_free(op);
        l->granted(l, 0);
    }
}

static enum qv_etcd_kind answer_kind(const struct qv_etcd_op *op)
{
    return op->call->kind == QV_META_CALL_LIST    ? QV_ETCD_IS_RANGE
           : op->call->kind == QV_META_CALL_TXN   ? QV_ETCD_IS_TXN
           : op->call->kind == QV_META_CALL_GRANT ? QV_ETCD_IS_GRANT
                                                  : QV_ETCD_IS_REVOKE;
}

static void op_answered(struct qv_etcd_op *op, struct qv_bytes body)
{
    struct qv_meta_etcd *e = op->e;
    struct qv_arena arena;
    struct qv_etcd_answer a;
    struct qv_errmsg msg;
    const char *prefix =
        op->call->kind == QV_META_CALL_LIST ? ((struct qv_meta_listing *)op->call)->prefix : "";
    qv_arena_init(&arena, 2 * QV_ETCD_ANSWER_BYTES_MAX);
    int err = qv_etcd_get(&(struct qv_etcd_asked){answer_kind(op), e->root, prefix}, body, &arena,
                          &a, &msg);
    if (err != 0)
        op_lost(op, true, msg.text);
    else if (qv_meta_etcd_heard(e, &a, op->known_revision) != 0)
        op_end(op, qv_fail(op_msg(op), QV_ESTALE, "%s", e->base.why.text));
    else
        answer(op, &a);
    qv_arena_close(&arena);
}

/* The pages so far are of a revision that is gone. */
static void list_restart(struct qv_etcd_op *op)
{
    pages_clear(op);
    if (++op->restarts > LIST_RESTARTS_MAX)
        op_fail(op, QV_EUNAVAILABLE, "etcd is compacted faster than it can be listed");
    else
        op_send(op);
}

static void op_refused(struct qv_etcd_op *op, int err, const char *text)
{
    if (op->call->kind == QV_META_CALL_REVOKE && err == QV_ENOTFOUND)
        op_end(op, 0);
    else
        op_fail(op, err, text);
}

static void op_done(struct qv_etcd_op *op, const struct qv_etcd_result *r)
{
    int err;
    op->id = 0;
    if (r->err == QV_ETOOBIG && op->call->kind == QV_META_CALL_LIST &&
        op->page_keys > PAGE_KEYS_MIN) {
        op->page_keys = PAGE_KEYS_MIN;
        op_send(op);
        return;
    }
    if (r->err != 0) {
        op_lost(op, r->begun, qv_meta_etcd_failure(r));
        return;
    }
    switch (qv_etcd_judge(r->grpc_status, r->text, &err)) {
    case QV_ETCD_DONE:
        op_answered(op, r->body);
        return;
    case QV_ETCD_NOT_DONE:
        op_lost(op, false, r->text);
        return;
    case QV_ETCD_UNKNOWN:
        op_lost(op, true, qv_meta_etcd_failure(r));
        return;
    case QV_ETCD_REFUSED:
        op_refused(op, err, r->text);
        return;
    case QV_ETCD_LOG_IN:
        if (++op->logins > OP_LOGINS_MAX || qv_meta_etcd_login_again(op->e) != 0)
            op_fail(op, QV_EAUTH, r->text);
        return;
    case QV_ETCD_COMPACTED:
        if (op->call->kind == QV_META_CALL_LIST)
            list_restart(op);
        else
            op_fail(op, QV_EINTERNAL, r->text);
        return;
    }
}

bool qv_etcd_ops_done(struct qv_meta_etcd *e, const struct qv_etcd_result *r)
{
    for (struct qv_meta_call *c = e->ops.first; c != NULL; c = c->next) {
        struct qv_etcd_op *op = c->impl;
        if (op->id == r->id) {
            op_done(op, r);
            return true;
        }
    }
    return false;
}
