/* gRPC requests from anywhere: the first byte selects the call, the rest is its message. A request
 * that decodes is within the limits the engine relies on; a configuration that decodes can be
 * answered; a point that the fast reader takes is what the general one gives.
 * covers: src/wire/pb_[cfgprvw]*.c
 * options: -max_len=8192 */
#include "wire/pb_request.h"

#include "base/qv_assert.h"
#include "wire/pb_answer.h"
#include "wire/pb_guard.h"
#include "wire/pb_point.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_points(const struct qv_write_op *op, struct qv_errmsg *msg)
{
    for (uint32_t i = 0; i < op->point_count; i++) {
        const struct qv_point_in *p = &op->points[i];
        QV_ASSERT(p->vec_count <= QV_VECTORS_PER_POINT_MAX);
        for (uint32_t k = 0; k < p->vec_count; k++) {
            const struct qv_vec *v = &p->vecs[k].vec;
            size_t n = (size_t)v->dim * (v->kind == QV_VEC_MULTI ? v->rows : 1);
            QV_ASSERT(n == 0 || qv_pb_all_finite(v->values, n));
        }
        if (p->payload.p != NULL)
            QV_ASSERT(qv_doc_check(p->payload.p, p->payload.n, msg) == 0);
    }
    if (op->payload.p != NULL)
        QV_ASSERT(qv_doc_check(op->payload.p, op->payload.n, msg) == 0);
}

static void check_config(const struct qv_collection_config *config)
{
    struct qv_collection_info info = {.config = config};
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_pb_answer_collection(&b, &info, 0.5);
    QV_ASSERT(!b.failed);
    qv_buf_close(&b);
}

static void check_index(const struct qv_payload_index *index)
{
    struct qv_vector_config v = {.size = 1};
    struct qv_payload_schema_entry schema = {index, 0};
    struct qv_collection_config config = {
        .vector_count = 1, .vectors = &v, .vectors_unnamed = true};
    struct qv_collection_info info = {.config = &config, .schema = &schema, .schema_count = 1};
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_pb_answer_collection(&b, &info, 0.5);
    QV_ASSERT(!b.failed);
    qv_buf_close(&b);
}

/* The same bytes as a PointStruct, in both ways. */
static void check_ways(const uint8_t *data, size_t size, struct qv_errmsg *msg)
{
    struct qv_arena arena;
    struct qv_point_in fast, slow = {0};
    ProtobufCMessage *m;
    qv_arena_init(&arena, 8u << 20);
    struct qv_pb_ctx c = {.arena = &arena, .msg = msg};
    qv_buf_init(&c.scratch, 8u << 20);
    if (qv_pb_point_scan(&c, (struct qv_bytes){data, size}, &fast) == 0) {
        int err = qv_pb_unpack(&qv_pb__point_struct__descriptor, (struct qv_bytes){data, size},
                               &arena, &m, msg);
        QV_ASSERT(err == 0);
        err = qv_pb_point(&c, (const QvPb__PointStruct *)m, &slow);
        QV_ASSERT(err == 0 && qv_id_equal(&fast.id, &slow.id));
        QV_ASSERT(fast.vec_count == slow.vec_count && fast.payload.n == slow.payload.n);
        QV_ASSERT(fast.payload.n == 0 ||
                  memcmp(fast.payload.p, slow.payload.p, fast.payload.n) == 0);
    }
    qv_buf_close(&c.scratch);
    qv_arena_close(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qv_arena arena;
    struct qv_pb_request req;
    struct qv_errmsg msg;
    if (size == 0)
        return 0;
    enum qv_pb_call call = (enum qv_pb_call)(data[0] % (QV_PB_CALL_COUNT + 1));
    if (call == QV_PB_CALL_COUNT) {
        check_ways(data + 1, size - 1, &msg);
        return 0;
    }
    qv_arena_init(&arena, 16u << 20);
    int err = qv_pb_request_decode(call, (struct qv_bytes){data + 1, size - 1}, &arena, &req, &msg);
    QV_ASSERT(err == 0 || err == QV_EBADREQ || err == QV_EINVAL || err == QV_EVALIDATION ||
              err == QV_EFORMAT || err == QV_ENOTIMPL || err == QV_ETOOBIG);
    if (err == 0 && call == QV_PB_COLLECTION_CREATE)
        check_config(req.u.config);
    if (err == 0 && call == QV_PB_CREATE_INDEX)
        check_index(&req.u.index.index);
    for (uint32_t i = 0;
         err == 0 && call >= QV_PB_UPSERT && call <= QV_PB_UPDATE_BATCH && i < req.u.write.op_count;
         i++)
        check_points(&req.u.write.ops[i], &msg);
    qv_arena_close(&arena);
    return 0;
}
