/* Reading protobuf's wire form: tags, varints, length-delimited runs. A read past the end or a
 * malformed piece sets failed on the reader; the caller looks once after a group of reads.
 * Private to the protobuf half of wire. */
#ifndef QV_WIRE_PB_WIRE_H
#define QV_WIRE_PB_WIRE_H

#include "base/buf.h"

enum qv_pb_wire_type { QV_PB_VARINT = 0, QV_PB_FIXED64 = 1, QV_PB_LEN = 2, QV_PB_FIXED32 = 5 };

#define QV_PB_NUMBER_MAX ((1u << 29) - 1)

/* A reader over bytes that may be none at all. */
static inline struct qv_rd qv_pb_reader(struct qv_bytes in)
{
    const uint8_t *p = in.n == 0 ? (const uint8_t *)"" : in.p;
    return (struct qv_rd){.p = p, .end = p + in.n};
}

static inline uint64_t qv_pb_varint(struct qv_rd *r)
{
    if (r->p < r->end && *r->p < 0x80)
        return *r->p++;
    return qv_rd_varint(r);
}

/* Field number and wire type of the next field; false (and failed) when it is malformed: number 0,
 * a number out of range, a group or an unknown wire type. Call only while bytes are left. */
static inline bool qv_pb_tag(struct qv_rd *r, uint32_t *number, uint32_t *type)
{
    uint64_t tag = qv_pb_varint(r);
    *type = (uint32_t)tag & 7u;
    *number = (uint32_t)(tag >> 3);
    if (r->failed || tag >> 3 == 0 || tag >> 3 > QV_PB_NUMBER_MAX ||
        (*type != QV_PB_VARINT && *type != QV_PB_FIXED64 && *type != QV_PB_LEN &&
         *type != QV_PB_FIXED32)) {
        r->failed = true;
        return false;
    }
    return true;
}

/* A length and that many bytes, borrowed. */
static inline struct qv_bytes qv_pb_len(struct qv_rd *r)
{
    uint64_t n = qv_pb_varint(r);
    if (r->failed || n > qv_rd_left(r)) {
        r->failed = true;
        return (struct qv_bytes){NULL, 0};
    }
    struct qv_bytes out = {r->p, (size_t)n};
    r->p += n;
    return out;
}

static inline void qv_pb_skip(struct qv_rd *r, uint32_t type)
{
    switch (type) {
    case QV_PB_VARINT:
        (void)qv_pb_varint(r);
        break;
    case QV_PB_FIXED64:
        (void)qv_rd_take(r, 8);
        break;
    case QV_PB_LEN:
        (void)qv_pb_len(r);
        break;
    case QV_PB_FIXED32:
        (void)qv_rd_take(r, 4);
        break;
    default:
        r->failed = true;
    }
}

#endif
