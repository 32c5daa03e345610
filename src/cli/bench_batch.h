#ifndef QV_CLI_BENCH_BATCH_H
#define QV_CLI_BENCH_BATCH_H

/* `quiver bench batch`: searches in batches, in turns on one thread, against one after the other.
 * argv[0] is "batch". Exit code: 0 done, 1 it failed, 2 wrong usage. */
int qv_cli_bench_batch(int argc, char **argv);

#endif
