/* The read path's only vtable: what a coordinator (src/query) asks of a *leaf*. A leaf is a place
 * that answers for shards: this node's own (src/node), another node, or a coordinator of its own
 * that asks further and answers for what it asked.
 *
 * What is asked is an *ask*: one message to one leaf, with one or more *legs*. All legs of an ask
 * want the same (one kind, one request); each names its shard, the part of the keys it covers, and
 * how much is wanted of it. So 100 queries over 4 shards of a node are one ask of 4 legs, and a
 * query vector travels once.
 *
 * Kinds
 *   SEARCH   a batch of queries of any kind. A query whose limit is 0 in a leg is not asked of it.
 *            What there is beyond an answer's *bound* is asked for by the same again with a larger
 *            limit; the later answer stands for the earlier one (`more` needs no cursor, and so
 *            nothing is kept between asks)
 *   FETCH    points by their ids; those that are not there are not answered
 *   SCROLL, COUNT, FACET
 *   DIGESTS  what a shard's contents are, as a number; may be "not known"
 *
 * Everything here is on the env's owner. An ask is embedded in the caller's struct; it and what it
 * borrows stay valid until done, which is called exactly once, later, never from inside start: also
 * after cancel, and soon then. The request structs' own stop, limit, offset and selections mean
 * what they mean in core/api.h, but: limits are the leg's, offsets are the asker's (0 here, except
 * SCROLL's first id), stop and deadline are the ask's. */
#ifndef QV_CORE_SHARD_OPS_H
#define QV_CORE_SHARD_OPS_H

#include "core/api.h"
#include "core/cover.h"

enum qv_ask_kind {
    QV_ASK_SEARCH,
    QV_ASK_FETCH,
    QV_ASK_SCROLL,
    QV_ASK_COUNT,
    QV_ASK_FACET,
    QV_ASK_DIGESTS,
    QV_ASK_KIND_COUNT
};

/* No hit that an answer left out ranks before this place in the query's order (it may rank at it:
 * scrolls name the next id). Which field says it follows from the query's kind: score and id for
 * searches, order_value and id, or id alone. */
struct qv_bound {
    bool all; /* nothing was left out */
    float score;
    struct qv_order_value order_value;
    struct qv_id id;
};

struct qv_leg {
    uint8_t collection[16]; /* uuid */
    uint32_t shard;         /* its number */
    uint64_t incarnation;   /* of the shard */
    uint64_t epoch;         /* of the shard's last change, as the asker knows it */
    struct qv_cover cover;
    const uint32_t *limits; /* SEARCH: of each query; SCROLL, FACET: one; else NULL */
    uint32_t limit_count;
    const struct qv_id *ids; /* FETCH */
    uint32_t id_count;
};

/* Of one query in one leg. */
struct qv_leg_list {
    struct qv_points_out points; /* in the query's order, distinct (id; ORDER_BY: id and value) */
    struct qv_bound bound;
};

/* What a leg gave. Lives in its own arena, which the asker gave and keeps; what it borrows beyond
 * that is held until the asker calls release (on the owner or a worker), before the arena goes. */
struct qv_leg_answer {
    /* 0; QV_ESTALE (epoch says the newer one), QV_EUNAVAILABLE, QV_EBUSY, QV_ETIMEOUT,
     * QV_ECANCELED, QV_ECORRUPT, QV_EUNKNOWN: of this leg at this leaf;
     * a PERMANENT one: the request is wrong, wherever it is asked */
    int err;
    struct qv_errmsg msg;
    uint64_t epoch;             /* ESTALE: of the record that the leaf has; 0: not told */
    struct qv_cover cover;      /* searched */
    struct qv_leg_list *lists;  /* SEARCH: one per query */
    struct qv_leg_list scroll;  /* SCROLL; bound.id: the next id, where there is one */
    struct qv_points_out fetch; /* FETCH: in the order of the leg's ids */
    uint64_t count;             /* COUNT */
    struct qv_facet_out facet;  /* FACET: most frequent first */
    bool facet_all;             /* no value was left out */
    bool digest_known;          /* DIGESTS */
    uint64_t digest;
    struct qv_arena arena;
    void (*release)(
        struct qv_leg_answer *a); /* the asker has done with it; NULL: nothing is held */
    void *held;                   /* release's */
};

struct qv_ask;
typedef void (*qv_ask_done_f)(struct qv_ask *ask);

struct qv_ask {
    enum qv_ask_kind kind;
    union { /* borrowed; by kind */
        const struct qv_query_req *query;
        const struct qv_get_req *get; /* selections only */
        const struct qv_scroll_req *scroll;
        const struct qv_count_req *count;
        const struct qv_facet_req *facet;
    } req;
    const struct qv_leg *legs; /* borrowed */
    uint32_t leg_count;
    uint64_t deadline_ns;           /* mono; the leaf gives up then by itself */
    const struct qv_stop *stop;     /* also asked; NULL: never */
    uint8_t hops_left;              /* how often it may still be asked on */
    struct qv_leg_answer **answers; /* leg_count; zeroed but for their arenas */
    qv_ask_done_f done;
    void *arg;  /* the caller's */
    void *leaf; /* the leaf's, between start and done */
};

struct qv_leaf;

/* What there is to know of a leaf, for choosing and for EXPLAIN. */
struct qv_leaf_state {
    const char *kind; /* "local", "remote"; static */
    uint32_t outstanding;
    uint64_t latency_ns; /* decayed; 0: not known */
    uint64_t p95_ns;     /* 0: not known */
};

struct qv_shard_ops {
    void (*start)(struct qv_leaf *leaf, struct qv_ask *ask);
    /* The answer is not wanted any more. Not inside start; fine when done is under way. */
    void (*cancel)(struct qv_leaf *leaf, struct qv_ask *ask);
    void (*describe)(struct qv_leaf *leaf, struct qv_leaf_state *out);
};

/* Embedded in what answers. */
struct qv_leaf {
    const struct qv_shard_ops *ops;
    uint64_t node; /* who it is: a node's id */
};

#endif
