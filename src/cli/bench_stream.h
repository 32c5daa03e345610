#ifndef QV_CLI_BENCH_STREAM_H
#define QV_CLI_BENCH_STREAM_H

/* `quiver bench stream`: a graph whose rows are replaced under search, against graphs built anew.
 * argv[0] is "stream". Exit code: 0 done, 1 it failed, 2 wrong usage. */
int qv_cli_bench_stream(int argc, char **argv);

#endif
