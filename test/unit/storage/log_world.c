#include "log_world.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdio.h>
#include <string.h>

static void record_bytes(uint64_t number, uint8_t *out, size_t n)
{
    uint64_t h = 0;
    for (size_t i = 0; i < n; i++, h >>= 8) {
        if (i % 8 == 0)
            h = qv_hash_mix(number * 1000003 + i / 8);
        out[i] = (uint8_t)h;
    }
}

static struct qv_log_record record_head(uint64_t number)
{
    return (struct qv_log_record){
        .shard = (uint32_t)(number % 5),
        .generation = (uint32_t)(number / 7),
        .version = {.clock = number, .writer = (uint32_t)(number % 3)},
        .prev_clock = number / 2,
        .type = (uint8_t)(number % 6),
    };
}

static int on_record(void *arg, const struct qv_log_record *rec, struct qv_bytes change, qv_lsn lsn,
                     qv_lsn lsn_end)
{
    struct world *w = arg;
    QV_ASSERT(w->seen_n < WORLD_RECORDS && lsn < lsn_end);
    uint64_t number = rec->version.clock;
    struct qv_log_record head = record_head(number);
    uint8_t *want = qv_mem_alloc(change.n + 1);
    record_bytes(number, want, change.n);
    bool same = memcmp(want, change.p, change.n) == 0 && head.shard == rec->shard &&
                head.generation == rec->generation && head.prev_clock == rec->prev_clock &&
                head.type == rec->type && head.version.writer == rec->version.writer;
    w->bad += !same;
    qv_mem_free(want);
    w->seen[w->seen_n++] =
        (struct world_record){.number = number, .bytes = (uint32_t)change.n, .end = lsn_end};
    return 0;
}

static int on_damage(void *arg, const struct qv_log_damage *d)
{
    struct world *w = arg;
    QV_ASSERT(d->file != NULL && d->what != NULL);
    w->damages++;
    return w->tolerate ? 0 : QV_ECORRUPT;
}

void world_init(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    qv_rng_init(&w->rng, seed);
    qv_rng_init(&w->read_rng, seed);
    struct qv_sim_config sc = {.seed = qv_rng_u64(&w->rng)};
    w->sim = qv_sim_create(&sc);
    w->disk = qv_sim_disk_create(qv_rng_u64(&w->rng), 0);
    w->node = qv_sim_node_create(w->sim, w->disk, 0);
    w->next_number = 1;
    w->config = (struct qv_log_config){
        .segment_bytes = 65536,
        .group_bytes = 8192,
        .group_count = 3,
        .spare_max = 2,
        .on_record = on_record,
        .on_damage = on_damage,
        .arg = w,
    };
}

void world_close(struct world *w)
{
    if (w->log != NULL)
        world_crash(w, false);
    qv_sim_node_destroy(&w->node);
    qv_sim_disk_destroy(&w->disk);
    qv_sim_destroy(&w->sim);
}

int world_open(struct world *w, struct qv_errmsg *msg)
{
    QV_ASSERT(w->log == NULL);
    w->seen_n = 0;
    w->bad = 0;
    w->damages = 0;
    w->config.replay_from = w->checkpoint;
    w->config.durable_to = w->checkpoint;
    return qv_log_open(qv_sim_node_env(w->node), WORLD_DIR, &w->config, &w->log, msg);
}

void world_append(struct world *w, uint32_t bytes)
{
    struct world_record r = {.number = w->next_number, .bytes = bytes, .chain = w->chain};
    struct qv_log_record head = record_head(r.number);
    uint8_t *p = qv_mem_alloc(bytes + 1);
    record_bytes(r.number, p, bytes);
    size_t cut = (size_t)qv_rng_below(&w->rng, bytes + 1);
    struct qv_bytes parts[2] = {{p, cut}, {p + cut, bytes - cut}};
    int err = qv_log_append(w->log, &head, parts, 2, &r.end);
    qv_mem_free(p);
    if (err != 0 || w->record_n == WORLD_RECORDS)
        return;
    w->next_number++;
    w->record[w->record_n++] = r;
}

struct world_waiter {
    struct qv_log_waiter head; /* first */
    size_t record_n;
    uint64_t clock;
    struct world_waiter *next; /* of those that wait */
};

static void waiter_forget(struct world *w, struct world_waiter *x)
{
    struct world_waiter **at = &w->waiting;
    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    qv_mem_free(x);
}

