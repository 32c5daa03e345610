/* Writes: each shard's part of a request, and what came of it. */
#include "wire/peer_codec.h"

#include "base/qv_assert.h"
#include "core/limits.h"
#include "wire/peer_codec_private.h"

#define TEXT_BYTES_MAX QV_REQUEST_BYTES_DEFAULT

/* On the wire, for ever. */
static const uint8_t write_numbers[] = {
    [QV_WRITE_UPSERT] = 1,         [QV_WRITE_DELETE] = 2,        [QV_WRITE_UPDATE_VECTORS] = 3,
    [QV_WRITE_DELETE_VECTORS] = 4, [QV_WRITE_SET_PAYLOAD] = 5,   [QV_WRITE_OVERWRITE_PAYLOAD] = 6,
    [QV_WRITE_DELETE_PAYLOAD] = 7, [QV_WRITE_CLEAR_PAYLOAD] = 8,
};
#define WRITE_TYPES (sizeof write_numbers)

/* ---- writing ---- */

static void put_point(struct qv_peer_out *o, const struct qv_point_in *p)
{
    const size_t mark = qv_peer_begin(o, 2);
    qv_peer_put_id(o, 1, &p->id);
    for (uint32_t i = 0; i < p->vec_count; i++)
        qv_peer_put_named(o, 2, &p->vecs[i]);
    qv_peer_put_bytes(o, 3, p->payload.p, p->payload.n);
    qv_peer_end(o, mark);
}

static void put_select(struct qv_peer_out *o, const struct qv_point_select *s)
{
    const size_t mark = qv_peer_begin(o, 5);
    qv_peer_put_ids(o, 1, s->ids, s->id_count);
    qv_peer_put_filter(o, 2, s->filter);
    qv_peer_end(o, mark);
}

static void put_op(struct qv_peer_out *o, const struct qv_write_op *op)
{
    const size_t mark = qv_peer_begin(o, 5);
    QV_ASSERT((size_t)op->type < WRITE_TYPES);
    qv_pb_put_u64(o->b, 1, write_numbers[op->type]);
    for (uint32_t i = 0; i < op->point_count; i++)
        put_point(o, &op->points[i]);
    qv_peer_put_u64(o, 3, (uint64_t)op->update_mode);
    qv_peer_put_filter(o, 4, op->update_filter);
    if (op->select.id_count > 0 || op->select.filter != NULL)
        put_select(o, &op->select);
    for (uint32_t i = 0; i < op->name_count; i++)
        qv_pb_put_str(o->b, 6, op->names[i]);
    qv_peer_put_bytes(o, 7, op->payload.p, op->payload.n);
    if (op->has_key)
        qv_peer_put_path(o, 8, &op->key);
    for (uint32_t i = 0; i < op->key_count; i++)
        qv_peer_put_path(o, 9, &op->keys[i]);
    qv_peer_end(o, mark);
}

static void put_leg(struct qv_peer_out *o, const struct qv_peer_write_leg *leg)
{
    const size_t mark = qv_peer_begin(o, 2);
    qv_pb_put_bytes(o->b, 1, leg->collection, sizeof leg->collection);
    qv_peer_put_u64(o, 2, leg->shard);
    qv_peer_put_u64(o, 3, leg->incarnation);
    qv_peer_put_u64(o, 4, leg->epoch);
    for (uint32_t i = 0; i < leg->op_count; i++)
        put_op(o, &leg->ops[i]);
    qv_peer_end(o, mark);
}

void qv_peer_encode_write(struct qv_buf *b, const struct qv_peer_write *w)
{
    struct qv_peer_out o = {b, b->len};
    QV_ASSERT(w->leg_count <= QV_PEER_LEGS_MAX);
    qv_pb_put_u64(b, 1, QV_PEER_FEATURE_LEVEL);
    qv_peer_put_bool(&o, 3, w->wait);
    qv_peer_put_u64(&o, 4, (uint64_t)w->ordering);
    qv_peer_put_u64(&o, 5, w->timeout_ms);
    for (uint32_t i = 0; i < w->leg_count; i++)
        put_leg(&o, &w->legs[i]);
}

