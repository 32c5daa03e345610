/* What `quiver export` writes: files that `quiver import` reads back to the same points.
 *
 *   FILE.jsonl   a point a line: {"id", "vector", "payload"}, as the server answered them
 *   DIR          vectors.fbin    one dense vector of each point, f32
 *                points.jsonl    a point a line: {"id", "row", "vector", "payload"}: row is its
 * place in vectors.fbin (absent when it has none), vector its others collection.json what the
 * collection is: "vector", the name of that in vectors.fbin; "create", the body that makes such a
 * collection
 *
 * Everything is written to names with .part behind them, and renamed when it is complete. Beside
 * them a state says after which point the files were whole: a later run truncates them there and
 * goes on. One thread. */
#ifndef QV_CLI_EXPORT_SINK_H
#define QV_CLI_EXPORT_SINK_H

#include "base/arena.h"
#include "base/buf.h"

#include <stdio.h>

#define QV_EXPORT_PATH_MAX 4096
#define QV_EXPORT_ID_MAX 64

struct qv_export_sink {
    /* given */
    const char *path;   /* borrowed */
    const char *using_; /* the vector for vectors.fbin; NULL: the first one met */
    uint64_t key;       /* of what is exported: server, collection, filter, vector */
    /* told */
    bool is_dir;
    uint64_t points, rows, bytes; /* bytes: of both files */
    char next[QV_EXPORT_ID_MAX];  /* the id that comes next, as JSON; "" at the end */
    /* its own */
    char lines_path[QV_EXPORT_PATH_MAX], rows_path[QV_EXPORT_PATH_MAX],
        state_path[QV_EXPORT_PATH_MAX];
    FILE *lines, *vectors;
    uint64_t line_bytes;
    char vector[256]; /* name of that in vectors.fbin */
    bool has_vector;
    uint32_t dim;
    struct qv_arena arena; /* of a page */
};

/* given fields are set. Directory when path ends with '/' or is one, file when it ends with .jsonl;
 * QV_EINVAL otherwise. resume: goes on from the state, where there is one of this key. overwrite:
 * what the path holds may be replaced. QV_EEXISTS, QV_EIO, QV_EINVAL (a state that does not fit).
 */
QV_MUST_USE int qv_export_sink_open(struct qv_export_sink *s, bool resume, bool overwrite,
                                    struct qv_errmsg *msg);
/* Appends the points of one answer to POST points, in its order; next: JSON of the id after them,
 * "" at the end. */
QV_MUST_USE int qv_export_sink_put(struct qv_export_sink *s, struct qv_bytes answer,
                                   const char *next, struct qv_errmsg *msg);
/* Makes what was put so far a place to resume from. */
QV_MUST_USE int qv_export_sink_save(struct qv_export_sink *s, struct qv_errmsg *msg);
/* Syncs and renames. collection: the answer to GET /collections/NAME, for collection.json. */
QV_MUST_USE int qv_export_sink_finish(struct qv_export_sink *s, const char *name,
                                      struct qv_bytes collection, struct qv_errmsg *msg);
void qv_export_sink_close(struct qv_export_sink *s); /* may be called twice, and on zeros */

/* The value that stands next, as it stands: exactly its bytes, borrowed from the body. */
struct qv_json;
struct qv_str qv_export_raw(struct qv_json *j);

#endif
