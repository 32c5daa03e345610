#ifndef QV_CLI_BENCH_TARGET_H
#define QV_CLI_BENCH_TARGET_H

/* `quiver bench target`: a wanted recall against the recall that searches reach, and their QPS
 * against the fixed ef that reaches it. argv[0] is "target". Exit code: 0 done, 1 it failed, 2
 * wrong usage. */
int qv_cli_bench_target(int argc, char **argv);

#endif
