/* Changes of collections in a cluster: made from this node's tree, proposed, and when they are in
 * the tree, confirmed by the nodes that hold the collection's shards. Made anew while other changes
 * come first. */
#include "node/node_cluster.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "cluster/rebalance.h"
#include "node/node_private.h"

#include <string.h>

#define CONFIRM_NS_MIN QV_NS_PER_S

static void attempt(struct qv_node_change *x);

static void finish(struct qv_node_change *x, int err)
{
    qv_arena_close(&x->arena);
    x->done(x, err);
}

/* ---- entries ---- */

/* Adds key -> what b holds (b is emptied), or its removal (b NULL). */
static int add_entry(struct qv_node_change *x, const char *key, struct qv_buf *b)
{
    struct qv_mirror_entry *e = &x->entries[x->entry_count];
    if (x->entry_count == QV_PROPOSAL_CHANGES_MAX)
        return qv_fail(&x->msg, QV_ELIMIT, "more than %u records in one change",
                       (unsigned)QV_PROPOSAL_CHANGES_MAX);
    e->key = qv_arena_strndup(&x->arena, key, strlen(key));
    e->value = (struct qv_bytes){NULL, 0};
    bool failed = e->key == NULL;
    if (b != NULL) {
        e->value.n = b->len;
        e->value.p = qv_arena_dup(&x->arena, b->data, b->len);
        failed = failed || b->failed || e->value.p == NULL;
        qv_buf_close(b);
    }
    if (failed || e->value.n > QV_META_VALUE_BYTES_MAX)
        return qv_fail(&x->msg, QV_ETOOBIG, "a record of the change is larger than %u bytes",
                       QV_META_VALUE_BYTES_MAX);
    x->entry_count++;
    return 0;
}

static int put_collection(struct qv_node_change *x, const struct qv_collection *c)
{
    char key[QV_TREE_KEY_BYTES];
    struct qv_buf b;
    qv_buf_init(&b, QV_META_VALUE_BYTES_MAX);
    qv_tree_encode_collection(&b, c);
    qv_tree_collection_key(c->uuid, key);
    return add_entry(x, key, &b);
}

static int put_shard(struct qv_node_change *x, const uint8_t uuid[QV_UUID_BYTES],
                     const struct qv_shard_place *s)
{
    char key[QV_TREE_KEY_BYTES];
    struct qv_buf b;
    qv_buf_init(&b, QV_META_VALUE_BYTES_MAX);
    qv_tree_encode_shard(&b, s);
    qv_tree_shard_key(uuid, s->number, key);
    return add_entry(x, key, &b);
}

static int put_aliases(struct qv_node_change *x, const struct qv_aliases_out *a)
{
    struct qv_buf b;
    qv_buf_init(&b, QV_META_VALUE_BYTES_MAX);
    qv_tree_encode_aliases(&b, a->list, a->count);
    return add_entry(x, QV_TREE_ALIASES, &b);
}

/* ---- who holds a new shard ---- */

struct load {
    uint64_t id;
    uint32_t shards;
};

/* Those that may get shards, with how many they have. Returns how many there are. */
static uint32_t count_load(const struct qv_topology *t, struct load *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->member_count; i++) {
        const struct qv_member *m = &t->members[i];
        if (m->role != QV_ROLE_PROXY && m->state == QV_MEMBER_ACTIVE)
            out[n++] = (struct load){.id = m->id};
    }
    for (uint32_t i = 0; i < t->count; i++) {
        const struct qv_collection *c = t->collections[i];
        for (uint32_t k = 0; k < c->shard_count; k++) {
            for (uint32_t j = 0; j < n; j++)
                out[j].shards += out[j].id == c->shards[k].slots[0].holder;
        }
    }
    return n;
}

/* Equal loads: which comes first differs from collection to collection. */
static uint64_t least_loaded(struct load *list, uint32_t n, uint64_t salt)
{
    struct load *best = &list[0];
    for (uint32_t i = 1; i < n; i++) {
        struct load *l = &list[i];
        if (l->shards < best->shards ||
            (l->shards == best->shards && (l->id ^ salt) < (best->id ^ salt)))
            best = l;
    }
    best->shards++;
    return best->id;
}

/* ---- drafts ---- */

