/* Opening a store: shards from their checkpoints, then the log over them. */
#include "shard/store_private.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MAX_BYTES 4096
#define BULK_ROWS_MIN 5000u /* half a second of insertions */
#define REPLAY_ARENA_BYTES ((size_t)1 << 30)

static void config_defaults(struct qv_store_config *c)
{
    if (c->checkpoint_bytes == 0)
        c->checkpoint_bytes = (uint64_t)64 << 20;
    if (c->log_bytes_max == 0)
        c->log_bytes_max = (uint64_t)1 << 30;
    if (c->checkpoint_ms == 0)
        c->checkpoint_ms = 60000;
    if (c->slots_max == 0)
        c->slots_max = 1u << 26;
    if (c->pending_bytes_max == 0)
        c->pending_bytes_max = (uint64_t)256 << 20;
    if (c->unindexed_max == 0)
        c->unindexed_max = QV_UNINDEXED_ROWS_MAX;
    if (c->bulk_rows_min == 0)
        c->bulk_rows_min = BULK_ROWS_MIN;
}

struct qv_store *qv_store_alloc(const struct qv_store_config *config)
{
    struct qv_store *st = qv_mem_calloc(1, sizeof *st);
    st->config = *config;
    config_defaults(&st->config);
    st->env = config->env;
    pthread_mutex_init(&st->text_lock, NULL);
    st->dir = qv_mem_strdup(config->dir);
    st->config.dir = st->dir;
    st->workers = qv_env_worker_count(st->env, QV_JOB_BATCH);
    st->ctx = qv_mem_calloc(QV_EPOCH_READERS_MAX, sizeof(struct qv_hnsw_ctx *));
    QV_ASSERT(st->workers < QV_EPOCH_READERS_MAX);
    return st;
}

/* ---- replay ---- */

static int replay_record(void *arg, const struct qv_log_record *rec, struct qv_bytes change,
                         qv_lsn lsn, qv_lsn lsn_end)
{
    struct qv_store *st = arg;
    struct qv_arena arena;
    struct qv_group g = {.version = rec->version, .end = lsn_end, .generation = rec->generation};
    struct qv_errmsg msg = {""};
    struct qv_shard *s = qv_store_shard(st, rec->shard);
    (void)lsn;
    if (rec->version.clock > st->clock.last)
        st->clock.last = rec->version.clock;
    if (s == NULL || lsn_end <= s->applied_lsn || atomic_load(&s->state) != QV_SHARD_OPEN)
        return 0; /* dropped, in its checkpoint already, or quarantined */
    qv_arena_init(&arena, REPLAY_ARENA_BYTES);
    int err = qv_shard_decode_group(s, &arena, rec->type, change, &g, &msg);
    if (err == 0)
        err = qv_shard_reserve(s, g.count, &msg);
    if (err == 0)
        err = qv_shard_apply(s, &g, &msg);
    qv_arena_close(&arena);
    if (err == QV_ECORRUPT) {
        qv_shard_quarantine(s, QV_ECORRUPT, msg.text);
        return 0;
    }
    if (err != 0) {
        st->replay_msg = msg;
        return err;
    }
    qv_shard_applied(s, &g);
    if (g.stream == 0)
        s->prev_clock = s->logged_clock = rec->version.clock;
    return 0;
}

/* Records of any shard may be lost there: those whose checkpoint is behind it lose nothing. */
static int replay_damage(void *arg, const struct qv_log_damage *d)
{
    struct qv_store *st = arg;
    struct qv_errmsg why;
    qv_fail(&why, QV_ECORRUPT, "log file %s, offset %llu: %s", d->file,
            (unsigned long long)d->offset, d->what);
    for (uint32_t i = 0; i < st->shard_count; i++) {
        struct qv_shard *s = st->shards[i];
        if ((d->to == 0 || s->checkpoint_lsn < d->to) && atomic_load(&s->state) == QV_SHARD_OPEN)
            qv_shard_quarantine(s, QV_ECORRUPT, why.text);
    }
    return 0;
}

