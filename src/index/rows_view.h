/* Rows of one dtype by slot, owned by someone else (the vector file): base never moves, and a row
 * does not change while its slot is in use. */
#ifndef QV_INDEX_ROWS_VIEW_H
#define QV_INDEX_ROWS_VIEW_H

#include "base/slot.h"

#include <stddef.h>
#include <stdint.h>

struct qv_rows {
    const uint8_t *base; /* borrowed; row of slot s at base + s * stride_bytes */
    size_t stride_bytes; /* at least a row */
};

static inline const uint8_t *qv_rows_at(const struct qv_rows *rows, qv_slot slot)
{
    return rows->base + (size_t)slot * rows->stride_bytes;
}

#endif
