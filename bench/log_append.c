/* The operation log alone: how fast one owner thread appends and commits, and what one commit costs
 * beside one fdatasync of preallocated blocks of the same size.
 *
 *   log_append DIR [SECONDS [BATCH [RECORD_BYTES [IN_FLIGHT]]]]
 *
 * Prints one JSON object. DIR is made, filled and emptied again. */
#include "base/mem.h"
#include "io/uv_env.h"
#include "storage/log.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SAMPLES_MAX 200000
#define IN_FLIGHT_MAX 64

struct commit {
    struct qv_log_waiter waiter; /* first */
    uint64_t begin_ns;
};

struct bench {
    struct qv_env *env;
    struct qv_log *log;
    const char *dir;
    uint64_t seconds_ns;
    unsigned batch;
    uint32_t bytes;
    unsigned in_flight, in_flight_max;
    uint64_t begin_ns, end_ns;
    uint64_t records;
    uint64_t busy_ns; /* of the owner thread, in appends */
    uint64_t *samples;
    size_t sample_n;
    struct commit commits[IN_FLIGHT_MAX];
    struct commit *idle[IN_FLIGHT_MAX];
    unsigned idle_n;
    uint8_t *payload;
    struct qv_task task;
    atomic_bool stopped, closed;
    struct qv_log_stats stats;
    int err;
};

static void feed(struct bench *b);

static void committed(struct qv_log_waiter *w, int err)
{
    struct bench *b = w->arg;
    struct commit *c = (struct commit *)w;
    uint64_t now = qv_env_mono_ns(b->env);
    if (err != 0)
        b->err = err;
    if (b->sample_n < SAMPLES_MAX)
        b->samples[b->sample_n++] = now - c->begin_ns;
    b->records += b->batch;
    b->in_flight--;
    b->idle[b->idle_n++] = c;
    b->end_ns = now;
    qv_log_release(b->log, c->waiter.lsn); /* segments are recycled, as behind checkpoints */
    if (now - b->begin_ns < b->seconds_ns && b->err == 0)
        feed(b);
    else
        b->stopped = b->in_flight == 0;
}

static void feed(struct bench *b)
{
    while (b->in_flight < b->in_flight_max) {
        uint64_t begin = qv_env_mono_ns(b->env);
        for (unsigned i = 0; i < b->batch; i++) {
            struct qv_log_record rec = {.shard = 1, .version = {.clock = b->records + i}};
            struct qv_bytes part = {b->payload, b->bytes};
            int err = qv_log_append(b->log, &rec, &part, 1, NULL);
            if (err == QV_EBUSY && i == 0)
                return; /* the next completion feeds again */
            if (err != 0)
                b->err = err;
        }
        struct commit *c = b->idle[--b->idle_n];
        b->in_flight++;
        c->begin_ns = begin;
        c->waiter.done = committed;
        c->waiter.arg = b;
        qv_log_commit(b->log, &c->waiter);
        b->busy_ns += qv_env_mono_ns(b->env) - begin;
    }
}

static void start(void *arg)
{
    struct bench *b = arg;
    struct qv_errmsg msg = {""};
    struct qv_log_config config = {.segment_bytes = 0};
    b->err = qv_log_open(b->env, b->dir, &config, &b->log, &msg);
    if (b->err != 0) {
        fprintf(stderr, "%s\n", msg.text);
        b->stopped = true;
        return;
    }
    b->begin_ns = qv_env_mono_ns(b->env);
    feed(b);
}

static void closed(void *arg, int err)
{
    struct bench *b = arg;
    b->err = b->err != 0 ? b->err : err;
    b->closed = true;
}

static void stop(void *arg)
{
    struct bench *b = arg;
    qv_log_get_stats(b->log, &b->stats);
    qv_log_close(b->log, closed, b);
}

static void look(void *arg)
{
    (void)arg;
}

