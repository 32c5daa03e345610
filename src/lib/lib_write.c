/* Changes: checked and encoded on the caller's thread, ordered and logged on the owner's. */
#include "lib/lib_private.h"

#include "core/limits.h"
#include "wire/json_doc.h"

#include <string.h>

/* One piece of a large call: what one log record and one request of the server may hold. */
#define PIECE_POINTS_MAX QV_CHANGE_IDS_MAX
#define PIECE_BYTES_MAX ((size_t)16 << 20)

#define POINTS_BYTES_MIN                                                                           \
    (offsetof(struct quiver_points, column_count) +                                                \
     sizeof(((struct quiver_points *)0)->column_count))

static void write_done(struct qv_write *w, int err)
{
    qv_lib_wait_end(w->arg, err);
}

static int write_op(struct quiver_collection *c, struct qv_arena *a, const struct qv_write_op *op,
                    unsigned flags, struct qv_errmsg *msg)
{
    struct qv_lib_wait wait;
    struct qv_write_req req = {
        .ops = op, .op_count = 1, .wait = (flags & QUIVER_WAIT_INDEXED) != 0};
    if (c->shard == NULL)
        return qv_lib_spread_write(c, a, &req, msg);
    struct qv_write w = {
        .req = &req, .arena = a, .shard = c->shard, .done = write_done, .arg = &wait};
    int err = qv_write_prepare(&w);
    if (err == 0) {
        qv_lib_wait_init(&wait);
        qv_write_submit(&w);
        err = qv_lib_wait_for(&wait);
    }
    if (err != 0)
        *msg = w.msg;
    return err;
}

/* ---- add ---- */

/* The caller's points with the unnamed vector as a column like the others. */
struct adding {
    const struct quiver_points *points;
    const struct quiver_column *columns;
    uint32_t column_count;
    size_t row_bytes; /* of all vectors of a point */
};

static int check_points(const struct quiver_points *p, struct quiver_column *unnamed,
                        struct adding *out, struct qv_errmsg *msg)
{
    *out = (struct adding){.points = p,
                           .columns = p->columns,
                           .column_count = p->columns != NULL ? p->column_count : 0};
    if (p->vectors != NULL) {
        *unnamed = (struct quiver_column){.values = p->vectors, .dim = p->dim};
        out->columns = unnamed;
        out->column_count = 1;
    }
    if (p->count > 0 && p->ids == NULL)
        return qv_fail(msg, QV_EINVAL, "ids: NULL");
    if (out->column_count > QV_VECTORS_PER_POINT_MAX)
        return qv_fail(msg, QV_ELIMIT, "%u vectors a point, at most %u are allowed",
                       out->column_count, QV_VECTORS_PER_POINT_MAX);
    for (uint32_t i = 0; i < out->column_count; i++) {
        if (out->columns[i].values == NULL)
            return qv_fail(msg, QV_EINVAL, "column %u: values: NULL", i);
        if (out->columns[i].dim == 0 || out->columns[i].dim > QV_DIM_MAX)
            return qv_fail(msg, QV_EINVAL, "dim: %u, 1 to %u are allowed", out->columns[i].dim,
                           QV_DIM_MAX);
        for (uint32_t j = 0; j < i; j++) {
            const char *a = out->columns[i].name != NULL ? out->columns[i].name : "";
            if (strcmp(a, out->columns[j].name != NULL ? out->columns[j].name : "") == 0)
                return qv_fail(msg, QV_EINVAL, "column %u: '%s' stands twice", i, a);
        }
        out->row_bytes += (size_t)out->columns[i].dim * sizeof(float);
    }
    return 0;
}

/* How many points from `from` make one piece; at least one. */
static size_t piece_size(const struct adding *x, size_t from)
{
    const char *const *payloads = x->points->payloads;
    size_t bytes = 0;
    size_t n = 0;
    while (from + n < x->points->count && n < PIECE_POINTS_MAX) {
        bytes += x->row_bytes;
        if (payloads != NULL && payloads[from + n] != NULL)
            bytes += strlen(payloads[from + n]);
        if (n > 0 && bytes > PIECE_BYTES_MAX)
            break;
        n++;
    }
    return n;
}

static int read_payload(struct qv_arena *a, const char *json, struct qv_doc *out,
                        struct qv_errmsg *msg)
{
    struct qv_bytes text = {(const uint8_t *)json, strlen(json)};
    int err = qv_json_read_doc(text, a, out, msg);
    if (err == 0 && qv_doc_type(*out) != QV_DOC_OBJECT)
        err = qv_fail(msg, QV_EINVAL, "not a JSON object");
    return err;
}

static int read_point(const struct adding *x, size_t i, struct qv_arena *a, struct qv_point_in *out,
                      struct qv_errmsg *msg)
{
    struct qv_errmsg inner = {""};
    struct qv_named_vec *vecs = QV_ARENA_ARRAY(a, struct qv_named_vec, x->column_count + 1);
    const char *payload = x->points->payloads != NULL ? x->points->payloads[i] : NULL;
    if (vecs == NULL)
        return QV_ETOOBIG;
    if (qv_lib_id_in(&x->points->ids[i], &out->id) != 0)
        return qv_fail(msg, QV_EINVAL, "id %zu: kind %u is neither number nor UUID", i,
                       x->points->ids[i].kind);
    for (uint32_t v = 0; v < x->column_count; v++) {
        const struct quiver_column *column = &x->columns[v];
        vecs[v].name = qv_str_of(column->name != NULL ? column->name : "");
        vecs[v].vec = (struct qv_vec){.kind = QV_VEC_DENSE,
                                      .dim = column->dim,
                                      .rows = 1,
                                      .values = column->values + i * column->dim};
    }
    out->vecs = vecs;
    out->vec_count = x->column_count;
    int err = payload != NULL ? read_payload(a, payload, &out->payload, &inner) : 0;
    if (err != 0)
        return qv_fail(msg, err, "payload %zu: %s", i,
                       inner.text[0] != '\0' ? inner.text : qv_err_text(err));
    return 0;
}

