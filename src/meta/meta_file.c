/* One request at a time: each takes its turn in a timer that fires at once, a transaction stays at
 * the head while its job writes. (A timer, not a posted task: it can be stopped by close.) */
#include "meta/meta_file.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "core/meta_tree.h"

#define FILE_HISTORY 1000u
#define FILE_HEAD_BYTES 16u /* of a record: revision, lease */

struct meta_file {
    struct qv_meta base; /* first */
    struct qv_records *records;
    struct qv_meta_tree tree;
    struct qv_meta_calls queue;
    struct qv_meta_calls watches;
    struct qv_meta_calls leases;
    uint64_t last_lease;
    struct qv_timer timer;
    bool closing;
    /* The transaction at work, and what its job has. */
    struct qv_job job;
    bool working;
    struct qv_meta_call *at_work; /* NULL: closed meanwhile */
    struct qv_meta_change *bound; /* of a revocation; owned */
    const struct qv_meta_change *changes;
    uint32_t change_count;
    struct qv_records_change *rows;
    struct qv_buf bytes;
    int job_err;
    struct qv_errmsg job_msg;
};

static struct meta_file *file_of(struct qv_meta *m)
{
    return (struct meta_file *)m;
}

static void wake(struct meta_file *f)
{
    if (!qv_env_timer_active(&f->timer))
        qv_env_timer_start(f->base.env, &f->timer, 0);
}

static void enqueue(struct meta_file *f, struct qv_meta_call *c, enum qv_meta_call_kind kind,
                    int err)
{
    QV_ASSERT(c->meta == NULL);
    c->meta = &f->base;
    c->kind = (uint8_t)kind;
    c->err = err;
    qv_meta_calls_add(&f->queue, c);
    wake(f);
}

/* ---- answers ---- */

static void list_done(struct meta_file *f, struct qv_meta_listing *l, int err)
{
    struct qv_meta_events e = {0};
    if (err == 0) {
        qv_meta_tree_list(&f->tree, l->prefix, &e);
        l->entries = e.entries;
        l->count = e.count;
        l->revision = f->tree.revision;
    }
    l->call.meta = NULL;
    l->done(l, err);
    qv_meta_events_close(&e); /* holds references: l may be gone, the tree changed */
}

static void txn_done(struct qv_meta_txn *t, int err)
{
    t->call.meta = NULL;
    t->done(t, err);
}

static void watch_end(struct meta_file *f, struct qv_meta_watch *w, int err)
{
    qv_meta_calls_remove(&f->watches, &w->call);
    w->call.meta = NULL;
    w->ended(w, err);
}

static void lease_end(struct meta_file *f, struct qv_meta_lease *l, int err)
{
    qv_meta_calls_remove(&f->leases, &l->call);
    l->call.meta = NULL;
    l->id = 0;
    l->lost(l, err);
}

static bool lease_exists(const struct meta_file *f, uint64_t id)
{
    for (struct qv_meta_call *c = f->leases.first; c != NULL; c = c->next) {
        if (((struct qv_meta_lease *)c)->id == id)
            return true;
    }
    return false;
}

/* One watch that is behind gets what it lacks; false: there was none. The callback may stop watches
 * and start others, so every step begins anew. */
static bool feed_a_watch(struct meta_file *f)
{
    for (struct qv_meta_call *c = f->watches.first; c != NULL; c = c->next) {
        struct qv_meta_watch *w = (struct qv_meta_watch *)c;
        struct qv_meta_events e;
        if (w->from > f->tree.revision)
            continue;
        if (w->from < f->tree.compacted) {
            (void)qv_fail(&w->msg, QV_ESTALE, "revision %llu is no longer known",
                          (unsigned long long)w->from);
            watch_end(f, w, QV_ESTALE);
            return true;
        }
        qv_meta_tree_events(&f->tree, w->prefix, w->from, f->tree.revision, &e);
        w->from = f->tree.revision + 1;
        if (e.count > 0)
            w->events(w, e.entries, e.count, f->tree.revision);
        qv_meta_events_close(&e);
        return true;
    }
    return false;
}

/* ---- transactions ---- */

static void file_free(struct meta_file *f)
{
    qv_records_close(f->records);
    qv_meta_tree_close(&f->tree);
    qv_mem_free(f->bound);
    qv_mem_free(f->rows);
    qv_buf_close(&f->bytes);
    qv_mem_free(f);
}

static void job_run(struct qv_job *job, unsigned worker)
{
    struct meta_file *f = job->arg;
    (void)worker;
    f->job_err =
        qv_records_txn(f->records, f->records->epoch, f->rows, f->change_count, &f->job_msg);
}

