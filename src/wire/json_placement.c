/* What of a collection's configuration is ours, beside the API's: "quiver": {"placement": {..},
 * "replication": {..}, "regions": ..}. */
#include "wire/json_collection.h"
#include "wire/json_parts.h"
#include "wire/json_write.h"

static bool begin_optional(struct qv_json *j)
{
    if (qv_json_null(j))
        return false;
    qv_json_begin_object(j);
    return true;
}

/* ---- placement ---- */

static void read_strategy(struct qv_json *j, struct qv_placement_config *out)
{
    struct qv_errmsg msg = {""};
    const struct qv_str name = qv_json_string(j);
    if (j->err != 0)
        return;
    int err = qv_placement_strategy_parse(name, &out->strategy, &msg);
    if (err == 0 && out->strategy == QV_PLACEMENT_CLUSTER)
        err = qv_not_served_fail(QV_NOT_SERVED_PLACEMENT_CLUSTER, &msg);
    qv_json_fail_below(j, err, &msg);
}

static void read_virtual_nodes(struct qv_json *j, struct qv_placement_config *out)
{
    out->virtual_nodes = 0;
    if (qv_json_null(j))
        return;
    const uint64_t n = qv_json_u64(j);
    if (j->err == 0 && (n < 1 || n > QV_PLACEMENT_VIRTUAL_NODES_MAX))
        qv_json_fail(j, QV_EINVAL, "placement: %llu virtual nodes, not 1 to %u",
                     (unsigned long long)n, QV_PLACEMENT_VIRTUAL_NODES_MAX);
    else
        out->virtual_nodes = (uint32_t)n;
}

/* null: none. */
static struct qv_id read_bound(struct qv_json *j)
{
    return qv_json_null(j) ? (struct qv_id){0} : qv_json_id(j);
}

static struct qv_placement_range read_range(struct qv_json *j)
{
    struct qv_placement_range r = {.shard = 0};
    struct qv_str key;
    bool has_shard = false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "from")) {
            r.ids.from = read_bound(j);
        } else if (qv_str_is(key, "to")) {
            r.ids.to = read_bound(j);
        } else if (qv_str_is(key, "shard")) {
            r.shard = qv_json_u32(j);
            has_shard = true;
        } else {
            qv_json_skip(j);
        }
    }
    if (j->err == 0 && !has_shard)
        qv_json_fail_missing(j, "shard");
    return r;
}

static void read_ranges(struct qv_json *j, struct qv_placement_config *out)
{
    struct qv_placement_range *list = NULL;
    uint32_t cap = 0;
    out->range_count = 0;
    out->ranges = NULL;
    if (qv_json_null(j))
        return;
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        const struct qv_placement_range r = read_range(j);
        list = qv_json_grow(j, list, out->range_count, &cap,
                            QV_JSON_LIST(*list, QV_PLACEMENT_RANGES_MAX, "ranges"));
        if (list == NULL)
            return;
        list[out->range_count++] = r;
        out->ranges = list;
    }
}

/* What a strategy has no use for is a mistake, not a wish. */
static void check_fields(struct qv_json *j, const struct qv_placement_config *p)
{
    const char *name = qv_placement_strategy_name(p->strategy);
    if (p->virtual_nodes != 0 && p->strategy != QV_PLACEMENT_CONSISTENT_HASH)
        qv_json_fail(j, QV_EINVAL, "placement: %s has no virtual_nodes", name);
    if (p->range_count != 0 && p->strategy != QV_PLACEMENT_RANGE)
        qv_json_fail(j, QV_EINVAL, "placement: %s has no ranges", name);
}

