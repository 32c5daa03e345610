/* gRPC requests from anywhere: the first byte selects the call by its number in the table below,
 * the rest is its message. A request that decodes is within the limits the engine relies on; a
 * configuration that decodes can be answered; a point that the fast reader takes is what the
 * general one gives. pb_seeds.py writes seeds of every call. covers: src/wire/pb_[cfgprvw]*.c
 * options: -max_len=8192 */
#include "wire/pb_request.h"

#include "base/qv_assert.h"
#include "wire/pb_answer.h"
#include "wire/pb_guard.h"
#include "wire/pb_point.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The numbers are the seeds': they stay when calls are added in between, each new call takes the
 * next one. (The place in enum qv_pb_call was the number once: two thirds of the seeds went to
 * other calls when it grew, and reached nothing.) */
#define POINT_TWO_WAYS 25
#define NUMBERS 64
static const struct {
    uint8_t number;
    enum qv_pb_call call;
} numbered[] = {
    {0, QV_PB_HEALTH},
    {1, QV_PB_GRPC_HEALTH},
    {2, QV_PB_COLLECTION_GET},
    {3, QV_PB_COLLECTION_LIST},
    {4, QV_PB_COLLECTION_CREATE},
    {5, QV_PB_COLLECTION_DELETE},
    {6, QV_PB_COLLECTION_EXISTS},
    {7, QV_PB_UPSERT},
    {8, QV_PB_DELETE},
    {9, QV_PB_UPDATE_VECTORS},
    {10, QV_PB_DELETE_VECTORS},
    {11, QV_PB_SET_PAYLOAD},
    {12, QV_PB_OVERWRITE_PAYLOAD},
    {13, QV_PB_DELETE_PAYLOAD},
    {14, QV_PB_CLEAR_PAYLOAD},
    {15, QV_PB_UPDATE_BATCH},
    {16, QV_PB_CREATE_INDEX},
    {17, QV_PB_DELETE_INDEX},
    {18, QV_PB_GET},
    {19, QV_PB_SCROLL},
    {20, QV_PB_COUNT},
    {21, QV_PB_SEARCH},
    {22, QV_PB_SEARCH_BATCH},
    {23, QV_PB_QUERY},
    {24, QV_PB_QUERY_BATCH},
    /* 25: POINT_TWO_WAYS */
    {26, QV_PB_COLLECTION_UPDATE},
    {27, QV_PB_ALIASES_UPDATE},
    {28, QV_PB_ALIASES_OF},
    {29, QV_PB_ALIASES_LIST},
    {30, QV_PB_SNAPSHOT_CREATE},
    {31, QV_PB_SNAPSHOT_LIST},
    {32, QV_PB_SNAPSHOT_DELETE},
    {33, QV_PB_FULL_SNAPSHOT_CREATE},
    {34, QV_PB_FULL_SNAPSHOT_LIST},
    {35, QV_PB_FULL_SNAPSHOT_DELETE},
    {36, QV_PB_VECTOR_CREATE},
    {37, QV_PB_VECTOR_DELETE},
    {38, QV_PB_FACET},
    {39, QV_PB_COLLECTION_CLUSTER},
};
_Static_assert(sizeof numbered / sizeof numbered[0] == QV_PB_CALL_COUNT,
               "a call without a number: give it the next one here, and seeds in pb_seeds.py");

static bool find_call(unsigned number, enum qv_pb_call *out)
{
    for (size_t i = 0; i < QV_PB_CALL_COUNT; i++) {
        *out = numbered[i].call;
        if (numbered[i].number == number)
            return true;
    }
    return false;
}

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
    enum qv_pb_call call;
    if (size == 0)
        return 0;
    if (data[0] % NUMBERS == POINT_TWO_WAYS) {
        check_ways(data + 1, size - 1, &msg);
        return 0;
    }
    if (!find_call(data[0] % NUMBERS, &call))
        return 0;
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
