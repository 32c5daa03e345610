/* Filters: a tree of conditions over a point, as the API defines them.
 *
 * A condition on a key is true when ANY value that its path reaches satisfies it; a path that ends in
 * an array looks at the array's elements too (as that API does). Evaluated on documents as they are
 * stored; no allocation, bounded depth. */
#ifndef QV_CORE_FILTER_H
#define QV_CORE_FILTER_H

#include "core/doc.h"
#include "core/id.h"

struct qv_filter;

enum qv_cond_type {
    QV_COND_MATCH,        /* value: string, int or bool */
    QV_COND_MATCH_ANY,    /* in a list of strings or ints */
    QV_COND_MATCH_EXCEPT, /* some value not in the list */
    QV_COND_RANGE,        /* numbers; lt, gt, lte, gte */
    QV_COND_VALUES_COUNT, /* of the value at key; lt, gt, lte, gte */
    QV_COND_IS_EMPTY,     /* missing, null or [] */
    QV_COND_IS_NULL,      /* null, or an array holding one */
    QV_COND_HAS_ID,
    QV_COND_HAS_VECTOR,
    QV_COND_NESTED, /* sub-filter on each element of the array at key */
    QV_COND_FILTER  /* sub-filter on the point */
};

struct qv_range {
    double lt, gt, lte, gte;
    bool has_lt, has_gt, has_lte, has_gte;
};

struct qv_match {
    enum { QV_MATCH_STRING, QV_MATCH_INT, QV_MATCH_BOOL } type;
    struct qv_str s;
    int64_t i;
    bool b;
};

struct qv_cond {
    enum qv_cond_type type;
    struct qv_str key;   /* as written, for messages and echo */
    struct qv_path path; /* parsed */
    union {
        struct qv_match match;
        struct {
            const struct qv_match *items; /* all strings or all ints; sorted by qv_match_compare */
            uint32_t count;
        } any;
        struct qv_range range; /* RANGE, VALUES_COUNT */
        struct {
            const struct qv_id *ids; /* sorted by qv_id_compare */
            uint32_t count;
        } has_id;
        struct qv_str vector; /* HAS_VECTOR: name, empty = unnamed */
        const struct qv_filter *filter; /* NESTED, FILTER */
    } u;
};

struct qv_filter {
    const struct qv_cond *must;
    const struct qv_cond *should;
    const struct qv_cond *must_not;
    const struct qv_cond *min_should;
    uint32_t must_count, should_count, must_not_count, min_should_count;
    uint32_t min_should_min; /* how many of min_should must hold */
    bool has_min_should;
};

#define QV_FILTER_DEPTH_MAX 32
#define QV_FILTER_CONDS_MAX 4096 /* in the whole tree */
#define QV_FILTER_LIST_MAX 65536 /* items of any, except, has_id */

int qv_match_compare(const struct qv_match *a, const struct qv_match *b);

/* What a filter looks at. has_vector may be NULL (no vectors). */
struct qv_filter_point {
    struct qv_id id;
    struct qv_doc payload; /* an object, or p == NULL for none */
    bool (*has_vector)(void *ctx, struct qv_str name);
    void *ctx;
};

/* An empty filter (or NULL) matches everything. */
bool qv_filter_match(const struct qv_filter *f, const struct qv_filter_point *point);

/* Called by the decoders when a tree is complete: bounds (depth, counts), sorts lists. QV_EINVAL. */
QV_MUST_USE int qv_filter_seal(struct qv_filter *f, struct qv_arena *a, struct qv_errmsg *msg);
/* Does evaluating it need the payload at all? */
bool qv_filter_needs_payload(const struct qv_filter *f);

#endif
