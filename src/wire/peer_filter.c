/* Filters in messages between nodes. The tree's bounds are looked at while it is read, before
 * anything is allocated for it; the whole is sealed at the end, as the decoders of requests do. */
#include "wire/peer_codec_private.h"

#include "base/qv_assert.h"
#include "core/limits.h"

QV_STATIC_ASSERT(sizeof(struct qv_geo_point) == 16, "places travel as they lie");

#define TEXT_BYTES_MAX QV_REQUEST_BYTES_DEFAULT

/* On the wire, for ever. */
static const uint8_t cond_numbers[] = {
    [QV_COND_MATCH] = 1,         [QV_COND_MATCH_ANY] = 2,      [QV_COND_MATCH_EXCEPT] = 3,
    [QV_COND_MATCH_TEXT] = 4,    [QV_COND_MATCH_TEXT_ANY] = 5, [QV_COND_MATCH_PHRASE] = 6,
    [QV_COND_MATCH_PREFIX] = 7,  [QV_COND_RANGE] = 8,          [QV_COND_DATETIME_RANGE] = 9,
    [QV_COND_GEO_BOX] = 10,      [QV_COND_GEO_RADIUS] = 11,    [QV_COND_GEO_POLYGON] = 12,
    [QV_COND_VALUES_COUNT] = 13, [QV_COND_IS_EMPTY] = 14,      [QV_COND_IS_NULL] = 15,
    [QV_COND_HAS_ID] = 16,       [QV_COND_HAS_VECTOR] = 17,    [QV_COND_SLICE] = 18,
    [QV_COND_NESTED] = 19,       [QV_COND_FILTER] = 20,        [QV_COND_KEY_IS_EMPTY] = 21,
    [QV_COND_KEY_IS_NULL] = 22,
};
QV_STATIC_ASSERT(sizeof cond_numbers == QV_COND_TYPES, "a condition without a number");

/* ---- writing ---- */

static void put_match(struct qv_peer_out *o, const struct qv_match *m)
{
    if (m->type == QV_MATCH_STRING) {
        qv_pb_put_str(o->b, 3, m->s);
    } else if (m->type == QV_MATCH_INT) {
        const size_t mark = qv_pb_begin(o->b, 4);
        qv_pb_put_varint(o->b, qv_peer_zigzag(m->i));
        qv_pb_end(o->b, mark);
    } else {
        qv_pb_put_bool(o->b, 5, m->b);
    }
}

static void put_list(struct qv_peer_out *o, const struct qv_match *items, uint32_t count)
{
    size_t mark = 0;
    const bool ints = count > 0 && items[0].type == QV_MATCH_INT;
    if (ints)
        mark = qv_peer_begin(o, 4);
    for (uint32_t i = 0; i < count; i++) {
        if (ints)
            qv_pb_put_varint(o->b, qv_peer_zigzag(items[i].i));
        else
            qv_pb_put_str(o->b, 3, items[i].s);
    }
    if (ints)
        qv_peer_end(o, mark);
}

static void put_range(struct qv_peer_out *o, const struct qv_range *r)
{
    if (r->has_lt)
        qv_pb_put_f64(o->b, 7, r->lt);
    if (r->has_gt)
        qv_pb_put_f64(o->b, 8, r->gt);
    if (r->has_lte)
        qv_pb_put_f64(o->b, 9, r->lte);
    if (r->has_gte)
        qv_pb_put_f64(o->b, 10, r->gte);
}

static void put_times(struct qv_peer_out *o, const struct qv_datetime_range *r)
{
    if (r->has_lt)
        qv_peer_put_sint(o, 11, r->lt);
    if (r->has_gt)
        qv_peer_put_sint(o, 12, r->gt);
    if (r->has_lte)
        qv_peer_put_sint(o, 13, r->lte);
    if (r->has_gte)
        qv_peer_put_sint(o, 14, r->gte);
}

static void put_polygon(struct qv_peer_out *o, const struct qv_geo_polygon *g)
{
    size_t mark = qv_peer_begin(o, 16);
    qv_pb_put_varint(o->b, g->exterior.count);
    for (uint32_t i = 0; i < g->interior_count; i++)
        qv_pb_put_varint(o->b, g->interiors[i].count);
    qv_peer_end(o, mark);
    mark = qv_peer_begin(o, 15);
    qv_pb_put_raw(o->b, g->exterior.points, g->exterior.count * sizeof *g->exterior.points);
    for (uint32_t i = 0; i < g->interior_count; i++)
        qv_pb_put_raw(o->b, g->interiors[i].points,
                      g->interiors[i].count * sizeof *g->interiors[i].points);
    qv_peer_end(o, mark);
}

