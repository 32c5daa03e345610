/* Collections made and deleted: a collection is a record of the metadata and a shard, or several,
 * in the store. The shards' files are made first, then the record names them; deleted the other way
 * round. */
#include "node/node_private.h"

#include "base/utf8.h"

#include <string.h>

int qv_node_check_name(struct qv_str name, struct qv_errmsg *msg)
{
    if (name.n == 0)
        return qv_fail(msg, QV_EVALIDATION, "collection_name: must not be empty");
    if (!qv_utf8_valid(name.p, name.n))
        return qv_fail(msg, QV_EVALIDATION, "collection_name: must be UTF-8");
    if (qv_str_equal(name, qv_str_of(".")) || qv_str_equal(name, qv_str_of("..")))
        return qv_fail(msg, QV_EVALIDATION,
                       "collection_name: clients take '.' and '..' out of "
                       "paths, so they can't be names");
    if (name.n > QV_NAME_BYTES_MAX)
        return qv_fail(msg, QV_EVALIDATION,
                       "collection_name: is %zu bytes long, must be %u at most", name.n,
                       QV_NAME_BYTES_MAX);
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (c < 0x20 || c == 0x7F || strchr("<>:\"/\\|?*", c) != NULL)
            return qv_fail(msg, QV_EVALIDATION, "collection_name: character 0x%02x is not allowed",
                           c);
    }
    return 0;
}

/* A new collection's shards are numbered from 0. */
static int check_placement(const struct qv_collection_config *config, struct qv_errmsg *msg)
{
    uint32_t numbers[QV_SHARDS_MAX];
    for (uint32_t i = 0; i < config->shard_number; i++)
        numbers[i] = i;
    const struct qv_placement_spec spec =
        qv_placement_spec_of_config(&config->placement, numbers, config->shard_number);
    return qv_placement_check(&spec, msg);
}

int qv_node_check_new_in(const struct qv_topology *t, struct qv_str name,
                         const struct qv_collection_config *config, struct qv_errmsg *msg)
{
    int err = qv_node_check_name(name, msg);
    if (err == 0)
        err = qv_config_check(config, msg);
    if (err != 0)
        return err;
    if (qv_topology_alias(t, name) != NULL)
        return qv_fail(msg, QV_EINVAL,
                       "Can't create collection with name %.*s. Alias with the same name already "
                       "exists",
                       (int)name.n, name.p);
    if (qv_topology_find_own(t, name) != NULL)
        return qv_fail(msg, QV_EEXISTS, "Collection `%.*s` already exists!", (int)name.n, name.p);
    if (t->count >= QV_COLLECTIONS_MAX)
        return qv_fail(msg, QV_ELIMIT, "%u collections exist: more are not allowed",
                       QV_COLLECTIONS_MAX);
    if (config->shard_number > QV_SHARDS_MAX)
        return qv_fail(msg, QV_EVALIDATION, "shard_number: value %u invalid, must be %u or smaller",
                       config->shard_number, QV_SHARDS_MAX);
    if (config->replication_factor > 1)
        return qv_fail(msg, QV_ENOTIMPL, "Not implemented: replication_factor > 1");
    return check_placement(config, msg);
}

int qv_node_check_new(struct qv_node *n, struct qv_str name,
                      const struct qv_collection_config *config, struct qv_errmsg *msg)
{
    return qv_node_check_new_in(n->topology, name, config, msg);
}

void qv_node_collection_gone(void *arg)
{
    qv_collection_unref(arg);
}

void qv_node_drop_shards(struct qv_node *n, const struct qv_collection *c)
{
    for (uint32_t i = 0; i < c->shard_count; i++) {
        uint32_t store = qv_node_store_number(n, c, i);
        if (store == 0)
            continue;
        qv_node_local_remove(n, c->uuid, c->shards[i].number);
        qv_collection_ref(c);
        qv_store_drop_shard(n->store, store, qv_node_collection_gone, (void *)(uintptr_t)c);
    }
}

