/* quiver check: verifies every file of a stopped node. Work is done by qv_node_check; here are the
 * directory's lock, progress and the words. Findings go to stdout, one a line or one a JSON object;
 * progress and errors to stderr. */
#include "base/buf.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "io/disk_posix.h"
#include "io/uv_env.h"
#include "node/node.h"
#include "storage/kv_rocks.h"
#include "wire/json_write.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_AFTER_NS 2000000000u

struct check {
    const char *dir;
    bool json;
    struct qv_progress progress;
    uint64_t from_ns;
    bool drawing; /* it takes long enough for a bar */
    bool started; /* a finding was printed: JSON needs a comma before the next */
    int lock_fd;
    struct qv_disk *disk;
    struct qv_kv_driver *kv;
    struct qv_uv_env *env;
    struct qv_store_check_summary summary;
    int err;
    struct qv_errmsg msg;
};

static const char help[] =
    "usage: quiver check DIR [--json]\n"
    "\n"
    "Verifies the data of a stopped node: metadata, log, checkpoints, vectors, graphs. Changes\n"
    "none of it. DIR is its storage path (serve --storage-path).\n"
    "\n"
    "  --json   {\"findings\": [{\"collection\", \"shard\", \"file\", \"what\", "
    "\"what_to_do\"}], \"shards\", "
    "\"points\", ...}\n"
    "  --help\n"
    "\n"
    "Exit code: 0 all is well, 1 something was found or could not be read, 2 wrong usage or\n"
    "the directory is in use.\n"
    "\n"
    "examples:\n"
    "  quiver check ./storage\n"
    "  quiver check /var/lib/quiver --json\n";

static const struct option options[] = {
    {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, QV_CLI_HELP}, {NULL, 0, NULL, 0}};

/* What an operator can do depends on which kind of file is bad. */
static const char *advice(const struct qv_store_finding *f)
{
    const char *end = strrchr(f->file, '.');
    if (end != NULL && strcmp(end, ".qlog") == 0)
        return "changes that only this log holds can't be trusted: restore the directory from a "
               "backup, recover snapshots of its collections, or import them again";
    if (strstr(f->file, "/rows-") != NULL)
        return "write the point again, or delete it; if there are many, recover a snapshot of the "
               "collection, or import it again";
    if (end != NULL && strcmp(end, ".qlog") != 0 && strstr(f->file, "/log/newest") != NULL)
        return "start the node";
    if (f->shard == 0)
        return "restore the directory from a backup, or start on an empty one with a snapshot of "
               "everything (serve --storage-snapshot)";
    return "recover a snapshot of this shard's collection over it (start the node, then PUT "
           "/collections/NAME/snapshots/recover), or delete the collection and import it again, or "
           "restore the directory from a backup";
}

static void print_finding(void *arg, const struct qv_store_finding *f)
{
    struct check *x = arg;
    if (!x->json) {
        if (f->collection.n > 0)
            printf("collection %.*s (shard %u): ", (int)f->collection.n, f->collection.p, f->shard);
        printf("%s: %s\n    what to do: %s\n", f->file, f->what, advice(f));
        return;
    }
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_buf_printf(&b, "%s{\"shard\":%u,\"file\":", x->started ? "," : "", f->shard);
    qv_json_write_text(&b, f->file);
    qv_buf_str(&b, ",\"collection\":");
    qv_json_write_str(&b, f->collection);
    qv_buf_str(&b, ",\"what\":");
    qv_json_write_text(&b, f->what);
    qv_buf_str(&b, ",\"what_to_do\":");
    qv_json_write_text(&b, advice(f));
    qv_buf_str(&b, "}");
    if (!b.failed)
        (void)fwrite(b.data, 1, b.len, stdout);
    qv_buf_close(&b);
    x->started = true;
}

