/* Places and areas against plain long-double formulas: great circles by vectors, polygons by
 * counting crossings; poles, the antimeridian, holes, edges. */
#include "suite.h"

#include "base/rng.h"
#include "core/geo.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SEED 77u
#define TO_RADIANS (3.14159265358979323846264338327950288L / 180)

static struct qv_geo_point at(double lon, double lat)
{
    return (struct qv_geo_point){lon, lat};
}

static struct qv_geo_point random_place(struct qv_rng *rng)
{
    static const double lons[] = {-180, 180, 0, 179.9999, -179.9999};
    static const double lats[] = {-90, 90, 0, 89.9999, -89.9999};
    struct qv_geo_point p = at(qv_rng_unit(rng) * 360 - 180, qv_rng_unit(rng) * 180 - 90);
    if (qv_rng_below(rng, 8) == 0)
        p.lon = lons[qv_rng_below(rng, 5)];
    if (qv_rng_below(rng, 8) == 0)
        p.lat = lats[qv_rng_below(rng, 5)];
    return p;
}

static long double metres(struct qv_geo_point a, struct qv_geo_point b)
{
    const long double u[3] = {cosl(a.lat * TO_RADIANS) * cosl(a.lon * TO_RADIANS),
                              cosl(a.lat * TO_RADIANS) * sinl(a.lon * TO_RADIANS),
                              sinl(a.lat * TO_RADIANS)};
    const long double v[3] = {cosl(b.lat * TO_RADIANS) * cosl(b.lon * TO_RADIANS),
                              cosl(b.lat * TO_RADIANS) * sinl(b.lon * TO_RADIANS),
                              sinl(b.lat * TO_RADIANS)};
    const long double x = u[1] * v[2] - u[2] * v[1];
    const long double y = u[2] * v[0] - u[0] * v[2];
    const long double z = u[0] * v[1] - u[1] * v[0];
    return 6371008.8L *
           atan2l(sqrtl(x * x + y * y + z * z), u[0] * v[0] + u[1] * v[1] + u[2] * v[2]);
}

/* A double's haversine is good to a millimetre but near the antipode, where asin is steep. */
static void test_distances(void **state)
{
    (void)state;
    struct qv_rng rng;
    double worst = 0;
    qv_rng_init(&rng, SEED);
    for (int i = 0; i < 100000; i++) {
        const struct qv_geo_point a = random_place(&rng);
        struct qv_geo_point b = random_place(&rng);
        if (i % 4 == 0) /* close by */
            b = at(fmax(-180, fmin(180, a.lon + qv_rng_unit(&rng) * 1e-3)),
                   fmax(-90, fmin(90, a.lat + qv_rng_unit(&rng) * 1e-3)));
        const double got = qv_geo_distance_m(a, b);
        const double want = (double)metres(a, b);
        const double allowed = want > 20e6 ? 1.0 : 1e-3;
        if (!(fabs(got - want) <= allowed))
            fail_msg("(%.17g %.17g) to (%.17g %.17g): %.9g, want %.9g", a.lon, a.lat, b.lon, b.lat,
                     got, want);
        worst = want < 20e6 && fabs(got - want) > worst ? fabs(got - want) : worst;
        const struct qv_geo_circle c = {a, want * (0.5 + qv_rng_unit(&rng))};
        if (fabs(c.radius - want) > allowed)
            assert_int_equal(qv_geo_circle_contains(&c, b), want < c.radius);
    }
    printf("seed %u, worst %g m\n", SEED, worst);
    assert_true(qv_geo_distance_m(at(180, 10), at(-180, 10)) < 1e-6);
    assert_true(qv_geo_distance_m(at(77, 90), at(-12, 90)) < 1e-6);
    const struct qv_geo_circle berlin = {at(13.423637, 52.511), 2000};
    assert_true(qv_geo_circle_contains(&berlin, at(13.413637435864272, 52.52197645)));
    assert_false(qv_geo_circle_contains(&berlin, at(20.423637, 52.511)));
    const struct qv_geo_circle none = {at(1, 1), 0};
    const struct qv_geo_circle less = {at(1, 1), -5};
    const struct qv_geo_circle nan_m = {at(1, 1), NAN};
    assert_false(qv_geo_circle_contains(&none, at(1, 1)) ||
                 qv_geo_circle_contains(&less, at(1, 1)));
    assert_false(qv_geo_circle_contains(&nan_m, at(1, 1)));
}

