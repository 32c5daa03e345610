/* Whose keys a shard's are. Hidden points are marked by slot, so that readers take them from the
 * live bits they copy anyway; points that are not kept are purged, a slice at a time.
 *
 * A purge is what a delete does to the state, without being a change: the slot dies and is unlinked
 * from the graphs, the record is among those that the next checkpoint removes from the payload
 * store, tombstones are forgotten. Nothing is logged or stamped, no feed hears of it. */
#include "shard/shard_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#define SLICE_SLOTS 4096u /* looked at in one step: 0.1 ms; what of them goes, 2 ms */

uint64_t qv_shard_keys_seq(const struct qv_shard *s)
{
    return atomic_load(&((struct qv_shard *)(uintptr_t)s)->keys_seq);
}

/* ---- taking them ---- */

struct owned {
    struct qv_key_set *reads, *writes, *keep; /* NULL: every key */
};

static void owned_free(struct owned *o)
{
    qv_mem_free(o->reads);
    qv_mem_free(o->writes);
    qv_mem_free(o->keep);
}

static int copy_set(const struct qv_key_set *from, struct qv_key_set **out)
{
    *out = qv_key_set_is_all(from) ? NULL : qv_key_set_dup(from);
    return *out == NULL && !qv_key_set_is_all(from) ? QV_ENOMEM : 0;
}

static int copy_keys(const struct qv_shard_keys *keys, struct owned *out)
{
    *out = (struct owned){NULL, NULL, NULL};
    if (keys == NULL)
        return 0;
    int err = copy_set(&keys->reads, &out->reads);
    if (err == 0)
        err = copy_set(&keys->writes, &out->writes);
    if (err == 0)
        err = copy_set(&keys->keep, &out->keep);
    if (err != 0)
        owned_free(out);
    return err;
}

static bool within(const struct qv_key_set *a, const struct qv_key_set *b)
{
    return b == NULL || (a != NULL && qv_key_set_within(a, b));
}

static bool same(const struct qv_key_set *a, const struct qv_key_set *b)
{
    return a == NULL || b == NULL ? a == b : qv_key_set_equal(a, b);
}

/* Which slots readers are not to see; live ones, or all when at an open. Gives. */
static uint64_t *hidden_bits(const struct qv_shard *s, const struct qv_key_set *reads, uint32_t *n)
{
    *n = qv_slot_table_high(&s->slots);
    uint64_t *bits = qv_mem_try_calloc(*n / 64 + 1, sizeof *bits);
    for (qv_slot slot = 0; bits != NULL && slot < *n; slot++) {
        if (!qv_slot_table_is_live(&s->slots, QV_SLOT_ANY_VECTOR, slot))
            continue;
        const struct qv_id id = qv_slot_table_id(&s->slots, slot);
        if (!qv_key_set_has(reads, &id))
            bits[slot / 64] |= 1ull << (slot & 63);
    }
    return bits;
}

/* Takes them over: readers see them at one moment. */
static int take_keys(struct qv_shard *s, struct owned *o)
{
    uint64_t *bits = NULL;
    uint32_t n = 0;
    if (o->reads != NULL) {
        bits = hidden_bits(s, o->reads, &n);
        if (bits == NULL)
            return QV_ENOMEM;
    }
    struct owned before = {s->reads, s->writes, s->keep};
    pthread_rwlock_wrlock(&s->lock);
    if (bits != NULL)
        qv_slot_table_set_hidden(&s->slots, bits, n);
    atomic_store(&s->hides, o->reads != NULL);
    if (!same(s->reads, o->reads))
        atomic_fetch_add(&s->keys_seq, 1);
    pthread_rwlock_unlock(&s->lock);
    s->reads = o->reads;
    s->writes = o->writes;
    s->keep = o->keep;
    owned_free(&before);
    qv_mem_free(bits);
    return 0;
}

int qv_shard_init_keys(struct qv_shard *s, const struct qv_shard_keys *keys)
{
    struct owned o;
    int err = copy_keys(keys, &o);
    return err == 0 ? take_keys(s, &o) : err;
}