/* The changes as records, copied: a close may leave the job alone with them. In two passes, since
 * the buffer moves while it grows. */
static int encode(struct meta_file *f)
{
    qv_buf_clear(&f->bytes);
    f->rows = qv_mem_realloc(f->rows, (f->change_count + 1) * sizeof *f->rows);
    for (uint32_t i = 0; i < f->change_count; i++) {
        const struct qv_meta_change *c = &f->changes[i];
        qv_buf_append(&f->bytes, c->key, strlen(c->key) + 1);
        if (c->value.p == NULL)
            continue;
        qv_buf_u64(&f->bytes, f->tree.revision + 1);
        qv_buf_u64(&f->bytes, c->lease);
        qv_buf_append(&f->bytes, c->value.p, c->value.n);
    }
    size_t at = 0;
    for (uint32_t i = 0; i < f->change_count && !f->bytes.failed; i++) {
        const struct qv_meta_change *c = &f->changes[i];
        size_t key_bytes = strlen(c->key) + 1;
        size_t n = c->value.p == NULL ? 0 : FILE_HEAD_BYTES + c->value.n;
        f->rows[i] = (struct qv_records_change){
            (const char *)f->bytes.data + at,
            {c->value.p == NULL ? NULL : f->bytes.data + at + key_bytes, n}};
        at += key_bytes + n;
    }
    return f->bytes.failed ? QV_ENOMEM : 0;
}

static void work_end(struct meta_file *f, int err)
{
    struct qv_meta_call *c = f->at_work;
    f->at_work = NULL;
    if (err == 0) {
        qv_meta_tree_apply(&f->tree, f->changes, f->change_count);
        if (f->tree.revision > f->tree.compacted + 2 * FILE_HISTORY)
            qv_meta_tree_compact(&f->tree, f->tree.revision - FILE_HISTORY);
        f->base.revision = f->tree.revision;
    }
    qv_mem_free(f->bound);
    f->bound = NULL;
    wake(f);
    if (c->kind == QV_META_CALL_REVOKE) {
        lease_end(f, (struct qv_meta_lease *)c, err);
        return;
    }
    struct qv_meta_txn *t = (struct qv_meta_txn *)c;
    t->revision = f->tree.revision;
    txn_done(t, err);
}

static void job_done(struct qv_job *job)
{
    struct meta_file *f = job->arg;
    f->working = false;
    if (f->closing) {
        file_free(f);
        return;
    }
    int err = f->job_err;
    struct qv_errmsg *msg = f->at_work->kind == QV_META_CALL_TXN
                                ? &((struct qv_meta_txn *)f->at_work)->msg
                                : &((struct qv_meta_lease *)f->at_work)->msg;
    /* A file that could not be replaced for sure may be either one, until the next is written. */
    if (err != 0 && err != QV_ENOSPC && err != QV_ELIMIT && err != QV_ENOMEM)
        err = QV_EUNKNOWN;
    if (err != 0)
        *msg = f->job_msg;
    work_end(f, err);
}

/* Writes the changes; c's callback comes when they are durable. */
static void work_start(struct meta_file *f, struct qv_meta_call *c,
                       const struct qv_meta_change *changes, uint32_t count)
{
    f->at_work = c;
    f->changes = changes;
    f->change_count = count;
    int err = encode(f);
    f->job = (struct qv_job){.run = job_run, .done = job_done, .arg = f};
    if (err == 0)
        err = qv_env_submit(f->base.env, QV_JOB_IO, &f->job);
    f->working = err == 0;
    if (err != 0)
        work_end(f, err == QV_EBUSY ? QV_EUNAVAILABLE : err);
}

static int txn_check(const struct meta_file *f, struct qv_meta_txn *t)
{
    if (!qv_meta_tree_holds(&f->tree, t->compares, t->compare_count))
        return qv_fail(&t->msg, QV_ESTALE, "the metadata has changed");
    for (uint32_t i = 0; i < t->change_count; i++) {
        if (t->changes[i].value.p != NULL && t->changes[i].lease != 0 &&
            !lease_exists(f, t->changes[i].lease))
            return qv_fail(&t->msg, QV_ENOTFOUND, "the lease of key %s has ended",
                           t->changes[i].key);
    }
    if (qv_meta_tree_count_after(&f->tree, t->changes, t->change_count) > QV_META_KEYS_MAX)
        return qv_fail(&t->msg, QV_ELIMIT, "more than %u metadata keys", QV_META_KEYS_MAX);
    return 0;
}

