/* Watches: one stream each, which is opened again where it stood whenever the connection is new.
 *
 * Invariant: everything below `w->from` has been given, nothing at or above it. A revision's events
 * are given when all of them have come: a later one's first, or a message that is not a fragment,
 * says so. Progress notices of etcd are not asked for: up to 3.4.24 and 3.5.7 one could overtake
 * events (its issue 15220), and all they would save is a list after a compaction. */
#include "meta/meta_etcd_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#define HOLD_MAX                                                                                   \
    4096u /* events of one revision: a transaction has fewer, an ended lease may not               \
           */

struct qv_etcd_feed {
    struct qv_meta_etcd *e;
    struct qv_meta_watch *w;
    struct qv_timer timer; /* tells of a watch that can't be asked */
    uint64_t id;           /* of its stream; 0: none */
    uint32_t logins;
    struct qv_meta_item **held; /* of the revision that is not complete */
    uint32_t count, cap;
};

static void held_clear(struct qv_etcd_feed *f)
{
    for (uint32_t i = 0; i < f->count; i++)
        qv_meta_item_unref(f->held[i]);
    f->count = 0;
}

static void feed_free(struct qv_etcd_feed *f)
{
    qv_env_timer_stop(f->e->base.env, &f->timer);
    if (f->id != 0)
        qv_etcd_link_cancel(f->e->link, f->id);
    qv_meta_calls_remove(&f->e->watches, &f->w->call);
    f->w->call.meta = NULL;
    f->w->call.impl = NULL;
    held_clear(f);
    qv_mem_free(f->held);
    qv_mem_free(f);
}

static void feed_end(struct qv_etcd_feed *f, int err, const char *text)
{
    struct qv_meta_watch *w = f->w;
    (void)qv_fail(&w->msg, err, "%s", text);
    feed_free(f);
    w->ended(w, err);
}

static void feed_send(struct qv_etcd_feed *f)
{
    struct qv_buf b;
    if (f->e->state != QV_ETCD_READY || f->id != 0 || f->w->call.err != 0)
        return;
    qv_buf_init(&b, 0);
    qv_etcd_put_watch(&b, f->e->root, f->w->prefix, f->w->from);
    f->id = qv_meta_etcd_send(f->e, QV_ETCD_WATCH, &b, 0);
}

static void on_timer(struct qv_timer *timer)
{
    struct qv_etcd_feed *f = timer->arg;
    struct qv_errmsg msg = f->w->msg;
    feed_end(f, f->w->call.err, msg.text);
}

void qv_etcd_feed_begin(struct qv_meta_etcd *e, struct qv_meta_watch *w)
{
    QV_ASSERT(w->call.meta == NULL && !e->closing);
    struct qv_etcd_feed *f = qv_mem_calloc(1, sizeof *f);
    *f = (struct qv_etcd_feed){.e = e, .w = w};
    f->timer = (struct qv_timer){.run = on_timer, .arg = f};
    w->call.meta = &e->base;
    w->call.kind = QV_META_CALL_WATCH;
    w->call.err = qv_meta_check_watch(w);
    w->call.impl = f;
    qv_meta_calls_add(&e->watches, &w->call);
    if (w->call.err != 0)
        qv_env_timer_start(e->base.env, &f->timer, 0);
    else
        feed_send(f);
}

void qv_etcd_feed_stop(struct qv_meta_etcd *e, struct qv_meta_watch *w)
{
    (void)e;
    if (w->call.meta != NULL)
        feed_free(w->call.impl);
}

void qv_etcd_feeds_send(struct qv_meta_etcd *e)
{
    for (struct qv_meta_call *c = e->watches.first; c != NULL; c = c->next)
        feed_send(c->impl);
}

void qv_etcd_feeds_left(struct qv_meta_etcd *e)
{
    for (struct qv_meta_call *c = e->watches.first; c != NULL; c = c->next) {
        struct qv_etcd_feed *f = c->impl;
        f->id = 0;
        held_clear(f);
    }
}

/* Each by its timer, since callbacks may start and stop others; at a close at once. */
void qv_etcd_feeds_end(struct qv_meta_etcd *e, int err)
{
    if (e->closing) {
        while (e->watches.first != NULL)
            feed_end(e->watches.first->impl, err, "closed");
        return;
    }
    for (struct qv_meta_call *c = e->watches.first; c != NULL; c = c->next) {
        struct qv_etcd_feed *f = c->impl;
        if (c->err != 0)
            continue;
        c->err = qv_fail(&f->w->msg, err, "%s", e->base.why.text);
        qv_env_timer_start(e->base.env, &f->timer, 0);
    }
}

/* ---- messages ---- */

static struct qv_etcd_feed *find(struct qv_meta_etcd *e, uint64_t id)
{
    for (struct qv_meta_call *c = e->watches.first; c != NULL; c = c->next) {
        struct qv_etcd_feed *f = c->impl;
        if (f->id == id)
            return f;
    }
    return NULL;
}

static void hold(struct qv_etcd_feed *f, const struct qv_meta_entry *entry)
{
    if (f->count == f->cap) {
        f->cap = f->cap == 0 ? 16 : f->cap * 2;
        f->held = qv_mem_realloc(f->held, f->cap * sizeof(struct qv_meta_item *));
    }
    f->held[f->count++] = qv_meta_item_make(entry);
}

