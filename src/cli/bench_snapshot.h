#ifndef QV_CLI_BENCH_SNAPSHOT_H
#define QV_CLI_BENCH_SNAPSHOT_H

/* `quiver bench snapshot`: a snapshot under a write load, and what is restored from it. argv[0] is
 * "snapshot". Exit code: 0 the restored store is a state at one point of the log, 1 it failed, 2
 * wrong usage. */
int qv_cli_bench_snapshot(int argc, char **argv);

#endif
