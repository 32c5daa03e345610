/* What a cluster agrees on: a small ordered store of values by key in which every change is one
 * transaction under compares, that can be watched, and in which a key may live as long as a lease.
 *
 * Which nodes, collections and shards there are, and where: never points, progress, load or
 * liveness. Implementations: meta/meta_file.h (a node alone), meta/meta_etcd.h (etcd), and
 * io/sim_meta.h (the simulator). The promises are etcd's:
 *   - The store has one revision that goes up by one with each transaction that changes something;
 *     all its changes carry that revision.
 *   - Lists and transactions are linearizable: each takes effect at one moment between its call and
 *     its callback, a failed compare included.
 *   - A watch gives every change of its keys, once, in order of the revisions, a revision never in
 *     two pieces; when is not promised. Watches are not ordered against the answers of lists and
 *     transactions: an event may come before or long after its transaction's callback.
 *   - A lease that is kept alive is not ended by the store for want of it. It may end early all the
 *     same (an operator, a clock at the store): what it guards must be fenced by a transaction.
 *
 * Everything is called on env's owner, and calls back there, never from inside the call that began
 * it. Requests are embedded in the caller's structs, zero where not said otherwise, and are the
 * implementation's from the call to their last callback: nothing in them may be touched meanwhile.
 *
 * Keys are text without NUL. Results: QV_EINVAL, QV_ELIMIT, QV_ETOOBIG what can't be asked;
 * QV_EUNAVAILABLE not done, for want of the store; QV_EUNKNOWN may have been done, or may yet be;
 * QV_EAUTH, QV_EFORBIDDEN, QV_ENOSPC what the store says; QV_ECANCELED closed meanwhile.
 * QV_ESTALE while `replaced` is set: this is another store than the one known, or an older state of
 * it (a restored backup), and nothing is done there. */
#ifndef QV_CORE_META_H
#define QV_CORE_META_H

#include "base/buf.h"
#include "core/env.h"

#define QV_META_KEY_BYTES_MAX 256u
#define QV_META_VALUE_BYTES_MAX (1u << 20)
#define QV_META_KEYS_MAX 10000u
/* Of one transaction: what etcd takes unless told otherwise (128 operations, 1.5 MiB a request). */
#define QV_META_COMPARES_MAX 128u
#define QV_META_CHANGES_MAX 128u
#define QV_META_TXN_BYTES_MAX ((3u << 19) - (64u << 10))
#define QV_META_TIMEOUT_MS 2000u
#define QV_META_LEASE_MS_MAX (24u * 3600 * 1000)

struct qv_meta;

/* A key as a list has it, or a change of it as a watch has it. */
struct qv_meta_entry {
    const char *key;
    struct qv_bytes value; /* p NULL: the key was removed (watches only) */
    uint64_t mod_revision; /* of its last change; of its removal */
    uint64_t lease;        /* 0: none */
};

/* The implementation's part of a request; zero before the first use. */
struct qv_meta_call {
    struct qv_meta_call *prev, *next;
    struct qv_meta *meta; /* NULL: at rest, the request is the caller's */
    uint64_t deadline_ns; /* qv_env_mono_ns */
    void *impl;
    uint8_t kind, state;
    int err;
};

/* ---- list ---- */

struct qv_meta_listing {
    struct qv_meta_call call; /* first */
    const char *prefix;       /* borrowed until done; "": everything */
    uint32_t timeout_ms;      /* 0: QV_META_TIMEOUT_MS */
    void (*done)(struct qv_meta_listing *l, int err);
    void *arg;
    /* The answer, valid inside done: every key with the prefix as it was at `revision`, ascending.
     * A watch from revision + 1 sees what came after. */
    const struct qv_meta_entry *entries;
    uint32_t count;
    uint64_t revision;
    struct qv_errmsg msg; /* on an error */
};

/* ---- txn ---- */

