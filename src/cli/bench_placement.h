#ifndef QV_CLI_BENCH_PLACEMENT_H
#define QV_CLI_BENCH_PLACEMENT_H

/* `quiver bench placement`: how the four placements spread a data set over shards, what growing
 * moves, and what recall visiting few shards gives. argv[0] is "placement". Exit code: 0 done, 1 it
 * failed, 2 wrong usage. */
int qv_cli_bench_placement(int argc, char **argv);

#endif