/* ---- reading ---- */

static bool names_differ(const struct qv_named_vec *vecs, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (qv_str_equal(vecs[i].name, vecs[j].name))
                return false;
        }
    }
    return true;
}

static void read_point(struct qv_peer_in *m, struct qv_point_in *p)
{
    struct qv_peer_in in = qv_peer_sub(m, "PointIn");
    struct qv_named_vec *vecs = NULL;
    while (qv_peer_next(&in)) {
        if (in.number == 1) {
            p->id = qv_peer_id(&in);
        } else if (in.number == 2) {
            if (vecs == NULL)
                vecs = QV_PEER_ARRAY(in.c, struct qv_named_vec,
                                     1 + qv_peer_count(&in, 2, QV_VECTORS_PER_POINT_MAX - 1));
            if (vecs != NULL && in.c->err == 0)
                vecs[p->vec_count++] = qv_peer_named(&in, true);
        } else if (in.number == 3) {
            p->payload = qv_peer_object(&in);
        }
    }
    p->vecs = vecs;
    if (p->id.type == 0)
        qv_peer_fail(&in, "a point without an id");
    else if (in.c->err == 0 && !names_differ(vecs, p->vec_count))
        qv_peer_fail(&in, "two vectors of one name");
}

static void read_select(struct qv_peer_in *m, struct qv_point_select *s)
{
    struct qv_peer_in in = qv_peer_sub(m, "PointSelect");
    while (qv_peer_next(&in)) {
        if (in.number == 1)
            qv_peer_ids(&in, QV_BATCH_POINTS_MAX, &s->ids, &s->id_count);
        else if (in.number == 2)
            s->filter = qv_peer_filter(&in);
    }
}

/* Lists of an operation under way. */
struct op_lists {
    struct qv_point_in *points;
    struct qv_str *names;
    struct qv_path *keys;
};

static enum qv_write_type write_type(struct qv_peer_in *m)
{
    const uint64_t number = qv_peer_u64(m);
    for (size_t i = 0; i < WRITE_TYPES; i++) {
        if (write_numbers[i] == number)
            return (enum qv_write_type)i;
    }
    qv_peer_fail_newer(m, "operation", number);
    return QV_WRITE_UPSERT;
}

static enum qv_update_mode update_mode(struct qv_peer_in *m)
{
    const uint64_t mode = qv_peer_u64(m);
    if (mode <= QV_UPDATE_UPDATE_ONLY)
        return (enum qv_update_mode)mode;
    qv_peer_fail_newer(m, "update mode", mode);
    return QV_UPDATE_UPSERT;
}

static void read_op_point(struct qv_peer_in *m, struct op_lists *l, struct qv_write_op *op)
{
    if (l->points == NULL)
        l->points = QV_PEER_ARRAY(m->c, struct qv_point_in,
                                  1 + qv_peer_count(m, 2, QV_BATCH_POINTS_MAX - 1));
    if (l->points != NULL && m->c->err == 0)
        read_point(m, &l->points[op->point_count++]);
}

static void read_op_name(struct qv_peer_in *m, struct op_lists *l, struct qv_write_op *op)
{
    if (l->names == NULL)
        l->names =
            QV_PEER_ARRAY(m->c, struct qv_str, 1 + qv_peer_count(m, 6, QV_BATCH_POINTS_MAX - 1));
    if (l->names != NULL && m->c->err == 0)
        l->names[op->name_count++] = qv_peer_text(m, TEXT_BYTES_MAX);
}

static void read_op_key(struct qv_peer_in *m, struct op_lists *l, struct qv_write_op *op)
{
    if (l->keys == NULL)
        l->keys =
            QV_PEER_ARRAY(m->c, struct qv_path, 1 + qv_peer_count(m, 9, QV_BATCH_POINTS_MAX - 1));
    if (l->keys != NULL && m->c->err == 0)
        l->keys[op->key_count++] = qv_peer_path(m, NULL);
}