static void put_area(struct qv_peer_out *o, const struct qv_cond *c)
{
    double v[4] = {c->u.geo_box.top_left.lon, c->u.geo_box.top_left.lat,
                   c->u.geo_box.bottom_right.lon, c->u.geo_box.bottom_right.lat};
    if (c->type == QV_COND_GEO_RADIUS) {
        v[0] = c->u.geo_circle.center.lon;
        v[1] = c->u.geo_circle.center.lat;
        v[2] = c->u.geo_circle.radius;
    }
    qv_pb_put_bytes(o->b, 15, v, (c->type == QV_COND_GEO_RADIUS ? 3 : 4) * sizeof *v);
}

static void put_cond(struct qv_peer_out *o, uint32_t number, const struct qv_cond *c)
{
    const size_t mark = qv_peer_begin(o, number);
    qv_pb_put_u64(o->b, 1, cond_numbers[c->type]);
    if (c->path.count > 0)
        qv_pb_put_str(o->b, 2, c->key);
    switch (c->type) {
    case QV_COND_MATCH:
        put_match(o, &c->u.match);
        break;
    case QV_COND_MATCH_ANY:
    case QV_COND_MATCH_EXCEPT:
        put_list(o, c->u.any.items, c->u.any.count);
        break;
    case QV_COND_MATCH_TEXT:
    case QV_COND_MATCH_TEXT_ANY:
    case QV_COND_MATCH_PHRASE:
    case QV_COND_MATCH_PREFIX:
        qv_peer_put_str(o, 6, c->u.text);
        break;
    case QV_COND_RANGE:
    case QV_COND_VALUES_COUNT:
        put_range(o, &c->u.range);
        break;
    case QV_COND_DATETIME_RANGE:
        put_times(o, &c->u.times);
        break;
    case QV_COND_GEO_BOX:
    case QV_COND_GEO_RADIUS:
        put_area(o, c);
        break;
    case QV_COND_GEO_POLYGON:
        put_polygon(o, c->u.geo_polygon);
        break;
    case QV_COND_HAS_ID:
        qv_peer_put_ids(o, 17, c->u.has_id.ids, c->u.has_id.count);
        break;
    case QV_COND_HAS_VECTOR:
        qv_peer_put_str(o, 6, c->u.vector);
        break;
    case QV_COND_SLICE:
        qv_peer_put_u64(o, 18, c->u.slice.total);
        qv_peer_put_u64(o, 19, c->u.slice.index);
        break;
    case QV_COND_NESTED:
    case QV_COND_FILTER:
        qv_peer_put_filter(o, 20, c->u.filter);
        break;
    case QV_COND_KEY_IS_EMPTY:
    case QV_COND_KEY_IS_NULL:
        qv_peer_put_bool(o, 5, c->u.want);
        break;
    case QV_COND_IS_EMPTY:
    case QV_COND_IS_NULL:
        break;
    }
    qv_peer_end(o, mark);
}

static void put_conds(struct qv_peer_out *o, uint32_t number, const struct qv_cond *conds,
                      uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        put_cond(o, number, &conds[i]);
}

void qv_peer_put_filter(struct qv_peer_out *o, uint32_t number, const struct qv_filter *f)
{
    if (f == NULL)
        return;
    const size_t mark = qv_peer_begin(o, number);
    put_conds(o, 1, f->must, f->must_count);
    put_conds(o, 2, f->should, f->should_count);
    put_conds(o, 3, f->must_not, f->must_not_count);
    put_conds(o, 4, f->min_should, f->min_should_count);
    if (f->has_min_should)
        qv_pb_put_u64(o->b, 5, f->min_should_min);
    qv_peer_end(o, mark);
}

/* ---- reading ---- */

/* The fields of a condition, judged when all are read: its type says which count. */
struct cond_fields {
    uint32_t type;
    struct qv_match *strings;
    uint32_t string_count;
    struct qv_bytes integers;
    bool has_integers;
    bool has_flag;
    bool flag;
    struct qv_str text;
    struct qv_range range;
    struct qv_datetime_range times;
    struct qv_bytes places;
    struct qv_bytes rings;
    const struct qv_id *ids;
    uint32_t id_count;
    uint32_t total, index;
    struct qv_filter *filter;
};

static struct qv_filter *read_filter(struct qv_peer_in *m);

