#include "wire/pb_point.h"

#include "base/qv_assert.h"
#include "base/utf8.h"
#include "core/limits.h"
#include "wire/pb_guard.h"
#include "wire/pb_wire.h"

#define UNUSUAL 1
#define SCAN_PAYLOAD_MAX 64u
#define VALUE_DEPTH 3u /* PointStruct, PayloadEntry, Value */

#define LEN_TAG(number) ((number) << 3 | QV_PB_LEN)

/* ---- the general way ---- */

int qv_pb_point(struct qv_pb_ctx *c, const QvPb__PointStruct *m, struct qv_point_in *out)
{
    int err = qv_pb_id(c, m->id, &out->id);
    if (err == 0 && m->vectors == NULL)
        err = qv_fail(c->msg, QV_EBADREQ, "Expected some vectors");
    if (err == 0)
        err = qv_pb_vectors(c, m->vectors, &out->vecs, &out->vec_count);
    if (err == 0)
        err = qv_pb_map_doc(c, (ProtobufCMessage *const *)m->payload, m->n_payload, &out->payload);
    return err;
}

int qv_pb_points(struct qv_pb_ctx *c, QvPb__PointStruct *const *m, size_t n,
                 const struct qv_point_in **out, uint32_t *count)
{
    int err = qv_pb_check_count(c, "points", n, QV_BATCH_POINTS_MAX);
    if (err != 0)
        return err;
    struct qv_point_in *points = QV_PB_ARRAY(c, struct qv_point_in, n);
    if (points == NULL)
        return QV_ETOOBIG;
    for (size_t i = 0; i < n && err == 0; i++)
        err = qv_pb_point(c, m[i], &points[i]);
    *out = points;
    *count = (uint32_t)n;
    return err;
}

/* ---- the fast way ---- */

static int scan_id(struct qv_bytes in, struct qv_id *out)
{
    struct qv_rd r = qv_pb_reader(in);
    if (in.n == 0)
        return UNUSUAL;
    uint8_t tag = *r.p++;
    if (tag == (1 << 3 | QV_PB_VARINT)) {
        *out = qv_id_num(qv_pb_varint(&r));
    } else if (tag == LEN_TAG(2)) {
        struct qv_bytes v = qv_pb_len(&r);
        if (r.failed || qv_id_parse_uuid((const char *)v.p, v.n, out) != 0)
            return UNUSUAL;
    } else {
        return UNUSUAL;
    }
    return r.failed || qv_rd_left(&r) > 0 ? UNUSUAL : 0;
}

static int scan_floats(struct qv_pb_ctx *c, struct qv_bytes in, struct qv_vec *out)
{
    size_t dim = in.n / sizeof(float);
    if (in.n % sizeof(float) != 0 || dim == 0 || dim > QV_DIM_MAX)
        return UNUSUAL;
    const float *values;
    if ((uintptr_t)in.p % sizeof(float) == 0)
        values = (const float *)(const void *)in.p;
    else
        values = qv_arena_dup(c->arena, in.p, in.n);
    if (values == NULL || !qv_pb_all_finite(values, dim))
        return UNUSUAL;
    *out = (struct qv_vec){.kind = QV_VEC_DENSE, .dim = (uint32_t)dim, .rows = 1, .values = values};
    return 0;
}

/* The one field of a message, length-delimited and numbered so; UNUSUAL for anything else. */
static int only_field(struct qv_bytes in, uint32_t number, struct qv_bytes *out)
{
    struct qv_rd r = qv_pb_reader(in);
    uint32_t n, type;
    if (in.n == 0 || !qv_pb_tag(&r, &n, &type) || n != number || type != QV_PB_LEN)
        return UNUSUAL;
    *out = qv_pb_len(&r);
    return r.failed || qv_rd_left(&r) > 0 ? UNUSUAL : 0;
}

/* Vector: the old `data`, or `dense`. */
static int scan_vector(struct qv_pb_ctx *c, struct qv_bytes in, struct qv_vec *out)
{
    struct qv_bytes v;
    if (in.n > 0 && in.p[0] == LEN_TAG(1))
        return only_field(in, 1, &v) == 0 ? scan_floats(c, v, out) : UNUSUAL;
    if (only_field(in, 101, &v) != 0 || only_field(v, 1, &v) != 0)
        return UNUSUAL;
    return scan_floats(c, v, out);
}

static bool name_known(const struct qv_named_vec *vecs, uint32_t n, struct qv_str name)
{
    for (uint32_t i = 0; i < n; i++) {
        if (qv_str_equal(vecs[i].name, name))
            return true;
    }
    return false;
}

#define SCAN_NAMED_MAX 16u

static int scan_named(struct qv_pb_ctx *c, struct qv_bytes in, struct qv_point_in *out)
{
    struct qv_named_vec vecs[SCAN_NAMED_MAX];
    uint32_t n = 0;
    struct qv_rd r = qv_pb_reader(in);
    while (qv_rd_left(&r) > 0) {
        struct qv_pb_entry e;
        if (*r.p++ != LEN_TAG(1) || n == SCAN_NAMED_MAX)
            return UNUSUAL;
        struct qv_bytes v = qv_pb_len(&r);
        if (r.failed || qv_pb_entry_scan(v, &e) != 0 || name_known(vecs, n, e.key))
            return UNUSUAL;
        vecs[n].name = e.key;
        if (scan_vector(c, e.raw, &vecs[n].vec) != 0)
            return UNUSUAL;
        n++;
    }
    out->vecs = qv_arena_dup(c->arena, vecs, n * sizeof vecs[0]);
    out->vec_count = n;
    return out->vecs == NULL ? UNUSUAL : 0;
}

