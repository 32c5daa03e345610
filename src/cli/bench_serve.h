#ifndef QV_CLI_BENCH_SERVE_H
#define QV_CLI_BENCH_SERVE_H

/* `quiver bench serve`: what the protocols cost. argv[0] is "serve". Exit code: 0 done, 1 it
 * failed, 2 wrong usage. */
int qv_cli_bench_serve(int argc, char **argv);

#endif
