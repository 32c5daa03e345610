#include "core/version.h"

#include "base/qv_assert.h"

#define WALL_MS_MAX ((UINT64_C(1) << 48) - 1)

void qv_clock_init(struct qv_clock *c, uint32_t writer, uint64_t high_water)
{
    c->last = high_water;
    c->writer = writer;
}

struct qv_version qv_clock_tick(struct qv_clock *c, uint64_t wall_ms)
{
    QV_ASSERT(wall_ms <= WALL_MS_MAX);
    QV_ASSERT(c->last < UINT64_MAX);
    uint64_t wall = wall_ms << QV_CLOCK_COUNTER_BITS;
    /* A counter that overflows carries into the milliseconds: still above everything before. */
    c->last = wall > c->last ? wall : c->last + 1;
    return (struct qv_version){c->last, c->writer};
}

int qv_clock_observe(struct qv_clock *c, uint64_t clock, uint64_t wall_ms)
{
    QV_ASSERT(wall_ms <= WALL_MS_MAX);
    if (clock >> QV_CLOCK_COUNTER_BITS > wall_ms + QV_CLOCK_AHEAD_MS_MAX)
        return QV_ESTALE;
    if (clock > c->last)
        c->last = clock;
    return 0;
}
