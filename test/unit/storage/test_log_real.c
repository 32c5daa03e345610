/* The log over real files, the loop and the workers: what the simulator can't show (threads, the
 * kernel's files). Small segments, so that preparing and recycling run beside the writes. */
#include "suite.h"

#include "base/mem.h"
#include "io/uv_env.h"
#include "storage/log.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COMMITS = 400, BATCH = 20, IN_FLIGHT = 4 };

struct commit {
    struct qv_log_waiter waiter; /* first */
    uint64_t upto;
};

struct run {
    struct qv_env *env;
    struct qv_log *log;
    const char *dir;
    struct qv_log_config config;
    uint64_t next; /* number of the next record */
    uint64_t acked;
    uint64_t commits_left;
    unsigned in_flight;
    struct commit commit[IN_FLIGHT];
    int report; /* a pipe: acknowledged numbers; -1: none */
    int err;
    atomic_bool finished;
    uint64_t replayed, wrong, first;
};

static int on_record(void *arg, const struct qv_log_record *rec, struct qv_bytes change, qv_lsn lsn,
                     qv_lsn lsn_end)
{
    struct run *r = arg;
    uint64_t n = rec->version.clock;
    (void)lsn;
    (void)lsn_end;
    if (r->replayed == 0)
        r->first = n;
    r->wrong += n != r->first + r->replayed || change.n != 100 + n % 400;
    for (size_t i = 0; i < change.n; i++)
        r->wrong += change.p[i] != (uint8_t)(n + i);
    r->replayed++;
    return 0;
}

static void feed(struct run *r);

static void committed(struct qv_log_waiter *w, int err)
{
    struct run *r = w->arg;
    struct commit *c = (struct commit *)w;
    r->err = r->err != 0 ? r->err : err;
    r->acked = c->upto;
    if (r->report >= 0 && write(r->report, &c->upto, sizeof c->upto) != (ssize_t)sizeof c->upto)
        r->err = QV_EIO;
    r->in_flight--;
    c->waiter.arg = NULL; /* free */
    if (r->acked > 2000 && r->config.replay_from == 0)
        qv_log_release(r->log, w->lsn / 2);
    feed(r);
}

static void feed(struct run *r)
{
    uint8_t bytes[500];
    for (size_t k = 0; k < IN_FLIGHT && r->commits_left > 0; k++) {
        struct commit *c = &r->commit[k];
        if (c->waiter.arg != NULL)
            continue;
        int err = 0;
        for (int i = 0; i < BATCH && err == 0; i++) {
            size_t n = 100 + r->next % 400;
            for (size_t b = 0; b < n; b++)
                bytes[b] = (uint8_t)(r->next + b);
            struct qv_log_record rec = {.shard = 3, .version = {.clock = r->next}};
            struct qv_bytes part = {bytes, n};
            err = qv_log_append(r->log, &rec, &part, 1, NULL);
            r->next += err == 0;
        }
        if (err != 0 && err != QV_EBUSY)
            r->err = err;
        r->commits_left--;
        r->in_flight++;
        c->upto = r->next;
        c->waiter.done = committed;
        c->waiter.arg = r;
        qv_log_commit(r->log, &c->waiter);
    }
    atomic_store(&r->finished, r->commits_left == 0 && r->in_flight == 0);
}

static void start(void *arg)
{
    struct run *r = arg;
    struct qv_errmsg msg = {""};
    r->err = qv_log_open(r->env, r->dir, &r->config, &r->log, &msg);
    if (r->err != 0)
        printf("%s\n", msg.text);
    else
        feed(r);
    if (r->err != 0)
        atomic_store(&r->finished, true);
}

static void closed(void *arg, int err)
{
    struct run *r = arg;
    r->err = r->err != 0 ? r->err : err;
    r->log = NULL;
    atomic_store(&r->finished, true);
}

static void stop(void *arg)
{
    struct run *r = arg;
    atomic_store(&r->finished, false);
    qv_log_close(r->log, closed, r);
}

