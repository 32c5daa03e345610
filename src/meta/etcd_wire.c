#include "meta/etcd_wire.h"

#include "base/qv_assert.h"
#include "net/grpc.h"
#include "proto/quiver_etcd.pb-c.h"
#include "wire/pb_guard.h"

#include <stdio.h>

#define KEY_BYTES_MAX (2 * QV_META_KEY_BYTES_MAX + 2)

/* ---- requests ---- */

/* A key of ours as etcd has it; `tail` is appended. */
struct full_key {
    size_t n;
    uint8_t bytes[KEY_BYTES_MAX];
};

static void key_make(struct full_key *k, const char *root, const char *key)
{
    size_t a = strlen(root);
    size_t b = strlen(key);
    QV_ASSERT(a + b + 1 < sizeof k->bytes);
    memcpy(k->bytes, root, a);
    memcpy(k->bytes + a, key, b);
    k->n = a + b;
}

/* The end of the range of keys with this prefix: one up at its last byte. */
static void key_end(struct full_key *k, const char *root, const char *prefix)
{
    key_make(k, root, prefix);
    while (k->n > 0 && k->bytes[k->n - 1] == 0xFF)
        k->n--;
    if (k->n > 0)
        k->bytes[k->n - 1]++;
    else
        k->bytes[k->n++] = 0; /* everything */
}

static ProtobufCBinaryData key_data(struct full_key *k)
{
    return (ProtobufCBinaryData){.len = k->n, .data = k->bytes};
}

static ProtobufCBinaryData value_data(struct qv_bytes v)
{
    union {
        const uint8_t *in;
        uint8_t *out;
    } p = {v.p};
    return (ProtobufCBinaryData){.len = v.n, .data = p.out};
}

static void put(struct qv_buf *out, const ProtobufCMessage *m)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *at = qv_buf_reserve(out, n + 1);
    if (at == NULL)
        return;
    size_t written = protobuf_c_message_pack(m, at);
    QV_ASSERT(written == n);
    out->len += n;
}

void qv_etcd_put_range(struct qv_buf *out, const struct qv_etcd_range *r)
{
    QvEtcd__RangeRequest m = QV_ETCD__RANGE_REQUEST__INIT;
    struct full_key from, end;
    key_make(&from, r->root, r->after == NULL ? r->prefix : r->after);
    if (r->after != NULL || from.n == 0)
        from.bytes[from.n++] = 0; /* the next one there can be; the first of all */
    key_end(&end, r->root, r->prefix);
    m.has_key = m.has_range_end = true;
    m.key = key_data(&from);
    m.range_end = key_data(&end);
    m.has_limit = m.has_revision = m.has_keys_only = true;
    m.limit = r->limit;
    m.revision = (int64_t)r->revision;
    m.keys_only = r->keys_only;
    put(out, &m.base);
}

static void compare_make(QvEtcd__Compare *m, const struct qv_meta_compare *c, struct full_key *key)
{
    qv_etcd__compare__init(m);
    m->has_result = m->has_target = m->has_key = true;
    m->key = key_data(key);
    if (c->kind == QV_META_VALUE) {
        m->target = 3;
        m->has_value = true;
        m->value = value_data(c->value);
    } else {
        m->target = 2;
        m->has_mod_revision = true;
        m->mod_revision = c->kind == QV_META_ABSENT ? 0 : (int64_t)c->mod_revision;
    }
}

static void range_op(QvEtcd__RequestOp *op, QvEtcd__RangeRequest *range, struct full_key *key)
{
    qv_etcd__range_request__init(range);
    range->has_key = range->has_keys_only = true;
    range->keys_only = true;
    range->key = key_data(key);
    op->request_range = range;
}

/* One message for all of it: the parts of a change, beside each other. */
struct change_parts {
    QvEtcd__RequestOp op;
    QvEtcd__PutRequest put;
    QvEtcd__DeleteRangeRequest remove;
    struct full_key key;
};

