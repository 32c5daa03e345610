#include "server/upkeep.h"

#include "base/mem.h"
#include "io/machine.h"
#include "server/edge.h"
#include "wire/json_answer.h"
#include "wire/json_write.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define FIELDS_MAX 64u       /* pairs of collection and key that are counted */
#define FIELD_BYTES_MAX 128u /* longer keys are not counted */
#define USES_MIN 100u        /* filtered reads that make an issue of a field, */
#define POINTS_MIN 1000u     /* in a collection of so many points */
#define ISSUES_MAX 256u
#define MARGIN_DEFAULT 5u     /* percent below a quota from which writes are taken again */
#define SAMPLE_NS QV_NS_PER_S /* usage is read at most so often */

struct field_use {
    uint8_t collection[QV_UUID_BYTES];
    char key[FIELD_BYTES_MAX];
    uint64_t uses;
    uint64_t since_ms;
};

/* When a fact was first seen: facts themselves are looked up anew. */
struct seen {
    uint64_t code; /* hash of its code */
    uint64_t since_ms;
    bool still;
};

struct qv_upkeep {
    pthread_mutex_t lock; /* guards everything */
    struct field_use fields[FIELDS_MAX];
    uint32_t field_count;
    struct seen seen[ISSUES_MAX];
    uint32_t seen_count;
    struct qv_machine_usage usage;
    uint64_t sampled_ns;
    bool over_memory, over_disk;
};

struct qv_upkeep *qv_upkeep_create(void)
{
    struct qv_upkeep *u = qv_mem_calloc(1, sizeof *u);
    pthread_mutex_init(&u->lock, NULL);
    return u;
}

void qv_upkeep_destroy(struct qv_upkeep **u)
{
    if (*u == NULL)
        return;
    pthread_mutex_destroy(&(*u)->lock);
    qv_mem_free(*u);
    *u = NULL;
}

static struct qv_env *env_of(const struct qv_op *op)
{
    return qv_node_env(qv_edge_node(op->edge));
}

static uint64_t wall_ms(const struct qv_op *op)
{
    return qv_env_wall_ns(env_of(op)) / QV_NS_PER_MS;
}

/* ---- fields that filters ask for ---- */

struct noting {
    struct qv_upkeep *u;
    const struct qv_collection *c;
    uint64_t now_ms;
};

static bool has_index(const struct qv_collection_config *c, struct qv_str key)
{
    for (uint32_t i = 0; i < c->payload_index_count; i++) {
        if (qv_str_equal(c->payload_indexes[i].field, key))
            return true;
    }
    return false;
}

static void note_key(struct noting *x, struct qv_str key)
{
    struct qv_upkeep *u = x->u;
    if (key.n == 0 || key.n >= FIELD_BYTES_MAX || has_index(x->c->config, key))
        return;
    uint32_t least = 0;
    for (uint32_t i = 0; i < u->field_count; i++) {
        struct field_use *f = &u->fields[i];
        if (qv_str_equal(qv_str_of(f->key), key) &&
            memcmp(f->collection, x->c->uuid, QV_UUID_BYTES) == 0) {
            f->uses++;
            return;
        }
        if (f->uses < u->fields[least].uses)
            least = i;
    }
    if (u->field_count < FIELDS_MAX)
        least = u->field_count++;
    struct field_use *f = &u->fields[least]; /* a full table forgets the one least asked for */
    memcpy(f->collection, x->c->uuid, QV_UUID_BYTES);
    memcpy(f->key, key.p, key.n);
    f->key[key.n] = '\0';
    f->uses = 1;
    f->since_ms = x->now_ms;
}

static void note_filter(struct noting *x, const struct qv_filter *f);

static void note_conds(struct noting *x, const struct qv_cond *conds, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (conds[i].type == QV_COND_FILTER)
            note_filter(x, conds[i].u.filter);
        else
            note_key(x, conds[i].key);
    }
}

static void note_filter(struct noting *x, const struct qv_filter *f)
{
    if (f == NULL)
        return;
    note_conds(x, f->must, f->must_count);
    note_conds(x, f->should, f->should_count);
    note_conds(x, f->must_not, f->must_not_count);
    note_conds(x, f->min_should, f->min_should_count);
}

