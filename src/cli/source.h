/* What `quiver import` reads: points one after the other, as messages for an upsert.
 *
 *   vectors   any file of cli/vecfile.h but of i32: point i has id start_id + i; its payload, where
 *             a payload file is given, is the object on that file's i-th line
 *   folder    what `quiver export` wrote there: points.jsonl, and the vector of each point that has
 * a "row" in vectors.fbin JSON      .jsonl .ndjson: a point a line, {"id", "vector", "payload"};
 * vector in any form of the API (named, sparse, several rows); without an id it is start_id + i
 *
 * Empty lines count for nothing. Everything is checked before it is handed on; an error names file,
 * line or row, value and what is allowed. One thread. */
#ifndef QV_CLI_SOURCE_H
#define QV_CLI_SOURCE_H

#include "base/arena.h"
#include "cli/vecfile.h"
#include "core/api.h"

struct qv_source_config {
    const char *path;    /* borrowed for as long as the source is open */
    const char *payload; /* likewise; NULL: none; only with vectors */
    uint64_t start_id;
    uint64_t limit; /* most points; 0: all */
};

struct qv_lines { /* of a mapped text */
    const char *path;
    struct qv_bytes map;
    size_t at;      /* in map */
    uint64_t line;  /* of the line read last, from 1 */
    uint64_t count; /* lines that are not empty */
};

struct qv_source {
    struct qv_source_config config;
    bool is_json;
    struct qv_vecfile vectors;
    struct qv_exported *exported; /* of a folder; NULL otherwise */
    struct qv_lines lines;        /* JSON */
    struct qv_lines payload;      /* beside vectors; map.n == 0: none */
    uint64_t total;               /* points it gives */
    uint64_t next;                /* number of the next */
    float *row;                   /* scratch */
    struct qv_arena arena;        /* of one point */
};

/* QV_EINVAL, QV_ENOTFOUND, QV_EIO, QV_ENOMEM. */
QV_MUST_USE int qv_source_open(const struct qv_source_config *config, struct qv_source *out,
                               struct qv_errmsg *msg);
void qv_source_close(struct qv_source *s); /* may be called twice, and on zeros */

/* Leaves n points out; n <= total - next. */
void qv_source_skip(struct qv_source *s, uint64_t n);
/* Appends the next point as a field `points` of UpsertPoints. QV_EEOF: there is none; QV_EINVAL. */
QV_MUST_USE int qv_source_put(struct qv_source *s, struct qv_buf *b, struct qv_errmsg *msg);

/* The body that makes the collection which was exported, with its braces; n == 0: this is no
 * folder of an export. Borrowed until close. */
struct qv_str qv_source_create_body(const struct qv_source *s);

/* Appends "vectors":{..}[,"sparse_vectors":{..}] of a collection that suits the first point.
 * datatype: NULL leaves it out. Only before anything was put or left out. */
QV_MUST_USE int qv_source_put_schema(struct qv_source *s, const char *distance,
                                     const char *datatype, struct qv_buf *json,
                                     struct qv_errmsg *msg);

#endif