static int draft_create(struct qv_node_change *x, const struct qv_topology *t)
{
    struct qv_collection c = {.name = x->name, .generation = 1, .config = x->config};
    int err = qv_node_check_new_in(t, x->name, x->config, &x->msg);
    if (err != 0)
        return err;
    struct load *loads = QV_ARENA_ARRAY(&x->arena, struct load, t->member_count + 1);
    if (loads == NULL)
        return QV_ENOMEM;
    uint32_t nodes = count_load(t, loads);
    if (nodes == 0)
        return qv_fail(&x->msg, QV_EUNAVAILABLE, "no node of the cluster holds shards");
    uint64_t salt;
    memcpy(c.uuid, x->uuid, sizeof c.uuid);
    memcpy(&salt, x->uuid, sizeof salt);
    err = put_collection(x, &c);
    for (uint32_t i = 0; i < x->config->shard_number && err == 0; i++) {
        struct qv_shard_place s = {.number = i, .epoch = t->epoch + 1, .slot_count = 1};
        s.slots[0].holder = least_loaded(loads, nodes, salt);
        err = put_shard(x, x->uuid, &s);
    }
    return err;
}

static int draft_delete(struct qv_node_change *x, const struct qv_topology *t)
{
    const struct qv_collection *c = qv_topology_find_own(t, x->name);
    char key[QV_TREE_KEY_BYTES];
    x->existed = c != NULL;
    if (c == NULL)
        return 0;
    qv_tree_collection_key(c->uuid, key);
    int err = add_entry(x, key, NULL);
    for (uint32_t i = 0; i < c->shard_count && err == 0; i++) {
        qv_tree_shard_key(c->uuid, c->shards[i].number, key);
        err = add_entry(x, key, NULL);
    }
    const struct qv_topology *without = qv_topology_without(t, t->epoch, c->name);
    if (err == 0 && without->aliases.count != t->aliases.count)
        err = put_aliases(x, &without->aliases);
    qv_topology_unref(without);
    return err;
}

static int draft_config(struct qv_node_change *x, const struct qv_topology *t)
{
    const struct qv_collection *c = qv_topology_find(t, x->name);
    const struct qv_collection_config *config;
    if (c == NULL)
        return qv_node_missing(x->name, &x->msg);
    if (x->kind == QV_NODE_CREATE_VECTOR) {
        struct qv_str vector =
            x->vector->dense != NULL ? x->vector->dense->name : x->vector->sparse->name;
        if (vector.n == 0)
            return qv_fail(&x->msg, QV_EVALIDATION, "vector_name: must not be empty");
    }
    int err = qv_node_changed_config(x, c, &x->arena, &config, &x->msg);
    if (err != 0 || config == c->config)
        return err;
    struct qv_collection next = {
        .name = c->name, .generation = c->generation + 1, .config = config};
    memcpy(next.uuid, c->uuid, sizeof next.uuid);
    return put_collection(x, &next);
}

static int draft_aliases(struct qv_node_change *x, const struct qv_topology *t)
{
    struct qv_aliases_out made;
    if (x->aliases->count == 0)
        return 0;
    int err = qv_node_changed_aliases(t, x->aliases, &x->arena, &made, &x->msg);
    return err == 0 ? put_aliases(x, &made) : err;
}

/* ---- moves ---- */

static int find_slot(struct qv_node_change *x, const struct qv_topology *t,
                     const struct qv_collection **c, struct qv_shard_place *s, uint32_t *slot)
{
    *slot = 0;
    memset(s, 0, sizeof *s);
    *c = x->name.n != 0 ? qv_topology_find(t, x->name) : qv_topology_by_uuid(t, x->uuid);
    if (*c == NULL)
        return qv_node_missing(x->name, &x->msg);
    const struct qv_shard_place *at = qv_collection_shard(*c, x->move.shard);
    if (at == NULL)
        return qv_fail(&x->msg, QV_EINVAL, "Shard %u does not exist", x->move.shard);
    *s = *at;
    for (; *slot < s->slot_count; (*slot)++) {
        if (x->move.from == 0 || s->slots[*slot].holder == x->move.from)
            return 0;
    }
    return qv_fail(&x->msg, QV_EINVAL, "Shard %u does not have a replica on peer %llu",
                   x->move.shard, (unsigned long long)x->move.from);
}

static int put_slot(struct qv_node_change *x, const struct qv_topology *t,
                    const struct qv_collection *c, struct qv_shard_place *s)
{
    s->epoch = t->epoch + 1;
    return put_shard(x, c->uuid, s);
}

static int draft_move(struct qv_node_change *x, const struct qv_topology *t)
{
    const struct qv_collection *c;
    struct qv_shard_place s = {0};
    uint32_t slot = 0;
    int err = find_slot(x, t, &c, &s, &slot);
    const struct qv_member *to = qv_topology_member(t, x->move.to);
    if (err != 0)
        return err;
    if (to == NULL || to->role == QV_ROLE_PROXY)
        return qv_fail(&x->msg, QV_EINVAL, "Peer %llu does not exist, or holds no shards",
                       (unsigned long long)x->move.to);
    for (uint32_t i = 0; i < s.slot_count; i++) {
        if (s.slots[i].step != QV_STEP_NONE)
            return qv_fail(&x->msg, QV_EEXISTS, "Shard %u is moving already", s.number);
        if (s.slots[i].holder == to->id)
            return qv_fail(&x->msg, QV_EINVAL, "Shard %u is already on peer %llu", s.number,
                           (unsigned long long)to->id);
    }
    s.slots[slot].next = to->id;
    s.slots[slot].step = QV_STEP_FOLLOW;
    s.slots[slot].transfer = qv_env_random_u64(x->node->env) | 1;
    return put_slot(x, t, c, &s);
}

