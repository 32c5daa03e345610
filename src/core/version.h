/* Versions: a hybrid logical clock (48 bit ms since 1970, 16 bit counter; Kulkarni et al. 2014) and
 * the writer's id (32 bit, its upper 8 the region). Totally ordered: clock, then writer. */
#ifndef QV_CORE_VERSION_H
#define QV_CORE_VERSION_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct qv_version {
    uint64_t clock;
    uint32_t writer;
};

#define QV_VERSION_NONE ((struct qv_version){0, 0}) /* older than every change */
#define QV_CLOCK_COUNTER_BITS 16
#define QV_CLOCK_AHEAD_MS_MAX 500 /* a clock from further ahead is refused, not absorbed */

static inline int qv_version_compare(struct qv_version a, struct qv_version b)
{
    if (a.clock != b.clock)
        return a.clock < b.clock ? -1 : 1;
    return a.writer < b.writer ? -1 : a.writer > b.writer;
}
static inline struct qv_version qv_version_max(struct qv_version a, struct qv_version b)
{
    return qv_version_compare(a, b) >= 0 ? a : b;
}

/* One writer's clock. Not thread-safe: it belongs to the thread that orders changes. */
struct qv_clock {
    uint64_t last; /* the newest clock given or observed */
    uint32_t writer;
};

void qv_clock_init(struct qv_clock *c, uint32_t writer, uint64_t high_water); /* starts above it */
/* A version above every one given or observed before; wall_ms is the wall clock now. */
struct qv_version qv_clock_tick(struct qv_clock *c, uint64_t wall_ms);
/* Takes over a clock from elsewhere; QV_ESTALE when it is more than QV_CLOCK_AHEAD_MS_MAX ahead of
 * wall_ms (nothing is absorbed then). */
QV_MUST_USE int qv_clock_observe(struct qv_clock *c, uint64_t clock, uint64_t wall_ms);

#endif