static void read_op(struct qv_peer_in *m, struct qv_write_op *op)
{
    struct qv_peer_in in = qv_peer_sub(m, "WriteOp");
    struct op_lists l = {NULL, NULL, NULL};
    bool has_type = false;
    while (qv_peer_next(&in)) {
        switch (in.number) {
        case 1:
            op->type = write_type(&in);
            has_type = true;
            break;
        case 2:
            read_op_point(&in, &l, op);
            break;
        case 3:
            op->update_mode = update_mode(&in);
            break;
        case 4:
            op->update_filter = qv_peer_filter(&in);
            break;
        case 5:
            read_select(&in, &op->select);
            break;
        case 6:
            read_op_name(&in, &l, op);
            break;
        case 7:
            op->payload = qv_peer_object(&in);
            break;
        case 8:
            op->key = qv_peer_path(&in, NULL);
            op->has_key = true;
            break;
        case 9:
            read_op_key(&in, &l, op);
            break;
        default:
            break;
        }
    }
    if (!has_type)
        qv_peer_fail(&in, "an operation without a type");
    op->points = l.points;
    op->names = l.names;
    op->keys = l.keys;
}

static void read_leg(struct qv_peer_in *m, struct qv_peer_write_leg *leg)
{
    struct qv_peer_in in = qv_peer_sub(m, "WriteLeg");
    struct qv_write_op *ops = NULL;
    bool has_collection = false;
    while (qv_peer_next(&in)) {
        switch (in.number) {
        case 1:
            qv_peer_uuid(&in, leg->collection);
            has_collection = true;
            break;
        case 2:
            leg->shard = qv_peer_u32(&in, UINT32_MAX);
            break;
        case 3:
            leg->incarnation = qv_peer_u64(&in);
            break;
        case 4:
            leg->epoch = qv_peer_u64(&in);
            break;
        case 5:
            if (ops == NULL)
                ops = QV_PEER_ARRAY(in.c, struct qv_write_op,
                                    1 + qv_peer_count(&in, 5, QV_BATCH_OPS_MAX - 1));
            if (ops != NULL && in.c->err == 0)
                read_op(&in, &ops[leg->op_count++]);
            break;
        default:
            break;
        }
    }
    leg->ops = ops;
    if (!has_collection)
        qv_peer_fail(&in, "a leg names no collection");
}

static enum qv_ordering ordering(struct qv_peer_in *m)
{
    const uint64_t v = qv_peer_u64(m);
    if (v <= QV_ORDERING_STRONG)
        return (enum qv_ordering)v;
    qv_peer_fail_newer(m, "ordering", v);
    return QV_ORDERING_WEAK;
}

int qv_peer_decode_write(struct qv_bytes in, struct qv_arena *arena, struct qv_peer_write *out,
                         struct qv_errmsg *msg)
{
    struct qv_peer_ctx c = {.arena = arena, .msg = msg};
    struct qv_peer_in m = qv_peer_open(&c, in, "Write");
    struct qv_peer_write_leg *legs = NULL;
    *out = (struct qv_peer_write){0};
    while (qv_peer_next(&m)) {
        switch (m.number) {
        case 1:
            qv_peer_check_needs(&m);
            break;
        case 2:
            if (legs == NULL)
                legs = QV_PEER_ARRAY(&c, struct qv_peer_write_leg,
                                     1 + qv_peer_count(&m, 2, QV_PEER_LEGS_MAX - 1));
            if (legs != NULL && c.err == 0)
                read_leg(&m, &legs[out->leg_count++]);
            break;
        case 3:
            out->wait = qv_peer_bool(&m);
            break;
        case 4:
            out->ordering = ordering(&m);
            break;
        case 5:
            out->timeout_ms = qv_peer_u64(&m);
            break;
        default:
            break;
        }
    }
    out->legs = legs;
    return c.err;
}

/* ---- answers ---- */

