#include "cli/bench_build.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

struct build {
    struct qv_hnsw_bulk *bulk;
    _Atomic int err; /* the first; the others end with it */
};

static void *build_loop(void *arg)
{
    struct build *b = arg;
    struct qv_hnsw_ctx *ctx = qv_hnsw_ctx_create();
    enum qv_hnsw_step step = QV_HNSW_STEP_MORE;
    while (step != QV_HNSW_STEP_DONE && atomic_load(&b->err) == 0) {
        const int err = qv_hnsw_bulk_step(b->bulk, ctx, &step);
        if (err != 0)
            atomic_store(&b->err, err);
        else if (step == QV_HNSW_STEP_WAIT)
            (void)sched_yield();
    }
    qv_hnsw_ctx_destroy(&ctx);
    return NULL;
}

/* Threads that cannot be started are done without. */
static int run(struct build *b, uint32_t threads)
{
    pthread_t handles[QV_BENCH_BUILD_THREADS_MAX];
    uint32_t started = 1;
    while (started < threads && pthread_create(&handles[started], NULL, build_loop, b) == 0)
        started++;
    (void)build_loop(b);
    for (uint32_t i = 1; i < started; i++)
        (void)pthread_join(handles[i], NULL);
    return atomic_load(&b->err);
}

int qv_bench_build_at_once(struct qv_hnsw *h, uint32_t n, uint32_t threads)
{
    struct build b = {0};
    QV_ASSERT(threads >= 1 && threads <= QV_BENCH_BUILD_THREADS_MAX);
    struct qv_hnsw_item *items = qv_mem_try_calloc(n, sizeof *items);
    if (items == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        items[i].slot = i;
    int err = qv_hnsw_bulk_create(h, items, n, &b.bulk);
    qv_mem_free(items);
    if (err == 0)
        err = run(&b, threads);
    qv_hnsw_bulk_destroy(&b.bulk);
    return err;
}
