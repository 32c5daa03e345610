/* Strict mode: bounds that a collection sets on what may be asked of it (strict_mode_config of the
 * API). Parsed once into numbers when a configuration is made; the checks look at nothing but the
 * configuration and the request, so that they are the same for both protocols. Every text says what
 * was wrong and what to do about it. Any thread. */
#ifndef QV_CORE_STRICT_H
#define QV_CORE_STRICT_H

#include "core/api.h"

/* doc: the object as given, or p == NULL. Unknown keys are passed over. QV_EFORMAT (a value of the
 * wrong type), QV_EVALIDATION (out of bounds). out borrows doc. */
QV_MUST_USE int qv_strict_parse(struct qv_doc doc, struct qv_strict *out, struct qv_errmsg *msg);

/* What the collection holds now, about. */
struct qv_strict_usage {
    uint64_t points, vector_bytes, payload_bytes;
    uint32_t memory_percent; /* of the node; 0: not known */
};
/* Does a check need the usage? It costs something to find out. */
bool qv_strict_needs_usage(const struct qv_strict *s);

/* QV_EBADREQ when the mode is enabled and the request is beyond a bound. */
QV_MUST_USE int qv_strict_timeout(const struct qv_collection_config *c, uint64_t timeout_ms,
                                  struct qv_errmsg *msg);
QV_MUST_USE int qv_strict_queries(const struct qv_collection_config *c,
                                  const struct qv_query_req *req, struct qv_errmsg *msg);
QV_MUST_USE int qv_strict_scroll(const struct qv_collection_config *c,
                                 const struct qv_scroll_req *req, struct qv_errmsg *msg);
QV_MUST_USE int qv_strict_count(const struct qv_collection_config *c,
                                const struct qv_count_req *req, struct qv_errmsg *msg);
QV_MUST_USE int qv_strict_facet(const struct qv_collection_config *c,
                                const struct qv_facet_req *req, struct qv_errmsg *msg);
QV_MUST_USE int qv_strict_writes(const struct qv_collection_config *c,
                                 const struct qv_write_req *req,
                                 const struct qv_strict_usage *usage, struct qv_errmsg *msg);
/* A payload index of this field is about to be made. */
QV_MUST_USE int qv_strict_index(const struct qv_collection_config *c, struct qv_str field,
                                const struct qv_strict_usage *usage, struct qv_errmsg *msg);

/* ---- rates ---- */

/* What a request counts for: one each query, and one for each condition of its filters; a change
 * one for each point it names. */
uint64_t qv_strict_read_cost(const struct qv_filter *const *filters, uint32_t count);
uint64_t qv_strict_query_cost(const struct qv_query_req *req);
uint64_t qv_strict_write_cost(const struct qv_write_req *req);

/* A bucket that holds what a minute allows and fills at that pace. All zeros: full. */
struct qv_rate {
    double used;
    uint64_t asked_ns;
};
/* Takes `cost` out of it. QV_EBUSY: there is not so much; *retry_s says when there will be (0:
 * never, it costs more than a minute allows). what: "Read", "Write". The caller locks. */
QV_MUST_USE int qv_rate_take(struct qv_rate *r, uint64_t per_minute, uint64_t cost, uint64_t now_ns,
                             uint64_t *retry_s);
int qv_rate_fail(const char *what, uint64_t cost, uint64_t retry_s, struct qv_errmsg *msg);

#endif
