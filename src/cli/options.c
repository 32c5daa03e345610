#include "cli/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int qv_cli_read_options(const struct qv_cli_options *o, int argc, char **argv, void *arg,
                        struct qv_errmsg *msg)
{
    int option;
    optind = 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "h", o->table, NULL)) != -1) {
        if (option == QV_CLI_HELP) {
            fputs(o->help, stdout);
            return 1;
        }
        if (option == '?')
            return qv_fail(msg, QV_EINVAL, "unknown or incomplete option '%.100s'; see --help",
                           argv[optind - 1]);
        int err = o->take(arg, option, optarg, msg);
        if (err != 0)
            return err;
    }
    return 0;
}

int qv_cli_take_number(const char *name, const char *value, uint64_t min, uint64_t max,
                       uint64_t *out, struct qv_errmsg *msg)
{
    char *end = NULL;
    errno = 0;
    unsigned long long v = value[0] >= '0' && value[0] <= '9' ? strtoull(value, &end, 10) : 0;
    if (end == NULL || *end != '\0' || errno != 0 || v < min || v > max)
        return qv_fail(msg, QV_EINVAL, "%s: '%.100s' is not allowed: %llu to %llu is", name, value,
                       (unsigned long long)min, (unsigned long long)max);
    *out = v;
    return 0;
}

int qv_cli_end(const char *command, int err, const struct qv_errmsg *msg)
{
    if (err == 0)
        return 0;
    fprintf(stderr, "quiver %s: %s\n", command,
            msg->text[0] != '\0' ? msg->text : qv_err_text(err));
    return err == QV_EINVAL ? 2 : 1;
}