static int by_time(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static double percentile_us(uint64_t *v, size_t n, double q)
{
    qsort(v, n, sizeof *v, by_time);
    return n > 0 ? (double)v[(size_t)((double)(n - 1) * q)] / 1e3 : 0;
}

/* p50 of write + fdatasync of n bytes into blocks that were written before. */
static double raw_sync_us(struct bench *b, size_t n)
{
    char path[4096];
    enum { ROUNDS = 200 };
    snprintf(path, sizeof path, "%s/raw", b->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return 0;
    uint8_t *p = qv_mem_calloc(1, n);
    uint64_t v[ROUNDS];
    double us = 0;
    for (int pass = 0; pass < 2; pass++) { /* the first makes the blocks */
        for (int i = 0; i < ROUNDS; i++) {
            uint64_t begin = qv_env_mono_ns(b->env);
            if (pwrite(fd, p, n, (off_t)((size_t)i * n)) != (ssize_t)n || fdatasync(fd) != 0)
                break;
            v[i] = qv_env_mono_ns(b->env) - begin;
        }
        us = percentile_us(v, ROUNDS, 0.5);
    }
    qv_mem_free(p);
    close(fd);
    unlink(path);
    return us;
}

static bool remove_name(void *arg, const char *name, bool is_dir)
{
    struct bench *b = arg;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", b->dir, name);
    if (!is_dir && strstr(name, ".qlog") != NULL)
        unlink(path);
    return true;
}

int main(int argc, char **argv)
{
    static struct bench b;
    struct qv_uv_env *u = NULL;
    struct qv_errmsg msg = {""};
    struct qv_uv_env_config config = {.pin_cpu = -1};
    if (argc < 2) {
        fprintf(stderr, "usage: log_append DIR [SECONDS [BATCH [RECORD_BYTES [IN_FLIGHT]]]]\n");
        return 2;
    }
    b.dir = argv[1];
    b.seconds_ns = (argc > 2 ? strtoull(argv[2], NULL, 10) : 5) * QV_NS_PER_S;
    b.batch = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 1000;
    b.bytes = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 600;
    b.in_flight_max = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10) : 8;
    if (b.in_flight_max == 0 || b.in_flight_max > IN_FLIGHT_MAX || b.batch == 0)
        return 2;
    b.samples = qv_mem_alloc(SAMPLES_MAX * sizeof *b.samples);
    b.payload = qv_mem_calloc(1, b.bytes + 1);
    for (unsigned i = 0; i < IN_FLIGHT_MAX; i++)
        b.idle[b.idle_n++] = &b.commits[i];
    if (qv_uv_env_create(&config, &u, &msg) != 0) {
        fprintf(stderr, "%s\n", msg.text);
        return 2;
    }
    b.env = qv_uv_env_env(u);
    qv_uv_env_call(u, start, &b);
    while (!b.stopped) {
        usleep(20000);
        qv_uv_env_call(u, look, &b);
    }
    if (b.log != NULL)
        qv_uv_env_call(u, stop, &b);
    while (b.log != NULL && !b.closed) {
        usleep(1000);
        qv_uv_env_call(u, look, &b);
    }
    const struct qv_log_stats stats = b.stats;
    double s = (double)(b.end_ns - b.begin_ns) / 1e9;
    double mb = (double)b.records * b.bytes / 1e6;
    size_t commit_bytes = ((size_t)b.batch * (b.bytes + 40) + 64 + 4095) / 4096 * 4096;
    printf("{\"schema\": 1, \"seconds\": %.3f, \"batch\": %u, \"record_bytes\": %u, "
           "\"in_flight\": %u, \"records_per_s\": %.0f, \"mb_per_s\": %.1f, "
           "\"append_mb_per_s\": %.1f, \"syncs\": %llu, \"bytes_per_sync\": %.0f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"raw_sync_p50_us\": %.1f, "
           "\"segments_created\": %llu, \"segments_reused\": %llu}\n",
           s, b.batch, b.bytes, b.in_flight_max, (double)b.records / s, mb / s,
           mb / ((double)b.busy_ns / 1e9), (unsigned long long)stats.syncs,
           (double)stats.bytes / (double)(stats.syncs ? stats.syncs : 1),
           percentile_us(b.samples, b.sample_n, 0.5), percentile_us(b.samples, b.sample_n, 0.99),
           raw_sync_us(&b, commit_bytes), (unsigned long long)stats.segments_created,
           (unsigned long long)stats.segments_reused);
    int listed = qv_disk_list(b.env->disk, b.dir, remove_name, &b, NULL);
    rmdir(b.dir);
    qv_uv_env_destroy(&u);
    qv_mem_free(b.samples);
    qv_mem_free(b.payload);
    return b.err != 0 || listed != 0;
}