static void change_make(struct change_parts *p, const char *root, const struct qv_meta_change *c)
{
    qv_etcd__request_op__init(&p->op);
    key_make(&p->key, root, c->key);
    if (c->value.p == NULL) {
        qv_etcd__delete_range_request__init(&p->remove);
        p->remove.has_key = true;
        p->remove.key = key_data(&p->key);
        p->op.request_delete_range = &p->remove;
        return;
    }
    qv_etcd__put_request__init(&p->put);
    p->put.has_key = p->put.has_value = p->put.has_lease = true;
    p->put.key = key_data(&p->key);
    p->put.value = value_data(c->value);
    p->put.lease = (int64_t)c->lease;
    p->op.request_put = &p->put;
}

void qv_etcd_put_txn(struct qv_buf *out, const char *root, const struct qv_meta_txn *t)
{
    QvEtcd__TxnRequest m = QV_ETCD__TXN_REQUEST__INIT;
    struct qv_arena arena;
    qv_arena_init(&arena, 1u << 20);
    QvEtcd__Compare *compares = QV_ARENA_ARRAY(&arena, QvEtcd__Compare, t->compare_count + 1);
    struct full_key *keys = QV_ARENA_ARRAY(&arena, struct full_key, t->compare_count + 1);
    struct change_parts *parts = QV_ARENA_ARRAY(&arena, struct change_parts, t->change_count + 1);
    m.compare = QV_ARENA_ARRAY(&arena, QvEtcd__Compare *, t->compare_count + 1);
    m.success = QV_ARENA_ARRAY(&arena, QvEtcd__RequestOp *, t->change_count + 1);
    QvEtcd__RangeRequest range;
    out->failed = out->failed || arena.failed;
    if (arena.failed)
        goto out;
    for (uint32_t i = 0; i < t->compare_count; i++) {
        key_make(&keys[i], root, t->compares[i].key);
        compare_make(&compares[i], &t->compares[i], &keys[i]);
        m.compare[m.n_compare++] = &compares[i];
    }
    for (uint32_t i = 0; i < t->change_count; i++) {
        change_make(&parts[i], root, &t->changes[i]);
        m.success[m.n_success++] = &parts[i].op;
    }
    if (t->change_count == 0) {
        /* Compares alone etcd answers from the member that is asked, which may be behind; with a
         * read that must be linearizable beside them they are too. */
        qv_etcd__request_op__init(&parts[0].op);
        key_make(&parts[0].key, root, t->compare_count > 0 ? t->compares[0].key : "-");
        range_op(&parts[0].op, &range, &parts[0].key);
        m.success[m.n_success++] = &parts[0].op;
    }
    put(out, &m.base);
out:
    qv_arena_close(&arena);
}

void qv_etcd_put_watch(struct qv_buf *out, const char *root, const char *prefix, uint64_t from)
{
    QvEtcd__WatchRequest m = QV_ETCD__WATCH_REQUEST__INIT;
    QvEtcd__WatchCreateRequest c = QV_ETCD__WATCH_CREATE_REQUEST__INIT;
    struct full_key key, end;
    key_make(&key, root, prefix);
    if (key.n == 0)
        key.bytes[key.n++] = 0;
    key_end(&end, root, prefix);
    c.has_key = c.has_range_end = c.has_start_revision = c.has_fragment = true;
    c.key = key_data(&key);
    c.range_end = key_data(&end);
    c.start_revision = (int64_t)from;
    c.fragment = true;
    m.create_request = &c;
    put(out, &m.base);
}

void qv_etcd_put_grant(struct qv_buf *out, uint64_t ttl_s)
{
    QvEtcd__LeaseGrantRequest m = QV_ETCD__LEASE_GRANT_REQUEST__INIT;
    m.has_ttl = true;
    m.ttl = (int64_t)ttl_s;
    put(out, &m.base);
}

void qv_etcd_put_lease(struct qv_buf *out, uint64_t id)
{
    QvEtcd__LeaseKeepAliveRequest m = QV_ETCD__LEASE_KEEP_ALIVE_REQUEST__INIT;
    m.has_id = true;
    m.id = (int64_t)id;
    put(out, &m.base);
}

