/* core/kv.h over RocksDB: its own log off (ours is the log), block checksums verified on every
 * read, LZ4, one small block cache and one write buffer bound shared by all stores of the node. */
#ifndef QV_STORAGE_KV_ROCKS_H
#define QV_STORAGE_KV_ROCKS_H

#include "core/kv.h"

struct qv_kv_rocks_config {
    size_t cache_bytes;        /* blocks of all stores together, filled by reads; 0: 32 MiB */
    size_t write_buffer_bytes; /* of one store, before it flushes by itself; 0: 64 MiB */
    int open_files_max;        /* of one store; 0: 256 */
};

/* Gives; destroy after every store is closed. config may be NULL. Nothing is opened yet. */
struct qv_kv_driver *qv_kv_rocks_create(const struct qv_kv_rocks_config *config);
void qv_kv_rocks_destroy(struct qv_kv_driver **d);

#endif
