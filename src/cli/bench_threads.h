#ifndef QV_CLI_BENCH_THREADS_H
#define QV_CLI_BENCH_THREADS_H

/* `quiver bench threads`: what two threads on one graph lose against two processes that share
 * nothing. argv[0] is "threads". Exit code: 0 done, 1 it failed, 2 wrong usage. */
int qv_cli_bench_threads(int argc, char **argv);

#endif