static int draft_abort(struct qv_node_change *x, const struct qv_topology *t)
{
    const struct qv_collection *c;
    struct qv_shard_place s = {0};
    uint32_t slot = 0;
    int err = find_slot(x, t, &c, &s, &slot);
    if (err != 0)
        return err;
    struct qv_slot_place *p = &s.slots[slot];
    if (p->step == QV_STEP_NONE || (x->move.to != 0 && p->next != x->move.to))
        return qv_fail(&x->msg, QV_EINVAL, "There is no transfer of shard %u", s.number);
    if (p->step >= QV_STEP_NEW_READS)
        return qv_fail(&x->msg, QV_EINVAL,
                       "The transfer of shard %u has gone too far to be taken back: its reads are "
                       "answered by the new holder",
                       s.number);
    *p = (struct qv_slot_place){.holder = p->holder};
    return put_slot(x, t, c, &s);
}

static int draft_member(struct qv_node_change *x, const struct qv_topology *t)
{
    const struct qv_member *m = qv_topology_member(t, x->move.from);
    char key[QV_TREE_KEY_BYTES];
    struct qv_buf b;
    if (m == NULL)
        return qv_fail(&x->msg, QV_EINVAL, "Peer %llu does not exist",
                       (unsigned long long)x->move.from);
    qv_tree_member_key(m->id, key);
    if (x->kind == QV_NODE_REMOVE_PEER) {
        if (qv_rebalance_load(t, m->id) != 0)
            return qv_fail(&x->msg, QV_EINVAL, "Peer %llu holds shards: drain it first",
                           (unsigned long long)m->id);
        return add_entry(x, key, NULL);
    }
    struct qv_member next = *m;
    next.state = x->move.to != 0 ? QV_MEMBER_DRAINING : QV_MEMBER_ACTIVE;
    if (next.state == m->state)
        return 0;
    qv_buf_init(&b, QV_META_VALUE_BYTES_MAX);
    qv_tree_encode_member(&b, &next);
    return add_entry(x, key, &b);
}

static int draft(struct qv_node_change *x)
{
    const struct qv_topology *t = qv_membership_tree(x->node->cluster.membership);
    qv_arena_reset(&x->arena);
    x->entry_count = 0;
    x->entries = QV_ARENA_ARRAY(&x->arena, struct qv_mirror_entry, QV_PROPOSAL_CHANGES_MAX);
    if (x->entries == NULL)
        return QV_ENOMEM;
    switch (x->kind) {
    case QV_NODE_CREATE:
        return draft_create(x, t);
    case QV_NODE_DELETE:
        return draft_delete(x, t);
    case QV_NODE_ALIASES:
        return draft_aliases(x, t);
    case QV_NODE_MOVE:
        return draft_move(x, t);
    case QV_NODE_ABORT_MOVE:
        return draft_abort(x, t);
    case QV_NODE_DRAIN:
    case QV_NODE_REMOVE_PEER:
        return draft_member(x, t);
    default:
        return draft_config(x, t);
    }
}

/* ---- confirmation ---- */

static void undone(struct qv_node_change *undo, int err)
{
    struct qv_node_change *x = undo->arg;
    (void)err; /* what stays is red, and can be deleted by hand */
    qv_mem_free(undo);
    finish(x, x->err);
}

/* A node could not make its part: the collection goes again. */
static void take_back(struct qv_node_change *x)
{
    struct qv_node_change *undo = qv_mem_calloc(1, sizeof *undo);
    *undo = (struct qv_node_change){.node = x->node,
                                    .kind = QV_NODE_DELETE,
                                    .name = x->name,
                                    .deadline_ns = qv_env_mono_ns(x->node->env) + 5 * QV_NS_PER_S,
                                    .done = undone,
                                    .arg = x};
    qv_node_change_start(undo);
}