static void read_string(struct qv_peer_in *m, struct cond_fields *f)
{
    if (f->strings == NULL)
        f->strings =
            QV_PEER_ARRAY(m->c, struct qv_match, 1 + qv_peer_count(m, 3, QV_FILTER_LIST_MAX - 1));
    if (f->strings == NULL || m->c->err != 0)
        return;
    f->strings[f->string_count++] =
        (struct qv_match){.type = QV_MATCH_STRING, .s = qv_peer_text(m, TEXT_BYTES_MAX)};
}

static void read_bound(struct qv_peer_in *m, double *v, bool *has)
{
    *v = qv_peer_f64(m);
    *has = true;
}

static void read_time(struct qv_peer_in *m, int64_t *v, bool *has)
{
    *v = qv_peer_sint(m);
    *has = true;
}

/* Fields 7 to 14. */
static void read_bounds(struct qv_peer_in *m, struct cond_fields *f)
{
    switch (m->number) {
    case 7:
        read_bound(m, &f->range.lt, &f->range.has_lt);
        break;
    case 8:
        read_bound(m, &f->range.gt, &f->range.has_gt);
        break;
    case 9:
        read_bound(m, &f->range.lte, &f->range.has_lte);
        break;
    case 10:
        read_bound(m, &f->range.gte, &f->range.has_gte);
        break;
    case 11:
        read_time(m, &f->times.lt, &f->times.has_lt);
        break;
    case 12:
        read_time(m, &f->times.gt, &f->times.has_gt);
        break;
    case 13:
        read_time(m, &f->times.lte, &f->times.has_lte);
        break;
    default:
        read_time(m, &f->times.gte, &f->times.has_gte);
        break;
    }
}

static void read_fields(struct qv_peer_in *m, struct cond_fields *f, struct qv_cond *out)
{
    while (qv_peer_next(m)) {
        switch (m->number) {
        case 1:
            f->type = qv_peer_u32(m, UINT32_MAX);
            break;
        case 2:
            out->path = qv_peer_path(m, &out->key);
            break;
        case 3:
            read_string(m, f);
            break;
        case 4:
            f->integers = qv_peer_bytes(m);
            f->has_integers = true;
            break;
        case 5:
            f->flag = qv_peer_bool(m);
            f->has_flag = true;
            break;
        case 6:
            f->text = qv_peer_text(m, TEXT_BYTES_MAX);
            break;
        case 15:
            f->places = qv_peer_bytes(m);
            break;
        case 16:
            f->rings = qv_peer_bytes(m);
            break;
        case 17:
            qv_peer_ids(m, QV_FILTER_LIST_MAX, &f->ids, &f->id_count);
            break;
        case 18:
            f->total = qv_peer_u32(m, UINT32_MAX);
            break;
        case 19:
            f->index = qv_peer_u32(m, UINT32_MAX);
            break;
        case 20:
            f->filter = read_filter(m);
            break;
        default:
            if (m->number >= 7 && m->number <= 14)
                read_bounds(m, f);
            break;
        }
    }
}

static int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1 ^ (UINT64_MAX * (v & 1)));
}

static void set_match(struct qv_peer_in *m, const struct cond_fields *f, struct qv_cond *out)
{
    struct qv_rd r = qv_pb_reader(f->integers);
    if (f->string_count == 1) {
        out->u.match = f->strings[0];
    } else if (f->has_integers) {
        out->u.match = (struct qv_match){.type = QV_MATCH_INT, .i = unzigzag(qv_pb_varint(&r))};
        if (r.failed || qv_rd_left(&r) > 0)
            qv_peer_fail(m, "not one integer");
    } else if (f->has_flag) {
        out->u.match = (struct qv_match){.type = QV_MATCH_BOOL, .b = f->flag};
    } else {
        qv_peer_fail(m, "a condition that matches nothing");
    }
}

static void set_list(struct qv_peer_in *m, const struct cond_fields *f, struct qv_cond *out)
{
    out->u.any.items = f->strings;
    out->u.any.count = f->string_count;
    if (!f->has_integers)
        return;
    uint32_t n = 0;
    for (size_t i = 0; i < f->integers.n; i++) /* each ends at a byte without the upper bit */
        n += f->integers.p[i] < 0x80 && n <= QV_FILTER_LIST_MAX ? 1 : 0;
    if (n > QV_FILTER_LIST_MAX || f->string_count > 0) {
        qv_peer_fail(m, "not a list of integers");
        return;
    }
    struct qv_match *items = QV_PEER_ARRAY(m->c, struct qv_match, n);
    struct qv_rd r = qv_pb_reader(f->integers);
    for (uint32_t i = 0; items != NULL && i < n; i++)
        items[i] = (struct qv_match){.type = QV_MATCH_INT, .i = unzigzag(qv_pb_varint(&r))};
    if (r.failed || (items != NULL && qv_rd_left(&r) > 0))
        qv_peer_fail(m, "broken integers");
    out->u.any.items = items;
    out->u.any.count = n;
}

