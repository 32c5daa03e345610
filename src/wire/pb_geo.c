#include "wire/pb_geo.h"

#include "core/datetime.h"

#include <math.h>

/* ---- geo ---- */

static int point(struct qv_pb_ctx *c, const QvPb__GeoPoint *m, const char *what,
                 struct qv_geo_point *out)
{
    if (m == NULL)
        return qv_fail(c->msg, QV_EINVAL, "%s is missing", what);
    *out = (struct qv_geo_point){.lon = m->lon, .lat = m->lat};
    if (!qv_geo_point_valid(*out))
        return qv_fail(c->msg, QV_EINVAL,
                       "Wrong format of GeoPoint payload: expected `lat` = %.15g within [-90;90] "
                       "and `lon` = %.15g within [-180;180]",
                       m->lat, m->lon);
    return 0;
}

int qv_pb_geo_box(struct qv_pb_ctx *c, const QvPb__GeoBoundingBox *m, struct qv_cond *out)
{
    out->type = QV_COND_GEO_BOX;
    int err = point(c, m->top_left, "geo_bounding_box.top_left", &out->u.geo_box.top_left);
    return err != 0 ? err
                    : point(c, m->bottom_right, "geo_bounding_box.bottom_right",
                            &out->u.geo_box.bottom_right);
}

int qv_pb_geo_radius(struct qv_pb_ctx *c, const QvPb__GeoRadius *m, struct qv_cond *out)
{
    out->type = QV_COND_GEO_RADIUS;
    out->u.geo_circle.radius = (double)m->radius;
    if (isnan(m->radius))
        return qv_fail(c->msg, QV_EINVAL, "geo_radius.radius is not a number");
    return point(c, m->center, "geo_radius.center", &out->u.geo_circle.center);
}

static int ring(struct qv_pb_ctx *c, const QvPb__GeoLineString *m, struct qv_geo_ring *out)
{
    *out = (struct qv_geo_ring){0};
    if (m == NULL)
        return qv_fail(c->msg, QV_EINVAL, "geo_polygon.exterior is missing");
    int err = qv_pb_check_count(c, "points of a polygon", m->n_points, QV_GEO_POINTS_MAX);
    if (err != 0)
        return err;
    struct qv_geo_point *points = QV_PB_ARRAY(c, struct qv_geo_point, m->n_points);
    if (points == NULL)
        return QV_ETOOBIG;
    for (size_t i = 0; i < m->n_points && err == 0; i++)
        err = point(c, m->points[i], "a point of a polygon", &points[i]);
    out->points = points;
    out->count = (uint32_t)m->n_points;
    return err;
}

int qv_pb_geo_polygon(struct qv_pb_ctx *c, const QvPb__GeoPolygon *m, struct qv_cond *out)
{
    int err = qv_pb_check_count(c, "interiors of a polygon", m->n_interiors, QV_GEO_RINGS_MAX);
    if (err != 0)
        return err;
    struct qv_geo_polygon *polygon = QV_PB_ARRAY(c, struct qv_geo_polygon, 1);
    struct qv_geo_ring *rings = QV_PB_ARRAY(c, struct qv_geo_ring, m->n_interiors);
    if (polygon == NULL || rings == NULL)
        return QV_ETOOBIG;
    err = ring(c, m->exterior, &polygon->exterior);
    for (size_t i = 0; i < m->n_interiors && err == 0; i++)
        err = ring(c, m->interiors[i], &rings[i]);
    polygon->interiors = rings;
    polygon->interior_count = (uint32_t)m->n_interiors;
    out->type = QV_COND_GEO_POLYGON;
    out->u.geo_polygon = polygon;
    return err != 0 ? err : qv_geo_polygon_seal(polygon, c->msg);
}

/* ---- times ---- */

int qv_pb_micros(struct qv_pb_ctx *c, const QvPb__Timestamp *m, int64_t *out)
{
    if (m->seconds > QV_DATETIME_SECONDS_MAX || m->seconds < -QV_DATETIME_SECONDS_MAX ||
        m->nanos < 0 || m->nanos > 999999999)
        return qv_fail(c->msg, QV_EINVAL,
                       "Unable to parse timestamp: %lld seconds and %d nanoseconds",
                       (long long)m->seconds, m->nanos);
    *out = m->seconds * 1000000 + m->nanos / 1000;
    return 0;
}

static int bound(struct qv_pb_ctx *c, const QvPb__Timestamp *m, int64_t *out, bool *has)
{
    *has = m != NULL;
    return m == NULL ? 0 : qv_pb_micros(c, m, out);
}

int qv_pb_datetime_range(struct qv_pb_ctx *c, const QvPb__DatetimeRange *m, struct qv_cond *out)
{
    struct qv_datetime_range *r = &out->u.times;
    out->type = QV_COND_DATETIME_RANGE;
    int err = bound(c, m->lt, &r->lt, &r->has_lt);
    if (err == 0)
        err = bound(c, m->gt, &r->gt, &r->has_gt);
    if (err == 0)
        err = bound(c, m->lte, &r->lte, &r->has_lte);
    return err != 0 ? err : bound(c, m->gte, &r->gte, &r->has_gte);
}