static void read_placement(struct qv_json *j, struct qv_placement_config *out)
{
    struct qv_str key;
    *out = (struct qv_placement_config){.strategy = QV_PLACEMENT_HASH};
    if (!begin_optional(j))
        return;
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "strategy"))
            read_strategy(j, out);
        else if (qv_str_is(key, "virtual_nodes"))
            read_virtual_nodes(j, out);
        else if (qv_str_is(key, "ranges"))
            read_ranges(j, out);
        else if (qv_str_is(key, "centroids"))
            qv_json_refuse(j, QV_NOT_SERVED_PLACEMENT_CLUSTER);
        else
            qv_json_fail(j, QV_EINVAL,
                         "placement: unknown field '%.*s'; there are strategy, virtual_nodes and "
                         "ranges",
                         key.n < 64 ? (int)key.n : 64, key.p);
    }
    if (j->err == 0)
        check_fields(j, out);
}

static void write_bound(struct qv_buf *b, bool *first, const char *key, const struct qv_id *id)
{
    char text[QV_ID_TEXT_MAX];
    if (id->type == 0)
        return;
    qv_json_write_key(b, first, key);
    if (id->type == QV_ID_NUM) {
        qv_json_write_u64(b, id->lo);
        return;
    }
    qv_id_format(id, text);
    qv_json_write_text(b, text);
}

static void write_ranges(struct qv_buf *b, bool *first, const struct qv_placement_config *p)
{
    qv_json_write_key(b, first, "ranges");
    qv_buf_append(b, "[", 1);
    for (uint32_t i = 0; i < p->range_count; i++) {
        bool in = true;
        qv_buf_str(b, i == 0 ? "{" : ",{");
        write_bound(b, &in, "from", &p->ranges[i].ids.from);
        write_bound(b, &in, "to", &p->ranges[i].ids.to);
        qv_json_write_key(b, &in, "shard");
        qv_json_write_u64(b, p->ranges[i].shard);
        qv_buf_append(b, "}", 1);
    }
    qv_buf_append(b, "]", 1);
}

void qv_json_write_quiver(struct qv_buf *b, bool *first, const struct qv_collection_config *c)
{
    const struct qv_placement_config *p = &c->placement;
    bool in = true;
    if (p->strategy == QV_PLACEMENT_HASH)
        return;
    qv_json_write_key(b, first, "quiver");
    qv_buf_str(b, "{\"placement\":{");
    qv_json_write_key(b, &in, "strategy");
    qv_json_write_text(b, qv_placement_strategy_name(p->strategy));
    if (p->virtual_nodes != 0) {
        qv_json_write_key(b, &in, "virtual_nodes");
        qv_json_write_u64(b, p->virtual_nodes);
    }
    if (p->range_count != 0)
        write_ranges(b, &in, p);
    qv_buf_str(b, "}}");
}

/* ---- the rest ---- */

/* {"mode": "leader"}: what one copy does anyway; the rest is to come. */
static void read_replication(struct qv_json *j)
{
    struct qv_json_mark m;
    struct qv_str key;
    if (!begin_optional(j))
        return;
    while (qv_json_next_key(j, &key)) {
        if (!qv_str_is(key, "mode") || qv_json_peek(j) != QV_JSON_STRING) {
            qv_json_refuse(j, QV_NOT_SERVED_QUIVER_REPLICATION);
            continue;
        }
        m = qv_json_mark(j);
        if (!qv_str_is(qv_json_string(j), "leader")) {
            qv_json_restore(j, m);
            qv_json_refuse(j, QV_NOT_SERVED_QUIVER_REPLICATION);
        }
    }
}

void qv_json_quiver(struct qv_json *j, struct qv_collection_config *out)
{
    struct qv_str key;
    out->placement = (struct qv_placement_config){.strategy = QV_PLACEMENT_HASH};
    if (!begin_optional(j))
        return;
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "placement"))
            read_placement(j, &out->placement);
        else if (qv_str_is(key, "replication"))
            read_replication(j);
        else if (qv_str_is(key, "regions"))
            qv_json_refuse(j, QV_NOT_SERVED_QUIVER_REGIONS);
        else
            qv_json_skip(j);
    }
}