/* Valid places from a run of pairs. */
static struct qv_geo_point *read_places(struct qv_peer_in *m, struct qv_bytes v, size_t count)
{
    if (v.n < count * sizeof(struct qv_geo_point)) {
        qv_peer_fail(m, "places are missing");
        return NULL;
    }
    struct qv_geo_point *p = QV_PEER_ARRAY(m->c, struct qv_geo_point, count);
    if (p == NULL)
        return NULL;
    if (count > 0)
        memcpy(p, v.p, count * sizeof *p);
    for (size_t i = 0; i < count; i++) {
        if (!qv_geo_point_valid(p[i]))
            qv_peer_fail(m, "not a place on Earth");
    }
    return m->c->err == 0 ? p : NULL;
}

static void set_area(struct qv_peer_in *m, const struct cond_fields *f, struct qv_cond *out)
{
    const bool circle = out->type == QV_COND_GEO_RADIUS;
    struct qv_geo_point *p = read_places(m, f->places, circle ? 1 : 2);
    if (p == NULL)
        return;
    if (f->places.n != (circle ? 3 : 4) * sizeof(double)) {
        qv_peer_fail(m, "not an area");
        return;
    }
    if (circle) {
        out->u.geo_circle.center = p[0];
        memcpy(&out->u.geo_circle.radius, f->places.p + sizeof *p, sizeof(double));
    } else {
        out->u.geo_box.top_left = p[0];
        out->u.geo_box.bottom_right = p[1];
    }
}

/* How many rings, and that their points are as many as there are. */
static uint32_t count_rings(struct qv_peer_in *m, const struct cond_fields *f)
{
    struct qv_rd r = qv_pb_reader(f->rings);
    const uint64_t points = f->places.n / sizeof(struct qv_geo_point);
    uint64_t sum = 0;
    uint32_t n = 0;
    while (qv_rd_left(&r) > 0 && !r.failed && n <= QV_GEO_RINGS_MAX) {
        const uint64_t count = qv_pb_varint(&r);
        sum = count <= points ? sum + count : points + 1;
        n++;
        if (sum > points)
            break;
    }
    if (r.failed || n == 0 || n > QV_GEO_RINGS_MAX || sum != points || points > QV_GEO_POINTS_MAX ||
        f->places.n % sizeof(struct qv_geo_point) != 0)
        qv_peer_fail(m, "rings and places differ");
    return m->c->err == 0 ? n : 0;
}

static void set_polygon(struct qv_peer_in *m, const struct cond_fields *f, struct qv_cond *out)
{
    const uint32_t n = count_rings(m, f);
    if (n == 0)
        return;
    struct qv_geo_point *p = read_places(m, f->places, f->places.n / sizeof *p);
    struct qv_geo_polygon *g = QV_PEER_ARRAY(m->c, struct qv_geo_polygon, 1);
    struct qv_geo_ring *rings = QV_PEER_ARRAY(m->c, struct qv_geo_ring, n);
    struct qv_rd r = qv_pb_reader(f->rings);
    if (p == NULL || g == NULL || rings == NULL)
        return;
    for (uint32_t i = 0; i < n; i++) {
        rings[i] = (struct qv_geo_ring){p, (uint32_t)qv_pb_varint(&r)};
        p += rings[i].count;
    }
    g->exterior = rings[0];
    g->interiors = rings + 1;
    g->interior_count = n - 1;
    out->u.geo_polygon = g;
}

static void set_filter(struct qv_peer_in *m, const struct cond_fields *f, struct qv_cond *out)
{
    if (f->filter == NULL)
        qv_peer_fail(m, "a condition lacks its filter");
    out->u.filter = f->filter;
}

