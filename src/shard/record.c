/* Records: a point as the payload store keeps it.
 *
 *   record := format u8 (1), slot u32 (NO_SLOT: not there), generation u32, copy (core/point.h)
 *
 * Dense vectors are IN_ROW: their elements are in the slot's rows. */
#include "shard/shard_private.h"

#include "base/qv_assert.h"

#define RECORD_FORMAT 1

void qv_record_encode(struct qv_buf *b, qv_slot slot, uint32_t generation,
                      const struct qv_copy *copy)
{
    qv_buf_u8(b, RECORD_FORMAT);
    qv_buf_u32(b, slot);
    qv_buf_u32(b, generation);
    qv_copy_encode(b, copy);
}

int qv_record_decode(struct qv_bytes bytes, struct qv_arena *arena, qv_slot *slot,
                     uint32_t *generation, struct qv_copy *out, struct qv_errmsg *msg)
{
    struct qv_rd rd;
    qv_rd_init(&rd, bytes.p, bytes.n);
    uint8_t format = qv_rd_u8(&rd);
    *slot = qv_rd_u32(&rd);
    *generation = qv_rd_u32(&rd);
    if (rd.failed || format != RECORD_FORMAT)
        return QV_CORRUPT(msg, "record of %zu bytes, format %u", bytes.n, format);
    int err = qv_copy_decode(&rd, arena, out, msg);
    if (err == 0 && qv_rd_left(&rd) != 0)
        return QV_CORRUPT(msg, "record with %zu bytes too many", qv_rd_left(&rd));
    return err;
}
