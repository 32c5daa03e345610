/* What a cluster tells of itself, as JSON. Shapes of /cluster, /cluster/telemetry and
 * /collections/{c}/cluster are the API's; /cluster/status is ours: what `quiver cluster` draws. */
#include "server/edge.h"
#include "server/op_cluster.h"
#include "wire/json_write.h"
#include "wire/pb_out.h"

#include <stdio.h>
#include <time.h>

static void put_u64(struct qv_buf *b, const char *key, uint64_t v)
{
    qv_buf_printf(b, "\"%s\":%llu", key, (unsigned long long)v);
}

static void put_text(struct qv_buf *b, const char *key, const char *text)
{
    qv_buf_printf(b, "\"%s\":", key);
    qv_json_write_text(b, text);
}

static void put_str(struct qv_buf *b, const char *key, struct qv_str text)
{
    qv_buf_printf(b, "\"%s\":", key);
    qv_json_write_str(b, text);
}

static void comma(struct qv_buf *b, bool *first)
{
    if (!*first)
        qv_buf_str(b, ",");
    *first = false;
}

static void put_now(struct qv_op *op, struct qv_buf *b)
{
    struct tm tm;
    char text[64];
    const uint64_t ms = qv_env_wall_ns(qv_node_env(qv_edge_node(op->edge))) / QV_NS_PER_MS;
    time_t seconds = (time_t)(ms / 1000);
    gmtime_r(&seconds, &tm);
    snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned)(ms % 1000));
    qv_json_write_text(b, text);
}

static void put_uri(struct qv_buf *b, const struct qv_member *m)
{
    char uri[QV_MEMBER_HOST_BYTES_MAX + 32];
    snprintf(uri, sizeof uri, "http://%s:%u/", m->host, m->peer_port);
    put_text(b, "uri", uri);
}

/* ---- GET /cluster ---- */

static void put_thread_status(struct qv_op *op, struct qv_buf *b)
{
    const struct qv_membership_status *s = &op->survey->status;
    if (s->why[0] == '\0') {
        qv_buf_str(b, "{\"consensus_thread_status\":\"working\",\"last_update\":");
        put_now(op, b);
    } else {
        qv_buf_str(b, "{\"consensus_thread_status\":\"stopped_with_err\",");
        put_text(b, "err", s->why);
    }
    qv_buf_str(b, "}");
}

static void put_failures(struct qv_op *op, struct qv_buf *b)
{
    bool first = true;
    for (uint32_t i = 0; i < op->survey->count; i++) {
        const struct qv_survey_node *node = &op->survey->nodes[i];
        if (node->connected || node->why[0] == '\0')
            continue;
        comma(b, &first);
        qv_buf_printf(b, "\"http://%s:%u/\":{\"count\":1,", node->member->host,
                      node->member->peer_port);
        put_text(b, "latest_error", node->why);
        qv_buf_str(b, ",\"latest_error_timestamp\":");
        put_now(op, b);
        qv_buf_str(b, "}");
    }
}

void qv_cluster_write(struct qv_op *op, struct qv_buf *b)
{
    const struct qv_node_survey *s = op->survey;
    if (s == NULL) {
        qv_buf_str(b, "{\"status\":\"disabled\"}");
        return;
    }
    qv_buf_str(b, "{\"status\":\"enabled\",");
    put_u64(b, "peer_id", qv_node_id(s->node));
    qv_buf_str(b, ",\"peers\":{");
    for (uint32_t i = 0; i < s->count; i++) {
        qv_buf_printf(b, "%s\"%llu\":{", i == 0 ? "" : ",",
                      (unsigned long long)s->nodes[i].member->id);
        put_uri(b, s->nodes[i].member);
        qv_buf_str(b, "}");
    }
    qv_buf_printf(b, "},\"raft_info\":{\"term\":%llu,\"commit\":%llu,\"pending_operations\":%u,",
                  (unsigned long long)s->status.epoch, (unsigned long long)s->status.epoch,
                  s->status.waiting);
    if (s->status.controller != 0) {
        put_u64(b, "leader", s->status.controller);
        qv_buf_str(b, ",");
    }
    qv_buf_printf(b, "\"role\":\"%s\",\"is_voter\":true},\"consensus_thread_status\":",
                  s->status.elected ? "Leader" : "Follower");
    put_thread_status(op, b);
    qv_buf_str(b, ",\"message_send_failures\":{");
    put_failures(op, b);
    qv_buf_str(b, "}}");
}

