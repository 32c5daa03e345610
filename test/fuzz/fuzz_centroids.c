/* Blobs of centroids from anywhere: refused with a reason, or centroids that place and rank any
 * vector and are written again as the same bytes. The last four bytes are taken as given in one of
 * two runs of each input, and made right in the other: else nothing would come past the checksum.
 * covers: src/cluster/centroids_file.c */
/* options: -max_len=8192 */
#include "cluster/centroids.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct qv_centroids *c)
{
    const uint32_t dim = qv_centroids_spec_of(c)->dim;
    uint32_t count;
    const uint32_t *shards = qv_centroids_shards(c, &count);
    float *vector = qv_mem_calloc(dim, sizeof *vector);
    float *scratch = qv_mem_calloc(qv_centroids_scratch(c), sizeof *scratch);
    struct qv_centroids_rank *ranks = qv_mem_calloc(count, sizeof *ranks);
    for (uint32_t i = 0; i < 3; i++) {
        struct qv_centroids_place p;
        const struct qv_centroids_extent extent = {.settled = i > 0, .norm_max = (float)i};
        for (uint32_t x = 0; x < dim; x++)
            vector[x] = (float)((x * 7 + i * 3) % 5) * (float)i;
        qv_centroids_place(c, vector, scratch, &p);
        QV_ASSERT(p.count >= 1 && p.count <= 2 && (p.count == 1 || p.shards[0] != p.shards[1]));
        qv_centroids_rank(c, vector, &extent, scratch, ranks);
        for (uint32_t s = 0; s < count; s++) {
            QV_ASSERT(!isnan(ranks[s].bound) && (s == 0 || ranks[s - 1].power <= ranks[s].power));
            QV_ASSERT(s == 0 || shards[s - 1] < shards[s]);
        }
    }
    qv_mem_free(ranks);
    qv_mem_free(scratch);
    qv_mem_free(vector);
}

static void decode(struct qv_bytes blob)
{
    struct qv_errmsg msg = {""};
    const struct qv_centroids *c = NULL;
    struct qv_buf again;
    const int err = qv_centroids_decode(blob, &c, &msg);
    QV_ASSERT(qv_centroids_check_blob(blob, NULL) == err);
    if (err != 0) {
        QV_ASSERT((err == QV_EINVAL || err == QV_ECORRUPT) && c == NULL && msg.text[0] != 0);
        return;
    }
    use(c);
    qv_buf_init(&again, 0);
    qv_centroids_encode(c, &again);
    QV_ASSERT(again.len == blob.n && memcmp(again.data, blob.p, blob.n) == 0);
    qv_buf_close(&again);
    qv_centroids_unref(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode((struct qv_bytes){data, size});
    if (size < 4)
        return 0;
    uint8_t *copy = qv_mem_alloc(size);
    memcpy(copy, data, size);
    const uint32_t sum = qv_hash_crc32c(0, copy, size - 4);
    memcpy(copy + size - 4, &sum, sizeof sum);
    decode((struct qv_bytes){copy, size});
    qv_mem_free(copy);
    return 0;
}
