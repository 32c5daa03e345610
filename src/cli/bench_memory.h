/* What this process holds in memory, for the benches.
 *
 * Page cache: cached pages of regular files that it has open (beyond the standard streams) and has
 * not mapped: an index read through them would lie there, and no counter of the process would say
 * so. Files that it has closed it can't answer from. */
#ifndef QV_CLI_BENCH_MEMORY_H
#define QV_CLI_BENCH_MEMORY_H

struct qv_cli_bench_memory {
    long long rss, anon, page_cache; /* bytes */
    long long read;                  /* bytes this process had read from disks */
};

/* What can't be read is 0. */
void qv_cli_bench_memory_read(struct qv_cli_bench_memory *out);

#endif