/* The files of all its shards; on an error those that were made go again. */
static int add_shards(struct qv_node *n, const struct qv_collection *c, struct qv_errmsg *msg)
{
    struct qv_shard *shard;
    int err = 0;
    for (uint32_t i = 0; i < c->shard_count && err == 0; i++) {
        struct qv_shard_spec spec = qv_node_spec_of(c, i, n->next_shard++);
        err = qv_store_add_shard(n->store, &spec, &shard, msg);
        if (err == 0)
            qv_node_local_add(n, c->uuid, c->shards[i].number, spec.number);
    }
    if (err != 0)
        qv_node_drop_shards(n, c);
    return err;
}

static int new_collection(struct qv_node *n, struct qv_str name,
                          const struct qv_collection_config *config,
                          const struct qv_collection **out)
{
    struct qv_shard_place shards[QV_SHARDS_MAX];
    struct qv_collection_spec spec = {.name = name,
                                      .generation = 1,
                                      .config = config,
                                      .shard_count = config->shard_number,
                                      .shards = shards};
    for (uint32_t i = 0; i < spec.shard_count; i++)
        shards[i] = (struct qv_shard_place){.number = i};
    qv_node_new_uuid(n, spec.uuid);
    return qv_collection_create(&spec, out);
}

int qv_node_create_collection(struct qv_node *n, struct qv_str name,
                              const struct qv_collection_config *config, struct qv_errmsg *msg)
{
    const struct qv_collection *c = NULL;
    int err = qv_node_check_new(n, name, config, msg);
    if (err == 0)
        err = new_collection(n, name, config, &c);
    if (err == 0)
        err = add_shards(n, c, msg);
    if (err != 0) {
        qv_collection_unref(c);
        return err;
    }
    err = qv_node_save_collection(n, c, msg);
    if (err != 0) { /* the shards go, and the collection's value with them */
        qv_node_drop_shards(n, c);
        qv_collection_unref(c);
        return err;
    }
    for (uint32_t i = 0; i < c->shard_count; i++) {
        struct qv_node_local *l = qv_node_local_find(n, c->uuid, c->shards[i].number);
        qv_node_local_reach(n, l, l->store);
    }
    qv_node_set_topology(n, qv_topology_with(n->topology, n->records->epoch, c));
    return 0;
}

int qv_node_delete_collection(struct qv_node *n, struct qv_str name, bool *existed,
                              struct qv_errmsg *msg)
{
    const struct qv_collection *c = qv_topology_find_own(n->topology, name);
    char key[QV_NODE_KEY_BYTES];
    *existed = c != NULL;
    if (c == NULL)
        return 0;
    const struct qv_topology *next = qv_topology_without(n->topology, n->records->epoch + 1, name);
    const struct qv_aliases_out *left = &next->aliases;
    struct qv_buf aliases;
    qv_buf_init(&aliases, QV_RECORDS_VALUE_BYTES_MAX);
    qv_node_encode_aliases(left->list, left->count, &aliases);
    qv_node_collection_key(c, key);
    const struct qv_records_change changes[] = {
        {key, {NULL, 0}},
        {QV_NODE_ALIAS_KEY, {aliases.data, aliases.len}},
    };
    bool fewer = left->count != n->topology->aliases.count;
    int err = aliases.failed
                  ? QV_ENOMEM
                  : qv_records_txn(n->records, n->records->epoch, changes, fewer ? 2 : 1, msg);
    if (err == QV_ENOSPC &&
        qv_store_use_reserve(n->store)) /* it makes room: not refused for want */
        err = qv_records_txn(n->records, n->records->epoch, changes, fewer ? 2 : 1, msg);
    qv_buf_close(&aliases);
    if (err != 0) {
        qv_topology_unref(next);
        return err;
    }
    /* The shards may still be read by requests under way, and read the configuration: the
     * collection's value stays until they are gone. */
    qv_collection_ref(c);
    qv_node_set_topology(n, next);
    qv_node_drop_shards(n, c);
    qv_collection_unref(c);
    return 0;
}
