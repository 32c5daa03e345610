#include "node/node_survey.h"

#include "base/build_info.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "cluster/methods.h"
#include "node/node_private.h"

#include <stdio.h>
#include <string.h>

#define SURVEY_NS_MAX (2 * QV_NS_PER_S)
#define ARENA_BYTES ((size_t)64 << 20)

struct qv_survey_call {
    struct qv_node_survey *survey;
    struct qv_survey_node *node;
    struct qv_peer_call call;
};

/* ---- what this node says; on a worker ---- */

static struct qv_str dup_text(struct qv_arena *arena, const char *text)
{
    const size_t n = strlen(text) < QV_TELL_TEXT_BYTES_MAX ? strlen(text) : QV_TELL_TEXT_BYTES_MAX;
    const char *p = n == 0 ? "" : qv_arena_dup(arena, text, n);
    return p == NULL ? (struct qv_str){"", 0} : (struct qv_str){p, n};
}

static void tell_sums(struct qv_arena *arena, const struct qv_shard_info *info,
                      struct qv_shard_tell *out)
{
    out->points = info->points;
    out->indexed_vectors = info->indexed_vectors;
    out->pending = info->pending;
    out->dirty_bytes = info->dirty_bytes;
    out->disk_bytes = info->disk_bytes;
    out->vector_bytes = info->vector_bytes;
    out->payload_bytes = info->payload_bytes;
    out->payload_index_bytes = info->payload_index_bytes;
    out->err = info->err;
    out->reason = dup_text(arena, info->reason);
    out->log_reason = dup_text(arena, info->log_reason);
    out->damage = dup_text(arena, info->damage);
    out->failing = dup_text(arena, info->failing);
}

/* A shard whose payloads can't be read is told all the same. */
static void tell_fields(struct qv_shard *s, const struct qv_collection *c, unsigned reader,
                        struct qv_arena *arena, struct qv_shard_tell *out)
{
    const uint32_t n = c->config->payload_index_count;
    struct qv_payload_schema_entry *counts =
        QV_ARENA_ARRAY(arena, struct qv_payload_schema_entry, n);
    struct qv_tell_field *fields = QV_ARENA_ARRAY(arena, struct qv_tell_field, n);
    struct qv_errmsg msg;
    if (n == 0 || counts == NULL || fields == NULL ||
        qv_node_count_fields(s, reader, arena, c->config, counts, &msg) != 0)
        return;
    for (uint32_t i = 0; i < n; i++)
        fields[i] = (struct qv_tell_field){c->config->payload_indexes[i].number, counts[i].points};
    out->fields = fields;
    out->field_count = n;
}

struct telling {
    struct qv_node *n;
    struct qv_arena *arena;
    unsigned reader;
    bool fields;
    struct qv_shard_tell *list;
    uint32_t count;
};

static void tell_shards(struct telling *x, const struct qv_collection *c)
{
    for (uint32_t i = 0; i < c->shard_count && x->count < QV_TELL_SHARDS_MAX; i++) {
        struct qv_shard *s;
        struct qv_shard_info info;
        if (qv_node_shard_at(x->n, c, i, &s, NULL) != 0)
            continue;
        struct qv_shard_tell *out = &x->list[x->count++];
        memcpy(out->collection, c->uuid, sizeof out->collection);
        out->number = c->shards[i].number;
        qv_shard_info(s, &info);
        tell_sums(x->arena, &info, out);
        if (x->fields && info.err != QV_ECORRUPT)
            tell_fields(s, c, x->reader, x->arena, out);
        qv_shard_unref(s);
    }
}

static int tell(struct telling *x, const struct qv_topology *t, const struct qv_tell_ask *ask,
                struct qv_node_tell *out)
{
    size_t most = 0;
    for (uint32_t i = 0; i < t->count; i++)
        most += t->collections[i]->shard_count;
    if (most > QV_TELL_SHARDS_MAX)
        most = QV_TELL_SHARDS_MAX;
    x->list = QV_ARENA_ARRAY(x->arena, struct qv_shard_tell, most + 1);
    if (x->list == NULL)
        return QV_ENOMEM;
    x->fields = ask->fields && ask->one;
    for (uint32_t i = 0; i < t->count; i++) {
        const struct qv_collection *c = t->collections[i];
        if (!ask->one || memcmp(c->uuid, ask->collection, QV_UUID_BYTES) == 0)
            tell_shards(x, c);
    }
    out->shards = x->list;
    out->shard_count = x->count;
    return 0;
}

