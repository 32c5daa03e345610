/* Private to src/shard: the store's parts. */
#ifndef QV_SHARD_STORE_PRIVATE_H
#define QV_SHARD_STORE_PRIVATE_H

#include "shard/shard_private.h"

/* store_open.c */
struct qv_store *qv_store_alloc(const struct qv_store_config *config);
QV_MUST_USE int qv_store_open_shards(struct qv_store *st, const struct qv_shard_spec *specs,
                                     uint32_t n, struct qv_errmsg *msg);

/* store_reserve.c; owner */
bool qv_reserve_use(struct qv_disk *disk, const char *dir);
void qv_store_reserve_step(struct qv_store *st); /* makes it when it is missing */

/* store_scrub.c; owner */
void qv_store_scrub_step(struct qv_store *st);             /* a tick's worth of reading */
double qv_store_scrub_progress(const struct qv_store *st); /* of the pass under way, 0 to 1 */

/* store.c */
QV_MUST_USE int qv_store_read_file(struct qv_disk *disk, const char *dir, qv_lsn *released,
                                   struct qv_errmsg *msg);
void qv_store_keep_shard(struct qv_store *st, struct qv_shard *s);
void qv_store_remove_shard_dir(struct qv_store *st, const char *dir);
void qv_store_start(struct qv_store *st); /* after the replay */
void qv_store_free(struct qv_store *st);

#endif