static void confirmed(struct qv_node_confirm *c, int err)
{
    struct qv_node_change *x = c->arg;
    bool refused = err == QV_ENOSPC || err == QV_EIO || err == QV_ELIMIT || err == QV_ENOMEM;
    x->err = err;
    if (err == 0 || x->kind == QV_NODE_DELETE) {
        finish(x, 0); /* who is away drops what it has when it returns */
        return;
    }
    x->msg = c->msg;
    if (refused && x->kind == QV_NODE_CREATE) {
        take_back(x);
        return;
    }
    if (!refused)
        x->err = qv_fail(&x->msg, QV_EUNKNOWN,
                         "the change is made, but not all nodes have it yet: %.300s", c->msg.text);
    finish(x, x->err);
}

static void confirm(struct qv_node_change *x)
{
    struct qv_node *n = x->node;
    const struct qv_topology *t = qv_membership_tree(n->cluster.membership);
    const struct qv_collection *c =
        x->kind == QV_NODE_ALIASES ? NULL : qv_topology_find(t, x->name);
    if (x->kind > QV_NODE_ALIASES) { /* what follows from it is the controller's to wait for */
        finish(x, 0);
        return;
    }
    uint64_t ids[QV_NODE_CONFIRMS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; c != NULL && i < c->shard_count; i++) {
        uint64_t id = c->shards[i].slots[0].holder;
        bool known = false;
        for (uint32_t k = 0; k < count; k++)
            known = known || ids[k] == id;
        if (!known && count < QV_NODE_CONFIRMS_MAX)
            ids[count++] = id;
    }
    if (count == 0) {
        finish(x, 0);
        return;
    }
    uint64_t soon = qv_env_mono_ns(n->env) + CONFIRM_NS_MIN;
    x->confirm =
        (struct qv_node_confirm){.node = n,
                                 .epoch = x->proposal.epoch,
                                 .ids = ids,
                                 .count = count,
                                 .deadline_ns = x->deadline_ns > soon ? x->deadline_ns : soon,
                                 .done = confirmed,
                                 .arg = x};
    qv_node_confirm_start(&x->confirm);
}

/* ---- attempts ---- */

static void proposed(struct qv_proposal *p, int err)
{
    struct qv_node_change *x = p->arg;
    if (err == QV_ESTALE && qv_env_mono_ns(x->node->env) < x->deadline_ns) {
        attempt(x);
        return;
    }
    if (err != 0) {
        x->msg = p->msg;
        finish(x, err == QV_ESTALE ? qv_fail(&x->msg, QV_ETIMEOUT,
                                             "other changes came first until the time was over")
                                   : err);
        return;
    }
    confirm(x);
}

static void attempt(struct qv_node_change *x)
{
    int err = draft(x);
    if (err != 0 || x->entry_count == 0) { /* or there is nothing to change */
        finish(x, err);
        return;
    }
    x->proposal =
        (struct qv_proposal){.base = qv_membership_tree(x->node->cluster.membership)->epoch,
                             .changes = x->entries,
                             .count = x->entry_count,
                             .deadline_ns = x->deadline_ns,
                             .done = proposed,
                             .arg = x};
    qv_membership_propose(x->node->cluster.membership, &x->proposal);
}

/* ---- a node alone ---- */

static int change_alone(struct qv_node_change *x)
{
    struct qv_node *n = x->node;
    switch (x->kind) {
    case QV_NODE_CREATE:
        return qv_node_create_collection(n, x->name, x->config, &x->msg);
    case QV_NODE_DELETE:
        return qv_node_delete_collection(n, x->name, &x->existed, &x->msg);
    case QV_NODE_UPDATE:
        return qv_node_update_collection(n, x->name, x->diff, &x->msg);
    case QV_NODE_CREATE_VECTOR:
        return qv_node_create_vector(n, x->name, x->vector, &x->msg);
    case QV_NODE_DELETE_VECTOR:
        return qv_node_delete_vector(n, x->name, x->field, &x->msg);
    case QV_NODE_SET_INDEX:
        return qv_node_set_payload_index(n, x->name, x->field, x->index, &x->msg);
    case QV_NODE_ALIASES:
        return qv_node_update_aliases(n, x->aliases, &x->msg);
    default:
        return qv_fail(&x->msg, QV_EMETHOD, "This node is not one of a cluster");
    }
}

static void start(struct qv_task *task)
{
    struct qv_node_change *x = task->arg;
    if (x->kind == QV_NODE_CREATE)
        qv_node_new_uuid(x->node, x->uuid);
    if (qv_node_in_cluster(x->node))
        attempt(x);
    else
        finish(x, change_alone(x));
}

void qv_node_change_start(struct qv_node_change *x)
{
    x->msg.text[0] = '\0';
    x->existed = false;
    qv_arena_init(&x->arena, QV_NODE_RECORD_ARENA_BYTES);
    x->task = (struct qv_task){.run = start, .arg = x};
    qv_env_post(x->node->env, &x->task);
}