/* A box that crosses the antimeridian is two that don't. */
static void test_boxes(void **state)
{
    (void)state;
    struct qv_rng rng;
    unsigned inside = 0;
    qv_rng_init(&rng, SEED + 1);
    for (int i = 0; i < 100000; i++) {
        const struct qv_geo_box box = {random_place(&rng), random_place(&rng)};
        const struct qv_geo_point p = random_place(&rng);
        const double west = box.top_left.lon;
        const double east = box.bottom_right.lon;
        bool lon = p.lon > west && p.lon < east;
        if (west > east)
            lon = (p.lon > west && p.lon <= 180) || (p.lon >= -180 && p.lon < east);
        const bool want = lon && p.lat < box.top_left.lat && p.lat > box.bottom_right.lat;
        assert_int_equal(qv_geo_box_contains(&box, p), want);
        inside += want;
    }
    assert_true(inside > 1000);
    const struct qv_geo_box fiji = {at(170, 10), at(-170, -10)};
    assert_true(qv_geo_box_contains(&fiji, at(180, 0)) && qv_geo_box_contains(&fiji, at(-180, 0)));
    assert_false(qv_geo_box_contains(&fiji, at(170, 0)) || qv_geo_box_contains(&fiji, at(0, 0)));
    const struct qv_geo_box world = {at(-180, 90), at(180, -90)};
    assert_true(qv_geo_box_contains(&world, at(0, 0)));
    assert_false(qv_geo_box_contains(&world, at(0, 90)));
}

/* ---- polygons ---- */

#define RING_MAX 40

struct made_ring {
    struct qv_geo_point p[RING_MAX + 1];
    struct qv_geo_ring ring;
};

/* Corners in the order of their angle around a middle: never crosses itself. */
static void make_star(struct qv_rng *rng, struct made_ring *out, struct qv_geo_point middle,
                      double size)
{
    const uint32_t n = 3 + (uint32_t)qv_rng_below(rng, RING_MAX - 3);
    const bool clockwise = qv_rng_below(rng, 2);
    for (uint32_t i = 0; i < n; i++) {
        const double turn = (i + 0.9 * qv_rng_unit(rng)) / n * (clockwise ? -6.283185 : 6.283185);
        const double r = size * (0.1 + 0.9 * qv_rng_unit(rng));
        out->p[i] = at(middle.lon + r * cos(turn), middle.lat + r * sin(turn));
    }
    out->p[n] = out->p[0];
    out->ring = (struct qv_geo_ring){out->p, n + 1};
}

/* Even-odd crossings of a ray; *close: too near an edge for a test to judge. */
static bool in_ring(const struct qv_geo_ring *r, struct qv_geo_point p, bool *close)
{
    bool odd = false;
    for (uint32_t i = 1; i < r->count; i++) {
        const struct qv_geo_point a = r->points[i - 1];
        const struct qv_geo_point b = r->points[i];
        const long double dx = (long double)b.lon - a.lon;
        const long double dy = (long double)b.lat - a.lat;
        const long double along =
            ((p.lon - a.lon) * dx + (p.lat - a.lat) * dy) / (dx * dx + dy * dy);
        const long double t = along < 0 ? 0 : along > 1 ? 1 : along;
        *close = *close || hypotl(a.lon + t * dx - p.lon, a.lat + t * dy - p.lat) < 1e-12L;
        if ((a.lat > p.lat) != (b.lat > p.lat) && p.lon < a.lon + dx * (p.lat - a.lat) / dy)
            odd = !odd;
    }
    return odd;
}

static void test_random_polygons(void **state)
{
    (void)state;
    struct qv_rng rng;
    struct qv_errmsg msg;
    unsigned inside = 0;
    unsigned in_hole = 0;
    qv_rng_init(&rng, SEED + 2);
    for (int i = 0; i < 3000; i++) {
        static struct made_ring out, holes[2];
        const struct qv_geo_point middle =
            at(qv_rng_unit(&rng) * 300 - 150, qv_rng_unit(&rng) * 140 - 70);
        make_star(&rng, &out, middle, 20);
        make_star(&rng, &holes[0], middle, 8);
        make_star(&rng, &holes[1], at(middle.lon + 9, middle.lat), 4);
        const struct qv_geo_ring interiors[2] = {holes[0].ring, holes[1].ring};
        struct qv_geo_polygon g = {.exterior = out.ring,
                                   .interiors = interiors,
                                   .interior_count = (uint32_t)qv_rng_below(&rng, 3)};
        assert_int_equal(qv_geo_polygon_seal(&g, &msg), 0);
        for (int k = 0; k < 40; k++) {
            const struct qv_geo_point p = at(middle.lon + qv_rng_unit(&rng) * 44 - 22,
                                             middle.lat + qv_rng_unit(&rng) * 44 - 22);
            bool close = false;
            bool want = in_ring(&g.exterior, p, &close);
            for (uint32_t h = 0; h < g.interior_count; h++) {
                const bool hole = in_ring(&interiors[h], p, &close);
                in_hole += want && hole;
                want = want && !hole;
            }
            if (!close && qv_geo_polygon_contains(&g, p) != want)
                fail_msg("polygon %d, (%.17g %.17g): want %d", i, p.lon, p.lat, want);
            inside += want;
        }
    }
    printf("%u inside, %u in holes\n", inside, in_hole);
    assert_true(inside > 5000 && in_hole > 1000);
}

