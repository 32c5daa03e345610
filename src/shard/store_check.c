/* `quiver check`: a stopped store is read as an open reads it, and more of it, without changing a
 * byte: row files and payload stores are opened for reading only, the log's records are decoded and
 * not applied. Everything that is wrong is told: where, and what it affects. */
#include "shard/store_private.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define PATH_MAX_BYTES 4096
#define TOLD_MAX 100u /* places of one kind in a shard; the rest is counted */
#define ARENA_BYTES ((size_t)1 << 30)
#define STEP_SLOTS 4096u

struct check {
    struct qv_store *st;
    const struct qv_store_listener *listener;
    struct qv_store_check_summary *out;
    uint64_t done, total; /* slots */
};

static void found(struct check *c, uint32_t shard, const char *file, const char *what)
{
    struct qv_store_finding f = {.shard = shard, .file = file, .what = what};
    c->out->findings++;
    c->listener->report(c->listener->arg, &f);
}

static void tell_more(struct check *c, const struct qv_shard *s, uint64_t n, const char *what)
{
    char text[160];
    if (n <= TOLD_MAX)
        return;
    snprintf(text, sizeof text, "%llu more %s", (unsigned long long)(n - TOLD_MAX), what);
    found(c, s->number, s->dir, text);
}

/* ---- a shard ---- */

static void check_row(struct check *c, struct qv_shard *s, qv_slot slot, uint64_t *bad)
{
    for (uint32_t v = 0; v < s->vector_count; v++) {
        char id[QV_ID_TEXT_MAX];
        char what[256];
        const struct qv_shard_vector *sv = &s->vectors[v];
        if (sv->life != QV_VECTOR_IN || !qv_slot_table_is_live(&s->slots, v, slot) ||
            qv_shard_row_good(s, v, slot))
            continue;
        struct qv_id point = qv_slot_table_id(&s->slots, slot);
        qv_id_format(&point, id);
        snprintf(what, sizeof what, "offset %llu: row %u, a vector of point %s, fails its checksum",
                 4096 + (unsigned long long)slot * sv->view.stride_bytes, slot, id);
        if (++*bad <= TOLD_MAX)
            found(c, s->number, qv_rowfile_path(sv->rows), what);
    }
}

static void check_record(struct check *c, struct qv_shard *s, qv_slot slot, uint64_t *bad)
{
    struct qv_arena arena;
    struct qv_copy copy;
    struct qv_errmsg msg = {""};
    char kv[PATH_MAX_BYTES];
    char id_text[QV_ID_TEXT_MAX];
    char what[640];
    bool known;
    struct qv_id id = qv_slot_table_id(&s->slots, slot);
    qv_arena_init(&arena, ARENA_BYTES);
    int err = qv_shard_load_copy(s, &arena, &id, &copy, &known, &msg);
    if (err == 0 &&
        (!known || !qv_copy_visible(&copy) ||
         qv_version_compare(qv_copy_newest(&copy), qv_slot_table_version(&s->slots, slot)) != 0))
        err = qv_fail(&msg, QV_ECORRUPT, "slot %u: its record is of another version", slot);
    qv_arena_close(&arena);
    if (err == 0 || ++*bad > TOLD_MAX)
        return;
    qv_id_format(&id, id_text);
    snprintf(kv, sizeof kv, "%s/kv", s->dir);
    snprintf(what, sizeof what, "the payload of point %s: %s", id_text, msg.text);
    found(c, s->number, kv, what);
}

static void check_whole(struct check *c, struct qv_shard *s)
{
    struct qv_errmsg msg = {""};
    char path[PATH_MAX_BYTES];
    if (qv_slot_table_check(&s->slots, &msg) != 0)
        found(c, s->number, s->dir, msg.text);
    snprintf(path, sizeof path, "%s/kv", s->dir);
    if (qv_kv_verify(s->kv, &msg) != 0)
        found(c, s->number, path, msg.text);
    for (uint32_t v = 0; v < s->vector_count; v++) {
        struct qv_hnsw_check_report report;
        const struct qv_hnsw *graph = s->vectors[v].graph;
        if (graph != NULL && qv_hnsw_check(graph, &report, &msg) != 0)
            found(c, s->number, s->dir, msg.text);
    }
}

static void check_shard(struct check *c, struct qv_shard *s)
{
    uint64_t rows = 0;
    uint64_t records = 0;
    c->out->shards++;
    if (atomic_load(&s->state) != QV_SHARD_OPEN) {
        found(c, s->number, s->dir, s->reason);
        return;
    }
    c->out->points += s->slots.live_count;
    check_whole(c, s);
    for (qv_slot slot = 0; slot < qv_slot_table_high(&s->slots); slot++) {
        if (c->listener->progress != NULL && ++c->done % STEP_SLOTS == 0)
            c->listener->progress(c->listener->arg, c->done, c->total);
        if (!qv_slot_table_is_live(&s->slots, QV_SLOT_ANY_VECTOR, slot))
            continue;
        check_row(c, s, slot, &rows);
        check_record(c, s, slot, &records);
    }
    tell_more(c, s, rows, "rows fail their checksums");
    tell_more(c, s, records, "payloads can't be read");
}

