/* The few messages that the benches send and read, made before the clock runs. */
#ifndef QV_CLI_BENCH_WIRE_H
#define QV_CLI_BENCH_WIRE_H

#include "base/buf.h"

/* Ids from here on take five bytes as varints up to 2^35: they can be changed in place. */
#define QV_BENCH_ID_FIRST ((uint64_t)1 << 28)
#define QV_BENCH_ID_BYTES 5u

/* Points of the ids first_id, first_id + 1, ...; borrows the rows. */
struct qv_bench_points {
    uint64_t first_id;
    const float *rows; /* count x dim */
    uint32_t count;
    uint32_t dim;
};
/* UpsertPoints, wait = false. Appends. Where ids_at is not NULL it gets the offset of each id's
 * varint. */
void qv_bench_put_upsert(struct qv_buf *b, const char *collection,
                         const struct qv_bench_points *points, uint32_t *ids_at);
/* Writes id (QV_BENCH_ID_FIRST .. 2^35 - 1) over the QV_BENCH_ID_BYTES bytes at p. */
void qv_bench_set_id(uint8_t *p, uint64_t id);

/* QueryPoints with params.hnsw_ef; ef = 0: the default. */
void qv_bench_put_query(struct qv_buf *b, const char *collection, const float *row, uint32_t dim,
                        uint32_t limit, uint32_t ef);
/* The body of POST /collections/{name}/points/query. */
void qv_bench_put_query_json(struct qv_buf *b, const float *row, uint32_t dim, uint32_t limit,
                             uint32_t ef);

/* Numeric ids of the hits, in order; QV_EFORMAT for what is no answer or holds more than max. */
int qv_bench_read_hits(struct qv_bytes answer, uint64_t *ids, uint32_t max,
                       uint32_t *count) QV_MUST_USE;
int qv_bench_read_hits_json(struct qv_bytes answer, uint64_t *ids, uint32_t max,
                            uint32_t *count) QV_MUST_USE;

#endif
