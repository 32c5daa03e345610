/* quiver export: options, where to begin, the pump (cli/export_run.h), the words. */
#include "cli/commands.h"
#include "cli/export_run.h"
#include "cli/options.h"

#include "base/hash.h"
#include "core/limits.h"
#include "wire/json_scan.h"

#include <signal.h>

#define CHECK_ARENA_BYTES ((size_t)16 << 20)

struct options {
    const char *target, *path, *filter, *using_;
    struct qv_target_access access;
    uint64_t batch, in_flight, retry_seconds;
    bool resume, overwrite, json;
};

struct export
{
    struct options o;
    struct qv_target target;
    struct qv_export_sink sink;
    struct qv_export_run run;
    uint64_t resumed_from, bytes_before;
    double seconds;
    struct qv_errmsg msg;
};

static const char help[] =
    "usage: quiver export URL/COLLECTION FILE.jsonl|DIR/ [options]\n"
    "\n"
    "Writes every point to FILE.jsonl, a point a line: {\"id\": 1, \"vector\": [..], \"payload\": "
    "{..}},\n"
    "or to a folder: vectors.fbin (one vector a point), points.jsonl (ids, payloads, other "
    "vectors),\n"
    "collection.json (its configuration). `quiver import` takes either.\n"
    "\n"
    "  --filter JSON      only points that match: '{\"must\": [{\"key\": \"a\", \"match\": "
    "{\"value\": 1}}]}'\n"
    "  --using NAME       DIR: which named vector vectors.fbin holds (default: the first)\n"
    "  --batch N          points a page (default 256)\n"
    "  --in-flight N      pages at a time (default 8)\n"
    "  --resume           go on where an export to this place was interrupted\n"
    "  --overwrite        replace an export that is there already\n"
    "  --retry-seconds N  how long a server may be too busy or away (default 60)\n" QV_TARGET_HELP
    "  --json             result as JSON\n"
    "  --help\n"
    "\n"
    "Points that change meanwhile come as they are when their page is read; points written, all "
    "of\n"
    "them whole, stay in *.part until the export is complete. Exit code: 0 complete, 1 failed,\n"
    "2 wrong usage.\n"
    "\n"
    "examples:\n"
    "  quiver export localhost:6333/docs docs.jsonl\n"
    "  quiver export localhost:6333/docs backup/docs/\n"
    "  quiver import localhost:6333/copy backup/docs/ --create\n";

enum option_id {
    OPT_FILTER = 256,
    OPT_USING,
    OPT_BATCH,
    OPT_FLIGHT,
    OPT_RESUME,
    OPT_OVERWRITE,
    OPT_RETRY,
    OPT_JSON
};

static const struct option options[] = {{"filter", required_argument, NULL, OPT_FILTER},
                                        {"using", required_argument, NULL, OPT_USING},
                                        {"batch", required_argument, NULL, OPT_BATCH},
                                        {"in-flight", required_argument, NULL, OPT_FLIGHT},
                                        {"resume", no_argument, NULL, OPT_RESUME},
                                        {"overwrite", no_argument, NULL, OPT_OVERWRITE},
                                        {"retry-seconds", required_argument, NULL, OPT_RETRY},
                                        QV_TARGET_OPTIONS,
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"help", no_argument, NULL, QV_CLI_HELP},
                                        {NULL, 0, NULL, 0}};

static int take_option(void *arg, int option, const char *value, struct qv_errmsg *msg)
{
    struct options *o = &((struct export *)arg)->o;
    if (qv_target_take_option(&o->access, option, value))
        return 0;
    switch (option) {
    case OPT_FILTER:
        o->filter = value;
        return 0;
    case OPT_USING:
        o->using_ = value;
        return strlen(value) <= QV_NAME_BYTES_MAX
                   ? 0
                   : qv_fail(msg, QV_EINVAL, "--using: longer than %u bytes", QV_NAME_BYTES_MAX);
    case OPT_BATCH:
        return qv_cli_take_number("--batch", value, 1, 10000, &o->batch, msg);
    case OPT_FLIGHT:
        return qv_cli_take_number("--in-flight", value, 1, QV_EXPORT_IN_FLIGHT_MAX, &o->in_flight,
                                  msg);
    case OPT_RETRY:
        return qv_cli_take_number("--retry-seconds", value, 0, 86400, &o->retry_seconds, msg);
    default:
        o->resume |= option == OPT_RESUME;
        o->overwrite |= option == OPT_OVERWRITE;
        o->json |= option == OPT_JSON;
        return 0;
    }
}