int qv_shard_set_keys(struct qv_shard *s, const struct qv_shard_keys *keys, struct qv_errmsg *msg)
{
    struct qv_shard_purge purge;
    struct owned o;
    int err = copy_keys(keys, &o);
    if (err != 0)
        return err;
    qv_shard_purge_state(s, &purge);
    if (!within(o.reads, o.keep) || !within(o.writes, o.keep))
        err = qv_fail(msg, QV_EINVAL, "a shard can't answer for keys that it does not keep");
    else if (!purge.durable && !within(o.keep, s->keep))
        err = qv_fail(msg, QV_EBUSY, "keys that were given up are still being purged");
    if (err == 0)
        err = take_keys(s, &o);
    if (err != 0)
        owned_free(&o);
    else
        qv_shard_begin_purge(s);
    if (!purge.durable)
        s->checkpoint_wanted = true;
    qv_shard_pump(s); /* writes that wait may be refused now */
    return err;
}

/* ---- writes ---- */

void qv_shard_mark_keys(struct qv_shard *s, qv_slot slot, const struct qv_id *id)
{
    if (s->reads != NULL)
        qv_slot_table_hide(&s->slots, slot, !qv_key_set_has(s->reads, id));
    /* logged when the key was kept, applied now: one more pass */
    if (s->keep != NULL && !qv_key_set_has(s->keep, id))
        s->purge.again = true;
}

static int check_id(const struct qv_shard *s, const struct qv_id *id, struct qv_errmsg *msg)
{
    char text[QV_ID_TEXT_MAX];
    if (qv_key_set_has(s->writes, id))
        return 0;
    qv_id_format(id, text);
    return qv_fail(msg, QV_ESTALE, "point %s belongs to another shard now", text);
}

int qv_shard_check_op(const struct qv_shard *s, const struct qv_write_op *op, struct qv_errmsg *msg)
{
    int err = 0;
    if (s->writes == NULL)
        return 0;
    for (uint32_t i = 0; i < op->point_count && err == 0; i++)
        err = check_id(s, &op->points[i].id, msg);
    for (uint32_t i = 0; i < op->select.id_count && err == 0; i++)
        err = check_id(s, &op->select.ids[i], msg);
    return err;
}

int qv_shard_check_keys(const struct qv_shard *s, const struct qv_group *g, struct qv_errmsg *msg)
{
    int err = 0;
    for (uint32_t i = 0; s->writes != NULL && i < g->count && err == 0; i++)
        err = check_id(s, &g->changes[i].id, msg);
    return err;
}

void qv_shard_own_ids(const struct qv_shard *s, struct qv_matching *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; s->writes != NULL && i < m->count; i++) {
        if (qv_key_set_has(s->writes, &m->ids[i]))
            m->ids[n++] = m->ids[i];
    }
    m->count = s->writes != NULL ? n : m->count;
}

/* ---- the purge ---- */

void qv_shard_begin_purge(struct qv_shard *s)
{
    s->purge.running = s->keep != NULL;
    s->purge.again = false;
    s->purge.at = 0;
}

#ifdef QV_MUTANT_PURGE_AS_CHANGE /* the purge as a change: a delete that whoever follows gets */
struct mutant {
    struct qv_group group;
    struct qv_change change;
    struct qv_buf bytes;
};

static void mutant_logged(struct qv_log_waiter *waiter, int err)
{
    struct mutant *m = waiter->arg;
    struct qv_shard *s = m->group.shard;
    s->inflight--;
    s->inflight_rows--;
    err = err == 0 ? qv_shard_take_over(&m->group, NULL) : err;
    (void)err;
    qv_buf_close(&m->bytes);
    qv_mem_free(m);
}