enum qv_meta_compare_kind {
    QV_META_MOD,    /* the key's last change is mod_revision; 0: there is no such key */
    QV_META_ABSENT, /* there is no such key */
    QV_META_VALUE,  /* the key is there and has this value */
};
struct qv_meta_compare {
    enum qv_meta_compare_kind kind;
    const char *key;
    uint64_t mod_revision;
    struct qv_bytes value;
};

struct qv_meta_change {
    const char *key;       /* once in a transaction */
    struct qv_bytes value; /* p NULL: remove the key; where there is none nothing is changed */
    uint64_t lease;        /* the key goes with it; 0: none */
};

struct qv_meta_txn {
    struct qv_meta_call call;               /* first */
    const struct qv_meta_compare *compares; /* all borrowed until done */
    const struct qv_meta_change *changes;
    uint32_t compare_count;
    uint32_t change_count;
    uint32_t timeout_ms; /* 0: QV_META_TIMEOUT_MS */
    /* 0: every compare held and all changes are durable. QV_ESTALE: a compare failed, nothing was
     * changed. QV_ENOTFOUND: a lease has ended, nothing was changed. */
    void (*done)(struct qv_meta_txn *t, int err);
    void *arg;
    uint64_t revision; /* after 0: of the changes; after QV_ESTALE: of the store then */
    struct qv_errmsg msg;
};

/* ---- watch ---- */

struct qv_meta_watch {
    struct qv_meta_call call; /* first */
    const char *prefix;       /* borrowed while it watches */
    uint64_t from;            /* the first revision wanted, >= 1 */
    /* Changes of whole revisions, ascending, borrowed for the call. Everything up to `revision` has
     * now been given. count 0: nothing changed up to there. May stop this watch or start others. */
    void (*events)(struct qv_meta_watch *w, const struct qv_meta_entry *events, uint32_t count,
                   uint64_t revision);
    /* It has ended and is the caller's again. QV_ESTALE: the store no longer has the changes from
     * where it stands (compacted), or `replaced`: list again, watch from there. QV_EAUTH,
     * QV_EFORBIDDEN, QV_ELIMIT, QV_ECANCELED. That the store is away ends no watch. */
    void (*ended)(struct qv_meta_watch *w, int err);
    void *arg;
    struct qv_errmsg msg; /* inside ended */
};

/* ---- lease ---- */

struct qv_meta_lease {
    struct qv_meta_call call; /* first */
    uint32_t ttl_ms;          /* wanted, 1 to QV_META_LEASE_MS_MAX; the store may give longer */
    uint32_t timeout_ms;      /* of the grant and the revocation; 0: QV_META_TIMEOUT_MS */
    /* 0: `id` is granted, and is kept alive from now on. Otherwise the lease is the caller's. */
    void (*granted)(struct qv_meta_lease *l, int err);
    /* It has ended, or may have: it could not be kept alive, and by this machine's clock the store
     * may end it from now on (QV_ETIMEOUT); the store says it has ended (QV_ENOTFOUND); it was
     * revoked (0, its keys are gone; else it could not be told and ends by itself). The lease is
     * the caller's again. */
    void (*lost)(struct qv_meta_lease *l, int err);
    void *arg;
    uint64_t id;          /* for the puts of transactions */
    uint64_t end_boot_ns; /* it holds until then at the least, as far as clocks can say */
    struct qv_errmsg msg;
};

/* ---- the store ---- */

struct qv_meta_ops {
    void (*list)(struct qv_meta *m, struct qv_meta_listing *l);
    void (*txn)(struct qv_meta *m, struct qv_meta_txn *t);
    void (*watch_start)(struct qv_meta *m, struct qv_meta_watch *w);
    void (*watch_stop)(struct qv_meta *m, struct qv_meta_watch *w);
    void (*lease_grant)(struct qv_meta *m, struct qv_meta_lease *l);
    void (*lease_revoke)(struct qv_meta *m, struct qv_meta_lease *l);
    void (*close)(struct qv_meta *m);
    void (*abandon)(struct qv_meta *m);
};

