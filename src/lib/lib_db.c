/* Opening, saving and closing a database; its collections. */
#include "lib/lib_private.h"

#include "base/logger.h"
#include "base/mem.h"
#include "io/dir_lock.h"
#include "io/disk_posix.h"
#include "simd/kernels.h"
#include "storage/kv_rocks.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define THREADS_MAX 64u

/* Fields up to the last of the first version. */
#define OPTIONS_BYTES_MIN                                                                          \
    (offsetof(struct quiver_options, checkpoint_s) +                                               \
     sizeof(((struct quiver_options *)0)->checkpoint_s))

/* ---- waiting ---- */

void qv_lib_wait_init(struct qv_lib_wait *w)
{
    memset(w, 0, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->cond, NULL);
}

void qv_lib_wait_end(struct qv_lib_wait *w, int err)
{
    pthread_mutex_lock(&w->lock);
    w->done = true;
    w->err = err;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

int qv_lib_wait_for(struct qv_lib_wait *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->done)
        pthread_cond_wait(&w->cond, &w->lock);
    int err = w->err;
    pthread_mutex_unlock(&w->lock);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->lock);
    return err;
}

/* ---- readers ---- */

unsigned qv_lib_reader_take(struct quiver *db)
{
    pthread_mutex_lock(&db->lock);
    while (db->reader_count == 0)
        pthread_cond_wait(&db->reader_free, &db->lock);
    unsigned reader = db->readers[--db->reader_count];
    pthread_mutex_unlock(&db->lock);
    return reader;
}

void qv_lib_reader_give(struct quiver *db, unsigned reader)
{
    pthread_mutex_lock(&db->lock);
    db->readers[db->reader_count++] = reader;
    pthread_cond_signal(&db->reader_free);
    pthread_mutex_unlock(&db->lock);
}

/* ---- open ---- */

static int check_options(const struct quiver_options *o, struct qv_errmsg *msg)
{
    if (o->threads > THREADS_MAX)
        return qv_fail(msg, QV_EINVAL, "threads: %u, at most %u are allowed", o->threads,
                       THREADS_MAX);
    if (o->log_segment_mb > 1024)
        return qv_fail(msg, QV_EINVAL, "log_segment_mb: %u, at most 1024", o->log_segment_mb);
    if (o->checkpoint_mb > 4096)
        return qv_fail(msg, QV_EINVAL, "checkpoint_mb: %u, at most 4096", o->checkpoint_mb);
    if (o->checkpoint_s > 86400)
        return qv_fail(msg, QV_EINVAL, "checkpoint_s: %u, at most 86400", o->checkpoint_s);
    return 0;
}

static unsigned core_count(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores > (long)THREADS_MAX ? THREADS_MAX : (unsigned)cores;
}

struct opening {
    struct quiver *db;
    const struct quiver_options *options;
    struct qv_errmsg msg;
    int err;
};

static void open_node(void *arg)
{
    struct opening *x = arg;
    struct qv_node_config config = {
        .env = qv_uv_env_env(x->db->env),
        .kv = x->db->kv,
        .dir = x->db->dir,
        .segment_bytes = (uint64_t)x->options->log_segment_mb << 20,
        .checkpoint_bytes = (uint64_t)x->options->checkpoint_mb << 20,
        .checkpoint_ms = (uint64_t)x->options->checkpoint_s * 1000,
    };
    x->err = qv_node_open(&config, &x->db->node, &x->msg);
}

static struct quiver *db_alloc(const char *dir, const struct quiver_options *o)
{
    struct quiver *db = qv_mem_calloc(1, sizeof *db);
    db->dir = qv_mem_strdup(dir);
    db->lock_fd = -1;
    db->threads = o->threads != 0 ? o->threads : core_count();
    pthread_mutex_init(&db->lock, NULL);
    pthread_mutex_init(&db->save_lock, NULL);
    pthread_cond_init(&db->reader_free, NULL);
    for (unsigned reader = QV_EPOCH_READERS_MAX; reader-- > db->threads;)
        db->readers[db->reader_count++] = reader;
    return db;
}

static void db_free(struct quiver *db)
{
    if (db->env != NULL)
        qv_uv_env_destroy(&db->env);
    if (db->kv != NULL)
        qv_kv_rocks_destroy(&db->kv);
    if (db->disk != NULL)
        qv_disk_posix_destroy(&db->disk);
    qv_dir_unlock(&db->lock_fd);
    pthread_cond_destroy(&db->reader_free);
    pthread_mutex_destroy(&db->save_lock);
    pthread_mutex_destroy(&db->lock);
    qv_mem_free(db->dir);
    qv_mem_free(db);
}

/* QV_ENOTFOUND when dir holds no database. */
static int check_there(const char *dir, struct qv_errmsg *msg)
{
    char path[4096];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/meta", dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return qv_fail(msg, QV_EINVAL, "the path of the directory is too long");
    if (stat(path, &st) == 0)
        return 0;
    int err = errno == ENOENT || errno == ENOTDIR ? QV_ENOTFOUND : QV_EIO;
    return qv_fail(msg, err, "%s holds no database: %s: %s", dir, path, strerror(errno));
}

