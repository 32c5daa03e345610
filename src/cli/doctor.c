/* quiver doctor: is this machine fit for a node? Looks (doctor_look.h), then tells. */
#include "cli/commands.h"
#include "cli/doctor_look.h"
#include "cli/options.h"

#include "base/buf.h"
#include "wire/json_write.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct doctor {
    struct qv_doctor look;
    bool json, strict;
    struct qv_errmsg msg;
};

static const char help[] =
    "usage: quiver doctor [--dir DIR] [options]\n"
    "\n"
    "Looks at this machine as a node would meet it: limits, memory, huge pages, processor, clock,\n"
    "ports, and the disk under DIR: file system, room, how long a sync takes (4 MB are written\n"
    "there and removed).\n"
    "\n"
    "  --dir DIR        where the data is or will be (default ./storage if it is there, else .)\n"
    "  --http-port N, --grpc-port N  that the node will use (default 6333, 6334)\n"
    "  --strict         a warning is a failure\n"
    "  --json           {\"checks\": [{\"name\", \"level\", \"text\", \"advice\"}], \"ok\", "
    "\"warnings\", \"failures\"}\n"
    "  --root DIR       read proc/ and sys/ below DIR (a rescue system, tests)\n"
    "  --help\n"
    "\n"
    "Exit code: 0 nothing failed (there may be warnings), 1 something did, 2 wrong usage.\n"
    "\n"
    "examples:\n"
    "  quiver doctor --dir /var/lib/quiver\n"
    "  quiver doctor --json --strict\n";

enum option_id { OPT_DIR = 256, OPT_HTTP, OPT_GRPC, OPT_STRICT, OPT_JSON, OPT_ROOT };

static const struct option options[] = {{"dir", required_argument, NULL, OPT_DIR},
                                        {"http-port", required_argument, NULL, OPT_HTTP},
                                        {"grpc-port", required_argument, NULL, OPT_GRPC},
                                        {"strict", no_argument, NULL, OPT_STRICT},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"root", required_argument, NULL, OPT_ROOT},
                                        {"help", no_argument, NULL, QV_CLI_HELP},
                                        {NULL, 0, NULL, 0}};

static int take_port(const char *name, const char *value, uint32_t *out, struct qv_errmsg *msg)
{
    uint64_t v = 0;
    int err = qv_cli_take_number(name, value, 1, 65535, &v, msg);
    *out = (uint32_t)v;
    return err;
}

static int take_option(void *arg, int option, const char *value, struct qv_errmsg *msg)
{
    struct doctor *x = arg;
    switch (option) {
    case OPT_DIR:
        x->look.dir = value;
        return 0;
    case OPT_ROOT:
        x->look.root = value;
        return 0;
    case OPT_HTTP:
        return take_port("--http-port", value, &x->look.ports[0], msg);
    case OPT_GRPC:
        return take_port("--grpc-port", value, &x->look.ports[1], msg);
    default:
        x->json |= option == OPT_JSON;
        x->strict |= option == OPT_STRICT;
        return 0;
    }
}

/* 1: --help was printed. */
static int read_options(struct doctor *x, int argc, char **argv)
{
    const struct qv_cli_options table = {help, options, take_option};
    struct stat st;
    bool there = stat("storage", &st) == 0 && S_ISDIR(st.st_mode);
    x->look = (struct qv_doctor){.root = "", .dir = there ? "storage" : ".", .ports = {6333, 6334}};
    int err = qv_cli_read_options(&table, argc, argv, x, &x->msg);
    if (err != 0)
        return err;
    if (optind < argc)
        return qv_fail(&x->msg, QV_EINVAL, "unexpected argument '%s'; see --help", argv[optind]);
    if (strlen(x->look.dir) > 4000 || strlen(x->look.root) > 2000)
        return qv_fail(&x->msg, QV_EINVAL, "a path is too long");
    return 0;
}

static const char *level_name(enum qv_doctor_level level)
{
    static const char *const names[] = {"ok", "warn", "fail"};
    return names[level];
}

static void print_lines(const struct qv_doctor *d)
{
    for (uint32_t i = 0; i < d->count; i++) {
        const struct qv_doctor_finding *f = &d->findings[i];
        printf("%-5s %-22s  %s\n", level_name(f->level), f->name, f->text);
        if (f->advice[0] != '\0')
            printf("%29s -> %s\n", "", f->advice);
    }
}

static void print_json(const struct qv_doctor *d, const uint32_t counts[3])
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_buf_str(&b, "{\"checks\":[");
    for (uint32_t i = 0; i < d->count; i++) {
        const struct qv_doctor_finding *f = &d->findings[i];
        qv_buf_str(&b, i > 0 ? ",{\"name\":" : "{\"name\":");
        qv_json_write_text(&b, f->name);
        qv_buf_printf(&b, ",\"level\":\"%s\",\"text\":", level_name(f->level));
        qv_json_write_text(&b, f->text);
        qv_buf_str(&b, ",\"advice\":");
        qv_json_write_text(&b, f->advice);
        qv_buf_str(&b, "}");
    }
    qv_buf_printf(&b, "],\"ok\":%u,\"warnings\":%u,\"failures\":%u}\n", counts[QV_DOCTOR_OK],
                  counts[QV_DOCTOR_WARN], counts[QV_DOCTOR_FAIL]);
    (void)fwrite(b.data, 1, b.len, stdout);
    qv_buf_close(&b);
}

int qv_cli_doctor(int argc, char **argv)
{
    struct doctor x = {.json = false};
    uint32_t counts[3] = {0};
    int err = read_options(&x, argc, argv);
    if (err != 0)
        return err > 0 ? 0 : qv_cli_end("doctor", err, &x.msg);
    qv_doctor_look_limits(&x.look);
    qv_doctor_look_memory(&x.look);
    qv_doctor_look_cpu(&x.look);
    qv_doctor_look_clock(&x.look);
    qv_doctor_look_ports(&x.look);
    qv_doctor_look_disk(&x.look);
    for (uint32_t i = 0; i < x.look.count; i++)
        counts[x.look.findings[i].level]++;
    if (x.json)
        print_json(&x.look, counts);
    else
        print_lines(&x.look);
    if (!x.json)
        printf("%u ok, %u to look at, %u to mend\n", counts[0], counts[1], counts[2]);
    return counts[QV_DOCTOR_FAIL] > 0 || (x.strict && counts[QV_DOCTOR_WARN] > 0) ? 1 : 0;
}
