/* Areas from anywhere, in JSON, each asked about places: a box, a circle, a polygon, a range of
 * times. What is read is valid; a polygon holds the same places whichever way round it is given.
 * covers: src/wire/json_geo.c src/core/geo.c
 * options: -max_len=8192 */
#include "wire/json_parts.h"

#include "base/qv_assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct qv_geo_point places[] = {{0, 0},    {1, 1},       {-179.5, 89}, {180, 0},
                                             {-180, 0}, {13.4, 52.5}, {2, 2},       {5, 3}};
#define PLACES (sizeof places / sizeof places[0])

static struct qv_geo_ring reversed(struct qv_arena *a, const struct qv_geo_ring *r)
{
    struct qv_geo_point *p = QV_ARENA_ARRAY(a, struct qv_geo_point, r->count);
    QV_ASSERT(p != NULL);
    for (uint32_t i = 0; i < r->count; i++)
        p[i] = r->points[r->count - 1 - i];
    return (struct qv_geo_ring){p, r->count};
}

static void ask_polygon(struct qv_arena *a, const struct qv_geo_polygon *g)
{
    struct qv_errmsg msg;
    struct qv_geo_polygon back = *g;
    back.exterior = reversed(a, &g->exterior);
    int err = qv_geo_polygon_seal(&back, &msg);
    QV_ASSERT(err == 0);
    const struct qv_geo_point first = g->exterior.points[0];
    const struct qv_geo_point last = g->exterior.points[g->exterior.count - 1];
    for (size_t i = 0; i < PLACES; i++) {
        const bool in = qv_geo_polygon_contains(g, places[i]);
        if (first.lon == last.lon && first.lat == last.lat)
            QV_ASSERT(in == qv_geo_polygon_contains(&back, places[i]));
    }
    QV_ASSERT(!qv_geo_polygon_contains(g, first));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qv_json j;
    struct qv_arena a;
    struct qv_errmsg msg = {{0}};
    struct qv_geo_box box;
    struct qv_geo_circle circle;
    struct qv_datetime_range times;
    const struct qv_geo_polygon *polygon = NULL;
    if (size == 0)
        return 0;
    qv_arena_init(&a, 8 << 20);
    qv_json_init(&j, (struct qv_bytes){data + 1, size - 1}, &a, &msg);
    switch (data[0] & 3) {
    case 0:
        qv_json_geo_box(&j, &box);
        break;
    case 1:
        qv_json_geo_circle(&j, &circle);
        break;
    case 2:
        polygon = qv_json_geo_polygon(&j);
        break;
    default:
        qv_json_datetime_range(&j, &times);
    }
    if (qv_json_finish(&j) != 0) {
        QV_ASSERT(msg.text[0] != '\0');
    } else {
        for (size_t i = 0; i < PLACES; i++) {
            if ((data[0] & 3) == 0)
                (void)qv_geo_box_contains(&box, places[i]);
            if ((data[0] & 3) == 1)
                (void)qv_geo_circle_contains(&circle, places[i]);
        }
        if ((data[0] & 3) == 2)
            ask_polygon(&a, polygon);
    }
    qv_arena_close(&a);
    return 0;
}