static int add_piece(struct quiver_collection *c, const struct adding *x, size_t from, size_t n,
                     unsigned flags, struct qv_errmsg *msg)
{
    struct qv_arena arena;
    qv_arena_init(&arena, QV_REQUEST_ARENA_BYTES);
    struct qv_point_in *points = QV_ARENA_ARRAY(&arena, struct qv_point_in, n);
    int err = points == NULL ? QV_ENOMEM : 0;
    for (size_t i = 0; i < n && err == 0; i++)
        err = read_point(x, from + i, &arena, &points[i], msg);
    if (err == 0) {
        struct qv_write_op op = {
            .type = QV_WRITE_UPSERT, .points = points, .point_count = (uint32_t)n};
        err = write_op(c, &arena, &op, flags, msg);
    }
    qv_arena_close(&arena);
    return err;
}

int quiver_add(struct quiver_collection *c, const struct quiver_points *points, unsigned flags,
               struct quiver_error *why)
{
    struct quiver_points p = QUIVER_POINTS_INIT;
    struct quiver_column unnamed;
    struct adding x;
    struct qv_errmsg msg = {""};
    qv_lib_clear(why);
    if (points == NULL || qv_lib_options(&p, sizeof p, points, POINTS_BYTES_MIN) != 0)
        return qv_lib_refuse(why, QV_EINVAL, "points: size is not set: use QUIVER_POINTS_INIT");
    int err = check_points(&p, &unnamed, &x, &msg);
    for (size_t from = 0; err == 0 && from < p.count;) {
        size_t n = piece_size(&x, from);
        /* A graph takes rows in order: the last wait is for all before; each shard has its own. */
        bool last = from + n == p.count || c->shard == NULL;
        err = add_piece(c, &x, from, n, last ? flags : flags & ~QUIVER_WAIT_INDEXED, &msg);
        from += n;
    }
    return qv_lib_fail(why, err, &msg);
}

/* ---- remove, payload ---- */

/* op but for its select.ids, over pieces of ids. */
static int change_ids(struct quiver_collection *c, const struct quiver_id *ids, size_t count,
                      struct qv_write_op *op, unsigned flags, struct qv_errmsg *msg)
{
    struct qv_arena arena;
    int err = 0;
    qv_arena_init(&arena, QV_REQUEST_ARENA_BYTES);
    for (size_t from = 0; err == 0 && from < count;) {
        size_t n = count - from < PIECE_POINTS_MAX ? count - from : PIECE_POINTS_MAX;
        qv_arena_reset(&arena);
        err = qv_lib_ids(&arena, ids != NULL ? ids + from : NULL, n, &op->select.ids, msg);
        op->select.id_count = (uint32_t)n;
        if (err == 0)
            err = write_op(c, &arena, op, flags, msg);
        from += n;
    }
    qv_arena_close(&arena);
    return err;
}

int quiver_remove(struct quiver_collection *c, const struct quiver_id *ids, size_t count,
                  unsigned flags, struct quiver_error *why)
{
    struct qv_write_op op = {.type = QV_WRITE_DELETE};
    struct qv_errmsg msg = {""};
    qv_lib_clear(why);
    return qv_lib_fail(why, change_ids(c, ids, count, &op, flags, &msg), &msg);
}

int quiver_remove_where(struct quiver_collection *c, const char *filter, unsigned flags,
                        struct quiver_error *why)
{
    struct qv_arena arena;
    struct qv_write_op op = {.type = QV_WRITE_DELETE};
    struct qv_errmsg msg = {""};
    qv_lib_clear(why);
    if (filter == NULL)
        return qv_lib_refuse(why, QV_EINVAL, "filter: NULL ({} is everything)");
    qv_arena_init(&arena, QV_REQUEST_ARENA_BYTES);
    int err = qv_lib_filter(&arena, filter, &op.select.filter, &msg);
    if (err == 0)
        err = write_op(c, &arena, &op, flags, &msg);
    qv_arena_close(&arena);
    return qv_lib_fail(why, err, &msg);
}

int quiver_set_payload(struct quiver_collection *c, const struct quiver_id *ids, size_t count,
                       const char *json, unsigned flags, struct quiver_error *why)
{
    struct qv_arena arena;
    struct qv_write_op op = {.type = QV_WRITE_SET_PAYLOAD};
    struct qv_errmsg msg = {""};
    qv_lib_clear(why);
    if (json == NULL)
        return qv_lib_refuse(why, QV_EINVAL, "json: NULL");
    qv_arena_init(&arena, QV_REQUEST_ARENA_BYTES);
    int err = read_payload(&arena, json, &op.payload, &msg);
    if (err == 0)
        err = change_ids(c, ids, count, &op, flags, &msg);
    qv_arena_close(&arena);
    return qv_lib_fail(why, err, &msg);
}