/* ---- GET /collections/{c}/cluster ---- */

static const char *shard_state(const struct qv_node_survey *s, const struct qv_collection *c,
                               uint32_t i)
{
    const struct qv_shard_tell *t = qv_node_survey_shard(s, c, i, NULL);
    return t == NULL || t->err == QV_ECORRUPT ? "Dead" : "Active";
}

static void put_transfers(const struct qv_collection *c, struct qv_buf *b)
{
    bool first = true;
    for (uint32_t i = 0; i < c->shard_count; i++) {
        const struct qv_slot_place *p = &c->shards[i].slots[0];
        if (c->shards[i].slot_count == 0 || p->next == 0)
            continue;
        comma(b, &first);
        qv_buf_printf(b, "{\"shard_id\":%u,\"from\":%llu,\"to\":%llu,\"sync\":false}",
                      c->shards[i].number, (unsigned long long)p->holder,
                      (unsigned long long)p->next);
    }
}

/* A node alone. */
static void write_collection_alone(struct qv_op *op, const struct qv_collection *c,
                                   struct qv_buf *b)
{
    struct qv_node *n = qv_edge_node(op->edge);
    qv_buf_printf(b, "{\"peer_id\":0,\"shard_count\":%u,\"local_shards\":[", c->shard_count);
    for (uint32_t i = 0; i < c->shard_count; i++) {
        struct qv_shard_info info = {0};
        struct qv_shard *s;
        if (qv_node_shard_at(n, c, i, &s, NULL) == 0) {
            qv_shard_info(s, &info);
            qv_shard_unref(s);
        }
        qv_buf_printf(b, "%s{\"shard_id\":%u,\"points_count\":%llu,\"state\":\"%s\"}",
                      i == 0 ? "" : ",", c->shards[i].number, (unsigned long long)info.points,
                      info.err == QV_ECORRUPT ? "Dead" : "Active");
    }
    qv_buf_str(b, "],\"remote_shards\":[],\"shard_transfers\":[]}");
}

void qv_cluster_write_collection(struct qv_op *op, struct qv_buf *b)
{
    const struct qv_node_survey *s = op->survey;
    const struct qv_collection *c = qv_topology_find(op->topology, op->collection);
    bool first = true;
    if (s == NULL) {
        write_collection_alone(op, c, b);
        return;
    }
    const uint64_t self = qv_node_id(s->node);
    qv_buf_printf(b, "{\"peer_id\":%llu,\"shard_count\":%u,\"local_shards\":[",
                  (unsigned long long)self, c->shard_count);
    for (uint32_t i = 0; i < c->shard_count; i++) {
        const struct qv_shard_tell *t = qv_node_survey_shard(s, c, i, NULL);
        if (c->shards[i].slots[0].holder != self)
            continue;
        comma(b, &first);
        qv_buf_printf(b, "{\"shard_id\":%u,\"points_count\":%llu,\"state\":\"%s\"}",
                      c->shards[i].number, (unsigned long long)(t != NULL ? t->points : 0),
                      shard_state(s, c, i));
    }
    qv_buf_str(b, "],\"remote_shards\":[");
    first = true;
    for (uint32_t i = 0; i < c->shard_count; i++) {
        if (c->shards[i].slots[0].holder == self)
            continue;
        comma(b, &first);
        qv_buf_printf(b, "{\"shard_id\":%u,\"peer_id\":%llu,\"state\":\"%s\"}", c->shards[i].number,
                      (unsigned long long)c->shards[i].slots[0].holder, shard_state(s, c, i));
    }
    qv_buf_str(b, "],\"shard_transfers\":[");
    put_transfers(c, b);
    qv_buf_str(b, "]}");
}

