#ifndef QV_CLI_BENCH_UPSERT_H
#define QV_CLI_BENCH_UPSERT_H

/* `quiver bench upsert`: durable upserts a second over gRPC. argv[0] is "upsert". Exit code: 0
 * done, 1 it failed, 2 wrong usage. */
int qv_cli_bench_upsert(int argc, char **argv);

#endif
