/* Aliases: other names of collections. They live in the topology and in one metadata record, so
 * that a request with several actions is one transaction: all of them, or none.
 *
 *   aliases    format u32 (1), count u32, count x { bytes u32, alias, bytes u32, collection } */
#include "base/mem.h"
#include "base/qv_assert.h"
#include "node/node_private.h"

#include <string.h>

#define ALIAS_FORMAT 1

/* ---- the record ---- */

static void put_name(struct qv_buf *b, struct qv_str s)
{
    qv_buf_u32(b, (uint32_t)s.n);
    qv_buf_append(b, s.p, s.n);
}

void qv_node_encode_aliases(const struct qv_alias *list, uint32_t count, struct qv_buf *b)
{
    qv_buf_u32(b, ALIAS_FORMAT);
    qv_buf_u32(b, count);
    for (uint32_t i = 0; i < count; i++) {
        put_name(b, list[i].name);
        put_name(b, list[i].collection);
    }
}

static struct qv_str take_name(struct qv_rd *rd)
{
    struct qv_str s = {.n = qv_rd_u32(rd)};
    if (s.n == 0 || s.n > QV_NAME_BYTES_MAX)
        rd->failed = true;
    s.p = (const char *)qv_rd_take(rd, s.n);
    return s;
}

int qv_node_decode_aliases(const struct qv_topology *t, struct qv_bytes value,
                           const struct qv_topology **out, struct qv_errmsg *msg)
{
    struct qv_rd rd;
    qv_rd_init(&rd, value.p, value.n);
    uint32_t format = qv_rd_u32(&rd);
    uint32_t count = qv_rd_u32(&rd);
    if (rd.failed || format != ALIAS_FORMAT || count > QV_ALIASES_MAX)
        return QV_CORRUPT(msg, "metadata record " QV_NODE_ALIAS_KEY);
    struct qv_alias *list = qv_mem_calloc(count, sizeof *list);
    for (uint32_t i = 0; i < count && !rd.failed; i++) {
        list[i].name = take_name(&rd);
        list[i].collection = take_name(&rd);
    }
    int err = rd.failed || qv_rd_left(&rd) != 0
                  ? QV_CORRUPT(msg, "metadata record " QV_NODE_ALIAS_KEY)
                  : 0;
    if (err == 0)
        *out = qv_topology_with_aliases(t, t->epoch, list, count);
    qv_mem_free(list);
    return err;
}

/* ---- changes ---- */

struct draft { /* the list as the actions leave it */
    const struct qv_topology *topology;
    struct qv_alias *list;
    uint32_t count;
    struct qv_errmsg *msg;
};

static struct qv_alias *find(struct draft *d, struct qv_str name)
{
    for (uint32_t i = 0; i < d->count; i++) {
        if (qv_str_equal(d->list[i].name, name))
            return &d->list[i];
    }
    return NULL;
}

static void drop(struct draft *d, struct qv_alias *a)
{
    *a = d->list[--d->count];
}

static int check_name(struct draft *d, struct qv_str name)
{
    int err = qv_node_check_name(name, d->msg);
    if (err == 0 && qv_topology_find_own(d->topology, name) != NULL)
        err = qv_fail(d->msg, QV_EEXISTS, "Collection `%.*s` already exists!", (int)name.n, name.p);
    return err;
}

/* An alias that exists moves to the collection. */
static int put(struct draft *d, struct qv_str name, struct qv_str collection)
{
    struct qv_alias *a = find(d, name);
    int err = check_name(d, name);
    if (err != 0)
        return err;
    if (a == NULL && d->count == QV_ALIASES_MAX)
        return qv_fail(d->msg, QV_ELIMIT, "%u aliases exist: more are not allowed", QV_ALIASES_MAX);
    if (a == NULL)
        a = &d->list[d->count++];
    *a = (struct qv_alias){name, collection};
    return 0;
}

static int run_action(struct draft *d, const struct qv_alias_action *action)
{
    struct qv_alias *a = find(d, action->name);
    switch (action->type) {
    case QV_ALIAS_CREATE:
        if (qv_topology_find_own(d->topology, action->target) == NULL)
            return qv_node_missing(action->target, d->msg);
        return put(d, action->name, action->target);
    case QV_ALIAS_DELETE:
        if (a != NULL)
            drop(d, a);
        return 0;
    case QV_ALIAS_RENAME:
        if (a == NULL)
            return qv_fail(d->msg, QV_ENOTFOUND, "Alias %.*s does not exists!",
                           (int)(action->name.n < 300 ? action->name.n : 300), action->name.p);
        struct qv_str collection = a->collection;
        drop(d, a);
        return put(d, action->target, collection);
    }
    return QV_EINVAL;
}

static int save(struct qv_node *n, const struct qv_aliases_out *d, struct qv_errmsg *msg)
{
    struct qv_buf b;
    qv_buf_init(&b, QV_RECORDS_VALUE_BYTES_MAX);
    qv_node_encode_aliases(d->list, d->count, &b);
    const struct qv_records_change change = {QV_NODE_ALIAS_KEY, {b.data, b.len}};
    int err = b.failed ? qv_fail(msg, QV_ELIMIT, "the names of all aliases are too long together")
                       : qv_records_txn(n->records, n->records->epoch, &change, 1, msg);
    qv_buf_close(&b);
    return err;
}

int qv_node_changed_aliases(const struct qv_topology *t, const struct qv_alias_req *req,
                            struct qv_arena *arena, struct qv_aliases_out *out,
                            struct qv_errmsg *msg)
{
    struct draft d = {.topology = t, .count = t->aliases.count, .msg = msg};
    d.list = QV_ARENA_ARRAY(arena, struct qv_alias, QV_ALIASES_MAX);
    if (d.list == NULL)
        return QV_ENOMEM;
    if (d.count > 0)
        memcpy(d.list, t->aliases.list, d.count * sizeof *d.list);
    int err = 0;
    for (uint32_t i = 0; i < req->count && err == 0; i++)
        err = run_action(&d, &req->actions[i]);
    *out = (struct qv_aliases_out){d.list, d.count};
    return err;
}

int qv_node_update_aliases(struct qv_node *n, const struct qv_alias_req *req, struct qv_errmsg *msg)
{
    struct qv_aliases_out made;
    struct qv_arena arena;
    if (req->count == 0)
        return 0;
    qv_arena_init(&arena, QV_NODE_RECORD_ARENA_BYTES);
    int err = qv_node_changed_aliases(n->topology, req, &arena, &made, msg);
    if (err == 0)
        err = save(n, &made, msg);
    if (err == 0)
        qv_node_set_topology(
            n, qv_topology_with_aliases(n->topology, n->records->epoch, made.list, made.count));
    qv_arena_close(&arena);
    return err;
}
