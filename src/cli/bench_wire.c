#include "cli/bench_wire.h"

#include "base/qv_assert.h"

#include <stdlib.h>

enum wire_type { VARINT = 0, FIXED64 = 1, LEN = 2, FIXED32 = 5 };

static size_t varint_bytes(uint64_t v)
{
    size_t n = 1;
    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

static void put_len(struct qv_buf *b, uint32_t field, size_t n)
{
    qv_buf_varint(b, (uint64_t)field << 3 | LEN);
    qv_buf_varint(b, n);
}

static size_t len_bytes(uint32_t field, size_t n)
{
    return varint_bytes((uint64_t)field << 3) + varint_bytes(n) + n;
}

static void put_number(struct qv_buf *b, uint32_t field, uint64_t v)
{
    qv_buf_varint(b, (uint64_t)field << 3 | VARINT);
    qv_buf_varint(b, v);
}

static void put_text(struct qv_buf *b, uint32_t field, const char *s)
{
    put_len(b, field, strlen(s));
    qv_buf_str(b, s);
}

/* UpsertPoints{collection_name 1, wait 2, points 3}, PointStruct{id 1 {num 1}, vectors 4},
 * Vectors{vector 1}, Vector{dense 101}, DenseVector{data 1} */
void qv_bench_put_upsert(struct qv_buf *b, const char *collection,
                         const struct qv_bench_points *points, uint32_t *ids_at)
{
    const size_t data = (size_t)points->dim * 4;
    const size_t dense = len_bytes(1, data);
    const size_t vector = len_bytes(101, dense);
    const size_t vectors = len_bytes(1, vector);
    put_text(b, 1, collection);
    put_number(b, 2, 0);
    for (uint32_t i = 0; i < points->count; i++) {
        uint64_t id = points->first_id + i;
        size_t num = 1 + varint_bytes(id);
        put_len(b, 3, len_bytes(1, num) + len_bytes(4, vectors));
        put_len(b, 1, num);
        qv_buf_u8(b, 1 << 3 | VARINT);
        if (ids_at != NULL)
            ids_at[i] = (uint32_t)b->len;
        qv_buf_varint(b, id);
        put_len(b, 4, vectors);
        put_len(b, 1, vector);
        put_len(b, 101, dense);
        put_len(b, 1, data);
        qv_buf_append(b, points->rows + (size_t)i * points->dim, data);
    }
}

void qv_bench_set_id(uint8_t *p, uint64_t id)
{
    QV_ASSERT(id >= QV_BENCH_ID_FIRST && id < (uint64_t)1 << 35);
    for (unsigned i = 0; i < QV_BENCH_ID_BYTES - 1; i++, id >>= 7)
        p[i] = (uint8_t)(id | 0x80);
    p[QV_BENCH_ID_BYTES - 1] = (uint8_t)id;
}

/* QueryPoints{collection_name 1, query 3, params 6, limit 8}, Query{nearest 1}, VectorInput{dense
 * 2}, DenseVector{data 1}, SearchParams{hnsw_ef 1} */
void qv_bench_put_query(struct qv_buf *b, const char *collection, const float *row, uint32_t dim,
                        uint32_t limit, uint32_t ef)
{
    const size_t data = (size_t)dim * 4;
    const size_t dense = len_bytes(1, data);
    const size_t nearest = len_bytes(2, dense);
    put_text(b, 1, collection);
    put_len(b, 3, len_bytes(1, nearest));
    put_len(b, 1, nearest);
    put_len(b, 2, dense);
    put_len(b, 1, data);
    qv_buf_append(b, row, data);
    if (ef != 0) {
        put_len(b, 6, 1 + varint_bytes(ef));
        put_number(b, 1, ef);
    }
    put_number(b, 8, limit);
}

void qv_bench_put_query_json(struct qv_buf *b, const float *row, uint32_t dim, uint32_t limit,
                             uint32_t ef)
{
    qv_buf_str(b, "{\"query\":[");
    for (uint32_t i = 0; i < dim; i++)
        qv_buf_printf(b, i == 0 ? "%.9g" : ",%.9g", (double)row[i]);
    qv_buf_printf(b, "],\"limit\":%u", limit);
    if (ef != 0)
        qv_buf_printf(b, ",\"params\":{\"hnsw_ef\":%u}", ef);
    qv_buf_str(b, "}");
}

/* The next field of a message: its number and, for LEN, its bytes; for VARINT, its value. */
static bool next_field(struct qv_rd *rd, uint32_t *field, struct qv_bytes *bytes, uint64_t *value)
{
    if (qv_rd_left(rd) == 0)
        return false;
    uint64_t tag = qv_rd_varint(rd);
    *field = (uint32_t)(tag >> 3);
    *bytes = (struct qv_bytes){NULL, 0};
    *value = 0;
    switch (tag & 7) {
    case VARINT:
        *value = qv_rd_varint(rd);
        break;
    case FIXED64:
        (void)qv_rd_u64(rd);
        break;
    case FIXED32:
        (void)qv_rd_u32(rd);
        break;
    case LEN:
        bytes->n = (size_t)qv_rd_varint(rd);
        bytes->p = qv_rd_take(rd, bytes->n);
        break;
    default:
        rd->failed = true;
    }
    return !rd->failed;
}

/* ScoredPoint{id 1 {num 1}} */
static bool read_point(struct qv_bytes point, uint64_t *id)
{
    struct qv_rd rd;
    struct qv_rd inner;
    struct qv_bytes bytes;
    uint64_t value;
    uint32_t field;
    qv_rd_init(&rd, point.p, point.n);
    while (next_field(&rd, &field, &bytes, &value)) {
        if (field != 1)
            continue;
        *id = 0; /* num is left out when it is 0 */
        qv_rd_init(&inner, bytes.p, bytes.n);
        while (next_field(&inner, &field, &bytes, &value)) {
            if (field == 1)
                *id = value;
        }
        return !inner.failed;
    }
    return false;
}

int qv_bench_read_hits(struct qv_bytes answer, uint64_t *ids, uint32_t max, uint32_t *count)
{
    struct qv_rd rd;
    struct qv_bytes bytes;
    uint64_t value;
    uint32_t field;
    *count = 0;
    qv_rd_init(&rd, answer.p, answer.n);
    while (next_field(&rd, &field, &bytes, &value)) {
        if (field != 1)
            continue;
        if (*count == max || !read_point(bytes, &ids[*count]))
            return QV_EFORMAT;
        (*count)++;
    }
    return rd.failed ? QV_EFORMAT : 0;
}

int qv_bench_read_hits_json(struct qv_bytes answer, uint64_t *ids, uint32_t max, uint32_t *count)
{
    static const char key[] = "\"id\":";
    const char *p = (const char *)answer.p;
    const char *end = p + answer.n;
    *count = 0;
    while (p != NULL && (p = memmem(p, (size_t)(end - p), key, sizeof key - 1)) != NULL) {
        uint64_t id = 0;
        p += sizeof key - 1;
        if (*count == max || p == end || *p < '0' || *p > '9')
            return QV_EFORMAT;
        while (p < end && *p >= '0' && *p <= '9')
            id = id * 10 + (uint64_t)(*p++ - '0');
        ids[(*count)++] = id;
    }
    return 0;
}