/* ---- the log ---- */

/* A place that can't be read concerns the shards whose checkpoint does not lie behind it. */
static int check_damage(void *arg, const struct qv_log_damage *d)
{
    struct check *c = arg;
    char what[256];
    uint32_t hit = 0;
    snprintf(what, sizeof what, "offset %llu: %s; changes logged there are lost (lsn %llu on)",
             (unsigned long long)d->offset, d->what, (unsigned long long)d->from);
    for (uint32_t i = 0; i < c->st->shard_count; i++) {
        const struct qv_shard *s = c->st->shards[i];
        if (d->to != 0 && s->checkpoint_lsn >= d->to)
            continue;
        found(c, s->number, d->file, what);
        hit++;
    }
    if (hit == 0)
        found(c, 0, d->file, what);
    return 0;
}

static int check_log_record(void *arg, const struct qv_log_record *rec, struct qv_bytes change,
                            qv_lsn lsn, qv_lsn lsn_end)
{
    struct check *c = arg;
    struct qv_arena arena;
    struct qv_group g = {0};
    struct qv_errmsg msg = {""};
    char what[640];
    struct qv_shard *s = qv_store_shard(c->st, rec->shard);
    if (s == NULL || lsn_end <= s->checkpoint_lsn || atomic_load(&s->state) != QV_SHARD_OPEN)
        return 0; /* dropped, in its checkpoint already, or told */
    qv_arena_init(&arena, ARENA_BYTES);
    int err = qv_shard_decode_group(s, &arena, rec->type, change, &g, &msg);
    qv_arena_close(&arena);
    if (err != 0) {
        snprintf(what, sizeof what, "lsn %llu: %s", (unsigned long long)lsn, msg.text);
        found(c, s->number, "log", what);
    }
    return 0;
}

static int check_log(struct check *c, struct qv_errmsg *msg)
{
    struct qv_store *st = c->st;
    struct qv_log_summary summary = {0};
    char path[PATH_MAX_BYTES];
    qv_lsn from = UINT64_MAX;
    qv_lsn durable = st->released;
    for (uint32_t i = 0; i < st->shard_count; i++) {
        const struct qv_shard *s = st->shards[i];
        from = s->checkpoint_lsn < from ? s->checkpoint_lsn : from;
        durable = s->checkpoint_lsn > durable ? s->checkpoint_lsn : durable;
    }
    if (from == UINT64_MAX || from < st->released)
        from = st->released;
    snprintf(path, sizeof path, "%s/log", st->dir);
    struct qv_log_config log = {.replay_from = from,
                                .durable_to = durable,
                                .on_record = check_log_record,
                                .on_damage = check_damage,
                                .arg = c};
    int err = qv_log_check(st->env->disk, path, &log, &summary, msg);
    if (summary.newest_bad) {
        snprintf(path, sizeof path, "%s/log/newest", st->dir);
        found(c, 0, path, "fails its checksum; nothing is lost by that, the next start renews it");
    }
    c->out->log_records = summary.records;
    return err == QV_ECORRUPT && c->out->findings > 0 ? 0 : err; /* told through check_damage */
}

int qv_store_check(const struct qv_store_config *config, const struct qv_shard_spec *specs,
                   uint32_t spec_count, const struct qv_store_listener *listener,
                   struct qv_store_check_summary *out, struct qv_errmsg *msg)
{
    struct qv_store *st = qv_store_alloc(config);
    struct check c = {.st = st, .listener = listener, .out = out};
    char path[PATH_MAX_BYTES];
    st->checking = true;
    memset(out, 0, sizeof *out);
    int err = qv_store_read_file(st->env->disk, st->dir, &st->released, msg);
    if (err == QV_ECORRUPT) {
        snprintf(path, sizeof path, "%s/store", st->dir);
        found(&c, 0, path, msg->text);
        err = 0;
    }
    if (err == 0)
        err = qv_store_open_shards(st, specs, spec_count, msg);
    for (uint32_t i = 0; i < st->shard_count && err == 0; i++)
        c.total += qv_slot_table_high(&st->shards[i]->slots);
    for (uint32_t i = 0; i < st->shard_count && err == 0; i++)
        check_shard(&c, st->shards[i]);
    if (err == 0)
        err = check_log(&c, msg);
    qv_store_abandon(st);
    return err;
}