void qv_etcd_put_login(struct qv_buf *out, const char *user, const char *password)
{
    QvEtcd__AuthenticateRequest m = QV_ETCD__AUTHENTICATE_REQUEST__INIT;
    union {
        const char *in;
        char *out;
    } a = {user}, b = {password};
    m.name = a.out;
    m.password = b.out;
    put(out, &m.base);
}

/* ---- answers ---- */

static bool has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

static enum qv_etcd_verdict refuse(int *err, int why)
{
    *err = why;
    return QV_ETCD_REFUSED;
}

/* The texts are those of etcd's rpctypes, the same from 3.2 to 3.6. Where one is not known the
 * verdict is the careful one. */
enum qv_etcd_verdict qv_etcd_judge(int grpc_status, const char *text, int *err)
{
    *err = 0;
    switch (grpc_status) {
    case QV_GRPC_OK:
        return QV_ETCD_DONE;
    case QV_GRPC_UNAVAILABLE: /* "no leader" is found before anything is begun */
        return has(text, "etcdserver: no leader") ? QV_ETCD_NOT_DONE : QV_ETCD_UNKNOWN;
    case QV_GRPC_RESOURCE_EXHAUSTED:
        if (has(text, "too many requests"))
            return QV_ETCD_NOT_DONE;
        return refuse(err, has(text, "space exceeded") ? QV_ENOSPC : QV_ETOOBIG);
    case QV_GRPC_INVALID_ARGUMENT:
        /* The second: logins are wanted since we came, without. */
        if (has(text, "revision of auth store is old") || has(text, "user name is empty"))
            return QV_ETCD_LOG_IN;
        if (has(text, "invalid user ID or password"))
            return refuse(err, QV_EAUTH);
        return refuse(err, has(text, "too large") ? QV_ETOOBIG : QV_EINVAL);
    case QV_GRPC_UNAUTHENTICATED:
        return QV_ETCD_LOG_IN;
    case QV_GRPC_PERMISSION_DENIED:
        return refuse(err, QV_EFORBIDDEN);
    case QV_GRPC_NOT_FOUND:
        return refuse(err, QV_ENOTFOUND);
    case QV_GRPC_FAILED_PRECONDITION:
        return refuse(err, QV_EINVAL);
    case QV_GRPC_OUT_OF_RANGE:
        return has(text, "compacted") ? QV_ETCD_COMPACTED : QV_ETCD_NOT_DONE;
    case QV_GRPC_UNIMPLEMENTED:
        return QV_ETCD_NOT_DONE;
    default:
        return QV_ETCD_UNKNOWN;
    }
}

struct reading {
    const char *root, *prefix;
    size_t root_bytes, prefix_bytes;
    struct qv_arena *arena;
    struct qv_etcd_answer *out;
    struct qv_errmsg *msg;
};

static int nonsense(struct qv_errmsg *msg, const char *what)
{
    return qv_fail(msg, QV_EPROTO, "etcd's answer makes no sense: %s", what);
}

static int read_header(const struct reading *r, const QvEtcd__ResponseHeader *h)
{
    if (h == NULL || h->cluster_id == 0)
        return nonsense(r->msg, "no cluster id");
    if (h->revision < 0)
        return nonsense(r->msg, "a negative revision");
    r->out->cluster_id = h->cluster_id;
    r->out->revision = (uint64_t)h->revision;
    return 0;
}

static int read_key(const struct reading *r, ProtobufCBinaryData key, const char **out)
{
    if (key.len < r->root_bytes + r->prefix_bytes ||
        key.len > r->root_bytes + QV_META_KEY_BYTES_MAX || key.len == r->root_bytes ||
        memcmp(key.data, r->root, r->root_bytes) != 0 ||
        memcmp(key.data + r->root_bytes, r->prefix, r->prefix_bytes) != 0)
        return nonsense(r->msg, "a key that was not asked for");
    if (memchr(key.data, 0, key.len) != NULL)
        return nonsense(r->msg, "a key with a NUL");
    *out =
        qv_arena_strndup(r->arena, (const char *)key.data + r->root_bytes, key.len - r->root_bytes);
    return *out == NULL ? QV_ENOMEM : 0;
}

