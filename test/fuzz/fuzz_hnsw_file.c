/* A graph file from anywhere: refused with a reason, or a whole graph in which every kept node is
 * reachable, that can be searched, changed, saved and read again. The first byte: 1 puts the frames
 * and checksums around the rest, which then is payload; 2 drops every third slot; 4 reads in small
 * pieces. */
/* covers: src/index/hnsw_load.c */
/* options: -max_len=4096 */
#include "index/hnsw.h"
#include "index/hnsw_file.h"

#include "base/buf.h"
#include "base/hash.h"
#include "base/logger.h"
#include "base/qv_assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SLOTS = 200, DIM = 2 };

struct in {
    const uint8_t *p;
    size_t n;
    bool small;
};

static int read_some(void *arg, void *bytes, size_t n, size_t *got)
{
    struct in *in = arg;
    n = n < in->n ? n : in->n;
    n = in->small && n > 5 ? 5 : n;
    if (n > 0)
        memcpy(bytes, in->p, n);
    in->p += n;
    in->n -= n;
    *got = n;
    return 0;
}

static int write_all(void *arg, const void *bytes, size_t n)
{
    qv_buf_append(arg, bytes, n);
    return 0;
}

static bool keep_some(void *arg, qv_slot slot, uint32_t generation)
{
    (void)generation;
    return !*(const bool *)arg || slot % 3 != 1;
}

static void frame(struct qv_buf *file, const uint8_t *p, size_t n)
{
    uint64_t number = 0;
    for (size_t at = 0; at < n; at += 500) { /* several frames even for small files */
        uint32_t part = (uint32_t)(n - at < 500 ? n - at : 500);
        qv_buf_u32(file, part);
        qv_buf_append(file, p + at, part);
        qv_buf_u64(file, qv_hash_64_seed(p + at, part, number++));
    }
    uint64_t total = n;
    qv_buf_u32(file, 0);
    qv_buf_u64(file, qv_hash_64_seed(&total, sizeof total, number));
}

static void check(const struct qv_hnsw *h)
{
    struct qv_hnsw_check_report report;
    QV_ASSERT(qv_hnsw_check(h, &report, NULL) == 0);
    QV_ASSERT(report.unreachable == 0);
}

static void use(struct qv_hnsw *h, const struct qv_hnsw_params *params, const struct qv_rows *rows)
{
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    struct qv_hnsw_hit hits[SLOTS];
    uint32_t n;
    struct qv_hnsw_query query = {.row = rows->base, .k = SLOTS, .ef = SLOTS};
    check(h);
    QV_ASSERT(qv_hnsw_search(h, ctx, &query, hits, &n) == 0);
    QV_ASSERT(n <= qv_hnsw_stats(h).live);
    for (qv_slot s = 0; s < SLOTS; s += 7) {
        int err = qv_hnsw_insert(h, ctx, s, 1);
        QV_ASSERT(err == 0 || err == QV_EEXISTS);
        QV_ASSERT(qv_hnsw_remove(h, s) == 0 && qv_hnsw_repair(h, ctx, s) == 0);
    }
    struct qv_hnsw_check_report report;
    QV_ASSERT(qv_hnsw_check(h, &report, NULL) == 0);
    struct qv_buf file;
    struct qv_hnsw *again = NULL;
    qv_buf_init(&file, 0);
    QV_ASSERT(qv_hnsw_save(h, write_all, &file) == 0 && !file.failed);
    struct in in = {.p = file.data, .n = file.len};
    struct qv_hnsw_source source = {.read = read_some, .read_arg = &in};
    QV_ASSERT(qv_hnsw_load(params, rows, &source, &again, NULL, NULL) == 0);
    QV_ASSERT(qv_hnsw_stats(again).live == qv_hnsw_stats(h).live);
    check(again);
    qv_hnsw_destroy(&again);
    qv_buf_close(&file);
    qv_hnsw_ctx_destroy(&ctx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t bytes[SLOTS * DIM];
    if (size < 2)
        return 0;
    qv_logger_set_level(QV_LOG_ERROR);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)qv_hash_mix(i / 4); /* some are equal */
    struct qv_rows rows = {.base = bytes, .stride_bytes = DIM};
    struct qv_hnsw_params params = qv_hnsw_params_default(QV_METRIC_L2, QV_DTYPE_U8, DIM);
    params.m = 3;
    params.m0 = 5;
    params.ef_construct = 8;
    params.max_slots = SLOTS;
    struct qv_buf file;
    struct qv_errmsg msg = {.text = ""};
    struct qv_hnsw *h = NULL;
    qv_buf_init(&file, 0);
    if ((data[0] & 1) != 0)
        frame(&file, data + 1, size - 1);
    else
        qv_buf_append(&file, data + 1, size - 1);
    bool drop = (data[0] & 2) != 0;
    struct in in = {.p = file.data, .n = file.len, .small = (data[0] & 4) != 0};
    struct qv_hnsw_source source = {
        .read = read_some, .read_arg = &in, .keep = keep_some, .keep_arg = &drop};
    int err = qv_hnsw_load(&params, &rows, &source, &h, NULL, &msg);
    QV_ASSERT(err == 0 || err == QV_ECORRUPT || err == QV_EINVAL || err == QV_ELIMIT);
    QV_ASSERT((err == 0) == (h != NULL) && (err == 0) == (msg.text[0] == 0));
    if (err == 0)
        use(h, &params, &rows);
    qv_hnsw_destroy(&h);
    qv_buf_close(&file);
    return 0;
}
