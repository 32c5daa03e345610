/* Filters: a tree of conditions over a point, as the API defines them. docs/filters.md has the
 * whole table (operator x payload type); in short:
 *
 * A path reaches any number of values (doc.h). A condition on a key holds when ANY of them
 * satisfies it; where a value is an array, MATCH*, *RANGE and GEO_* look at its elements instead,
 * one level, not deeper. Nothing reached (missing): only IS_EMPTY, KEY_IS_EMPTY{true} and
 * KEY_IS_NULL{false} hold. A filter holds when all of must, none of must_not, one of should and
 * min_should_min of min_should do; a list without conditions asks for nothing.
 *
 * Evaluated on documents as they are stored; no allocation; cost: the walk of each path, and with a
 * text index one pass over the texts that are reached. Immutable after seal: any number of threads
 * may evaluate one filter, each with a binding of its own. */
#ifndef QV_CORE_FILTER_H
#define QV_CORE_FILTER_H

#include "core/doc.h"
#include "core/geo.h"
#include "core/id.h"

struct qv_filter;

enum qv_cond_type {
    QV_COND_MATCH,          /* equal to: string, int or bool; the int 1 and the double 1.0 differ */
    QV_COND_MATCH_ANY,      /* in a list of strings or ints; an empty list: never */
    QV_COND_MATCH_EXCEPT,   /* not null and not in the list: what has another type is not in it */
    QV_COND_MATCH_TEXT,     /* a string that holds the text; with a text index: all of its tokens */
    QV_COND_MATCH_TEXT_ANY, /* a string that holds one of its words; with an index: of its tokens */
    QV_COND_MATCH_PHRASE,   /* as MATCH_TEXT; with an index: its tokens in a row */
    QV_COND_MATCH_PREFIX,   /* a string that begins with the bytes */
    QV_COND_RANGE,          /* numbers, ints as doubles; lt, gt, lte, gte */
    QV_COND_DATETIME_RANGE, /* strings that are times (datetime.h) */
    QV_COND_GEO_BOX,        /* objects {lon, lat} of valid degrees (geo.h) */
    QV_COND_GEO_RADIUS,
    QV_COND_GEO_POLYGON,
    QV_COND_VALUES_COUNT, /* array: its elements; null: 0; else 1; lt, gt, lte, gte */
    QV_COND_IS_EMPTY,     /* every value reached, if any, is null or [] */
    QV_COND_IS_NULL,      /* a value reached is null ([null] is not) */
    QV_COND_HAS_ID,       /* false inside NESTED */
    QV_COND_HAS_VECTOR,   /* false inside NESTED */
    QV_COND_SLICE,        /* the id's hash modulo total is index; false inside NESTED */
    QV_COND_NESTED,       /* sub-filter on each object in the array at key, keys relative to it */
    QV_COND_FILTER,       /* sub-filter on the same point (inside NESTED: the same object) */
    QV_COND_KEY_IS_EMPTY, /* {"key": k, "is_empty": want}: a value reached is null or [], or is not;
                             nothing reached is empty */
    QV_COND_KEY_IS_NULL   /* {"key": k, "is_null": want}: a value reached is null or an array that
                             holds null, or is not; nothing reached is not null */
};
#define QV_COND_TYPES (QV_COND_KEY_IS_NULL + 1)

struct qv_range {
    double lt, gt, lte, gte;
    bool has_lt, has_gt, has_lte, has_gte;
};