/* ---- the same over gRPC ---- */

enum { REPLICA_ACTIVE = 0, REPLICA_DEAD = 1 }; /* ReplicaState */

static void put_pb_shard(struct qv_op *op, const struct qv_collection *c, uint32_t i,
                         struct qv_buf *b)
{
    const struct qv_node_survey *s = op->survey;
    const uint64_t holder = s != NULL ? c->shards[i].slots[0].holder : 0;
    const bool local = s == NULL || holder == qv_node_id(s->node);
    const struct qv_shard_tell *t = s != NULL ? qv_node_survey_shard(s, c, i, NULL) : NULL;
    struct qv_shard_info info = {0};
    struct qv_shard *shard;
    if (s == NULL && qv_node_shard_at(qv_edge_node(op->edge), c, i, &shard, NULL) == 0) {
        qv_shard_info(shard, &info);
        qv_shard_unref(shard);
    }
    const bool dead = s != NULL ? t == NULL || t->err == QV_ECORRUPT : info.err == QV_ECORRUPT;
    const size_t mark = qv_pb_begin(b, local ? 3 : 4); /* LocalShardInfo, RemoteShardInfo */
    qv_pb_put_u64(b, 1, c->shards[i].number);
    qv_pb_put_u64(b, 2, !local ? holder : t != NULL ? t->points : info.points);
    qv_pb_put_u64(b, 3, dead ? REPLICA_DEAD : REPLICA_ACTIVE);
    qv_pb_end(b, mark);
}

void qv_cluster_answer_collection(struct qv_op *op, struct qv_buf *b, double seconds)
{
    const struct qv_collection *c = qv_topology_find(op->topology, op->collection);
    qv_pb_put_u64(b, 1, op->survey != NULL ? qv_node_id(op->survey->node) : 0);
    qv_pb_put_u64(b, 2, c->shard_count);
    for (uint32_t i = 0; i < c->shard_count; i++)
        put_pb_shard(op, c, i, b);
    for (uint32_t i = 0; i < c->shard_count; i++) {
        const struct qv_slot_place *p = &c->shards[i].slots[0];
        if (c->shards[i].slot_count == 0 || p->next == 0)
            continue;
        const size_t mark = qv_pb_begin(b, 5); /* ShardTransferInfo */
        qv_pb_put_u64(b, 1, c->shards[i].number);
        qv_pb_put_u64(b, 2, p->holder);
        qv_pb_put_u64(b, 3, p->next);
        qv_pb_put_bool(b, 4, false);
        qv_pb_end(b, mark);
    }
    qv_pb_put_f64(b, 7, seconds);
}

/* ---- GET /cluster/telemetry ---- */

static void put_peer(const struct qv_survey_node *node, struct qv_buf *b)
{
    qv_buf_printf(b, "\"%llu\":{", (unsigned long long)node->member->id);
    put_uri(b, node->member);
    qv_buf_printf(b, ",\"responsive\":%s", node->asked && node->err == 0 ? "true" : "false");
    if (node->asked && node->err == 0) {
        qv_buf_str(b, ",\"details\":{");
        put_str(b, "version", node->tell.version);
        qv_buf_printf(b,
                      ",\"role\":\"Follower\",\"is_voter\":true,\"term\":%llu,\"commit\":%llu,"
                      "\"num_pending_operations\":0}",
                      (unsigned long long)node->tell.epoch, (unsigned long long)node->tell.epoch);
    }
    qv_buf_str(b, "}");
}

static void put_telemetry_shard(const struct qv_node_survey *s, const struct qv_collection *c,
                                uint32_t i, struct qv_buf *b)
{
    const struct qv_shard_tell *t = qv_node_survey_shard(s, c, i, NULL);
    qv_buf_printf(b, "{\"id\":%u,\"replicas\":[{\"peer_id\":%llu,\"state\":\"%s\"",
                  c->shards[i].number, (unsigned long long)c->shards[i].slots[0].holder,
                  shard_state(s, c, i));
    if (t != NULL) {
        qv_buf_str(b, ",");
        put_u64(b, "num_points", t->points);
    }
    qv_buf_str(b, "}]}");
}

