/* The one binary: quiver COMMAND ... */
#include "app/serve.h"
#include "app/settings.h"
#include "base/build_info.h"
#include "cli/commands.h"
#include "server/docs.h"

#include <stdio.h>
#include <string.h>

static int run_version(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        puts("usage: quiver version\n\nPrints the version, the API's and the commit.");
        return 0;
    }
    if (argc > 1) {
        fprintf(stderr, "quiver version: '%s' is not understood: it takes no arguments\n", argv[1]);
        return 2;
    }
    printf("quiver %s (API %s, commit %s)\n", QV_VERSION, QV_API_VERSION, QV_COMMIT);
    return 0;
}

static int run_help(int argc, char **argv);

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"serve", qv_app_serve, "start a node"},
    {"import", qv_cli_import, "load vectors from a file into a collection"},
    {"export", qv_cli_export, "write a collection to files that import reads"},
    {"search", qv_cli_search, "search a collection"},
    {"bench", qv_cli_bench, "measure: index, serve, upsert, open"},
    {"cluster", qv_cli_cluster, "a cluster: its nodes, shards and moves"},
    {"check", qv_cli_check, "verify the data of a stopped node"},
    {"doctor", qv_cli_doctor, "look at this machine: limits, disk, memory, clock"},
    {"version", run_version, "print the version"},
    {"help", run_help, "print this, or the help of a command"},
};

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

static void print_commands(FILE *out)
{
    fprintf(out, "quiver %s, a vector search engine\n\nusage: quiver COMMAND [options]\n\n",
            QV_VERSION);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-8s  %s\n", commands[i].name, commands[i].what);
    fprintf(out, "\n`quiver COMMAND --help` tells more, with examples.\n");
}

/* The pages of docs/ that come from tables. */
static bool print_reference(const char *page)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    if (strcmp(page, "api") == 0)
        qv_docs_write_api(&b);
    else if (strcmp(page, "metrics") == 0)
        qv_docs_write_metrics(&b);
    else if (strcmp(page, "settings") == 0)
        qv_settings_write_docs(&b);
    bool known = b.len > 0;
    (void)fwrite(b.data, 1, b.len, stdout);
    qv_buf_close(&b);
    return known;
}

static int run_help(int argc, char **argv)
{
    if (argc < 2) {
        print_commands(stdout);
        return 0;
    }
    if (print_reference(argv[1]))
        return 0;
    const struct command *c = find_command(argv[1]);
    if (c == NULL || c->run == run_help) {
        if (c == NULL)
            fprintf(stderr, "quiver help: unknown command '%s'; see quiver help\n", argv[1]);
        else
            print_commands(stdout);
        return c == NULL ? 2 : 0;
    }
    char *help[] = {argv[1], (char[]){"--help"}, NULL};
    return c->run(2, help);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_commands(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return run_help(1, argv);
    if (strcmp(argv[1], "--version") == 0)
        return run_version(1, argv);
    const struct command *c = find_command(argv[1]);
    if (c == NULL) {
        fprintf(stderr, "quiver: unknown command '%s'; see quiver help\n", argv[1]);
        return 2;
    }
    return c->run(argc - 1, argv + 1);
}