static int open_log(struct qv_store *st, struct qv_errmsg *msg)
{
    char path[PATH_MAX_BYTES];
    qv_lsn from = UINT64_MAX;
    qv_lsn durable = 0;
    int err = qv_store_read_file(st->env->disk, st->dir, &st->released, msg);
    if (err != 0)
        return err;
    for (uint32_t i = 0; i < st->shard_count; i++) {
        const struct qv_shard *s = st->shards[i];
        if (s->checkpoint_lsn < from)
            from = s->checkpoint_lsn;
        if (s->checkpoint_lsn > durable)
            durable = s->checkpoint_lsn;
    }
    if (st->config.log_from != 0 && st->config.log_from < from)
        from = st->config.log_from; /* what feeds will ask for is looked at, too */
    if (from == UINT64_MAX || from < st->released)
        from = st->released;
    snprintf(path, sizeof path, "%s/log", st->dir);
    struct qv_log_config config = {.segment_bytes = st->config.segment_bytes,
                                   .replay_from = from,
                                   .durable_to = durable > st->released ? durable : st->released,
                                   .on_record = replay_record,
                                   .on_damage = replay_damage,
                                   .arg = st};
    err = qv_log_open(st->env, path, &config, &st->log, msg);
    if (err != 0 && st->replay_msg.text[0] != '\0')
        *msg = st->replay_msg;
    return err;
}

/* ---- directories that the metadata does not know ---- */

struct leftovers {
    const struct qv_shard_spec *specs;
    uint32_t spec_count;
    uint32_t *numbers;
    uint32_t count, cap;
};

static bool find_leftover(void *arg, const char *name, bool is_dir)
{
    struct leftovers *l = arg;
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    if (!is_dir || *end != '\0' || number > UINT32_MAX)
        return true;
    for (uint32_t i = 0; i < l->spec_count; i++) {
        if (l->specs[i].number == number)
            return true;
    }
    if (l->count == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 8;
        l->numbers = qv_mem_realloc(l->numbers, l->cap * sizeof *l->numbers);
    }
    l->numbers[l->count++] = (uint32_t)number;
    return true;
}

static int remove_leftovers(struct qv_store *st, const struct qv_shard_spec *specs, uint32_t n,
                            struct qv_errmsg *msg)
{
    struct leftovers l = {.specs = specs, .spec_count = n};
    char path[PATH_MAX_BYTES];
    snprintf(path, sizeof path, "%s/shards", st->dir);
    int err = qv_disk_list(st->env->disk, path, find_leftover, &l, msg);
    for (uint32_t i = 0; i < l.count && err == 0; i++) {
        snprintf(path, sizeof path, "%s/shards/%u", st->dir, l.numbers[i]);
        QV_INFO("store", "removing %s: no collection has it", path);
        qv_store_remove_shard_dir(st, path);
    }
    qv_mem_free(l.numbers);
    return err;
}

/* ---- open ---- */

int qv_store_open_shards(struct qv_store *st, const struct qv_shard_spec *specs, uint32_t n,
                         struct qv_errmsg *msg)
{
    st->shards = qv_mem_calloc(n, sizeof(struct qv_shard *));
    st->shard_cap = n;
    for (uint32_t i = 0; i < n; i++) {
        int err = qv_shard_open(st, &specs[i], &st->shards[st->shard_count], msg);
        if (err != 0)
            return err;
        st->shard_count++;
    }
    return 0;
}

static int open_once(const struct qv_store_config *config, const struct qv_shard_spec *specs,
                     uint32_t spec_count, struct qv_store **out, struct qv_errmsg *msg)
{
    char path[PATH_MAX_BYTES];
    struct qv_store *st = qv_store_alloc(config);
    snprintf(path, sizeof path, "%s/shards", st->dir);
    int err = qv_disk_mkdir_all(st->env->disk, path, msg);
    if (err == 0)
        err = remove_leftovers(st, specs, spec_count, msg);
    if (err == 0)
        err = qv_store_open_shards(st, specs, spec_count, msg);
    if (err == 0)
        err = open_log(st, msg);
    if (err != 0) {
        qv_store_abandon(st);
        return err;
    }
    uint64_t high_water = qv_log_clock(st->log);
    if (st->clock.last > high_water)
        high_water = st->clock.last;
    qv_clock_init(&st->clock, config->writer, high_water);
    for (uint32_t i = 0; i < st->shard_count; i++) {
        struct qv_shard *s = st->shards[i];
        s->applied_lsn = qv_log_end(st->log);
        /* A restored shard may hold changes of another node's clock. */
        if (s->last_version.clock > st->clock.last)
            st->clock.last = s->last_version.clock;
    }
    qv_store_start(st);
    *out = st;
    return 0;
}

int qv_store_open(const struct qv_store_config *config, const struct qv_shard_spec *specs,
                  uint32_t spec_count, struct qv_store **out, struct qv_errmsg *msg)
{
    int err = open_once(config, specs, spec_count, out, msg);
    if (err == QV_ENOSPC && qv_reserve_use(config->env->disk, config->dir))
        err = open_once(config, specs, spec_count, out, msg);
    return err;
}