static void put_answer(struct qv_peer_out *o, const struct qv_peer_write_answer *a)
{
    const size_t mark = qv_peer_begin(o, 2);
    if (a->err != 0) {
        qv_pb_put_u64(o->b, 1, qv_err_number(a->err));
        qv_pb_put_u64(o->b, 2, (uint64_t)qv_err_class(a->err));
    }
    qv_peer_put_str(o, 3, a->text);
    qv_peer_put_u64(o, 4, a->epoch);
    qv_peer_put_u64(o, 5, a->failed_op);
    for (uint32_t i = 0; i < a->result_count; i++) {
        const size_t inner = qv_pb_begin(o->b, 6);
        qv_peer_put_u64(o, 1, a->results[i].operation_id);
        qv_peer_put_bool(o, 2, a->results[i].completed);
        qv_pb_end(o->b, inner);
    }
    if (a->record.p != NULL)
        qv_pb_put_bytes(o->b, 7, a->record.p, a->record.n);
    qv_peer_end(o, mark);
}

void qv_peer_encode_write_answers(struct qv_buf *b, const struct qv_peer_write_answer *answers,
                                  uint32_t count)
{
    struct qv_peer_out o = {b, b->len};
    qv_pb_put_u64(b, 1, QV_PEER_FEATURE_LEVEL);
    for (uint32_t i = 0; i < count; i++)
        put_answer(&o, &answers[i]);
}

static void read_write_result(struct qv_peer_in *m, struct qv_write_result *out)
{
    struct qv_peer_in in = qv_peer_sub(m, "WriteResult");
    while (qv_peer_next(&in)) {
        if (in.number == 1)
            out->operation_id = qv_peer_u64(&in);
        else if (in.number == 2)
            out->completed = qv_peer_bool(&in);
    }
}

static void read_answer(struct qv_peer_in *m, struct qv_peer_write_answer *out)
{
    struct qv_peer_in in = qv_peer_sub(m, "WriteLegAnswer");
    struct qv_write_result *results = NULL;
    unsigned error = 0;
    unsigned error_class = 0;
    *out = (struct qv_peer_write_answer){.text = {"", 0}};
    while (qv_peer_next(&in)) {
        switch (in.number) {
        case 1:
            error = qv_peer_u32(&in, UINT32_MAX);
            break;
        case 2:
            error_class = qv_peer_u32(&in, UINT32_MAX);
            break;
        case 3:
            out->text = qv_peer_text(&in, TEXT_BYTES_MAX);
            break;
        case 4:
            out->epoch = qv_peer_u64(&in);
            break;
        case 5:
            out->failed_op = qv_peer_u32(&in, QV_BATCH_OPS_MAX);
            break;
        case 6:
            if (results == NULL)
                results = QV_PEER_ARRAY(in.c, struct qv_write_result,
                                        1 + qv_peer_count(&in, 6, QV_BATCH_OPS_MAX - 1));
            if (results != NULL && in.c->err == 0)
                read_write_result(&in, &results[out->result_count++]);
            break;
        case 7:
            out->record = qv_peer_bytes(&in);
            break;
        default:
            break;
        }
    }
    out->err = qv_err_from_number(error, error_class);
    out->results = results;
}

int qv_peer_decode_write_answers(struct qv_bytes in, uint32_t leg_count, struct qv_arena *arena,
                                 struct qv_peer_write_answer *out, struct qv_errmsg *msg)
{
    struct qv_peer_ctx c = {.arena = arena, .msg = msg};
    struct qv_peer_in m = qv_peer_open(&c, in, "WriteAnswers");
    uint32_t n = 0;
    while (qv_peer_next(&m)) {
        if (m.number == 1)
            qv_peer_check_needs(&m);
        else if (m.number == 2 && n == leg_count)
            qv_peer_fail(&m, "more answers than legs");
        else if (m.number == 2)
            read_answer(&m, &out[n++]);
    }
    if (n != leg_count)
        qv_peer_fail(&m, "fewer answers than legs");
    return c.err;
}