void qv_cluster_write_telemetry(struct qv_op *op, struct qv_buf *b)
{
    const struct qv_node_survey *s = op->survey;
    qv_buf_str(b, "{\"collections\":{");
    for (uint32_t i = 0; i < op->topology->count; i++) {
        const struct qv_collection *c = op->topology->collections[i];
        qv_buf_str(b, i == 0 ? "" : ",");
        qv_json_write_str(b, c->name);
        qv_buf_str(b, ":{");
        put_str(b, "id", c->name);
        qv_buf_str(b, ",\"shards\":[");
        for (uint32_t k = 0; k < c->shard_count; k++) {
            qv_buf_str(b, k == 0 ? "" : ",");
            put_telemetry_shard(s, c, k, b);
        }
        qv_buf_str(b, "],\"shard_transfers\":[");
        put_transfers(c, b);
        qv_buf_str(b, "]}");
    }
    qv_buf_printf(b, "},\"cluster\":{\"enabled\":true,\"number_of_peers\":%u,\"peers\":{",
                  s->count);
    for (uint32_t i = 0; i < s->count; i++) {
        qv_buf_str(b, i == 0 ? "" : ",");
        put_peer(&s->nodes[i], b);
    }
    qv_buf_str(b, "}}}");
}

/* ---- GET /cluster/status ---- */

static const char *const role_names[] = {"all", "proxy", "shard"};
static const char *const step_names[] = {"none", "follow", "both", "new-reads"};

static void put_node(const struct qv_survey_node *node, struct qv_buf *b)
{
    const struct qv_member *m = node->member;
    char addr[QV_MEMBER_HOST_BYTES_MAX + 8];
    snprintf(addr, sizeof addr, "%s:%u", m->host, m->peer_port);
    qv_buf_str(b, "{");
    put_u64(b, "id", m->id);
    qv_buf_str(b, ",");
    put_text(b, "role", m->role <= QV_ROLE_SHARD ? role_names[m->role] : "?");
    qv_buf_str(b, ",");
    put_text(b, "zone", m->zone);
    qv_buf_str(b, ",");
    put_text(b, "state",
             node->err != 0                   ? "away"
             : m->state == QV_MEMBER_DRAINING ? "draining"
                                              : "active");
    qv_buf_str(b, ",");
    put_text(b, "addr", addr);
    qv_buf_printf(b, ",\"http_port\":%u,\"grpc_port\":%u,\"self\":%s", m->http_port, m->grpc_port,
                  node->self ? "true" : "false");
    if (node->err == 0) {
        qv_buf_str(b, ",");
        put_u64(b, "epoch", node->tell.epoch);
        qv_buf_printf(b, ",\"metadata\":%s,", node->tell.reachable ? "true" : "false");
        put_str(b, "version", node->tell.version);
    }
    if (node->err != 0 && node->why[0] != '\0') {
        qv_buf_str(b, ",");
        put_text(b, "why", node->why);
    } else if (node->tell.why.n > 0) {
        qv_buf_str(b, ",");
        put_str(b, "why", node->tell.why);
    }
    qv_buf_str(b, "}");
}

static void put_replica(const struct qv_shard_place *place, const struct qv_shard_tell *t,
                        const struct qv_survey_node *from, struct qv_buf *b)
{
    const struct qv_slot_place *p = &place->slots[0];
    const bool away = from == NULL || from->err != 0;
    qv_buf_str(b, "\"replicas\":[{");
    put_u64(b, "node", p->step == QV_STEP_NEW_READS ? p->next : p->holder);
    qv_buf_str(b, ",");
    put_text(b, "state",
             t == NULL && away ? "away"
             : t == NULL       ? "missing"
             : t->err != 0     ? "failed"
             : t->pending > 0  ? "indexing"
                               : "active");
    qv_buf_str(b, ",\"lag\":0}");
    if (p->next != 0 && p->step != QV_STEP_NEW_READS) {
        qv_buf_str(b, ",{");
        put_u64(b, "node", p->next);
        qv_buf_printf(b, ",\"state\":\"%s\"}", step_names[p->step % QV_STEP_COUNT]);
    }
    qv_buf_str(b, "]");
}

