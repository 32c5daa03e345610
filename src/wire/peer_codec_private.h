/* What the codecs of messages between nodes share: writing with lengths of a fixed width, so that
 * places within a message are known while it is written, and reading field by field.
 *
 * Reading: peer_open a message, then `while (qv_peer_next(&m)) switch (m.number)`, taking the field
 * by its type. The first thing wrong is kept in the context and ends every loop; the caller looks
 * at c->err once. Fields that are not known are passed over; of a field given twice the last
 * counts. Private to wire. */
#ifndef QV_WIRE_PEER_CODEC_PRIVATE_H
#define QV_WIRE_PEER_CODEC_PRIVATE_H

#include "core/shard_ops.h"
#include "wire/pb_out.h"

/* ---- writing ---- */

struct qv_peer_out {
    struct qv_buf *b;
    size_t base; /* where the message begins in b */
};

/* Begins a submessage of up to 2^28 - 1 bytes; gives the mark for its end. Its length takes four
 * bytes whatever it is, so nothing moves when it ends; until then it is one that no reader takes:
 * of a message that did not fit, nothing is read by mistake. */
static inline size_t qv_peer_begin(struct qv_peer_out *o, uint32_t number)
{
    qv_pb_put_tag(o->b, number, QV_PB_LEN);
    qv_pb_put_raw(o->b, "\xFF\xFF\xFF\x7F", 4);
    return o->b->len;
}

static inline void qv_peer_end(struct qv_peer_out *o, size_t mark)
{
    if (o->b->failed)
        return;
    const size_t n = o->b->len - mark;
    if (n >> 28 != 0) {
        o->b->failed = true;
        return;
    }
    uint8_t *p = o->b->data + mark - 4;
    p[0] = (uint8_t)(n | 0x80);
    p[1] = (uint8_t)(n >> 7 | 0x80);
    p[2] = (uint8_t)(n >> 14 | 0x80);
    p[3] = (uint8_t)(n >> 21);
}

/* What is 0, false or empty is not written. */
static inline void qv_peer_put_u64(struct qv_peer_out *o, uint32_t number, uint64_t v)
{
    if (v != 0)
        qv_pb_put_u64(o->b, number, v);
}
static inline void qv_peer_put_bool(struct qv_peer_out *o, uint32_t number, bool v)
{
    if (v)
        qv_pb_put_bool(o->b, number, true);
}
static inline void qv_peer_put_bytes(struct qv_peer_out *o, uint32_t number, const void *p,
                                     size_t n)
{
    if (n != 0)
        qv_pb_put_bytes(o->b, number, p, n);
}
static inline void qv_peer_put_str(struct qv_peer_out *o, uint32_t number, struct qv_str s)
{
    qv_peer_put_bytes(o, number, s.p, s.n);
}
static inline void qv_peer_put_fixed64(struct qv_peer_out *o, uint32_t number, uint64_t v)
{
    qv_pb_put_tag(o->b, number, QV_PB_FIXED64);
    qv_pb_put_raw(o->b, &v, sizeof v);
}
/* sint64: zigzag. Written whatever it is. */
static inline uint64_t qv_peer_zigzag(int64_t v)
{
    return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}
static inline void qv_peer_put_sint(struct qv_peer_out *o, uint32_t number, int64_t v)
{
    qv_pb_put_u64(o->b, number, qv_peer_zigzag(v));
}

/* ---- reading ---- */

struct qv_peer_ctx {
    struct qv_arena *arena;
    struct qv_errmsg *msg;
    int err;
    uint32_t filter_depth; /* of the filter under way */
    uint32_t filter_conds;
};

struct qv_peer_in {
    struct qv_peer_ctx *c;
    const char *name; /* of the message, for texts */
    struct qv_rd r;
    uint32_t number; /* of the field under way */
    uint32_t type;
    uint64_t v;            /* VARINT, FIXED32, FIXED64 */
    struct qv_bytes bytes; /* LEN */
};

struct qv_peer_in qv_peer_open(struct qv_peer_ctx *c, struct qv_bytes in, const char *name);
/* The next field; false at the end and once something is wrong. */
bool qv_peer_next(struct qv_peer_in *m);
/* The first error counts. QV_EPROTO: "NAME: why". */
void qv_peer_fail(struct qv_peer_in *m, const char *why);
void qv_peer_fail_full(struct qv_peer_ctx *c); /* the arena is */
/* A kind that this build does not know. QV_ENOTIMPL. */
void qv_peer_fail_newer(struct qv_peer_in *m, const char *what, uint64_t number);
/* The field `needs`, which comes first: QV_ENOTIMPL where it is above what this build has. */
void qv_peer_check_needs(struct qv_peer_in *m);