static void purge_slot(struct qv_shard *s, qv_slot slot, const struct qv_id *id)
{
    struct mutant *m = qv_mem_calloc(1, sizeof *m);
    const uint32_t count = 1;
    (void)slot;
    m->change = (struct qv_change){.type = QV_CHANGE_DELETE, .id = *id};
    qv_buf_init(&m->bytes, 0);
    qv_change_encode(&m->bytes, &m->change);
    m->group = (struct qv_group){.shard = s, .changes = &m->change, .count = 1};
    m->group.bytes = (struct qv_bytes){m->bytes.data, m->bytes.len};
    m->group.generation = s->generation;
    m->group.version = qv_clock_tick(&s->store->clock, qv_env_wall_ns(s->env) / QV_NS_PER_MS);
    struct qv_log_record rec = {.shard = s->number,
                                .generation = s->generation,
                                .version = m->group.version,
                                .type = QV_RECORD_TYPE_CHANGES};
    struct qv_bytes parts[2] = {{(const uint8_t *)&count, sizeof count}, m->group.bytes};
    if (qv_log_append(s->store->log, &rec, parts, 2, &m->group.end) != 0) {
        qv_buf_close(&m->bytes);
        qv_mem_free(m);
        return;
    }
    s->inflight++;
    s->inflight_rows++;
    s->purge.purged++;
    m->group.waiter.done = mutant_logged;
    m->group.waiter.arg = m;
    qv_log_commit(s->store->log, &m->group.waiter);
}
#else
static void purge_slot(struct qv_shard *s, qv_slot slot, const struct qv_id *id)
{
    pthread_rwlock_wrlock(&s->lock);
    if (s->dirty.since_ns == 0)
        s->dirty.since_ns = qv_env_mono_ns(s->env);
    qv_dirty_add_dead(&s->dirty, id);
    qv_slot_table_kill(&s->slots, slot);
    __atomic_store_n(qv_slot_table_record(&s->slots, slot), NULL, __ATOMIC_RELEASE);
    pthread_rwlock_unlock(&s->lock);
    qv_shard_retire(s, slot);
    s->purge.purged++;
    s->purge.unsaved++;
    s->purge.seq = s->capture_seq;
}
#endif

static void purge_ghosts(struct qv_shard *s)
{
    for (uint32_t i = 0; s->ghosts.count > 0 && i <= s->ghosts.mask; i++) {
        struct qv_ghost *next = NULL;
        for (struct qv_ghost *g = s->ghosts.buckets[i]; g != NULL; g = next) {
            next = g->next;
            if (qv_key_set_has(s->keep, &g->id))
                continue;
            const struct qv_id id = g->id;
            qv_ghosts_remove(&s->ghosts, &id);
            s->purge.purged++;
        }
    }
}

void qv_shard_purge_step(struct qv_shard *s)
{
    if (s->purge.again && !s->purge.running && s->inflight == 0)
        qv_shard_begin_purge(s);
    if (!s->purge.running || atomic_load(&s->state) != QV_SHARD_OPEN || s->store->closing ||
        s->limbo_count > QV_PENDING_RING)
        return;
    const uint32_t high = qv_slot_table_high(&s->slots);
    for (uint32_t n = 0; n < SLICE_SLOTS && s->purge.at < high; n++, s->purge.at++) {
        const qv_slot slot = s->purge.at;
        if (!qv_slot_table_is_live(&s->slots, QV_SLOT_ANY_VECTOR, slot))
            continue;
        const struct qv_id id = qv_slot_table_id(&s->slots, slot);
        if (!qv_key_set_has(s->keep, &id))
            purge_slot(s, slot, &id);
    }
    if (s->purge.at < high || s->inflight > 0)
        return; /* what is in the log may still bring some: they are met when it is applied */
    purge_ghosts(s);
    s->purge.running = false;
    if (s->purge.unsaved > 0)
        s->checkpoint_wanted = true;
}

void qv_shard_purge_state(const struct qv_shard *s, struct qv_shard_purge *out)
{
    const bool left = s->purge.running || s->purge.again;
    const bool saved = s->purge.unsaved == 0 || s->durable_seq > s->purge.seq;
    *out = (struct qv_shard_purge){
        .running = left, .durable = !left && saved, .purged = s->purge.purged};
}