/* On the owner. */
static void tell_node(struct qv_node *n, struct qv_arena *arena, struct qv_node_tell *out)
{
    struct qv_membership_status status;
    qv_node_cluster_status(n, &status);
    out->epoch = status.epoch;
    out->reachable = status.reachable;
    out->why = dup_text(arena, status.why);
    out->version = qv_str_of(QV_VERSION);
}

/* ---- asked by another ---- */

struct told {
    struct qv_node *n;
    struct qv_peer_request *request;
    const struct qv_topology *topology;
    struct qv_tell_ask ask;
    struct qv_node_tell tell;
    struct qv_buf body;
    struct qv_arena arena;
    struct qv_job job;
    int err;
};

static void told_free(struct told *x)
{
    qv_node_serve_end(x->n);
    qv_topology_unref(x->topology);
    qv_buf_close(&x->body);
    qv_arena_close(&x->arena);
    qv_mem_free(x);
}

static void tell_job(struct qv_job *job, unsigned worker)
{
    struct told *x = job->arg;
    struct telling telling = {.n = x->n, .arena = &x->arena, .reader = worker};
    x->err = tell(&telling, x->topology, &x->ask, &x->tell);
    if (x->err == 0)
        qv_peer_encode_tell(&x->body, &x->tell);
}

static void told_job(struct qv_job *job)
{
    struct told *x = job->arg;
    qv_peer_answer(x->request, x->err, NULL, &x->body);
    told_free(x);
}

static void serve(void *arg, struct qv_peer_request *r)
{
    struct told *x = qv_mem_calloc(1, sizeof *x);
    struct qv_errmsg msg = {""};
    x->n = arg;
    x->request = r;
    qv_node_serve_begin(x->n);
    qv_arena_init(&x->arena, ARENA_BYTES);
    qv_buf_init(&x->body, QV_PEER_BODY_BYTES_MAX);
    int err = qv_peer_decode_tell_ask(r->body, &x->ask, &msg);
    if (err == 0) {
        tell_node(x->n, &x->arena, &x->tell);
        x->topology = qv_node_topology(x->n);
        x->job = (struct qv_job){.run = tell_job, .done = told_job, .arg = x};
        err = qv_env_submit(x->n->env, QV_JOB_INTERACTIVE, &x->job);
    }
    if (err != 0) {
        qv_peer_answer(r, err, &msg, NULL);
        told_free(x);
    }
}

void qv_node_survey_serve(struct qv_node *n, bool on)
{
    qv_peers_serve(n->cluster.peers, QV_PEER_INFO, on ? serve : NULL, n);
}

/* ---- asking ---- */

static void done_job(struct qv_job *job, unsigned worker)
{
    struct qv_node_survey *s = job->arg;
    (void)worker;
    s->done(s, false);
}

static void one_less(struct qv_node_survey *s)
{
    if (--s->open != 0)
        return;
    s->job = (struct qv_job){.run = done_job, .arg = s};
    if (qv_env_submit(s->node->env, QV_JOB_INTERACTIVE, &s->job) != 0)
        s->done(s, true);
}

static void note_failure(struct qv_node_survey *s, struct qv_survey_node *node, int err,
                         const char *text)
{
    const char *why = text[0] != '\0' ? text : qv_err_text(err);
    const char *kept = qv_arena_strndup(&s->arena, why, strlen(why));
    node->err = err;
    node->why = kept != NULL ? kept : qv_err_text(err);
}

static void answered(struct qv_peer_call *call, const struct qv_peer_answer *a)
{
    struct qv_survey_call *x = call->arg;
    struct qv_node_survey *s = x->survey;
    struct qv_errmsg msg = {""};
    struct qv_bytes body = {NULL, a->body.n};
    int err = a->err;
    if (err == 0 && body.n > 0) {
        body.p = qv_arena_dup(&s->arena, a->body.p, body.n);
        err = body.p == NULL ? QV_ENOMEM : 0;
    }
    if (err == 0)
        err = qv_peer_decode_tell(body, &s->arena, &x->node->tell, &msg);
    if (err != 0)
        note_failure(s, x->node, err, a->err != 0 ? a->text : msg.text);
    one_less(s);
}