/* Microseconds since 1970 (datetime.h). */
struct qv_datetime_range {
    int64_t lt, gt, lte, gte;
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
    uint32_t text_number; /* of MATCH_TEXT, MATCH_TEXT_ANY, MATCH_PHRASE in the tree; set by seal */
    struct qv_str key;    /* as written, for messages and echo */
    struct qv_path path;  /* parsed */
    union {
        struct qv_match match;
        struct {
            const struct qv_match *items; /* all strings or all ints; sorted by seal */
            uint32_t count;
        } any;
        struct qv_str text;    /* MATCH_TEXT, MATCH_TEXT_ANY, MATCH_PHRASE, MATCH_PREFIX */
        struct qv_range range; /* RANGE, VALUES_COUNT */
        struct qv_datetime_range times;
        struct qv_geo_box geo_box;
        struct qv_geo_circle geo_circle;
        const struct qv_geo_polygon *geo_polygon;
        struct {
            const struct qv_id *ids; /* sorted by seal */
            uint32_t count;
        } has_id;
        struct {
            uint32_t total, index; /* index < total */
        } slice;
        struct qv_str vector;           /* HAS_VECTOR: name, empty = unnamed */
        const struct qv_filter *filter; /* NESTED, FILTER */
        bool want;                      /* KEY_IS_EMPTY, KEY_IS_NULL */
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
    uint32_t text_conds; /* in the whole tree; set by seal, in the root */
};

#define QV_FILTER_DEPTH_MAX 32
#define QV_FILTER_CONDS_MAX 4096       /* in the whole tree */
#define QV_FILTER_LIST_MAX 65536       /* items of any, except, has_id */
#define QV_TEXT_QUERY_TOKENS_MAX 1024u /* of one text to match */

/* Conditions that a text index on the field changes. */
static inline bool qv_cond_is_text(enum qv_cond_type t)
{
    return t == QV_COND_MATCH_TEXT || t == QV_COND_MATCH_TEXT_ANY || t == QV_COND_MATCH_PHRASE;
}

/* {"lon": number, "lat": number} of valid degrees, whatever else is in the object. false: it is no
 * place. */
bool qv_filter_place(struct qv_doc v, struct qv_geo_point *out);

/* The hash that SLICE divides ids by: fixed by the API, the same on every machine. */
uint64_t qv_filter_slice_hash(const struct qv_id *id);

int qv_match_compare(const struct qv_match *a, const struct qv_match *b); /* type, then value */

/* What text conditions take from a collection's text indexes: what they ask for in tokens, and the
 * scratch to tokenise stored texts. Borrows filter and config; one thread at a time. Made once a
 * request: some 10 us where there are stop words, nothing (*out NULL) without text conditions or
 * text indexes. QV_EINVAL with the reason: too many tokens, or options that no index may have.
 * QV_ENOMEM, QV_ETOOBIG. *out is NULL then. */
struct qv_collection_config;
struct qv_filter_binding;
struct qv_stop;
/* stop (api.h; NULL: never) is asked every few thousand tokens. Once it says so, matching gives up
 * at once: what it answers then means nothing, and qv_filter_stopped gives the error, its text in
 * msg, which is borrowed too. */
QV_MUST_USE int qv_filter_bind(const struct qv_filter *f, const struct qv_collection_config *config,
                               const struct qv_stop *stop, struct qv_filter_binding **out,
                               struct qv_errmsg *msg);
int qv_filter_stopped(const struct qv_filter_binding *b); /* 0: it was not; b may be NULL */
void qv_filter_unbind(struct qv_filter_binding **b);      /* *b may be NULL; sets it NULL */

/* What a filter looks at. has_vector may be NULL (no vectors). binding NULL: text conditions are as
 * without indexes. */
struct qv_filter_point {
    struct qv_id id;
    struct qv_doc payload; /* an object, or p == NULL for none */
    bool (*has_vector)(void *ctx, struct qv_str name);
    void *ctx;
    struct qv_filter_binding *binding;
};

/* An empty filter (or NULL) matches everything. Only sealed filters. */
bool qv_filter_match(const struct qv_filter *f, const struct qv_filter_point *point);

/* Called by the decoders when a tree is complete, once, on the root: checks the bounds above, that
 * lists hold one type and bounds are not NaN, and sorts the lists. It writes to the tree, which
 * must lie in memory that may be written. The arena is not used at present. QV_EINVAL with a
 * reason. */
QV_MUST_USE int qv_filter_seal(struct qv_filter *f, struct qv_arena *a, struct qv_errmsg *msg);
/* Does evaluating it need the payload at all? */
bool qv_filter_needs_payload(const struct qv_filter *f);

#endif