static int read_entry(const struct reading *r, const QvEtcd__KeyValue *kv, bool removed,
                      struct qv_meta_entry *e)
{
    if (kv == NULL)
        return nonsense(r->msg, "a key is missing");
    int err = read_key(r, kv->key, &e->key);
    if (err != 0)
        return err;
    if (kv->mod_revision <= 0 || kv->lease < 0)
        return nonsense(r->msg, "a key without a revision");
    if (kv->value.len > QV_META_VALUE_BYTES_MAX)
        return nonsense(r->msg, "a value that is too long");
    e->mod_revision = (uint64_t)kv->mod_revision;
    e->lease = (uint64_t)kv->lease;
    if (!removed)
        e->value = (struct qv_bytes){kv->value.len > 0 ? kv->value.data : (const uint8_t *)"",
                                     kv->value.len};
    return 0;
}

static int read_entries(const struct reading *r, size_t count)
{
    r->out->entries = QV_ARENA_ARRAY(r->arena, struct qv_meta_entry, count + 1);
    return r->out->entries == NULL ? QV_ENOMEM : 0;
}

static int read_range(const struct reading *r, const QvEtcd__RangeResponse *m)
{
    struct qv_etcd_answer *a = r->out;
    int err = read_header(r, m->header);
    if (err == 0)
        err = read_entries(r, m->n_kvs);
    for (size_t i = 0; err == 0 && i < m->n_kvs; i++) {
        err = read_entry(r, m->kvs[i], false, &a->entries[i]);
        if (err == 0 && i > 0 && strcmp(a->entries[i - 1].key, a->entries[i].key) >= 0)
            err = nonsense(r->msg, "keys out of order");
        a->count++;
    }
    a->more = m->more;
    if (err == 0 && a->more && a->count == 0)
        err = nonsense(r->msg, "more, and nothing");
    return err;
}

static int read_watch(const struct reading *r, const QvEtcd__WatchResponse *m)
{
    struct qv_etcd_answer *a = r->out;
    int err = read_header(r, m->header);
    if (err == 0)
        err = read_entries(r, m->n_events);
    for (size_t i = 0; err == 0 && i < m->n_events; i++) {
        if (m->events[i]->type != 0 && m->events[i]->type != 1)
            err = nonsense(r->msg, "an unknown event");
        else
            err = read_entry(r, m->events[i]->kv, m->events[i]->type == 1, &a->entries[i]);
        if (err == 0 && i > 0 && a->entries[i - 1].mod_revision > a->entries[i].mod_revision)
            err = nonsense(r->msg, "events out of order");
        a->count++;
    }
    if (err == 0 && m->compact_revision < 0)
        err = nonsense(r->msg, "a negative revision");
    a->created = m->created;
    a->canceled = m->canceled;
    a->fragment = m->fragment;
    a->compacted = (uint64_t)m->compact_revision;
    if (m->cancel_reason != NULL)
        a->reason = m->cancel_reason;
    return err;
}

static int read_lease(const struct reading *r, const QvEtcd__ResponseHeader *header, int64_t id,
                      int64_t ttl)
{
    int err = read_header(r, header);
    if (err == 0 && id <= 0)
        err = nonsense(r->msg, "a lease without a number");
    if (err == 0 && ttl > (int64_t)(10ll * 365 * 24 * 3600))
        err = nonsense(r->msg, "a lease without an end");
    if (err != 0)
        return err;
    r->out->revision = 0; /* some say 0, and of none it is said when */
    r->out->lease = (uint64_t)id;
    r->out->ttl_s = ttl > 0 ? (uint64_t)ttl : 0;
    return 0;
}

