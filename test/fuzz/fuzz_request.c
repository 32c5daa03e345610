/* Bodies of every REST request from anywhere; the first byte selects which. What is read can be
 * walked to its last value; a configuration that is accepted comes back from its stored form.
 * covers: src/wire/json_[cpq]*.c src/wire/json_alias.c src/wire/json_snapshot.c
 * options: -max_len=4096 */
#include "wire/json_answer.h"
#include "wire/json_request.h"

#include "base/qv_assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OPS 27 /* letters a to {; a new reader takes the next */

static volatile double sink;

static void walk_vec(const struct qv_vec *v)
{
    double sum = 0;
    for (size_t i = 0; i < (size_t)v->dim * v->rows; i++)
        sum += (double)v->values[i];
    for (uint32_t i = 0; v->kind == QV_VEC_SPARSE && i < v->dim; i++) {
        sum += v->indices[i];
        QV_ASSERT(i == 0 || v->indices[i - 1] < v->indices[i]);
    }
    sink = sum;
}

static void walk_doc(struct qv_doc d)
{
    struct qv_errmsg msg;
    if (d.p != NULL)
        QV_ASSERT(qv_doc_check(d.p, d.n, &msg) == 0);
}

static void walk_write(const struct qv_write_op *op)
{
    for (uint32_t i = 0; i < op->point_count; i++) {
        const struct qv_point_in *p = &op->points[i];
        walk_doc(p->payload);
        for (uint32_t k = 0; k < p->vec_count; k++) {
            walk_vec(&p->vecs[k].vec);
            for (uint32_t m = 0; m < k; m++)
                QV_ASSERT(!qv_str_equal(p->vecs[k].name, p->vecs[m].name));
        }
    }
    for (uint32_t i = 0; i < op->select.id_count; i++)
        sink = (double)op->select.ids[i].lo;
    QV_ASSERT(op->select.filter == NULL || op->select.id_count == 0);
    walk_doc(op->payload);
}

static void walk_queries(const struct qv_query_req *req)
{
    for (uint32_t i = 0; i < req->query_count; i++) {
        const struct qv_query *q = &req->queries[i];
        QV_ASSERT(q->limit >= 1 && q->limit + q->offset <= QV_LIMIT_MAX);
        if (q->kind == QV_QUERY_VECTOR)
            walk_vec(&q->vec);
    }
}