static void txn_begin(struct meta_file *f, struct qv_meta_txn *t)
{
    int err = t->call.err != 0 ? t->call.err : txn_check(f, t);
    t->revision = f->tree.revision;
    if (err != 0 || !qv_meta_tree_moves(&f->tree, t->changes, t->change_count))
        txn_done(t, err);
    else
        work_start(f, &t->call, t->changes, t->change_count);
}

static void revoke_begin(struct meta_file *f, struct qv_meta_lease *l)
{
    uint32_t n = qv_meta_tree_bound(&f->tree, l->id, &f->bound);
    qv_meta_calls_add(&f->leases, &l->call);
    if (n == 0)
        lease_end(f, l, 0);
    else
        work_start(f, &l->call, f->bound, n);
}

static void grant(struct meta_file *f, struct qv_meta_lease *l)
{
    int err = l->call.err;
    if (err != 0) {
        l->call.meta = NULL;
        l->granted(l, err);
        return;
    }
    l->id = ++f->last_lease;
    l->end_boot_ns = UINT64_MAX;
    l->call.kind = QV_META_CALL_HELD;
    qv_meta_calls_add(&f->leases, &l->call);
    l->granted(l, 0);
}

static void begin(struct meta_file *f, struct qv_meta_call *c)
{
    switch ((enum qv_meta_call_kind)c->kind) {
    case QV_META_CALL_LIST:
        list_done(f, (struct qv_meta_listing *)c, c->err);
        return;
    case QV_META_CALL_TXN:
        txn_begin(f, (struct qv_meta_txn *)c);
        return;
    case QV_META_CALL_WATCH:
        qv_meta_calls_add(&f->watches, c);
        if (c->err != 0)
            watch_end(f, (struct qv_meta_watch *)c, c->err);
        return;
    case QV_META_CALL_GRANT:
        grant(f, (struct qv_meta_lease *)c);
        return;
    case QV_META_CALL_HELD:
        break;
    case QV_META_CALL_REVOKE:
        revoke_begin(f, (struct qv_meta_lease *)c);
        return;
    }
    QV_ASSERT(c->kind != QV_META_CALL_HELD);
}

static void turn(struct qv_timer *timer)
{
    struct meta_file *f = timer->arg;
    struct qv_meta_call *c = f->queue.first;
    bool more = feed_a_watch(f);
    if (!more && c != NULL && !f->working) {
        qv_meta_calls_remove(&f->queue, c);
        begin(f, c);
        more = true;
    }
    if (more)
        wake(f);
}

/* ---- the interface ---- */

static void file_list(struct qv_meta *m, struct qv_meta_listing *l)
{
    enqueue(file_of(m), &l->call, QV_META_CALL_LIST, qv_meta_check_listing(l));
}

static void file_txn(struct qv_meta *m, struct qv_meta_txn *t)
{
    enqueue(file_of(m), &t->call, QV_META_CALL_TXN, qv_meta_check_txn(t));
}

static void file_watch_start(struct qv_meta *m, struct qv_meta_watch *w)
{
    enqueue(file_of(m), &w->call, QV_META_CALL_WATCH, qv_meta_check_watch(w));
}

static bool is_queued(const struct meta_file *f, const struct qv_meta_call *c)
{
    const struct qv_meta_call *q = f->queue.first;
    while (q != NULL && q != c)
        q = q->next;
    return q != NULL;
}

static void file_watch_stop(struct qv_meta *m, struct qv_meta_watch *w)
{
    struct meta_file *f = file_of(m);
    if (w->call.meta == NULL)
        return;
    qv_meta_calls_remove(is_queued(f, &w->call) ? &f->queue : &f->watches, &w->call);
    w->call.meta = NULL;
}

static void file_lease_grant(struct qv_meta *m, struct qv_meta_lease *l)
{
    l->id = 0;
    enqueue(file_of(m), &l->call, QV_META_CALL_GRANT, qv_meta_check_lease(l));
}

static void file_lease_revoke(struct qv_meta *m, struct qv_meta_lease *l)
{
    struct meta_file *f = file_of(m);
    QV_ASSERT(l->call.meta == m && l->call.kind == QV_META_CALL_HELD);
    qv_meta_calls_remove(&f->leases, &l->call);
    l->call.meta = NULL;
    l->end_boot_ns = 0;
    enqueue(f, &l->call, QV_META_CALL_REVOKE, 0);
}