static const struct qv_filter *filter_of(const struct qv_op *op, uint32_t i, uint32_t *count)
{
    *count = 1;
    switch (op->kind) {
    case QV_OP_SCROLL:
        return op->req.scroll.filter;
    case QV_OP_COUNT:
        return op->req.count.filter;
    case QV_OP_QUERY:
    case QV_OP_QUERY_BATCH:
    case QV_OP_SEARCH:
    case QV_OP_SEARCH_BATCH:
        *count = op->req.query.query_count;
        return i < *count ? op->req.query.queries[i].filter : NULL;
    default:
        return NULL;
    }
}

void qv_upkeep_note_filters(struct qv_op *op)
{
    struct noting x = {.u = qv_edge_upkeep(op->edge)};
    uint32_t count = 1;
    for (uint32_t i = 0; i < count; i++) {
        const struct qv_filter *f = filter_of(op, i, &count);
        if (f == NULL)
            continue;
        if (x.c == NULL) {
            x.c = qv_topology_find(op->topology, op->collection);
            x.now_ms = wall_ms(op);
        }
        if (x.c == NULL)
            return;
        pthread_mutex_lock(&x.u->lock);
        note_filter(&x, f);
        pthread_mutex_unlock(&x.u->lock);
    }
}

/* ---- issues ---- */

struct issues {
    struct qv_op *op;
    struct qv_buf *b;
    bool first;
    uint64_t now_ms;
};

static void write_time(struct qv_buf *b, uint64_t ms)
{
    struct tm tm;
    char text[64];
    time_t seconds = (time_t)(ms / 1000);
    gmtime_r(&seconds, &tm);
    snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned)(ms % 1000));
    qv_json_write_text(b, text);
}

static uint64_t code_hash(const char *code)
{
    uint64_t h = 1469598103934665603ull;
    for (; *code != '\0'; code++)
        h = (h ^ (unsigned char)*code) * 1099511628211ull;
    return h;
}

/* Since when the fact is known; now, when it is new. */
static uint64_t first_seen(struct qv_upkeep *u, const char *code, uint64_t now_ms)
{
    uint64_t h = code_hash(code);
    for (uint32_t i = 0; i < u->seen_count; i++) {
        if (u->seen[i].code == h) {
            u->seen[i].still = true;
            return u->seen[i].since_ms;
        }
    }
    if (u->seen_count < ISSUES_MAX)
        u->seen[u->seen_count++] = (struct seen){h, now_ms, true};
    return now_ms;
}

struct issue {
    char code[700];
    char description[900];
    const char *solution;
    uint64_t since_ms;
};

static void put_issue(struct issues *x, const struct issue *issue)
{
    struct qv_buf *b = x->b;
    qv_buf_str(b, x->first ? "{\"code\":" : ",{\"code\":");
    x->first = false;
    qv_json_write_text(b, issue->code);
    qv_buf_str(b, ",\"description\":");
    qv_json_write_text(b, issue->description);
    qv_buf_str(b, ",\"solution\":{\"refactor\":");
    qv_json_write_text(b, issue->solution);
    qv_buf_str(b, "},\"timestamp\":");
    write_time(b, issue->since_ms);
    qv_buf_append(b, "}", 1);
}

static void shard_issues(struct issues *x, const struct qv_collection *c,
                         const struct qv_shard_info *info)
{
    struct issue i;
    const char *why = info->err != 0 ? info->reason : info->log_reason; /* the log is the node's */
    if (info->err == 0 && why[0] == '\0')
        return;
    bool bad = info->err == QV_ECORRUPT;
    snprintf(i.code, sizeof i.code, "%s/%.*s", bad ? "QUARANTINED_SHARD" : "SHARD_TAKES_NO_WRITES",
             (int)c->name.n, c->name.p);
    snprintf(i.description, sizeof i.description, "Collection %.*s: %s", (int)c->name.n, c->name.p,
             why);
    i.solution = bad ? "Stop the node, run `quiver check` on its storage, and restore the files it "
                       "names or the collection from a snapshot."
                     : "Free space or repair the disk: writes are taken again by themselves.";
    i.since_ms = first_seen(qv_edge_upkeep(x->op->edge), i.code, x->now_ms);
    put_issue(x, &i);
}