/* 1: --help was printed. */
static int read_options(struct export *x, int argc, char **argv)
{
    const struct qv_cli_options o = {help, options, take_option};
    x->o = (struct options){.batch = 256, .in_flight = 8, .retry_seconds = 60};
    int err = qv_cli_read_options(&o, argc, argv, x, &x->msg);
    if (err != 0)
        return err;
    if (argc - optind != 2)
        return qv_fail(&x->msg, QV_EINVAL,
                       "URL/COLLECTION and FILE.jsonl or DIR/ are needed, and nothing else; see "
                       "--help");
    x->o.target = argv[optind];
    x->o.path = argv[optind + 1];
    return 0;
}

/* What the user typed is put into bodies as it is: it must be one JSON object. */
static int check_filter(struct export *x)
{
    struct qv_arena arena;
    struct qv_json j;
    struct qv_errmsg why = {""};
    if (x->o.filter == NULL)
        return 0;
    struct qv_bytes text = {(const uint8_t *)x->o.filter, strlen(x->o.filter)};
    qv_arena_init(&arena, CHECK_ARENA_BYTES);
    qv_json_init(&j, text, &arena, &why);
    if (qv_json_peek(&j) != QV_JSON_OBJECT)
        qv_json_fail_type(&j, "an object");
    else
        qv_json_skip(&j);
    int err = qv_json_finish(&j);
    qv_arena_close(&arena);
    return err != 0 ? qv_fail(&x->msg, QV_EINVAL, "--filter: %.300s", why.text) : 0;
}

static uint64_t identity(const struct export *x)
{
    struct qv_buf b;
    const char *parts[] = {x->target.base, x->target.collection, x->o.filter, x->o.using_};
    qv_buf_init(&b, 0);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const char *part = parts[i] != NULL ? parts[i] : "\1";
        qv_buf_append(&b, part, strlen(part) + 1);
    }
    uint64_t key = qv_hash_64(b.data, b.len);
    qv_buf_close(&b);
    return key;
}

static int read_count(struct qv_bytes body, uint64_t *out, struct qv_errmsg *msg)
{
    struct qv_arena arena;
    struct qv_json j;
    qv_arena_init(&arena, CHECK_ARENA_BYTES);
    qv_json_init(&j, body, &arena, msg);
    qv_json_begin_object(&j);
    while (qv_json_find_key(&j, "result")) {
        qv_json_begin_object(&j);
        while (qv_json_find_key(&j, "count"))
            *out = qv_json_u64(&j);
    }
    int err = qv_json_finish(&j);
    qv_arena_close(&arena);
    return err;
}

/* How many there are to come: for the bar. */
static int count_points(struct export *x, uint64_t *out)
{
    struct qv_buf body;
    struct qv_buf answer;
    qv_buf_init(&body, 0);
    qv_buf_init(&answer, 0);
    qv_buf_str(&body, "{\"exact\":true");
    if (x->o.filter != NULL) {
        qv_buf_str(&body, ",\"filter\":");
        qv_buf_str(&body, x->o.filter);
    }
    qv_buf_str(&body, "}");
    int err = qv_target_call(&x->target, "POST", "/points/count",
                             (struct qv_bytes){body.data, body.len}, &answer, &x->msg);
    if (err == 0)
        err = read_count((struct qv_bytes){answer.data, answer.len}, out, &x->msg);
    qv_buf_close(&answer);
    qv_buf_close(&body);
    return err;
}

