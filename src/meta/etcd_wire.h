/* etcd's messages: requests to bytes, answers from bytes. Pure; any thread.
 *
 * An answer is from the network: it is bounded by wire/pb_guard.h before it is unpacked, and then
 * every number, key and length is checked. QV_EPROTO: it is none, or nonsense. */
#ifndef QV_META_ETCD_WIRE_H
#define QV_META_ETCD_WIRE_H

#include "base/arena.h"
#include "core/meta.h"

#define QV_ETCD_RANGE "/etcdserverpb.KV/Range"
#define QV_ETCD_TXN "/etcdserverpb.KV/Txn"
#define QV_ETCD_WATCH "/etcdserverpb.Watch/Watch"
#define QV_ETCD_GRANT "/etcdserverpb.Lease/LeaseGrant"
#define QV_ETCD_REVOKE "/etcdserverpb.Lease/LeaseRevoke"
#define QV_ETCD_KEEP "/etcdserverpb.Lease/LeaseKeepAlive"
#define QV_ETCD_LOGIN_PATH "/etcdserverpb.Auth/Authenticate"

/* Of one answer; a page of a list, or a batch of a watch, which etcd cuts at 2 MiB or so. */
#define QV_ETCD_ANSWER_BYTES_MAX ((size_t)64 << 20)
#define QV_ETCD_TOKEN_BYTES_MAX 4096u

/* ---- requests: appended to out, which must be checked for `failed` ---- */

/* root: stands before every key of ours in etcd. after: NULL, or the key of ours after which to go
 * on. revision 0: the newest. */
struct qv_etcd_range {
    const char *root, *prefix, *after;
    uint64_t revision;
    uint32_t limit;
    bool keys_only;
};
void qv_etcd_put_range(struct qv_buf *out, const struct qv_etcd_range *r);
void qv_etcd_put_txn(struct qv_buf *out, const char *root, const struct qv_meta_txn *t);
void qv_etcd_put_watch(struct qv_buf *out, const char *root, const char *prefix, uint64_t from);
void qv_etcd_put_grant(struct qv_buf *out, uint64_t ttl_s);
void qv_etcd_put_lease(struct qv_buf *out, uint64_t id); /* to keep or to revoke */
void qv_etcd_put_login(struct qv_buf *out, const char *user, const char *password);

/* ---- answers ---- */

/* What a status other than OK says of a request. */
enum qv_etcd_verdict {
    QV_ETCD_DONE,      /* OK: read the answer */
    QV_ETCD_NOT_DONE,  /* for sure; another member may do it */
    QV_ETCD_UNKNOWN,   /* it may have been done */
    QV_ETCD_REFUSED,   /* not done, and no other member would: *err says why */
    QV_ETCD_LOG_IN,    /* not done: there is no token, or it is no longer good */
    QV_ETCD_COMPACTED, /* the revision asked for is gone */
};
enum qv_etcd_verdict qv_etcd_judge(int grpc_status, const char *text, int *err);

enum qv_etcd_kind {
    QV_ETCD_IS_RANGE,
    QV_ETCD_IS_TXN,
    QV_ETCD_IS_WATCH,
    QV_ETCD_IS_GRANT,
    QV_ETCD_IS_REVOKE,
    QV_ETCD_IS_KEEP,
    QV_ETCD_IS_LOGIN,
    QV_ETCD_KINDS
};

struct qv_etcd_answer {
    uint64_t cluster_id, revision; /* 0: the answer has none */
    struct qv_meta_entry *entries; /* range, watch; ascending by key, or by revision */
    uint32_t count;
    bool more;                        /* range */
    bool succeeded;                   /* txn */
    bool created, canceled, fragment; /* watch */
    uint64_t compacted;               /* watch: canceled, since it wants older than this */
    const char *reason;               /* watch canceled, grant refused: "" when there is none */
    uint64_t lease, ttl_s;            /* grant, keep; ttl_s 0: it has ended */
    const char *token;                /* login */
};

/* What was asked: keys are given without root, and must have the prefix. */
struct qv_etcd_asked {
    enum qv_etcd_kind kind;
    const char *root, *prefix;
};
/* Everything lives in the arena. QV_EPROTO, QV_ENOMEM. */
QV_MUST_USE int qv_etcd_get(const struct qv_etcd_asked *asked, struct qv_bytes in,
                            struct qv_arena *arena, struct qv_etcd_answer *out,
                            struct qv_errmsg *msg);

#endif
