/* What the golden files hold: points of every kind, changes of every kind, and how both are told.
 * The files are kept for ever: what is here may grow by new kinds, with new files, and never
 * change.
 */
#ifndef QV_TEST_GOLDEN_H
#define QV_TEST_GOLDEN_H

#include "base/buf.h"
#include "shard/epoch.h"
#include "shard/shard.h"

#include <pthread.h>

/* For what callers outside the workers read. */
#define GOLDEN_READER (QV_EPOCH_READERS_MAX - 1)

/* A call on the owner that is waited for. */
struct golden_wait {
    bool done;
    int err;
    pthread_mutex_t lock;
    pthread_cond_t cond;
};
void golden_wait_init(struct golden_wait *w);
int golden_wait(struct golden_wait *w);
void golden_signal(void *arg, int err); /* arg: the golden_wait */

/* Ends the program when err is one. */
void golden_must(int err, const char *what, const struct qv_errmsg *msg);

struct golden_config {
    struct qv_vector_config vectors[4];
    struct qv_sparse_config sparse;
    struct qv_collection_config collection;
};
void golden_config(struct golden_config *out);

/* Points from .. to - 1 of all there are. */
void golden_upsert(struct qv_shard *shard, struct qv_arena *arena, uint32_t from, uint32_t to);
/* One point's change; payload NULL where the type has none. */
void golden_change(struct qv_shard *shard, struct qv_arena *arena, enum qv_write_type type,
                   uint32_t i, const char *payload);
/* Changes of every kind, for points 6 to 12; these must be there. */
void golden_changes(struct qv_shard *shard, struct qv_arena *arena);

/* All points with their versions, and the neighbours of one: text. */
void golden_contents(struct qv_shard *shard, struct qv_buf *b);

/* A whole file, ended by a NUL; NULL: it can't be read. free() it. */
char *golden_read(const char *path);

#endif