/* ---- the run ---- */

static int copy_points(struct export *x)
{
    struct qv_progress progress;
    uint64_t total = 0;
    int err = count_points(x, &total);
    if (err != 0)
        return err;
    qv_progress_init(&progress, "export", "points", x->sink.points, total);
    x->run = (struct qv_export_run){.target = &x->target,
                                    .sink = &x->sink,
                                    .filter = x->o.filter,
                                    .batch = (uint32_t)x->o.batch,
                                    .in_flight = (uint32_t)x->o.in_flight,
                                    .retry_ms = (uint32_t)x->o.retry_seconds * 1000,
                                    .progress = &progress};
    /* Everything was written and the end was not: nothing is to be asked for again. */
    bool all = x->resumed_from > 0 && x->sink.next[0] == '\0';
    if (!all)
        err = qv_export_run(&x->run, &x->msg);
    qv_progress_finish(&progress);
    x->seconds = (double)(qv_progress_now_ns() - progress.start_ns) / 1e9;
    if (err != 0 && x->sink.points > 0)
        fprintf(stderr, "%llu points are written; --resume goes on there\n",
                (unsigned long long)x->sink.points);
    return err;
}

static int finish(struct export *x)
{
    struct qv_buf body;
    qv_buf_init(&body, 0);
    int err = qv_target_call(&x->target, "GET", "", (struct qv_bytes){NULL, 0}, &body, &x->msg);
    if (err == 0)
        err = qv_export_sink_finish(&x->sink, x->target.collection,
                                    (struct qv_bytes){body.data, body.len}, &x->msg);
    qv_buf_close(&body);
    return err;
}

static void print_result(const struct export *x)
{
    double seconds = x->seconds > 0 ? x->seconds : 1e-9;
    double points = (double)(x->sink.points - x->resumed_from);
    double mb = (double)(x->sink.bytes - x->bytes_before) / 1e6;
    if (!x->o.json) {
        printf("%llu points to %s in %.1f s: %.0f points/s, %.1f MB/s\n",
               (unsigned long long)x->sink.points, x->o.path, x->seconds, points / seconds,
               mb / seconds);
        return;
    }
    printf("{\"points\":%llu,\"rows\":%llu,\"bytes\":%llu,\"resumed_from\":%llu,\"pages\":%llu,"
           "\"retries\":%llu,\"seconds\":%.3f,\"points_per_s\":%.1f,\"mb_per_s\":%.2f}\n",
           (unsigned long long)x->sink.points, (unsigned long long)x->sink.rows,
           (unsigned long long)x->sink.bytes, (unsigned long long)x->resumed_from,
           (unsigned long long)x->run.pages, (unsigned long long)x->run.retries, x->seconds,
           points / seconds, mb / seconds);
}

static int run(struct export *x)
{
    struct qv_target_info info;
    (void)signal(SIGPIPE, SIG_IGN);
    int err = check_filter(x);
    if (err == 0)
        err = qv_target_open(x->o.target, &x->o.access, &x->target, &x->msg);
    if (err == 0) /* before anything is made on disk */
        err = qv_target_read_info(&x->target, &info, &x->msg);
    if (err != 0)
        return err;
    x->sink.path = x->o.path;
    x->sink.using_ = x->o.using_;
    x->sink.key = identity(x);
    err = qv_export_sink_open(&x->sink, x->o.resume, x->o.overwrite, &x->msg);
    x->resumed_from = x->sink.points;
    x->bytes_before = x->sink.bytes;
    if (err == 0)
        err = copy_points(x);
    if (err == 0)
        err = finish(x);
    if (err == 0)
        print_result(x);
    return err;
}

int qv_cli_export(int argc, char **argv)
{
    struct export x = {0};
    int err = read_options(&x, argc, argv);
    if (err > 0)
        return 0;
    if (err == 0)
        err = run(&x);
    qv_target_close(&x.target);
    qv_export_sink_close(&x.sink);
    return qv_cli_end("export", err, &x.msg);
}
