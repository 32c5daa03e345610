/* POST /collections/{}/cluster: one operation on the collection's shards. */
#include "wire/json_parts.h"
#include "wire/json_request.h"

struct number_field {
    const char *key;
    uint64_t *out;
    bool found;
};

/* {"shard_id": .., "from_peer_id": .., "to_peer_id": ..}, all of them; "method" says how, and there
 * is one way. */
static void read_move(struct qv_json *j, struct qv_cluster_update *out)
{
    struct number_field fields[] = {{.key = "shard_id", .out = &out->shard},
                                    {.key = "from_peer_id", .out = &out->from},
                                    {.key = "to_peer_id", .out = &out->to}};
    struct qv_str key;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        size_t i = 0;
        while (i < 3 && !qv_str_is(key, fields[i].key))
            i++;
        if (i == 3) {
            qv_json_skip(j);
            continue;
        }
        *fields[i].out = qv_json_u64(j);
        fields[i].found = true;
    }
    if (out->shard > UINT32_MAX)
        qv_json_fail_at(j, j->p, "shard_id: value %llu is too large",
                        (unsigned long long)out->shard);
    for (size_t i = 0; i < 3; i++) {
        if (!fields[i].found)
            qv_json_fail_missing(j, fields[i].key);
    }
}

static bool refuse(struct qv_json *j, struct qv_str key)
{
    static const struct {
        const char *key;
        enum qv_not_served what;
    } others[] = {{"replicate_shard", QV_NOT_SERVED_REPLICATE_SHARD},
                  {"drop_replica", QV_NOT_SERVED_DROP_REPLICA},
                  {"create_sharding_key", QV_NOT_SERVED_CREATE_SHARDING_KEY},
                  {"drop_sharding_key", QV_NOT_SERVED_DROP_SHARDING_KEY},
                  {"restart_transfer", QV_NOT_SERVED_RESTART_TRANSFER},
                  {"start_resharding", QV_NOT_SERVED_START_RESHARDING},
                  {"abort_resharding", QV_NOT_SERVED_ABORT_RESHARDING},
                  {"replicate_points", QV_NOT_SERVED_REPLICATE_POINTS}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (qv_str_is(key, others[i].key)) {
            qv_json_refuse(j, others[i].what);
            return true;
        }
    }
    return false;
}

int qv_json_read_cluster_update(struct qv_bytes body, struct qv_arena *a,
                                struct qv_cluster_update *out, struct qv_errmsg *msg)
{
    struct qv_json j;
    struct qv_str key;
    bool found = false;
    *out = (struct qv_cluster_update){0};
    qv_json_init(&j, body, a, msg);
    qv_json_begin_object(&j);
    while (qv_json_next_key(&j, &key)) {
        bool move = qv_str_is(key, "move_shard");
        if (move || qv_str_is(key, "abort_transfer")) {
            out->kind = move ? QV_CLUSTER_MOVE_SHARD : QV_CLUSTER_ABORT_TRANSFER;
            read_move(&j, out);
            found = true;
        } else if (refuse(&j, key)) {
            found = true;
        } else {
            qv_json_skip(&j);
        }
    }
    if (!found)
        qv_json_fail_at(&j, j.p,
                        "data did not match any variant of untagged enum ClusterOperations");
    return qv_json_finish(&j);
}
