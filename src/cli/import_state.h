/* How far an import came: a small file that a later `quiver import --resume` starts from.
 *
 * It says how many points from the beginning are acknowledged (so: durable on the server), for
 * which input, and whether the collection still lacks the graph that it is to have. It is replaced
 * by rename and not synced: an older one makes the resumed import send some points again, which
 * changes nothing. One thread. */
#ifndef QV_CLI_IMPORT_STATE_H
#define QV_CLI_IMPORT_STATE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

struct qv_import_state {
    char path[4096];
    uint64_t key;     /* of the target and the input: name, size, time, options that make ids */
    bool graph_later; /* the collection was made without a graph: it gets one at the end */
};

/* What an import is, for the key. */
struct qv_import_identity {
    const char *base, *collection;
    const char *file, *payload; /* payload may be NULL */
    uint64_t start_id, limit;
};

/* path: NULL is $XDG_STATE_HOME/quiver/ or ~/.local/state/quiver/, import-KEY.json, made when it is
 * not there. QV_EINVAL: an input can't be looked at, or the path is too long. */
QV_MUST_USE int qv_import_state_init(const struct qv_import_identity *id, const char *path,
                                     struct qv_import_state *out, struct qv_errmsg *msg);
/* *done: 0 when there is no such file; sets graph_later. QV_EINVAL: it is not of this import, or
 * damaged. */
QV_MUST_USE int qv_import_state_load(struct qv_import_state *s, uint64_t *done,
                                     struct qv_errmsg *msg);
QV_MUST_USE int qv_import_state_save(const struct qv_import_state *s, uint64_t done,
                                     struct qv_errmsg *msg);
void qv_import_state_remove(const struct qv_import_state *s);

#endif