static int db_start(struct quiver *db, const struct quiver_options *o, struct qv_errmsg *msg)
{
    struct opening x = {.db = db, .options = o};
    struct qv_uv_env_config env = {.compute_threads = db->threads, .io_threads = 2, .pin_cpu = -1};
    db->disk = env.disk = qv_disk_posix_create();
    int err = qv_disk_mkdir_all(db->disk, db->dir, msg);
    if (err == 0)
        err = qv_dir_lock(db->dir, &db->lock_fd, msg);
    if (err != 0)
        return err;
    db->kv = qv_kv_rocks_create(NULL);
    err = qv_uv_env_create(&env, &db->env, msg);
    if (err != 0)
        return err;
    qv_uv_env_call(db->env, open_node, &x);
    *msg = x.msg;
    return x.err;
}

/* Threads inherit the mask of the one that starts them: signals are the program's business. */
static int db_start_quietly(struct quiver *db, const struct quiver_options *o,
                            struct qv_errmsg *msg)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = db_start(db, o, msg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

static int open_dir(const char *dir, const struct quiver_options *options, bool must_exist,
                    struct quiver **db, struct quiver_error *why)
{
    struct quiver_options o = QUIVER_OPTIONS_INIT;
    struct qv_errmsg msg = {""};
    *db = NULL;
    qv_lib_clear(why);
    if (dir == NULL || dir[0] == '\0')
        return qv_lib_refuse(why, QV_EINVAL, "dir: empty");
    if (options != NULL && qv_lib_options(&o, sizeof o, options, OPTIONS_BYTES_MIN) != 0)
        return qv_lib_refuse(why, QV_EINVAL, "options: size is not set: use QUIVER_OPTIONS_INIT");
    int err = check_options(&o, &msg);
    if (err == 0)
        err = qv_simd_select(getenv("QUIVER_ISA"), &msg);
    if (err == 0 && must_exist)
        err = check_there(dir, &msg);
    if (err != 0)
        return qv_lib_fail(why, err, &msg);
    struct quiver *x = db_alloc(dir, &o);
    err = db_start_quietly(x, &o, &msg);
    if (err != 0) {
        db_free(x);
        return qv_lib_fail(why, err, &msg);
    }
    *db = x;
    return 0;
}

/* The logger's own default is a server's; nobody has asked a library to speak. */
__attribute__((constructor)) static void start_silent(void)
{
    qv_logger_set_level(QV_LOG_SILENT);
}

int quiver_open(const char *dir, const struct quiver_options *options, struct quiver **db,
                struct quiver_error *why)
{
    return open_dir(dir, options, false, db, why);
}

int quiver_load(const char *dir, const struct quiver_options *options, struct quiver **db,
                struct quiver_error *why)
{
    return open_dir(dir, options, true, db, why);
}

/* ---- save, close ---- */

struct saving {
    struct quiver *db;
    struct qv_lib_wait wait;
};

static void saved(void *arg, int err)
{
    struct saving *x = arg;
    qv_lib_wait_end(&x->wait, err);
}

static void begin_save(void *arg)
{
    struct saving *x = arg;
    qv_node_checkpoint(x->db->node, saved, x);
}

int quiver_save(struct quiver *db, struct quiver_error *why)
{
    struct saving x = {.db = db};
    qv_lib_clear(why);
    qv_lib_wait_init(&x.wait);
    pthread_mutex_lock(&db->save_lock);
    qv_uv_env_call(db->env, begin_save, &x);
    int err = qv_lib_wait_for(&x.wait);
    pthread_mutex_unlock(&db->save_lock);
    return qv_lib_fail(why, err, NULL);
}

static void begin_close(void *arg)
{
    struct saving *x = arg;
    qv_node_close(x->db->node, saved, x);
}

int quiver_close(struct quiver **p, struct quiver_error *why)
{
    struct quiver *db = *p;
    qv_lib_clear(why);
    if (db == NULL)
        return 0;
    pthread_mutex_lock(&db->lock);
    unsigned handles = db->handles;
    pthread_mutex_unlock(&db->lock);
    if (handles != 0)
        return qv_lib_refuse(why, QV_EBUSY, "%u collection handle%s still open", handles,
                             handles == 1 ? " is" : "s are");
    struct saving x = {.db = db};
    qv_lib_wait_init(&x.wait);
    qv_uv_env_call(db->env, begin_close, &x);
    int err = qv_lib_wait_for(&x.wait);
    db->node = NULL;
    db_free(db);
    *p = NULL;
    return qv_lib_fail(why, err, NULL);
}

/* ---- statistics ---- */

static void put_stats(void *out, const void *all, size_t bytes)
{
    size_t given;
    memcpy(&given, out, sizeof given);
    memcpy((char *)out + sizeof given, (const char *)all + sizeof given,
           (given < bytes ? given : bytes) - sizeof given);
}

int quiver_get_stats(struct quiver *db, struct quiver_stats *out, struct quiver_error *why)
{
    struct quiver_stats all = QUIVER_STATS_INIT;
    struct quiver_stats given;
    struct qv_store_stats store;
    qv_lib_clear(why);
    if (qv_lib_options(&given, sizeof given, out, sizeof given.size) != 0)
        return qv_lib_refuse(why, QV_EINVAL, "stats: size is not set: use QUIVER_STATS_INIT");
    qv_node_stats(db->node, &store);
    const struct qv_topology *t = qv_node_topology(db->node);
    for (uint32_t i = 0; i < t->count; i++) {
        struct qv_shard_info info;
        qv_node_shard_info(db->node, t->collections[i], &info);
        all.points += info.points;
        all.quarantined += info.err == QV_ECORRUPT;
    }
    all.collections = t->count;
    qv_topology_unref(t);
    all.checkpoints = store.checkpoints;
    all.checkpoint_failures = store.checkpoint_failures;
    all.log_bytes = store.log.disk_bytes;
    put_stats(out, &all, sizeof all);
    return 0;
}

/* Of one that was dropped err says so, as its shard would. Gives in how many it is divided. */
static uint32_t collection_info(struct quiver_collection *c, struct qv_shard_info *out)
{
    const struct qv_topology *t;
    const struct qv_collection *found;
    if (c->shard != NULL) {
        qv_shard_info(c->shard, out);
        return 1;
    }
    memset(out, 0, sizeof *out);
    out->err = qv_lib_find(c, &t, &found, NULL);
    if (out->err != 0)
        return 0;
    qv_node_shard_info(c->db->node, found, out);
    const uint32_t shards = found->shard_count;
    qv_topology_unref(t);
    return shards;
}

/* A reference to the i-th shard. */
static int shard_at(struct quiver_collection *c, uint32_t i, struct qv_shard **out,
                    struct qv_errmsg *msg)
{
    const struct qv_topology *t;
    const struct qv_collection *found;
    uint32_t count = 1;
    int err = 0;
    if (c->shard != NULL) {
        *out = c->shard;
        if (i == 0)
            qv_shard_ref(c->shard);
    } else {
        err = qv_lib_find(c, &t, &found, msg);
        if (err != 0)
            return err;
        count = found->shard_count;
        if (i < count)
            err = qv_node_shard_at(c->db->node, found, i, out, msg);
        qv_topology_unref(t);
    }
    return i < count ? err : qv_fail(msg, QV_EINVAL, "shard %u: the collection has %u", i, count);
}

int quiver_get_shard_stats(struct quiver_collection *c, uint32_t shard,
                           struct quiver_shard_stats *out, struct quiver_error *why)
{
    struct quiver_shard_stats all = QUIVER_SHARD_STATS_INIT;
    struct quiver_shard_stats given;
    struct qv_shard_info info;
    struct qv_shard *s;
    struct qv_errmsg msg = {""};
    qv_lib_clear(why);
    if (qv_lib_options(&given, sizeof given, out, sizeof given.size) != 0)
        return qv_lib_refuse(why, QV_EINVAL, "stats: size is not set: use QUIVER_SHARD_STATS_INIT");
    int err = shard_at(c, shard, &s, &msg);
    if (err != 0)
        return qv_lib_fail(why, err, &msg);
    qv_shard_info(s, &info);
    qv_shard_unref(s);
    all.points = info.points;
    all.indexed_vectors = info.indexed_vectors;
    all.pending = info.pending;
    all.disk_bytes = info.disk_bytes;
    all.dirty_bytes = info.dirty_bytes;
    all.err = info.err == 0 ? 0 : qv_lib_fail(NULL, info.err, NULL);
    put_stats(out, &all, sizeof all);
    return 0;
}

int quiver_get_collection_stats(struct quiver_collection *c, struct quiver_collection_stats *out,
                                struct quiver_error *why)
{
    struct quiver_collection_stats all = QUIVER_COLLECTION_STATS_INIT;
    struct quiver_collection_stats given;
    struct qv_shard_info info;
    qv_lib_clear(why);
    if (qv_lib_options(&given, sizeof given, out, sizeof given.size) != 0)
        return qv_lib_refuse(why, QV_EINVAL,
                             "stats: size is not set: use QUIVER_COLLECTION_STATS_INIT");
    all.shards = collection_info(c, &info);
    all.points = info.points;
    all.indexed_vectors = info.indexed_vectors;
    all.pending = info.pending;
    all.disk_bytes = info.disk_bytes;
    all.dirty_bytes = info.dirty_bytes;
    all.err = info.err == 0 ? 0 : qv_lib_fail(NULL, info.err, NULL);
    put_stats(out, &all, sizeof all);
    return 0;
}