static void ask_one(struct qv_node_survey *s, uint32_t i, uint64_t deadline_ns)
{
    struct qv_survey_call *x = &s->calls[i];
    x->survey = s;
    x->node = &s->nodes[i];
    x->call = (struct qv_peer_call){.to = s->nodes[i].member->id,
                                    .method = QV_PEER_INFO,
                                    .deadline_ns = deadline_ns,
                                    .body = {s->ask.data, s->ask.len},
                                    .done = answered,
                                    .arg = x};
    s->open++;
    qv_peer_send(s->node->cluster.peers, &x->call);
}

static struct qv_tell_ask what_to_ask(const struct qv_node_survey *s)
{
    struct qv_tell_ask ask = {.one = s->collection != NULL, .fields = s->fields};
    if (s->collection != NULL)
        memcpy(ask.collection, s->collection->uuid, sizeof ask.collection);
    return ask;
}

static void self_job(struct qv_job *job, unsigned worker)
{
    struct qv_survey_node *node = job->arg;
    struct qv_node_survey *s =
        (struct qv_node_survey *)((char *)job - offsetof(struct qv_node_survey, job));
    const struct qv_tell_ask ask = what_to_ask(s);
    /* The survey's other arena is the owner's meanwhile. */
    struct telling telling = {.n = s->node, .arena = &s->own_arena, .reader = worker};
    node->err = tell(&telling, s->topology, &ask, &node->tell);
    node->why = node->err != 0 ? qv_err_text(node->err) : "";
}

static void self_done(struct qv_job *job)
{
    one_less((struct qv_node_survey *)((char *)job - offsetof(struct qv_node_survey, job)));
}

static bool holds(const struct qv_collection *c, uint64_t id)
{
    for (uint32_t i = 0; i < c->shard_count; i++) {
        for (uint32_t k = 0; k < c->shards[i].slot_count; k++) {
            if (c->shards[i].slots[k].holder == id || c->shards[i].slots[k].next == id)
                return true;
        }
    }
    return false;
}

static void look_at(struct qv_node_survey *s, struct qv_survey_node *node)
{
    struct qv_node *n = s->node;
    struct qv_peer_state state;
    node->self = node->member->id == n->cluster.self.id;
    node->why = "";
    node->connected = node->self;
    if (!node->self && qv_peers_state(n->cluster.peers, node->member->id, &state)) {
        node->connected = state.connected;
        if (!state.connected && state.why[0] != '\0')
            note_failure(s, node, 0, state.why);
    }
    node->asked = !s->quiet && (s->collection == NULL || holds(s->collection, node->member->id));
}

static void start_task(struct qv_task *task)
{
    struct qv_node_survey *s = task->arg;
    const struct qv_topology *t = s->topology;
    const struct qv_tell_ask ask = what_to_ask(s);
    const uint64_t latest = qv_env_mono_ns(s->node->env) + SURVEY_NS_MAX;
    const uint64_t deadline = s->deadline_ns < latest ? s->deadline_ns : latest;
    qv_node_cluster_status(s->node, &s->status);
    qv_peer_encode_tell_ask(&s->ask, &ask);
    s->open = 1; /* this call */
    for (uint32_t i = 0; i < t->member_count; i++) {
        struct qv_survey_node *node = &s->nodes[i];
        node->member = &t->members[i];
        look_at(s, node);
        if (!node->asked)
            continue;
        if (!node->self) {
            ask_one(s, i, deadline);
            continue;
        }
        tell_node(s->node, &s->own_arena, &node->tell);
        s->job = (struct qv_job){.run = self_job, .done = self_done, .arg = node};
        node->err = qv_env_submit(s->node->env, QV_JOB_INTERACTIVE, &s->job);
        node->why = node->err != 0 ? qv_err_text(node->err) : "";
        s->open += node->err == 0;
    }
    one_less(s);
}

void qv_node_survey_start(struct qv_node_survey *s)
{
    QV_ASSERT(qv_node_in_cluster(s->node) && s->done != NULL);
    s->count = s->topology->member_count;
    s->nodes = qv_mem_calloc(s->count + 1u, sizeof *s->nodes);
    s->calls = qv_mem_calloc(s->count + 1u, sizeof *s->calls);
    qv_buf_init(&s->ask, 0);
    qv_arena_init(&s->arena, ARENA_BYTES);
    qv_arena_init(&s->own_arena, ARENA_BYTES);
    s->task = (struct qv_task){.run = start_task, .arg = s};
    qv_env_post(s->node->env, &s->task);
}

void qv_node_survey_close(struct qv_node_survey *s)
{
    qv_mem_free(s->nodes);
    qv_mem_free(s->calls);
    qv_buf_close(&s->ask);
    qv_arena_close(&s->arena);
    qv_arena_close(&s->own_arena);
}