/* x is acknowledged: what was appended before a stop of the log, and not acknowledged, is gone. */
static void drop_void(struct world *w, const struct world_waiter *x)
{
    size_t kept = w->acked_n;
    if (x->record_n <= w->acked_n)
        return;
    unsigned chain = w->record[x->record_n - 1].chain;
    for (size_t i = w->acked_n; i < w->record_n; i++) {
        if (w->record[i].chain >= chain)
            w->record[kept++] = w->record[i];
    }
    size_t gone = w->record_n - kept;
    w->record_n = kept;
    for (struct world_waiter *i = w->waiting; i != NULL; i = i->next) {
        if (i->record_n > w->acked_n)
            i->record_n -= gone;
    }
}

void world_resume(struct world *w)
{
    for (int i = 0; i < 8 && qv_log_error(w->log) != 0;
         i++) { /* planned faults may hit the tries */
        qv_log_resume(w->log);
        world_run(w);
    }
    if (qv_log_error(w->log) != 0)
        return;
    struct world_waiter written = {.record_n = 0}; /* without anyone waiting */
    for (size_t i = w->acked_n; i < w->record_n; i++) {
        if (w->record[i].chain == w->chain && w->record[i].end <= qv_log_durable(w->log))
            written.record_n = i + 1;
    }
    if (written.record_n > 0) {
        written.next = w->waiting;
        w->waiting = &written;
        drop_void(w, &written);
        w->waiting = written.next;
        w->acked_n = written.record_n;
    }
    w->chain++;
}

static void waiter_done(struct qv_log_waiter *waiter, int err)
{
    struct world_waiter *x = (struct world_waiter *)waiter;
    struct world *w = waiter->arg;
    w->waiters++;
    if (err == 0) {
        drop_void(w, x);
        if (x->record_n < w->acked_n)
            w->wrong = "waiters out of order";
        w->acked_n = x->record_n;
        w->clock_acked = x->clock;
        if (w->acked_n > 0 && w->record[w->acked_n - 1].end > qv_log_durable(w->log))
            w->wrong = "acknowledged beyond durable";
    } else {
        w->waiter_errors++;
        w->waiter_doubts += err == QV_EUNKNOWN;
        if (err != QV_EUNKNOWN && x->record_n > w->acked_n)
            w->record[x->record_n - 1].refused = true;
    }
    waiter_forget(w, x);
}

void world_commit(struct world *w)
{
    struct world_waiter *x = qv_mem_calloc(1, sizeof *x);
    x->head.done = waiter_done;
    x->head.arg = w;
    x->record_n = w->record_n;
    x->clock = qv_log_clock(w->log);
    x->next = w->waiting;
    w->waiting = x;
    bool fresh = w->record_n > 0 && w->record[w->record_n - 1].chain == w->chain;
    if (qv_log_error(w->log) != 0 || !fresh)
        x->record_n = w->acked_n; /* nothing appended is waited for */
    qv_log_commit(w->log, &x->head);
}

void world_run(struct world *w)
{
    qv_sim_run(w->sim, 100000);
}

static void closed(void *arg, int err)
{
    struct world *w = arg;
    w->waiter_errors += err != 0;
}

void world_shut(struct world *w)
{
    qv_log_close(w->log, closed, w);
    world_run(w);
    w->log = NULL;
}

void world_crash(struct world *w, bool power)
{
    qv_sim_node_crash(w->node);
    qv_log_abandon(w->log);
    w->log = NULL;
    while (w->waiting != NULL)
        waiter_forget(w, w->waiting);
    if (power)
        qv_sim_disk_crash(w->disk);
    else
        qv_sim_disk_kill(w->disk);
}

static bool same_record(const struct world_record *a, const struct world_record *b)
{
    return a->number == b->number && a->bytes == b->bytes && a->end == b->end;
}