static void put_shard(const struct qv_node_survey *s, const struct qv_collection *c, uint32_t i,
                      struct qv_buf *b)
{
    const struct qv_survey_node *from;
    const struct qv_shard_tell *t = qv_node_survey_shard(s, c, i, &from);
    qv_buf_str(b, i == 0 ? "{" : ",{");
    put_u64(b, "id", c->shards[i].number);
    qv_buf_str(b, ",");
    put_u64(b, "epoch", c->shards[i].epoch);
    qv_buf_str(b, ",");
    put_u64(b, "points", t != NULL ? t->points : 0);
    qv_buf_str(b, ",");
    put_u64(b, "bytes", t != NULL ? t->disk_bytes : 0);
    qv_buf_str(b, ",");
    put_u64(b, "pending", t != NULL ? t->pending : 0);
    qv_buf_str(b, ",");
    put_replica(&c->shards[i], t, from, b);
    if (t != NULL && t->err != 0) {
        qv_buf_str(b, ",");
        put_str(b, "why", t->reason);
    }
    qv_buf_str(b, "}");
}

/* What is under way between holders. */
static void put_tasks(const struct qv_topology *t, struct qv_buf *b)
{
    bool first = true;
    for (uint32_t i = 0; i < t->count; i++) {
        const struct qv_collection *c = t->collections[i];
        for (uint32_t k = 0; k < c->shard_count; k++) {
            const struct qv_slot_place *p = &c->shards[k].slots[0];
            if (p->next == 0)
                continue;
            comma(b, &first);
            qv_buf_str(b, "{");
            put_u64(b, "id", p->transfer);
            qv_buf_str(b, ",\"kind\":\"move\",");
            put_str(b, "collection", c->name);
            qv_buf_printf(b, ",\"shard\":%u,\"from\":%llu,\"to\":%llu,\"state\":\"%s\"}",
                          c->shards[k].number, (unsigned long long)p->holder,
                          (unsigned long long)p->next, step_names[p->step % QV_STEP_COUNT]);
        }
    }
}

static void put_metadata(const struct qv_membership_status *s, struct qv_buf *b)
{
    qv_buf_printf(b, "\"metadata\":{\"reachable\":%s,\"waiting\":%u,",
                  s->reachable ? "true" : "false", s->waiting);
    put_text(b, "why", s->why);
    qv_buf_str(b, "}");
}

void qv_cluster_write_status(struct qv_op *op, struct qv_buf *b)
{
    const struct qv_node_survey *s = op->survey;
    qv_buf_str(b, "{");
    put_u64(b, "epoch", s->status.epoch);
    qv_buf_str(b, ",");
    put_u64(b, "controller", s->status.controller);
    qv_buf_str(b, ",");
    put_metadata(&s->status, b);
    qv_buf_str(b, ",\"nodes\":[");
    for (uint32_t i = 0; i < s->count; i++) {
        qv_buf_str(b, i == 0 ? "" : ",");
        put_node(&s->nodes[i], b);
    }
    qv_buf_str(b, "],\"collections\":[");
    for (uint32_t i = 0; i < op->topology->count; i++) {
        const struct qv_collection *c = op->topology->collections[i];
        qv_buf_str(b, i == 0 ? "{" : ",{");
        put_str(b, "name", c->name);
        qv_buf_str(b, ",\"placement\":\"hash\",\"shards\":[");
        for (uint32_t k = 0; k < c->shard_count; k++)
            put_shard(s, c, k, b);
        qv_buf_str(b, "]}");
    }
    qv_buf_str(b, "],\"tasks\":[");
    put_tasks(op->topology, b);
    qv_buf_str(b, "]}");
}
