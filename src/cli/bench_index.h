#ifndef QV_CLI_BENCH_INDEX_H
#define QV_CLI_BENCH_INDEX_H

/* `quiver bench index`: builds a graph over a file of vectors in this process and measures recall
 * against time. argv[0] is "index". Exit code: 0 done, 1 it failed, 2 wrong usage. */
int qv_cli_bench_index(int argc, char **argv);

#endif