bool world_check(struct world *w)
{
    size_t from = w->released_n;
    size_t acked = w->acked_n - from;
    if (w->bad > 0)
        w->wrong = "a record's bytes changed";
    if (w->seen_n < acked)
        w->wrong = "an acknowledged record is lost";
    for (size_t i = 0; i < acked && w->wrong == NULL; i++) {
        if (!same_record(&w->seen[i], &w->record[from + i]))
            w->wrong = "not the acknowledged record at its place";
    }
    size_t extra = w->wrong == NULL ? w->seen_n - acked : 0;
    size_t at = w->acked_n; /* where the chain that survived begins */
    if (extra > 0) {
        while (at < w->record_n && !same_record(&w->record[at], &w->seen[acked]))
            at++;
        bool starts = at == w->acked_n ||
                      (at < w->record_n && w->record[at].chain != w->record[at - 1].chain);
        if (at + extra > w->record_n || !starts)
            w->wrong = "an unacknowledged record out of order";
    }
    for (size_t i = 0; i < extra && w->wrong == NULL; i++) {
        if (!same_record(&w->seen[acked + i], &w->record[at + i]) ||
            w->record[at + i].chain != w->record[at].chain)
            w->wrong = "unacknowledged records out of order";
        else if (w->record[at + i].refused)
            w->wrong = "a record that was refused for certain is there";
    }
    if (w->wrong == NULL && w->log != NULL && qv_log_clock(w->log) < w->clock_acked)
        w->wrong = "the reserved clock went back";
    if (w->wrong != NULL)
        return false;
    w->recovered_tail += extra;
    w->lost_tail += w->record_n - w->acked_n - extra;
    memmove(&w->record[w->acked_n], &w->record[at], extra * sizeof w->record[0]);
    w->acked_n += extra;
    w->record_n = w->acked_n;
    w->chain++;
    return true;
}

void world_checkpoint(struct world *w, size_t n)
{
    QV_ASSERT(n >= w->released_n && n <= w->acked_n);
    if (n == 0)
        return;
    w->released_n = n;
    w->checkpoint = w->record[n - 1].end;
    qv_log_release(w->log, w->checkpoint);
}

/* ---- reading back ---- */

struct read_back {
    struct world *w;
    uint32_t shard;
    size_t next; /* in w->record */
    qv_lsn to;
    bool same;
};

static int take_back(void *arg, const struct qv_log_record *rec, struct qv_bytes change, qv_lsn end)
{
    struct read_back *x = arg;
    struct world *w = x->w;
    if (qv_rng_below(&w->read_rng, 10) == 0)
        return QV_EBUSY; /* it is given again */
    while (x->next < w->acked_n && record_head(w->record[x->next].number).shard != x->shard)
        x->next++;
    const struct world_record *want = &w->record[x->next];
    uint8_t *bytes = qv_mem_alloc(change.n + 1);
    record_bytes(rec->version.clock, bytes, change.n);
    x->same = x->same && x->next < w->acked_n && want->number == rec->version.clock &&
              want->end == end && want->bytes == change.n && end <= x->to &&
              memcmp(bytes, change.p, change.n) == 0;
    qv_mem_free(bytes);
    x->next++;
    w->read_back++;
    return 0;
}

bool world_read_back(struct world *w)
{
    struct read_back x = {.w = w, .shard = (uint32_t)qv_rng_below(&w->read_rng, 5), .same = true};
    struct qv_errmsg msg = {""};
    int err = 0;
    if (w->acked_n <= w->released_n)
        return true;
    x.next = w->released_n + (size_t)qv_rng_below(&w->read_rng, w->acked_n - w->released_n);
    size_t last = x.next + (size_t)qv_rng_below(&w->read_rng, w->acked_n - x.next);
    struct qv_log_read r = {.shard = x.shard, .from = w->checkpoint};
    if (x.next > w->released_n)
        r.from = w->record[x.next - 1].end;
    while (err == 0 || err == QV_EBUSY) {
        if (r.from >= w->record[last].end && qv_rng_below(&w->read_rng, 3) == 0)
            last = w->acked_n - 1; /* there is more meanwhile */
        r.to = x.to = w->record[last].end;
        err = qv_log_read_find(w->log, &r);
        if (err == 0)
            err = qv_log_read_step(w->disk, &r, qv_rng_below(&w->read_rng, 20000), take_back, &x,
                                   &msg);
    }
    while (x.next <= last && record_head(w->record[x.next].number).shard != x.shard)
        x.next++;
    if (err != QV_EEOF || !x.same || x.next <= last)
        w->wrong =
            err != QV_EEOF ? qv_err_name(err) : "what was read back is not what was appended";
    if (err != QV_EEOF)
        printf("read back: %s\n", msg.text);
    return w->wrong == NULL;
}