/* Gives the first `count` of what is held; false when the watch is gone afterwards. */
static bool give(struct qv_etcd_feed *f, uint32_t count)
{
    struct qv_meta_etcd *e = f->e;
    struct qv_meta_watch *w = f->w;
    uint64_t id = f->id;
    if (count == 0)
        return true;
    struct qv_meta_item **items = f->held;
    uint32_t rest = f->count - count;
    struct qv_meta_entry *entries = qv_mem_calloc(count, sizeof *entries);
    for (uint32_t i = 0; i < count; i++)
        entries[i] = items[i]->entry;
    f->held = NULL;
    f->count = f->cap = 0;
    for (uint32_t i = 0; i < rest; i++) {
        hold(f, &items[count + i]->entry);
        qv_meta_item_unref(items[count + i]);
    }
    uint64_t revision = entries[count - 1].mod_revision;
    w->from = revision + 1;
    if (revision > e->base.revision)
        e->base.revision = revision;
    w->events(w, entries, count, revision);
    for (uint32_t i = 0; i < count; i++)
        qv_meta_item_unref(items[i]);
    qv_mem_free(items);
    qv_mem_free(entries);
    return find(e, id) == f;
}

/* Adds a message's events; false when they don't follow what came before. */
static bool add_events(struct qv_etcd_feed *f, const struct qv_etcd_answer *a)
{
    for (uint32_t i = 0; i < a->count; i++) {
        uint64_t last = f->count == 0 ? f->w->from : f->held[f->count - 1]->entry.mod_revision;
        if (a->entries[i].mod_revision < last)
            return false;
        hold(f, &a->entries[i]);
    }
    return true;
}

static void feed_events(struct qv_etcd_feed *f, const struct qv_etcd_answer *a)
{
    if (!add_events(f, a)) {
        qv_meta_etcd_leave(f->e, QV_EUNAVAILABLE, "a watch's events are out of order");
        return;
    }
    uint32_t whole = f->count;
    if (a->fragment && whole > 0) {
        uint64_t last = f->held[whole - 1]->entry.mod_revision;
        while (whole > 0 && f->held[whole - 1]->entry.mod_revision == last)
            whole--;
    }
    if (f->count - whole > QV_META_KEYS_MAX + HOLD_MAX) {
        qv_meta_etcd_leave(f->e, QV_EUNAVAILABLE, "one revision has too many events");
        return;
    }
    (void)give(f, whole);
}

/* Ended by etcd, for one of many reasons; some only its text tells. */
static void feed_canceled(struct qv_etcd_feed *f, uint64_t compacted, const char *reason)
{
    struct qv_meta_etcd *e = f->e;
    if (compacted != 0) {
        feed_end(f, QV_ESTALE, "what the watch wants was compacted");
    } else if (strstr(reason, "permission denied") != NULL) {
        feed_end(f, QV_EFORBIDDEN, reason);
    } else if (strstr(reason, "invalid auth token") != NULL && ++f->logins <= 2 &&
               qv_meta_etcd_login_again(e) == 0) {
        qv_etcd_link_cancel(e->link, f->id);
        f->id = 0;
        held_clear(f);
    } else {
        qv_meta_etcd_leave(e, QV_EUNAVAILABLE, reason[0] == '\0' ? "it ended a watch" : reason);
    }
}

void qv_etcd_feeds_message(struct qv_meta_etcd *e, uint64_t id, struct qv_bytes body)
{
    struct qv_etcd_feed *f = find(e, id);
    struct qv_arena arena;
    struct qv_etcd_answer a;
    struct qv_errmsg msg;
    if (f == NULL || f->w->call.err != 0)
        return;
    qv_arena_init(&arena, 2 * QV_ETCD_ANSWER_BYTES_MAX);
    int err = qv_etcd_get(&(struct qv_etcd_asked){QV_ETCD_IS_WATCH, e->root, f->w->prefix}, body,
                          &arena, &a, &msg);
    a.revision = 0; /* a member's own, which may be behind: it says nothing */
    if (err != 0)
        qv_meta_etcd_leave(e, QV_EUNAVAILABLE, msg.text);
    else if (qv_meta_etcd_heard(e, &a, 0) != 0)
        ;
    else if (a.canceled)
        feed_canceled(f, a.compacted, a.reason);
    else if (a.count > 0 || (f->count > 0 && !a.fragment && !a.created))
        feed_events(f, &a);
    qv_arena_close(&arena);
}

bool qv_etcd_feeds_done(struct qv_meta_etcd *e, const struct qv_etcd_result *r)
{
    struct qv_etcd_feed *f = find(e, r->id);
    int err = 0;
    if (f == NULL)
        return false;
    f->id = 0;
    held_clear(f);
    if (r->err == QV_ECANCELED) { /* the owner did not keep up: from where it stands */
        feed_send(f);
        return true;
    }
    enum qv_etcd_verdict v =
        r->err != 0 ? QV_ETCD_UNKNOWN : qv_etcd_judge(r->grpc_status, r->text, &err);
    if (v == QV_ETCD_REFUSED)
        feed_end(f, err, r->text);
    else if (v != QV_ETCD_LOG_IN || ++f->logins > 2 || qv_meta_etcd_login_again(e) != 0)
        qv_meta_etcd_leave(e, QV_EUNAVAILABLE, qv_meta_etcd_failure(r));
    return true;
}
