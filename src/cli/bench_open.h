#ifndef QV_CLI_BENCH_OPEN_H
#define QV_CLI_BENCH_OPEN_H

/* `quiver bench open`: how long a store takes from start to right answers. argv[0] is "open". Exit
 * code: 0 done, 1 it failed, 2 wrong usage. */
int qv_cli_bench_open(int argc, char **argv);

#endif
