#ifndef QV_CLI_BENCH_FILTER_H
#define QV_CLI_BENCH_FILTER_H

/* `quiver bench filter`: searches a graph in this process under filters of many selectivities and
 * compares what the planner chose with its alternatives. argv[0] is "filter". Exit code: 0 done, 1
 * it failed, 2 wrong usage. */
int qv_cli_bench_filter(int argc, char **argv);

#endif