static void set_cond(struct qv_peer_in *m, const struct cond_fields *f, struct qv_cond *out)
{
    switch (out->type) {
    case QV_COND_MATCH:
        set_match(m, f, out);
        break;
    case QV_COND_MATCH_ANY:
    case QV_COND_MATCH_EXCEPT:
        set_list(m, f, out);
        break;
    case QV_COND_MATCH_TEXT:
    case QV_COND_MATCH_TEXT_ANY:
    case QV_COND_MATCH_PHRASE:
    case QV_COND_MATCH_PREFIX:
        out->u.text = f->text;
        break;
    case QV_COND_RANGE:
    case QV_COND_VALUES_COUNT:
        out->u.range = f->range;
        break;
    case QV_COND_DATETIME_RANGE:
        out->u.times = f->times;
        break;
    case QV_COND_GEO_BOX:
    case QV_COND_GEO_RADIUS:
        set_area(m, f, out);
        break;
    case QV_COND_GEO_POLYGON:
        set_polygon(m, f, out);
        break;
    case QV_COND_HAS_ID:
        out->u.has_id.ids = f->ids;
        out->u.has_id.count = f->id_count;
        break;
    case QV_COND_HAS_VECTOR:
        out->u.vector = f->text;
        break;
    case QV_COND_SLICE:
        out->u.slice.total = f->total;
        out->u.slice.index = f->index;
        break;
    case QV_COND_NESTED:
    case QV_COND_FILTER:
        set_filter(m, f, out);
        break;
    case QV_COND_KEY_IS_EMPTY:
    case QV_COND_KEY_IS_NULL:
        out->u.want = f->flag;
        break;
    case QV_COND_IS_EMPTY:
    case QV_COND_IS_NULL:
        break;
    }
}

static bool needs_key(enum qv_cond_type t)
{
    return t != QV_COND_HAS_ID && t != QV_COND_HAS_VECTOR && t != QV_COND_SLICE &&
           t != QV_COND_FILTER;
}

static void read_cond(struct qv_peer_in *m, struct qv_cond *out)
{
    struct qv_peer_in in = qv_peer_sub(m, "Condition");
    struct cond_fields f = {.text = {"", 0}};
    uint32_t type = 0;
    read_fields(&in, &f, out);
    while (type < QV_COND_TYPES && cond_numbers[type] != f.type)
        type++;
    if (in.c->err != 0)
        return;
    if (type == QV_COND_TYPES) {
        qv_peer_fail_newer(&in, "condition", f.type);
        return;
    }
    out->type = (enum qv_cond_type)type;
    if (needs_key(out->type) && out->path.count == 0)
        qv_peer_fail(&in, "a condition lacks its key");
    else
        set_cond(&in, &f, out);
}

/* One of the four lists; number says which. */
static void read_listed(struct qv_peer_in *m, const struct qv_cond **list, uint32_t *count)
{
    if (*list == NULL) {
        const uint32_t room = QV_FILTER_CONDS_MAX - m->c->filter_conds;
        if (room == 0) {
            qv_peer_fail(m, "a filter has too many conditions");
            return;
        }
        const uint32_t n = 1 + qv_peer_count(m, m->number, room - 1);
        m->c->filter_conds += n;
        *list = QV_PEER_ARRAY(m->c, struct qv_cond, n);
    }
    if (*list != NULL && m->c->err == 0)
        read_cond(m, (struct qv_cond *)(uintptr_t) & (*list)[(*count)++]);
}

static struct qv_filter *read_filter(struct qv_peer_in *m)
{
    struct qv_peer_in in = qv_peer_sub(m, "Filter");
    if (m->c->filter_depth == QV_FILTER_DEPTH_MAX) {
        qv_peer_fail(m, "a filter nests too deep");
        return NULL;
    }
    struct qv_filter *f = QV_PEER_ARRAY(m->c, struct qv_filter, 1);
    m->c->filter_depth++;
    while (f != NULL && qv_peer_next(&in)) {
        switch (in.number) {
        case 1:
            read_listed(&in, &f->must, &f->must_count);
            break;
        case 2:
            read_listed(&in, &f->should, &f->should_count);
            break;
        case 3:
            read_listed(&in, &f->must_not, &f->must_not_count);
            break;
        case 4:
            read_listed(&in, &f->min_should, &f->min_should_count);
            break;
        case 5:
            f->has_min_should = true;
            f->min_should_min = qv_peer_u32(&in, UINT32_MAX);
            break;
        default:
            break;
        }
    }
    m->c->filter_depth--;
    return f;
}

const struct qv_filter *qv_peer_filter(struct qv_peer_in *m)
{
    struct qv_errmsg why = {""};
    QV_ASSERT(m->c->filter_depth == 0);
    m->c->filter_conds = 0;
    struct qv_filter *f = read_filter(m);
    if (m->c->err == 0 && qv_filter_seal(f, m->c->arena, &why) != 0)
        qv_peer_fail(m, why.text);
    return m->c->err == 0 ? f : NULL;
}
