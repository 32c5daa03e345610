/* What stands between the network and protobuf-c.
 *
 * protobuf-c unpacks recursively and without a limit: filters nested 10,000 deep overflow the
 * stack, a run of empty submessages grows fifty times and more, a float array sent element by
 * element grows tenfold. So every message is walked once before it is unpacked, by its descriptor
 * and without an allocation, and refused when it
 *   - is nested deeper than depth_max, or holds more than messages_max submessages,
 *   - would make unpacking allocate more than bytes_max (the estimate is never below what
 *     protobuf-c then takes from the arena; test_pb_guard holds it to that),
 *   - is malformed: a truncated field, a varint that is too long, a group, a field number of 0, a
 *     wire type that is not the field's, a packed array of a broken length,
 *   - has a string that is not UTF-8 or holds a NUL (Value.string_value may hold one: it is
 *     `bytes` in our .proto),
 *   - gives a single submessage twice. Protobuf would merge them; no encoder writes that, and
 *     merging is quadratic in protobuf-c.
 * Fields that the descriptor does not know are skipped, and counted, since protobuf-c copies them.
 *
 * Any thread; no state. */
#ifndef QV_WIRE_PB_GUARD_H
#define QV_WIRE_PB_GUARD_H

#include "base/arena.h"
#include "base/buf.h"

#include <protobuf-c/protobuf-c.h>

struct qv_pb_limits {
    uint32_t depth_max;    /* the outermost message is at depth 1 */
    uint32_t messages_max; /* in the whole tree */
    size_t bytes_max;      /* that unpacking may allocate */
};

#define QV_PB_DEPTH_MAX 64u
#define QV_PB_MESSAGES_MAX (2u << 20)

/* What a message that passed will cost to unpack. */
struct qv_pb_cost {
    uint32_t depth;
    uint32_t messages;
    size_t bytes; /* upper bound, alignment included */
};

/* Walks `in` as a message of type desc. 0; QV_EBADREQ for what is malformed or too deep; QV_ETOOBIG
 * for too many messages or too much memory. cost is complete only after 0. */
QV_MUST_USE int qv_pb_guard(const ProtobufCMessageDescriptor *desc, struct qv_bytes in,
                            const struct qv_pb_limits *limits, struct qv_pb_cost *cost,
                            struct qv_errmsg *msg);

/* Guards `in` with the limits above and what is left in the arena, then unpacks it there. *out
 * lives in the arena and is never freed by itself. QV_ENOMEM when the arena can't get its memory.
 */
QV_MUST_USE int qv_pb_unpack(const ProtobufCMessageDescriptor *desc, struct qv_bytes in,
                             struct qv_arena *arena, ProtobufCMessage **out, struct qv_errmsg *msg);

#endif
