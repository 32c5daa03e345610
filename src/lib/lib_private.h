/* Private to src/lib: what stands behind the handles of include/quiver/quiver.h.
 *
 * A database is an env with a thread of its own (the owner), a compute pool, and a node. Reads run
 * on the caller's thread under a reader index of their own, writes are prepared there and handed to
 * the owner; the caller waits. */
#ifndef QV_LIB_PRIVATE_H
#define QV_LIB_PRIVATE_H

#include "core/api.h"
#include "io/uv_env.h"
#include "node/node_read.h"
#include "quiver/quiver.h"
#include "shard/epoch.h"

#include <pthread.h>

/* A call that waits for another thread. On the caller's stack. */
struct qv_lib_wait {
    pthread_mutex_t lock; /* done, err */
    pthread_cond_t cond;
    bool done;
    int err;
};
void qv_lib_wait_init(struct qv_lib_wait *w);
void qv_lib_wait_end(struct qv_lib_wait *w, int err); /* any thread; w may be gone after it */
int qv_lib_wait_for(struct qv_lib_wait *w);           /* gives err; w is closed then */

struct quiver {
    char *dir;
    int lock_fd;
    struct qv_disk *disk;
    struct qv_kv_driver *kv;
    struct qv_uv_env *env;
    struct qv_node *node;
    unsigned threads;
    pthread_mutex_t save_lock; /* one checkpoint of all at a time */
    pthread_mutex_t lock;      /* guards what follows */
    pthread_cond_t reader_free;
    unsigned readers[QV_EPOCH_READERS_MAX]; /* indexes that nobody uses: a stack, so that the
                                               scratch used last is used next */
    unsigned reader_count;
    unsigned handles; /* open collections */
};

struct quiver_collection {
    struct quiver *db;
    uint8_t uuid[QV_UUID_BYTES];
    struct qv_shard *shard; /* a reference; NULL: it has several, see lib_spread.c */
};

/* A reader index beyond those of the workers, for one call at a time; waits when all are taken. */
unsigned qv_lib_reader_take(struct quiver *db);
void qv_lib_reader_give(struct quiver *db, unsigned reader);

/* ---- lib_spread.c: collections of several shards ---- */

/* The collection as it is now, of a topology that is held: to be given back. QV_ENOTFOUND. */
QV_MUST_USE int qv_lib_find(const struct quiver_collection *c, const struct qv_topology **topology,
                            const struct qv_collection **out, struct qv_errmsg *msg);

struct qv_lib_read {
    struct qv_node_read read; /* read.read.result: until closed */
    const struct qv_topology *topology;
};
/* Reads over all shards and waits. Not on a worker. After an error there is nothing to close. */
QV_MUST_USE int qv_lib_spread_read(const struct quiver_collection *c,
                                   const struct qv_read_what *what, struct qv_lib_read *x,
                                   struct qv_errmsg *msg);
void qv_lib_read_close(struct qv_lib_read *x);
/* Writes each shard's share and waits. */
QV_MUST_USE int qv_lib_spread_write(const struct quiver_collection *c, struct qv_arena *arena,
                                    const struct qv_write_req *req, struct qv_errmsg *msg);

/* Our code -> the public one; fills why (may be NULL) from msg or the code's text. */
int qv_lib_fail(struct quiver_error *why, int err, const struct qv_errmsg *msg);
/* The same for a finding of the library's own; err is a QV_E* code. */
int qv_lib_refuse(struct quiver_error *why, int err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void qv_lib_clear(struct quiver_error *why); /* at the start of a call */

/* Copies the first bytes of a caller's struct, which may be older (shorter) or newer (longer) than
 * ours; what the caller does not know is zero. QV_EINVAL when its size is no size of ours:
 * `bytes_min` is that of the first version. */
int qv_lib_options(void *out, size_t bytes, const void *in, size_t bytes_min);

int qv_lib_id_in(const struct quiver_id *in, struct qv_id *out); /* QV_EINVAL */
struct quiver_id qv_lib_id_out(const struct qv_id *id);
/* An array in the arena. QV_EINVAL names the element. */
QV_MUST_USE int qv_lib_ids(struct qv_arena *a, const struct quiver_id *in, size_t count,
                           const struct qv_id **out, struct qv_errmsg *msg);
/* filter: JSON text or NULL (gives NULL). */
QV_MUST_USE int qv_lib_filter(struct qv_arena *a, const char *json, const struct qv_filter **out,
                              struct qv_errmsg *msg);

/* An answer: the arena holds all that the points refer to. */
struct quiver_results {
    struct qv_arena arena;
    struct qv_points_out points;
    const char **payloads; /* texts; NULL when they were not asked for */
};
struct quiver_results *qv_lib_results_create(void);
/* Takes over the points of a read that is still open: copies what they borrow, then finishes. */
QV_MUST_USE int qv_lib_results_take(struct quiver_results *r, const struct qv_points_out *points,
                                    unsigned flags);
/* After points are set: makes the texts and keeps nothing of the collection's. */
QV_MUST_USE int qv_lib_results_finish(struct quiver_results *r, unsigned flags);

#endif
