/* Writing protobuf's wire form into a qv_buf. Nested messages are begun and ended; the length is
 * put in afterwards (one byte is left for it, longer messages are moved up). For the protobuf half
 * of wire, and for the commands that send upserts. */
#ifndef QV_WIRE_PB_OUT_H
#define QV_WIRE_PB_OUT_H

#include "core/doc.h"
#include "wire/pb_wire.h"

/* As qv_buf_append, without a call where there is room: answers are made of pieces of a few bytes.
 */
static inline void qv_pb_put_raw(struct qv_buf *b, const void *p, size_t n)
{
    if (b->failed || n > b->cap - b->len) {
        qv_buf_append(b, p, n);
        return;
    }
    memcpy(b->data + b->len, p, n);
    b->len += n;
}

static inline void qv_pb_put_varint(struct qv_buf *b, uint64_t v)
{
    uint8_t bytes[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        bytes[n++] = (uint8_t)(v | 0x80);
    bytes[n++] = (uint8_t)v;
    qv_pb_put_raw(b, bytes, n);
}

static inline void qv_pb_put_tag(struct qv_buf *b, uint32_t number, enum qv_pb_wire_type type)
{
    qv_pb_put_varint(b, (uint64_t)number << 3 | (uint64_t)type);
}

static inline void qv_pb_put_u64(struct qv_buf *b, uint32_t number, uint64_t v)
{
    qv_pb_put_tag(b, number, QV_PB_VARINT);
    qv_pb_put_varint(b, v);
}

static inline void qv_pb_put_bool(struct qv_buf *b, uint32_t number, bool v)
{
    qv_pb_put_u64(b, number, v ? 1 : 0);
}

static inline void qv_pb_put_f32(struct qv_buf *b, uint32_t number, float v)
{
    qv_pb_put_tag(b, number, QV_PB_FIXED32);
    qv_pb_put_raw(b, &v, sizeof v);
}

static inline void qv_pb_put_f64(struct qv_buf *b, uint32_t number, double v)
{
    qv_pb_put_tag(b, number, QV_PB_FIXED64);
    qv_pb_put_raw(b, &v, sizeof v);
}

static inline void qv_pb_put_bytes(struct qv_buf *b, uint32_t number, const void *p, size_t n)
{
    qv_pb_put_tag(b, number, QV_PB_LEN);
    qv_pb_put_varint(b, n);
    if (n != 0)
        qv_pb_put_raw(b, p, n);
}

static inline void qv_pb_put_str(struct qv_buf *b, uint32_t number, struct qv_str s)
{
    qv_pb_put_bytes(b, number, s.p, s.n);
}

/* Begins a submessage; gives the mark for its end. */
static inline size_t qv_pb_begin(struct qv_buf *b, uint32_t number)
{
    qv_pb_put_tag(b, number, QV_PB_LEN);
    qv_pb_put_raw(b, "", 1);
    return b->len;
}

static inline void qv_pb_end(struct qv_buf *b, size_t mark)
{
    if (b->failed)
        return;
    size_t n = b->len - mark;
    if (n < 0x80) {
        b->data[mark - 1] = (uint8_t)n;
        return;
    }
    size_t more = 0;
    for (size_t v = n >> 7; v != 0; v >>= 7)
        more++;
    if (qv_buf_reserve(b, more) == NULL)
        return;
    memmove(b->data + mark + more, b->data + mark, n);
    b->len += more;
    uint8_t *p = b->data + mark - 1;
    for (; n >= 0x80; n >>= 7)
        *p++ = (uint8_t)(n | 0x80);
    *p = (uint8_t)n;
}

#endif