static void cancel(struct qv_meta_call *c, int err)
{
    c->meta = NULL;
    if (c->kind == QV_META_CALL_LIST) {
        struct qv_meta_listing *l = (struct qv_meta_listing *)c;
        l->done(l, err);
    } else if (c->kind == QV_META_CALL_TXN) {
        txn_done((struct qv_meta_txn *)c, err);
    } else if (c->kind == QV_META_CALL_WATCH) {
        struct qv_meta_watch *w = (struct qv_meta_watch *)c;
        w->ended(w, err);
    } else {
        struct qv_meta_lease *l = (struct qv_meta_lease *)c;
        if (c->kind == QV_META_CALL_GRANT)
            l->granted(l, err);
        else
            l->lost(l, err);
    }
}

static void cancel_all(struct meta_file *f, struct qv_meta_calls *list)
{
    while (list->first != NULL) {
        struct qv_meta_call *c = list->first;
        qv_meta_calls_remove(list, c);
        cancel(c, c == f->at_work ? QV_EUNKNOWN : QV_ECANCELED);
    }
}

static void file_close(struct qv_meta *m)
{
    struct meta_file *f = file_of(m);
    qv_env_timer_stop(m->env, &f->timer);
    f->closing = true;
    if (f->at_work != NULL && f->at_work->kind == QV_META_CALL_TXN)
        cancel(f->at_work, QV_EUNKNOWN);
    cancel_all(f, &f->queue);
    cancel_all(f, &f->watches);
    cancel_all(f, &f->leases);
    f->at_work = NULL;
    if (!f->working)
        file_free(f);
}

static void file_abandon(struct qv_meta *m)
{
    struct meta_file *f = file_of(m);
    QV_ASSERT(!qv_env_timer_active(&f->timer));
    file_free(f);
}

static const struct qv_meta_ops file_ops = {
    .list = file_list,
    .txn = file_txn,
    .watch_start = file_watch_start,
    .watch_stop = file_watch_stop,
    .lease_grant = file_lease_grant,
    .lease_revoke = file_lease_revoke,
    .close = file_close,
    .abandon = file_abandon,
};

/* ---- open ---- */

struct loading {
    struct meta_file *f;
    struct qv_records_change *ended; /* keys of earlier processes' leases */
    uint32_t ended_count;
    struct qv_errmsg *msg;
};

static int load_record(void *arg, const char *key, struct qv_bytes value)
{
    struct loading *l = arg;
    struct qv_rd rd;
    struct qv_meta_entry e = {.key = key};
    qv_rd_init(&rd, value.p, value.n);
    e.mod_revision = qv_rd_u64(&rd);
    e.lease = qv_rd_u64(&rd);
    if (rd.failed || e.mod_revision == 0 || e.mod_revision > l->f->records->epoch + 1)
        return QV_CORRUPT(l->msg, "metadata key %s", key);
    e.value = (struct qv_bytes){rd.p, qv_rd_left(&rd)};
    if (e.lease != 0) {
        l->ended = qv_mem_realloc(l->ended, (l->ended_count + 1) * sizeof *l->ended);
        l->ended[l->ended_count++] = (struct qv_records_change){.key = qv_mem_strdup(key)};
        return 0;
    }
    return qv_meta_tree_load(&l->f->tree, &e, l->msg);
}

static int load(struct meta_file *f, struct qv_errmsg *msg)
{
    struct loading l = {.f = f, .msg = msg};
    int err = qv_records_list(f->records, "", load_record, &l);
    if (err == 0 && l.ended_count > 0)
        err = qv_records_txn(f->records, f->records->epoch, l.ended, l.ended_count, msg);
    for (uint32_t i = 0; i < l.ended_count; i++) {
        union {
            const char *in;
            void *out;
        } key = {l.ended[i].key};
        qv_mem_free(key.out);
    }
    qv_mem_free(l.ended);
    return err;
}

int qv_meta_file_open(struct qv_env *env, struct qv_records *records, struct qv_meta **out,
                      struct qv_errmsg *msg)
{
    struct meta_file *f = qv_mem_calloc(1, sizeof *f);
    f->base = (struct qv_meta){.ops = &file_ops, .env = env, .cluster_id = 1, .reachable = true};
    f->records = records;
    f->timer.run = turn;
    f->timer.arg = f;
    qv_buf_init(&f->bytes, 0);
    qv_meta_tree_init(&f->tree, 0);
    int err = load(f, msg);
    if (err != 0) {
        file_free(f);
        return err;
    }
    f->tree.revision = f->base.revision = records->epoch + 1;
    f->tree.compacted = f->tree.revision + 1;
    f->last_lease = f->tree.revision << 20; /* not one that a put of an earlier process names */
    *out = &f->base;
    return 0;
}
