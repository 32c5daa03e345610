/* Centroids as bytes; the layout is in cluster/centroids.h. */
#include "cluster/centroids_private.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <string.h>

#define MAGIC 0x54435651u /* "QVCT" */
#define VERSION 1u
#define HEAD_BYTES 28u
#define TAIL_BYTES 4u

void qv_centroids_encode(const struct qv_centroids *c, struct qv_buf *out)
{
    const struct qv_centroids_spec *s = &c->spec;
    const size_t begin = out->len;
    qv_buf_u32(out, MAGIC);
    qv_buf_u32(out, VERSION);
    qv_buf_u32(out, (uint32_t)s->metric);
    qv_buf_u32(out, s->dim);
    qv_buf_u32(out, s->count);
    qv_buf_append(out, &s->norm_max, sizeof s->norm_max);
    qv_buf_append(out, &s->border, sizeof s->border);
    qv_buf_append(out, s->rows, (size_t)s->count * c->width * sizeof *s->rows);
    qv_buf_append(out, s->weights, s->count * sizeof *s->weights);
    qv_buf_append(out, s->parents, s->count * sizeof *s->parents);
    qv_buf_append(out, s->shards, s->count * sizeof *s->shards);
    if (!out->failed)
        qv_buf_u32(out, qv_hash_crc32c(0, out->data + begin, out->len - begin));
}

static float get_float(struct qv_rd *r)
{
    const uint32_t bits = qv_rd_u32(r);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* The spec with its arrays in one aligned copy of the body (*copy, to be freed). */
static int open_blob(struct qv_bytes blob, struct qv_centroids_spec *s, void **copy,
                     struct qv_errmsg *msg)
{
    struct qv_rd r;
    *copy = NULL;
    if (blob.n < HEAD_BYTES + TAIL_BYTES || blob.n > QV_CENTROIDS_BYTES_MAX)
        return QV_CORRUPT(msg, "centroids: a blob of %zu bytes", blob.n);
    qv_rd_init(&r, blob.p, blob.n);
    if (qv_rd_u32(&r) != MAGIC)
        return QV_CORRUPT(msg, "centroids: not a blob of them");
    const uint32_t version = qv_rd_u32(&r);
    uint32_t sum;
    memcpy(&sum, blob.p + blob.n - TAIL_BYTES, sizeof sum);
    if (qv_hash_crc32c(0, blob.p, blob.n - TAIL_BYTES) != sum)
        return QV_CORRUPT(msg, "centroids: the checksum of the blob is wrong");
    if (version != VERSION)
        return qv_fail(msg, QV_EINVAL, "centroids: a blob of version %u, not %u", version, VERSION);
    const uint32_t metric = qv_rd_u32(&r);
    *s = (struct qv_centroids_spec){.dim = qv_rd_u32(&r), .count = qv_rd_u32(&r)};
    s->norm_max = get_float(&r);
    s->border = get_float(&r);
    if (metric >= QV_METRIC_COUNT || s->dim < 1 || s->dim > QV_SIMD_DIM_MAX || s->count < 1 ||
        s->count > QV_CENTROIDS_MAX)
        return qv_fail(msg, QV_EINVAL, "centroids: metric %u, dimension %u, %u of them", metric,
                       s->dim, s->count);
    s->metric = (enum qv_metric)metric;
    const size_t floats = (size_t)s->count * qv_centroids_width(s->metric, s->dim);
    if (qv_rd_left(&r) != (floats + 3 * (size_t)s->count) * 4 + TAIL_BYTES)
        return QV_CORRUPT(msg, "centroids: %u of %u dimensions in %zu bytes", s->count, s->dim,
                          blob.n);
    *copy = qv_mem_try_alloc((floats + 3 * (size_t)s->count) * 4);
    if (*copy == NULL)
        return qv_fail(msg, QV_ENOMEM, "no memory for %u centroids", s->count);
    memcpy(*copy, r.p, (floats + 3 * (size_t)s->count) * 4);
    s->rows = *copy;
    s->weights = s->rows + floats;
    s->parents = (const uint32_t *)(const void *)(s->weights + s->count);
    s->shards = s->parents + s->count;
    return 0;
}

int qv_centroids_check_blob(struct qv_bytes blob, struct qv_errmsg *msg)
{
    struct qv_centroids_spec s;
    void *copy;
    int err = open_blob(blob, &s, &copy, msg);
    if (err == 0)
        err = qv_centroids_check(&s, msg);
    qv_mem_free(copy);
    return err;
}

int qv_centroids_decode(struct qv_bytes blob, const struct qv_centroids **out,
                        struct qv_errmsg *msg)
{
    struct qv_centroids_spec s;
    void *copy;
    int err = open_blob(blob, &s, &copy, msg);
    if (err == 0)
        err = qv_centroids_create(&s, out, msg);
    qv_mem_free(copy);
    return err;
}

void qv_centroids_name(struct qv_bytes blob, char out[QV_SHA256_TEXT])
{
    struct qv_sha256 h;
    uint8_t hash[QV_SHA256_BYTES];
    qv_sha256_init(&h);
    qv_sha256_add(&h, blob.p, blob.n);
    qv_sha256_end(&h, hash);
    qv_sha256_format(hash, out);
}