static void store_and_back(const struct qv_collection_config *c, struct qv_arena *a)
{
    struct qv_collection_config back;
    struct qv_buf one;
    struct qv_buf two;
    struct qv_errmsg msg;
    uint64_t generation;
    qv_buf_init(&one, 0);
    qv_buf_init(&two, 0);
    qv_json_config_write(&one, c, 7);
    int err =
        qv_json_config_read((struct qv_bytes){one.data, one.len}, a, &back, &generation, &msg);
    QV_ASSERT(err == 0 && generation == 7);
    qv_json_config_write(&two, &back, generation);
    QV_ASSERT(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
    struct qv_collection_info info = {.config = &back};
    qv_buf_clear(&two);
    qv_json_write_collection(&two, &info);
    qv_buf_close(&one);
    qv_buf_close(&two);
}

static int read_collection(uint8_t op, struct qv_bytes body, struct qv_arena *a,
                           struct qv_errmsg *msg)
{
    struct qv_collection_config config;
    struct qv_payload_index index;
    uint64_t generation;
    int err;
    if (op == 0) {
        err = qv_json_read_field_index(body, a, &index, msg);
        if (err == 0)
            walk_doc(index.params);
        return err;
    }
    err = op == 1 ? qv_json_read_create_collection(body, a, &config, msg)
                  : qv_json_config_read(body, a, &config, &generation, msg);
    if (err == 0)
        store_and_back(&config, a);
    return err;
}

static void walk_diff(const struct qv_config_diff *d)
{
    walk_doc(d->metadata);
    walk_doc(d->strict_mode);
    for (uint32_t i = 0; i < d->vector_count; i++)
        for (uint32_t k = 0; k < i; k++)
            QV_ASSERT(!qv_str_equal(d->vectors[i].name, d->vectors[k].name));
}

static void quota_and_back(const struct qv_quota *q, struct qv_arena *a)
{
    struct qv_quota back;
    struct qv_quota_usage usage = {0};
    struct qv_errmsg msg;
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_json_write_quota(&b, q);
    int err = qv_json_read_quota((struct qv_bytes){b.data, b.len}, a, &back, &msg);
    QV_ASSERT(err == 0 && back.enabled == q->enabled);
    QV_ASSERT(back.memory_percent.v == q->memory_percent.v);
    QV_ASSERT(back.disk_percent.has == q->disk_percent.has);
    qv_json_write_quota_status(&b, q, &usage);
    qv_buf_close(&b);
}

static int read_change(uint8_t op, struct qv_bytes body, struct qv_arena *a, struct qv_errmsg *msg)
{
    struct qv_config_diff diff;
    struct qv_vector_spec spec;
    struct qv_quota quota;
    struct qv_alias_req aliases;
    struct qv_facet_req facet;
    struct qv_snapshot_req snapshot = {0};
    int err;
    switch (op) {
    case 0:
        err = qv_json_read_update_collection(body, a, &diff, msg);
        if (err == 0)
            walk_diff(&diff);
        return err;
    case 1:
        err = qv_json_read_vector_name(body, a, qv_str_of("v"), &spec, msg);
        QV_ASSERT(err != 0 || (spec.dense == NULL) != (spec.sparse == NULL));
        return err;
    case 2:
        err = qv_json_read_quota(body, a, &quota, msg);
        if (err == 0)
            quota_and_back(&quota, a);
        return err;
    case 3:
        err = qv_json_read_aliases(body, a, &aliases, msg);
        for (uint32_t i = 0; err == 0 && i < aliases.count; i++)
            QV_ASSERT(aliases.actions[i].type <= QV_ALIAS_RENAME);
        return err;
    case 4:
        err = qv_json_read_facet(body, a, &facet, msg);
        QV_ASSERT(err != 0 || (facet.limit >= 1 && facet.key.p != NULL));
        return err;
    default:
        return qv_json_read_recover(body, a, &snapshot, msg);
    }
}

static int read_text(uint8_t op, struct qv_bytes body, struct qv_errmsg *msg)
{
    struct qv_json_params params;
    struct qv_id id;
    return op == 0 ? qv_json_read_params((const char *)body.p, body.n, &params, msg)
                   : qv_json_read_path_id((const char *)body.p, body.n, &id, msg);
}

static int read_any(uint8_t op, struct qv_bytes body, struct qv_arena *a, struct qv_errmsg *msg)
{
    struct qv_write_op write;
    struct qv_write_req batch;
    struct qv_get_req get;
    struct qv_scroll_req scroll;
    struct qv_count_req count;
    struct qv_query_req query;
    int err;
    if (op < 8) {
        err = qv_json_read_write((enum qv_write_type)op, body, a, &write, msg);
        if (err == 0)
            walk_write(&write);
        return err;
    }
    if (op == 8) {
        err = qv_json_read_batch(body, a, &batch, msg);
        for (uint32_t i = 0; err == 0 && i < batch.op_count; i++)
            walk_write(&batch.ops[i]);
        return err;
    }
    if (op == 9)
        return qv_json_read_get(body, a, &get, msg);
    if (op == 10)
        return qv_json_read_scroll(body, a, &scroll, msg);
    if (op == 11)
        return qv_json_read_count(body, a, &count, msg);
    if (op < 16) {
        err = qv_json_read_query((enum qv_json_query_form)(op - 12), body, a, &query, msg);
        if (err == 0)
            walk_queries(&query);
        return err;
    }
    if (op < 19)
        return read_collection(op - 16, body, a, msg);
    return op < 21 ? read_text(op - 19, body, msg) : read_change(op - 21, body, a, msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qv_arena a;
    struct qv_errmsg msg = {{0}};
    uint8_t op = size == 0 ? OPS : (uint8_t)(data[0] - 'a') % 32;
    if (op >= OPS)
        return 0;
    qv_arena_init(&a, 16 << 20);
    int err = read_any(op, (struct qv_bytes){data + 1, size - 1}, &a, &msg);
    QV_ASSERT(err == 0 || msg.text[0] != '\0');
    qv_arena_close(&a);
    return 0;
}