struct qv_meta {
    const struct qv_meta_ops *ops;
    struct qv_env *env; /* borrowed */
    /* What is known of the store, 0 before the first answer. A node keeps them beside its last tree
     * and gives them to the next open, so that it sees a store that was put back. */
    uint64_t cluster_id;
    uint64_t revision;
    bool reachable;       /* the last that was tried answered */
    bool replaced;        /* what answers is not the store that is known, or an older state of it */
    struct qv_errmsg why; /* while it is not reachable: one line for a person */
};

static inline void qv_meta_list(struct qv_meta *m, struct qv_meta_listing *l)
{
    m->ops->list(m, l);
}
static inline void qv_meta_txn(struct qv_meta *m, struct qv_meta_txn *t)
{
    m->ops->txn(m, t);
}
static inline void qv_meta_watch_start(struct qv_meta *m, struct qv_meta_watch *w)
{
    m->ops->watch_start(m, w);
}
/* No callback of it comes any more; it is the caller's. Fine when it has ended. */
static inline void qv_meta_watch_stop(struct qv_meta *m, struct qv_meta_watch *w)
{
    m->ops->watch_stop(m, w);
}
static inline void qv_meta_lease_grant(struct qv_meta *m, struct qv_meta_lease *l)
{
    m->ops->lease_grant(m, l);
}
/* Of a granted lease, once; `lost` follows. */
static inline void qv_meta_lease_revoke(struct qv_meta *m, struct qv_meta_lease *l)
{
    m->ops->lease_revoke(m, l);
}
/* Whether it still holds, by the clock: ask before acting on it, a callback may be late. */
static inline bool qv_meta_lease_holds(const struct qv_meta *m, const struct qv_meta_lease *l)
{
    return l->id != 0 && qv_env_boot_ns(m->env) < l->end_boot_ns;
}
/* Takes m; NULL is fine. Every open request gets its callback with QV_ECANCELED, from inside; a
 * transaction that was sent gets QV_EUNKNOWN. Leases are left to end by themselves. Not from a
 * callback. */
static inline void qv_meta_close(struct qv_meta *m)
{
    if (m != NULL)
        m->ops->close(m);
}
/* Takes m; frees without a callback, what a crash leaves: after qv_sim_node_crash. */
static inline void qv_meta_abandon(struct qv_meta *m)
{
    if (m != NULL)
        m->ops->abandon(m);
}

/* ---- for implementations ---- */

/* Whether it can be asked: 0, or QV_EINVAL, QV_ELIMIT, QV_ETOOBIG with l->msg. */
QV_MUST_USE int qv_meta_check_listing(struct qv_meta_listing *l);
QV_MUST_USE int qv_meta_check_txn(struct qv_meta_txn *t);
QV_MUST_USE int qv_meta_check_watch(struct qv_meta_watch *w);
QV_MUST_USE int qv_meta_check_lease(struct qv_meta_lease *l);

enum qv_meta_call_kind {
    QV_META_CALL_LIST,
    QV_META_CALL_TXN,
    QV_META_CALL_WATCH,
    QV_META_CALL_GRANT, /* of a lease, until it is granted */
    QV_META_CALL_HELD,
    QV_META_CALL_REVOKE,
};

/* A list of requests, oldest first. */
struct qv_meta_calls {
    struct qv_meta_call *first, *last;
};
void qv_meta_calls_add(struct qv_meta_calls *list, struct qv_meta_call *c);
void qv_meta_calls_remove(struct qv_meta_calls *list, struct qv_meta_call *c);

/* A lease's time as seen from here: the store's clock may be faster than ours by a 64th. */
static inline uint64_t qv_meta_lease_end_ns(uint64_t asked_boot_ns, uint64_t ttl_ns)
{
    return asked_boot_ns + ttl_ns - ttl_ns / 64;
}

#endif