static int scan_vectors(struct qv_pb_ctx *c, struct qv_bytes in, struct qv_point_in *out)
{
    struct qv_bytes v;
    if (in.n == 0)
        return UNUSUAL;
    if (in.p[0] == LEN_TAG(2))
        return only_field(in, 2, &v) == 0 ? scan_named(c, v, out) : UNUSUAL;
    struct qv_named_vec *one = qv_arena_alloc(c->arena, sizeof *one);
    if (one == NULL || only_field(in, 1, &v) != 0)
        return UNUSUAL;
    one->name = (struct qv_str){"", 0};
    out->vecs = one;
    out->vec_count = 1;
    return scan_vector(c, v, &one->vec);
}

static int scan_payload(struct qv_pb_ctx *c, struct qv_pb_entry *e, size_t n,
                        struct qv_point_in *out)
{
    size_t from = c->scratch.len;
    int err = qv_pb_object_scan(c, e, n, VALUE_DEPTH);
    if (err == 0)
        return qv_pb_take_doc(c, from, &out->payload);
    c->scratch.len = from;
    return err;
}

int qv_pb_point_scan(struct qv_pb_ctx *c, struct qv_bytes in, struct qv_point_in *out)
{
    struct qv_pb_entry e[SCAN_PAYLOAD_MAX];
    size_t n = 0;
    bool has_id = false, has_vectors = false;
    struct qv_rd r = qv_pb_reader(in);
    memset(out, 0, sizeof *out);
    while (qv_rd_left(&r) > 0) {
        uint8_t tag = *r.p++;
        struct qv_bytes v = qv_pb_len(&r);
        if (r.failed)
            return UNUSUAL;
        if (tag == LEN_TAG(1) && !has_id && scan_id(v, &out->id) == 0)
            has_id = true;
        else if (tag == LEN_TAG(4) && !has_vectors && scan_vectors(c, v, out) == 0)
            has_vectors = true;
        else if (tag != LEN_TAG(3) || n == SCAN_PAYLOAD_MAX || qv_pb_entry_scan(v, &e[n++]) != 0)
            return UNUSUAL;
    }
    if (!has_id || !has_vectors)
        return UNUSUAL;
    return n == 0 ? 0 : scan_payload(c, e, n, out);
}

/* ---- a whole upsert ---- */

/* Copies every field but `points` to rest, which has room for all of body, and counts the points.
 * Returns the bytes copied, or -1 when body is malformed. */
static int64_t split_upsert(struct qv_bytes body, uint8_t *rest, size_t *points)
{
    struct qv_rd r = qv_pb_reader(body);
    size_t n = 0;
    *points = 0;
    while (qv_rd_left(&r) > 0) {
        const uint8_t *from = r.p;
        uint32_t number, type;
        if (!qv_pb_tag(&r, &number, &type))
            return -1;
        qv_pb_skip(&r, type);
        if (r.failed || (number == 3 && type != QV_PB_LEN))
            return -1;
        if (number == 3) {
            ++*points;
            continue;
        }
        if (rest != NULL)
            memcpy(rest + n, from, (size_t)(r.p - from));
        n += (size_t)(r.p - from);
    }
    return (int64_t)n;
}

static int point_general(struct qv_pb_ctx *c, struct qv_bytes in, struct qv_point_in *out)
{
    ProtobufCMessage *m;
    int err = qv_pb_unpack(&qv_pb__point_struct__descriptor, in, c->arena, &m, c->msg);
    return err != 0 ? err : qv_pb_point(c, (const QvPb__PointStruct *)m, out);
}

static int scan_points(struct qv_pb_ctx *c, struct qv_bytes body, struct qv_point_in *points)
{
    struct qv_rd r = qv_pb_reader(body);
    while (qv_rd_left(&r) > 0) {
        uint32_t number, type;
        bool ok = qv_pb_tag(&r, &number, &type);
        QV_ASSERT(ok);
        if (number != 3) {
            qv_pb_skip(&r, type);
            continue;
        }
        struct qv_bytes v = qv_pb_len(&r);
        QV_ASSERT(!r.failed);
        int err = qv_pb_point_scan(c, v, points);
        if (err > 0)
            err = point_general(c, v, points);
        if (err != 0)
            return err;
        points++;
    }
    return 0;
}

int qv_pb_upsert_scan(struct qv_pb_ctx *c, struct qv_bytes body, const QvPb__UpsertPoints **rest,
                      const struct qv_point_in **out, uint32_t *count)
{
    size_t n;
    ProtobufCMessage *m;
    int64_t rest_bytes = split_upsert(body, NULL, &n);
    if (rest_bytes < 0)
        return qv_fail(c->msg, QV_EBADREQ,
                       "failed to decode Protobuf message: UpsertPoints: a field is malformed");
    int err = qv_pb_check_count(c, "points", n, QV_BATCH_POINTS_MAX);
    if (err != 0)
        return err;
    uint8_t *copy = QV_PB_ARRAY(c, uint8_t, (size_t)rest_bytes);
    struct qv_point_in *points = QV_PB_ARRAY(c, struct qv_point_in, n);
    if (copy == NULL || points == NULL)
        return QV_ETOOBIG;
    (void)split_upsert(body, copy, &n);
    err = qv_pb_unpack(&qv_pb__upsert_points__descriptor,
                       (struct qv_bytes){copy, (size_t)rest_bytes}, c->arena, &m, c->msg);
    if (err != 0)
        return err;
    *rest = (const QvPb__UpsertPoints *)m;
    *out = points;
    *count = (uint32_t)n;
    return scan_points(c, body, points);
}
