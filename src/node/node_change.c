/* Changes of a collection's configuration: a new value under generation + 1. What it needs on disk
 * is made first, then the metadata names it, then the shard and the requests see it. */
#include "node/node_private.h"

#include <string.h>

static int next_value(const struct qv_collection *c, const struct qv_collection_config *config,
                      const struct qv_collection **out)
{
    struct qv_collection_spec spec = {.name = c->name,
                                      .generation = c->generation + 1,
                                      .config = config,
                                      .shard_count = c->shard_count,
                                      .shards = c->shards,
                                      .before = c};
    memcpy(spec.uuid, c->uuid, sizeof spec.uuid);
    return qv_collection_create(&spec, out);
}

/* Tells the first `count` shards. */
static void set_config(struct qv_node *n, const struct qv_collection *c, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        qv_store_set_config(n->store, qv_node_store_number(n, c, i), c->config,
                            (uint32_t)c->generation);
}

static int commit(struct qv_node *n, const struct qv_collection *c,
                  const struct qv_collection_config *config, struct qv_errmsg *msg)
{
    const struct qv_collection *next;
    int err = next_value(c, config, &next);
    if (err != 0)
        return err;
    uint32_t prepared = 0;
    while (prepared < c->shard_count && err == 0) {
        err = qv_store_prepare_config(n->store, qv_node_store_number(n, c, prepared), next->config,
                                      msg);
        prepared += err == 0;
    }
    if (err == 0)
        err = qv_node_save_collection(n, next, msg);
    if (err != 0) {
        set_config(n, c, prepared);
        qv_collection_unref(next);
        return err;
    }
    set_config(n, next, next->shard_count);
    qv_node_set_topology(n, qv_topology_with(n->topology, n->records->epoch, next));
    return 0;
}

int qv_node_update_collection(struct qv_node *n, struct qv_str name,
                              const struct qv_config_diff *diff, struct qv_errmsg *msg)
{
    const struct qv_collection *c = qv_topology_find(n->topology, name);
    struct qv_collection_config *config;
    struct qv_arena arena;
    if (c == NULL)
        return qv_node_missing(name, msg);
    qv_arena_init(&arena, QV_NODE_RECORD_ARENA_BYTES);
    int err = qv_config_apply(&arena, c->config, diff, &config, msg);
    if (err == 0)
        err = commit(n, c, config, msg);
    qv_arena_close(&arena);
    return err;
}

/* ---- named vectors ---- */

int qv_node_create_vector(struct qv_node *n, struct qv_str name, const struct qv_vector_spec *spec,
                          struct qv_errmsg *msg)
{
    const struct qv_collection *c = qv_topology_find(n->topology, name);
    struct qv_str vector = spec->dense != NULL ? spec->dense->name : spec->sparse->name;
    const struct qv_collection_config *config;
    struct qv_arena arena;
    if (c == NULL)
        return qv_node_missing(name, msg);
    if (vector.n == 0)
        return qv_fail(msg, QV_EVALIDATION, "vector_name: must not be empty");
    qv_arena_init(&arena, QV_NODE_RECORD_ARENA_BYTES);
    int err = qv_config_add_vector(&arena, c->config, spec, &config, msg);
    if (err == 0 && config != c->config)
        err = commit(n, c, config, msg);
    qv_arena_close(&arena);
    return err;
}

int qv_node_delete_vector(struct qv_node *n, struct qv_str name, struct qv_str vector,
                          struct qv_errmsg *msg)
{
    const struct qv_collection *c = qv_topology_find(n->topology, name);
    const struct qv_collection_config *config;
    struct qv_arena arena;
    if (c == NULL)
        return qv_node_missing(name, msg);
    qv_arena_init(&arena, QV_NODE_RECORD_ARENA_BYTES);
    int err = qv_config_drop_vector(&arena, c->config, vector, &config);
    if (err == 0 && config != c->config)
        err = commit(n, c, config, msg);
    qv_arena_close(&arena);
    return err;
}

/* ---- payload indexes ---- */

static int changed_indexes(const struct qv_collection_config *config, struct qv_str field,
                           const struct qv_payload_index *index, struct qv_arena *arena,
                           struct qv_collection_config *out, bool *changed)
{
    struct qv_payload_index *list =
        QV_ARENA_ARRAY(arena, struct qv_payload_index, config->payload_index_count + 1);
    if (list == NULL)
        return QV_ENOMEM;
    uint32_t n = 0;
    *out = *config;
    *changed = index != NULL;
    for (uint32_t i = 0; i < config->payload_index_count; i++) {
        if (qv_str_equal(config->payload_indexes[i].field, field))
            *changed = true;
        else
            list[n++] = config->payload_indexes[i];
    }
    if (index != NULL) {
        list[n] = *index;
        list[n].field = field;
        list[n].number = out->next_number++;
        n++;
    }
    out->payload_indexes = list;
    out->payload_index_count = n;
    return 0;
}

int qv_node_set_payload_index(struct qv_node *n, struct qv_str name, struct qv_str field,
                              const struct qv_payload_index *index, struct qv_errmsg *msg)
{
    const struct qv_collection *c = qv_topology_find(n->topology, name);
    struct qv_collection_config config;
    struct qv_arena arena;
    bool changed = false;
    if (c == NULL)
        return qv_node_missing(name, msg);
    int err = index != NULL ? qv_payload_index_check(index, msg) : 0;
    if (err != 0)
        return err;
    qv_arena_init(&arena, QV_NODE_RECORD_ARENA_BYTES);
    err = changed_indexes(c->config, field, index, &arena, &config, &changed);
    if (err == 0 && changed)
        err = commit(n, c, &config, msg);
    qv_arena_close(&arena);
    return err;
}

/* ---- what a change leaves ---- */

int qv_node_changed_config(const struct qv_node_change *x, const struct qv_collection *c,
                           struct qv_arena *arena, const struct qv_collection_config **config,
                           struct qv_errmsg *msg)
{
    struct qv_collection_config *made = NULL;
    bool changed = false;
    int err;
    *config = c->config;
    switch (x->kind) {
    case QV_NODE_UPDATE:
        err = qv_config_apply(arena, c->config, x->diff, &made, msg);
        if (err == 0)
            *config = made;
        return err;
    case QV_NODE_CREATE_VECTOR:
        return qv_config_add_vector(arena, c->config, x->vector, config, msg);
    case QV_NODE_DELETE_VECTOR:
        return qv_config_drop_vector(arena, c->config, x->field, config);
    case QV_NODE_SET_INDEX:
        made = QV_ARENA_NEW(arena, struct qv_collection_config);
        if (made == NULL)
            return QV_ENOMEM;
        err = x->index != NULL ? qv_payload_index_check(x->index, msg) : 0;
        if (err == 0)
            err = changed_indexes(c->config, x->field, x->index, arena, made, &changed);
        if (err == 0 && changed)
            *config = made;
        return err;
    default:
        return QV_EINTERNAL;
    }
}
