/* `quiver bench NAME ...`: the table of what can be measured. */
#include "cli/bench_batch.h"
#include "cli/bench_filter.h"
#include "cli/bench_index.h"
#include "cli/bench_open.h"
#include "cli/bench_placement.h"
#include "cli/bench_serve.h"
#include "cli/bench_snapshot.h"
#include "cli/bench_stream.h"
#include "cli/bench_target.h"
#include "cli/bench_threads.h"
#include "cli/bench_upsert.h"
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

static const struct bench {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} benches[] = {
    {"index", qv_cli_bench_index, "recall against QPS of the index, in this process"},
    {"filter", qv_cli_bench_filter, "searches under filters: plan, recall and QPS"},
    {"serve", qv_cli_bench_serve, "searches over gRPC and REST against the same in process"},
    {"upsert", qv_cli_bench_upsert, "durable upserts a second over gRPC"},
    {"stream", qv_cli_bench_stream, "recall, memory and latency while rows are replaced"},
    {"batch", qv_cli_bench_batch, "searches in turns on one thread against one after the other"},
    {"threads", qv_cli_bench_threads, "two threads on one graph against two processes"},
    {"snapshot", qv_cli_bench_snapshot, "a snapshot while points are written, and restored"},
    {"target", qv_cli_bench_target, "a wanted recall: whether it is reached, and how fast"},
    {"placement", qv_cli_bench_placement, "balance, movement and recall of the four placements"},
    {"open", qv_cli_bench_open, "from starting a server to right answers, cold and warm"},
};

#define BENCH_COUNT (sizeof benches / sizeof benches[0])

static void print_help(FILE *out)
{
    fprintf(out, "usage: quiver bench NAME [options]\n\n");
    for (size_t i = 0; i < BENCH_COUNT; i++)
        fprintf(out, "  %-9s  %s\n", benches[i].name, benches[i].what);
    fprintf(out, "\n`quiver bench NAME --help` tells more, with examples.\n");
}

int qv_cli_bench(int argc, char **argv)
{
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_help(stdout);
        return 0;
    }
    for (size_t i = 0; argc >= 2 && i < BENCH_COUNT; i++) {
        if (strcmp(argv[1], benches[i].name) == 0)
            return benches[i].run(argc - 1, argv + 1);
    }
    if (argc >= 2)
        fprintf(stderr, "quiver bench: unknown benchmark '%s'\n", argv[1]);
    print_help(stderr);
    return 2;
}
