/* Quotas: one metadata record, in the API's JSON. The server looks at usage and refuses. */
#include "base/qv_assert.h"
#include "node/node_private.h"
#include "wire/json_answer.h"
#include "wire/json_request.h"

#define QUOTA_ARENA_BYTES ((size_t)64 << 10)

const char *qv_node_dir(const struct qv_node *n)
{
    return n->dir;
}

int qv_node_decode_quota(struct qv_node *n, struct qv_bytes value, struct qv_errmsg *msg)
{
    struct qv_arena arena;
    qv_arena_init(&arena, QUOTA_ARENA_BYTES);
    int err = qv_json_read_quota(value, &arena, &n->quota, msg);
    qv_arena_close(&arena);
    return err == 0 ? 0 : QV_CORRUPT(msg, "metadata record " QV_NODE_QUOTA_KEY);
}

void qv_node_quota(struct qv_node *n, struct qv_quota *out)
{
    pthread_mutex_lock(&n->lock);
    *out = n->quota;
    pthread_mutex_unlock(&n->lock);
}

int qv_node_set_quota(struct qv_node *n, const struct qv_quota *quota, struct qv_errmsg *msg)
{
    struct qv_buf b;
    if (n->records == NULL)
        return qv_fail(msg, QV_EMETHOD, "a proxy keeps nothing, quotas neither");
    qv_buf_init(&b, QV_RECORDS_VALUE_BYTES_MAX);
    qv_json_write_quota(&b, quota);
    const struct qv_records_change change = {QV_NODE_QUOTA_KEY, {b.data, b.len}};
    int err = b.failed ? QV_ENOMEM : qv_records_txn(n->records, n->records->epoch, &change, 1, msg);
    qv_buf_close(&b);
    if (err != 0)
        return err;
    pthread_mutex_lock(&n->lock);
    n->quota = *quota;
    pthread_mutex_unlock(&n->lock);
    return 0;
}
