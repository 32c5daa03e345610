/* `quiver bench index --serve`: the built index is asked by lines on standard input, so that a
 * driver can have several engines answer in turn (docs/benchmarks.md, "How an engine is asked").
 *
 *   ask ef=EF FROM COUNT   asks COUNT queries from query FROM on, around the end; answers
 *                          {"wall_s","cpu_s","hits","read_bytes"}
 *   stats                  what the calls since the last `stats` took; answers {"calls","queries",
 *                          "p50_us","p99_us","p50_min_of_passes_us","p99_min_of_passes_us"}
 *   memory                 {"memory_bytes","memory_anon_bytes","memory_file_bytes",
 *                          "page_cache_bytes"}: growth since before the index was
 *   quit, or the end of the input
 *
 * One thread. Each answer is one line of JSON. */
#ifndef QV_CLI_BENCH_INDEX_SERVE_H
#define QV_CLI_BENCH_INDEX_SERVE_H

#include "base/err.h"
#include "cli/bench_memory.h"

#include <stdint.h>

/* What is asked. All borrowed until qv_cli_bench_index_serve returns. */
struct qv_cli_bench_asked {
    void *ctx;
    uint32_t queries; /* >= 1 */
    uint32_t ef_max;
    /* Asks queries from <= i < to once each, in order: ns[i] is what the i-th took. */
    void (*ask)(void *ctx, uint32_t ef, uint32_t from, uint32_t to, double *ns);
    /* The hits of what ask found last for these queries; not timed. An exit code. */
    int (*judge)(void *ctx, uint32_t from, uint32_t to, uint64_t *hits);
    void (*memory)(void *ctx, struct qv_cli_bench_memory *out);
};

/* Serves until told to stop. Exit code: 0 done, 1 no memory, 2 a line that is none of the above, or
 * what judge gave. */
QV_MUST_USE int qv_cli_bench_index_serve(const struct qv_cli_bench_asked *asked);

#endif
