/* Private to src/shard: what reading shares. All on reader threads, inside an epoch where slots are
 * passed. */
#ifndef QV_SHARD_READ_H
#define QV_SHARD_READ_H

#include "shard/shard_private.h"

/* A point picked for an answer. */
struct qv_pick {
    qv_slot slot;
    struct qv_id id;
    struct qv_version version;
    float score;
    struct qv_order_value order_value;
};

/* QV_EUNAVAILABLE with the reason when the shard is quarantined or dropped. */
QV_MUST_USE int qv_read_begin(struct qv_shard *s, unsigned reader, struct qv_errmsg *msg);
void qv_read_end(struct qv_shard *s, unsigned reader);
/* The same, and the read's result: err, or QV_ESTALE when what the shard answers for was changed
 * meanwhile. */
QV_MUST_USE int qv_read_finish(struct qv_shard *s, unsigned reader, int err, struct qv_errmsg *msg);

/* A point as it is now; not found: gone meanwhile. */
struct qv_present {
    bool found;
    qv_slot slot; /* whose rows belong to it */
    struct qv_copy copy;
};
/* Decodes the point's record into the arena. */
QV_MUST_USE int qv_read_copy(struct qv_shard *s, struct qv_arena *arena, const struct qv_id *id,
                             struct qv_present *out, struct qv_errmsg *msg);
/* A filter with what it takes from the shard's configuration, for one thread; borrows the filter.
 * Unbind it also after an error. */
struct qv_bound_filter {
    const struct qv_filter *filter; /* NULL: everything matches */
    struct qv_filter_binding *binding;
    bool needs_payload;
};
QV_MUST_USE int qv_read_bind(struct qv_shard *s, const struct qv_filter *filter,
                             const struct qv_stop *stop, struct qv_bound_filter *out,
                             struct qv_errmsg *msg);
void qv_read_unbind(struct qv_bound_filter *b);
/* Does the copy match? */
QV_MUST_USE int qv_read_match(struct qv_shard *s, const struct qv_bound_filter *filter,
                              const struct qv_id *id, const struct qv_copy *copy, bool *match);
/* What a filter's bitmap was made of. */
struct qv_read_facts {
    const char *by;           /* "index", "index and payloads", "payloads" */
    uint64_t min, max;        /* of the points that match, as the payload indexes know */
    uint64_t points, matched; /* live; of them */
    uint64_t read;            /* payloads */
};
/* The slots that are live at one moment, as bits: all of them, and those with a vector. */
struct qv_live {
    uint32_t n;                  /* slots: bits */
    uint64_t *all;               /* (n + 63) / 64 words and one, in the arena */
    uint64_t *with;              /* likewise; NULL when no vector was asked for */
    const struct qv_stop *stop;  /* of what walks them; borrowed, NULL: never */
    struct qv_read_facts *facts; /* what qv_read_bitmap tells of its work; NULL: nothing */
};
/* vector: its index, or QV_READ_ANY. */
#define QV_READ_ANY UINT32_MAX
QV_MUST_USE int qv_read_live(struct qv_shard *s, struct qv_arena *arena, uint32_t vector,
                             struct qv_live *out);
/* With those that are hidden from readers: for writes. */
QV_MUST_USE int qv_read_stored(struct qv_shard *s, struct qv_arena *arena, uint32_t vector,
                               struct qv_live *out);
/* The same by the payload indexes alone: slots that match for certain, and those that may; what
 * lies between has to be read. live->n / 64 + 1 words each. QV_ENOMEM. */
QV_MUST_USE int qv_read_bounds(struct qv_shard *s, const struct qv_bound_filter *filter,
                               const struct qv_live *live, uint64_t *lower, uint64_t *upper);
/* Of live->all those whose points match: a bitmap in the arena. A point that moves to another slot
 * meanwhile is asked as it is now and told under the slot it had: every point counts once. */
QV_MUST_USE int qv_read_bitmap(struct qv_shard *s, struct qv_arena *arena,
                               const struct qv_filter *filter, const struct qv_live *live,
                               uint64_t **out, struct qv_errmsg *msg);
/* Calls visit for every point that was live when this began and matches, once each, as it is when
 * its turn comes, in no order. The copy is valid during the call. An error of visit ends it. */
struct qv_read_each {
    const struct qv_filter *filter; /* NULL: all */
    const struct qv_stop *stop;
    int (*visit)(void *arg, const struct qv_id *id, const struct qv_copy *copy,
                 struct qv_errmsg *msg);
    void *arg;
};
QV_MUST_USE int qv_read_each(struct qv_shard *s, struct qv_arena *arena,
                             const struct qv_read_each *want, struct qv_errmsg *msg);
/* Calls visit for every value that path reaches in the payload of copy; scratch is overwritten.
 * QV_ENOMEM. */
QV_MUST_USE int qv_read_values(const struct qv_copy *copy, const struct qv_path *path,
                               struct qv_buf *scratch, qv_path_visit_f visit, void *ctx);
/* The declared payload index of a key as it is written, or NULL. */
const struct qv_payload_index *qv_read_index(struct qv_shard *s, struct qv_str key);
/* Is an option of it that is on by default ("range", "lookup") left on? */
bool qv_read_index_has(const struct qv_payload_index *index, const char *option);

/* shard_order.c */
QV_MUST_USE int qv_order_scroll(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                                const struct qv_scroll_req *req, struct qv_scroll_out *out,
                                struct qv_errmsg *msg);
/* ORDER_BY and SAMPLE: limit points behind the first `offset`. Inside an epoch. */
QV_MUST_USE int qv_order_query(struct qv_shard *s, struct qv_arena *arena, const struct qv_query *q,
                               struct qv_points_out *out, struct qv_errmsg *msg);

/* The picked points and what of them is to be answered; borrows all. */
struct qv_read_order {
    const struct qv_pick *picks;
    uint32_t n;
    const struct qv_payload_select *with_payload;
    const struct qv_vector_select *with_vector;
};
QV_MUST_USE int qv_read_points(struct qv_shard *s, struct qv_arena *arena,
                               const struct qv_read_order *order, struct qv_points_out *out,
                               struct qv_errmsg *msg);

#endif
