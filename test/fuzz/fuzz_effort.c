/* What recall targets have learned, from anywhere: refused, or what can be searched with and is
 * written again as the same bytes.
 * covers: src/index/effort_file.c */
/* options: -max_len=4096 */
#include "index/effort.h"

#include "base/qv_assert.h"

#include <stdlib.h>
#include <string.h>

#define DIM 2u
#define ROWS 40u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static float values[ROWS * DIM];
static struct qv_hnsw *graph;
static struct qv_hnsw_ctx *ctx;

static void build(void)
{
    const struct qv_rows rows = {.base = (const uint8_t *)values,
                                 .stride_bytes = DIM * sizeof(float)};
    struct qv_hnsw_params p = qv_hnsw_params_default(QV_METRIC_L2, QV_DTYPE_F32, DIM);
    p.max_slots = ROWS;
    p.coding = QV_HNSW_CODING_LVQ8;
    for (uint32_t i = 0; i < ROWS * DIM; i++)
        values[i] = (float)(i * i % 17);
    ctx = qv_hnsw_ctx_create();
    QV_ASSERT(qv_hnsw_create(&p, &rows, &graph, NULL) == 0);
    for (uint32_t i = 0; i < ROWS; i++)
        QV_ASSERT(qv_hnsw_insert(graph, ctx, i, 0) == 0);
}

static void search(const struct qv_effort *e, double target)
{
    struct qv_effort_plan plan;
    struct qv_hnsw_hit hits[QV_EFFORT_RANKED];
    uint32_t n;
    const float row[DIM] = {3, 4};
    QV_ASSERT(qv_effort_plan(e, target, &plan));
    const struct qv_effort_query query = {
        .query = {.row = row, .k = QV_EFFORT_RANKED}, .plan = &plan, .k = QV_EFFORT_K};
    QV_ASSERT(qv_effort_search(graph, ctx, &query, hits, &n) == 0 && n == QV_EFFORT_RANKED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qv_errmsg msg = {""};
    struct qv_effort e;
    struct qv_buf again;
    if (graph == NULL)
        build();
    int err = qv_effort_decode((struct qv_bytes){data, size}, graph, &e, &msg);
    if (err != 0) {
        QV_ASSERT((err == QV_EINVAL || err == QV_ECORRUPT) && e.samples == 0 && msg.text[0] != 0);
        return 0;
    }
    for (double target = 0; target <= 1; target += 0.25)
        search(&e, target);
    qv_buf_init(&again, QV_EFFORT_BYTES_MAX);
    qv_effort_encode(&e, graph, &again);
    QV_ASSERT(!again.failed && again.len == size && memcmp(again.data, data, size) == 0);
    qv_buf_close(&again);
    return 0;
}