/* ---- what it comes to ---- */

static const struct qv_survey_node *node_of(const struct qv_node_survey *s, uint64_t id)
{
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->nodes[i].member->id == id)
            return &s->nodes[i];
    }
    return NULL;
}

const struct qv_shard_tell *qv_node_survey_shard(const struct qv_node_survey *s,
                                                 const struct qv_collection *c, uint32_t i,
                                                 const struct qv_survey_node **from)
{
    const struct qv_slot_place *p = &c->shards[i].slots[0];
    const struct qv_survey_node *node =
        node_of(s, p->step == QV_STEP_NEW_READS ? p->next : p->holder);
    if (from != NULL)
        *from = node;
    for (uint32_t k = 0; node != NULL && node->err == 0 && k < node->tell.shard_count; k++) {
        const struct qv_shard_tell *t = &node->tell.shards[k];
        if (t->number == c->shards[i].number && memcmp(t->collection, c->uuid, QV_UUID_BYTES) == 0)
            return t;
    }
    return NULL;
}

static void keep_text(char *out, size_t bytes, struct qv_str text)
{
    if (out[0] == '\0' && text.n > 0)
        snprintf(out, bytes, "%.*s", (int)(text.n < bytes ? text.n : bytes - 1), text.p);
}

static void add_shard(struct qv_shard_info *all, const struct qv_shard_tell *one)
{
    all->points += one->points;
    all->indexed_vectors += one->indexed_vectors;
    all->pending += one->pending;
    all->dirty_bytes += one->dirty_bytes;
    all->disk_bytes += one->disk_bytes;
    all->vector_bytes += one->vector_bytes;
    all->payload_bytes += one->payload_bytes;
    all->payload_index_bytes += one->payload_index_bytes;
    if (all->err == 0 && one->err != 0) {
        all->err = one->err;
        keep_text(all->reason, sizeof all->reason, one->reason);
    }
    keep_text(all->log_reason, sizeof all->log_reason, one->log_reason);
    keep_text(all->damage, sizeof all->damage, one->damage);
    keep_text(all->failing, sizeof all->failing, one->failing);
}

static void add_missing(struct qv_shard_info *all, uint32_t number,
                        const struct qv_survey_node *from)
{
    if (all->err != 0)
        return;
    all->err = QV_EUNAVAILABLE;
    if (from == NULL)
        snprintf(all->reason, sizeof all->reason, "shard %u: its node has left", number);
    else
        snprintf(all->reason, sizeof all->reason, "shard %u on node %llu at %.64s:%u: %.100s",
                 number, (unsigned long long)from->member->id, from->member->host,
                 from->member->peer_port, from->err != 0 ? from->why : "it is not there");
}

void qv_node_survey_sum(const struct qv_node_survey *s, struct qv_shard_info *out)
{
    const struct qv_collection *c = s->collection;
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < c->shard_count; i++) {
        const struct qv_survey_node *from;
        const struct qv_shard_tell *t = qv_node_survey_shard(s, c, i, &from);
        if (t != NULL)
            add_shard(out, t);
        else
            add_missing(out, c->shards[i].number, from);
    }
}

static void add_fields(const struct qv_shard_tell *t, struct qv_payload_schema_entry *list,
                       uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < t->field_count; k++) {
            if (t->fields[k].index == list[i].index->number)
                list[i].points += t->fields[k].points;
        }
    }
}

int qv_node_survey_collection(const struct qv_node_survey *s, struct qv_arena *arena,
                              struct qv_collection_info *out, struct qv_errmsg *msg)
{
    const struct qv_collection *c = s->collection;
    const uint32_t n = c->config->payload_index_count;
    struct qv_payload_schema_entry *list = QV_ARENA_ARRAY(arena, struct qv_payload_schema_entry, n);
    struct qv_shard_info info;
    (void)msg;
    if (list == NULL)
        return QV_ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        list[i].index = &c->config->payload_indexes[i];
    for (uint32_t i = 0; i < c->shard_count; i++) {
        const struct qv_shard_tell *t = qv_node_survey_shard(s, c, i, NULL);
        if (t != NULL)
            add_fields(t, list, n);
    }
    qv_node_survey_sum(s, &info);
    memset(out, 0, sizeof *out);
    out->schema = list;
    out->schema_count = n;
    return qv_node_tell_collection(c, &info, arena, out);
}