static void field_issues(struct issues *x, const struct qv_collection *c)
{
    struct qv_upkeep *u = qv_edge_upkeep(x->op->edge);
    for (uint32_t k = 0; k < u->field_count; k++) {
        const struct field_use *f = &u->fields[k];
        struct issue i;
        if (memcmp(f->collection, c->uuid, QV_UUID_BYTES) != 0 || f->uses < USES_MIN ||
            has_index(c->config, qv_str_of(f->key)))
            continue;
        snprintf(i.code, sizeof i.code, "UNINDEXED_FIELD/%.*s/%s", (int)c->name.n, c->name.p,
                 f->key);
        snprintf(i.description, sizeof i.description,
                 "Collection %.*s: %llu reads filtered by \"%s\", which has no index: each looks "
                 "at every point",
                 (int)c->name.n, c->name.p, (unsigned long long)f->uses, f->key);
        i.solution = "Declare a payload index of the field. This version keeps the declaration "
                     "and filters by scan all the same; a smaller collection scans faster.";
        i.since_ms = f->since_ms;
        put_issue(x, &i);
    }
}

static void quota_issues(struct issues *x)
{
    struct qv_upkeep *u = qv_edge_upkeep(x->op->edge);
    struct issue i = {.solution = "Delete what is not needed, give the node more, or raise the "
                                  "quota (PUT /quotas): writes are refused until then."};
    for (int disk = 0; disk < 2; disk++) {
        if (!(disk ? u->over_disk : u->over_memory))
            continue;
        snprintf(i.code, sizeof i.code, "QUOTA_EXCEEDED/%s", disk ? "disk" : "memory");
        snprintf(i.description, sizeof i.description, "%s is at %u %%, above its quota",
                 disk ? "The storage's file system" : "Resident memory",
                 disk ? u->usage.disk : u->usage.memory);
        i.since_ms = first_seen(u, i.code, x->now_ms);
        put_issue(x, &i);
    }
}

static void forget_gone(struct qv_upkeep *u)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < u->seen_count; i++) {
        if (!u->seen[i].still)
            continue;
        u->seen[n] = u->seen[i];
        u->seen[n++].still = false;
    }
    u->seen_count = n;
}

void qv_upkeep_write_issues(struct qv_op *op, struct qv_buf *b)
{
    struct qv_upkeep *u = qv_edge_upkeep(op->edge);
    struct issues x = {.op = op, .b = b, .first = true, .now_ms = wall_ms(op)};
    int over = qv_upkeep_check_quota(op); /* a fresh look; its answer is in over_* */
    (void)over;
    op->msg.text[0] = '\0';
    qv_buf_str(b, "{\"issues\":[");
    for (uint32_t i = 0; i < op->topology->count; i++) {
        const struct qv_collection *c = op->topology->collections[i];
        struct qv_shard_info info;
        qv_node_shard_info(qv_edge_node(op->edge), c, &info);
        pthread_mutex_lock(&u->lock);
        shard_issues(&x, c, &info);
        if (info.points >= POINTS_MIN)
            field_issues(&x, c);
        pthread_mutex_unlock(&u->lock);
    }
    pthread_mutex_lock(&u->lock);
    quota_issues(&x);
    forget_gone(u);
    pthread_mutex_unlock(&u->lock);
    qv_buf_str(b, "]}");
}

void qv_upkeep_clear_issues(struct qv_op *op)
{
    struct qv_upkeep *u = qv_edge_upkeep(op->edge);
    pthread_mutex_lock(&u->lock);
    u->field_count = 0;
    u->seen_count = 0;
    pthread_mutex_unlock(&u->lock);
}

/* ---- quotas ---- */

static bool over(bool before, bool known, unsigned percent, struct qv_opt_u64 limit,
                 uint64_t margin)
{
    if (!known || !limit.has)
        return false;
    uint64_t release = limit.v > margin ? limit.v - margin : 0;
    return before ? percent > release : percent >= limit.v;
}

static void sample(struct qv_op *op, struct qv_upkeep *u, const struct qv_quota *q)
{
    uint64_t now = qv_env_mono_ns(env_of(op));
    uint64_t margin = q->margin_percent.has ? q->margin_percent.v : MARGIN_DEFAULT;
    if (q->enabled && (u->sampled_ns == 0 || now - u->sampled_ns >= SAMPLE_NS)) {
        qv_machine_usage(qv_node_dir(qv_edge_node(op->edge)), &u->usage);
        u->sampled_ns = now;
    }
    u->over_memory = q->enabled && over(u->over_memory, u->usage.has_memory, u->usage.memory,
                                        q->memory_percent, margin);
    u->over_disk =
        q->enabled && over(u->over_disk, u->usage.has_disk, u->usage.disk, q->disk_percent, margin);
}