/* A running node must not be read under its feet, and must not start while we read. */
static int lock_directory(struct check *x)
{
    char path[4096];
    struct stat st;
    if (stat(x->dir, &st) != 0)
        return qv_fail(&x->msg, QV_EINVAL, "%s: %s", x->dir, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return qv_fail(&x->msg, QV_EINVAL, "%s is not a directory", x->dir);
    if (snprintf(path, sizeof path, "%s/lock", x->dir) >= (int)sizeof path)
        return qv_fail(&x->msg, QV_EINVAL, "the path is too long");
    x->lock_fd = open(path, O_RDWR | O_CLOEXEC);
    if (x->lock_fd < 0 && errno == ENOENT)
        return qv_fail(&x->msg, QV_EINVAL, "%s holds no data of a node (it has no file 'lock')",
                       x->dir);
    if (x->lock_fd < 0)
        return qv_fail(&x->msg, QV_EINVAL, "%s: %s", path, strerror(errno));
    if (flock(x->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return qv_fail(&x->msg, QV_EINVAL, "%s is in use: stop the node first", x->dir);
    return 0;
}

static void show_progress(void *arg, uint64_t done, uint64_t total)
{
    struct check *x = arg;
    if (!x->drawing && qv_progress_now_ns() - x->from_ns < PROGRESS_AFTER_NS)
        return;
    if (!x->drawing)
        qv_progress_init(&x->progress, "checking", "points", 0, total);
    x->drawing = true;
    qv_progress_update(&x->progress, done, 0);
}

static void check_on_owner(void *arg)
{
    struct check *x = arg;
    struct qv_node_config config = {.env = qv_uv_env_env(x->env), .kv = x->kv, .dir = x->dir};
    const struct qv_store_listener listener = {
        .report = print_finding, .progress = show_progress, .arg = x};
    x->err = qv_node_check(&config, &listener, &x->summary, &x->msg);
}

static int run(struct check *x)
{
    int err = lock_directory(x);
    if (err != 0)
        return err;
    x->disk = qv_disk_posix_create();
    x->kv = qv_kv_rocks_create(NULL);
    struct qv_uv_env_config config = {
        .disk = x->disk, .compute_threads = 1, .io_threads = 1, .pin_cpu = -1};
    err = qv_uv_env_create(&config, &x->env, &x->msg);
    if (err != 0)
        return err;
    x->from_ns = qv_progress_now_ns();
    qv_uv_env_call(x->env, check_on_owner, x);
    if (x->drawing)
        qv_progress_finish(&x->progress);
    if (x->err == QV_ECORRUPT) { /* what belongs to no shard, the list of collections */
        struct qv_store_finding f = {.file = x->dir, .what = x->msg.text};
        print_finding(x, &f);
        x->summary.findings++;
        return 0;
    }
    return x->err;
}

static void close_check(struct check *x)
{
    if (x->env != NULL)
        qv_uv_env_destroy(&x->env);
    if (x->kv != NULL)
        qv_kv_rocks_destroy(&x->kv);
    if (x->disk != NULL)
        qv_disk_posix_destroy(&x->disk);
    if (x->lock_fd >= 0)
        (void)close(x->lock_fd);
}

static void print_summary(const struct check *x, int err, double seconds)
{
    const struct qv_store_check_summary *s = &x->summary;
    if (x->json) {
        struct qv_buf b;
        qv_buf_init(&b, 0);
        qv_buf_printf(&b,
                      "],\"shards\":%llu,\"points\":%llu,\"log_records\":%llu,\"seconds\":%.3f,"
                      "\"ok\":%s",
                      (unsigned long long)s->shards, (unsigned long long)s->points,
                      (unsigned long long)s->log_records, seconds,
                      err == 0 && s->findings == 0 ? "true" : "false");
        if (err != 0) {
            qv_buf_str(&b, ",\"error\":");
            qv_json_write_text(&b, x->msg.text[0] != '\0' ? x->msg.text : qv_err_text(err));
        }
        qv_buf_str(&b, "}\n");
        if (!b.failed)
            (void)fwrite(b.data, 1, b.len, stdout);
        qv_buf_close(&b);
    } else if (err == 0) {
        printf("%s: %llu shards, %llu points, %llu log records: %s (%.1f s)\n", x->dir,
               (unsigned long long)s->shards, (unsigned long long)s->points,
               (unsigned long long)s->log_records,
               s->findings == 0 ? "all is well" : "see the findings above", seconds);
    }
}

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int take_option(void *arg, int option, const char *value, struct qv_errmsg *msg)
{
    (void)value;
    (void)msg;
    ((struct check *)arg)->json |= option == 'j';
    return 0;
}

/* 1: --help was printed. */
static int read_options(struct check *x, int argc, char **argv)
{
    const struct qv_cli_options table = {help, options, take_option};
    int err = qv_cli_read_options(&table, argc, argv, x, &x->msg);
    if (err != 0)
        return err;
    if (argc - optind != 1)
        return qv_fail(&x->msg, QV_EINVAL, "DIR is needed, and nothing else; see --help");
    x->dir = argv[optind];
    return 0;
}

int qv_cli_check(int argc, char **argv)
{
    struct check x = {.lock_fd = -1};
    int err = read_options(&x, argc, argv);
    if (err != 0)
        return err > 0 ? 0 : qv_cli_end("check", err, &x.msg);
    double from = now_s();
    (void)signal(SIGPIPE, SIG_IGN);
    if (x.json)
        fputs("{\"findings\":[", stdout);
    err = run(&x);
    print_summary(&x, err, now_s() - from);
    close_check(&x);
    int code = qv_cli_end("check", err, &x.msg);
    return code == 0 && x.summary.findings != 0 ? 1 : code;
}
