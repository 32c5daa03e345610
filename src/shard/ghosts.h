/* What is known of points that are not there: tombstones, and parts set before their put arrived.
 * All of them in memory, so that a put of an unknown id never asks the payload store. Owner only.
 */
#ifndef QV_SHARD_GHOSTS_H
#define QV_SHARD_GHOSTS_H

#include "base/buf.h"
#include "core/id.h"
#include "core/version.h"

struct qv_ghost {
    struct qv_id id;
    struct qv_version newest;
    struct qv_ghost *next; /* in its bucket */
    size_t bytes;
    uint8_t data[]; /* its record */
};

struct qv_ghosts {
    struct qv_ghost **buckets;
    uint32_t mask;
    uint32_t count;
};

void qv_ghosts_init(struct qv_ghosts *g);
void qv_ghosts_close(struct qv_ghosts *g);
struct qv_ghost *qv_ghosts_find(const struct qv_ghosts *g, const struct qv_id *id);
/* Adds or replaces; copies the record. */
void qv_ghosts_put(struct qv_ghosts *g, const struct qv_id *id, struct qv_version newest,
                   struct qv_bytes record);
void qv_ghosts_remove(struct qv_ghosts *g, const struct qv_id *id); /* fine when it is not there */

#endif
