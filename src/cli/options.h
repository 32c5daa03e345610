/* The options of the commands: one loop over getopt's table, the values they share, the last words.
 *
 * A command has a table whose row for --help gives QV_CLI_HELP, and a function that takes one
 * option at a time. One thread, as getopt has it. */
#ifndef QV_CLI_OPTIONS_H
#define QV_CLI_OPTIONS_H

#include "base/err.h"

#include <getopt.h>
#include <stdint.h>

#define QV_CLI_HELP 'h' /* -h too */

/* Puts one option's value (NULL: it has none) where arg keeps it. */
typedef int qv_cli_take_f(void *arg, int option, const char *value, struct qv_errmsg *msg);

struct qv_cli_options {
    const char *help;           /* printed for --help; borrowed */
    const struct option *table; /* getopt's; borrowed */
    qv_cli_take_f *take;
};

/* 0: all are taken and optind is at the first argument that is no option. 1: --help was asked for
 * and printed. QV_EINVAL: unknown, without its value, or what take says. */
QV_MUST_USE int qv_cli_read_options(const struct qv_cli_options *o, int argc, char **argv,
                                    void *arg, struct qv_errmsg *msg);

/* A whole number from min to max; else QV_EINVAL with the allowed range. name as the user wrote it:
 * "--limit". */
QV_MUST_USE int qv_cli_take_number(const char *name, const char *value, uint64_t min, uint64_t max,
                                   uint64_t *out, struct qv_errmsg *msg);

/* Says on stderr why a command failed ("quiver COMMAND: ..") and gives its exit code: 0 (err 0,
 * nothing is said), 2 for wrong usage or input (QV_EINVAL), else 1. */
int qv_cli_end(const char *command, int err, const struct qv_errmsg *msg);

#endif
