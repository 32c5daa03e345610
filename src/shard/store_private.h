/* Private to src/shard: the store's parts. */
#ifndef QV_SHARD_STORE_PRIVATE_H
#define QV_SHARD_STORE_PRIVATE_H

#include "shard/shard_private.h"

/* store.c */
QV_MUST_USE int qv_store_read_file(struct qv_disk *disk, const char *dir, qv_lsn *released,
                                   struct qv_errmsg *msg);
void qv_store_keep_shard(struct qv_store *st, struct qv_shard *s);
void qv_store_remove_shard_dir(struct qv_store *st, const char *dir);
void qv_store_start(struct qv_store *st); /* after the replay */
void qv_store_free(struct qv_store *st);

#endif
