#include "core/geo.h"

#include "base/qv_assert.h"

#include <float.h>
#include <math.h>

#define RADIANS (3.14159265358979323846 / 180.0)

bool qv_geo_point_valid(struct qv_geo_point p)
{
    return p.lon >= -180 && p.lon <= 180 && p.lat >= -90 && p.lat <= 90; /* false for NaN */
}

double qv_geo_distance_m(struct qv_geo_point a, struct qv_geo_point b)
{
    const double half_lat = sin((b.lat - a.lat) * RADIANS / 2);
    const double half_lon = sin((b.lon - a.lon) * RADIANS / 2);
    const double h =
        half_lat * half_lat + cos(a.lat * RADIANS) * cos(b.lat * RADIANS) * half_lon * half_lon;
    return 2 * QV_GEO_EARTH_RADIUS_M * asin(sqrt(h < 1 ? h : 1)); /* rounding may exceed 1 */
}

bool qv_geo_box_contains(const struct qv_geo_box *box, struct qv_geo_point p)
{
    const double west = box->top_left.lon;
    const double east = box->bottom_right.lon;
    const bool lon = west > east ? p.lon > west || p.lon < east : west < p.lon && p.lon < east;
    return lon && box->bottom_right.lat < p.lat && p.lat < box->top_left.lat;
}

bool qv_geo_circle_contains(const struct qv_geo_circle *circle, struct qv_geo_point p)
{
    return qv_geo_distance_m(circle->center, p) < circle->radius;
}

/* ---- polygons ---- */

/* On which side of the line from a to b lies p: > 0 left, < 0 right, 0 on it. A double decides
 * unless the error of its rounding could change the sign; then long double does, to within 1e-14
 * degrees, a nanometre. An edge gives the same answer in both directions, so that neighbours that
 * share one leave neither gap nor overlap. */
static int side_of(struct qv_geo_point a, struct qv_geo_point b, struct qv_geo_point p)
{
    if (a.lat > b.lat || (a.lat >= b.lat && a.lon > b.lon))
        return -side_of(b, a, p);
    const double left = (b.lon - a.lon) * (p.lat - a.lat);
    const double right = (b.lat - a.lat) * (p.lon - a.lon);
    const double det = left - right;
    const double bound = 4 * DBL_EPSILON * (fabs(left) + fabs(right));
    if (det > bound || -det > bound)
        return det > 0 ? 1 : -1;
    const long double exact = ((long double)b.lon - a.lon) * ((long double)p.lat - a.lat) -
                              ((long double)b.lat - a.lat) * ((long double)p.lon - a.lon);
    return exact > 0 ? 1 : exact < 0 ? -1 : 0;
}

static bool between(double x, double a, double b)
{
    return (a <= x && x <= b) || (b <= x && x <= a);
}

enum place { OUTSIDE, ON_EDGE, INSIDE };

/* By winding number: edges that cross the height of p upwards with p on their left count +1,
 * downwards with p on their right -1. */
static enum place place_in_ring(const struct qv_geo_ring *ring, struct qv_geo_point p)
{
    int winding = 0;
    for (uint32_t i = 0; i + 1 < ring->count; i++) {
        const struct qv_geo_point a = ring->points[i];
        /* the last is the first, to within a rounding that must leave no gap */
        const struct qv_geo_point b = ring->points[i + 2 == ring->count ? 0 : i + 1];
        if (!between(p.lat, a.lat, b.lat))
            continue;
        const int side = side_of(a, b, p);
        if (side == 0 && between(p.lon, a.lon, b.lon))
            return ON_EDGE;
        if (a.lat <= p.lat && b.lat > p.lat && side > 0)
            winding++;
        else if (a.lat > p.lat && b.lat <= p.lat && side < 0)
            winding--;
    }
    return winding != 0 ? INSIDE : OUTSIDE;
}

bool qv_geo_polygon_contains(const struct qv_geo_polygon *polygon, struct qv_geo_point p)
{
    if (!(p.lon > polygon->min.lon && p.lon < polygon->max.lon && p.lat > polygon->min.lat &&
          p.lat < polygon->max.lat) ||
        place_in_ring(&polygon->exterior, p) != INSIDE)
        return false;
    for (uint32_t i = 0; i < polygon->interior_count; i++) {
        if (place_in_ring(&polygon->interiors[i], p) != OUTSIDE)
            return false;
    }
    return true;
}

static int check_ring(const struct qv_geo_ring *ring, struct qv_errmsg *msg)
{
    if (ring->count < QV_GEO_RING_POINTS_MIN)
        return qv_fail(msg, QV_EINVAL, "polygon invalid, the size must be at least %u, got %u",
                       QV_GEO_RING_POINTS_MIN, ring->count);
    const struct qv_geo_point first = ring->points[0];
    const struct qv_geo_point last = ring->points[ring->count - 1];
    if (fabs(first.lon - last.lon) > DBL_EPSILON || fabs(first.lat - last.lat) > DBL_EPSILON)
        return qv_fail(msg, QV_EINVAL,
                       "polygon invalid, the first and the last points should be the same to form "
                       "a closed line");
    return 0;
}

int qv_geo_polygon_seal(struct qv_geo_polygon *polygon, struct qv_errmsg *msg)
{
    const struct qv_geo_ring *ring = &polygon->exterior;
    uint64_t points = ring->count;
    int err = check_ring(ring, msg);
    for (uint32_t i = 0; i < polygon->interior_count && err == 0; i++) {
        points += polygon->interiors[i].count;
        err = check_ring(&polygon->interiors[i], msg);
    }
    if (err == 0 && (points > QV_GEO_POINTS_MAX || polygon->interior_count > QV_GEO_RINGS_MAX))
        err = qv_fail(msg, QV_EINVAL, "polygon invalid, at most %u points and %u interiors",
                      QV_GEO_POINTS_MAX, QV_GEO_RINGS_MAX);
    if (err != 0)
        return err;
    polygon->min = polygon->max = ring->points[0];
    for (uint32_t i = 1; i < ring->count; i++) {
        const struct qv_geo_point p = ring->points[i];
        polygon->min.lon = fmin(polygon->min.lon, p.lon);
        polygon->min.lat = fmin(polygon->min.lat, p.lat);
        polygon->max.lon = fmax(polygon->max.lon, p.lon);
        polygon->max.lat = fmax(polygon->max.lat, p.lat);
    }
    QV_ASSERT(polygon->min.lon <= polygon->max.lon && polygon->min.lat <= polygon->max.lat);
    return 0;
}
