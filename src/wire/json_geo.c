/* Areas and time ranges of filters. Errors of form and of meaning (a latitude of 91, a ring that is
 * not closed) are told with their place, as the API's servers do. */
#include "wire/json_parts.h"

#include "core/datetime.h"

/* ---- geo ---- */

static double read_degrees(struct qv_json *j, bool *has)
{
    *has = true;
    return qv_json_f64(j);
}

struct qv_geo_point qv_json_geo_point(struct qv_json *j)
{
    struct qv_geo_point p = {0};
    struct qv_str key;
    bool has_lon = false;
    bool has_lat = false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "lon"))
            p.lon = read_degrees(j, &has_lon);
        else if (qv_str_is(key, "lat"))
            p.lat = read_degrees(j, &has_lat);
        else
            qv_json_skip(j);
    }
    if (!has_lon || !has_lat)
        qv_json_fail_missing(j, has_lon ? "lat" : "lon");
    else if (!qv_geo_point_valid(p))
        qv_json_fail_at(j, j->p > j->start ? j->p - 1 : j->p,
                        "Wrong format of GeoPoint payload: expected `lat` = %.15g within [-90;90] "
                        "and `lon` = %.15g within [-180;180]",
                        p.lat, p.lon);
    return p;
}

void qv_json_geo_box(struct qv_json *j, struct qv_geo_box *out)
{
    struct qv_str key;
    bool has_top_left = false;
    bool has_bottom_right = false;
    *out = (struct qv_geo_box){0};
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "top_left")) {
            out->top_left = qv_json_geo_point(j);
            has_top_left = true;
        } else if (qv_str_is(key, "bottom_right")) {
            out->bottom_right = qv_json_geo_point(j);
            has_bottom_right = true;
        } else {
            qv_json_skip(j);
        }
    }
    if (!has_top_left || !has_bottom_right)
        qv_json_fail_missing(j, has_top_left ? "bottom_right" : "top_left");
}

void qv_json_geo_circle(struct qv_json *j, struct qv_geo_circle *out)
{
    struct qv_str key;
    bool has_center = false;
    bool has_radius = false;
    *out = (struct qv_geo_circle){0};
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "center")) {
            out->center = qv_json_geo_point(j);
            has_center = true;
        } else if (qv_str_is(key, "radius")) {
            out->radius = qv_json_f64(j);
            has_radius = true;
        } else {
            qv_json_skip(j);
        }
    }
    if (!has_center || !has_radius)
        qv_json_fail_missing(j, has_center ? "radius" : "center");
}

static void read_points(struct qv_json *j, struct qv_geo_ring *out)
{
    struct qv_geo_point *points = NULL;
    uint32_t cap = 0;
    out->count = 0;
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        struct qv_geo_point p = qv_json_geo_point(j);
        points = qv_json_grow(j, points, out->count, &cap,
                              QV_JSON_LIST(p, QV_GEO_POINTS_MAX, "points of a polygon"));
        if (points == NULL)
            return;
        points[out->count++] = p;
    }
    out->points = points;
}

static void read_ring(struct qv_json *j, struct qv_geo_ring *out)
{
    struct qv_str key;
    bool has_points = false;
    *out = (struct qv_geo_ring){0};
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "points")) {
            read_points(j, out);
            has_points = true;
        } else {
            qv_json_skip(j);
        }
    }
    if (!has_points)
        qv_json_fail_missing(j, "points");
}

static void read_interiors(struct qv_json *j, struct qv_geo_polygon *out)
{
    struct qv_geo_ring *rings = NULL;
    uint32_t cap = 0;
    out->interior_count = 0;
    if (qv_json_null(j))
        return;
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        struct qv_geo_ring ring;
        read_ring(j, &ring);
        rings = qv_json_grow(j, rings, out->interior_count, &cap,
                             QV_JSON_LIST(ring, QV_GEO_RINGS_MAX, "interiors of a polygon"));
        if (rings == NULL)
            return;
        rings[out->interior_count++] = ring;
    }
    out->interiors = rings;
}

const struct qv_geo_polygon *qv_json_geo_polygon(struct qv_json *j)
{
    struct qv_geo_polygon polygon = {.interior_count = 0};
    struct qv_errmsg msg = {{0}};
    struct qv_str key;
    bool has_exterior = false;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "exterior")) {
            read_ring(j, &polygon.exterior);
            has_exterior = true;
        } else if (qv_str_is(key, "interiors")) {
            read_interiors(j, &polygon);
        } else {
            qv_json_skip(j);
        }
    }
    if (!has_exterior)
        qv_json_fail_missing(j, "exterior");
    if (j->err == 0 && qv_geo_polygon_seal(&polygon, &msg) != 0)
        qv_json_fail_at(j, j->p - 1, "%s", msg.text);
    const struct qv_geo_polygon *out =
        j->err != 0 ? NULL : qv_arena_dup(j->arena, &polygon, sizeof polygon);
    if (out == NULL && j->err == 0)
        qv_json_fail_full(j);
    return out;
}

/* ---- times ---- */

static bool read_time(struct qv_json *j, int64_t *out)
{
    if (qv_json_null(j))
        return false;
    if (qv_json_peek(j) != QV_JSON_STRING) {
        qv_json_fail_type(j, "a string");
        return false;
    }
    struct qv_str s = qv_json_string(j);
    if (j->err == 0 && !qv_datetime_parse(s, out)) {
        size_t shown = s.n > 64 ? 64 : s.n;
        while (shown > 0 && shown < s.n && ((unsigned char)s.p[shown] & 0xC0) == 0x80)
            shown--; /* not in the middle of a character */
        qv_json_fail_at(j, j->p - 1,
                        "'%.*s' does not match accepted datetime format (RFC3339). Example: "
                        "2014-01-01T00:00:00Z",
                        (int)shown, s.p);
    }
    return j->err == 0;
}

void qv_json_datetime_range(struct qv_json *j, struct qv_datetime_range *out)
{
    struct qv_str key;
    *out = (struct qv_datetime_range){0};
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "lt"))
            out->has_lt = read_time(j, &out->lt);
        else if (qv_str_is(key, "gt"))
            out->has_gt = read_time(j, &out->gt);
        else if (qv_str_is(key, "lte"))
            out->has_lte = read_time(j, &out->lte);
        else if (qv_str_is(key, "gte"))
            out->has_gte = read_time(j, &out->gte);
        else
            qv_json_skip(j);
    }
}