/* The field under way as what it is. A wrong type, or a value above max, is an error (and 0). */
uint64_t qv_peer_u64(struct qv_peer_in *m);
uint32_t qv_peer_u32(struct qv_peer_in *m, uint32_t max);
bool qv_peer_bool(struct qv_peer_in *m);
int64_t qv_peer_sint(struct qv_peer_in *m);
uint64_t qv_peer_fixed64(struct qv_peer_in *m);
double qv_peer_f64(struct qv_peer_in *m);
float qv_peer_f32(struct qv_peer_in *m);
struct qv_bytes qv_peer_bytes(struct qv_peer_in *m);
struct qv_str qv_peer_text(struct qv_peer_in *m, size_t max); /* UTF-8; may hold NUL */
struct qv_peer_in qv_peer_sub(struct qv_peer_in *m, const char *name);

/* How many fields of that number are still to come in m, the one under way not counted: for the
 * size of a list. More than max is an error (and 0). */
uint32_t qv_peer_count(struct qv_peer_in *m, uint32_t number, uint32_t max);
/* n zeroed elements; NULL and an error when the arena is full. */
void *qv_peer_array(struct qv_peer_ctx *c, size_t n, size_t bytes);
#define QV_PEER_ARRAY(c, type, n) ((type *)qv_peer_array((c), (n), sizeof(type)))

/* ---- parts (peer_parts.c) ---- */

void qv_peer_put_id(struct qv_peer_out *o, uint32_t number, const struct qv_id *id);
void qv_peer_put_ids(struct qv_peer_out *o, uint32_t number, const struct qv_id *ids, size_t n);
void qv_peer_put_vec(struct qv_peer_out *o, uint32_t number, const struct qv_vec *v);
void qv_peer_put_named(struct qv_peer_out *o, uint32_t number, const struct qv_named_vec *v);
void qv_peer_put_path(struct qv_peer_out *o, uint32_t number, const struct qv_path *path);
void qv_peer_put_payload_select(struct qv_peer_out *o, uint32_t number,
                                const struct qv_payload_select *s);
void qv_peer_put_vector_select(struct qv_peer_out *o, uint32_t number,
                               const struct qv_vector_select *s);
void qv_peer_put_order_value(struct qv_peer_out *o, uint32_t number,
                             const struct qv_order_value *v);
void qv_peer_put_order_by(struct qv_peer_out *o, uint32_t number, const struct qv_order_by *by);
void qv_peer_put_cover(struct qv_peer_out *o, uint32_t number, const struct qv_cover *cover);
void qv_peer_put_filter(struct qv_peer_out *o, uint32_t number, const struct qv_filter *f);

struct qv_id qv_peer_id(struct qv_peer_in *m);
void qv_peer_ids(struct qv_peer_in *m, uint32_t max, const struct qv_id **out, uint32_t *count);
/* finite: every value must be. */
struct qv_vec qv_peer_vec(struct qv_peer_in *m, bool finite);
struct qv_named_vec qv_peer_named(struct qv_peer_in *m, bool finite);
struct qv_path qv_peer_path(struct qv_peer_in *m, struct qv_str *text); /* text may be NULL */
struct qv_payload_select qv_peer_payload_select(struct qv_peer_in *m);
struct qv_vector_select qv_peer_vector_select(struct qv_peer_in *m);
struct qv_order_value qv_peer_order_value(struct qv_peer_in *m);
const struct qv_order_by *qv_peer_order_by(struct qv_peer_in *m);
struct qv_cover qv_peer_cover(struct qv_peer_in *m);
/* Sealed. */
const struct qv_filter *qv_peer_filter(struct qv_peer_in *m);
/* A checked document; empty bytes: none. */
struct qv_doc qv_peer_doc(struct qv_peer_in *m);
/* A checked document that is an object. */
struct qv_doc qv_peer_object(struct qv_peer_in *m);
void qv_peer_uuid(struct qv_peer_in *m, uint8_t out[16]);

#endif