static bool frees(const struct qv_op *op)
{
    if (op->kind != QV_OP_WRITE && op->kind != QV_OP_WRITE_BATCH)
        return false;
    for (uint32_t i = 0; i < op->req.write.op_count; i++) {
        enum qv_write_type t = op->req.write.ops[i].type;
        if (t != QV_WRITE_DELETE && t != QV_WRITE_DELETE_VECTORS && t != QV_WRITE_DELETE_PAYLOAD &&
            t != QV_WRITE_CLEAR_PAYLOAD)
            return false;
    }
    return true;
}

int qv_upkeep_check_quota(struct qv_op *op)
{
    struct qv_upkeep *u = qv_edge_upkeep(op->edge);
    struct qv_quota q;
    qv_node_quota(qv_edge_node(op->edge), &q);
    pthread_mutex_lock(&u->lock);
    sample(op, u, &q);
    bool memory = u->over_memory;
    bool disk = u->over_disk;
    unsigned percent = memory ? u->usage.memory : u->usage.disk;
    pthread_mutex_unlock(&u->lock);
    if ((!memory && !disk) || frees(op))
        return 0;
    return qv_fail(&op->msg, QV_ENOSPC, "%s is at %u %%, the quota is %llu %%",
                   memory ? "resident memory" : "the storage's file system", percent,
                   (unsigned long long)(memory ? q.memory_percent.v : q.disk_percent.v));
}

void qv_upkeep_write_quotas(struct qv_op *op, struct qv_buf *b)
{
    struct qv_quota q;
    struct qv_machine_usage usage;
    qv_node_quota(qv_edge_node(op->edge), &q);
    qv_machine_usage(qv_node_dir(qv_edge_node(op->edge)), &usage);
    const struct qv_quota_usage shown = {.memory_percent = {usage.has_memory, usage.memory},
                                         .disk_percent = {usage.has_disk, usage.disk}};
    qv_json_write_quota_status(b, &q, &shown);
}

/* ---- work behind a collection ---- */

static void put_segment(struct qv_buf *b, const struct qv_collection *c,
                        const struct qv_shard_info *info)
{
    char uuid[37];
    size_t n = 0;
    for (int i = 0; i < QV_UUID_BYTES; i++) {
        n += (size_t)snprintf(uuid + n, sizeof uuid - n, "%s%02x",
                              i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", c->uuid[i]);
    }
    qv_buf_printf(b, "{\"uuid\":\"%s\",\"points_count\":%llu}", uuid,
                  (unsigned long long)info->points);
}

static void put_running(struct qv_buf *b, const struct qv_collection *c,
                        const struct qv_shard_info *info)
{
    uint64_t total = info->points > info->pending ? info->points : info->pending;
    qv_buf_str(b, "{\"uuid\":\"00000000-0000-4000-8000-000000000001\",\"optimizer\":\"indexing\","
                  "\"status\":\"optimizing\",\"segments\":[");
    put_segment(b, c, info);
    qv_buf_printf(b, "],\"progress\":{\"name\":\"indexing\",\"done\":%llu,\"total\":%llu}}",
                  (unsigned long long)(total - info->pending), (unsigned long long)total);
}

void qv_upkeep_write_optimizations(struct qv_op *op, struct qv_buf *b)
{
    const struct qv_collection *c = qv_topology_find(op->topology, op->collection);
    const struct qv_shard_info *info = &op->out.shard;
    bool indexing = info->pending > 0;
    bool dirty = info->dirty_bytes > 0; /* it waits for the next checkpoint */
    qv_buf_printf(b,
                  "{\"summary\":{\"queued_optimizations\":%d,\"queued_segments\":%d,"
                  "\"queued_points\":%llu,\"idle_segments\":%d},\"running\":[",
                  dirty, dirty, (unsigned long long)info->pending, !indexing && !dirty);
    if (indexing)
        put_running(b, c, info);
    qv_buf_str(b, "]");
    if (op->params.with_queued) {
        qv_buf_str(b, ",\"queued\":[");
        if (dirty) {
            qv_buf_str(b, "{\"optimizer\":\"checkpoint\",\"segments\":[");
            put_segment(b, c, info);
            qv_buf_str(b, "]}");
        }
        qv_buf_str(b, "]");
    }
    if (op->params.with_completed) /* nothing is kept of what is done */
        qv_buf_str(b, ",\"completed\":[]");
    if (op->params.with_idle) {
        qv_buf_str(b, ",\"idle_segments\":[");
        if (!indexing && !dirty)
            put_segment(b, c, info);
        qv_buf_str(b, "]");
    }
    qv_buf_append(b, "}", 1);
}
