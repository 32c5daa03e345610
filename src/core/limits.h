/* A limit on everything, in one place. Raising one is a decision: each bounds memory, time or a
 * format's field. */
#ifndef QV_CORE_LIMITS_H
#define QV_CORE_LIMITS_H

#define QV_DIM_MAX 65536u                    /* elements of a dense vector */
#define QV_SPARSE_NNZ_MAX (1u << 20)         /* non-zeros of a sparse vector */
#define QV_MULTI_ROWS_MAX 4096u              /* rows of a multivector */
#define QV_VECTORS_PER_POINT_MAX 256u        /* named vectors, sparse ones included */
#define QV_LIMIT_MAX 100000u                 /* limit + offset of one search or scroll */
#define QV_EF_MAX 65536u                     /* hnsw_ef */
#define QV_BATCH_OPS_MAX 1000u               /* operations of one points/batch, query/batch */
#define QV_BATCH_POINTS_MAX 100000u          /* points of one upsert, ids of one request */
#define QV_CHANGE_IDS_MAX 10000u             /* ids in one log record */
#define QV_RECORD_BYTES_MAX (40u << 20)      /* change bytes of one log record */
#define QV_NAME_BYTES_MAX 255u               /* collection, vector, field names */
#define QV_PAYLOAD_BYTES_MAX (16u << 20)     /* one point's payload */
#define QV_SHARDS_MAX 1024u                  /* of a collection */
#define QV_COLLECTIONS_MAX 1000u             /* on one node */
#define QV_ALIASES_MAX 2000u                 /* of all collections: one metadata record */
#define QV_REQUEST_BYTES_DEFAULT (32u << 20) /* service.max_request_size_mb */
#define QV_REQUEST_ARENA_BYTES (256u << 20)  /* decoded form of one request */
/* The same for each byte of the largest body that is taken: numbers of one digit grow most, to 9.
 */
#define QV_REQUEST_ARENA_PER_BYTE 12u
#define QV_UNINDEXED_ROWS_MAX 20000u /* rows a shard scans beside its graph */

#endif
