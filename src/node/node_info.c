/* What a node tells of a collection. */
#include "node/node_private.h"

#include <string.h>

/* Adds to the list how many of the shard's points hold a value at each indexed field. */
int qv_node_count_fields(struct qv_shard *s, unsigned reader, struct qv_arena *arena,
                         const struct qv_collection_config *config,
                         struct qv_payload_schema_entry *list, struct qv_errmsg *msg)
{
    for (uint32_t i = 0; i < config->payload_index_count; i++) {
        struct qv_cond cond = {.type = QV_COND_IS_EMPTY, .key = config->payload_indexes[i].field};
        struct qv_filter filter = {.must_not = &cond, .must_not_count = 1};
        const struct qv_count_req count = {.filter = &filter, .exact = true};
        uint64_t points = 0;
        int err = qv_path_parse(arena, cond.key, &cond.path, msg);
        if (err == 0)
            err = qv_filter_seal(&filter, arena, msg);
        if (err == 0)
            err = qv_shard_count(s, reader, arena, &count, &points, msg);
        if (err != 0)
            return err;
        list[i].points += points;
    }
    return 0;
}

/* Red: it takes no writes, or a part of it can't be answered. Yellow: rows wait for the graph, or
 * checkpoints fail and the log grows. */
static int tell_state(const struct qv_shard_info *info, struct qv_arena *arena,
                      struct qv_collection_info *out)
{
    const char *why = info->err != 0                ? info->reason
                      : info->log_reason[0] != '\0' ? info->log_reason
                      : info->damage[0] != '\0'     ? info->damage
                                                    : info->failing;
    bool red = info->err != 0 || info->log_reason[0] != '\0' || info->damage[0] != '\0';
    out->status = red                                           ? QV_COLLECTION_RED
                  : info->pending != 0 || info->failing[0] != 0 ? QV_COLLECTION_YELLOW
                                                                : QV_COLLECTION_GREEN;
    if (why[0] == '\0')
        return 0;
    out->optimizer_error = qv_arena_dup(arena, why, strlen(why) + 1);
    return out->optimizer_error == NULL ? QV_ENOMEM : 0;
}

/* ---- all its shards in one ---- */

static void keep_worst(struct qv_shard_info *all, const struct qv_shard_info *one)
{
    if (all->err == 0 && one->err != 0) {
        all->err = one->err;
        memcpy(all->reason, one->reason, sizeof all->reason);
    }
    if (all->log_reason[0] == '\0')
        memcpy(all->log_reason, one->log_reason, sizeof all->log_reason);
    if (all->damage[0] == '\0')
        memcpy(all->damage, one->damage, sizeof all->damage);
    if (all->failing[0] == '\0')
        memcpy(all->failing, one->failing, sizeof all->failing);
}

void qv_node_shard_info(struct qv_node *n, const struct qv_collection *c, struct qv_shard_info *out)
{
    struct qv_shard_info one;
    struct qv_shard *s;
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < c->shard_count; i++) {
        if (qv_node_shard_at(n, c, i, &s, NULL) != 0)
            continue; /* dropped meanwhile */
        qv_shard_info(s, &one);
        qv_shard_unref(s);
        out->points += one.points;
        out->indexed_vectors += one.indexed_vectors;
        out->pending += one.pending;
        out->dirty_bytes += one.dirty_bytes;
        out->disk_bytes += one.disk_bytes;
        out->vector_bytes += one.vector_bytes;
        out->payload_bytes += one.payload_bytes;
        out->payload_index_bytes += one.payload_index_bytes;
        out->checkpoints += one.checkpoints;
        keep_worst(out, &one);
    }
}

static int count_all_fields(struct qv_node *n, const struct qv_collection *c, unsigned reader,
                            struct qv_arena *arena, struct qv_collection_info *out,
                            struct qv_errmsg *msg)
{
    struct qv_payload_schema_entry *list =
        QV_ARENA_ARRAY(arena, struct qv_payload_schema_entry, c->config->payload_index_count);
    int err = list == NULL ? QV_ENOMEM : 0;
    for (uint32_t i = 0; i < c->config->payload_index_count && err == 0; i++)
        list[i].index = &c->config->payload_indexes[i];
    for (uint32_t i = 0; i < c->shard_count && err == 0; i++) {
        struct qv_shard *s;
        err = qv_node_shard_at(n, c, i, &s, msg);
        if (err == 0) {
            err = qv_node_count_fields(s, reader, arena, c->config, list, msg);
            qv_shard_unref(s);
        }
    }
    out->schema = list;
    out->schema_count = c->config->payload_index_count;
    return err;
}

int qv_node_tell_collection(const struct qv_collection *c, const struct qv_shard_info *info,
                            struct qv_arena *arena, struct qv_collection_info *out)
{
    out->config = c->config;
    out->points_count = info->points;
    out->indexed_vectors_count = info->indexed_vectors;
    out->segments_count = c->shard_count;
    return tell_state(info, arena, out);
}

int qv_node_collection_info(struct qv_node *n, const struct qv_collection *c, unsigned reader,
                            struct qv_arena *arena, struct qv_collection_info *out,
                            struct qv_errmsg *msg)
{
    struct qv_shard_info info;
    int err = 0;
    qv_node_shard_info(n, c, &info);
    memset(out, 0, sizeof *out);
    if (info.err != QV_ECORRUPT)
        err = count_all_fields(n, c, reader, arena, out, msg);
    if (err == QV_ECORRUPT) { /* its state can be told though its payloads can't be read */
        err = 0;
        qv_node_shard_info(n, c, &info);
    }
    return err == 0 ? qv_node_tell_collection(c, &info, arena, out) : err;
}

void qv_node_stats(struct qv_node *n, struct qv_store_stats *out)
{
    pthread_mutex_lock(&n->lock);
    *out = n->stats;
    pthread_mutex_unlock(&n->lock);
}