static void wait_finished(struct run *r)
{
    while (!atomic_load(&r->finished))
        usleep(500);
}

static struct run *run_make(const char *dir)
{
    struct run *r = qv_mem_calloc(1, sizeof *r);
    r->dir = dir;
    r->report = -1;
    r->config = (struct qv_log_config){
        .segment_bytes = 1 << 18, .group_bytes = 1 << 15, .on_record = on_record, .arg = r};
    return r;
}

static void remove_dir(const char *dir)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

static void test_runs_and_comes_back(void **state)
{
    (void)state;
    char dir[] = "/tmp/qv_log_XXXXXX";
    struct qv_uv_env_config c = {.pin_cpu = -1};
    struct qv_uv_env *u = NULL;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(qv_uv_env_create(&c, &u, NULL), 0);
    struct run *r = run_make(dir);
    r->env = qv_uv_env_env(u);
    r->commits_left = COMMITS;
    qv_uv_env_call(u, start, r);
    wait_finished(r);
    assert_int_equal(r->err, 0);
    uint64_t acked = r->acked;
    assert_int_equal(acked, r->next);
    qv_uv_env_call(u, stop, r);
    wait_finished(r);
    assert_int_equal(r->err, 0);

    struct run *again = run_make(dir);
    again->env = r->env;
    again->config.replay_from = QV_LOG_FROM_OLDEST;
    qv_uv_env_call(u, start, again);
    assert_int_equal(again->err, 0);
    assert_int_equal(again->wrong, 0);
    assert_int_equal(again->first + again->replayed, acked);
    assert_true(again->first > 0); /* released ones are gone */
    qv_uv_env_call(u, stop, again);
    wait_finished(again);
    struct qv_log_summary sum;
    struct qv_disk *disk = r->env->disk;
    again->replayed = 0;
    assert_int_equal(qv_log_check(disk, dir, &again->config, &sum, NULL), 0);
    assert_int_equal(sum.records, again->replayed);
    qv_uv_env_destroy(&u);
    qv_mem_free(r);
    qv_mem_free(again);
    remove_dir(dir);
}

/* A child writes until it is killed; what it said was acknowledged is there. */
static void test_survives_kill(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        char dir[] = "/tmp/qv_log_XXXXXX";
        int pipes[2];
        assert_non_null(mkdtemp(dir));
        assert_int_equal(pipe(pipes), 0);
        fflush(stdout);
        pid_t child = fork();
        assert_true(child >= 0);
        struct qv_uv_env_config c = {.pin_cpu = -1};
        struct qv_uv_env *u = NULL;
        struct run *r = run_make(dir);
        if (child == 0) {
            if (qv_uv_env_create(&c, &u, NULL) != 0)
                _exit(1);
            r->env = qv_uv_env_env(u);
            r->report = pipes[1];
            r->commits_left = UINT64_MAX;
            r->config.replay_from = 1; /* nothing is released */
            qv_uv_env_call(u, start, r);
            pause();
            _exit(1);
        }
        close(pipes[1]);
        uint64_t acked = 0;
        uint64_t got;
        for (int i = 0; i < 30 + 17 * round && read(pipes[0], &got, sizeof got) == sizeof got; i++)
            acked = got;
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(pipes[0], &got, sizeof got) == sizeof got)
            acked = got;
        close(pipes[0]);
        assert_true(acked > 0);
        assert_int_equal(qv_uv_env_create(&c, &u, NULL), 0);
        r->env = qv_uv_env_env(u);
        qv_uv_env_call(u, start, r);
        assert_int_equal(r->err, 0);
        assert_int_equal(r->wrong, 0);
        assert_true(r->replayed >= acked);
        qv_uv_env_call(u, stop, r);
        wait_finished(r);
        qv_uv_env_destroy(&u);
        qv_mem_free(r);
        remove_dir(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_and_comes_back),
        cmocka_unit_test(test_survives_kill),
    };
    return RUN_SUITE(tests);
}
