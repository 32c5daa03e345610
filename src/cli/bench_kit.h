/* What the benches of a whole server share: options, a child server, its CPU and memory, dropping
 * caches, a bulk load, the words about the machine.
 *
 * The child is this same binary; it ends with its parent. One thread. Nothing here is for the
 * server itself. */
#ifndef QV_CLI_BENCH_KIT_H
#define QV_CLI_BENCH_KIT_H

#include "base/buf.h"
#include "net/client.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum qv_bench_option_kind { QV_BENCH_TEXT, QV_BENCH_NUMBER, QV_BENCH_FLAG };

struct qv_bench_option {
    const char *name; /* "--ef" */
    enum qv_bench_option_kind kind;
    void *to; /* const char **, uint64_t *, bool * */
    uint64_t min, max;
};

/* 0, an exit code (the reason was printed), or -1: --help was printed. */
int qv_bench_read_options(const char *usage, const struct qv_bench_option *table, size_t n,
                          int argc, char **argv) QV_MUST_USE;

uint64_t qv_bench_now_ns(void);
int qv_bench_pin(int cpu) QV_MUST_USE; /* this thread; QV_EINVAL: no such cpu */
/* Sorts v. */
double qv_bench_quantile(double *v, size_t n, double p);

/* ---- the child ---- */

#define QV_BENCH_SETTINGS_MAX 8

struct qv_bench_child_config {
    const char *dir;                             /* --storage-path */
    int cpu;                                     /* all its threads run there; -1: anywhere */
    const char *settings[QV_BENCH_SETTINGS_MAX]; /* "key=value", up to the first NULL */
};

struct qv_bench_child {
    pid_t pid; /* 0: none */
    int out_fd;
    uint16_t port; /* REST and gRPC are both answered there */
    char url[64];
};

/* Starts `serve` on free ports of the loopback and returns once it listens. QV_EIO. */
int qv_bench_child_start(const struct qv_bench_child_config *config, struct qv_bench_child *out,
                         struct qv_errmsg *msg) QV_MUST_USE;
/* SIGTERM, and waits for the clean end. QV_EIO when it did not end so. */
int qv_bench_child_stop(struct qv_bench_child *child, struct qv_errmsg *msg) QV_MUST_USE;
/* SIGKILL; for ways out after an error. NULL-safe for a child that never was. */
void qv_bench_child_kill(struct qv_bench_child *child);
uint64_t qv_bench_child_cpu_ns(const struct qv_bench_child *child); /* of all its threads */
uint64_t qv_bench_child_rss(const struct qv_bench_child *child);

/* ---- its files ---- */

/* Writes them back and takes them out of the page cache; gives their bytes. */
uint64_t qv_bench_drop_caches(const char *dir);
int qv_bench_copy_dir(const char *from, const char *to, struct qv_errmsg *msg) QV_MUST_USE;
void qv_bench_remove_dir(const char *dir);

/* ---- talking to it ---- */

/* One REST call over the client; *out is to be closed with qv_buf_close. QV_EIO unless 200. */
int qv_bench_rest(struct qv_client *client, const char *method, const char *path, const char *body,
                  struct qv_buf *out, struct qv_errmsg *msg) QV_MUST_USE;
/* The number behind "key": in a JSON text, or behind "key " in an exposition; -1: it is not there.
 */
double qv_bench_number_of(const struct qv_buf *text, const char *key);

/* A stream of upserts: `n` points from id `first_id`, `in_flight` batches at a time. */
struct qv_bench_load {
    struct qv_client *client;
    const char *collection;
    uint64_t first_id, n;
    uint32_t dim, batch, in_flight;
    /* Rows [first, first + count) of the set into out. */
    void (*fill)(void *arg, uint64_t first, uint32_t count, float *out);
    void *arg;
    const char *label; /* of the progress lines; NULL: none */
};
int qv_bench_load_run(const struct qv_bench_load *load, struct qv_errmsg *msg) QV_MUST_USE;
/* Until the collection is green with n points indexed (n = 0: green). */
int qv_bench_wait_green(struct qv_client *client, const char *collection, uint64_t n,
                        struct qv_errmsg *msg) QV_MUST_USE;

/* ---- telling ---- */

/* A line on stderr: label, done of total, rate, what is left of the time; at most one in five
 * seconds (a terminal: ten a second), and the last one. */
struct qv_bench_progress {
    const char *label;
    uint64_t total;
    uint64_t start_ns;
    uint64_t told_ns; /* 0 at first */
};
void qv_bench_progress_tell(struct qv_bench_progress *p, uint64_t done);
/* "schema":1,"commit":..,"machine":{..},"seconds":.. without braces around. */
void qv_bench_print_head(const char *commit, uint64_t start_ns);
/* The commit that the child says it is; cut to n. */
void qv_bench_commit(struct qv_client *client, char *out, size_t n);

#endif
