/* What the graph's tests share: random rows in clusters, a graph over them, recall against the
 * exact scan, a check that must pass. */
#ifndef QV_TEST_HNSW_FIXTURE_H
#define QV_TEST_HNSW_FIXTURE_H

#include "suite.h"

#include "base/buf.h"
#include "index/hnsw.h"

/* ThreadSanitizer makes everything twenty times slower: one-threaded tests do less under it. */
#if defined(__SANITIZE_THREAD__)
#define FIXTURE_LESS 8u
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FIXTURE_LESS 8u
#endif
#endif
#ifndef FIXTURE_LESS
#define FIXTURE_LESS 1u
#endif

struct fixture {
    struct qv_hnsw_params params;
    struct qv_rows rows;
    uint8_t *data;
    uint32_t n;       /* rows */
    uint32_t queries; /* rows behind them that are no nodes */
    uint64_t *bits;   /* slots that a search may return: what the test believes to be live */
    struct qv_hnsw *h;
    struct qv_hnsw_ctx *ctx;
};

/* n rows and 100 query rows in clusters; an empty graph of max_slots n. */
void fixture_open(struct fixture *f, enum qv_metric metric, enum qv_dtype dtype, uint32_t n,
                  uint32_t dim, uint64_t seed);
void fixture_close(struct fixture *f);
/* A new random row for a slot that is free. */
void fixture_new_row(struct fixture *f, qv_slot slot, uint64_t seed);

void fixture_insert(struct fixture *f, qv_slot slot, uint32_t generation);
void fixture_delete(struct fixture *f, qv_slot slot); /* remove, repair, release */
void fixture_mark(struct fixture *f, qv_slot slot, bool live);
bool fixture_is_marked(const struct fixture *f, qv_slot slot);

/* Mean recall@10 of the query rows over the marked slots. Asserts that hits are sorted, marked and
 * not repeated. filter: pass the marks as the search's bitmap too. */
double fixture_recall(struct fixture *f, uint32_t ef, const uint64_t *filter);

/* check() holds; returns the unreachable live nodes. */
uint32_t fixture_check(struct fixture *f);

int fixture_write(void *buf, const void *bytes, size_t n); /* into a struct qv_buf */
struct fixture_reader {
    const uint8_t *p;
    size_t n;
    size_t piece; /* most bytes a read gives; 0: all */
};
int fixture_read(void *reader, void *bytes, size_t n, size_t *got);

#endif