/* Corners and points on edges are outside, from every side; so are those of a hole. */
static void test_edges(void **state)
{
    (void)state;
    struct qv_errmsg msg;
    const struct qv_geo_point square[] = {{0, 0}, {9, 0}, {9, 9}, {0, 9}, {0, 0}};
    const struct qv_geo_point hole[] = {{3, 3}, {3, 6}, {6, 6}, {6, 3}, {3, 3}};
    const struct qv_geo_point twice[] = {{0, 0}, {9, 0}, {9, 9}, {0, 9}, {0, 0},
                                         {9, 0}, {9, 9}, {0, 9}, {0, 0}};
    const struct qv_geo_point flat[] = {{0, 0}, {9, 9}, {4, 4}, {0, 0}};
    const struct qv_geo_point gap[] = {{1e-17, 0}, {9, 0}, {9, 9}, {0, 9}, {-1e-17, 0}};
    const struct qv_geo_ring holes[] = {{hole, 5}};
    struct qv_geo_polygon g = {{square, 5}, holes, 1, {0, 0}, {0, 0}};
    assert_int_equal(qv_geo_polygon_seal(&g, &msg), 0);
    for (int x = -1; x <= 10; x++) {
        for (int y = -1; y <= 10; y++) {
            const bool in = x > 0 && x < 9 && y > 0 && y < 9;
            const bool in_hole = x >= 3 && x <= 6 && y >= 3 && y <= 6;
            assert_int_equal(qv_geo_polygon_contains(&g, at(x, y)), in && !in_hole);
        }
    }
    g = (struct qv_geo_polygon){{twice, 9}, NULL, 0, {0, 0}, {0, 0}};
    assert_int_equal(qv_geo_polygon_seal(&g, &msg), 0);
    assert_true(qv_geo_polygon_contains(&g, at(4, 5)));
    g = (struct qv_geo_polygon){{flat, 4}, NULL, 0, {0, 0}, {0, 0}};
    assert_int_equal(qv_geo_polygon_seal(&g, &msg), 0);
    assert_false(qv_geo_polygon_contains(&g, at(4, 4)) || qv_geo_polygon_contains(&g, at(4, 5)));
    g = (struct qv_geo_polygon){{gap, 5}, NULL, 0, {0, 0}, {0, 0}};
    assert_int_equal(qv_geo_polygon_seal(&g, &msg), 0);
    assert_true(qv_geo_polygon_contains(&g, at(1e-12, 5)) && qv_geo_polygon_contains(&g, at(8, 5)));
    assert_false(qv_geo_polygon_contains(&g, at(-1, 1)));
}

static void test_bounds(void **state)
{
    (void)state;
    struct qv_errmsg msg;
    const struct qv_geo_point open[] = {{0, 0}, {9, 0}, {9, 9}, {0, 9}, {0, 1}};
    struct qv_geo_polygon g = {{open, 3}, NULL, 0, {0, 0}, {0, 0}};
    const struct qv_geo_ring bad[] = {{open, 5}};
    assert_int_equal(qv_geo_polygon_seal(&g, &msg), QV_EINVAL);
    assert_string_equal(msg.text, "polygon invalid, the size must be at least 4, got 3");
    g.exterior.count = 5;
    assert_int_equal(qv_geo_polygon_seal(&g, &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, "should be the same"));
    const struct qv_geo_point closed[] = {{0, 0}, {9, 0}, {9, 9}, {0, 0}};
    g = (struct qv_geo_polygon){{closed, 4}, bad, 1, {0, 0}, {0, 0}};
    assert_int_equal(qv_geo_polygon_seal(&g, &msg), QV_EINVAL);
    assert_true(qv_geo_point_valid(at(180, -90)) && qv_geo_point_valid(at(-180, 90)));
    assert_false(qv_geo_point_valid(at(180.0001, 0)) || qv_geo_point_valid(at(0, -90.0001)));
    assert_false(qv_geo_point_valid(at(NAN, 0)) || qv_geo_point_valid(at(0, NAN)));
    assert_false(qv_geo_point_valid(at(INFINITY, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distances),       cmocka_unit_test(test_boxes),
        cmocka_unit_test(test_random_polygons), cmocka_unit_test(test_edges),
        cmocka_unit_test(test_bounds),
    };
    return RUN_SUITE(tests);
}