static int read_grant(const struct reading *r, const QvEtcd__LeaseGrantResponse *m)
{
    if (m->error != NULL && m->error[0] != '\0') {
        r->out->reason = m->error;
        return read_header(r, m->header);
    }
    int err = read_lease(r, m->header, m->id, m->ttl);
    return err == 0 && r->out->ttl_s == 0 ? nonsense(r->msg, "a lease without time") : err;
}

static int read_login(const struct reading *r, const QvEtcd__AuthenticateResponse *m)
{
    size_t n = m->token == NULL ? 0 : strlen(m->token);
    if (n == 0 || n > QV_ETCD_TOKEN_BYTES_MAX)
        return nonsense(r->msg, "no token");
    for (size_t i = 0; i < n; i++) {
        if (m->token[i] < 0x21 || m->token[i] > 0x7E)
            return nonsense(r->msg, "a token that can't be sent");
    }
    r->out->token = m->token;
    return 0;
}

static const ProtobufCMessageDescriptor *const descriptors[QV_ETCD_KINDS] = {
    [QV_ETCD_IS_RANGE] = &qv_etcd__range_response__descriptor,
    [QV_ETCD_IS_TXN] = &qv_etcd__txn_response__descriptor,
    [QV_ETCD_IS_WATCH] = &qv_etcd__watch_response__descriptor,
    [QV_ETCD_IS_GRANT] = &qv_etcd__lease_grant_response__descriptor,
    [QV_ETCD_IS_REVOKE] = &qv_etcd__lease_revoke_response__descriptor,
    [QV_ETCD_IS_KEEP] = &qv_etcd__lease_keep_alive_response__descriptor,
    [QV_ETCD_IS_LOGIN] = &qv_etcd__authenticate_response__descriptor,
};

static int read_answer(const struct reading *r, enum qv_etcd_kind kind, const ProtobufCMessage *m)
{
    const QvEtcd__TxnResponse *txn = (const QvEtcd__TxnResponse *)m;
    const QvEtcd__LeaseKeepAliveResponse *keep = (const QvEtcd__LeaseKeepAliveResponse *)m;
    switch (kind) {
    case QV_ETCD_IS_RANGE:
        return read_range(r, (const QvEtcd__RangeResponse *)m);
    case QV_ETCD_IS_TXN:
        r->out->succeeded = txn->succeeded;
        return read_header(r, txn->header);
    case QV_ETCD_IS_WATCH:
        return read_watch(r, (const QvEtcd__WatchResponse *)m);
    case QV_ETCD_IS_GRANT:
        return read_grant(r, (const QvEtcd__LeaseGrantResponse *)m);
    case QV_ETCD_IS_REVOKE:
        return read_header(r, ((const QvEtcd__LeaseRevokeResponse *)m)->header);
    case QV_ETCD_IS_KEEP:
        return read_lease(r, keep->header, keep->id, keep->ttl);
    case QV_ETCD_IS_LOGIN:
        return read_login(r, (const QvEtcd__AuthenticateResponse *)m);
    case QV_ETCD_KINDS:
        break;
    }
    QV_ASSERT(kind < QV_ETCD_KINDS);
    return QV_EINTERNAL;
}

int qv_etcd_get(const struct qv_etcd_asked *asked, struct qv_bytes in, struct qv_arena *arena,
                struct qv_etcd_answer *out, struct qv_errmsg *msg)
{
    ProtobufCMessage *m;
    struct qv_errmsg why = {""};
    struct reading r = {.root = asked->root,
                        .prefix = asked->prefix,
                        .root_bytes = strlen(asked->root),
                        .prefix_bytes = strlen(asked->prefix),
                        .arena = arena,
                        .out = out,
                        .msg = msg};
    *out = (struct qv_etcd_answer){.reason = "", .token = ""};
    int err = qv_pb_unpack(descriptors[asked->kind], in, arena, &m, &why);
    if (err != 0 && err != QV_ENOMEM)
        return qv_fail(msg, QV_EPROTO, "etcd's answer can't be read: %.400s", why.text);
    if (err == 0)
        err = read_answer(&r, asked->kind, m);
    return err == QV_ENOMEM ? qv_fail(msg, err, "no memory for etcd's answer") : err;
}
