/* Places on Earth and areas of them, as geo conditions have them. Degrees; lon in [-180, 180], lat
 * in [-90, 90]. Pure functions, any thread, no allocation.
 *
 * box      strictly inside: its edges don't belong to it. top_left.lon > bottom_right.lon: it
 *          crosses the antimeridian.
 * radius   closer than `radius` metres by the haversine formula on a sphere of the mean radius.
 * polygon  in the plane of (lon, lat), edges straight there; strictly inside the exterior ring and
 *          not inside or on a hole. A ring may wind either way, and around a point more than once;
 *          nothing crosses the antimeridian: give two polygons. */
#ifndef QV_CORE_GEO_H
#define QV_CORE_GEO_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define QV_GEO_EARTH_RADIUS_M 6371008.8 /* mean radius of WGS 84 */
#define QV_GEO_RING_POINTS_MIN 4u       /* the first and the last being the same */
#define QV_GEO_POINTS_MAX 65536u        /* in all rings of a polygon */
#define QV_GEO_RINGS_MAX 4096u

struct qv_geo_point {
    double lon, lat;
};

struct qv_geo_box {
    struct qv_geo_point top_left, bottom_right;
};

struct qv_geo_circle {
    struct qv_geo_point center;
    double radius; /* metres; not above 0 (or NaN): nothing is inside */
};

/* Closed: points[0] == points[count - 1]; count >= QV_GEO_RING_POINTS_MIN. */
struct qv_geo_ring {
    const struct qv_geo_point *points;
    uint32_t count;
};

struct qv_geo_polygon {
    struct qv_geo_ring exterior;
    const struct qv_geo_ring *interiors;
    uint32_t interior_count;
    struct qv_geo_point min, max; /* of the exterior, set by seal */
};

bool qv_geo_point_valid(struct qv_geo_point p);
double qv_geo_distance_m(struct qv_geo_point a, struct qv_geo_point b);

/* Points are valid ones. */
bool qv_geo_box_contains(const struct qv_geo_box *box, struct qv_geo_point p);
bool qv_geo_circle_contains(const struct qv_geo_circle *circle, struct qv_geo_point p);
bool qv_geo_polygon_contains(const struct qv_geo_polygon *polygon, struct qv_geo_point p);

/* Checks rings and counts, sets min and max. QV_EINVAL with the reason. May be called again. */
QV_MUST_USE int qv_geo_polygon_seal(struct qv_geo_polygon *polygon, struct qv_errmsg *msg);

#endif
